"""Several processes that publish in one lake at a time."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from threading import Barrier, BrokenBarrierError
from types import SimpleNamespace
from typing import Any

import duckdb
import pytest

from refinery_assets.checks.rules import Finding, Outcome, Verdict
from refinery_assets.contract.lake import Catalog, Lake
from refinery_assets.contract.months import Month
from refinery_assets.contract.settings import PROJECT_ROOT, Settings
from refinery_assets.feed.files import FeedExtent
from refinery_assets.warehouse import audits, lake_snapshots
from refinery_assets.warehouse.gate import RunSoFar
from refinery_assets.warehouse.lake_maintenance import maintain
from refinery_assets.warehouse.lake_writers import MOST_ATTEMPTS, locked, publish_in_turn, record_abandoned_in_turn
from refinery_assets.warehouse.ledger import RunLedger, StepRecord
from refinery_assets.warehouse.publish import publish
from refinery_assets.warehouse.receipts import latest_receipts, table_digests
from refinery_assets.warehouse.storage import WarehouseHeldError, open_warehouse
from refinery_assets.warehouse.tables import LostRaceError, transaction, utc_now
from refinery_assets_tests.lakes import Postgres, make_lake_in
from refinery_assets_tests.postgresql import run_psql
from refinery_assets_tests.scenario import FEBRUARY, JANUARY, MARCH, GivenPublished, Sandbox, folder
from refinery_assets_tests.together import begin_together

pytestmark = [pytest.mark.lake, pytest.mark.slow]


@pytest.fixture
def settings(sandbox: Sandbox, given_published: GivenPublished, postgres: Postgres) -> Settings:
    """A lake in PostgreSQL in which nothing is published, and partitions to publish from."""
    given_published(JANUARY, MARCH)
    return replace(make_lake_in(sandbox.settings, postgres.new_lake()), telemetry=sandbox.settings.telemetry)


def _start(settings: Settings, *months: Month) -> subprocess.Popen[str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("REFINERY_")}
    names = ("feed", "telemetry", "first_month", "last_month", "lake_data")
    variables = {f"REFINERY_{name.upper()}": str(getattr(settings, name)) for name in names}
    return subprocess.Popen(
        [sys.executable, "-m", "refinery_assets_tests.lake_writer", *map(str, months)],
        cwd=PROJECT_ROOT,
        env=inherited | variables | {"REFINERY_WAREHOUSE": str(settings.lake)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def test_three_processes_over_the_same_months_leave_each_month_once(settings: Settings) -> None:
    # The first of each is a month that nobody has published yet, and two begin with the same.
    orders = [(JANUARY, FEBRUARY, MARCH), (JANUARY, MARCH, FEBRUARY), (MARCH, JANUARY, FEBRUARY)]
    writers = [_start(settings, *order) for order in orders]
    begin_together(writers)
    said = [writer.communicate(timeout=240)[0] for writer in writers]

    assert [writer.returncode for writer in writers] == [0, 0, 0], said
    for order, lines in zip(orders, said, strict=True):
        assert [line for line in lines.splitlines() if "published" in line] == [f"{month} published" for month in order]
    with open_warehouse(settings.place, read_only=True, wait_seconds=0.0) as connection:
        months = [JANUARY, FEBRUARY, MARCH]
        receipts = latest_receipts(connection, months)
        assert {month: receipts[month].table_digest for month in months} == table_digests(connection, months)
        repeated = "SELECT count(*) - count(DISTINCT (ds, host_id, resource)) FROM processed_data"
        assert connection.execute(repeated).fetchall() == [(0,)]
        assert connection.execute("SELECT count(*), count(DISTINCT run_id) FROM publications").fetchall() == [(9, 9)]
        # Only the first of a month's publications has added any rows.
        assert connection.execute("SELECT count(*) FROM publications WHERE rows_added > 0").fetchall() == [(3,)]
        # Of a lost race nothing is left, its verdicts neither.
        twice = "SELECT month, run_id, asset, check_name FROM audits GROUP BY ALL HAVING count(*) > 1"
        assert connection.execute(twice).fetchall() == []


def _touch(connection: duckdb.DuckDBPyConnection) -> None:
    with transaction(connection):
        connection.execute("DELETE FROM waivers")
        connection.execute("INSERT INTO waivers VALUES ('2024-01', 'x', 'why', 'me', now(), 'd', NULL)")


def test_a_lost_race_is_repeated_and_told_and_given_up_in_the_end(settings: Settings) -> None:
    sentences: list[str] = []
    attempts = 0

    def overtaken(times: int) -> None:
        nonlocal attempts
        attempts += 1
        with transaction(connection):
            connection.execute("DELETE FROM waivers")
            connection.execute("INSERT INTO waivers VALUES ('2024-01', 'x', 'why', 'me', now(), 'd', NULL)")
            if attempts <= times:
                _touch(other)

    with (
        open_warehouse(settings.place, read_only=False, wait_seconds=0.0) as connection,
        open_warehouse(settings.place, read_only=False, wait_seconds=0.0) as other,
        pytest.MonkeyPatch.context() as patched,
    ):
        patched.setattr("refinery_assets.warehouse.lake_writers._FIRST_PAUSE_SECONDS", 0.0)
        _touch(other)
        publish_in_turn(
            connection, settings.place, [JANUARY], lambda _: overtaken(2), wait_seconds=0.0, warn=sentences.append
        )

        assert attempts == 3
        assert len(sentences) == 2
        assert sentences[0].endswith("Trying again in 0.0 s (attempt 2 of 8).")
        assert connection.execute("SELECT count(*) FROM waivers").fetchall() == [(1,)]
        attempts = 0
        patched.undo()
        pauses: list[float] = []
        clock = SimpleNamespace(monotonic=time.monotonic, sleep=pauses.append)
        patched.setattr("refinery_assets.warehouse.lake_writers.time", clock)
        with pytest.raises(LostRaceError, match="run it again"):
            publish_in_turn(
                connection, settings.place, [JANUARY], lambda _: overtaken(99), wait_seconds=0.0, warn=sentences.append
            )
        assert attempts == MOST_ATTEMPTS
        # Longer and longer at the most, and drawn anew each time.
        limits = [0.5, 1.0, 2.0, 4.0, 8.0, 8.0, 8.0]
        assert [pause for pause, limit in zip(pauses, limits, strict=True) if not 0 <= pause <= limit] == []
        assert len(set(pauses)) == len(limits)


def test_a_step_that_loses_a_race_says_so_in_the_log_of_its_run_and_is_done_at_the_next_attempt(
    sandbox: Sandbox, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake = replace(sandbox, settings=settings)
    assert lake.refine(JANUARY, FEBRUARY).success
    before = lake.processed()
    overtaken_at = []

    def overtaken_once(connection: duckdb.DuckDBPyConnection, run_id: str, months: Iterable[Month]) -> None:
        """At the end of the step's transaction, in which January was deleted and written."""
        monkeypatch.undo()
        lake.execute("DELETE FROM processed_data WHERE month(ds) = 2 AND day(ds) = 3")
        overtaken_at.append(utc_now())
        lake_snapshots.sign(connection, run_id, months)

    monkeypatch.setattr(lake_snapshots, "sign", overtaken_once)
    outcome = lake.refine(JANUARY, force=True)

    assert outcome.success
    said = [entry.user_message for entry in lake.instance.all_logs(outcome.run_id)]
    again = [sentence for sentence in said if sentence.startswith("Another writer of the lake was faster")]
    assert len(again) == 1
    assert again[0].endswith("(attempt 2 of 8).")
    # The other's rows are gone, the step's are there once, and so is its receipt.
    assert lake.processed() == [row for row in before if (row[0].month, row[0].day) != (2, 3)]
    of_run = "SELECT published_at > $overtaken_at FROM publications WHERE run_id = $run"
    assert lake.query(of_run, {"run": outcome.run_id, "overtaken_at": overtaken_at[0]}) == [(True,)]


