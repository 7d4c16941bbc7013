"""Fixtures: the small fleet, made once, and a sandbox of its own for every test."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from refinery_assets.months import Month
from refinery_assets.sample_feed import make_sample
from refinery_assets.settings import Settings
from refinery_assets_tests.scenario import JANUARY, MARCH, Sandbox


@pytest.fixture(scope="session")
def small_fleet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """20 hosts, two of each behaviour, January to March 2024; never written to by a test."""
    folder = tmp_path_factory.mktemp("fleet")
    make_sample(folder, hosts=20, first=JANUARY, last=MARCH, seed=7)
    return folder


@pytest.fixture
def sandbox(small_fleet: Path, tmp_path: Path) -> Iterator[Sandbox]:
    """A copy of the small fleet that a test may spoil, with an ephemeral Dagster instance."""
    shutil.copytree(small_fleet, tmp_path, dirs_exist_ok=True)
    settings = Settings(
        feed=tmp_path / "legacy" / "inputs",
        warehouse=tmp_path / "refinery.duckdb",
        telemetry=tmp_path / "telemetry",
        first_month=JANUARY,
        last_month=Month(2024, 12),
    )
    with dg.DagsterInstance.ephemeral() as instance:
        yield Sandbox(settings, instance)
