"""The daily schedule: which months a day calls for, in every season and zone, and when it skips."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from itertools import islice
from pathlib import Path
from zoneinfo import ZoneInfo

import dagster as dg
import pytest
from dagster._utils.schedules import schedule_execution_time_iterator

from refinery_assets.build import build_defs
from refinery_assets.contract.months import Month
from refinery_assets.contract.packaged import FAMILIES
from refinery_assets.contract.settings import Settings
from refinery_assets.feed.files import FeedFile
from refinery_assets.operations.automation import DAILY_REFINE, months_due
from refinery_assets_tests.scenario import Sandbox


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(feed=tmp_path)


def tick(settings: Settings, day: date) -> dg.RunRequest | str:
    """What the schedule answers at 06:00 of its zone: a request, or the reason to skip."""
    defs = build_defs(settings)
    schedule = defs.resolve_schedule_def(DAILY_REFINE)
    moment = datetime(day.year, day.month, day.day, 6, tzinfo=ZoneInfo(settings.timezone))
    data = schedule.evaluate_tick(
        dg.build_schedule_context(scheduled_execution_time=moment, repository_def=defs.get_repository_def())
    )
    if data.run_requests:
        (request,) = data.run_requests
        return request
    assert data.skip_message is not None
    return data.skip_message


def put_a_file(settings: Settings, month: Month) -> None:
    path = FeedFile(settings.feed, FAMILIES[1], month).path
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("date\n")


def months_of(request: dg.RunRequest | str) -> tuple[str, str]:
    assert isinstance(request, dg.RunRequest)
    if request.partition_key:
        return request.partition_key, request.partition_key
    return (
        request.tags["dagster/asset_partition_range_start"],
        request.tags["dagster/asset_partition_range_end"],
    )


def test_without_a_file_of_the_running_month_it_skips_and_says_so(settings: Settings) -> None:
    put_a_file(settings, Month(2024, 4))

    reason = tick(settings, date(2024, 5, 2))

    assert isinstance(reason, str)
    assert "No file of the running month 2024-05" in reason
    assert "2024/05/cpu_utilization_202405.csv" in reason


def test_outside_the_window_it_skips_and_names_the_setting(settings: Settings) -> None:
    ended = replace(settings, last_month=Month(2024, 4))
    put_a_file(ended, Month(2024, 5))

    reason = tick(ended, date(2024, 5, 20))

    assert isinstance(reason, str)
    assert "REFINERY_LAST_MONTH" in reason


@pytest.mark.parametrize(
    ("day", "first", "last"),
    [
        (date(2024, 5, 1), "2024-04", "2024-05"),
        (date(2024, 5, 5), "2024-04", "2024-05"),
        (date(2024, 5, 6), "2024-05", "2024-05"),
        (date(2024, 5, 31), "2024-05", "2024-05"),
        (date(2024, 1, 1), "2023-12", "2024-01"),
        (date(2023, 12, 31), "2023-12", "2023-12"),
        (date(2024, 2, 29), "2024-02", "2024-02"),
        (date(2024, 3, 1), "2024-02", "2024-03"),
        (date(2023, 1, 3), "2023-01", "2023-01"),
    ],
)
def test_one_run_takes_the_running_month_and_early_in_it_the_month_before(
    settings: Settings, day: date, first: str, last: str
) -> None:
    put_a_file(settings, Month.of(day))

    request = tick(settings, day)

    assert months_of(request) == (first, last)
    assert isinstance(request, dg.RunRequest)
    assert request.run_key == day.isoformat()


def requests_of(settings: Settings, day: date) -> dict[str | None, tuple[str, str]]:
    defs = build_defs(settings)
    moment = datetime(day.year, day.month, day.day, 6, tzinfo=UTC)
    data = defs.resolve_schedule_def(DAILY_REFINE).evaluate_tick(
        dg.build_schedule_context(scheduled_execution_time=moment, repository_def=defs.get_repository_def())
    )
    return {request.run_key: months_of(request) for request in data.run_requests or ()}


def test_where_a_run_takes_one_month_the_month_before_is_a_run_of_its_own(settings: Settings) -> None:
    one_each = replace(settings, months_per_run=1)
    put_a_file(settings, Month(2024, 3))
    put_a_file(settings, Month(2024, 5))

    assert requests_of(one_each, date(2024, 5, 2)) == {
        "2024-05-02 2024-04": ("2024-04", "2024-04"),
        "2024-05-02 2024-05": ("2024-05", "2024-05"),
    }


def test_where_a_run_takes_one_month_none_is_for_a_month_before_the_first_of_the_feed(settings: Settings) -> None:
    put_a_file(settings, Month(2024, 5))

    found = requests_of(replace(settings, months_per_run=1), date(2024, 5, 2))

    assert found == {"2024-05-02": ("2024-05", "2024-05")}


def test_the_number_of_late_days_is_a_setting(settings: Settings) -> None:
    day = date(2024, 5, 1)

    assert months_due(day, replace(settings, late_days=0)) == [Month(2024, 5)]
    assert months_due(day.replace(day=20), replace(settings, late_days=20)) == [
        Month(2024, 4),
        Month(2024, 5),
    ]


def ticks_from(settings: Settings, start: datetime) -> Iterator[datetime]:
    schedule = build_defs(settings).resolve_schedule_def(DAILY_REFINE)
    assert schedule.execution_timezone is not None
    assert isinstance(schedule.cron_schedule, str)
    return schedule_execution_time_iterator(
        start.timestamp(), schedule.cron_schedule, schedule.execution_timezone, ascending=True
    )


@pytest.mark.parametrize("zone", ["Europe/Vienna", "America/New_York", "Pacific/Auckland", "UTC"])
def test_it_ticks_once_on_every_day_at_six_whatever_the_clocks_do(settings: Settings, zone: str) -> None:
    local = replace(settings, timezone=zone)

    ticks = list(islice(ticks_from(local, datetime(2023, 12, 30, tzinfo=UTC)), 400))

    at_home = [moment.astimezone(ZoneInfo(zone)) for moment in ticks]
    assert {(moment.hour, moment.minute) for moment in at_home} == {(6, 0)}
    days = [moment.date() for moment in at_home]
    assert days == [days[0] + timedelta(days=number) for number in range(400)]


@pytest.mark.parametrize("zone", ["Pacific/Auckland", "Pacific/Pago_Pago"])
def test_on_the_first_of_a_month_the_zones_own_month_is_a_partition(settings: Settings, zone: str) -> None:
    local = replace(settings, timezone=zone)
    put_a_file(local, Month(2024, 7))
    six = datetime(2024, 7, 1, 6, tzinfo=ZoneInfo(zone))

    assert months_of(tick(local, six.date())) == ("2024-06", "2024-07")

    partitions = build_defs(local).resolve_asset_graph().get(dg.AssetKey("legacy_feed")).partitions_def
    assert partitions is not None
    with dg.partition_loading_context(effective_dt=six):
        assert partitions.get_partition_keys()[-1] == "2024-07"


def test_it_is_on_from_the_start(settings: Settings) -> None:
    schedule = build_defs(settings).resolve_schedule_def(DAILY_REFINE)

    assert schedule.default_status is dg.DefaultScheduleStatus.RUNNING


@pytest.mark.slow
def test_a_file_that_is_no_export_is_left_to_the_entrance_audit(sandbox: Sandbox) -> None:
    april = Month(2024, 4)
    put_a_file(sandbox.settings, april)

    assert months_of(tick(sandbox.settings, date(2024, 4, 20))) == ("2024-04", "2024-04")

    outcome = sandbox.refine(april)
    assert outcome.failed_checks >= {"legacy_feed.source_files_present", "legacy_feed.headers_match_contract"}
