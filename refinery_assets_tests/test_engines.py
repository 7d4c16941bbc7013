"""Runs on workers of somebody else's: each launcher for real, a process and a whole worker killed in mid-month."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence

import pytest

from refinery_assets.contract.settings import PROJECT_ROOT
from refinery_assets_tests.engines import NO_WORKERS
from refinery_assets_tests.lakes import why_no_lake
from refinery_assets_tests.postgresql import program

pytestmark = [pytest.mark.engine, pytest.mark.heavy, pytest.mark.slow]

_SECONDS = 1200
# Ray listens on all addresses, so it gets a network of its own.
_ALONE = ["unshare", "--net", "sh", "-c", 'ip link set lo up && exec "$@"', "sh"]


def _try(engine: str, *before: str, options: Sequence[str] = ()) -> str:
    """Run the trial in a process group of its own; gives what it said."""
    program("initdb")
    command = [
        *before,
        sys.executable,
        "-m",
        "refinery_assets_tests.engines",
        engine,
        *options,
        "--hosts",
        "100",
        "--months",
        "4",
    ]
    done = subprocess.run(
        command,
        cwd=PROJECT_ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=_SECONDS,
        check=False,
    )
    if done.returncode == NO_WORKERS:
        pytest.skip(f"no worker of {engine} starts here: {done.stdout[-300:]}")
    assert done.returncode == 0, done.stdout[-6000:]
    return done.stdout


def test_celery_runs_again_what_a_killed_process_and_a_killed_worker_left() -> None:
    if shutil.which("redis-server") is None:
        pytest.skip("redis-server is not installed here (Debian: apt-get install redis-server)")

    said = _try("celery")

    assert "killed the process of" in said
    assert "killed the worker" in said
    assert said.rstrip().endswith("all months are there, none twice")


def test_celery_publishes_into_a_lake_what_a_killed_process_and_a_killed_worker_left() -> None:
    if shutil.which("redis-server") is None:
        pytest.skip("redis-server is not installed here (Debian: apt-get install redis-server)")
    pytest.importorskip("dagster_celery", reason="the extra `celery` is not installed")
    pytest.importorskip("dagster_postgres", reason="the extra `postgres` is not installed")
    if why_no_lake():
        pytest.skip("the extra `lake` is not installed; it takes an environment of its own, beside the other two")

    said = _try("celery", options=["--lake"])

    assert "killed the process of" in said
    assert "killed the worker" in said
    assert said.rstrip().endswith("all months are there, none twice")


def test_ray_runs_again_what_a_killed_process_and_a_killed_node_left() -> None:
    if os.geteuid() or subprocess.run([*_ALONE, "true"], capture_output=True, check=False).returncode:
        pytest.skip("no network of its own can be made here, and Ray listens on all addresses")

    said = _try("ray", *_ALONE)

    assert "killed the process of" in said
    assert "killed the worker" in said
    assert said.rstrip().endswith("all months are there, none twice")
