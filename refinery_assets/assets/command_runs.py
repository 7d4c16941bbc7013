"""Runs the job `refine` for the command line: months in, their outcomes out.

Here: one run for each unbroken span of months, and its progress; `REFINERY_MONTHS_PER_RUN` divides no span, because
several runs in this process would only take longer. Not here: starting a run (`operations/runs.py`) and printing its
outcome (`reports/terminal.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import dagster as dg
from dagster._core.instance import InstanceRef
from dagster._core.storage.noop_compute_log_manager import NoOpComputeLogManager
from rich.console import Console

from refinery_assets.assets.run_results import outcomes_of_run
from refinery_assets.assets.steps import FORCE_TAG
from refinery_assets.contract.months import Month
from refinery_assets.operations.automation import REFINE
from refinery_assets.operations.outcomes import REFUSED
from refinery_assets.operations.runs import start_run
from refinery_assets.reports.month_results import Outcomes, Stop
from refinery_assets.reports.progress import StepProgress, title_of

_ENDS = {
    dg.DagsterEventType.STEP_SUCCESS: "done",
    dg.DagsterEventType.STEP_FAILURE: "failed",
    dg.DagsterEventType.STEP_SKIPPED: "skipped",
}

# What steps print goes to the terminal and nowhere else: to keep it, Dagster starts two processes for each run, which
# answer an interrupt with traces of their own.
_KEEP_NO_OUTPUT = {
    "compute_logs": {
        "module": NoOpComputeLogManager.__module__,
        "class": NoOpComputeLogManager.__name__,
        "config": {},
    }
}


def open_instance(home: Path) -> dg.DagsterInstance:
    """The Dagster instance in its home, for runs of a command line."""
    return dg.DagsterInstance.from_ref(InstanceRef.from_dir(str(home), overrides=_KEEP_NO_OUTPUT))


def refine_months(  # noqa: PLR0913 - what a command line asks for
    instance: dg.DagsterInstance,
    defs: dg.Definitions,
    months: Sequence[Month],
    console: Console,
    *,
    force: bool = False,
    log: bool = False,
    progress: bool = True,
) -> Outcomes:
    """Run the job over the months, one run for each span that follows one another without a gap.

    Args:
        instance: Where the runs are recorded.
        defs: The graph.
        months: The months, in order.
        console: Where to show the progress.
        force: Whether months are rewritten although nothing has changed.
        log: Whether Dagster's own lines are shown.
        progress: Whether to show the progress.
    """
    steps = len(defs.resolve_job_def(REFINE).nodes)
    outcomes = Outcomes()
    for span in Month.unbroken(months):
        title = title_of([str(month) for month in span])
        with StepProgress(console, title, len(span), steps, shown=progress and not log) as shown:

            def on_event(event: dg.DagsterEvent, shown: StepProgress = shown) -> None:
                step = event.step_key or ""
                if event.event_type is dg.DagsterEventType.STEP_START:
                    shown.begin(step)
                elif event.event_type in _ENDS:
                    shown.end(step, "done, with refused months" if _is_refusal(event) else _ENDS[event.event_type])
                elif event.event_type is dg.DagsterEventType.STEP_UP_FOR_RETRY:
                    shown.wait(step)

            run = start_run(
                instance,
                defs,
                REFINE,
                span,
                tags={FORCE_TAG: "true"} if force else {},
                on_event=on_event,
                log_level="INFO" if log else "CRITICAL",
            )
        outcomes += outcomes_of_run(run, span)
        if outcomes.stop is Stop.INTERRUPTED:
            break
    return outcomes


def _is_refusal(event: dg.DagsterEvent) -> bool:
    """Whether a step failed for no other reason than that months were refused."""
    failure = event.step_failure_data.user_failure_data if event.is_step_failure else None
    return failure is not None and REFUSED in failure.metadata
