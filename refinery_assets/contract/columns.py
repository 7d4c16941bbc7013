"""The data dictionary: every table, view and partition column that others may rely on, declared once.

Here: names, types, meanings, units, sources and rules. From this come the tables and their comments in
DuckDB, the columns on the assets' pages, and the dictionary in `docs/reference.md`. Not here: how a view is computed
(`warehouse/views.py`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from refinery_assets.contract.contract_file import Contract, packaged_contract
from refinery_assets.contract.own_names import INVENTORY_COLUMNS


@dataclass(frozen=True)
class Column:
    """A column.

    Attributes:
        name: Its name.
        sql_type: Its type in DuckDB, with NOT NULL or PRIMARY KEY where that holds.
        meaning: What it says.
        unit: Its unit; empty where it has none.
        source: The column that it comes from; empty where the meaning says it.
        rule: What holds of it, and the check that sees to it.
    """

    name: str
    sql_type: str
    meaning: str
    unit: str = ""
    source: str = ""
    rule: str = ""

    @property
    def type_name(self) -> str:
        """The type without what holds of it."""
        return self.sql_type.split(" ")[0]

    @property
    def description(self) -> str:
        """All of it in one line."""
        parts = [self.meaning]
        parts += [f"unit: {self.unit}"] if self.unit else []
        parts += [f"from {self.source}"] if self.source else []
        parts += [self.rule] if self.rule else []
        return "; ".join(parts)


def in_the_words_of(contract: Contract, columns: Iterable[Column]) -> list[Column]:
    """The columns, with the contract's names and units where their texts leave room for them."""
    families = contract.families
    units = [family.capacity_unit for family in families if family.capacity_unit]
    words = {
        "resources": _either([f"`{resource}`" for resource in contract.resources]),
        "capacity_units": f"{_either(units)}, by resource" if len(set(units)) > 1 else "".join(units[:1]),
        "capacity_columns": _both([family.capacity for family in families if family.capacity]),
        "value_columns": _both([family.value for family in families]),
        "date_columns": _both([family.date for family in families]),
        "host_columns": _both([family.host for family in families]),
    }
    return [
        replace(column, **{part: getattr(column, part).format(**words) for part in ("meaning", "unit", "source")})
        for column in columns
    ]


def _either(names: Sequence[str]) -> str:
    unique = list(dict.fromkeys(names))
    return " or ".join([", ".join(unique[:-1]), unique[-1]]) if len(unique) > 1 else "".join(unique)


def _both(columns: Sequence[str]) -> str:
    return ", ".join(f"`{name}`" for name in dict.fromkeys(columns))


@dataclass(frozen=True)
class Relation:
    """A table or a view of the warehouse."""

    name: str
    kind: str
    meaning: str
    columns: tuple[Column, ...]


_DAY = "midnight of the day measured"
_PERCENT = "percent"
_RESOURCE = "{resources}"
_IN_RANGE = "finite, 0 to `cap` (`utilization_in_range`)"
_KNOWN = "a host of the inventory (`referential_integrity`)"
_STANDARD = "midnight, within its month (`timestamps_standardized`)"
_IMPUTED = "true where a gap of at most `REFINERY_MAX_GAP_DAYS` days was filled by linear interpolation"
_CAPACITY = "the physical limit that the feed states; null where it states none"
_CAPACITY_UNIT = "{capacity_units}"
_CAPACITY_SOURCE = "{capacity_columns}"
_SINCE = "null in a month that an older version published"
_Y_SOURCE = "{value_columns}"

PARTITION_COLUMNS = (
    Column(
        "source_line",
        "UINTEGER",
        "the line in the file, the header being line 1, counted on through the days where each has a file; the row "
        "in a Parquet file; null where imputed",
    ),
    Column("ds", "TIMESTAMP", _DAY, source="{date_columns}"),
    Column("host_id", "VARCHAR", "the host as the file names it, stripped", source="{host_columns}"),
    Column("y", "DOUBLE", "p95 utilization of the day", _PERCENT, _Y_SOURCE),
    Column("capacity", "DOUBLE", _CAPACITY, _CAPACITY_UNIT, _CAPACITY_SOURCE),
    Column("fault", "VARCHAR", "why the row is not let through; null: clean"),
    Column("raw", "VARCHAR", "the line as it stood, where faulty or taken as 100"),
    Column("is_imputed", "BOOLEAN NOT NULL", _IMPUTED),
)

