"""The files in deploy/: Dagster takes each instance as it stands, and no file names a path that is not there."""

from __future__ import annotations

import os
import re
import runpy
import shutil
import ssl
import subprocess
from pathlib import Path
from typing import Any
from unittest.mock import patch

import dagster as dg
import pytest
import yaml
from dagster._config import process_config
from dagster._core.instance import InstanceRef
from dagster._core.run_coordinator import QueuedRunCoordinator
from dagster._core.storage.base_storage import DagsterStorage
from dagster._serdes.config_class import class_from_code_pointer

from refinery_assets.contract.places import ObjectPrefix
from refinery_assets.contract.settings import PROJECT_ROOT, Settings
from refinery_assets.contract.settings import VARIABLES as SETTINGS
from refinery_assets.operations.runs import LOCATION

DEPLOY = PROJECT_ROOT / "deploy"
LAUNCHERS = {
    "postgres": ("dagster._core.launcher", "DefaultRunLauncher"),
    "celery": ("dagster_celery.launcher", "RefineryCeleryLauncher"),
    "ray": ("dagster_ray", "RefineryRayLauncher"),
    "kubernetes": ("dagster_k8s", "RefineryKubernetesLauncher"),
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
    if path.parent.name == "kubernetes":
        # It asks at once for the account that only a pod has.
        monkeypatch.setattr("kubernetes.config.load_incluster_config", lambda: None)
    shutil.copy(path, tmp_path)
    with patch.dict(os.environ, VARIABLES | {"DAGSTER_HOME": str(tmp_path)}):
        # Reads and validates all of it, and connects to nothing.
        reference = InstanceRef.from_dir(str(tmp_path))

        assert type(reference.run_launcher).__name__ == launcher
        assert isinstance(reference.run_coordinator, QueuedRunCoordinator)
        assert type(reference.compute_log_manager).__name__ == "NoOpComputeLogManager"
        # Of the storage Dagster notes the names, and it loads the class when it connects.
        storage = reference.storage_data
        assert storage is not None
        kind: Any = class_from_code_pointer(storage.module_name, storage.class_name)
        assert issubclass(kind, DagsterStorage)
        assert process_config(kind.config_type(), storage.config_dict).success
    settings: Any = reference.settings
    assert settings["run_monitoring"]["enabled"]
    assert 0 < settings["run_monitoring"]["max_runtime_seconds"] <= 4 * 3600
    # A month that was refused stays refused, however often it is run.
    assert settings["run_retries"] == {"enabled": True, "max_retries": 3, "retry_on_asset_or_op_failure": False}
    assert "env: DAGSTER_PG_URL" in storage.config_yaml


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


def test_every_path_that_compose_and_dockerfile_name_is_there() -> None:
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text(encoding="utf-8"))
    build = compose["services"]["webserver"]["build"]
    dockerfile = (DEPLOY / build["context"] / build["dockerfile"]).read_text(encoding="utf-8")
    engine = build["args"]["ENGINE"]
    copied = [
        source.replace("${ENGINE}", engine)
        for sources in re.findall(r"^COPY (.+) \S+$", dockerfile, re.MULTILINE)
        for source in sources.split()
    ]

    missing = [source for source in [*copied, "deploy/example.env"] if not (PROJECT_ROOT / source).exists()]

    assert len(copied) > 5
    assert missing == []


