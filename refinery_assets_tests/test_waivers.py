"""Lies in files, refused by a run; and months that are accepted all the same, for as long as nothing changes."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import dagster as dg
import duckdb
import pytest

from refinery_assets.assets.accept import ACCEPT
from refinery_assets.build import build_defs
from refinery_assets.checks.rules import Finding, Outcome, Verdict
from refinery_assets.contract.columns import PART_DIGESTS
from refinery_assets.contract.families import LEGACY_FEED, PROCESSED_DATA
from refinery_assets.contract.months import Month
from refinery_assets.contract.plausibility import CHECKS, Mode, PlausibilitySettings
from refinery_assets.feed.files import feed_file
from refinery_assets.warehouse.acceptance import WaiverError, accept, withdraw
from refinery_assets.warehouse.audits import record_audits
from refinery_assets.warehouse.explain import explain
from refinery_assets.warehouse.month_state import MonthResult, State
from refinery_assets.warehouse.month_status import Inputs, MonthStatus, Status
from refinery_assets.warehouse.plan import make_plan
from refinery_assets.warehouse.reaudit import reaudit
from refinery_assets.warehouse.status import read_status
from refinery_assets.warehouse.storage import open_warehouse
from refinery_assets_tests.inventories import contract_with, publish_months, settings_with, verdict_of
from refinery_assets_tests.scenario import (
    CPU,
    FEBRUARY,
    JANUARY,
    MARCH,
    MEMORY,
    GivenPublished,
    Sandbox,
    folder,
    repeat_the_month_before,
    settings_in,
)

CHECK = "month_is_new"


@pytest.fixture(scope="module")
def refused_march(
    small_fleet: Path, published_fleet: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A folder in which January and February are published, and a run has refused March, which repeats February."""
    folder = tmp_path_factory.mktemp("refused_march")
    for made in (small_fleet, published_fleet(JANUARY, FEBRUARY)):
        shutil.copytree(made, folder, symlinks=True, dirs_exist_ok=True)
    with dg.DagsterInstance.ephemeral() as instance:
        sandbox = Sandbox(settings_in(folder), instance)
        repeat_the_month_before(sandbox, MARCH)
        assert not sandbox.refine(MARCH).success
    return folder


@pytest.fixture
def refused(refused_march: Path, tmp_path: Path) -> Iterator[Sandbox]:
    """A copy of it; its own Dagster instance knows no run."""
    shutil.copytree(refused_march, tmp_path, symlinks=True, dirs_exist_ok=True)
    with dg.DagsterInstance.ephemeral() as instance:
        yield Sandbox(settings_in(tmp_path), instance)


def accept_month(sandbox: Sandbox, month: Month) -> None:
    with open_warehouse(sandbox.settings.warehouse, read_only=False, wait_seconds=0.0) as connection:
        accept(connection, sandbox.settings, month, CHECK, why="the fleet was frozen for the audit", who="ops")


def accept_march(sandbox: Sandbox) -> None:
    accept_month(sandbox, MARCH)


def status_of_march(sandbox: Sandbox) -> MonthStatus:
    with open_warehouse(sandbox.settings.warehouse, read_only=True, wait_seconds=0.0) as connection:
        return read_status(connection, sandbox.settings, sandbox.settings.today).months[-1]


def verdicts(sandbox: Sandbox, check: str = CHECK) -> list[str]:
    """What the check said of March, run by run."""
    asked = "SELECT verdict FROM audits WHERE month = '2024-03' AND check_name = $check ORDER BY audited_at"
    return [verdict for (verdict,) in sandbox.query(asked, {"check": check})]


def test_a_month_is_accepted_where_the_inventory_is_a_file(refused: Sandbox) -> None:
    with duckdb.connect(refused.settings.warehouse) as connection:
        connection.execute("COPY hosts TO $file (HEADER)", {"file": str(folder(refused.settings.feed) / "hosts.csv")})
    contract = contract_with(
        folder(refused.settings.feed), 'source = "hosts.csv"\nhost = "node_name"\nbehavior = ["scenario", "variant"]'
    )
    settings = settings_with(refused.settings, contract)
    assert publish_months(settings, MARCH)[MARCH].state is State.REFUSED

    with open_warehouse(settings.warehouse, read_only=False, wait_seconds=0.0) as connection:
        accept(connection, settings, MARCH, CHECK, why="the fleet was frozen for the audit", who="ops")

    assert publish_months(settings, MARCH)[MARCH].state is State.PUBLISHED


