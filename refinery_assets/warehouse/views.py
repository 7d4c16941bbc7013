"""The views on the published table, for those who forecast.

Here: their SQL, and putting them and the dictionary's comments into the warehouse. Not here: what their
columns mean (`contract/columns.py`).
"""

from __future__ import annotations

from collections.abc import Iterable

import duckdb

from refinery_assets.contract.columns import (
    CAPACITY_CHANGES,
    DAILY_FEATURES,
    FEATURE_LAGS,
    FEATURE_WINDOWS,
    TABLES,
    Relation,
    in_the_words_of,
    views_of,
)
from refinery_assets.contract.contract_file import Contract, packaged_contract
from refinery_assets.warehouse.inventory_source import keep_inventory, renew_inventory
from refinery_assets.warehouse.tables import ForeignTableError, is_lake

_UNIQUE_ID = "p.host_id || '/' || p.resource"
# Of a host with several rows, the one that is valid today, or else the latest.
_HOSTS_TODAY = """
    SELECT * RENAME (node_name AS host_id) FROM host_inventory
    QUALIFY row_number() OVER (
        PARTITION BY node_name
        ORDER BY coalesce(valid_from <= current_date, true) AND coalesce(current_date < valid_to, true) DESC,
            valid_from DESC NULLS LAST, valid_to DESC NULLS FIRST
    ) = 1
"""


def renew_views(connection: duckdb.DuckDBPyConnection, contract: Contract) -> None:
    """Make the views, as the inventory's columns are now; in a lake they stand, and its table of a file is renewed.

    Raises:
        ForeignTableError: Something else than a view stands under the name of one, or a lake lacks one.
        InventoryError: The inventory is not there, or lacks a column that the contract names.
    """
    if is_lake(connection):
        ensure_views_free(connection, contract)
        renew_inventory(connection, contract)
    else:
        make_views(connection, contract)


def make_views(connection: duckdb.DuckDBPyConnection, contract: Contract) -> None:
    """Make the views, as the inventory's columns are now, and comment tables and views by the dictionary.

    A view reads the tables whenever it is read, so it is never stale. An inventory that is a file is kept as it was
    when `fleet.name_fleet` read it.

    Raises:
        ForeignTableError: Something else than a view stands under the name of one.
        InventoryError: The inventory is not there, or lacks a column that the contract names.
    """
    ensure_views_free(connection, contract)
    keep_inventory(connection, contract)
    for name, query in (
        ("series", _series()),
        ("forecast_panel", _forecast_panel()),
        (CAPACITY_CHANGES.name, _capacity_changes()),
        (DAILY_FEATURES.name, _daily_features()),
    ):
        # Names and queries are constants of the package; a view takes no parameters. The inventory's columns come by
        # a star, in the order of `host_inventory`.
        connection.execute(f"CREATE OR REPLACE VIEW {name} AS {query}")
    _comment(connection, (*TABLES, *views_of(contract)), contract)


def _series() -> str:
    return f"""
        SELECT s.*, h.* EXCLUDE (host_id) FROM (
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
        ) s LEFT JOIN ({_HOSTS_TODAY}) h ON h.host_id = s.host_id
    """  # noqa: S608 - names of the dictionary


def _forecast_panel() -> str:
    return f"""
        SELECT {_UNIQUE_ID} AS unique_id, p.ds, p.y, p.cap, 0.0::DOUBLE AS floor, p.host_id, p.resource, p.capacity,
            p.y * p.capacity / 100 AS demand, p.is_imputed, h.* EXCLUDE (host_id)
        FROM processed_data p LEFT JOIN ({_HOSTS_TODAY}) h ON h.host_id = p.host_id
    """  # noqa: S608 - names of the dictionary


def _capacity_changes() -> str:
    # A day that states no capacity is not one on which it changed.
    return """
        SELECT host_id, resource, ds::DATE AS day, capacity_before, capacity AS capacity_after FROM (
            SELECT host_id, resource, ds, capacity,
                lag(capacity) OVER (PARTITION BY host_id, resource ORDER BY ds) AS capacity_before
            FROM processed_data WHERE capacity IS NOT NULL
        ) WHERE capacity <> capacity_before
    """


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
    columns = ", ".join(column.name for column in DAILY_FEATURES.columns)
    return f"""
        SELECT {columns} FROM (SELECT {_UNIQUE_ID} AS unique_id, p.*, {", ".join([*lags, *rolling])}
        FROM (
            -- An imputed value lies between its neighbours, of which one is later: no past to learn from.
            SELECT *, CASE WHEN NOT is_imputed THEN y END AS measured FROM processed_data
        ) p
        WINDOW {", ".join(windows)})
    """  # noqa: S608 - names of the dictionary


def ensure_views_free(connection: duckdb.DuckDBPyConnection, contract: Contract) -> None:
    """Check that nothing of others has the name of a view.

    Raises:
        ForeignTableError: Something does.
    """
    there = connection.execute(
        """
        SELECT table_name, 'table', comment FROM duckdb_tables()
        WHERE database_name = current_database() AND schema_name = current_schema()
        UNION ALL SELECT view_name, 'view', comment FROM duckdb_views()
        WHERE database_name = current_database() AND schema_name = current_schema()
        ORDER BY ALL
        """
    ).fetchall()
    views = {view.name: view for view in views_of(contract)}
    for name, kind, comment in there:
        view = views.get(name.lower())
        # The inventory's may be a table of ours, too, and a view of that name one of others: its comment says it.
        is_inventory = name.lower() == "host_inventory"
        if view and (comment != view.meaning if is_inventory else kind == "table"):
            raise ForeignTableError(
                f"The warehouse has a {kind} {name} where the refinery keeps a view of that name. Rename the {kind}, "
                "or set REFINERY_WAREHOUSE to another file, and run again."
            )


def _comment(connection: duckdb.DuckDBPyConnection, relations: Iterable[Relation], contract: Contract) -> None:
    """Say in the warehouse what the dictionary says; what the contract calls an attribute has nothing to be said."""
    own = {column.name for relation in (*TABLES, *views_of(packaged_contract())) for column in relation.columns}
    has_comments_on_views = not is_lake(connection)
    for relation in relations:
        kind = relation.kind.upper()
        connection.execute(f"COMMENT ON {kind} {relation.name} IS {_literal(relation.meaning)}")
        if kind == "VIEW" and not has_comments_on_views:
            continue
        for column in in_the_words_of(contract, relation.columns):
            if column.name in own:
                connection.execute(f"COMMENT ON COLUMN {relation.name}.{column.name} IS {_literal(column.description)}")


def _literal(text: str) -> str:
    """A comment takes no parameter; the texts are the dictionary's own."""
    return "'" + text.replace("'", "''") + "'"
