"""A month's series, each summed up in one row: what the table `series_months` holds of a family's month.

Here: the sums, which need the readings of a host in the order of their days. Not here: how rows become a grid
(`grid.py`), and what the sums are judged by.
"""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from refinery_assets.contract.columns import FEWEST_VALUES_OF_A_PART, PART_DIGESTS
from refinery_assets.rows.grid import Grid

SERIES_SCHEMA = pl.Schema(
    {
        "host_id": pl.String(),
        "readings": pl.Int32(),
        "imputed": pl.Int32(),
        "mean_y": pl.Float64(),
        "min_y": pl.Float64(),
        "max_y": pl.Float64(),
        "distinct_values": pl.Int32(),
        "longest_run": pl.Int32(),
        "first_day": pl.Date(),
        "last_day": pl.Date(),
        "capacity": pl.Float64(),
        "values_digest": pl.UInt64(),
        "rows_digest": pl.UInt64(),
        "median_y": pl.Float64(),
        "decimals": pl.Int32(),
        "capacities": pl.Int32(),
        **{name: pl.UInt64() for name in PART_DIGESTS},
    }
)
"""The columns; their meaning is declared in `contract/columns.py` (`SERIES_MONTHS`)."""

# Days that every month has: so a month that repeats another has the same digest, whichever is longer.
_DAYS_OF_ANY_MONTH = 28

# More than any export writes; what needs more is no decimal fraction that somebody wrote down.
_MOST_DECIMALS = 6
# Of a number that decimals are counted of, times a power of ten, farther from a whole number than a double can be.
_NOT_WHOLE = 1e-5

# Of splitmix64 (Steele, Lea and Flood, 2014), which scatters each number, moved by its place, over 64 bits.
_STEP = np.uint64(0x9E3779B97F4A7C15)
_SCATTER = (np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))


def summarize(grid: Grid) -> pl.DataFrame:
    """Sum up a month's publishable rows by host.

    Returns:
        `SERIES_SCHEMA`, one row per host, in the order of the hosts' numbers.
    """
    hosts = len(grid.host_ids)
    if not hosts:
        return pl.DataFrame(schema=SERIES_SCHEMA)
    values, capacity, measured, readings = grid.values, grid.capacity, grid.measured, grid.readings
    first_day = np.datetime64(grid.month.first_day)
    bits = _bits(grid.y)
    distinct = _distinct(grid.in_order, readings)
    mixed = _mixed(_bits(values[:_DAYS_OF_ANY_MONTH]))
    return pl.DataFrame(
        {
            "host_id": grid.host_ids,
            "readings": readings,
            "imputed": grid.is_imputed.sum(axis=0),
            "mean_y": np.nansum(values, axis=0) / readings,
            "min_y": np.fmin.reduce(values, axis=0),
            "max_y": np.fmax.reduce(values, axis=0),
            "distinct_values": distinct,
            "longest_run": _longest_run(values, measured),
            "first_day": first_day + measured.argmax(axis=0),
            "last_day": first_day + _last(measured),
            "capacity": pl.Series(capacity[_last(~np.isnan(capacity)), np.arange(hosts)], nan_to_null=True),
            "values_digest": _digest(mixed),
            "rows_digest": _digest(_mixed(np.invert(bits, out=bits, where=grid.is_imputed) + _STEP * _bits(capacity))),
            "median_y": _median(grid.in_order, readings),
            "decimals": _decimals(values),
            "capacities": _capacities(capacity),
            **{
                name: _part_digest(mixed[first - 1 : last], values[first - 1 : last], readings - distinct)
                for name, (first, last) in PART_DIGESTS.items()
            },
        },
        schema_overrides=SERIES_SCHEMA,
    )


def _distinct(in_order: NDArray[np.float64], readings: NDArray[np.int64]) -> NDArray[np.int64]:
    """How many different values each host has, its values sorted."""
    # What is not a number is sorted behind all others, and differs from what stands before it, and from itself.
    differs = in_order[1:] != in_order[:-1]
    return np.asarray(1 + differs.sum(axis=0) - (len(in_order) - readings))


