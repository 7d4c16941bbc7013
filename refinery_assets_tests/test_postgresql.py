"""Dagster's instance in a real PostgreSQL: the same events as in SQLite, no run judged by its process."""

from __future__ import annotations

import inspect
import os
import shutil
import subprocess
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import dagster as dg
import pytest
from dagster._core.definitions.events import (
    AssetMaterializationFailure,
    AssetMaterializationFailureReason,
    AssetMaterializationFailureType,
)
from dagster._core.events import DagsterEvent
from dagster._core.execution import asset_backfill
from dagster._core.utils import make_new_run_id
from dagster._serdes import serialize_value

from refinery_assets.build import build_defs
from refinery_assets.contract.settings import PROJECT_ROOT, Settings
from refinery_assets.operations.automation import REFINE
from refinery_assets.operations.event_batches import StoresTogether
from refinery_assets.operations.housekeeping import end_dead_runs
from refinery_assets.operations.partitions import range_tags
from refinery_assets.operations.processes import RunProcess
from refinery_assets.operations.runs import PROCESS_TAG, start_run
from refinery_assets_tests.events import MONTHS_PLANNED, judged
from refinery_assets_tests.installation import Installation
from refinery_assets_tests.postgresql import (
    ADMIN,
    PASSWORD,
    create_database,
    dagster_variables,
    postgresql_server,
    program,
    restart,
    run_sql,
)
from refinery_assets_tests.scenario import CPU, FEBRUARY, JANUARY, MARCH, Sandbox, settings_in
from refinery_assets_tests.workers import wait_until

dagster_postgres = pytest.importorskip("dagster_postgres", reason="the extra `postgres` is not installed")
pytestmark = [pytest.mark.heavy, pytest.mark.slow]


@pytest.fixture(scope="module")
def postgres() -> Iterator[Path]:
    with postgresql_server() as socket:
        yield socket


@contextmanager
def instance_in(socket: Path, database: str, home: Path, *, user: str = ADMIN) -> Iterator[dg.DagsterInstance]:
    """The instance of `deploy/postgres`, in a database of its own."""
    home.mkdir()
    shutil.copy(PROJECT_ROOT / "deploy" / "postgres" / "dagster.yaml", home)
    if user == ADMIN:
        create_database(socket, database)
    variables = dagster_variables(socket, database, user=user) | {"DAGSTER_HOME": str(home)}
    with patch.dict(os.environ, variables), dg.DagsterInstance.from_config(str(home)) as instance:
        yield instance


