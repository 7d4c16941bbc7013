"""What several writers of one lake owe each other.

DuckLake lets any number of transactions commit, and fails the one that was overtaken: a writer that deletes rows
overtakes all that write to the same table. Such a loss is repeated here, for what is written depends on what stands.
It does not notice two that each publish a month which neither has seen yet; so a month is locked while it is published,
by an advisory lock of PostgreSQL. That ends with its process, or with its session alone, which is therefore asked for a
sign of life before a commit. Here: both. Not here: what is written (`publish.py`, `audits.py`).
"""

from __future__ import annotations

import fcntl
import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any, TypeVar

import duckdb

from refinery_assets.checks.rules import listing
from refinery_assets.contract.lake import Catalog, Lake
from refinery_assets.contract.months import Month
from refinery_assets.warehouse.audits import record_abandoned
from refinery_assets.warehouse.lake import quoted
from refinery_assets.warehouse.ledger import RunLedger
from refinery_assets.warehouse.storage import WarehouseHeldError
from refinery_assets.warehouse.tables import LostRaceError

MOST_ATTEMPTS = 8
ATTEMPTS_AMONG_OTHERS = 3
"""After so many lost races a writer asks the others to wait, so that it cannot lose to them for ever."""

_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.25, 8.0
_POLL_SECONDS = 0.1
# PostgreSQL takes 0 for no limit at all, and no more than an integer holds.
_LEAST_MILLISECONDS, _MOST_MILLISECONDS = 1, 2**31 - 1
# The locks of PostgreSQL have two numbers. The first says that they are the refinery's, the second what is locked.
_OURS = 0x52465259
_WHOLE_LAKE = 0
_LEDGERS = 1
_LATCH = "latch"

Result = TypeVar("Result")
StillLocked = Callable[[], None]
"""Raises `duckdb.Error` where the session that holds the locks has ended, and others may be at the same months."""


def publish_in_turn(  # noqa: PLR0913 - what there is to agree on
    connection: duckdb.DuckDBPyConnection,
    place: Path | Lake,
    months: Sequence[Month],
    work: Callable[[StillLocked], Result],
    *,
    wait_seconds: float,
    warn: Callable[[str], None],
) -> Result:
    """Do `work`, which publishes `months`, and repeat it where another writer was faster; with a file, simply do it.

    Args:
        connection: The warehouse.
        place: Which one that is.
        months: What `work` writes to.
        work: The work; it leaves nothing behind when it raises, and is given what it has to call before it commits.
        wait_seconds: How long to wait for others that publish one of the months.
        warn: Called with a sentence for each lost race.

    Raises:
        LostRaceError: Others were faster every time.
        WarehouseHeldError: Another process went on publishing one of the months.
        duckdb.Error: PostgreSQL went away, or ended the session that holds the locks.
    """
    if not isinstance(place, Lake):
        return work(_no_lock)
    attempt = 1
    while True:
        alone = attempt > ATTEMPTS_AMONG_OTHERS
        with locked(connection, place, months, alone=alone, wait_seconds=wait_seconds) as still_locked:
            try:
                return work(still_locked)
            except LostRaceError:
                if attempt == MOST_ATTEMPTS:
                    raise
        # Drawn at random, so that two that collided do not collide again.
        longest = min(_LONGEST_PAUSE_SECONDS, _FIRST_PAUSE_SECONDS * 2**attempt)
        pause = random.uniform(0, longest)  # noqa: S311 - nobody is to be kept from guessing it
        attempt += 1
        warn(
            f"Another writer of the lake was faster; nothing was written. Trying again in {pause:.1f} s (attempt "
            f"{attempt} of {MOST_ATTEMPTS})."
        )
        time.sleep(pause)


def record_abandoned_in_turn(connection: duckdb.DuckDBPyConnection, place: Path | Lake, ledger: RunLedger) -> None:
    """Have `record_abandoned` done by one process at a time, for DuckLake lets all of them add the same verdicts.

    Where another one is at it, or maintains the lake, it is left to that one or to a later run.

    Raises:
        LostRaceError: Another writer of the lake was first.
    """
    if next(ledger.abandoned(), None) is None:
        return
    if not isinstance(place, Lake):
        record_abandoned(connection, ledger)
        return
    with (
        suppress(WarehouseHeldError),
        locked(connection, place, [], alone=False, ledgers=True, wait_seconds=0.0),
    ):
        record_abandoned(connection, ledger)


