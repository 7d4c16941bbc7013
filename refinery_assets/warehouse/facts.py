"""What the publish checks look at: the table's months summed up, and the partitions they were made from.

Here: the facts and how they are gathered, each source read once for all rules. Not here: the rules
(`publish_checks.py`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import duckdb

from refinery_assets.checks.plausibility.evidence import Evidence
from refinery_assets.checks.rules import SAMPLE_SIZE, Finding, Row
from refinery_assets.contract.months import Month
from refinery_assets.contract.settings import Settings
from refinery_assets.warehouse.absent_hosts import AbsentHosts, find_absent_hosts
from refinery_assets.warehouse.differences import Difference
from refinery_assets.warehouse.family_partitions import SourceFacts
from refinery_assets.warehouse.fleet import behavior_names
from refinery_assets.warehouse.tables import rows_of
from refinery_assets.warehouse.unknown_hosts import UnknownHosts, find_unknown_hosts


@dataclass(frozen=True)
class TableFacts:
    """What stands in `processed_data` of one month and resource.

    Attributes:
        points: Rows.
        imputed: Imputed ones among them.
        total: Sum of `y`.
        hosts: Hosts due in the month with a row for a day on which they are.
        days: Bit n is set where any such host has such a row for day n.
        read_days: The same, where any such row is not imputed.
        unknown: Hosts that the inventory lacks.
        outside: Hosts of the inventory with a reading for a day on which they do not count.
        repeating: Series with more rows than days.
        off_midnight: Rows whose `ds` is not midnight.
        out_of_range: Rows whose `y` is not finite, below 0 or above `cap`.
        quarantined: Rows in `quarantined_rows`.
        unlike_series: Series that `series_months` sums up otherwise than the table holds them.
        behaviors: Hosts and rows by behavior.
        filled: By day of which there are imputed rows only, how many series have one.
    """

    points: int = 0
    imputed: int = 0
    total: float = 0.0
    hosts: int = 0
    days: int = 0
    read_days: int = 0
    unknown: int = 0
    outside: int = 0
    repeating: int = 0
    off_midnight: int = 0
    out_of_range: int = 0
    quarantined: int = 0
    unlike_series: int = 0
    behaviors: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    filled: Mapping[int, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Inventory:
    """The inventory as the month is held against it, up to the newest day that the month has a row of.

    Attributes:
        hosts: How many hosts are due.
        behaviors: Each behavior with its hosts that are due, in the names' order.
        days: Bit n is set where any host is due on day n.
    """

    hosts: int
    behaviors: Mapping[str, int]
    days: int


@dataclass(frozen=True)
class MonthOfTable:
    """The facts of one month, and what they are judged by.

    Attributes:
        month: The month.
        tables: What stands in the table, by resource.
        sources: What the partitions hold, by resource; None for a re-audit, which has the receipt instead.
        inventory: The inventory.
        settings: The limits.
        difference: What publishing the month changes; None for a re-audit.
        heals: Whether the month is published again as it was, because somebody has changed the table since.
        as_published: For a re-audit: whether the tables hold what the receipt says; None without a receipt.
        plausibility: The month beside those before it; None where nothing of it stands, or no rule wants to know.
        unknown_hosts: The hosts that the inventory lacks, or that do not count on a day of theirs.
        absent_hosts: The hosts due that have no row in some resource.
        repeated: A sample of repeated points.
        own: What the contract's own rules found, by name.
    """

    month: Month
    tables: Mapping[str, TableFacts]
    sources: Mapping[str, SourceFacts] | None
    inventory: Inventory
    settings: Settings
    difference: Difference | None = None
    heals: bool = False
    as_published: bool | None = None
    plausibility: Evidence | None = None
    unknown_hosts: UnknownHosts = field(default_factory=UnknownHosts)
    absent_hosts: AbsentHosts = field(default_factory=AbsentHosts)
    repeated: Sequence[Row] = ()
    own: Mapping[str, Finding] = field(default_factory=dict)

    @property
    def resources(self) -> Sequence[str]:
        """The resources that a month has rows of, in the families' order."""
        return self.settings.contract.resources

    def of(self, resource: str) -> TableFacts:
        """The table's facts; all zero where nothing stands there."""
        return self.tables.get(resource, TableFacts())

    def figures(self) -> dict[str, int | float]:
        """What stands in the table: rows, imputed, quarantined, hosts, days, and mean by resource."""
        tables = [self.of(resource) for resource in self.resources]
        days = 0
        for table in tables:
            days |= table.days
        means = {
            f"mean_{resource}_percent": self.of(resource).total / self.of(resource).points
            for resource in self.resources
            if self.of(resource).points
        }
        return {
            "rows": sum(table.points for table in tables),
            "imputed": sum(table.imputed for table in tables),
            "quarantined": sum(table.quarantined for table in tables),
            "hosts": max((table.hosts for table in tables), default=0),
            "days": days.bit_count(),
            **means,
        }


