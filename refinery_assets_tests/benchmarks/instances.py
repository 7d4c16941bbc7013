"""Measure Dagster's instance in PostgreSQL against the refinery's storage in SQLite: whole runs of the whole graph.

    .venv-dev/bin/python -m refinery_assets_tests.benchmarks.instances [--hosts 2000] [--first 2023-01] [--last 2025-12]
        [--runs 3] [--to data/bench]

In turns: all months into an empty file, and the same again with nothing to do. PostgreSQL is one of the benchmark's
own, which waits for the disk as any other. Figures are kept in `instances/` below `--to` and become part of
`benchmarks.md`.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from refinery_assets.contract.months import Month
from refinery_assets.contract.settings import PROJECT_ROOT
from refinery_assets_tests.benchmarks.candidates import CANDIDATES, Arena, arena_of, arena_parser
from refinery_assets_tests.benchmarks.compare import machine
from refinery_assets_tests.benchmarks.measuring import Cost, measure
from refinery_assets_tests.benchmarks.report import write_report
from refinery_assets_tests.postgresql import create_database, dagster_variables, postgresql_server

_SQLITE, _POSTGRES = "sqlite", "postgres"
_FULL = CANDIDATES["full"].command


def main() -> None:
    """Run the command line."""
    parser = arena_parser(__doc__, runs=3)
    chosen = parser.parse_args()
    arena = arena_of(chosen)
    with postgresql_server(durable=True) as socket:
        costs = _measure_all(arena, socket, chosen.runs)
    measured = {
        "hosts": chosen.hosts,
        "months": len(list(Month.span(chosen.first, chosen.last))),
        "taken": datetime.now(UTC).strftime("%Y-%m-%d"),
        "machine": machine(),
        "costs": {name: [asdict(cost) for cost in taken] for name, taken in costs.items()},
    }
    kept = chosen.to / "instances" / f"{arena.folder.name}.json"
    kept.parent.mkdir(exist_ok=True)
    kept.write_text(json.dumps(measured, indent=1) + "\n", encoding="utf-8")
    write_report(chosen.to)


def _measure_all(arena: Arena, socket: Path, runs: int) -> dict[str, list[Cost]]:
    costs: dict[str, list[Cost]] = {}
    for number in range(1, runs + 1):
        for instance in (_SQLITE, _POSTGRES):
            variables = _new_home(arena, socket, f"dagster{number}") if instance == _POSTGRES else _sqlite_home(arena)
            arena.clear("refinery")
            for what in ("full", "unchanged"):
                cost = measure(_FULL(arena), PROJECT_ROOT, arena.environment | variables)
                costs.setdefault(f"{what}_{instance}", []).append(cost)
                print(f"{number}/{runs} {what} {instance:9s} {cost.wall:7.2f} s  cpu {cost.cpu:7.2f} s", flush=True)
    return costs


def _sqlite_home(arena: Arena) -> dict[str, str]:
    arena.start_anew()
    return {}


def _new_home(arena: Arena, socket: Path, database: str) -> dict[str, str]:
    """An empty database, opened once so that no run pays for making its tables."""
    create_database(socket, database)
    home = arena.folder / "dagster"
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir(parents=True)
    shutil.copy(PROJECT_ROOT / "deploy" / "postgres" / "dagster.yaml", home)
    variables = dagster_variables(socket, database)
    noop = CANDIDATES["noop"].command(arena)
    subprocess.run(noop, env=arena.environment | variables, check=True, capture_output=True)
    return variables


if __name__ == "__main__":
    main()
