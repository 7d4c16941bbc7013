"""What publishing a month changes: rows added, removed and changed against what stands in the table.

Only series whose digest differs are compared row by row, so that rebuilding a month that says the same costs
nothing. Here: the comparison. Not here: what is made of it (`publish_checks.py`, `receipts.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import duckdb

from refinery_assets.checks.rules import SAMPLE_SIZE, Row
from refinery_assets.contract.months import Month
from refinery_assets.warehouse.receipts import rows_of_months
from refinery_assets.warehouse.tables import rows_of


@dataclass(frozen=True)
class Difference:
    """What publishing a month changes in `processed_data`.

    Attributes:
        before: Rows that are published now.
        added: Rows for a day and series that are not there now.
        removed: Rows that are there now and would be no more, or readings that would be imputed.
        changed: Rows that would have another `y`, `capacity` or `is_imputed`.
        series_added: Series (host and resource) that are not there now.
        series_removed: Series that would be no more.
        series_changed: Series of which any row is added, removed or changed.
        new_hosts: How many hosts are not there now; of a month that is published first, all.
        gone_hosts: How many hosts would be no more.
        hosts_new: A sample of the new hosts; none of a month that is published first.
        hosts_gone: A sample of the hosts that would be no more.
        sample: Rows removed or changed: `resource`, `host_id`, `ds`, `y_before`, `y_after`.
    """

    before: int = 0
    added: int = 0
    removed: int = 0
    changed: int = 0
    series_added: int = 0
    series_removed: int = 0
    series_changed: int = 0
    new_hosts: int = 0
    gone_hosts: int = 0
    hosts_new: Sequence[str] = ()
    hosts_gone: Sequence[str] = ()
    sample: Sequence[Row] = ()


def find_changed_series(connection: duckdb.DuckDBPyConnection, tampered: Sequence[Month]) -> None:
    """Name the series to compare in the temporary table `_refinery_changed_series`.

    Needs `_refinery_new_series` (the months' rows of `series_months` to be) and `_refinery_months`. Of
    months in `tampered`, whose rows are not those that `series_months` sums up, every series is named. Hosts are
    compared without regard to case, as everywhere: a host that the inventory spells otherwise by now is the same.
    """
    connection.execute(
        """
        CREATE OR REPLACE TEMP TABLE _refinery_changed_series AS
        WITH tampered AS (SELECT unnest($tampered::VARCHAR[]) AS month),
        before AS (
            SELECT month, resource, lower(host_id) AS host, rows_digest FROM series_months
            WHERE month IN (SELECT month FROM _refinery_months) AND month NOT IN (SELECT month FROM tampered)
            UNION ALL
            SELECT DISTINCT m.month, p.resource, lower(p.host_id), NULL
            FROM processed_data p JOIN _refinery_months m ON p.ds >= m.month_start AND p.ds < m.month_end
            WHERE m.month IN (SELECT month FROM tampered)
        ), after AS (SELECT month, resource, lower(host_id) AS host, rows_digest FROM _refinery_new_series)
        SELECT month, resource, host, b.host IS NOT NULL AS was_there, a.host IS NOT NULL AS will_be
        FROM before b FULL JOIN after a USING (month, resource, host)
        WHERE b.host IS NULL OR a.host IS NULL OR b.rows_digest IS DISTINCT FROM a.rows_digest
        """,
        {"tampered": [str(month) for month in tampered]},
    )


def find_differences(
    connection: duckdb.DuckDBPyConnection, months: Sequence[Month], new_rows: str, paths: Sequence[str]
) -> dict[Month, Difference]:
    """Compare the table as it is with the rows to be published; needs `find_changed_series` before.

    Args:
        connection: The warehouse.
        months: The months to be published.
        new_rows: A SELECT of `month` and the columns of `processed_data`; takes the parameter `paths`.
        paths: The partitions that it reads.
    """
    before = dict.fromkeys(months, 0) | rows_of_months(connection, months)
    added = dict(
        connection.execute("SELECT month, sum(readings + imputed) FROM _refinery_new_series GROUP BY month").fetchall()
    )
    series = {
        month: counts
        for month, *counts in connection.execute(
            "SELECT month, count(*) FILTER (NOT was_there), count(*) FILTER (NOT will_be), count(*) "
            "FROM _refinery_changed_series GROUP BY month"
        ).fetchall()
    }
    differences = {}
    for month in months:
        there, _, touched = series.get(str(month), (0, 0, 0))
        if not before[month]:
            differences[month] = Difference(
                added=int(added.get(str(month), 0)),
                series_added=there,
                series_changed=touched,
                new_hosts=_hosts_to_be(connection, month),
            )
        elif not touched:
            differences[month] = Difference(before[month])
        else:
            differences[month] = _compare(connection, month, before[month], new_rows, paths)
    return differences


def _compare(
    connection: duckdb.DuckDBPyConnection, month: Month, before: int, new_rows: str, paths: Sequence[str]
) -> Difference:
    connection.execute(
        f"""
        CREATE OR REPLACE TEMP TABLE _refinery_differing_rows AS
        WITH old AS (
            SELECT p.resource, lower(p.host_id) AS host, p.ds, p.y, p.capacity, p.is_imputed FROM processed_data p
                SEMI JOIN (FROM _refinery_changed_series WHERE month = $month) c
                    ON c.resource = p.resource AND c.host = lower(p.host_id)
            WHERE p.ds >= $first AND p.ds < $end
        ), new AS (
            SELECT n.resource, lower(n.host_id) AS host, n.ds, n.y, n.capacity, n.is_imputed FROM ({new_rows}) n
                SEMI JOIN (FROM _refinery_changed_series WHERE month = $month) c
                    ON c.resource = n.resource AND c.host = lower(n.host_id)
            WHERE ds >= $first AND ds < $end
        )
        SELECT resource, host, ds, old.y AS y_before, new.y AS y_after,
            old.ds IS NOT NULL AS was_there, new.ds IS NOT NULL AS will_be,
            -- A reading that is filled in from now on is lost as well.
            old.ds IS NOT NULL AND (new.ds IS NULL OR (new.is_imputed AND NOT old.is_imputed)) AS is_lost
        FROM old FULL JOIN new USING (resource, host, ds)
        WHERE old.ds IS NULL OR new.ds IS NULL OR old.y IS DISTINCT FROM new.y
            OR old.capacity IS DISTINCT FROM new.capacity OR old.is_imputed IS DISTINCT FROM new.is_imputed
        """,  # noqa: S608 - a query of the package
        {"month": str(month), "first": month.first_day, "end": month.next.first_day, "paths": paths},
    )
    ((added, removed, changed, touched),) = connection.execute(
        """
        SELECT count(*) FILTER (NOT was_there), count(*) FILTER (is_lost),
            count(*) FILTER (was_there AND NOT is_lost), count(DISTINCT (resource, host))
        FROM _refinery_differing_rows
        """
    ).fetchall()
    ((there, gone),) = connection.execute(
        "SELECT count(*) FILTER (NOT was_there), count(*) FILTER (NOT will_be) FROM _refinery_changed_series "
        "WHERE month = $month",
        {"month": str(month)},
    ).fetchall()
    hosts_new, hosts_gone = (
        connection.execute(
            f"""
            SELECT host, count(*) OVER () FROM _refinery_changed_series WHERE month = $month GROUP BY host
            HAVING NOT bool_or({side}) AND host NOT IN ({others}) ORDER BY host LIMIT $most
            """,  # noqa: S608 - constants of this function
            {"month": str(month), "most": SAMPLE_SIZE},
        ).fetchall()
        for side, others in (
            ("was_there", "SELECT lower(host_id) FROM series_months WHERE month = $month"),
            ("will_be", "SELECT lower(host_id) FROM _refinery_new_series WHERE month = $month"),
        )
    )
    cursor = connection.execute(
        """
        SELECT resource, host AS host_id, ds::DATE::VARCHAR AS ds, y_before, y_after FROM _refinery_differing_rows
        WHERE was_there ORDER BY NOT is_lost, resource, host, ds LIMIT $most
        """,
        {"most": SAMPLE_SIZE},
    )
    return Difference(
        before,
        added,
        removed,
        changed,
        there,
        gone,
        touched,
        hosts_new[0][1] if hosts_new else 0,
        hosts_gone[0][1] if hosts_gone else 0,
        [host for host, _ in hosts_new],
        [host for host, _ in hosts_gone],
        rows_of(cursor),
    )


def _hosts_to_be(connection: duckdb.DuckDBPyConnection, month: Month) -> int:
    ((hosts,),) = connection.execute(
        "SELECT count(DISTINCT host_id) FROM _refinery_new_series WHERE month = $month", {"month": str(month)}
    ).fetchall()
    return int(hosts)
