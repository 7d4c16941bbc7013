"""The whole published history in a few thousand numbers, for the pictures of it.

Here: the queries. Not here: the drawing (`pictures.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import duckdb
import numpy as np
from numpy.typing import NDArray

from refinery_assets.contract import RESOURCES
from refinery_assets.months import Month

# Longer histories are drawn from one day of the week: it shows the same course, without the week's beat.
_DAYS_DRAWN_IN_FULL = 200
_WEDNESDAY = 3
# Of more hosts than these the bands are the same to the eye, and reading them all takes seconds.
HOSTS_DRAWN = 200


@dataclass(frozen=True)
class Band:
    """How the readings of one behaviour are spread over time, all hosts and resources together.

    Attributes:
        days: The days drawn, in order.
        low: The 10th percentile of `y`, percent, one per day.
        middle: The median.
        high: The 90th percentile.
    """

    days: NDArray[np.datetime64]
    low: NDArray[np.float64]
    middle: NDArray[np.float64]
    high: NDArray[np.float64]


@dataclass(frozen=True)
class History:
    """What the pictures show.

    Attributes:
        behaviors: The inventory's behaviours, in order.
        bands: Per behaviour; only where the table has rows.
        only_wednesdays: Whether the bands show one day of the week.
        only_some_hosts: Whether the bands of any behaviour show `HOSTS_DRAWN` of its hosts, not all.
        months: The months in the table, in order.
        coverage: A row per behaviour, a column per month: readings there, as a share of those that its hosts
            would have on every day of the month so far, in every resource.
    """

    behaviors: Sequence[str]
    bands: dict[str, Band]
    only_wednesdays: bool
    only_some_hosts: bool
    months: Sequence[str]
    coverage: NDArray[np.float64]


def read_history(connection: duckdb.DuckDBPyConnection) -> History:
    """Read what the pictures need; the connection may be read-only."""
    # Behaviours by number: comparing their names for every row of the table would take most of the time.
    connection.execute(
        """
        CREATE OR REPLACE TEMP TABLE history_fleet AS
        SELECT node_name, behavior, dense_rank() OVER (ORDER BY behavior) - 1 AS number,
            row_number() OVER (PARTITION BY behavior ORDER BY md5(node_name)) AS place
        FROM (SELECT node_name, upper(trim(scenario)) || '/' || upper(trim(variant)) AS behavior FROM hosts)
        WHERE behavior IS NOT NULL
        """
    )
    hosts = connection.execute(
        "SELECT behavior, count(*) FROM history_fleet GROUP BY behavior ORDER BY behavior"
    ).fetchall()
    behaviors = [behavior for behavior, _ in hosts]
    ((first, last),) = connection.execute(
        "SELECT min(ds)::DATE, max(ds)::DATE FROM processed_data"
    ).fetchall()
    only_wednesdays = first is not None and (last - first).days > _DAYS_DRAWN_IN_FULL
    bands = _read_bands(connection, behaviors, only_wednesdays=only_wednesdays)
    months, coverage = _read_coverage(connection, [count for _, count in hosts])
    only_some_hosts = any(count > HOSTS_DRAWN for _, count in hosts)
    return History(behaviors, bands, only_wednesdays, only_some_hosts, months, coverage)


def _read_bands(
    connection: duckdb.DuckDBPyConnection, behaviors: Sequence[str], *, only_wednesdays: bool
) -> dict[str, Band]:
    rows = connection.execute(
        """
        WITH daily AS (
            SELECT number, ds, quantile_cont(y, [0.1, 0.5, 0.9]) AS spread
            FROM processed_data JOIN (FROM history_fleet WHERE place <= $hosts_drawn) ON host_id = node_name
            WHERE NOT $only_wednesdays OR dayofweek(ds) = $wednesday
            GROUP BY ALL
        )
        SELECT number, list(ds::DATE ORDER BY ds), list(spread[1] ORDER BY ds),
            list(spread[2] ORDER BY ds), list(spread[3] ORDER BY ds)
        FROM daily GROUP BY ALL
        """,
        {"only_wednesdays": only_wednesdays, "wednesday": _WEDNESDAY, "hosts_drawn": HOSTS_DRAWN},
    ).fetchall()
    return {
        behaviors[number]: Band(np.array(days, "datetime64[D]"), *(np.array(each) for each in spread))
        for number, days, *spread in rows
    }


def _read_coverage(
    connection: duckdb.DuckDBPyConnection, hosts: Sequence[int]
) -> tuple[list[str], NDArray[np.float64]]:
    rows = connection.execute(
        """
        SELECT date_trunc('month', ds) AS month, number, max(dayofmonth(ds)), sum(points)::BIGINT
        FROM (
            SELECT ds, number, count(*) AS points
            FROM processed_data JOIN history_fleet ON host_id = node_name
            WHERE NOT is_imputed
            GROUP BY ALL
        )
        GROUP BY ALL
        """
    ).fetchall()
    reached: dict[str, int] = {}
    for start, _, newest, _ in rows:
        month = str(Month.of(start))
        reached[month] = max(newest, reached.get(month, 0))
    months = sorted(reached)
    coverage = np.zeros((len(hosts), len(months)))
    for start, number, _, points in rows:
        month = str(Month.of(start))
        possible = hosts[number] * reached[month] * len(RESOURCES)
        coverage[number, months.index(month)] = points / possible
    return months, coverage