def read_inventories(
    connection: duckdb.DuckDBPyConnection, tables: Mapping[Month, Mapping[str, TableFacts]]
) -> dict[Month, Inventory]:
    """What the inventory has due in each month, by what the table holds of it; needs `_refinery_hosts_due`."""
    names = behavior_names(connection)
    rows = connection.execute(
        """
        SELECT month, number, count(*), bit_or(due & reached) FROM _refinery_hosts_due
            JOIN (SELECT unnest($months::VARCHAR[]) AS month, unnest($reached::BIGINT[]) AS reached) USING (month)
        WHERE due & reached <> 0 GROUP BY month, number ORDER BY number
        """,
        {
            "months": [str(month) for month in tables],
            "reached": [_reached(facts.values()) for facts in tables.values()],
        },
    ).fetchall()
    found = {}
    for month in tables:
        of_month = [row[1:] for row in rows if row[0] == str(month)]
        due = 0
        for *_, of_behavior in of_month:
            due |= of_behavior
        behaviors = {names[number]: hosts for number, hosts, _ in of_month if number is not None}
        found[month] = Inventory(sum(hosts for _, hosts, _ in of_month), behaviors, due)
    return found


def _reached(tables: Iterable[TableFacts]) -> int:
    """The days up to the newest that a month has a row of; of a month without any row, all.

    A host that comes after the newest day is not due yet.
    """
    days = 0
    for table in tables:
        days |= table.days
    return (1 << days.bit_length()) - 1 if days else -1


def sum_up(connection: duckdb.DuckDBPyConnection, months: Iterable[Month]) -> None:
    """Have the table's rows of `months` in `_refinery_series`; needs `_refinery_hosts_due`.

    `_refinery_series` is a temporary table, one row per month, resource and host of the table: `is_known` (the host
    stands in the inventory), `number` (of its behavior, as in `_refinery_fleet`), `points`, `imputed`, `total` (sum of
    `y`), `measured` (sum of `y` without the imputed rows), `days` (bit n: a row of day n), `imputed_days` (those of
    them with an imputed row), `due` (those of all on which the host counts), `outside` (the others, where not imputed:
    between two periods of a host, a gap is filled as any other), `off_midnight`, `out_of_range`.
    """
    connection.execute(
        """
        CREATE OR REPLACE TEMP TABLE _refinery_series (
            month VARCHAR, resource VARCHAR, host_id VARCHAR, is_known BOOLEAN, number BIGINT, points BIGINT,
            imputed BIGINT, total DOUBLE, measured DOUBLE, days BIGINT, imputed_days BIGINT, due BIGINT, outside BIGINT,
            off_midnight BIGINT, out_of_range BIGINT
        )
        """
    )
    # Month by month: no more series are in memory at once than a month has.
    for month in months:
        connection.execute(
            """
            INSERT INTO _refinery_series (month, resource, host_id, is_known, number, points, imputed, total,
                measured, days, imputed_days, due, outside, off_midnight, out_of_range)
            SELECT $month, resource, host_id, node_name IS NOT NULL, number, points, imputed, total, measured,
                days, imputed_days, days & coalesce(due, 0), days & ~coalesce(due, days) & ~imputed_days, off_midnight,
                out_of_range
            FROM (
                SELECT
                    resource,
                    host_id,
                    count(*) AS points,
                    count(*) FILTER (is_imputed) AS imputed,
                    sum(y) AS total,
                    sum(y) FILTER (NOT is_imputed) AS measured,
                    bit_or(1::BIGINT << dayofmonth(ds)) AS days,
                    coalesce(bit_or(1::BIGINT << dayofmonth(ds)) FILTER (is_imputed), 0) AS imputed_days,
                    count(*) FILTER (ds <> date_trunc('day', ds)) AS off_midnight,
                    count(*) FILTER (y IS NULL OR NOT isfinite(y) OR y < 0 OR y > cap) AS out_of_range
                FROM processed_data
                WHERE ds >= $first AND ds < $end
                GROUP BY ALL
            ) LEFT JOIN (SELECT node_name, due, number FROM _refinery_hosts_due WHERE month = $month)
                ON node_name = host_id
            """,
            {"month": str(month), "first": month.first_day, "end": month.next.first_day},
        )


