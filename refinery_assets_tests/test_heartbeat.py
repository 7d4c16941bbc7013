"""The sign of life: a sensor that has failed for an hour is told of, and the file says who worked when."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg
import pytest
from dagster._core.definitions.sensor_definition import SensorExecutionData
from dagster._core.scheduler.instigation import InstigatorStatus, TickStatus

from refinery_assets.build import build_defs
from refinery_assets.operations.alerts import FAILED_RUNS
from refinery_assets.operations.heartbeat_file import heartbeat_file
from refinery_assets.operations.housekeeping import HOUSEKEEPING
from refinery_assets_tests.installation import Installation
from refinery_assets_tests.past import ticked, turned
from refinery_assets_tests.scenario import Sandbox

NOW = datetime.now(UTC)


@pytest.fixture
def sandbox(installation: Installation) -> Iterator[Sandbox]:
    """On an instance that remembers ticks, too."""
    with installation.sandbox() as sandbox:
        yield sandbox


def look(sandbox: Sandbox, cursor: str | None = None) -> SensorExecutionData:
    """Let `housekeeping` look."""
    defs = build_defs(sandbox.settings)
    sensor = defs.resolve_sensor_def(HOUSEKEEPING)
    with dg.build_sensor_context(sandbox.instance, cursor=cursor, repository_def=defs.get_repository_def()) as context:
        return sensor.evaluate_tick(context)


def alerts(sandbox: Sandbox) -> list[dict[str, Any]]:
    log = sandbox.settings.alert_log
    return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []


def ago(minutes: int) -> datetime:
    return NOW - timedelta(minutes=minutes)


def test_a_sensor_that_has_failed_for_an_hour_is_told_of_once_a_day(sandbox: Sandbox) -> None:
    sensor = turned(sandbox.instance, FAILED_RUNS, InstigatorStatus.DECLARED_IN_CODE)
    ticked(sandbox.instance, sensor, TickStatus.SKIPPED, ago(90))
    for minutes in (61, 30, 1):
        ticked(sandbox.instance, sensor, TickStatus.FAILURE, ago(minutes), told=f"No good {minutes}.")

    look(sandbox, look(sandbox).cursor)

    (alert,) = alerts(sandbox)
    assert alert["job"] == FAILED_RUNS
    since = ago(61).isoformat(timespec="seconds")
    assert alert["problems"] == [f"failed_runs has failed at every tick since {since}; the last said: No good 1."]
    shown = json.loads(heartbeat_file(sandbox.settings).read_text())["automation"][FAILED_RUNS]
    assert shown["last_good"] == ago(90).isoformat(timespec="seconds")
    assert shown["failing_since"] == since


@pytest.mark.parametrize(
    ("status", "good_at"),
    [(InstigatorStatus.DECLARED_IN_CODE, 15), (InstigatorStatus.STOPPED, 90)],
    ids=["works again", "is off"],
)
def test_a_sensor_that_works_again_or_is_off_is_not_told_of(
    sandbox: Sandbox, status: InstigatorStatus, good_at: int
) -> None:
    sensor = turned(sandbox.instance, FAILED_RUNS, status)
    for minutes in (80, 61, 1):
        ticked(sandbox.instance, sensor, TickStatus.FAILURE, ago(minutes), told="No good.")
    ticked(sandbox.instance, sensor, TickStatus.SKIPPED, ago(good_at))

    look(sandbox)

    assert alerts(sandbox) == []


def test_the_file_is_renewed_by_every_look(sandbox: Sandbox) -> None:
    look(sandbox)
    file = heartbeat_file(sandbox.settings)
    first = json.loads(file.read_text())["time"]
    file.unlink()

    look(sandbox)

    assert datetime.fromisoformat(json.loads(file.read_text())["time"]) >= datetime.fromisoformat(first)


def test_a_file_that_cannot_be_written_is_told_by_the_look(sandbox: Sandbox) -> None:
    heartbeat_file(sandbox.settings).mkdir()

    assert "The sign of life cannot be written: [Errno 21] Is a directory" in str(look(sandbox).skip_message)
