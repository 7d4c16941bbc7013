"""The settings: what can be set from the environment, its defaults, and how a bad value is refused.

Here: names, defaults and ranges of the `REFINERY_*` variables. Not here: what a setting does; that
stands where it is used.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import date, datetime
from difflib import get_close_matches
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, get_type_hints
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, ValidationError, with_config
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, EnvSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

from refinery_assets.contract.contract_file import Contract, ContractError, load_contract, packaged_contract
from refinery_assets.contract.families import Family
from refinery_assets.contract.lake import EXPECTED as A_FILE_OR_LAKE
from refinery_assets.contract.lake import PREFIX as LAKE_PREFIX
from refinery_assets.contract.lake import Lake, LakeAddressError, parse_lake, refuse_other_databases
from refinery_assets.contract.months import Month
from refinery_assets.contract.places import ObjectPrefix, Place
from refinery_assets.contract.plausibility import PlausibilitySettings

_FIRST_MONTH = Month(2023, 1)
_PACKAGED = packaged_contract()
# Stands for the default of `read_copy`, which is known only when the warehouse is.
_BESIDE_THE_WAREHOUSE = Path("<warehouse>.read.duckdb")
# With a lake, no file is the warehouse: whatever takes this for one finds none.
_NO_FILE = Path("<the warehouse is a lake>")
_PREFIX = "REFINERY_"
_IN_A_POD = "KUBERNETES_SERVICE_HOST"
_OF_A_SERVICE = re.compile(
    rf"{_PREFIX}(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT(_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?)"
)
"""The variables that Kubernetes sets in the pods beside a service named `refinery`."""


def _project_root() -> Path:
    """The checkout that this package is part of; of an installed package, the working folder."""
    checkout = Path(__file__).resolve().parents[2]
    try:
        is_ours = 'name = "refinery-assets"' in (checkout / "pyproject.toml").read_text(encoding="utf-8")
    except OSError:
        is_ours = False
    return checkout if is_ours else Path.cwd()


PROJECT_ROOT = _project_root()
"""What relative paths are relative to, and where `data/` lies. Never a folder of installed packages."""


class SettingError(ValueError):
    """A setting holds a value that cannot be used; the message is one sentence for the operator."""


def _path(text: str) -> Path:
    """Relative paths are relative to the project's root, wherever the process was started.

    An address such as s3://... would name a folder on this disk, which nobody means.
    """
    if "://" in text:
        raise ValueError(text)
    return PROJECT_ROOT / Path(text).expanduser()


def _place(text: str) -> Place:
    return ObjectPrefix.parse(text) if ObjectPrefix.is_meant(text) else _path(text)


def _contract(given: str | Contract) -> Contract:
    if not isinstance(given, str):
        return given
    try:
        path = _path(given)
    except ValueError:
        raise ContractError(f"REFINERY_CONTRACT is {given!r}; expected a TOML file on this machine.") from None
    return load_contract(path)


def _path_or_off(text: str) -> Path | None:
    return None if text.lower() == "off" else _path(text)


def _timezone(text: str) -> str:
    try:
        ZoneInfo(text)
    # What it raises depends on where the name leads it: to nothing, to a folder, out of its own folder.
    except (ZoneInfoNotFoundError, OSError) as error:
        raise ValueError(text) from error
    return text


def _web_address(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError(text)
    return text


# Each kind of value: its type, how text is read where the type alone does not say it, and the words for what was
# expected, with which a bad value is refused.
_Folder = Annotated[Path, BeforeValidator(_path), Field(description="a folder on this machine")]
_Place = Annotated[Place, BeforeValidator(_place), Field(description="a folder on this machine, or s3://bucket/prefix")]
_File = Annotated[Path, BeforeValidator(_path), Field(description="a file on this machine")]
_ContractFile = Annotated[Contract, BeforeValidator(_contract), Field(description="a TOML file on this machine")]
_Database = Annotated[Path, BeforeValidator(_path), Field(description=A_FILE_OR_LAKE)]
_DatabaseOrOff = Annotated[
    Path | None, BeforeValidator(_path_or_off), Field(description="a DuckDB file on this machine, or off")
]
_Month = Annotated[
    Month | None, BeforeValidator(Month.parse), Field(description="a month written as YYYY-MM, such as 2024-05")
]
_Share = Annotated[float, Field(ge=0, le=1, description="a share between 0 and 1, such as 0.01")]
_Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False, description="a number of seconds, 0 or more")]
_Days = Annotated[int, Field(ge=0, description="a whole number of days, 0 or more")]
_DaysOfKeeping = Annotated[int, Field(ge=1, description="a whole number of days, 1 or more")]
_Whole = Annotated[int, Field(ge=0, description="a whole number, 0 or more")]
_MonthsOrAll = Annotated[int | None, Field(ge=1, description="a whole number of months, 1 or more")]
_Mebibytes = Annotated[int, Field(ge=256, description="a number of MiB, 256 or more")]
_Points = Annotated[
    float, Field(ge=0, allow_inf_nan=False, description="percentage points above 100, 0 or more, such as 20")
]
_Flag = Annotated[bool, Field(description="yes or no")]
_Timezone = Annotated[
    str, AfterValidator(_timezone), Field(description="the name of a time zone, such as Europe/Vienna")
]
_WebAddress = Annotated[
    str, AfterValidator(_web_address), Field(description="an address that begins with http:// or https://")
]


# A name that is no field is misspelt, and what it was to set would be the default without a word.
@with_config(ConfigDict(extra="forbid"))
@dataclass(frozen=True)
class Settings:
    """All settings of the refinery; one field each, with the default that an unset variable gets.

    Attributes:
        contract: What the feed, the inventory and the limits are declared to be (`REFINERY_CONTRACT`).
        feed: Root of the files, a folder or a prefix of a bucket (`REFINERY_FEED`).
        warehouse: The DuckDB file, or the lake (`REFINERY_WAREHOUSE`).
        lake_data: Where a lake's Parquet files lie; by default `lake` beside the folder that `REFINERY_TELEMETRY` sets
            (`REFINERY_LAKE_DATA`).
        lake_keep_days: How long a lake can be read as it was before a publication (`REFINERY_LAKE_KEEP_DAYS`).
        read_copy: The copy of the warehouse for readers, renewed after each publication; by default
            `<name>.read.duckdb` beside the warehouse; None: there is none (`REFINERY_READ_COPY`).
        telemetry: Root of the families' Parquet partitions, a folder or a prefix of a bucket (`REFINERY_TELEMETRY`).
        first_month: First month of the window (`REFINERY_FIRST_MONTH`).
        last_month: Last month of the window; None: the running month (`REFINERY_LAST_MONTH`).
        behaviors: How many behaviors the inventory must hold (`REFINERY_BEHAVIORS`).
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
        timezone: Where the days begin, the daily run starts at 06:00, and a lake is maintained at 03:00
            (`REFINERY_TIMEZONE`).
        late_days: Days of a month during which the daily run takes the month before, too
            (`REFINERY_LATE_DAYS`).
        quiet_seconds: How long a changed file must rest before the feed sensor takes it for finished
            (`REFINERY_QUIET_SECONDS`).
        follow_links: Whether a symbolic link in the feed may lead out of its root (`REFINERY_FOLLOW_LINKS`).
        memory_mib: How much memory DuckDB takes, in MiB, before it uses the disk; 4096 for a million hosts
            (`REFINERY_MEMORY_MIB`).
        lock_wait_seconds: How long a step waits for a warehouse that another process holds
            (`REFINERY_LOCK_WAIT_SECONDS`).
        lock_retries: How often such a step is tried again after that (`REFINERY_LOCK_RETRIES`).
        lock_retry_seconds: The pause before each of these (`REFINERY_LOCK_RETRY_SECONDS`).
        reports: Where the monthly reports are written (`REFINERY_REPORTS`).
        alert_log: The file that gets a line for each failed run (`REFINERY_ALERT_LOG`).
        alert_url: Where these lines are posted, too; None: nowhere (`REFINERY_ALERT_URL`).
        keep_runs_days: How long runs that later ones have superseded are kept (`REFINERY_KEEP_RUNS_DAYS`).
        months_per_run: The most months that a run takes which Dagster starts; None: as many as it is asked for
            (`REFINERY_MONTHS_PER_RUN`).
        plausibility: How the plausibility checks judge, as the contract says; of no variable.
        lake: The lake, where `REFINERY_WAREHOUSE` names one; of no variable.
    """

    contract: _ContractFile = _PACKAGED
    feed: _Place = PROJECT_ROOT / "data" / "legacy" / "inputs"
    warehouse: _Database = PROJECT_ROOT / "data" / "refinery.duckdb"
    lake_data: _Place = PROJECT_ROOT / "data" / "lake"
    lake_keep_days: _DaysOfKeeping = 90
    read_copy: _DatabaseOrOff = _BESIDE_THE_WAREHOUSE
    telemetry: _Place = PROJECT_ROOT / "data" / "telemetry"
    first_month: Annotated[Month, *_Month.__metadata__] = _FIRST_MONTH
    last_month: _Month = None
    behaviors: _Whole = _PACKAGED.behaviors.expected
    max_gap_days: _Days = 3
    quarantine_tolerance: _Share = 0.01
    overshoot: _Points = 0.0
    family_skew: _Share = 0.01
    min_coverage: _Share = 0.8
    max_loss: _Share = 0.001
    timezone: _Timezone = "UTC"
    late_days: _Days = 5
    quiet_seconds: _Seconds = 300.0
    follow_links: _Flag = False
    memory_mib: _Mebibytes = 384
    lock_wait_seconds: _Seconds = 60.0
    lock_retries: _Whole = 3
    lock_retry_seconds: _Seconds = 30.0
    reports: _Folder = PROJECT_ROOT / "data" / "reports"
    alert_log: _File = PROJECT_ROOT / "data" / "alerts.jsonl"
    # It may hold a token, so it is in no message and no representation.
    alert_url: _WebAddress | None = field(default=None, repr=False)
    keep_runs_days: _DaysOfKeeping = 90
    months_per_run: _MonthsOrAll = None
    plausibility: PlausibilitySettings = _PACKAGED.plausibility
    lake: Lake | None = None

    @property
    def place(self) -> Path | Lake:
        """The warehouse, whichever it is."""
        return self.warehouse if self.lake is None else self.lake

    def limit(self, name: str, family: Family) -> Any:
        """A tolerance as it holds for a family: its own, or else the general one.

        Args:
            name: The tolerance, a field of `families.Tolerances`.
            family: The family.
        """
        own = getattr(family.tolerances, name)
        return getattr(self, name) if own is None else own

    @property
    def today(self) -> date:
        """The day, in the refinery's time zone."""
        return datetime.now(ZoneInfo(self.timezone)).date()

    @property
    def window(self) -> list[Month]:
        """The months that there are partitions for, in order."""
        return list(Month.span(self.first_month, self.last_month or Month.of(self.today)))

    def __post_init__(self) -> None:
        """Place the read copy beside the warehouse, where nothing else was asked for; a lake needs none."""
        if self.lake is not None:
            object.__setattr__(self, "lake", replace(self.lake, data=self.lake_data))
            object.__setattr__(self, "warehouse", _NO_FILE)
            object.__setattr__(self, "read_copy", None)
        if self.read_copy == _BESIDE_THE_WAREHOUSE:
            beside = self.warehouse.with_name(f"{self.warehouse.stem}.read.duckdb")
            object.__setattr__(self, "read_copy", beside)

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Settings:
        """Read every setting from the environment, or else from the file `.env` in the working folder.

        A variable that is unset in both takes its default; one that is empty does, too, whatever the file says.

        Raises:
            SettingError: A variable holds a value that cannot be used, and the message names variable, value and
                what was expected; or a variable sets nothing, and the message names the one that it resembles.
        """
        try:
            settings = _Variables.read(environment)
        except ValidationError as error:
            raise _refusal(error) from None
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
        places = {"REFINERY_FEED": settings.feed, "REFINERY_TELEMETRY": settings.telemetry}
        if settings.lake is not None:
            places["REFINERY_LAKE_DATA"] = settings.lake_data
        for variable, place in places.items():
            if isinstance(place, ObjectPrefix) and find_spec("obstore") is None:
                raise SettingError(
                    f"{variable} is '{place}', and the library for object stores is not installed; install it with: "
                    "pip install '.[s3]', in a copy of the project."
                )
        return settings