@contextmanager
def locked(  # noqa: PLR0913 - what there is to lock
    connection: duckdb.DuckDBPyConnection,
    lake: Lake,
    months: Sequence[Month],
    *,
    alone: bool,
    wait_seconds: float,
    ledgers: bool = False,
) -> Iterator[StillLocked]:
    """Keep others from publishing the same months, or `alone`, or with a catalog in a file, from publishing at all.

    Gives what to call to be sure that they are still kept from it.

    Args:
        connection: The lake.
        lake: Which one that is.
        months: What is published meanwhile.
        alone: Whether nobody else may publish meanwhile.
        wait_seconds: How long to wait for others.
        ledgers: Whether the ledgers of dead runs are taken into `audits` meanwhile.

    Raises:
        WarehouseHeldError: Another process has a month, or publishes at all, for longer than `wait_seconds`.
    """
    if lake.file is not None:
        # DuckDB itself lets one process at a time open a file of its own.
        with _file_locked(lake, lake.file, wait_seconds) if lake.catalog is Catalog.SQLITE else nullcontext():
            yield _no_lock
        return
    connection.execute(f"ATTACH IF NOT EXISTS {quoted(lake.place)} AS {_LATCH} (TYPE postgres)")
    # A transaction of its own in PostgreSQL, beside the lake's; the locks end with it.
    holder = connection.cursor()
    try:
        if alone:
            _wait_for_all_others(holder, lake, wait_seconds)
        else:
            _wait(lambda: _held_by_others(holder, lake, months, ledgers=ledgers), wait_seconds)
        yield lambda: _must_be_alive(holder)
    finally:
        # Before it is closed, which would abort the process where PostgreSQL is gone.
        with suppress(duckdb.Error):
            holder.execute("ROLLBACK")
        holder.close()


@contextmanager
def _file_locked(lake: Lake, file: Path, wait_seconds: float) -> Iterator[None]:
    """Have a catalog in SQLite to oneself, which otherwise lets several processes in."""
    # A file beside it, for SQLite locks its own.
    with file.with_name(f"{file.name}.lock").open("w") as lock:

        def held_by_another() -> str:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return f"publishing in the lake {lake}, or maintaining it,"
            return ""

        _wait(held_by_another, wait_seconds)
        yield


def _wait(held_by_others: Callable[[], str], wait_seconds: float) -> None:
    """Ask for locks until they are taken; what is asked says what others are doing, and nothing once they are.

    Raises:
        WarehouseHeldError: They are not to be had in time.
    """
    deadline = time.monotonic() + wait_seconds
    while held := held_by_others():
        if time.monotonic() >= deadline:
            raise _still(held, wait_seconds)
        time.sleep(_POLL_SECONDS)


def _wait_for_all_others(holder: duckdb.DuckDBPyConnection, lake: Lake, wait_seconds: float) -> None:
    """Take the lock of the whole lake, which everybody shares who publishes.

    Waiting in PostgreSQL's own queue, unlike asking for it again and again, keeps out who comes later: of many that
    publish, there is always one.

    Raises:
        WarehouseHeldError: It is not to be had in time.
    """
    limit = int(min(max(wait_seconds * 1000, _LEAST_MILLISECONDS), _MOST_MILLISECONDS))
    holder.execute("BEGIN")
    _ask(holder, f"SELECT set_config('lock_timeout', '{limit}', true)")
    try:
        # As text, for DuckDB knows no void.
        _ask(holder, f"SELECT pg_advisory_xact_lock({_OURS}, {_WHOLE_LAKE})::text")
    except duckdb.Error as error:
        if "lock timeout" not in str(error):
            raise
        raise _still(f"publishing a month in the lake {lake}, or maintaining it,", wait_seconds) from error


def _held_by_others(holder: duckdb.DuckDBPyConnection, lake: Lake, months: Sequence[Month], *, ledgers: bool) -> str:
    """Take all locks or none; what others who hold them are doing, in words, and nothing where they were taken."""
    numbers = {month.year * 12 + month.month: month for month in months}
    # Numbers of ours alone; a query that is handed on to PostgreSQL takes no parameters.
    wanted = ", ".join(map(str, [*([_LEDGERS] if ledgers else []), *sorted(numbers)]))
    query = f"""
        SELECT {_WHOLE_LAKE} AS number, pg_try_advisory_xact_lock_shared({_OURS}, {_WHOLE_LAKE}) AS taken UNION ALL
        SELECT number, pg_try_advisory_xact_lock({_OURS}, number) FROM unnest(ARRAY[{wanted}]::int[]) number
    """  # noqa: S608 - numbers
    holder.execute("BEGIN")
    held = [number for number, taken in _ask(holder, query) if not taken]
    if not held:
        return ""
    # Whoever waits holds nothing, so that two cannot wait for each other.
    holder.execute("ROLLBACK")
    if published := [numbers[number] for number in held if number in numbers]:
        return f"publishing {listing(published)} in the lake {lake}"
    if _LEDGERS in held:
        return f"taking over what dead runs of the lake {lake} found"
    # Publishers share the lock of the whole lake, so that it is somebody who has it alone, or waits for that.
    return f"maintaining the lake {lake}, or publishing in it alone,"


def _ask(holder: duckdb.DuckDBPyConnection, query: str) -> list[tuple[Any, ...]]:
    """Ask PostgreSQL, in the transaction that holds the locks."""
    return holder.execute(f"FROM postgres_query('{_LATCH}', {quoted(query)})").fetchall()


def _must_be_alive(holder: duckdb.DuckDBPyConnection) -> None:
    _ask(holder, "SELECT 1")


def _no_lock() -> None:
    """A file, and the lock on one, is held as long as the process lives."""


def _still(held: str, wait_seconds: float) -> WarehouseHeldError:
    return WarehouseHeldError(
        f"Another process is still {held} after {wait_seconds:g} s; wait for it to end, and run again."
    )
