"""What a contract is made of: families of files, behaviors, faults, names of assets.

Here: the names that others' programs rely on, and the models of a family and of the lines of its files. Not here:
reading a contract file (`contract_file.py`), file access, and the rules that judge a row (`rows/scrub.py`) or a
month (`warehouse/publish_checks.py`).
"""

from __future__ import annotations

import keyword
import re
from dataclasses import dataclass
from enum import StrEnum
from pathlib import PurePosixPath
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

LEGACY_FEED = "legacy_feed"
HOST_INVENTORY = "host_inventory"
PROCESSED_DATA = "processed_data"
MONTHLY_REPORT = "monthly_report"

UTILIZATION_CEILING_PERCENT = 100.0
"""`processed_data.cap`: the ceiling of `y`, as logistic growth wants it."""

# What Dagster keeps for itself, and the assets that there are besides the families.
_TAKEN = {
    LEGACY_FEED, HOST_INVENTORY, PROCESSED_DATA, MONTHLY_REPORT,
    "context", "conf", "config", "meta", "arg_dict", "dict", "input_arg_dict", "output_arg_dict", "int", "str",
    "float", "bool", "input", "output", "type",
}  # fmt: skip
_IDENTIFIER = re.compile(r"[a-z][a-z0-9_]{0,59}")
_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
_PLACEHOLDERS = {"year", "month", "day", "family", "resource"}
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


class DateFormat(StrEnum):
    """How a file writes a day. Declared, never guessed: 03/04 is a day of two months."""

    ISO = "YYYY-MM-DD"
    ISO_SLASH = "YYYY/MM/DD"
    COMPACT = "YYYYMMDD"
    GERMAN = "DD.MM.YYYY"
    BRITISH = "DD/MM/YYYY"
    DASHED = "DD-MM-YYYY"
    AMERICAN = "MM/DD/YYYY"
    EPOCH_SECONDS = "epoch_seconds"
    EPOCH_MILLISECONDS = "epoch_milliseconds"


class Encoding(StrEnum):
    """How a file writes characters."""

    UTF8 = "utf-8"
    UTF16 = "utf-16"
    LATIN1 = "latin-1"


class Unit(StrEnum):
    """What a file gives utilization in; `y` is always percent."""

    PERCENT = "percent"
    FRACTION = "fraction"


def _identifier(text: str) -> str:
    if not _IDENTIFIER.fullmatch(text) or text in _TAKEN or keyword.iskeyword(text):
        raise ValueError(text)
    return text


def _column(text: str) -> str:
    name = text.strip().lower()
    if not name or _CONTROL.search(name):
        raise ValueError(text)
    return name


def _path_pattern(text: str) -> str:
    path = PurePosixPath(text)
    unknown = set(_PLACEHOLDER.findall(text)) - _PLACEHOLDERS
    leftover = set(_PLACEHOLDER.sub("", text)) & {"{", "}", "\\"}
    if (
        unknown
        or leftover
        or _CONTROL.search(text)
        or path.is_absolute()
        or ".." in path.parts
        or not {"{year}", "{month}"} <= set(re.findall(r"\{[a-z]+\}", text))
        or not path.suffix
    ):
        raise ValueError(text)
    return text


def _absent(texts: Any) -> Any:
    return (
        tuple(dict.fromkeys(("", *(str(text).strip().lower() for text in texts)))) if isinstance(texts, list) else texts
    )


