"""The inventory as queries join it: the temporary table `fleet`, each host with its behavior's number.

Here: the table. Not here: whether the inventory is fit to be joined (`inventory.py`).
"""

from __future__ import annotations

import duckdb


def name_fleet(connection: duckdb.DuckDBPyConnection) -> None:
    """Write the table `hosts`, as it is now, to the temporary table `fleet`.

    Its columns are `node_name`, `behavior` (scenario and variant in upper case, `SCENARIO/VARIANT`; null
    where the host lacks one of them), and `number`: the behavior's place in the names' order, from 0. By
    numbers millions of series are grouped many times faster than by names.
    """
    connection.execute(
        """
        CREATE OR REPLACE TEMP TABLE fleet AS
        SELECT node_name, behavior,
            CASE WHEN behavior IS NOT NULL THEN dense_rank() OVER (ORDER BY behavior) - 1 END AS number
        FROM (
            SELECT node_name, upper(trim(scenario)) || '/' || upper(trim(variant)) AS behavior FROM hosts
        )
        """
    )
