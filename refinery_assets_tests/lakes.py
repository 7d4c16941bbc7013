"""Lakes for tests: whether DuckLake can be had, a lake beside a sandbox's file, and lakes with catalogs in PostgreSQL.

Here: making them. Not here: the PostgreSQL server (`postgresql.py`), and anything that asserts.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import count
from pathlib import Path

import duckdb

from refinery_assets.contract.lake import Catalog, Lake
from refinery_assets.contract.settings import Settings
from refinery_assets.warehouse.lake import open_lake
from refinery_assets.warehouse.lake_tables import make_lake
from refinery_assets.warehouse.storage import WarehouseUnusableError
from refinery_assets_tests.postgresql import ADMIN, create_database


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
    """A server that is running; `socket` is the folder of its socket."""

    socket: Path
    numbers: Iterator[int] = field(default_factory=count)

    def new_lake(self) -> Lake:
        """A lake whose catalog is a database of its own."""
        name = f"lake{next(self.numbers)}"
        create_database(self.socket, name)
        return Lake(Catalog.POSTGRES, f"dbname={name} host={self.socket} user={ADMIN}")
