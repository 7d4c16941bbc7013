"""Rows that contradict the contract's declaration of the file: most of them in one and the same way.

Here: which key of the contract most of a file's faulty rows speak against, with a sample, and what it should be set to.
Only where the rows leave no doubt; a few odd rows are for the export to correct. Not here: the faults of single rows
(`scrub.py`), and headers (`feed/files.py`).
"""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import polars as pl

from refinery_assets.checks.rules import shortened
from refinery_assets.contract.families import DateFormat, Encoding, Family, Fault, Unit
from refinery_assets.contract.months import Month
from refinery_assets.feed.files import FeedFile
from refinery_assets.rows.days import day_of
from refinery_assets.rows.read import COLUMNS

_ROWS_LOOKED_AT = 500
_LEAST_SHARE_OF_FILE = 0.1
_NEARLY_ALL = 0.9
_LONGEST = 100
# Up to here a fraction may be a reading somewhat above full, which `overshoot` is for.
_OVERSHOOT_PERCENT, _FULL_OF_FULL = 120.0, 10_000.0
_UNDECODED = re.compile(r"\\x[0-9a-f]{2}")
_QUOTES = ('"', "'")
_DELIMITERS = (";", "|", "\t", ",", ":", " ")


@dataclass(frozen=True)
class Contradiction:
    """A key of the contract that the rows speak against.

    Attributes:
        clue: What the rows have, with a sample and its place; it quotes the file.
        remedy: What to do about it, in words of our own.
    """

    clue: str
    remedy: str


@dataclass(frozen=True)
class _Row:
    line: int
    fault: str
    raw: str
    y: float | None
    fields: dict[str, str]
    width: int


# What a row has, what the sample is, and the key and the value to set; no value: none can be declared.
_Clue = tuple[str, str, str, str]


