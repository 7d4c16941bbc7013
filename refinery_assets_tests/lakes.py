"""Lakes for tests: whether DuckLake can be had, a lake beside a sandbox's file, and a PostgreSQL server.

Here: making and ending them. Not here: anything that asserts.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import count
from pathlib import Path

import duckdb
import pytest

from refinery_assets.contract.lake import Catalog, Lake
from refinery_assets.contract.settings import Settings
from refinery_assets.warehouse.lake import open_lake
from refinery_assets.warehouse.lake_tables import make_lake
from refinery_assets.warehouse.storage import WarehouseUnusableError

_SERVERS = "/usr/lib/postgresql"
_NOT_AS_ROOT = "postgres"


@cache
def why_no_lake() -> str | None:
    """Why no lake can be made here; None where one can."""
    with tempfile.TemporaryDirectory() as folder:
        lake = Lake(Catalog.DUCKDB, f"{folder}/catalog.ducklake", Path(folder) / "data")
        try:
            with open_lake(lake, read_only=False, wait_seconds=0.0, make=True):
                return None
        except (WarehouseUnusableError, duckdb.Error):
            return f"DuckDB {duckdb.__version__} has no DuckLake here; make test-heavy runs this in .venv-lake"


def make_lake_in(settings: Settings, lake: Lake | None = None) -> Settings:
    """The settings with a lake in place of their file, whose inventory it has taken in."""
    folder = settings.warehouse.parent
    there = replace(
        settings,
        lake=lake or Lake(Catalog.DUCKDB, str(folder / "catalog.ducklake")),
        lake_data=folder / "lake",
        telemetry=folder / "lake_telemetry",
        reports=folder / "lake_reports",
    )
    make_lake(there, settings.warehouse)
    return there


@dataclass(frozen=True)
class Postgres:
    """A server that is running."""

    folder: Path
    tools: Path
    numbers: Iterator[int] = field(default_factory=count)

    def new_lake(self) -> Lake:
        """A lake whose catalog is a database of its own."""
        name = f"lake{next(self.numbers)}"
        self._run("createdb", "-h", str(self.folder), "-U", _NOT_AS_ROOT, name)
        return Lake(Catalog.POSTGRES, f"dbname={name} host={self.folder} user={_NOT_AS_ROOT}")

    def _run(self, tool: str, *options: str) -> None:
        _run([str(self.tools / tool), *options])


@contextmanager
def run_postgres() -> Iterator[Postgres]:
    """Start a server for the tests and end it; skip them where there is none to start."""
    tools = _tools()
    if tools is None:
        pytest.skip("PostgreSQL is not installed here: no initdb on the path or below /usr/lib/postgresql")
    # A path of a socket may have a hundred characters.
    folder = Path(tempfile.mkdtemp(prefix="refinery-pg-", dir="/tmp"))
    data = folder / "data"
    as_other: list[str] = []
    try:
        if os.geteuid() == 0:
            if shutil.which("runuser") is None:
                pytest.skip("PostgreSQL does not run as root, and there is no runuser")
            as_other = ["runuser", "-u", _NOT_AS_ROOT, "--"]
            shutil.chown(folder, _NOT_AS_ROOT)
        folder.chmod(0o755)
        _run([*as_other, str(tools / "initdb"), "-D", str(data), "-U", _NOT_AS_ROOT, "--auth=trust", "--no-sync"])
        options = f"-c listen_addresses='' -c fsync=off -k {folder}"
        control = [*as_other, str(tools / "pg_ctl"), "-D", str(data), "-w", "-l", str(folder / "log")]
        _run([*control, "-o", options, "start"])
        try:
            yield Postgres(folder, tools)
        finally:
            _run([*control, "-m", "immediate", "stop"])
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _tools() -> Path | None:
    if found := shutil.which("initdb"):
        return Path(found).resolve().parent
    return next((each.parent for each in sorted(Path(_SERVERS).glob("*/bin/initdb"), reverse=True)), None)


def _run(command: Sequence[str]) -> None:
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd="/")
