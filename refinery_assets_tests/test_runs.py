"""How runs are started: seen under the code location whatever started them, refused outside the window."""

from __future__ import annotations

import signal
from dataclasses import replace

import dagster as dg
import duckdb
import pytest
from dagster._core.storage.tags import CODE_LOCATION_TAG, REPOSITORY_LABEL_TAG
from dagster._utils.error import serializable_error_info_from_exc_info

from refinery_assets.assets.run_results import is_interruption
from refinery_assets.build import build_defs
from refinery_assets.contract.months import Month
from refinery_assets.operations.automation import AUDIT, REFINE
from refinery_assets.operations.partitions import MonthOutsideWindowError, month_tags, months_in
from refinery_assets.operations.processes import RunProcess
from refinery_assets.operations.runs import LOCATION, PROCESS_TAG, start_run
from refinery_assets_tests.installation import Installation
from refinery_assets_tests.scenario import DISK, FEBRUARY, JANUARY, MARCH, GivenPublished, Sandbox

SEEN = {CODE_LOCATION_TAG: LOCATION, REPOSITORY_LABEL_TAG: f"__repository__@{LOCATION}"}


def of_our_location(instance: dg.DagsterInstance) -> list[str]:
    """The runs that the UI lists under our code location's job `refine`."""
    ours = instance.get_runs(dg.RunsFilter(job_name=REFINE, tags=SEEN))
    return [run.run_id for run in ours if run.remote_job_origin is not None]


@pytest.mark.parametrize(
    ("months", "setting"),
    [
        (
            (Month(2023, 12), JANUARY),
            "2023-12 is before 2024-01, .*; set REFINERY_FIRST_MONTH to 2023-12",
        ),
        (
            (Month(2025, 1),),
            "2025-01 is after 2024-12, .*; set REFINERY_LAST_MONTH to 2025-01",
        ),
    ],
)
def test_a_month_outside_the_window_is_refused_with_the_setting_to_change(
    sandbox: Sandbox, months: tuple[Month, ...], setting: str
) -> None:
    with pytest.raises(MonthOutsideWindowError, match=setting):
        start_run(sandbox.instance, build_defs(sandbox.settings), REFINE, months)

    assert sandbox.instance.get_runs() == []


def test_a_month_that_has_not_begun_is_refused_without_a_setting(sandbox: Sandbox) -> None:
    defs = build_defs(replace(sandbox.settings, last_month=None))

    with pytest.raises(MonthOutsideWindowError, match=r"2199-01 has not begun: .* the running month 20"):
        start_run(sandbox.instance, defs, REFINE, [Month(2199, 1)])


def test_a_run_that_names_no_month_says_how_to_name_one(sandbox: Sandbox) -> None:
    outcome = sandbox.refine()

    assert list(outcome.failures) == ["legacy_feed"]
    assert outcome.message.startswith("The run names no month: start it over one (refinery run 2024-05, or dg launch")


@pytest.mark.heavy
@pytest.mark.slow
@pytest.mark.parametrize("what", [("--job", "refine"), ("--assets", "legacy_feed")], ids=["job", "assets"])
def test_the_command_line_ends_with_the_setting_to_change(installation: Installation, what: tuple[str, str]) -> None:
    launched = installation.launch(*what, "--partition-range", "2023-11...2024-02")

    output, _ = launched.communicate(timeout=60)

    assert launched.returncode != 0
    last_line = output.strip().splitlines()[-1]
    assert last_line.endswith(
        "2023-11 is before 2024-01, where the window begins; set REFINERY_FIRST_MONTH to 2023-11 or "
        "earlier to include it."
    )


def test_months_with_a_gap_are_no_run() -> None:
    with pytest.raises(ValueError, match="2024-01, 2024-03 leave a gap"):
        month_tags([JANUARY, MARCH])


def test_the_months_of_a_run_are_read_from_its_tags() -> None:
    for months in ([], [MARCH], [JANUARY, FEBRUARY, MARCH]):
        assert months_in(month_tags(months)) == months


@pytest.mark.slow
def test_a_run_that_names_no_code_location_is_seen_under_this_one(sandbox: Sandbox) -> None:
    run_id = sandbox.refine(FEBRUARY).run_id

    assert of_our_location(sandbox.instance) == [run_id]
    run = sandbox.instance.get_run_by_id(run_id)
    assert run is not None
    assert RunProcess.parse(run.tags[PROCESS_TAG]) == RunProcess.current(run_id)


