"""The whole published history in a few thousand numbers, for the pictures of it.

Here: the queries, month by month, and putting the months together. Not here: the drawing (`pictures.py`) and
what is remembered of months from run to run (`history_memory.py`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from refinery_assets.contract import RESOURCES
from refinery_assets.months import Month

if TYPE_CHECKING:
    # The process that draws takes the classes from here, and has no need of the library.
    import duckdb

# Longer histories are drawn from one day of the week: it shows the same course, without the week's beat.
_DAYS_DRAWN_IN_FULL = 200
_WEDNESDAY = 3
# What is read in one go, so that the memory it takes does not grow with the history.
_MONTHS_AT_ONCE = 12
# Of more hosts than these the bands are the same to the eye, and reading them all takes seconds.
HOSTS_DRAWN = 200
MOST_BEHAVIORS = 50
"""More behaviours than these make no picture; of a team's own classes the first by name are shown."""


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


@dataclass
class MonthFigures:
    """What the pictures show of one month; behaviours by their place in the names' order.

    Attributes:
        newest: The newest day of the month with a reading; 0: there is none.
        readings: Readings per behaviour, without imputed ones.
        spread: Per behaviour, for each day drawn: its ISO date, and the 10th, 50th and 90th percentile of
            `y`, percent.
    """

    newest: int = 0
    readings: dict[int, int] = field(default_factory=dict)
    spread: dict[int, list[tuple[str, float, float, float]]] = field(default_factory=dict)


@dataclass(frozen=True)
class Basis:
    """What all months' figures depend on beside their own rows.

    Attributes:
        months: Every month from the table's first to its last.
        only_wednesdays: Whether the spreads are those of one day of the week.
        hosts: Per behaviour, in the names' order, how many hosts it has.
        fleet: A number for the inventory's names and behaviours; another when any of them changes.
    """

    months: Sequence[Month]
    only_wednesdays: bool
    hosts: Mapping[str, int]
    fleet: int


@dataclass(frozen=True)
class HistoryRead:
    """A history, and the months' figures that it is made of."""

    basis: Basis
    figures: Mapping[Month, MonthFigures]

    @property
    def history(self) -> History:
        """The months put together."""
        behaviors = list(self.basis.hosts)
        months = [month for month, figures in sorted(self.figures.items()) if figures.newest]
        coverage = np.zeros((len(behaviors), len(months)))
        for column, month in enumerate(months):
            figures = self.figures[month]
            for number, readings in figures.readings.items():
                possible = self.basis.hosts[behaviors[number]] * figures.newest * len(RESOURCES)
                coverage[number, column] = readings / possible
        bands = {}
        for number, behavior in enumerate(behaviors):
            points = [point for month in months for point in self.figures[month].spread.get(number, ())]
            if points:
                days, *lines = zip(*points, strict=True)
                bands[behavior] = Band(np.array(days, "datetime64[D]"), *(np.array(line) for line in lines))
        return History(
            behaviors,
            bands,
            self.basis.only_wednesdays,
            any(count > HOSTS_DRAWN for count in self.basis.hosts.values()),
            [str(month) for month in months],
            coverage,
        )


def read_basis(connection: duckdb.DuckDBPyConnection) -> Basis:
    """Look at the inventory and at the ends of the table; names the hosts to draw in `history_fleet`."""
    # Behaviours by number: comparing their names for every row of the table would take most of the time.
    connection.execute(
        """
        CREATE OR REPLACE TEMP TABLE history_fleet AS
        SELECT node_name, behavior, dense_rank() OVER (ORDER BY behavior) - 1 AS number,
            row_number() OVER (PARTITION BY behavior ORDER BY md5(node_name)) AS place
        FROM (SELECT node_name, upper(trim(scenario)) || '/' || upper(trim(variant)) AS behavior FROM hosts)
        WHERE behavior IS NOT NULL
        QUALIFY number < $most_behaviors
        """,
        {"most_behaviors": MOST_BEHAVIORS},
    )
    hosts = connection.execute(
        "SELECT behavior, count(*) FROM history_fleet GROUP BY behavior ORDER BY behavior"
    ).fetchall()
    ((fleet,),) = connection.execute(
        "SELECT coalesce(bit_xor(hash(node_name, behavior)), 0) FROM history_fleet"
    ).fetchall()
    ((first, last),) = connection.execute(
        "SELECT min(ds)::DATE, max(ds)::DATE FROM processed_data"
    ).fetchall()
    months = [] if first is None else list(Month.span(Month.of(first), Month.of(last)))
    only_wednesdays = first is not None and (last - first).days > _DAYS_DRAWN_IN_FULL
    return Basis(months, only_wednesdays, dict(hosts), fleet)


def read_history(
    connection: duckdb.DuckDBPyConnection,
    basis: Basis,
    known: Mapping[Month, MonthFigures] | None = None,
) -> HistoryRead:
    """Read what the pictures need, except of the months whose figures are known; needs `read_basis` before.

    The connection may be read-only.
    """
    figures = dict(known or {})
    unknown = [month for month in basis.months if month not in figures]
    for months in Month.unbroken(unknown, at_most=_MONTHS_AT_ONCE):
        figures |= _read_months(connection, months[0], months[-1], basis)
    return HistoryRead(basis, {month: figures[month] for month in basis.months})


def _read_months(
    connection: duckdb.DuckDBPyConnection, first: Month, last: Month, basis: Basis
) -> dict[Month, MonthFigures]:
    figures: dict[Month, MonthFigures] = defaultdict(MonthFigures)
    within = {"first": first.first_day, "end": last.next.first_day}
    counted = connection.execute(
        """
        SELECT date_trunc('month', ds), number, max(dayofmonth(ds)), sum(points)::BIGINT
        FROM (
            SELECT ds, number, count(*) AS points
            FROM processed_data JOIN history_fleet ON host_id = node_name
            WHERE ds >= $first AND ds < $end AND NOT is_imputed
            GROUP BY ALL
        )
        GROUP BY ALL
        """,
        within,
    ).fetchall()
    for start, number, newest, readings in counted:
        month = figures[Month.of(start)]
        month.newest = max(month.newest, newest)
        month.readings[number] = readings
    spread = connection.execute(
        """
        SELECT number, ds::DATE, quantile_cont(y, [0.1, 0.5, 0.9])
        FROM processed_data JOIN (FROM history_fleet WHERE place <= $hosts_drawn) ON host_id = node_name
        WHERE ds >= $first AND ds < $end AND (NOT $only_wednesdays OR dayofweek(ds) = $wednesday)
        GROUP BY ALL ORDER BY ALL
        """,
        {
            **within,
            "only_wednesdays": basis.only_wednesdays,
            "wednesday": _WEDNESDAY,
            "hosts_drawn": HOSTS_DRAWN,
        },
    ).fetchall()
    for number, day, percentiles in spread:
        figures[Month.of(day)].spread.setdefault(number, []).append((day.isoformat(), *percentiles))
    return {month: figures[month] for month in Month.span(first, last)}
