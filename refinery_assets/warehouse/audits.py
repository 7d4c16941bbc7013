"""The table `audits`: what each check said of each month, for consumers who know nothing of Dagster.

Here: turning verdicts into rows, and writing them. Not here: the rules, and when rows are written
(`publish.py` in the transaction that publishes; `refinery_assets/assets/trace.py` for months refused before).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version

import duckdb

from refinery_assets.checks.rules import Outcome, Verdict
from refinery_assets.contract.columns import AUDITS
from refinery_assets.contract.months import Month
from refinery_assets.warehouse.tables import ensure_table


@dataclass(frozen=True)
class AuditRow:
    """What one check said of one month."""

    month: str
    asset: str
    check: str
    outcome: Outcome
    counts: str


def audit_rows(asset: str, verdicts: Iterable[Verdict], months: Iterable[Month]) -> list[AuditRow]:
    """A row for each verdict and month."""
    keys = [str(month) for month in months]
    return [
        AuditRow(
            month,
            asset,
            verdict.check,
            verdict.finding.outcome_in(month),
            json.dumps(verdict.finding.counts_in(month)),
        )
        for verdict in verdicts
        for month in keys
    ]


def record_audits(
    connection: duckdb.DuckDBPyConnection, run_id: str, rows: Sequence[AuditRow], *, published: bool
) -> None:
    """Add rows to `audits`, in the transaction at hand; the table is made when it is not there.

    Raises:
        ForeignTableError: A table `audits` with other columns exists.
    """
    ensure_table(connection, AUDITS)
    now = datetime.now(UTC).replace(tzinfo=None)
    connection.execute(
        """
        INSERT INTO audits
        SELECT $run_id, month, asset, check_name, verdict,
            CASE verdict WHEN 'warning' THEN 'WARN' ELSE 'ERROR' END, counts, $now, $published_at, $version
        FROM (SELECT unnest($months::VARCHAR[]) AS month, unnest($assets::VARCHAR[]) AS asset,
            unnest($checks::VARCHAR[]) AS check_name, unnest($verdicts::VARCHAR[]) AS verdict,
            unnest($counts::VARCHAR[])::JSON AS counts)
        """,
        {
            "run_id": run_id,
            "now": now,
            "published_at": now if published else None,
            "version": version("refinery-assets"),
            "months": [row.month for row in rows],
            "assets": [row.asset for row in rows],
            "checks": [row.check for row in rows],
            "verdicts": [str(row.outcome) for row in rows],
            "counts": [row.counts for row in rows],
        },
    )
