"""Honest things that happen to fleets, and look strange.

Here: events, as changes of a history of months. Not here: lies (`lies.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from refinery_assets_tests.plausibility.fleets import FleetMonth, Floats

Months = Sequence[FleetMonth]
Event = Callable[[Months, np.random.Generator], list[FleetMonth]]

DECEMBER, JANUARY, SUMMER = 12, 1, (7, 8)
_HAPPENS_IN = 14
_SATURDAY = 5


def nothing(months: Months, random: np.random.Generator) -> list[FleetMonth]:  # noqa: ARG001
    """Months without an event."""
    return list(months)


def december_closing(months: Months, random: np.random.Generator) -> list[FleetMonth]:
    """Each December a third of the hosts works half as much again, for the books."""
    busy = _some(months, random, 1 / 3)
    return [_times(each, 1.5, busy) if each.month.month == DECEMBER else each for each in months]


def january_start(months: Months, random: np.random.Generator) -> list[FleetMonth]:  # noqa: ARG001
    """Each January begins with a week of holidays."""
    found = []
    for each in months:
        y = each.y.copy()
        if each.month.month == JANUARY:
            y[:, :7] *= 0.6
        found.append(replace(each, y=y).rounded())
    return found


def migration(months: Months, random: np.random.Generator) -> list[FleetMonth]:
    """From one month on, a third of the hosts has twice the CPU load."""
    moved = _some(months, random, 1 / 3)
    return [
        _times(each, 2.0, moved, resources=slice(0, 1)) if at >= _HAPPENS_IN else each for at, each in enumerate(months)
    ]


def upgrade(months: Months, random: np.random.Generator) -> list[FleetMonth]:
    """From one month on, a whole department has twice the capacity, and less of it used."""
    upgraded = _some(months, random, 1 / 6)
    found = []
    for at, each in enumerate(months):
        capacity = each.capacity.copy()
        if at >= _HAPPENS_IN:
            capacity[:, :, upgraded] *= 2
        found.append(replace(_times(each, 0.6, upgraded) if at >= _HAPPENS_IN else each, capacity=capacity))
    return found


def quiet_summer(months: Months, random: np.random.Generator) -> list[FleetMonth]:  # noqa: ARG001
    """In July and August there is a quarter less to do."""
    return [_times(each, 0.75) if each.month.month in SUMMER else each for each in months]


def idling(months: Months, random: np.random.Generator) -> list[FleetMonth]:
    """The fleet idles at half a percent all its life."""
    level = random.uniform(0.3, 0.8, (4, 1, len(months[0].hosts)))
    return [
        replace(each, y=np.clip(level * random.lognormal(0.0, 0.3, each.y.shape), 0, 100)).rounded() for each in months
    ]


def growing(months: Months, random: np.random.Generator) -> list[FleetMonth]:
    """From one month on, there are thirty percent more hosts."""
    late = _some(months, random, 0.23)
    found = []
    for at, each in enumerate(months):
        y = each.y.copy()
        if at < _HAPPENS_IN:
            y[:, :, late] = np.nan
        found.append(replace(each, y=y))
    return found


def whole_percents(months: Months, random: np.random.Generator) -> list[FleetMonth]:  # noqa: ARG001
    """The export has always stated whole percents."""
    return [replace(each, decimals=0).rounded() for each in months]


def lost_days(months: Months, random: np.random.Generator) -> list[FleetMonth]:
    """Now and then a host has no reading, and every month a few have none for a week."""
    found = []
    for each in months:
        y = each.y.copy()
        y[random.random(y.shape) < 0.02] = np.nan
        down = random.random(len(each.hosts)) < 0.03
        first = int(random.integers(0, 20))
        y[:, first : first + 7, down] = np.nan
        found.append(replace(each, y=y))
    return found


def switched_off(months: Months, random: np.random.Generator) -> list[FleetMonth]:
    """Every month two hosts in a hundred are switched off, and read 0 from then on."""
    hosts = len(months[0].hosts)
    off = np.full(hosts, len(months))
    for at in range(len(months)):
        going = random.random(hosts) < 0.02
        off[going & (off == len(months))] = at
    found = []
    for at, each in enumerate(months):
        y = each.y.copy()
        y[:, :, off <= at] = 0.0
        found.append(replace(each, y=y))
    return found


def office_weeks(months: Months, random: np.random.Generator) -> list[FleetMonth]:
    """Desktops: two fifths of the load at weekends, little noise, and nothing else, so that all weeks look alike."""
    hosts = len(months[0].hosts)
    level = random.uniform(10, 85, (len(months[0].y), 1, hosts))
    found = []
    for each in months:
        weekend = np.array([day.weekday() >= _SATURDAY for day in each.month.days])[None, :, None]
        noise = random.normal(1.0, 0.05, each.y.shape)
        found.append(replace(each, y=np.clip(level * np.where(weekend, 0.4, 1.0) * noise, 0, 100)).rounded())
    return found


EVENTS: dict[str, Event] = {
    "nothing happens": nothing,
    "December closing": december_closing,
    "January start": january_start,
    "migration doubles CPU for a third": migration,
    "capacity upgrade of a department": upgrade,
    "quiet summer": quiet_summer,
    "idle at 0.5 %": idling,
    "30 % more hosts": growing,
    "whole percents": whole_percents,
    "days and weeks without readings": lost_days,
    "hosts switched off": switched_off,
    "office weeks": office_weeks,
}


def _some(months: Months, random: np.random.Generator, share: float) -> NDArray[np.intp]:
    hosts = len(months[0].hosts)
    return random.permutation(hosts)[: round(share * hosts)]


def _times(
    each: FleetMonth,
    factor: float,
    hosts: NDArray[np.intp] | slice = slice(None),
    resources: slice = slice(None),
) -> FleetMonth:
    y: Floats = each.y.copy()
    part = y[resources, :, hosts]
    # Who has no room left, has none with a little less to do.
    y[resources, :, hosts] = np.where(part < 100, np.clip(part * factor, 0, 100), part)
    return replace(each, y=y).rounded()
