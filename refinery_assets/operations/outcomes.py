"""Why a run failed: months that a check refused, and causes that may pass by themselves.

A refused month stays refused until its files, or what else the check looks at, have changed. A warehouse that
was held, a full disk or a killed process is another matter: the same month may well go through an hour later.

Here: reading that from what a run left behind. Not here: alerts (`alerts.py`) and running the months
again (`feed_sensor.py`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import dagster as dg
from dagster._core.storage.tags import AUTO_RETRY_RUN_ID_TAG, WILL_RETRY_TAG
from dagster_shared.error import SerializableErrorInfo

from refinery_assets.contract.months import Month
from refinery_assets.operations.partitions import months_in

REFUSED = "refused"
"""Metadata of a step's failure: JSON that gives, for each refused month, the sentences that say why."""


@dataclass
class Outcome:
    """What a failed run left behind.

    Attributes:
        evaluations: The checks that failed as errors, each with its month where it names one.
        refused: The refused months, with the sentences of the step that refused them.
        causes: What failed besides, in sentences; of a killed run, what happened to its process.
        finished: Whether every step that failed did so only to name refused months.
    """

    evaluations: list[dg.AssetCheckEvaluation] = field(default_factory=list)
    refused: dict[str, list[str]] = field(default_factory=dict)
    causes: list[str] = field(default_factory=list)
    finished: bool = False

    def months_to_ask_again(self, months: Sequence[Month]) -> list[Month]:
        """Those of the run's months that were neither published nor refused."""
        if self.finished:
            return []
        blamed = {evaluation.partition for evaluation in self.evaluations}
        # A check that names no month has judged all of them.
        if None in blamed:
            return []
        return [month for month in months if str(month) not in blamed | self.refused.keys()]


def read_outcome(instance: dg.DagsterInstance, run: dg.DagsterRun) -> Outcome:
    """Read the events of a run that failed."""
    outcome = Outcome()
    failed_steps = 0
    engine_said = ""
    for entry in instance.all_logs(run.run_id):
        event = entry.dagster_event
        if event is None:
            continue
        if event.event_type is dg.DagsterEventType.ASSET_CHECK_EVALUATION:
            found = event.asset_check_evaluation_data
            if not found.passed and found.severity is dg.AssetCheckSeverity.ERROR:
                outcome.evaluations.append(found)
        elif event.is_step_failure:
            failed_steps += 1
            failure = event.step_failure_data.user_failure_data
            refused = _refused_months(failure.metadata if failure else {})
            for month, sentences in refused.items():
                outcome.refused.setdefault(month, []).extend(sentences)
            if not refused:
                description = failure and failure.description
                outcome.causes.append(description or _cause(event.step_failure_data.error) or event.message or "")
        elif event.event_type is dg.DagsterEventType.RUN_FAILURE:
            outcome.finished = failed_steps > 0 and not outcome.causes
            if not failed_steps:
                # The end of a killed run has no error; the event before it says what happened to its process.
                found_out = event.event_specific_data and _cause(event.job_failure_data.error)
                outcome.causes.append(found_out or f"{engine_said} {event.message or ''}".strip())
        is_engines = event.event_type is dg.DagsterEventType.ENGINE_EVENT
        engine_said = event.message or "" if is_engines else ""
    return outcome


def will_run_again(run: dg.DagsterRun) -> bool:
    """Whether Dagster starts a failed run again by itself (`run_retries` of its instance)."""
    return run.is_failure and (AUTO_RETRY_RUN_ID_TAG in run.tags or run.tags.get(WILL_RETRY_TAG) == "true")


def month_of(evaluation: dg.AssetCheckEvaluation, run: dg.DagsterRun) -> str:
    """The month that a check judged; empty where it judged several in one verdict."""
    months = months_in(run.tags)
    return evaluation.partition or (str(months[0]) if len(months) == 1 else "")


def _refused_months(metadata: Mapping[str, dg.MetadataValue]) -> dict[str, list[str]]:
    value = metadata.get(REFUSED)
    if not isinstance(value, dg.JsonMetadataValue) or not isinstance(value.data, dict):
        return {}
    return {str(month): [str(sentence) for sentence in sentences] for month, sentences in value.data.items()}


def _cause(error: SerializableErrorInfo | None) -> str:
    """The message of the exception that lies at the bottom, without its trace."""
    while error is not None and error.cause is not None:
        error = error.cause
    return error.message.strip() if error is not None else ""
