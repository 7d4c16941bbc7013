"""The points of a month's series: a number for each host and day, to sort, compare and count by.

Here: how hosts and days become numbers, and the order that rows stand in. Hosts are compared without regard
to case, as the inventory compares them. Not here: what is done with repeated points (`scrub.py`) and missing
ones (`plug.py`).
"""

from __future__ import annotations

import numpy as np
import polars as pl

# More hosts than any fleet has, and few enough for a day's number above them in 64 bits.
POINTS_PER_DAY = 2**32

HOSTS_PER_BLOCK = 4000
"""Hosts that stand together in a partition. DuckDB knows the least and the greatest host of every row group
of 122,880 rows, about a month of these many hosts: so it skips most of a large table when one series is
asked for. It also finds more to compress in fewer names, and writes a large fleet a quarter faster."""


def point_of(rows: pl.DataFrame) -> pl.Series:
    """Number the points of a month: equal for the same host and day, ordered by day, then host.

    `point // POINTS_PER_DAY` is the day of the month, and `point % POINTS_PER_DAY` the host, numbered from 1
    without a gap.
    `rows` holds no null in `host_id` and `ds`, and one month only.
    """
    host = rows["host_id"]
    return number(rows["ds"].dt.day(), number_hosts(host, host.unique().sort()))


def number(day: pl.Series, host: pl.Series) -> pl.Series:
    """The same for days of the month and hosts that are numbered."""
    return pl.select(point=pl.lit(day).cast(pl.UInt64) * POINTS_PER_DAY + pl.lit(host))["point"]


def number_hosts(host: pl.Series, names: pl.Series) -> pl.Series:
    """Number hosts by name, where the sorted distinct `names` are at hand."""
    rank = names.str.to_lowercase().rank("dense").cast(pl.UInt64)
    return rank.gather(host.cast(pl.Enum(names)).to_physical())


def host_count(point: pl.Series) -> int:
    """How many hosts a file's points hold."""
    last = (point % POINTS_PER_DAY).max()
    return 0 if last is None else int(last)  # type: ignore[arg-type]


def in_blocks(rows: pl.DataFrame) -> pl.DataFrame:
    """Put rows that are sorted by `point` into blocks of `HOSTS_PER_BLOCK` hosts, each sorted as before."""
    point = rows["point"]
    if host_count(point) <= HOSTS_PER_BLOCK:
        return rows
    block = ((point % POINTS_PER_DAY - 1) // HOSTS_PER_BLOCK).cast(pl.UInt16)
    # Whole numbers of 16 bits are sorted in one go; Polars would compare them.
    return rows[np.argsort(block.to_numpy(), kind="stable")]
