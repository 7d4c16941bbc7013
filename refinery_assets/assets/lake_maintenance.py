"""The job `lake_maintenance`: what `refinery lake maintain` does, every night, where the warehouse is a lake.

Here: the op, and when it runs. Not here: what it does (`warehouse/lake_maintenance.py`).

Dagster reads the types of an op as they are, so that annotations are not put off here.
"""

import dagster as dg

from refinery_assets.assets.resources import (
    WarehouseHeldError,
    WarehouseMissingError,
    WarehouseUnusableError,
    pool_of,
    try_again_or_fail,
)
from refinery_assets.contract.settings import Settings
from refinery_assets.feed.store import StoreError
from refinery_assets.warehouse.lake_maintenance import maintain
from refinery_assets.warehouse.tables import LakeNotReadyError, LostRaceError

LAKE_MAINTENANCE = "lake_maintenance"
DAILY_LAKE_MAINTENANCE = "daily_lake_maintenance"
MAINTENANCE_HOUR = 3


def build_lake_maintenance(settings: Settings) -> dg.JobDefinition:
    """The job."""

    @dg.op(name="maintain_lake", pool=pool_of(settings))
    def maintain_lake(context: dg.OpExecutionContext) -> None:
        try:
            done = maintain(settings)
        except (WarehouseHeldError, LostRaceError) as error:
            raise try_again_or_fail(error, context.retry_number, settings) from error
        except (WarehouseMissingError, WarehouseUnusableError, LakeNotReadyError, StoreError) as error:
            raise dg.Failure(description=str(error), allow_retries=False) from error
        context.log.info(f"{done.summary} {done.proof}")
        if done.problem is not None:
            raise dg.Failure(description=done.problem, allow_retries=False)

    @dg.job(
        name=LAKE_MAINTENANCE,
        description="Merge small files of the lake, forget old snapshots, delete what nothing refers to, and prove "
        "that every published month still sums to its receipt.",
    )
    def lake_maintenance() -> None:
        maintain_lake()

    return lake_maintenance


def build_daily_lake_maintenance(settings: Settings) -> dg.ScheduleDefinition:
    """The schedule; on from the start, at an hour when little is published."""
    return dg.ScheduleDefinition(
        name=DAILY_LAKE_MAINTENANCE,
        job_name=LAKE_MAINTENANCE,
        cron_schedule=f"0 {MAINTENANCE_HOUR} * * *",
        execution_timezone=settings.timezone,
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="Maintains the lake every day.",
    )
