"""The levels of the resources month by month: what the plausibility checks compare, for people to look at.

Here: reading them from `series_months`. Not here: the table in the report (`report_text.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import duckdb

from refinery_assets.contract.months import Month

MONTHS_BEFORE = 12
"""Published months before a month that its levels are shown beside."""


@dataclass(frozen=True)
class ResourceLevel:
    """One resource in one month as the plausibility checks see it.

    Attributes:
        level: Median of the series' medians, percent.
        spread: Distance between the quarters of these medians, percentage points.
        still: Share of the series that stand still.
        capacity: Sum of the capacities stated, in the resource's unit; None where none is.
    """

    level: float
    spread: float
    still: float
    capacity: float | None


def read_levels(connection: duckdb.DuckDBPyConnection, month: Month) -> dict[str, Mapping[Month, ResourceLevel]]:
    """The levels of a month and of the published ones before it, by resource, months in order."""
    rows = connection.execute(
        """
        SELECT month, resource, median(coalesce(median_y, mean_y)),
            quantile_cont(coalesce(median_y, mean_y), 0.75) - quantile_cont(coalesce(median_y, mean_y), 0.25),
            avg((distinct_values = 1 AND readings > 1)::INTEGER), sum(capacity)
        FROM series_months WHERE month IN (
            SELECT DISTINCT month FROM series_months WHERE month <= $month ORDER BY month DESC LIMIT $most
        )
        GROUP BY month, resource ORDER BY resource, month
        """,
        {"month": str(month), "most": MONTHS_BEFORE + 1},
    ).fetchall()
    levels: dict[str, dict[Month, ResourceLevel]] = {}
    for key, resource, *figures in rows:
        levels.setdefault(resource, {})[Month.parse(key)] = ResourceLevel(*figures)
    return {**levels}
