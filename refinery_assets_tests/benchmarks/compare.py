"""Measure the refinery against the limit, the plain script and its peers, each as a whole process.

    python -m refinery_assets_tests.benchmarks.compare [--hosts 2000] [--first 2023-01] [--last 2025-12]
        [--runs 5] [--only limit,engine] [--to data/bench]

All candidates are run in turn, and that as often as `--runs` says, so that a machine whose speed drifts
drifts for all of them. What is measured is kept as `<hosts>x<months>.json` below `--to`, beside the feed of
that size; the table over all sizes measured so far is written there as `benchmarks.md` and
`benchmarks.png` (see `report.py`).
"""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from statistics import median

import duckdb
from rich.console import Console

from refinery_assets.contract.months import Month
from refinery_assets_tests.benchmarks.candidates import (
    CANDIDATES,
    Arena,
    Candidate,
    arena_of,
    arena_parser,
    install_peer,
)
from refinery_assets_tests.benchmarks.measuring import Cost, measure
from refinery_assets_tests.benchmarks.report import write_report

_QUERIES = 25


class WrongRowsError(Exception):
    """A candidate did not land the rows of the feed, so its time means nothing."""


def main() -> None:
    """Run the command line."""
    parser = arena_parser(__doc__, runs=5)
    parser.add_argument("--only", type=lambda text: text.split(","), default=list(CANDIDATES))
    chosen = parser.parse_args()
    arena = arena_of(chosen)
    measured = _measure_all(arena, chosen.only, chosen.runs)
    # What was measured of this size before and is not measured now belongs to another time.
    (chosen.to / f"{arena.folder.name}.json").write_text(json.dumps(measured, indent=1) + "\n", encoding="utf-8")
    write_report(chosen.to)


def _measure_all(arena: Arena, names: Sequence[str], runs: int) -> dict[str, object]:
    console = Console()
    there = {peer: install_peer(peer) for name in names if (peer := CANDIDATES[name].peer)}
    names = [name for name in names if there.get(CANDIDATES[name].peer or "", True)]
    costs: dict[str, list[Cost]] = {name: [] for name in names}
    sizes: dict[str, int] = {}
    point_query = None
    for number in range(1, runs + 1):
        arena.start_anew()
        for name in names:
            candidate = CANDIDATES[name]
            if candidate.fresh and candidate.file:
                arena.clear(candidate.file)
            cost = measure(candidate.command(arena), candidate.folder, arena.environment)
            costs[name].append(cost)
            console.print(f"{number}/{runs} {name:15s} {cost.wall:7.2f} s  cpu {cost.cpu:7.2f} s  {cost.peak:6.0f} MiB")
            if candidate.file:
                _demand_rows(arena, name, candidate)
                sizes[name] = arena.file(candidate.file).stat().st_size
            if name == "full" and point_query is None:
                point_query = _time_of_one_series(arena)
    return {
        "hosts": arena.hosts,
        "months": len(list(Month.span(arena.first, arena.last))),
        "rows": arena.rows,
        "taken": datetime.now(UTC).strftime("%Y-%m-%d"),
        "machine": machine(),
        "costs": {name: [vars(cost) for cost in taken] for name, taken in costs.items()},
        "bytes": sizes,
        "milliseconds_of_one_series": point_query,
        "not_installed": [peer for peer, is_there in there.items() if not is_there],
    }


def _demand_rows(arena: Arena, name: str, candidate: Candidate) -> None:
    with duckdb.connect(arena.file(candidate.file or ""), read_only=True) as connection:
        ((rows,),) = connection.execute(f"SELECT count(*) FROM {candidate.table}").fetchall()
    if rows != arena.rows:
        raise WrongRowsError(f"{name} left {rows} rows of {arena.rows}")


def _time_of_one_series(arena: Arena) -> float:
    """Milliseconds of the query that consumers run most: median over several hosts, the file in memory."""
    taken = []
    with duckdb.connect(arena.file("refinery"), read_only=True) as connection:
        hosts = connection.execute("SELECT node_name FROM hosts ORDER BY md5(node_name)").fetchmany(_QUERIES)
        for (host,) in hosts:
            start = time.perf_counter()
            connection.execute(
                "SELECT ds, y FROM processed_data WHERE host_id = ? AND resource = 'cpu' ORDER BY ds", [host]
            ).fetchall()
            taken.append(1000 * (time.perf_counter() - start))
    return median(taken)


def machine() -> str:
    """What it was measured on, in words."""
    gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (
        f"{os.cpu_count()} cores, {gib:.0f} GiB, {platform.system()}, "
        f"Python {platform.python_version()}, DuckDB {duckdb.__version__}"
    )


if __name__ == "__main__":
    main()
