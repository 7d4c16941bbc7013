"""Writing months into the published tables: the SQL of it, in the transaction at hand.

Here: which rows of the partitions go where. Not here: whether they may (`gate.py`, `publish_checks.py`), and the
transaction (`publish.py`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import duckdb

from refinery_assets.contract.columns import SERIES_MONTHS
from refinery_assets.contract.families import UTILIZATION_CEILING_PERCENT
from refinery_assets.contract.months import Month
from refinery_assets.warehouse.family_partitions import PARTITION_ROWS, Partition, SourceFacts, globs, placed


def name_months(connection: duckdb.DuckDBPyConnection, months: Sequence[Month]) -> None:
    """Write the months at hand to the temporary table `_refinery_months`."""
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE _refinery_months AS SELECT unnest($months::VARCHAR[]) AS month, "
        "unnest($starts::TIMESTAMP[]) AS month_start, unnest($ends::TIMESTAMP[]) AS month_end",
        {
            "months": [str(month) for month in months],
            "starts": [month.first_day for month in months],
            "ends": [month.next.first_day for month in months],
        },
    )


def name_respelled_hosts(connection: duckdb.DuckDBPyConnection, paths: Sequence[str]) -> bool:
    """Write the hosts that the files spell otherwise than the inventory to `_refinery_respelled_hosts`.

    Needs `_refinery_fleet`.

    Returns:
        Whether there are any.
    """
    # Few names differ from the inventory's spelling, mostly none; only those are looked up row by row.
    ((respelled,),) = connection.execute(
        """
        CREATE OR REPLACE TEMP TABLE _refinery_respelled_hosts AS
        SELECT DISTINCT p.host_id, h.node_name
        FROM (SELECT DISTINCT host_id FROM read_parquet($paths)) p
            JOIN _refinery_fleet h ON lower(h.node_name) = lower(p.host_id)
        WHERE h.node_name <> p.host_id
        """,
        {"paths": paths},
    ).fetchall()
    return bool(respelled)


def name_new_series(connection: duckdb.DuckDBPyConnection, files: Sequence[Partition]) -> None:
    """Write the months' rows of `series_months` to be to the temporary table `_refinery_new_series`.

    Needs `_refinery_partitions` and `_refinery_respelled_hosts`.
    """
    columns = ", ".join(
        column.name for column in SERIES_MONTHS.columns if column.name not in {"month", "resource", "host_id"}
    )
    connection.execute(
        f"""
        CREATE OR REPLACE TEMP TABLE _refinery_new_series AS
        SELECT f.month, f.resource, coalesce(r.node_name, s.host_id) AS host_id, {columns}
        FROM read_parquet($series, filename = true) s
            JOIN _refinery_partitions f ON f.series_path = s.filename
            LEFT JOIN _refinery_respelled_hosts r ON r.host_id = s.host_id
        """,  # noqa: S608 - names of the dictionary
        {"series": globs(file.series_path for file in files)},
    )


def publishable_rows(sources: Iterable[SourceFacts], *, respelled: bool) -> str:
    """The SELECT of `month` and the columns of `processed_data`; takes the parameter `paths`."""
    # A row that the table cannot hold is not written; the audit counts it from the partition and fails. Where
    # the partitions hold none, no row is asked.
    fit = "p.fault IS NULL"
    if any(source.bad_ds or source.bad_host or source.bad_y for source in sources):
        fit += " AND p.ds >= f.month_start AND p.ds < f.month_end AND p.host_id IS NOT NULL AND p.y IS NOT NULL"
    # A join that finds nothing still costs a tenth of the insert.
    host, spelling = "p.host_id", ""
    if respelled:
        host = "coalesce(r.node_name, p.host_id)"
        spelling = "LEFT JOIN _refinery_respelled_hosts r ON r.host_id = p.host_id"
    return f"""
        SELECT f.month, p.ds, {host} AS host_id, f.resource, p.y,
            {UTILIZATION_CEILING_PERCENT}::DOUBLE AS cap, p.capacity, p.is_imputed
        FROM {PARTITION_ROWS} {spelling} WHERE {fit}
    """  # noqa: S608 - constants of the package


def replace_rows(
    connection: duckdb.DuckDBPyConnection,
    months: Sequence[Month],
    rows: str,
    paths: Sequence[str],
    ready: Mapping[str, str],
) -> None:
    """Replace the months' rows in all tables by those of `rows`, of the partitions, and of `_refinery_new_series`.

    Args:
        connection: The warehouse.
        months: The months.
        rows: A SELECT as `publishable_rows` gives it.
        paths: The partitions.
        ready: A lake's files that hold the rows of some of them already; these are registered.
    """
    for span in Month.unbroken(sorted(months)):
        connection.execute(
            "DELETE FROM processed_data WHERE ds >= $first AND ds < $end",
            {"first": span[0].first_day, "end": span[-1].next.first_day},
        )
    for table in ("quarantined_rows", "series_months"):
        connection.execute(f"DELETE FROM {table} WHERE month IN (SELECT month FROM _refinery_months)")  # noqa: S608
    if ready:
        # Whoever has no lake need not load it.
        from refinery_assets.warehouse.lake_files import register  # noqa: PLC0415

        register(connection, list(ready.values()))
    if to_insert := [path for path in paths if path not in ready]:
        _insert(connection, rows, to_insert)
    faulty = f"""
        SELECT f.path, f.month, f.resource, p.source_line, p.raw, p.fault
        FROM {PARTITION_ROWS} WHERE p.fault IS NOT NULL
    """  # noqa: S608 - a constant of the package
    connection.execute(
        f"""
        INSERT INTO quarantined_rows (month, resource, source_file, source_line, raw, fault)
        SELECT month, resource, source_file, file_line, raw, fault FROM ({placed(faulty)})
        ORDER BY month, resource, source_line
        """,  # noqa: S608 - queries of the package
        {"paths": paths},
    )
    names = ", ".join(column.name for column in SERIES_MONTHS.columns)
    connection.execute(f"INSERT INTO series_months ({names}) SELECT {names} FROM _refinery_new_series")  # noqa: S608


def _insert(connection: duckdb.DuckDBPyConnection, rows: str, paths: Sequence[str]) -> None:
    connection.execute(
        f"""
        INSERT INTO processed_data (ds, host_id, resource, y, cap, capacity, is_imputed)
        SELECT ds, host_id, resource, y, cap, capacity, is_imputed FROM ({rows})
        """,  # noqa: S608 - constants of the package
        {"paths": paths},
    )
