"""Which part of a file's path is a date, and which names the family.

Here: paths, all that are alike together, since one alone does not tell a day from a month or a host's number. Not
here: what is in the files (`sample.py`); of it only the days of rows are asked for, where paths leave a choice.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import accumulate, chain
from pathlib import Path
from typing import TypeVar

READABLE = (".csv", ".csv.gz", ".csv.zst", ".txt", ".txt.gz", ".txt.zst", ".tsv", ".tsv.gz", ".tsv.zst", ".parquet")
# A contract writes years with four digits and months and days with two, so no other stretch of digits is a date.
_SPELLINGS = {
    2: ("month", "day"),
    4: ("year", "day month", "month day"),
    6: ("year month", "month year"),
    8: ("year month day", "day month year", "month day year"),
}
_WIDTHS = {"year": 4, "month": 2, "day": 2}
_RANGES = {"year": range(1900, 2100), "month": range(1, 13), "day": range(1, 32)}
_DIGITS = re.compile(r"\d+")
# web01 is no month, and m01 is.
_LETTERS_OF_MONTH = re.compile(r"(?:^|[^a-z])(?:m|mm|mon|month|monat)?$", re.IGNORECASE)
_USUAL_ORDERS = (["year", "month", "day"], ["day", "month", "year"])
_MOST_PATHS_RANKED, _MOST_FILES_ASKED, _MOST_READINGS = 300, 3, 200
# The letter between day and hour in 2024-05-31T10-00-00.
_T = {"T", "t"}
_BETWEEN_TIMES = {"-", ":", "."}
_TOKEN = re.compile(r"\{[a-z]+\}|[A-Za-z0-9]+(?:[_-][A-Za-z0-9]+)*|.")
_IDENTIFIER = re.compile(r"[a-z][a-z0-9_]{0,59}")
_WORD = "\0"
_Item = TypeVar("_Item")


@dataclass(frozen=True)
class Dated:
    """A file, and the month and day that its path names; 0: it names no day."""

    path: Path
    year: int
    month: int
    day: int = 0

    def lies_in_month(self, day: date) -> bool:
        """Whether the day is in the month that the path names."""
        return (day.year, day.month) == (self.year, self.month)


@dataclass(frozen=True)
class Kind:
    """The files that one pattern leads to.

    Attributes:
        pattern: The path with placeholders, `{family}` where `fragment` stands.
        fragment: What tells the kind from the others that share its pattern; empty: it has one of its own.
        files: The files, in the order of their dates.
        other: Another pattern that fits as well, so that a person has to choose.
    """

    pattern: str
    fragment: str
    files: Sequence[Dated]
    other: str | None = None

    @property
    def path(self) -> str:
        """The pattern with the kind's own name in it."""
        return self.pattern.replace("{family}", self.fragment)


DaysIn = Callable[[Path], Sequence[Collection[date]]]
"""Gives the days that a file's rows are dated, once for each way in which they can be read."""


