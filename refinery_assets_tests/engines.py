"""Tries a run launcher for real: `python -m refinery_assets_tests.engines celery`, or `ray`; by hand, in minutes.

A fleet on this machine's disk, Dagster's instance in a PostgreSQL of its own, the daemon, and workers that share one
DuckDB file by way of the pool `warehouse`. A backfill over the months becomes runs of one month each. In the middle of
a month a worker's process is killed, and then a whole worker. In the end every month must be published, none twice,
with the rows that one process publishes from the same feed. All servers listen on loopback or a Unix socket, and end
with the script. Ray listens everywhere and wants a network of its own:

    unshare --net sh -c 'ip link set lo up && python -m refinery_assets_tests.engines ray'

Not here: whether Dagster takes the files in deploy/ (`test_deploy.py`).
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import dagster as dg
import duckdb
from dagster._core.storage.dagster_run import FINISHED_STATUSES

from refinery_assets.contract.months import Month
from refinery_assets.contract.settings import PROJECT_ROOT, Settings
from refinery_assets.operations.processes import RunProcess
from refinery_assets.operations.runs import PROCESS_TAG
from refinery_assets.sample.feed import make_sample
from refinery_assets_tests.installation import BIN, Installation
from refinery_assets_tests.postgresql import create_database, dagster_variables, postgresql_server
from refinery_assets_tests.scenario import Sandbox, settings_in

Answer = TypeVar("Answer")
Rows = list[tuple[Any, ...]]
_REDIS_PORT = 16379
# Ray gives all ports from 10002 to 19999 to its workers.
_RAY_PORT, _RAY_JOBS = 6390, 8275
# In this trial nobody wants to wait for as long as at night.
_SOONER = {
    "poll_interval_seconds: 60": "poll_interval_seconds: 5",
    "max_runtime_seconds: 1800": "max_runtime_seconds: 120",
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
    def __init__(self, installation: Installation, engine: str, logs: Path) -> None:
        self.installation, self.engine, self.logs = installation, engine, logs
        self.started = time.monotonic()
        self.workers: dict[str, subprocess.Popen[str]] = {}

    def say(self, text: str) -> None:
        print(f"{time.monotonic() - self.started:6.1f} s  {text}", flush=True)

    @contextmanager
    def process(self, name: str, *command: str) -> Iterator[subprocess.Popen[str]]:
        with (self.logs / f"{name}.log").open("a") as output:
            process = self.installation.start_into(output, *command)
        try:
            yield process
        finally:
            end(process)

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
        self.say(f"asked for a backfill: {done.stdout.strip()}")


WORKSPACE = str(PROJECT_ROOT / "refinery_assets" / "operations" / "workspace.yaml")


def end(process: subprocess.Popen[str]) -> None:
    """End a process and its group."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
            process.wait(20)
        except ProcessLookupError:
            return
        except subprocess.TimeoutExpired:
            continue


def wait_until(what: str, is_so: Callable[[], Answer | None], seconds: float = 300) -> Answer:
    """Ask again until the answer is true, and give it back."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if answer := is_so():
            return answer
        time.sleep(0.2)
    raise TimeoutError(what)


def run_in_mid_month(instance: dg.DagsterInstance, but: Collection[str] = ()) -> dg.DagsterRun | None:
    """A run that has judged the entrance and is now refining."""
    for run in instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED])):
        if PROCESS_TAG not in run.tags or run.run_id in but:
            continue
        done = {stat.step_key for stat in instance.get_run_step_stats(run.run_id) if stat.end_time}
        if "legacy_feed" in done and "processed_data" not in done:
            return run
    return None


def pid_of(run: dg.DagsterRun) -> int:
    """The process that the run says it is in."""
    return RunProcess.parse(run.tags[PROCESS_TAG]).pid


@contextmanager
def celery(trial: _Trial, names: list[str]) -> Iterator[None]:
    """Redis, and workers of one process each."""
    redis = shutil.which("redis-server")
    assert redis, "redis-server is not installed (Debian: apt-get install redis-server)"
    with ExitStack() as stack:
        options = ["--bind", "127.0.0.1", "--port", str(_REDIS_PORT), "--save", "", "--appendonly", "no"]
        stack.enter_context(trial.process("redis", redis, *options))
        for name in names:
            command = ["celery", "-A", "refinery_worker", "worker", "-n", f"{name}@%h", "-c", "1", "-Q", "dagster"]
            start = trial.process(
                name, str(BIN / command[0]), "--workdir", str(PROJECT_ROOT / "deploy" / "celery"), *command[1:]
            )
            trial.workers[name] = stack.enter_context(start)
        yield


@contextmanager
def ray(trial: _Trial, names: list[str]) -> Iterator[None]:
    """A head node that runs nothing, and a node for each worker."""
    base = [str(BIN / "ray"), "start", "--block", "--disable-usage-stats", "--node-ip-address", "127.0.0.1"]
    head = [
        "--head",
        "--port",
        str(_RAY_PORT),
        "--dashboard-port",
        str(_RAY_JOBS),
        "--num-cpus",
        "0",
        "--temp-dir",
        str(trial.logs / "ray"),
    ]
    with ExitStack() as stack:
        stack.enter_context(trial.process("head", *base, *head))
        wait_until("Ray's job server", is_job_server_up)
        for name in names:
            node = ["--address", f"127.0.0.1:{_RAY_PORT}", "--num-cpus", "2", "--memory", "3000000000"]
            trial.workers[name] = stack.enter_context(trial.process(name, *base, *node))
        yield


def is_job_server_up() -> bool:
    """Whether the head node answers."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", _RAY_JOBS)) == 0