def find_contradiction(
    faulty: pl.DataFrame,
    of_rows: int,
    file: FeedFile,
    header: Callable[[int], Sequence[str]],
    place: Callable[[int], str],
) -> Contradiction | None:
    """Find what most of the faulty rows of a file contradict.

    Args:
        faulty: The file's faulty rows, as `scrub.scrub` gives them.
        of_rows: How many rows the file has.
        file: The file.
        header: Gives the names of the columns, stripped and in lower case, for a row's `source_line`: files of days may
            differ in their order.
        place: Gives file and line for a row's `source_line`.

    Returns:
        None where there are few, or where they are faulty in several ways.
    """
    family = file.family
    if not faulty.height or faulty.height < _LEAST_SHARE_OF_FILE * of_rows:
        return None
    some = faulty.gather_every(max(1, faulty.height // _ROWS_LOOKED_AT))
    rows = [
        _Row(line, fault, raw, y, _fields(raw, family, names := header(line)), len(names))
        for line, fault, raw, y in some.select("source_line", "fault", "raw", "y").iter_rows()
    ]
    clues = [(clue, row) for row in rows for clue in _clues(row, family)] + _dates(rows, family, file.month)
    counts = Counter((what, key, value) for (what, _, key, value), _ in clues)
    for (what, key, value), number in counts.most_common(1):
        if 2 * number > len(rows):
            sample, line = next(
                (clue[1], row.line) for clue, row in clues if (clue[0], *clue[2:]) == (what, key, value)
            )
            shown = shortened(sample, _LONGEST)
            # A byte is shown escaped already.
            quoted = repr(shown).replace("\\\\", "\\")
            return Contradiction(f"Most of these rows {what}: {quoted} ({place(line)}).", _remedy(family, key, value))
    return None


def _remedy(family: Family, key: str, value: str) -> str:
    declared = getattr(family, key)
    says = f"has {key} = {_toml(declared)}" if isinstance(declared, str) else f"names other words as {key}"
    if not value:
        return (
            f"The contract {says}, which most of these rows contradict. Have the file exported as declared, or correct "
            f"{key} in the contract (REFINERY_CONTRACT) if what they have can be declared; then run the month again."
        )
    return (
        f"The contract {says}, which most of these rows contradict; they read as {value}. Set that in the contract "
        "(REFINERY_CONTRACT) if it holds for all months, or have the file exported as declared; then run the month "
        "again."
    )


def _fields(raw: str, family: Family, header: Sequence[str]) -> dict[str, str]:
    """The fields of a line under the names that they have here; none where the line is not of the header's width."""
    fields = _split(raw, family.delimiter, family.quote)
    if len(fields) != len(header):
        return {}
    return {name: fields[header.index(column)].strip() for name, column in zip(COLUMNS, family.columns, strict=False)}


def _split(raw: str, delimiter: str, quote: str) -> list[str]:
    if not quote:
        return raw.split(delimiter)
    try:
        return next(csv.reader([raw], delimiter=delimiter, quotechar=quote), [])
    except csv.Error:
        return []


def _clues(row: _Row, family: Family) -> Iterator[_Clue]:
    """What a single row speaks against; the first of them is the plainest."""
    if row.fault == Fault.MALFORMED_ROW:
        yield from list(_of_lines(row, family))[:1]
    elif row.fault == Fault.NOT_A_NUMBER:
        yield from _of_numbers(row, family)
    elif (
        row.fault == Fault.OUT_OF_RANGE
        and family.unit is Unit.FRACTION
        and row.y is not None
        and _OVERSHOOT_PERCENT < row.y <= _FULL_OF_FULL
    ):
        yield "have a value above 1, and not above 100", row.fields.get("value", ""), "unit", 'unit = "percent"'


def _of_lines(row: _Row, family: Family) -> Iterator[_Clue]:
    if family.encoding is Encoding.UTF8 and (byte := _UNDECODED.search(row.raw)):
        # The bytes before it are characters, so the sample shows where it stands.
        yield "hold bytes that are not UTF-8", row.raw[max(0, byte.start() - 20) :], "encoding", 'encoding = "latin-1"'
    elif not row.fields:
        for quote in _QUOTES:
            if quote == family.quote or quote not in row.raw:
                continue
            if len(_split(row.raw, family.delimiter, quote)) == row.width:
                yield f"have fields quoted with {quote}", row.raw, "quote", f"quote = {_toml(quote)}"
        for delimiter in _DELIMITERS:
            if delimiter != family.delimiter and len(_split(row.raw, delimiter, family.quote)) == row.width > 1:
                yield (
                    "have the header's number of fields by another delimiter",
                    row.raw,
                    "delimiter",
                    f"delimiter = {_toml(delimiter)}",
                )
        if family.delimiter == "," and len(_split(row.raw, ",", family.quote)) > row.width:
            yield "have more fields than the header, as decimal commas without quotes give", row.raw, "delimiter", ""


def _of_numbers(row: _Row, family: Family) -> Iterator[_Clue]:
    other = {".": ",", ",": "."}[family.decimal]
    for text in (row.fields.get("value", ""), row.fields.get("capacity", "")):
        if re.fullmatch(rf"[+-]?\d+{re.escape(other)}\d+", text):
            yield "have numbers with another decimal mark", text, "decimal", f'decimal = "{other}"'
            return
        if text and not any(letter.isdigit() for letter in text) and text.lower() not in family.absent:
            # The word itself is the file's, so it is in the clue alone.
            yield "have a word in place of a number", text, "absent", ""
            return


def _dates(rows: Sequence[_Row], family: Family, month: Month) -> list[tuple[_Clue, _Row]]:
    """What the dates speak against, of all rows together: one alone may fit several formats."""
    dated = [row for row in rows if row.fault in {Fault.BAD_TIMESTAMP, Fault.OUTSIDE_MONTH} and row.fields.get("date")]
    if not dated:
        return []
    texts = pl.DataFrame({"date": [row.fields["date"] for row in dated]})
    is_inside = pl.col("day").dt.date().is_between(month.first_day, month.last_day)
    inside = {
        each: texts.select(day=day_of("date", each)).filter(is_inside).height
        for each in DateFormat
        if each is not family.date_format
    }
    most = max(inside.values())
    if most >= _NEARLY_ALL * len(dated):
        fitting = [f'date_format = "{each}"' for each, number in inside.items() if number == most]
        what = "have dates that read as days of the month in another format alone"
        return [((what, row.fields["date"], "date_format", " or ".join(fitting)), row) for row in dated]
    # Days of another month, written as declared, are no matter of the format.
    what = "have dates that no format which can be declared reads as days of the month"
    unread = [row for row in dated if row.fault == Fault.BAD_TIMESTAMP]
    return [((what, row.fields["date"], "date_format", ""), row) for row in unread]


def _toml(text: str) -> str:
    return f"'{text}'" if text == '"' else '"\\t"' if text == "\t" else f'"{text}"'
