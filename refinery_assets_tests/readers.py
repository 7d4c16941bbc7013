"""Readers of a read copy as a process of its own: threads that open it, query it and hold it, over and over.

    python -m refinery_assets_tests.readers COPY THREADS

They read until the process's input ends. It says `reading` when each thread has read once, and at the end, as
JSON, what was seen; anything wrong ends it with an error.
"""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import duckdb

MONTHS = 3
ROWS = 2_000
"""Of each month."""

_QUERIES_WHILE_HELD = 3
# Each thread holds what it opened for so many seconds more than the one before.
_PAUSE_STEP_SECONDS = 0.2


class WrongStateError(Exception):
    """A reader saw what no publication left."""


def publish(warehouse: Path, number: int) -> None:
    """Replace one of the months in one transaction, each of its rows marked with the publication's number."""
    month = number % MONTHS
    with duckdb.connect(warehouse) as connection:
        connection.execute("BEGIN")
        connection.execute("CREATE TABLE IF NOT EXISTS published (month INTEGER, row INTEGER, mark INTEGER)")
        connection.execute("CREATE TABLE IF NOT EXISTS receipts (month INTEGER, mark INTEGER)")
        connection.execute("DELETE FROM published WHERE month = $month", {"month": month})
        connection.execute(
            "INSERT INTO published SELECT $month, range, $mark FROM range($rows)",
            {"month": month, "mark": number, "rows": ROWS},
        )
        connection.execute("INSERT INTO receipts VALUES ($month, $mark)", {"month": month, "mark": number})
        connection.execute("COMMIT")


def state(connection: duckdb.DuckDBPyConnection) -> int:
    """The number of the newest publication, when all months are as it left them.

    Raises:
        WrongStateError: A month is torn, or of another publication than its receipt says.
    """
    found = connection.execute(
        """
        SELECT month, min(p.mark), max(p.mark), count(*), sum(p.row),
            (SELECT max(r.mark) FROM receipts r WHERE r.month = p.month)
        FROM published p GROUP BY month ORDER BY max(p.mark)
        """
    ).fetchall()
    newest = int(found[-1][2])
    expected = [
        (number % MONTHS, number, number, ROWS, ROWS * (ROWS - 1) // 2, number)
        for number in range(newest - MONTHS + 1, newest + 1)
    ]
    if found != expected:
        raise WrongStateError(f"found {found}, expected {expected}")
    return newest


@contextmanager
def _opened(copy: Path, *, shared: bool) -> Iterator[duckdb.DuckDBPyConnection]:
    """Within a process, DuckDB shares what `connect` opened among all who have it open; `ATTACH` does not."""
    if shared:
        with duckdb.connect(copy, read_only=True) as connection:
            yield connection
    else:
        with duckdb.connect() as connection:
            connection.execute(f"ATTACH '{copy}' AS copy (READ_ONLY)")
            connection.execute("USE copy")
            yield connection


def _read(copy: Path, number: int, has_read: threading.Barrier, ended: threading.Event, *, shared: bool) -> list[int]:
    seen: list[int] = []
    while not ended.is_set():
        with _opened(copy, shared=shared) as connection:
            held = []
            for _ in range(_QUERIES_WHILE_HELD):
                held.append(state(connection))
                ended.wait((number + 1) * _PAUSE_STEP_SECONDS / _QUERIES_WHILE_HELD)
        if len(set(held)) > 1:
            raise WrongStateError(f"the state changed while it was held: {held}")
        if not seen:
            has_read.wait()
        seen.append(held[0])
    if seen != sorted(seen):
        raise WrongStateError(f"an older state came after a newer one: {seen}")
    return seen


def main(copy: Path, threads: int) -> None:
    """Read until the input ends."""
    ended = threading.Event()
    has_read = threading.Barrier(threads, action=lambda: _say("reading"))
    with ThreadPoolExecutor(threads) as pool:
        readers = [
            pool.submit(_read, copy, number, has_read, ended, shared=number % 2 == 0) for number in range(threads)
        ]
        sys.stdin.read()
        ended.set()
        # A reader that failed before all had read would leave the others waiting.
        has_read.abort()
        seen = [each.result() for each in readers]
    _say(json.dumps({"reads": sum(len(each) for each in seen), "states": len(set().union(*seen))}))


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