def test_a_month_is_published_by_one_process_at_a_time_and_others_beside_it(settings: Settings) -> None:
    lake = settings.lake
    assert lake is not None
    with (
        open_warehouse(lake, read_only=False, wait_seconds=0.0) as connection,
        open_warehouse(lake, read_only=False, wait_seconds=0.0) as other,
    ):
        with locked(connection, lake, [JANUARY, FEBRUARY], alone=False, wait_seconds=0.0):
            with locked(other, lake, [MARCH], alone=False, wait_seconds=0.0):
                pass
            with (
                pytest.raises(WarehouseHeldError, match="still publishing 2024-02 in the lake"),
                locked(other, lake, [FEBRUARY, MARCH], alone=False, wait_seconds=0.0),
            ):
                pass
            with (
                pytest.raises(WarehouseHeldError, match="still publishing a month in the lake"),
                locked(other, lake, [MARCH], alone=True, wait_seconds=0.0),
            ):
                pass
        with (
            locked(connection, lake, [], alone=True, wait_seconds=0.0),
            pytest.raises(WarehouseHeldError, match="Another process is still maintaining the lake"),
            locked(other, lake, [MARCH], alone=False, wait_seconds=0.0),
        ):
            pass
        with locked(other, lake, [FEBRUARY], alone=True, wait_seconds=0.0):
            pass


