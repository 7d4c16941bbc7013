"""The one partitions definition: every asset is partitioned by month, and a range of months is one run.

Here: the window of months and how a run names the months it is for. Not here: the calendar (`months.py`).
"""

from __future__ import annotations

import dagster as dg

from refinery_assets.months import Month
from refinery_assets.settings import Settings

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
    )


def months_of(context: dg.AssetExecutionContext) -> list[Month]:
    """The months that the run is for, in order."""
    return sorted(Month.parse(key) for key in context.partition_keys)