@pytest.mark.heavy
@pytest.mark.slow
def test_a_run_from_the_command_line_is_seen_under_the_code_location(installation: Installation) -> None:
    launched = installation.launch("--job", "refine", "--partition", "2024-02")
    launched.communicate()
    with installation.instance() as instance:
        (run,) = instance.get_runs()

        assert of_our_location(instance) == [run.run_id]
        process = RunProcess.parse(run.tags[PROCESS_TAG])
        assert (process.run_id, process.has_ended()) == (run.run_id, True)


@pytest.mark.slow
def test_a_run_that_fails_says_so(sandbox: Sandbox) -> None:
    sandbox.file(DISK, FEBRUARY).path.unlink()

    ran = start_run(sandbox.instance, build_defs(sandbox.settings), REFINE, [JANUARY, FEBRUARY])

    assert not ran.success
    assert any(not found.passed for found in ran.check_evaluations)


def test_a_signal_in_the_middle_of_a_statement_is_an_interruption() -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        # Where threads of its own do the work, DuckDB 2.0 may notice a signal only when they are done.
        with duckdb.connect(config={"threads": 1}) as connection:
            signal.setitimer(signal.ITIMER_REAL, 0.1)
            with pytest.raises(RuntimeError) as caught:
                connection.execute("SELECT count(*) FROM range(100_000_000_000) WHERE hash(range) = 1")
    finally:
        signal.signal(signal.SIGALRM, before)

    assert is_interruption([serializable_error_info_from_exc_info((caught.type, caught.value, caught.tb))])


@pytest.mark.slow
def test_a_run_started_here_publishes_and_is_seen_under_the_code_location(sandbox: Sandbox) -> None:
    seen: list[str] = []

    ran = start_run(
        sandbox.instance,
        build_defs(sandbox.settings),
        REFINE,
        [JANUARY, FEBRUARY],
        tags={"why": "a test"},
        on_event=lambda event: seen.append(event.event_type_value),
    )

    assert ran.success
    assert seen == [event.event_type_value for event in ran.events]
    assert seen[-1] == dg.DagsterEventType.RUN_SUCCESS.value
    assert of_our_location(sandbox.instance) == [ran.run_id]
    (run,) = sandbox.instance.get_runs(dg.RunsFilter(tags={"why": "a test"}))
    assert RunProcess.parse(run.tags[PROCESS_TAG]) == RunProcess.current(ran.run_id)
    assert sandbox.query("SELECT DISTINCT month(ds) FROM processed_data ORDER BY 1") == [(1,), (2,)]


@pytest.mark.slow
def test_a_job_without_months_is_started_without_any(sandbox: Sandbox, given_published: GivenPublished) -> None:
    given_published(JANUARY)

    ran = start_run(sandbox.instance, build_defs(sandbox.settings), AUDIT)

    assert ran.success
    assert "behavioral_retention" in {found.check_name for found in ran.check_evaluations}


@pytest.mark.slow
def test_a_failed_audit_says_at_the_command_line_what_to_do_and_leaves_no_connection_open(
    installation: Installation, given_published: GivenPublished
) -> None:
    given_published(JANUARY)
    with installation.sandbox() as sandbox:
        sandbox.execute("DELETE FROM hosts")

    told, _ = installation.launch("--job", "audit").communicate()

    assert "What to do about 2024-01: Load the inventory into the table hosts of the warehouse" in told
    # DuckDB's library complains of what is still open when the process ends.
    assert "nanobind" not in told


# Sends itself a signal in the midst of a run.
TERMINATED = """
import os, signal
import dagster as dg
from refinery_assets.definitions import defs
from refinery_assets.operations.runs import start_run
from refinery_assets.contract.months import Month

def end(event):
    if event.event_type_value == "STEP_START":
        os.kill(os.getpid(), signal.SIGTERM)

with dg.DagsterInstance.get() as instance:
    start_run(instance, defs, "refine", [Month(2024, 1)], on_event=end)
"""


@pytest.mark.slow
def test_a_run_whose_process_is_told_to_end_is_recorded_as_ended(installation: Installation) -> None:
    terminated = installation.start("python", "-c", TERMINATED)
    output, _ = terminated.communicate(timeout=60)

    assert terminated.returncode not in {-signal.SIGTERM, -signal.SIGKILL}, output
    with installation.instance() as instance:
        (run,) = instance.get_runs()
        assert run.is_finished
        assert not run.is_success
