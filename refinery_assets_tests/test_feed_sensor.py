"""The feed sensor: what it asks for, how often, and what it remembers."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import dagster as dg
import pytest

from refinery_assets.build import build_defs
from refinery_assets.contract.families import Family
from refinery_assets.contract.months import Month
from refinery_assets.contract.packaged import FAMILIES
from refinery_assets.contract.settings import Settings
from refinery_assets.feed import changes
from refinery_assets.feed.changes import FeedSeen, MonthSeen
from refinery_assets.feed.files import FeedFile
from refinery_assets.operations.automation import REFINE
from refinery_assets.operations.feed_sensor import FEED_CHANGES
from refinery_assets.operations.runs import FinishedRun, start_run
from refinery_assets_tests.scenario import FEBRUARY, JANUARY, Sandbox
from refinery_assets_tests.test_crowds import held_by_another_process

CPU, MEMORY, DISK, NETWORK = FAMILIES
MARCH, APRIL, MAY = Month(2024, 3), Month(2024, 4), Month(2024, 5)
LONG_AGO = 1_000_000_000


@dataclass
class Watched:
    """A feed, and the sensor over it as the daemon runs it: only the cursor lives on between ticks."""

    settings: Settings
    instance: dg.DagsterInstance
    cursor: str | None = None
    run_keys: list[str | None] = field(default_factory=list)

    def put(self, family: Family, month: Month, text: str, *, modified: float = LONG_AGO) -> Path:
        path = FeedFile(self.settings.feed, family, month).path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        os.utime(path, (modified, modified))
        return path

    def put_month(self, month: Month, text: str = "whatever\n") -> None:
        for family in FAMILIES:
            self.put(family, month, text)

    def tick(self, *, remember: bool = True) -> list[tuple[str, str]]:
        """Look once; give the spans of months that were asked for."""
        # Definitions of its own for every tick, as after a restart of the code server.
        defs = build_defs(self.settings)
        sensor = defs.resolve_sensor_def(FEED_CHANGES)
        with dg.build_sensor_context(
            self.instance, cursor=self.cursor, repository_def=defs.get_repository_def()
        ) as context:
            data = sensor.evaluate_tick(context)
        self.skip_message = data.skip_message
        if remember and data.cursor is not None:
            self.cursor = data.cursor
        requests = data.run_requests or []
        self.run_keys = [request.run_key for request in requests]
        return [
            (request.partition_key, request.partition_key)
            if request.partition_key
            else (
                request.tags["dagster/asset_partition_range_start"],
                request.tags["dagster/asset_partition_range_end"],
            )
            for request in requests
        ]


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Watched]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield Watched(Settings(feed=tmp_path / "feed", last_month=Month(2025, 12)), instance)


def test_a_feed_that_is_not_there_is_named(watched: Watched) -> None:
    assert watched.tick() == []

    assert "REFINERY_FEED" in (watched.skip_message or "")


def test_a_file_that_may_still_be_written_is_left_alone_until_it_rests(watched: Watched) -> None:
    watched.put_month(MAY)
    path = watched.put(CPU, MAY, "half", modified=time.time())

    assert watched.tick() == []
    assert "2024-05 were changed less than 300 s ago" in (watched.skip_message or "")

    written = time.time() - watched.settings.quiet_seconds
    os.utime(path, (written, written))
    assert watched.tick() == [("2024-05", "2024-05")]


def test_a_file_from_the_future_is_taken_once_it_has_not_changed_for_long(watched: Watched) -> None:
    watched.put_month(MAY)
    watched.put(CPU, MAY, "ahead of time", modified=time.time() + 86_400)
    watched.settings = replace(watched.settings, quiet_seconds=0.2)

    assert watched.tick() == []
    deadline = time.monotonic() + 10
    while not (asked := watched.tick()) and time.monotonic() < deadline:
        pass
    assert asked == [("2024-05", "2024-05")]


def test_three_years_of_new_months_are_one_run_and_are_asked_for_once(watched: Watched) -> None:
    for month in Month.span(Month(2023, 1), Month(2025, 12)):
        watched.put_month(month)

    assert watched.tick() == [("2023-01", "2025-12")]
    assert watched.tick() == []
    assert watched.skip_message == "Nothing has changed in the feed."


def test_changed_months_that_are_not_neighbours_are_runs_of_their_own(watched: Watched) -> None:
    for month in (Month(2023, 12), Month(2024, 1), MARCH, APRIL, MAY):
        watched.put_month(month)
    watched.tick()
    for month in (Month(2023, 12), Month(2024, 1), APRIL):
        watched.put(DISK, month, "exported again\n")

    assert watched.tick() == [("2023-12", "2024-01"), ("2024-04", "2024-04")]
    assert len(set(watched.run_keys)) == 2


def test_neighbours_are_more_than_one_run_where_a_run_takes_no_more(watched: Watched) -> None:
    watched.settings = replace(watched.settings, months_per_run=2)
    for month in (MARCH, APRIL, MAY):
        watched.put_month(month)

    assert watched.tick() == [("2024-03", "2024-04"), ("2024-05", "2024-05")]
    assert len(set(watched.run_keys)) == 2


def test_a_run_that_dagster_starts_again_by_itself_is_waited_for(watched: Watched) -> None:
    watched.put_month(MAY)
    watched.tick()
    (key,) = watched.run_keys
    watched.instance.create_run_for_job(
        dg.GraphDefinition("refine").to_job(),
        status=dg.DagsterRunStatus.FAILURE,
        tags={"dagster/run_key": str(key), "dagster/will_retry": "true"},
    )

    watched.tick()

    assert list(FeedSeen.parse(watched.cursor).awaited()) == [key]


def test_the_same_content_written_again_is_not_asked_for_again(watched: Watched) -> None:
    watched.put_month(MAY)
    watched.tick()
    watched.put(MEMORY, MAY, "whatever\n", modified=LONG_AGO + 500)

    assert watched.tick() == []
    assert watched.tick() == []


def test_content_of_the_same_size_and_another_time_is_asked_for(watched: Watched) -> None:
    watched.put_month(MAY)
    watched.tick()
    watched.put(MEMORY, MAY, "whatsoev\n", modified=LONG_AGO + 500)

    assert watched.tick() == [("2024-05", "2024-05")]


def test_content_that_returns_to_what_it_was_is_asked_for_under_a_new_key(watched: Watched) -> None:
    keys = []
    for number, text in enumerate(["first\n", "other\n", "first\n", "other\n"]):
        watched.put(CPU, MAY, text, modified=LONG_AGO + number)
        assert watched.tick() == [("2024-05", "2024-05")]
        keys += watched.run_keys

    assert len(set(keys)) == 4


def test_a_look_that_was_not_remembered_repeats_its_request_under_the_same_key(watched: Watched) -> None:
    watched.put_month(MAY)

    watched.tick(remember=False)
    first = watched.run_keys
    watched.tick()

    assert first == watched.run_keys != []


def test_a_month_whose_file_is_taken_away_is_asked_for_and_an_emptied_month_is_not(watched: Watched) -> None:
    watched.put_month(MAY)
    watched.put_month(MARCH)
    watched.tick()
    FeedFile(watched.settings.feed, CPU, MAY).path.unlink()
    for family in FAMILIES:
        FeedFile(watched.settings.feed, family, MARCH).path.unlink()

    assert watched.tick() == [("2024-05", "2024-05")]
    watched.put_month(MARCH)
    assert watched.tick() == []


def test_files_that_are_nobodys_and_months_outside_the_window_are_not_seen(watched: Watched) -> None:
    watched.put_month(MAY)
    watched.tick()
    folder = FeedFile(watched.settings.feed, CPU, MAY).path.parent
    for name in ("Thumbs.db", "cpu_utilization_202405.csv.part", "cpu_utilization_202405 (1).csv"):
        (folder / name).write_text("x")
    watched.put_month(Month(2022, 12))
    watched.put_month(Month(2026, 1))

    assert watched.tick() == []


def test_what_is_no_file_is_asked_for_once_so_that_the_entrance_audit_speaks(watched: Watched) -> None:
    path = watched.put(CPU, MAY, "")
    path.unlink()
    path.mkdir()
    os.utime(path, (LONG_AGO, LONG_AGO))

    assert watched.tick() == [("2024-05", "2024-05")]
    assert watched.tick() == []


@pytest.fixture
def fleet(sandbox: Sandbox) -> Watched:
    """The small fleet's three months, and runs that give up at once where the warehouse is held."""
    settings = replace(sandbox.settings, lock_wait_seconds=0.0, lock_retries=0, quiet_seconds=0.0)
    return Watched(settings, sandbox.instance)


