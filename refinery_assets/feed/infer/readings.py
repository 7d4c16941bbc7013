"""Which digits of files' paths are year, month and day.

Here: paths, all that are alike together, since one alone does not tell a day from a month or a host's number. Not
here: what is in the files (`sample.py`); of it only the days of rows are asked for, where paths leave a choice.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import accumulate, chain
from pathlib import Path
from typing import TypeVar

# A contract writes years with four digits and months and days with two, so no other stretch of digits is a date.
_SPELLINGS = {
    2: ("month", "day"),
    4: ("year", "day month", "month day"),
    6: ("year month", "month year"),
    8: ("year month day", "day month year", "month day year"),
}
_WIDTHS = {"year": 4, "month": 2, "day": 2}
_RANGES = {"year": range(1900, 2100), "month": range(1, 13), "day": range(1, 32)}
# web01 is no month, and m01 is.
_LETTERS_OF_MONTH = re.compile(r"(?:^|[^a-z])(?:m|mm|mon|month|monat)?$", re.IGNORECASE)
_USUAL_ORDERS = (["year", "month", "day"], ["day", "month", "year"])
_MOST_PATHS_RANKED, _MOST_FILES_ASKED, _MOST_READINGS = 300, 3, 200
# The letter between day and hour in 2024-05-31T10-00-00.
_T = {"T", "t"}
_BETWEEN_TIMES = {"-", ":", "."}
_Item = TypeVar("_Item")

Reading = tuple[tuple[str, ...], ...]
"""What each stretch of digits in a path is: the parts of a date that it holds, none for other digits."""

DaysIn = Callable[[Path], Sequence[Collection[date]]]
"""Gives the days that a file's rows are dated, once for each way in which they can be read."""


def choose_reading(
    words: Sequence[str], runs_of: Mapping[Path, tuple[str, ...]], days_in: DaysIn
) -> tuple[Reading | None, Reading | None]:
    """How the digits of paths that differ in nothing else are read, and another way between which nothing tells."""
    readings = _likely_readings(words, list(runs_of.values()))
    if len(readings) < 2:  # noqa: PLR2004 - there is no choice
        return (readings[0] if readings else None), None
    asked = _spread(list(runs_of), _MOST_FILES_ASKED)
    held = {file: days for file in asked if (days := days_in(file))}
    fits = [sum(_fit(date_of(reading, runs_of[file]), held[file]) for file in held) for reading in readings]
    best = [reading for reading, fit in zip(readings, fits, strict=True) if fit == max(fits)]
    others = [reading for reading in best[1:] if _digits_left(reading) == _digits_left(best[0])]
    # Where every path reads alike either way, no one need choose.
    differ = [
        other for other in others if any(date_of(other, runs) != date_of(best[0], runs) for runs in runs_of.values())
    ]
    return best[0], next(iter(differ or others), None)


def _likely_readings(words: Sequence[str], paths: Sequence[tuple[str, ...]]) -> list[Reading]:
    """The readings that fit as many paths as any, and leave the fewest digits; and those without a day."""
    some = _spread(sorted(set(paths)), _MOST_PATHS_RANKED)
    options = [_options(words, place, [runs[place] for runs in some]) for place in range(len(words) - 1)]
    ranked: list[tuple[tuple[int, ...], Reading]] = []
    for reading in _consistent_readings(options, some):
        if not _can_be(words, reading):
            continue
        fitting = [runs for runs in some if date_of(reading, runs)]
        # What fits a few by chance is none.
        if 2 * len(fitting) >= len(some):
            left = {_literals(reading, runs) for runs in fitting}
            ranked.append(((-len(fitting), _digits_left(reading), len(left), _disorder(reading)), reading))
    ranked.sort(key=lambda each: each[0])
    if not ranked:
        return []
    best = ranked[0][0]
    likely = [reading for rank, reading in ranked if rank[:3] == best[:3]]
    if _names_day(likely[0]):
        without = [(rank, reading) for rank, reading in ranked if rank[0] == best[0] and not _names_day(reading)]
        likely += [reading for rank, reading in without if rank[1] == without[0][0][1]]
    return likely


def _consistent_readings(
    options: Sequence[Sequence[tuple[str, ...]]], paths: Sequence[tuple[str, ...]]
) -> Iterator[Reading]:
    """The readings that fit half of the paths, as far as the stretches tell one by one.

    All combinations would be too many where a path has a dozen stretches. So they are built stretch by stretch: what no
    longer fits half of the paths is dropped, and a stretch that repeats a part of the date in all of them is that part.
    """
    found = [_Partial((), {}, range(len(paths)))]
    for place, of_place in enumerate(options):
        texts = [runs[place] for runs in paths]
        longer = []
        for partial in found:
            read = [partial.with_stretch(parts, texts) for parts in of_place if parts]
            unread = partial.with_stretch((), texts)
            repeats = any(
                len(each.fitting) == len(partial.fitting) and len(each.named) == len(partial.named) for each in read
            )
            longer += [each for each in read if 2 * len(each.fitting) >= len(paths)]
            longer += [] if repeats else [unread]
        longer.sort(key=lambda each: (-len(each.fitting), _digits_left(each.reading)))
        found = longer[:_MOST_READINGS]
    return (each.reading for each in found)


