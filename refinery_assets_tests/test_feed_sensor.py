"""The feed sensor: what it asks for, how often, and what it remembers."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

import dagster as dg
import pytest

from refinery_assets.build import build_defs
from refinery_assets.contract.families import FAMILIES, Family
from refinery_assets.contract.months import Month
from refinery_assets.contract.settings import Settings
from refinery_assets.feed.files import FeedFile
from refinery_assets.operations.feed_sensor import FEED_CHANGES

CPU, MEMORY, DISK, NETWORK = FAMILIES
MARCH, APRIL, MAY = Month(2024, 3), Month(2024, 4), Month(2024, 5)
LONG_AGO = 1_000_000_000


@dataclass
class Watched:
    """A feed, and the sensor over it as the daemon runs it: only the cursor lives on between ticks."""

    settings: Settings
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
        with dg.build_sensor_context(cursor=self.cursor, repository_def=defs.get_repository_def()) as context:
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
def watched(tmp_path: Path) -> Watched:
    return Watched(Settings(feed=tmp_path / "feed", last_month=Month(2025, 12)))


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
