"""The one partitions definition: every asset is partitioned by month, and a range of months is one run.

Here: the window of months and how a run names the months it is for. Not here: the calendar (`months.py`).
"""

from __future__ import annotations

from collections.abc import Sequence

import dagster as dg

from refinery_assets.contract.months import Month
from refinery_assets.contract.settings import Settings

ONE_RUN = dg.BackfillPolicy.single_run()
"""Every asset carries it: a backfill of any range of months is one run."""


def monthly_partitions(settings: Settings) -> dg.MonthlyPartitionsDefinition:
    """The months from the first of the window to the last, or to the running month, which is included."""
    last = settings.last_month
    return dg.MonthlyPartitionsDefinition(
        start_date=str(settings.first_month),
        end_date=None if last is None else str(last.next),
        fmt="%Y-%m",
        end_offset=1,
        # The daily run's zone, or else the first run of a month could come before its partition.
        timezone=settings.timezone,
    )


def months_of(context: dg.AssetExecutionContext) -> list[Month]:
    """The months that the run is for, in order."""
    return sorted(Month.parse(key) for key in context.partition_keys)


def months_of_run(run: dg.DagsterRun) -> list[Month]:
    """The months that a run is for, in order, by its tags; none for a run that is for no month."""
    tags = run.tags
    first = tags.get("dagster/partition") or tags.get("dagster/asset_partition_range_start")
    last = tags.get("dagster/partition") or tags.get("dagster/asset_partition_range_end")
    return list(Month.span(Month.parse(first), Month.parse(last))) if first and last else []


def run_request(months: Sequence[Month], run_key: str) -> dg.RunRequest:
    """One run over `months`, which follow one another without a gap."""
    first, last = str(months[0]), str(months[-1])
    if first == last:
        return dg.RunRequest(run_key=run_key, partition_key=first)
    return dg.RunRequest(run_key=run_key, tags=range_tags(months[0], months[-1]))


def range_tags(first: Month, last: Month) -> dict[str, str]:
    """The tags by which the UI and the CLI, too, make one run of a range of months."""
    return {
        "dagster/asset_partition_range_start": str(first),
        "dagster/asset_partition_range_end": str(last),
    }
