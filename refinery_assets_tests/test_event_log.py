"""The event log with kept connections: the stock storage's own files, read and followed by others."""

import signal
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import dagster as dg
import psutil
import pytest
from dagster._core.storage.event_log import SqliteEventLogStorage

from refinery_assets.operations.event_log import KeptOpenEventLog
from refinery_assets.operations.partitions import ONE_RUN, range_tags
from refinery_assets_tests.events import MONTHS_PLANNED, MONTHS_UNPLANNED, judged
from refinery_assets_tests.installation import Installation, install
from refinery_assets_tests.scenario import JANUARY, MARCH

pytestmark = pytest.mark.slow


@pytest.fixture
def instance(installation: Installation) -> Iterator[dg.DagsterInstance]:
    with installation.instance() as instance:
        yield instance


@dg.asset(partitions_def=dg.StaticPartitionsDefinition(["a", "b"]))
def noted(context: dg.AssetExecutionContext) -> dg.MaterializeResult[None]:
    return dg.MaterializeResult(metadata={"key": context.partition_key})


@dg.multi_asset(
    specs=[dg.AssetSpec("many")],
    partitions_def=dg.MonthlyPartitionsDefinition("2024-01", fmt="%Y-%m"),
    backfill_policy=ONE_RUN,
    check_specs=[dg.AssetCheckSpec("sound", asset="many")],
)
def many() -> Iterator[dg.MaterializeResult[None] | dg.AssetCheckResult]:
    yield dg.MaterializeResult()
    yield dg.AssetCheckResult(passed=True, check_name="sound")


def run_once(instance: dg.DagsterInstance, key: str = "a") -> str:
    ran = dg.materialize([noted], instance=instance, partition_key=key)
    assert ran.success
    return ran.run_id


def files_open_below(folder: Path) -> set[str]:
    return {
        Path(file.path).name
        for file in psutil.Process().open_files()
        if Path(file.path).is_relative_to(folder) and file.path.endswith(".db")
    }


def test_the_instance_of_the_project_stores_events_this_way(instance: dg.DagsterInstance) -> None:
    assert isinstance(instance.event_log_storage, KeptOpenEventLog)


def without_our_storage(installation: Installation) -> Installation:
    """The same home with Dagster's own storage."""
    file = installation.home / "dagster.yaml"
    lines = file.read_text().splitlines()
    at = lines.index("storage:")
    file.write_text("\n".join(lines[:at] + lines[at + 7 :]))
    with installation.instance() as stock:
        assert type(stock.event_log_storage) is SqliteEventLogStorage
    return installation


def test_a_run_over_months_stores_what_the_stock_storage_would_store(
    installation: Installation, tmp_path: Path
) -> None:
    (tmp_path / "stock").mkdir()
    stock = without_our_storage(install(tmp_path / "stock", installation.settings))
    stored = []
    for home in (installation, stock):
        with home.instance() as instance:
            ran = dg.materialize([many], instance=instance, tags=range_tags(JANUARY, MARCH))
            assert ran.success
        files = (home.home / "history" / "runs" / f"{name}.db" for name in ("index", ran.run_id))
        stored.append([rows_of(file, ran.run_id) for file in files])

    assert stored[0] == stored[1]
    index, _ = stored[0]
    assert sum(row[0] == "ASSET_MATERIALIZATION" for row in index[0]) == 3


