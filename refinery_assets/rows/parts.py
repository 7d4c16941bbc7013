"""A single file of the feed, read and taken as what it is: text or Parquet.

Here: what can be asked of a file whatever its format, and a month's files one after the other. Not here: how the
formats are read (`read.py`, `parquet.py`) and what the rows come to (`family.py`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cached_property

import polars as pl

from refinery_assets.checks.rules import shortened
from refinery_assets.contract.months import Month
from refinery_assets.feed.files import (
    FeedFile,
    RefusedFileError,
    column_names,
    content_digest,
    count_data_rows,
    count_letter,
    header_line,
    header_problem,
)
from refinery_assets.feed.text import text_of
from refinery_assets.rows.days import as_text, day_of, day_text
from refinery_assets.rows.parquet import ParquetTable
from refinery_assets.rows.read import read_columns, read_lines

EMPTY = "is empty"
NO_ROWS = "holds only its header"

# Of a file whose dates cannot be read: how far its first row is looked for, and how much of it is shown.
_LINES_LOOKED_AT = 100
_LONGEST_LINE = 200
# More of a file's dates that are no days, and it is not sure of which month it is.
_MOST_NO_DAYS = 0.1


@dataclass(frozen=True)
class TextPart:
    """A file of lines.

    Attributes:
        file: Where it is from.
        digest: Digest of its bytes on the disk.
        data: Its text in UTF-8.
    """

    file: FeedFile
    digest: str
    data: bytes

    @cached_property
    def rows(self) -> int:
        """Data rows, counted from the bytes alone."""
        return count_data_rows(self.data, self.file.family)

    @property
    def lines(self) -> int:
        """Lines of any kind, the header with them."""
        return count_letter(self.data, b"\n") + (not self.data.endswith(b"\n"))

    @property
    def columns(self) -> Sequence[str]:
        """The names of the columns, stripped and in lower case."""
        return column_names(self.data, self.file.family)

    @property
    def header_problem(self) -> str | None:
        """Why the header does not serve, as the end of a sentence; None when it does."""
        return header_problem(self.data, self.file.family)

    @property
    def unfinished(self) -> str | None:
        """What shows that the export did not finish, as the end of a sentence; else None."""
        if not self.data:
            return EMPTY
        if not self.rows:
            return NO_ROWS
        if not self.data.endswith(b"\n"):
            return f"ends in the middle of line {self.lines}"
        return None

    @property
    def first_row(self) -> str:
        """The first line after the header that is not blank, with its number, as the end of a sentence."""
        lines = enumerate(self.data.split(b"\n", _LINES_LOOKED_AT)[1:-1], start=2)
        number, line = next(((number, line) for number, line in lines if line.strip()), (2, b""))
        text = shortened(line.decode("utf-8", "backslashreplace").strip(), _LONGEST_LINE)
        return f"line {number} reads {text!r}"

    def reaches(self, day: date) -> bool:
        """Whether a search from the end at once finds a row of that day; it may be there although none is found."""
        family = self.file.family
        if column_names(self.data, family)[:1] != [family.date]:
            return False
        text = f"\n{day_text(day, family.date_format)}{family.delimiter}"
        return self.data.rfind(text.encode()) >= 0

    def read_columns(self) -> pl.DataFrame | None:
        """As `read.read_columns`."""
        return read_columns(self.data, self.file.family)

    def read_lines(self) -> Iterator[pl.DataFrame]:
        """As `read.read_lines`."""
        return read_lines(self.data, self.file.family)


@dataclass(frozen=True)
class ParquetPart:
    """A Parquet file: what stands for its lines are its rows."""

    file: FeedFile
    digest: str
    table: ParquetTable | None

    @property
    def rows(self) -> int:
        """Rows, as the footer counts them."""
        return self.table.rows if self.table else 0

    @property
    def lines(self) -> int:
        """The same: there is no header among them."""
        return self.rows

    @property
    def columns(self) -> Sequence[str]:
        """The names of the columns that a row's text has."""
        return self.file.family.columns

    @property
    def header_problem(self) -> str | None:
        """Why the schema does not serve, as the end of a sentence; None when it does."""
        return self.table.problem if self.table else None

    @property
    def unfinished(self) -> str | None:
        """What shows that the export did not finish, as the end of a sentence; else None."""
        if self.table is None:
            return EMPTY
        return None if self.rows else NO_ROWS

    @property
    def first_row(self) -> str:
        """The first row, as the end of a sentence."""
        first = next(self.read_lines())["raw"][0]
        return f"row 1 reads {shortened(first, _LONGEST_LINE)!r}"

    def reaches(self, day: date) -> bool:  # noqa: ARG002 - as of text
        """Nothing can be searched for."""
        return False

    def read_columns(self) -> pl.DataFrame | None:
        """As `read.read_columns`."""
        return self.table.columns() if self.table else None

    def read_lines(self) -> Iterator[pl.DataFrame]:
        """As `read.read_lines`."""
        return self.table.lines() if self.table else iter(())


