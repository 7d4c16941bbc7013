"""What the exit rules look at: the table summed up by series, and the partitions it was made from.

Here: the facts and how they are gathered, each source read once for all rules. Not here: the rules
(`audit.py`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date

import duckdb

from refinery_assets.checks.rules import Row
from refinery_assets.contract.families import RESOURCES
from refinery_assets.contract.months import Month
from refinery_assets.warehouse.fleet import name_fleet


@dataclass(frozen=True)
class SourceFacts:
    """What the partition of one family and month holds, and how much of it can stand in the table.

    Attributes:
        file_rows: Rows that came from the file.
        clean: Rows from the file without a fault.
        imputed: Rows that filled gaps.
        quarantined: Rows with a fault.
        newest_day: The newest day of the month that a row from the file is dated.
        bad_ds: Publishable rows whose `ds` is null or outside the month.
        bad_host: Publishable rows without a host.
        bad_y: Publishable rows without a `y`.
    """

    file_rows: int = 0
    clean: int = 0
    imputed: int = 0
    quarantined: int = 0
    newest_day: date | None = None
    bad_ds: int = 0
    bad_host: int = 0
    bad_y: int = 0


@dataclass(frozen=True)
class AuditEvidence:
    """What the exit rules look at.

    The connection holds the temporary tables `audit_months` (`month`, `month_start`), `fleet` (see
    `fleet.py`), and `audit_series`, one row per month, resource and host of the table: `is_known` (the host
    stands in the inventory), `number` (of its behaviour, as in `fleet`), `points`, `imputed`, `total` (sum of
    `y`), `days` (bit n: a row of day n), `off_midnight`, `out_of_range`.

    Attributes:
        connection: The warehouse, inside the publishing transaction or on the published table.
        months: The months under audit.
        sources: What the partitions hold, per month and resource.
        quarantined: Rows of `quarantined_rows` per month and resource.
        min_coverage: The setting.
    """

    connection: duckdb.DuckDBPyConnection
    months: Sequence[Month]
    sources: dict[tuple[str, str], SourceFacts]
    quarantined: dict[tuple[str, str], int]
    min_coverage: float

    def rows(self, query: str) -> list[Row]:
        """Run a query and give its rows by column name."""
        cursor = self.connection.execute(query)
        names = [column[0] for column in cursor.description or ()]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]

    def per_resource(self, query: str) -> dict[tuple[str, str], tuple[int, ...]]:
        """Run a query for `month`, `resource` and numbers; give the numbers by the pair."""
        return {
            (month, resource): tuple(numbers)
            for month, resource, *numbers in self.connection.execute(query).fetchall()
        }

    def pairs(self) -> Iterator[tuple[str, str]]:
        """Every month and resource that must be there."""
        return ((str(month), resource) for month in self.months for resource in RESOURCES)

    def source(self, pair: tuple[str, str]) -> SourceFacts:
        """The partition's facts; all zero when there is no partition."""
        return self.sources.get(pair, SourceFacts())


def gather_evidence(
    connection: duckdb.DuckDBPyConnection,
    months: Sequence[Month],
    sources: dict[tuple[str, str], SourceFacts],
    min_coverage: float,
) -> AuditEvidence:
    """Sum up the table's months into `audit_series`, reading the table once."""
    name_months(connection, months)
    name_fleet(connection)
    connection.execute("DROP TABLE IF EXISTS temp.audit_series")
    sum_up(connection, months)
    quarantined = connection.execute(
        "SELECT month, resource, count(*) FROM quarantined_rows "
        "WHERE month IN (SELECT month FROM audit_months) GROUP BY ALL"
    ).fetchall()
    return AuditEvidence(
        connection,
        months,
        sources,
        {(month, resource): count for month, resource, count in quarantined},
        min_coverage,
    )


def sum_up(connection: duckdb.DuckDBPyConnection, months: Iterable[Month]) -> list[Month]:
    """Have the table's rows of `months` in `audit_series`; needs `name_fleet` before.

    Returns:
        The months that were read; those that stood there already are not read again.
    """
    connection.execute(
        """
        CREATE TEMP TABLE IF NOT EXISTS audit_series (
            month VARCHAR, resource VARCHAR, host_id VARCHAR, is_known BOOLEAN, number BIGINT, points BIGINT,
            imputed BIGINT, total DOUBLE, days BIGINT, off_midnight BIGINT, out_of_range BIGINT
        )
        """
    )
    there = {month for (month,) in connection.execute("SELECT DISTINCT month FROM audit_series").fetchall()}
    lacking = [month for month in months if str(month) not in there]
    # Month by month: no more series are in memory at once than a month has.
    for month in lacking:
        _sum_up_month(connection, month)
    return lacking


def _sum_up_month(connection: duckdb.DuckDBPyConnection, month: Month) -> None:
    connection.execute(
        """
        INSERT INTO audit_series
        SELECT $month, resource, host_id, node_name IS NOT NULL, number, points, imputed, total, days,
            off_midnight, out_of_range
        FROM (
            SELECT
                resource,
                host_id,
                count(*) AS points,
                count(*) FILTER (is_imputed) AS imputed,
                sum(y) AS total,
                bit_or(1::BIGINT << dayofmonth(ds)) AS days,
                count(*) FILTER (ds <> date_trunc('day', ds)) AS off_midnight,
                count(*) FILTER (y IS NULL OR NOT isfinite(y) OR y < 0 OR y > cap) AS out_of_range
            FROM processed_data
            WHERE ds >= $first AND ds < $end
            GROUP BY ALL
        ) LEFT JOIN fleet ON node_name = host_id
        """,
        {"month": str(month), "first": month.first_day, "end": month.next.first_day},
    )


def name_months(connection: duckdb.DuckDBPyConnection, months: Sequence[Month]) -> None:
    """Write the months at hand to the temporary table `audit_months`."""
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE audit_months AS "
        "SELECT unnest($months::VARCHAR[]) AS month, unnest($starts::TIMESTAMP[]) AS month_start",
        {"months": [str(month) for month in months], "starts": [month.first_day for month in months]},
    )
