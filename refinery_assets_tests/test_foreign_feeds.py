"""Whole runs over feeds that are nothing like the packaged one: one run for each kind."""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import polars as pl
import pytest

from refinery_assets.contract.contract_file import load_contract
from refinery_assets.warehouse.month_state import State
from refinery_assets.warehouse.month_status import Inputs
from refinery_assets.warehouse.plan import make_plan
from refinery_assets.warehouse.status import read_status
from refinery_assets_tests.scenario import CPU, FEBRUARY, JANUARY, MEMORY, Sandbox

CPU_ALONE = """
[feed]
path = "{year}/{family}-{year}{month}{day}.csv.gz"
delimiter = ";"
decimal = ","
encoding = "latin-1"
date_format = "DD.MM.YYYY"

[[family]]
name = "cpu_load"
resource = "cpu"
date = "tag"
host = "server"
value = "auslastung"
"""

WIDE = """
[feed]
path = "fleet_{year}_{month}.parquet"
date_format = "epoch_milliseconds"

[[family]]
name = "cpu_load"
resource = "cpu"
date = "ts"
host = "host"
value = "cpu"
unit = "fraction"
capacity = "cores"

[[family]]
name = "memory_load"
resource = "memory"
date = "ts"
host = "host"
value = "mem"
unit = "fraction"
"""


def with_contract(sandbox: Sandbox, text: str) -> Sandbox:
    path = sandbox.feed.parent / "contract.toml"
    path.write_text(text, encoding="utf-8")
    feed = sandbox.feed.parent / "foreign"
    feed.mkdir()
    return replace(sandbox, settings=replace(sandbox.settings, contract=load_contract(path), feed=feed))


def write_day(feed: Path, day: str, rows: Sequence[Sequence[str]]) -> None:
    year, month, number = day.split("-")
    lines = ["Server;Tag;Auslastung"]
    lines += [f"{host};{number}.{month}.{year};{value.replace('.', ',')}" for _, host, value, *_ in rows]
    path = feed / year / f"cpu_load-{year}{month}{number}.csv.gz"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(gzip.compress("".join(f"{line}\n" for line in lines).encode("latin-1")))


@pytest.mark.slow
def test_a_team_with_cpu_alone_and_a_packed_file_a_day_publishes_its_months(sandbox: Sandbox) -> None:
    foreign = with_contract(sandbox, CPU_ALONE)
    feed = foreign.feed
    expected = []
    for month in (JANUARY, FEBRUARY):
        rows = [line.split(",") for line in sandbox.lines(CPU, month)[1:]]
        expected += [(datetime.fromisoformat(row[0]), row[1], float(row[2])) for row in rows if row[2]]
        for day in sorted({row[0] for row in rows}):
            write_day(feed, day, [row for row in rows if row[0] == day])
    first = [line.split(",") for line in sandbox.lines(CPU, FEBRUARY) if line.startswith("2024-02-07")]
    write_day(feed, "2024-02-07", [*first, ["", "web-1", "x"]])
    (feed / "2024" / "cpu_load-20240119.csv.gz").unlink()

    outcome = foreign.refine(JANUARY, FEBRUARY)

    assert outcome.success, outcome.message
    assert outcome.metadata("legacy_feed", "source_files_present", JANUARY)["found"] == 30
    assert outcome.verdict("legacy_feed", "source_files_present", JANUARY) == "warning"
    assert outcome.verdict("legacy_feed", "source_files_present", FEBRUARY) == "passed"
    published = foreign.query("SELECT ds, host_id, y FROM processed_data WHERE NOT is_imputed AND capacity IS NULL")
    assert sorted(published) == sorted(row for row in expected if row[0].date().isoformat() != "2024-01-19")
    assert foreign.quarantined() == [
        (
            str(FEBRUARY),
            "cpu",
            "2024/cpu_load-20240207.csv.gz",
            len(first) + 2,
            "web-1;07.02.2024;x",
            "not_a_number",
        )
    ]
    (again,) = make_plan(foreign.settings, [[JANUARY]]).results.values()
    assert again.state is State.UNCHANGED
    write_day(feed, "2024-01-19", [["", "stranger", "5"]])
    with duckdb.connect(foreign.settings.warehouse, read_only=True) as connection:
        status = read_status(connection, foreign.settings, datetime.now(UTC).date())
    assert {month.month: month.inputs for month in status.months} == {
        JANUARY: Inputs.CHANGED,
        FEBRUARY: Inputs.AS_PUBLISHED,
    }
    (refused,) = make_plan(foreign.settings, [[JANUARY]]).results.values()
    told = " ".join(verdict.finding.message for verdict in refused.verdicts if verdict.failed)
    assert "stranger (2024/cpu_load-20240119.csv.gz, line 2)" in told


@pytest.mark.slow
def test_one_wide_parquet_file_of_fractions_and_epochs_is_published_as_percent(sandbox: Sandbox) -> None:
    foreign = with_contract(sandbox, WIDE)
    cpu, memory = (pl.read_csv(sandbox.file(family, JANUARY).path) for family in (CPU, MEMORY))
    both = cpu.join(memory, on=["date", "host_id"]).filter(pl.col("cpu_p95").is_not_null())
    wide = both.select(
        ts=pl.col("date").str.to_datetime("%Y-%m-%d", time_unit="ms").dt.epoch("ms"),
        host="host_id",
        cpu=pl.col("cpu_p95") / 100,
        cores="max_cores",
        mem=pl.col("memory_p95") / 100,
    )
    wide.write_parquet(foreign.feed / "fleet_2024_01.parquet")

    outcome = foreign.refine(JANUARY)

    assert outcome.success, outcome.message
    assert outcome.metadata("legacy_feed", "source_files_present", JANUARY)["expected"] == 1
    for resource, column in (("cpu", "cpu_p95"), ("memory", "memory_p95")):
        rows = foreign.query(
            "SELECT strftime(ds, '%Y-%m-%d'), host_id, y FROM processed_data WHERE resource = ? AND NOT is_imputed",
            [resource],
        )
        assert sorted(rows) == sorted(both.select("date", "host_id", column).drop_nulls().rows())