PROCESSED_DATA = Relation(
    "processed_data",
    "table",
    "one row per day, host and resource",
    (
        Column("ds", "TIMESTAMP NOT NULL", _DAY, source="{date_columns}", rule=_STANDARD),
        Column("host_id", "VARCHAR NOT NULL", "the host, spelled as in the inventory", "", "{host_columns}", _KNOWN),
        Column("resource", "VARCHAR NOT NULL", _RESOURCE, source="the file's family"),
        Column("y", "DOUBLE NOT NULL", "p95 utilization of the day", _PERCENT, _Y_SOURCE, _IN_RANGE),
        Column("cap", "DOUBLE NOT NULL", "100.0: the ceiling of `y`", _PERCENT),
        Column("capacity", "DOUBLE", _CAPACITY, _CAPACITY_UNIT, _CAPACITY_SOURCE, "finite, 0 or more"),
        Column("is_imputed", "BOOLEAN NOT NULL", _IMPUTED),
    ),
)

QUARANTINED_ROWS = Relation(
    "quarantined_rows",
    "table",
    "one row per line of a file that was not let through",
    (
        Column("month", "VARCHAR NOT NULL", "the month whose file held the row, as YYYY-MM"),
        Column("resource", "VARCHAR NOT NULL", _RESOURCE),
        Column("source_file", "VARCHAR NOT NULL", "the file, relative to the root of the feed"),
        Column(
            "source_line",
            "BIGINT NOT NULL",
            "the line in that file, the header being line 1; the row in a Parquet file",
        ),
        Column("raw", "VARCHAR", "the line as it stood; of a Parquet file, as CSV would have it"),
        Column(
            "fault",
            "VARCHAR NOT NULL",
            "why the row was not let through",
            rule="at most `REFINERY_QUARANTINE_TOLERANCE` of a file's rows (`quarantine_within_tolerance`)",
        ),
    ),
)

AUDITS = Relation(
    "audits",
    "table",
    "one row per check, month and run, whether the run published the month, refused it, or looked at a part of it",
    (
        Column("run_id", "VARCHAR NOT NULL", "the Dagster run that audited the month"),
        Column("month", "VARCHAR NOT NULL", "the month audited, as YYYY-MM"),
        Column("asset", "VARCHAR NOT NULL", "the asset that the check belongs to"),
        Column("check_name", "VARCHAR NOT NULL", "the check"),
        Column(
            "verdict",
            "VARCHAR NOT NULL",
            "`passed`, `warning`, `failed`, or `not_judged` where there was nothing to look at",
        ),
        Column("severity", "VARCHAR NOT NULL", "`WARN` for a warning, else `ERROR`: what the verdict may stop"),
        Column("counts", "JSON NOT NULL", "the check's figures for the month, by resource where it has them so"),
        Column("audited_at", "TIMESTAMP NOT NULL", "when the month was audited", "UTC"),
        Column(
            "published_at",
            "TIMESTAMP",
            "when the month was published, where this run published it or found it unchanged; else null",
            "UTC",
        ),
        Column("version", "VARCHAR NOT NULL", "the version of the refinery"),
        Column("summary", "VARCHAR", "what the check found, in one sentence"),
        Column("recovery", "VARCHAR", "what to do about it; null where there is nothing to do"),
        Column(
            "input_digest",
            "VARCHAR",
            "the inputs that the month was judged by (`publications.input_digest`), which a waiver holds for; null "
            "where the run did not come so far, and in rows of an older version",
        ),
    ),
)

