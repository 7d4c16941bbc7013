"""The inventory wherever the contract says that it is, under the names by which all queries know it.

    node_name, the attributes, scenario, variant, valid_from, valid_to

Here: finding table, view or file, and its columns; and `host_inventory`, which the views of the warehouse read. No name
of the contract enters SQL as text: DuckDB's relations take names as they are. Not here: whether the inventory is fit to
hold readings against (`inventory.py`), and the table that queries join (`fleet.py`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import duckdb
from duckdb import ColumnExpression, ConstantExpression, Expression

from refinery_assets.checks.rules import listing
from refinery_assets.contract.columns import inventory_columns
from refinery_assets.contract.contract_file import Contract, Inventory
from refinery_assets.contract.own_names import INVENTORY_COLUMNS, OWN_TABLES
from refinery_assets.warehouse.inventory_error import InventoryError
from refinery_assets.warehouse.tables import LakeNotReadyError, column_types, table_names

_TEXT = "VARCHAR"
_PERIOD = ("valid_from", "valid_to")
_TYPES_OF_DAYS = {"DATE", "TIMESTAMP", "TIMESTAMP_S", "TIMESTAMP_MS", "TIMESTAMP_NS", _TEXT, '"NULL"'}
_QUOTE = '"'

# What is no day is null in `host_inventory`; a check counts it in `_refinery_fleet`. DuckDB would take 24-05-01 and
# 1-5-24 for days of the years 24 and 1.
AS_DAY = r"TRY_CAST(CASE WHEN regexp_matches({name}, '^\s*(\d{{4,}}\D|-?infinity)') THEN trim({name}) END AS DATE)"
_WITH_DAYS = f"* REPLACE ({', '.join(f'{AS_DAY.format(name=name)} AS {name}' for name in _PERIOD)})"


def source_rows(connection: duckdb.DuckDBPyConnection, contract: Contract) -> duckdb.DuckDBPyRelation:
    """The inventory as it is now, `valid_from` and `valid_to` as text.

    Raises:
        InventoryError: It is not there, cannot be read, or lacks a column that the contract names.
    """
    inventory = contract.inventory
    if (file := contract.inventory_file) is not None:
        # Polars takes a while to load, which a command that looks at a table need not wait for.
        from refinery_assets.warehouse.inventory_file import read_inventory_file  # noqa: PLC0415

        what = f"the file {file}"
        connection.register(
            "_refinery_inventory", read_inventory_file(file, set(inventory.own_columns.values()), inventory)
        )
        rows = connection.table("_refinery_inventory")
    else:
        what, place = _place(connection, inventory)
        with readable():
            rows = connection.table(place)
    found: dict[str, str] = {}
    for name in rows.columns:
        found.setdefault(name.strip().lower(), name)
    _demand_columns(inventory, found, what)
    types = {name: str(kind) for name, kind in zip(rows.columns, rows.types, strict=True)}
    _demand_days(inventory, found, types, what)
    return rows.select(*_columns(contract, found, types))


def name_source(connection: duckdb.DuckDBPyConnection, contract: Contract) -> None:
    """Have the inventory's rows under the name `_refinery_inventory`, for this connection; a file is read here, once.

    Raises:
        InventoryError: As `source_rows`.
    """
    rows = source_rows(connection, contract)
    if contract.inventory_file is not None:
        try:
            rows.query("rows", "CREATE OR REPLACE TEMP TABLE _refinery_inventory_rows AS FROM rows")
        finally:
            connection.unregister("_refinery_inventory")
        rows = connection.table("_refinery_inventory_rows")
    connection.register("_refinery_inventory", rows)


def name_inventory(connection: duckdb.DuckDBPyConnection) -> None:
    """Have `host_inventory`, as the inventory is now, for this connection alone. Needs `name_source` before."""
    connection.execute(
        f"CREATE OR REPLACE TEMP VIEW host_inventory AS SELECT {_WITH_DAYS} FROM _refinery_inventory"  # noqa: S608 - a constant
    )


def keep_inventory(connection: duckdb.DuckDBPyConnection, contract: Contract) -> None:
    """Make `host_inventory`, in the transaction at hand: a view, or of a file a table. Needs `name_source` before."""
    is_file = contract.inventory_file is not None
    rows = connection.table("_refinery_inventory_rows") if is_file else source_rows(connection, contract)
    rows = rows.project(_WITH_DAYS)
    # What `name_inventory` made would hide it from the views.
    connection.execute("DROP VIEW IF EXISTS temp.host_inventory")
    was_file = "host_inventory" in table_names(connection)
    if was_file or is_file:
        connection.execute(f"DROP {'TABLE' if was_file else 'VIEW'} IF EXISTS host_inventory")
    if is_file:
        rows.create("host_inventory")
    else:
        rows.create_view("host_inventory", replace=True)


def renew_inventory(connection: duckdb.DuckDBPyConnection, contract: Contract) -> None:
    """Have a lake's table `host_inventory` hold what the inventory's file holds now. Needs `name_source` before.

    Raises:
        LakeNotReadyError: The file has other columns by now.
    """
    connection.execute("DROP VIEW IF EXISTS temp.host_inventory")
    if contract.inventory_file is None:
        return
    rows = connection.table("_refinery_inventory_rows").project(_WITH_DAYS)
    if dict(zip(rows.columns, map(str, rows.types), strict=True)) != column_types(connection, "host_inventory"):
        raise LakeNotReadyError(
            "The inventory's file has other columns, or columns of other types, than the lake: run refinery lake init."
        )
    connection.register("_refinery_inventory_now", rows)
    try:
        # Seldom another: writing it each time would have every writer collide with every other.
        ((differing,),) = connection.execute(
            """
            SELECT count(*) FROM (
                (FROM host_inventory EXCEPT ALL FROM _refinery_inventory_now)
                UNION ALL (FROM _refinery_inventory_now EXCEPT ALL FROM host_inventory)
            )
            """
        ).fetchall()
        if differing:
            connection.execute("DELETE FROM host_inventory")
            connection.execute("INSERT INTO host_inventory FROM _refinery_inventory_now")
    finally:
        connection.unregister("_refinery_inventory_now")


@contextmanager
def readable() -> Iterator[None]:
    """Tell as such what is wrong with a view of others, such as a table that it lacks.

    Raises:
        InventoryError: Something is.
    """
    try:
        yield
    except (duckdb.ProgrammingError, duckdb.DataError) as error:
        raise InventoryError("the inventory cannot be read", f"DuckDB says: {str(error).splitlines()[0]}") from error


def _place(connection: duckdb.DuckDBPyConnection, inventory: Inventory) -> tuple[str, str]:
    """What to call the table or view, and its name as a relation takes it."""
    source = inventory.source.strip()
    there = connection.execute(
        """
        SELECT schema_name, table_name, 'table' FROM duckdb_tables()
        WHERE database_name = current_database() AND NOT internal
        UNION ALL
        SELECT schema_name, view_name, 'view' FROM duckdb_views()
        WHERE database_name = current_database() AND NOT internal
        ORDER BY ALL
        """
    ).fetchall()
    for schema, name, kind in there:
        # Names in DuckDB are told apart without regard to case.
        if source.lower() in {f"{schema}.{name}".lower(), name.lower() if schema == "main" else None}:
            return f"the {kind} {source}", f"{_quoted(schema)}.{_quoted(name)}"
    theirs = [
        name if schema == "main" else f"{schema}.{name}"
        for schema, name, _ in there
        if name not in OWN_TABLES or schema != "main"
    ]
    if inventory.is_packaged:
        raise InventoryError(f"the warehouse has no table {source}", f"It has {listing(theirs)}." if theirs else "")
    raise InventoryError(
        f"the warehouse has no table or view {source}, which [inventory] source names; a file ends in .csv or .parquet",
        f"It has {listing(theirs) or 'none of yours'}.",
    )


def _quoted(name: str) -> str:
    """How a relation takes a name that may hold a dot or a quotation mark."""
    return f'"{name.replace(_QUOTE, _QUOTE * 2)}"'


def _demand_columns(inventory: Inventory, found: Mapping[str, str], what: str) -> None:
    named = {"host": [inventory.host], "behavior": inventory.behavior}
    if not inventory.is_packaged:
        named |= {name: [column] for name in _PERIOD if (column := inventory.own_columns.get(name))}
        named["attributes"] = inventory.attributes
    missing = {key: [column for column in columns if column not in found] for key, columns in named.items()}
    told = [
        f"{', '.join(columns)}" + ("" if inventory.is_packaged else f", which [inventory] {key} names")
        for key, columns in missing.items()
        if columns
    ]
    if told:
        raise InventoryError(f"{what} lacks {', and '.join(told)}", f"Its columns are {listing(found, 20)}.")


def _demand_days(inventory: Inventory, found: Mapping[str, str], types: Mapping[str, str], what: str) -> None:
    for key in _PERIOD:
        column = found.get(inventory.own_columns.get(key, ""))
        if column is not None and types[column] not in _TYPES_OF_DAYS:
            raise InventoryError(f"{what} has no days in {column}, which [inventory] {key} names, but {types[column]}")


def _columns(contract: Contract, found: Mapping[str, str], types: Mapping[str, str]) -> list[Expression]:
    own = contract.inventory.own_columns
    columns = []
    for column in inventory_columns(contract):
        name = column.name
        source = found.get(own.get(name, "") if name in INVENTORY_COLUMNS else name)
        # A type is fixed, also where it is the source's, so that loading the source again breaks no view.
        kind = _TEXT if name in _PERIOD else column.type_name or types[source or ""]
        value = ColumnExpression(source) if source else ConstantExpression(None)
        columns.append(value.cast(kind).alias(name))
    return columns
