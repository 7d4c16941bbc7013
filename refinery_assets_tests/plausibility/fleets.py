"""Fleets as arrays, month by month, and the rows of `series_months` that they come to.

Here: months of fleets, made up or read from files, and summing them up with the product's own functions. Not here: lies
(`lies.py`) and honest events (`events.py`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from refinery_assets.checks.plausibility.days import DayFacts
from refinery_assets.contract.months import Month
from refinery_assets.contract.packaged import FAMILIES, RESOURCES
from refinery_assets.contract.settings import Settings
from refinery_assets.feed.files import FeedFile
from refinery_assets.rows.alike_days import compare_days
from refinery_assets.rows.family import refine_file
from refinery_assets.rows.grid import Grid, grid_of
from refinery_assets.rows.points import POINTS_PER_DAY
from refinery_assets.rows.series import summarize
from refinery_assets.sample.fleet import Fleet

Floats = NDArray[np.float64]

_NOVEMBER = Month(2022, 11)


@dataclass(frozen=True, eq=False)
class FleetMonth:
    """A month of a fleet as its files state it.

    Attributes:
        month: The month.
        hosts: The hosts' names, sorted.
        y: p95 in percent by resource, day and host; NaN where there is no row.
        capacity: The limit stated in that row; NaN where it is empty.
        decimals: What readings are rounded to.
    """

    month: Month
    hosts: Sequence[str]
    y: Floats
    capacity: Floats
    decimals: int = 2

    def rounded(self) -> FleetMonth:
        """The month as it is written down."""
        return replace(self, y=np.round(self.y, self.decimals))

    @cached_property
    def quarantined_share(self) -> float:
        """The share of rows that are out of range, of the resource that has most."""
        out = (self.y < 0) | (self.y > 100)
        rows = (~np.isnan(self.y)).sum(axis=(1, 2))
        return float(np.max(out.sum(axis=(1, 2)) / np.maximum(rows, 1)))

    @cached_property
    def _grids(self) -> list[Grid]:
        return [
            grid_of(self._rows_of(y, capacity), self.month) for y, capacity in zip(self.y, self.capacity, strict=True)
        ]

    def _rows_of(self, y: Floats, capacity: Floats) -> pl.DataFrame:
        """The publishable rows of one resource."""
        days, places = np.nonzero(~np.isnan(y) & (y >= 0) & (y <= 100))
        # Hosts without any row have no number, as in a file.
        there, host = np.unique(places, return_inverse=True)
        point = (days.astype(np.uint64) + 1) * np.uint64(POINTS_PER_DAY) + host.astype(np.uint64) + np.uint64(1)
        names = np.asarray(self.hosts)[there]
        return pl.DataFrame(
            {
                "point": point,
                "host_id": names[host],
                "y": y[days, places],
                "capacity": pl.Series(capacity[days, places], nan_to_null=True),
                "is_imputed": np.zeros(len(point), dtype=np.bool_),
            },
            schema_overrides={"point": pl.UInt64(), "host_id": pl.String()},
        )

    @cached_property
    def series(self) -> pl.DataFrame:
        """The month's rows of `series_months`."""
        return pl.concat(
            summarize(grid).with_columns(month=pl.lit(str(self.month)), resource=pl.lit(resource))
            for resource, grid in zip(RESOURCES, self._grids, strict=True)
        )

    @cached_property
    def days(self) -> Mapping[str, Sequence[DayFacts]]:
        """What the days of the month have in common, by resource."""
        return {resource: compare_days(grid) for resource, grid in zip(RESOURCES, self._grids, strict=True)}


def sample_months(hosts: int, seed: int, months: int = 30, first: Month = _NOVEMBER) -> list[FleetMonth]:
    """Months of the sample fleet; of fewer hosts than behaviors, the first ones of a fleet that is large enough."""
    last = first
    for _ in range(months - 1):
        last = last.next
    fleet = Fleet.make(hosts=max(hosts, 10), first=first, last=last, seed=seed)
    limits = np.array([[np.nan if each is None else each for each in fleet.capacities(family)] for family in FAMILIES])
    names = fleet.inventory["node_name"].to_list()[:hosts]
    return [
        FleetMonth(
            month,
            names,
            y := fleet.readings(month)[:, :, :hosts],
            np.broadcast_to(limits[:, None, :hosts].astype(np.float64), y.shape).copy(),
        ).rounded()
        for month in fleet.months
    ]


def restless_months(hosts: int, seed: int, months: int = 24, first: Month = _NOVEMBER) -> list[FleetMonth]:
    """Months of a fleet without rhythm: levels of all sizes that wander, jump and burst, as in a hosting centre."""
    random = np.random.default_rng([seed, hosts])
    shape = (len(RESOURCES), hosts)
    level = random.normal(1.0, 1.3, shape)
    noise = random.uniform(0.1, 0.8, shape)
    limits = random.choice([2.0, 4.0, 8.0, 16.0, 64.0], shape)
    names = [f"vm-{number:04d}" for number in range(hosts)]
    found = []
    month = first
    for _ in range(months):
        level = level + random.normal(0, 0.15, shape)
        jumps = random.random(shape) < 0.04
        level[jumps] = random.normal(1.0, 1.3, int(jumps.sum()))
        drawn = level[:, None] + noise[:, None] * random.standard_normal((shape[0], len(month.days), hosts))
        y = np.clip(np.exp(drawn), 0, 100)
        y[random.random(y.shape) < 0.01] = np.nan
        found.append(
            FleetMonth(month, names, y, np.broadcast_to(limits[:, None], y.shape).copy(), decimals=4).rounded()
        )
        month = month.next
    return found


def months_of_feed(feed: Path, months: Sequence[Month]) -> list[FleetMonth]:
    """Months read from files as a run reads them, readings up to 120 taken as 100; what is quarantined is left out."""
    settings = Settings(feed=feed, overshoot=20.0)
    found = []
    for month in months:
        frames = [refine_file(FeedFile(feed, family, month), settings).partition for family in FAMILIES]
        rows = [frame.filter(pl.col("fault").is_null() & ~pl.col("is_imputed")) for frame in frames]
        hosts = sorted(set().union(*(frame["host_id"].unique().to_list() for frame in rows)))
        shape = (len(FAMILIES), len(month.days), len(hosts))
        y, capacity = np.full(shape, np.nan), np.full(shape, np.nan)
        for number, frame in enumerate(rows):
            days = frame["ds"].dt.day().to_numpy().astype(np.intp) - 1
            places = np.searchsorted(np.asarray(hosts), frame["host_id"].to_numpy().astype(np.str_))
            y[number, days, places] = frame["y"].to_numpy()
            capacity[number, days, places] = frame["capacity"].fill_null(np.nan).to_numpy()
        found.append(FleetMonth(month, hosts, y, capacity, decimals=4))
    return found


def with_hosts(months: Sequence[FleetMonth], hosts: Sequence[str]) -> list[FleetMonth]:
    """The months with these hosts only."""
    chosen = []
    for each in months:
        places = [place for place, name in enumerate(each.hosts) if name in set(hosts)]
        chosen.append(
            replace(
                each,
                hosts=[each.hosts[at] for at in places],
                y=each.y[:, :, places],
                capacity=each.capacity[:, :, places],
            )
        )
    return chosen
