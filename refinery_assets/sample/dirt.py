"""Plants faulty rows into a clean sample file and says exactly what it planted.

Here: what a row of each fault looks like, where it goes, and which line it ends up on. Not here: the
clean rows (`fleet.py`), files (`feed.py`), and the rules that find the faults again
(`rows/scrub.py`): this module knows a row's fault because it made it, not because it judged it.

The faults are those of the default settings: with an overshoot allowed, some of the rows planted as
`out_of_range` are readings.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from typing import NamedTuple

import numpy as np

from refinery_assets.contract.families import Family, Fault
from refinery_assets.contract.months import Month
from refinery_assets.contract.packaged import FAMILIES
from refinery_assets.sample.fleet import Draw, random_stream

MOST_DIRT = 0.5
_FEWEST_ROWS_FOR_EVERY_FAULT = 100
_MONTHS_PER_YEAR = 12


class Planted(NamedTuple):
    """One planted row: its line in the file (the header is line 1), its text, its fault."""

    source_line: int
    raw: str
    fault: Fault


@dataclass(frozen=True)
class Dirty:
    """A file's text with planted rows.

    Attributes:
        lines: The file's text without its header.
        planted: Every planted row, by line.
        added: How many lines were added; the other planted rows stand in the place of clean ones.
    """

    lines: bytes
    planted: list[Planted]
    added: int


class _Row(NamedTuple):
    """The fields of a clean row, as text."""

    day: str
    host: str
    value: str
    capacity: str

    def __str__(self) -> str:
        return ",".join(self)


def _in_other_month(row: _Row, day: int, months_away: int) -> _Row:
    """The row with a day of another month of the same year, which any calendar has."""
    own = date.fromisoformat(row.day)
    month = (own.month - 1 + months_away) % _MONTHS_PER_YEAR + 1
    return row._replace(day=str(own.replace(month=month, day=day)))


def _other_value(row: _Row) -> _Row:
    """The row with another reading, as an export writes that ran before the day was over."""
    return row._replace(value=str(round((float(row.value) + 50.0) % 100.0, 2)))


# What a faulty row looks like; where there are several looks, they take turns.
_REPLACING: dict[Fault, tuple[Callable[[_Row], _Row | str], ...]] = {
    Fault.MALFORMED_ROW: (
        lambda row: row._replace(value=row.value.replace(".", ",")),  # a decimal comma: a surplus field
        lambda row: f"{row.day},{row.host},{row.value}",
        lambda row: f"{row},surplus",
        lambda row: f"{row.day},{row.host}",
    ),
    Fault.BAD_TIMESTAMP: (
        lambda row: row._replace(day=f"{row.day[:8]}32"),
        lambda row: row._replace(day=f"{row.day[8:]}.{row.day[5:7]}.{row.day[:4]}"),
        lambda row: row._replace(day="yesterday"),
        lambda row: row._replace(day=""),
    ),
    Fault.OUTSIDE_MONTH: (
        lambda row: _in_other_month(row, 1, months_away=1),
        lambda row: _in_other_month(row, 28, months_away=-1),
    ),
    Fault.MISSING_HOST: (
        lambda row: row._replace(host=""),
        lambda row: row._replace(host="  "),
    ),
    Fault.MISSING_VALUE: (
        lambda row: row._replace(value=""),
        lambda row: row._replace(value="  "),
    ),
    Fault.NOT_A_NUMBER: (
        lambda row: row._replace(value="error"),
        lambda row: row._replace(value="NaN"),
        lambda row: row._replace(value=f"{row.value}%"),
        lambda row: row._replace(value="1.2.3"),
    ),
    Fault.OUT_OF_RANGE: (
        lambda row: row._replace(value="100.01"),
        lambda row: row._replace(value="-0.01"),
        lambda row: row._replace(value="6553.5"),
        lambda row: row._replace(value="-1.0"),
    ),
}


def check_dirt(share: float) -> None:
    """Refuse a share of faulty rows that cannot be planted.

    Raises:
        ValueError: The share is not between 0 and 0.5.
    """
    if not 0.0 <= share <= MOST_DIRT:
        raise ValueError(f"the share of dirt is {share}; expected 0 to {MOST_DIRT}")


def plant_dirt(  # noqa: PLR0913 - what a share leaves open
    lines: bytes, family: Family, month: Month, *, seed: int, share: float, fewest: int = len(Fault)
) -> Dirty:
    """Make about `share` of a file's rows faulty, the nine faults in equal parts.

    Each planted row belongs to a host and day of its own. A `duplicate` is added somewhere after its
    original and a `superseded` row somewhere before the good one; any other planted row stands in
    the place of a clean row, whose reading is lost. All other rows are kept as they are.

    Args:
        lines: The file's text without its header.
        family: Which of the month's files it is.
        month: The file's month.
        seed: Start of the random draws.
        share: The share of rows, 0 to 0.5.
        fewest: How many rows to plant at least in a file of 100 rows or more; by default one of each fault.
    """
    random = random_stream(seed, Draw.DIRT, month.year, month.month, FAMILIES.index(family))
    texts = lines.decode().splitlines()
    clean = len(texts)
    at_least = fewest if clean >= _FEWEST_ROWS_FOR_EVERY_FAULT else 0
    chosen = random.choice(clean, max(round(share * clean), at_least), replace=False)

    faults = list(Fault)
    fault_at: dict[int, Fault] = {}  # by position in `texts`
    added_at: list[float] = []  # where an added text goes, between the positions of two clean ones
    for turn, at in enumerate(chosen.tolist()):
        fault, look = faults[turn % len(faults)], turn // len(faults)
        row = _Row(*texts[at].split(","))
        if fault in _REPLACING:
            looks = _REPLACING[fault]
            texts[at] = str(looks[look % len(looks)](row))
            fault_at[at] = fault
            continue
        fault_at[len(texts)] = fault
        if fault is Fault.DUPLICATE:
            texts.append(str(row))
            added_at.append(at + 0.5 + random.integers(clean - at))
        else:
            texts.append(str(_other_value(row)))
            added_at.append(random.integers(at + 1) - 0.5)

    order = np.argsort(np.concatenate([np.arange(clean), added_at]), kind="stable").tolist()
    planted = [Planted(line, texts[at], fault_at[at]) for line, at in enumerate(order, start=2) if at in fault_at]
    dirty = "".join(f"{texts[at]}\n" for at in order).encode()
    return Dirty(dirty, planted, added=len(added_at))
