"""Reads the outcomes of a run's months from its events, as `month_events.py` and `checks.py` log them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg
from dagster_shared.error import SerializableErrorInfo

from refinery_assets.checks.rules import NOT_JUDGED, Row
from refinery_assets.contract.families import PROCESSED_DATA
from refinery_assets.contract.months import Month
from refinery_assets.operations.outcomes import REFUSED
from refinery_assets.operations.runs import FinishedRun
from refinery_assets.reports.month_results import (
    LEFT_OUT,
    NOT_REACHED,
    CheckResult,
    Differences,
    MonthOutcome,
    Outcomes,
    Stop,
)
from refinery_assets.warehouse.month_state import State
from refinery_assets.warehouse.storage import WarehouseHeldError

INTERRUPTED = "Interrupted; what was not published yet stays as it was."


def outcomes_of_run(run: FinishedRun, months: Sequence[Month]) -> Outcomes:
    """The outcomes of the months of a run of the job `refine`."""
    checks = _checks(run)
    published = {
        found.partition: found.metadata
        for event in run.events
        if event.is_step_materialization
        and (found := event.step_materialization_data.materialization).asset_key == dg.AssetKey(PROCESSED_DATA)
    }
    problems, stop = _problems(run)
    outcomes = []
    for month in map(str, months):
        failed, warnings = checks.get(month, ([], []))
        if month in published:
            outcomes.append(_standing(month, published[month], warnings))
        elif failed:
            outcomes.append(MonthOutcome(month, str(State.REFUSED), failed=failed, warnings=warnings))
        else:
            state = NOT_REACHED if problems else LEFT_OUT
            outcomes.append(MonthOutcome(month, state, warnings=warnings))
    return Outcomes(outcomes, [run.run_id], problems, stop)


def _standing(month: str, metadata: Mapping[str, dg.MetadataValue], warnings: Sequence[CheckResult]) -> MonthOutcome:
    found: dict[str, Any] = {name: value.value for name, value in metadata.items()}
    state = State(found["state"])
    differences = None
    if state is State.PUBLISHED:
        differences = Differences(found["rows_added"], found["rows_removed"], found["rows_changed"])
    return MonthOutcome(
        month,
        str(state),
        found["dagster/partition_row_count"],
        found["imputed"],
        found["quarantined"],
        differences,
        warnings=warnings,
    )


def _checks(run: FinishedRun) -> dict[str, tuple[list[CheckResult], list[CheckResult]]]:
    """The checks of each month that failed, and those that warned."""
    # A later step may know more about a check than an earlier one, so the last verdict counts.
    last = {
        (found.partition, found.asset_key.to_user_string(), found.check_name): found for found in run.check_evaluations
    }
    checks: dict[str, tuple[list[CheckResult], list[CheckResult]]] = {}
    for (month, asset, check), found in last.items():
        if month is None:
            continue
        failed, warnings = checks.setdefault(month, ([], []))
        message = _text(found.metadata, "summary")
        if found.passed or message.startswith(NOT_JUDGED):
            continue
        result = CheckResult.of(asset, check, message, _text(found.metadata, "recovery"), _sample(found.metadata))
        (warnings if found.severity is dg.AssetCheckSeverity.WARN else failed).append(result)
    return checks


def _text(metadata: Mapping[str, dg.MetadataValue], name: str) -> str:
    value = metadata.get(name)
    return str(value.value) if value is not None else ""


def _sample(metadata: Mapping[str, dg.MetadataValue]) -> list[Row]:
    value = metadata.get("sample")
    return [dict(record.data) for record in value.records] if isinstance(value, dg.TableMetadataValue) else []


def _problems(run: FinishedRun) -> tuple[list[str], Stop | None]:
    """What failed besides refused months, and what stopped the run where it is one of `Stop`."""
    problems: list[str] = []
    stop = None
    steps_failed = False
    for event in run.events:
        if event.is_step_failure:
            steps_failed = True
            data = event.step_failure_data
            failure = data.user_failure_data
            if failure is not None and REFUSED in failure.metadata:
                continue
            causes = _chain(data.error)
            if is_interruption(causes):
                return [INTERRUPTED], Stop.INTERRUPTED
            if _names(causes, WarehouseHeldError):
                stop = Stop.HELD
            description = failure and failure.description
            problems.append(description or (causes[-1].message.strip() if causes else event.message or ""))
        elif event.event_type is dg.DagsterEventType.RUN_FAILURE and not steps_failed:
            causes = _chain(event.job_failure_data.error)
            if is_interruption(causes):
                return [INTERRUPTED], Stop.INTERRUPTED
            problems += [cause.message.strip() for cause in causes[-1:]]
    # Two steps may fail for one reason.
    return list(dict.fromkeys(problems)), stop


def is_interruption(causes: Sequence[SerializableErrorInfo]) -> bool:
    """Whether a signal ended a step: as Dagster says it, or DuckDB when it was in the middle of a statement."""
    return _names(causes, dg.DagsterExecutionInterruptedError) or any(
        error.cls_name == "RuntimeError" and "Query interrupted" in error.message for error in causes
    )


def _names(chain: Sequence[SerializableErrorInfo], kind: type[BaseException]) -> bool:
    return any(error.cls_name == kind.__name__ for error in chain)


def _chain(error: SerializableErrorInfo | None) -> list[SerializableErrorInfo]:
    """The error, and what caused it, down to the first."""
    chain = []
    while error is not None:
        chain.append(error)
        error = error.cause
    return chain
