"""The re-audit: the published table judged again, against the receipts of its months.

Here: gathering the evidence without writing anything. Not here: the rules (`publish_checks.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import duckdb

from refinery_assets.checks.rules import Verdict, judge, not_judged
from refinery_assets.contract.columns import PROCESSED_DATA as PROCESSED_DATA_TABLE
from refinery_assets.contract.columns import PUBLICATIONS, QUARANTINED_ROWS, SERIES_MONTHS
from refinery_assets.contract.families import HOST_INVENTORY, PROCESSED_DATA
from refinery_assets.contract.months import Month
from refinery_assets.contract.settings import Settings
from refinery_assets.warehouse.facts import MonthOfTable, read_inventories, sum_up, table_facts, with_samples
from refinery_assets.warehouse.fleet import name_hosts_due
from refinery_assets.warehouse.inventory import inspect_inventory
from refinery_assets.warehouse.inventory_checks import INVENTORY_RULES
from refinery_assets.warehouse.own_rules import judge_published_by_own_rules, publish_rules
from refinery_assets.warehouse.plausibility import read_past
from refinery_assets.warehouse.receipts import latest_receipts, table_digests
from refinery_assets.warehouse.tables import table_names
from refinery_assets.warehouse.waivers import apply_waivers, waivers_in_force


@dataclass(frozen=True)
class Reaudit:
    """What auditing the published table again found.

    Attributes:
        verdicts: What the checks of inventory and table say of every published month.
        problem: Why there is nothing to audit, as a sentence; None when there is.
    """

    verdicts: Sequence[Verdict] = ()
    problem: str | None = None


NOTHING_PUBLISHED = "Nothing is published yet; refinery run all publishes the months of the feed."


def months_with_rows(connection: duckdb.DuckDBPyConnection) -> list[Month]:
    """The months that the published table has rows of, in order; none where there is no such table."""
    if not {PROCESSED_DATA_TABLE.name, QUARANTINED_ROWS.name} <= table_names(connection):
        return []
    starts = connection.execute("SELECT DISTINCT date_trunc('month', ds)::DATE FROM processed_data ORDER BY 1")
    return [Month.of(start) for (start,) in starts.fetchall()]


def reaudit(connection: duckdb.DuckDBPyConnection, settings: Settings) -> Reaudit:
    """Judge the published table by the publish checks, against the months' receipts.

    The connection may be read-only. Nothing is written but temporary tables.
    """
    months = months_with_rows(connection)
    if not months:
        return Reaudit(problem=NOTHING_PUBLISHED)
    tables = table_names(connection)
    rules = publish_rules(settings.contract)
    facts = inspect_inventory(connection, settings)
    judged = {month: judge(INVENTORY_RULES, HOST_INVENTORY, month, facts) for month in months}
    if any(verdict.failed for verdict in judged[months[0]]):
        missing = [verdict for month in months for verdict in not_judged(rules, PROCESSED_DATA, month, judged[month])]
        return Reaudit([*(verdict for found in judged.values() for verdict in found), *missing])
    has_receipts = {PUBLICATIONS.name, SERIES_MONTHS.name} <= tables
    if not has_receipts:
        # An empty stand-in, so that the queries have something to join.
        declared = ", ".join(f"{column.name} {column.type_name}" for column in SERIES_MONTHS.columns)
        connection.execute(f"CREATE OR REPLACE TEMP TABLE series_months ({declared})")
    receipts = latest_receipts(connection, months) if has_receipts else {}
    standing = table_digests(connection, receipts)
    name_hosts_due(connection, months)
    sum_up(connection, months)
    found = table_facts(connection, months)
    inventories = read_inventories(connection, found)
    own = judge_published_by_own_rules(connection, months, settings.contract)
    past = read_past(connection, months, settings, is_published=True)
    waivers = waivers_in_force(connection, months)
    for month in months:
        as_published = None
        if (receipt := receipts.get(month)) and receipt.is_comparable:
            as_published = receipt.holds(standing[month])
        evidence = MonthOfTable(
            month,
            found[month],
            None,
            inventories[month],
            settings,
            as_published=as_published,
            own=own[month],
            plausibility=past.evidence(month),
        )
        verdicts = judge(rules, PROCESSED_DATA, month, with_samples(connection, evidence))
        digest = receipt.input_digest if receipt else ""
        judged[month] += apply_waivers(verdicts, waivers, digest)
    return Reaudit([verdict for verdicts in judged.values() for verdict in verdicts])
