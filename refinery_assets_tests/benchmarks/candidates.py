"""What is compared: each candidate's files before a run, its command, and the rows that it must leave.

Here: the commands. Not here: the work that they do (the modules beside this one, and `peers/`), and when they
are run (`compare.py`).
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from refinery_assets.contract.months import Month
from refinery_assets.contract.settings import PROJECT_ROOT
from refinery_assets.sample.feed import make_sample
from refinery_assets.sample.fleet import Fleet
from refinery_assets.warehouse.storage import open_or_make_warehouse
from refinery_assets_tests.installation import BIN

PEERS = Path(__file__).parent / "peers"
_HERE = "refinery_assets_tests.benchmarks"
_SEED = 1
_SHAPE = ("-m", f"{_HERE}.shape")
_ANEW = ("-m", f"{_HERE}.anew")


@dataclass(frozen=True)
class Arena:
    """The folder of one size: the feed, and what the candidates make of it."""

    folder: Path
    hosts: int
    first: Month
    last: Month

    @property
    def feed(self) -> Path:
        return self.folder / "sample" / "legacy" / "inputs"

    @property
    def inventory(self) -> Path:
        """The sample's warehouse, which holds `hosts` and nothing else."""
        return self.folder / "sample" / "refinery.duckdb"

    def file(self, candidate: str) -> Path:
        return self.folder / f"{candidate}.duckdb"

    @property
    def months(self) -> str:
        return f"{self.first}...{self.last}"

    def make_feed(self) -> None:
        if not self.inventory.exists():
            make_sample(self.folder / "sample", hosts=self.hosts, first=self.first, last=self.last, seed=_SEED)

    @cached_property
    def rows(self) -> int:
        """The rows of the feed, which every candidate must leave."""
        return Fleet.make(hosts=self.hosts, first=self.first, last=self.last, seed=_SEED).rows

    @property
    def environment(self) -> dict[str, str]:
        """The refinery's, in a Dagster home of its own; and the peers'."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("REFINERY_")}
        target = self.folder / "peers"
        return inherited | {
            "DAGSTER_HOME": str(self.folder / "dagster"),
            "REFINERY_FEED": str(self.feed),
            "REFINERY_WAREHOUSE": str(self.file("refinery")),
            "REFINERY_TELEMETRY": str(self.folder / "telemetry"),
            "REFINERY_REPORTS": str(self.folder / "reports"),
            "REFINERY_ALERT_LOG": str(self.folder / "alerts.jsonl"),
            "REFINERY_FIRST_MONTH": str(self.first),
            "REFINERY_LAST_MONTH": str(self.last),
            "PEER_FEED": str(self.feed),
            "PEER_MONTHS": "*/*",
            "PEER_START": self.first.first_day.isoformat(),
            "PEER_WAREHOUSE": str(self.file("peer")),
            "PEER_TARGET": str(target),
            "DBT_TARGET_PATH": str(target),
            "DBT_LOG_PATH": str(target),
        }

    def start_anew(self) -> None:
        """A Dagster home as the project's, opened once so that no run pays for making it."""
        home = self.folder / "dagster"
        shutil.rmtree(home, ignore_errors=True)
        home.mkdir(parents=True)
        shutil.copy(PROJECT_ROOT / "data" / "dagster" / "dagster.yaml", home)
        subprocess.run(CANDIDATES["noop"].command(self), env=self.environment, check=True, capture_output=True)

    def clear(self, candidate: str) -> None:
        """No table but the inventory, no partition, nothing that a peer remembers."""
        target = self.file(candidate)
        target.unlink(missing_ok=True)
        shutil.rmtree(self.folder / "telemetry", ignore_errors=True)
        shutil.rmtree(self.folder / "peers", ignore_errors=True)
        (self.folder / "peers").mkdir()
        if candidate == "peer":
            # In the warehouse's format, which SQLMesh's older DuckDB takes, too.
            with open_or_make_warehouse(target) as connection:
                connection.execute("ATTACH $inventory AS sample (READ_ONLY)", {"inventory": str(self.inventory)})
                connection.execute("CREATE TABLE hosts AS FROM sample.hosts")
        elif candidate != "limit":
            shutil.copy(self.inventory, target)