def run_as_asked(watched: Watched) -> FinishedRun:
    """The run for the only request of the last tick, with its key as the daemon gives it."""
    (key,) = watched.run_keys
    assert key is not None
    return start_run(
        watched.instance,
        build_defs(watched.settings),
        REFINE,
        [JANUARY, FEBRUARY, MARCH],
        tags={"dagster/run_key": key},
    )


def fail_in_passing(watched: Watched) -> FinishedRun:
    with held_by_another_process(watched.settings.warehouse):
        ran = run_as_asked(watched)
    assert not ran.success
    return ran


@pytest.mark.slow
@pytest.mark.heavy
def test_months_whose_run_failed_in_passing_are_asked_for_again_after_a_pause(
    fleet: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert fleet.tick() == [("2024-01", "2024-03")]
    first_key = fleet.run_keys
    failed = fail_in_passing(fleet)

    assert fleet.tick() == []
    assert "2024-01, 2024-02, 2024-03: asked for again at " in (fleet.skip_message or "")
    assert f"run {failed.run_id} failed: The warehouse" in (fleet.skip_message or "")

    later = time.time() + 60 * changes.PAUSES_MINUTES[0]
    monkeypatch.setattr(time, "time", lambda: later)
    assert fleet.tick() == [("2024-01", "2024-03")]
    assert fleet.run_keys != first_key
    monkeypatch.undo()
    assert run_as_asked(fleet).success
    assert fleet.tick() == []
    assert fleet.skip_message == "Nothing has changed in the feed."


def test_a_request_is_not_repeated_while_its_run_is_at_work(fleet: Watched) -> None:
    fleet.tick()
    (key,) = fleet.run_keys
    fleet.instance.create_run_for_job(
        dg.GraphDefinition("refine").to_job(),
        status=dg.DagsterRunStatus.STARTED,
        tags={"dagster/run_key": str(key)},
    )

    assert fleet.tick() == []
    assert fleet.skip_message == "Nothing has changed in the feed."


@pytest.mark.slow
@pytest.mark.heavy
def test_after_the_last_try_it_is_left_to_a_person_until_the_files_change(
    fleet: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(changes, "PAUSES_MINUTES", (0,))
    for _ in range(2):
        assert fleet.tick() == [("2024-01", "2024-03")]
        fail_in_passing(fleet)

    assert fleet.tick() == []
    assert "not asked for again by itself after 2 failures in a row" in (fleet.skip_message or "")
    assert "materialize it by hand" in (fleet.skip_message or "")

    path = FeedFile(fleet.settings.feed, CPU, FEBRUARY).path
    path.write_bytes(path.read_bytes() + b"\n")
    assert fleet.tick() == [("2024-02", "2024-02")]


@pytest.mark.slow
def test_a_month_that_a_check_refused_is_not_asked_for_again(fleet: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(changes, "PAUSES_MINUTES", (0,))
    FeedFile(fleet.settings.feed, DISK, FEBRUARY).path.unlink()
    fleet.tick()
    assert not run_as_asked(fleet).success

    assert fleet.tick() == []
    assert fleet.skip_message == "Nothing has changed in the feed."


@pytest.mark.slow
def test_of_a_run_that_failed_in_passing_the_refused_months_are_left_out(
    fleet: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(changes, "PAUSES_MINUTES", (0,))
    FeedFile(fleet.settings.feed, DISK, FEBRUARY).path.unlink()
    assert fleet.tick() == [("2024-01", "2024-03")]
    fail_in_passing(fleet)

    assert fleet.tick() == [("2024-01", "2024-01"), ("2024-03", "2024-03")]


def test_the_pauses_grow_and_a_success_starts_anew() -> None:
    seen = MonthSeen("state", 0.0, content="content")
    pauses = []
    for _ in changes.PAUSES_MINUTES:
        seen = seen.asked("content").failed("held", ended=0.0)
        pauses.append(seen.ask_at)

    assert pauses == [300.0, 900.0, 2700.0]
    assert seen.asked("content").failed("held", ended=0.0).ask_at is None
    assert seen.asked("other").failed("held", ended=0.0).ask_at == 300.0
    assert seen.ended_well().failed("held", ended=0.0).ask_at == 300.0