@pytest.fixture
def instance(postgres: Path, tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    with instance_in(postgres, tmp_path.name, tmp_path / "pg-home") as instance:
        yield instance


def told_of(instance: dg.DagsterInstance, run_id: str) -> Counter[tuple[object, ...]]:
    """All events of a run, each with what it is about; the order of steps is left to Dagster."""
    told: Counter[tuple[object, ...]] = Counter()
    for entry in instance.all_logs(run_id):
        event = entry.dagster_event
        if event is None:
            continue
        data = event.event_specific_data
        verdict = getattr(data, "check_name", None), getattr(data, "passed", None), getattr(data, "severity", None)
        told[event.event_type_value, event.step_key, str(event.asset_key), event.partition, *verdict] += 1
    return told


def shown_of(instance: dg.DagsterInstance, settings: Settings) -> dict[str, object]:
    """What the UI shows: the months that are materialized, and what each check says last of each month."""
    graph = build_defs(settings).resolve_asset_graph()
    months: dict[str, object] = {
        key.to_user_string(): sorted(instance.get_materialized_partitions(key)) for key in graph.get_all_asset_keys()
    }
    checks = instance.event_log_storage.get_asset_check_partition_info(list(graph.asset_check_keys))
    return months | {
        f"{info.check_key.asset_key.to_user_string()} {info.check_key.name} {info.partition_key}": str(
            info.latest_execution_status
        )
        for info in checks
    }


def test_a_run_with_a_refused_month_leaves_the_events_that_it_leaves_in_sqlite(
    installation: Installation,
    small_fleet: Path,
    postgres: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    shutil.copytree(small_fleet, tmp_path / "other")
    told, shown, started_again = [], [], []
    with installation.instance() as sqlite, instance_in(postgres, "events", tmp_path / "pg-home") as instance:
        sandboxes = Sandbox(installation.settings, sqlite), Sandbox(settings_in(tmp_path / "other"), instance)
        for sandbox in sandboxes:
            sandbox.file(CPU, FEBRUARY).path.write_text("cut off")

            months = [JANUARY, FEBRUARY, MARCH]
            outcome = start_run(sandbox.instance, build_defs(sandbox.settings), REFINE, months)

            assert not outcome.success
            told.append(told_of(sandbox.instance, outcome.run_id))
            run = sandbox.instance.get_run_by_id(outcome.run_id)
            assert run is not None
            started_again.append(run.tags.get("dagster/retry_strategy"))
            shown.append(shown_of(sandbox.instance, sandbox.settings))

    (sessions,) = run_sql(postgres, "postgres", "SELECT sessions FROM pg_stat_database WHERE datname = 'events'")[0]
    # There are about seventy; with a connection for each statement there would be four hundred.
    assert sessions < 150
    assert "Falling back" not in capfd.readouterr().err
    # A run whose worker died is to be started again with all steps, where Dagster does that at all.
    assert started_again == [None, "ALL_STEPS"]
    assert told[0] == told[1]
    assert shown[0] == shown[1]
    assert shown[1]["processed_data"] == ["2024-01", "2024-03"]
    assert sum("2024-02" in name for name in shown[1]) > 10


def elsewhere() -> dict[str, RunProcess]:
    """Processes that SQLite's housekeeping may take for ended, because it can look at them or thinks so."""
    here = RunProcess.current()
    assert here is not None
    ended = subprocess.Popen(["true"])
    ended.wait()
    return {
        "a clone of this machine": replace(here, boot="another boot"),
        "another host": replace(here, host="another-host"),
        "another PID namespace": replace(here, pid_namespace="pid:[1]", pid=ended.pid),
        "a process that has ended": replace(here, pid=ended.pid),
    }


def test_no_run_is_judged_by_its_process_in_a_storage_that_machines_share(instance: dg.DagsterInstance) -> None:
    job = dg.GraphDefinition("refine").to_job()
    for process in elsewhere().values():
        run_id = make_new_run_id()
        tags = {PROCESS_TAG: str(replace(process, run_id=run_id))}
        instance.create_run_for_job(job, run_id=run_id, status=dg.DagsterRunStatus.STARTED, tags=tags)

    assert end_dead_runs(instance) == []

    assert {run.status for run in instance.get_runs()} == {dg.DagsterRunStatus.STARTED}
    assert instance.run_monitoring_enabled
    assert instance.run_monitoring_max_runtime_seconds > 0


@pytest.mark.parametrize("scheme", ["postgresql+psycopg2", "postgresql", "postgres"])
def test_a_url_that_names_no_client_is_taken_for_the_one_that_is_installed(scheme: str) -> None:
    from refinery_assets.operations.postgres_storage import with_client  # noqa: PLC0415 - an extra

    assert with_client(f"{scheme}://dagster:x@db/dagster?sslmode=require") == (
        "postgresql+psycopg2://dagster:x@db/dagster?sslmode=require"
    )


def test_what_is_handed_to_a_worker_and_shown_in_the_ui_names_the_variable_and_not_the_password(
    instance: dg.DagsterInstance,
) -> None:
    handed_on = serialize_value(instance.get_ref())

    assert "DAGSTER_PG_URL" in handed_on
    assert PASSWORD not in handed_on
    assert PASSWORD not in instance.info_str()


def test_dagster_owns_its_database_a_reader_changes_nothing_and_nobody_else_gets_in(
    postgres: Path, tmp_path: Path
) -> None:
    psycopg2 = pytest.importorskip("psycopg2")
    roles = PROJECT_ROOT / "deploy" / "postgres" / "roles.sql"
    # New databases have a schema that is not their owner's, as they do before PostgreSQL 15.
    run_sql(postgres, "template1", f"ALTER SCHEMA public OWNER TO {ADMIN}")
    options = ["-X", "-v", "ON_ERROR_STOP=1", "-v", "dagster=one", "-v", "reader=other", "-f", str(roles)]
    subprocess.run([program("psql"), "-h", str(postgres), "-U", ADMIN, *options, "postgres"], check=True)
    run_sql(postgres, "postgres", "CREATE ROLE somebody LOGIN")

    with instance_in(postgres, "dagster", tmp_path / "pg-home", user="dagster") as instance:
        instance.create_run_for_job(dg.GraphDefinition("refine").to_job())

    assert run_sql(postgres, "dagster", "SELECT pipeline_name FROM runs", user="dagster_reader") == [("refine",)]
    for user, statement, why in (
        ("dagster_reader", "DELETE FROM runs", "read-only transaction|permission denied"),
        ("dagster_reader", "BEGIN READ WRITE; DELETE FROM runs", "permission denied"),
        ("dagster_reader", "BEGIN READ WRITE; CREATE TABLE own (a int)", "permission denied"),
        ("somebody", "SELECT 1", "permission denied for database"),
        ("dagster", "CREATE ROLE friend", "permission denied"),
    ):
        with pytest.raises(psycopg2.Error, match=why):
            run_sql(postgres, "dagster", statement, user=user)


# But for when a row was made.
ALL_ROWS = {
    "event_logs": "SELECT id, run_id, event, dagster_event_type, timestamp, step_key, asset_key, partition "
    "FROM event_logs ORDER BY id",
    "asset_keys": "SELECT asset_key, last_materialization, last_run_id, last_materialization_timestamp "
    "FROM asset_keys ORDER BY id",
    "asset_event_tags": "SELECT asset_key, event_id, key, value, event_timestamp FROM asset_event_tags ORDER BY id",
    "asset_check_executions": "SELECT asset_key, check_name, partition, run_id, execution_status, evaluation_event, "
    "evaluation_event_timestamp, evaluation_event_storage_id, materialization_event_storage_id "
    "FROM asset_check_executions ORDER BY id",
}


@pytest.fixture(scope="module")
def events() -> Sequence[dg.EventLogEntry]:
    """Events of every kind that storages take together, in the order of a run."""
    with dg.DagsterInstance.ephemeral() as instance:
        ran = dg.materialize([judged], instance=instance, tags=range_tags(JANUARY, MARCH))
        assert ran.success
        return instance.all_logs(ran.run_id)


def test_events_stored_together_leave_every_row_that_the_stock_storage_leaves(
    events: Sequence[dg.EventLogEntry], postgres: Path, tmp_path: Path
) -> None:
    left = []
    for name in ("together", "stock"):
        with instance_in(postgres, name, tmp_path / name) as instance:
            ours = instance.event_log_storage
            assert isinstance(ours, StoresTogether)
            assert isinstance(ours, dagster_postgres.PostgresEventLogStorage)
            if name == "together":
                ours.store_event_batch(events)
            else:
                stock = dagster_postgres.PostgresEventLogStorage(ours.postgres_url)
                for event in events:
                    stock.store_event(event)
        left.append({table: run_sql(postgres, name, query) for table, query in ALL_ROWS.items()})

    assert left[0] == left[1]
    assert len(left[0]["asset_check_executions"]) == 12
    assert len(left[0]["asset_event_tags"]) == 3


def test_events_stored_together_are_seen_before_other_tables_have_noted_them(
    events: Sequence[dg.EventLogEntry], instance: dg.DagsterInstance, postgres: Path, tmp_path: Path
) -> None:
    psycopg2 = pytest.importorskip("psycopg2")
    waiting = f"SELECT 1 FROM pg_stat_activity WHERE datname = '{tmp_path.name}' AND wait_event_type = 'Lock'"
    holder = psycopg2.connect(host=str(postgres), user=ADMIN, dbname=tmp_path.name)
    storing = threading.Thread(target=instance.event_log_storage.store_event_batch, args=[events])
    try:
        holder.cursor().execute("LOCK TABLE asset_event_tags")
        storing.start()
        wait_until("the lock is waited for", lambda: run_sql(postgres, "postgres", waiting), 30)

        # A daemon that looked now, and never again, would still see every month.
        seen = instance.get_materialized_partitions(dg.AssetKey("judged"))
    finally:
        holder.close()
        storing.join()

    assert seen == {*MONTHS_PLANNED}
    assert run_sql(postgres, tmp_path.name, "SELECT count(*) FROM asset_check_executions") == [(12,)]


def test_the_daemon_gives_events_a_second_to_come_to_light(instance: dg.DagsterInstance) -> None:
    assert isinstance(instance.event_log_storage, StoresTogether)
    assert os.environ["ASSET_BACKFILL_CURSOR_DELAY_TIME"] == "1"
    assert 'getenv("ASSET_BACKFILL_CURSOR_DELAY_TIME"' in inspect.getsource(asset_backfill)


def test_nothing_is_stored_of_an_empty_batch_and_of_assets_that_failed_to_materialize(
    events: Sequence[dg.EventLogEntry], instance: dg.DagsterInstance, postgres: Path, tmp_path: Path
) -> None:
    failed = DagsterEvent.build_asset_failed_to_materialize_event(
        "refine",
        "judged",
        AssetMaterializationFailure(
            "judged",
            failure_type=AssetMaterializationFailureType.FAILED,
            reason=AssetMaterializationFailureReason.FAILED_TO_MATERIALIZE,
        ),
    )
    entry = events[0]._replace(dagster_event=failed)

    for batch in ([], [entry, entry]):
        instance.event_log_storage.store_event_batch(batch)

    assert run_sql(postgres, tmp_path.name, "SELECT count(*) FROM event_logs") == [(0,)]


def test_connections_that_are_kept_outlast_a_restart_of_the_server(
    instance: dg.DagsterInstance, postgres: Path
) -> None:
    instance.optimize_for_webserver(statement_timeout=60_000, pool_recycle=600, max_overflow=1)
    run = instance.create_run_for_job(dg.GraphDefinition("refine").to_job())
    instance.report_engine_event("before", run)

    restart(postgres)

    instance.report_engine_event("after", run)
    assert instance.get_run_by_id(run.run_id)
    assert [entry.message for entry in instance.all_logs(run.run_id)] == ["before", "after"]