@dataclass(frozen=True)
class _Partial:
    """The first stretches of digits as they may be read.

    Attributes:
        reading: What each of them is.
        named: Each part of the date, as it stands in every path first.
        fitting: The places of the paths that it fits so far.
    """

    reading: Reading
    named: Mapping[str, Sequence[int]]
    fitting: Sequence[int]

    def with_stretch(self, parts: tuple[str, ...], texts: Sequence[str]) -> _Partial:
        """With one more stretch, which reads so in each path."""
        named, fitting, at = dict(self.named), self.fitting, 0
        for part in parts:
            numbers = [int(text[at : at + _WIDTHS[part]]) for text in texts]
            at += _WIDTHS[part]
            first = named.setdefault(part, numbers)
            fitting = [path for path in fitting if first[path] == numbers[path] and numbers[path] in _RANGES[part]]
        return _Partial((*self.reading, parts), named, fitting)


def _can_be(words: Sequence[str], reading: Reading) -> bool:
    """Whether year and month are named, and no folder of a day holds several months."""
    first: dict[str, int] = {}
    for parts, folder in zip(reading, accumulate(word.count("/") for word in words[:-1]), strict=True):
        for part in parts:
            first.setdefault(part, folder)
    return {"year", "month"} <= set(first) and first.get("day", first["month"]) >= first["month"]


def _options(words: Sequence[str], place: int, texts: Sequence[str]) -> list[tuple[str, ...]]:
    """What the digits between two words may be."""
    found: list[tuple[str, ...]] = [()]
    after = words[place + 1]
    if _is_time(words, place, len(texts[0])):
        return found
    for spelling in _SPELLINGS.get(len(texts[0]), ()):
        parts = tuple(spelling.split())
        if len(texts[0]) == 2 and after[:1].isalpha() and after not in _T:  # noqa: PLR2004 - a lone month or day
            continue
        if parts == ("month",) and not _LETTERS_OF_MONTH.search(words[place]):
            continue
        found.append(parts)
    return found


def _is_time(words: Sequence[str], place: int, digits: int) -> bool:
    """Whether the digits are those of an ISO moment's hour, minutes or seconds."""
    if words[place] in _T:
        return place > 0
    before = words[max(1, place - 2) : place + 1]
    # Up to the T, nothing but what stands between hours, minutes and seconds.
    since = next((before[at + 1 :] for at in reversed(range(len(before))) if before[at] in _T), None)
    return digits == 2 and since is not None and set(since) <= _BETWEEN_TIMES  # noqa: PLR2004 - minutes


def date_of(reading: Reading, runs: Sequence[str]) -> tuple[int, int, int] | None:
    """Year, month and day, 0 for none; None where the digits are none, or two different ones."""
    seen: dict[str, int] = {}
    for parts, run in zip(reading, runs, strict=True):
        at = 0
        for part in parts:
            number = int(run[at : at + _WIDTHS[part]])
            if seen.setdefault(part, number) != number:
                return None
            at += _WIDTHS[part]
    year, month, day = (seen.get(part, 0) for part in ("year", "month", "day"))
    if year not in _RANGES["year"] or month not in _RANGES["month"] or ("day" in seen and not day):
        return None
    try:
        date(year, month, day or 1)
    except ValueError:
        return None
    return year, month, day


def _fit(named: tuple[int, int, int] | None, ways: Sequence[Collection[date]]) -> int:
    """How well the days in a file, read in one way or another, fit what its path names."""
    if named is None:
        return 0
    year, month, day = named
    inside = [days for days in ways if all((each.year, each.month) == (year, month) for each in days)]
    if not inside or not day:
        return int(bool(inside))
    if {date(year, month, day)} in inside:
        return 2
    # A file for a day holds one day, be it the day before.
    return int(any(len(days) == 1 for days in inside))


def template_of(words: Sequence[str], reading: Reading, runs: Sequence[str]) -> str:
    """The path with placeholders where the reading has parts of the date."""
    digits = ["".join(f"{{{part}}}" for part in parts) or run for parts, run in zip(reading, runs, strict=True)]
    return "".join(chain.from_iterable(zip(words, [*digits, ""], strict=True)))


def _literals(reading: Reading, runs: Sequence[str]) -> tuple[str, ...]:
    return tuple(run for parts, run in zip(reading, runs, strict=True) if not parts)


def _digits_left(reading: Reading) -> int:
    return sum(not parts for parts in reading)


def _names_day(reading: Reading) -> bool:
    return any("day" in parts for parts in reading)


def _disorder(reading: Reading) -> int:
    """How far the order of the parts is from the usual ones."""
    order = list(dict.fromkeys(part for parts in reading for part in parts))
    usual = [[part for part in parts if part in order] for parts in _USUAL_ORDERS]
    return usual.index(order) if order in usual else len(usual)


def _spread(items: Sequence[_Item], most: int) -> list[_Item]:
    """The first, the last and others from between."""
    last = len(items) - 1
    return list(dict.fromkeys(items[last * step // (most - 1)] for step in range(most))) if items else []
