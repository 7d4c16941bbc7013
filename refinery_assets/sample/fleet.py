"""A made-up fleet: its hosts, how each behaves, and what each resource reads on any day.

Here: the inventory and the curves, as arrays; every random draw that a clean reading depends on.
Not here: files and the command line (`feed.py`), faulty rows (`dirt.py`), and when hosts come and go (`life.py`).

A reading is a sum of plain parts, the same for every behavior; a behavior is a set of ranges
(`_SHAPES`) from which each host draws its own numbers. The parts that a host's four resources share
are its *driver*: base, growth over the fleet's life, yearly season, weekly rhythm, slow wobble,
bursts and daily noise. A resource follows the driver with its own gain, offset and small noise.

Hosts come and go, and some get more of a resource (`life.py`): what they use stays, so what they read is halved.

Growth spans the fleet's life, so a month's readings depend on the fleet's hosts, first and last month
and seed; they do not depend on which other months are made, nor in which order.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from enum import IntEnum
from functools import cached_property
from typing import TypeAlias

import numpy as np
import polars as pl
from numpy.typing import NDArray

from refinery_assets.contract.columns import HOSTS
from refinery_assets.contract.families import UTILIZATION_CEILING_PERCENT, Family
from refinery_assets.contract.months import Month
from refinery_assets.contract.packaged import BEHAVIORS, FAMILIES
from refinery_assets.sample.life import ALWAYS, Lives, Turnover

Floats: TypeAlias = NDArray[np.float64]
Integers: TypeAlias = NDArray[np.int64]
Range: TypeAlias = tuple[float, float]

_DAYS_PER_YEAR = 365.25
_LONGEST_BURST_DAYS = 7
_DAYS_BETWEEN_BURSTS = 25
_BURST_FADE = 0.3  # share of its size that a burst loses from its first day to its end
_OWN_NOISE = 0.5  # of a resource, as a share of the noise that a host's resources have in common
_WEEK = np.array([0.4, 0.7, 0.6, 0.5, 0.1, -1.1, -1.2])  # Monday first; sums to 0, so the mean stays

_REGIONS = ("eu-central-1", "eu-west-1", "us-east-1", "us-west-2", "ap-southeast-1")
_DEPARTMENTS = ("Finance", "Retail Banking", "Risk", "Logistics", "Human Resources", "Data Platform")
_CLASSIFICATIONS = {"production": 0.55, "staging": 0.15, "development": 0.2, "disaster-recovery": 0.1}
_SERVER_TYPES: dict[str, tuple[float, tuple[int, ...]]] = {  # share of the fleet, sizes in cores
    "virtual": (0.6, (2, 4, 8, 16)),
    "physical": (0.25, (16, 32, 64, 128)),
    "container-host": (0.15, (16, 32, 64)),
}
_MEMORY_GB_PER_CORE = (2, 4, 8)
_STORAGE_GB = (128, 256, 512, 1024, 2048, 4096)
_MB_PER_GB = 1024
_LINK_MBPS = (1000, 10000)
_SHARE_WITH_KNOWN_LINK = 0.1  # the export mostly leaves the network's capacity empty


class Draw(IntEnum):
    """What a stream of random numbers is for; keeps streams of one seed apart."""

    INVENTORY = 1
    TRAITS = 2
    BURSTS = 3
    READINGS = 4
    DIRT = 5
    LIVES = 6
    PAUSES = 7


def random_stream(seed: int, draw: Draw, *which: int) -> np.random.Generator:
    """The random numbers for one purpose: the same for the same arguments."""
    return np.random.default_rng([seed, draw, *which])


@dataclass(frozen=True)
class _Shape:
    """The ranges, in percent unless said otherwise, from which the hosts of one behavior draw."""

    base: Range
    rise: Range = (0.0, 0.0)  # growth over the life
    steepness: Range = (0.01, 0.01)  # growth is expm1(steepness * life): as good as linear at 0.01
    full_at: Range = (1.0, 1.0)  # share of the life at which the growth is complete; flat from there
    season: Range = (0.0, 0.0)
    weekly: Range = (0.0, 0.0)
    wobble: Range = (0.0, 0.0)
    burst: Range = (0.0, 0.0)
    noise: Range = (1.0, 1.5)


_SHAPES = {
    ("STEADY_GROWTH", "NORMAL"): _Shape((20, 32), rise=(12, 22), weekly=(1.5, 3)),
    ("STEADY_GROWTH", "BREACH"): _Shape((36, 46), rise=(54, 62), weekly=(1.5, 3)),
    ("SEASONAL", "BALANCED"): _Shape((38, 48), season=(10, 14), weekly=(3, 5)),
    ("SEASONAL", "EXTREME"): _Shape((46, 52), season=(34, 40), weekly=(2, 4)),
    ("BURST", "MODERATE"): _Shape((16, 24), burst=(20, 34), weekly=(0.8, 1.6)),
    ("BURST", "EXTREME"): _Shape((10, 18), burst=(62, 82), weekly=(0.8, 1.6)),
    ("LOW_IDLE", "STABLE"): _Shape((2, 5), noise=(0.12, 0.25)),
    ("LOW_IDLE", "VARIABLE"): _Shape((5, 8), wobble=(2, 4), noise=(0.5, 0.9)),
    ("CAPACITY_BREACH", "IMMINENT"): _Shape((14, 20), rise=(82, 86), steepness=(4, 5), weekly=(0.8, 1.6)),
    ("CAPACITY_BREACH", "SEVERE"): _Shape(
        (15, 25), rise=(92, 98), steepness=(4, 5), full_at=(0.55, 0.7), weekly=(0.8, 1.6)
    ),
}


@dataclass(frozen=True)
class _Traits:
    """One number per host for each field of `_Shape`, and where the host stands in year and wobble."""

    base: Floats
    rise: Floats
    steepness: Floats
    full_at: Floats
    season: Floats
    weekly: Floats
    wobble: Floats
    burst: Floats
    noise: Floats
    peak_day: Floats
    wobble_days: Floats
    gain: Floats  # resources x hosts
    offset: Floats  # resources x hosts


@dataclass(frozen=True)
class _Bursts:
    """One entry per burst: the host's index, the first day of the life, length in days, size in percent."""

    host: Integers
    start: Integers
    length: Integers
    size: Floats


