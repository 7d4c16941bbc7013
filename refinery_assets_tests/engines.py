"""Tries a run launcher for real: `python -m refinery_assets_tests.engines celery`, or `ray`; takes minutes.

A fleet on this machine's disk, Dagster's instance in a PostgreSQL of its own, the daemon, and workers that share one
DuckDB file by way of the pool `warehouse`, or with `--lake` a DuckLake, into which they publish side by side. A
backfill over the months becomes runs of one month each. In the middle of a month a worker's process is killed, and
then a whole worker, the second one while it publishes where that is into a lake. In the end every month must be
published, none twice, with the rows that one process publishes from the same feed into a file. All servers listen on
loopback or a Unix socket, and end with the script. Ray listens everywhere and wants a network of its own:

    unshare --net sh -c 'ip link set lo up && python -m refinery_assets_tests.engines ray'

Here: the trial. Not here: starting the workers (`workers.py`), and whether Dagster takes the files in deploy/
(`test_deploy.py`).
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Collection, Mapping
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
from dagster._core.storage.dagster_run import FINISHED_STATUSES

from refinery_assets.contract.months import Month
from refinery_assets.contract.settings import PROJECT_ROOT, Settings
from refinery_assets.operations.processes import RunProcess
from refinery_assets.operations.runs import PROCESS_TAG
from refinery_assets.sample.feed import make_sample
from refinery_assets.warehouse.storage import open_warehouse
from refinery_assets_tests.installation import BIN, Installation
from refinery_assets_tests.lakes import Postgres, make_lake_in
from refinery_assets_tests.postgresql import create_database, dagster_variables, postgresql_server
from refinery_assets_tests.scenario import Sandbox, settings_in
from refinery_assets_tests.workers import VARIABLES, Crew, WorkerError, celery, ray, wait_until

NO_WORKERS = 77
"""The exit code where no worker could be started, so that nothing was tried."""

Rows = list[tuple[Any, ...]]
# In this trial nobody wants to wait for as long as at night.
_SOONER = {
    "poll_interval_seconds: 60": "poll_interval_seconds: 5",
    "max_runtime_seconds: 1800": "max_runtime_seconds: 90",
    "free_slots_after_run_end_seconds: 60": "free_slots_after_run_end_seconds: 5",
}
_BACKFILL = """
mutation ($params: LaunchBackfillParams!) {
    launchPartitionBackfill(backfillParams: $params) {
        __typename
        ... on LaunchBackfillSuccess { backfillId }
        ... on PythonError { message }
    }
}
"""
_TABLE = "SELECT * FROM processed_data ORDER BY resource, host_id, ds"


class _Trial:
    def __init__(self, crew: Crew) -> None:
        self.crew, self.installation = crew, crew.installation
        self.started = time.monotonic()

    @property
    def settings(self) -> Settings:
        return self.installation.settings

    def say(self, text: str) -> None:
        print(f"{time.monotonic() - self.started:6.1f} s  {text}", flush=True)

    def backfill(self, months: list[Month]) -> None:
        assets = ["legacy_feed", "cpu_utilization", "memory_stats", "storage_usage", "net_throughput"]
        assets += ["processed_data", "monthly_report"]
        params = {"assetSelection": [{"path": [asset]} for asset in assets], "partitionNames": [*map(str, months)]}
        done = subprocess.run(
            [str(BIN / "dagster-graphql"), "-w", WORKSPACE, "-t", _BACKFILL, "-v", json.dumps({"params": params})],
            cwd=PROJECT_ROOT,
            env=self.installation.environment,
            capture_output=True,
            text=True,
            check=True,
        )
        answer = next(line for line in done.stdout.splitlines() if line.startswith("{"))
        self.say(f"asked for a backfill: {answer}")


WORKSPACE = str(PROJECT_ROOT / "refinery_assets" / "operations" / "workspace.yaml")


def run_in_mid_month(
    instance: dg.DagsterInstance, but: Collection[str] = (), *, publishing: bool = False
) -> dg.DagsterRun | None:
    """A run that has judged the entrance and is now refining; or one that is publishing."""
    for run in instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED])):
        if PROCESS_TAG not in run.tags or run.run_id in but:
            continue
        steps = {stat.step_key: stat for stat in instance.get_run_step_stats(run.run_id) if stat.start_time}
        ended = {key for key, stat in steps.items() if stat.end_time}
        so_far = "processed_data" in steps if publishing else "legacy_feed" in ended
        if so_far and "processed_data" not in ended:
            return run
    return None


def pid_of(run: dg.DagsterRun) -> int:
    """The process that the run says it is in."""
    return RunProcess.parse(run.tags[PROCESS_TAG]).pid


def variables_for(engine: str, postgres: Path, settings: Settings) -> dict[str, str]:
    """The variables of every process, beside those of the installation."""
    database = f"trial-{engine}"
    create_database(postgres, database)
    lake = {"REFINERY_WAREHOUSE": str(settings.place), "REFINERY_LAKE_DATA": str(settings.lake_data)}
    return {
        **dagster_variables(postgres, database),
        **VARIABLES,
        **(lake if settings.lake else {}),
        "REFINERY_MONTHS_PER_RUN": "1",
        "PYTHONPATH": str(PROJECT_ROOT),
    }


def alone(folder: Path, settings: Settings, months: list[Month]) -> Rows:
    """What one process publishes from the same feed and inventory."""
    folder.mkdir()
    shutil.copy(settings.warehouse, folder / "refinery.duckdb")
    own = replace(settings_in(folder), feed=settings.feed, last_month=settings.last_month)
    with dg.DagsterInstance.ephemeral() as instance:
        assert Sandbox(own, instance).refine(*months).success
    with duckdb.connect(own.warehouse, read_only=True) as connection:
        return connection.execute(_TABLE).fetchall()


def judge(
    trial: _Trial, instance: dg.DagsterInstance, months: list[Month], expected: Rows, killed: Mapping[str, float]
) -> None:
    """Every month is published, once, as one process would have."""
    with open_warehouse(trial.settings.place, read_only=True, wait_seconds=60) as connection:
        rows = connection.execute(_TABLE).fetchall()
        ((twice,),) = connection.execute(
            "SELECT count(*) FROM (SELECT ds FROM processed_data GROUP BY ds, host_id, resource HAVING count(*) > 1)"
        ).fetchall()
        published = connection.execute(
            "SELECT month, count(*) FROM publications GROUP BY month ORDER BY month"
        ).fetchall()
    publishing = []
    for run in reversed(instance.get_runs()):
        retried = f", in the stead of {run.parent_run_id[:8]}" if run.parent_run_id else ""
        record = instance.get_run_record_by_id(run.run_id)
        assert record is not None
        begun = record.start_time or record.create_timestamp.timestamp()
        took = f"{(record.end_time or 0) - begun:.1f} s" + ("" if record.start_time else " without a beginning")
        trial.say(f"run {run.run_id[:8]} of {month_of(run)}: {run.status.value} after {took}{retried}")
        for entry in instance.all_logs(run.run_id, of_type=dg.DagsterEventType.RUN_FAILURE):
            said = entry.get_dagster_event().message or entry.message or "nothing"
            trial.say(f"  {said.splitlines()[0]}")
        if run.run_id in killed:
            trial.say(f"  it had failed {(record.end_time or 0) - killed[run.run_id]:.1f} s after the kill")
        publishing += [
            (stat.start_time, stat.end_time)
            for stat in instance.get_run_step_stats(run.run_id, ["processed_data"])
            if stat.start_time and stat.end_time
        ]
    most = max(sum(start <= begun < stop for start, stop in publishing) for begun, _ in publishing)
    trial.say(f"{len(publishing)} steps that published, at most {most} at the same time")
    for backfill in instance.get_backfills():
        trial.say(f"backfill {backfill.backfill_id}: {backfill.status.value} {backfill.description or ''}")
    trial.say(f"{len(rows)} rows, {twice} rows twice, publications {published}")
    assert rows == expected
    assert twice == 0
    assert published == [(str(month), 1) for month in months]


def month_of(run: dg.DagsterRun) -> str:
    return run.tags.get("dagster/partition") or run.tags.get("dagster/asset_partition_range_start", "no month")


def main() -> int:
    """Run the trial; gives the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("engine", choices=["celery", "ray"])
    parser.add_argument("--lake", action="store_true", help="publish into a DuckLake on PostgreSQL (the extra `lake`)")
    parser.add_argument("--hosts", type=int, default=1000)
    parser.add_argument("--months", type=int, default=9)
    options = parser.parse_args()
    months = list(Month.span(Month(2024, 1), Month(2024, options.months)))
    with tempfile.TemporaryDirectory(prefix="refinery-engine-") as name, ExitStack() as stack:
        folder = Path(name)
        make_sample(folder, hosts=options.hosts, first=months[0], last=months[-1], seed=7)
        settings = replace(settings_in(folder), last_month=months[-1])
        expected = alone(folder / "alone", settings, months)
        postgres = stack.enter_context(postgresql_server())
        if options.lake:
            settings = make_lake_in(settings, Postgres(postgres).new_lake())
        installation = Installation(folder, settings, variables_for(options.engine, postgres, settings))
        text = (PROJECT_ROOT / "deploy" / options.engine / "dagster.yaml").read_text(encoding="utf-8")
        for usual, sooner in _SOONER.items():
            text = text.replace(usual, sooner)
        installation.home.mkdir()
        (installation.home / "dagster.yaml").write_text(text, encoding="utf-8")
        os.environ.update(installation.variables)
        instance = stack.enter_context(installation.instance())
        instance.get_runs(limit=1)
        crew = Crew(installation, folder)
        trial = _Trial(crew)
        engine = {"celery": celery, "ray": ray}[options.engine]
        try:
            try:
                stack.enter_context(engine(crew, ["ada", "bob", "cy"]))
            except WorkerError as error:
                trial.say(str(error))
                return NO_WORKERS
            trial.say("the workers are there")
            command = (str(BIN / "dagster-daemon"), "run", "--workspace", WORKSPACE)
            stack.enter_context(crew.process("daemon", *command))
            trial.backfill(months)
            killed = watch(trial, instance, months)
            judge(trial, instance, months, expected, killed)
        except BaseException:
            for log in folder.glob("*.log"):
                sys.stderr.write(f"--- {log.name}\n{log.read_text()[-3000:]}\n")
            raise
        trial.say("all months are there, none twice")
    return 0


