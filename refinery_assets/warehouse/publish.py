"""Write, audit, publish: replace months of the table in one transaction that only clean months pass.

Each month is judged by itself. Months that fail keep what was published of them; the others are published
together. Here: the order of the work. Not here: what must hold before anything is written (`gate.py`), the
publish checks (`publish_checks.py`), and how the warehouse is opened (`assets/resources.py`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

import duckdb

from refinery_assets.checks.rules import Outcome, Rule, Verdict, judge, not_judged
from refinery_assets.contract.columns import PROCESSED_DATA as PROCESSED_DATA_TABLE
from refinery_assets.contract.columns import PUBLICATIONS, QUARANTINED_ROWS, SERIES_MONTHS, WAIVERS
from refinery_assets.contract.contract_file import Contract
from refinery_assets.contract.families import HOST_INVENTORY, LEGACY_FEED, PROCESSED_DATA
from refinery_assets.contract.months import Month
from refinery_assets.contract.settings import Settings
from refinery_assets.rows.family import FAMILY_RULES, FamilyMonth
from refinery_assets.rows.source_checks import ENTRANCE_RULES
from refinery_assets.rows.stats import Stats
from refinery_assets.warehouse.audits import record_audits, verdicts_of_publication
from refinery_assets.warehouse.differences import Difference, find_changed_series, find_differences
from refinery_assets.warehouse.facts import (
    MonthOfTable,
    read_inventories,
    sum_up,
    table_facts,
    with_samples,
)
from refinery_assets.warehouse.family_partitions import SourceFacts, damaged_partitions, globs, partitions
from refinery_assets.warehouse.fleet import name_hosts_due
from refinery_assets.warehouse.gate import RunSoFar, judge_partitions, merge, read_stats, scan_partitions
from refinery_assets.warehouse.inventory import INVENTORY_RULES, InventoryFacts, inspect_inventory
from refinery_assets.warehouse.own_rules import (
    OwnRuleError,
    judge_by_own_rules,
    judge_unchanged_by_own_rules,
    publish_rules,
)
from refinery_assets.warehouse.plausibility import name_fresh_series, read_past
from refinery_assets.warehouse.receipts import (
    Receipt,
    input_digest,
    inventory_digests,
    latest_receipts,
    record_receipts,
    refinery_version,
    table_digests,
)
from refinery_assets.warehouse.tables import ensure_table, transaction
from refinery_assets.warehouse.views import ensure_views_free, renew_views
from refinery_assets.warehouse.waivers import apply_waivers, leans_on_withdrawn, waivers_in_force
from refinery_assets.warehouse.write import (
    name_months,
    name_new_series,
    name_respelled_hosts,
    publishable_rows,
    replace_rows,
)


def every_rule(contract: Contract) -> dict[str, Sequence[Rule[Any]]]:
    """All rules that a month has a verdict of, by asset."""
    return {
        LEGACY_FEED: ENTRANCE_RULES,
        HOST_INVENTORY: INVENTORY_RULES,
        **{family.name: FAMILY_RULES for family in contract.families},
        PROCESSED_DATA: publish_rules(contract),
    }


def every_check(contract: Contract) -> frozenset[tuple[str, str]]:
    """All checks that a month has a verdict of, by asset and name."""
    return frozenset((asset, rule.name) for asset, rules in every_rule(contract).items() for rule in rules)


class State(StrEnum):
    """The outcome of a month."""

    PUBLISHED = "published"
    UNCHANGED = "unchanged"
    REFUSED = "refused"


@dataclass(frozen=True)
class MonthResult:
    """The outcome of one month.

    Attributes:
        month: The month.
        state: Published, unchanged or refused.
        verdicts: What every check of every asset said of it.
        receipt: What stands in the table of it; None where nothing does.
        figures: See `facts.MonthOfTable.figures`; empty for a month that was refused or is unchanged.
        healed: Whether the table held something else than its receipt said, and was put right.
        difference: What publishing the month changed in the table; None where nothing was published.
        input_digest: Of the inputs that the month was judged by; None where it was refused before they were compared.
    """

    month: Month
    state: State
    verdicts: Sequence[Verdict]
    receipt: Receipt | None = None
    figures: Mapping[str, int | float] = field(default_factory=dict)
    healed: bool = False
    difference: Difference | None = None
    input_digest: str | None = None


@dataclass(frozen=True)
class _Candidate:
    """A month that nothing speaks against so far."""

    month: Month
    stats: Sequence[Stats]
    sources: Mapping[str, SourceFacts]
    verdicts: Sequence[Verdict]
    input_digest: str
    tampered: bool
    healed: bool


class _RefusedError(Exception):
    """Takes months that must not be published out of their transaction."""

    def __init__(self, refused: Mapping[Month, Sequence[Verdict]]) -> None:
        super().__init__()
        self.refused = refused


def publish(
    connection: duckdb.DuckDBPyConnection, months: Sequence[Month], settings: Settings, run: RunSoFar
) -> dict[Month, MonthResult]:
    """Replace `months` of `processed_data` and `quarantined_rows` by what the partitions hold.

    The months that pass every check are written in one transaction, with their rows of `audits`, `publications`
    and `series_months`. A month whose inputs are those of its last publication, and of which the tables hold what
    the receipt says, is left as it is.

    Raises:
        ForeignTableError: A table with one of the refinery's names has other columns.
    """
    results: dict[Month, MonthResult] = {}
    open_months = _judge_inventory(connection, months, settings, run, results)
    candidates = _candidates(connection, open_months, settings, run, results) if open_months else []
    broken: dict[str, str] = {}
    while True:
        try:
            with transaction(connection):
                written = _write(connection, candidates, settings, run, broken) if candidates else {}
                # After the others are written, which their own rules may look at as well.
                done = {**results, **_judge_unchanged(connection, results, settings, broken), **written}
                _record(connection, run, done.values())
                _sign(connection, run, written, settings)
                if open_months:
                    # The inventory may have other columns by now.
                    renew_views(connection, settings.contract)
        except _RefusedError as error:
            # Seldom: what the publish checks refuse, the earlier checks have mostly found. Then the others are
            # written once more, without the months that failed.
            for candidate in candidates:
                if candidate.month in error.refused:
                    verdicts = merge(candidate.verdicts, error.refused[candidate.month])
                    results[candidate.month] = _refused(
                        candidate.month, verdicts, settings.contract, candidate.input_digest
                    )
            candidates = [each for each in candidates if each.month not in error.refused]
        except OwnRuleError as error:
            # After it nothing more can be done in its transaction. The next one leaves its query out.
            broken[error.rule] = str(error)
        except duckdb.Error:
            # What was counted before need not show every damage: a column, for one, is read only here.
            damaged = _damaged(candidates, settings)
            if not damaged:
                raise
            results |= damaged
            candidates = [each for each in candidates if each.month not in damaged]
        else:
            return done


def _judge_inventory(
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
            results[month] = _refused(month, verdicts, settings.contract)
        else:
            open_months[month] = verdicts
    return open_months


def _damaged(candidates: Sequence[_Candidate], settings: Settings) -> dict[Month, MonthResult]:
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
        results[file.month] = _refused(file.month, merge(of_month.verdicts, again), settings.contract)
    return results


def refuse_all(
    months: Sequence[Month], run: RunSoFar, inventory: InventoryFacts, contract: Contract
) -> dict[Month, MonthResult]:
    """The results of months that cannot be published, because the inventory cannot be had."""
    return {
        month: _refused(
            month, merge(run.verdicts(month), judge(INVENTORY_RULES, HOST_INVENTORY, month, inventory)), contract
        )
        for month in months
    }


def _candidates(
    connection: duckdb.DuckDBPyConnection,
    open_months: Mapping[Month, list[Verdict]],
    settings: Settings,
    run: RunSoFar,
    results: dict[Month, MonthResult],
) -> list[_Candidate]:
    """Judge the partitions; months that fail, or that are unchanged, are put into `results`."""
    with transaction(connection):
        for table in (PROCESSED_DATA_TABLE, QUARANTINED_ROWS, PUBLICATIONS, SERIES_MONTHS, WAIVERS):
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
            stands = not leans_on_withdrawn(verdicts, waivers, inputs[month])
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
            results[month] = _refused(month, verdicts, settings.contract, inputs[month])
        else:
            # If the receipt is of other inputs, a changed table cannot be distinguished from a changed digest.
            healed = month in same - intact and receipts[month].is_comparable
            candidates.append(
                _Candidate(month, checked[month], facts[month], verdicts, inputs[month], month not in intact, healed)
            )
    return candidates


def _judge_unchanged(
    connection: duckdb.DuckDBPyConnection,
    results: Mapping[Month, MonthResult],
    settings: Settings,
    broken: Mapping[str, str],
) -> dict[Month, MonthResult]:
    """The unchanged months as the contract's own rules find them now; one that fails is refused, and its rows stay.

    Raises:
        OwnRuleError: A query fails; `broken` has those that did before.
    """
    unchanged = {month: result for month, result in results.items() if result.state is State.UNCHANGED}
    if not (unchanged and settings.contract.rule):
        return {}
    said = {month: result.verdicts for month, result in unchanged.items()}
    judged = judge_unchanged_by_own_rules(connection, said, settings.contract, broken)
    return {
        month: _refused(month, verdicts, settings.contract, unchanged[month].input_digest)
        if any(verdict.failed for verdict in verdicts)
        else replace(unchanged[month], verdicts=verdicts)
        for month, verdicts in judged.items()
    }


def _refused(
    month: Month, verdicts: Sequence[Verdict], contract: Contract, input_digest: str | None = None
) -> MonthResult:
    """The month with a verdict of every check; those that were not reached say so."""
    there = {(verdict.asset, verdict.check) for verdict in verdicts}
    missing = [
        verdict
        for asset, rules in every_rule(contract).items()
        for verdict in not_judged(rules, asset, month, verdicts)
        if (verdict.asset, verdict.check) not in there
    ]
    return MonthResult(month, State.REFUSED, [*verdicts, *missing], input_digest=input_digest)


def _record(connection: duckdb.DuckDBPyConnection, run: RunSoFar, results: Iterable[MonthResult]) -> None:
    """Write what the checks said, and the receipts of months that are published in this very transaction."""
    found = list(results)
    published = {
        result.month: result.receipt.published_at
        for result in found
        if result.receipt and result.state is not State.REFUSED
    }
    verdicts = [verdict for result in found for verdict in result.verdicts if _is_of_run(verdict, run)]
    inputs = {result.month: result.input_digest for result in found if result.input_digest}
    record_audits(connection, run.run_id, verdicts, published, run.moment, inputs=inputs)
    record_receipts(
        connection,
        [result.receipt for result in found if result.receipt and result.state is State.PUBLISHED],
    )


def _sign(connection: duckdb.DuckDBPyConnection, run: RunSoFar, months: Collection[Month], settings: Settings) -> None:
    """Have a lake's snapshot say what it is of."""
    if settings.lake is not None and months:
        # Whoever has no lake need not load it.
        from refinery_assets.warehouse.lake_snapshots import sign  # noqa: PLC0415

        sign(connection, run.run_id, months)


