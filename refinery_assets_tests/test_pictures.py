"""The pictures of the published history: their numbers, what they survive, and where they go."""

from __future__ import annotations

import base64
from io import BytesIO
from pathlib import Path

import dagster as dg
import duckdb
import numpy as np
import pytest
from PIL import Image

from refinery_assets.reports.charts import PICTURES
from refinery_assets.reports.history import Band, History
from refinery_assets.reports.history_read import read_basis, read_history
from refinery_assets.warehouse.fleet import name_fleet
from refinery_assets_tests.scenario import CPU, FEBRUARY, JANUARY, MARCH, Sandbox


def opened(picture: bytes) -> Image.Image:
    image = Image.open(BytesIO(picture))
    image.load()
    return image


def history_of(days: int, names: list[str], share: float = 1.0) -> History:
    moments = np.arange("2024-01-01", np.datetime64("2024-01-01") + days, dtype="datetime64[D]")
    flat = np.full(days, 50.0)
    months = sorted({str(month) for month in moments.astype("datetime64[M]")})
    return History(
        behaviors=names,
        bands={name: Band(moments, flat - 10, flat, flat + 10) for name in names},
        only_wednesdays=False,
        only_some_hosts=False,
        months=months,
        coverage=np.full((len(names), len(months)), share),
    )


@pytest.mark.parametrize("name", PICTURES)
@pytest.mark.parametrize(
    "history",
    [
        history_of(1, ["A/B"]),
        history_of(31, ["$\\frac/<b>", "M" * 500 + "/X"], share=0.1),
        history_of(4000, [f"CLASS/{number}" for number in range(300)], share=0.97),
    ],
    ids=["one day", "names that mean something elsewhere", "many years and classes"],
)
def test_every_history_gives_a_picture_of_bearable_size(name: str, history: History) -> None:
    picture = PICTURES[name](history)

    width, height = opened(picture).size
    assert 500 < width < 2000
    assert height < 2500
    assert len(picture) < 300_000


def test_the_numbers_are_those_of_the_table(sandbox: Sandbox) -> None:
    lines = sandbox.lines(CPU, FEBRUARY)
    host = lines[1].split(",")[1]
    sandbox.write_lines(CPU, FEBRUARY, [line for line in lines if f",{host}," not in line])
    assert sandbox.refine(JANUARY, FEBRUARY).success is False
    sandbox.write_lines(CPU, FEBRUARY, [line for line in lines if f"2024-02-29,{host}," not in line])
    assert sandbox.refine(JANUARY, FEBRUARY).success

    with duckdb.connect(sandbox.settings.warehouse, read_only=True) as connection:
        name_fleet(connection)
        history = read_history(connection, read_basis(connection)).history

    ((behavior,),) = sandbox.query("SELECT scenario || '/' || variant FROM hosts WHERE node_name = ?", [host])
    row = list(history.behaviors).index(behavior)
    assert list(history.months) == ["2024-01", "2024-02"]
    # Two hosts of each behaviour, four resources, 29 days; one reading is missing.
    assert history.coverage[row, 1] == pytest.approx(1 - 1 / (2 * 4 * 29))
    assert (np.delete(history.coverage, row, axis=0) == 1).all()
    band = history.bands[behavior]
    assert len(band.days) == 31 + 29
    ((low, middle, high),) = sandbox.query(
        "SELECT quantile_cont(y, 0.1), median(y), quantile_cont(y, 0.9) FROM processed_data "
        "JOIN hosts ON host_id = node_name WHERE scenario || '/' || variant = ? AND ds = '2024-02-03'",
        [behavior],
    )
    at = list(band.days).index(np.datetime64("2024-02-03"))
    assert (band.low[at], band.middle[at], band.high[at]) == (low, middle, high)


def test_one_month_materialized_draws_the_whole_history(sandbox: Sandbox) -> None:
    sandbox.refine(JANUARY, FEBRUARY)
    whole = [sandbox.settings.reports / f"{name}.png" for name in PICTURES]
    narrow = [path.read_bytes() for path in whole]

    outcome = sandbox.refine(MARCH)

    latest = sandbox.instance.fetch_materializations(dg.AssetKey("processed_data"), limit=1)
    (event,) = latest.records
    assert event.run_id == outcome.run_id
    assert event.asset_materialization is not None
    for name, path, before in zip(PICTURES, whole, narrow, strict=True):
        value = event.asset_materialization.metadata[name]
        assert isinstance(value, dg.MarkdownMetadataValue)
        shown = base64.b64decode(str(value.value).partition("base64,")[2].removesuffix(")"))
        assert path.read_bytes() == shown != before
        assert opened(shown).format == "PNG"


def test_a_reports_folder_that_cannot_be_written_does_not_fail_the_month(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    sandbox.settings.reports.write_text("a file where the folder should be")

    assert sandbox.refine(JANUARY).success

    told = [entry.user_message for entry in sandbox.instance.all_logs(sandbox.instance.get_runs()[0].run_id)]
    assert any("REFINERY_REPORTS" in message for message in told)
    assert not list(tmp_path.glob("*.png"))


def test_each_month_carries_its_figures(sandbox: Sandbox) -> None:
    sandbox.edit_line(CPU, FEBRUARY, 2, "not,a,row")
    sandbox.refine(JANUARY, FEBRUARY)

    records = sandbox.instance.fetch_materializations(dg.AssetKey("processed_data"), limit=2).records
    figures = {
        record.partition_key: {
            name: value.value for name, value in record.asset_materialization.metadata.items()
        }
        for record in records
        if record.asset_materialization is not None
    }
    february = figures["2024-02"]
    assert (february["quarantined"], february["hosts"], february["imputed"]) == (1, 20, 0)
    assert february["dagster/partition_row_count"] == 4 * 20 * 29 - 1
    for resource in ("cpu", "memory", "disk", "network"):
        ((mean,),) = sandbox.query(
            "SELECT avg(y) FROM processed_data WHERE month(ds) = 2 AND resource = ?", [resource]
        )
        assert february[f"mean_{resource}_percent"] == pytest.approx(mean)
