"""A private DuckDB file with what a plan needs of a lake.

Here: which rows are copied. Not here: what is done with the copy (`plan.py`).
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import duckdb

from refinery_assets.contract.columns import PROCESSED_DATA, QUARANTINED_ROWS, TABLES
from refinery_assets.contract.contract_file import Contract
from refinery_assets.contract.lake import Lake
from refinery_assets.contract.months import Month
from refinery_assets.contract.settings import Settings
from refinery_assets.warehouse.lake import NAME, open_lake, quoted
from refinery_assets.warehouse.storage import open_or_make_warehouse
from refinery_assets.warehouse.tables import make_table, table_names, transaction

_COPY = "copy"


def copy_lake(lake: Lake, settings: Settings, target: Path, months: Iterable[Month]) -> None:
    """Write a file that publishes `months` as the lake would.

    All is copied but the rows of other months in the two big tables. A rule of the contract's own may ask for any
    month, so where there are such rules, all of `processed_data` is copied.

    Raises:
        WarehouseMissingError: There is no lake.
        WarehouseUnusableError: It cannot be read.
        duckdb.Error: `target` cannot be written.
    """
    with open_or_make_warehouse(target) as file:
        for table in TABLES:
            make_table(file, table)
    asked = sorted(months)
    with open_lake(lake, read_only=True, wait_seconds=settings.lock_wait_seconds) as connection:
        there = table_names(connection)
        connection.execute(f"ATTACH {quoted(str(target))} AS {_COPY}")
        # One state of the lake for all of its tables.
        with transaction(connection):
            for table in TABLES:
                if table.name not in there:
                    continue
                columns = ", ".join(column.name for column in table.columns)
                insert = f"INSERT INTO {_COPY}.{table.name} ({columns}) SELECT {columns} FROM {NAME}.{table.name}"  # noqa: S608
                if table.name == PROCESSED_DATA.name and not settings.contract.rule:
                    for span in Month.unbroken(asked):
                        connection.execute(
                            f"{insert} WHERE ds >= $first AND ds < $end",
                            {"first": span[0].first_day, "end": span[-1].next.first_day},
                        )
                elif table.name == QUARANTINED_ROWS.name:
                    keys = {"months": [str(month) for month in asked]}
                    connection.execute(f"{insert} WHERE month IN (SELECT unnest($months::VARCHAR[]))", keys)
                else:
                    # In the order in which they were committed, by which the newest receipt is known.
                    connection.execute(f"{insert} ORDER BY rowid")
            _copy_inventory(connection, settings.contract)


def _copy_inventory(connection: duckdb.DuckDBPyConnection, contract: Contract) -> None:
    """The inventory under the name that the contract has for it, where it is no file that a plan reads itself."""
    if contract.inventory.is_file:
        return
    schema, _, name = contract.inventory.source.strip().rpartition(".")
    relation = ".".join(_quoted(part) for part in (schema or "main", name))
    with suppress(duckdb.CatalogException):
        # Where there is none, the plan says so, as a run would.
        rows = connection.table(f"{NAME}.{relation}")
        connection.execute(f"CREATE SCHEMA IF NOT EXISTS {_COPY}.{_quoted(schema or 'main')}")
        rows.query("inventory", f"CREATE TABLE {_COPY}.{relation} AS FROM inventory")


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
