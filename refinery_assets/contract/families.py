"""The contract with the world outside: families, behaviors, faults, names of assets.

Here: data that others' programs rely on, with no logic beyond looking it up. Not here: Dagster, file
access, and the rules that judge a row (`rows/scrub.py`) or a month (`warehouse/publish_checks.py`).
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


ABSENT = ("", "-", "n/a", "na", "none", "null")
"""What exports write where there is nothing to write, in lower case."""

UTILIZATION_CEILING_PERCENT = 100.0
"""`processed_data.cap`: the ceiling of `y`, as logistic growth wants it."""

LEGACY_FEED = "legacy_feed"
HOST_INVENTORY = "host_inventory"
PROCESSED_DATA = "processed_data"
MONTHLY_REPORT = "monthly_report"
