"""Dagster's event log in SQLite, with its connections kept open.

Dagster stores every materialized month as four events in two files, and its stock storage builds an engine,
a connection and the text of each statement anew for every single one: over a history of 36 months, 528
events, that is half of the time that the run takes. The files, the tables and what stands in them are the
stock storage's own, so `data/dagster/dagster.yaml` may name either.

Here: how the files are opened. Not here: anything that is stored.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from dagster import EventLogEntry
from dagster._config import StringSource, UserConfigSchema
from dagster._core.storage.event_log import SqliteEventLogStorage
from dagster._core.storage.event_log.sqlite.sqlite_event_log import INDEX_SHARD_NAME
from dagster._core.storage.sqlite import SQLITE_BUSY_TIMEOUT_SECONDS
from dagster._serdes import ConfigurableClassData
from sqlalchemy import Connection, Engine, create_engine
from sqlalchemy.pool import QueuePool


class KeptOpenEventLog(SqliteEventLogStorage):
    """The stock storage, but for two connections that stay open: the index's, and that of one run."""

    def __init__(self, base_dir: str, inst_data: ConfigurableClassData | None = None) -> None:
        self._engines: dict[str, Engine] = {}
        super().__init__(base_dir, inst_data)

    @classmethod
    def config_type(cls) -> UserConfigSchema:
        """The folder that the instance lies in."""
        return {"dagster_home": StringSource}

    @classmethod
    def from_config_value(  # type: ignore[override]  # the stock storage narrows the type
        cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, str]
    ) -> KeptOpenEventLog:
        """Open the log where Dagster keeps it in its home."""
        return cls(str(Path(config_value["dagster_home"], "history", "runs")), inst_data)

    @contextmanager
    def _connect(self, shard: str) -> Iterator[Connection]:
        with self._db_lock:
            engine = self._engine(shard)
            if shard not in self._initialized_dbs:
                self._initdb(engine)
                self._initialized_dbs.add(shard)
            with engine.begin() as connection:
                yield connection

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
        return self._engines[shard]

    def store_event(self, event: EventLogEntry) -> None:
        """Store an event, and let those know who follow the run."""
        super().store_event(event)
        # The webserver watches the run's file, which stays as it is while the event is in the write-ahead log
        # beside it.
        os.utime(self.path_for_shard(event.run_id))

    def dispose(self) -> None:
        """Close the files."""
        super().dispose()
        for engine in self._engines.values():
            engine.dispose()
        self._engines.clear()
