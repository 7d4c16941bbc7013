"""The state of every month: what is published, what the last run said, and whether its inputs have changed since.

Here: reading that from receipts, audits and the bytes of the files. Not here: what a run would make of changed files
(`plan.py`), and the printing (`reports/terminal.py`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import date, datetime
from enum import StrEnum
from itertools import product

import duckdb

from refinery_assets.checks.rules import Outcome
from refinery_assets.contract.columns import AUDITS, PUBLICATIONS
from refinery_assets.contract.families import Family
from refinery_assets.contract.months import Month
from refinery_assets.contract.settings import Settings
from refinery_assets.feed.files import FeedFile, RefusedFileError, feed_extent, feed_files
from refinery_assets.rows.stats import Stats, rules_digest
from refinery_assets.warehouse.audits import LAST_RUNS, TABLE_ONLY
from refinery_assets.warehouse.fleet import name_fleet, name_hosts_due
from refinery_assets.warehouse.inventory import odd_host_names
from refinery_assets.warehouse.inventory_error import InventoryError
from refinery_assets.warehouse.receipts import (
    Receipt,
    input_digest,
    inventory_digests,
    latest_receipts,
    rows_of_months,
)
from refinery_assets.warehouse.tables import table_names
from refinery_assets.warehouse.waivers import Waiver, waivers_in_force

_FILES_AT_ONCE = 2


class Inputs(StrEnum):
    """A month's files, the inventory and the settings, against those that the month was published from."""

    AS_PUBLISHED = "as published"
    CHANGED = "changed"
    NOT_PUBLISHED = "not published"
    NO_RECEIPT = "no receipt"
    """An older version of the refinery published it: nothing tells from what."""
    NO_FILES = "no files"


@dataclass(frozen=True)
class LastAudit:
    """What the last run said of a month that published it, or by which a check of it failed.

    Attributes:
        run_id: The run.
        audited_at: When, in UTC.
        published: Whether the month then stood as the run found it right; else it was refused.
        failed: The checks that failed, as `asset check`.
        warnings: Those that warned.
        of_table: Whether the run judged the published table again, and not the month's files.
    """

    run_id: str
    audited_at: datetime
    published: bool
    failed: Sequence[str] = ()
    warnings: Sequence[str] = ()
    of_table: bool = False


@dataclass(frozen=True)
class MonthStatus:
    """The state of one month.

    Attributes:
        month: The month.
        inputs: Whether its inputs are those that it was published from.
        receipt: Of its last publication; None: it was never published.
        audit: What the last run said; None: no run has published or refused it.
        waivers: What somebody has accepted of it.
    """

    month: Month
    inputs: Inputs
    receipt: Receipt | None = None
    audit: LastAudit | None = None
    waivers: Sequence[Waiver] = ()


@dataclass(frozen=True)
class Status:
    """The state of the months, in order, and those that are late: due, and not published."""

    months: Sequence[MonthStatus] = ()
    late: Sequence[Month] = ()

    @property
    def changed(self) -> list[Month]:
        """The months whose inputs are there and are not, or not known to be, those of a publication."""
        return [
            each.month
            for each in self.months
            if each.inputs in {Inputs.CHANGED, Inputs.NOT_PUBLISHED, Inputs.NO_RECEIPT}
        ]


@dataclass(frozen=True)
class _Known:
    """What the warehouse says."""

    receipts: Mapping[Month, Receipt] = field(default_factory=dict)
    audits: Mapping[Month, LastAudit] = field(default_factory=dict)
    hosts: Mapping[Month, str] = field(default_factory=dict)
    odd_hosts: frozenset[str] = frozenset()
    waivers: Sequence[Waiver] = ()


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
    found = [
        MonthStatus(
            month,
            _inputs(digests[month], known.receipts.get(month), known, settings, is_old=month in old),
            known.receipts.get(month),
            known.audits.get(month),
            [waiver for waiver in known.waivers if waiver.month == month],
        )
        for month in months
    ]
    return Status(found, _late(settings, known.receipts, today))


def _read_known(connection: duckdb.DuckDBPyConnection, settings: Settings) -> _Known:
    tables = table_names(connection)
    receipts: dict[Month, Receipt] = {}
    if PUBLICATIONS.name in tables:
        published = connection.execute("SELECT DISTINCT month FROM publications ORDER BY month").fetchall()
        receipts = latest_receipts(connection, [Month.parse(month) for (month,) in published])
    audits = _last_audits(connection) if AUDITS.name in tables else {}
    waivers = waivers_in_force(connection)
    try:
        name_fleet(connection, settings.contract)
    except InventoryError:
        return _Known(receipts, audits, waivers=waivers)
    name_hosts_due(connection, receipts)
    odd_hosts = odd_host_names(connection, settings.contract)
    return _Known(receipts, audits, inventory_digests(connection), odd_hosts, waivers)


def _last_audits(connection: duckdb.DuckDBPyConnection) -> dict[Month, LastAudit]:
    rows = connection.execute(
        f"""
        WITH last AS ({LAST_RUNS})
        SELECT month, run_id, max(a.audited_at), bool_and(published_at IS NOT NULL), {TABLE_ONLY},
            list(asset || ' ' || check_name ORDER BY a.rowid) FILTER (verdict = $failed),
            list(asset || ' ' || check_name ORDER BY a.rowid) FILTER (verdict = $warning)
        FROM audits a JOIN last USING (month, run_id) GROUP BY month, run_id
        """,  # noqa: S608 - constants of ours
        {"failed": str(Outcome.FAILED), "warning": str(Outcome.WARNING)},
    ).fetchall()
    return {
        Month.parse(month): LastAudit(run_id, audited_at, published, failed or (), warnings or (), of_table)
        for month, run_id, audited_at, published, of_table, failed, warnings in rows
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


def _inputs(
    files: Sequence[tuple[Family, str | None]],
    receipt: Receipt | None,
    known: _Known,
    settings: Settings,
    *,
    is_old: bool,
) -> Inputs:
    if all(digest is None for _, digest in files):
        return Inputs.NO_FILES
    if receipt is None:
        return Inputs.NO_RECEIPT if is_old else Inputs.NOT_PUBLISHED
    # Whether a file names a host that is called like an absent one is known only to who reads its rows; both
    # ways are tried.
    rules = [(rules_digest(settings, family), rules_digest(settings, family, known.odd_hosts)) for family, _ in files]
    possible = (
        input_digest(
            [
                Stats(family, receipt.month, "", digest=digest, rules=rule)
                for (family, digest), rule in zip(files, chosen, strict=True)
            ],
            known.hosts.get(receipt.month, ""),
            settings,
        )
        for chosen in product(*rules)
    )
    return Inputs.AS_PUBLISHED if receipt.input_digest in possible else Inputs.CHANGED


def _late(settings: Settings, receipts: Mapping[Month, Receipt], today: date) -> list[Month]:
    """The months after the first published one that are over for `late_days`, and are not published."""
    if not receipts:
        return []
    running = Month.of(today)
    due = running.previous if today.day > settings.late_days else running.previous.previous
    return [month for month in Month.span(min(receipts), min(due, settings.window[-1])) if month not in receipts]
