"""Which processes may be judged: those of this machine, its current boot and this PID namespace."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from refinery_assets.operations.housekeeping import end_dead_runs
from refinery_assets.operations.processes import RunProcess
from refinery_assets.operations.runs import PROCESS_TAG
from refinery_assets_tests.installation import Installation

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells what a record needs")

# Leaves a run at work whose record names this process, and waits for its input to end.
AT_WORK = """
import os, sys
import dagster as dg
from refinery_assets.operations.runs import enter_run

@dg.op
def wait(context):
    enter_run(context.instance, context.run)
    print(os.getpid(), flush=True)
    sys.stdin.read()

@dg.job(executor_def=dg.in_process_executor)
def working():
    wait()

with dg.DagsterInstance.get() as instance:
    working.execute_in_process(instance=instance)
"""
NAMESPACE = ("unshare", "--pid", "--fork", "--mount-proc", "--kill-child")


@contextmanager
def at_work(installation: Installation, *prefix: str) -> Iterator[subprocess.Popen[str]]:
    """A process with a run, perhaps in a namespace of its own."""
    with subprocess.Popen(
        [*prefix, sys.executable, "-c", AT_WORK],
        env=installation.environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    ) as process:
        assert process.stdout is not None
        while (line := process.stdout.readline()) and not line.strip().isdecimal():
            pass
        assert line
        try:
            yield process
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)


def may_make_namespaces() -> bool:
    if shutil.which("unshare") is None:
        return False
    return subprocess.run([*NAMESPACE, "true"], capture_output=True, check=False).returncode == 0


def current() -> RunProcess:
    process = RunProcess.current("a run")
    assert process is not None
    return process


def free_number() -> int:
    """A number that no process has."""
    most = int(Path("/proc/sys/kernel/pid_max").read_text())
    return next(pid for pid in range(most - 1, 1, -1) if not Path(f"/proc/{pid}").exists())


@pytest.mark.slow
def test_a_run_in_another_pid_namespace_is_left_alone_though_its_number_means_nobody_here(
    installation: Installation,
) -> None:
    if not may_make_namespaces():
        pytest.skip("this user may not make PID namespaces (unshare --pid)")
    # The next process of the namespace is given a number that no process has outside.
    # A shell gives what it starts in the background an empty input, with which the run would end at once.
    number = f'echo {free_number() - 1} > /proc/sys/kernel/ns_last_pid; exec 3<&0; "$@" <&3 & wait'
    with at_work(installation, *NAMESPACE, "sh", "-c", number, "sh"), installation.instance() as instance:
        (run,) = instance.get_runs()
        record = RunProcess.parse(run.tags[PROCESS_TAG])
        assert not Path(f"/proc/{record.pid}").exists()

        assert end_dead_runs(instance) == []
        assert [each.status for each in instance.get_runs()] == [dg.DagsterRunStatus.STARTED]


@pytest.mark.slow
def test_a_run_whose_process_was_killed_ends_as_failed(installation: Installation) -> None:
    with at_work(installation) as process, installation.instance() as instance:
        assert end_dead_runs(instance) == []
        process.kill()
        process.wait()
        (run,) = instance.get_runs()

        assert end_dead_runs(instance) == [run.run_id]
        assert [each.status for each in instance.get_runs()] == [dg.DagsterRunStatus.FAILURE]


def test_a_killed_process_that_nobody_has_buried_yet_counts_as_ended() -> None:
    with subprocess.Popen(["sleep", "60"]) as child:
        stat = Path(f"/proc/{child.pid}/stat").read_text().rpartition(")")[2].split()
        record = replace(current(), pid=child.pid, started=int(stat[19]))
        assert not record.has_ended()

        child.kill()
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)

        assert record.has_ended()


def test_a_run_that_says_nothing_of_its_process_is_left_alone(installation: Installation) -> None:
    with installation.instance() as instance:
        instance.create_run_for_job(dg.GraphDefinition("empty").to_job(), status=dg.DagsterRunStatus.STARTED)

        assert end_dead_runs(instance) == []


def test_a_run_that_repeats_a_killed_one_is_not_taken_for_it(installation: Installation) -> None:
    with installation.instance() as instance:
        killed = str(replace(current(), pid=free_number()))
        instance.create_run_for_job(
            dg.GraphDefinition("empty").to_job(),
            status=dg.DagsterRunStatus.STARTED,
            tags={PROCESS_TAG: killed},
        )

        assert end_dead_runs(instance) == []


def test_a_later_process_with_the_same_number_is_another_one() -> None:
    assert replace(current(), started=current().started - 1).has_ended()


@pytest.mark.parametrize(
    "elsewhere",
    [{"host": "another"}, {"machine": "another"}, {"pid_namespace": "pid:[4026539999]"}],
    ids=["host", "machine", "namespace"],
)
def test_nothing_is_said_of_a_process_elsewhere(elsewhere: dict[str, Any]) -> None:
    assert not replace(current(), pid=free_number(), **elsewhere).has_ended()


def test_a_restart_ends_the_processes_of_a_machine_but_not_those_of_a_container() -> None:
    before = replace(current(), boot="an earlier one")
    on_a_machine = before.pid_namespace == "pid:[4026531836]" and bool(before.machine)

    assert before.has_ended() is on_a_machine
    assert not replace(before, pid_namespace="pid:[4026539999]").has_ended()
    assert not replace(before, machine="").has_ended()


def test_this_process_is_alive_and_its_record_survives_being_written() -> None:
    process = current()

    assert RunProcess.parse(str(process)) == process
    assert not process.has_ended()
