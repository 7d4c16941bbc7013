"""Rows of Dagster's event log for many events at once.

Dagster stores the evaluations of checks one by one, with four statements each: a run over 36 months has more than a
thousand. Here: the statements for many. Not here: which files or database they go to (`event_log.py`,
`postgres_storage.py`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from dagster import DagsterEventType, EventLogEntry
from dagster._core.events import ASSET_EVENTS
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecordStatus
from dagster._core.storage.event_log import SqlEventLogStorage
from dagster._core.storage.event_log.schema import AssetCheckExecutionsTable, SqlEventLogStorageTable
from sqlalchemy import Connection, bindparam, select

_CHECKS = AssetCheckExecutionsTable
_KEY = ("asset_key", "check_name", "run_id", "partition")
_UPDATE_CHECK = (
    _CHECKS.update()
    .where(
        *(_CHECKS.c[name] == bindparam(f"its_{name}") for name in _KEY if name != "partition"),
        # The partition of a check that has none is null.
        _CHECKS.c.partition.is_not_distinct_from(bindparam("its_partition")),
    )
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
INDEXED_EVENTS = frozenset({*ASSET_EVENTS, _PLANNED, _EVALUATED})
"""The events that more than the table of events has rows of."""


class StoresTogether(SqlEventLogStorage):
    """A storage whose `store_event_batch` takes events of any kind together."""

    @cached_property
    def _tables(self) -> set[str]:
        return set()

    def has_table(self, table_name: str) -> bool:
        """Whether there is the table; looked up until there is, because none is ever dropped."""
        if table_name not in self._tables and super().has_table(table_name):  # type: ignore[safe-super]  # there is one
            self._tables.add(table_name)
        return table_name in self._tables

    def _insert_together(self, connection: Connection, events: Sequence[EventLogEntry]) -> list[_Stored]:
        """Store events in order, in the table of events alone; one statement for a thousand of them."""
        rows = [self._event_to_row(event) for event in events]
        ids = connection.scalars(
            SqlEventLogStorageTable.insert().returning(SqlEventLogStorageTable.c.id, sort_by_parameter_order=True),
            rows,
        )
        return [_Stored(event, row, event_id) for event, row, event_id in zip(events, rows, ids, strict=True)]

    def _note_together(self, index: Connection, stored: Sequence[_Stored]) -> None:
        """Note events in the other tables of the index, in the transaction at hand."""
        self._note_assets(index, [one for one in stored if one.type in ASSET_EVENTS])
        _note_planned_checks(index, [one for one in stored if one.type is _PLANNED])
        _note_evaluations(index, [one for one in stored if one.type is _EVALUATED])

    def _note_assets(self, index: Connection, stored: Sequence[_Stored]) -> None:
        self._store_asset_event_tags(index, [one.event for one in stored], [one.event_id for one in stored])
        # In the list of assets stands nothing but the last event of a type; the last of all goes last.
        latest = {(one.event.get_dagster_event().asset_key, one.type): one for one in stored}
        for one in sorted(latest.values(), key=lambda one: one.event_id):
            self._store_asset_event(index, one.event, one.event_id)


@dataclass(frozen=True)
class _Stored:
    event: EventLogEntry
    row: Mapping[str, Any]
    event_id: int

    @property
    def type(self) -> DagsterEventType | None:
        return self.event.dagster_event_type if self.event.is_dagster_event else None


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
