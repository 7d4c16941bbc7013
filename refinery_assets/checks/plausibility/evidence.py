"""What the plausibility checks look at: the month's series beside those of the months before it.

Rows of `series_months` become arrays by month, resource and host, so that a rule compares all series at once. Here: the
arrays and what rules ask of them. Not here: any rule, and where the rows come from (`warehouse/plausibility.py`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
import polars as pl
from numpy.typing import NDArray

from refinery_assets.checks.plausibility.days import DayFacts
from refinery_assets.contract.columns import FEWEST_VALUES_OF_A_PART, PART_DIGESTS
from refinery_assets.contract.months import Month
from refinery_assets.contract.plausibility import PlausibilitySettings

Floats: TypeAlias = NDArray[np.float64]
Flags: TypeAlias = NDArray[np.bool_]

FIGURES = (
    "readings", "mean_y", "min_y", "max_y", "median_y", "distinct_values", "longest_run", "capacity", "decimals",
    "capacities", "values_digest", *PART_DIGESTS,
)  # fmt: skip
"""The columns of `series_months` that are compared. As floats, digests keep 53 of their 64 bits: more than enough."""

RICH = 10
"""Distinct readings, and readings, from which two series are alike by copying and not by chance."""

_USUAL_MONTHS = 5
"""Earlier months that say what is usual for a host: few enough to follow it, and more than one that was out of line."""

_ALMOST_ALL = 0.8
_FINE_STEPS = 150
"""Steps of its last decimal between a series' extremes from which these are its own."""

_LIVELY = 5
"""Distinct readings from which a series counts as one that varies."""

_MOST_VALUES_WITHOUT_PARTS = (FEWEST_VALUES_OF_A_PART - 1) * len(PART_DIGESTS) + 3
"""Distinct readings that a series may have at most without a part that has a digest: days 29 to 31 are in none."""


@dataclass(frozen=True)
class Copies:
    """Series of the month whose values in order stand in another published month, of any host and resource.

    Attributes:
        resource: The resource.
        other_month: The published month.
        other_resource: The resource there.
        series: How many series.
        hosts: A sample of pairs: the host here, the host there.
    """

    resource: str
    other_month: str
    other_resource: str
    series: int
    hosts: Sequence[tuple[str, str]] = ()

    def is_certain(self, hosts: int, settings: PlausibilitySettings) -> bool:
        """Whether they are enough, of so many hosts of the month, to refuse it."""
        return self.series >= settings.least_series and self.series >= settings.copied_share * hosts


@dataclass(frozen=True, eq=False)
class ResourceSeries:
    """One resource's series. An array of a figure has a row per month, the month at hand last, a column per host.

    Attributes:
        resource: The resource.
        hosts: The hosts, in the order of the columns.
        month: The month at hand.
        earlier: The earlier months, in the order of the rows.
        figures: The arrays by column of `series_months`; NaN where there is no series, or nothing is known.
        days: What the days of the month have in common; empty where that is not known.
    """

    resource: str
    hosts: NDArray[np.str_]
    month: Month
    earlier: Sequence[Month]
    figures: Mapping[str, Floats]
    days: Sequence[DayFacts] = ()

    def now(self, figure: str) -> Floats:
        """The month at hand, by host."""
        return np.asarray(self.figures[figure][-1])

    @cached_property
    def _last_at(self) -> NDArray[np.int64]:
        """By host the row of the last earlier month with a series; the first row where there is none."""
        there = ~np.isnan(self.figures["readings"][:-1])
        return np.asarray(len(there) - 1 - there[::-1].argmax(axis=0))

    @cached_property
    def _last(self) -> dict[str, Floats]:
        return {}

    def last(self, figure: str) -> Floats:
        """The last earlier month in which the host has a series; NaN where there is none."""
        if not self.earlier:
            return np.full(len(self.hosts), np.nan)
        if figure not in self._last:
            self._last[figure] = np.asarray(self.figures[figure][self._last_at, np.arange(len(self.hosts))])
        return self._last[figure]

    def last_month(self, host: int) -> str:
        """The month that `last` is of; empty where the host has no earlier series."""
        return str(self.earlier[self._last_at[host]]) if self.has_past[host] else ""

    @cached_property
    def has_past(self) -> Flags:
        """Which hosts have a series in an earlier month."""
        return np.asarray((~np.isnan(self.figures["readings"][:-1])).any(axis=0))

    @cached_property
    def months_back(self) -> Floats:
        """By host, how many months before the month at hand `last` is; 1 without a past."""
        if not self.earlier:
            return np.ones(len(self.hosts))
        back = np.array([self.month.months_since(each) for each in self.earlier], dtype=np.float64)
        return np.where(self.has_past, back[self._last_at], 1.0)

    def last_months(self, hosts: Flags) -> list[str]:
        """The months that `last` is of, in order."""
        return sorted({self.last_month(int(host)) for host in np.flatnonzero(hosts)} - {""})

    def when(self, hosts: Flags) -> str:
        """The months that `last` is of, in words: `in 2024-04`."""
        months = self.last_months(hosts)
        if not months:
            return "before"
        return f"in {months[0]}" if len(months) == 1 else f"in the last month of each, {months[0]} to {months[-1]}"

    @cached_property
    def _usual(self) -> dict[str, Floats]:
        return {}

    def usual(self, figure: str) -> Floats:
        """The median of the last earlier months, at most `_USUAL_MONTHS`, by host; NaN where there are none."""
        if figure not in self._usual:
            self._usual[figure] = medians(self.figures[figure][:-1][-_USUAL_MONTHS:])
        return self._usual[figure]

    @cached_property
    def is_there(self) -> Flags:
        """Which hosts have a series in the month at hand."""
        return np.asarray(~np.isnan(self.now("readings")))

    @cached_property
    def is_lively(self) -> Flags:
        """Which hosts have readings that vary in the month at hand."""
        return np.asarray(self.now("distinct_values") >= _LIVELY)

    @cached_property
    def rich(self) -> Flags:
        """By month and host, which series are long and varied enough to be alike by copying only."""
        return np.asarray((self.figures["distinct_values"] >= RICH) & (self.figures["readings"] >= RICH))

    @cached_property
    def is_rounded(self) -> bool:
        """Whether most of the hosts have fewer decimals than they had: equal values then are the rounding's."""
        fit = (self.usual("decimals") > 0) & (self.now("distinct_values") > 1)
        fewer = fit & (self.now("decimals") < self.usual("decimals"))
        lost = (
            fit
            & (self.usual("distinct_values") >= RICH)
            & (self.now("distinct_values") * 2 < self.usual("distinct_values"))
        )
        half_lost = fewer.sum() > fit.sum() / 2 and lost.sum() >= fewer.sum() / 2
        return bool(half_lost or fewer.sum() > _ALMOST_ALL * fit.sum())

    @cached_property
    def step(self) -> Floats:
        """One of the last decimal that the host's readings have in the month at hand."""
        return np.asarray(10.0 ** -self.now("decimals"))

    @cached_property
    def is_fine(self) -> Flags:
        """Which hosts have readings so far apart, for their decimals, that equal extremes are no chance."""
        width = self.now("max_y") - self.now("min_y")
        return np.asarray(width >= _FINE_STEPS * self.step)


