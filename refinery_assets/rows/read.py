"""From a file's bytes to rows with line numbers: exact where the bytes leave no doubt, and fast then.

Two readers, one result. `read_clean` takes a file only when its bytes prove that a plain typed parse
cannot go wrong; the columns come out typed at once. `read_lines` takes any file line by line, so that a
quote never closed, a missing or a surplus field touches no line but its own; its columns are still
text, for `scrub.scrub` to cast. Not here: verdicts on values, duplicates and gaps.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, time

import numpy as np
import polars as pl

from refinery_assets.contract.families import UTILIZATION_CEILING_PERCENT, Family
from refinery_assets.contract.months import Month
from refinery_assets.feed.files import BLANKS, column_names, count_letter, header_line
from refinery_assets.rows.points import distinct_hosts, number, number_hosts

OddHosts = Callable[[], frozenset[str]]
"""Gives those of `Family.absent`, in lower case, that hosts of the inventory are really named. It is called only
where a file names such a host, because the inventory lies in the warehouse and few fleets hold one."""


def no_odd_hosts() -> frozenset[str]:
    """The `OddHosts` of most fleets."""
    return frozenset()


TYPED_SCHEMA = pl.Schema(
    {
        "source_line": pl.UInt32(),
        "ds": pl.Datetime("us"),
        "host_id": pl.String(),
        "y": pl.Float64(),
        "capacity": pl.Float64(),
        "fault": pl.String(),
        "raw": pl.String(),
    }
)
"""The columns of a judged row: `source_line` counts the header as 1; `y` is percent; `capacity` is in the
family's unit; `fault` is null for a clean row; `raw` is null for a clean row that is taken as it stands."""

# What is taken apart at once: text split into fields takes many times its size.
_BLOCK_BYTES = 16 * 2**20

# Of C0 all but the tab, DEL, and C1, which stand in no text but one that was decoded wrongly.
_CONTROL_CHARACTERS = r"[\x00-\x08\x0a-\x1f\x7f-\x9f]"


def read_clean(data: bytes, family: Family, month: Month, odd_hosts: OddHosts = no_odd_hosts) -> pl.DataFrame | None:
    """Read a file whose every row is well-formed and within the contract.

    Returns:
        The rows in `TYPED_SCHEMA`, none with a fault, and their `point` (see `points.point_of`), which is
        not looked at for repeats; None when anything at all is in doubt, so that `read_lines` must have
        a look.
    """
    ends = count_letter(data, b"\n")
    if (
        header_line(data) != ",".join(family.columns).encode()
        or not data.endswith(b"\n")
        or any(byte in data for byte in (b'"', b"\r", b"\0"))
        # Together with Polars' refusal of a line with more fields than the header, the right total
        # means the right number in every line.
        or count_letter(data, b",") != (len(family.columns) - 1) * ends
    ):
        return None
    types = (pl.String(), pl.String(), pl.Float64(), pl.Float64())
    try:
        rows = pl.read_csv(data, schema=dict(zip(family.columns, types, strict=True)), quote_char=None)
    except pl.exceptions.PolarsError:
        return None
    day, host, value, capacity = rows.get_columns()
    if (
        rows.height != ends - 1
        or any(column.has_nulls() for column in (day, host, value))
        or not _lie_within(value, UTILIZATION_CEILING_PERCENT)
        or not _lie_within(capacity.drop_nulls(), math.inf)
    ):
        return None
    # Feeds are written day by day, so a day is looked at once for all the rows that follow each other.
    runs = day.rle().struct.unnest()
    # An enumeration of the month's days takes exactly these texts for a date, nothing else.
    days = pl.Enum([each.isoformat() for each in month.days])
    number_of_day = runs["value"].cast(days, strict=False).to_physical()
    if number_of_day.has_nulls():
        return None
    number_of_day = pl.Series(np.repeat(number_of_day.to_numpy(), runs["len"].to_numpy()))
    block = _block_of(host, int(runs["len"][0]) if runs.height else 0)
    names = distinct_hosts(block)
    if not _are_tidy(names, family.absent, odd_hosts):
        return None
    blocks = len(host) // len(block) if runs.height else 1
    number_of_host = pl.concat([number_hosts(block, names)] * blocks, rechunk=True)
    midnights = pl.Series([datetime.combine(each, time()) for each in month.days], dtype=pl.Datetime("us"))
    return pl.select(
        source_line=pl.int_range(2, rows.height + 2, dtype=pl.UInt32),
        ds=midnights.gather(number_of_day),
        host_id=host,
        y=value,
        capacity=capacity,
        fault=pl.lit(None, pl.String),
        raw=pl.lit(None, pl.String),
        point=number(number_of_day + 1, number_of_host),
    )


