"""Write, audit, publish: replace months of the table in one transaction that only clean months pass.

Each month is judged by itself. Months that fail keep what was published of them; the others are published
together. Here: the order of the work. Not here: which months there are to write (`candidates.py`), the
publish checks (`publish_checks.py`), and how the warehouse is opened (`assets/resources.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace

import duckdb

from refinery_assets.checks.rules import Outcome, Verdict, judge
from refinery_assets.contract.families import PROCESSED_DATA
from refinery_assets.contract.months import Month
from refinery_assets.contract.settings import Settings
from refinery_assets.rows.family_checks import FAMILY_RULES, FamilyMonth
from refinery_assets.warehouse.audits import record_audits
from refinery_assets.warehouse.candidates import Candidate, find_candidates, find_damaged, judge_inventory
from refinery_assets.warehouse.differences import Difference, find_changed_series, find_differences
from refinery_assets.warehouse.facts import (
    MonthOfTable,
    read_inventories,
    sum_up,
    table_facts,
    with_samples,
)
from refinery_assets.warehouse.family_partitions import globs, partitions
from refinery_assets.warehouse.gate import RunSoFar, merge, read_stats
from refinery_assets.warehouse.month_state import MonthResult, State, refused_result
from refinery_assets.warehouse.own_rules import (
    OwnRuleError,
    judge_by_own_rules,
    judge_unchanged_by_own_rules,
    publish_rules,
)
from refinery_assets.warehouse.plausibility import name_fresh_series, read_past
from refinery_assets.warehouse.receipts import Receipt, record_receipts, refinery_version, table_digests
from refinery_assets.warehouse.tables import transaction
from refinery_assets.warehouse.views import renew_views
from refinery_assets.warehouse.waivers import apply_waivers, waivers_in_force
from refinery_assets.warehouse.write import (
    name_months,
    name_new_series,
    name_respelled_hosts,
    publishable_rows,
    replace_rows,
)


class _RefusedError(Exception):
    """Takes months that must not be published out of their transaction."""

    def __init__(self, refused: Mapping[Month, Sequence[Verdict]]) -> None:
        super().__init__()
        self.refused = refused


def publish(
    connection: duckdb.DuckDBPyConnection,
    months: Sequence[Month],
    settings: Settings,
    run: RunSoFar,
    before_commit: Callable[[], None] = lambda: None,
) -> dict[Month, MonthResult]:
    """Replace `months` of `processed_data` and `quarantined_rows` by what the partitions hold.

    The months that pass every check are written in one transaction, with their rows of `audits`, `publications`
    and `series_months`. A month whose inputs are those of its last publication, and of which the tables hold what
    the receipt says, is left as it is.

    Args:
        connection: The warehouse.
        months: The months.
        settings: The contract, the limits, and where the partitions are.
        run: What is known of the run.
        before_commit: Called at the end of the transaction; nothing is published when it raises.

    Raises:
        ForeignTableError: A table with one of the refinery's names has other columns.
    """
    results: dict[Month, MonthResult] = {}
    open_months = judge_inventory(connection, months, settings, run, results)
    candidates = find_candidates(connection, open_months, settings, run, results) if open_months else []
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
                before_commit()
        except _RefusedError as error:
            # Seldom: what the publish checks refuse, the earlier checks have mostly found. Then the others are
            # written once more, without the months that failed.
            for candidate in candidates:
                if candidate.month in error.refused:
                    verdicts = merge(candidate.verdicts, error.refused[candidate.month])
                    results[candidate.month] = refused_result(
                        candidate.month, verdicts, settings.contract, candidate.input_digest
                    )
            candidates = [each for each in candidates if each.month not in error.refused]
        except OwnRuleError as error:
            # After it nothing more can be done in its transaction. The next one leaves its query out.
            broken[error.rule] = str(error)
        except duckdb.Error:
            # What was counted before need not show every damage: a column, for one, is read only here.
            damaged = find_damaged(candidates, settings)
            if not damaged:
                raise
            results |= damaged
            candidates = [each for each in candidates if each.month not in damaged]
        else:
            return done


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
        month: refused_result(month, verdicts, settings.contract, unchanged[month].input_digest)
        if any(verdict.failed for verdict in verdicts)
        else replace(unchanged[month], verdicts=verdicts)
        for month, verdicts in judged.items()
    }


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
    candidates: Sequence[Candidate],
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
    candidates: Sequence[Candidate], settings: Settings, run: RunSoFar
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
    candidates: Sequence[Candidate],
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
