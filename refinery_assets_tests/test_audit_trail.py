"""The table `audits`: what a consumer learns from it of a month, published or refused."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from importlib.metadata import version

import dagster as dg
import duckdb
import pytest

from refinery_assets.contract.columns import AUDITS
from refinery_assets.contract.contract_file import packaged_contract
from refinery_assets.contract.families import LEGACY_FEED
from refinery_assets.contract.months import Month
from refinery_assets.contract.packaged import FAMILIES
from refinery_assets.reports.monthly_report import monthly_reports
from refinery_assets.warehouse.status import read_status
from refinery_assets_tests.scenario import (
    CPU,
    DISK,
    FEBRUARY,
    JANUARY,
    MARCH,
    GivenPublished,
    Rows,
    Sandbox,
    asset_and_check,
)

pytestmark = pytest.mark.slow

FAMILY_NAMES = [family.name for family in FAMILIES]
LAST_AUDIT = """
    SELECT month, check_name, verdict, severity, published_at IS NOT NULL FROM audits
    WHERE run_id = ? AND verdict IN ('failed', 'warning') ORDER BY month, check_name
"""


def verdicts_of(sandbox: Sandbox, run_id: str) -> Rows:
    return sandbox.query(LAST_AUDIT, [run_id])


def pages(sandbox: Sandbox, asset: str) -> dict[str, dict[str, str]]:
    """What the asset's page shows of months that were refused."""
    found = [each.asset_observation for each in sandbox.instance.fetch_observations(dg.AssetKey(asset), 100).records]
    return {
        str(each.partition): {name: str(text.value) for name, text in each.metadata.items()} for each in found if each
    }


def to_be_run(sandbox: Sandbox) -> Sequence[Month]:
    """The published months that `refinery run changed` would take."""
    with duckdb.connect(sandbox.settings.warehouse, read_only=True) as connection:
        status = read_status(connection, sandbox.settings, FEBRUARY.next.first_day)
    return [each.month for each in status.months if each.receipt and each.month in status.changed]


def test_a_month_refused_at_the_entrance_leaves_its_trace_and_no_row(sandbox: Sandbox) -> None:
    sandbox.file(DISK, FEBRUARY).path.unlink()

    outcome = sandbox.refine(JANUARY, FEBRUARY)

    assert not outcome.success
    assert verdicts_of(sandbox, outcome.run_id) == [("2024-02", "source_files_present", "failed", "ERROR", False)]
    for asset in ("legacy_feed", "storage_usage", "cpu_utilization", "processed_data"):
        shown = pages(sandbox, asset)
        assert set(shown) == {"2024-02"}
        assert shown["2024-02"]["state"] == "refused"
        recovery = outcome.metadata("legacy_feed", "source_files_present", FEBRUARY)["recovery"]
        assert shown["2024-02"]["recovery"] == recovery
        assert "2024/02/storage_usage_202402.csv" in shown["2024-02"]["summary"]
    assert sandbox.query("SELECT DISTINCT month FROM audits WHERE published_at IS NOT NULL") == [("2024-01",)]
    assert sandbox.query("SELECT DISTINCT month(ds) FROM processed_data") == [(1,)]


def test_a_month_refused_at_its_family_leaves_its_trace_and_the_data_as_they_were(
    sandbox: Sandbox, given_published: GivenPublished
) -> None:
    given_published(FEBRUARY)
    before = sandbox.published()
    lines = sandbox.lines(CPU, FEBRUARY)
    sandbox.write_lines(CPU, FEBRUARY, [lines[0], *(f"{line}," for line in lines[1:])])

    outcome = sandbox.refine(FEBRUARY)

    assert verdicts_of(sandbox, outcome.run_id) == [
        ("2024-02", "quarantine_within_tolerance", "failed", "ERROR", False)
    ]
    assert sandbox.published() == before
    # The family and the table were refused; what stands of the others is this month's file.
    assert [asset for asset in ("legacy_feed", *FAMILY_NAMES) if pages(sandbox, asset)] == ["cpu_utilization"]
    (shown,) = pages(sandbox, "cpu_utilization").values()
    assert shown == pages(sandbox, "processed_data")["2024-02"]
    assert shown["summary"].startswith("cpu_utilization quarantine_within_tolerance: ")
    sandbox.write_lines(CPU, FEBRUARY, lines)
    # Dagster has it as refused until a run has seen that it is as published.
    assert to_be_run(sandbox) == [FEBRUARY]
    assert sandbox.refine(FEBRUARY).success
    assert to_be_run(sandbox) == []
    assert len(pages(sandbox, "cpu_utilization")) == 1


