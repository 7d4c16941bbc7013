"""Keeping the Dagster instance in order: runs whose process is gone, runs that nobody needs, broken sensors.

Runs are judged by their process where the instance is one machine's, its history in SQLite. In a storage that several
machines share, a process number says nothing: there Dagster's run monitoring ends runs (`run_monitoring` in
`dagster.yaml`), and asks the launcher.

Here: ending the first, deleting the second, and the sensor `housekeeping` that does both and looks after the
other sensors. Not here: how a process is judged (`processes.py`), which backfills are settled (`backfills.py`), what a
sensor's ticks say (`heartbeat.py`), and the retention of ticks, which is Dagster's own (`data/dagster/dagster.yaml`).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
from dagster._core.storage.event_log import InMemoryEventLogStorage, SqliteEventLogStorage

from refinery_assets.checks.rules import counted
from refinery_assets.contract.settings import Settings
from refinery_assets.operations.alerts import deliver
from refinery_assets.operations.backfills import settle_backfills
from refinery_assets.operations.heartbeat import (
    describe_broken,
    read_pulses,
    write_heartbeat,
)
from refinery_assets.operations.heartbeat_file import heartbeat_file
from refinery_assets.operations.processes import RunProcess
from refinery_assets.operations.runs import PROCESS_TAG

HOUSEKEEPING = "housekeeping"
_SECONDS_BETWEEN_LOOKS = 60
# A tick of a sensor has a minute; deleting a run takes some hundredths of a second.
_MOST_DELETIONS_AT_ONCE = 200


def build_housekeeping(settings: Settings) -> dg.SensorDefinition:
    """The sensor; on from the start. It starts no run."""

    @dg.sensor(
        name=HOUSEKEEPING,
        minimum_interval_seconds=_SECONDS_BETWEEN_LOOKS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Ends runs whose process is gone (in a storage that machines share, run monitoring does), and "
        f"deletes runs that ended more than {settings.keep_runs_days} days ago, unless a month or a check still shows "
        "them as its latest. "
        "Marks backfills as successful whose runs all succeeded and left out months that are not exported yet. "
        "Alerts when a sensor has failed for an hour, and writes heartbeat.json beside the alert log.",
    )
    def housekeeping(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        now = datetime.now(UTC)
        ended = end_dead_runs(context.instance)
        before = now - timedelta(days=settings.keep_runs_days)
        checks = list(context.repository_def.asset_graph.asset_check_keys) if context.repository_def else []
        deleted = delete_superseded_runs(context.instance, checks, before, _MOST_DELETIONS_AT_ONCE)
        settled = settle_backfills(context.instance, settings)
        pulses = read_pulses(context.instance)
        reported: dict[str, str] = json.loads(context.cursor or "{}")
        broken = [pulse for pulse in pulses if pulse.is_broken(now)]
        for pulse in broken:
            if reported.get(pulse.name) != str(now.date()):
                deliver(settings, describe_broken(pulse), context.log)
        done = (
            f"Ended {counted(len(ended), 'run')} whose process was gone, deleted "
            f"{counted(len(deleted), 'superseded run')}, found {counted(len(broken), 'broken sensor')}, settled "
            f"{counted(len(settled), 'backfill')}."
        )
        try:
            write_heartbeat(heartbeat_file(settings), pulses, now)
        except OSError as error:
            # A monitor sees that the file grows old. What was reported today must be remembered.
            done += f" The sign of life cannot be written: {error}."
        return dg.SensorResult(
            skip_reason=done,
            cursor=json.dumps({pulse.name: str(now.date()) for pulse in broken}),
        )

    return housekeeping


def end_dead_runs(instance: dg.DagsterInstance) -> list[str]:
    """Mark runs as failed whose process is gone, and give back their places in pools.

    A killed process cannot say that its run is over, and a place that it held in a pool would keep later
    runs waiting for ever. Only a process that this one can look at is judged: one of this machine and of this
    PID namespace, or one of this machine before it was restarted. All others are left to Dagster's
    monitoring; and so is every run where other machines keep theirs, too.

    Returns:
        The ids of the runs ended.
    """
    storage = instance.event_log_storage
    if not isinstance(storage, SqliteEventLogStorage | InMemoryEventLogStorage):
        return []
    started = instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED]))
    held = storage.get_concurrency_run_ids() if storage.supports_global_concurrency_limits else ()
    holding = instance.get_runs(dg.RunsFilter(run_ids=list(held))) if held else []
    ended = []
    for run in {run.run_id: run for run in [*started, *holding]}.values():
        if not _is_process_gone(run):
            continue
        if not run.is_finished:
            instance.report_run_failed(run, "The process of this run is gone; it was killed.")
            ended.append(run.run_id)
        if run.run_id in held:
            storage.free_concurrency_slots_for_run(run.run_id)
    return ended


def _is_process_gone(run: dg.DagsterRun) -> bool:
    """Whether the run's process is known to have ended; a run that names none is left alone."""
    tag = run.tags.get(PROCESS_TAG)
    process = RunProcess.parse(tag) if tag else None
    return process is not None and process.run_id == run.run_id and process.has_ended()


def delete_superseded_runs(
    instance: dg.DagsterInstance, checks: Sequence[dg.AssetCheckKey], before: datetime, at_most: int
) -> list[str]:
    """Delete runs that ended before a moment, with their events and logs.

    Runs that hold the latest materialization of a partition or the latest evaluation of one of `checks`
    stay, because the UI would otherwise show these as never made.

    Returns:
        The ids of the runs deleted.
    """
    finished = [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED]
    old = instance.get_run_ids(dg.RunsFilter(statuses=finished, updated_before=before))
    if not old:
        return []
    needed = set(_runs_on_show(instance, checks))
    superseded = [run_id for run_id in reversed(old) if run_id not in needed][:at_most]
    for run_id in superseded:
        instance.delete_run(run_id)
        instance.compute_log_manager.delete_logs(prefix=[run_id])
        _remove_event_file(instance, run_id)
    return superseded


def _remove_event_file(instance: dg.DagsterInstance, run_id: str) -> None:
    """Remove the file of a deleted run's events, which Dagster empties and leaves at its full size."""
    storage = instance.event_log_storage
    if isinstance(storage, SqliteEventLogStorage):
        file = Path(storage.path_for_shard(run_id))
        for part in file.parent.glob(f"{file.name}*"):
            part.unlink()


def _runs_on_show(instance: dg.DagsterInstance, checks: Sequence[dg.AssetCheckKey]) -> Iterator[str]:
    for key in instance.get_asset_keys():
        latest = instance.event_log_storage.get_latest_storage_id_by_partition(
            key, dg.DagsterEventType.ASSET_MATERIALIZATION
        )
        if latest:
            filters = dg.AssetRecordsFilter(asset_key=key, storage_ids=list(latest.values()))
            yield from (record.run_id for record in instance.fetch_materializations(filters, limit=len(latest)).records)
    latest_checks = instance.event_log_storage.get_asset_check_partition_info(checks)
    yield from (found.latest_planned_run_id for found in latest_checks)
