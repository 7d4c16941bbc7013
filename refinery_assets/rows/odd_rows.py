"""Single rows that stand against their host's other days: p95 and capacity exchanged, a capacity blanked or changed.

Each is well-formed, and alone in a month in which the host else states one and the same capacity. Here:
finding them while the rows are at hand. Not here: the check that reports them (`family_checks.py`), and capacities
that are others for many hosts (`checks/plausibility/capacities.py`).
"""

from __future__ import annotations

from enum import StrEnum

import numpy as np
import polars as pl

from refinery_assets.rows.grid import Grid
from refinery_assets.rows.points import POINTS_PER_DAY

FEWEST_READINGS = 7
MOST_ODD_ROWS = 2
"""Rows of one host and month that may be told from its others; more are a capacity that changed."""


class Oddity(StrEnum):
    """What is odd about a row."""

    EXCHANGED = "exchanged"
    """It reads what the host states as its capacity, and states something else."""
    BLANK = "blank"
    """It states no capacity."""
    CHANGED = "changed"
    """It states another capacity than the days before and after it."""


ODD_ROWS_SCHEMA = pl.Schema(
    {
        "source_line": pl.UInt32(),
        "host_id": pl.String(),
        "oddity": pl.String(),
        "y": pl.Float64(),
        "capacity": pl.Float64(),
        "usual_capacity": pl.Float64(),
    }
)


def find_odd_rows(rows: pl.DataFrame, grid: Grid) -> pl.DataFrame:
    """Find the rows that stand against their host's other days.

    Args:
        rows: As `grid.grid_of` takes them, with `source_line`.
        grid: The same rows, laid out.

    Returns:
        `ODD_ROWS_SCHEMA`, by line.
    """
    y, capacity, there, readings = grid.values, grid.capacity, grid.measured, grid.readings
    stated = (there & ~np.isnan(capacity)).sum(axis=0)
    # Hosts that state one capacity every day, or none, are done, and nearly all are.
    varies = (np.fmin.reduce(capacity, axis=0) < np.fmax.reduce(capacity, axis=0)) | (stated < readings)
    (some,) = np.nonzero(varies & (readings >= FEWEST_READINGS) & (readings - stated <= MOST_ODD_ROWS))
    y, capacity, there = y[:, some], np.where(there[:, some], capacity[:, some], np.nan), there[:, some]
    in_order = np.sort(capacity, axis=0)
    usual = in_order[(stated[some] - 1) // 2, np.arange(len(some))]
    odd = there & (capacity != usual)
    odd &= odd.sum(axis=0) <= MOST_ODD_ROWS
    before, after = np.maximum.accumulate(there, axis=0), np.maximum.accumulate(there[::-1], axis=0)[::-1]
    inside = np.zeros_like(odd)
    inside[1:-1] = before[:-2] & after[2:]
    found = []
    for day, host in np.argwhere(odd):
        if np.isnan(capacity[day, host]):
            oddity = Oddity.BLANK
        elif y[day, host] == usual[host]:
            oddity = Oddity.EXCHANGED
        elif inside[day, host]:
            oddity = Oddity.CHANGED
        else:
            # On the first or the last day it may be a change that lasts.
            continue
        point = (int(day) + 1) * POINTS_PER_DAY + int(some[host]) + 1
        found.append((point, str(oddity), float(usual[host])))
    if not found:
        return pl.DataFrame(schema=ODD_ROWS_SCHEMA)
    told = pl.DataFrame(
        found, schema={"point": pl.UInt64(), "oddity": pl.String(), "usual_capacity": pl.Float64()}, orient="row"
    )
    return rows.join(told, on="point").select(ODD_ROWS_SCHEMA.names()).cast(ODD_ROWS_SCHEMA).sort("source_line")