_OF_NO_VARIABLE = frozenset({"plausibility", "lake"})

VARIABLES = tuple(f"{_PREFIX}{each.name.upper()}" for each in fields(Settings) if each.name not in _OF_NO_VARIABLE)
"""The variables that set them."""


def _fill_in_defaults(given: object) -> object:
    """What is blank is not set; and what is not set is as the contract says."""
    if not isinstance(given, dict):
        return given
    texts = {name: text for name, text in given.items() if text.strip() and name not in _OF_NO_VARIABLE}
    warehouse = texts.get("warehouse", "").strip()
    if not warehouse.startswith(LAKE_PREFIX):
        refuse_other_databases(warehouse)
    else:
        texts["lake"] = parse_lake(texts.pop("warehouse"), _path)
        if texts.get("read_copy", "off").strip().lower() != "off":
            raise LakeAddressError(
                f"REFINERY_READ_COPY is {texts['read_copy']!r}; expected off, or nothing: readers attach a lake itself."
            )
    if "telemetry" in texts and "://" not in texts["telemetry"]:
        texts.setdefault("lake_data", str(_path(texts["telemetry"]).with_name("lake")))
    if "contract" not in texts:
        return texts
    contract = _contract(texts["contract"])
    limits = contract.tolerances.model_dump(exclude_none=True)
    declared = {"behaviors": contract.behaviors.expected, "plausibility": contract.plausibility}
    return {**declared, **limits, **texts, "contract": contract}