def find_kinds(root: Path, files: Iterable[Path], days_in: DaysIn) -> tuple[list[Kind], list[Path]]:
    """Sort files by the pattern of their paths below `root`.

    Args:
        root: The feed's root.
        files: The files.
        days_in: Asked of a few files where the paths alone can be read in several ways.

    Returns:
        The kinds; and the files whose paths name no month, or whose names no contract can lead to.
    """
    by_frame: dict[tuple[str, ...], dict[Path, tuple[str, ...]]] = defaultdict(dict)
    undated = []
    for file in files:
        if file.is_relative_to(root) and file.name.lower().endswith(READABLE):
            path = file.relative_to(root).as_posix()
            runs = tuple(_DIGITS.findall(path))
            by_frame[(*_DIGITS.split(path), *(str(len(run)) for run in runs))][file] = runs
        else:
            undated.append(file)
    by_template: dict[str, list[Dated]] = defaultdict(list)
    in_doubt: dict[str, str] = {}
    for frame, runs_of in by_frame.items():
        words = frame[: len(frame) // 2 + 1]
        reading, other = _choose_reading(words, runs_of, days_in)
        for file, runs in runs_of.items():
            named = _date_of(reading, runs) if reading else None
            if reading is None or named is None:
                undated.append(file)
                continue
            template = _template(words, reading, runs)
            by_template[template].append(Dated(file, *named))
            if other is not None:
                in_doubt[template] = _template(words, other, runs)
    by_shape: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for template in sorted(by_template):
        by_shape[_shape(template)].append(template)
    kinds = [
        Kind(
            pattern,
            fragment,
            sorted(by_template[template], key=lambda file: (file.year, file.month, file.day)),
            in_doubt.get(template),
        )
        for templates in by_shape.values()
        for template, (pattern, fragment) in zip(templates, _with_family(templates), strict=True)
    ]
    return kinds, sorted(undated)


# What each stretch of digits in a path is: the parts of a date that it holds, none for other digits.
_Reading = tuple[tuple[str, ...], ...]


def _choose_reading(
    words: Sequence[str], runs_of: Mapping[Path, tuple[str, ...]], days_in: DaysIn
) -> tuple[_Reading | None, _Reading | None]:
    """How the digits of paths that differ in nothing else are read, and another way between which nothing tells."""
    readings = _likely_readings(words, list(runs_of.values()))
    if len(readings) < 2:  # noqa: PLR2004 - there is no choice
        return (readings[0] if readings else None), None
    asked = _spread(list(runs_of), _MOST_FILES_ASKED)
    held = {file: days for file in asked if (days := days_in(file))}
    fits = [sum(_fit(_date_of(reading, runs_of[file]), held[file]) for file in held) for reading in readings]
    best = [reading for reading, fit in zip(readings, fits, strict=True) if fit == max(fits)]
    others = [reading for reading in best[1:] if _digits_left(reading) == _digits_left(best[0])]
    # Where every path reads alike either way, no one need choose.
    differ = [
        other for other in others if any(_date_of(other, runs) != _date_of(best[0], runs) for runs in runs_of.values())
    ]
    return best[0], next(iter(differ or others), None)


def _likely_readings(words: Sequence[str], paths: Sequence[tuple[str, ...]]) -> list[_Reading]:
    """The readings that fit as many paths as any, and leave the fewest digits; and those without a day."""
    some = _spread(sorted(set(paths)), _MOST_PATHS_RANKED)
    options = [_options(words, place, [runs[place] for runs in some]) for place in range(len(words) - 1)]
    ranked: list[tuple[tuple[int, ...], _Reading]] = []
    for reading in _consistent_readings(options, some):
        if not _can_be(words, reading):
            continue
        fitting = [runs for runs in some if _date_of(reading, runs)]
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
) -> Iterator[_Reading]:
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

    reading: _Reading
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


def _can_be(words: Sequence[str], reading: _Reading) -> bool:
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


def _date_of(reading: _Reading, runs: Sequence[str]) -> tuple[int, int, int] | None:
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


def _template(words: Sequence[str], reading: _Reading, runs: Sequence[str]) -> str:
    digits = ["".join(f"{{{part}}}" for part in parts) or run for parts, run in zip(reading, runs, strict=True)]
    return "".join(chain.from_iterable(zip(words, [*digits, ""], strict=True)))


def _literals(reading: _Reading, runs: Sequence[str]) -> tuple[str, ...]:
    return tuple(run for parts, run in zip(reading, runs, strict=True) if not parts)


def _digits_left(reading: _Reading) -> int:
    return sum(not parts for parts in reading)


def _names_day(reading: _Reading) -> bool:
    return any("day" in parts for parts in reading)


def _disorder(reading: _Reading) -> int:
    """How far the order of the parts is from the usual ones."""
    order = list(dict.fromkeys(part for parts in reading for part in parts))
    usual = [[part for part in parts if part in order] for parts in _USUAL_ORDERS]
    return usual.index(order) if order in usual else len(usual)


def _spread(items: Sequence[_Item], most: int) -> list[_Item]:
    """The first, the last and others from between."""
    last = len(items) - 1
    return list(dict.fromkeys(items[last * step // (most - 1)] for step in range(most))) if items else []


def _shape(template: str) -> tuple[str, ...]:
    """What templates have in common that differ in words alone; the suffix is none of these words."""
    return (*(_WORD if token[0].isalnum() else token for token in _tokens(template)), _suffix(template))


def _suffix(template: str) -> str:
    return max((suffix for suffix in READABLE if template.lower().endswith(suffix)), key=len, default="")


def _tokens(template: str) -> list[str]:
    return _TOKEN.findall(template)


def _with_family(templates: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Each template with `{family}` for what differs between them, and what that is; as it is, where that cannot be."""
    tokens = [_tokens(template) for template in templates]
    differing = [place for place, words in enumerate(zip(*tokens, strict=True)) if len(set(words)) > 1]
    fragments = [{words[place] for place in differing} for words in tokens]
    if not all(len(found) == 1 and _IDENTIFIER.fullmatch(next(iter(found))) for found in fragments):
        yield from ((template, "") for template in templates)
        return
    for words, found in zip(tokens, fragments, strict=True):
        pattern = "".join("{family}" if place in differing else word for place, word in enumerate(words))
        yield pattern, next(iter(found))
