"""From a Parquet file to rows: the same two readings as of text, typed where that is exact and as text otherwise.

A row's number stands for its line, from 1; its `raw` is the text that a CSV file of the family would have for it; the
schema is the header. Not here: what becomes of the rows (`clean.py`, `scrub.py`).
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from functools import cached_property

import polars as pl

from refinery_assets.contract.families import Family
from refinery_assets.feed.files import CutShortError, FeedFile, RefusedFileError, columns_problem
from refinery_assets.rows.days import as_text
from refinery_assets.rows.read import COLUMNS, CONTROL_CHARACTERS, named_columns

_MAGIC = b"PAR1"
# Polars panics over some damaged files instead of refusing them.
_DAMAGE = (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError)
_ROWS_AT_ONCE = 500_000
_BYTES_PER_VALUE = 8


class ParquetTable:
    """The columns of a family in one Parquet file.

    Attributes:
        rows: Rows, as the footer counts them.
        problem: Why the schema does not serve, as the end of a sentence; None when it does.
    """

    def __init__(self, raw: bytes, file: FeedFile) -> None:
        """Look at the footer; nothing is unpacked yet.

        Raises:
            CutShortError: The file ends before its footer.
            RefusedFileError: It is no Parquet file, or it is more than the contract's `max_mib`.
        """
        if not raw.startswith(_MAGIC):
            raise RefusedFileError(f"{file.name} is not a Parquet file; export it again.")
        if not raw.endswith(_MAGIC):
            raise CutShortError(file.name, "ends before its footer")
        self._raw, self._file, self._family = raw, file, file.family
        self.rows, names, size = self._footer()
        self._names = {name.strip().lower(): name for name in names}
        self.problem = columns_problem([name.strip().lower() for name in names], self._family) or self._wrong_type()
        if size > self._family.max_mib * 2**20:
            raise RefusedFileError(
                f"{file.name} holds more than {self._family.max_mib} MiB, unpacked; look at what it is, or set max_mib "
                "in the contract to more."
            )

    def _footer(self) -> tuple[int, list[str], int]:
        """Rows, names of the columns, and bytes of the family's columns when unpacked."""
        # Takes a quarter of a second to load, and few feeds need it.
        import pyarrow as pa  # noqa: PLC0415
        import pyarrow.parquet as pq  # noqa: PLC0415

        columns = self._family.columns
        try:
            with pq.ParquetFile(pa.BufferReader(self._raw)) as opened:
                footer, names = opened.metadata, opened.schema_arrow.names
            groups = (footer.row_group(number) for number in range(footer.num_row_groups))
            chunks = (group.column(number) for group in groups for number in range(group.num_columns))
            packed = sum(
                chunk.total_uncompressed_size for chunk in chunks if chunk.path_in_schema.strip().lower() in columns
            )
        except (OSError, UnicodeDecodeError, pa.ArrowException) as error:
            raise self._damaged(error) from None
        # A value that repeats takes next to nothing in the file, and its full size in memory.
        return footer.num_rows, names, max(packed, footer.num_rows * len(columns) * _BYTES_PER_VALUE)

    def _wrong_type(self) -> str | None:
        try:
            schema = pl.read_parquet_schema(io.BytesIO(self._raw))
        except _DAMAGE as error:
            raise self._damaged(error) from None
        for name, column in zip(COLUMNS, self._family.columns, strict=False):
            kind = schema[self._names[column]]
            # A column without a single value may have no type of its own.
            is_text = isinstance(kind, pl.String | pl.Categorical | pl.Enum | pl.Null)
            if name == "date":
                serves, expected = is_text or kind.is_integer() or isinstance(kind, pl.Date | pl.Datetime), "days"
            elif name == "host_id":
                serves, expected = is_text or kind.is_integer(), "text"
            else:
                serves, expected = is_text or kind.is_numeric(), "numbers"
            if not serves:
                return f"holds {kind} in the column {column}; expected {expected}"
        return None

    def _damaged(self, error: BaseException) -> RefusedFileError:
        cause = str(error).splitlines()[0] if str(error) else type(error).__name__
        return RefusedFileError(f"{self._file.name} cannot be read as Parquet ({cause}); export it again.")

    @cached_property
    def _columns(self) -> list[pl.Series]:
        """Date as it is; host as text; value and capacity as numbers, or as text where they are that."""
        names = [self._names[column] for column in self._family.columns]
        try:
            frame = pl.read_parquet(io.BytesIO(self._raw), columns=names, hive_partitioning=False)
        except _DAMAGE as error:
            raise self._damaged(error) from None
        day, host, *numbers = (frame[name] for name in names)
        return [
            day if isinstance(day.dtype, pl.Date | pl.Datetime) or day.dtype.is_integer() else day.cast(pl.String),
            host.cast(pl.String),
            *(
                _as_float(each) if each.dtype.is_numeric() or each.dtype == pl.Null else each.cast(pl.String)
                for each in numbers
            ),
        ]

    def columns(self) -> pl.DataFrame | None:
        """As `read.read_columns` of text; None where a number is written as text."""
        if any(each.dtype == pl.String for each in self._columns[2:]):
            return None
        return named_columns(self._columns, first_line=1)

    def lines(self) -> Iterator[pl.DataFrame]:
        """As `read.read_lines` of text."""
        family = self._family
        columns = named_columns(self._columns, first_line=1)
        for block in columns.iter_slices(_ROWS_AT_ONCE):
            texts = block.with_columns(
                as_text(block["date"], family.date_format), *(_as_number(block[name], family) for name in COLUMNS[2:])
            )
            there = COLUMNS[: len(family.columns)]
            raw = pl.concat_str([_field(name, family) for name in there], separator=family.delimiter)
            yield texts.with_columns(raw=raw).select(
                "source_line", "raw", pl.col("raw").str.contains(CONTROL_CHARACTERS).alias("malformed"), *COLUMNS
            )


def _as_float(numbers: pl.Series) -> pl.Series:
    """Numbers in double precision; one in single precision is what its text says, so that 0.1 stays 0.1."""
    if numbers.dtype != pl.Float32:
        return numbers.cast(pl.Float64)
    return numbers.cast(pl.String).cast(pl.Float64)


def _as_number(numbers: pl.Series, family: Family) -> pl.Series:
    """Numbers as the family writes them: no digit is lost."""
    if numbers.dtype == pl.String:
        return numbers
    text = numbers.cast(pl.String)
    return text if family.decimal == "." else text.str.replace(".", family.decimal, literal=True)


def _field(name: str, family: Family) -> pl.Expr:
    """The column's text as a CSV line has it; empty where there is none."""
    text = pl.col(name).fill_null("")
    if not family.quote:
        return text
    quoted = family.quote + text.str.replace_all(family.quote, family.quote * 2, literal=True) + family.quote
    needs_quotes = text.str.contains_any([family.delimiter, family.quote, "\n", "\r"])
    return pl.when(needs_quotes).then(quoted).otherwise(text)