def watch(trial: _Trial, instance: dg.DagsterInstance, months: list[Month]) -> dict[str, float]:
    """Kill a process and a worker in mid-month, and wait for the end; gives the runs, and when they were killed."""
    killed: dict[str, float] = {}
    first = wait_until("a run in mid-month", lambda: run_in_mid_month(instance))
    os.kill(pid_of(first), signal.SIGKILL)
    killed[first.run_id] = time.time()
    trial.say(f"killed the process of {first.run_id[:8]} in the middle of {month_of(first)}")
    publishing = trial.settings.lake is not None
    second = wait_until(
        "another run in mid-month", lambda: run_in_mid_month(instance, {first.run_id}, publishing=publishing)
    )
    kill_worker_of(trial, second)
    killed[second.run_id] = time.time()

    def published() -> bool:
        counted = instance.get_materialized_partitions(dg.AssetKey("monthly_report"))
        going = instance.get_runs(
            dg.RunsFilter(statuses=[s for s in dg.DagsterRunStatus if s not in FINISHED_STATUSES])
        )
        return len(counted) == len(months) and not going

    wait_until("all months", published, 600)
    ended = "COMPLETED_SUCCESS", "COMPLETED_FAILED"
    wait_until(
        "the backfill's end", lambda: [one for one in instance.get_backfills() if one.status.value in ended], 120
    )
    return killed


def kill_worker_of(trial: _Trial, run: dg.DagsterRun) -> None:
    """Kill the whole worker that a run is in: all of its processes at once."""
    import psutil  # noqa: PLC0415 - where it is used

    ancestors = {parent.pid for parent in psutil.Process(pid_of(run)).parents()}
    name, worker = next((name, each) for name, each in trial.crew.workers.items() if each.pid in ancestors)
    family = psutil.Process(worker.pid).children(recursive=True)
    for process in [psutil.Process(worker.pid), *family]:
        # Some go with the first.
        with suppress(psutil.NoSuchProcess):
            process.kill()
    trial.say(f"killed the worker {name} with {len(family)} processes in the middle of {month_of(run)}")


if __name__ == "__main__":
    sys.exit(main())