@dataclass(frozen=True, eq=False)
class Evidence:
    """A month beside the months before it.

    Attributes:
        month: The month at hand.
        earlier: The published months before it that are read, in order.
        series: The series by resource.
        hosts_in_all: Hosts of the month, of which `series` may hold a sample.
        settings: How they are judged.
        copies: What month_is_new found by digest among all published months, later ones, too.
        summed_up_otherwise: Earlier months that an older version published, which lack some of the figures.
        other_months: How many published months there are beside it, earlier and later, of which digests are compared.
        has_days: Whether anything is known of the month's days; a look at the published table knows nothing.
        copied_by: Months that were found for certain to repeat a resource of this one, and the resource here: it is not
            blamed for what it has in common with them.
    """

    month: Month
    earlier: Sequence[Month]
    series: Mapping[str, ResourceSeries]
    hosts_in_all: int
    settings: PlausibilitySettings
    copies: Sequence[Copies] = ()
    summed_up_otherwise: Sequence[Month] = field(default=())
    other_months: int = 0
    has_days: bool = True
    copied_by: Collection[tuple[str, str]] = ()

    def judged_by(self, check: str) -> Iterator[ResourceSeries]:
        """The resources that a check looks at, those without a series in the month left out."""
        for resource, series in self.series.items():
            if self.settings.is_for(check, resource) and series.is_there.any():
                yield series

    @property
    def before(self) -> str:
        """The months that are compared with, in words."""
        return in_words(self.earlier) if self.earlier else "no earlier month"

    @property
    def missing_before(self) -> Month | None:
        """The month before, where there are earlier ones and it is none of them."""
        previous = self.month.previous
        return previous if self.earlier and self.earlier[-1] != previous else None

    def with_past(self, check: str) -> int:
        """How many series a check can hold against earlier months."""
        return sum(int((series.is_there & series.has_past).sum()) for series in self.judged_by(check))

    @cached_property
    def is_short(self) -> bool:
        """Whether the month has too few days yet for levels, stillness and precision to be judged."""
        readings = [series.now("readings") for series in self.series.values()]
        most = max((float(np.nanmax(each)) for each in readings if not np.isnan(each).all()), default=0.0)
        return most < self.settings.least_days


def in_words(months: Sequence[Month]) -> str:
    """Months in order, by the first and the last."""
    return str(months[0]) if len(months) == 1 else f"{months[0]} to {months[-1]}"


