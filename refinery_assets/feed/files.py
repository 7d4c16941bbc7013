"""Where the feed's files lie, and how their bytes come into memory.

Here: a month's file name, reading it whole, the header, and the count of data rows taken from the bytes
alone. Not here: what the rows say (`rows/read.py`) and whether a month may enter (`rows/source_checks.py`).
"""

from __future__ import annotations

import csv
import hashlib
import re
import stat
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from refinery_assets.contract.families import Family
from refinery_assets.contract.months import Month
from refinery_assets.contract.settings import Settings

BYTE_ORDER_MARK = b"\xef\xbb\xbf"

# A line of nothing but blanks is not a row. The reader and the count below must agree on it.
BLANKS = " \t\r"
_BLANK_LINE = re.compile(rb"\n[ \t\r]*(?=\n|\Z)")
_LINE_END = ord("\n")
_PIECE_BYTES = 2**18
_GREATEST_BLANK = max(map(ord, f"\n{BLANKS}"))


class RefusedFileError(Exception):
    """A file cannot be taken at all; the message names the file, what is wrong and what to do."""


@dataclass(frozen=True)
class FeedFile:
    """One family's file of one month, whether or not it exists.

    A symbolic link that leads out of `root` is refused, unless `follow_links` allows it: who may write to
    the feed need not be one who may read all of this machine.
    """

    root: Path
    family: Family
    month: Month
    follow_links: bool = False

    @property
    def name(self) -> str:
        """The file's name relative to the feed's root, with forward slashes."""
        year, month = f"{self.month.year:04d}", f"{self.month.month:02d}"
        family = self.family
        return family.path.format(year=year, month=month, family=family.name, resource=family.resource)

    @property
    def path(self) -> Path:
        """The file's place on disk."""
        return self.root / self.name

    @property
    def is_there(self) -> bool:
        """Whether anything stands in the file's place, be it readable or not."""
        try:
            self.path.lstat()
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError:
            return True
        return True

    def read(self) -> bytes:
        """All bytes of the file, without a byte order mark.

        Raises:
            FileNotFoundError: Nothing stands in the file's place.
            RefusedFileError: What stands there is not a regular file, or may not be read.
        """
        try:
            # A FIFO or a device would block or never end, so it is not even opened.
            if not stat.S_ISREG(self.path.stat().st_mode):
                raise RefusedFileError(f"{self.name} is not a regular file; put the exported file there.")
            if not self.follow_links and not self.path.resolve().is_relative_to(self.root.resolve()):
                raise RefusedFileError(
                    f"{self.name} leads out of the feed's root by a symbolic link; put the file itself "
                    "there, or set REFINERY_FOLLOW_LINKS=yes."
                )
            return self.path.read_bytes().removeprefix(BYTE_ORDER_MARK)
        except FileNotFoundError:
            raise
        except OSError as error:
            raise RefusedFileError(
                f"{self.name} cannot be read ({error.strerror}); mend its permissions or export it again."
            ) from error


def feed_files(settings: Settings, months: Iterable[Month]) -> list[FeedFile]:
    """The files that the contract expects for `months`, month by month in the families' order."""
    return [feed_file(settings, family, month) for month in months for family in settings.contract.families]


def feed_file(settings: Settings, family: Family, month: Month) -> FeedFile:
    """The file of one family and month."""
    return FeedFile(settings.feed, family, month, settings.follow_links)


@dataclass(frozen=True)
class FeedExtent:
    """The first and the newest month of which the feed holds any file; both None for an empty feed."""

    first: Month | None
    newest: Month | None

    def holds(self, month: Month) -> bool:
        """Whether the month lies within: what is missing of it is a hole, not yet to be exported."""
        return self.first is not None and self.newest is not None and self.first <= month <= self.newest

    def widened(self, months: Iterable[Month]) -> FeedExtent:
        """The extent, with months that are known to have been exported before."""
        known = [month for month in (self.first, self.newest, *months) if month is not None]
        return FeedExtent(min(known, default=None), max(known, default=None))

    def __str__(self) -> str:
        return "no month" if self.first is None else f"{self.first} to {self.newest}"


