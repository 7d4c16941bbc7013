"""Where the feed's files lie, and how their bytes come into memory.

Here: the names of a month's files, reading them whole, the header, and the count of data rows taken from the bytes
alone. Not here: how bytes become text (`text.py`), what the rows say (`rows/read.py`) and whether a month may enter
(`rows/source_checks.py`).
"""

from __future__ import annotations

import csv
import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from refinery_assets.contract.families import Encoding, Family, Lines
from refinery_assets.contract.months import Month
from refinery_assets.contract.places import Place
from refinery_assets.contract.settings import Settings
from refinery_assets.feed.store import Found, Store, UnreadableError, open_store

_BLANKS = " \t\r"
_LINE_END = ord("\n")
_PIECE_BYTES = 2**18
_GREATEST_BLANK = max(map(ord, f"\n{_BLANKS}"))


class RefusedFileError(Exception):
    """A file cannot be taken at all; the message names the file, what is wrong and what to do."""


class CutShortError(RefusedFileError):
    """A file ends before its format says that it does.

    Attributes:
        sign: What shows it, as the end of a sentence.
    """

    def __init__(self, name: str, sign: str) -> None:
        super().__init__(f"{name} {sign}; export it again.")
        self.sign = sign


@dataclass(frozen=True)
class FeedFile:
    """One family's file of one month, whether or not it exists.

    Where the family has a file a day, this stands for all of the month's, unless `day` names one of them.

    Attributes:
        root: The feed's root.
        family: The family.
        month: The month.
        follow_links: Whether a symbolic link may lead out of the root.
        day: The day, of a file a day.
        seen: Where to look, in the place of the root: the feed as it was at one moment.
    """

    root: Place
    family: Family
    month: Month
    follow_links: bool = False
    day: int | None = None
    seen: Store | None = field(default=None, repr=False, compare=False)

    @property
    def name(self) -> str:
        """The file's name relative to the feed's root, with forward slashes; a star for the day where it is any."""
        year, month = f"{self.month.year:04d}", f"{self.month.month:02d}"
        day = "*" if self.day is None else f"{self.day:02d}"
        family = self.family
        return family.path.format(year=year, month=month, day=day, family=family.name, resource=family.resource)

    @property
    def path(self) -> Path:
        """The file's place on disk, of a feed in a folder."""
        if not isinstance(self.root, Path):
            raise TypeError(f"{self.name} lies in {self.root}, not on the disk.")
        return self.root / self.name

    @property
    def suffix(self) -> str:
        """The last part of the name that says what is in the file, in lower case."""
        return PurePosixPath(self.name).suffix.lower()

    @property
    def _store(self) -> Store:
        return self.seen or open_feed(self.root, follow_links=self.follow_links)

    @property
    def is_daily(self) -> bool:
        """Whether the month is a file for each of its days."""
        return self.day is None and "{day}" in self.family.path

    @property
    def parts(self) -> list[FeedFile]:
        """The single files: a file for each day of the month, in order, or this one."""
        if not self.is_daily:
            return [self]
        return [replace(self, day=day.day) for day in self.month.days]

    @property
    def is_there(self) -> bool:
        """Whether anything stands in the file's place, or in that of one of its parts, be it readable or not."""
        if self.is_daily:
            return any(part.is_there for part in self.parts)
        return self._store.is_there(self.name)

    def look(self) -> Found | None:
        """What can be seen of a single file without reading it; None where nothing can be seen."""
        return self._store.look(self.name)

    def read(self) -> bytes:
        """All bytes of a single file, as they stand in the feed.

        Raises:
            FileNotFoundError: Nothing stands in the file's place.
            RefusedFileError: What stands there is not a regular file, or may not be read.
            StoreError: The feed's store cannot be reached.
        """
        try:
            return self._store.read(self.name)
        except UnreadableError as error:
            raise RefusedFileError(f"{self.name} {error}") from error

    def digest(self) -> str:
        """The digest of the bytes on the disk, of all parts together where there are several.

        Raises:
            FileNotFoundError: Nothing of it is there.
            RefusedFileError: A part cannot be read.
        """
        if not self.is_daily:
            return content_digest(self.read())
        there = [part for part in self.parts if part.is_there]
        if not there:
            raise FileNotFoundError(self.name)
        return digest_of_parts({part.name: part.digest() for part in there})


