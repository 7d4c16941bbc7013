"""The published months as the charts show them, read from `series_months` and the inventory.

Here: the queries, and what they give. Not here: a month's own figures and verdicts (`report_data.py`), and the drawing
(`charts.py`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

import duckdb

from refinery_assets.contract.months import Month
from refinery_assets.warehouse.fleet import DUE_DAYS

CHART_MONTHS = 60
"""The months of one chart; a longer history has several charts, counted back from the newest month."""

NO_BEHAVIOR = "without a behavior"
NOT_IN_INVENTORY = "not in the inventory"
_NO_BEHAVIOR_NUMBER, _NOT_IN_INVENTORY_NUMBER = -1, -2
_DUE_IN_MONTH = DUE_DAYS.format(first="month_start", end="month_end")
# Of a host that came back within the month, the period that it ends with; so each host is joined once.
_IS_LAST_OF_MONTH = "(next_from IS NULL OR next_from >= month_end)"


@dataclass(frozen=True)
class BehaviorMonth:
    """One behavior in one month, all resources together.

    Attributes:
        series: Series (resource and host) with a row.
        readings: Days with a reading, of all series; imputed ones are not counted.
        low: The 10th percentile of the series' means, percent.
        middle: The median.
        high: The 90th percentile.
    """

    series: int
    readings: int
    low: float
    middle: float
    high: float


@dataclass(frozen=True)
class History:
    """The published months as the charts show them.

    Attributes:
        months: Every month from the first to the last that is shown.
        hosts: Hosts of the inventory by behavior, in the order in which they are shown. Hosts without a behavior, and
            hosts that the inventory does not name, stand at the end where there are any.
        due: By behavior and month the hosts due, and their days up to the newest of the month; missing: none.
        cells: By behavior and month, where the table has rows.
        newest_day: By published month the newest day of the month with a reading.
        resources: By published month how many resources it holds.
    """

    months: Sequence[Month] = ()
    hosts: Mapping[str, int] = field(default_factory=dict)
    cells: Mapping[tuple[str, Month], BehaviorMonth] = field(default_factory=dict)
    newest_day: Mapping[Month, int] = field(default_factory=dict)
    resources: Mapping[Month, int] = field(default_factory=dict)
    due: Mapping[tuple[str, Month], tuple[int, int]] = field(default_factory=dict)

    def coverage(self, behavior: str, month: Month) -> float | None:
        """Readings as a share of those due up to the month's newest day; None: none is due, or no month."""
        _, days = self.due.get((behavior, month), (0, 0))
        due = days * self.resources.get(month, 0)
        cell = self.cells.get((behavior, month))
        return (cell.readings if cell else 0) / due if due else None

    def page_of(self, month: Month) -> Sequence[Month]:
        """The months of the chart that shows `month`; none when the history does not reach there."""
        if month not in self.months:
            return ()
        after = len(self.months) - 1 - self.months.index(month)
        end = len(self.months) - after // CHART_MONTHS * CHART_MONTHS
        return self.months[max(0, end - CHART_MONTHS) : end]


