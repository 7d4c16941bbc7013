"""The refinery's own tables in the warehouse.

Here: making them by the contract's columns, and never touching a table of the same name that somebody else
made; transactions. Not here: what is written to them (`publish.py`, `audits.py`), and when a lake's are made
(`lake_tables.py`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import Any

import duckdb

from refinery_assets.contract.columns import Relation


class ForeignTableError(Exception):
    """A table of the refinery's name exists and is not the refinery's; nothing was touched."""


class LakeNotReadyError(ForeignTableError):
    """The lake lacks a table, or a column of one; the refinery makes them only when it is told to."""


class LostRaceError(Exception):
    """Another writer was first to commit what this transaction touches; nothing of it stands, it may be repeated."""


# What DuckLake says: of rows that another has changed, or when it was overtaken too often.
_LOST_RACE = re.compile(r"Failed to commit DuckLake transaction.*(conflict|retry count)", re.DOTALL)


def utc_now() -> datetime:
    """The moment in UTC, as the tables keep it."""
    return datetime.now(UTC).replace(tzinfo=None)


@contextmanager
def transaction(connection: duckdb.DuckDBPyConnection) -> Iterator[None]:
    """All or nothing: commit at the end, roll back when anything is raised.

    Raises:
        LostRaceError: In a lake, another writer was first.
    """
    connection.execute("BEGIN")
    try:
        yield
    except BaseException:
        # What went wrong first is told: where a lake's catalog is gone, rolling back fails as well.
        with suppress(duckdb.Error):
            connection.execute("ROLLBACK")
        raise
    try:
        connection.execute("COMMIT")
    except duckdb.TransactionException as error:
        if _LOST_RACE.search(str(error)):
            raise LostRaceError(
                "Another writer has changed the lake at the same time, and nothing of this was written: run it again."
            ) from error
        raise


def is_lake(connection: duckdb.DuckDBPyConnection) -> bool:
    """Whether the database in use is a lake, and not a file."""
    rows = connection.execute("SELECT type FROM duckdb_databases() WHERE database_name = current_database()").fetchall()
    return rows == [("ducklake",)]


def rows_of(cursor: duckdb.DuckDBPyConnection) -> list[dict[str, Any]]:
    """The rows that a query gave, each by the names of its columns."""
    names = [column[0] for column in cursor.description or ()]
    return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


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
    """Have the table: it is made unless it is there; in a lake, where that would collide with other writers, demanded.

    Raises:
        ForeignTableError: It is there with other columns.
        LakeNotReadyError: A lake lacks it, or one of its columns.
    """
    if is_lake(connection):
        found = column_types(connection, table.name)
        missing = [column.name for column in table.columns if column.name not in found]
        if missing:
            lacking = f"the table {table.name}" if not found else f"{table.name}.{missing[0]}"
            raise LakeNotReadyError(f"The lake lacks {lacking}; make it with: refinery lake init")
    else:
        make_table(connection, table)


def make_table(connection: duckdb.DuckDBPyConnection, table: Relation) -> bool:
    """Make the table unless it is there; columns that an older version did not have yet are added.

    Returns:
        Whether it was made.

    Raises:
        ForeignTableError: It is there with other columns.
    """
    is_new = table.name not in table_names(connection)
    declared = [(column.name, column.type_name) for column in table.columns]
    if is_new:
        # Names and types are constants of the contract; a table cannot be named by a parameter.
        columns = ", ".join(f"{column.name} {column.sql_type}" for column in table.columns)
        connection.execute(f"CREATE TABLE {table.name} ({columns})")
    found = list(column_types(connection, table.name).items())
    if found and found == declared[: len(found)]:
        for name, kind in declared[len(found) :]:
            connection.execute(f"ALTER TABLE {table.name} ADD COLUMN {name} {kind}")
        return is_new
    raise ForeignTableError(
        f"The warehouse has a table {table.name} that the refinery did not make: its columns are "
        f"{', '.join(f'{name} {kind}' for name, kind in found)}. Rename it, or set REFINERY_WAREHOUSE to "
        "another file, and run again."
    )
