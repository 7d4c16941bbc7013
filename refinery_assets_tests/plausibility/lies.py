"""Plausible lies: months in which every row is well-formed and the whole is false.

Each lie is told to a share of the hosts (or of the month's days), its strength; 1 is the whole. Here: the lies and the
check that must speak first. Not here: the fleets, and what the checks say.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from refinery_assets_tests.plausibility.fleets import FleetMonth, Floats
from refinery_assets_tests.plausibility.judging import QUARANTINE

NEW, DISTINCT, UNITS = "month_is_new", "families_distinct", "units_plausible"
PLACES, SENSORS, PRECISION, LEVELS = "hosts_in_place", "sensors_alive", "precision_kept", "levels_plausible"

CPU, MEMORY, DISK, NETWORK = range(4)
ALL = slice(None)


@dataclass(frozen=True, eq=False)
class Told:
    """What a lie is made of.

    Attributes:
        month: The true month.
        earlier: The months before it, the last one last; at least one.
        hosts: The places of the hosts that are lied about.
        strength: The share that they are.
        random: Random numbers.
    """

    month: FleetMonth
    earlier: Sequence[FleetMonth]
    hosts: NDArray[np.intp]
    strength: float
    random: np.random.Generator

    @property
    def y(self) -> Floats:
        """The true readings, free to be changed."""
        return self.month.y.copy()

    def before(self, back: int = 1) -> Floats:
        """The readings of an earlier month, for the hosts and days of this one; NaN where it has none."""
        there = self.earlier[-min(back, len(self.earlier))]
        _, days, _ = self.month.y.shape
        found = np.full(self.month.y.shape, np.nan)
        place = {name: at for at, name in enumerate(there.hosts)}
        # A longer month needs days that the shorter one does not have: it begins anew.
        source = np.arange(days) % there.y.shape[1]
        for at, name in enumerate(self.month.hosts):
            if name in place:
                found[:, :, at] = there.y[:, source, place[name]]
        return found

    def with_y(self, y: Floats, *, decimals: int | None = None) -> FleetMonth:
        """The month with other readings, as it is written down."""
        digits = self.month.decimals if decimals is None else decimals
        return replace(self.month, y=np.round(y, digits), decimals=digits)


Tell = Callable[[Told], FleetMonth]


@dataclass(frozen=True)
class Lie:
    """A lie: what it is called, who must speak first, and how it is told."""

    name: str
    checks: tuple[str, ...]
    tell: Tell


def _on_y(change: Callable[[Told, Floats], Floats], resources: slice | int = ALL, decimals: int | None = None) -> Tell:
    """A lie about the readings of the hosts that are lied about, of some resources."""

    def tell(told: Told) -> FleetMonth:
        y = told.y
        chosen = slice(resources, resources + 1) if isinstance(resources, int) else resources
        y[chosen, :, told.hosts] = change(told, told.y)[chosen, :, told.hosts]
        return told.with_y(y, decimals=decimals)

    return tell


def _times(factor: float) -> Callable[[Told, Floats], Floats]:
    return lambda _told, y: y * factor


def _on_capacity(change: Callable[[Told, Floats], Floats], resource: int) -> Tell:
    def tell(told: Told) -> FleetMonth:
        capacity = told.month.capacity.copy()
        capacity[resource][:, told.hosts] = change(told, told.month.capacity)[resource][:, told.hosts]
        return replace(told.month, capacity=capacity)

    return tell


def _exchanged_with_capacity(resource: int) -> Tell:
    def tell(told: Told) -> FleetMonth:
        y, capacity = told.y, told.month.capacity.copy()
        y[resource][:, told.hosts] = told.month.capacity[resource][:, told.hosts]
        capacity[resource][:, told.hosts] = told.month.y[resource][:, told.hosts]
        return replace(told.with_y(y), capacity=capacity)

    return tell


def _first_days(factor: float) -> Callable[[Told, Floats], Floats]:
    def change(told: Told, y: Floats) -> Floats:
        y[:, : round(15 * told.strength)] *= factor
        return y

    return change


def _wholly(change: Callable[[Told, Floats], Floats], resources: slice | int = ALL) -> Tell:
    """A lie about all hosts, whose strength is another: a share of the days, or how far it goes."""
    tell = _on_y(change, resources)
    return lambda told: tell(replace(told, hosts=np.arange(len(told.month.hosts))))


def _copied_days(first: int, source: int, length: int) -> Callable[[Told, Floats], Floats]:
    def change(_told: Told, y: Floats) -> Floats:
        length_there = min(length, y.shape[1] - first, y.shape[1] - source)
        y[:, first : first + length_there] = y[:, source : source + length_there].copy()
        return y

    return change


def _second_half_of_before(told: Told, y: Floats) -> Floats:
    y[:, 14:] = told.before()[:, 14:]
    return y


def _days_shuffled(told: Told, _y: Floats) -> Floats:
    before = told.before()
    return before[:, told.random.permutation(before.shape[1])]


def _hosts_shuffled(told: Told, y: Floats) -> Floats:
    there = told.random.permutation(told.hosts)
    y[:, :, told.hosts] = y[:, :, there]
    return y


def _hosts_shifted(told: Told, y: Floats) -> Floats:
    y[:, :, told.hosts] = y[:, :, np.roll(told.hosts, 1)]
    return y


def _rows_shuffled(told: Told) -> FleetMonth:
    """Values and limits together under other names."""
    there = told.random.permutation(told.hosts)
    y, capacity = told.y, told.month.capacity.copy()
    y[:, :, told.hosts] = told.month.y[:, :, there]
    capacity[:, :, told.hosts] = told.month.capacity[:, :, there]
    return replace(told.with_y(y), capacity=capacity)


def _sorted_downwards(told: Told, y: Floats) -> Floats:
    order = np.argsort(np.nanmedian(y[CPU], axis=0)[told.hosts])
    y[:, :, told.hosts[order]] = y[:, :, told.hosts[order[::-1]]].copy()
    return y


def _pasted(told: Told, y: Floats) -> Floats:
    source = int(np.nanargmax(np.nanstd(y[CPU], axis=0)))
    y[:, :, told.hosts] = y[:, :, [source]]
    return y


def _of_resource(resource: int) -> Callable[[Told, Floats], Floats]:
    return lambda _told, y: np.broadcast_to(y[resource : resource + 1], y.shape)


def _exchanged(one: int, other: int, *, with_capacity: bool) -> Tell:
    def tell(told: Told) -> FleetMonth:
        y, capacity = told.y, told.month.capacity.copy()
        for here, there in ((one, other), (other, one)):
            y[here][:, told.hosts] = told.month.y[there][:, told.hosts]
            if with_capacity:
                capacity[here][:, told.hosts] = told.month.capacity[there][:, told.hosts]
        return replace(told.with_y(y), capacity=capacity)

    return tell


def _frozen_from(day: int, until: int = 31) -> Callable[[Told, Floats], Floats]:
    def change(_told: Told, y: Floats) -> Floats:
        y[:, day:until] = y[:, day : day + 1]
        return y

    return change


def _value_on(value: float, day: int = 0, until: int = 31) -> Callable[[Told, Floats], Floats]:
    def change(_told: Told, y: Floats) -> Floats:
        y[:, day:until] = value
        return y

    return change


def _mean_of_the_day(_told: Told, y: Floats) -> Floats:
    return np.broadcast_to(np.nanmean(y, axis=2, keepdims=True), y.shape)


def _to(step: float) -> Callable[[Told, Floats], Floats]:
    return lambda _told, y: np.round(y / step) * step


def _smoothed(_told: Told, y: Floats) -> Floats:
    days = y.shape[1]
    return np.stack([np.nanmean(y[:, max(0, day - 5) : day + 6], axis=1) for day in range(days)], axis=1)


def _noisier(told: Told, y: Floats) -> Floats:
    middle = np.nanmedian(y, axis=1, keepdims=True)
    wide = middle + (y - middle) * 4.0 + told.random.normal(0, 2.0, y.shape)
    return np.clip(wide, 0, 100)


def _to_the_mean(_told: Told, y: Floats) -> Floats:
    level = np.nanmedian(y, axis=1, keepdims=True)
    return np.clip(y - level + np.nanmean(level), 0, 100)


def _copy(back: int = 1) -> Callable[[Told, Floats], Floats]:
    return lambda told, _y: told.before(back)


LIES = (
    Lie("CPU as fractions", (UNITS,), _on_y(_times(0.01), CPU)),
    Lie("CPU as fractions with four decimals", (UNITS,), _on_y(_times(0.01), CPU, decimals=4)),
    Lie("all resources as fractions with four decimals", (UNITS,), _on_y(_times(0.01), decimals=4)),
    Lie("memory as thousandths", (UNITS,), _on_y(_times(0.001), MEMORY, decimals=4)),
    Lie("memory a tenth of what it is", (UNITS,), _on_y(_times(0.1), MEMORY)),
    Lie("disk a hundredfold", (QUARANTINE, UNITS), _on_y(_times(100.0), DISK)),
    Lie("network in Mbps of a 1,000 Mbps link", (QUARANTINE, UNITS), _on_y(_times(10.0), NETWORK)),
    Lie("network in bytes for bits", (UNITS,), _on_y(_times(0.125), NETWORK)),
    Lie("CPU that is free for CPU that is used", (UNITS,), _on_y(lambda _told, y: 100 - y, CPU)),
    Lie("all that is free for all that is used", (UNITS,), _on_y(lambda _told, y: 100 - y)),
    Lie("fractions on the first days", (UNITS,), _wholly(_first_days(0.01), CPU)),
    Lie("p95 and cores exchanged", (UNITS, QUARANTINE), _exchanged_with_capacity(CPU)),
    Lie("p95 and memory exchanged", (UNITS, QUARANTINE), _exchanged_with_capacity(MEMORY)),
    Lie("disk capacity in GB for MB", (UNITS,), _on_capacity(lambda _told, c: c / 1024, DISK)),
    Lie("memory capacity in MB for GB", (UNITS,), _on_capacity(lambda _told, c: c * 1024, MEMORY)),
    Lie("memory capacity in GiB for GB", (UNITS,), _on_capacity(lambda _told, c: c / 1.073741824, MEMORY)),
    Lie("disk capacity in thousands", (UNITS,), _on_capacity(lambda _told, c: c * 1000, DISK)),
    Lie("all cores doubled", (UNITS,), _on_capacity(lambda _told, c: c * 2, CPU)),
    Lie("cores all 0", (UNITS,), _on_capacity(lambda _told, c: c * 0, CPU)),
    Lie("memory capacity empty", (UNITS,), _on_capacity(lambda _told, c: c * np.nan, MEMORY)),
    Lie("cores where memory belongs", (UNITS,), _on_capacity(lambda _told, c: np.roll(c, 1, axis=0), MEMORY)),
    Lie("last month under new dates", (NEW,), _on_y(_copy())),
    Lie("last month's CPU under new dates", (NEW,), _on_y(_copy(), CPU)),
    Lie("five months ago under new dates", (NEW,), _on_y(_copy(5))),
    Lie("a year ago under new dates", (NEW,), _on_y(_copy(12))),
    Lie("last month moved by two days", (NEW,), _on_y(lambda told, _y: np.roll(told.before(), 2, axis=1))),
    Lie("last month with its days shuffled", (NEW,), _on_y(_days_shuffled)),
    Lie("last month backwards", (NEW,), _on_y(lambda told, _y: told.before()[:, ::-1])),
    Lie("last month and three percent", (NEW,), _on_y(lambda told, _y: np.clip(told.before() * 1.03, 0, 100))),
    Lie(
        "last month and a little noise",
        (NEW,),
        _on_y(lambda told, _y: np.clip(told.before() + told.random.uniform(-0.02, 0.02, told.month.y.shape), 0, 100)),
    ),
    Lie("last month under other hosts", (NEW,), _on_y(lambda told, _y: _hosts_shuffled(told, told.before()))),
    Lie("second half from last month", (NEW,), _on_y(_second_half_of_before)),
    Lie("last month's CPU as memory", (NEW,), _on_y(lambda told, _y: np.roll(told.before(), 1, axis=0), MEMORY)),
    Lie("one day twice", (NEW,), _on_y(_copied_days(19, 9, 1))),
    Lie("a day on the next day again", (NEW,), _on_y(_copied_days(10, 9, 1))),
    Lie("one week twice", (NEW,), _on_y(_copied_days(14, 7, 7))),
    Lie("first half twice", (NEW,), _on_y(_copied_days(14, 0, 14))),
    Lie("memory holding CPU's content", (DISTINCT,), _on_y(_of_resource(CPU), MEMORY)),
    Lie("network holding disk's content", (DISTINCT,), _on_y(_of_resource(DISK), NETWORK)),
    Lie("CPU and memory exchanged", (DISTINCT,), _exchanged(CPU, MEMORY, with_capacity=True)),
    Lie("values of CPU and disk exchanged", (DISTINCT,), _exchanged(CPU, DISK, with_capacity=False)),
    Lie("frozen all month", (SENSORS,), _on_y(_frozen_from(0))),
    Lie("frozen from the middle on", (SENSORS,), _on_y(_frozen_from(14))),
    Lie("frozen on days 8 to 14", (SENSORS,), _on_y(_frozen_from(7, 14))),
    Lie("days 8 to 14 all 42.0", (SENSORS,), _on_y(_value_on(42.0, 7, 14))),
    Lie("nothing on days 10 to 12", (SENSORS,), _on_y(_value_on(0.0, 9, 12))),
    Lie("all 0", (SENSORS,), _on_y(_value_on(0.0))),
    Lie("all 100", (SENSORS,), _on_y(_value_on(100.0))),
    Lie("one constant", (SENSORS,), _on_y(_value_on(37.5), CPU)),
    Lie("all hosts the mean of the day", (PLACES, SENSORS), _on_y(_mean_of_the_day)),
    Lie("one host's readings for all", (PLACES,), _on_y(_pasted)),
    Lie("hosts shuffled", (PLACES,), _on_y(_hosts_shuffled)),
    Lie("hosts shuffled, limits with them", (PLACES,), _rows_shuffled),
    Lie("names off by one row", (PLACES,), _on_y(_hosts_shifted)),
    Lie("busiest for idlest", (PLACES,), _on_y(_sorted_downwards)),
    Lie("rounded to whole percents", (PRECISION,), _on_y(_to(1.0))),
    Lie("rounded to one decimal", (PRECISION,), _on_y(_to(0.1))),
    Lie("rounded to halves", (PRECISION,), _on_y(_to(0.5))),
    Lie("rounded to fives", (PRECISION,), _on_y(_to(5.0))),
    Lie("half as much again", (LEVELS,), _on_y(lambda _told, y: np.clip(y * 1.5, 0, 100))),
    Lie("half of it", (LEVELS,), _on_y(_times(0.5))),
    Lie("twenty points more", (LEVELS,), _on_y(lambda _told, y: np.clip(y + 20, 0, 100))),
    Lie("smoothed", (LEVELS,), _on_y(_smoothed)),
    Lie("four times the noise", (LEVELS,), _on_y(_noisier)),
    Lie("all hosts at the fleet's level", (PLACES, LEVELS), _on_y(_to_the_mean)),
)