PUBLICATIONS = Relation(
    "publications",
    "table",
    "one row per publication of a month: its receipt",
    (
        Column("month", "VARCHAR NOT NULL", "the month published, as YYYY-MM"),
        Column("run_id", "VARCHAR NOT NULL", "the Dagster run that published it"),
        Column("published_at", "TIMESTAMP NOT NULL", "when it was published", "UTC"),
        Column("contract_digest", "VARCHAR NOT NULL", "digest of the feed's contract"),
        Column(
            "input_digest",
            "VARCHAR NOT NULL",
            "digest of all that the rows depend on: the month's files, the contract, the settings "
            "that bear on rows and verdicts, the inventory",
        ),
        Column("rows", "BIGINT NOT NULL", "rows of the month in `processed_data`"),
        Column("imputed", "BIGINT NOT NULL", "imputed ones among them"),
        Column("quarantined", "BIGINT NOT NULL", "rows of the month in `quarantined_rows`"),
        Column("rows_added", "BIGINT NOT NULL", "rows for a day and series that were not there before"),
        Column(
            "rows_removed",
            "BIGINT NOT NULL",
            "rows that were there before and are no more, or are imputed instead of measured",
        ),
        Column("rows_changed", "BIGINT NOT NULL", "rows that were there before with another value"),
        Column(
            "table_digest",
            "UBIGINT NOT NULL",
            "digest of the month's rows in `processed_data`, `quarantined_rows` and `series_months`, in any order",
        ),
        Column("version", "VARCHAR NOT NULL", "the versions of the refinery, of its digests and of DuckDB"),
        Column("checks_off", "VARCHAR", "plausibility checks that were off, and so looked at nothing; null: none"),
    ),
)

WAIVERS = Relation(
    "waivers",
    "table",
    "one row per month and check that somebody has accepted",
    (
        Column("month", "VARCHAR NOT NULL", "the month accepted, as YYYY-MM"),
        Column("check_name", "VARCHAR NOT NULL", "the check that refuses it"),
        Column("reason", "VARCHAR NOT NULL", "why it is right all the same"),
        Column("who", "VARCHAR NOT NULL", "who says so"),
        Column("accepted_at", "TIMESTAMP NOT NULL", "when", "UTC"),
        Column(
            "input_digest",
            "VARCHAR NOT NULL",
            "the inputs that it holds for",
            rule="holds for no others (`publications.input_digest`)",
        ),
        Column("withdrawn_at", "TIMESTAMP", "when it was taken back; null: it is in force", "UTC"),
    ),
)

PART_DIGESTS = {"digest_days_1_to_10": (1, 10), "digest_days_11_to_20": (11, 20), "digest_days_21_to_28": (21, 28)}
"""Digests of parts of a series, by their first and last day: whatever half of a month is copied from the same days of
another one, be it from day 15, 16 or 21 on, has one of them whole. Not every month has days after the 28th."""

FEWEST_VALUES_OF_A_PART = 6
"""Distinct readings from which two parts with one digest are one copied, and not two that idle alike."""

SERIES_MONTHS = Relation(
    "series_months",
    "table",
    "one row per month, resource and host: the month's series, summed up",
    (
        Column("month", "VARCHAR NOT NULL", "the month, as YYYY-MM"),
        Column("resource", "VARCHAR NOT NULL", _RESOURCE),
        Column("host_id", "VARCHAR NOT NULL", "the host, spelled as in the inventory"),
        Column("readings", "INTEGER NOT NULL", "days with a reading", "days"),
        Column("imputed", "INTEGER NOT NULL", "imputed days", "days"),
        Column("mean_y", "DOUBLE NOT NULL", "mean of the readings", _PERCENT),
        Column("min_y", "DOUBLE NOT NULL", "least of the readings", _PERCENT),
        Column("max_y", "DOUBLE NOT NULL", "greatest of the readings", _PERCENT),
        Column("distinct_values", "INTEGER NOT NULL", "distinct values among the readings"),
        Column("longest_run", "INTEGER NOT NULL", "most readings in a row that are equal", "days"),
        Column("first_day", "DATE NOT NULL", "the first day with a reading"),
        Column("last_day", "DATE NOT NULL", "the last day with a reading"),
        Column("capacity", "DOUBLE", "the limit that the feed stated last", _CAPACITY_UNIT),
        Column("values_digest", "UBIGINT NOT NULL", "digest of the readings of days 1 to 28, by day"),
        Column(
            "rows_digest",
            "UBIGINT NOT NULL",
            "digest of all rows of the series: `ds`, `y`, `capacity`, `is_imputed`",
        ),
        Column("median_y", "DOUBLE", f"median of the readings; {_SINCE}", _PERCENT),
        Column("decimals", "INTEGER", f"decimals that the readings are written with, at most 6; {_SINCE}"),
        Column("capacities", "INTEGER", f"distinct limits that the feed stated; {_SINCE}"),
        *(
            Column(
                name,
                "UBIGINT",
                f"digest of the readings of days {first} to {last}, by day; null where fewer than "
                f"{FEWEST_VALUES_OF_A_PART} of them differ, and {_SINCE.removeprefix('null ')}",
            )
            for name, (first, last) in PART_DIGESTS.items()
        ),
    ),
)

