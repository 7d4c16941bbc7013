"""What `refinery lake init` makes: the lake's tables with their partitioning, views and comments, and the inventory.

All of it in one transaction, and once: DDL in a month's transaction would have every writer collide with every other.
Here: making it, and taking an inventory in. Not here: opening the lake (`lake.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import duckdb

from refinery_assets.contract.columns import PROCESSED_DATA, QUARANTINED_ROWS, SERIES_MONTHS, TABLES
from refinery_assets.contract.contract_file import Contract
from refinery_assets.contract.places import Place
from refinery_assets.contract.settings import Settings
from refinery_assets.warehouse.fleet import name_fleet
from refinery_assets.warehouse.inventory_error import InventoryError
from refinery_assets.warehouse.lake import NAME, open_lake, quoted
from refinery_assets.warehouse.lake_faults import inventory_unreadable
from refinery_assets.warehouse.lake_files import lake_store
from refinery_assets.warehouse.lake_marker import mark, refuse_path_of_others
from refinery_assets.warehouse.lake_snapshots import make_macro
from refinery_assets.warehouse.storage import WarehouseUnusableError
from refinery_assets.warehouse.tables import make_table, table_names, transaction
from refinery_assets.warehouse.views import make_views

_PARTITIONED_BY = {
    PROCESSED_DATA.name: "year(ds), month(ds), resource",
    # A month is deleted by leaving its files out, without a list of deleted rows beside them.
    QUARANTINED_ROWS.name: "month",
    SERIES_MONTHS.name: "month",
}
_FILES = {".csv", ".parquet"}
_DATABASES = {".duckdb", ".db"}
_TAKE_IN = "Take one in with: refinery lake init --inventory FILE, a CSV, Parquet or DuckDB file."


class LakeError(Exception):
    """The lake cannot be made as asked; the message is one sentence for the operator."""


@dataclass(frozen=True)
class Made:
    """What making the lake came to.

    Attributes:
        tables: The tables that were not there before.
        hosts: Rows of the inventory.
        taken_in: How many rows were taken in; None where none were, or where they stood there already.
        replaced: How many rows of an inventory they replaced; None where there was none.
    """

    tables: tuple[str, ...]
    hosts: int
    taken_in: int | None = None
    replaced: int | None = None


def make_lake(settings: Settings, inventory: Path | None = None) -> Made:
    """Make the lake, or what it lacks.

    Args:
        settings: Which lake, and its contract.
        inventory: What the inventory's table is filled from: a CSV or Parquet file, or another DuckDB file that has it;
            None: it stays as it is.

    Raises:
        LakeError: The settings name no lake, or there is no inventory to be had.
        ForeignTableError: Something of others has the name of a table or a view.
        WarehouseUnusableError: Catalog or data cannot be written, or the data path is not the lake's own.
        WarehouseHeldError: Another process holds the catalog's file.
        StoreError: The data's object store cannot be reached or used.
    """
    if settings.lake is None:
        raise LakeError("There is no lake to make: REFINERY_WAREHOUSE is a file; set it to ducklake: and a catalog.")
    if inventory is not None and settings.contract.inventory_file is not None:
        raise LakeError(
            f"The contract's inventory is the file {settings.contract.inventory_file}, which every run reads; leave "
            "out --inventory."
        )
    if refuse_path_of_others(settings, settings.lake):
        # Before a catalog is made, which names its data path for good.
        if inventory is not None:
            _try_inventory(settings.contract, inventory)
        elif settings.contract.inventory_file is None:
            raise LakeError(f"There is no inventory for the new lake. {_TAKE_IN}")
    _prepare(settings.lake_data)
    with open_lake(settings.lake, read_only=False, wait_seconds=settings.lock_wait_seconds, make=True) as connection:
        mark(connection, settings.lake)
        # For whoever writes to the lake by other means, too.
        connection.execute(f"CALL {NAME}.set_option('data_inlining_row_limit', 0)")
        if inventory is not None:
            _name_other(connection, settings.contract, inventory)
        with transaction(connection):
            taken_in, replaced = (None, None) if inventory is None else _take_in(connection, settings.contract)
            made = [table.name for table in TABLES if make_table(connection, table)]
            for name in made:
                if columns := _PARTITIONED_BY.get(name):
                    connection.execute(f"ALTER TABLE {name} SET PARTITIONED BY ({columns})")
            try:
                name_fleet(connection, settings.contract)
                make_views(connection, settings.contract)
                make_macro(connection)
            except InventoryError as error:
                raise _no_inventory(error, settings.contract, inventory) from error
        ((hosts,),) = connection.execute("SELECT count(*) FROM host_inventory").fetchall()
    return Made(tuple(made), hosts, taken_in, replaced)


def _no_inventory(error: InventoryError, contract: Contract, file: Path | None) -> LakeError:
    if file is None:
        told = f"There is no inventory for the lake: {error.problem}. {_TAKE_IN}"
    else:
        # The table is by now what the file holds.
        problem = error.problem.removeprefix(f"the table {contract.inventory.source.strip()} ")
        told = f"The inventory {file} cannot be taken in: it {problem}." if problem != error.problem else str(error)
    return LakeError(f"{told} {error.there}".rstrip())


def _try_inventory(contract: Contract, file: Path) -> None:
    """Take the inventory in where nothing is kept.

    Raises:
        LakeError: It cannot be taken in.
    """
    with duckdb.connect() as scratch:
        _name_other(scratch, contract, file)
        if "." in contract.inventory.source:
            # In a schema, which is the lake's.
            return
        _take_in(scratch, contract)
        try:
            name_fleet(scratch, contract)
        except InventoryError as error:
            raise _no_inventory(error, contract, file) from error


def _prepare(data: Place) -> None:
    """Make the data's folder; an object store is asked for what is there, before a catalog names it."""
    if isinstance(data, Path):
        try:
            data.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise WarehouseUnusableError(
                f"The folder {data} (REFINERY_LAKE_DATA) cannot be made: {error.strerror}."
            ) from error
    else:
        lake_store(data).names(".", 1)