def read_history(connection: duckdb.DuckDBPyConnection, known: Sequence[Month], asked: Sequence[Month]) -> History:
    """The charts' pages on which the months asked for stand; needs nothing else of the history."""
    if not known:
        return History()
    history = History(list(Month.span(known[0], known[-1])))
    pages = [page for month in asked if (page := history.page_of(month))]
    if not pages:
        return History()
    # Pages are counted from the end, so the months are kept up to it even where they are not read.
    months = list(Month.span(min(page[0] for page in pages), known[-1]))
    read = list(Month.span(months[0], max(page[-1] for page in pages)))
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE _refinery_months AS SELECT unnest($months::VARCHAR[]) AS month, "
        "unnest($starts::DATE[]) AS month_start, unnest($ends::DATE[]) AS month_end",
        {
            "months": month_keys(read),
            "starts": [month.first_day for month in read],
            "ends": [month.next.first_day for month in read],
        },
    )
    # By equality alone, for DuckDB 1.5 compares every series with every host where a join has other conditions, too. A
    # host with one row is joined by its name, the few with several by the row that each month ends with.
    rows = connection.execute(
        f"""
        WITH once AS (
            SELECT node_name, number, valid_from, valid_to FROM _refinery_fleet WHERE NOT has_several
        ), several AS (
            SELECT month, node_name, number FROM _refinery_months, _refinery_fleet
            WHERE has_several AND {_DUE_IN_MONTH} > 0 AND {_IS_LAST_OF_MONTH}
        )
        SELECT s.month,
            CASE WHEN once.node_name IS NOT NULL AND {_DUE_IN_MONTH} > 0 THEN coalesce(once.number, $no_behavior)
                WHEN several.node_name IS NOT NULL THEN coalesce(several.number, $no_behavior)
                ELSE $not_in_inventory END AS n,
            max(day(last_day)), count(*), sum(readings)::BIGINT, quantile_cont(mean_y, [0.1, 0.5, 0.9])
        FROM series_months s JOIN _refinery_months USING (month)
            LEFT JOIN once ON once.node_name = s.host_id
            LEFT JOIN several
                ON several.month = s.month AND several.node_name = s.host_id
        GROUP BY s.month, n
        """,  # noqa: S608 - constants of the package
        {"no_behavior": _NO_BEHAVIOR_NUMBER, "not_in_inventory": _NOT_IN_INVENTORY_NUMBER},
    ).fetchall()
    resources = connection.execute(
        "SELECT month, count(DISTINCT resource) FROM series_months WHERE month BETWEEN $first AND $last GROUP BY month",
        {"first": str(read[0]), "last": str(read[-1])},
    ).fetchall()
    of_inventory = connection.execute(
        "SELECT coalesce(number, $no_behavior), coalesce(behavior, $name), count(DISTINCT node_name) "
        "FROM _refinery_fleet GROUP BY number, behavior ORDER BY number NULLS LAST",
        {"no_behavior": _NO_BEHAVIOR_NUMBER, "name": NO_BEHAVIOR},
    ).fetchall()
    names = {number: name for number, name, _ in of_inventory} | {_NOT_IN_INVENTORY_NUMBER: NOT_IN_INVENTORY}
    hosts = {name: count for _, name, count in of_inventory}
    cells: dict[tuple[str, Month], BehaviorMonth] = {}
    newest_day: dict[Month, int] = {}
    for key, number, day, series, readings, percentiles in rows:
        month = Month.parse(key)
        newest_day[month] = max(newest_day.get(month, 0), day)
        cells[names[number], month] = BehaviorMonth(series, readings, *percentiles)
        hosts.setdefault(names[number], 0)
    due = {
        (names[number], Month.parse(key)): (count, days) for key, number, count, days in _due(connection, newest_day)
    }
    return History(months, hosts, cells, newest_day, {Month.parse(month): count for month, count in resources}, due)


def _due(connection: duckdb.DuckDBPyConnection, newest_day: Mapping[Month, int]) -> list[tuple[str, int, int, int]]:
    """Month, number of the behavior, hosts due and their days, up to the newest day of each month."""
    return connection.execute(
        f"""
        SELECT month, coalesce(number, $no_behavior), count(*) FILTER ({_IS_LAST_OF_MONTH}), sum(due)::BIGINT
        FROM (
            SELECT month, month_end, number, next_from, {_DUE_IN_MONTH} AS due
            FROM (SELECT unnest($months::VARCHAR[]) AS month, unnest($starts::DATE[]) AS month_start,
                unnest($ends::DATE[]) AS month_end), _refinery_fleet
        ) WHERE due > 0 GROUP BY ALL
        """,  # noqa: S608 - constants of the package
        {
            "no_behavior": _NO_BEHAVIOR_NUMBER,
            "months": month_keys(newest_day),
            "starts": [month.first_day for month in newest_day],
            "ends": [month.first_day + timedelta(days=day) for month, day in newest_day.items()],
        },
    ).fetchall()


def month_keys(months: Iterable[Month]) -> list[str]:
    """The months as the tables spell them."""
    return [str(month) for month in months]
