"""The files in deploy/: Dagster takes each instance as it stands, and no file names a path that is not there."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from unittest.mock import patch

import dagster as dg
import pytest
import yaml
from dagster._core.instance import InstanceRef
from dagster._core.run_coordinator import QueuedRunCoordinator

from refinery_assets.contract.settings import PROJECT_ROOT

DEPLOY = PROJECT_ROOT / "deploy"
LAUNCHERS = {
    "postgres": ("dagster._core.launcher", "DefaultRunLauncher"),
    "celery": ("dagster_celery.launcher", "CeleryRunLauncher"),
    "ray": ("dagster_ray", "RayRunLauncher"),
    "kubernetes": ("dagster_k8s", "K8sRunLauncher"),
}
VARIABLES = {
    "DAGSTER_PG_URL": "postgresql+psycopg2://dagster:SECRET@localhost/dagster",
    "CELERY_BROKER_URL": "redis://:SECRET@localhost:6379/0",
    "CELERY_RESULT_BACKEND": "redis://:SECRET@localhost:6379/1",
    "RAY_JOB_SERVER": "http://localhost:8265",
    "REFINERY_IMAGE": "registry.example.org/refinery:1",
}


def instance_files() -> list[Path]:
    return sorted(DEPLOY.glob("*/dagster.yaml"))


def test_there_is_an_instance_for_each_way() -> None:
    assert {path.parent.name for path in instance_files()} == LAUNCHERS.keys()


@pytest.mark.parametrize("path", instance_files(), ids=lambda path: path.parent.name)
def test_dagster_loads_the_instance_and_its_launcher(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module, launcher = LAUNCHERS[path.parent.name]
    pytest.importorskip("dagster_postgres", reason="the extra `postgres` is not installed")
    pytest.importorskip(module, reason=f"the extra `{path.parent.name}` is not installed")
    if launcher == "K8sRunLauncher":
        # It asks at once for the account that only a pod has.
        monkeypatch.setattr("kubernetes.config.load_incluster_config", lambda: None)
    shutil.copy(path, tmp_path)
    with patch.dict(os.environ, VARIABLES | {"DAGSTER_HOME": str(tmp_path)}):
        # Reads and validates all of it, and connects to nothing.
        reference = InstanceRef.from_dir(str(tmp_path))

        assert type(reference.run_launcher).__name__ == launcher
        assert isinstance(reference.run_coordinator, QueuedRunCoordinator)
        assert type(reference.compute_log_manager).__name__ == "NoOpComputeLogManager"
    settings = reference.settings
    assert settings["run_monitoring"]["enabled"]
    assert 0 < settings["run_monitoring"]["max_runtime_seconds"] <= 4 * 3600
    # A month that was refused stays refused, however often it is run.
    assert settings["run_retries"] == {"enabled": True, "max_retries": 3, "retry_on_asset_or_op_failure": False}
    assert reference.storage_data is not None
    assert "env: DAGSTER_PG_URL" in reference.storage_data.config_yaml


@pytest.mark.parametrize("path", instance_files(), ids=lambda path: path.parent.name)
def test_the_instances_differ_in_nothing_but_what_runs_the_runs(path: Path) -> None:
    def rest(file: Path) -> object:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
        content.pop("run_launcher", None)
        del content["run_monitoring"]["max_runtime_seconds"]
        return content

    assert rest(path) == rest(DEPLOY / "postgres" / "dagster.yaml")


def test_dagster_refuses_storage_beside_event_log_storage(tmp_path: Path) -> None:
    text = (DEPLOY / "postgres" / "dagster.yaml").read_text(encoding="utf-8")
    beside = "event_log_storage:\n  module: dagster._core.storage.event_log\n  class: InMemoryEventLogStorage\n"
    (tmp_path / "dagster.yaml").write_text(text + beside, encoding="utf-8")

    with pytest.raises(dg.DagsterInvalidConfigError, match="event_log_storage"):
        InstanceRef.from_dir(str(tmp_path))
