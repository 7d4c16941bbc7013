"""When the hosts of a made-up fleet come and go, and which get more of a resource on the way.

Here: who, and on which day. Not here: what a host reads (`fleet.py`).

The first host of each behavior is there all the time and stays as it is, so that no behavior is ever without a host; a
fleet that is small or short has no such events at all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from refinery_assets.contract.months import Month

Days: TypeAlias = NDArray[np.bool_]
"""Days x hosts."""

# Every so manieth host that goes comes back, after so many days.
_BACK_EVERY, _DAYS_AWAY = 3, (30, 120)
_DAYS_PER_YEAR = 365.25
_RESOURCES_TO_UPGRADE = 3

Period = tuple[date | None, date | None]
"""The first day on which a host counts, and the first on which it no longer counts; None: open."""
ALWAYS: Period = (None, None)


@dataclass(frozen=True)
class Turnover:
    """To which shares of the hosts something happens in the fleet's life."""

    born: float
    retired: float
    upgraded: float

    @classmethod
    def usual(cls, days: int) -> Turnover:
        """That of a calm fleet, by the length of its life."""
        years = days / _DAYS_PER_YEAR
        return cls(born=0.012 * years, retired=0.012 * years, upgraded=0.02 * years)


@dataclass(frozen=True)
class Upgrade:
    """The day from which a host has twice as much of a resource, by its place among the families."""

    resource: int
    day: date


@dataclass(frozen=True)
class Lives:
    """What happens to the hosts, by their place in the inventory; a host that is not named has nothing happen to it."""

    periods: Mapping[int, Sequence[Period]] = field(default_factory=dict)
    upgrades: Mapping[int, Upgrade] = field(default_factory=dict)

    @classmethod
    def draw(
        cls,
        behavior: NDArray[np.int64],
        first: Month,
        last: Month,
        turnover: Turnover | None,
        random: np.random.Generator,
    ) -> Lives:
        """Draw them for hosts with these behaviors, from the first to the last month; turnover None: the usual one."""
        hosts, days = behavior.size, (last.last_day - first.first_day).days + 1
        stays = np.unique(behavior, return_index=True)[1]
        others = random.permutation(np.setdiff1d(np.arange(hosts), stays)).tolist()
        shares = turnover or Turnover.usual(days)

        def next_ones(share: float) -> list[int]:
            return [others.pop() for _ in range(min(round(share * hosts), len(others)))]

        def some_day() -> date:
            return first.first_day + timedelta(days=int(random.integers(1, days)))

        periods: dict[int, list[Period]] = {host: [(some_day(), None)] for host in next_ones(shares.born)}
        for number, host in enumerate(next_ones(shares.retired)):
            gone = some_day()
            periods[host] = [(None, gone)]
            back = gone + timedelta(days=int(random.integers(*_DAYS_AWAY)))
            if number % _BACK_EVERY == 0 and back <= last.last_day:
                periods[host].append((back, None))
        upgrades = {
            host: Upgrade(int(random.integers(_RESOURCES_TO_UPGRADE)), some_day())
            for host in next_ones(shares.upgraded)
        }
        return cls(periods, upgrades)

    def are_there(self, month: Month, hosts: int) -> Days:
        """Which hosts count on which day: days x hosts."""
        there = np.ones((len(month.days), hosts), dtype=bool)
        for host, periods in self.periods.items():
            there[:, host] = [any(_counts(day, *period) for period in periods) for day in month.days]
        return there

    def were_upgraded(self, resource: int, month: Month, hosts: int) -> Days:
        """Which hosts have the more of the resource on which day: days x hosts; without an upgrade, always."""
        has_more = np.ones((len(month.days), hosts), dtype=bool)
        for host, upgrade in self.upgrades.items():
            if upgrade.resource == resource:
                has_more[:, host] = [day >= upgrade.day for day in month.days]
        return has_more


def _counts(day: date, begin: date | None, end: date | None) -> bool:
    return (begin is None or begin <= day) and (end is None or day < end)