def feed_extent(settings: Settings) -> FeedExtent:
    """Look from both ends of the window for the first month of which anything is there."""

    def exported(months: Iterable[Month]) -> Month | None:
        return next((month for month in months if any(file.is_there for file in feed_files(settings, [month]))), None)

    window = settings.window
    return FeedExtent(exported(window), exported(reversed(window)))


def content_digest(data: bytes) -> str:
    """The digest by which the content of a file is known (SHA-256, in hexadecimal)."""
    return hashlib.sha256(data).hexdigest()


def header_line(data: bytes) -> bytes:
    """The first line of a file, without its line end."""
    return data[: end if (end := data.find(b"\n")) >= 0 else len(data)].removesuffix(b"\r")


def column_names(data: bytes) -> list[str]:
    """The header's names, stripped and in lower case, in the file's order.

    Bytes that are not UTF-8 are shown escaped, so that they can match no name of the contract; a line that
    is no CSV at all has no names.
    """
    line = header_line(data).decode("utf-8", "backslashreplace")
    try:
        return [name.strip().lower() for name in next(csv.reader([line], strict=True), [])]
    except csv.Error:
        return []


def header_problem(data: bytes, family: Family) -> str | None:
    """Why the header does not serve for `family`, as the end of a sentence; None when it does.

    Names are compared stripped and without regard to case; order and further columns are free.
    """
    if not data:
        return None
    line = header_line(data)
    names = column_names(data)
    repeated = sorted(name for name, count in Counter(names).items() if count > 1 and name in family.columns)
    if repeated:
        return f"names the column {repeated[0]} more than once"
    missing = [column for column in family.columns if column not in names]
    if not missing:
        return None
    wanted = f"lacks {', '.join(missing)}; expected {','.join(family.columns)}"
    cause = _likely_cause(data, line, family)
    return f"{cause}, so it {wanted}" if cause else wanted


def _likely_cause(data: bytes, line: bytes, family: Family) -> str | None:
    """Say in what guise the header comes, where that is plain to see."""
    spoken = {";": "semicolons", "\t": "tabs", "|": "pipes"}
    text = line.decode("utf-8", "replace").lower()
    for delimiter, name in spoken.items():
        if {part.strip() for part in text.split(delimiter)} >= set(family.columns):
            return f"separates columns by {name} instead of commas"
    signs = {
        "is compressed with gzip": data.startswith(b"\x1f\x8b"),
        "is not UTF-8 text but UTF-16 or binary": data.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\0" in line,
        "ends its lines with a carriage return alone": b"\r" in line,
        "stands behind a blank line 1": not line.strip(),
    }
    return next((cause for cause, holds in signs.items() if holds), None)


def count_data_rows(data: bytes) -> int:
    """Count the lines after the header that are not blank, from the bytes and no CSV parser."""
    if not data:
        return 0
    ends = count_letter(data, b"\n")
    lines = ends + (not data.endswith(b"\n"))
    blank = 0
    # Only a line that begins with a blank, or with its own end, can be a blank one.
    if any(
        ((letters[:-1] == _LINE_END) & (letters[1:] <= _GREATEST_BLANK)).any() for letters in _pieces(data, overlap=1)
    ):
        # The pattern also matches the empty end after the last line break, which is not a line.
        blank = sum(1 for match in _BLANK_LINE.finditer(data) if match.end() < len(data) or match[0] != b"\n")
    return max(lines - 1 - blank, 0)


def count_letter(data: bytes, letter: bytes) -> int:
    """Count one ASCII character, many times faster than `bytes.count` where it is frequent."""
    return sum(int(np.count_nonzero(letters == ord(letter))) for letters in _pieces(data))


def _pieces(data: bytes, overlap: int = 0) -> Iterator[NDArray[np.uint8]]:
    """The bytes in pieces that stay in a core's cache while they are looked at."""
    letters = np.frombuffer(data, dtype=np.uint8)
    return (letters[at : at + _PIECE_BYTES + overlap] for at in range(0, len(letters), _PIECE_BYTES))