def _is_of_run(verdict: Verdict, run: RunSoFar) -> bool:
    """Whether the run judged by the check, or had a step that should have."""
    return verdict.outcome is not Outcome.NOT_JUDGED or verdict.asset == PROCESSED_DATA or verdict.asset in run.records


def _write(
    connection: duckdb.DuckDBPyConnection,
    candidates: Sequence[_Candidate],
    settings: Settings,
    run: RunSoFar,
    broken: Mapping[str, str],
) -> dict[Month, MonthResult]:
    """Write the months and judge them by the publish checks.

    Raises:
        _RefusedError: Some of them fail.
        OwnRuleError: A query of the contract's own rules fails; `broken` has those that did before.
    """
    months = [candidate.month for candidate in candidates]
    files = partitions(settings, months)
    paths = globs(file.path for file in files)
    name_months(connection, months)
    respelled = name_respelled_hosts(connection, paths)
    name_new_series(connection, files)
    sources = (source for each in candidates for source in each.sources.values())
    rows = publishable_rows(sources, respelled=respelled)
    find_changed_series(connection, [each.month for each in candidates if each.tampered])
    differences = find_differences(connection, months, rows, paths)
    name_fresh_series(connection)
    ready: Mapping[str, str] = {}
    if settings.lake is not None:
        # Whoever has no lake need not load it.
        from refinery_assets.warehouse.lake_files import files_to_register  # noqa: PLC0415

        held = {each.month: each.sources for each in candidates}
        ready = files_to_register(connection, settings.lake.data, files, held, respelled=respelled)
    replace_rows(connection, months, rows, paths, ready)
    if changed := _written_meanwhile(candidates, settings, run):
        raise _RefusedError(changed)
    evidence = _evidence(connection, candidates, settings, differences, paths)
    own = judge_by_own_rules(connection, months, settings.contract, broken)
    rules = publish_rules(settings.contract)
    past = read_past(connection, months, settings, is_published=False)
    waivers = waivers_in_force(connection, months)
    verdicts: dict[Month, list[Verdict]] = {}
    failed: dict[Month, list[Verdict]] = {}
    # In order: a month that is refused is nothing for a later one to be held against.
    for candidate in sorted(candidates, key=lambda each: each.month):
        month = candidate.month
        days = {each.family.resource: each.days for each in candidate.stats}
        evidence[month] = replace(evidence[month], own=own[month], plausibility=past.evidence(month, days, failed))
        found = judge(rules, PROCESSED_DATA, month, evidence[month])
        verdicts[month] = apply_waivers(found, waivers, candidate.input_digest)
        if any(verdict.failed for verdict in verdicts[month]):
            failed[month] = verdicts[month]
    if failed:
        raise _RefusedError(failed)
    digests = table_digests(connection, months)
    contract, version = settings.contract.digest, refinery_version()
    results = {}
    for candidate in candidates:
        month, figures = candidate.month, evidence[candidate.month].figures()
        difference = differences[month]
        receipt = Receipt(
            month,
            run.run_id,
            run.moment,
            contract,
            candidate.input_digest,
            int(figures["rows"]),
            int(figures["imputed"]),
            int(figures["quarantined"]),
            difference.added,
            difference.removed,
            difference.changed,
            digests[month],
            version,
            ", ".join(settings.plausibility.off) or None,
        )
        results[month] = MonthResult(
            month,
            State.PUBLISHED,
            [*candidate.verdicts, *verdicts[month]],
            receipt,
            figures,
            healed=candidate.healed,
            difference=difference,
            input_digest=candidate.input_digest,
        )
    return results


