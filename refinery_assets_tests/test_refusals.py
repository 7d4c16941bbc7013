"""What stops a month: every check in its failing verdict, through Dagster, with the old month left alone."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import dagster as dg
import duckdb
import polars as pl
import pytest

from refinery_assets.checks.rules import NOTHING_TO_DO, SAMPLE_SIZE
from refinery_assets.contract.families import HOST_INVENTORY, PROCESSED_DATA, Family
from refinery_assets.contract.months import Month
from refinery_assets.contract.packaged import BEHAVIORS, FAMILIES
from refinery_assets.sample.feed import write_feed
from refinery_assets.sample.fleet import Fleet
from refinery_assets.warehouse.family_partitions import STATS_KEY, Partition
from refinery_assets.warehouse.month_state import State
from refinery_assets.warehouse.plan import make_plan
from refinery_assets.warehouse.reaudit import reaudit
from refinery_assets_tests.scenario import (
    CPU,
    DISK,
    FEBRUARY,
    JANUARY,
    MARCH,
    MEMORY,
    NETWORK,
    GivenPublished,
    Sandbox,
)

pytestmark = pytest.mark.slow

Spoil = Callable[[Sandbox], None]
ASSETS = ["legacy_feed", *(family.name for family in FAMILIES), "processed_data"]


def _cut(sandbox: Sandbox, data: Callable[[bytes], bytes], family: Family = CPU, month: Month = FEBRUARY) -> None:
    sandbox.write_bytes(family, month, data(sandbox.file(family, month).path.read_bytes()))


def _without_last_day(sandbox: Sandbox) -> None:
    lines = sandbox.lines(MEMORY, FEBRUARY)
    sandbox.write_lines(MEMORY, FEBRUARY, [line for line in lines if not line.startswith("2024-02-29")])


def _two_hosts_named_alike(sandbox: Sandbox) -> None:
    sandbox.execute("CREATE TABLE copy AS FROM hosts")
    sandbox.execute("DROP TABLE hosts")
    sandbox.execute("ALTER TABLE copy RENAME TO hosts")
    sandbox.execute("INSERT INTO hosts SELECT * REPLACE (upper(node_name) AS node_name) FROM hosts LIMIT 1")


# One case of each check; what else makes it fail is tested without a graph (`test_source_checks.py`, `hostile.py`).
ENTRANCE: dict[str, tuple[str, Spoil]] = {
    "missing file": (
        "source_files_present",
        lambda sandbox: sandbox.file(NETWORK, FEBRUARY).path.unlink(),
    ),
    "missing column": (
        "headers_match_contract",
        lambda sandbox: sandbox.edit_line(CPU, FEBRUARY, 1, "date,host_id,cpu,max_cores"),
    ),
    "cut in the middle of a line": (
        "fragmentation_complete",
        lambda sandbox: _cut(sandbox, lambda data: data[:-4]),
    ),
}

INVENTORY: dict[str, tuple[str, Spoil]] = {
    "no warehouse": ("inventory_initialized", lambda sandbox: sandbox.settings.warehouse.unlink()),
    "no table": ("inventory_initialized", lambda sandbox: sandbox.execute("DROP TABLE hosts")),
    "no rows": ("inventory_initialized", lambda sandbox: sandbox.execute("DELETE FROM hosts")),
    "names repeated in another case": ("host_names_unique", _two_hosts_named_alike),
    "nine behaviours": (
        "behaviors_complete",
        lambda sandbox: sandbox.execute("UPDATE hosts SET variant = 'STABLE' WHERE variant = 'VARIABLE'"),
    ),
}


@pytest.mark.parametrize(("check", "spoil"), ENTRANCE.values(), ids=ENTRANCE.keys())
def test_the_month_stays_and_the_others_are_published_when_the_feed_is(
    sandbox: Sandbox, given_published: GivenPublished, check: str, spoil: Spoil
) -> None:
    given_published(JANUARY, FEBRUARY)
    before = sandbox.published()
    spoil(sandbox)

    outcome = sandbox.refine(FEBRUARY, MARCH)

    assert not outcome.success
    assert set(outcome.failures) == {"monthly_report"}
    assert outcome.failed_checks == {f"legacy_feed.{check}"}
    assert outcome.verdict("legacy_feed", check, MARCH) == "passed"
    shown = outcome.metadata("legacy_feed", check, FEBRUARY)
    assert "2024/02/" in shown["summary"]
    assert shown["recovery"] != "Nothing to do."
    assert shown["sample"]
    assert outcome.verdict("processed_data", "row_parity", FEBRUARY) == "warning"
    assert f"legacy_feed {check}" in outcome.metadata("processed_data", "row_parity", FEBRUARY)["summary"]
    february = "SELECT * FROM processed_data WHERE month(ds) = 2 ORDER BY ALL"
    assert sandbox.query(february) == sorted(row for row in before[0] if row[0].month == 2)
    assert sandbox.query("SELECT count(*) FROM processed_data WHERE month(ds) = 3") == [(4 * 20 * 31,)]


def test_a_missing_feed_root_is_told_as_such(sandbox: Sandbox) -> None:
    astray = Sandbox(replace(sandbox.settings, feed=sandbox.feed / "astray"), sandbox.instance)

    outcome = astray.refine(JANUARY)

    assert "legacy_feed.source_files_present" in outcome.failed_checks
    assert "REFINERY_FEED" in outcome.metadata("legacy_feed", "source_files_present")["summary"]


def test_a_month_that_is_not_exported_yet_fails_only_when_it_is_asked_for_alone(sandbox: Sandbox) -> None:
    whole_window = sandbox.refine(JANUARY, Month(2024, 12))

    assert whole_window.success
    assert sandbox.query("SELECT count(DISTINCT month(ds)) FROM processed_data") == [(3,)]
    # What is left out is left out of the inventory, too.
    for asset in ("host_inventory", "processed_data"):
        assert sandbox.instance.get_materialized_partitions(dg.AssetKey(asset)) == {"2024-01", "2024-02", "2024-03"}

    alone = sandbox.refine(Month(2024, 11), Month(2024, 12))

    assert "2024-11 is not exported yet: the feed holds 2024-01 to 2024-03" in alone.message
    assert "2024-12 is not exported yet" in alone.message


def test_a_hole_between_exported_months_fails(sandbox: Sandbox) -> None:
    for family in FAMILIES:
        sandbox.file(family, FEBRUARY).path.unlink()

    planned = make_plan(sandbox.settings, [[JANUARY, FEBRUARY, MARCH]]).results

    assert [planned[month].state for month in (JANUARY, FEBRUARY, MARCH)] == [
        State.PUBLISHED,
        State.REFUSED,
        State.PUBLISHED,
    ]
    told = [verdict.sentence for verdict in planned[FEBRUARY].verdicts if verdict.failed]
    assert any("legacy_feed source_files_present: 0 of 4 expected files found" in sentence for sentence in told)


def test_five_faults_in_five_months_are_told_in_one_run(sandbox: Sandbox) -> None:
    months = [Month(2024, month) for month in range(1, 9)]
    write_feed(sandbox.feed, Fleet.make(hosts=20, first=months[0], last=months[-1], seed=7))
    sandbox.file(CPU, months[0]).path.unlink()
    sandbox.edit_line(MEMORY, months[2], 1, "date,host,memory_p95,memory_gb")
    _cut(sandbox, lambda _: b"", DISK, months[4])
    _cut(sandbox, lambda data: data[:-3], NETWORK, months[5])
    lines = sandbox.lines(CPU, months[7])
    sandbox.write_lines(CPU, months[7], [line for line in lines if not line.startswith("2024-08-31")])

    outcome = sandbox.refine(*months)

    message = outcome.failures["monthly_report"]
    assert message.startswith("5 months were refused and stay as they were. 3 other months are fine.")
    assert "Missing: 2024/01/cpu_utilization_202401.csv" in message
    assert "2024/03/memory_stats_202403.csv, line 1: the header lacks host_id; expected date,host_id" in message
    assert "2024/05/storage_usage_202405.csv is empty" in message
    assert "2024/06/net_throughput_202406.csv ends in the middle of line" in message
    assert "2024/08/cpu_utilization_202408.csv ends on 2024-08-30, another family on 2024-08-31" in message
    assert sandbox.query("SELECT DISTINCT month(ds) FROM processed_data ORDER BY 1") == [(2,), (4,), (7,)]


@pytest.mark.parametrize("case", [case for case in INVENTORY if case != "no warehouse"])
def test_no_month_is_published_anew_when_the_inventory_has(
    sandbox: Sandbox, given_published: GivenPublished, case: str
) -> None:
    given_published(FEBRUARY)
    before = sandbox.published()
    check, spoil = INVENTORY[case]
    spoil(sandbox)

    result = sandbox.publish_again(FEBRUARY)[FEBRUARY]

    assert result.state is State.REFUSED
    assert (HOST_INVENTORY, check) in {(verdict.asset, verdict.check) for verdict in result.verdicts if verdict.failed}
    assert sandbox.published() == before


@pytest.mark.parametrize("case", ["no warehouse", "no table", "nine behaviours"])
def test_nothing_is_published_by_a_run_when_the_inventory_has(sandbox: Sandbox, case: str) -> None:
    check, spoil = INVENTORY[case]
    spoil(sandbox)

    outcome = sandbox.refine(FEBRUARY)

    assert not outcome.success
    assert f"host_inventory.{check}" in outcome.failed_checks
    assert outcome.verdict("processed_data", "row_parity") == "warning"
    if sandbox.settings.warehouse.exists():
        assert sandbox.published_rows() == 0
    # Picked without the inventory's checks, the table refuses by itself, and shows the same.
    alone = sandbox.materialize(ASSETS, FEBRUARY)
    assert set(alone.failures) == {"processed_data"}
    assert f"host_inventory.{check}" in alone.failed_checks


@pytest.mark.parametrize("family", [CPU, NETWORK], ids=lambda family: family.name)
def test_too_many_faulty_rows_stop_the_month_at_the_family(
    sandbox: Sandbox, given_published: GivenPublished, family: Family
) -> None:
    given_published(FEBRUARY)
    before = sandbox.published()
    lines = sandbox.lines(family, FEBRUARY)
    spoiled = [line.replace("2024-02-", "2024/02/") for line in lines[1:8]]
    sandbox.write_lines(family, FEBRUARY, [lines[0], *spoiled, *lines[8:]])

    outcome = sandbox.refine(FEBRUARY)

    assert outcome.failed_checks == {f"{family.name}.quarantine_within_tolerance"}
    assert outcome.metadata(family.name, "quarantine_within_tolerance")["bad_timestamp"] == 7
    assert sandbox.published() == before
    # The other families' partitions are of the new export by now, so the table takes none of them.
    again = sandbox.materialize(["processed_data"], FEBRUARY)
    assert "quarantine_within_tolerance" in again.failures["processed_data"]
    assert sandbox.published() == before


def _tamper(sandbox: Sandbox, family: Family, month: Month, change: Callable[[pl.DataFrame], Any]) -> None:
    path = Partition(sandbox.settings.telemetry, family, month).path
    stats = pl.read_parquet_metadata(path)[STATS_KEY]
    changed = change(pl.read_parquet(path))
    # As if the family itself had written these rows, so that it is the publish checks that find what is wrong.
    of_file = changed.filter(~pl.col("is_imputed")).height
    stats = json.dumps(json.loads(stats) | {"csv_rows": of_file, "landed": of_file})
    changed.write_parquet(path, metadata={STATS_KEY: stats})
    series = Partition(sandbox.settings.telemetry, family, month).series_path
    pl.read_parquet(series).write_parquet(series, metadata={STATS_KEY: stats})


def _first_row(**values: Any) -> Callable[[pl.DataFrame], pl.DataFrame]:
    def change(frame: pl.DataFrame) -> pl.DataFrame:
        first = pl.int_range(pl.len()) == 0
        return frame.with_columns(
            pl.when(~first).then(name).otherwise(pl.lit(value, frame.schema[name])).alias(name)
            for name, value in values.items()
        )

    return change


def _in_partition(change: Callable[[pl.DataFrame], pl.DataFrame]) -> Spoil:
    return lambda sandbox: _tamper(sandbox, CPU, FEBRUARY, change)


def _first_row_later(hours: int) -> Spoil:
    later = pl.when(pl.int_range(pl.len()) == 0).then(pl.col("ds") + pl.duration(hours=hours)).otherwise("ds")
    return _in_partition(lambda frame: frame.with_columns(ds=later))


def _without_severe(sandbox: Sandbox) -> None:
    severe = [name for (name,) in sandbox.query("SELECT node_name FROM hosts WHERE variant = 'SEVERE'")]
    _tamper(sandbox, DISK, FEBRUARY, lambda frame: frame.filter(~pl.col("host_id").is_in(severe)))


def _without_first_host(sandbox: Sandbox) -> None:
    sandbox.execute("DELETE FROM hosts WHERE node_name = (SELECT min(node_name) FROM hosts)")


EXIT: dict[str, tuple[str, Spoil]] = {
    "an unknown host": ("referential_integrity", _in_partition(_first_row(host_id="nobody"))),
    "a host taken from the inventory": ("referential_integrity", _without_first_host),
    "a behaviour without readings": ("behavioral_retention", _without_severe),
    "a day twice": (
        "series_points_unique",
        _in_partition(lambda frame: pl.concat([frame.head(1), frame.tail(-2), frame.head(1)])),
    ),
    "an hour past midnight": ("timestamps_standardized", _first_row_later(1)),
    "a day of another month": ("timestamps_standardized", _first_row_later(-240)),
    "more than the ceiling": ("utilization_in_range", _in_partition(_first_row(y=100.5))),
    "no number at all": ("utilization_in_range", _in_partition(_first_row(y=float("nan")))),
    "no reading": ("utilization_in_range", _in_partition(_first_row(y=None))),
    "a row without a host": ("row_parity", _in_partition(_first_row(host_id=None))),
}


@pytest.mark.parametrize(("check", "spoil"), EXIT.values(), ids=EXIT.keys())
def test_the_month_before_stays_when_there_is(
    sandbox: Sandbox, given_published: GivenPublished, check: str, spoil: Spoil
) -> None:
    given_published(JANUARY, FEBRUARY)
    lenient = Sandbox(replace(sandbox.settings, family_skew=0.2), sandbox.instance)
    before = lenient.published()
    spoil(lenient)

    result = lenient.publish_again(FEBRUARY)[FEBRUARY]

    assert result.state is State.REFUSED
    (found,) = [verdict for verdict in result.verdicts if verdict.failed and verdict.check == check]
    assert found.recovery != NOTHING_TO_DO
    # The UI reads a description as Markdown, so no name may stand in it.
    assert "nobody" not in found.finding.summary
    assert 0 < len(found.finding.offenders) <= SAMPLE_SIZE
    assert lenient.published() == before


@pytest.mark.parametrize("case", ["an unknown host", "a row without a host"])
def test_a_run_shows_what_is_wrong_with_the_month_when_there_is(
    sandbox: Sandbox, given_published: GivenPublished, case: str
) -> None:
    check, spoil = EXIT[case]
    given_published(JANUARY, FEBRUARY)
    lenient = Sandbox(replace(sandbox.settings, family_skew=0.2), sandbox.instance)
    before = lenient.published()
    spoil(lenient)

    outcome = lenient.materialize(["processed_data"], FEBRUARY, force=True)

    assert not outcome.success
    assert f"processed_data.{check}" in outcome.failed_checks
    told = outcome.metadata("processed_data", check)
    assert told["recovery"] != "Nothing to do."
    # The UI reads a description as Markdown, so no name may stand in it.
    assert "nobody" not in (outcome.checks[f"processed_data.{check}"].description or "")
    assert len(told["sample"]) <= 20
    assert lenient.published() == before


def test_a_thin_month_is_refused_by_its_coverage(sandbox: Sandbox, given_published: GivenPublished) -> None:
    given_published(FEBRUARY)
    before = sandbox.published()
    sandbox.execute(
        "INSERT INTO hosts SELECT * REPLACE (node_name || '-b' AS node_name) FROM hosts WHERE variant <> 'SEVERE'"
    )

    outcome = sandbox.materialize(["processed_data"], FEBRUARY)

    assert outcome.failed_checks == {"processed_data.fleet_coverage"}
    assert "hosts due have none in cpu, memory, disk, network" in outcome.message
    assert "Without a reading: srv-00001-b, " in outcome.message
    assert sandbox.published() == before


def test_a_lost_row_is_told_by_row_parity(sandbox: Sandbox, given_published: GivenPublished) -> None:
    given_published(JANUARY, MARCH)
    sandbox.execute("DELETE FROM processed_data WHERE ds = '2024-02-10' AND resource = 'cpu' AND y > 50")

    outcome = sandbox.audit()

    assert not outcome.success
    assert outcome.failed_checks == {"processed_data.row_parity"}
    assert outcome.verdict("processed_data", "row_parity", FEBRUARY) == "failed"
    assert outcome.verdict("processed_data", "row_parity", MARCH) == "passed"


OF_SEVERE = "USING hosts WHERE host_id = node_name AND variant = 'SEVERE'"
OF_MOST = "USING hosts WHERE host_id = node_name AND scenario LIKE 'S%'"
TENTH = "WHERE ds = '2024-02-10'"
TAMPERED = {
    "referential_integrity": f"UPDATE processed_data SET host_id = 'nobody' {TENTH}",
    "behavioral_retention": f"DELETE FROM processed_data {OF_SEVERE}",
    "series_points_unique": f"INSERT INTO processed_data FROM processed_data {TENTH}",
    "timestamps_standardized": f"UPDATE processed_data SET ds = ds + INTERVAL 1 HOUR {TENTH}",
    "utilization_in_range": f"UPDATE processed_data SET y = 'inf' {TENTH}",
    "fleet_coverage": f"DELETE FROM processed_data {OF_MOST}",
}


@pytest.mark.parametrize(("check", "change"), TAMPERED.items(), ids=TAMPERED.keys())
def test_the_audit_of_the_published_table_finds(
    sandbox: Sandbox, given_published: GivenPublished, check: str, change: str
) -> None:
    given_published(FEBRUARY)
    sandbox.execute(change)

    with duckdb.connect(sandbox.settings.warehouse, read_only=True) as connection:
        audited = reaudit(connection, sandbox.settings)

    assert (PROCESSED_DATA, check) in {(verdict.asset, verdict.check) for verdict in audited.verdicts if verdict.failed}


def test_the_audit_of_a_published_table_that_nobody_changed_finds_nothing(
    sandbox: Sandbox, given_published: GivenPublished
) -> None:
    given_published(FEBRUARY)

    outcome = sandbox.audit()

    assert outcome.success
    assert outcome.failed_checks == set()
    assert outcome.verdict("processed_data", "row_parity", FEBRUARY) == "passed"


def test_a_family_that_was_never_refined_keeps_the_month_out(sandbox: Sandbox) -> None:
    assert sandbox.materialize(["legacy_feed", "cpu_utilization", "memory_stats"], FEBRUARY).success

    outcome = sandbox.materialize(["processed_data"], FEBRUARY)

    assert "storage_usage has no partition 2024-02" in outcome.failures["processed_data"]
    assert sandbox.published_rows() == 0


def test_a_family_newer_than_the_others_keeps_the_month_out(sandbox: Sandbox, given_published: GivenPublished) -> None:
    given_published(FEBRUARY)
    before = sandbox.published()
    _without_last_day(sandbox)

    outcome = sandbox.materialize(["memory_stats", "processed_data"], FEBRUARY)

    assert "fragmentation_complete" in outcome.failures["processed_data"]
    assert sandbox.published() == before


def test_the_ten_behaviours_are_the_inventorys(sandbox: Sandbox, given_published: GivenPublished) -> None:
    given_published(FEBRUARY)

    outcome = sandbox.materialize(["processed_data"], FEBRUARY)

    table = outcome.metadata("processed_data", "behavioral_retention")["behaviors"]
    assert [row["behavior"] for row in table] == sorted(str(behavior) for behavior in BEHAVIORS)
    assert {(row["hosts_due"], row["hosts_retained"], row["rows"]) for row in table} == {(2, 2, 2 * 4 * 29)}
