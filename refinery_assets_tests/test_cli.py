"""The command line `refinery`: exit codes, sentences, JSON, and what is shown while it works."""

from __future__ import annotations

import io
import json
import os
import pty
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from typer.testing import CliRunner, Result

from refinery_assets.cli import app
from refinery_assets.contract.settings import PROJECT_ROOT
from refinery_assets.reports.terminal import console_for
from refinery_assets_tests.installation import Installation, install
from refinery_assets_tests.scenario import (
    CPU,
    FEBRUARY,
    JANUARY,
    MARCH,
    MEMORY,
    GivenPublished,
    Sandbox,
    repeat_the_month_before,
    settings_in,
)
from refinery_assets_tests.test_plan import warehouse_held

MODULE = (sys.executable, "-m", "refinery_assets.cli")
IMPATIENT = {"REFINERY_LOCK_WAIT_SECONDS": "0.2", "REFINERY_LOCK_RETRIES": "0"}


def refinery(installation: Installation, *arguments: str, **variables: str) -> Result:
    """The command in this process, with the installation's settings alone."""
    unset = {name: None for name in os.environ if name.startswith("REFINERY_")}
    return CliRunner().invoke(app, arguments, env={**unset, **installation.environment, **variables})


def parsed(result: Result) -> dict[str, Any]:
    """What a command printed as JSON."""
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def months_by_state(result: Result) -> dict[str, str]:
    return {month["month"]: month["state"] for month in parsed(result)["months"]}


def spoil(installation: Installation) -> Sandbox:
    """January ends in mid-line; February names a host that the inventory lacks."""
    with installation.sandbox() as sandbox:
        data = sandbox.file(CPU, JANUARY).path.read_bytes()
        sandbox.write_bytes(CPU, JANUARY, data[: len(data) // 2])
        sandbox.edit_line(MEMORY, FEBRUARY, 9, "2024-02-01,ghost,12.5,8")
    return sandbox


@dataclass(frozen=True)
class Refused:
    """What a run over all months of a spoilt feed left and printed; nobody changes it."""

    installation: Installation
    result: Result


@pytest.fixture(scope="module")
def refused(small_fleet: Path, tmp_path_factory: pytest.TempPathFactory, dagster_home: Path) -> Refused:
    folder = tmp_path_factory.mktemp("refused")
    shutil.copytree(small_fleet, folder, dirs_exist_ok=True)
    installation = install(folder, settings_in(folder), home=dagster_home)
    spoil(installation)
    return Refused(installation, refinery(installation, "run", "all"))


# What goes wrong.


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["2024-13"], "'2024-13' names no months; expected a month such as 2024-05, a range such as "),
        (["2024-03..2024-01"], "'2024-03..2024-01' ends before it begins; expected 2024-01..2024-03."),
        (["2023-12"], "2023-12 is before 2024-01, where the window begins; set REFINERY_FIRST_MONTH to 2023-12 or "),
        (["2025-01"], "2025-01 cannot be refined: it is after 2024-12, where the window ends; set REFINERY_LAST_"),
    ],
)
@pytest.mark.parametrize("command", ["run", "plan"])
def test_months_that_cannot_be_asked_for_are_refused(
    installation: Installation, command: str, words: list[str], sentence: str
) -> None:
    result = refinery(installation, command, *words)
    assert result.exit_code == 2
    assert result.stderr.startswith(sentence)


@pytest.mark.parametrize("command", ["explain", "report"])
def test_a_month_outside_the_window_of_which_nothing_is_known_is_refused(
    installation: Installation, given_published: GivenPublished, command: str
) -> None:
    given_published(JANUARY)
    before = refinery(installation, command, "2023-12")
    assert (before.exit_code, before.stdout) == (2, "")
    assert before.stderr.startswith("2023-12 is before 2024-01, where the window begins; set REFINERY_FIRST_MONTH to ")
    after = refinery(installation, command, "2025-01")
    assert (after.exit_code, after.stdout) == (2, "")
    assert "set REFINERY_LAST_MONTH to 2025-01 or later to include it" in after.stderr


