"""Workers for a trial, and what they need beside them: Celery's with Redis, or the nodes of a Ray cluster.

Here: starting them, waiting until each is ready, and ending them. Not here: what they are given to do (`engines.py`).
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TypeVar
from urllib.request import urlopen

from refinery_assets.contract.settings import PROJECT_ROOT
from refinery_assets_tests.installation import BIN, Installation

Answer = TypeVar("Answer")
_REDIS_PORT = 16379
# Ray gives all ports from 10002 to 19999 to its workers.
_RAY_PORT, _RAY_JOBS, _RAY_CLIENTS = 6390, 8275, 10001
_RAY_STARTS = 3
# A run is given two cores, so this is a node for one run at a time. Objects are not shared here.
_RAY_NODE = ("--num-cpus", "2", "--memory", "3000000000")
_RAY_OBJECTS = ("--object-store-memory", "100000000")

VARIABLES = {
    "CELERY_BROKER_URL": f"redis://127.0.0.1:{_REDIS_PORT}/0",
    "CELERY_RESULT_BACKEND": f"redis://127.0.0.1:{_REDIS_PORT}/1",
    "RAY_JOB_SERVER": f"http://127.0.0.1:{_RAY_JOBS}",
    # On a busy machine its job server is up after a minute and more.
    "RAY_DASHBOARD_STARTUP_TIMEOUT_S": "240",
}
"""The variables that say where they are, and how long Ray waits for itself."""


class WorkerError(Exception):
    """A worker does not start."""


@dataclass
class Crew:
    """The processes of a trial; each writes a log of its own into `logs`."""

    installation: Installation
    logs: Path
    workers: dict[str, subprocess.Popen[str]] = field(default_factory=dict)

    def start(self, name: str, *command: str) -> subprocess.Popen[str]:
        """Start a process that somebody else ends."""
        with (self.logs / f"{name}.log").open("a") as output:
            return self.installation.start_into(output, *command)

    @contextmanager
    def process(self, name: str, *command: str) -> Iterator[subprocess.Popen[str]]:
        """A process that ends with the block."""
        process = self.start(name, *command)
        try:
            yield process
        finally:
            end(process)


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


@contextmanager
def celery(crew: Crew, names: list[str]) -> Iterator[None]:
    """Redis, and workers of one process each."""
    redis = shutil.which("redis-server")
    assert redis, "redis-server is not installed (Debian: apt-get install redis-server)"
    with ExitStack() as stack:
        options = ["--bind", "127.0.0.1", "--port", str(_REDIS_PORT), "--save", "", "--appendonly", "no"]
        stack.enter_context(crew.process("redis", redis, *options))
        for name in names:
            command = ["celery", "-A", "refinery_worker", "worker", "-n", f"{name}@%h", "-c", "1", "-Q", "dagster"]
            start = crew.process(
                name, str(BIN / command[0]), "--workdir", str(PROJECT_ROOT / "deploy" / "celery"), *command[1:]
            )
            crew.workers[name] = stack.enter_context(start)
        yield


@contextmanager
def ray(crew: Crew, names: list[str]) -> Iterator[None]:
    """A head node that runs nothing, and a node for each worker."""
    base = [str(BIN / "ray"), "start", "--block", "--disable-usage-stats", "--node-ip-address", "127.0.0.1"]
    base += _RAY_OBJECTS
    head = ["--head", "--port", str(_RAY_PORT), "--dashboard-port", str(_RAY_JOBS), "--num-cpus", "0"]
    head += ["--ray-client-server-port", str(_RAY_CLIENTS), "--temp-dir", str(crew.logs / "ray")]
    with ExitStack() as stack:
        _start_node(stack, crew, "head", [*base, *head], nodes=1)
        for number, name in enumerate(names, start=2):
            node = [*base, "--address", f"127.0.0.1:{_RAY_PORT}", *_RAY_NODE]
            crew.workers[name] = _start_node(stack, crew, name, node, nodes=number)
        yield


def _start_node(stack: ExitStack, crew: Crew, name: str, command: list[str], *, nodes: int) -> subprocess.Popen[str]:
    """Start a node, and wait until the cluster counts so many; one after another, for each takes cores of its own.

    A node that is not up within 30 s ends itself, and no option gives it longer: on a busy machine it is started again.
    """
    for _ in range(_RAY_STARTS):
        process = crew.start(name, *command)
        stack.callback(end, process)
        try:
            if wait_until(f"Ray's node {name}", partial(_up_or_gone, process, nodes)) == "up":
                return process
        except TimeoutError as error:
            raise WorkerError(f"Ray's node {name} is not up after five minutes; its log says why.") from error
        end(process)
    raise WorkerError(f"Ray's node {name} ended {_RAY_STARTS} times before it was up; its log says why.")


def _up_or_gone(process: subprocess.Popen[str], nodes: int) -> str | None:
    if process.poll() is not None:
        return "gone"
    return "up" if _nodes_alive() >= nodes else None


def _nodes_alive() -> int:
    """How many nodes the head node's job server counts; 0 until all servers of the head node answer.

    The one for Ray's own clients is for nobody here, but if it is not up within 30 s, the head node goes with it.
    """
    try:
        socket.create_connection(("127.0.0.1", _RAY_CLIENTS), timeout=30).close()
        with urlopen(f"{VARIABLES['RAY_JOB_SERVER']}/api/v0/nodes", timeout=30) as answer:  # noqa: S310 - our own
            found = json.load(answer)
    except OSError:
        return 0
    return sum(node["state"] == "ALIVE" for node in found["data"]["result"]["result"])
