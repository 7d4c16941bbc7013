"""The views on the published table, for those who forecast.

Here: their SQL, and putting them and the dictionary's comments into the warehouse. Not here: what their
columns mean (`contract/columns.py`).
"""

from __future__ import annotations

from collections.abc import Iterable

import duckdb

from refinery_assets.contract.columns import (
    DAILY_FEATURES,
    FEATURE_LAGS,
    FEATURE_WINDOWS,
    FORECAST_PANEL,
    HOSTS,
    INVENTORY_ATTRIBUTES,
    SERIES,
    TABLES,
    VIEWS,
    Relation,
    in_the_words_of,
)
from refinery_assets.contract.contract_file import Contract
from refinery_assets.warehouse.tables import ForeignTableError, column_types, table_names

_UNIQUE_ID = "p.host_id || '/' || p.resource"


def make_views(connection: duckdb.DuckDBPyConnection, contract: Contract) -> None:
    """Make the views, as the inventory's columns are now, and comment tables and views by the dictionary.

    A view reads the tables whenever it is read, so it is never stale.

    Raises:
        ForeignTableError: Something else than a view stands under the name of one.
    """
    there = {name.lower() for name in column_types(connection, HOSTS.name)}
    # Attributes that this inventory lacks are null; types are fixed, so that reloading it breaks no view.
    attributes = ", ".join(
        f"CAST({source} AS {column.type_name}) AS {column.name}"
        for column in INVENTORY_ATTRIBUTES
        for source in [f"h.{column.name}" if column.name in there else "NULL"]
    )
    queries = {
        SERIES.name: _series(attributes),
        FORECAST_PANEL.name: _forecast_panel(attributes),
        DAILY_FEATURES.name: _daily_features(),
    }
    ensure_views_free(connection)
    for view in VIEWS:
        columns = ", ".join(column.name for column in view.columns)
        # Names and queries are constants of the package; a view takes no parameters.
        connection.execute(
            f"CREATE OR REPLACE VIEW {view.name} AS SELECT {columns} FROM ({queries[view.name]})"  # noqa: S608
        )
    _comment(connection, (*TABLES, *VIEWS), contract)


def _series(attributes: str) -> str:
    names = ", ".join(column.name for column in INVENTORY_ATTRIBUTES)
    return f"""
        SELECT s.*, {names} FROM (
            SELECT {_UNIQUE_ID} AS unique_id, p.host_id, p.resource,
                min(p.ds)::DATE AS first_day, max(p.ds)::DATE AS last_day,
                count(*) AS days, count(*) FILTER (p.is_imputed) AS imputed,
                count(*) FILTER (p.days_before > 1) AS gaps,
                coalesce(sum(p.days_before - 1), 0)::BIGINT AS missing_days,
                arg_max(p.capacity, p.ds) AS capacity
            FROM (
                SELECT *, date_diff('day', lag(ds) OVER (PARTITION BY host_id, resource ORDER BY ds), ds)
                    AS days_before
                FROM processed_data
            ) p
            GROUP BY p.host_id, p.resource
        ) s LEFT JOIN (SELECT h.node_name, {attributes} FROM hosts h) a ON a.node_name = s.host_id
    """  # noqa: S608 - names of the dictionary


def _forecast_panel(attributes: str) -> str:
    return f"""
        SELECT {_UNIQUE_ID} AS unique_id, p.*, 0.0::DOUBLE AS floor, {attributes}
        FROM processed_data p LEFT JOIN hosts h ON h.node_name = p.host_id
    """  # noqa: S608 - names of the dictionary


def _daily_features() -> str:
    # Windows go by days, not by rows, so that a missing day is a null and not another day's value.
    lags = [
        f"max(measured) OVER (PARTITION BY host_id, resource ORDER BY ds RANGE BETWEEN INTERVAL {lag} DAY "
        f"PRECEDING AND INTERVAL {lag} DAY PRECEDING) AS y_lag_{lag}"
        for lag in FEATURE_LAGS
    ]
    rolling = [
        f"CASE WHEN count(measured) OVER past_{days} = {days} THEN {function}(measured) OVER past_{days} END "
        f"AS y_{name}_{days}"
        for days in FEATURE_WINDOWS
        for name, function in (("mean", "avg"), ("std", "stddev_samp"))
    ]
    windows = [
        f"past_{days} AS (PARTITION BY host_id, resource ORDER BY ds RANGE BETWEEN INTERVAL {days} DAY "
        "PRECEDING AND INTERVAL 1 DAY PRECEDING)"
        for days in FEATURE_WINDOWS
    ]
    return f"""
        SELECT {_UNIQUE_ID} AS unique_id, p.*, {", ".join([*lags, *rolling])}
        FROM (
            -- An imputed value lies between its neighbours, of which one is later: no past to learn from.
            SELECT *, CASE WHEN NOT is_imputed THEN y END AS measured FROM processed_data
        ) p
        WINDOW {", ".join(windows)}
    """  # noqa: S608 - names of the dictionary


def ensure_views_free(connection: duckdb.DuckDBPyConnection) -> None:
    """Check that no table has the name of a view.

    Raises:
        ForeignTableError: One does.
    """
    if taken := table_names(connection) & {view.name for view in VIEWS}:
        name = min(taken)
        raise ForeignTableError(
            f"The warehouse has a table {name} where the refinery keeps a view of that name. Rename the table, or "
            "set REFINERY_WAREHOUSE to another file, and run again."
        )


def _comment(connection: duckdb.DuckDBPyConnection, relations: Iterable[Relation], contract: Contract) -> None:
    """Say in the warehouse what the dictionary says."""
    for relation in relations:
        kind = relation.kind.upper()
        connection.execute(f"COMMENT ON {kind} {relation.name} IS {_literal(relation.meaning)}")
        for column in in_the_words_of(contract, relation.columns):
            connection.execute(f"COMMENT ON COLUMN {relation.name}.{column.name} IS {_literal(column.description)}")


def _literal(text: str) -> str:
    """A comment takes no parameter; the texts are the dictionary's own."""
    return "'" + text.replace("'", "''") + "'"