class _Variables(BaseSettings):
    """The variables of the environment and of `.env`: `REFINERY_FEED` is the field `feed` of `refinery`."""

    model_config = SettingsConfigDict(
        env_file=".env",
        env_nested_delimiter="_",
        env_nested_max_split=1,
        enable_decoding=False,
        extra="ignore",
        validate_default=False,
    )

    refinery: Annotated[Settings, BeforeValidator(_fill_in_defaults)] = Settings()

    @classmethod
    def read(cls, environment: Mapping[str, str]) -> Settings:
        source = EnvSettingsSource(cls)
        given = environment.items()
        if _IN_A_POD in environment:
            given = {name: value for name, value in given if not _OF_A_SERVICE.fullmatch(name)}.items()
        source.env_vars = {name.lower(): value for name, value in given}
        return cls(**source()).refinery

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 - the signature is the library's
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """What the caller hands in stands for the environment of this process."""
        return init_settings, dotenv_settings


def _refusal(error: ValidationError) -> SettingError:
    """The first thing that is wrong, as a sentence."""
    first = error.errors(include_url=False)[0]
    cause = first.get("ctx", {}).get("error")
    if isinstance(cause, ContractError | LakeAddressError):
        return SettingError(str(cause))
    name = str(first["loc"][1])
    variable = f"{_PREFIX}{name.upper()}"
    if variable not in VARIABLES:
        near = get_close_matches(name, [each.name for each in fields(Settings)], n=1)
        meant = f"did you mean {_PREFIX}{near[0].upper()}?" if near else "unset it; docs/reference.md has all settings."
        return SettingError(f"{variable}, set in the environment or in the file .env, is no setting; {meant}")
    shown = {each.name: each.repr for each in fields(Settings)}
    given = repr(str(first["input"]).strip()) if shown[name] else "set to something else"
    return SettingError(f"{variable} is {given}; expected {_expected(name)}.")


def _expected(name: str) -> str:
    hint: Any = get_type_hints(Settings, include_extras=True)[name]
    kinds = [hint, *getattr(hint, "__args__", ())]
    described = [info for kind in kinds for info in getattr(kind, "__metadata__", ()) if isinstance(info, FieldInfo)]
    return str(described[0].description)
