"""The whole published history in a few thousand numbers, for the pictures of it.

Here: the numbers, and putting the months together; the process that draws needs no more. Not here: the
queries (`history_read.py`), what is remembered of months from run to run (`history_memory.py`), and the
drawing (`pictures.py`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from refinery_assets.contract.families import RESOURCES
from refinery_assets.contract.months import Month

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
