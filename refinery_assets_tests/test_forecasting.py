"""The forecasters themselves on the published sample fleet, with nothing between but the README's queries."""

from __future__ import annotations

from pathlib import Path

import dagster as dg
import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pytest
from PIL import Image
from typer.testing import CliRunner

from refinery_assets.cli import app
from refinery_assets.contract.months import Month
from refinery_assets.contract.settings import Settings
from refinery_assets.sample import walkthrough
from refinery_assets.sample.feed import make_sample
from refinery_assets.sample.walkthrough import HISTORY, forecast
from refinery_assets.warehouse.export import export_months
from refinery_assets_tests.installation import Installation, files_of_at_most
from refinery_assets_tests.scenario import Sandbox

pytestmark = pytest.mark.slow

FIRST, LAST = Month(2024, 1), Month(2025, 1)
DAYS = 366 + 31


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Installation:
    """A hundred hosts over thirteen months, refined."""
    folder = tmp_path_factory.mktemp("forecasting")
    sample = make_sample(folder, hosts=100, first=FIRST, last=LAST, seed=7)
    settings = Settings(
        feed=sample.feed,
        warehouse=sample.warehouse,
        telemetry=folder / "telemetry",
        reports=folder / "reports",
        first_month=FIRST,
        last_month=LAST,
    )
    with dg.DagsterInstance.ephemeral() as instance:
        assert Sandbox(settings, instance).refine(FIRST, LAST).success
    return Installation(folder, settings)


@pytest.fixture
def warehouse(installation: Installation) -> duckdb.DuckDBPyConnection:
    return duckdb.connect(installation.settings.warehouse, read_only=True)


@pytest.mark.heavy
def test_prophet_takes_a_series_as_it_comes(warehouse: duckdb.DuckDBPyConnection) -> None:
    ((host,),) = warehouse.execute(
        "SELECT min(host_id) FROM series WHERE scenario = 'STEADY_GROWTH' AND variant = 'BREACH'"
    ).fetchall()
    history = warehouse.sql(HISTORY, params={"host": host, "resource": "cpu"}).df()

    ahead = forecast(history, 30)

    assert list(history.columns) == ["ds", "y", "cap", "floor"]
    assert len(ahead) == DAYS + 30
    # The fleet's growth goes on, and the ceiling holds.
    assert history["y"].iloc[-60:].mean() - 5 < ahead["yhat"].iloc[-1] <= 100


def test_nixtla_takes_a_panel_of_a_hundred_series_as_it_comes(warehouse: duckdb.DuckDBPyConnection) -> None:
    # Not at the top, where every process that collects tests would spend two seconds on it.
    from statsforecast import StatsForecast  # noqa: PLC0415
    from statsforecast.models import SeasonalNaive  # noqa: PLC0415

    panel = warehouse.sql(
        "SELECT unique_id, ds, y FROM forecast_panel WHERE resource = 'cpu' ORDER BY unique_id, ds"
    ).df()

    ahead = StatsForecast(models=[SeasonalNaive(7)], freq="D").forecast(df=panel, h=14)

    assert isinstance(ahead, pd.DataFrame)
    assert panel["unique_id"].nunique() == 100
    assert len(ahead) == 100 * 14
    last_week = panel.groupby("unique_id").tail(7)["y"].to_numpy()
    assert np.allclose(ahead.groupby("unique_id").head(7)["SeasonalNaive"].to_numpy(), last_week)


def test_gradient_boosting_learns_from_the_features_as_they_come(
    warehouse: duckdb.DuckDBPyConnection,
) -> None:
    from sklearn.ensemble import HistGradientBoostingRegressor  # noqa: PLC0415

    rows = warehouse.sql(
        "SELECT * EXCLUDE (unique_id, host_id, resource, is_imputed) FROM daily_features "
        "WHERE resource = 'cpu' AND NOT is_imputed ORDER BY ds"
    ).df()
    features = rows.drop(columns=["ds", "y"])
    is_past = rows["ds"] < pd.Timestamp("2025-01-01")

    model = HistGradientBoostingRegressor(random_state=0, max_iter=50)
    model.fit(features[is_past], rows["y"][is_past])

    assert model.score(features[~is_past], rows["y"][~is_past]) > 0.8


@pytest.mark.heavy
def test_the_walk_through_draws_a_panel_for_each_behaviour(
    installation: Installation, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in installation.environment.items():
        monkeypatch.setenv(name, value)

    walkthrough.main(["--days", "30"])

    assert len(capsys.readouterr().out.splitlines()) == 10 + 1
    with Image.open(installation.settings.reports / "forecasts.png") as picture:
        assert picture.format == "PNG"


def test_a_walk_without_a_warehouse_ends_in_one_sentence(
    tmp_path: Path, installation: Installation, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in (installation.environment | {"REFINERY_WAREHOUSE": str(tmp_path / "none.duckdb")}).items():
        monkeypatch.setenv(name, value)

    with pytest.raises(SystemExit) as ended:
        walkthrough.main([])

    assert ended.value.code == 1
    told = capsys.readouterr().err
    assert "none.duckdb is not there" in told
    assert len(told.splitlines()) == 1


def test_exported_months_are_read_without_options(
    installation: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in installation.environment.items():
        monkeypatch.setenv(name, value)

    result = CliRunner().invoke(app, ["export", "--to", str(tmp_path / "out"), "--last", "2024-03"])

    with duckdb.connect(installation.settings.warehouse, read_only=True) as table:
        (of_january, rows), *_ = table.execute(
            "SELECT count(*) FILTER (month(ds) = 1), count(*) FROM processed_data WHERE ds < DATE '2024-04-01'"
        ).fetchall()
    assert result.exit_code == 0
    assert result.stdout.startswith(f"2024-01: {of_january:,} rows in {tmp_path / 'out'}")
    assert pl.read_parquet(tmp_path / "out").height == rows
    assert len(pd.read_parquet(tmp_path / "out")) == rows
    with (
        duckdb.connect() as connection,
        duckdb.connect(installation.settings.warehouse, read_only=True) as table,
    ):
        files = str(tmp_path / "out" / "*" / "*.parquet")
        exported = connection.execute(
            "SELECT * EXCLUDE (month) FROM read_parquet($files) ORDER BY ALL", {"files": files}
        ).fetchall()
        assert connection.execute(
            "SELECT DISTINCT month FROM read_parquet($files) ORDER BY 1", {"files": files}
        ).fetchall() == [("2024-01",), ("2024-02",), ("2024-03",)]
        assert exported == table.execute("SELECT * FROM processed_data WHERE ds < '2024-04-01' ORDER BY ALL").fetchall()
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_month_that_cannot_be_exported_keeps_its_old_file(
    warehouse: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    list(export_months(warehouse, [FIRST], tmp_path / "out"))
    (file,) = (tmp_path / "out").rglob("*.parquet")
    old = file.read_bytes()

    with files_of_at_most(len(old) // 2), pytest.raises(OSError, match="File too large"):
        list(export_months(warehouse, [FIRST], tmp_path / "out"))

    assert file.read_bytes() == old
    assert not list(tmp_path.rglob("*.partial"))


def test_an_export_of_months_that_are_not_there_says_so(
    installation: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in installation.environment.items():
        monkeypatch.setenv(name, value)

    result = CliRunner().invoke(app, ["export", "--to", str(tmp_path / "out"), "--first", "2030-01"])

    assert result.exit_code == 1
    assert result.stderr.startswith("None of these months is published; published are 2024-01, 2024-02, ")