def test_a_month_refused_by_the_audit_is_told_apart_from_the_sound_months_of_its_run(
    sandbox: Sandbox,
) -> None:
    lines = sandbox.lines(CPU, FEBRUARY)
    sandbox.write_lines(CPU, FEBRUARY, [lines[0], *(line.replace("srv-", "ghost-") for line in lines[1:])])

    outcome = sandbox.refine(JANUARY, FEBRUARY)

    failed = [row[:3] for row in verdicts_of(sandbox, outcome.run_id)]
    assert ("2024-02", "referential_integrity", "failed") in failed
    assert {month for month, _, _ in failed} == {"2024-02"}
    assert sandbox.query("SELECT DISTINCT month FROM audits WHERE published_at IS NOT NULL") == [("2024-01",)]


def test_a_month_without_a_partition_leaves_its_trace(sandbox: Sandbox) -> None:
    outcome = sandbox.materialize(["processed_data"], MARCH)

    assert verdicts_of(sandbox, outcome.run_id) == [("2024-03", "rows_accounted_for", "failed", "ERROR", False)] * len(
        FAMILIES
    )


def test_somebody_elses_table_of_this_name_is_left_alone_and_nothing_is_published(sandbox: Sandbox) -> None:
    sandbox.execute("CREATE TABLE audits (mine INTEGER)")

    outcome = sandbox.refine(JANUARY)

    assert "table audits that the refinery did not make" in outcome.failures["processed_data"]
    assert sandbox.query("SELECT * FROM audits") == []
    assert sandbox.published_rows() == 0


def test_the_table_says_of_every_check_and_month_what_dagster_says(sandbox: Sandbox) -> None:
    # A file that is missing, one beyond tolerance, a reading above 100, and a month that is fine.
    sandbox.file(DISK, FEBRUARY).path.unlink()
    lines = sandbox.lines(CPU, MARCH)
    sandbox.write_lines(CPU, MARCH, [lines[0], *(f"{line}," for line in lines[1:])])
    date, host, _, cores = sandbox.lines(CPU, JANUARY)[1].split(",")
    sandbox.edit_line(CPU, JANUARY, 2, f"{date},{host},117.9,{cores}")
    generous = Sandbox(replace(sandbox.settings, overshoot=20.0), sandbox.instance)

    # Whole runs; then one that finds a month unchanged without steps for families and inventory, one from partitions
    # alone, of months good and bad, and one over no month.
    outcomes = [generous.refine(JANUARY, MARCH), generous.refine(JANUARY), generous.refine(MARCH)]
    outcomes.append(generous.materialize([LEGACY_FEED, "processed_data"], JANUARY))
    outcomes.append(generous.materialize(["processed_data"], JANUARY, FEBRUARY))
    outcomes.append(generous.audit("host_inventory", "processed_data"))
    for outcome in outcomes:
        in_table = {
            (f"{asset}.{check}", month): verdict
            for asset, check, month, verdict in sandbox.query(
                "SELECT asset, check_name, month, replace(verdict, 'not_judged', 'warning') FROM audits "
                "WHERE run_id = ?",
                [outcome.run_id],
            )
        }
        assert in_table == {
            (name, month): outcome.verdict(*asset_and_check(name), Month.parse(str(month)))
            for name, month in outcome.evaluations
            # A run over no month sums up, too, what each check said of all.
            if month is not None
        }
    assert sandbox.query(
        "SELECT DISTINCT verdict FROM audits WHERE asset = 'cpu_utilization' AND month = '2024-01' "
        "AND check_name = 'quarantine_within_tolerance'"
    ) == [("warning",)]


