"""`refinery ui`: refused where it cannot be the only one, and ended by a signal however it was started."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest

from refinery_assets.contract.settings import PROJECT_ROOT
from refinery_assets_tests.installation import Installation
from refinery_assets_tests.server import Server, wait_until_it_answers

SECONDS_TO_END = 15.0
MODULE = ("-m", "refinery_assets.cli", "ui")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
        return port


def try_to_start(installation: Installation, port: int, **variables: str) -> subprocess.CompletedProcess[str]:
    """A start that is refused."""
    return subprocess.run(
        [sys.executable, *MODULE, "--port", str(port)],
        cwd=PROJECT_ROOT,
        env=installation.environment | variables,
        capture_output=True,
        text=True,
        check=False,
    )


def started_by(port: int) -> list[psutil.Process]:
    """The processes with the port on their command line: launcher, `dg dev` and webserver."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if str(port) in process.cmdline():
                found.append(process)
    return found


def ignore_interrupts() -> None:
    """What a shell does for a command that it puts in the background."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGQUIT, signal.SIG_IGN)


@contextmanager
def ui(
    installation: Installation,
    port: int,
    command: Sequence[str],
    working_folder: Path,
    before: Callable[[], None] | None = None,
) -> Iterator[subprocess.Popen[bytes]]:
    """The UI, once it answers."""
    with (installation.folder / "ui.log").open("wb") as log:
        process = subprocess.Popen(
            command,
            cwd=working_folder,
            env=installation.environment,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=before,  # noqa: PLW1509 - this process has no threads
        )
    try:
        wait_until_it_answers(Server(f"http://127.0.0.1:{port}"), process)
        yield process
    finally:
        for left in [process.pid, *(each.pid for each in started_by(port))]:
            with suppress(ProcessLookupError):
                os.killpg(left, signal.SIGKILL)
        process.wait()


def make_ui(installation: Installation, port: int) -> list[str]:
    """`make ui` with this environment's Python, which is not to be installed anew."""
    ready = installation.folder / "ready"
    ready.touch()
    os.utime(ready, (2**33, 2**33))
    variables = {
        "BIN": Path(sys.executable).parent,
        "READY": ready,
        "PORT": port,
        "DAGSTER_HOME": installation.home,
    }
    return ["make", "ui", *(f"{name}={value}" for name, value in variables.items())]


def test_a_port_in_use_is_refused_at_once_and_no_daemon_is_started(installation: Installation) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        refused = try_to_start(installation, port)

    assert refused.returncode == 4
    assert refused.stderr == (
        f"Port {port} of 127.0.0.1 cannot be used (Address already in use); end what uses it, or choose "
        "another one, such as refinery ui --port 3001.\n"
    )
    assert not (installation.home / "schedules" / "tick_output").exists()
    assert started_by(port) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("by_make", "before", "number"),
    [
        pytest.param(False, ignore_interrupts, signal.SIGINT, marks=pytest.mark.heavy),
        (True, ignore_interrupts, signal.SIGTERM),
        pytest.param(True, None, signal.SIGINT, marks=pytest.mark.heavy),
    ],
    ids=["SIGINT in the background", "make, SIGTERM in the background", "make, SIGINT"],
)
@pytest.mark.heavy
def test_a_second_one_is_refused_and_a_signal_ends_the_first_with_all_it_started(
    installation: Installation,
    tmp_path: Path,
    *,
    by_make: bool,
    before: Callable[[], None] | None,
    number: signal.Signals,
) -> None:
    if by_make and shutil.which("make") is None:
        pytest.skip("there is no make on this machine")
    port = free_port()
    # By itself it needs no checkout: it serves from any folder, as an installed package does.
    working_folder = PROJECT_ROOT if by_make else tmp_path
    command = make_ui(installation, port) if by_make else [sys.executable, *MODULE, "--port", str(port)]
    with ui(installation, port, command, working_folder, before) as process:
        started = psutil.Process(process.pid).children(recursive=True)
        refused = try_to_start(installation, free_port())
        asked = time.monotonic()

        process.send_signal(number)
        process.wait(SECONDS_TO_END)

        gone, alive = psutil.wait_procs(started, timeout=asked + SECONDS_TO_END - time.monotonic())
    assert refused.returncode == 4
    assert refused.stderr.startswith(f"The UI is already running on {installation.home} (process ")
    assert alive == []
    # Launcher, `dg dev`, code server, its worker, webserver, daemon.
    assert len(gone) >= 5
