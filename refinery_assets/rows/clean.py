"""From typed columns to clean rows, at once where every value is plainly within the contract.

Here: the columns of a judged row, and judging whole columns. Whatever is in doubt is left to `scrub.py`, which judges
row by row, to the same result. Not here: how columns come out of a file (`read.py`, `parquet.py`), and repeats.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from datetime import datetime, time

import numpy as np
import polars as pl

from refinery_assets.contract.families import UTILIZATION_CEILING_PERCENT, Family, Unit
from refinery_assets.contract.months import Month
from refinery_assets.rows.days import as_text, day_text
from refinery_assets.rows.points import distinct_hosts, number, number_hosts
from refinery_assets.rows.read import CONTROL_CHARACTERS

OddHosts = Callable[[], frozenset[str]]
"""Gives those of `Family.absent`, in lower case, that hosts of the inventory are really named. It is called only
where a file names such a host, because the inventory lies in the warehouse and few fleets hold one."""


def no_odd_hosts() -> frozenset[str]:
    """The `OddHosts` of most fleets."""
    return frozenset()


TYPED_SCHEMA = pl.Schema(
    {
        "source_line": pl.UInt32(),
        "ds": pl.Datetime("us"),
        "host_id": pl.String(),
        "y": pl.Float64(),
        "capacity": pl.Float64(),
        "fault": pl.String(),
        "raw": pl.String(),
    }
)
"""The columns of a judged row: `source_line` counts the header as 1, on through the month's files where there are
several; `y` is percent; `capacity` is in the family's unit; `fault` is null for a clean row; `raw` is null for a clean
row that is taken as it stands."""

# More decimals than a percentage has in any feed, and few enough to do away with what binary fractions add.
_DECIMALS = 12


def percent(value: pl.Expr, family: Family) -> pl.Expr:
    """The family's utilization as percent: a fraction times 100, rounded to 12 decimals, so that 0.07 is 7."""
    return (value * 100).round(_DECIMALS) if family.unit is Unit.FRACTION else value


def clean_rows(
    columns: pl.DataFrame, family: Family, month: Month, odd_hosts: OddHosts = no_odd_hosts
) -> pl.DataFrame | None:
    """Judge columns of which every value is expected to be within the contract.

    Args:
        columns: `source_line`, `date` (text as the family declares it, or a date, or a number), `host_id` (text),
            `value` (in the family's unit), `capacity`.
        family: The family.
        month: The month.
        odd_hosts: Asked where a host is named like an absent one.

    Returns:
        The rows in `TYPED_SCHEMA`, none with a fault, and their `point` (see `points.point_of`), which is
        not looked at for repeats; None when anything at all is in doubt.
    """
    line, day, host, value, capacity = columns.get_columns()
    if family.unit is Unit.FRACTION:
        value = pl.select(percent(pl.lit(value), family)).to_series()
    if (
        any(column.has_nulls() for column in (day, host, value))
        or not _lie_within(value, UTILIZATION_CEILING_PERCENT)
        or not _lie_within(capacity.drop_nulls(), math.inf)
    ):
        return None
    # Feeds are written day by day, so a day is looked at once for all the rows that follow each other.
    runs = day.rle().struct.unnest()
    # An enumeration of the month's days takes exactly these texts for a date, nothing else.
    days = pl.Enum([day_text(each, family.date_format) for each in month.days])
    number_of_day = as_text(runs["value"], family.date_format).cast(days, strict=False).to_physical()
    if number_of_day.has_nulls():
        return None
    listed, of_day = _lists_of(host, runs["len"].to_list(), month)
    names = distinct_hosts(listed)
    if not _are_tidy(names, family.absent, odd_hosts):
        return None
    number_of_day = pl.Series(np.repeat(number_of_day.to_numpy(), runs["len"].to_numpy()))
    numbers = number_hosts(listed, names)
    number_of_host = pl.concat([numbers.slice(*place) for place in of_day], rechunk=True) if of_day else numbers
    midnights = pl.Series([datetime.combine(each, time()) for each in month.days], dtype=pl.Datetime("us"))
    return pl.select(
        source_line=line,
        ds=midnights.gather(number_of_day),
        host_id=host,
        y=value,
        capacity=capacity,
        fault=pl.lit(None, pl.String),
        raw=pl.lit(None, pl.String),
        point=number(number_of_day + 1, number_of_host),
    )


def _lists_of(host: pl.Series, lengths: Sequence[int], month: Month) -> tuple[pl.Series, list[tuple[int, int]]]:
    """The names as the days list them, a list that repeats that of the day before left out.

    Most days of a fleet list the hosts of the day before. To number all names takes ten times as long as to see that, a
    fifteenth of a file's time.

    Args:
        host: The names of all rows.
        lengths: How many rows have the day of the one before, run by run.
        month: The month.

    Returns:
        The names; and of each run, where among them its list begins, and how long it is. No runs where the file is not
        written day by day: then the names are those of all rows.
    """
    if len(lengths) > len(month.days):
        return host, []
    lists: list[pl.Series] = []
    places: list[tuple[int, int]] = []
    start = end = 0
    for length in lengths:
        names = host.slice(start, length)
        if not lists or not names.equals(lists[-1]):
            lists.append(names)
            end += length
        places.append((end - length, length))
        start += length
    return pl.concat(lists, rechunk=True) if lists else host, places


def _lie_within(numbers: pl.Series, most: float) -> bool:
    """Whether all are finite and from 0 to `most`; the sum shows any that is not a number."""
    if numbers.is_empty():
        return True
    # Of floats: no date or text is ever asked for here, whatever the frame's library allows.
    least, greatest, total = (float(number) for number in (numbers.min(), numbers.max(), numbers.sum()))  # type: ignore[arg-type]
    return least >= 0 and greatest <= most and math.isfinite(total)


def _are_tidy(names: pl.Series, absent: Sequence[str], odd_hosts: OddHosts) -> bool:
    """Whether no name is padded, stands for an absent one, or holds control characters."""
    if (names.str.strip_chars() != names).any() or names.str.contains(CONTROL_CHARACTERS).any():
        return False
    spelled_alike = names.str.to_lowercase()
    like_absent = spelled_alike.filter(spelled_alike.is_in(absent))
    return like_absent.is_empty() or odd_hosts().issuperset(like_absent)