def open_feed(root: Place, *, follow_links: bool) -> Store:
    """The store that the feed lies in."""
    return open_store(root, "REFINERY_FEED", follow_links=follow_links)


def feed_as_of_now(settings: Settings) -> Store:
    """The feed for a look at many files at once."""
    return open_feed(settings.feed, follow_links=settings.follow_links).as_of_now()


def feed_files(settings: Settings, months: Iterable[Month], seen: Store | None = None) -> list[FeedFile]:
    """The files that the contract expects for `months`, month by month in the families' order.

    Args:
        settings: Where the feed lies.
        months: The months.
        seen: The feed as it was at one moment (see `feed_as_of_now`); None: each file is looked for by itself.
    """
    return [feed_file(settings, family, month, seen) for month in months for family in settings.contract.families]


def feed_file(settings: Settings, family: Family, month: Month, seen: Store | None = None) -> FeedFile:
    """The file of one family and month, or all of its days'."""
    return FeedFile(settings.feed, family, month, settings.follow_links, seen=seen)


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
    """Look from both ends of the window for the first month of which anything is there.

    Raises:
        StoreError: The feed's store cannot be reached.
    """
    seen = feed_as_of_now(settings)

    def exported(months: Iterable[Month]) -> Month | None:
        return next(
            (month for month in months if any(file.is_there for file in feed_files(settings, [month], seen))), None
        )

    window = settings.window
    return FeedExtent(exported(window), exported(reversed(window)))


def content_digest(data: bytes) -> str:
    """The digest by which the content of a file is known (SHA-256, in hexadecimal)."""
    return hashlib.sha256(data).hexdigest()


def digest_of_parts(digests: Mapping[str, str]) -> str:
    """The digest of a month of several files, by their names."""
    return content_digest(repr(sorted(digests.items())).encode())


def header_line(data: bytes) -> bytes:
    """The first line of a file, without its line end."""
    return data[: end if (end := data.find(b"\n")) >= 0 else len(data)].removesuffix(b"\r")


def column_names(data: bytes, lines: Lines) -> list[str]:
    """The header's names, stripped and in lower case, in the file's order.

    Bytes that are not UTF-8 are shown escaped, so that they can match no name of the contract; a line that
    is no CSV at all has no names.
    """
    line = header_line(data).decode("utf-8", "backslashreplace")
    try:
        fields = csv.reader(
            [line],
            delimiter=lines.delimiter,
            quotechar=lines.quote or None,
            quoting=csv.QUOTE_MINIMAL if lines.quote else csv.QUOTE_NONE,
            strict=True,
        )
        return [name.strip().lower() for name in next(fields, [])]
    except csv.Error:
        return []


def header_problem(data: bytes, family: Family) -> str | None:
    """Why the header does not serve for `family`, as the end of a sentence; None when it does.

    Names are compared stripped and without regard to case; order and further columns are free.
    """
    if not data:
        return None
    wanted = columns_problem(column_names(data, family), family)
    if wanted is None or not wanted.startswith("lacks"):
        return wanted
    cause = _likely_cause(data, header_line(data), family)
    return f"{cause}, so it {wanted}" if cause else wanted


def columns_problem(names: Sequence[str], family: Family) -> str | None:
    """Why columns of these names, stripped and in lower case, do not serve for `family`; None when they do."""
    repeated = sorted(name for name, count in Counter(names).items() if count > 1 and name in family.columns)
    if repeated:
        return f"names the column {repeated[0]} more than once"
    missing = [column for column in family.columns if column not in names]
    if not missing:
        return None
    return f"lacks {', '.join(missing)}; expected {family.delimiter.join(family.columns)}"


