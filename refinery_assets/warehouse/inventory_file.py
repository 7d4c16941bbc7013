"""An inventory that is a CSV or Parquet file, read whole or refused.

Here: the file's bytes to a frame. Not here: which of its columns mean what (`inventory_source.py`).
"""

from __future__ import annotations

import csv
import io
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

import polars as pl

from refinery_assets.checks.rules import counted, listing
from refinery_assets.contract.contract_file import Inventory
from refinery_assets.contract.families import DateFormat, Encoding
from refinery_assets.rows.days import day_of
from refinery_assets.warehouse.inventory_error import InventoryError

_DELIMITERS = (",", ";", "\t", "|")
# What spreadsheets leave where rows or columns were once.
_NO_TEXT = "".join(_DELIMITERS) + '" \r'
_TYPES = (pl.Int64, pl.Float64, pl.Date)
# A number would lose the zero of 007, the plus of +49, the last digits of a long one, and 1e5 or nan its meaning.
_NO_NUMBER = r"^(\+|-?(0\d|[A-Za-z]))|[eE]|\d{16}"
_DECIMALS = r"\.(\d+)$"
_DEFAULT = Inventory()
_PERIOD = ("valid_from", "valid_to")
_CODECS = {Encoding.UTF8: "utf-8-sig"}


def read_inventory_file(path: Path, as_text: Collection[str], inventory: Inventory = _DEFAULT) -> pl.DataFrame:
    """The file's rows. Of a CSV file, a column gets the type that all its values are written as.

    Args:
        path: The file.
        as_text: Columns, stripped and in lower case, that stay as they are written: a name such as 007 is no number.
        inventory: How a CSV file is written, and which of its columns hold days; those that its `date_format` reads
            come as YYYY-MM-DD.

    Raises:
        InventoryError: It is not there, cannot be read, or is not what its name says.
    """
    named = f"the file {path}, which [inventory] source names"
    if not path.is_file():
        # Of all that may lie there, what could be meant.
        files = sorted(file.name for file in path.parent.glob("*.*") if file.suffix.lower() in {".csv", ".parquet"})
        raise InventoryError(
            f"{named}, is not there", f"In its folder: {listing(files) or 'no .csv or .parquet file'}."
        )
    try:
        if path.suffix.lower() == ".parquet":
            return pl.read_parquet(path, glob=False)
        text = _text(path, inventory.encoding, named)
    except OSError as error:
        raise InventoryError(f"{named}, cannot be read ({error.strerror})") from error
    except pl.exceptions.PolarsError as error:
        raise InventoryError(f"{named}, cannot be read as Parquet", f"Polars says: {error}.") from error
    header, rows = _lines(text, named, as_text, inventory.delimiter)
    frame = pl.DataFrame([row for _, row in rows], schema=dict.fromkeys(header, pl.String), orient="row").with_columns(
        _days_as_iso(header, inventory)
    )
    return frame.with_columns(
        _typed(column) for column in frame.get_columns() if column.name.strip().lower() not in as_text
    )


def lines_of_texts(path: Path, as_text: Collection[str], inventory: Inventory) -> dict[tuple[str, str], int]:
    """The line on which a text stands first in a column of days, by the keys of `[inventory]` and the texts.

    Raises:
        InventoryError: The CSV file cannot be read any more.
        OSError: As well.
    """
    named = f"the file {path}"
    header, rows = _lines(_text(path, inventory.encoding, named), named, as_text, inventory.delimiter)
    names = [name.strip().lower() for name in header]
    found: dict[tuple[str, str], int] = {}
    for key in _PERIOD:
        column = inventory.own_columns.get(key, "")
        for line, row in rows if column in names else ():
            if text := row[names.index(column)]:
                found.setdefault((key, text), line)
    return found


def _text(path: Path, encoding: Encoding, named: str) -> str:
    try:
        return path.read_text(encoding=_CODECS.get(encoding, encoding))
    except UnicodeError as error:
        other = Encoding.LATIN1 if encoding is Encoding.UTF8 else Encoding.UTF8
        raise InventoryError(
            f'{named}, is not {encoding.upper()} text; set encoding under [inventory] to what it is, such as "{other}"'
        ) from error


def _days_as_iso(header: Sequence[str], inventory: Inventory) -> Iterator[pl.Expr]:
    """The columns of days, written as all queries know them; what is no day stays, for a check to tell."""
    own = {inventory.own_columns.get(key) for key in _PERIOD}
    for name in header if inventory.date_format is not DateFormat.ISO else ():
        if name.strip().lower() in own:
            yield day_of(name, inventory.date_format).dt.to_string("%Y-%m-%d").fill_null(pl.col(name)).alias(name)


def _lines(
    text: str, named: str, wanted: Collection[str], declared: str | None
) -> tuple[list[str], list[tuple[int, list[str | None]]]]:
    """The header and the rows of a CSV file with their lines, without blanks around a field; an empty one is null.

    Lines without any text and columns without a name are left out. Where no delimiter is declared, it is the one that
    the header shows.
    """
    first = next((line.strip() for line in text.split("\n") if line.strip(_NO_TEXT)), "")

    def shown(delimiter: str) -> tuple[int, int]:
        names = {name.strip().strip('"').lower() for name in first.split(delimiter)}
        return len(names.intersection(wanted)), len(names)

    # Not by `splitlines`, which ends lines at characters that are part of a field.
    delimiter = declared or max(_DELIMITERS, key=shown)
    reader = csv.reader(io.StringIO(text), delimiter=delimiter, strict=True)
    rows: list[tuple[int, Sequence[str]]] = []
    header: list[str] = []
    try:
        for row in reader:
            if not any(map(str.strip, row)):
                continue
            if not header:
                header = row
                names = [name for each in header if (name := each.strip().lower())]
                if len(set(names)) < len(names):
                    raise InventoryError(f"{named}, has two columns of one name in its header", f"It reads: {first}")
            elif len(row) != len(header):
                fields = counted(len(row), "field")
                raise InventoryError(
                    f"{named}, has {fields} in line {reader.line_num}, and {len(header)} in its header"
                )
            else:
                rows.append((reader.line_num, row))
    except csv.Error as error:
        raise InventoryError(f"{named}, cannot be read as CSV: line {reader.line_num}, {error}") from error
    if not header:
        raise InventoryError(f"{named}, is empty")
    named_ones = [place for place, name in enumerate(header) if name.strip()]
    return [header[place] for place in named_ones], [
        (line, [row[place].strip() or None for place in named_ones]) for line, row in rows
    ]


def _typed(column: pl.Series) -> pl.Series:
    """The column as whole numbers, numbers or days, where every value is written as one."""
    if column.str.contains(_NO_NUMBER).any() or _loses_zeros(column):
        return column
    for kind in _TYPES:
        cast = column.str.to_date("%Y-%m-%d", strict=False) if kind is pl.Date else column.cast(kind, strict=False)
        if cast.null_count() == column.null_count() < column.len():
            return cast
    return column


def _loses_zeros(column: pl.Series) -> bool:
    """Whether as numbers some would lose a zero that others do without, as the versions 1.9 and 1.10."""
    decimals = column.str.extract(_DECIMALS).drop_nulls()
    return bool(decimals.str.contains(r"\d0$").any()) and decimals.str.len_chars().n_unique() > 1
