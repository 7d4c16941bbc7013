"""A warehouse as publishing leaves it, without its daily rows: inventory, summaries, receipts and audits.

Here: writing the rows that a test asks for. Not here: anything that asserts.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import date
from pathlib import Path

import duckdb

from refinery_assets.contract.columns import AUDITS, PUBLICATIONS, SERIES_MONTHS
from refinery_assets.contract.months import Month
from refinery_assets.contract.packaged import BEHAVIORS, RESOURCES
from refinery_assets.warehouse.tables import ensure_table


def inventory(path: Path, hosts: int = 20) -> None:
    """The table `hosts`, the behaviours in turn."""
    with duckdb.connect(path) as connection:
        connection.execute("CREATE TABLE hosts (node_name VARCHAR PRIMARY KEY, scenario VARCHAR, variant VARCHAR)")
        connection.executemany(
            "INSERT INTO hosts VALUES (?, ?, ?)",
            [
                (host_name(number), behavior.scenario.lower(), f" {behavior.variant} ")
                for number in range(hosts)
                for behavior in [BEHAVIORS[number % len(BEHAVIORS)]]
            ],
        )


def host_name(number: int) -> str:
    return f"host-{number:03d}"


def published(
    path: Path,
    month: Month,
    hosts: Sequence[str] = tuple(map(host_name, range(20))),
    *,
    at: str = "",
    difference: tuple[int, int, int] = (0, 0, 0),
) -> None:
    """The month's series and receipt; published again, the series are replaced and the receipt is added.

    By default on the first of the next month. `difference` is the rows added, removed and changed.
    """
    days = month.last_day.day
    with duckdb.connect(path) as connection:
        for table in (SERIES_MONTHS, PUBLICATIONS, AUDITS):
            ensure_table(connection, table)
        connection.execute("DELETE FROM series_months WHERE month = ?", [str(month)])
        connection.executemany(
            """
            INSERT INTO series_months (month, resource, host_id, readings, imputed, mean_y, min_y, max_y,
                distinct_values, longest_run, first_day, last_day, capacity, values_digest, rows_digest)
            VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, NULL, ?, ?)
            """,
            [
                (
                    str(month),
                    resource,
                    host,
                    days - 1,
                    1,
                    level(month, resource, number),
                    level(month, resource, number) - 5,
                    level(month, resource, number) + 5,
                    20,
                    2,
                    month.first_day,
                    month.last_day,
                    number,
                    number,
                )
                for resource in RESOURCES
                for number, host in enumerate(hosts)
            ],
        )
        rows = len(RESOURCES) * len(hosts) * days
        connection.execute(
            """
            INSERT INTO publications (month, run_id, published_at, contract_digest, input_digest, rows,
                imputed, quarantined, rows_added, rows_removed, rows_changed, table_digest, version)
            VALUES (?, 'run-1', ?, 'c', 'i', ?, ?, 2, ?, ?, ?, 1, '0.1.0')
            """,
            [
                str(month),
                at or f"{month.next.first_day} 06:00",
                rows,
                len(RESOURCES) * len(hosts),
                *difference,
            ],
        )


def audited(
    path: Path,
    month: Month,
    *verdicts: tuple[str, str, str, str],
    at: str = "2024-06-01 06:00",
    is_published: bool = False,
    run_id: str = "run-2",
) -> None:
    """Rows of `audits`; each verdict is check, verdict, summary, recovery."""
    with duckdb.connect(path) as connection:
        ensure_table(connection, AUDITS)
        connection.executemany(
            """
            INSERT INTO audits (run_id, month, asset, check_name, verdict, severity, counts, audited_at,
                published_at, version, summary, recovery)
            VALUES (?, ?, 'legacy_feed', ?, ?, 'ERROR', '{}', ?, ?, '0.1.0', ?, ?)
            """,
            [
                (run_id, str(month), check, verdict, at, at if is_published else None, summary, recovery)
                for check, verdict, summary, recovery in verdicts
            ],
        )


def level(month: Month, resource: str, number: int) -> float:
    """The mean of a series in a month."""
    since = (month.first_day - date(2024, 1, 1)).days / 30.0
    return 40 + 20 * math.sin(since + number) + RESOURCES.index(resource)
