"""What starts the graph: the jobs `refine` and `audit`, and the daily schedule.

Here: which months a day calls for. Not here: the feed sensor (`feed_sensor.py`) and the alerts
(`alerts.py`, `lateness.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from zoneinfo import ZoneInfo

import dagster as dg

from refinery_assets.contract.families import HOST_INVENTORY, PROCESSED_DATA
from refinery_assets.contract.months import Month
from refinery_assets.contract.settings import Settings
from refinery_assets.feed.files import feed_extent, feed_files
from refinery_assets.operations.partitions import run_request

REFINE = "refine"
AUDIT = "audit"
DAILY_REFINE = "daily_refine"
DAILY_REFINE_HOUR = 6
HOURS_FOR_THE_DAILY_RUN = 2


def build_jobs() -> list[dg.UnresolvedAssetJobDefinition]:
    """The jobs over the graph."""
    return [
        dg.define_asset_job(
            REFINE,
            # The checks of an external asset are not part of "all assets".
            selection=dg.AssetSelection.all() | dg.AssetSelection.checks_for_assets(HOST_INVENTORY),
            description="Audit the entrance, refine the families, and publish the months.",
        ),
        dg.define_asset_job(
            AUDIT,
            selection=dg.AssetSelection.checks_for_assets(HOST_INVENTORY, PROCESSED_DATA),
            description="Judge the inventory and the published table again, without rewriting anything.",
        ),
    ]


def months_due(day: date, settings: Settings) -> list[Month]:
    """The months that a daily run is for: the running one, and in its first days the one before."""
    running = Month.of(day)
    due = [running.previous, running] if day.day <= settings.late_days else [running]
    last = settings.last_month or running
    return [month for month in due if settings.first_month <= month <= last]


def build_daily_refine(settings: Settings) -> dg.ScheduleDefinition:
    """The schedule; it leaves it to the entrance audit to judge what is there of the running month."""

    @dg.schedule(
        name=DAILY_REFINE,
        job_name=REFINE,
        cron_schedule=f"0 {DAILY_REFINE_HOUR} * * *",
        execution_timezone=settings.timezone,
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="Refines the running month every day, joined by the month before during the first "
        f"{settings.late_days} days of a month.",
    )
    def daily_refine(context: dg.ScheduleEvaluationContext) -> Sequence[dg.RunRequest] | dg.SkipReason:
        day = context.scheduled_execution_time.astimezone(ZoneInfo(settings.timezone)).date()
        running = Month.of(day)
        due = months_due(day, settings)
        if running not in due:
            return dg.SkipReason(
                f"The running month {running} is outside the window from {settings.first_month} to "
                f"{settings.last_month or running}; see REFINERY_FIRST_MONTH and REFINERY_LAST_MONTH."
            )
        files = feed_files(settings, [running])
        if not any(file.is_there for file in files):
            return dg.SkipReason(
                f"No file of the running month {running} is in the feed yet; the first would be "
                f"{files[0].name} below {settings.feed}."
            )
        if settings.months_per_run is not None:
            # A run leaves out what is not exported yet, but judges it where it is all that the run is for.
            extent = feed_extent(settings)
            due = [month for month in due if extent.holds(month)]
        spans = Month.unbroken(due, settings.months_per_run)
        if len(spans) == 1:
            return [run_request(due, run_key=day.isoformat())]
        return [run_request(span, run_key=f"{day.isoformat()} {span[0]}") for span in spans]

    return daily_refine
