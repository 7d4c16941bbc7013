"""Dagster's monitoring over the launchers of workers: they judge what they launched, and leave the rest alone."""

# Dagster reads the annotation of a context, so none is a text here.
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import dagster as dg
import pytest
import yaml
from dagster._core.events import DagsterEvent
from dagster._daemon.monitoring.run_monitoring import monitor_started_run

from refinery_assets.contract.settings import PROJECT_ROOT

pytestmark = pytest.mark.slow

MODULES = {"celery": "dagster_celery", "ray": "dagster_ray", "kubernetes": "dagster_k8s"}
# There is no broker: a result that nobody has written is pending, as after a restart of one that forgets.
VARIABLES = {
    "CELERY_BROKER_URL": "memory://",
    "CELERY_RESULT_BACKEND": "cache+memory://",
    "RAY_JOB_SERVER": "http://127.0.0.1:1",
    "REFINERY_IMAGE": "registry.example.org/refinery:1",
}
Opened = Callable[[str], AbstractContextManager[dg.DagsterInstance]]


@pytest.fixture
def opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Opened:
    """Opens an instance with launcher and monitoring of `deploy`, its history in SQLite."""

    @contextmanager
    def open_it(engine: str) -> Iterator[dg.DagsterInstance]:
        pytest.importorskip(MODULES[engine], reason=f"the extra `{engine}` is not installed")
        if engine == "kubernetes":
            # It asks at once for the account that only a pod has.
            monkeypatch.setattr("kubernetes.config.load_incluster_config", lambda: None)
        text = (PROJECT_ROOT / "deploy" / engine / "dagster.yaml").read_text(encoding="utf-8")
        content = yaml.safe_load(text)
        of_monitoring = {name: content[name] for name in ("telemetry", "run_launcher", "run_monitoring", "run_retries")}
        (tmp_path / "dagster.yaml").write_text(yaml.safe_dump(of_monitoring), encoding="utf-8")
        variables = VARIABLES | {"DAGSTER_HOME": str(tmp_path)}
        with patch.dict(os.environ, variables), dg.DagsterInstance.from_config(str(tmp_path)) as instance:
            yield instance

    return open_it


def look_at(instance: dg.DagsterInstance, run_id: str) -> dg.DagsterRunStatus:
    """Have the daemon look at a run once; gives what the run is then."""
    record = instance.get_run_record_by_id(run_id)
    assert record is not None
    workspace: Any = None
    monitor_started_run(instance, workspace, record, logging.getLogger("monitoring"))
    run = instance.get_run_by_id(run_id)
    assert run is not None
    return run.status


def run_in_this_process(instance: dg.DagsterInstance, **tags: str) -> tuple[str, dg.DagsterRunStatus]:
    """Run a job as `refinery run` does; gives its id, and what it was after a look in the middle."""
    seen = []

    @dg.op
    def be_looked_at(context: dg.OpExecutionContext) -> None:
        seen.append(look_at(instance, context.run_id))

    @dg.job
    def looking() -> None:
        be_looked_at()

    ran = looking.execute_in_process(instance=instance, tags=tags)
    return ran.run_id, seen[0]


@pytest.mark.parametrize("engine", MODULES)
def test_a_run_in_a_process_of_its_own_is_not_taken_for_dead(engine: str, opened: Opened) -> None:
    with opened(engine) as instance:
        assert instance.run_launcher.supports_check_run_worker_health

        run_id, status = run_in_this_process(instance)

        assert status is dg.DagsterRunStatus.STARTED
        assert not instance.run_launcher.terminate(run_id)


def test_a_run_in_a_process_of_its_own_is_ended_when_it_has_run_too_long(opened: Opened) -> None:
    with opened("celery") as instance:
        run_id, status = run_in_this_process(instance, **{"dagster/max_runtime": "0.001"})

        told = [entry.message for entry in instance.all_logs(run_id)]
    assert status is dg.DagsterRunStatus.FAILURE
    assert any("exceeding maximum runtime" in message for message in told)
    assert not any("Exception while attempting to terminate" in message for message in told)


def test_a_run_that_was_launched_and_whose_worker_is_unknown_fails(opened: Opened) -> None:
    with opened("celery") as instance:
        job = dg.GraphDefinition("refine").to_job()
        run = instance.create_run_for_job(job, tags={"dagster-celery/task_id": "forgotten"})
        for kind in (dg.DagsterEventType.PIPELINE_STARTING, dg.DagsterEventType.PIPELINE_START):
            instance.report_dagster_event(DagsterEvent(kind.value, "refine"), run.run_id)

        assert look_at(instance, run.run_id) is dg.DagsterRunStatus.FAILURE
