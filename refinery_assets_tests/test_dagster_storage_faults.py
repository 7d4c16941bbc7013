"""What the command line says where Dagster's history is in PostgreSQL and cannot be opened."""

from __future__ import annotations

import socket
import sys
from pathlib import Path

import dagster as dg
import pytest

from refinery_assets.assets.command_runs import open_instance
from refinery_assets.cli.errors import EXIT_TROUBLE, describe
from refinery_assets.contract.settings import PROJECT_ROOT
from refinery_assets.operations.extras import ExtraMissingError


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A Dagster home with its history in PostgreSQL."""
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    (tmp_path / "dagster.yaml").write_bytes((PROJECT_ROOT / "deploy" / "postgres" / "dagster.yaml").read_bytes())
    return tmp_path


def test_a_package_that_is_not_installed_is_named_with_its_extra(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "dagster_postgres", None)
    monkeypatch.delitem(sys.modules, "refinery_assets.operations.postgres_storage", raising=False)

    with pytest.raises(ExtraMissingError) as refused:
        open_instance(home)

    said, code = describe(refused.value)
    assert said == (
        f"dagster_postgres is not installed, and {home}/dagster.yaml needs it; run pip install '.[postgres]' in a copy "
        "of the project, or use another DAGSTER_HOME."
    )
    assert code == EXIT_TROUBLE


def test_an_address_that_is_not_set_is_named(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("dagster_postgres")
    monkeypatch.delenv("DAGSTER_PG_URL", raising=False)

    with pytest.raises(dg.DagsterInvalidConfigError) as refused:
        open_instance(home)

    said, code = describe(refused.value)
    assert said.startswith(f"DAGSTER_PG_URL is not set, and {home}/dagster.yaml takes it for Dagster's history; set it")
    assert code == EXIT_TROUBLE


def test_a_server_that_does_not_let_in_is_told_with_its_setting_and_no_password(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    utils = pytest.importorskip("dagster_postgres.utils")
    monkeypatch.setattr(utils.time, "sleep", lambda _seconds: None)
    with socket.socket() as taken:
        # Bound, and not listening.
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        monkeypatch.setenv("DAGSTER_PG_URL", f"postgresql+psycopg2://dagster:s3cret@127.0.0.1:{port}/dagster")
        with pytest.raises(utils.DagsterPostgresException) as refused:
            open_instance(home)

    said, code = describe(refused.value)
    assert said.startswith("Dagster's history in PostgreSQL cannot be opened: connection to server at")
    assert "Check DAGSTER_PG_URL, or" in said
    assert "s3cret" not in said
    assert code == EXIT_TROUBLE
