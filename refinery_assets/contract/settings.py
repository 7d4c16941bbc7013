"""The settings: what can be set from the environment, its defaults, and how a bad value is refused.

Here: names, defaults and ranges of the `REFINERY_*` variables. Not here: what a setting does; that
stands where it is used.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from refinery_assets.contract.months import Month

PROJECT_ROOT = Path(__file__).resolve().parents[2]

_FIRST_MONTH = Month(2023, 1)
# Stands for the default of `read_copy`, which is known only when the warehouse is.
_BESIDE_THE_WAREHOUSE = Path("<warehouse>.read.duckdb")

T = TypeVar("T")


class SettingError(ValueError):
    """A setting holds a value that cannot be used; the message is one sentence for the operator."""


@dataclass(frozen=True)
class Settings:
    """All settings of the refinery; one field each, with the default that an unset variable gets.

    Attributes:
        feed: Root of the CSV files (`REFINERY_FEED`).
        warehouse: The DuckDB file (`REFINERY_WAREHOUSE`).
        read_copy: The copy of the warehouse for readers, renewed after each publication; by default
            `<name>.read.duckdb` beside the warehouse; None: there is none (`REFINERY_READ_COPY`).
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
        max_loss: Largest share of a month's published rows that publishing it again may lose
            (`REFINERY_MAX_LOSS`).
        timezone: Where the days begin and the daily run starts at 06:00 (`REFINERY_TIMEZONE`).
        late_days: Days of a month during which the daily run takes the month before, too
            (`REFINERY_LATE_DAYS`).
        quiet_seconds: How long a changed file must rest before the feed sensor takes it for finished
            (`REFINERY_QUIET_SECONDS`).
        follow_links: Whether a symbolic link in the feed may lead out of its root (`REFINERY_FOLLOW_LINKS`).
        memory_mib: How much memory DuckDB takes, in MiB, before it uses the disk (`REFINERY_MEMORY_MIB`).
        lock_wait_seconds: How long a step waits for a warehouse that another process holds
            (`REFINERY_LOCK_WAIT_SECONDS`).
        lock_retries: How often such a step is tried again after that (`REFINERY_LOCK_RETRIES`).
        lock_retry_seconds: The pause before each of these (`REFINERY_LOCK_RETRY_SECONDS`).
        reports: Where the monthly reports are written (`REFINERY_REPORTS`).
        alert_log: The file that gets a line for each failed run (`REFINERY_ALERT_LOG`).
        alert_url: Where these lines are posted, too; None: nowhere (`REFINERY_ALERT_URL`).
        keep_runs_days: How long runs that later ones have superseded are kept (`REFINERY_KEEP_RUNS_DAYS`).
    """

    feed: Path = PROJECT_ROOT / "data" / "legacy" / "inputs"
    warehouse: Path = PROJECT_ROOT / "data" / "refinery.duckdb"
    read_copy: Path | None = _BESIDE_THE_WAREHOUSE
    telemetry: Path = PROJECT_ROOT / "data" / "telemetry"
    first_month: Month = _FIRST_MONTH
    last_month: Month | None = None
    behaviors: int = 10
    max_gap_days: int = 3
    quarantine_tolerance: float = 0.01
    overshoot: float = 0.0
    family_skew: float = 0.01
    min_coverage: float = 0.8
    max_loss: float = 0.001
    timezone: str = "UTC"
    late_days: int = 5
    quiet_seconds: float = 300.0
    follow_links: bool = False
    memory_mib: int = 384
    lock_wait_seconds: float = 60.0
    lock_retries: int = 3
    lock_retry_seconds: float = 30.0
    reports: Path = PROJECT_ROOT / "data" / "reports"
    alert_log: Path = PROJECT_ROOT / "data" / "alerts.jsonl"
    # It may hold a token, so it is in no message and no representation.
    alert_url: str | None = field(default=None, repr=False)
    keep_runs_days: int = 90

    @property
    def today(self) -> date:
        """The day, in the refinery's time zone."""
        return datetime.now(ZoneInfo(self.timezone)).date()

    @property
    def window(self) -> list[Month]:
        """The months that there are partitions for, in order."""
        return list(Month.span(self.first_month, self.last_month or Month.of(self.today)))

    def __post_init__(self) -> None:
        """Place the read copy beside the warehouse, where nothing else was asked for."""
        if self.read_copy == _BESIDE_THE_WAREHOUSE:
            beside = self.warehouse.with_name(f"{self.warehouse.stem}.read.duckdb")
            object.__setattr__(self, "read_copy", beside)

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Settings:
        """Read every setting; a variable that is unset or empty takes its default.

        Raises:
            SettingError: A variable holds a value that cannot be used; names variable, value and
                what was expected.
        """

        def read(variable: str, parse: Callable[[str], T], expected: str, default: T, *, is_secret: bool = False) -> T:
            text = environment.get(variable, "").strip()
            if not text:
                return default
            try:
                return parse(text)
            except ValueError:
                told = "set to something else" if is_secret else repr(text)
                raise SettingError(f"{variable} is {told}; expected {expected}.") from None

        share = "a share between 0 and 1, such as 0.01"
        month = "a month written as YYYY-MM, such as 2024-05"
        seconds = "a number of seconds, 0 or more"
        days = "a whole number of days, 0 or more"
        settings = cls(
            feed=read("REFINERY_FEED", _path, "a folder on this machine", cls.feed),
            warehouse=read("REFINERY_WAREHOUSE", _path, "a DuckDB file on this machine", cls.warehouse),
            read_copy=read("REFINERY_READ_COPY", _path_or_off, "a DuckDB file on this machine, or off", cls.read_copy),
            telemetry=read("REFINERY_TELEMETRY", _path, "a folder on this machine", cls.telemetry),
            first_month=read("REFINERY_FIRST_MONTH", Month.parse, month, cls.first_month),
            last_month=read("REFINERY_LAST_MONTH", Month.parse, month, cls.last_month),
            behaviors=read("REFINERY_BEHAVIORS", _whole(1), "a whole number, 1 or more", cls.behaviors),
            max_gap_days=read("REFINERY_MAX_GAP_DAYS", _whole(0), days, cls.max_gap_days),
            quarantine_tolerance=read("REFINERY_QUARANTINE_TOLERANCE", _number(1.0), share, cls.quarantine_tolerance),
            overshoot=read(
                "REFINERY_OVERSHOOT",
                _number(math.inf),
                "percentage points above 100, 0 or more, such as 20",
                cls.overshoot,
            ),
            family_skew=read("REFINERY_FAMILY_SKEW", _number(1.0), share, cls.family_skew),
            min_coverage=read("REFINERY_MIN_COVERAGE", _number(1.0), share, cls.min_coverage),
            max_loss=read("REFINERY_MAX_LOSS", _number(1.0), share, cls.max_loss),
            timezone=read(
                "REFINERY_TIMEZONE", _timezone, "the name of a time zone, such as Europe/Vienna", cls.timezone
            ),
            late_days=read("REFINERY_LATE_DAYS", _whole(0), days, cls.late_days),
            quiet_seconds=read("REFINERY_QUIET_SECONDS", _number(math.inf), seconds, cls.quiet_seconds),
            follow_links=read("REFINERY_FOLLOW_LINKS", _yes_or_no, "yes or no", cls.follow_links),
            memory_mib=read("REFINERY_MEMORY_MIB", _whole(256), "a number of MiB, 256 or more", cls.memory_mib),
            lock_wait_seconds=read("REFINERY_LOCK_WAIT_SECONDS", _number(math.inf), seconds, cls.lock_wait_seconds),
            lock_retries=read("REFINERY_LOCK_RETRIES", _whole(0), "a whole number, 0 or more", cls.lock_retries),
            lock_retry_seconds=read("REFINERY_LOCK_RETRY_SECONDS", _number(math.inf), seconds, cls.lock_retry_seconds),
            reports=read("REFINERY_REPORTS", _path, "a folder on this machine", cls.reports),
            alert_log=read("REFINERY_ALERT_LOG", _path, "a file on this machine", cls.alert_log),
            alert_url=read(
                "REFINERY_ALERT_URL",
                _web_address,
                "an address that begins with http:// or https://",
                None,
                is_secret=True,
            ),
            keep_runs_days=read(
                "REFINERY_KEEP_RUNS_DAYS", _whole(1), "a whole number of days, 1 or more", cls.keep_runs_days
            ),
        )
        if settings.last_month is not None and settings.last_month < settings.first_month:
            raise SettingError(
                f"REFINERY_LAST_MONTH is '{settings.last_month}'; expected a month that is not before "
                f"REFINERY_FIRST_MONTH, which is '{settings.first_month}'."
            )
        if settings.read_copy is not None and settings.read_copy.resolve() == settings.warehouse.resolve():
            raise SettingError(
                f"REFINERY_READ_COPY is '{settings.read_copy}', which is the warehouse itself; expected "
                "another file than REFINERY_WAREHOUSE, or off."
            )
        return settings


def _path(text: str) -> Path:
    """Relative paths are relative to the project's root, wherever the process was started.

    An address such as s3://... would name a folder on this disk, which nobody means.
    """
    if "://" in text:
        raise ValueError(text)
    return PROJECT_ROOT / Path(text).expanduser()


def _path_or_off(text: str) -> Path | None:
    return None if text.lower() == "off" else _path(text)


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


def _timezone(text: str) -> str:
    try:
        ZoneInfo(text)
    # What it raises depends on where the name leads it: to nothing, to a folder, out of its own folder.
    except (ZoneInfoNotFoundError, OSError) as error:
        raise ValueError(text) from error
    return text


def _yes_or_no(text: str) -> bool:
    answers = {"yes": True, "true": True, "1": True, "no": False, "false": False, "0": False}
    if text.lower() not in answers:
        raise ValueError(text)
    return answers[text.lower()]


def _web_address(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError(text)
    return text
