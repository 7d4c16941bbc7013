"""PLUG: fill short interior gaps of a host's month by linear interpolation.

Here: which days are filled and with what. A gap is only ever filled between two readings of the same
host in the same month, so no row is made for a host that the month does not mention, at the month's
ends, or past the newest day. Not here: what counts as a clean reading (`scrub.py`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from refinery_assets.rows.points import POINTS_PER_DAY, have_gaps, host_count, is_without_gaps


@dataclass(frozen=True)
class Plugged:
    """What filling a month's gaps gave.

    Attributes:
        rows: The imputed rows: `point`, `ds`, `host_id`, `y` (percent), `capacity`.
        long_gaps: How many gaps were longer than allowed and stay open.
        long_gap_days: How many days those gaps hold.
        hosts: How many hosts have a reading.
    """

    rows: pl.DataFrame
    long_gaps: int
    long_gap_days: int
    hosts: int


def plug(points: pl.DataFrame, max_gap_days: int) -> Plugged:
    """Interpolate over gaps of at most `max_gap_days` days.

    Over a gap of n days between readings a and b, day i (1 to n) gets a + (b - a) * i / (n + 1). The
    capacity and the spelling of the host are those of the reading before the gap.

    Args:
        points: Clean readings of one month, one per host and day, sorted by `point` (see
            `points.point_of`), with `ds`, `host_id`, `y`, `capacity`.
        max_gap_days: The longest gap that is filled, in days.
    """
    hosts = host_count(points["point"])
    nothing = Plugged(points.select("point", "ds", "host_id", "y", "capacity").clear(), 0, 0, hosts)
    if is_without_gaps(points["point"], hosts):
        return nothing
    gappy = have_gaps(points["point"], hosts)
    # In an ordinary month hosts come and go, and few have gaps; only those are put in order.
    if not gappy.any():
        return nothing
    series = (
        points.with_columns(
            host=pl.col("point") % POINTS_PER_DAY, at=(pl.col("point") // POINTS_PER_DAY).cast(pl.Int64)
        )
        .filter(pl.col("host").is_in((np.flatnonzero(gappy) + 1).tolist()))
        .sort("host", "at")
    )
    gaps = series.with_columns(
        next_host=pl.col("host").shift(-1),
        next_y=pl.col("y").shift(-1),
        days=pl.col("at").shift(-1) - pl.col("at") - 1,
    ).filter((pl.col("host") == pl.col("next_host")) & (pl.col("days") > 0))
    is_long = pl.col("days") > max_gap_days
    long_gaps = gaps.filter(is_long)
    step = (pl.col("next_y") - pl.col("y")) * pl.col("day") / (pl.col("days") + 1)
    rows = (
        gaps.filter(~is_long)
        .with_columns(day=pl.int_ranges(1, pl.col("days") + 1))
        .explode("day", empty_as_null=False)
        .select(
            point=pl.col("point") + pl.col("day").cast(pl.UInt64) * POINTS_PER_DAY,
            ds=pl.col("ds") + pl.duration(days=pl.col("day")),
            host_id="host_id",
            y=pl.col("y") + step,
            capacity="capacity",
        )
    )
    return Plugged(rows, long_gaps.height, int(long_gaps["days"].sum()), hosts)
