"""The benchmarks measure what they say: the same rows from every candidate, and a process's own figures."""

from __future__ import annotations

import importlib
import json
import os
import shutil
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import dagster as dg
import duckdb
import pytest

from refinery_assets.assets.steps import FORCE_TAG
from refinery_assets.build import build_defs
from refinery_assets.contract.months import Month
from refinery_assets.operations.automation import REFINE
from refinery_assets.operations.partitions import range_tags
from refinery_assets_tests.benchmarks import anew, engine, limit, script
from refinery_assets_tests.benchmarks.candidates import CANDIDATES, PEERS
from refinery_assets_tests.benchmarks.measuring import CommandFailedError, measure
from refinery_assets_tests.benchmarks.report import write_report
from refinery_assets_tests.benchmarks.workers import slices
from refinery_assets_tests.scenario import CPU, FEBRUARY, JANUARY, MARCH, Sandbox

MONTHS = [JANUARY, FEBRUARY, MARCH]


def test_the_engine_measures_nothing_on_a_feed_that_does_not_pass(sandbox: Sandbox) -> None:
    sandbox.file(CPU, FEBRUARY).path.unlink()

    with pytest.raises(engine.RefusedError, match="cpu_utilization_202402"):
        engine.refine(sandbox.settings, MONTHS)


@pytest.mark.slow
def test_the_engine_publishes_what_the_graph_publishes(sandbox: Sandbox, tmp_path: Path) -> None:
    # In places of its own, or the graph would find every month published and unchanged.
    apart = replace(sandbox.settings, warehouse=tmp_path / "engine.duckdb", telemetry=tmp_path / "engine")
    shutil.copy(sandbox.settings.warehouse, apart.warehouse)
    by_the_engine = Sandbox(apart, sandbox.instance)

    engine.refine(apart, MONTHS)

    assert sandbox.refine(JANUARY, MARCH).success
    assert by_the_engine.published() == sandbox.published()
    for receipts in (
        "SELECT * FROM series_months ORDER BY ALL",
        "SELECT month, input_digest, table_digest, rows, rows_added FROM publications ORDER BY month",
        "SELECT month, asset, check_name, verdict, counts FROM audits ORDER BY ALL",
    ):
        assert by_the_engine.query(receipts) == sandbox.query(receipts)


