"""The state of every month: what is published, what the last run found, and whether its inputs have changed since.

Here: reading that from receipts, audits, waivers and the bytes of the files. Not here: what a run would make of changed
files (`plan.py`), and the printing (`reports/terminal.py`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from enum import StrEnum
from itertools import product

import duckdb

from refinery_assets.checks.rules import Outcome, judge
from refinery_assets.contract.columns import AUDITS, PUBLICATIONS, WAIVERS
from refinery_assets.contract.families import HOST_INVENTORY, PROCESSED_DATA, Family
from refinery_assets.contract.months import Month
from refinery_assets.contract.settings import Settings
from refinery_assets.feed.files import FeedFile, RefusedFileError, feed_extent, feed_files
from refinery_assets.rows.stats import Stats, rules_digest
from refinery_assets.warehouse.audits import LAST_ATTEMPTS, LAST_RUNS, TABLE_ONLY, verdicts_of_publication
from refinery_assets.warehouse.fleet import name_hosts_due
from refinery_assets.warehouse.inventory import inspect_inventory, odd_host_names
from refinery_assets.warehouse.inventory_checks import INVENTORY_RULES
from refinery_assets.warehouse.receipts import (
    Receipt,
    input_digest,
    inventory_digests,
    latest_receipts,
    rows_of_months,
)
from refinery_assets.warehouse.tables import column_types, table_names
from refinery_assets.warehouse.waivers import Waiver, leans_on_withdrawn, waivers_in_force

_FILES_AT_ONCE = 2


class Inputs(StrEnum):
    """A month's files, the inventory and the settings, against those that the month was published from."""

    AS_PUBLISHED = "as published"
    CHANGED = "changed"
    WITHDRAWN = "acceptance withdrawn"
    """They are as published, but the month was published by an acceptance that has been withdrawn since."""
    NOT_PUBLISHED = "not published"
    NO_RECEIPT = "no receipt"
    """An older version of the refinery published it: nothing tells from what."""
    NO_FILES = "no files"


@dataclass(frozen=True)
class LastAudit:
    """The verdict of the last run that published a month, or by which a check of it failed.

    Attributes:
        run_id: The run.
        audited_at: When, in UTC.
        published: Whether the month then stood as the run found it right; else it was refused.
        failed: The checks that failed, as `asset check`.
        warnings: Those that warned.
        of_table: Whether the run judged the published table again, and not the month's files.
        input_digest: Of the inputs that it judged; None where it refused the month before they were compared.
    """

    run_id: str
    audited_at: datetime
    published: bool
    failed: Sequence[str] = ()
    warnings: Sequence[str] = ()
    of_table: bool = False
    input_digest: str | None = None


@dataclass(frozen=True)
class MonthStatus:
    """The state of one month.

    Attributes:
        month: The month.
        inputs: Whether its inputs are those that it was published from.
        receipt: Of its last publication; None: it was never published.
        audit: The last run's verdict; None: no run has published or refused it.
        attempt: The verdict of the last run over its files, where `audit` is of the published table; None otherwise.
        waivers: What somebody has accepted of it.
        lapsed: The checks of which that was for other inputs, or by an older version, so that it holds no longer.
        withdrawn: The checks by whose acceptance it was published, where that has been withdrawn since.
        snapshot: Of a lake, the snapshot that its last publication made, while it is kept.
    """

    month: Month
    inputs: Inputs
    receipt: Receipt | None = None
    audit: LastAudit | None = None
    attempt: LastAudit | None = None
    waivers: Sequence[Waiver] = ()
    lapsed: Sequence[str] = ()
    withdrawn: Sequence[str] = ()
    snapshot: int | None = None

    @property
    def _last_attempt(self) -> LastAudit | None:
        return self.attempt or self.audit

    @property
    def is_refused(self) -> bool:
        """Whether the last run over its files refused it; an earlier publication may stand."""
        last = self._last_attempt
        return last is not None and not last.published and not last.of_table

    @property
    def is_judged_as_it_is(self) -> bool:
        """Whether the last run refused what the month was published from, as far as nobody has accepted it since.

        Another run would refuse it again.
        """
        receipt, audit = self.receipt, self._last_attempt
        if receipt is None or audit is None or not self.is_refused:
            return False
        if self.inputs not in {Inputs.AS_PUBLISHED, Inputs.WITHDRAWN} or audit.input_digest != receipt.input_digest:
            return False
        accepted = {waiver.check_name for waiver in self.waivers if waiver.input_digest == receipt.input_digest}
        judged = (check.partition(" ") for check in audit.failed)
        # What else refused it has looked at other files, or at another inventory.
        return any(asset == PROCESSED_DATA and check not in accepted for asset, _, check in judged)


