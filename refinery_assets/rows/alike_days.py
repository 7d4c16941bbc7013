"""What the days of one family's month have in common, found while its rows are at hand.

Here: comparing the days of the month with one another, host by host. Not here: what it says of the month
(`checks/plausibility`).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from refinery_assets.checks.plausibility.days import DayFacts
from refinery_assets.checks.plausibility.evidence import medians
from refinery_assets.rows.grid import Grid

MOST_HOSTS = 250
"""Of a larger fleet every second, third, ... host is looked at: days are compared two by two."""

_FEWEST_VALUES = 5
"""Distinct readings from which a host counts as one whose readings vary."""

_LEAST_MEDIAN = 1.0
"""The percent from which a host's median serves to compare its days by, and how many such hosts it takes."""

_FEWEST_HOSTS = 8

_SELDOM = 0.3
"""Share of pairs of days that agree, up to which a host is telling; in a month of two equal halves it is 0.03."""

_DEVIATIONS = 6.0
"""A month has 465 pairs of days, and a fleet many months: six standard deviations, and two hosts, are no chance."""

_FEWEST = 2


def compare_days(grid: Grid) -> list[DayFacts]:
    """Compare the days of a month that have readings.

    Returns:
        The days in order; none where no host's readings vary.
    """
    hosts = len(grid.host_ids)
    if not hosts:
        return []
    looked_at = slice(None, None, -(-hosts // MOST_HOSTS))
    values, in_order = grid.values[:, looked_at], grid.in_order[:, looked_at]
    lively = (in_order[1:] > in_order[:-1]).sum(axis=0) >= _FEWEST_VALUES - 1
    # Hosts with the same readings, which is for another look to find, would all agree on their days.
    _, first = np.unique(np.nansum(values, axis=0), return_index=True)
    lively &= np.isin(np.arange(values.shape[1]), first)
    if not lively.any():
        return []
    values, in_order = values[:, lively], in_order[:, lively]
    readings = (~np.isnan(values)).sum(axis=1)
    (there,) = np.nonzero(readings)
    # A day without a reading neither moves nor ends a stretch of still ones.
    values, readings = values[there], readings[there]
    moved = np.ones(values.shape, dtype=np.bool_)
    moved[1:] = values[1:] != values[:-1]
    telling, twin, twinned = _twins(values, moved)
    unmoved = _beyond(1 - moved[:, telling].mean(axis=1)) if telling.any() else np.zeros(len(values))
    middle = medians(values, axis=1)
    common = _beyond((values == middle[:, None]).sum(axis=1) / readings)
    ratios = _ratios(values, in_order)
    return [
        DayFacts(
            int(day) + 1,
            int(telling.sum()),
            float(unmoved[at]),
            float(common[at]),
            float(middle[at]),
            int(there[twin[at]]) + 1 if twinned[at] > 0 else 0,
            float(twinned[at]),
            None if np.isnan(ratios[at]) else float(ratios[at]),
        )
        for at, day in enumerate(there)
    ]


def _beyond(shares: NDArray[np.float64]) -> NDArray[np.float64]:
    """What the shares are beyond their median: 0 at the median or below it, 1 where all agree."""
    usual = float(np.median(shares))
    return np.asarray(np.maximum(shares - usual, 0.0) / max(1.0 - usual, 1e-9))


def _twins(
    values: NDArray[np.float64], moved: NDArray[np.bool_]
) -> tuple[NDArray[np.bool_], NDArray[np.int64], NDArray[np.float64]]:
    """Compare the days two by two.

    Returns:
        Which hosts are telling: two of their days seldom agree. For each day the earlier one with which most of these
        agree; and their share beyond chance, 0 where chance may do it.
    """
    days = len(values)
    # What stands still agrees with all of its stretch, and is another matter.
    compared = np.where(moved, values, np.nan)
    later, earlier = np.tril_indices(days, -1)
    agree = compared[later] == compared[earlier]
    chance = agree.sum(axis=0) / max(len(agree), 1)
    telling = np.asarray(chance <= _SELDOM)
    number, expected = int(telling.sum()), float(chance[telling].sum())
    counts = np.zeros((days, days))
    counts[later, earlier] = agree[:, telling].sum(axis=1)
    most = counts.max(axis=1)
    deviation = np.sqrt((chance[telling] * (1 - chance[telling])).sum())
    surprising = most - expected >= _DEVIATIONS * deviation + _FEWEST
    share = np.where(surprising, (most - expected) / max(number - expected, 1e-9), 0.0)
    return telling, counts.argmax(axis=1), np.asarray(share)


def _ratios(values: NDArray[np.float64], in_order: NDArray[np.float64]) -> NDArray[np.float64]:
    """The median over the hosts of each day's reading by the host's own median."""
    readings = (~np.isnan(in_order)).sum(axis=0)
    own = in_order[readings // 2, np.arange(in_order.shape[1])]
    fit = own >= _LEAST_MEDIAN
    if fit.sum() < _FEWEST_HOSTS:
        return np.full(len(values), np.nan)
    return medians(values[:, fit] / own[fit], axis=1)
