"""One command as a whole process: how long, how much processor time, how much memory.

The figures are the kernel's own of the process and of those that it waited for; memory is that of the
largest single one.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_KIB_PER_MIB = 1024
# What the kernel counts memory in: bytes on macOS, KiB elsewhere.
_UNITS_PER_MIB = _KIB_PER_MIB * (_KIB_PER_MIB if sys.platform == "darwin" else 1)
_TAIL = 3000


class CommandFailedError(Exception):
    """A command that is measured ended with an error, so its figures mean nothing."""


@dataclass(frozen=True)
class Cost:
    """What one run took.

    Attributes:
        wall: Seconds from start to end.
        cpu: Seconds of processor time, of user and system.
        peak: Largest resident memory, MiB.
    """

    wall: float
    cpu: float
    peak: float


def measure(command: Sequence[str], folder: Path, environment: Mapping[str, str]) -> Cost:
    """Run a command to its end.

    Raises:
        CommandFailedError: It did not end well; the message holds the end of what it said.
    """
    # A process begins with the memory of the one that starts it, so that has to be a small one.
    starter = [sys.executable, __file__, *command]
    done = subprocess.run(starter, cwd=folder, env=dict(environment), stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise CommandFailedError(f"{' '.join(command)} ended with {done.returncode}: {done.stdout}")
    return Cost(**json.loads(done.stdout))


def _main(command: Sequence[str]) -> int:
    with tempfile.TemporaryFile() as said:
        start = time.perf_counter()
        process = subprocess.Popen(command, stdout=said, stderr=subprocess.STDOUT)
        _, status, used = os.wait4(process.pid, 0)
        wall = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            said.seek(max(0, said.tell() - _TAIL))
            sys.stdout.write(said.read().decode(errors="replace"))
        else:
            cost = Cost(wall, used.ru_utime + used.ru_stime, used.ru_maxrss / _UNITS_PER_MIB)
            sys.stdout.write(json.dumps(vars(cost)))
    return process.returncode


if __name__ == "__main__":
    sys.exit(_main(sys.argv[1:]))
