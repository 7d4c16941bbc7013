"""The refinery's own tables in the warehouse.

Here: making them by the contract's columns, and never touching a table of the same name that somebody else
made. Not here: what is written to them (`publish.py`, `audits.py`).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import duckdb

from refinery_assets.contract.columns import Relation


class ForeignTableError(Exception):
    """A table of the refinery's name exists and is not the refinery's; nothing was touched."""


def utc_now() -> datetime:
    """The moment in UTC, as the tables keep it."""
    return datetime.now(UTC).replace(tzinfo=None)


@contextmanager
def transaction(connection: duckdb.DuckDBPyConnection) -> Iterator[None]:
    """All or nothing: commit at the end, roll back when anything is raised."""
    connection.execute("BEGIN")
    try:
        yield
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


def table_names(connection: duckdb.DuckDBPyConnection) -> set[str]:
    """The warehouse's tables, temporary ones not included."""
    rows = connection.execute(
        "SELECT table_name FROM duckdb_tables() WHERE database_name = current_database() "
        "AND schema_name = current_schema()"
    ).fetchall()
    return {name for (name,) in rows}


def column_types(connection: duckdb.DuckDBPyConnection, table: str) -> dict[str, str]:
    """The table's columns in order, with their types; empty when there is no such table."""
    # Not from `duckdb_columns()`, which works out the columns of every view in the file first.
    try:
        rows = connection.execute("SELECT name, type FROM pragma_table_info($table) ORDER BY cid", {"table": table})
        return dict(rows.fetchall())
    except duckdb.CatalogException:
        return {}


def ensure_table(connection: duckdb.DuckDBPyConnection, table: Relation) -> None:
    """Make the table unless it is there; columns that an older version did not have yet are added.

    Raises:
        ForeignTableError: It is there with other columns.
    """
    declared = [(column.name, column.type_name) for column in table.columns]
    if table.name not in table_names(connection):
        # Names and types are constants of the contract; a table cannot be named by a parameter.
        columns = ", ".join(f"{column.name} {column.sql_type}" for column in table.columns)
        connection.execute(f"CREATE TABLE {table.name} ({columns})")
    found = list(column_types(connection, table.name).items())
    if found and found == declared[: len(found)]:
        for name, kind in declared[len(found) :]:
            connection.execute(f"ALTER TABLE {table.name} ADD COLUMN {name} {kind}")
        return
    raise ForeignTableError(
        f"The warehouse has a table {table.name} that the refinery did not make: its columns are "
        f"{', '.join(f'{name} {kind}' for name, kind in found)}. Rename it, or set REFINERY_WAREHOUSE to "
        "another file, and run again."
    )