def _written_meanwhile(
    candidates: Sequence[_Candidate], settings: Settings, run: RunSoFar
) -> dict[Month, list[Verdict]]:
    """The months of which another run has written a partition since it was judged, each with its verdict."""
    again = read_stats(run, [candidate.month for candidate in candidates], settings)
    refused: dict[Month, list[Verdict]] = {}
    for candidate in candidates:
        for before, now in zip(candidate.stats, again[candidate.month], strict=True):
            if before != now:
                problem = (
                    f"The partition of {before.name} was written to while it was published, by another run: run "
                    f"{candidate.month} again."
                )
                limit = settings.limit("quarantine_tolerance", before.family)
                evidence = FamilyMonth(replace(before, problem=problem), limit)
                refused.setdefault(candidate.month, []).extend(
                    judge(FAMILY_RULES, before.family.name, candidate.month, evidence)
                )
    return refused


def _evidence(
    connection: duckdb.DuckDBPyConnection,
    candidates: Sequence[_Candidate],
    settings: Settings,
    differences: Mapping[Month, Difference],
    paths: Sequence[str],
) -> dict[Month, MonthOfTable]:
    months = [candidate.month for candidate in candidates]
    sum_up(connection, months)
    tables = table_facts(connection, months)
    inventories = read_inventories(connection, tables)
    found = {}
    for candidate in candidates:
        month = candidate.month
        evidence = MonthOfTable(
            month, tables[month], candidate.sources, inventories[month], settings, differences[month], candidate.healed
        )
        found[month] = with_samples(connection, evidence, paths)
    return found