def test_whoever_waits_to_be_alone_goes_before_those_that_publish_in_turns_and_come_later(settings: Settings) -> None:
    lake = settings.lake
    assert lake is not None
    waiting = (
        "SELECT waiting FROM postgres_query('latch', 'SELECT count(*) AS waiting FROM pg_locks "
        "WHERE locktype = ''advisory'' AND mode = ''ExclusiveLock'' AND NOT granted')"
    )
    done: list[str] = []

    def maintain(connection: duckdb.DuckDBPyConnection) -> None:
        with locked(connection, lake, [], alone=True, wait_seconds=60.0):
            done.append("alone")

    with (
        ThreadPoolExecutor() as pool,
        open_warehouse(lake, read_only=False, wait_seconds=0.0) as first,
        open_warehouse(lake, read_only=False, wait_seconds=0.0) as second,
        open_warehouse(lake, read_only=False, wait_seconds=0.0) as third,
    ):
        with locked(first, lake, [JANUARY], alone=False, wait_seconds=0.0):
            maintaining = pool.submit(maintain, third)
            deadline = time.monotonic() + 30.0
            while first.execute(waiting).fetchall() != [(1,)]:
                assert time.monotonic() < deadline, "nobody waits in PostgreSQL's queue"
                time.sleep(0.02)
            with (
                pytest.raises(WarehouseHeldError, match=r"still maintaining the lake .*, or publishing in it alone"),
                locked(second, lake, [FEBRUARY], alone=False, wait_seconds=0.0),
            ):
                pass
            assert done == []
        with locked(second, lake, [FEBRUARY], alone=False, wait_seconds=60.0):
            done.append("shared")
        maintaining.result(timeout=60.0)

    assert done == ["alone", "shared"]


_OF_THE_DEAD = "SELECT month, asset, check_name FROM audits WHERE run_id = 'dead'"
_FOUND_BY_IT = ("2024-01", "cpu_utilization", "rows_accounted_for")


def _leave_the_ledger_of_a_dead_run(settings: Settings) -> RunLedger:
    dead = RunLedger(settings.telemetry, "dead")
    month, asset, check = _FOUND_BY_IT
    verdict = Verdict(asset, check, Month.parse(month), Finding(Outcome.PASSED, "2 rows.", {}), "")
    dead.write(StepRecord(asset, [verdict]))
    two_days_ago = time.time() - 48 * 3600
    os.utime(folder(settings.telemetry) / dead.folder, (two_days_ago, two_days_ago))
    return dead


def _end_sessions(settings: Settings, which: str) -> None:
    """End sessions of PostgreSQL that have to do with the lake, as an administrator does, or an idle limit."""
    found = re.search(r"dbname=(\w+) host=(\S+)", settings.lake.place if settings.lake else "")
    assert found is not None
    ended = run_psql(Path(found[2]), found[1], "-c", f"SELECT pg_terminate_backend(pid, 5000) FROM {which}")
    assert set(ended.split()) == {"t"}


