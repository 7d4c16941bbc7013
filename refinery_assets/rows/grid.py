"""A month's publishable rows by day and host: what is asked of series, of their days and of odd rows, is asked of it.

Hosts and days of a month make a small grid, so that all series are looked at together, day by day. Here: the grid,
made once for all who look at it. Not here: what they find (`series.py`, `alike_days.py`, `odd_rows.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

import numpy as np
import polars as pl
from numpy.typing import NDArray

from refinery_assets.contract.months import Month
from refinery_assets.rows.points import days_and_hosts

Number = TypeVar("Number", bound=np.generic)


@dataclass(frozen=True, eq=False)
class Grid:
    """The rows of a month. An array has a row per day of the month, and a column per host, in the numbers' order.

    Attributes:
        month: The month.
        host_ids: The hosts; where a file spells one in two ways, as it does on the host's last day.
        y: Percent, read or imputed; NaN where there is no row.
        capacity: The limits stated; NaN where none is.
        is_imputed: Which values are imputed.
    """

    month: Month
    host_ids: pl.Series
    y: NDArray[np.float64]
    capacity: NDArray[np.float64]
    is_imputed: NDArray[np.bool_]

    @cached_property
    def values(self) -> NDArray[np.float64]:
        """The values that were read; NaN where there is none."""
        return np.where(self.is_imputed, np.nan, self.y) if self.is_imputed.any() else self.y

    @cached_property
    def measured(self) -> NDArray[np.bool_]:
        """Where there is such a value."""
        return ~np.isnan(self.values)

    @cached_property
    def readings(self) -> NDArray[np.int64]:
        """How many each host has."""
        return np.asarray(self.measured.sum(axis=0))

    @cached_property
    def in_order(self) -> NDArray[np.float64]:
        """Each host's values, sorted, what is missing behind them."""
        return np.sort(self.values, axis=0)


def grid_of(rows: pl.DataFrame, month: Month) -> Grid:
    """Lay out a month's publishable rows.

    Args:
        rows: `point` (see `points.point_of`), `host_id`, `y` (percent), `capacity` and `is_imputed`; a host
            and day once, sorted by `point`.
        month: The month.
    """
    days, numbers = days_and_hosts(rows["point"])
    hosts = int(numbers.max(initial=-1)) + 1
    shape, places = (len(month.days), hosts), days * hosts + numbers
    last_rows = np.zeros(hosts, dtype=np.int64)
    # Of several values for one place the last one stays.
    last_rows[numbers] = np.arange(rows.height)
    return Grid(
        month,
        rows["host_id"].gather(last_rows),
        _laid_out(shape, places, rows["y"].to_numpy(), np.nan),
        _laid_out(shape, places, rows["capacity"].to_numpy(), np.nan),
        _laid_out(shape, places, rows["is_imputed"].to_numpy(), empty=False),
    )


def _laid_out(
    shape: tuple[int, int], places: NDArray[np.int64], column: NDArray[Number], empty: float
) -> NDArray[Number]:
    """The column by day and host; `empty` where there is no row."""
    if len(column) == shape[0] * shape[1]:
        # As many months are: the rows stand in this very order, and nothing is copied.
        return column.reshape(shape)
    grid = np.full(shape[0] * shape[1], empty, dtype=column.dtype)
    grid[places] = column
    return grid.reshape(shape)
