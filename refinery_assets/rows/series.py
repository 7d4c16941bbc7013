"""A month's series, each summed up in one row: what the table `series_months` holds of a family's month.

Here: the sums, which need the readings of a host in the order of their days. Hosts and days of a month make a
small grid, so that all series are summed up together, day by day. Not here: what the sums are judged by.
"""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from refinery_assets.contract.months import Month
from refinery_assets.rows.points import POINTS_PER_DAY, host_count

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
    }
)
"""The columns; their meaning is declared in `contract/columns.py` (`SERIES_MONTHS`)."""

# Days that every month has: so a month that repeats another has the same digest, whichever is longer.
_DAYS_OF_ANY_MONTH = 28

# Of splitmix64 (Steele, Lea and Flood, 2014), which scatters each number, moved by its place, over 64 bits.
_STEP = np.uint64(0x9E3779B97F4A7C15)
_SCATTER = (np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))


def summarize(rows: pl.DataFrame, month: Month) -> pl.DataFrame:
    """Sum up a month's publishable rows by host.

    Args:
        rows: `point` (see `points.point_of`), `host_id`, `y` (percent), `capacity` and `is_imputed`; a host
            and day once, in any order.
        month: The month.

    Returns:
        `SERIES_SCHEMA`, one row per host, in the order of the hosts' numbers.
    """
    hosts = host_count(rows["point"])
    if not hosts:
        return pl.DataFrame(schema=SERIES_SCHEMA)
    point = rows["point"].to_numpy()
    day = (point // np.uint64(POINTS_PER_DAY)).astype(np.int64) - 1
    host = (point % np.uint64(POINTS_PER_DAY)).astype(np.int64) - 1
    shape = (hosts, len(month.days))
    y, capacity = (_grid(shape, host, day, rows[name].to_numpy()) for name in ("y", "capacity"))
    there = np.zeros(shape, dtype=bool)
    there[host, day] = True
    measured = there.copy()
    if rows["is_imputed"].any():
        measured[host, day] = ~rows["is_imputed"].to_numpy()
    names = np.zeros(hosts, dtype=np.int64)
    # Where a file spells a host in two ways, the spelling of the row that stands last is taken.
    names[host] = np.arange(rows.height)
    readings = measured.sum(axis=1)
    values = y if measured.all() else np.where(measured, y, np.nan)
    first = measured.argmax(axis=1)
    last = shape[1] - 1 - measured[:, ::-1].argmax(axis=1)
    days = pl.Series(month.days, dtype=pl.Date)
    return pl.DataFrame(
        {
            "host_id": rows["host_id"].gather(names),
            "readings": readings,
            "imputed": there.sum(axis=1) - readings,
            "mean_y": np.nansum(values, axis=1) / readings,
            "min_y": np.fmin.reduce(values, axis=1),
            "max_y": np.fmax.reduce(values, axis=1),
            "distinct_values": _distinct(values),
            "longest_run": _longest_run(values, measured),
            "first_day": days.gather(first),
            "last_day": days.gather(last),
            "capacity": _last_stated(capacity),
            "values_digest": _digest(_bits(values[:, :_DAYS_OF_ANY_MONTH])),
            "rows_digest": _digest(_bits(y) + _STEP * _bits(capacity) + measured),
        },
        schema_overrides=SERIES_SCHEMA,
    ).with_columns(pl.col("capacity").fill_nan(None))


def _grid(
    shape: tuple[int, int], host: NDArray[np.int64], day: NDArray[np.int64], column: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The column by host and day; not a number where there is none."""
    grid = np.full(shape, np.nan)
    grid[host, day] = column
    return grid


def _distinct(values: NDArray[np.float64]) -> NDArray[np.int64]:
    """How many different values each host has."""
    # What is not a number is sorted behind all others, and differs from itself.
    in_order = np.sort(values, axis=1)
    differs = in_order[:, 1:] != in_order[:, :-1]
    absent = np.isnan(values).sum(axis=1)
    return np.asarray(1 + differs.sum(axis=1) - absent)


def _longest_run(values: NDArray[np.float64], measured: NDArray[np.bool_]) -> NDArray[np.int64]:
    """How many readings in a row are equal; a day without a reading neither counts nor ends a run."""
    longest = np.ones(len(values), dtype=np.int64)
    # Hosts of which no two readings that follow each other are equal are done, and most are.
    repeats = (values[:, 1:] == values[:, :-1]).any(axis=1) | ~measured.all(axis=1)
    run = np.zeros(int(repeats.sum()), dtype=np.int64)
    before = np.full(len(run), np.nan)
    most = run.copy()
    for value, is_reading in zip(values[repeats].T, measured[repeats].T, strict=True):
        run = np.where(is_reading, np.where(value == before, run + 1, 1), run)
        before = np.where(is_reading, value, before)
        np.maximum(most, run, out=most)
    longest[repeats] = most
    return longest


def _last_stated(capacity: NDArray[np.float64]) -> NDArray[np.float64]:
    """The capacity of the last day that states one; not a number where none does."""
    days = capacity.shape[1]
    last = days - 1 - (~np.isnan(capacity))[:, ::-1].argmax(axis=1)
    return np.asarray(capacity[np.arange(len(capacity)), last])


def _bits(grid: NDArray[np.float64]) -> NDArray[np.uint64]:
    """The numbers' bits: one pattern for zero of either sign, and one for what is not a number."""
    return np.where(np.isnan(grid), np.nan, grid + 0.0).view(np.uint64)


def _digest(grid: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """A digest of each row's numbers, of which another number, place or order gives another."""
    places = (np.arange(1, grid.shape[1] + 1, dtype=np.uint64)) * _STEP
    with np.errstate(over="ignore"):
        mixed = grid + places
        mixed = (mixed ^ (mixed >> np.uint64(30))) * _SCATTER[0]
        mixed = (mixed ^ (mixed >> np.uint64(27))) * _SCATTER[1]
        mixed ^= mixed >> np.uint64(31)
        return np.asarray(mixed.sum(axis=1, dtype=np.uint64))
