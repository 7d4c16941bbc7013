"""The inventory as queries join it: the temporary table `_refinery_fleet`, each host and period with its behavior.

Here: the table, and which hosts a month may have readings of. Not here: where the inventory is (`inventory_source.py`),
and whether it is fit to be joined (`inventory.py`).
"""

from __future__ import annotations

from collections.abc import Iterable

import duckdb

from refinery_assets.contract.contract_file import Contract
from refinery_assets.contract.months import Month
from refinery_assets.warehouse.inventory_source import AS_DAY, name_source, readable

_BEFORE_ALL_DAYS = "DATE '-infinity'"
# Windows over all names would cost what they cannot find where no row says when it is valid.
_NEXT_FROM = f"""
    lead(coalesce(valid_from, {_BEFORE_ALL_DAYS}))
        OVER (PARTITION BY lower(node_name) ORDER BY valid_from NULLS FIRST, valid_to)
"""
_HAS_SEVERAL = "count(*) OVER (PARTITION BY lower(node_name)) > 1"

DUE_DAYS = """
    greatest(0, least(coalesce(valid_to, {end}), {end}) - greatest(coalesce(valid_from, {first}), {first}))
"""
"""How many days of a month a row of `_refinery_fleet` is valid; to be formatted with the month's first day, and the
first after it."""

_OF_MONTH = f"""
    SELECT month, month_end, node_name, number, next_from,
        ((1::BIGINT << {DUE_DAYS.format(first="month_start", end="month_end")}) - 1)
            << dayofmonth(greatest(coalesce(valid_from, month_start), month_start)) AS due
    FROM (
        SELECT unnest($months::VARCHAR[]) AS month, unnest($starts::DATE[]) AS month_start,
            unnest($ends::DATE[]) AS month_end
    ), _refinery_fleet
"""  # noqa: S608 - a constant of this module


def name_fleet(connection: duckdb.DuckDBPyConnection, contract: Contract) -> None:
    """Write the inventory, as it is now, to the temporary table `_refinery_fleet`.

    Its columns are `node_name`, `behavior` (the behavior's columns in upper case with a slash between, null where the
    host lacks one of them), `valid_from` and `valid_to`, `next_from` (when the host's next period begins; null where
    there is none), `has_several` (the host has other rows, too), `has_bad_day` (valid_from or valid_to is no day), and
    `number`: the behavior's place in the names' order, from 0. By numbers millions of series are grouped many times
    faster than by names.

    Raises:
        InventoryError: There is no inventory that the contract describes.
    """
    name_source(connection, contract)
    days = {name: AS_DAY.format(name=name) for name in ("valid_from", "valid_to")}
    bad_day = " OR ".join(f"(trim({name}) <> '' AND {day} IS NULL)" for name, day in days.items())
    with readable():
        ((has_periods,),) = connection.execute(
            "SELECT count(valid_from) + count(valid_to) > 0 FROM _refinery_inventory"
        ).fetchall()
        connection.execute(
            f"""
            CREATE OR REPLACE TEMP TABLE _refinery_fleet AS
            SELECT node_name, behavior, valid_from, valid_to, has_bad_day,
                {_NEXT_FROM if has_periods else "NULL::DATE"} AS next_from,
                {_HAS_SEVERAL if has_periods else "false"} AS has_several,
                CASE WHEN behavior IS NOT NULL THEN dense_rank() OVER (ORDER BY behavior) - 1 END AS number
            FROM (
                SELECT node_name,
                    upper(trim(scenario)) || CASE WHEN $pairs THEN '/' || upper(trim(variant)) ELSE '' END AS behavior,
                    {days["valid_from"]} AS valid_from, {days["valid_to"]} AS valid_to,
                    coalesce({bad_day}, false) AS has_bad_day
                FROM _refinery_inventory
            )
            """,  # noqa: S608 - constants of the package
            {"pairs": len(contract.inventory.behavior) > 1},
        )


def name_hosts_due(connection: duckdb.DuckDBPyConnection, months: Iterable[Month]) -> None:
    """Write which hosts of the inventory are due in each month to the temporary table `_refinery_hosts_due`.

    One row per month and host, due or not: `month`, `node_name`, `due` (bit n: it counts on day n), `is_whole` (on
    every day), and `number` (of its behavior, as it was last in the month). Needs `name_fleet` before.
    """
    asked = sorted(months)
    # Few hosts have several rows, and only these need be brought together.
    connection.execute(
        f"""
        CREATE OR REPLACE TEMP TABLE _refinery_hosts_due AS
        SELECT month, node_name, due, number, due = (2::BIGINT << dayofmonth(month_end - 1)) - 2 AS is_whole
        FROM (
            SELECT month, month_end, node_name, due, number FROM ({_OF_MONTH} WHERE NOT has_several)
            UNION ALL
            SELECT month, month_end, node_name, bit_or(due),
                max(number) FILTER (due <> 0 AND (next_from IS NULL OR next_from >= month_end))
            FROM ({_OF_MONTH} WHERE has_several) GROUP BY month, month_end, node_name
        )
        """,  # noqa: S608 - a constant of this module
        {
            "months": [str(month) for month in asked],
            "starts": [month.first_day for month in asked],
            "ends": [month.next.first_day for month in asked],
        },
    )


def behavior_names(connection: duckdb.DuckDBPyConnection) -> dict[int, str]:
    """The behaviors by their numbers; needs `name_fleet` before."""
    return dict(
        connection.execute("SELECT DISTINCT number, behavior FROM _refinery_fleet WHERE number IS NOT NULL").fetchall()
    )
