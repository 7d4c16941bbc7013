"""Dagster's event log in SQLite: its connections kept open, the events of many months stored together.

Dagster records every month of an asset as planned and as materialized, and every month of a check as planned
and as evaluated, each in two files. Its stock storage builds an engine, a connection and the text of each
statement anew for every single event: with it, a run over 36 months takes 1.9 times the CPU time. The files, the
tables and what stands in them are the stock storage's own, so `dagster.yaml` may name either.

Here: how the files are opened, and how many events are stored at once. Not here: what is stored.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from dagster import DagsterEventType, EventLogEntry
from dagster._core.events import ASSET_EVENTS
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecordStatus
from dagster._core.storage.event_log import SqliteEventLogStorage
from dagster._core.storage.event_log.schema import AssetCheckExecutionsTable, SqlEventLogStorageTable
from dagster._core.storage.event_log.sqlite.sqlite_event_log import INDEX_SHARD_NAME
from dagster._core.storage.sqlite import SQLITE_BUSY_TIMEOUT_SECONDS
from dagster._serdes import ConfigurableClassData
from sqlalchemy import Connection, Engine, bindparam, create_engine, select
from sqlalchemy.event import listen
from sqlalchemy.pool import QueuePool

_CHECKS = AssetCheckExecutionsTable
_KEY = ("asset_key", "check_name", "run_id", "partition")
_UPDATE_CHECK = (
    _CHECKS.update()
    # The partition of a check that has none is null.
    .where(*(_CHECKS.c[name].is_not_distinct_from(bindparam(f"its_{name}")) for name in _KEY))
    .values(
        {
            name: bindparam(name)
            for name in (
                "execution_status",
                "evaluation_event",
                "evaluation_event_timestamp",
                "evaluation_event_storage_id",
                "materialization_event_storage_id",
            )
        }
    )
)
_PLANNED = DagsterEventType.ASSET_CHECK_EVALUATION_PLANNED
_EVALUATED = DagsterEventType.ASSET_CHECK_EVALUATION
_SUCCEEDED = AssetCheckExecutionRecordStatus.SUCCEEDED
_FAILED = AssetCheckExecutionRecordStatus.FAILED
_IN_INDEX = {*ASSET_EVENTS, _PLANNED, _EVALUATED}


class KeptOpenEventLog(SqliteEventLogStorage):
    """The stock storage, except that two connections stay open: the index's and that of one run."""

    def __init__(self, base_dir: str, inst_data: ConfigurableClassData | None = None) -> None:
        self._engines: dict[str, Engine] = {}
        self._begun: dict[str, Connection] = {}
        self._tables: set[str] = set()
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

    def has_table(self, table_name: str) -> bool:
        """Whether the index has the table; looked up until it has, because none is ever dropped."""
        if table_name not in self._tables and super().has_table(table_name):
            self._tables.add(table_name)
        return table_name in self._tables

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
        rows = [self._event_to_row(event) for event in events]
        run_file.execute(SqlEventLogStorageTable.insert(), rows)
        ids = index.scalars(
            SqlEventLogStorageTable.insert().returning(SqlEventLogStorageTable.c.id, sort_by_parameter_order=True),
            rows,
        )
        stored = [_Stored(event, row, event_id) for event, row, event_id in zip(events, rows, ids, strict=True)]
        self._note_assets(index, [one for one in stored if one.event.dagster_event_type in ASSET_EVENTS])
        _note_planned_checks(index, [one for one in stored if one.event.dagster_event_type is _PLANNED])
        _note_evaluations(index, [one for one in stored if one.event.dagster_event_type is _EVALUATED])

    def _note_assets(self, index: Connection, stored: Sequence[_Stored]) -> None:
        self._store_asset_event_tags(index, [one.event for one in stored], [one.event_id for one in stored])
        # In the list of assets stands nothing but the last event of a type.
        latest = {(one.event.get_dagster_event().asset_key, one.event.dagster_event_type): one for one in stored}
        for one in latest.values():
            self._store_asset_event(index, one.event, one.event_id)

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
    return event.is_dagster_event and event.dagster_event_type in _IN_INDEX


@dataclass(frozen=True)
class _Stored:
    event: EventLogEntry
    row: Mapping[str, Any]
    event_id: int


def _note_planned_checks(index: Connection, stored: Sequence[_Stored]) -> None:
    rows = []
    for one in stored:
        planned = one.event.get_dagster_event().asset_check_planned_data
        months = planned.partitions_subset.get_partition_keys() if planned.partitions_subset else [None]
        rows += [
            {
                "asset_key": planned.asset_key.to_string(),
                "check_name": planned.check_name,
                "partition": month,
                "execution_status": AssetCheckExecutionRecordStatus.PLANNED.value,
                **_of_check_event(one),
            }
            for month in months
        ]
    if rows:
        index.execute(_CHECKS.insert(), rows)


def _note_evaluations(index: Connection, stored: Sequence[_Stored]) -> None:
    """Put the evaluations into the rows that were planned for them; make rows for the others."""
    rows: dict[tuple[str, str, str, str | None], dict[str, Any]] = {}
    for one in stored:
        found = one.event.get_dagster_event().asset_check_evaluation_data
        status = _SUCCEEDED if found.passed else _FAILED
        target = found.target_materialization_data
        key = found.asset_key.to_string(), found.check_name, one.event.run_id, found.partition
        # A check that is evaluated again in the same run replaces what it said before.
        rows[key] = {
            "asset_key": key[0],
            "check_name": found.check_name,
            "partition": found.partition,
            "execution_status": status.value,
            "materialization_event_storage_id": target.storage_id if target else None,
            **_of_check_event(one),
        }
    if not rows:
        return
    planned = {
        tuple(row)
        for row in index.execute(
            select(*(_CHECKS.c[name] for name in _KEY)).where(
                _CHECKS.c.asset_key.in_({asset for asset, *_ in rows}),
                _CHECKS.c.check_name.in_({check for _, check, *_ in rows}),
                _CHECKS.c.run_id.in_({run_id for *_, run_id, _ in rows}),
            )
        )
    }
    if updates := [_under_key(row) for key, row in rows.items() if key in planned]:
        index.execute(_UPDATE_CHECK, updates)
    if inserts := [row for key, row in rows.items() if key not in planned]:
        index.execute(_CHECKS.insert(), inserts)


def _of_check_event(one: _Stored) -> dict[str, Any]:
    return {
        "run_id": one.row["run_id"],
        "evaluation_event": one.row["event"],
        "evaluation_event_timestamp": one.row["timestamp"],
        "evaluation_event_storage_id": one.event_id,
    }


def _under_key(row: Mapping[str, Any]) -> dict[str, Any]:
    return {f"its_{name}" if name in _KEY else name: value for name, value in row.items()}
