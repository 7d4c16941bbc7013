"""The sensor `feed_changes`: asks for a run when months of the feed are new or changed.

Here: Dagster's side. Not here: what counts as a change (`feed/changes.py`).
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import datetime
from zoneinfo import ZoneInfo

import dagster as dg

from refinery_assets.checks.rules import listing
from refinery_assets.contract.months import Month
from refinery_assets.contract.settings import Settings
from refinery_assets.feed.changes import FeedSeen, look_for_changes
from refinery_assets.operations.automation import REFINE
from refinery_assets.operations.partitions import run_request

FEED_CHANGES = "feed_changes"
_SECONDS_BETWEEN_LOOKS = 60


def build_feed_changes(settings: Settings) -> dg.SensorDefinition:
    """The sensor over the files below `settings.feed`."""

    @dg.sensor(
        name=FEED_CHANGES,
        job_name=REFINE,
        minimum_interval_seconds=_SECONDS_BETWEEN_LOOKS,
        default_status=dg.DefaultSensorStatus.STOPPED,
        description="Refines months whose files are new or hold something else than when they were last "
        f"asked for, after a rest of {settings.quiet_seconds:g} s; adjacent months are one run.",
    )
    def feed_changes(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        last = settings.last_month or Month.of(datetime.now(ZoneInfo(settings.timezone)).date())
        before = FeedSeen.parse(context.cursor)
        changes = look_for_changes(settings, Month.span(settings.first_month, last), before, time.time())
        # A cursor is written only where there is something new to remember.
        cursor = str(changes.seen) if changes.seen != before else None
        if not changes.changed:
            return dg.SensorResult(skip_reason=_why_not(changes.unsettled, settings), cursor=cursor)
        return dg.SensorResult(
            run_requests=[run_request(span, changes.request_key(span)) for span in changes.spans()],
            cursor=cursor,
        )

    return feed_changes


def _why_not(unsettled: Sequence[Month], settings: Settings) -> str:
    if unsettled:
        return (
            f"Files of {listing(unsettled)} were changed less than {settings.quiet_seconds:g} s ago "
            "(REFINERY_QUIET_SECONDS)."
        )
    if not settings.feed.is_dir():
        return f"The feed's root {settings.feed} is not a folder (REFINERY_FEED)."
    return "Nothing has changed in the feed."