def test_a_month_that_is_accepted_again_quotes_the_later_reason(refused: Sandbox) -> None:
    settings = refused.settings
    accept_march(refused)
    assert publish_months(settings, MARCH)[MARCH].state is State.PUBLISHED
    with open_warehouse(settings.warehouse, read_only=False, wait_seconds=0.0) as connection:
        withdraw(connection, MARCH, CHECK)
    assert refused.publish_again(MARCH)[MARCH].state is State.REFUSED

    with open_warehouse(settings.warehouse, read_only=False, wait_seconds=0.0) as connection:
        accept(connection, settings, MARCH, CHECK, why="it has been looked into", who="audit")

    found = explain(settings, MARCH)
    assert found.now is not None
    (said,) = [each for each in found.now.verdicts if each.check == CHECK]
    assert said.outcome is Outcome.WARNING
    assert said.finding.message.endswith("audit says: it has been looked into")
    # No file has changed, whatever was accepted of it and withdrawn.
    assert (found.has_published_inputs, found.is_as_published, found.lapsed) == (True, False, [])
    status = status_of_march(refused)
    assert (status.inputs, status.is_refused, status.is_accepted_since) == (Inputs.AS_PUBLISHED, True, True)


def test_a_check_that_the_last_run_did_not_reach_cannot_be_accepted(refused: Sandbox) -> None:
    refused.execute(
        "UPDATE audits SET verdict = CASE WHEN check_name = 'month_is_new' THEN 'not_judged' ELSE 'failed' END "
        "WHERE month = '2024-03' AND check_name IN ('month_is_new', 'fragmentation_complete')"
    )

    with pytest.raises(WaiverError, match="in its last run, because an earlier check had already refused the month"):
        accept_march(refused)


UNITS = "units_plausible"