_SPOKEN = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "pipes", ":": "colons", " ": "blanks"}


def _likely_cause(data: bytes, line: bytes, family: Family) -> str | None:
    """Say in what guise the header comes, where that is plain to see."""
    text = line.decode("utf-8", "replace").lower()
    for delimiter, name in _SPOKEN.items():
        if delimiter == family.delimiter:
            continue
        if {part.strip(f" {family.quote}") for part in text.split(delimiter)} >= set(family.columns):
            return f"separates columns by {name} instead of {_SPOKEN[family.delimiter]}, which delimiter declares"
    signs = {
        "is compressed with gzip": data.startswith(b"\x1f\x8b"),
        "is compressed with Zstandard": data.startswith(b"\x28\xb5\x2f\xfd"),
        "is a ZIP archive or a spreadsheet": data.startswith(b"PK\x03\x04"),
        "is a Parquet file": data.startswith(b"PAR1"),
        **_signs_of_another_encoding(data, line, family),
        "ends its lines with a carriage return alone": b"\r" in line,
        "stands behind a blank line 1": not line.strip(),
    }
    return next((cause for cause, holds in signs.items() if holds), None)


def _signs_of_another_encoding(data: bytes, line: bytes, family: Family) -> dict[str, bool]:
    if family.encoding is Encoding.UTF16:
        # Two letters of eight bits were taken for one of sixteen; put back, they show the header.
        before = data[:4000].decode("utf-8", "replace").encode("utf-16-le")
        return {"is not UTF-16 text": all(column.encode() in before.lower() for column in family.columns)}
    if family.encoding is Encoding.LATIN1:
        return {
            "is UTF-8 text and not latin-1": data.startswith("\xef\xbb\xbf".encode()),
            "is not latin-1 text but UTF-16 or binary": b"\0" in line,
        }
    return {
        "is not UTF-8 text but UTF-16 or binary": data.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\0" in line,
        'is not UTF-8 text, which encoding declares (try encoding = "latin-1")': not _is_utf_8(line),
    }


def _is_utf_8(line: bytes) -> bool:
    try:
        line.decode()
    except UnicodeDecodeError:
        return False
    return True


def blanks(lines: Lines) -> str:
    """What a line may hold and still be blank, and not a row. The reader and the count must agree on it."""
    return _BLANKS.replace(lines.delimiter, "")


def count_data_rows(data: bytes, lines: Lines) -> int:
    """Count the lines after the header that are not blank, from the bytes and no CSV parser."""
    if not data:
        return 0
    rows = count_letter(data, b"\n") + (not data.endswith(b"\n")) - 1
    # Only a line that begins with a blank, or with its own end, can be a blank one.
    if any(
        ((letters[:-1] == _LINE_END) & (letters[1:] <= _GREATEST_BLANK)).any() for letters in _pieces(data, overlap=1)
    ):
        # The pattern also matches the empty end after the last line break, which is not a line.
        blank_line = re.compile(rb"\n[%s]*(?=\n|\Z)" % blanks(lines).encode())
        rows -= sum(1 for match in blank_line.finditer(data) if match.end() < len(data) or match[0] != b"\n")
    return max(rows, 0)


def count_letter(data: bytes, letter: bytes) -> int:
    """Count one ASCII character, many times faster than `bytes.count` where it is frequent."""
    return sum(int(np.count_nonzero(letters == ord(letter))) for letters in _pieces(data))


def _pieces(data: bytes, overlap: int = 0) -> Iterator[NDArray[np.uint8]]:
    """The bytes in pieces that stay in a core's cache while they are looked at."""
    letters = np.frombuffer(data, dtype=np.uint8)
    return (letters[at : at + _PIECE_BYTES + overlap] for at in range(0, len(letters), _PIECE_BYTES))
