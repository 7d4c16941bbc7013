"""`refinery ui`: webserver and daemon on one Dagster home, started once and always ended.

`dg dev` alone starts a second daemon on the same home, whether or not its port is free, and hears no signal
when it was started with SIGINT ignored, as a shell does for what it puts in the background.

Here: the checks before the start, and the end. Not here: what runs in between, which is Dagster's.
"""

from __future__ import annotations

import fcntl
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import BinaryIO, NoReturn

import psutil

_SECONDS_TO_END = 10.0
_SECONDS_BETWEEN_LOOKS = 1.0
_LOCK = "ui.lock"
# Named, because `dg dev` by itself looks for a project in the working folder, and an installed package has none.
_WORKSPACE = Path(__file__).with_name("workspace.yaml")


class UiError(Exception):
    """The UI will not start; the message says why and what to do."""


class _Stopped(BaseException):
    """A signal asked for the end."""


def serve(host: str, port: int, home: Path) -> int:
    """Run webserver and daemon until a signal ends them.

    Args:
        host: The address to listen on.
        port: The port to listen on.
        home: Where Dagster keeps its history.

    Returns:
        The exit status: 0 after a signal.

    Raises:
        UiError: The port or the Dagster home is in use.
    """
    with _only_one(home) as lock:
        _refuse_taken_port(host, port)
        _listen_for_signals()
        command = [
            str(Path(sys.executable).with_name("dg")),
            *("dev", "--host", host, "--port", str(port), "--workspace", str(_WORKSPACE)),
        ]
        # A group of its own, so that it can be ended as a whole. It keeps the lock, should this process be
        # killed.
        servers = subprocess.Popen(  # noqa: S603 - a program of this environment
            command, start_new_session=True, pass_fds=[lock.fileno()], env=os.environ | {"DAGSTER_HOME": str(home)}
        )
        try:
            return _wait(servers) or 1
        except _Stopped:
            return 0
        finally:
            _end(servers)


@contextmanager
def _only_one(home: Path) -> Iterator[BinaryIO]:
    """Hold the home for this process and the servers it starts; the lock ends with the last of them."""
    with (home / _LOCK).open("a+b") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            raise UiError(
                f"The UI is already running on {home} (process {lock.read().decode().strip()}); end it "
                "there, or set DAGSTER_HOME to another folder."
            ) from None
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n".encode())
        lock.flush()
        yield lock


def _refuse_taken_port(host: str, port: int) -> None:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        # As a server does it: connections of an ended one that linger on do not matter.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise UiError(
                f"Port {port} of {host} cannot be used ({error.strerror}); end what uses it, or choose "
                "another one, such as refinery ui --port 3001."
            ) from error


def _wait(servers: subprocess.Popen[bytes]) -> int:
    """Wait until the servers end by themselves; gives their exit status."""
    while True:
        try:
            return servers.wait(_SECONDS_BETWEEN_LOOKS)
        except subprocess.TimeoutExpired:
            if _make_was_interrupted():
                raise _Stopped from None


def _make_was_interrupted() -> bool:
    """Whether `make` started this process and has itself been sent SIGINT.

    It keeps that to itself and waits for its command to end. All that shows of it is that the signal is
    blocked, which the system does while it is handled.
    """
    try:
        status = Path(f"/proc/{os.getppid()}/status").read_text()
    except OSError:
        return False
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    is_handling = int(fields["SigBlk"], 16) >> (signal.SIGINT - 1) & 1
    return fields["Name"] in {"make", "gmake"} and bool(is_handling)


def _listen_for_signals() -> None:
    def stop(_: int, __: FrameType | None) -> NoReturn:
        # A second signal means the same; ending takes a moment, but not long.
        for number in heard:
            signal.signal(number, signal.SIG_IGN)
        raise _Stopped

    # Also where the shell had them ignored, except that nohup is to outlive the terminal.
    heard = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        heard.append(signal.SIGHUP)
    for number in heard:
        signal.signal(number, stop)


def _end(servers: subprocess.Popen[bytes]) -> None:
    """End the servers and everything that they started: by SIGINT, then by SIGKILL."""
    with suppress(psutil.NoSuchProcess):
        started = psutil.Process(servers.pid).children(recursive=True)
        servers.send_signal(signal.SIGINT)
        psutil.wait_procs([psutil.Process(servers.pid), *started], timeout=_SECONDS_TO_END)
    with suppress(ProcessLookupError):
        os.killpg(servers.pid, signal.SIGKILL)
    servers.wait()
