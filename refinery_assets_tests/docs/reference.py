"""The sections of docs/reference.md: settings, checks, faults, automation and the data dictionary, as Markdown."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import dagster as dg

from refinery_assets.build import build_defs
from refinery_assets.checks.rules import Rule
from refinery_assets.contract.columns import HOSTS, PARTITION_COLUMNS, TABLES, VIEWS, Column, Relation, in_the_words_of
from refinery_assets.contract.contract_file import Contract, packaged_contract
from refinery_assets.contract.families import HOST_INVENTORY, LEGACY_FEED, PROCESSED_DATA, Fault
from refinery_assets.contract.packaged import FAMILIES
from refinery_assets.contract.plausibility import PlausibilitySettings
from refinery_assets.contract.settings import PROJECT_ROOT, SettingError, Settings
from refinery_assets.rows.family_checks import FAMILY_RULES
from refinery_assets.rows.source_checks import ENTRANCE_RULES
from refinery_assets.warehouse.inventory_checks import INVENTORY_RULES
from refinery_assets.warehouse.publish_checks import PUBLISH_RULES
from refinery_assets_tests.docs.pages import sentence, table

# As the docstring of `Settings` has it: `name: meaning; None: what that means (`REFINERY_NAME`).`
_ATTRIBUTE = re.compile(
    r"^ {4}(?P<name>\w+): (?P<meaning>.+?)(?:; None: (?P<none>.+?))?\s\(`(?P<variable>REFINERY_\w+)`\)\.$",
    re.MULTILINE | re.DOTALL,
)
_PLAUSIBILITY_ATTRIBUTE = re.compile(r"^ {4}(\w+): (.+?)(?=\n {4}\w|\Z)", re.MULTILINE | re.DOTALL)
_NO_SETTING_TAKES_THIS = "://"

FAULT_MEANINGS = {
    Fault.MALFORMED_ROW: "does not have exactly the header's fields, or is not text in the `encoding`",
    Fault.BAD_TIMESTAMP: "has no date in the `date_format` (a time of midnight is accepted, a time zone is not)",
    Fault.OUTSIDE_MONTH: "has a date outside the month that the path of its file names",
    Fault.MISSING_HOST: "has no host: empty or an `absent` word, unless the inventory has a host of that name",
    Fault.MISSING_VALUE: "has no utilization: empty, or one of the same words",
    Fault.NOT_A_NUMBER: "has a utilization or a capacity that is not a finite number with the `decimal` mark",
    Fault.OUT_OF_RANGE: "is not within 0 to 100 percent (see `REFINERY_OVERSHOOT`), or has a negative capacity",
    Fault.DUPLICATE: "repeats an earlier row for the same host and day, with the same values",
    Fault.SUPERSEDED: "is replaced by a later row for the same host and day, with other values",
}


def feed() -> str:
    """The families of files."""
    return table(
        ("family (asset, file prefix)", "resource", "columns", "unit of capacity"),
        (
            (f"`{family.name}`", f"`{family.resource}`", f"`{','.join(family.columns)}`", family.capacity_unit or "")
            for family in FAMILIES
        ),
    )


def settings() -> str:
    """Every variable with its default, what it takes and what it means."""
    defaults = Settings()
    described = _ATTRIBUTE.finditer(inspect.getdoc(Settings) or "")
    return table(
        ("variable", "default", "expected", "meaning"),
        (
            (
                f"`{each['variable']}`",
                _default(getattr(defaults, each["name"]), each["none"]),
                _expected(each["variable"]),
                sentence(each["meaning"]),
            )
            for each in described
        ),
    )


def _default(value: object, meaning_of_none: str | None) -> str:
    if value is None:
        return f"unset: {meaning_of_none}"
    if isinstance(value, bool):
        return "`yes`" if value else "`no`"
    if isinstance(value, Contract):
        return "the packaged contract"
    if isinstance(value, Path):
        return f"`{value.relative_to(PROJECT_ROOT).as_posix()}`"
    return f"`{value:g}`" if isinstance(value, float) else f"`{value}`"


def _expected(variable: str) -> str:
    """What the variable takes, in the words in which a bad value is refused."""
    try:
        Settings.from_environment({variable: _NO_SETTING_TAKES_THIS})
    except SettingError as error:
        return str(error).partition("; expected ")[2].rstrip(".")
    raise ValueError(f"{variable} takes {_NO_SETTING_TAKES_THIS}, so that nothing says what it expects.")


def checks() -> str:
    """Every check: when it fails, and what to do then."""
    rules: Sequence[tuple[str, Iterable[Rule[Any]]]] = (
        (f"`{LEGACY_FEED}`", ENTRANCE_RULES),
        (f"`{HOST_INVENTORY}`", INVENTORY_RULES),
        ("each family", FAMILY_RULES),
        (f"`{PROCESSED_DATA}`", PUBLISH_RULES),
    )
    return table(
        ("asset", "check", "when", "what to do"),
        ((asset, f"`{rule.name}`", rule.description, rule.recovery) for asset, of_asset in rules for rule in of_asset),
    )


def plausibility() -> str:
    """The fields of the plausibility checks' settings with their defaults."""
    defaults = PlausibilitySettings()
    text = (inspect.getdoc(PlausibilitySettings) or "").partition("Attributes:")[2]
    described = dict(_PLAUSIBILITY_ATTRIBUTE.findall(text))
    return table(
        ("key", "default", "meaning"),
        (
            (f"`{name}`", _plain(getattr(defaults, name)), sentence(described[name]))
            for name in PlausibilitySettings.model_fields
        ),
    )


def _plain(value: object) -> str:
    return "none" if value == () else f"`{value}`"


def faults() -> str:
    """Every fault of a row, in the order in which they are looked for."""
    return table(("fault", "the row"), ((f"`{fault}`", FAULT_MEANINGS[fault]) for fault in Fault))


def automation() -> str:
    """The jobs, the schedule and the sensors, with the default settings."""
    definitions = build_defs(Settings())
    on = (dg.DefaultScheduleStatus.RUNNING, dg.DefaultSensorStatus.RUNNING)
    rows = [(f"`{job.name}`", "job", "", job.description or "") for job in definitions.jobs or ()]
    for kind, group in (("schedule", definitions.schedules), ("sensor", definitions.sensors)):
        rows += [
            (f"`{each.name}`", kind, "on" if each.default_status in on else "off", each.description or "")
            for each in group or ()
        ]
    return table(("name", "kind", "at first", "what it does"), rows)


def data_dictionary() -> str:
    """A section for each table and view, the inventory and the partitions included."""
    partition = Relation(
        "<family>/<YYYY-MM>.parquet",
        "file",
        "one row per row of the month's CSV file, faulty ones included, and one per imputed day",
        PARTITION_COLUMNS,
    )
    return "\n".join(_relation(relation) for relation in (*TABLES, *VIEWS, HOSTS, partition))


def _relation(relation: Relation) -> str:
    heading = f"### `{relation.name}` ({relation.kind})\n\n{sentence(relation.meaning)}.\n\n"
    names = ("column", "type", "meaning", "unit", "from", "rule")
    return heading + table(
        names, (_column(column) for column in in_the_words_of(packaged_contract(), relation.columns))
    )


def _column(column: Column) -> tuple[str, ...]:
    return (f"`{column.name}`", column.sql_type, column.meaning, column.unit, column.source, column.rule)
