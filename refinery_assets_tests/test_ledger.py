"""What the steps of a run hand on to each other by files."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from refinery_assets.checks.rules import Finding, Outcome, Verdict
from refinery_assets.contract.months import Month
from refinery_assets.warehouse.ledger import RunLedger, StepRecord
from refinery_assets_tests.scenario import folder

JANUARY, FEBRUARY, MARCH = Month(2024, 1), Month(2024, 2), Month(2024, 3)
HOUR = 3600.0


@pytest.fixture
def ledger(tmp_path: Path) -> RunLedger:
    return RunLedger(tmp_path, "this-run")


def verdict(month: Month, outcome: Outcome = Outcome.PASSED) -> Verdict:
    finding = Finding(
        outcome,
        "2 rows.",
        {"rows": 2, "share": 0.25, "newest_day": None, "is_late": False},
        '\u00fcber-\u4e3b\u673a has "one".',
        offenders=[{"file": "2024/01/cpu_utilization_202401.csv", "line": 3}],
        tables={"by_resource": [{"resource": "cpu", "hosts": 1}]},
        recovery="Export the file again.",
    )
    return Verdict("cpu_utilization", "rows_accounted_for", month, finding, "Export the file again.")


def records_of(ledger: RunLedger) -> Path:
    return folder(ledger.telemetry) / ledger.folder


def age(ledger: RunLedger, hours: float) -> None:
    written = time.time() - hours * HOUR
    os.utime(records_of(ledger), (written, written))


def test_a_step_that_is_yet_to_come_has_no_record(ledger: RunLedger) -> None:
    assert ledger.read("cpu_utilization") is None
    assert ledger.records() == []
    assert list(ledger.abandoned()) == []


def test_what_a_step_writes_another_reads(ledger: RunLedger) -> None:
    entrance = StepRecord(
        "legacy_feed",
        [verdict(JANUARY), verdict(FEBRUARY, Outcome.FAILED)],
        [MARCH],
        {JANUARY: {"cpu_utilization": "12ab"}, FEBRUARY: {}},
    )
    family = StepRecord("cpu_utilization", [verdict(JANUARY, Outcome.WARNING)])
    ledger.write(entrance)
    ledger.write(family)

    of_another_process = RunLedger(ledger.telemetry, ledger.run_id)

    assert of_another_process.read("legacy_feed") == entrance
    assert of_another_process.verdicts() == [*family.verdicts, *entrance.verdicts]
    assert entrance.of(FEBRUARY) == [verdict(FEBRUARY, Outcome.FAILED)]
    assert RunLedger(ledger.telemetry, "another-run").records() == []


def test_a_step_that_is_tried_again_replaces_its_record(ledger: RunLedger) -> None:
    ledger.write(StepRecord("cpu_utilization", [verdict(JANUARY, Outcome.FAILED), verdict(FEBRUARY)]))
    ledger.write(StepRecord("cpu_utilization", [verdict(JANUARY)]))

    assert ledger.verdicts() == [verdict(JANUARY)]


def test_what_an_older_version_has_left_is_not_read(ledger: RunLedger) -> None:
    ledger.write(StepRecord("cpu_utilization", [verdict(JANUARY)]))
    (file,) = records_of(ledger).iterdir()
    file.write_text(json.dumps({"asset": "cpu_utilization", "findings": []}))

    assert ledger.read("cpu_utilization") is None
    assert ledger.verdicts() == []


def test_a_run_that_is_forgotten_leaves_the_others_alone(ledger: RunLedger) -> None:
    other = RunLedger(ledger.telemetry, "another-run")
    for each in (ledger, other):
        each.write(StepRecord("cpu_utilization", [verdict(JANUARY)]))

    ledger.remove()
    ledger.remove()

    assert ledger.records() == []
    assert other.verdicts() == [verdict(JANUARY)]


def test_other_runs_are_abandoned_when_nothing_was_written_for_a_day(ledger: RunLedger) -> None:
    killed, at_work = (RunLedger(ledger.telemetry, name) for name in ("killed", "at-work"))
    for each, hours in ((killed, 24.1), (at_work, 23.9), (ledger, 24.1)):
        each.write(StepRecord("cpu_utilization", [verdict(JANUARY)]))
        age(each, hours)

    assert list(ledger.abandoned()) == [killed]

    # A step that writes its record shows that the run is still at work.
    killed.write(StepRecord("memory_stats"))

    assert list(ledger.abandoned()) == []
