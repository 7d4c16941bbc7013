"""The sensor `failed_runs`: a line in the alert log, and a POST, for every run that fails.

Here: what the line says, and sending it. Not here: who reads it.

A line is one JSON object: `time` (UTC), `run_id`, `job`, `months`, `failed_checks` (`asset`, `check`,
`month`, `summary`), `problems` (sentences) and `recovery` (sentences). An alert that could not be posted gets
a line of its own: `time`, `run_id`, `not_delivered` (why). One that could not be written to the log is posted
with `not_logged` (why). No line holds the address, which may hold a token.
"""

from __future__ import annotations

import errno
import json
import logging
import os
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import dagster as dg
import urllib3
from dagster._core.definitions.run_status_sensor_definition import (
    RunStatusSensorCursor,
    RunStatusSensorDefinition,
)
from dagster._core.definitions.sensor_definition import SensorEvaluationContext, SensorExecutionData

from refinery_assets.contract.settings import Settings
from refinery_assets.operations.outcomes import month_of, read_outcome, will_run_again
from refinery_assets.operations.partitions import months_in
from refinery_assets.operations.runs import LOCATION

FAILED_RUNS = "failed_runs"
POST_SECONDS = 8.0
POST_TRIES = 3
_BUSY = (429, 500, 502, 503, 504)
_SUCCESS = range(200, 300)
_LOOK_BACK = timedelta(days=1)


class AlertLostError(Exception):
    """An alert reached neither the log nor a receiver; the message holds what it would have said."""


class _FailedRuns(RunStatusSensorDefinition):
    """A sensor of failed runs that also reports those that failed before its first tick."""

    def evaluate_tick(self, context: SensorEvaluationContext) -> SensorExecutionData:
        if context.cursor is None:
            context.update_cursor(_cursor_before(context.instance, datetime.now(UTC) - _LOOK_BACK))
        return super().evaluate_tick(context)


def build_failed_runs(settings: Settings) -> dg.SensorDefinition:
    """The sensor; on from the start."""

    def send_alert(context: dg.RunStatusSensorContext) -> None:
        run = context.dagster_run
        if is_ours(run, context.repository_def):
            deliver(settings, describe_failure(context.instance, run), context.log)

    return _FailedRuns(
        name=FAILED_RUNS,
        run_status=dg.DagsterRunStatus.FAILURE,
        run_status_sensor_fn=send_alert,
        # A run that failed before it could name its code location is ours all the same.
        monitor_all_code_locations=True,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Writes a line to the alert log for every failed run, however it was started, and posts "
        "it when REFINERY_ALERT_URL is set.",
    )


def _cursor_before(instance: dg.DagsterInstance, moment: datetime) -> str:
    """A cursor behind the last run that failed before the moment."""
    earlier = instance.fetch_run_status_changes(
        dg.RunStatusChangeRecordsFilter(
            event_type=dg.DagsterEventType.RUN_FAILURE, before_timestamp=moment.timestamp()
        ),
        limit=1,
    ).records
    behind = earlier[0].storage_id if earlier else -1
    cursor: str = RunStatusSensorCursor(record_id=behind).to_json()  # type: ignore[no-untyped-call]
    return cursor


def is_ours(run: dg.DagsterRun, repository: dg.RepositoryDefinition | None) -> bool:
    """Whether a run belongs to this project, and not to another one that shares the Dagster instance."""
    if run.remote_job_origin is not None:
        return run.remote_job_origin.location_name == LOCATION
    if repository is None:
        return True
    # Every project has a job for assets that were picked by hand, and it has the same name in all of them.
    picked = run.asset_selection or frozenset()
    return repository.has_job(run.job_name) and picked <= repository.asset_graph.get_all_asset_keys()


