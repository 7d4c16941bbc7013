"""Measure a lake against the file: publishing, whole runs, several workers, storage, and one series read.

    .venv-lake/bin/python -m refinery_assets_tests.benchmarks.lake [--hosts 2000] [--first 2023-01] [--last 2025-12]
        [--runs 3] [--memory-mib 384] [--only script,file,lake] [--to data/bench]

Everything is on one release of DuckDB, the one that DuckLake is packaged for. The lake's catalog is in a PostgreSQL of
the benchmark's own, which waits for the disk as any other; its data lies in a folder. Figures are kept in `lake/` below
`--to`, and the table over all sizes becomes part of `benchmarks.md` (see `lake_report.py`).
"""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from statistics import median

import duckdb

from refinery_assets.contract.lake import Catalog, Lake
from refinery_assets.contract.months import Month
from refinery_assets.contract.settings import PROJECT_ROOT
from refinery_assets.warehouse.lake import open_lake
from refinery_assets_tests.benchmarks.candidates import CANDIDATES, Arena, arena_of, arena_parser, module
from refinery_assets_tests.benchmarks.compare import WrongRowsError, machine
from refinery_assets_tests.benchmarks.engine import INSERT_VARIABLE
from refinery_assets_tests.benchmarks.lake_report import LAKE_CANDIDATES
from refinery_assets_tests.benchmarks.measuring import Cost, measure
from refinery_assets_tests.benchmarks.report import write_report
from refinery_assets_tests.installation import BIN
from refinery_assets_tests.postgresql import ADMIN, create_database, postgresql_server, run_psql

_QUERIES = 25
_SERIES = "SELECT ds, y FROM processed_data WHERE host_id = ? AND resource = 'cpu' ORDER BY ds"


@dataclass
class _Ground:
    """Where the candidates run: the arena of a size, and one lake after another."""

    arena: Arena
    socket: Path
    memory_mib: int
    numbers: count[int] = field(default_factory=lambda: count(1))
    database: str = ""

    @property
    def data(self) -> Path:
        return self.arena.folder / "lake"

    @property
    def lake(self) -> Lake:
        return Lake(Catalog.POSTGRES, f"dbname={self.database} host={self.socket} user={ADMIN}", self.data)

    @property
    def environment(self) -> dict[str, str]:
        return self.arena.environment | {"REFINERY_MEMORY_MIB": str(self.memory_mib)}

    @property
    def in_lake(self) -> dict[str, str]:
        warehouse = f"ducklake:postgres:dbname={self.database} host={self.socket} user={ADMIN}"
        return self.environment | {"REFINERY_WAREHOUSE": warehouse, "REFINERY_LAKE_DATA": str(self.data)}

    def new_lake(self) -> None:
        """An empty lake that has taken in the inventory; the one before goes."""
        if self.database:
            run_psql(self.socket, "postgres", "-c", f"DROP DATABASE {self.database}")
        self.database = f"lake{next(self.numbers)}"
        create_database(self.socket, self.database)
        shutil.rmtree(self.data, ignore_errors=True)
        init = [str(BIN / "refinery"), "lake", "init", "--inventory", str(self.arena.inventory)]
        subprocess.run(init, env=self.in_lake, check=True, capture_output=True)

    def drop_lake(self) -> None:
        shutil.rmtree(self.data, ignore_errors=True)

    def storage(self, place: str) -> dict[str, int]:
        """Bytes of the file; or of the lake's data, in how many files, and of its catalog."""
        if place == "file":
            return {"data": self.arena.file("refinery").stat().st_size}
        size = run_psql(self.socket, self.database, "-c", "SELECT pg_database_size(current_database())")
        files = [file.stat().st_size for file in self.data.rglob("*.parquet")]
        return {"data": sum(files), "files": len(files), "catalog": int(size)}


def main() -> None:
    """Run the command line."""
    parser = arena_parser(__doc__, runs=3)
    parser.add_argument("--memory-mib", type=int, default=384)
    parser.add_argument("--only", type=lambda text: text.split(","), default=list(LAKE_CANDIDATES))
    chosen = parser.parse_args()
    arena = arena_of(chosen)
    with postgresql_server(durable=True) as socket:
        measured = _measure_all(_Ground(arena, socket, chosen.memory_mib), chosen.only, chosen.runs)
    kept = chosen.to / "lake" / f"{arena.folder.name}.json"
    kept.parent.mkdir(exist_ok=True)
    kept.write_text(json.dumps(measured, indent=1) + "\n", encoding="utf-8")
    write_report(chosen.to)


