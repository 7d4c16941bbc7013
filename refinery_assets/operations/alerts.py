"""The sensor `failed_runs`: a line in the alert log, and a post, for every run that fails.

Here: what the line says, and sending it. Not here: who reads it.

A line is one JSON object: `time` (UTC), `run_id`, `job`, `months`, `failed_checks` (`asset`, `check`,
`summary`), `problems` (sentences) and `recovery` (sentences). An alert that could not be posted gets a line
of its own: `time`, `run_id`, `not_delivered` (why). No line holds the address, which may hold a token.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import dagster as dg
import urllib3
from dagster_shared.error import SerializableErrorInfo

from refinery_assets.contract.settings import Settings

FAILED_RUNS = "failed_runs"
POST_SECONDS = 8.0
POST_TRIES = 3
_BUSY = (429, 500, 502, 503, 504)
_SUCCESS = range(200, 300)


def build_failed_runs(settings: Settings) -> dg.SensorDefinition:
    """The sensor; on from the start."""

    @dg.run_failure_sensor(
        name=FAILED_RUNS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Writes a line to the alert log for every failed run, and posts it when REFINERY_ALERT_URL is set.",
    )
    def failed_runs(context: dg.RunFailureSensorContext) -> None:
        alert = describe_failure(context.instance, context.dagster_run)
        append_line(settings.alert_log, alert)
        if settings.alert_url is None:
            return
        if why := post(settings.alert_url, alert):
            append_line(settings.alert_log, {"time": _now(), "run_id": alert["run_id"], "not_delivered": why})
            context.log.error(f"The alert for run {alert['run_id']} was not delivered: {why}.")

    return failed_runs


def describe_failure(instance: dg.DagsterInstance, run: dg.DagsterRun) -> dict[str, Any]:
    """What the operator needs to know of a failed run."""
    checks, problems, recovery = [], [], []
    engine_said = ""
    for entry in instance.all_logs(run.run_id):
        event = entry.dagster_event
        if event is None:
            continue
        if event.event_type is dg.DagsterEventType.ASSET_CHECK_EVALUATION:
            found = event.asset_check_evaluation_data
            if not found.passed and found.severity is dg.AssetCheckSeverity.ERROR:
                asset = found.asset_key.to_user_string()
                checks.append({"asset": asset, "check": found.check_name, "summary": found.description})
                recovery.append(str(found.metadata["recovery"].value))
        elif event.is_step_failure:
            data = event.step_failure_data
            told = data.user_failure_data and data.user_failure_data.description
            problems.append(told or _cause(data.error) or event.message or "")
        elif event.event_type is dg.DagsterEventType.RUN_FAILURE and not problems:
            # The end of a run that was killed has no error; what became of its process was said just before.
            found_out = event.event_specific_data and _cause(event.job_failure_data.error)
            problems.append(found_out or f"{engine_said} {event.message or ''}".strip())
        is_engines = event.event_type is dg.DagsterEventType.ENGINE_EVENT
        engine_said = event.message or "" if is_engines else ""
    return {
        "time": _now(),
        "run_id": run.run_id,
        "job": run.job_name,
        "months": months_text(run.tags),
        "failed_checks": checks,
        "problems": problems,
        "recovery": list(dict.fromkeys(recovery))
        or [f"Look at run {run.run_id} in the UI, mend what it names, and materialize its months again."],
    }


def _cause(error: SerializableErrorInfo | None) -> str:
    """The message of the exception that lies at the bottom, without its trace."""
    while error is not None and error.cause is not None:
        error = error.cause
    return error.message.strip() if error is not None else ""


def months_text(tags: Mapping[str, str]) -> str:
    """The months of a run: `2024-05`, `2024-01...2024-12`, or nothing."""
    first, last = (tags.get(f"dagster/asset_partition_range_{end}") for end in ("start", "end"))
    return tags.get("dagster/partition") or (f"{first}...{last}" if first and last else "")


def append_line(path: Path, record: Mapping[str, Any]) -> None:
    """Add one JSON line, in one write, so that lines of several writers never mix."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab", buffering=0) as file:
        file.write(json.dumps(record, ensure_ascii=False).encode() + b"\n")


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