def _name_other(connection: duckdb.DuckDBPyConnection, contract: Contract, file: Path) -> None:
    """Have the rows to be taken in as the temporary table `_refinery_other_inventory`."""
    if not file.is_file():
        raise LakeError(f"The inventory {file} is not there.")
    if file.suffix.lower() in _FILES:
        # Polars takes a while to load, which a command that takes nothing in need not wait for.
        from refinery_assets.warehouse.inventory_file import read_inventory_file  # noqa: PLC0415

        own = contract.inventory.own_columns.values()
        try:
            frame = read_inventory_file(file, set(own), contract.inventory)
        except InventoryError as error:
            raise LakeError(
                f"{error.problem.replace(', which [inventory] source names', '')}. {error.there}"
            ) from error
        connection.register("_refinery_frame", frame)
        connection.execute("CREATE OR REPLACE TEMP TABLE _refinery_other_inventory AS FROM _refinery_frame")
        connection.unregister("_refinery_frame")
        return
    if file.suffix.lower() not in _DATABASES:
        raise LakeError(f"The inventory {file} cannot be taken in: expected a .csv, .parquet or .duckdb file.")
    try:
        connection.execute(f"ATTACH {quoted(str(file))} AS other (READ_ONLY)")
    except duckdb.Error as error:
        raise LakeError(inventory_unreadable(file, contract.inventory.source, error)) from error
    try:
        source = connection.table(f"other.{_table_of(contract)}")
        source.query("source", "CREATE OR REPLACE TEMP TABLE _refinery_other_inventory AS FROM source")
    except duckdb.CatalogException as error:
        raise LakeError(
            f"{file} has no table or view {contract.inventory.source}, which the contract names."
        ) from error
    finally:
        connection.execute("DETACH other")


def _take_in(connection: duckdb.DuckDBPyConnection, contract: Contract) -> tuple[int | None, int | None]:
    """Have the inventory's table hold the rows of `_refinery_other_inventory`.

    Returns:
        How many were taken in, None where they stood there already; and how many they replaced, None where there was
        no table.
    """
    name = _table_of(contract)
    other = connection.table("_refinery_other_inventory")
    taken_in, replaced = other.shape[0], None
    if contract.inventory.source.strip().lower() in {each.lower() for each in table_names(connection)}:
        there = connection.table(name)
        replaced = there.shape[0]
        if (
            (there.columns, there.types) == (other.columns, other.types)
            and not (there.except_(other).shape[0] or other.except_(there).shape[0])
            and replaced == taken_in
        ):
            return None, None
        # The views on it are made anew afterwards.
        connection.execute(f"DROP TABLE {name}")
    other.create(name)
    return taken_in, replaced


def _table_of(contract: Contract) -> str:
    """The inventory's table as SQL takes a name that comes from the contract."""
    return ".".join(f'"{part.replace(chr(34), chr(34) * 2)}"' for part in contract.inventory.source.strip().split("."))
