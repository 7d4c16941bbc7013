"""An installation of its own for a test: a Dagster home, a small fleet, and real processes over them.

Here: starting the command line and the servers of the project's own files, and ending them; a disk that is
full. Not here: anything that asserts.
"""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO
from unittest.mock import patch

import dagster as dg

from refinery_assets.contract.settings import PROJECT_ROOT, Settings
from refinery_assets_tests.scenario import Sandbox

BIN = Path(sys.executable).parent


@contextmanager
def opened(home: Path) -> Iterator[dg.DagsterInstance]:
    """The Dagster instance of a home."""
    with (
        patch.dict(os.environ, DAGSTER_HOME=str(home)),
        dg.DagsterInstance.from_config(str(home)) as instance,
    ):
        yield instance


@dataclass(frozen=True)
class Installation:
    """A folder with feed, warehouse and Dagster home, and the environment that points there."""

    folder: Path
    settings: Settings
    variables: dict[str, str] = field(default_factory=dict)

    @property
    def home(self) -> Path:
        return self.folder / "dagster"

    @property
    def environment(self) -> dict[str, str]:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("REFINERY_")}
        return inherited | {
            "DAGSTER_HOME": str(self.home),
            "PATH": f"{BIN}:{os.environ['PATH']}",
            "REFINERY_FEED": str(self.settings.feed),
            "REFINERY_WAREHOUSE": str(self.settings.warehouse),
            "REFINERY_TELEMETRY": str(self.settings.telemetry),
            "REFINERY_REPORTS": str(self.settings.reports),
            "REFINERY_ALERT_LOG": str(self.settings.alert_log),
            "REFINERY_FIRST_MONTH": str(self.settings.first_month),
            **({"REFINERY_LAST_MONTH": str(self.settings.last_month)} if self.settings.last_month else {}),
            **self.variables,
        }

    def start(self, *command: str) -> subprocess.Popen[str]:
        """Start a command of the project in a process group of its own, its output in one pipe."""
        return self.start_into(subprocess.PIPE, str(BIN / command[0]), *command[1:])

    def start_into(self, output: int | IO[str], *command: str) -> subprocess.Popen[str]:
        """Start a command in a process group of its own, its output in a file."""
        return subprocess.Popen(
            command,
            cwd=PROJECT_ROOT,
            env=self.environment,
            stdout=output,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def launch(self, *options: str) -> subprocess.Popen[str]:
        """Start a run from the command line."""
        return self.start("dg", "launch", *options)

    @contextmanager
    def instance(self) -> Iterator[dg.DagsterInstance]:
        """The Dagster instance, as the started processes use it."""
        with opened(self.home) as instance:
            yield instance

    @contextmanager
    def sandbox(self) -> Iterator[Sandbox]:
        """Runs in this process, on the same instance."""
        with self.instance() as instance:
            yield Sandbox(self.settings, instance)


def make_home(home: Path) -> Path:
    """Make a Dagster home by the project's own file, and open it once, for two must not make it at once."""
    home.mkdir()
    shutil.copy(PROJECT_ROOT / "data" / "dagster" / "dagster.yaml", home)
    with opened(home) as instance:
        instance.get_runs(limit=1)
    return home


def install(folder: Path, settings: Settings, *, home: Path | None = None, **variables: str) -> Installation:
    """Settle in a folder, with a Dagster home of its own: a copy of `home` where there is one, which is cheaper."""
    installation = Installation(folder, settings, variables)
    if home is None:
        make_home(installation.home)
    else:
        shutil.copytree(home, installation.home)
    return installation


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """The nearest to a full disk that needs no rights: no file of this process may grow beyond a size."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
