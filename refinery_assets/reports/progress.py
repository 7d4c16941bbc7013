"""The progress of a run: a bar at a terminal, a line for each step in a pipe.

Here: showing it. Not here: what a step is (the caller says when one begins and ends).
"""

from __future__ import annotations

import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from refinery_assets.checks.rules import counted


class StepProgress:
    """The steps of one run over some months.

    At a terminal the bar counts months through steps, for every step takes all months.
    """

    def __init__(self, console: Console, title: str, months: int, steps: int, *, shown: bool = True) -> None:
        self._console = console
        self._title = title
        self._months = months
        # Asked once, because during a run the output may go through a pipe.
        self._in_lines = shown and not console.is_terminal
        self._started: dict[str, float] = {}
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        self._bar = Progress(*columns, console=console, transient=True, disable=not (shown and console.is_terminal))
        self._task = self._bar.add_task(title, total=months * steps)

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def begin(self, step: str) -> None:
        """A step begins."""
        self._started[step] = time.perf_counter()
        self._bar.update(self._task, description=f"{self._title}: {step}")

    def end(self, step: str, became: str = "done") -> None:
        """A step has ended."""
        self._bar.advance(self._task, self._months)
        seconds = time.perf_counter() - self._started.get(step, time.perf_counter())
        self._say(f"{self._title}: {step} {became} in {seconds:.1f} s")

    def wait(self, step: str) -> None:
        """A step waits to be retried, because another process holds the warehouse."""
        self._bar.update(self._task, description=f"{self._title}: {step} waits for the warehouse")
        self._say(f"{self._title}: {step} waits for the warehouse, which another process holds")

    def _say(self, line: str) -> None:
        if self._in_lines:
            self._console.print(line, markup=False)


def title_of(months: list[str]) -> str:
    """What a run is for: `2024-05`, or `2024-01 to 2024-12 (12 months)`."""
    if len(months) == 1:
        return months[0]
    return f"{months[0]} to {months[-1]} ({counted(len(months), 'month')})"
