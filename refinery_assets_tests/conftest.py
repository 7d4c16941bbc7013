"""Fixtures: the small fleet, made once, and a sandbox of its own for every test."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from refinery_assets.contract.months import Month
from refinery_assets.contract.settings import Settings
from refinery_assets.sample.feed import make_sample
from refinery_assets_tests.installation import Installation, install
from refinery_assets_tests.scenario import JANUARY, MARCH, Sandbox


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
    return Settings(
        feed=tmp_path / "legacy" / "inputs",
        warehouse=tmp_path / "refinery.duckdb",
        telemetry=tmp_path / "telemetry",
        reports=tmp_path / "reports",
        alert_log=tmp_path / "alerts.jsonl",
        first_month=JANUARY,
        last_month=Month(2024, 12),
    )


@pytest.fixture
def sandbox(settings_of_copy: Settings) -> Iterator[Sandbox]:
    """The copy, with an ephemeral Dagster instance."""
    settings = settings_of_copy
    with dg.DagsterInstance.ephemeral() as instance:
        yield Sandbox(settings, instance)


@pytest.fixture
def installation(settings_of_copy: Settings, tmp_path: Path) -> Installation:
    """The copy, with a Dagster home for real processes."""
    return install(tmp_path, settings_of_copy)
