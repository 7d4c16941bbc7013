"""What one run over any range of months reports to Dagster: what each month became, how each check judged it.

By itself Dagster records a run over a range as if all its months had come out alike: every month materialized,
and for each check one evaluation that belongs to no month. So a step yields outputs for which Dagster records
nothing, and reports the months one by one.

Here: the events and the outputs. Not here: what a verdict says (`checks.py`).
"""

from __future__ import annotations

import logging
import os
import warnings
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import dagster as dg
from dagster._core.definitions.asset_checks.asset_check_evaluation import (
    AssetCheckEvaluation,
    AssetCheckEvaluationTargetMaterializationData,
)
from dagster._core.definitions.data_version import DATA_VERSION_IS_USER_PROVIDED_TAG, DATA_VERSION_TAG
from dagster._core.definitions.source_asset import SYSTEM_METADATA_KEY_SOURCE_ASSET_OBSERVATION
from dagster._core.events import (
    BATCH_WRITABLE_EVENTS,
    AssetObservationData,
    DagsterEvent,
    DagsterEventBatchMetadata,
    StepMaterializationData,
)

from refinery_assets.checks.rules import counted
from refinery_assets.operations.event_batches import StoresTogether

SILENT: Mapping[str, Any] = {SYSTEM_METADATA_KEY_SOURCE_ASSET_OBSERVATION: True}
"""Metadata of an output for which Dagster records no materialization; the IO manager still gets its value."""

Context = dg.AssetExecutionContext | dg.AssetCheckExecutionContext


@dataclass(frozen=True)
class MaterializedMonth:
    """A month that now stands as its data version says, newly written or found unchanged."""

    month: str
    data_version: str
    metadata: Mapping[str, Any]


@dataclass(frozen=True)
class RefusedMonth:
    """A month that was refused: it stays marked as failed, and its page says why and what to do."""

    month: str
    metadata: Mapping[str, Any]


@dataclass(frozen=True)
class JudgedMonth:
    """What a check found in a month; without a month, what it found in all."""

    asset: str
    check: str
    month: str | None
    passed: bool
    severity: dg.AssetCheckSeverity
    description: str
    metadata: Mapping[str, Any]


def log_months(
    context: Context,
    asset: str,
    materialized: Sequence[MaterializedMonth],
    judged: Sequence[JudgedMonth],
    refused: Sequence[RefusedMonth] = (),
) -> list[DagsterEvent]:
    """Log the outcomes of the months of `asset`, and the verdicts on months of checks of any asset.

    The events are stored when this returns. To yield them, too, puts them into the result that
    `execute_in_process` and `dg.materialize` give.
    """
    log = _StepLog(context)
    log.write(
        (
            dg.DagsterEventType.ASSET_MATERIALIZATION,
            StepMaterializationData(_materialization(asset, month)),
            f"Materialized {asset} of {month.month}.",
        )
        for month in materialized
    )
    # The page shows the newest event of a month; without one of its own, a refused month shows its old figures.
    log.write(
        (
            dg.DagsterEventType.ASSET_OBSERVATION,
            AssetObservationData(dg.AssetObservation(asset, partition=month.month, metadata=month.metadata)),
            f"Refused {asset} of {month.month}.",
        )
        for month in refused
    )
    # Last, for an evaluation points at the materialization that it is about. One that points elsewhere, or
    # nowhere, is taken for outdated, and the check is shown as never evaluated.
    targets = _latest_materializations(context, judged)
    if not context.run.is_partitioned:
        judged = [*judged, *_summed_up(judged)]
    log.write(
        (
            dg.DagsterEventType.ASSET_CHECK_EVALUATION,
            _evaluation(context, one, targets.get((one.asset, one.month))),
            f"Check {one.check} of {one.asset}{f', {one.month}' if one.month else ''}: {one.description}",
        )
        for one in judged
    )
    return log.written


def silent_outputs(context: Context, *, value: Any = None) -> Iterator[dg.Output[None] | dg.MaterializeResult[Any]]:
    """An output for all that is selected in this step, so that what waits for it runs, and nothing is noted.

    A `value` goes to the asset's IO manager.
    """
    for asset in sorted(_selected_assets(context)):
        if value is None:
            yield dg.MaterializeResult(asset_key=asset, metadata=SILENT)
        else:
            yield dg.MaterializeResult(asset_key=asset, metadata=SILENT, value=value)
    for check in sorted(context.selected_asset_check_keys):
        # An `AssetCheckResult` would record an evaluation without a month.
        yield dg.Output(None, output_name=context.job_def.asset_layer.get_op_output_name(check))


def is_last_step(context: Context) -> bool:
    """Whether no other step of this run waits for this one, so that it is this one that fails the run."""
    step = context.get_step_execution_context()
    chosen = context.run.step_keys_to_execute
    downstream = {
        node_input.node_name
        for inputs in step.job_def.dependency_structure.output_to_downstream_inputs_for_node(
            step.node_handle.name
        ).values()
        for node_input in inputs
    }
    return not (downstream if chosen is None else downstream & set(chosen))


def is_in_run(context: Context, asset: str) -> bool:
    """Whether the run has a step for the asset, before or after this one."""
    step, chosen = context.get_step_execution_context(), context.run.step_keys_to_execute
    key = dg.AssetKey(asset)
    planned = key in step.job_def.asset_layer.executable_asset_keys
    return planned and (chosen is None or asset in chosen)