def test_what_is_known_of_a_published_month_is_there_wherever_the_window_begins(
    installation: Installation, given_published: GivenPublished
) -> None:
    given_published(JANUARY)
    result = refinery(installation, "report", "2024-01", REFINERY_FIRST_MONTH="2024-02")
    assert (result.exit_code, result.stdout.partition(":")[0]) == (0, "# 2024-01 is published")
    explained = refinery(installation, "explain", "2024-01", REFINERY_FIRST_MONTH="2024-02")
    assert explained.exit_code == 0, explained.stderr
    assert "It is outside the window, so that no run can be over it" in explained.stdout


@pytest.mark.parametrize("months", ["all", "changed"])
def test_an_empty_feed_is_said(installation: Installation, tmp_path: Path, months: str) -> None:
    result = refinery(installation, "run", months, REFINERY_FEED=str(tmp_path / "nowhere"))
    assert result.exit_code == 2
    assert result.stderr.startswith(f"The feed {tmp_path / 'nowhere'} holds no file of 2024-01 to 2024-12; ")


@pytest.mark.parametrize("command", [["run", "all"], ["plan", "all"], ["status"], ["audit"], ["explain", "2024-01"]])
def test_a_bad_setting_is_reported_in_one_sentence(installation: Installation, command: list[str]) -> None:
    result = refinery(installation, *command, REFINERY_MAX_GAP_DAYS="three")
    expected = "REFINERY_MAX_GAP_DAYS is 'three'; expected a whole number of days, 0 or more.\n"
    assert (result.exit_code, result.stderr) == (2, expected)


@pytest.mark.parametrize("command", [["run", "all"], ["ui"]])
def test_a_dagster_home_that_cannot_be_used_is_refused_in_one_sentence(
    installation: Installation, command: list[str]
) -> None:
    result = refinery(installation, *command, DAGSTER_HOME="/dev/null/dagster")
    expected = (
        "DAGSTER_HOME is '/dev/null/dagster', which cannot be used (Not a directory); expected a folder that can be "
        "read and written, or made.\n"
    )
    assert (result.exit_code, result.stderr) == (2, expected)


def test_a_warehouse_that_is_not_there_is_said(installation: Installation, tmp_path: Path) -> None:
    result = refinery(installation, "audit", REFINERY_WAREHOUSE=str(tmp_path / "none.duckdb"))
    assert result.exit_code == 4
    assert result.stderr == (
        f"The warehouse {tmp_path / 'none.duckdb'} is not there; load the inventory into it or set "
        "REFINERY_WAREHOUSE.\n"
    )


@pytest.mark.slow
def test_a_held_warehouse_has_an_exit_code_of_its_own(installation: Installation) -> None:
    with warehouse_held(installation.settings.warehouse) as holder:
        run = refinery(installation, "run", "2024-01", **IMPATIENT)
        audit = refinery(installation, "audit", **IMPATIENT)
    assert (run.exit_code, audit.exit_code) == (3, 3)
    assert "2024-01: not reached" in run.stdout
    for printed in (run.stdout, audit.stderr):
        assert f"The warehouse {installation.settings.warehouse} is still held by process {holder} " in printed


def test_the_trace_of_an_unforeseen_error_is_in_the_file_that_the_sentence_names(installation: Installation) -> None:
    (installation.home / "dagster.yaml").write_text("storage: [")
    result = refinery(installation, "run", "2024-01")
    log = installation.settings.alert_log.with_name("errors.log")
    assert result.exit_code == 4
    assert result.stderr.endswith(f" This is unexpected; the stack trace is in {log}.\n")
    assert "Traceback" not in result.stderr
    assert "Traceback (most recent call last)" in log.read_text()


def test_before_anything_is_published_export_and_audit_say_what_publishes(
    installation: Installation, tmp_path: Path
) -> None:
    told = "Nothing is published yet; refinery run all publishes the months of the feed."
    exported = refinery(installation, "export", "--to", str(tmp_path / "out"))
    assert (exported.exit_code, exported.stdout, exported.stderr) == (1, "", f"{told}\n")
    audited = refinery(installation, "audit")
    assert (audited.exit_code, told in audited.stdout) == (4, True)


