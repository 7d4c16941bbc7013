"""The one partitions definition: every asset is partitioned by month, and a range of months is one run, or several.

Here: the window of months, how a range is divided into runs, and how a run names the months it is for. Not here: the
calendar (`contract/months.py`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import dagster as dg
from dagster._core.definitions.partitions.context import PartitionLoadingContext

from refinery_assets.contract.months import Month
from refinery_assets.contract.settings import Settings

ONE_RUN = dg.BackfillPolicy.single_run()
"""Every asset carries it unless `REFINERY_MONTHS_PER_RUN` is set: a backfill of any range of months is one run."""

_MONTH_TAG = "dagster/partition"
_FIRST_TAG = "dagster/asset_partition_range_start"
_LAST_TAG = "dagster/asset_partition_range_end"


class MonthOutsideWindowError(dg.DagsterInvariantViolationError):
    """A run was asked for with a month that the window lacks; the message names the setting.

    Not Dagster's own error of unknown partitions, in whose place its command line says something else.
    """


class MonthWindow(dg.MonthlyPartitionsDefinition):
    """Months as partitions; a month outside is refused in a sentence that names the setting."""

    def validate_partition_key(self, partition_key: str, context: PartitionLoadingContext) -> None:
        """Raise unless the month is in the window.

        Raises:
            MonthOutsideWindowError: It is not; the message says what to set.
        """
        with dg.partition_loading_context(new_ctx=context):
            self._refuse_outside(partition_key)

    def get_partition_keys_in_range(self, partition_key_range: dg.PartitionKeyRange) -> Sequence[str]:
        """The months from the first to the last of a range.

        Raises:
            MonthOutsideWindowError: One of these two is outside the window.
        """
        for end in (partition_key_range.start, partition_key_range.end):
            self._refuse_outside(end)
        if partition_key_range.start > partition_key_range.end:
            raise MonthOutsideWindowError(
                f"The range ends with {partition_key_range.end}, before it begins with {partition_key_range.start}; "
                "name the earlier month first."
            )
        return super().get_partition_keys_in_range(partition_key_range)

    def _refuse_outside(self, key: str) -> None:
        if self.has_partition_key(key):
            return
        first, last = self.get_first_partition_key(), self.get_last_partition_key()
        try:
            month = Month.parse(key)
        except ValueError:
            message = f"'{key}' is not a month; expected YYYY-MM, such as {last or first}."
        else:
            if first is None or month < Month.parse(first):
                message = (
                    f"{key} is before {first or 'any month'}, where the window begins; set "
                    f"REFINERY_FIRST_MONTH to {key} or earlier to include it."
                )
            elif self.end is not None and month.first_day >= self.end.date():
                message = (
                    f"{key} is after {last}, where the window ends; set REFINERY_LAST_MONTH to {key} or "
                    "later to include it."
                )
            else:
                message = f"{key} has not begun: the window ends with the running month {last}."
        raise MonthOutsideWindowError(message)


def backfill_policy(settings: Settings) -> dg.BackfillPolicy:
    """What every asset carries: one run for any range of months, or runs of so many months each.

    It must be the same for all of them, or Dagster puts each asset into runs of its own.
    """
    if settings.months_per_run is None:
        return ONE_RUN
    return dg.BackfillPolicy.multi_run(max_partitions_per_run=settings.months_per_run)


def monthly_partitions(settings: Settings) -> MonthWindow:
    """The months from the first of the window to the last, or to the running month, which is included."""
    last = settings.last_month
    return MonthWindow(
        start_date=str(settings.first_month),
        end_date=None if last is None else str(last.next),
        fmt="%Y-%m",
        end_offset=1,
        # The daily run's zone, or else the first run of a month could come before its partition.
        timezone=settings.timezone,
    )


def months_of(context: dg.AssetExecutionContext) -> list[Month]:
    """The months that the run is for, in order.

    Raises:
        dg.Failure: It names none, as a run from a script may.
    """
    if not months_in(context.run.tags):
        raise dg.Failure(
            description="The run names no month: start it over one (refinery run 2024-05, or dg launch --job refine "
            "--partition 2024-05) or over a range (refinery run 2024-01..2024-12, or --partition-range "
            "2024-01...2024-12).",
            allow_retries=False,
        )
    return sorted(Month.parse(key) for key in context.partition_keys)


def run_request(months: Sequence[Month], run_key: str) -> dg.RunRequest:
    """One run over `months`, which follow one another without a gap and are no more than a run may take."""
    if len(months) == 1:
        return dg.RunRequest(run_key=run_key, partition_key=str(months[0]))
    return dg.RunRequest(run_key=run_key, tags=month_tags(months))


def month_tags(months: Sequence[Month]) -> dict[str, str]:
    """The tags by which a run names its months, which follow one another without a gap.

    Raises:
        ValueError: There is a gap.
    """
    if not months:
        return {}
    if len(Month.unbroken(months)) > 1:
        raise ValueError(f"{', '.join(map(str, months))} leave a gap, so they are more than one run.")
    if len(months) == 1:
        return {_MONTH_TAG: str(months[0])}
    return range_tags(months[0], months[-1])


def range_tags(first: Month, last: Month) -> dict[str, str]:
    """The tags by which the UI and the CLI, too, make one run of a range of months."""
    return {_FIRST_TAG: str(first), _LAST_TAG: str(last)}


def months_in(tags: Mapping[str, str]) -> list[Month]:
    """The months that a run's tags name, in order; none for a run without months."""
    if month := tags.get(_MONTH_TAG):
        return [Month.parse(month)]
    if _FIRST_TAG in tags and _LAST_TAG in tags:
        return list(Month.span(Month.parse(tags[_FIRST_TAG]), Month.parse(tags[_LAST_TAG])))
    return []
