"""Processes that begin at the same time: each says that it is ready, and waits for the word."""

from __future__ import annotations

from collections.abc import Sequence
from subprocess import Popen


def begin_together(processes: Sequence[Popen[str]]) -> None:
    """Let processes go once all of them have loaded what they need; standard input and output are pipes."""
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
