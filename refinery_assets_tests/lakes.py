"""Lakes for tests: whether DuckLake can be had, lakes beside a sandbox's file and in PostgreSQL, and what they hold.

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

from refinery_assets.contract.columns import TABLES
from refinery_assets.contract.lake import Catalog, Lake
from refinery_assets.contract.months import Month
from refinery_assets.contract.settings import Settings
from refinery_assets.rows.family import refine_file
from refinery_assets.warehouse.family_partitions import Partition
from refinery_assets.warehouse.lake import open_lake
from refinery_assets.warehouse.lake_files import write_lake_file
from refinery_assets.warehouse.lake_tables import make_lake
from refinery_assets.warehouse.month_state import MonthResult
from refinery_assets.warehouse.storage import WarehouseUnusableError, open_warehouse
from refinery_assets_tests.postgresql import ADMIN, create_database
from refinery_assets_tests.scenario import Rows, Sandbox

# Of a run, and not of what it found.
_OF_THE_RUN = {"run_id", "audited_at", "published_at"}


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


def content_of(sandbox: Sandbox) -> dict[str, Rows]:
    """All rows of a warehouse that the refinery wrote, by table, but for what differs from run to run."""
    found = {}
    with open_warehouse(sandbox.settings.place, read_only=True, wait_seconds=0.0) as connection:
        for table in TABLES:
            names = [column.name for column in table.columns]
            columns = ", ".join(name for name in names if name not in _OF_THE_RUN)
            if "published_at" in names:
                columns += ", published_at IS NULL"
            # Means of the same numbers in another order differ in their last digits.
            columns = columns.replace("counts", "regexp_replace(counts::VARCHAR, '(\\d\\.\\d{9})\\d+', '\\1', 'g')")
            found[table.name] = connection.execute(f"SELECT {columns} FROM {table.name} ORDER BY ALL").fetchall()
        found["series"] = connection.execute("SELECT * FROM series ORDER BY unique_id").fetchall()
    return found


def publish_in_lake(sandbox: Sandbox, *months: Month) -> dict[Month, MonthResult]:
    """Refine the files of the months, and publish them without a copy; without Dagster, which costs most of a run."""
    settings = sandbox.settings
    for month in months:
        for family in settings.contract.families:
            refined = refine_file(sandbox.file(family, month), settings)
            Partition(settings.telemetry, family, month).write(
                refined, write_lake_file(settings.lake_data, refined, "by-hand")
            )
    return sandbox.publish_again(*months)


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
