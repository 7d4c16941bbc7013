"""The same readings written in any dialect: what a stranger's export may look like.

Here: rendering, written apart from the refinery's own readers. Not here: anything that asserts.
"""

from __future__ import annotations

import calendar
import gzip
import io
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

import polars as pl
import pyarrow as pa

from refinery_assets.contract.families import DateFormat, Encoding, Family, Unit

WRITTEN = {
    DateFormat.ISO: "{0.year:04d}-{0.month:02d}-{0.day:02d}",
    DateFormat.ISO_SLASH: "{0.year:04d}/{0.month:02d}/{0.day:02d}",
    DateFormat.COMPACT: "{0.year:04d}{0.month:02d}{0.day:02d}",
    DateFormat.GERMAN: "{0.day:02d}.{0.month:02d}.{0.year:04d}",
    DateFormat.BRITISH: "{0.day:02d}/{0.month:02d}/{0.year:04d}",
    DateFormat.DASHED: "{0.day:02d}-{0.month:02d}-{0.year:04d}",
    DateFormat.AMERICAN: "{0.month:02d}/{0.day:02d}/{0.year:04d}",
}


@dataclass(frozen=True)
class Reading:
    """One row, as it is meant.

    Attributes:
        day: The day; None: a text that is none.
        host: The host; None: absent.
        value: Percent; None: absent; a text: no number.
        capacity: Likewise.
        surplus: Fields too many (1) or too few (-1).
    """

    day: date | None
    host: str | None
    value: Decimal | str | None
    capacity: Decimal | str | None
    surplus: int = 0


@dataclass(frozen=True)
class Dialect:
    """How they are written.

    Attributes:
        family: What is declared of it.
        order: The columns as they stand in the file, those of the family and others.
        line_end: What ends a line.
        byte_order: Of UTF-16.
        mark: Whether a byte order mark stands in front.
        quotes_all: Whether every field is quoted, or only where it must be.
        absent: What is written where there is no value.
    """

    family: Family
    order: tuple[str, ...]
    line_end: str = "\n"
    byte_order: str = "le"
    mark: bool = False
    quotes_all: bool = False
    absent: str = ""

    def bytes_of(self, readings: Sequence[Reading]) -> bytes:
        """The file."""
        lines = [self._line([name.upper() for name in self.order])]
        lines += [self._line(self._fields(reading)) for reading in readings]
        data = self._encoded("".join(f"{line}{self.line_end}" for line in lines))
        if self.family.path.endswith(".gz"):
            return gzip.compress(data)
        if self.family.path.endswith(".zst"):
            return zstandard(data)
        return data

    def _fields(self, reading: Reading) -> list[str]:
        of_family = dict(zip(self.family.columns, self._texts(reading), strict=True))
        fields = [of_family.get(name, "rack 7") for name in self.order]
        return fields[:-1] if reading.surplus < 0 else fields + ["more"] * reading.surplus

    def _texts(self, reading: Reading) -> list[str]:
        family = self.family
        value = reading.value
        if isinstance(value, Decimal) and family.unit is Unit.FRACTION:
            value = value / 100
        host = self.absent if reading.host is None else reading.host
        texts = [day_written(reading.day, family.date_format), host, self._number(value)]
        return texts if family.capacity is None else [*texts, self._number(reading.capacity)]

    def _number(self, number: Decimal | str | None) -> str:
        if number is None:
            return self.absent
        return number if isinstance(number, str) else f"{number:f}".replace(".", self.family.decimal)

    def _line(self, fields: Sequence[str]) -> str:
        quote, delimiter = self.family.quote, self.family.delimiter
        if not quote:
            return delimiter.join(fields)
        return delimiter.join(
            quote + field.replace(quote, quote * 2) + quote
            if self.quotes_all or delimiter in field or quote in field
            else field
            for field in fields
        )

    def _encoded(self, text: str) -> bytes:
        if self.family.encoding is Encoding.UTF16:
            return ("\ufeff" * self.mark + text).encode(f"utf-16-{self.byte_order}")
        if self.family.encoding is Encoding.LATIN1:
            return text.encode("latin-1")
        return ("\ufeff" * self.mark + text).encode()


def day_written(day: date | None, date_format: DateFormat) -> str:
    """A day in the format."""
    if day is None:
        return "yesterday"
    if date_format in WRITTEN:
        return WRITTEN[date_format].format(day)
    seconds = calendar.timegm(day.timetuple())
    return f"{seconds}000" if date_format is DateFormat.EPOCH_MILLISECONDS else str(seconds)


def zstandard(data: bytes) -> bytes:
    """The bytes compressed with Zstandard."""
    return bytes(pa.Codec("zstd").compress(data, asbytes=True))


def parquet(frame: pl.DataFrame) -> bytes:
    """The frame as the bytes of a Parquet file."""
    file = io.BytesIO()
    frame.write_parquet(file)
    return file.getvalue()