@dataclass(frozen=True, eq=False)
class Layout:
    """Rows of `series_months` laid out once, for the evidence of several months.

    Attributes:
        months: The months, in order.
        resources: The resources.
        hosts: The hosts.
        figures: Arrays by month, resource and host, by column of `series_months`.
        summed_up_otherwise: Months that an older version published.
    """

    months: Sequence[Month]
    resources: Sequence[str]
    hosts: NDArray[np.str_]
    figures: Mapping[str, Floats]
    summed_up_otherwise: frozenset[Month]

    def evidence(  # noqa: PLR0913 - one argument for each source
        self,
        month: Month,
        settings: PlausibilitySettings,
        *,
        days: Mapping[str, Sequence[DayFacts]] | None = None,
        copies: Sequence[Copies] = (),
        without: Collection[Month] = (),
        hosts_in_all: int = 0,
        other_months: int = 0,
        copied_by: Collection[tuple[str, str]] = (),
    ) -> Evidence:
        """The evidence of one of the months.

        Args:
            month: The month at hand.
            settings: How it is judged.
            days: What its days have in common, by resource; None: that is not known.
            copies: See `Evidence`.
            without: Months that are not compared with, as they are refused.
            hosts_in_all: See `Evidence`; as many as there are here, where that is more.
            other_months: See `Evidence`; as many as are read, where that is more.
            copied_by: See `Evidence`.
        """
        before = [at for at, each in enumerate(self.months) if each < month and each not in without]
        before = before[-settings.earlier_months :]
        earlier = [self.months[at] for at in before]
        rows = [*before, self.months.index(month)]
        # Months that follow one another, as they mostly do, need not be copied.
        chosen: slice | list[int] = slice(rows[0], rows[-1] + 1) if rows[-1] - rows[0] + 1 == len(rows) else rows
        series = {
            resource: ResourceSeries(
                resource,
                self.hosts,
                month,
                earlier,
                {name: cube[chosen, number] for name, cube in self.figures.items()},
                tuple((days or {}).get(resource, ())),
            )
            for number, resource in enumerate(self.resources)
        }
        there = max((int(each.is_there.sum()) for each in series.values()), default=0)
        older = [each for each in earlier if each in self.summed_up_otherwise]
        return Evidence(
            month,
            earlier,
            series,
            max(hosts_in_all, there),
            settings,
            copies,
            older,
            max(other_months, len(earlier)),
            days is not None,
            copied_by,
        )


def lay_out(rows: pl.DataFrame) -> Layout:
    """Lay out rows of `series_months`.

    Args:
        rows: `month` (as text), `resource`, `host_id` and `FIGURES`.
    """
    months = rows["month"].unique().sort().to_list()
    resources = rows["resource"].unique().sort().to_list()
    hosts = rows["host_id"].unique().sort()
    at = rows.select(
        pl.col("month").cast(pl.Enum(months)).to_physical(),
        pl.col("resource").cast(pl.Enum(resources)).to_physical(),
        pl.col("host_id").cast(pl.Enum(hosts)).to_physical(),
    )
    places = tuple(at[name].to_numpy() for name in ("month", "resource", "host_id"))
    names = hosts.to_numpy().astype(np.str_) if len(hosts) else np.array([], dtype=np.str_)
    columns = {name: rows[name].cast(pl.Float64).to_numpy() for name in FIGURES}
    return make_layout([Month.parse(key) for key in months], resources, names, places, columns)


def make_layout(
    months: Sequence[Month],
    resources: Sequence[str],
    hosts: NDArray[np.str_],
    places: tuple[NDArray[np.integer[Any]], ...],
    columns: Mapping[str, Floats],
) -> Layout:
    """Lay out columns of `series_months`.

    Args:
        months: The months, in order.
        resources: The resources.
        hosts: The hosts.
        places: Of each row its place among months, resources and hosts.
        columns: `FIGURES`, a number for each row; NaN for null.
    """
    shape = (len(months), len(resources), len(hosts))
    figures = {}
    for name in FIGURES:
        cube = np.full(shape, np.nan)
        cube[places] = columns[name]
        figures[name] = cube
    # A month of an older version has means and no medians; the one stands for the other well enough.
    unknown = np.isnan(figures["median_y"])
    figures["median_y"] = np.where(unknown, figures["mean_y"], figures["median_y"])
    has_no_parts = np.all([np.isnan(figures[part]) for part in PART_DIGESTS], axis=0)
    lacks_parts = has_no_parts & (figures["distinct_values"] > _MOST_VALUES_WITHOUT_PARTS)
    is_older = ((unknown & ~np.isnan(figures["mean_y"])) | lacks_parts).any(axis=(1, 2))
    older = frozenset(month for month, lacks in zip(months, is_older, strict=True) if lacks)
    return Layout(months, resources, hosts, figures, older)


def medians(values: Floats, axis: int = 0) -> Floats:
    """The medians along an axis of what is known; NaN where nothing is. Many times as fast as `np.nanmedian`."""
    in_order = np.sort(values, axis=axis)
    known = (~np.isnan(values)).sum(axis=axis, keepdims=True)
    if not in_order.shape[axis]:
        return np.full(np.delete(values.shape, axis), np.nan)
    low, high = (np.take_along_axis(in_order, np.maximum(at, 0), axis) for at in ((known - 1) // 2, known // 2))
    return np.asarray(np.where(known > 0, (low + high) / 2, np.nan).squeeze(axis))