def table_facts(connection: duckdb.DuckDBPyConnection, months: Sequence[Month]) -> dict[Month, dict[str, TableFacts]]:
    """The facts of `months`, by resource; needs `sum_up` before."""
    names = behavior_names(connection)
    behaviors: dict[tuple[str, str], dict[str, tuple[int, int]]] = defaultdict(dict)
    for month, resource, number, hosts, rows in connection.execute(
        "SELECT month, resource, number, count(*), sum(points)::BIGINT FROM _refinery_series "
        "WHERE number IS NOT NULL AND due <> 0 GROUP BY month, resource, number"
    ).fetchall():
        behaviors[month, resource][names[number]] = hosts, rows
    quarantined = {
        (month, resource): count
        for month, resource, count in connection.execute(
            "SELECT month, resource, count(*) FROM quarantined_rows "
            "WHERE month IN (SELECT unnest($months::VARCHAR[])) GROUP BY month, resource",
            {"months": [str(month) for month in months]},
        ).fetchall()
    }
    # Sums of the same numbers in another order differ in their last digits.
    found = connection.execute(
        """
        SELECT a.month, a.resource, sum(a.points)::BIGINT, sum(a.imputed)::BIGINT, sum(a.total),
            count(*) FILTER (a.due <> 0), coalesce(bit_or(a.due), 0), coalesce(bit_or(a.due & ~a.imputed_days), 0),
            count(*) FILTER (NOT a.is_known),
            count(*) FILTER (a.outside <> 0), count(*) FILTER (a.points <> bit_count(a.days)),
            sum(a.off_midnight)::BIGINT, sum(a.out_of_range)::BIGINT,
            count(*) FILTER (s.host_id IS NULL OR s.readings + s.imputed <> a.points OR s.imputed <> a.imputed
                OR NOT abs(s.mean_y * s.readings - a.measured) <= 1e-6 * (1 + abs(a.measured)))
        FROM _refinery_series a LEFT JOIN series_months s USING (month, resource, host_id)
        GROUP BY a.month, a.resource
        """
    ).fetchall()
    facts: dict[Month, dict[str, TableFacts]] = {month: {} for month in months}
    for month, resource, *numbers, unlike in found:
        there = quarantined.pop((month, resource), 0)
        of_table: tuple[Any, ...] = (*numbers, there, unlike, behaviors[month, resource])
        facts[Month.parse(month)][resource] = TableFacts(*of_table)
    for (month, resource), count in quarantined.items():
        facts[Month.parse(month)][resource] = TableFacts(quarantined=count)
    _name_filled_days(connection, facts)
    return facts


def _name_filled_days(connection: duckdb.DuckDBPyConnection, facts: dict[Month, dict[str, TableFacts]]) -> None:
    """Add how many series have a row on days of which no reading exists; seldom is there such a day."""
    unread = {
        (str(month), resource): days
        for month, tables in facts.items()
        for resource, table in tables.items()
        if (days := table.days & ~table.read_days)
    }
    if not unread:
        return
    found: dict[tuple[str, str], dict[int, int]] = defaultdict(dict)
    for month, resource, day, series in connection.execute(
        """
        SELECT month, resource, day, count(*) FROM (
            SELECT month, resource, due & imputed_days & unread AS filled FROM _refinery_series JOIN (
                SELECT unnest($months::VARCHAR[]) AS month, unnest($resources::VARCHAR[]) AS resource,
                    unnest($unread::BIGINT[]) AS unread
            ) USING (month, resource)
        ), (SELECT unnest(range(1, 32)) AS day)
        WHERE filled <> 0 AND filled >> day & 1 = 1 GROUP BY month, resource, day ORDER BY day
        """,
        {
            "months": [month for month, _ in unread],
            "resources": [resource for _, resource in unread],
            "unread": list(unread.values()),
        },
    ).fetchall():
        found[month, resource][day] = series
    for (month, resource), filled in found.items():
        tables = facts[Month.parse(month)]
        tables[resource] = replace(tables[resource], filled=filled)


def sample_repeated_points(connection: duckdb.DuckDBPyConnection, month: Month) -> list[Row]:
    """Points of the month that stand more than once; needs `sum_up` before."""
    cursor = connection.execute(
        """
        SELECT p.resource, p.host_id, p.ds::VARCHAR AS ds, count(*) AS times
        FROM processed_data p SEMI JOIN (
            SELECT resource, host_id FROM _refinery_series WHERE month = $month AND points <> bit_count(days)
        ) s USING (resource, host_id)
        WHERE p.ds >= $first AND p.ds < $end
        GROUP BY ALL HAVING count(*) > 1 ORDER BY ALL LIMIT $most
        """,
        {
            "month": str(month),
            "first": month.first_day,
            "end": month.next.first_day,
            "most": SAMPLE_SIZE,
        },
    )
    return list(rows_of(cursor))


def with_samples(
    connection: duckdb.DuckDBPyConnection, evidence: MonthOfTable, paths: Sequence[str] = ()
) -> MonthOfTable:
    """Add samples of what is wrong, where anything is."""
    month = evidence.month
    unknown = UnknownHosts()
    absent = AbsentHosts()
    repeated: Sequence[Row] = ()
    if any(evidence.of(resource).hosts < evidence.inventory.hosts for resource in evidence.resources):
        absent = find_absent_hosts(connection, month, evidence.resources, _reached(evidence.tables.values()))
    if any(table.unknown or table.outside for table in evidence.tables.values()):
        unknown = find_unknown_hosts(connection, month, paths)
    if any(table.repeating for table in evidence.tables.values()):
        repeated = sample_repeated_points(connection, month)
    return replace(evidence, unknown_hosts=unknown, absent_hosts=absent, repeated=repeated)