def _block_of(host: pl.Series, length: int) -> pl.Series:
    """The first `length` names where the rest repeats them, in their order, to the end; else all names."""
    if length and len(host) % length == 0 and (host[length:] == host[:-length]).all():
        return host[:length]
    return host


def _lie_within(numbers: pl.Series, most: float) -> bool:
    """Whether all are finite and from 0 to `most`; the sum shows any that is not a number."""
    if numbers.is_empty():
        return True
    # Of floats: no date or text is ever asked for here, whatever the frame's library allows.
    least, greatest, total = (float(number) for number in (numbers.min(), numbers.max(), numbers.sum()))  # type: ignore[arg-type]
    return least >= 0 and greatest <= most and math.isfinite(total)


def _are_tidy(names: pl.Series, absent: Sequence[str], odd_hosts: OddHosts) -> bool:
    """Whether no name is padded, stands for an absent one, or holds control characters."""
    if (names.str.strip_chars() != names).any() or names.str.contains(_CONTROL_CHARACTERS).any():
        return False
    spelled_alike = names.str.to_lowercase()
    like_absent = spelled_alike.filter(spelled_alike.is_in(absent))
    return like_absent.is_empty() or odd_hosts().issuperset(like_absent)


def read_lines(data: bytes, family: Family) -> Iterator[pl.DataFrame]:
    r"""Read any file with a usable header for `family`, one physical line at a time.

    Yields:
        Frames of some megabytes of lines each, at least one, in order. One row per line after the header
        that is not blank: `source_line` (the header is 1), `raw` (the line without its line end; bytes
        that are not UTF-8 escaped as `\xNN`), `malformed` (the line does not hold exactly the header's
        fields, or not text), and the fields as they stand in `date`, `host_id`, `value`, `capacity`,
        null where malformed.
    """
    names = column_names(data)
    positions = [names.index(column) for column in family.columns]
    wanted = [
        pl.col("fields").list.get(position, null_on_oob=True).alias(name)
        for position, name in zip(positions, ("date", "host_id", "value", "capacity"), strict=True)
    ]
    for first_line, block in _blocks_after_header(data):
        lines = _split_lines(block, first_line).filter(pl.col("raw").str.strip_chars(BLANKS) != "")
        plain = _fields(lines.filter(~pl.col("raw").str.contains('"', literal=True)), len(names))
        quoted = _quoted_fields(lines.filter(pl.col("raw").str.contains('"', literal=True)), len(names))
        yield (
            pl.concat([plain, quoted])
            .with_columns(
                malformed=pl.col("fields").is_null()
                | ~pl.col("is_text")
                | pl.col("raw").str.contains(_CONTROL_CHARACTERS)
            )
            .with_columns(fields=pl.when(~pl.col("malformed")).then("fields"))
            .select("source_line", "raw", "malformed", *wanted)
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


def _fields(lines: pl.DataFrame, width: int) -> pl.DataFrame:
    """Split lines without quotes at their commas; `fields` is null where there are not `width`."""
    split = pl.col("raw").str.split(",")
    return lines.with_columns(fields=pl.when(split.list.len() == width).then(split))


def _quoted_fields(lines: pl.DataFrame, width: int) -> pl.DataFrame:
    """Split lines with quotes as RFC 4180 has it, but never across a line end.

    `fields` is null where the line is anything but `width` fields, each without a quote or wholly
    inside a pair of them.
    """
    field = r'[ \t]*(?:"((?:[^"]|"")*)"|([^",]*))[ \t]*'
    fields = pl.concat_list(
        pl.coalesce(
            pl.col("groups").struct.field(str(2 * index + 1)).str.replace_all('""', '"', literal=True),
            pl.col("groups").struct.field(str(2 * index + 2)),
        )
        for index in range(width)
    )
    whole = f"^{','.join([field] * width)}$"
    return lines.with_columns(
        groups=pl.col("raw").str.extract_groups(whole), fits=pl.col("raw").str.contains(whole)
    ).select(*lines.columns, fields=pl.when("fits").then(fields))
