"""The settings: what can be set from the environment, its defaults, and how a bad value is refused.

Here: names, defaults and ranges of the `REFINERY_*` variables. Not here: what a setting does; that
stands where it is used.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from refinery_assets.months import Month

PROJECT_ROOT = Path(__file__).resolve().parent.parent

_FIRST_MONTH = Month(2023, 1)

T = TypeVar("T")


class SettingError(ValueError):
    """A setting holds a value that cannot be used; the message is one sentence for the operator."""


@dataclass(frozen=True)
class Settings:
    """All settings of the refinery; one field each, with the default that an unset variable gets.

    Attributes:
        feed: Root of the CSV files (`REFINERY_FEED`).
        warehouse: The DuckDB file (`REFINERY_WAREHOUSE`).
        telemetry: Root of the families' Parquet partitions (`REFINERY_TELEMETRY`).
        first_month: First month of the window (`REFINERY_FIRST_MONTH`).
        last_month: Last month of the window; None: the running month (`REFINERY_LAST_MONTH`).
        behaviors: How many behaviours the inventory must hold (`REFINERY_BEHAVIORS`).
        max_gap_days: Longest gap, in days, that is filled (`REFINERY_MAX_GAP_DAYS`).
        quarantine_tolerance: Largest share of quarantined rows per family and month
            (`REFINERY_QUARANTINE_TOLERANCE`).
        overshoot: Percentage points above 100 that are read as 100 (`REFINERY_OVERSHOOT`).
        family_skew: Largest share of rows by which a family may fall short of the month's largest
            (`REFINERY_FAMILY_SKEW`).
        min_coverage: Smallest share of the inventory's hosts that a month must hold per resource
            (`REFINERY_MIN_COVERAGE`).
    """

    feed: Path = PROJECT_ROOT / "data" / "legacy" / "inputs"
    warehouse: Path = PROJECT_ROOT / "data" / "refinery.duckdb"
    telemetry: Path = PROJECT_ROOT / "data" / "telemetry"
    first_month: Month = _FIRST_MONTH
    last_month: Month | None = None
    behaviors: int = 10
    max_gap_days: int = 3
    quarantine_tolerance: float = 0.01
    overshoot: float = 0.0
    family_skew: float = 0.01
    min_coverage: float = 0.8

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Settings:
        """Read every setting; a variable that is unset or empty takes its default.

        Raises:
            SettingError: A variable holds a value that cannot be used; names variable, value and
                what was expected.
        """

        def read(variable: str, parse: Callable[[str], T], expected: str, default: T) -> T:
            text = environment.get(variable, "").strip()
            if not text:
                return default
            try:
                return parse(text)
            except ValueError:
                raise SettingError(f"{variable} is {text!r}; expected {expected}.") from None

        share = "a share between 0 and 1, such as 0.01"
        month = "a month written as YYYY-MM, such as 2024-05"
        settings = cls(
            feed=read("REFINERY_FEED", _path, "a folder", cls.feed),
            warehouse=read("REFINERY_WAREHOUSE", _path, "a DuckDB file", cls.warehouse),
            telemetry=read("REFINERY_TELEMETRY", _path, "a folder", cls.telemetry),
            first_month=read("REFINERY_FIRST_MONTH", Month.parse, month, cls.first_month),
            last_month=read("REFINERY_LAST_MONTH", Month.parse, month, cls.last_month),
            behaviors=read("REFINERY_BEHAVIORS", _whole(1), "a whole number, 1 or more", cls.behaviors),
            max_gap_days=read(
                "REFINERY_MAX_GAP_DAYS", _whole(0), "a whole number of days, 0 or more", cls.max_gap_days
            ),
            quarantine_tolerance=read(
                "REFINERY_QUARANTINE_TOLERANCE", _number(1.0), share, cls.quarantine_tolerance
            ),
            overshoot=read(
                "REFINERY_OVERSHOOT",
                _number(math.inf),
                "percentage points above 100, 0 or more, such as 20",
                cls.overshoot,
            ),
            family_skew=read("REFINERY_FAMILY_SKEW", _number(1.0), share, cls.family_skew),
            min_coverage=read("REFINERY_MIN_COVERAGE", _number(1.0), share, cls.min_coverage),
        )
        if settings.last_month is not None and settings.last_month < settings.first_month:
            raise SettingError(
                f"REFINERY_LAST_MONTH is '{settings.last_month}'; expected a month that is not before "
                f"REFINERY_FIRST_MONTH, which is '{settings.first_month}'."
            )
        return settings


def _path(text: str) -> Path:
    """Relative paths are relative to the project's root, wherever the process was started."""
    return PROJECT_ROOT / Path(text).expanduser()


def _whole(least: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        number = int(text)
        if number < least:
            raise ValueError(text)
        return number

    return parse


def _number(most: float) -> Callable[[str], float]:
    def parse(text: str) -> float:
        number = float(text)
        if not (math.isfinite(number) and 0.0 <= number <= most):
            raise ValueError(text)
        return number

    return parse
