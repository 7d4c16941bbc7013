"""The published table as Parquet files, a folder per month, for those without DuckDB.

Here: writing months of it, each whole or not at all. Not here: the command line (`cli`).

    <folder>/month=2024-05/processed_data.parquet

is the layout (Hive's) that DuckDB, Polars, pandas and Spark read without options; they all add the column
`month` from the folder's name.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator, Sequence
from pathlib import Path

import duckdb

from refinery_assets.contract.columns import PROCESSED_DATA
from refinery_assets.contract.months import Month
from refinery_assets.feed.atomic_write import atomic_path
from refinery_assets.warehouse.tables import ensure_table, is_lake, table_names

_FILE = "processed_data.parquet"


def published_months(connection: duckdb.DuckDBPyConnection) -> list[Month]:
    """The months in the table, in order; none before anything was published.

    Raises:
        LakeNotReadyError: A lake lacks the table.
    """
    if is_lake(connection):
        ensure_table(connection, PROCESSED_DATA)
    elif PROCESSED_DATA.name not in table_names(connection):
        return []
    starts = connection.execute("SELECT DISTINCT date_trunc('month', ds)::DATE FROM processed_data ORDER BY 1")
    return [Month.of(start) for (start,) in starts.fetchall()]


def exported_file(folder: Path, month: Month) -> Path:
    """Where the rows of a month are written."""
    return folder / f"month={month}" / _FILE


def other_months(folder: Path, months: Sequence[Month]) -> list[Month]:
    """The months that the folder holds besides these, in order."""
    found = {Month.parse(path.parent.name.removeprefix("month=")) for path in folder.glob(f"month=????-??/{_FILE}")}
    return sorted(found - set(months))


def export_months(
    connection: duckdb.DuckDBPyConnection, months: Sequence[Month], folder: Path
) -> Iterator[tuple[Month, int]]:
    """Write months one by one; gives each with its rows once it stands in its place.

    Each file is written atomically: a reader meets the old one or the new one.

    Raises:
        OSError: The folder or a file cannot be written; the month's old file stays.
        duckdb.Error: The table cannot be read; likewise.
    """
    for month in months:
        file = exported_file(folder, month)
        # Beside the folder, because Polars takes all that it finds in it.
        with atomic_path(file, beside=folder.resolve()) as temporary:
            try:
                ((rows,),) = connection.execute(
                    """
                    COPY (SELECT * FROM processed_data WHERE ds >= $first AND ds < $end
                        ORDER BY resource, host_id, ds)
                    TO $path (FORMAT parquet, COMPRESSION zstd)
                    """,
                    {"first": month.first_day, "end": month.next.first_day, "path": str(temporary)},
                ).fetchall()
            except duckdb.IOException as error:
                _, is_of_file, rest = str(error).partition(str(temporary))
                if not is_of_file:
                    raise
                # Whoever has the warehouse open takes an error of DuckDB's for one of the warehouse. DuckDB 2 has the
                # message quoted in another one.
                cause = rest.lstrip('\\": ').partition('"')[0]
                raise OSError(errno.EIO, cause, str(temporary)) from error
        yield month, rows