def test_an_audit_that_finds_the_table_in_order_leaves_a_refusal_standing_and_one_that_fails_is_told_as_such(
    sandbox: Sandbox,
    given_published: GivenPublished,
) -> None:
    given_published(FEBRUARY)
    sandbox.file(DISK, FEBRUARY).path.unlink()
    refused = sandbox.refine(FEBRUARY)

    assert sandbox.audit().success
    assert _last_audit(sandbox) == (refused.run_id, False, "2024-02 was refused")
    sandbox.execute("DELETE FROM processed_data WHERE day(ds) = 7")
    failed = sandbox.audit()

    assert not failed.success
    assert _last_audit(sandbox) == (failed.run_id, True, "2024-02 was published on")
    assert list((sandbox.telemetry / ".runs").glob(f"{failed.run_id}*")) == []


def _last_audit(sandbox: Sandbox) -> tuple[str, bool, str]:
    """The run that `refinery status` names, whether it judged the table alone, and how the report's headline begins."""
    with duckdb.connect(sandbox.settings.warehouse, read_only=True) as connection:
        (month,) = read_status(connection, sandbox.settings, FEBRUARY.next.first_day).months[1:2]
        report = monthly_reports(connection, [FEBRUARY], packaged_contract())[FEBRUARY]
    assert month.audit is not None
    assert report.is_refused
    assert month.is_refused
    return month.audit.run_id, month.audit.of_table, report.headline.partition(";")[0].partition(" 2")[0]


def test_a_publication_notes_every_check_that_let_it_pass_and_what_it_counted(sandbox: Sandbox) -> None:
    sandbox.edit_line(CPU, FEBRUARY, 2, "not,a,row")
    before = datetime.now(UTC).replace(tzinfo=None)

    outcome = sandbox.refine(JANUARY, FEBRUARY)

    assert outcome.success
    rows = sandbox.query(
        "SELECT month, count(*), min(published_at), max(published_at), min(audited_at), any_value(version) "
        "FROM audits GROUP BY month ORDER BY month"
    )
    for (month, checks, first, last, audited, made_by), expected in zip(rows, ("2024-01", "2024-02"), strict=True):
        assert (month, checks, made_by) == (expected, 3 + 3 + 3 * len(FAMILIES) + 15, version("refinery-assets"))
        assert before <= first == last == audited <= before + timedelta(minutes=5)
    assert verdicts_of(sandbox, outcome.run_id) == [("2024-02", "quarantine_within_tolerance", "warning", "WARN", True)]
    # The counts are those of the month.
    counts = {
        month: json.loads(text)
        for month, text in sandbox.query(
            "SELECT month, counts FROM audits WHERE check_name = 'row_parity' ORDER BY month"
        )
    }
    assert counts["2024-01"]["cpu"]["quarantined"] == 0
    assert counts["2024-02"]["cpu"]["quarantined"] == 1
    assert counts["2024-02"]["disk"]["published"] == 20 * 29
    assert sandbox.query(
        "SELECT counts->>'quarantined_rows' FROM audits WHERE asset = 'cpu_utilization' "
        "AND check_name = 'rows_accounted_for' ORDER BY month"
    ) == [("0",), ("1",)]


def test_each_rebuilding_adds_to_the_trail(sandbox: Sandbox, given_published: GivenPublished) -> None:
    given_published(JANUARY)
    first = sandbox.query("SELECT DISTINCT run_id FROM audits")
    second = sandbox.refine(JANUARY)

    assert len(first) == 1
    assert sandbox.query("SELECT run_id FROM audits GROUP BY run_id ORDER BY min(audited_at)") == [
        *first,
        (second.run_id,),
    ]


def test_the_table_has_the_declared_columns(sandbox: Sandbox, given_published: GivenPublished) -> None:
    given_published(JANUARY)

    assert sandbox.query(
        "SELECT column_name, data_type FROM duckdb_columns() WHERE table_name = 'audits' ORDER BY column_index"
    ) == [(column.name, column.sql_type.removesuffix(" NOT NULL")) for column in AUDITS.columns]