HOSTS = Relation(
    "hosts",
    "table",
    "the inventory, one row per host and period in which it counts; kept by another system, only read here",
    (
        Column("node_name", "VARCHAR NOT NULL", "the host's name", rule="`host_names_unique`"),
        Column("classification", "VARCHAR", "the service class, such as production or development"),
        Column("server_type", "VARCHAR", "what the host is: physical, virtual, ..."),
        Column("region", "VARCHAR", "where the host stands"),
        Column("cpu_cores", "INTEGER", "cores"),
        Column("memory_gb", "INTEGER", "memory", "GB"),
        Column("storage_capacity_mb", "INTEGER", "storage", "MB"),
        Column("department", "VARCHAR", "who pays for the host"),
        Column("scenario", "VARCHAR", "first half of the host's behavior", rule="`behaviors_complete`"),
        Column("variant", "VARCHAR", "second half of the host's behavior", rule="`behaviors_complete`"),
        Column("valid_from", "DATE", "the first day on which the host counts; null: always before"),
        Column("valid_to", "DATE", "the first day on which it no longer counts; null: it still does"),
    ),
)
_DECLARED = {column.name: column for column in HOSTS.columns}


def inventory_columns(contract: Contract) -> tuple[Column, ...]:
    """The columns of the inventory under the names of `host_inventory`, the host first.

    A type is empty where it is the source's.
    """
    inventory = contract.inventory
    if inventory.is_packaged:
        return HOSTS.columns
    own = dict.fromkeys((*inventory.attributes, *INVENTORY_COLUMNS[1:]))
    return (
        _DECLARED["node_name"],
        *(
            replace(_DECLARED[name], rule="")
            if name in INVENTORY_COLUMNS
            else Column(name, "", "as the inventory has it")
            for name in own
            if name != "node_name"
        ),
    )


_UNIQUE_ID = Column("unique_id", "VARCHAR", "the series: host and resource, with a slash between")
_HOST = Column("host_id", "VARCHAR", "the host", source="`processed_data.host_id`")
_OF_RESOURCE = Column("resource", "VARCHAR", _RESOURCE, source="`processed_data.resource`")
_DS = Column("ds", "TIMESTAMP", _DAY, source="`processed_data.ds`")
_Y = Column("y", "DOUBLE", "p95 utilization of the day", _PERCENT, "`processed_data.y`")
_STATED = "`processed_data.capacity`"
_FLAG = Column("is_imputed", "BOOLEAN", _IMPUTED, source="`processed_data.is_imputed`")


def _attributes(contract: Contract) -> list[Column]:
    """The inventory's columns in a view with one row per series or point."""
    return [
        replace(
            column, sql_type=column.type_name, source="`host_inventory`: the row valid today, else the latest", rule=""
        )
        for column in inventory_columns(contract)[1:]
    ]


def _host_inventory(contract: Contract) -> Relation:
    kind = "table" if contract.inventory.is_file else "view"
    columns = tuple(replace(column, sql_type=column.type_name) for column in inventory_columns(contract))
    return Relation("host_inventory", kind, "the inventory under the names that the refinery knows it by", columns)