def test_events_stored_together_leave_every_row_that_the_stock_storage_leaves(
    instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    ran = dg.materialize([judged], instance=instance, tags=range_tags(JANUARY, MARCH))
    assert ran.success
    events = instance.all_logs(ran.run_id)
    ours, stock = KeptOpenEventLog(str(tmp_path / "ours")), SqliteEventLogStorage(str(tmp_path / "stock"))

    ours.store_event_batch(events)
    for event in events:
        stock.store_event(event)
    ours.dispose()

    left, expected = (
        [every_row_of(tmp_path / folder / f"{name}.db") for name in ("index", ran.run_id)]
        for folder in ("ours", "stock")
    )
    assert left == expected
    index = left[0]
    assert len(index["asset_check_executions"]) == 2 * len({*MONTHS_PLANNED, *MONTHS_UNPLANNED})
    assert {row["execution_status"] for row in index["asset_check_executions"]} == {"SUCCEEDED", "FAILED"}
    assert [row["value"] for row in index["asset_event_tags"]] == ["digest"] * len(MONTHS_PLANNED)


def every_row_of(file: Path) -> dict[str, list[dict[str, Any]]]:
    """All that stands in the tables of events, but for when the row was made."""
    tables = ("asset_check_executions", "asset_event_tags", "asset_keys", "event_logs")
    with closing(sqlite3.connect(file)) as connection:
        connection.row_factory = sqlite3.Row
        return {
            table: [
                {name: row[name] for name in row.keys() if name != "create_timestamp"}  # noqa: SIM118
                for row in connection.execute(f"SELECT * FROM {table} ORDER BY 1")
            ]
            for table in tables
        }


def rows_of(file: Path, run_id: str) -> tuple[list[tuple[str, ...]], list[tuple[str, ...]]]:
    """All events of a file, and what its list of assets says; ids and times left out."""
    with closing(sqlite3.connect(file)) as connection:
        events = connection.execute(
            "SELECT dagster_event_type, step_key, asset_key, partition FROM event_logs ORDER BY id"
        ).fetchall()
        assets = connection.execute("SELECT asset_key, last_run_id, last_materialization FROM asset_keys")
        return events, [
            (key, str(last_run == run_id), str('"partition": "2024-03"' in last)) for key, last_run, last in assets
        ]


def test_the_stock_storage_reads_what_was_stored_and_goes_on(
    instance: dg.DagsterInstance, installation: Installation
) -> None:
    run_id = run_once(instance)
    told = [entry.message for entry in instance.all_logs(run_id)]

    with without_our_storage(installation).instance() as stock:
        assert [entry.message for entry in stock.all_logs(run_id)] == told
        later = run_once(stock, "b")

    assert instance.all_logs(later)
    assert set(instance.get_materialized_partitions(dg.AssetKey("noted"))) == {"a", "b"}


def test_who_follows_a_run_hears_of_its_events_while_the_writer_keeps_the_file_open(
    instance: dg.DagsterInstance, installation: Installation
) -> None:
    run_id = run_once(instance)
    heard = threading.Event()
    with installation.instance() as server:
        server.watch_event_logs(run_id, server.get_records_for_run(run_id).cursor, lambda *_: heard.set())
        run = instance.get_run_by_id(run_id)
        assert run
        instance.report_engine_event("one more", run)

        assert heard.wait(30)


def test_only_the_index_and_one_run_stay_open(instance: dg.DagsterInstance, installation: Installation) -> None:
    run_once(instance)
    last = run_once(instance, "b")

    assert files_open_below(installation.home / "history") == {"index.db", f"{last}.db"}


def test_nothing_stays_open_after_the_instance(installation: Installation) -> None:
    with installation.instance() as instance:
        run_once(instance)

    assert not files_open_below(installation.home / "history")


def test_a_run_whose_file_was_removed_is_read_as_a_run_without_events(
    instance: dg.DagsterInstance, installation: Installation
) -> None:
    run_id = run_once(instance)
    for part in (installation.home / "history" / "runs").glob(f"{run_id}.db*"):
        part.unlink()

    assert not instance.all_logs(run_id)


# Kills itself in the midst of a step, so that nobody closes or flushes anything.
KILLED = """
import os, signal
import dagster as dg

@dg.asset
def cut_short(context):
    context.log.info("about to be killed")
    os.kill(os.getpid(), signal.SIGKILL)

with dg.DagsterInstance.get() as instance:
    dg.materialize([cut_short], instance=instance)
"""


def test_a_killed_process_loses_no_event_that_it_stored(
    instance: dg.DagsterInstance, installation: Installation
) -> None:
    killed = installation.start("python", "-c", KILLED)
    told = killed.communicate(timeout=60)
    assert killed.returncode == -signal.SIGKILL, told

    (run,) = instance.get_runs()

    assert "about to be killed" in [entry.user_message for entry in instance.all_logs(run.run_id)]


def test_what_fails_half_way_is_taken_back_and_the_next_event_is_stored(
    instance: dg.DagsterInstance,
) -> None:
    run_id = run_once(instance)
    run = instance.get_run_by_id(run_id)
    assert run
    stored = len(instance.all_logs(run_id))
    with pytest.raises(ZeroDivisionError):
        forget_all_and_fail(instance, run_id)

    instance.report_engine_event("one more", run)

    assert len(instance.all_logs(run_id)) == stored + 1


def forget_all_and_fail(instance: dg.DagsterInstance, run_id: str) -> None:
    storage = instance.event_log_storage
    assert isinstance(storage, KeptOpenEventLog)
    with storage.run_connection(run_id) as connection:
        connection.exec_driver_sql("DELETE FROM event_logs")
        raise ZeroDivisionError


def test_every_month_of_a_run_keeps_an_event_of_its_own(installation: Installation) -> None:
    with installation.sandbox() as sandbox:
        assert sandbox.refine(JANUARY, MARCH).success
        for asset in ("cpu_utilization", "processed_data"):
            shown = sandbox.instance.get_materialized_partitions(dg.AssetKey(asset))
            assert shown == {"2024-01", "2024-02", "2024-03"}
