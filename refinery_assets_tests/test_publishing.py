"""What a refined month leaves in the warehouse, and that doing it again changes nothing."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import dagster as dg
import polars as pl
import pytest

from refinery_assets.contract.columns import PROCESSED_DATA, QUARANTINED_ROWS
from refinery_assets.contract.families import Fault
from refinery_assets.contract.months import Month
from refinery_assets.contract.packaged import FAMILIES
from refinery_assets.sample.feed import make_sample
from refinery_assets.warehouse.family_partitions import Partition
from refinery_assets.warehouse.month_state import State
from refinery_assets_tests.scenario import CPU, DISK, FEBRUARY, JANUARY, MARCH, MEMORY, NETWORK, GivenPublished, Sandbox


@pytest.mark.slow
def test_bad_rows_within_tolerance_are_published_as_quarantined_with_a_warning(sandbox: Sandbox) -> None:
    line = sandbox.lines(CPU, FEBRUARY)[9]
    sandbox.edit_line(CPU, FEBRUARY, 10, line.replace("2024-02", "2024-2"))

    outcome = sandbox.refine(FEBRUARY)

    assert outcome.success
    assert outcome.verdict("cpu_utilization", "quarantine_within_tolerance") == "warning"
    assert outcome.verdict("memory_stats", "quarantine_within_tolerance") == "passed"
    assert sandbox.quarantined() == [
        ("2024-02", "cpu", "2024/02/cpu_utilization_202402.csv", 10, line.replace("2024-02", "2024-2"),
         "bad_timestamp")
    ]  # fmt: skip


@pytest.mark.slow
def test_every_planted_row_is_quarantined_by_its_fault_and_no_other(tmp_path: Path, sandbox: Sandbox) -> None:
    sample = make_sample(tmp_path / "dirty", hosts=20, first=JANUARY, last=FEBRUARY, seed=3, dirt=0.05)
    dirty = Sandbox(
        replace(sandbox.settings, feed=sample.feed, warehouse=sample.warehouse, quarantine_tolerance=0.5),
        sandbox.instance,
    )

    assert dirty.refine(JANUARY, FEBRUARY).success

    assert sample.planted_file is not None
    with sample.planted_file.open(encoding="utf-8", newline="") as file:
        planted = sorted(
            (
                row["month"],
                row["resource"],
                row["source_file"],
                int(row["source_line"]),
                row["raw"],
                row["fault"],
            )
            for row in csv.DictReader(file)
        )
    assert sorted(dirty.quarantined()) == planted
    assert {row[-1] for row in planted} == {str(fault) for fault in Fault}


def test_the_tables_have_the_columns_of_the_contract(sandbox: Sandbox, given_published: GivenPublished) -> None:
    given_published(JANUARY)

    for table in (PROCESSED_DATA, QUARANTINED_ROWS):
        found = sandbox.query(
            "SELECT column_name, data_type, is_nullable FROM duckdb_columns() WHERE table_name = ? "
            "ORDER BY column_index",
            [table.name],
        )
        assert found == [
            (column.name, column.sql_type.removesuffix(" NOT NULL"), "NOT NULL" not in column.sql_type)
            for column in table.columns
        ]


@pytest.mark.slow
def test_gaps_are_filled_and_flagged_by_hand_computed_values(sandbox: Sandbox) -> None:
    host = sandbox.lines(CPU, FEBRUARY)[1].split(",")[1]
    kept = [line for line in sandbox.lines(CPU, FEBRUARY) if f",{host}," not in line or line[8:10] not in {"05", "06"}]
    kept = [
        f"2024-02-04,{host},10.0,8" if line.startswith(f"2024-02-04,{host}") else
        f"2024-02-07,{host},40.0,8" if line.startswith(f"2024-02-07,{host}") else line
        for line in kept
    ]  # fmt: skip
    sandbox.write_lines(CPU, FEBRUARY, kept)

    outcome = sandbox.refine(FEBRUARY)

    assert outcome.success
    assert sandbox.query("SELECT day(ds), y, capacity, cap FROM processed_data WHERE is_imputed ORDER BY ds") == [
        (5, 20.0, 8.0, 100.0),
        (6, 30.0, 8.0, 100.0),
    ]
    assert outcome.metadata("cpu_utilization", "rows_accounted_for")["imputed_rows"] == 2


@pytest.mark.slow
def test_overshoot_lands_as_the_ceiling_and_is_counted(sandbox: Sandbox) -> None:
    line = sandbox.lines(CPU, FEBRUARY)[1].split(",")
    over = f"{line[0]},{line[1]},117.9,{line[3]}"
    sandbox.edit_line(CPU, FEBRUARY, 2, over)
    generous = Sandbox(replace(sandbox.settings, overshoot=20.0), sandbox.instance)

    outcome = generous.refine(FEBRUARY)

    assert outcome.verdict("cpu_utilization", "quarantine_within_tolerance") == "warning"
    assert outcome.metadata("cpu_utilization", "quarantine_within_tolerance")["overshoot_rows"] == 1
    partition = pl.read_parquet(Partition(sandbox.settings.telemetry, CPU, FEBRUARY).path)
    assert partition.filter(pl.col("raw").is_not_null()).select("y", "fault", "raw").rows() == [(100.0, None, over)]
    assert sandbox.quarantined() == []


@pytest.mark.slow
def test_the_same_month_twice_and_the_months_in_any_order_give_the_same_table(sandbox: Sandbox) -> None:
    sandbox.edit_line(MEMORY, MARCH, 3, "not,a,row")
    assert sandbox.refine(JANUARY, FEBRUARY, MARCH).success
    at_once = sandbox.published()

    assert sandbox.publish_again(FEBRUARY)[FEBRUARY].state is State.PUBLISHED
    assert sandbox.published() == at_once

    sandbox.execute("DROP TABLE processed_data")
    sandbox.execute("DROP TABLE quarantined_rows")
    for month in (MARCH, JANUARY, FEBRUARY):
        assert sandbox.publish_again(month)[month].state is State.PUBLISHED
    assert sandbox.published() == at_once


@pytest.mark.slow
def test_one_month_rewritten_leaves_the_others_alone(sandbox: Sandbox, given_published: GivenPublished) -> None:
    given_published(JANUARY, FEBRUARY, MARCH)
    others = "SELECT * FROM processed_data WHERE month(ds) <> 2 ORDER BY ALL"
    before = sandbox.query(others)
    for family in FAMILIES:
        head, *rows = sandbox.lines(family, FEBRUARY)
        # Of every fourth host: that all limits are others would not be believed.
        changed = [f"{row.rpartition(',')[0]},7" if at % 4 == 0 else row for at, row in enumerate(rows)]
        sandbox.write_lines(family, FEBRUARY, [head, *changed])

    assert sandbox.refine(FEBRUARY).success

    assert sandbox.query(others) == before
    assert sandbox.query("SELECT count(*) FROM processed_data WHERE month(ds) = 2 AND capacity = 7") == [(4 * 5 * 29,)]


@pytest.mark.slow
@pytest.mark.heavy
def test_ten_rewrites_leave_the_file_at_most_two_and_a_half_times_as_large(tmp_path: Path, sandbox: Sandbox) -> None:
    sample = make_sample(tmp_path / "larger", hosts=60, first=JANUARY, last=MARCH, seed=3)
    larger = Sandbox(replace(sandbox.settings, feed=sample.feed, warehouse=sample.warehouse), sandbox.instance)
    assert larger.refine(JANUARY, FEBRUARY, MARCH).success
    fresh = sample.warehouse.stat().st_size

    for _ in range(10):
        results = larger.publish_again(JANUARY, FEBRUARY, MARCH)
        assert {result.state for result in results.values()} == {State.PUBLISHED}

    assert sample.warehouse.stat().st_size <= 2.5 * fresh


@pytest.mark.slow
def test_a_feed_and_a_warehouse_made_by_somebody_else_are_refined_as_they_are(sandbox: Sandbox) -> None:
    december = Month(2024, 12)
    for family in FAMILIES:
        lines = sandbox.lines(family, JANUARY)
        rows = [line.split(",") for line in lines[1:]]
        by_host = sorted(rows, key=lambda row: (row[1], row[0]))
        if family is NETWORK:
            by_host = [[*row[:3], ""] for row in by_host]
        shouted = [[row[0], row[1].upper(), *row[2:]] for row in by_host]
        sandbox.write_lines(family, JANUARY, [lines[0], *(",".join(row) for row in shouted)])
        first_day = [["2024-12-01", *row[1:]] for row in rows if row[0] == "2024-01-01"]
        marked = "\ufeff" + "".join(f"{line}\r\n" for line in [lines[0], *(",".join(row) for row in first_day)])
        sandbox.write_bytes(family, december, marked.encode())
    sandbox.execute("CREATE TABLE theirs AS SELECT range AS n, 'kept' AS note FROM range(1000)")
    sandbox.execute(
        "CREATE TABLE plain AS "
        "SELECT node_name, lower(scenario) AS scenario, lower(variant) AS variant, 1 AS rack FROM hosts"
    )
    sandbox.execute("DROP TABLE hosts")
    sandbox.execute("ALTER TABLE plain RENAME TO hosts")
    theirs = sandbox.query("FROM theirs"), sandbox.query("FROM hosts")

    outcome = sandbox.refine(JANUARY)
    last = sandbox.refine(december)

    assert outcome.failures == last.failures == {}
    assert {name for name in outcome.checks if not outcome.checks[name].passed} == set()
    assert sandbox.query("SELECT count(*) FROM processed_data") == [(4 * 20 * 32,)]
    assert sandbox.query("FROM processed_data ANTI JOIN hosts ON host_id = node_name") == []
    assert sandbox.query("SELECT count(capacity) FROM processed_data WHERE resource = 'network' AND month(ds) = 1") == [
        (0,)
    ]
    assert (sandbox.query("FROM theirs"), sandbox.query("FROM hosts")) == theirs


def test_a_table_of_that_name_made_by_somebody_else_is_refused_and_kept(sandbox: Sandbox) -> None:
    sandbox.execute("CREATE TABLE processed_data AS SELECT 1 AS mine")

    outcome = sandbox.refine(JANUARY)

    assert "that the refinery did not make" in outcome.failures["processed_data"]
    assert sandbox.query("FROM processed_data") == [(1,)]


@pytest.mark.slow
def test_months_apart_are_published_in_one_transaction_without_those_between(
    sandbox: Sandbox, given_published: GivenPublished
) -> None:
    given_published(JANUARY, FEBRUARY, MARCH)
    sandbox.execute("DELETE FROM processed_data WHERE month(ds) <> 2")
    kept = sandbox.processed()

    results = sandbox.publish_again(MARCH, JANUARY)

    assert [results[month].state for month in (JANUARY, MARCH)] == [State.PUBLISHED] * 2

    assert sandbox.query("SELECT * FROM processed_data WHERE month(ds) = 2 ORDER BY resource, host_id, ds") == kept
    assert sandbox.query("SELECT count(DISTINCT month(ds)) FROM processed_data") == [(3,)]


@pytest.mark.slow
def test_a_telemetry_folder_with_pattern_letters_in_its_name_is_taken_literally(sandbox: Sandbox) -> None:
    odd = Sandbox(replace(sandbox.settings, telemetry=sandbox.telemetry.parent / "tel[1]*?"), sandbox.instance)

    assert odd.refine(JANUARY, FEBRUARY).success

    assert Partition(odd.settings.telemetry, DISK, FEBRUARY).path.is_file()
    assert odd.query("SELECT count(*) FROM processed_data") == [(4 * 20 * 60,)]


@pytest.mark.slow
def test_every_month_carries_its_own_figures_in_dagster(sandbox: Sandbox) -> None:
    sandbox.refine(JANUARY, FEBRUARY)

    for asset, rows in (("processed_data", 4 * 20), ("cpu_utilization", 20), ("legacy_feed", 4 * 20)):
        found = sandbox.instance.fetch_materializations(dg.AssetKey(asset), limit=10).records
        counts = {
            record.partition_key: record.asset_materialization.metadata["dagster/partition_row_count"].value
            for record in found
            if record.asset_materialization is not None
        }
        assert counts == {"2024-01": rows * 31, "2024-02": rows * 29}
