"""Dagster's storage in PostgreSQL, with the events of many months stored together; needs the extra `postgres`.

Tables and rows are those of the stock storage, so `dagster.yaml` may name either, on one machine this and on another
that. Here: the events. Not here: their rows (`event_batches.py`).
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from dagster import EventLogEntry
from dagster._serdes import ConfigurableClassData
from dagster_postgres import DagsterPostgresStorage, PostgresEventLogStorage
from dagster_postgres.utils import get_token_provider_from_config, pg_url_from_config

from refinery_assets.operations.event_batches import StoresTogether

if TYPE_CHECKING:
    from dagster_postgres.auth import PgTokenProvider


class PostgresEventLog(StoresTogether, PostgresEventLogStorage):
    """The stock storage, except that events that come together are stored in one transaction."""

    @cached_property
    def _tables(self) -> set[str]:
        return set()

    def has_table(self, table_name: str) -> bool:
        """Whether there is the table; looked up until there is, because none is ever dropped."""
        if table_name not in self._tables and super().has_table(table_name):
            self._tables.add(table_name)
        return table_name in self._tables

    def store_event_batch(self, events: Sequence[EventLogEntry]) -> None:
        """Store events in order, in one transaction."""
        with self.index_transaction() as connection:
            self._store_together(connection, events)


class RefineryPostgresStorage(DagsterPostgresStorage):
    """The stock storage, but for the event log; named by the files `dagster.yaml` below `deploy`."""

    def __init__(
        self,
        postgres_url: str,
        should_autocreate_tables: bool = True,  # noqa: FBT001, FBT002 - as the stock storage has it
        inst_data: ConfigurableClassData | None = None,
        token_provider: PgTokenProvider | None = None,
    ) -> None:
        super().__init__(postgres_url, should_autocreate_tables, inst_data, token_provider)
        # Dagster hands over the events of many months together only where it is asked to, and only in this way.
        os.environ.setdefault("DAGSTER_EVENT_BATCH_SIZE", "1000")
        self._event_log_storage = PostgresEventLog(
            postgres_url, should_autocreate_tables, token_provider=token_provider
        )

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]
    ) -> RefineryPostgresStorage:
        """As Dagster opens the storage that its `dagster.yaml` names."""
        return cls(
            pg_url_from_config(config_value),
            config_value.get("should_autocreate_tables", True),
            inst_data,
            get_token_provider_from_config(config_value),
        )
