"""What lets a month pass with a warning, and the check that only a fault of our own can fail."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import date

import polars as pl
import pytest

from refinery_assets.contract.families import Family
from refinery_assets.contract.months import Month
from refinery_assets.rows import parts
from refinery_assets.rows.read import read_lines
from refinery_assets_tests.scenario import CPU, DISK, FEBRUARY, JANUARY, MARCH, MEMORY, Sandbox, asset_and_check

pytestmark = pytest.mark.slow


def test_a_reader_that_loses_a_row_is_caught_by_the_count(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    # No file can make it fail, so a reader is put in that does what CSV readers do in silence.
    def forgetful(data: bytes, family: Family) -> Iterator[pl.DataFrame]:
        yield from (lines.tail(-1) for lines in read_lines(data, family))

    monkeypatch.setattr(parts, "read_lines", forgetful)
    sandbox.edit_line(CPU, FEBRUARY, 2, sandbox.lines(CPU, FEBRUARY)[1] + " ")

    outcome = sandbox.refine(JANUARY, FEBRUARY)

    assert not outcome.success
    assert (
        f"{FEBRUARY}: cpu_utilization rows_accounted_for: The partition holds 579 of 580 data rows" in outcome.message
    )
    assert outcome.failed_checks == {"cpu_utilization.rows_accounted_for"}
    assert outcome.verdict("cpu_utilization", "rows_accounted_for", JANUARY) == "passed"
    told = outcome.metadata("cpu_utilization", "rows_accounted_for")
    assert told["sample"] == [
        {"file": "2024/02/cpu_utilization_202402.csv", "csv_rows": 20 * 29, "landed": 20 * 29 - 1}
    ]
    assert sandbox.query("SELECT DISTINCT date_trunc('month', ds)::DATE FROM processed_data") == [(date(2024, 1, 1),)]


def test_a_host_and_a_day_without_a_reading_are_warnings(sandbox: Sandbox) -> None:
    host = sandbox.query("SELECT min(node_name) FROM hosts")[0][0]
    for family in (CPU, DISK):
        kept = [line for line in sandbox.lines(family, FEBRUARY) if f",{host}," not in line]
        sandbox.write_lines(family, FEBRUARY, kept)
    lenient = Sandbox(replace(sandbox.settings, family_skew=0.2, max_gap_days=0), sandbox.instance)
    for family in (CPU, DISK):
        kept = [line for line in lenient.lines(family, FEBRUARY) if not line.startswith("2024-02-11")]
        lenient.write_lines(family, FEBRUARY, kept)

    outcome = lenient.refine(FEBRUARY, MARCH)

    assert outcome.success
    assert outcome.verdict("processed_data", "fleet_coverage") == "warning"
    by_resource = {
        (month, row["resource"]): (row["missing_hosts"], row["missing_days"])
        for month in (FEBRUARY, MARCH)
        for row in outcome.metadata("processed_data", "fleet_coverage", month)["by_resource"]
    }
    assert by_resource[FEBRUARY, "cpu"] == by_resource[FEBRUARY, "disk"] == (1, "11")
    assert by_resource[FEBRUARY, "memory"] == by_resource[MARCH, "cpu"] == (0, "")
    assert outcome.verdict("processed_data", "fleet_coverage", MARCH) == "passed"
    told = outcome.metadata("processed_data", "fleet_coverage", FEBRUARY)
    assert told["summary"] == (
        "At least 95.0% of 20 hosts due have readings in every resource; 1 host due has none in cpu, disk; day 11 has "
        f"none in cpu, disk. Without a reading: {host} (in cpu, disk)."
    )
    assert told["sample"] == [{"host_id": host, "missing_in": "cpu, disk"}]
    # The UI reads a description as Markdown, so no name may stand in it.
    assert host not in str(outcome.checks["processed_data.fleet_coverage"].description)


def test_a_day_without_any_reading_that_was_filled_is_a_warning_that_says_so(sandbox: Sandbox) -> None:
    for family, days in ((CPU, {"2024-02-11"}), (DISK, {"2024-02-11", "2024-02-12"})):
        kept = [line for line in sandbox.lines(family, FEBRUARY) if line[:10] not in days]
        sandbox.write_lines(family, FEBRUARY, kept)
    # Of a day that one host has read, nothing is to be said.
    host = sandbox.lines(MEMORY, FEBRUARY)[1].split(",")[1]
    kept = [line for line in sandbox.lines(MEMORY, FEBRUARY) if line[:10] != "2024-02-11" or f",{host}," in line]
    sandbox.write_lines(MEMORY, FEBRUARY, kept)
    kept = [line for line in sandbox.lines(DISK, MARCH) if line[:10] != "2024-03-05"]
    sandbox.write_lines(DISK, MARCH, kept)
    lenient = Sandbox(replace(sandbox.settings, family_skew=0.2), sandbox.instance)

    outcome = lenient.refine(FEBRUARY, MARCH)

    assert outcome.success
    assert outcome.verdict("processed_data", "fleet_coverage", FEBRUARY) == "warning"
    told = outcome.metadata("processed_data", "fleet_coverage", MARCH)
    assert {row["resource"]: row["filled_days"] for row in told["by_resource"]} == {
        "cpu": "", "memory": "", "disk": "5", "network": ""
    }  # fmt: skip
    told = outcome.metadata("processed_data", "fleet_coverage", FEBRUARY)
    assert told["summary"] == (
        "At least 100.0% of 20 hosts due have readings in every resource; cpu has no reading on day 11, filled by "
        "interpolation in 20 series; disk has no reading on days 11, 12, filled by interpolation in 20 series."
    )
    assert {row["resource"]: row["filled_days"] for row in told["by_resource"]} == {
        "cpu": "11", "memory": "", "disk": "11, 12", "network": ""
    }  # fmt: skip
    assert lenient.audit().verdict("processed_data", "fleet_coverage", FEBRUARY) == "warning"


def test_a_team_with_classes_of_its_own_sets_their_number(sandbox: Sandbox) -> None:
    sandbox.execute("UPDATE hosts SET scenario = 'unlabelled', variant = 'unlabelled'")

    refused = sandbox.refine(FEBRUARY)
    taken = Sandbox(replace(sandbox.settings, behaviors=1), sandbox.instance).refine(FEBRUARY)

    assert "host_inventory.behaviors_complete" in refused.failed_checks
    assert taken.success


def test_every_check_tells_counts_summary_and_recovery_for_every_month_whether_it_passes_or_not(
    sandbox: Sandbox,
) -> None:
    sandbox.edit_line(CPU, FEBRUARY, 2, "not,a,row")

    outcome = sandbox.refine(FEBRUARY, MARCH)

    assert len(outcome.checks) == 33
    assert set(outcome.evaluations) == {(name, str(month)) for name in outcome.checks for month in (FEBRUARY, MARCH)}
    for name, month in outcome.evaluations:
        told = outcome.metadata(*asset_and_check(name), Month.parse(str(month)))
        assert told["summary"].endswith(".")
        assert told["recovery"].endswith(".")
        assert any(isinstance(value, int | float) for value in told.values())
