"""Files that lie where a month's are expected and that the contract does not name, misspelled or forgotten.

Here: finding them, without looking further than it takes to say so. Not here: whether a month is judged by it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from refinery_assets.contract.families import Family
from refinery_assets.contract.months import Month
from refinery_assets.contract.settings import Settings
from refinery_assets.feed.files import FeedFile
from refinery_assets.feed.store import Store

_SHOWN = 3
_MONTHS = 12
_PACKED = re.compile(r"\.[A-Za-z]+\.(gz|zst)")
_MOST_LOOKED_AT = 10_000
_PIECES = re.compile(r"([^{]*)(?:\{([a-z]+)\})?")
_DIGITS = {"year": "[0-9]{4}", "month": "[0-9]{2}", "day": "[0-9]{2}"}


@dataclass(frozen=True)
class Unnamed:
    """Files that are none of the contract's; its text is a sentence without the full stop.

    Attributes:
        count: How many were found.
        sample: The first few of them, relative to the feed's root.
        is_part: Whether there may be more.
        alike: Those among them that are called much like a file of the month: a copy, or of a day that it has not.
    """

    count: int = 0
    sample: Sequence[str] = ()
    is_part: bool = False
    alike: Sequence[str] = ()

    def __bool__(self) -> bool:
        return self.count > 0

    def __str__(self) -> str:
        some = ", ".join(self.sample)
        if self.count == 1 and not self.is_part:
            return f"1 file lies there that the contract does not name, {some}"
        count = f"More than {self.count - 1:,}" if self.is_part else f"{self.count:,}"
        return f"{count} files lie there that the contract does not name, such as {some}"


class UnnamedFiles:
    """Looks into the folders of a feed, into each once."""

    def __init__(self, settings: Settings, feed: Store) -> None:
        self._feed = feed
        self._patterns = [_pattern(family.path, family) for family in settings.contract.families]
        self._alike = [_pattern_of_alike(family) for family in settings.contract.families]
        self._inventory = PurePosixPath(settings.contract.inventory.source).name
        self._known: dict[str, Unnamed] = {}

    def beside(self, files: Iterable[FeedFile]) -> Unnamed:
        """The unnamed files in the folders of a month's files."""
        folders = {str(PurePosixPath(part.name).parent): part.month for file in files for part in file.parts}
        found = [self._within(folder) for folder in folders]
        sample = [name for each in found for name in each.sample]
        alike = [
            name
            for each, month in zip(found, folders.values(), strict=True)
            for name in each.alike
            # A folder may hold the files of many months.
            if any((match := pattern.fullmatch(name)) and _month_of(match) == month for pattern in self._alike)
        ]
        return Unnamed(sum(each.count for each in found), sample[:_SHOWN], any(each.is_part for each in found), alike)

    def _within(self, folder: str) -> Unnamed:
        if folder not in self._known:
            self._known[folder] = self._look_into(folder)
        return self._known[folder]

    def _look_into(self, folder: str) -> Unnamed:
        names, is_part = self._feed.names(folder, _MOST_LOOKED_AT)
        unnamed = [name for name in names if not self._is_known(name)]
        alike = [name for name in unnamed if any(pattern.fullmatch(name) for pattern in self._alike)]
        return Unnamed(len(unnamed), unnamed[:_SHOWN], is_part, alike)

    def _is_known(self, name: str) -> bool:
        last = PurePosixPath(name).name
        # Hidden files are the file system's, and contract and inventory may lie with the files that they are of.
        if last.startswith(".") or last.endswith(".toml") or last == self._inventory:
            return True
        return any((match := pattern.fullmatch(name)) and _is_day(match) for pattern in self._patterns)


def _month_of(match: re.Match[str]) -> Month | None:
    """The month that a name is of; None where it is none."""
    year, month = int(match["year"]), int(match["month"])
    return Month(year, month) if year and 1 <= month <= _MONTHS else None


def _is_day(match: re.Match[str]) -> bool:
    """Whether the day that a name is of, if it is of one, is in its month; a month that is none has other names."""
    month, day = _month_of(match), match.groupdict().get("day")
    return month is None or day is None or 1 <= int(day) <= month.last_day.day


def _pattern_of_alike(family: Family) -> re.Pattern[str]:
    """What begins like the name of a family's file and ends in the same way, as copies do."""
    suffixes = "".join(PurePosixPath(family.path).suffixes[-2:])
    suffix = suffixes if _PACKED.fullmatch(suffixes) else PurePosixPath(family.path).suffix
    stem = _pattern(family.path.removesuffix(suffix), family).pattern
    return re.compile(f"{stem}[^/]*{re.escape(suffix)}")


def _pattern(path: str, family: Family) -> re.Pattern[str]:
    """What the names of a family's files look like, in whatever month; a year that stands twice is the same year."""
    names = {"family": family.name, "resource": family.resource}
    pattern, seen = "", set()
    for text, placeholder in _PIECES.findall(path):
        pattern += re.escape(text)
        if placeholder in names:
            pattern += re.escape(names[placeholder])
        elif placeholder in seen:
            pattern += f"(?P={placeholder})"
        elif placeholder:
            seen.add(placeholder)
            pattern += f"(?P<{placeholder}>{_DIGITS[placeholder]})"
    return re.compile(pattern)
