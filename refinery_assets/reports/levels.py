"""The levels of the resources month by month: what the plausibility checks compare, for people to look at.

Here: reading them from `series_months`. Not here: the table in the report (`report_text.py`).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
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


def read_levels(
    connection: duckdb.DuckDBPyConnection, months: Iterable[Month]
) -> dict[Month, dict[str, dict[Month, ResourceLevel]]]:
    """The levels of each month and of the published ones before it, by resource, months in order."""
    asked = sorted(months)
    if not asked:
        return {}
    # In one query, because months that follow one another share nearly all that stands before them.
    rows = connection.execute(
        """
        SELECT month, resource, median(coalesce(median_y, mean_y)),
            quantile_cont(coalesce(median_y, mean_y), 0.75) - quantile_cont(coalesce(median_y, mean_y), 0.25),
            avg((distinct_values = 1 AND readings > 1)::INTEGER), sum(capacity)
        FROM series_months WHERE month <= $last AND month >= coalesce((
            SELECT min(month) FROM (
                SELECT DISTINCT month FROM series_months WHERE month <= $first ORDER BY month DESC LIMIT $most
            )
        ), $first)
        GROUP BY month, resource ORDER BY month, resource
        """,
        {"first": str(asked[0]), "last": str(asked[-1]), "most": MONTHS_BEFORE + 1},
    ).fetchall()
    of_month: dict[Month, dict[str, ResourceLevel]] = {}
    for key, resource, *figures in rows:
        of_month.setdefault(Month.parse(key), {})[resource] = ResourceLevel(*figures)
    published = list(of_month)
    levels: dict[Month, dict[str, dict[Month, ResourceLevel]]] = {}
    for month in asked:
        end = bisect_right(published, month)
        by_resource: dict[str, dict[Month, ResourceLevel]] = {}
        for before in published[max(0, end - MONTHS_BEFORE - 1) : end]:
            for resource, level in of_month[before].items():
                by_resource.setdefault(resource, {})[before] = level
        levels[month] = dict(sorted(by_resource.items()))
    return levels
