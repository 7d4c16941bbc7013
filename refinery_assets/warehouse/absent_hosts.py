"""Hosts due in a month that have no reading in it: how many, and a sample with the resources that lack them.

Here: finding them in `_refinery_hosts_due` (`fleet.py`) and `_refinery_series` (`facts.py`). Not here: the rule
(`publish_checks.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import duckdb

from refinery_assets.checks.rules import SAMPLE_SIZE, Row
from refinery_assets.contract.months import Month


@dataclass(frozen=True)
class AbsentHosts:
    """The hosts due in a month that have no row in some resource.

    Attributes:
        hosts: How many.
        sample: At most `SAMPLE_SIZE` of them, those that are nowhere first: `host_id`, and `missing_in`, the resources.
    """

    hosts: int = 0
    sample: Sequence[Row] = ()


def find_absent_hosts(
    connection: duckdb.DuckDBPyConnection, month: Month, resources: Sequence[str], reached: int
) -> AbsentHosts:
    """Count and sample them; needs `name_hosts_due` and `sum_up` before.

    Args:
        connection: The warehouse.
        month: The month.
        resources: The resources that it is to have rows of.
        reached: Bit n is set for days up to the newest that the month has a row of; who comes later is not due yet.
    """
    rows = connection.execute(
        """
        SELECT node_name, list_filter($resources::VARCHAR[], lambda name: NOT list_contains(there, name)) AS missing,
            count(*) OVER ()
        FROM (
            SELECT node_name, list(resource) AS there
            FROM (SELECT node_name FROM _refinery_hosts_due WHERE month = $month AND due & $reached::BIGINT <> 0)
            LEFT JOIN (SELECT host_id, resource FROM _refinery_series WHERE month = $month AND due <> 0)
                ON host_id = node_name
            GROUP BY node_name
        )
        WHERE len(missing) > 0 ORDER BY len(missing) DESC, node_name LIMIT $most
        """,
        {"month": str(month), "resources": resources, "reached": reached, "most": SAMPLE_SIZE},
    ).fetchall()
    sample = [{"host_id": host, "missing_in": ", ".join(missing)} for host, missing, _ in rows]
    return AbsentHosts(rows[0][2] if rows else 0, sample)
