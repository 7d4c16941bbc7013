"""A lake's data path is its own: maintenance deletes what the catalog does not know, so nothing else may lie there."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from refinery_assets.build import build_defs
from refinery_assets.cli import app
from refinery_assets.contract.lake import MARKER, Catalog, Lake
from refinery_assets.contract.places import ObjectPrefix
from refinery_assets.contract.settings import Settings
from refinery_assets.operations.runs import start_run
from refinery_assets.warehouse.lake import open_lake
from refinery_assets.warehouse.lake_maintenance import maintain
from refinery_assets.warehouse.lake_marker import mark, refuse_shared_places
from refinery_assets.warehouse.lake_tables import LakeError, make_lake
from refinery_assets.warehouse.storage import DataElsewhereError, WarehouseUnusableError, open_warehouse
from refinery_assets.warehouse.tables import utc_now
from refinery_assets_tests.inventories import contract_with
from refinery_assets_tests.lakes import publish_in_lake
from refinery_assets_tests.scenario import FEBRUARY, JANUARY, Sandbox, folder

pytestmark = [pytest.mark.lake, pytest.mark.slow]


def _with_catalog(settings: Settings, name: str) -> tuple[Settings, Lake]:
    """The settings with another catalog, which is not there yet."""
    lake = Lake(Catalog.DUCKDB, str(settings.reports.parent / f"{name}.ducklake"), settings.lake_data)
    return replace(settings, lake=lake), lake


def _aged_files(data: Path) -> set[Path]:
    """The files below, which maintenance is to take for old ones."""
    long_ago = (utc_now() - timedelta(days=30)).timestamp()
    files = _files(data)
    for file in files:
        os.utime(file, (long_ago, long_ago))
    return files


def _files(data: Path) -> set[Path]:
    return {path for path in data.rglob("*") if path.is_file()}


def test_a_second_lake_on_the_data_path_of_another_is_refused_before_anything_is_made(
    lake_sandbox: Sandbox,
) -> None:
    publish_in_lake(lake_sandbox, JANUARY)
    second, lake = _with_catalog(lake_sandbox.settings, "second")
    data = folder(second.lake_data)
    files = _aged_files(data)
    assert len(files) > 4

    with pytest.raises(WarehouseUnusableError, match=r"REFINERY_LAKE_DATA, .* belongs to another lake"):
        make_lake(second)

    assert not Path(lake.place).exists()
    assert _files(data) == files


def test_of_two_lakes_that_came_to_share_a_data_path_the_one_that_is_not_named_there_deletes_nothing(
    lake_sandbox: Sandbox,
) -> None:
    publish_in_lake(lake_sandbox, JANUARY)
    second, lake = _with_catalog(lake_sandbox.settings, "second")
    data = folder(second.lake_data)
    # As it is made by whoever attaches it without init.
    with open_lake(lake, read_only=False, wait_seconds=0.0, make=True) as connection:
        connection.execute("CREATE TABLE hosts AS SELECT 'web-1' AS node_name")
    files = _aged_files(data)

    for refused in (lambda: maintain(second), lambda: make_lake(second)):
        with pytest.raises(WarehouseUnusableError, match="belongs to another lake than"):
            refused()
    assert not start_run(lake_sandbox.instance, build_defs(second), "lake_maintenance").success

    assert _files(data) == files
    assert lake_sandbox.audit().success


def test_a_lake_without_a_marker_is_not_cleaned_until_init_has_written_it(lake_sandbox: Sandbox) -> None:
    settings = lake_sandbox.settings
    publish_in_lake(lake_sandbox, JANUARY)
    data = folder(settings.lake_data)
    marker = data / MARKER
    (data / "orphan.parquet").write_bytes(b"PAR1")
    written = marker.read_bytes()
    marker.unlink()
    files = _aged_files(data)
    before = lake_sandbox.query("FROM ducklake_current_snapshot('lake')")

    with pytest.raises(WarehouseUnusableError, match=r"refinery-lake\.json is not there, .* run refinery lake init"):
        maintain(settings)

    assert _files(data) == files
    assert lake_sandbox.query("FROM ducklake_current_snapshot('lake')") == before
    make_lake(settings)
    assert marker.read_bytes() == written
    assert maintain(settings).orphans == 1
    assert marker.read_bytes() == written


def test_on_a_machine_that_has_not_mounted_the_data_nothing_is_written_there(lake_sandbox: Sandbox) -> None:
    publish_in_lake(lake_sandbox, JANUARY)
    data = folder(lake_sandbox.settings.lake_data)
    elsewhere = data.rename(data.with_name("mounted"))
    data.mkdir()
    why = r"refinery-lake\.json \(REFINERY_LAKE_DATA\) is not there, .* the share is mounted on this machine"

    for ran in (lake_sandbox.refine(FEBRUARY), lake_sandbox.materialize(["cpu_utilization"], FEBRUARY)):
        assert not ran.success
        assert re.search(why, ran.message)
    with (
        pytest.raises(DataElsewhereError, match=why),
        open_warehouse(lake_sandbox.settings.place, read_only=False, wait_seconds=0.0),
    ):
        pytest.fail("opened for writing")

    assert list(data.iterdir()) == []
    data.rmdir()
    elsewhere.rename(data)
    assert lake_sandbox.refine(FEBRUARY).success


def test_a_run_does_not_write_into_the_data_of_another_lake(lake_sandbox: Sandbox) -> None:
    data = folder(lake_sandbox.settings.lake_data)
    (data / MARKER).write_text('{"lake": "00000000-0000-0000-0000-000000000000"}')
    files = _files(data)

    ran = lake_sandbox.refine(JANUARY)

    assert not ran.success
    assert "belongs to another lake than" in ran.message
    assert _files(data) == files


def test_a_marker_that_names_no_lake_is_not_taken_for_anothers(lake_sandbox: Sandbox) -> None:
    (folder(lake_sandbox.settings.lake_data) / MARKER).write_text("{")

    with pytest.raises(DataElsewhereError, match=r"names no lake, .* remove refinery-lake\.json alone and run"):
        maintain(lake_sandbox.settings)


def test_init_marks_no_place_that_lacks_the_files_of_its_catalog(lake_sandbox: Sandbox) -> None:
    settings = lake_sandbox.settings
    publish_in_lake(lake_sandbox, JANUARY)
    data = folder(settings.lake_data)
    mounted = data.rename(data.with_name("mounted"))

    with pytest.raises(DataElsewhereError, match=r"lists \d+ files, and .* holds none: see that the share is mounted"):
        make_lake(settings)
    assert not data.exists()
    with pytest.raises(WarehouseUnusableError, match=r"not there, and neither is .*refinery-lake\.json\. See that"):
        lake_sandbox.query("SELECT sum(y) FROM processed_data")
    with pytest.raises(WarehouseUnusableError, match="see that the share is mounted on this machine"):
        maintain(settings)

    mounted.rename(data)
    assert lake_sandbox.audit().success


def test_nothing_is_made_where_there_is_no_inventory_to_take_in(sandbox: Sandbox, tmp_path: Path) -> None:
    settings, lake = _with_catalog(replace(sandbox.settings, lake_data=tmp_path / "lake"), "new")
    lacking = tmp_path / "hosts.csv"
    lacking.write_text("name\nweb-1\n")

    for inventory, why in (
        (None, "There is no inventory for the new lake"),
        (tmp_path / "nosuch.csv", "is not there"),
        (lacking, "cannot be taken in|lacks|node_name"),
    ):
        with pytest.raises(LakeError, match=why):
            make_lake(settings, inventory)
        assert not Path(lake.place).exists()
        assert not (tmp_path / "lake").exists()


@pytest.mark.parametrize(
    ("place", "how"),
    [
        (lambda settings: settings.telemetry, "is REFINERY_TELEMETRY"),
        (lambda settings: folder(settings.telemetry) / "lake", "lies within REFINERY_TELEMETRY"),
        (lambda settings: folder(settings.feed), "is REFINERY_FEED"),
        (lambda settings: settings.reports / "lake", "lies within REFINERY_REPORTS"),
        (lambda settings: folder(settings.telemetry).parent, "holds REFINERY_"),
    ],
)
def test_a_data_path_that_others_write_to_or_read_is_refused_before_anything_is_made(
    sandbox: Sandbox, place: Callable[[Settings], Path], how: str
) -> None:
    settings, lake = _with_catalog(replace(sandbox.settings, lake_data=place(sandbox.settings)), "new")

    with pytest.raises(WarehouseUnusableError, match=how):
        make_lake(settings, sandbox.settings.warehouse)

    assert not Path(lake.place).exists()


def test_an_inventory_of_the_contract_that_lies_in_the_data_path_is_not_deleted_as_an_orphan(
    lake_sandbox: Sandbox,
) -> None:
    settings = lake_sandbox.settings
    data = folder(settings.lake_data)
    lake_sandbox.query(f"COPY hosts TO '{data}/hosts.parquet'")
    contract = contract_with(data.parent, f'source = "{data.name}/hosts.parquet"')
    files = _aged_files(data)

    with pytest.raises(WarehouseUnusableError, match=r"holds the contract's inventory, .*/lake/hosts\.parquet, and"):
        maintain(replace(settings, contract=contract))

    assert _files(data) == files


def test_an_export_into_the_data_path_is_wrong_usage(lake_sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = lake_sandbox.settings
    for name in ("feed", "telemetry", "reports", "alert_log", "lake_data"):
        monkeypatch.setenv(f"REFINERY_{name.upper()}", str(getattr(settings, name)))
    monkeypatch.setenv("REFINERY_WAREHOUSE", str(settings.lake))
    data = folder(settings.lake_data)
    files = _files(data)

    for target in (data, data / "out"):
        result = CliRunner().invoke(app, ["export", "--to", str(target)])
        assert result.exit_code == 2
        assert "lies within REFINERY_LAKE_DATA" in " ".join(result.stderr.split())
    beside = CliRunner().invoke(app, ["export", "--to", str(data.with_name("lake2"))])

    assert (beside.exit_code, "Nothing is published yet" in beside.stderr) == (1, True)
    assert _files(data) == files


def test_a_lake_whose_telemetry_was_put_into_its_data_path_is_not_cleaned(lake_sandbox: Sandbox) -> None:
    settings = lake_sandbox.settings

    with pytest.raises(WarehouseUnusableError, match="holds REFINERY_TELEMETRY"):
        maintain(replace(settings, telemetry=folder(settings.lake_data) / "telemetry"))


def test_a_data_path_that_holds_parquet_is_refused_by_a_new_lake_and_one_without_is_taken(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    data = tmp_path / "archive"
    file = data / "2023" / "rows.PARQUET"
    file.parent.mkdir(parents=True)
    file.write_bytes(b"PAR1")
    (data / "README").write_text("no Parquet\n")
    settings, lake = _with_catalog(replace(sandbox.settings, lake_data=data), "new")

    with pytest.raises(WarehouseUnusableError, match=r"already holds Parquet files, such as .*rows\.PARQUET"):
        make_lake(settings, sandbox.settings.warehouse)
    assert sorted(path.name for path in data.rglob("*")) == ["2023", "README", "rows.PARQUET"]
    assert not Path(lake.place).exists()

    file.unlink()
    assert make_lake(settings, sandbox.settings.warehouse).hosts == 20
    assert (data / MARKER).is_file()


@pytest.mark.parametrize(
    ("data", "telemetry", "refused"),
    [
        ("lake", "lake", True),
        ("lake", "lake/rows", True),
        ("rows/lake", "rows", True),
        ("", "rows", True),
        ("lake", "lake2", False),
    ],
)
def test_prefixes_of_one_bucket_are_told_apart_as_folders_are(
    sandbox: Sandbox, data: str, telemetry: str, *, refused: bool
) -> None:
    bucket = ObjectPrefix("refinery", data)
    settings = replace(sandbox.settings, lake_data=bucket, telemetry=ObjectPrefix("refinery", telemetry))
    other = replace(settings, telemetry=ObjectPrefix("others", telemetry))

    if refused:
        with pytest.raises(WarehouseUnusableError, match="REFINERY_TELEMETRY, s3://refinery/"):
            refuse_shared_places(settings)
    else:
        refuse_shared_places(settings)
    refuse_shared_places(other)


@pytest.mark.parametrize("name", ["lake*", "lake?", "lake[12]"])
def test_a_data_path_that_ducklake_takes_for_a_pattern_is_refused_before_anything_is_made_or_deleted(
    sandbox: Sandbox, tmp_path: Path, name: str
) -> None:
    settings, lake = _with_catalog(replace(sandbox.settings, lake_data=tmp_path / name), "new")

    with pytest.raises(
        WarehouseUnusableError,
        match=r"has \S in it, which DuckLake takes for a pattern .* at a path without \* \? \[\.",
    ):
        make_lake(settings, sandbox.settings.warehouse)
    assert not Path(lake.place).exists()

    # As it was made by an earlier version.
    with open_lake(lake, read_only=False, wait_seconds=0.0, make=True) as connection:
        mark(connection, lake)
    others = tmp_path / "lake1" / "rows.parquet"
    others.parent.mkdir()
    others.write_bytes(b"PAR1")
    assert _aged_files(others.parent) == {others}
    with pytest.raises(WarehouseUnusableError, match="which DuckLake takes for a pattern"):
        maintain(settings)
    assert others.exists()


def test_a_bucket_s_prefix_that_ducklake_takes_for_a_pattern_is_refused(sandbox: Sandbox) -> None:
    with pytest.raises(WarehouseUnusableError, match=r"^REFINERY_LAKE_DATA, s3://refinery/lake\[1\], has \[ in it"):
        refuse_shared_places(replace(sandbox.settings, lake_data=ObjectPrefix("refinery", "lake[1]")))
