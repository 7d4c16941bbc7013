"""Waivers: months that a plausibility check refuses, and that somebody who knows better accepts.

A waiver is bound to month, check and input digest: as soon as a byte of the month's files, the contract, a setting or
the inventory is another, or a version of the refinery that makes other rows of them, it no longer holds. Here: reading
the table, and what a waiver makes of a verdict. Not here: accepting a month (`acceptance.py`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import duckdb

from refinery_assets.checks.rules import Outcome, Verdict
from refinery_assets.contract.columns import AUDITS, PUBLICATIONS, WAIVERS
from refinery_assets.contract.families import PROCESSED_DATA
from refinery_assets.contract.months import Month
from refinery_assets.warehouse.audits import verdicts_of_publication
from refinery_assets.warehouse.receipts import latest_receipts
from refinery_assets.warehouse.tables import table_names

WAIVED = "waived"
"""The count of a finding that a waiver has turned into a warning."""


@dataclass(frozen=True)
class Waiver:
    """One row of `waivers` that is in force; the columns are declared in `contract/columns.py`."""

    month: Month
    check_name: str
    reason: str
    who: str
    accepted_at: datetime
    input_digest: str

    @property
    def sentence(self) -> str:
        """What was accepted, by whom, when and why."""
        day = f"{self.accepted_at:%Y-%m-%d}"
        return f"{self.check_name} of {self.month} was accepted by {self.who} on {day}: {self.reason}"


def waivers_in_force(connection: duckdb.DuckDBPyConnection, months: Iterable[Month] | None = None) -> list[Waiver]:
    """The waivers that nobody has taken back, the oldest first; those of all months unless some are named."""
    if WAIVERS.name not in table_names(connection):
        return []
    rows = connection.execute(
        "SELECT month, check_name, reason, who, accepted_at, input_digest FROM waivers "
        "WHERE withdrawn_at IS NULL AND ($months IS NULL OR list_contains($months::VARCHAR[], month)) "
        "ORDER BY accepted_at, rowid",
        {"months": None if months is None else [str(month) for month in months]},
    ).fetchall()
    return [Waiver(Month.parse(month), *fields) for month, *fields in rows]


def ever_accepted(connection: duckdb.DuckDBPyConnection, check: str) -> list[str]:
    """The months of which somebody has accepted what a check says, for whatever inputs, and be it withdrawn since."""
    if WAIVERS.name not in table_names(connection):
        return []
    asked = "SELECT DISTINCT month FROM waivers WHERE check_name = $check ORDER BY month"
    return [month for (month,) in connection.execute(asked, {"check": check}).fetchall()]


def apply_waivers(verdicts: Iterable[Verdict], waivers: Iterable[Waiver], digest: str) -> list[Verdict]:
    """Turn failures that are accepted into warnings that say so; of others, say where an acceptance no longer holds.

    Args:
        verdicts: Of one month.
        waivers: In force.
        digest: The month's input digest.
    """
    accepted = {(waiver.month, waiver.check_name): waiver for waiver in waivers}
    return [_waived(verdict, accepted.get((verdict.month, verdict.check)), digest) for verdict in verdicts]


def _waived(verdict: Verdict, waiver: Waiver | None, digest: str) -> Verdict:
    if waiver is None or not verdict.failed or verdict.asset != PROCESSED_DATA:
        return verdict
    if waiver.input_digest != digest:
        lapsed = (
            f"It was accepted on {waiver.accepted_at:%Y-%m-%d}, but for other files, settings or inventory, or by "
            "another version of the refinery: look again, and accept it anew if it is right."
        )
        summary = f"{verdict.finding.summary} {lapsed}"
        return replace(verdict, finding=replace(verdict.finding, summary=summary))
    finding = replace(
        verdict.finding,
        outcome=Outcome.WARNING,
        summary=f"{verdict.finding.summary} Accepted on {waiver.accepted_at:%Y-%m-%d}.",
        counts={**verdict.finding.counts, WAIVED: True},
        # The reason is somebody's text, so it stands where nothing is read as Markdown.
        detail=f"{verdict.finding.detail} {waiver.who} says: {waiver.reason}".strip(),
    )
    recovery = f"Nothing, as long as this holds. To take it back: refinery accept {waiver.month} {waiver.check_name} "
    return replace(verdict, finding=finding, recovery=f"{recovery}--withdraw, and run the month again.")


def leans_on_withdrawn(verdicts: Iterable[Verdict], waivers: Sequence[Waiver], digest: str) -> bool:
    """Whether a month was published by a waiver that has been taken back since."""
    in_force = {(each.month, each.check_name) for each in waivers if each.input_digest == digest}
    return any(
        verdict.finding.counts.get(WAIVED) and (verdict.month, verdict.check) not in in_force for verdict in verdicts
    )


def withdrawn_checks(connection: duckdb.DuckDBPyConnection) -> dict[Month, list[str]]:
    """The months that stand published by an acceptance that has been taken back since, each with the checks accepted.

    Next to nothing where no acceptance was ever taken back.
    """
    if not {AUDITS.name, PUBLICATIONS.name, WAIVERS.name} <= table_names(connection):
        return {}
    ended = connection.execute(
        "SELECT DISTINCT month, input_digest FROM waivers WHERE withdrawn_at IS NOT NULL"
    ).fetchall()
    if not ended:
        return {}
    months = [Month.parse(month) for month in sorted({month for month, _ in ended})]
    waivers = waivers_in_force(connection, months)
    found = {}
    for month, receipt in latest_receipts(connection, months).items():
        # Of a month published since by other inputs, `audits` need not be asked, which takes milliseconds.
        if (str(month), receipt.input_digest) not in ended:
            continue
        verdicts = verdicts_of_publication(connection, receipt.run_id, month)
        checks = [each.check for each in verdicts if leans_on_withdrawn([each], waivers, receipt.input_digest)]
        if checks:
            found[month] = checks
    return found