Identifier = Annotated[
    str,
    AfterValidator(_identifier),
    Field(
        description="a name of lower-case letters, digits and underscores that begins with a letter, "
        "and that neither Dagster nor an asset of the refinery has"
    ),
]
ColumnName = Annotated[str, AfterValidator(_column), Field(description="the name of a column, as the header has it")]
_Path = Annotated[
    str,
    AfterValidator(_path_pattern),
    Field(
        description="a path within the feed with {year} and {month} in it, such as "
        '"{year}/{month}/{family}_{year}{month}.csv"; {day}, {family} and {resource} may stand in it, too'
    ),
]
Delimiter = Annotated[str, Field(pattern=r"^[,;|:\t ]$", description='one of "," ";" "|" ":" "\\t" and " "')]
EncodingName = Annotated[Encoding, Field(description="utf-8, utf-16 or latin-1")]
DateFormatName = Annotated[DateFormat, Field(description=f"one of {', '.join(DateFormat)}")]
_Quote = Annotated[str, Field(pattern="""^["']?$""", description="a quotation mark, single or double, or none")]
_Decimal = Annotated[str, Field(pattern="^[.,]$", description='"." or ","')]
_Absent = Annotated[
    tuple[str, ...], BeforeValidator(_absent), Field(description="a list of the texts that stand for no value")
]
_Mebibytes = Annotated[int, Field(ge=1, strict=True, description="a whole number of MiB, 1 or more")]
_Share = Annotated[float, Field(ge=0, le=1, strict=True, description="a share between 0 and 1, such as 0.01")]
_Days = Annotated[int, Field(ge=0, strict=True, description="a whole number of days, 0 or more")]
_Points = Annotated[
    float,
    Field(ge=0, allow_inf_nan=False, strict=True, description="percentage points above 100, 0 or more, such as 20"),
]


class Part(BaseModel):
    """A part of a contract: what it does not know is a mistake, and what it holds does not change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Lines(Part):
    """Where the files lie and what their lines are made of.

    Attributes:
        path: The file's place in the feed.
        delimiter: What stands between two fields.
        quote: What may stand around a field that holds the delimiter; empty: nothing.
        decimal: What stands before the decimals of a number.
        encoding: How characters are written.
        date_format: How a day is written.
        absent: What is written where there is no value, compared without regard to case; an empty field always.
        max_mib: The most that a compressed file may hold, unpacked.
    """

    path: _Path = "{year}/{month}/{family}_{year}{month}.csv"
    delimiter: Delimiter = ","
    quote: _Quote = '"'
    decimal: _Decimal = "."
    encoding: EncodingName = Encoding.UTF8
    date_format: DateFormatName = DateFormat.ISO
    absent: _Absent = ("", "-", "n/a", "na", "none", "null")
    max_mib: _Mebibytes = 4096


class Tolerances(Part):
    """Limits, each under the name of its setting in lower case; None: not set here."""

    max_gap_days: _Days | None = None
    overshoot: _Points | None = None
    quarantine_tolerance: _Share | None = None
    min_coverage: _Share | None = None


class FeedTolerances(Tolerances):
    """Limits of which some hold for all families together."""

    family_skew: _Share | None = None
    max_loss: _Share | None = None


class Family(Lines):
    """One kind of file: a resource's daily p95 utilization by host.

    Attributes:
        name: The asset's name, and `{family}` in the path.
        resource: The value of `processed_data.resource`.
        date: The column of the day measured.
        host: The column of the host's name.
        value: The column of the daily p95 utilization.
        unit: What `value` is in.
        capacity: The column of the physical limit that the feed states; None: it states none.
        capacity_unit: The unit of that limit.
        tolerances: Limits that hold for this family, in place of the general ones.
    """

    name: Identifier
    resource: Identifier
    date: ColumnName = "date"
    host: ColumnName = "host_id"
    value: ColumnName
    unit: Annotated[Unit, Field(description="percent or fraction")] = Unit.PERCENT
    capacity: ColumnName | None = None
    capacity_unit: Annotated[str, Field(min_length=1, max_length=20, description="a unit, such as GB")] | None = None
    tolerances: Tolerances = Tolerances()

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that a file must have, in the order in which the export writes them."""
        named = (self.date, self.host, self.value)
        return named if self.capacity is None else (*named, self.capacity)


@dataclass(frozen=True, order=True)
class Behavior:
    """A "DNA variety" of hosts: a (scenario, variant) pair, in upper case."""

    scenario: str
    variant: str

    def __str__(self) -> str:
        return f"{self.scenario}/{self.variant}" if self.variant else self.scenario


class Fault(StrEnum):
    """Why a row of a file is quarantined; a row gets the first that applies, in this order."""

    MALFORMED_ROW = "malformed_row"
    BAD_TIMESTAMP = "bad_timestamp"
    OUTSIDE_MONTH = "outside_month"
    MISSING_HOST = "missing_host"
    MISSING_VALUE = "missing_value"
    NOT_A_NUMBER = "not_a_number"
    OUT_OF_RANGE = "out_of_range"
    DUPLICATE = "duplicate"
    SUPERSEDED = "superseded"