def test_an_export_whose_last_month_is_before_its_first_is_wrong_usage(installation: Installation) -> None:
    result = refinery(installation, "export", "--first", "2024-03", "--last", "2024-01")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "the last month, 2024-01, is before the first, 2024-03." in result.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("export", "--to"),
        ("report", "2024-01", "--to"),
        ("sample", "--to"),
        ("demo", "--folder"),
        ("contract", "check"),
        ("contract", "infer"),
        ("contract", "infer", "feed", "--to"),
        ("lake", "init", "--inventory"),
    ],
)
def test_an_address_where_a_path_is_expected_is_wrong_usage_and_makes_no_folder_of_its_name(
    installation: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: Sequence[str]
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    result = refinery(installation, *arguments, "s3://lake/x")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "'s3://lake/x' is an address; expected a path on this machine." in result.stderr
    assert not list(Path().iterdir())


@pytest.mark.slow
def test_what_fails_several_steps_is_said_once(installation: Installation) -> None:
    result = refinery(installation, "run", "2024-01", REFINERY_TELEMETRY="/dev/null/telemetry")
    assert result.exit_code == 4
    assert result.stdout.count("The folder /dev/null/telemetry cannot be written") == 1


def test_a_command_of_whose_output_enough_was_read_ends_as_other_tools_do(installation: Installation) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        ended = subprocess.run(
            [*MODULE, "contract", "show"],
            env=installation.environment,
            stdout=writing,
            stderr=subprocess.PIPE,
            check=False,
        )
    finally:
        os.close(writing)
    assert (ended.returncode, ended.stderr) == (141, b"")


def test_a_table_of_which_enough_was_read_is_ended_by_the_command_line_too() -> None:
    class Unread(io.StringIO):
        def write(self, text: str, /) -> int:
            raise BrokenPipeError(text)

    with pytest.raises(BrokenPipeError):
        console_for(Unread()).print("2024-01: published")


@pytest.mark.slow
def test_an_export_says_what_it_wrote_and_names_a_file_that_is_in_its_way(
    installation: Installation, given_published: GivenPublished, tmp_path: Path
) -> None:
    given_published(JANUARY)
    written = refinery(installation, "export", "--to", str(tmp_path / "out"))
    file = tmp_path / "out" / "month=2024-01" / "processed_data.parquet"
    assert file.is_file()
    assert written.stdout == f"2024-01: 2,480 rows in {file}\nWrote 2,480 rows of 1 month to {tmp_path / 'out'}.\n"
    as_json = parsed(refinery(installation, "export", "--to", str(tmp_path / "out"), "--json"))
    assert (as_json["rows"], as_json["months"]) == (2480, [{"month": "2024-01", "rows": 2480, "file": str(file)}])
    assert as_json["others"] == []
    earlier = tmp_path / "out" / "month=2023-12" / "processed_data.parquet"
    earlier.parent.mkdir()
    shutil.copy(file, earlier)
    again = refinery(installation, "export", "--to", str(tmp_path / "out"))
    assert f"Of an earlier export, {tmp_path / 'out'} still holds 2023-12: remove what" in again.stdout
    (tmp_path / "file").touch()
    result = refinery(installation, "export", "--to", str(tmp_path / "file"))
    assert result.exit_code == 4
    assert result.stderr.startswith(f"{tmp_path / 'file'}")
    assert "check its permissions" in result.stderr


@pytest.mark.slow
def test_an_interrupted_run_ends_as_such(installation: Installation) -> None:
    process = installation.start_into(subprocess.PIPE, *MODULE, "run", "all")
    assert process.stdout is not None
    # The first step is over, so the run is on its way.
    first = process.stdout.readline()
    os.killpg(process.pid, signal.SIGINT)
    output, _ = process.communicate()
    assert process.returncode == 130, first + output
    assert "Traceback" not in output
    with installation.instance() as instance:
        (run,) = instance.get_runs()
    assert run.is_finished


@pytest.mark.slow
def test_refused_months_are_named_with_cause_place_and_what_to_do(refused: Refused) -> None:
    assert refused.result.exit_code == 1
    lines = refused.result.stdout.splitlines()
    assert lines[0] == "2024-01: refused"
    assert lines[1] == "2024-02: refused"
    assert lines[2].startswith("2024-03: published | rows 2,480 | imputed 0 | quarantined 0 | changes 2,480 added")
    assert any(
        line.startswith("2024-01: legacy_feed fragmentation_complete failed: ") and "ends in the middle of line" in line
        for line in lines
    )
    at = next(at for at, line in enumerate(lines) if line.startswith("2024-02: processed_data referential_integrity"))
    assert lines[at + 1] == "  where: line 9 of 2024/02/memory_stats_202402.csv"
    assert lines[at + 2].startswith("  what to do: Add the hosts named to the inventory")
    assert lines[-1] == "3 months: 2 refused, 1 published."


# What is done.


@pytest.mark.slow
def test_a_run_is_recorded_in_dagster_and_printed_as_json(installation: Installation) -> None:
    result = refinery(installation, "run", "2024-01..2024-02", "--json")
    assert result.exit_code == 0, result.stderr
    found = parsed(result)
    assert found["success"]
    assert months_by_state(result) == {"2024-01": "published", "2024-02": "published"}
    assert found["months"][0]["differences"]["rows_added"] == 2480
    with installation.instance() as instance:
        (run,) = instance.get_runs()
        assert [run.run_id] == found["runs"]
        assert run.status is dg.DagsterRunStatus.SUCCESS
        assert instance.get_materialized_partitions(dg.AssetKey("processed_data")) == {"2024-01", "2024-02"}


@pytest.mark.slow
def test_months_with_a_gap_between_are_two_runs(installation: Installation) -> None:
    result = refinery(installation, "run", "2024-01", "2024-03", "--json")
    assert result.exit_code == 0, result.stderr
    assert len(parsed(result)["runs"]) == 2
    assert months_by_state(result) == {"2024-01": "published", "2024-03": "published"}


@pytest.mark.slow
def test_only_changed_months_are_run_and_nothing_is_left_to_do_then(
    installation: Installation, given_published: GivenPublished
) -> None:
    given_published(JANUARY, MARCH)
    with installation.sandbox() as sandbox:
        lines = sandbox.lines(CPU, FEBRUARY)
        sandbox.write_lines(CPU, FEBRUARY, lines[:1] + lines[2:] + lines[1:2])
    result = refinery(installation, "run", "changed", "--json")
    assert months_by_state(result) == {"2024-02": "published"}
    nothing = refinery(installation, "run", "changed")
    assert (nothing.exit_code, nothing.stdout) == (0, "Nothing to do: every month of the window is as published.\n")
    with installation.sandbox() as sandbox:
        sandbox.edit_line(CPU, JANUARY, 2, sandbox.lines(CPU, JANUARY)[2])
    outside = refinery(installation, "run", "changed", REFINERY_FIRST_MONTH="2024-02")
    assert outside.exit_code == 0
    assert outside.stdout == (
        "Nothing to do: every month of the window is as published.\n"
        "Changed, but outside the window: 2024-01; see REFINERY_FIRST_MONTH and REFINERY_LAST_MONTH.\n"
    )
    planned = parsed(refinery(installation, "plan", "changed", "--json", REFINERY_FIRST_MONTH="2024-02"))
    assert planned["changed_outside"] == ["2024-01"]
    status = parsed(refinery(installation, "status", "--json", REFINERY_FIRST_MONTH="2024-02"))
    assert [each["outside_window"] for each in status["months"]] == [True, False, False]
    assert status["changed_outside"] == ["2024-01"]


@pytest.mark.slow
def test_a_month_that_changed_outside_the_window_keeps_no_other_from_being_run(
    installation: Installation, given_published: GivenPublished
) -> None:
    given_published(JANUARY, MARCH)
    with installation.sandbox() as sandbox:
        for month in (JANUARY, MARCH):
            lines = sandbox.lines(CPU, month)
            sandbox.write_lines(CPU, month, lines[:1] + lines[2:] + lines[1:2])
    planned = refinery(installation, "plan", "changed", "--json", REFINERY_FIRST_MONTH="2024-02")
    assert months_by_state(planned) == {"2024-03": "published"}
    late = parsed(refinery(installation, "status", "--json", REFINERY_FIRST_MONTH="2024-06"))["late"]
    assert late[0] == "2024-06"


@pytest.mark.slow
def test_force_rewrites_what_has_not_changed(installation: Installation, given_published: GivenPublished) -> None:
    given_published(JANUARY)
    assert months_by_state(refinery(installation, "run", "2024-01", "--json")) == {"2024-01": "unchanged"}
    assert months_by_state(refinery(installation, "run", "2024-01", "--json", "--force")) == {"2024-01": "published"}


@pytest.mark.slow
def test_months_that_are_not_exported_yet_are_named_and_fail_nothing(installation: Installation) -> None:
    result = refinery(installation, "run", "2024-03..2024-05", "--json")
    assert result.exit_code == 0
    later = dict.fromkeys(["2024-04", "2024-05"], "not exported yet")
    assert months_by_state(result) == {"2024-03": "published", **later}


@pytest.mark.slow
def test_a_plan_says_the_same_as_the_run_and_records_nothing(installation: Installation) -> None:
    spoil(installation)
    plan = refinery(installation, "plan", "all", "--json")
    with installation.instance() as instance:
        assert not instance.get_runs()
    run = refinery(installation, "run", "all", "--json")
    assert (plan.exit_code, run.exit_code) == (1, 1)
    for planned, done in zip(parsed(plan)["months"], parsed(run)["months"], strict=True):
        for field in ("month", "state", "rows", "imputed", "quarantined"):
            assert planned[field] == done[field]
        for kind in ("failed", "warnings"):
            assert _by_name(planned[kind]) == _by_name(done[kind])


def _by_name(checks: Sequence[dict[str, Any]]) -> dict[str, tuple[str, str | None, int | None]]:
    return {f"{each['asset']} {each['check']}": (each["message"], each["file"], each["line"]) for each in checks}


@pytest.mark.slow
def test_status_tells_what_is_published_and_what_has_changed(
    installation: Installation, given_published: GivenPublished
) -> None:
    before = refinery(installation, "status", "--json")
    assert {each["inputs"] for each in parsed(before)["months"]} == {"not published"}
    given_published(JANUARY, FEBRUARY)
    with installation.sandbox() as sandbox:
        ((run_id,),) = sandbox.query("SELECT DISTINCT run_id FROM publications")
        sandbox.edit_line(CPU, FEBRUARY, 2, sandbox.lines(CPU, FEBRUARY)[2])
    january, february, march = parsed(refinery(installation, "status", "--json"))["months"]
    assert january["inputs"] == "as published"
    assert january["publication"]["run_id"] == run_id
    assert january["last_audit"]["published"]
    assert february["inputs"] == "changed"
    assert (march["inputs"], march["publication"]) == ("not published", None)
    shown = refinery(installation, "status").stdout
    assert "To be run: 2024-02, 2024-03 (2 months), by refinery run changed.\n" in shown
    assert "Late: 2024-03, 2024-04, " in shown


def test_status_works_without_a_warehouse(installation: Installation) -> None:
    installation.settings.warehouse.unlink()
    result = refinery(installation, "status")
    assert result.exit_code == 0
    assert "2024-01: not published" in result.stdout
    missing = (
        f"every month is refused: The warehouse {installation.settings.warehouse} is not there; load the inventory"
    )
    assert missing in result.stdout
    assert "by refinery run changed once the inventory is corrected." in result.stdout


@pytest.mark.slow
def test_explain_shows_the_line_and_what_to_do(refused: Refused) -> None:
    result = refinery(refused.installation, "explain", "2024-02")
    assert result.exit_code == 0
    assert "2024-02 is not published." in result.stdout
    assert "it would be refused." in result.stdout
    assert "line 9 of 2024/02/memory_stats_202402.csv" in result.stdout
    assert "found the same." in result.stdout


@pytest.mark.slow
def test_explain_shows_quarantined_lines_as_they_stood(installation: Installation) -> None:
    with installation.sandbox() as sandbox:
        sandbox.edit_line(CPU, JANUARY, 5, "2024-01-01,[bold]host,n o,8")
    assert refinery(installation, "run", "2024-01").exit_code == 0
    result = refinery(installation, "explain", "2024-01")
    assert "In quarantine: cpu not_a_number 1." in result.stdout
    # Once, below the check that found it, and not again with what is in quarantine.
    line = "    2024/01/cpu_utilization_202401.csv     5  not_a_number  '2024-01-01,[bold]host,n o,8'\n"
    assert result.stdout.count(line) == 1
    found = parsed(refinery(installation, "explain", "2024-01", "--json"))
    assert found["quarantined"] == {"cpu not_a_number": 1}
    assert found["now"]["state"] == "unchanged"


@pytest.mark.slow
def test_an_audit_finds_a_table_that_somebody_has_changed(
    installation: Installation, given_published: GivenPublished
) -> None:
    given_published(JANUARY, MARCH)
    part = refinery(installation, "audit", "2024-01")
    assert (part.exit_code, "the whole table is judged; leave 2024-01 out." in part.stderr) == (2, True)
    good = refinery(installation, "audit", "all")
    assert good.exit_code == 0
    assert good.stdout.splitlines()[-1] == (
        "Audited 3 months of the published table: 18 checks passed in each, 0 warnings, 0 months failed."
    )
    with installation.sandbox() as sandbox:
        sandbox.execute("UPDATE processed_data SET y = 1 WHERE ds = '2024-02-03'")
    result = refinery(installation, "audit", "--json")
    assert result.exit_code == 1
    assert months_by_state(result) == {"2024-01": "passed", "2024-02": "failed", "2024-03": "passed"}
    assert [month["checks_passed"] for month in parsed(result)["months"]] == [18, 17, 18]


@pytest.mark.slow
def test_a_report_is_printed_or_written_with_its_charts(
    installation: Installation, given_published: GivenPublished, tmp_path: Path
) -> None:
    given_published(JANUARY)
    assert refinery(installation, "report", "2024-01").stdout.startswith("# 2024-01 is published: 2,480 rows")
    assert refinery(installation, "report", "2024-01", "--to", str(tmp_path / "out")).exit_code == 0
    written = {path.name for path in (tmp_path / "out" / "2024-01").iterdir()}
    assert written == {"report.md", "behaviors.png", "coverage.png"}


@pytest.mark.slow
def test_a_month_that_a_check_refuses_is_accepted_with_a_reason_and_shown_as_such(installation: Installation) -> None:
    with installation.sandbox() as sandbox:
        repeat_the_month_before(sandbox, FEBRUARY)
    assert refinery(installation, "run", "2024-01..2024-02").exit_code == 1
    for arguments, why_not in (
        (["row_parity", "--why", "it is"], "row_parity cannot be accepted; expected one of month_is_new, "),
        (
            ["levels_plausible", "--why", "it is"],
            "levels_plausible of 2024-02 passed in its last run. Only what is refused can be",
        ),
        (["month_is_new"], "A month is not accepted without a reason: give it with --why."),
        (["month_is_new", "--withdraw"], "month_is_new of 2024-02 is not accepted, so there is nothing to take back."),
    ):
        refused = refinery(installation, "accept", "2024-02", *arguments)
        assert (refused.exit_code, refused.stderr[: len(why_not)]) == (2, why_not)

    accepted = refinery(installation, "accept", "2024-02", "month_is_new", "--why", "A [b]frozen[/b] fleet")

    assert accepted.exit_code == 0
    assert accepted.stdout.startswith("month_is_new of 2024-02 was accepted by ")
    planned = refinery(installation, "plan", "2024-02")
    assert "2024-02: would be published" in planned.stdout
    assert "says: A [b]frozen[/b] fleet" in planned.stdout
    assert refinery(installation, "run", "2024-02").exit_code == 0
    assert "accepted month_is_new" in refinery(installation, "status").stdout
    assert "Accepted: month_is_new of 2024-02 was accepted by " in refinery(installation, "explain", "2024-02").stdout
    unheard = refinery(installation, "accept", "2024-02", "month_is_new", "--withdraw", "--why", "it is not")
    assert (unheard.exit_code, unheard.stderr[:53]) == (2, "Taking back an acceptance keeps neither a reason nor ")
    assert refinery(installation, "accept", "2024-02", "month_is_new", "--withdraw").exit_code == 0
    status = refinery(installation, "status").stdout
    assert "2024-02: acceptance withdrawn | " in status
    assert "accepted month_is_new (withdrawn)" in status
    assert refinery(installation, "run", "changed").exit_code == 1
    standing = refinery(installation, "run", "changed")
    assert standing.exit_code == 1
    assert standing.stdout == (
        "No month of the window has changed since it was run last. 2024-02 was refused then; see refinery explain "
        "2024-02.\n"
    )


# What is loaded, and what is shown.


@pytest.mark.slow
@pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"], ["status"]])
def test_neither_dagster_nor_polars_is_loaded_without_need(
    installation: Installation, given_published: GivenPublished, arguments: list[str]
) -> None:
    given_published(JANUARY)
    code = (
        "import sys, refinery_assets.cli as cli\n"
        "try:\n    cli.main()\n"
        "finally:\n    print(sorted({'dagster', 'polars'} & sys.modules.keys()), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env=installation.environment,
        cwd=PROJECT_ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == "[]\n"


def test_every_command_names_the_exit_codes() -> None:
    for command in ("run", "plan", "status", "explain", "audit", "export", "report"):
        assert "3 the warehouse is held" in " ".join(CliRunner().invoke(app, [command, "--help"]).stdout.split())


@pytest.mark.slow
def test_in_a_pipe_there_is_a_line_for_each_step(refused: Refused) -> None:
    steps = [line for line in refused.result.stderr.splitlines() if line.startswith("2024-01 to 2024-03 (3 months): ")]
    assert len(steps) == 8
    ended = [
        found[1] for step in steps if (found := re.search(r" (done|done, with refused months) in [0-9.]+ s$", step))
    ]
    assert ended == ["done"] * 7 + ["done, with refused months"]
    assert "\x1b" not in refused.result.output


@pytest.mark.slow
def test_dagsters_own_lines_are_shown_on_request(installation: Installation) -> None:
    result = refinery(installation, "run", "2024-01", "--log")
    assert result.exit_code == 0
    assert "1 month published (2024-01)." in result.output
    assert " - dagster - INFO - refine - " in result.output


@pytest.mark.slow
def test_at_a_terminal_there_are_a_progress_bar_and_a_table(installation: Installation) -> None:
    shown, code = at_a_terminal([*MODULE, "run", "all"], installation)
    assert code == 0
    assert re.search(r"2024-01 to 2024-03 \(3 months\): \w+.*\d+/24", shown)
    assert "│ 2024-02 │" in shown
    assert "done in" not in shown


def at_a_terminal(command: Sequence[str], installation: Installation) -> tuple[str, int]:
    """What a command writes to a terminal, without colors, and its exit status."""
    ours, theirs = pty.openpty()
    environment = installation.environment | {"TERM": "xterm-256color", "COLUMNS": "140", "LINES": "40"}
    with subprocess.Popen(command, stdout=theirs, stderr=theirs, env=environment, cwd=PROJECT_ROOT) as process:
        os.close(theirs)
        written = b""
        # A terminal whose other side is closed gives an error where a pipe would end.
        try:
            while data := os.read(ours, 65536):
                written += data
        except OSError:
            pass
        finally:
            os.close(ours)
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", written.decode()), process.returncode
