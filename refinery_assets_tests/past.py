"""A Dagster history made up at given moments: publications, and ticks of sensors and schedules."""

from __future__ import annotations

from datetime import datetime

import dagster as dg
from dagster._core.definitions.run_request import InstigatorType
from dagster._core.events import DagsterEvent, StepMaterializationData
from dagster._core.instance.utils import RUNLESS_JOB_NAME, RUNLESS_RUN_ID
from dagster._core.remote_origin import RemoteRepositoryOrigin
from dagster._core.scheduler.instigation import (
    InstigatorState,
    InstigatorStatus,
    ScheduleInstigatorData,
    TickData,
    TickStatus,
)
from dagster_shared.error import SerializableErrorInfo

from refinery_assets.contract.families import PROCESSED_DATA
from refinery_assets.contract.months import Month
from refinery_assets.operations.automation import REFINE
from refinery_assets.operations.runs import job_origin


def published(instance: dg.DagsterInstance, month: Month, moment: datetime) -> None:
    """Note a publication of a month."""
    event = DagsterEvent(
        event_type_value=dg.DagsterEventType.ASSET_MATERIALIZATION.value,
        event_specific_data=StepMaterializationData(dg.AssetMaterialization(PROCESSED_DATA, partition=str(month))),
        job_name=RUNLESS_JOB_NAME,
    )
    instance.report_dagster_event(event, RUNLESS_RUN_ID, timestamp=moment.timestamp())


def turned(instance: dg.DagsterInstance, name: str, status: InstigatorStatus) -> InstigatorState:
    """Let the daemon have seen a sensor or schedule of this project."""
    repository: RemoteRepositoryOrigin = job_origin(REFINE).repository_origin
    state = InstigatorState(
        repository.get_instigator_origin(name),
        InstigatorType.SCHEDULE,
        status,
        ScheduleInstigatorData("0 6 * * *"),
    )
    return instance.add_instigator_state(state)


def ticked(
    instance: dg.DagsterInstance,
    state: InstigatorState,
    status: TickStatus,
    moment: datetime,
    *,
    told: str | None = None,
) -> None:
    """Note a tick, with what it told: the reason of a skip, or an error."""
    failed = status is TickStatus.FAILURE
    instance.create_tick(
        TickData(
            instigator_origin_id=state.instigator_origin_id,
            instigator_name=state.name,
            instigator_type=state.instigator_type,
            status=status,
            timestamp=moment.timestamp(),
            selector_id=state.selector_id,
            skip_reason=None if failed else told,
            error=SerializableErrorInfo(told or "", [], None) if failed else None,
        )
    )
