"""The contract with the world outside: families, behaviours, faults, names of tables and columns.

Here: data that others' programs rely on, with no logic beyond looking it up. Not here: Dagster, file
access, and the rules that judge a row (`refining/scrub.py`) or a month (`refining/audit.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


@dataclass(frozen=True)
class Family:
    """One kind of monthly CSV file.

    Attributes:
        name: The asset's name and the file's prefix.
        resource: The value of `processed_data.resource`.
        value_column: The daily p95 utilization, in percent.
        capacity_column: The physical limit that the feed states.
        capacity_unit: The unit of that limit.
    """

    name: str
    resource: str
    value_column: str
    capacity_column: str
    capacity_unit: str

    @property
    def columns(self) -> tuple[str, str, str, str]:
        """The header that the legacy export writes, in its order."""
        return ("date", "host_id", self.value_column, self.capacity_column)


FAMILIES = (
    Family("cpu_utilization", "cpu", "cpu_p95", "max_cores", "cores"),
    Family("memory_stats", "memory", "memory_p95", "memory_gb", "GB"),
    Family("storage_usage", "disk", "disk_p95", "storage_mb", "MB"),
    Family("net_throughput", "network", "network_p95", "throughput_mbps", "Mbps"),
)

RESOURCES = tuple(family.resource for family in FAMILIES)
"""The values of `processed_data.resource`."""


@dataclass(frozen=True, order=True)
class Behavior:
    """A "DNA variety" of hosts: a (scenario, variant) pair, in upper case."""

    scenario: str
    variant: str

    def __str__(self) -> str:
        return f"{self.scenario}/{self.variant}"


BEHAVIORS = (
    Behavior("STEADY_GROWTH", "NORMAL"),
    Behavior("STEADY_GROWTH", "BREACH"),
    Behavior("SEASONAL", "BALANCED"),
    Behavior("SEASONAL", "EXTREME"),
    Behavior("BURST", "MODERATE"),
    Behavior("BURST", "EXTREME"),
    Behavior("LOW_IDLE", "STABLE"),
    Behavior("LOW_IDLE", "VARIABLE"),
    Behavior("CAPACITY_BREACH", "IMMINENT"),
    Behavior("CAPACITY_BREACH", "SEVERE"),
)


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


UTILIZATION_CEILING_PERCENT = 100.0
"""`processed_data.cap`: the ceiling of `y`, as logistic growth wants it."""

HOSTS_TABLE = "hosts"
PROCESSED_TABLE = "processed_data"
QUARANTINE_TABLE = "quarantined_rows"
AUDITS_TABLE = "audits"

LEGACY_FEED = "legacy_feed"
HOST_INVENTORY = "host_inventory"
PROCESSED_DATA = "processed_data"


@dataclass(frozen=True)
class Column:
    """A column that the refinery writes: name, SQL type (with NOT NULL where it holds), meaning."""

    name: str
    sql_type: str
    meaning: str


PARTITION_COLUMNS = (
    Column("source_line", "UINTEGER", "the line in the file; the header is line 1; null where imputed"),
    Column("ds", "TIMESTAMP", "midnight of the day measured"),
    Column("host_id", "VARCHAR", "the host as the file names it, stripped"),
    Column("y", "DOUBLE", "p95 utilization of the day, percent"),
    Column("capacity", "DOUBLE", "the physical limit that the feed states, in the family's unit"),
    Column("fault", "VARCHAR", "why the row is not let through; null: clean"),
    Column("raw", "VARCHAR", "the line as it stood, where faulty or taken as 100"),
    Column("is_imputed", "BOOLEAN NOT NULL", "true where a short gap was filled by interpolation"),
)

PROCESSED_COLUMNS = (
    Column("ds", "TIMESTAMP NOT NULL", "midnight of the day measured"),
    Column("host_id", "VARCHAR NOT NULL", "the host, spelled as in hosts.node_name"),
    Column("resource", "VARCHAR NOT NULL", "cpu, memory, disk or network"),
    Column("y", "DOUBLE NOT NULL", "p95 utilization of the day, percent"),
    Column("cap", "DOUBLE NOT NULL", "100.0: the ceiling of y"),
    Column("capacity", "DOUBLE", "the physical limit that the feed states: cores, GB, MB or Mbps"),
    Column("is_imputed", "BOOLEAN NOT NULL", "true where a short gap was filled by interpolation"),
)

QUARANTINE_COLUMNS = (
    Column("month", "VARCHAR NOT NULL", "the month whose file held the row, as YYYY-MM"),
    Column("resource", "VARCHAR NOT NULL", "cpu, memory, disk or network"),
    Column("source_file", "VARCHAR NOT NULL", "the file, relative to the root of the feed"),
    Column("source_line", "BIGINT NOT NULL", "the line in that file; the header is line 1"),
    Column("raw", "VARCHAR", "the line as it stood"),
    Column("fault", "VARCHAR NOT NULL", "why the row was not let through"),
)

AUDIT_COLUMNS = (
    Column("run_id", "VARCHAR NOT NULL", "the Dagster run that audited the month"),
    Column("month", "VARCHAR NOT NULL", "the month audited, as YYYY-MM"),
    Column("asset", "VARCHAR NOT NULL", "the asset that the check belongs to"),
    Column("check_name", "VARCHAR NOT NULL", "the check"),
    Column("verdict", "VARCHAR NOT NULL", "passed, warning or failed, for this month alone"),
    Column("severity", "VARCHAR NOT NULL", "WARN for a warning, else ERROR: what the verdict may stop"),
    Column("counts", "JSON NOT NULL", "the check's figures for the month, by resource where it has them so"),
    Column("audited_at", "TIMESTAMP NOT NULL", "when the month was audited, UTC"),
    Column("published_at", "TIMESTAMP", "when the run published the month, UTC; null: it was refused"),
    Column("version", "VARCHAR NOT NULL", "the version of the refinery"),
)

HOSTS_COLUMNS = (
    Column("node_name", "VARCHAR PRIMARY KEY", "the host's name"),
    Column("classification", "VARCHAR", "the service class, such as production or development"),
    Column("server_type", "VARCHAR", "what the host is: physical, virtual, ..."),
    Column("region", "VARCHAR", "where the host stands"),
    Column("cpu_cores", "INTEGER", "cores"),
    Column("memory_gb", "INTEGER", "memory, GB"),
    Column("storage_capacity_mb", "INTEGER", "storage, MB"),
    Column("department", "VARCHAR", "who pays for the host"),
    Column("scenario", "VARCHAR", "first half of the host's behaviour"),
    Column("variant", "VARCHAR", "second half of the host's behaviour"),
)
