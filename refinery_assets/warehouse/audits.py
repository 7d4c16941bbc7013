"""The table `audits`: what each check said of each month, for consumers who know nothing of Dagster.

Here: writing verdicts to it, and reading those of a publication back. Not here: the rules, and when rows are
written (`publish.py`; `refinery_assets/assets/steps.py` for runs without `processed_data`).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import datetime
from importlib.metadata import version
from typing import Any

import duckdb

from refinery_assets.checks.rules import NOTHING_TO_DO, Finding, Outcome, Verdict
from refinery_assets.contract.columns import AUDITS
from refinery_assets.contract.families import HOST_INVENTORY, PROCESSED_DATA
from refinery_assets.contract.months import Month
from refinery_assets.warehouse.ledger import RunLedger
from refinery_assets.warehouse.tables import ensure_table, transaction, utc_now

TABLE_ONLY = f"bool_and(asset IN ('{PROCESSED_DATA}', '{HOST_INVENTORY}'))"
"""An aggregate over a run's rows of a month: whether the run judged what is published, without a look at the feed."""


def _last_runs(having: str) -> str:
    return f"""
    SELECT month, arg_max(run_id, (judged, place)) AS run_id
    FROM (
        SELECT month, run_id, max(audited_at) AS judged, max(rowid) AS place FROM audits GROUP BY month, run_id
        HAVING {having}
    ) GROUP BY month
    """  # noqa: S608 - constants of ours


_DECIDED = "bool_or(published_at IS NOT NULL OR verdict = 'failed')"

LAST_RUNS = _last_runs(_DECIDED)
"""A query: for each month the last run that published it, or by which a check of it failed.

Other runs have looked at a part of the month, or have found the published table in order; what was said before holds.
"""

LAST_ATTEMPTS = _last_runs(f"{_DECIDED} AND NOT {TABLE_ONLY}")
"""The same, without runs that judged only what is published."""

_SEVERITY = {Outcome.WARNING: "WARN", Outcome.NOT_JUDGED: "WARN"}


_SAID = {
    **dict.fromkeys(("month", "asset", "check_name", "verdict", "severity"), "VARCHAR"),
    "counts": "JSON",
    "published_at": "TIMESTAMP",
    **dict.fromkeys(("summary", "recovery", "input_digest"), "VARCHAR"),
}
"""What is said of a verdict, with its type; the rest of a row is the same for all verdicts of a run."""


def record_audits(  # noqa: PLR0913 - what a row says
    connection: duckdb.DuckDBPyConnection,
    run_id: str,
    verdicts: Iterable[Verdict],
    published: Mapping[Month, datetime] | None = None,
    moment: datetime | None = None,
    *,
    inputs: Mapping[Month, str] | None = None,
) -> None:
    """Add rows to `audits`, in the transaction at hand; the table is made when it is not there.

    A verdict that stands there already, of the same run, asset, check and month, is not added again.

    Args:
        connection: The warehouse.
        run_id: The run that the verdicts are of.
        verdicts: The verdicts.
        published: When the months were published; a month that is missing was refused.
        moment: When they were judged, in UTC; None: now.
        inputs: The input digests that months were judged by, where that is known.

    Raises:
        ForeignTableError: A table `audits` with other columns exists.
    """
    ensure_table(connection, AUDITS)
    said = [
        {
            "month": str(row.month),
            "asset": row.asset,
            "check_name": row.check,
            "verdict": str(row.outcome),
            "severity": _SEVERITY.get(row.outcome, "ERROR"),
            "counts": _counts(row.finding),
            "published_at": (published or {}).get(row.month),
            "summary": row.finding.message,
            "recovery": None if row.recovery == NOTHING_TO_DO else row.recovery,
            "input_digest": (inputs or {}).get(row.month),
        }
        for row in verdicts
    ]
    names = ", ".join(_SAID)
    # As one text: a list of a thousand values takes DuckDB 1.5 a fifth of a second to bind.
    connection.execute(
        f"""
        INSERT INTO audits (run_id, audited_at, version, {names})
        SELECT $run_id, $now, $version, {names}
        FROM (SELECT unnest(from_json($said::JSON, $types::JSON), recursive := true)) AS said
        ANTI JOIN (SELECT month, asset, check_name FROM audits WHERE run_id = $run_id) AS there
            USING (month, asset, check_name)
        """,  # noqa: S608 - names of this module
        {
            "run_id": run_id,
            "now": moment or utc_now(),
            "version": version("refinery-assets"),
            "said": json.dumps(said, default=str),
            "types": json.dumps([_SAID]),
        },
    )


def _counts(finding: Finding) -> Mapping[str, object]:
    """The figures of a finding, by resource where it has them so."""
    by_resource = finding.tables.get("by_resource")
    if not by_resource:
        return finding.counts
    return {
        str(row["resource"]): {name: value for name, value in row.items() if name != "resource"} for row in by_resource
    }


def verdicts_of_publication(connection: duckdb.DuckDBPyConnection, run_id: str, month: Month) -> list[Verdict]:
    """What the checks said of a month when a run published it."""
    return verdicts_of_run(connection, run_id, month, published_only=True)


def verdicts_of_run(
    connection: duckdb.DuckDBPyConnection, run_id: str, month: Month, *, published_only: bool = False
) -> list[Verdict]:
    """What a run's checks said of a month, without their samples."""
    rows = connection.execute(
        "SELECT asset, check_name, verdict, summary, counts, recovery FROM audits "
        "WHERE run_id = $run_id AND month = $month AND (published_at IS NOT NULL OR NOT $published_only)",
        {"run_id": run_id, "month": str(month), "published_only": published_only},
    ).fetchall()
    return [
        Verdict(
            asset,
            check,
            month,
            _finding(Outcome(verdict), summary or "", json.loads(counts)),
            recovery or NOTHING_TO_DO,
        )
        for asset, check, verdict, summary, counts, recovery in rows
    ]


def _finding(outcome: Outcome, summary: str, counts: Mapping[str, Any]) -> Finding:
    """The finding that a row of `audits` was written from, without its samples."""
    if counts and all(isinstance(value, dict) for value in counts.values()):
        rows = [{"resource": resource, **figures} for resource, figures in counts.items()]
        return Finding(outcome, summary, {}, tables={"by_resource": rows})
    return Finding(outcome, summary, counts)


def record_abandoned(connection: duckdb.DuckDBPyConnection, ledger: RunLedger) -> None:
    """Add what other runs found that were killed, or could not open the warehouse, and forget their ledgers."""
    for abandoned in ledger.abandoned():
        with transaction(connection):
            for record in abandoned.records():
                record_audits(connection, abandoned.run_id, record.verdicts, moment=record.moment)
        abandoned.remove()
