"""Dagster's storage in PostgreSQL, with the events of many months stored together; needs the extra `postgres`.

Tables and rows are those of the stock storage, so `dagster.yaml` may name either, on one machine this and on another
that. Here: storing events, and connections that are kept. Not here: the rows of events (`event_batches.py`).
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from dagster import EventLogEntry
from dagster._serdes import ConfigurableClassData
from sqlalchemy import Engine
from sqlalchemy.event import listen

from refinery_assets.operations.event_batches import StoresTogether
from refinery_assets.operations.extras import imports_of_extra

with imports_of_extra("postgres"):
    from dagster_postgres import (
        DagsterPostgresStorage,
        PostgresEventLogStorage,
        PostgresRunStorage,
        PostgresScheduleStorage,
    )
    from dagster_postgres.utils import (
        create_pg_engine,
        get_token_provider_from_config,
        pg_url_from_config,
        set_pg_statement_timeout,
    )

if TYPE_CHECKING:
    from dagster_postgres.auth import PgTokenProvider


class _TriesKeptConnections:
    """A part of the storage that keeps a connection open in webservers and runs, and tries it before each use.

    The stock storage does not, and the first statement after a restart of the server would fail the run.
    """

    postgres_url: str
    _token_provider: PgTokenProvider | None
    _engine: Engine

    def optimize_for_webserver(self, statement_timeout: int, pool_recycle: int, max_overflow: int) -> None:
        """Keep a connection open."""
        self._engine = create_pg_engine(
            self.postgres_url,
            self._token_provider,
            isolation_level="AUTOCOMMIT",
            pool_size=1,
            pool_recycle=pool_recycle,
            max_overflow=max_overflow,
            pool_pre_ping=True,
        )
        listen(self._engine, "connect", lambda connection, _: set_pg_statement_timeout(connection, statement_timeout))


class PostgresRuns(_TriesKeptConnections, PostgresRunStorage):
    """The stock storage, except for connections that are kept."""


class PostgresEventLog(_TriesKeptConnections, StoresTogether, PostgresEventLogStorage):
    """The stock storage, except for connections that are kept and for events that come together."""

    def store_event_batch(self, events: Sequence[EventLogEntry]) -> None:
        """Store events in order: as the stock storage does, first the events, and then what other tables note of them.

        Dagster's daemon follows a backfill by the ids of events and never looks back, so an event must not come to
        light long after it got its id, as it would in a transaction that goes on to other tables.
        """
        # As in the stock storage, too.
        kept = [one for one in events if not (one.dagster_event and one.dagster_event.is_asset_failed_to_materialize)]
        if not kept:
            return
        with self.index_connection() as connection:
            stored = self._insert_together(connection, kept)
        with self.index_transaction() as connection:
            self._note_together(connection, stored)


class RefineryPostgresStorage(DagsterPostgresStorage):
    """The stock storage, but for runs and events; named by the files `dagster.yaml` below `deploy`."""

    def __init__(
        self,
        postgres_url: str,
        should_autocreate_tables: bool = True,  # noqa: FBT001, FBT002 - as the stock storage has it
        inst_data: ConfigurableClassData | None = None,
        token_provider: PgTokenProvider | None = None,
    ) -> None:
        # The stock storage's own parts connect only to make tables, and all of them are replaced.
        super().__init__(postgres_url, should_autocreate_tables=False, inst_data=inst_data)
        self.should_autocreate_tables = should_autocreate_tables
        # Dagster hands over the events of many months together only where it is asked to, and only in this way.
        os.environ.setdefault("DAGSTER_EVENT_BATCH_SIZE", "1000")
        # Its daemon waits so many seconds for events that already have an id and that nobody sees yet.
        os.environ.setdefault("ASSET_BACKFILL_CURSOR_DELAY_TIME", "1")
        self._run_storage = PostgresRuns(postgres_url, should_autocreate_tables, token_provider=token_provider)
        self._event_log_storage = PostgresEventLog(
            postgres_url, should_autocreate_tables, token_provider=token_provider
        )
        self._schedule_storage = PostgresScheduleStorage(
            postgres_url, should_autocreate_tables, token_provider=token_provider
        )

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]
    ) -> RefineryPostgresStorage:
        """As Dagster opens the storage that its `dagster.yaml` names."""
        return cls(
            with_client(pg_url_from_config(config_value)),
            config_value.get("should_autocreate_tables", True),
            inst_data,
            get_token_provider_from_config(config_value),
        )


def with_client(url: str) -> str:
    """The URL with the client that is installed, where it names none: SQLAlchemy 2.1 would take another one."""
    return re.sub(r"^postgres(ql)?://", "postgresql+psycopg2://", url)