def settings_for(engine: str, postgres: Path) -> Mapping[str, str]:
    """The variables of every process."""
    database = f"trial-{engine}"
    create_database(postgres, database)
    return {
        **dagster_variables(postgres, database),
        "CELERY_BROKER_URL": f"redis://127.0.0.1:{_REDIS_PORT}/0",
        "CELERY_RESULT_BACKEND": f"redis://127.0.0.1:{_REDIS_PORT}/1",
        "RAY_JOB_SERVER": f"http://127.0.0.1:{_RAY_JOBS}",
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


def judge(trial: _Trial, instance: dg.DagsterInstance, months: list[Month], expected: Rows) -> None:
    """Every month is published, once, as one process would have."""
    with duckdb.connect(trial.installation.settings.warehouse, read_only=True) as connection:
        rows = connection.execute(_TABLE).fetchall()
        twice = connection.execute(
            "SELECT count(*) FROM (SELECT ds FROM processed_data GROUP BY ds, host_id, resource HAVING count(*) > 1)"
        ).fetchone()
        published = connection.execute(
            "SELECT month, count(*) FROM publications GROUP BY month ORDER BY month"
        ).fetchall()
    for run in reversed(instance.get_runs()):
        retried = f", in the stead of {run.parent_run_id[:8]}" if run.parent_run_id else ""
        record = instance.get_run_record_by_id(run.run_id)
        assert record is not None
        took = (record.end_time or 0) - (record.start_time or 0)
        trial.say(f"run {run.run_id[:8]} of {month_of(run)}: {run.status.value} after {took:.1f} s{retried}")
    for backfill in instance.get_backfills():
        trial.say(f"backfill {backfill.backfill_id}: {backfill.status.value} {backfill.description or ''}")
    trial.say(f"{len(rows)} rows, {twice} rows twice, publications {published}")
    assert rows == expected
    assert twice == (0,)
    assert [month for month, _ in published] == [str(month) for month in months]


def month_of(run: dg.DagsterRun) -> str:
    return run.tags.get("dagster/partition") or run.tags.get("dagster/asset_partition_range_start", "no month")


def main() -> None:
    """Run the trial."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("engine", choices=["celery", "ray"])
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
        installation = Installation(folder, settings, dict(settings_for(options.engine, postgres)))
        text = (PROJECT_ROOT / "deploy" / options.engine / "dagster.yaml").read_text(encoding="utf-8")
        for usual, sooner in _SOONER.items():
            text = text.replace(usual, sooner)
        installation.home.mkdir()
        (installation.home / "dagster.yaml").write_text(text, encoding="utf-8")
        os.environ.update(installation.variables)
        instance = stack.enter_context(installation.instance())
        instance.get_runs(limit=1)
        trial = _Trial(installation, options.engine, folder)
        engine = {"celery": celery, "ray": ray}[options.engine]
        try:
            stack.enter_context(engine(trial, ["ada", "bob", "cy"]))
            command = (str(BIN / "dagster-daemon"), "run", "--workspace", WORKSPACE)
            stack.enter_context(trial.process("daemon", *command))
            trial.backfill(months)
            watch(trial, instance, months)
            judge(trial, instance, months, expected)
        except BaseException:
            for log in folder.glob("*.log"):
                sys.stderr.write(f"--- {log.name}\n{log.read_text()[-3000:]}\n")
            raise
        trial.say("all months are there, none twice")


def watch(trial: _Trial, instance: dg.DagsterInstance, months: list[Month]) -> None:
    """Kill a process and a worker in mid-month, and wait for the end."""
    first = wait_until("a run in mid-month", lambda: run_in_mid_month(instance))
    os.kill(pid_of(first), signal.SIGKILL)
    trial.say(f"killed the process of {first.run_id[:8]} in the middle of {month_of(first)}")
    second = wait_until("another run in mid-month", lambda: run_in_mid_month(instance, {first.run_id}))
    kill_worker_of(trial, second)

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


def kill_worker_of(trial: _Trial, run: dg.DagsterRun) -> None:
    """Kill the whole worker that a run is in: all of its processes at once."""
    import psutil  # noqa: PLC0415 - where it is used

    ancestors = {parent.pid for parent in psutil.Process(pid_of(run)).parents()}
    name, worker = next((name, each) for name, each in trial.workers.items() if each.pid in ancestors)
    family = psutil.Process(worker.pid).children(recursive=True)
    for process in [psutil.Process(worker.pid), *family]:
        process.kill()
    trial.say(f"killed the worker {name} with {len(family)} processes in the middle of {month_of(run)}")


if __name__ == "__main__":
    main()
