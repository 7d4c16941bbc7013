"""The sensor `late_month`: an alert when the month that is due was not published in time.

Dagster's own freshness goes by the latest publication of any month, so that an old month refined again would
make a table look fresh that lacks the running month.

Here: which month is due, and whether it is late. Not here: how an alert is sent (`alerts.py`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import dagster as dg
from dagster._core.scheduler.instigation import InstigatorState
from dagster._core.storage.tags import SCHEDULE_NAME_TAG

from refinery_assets.contract.families import PROCESSED_DATA
from refinery_assets.contract.months import Month
from refinery_assets.contract.settings import Settings
from refinery_assets.operations.alerts import deliver
from refinery_assets.operations.automation import (
    DAILY_REFINE,
    DAILY_REFINE_HOUR,
    HOURS_FOR_THE_DAILY_RUN,
    months_due,
)
from refinery_assets.operations.heartbeat import our_automation
from refinery_assets.operations.outcomes import read_outcome
from refinery_assets.operations.partitions import months_in

LATE_MONTH = "late_month"
_SECONDS_BETWEEN_LOOKS = 300


@dataclass(frozen=True)
class LateMonth:
    """A month that should have been published by now.

    Attributes:
        month: The month.
        since: From when on it should have been published.
        until: Until when.
        published: When it was published the last time; None: never.
    """

    month: Month
    since: datetime
    until: datetime
    published: datetime | None

    def __str__(self) -> str:
        last = f"the last time was {self.published:%Y-%m-%d %H:%M}" if self.published else "it never was"
        return (
            f"{self.month} is due and was not published between {self.since:%H:%M} and {self.until:%H:%M} on "
            f"{self.since:%Y-%m-%d} ({self.since.tzname()}); {last}."
        )


def build_late_month(settings: Settings) -> dg.SensorDefinition:
    """The sensor; on from the start. It starts no run."""

    @dg.sensor(
        name=LATE_MONTH,
        minimum_interval_seconds=_SECONDS_BETWEEN_LOOKS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=f"Writes and posts an alert, once a day, when {DAILY_REFINE} is on and the month that is "
        f"due was not published within {HOURS_FOR_THE_DAILY_RUN} hours of {DAILY_REFINE_HOUR:02d}:00.",
    )
    def late_month(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        ours = our_automation(context.instance)
        schedule = next((state for state in ours if state.name == DAILY_REFINE), None)
        if schedule is not None and not schedule.is_running:
            return dg.SensorResult(skip_reason=f"{DAILY_REFINE} is off, so no month is due at any time.")
        late = find_late_month(context.instance, settings, datetime.now(UTC))
        if late is None:
            return dg.SensorResult(skip_reason="No month is late.")
        reported = late.until.isoformat()
        if context.cursor != reported:
            deliver(settings, _alert(context.instance, schedule, late), context.log)
        return dg.SensorResult(skip_reason=str(late), cursor=reported)

    return late_month


def find_late_month(instance: dg.DagsterInstance, settings: Settings, now: datetime) -> LateMonth | None:
    """The month that is late at a moment, if one is.

    In the first `settings.late_days` days of a month its own files may not have come yet: then it is enough
    that the month before is published at all. A table that was never published is not late.
    """
    since, until = _last_daily_run(settings, now)
    running = Month.of(since.date())
    due = months_due(since.date(), settings)
    if running not in due or not _was_published_before(instance, until):
        return None
    published = _published(instance, due)
    if since.date().day <= settings.late_days:
        missing = [month for month in due if month != running and month not in published]
        return LateMonth(missing[0], since, until, None) if missing else None
    last = published.get(running)
    if last is not None and last >= since:
        return None
    return LateMonth(running, since, until, last and last.astimezone(since.tzinfo))


def _last_daily_run(settings: Settings, now: datetime) -> tuple[datetime, datetime]:
    """Begin and end of the hours of the daily run that were over the last."""
    zone = ZoneInfo(settings.timezone)

    def begin(day: date) -> datetime:
        return datetime(day.year, day.month, day.day, DAILY_REFINE_HOUR, tzinfo=zone)

    length = timedelta(hours=HOURS_FOR_THE_DAILY_RUN)
    today = now.astimezone(zone).date()
    since = begin(today)
    if now < since + length:
        since = begin(today - timedelta(days=1))
    return since, since + length


def _was_published_before(instance: dg.DagsterInstance, moment: datetime) -> bool:
    """Whether any month was."""
    earlier = dg.AssetRecordsFilter(asset_key=dg.AssetKey(PROCESSED_DATA), before_timestamp=moment.timestamp())
    return bool(instance.fetch_materializations(earlier, limit=1).records)


def _published(instance: dg.DagsterInstance, months: Sequence[Month]) -> dict[Month, datetime]:
    """When each month was published the last time."""
    found = {}
    for month in months:
        records = instance.fetch_materializations(
            dg.AssetRecordsFilter(asset_key=dg.AssetKey(PROCESSED_DATA), asset_partitions=[str(month)]),
            limit=1,
        ).records
        if records:
            found[month] = datetime.fromtimestamp(records[0].timestamp, UTC)
    return found


def _alert(instance: dg.DagsterInstance, schedule: InstigatorState | None, late: LateMonth) -> dict[str, Any]:
    return {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "run_id": None,
        "job": DAILY_REFINE,
        "months": str(late.month),
        "failed_checks": [],
        "problems": [str(late), *_last_tick(instance, schedule), *_last_run(instance, late.month)],
        "recovery": [
            f"See what {DAILY_REFINE} did, have missing or faulty files exported, and materialize {late.month}."
        ],
    }


def _last_tick(instance: dg.DagsterInstance, schedule: InstigatorState | None) -> Iterator[str]:
    """Why the schedule started no run, if it did not."""
    ticks = instance.get_ticks(schedule.instigator_origin_id, schedule.selector_id, limit=1) if schedule else ()
    for tick in ticks:
        moment = datetime.fromtimestamp(tick.timestamp, UTC).isoformat(timespec="minutes")
        if tick.skip_reason:
            yield f"{DAILY_REFINE} skipped at {moment}: {tick.skip_reason}"
        elif tick.error:
            yield f"{DAILY_REFINE} failed at {moment}: {tick.error.message.strip()}"


def _last_run(instance: dg.DagsterInstance, month: Month) -> Iterator[str]:
    """What became of the month in the last run that the schedule started."""
    # Two at a time, where a run takes one month.
    runs = instance.get_runs(dg.RunsFilter(tags={SCHEDULE_NAME_TAG: DAILY_REFINE}), limit=2)
    for run in [run for run in runs if month in months_in(run.tags)][:1]:
        refused = read_outcome(instance, run).refused.get(str(month)) if run.is_failure else None
        if refused:
            yield f"The last run of {DAILY_REFINE}, {run.run_id}, refused {month}: {' '.join(refused)}"
        else:
            yield f"The last run of {DAILY_REFINE}, {run.run_id}, has the status {run.status.value}."
