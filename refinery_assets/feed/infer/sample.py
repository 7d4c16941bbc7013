"""A sample of a file's lines, with the way they are written.

Here: encoding, delimiter, quotation mark and header, and some of the rows. Not here: what the
columns mean (`columns.py`).
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import duckdb

from refinery_assets.contract.families import Encoding
from refinery_assets.feed.infer.paths import Dated

_FIRST_LINES, _MORE_LINES = 1_000, 4_000
_LONGEST_LINE = 4 << 20
_DELIMITERS, _QUOTES = (",", ";", "|", ":", "\t", " "), ('"', "'")


class UnreadableSampleError(Exception):
    """A file's lines cannot be told apart into fields; the message is a clause that says why."""


@dataclass(frozen=True)
class Sample:
    """Some rows of a file.

    Attributes:
        file: The file.
        header: The names of its columns, as they stand there.
        rows: Line numbers (of Parquet: row numbers) and fields; rows with other than the header's fields left out.
        first_line: The header's line, for quoting; empty for Parquet.
        malformed: The lines among those looked at that have other than the header's fields.
        delimiter: What stands between fields; None for Parquet.
        quote: The quotation mark that was seen; None: none was.
        encoding: How characters are written.
    """

    file: Dated
    header: Sequence[str]
    rows: Sequence[tuple[int, Sequence[str]]]
    first_line: str = ""
    malformed: Sequence[int] = ()
    delimiter: str | None = None
    quote: str | None = None
    encoding: Encoding = Encoding.UTF8


def read_sample(connection: duckdb.DuckDBPyConnection, file: Dated, least_columns: int = 3) -> Sample:
    """Look into a file.

    Args:
        connection: A database in memory.
        file: The file.
        least_columns: How many it has to have: date, host and value at least.

    Raises:
        UnreadableSampleError: It is empty, or is no table that a contract can declare.
    """
    if file.path.suffix.lower() == ".parquet":
        return _read_parquet(connection, file)
    encoding = _name_lines(connection, file.path)
    lines = _some_lines(connection)
    if not lines:
        raise UnreadableSampleError("it is empty")
    delimiter, quote = _dialect([text for _, text in lines], least_columns)
    (_, first), *others = lines
    header = [name.strip() for name in _fields(first, delimiter, quote)]
    rows, malformed = [], []
    for number, text in others:
        fields = _fields(text, delimiter, quote)
        if len(fields) == len(header):
            rows.append((number, [field.strip() for field in fields]))
        else:
            malformed.append(number)
    if not rows:
        raise UnreadableSampleError("no row fits its header")
    return Sample(file, header, rows, first, malformed, delimiter, quote, encoding)


def _name_lines(connection: duckdb.DuckDBPyConnection, path: Path) -> Encoding:
    """Have the file's lines in the table `lines`; its encoding is the first in which all of it can be read."""
    if _read_lines(connection, path, Encoding.UTF8) is None:
        encoding = Encoding.UTF8
    # Every byte is a character of Latin-1, so by that the bytes can be looked at, of compressed files as well.
    elif refusal := _read_lines(connection, path, Encoding.LATIN1):
        raise UnreadableSampleError(refusal)
    else:
        encoding = Encoding.LATIN1
    # Every other byte of UTF-16 is zero, mostly, and no other text has zero bytes.
    if not _has_zero_bytes(connection):
        return encoding
    if _read_lines(connection, path, Encoding.UTF16) or _has_zero_bytes(connection):
        raise UnreadableSampleError("it holds zero bytes, as text does not")
    return Encoding.UTF16


def _has_zero_bytes(connection: duckdb.DuckDBPyConnection) -> bool:
    ((found,),) = connection.execute("SELECT bool_or(contains(line, chr(0))) FROM lines").fetchall()
    return bool(found)


def _read_lines(connection: duckdb.DuckDBPyConnection, path: Path, encoding: Encoding) -> str | None:
    """Have the lines in the table `lines`; or else, what DuckDB says."""
    try:
        connection.execute(
            """
            CREATE OR REPLACE TABLE lines AS
            SELECT row_number() OVER () AS number, coalesce(line, '') AS line
            FROM read_csv($path, columns={'line': 'VARCHAR'}, auto_detect=false, header=false, delim='\x01', quote='',
                escape='', encoding=$encoding, max_line_size=$longest, strict_mode=false)
            """,
            {"path": str(path), "encoding": str(encoding), "longest": _LONGEST_LINE},
        )
    except duckdb.Error as error:
        return str(error).splitlines()[0]
    return None


def _dialect(lines: Sequence[str], least_columns: int) -> tuple[str, str | None]:
    """Delimiter and quotation mark: those by which most lines have as many fields as the header.

    DuckDB's sniffer is not asked, which takes a decimal comma for the delimiter in a file of few lines.
    """
    found = []
    for delimiter, quote in product(_DELIMITERS, _QUOTES):
        counts = [len(_fields(line, delimiter, quote)) for line in lines[:_FIRST_LINES]]
        even = sum(count == counts[0] for count in counts) / len(counts)
        quoted = sum(f"{quote}{delimiter}" in line or f"{delimiter}{quote}" in line for line in lines)
        found.append((counts[0] >= least_columns, round(even, 1), counts[0], quoted, delimiter, quote))
    fits, _, _, quoted, delimiter, quote = max(found, key=lambda each: each[:4])
    if not fits:
        raise UnreadableSampleError("its first line is no header with a date, a host and a value")
    return delimiter, quote if quoted else None


def _some_lines(connection: duckdb.DuckDBPyConnection) -> list[tuple[int, str]]:
    """The first lines, and others from all over the file: exports are sorted by day or by host."""
    return connection.execute(
        """
        SELECT number, line FROM lines, (SELECT 1 + count(*) // $more AS step FROM lines)
        WHERE line <> '' AND (number <= $first OR number % step = 0) ORDER BY number
        """,
        {"first": _FIRST_LINES, "more": _MORE_LINES},
    ).fetchall()


def _fields(line: str, delimiter: str, quote: str | None) -> list[str]:
    reader: Iterator[list[str]] = csv.reader([line], delimiter=delimiter, quotechar=quote or '"')
    try:
        return next(reader)
    except csv.Error:
        return []


def _read_parquet(connection: duckdb.DuckDBPyConnection, file: Dated) -> Sample:
    try:
        cursor = connection.execute(
            "SELECT file_row_number + 1, * EXCLUDE (file_row_number) FROM read_parquet($path, file_row_number=true) "
            "WHERE file_row_number < $first OR file_row_number % 31 = 0 LIMIT $most",
            {"path": str(file.path), "first": _FIRST_LINES, "most": _FIRST_LINES + _MORE_LINES},
        )
        header = [column[0] for column in (cursor.description or ())[1:]]
        rows = [(number, ["" if cell is None else str(cell) for cell in cells]) for number, *cells in cursor.fetchall()]
    except duckdb.Error as error:
        raise UnreadableSampleError(str(error).splitlines()[0]) from None
    if not rows:
        raise UnreadableSampleError("it has no rows")
    return Sample(file, header, rows)
