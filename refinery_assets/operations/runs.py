"""How runs are started, and what every run records about itself when it begins.

A run that the UI, the schedule or a sensor started names the code location that it belongs to, and the UI
lists it under that location's jobs. A run started at a command line names none, so it is given its location
when it begins; and the process that it runs in, by which `housekeeping` recognizes a run that was killed.

Here: the executor of all jobs, and starting a run in this process. Not here: which months to run for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import dagster as dg
from dagster._core.definitions.job_base import InMemoryJob
from dagster._core.execution.api import execute_run_iterator
from dagster._core.execution.context.system import PlanOrchestrationContext
from dagster._core.execution.plan.plan import ExecutionPlan
from dagster._core.execution.plan.resume_retry import ReexecutionStrategy
from dagster._core.execution.retries import RetryMode
from dagster._core.executor.in_process import InProcessExecutor
from dagster._core.remote_origin import (
    RegisteredCodeLocationOrigin,
    RemoteJobOrigin,
    RemoteRepositoryOrigin,
)
from dagster._core.storage.tags import (
    CODE_LOCATION_TAG,
    HIDDEN_TAG_PREFIX,
    REPOSITORY_LABEL_TAG,
    RETRY_STRATEGY_TAG,
)
from dagster._core.utils import make_new_run_id
from dagster._utils.interrupts import capture_interrupts

from refinery_assets.contract.months import Month
from refinery_assets.operations.partitions import month_tags
from refinery_assets.operations.processes import RunProcess

LOCATION = "refinery"
"""The code location's name in `workspace.yaml` and `pyproject.toml`."""
REPOSITORY = "__repository__"
"""The name that Dagster gives to a location's only repository."""
PROCESS_TAG = f"{HIDDEN_TAG_PREFIX}refinery/process"
"""The run's tag that names its process; one of those that the UI does not show."""

_STATEMENT_MILLISECONDS = 10 * 60 * 1000
_CONNECTION_SECONDS = 10 * 60
_MORE_CONNECTIONS = 4


@dataclass(frozen=True)
class FinishedRun:
    """A run that was started here and is over.

    Attributes:
        run_id: Its id.
        success: Whether all of it succeeded.
        events: Its events, in order.
    """

    run_id: str
    success: bool
    events: Sequence[dg.DagsterEvent]

    @property
    def check_evaluations(self) -> list[dg.AssetCheckEvaluation]:
        """Every check's verdict, one for each month where the check is judged by month."""
        return [
            event.asset_check_evaluation_data
            for event in self.events
            if event.event_type is dg.DagsterEventType.ASSET_CHECK_EVALUATION
        ]


def start_run(  # noqa: PLR0913 - what a command line asks for
    instance: dg.DagsterInstance,
    defs: dg.Definitions,
    job_name: str,
    months: Sequence[Month] = (),
    *,
    tags: Mapping[str, str] | None = None,
    on_event: Callable[[dg.DagsterEvent], None] | None = None,
    log_level: str = "CRITICAL",
) -> FinishedRun:
    """Run a job in this process; Dagster holds it like a run that its UI started.

    Args:
        instance: Where the run is recorded.
        defs: The graph.
        job_name: The job, such as `refine`.
        months: What the run is for: months that follow one another without a gap; none for a job that
            takes none.
        tags: Further tags of the run.
        on_event: Called with each event as it happens.
        log_level: From which level on Dagster's own lines are shown at the terminal.

    Raises:
        MonthOutsideWindowError: A month is outside the window.
    """
    job = defs.resolve_job_def(job_name)
    with dg.partition_loading_context(dynamic_partitions_store=instance) as loading:
        for month in months:
            job.validate_partition_key(str(month), selected_asset_keys=None, context=loading)
    run_id = make_new_run_id()
    run = instance.create_run_for_job(
        job_def=job,
        run_id=run_id,
        tags={**job.run_tags, **month_tags(months), **(tags or {}), **_process_tags(run_id)},
        # Dagster's own lines belong in its history; the caller decides what the terminal shows.
        run_config={"loggers": {"console": {"config": {"log_level": log_level}}}},
        remote_job_origin=job_origin(job_name),
    )
    events = []
    # A signal ends the run between two events, so that it is recorded as ended.
    with capture_interrupts():
        for event in execute_run_iterator(InMemoryJob(job), run, instance):
            events.append(event)
            if on_event is not None:
                on_event(event)
    ended = instance.get_run_by_id(run.run_id)
    return FinishedRun(run.run_id, ended is not None and ended.is_success, events)


def job_origin(job_name: str) -> RemoteJobOrigin:
    """What makes the UI list a run under this project's code location."""
    location = RegisteredCodeLocationOrigin(LOCATION)
    return RemoteJobOrigin(RemoteRepositoryOrigin(location, REPOSITORY), job_name)


def enter_run(instance: dg.DagsterInstance, run: dg.DagsterRun) -> None:
    """Record on a run that begins which process it runs in, and its code location if it names none.

    Where Dagster starts runs again whose worker died, it is to start them with all steps: verdicts are handed on within
    a run, and assets whose steps were left out would stay red.
    """
    tags = _process_tags(run.run_id)
    if instance.run_retries_enabled:
        tags[RETRY_STRATEGY_TAG] = ReexecutionStrategy.ALL_STEPS.name
    if run.remote_job_origin is not None:
        if tags.items() - run.tags.items():
            instance.add_run_tags(run.run_id, tags)
        return
    origin = job_origin(run.job_name)
    label = origin.repository_origin.get_label()
    # The list of tags comes first: the storage renews the entry by which runs are found, and adds none.
    instance.add_run_tags(run.run_id, {**tags, CODE_LOCATION_TAG: origin.location_name, REPOSITORY_LABEL_TAG: label})
    recorded = instance.get_run_by_id(run.run_id)
    if recorded is not None:
        instance.run_storage.replace_job_origin(recorded, origin)


def _process_tags(run_id: str) -> dict[str, str]:
    process = RunProcess.current(run_id)
    return {} if process is None else {PROCESS_TAG: str(process)}


def _keep_connections(instance: dg.DagsterInstance) -> None:
    """Keep connections to Dagster's database open for the length of a run.

    Its PostgreSQL storage makes one for each statement and is told not to only by the webserver: 153 s of a run over 36
    small months instead of 23, on a busy machine. SQLite's need nothing.
    """
    instance.optimize_for_webserver(
        statement_timeout=_STATEMENT_MILLISECONDS, pool_recycle=_CONNECTION_SECONDS, max_overflow=_MORE_CONNECTIONS
    )


class _InThisProcess(InProcessExecutor):
    def execute(
        self, plan_context: PlanOrchestrationContext, execution_plan: ExecutionPlan
    ) -> Iterator[dg.DagsterEvent]:
        _keep_connections(plan_context.instance)
        enter_run(plan_context.instance, plan_context.dagster_run)
        yield from super().execute(plan_context, execution_plan)


@dg.executor(name="in_process")
def in_this_process(_: dg.InitExecutorContext) -> InProcessExecutor:
    """All steps of a run in one process, which the run records when it begins."""
    return _InThisProcess(retries=RetryMode.ENABLED)