def describe_failure(instance: dg.DagsterInstance, run: dg.DagsterRun) -> dict[str, Any]:
    """What the operator needs to know of a failed run."""
    outcome = read_outcome(instance, run)
    recovery = [
        str(evaluation.metadata["recovery"].value)
        for evaluation in outcome.evaluations
        if "recovery" in evaluation.metadata
    ]
    if will_run_again(run):
        recovery.append("Dagster starts the run again by itself; look at it only if that one fails, too.")
    again = "materialize its months again" if months_in(run.tags) else "run it again"
    refusals = [
        sentence if month in sentence else f"{month}: {sentence}"
        for month, sentences in sorted(outcome.refused.items())
        for sentence in sentences
    ]
    return {
        "time": _now(),
        "run_id": run.run_id,
        "job": run.job_name,
        "months": months_text(run.tags),
        "failed_checks": [
            {
                "asset": evaluation.asset_key.to_user_string(),
                "check": evaluation.check_name,
                "month": month_of(evaluation, run),
                "summary": _summary(evaluation),
            }
            for evaluation in outcome.evaluations
        ],
        "problems": list(dict.fromkeys([*refusals, *outcome.causes])),
        "recovery": list(dict.fromkeys(recovery))
        or [f"Look at run {run.run_id} in the UI, fix what it names, and {again}."],
    }


def _summary(evaluation: dg.AssetCheckEvaluation) -> str | None:
    """What the check found; one that a team adds may say it in its description alone."""
    summary = evaluation.metadata.get("summary")
    return evaluation.description if summary is None else str(summary.value)


def months_text(tags: Mapping[str, str]) -> str:
    """The months of a run: `2024-05`, `2024-01...2024-12`, or nothing."""
    months = months_in(tags)
    return "...".join(dict.fromkeys(str(month) for month in (months[0], months[-1]))) if months else ""


def deliver(settings: Settings, alert: Mapping[str, Any], log: logging.Logger) -> None:
    """Write an alert to the log and post it where an address is set; a way that fails is reported by the other.

    Raises:
        AlertLostError: Neither way has taken it.
    """
    not_logged = not_delivered = None
    try:
        append_line(settings.alert_log, alert)
    except OSError as error:
        not_logged = f"The alert log {settings.alert_log} (REFINERY_ALERT_LOG) cannot be written: {error}"
        log.error(not_logged)  # noqa: TRY400 - the sentence says it all
        alert = {**alert, "not_logged": not_logged}
    if settings.alert_url is not None:
        not_delivered = post(settings.alert_url, alert)
        if not_delivered is not None:
            log.error(f"The alert of {alert['run_id'] or alert['job']} was not delivered: {not_delivered}.")
            if not_logged is None:
                try:
                    _note_undelivered(settings.alert_log, alert, not_delivered)
                except OSError as error:
                    # The alert itself stands in the log, and this line in the tick's.
                    log.error(f"That stands not in the alert log {settings.alert_log}: {error}")  # noqa: TRY400
    if not_logged is not None and (settings.alert_url is None or not_delivered is not None):
        where = not_delivered or "REFINERY_ALERT_URL is not set"
        raise AlertLostError(f"{not_logged}; {where}. The alert: {json.dumps(alert, ensure_ascii=False)}")


def _note_undelivered(alert_log: Path, alert: Mapping[str, Any], why: str) -> None:
    append_line(alert_log, {"time": _now(), "run_id": alert["run_id"], "not_delivered": why})


def append_line(path: Path, record: Mapping[str, Any]) -> None:
    """Add one JSON line, in one write, so that lines of several writers never mix."""
    path.parent.mkdir(parents=True, exist_ok=True)
    line = json.dumps(record, ensure_ascii=False).encode() + b"\n"
    with path.open("ab", buffering=0) as file:
        # The last room of a disk takes a part of it, and says so by nothing but the number.
        if file.write(line) != len(line):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))


def post(url: str, record: Mapping[str, Any]) -> str | None:
    """Post the record as JSON, a few times if need be; give back why it was not taken, or None.

    It ends within `POST_TRIES` times `POST_SECONDS` and some seconds between, whatever the server does.
    """
    retries = urllib3.Retry(
        POST_TRIES - 1,
        backoff_factor=0.5,
        status_forcelist=_BUSY,
        allowed_methods=None,
        raise_on_status=False,
    )
    host = urlsplit(url).hostname
    with urllib3.PoolManager() as http:
        try:
            # The answer's body is of no interest, and might never end.
            response = http.request(
                "POST",
                url,
                json=record,
                timeout=urllib3.Timeout(total=POST_SECONDS),
                retries=retries,
                preload_content=False,
                redirect=False,
            )
        except urllib3.exceptions.HTTPError as error:
            reason = getattr(error, "reason", None) or error
            return f"{host} did not take it ({type(reason).__name__})"
        response.close()
        return None if response.status in _SUCCESS else f"{host} answered {response.status}"


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