def test_what_a_dead_run_found_is_recorded_once_by_workers_that_come_upon_it_together(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    dead = _leave_the_ledger_of_a_dead_run(settings)
    record_audits = audits.record_audits
    opened, within = Barrier(3), Barrier(3)

    def record_together(*arguments: Any, **named: Any) -> None:
        # Whoever is the only one in here waits for the others in vain.
        with suppress(BrokenBarrierError):
            within.wait(0.5)
        record_audits(*arguments, **named)

    def take_over(number: int) -> None:
        with open_warehouse(settings.place, read_only=False, wait_seconds=0.0) as connection:
            opened.wait(60.0)
            record_abandoned_in_turn(connection, settings.place, RunLedger(settings.telemetry, f"run-{number}"))

    monkeypatch.setattr(audits, "record_audits", record_together)
    with ThreadPoolExecutor() as pool:
        assert list(pool.map(take_over, range(3))) == [None] * 3

    with open_warehouse(settings.place, read_only=True, wait_seconds=0.0) as connection:
        assert connection.execute(_OF_THE_DEAD).fetchall() == [_FOUND_BY_IT]
    assert dead.records() == []


def test_a_connection_that_breaks_while_a_dead_run_is_recorded_takes_nothing_from_the_months_published_before(
    sandbox: Sandbox, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake = replace(sandbox, settings=replace(settings, lock_retries=0))
    dead = _leave_the_ledger_of_a_dead_run(settings)
    record_audits = audits.record_audits

    def record_cut_off(*arguments: Any, **named: Any) -> None:
        monkeypatch.undo()
        record_audits(*arguments, **named)
        _end_sessions(settings, "pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()")

    monkeypatch.setattr(audits, "record_audits", record_cut_off)
    outcome = lake.refine(JANUARY)

    assert outcome.success, outcome.message
    said = [entry.user_message for entry in lake.instance.all_logs(outcome.run_id)]
    assert len([line for line in said if line.startswith("What the checks of runs that were killed said is not")]) == 1
    assert lake.query("SELECT DISTINCT run_id FROM publications") == [(outcome.run_id,)]
    assert lake.query(_OF_THE_DEAD) == []
    assert len(dead.records()) == 1
    assert lake.refine(FEBRUARY).success
    assert lake.query(_OF_THE_DEAD) == [_FOUND_BY_IT]


def test_a_month_is_not_committed_once_the_session_that_locks_it_has_ended(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    sign = lake_snapshots.sign

    def sign_unlocked(connection: duckdb.DuckDBPyConnection, run_id: str, months: Iterable[Month]) -> None:
        """At the end of the transaction, in which the month was written."""
        monkeypatch.undo()
        sign(connection, run_id, months)
        here = "(SELECT oid FROM pg_database WHERE datname = current_database())"
        _end_sessions(settings, f"pg_locks WHERE locktype = 'advisory' AND objid > 1 AND database = {here}")

    monkeypatch.setattr(lake_snapshots, "sign", sign_unlocked)
    run = RunSoFar("unlocked", FeedExtent(JANUARY, MARCH), settings.today)
    with (
        pytest.raises(WarehouseHeldError, match="dropped the connection"),
        open_warehouse(settings.place, read_only=False, wait_seconds=0.0) as connection,
    ):
        publish_in_turn(
            connection,
            settings.place,
            [JANUARY],
            lambda still_locked: publish(connection, [JANUARY], settings, run, still_locked),
            wait_seconds=0.0,
            warn=pytest.fail,
        )

    with open_warehouse(settings.place, read_only=True, wait_seconds=0.0) as connection:
        for table in ("processed_data", "publications", "audits"):
            assert connection.execute(f"SELECT count(*) FROM {table}").fetchall() == [(0,)]
        # The lake works on as before.
        assert settings.lake is not None
        with locked(connection, settings.lake, [JANUARY], alone=True, wait_seconds=0.0) as still_locked:
            still_locked()


def test_with_a_catalog_in_sqlite_maintenance_and_publishers_keep_each_other_out(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    lake = Lake(Catalog.SQLITE, str(tmp_path / "catalog.sqlite"))
    settings = replace(make_lake_in(sandbox.settings, lake), lock_wait_seconds=0.0)
    with open_warehouse(settings.place, read_only=False, wait_seconds=0.0) as connection:
        with (
            locked(connection, lake, [JANUARY], alone=False, wait_seconds=0.0),
            pytest.raises(WarehouseHeldError, match=r"still publishing in the lake .*, or maintaining it, after 0 s"),
        ):
            maintain(settings)
        with (
            locked(connection, lake, [], alone=True, wait_seconds=0.0),
            pytest.raises(WarehouseHeldError, match="still publishing in the lake"),
        ):
            publish_in_turn(connection, lake, [JANUARY], lambda _: None, wait_seconds=0.0, warn=pytest.fail)
    assert maintain(settings).proved == []
