"""Which months are to be written: those that nothing speaks against before the table is touched.

Here: the inventory's verdicts, the partitions', and which months are unchanged. Not here: writing them, and what is
found then (`publish.py`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

import duckdb

from refinery_assets.checks.rules import Verdict, judge
from refinery_assets.contract.columns import PROCESSED_DATA, PUBLICATIONS, QUARANTINED_ROWS, SERIES_MONTHS, WAIVERS
from refinery_assets.contract.families import HOST_INVENTORY, LEGACY_FEED
from refinery_assets.contract.months import Month
from refinery_assets.contract.settings import Settings
from refinery_assets.rows.family_checks import FAMILY_RULES, FamilyMonth
from refinery_assets.rows.stats import Stats
from refinery_assets.warehouse.audits import verdicts_of_publication
from refinery_assets.warehouse.family_partitions import SourceFacts, damaged_partitions, partitions
from refinery_assets.warehouse.fleet import name_hosts_due
from refinery_assets.warehouse.gate import RunSoFar, judge_partitions, merge, read_stats, scan_partitions
from refinery_assets.warehouse.inventory import inspect_inventory
from refinery_assets.warehouse.inventory_checks import INVENTORY_RULES
from refinery_assets.warehouse.month_state import MonthResult, State, every_check, refused_result
from refinery_assets.warehouse.receipts import input_digest, inventory_digests, latest_receipts, table_digests
from refinery_assets.warehouse.tables import ensure_table, transaction
from refinery_assets.warehouse.views import ensure_views_free
from refinery_assets.warehouse.waivers import leans_on_withdrawn, waivers_in_force


@dataclass(frozen=True)
class Candidate:
    """A month that nothing speaks against so far."""

    month: Month
    stats: Sequence[Stats]
    sources: Mapping[str, SourceFacts]
    verdicts: Sequence[Verdict]
    input_digest: str
    tampered: bool
    healed: bool


def judge_inventory(
    connection: duckdb.DuckDBPyConnection,
    months: Sequence[Month],
    settings: Settings,
    run: RunSoFar,
    results: dict[Month, MonthResult],
) -> dict[Month, list[Verdict]]:
    """The verdicts so far of months that nothing has refused yet; the others are put into `results`.

    From here on, the inventory is what the temporary table `_refinery_fleet` holds.
    """
    inventory = inspect_inventory(connection, settings)
    open_months = {}
    for month in months:
        verdicts = merge(run.verdicts(month), judge(INVENTORY_RULES, HOST_INVENTORY, month, inventory))
        if any(verdict.failed for verdict in verdicts):
            results[month] = refused_result(month, verdicts, settings.contract)
        else:
            open_months[month] = verdicts
    return open_months


def find_candidates(
    connection: duckdb.DuckDBPyConnection,
    open_months: Mapping[Month, list[Verdict]],
    settings: Settings,
    run: RunSoFar,
    results: dict[Month, MonthResult],
) -> list[Candidate]:
    """Judge the partitions; months that fail, or that are unchanged, are put into `results`."""
    with transaction(connection):
        for table in (PROCESSED_DATA, QUARANTINED_ROWS, PUBLICATIONS, SERIES_MONTHS, WAIVERS):
            ensure_table(connection, table)
        ensure_views_free(connection, settings.contract)
    name_hosts_due(connection, open_months)
    hosts = inventory_digests(connection)
    stats = read_stats(run, list(open_months), settings)
    inputs = {month: input_digest(stats[month], hosts[month], settings) for month in open_months}
    receipts = latest_receipts(connection, list(open_months))
    standing = table_digests(connection, receipts)
    intact = {month for month, receipt in receipts.items() if receipt.holds(standing[month])}
    same = {month for month, receipt in receipts.items() if inputs[month] == receipt.input_digest}
    # Without an entrance audit nothing says that the feed is still what it was.
    may_stay = set() if run.force or LEGACY_FEED not in run.records else intact & same
    waivers = waivers_in_force(connection, list(open_months))
    for month in open_months:
        if month in may_stay and not any(each.problem for each in stats[month]):
            verdicts = merge(
                [*open_months[month], *judge_partitions(month, stats[month], None, run, settings)],
                verdicts_of_publication(connection, receipts[month].run_id, month),
            )
            said = {(verdict.asset, verdict.check) for verdict in verdicts}
            # What it was published with does not quote an acceptance that is later.
            stands = not leans_on_withdrawn(verdicts, waivers, inputs[month]) and not any(
                (waiver.month, waiver.input_digest) == (month, inputs[month])
                and waiver.accepted_at > receipts[month].published_at
                for waiver in waivers
            )
            complete = said >= every_check(settings.contract)
            if stands and complete and not any(verdict.failed for verdict in verdicts):
                receipt = receipts[month]
                results[month] = MonthResult(
                    month, State.UNCHANGED, verdicts, receipt, input_digest=receipt.input_digest
                )
    changed = {month: stats[month] for month in open_months if month not in results}
    checked, facts = scan_partitions(connection, changed, settings)
    candidates = []
    for month in changed:
        judged = judge_partitions(month, checked[month], facts[month], run, settings)
        verdicts = merge(open_months[month], judged)
        if any(verdict.failed for verdict in verdicts):
            results[month] = refused_result(month, verdicts, settings.contract, inputs[month])
        else:
            # If the receipt is of other inputs, a changed table cannot be distinguished from a changed digest.
            healed = month in same - intact and receipts[month].is_comparable
            candidates.append(
                Candidate(month, checked[month], facts[month], verdicts, inputs[month], month not in intact, healed)
            )
    return candidates


def find_damaged(candidates: Sequence[Candidate], settings: Settings) -> dict[Month, MonthResult]:
    """The results of those months of which a partition cannot be read after all."""
    months = {candidate.month: candidate for candidate in candidates}
    results = {}
    for file, sentence in damaged_partitions(partitions(settings, months)).items():
        of_month = months[file.month]
        with suppress(OSError):
            # So that the family's step makes it anew although the file has not changed.
            file.mark_unusable(f"{sentence}.")
        problem = replace(of_month.stats[settings.contract.families.index(file.family)], problem=f"{sentence}.")
        evidence = FamilyMonth(problem, settings.limit("quarantine_tolerance", file.family))
        again = judge(FAMILY_RULES, file.family.name, file.month, evidence)
        results[file.month] = refused_result(file.month, merge(of_month.verdicts, again), settings.contract)
    return results