@dataclass(frozen=True)
class Status:
    """The state of the months.

    Attributes:
        months: They, in order.
        late: Those that are due, and not published.
        inventory_problem: Why the inventory, as it is now, has every month refused, and what to do; else empty.
    """

    months: Sequence[MonthStatus] = ()
    late: Sequence[Month] = ()
    inventory_problem: str = ""

    @property
    def changed(self) -> list[Month]:
        """The months whose inputs are there, and that do not stand as these inputs and acceptances would have them.

        One that was refused, and whose inputs are again those that it was published from, is among them: Dagster and
        the table `audits` have it as refused until a run finds it in order.
        """
        return [
            each.month
            for each in self.months
            if each.inputs is not Inputs.NO_FILES
            and (each.inputs is not Inputs.AS_PUBLISHED or each.is_refused)
            and not each.is_judged_as_it_is
        ]

    @property
    def refused_again(self) -> list[Month]:
        """The refused months that are not to be run, because another run would only refuse them again.

        Those of which the feed holds nothing between others of which it holds something are among them.
        """
        there = [each.month for each in self.months if each.inputs is not Inputs.NO_FILES]
        return [
            each.month
            for each in self.months
            if each.is_judged_as_it_is
            or (each.is_refused and each.inputs is Inputs.NO_FILES and there and there[0] < each.month < there[-1])
        ]

    @property
    def newest(self) -> Month | None:
        """The newest month of which the feed holds anything."""
        return max((each.month for each in self.months if each.inputs is not Inputs.NO_FILES), default=None)

    @property
    def awaited(self) -> list[Month]:
        """The months that a run was asked for before the feed held anything of them."""
        missing = [each.month for each in self.months if each.inputs is Inputs.NO_FILES and each.receipt is None]
        return [month for month in missing if self.newest is not None and month > self.newest]


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
    withdrawn = _withdrawn(connection, receipts, waivers) if {WAIVERS.name, AUDITS.name} <= tables else {}
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
        withdrawn=withdrawn,
        inventory_problem=problem,
        snapshots=snapshots,
    )
    if facts.problem is not None:
        return known
    name_hosts_due(connection, sorted({*receipts, *(waiver.month for waiver in waivers)}))
    odd_hosts = odd_host_names(connection, settings.contract)
    return replace(known, hosts=inventory_digests(connection), odd_hosts=odd_hosts)


def _withdrawn(
    connection: duckdb.DuckDBPyConnection, receipts: Mapping[Month, Receipt], waivers: Sequence[Waiver]
) -> dict[Month, list[str]]:
    """The checks by whose acceptance months were published that is in force no longer."""
    ended = connection.execute("SELECT DISTINCT month FROM waivers WHERE withdrawn_at IS NOT NULL").fetchall()
    found: dict[Month, list[str]] = {}
    for (key,) in ended:
        if receipt := receipts.get(Month.parse(key)):
            verdicts = verdicts_of_publication(connection, receipt.run_id, receipt.month)
            found[receipt.month] = [
                verdict.check for verdict in verdicts if leans_on_withdrawn([verdict], waivers, receipt.input_digest)
            ]
    return found


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
    """The months after the first published one that are over for `late_days`, and are not published."""
    if not published:
        return []
    running = Month.of(today)
    due = running.previous if today.day > settings.late_days else running.previous.previous
    return [month for month in Month.span(min(published), min(due, settings.window[-1])) if month not in published]
