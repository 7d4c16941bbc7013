"""The sensor `feed_changes`: asks for a run when months of the feed are new or changed.

Here: Dagster's side, and how the runs ended that were asked for. Not here: what counts as a change and when a
month is asked for again (`feed/changes.py`).
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from datetime import datetime
from zoneinfo import ZoneInfo

import dagster as dg
from dagster._core.storage.tags import RUN_KEY_TAG

from refinery_assets.checks.rules import counted, listing, shortened
from refinery_assets.contract.months import Month
from refinery_assets.contract.settings import Settings
from refinery_assets.feed.changes import FeedSeen, MonthSeen, look_for_changes
from refinery_assets.feed.files import open_feed
from refinery_assets.operations.automation import REFINE
from refinery_assets.operations.outcomes import read_outcome, will_run_again
from refinery_assets.operations.partitions import run_request

FEED_CHANGES = "feed_changes"
_SECONDS_BETWEEN_LOOKS = 60
_LONGEST_CAUSE = 400


def build_feed_changes(settings: Settings) -> dg.SensorDefinition:
    """The sensor over the files below `settings.feed`."""
    limit = settings.months_per_run
    adjacent = "adjacent months are one run" + (f", of at most {counted(limit, 'month')}" if limit else "")

    @dg.sensor(
        name=FEED_CHANGES,
        job_name=REFINE,
        minimum_interval_seconds=_SECONDS_BETWEEN_LOOKS,
        default_status=dg.DefaultSensorStatus.STOPPED,
        description="Refines months whose files are new or hold something else than when they were last "
        f"asked for, after a rest of {settings.quiet_seconds:g} s; {adjacent}. A month "
        "whose run failed for a passing reason is asked for again.",
    )
    def feed_changes(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        last = settings.last_month or Month.of(datetime.now(ZoneInfo(settings.timezone)).date())
        remembered = FeedSeen.parse(context.cursor)
        before = remembered.with_months(_outcomes(context.instance, remembered))
        changes = look_for_changes(settings, Month.span(settings.first_month, last), before, time.time())
        requests, seen = changes.requests()
        # A cursor is written only where there is something new to remember.
        cursor = str(seen) if seen != remembered else None
        if not requests:
            reason = " ".join([_why_not(changes.unsettled, settings), *_troubles(seen, settings)])
            return dg.SensorResult(skip_reason=reason, cursor=cursor)
        return dg.SensorResult(run_requests=[run_request(span, key) for key, span in requests.items()], cursor=cursor)

    return feed_changes


def _outcomes(instance: dg.DagsterInstance, seen: FeedSeen) -> dict[str, MonthSeen]:
    """The months whose runs have ended since the last look, with how they ended."""
    known: dict[str, MonthSeen] = {}
    for request, months in seen.awaited().items():
        # Dagster puts the request's key on its run; a run that was repeated by hand carries it, too.
        records = instance.get_run_records(dg.RunsFilter(tags={RUN_KEY_TAG: request}), limit=1)
        run = records[0].dagster_run if records else None
        if run is not None and (not run.is_finished or will_run_again(run)):
            continue
        again: Sequence[Month] = []
        if run is not None and run.is_failure:
            outcome = read_outcome(instance, run)
            again = outcome.months_to_ask_again([Month.parse(month) for month in months])
            causes = shortened(" ".join(outcome.causes), _LONGEST_CAUSE)
            trouble = f"run {run.run_id} failed: {causes}"
            ended = records[0].end_time or time.time()
            known |= {str(month): seen.months[str(month)].failed(trouble, ended) for month in again}
        known |= {month: seen.months[month].ended_well() for month in months if month not in known}
    return known


def _why_not(unsettled: Sequence[Month], settings: Settings) -> str:
    if unsettled:
        return (
            f"Files of {listing(unsettled)} were changed less than {settings.quiet_seconds:g} s ago "
            "(REFINERY_QUIET_SECONDS)."
        )
    feed = open_feed(settings.feed, follow_links=settings.follow_links)
    if problem := feed.root_problem:
        return f"The feed's root {feed} {problem} (REFINERY_FEED)."
    return "Nothing has changed in the feed."


def _troubles(seen: FeedSeen, settings: Settings) -> Iterator[str]:
    """What keeps months from being published that were asked for."""
    zone = ZoneInfo(settings.timezone)
    months_by_problem: dict[str, list[str]] = {}
    for month, state in sorted(seen.months.items()):
        if state.trouble is None:
            continue
        if state.ask_at is not None:
            moment = datetime.fromtimestamp(state.ask_at, zone).strftime("%H:%M")
            what = f"asked for again at {moment}"
        else:
            what = (
                f"not asked for again by itself after {state.failures} failures in a row: materialize it "
                "by hand once the cause is fixed"
            )
        months_by_problem.setdefault(f"{what}; {state.trouble}", []).append(month)
    for what, months in months_by_problem.items():
        yield f"{listing(months)}: {what}"
