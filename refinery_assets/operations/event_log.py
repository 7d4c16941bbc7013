"""Dagster's event log in SQLite: its connections kept open, the events of many months stored together.

Dagster records every month of an asset as planned and as materialized, and every month of a check as planned
and as evaluated, each in two files. Its stock storage builds an engine, a connection and the text of each
statement anew for every single event: with it, a run over 36 months takes 1.9 times the CPU time. The files, the
tables and what stands in them are the stock storage's own, so `dagster.yaml` may name either.

Here: how the files are opened, and how many events are stored at once. Not here: the rows that events become
(`event_batches.py`).
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path

from dagster import EventLogEntry
from dagster._core.storage.event_log import SqliteEventLogStorage
from dagster._core.storage.event_log.schema import SqlEventLogStorageTable
from dagster._core.storage.event_log.sqlite.sqlite_event_log import INDEX_SHARD_NAME
from dagster._core.storage.sqlite import SQLITE_BUSY_TIMEOUT_SECONDS
from dagster._serdes import ConfigurableClassData
from sqlalchemy import Connection, Engine, create_engine
from sqlalchemy.event import listen
from sqlalchemy.pool import QueuePool

from refinery_assets.operations.event_batches import INDEXED_EVENTS, StoresTogether


class KeptOpenEventLog(StoresTogether, SqliteEventLogStorage):
    """The stock storage, except that two connections stay open: the index's and that of one run."""

    def __init__(self, base_dir: str, inst_data: ConfigurableClassData | None = None) -> None:
        self._engines: dict[str, Engine] = {}
        self._begun: dict[str, Connection] = {}
        super().__init__(base_dir, inst_data)
        # A thread that has begun a transaction may go on in it; the others wait.
        self._db_lock = threading.RLock()  # type: ignore[assignment]  # the stock storage's never nests

    @contextmanager
    def _connect(self, shard: str) -> Iterator[Connection]:
        with self._db_lock:
            if shard in self._begun:
                yield self._begun[shard]
                return
            engine = self._engine(shard)
            if shard not in self._initialized_dbs:
                self._initdb(engine)
                self._initialized_dbs.add(shard)
            with engine.begin() as connection:
                self._begun[shard] = connection
                try:
                    yield connection
                finally:
                    del self._begun[shard]

    def _engine(self, shard: str) -> Engine:
        is_there = Path(self.path_for_shard(shard)).exists()
        if shard in self._engines and is_there:
            return self._engines[shard]
        # A server reads many runs: one of them is kept, and none whose file was removed.
        for other in set(self._engines) - {INDEX_SHARD_NAME}:
            self._engines.pop(other).dispose()
        if not is_there:
            self._initialized_dbs.discard(shard)
        self._engines[shard] = create_engine(
            self.conn_string_for_shard(shard),
            poolclass=QueuePool,
            pool_size=1,
            # Threads take turns by the storage's own lock.
            connect_args={"timeout": SQLITE_BUSY_TIMEOUT_SECONDS, "check_same_thread": False},
        )
        listen(self._engines[shard], "connect", _spare_the_disk)
        return self._engines[shard]

    def store_event(self, event: EventLogEntry) -> None:
        """Store an event, and notify those who follow the run."""
        super().store_event(event)
        self._notify(event.run_id)

    def store_event_batch(self, events: Sequence[EventLogEntry]) -> None:
        """Store events in order, those of a run in one transaction a file."""
        for run_id, of_run in groupby(events, key=lambda event: event.run_id):
            with self.run_connection(run_id) as run_file, self.index_connection() as index:
                for is_in_index, group in groupby(of_run, key=_is_in_index):
                    if is_in_index:
                        self._store_in_both(run_file, index, list(group))
                    else:
                        for event in group:
                            super().store_event(event)
            self._notify(run_id)

    def _notify(self, run_id: str) -> None:
        # The webserver watches the run's file, which stays as it is while the event is in the write-ahead log
        # beside it.
        os.utime(self.path_for_shard(run_id))

    def _store_in_both(self, run_file: Connection, index: Connection, events: Sequence[EventLogEntry]) -> None:
        run_file.execute(SqlEventLogStorageTable.insert(), [self._event_to_row(event) for event in events])
        self._note_together(index, self._insert_together(index, events))

    def dispose(self) -> None:
        """Close the files."""
        super().dispose()
        for engine in self._engines.values():
            engine.dispose()
        self._engines.clear()


def _spare_the_disk(connection: sqlite3.Connection, _: object) -> None:
    # A write-ahead log stays whole without waiting for the disk at every event (sqlite.org/pragma.html,
    # synchronous): a killed process loses none, and only a machine that loses its power loses the last ones.
    # What is published is not in these files.
    connection.execute("PRAGMA synchronous = NORMAL")


def _is_in_index(event: EventLogEntry) -> bool:
    return event.is_dagster_event and event.dagster_event_type in INDEXED_EVENTS