@dataclass(frozen=True)
class Fleet:
    """A fleet of hosts with ten behaviors, from the first to the last month of its life.

    Attributes:
        inventory: One row per host, sorted by name; the columns of `hosts` that say nothing of time.
        first: The first month of the fleet's life.
        last: The last month of the fleet's life.
        seed: What every random draw starts from.
        turnover: How much of it changes; None: as usual.
    """

    inventory: pl.DataFrame
    first: Month
    last: Month
    seed: int
    turnover: Turnover | None = None

    @classmethod
    def make(cls, *, hosts: int, first: Month, last: Month, seed: int, turnover: Turnover | None = None) -> Fleet:
        """Draw a fleet, its hosts spread evenly over the ten behaviors.

        Raises:
            ValueError: Fewer hosts than behaviors, `last` before `first`, or a negative seed.
        """
        if hosts < len(BEHAVIORS):
            raise ValueError(
                f"a fleet of {hosts} hosts is too small: at least {len(BEHAVIORS)} are needed, "
                "because each of the ten behaviors must have a host"
            )
        if last < first:
            raise ValueError(f"the last month, {last}, lies before the first, {first}")
        if seed < 0:
            raise ValueError(f"the seed is {seed}; expected 0 or more")
        return cls(_make_inventory(hosts, seed), first, last, seed, turnover)

    @property
    def hosts(self) -> int:
        """How many hosts the fleet has."""
        return self.inventory.height

    @cached_property
    def lives(self) -> Lives:
        """When hosts come and go, and are upgraded."""
        return Lives.draw(self._behavior, self.first, self.last, self.turnover, random_stream(self.seed, Draw.LIVES))

    @property
    def hosts_table(self) -> pl.DataFrame:
        """One row per host and period; the columns of `hosts`."""
        rows = [(at, *period) for at in range(self.hosts) for period in self.lives.periods.get(at, [ALWAYS])]
        place, *days = zip(*rows, strict=True)
        period = {name: pl.Series(days[at], dtype=pl.Date) for at, name in enumerate(("valid_from", "valid_to"))}
        return self.inventory[list(place)].with_columns(**period)

    @property
    def rows(self) -> int:
        """How many rows its feed has without dirt."""
        return len(FAMILIES) * sum(int(self.lives.are_there(month, self.hosts).sum()) for month in self.months)

    @property
    def months(self) -> list[Month]:
        """Every month of the fleet's life, in order."""
        return list(Month.span(self.first, self.last))

    def readings(self, month: Month) -> Floats:
        """The p95 utilization in percent, 0 to 100, as resources (in FAMILIES' order) x days x hosts.

        Of days on which a host is not there, what it would read.
        """
        random = random_stream(self.seed, Draw.READINGS, month.year, month.month)
        traits = self._traits
        driver = self._driver(month, random)
        readings = np.empty((len(FAMILIES), *driver.shape))
        for resource in range(len(FAMILIES)):
            own_noise = random.standard_normal(driver.shape) * (_OWN_NOISE * traits.noise)
            readings[resource] = traits.gain[resource] * driver + traits.offset[resource] + own_noise
        readings.clip(0.0, UTILIZATION_CEILING_PERCENT, out=readings)
        for host, upgrade in self.lives.upgrades.items():
            readings[upgrade.resource, [day >= upgrade.day for day in month.days], host] /= 2
        return readings

    def capacities(self, family: Family) -> list[int | None]:
        """The physical limit that the feed states for each host, in the family's unit; None: left empty.

        Before an upgrade it states half of it.
        """
        if family.resource == "network":
            random = random_stream(self.seed, Draw.INVENTORY, FAMILIES.index(family))
            known = random.random(self.hosts) < _SHARE_WITH_KNOWN_LINK
            links = random.choice(_LINK_MBPS, self.hosts)
            return [int(link) if is_known else None for link, is_known in zip(links, known, strict=True)]
        columns = {"cpu": "cpu_cores", "memory": "memory_gb", "disk": "storage_capacity_mb"}
        return self.inventory[columns[family.resource]].to_list()

    @cached_property
    def _behavior(self) -> Integers:
        """Each host's index in BEHAVIORS."""
        indexes = {(behavior.scenario, behavior.variant): i for i, behavior in enumerate(BEHAVIORS)}
        return np.array([indexes[pair] for pair in self.inventory.select("scenario", "variant").iter_rows()])

    def _draw_within(self, random: np.random.Generator, field: str, behavior: Integers) -> Floats:
        """A number for each entry of `behavior`, from the behavior's range of this field."""
        ranges = [getattr(_SHAPES[behavior.scenario, behavior.variant], field) for behavior in BEHAVIORS]
        low, high = np.array(ranges).T
        drawn: Floats = random.uniform(low[behavior], high[behavior])
        return drawn

    @cached_property
    def _traits(self) -> _Traits:
        random = random_stream(self.seed, Draw.TRAITS)
        drawn = {field.name: self._draw_within(random, field.name, self._behavior) for field in fields(_Shape)}
        per_resource = (len(FAMILIES), self.hosts)
        return _Traits(
            **drawn,
            peak_day=random.normal(340.0, 20.0, self.hosts),  # most businesses peak late in the year
            wobble_days=random.uniform(9.0, 23.0, self.hosts),
            gain=random.uniform(0.96, 1.06, per_resource),
            # In proportion to the base, so that an idle host stays idle in all resources.
            offset=drawn["base"] * random.uniform(-0.1, 0.1, per_resource),
        )

    @cached_property
    def _bursts(self) -> _Bursts:
        """All bursts of the fleet's life at once, so that one that crosses a month's end goes on."""
        random = random_stream(self.seed, Draw.BURSTS)
        life_days = (self.last.last_day - self.first.first_day).days + 1
        counts = random.poisson(life_days / _DAYS_BETWEEN_BURSTS, self.hosts)
        counts[self._traits.burst == 0.0] = 0
        host = np.repeat(np.arange(self.hosts), counts)
        return _Bursts(
            host=host,
            start=random.integers(0, life_days, host.size),
            length=random.integers(2, _LONGEST_BURST_DAYS, host.size, endpoint=True),
            size=self._draw_within(random, "burst", self._behavior[host]),
        )

    def _driver(self, month: Month, random: np.random.Generator) -> Floats:
        """What the four resources of a host have in common, in percent and not yet bounded: days x hosts."""
        traits = self._traits
        days = month.days
        age = np.array([(day - self.first.first_day).days for day in days])[:, None]
        last_age = (self.last.last_day - self.first.first_day).days
        day_of_year = np.array([day.timetuple().tm_yday for day in days])[:, None]
        weekday = np.array([day.weekday() for day in days])

        grown = np.minimum(age / (last_age * traits.full_at), 1.0)
        growth = traits.rise * np.expm1(traits.steepness * grown) / np.expm1(traits.steepness)
        season = traits.season * np.cos(2 * np.pi * (day_of_year - traits.peak_day) / _DAYS_PER_YEAR)
        weekly = traits.weekly * _WEEK[weekday][:, None]
        wobble = traits.wobble * np.sin(2 * np.pi * (age + traits.peak_day) / traits.wobble_days)
        noise = traits.noise * random.standard_normal((len(days), self.hosts))
        driver: Floats = traits.base + growth + season + weekly + wobble + self._burst_load(month) + noise
        return driver

    def _burst_load(self, month: Month) -> Floats:
        """The bursts' part of the driver: days x hosts; where bursts overlap, the greater counts."""
        bursts = self._bursts
        first_age = (month.first_day - self.first.first_day).days
        days = len(month.days)
        load = np.zeros((days, self.hosts))
        for burst_age in range(_LONGEST_BURST_DAYS):
            day = bursts.start + burst_age - first_age
            here = (day >= 0) & (day < days) & (burst_age < bursts.length)
            size = bursts.size[here] * (1.0 - _BURST_FADE * burst_age / bursts.length[here])
            np.maximum.at(load, (day[here], bursts.host[here]), size)
        return load