Part = TextPart | ParquetPart


def read_part(file: FeedFile) -> Part:
    """Read a single file.

    Raises:
        FileNotFoundError: Nothing stands in the file's place.
        RefusedFileError: It cannot be read or unpacked.
    """
    raw = file.read()
    digest = content_digest(raw)
    if file.suffix == ".parquet":
        return ParquetPart(file, digest, ParquetTable(raw, file) if raw else None)
    return TextPart(file, digest, text_of(raw, file))


def read_month(file: FeedFile) -> list[Part]:
    """Read the files of a family's month that are there, in order. A day may be without rows where others have some.

    Raises:
        RefusedFileError: There is none, or one cannot be read, its header does not serve, or its export did not finish.
    """
    parts = []
    for each in file.parts:
        try:
            parts.append(read_part(each))
        except FileNotFoundError:
            continue
    if not parts:
        raise RefusedFileError(f"{file.name} is not there; export it again.")
    for part in parts:
        if problem := part.header_problem:
            raise RefusedFileError(f"{part.file.name}, line 1: the header {problem}. Export the file again.")
    for part in [part for part in parts if part.unfinished != NO_ROWS] or parts:
        if sign := part.unfinished:
            raise RefusedFileError(f"{part.file.name} {sign}; export it again.")
    return parts


def columns_of(parts: Mapping[int, Part]) -> pl.DataFrame | None:
    """The typed columns of files that hold rows, by the number of their first line; None when anything is in doubt."""
    texts = [part for part in parts.values() if isinstance(part, TextPart)]
    headers = {header_line(text.data) for text in texts}
    if len(parts) > 1 and len(texts) == len(parts) and len(headers) == 1:
        return _columns_at_once(texts, list(parts))
    read = []
    for start, part in parts.items():
        columns = part.read_columns()
        if columns is None:
            return None
        read.append(_counted_on(columns, start))
    # Files that differ in the type of a column are judged row by row.
    if any(columns.schema != read[0].schema for columns in read):
        return None
    return pl.concat(read, rechunk=True) if len(read) > 1 else read[0]


def _columns_at_once(texts: Sequence[TextPart], starts: Sequence[int]) -> pl.DataFrame | None:
    """The same of texts with one header: parsed one by one, small files take twice the time."""
    if not all(text.data.endswith(b"\n") for text in texts):
        return None
    first, *others = (text.data for text in texts)
    columns = read_columns(b"".join([first, *(data[data.index(b"\n") + 1 :] for data in others)]), texts[0].file.family)
    if columns is None:
        return None
    # What was read without doubt has a row in every line but the headers.
    lines = [
        pl.int_range(start + 1, start + text.lines, dtype=pl.UInt32, eager=True)
        for start, text in zip(starts, texts, strict=True)
    ]
    return columns.replace_column(0, pl.concat(lines, rechunk=True).alias("source_line"))


def lines_of(parts: Mapping[int, Part]) -> Iterator[pl.DataFrame]:
    """The rows of files one after the other, as of `read.read_lines`."""
    return (_counted_on(block, start) for start, part in parts.items() for block in part.read_lines())


def _counted_on(rows: pl.DataFrame, start: int) -> pl.DataFrame:
    """The rows with lines numbered on from those of the files before; `start` is the number of the first line."""
    if start == 1:
        return rows
    return rows.replace_column(0, (rows["source_line"] + (start - 1)).alias("source_line"))


def newest_day(part: Part, month: Month) -> date | None:
    """The newest day of `month` that any row of the file is dated, whatever else is wrong with the row."""
    # A closed month's file mostly ends on the last day, and then a search from its end answers at once.
    if part.reaches(month.last_day):
        return month.last_day
    return max(days_of(part, month), default=None)


def days_of(part: Part, month: Month) -> list[date]:
    """The days of `month` that rows of the file are dated, in order."""
    days = pl.concat(_dates(part)).drop_nulls().unique().sort()
    return days.filter(days.is_between(month.first_day, month.last_day)).to_list()


def months_of(part: Part) -> list[Month]:
    """The months that the file's rows are dated, in order; none where many dates are not written as declared."""
    days = pl.concat(_dates(part))
    if days.null_count() > _MOST_NO_DAYS * days.len():
        return []
    return sorted({Month.of(day) for day in days.drop_nulls().to_list()})


def _dates(part: Part) -> Iterator[pl.Series]:
    """The different dates of the rows, a block at a time; null for what is no day as the family writes them."""
    yield pl.Series("day", [], pl.Date)
    columns = part.read_columns()
    blocks = part.read_lines() if columns is None else iter([columns])
    family = part.file.family
    for block in blocks:
        texts = as_text(block["date"].unique(), family.date_format).to_frame()
        yield texts.select(day_of("date", family.date_format).dt.date().alias("day"))["day"]
