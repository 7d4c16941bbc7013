"""Files of a lake that are missing or damaged, and the months that cannot be read without them.

DuckLake reads a file even to delete its rows, so that a month cannot be published anew over one that is gone, while a
table can be dropped without it. Here: finding such files, and what to do. Not here: opening the lake (`lake.py`).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

import duckdb

from refinery_assets.checks.rules import counted, listing
from refinery_assets.contract.columns import TABLES
from refinery_assets.contract.lake import MARKER, Lake, without_passwords
from refinery_assets.contract.months import Month
from refinery_assets.feed.store import StoreError, open_store

# As DuckLake and the families' steps name the folders of partitioned tables.
_OF_DAYS = re.compile(r"/year=(?P<year>\d+)/month=(?P<month>\d+)/")
_OF_MONTHS = re.compile(r"/month=(?P<month>\d{4}-\d\d)/")


@dataclass(frozen=True)
class DamagedFile:
    """A file of the lake that is gone, has another size than the catalog says, or that DuckDB could not read.

    Attributes:
        table: The table that it is of.
        path: Where it is, or was.
        month: The month that it holds rows of; None where it may hold any.
    """

    table: str
    path: str
    month: Month | None


def damaged_files(
    connection: duckdb.DuckDBPyConnection, lake: Lake, name: str, error: duckdb.Error
) -> list[DamagedFile]:
    """The files in use that are damaged, as far as that can be seen after an error.

    Args:
        connection: The lake, in no transaction.
        lake: Which one that is.
        name: What it is attached as.
        error: What DuckDB said; a file that it names could not be read.
    """
    store, text = open_store(lake.data, "REFINERY_LAKE_DATA"), str(error)
    # Without the catalog, or the object store, nothing can be found; what was said before is told then.
    with suppress(duckdb.Error, StoreError):
        tables = connection.execute(
            "SELECT table_name FROM duckdb_tables() WHERE database_name = $lake", {"lake": name}
        )
        files = [
            (table, path, size)
            for (table,) in tables.fetchall()
            for path, size in connection.execute(
                "SELECT data_file, data_file_size_bytes FROM ducklake_list_files($lake, $table)",
                {"lake": name, "table": table},
            ).fetchall()
        ]

        def is_damaged(file: tuple[str, str, int]) -> bool:
            _, path, size = file
            if not path.startswith(f"{store}/"):
                return False
            found = store.look(path.removeprefix(f"{store}/"))
            return found is None or found.size != size or path in text

        damaged = zip(files, store.ask_all(is_damaged, files), strict=True)
        return [DamagedFile(table, path, _month(path)) for (table, path, _), is_bad in damaged if is_bad]
    return []


def what_to_do(lake: Lake, damaged: Sequence[DamagedFile]) -> str:
    """What cannot be read, and how to put it right."""
    tables = sorted({file.table for file in damaged})
    months = sorted({file.month for file in damaged if file.month})
    known = all(file.month for file in damaged)
    what = listing(months) if known else f"The table {listing(tables)}"
    others = len(damaged) - 1
    files = f"{damaged[0].path} is" if not others else f"{damaged[0].path} and {counted(others, 'other file')} are"
    if not open_store(lake.data, "REFINERY_LAKE_DATA").is_there(MARKER):
        return without_passwords(
            f"{what} cannot be read in the lake {lake}: {files} not there, and neither is {lake.data}/{MARKER}. See "
            "that the share is mounted on this machine and that REFINERY_LAKE_DATA is right, then run again."
        )
    drop = "; ".join(f"DROP TABLE {table}" for table in tables)
    # Any other table is the inventory's, which no run makes.
    init = "refinery lake init" + (" --inventory FILE" if set(tables) - {table.name for table in TABLES} else "")
    return without_passwords(
        f"{what} cannot be read in the lake {lake}: {files} missing or damaged. Put back what is missing from a backup "
        f"of REFINERY_LAKE_DATA; without one, {drop} in the lake, then {init} and refinery run all, which "
        "publish from the feed (docs/many-machines.md, A missing file)."
    )


def _month(path: str) -> Month | None:
    if found := _OF_DAYS.search(path):
        return Month(int(found["year"]), int(found["month"]))
    if found := _OF_MONTHS.search(path):
        return Month.parse(found["month"])
    return None
