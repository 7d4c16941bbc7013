"""The state of every month: what is published, what the last run found, and whether its inputs have changed since.

Here: reading that from receipts, audits, waivers and the bytes of the files. Not here: what follows from it
(`month_status.py`), what a run would make of changed files (`plan.py`), the printing (`reports/terminal_status.py`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import date
from itertools import product

import duckdb

from refinery_assets.checks.rules import Outcome, judge
from refinery_assets.contract.columns import AUDITS, PUBLICATIONS
from refinery_assets.contract.families import HOST_INVENTORY, Family
from refinery_assets.contract.months import Month
from refinery_assets.contract.settings import Settings
from refinery_assets.feed.files import FeedFile, RefusedFileError, feed_extent, feed_files
from refinery_assets.rows.stats import Stats, rules_digest
from refinery_assets.warehouse.audits import LAST_ATTEMPTS, LAST_RUNS, TABLE_ONLY
from refinery_assets.warehouse.fleet import name_hosts_due
from refinery_assets.warehouse.inventory import inspect_inventory, odd_host_names
from refinery_assets.warehouse.inventory_checks import INVENTORY_RULES
from refinery_assets.warehouse.month_status import Inputs, LastAudit, MonthStatus, Status
from refinery_assets.warehouse.receipts import (
    Receipt,
    input_digest,
    inventory_digests,
    latest_receipts,
    rows_of_months,
)
from refinery_assets.warehouse.tables import column_types, table_names
from refinery_assets.warehouse.waivers import Waiver, waivers_in_force, withdrawn_checks

_FILES_AT_ONCE = 2


@dataclass(frozen=True)
class _Known:
    """What the warehouse says."""

    receipts: Mapping[Month, Receipt] = field(default_factory=dict)
    audits: Mapping[Month, LastAudit] = field(default_factory=dict)
    attempts: Mapping[Month, LastAudit] = field(default_factory=dict)
    hosts: Mapping[Month, str] = field(default_factory=dict)
    odd_hosts: frozenset[str] = frozenset()
    waivers: Sequence[Waiver] = ()
    withdrawn: Mapping[Month, Sequence[str]] = field(default_factory=dict)
    inventory_problem: str = ""
    snapshots: Mapping[tuple[Month, str], int] = field(default_factory=dict)


def read_status(connection: duckdb.DuckDBPyConnection | None, settings: Settings, today: date) -> Status:
    """The state of the months that are published, were audited, or lie in the feed.

    Args:
        connection: The warehouse or its read copy; None where there is none yet.
        settings: Where the feed lies, and the settings that bear on rows.
        today: The day, in the refinery's time zone.
    """
    known = _Known() if connection is None else _read_known(connection, settings)
    extent = feed_extent(settings)
    in_feed = list(Month.span(extent.first, extent.newest)) if extent.first and extent.newest else []
    months = sorted({*in_feed, *known.receipts, *known.audits})
    digests = _file_digests(settings, months)
    old: Mapping[Month, int] = {}
    if connection is not None:
        old = rows_of_months(connection, [month for month in months if month not in known.receipts])
    found = [_month_status(month, digests[month], known, settings, is_old=month in old) for month in months]
    return Status(found, _late(settings, {*known.receipts, *old}, today), known.inventory_problem)


def _month_status(
    month: Month,
    files: Sequence[tuple[Family, str | None]],
    known: _Known,
    settings: Settings,
    *,
    is_old: bool,
) -> MonthStatus:
    receipt, audit = known.receipts.get(month), known.audits.get(month)
    waivers = [waiver for waiver in known.waivers if waiver.month == month]
    possible = _possible_digests(month, files, known, settings) if receipt or waivers else set()
    if all(digest is None for _, digest in files):
        inputs = Inputs.NO_FILES
    elif receipt is None:
        inputs = Inputs.NO_RECEIPT if is_old else Inputs.NOT_PUBLISHED
    elif receipt.input_digest not in possible:
        inputs = Inputs.CHANGED
    else:
        inputs = Inputs.WITHDRAWN if known.withdrawn.get(month) else Inputs.AS_PUBLISHED
    # Without a file or the inventory it cannot be told what was accepted.
    is_known = month in known.hosts and all(digest is not None for _, digest in files)
    return MonthStatus(
        month,
        inputs,
        receipt,
        audit,
        known.attempts.get(month) if audit and audit.of_table else None,
        waivers,
        [waiver.check_name for waiver in waivers if is_known and waiver.input_digest not in possible],
        known.withdrawn.get(month, ()),
        known.snapshots.get((month, receipt.run_id)) if receipt else None,
        not settings.first_month <= month <= settings.window[-1],
    )


def _read_known(connection: duckdb.DuckDBPyConnection, settings: Settings) -> _Known:
    tables = table_names(connection)
    receipts: dict[Month, Receipt] = {}
    if PUBLICATIONS.name in tables:
        published = connection.execute("SELECT DISTINCT month FROM publications ORDER BY month").fetchall()
        receipts = latest_receipts(connection, [Month.parse(month) for (month,) in published])
    audits, attempts = (
        _last_audits(connection, runs) if AUDITS.name in tables else {} for runs in (LAST_RUNS, LAST_ATTEMPTS)
    )
    waivers = waivers_in_force(connection)
    facts = inspect_inventory(connection, settings)
    # All months have one inventory, so that what is said of one holds for each.
    verdicts = judge(INVENTORY_RULES, HOST_INVENTORY, settings.window[0], facts)
    problem = next((f"{each.finding.message} {each.recovery}" for each in verdicts if each.failed), "")
    snapshots: Mapping[tuple[Month, str], int] = {}
    if settings.lake is not None:
        # Whoever has no lake need not load it.
        from refinery_assets.warehouse.lake_snapshots import snapshots_of_months  # noqa: PLC0415

        snapshots = snapshots_of_months(connection)
    known = _Known(
        receipts,
        audits,
        attempts,
        waivers=waivers,
        withdrawn=withdrawn_checks(connection),
        inventory_problem=problem,
        snapshots=snapshots,
    )
    if facts.problem is not None:
        return known
    name_hosts_due(connection, sorted({*receipts, *(waiver.month for waiver in waivers)}))
    odd_hosts = odd_host_names(connection, settings.contract)
    return replace(known, hosts=inventory_digests(connection), odd_hosts=odd_hosts)


def _last_audits(connection: duckdb.DuckDBPyConnection, runs: str) -> dict[Month, LastAudit]:
    # An older version did not note by which inputs it judged.
    has_inputs = "input_digest" in column_types(connection, AUDITS.name)
    rows = connection.execute(
        f"""
        WITH last AS ({runs})
        SELECT month, run_id, max(a.audited_at), bool_and(published_at IS NOT NULL), {TABLE_ONLY},
            list(asset || ' ' || check_name ORDER BY a.rowid) FILTER (verdict = $failed),
            list(asset || ' ' || check_name ORDER BY a.rowid) FILTER (verdict = $warning),
            {"max(input_digest)" if has_inputs else "NULL"}
        FROM audits a JOIN last USING (month, run_id) GROUP BY month, run_id
        """,  # noqa: S608 - constants of ours
        {"failed": str(Outcome.FAILED), "warning": str(Outcome.WARNING)},
    ).fetchall()
    return {
        Month.parse(month): LastAudit(run_id, audited_at, published, failed or (), warnings or (), of_table, inputs)
        for month, run_id, audited_at, published, of_table, failed, warnings, inputs in rows
    }


def _file_digests(settings: Settings, months: Iterable[Month]) -> dict[Month, list[tuple[Family, str | None]]]:
    """The digest of each family's file; None where there is none, or it cannot be read."""
    files = feed_files(settings, months)

    def digest(file: FeedFile) -> str | None:
        try:
            return file.digest()
        except FileNotFoundError:
            return None
        except RefusedFileError as error:
            return str(error)

    found: dict[Month, list[tuple[Family, str | None]]] = {}
    with ThreadPoolExecutor(_FILES_AT_ONCE) as pool:
        for file, digested in zip(files, pool.map(digest, files), strict=True):
            found.setdefault(file.month, []).append((file.family, digested))
    return found


def _possible_digests(
    month: Month, files: Sequence[tuple[Family, str | None]], known: _Known, settings: Settings
) -> set[str]:
    """The input digests that the month's files may have now.

    Whether a file names a host that is called like an absent one is known only to who reads its rows; both ways are
    tried.
    """
    rules = [(rules_digest(settings, family), rules_digest(settings, family, known.odd_hosts)) for family, _ in files]
    return {
        input_digest(
            [
                Stats(family, month, "", digest=digest, rules=rule)
                for (family, digest), rule in zip(files, chosen, strict=True)
            ],
            known.hosts.get(month, ""),
            settings,
        )
        for chosen in product(*rules)
    }


def _late(settings: Settings, published: Collection[Month], today: date) -> list[Month]:
    """The months of the window after the first published one that are over for `late_days`, and are not published."""
    if not published:
        return []
    running = Month.of(today)
    due = running.previous if today.day > settings.late_days else running.previous.previous
    first, last = max(min(published), settings.first_month), min(due, settings.window[-1])
    return [month for month in Month.span(first, last) if month not in published]