def test_what_the_image_copies_is_not_kept_from_it() -> None:
    lines = (PROJECT_ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    let_in = {line.removeprefix("!") for line in lines if line.startswith("!")}
    dockerfile = (DEPLOY / "Dockerfile").read_text(encoding="utf-8")
    copied = [each for sources in re.findall(r"^COPY (.+) \S+$", dockerfile, re.MULTILINE) for each in sources.split()]

    assert {source.split("/")[0] for source in copied} <= let_in


def test_every_variable_of_compose_is_in_the_example_and_every_service_waits_for_what_it_needs() -> None:
    text = (DEPLOY / "compose.yaml").read_text(encoding="utf-8")
    asked = set(re.findall(r"\$\{(\w+)", text))
    example = dict(
        line.split("=", 1)
        for line in (DEPLOY / "example.env").read_text(encoding="utf-8").splitlines()
        if line and not line.startswith("#")
    )
    services = yaml.safe_load(text)["services"]

    assert asked <= example.keys()
    assert not [name for name in example if name in asked and "PASSWORD" in name and example[name]]
    for name in ("webserver", "daemon", "worker"):
        needed = services[name]["depends_on"]
        assert all("healthcheck" in services[other] for other in needed)
        settings = set(services[name]["environment"]) | example.keys()
        assert {each for each in settings if each.startswith("REFINERY_")} <= {*SETTINGS}
    # Who serves it to others puts a login before it.
    assert services["webserver"]["ports"] == ["127.0.0.1:3000:3000"]


def test_the_worker_module_of_celery_has_the_tasks_that_the_launcher_sends(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("dagster_celery", reason="the extra `celery` is not installed")
    monkeypatch.setenv("CELERY_BROKER_URL", VARIABLES["CELERY_BROKER_URL"])
    monkeypatch.setenv("CELERY_RESULT_BACKEND", VARIABLES["CELERY_RESULT_BACKEND"])

    app = runpy.run_path(str(DEPLOY / "celery" / "refinery_worker.py"))["app"]

    assert {"execute_job", "resume_job"} <= app.tasks.keys()
    assert app.conf.broker_url == VARIABLES["CELERY_BROKER_URL"]
    assert app.conf.worker_disable_prefetch


def test_celery_checks_the_certificate_of_a_broker_with_tls_by_the_documented_addresses(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("dagster_celery", reason="the extra `celery` is not installed")
    text = (DEPLOY / "celery" / "dagster.yaml").read_text(encoding="utf-8")
    addresses = dict(re.findall(r"^#   (CELERY_\w+)=(rediss://\S+)$", text, re.MULTILINE))
    assert addresses.keys() == {"CELERY_BROKER_URL", "CELERY_RESULT_BACKEND"}
    wanted = {"ssl_cert_reqs": ssl.CERT_REQUIRED, "ssl_ca_certs": "/etc/ssl/ca.pem"}

    def app(*, parameters: bool) -> Any:
        for name, address in addresses.items():
            url = address.replace("HOST", "localhost")
            monkeypatch.setenv(name, url if parameters else url.partition("?")[0])
        return runpy.run_path(str(DEPLOY / "celery" / "refinery_worker.py"))["app"]

    with_tls = app(parameters=True)
    assert with_tls.backend.connparams.items() >= wanted.items()
    assert with_tls.connection_for_write().ssl == wanted
    with pytest.raises(ValueError, match="must have parameter ssl_cert_reqs"):
        _ = app(parameters=False).backend


def test_the_documented_environment_file_is_complete_and_reads_the_same_in_a_shell(tmp_path: Path) -> None:
    pytest.importorskip("obstore", reason="the extra `s3` is not installed")
    page = (PROJECT_ROOT / "docs" / "many-machines.md").read_text(encoding="utf-8")
    lines = re.findall(r"^ {8}([A-Z_]+)='(.*)'$", page, re.MULTILINE)
    # systemd takes what is between the quotes as it is.
    written = dict(lines)
    file = tmp_path / "refinery.env"
    file.write_text("".join(f"{name}='{value}'\n" for name, value in lines), encoding="utf-8")

    command = ["sh", "-c", 'set -a; . "$1"; set +a; env -0', "sh", str(file)]
    sourced = subprocess.run(command, env={}, check=True, capture_output=True, text=True).stdout
    read = dict(each.split("=", 1) for each in sourced.split("\0") if each)

    assert {name: read.get(name) for name in written} == written
    assert written.keys() >= {"DAGSTER_HOME", "DAGSTER_PG_URL", "CELERY_BROKER_URL", "CELERY_RESULT_BACKEND"}
    settings = Settings.from_environment(read)
    assert settings.lake is not None
    assert settings.lake.takes_many_writers
    for place in (settings.feed, settings.telemetry, settings.lake_data):
        assert isinstance(place, ObjectPrefix)
    assert (settings.reports.is_absolute(), settings.alert_log.is_absolute()) == (True, True)


def test_compose_starts_as_many_workers_as_runs_may_be_in_progress() -> None:
    instance = yaml.safe_load((DEPLOY / "celery" / "dagster.yaml").read_text(encoding="utf-8"))
    workers = re.findall(r"--scale worker=(\d+)", (DEPLOY / "compose.yaml").read_text(encoding="utf-8"))

    assert workers == [str(instance["concurrency"]["runs"]["max_concurrent_runs"])]


def test_the_object_store_of_compose_has_the_buckets_that_the_example_names() -> None:
    store = yaml.safe_load((DEPLOY / "compose.yaml").read_text(encoding="utf-8"))["services"]["s3"]
    (made,) = [each.removeprefix("-bucket=") for each in store["command"] if each.startswith("-bucket=")]
    named = re.findall(r"=s3://(\w+)", (DEPLOY / "example.env").read_text(encoding="utf-8"))

    assert sorted(named) == sorted(made.split(","))


def test_the_values_for_helm_say_what_the_instance_says() -> None:
    values = yaml.safe_load((DEPLOY / "kubernetes" / "values.yaml").read_text(encoding="utf-8"))
    instance = yaml.safe_load((DEPLOY / "kubernetes" / "dagster.yaml").read_text(encoding="utf-8"))
    daemon, pod = values["dagsterDaemon"], values["runLauncher"]["config"]["k8sRunLauncher"]["runK8sConfig"]
    of_instance = instance["run_launcher"]["config"]["run_k8s_config"]

    for there, here in (
        (daemon["runMonitoring"], instance["run_monitoring"]),
        (daemon["runRetries"], instance["run_retries"]),
        (values["concurrency"], {"enabled": True, **instance["concurrency"]}),
        (values["retention"], {"enabled": True, **instance["retention"]}),
    ):
        assert there == _camel_case(here)
    # Dagster refuses limits in both.
    assert "config" not in daemon["runCoordinator"]
    (deployment,) = values["dagster-user-deployments"]["deployments"]
    assert deployment["volumes"] == instance["run_launcher"]["config"]["volumes"]
    assert deployment["volumeMounts"] == instance["run_launcher"]["config"]["volume_mounts"]
    assert pod["containerConfig"] == of_instance["container_config"]
    assert pod["podSpecConfig"]["enableServiceLinks"] is False is of_instance["pod_spec_config"]["enable_service_links"]
    assert deployment["name"] == LOCATION


def _camel_case(content: Any) -> Any:
    """Settings of Dagster, by the names that they have in the chart."""
    if not isinstance(content, dict):
        return content
    return {re.sub(r"_(\w)", lambda found: found[1].upper(), name): _camel_case(each) for name, each in content.items()}