def _measure_all(ground: _Ground, names: Sequence[str], runs: int) -> dict[str, object]:
    arena = ground.arena
    costs: dict[str, list[Cost]] = {name: [] for name in names}
    stages: dict[str, list[Mapping[str, float]]] = {}
    storage: dict[str, list[Mapping[str, int]]] = {}
    series: dict[str, list[float]] = {}
    for number in range(1, runs + 1):
        arena.start_anew()
        for name in names:
            seconds = arena.folder / "seconds.json"
            seconds.unlink(missing_ok=True)
            cost = _run(ground, name, seconds)
            costs[name].append(cost)
            print(
                f"{number}/{runs} {name:14s} {cost.wall:7.2f} s  cpu {cost.cpu:7.2f} s  {cost.peak:6.0f} MiB", end=" "
            )
            if seconds.exists():
                stages.setdefault(name, []).append(json.loads(seconds.read_text(encoding="utf-8")))
                print({stage: round(taken, 2) for stage, taken in stages[name][-1].items()}, end="")
            print(flush=True)
            if name in {"file", "lake"}:
                storage.setdefault(name, []).append(ground.storage(name))
                series.setdefault(name, []).append(_time_of_one_series(ground, name))
    ground.drop_lake()
    return {
        "hosts": arena.hosts,
        "months": len(list(Month.span(arena.first, arena.last))),
        "rows": arena.rows,
        "memory_mib": ground.memory_mib,
        "taken": datetime.now(UTC).strftime("%Y-%m-%d"),
        "machine": machine(),
        "costs": {name: [asdict(cost) for cost in taken] for name, taken in costs.items()},
        "stages": stages,
        "bytes": storage,
        "milliseconds_of_one_series": series,
    }


def _run(ground: _Ground, name: str, seconds: Path) -> Cost:
    arena = ground.arena
    if name == "script":
        arena.clear("script")
        cost = measure(CANDIDATES["script"].command(arena), PROJECT_ROOT, ground.environment)
        _demand_rows(ground, name)
        return cost
    in_lake = "lake" in name
    arena.clear("refinery")
    if in_lake:
        ground.new_lake()
    environment = ground.in_lake if in_lake else ground.environment
    if name.startswith("engine"):
        command = module("engine", str(arena.first), str(arena.last), str(seconds))
        environment = environment | ({INSERT_VARIABLE: "1"} if name.endswith("insert") else {})
    else:
        workers = {"lake_two": 2, "lake_three": 3}.get(name)
        command = (
            list(CANDIDATES["full"].command(arena))
            if workers is None
            else module("workers", str(workers), str(arena.first), str(arena.last))
        )
    cost = measure(command, PROJECT_ROOT, environment)
    _demand_rows(ground, "lake" if in_lake else "file")
    return cost


def _demand_rows(ground: _Ground, place: str) -> None:
    arena = ground.arena
    if place == "lake":
        with open_lake(ground.lake, read_only=True, wait_seconds=0.0) as connection:
            ((rows,),) = connection.execute("SELECT count(*) FROM processed_data").fetchall()
    else:
        file, table = ("script", "processed") if place == "script" else ("refinery", "processed_data")
        with duckdb.connect(arena.file(file), read_only=True) as connection:
            ((rows,),) = connection.execute(f"SELECT count(*) FROM {table}").fetchall()
    if rows != arena.rows:
        raise WrongRowsError(f"{place} has {rows} rows of {arena.rows}")


def _time_of_one_series(ground: _Ground, place: str) -> float:
    """Milliseconds of the query that consumers run most: median over several hosts, on an open connection."""
    with duckdb.connect(ground.arena.inventory, read_only=True) as connection:
        hosts = connection.execute("SELECT node_name FROM hosts ORDER BY md5(node_name)").fetchmany(_QUERIES)
    if place == "lake":
        with open_lake(ground.lake, read_only=True, wait_seconds=0.0) as connection:
            return _median_of(connection, hosts)
    with duckdb.connect(ground.arena.file("refinery"), read_only=True) as connection:
        return _median_of(connection, hosts)


def _median_of(connection: duckdb.DuckDBPyConnection, hosts: Sequence[tuple[str]]) -> float:
    taken = []
    for (host,) in hosts:
        start = time.perf_counter()
        connection.execute(_SERIES, [host]).fetchall()
        taken.append(1000 * (time.perf_counter() - start))
    return median(taken)


if __name__ == "__main__":
    main()
