"""What every step of the graph does at its beginning and at its end.

Here: the months a step is for, the ledger that it hands on, the events that it logs, and who fails the run: the
last step of it, so that the months that are fine get through all steps before. Not here: the work of a step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import wraps
from typing import Any, ParamSpec

import dagster as dg

from refinery_assets.assets.checks import judged, refusal, refused_months
from refinery_assets.assets.io_manager import failing_out_of_reach
from refinery_assets.assets.month_events import (
    Context,
    MaterializedMonth,
    is_in_run,
    is_last_step,
    log_months,
    silent_outputs,
)
from refinery_assets.assets.resources import (
    Warehouse,
    WarehouseHeldError,
    WarehouseMissingError,
    WarehouseUnusableError,
)
from refinery_assets.checks.rules import Verdict, counted, listing, refusals
from refinery_assets.contract.families import LEGACY_FEED, MONTHLY_REPORT, PROCESSED_DATA
from refinery_assets.contract.months import Month
from refinery_assets.contract.settings import Settings
from refinery_assets.feed.files import FeedExtent, feed_extent
from refinery_assets.feed.store import StoreError
from refinery_assets.operations.backfills import months_asked_together
from refinery_assets.operations.partitions import months_of
from refinery_assets.rows.source_checks import months_asked
from refinery_assets.warehouse.audits import record_audits
from refinery_assets.warehouse.family_partitions import partitions_there
from refinery_assets.warehouse.ledger import RunLedger, StepRecord
from refinery_assets.warehouse.tables import ForeignTableError, LostRaceError, transaction

Given = ParamSpec("Given")

# Whatever refused a month, it comes to light in these.
_ANSWER_FOR_ALL = {PROCESSED_DATA, MONTHLY_REPORT}

FORCE_TAG = "refinery/force"
"""A run with this tag set to `true` rewrites months although nothing has changed."""


def needs_stores(step: Callable[Given, Iterator[Any]]) -> Callable[Given, Iterator[Any]]:
    """Have a step fail with a sentence where an object store cannot be reached; no month is to blame for it."""

    @wraps(step)
    def wrapper(*args: Given.args, **kwargs: Given.kwargs) -> Iterator[Any]:
        with failing_out_of_reach():
            yield from step(*args, **kwargs)

    return wrapper


def ledger_of(context: Context, settings: Settings) -> RunLedger:
    """The ledger of the step's run."""
    return RunLedger(settings.telemetry, context.run.run_id)


def is_forced(context: dg.AssetExecutionContext) -> bool:
    """Whether the run is asked to rewrite what has not changed."""
    return context.run.tags.get(FORCE_TAG, "").lower() == "true"


def months_to_do(
    context: dg.AssetExecutionContext, settings: Settings, extent: FeedExtent | None = None
) -> tuple[list[Month], list[Month]]:
    """The run's months to judge, and those to leave out because they are not exported yet.

    What the run's entrance audit has decided holds for all of its steps.
    """
    entrance = ledger_of(context, settings).read(LEGACY_FEED)
    if entrance is not None:
        left_out = list(entrance.left_out)
        return [month for month in months_of(context) if month not in left_out], left_out
    extent = extent or feed_extent(settings)
    together = months_asked_together(context.instance, context.run, settings)
    months, left_out = months_asked(months_of(context), extent.widened(partitions_there(settings)), together)
    if left_out:
        context.log.info(
            f"Left out, because the feed holds nothing of them yet: {listing(left_out)} "
            f"({counted(len(left_out), 'month')})."
        )
    return months, left_out


def conclude(  # noqa: PLR0913 - what a step has to say
    context: Context,
    warehouse: Warehouse,
    settings: Settings,
    record: StepRecord,
    materialized: Sequence[MaterializedMonth],
    *,
    refused_by: Sequence[Verdict] = (),
    outputs: Iterator[Any] | None = None,
) -> Iterator[Any]:
    """Hand on what the step found, log it, yield its outputs, and fail the run if there is no later step.

    Args:
        context: The step's context.
        warehouse: For the verdicts of a run that never comes to publish.
        settings: Where the ledger is.
        record: What the step found.
        materialized: The months that now stand.
        refused_by: The verdicts by which months were refused here, those of earlier steps among them.
        outputs: The outputs that are still to be yielded; None: all of them.

    Raises:
        dg.Failure: The step is the run's last, and months were refused.
    """
    ledger = _keep(context, settings, record)
    selected = {(key.asset_key.to_user_string(), key.name) for key in context.selected_asset_check_keys}
    # Of its own checks those that it was asked for; and what it came to say of other assets in their stead.
    to_log = [
        verdict
        for verdict in record.verdicts
        if verdict.asset != record.asset or (verdict.asset, verdict.check) in selected
    ]
    refused = refused_months(refused_by)
    yield from log_months(context, record.asset, materialized, [judged(verdict) for verdict in to_log], refused)
    yield from silent_outputs(context) if outputs is None else outputs
    if is_last_step(context):
        _end_run(context, warehouse, ledger, record.asset, len(materialized))


def record_reaudit(
    context: Context, warehouse: Warehouse, settings: Settings, asset: str, verdicts: Sequence[Verdict]
) -> None:
    """Add to `audits` what a run over no month, which publishes nothing, says of the published months."""
    ledger = _keep(context, settings, StepRecord(asset, verdicts))
    if _record_unpublished(context, warehouse, ledger):
        ledger.remove()


def _keep(context: Context, settings: Settings, record: StepRecord) -> RunLedger:
    """Write the record to the run's ledger.

    Raises:
        dg.Failure: That cannot be done.
    """
    ledger = ledger_of(context, settings)
    try:
        ledger.write(record)
    except OSError as error:
        raise dg.Failure(
            description=f"The folder {settings.telemetry} cannot be written; check the free space and the permissions "
            f"there (REFINERY_TELEMETRY), then run again. The cause: {error}",
            allow_retries=False,
        ) from error
    return ledger


def whole_window(settings: Settings) -> FeedExtent:
    """For a step that leaves out no month by itself."""
    return FeedExtent(settings.window[0], settings.window[-1])


def _end_run(context: Context, warehouse: Warehouse, ledger: RunLedger, asset: str, good: int) -> None:
    """Keep the run's verdicts where `processed_data` does not, and raise when months were refused.

    Of several steps that nothing waits for, each answers for itself and for the entrance audit.

    Raises:
        dg.Failure: Months were refused.
    """
    verdicts = ledger.verdicts()
    if asset not in _ANSWER_FOR_ALL:
        verdicts = [verdict for verdict in verdicts if verdict.asset in {asset, LEGACY_FEED}]
    refused = refusals(verdicts)
    if not is_in_run(context, PROCESSED_DATA):
        _record_unpublished(context, warehouse, ledger)
    elif asset in _ANSWER_FOR_ALL:
        ledger.remove()
    if refused:
        raise refusal(refused, good)


def _record_unpublished(context: Context, warehouse: Warehouse, ledger: RunLedger) -> bool:
    """Write the verdicts of a run that publishes nothing to `audits`; where it cannot be done, a later run does it."""
    try:
        with warehouse.get_connection() as connection, transaction(connection):
            for record in ledger.records():
                record_audits(connection, ledger.run_id, record.verdicts, moment=record.moment)
    except (
        WarehouseMissingError,
        WarehouseHeldError,
        WarehouseUnusableError,
        ForeignTableError,
        LostRaceError,
        StoreError,
    ) as error:
        context.log.warning(
            f"What the checks said is not in the table audits yet; the next run that publishes adds it. {error}"
        )
        return False
    return True