def _median(in_order: NDArray[np.float64], readings: NDArray[np.int64]) -> NDArray[np.float64]:
    """The median of each host's values, which are sorted, what is missing behind them."""
    hosts = np.arange(in_order.shape[1])
    return np.asarray((in_order[(readings - 1) // 2, hosts] + in_order[readings // 2, hosts]) / 2)


def _decimals(values: NDArray[np.float64]) -> NDArray[np.int64]:
    """How many decimals each host's values need, `_MOST_DECIMALS` where they need more."""
    decimals = np.zeros(values.shape[1], dtype=np.int64)
    left = np.arange(values.shape[1])
    for number in range(_MOST_DECIMALS):
        scaled = values[:, left] * 10.0**number
        left = left[(np.abs(scaled - np.rint(scaled)) > _NOT_WHOLE).any(axis=0)]
        if not left.size:
            break
        decimals[left] = number + 1
    return decimals


def _capacities(capacity: NDArray[np.float64]) -> NDArray[np.int64]:
    """How many different capacities each host states."""
    stated = ~np.isnan(capacity)
    number: NDArray[np.int64] = np.asarray(stated.any(axis=0), dtype=np.int64)
    # Hosts whose capacity stays the same are done, and most are.
    least, most = np.fmin.reduce(capacity, axis=0), np.fmax.reduce(capacity, axis=0)
    changing = least < most
    number[changing] = _distinct(np.sort(capacity[:, changing], axis=0), stated[:, changing].sum(axis=0))
    return number


def _longest_run(values: NDArray[np.float64], measured: NDArray[np.bool_]) -> NDArray[np.int64]:
    """How many readings in a row are equal; a day without a reading neither counts nor ends a run."""
    longest = np.ones(values.shape[1], dtype=np.int64)
    # Hosts of which no two readings that follow each other are equal are done, and most are.
    repeats = (values[1:] == values[:-1]).any(axis=0) | ~measured.all(axis=0)
    run = np.zeros(int(repeats.sum()), dtype=np.int64)
    before = np.full(len(run), np.nan)
    most = run.copy()
    for value, is_reading in zip(values[:, repeats], measured[:, repeats], strict=True):
        run = np.where(is_reading, np.where(value == before, run + 1, 1), run)
        before = np.where(is_reading, value, before)
        np.maximum(most, run, out=most)
    longest[repeats] = most
    return longest


def _last(holds: NDArray[np.bool_]) -> NDArray[np.int64]:
    """The last day for which it holds, by host, counted from 0; the last of all where it never does."""
    return np.asarray(len(holds) - 1 - holds[::-1].argmax(axis=0))


def _bits(grid: NDArray[np.float64]) -> NDArray[np.uint64]:
    """The numbers' bits, the same ones for zero of either sign."""
    return (grid + 0.0).view(np.uint64)


def _mixed(grid: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The numbers scattered, each by its place: sums of them are digests."""
    places = np.arange(1, len(grid) + 1, dtype=np.uint64) * _STEP
    mixed = grid + places[:, None]
    for bits, scatter in zip((30, 27), _SCATTER, strict=True):
        mixed ^= mixed >> np.uint64(bits)
        mixed *= scatter
    mixed ^= mixed >> np.uint64(31)
    return mixed


def _digest(mixed: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """A digest of each host's numbers, of which another number, place or order gives another."""
    return np.asarray(mixed.sum(axis=0, dtype=np.uint64))


def _part_digest(mixed: NDArray[np.uint64], values: NDArray[np.float64], repeated: NDArray[np.int64]) -> pl.Series:
    """The same of some days; null for hosts whose readings on them are so few or so alike that chance repeats them."""
    readings = (~np.isnan(values)).sum(axis=0)
    telling = readings - repeated >= FEWEST_VALUES_OF_A_PART
    # Where so few readings of the month repeat one another, and so it mostly is, nothing need be counted.
    left = np.flatnonzero(~telling & (readings >= FEWEST_VALUES_OF_A_PART))
    telling[left] = _distinct(np.sort(values[:, left], axis=0), readings[left]) >= FEWEST_VALUES_OF_A_PART
    digest = pl.Series(_digest(mixed), dtype=pl.UInt64)
    return digest.zip_with(pl.Series(telling), pl.Series([None], dtype=pl.UInt64))
