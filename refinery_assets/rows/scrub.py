"""SCRUB: cast each row to the standard columns and give every bad one its fault.

Here: the rules for one row, and for rows that repeat a host's day. Not here: how lines become fields
(`read.py`), gaps (`gaps.py`), and the rules for a whole month (`family_checks.py`, `warehouse/publish_checks.py`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, time

import polars as pl

from refinery_assets.contract.families import UTILIZATION_CEILING_PERCENT, Family, Fault
from refinery_assets.contract.months import Month
from refinery_assets.rows.clean import TYPED_SCHEMA, OddHosts, no_odd_hosts, percent
from refinery_assets.rows.days import day_of
from refinery_assets.rows.points import point_of

# With a point for the decimals, or what a family has in its place.
_NUMBER = r"^[+-]?(?:[0-9]+[.]?[0-9]*|[.][0-9]+)(?:[eE][+-]?[0-9]+)?$"


def scrub(
    blocks: Iterable[pl.DataFrame],
    family: Family,
    month: Month,
    overshoot: float,
    odd_hosts: OddHosts = no_odd_hosts,
) -> pl.DataFrame:
    """Judge the rows of `read_lines`, each by itself first, then against those of the same host and day.

    A capacity may be absent; one that is stated must be a finite number, 0 or more. A utilization in
    (100, 100 + `overshoot`] becomes 100 and keeps its raw text; `overshoot` is in percentage points, in whatever unit
    the family is.

    Returns:
        `TYPED_SCHEMA`, one row per row of `blocks`, in order. The columns of a faulty row hold what could
        be read of it.
    """
    ceiling = UTILIZATION_CEILING_PERCENT
    # The text of a block's fields is let go before the next block is split.
    judged = (_judge_rows(lines, family, month, ceiling + overshoot, odd_hosts) for lines in blocks)
    rows = _judge_repeats(pl.concat([rows.select(TYPED_SCHEMA.names()) for rows in judged]))
    is_clean = pl.col("fault").is_null()
    is_over = is_clean & (pl.col("y") > ceiling)
    return rows.with_columns(
        y=pl.when(is_over).then(ceiling).otherwise("y"),
        raw=pl.when(~is_clean | is_over).then("raw"),
    ).select(pl.col(name).cast(dtype) for name, dtype in TYPED_SCHEMA.items())


def _judge_rows(lines: pl.DataFrame, family: Family, month: Month, highest: float, odd_hosts: OddHosts) -> pl.DataFrame:
    """Cast every field, and name the first fault of each row that has one."""
    text = lines.with_columns(pl.col("host_id", "value", "capacity").str.strip_chars())
    hosts_absent = _absent_hosts(text["host_id"], family.absent, odd_hosts)
    absent = {"host_id": hosts_absent, "value": family.absent, "capacity": family.absent}
    text = text.with_columns(
        pl.when(~pl.col(name).str.to_lowercase().is_in(texts)).then(name) for name, texts in absent.items()
    )
    rows = text.with_columns(
        ds=day_of("date", family.date_format),
        y=percent(_number("value", family.decimal), family),
        capacity=_number("capacity", family.decimal),
        is_capacity_stated=pl.col("capacity").is_not_null(),
    )
    first, end = (datetime.combine(day, time()) for day in (month.first_day, month.next.first_day))
    unreadable_capacity = pl.col("is_capacity_stated") & pl.col("capacity").is_null()
    impossible_capacity = ~(pl.col("capacity").is_finite() & (pl.col("capacity") >= 0))
    faults = {
        Fault.MALFORMED_ROW: pl.col("malformed"),
        Fault.BAD_TIMESTAMP: pl.col("ds").is_null(),
        Fault.OUTSIDE_MONTH: ~pl.col("ds").is_between(first, end, closed="left"),
        Fault.MISSING_HOST: pl.col("host_id").is_null(),
        Fault.MISSING_VALUE: pl.col("value").is_null(),
        Fault.NOT_A_NUMBER: pl.col("y").is_null() | unreadable_capacity,
        Fault.OUT_OF_RANGE: ~pl.col("y").is_between(0.0, highest) | impossible_capacity.fill_null(value=False),
    }
    return rows.with_columns(
        fault=pl.coalesce(pl.when(holds).then(pl.lit(str(fault))) for fault, holds in faults.items())
    )


def _absent_hosts(host: pl.Series, absent: Sequence[str], odd_hosts: OddHosts) -> Sequence[str]:
    """What stands for no host: all of `absent` but what a host of the inventory is really named."""
    if not host.str.to_lowercase().is_in([text for text in absent if text]).any():
        return absent
    return [text for text in absent if text not in odd_hosts()]


def _number(name: str, decimal: str) -> pl.Expr:
    """The column's text as a number; null where it is not one written in ASCII digits."""
    text = pl.col(name)
    pointed = text if decimal == "." else text.str.replace(decimal, ".", literal=True)
    return pl.when(text.str.contains(_NUMBER.replace("[.]", f"[{decimal}]"))).then(
        pointed.cast(pl.Float64, strict=False)
    )


def _judge_repeats(rows: pl.DataFrame) -> pl.DataFrame:
    """Leave one clean row per host and day.

    A row equal to the one before it for the same host and day is a `duplicate`; a row that a later one
    with another value or capacity replaces is `superseded`.
    """
    clean = rows.filter(pl.col("fault").is_null())
    points = clean.select("source_line", "y", "capacity", point=point_of(clean)).sort("point", "source_line")
    follows, leads = (pl.col("point").eq_missing(pl.col("point").shift(step)) for step in (1, -1))
    points = points.filter(follows | leads)
    if points.is_empty():
        return rows
    same_reading = pl.all_horizontal(pl.col(name).eq_missing(pl.col(name).shift()) for name in ("y", "capacity"))
    repeats = (
        points.with_columns(is_repeat=follows & same_reading)
        # Readings of one point are numbered; repeats share the number of the reading that they repeat.
        .with_columns(reading=(~pl.col("is_repeat")).cum_sum().over("point"))
        .with_columns(is_replaced=pl.col("reading") < pl.col("reading").max().over("point"))
        .filter(pl.col("is_repeat") | pl.col("is_replaced"))
        .select(
            "source_line",
            repeat=pl.when("is_repeat").then(pl.lit(str(Fault.DUPLICATE))).otherwise(pl.lit(str(Fault.SUPERSEDED))),
        )
    )
    return (
        rows.join(repeats, on="source_line", how="left", maintain_order="left")
        .with_columns(fault=pl.coalesce("fault", "repeat"))
        .drop("repeat")
    )
