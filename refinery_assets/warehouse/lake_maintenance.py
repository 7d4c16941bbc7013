"""What keeps a lake small: merging files, forgetting snapshots, deleting what nothing refers to; and a proof after it.

Each part keeps publishers out for as long as it takes, so that neither loses to the other, and no file is deleted that
a publisher is about to register. Here: the parts and their order. Not here: who asks for it (`cli/lake.py`,
`assets/lake_maintenance.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb

from refinery_assets.checks.rules import counted, listing
from refinery_assets.contract.columns import PROCESSED_DATA, PUBLICATIONS, QUARANTINED_ROWS, SERIES_MONTHS
from refinery_assets.contract.lake import Lake
from refinery_assets.contract.months import Month
from refinery_assets.contract.settings import Settings
from refinery_assets.warehouse.lake import NAME, open_lake
from refinery_assets.warehouse.lake_marker import refuse_to_clean_others
from refinery_assets.warehouse.lake_tables import LakeError
from refinery_assets.warehouse.lake_writers import locked
from refinery_assets.warehouse.receipts import Receipt, latest_receipts, rows_of_months, table_digests
from refinery_assets.warehouse.tables import ensure_table, transaction, utc_now

_MOST_LOOKS = 10
GRACE = timedelta(days=2)
"""How long files stay that nothing refers to: a reader may still read them, or a run be about to publish them. A run is
ended after half a day."""


@dataclass(frozen=True)
class Maintained:
    """What maintaining a lake came to.

    Attributes:
        merged: Small files that were merged into others.
        expired: Snapshots that can be read no more.
        deleted: Files deleted that only such snapshots needed, or that were merged.
        orphans: Files deleted that no snapshot ever had: of refused or killed runs.
        proved: Months that sum to their receipts.
        broken: Months that do not.
    """

    merged: int
    expired: int
    deleted: int
    orphans: int
    proved: Sequence[Month]
    broken: Sequence[Month]

    @property
    def summary(self) -> str:
        """What was done, in a sentence."""
        return (
            f"{counted(self.merged, 'small file')} merged, {counted(self.expired, 'snapshot')} expired, "
            f"{counted(self.deleted, 'old file')} and {counted(self.orphans, 'orphan')} deleted."
        )

    @property
    def proof(self) -> str:
        """How many months were found to be right and how many not, in a sentence."""
        count, wrong = len(self.proved), len(self.broken)
        if not self.proved and not self.broken:
            return "No month is published."
        sums = "sums to its receipt" if count == 1 else "sum to their receipts"
        but = f", and {wrong:,} do{'es' * (wrong == 1)} not" if wrong else ""
        return f"{counted(count, 'published month')} {sums}{but}."

    @property
    def problem(self) -> str | None:
        """What was found to be wrong, and what to do; None where nothing was."""
        if not self.broken:
            return None
        wrong, put_right = "do not sum to their receipts", "the months"
        if len(self.broken) == 1:
            wrong, put_right = "does not sum to its receipt", "the month"
        return (
            f"{listing(self.broken)} {wrong}. Somebody has changed the tables; refinery audit says how, and refinery "
            f"run puts {put_right} right."
        )


def maintain(settings: Settings, *, grace: timedelta = GRACE, now: datetime | None = None) -> Maintained:
    """Maintain the lake.

    Args:
        settings: Which lake, and how long its snapshots are kept.
        grace: See `GRACE`.
        now: The moment, in UTC; None: this one.

    Raises:
        LakeError: The settings name no lake.
        LakeNotReadyError: The lake lacks a table.
        WarehouseMissingError: There is no lake.
        WarehouseHeldError: A run went on publishing for longer than is waited for.
        LostRaceError: Somebody has changed rows of files that were about to be merged.
        WarehouseUnusableError: Catalog or data cannot be read or written, or the data path is not the lake's own.
        StoreError: The data's object store cannot be reached or used.
    """
    lake = settings.lake
    if lake is None:
        raise LakeError("There is no lake to maintain: REFINERY_WAREHOUSE is a file, which needs no maintenance.")
    moment = now or utc_now()
    wait = settings.lock_wait_seconds
    with open_lake(lake, read_only=False, wait_seconds=wait) as connection:
        refuse_to_clean_others(connection, settings, lake)
        # What the proof reads; a lake that init was interrupted in lacks it.
        for table in (PUBLICATIONS, PROCESSED_DATA, QUARANTINED_ROWS, SERIES_MONTHS):
            ensure_table(connection, table)
        # Whoever accepts a month or edits the inventory takes no lock, and may be faster.
        with locked(connection, lake, [], alone=True, wait_seconds=wait), transaction(connection):
            merged = connection.table_function("ducklake_merge_adjacent_files", [NAME]).fetchall()
        with locked(connection, lake, [], alone=True, wait_seconds=wait):
            expired = _call(connection, "expire_snapshots", moment - timedelta(days=settings.lake_keep_days))
        with locked(connection, lake, [], alone=True, wait_seconds=wait):
            deleted = _call(connection, "cleanup_old_files", moment - grace)
        with locked(connection, lake, [], alone=True, wait_seconds=wait):
            orphans = _delete_orphans(connection, moment - grace)
            orphans += _remove_unfinished(lake, moment - grace)
        proved, broken = prove(connection)
    return Maintained(sum(files for _, _, files, _ in merged), expired, deleted, orphans, proved, broken)


def _delete_orphans(connection: duckdb.DuckDBPyConnection, older_than: datetime) -> int:
    """Have DuckLake delete orphans; gives how many.

    It opens every file that it sees, and fails where a family's step has renamed an unfinished one in between; then it
    looks again.
    """
    looks = 1
    while True:
        try:
            return _call(connection, "delete_orphaned_files", older_than)
        except duckdb.IOException as error:
            if looks == _MOST_LOOKS or ".partial" not in str(error):
                raise
            looks += 1


def prove(connection: duckdb.DuckDBPyConnection) -> tuple[list[Month], list[Month]]:
    """The published months whose rows sum to their receipts, and those whose rows do not."""
    # All of one snapshot: months are published meanwhile.
    connection.execute("BEGIN")
    try:
        return _prove(connection)
    finally:
        connection.execute("ROLLBACK")


def _prove(connection: duckdb.DuckDBPyConnection) -> tuple[list[Month], list[Month]]:
    keys = connection.execute("SELECT DISTINCT month FROM publications ORDER BY month").fetchall()
    receipts = latest_receipts(connection, [Month.parse(key) for (key,) in keys])
    digests = table_digests(connection, receipts)
    rows = rows_of_months(connection, receipts)

    def stands(month: Month, receipt: Receipt) -> bool:
        # By an older version's digest only the rows can be counted.
        if receipt.is_comparable:
            return receipt.holds(digests[month])
        return rows.get(month, 0) == receipt.rows

    proved = [month for month, receipt in receipts.items() if stands(month, receipt)]
    return sorted(proved), sorted(set(receipts) - set(proved))


def _call(connection: duckdb.DuckDBPyConnection, function: str, older_than: datetime) -> int:
    """Call one of DuckLake's own functions; how many things it says that it dealt with."""
    rows = connection.execute(
        f"FROM ducklake_{function}('{NAME}', older_than => $moment::TIMESTAMPTZ)", {"moment": f"{older_than}+00"}
    )
    return len(rows.fetchall())


def _remove_unfinished(lake: Lake, older_than: datetime) -> int:
    """Delete what killed runs were about to write; DuckLake looks at Parquet files alone."""
    removed = 0
    if not isinstance(lake.data, Path):
        # An object is there whole or not at all.
        return removed
    for path in Path(lake.data / PROCESSED_DATA.name).rglob(".*.partial"):
        # A family's step may just have put it in its place.
        with suppress(FileNotFoundError):
            if datetime.fromtimestamp(path.stat().st_mtime, UTC).replace(tzinfo=None) < older_than:
                path.unlink()
                removed += 1
    return removed