def host_names(hosts: int) -> list[str]:
    """The names of a fleet's hosts, such as `srv-00017`; as text they sort in the same order."""
    width = max(5, len(str(hosts)))
    return [f"srv-{number:0{width}d}" for number in range(1, hosts + 1)]


def _make_inventory(hosts: int, seed: int) -> pl.DataFrame:
    random = random_stream(seed, Draw.INVENTORY)
    behavior = random.permutation(np.arange(hosts) % len(BEHAVIORS))
    types = list(_SERVER_TYPES)
    server_type = random.choice(len(types), hosts, p=[share for share, _ in _SERVER_TYPES.values()])
    cores = np.choose(server_type, [random.choice(sizes, hosts) for _, sizes in _SERVER_TYPES.values()])
    columns = {
        "node_name": host_names(hosts),
        "classification": random.choice(list(_CLASSIFICATIONS), hosts, p=list(_CLASSIFICATIONS.values())),
        "server_type": [types[kind] for kind in server_type],
        "region": random.choice(_REGIONS, hosts),
        "cpu_cores": cores,
        "memory_gb": cores * random.choice(_MEMORY_GB_PER_CORE, hosts),
        "storage_capacity_mb": random.choice(_STORAGE_GB, hosts) * _MB_PER_GB,
        "department": random.choice(_DEPARTMENTS, hosts),
        "scenario": [BEHAVIORS[index].scenario for index in behavior],
        "variant": [BEHAVIORS[index].variant for index in behavior],
    }
    return pl.DataFrame(columns).select(column.name for column in HOSTS.columns if column.name in columns)
