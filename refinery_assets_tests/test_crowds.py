"""Many runs and readers at once, over the real daemon and the real locks."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import duckdb
import pytest

from refinery_assets.contract.months import Month
from refinery_assets.contract.settings import Settings
from refinery_assets.sample.feed import make_sample
from refinery_assets.warehouse.month_state import State
from refinery_assets_tests.installation import Installation, install
from refinery_assets_tests.scenario import FEBRUARY, JANUARY, GivenPublished, Sandbox
from refinery_assets_tests.server import served

# Launched at once; CROWD in the environment asks for more of them by hand.
CROWD = int(os.environ.get("CROWD", "3"))

HOLD = """
import sys, duckdb
connection = duckdb.connect(sys.argv[1], read_only=True)
print("held", flush=True)
sys.stdin.read()
"""


@contextmanager
def held_by_another_process(warehouse: Path) -> Iterator[subprocess.Popen[str]]:
    """An analyst's read-only connection; closing its input ends it."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(warehouse)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.stdin.close()


@pytest.mark.slow
def test_a_warehouse_held_beyond_the_limit_fails_the_run_and_names_the_holder(
    sandbox: Sandbox, given_published: GivenPublished
) -> None:
    given_published(JANUARY)
    before = sandbox.published()
    impatient = Sandbox(
        replace(sandbox.settings, lock_wait_seconds=0.5, lock_retries=1, lock_retry_seconds=0.1),
        sandbox.instance,
    )
    with held_by_another_process(sandbox.settings.warehouse) as holder:
        outcome = impatient.materialize(["processed_data"], JANUARY)

    (sentence,) = outcome.failures.values()
    assert f"still held by process {holder.pid} (" in sentence
    assert sentence.endswith("after 0.5 s; close it there and run again.")
    events = [entry.dagster_event for entry in sandbox.instance.all_logs(outcome.run_id)]
    assert sum(event is not None and event.is_step_up_for_retry for event in events) == 1
    assert sandbox.published() == before


@pytest.mark.slow
def test_a_warehouse_held_for_a_while_delays_the_run(sandbox: Sandbox, given_published: GivenPublished) -> None:
    given_published(JANUARY)
    with held_by_another_process(sandbox.settings.warehouse) as holder:
        assert holder.stdin is not None
        release = threading.Timer(1.5, holder.stdin.close)
        release.start()
        outcome = sandbox.materialize(["processed_data"], JANUARY)
        release.join()

    assert outcome.success


READ = """
import sys, time, duckdb
while True:
    try:
        connection = duckdb.connect(sys.argv[1], read_only=True)
    except duckdb.IOException as error:
        assert "lock on file" in str(error)
    else:
        months = "SELECT month(ds), count(*) FROM processed_data GROUP BY 1 ORDER BY 1"
        publications = "SELECT count(*) FROM publications"
        print(connection.execute(publications).fetchone()[0], connection.execute(months).fetchall(), flush=True)
        connection.close()
    time.sleep(0.02)  # a writer, too, wants its turn
"""


@pytest.mark.slow
def test_a_reader_during_many_rewrites_sees_whole_months_only(
    sandbox: Sandbox, given_published: GivenPublished
) -> None:
    given_published(JANUARY, FEBRUARY)
    whole = str([(1, 4 * 20 * 31), (2, 4 * 20 * 29)])
    command = [sys.executable, "-c", READ, str(sandbox.settings.warehouse)]
    seen: list[tuple[int, str]] = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as reader:
        assert reader.stdout is not None

        def read_until(publications: int) -> None:
            """Until it has seen them; lines of earlier reads may still be in the pipe."""
            assert reader.stdout is not None
            for line in reader.stdout:
                number, _, months = line.rstrip("\n").partition(" ")
                seen.append((int(number), months))
                if int(number) == publications:
                    return

        try:
            for rewrites in range(4):
                # It reads when it likes, and once at least between two rewrites.
                read_until(2 + 2 * rewrites)
                results = sandbox.publish_again(JANUARY, FEBRUARY)
                assert {result.state for result in results.values()} == {State.PUBLISHED}
            read_until(2 + 2 * 4)
        finally:
            reader.terminate()

    assert {months for _, months in seen} == {whole}
    # Before the first rewrite, and after each.
    assert {2, 4, 6, 8, 10} <= {number for number, _ in seen}


@pytest.fixture
def many_months(tmp_path: Path, dagster_home: Path) -> Installation:
    first, last = Month(2023, 1), Month(2023, 1)
    for _ in range(CROWD - 1):
        last = last.next
    sample = make_sample(tmp_path, hosts=20, first=first, last=last, seed=7)
    settings = Settings(
        feed=sample.feed,
        warehouse=sample.warehouse,
        telemetry=tmp_path / "telemetry",
        reports=tmp_path / "reports",
        alert_log=tmp_path / "alerts.jsonl",
        first_month=first,
        last_month=last,
    )
    return install(tmp_path, settings, home=dagster_home)


@pytest.mark.slow
@pytest.mark.heavy
def test_two_processes_that_run_a_month_each_at_once_both_succeed(installation: Installation) -> None:
    launched = installation.start("refinery", "run", "2024-02")
    assert launched.stdout is not None
    # Its first step is over, so it is on its way.
    first = launched.stdout.readline()
    with installation.sandbox() as sandbox:
        assert sandbox.refine(JANUARY).success
        rest, _ = launched.communicate()
        assert launched.returncode == 0, first + rest
        assert sandbox.query("SELECT month(ds), count(*) FROM processed_data GROUP BY 1 ORDER BY 1") == [
            (1, 4 * 20 * 31),
            (2, 4 * 20 * 29),
        ]


@pytest.mark.heavy
@pytest.mark.slow
def test_single_month_runs_launched_at_once_all_succeed(many_months: Installation) -> None:
    settings = many_months.settings
    assert settings.last_month is not None
    months = list(Month.span(settings.first_month, settings.last_month))
    with served(many_months) as server:
        runs = [server.launch(month) for month in months]
        statuses = server.wait_for(runs, seconds=20.0 * len(runs))

    assert set(statuses.values()) == {"SUCCESS"}
    with duckdb.connect(settings.warehouse, read_only=True) as connection:
        found = connection.execute(
            "SELECT strftime(ds, '%Y-%m') AS month, count(*) FROM processed_data GROUP BY 1 ORDER BY 1"
        ).fetchall()
    assert found == [(str(month), 4 * 20 * len(month.days)) for month in months]
    assert not settings.alert_log.exists()