def monthly_check_spec(
    name: str, asset: str, partitions: dg.PartitionsDefinition[str], *, description: str, blocking: bool
) -> dg.AssetCheckSpec:
    """The spec of a check that has a verdict for each month."""
    with warnings.catch_warnings():
        # Dagster calls it a preview; what is relied on is pinned by tests.
        warnings.filterwarnings("ignore", category=dg.PreviewWarning)
        return dg.AssetCheckSpec(
            name, asset=asset, description=description, blocking=blocking, partitions_def=partitions
        )


class _StepLog:
    """Events of the running step, which Dagster's storage gets many at a time."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self.written: list[DagsterEvent] = []

    def write(self, events: Iterable[tuple[dg.DagsterEventType, Any, str]]) -> None:
        step = self._context.get_step_execution_context()
        made = [
            DagsterEvent(
                event_type_value=event_type.value,
                job_name=step.job_name,
                step_handle=step.step.handle,
                node_handle=step.step.node_handle,
                step_kind_value=step.step.kind.value,
                logging_tags=step.event_tags,
                event_specific_data=data,
                message=message,
                pid=os.getpid(),
            )
            for event_type, data, message in events
        ]
        # Dagster's own storages take some kinds of events together, and say so at length when they are given others.
        together = isinstance(self._context.instance.event_log_storage, StoresTogether) or (
            {event.event_type for event in made} <= BATCH_WRITABLE_EVENTS
        )
        batch = str(uuid4())
        for left, event in zip(range(len(made) - 1, -1, -1), made, strict=True):
            # Not by way of Python's logging, which would print a thousand lines for a run over three years.
            self._context.instance.report_dagster_event(
                event,
                self._context.run.run_id,
                logging.DEBUG,
                batch_metadata=DagsterEventBatchMetadata(batch, is_end=not left) if together else None,
            )
        self.written += made


def _materialization(asset: str, month: MaterializedMonth) -> dg.AssetMaterialization:
    return dg.AssetMaterialization(
        asset_key=asset,
        partition=month.month,
        metadata=month.metadata,
        tags={DATA_VERSION_TAG: month.data_version, DATA_VERSION_IS_USER_PROVIDED_TAG: "true"},
    )


def _evaluation(
    context: Context, judged: JudgedMonth, target: AssetCheckEvaluationTargetMaterializationData | None
) -> AssetCheckEvaluation:
    key = dg.AssetCheckKey(dg.AssetKey(judged.asset), judged.check)
    graph = context.job_def.asset_layer.asset_graph
    return AssetCheckEvaluation(
        asset_key=key.asset_key,
        check_name=key.name,
        passed=judged.passed,
        metadata=judged.metadata,
        target_materialization_data=target,
        severity=judged.severity,
        description=judged.description,
        # A run that is executed again from its failed assets takes in those with a failed blocking check.
        blocking=graph.has(key) and graph.get(key).blocking,
        partition=judged.month,
    )


def _latest_materializations(
    context: Context, judged: Iterable[JudgedMonth]
) -> dict[tuple[str, str | None], AssetCheckEvaluationTargetMaterializationData]:
    months: dict[str, set[str]] = defaultdict(set)
    for one in judged:
        if one.month:
            months[one.asset].add(one.month)
    found = {}
    for asset, wanted in months.items():
        ids = context.instance.event_log_storage.get_latest_storage_id_by_partition(
            dg.AssetKey(asset), dg.DagsterEventType.ASSET_MATERIALIZATION, wanted
        )
        if not ids:
            continue
        latest = dg.AssetRecordsFilter(dg.AssetKey(asset), storage_ids=list(ids.values()))
        for record in context.instance.fetch_materializations(latest, limit=len(ids)).records:
            found[asset, record.partition_key] = AssetCheckEvaluationTargetMaterializationData(
                storage_id=record.storage_id, run_id=record.run_id, timestamp=record.timestamp
            )
    return found


def _summed_up(judged: Sequence[JudgedMonth]) -> Iterator[JudgedMonth]:
    """For each check one verdict without a month: that is what a run that is for no month has planned."""
    by_check: dict[tuple[str, str], list[JudgedMonth]] = defaultdict(list)
    for one in judged:
        by_check[one.asset, one.check].append(one)
    for (asset, check), of_check in by_check.items():
        if any(one.month is None for one in of_check):
            continue
        failed = [one for one in of_check if not one.passed]
        errors = [one for one in failed if one.severity is dg.AssetCheckSeverity.ERROR]
        judged_months = f"{counted(len(of_check), 'month')} judged"
        named = ", ".join(str(one.month) for one in failed)
        yield JudgedMonth(
            asset=asset,
            check=check,
            month=None,
            passed=not failed,
            severity=dg.AssetCheckSeverity.ERROR if errors else dg.AssetCheckSeverity.WARN,
            description=f"{judged_months}, {len(failed)} not passed: {named}."
            if failed
            else f"{judged_months}, all passed.",
            metadata=(errors or failed or of_check)[-1].metadata,
        )


def _selected_assets(context: Context) -> set[dg.AssetKey]:
    return set() if isinstance(context, dg.AssetCheckExecutionContext) else set(context.selected_asset_keys)
