"""The month that is due: late when it was not published in its hours, whatever other months were."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import dagster as dg
import pytest
from dagster._core.scheduler.instigation import InstigatorStatus, TickStatus
from dagster._core.storage.tags import SCHEDULE_NAME_TAG

from refinery_assets.build import build_defs
from refinery_assets.contract.months import Month
from refinery_assets.contract.settings import Settings
from refinery_assets.operations.automation import DAILY_REFINE
from refinery_assets.operations.lateness import LATE_MONTH, find_late_month
from refinery_assets.operations.outcomes import REFUSED
from refinery_assets.operations.partitions import month_tags
from refinery_assets_tests.past import published, ticked, turned

APRIL, MAY = Month(2024, 4), Month(2024, 5)


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


@pytest.fixture
def on_disk() -> Iterator[dg.DagsterInstance]:
    """An instance that remembers ticks, too."""
    with dg.DagsterInstance.local_temp() as instance:
        yield instance


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(feed=tmp_path / "feed", alert_log=tmp_path / "alerts.jsonl")


def may(day: int, hour: int, minute: int = 0, zone: str = "UTC") -> datetime:
    return datetime(2024, 5, day, hour, minute, tzinfo=ZoneInfo(zone))


def test_an_old_month_refined_again_does_not_make_up_for_the_month_that_is_due(
    instance: dg.DagsterInstance, settings: Settings
) -> None:
    published(instance, MAY, may(19, 6, 5))
    published(instance, APRIL, may(20, 6, 30))

    late = find_late_month(instance, settings, may(20, 8))

    assert str(late) == (
        "2024-05 is due and was not published between 06:00 and 08:00 on 2024-05-20 (UTC); the last time was "
        "2024-05-19 06:05."
    )


def test_a_month_that_was_never_published_is_late_as_well(instance: dg.DagsterInstance, settings: Settings) -> None:
    published(instance, APRIL, may(1, 6, 5))

    late = find_late_month(instance, settings, may(20, 9))

    assert str(late).endswith("it never was.")


def test_it_is_late_two_hours_after_the_daily_run_began_and_not_before(
    instance: dg.DagsterInstance, settings: Settings
) -> None:
    published(instance, MAY, may(19, 6, 5))

    assert find_late_month(instance, settings, may(20, 7, 59)) is None
    assert find_late_month(instance, settings, may(20, 8)) is not None


def test_publishing_the_month_makes_it_good_however_late(instance: dg.DagsterInstance, settings: Settings) -> None:
    published(instance, MAY, may(19, 6, 5))
    published(instance, MAY, may(20, 11, 30))

    assert find_late_month(instance, settings, may(20, 12)) is None


def test_in_the_first_days_the_month_before_will_do(instance: dg.DagsterInstance, settings: Settings) -> None:
    published(instance, APRIL.previous, may(1, 6).replace(month=4))
    assert find_late_month(instance, settings, may(3, 9)) is not None

    published(instance, APRIL, may(2, 6, 5))

    assert find_late_month(instance, settings, may(5, 9)) is None
    assert find_late_month(instance, settings, may(6, 9)) is not None


def test_nothing_is_late_before_the_first_publication(instance: dg.DagsterInstance, settings: Settings) -> None:
    assert find_late_month(instance, settings, may(20, 9)) is None

    published(instance, APRIL, may(20, 8, 30))

    assert find_late_month(instance, settings, may(20, 9)) is None
    assert find_late_month(instance, settings, may(21, 9)) is not None


def test_nothing_is_late_after_the_window(instance: dg.DagsterInstance, settings: Settings) -> None:
    published(instance, APRIL, may(1, 6, 5))

    assert find_late_month(instance, replace(settings, last_month=APRIL), may(20, 9)) is None


def test_the_hours_are_those_of_the_zone(instance: dg.DagsterInstance, settings: Settings) -> None:
    vienna = replace(settings, timezone="Europe/Vienna")
    published(instance, MAY, may(19, 6, 5, "Europe/Vienna"))

    assert find_late_month(instance, vienna, may(20, 5, 59)) is None
    assert "(CEST)" in str(find_late_month(instance, vienna, may(20, 6)))


def look(instance: dg.DagsterInstance, settings: Settings, cursor: str | None = None) -> tuple[str | None, str | None]:
    """What the sensor tells, and its cursor."""
    defs = build_defs(settings)
    sensor = defs.resolve_sensor_def(LATE_MONTH)
    with dg.build_sensor_context(instance, cursor=cursor, repository_def=defs.get_repository_def()) as context:
        data = sensor.evaluate_tick(context)
    return data.skip_message, data.cursor


def alerts(settings: Settings) -> list[dict[str, Any]]:
    log = settings.alert_log
    return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []


def test_the_sensor_tells_once_a_day_with_what_the_schedule_said(
    on_disk: dg.DagsterInstance, settings: Settings
) -> None:
    now = datetime.now(UTC)
    punctual = replace(settings, late_days=0)
    published(on_disk, Month(2024, 1), now - timedelta(days=40))
    schedule = turned(on_disk, DAILY_REFINE, InstigatorStatus.DECLARED_IN_CODE)
    ticked(on_disk, schedule, TickStatus.SKIPPED, now, told="No file of the running month is in the feed yet.")

    skipped, cursor = look(on_disk, punctual)
    look(on_disk, punctual, cursor)

    (alert,) = alerts(settings)
    assert alert["problems"][0] == skipped
    assert alert["problems"][1].endswith(": No file of the running month is in the feed yet.")
    assert "materialize" in alert["recovery"][0]


@pytest.mark.parametrize("months_per_run", [None, 1])
def test_a_late_month_that_was_refused_is_reported_with_the_reason(
    months_per_run: int | None, on_disk: dg.DagsterInstance, settings: Settings
) -> None:
    punctual = replace(settings, late_days=0)
    published(on_disk, Month(2024, 1), datetime.now(UTC) - timedelta(days=40))
    late = find_late_month(on_disk, punctual, datetime.now(UTC))
    assert late is not None

    @dg.op
    def publish() -> None:
        raise dg.Failure(metadata={REFUSED: dg.JsonMetadataValue({str(late.month): ["cpu is cut off."]})})

    months = [late.month.previous, late.month]

    @dg.job(tags={SCHEDULE_NAME_TAG: DAILY_REFINE, **month_tags(months[1:] if months_per_run else months)})
    def refine() -> None:
        publish()

    loggers = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
    run = refine.execute_in_process(loggers, on_disk, raise_on_error=False).dagster_run
    if months_per_run:
        tags = {SCHEDULE_NAME_TAG: DAILY_REFINE, **month_tags(months[:1])}
        on_disk.create_run_for_job(dg.GraphDefinition("refine").to_job(), tags=tags)

    look(on_disk, punctual)

    (alert,) = alerts(settings)
    assert alert["problems"] == [
        str(late),
        f"The last run of daily_refine, {run.run_id}, refused {late.month}: cpu is cut off.",
    ]


def test_no_month_is_due_while_the_daily_run_is_off(on_disk: dg.DagsterInstance, settings: Settings) -> None:
    published(on_disk, Month(2024, 1), datetime.now(UTC) - timedelta(days=40))
    turned(on_disk, DAILY_REFINE, InstigatorStatus.STOPPED)

    skipped, _ = look(on_disk, replace(settings, late_days=0))

    assert skipped == "daily_refine is off, so no month is due at any time."
    assert alerts(settings) == []
