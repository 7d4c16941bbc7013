"""Launchers of runs on workers, which leave alone what they did not launch.

Dagster's monitoring asks the instance's launcher about every run that is going on. One that runs in the process of
`refinery run` or `dg launch` has no job of the launcher: the stock ones take it for dead and Dagster starts it a second
time, or they raise. Here: what is answered for such a run. Not here: the launchers (`celery.py`, `kubernetes.py`,
`ray.py`, one for each extra).
"""

from __future__ import annotations

from typing import Any

import dagster as dg
from dagster._core.launcher import CheckRunHealthResult, RunLauncher, WorkerStatus


class AnswersForItsOwn(RunLauncher[Any]):
    """A launcher that judges and ends what it has launched; other runs end by `max_runtime_seconds` at the latest."""

    def check_run_worker_health(self, run: dg.DagsterRun) -> CheckRunHealthResult:
        """Ask about the worker of a run; one that has none counts as running."""
        if self._is_launched(run.run_id):
            return super().check_run_worker_health(run)
        return CheckRunHealthResult(WorkerStatus.RUNNING, "It runs in a process that no launcher started.")

    def terminate(self, run_id: str) -> bool:
        """End the worker of a run; False where it has none."""
        return self._is_launched(run_id) and super().terminate(run_id)  # type: ignore[safe-super]  # the launcher's own

    def _is_launched(self, run_id: str) -> bool:
        return self._instance.get_run_stats(run_id).launch_time is not None
