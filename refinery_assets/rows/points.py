"""The points of a month's series: a number for each host and day, to sort, compare and count by.

One integer in place of two columns: to sort a file's rows, find repeated points and see whether any is missing takes
half the CPU time in an ordinary file of 2,000 hosts, and a fifth in an unsorted one of 20,000.

Here: how hosts and days become numbers, and the order that rows stand in. Hosts are compared without regard
to case, as the inventory compares them. Not here: what is done with repeated points (`scrub.py`) and missing
ones (`gaps.py`).
"""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

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
    return number(rows["ds"].dt.day(), number_hosts(host, distinct_hosts(host)))


def number(day: pl.Series, host: pl.Series) -> pl.Series:
    """The same for days of the month and hosts that are numbered."""
    return pl.Series("point", day.to_numpy().astype(np.uint64) * np.uint64(POINTS_PER_DAY) + host.to_numpy())


def distinct_hosts(host: pl.Series) -> pl.Series:
    """The distinct names, sorted; at no cost where they stand so already, as in a day of most feeds."""
    return host if _ascends(host) else host.unique().sort()


def number_hosts(host: pl.Series, names: pl.Series) -> pl.Series:
    """Number hosts by name, where `names` are their `distinct_hosts`."""
    spelled_alike = names.str.to_lowercase()
    if _ascends(spelled_alike):
        rank = pl.int_range(1, len(names) + 1, dtype=pl.UInt64, eager=True)
    else:
        rank = spelled_alike.rank("dense").cast(pl.UInt64)
    if host.equals(names):
        return rank
    return rank.gather(host.cast(pl.Enum(names)).to_physical())


def host_count(point: pl.Series) -> int:
    """How many hosts a file's points hold."""
    last = (point % POINTS_PER_DAY).max()
    return 0 if last is None else int(last)  # type: ignore[arg-type]


def days_and_hosts(point: pl.Series) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The days and the hosts that points are of, either counted from 0."""
    points = point.to_numpy().view(np.int64)
    days = points // POINTS_PER_DAY
    return days - 1, points - days * POINTS_PER_DAY - 1


def is_without_gaps(point: pl.Series, hosts: int) -> bool:
    """Whether every host has a row on every day between the first and the last: the ordinary month.

    The points are sorted, and stand once each.
    """
    if point.is_empty():
        return True
    days = point[-1] // POINTS_PER_DAY - point[0] // POINTS_PER_DAY + 1
    return bool(len(point) == days * hosts)


def have_gaps(point: pl.Series, hosts: int) -> NDArray[np.bool_]:
    """By host, in the order of their numbers: whether a day between its first and its last has no row.

    The points are sorted, and stand once each.
    """
    day, host = days_and_hosts(point)
    first, last = np.zeros((2, hosts), dtype=np.int64)
    # Of several values for one place the last one stays.
    first[host[::-1]] = day[::-1]
    last[host] = day
    return np.asarray(last - first + 1 != np.bincount(host, minlength=hosts))


def in_blocks(rows: pl.DataFrame) -> pl.DataFrame:
    """Put rows that are sorted by `point` into blocks of `HOSTS_PER_BLOCK` hosts, each sorted as before."""
    point = rows["point"]
    hosts = host_count(point)
    if hosts <= HOSTS_PER_BLOCK:
        return rows
    days = np.arange(point[0] // POINTS_PER_DAY, point[-1] // POINTS_PER_DAY + 1, dtype=np.uint64)
    first_hosts = np.arange(1, hosts + 1, HOSTS_PER_BLOCK, dtype=np.uint64)
    edges = days[:, None] * np.uint64(POINTS_PER_DAY) + first_hosts
    starts = point.search_sorted(pl.Series(edges.ravel())).to_numpy()
    lengths = np.diff(starts, append=rows.height).reshape(edges.shape)
    # A day of a block is one piece: copying whole pieces is many times faster than row by row.
    pieces = zip(starts.reshape(edges.shape).T.ravel(), lengths.T.ravel(), strict=True)
    return pl.concat([rows.slice(start, length) for start, length in pieces], rechunk=True)


def _ascends(names: pl.Series) -> bool:
    """Whether each name is greater than the one before it."""
    return bool((names[1:] > names[:-1]).all())