@pytest.fixture(scope="module")
def accepted_january(small_fleet: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which January's CPU is exported as fractions, and published because somebody has accepted that."""
    folder = tmp_path_factory.mktemp("accepted_january")
    shutil.copytree(small_fleet, folder, dirs_exist_ok=True)
    settings = settings_in(folder)
    file = feed_file(settings, CPU, JANUARY).path
    head, *rows = file.read_text(encoding="utf-8").splitlines()
    fields = [row.split(",") for row in rows]
    fractions = [f"{day},{host},{float(value) / 100:.4f},{cores}" for day, host, value, cores in fields]
    file.write_text("\n".join([head, *fractions, ""]), encoding="utf-8")
    assert publish_months(settings, JANUARY, run_id="refuses January")[JANUARY].state is State.REFUSED
    with open_warehouse(settings.warehouse, read_only=False, wait_seconds=0.0) as connection:
        accept(connection, settings, JANUARY, UNITS, why="it looked right", who="ops")
    assert publish_months(settings, JANUARY, run_id="publishes January")[JANUARY].state is State.PUBLISHED
    return folder


@pytest.fixture
def misled(accepted_january: Path, tmp_path: Path) -> Iterator[Sandbox]:
    """A copy of it."""
    shutil.copytree(accepted_january, tmp_path, symlinks=True, dirs_exist_ok=True)
    with dg.DagsterInstance.ephemeral() as instance:
        yield Sandbox(settings_in(tmp_path), instance)


def withdraw_january(sandbox: Sandbox) -> None:
    with open_warehouse(sandbox.settings.warehouse, read_only=False, wait_seconds=0.0) as connection:
        withdraw(connection, JANUARY, UNITS)


def states(results: Mapping[Month, MonthResult]) -> dict[Month, State]:
    return {month: result.state for month, result in results.items()}


def audited(sandbox: Sandbox, month: Month) -> Outcome:
    """What an audit of all that is published says of the month's units."""
    with open_warehouse(sandbox.settings.warehouse, read_only=True, wait_seconds=0.0) as connection:
        said = reaudit(connection, sandbox.settings).verdicts
    (outcome,) = [each.outcome for each in said if (each.month, each.check) == (month, UNITS)]
    return outcome


def test_a_month_after_a_wrong_one_passes_when_the_wrong_ones_acceptance_is_withdrawn_and_both_are_run(
    misled: Sandbox,
) -> None:
    settings = misled.settings
    refused = publish_months(settings, FEBRUARY, run_id="refuses February")[FEBRUARY]
    said = verdict_of(refused, UNITS)
    assert said.failed
    assert "about 100 times the readings in 2024-01" in said.finding.message
    assert "refinery accept 2024-01 units_plausible --withdraw" in said.recovery
    assert "refinery run 2024-01 2024-02" in said.recovery
    before = misled.query("SELECT count(*) FROM processed_data")

    withdraw_january(misled)

    expected = {JANUARY: State.REFUSED, FEBRUARY: State.PUBLISHED}
    assert states(make_plan(settings, [[JANUARY, FEBRUARY]]).results) == expected
    assert states(publish_months(settings, JANUARY, FEBRUARY, run_id="both")) == expected
    # What was published of January stays, and an audit blames nobody but it.
    assert misled.query("SELECT count(*) FROM processed_data WHERE month(ds) = 1") == before
    assert (audited(misled, JANUARY), audited(misled, FEBRUARY)) == (Outcome.FAILED, Outcome.PASSED)


def test_a_month_with_a_gap_after_a_wrong_one_passes_when_that_ones_acceptance_is_withdrawn(misled: Sandbox) -> None:
    settings = misled.settings
    refused = publish_months(settings, MARCH, run_id="refuses March")[MARCH]
    assert "refinery run 2024-01 2024-03" in verdict_of(refused, UNITS).recovery

    withdraw_january(misled)

    # Months with a gap between them are a run each.
    assert states(make_plan(settings, [[JANUARY], [MARCH]]).results) == {JANUARY: State.REFUSED, MARCH: State.PUBLISHED}
    assert publish_months(settings, JANUARY, run_id="January")[JANUARY].state is State.REFUSED
    march = publish_months(settings, MARCH, run_id="March")[MARCH]
    assert march.state is State.PUBLISHED
    assert "earlier month to compare with" in verdict_of(march, UNITS).finding.summary
    assert audited(misled, MARCH) is Outcome.PASSED


def test_a_month_whose_acceptance_was_withdrawn_is_compared_with_once_it_is_exported_again(
    misled: Sandbox, small_fleet: Path
) -> None:
    settings = misled.settings
    withdraw_january(misled)
    misled.write_lines(CPU, JANUARY, Sandbox(settings_in(small_fleet), misled.instance).lines(CPU, JANUARY))

    found = publish_months(settings, JANUARY, FEBRUARY, run_id="both")

    assert states(found) == {JANUARY: State.PUBLISHED, FEBRUARY: State.PUBLISHED}
    for result in (found[FEBRUARY], publish_months(settings, FEBRUARY, run_id="again")[FEBRUARY]):
        assert "those of 2024-01" in verdict_of(result, UNITS).finding.summary


def test_a_month_after_a_wrong_one_is_published_when_it_is_accepted_itself(misled: Sandbox) -> None:
    settings = misled.settings
    refused = publish_months(settings, FEBRUARY, run_id="refuses February")[FEBRUARY]
    assert "refinery accept 2024-02 units_plausible --why TEXT" in verdict_of(refused, UNITS).recovery

    with open_warehouse(settings.warehouse, read_only=False, wait_seconds=0.0) as connection:
        accept(connection, settings, FEBRUARY, UNITS, why="January was wrong", who="ops")

    february = publish_months(settings, FEBRUARY, run_id="publishes February")[FEBRUARY]
    assert (february.state, verdict_of(february, UNITS).outcome) == (State.PUBLISHED, Outcome.WARNING)
    assert audited(misled, FEBRUARY) is Outcome.WARNING
    # With January's acceptance taken back, nothing speaks against February any more.
    withdraw_january(misled)
    assert audited(misled, FEBRUARY) is Outcome.PASSED


def test_a_copy_of_what_stands_of_a_month_is_told_although_the_run_refuses_other_content_of_that_month(
    sandbox: Sandbox,
) -> None:
    settings = sandbox.settings
    assert publish_months(settings, JANUARY, FEBRUARY, run_id="true")[FEBRUARY].state is State.PUBLISHED
    # An export that is a month behind, of both months.
    repeat_the_month_before(sandbox, MARCH)
    repeat_the_month_before(sandbox, FEBRUARY)

    found = publish_months(settings, FEBRUARY, MARCH, run_id="a month behind")

    assert states(found) == {FEBRUARY: State.REFUSED, MARCH: State.REFUSED}
    assert "what cpu of 2024-02 reads" in verdict_of(found[MARCH], CHECK).finding.message


@pytest.mark.slow
def test_a_copied_month_is_refused_and_names_the_month_that_it_repeats(sandbox: Sandbox) -> None:
    repeat_the_month_before(sandbox, MARCH)

    outcome = sandbox.refine(JANUARY, FEBRUARY, MARCH)

    # February, which is true, is published, and is not held against its copy.
    assert sandbox.query("SELECT DISTINCT month(ds) FROM processed_data ORDER BY 1") == [(1,), (2,)]
    assert outcome.verdict("processed_data", CHECK, FEBRUARY) == "passed"
    assert outcome.verdict("processed_data", CHECK, MARCH) == "failed"
    assert "what cpu of 2024-02 reads" in outcome.message
    recovery = str(outcome.metadata("processed_data", CHECK, MARCH)["recovery"])
    assert "refinery accept 2024-03 month_is_new --why TEXT" in recovery


@pytest.mark.slow
@pytest.mark.heavy
def test_a_month_that_comes_late_is_held_against_a_later_one_that_is_published(sandbox: Sandbox) -> None:
    repeat_the_month_before(sandbox, MARCH)
    assert sandbox.refine(MARCH).success

    assert sandbox.refine(FEBRUARY).verdict("processed_data", CHECK, FEBRUARY) == "failed"
    # Accepted, it answers for both of them: March, which was there before, is not blamed.
    accept_month(sandbox, FEBRUARY)
    assert sandbox.refine(FEBRUARY).verdict("processed_data", CHECK, FEBRUARY) == "warning"
    audited, again = sandbox.audit(), sandbox.refine(MARCH, force=True)
    assert audited.verdict("processed_data", CHECK, FEBRUARY) == "warning"
    assert [each.verdict("processed_data", CHECK, MARCH) for each in (audited, again)] == ["passed", "passed"]


@pytest.mark.slow
def test_a_month_is_accepted_for_exactly_its_files_and_every_use_is_in_audits(
    refused: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    sandbox = refused
    accept_march(sandbox)

    outcome = sandbox.refine(MARCH)

    assert outcome.success
    assert outcome.verdict("processed_data", CHECK, MARCH) == "warning"
    assert "ops says: the fleet was frozen for the audit" in outcome.metadata("processed_data", CHECK, MARCH)["summary"]
    assert sandbox.audit().verdict("processed_data", CHECK, MARCH) == "warning"
    assert (status_of_march(sandbox).inputs, status_of_march(sandbox).lapsed) == (Inputs.AS_PUBLISHED, [])
    with monkeypatch.context() as upgraded:
        upgraded.setattr("refinery_assets.rows.stats._ROWS_VERSION", 99)
        assert (status_of_march(sandbox).inputs, status_of_march(sandbox).lapsed) == (Inputs.CHANGED, [CHECK])
    # Another byte, and somebody must look again; what was published stays.
    before = sandbox.processed()
    sandbox.edit_line(CPU, MARCH, 2, sandbox.lines(CPU, MARCH)[1] + "0")
    assert status_of_march(sandbox).lapsed == [CHECK]
    changed = sandbox.refine(MARCH)
    assert changed.verdict("processed_data", CHECK, MARCH) == "failed"
    assert "but for other files, settings or inventory, or by another version" in changed.message
    assert sandbox.processed() == before
    assert verdicts(sandbox) == ["failed", "warning", "warning", "failed"]


@pytest.mark.slow
def test_a_month_whose_acceptance_is_taken_back_is_judged_again(refused: Sandbox) -> None:
    sandbox = refused
    accept_march(sandbox)
    assert sandbox.refine(MARCH).success

    with open_warehouse(sandbox.settings.warehouse, read_only=False, wait_seconds=0.0) as connection:
        withdraw(connection, MARCH, CHECK)

    found = status_of_march(sandbox)
    assert (found.month, found.inputs, found.withdrawn) == (MARCH, Inputs.WITHDRAWN, [CHECK])
    assert Status([found]).changed == [MARCH]
    plan = make_plan(sandbox.settings, [[MARCH]]).results[MARCH]
    assert (plan.state, [verdict.check for verdict in plan.verdicts if verdict.failed]) == (State.REFUSED, [CHECK])
    assert sandbox.refine(MARCH).verdict("processed_data", CHECK, MARCH) == "failed"
    assert sandbox.query("SELECT count(*), count(withdrawn_at) FROM waivers") == [(1, 1)]
    # Judged without it, and refused: another run would only refuse it again.
    with open_warehouse(sandbox.settings.warehouse, read_only=True, wait_seconds=0.0) as connection:
        status = read_status(connection, sandbox.settings, sandbox.settings.today)
    assert (status.months[-1].inputs, status.months[-1].is_judged_as_it_is) == (Inputs.WITHDRAWN, True)
    assert status.changed == []
    # An older version did not note what it judged, so that it cannot be told what would be accepted.
    sandbox.execute("ALTER TABLE audits DROP COLUMN input_digest")
    with pytest.raises(WaiverError, match="The run that refused 2024-03 did not note by which inputs"):
        accept_march(sandbox)


@pytest.mark.slow
def test_what_has_changed_since_it_was_refused_is_not_accepted_unseen(refused: Sandbox) -> None:
    sandbox = refused
    lines = sandbox.lines(CPU, MARCH)
    ((judged,),) = sandbox.query("SELECT DISTINCT input_digest FROM audits WHERE month = '2024-03'")

    sandbox.edit_line(CPU, MARCH, 2, f"{lines[1]}0")
    with pytest.raises(
        WaiverError, match=r"cpu_utilization_202403\.csv has changed since month_is_new refused 2024-03"
    ):
        accept_march(sandbox)
    # A family's step alone reads the file, and no check of processed_data has looked at it.
    assert sandbox.materialize(["cpu_utilization"], MARCH).success
    with pytest.raises(WaiverError, match="is another than when month_is_new refused it"):
        accept_march(sandbox)
    sandbox.write_lines(CPU, MARCH, lines)
    assert sandbox.materialize(["cpu_utilization"], MARCH).success
    stricter = Sandbox(replace(sandbox.settings, min_coverage=0.9), sandbox.instance)
    with pytest.raises(WaiverError, match="is another than when month_is_new refused it"):
        accept_march(stricter)
    assert sandbox.query("SELECT count(*) FROM duckdb_tables() WHERE table_name = 'waivers'") == [(1,)]
    assert sandbox.query("SELECT * FROM waivers") == []

    accept_march(sandbox)

    assert sandbox.query("SELECT input_digest FROM waivers") == [(judged,)]
    assert sandbox.refine(MARCH).success
    assert sandbox.query("SELECT DISTINCT input_digest FROM publications WHERE month = '2024-03'") == [(judged,)]


def test_what_no_run_has_refused_cannot_be_accepted(sandbox: Sandbox) -> None:
    with pytest.raises(WaiverError, match="month_is_new of 2024-03 has not been judged yet"):
        accept_march(sandbox)


def test_an_audit_of_what_is_published_neither_undoes_a_refusal_nor_stands_for_one(sandbox: Sandbox) -> None:
    def said(run_id: str, digest: str | None, **outcomes: Outcome) -> None:
        assets = {"source_files_present": LEGACY_FEED}
        found = [
            Verdict(assets.get(check, PROCESSED_DATA), check, MARCH, Finding(outcome, "", {}), "")
            for check, outcome in outcomes.items()
        ]
        with open_warehouse(sandbox.settings.warehouse, read_only=False, wait_seconds=0.0) as connection:
            record_audits(connection, run_id, found, inputs={} if digest is None else {MARCH: digest})

    def why_not() -> str:
        with pytest.raises(WaiverError) as refused:
            accept_march(sandbox)
        return str(refused.value)

    said("refused", "inputs", source_files_present=Outcome.PASSED, month_is_new=Outcome.FAILED)
    said("audited", None, month_is_new=Outcome.PASSED, keys_unique=Outcome.FAILED)
    assert status_of_march(sandbox).is_refused
    assert why_not().startswith("2024-03 cannot be accepted, because it is not clear which files are meant")

    said("run", "inputs", source_files_present=Outcome.FAILED, month_is_new=Outcome.PASSED)
    assert "month_is_new of 2024-03 passed in its last run" in why_not()
    said("audited again", None, month_is_new=Outcome.FAILED)
    assert "month_is_new of 2024-03 fails by an audit of what is published" in why_not()
    assert "refinery run 2024-03 --force" in why_not()


@pytest.mark.slow
def test_the_job_accepts_and_tells_what_is_wrong_with_its_config(refused: Sandbox) -> None:
    sandbox = refused
    job = build_defs(sandbox.settings).resolve_job_def(ACCEPT)

    def run(**config: object) -> dg.ExecuteInProcessResult:
        loggers = {"console": {"config": {"log_level": "CRITICAL"}}}
        ops = {"accept_month": {"config": {"month": "2024-03", "check_name": CHECK, **config}}}
        return job.execute_in_process({"ops": ops, "loggers": loggers}, sandbox.instance, raise_on_error=False)

    assert not run(why=" ").success
    assert not run(month="March", why="it is").success
    assert run(why="it is", who="ops").success
    assert sandbox.query("SELECT month, check_name, reason, who FROM waivers") == [("2024-03", CHECK, "it is", "ops")]
    # Nothing keeps a reason for taking it back, here as on the command line.
    for unheard in ({"why": "it is not"}, {"who": "ops"}):
        assert not run(withdraw=True, **unheard).success
    assert sandbox.query("SELECT count(*) FROM waivers WHERE withdrawn_at IS NULL") == [(1,)]
    assert run(withdraw=True).success
    assert sandbox.query("SELECT count(*) FROM waivers WHERE withdrawn_at IS NULL") == [(0,)]


@pytest.mark.slow
def test_a_check_that_is_off_lets_the_lie_by_and_the_receipt_says_so(sandbox: Sandbox) -> None:
    repeat_the_month_before(sandbox, MARCH)
    plausibility = PlausibilitySettings(month_is_new=Mode.OFF, levels_plausible=Mode.OFF)
    careless = Sandbox(replace(sandbox.settings, plausibility=plausibility), sandbox.instance)

    assert careless.refine(FEBRUARY, MARCH).success

    assert sandbox.query("SELECT DISTINCT checks_off FROM publications") == [("month_is_new, levels_plausible",)]
    # With the check on again, the month has another input digest, and is looked at again.
    assert sandbox.refine(MARCH).verdict("processed_data", CHECK, MARCH) == "failed"
    assert sandbox.audit().verdict("processed_data", CHECK, MARCH) == "failed"


@pytest.mark.slow
def test_months_that_an_older_version_published_are_compared_by_what_it_kept(
    sandbox: Sandbox, given_published: GivenPublished
) -> None:
    given_published(JANUARY, FEBRUARY)
    for column in ("median_y", "decimals", "capacities", *PART_DIGESTS):
        sandbox.execute(f"ALTER TABLE series_months DROP COLUMN {column}")
    head, *rows = sandbox.lines(MEMORY, MARCH)
    fields = [row.split(",") for row in rows]
    fractions = [f"{day},{host},{float(value) / 100:.4f},{limit}" for day, host, value, limit in fields]
    sandbox.write_lines(MEMORY, MARCH, [head, *fractions])

    outcome = sandbox.refine(MARCH)

    assert outcome.verdict("processed_data", "units_plausible", MARCH) == "failed"
    assert "2 earlier months were published by an older version" in outcome.message
    assert set(CHECKS) <= {check for (check,) in sandbox.query("SELECT DISTINCT check_name FROM audits")}
