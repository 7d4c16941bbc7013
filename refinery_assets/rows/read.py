"""From a file's text to rows with line numbers: exact where the bytes leave no doubt, and fast then.

Two readers, one result. `read_columns` takes a file only when its bytes prove that a plain typed parse
cannot go wrong; the columns come out typed at once. `read_lines` takes any file line by line, so that a
quote never closed, a missing or a surplus field touches no line but its own; its columns are still
text, for `scrub.scrub` to cast. Not here: what becomes of typed columns (`clean.py`), verdicts on values, duplicates
and gaps.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

import polars as pl

from refinery_assets.contract.families import Family
from refinery_assets.feed.files import blanks, column_names, columns_problem, count_letter, header_line

# What is taken apart at once: text split into fields takes many times its size.
_BLOCK_BYTES = 16 * 2**20

CONTROL_CHARACTERS = r"[\x00-\x08\x0a-\x1f\x7f-\x9f]"
"""Of C0 all but the tab, DEL, and C1, which stand in no text but one that was decoded wrongly."""

COLUMNS = ("date", "host_id", "value", "capacity")
"""What the columns of a family are called until they are judged."""


def read_columns(data: bytes, family: Family) -> pl.DataFrame | None:
    """Read a file whose bytes prove that each line holds the header's fields, plainly written.

    Returns:
        One row per line: `source_line` (the header is 1), `date` (text), `host_id`, `value` (in the family's unit),
        `capacity`; None when anything is in doubt, so that `read_lines` must have a look.
    """
    names = column_names(data, family)
    if columns_problem(names, family) is not None:
        return None
    ends = count_letter(data, b"\n")
    if b"\r" in data and count_letter(data, b"\r") == data.count(b"\r\n") == ends:
        data = data.replace(b"\r\n", b"\n")
    if (
        not data.endswith(b"\n")
        or any(byte in data for byte in (family.quote.encode() or b"\0", b"\r", b"\0"))
        # Together with Polars' refusal of a line with more fields than the schema, the right total
        # means the right number in every line.
        or count_letter(data, family.delimiter.encode()) != (len(names) - 1) * ends
    ):
        return None
    places = [str(names.index(column)) for column in family.columns]
    types: dict[str, pl.DataType] = {str(place): pl.String() for place in range(len(names))}
    types |= dict.fromkeys(places[2:], pl.Float64())
    rows = _parsed(data, family, types)
    if rows is None or rows.height != ends - 1:
        return None
    texts = [rows[place] for place in types if place not in places[2:]]
    # A decimal point is read for a decimal comma as well, so it must not stand in any number.
    if family.decimal == "," and count_letter(data, b".") != _count_dots(header_line(data), texts):
        return None
    others = [rows[place] for place in types if place not in places]
    is_in_doubt = any(text.str.contains(CONTROL_CHARACTERS).any() for text in others)
    return None if is_in_doubt else named_columns([rows[place] for place in places], first_line=2)


def _parsed(data: bytes, family: Family, types: Mapping[str, pl.DataType]) -> pl.DataFrame | None:
    """The rows after the header, columns named by their place; None where a number is not one."""
    spellings = [spelled for text in family.absent if text for spelled in (text, text.upper(), text.title())]
    # Files that write something where there is no value are read a second time, so that others pay nothing.
    for null_values in (None, spellings):
        try:
            return pl.read_csv(
                data,
                has_header=False,
                skip_lines=1,
                schema=types,
                separator=family.delimiter,
                quote_char=None,
                decimal_comma=family.decimal == ",",
                null_values=null_values,
            )
        except pl.exceptions.PolarsError:
            continue
    return None


def named_columns(columns: Sequence[pl.Series], first_line: int) -> pl.DataFrame:
    """A family's columns, in its order, under the names that they have here, with the numbers of their lines.

    Without a capacity it is null throughout.
    """
    height = len(columns[0])
    line = pl.int_range(first_line, first_line + height, dtype=pl.UInt32, eager=True).alias("source_line")
    named = [column.alias(name) for name, column in zip(COLUMNS, columns, strict=False)]
    if len(named) < len(COLUMNS):
        named.append(pl.Series(COLUMNS[-1], [None], pl.Float64).new_from_index(0, height))
    return pl.DataFrame([line, *named])


def _count_dots(header: bytes, texts: Iterable[pl.Series]) -> int:
    return header.count(b".") + sum(int(text.str.count_matches(".", literal=True).sum()) for text in texts)


def read_lines(data: bytes, family: Family) -> Iterator[pl.DataFrame]:
    r"""Read any file with a usable header for `family`, one physical line at a time.

    Yields:
        Frames of some megabytes of lines each, at least one, in order. One row per line after the header
        that is not blank: `source_line` (the header is 1), `raw` (the line without its line end; bytes
        that are not UTF-8 escaped as `\xNN`), `malformed` (the line does not hold exactly the header's
        fields, or not text), and the fields as they stand in `date`, `host_id`, `value`, `capacity`,
        null where malformed.
    """
    names = column_names(data, family)
    wanted = {
        name: pl.col("fields").list.get(names.index(column), null_on_oob=True)
        for name, column in zip(COLUMNS, family.columns, strict=False)
    }
    if family.capacity is None:
        wanted["capacity"] = pl.lit(None, pl.String)
    is_quoted = pl.col("raw").str.contains(family.quote, literal=True) if family.quote else pl.lit(value=False)
    for first_line, block in _blocks_after_header(data):
        lines = _split_lines(block, first_line).filter(pl.col("raw").str.strip_chars(blanks(family)) != "")
        plain = _fields(lines.filter(~is_quoted), family, len(names))
        quoted = _quoted_fields(lines.filter(is_quoted), family, len(names))
        yield (
            pl.concat([plain, quoted])
            .with_columns(
                malformed=pl.col("fields").is_null()
                | ~pl.col("is_text")
                | pl.col("raw").str.contains(CONTROL_CHARACTERS)
            )
            .with_columns(fields=pl.when(~pl.col("malformed")).then("fields"))
            .select("source_line", "raw", "malformed", **wanted)
            .sort("source_line")
        )


def _blocks_after_header(data: bytes) -> Iterator[tuple[int, bytes]]:
    """The lines after the header in blocks of about `_BLOCK_BYTES`, each with its first line's number."""
    first_line, start = 2, data.find(b"\n") + 1 or len(data)
    while True:
        end = data.find(b"\n", start + _BLOCK_BYTES) + 1 or len(data)
        block = data[start:end]
        yield first_line, block
        if end == len(data):
            return
        first_line, start = first_line + count_letter(block, b"\n"), end


def _split_lines(block: bytes, first_line: int) -> pl.DataFrame:
    """Every physical line: `source_line`, `raw`, `is_text` (its bytes are UTF-8)."""
    try:
        raw = _lines_of(block.decode("utf-8"))
        is_text = pl.repeat(value=True, n=len(raw), dtype=pl.Boolean, eager=True)
    except UnicodeDecodeError:
        raw = _lines_of(block.decode("utf-8", "backslashreplace"))
        # The same lines once more, with every undecodable byte turned into the one character that no
        # sound export holds.
        is_text = ~_lines_of(block.decode("utf-8", "replace")).str.contains("\ufffd", literal=True)
    return pl.DataFrame({"raw": raw, "is_text": is_text}).with_row_index("source_line", offset=first_line)


def _lines_of(text: str) -> pl.Series:
    lines = pl.Series([text.removesuffix("\n")], dtype=pl.String).str.split("\n").explode()
    return lines.str.strip_suffix("\r")


def _fields(lines: pl.DataFrame, family: Family, width: int) -> pl.DataFrame:
    """Split lines without quotes at their delimiters; `fields` is null where there are not `width`."""
    split = pl.col("raw").str.split(family.delimiter)
    return lines.with_columns(fields=pl.when(split.list.len() == width).then(split))


def _quoted_fields(lines: pl.DataFrame, family: Family, width: int) -> pl.DataFrame:
    """Split lines with quotes as RFC 4180 has it, but never across a line end.

    `fields` is null where the line is anything but `width` fields, each without a quote or wholly
    inside a pair of them.
    """
    if lines.is_empty():
        return lines.with_columns(fields=pl.lit(None, pl.List(pl.String)))
    quote, delimiter = family.quote, re.escape(family.delimiter)
    padding = " \t".replace(family.delimiter, "")
    field = f"[{padding}]*(?:{quote}((?:[^{quote}]|{quote}{quote})*){quote}|([^{quote}{delimiter}]*))[{padding}]*"
    fields = pl.concat_list(
        pl.coalesce(
            pl.col("groups").struct.field(str(2 * index + 1)).str.replace_all(quote * 2, quote, literal=True),
            pl.col("groups").struct.field(str(2 * index + 2)),
        )
        for index in range(width)
    )
    whole = f"^{delimiter.join([field] * width)}$"
    return lines.with_columns(
        groups=pl.col("raw").str.extract_groups(whole), fits=pl.col("raw").str.contains(whole)
    ).select(*lines.columns, fields=pl.when("fits").then(fields))