def arena_parser(description: str | None, *, runs: int) -> argparse.ArgumentParser:
    """A command line that asks for the size, the rounds, and the folder of what is measured."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--hosts", type=int, default=2000)
    parser.add_argument("--first", type=Month.parse, default=Month(2023, 1))
    parser.add_argument("--last", type=Month.parse, default=Month(2025, 12))
    parser.add_argument("--runs", type=int, default=runs)
    parser.add_argument("--to", type=Path, default=PROJECT_ROOT / "data" / "bench")
    return parser


def arena_of(chosen: argparse.Namespace) -> Arena:
    """The arena that was asked for, its feed made; its folder is named by the size."""
    months = len(list(Month.span(chosen.first, chosen.last)))
    folder = chosen.to.resolve() / f"{chosen.hosts}x{months}"
    arena = Arena(folder, chosen.hosts, chosen.first, chosen.last)
    arena.make_feed()
    return arena


@dataclass(frozen=True)
class Candidate:
    """One way to do the job, or a part of it.

    Attributes:
        meaning: What it is, for the table.
        command: The whole process.
        file: Whose file it writes; None when it writes none.
        fresh: Whether it starts from an empty file, or goes on where the one before ended.
        table: The table whose rows must be those of the feed.
        peer: The environment of its own that it needs.
        folder: Where it is run.
    """

    meaning: str
    command: Callable[[Arena], Sequence[str]]
    file: str | None = None
    fresh: bool = True
    table: str = "processed_data"
    peer: str | None = None
    folder: Path = field(default=PROJECT_ROOT)


def module(name: str, *arguments: str) -> list[str]:
    """The command for a module beside this one."""
    return [sys.executable, "-m", f"{_HERE}.{name}", *arguments]


def _launch(*options: str) -> list[str]:
    return [str(BIN / "dg"), "launch", *options]


def _peer(name: str, *arguments: str) -> list[str]:
    return [str(peer_folder(name) / "bin" / name), *arguments]


def peer_folder(name: str) -> Path:
    """Where a peer's packages are, apart from the project's."""
    return PROJECT_ROOT / ".cache" / "peers" / name


def install_peer(name: str) -> bool:
    """Install a peer where it is not there yet; tell whether it is there now."""
    folder = peer_folder(name)
    if (folder / ".ready").exists():
        return True
    made = subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=False)
    pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "-qqq"]
    required = PEERS / name / "requirements.txt"
    if made.returncode or subprocess.run([*pip, "-r", str(required)], check=False).returncode:
        return False
    (folder / ".ready").touch()
    return True


CANDIDATES: Mapping[str, Candidate] = {
    "limit": Candidate(
        "plain DuckDB: one INSERT a family with explicit columns, no checks",
        lambda arena: module("limit", str(arena.feed), str(arena.file("limit"))),
        file="limit",
        table="landed",
    ),
    "engine": Candidate(
        "our data work without Dagster: read, verdicts, Parquet, publish, audit",
        lambda arena: module("engine", str(arena.first), str(arena.last)),
        file="refinery",
    ),
    "script": Candidate(
        "the plain script: `read_csv_auto` over globs, a row count, a behavior count",
        lambda arena: module("script", str(arena.feed), str(arena.file("script"))),
        file="script",
        table="processed",
    ),
    "full": Candidate(
        "our whole graph, all months, all checks, into an empty warehouse",
        lambda arena: _launch("--job", "refine", "--partition-range", arena.months),
        file="refinery",
    ),
    "again": Candidate(
        "the same into the warehouse that is full, every month rewritten",
        lambda arena: _launch("--job", "refine_anew", "--partition-range", arena.months, *_ANEW),
        file="refinery",
        fresh=False,
    ),
    "unchanged": Candidate(
        "the same once more, with nothing to do",
        lambda arena: _launch("--job", "refine", "--partition-range", arena.months),
        file="refinery",
        fresh=False,
    ),
    "shape_all": Candidate(
        "a Dagster run of our steps and checks for all months that do nothing, libraries loaded",
        lambda arena: _launch("--job", "refine", "--partition-range", arena.months, *_SHAPE),
    ),
    "month": Candidate(
        "one month into the warehouse that is full, rewritten",
        lambda arena: _launch("--job", "refine_anew", "--partition", str(arena.last), *_ANEW),
        file="refinery",
        fresh=False,
    ),
    "shape": Candidate(
        "our steps and checks for one month that do nothing, libraries loaded",
        lambda arena: _launch("--job", "refine", "--partition", str(arena.last), *_SHAPE),
    ),
    "noop": Candidate(
        "a Dagster run of one asset that does nothing",
        lambda _: _launch("--assets", "nothing", "-m", f"{_HERE}.noop"),
    ),
    "dbt": Candidate(
        "dbt-duckdb, incremental by delete+insert, five tests",
        lambda _: _peer("dbt", "build", "--profiles-dir", ".", "--select", "processed_data"),
        file="peer",
        peer="dbt",
        folder=PEERS / "dbt",
    ),
    "dbt_microbatch": Candidate(
        "dbt-duckdb, incremental by microbatch of a month, five tests",
        lambda arena: _peer(
            "dbt",
            "build",
            "--profiles-dir",
            ".",
            "--select",
            "processed_data_by_batch",
            "--event-time-start",
            arena.first.first_day.isoformat(),
            "--event-time-end",
            arena.last.next.first_day.isoformat(),
        ),
        file="peer",
        table="processed_data_by_batch",
        peer="dbt",
        folder=PEERS / "dbt",
    ),
    "sqlmesh": Candidate(
        "SQLMesh, incremental by time range, five audits",
        lambda arena: _peer(
            "sqlmesh",
            "--log-file-dir",
            str(arena.folder / "peers"),
            "plan",
            "--auto-apply",
            "--no-prompts",
        ),
        file="peer",
        table="refined.processed_data",
        peer="sqlmesh",
        folder=PEERS / "sqlmesh",
    ),
}
"""The candidates by name, in the order in which they are run: what is compared follows one another, so that a
machine whose speed drifts is the same for both."""
