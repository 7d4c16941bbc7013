"""Dagster's event log in SQLite: its connections kept open, the events of many months stored together.

Dagster notes every month of an asset as planned and as materialized, each in two files, and its stock
storage builds an engine, a connection and the text of each statement anew for every single event: over a
history of 36 months that is half of the time that the run takes. The files, the tables and what stands in
them are the stock storage's own, so `data/dagster/dagster.yaml` may name either.

Here: how the files are opened, and how many events are stored at once. Not here: what is stored.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path

from dagster import AssetKey, EventLogEntry
from dagster._config import StringSource, UserConfigSchema
from dagster._core.events import ASSET_EVENTS
from dagster._core.storage.event_log import SqliteEventLogStorage
from dagster._core.storage.event_log.sqlite.sqlite_event_log import INDEX_SHARD_NAME
from dagster._core.storage.sqlite import SQLITE_BUSY_TIMEOUT_SECONDS
from dagster._serdes import ConfigurableClassData
from sqlalchemy import Connection, Engine, create_engine
from sqlalchemy.event import listen
from sqlalchemy.pool import QueuePool


class KeptOpenEventLog(SqliteEventLogStorage):
    """The stock storage, but for two connections that stay open: the index's, and that of one run."""

    def __init__(self, base_dir: str, inst_data: ConfigurableClassData | None = None) -> None:
        self._engines: dict[str, Engine] = {}
        self._begun: dict[str, Connection] = {}
        self._tables: set[str] = set()
        super().__init__(base_dir, inst_data)
        # A thread that has begun a transaction may go on in it; the others wait.
        self._db_lock = threading.RLock()  # type: ignore[assignment]  # the stock storage's never nests

    @classmethod
    def config_type(cls) -> UserConfigSchema:
        """The folder that the instance lies in."""
        return {"dagster_home": StringSource}

    @classmethod
    def from_config_value(  # type: ignore[override]  # the stock storage narrows the type
        cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, str]
    ) -> KeptOpenEventLog:
        """Open the log where Dagster keeps it in its home."""
        # Dagster hands over the events of many months together only where it is told so, and only by this.
        os.environ.setdefault("DAGSTER_EVENT_BATCH_SIZE", "1000")
        return cls(str(Path(config_value["dagster_home"], "history", "runs")), inst_data)

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

    def has_table(self, table_name: str) -> bool:
        """Whether the index has the table; looked up until it has, because none is ever dropped."""
        if table_name not in self._tables and super().has_table(table_name):
            self._tables.add(table_name)
        return table_name in self._tables

    def store_event(self, event: EventLogEntry) -> None:
        """Store an event, and let those know who follow the run."""
        super().store_event(event)
        self._tell(event.run_id)

    def store_event_batch(self, events: Sequence[EventLogEntry]) -> None:
        """Store events in order; those that follow each other for a run in one transaction a file."""
        for (run_id, is_of_assets), group in groupby(events, key=_kind):
            with self.run_connection(run_id) as run_file, self.index_connection() as index:
                if is_of_assets:
                    self._store_asset_events(run_file, index, list(group))
                else:
                    for event in group:
                        super().store_event(event)
            self._tell(run_id)

    def _tell(self, run_id: str) -> None:
        # The webserver watches the run's file, which stays as it is while the event is in the write-ahead log
        # beside it.
        os.utime(self.path_for_shard(run_id))

    def _store_asset_events(
        self, run_file: Connection, index: Connection, events: Sequence[EventLogEntry]
    ) -> None:
        run_file.execute(self.prepare_insert_event_batch(events))
        latest: dict[tuple[AssetKey | None, str], tuple[EventLogEntry, int]] = {}
        ids = []
        for event in events:
            stored = index.execute(self.prepare_insert_event(event))
            event_id = stored.inserted_primary_key[0]  # type: ignore[index]  # an insert has one
            ids.append(event_id)
            told = event.get_dagster_event()
            latest[told.asset_key, told.event_type_value] = event, event_id
        self._store_asset_event_tags(index, events, ids)
        # In the list of assets stands nothing but the last event of a type.
        for event, event_id in latest.values():
            self._store_asset_event(index, event, event_id)

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


def _kind(event: EventLogEntry) -> tuple[str, bool]:
    return event.run_id, event.is_dagster_event and event.dagster_event_type in ASSET_EVENTS