@pytest.mark.slow
def test_the_shape_has_the_steps_checks_and_events_of_the_graph(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("first_month", "last_month"):
        monkeypatch.setenv(f"REFINERY_{name.upper()}", str(getattr(sandbox.settings, name)))
    shape = importlib.import_module("refinery_assets_tests.benchmarks.shape").defs

    def events(defs: dg.Definitions) -> Counter[tuple[object, ...]]:
        result = defs.resolve_job_def(REFINE).execute_in_process(
            tags=range_tags(JANUARY, MARCH),
            run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
        )
        kinds = {dg.DagsterEventType.ASSET_MATERIALIZATION, dg.DagsterEventType.ASSET_CHECK_EVALUATION}
        noted = (event for event in result.all_events if event.event_type in kinds)
        return Counter((event.step_key, event.event_type, event.partition) for event in noted)

    of_the_graph = events(build_defs(sandbox.settings))

    assert events(shape) == of_the_graph
    assert of_the_graph.total() == len(MONTHS) * (8 + 33), "assets and checks"


def test_rewriting_is_the_job_refine_with_a_tag_that_asks_for_it() -> None:
    refine, rewrite = (anew.defs.resolve_job_def(name) for name in (REFINE, anew.JOB))

    assert rewrite.tags[FORCE_TAG] == "true"
    assert FORCE_TAG not in refine.tags
    assert {node.name for node in rewrite.nodes} == {node.name for node in refine.nodes}


@pytest.mark.slow
def test_limit_and_script_land_every_row_of_the_feed(sandbox: Sandbox, tmp_path: Path) -> None:
    rows = sum(len(file.read_text().splitlines()) - 1 for file in sandbox.feed.rglob("*.csv"))

    limit.land(sandbox.feed, tmp_path / "limit.duckdb")

    with duckdb.connect(tmp_path / "limit.duckdb") as connection:
        assert connection.execute("SELECT count(*) FROM landed").fetchall() == [(rows,)]
    assert script.refine(sandbox.feed, sandbox.settings.warehouse) == (rows, 10)


@pytest.mark.parametrize("peer", sorted({each.peer for each in CANDIDATES.values() if each.peer}))
def test_every_package_of_a_peer_is_pinned(peer: str) -> None:
    lines = (PEERS / peer / "requirements.txt").read_text().splitlines()

    assert lines
    assert all("==" in line for line in lines)


def test_a_command_that_fails_is_not_measured_and_says_why(tmp_path: Path) -> None:
    failing = [sys.executable, "-c", "import sys; print('no such feed'); sys.exit(3)"]

    with pytest.raises(CommandFailedError, match="ended with 3: no such feed"):
        measure(failing, tmp_path, os.environ)


@pytest.mark.slow
def test_memory_and_time_are_those_of_the_command_not_of_who_starts_it(tmp_path: Path) -> None:
    ballast = bytearray(os.urandom(2**20) * 150)
    small = measure([sys.executable, "-c", "pass"], tmp_path, os.environ)
    large = measure([sys.executable, "-c", "x = bytearray(b'1' * 100 * 2**20)"], tmp_path, os.environ)

    assert small.peak < len(ballast) / 2**20
    assert large.peak - small.peak > 100
    assert small.cpu > 0
    assert small.wall > 0


def test_the_table_holds_every_aim_and_leaves_open_what_was_not_measured(tmp_path: Path) -> None:
    cost = {"cpu": 1.0, "peak": 500.0}
    taken = {
        "hosts": 2000,
        "months": 36,
        "rows": 8_768_000,
        "taken": str(Month(2026, 1).first_day),
        "machine": "a machine",
        "costs": {
            "limit": [{"wall": 2.0, **cost}, {"wall": 1.0, **cost}, {"wall": 1.0, **cost}],
            "engine": [{"wall": 3.0, **cost}, {"wall": 3.0, **cost}, {"wall": 1.0, **cost}],
        },
        "bytes": {"limit": 5, "engine": 6},
        "milliseconds_of_one_series": None,
        "not_installed": ["sqlmesh"],
    }
    (tmp_path / "2000x36.json").write_text(json.dumps(taken))

    write_report(tmp_path)

    table = (tmp_path / "benchmarks.md").read_text().splitlines()
    assert "| `engine` / `limit` | 1.50 | at most 2 |  | at most 1.8 |" in table
    assert "| `unchanged` / `noop` |  | at most 1.6 |  | at most 3 |" in table
    assert "| `full` / `script` |  | at most 2.2 |  | at most 1.4 |" in table
    assert any("Not installed: sqlmesh." in line for line in table)


def test_what_a_lake_was_measured_at_stands_below_the_rest_with_its_aim(tmp_path: Path) -> None:
    def runs(*walls: float) -> list[dict[str, float]]:
        return [{"wall": wall, "cpu": 1.0, "peak": 500.0} for wall in walls]

    measured = {
        "hosts": 20_000,
        "months": 36,
        "rows": 86_000_000,
        "memory_mib": 384,
        "taken": "2026-01-01",
        "machine": "a machine",
        "costs": {"script": runs(10.0, 20.0, 40.0), "lake": runs(8.0, 30.0, 24.0), "lake_two": runs(4.0, 10.0, 12.0)},
        "stages": {"engine_lake": [{"families": 5.0, "publish": 1.25}]},
        "bytes": {"lake": [{"data": size, "files": 144, "catalog": 9_000_000} for size in (1_000_000, 3_000_000)]},
        "milliseconds_of_one_series": {"lake": [10.0, 30.0, 12.0]},
    }
    (tmp_path / "lake").mkdir()
    (tmp_path / "lake" / "20000x36.json").write_text(json.dumps(measured))

    write_report(tmp_path)

    table = (tmp_path / "benchmarks.md").read_text().splitlines()
    assert "| `lake` / `script` | 0.80 (aim: at most 0.8) |" in table
    assert "| `lake` / `lake_two` | 2.00 |" in table
    assert "| `lake` / `lake_three` |  |" in table, "not measured"
    assert "| publish, lake without a copy | 1.2 |" in table
    assert "| lake: data, MB | 2.0 |" in table
    assert "| the same, lake, ms | 12 |" in table
    assert "| taken | 2026-01-01, a machine |" in table


def test_an_instance_in_postgresql_is_held_against_the_same_round_in_sqlite(tmp_path: Path) -> None:
    runs = {"full_sqlite": (10.0, 20.0), "full_postgres": (12.0, 30.0)}
    runs |= {"unchanged_sqlite": (4.0, 4.0), "unchanged_postgres": (8.0, 4.0)}
    costs = {name: [{"wall": wall, "cpu": 1.0, "peak": 1.0} for wall in walls] for name, walls in runs.items()}
    (tmp_path / "instances").mkdir()
    for hosts in (20_000, 2_000):
        measured = {"hosts": hosts, "months": 36, "taken": f"day {hosts}", "machine": "a machine", "costs": costs}
        (tmp_path / "instances" / f"{hosts}x36.json").write_text(json.dumps(measured))

    write_report(tmp_path)

    rows = [line for line in (tmp_path / "benchmarks.md").read_text().splitlines() if "a machine" in line]
    assert [row.split(", day")[0] for row in rows[::2]] == ["| 2,000 hosts x 36 months", "| 20,000 hosts x 36 months"]
    assert all("a machine" in row and row.split(" | ")[2] == "2" for row in rows)
    assert rows[0].endswith("into an empty file | 2 | 15.0 | 21.0 | 1.35 (aim: at most 1.3) |")
    assert rows[1].endswith("nothing to do | 2 | 4.0 | 6.0 | 1.50 |")


@pytest.mark.parametrize("number", [1, 2, 3, 5])
def test_workers_share_the_months_whole_and_in_order(number: int) -> None:
    months = list(Month.span(JANUARY, MARCH))

    shares = slices(months, number)

    assert [month for share in shares for month in share] == months
    assert len(shares) == min(number, len(months))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1