def _series(contract: Contract) -> Relation:
    return Relation(
        "series",
        "view",
        "one row per host and resource",
        (
            _UNIQUE_ID,
            _HOST,
            _OF_RESOURCE,
            Column("first_day", "DATE", "the first day of the series"),
            Column("last_day", "DATE", "the last day of the series"),
            Column("days", "BIGINT", "days in the table, imputed ones included", "days"),
            Column("imputed", "BIGINT", "imputed days", "days"),
            Column("gaps", "BIGINT", "how many times days are missing between the first and the last"),
            Column("missing_days", "BIGINT", "days that are missing between the first and the last", "days"),
            Column(
                "capacity",
                "DOUBLE",
                "the limit that the feed stated last",
                _CAPACITY_UNIT,
                "`processed_data.capacity`",
            ),
            *_attributes(contract),
        ),
    )


def _forecast_panel(contract: Contract) -> Relation:
    return Relation(
        "forecast_panel",
        "view",
        "`processed_data` as forecasting libraries want it, with the inventory's attributes",
        (
            _UNIQUE_ID,
            _DS,
            _Y,
            Column("cap", "DOUBLE", "100.0: the ceiling of `y`", _PERCENT, "`processed_data.cap`"),
            Column("floor", "DOUBLE", "0.0: the floor of `y`", _PERCENT),
            _HOST,
            _OF_RESOURCE,
            Column("capacity", "DOUBLE", _CAPACITY, _CAPACITY_UNIT, _STATED),
            Column(
                "demand",
                "DOUBLE",
                "what is used of the capacity, `y` of 100 parts; null where the capacity is null",
                _CAPACITY_UNIT,
                f"{_Y.source}, {_STATED}",
            ),
            _FLAG,
            *_attributes(contract),
        ),
    )


CAPACITY_CHANGES = Relation(
    "capacity_changes",
    "view",
    "one row per day on which the feed states another capacity of a series than before",
    (
        _HOST,
        _OF_RESOURCE,
        Column("day", "DATE", "the first day with the new capacity", source="`processed_data.ds`"),
        Column("capacity_before", "DOUBLE", "the capacity stated last before that day", _CAPACITY_UNIT, _STATED),
        Column("capacity_after", "DOUBLE", "the capacity stated on that day", _CAPACITY_UNIT, _STATED),
    ),
)

FEATURE_LAGS = (1, 7, 28)
FEATURE_WINDOWS = (7, 28)
_MEASURED = "null where a day of it was not measured (imputed days lean on later ones)"

DAILY_FEATURES = Relation(
    "daily_features",
    "view",
    "`y` with features strictly from the past of its series",
    (
        _UNIQUE_ID,
        _HOST,
        _OF_RESOURCE,
        _DS,
        _Y,
        _FLAG,
        *(
            Column(
                f"y_lag_{lag}",
                "DOUBLE",
                f"`y` of {lag} days before",
                _PERCENT,
                _Y.source,
                _MEASURED,
            )
            for lag in FEATURE_LAGS
        ),
        *(
            Column(
                f"y_{name}_{days}",
                "DOUBLE",
                f"{meaning} of `y` over the {days} days before",
                _PERCENT,
                _Y.source,
                _MEASURED,
            )
            for days in FEATURE_WINDOWS
            for name, meaning in (("mean", "mean"), ("std", "sample standard deviation"))
        ),
    ),
)

TABLES = (PROCESSED_DATA, QUARANTINED_ROWS, AUDITS, PUBLICATIONS, SERIES_MONTHS, WAIVERS)
"""What the refinery keeps in the warehouse."""


def views_of(contract: Contract) -> tuple[Relation, ...]:
    """What it offers on top of that: the views, with the inventory's columns as the contract declares them."""
    return (
        _host_inventory(contract),
        _series(contract),
        _forecast_panel(contract),
        CAPACITY_CHANGES,
        DAILY_FEATURES,
    )


VIEWS = views_of(packaged_contract())
"""The same with the packaged contract."""
