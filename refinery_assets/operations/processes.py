"""Which process a run runs in, and whether that process has ended.

A process number alone says nothing: another machine, another container and the same machine after a restart
give the same numbers to other processes. A record therefore names the machine, its boot, the PID namespace
and the tick of the clock at which the process started. Linux gives all of these; elsewhere there is no
record.

Here: the record, and judging it. Not here: what is done about a run whose process has ended.
"""

from __future__ import annotations

import json
import os
import socket
from dataclasses import asdict, dataclass
from pathlib import Path

# The kernel gives this number to the namespace that a machine starts with; a container has another.
_FIRST_PID_NAMESPACE = "pid:[4026531836]"
_MACHINE_ID = Path("/etc/machine-id")
_PROC = Path("/proc")


@dataclass(frozen=True)
class RunProcess:
    """A process, distinguished from every other one that has or had its number.

    Attributes:
        run_id: The run that it runs; one that repeats another run has that one's record at first.
        host: Name of the machine or container.
        machine: Id of the installed system; empty where it has none.
        boot: Id of the machine's current boot.
        pid_namespace: Namespace that `pid` belongs to.
        pid: The process number.
        started: When the process started, in clock ticks since the boot.
    """

    run_id: str
    host: str
    machine: str
    boot: str
    pid_namespace: str
    pid: int
    started: int

    @classmethod
    def current(cls, run_id: str = "") -> RunProcess | None:
        """This process, as that of a run; None if the system does not say."""
        pid = os.getpid()
        stat = _stat(pid)
        try:
            # In a namespace with the /proc of another one, the numbers there mean other processes.
            if stat is None or (_PROC / "self").readlink().name != str(pid):
                return None
            return cls(
                run_id=run_id,
                host=socket.gethostname(),
                machine=_MACHINE_ID.read_text().strip() if _MACHINE_ID.is_file() else "",
                boot=(_PROC / "sys/kernel/random/boot_id").read_text().strip(),
                pid_namespace=str((_PROC / "self/ns/pid").readlink()),
                pid=pid,
                started=stat[1],
            )
        except OSError:
            return None

    @classmethod
    def parse(cls, text: str) -> RunProcess:
        """Read what `str` wrote."""
        return cls(**json.loads(text))

    def __str__(self) -> str:
        return json.dumps(asdict(self))

    def has_ended(self) -> bool:
        """Whether the process is known to have ended; False where this process cannot know."""
        here = RunProcess.current()
        if here is None or (self.host, self.machine) != (here.host, here.machine):
            return False
        if self.boot != here.boot:
            # The machine was restarted since. Of a container, or of a system without an id of its own,
            # nothing is certain: a second one elsewhere may have the same name.
            outside_containers = {self.pid_namespace, here.pid_namespace} == {_FIRST_PID_NAMESPACE}
            return bool(self.machine) and outside_containers
        if self.pid_namespace != here.pid_namespace:
            return False
        stat = _stat(self.pid)
        return stat is None or stat[0] in {"Z", "X"} or stat[1] != self.started


def _stat(pid: int) -> tuple[str, int] | None:
    """State and start of a process, as of proc(5); None when there is none of that number."""
    try:
        text = (_PROC / str(pid) / "stat").read_text()
    except OSError:
        return None
    # The program's name stands in parentheses and may hold anything, parentheses and blanks included.
    fields = text.rpartition(")")[2].split()
    return fields[0], int(fields[19])
