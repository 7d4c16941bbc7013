"""What the code location offers, and that both entry points load it."""

from __future__ import annotations

import atexit
import gc
import importlib
import os
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import polars as pl
import pytest
from dagster_polars.io_managers.parquet import scan_parquet
from upath import UPath

from refinery_assets.assets.io_manager import MonthlyFrames, TelemetryIOManager
from refinery_assets.build import build_defs
from refinery_assets.contract.lake import Catalog, Lake
from refinery_assets.contract.months import Month
from refinery_assets.contract.packaged import FAMILIES
from refinery_assets.contract.settings import PROJECT_ROOT, SettingError, Settings
from refinery_assets.operations import garbage
from refinery_assets.rows.family import Refined
from refinery_assets.rows.stats import Stats
from refinery_assets.warehouse.family_partitions import Partition
from refinery_assets_tests.scenario import CPU, FEBRUARY, JANUARY, GivenPublished, Sandbox

BIN = Path(sys.executable).parent


def test_a_bad_setting_stops_loading_with_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REFINERY_FAMILY_SKEW", "often")
    monkeypatch.delitem(sys.modules, "refinery_assets.definitions", raising=False)

    with pytest.raises(SettingError) as refused:
        importlib.import_module("refinery_assets.definitions")

    assert str(refused.value) == "REFINERY_FAMILY_SKEW is 'often'; expected a share between 0 and 1, such as 0.01."


@pytest.mark.slow
def test_what_loading_makes_is_not_collected_and_the_process_ends_without_a_word(tmp_path: Path) -> None:
    program = (
        "import gc, sys, refinery_assets.definitions; print(gc.isenabled(), gc.get_freeze_count()); "
        "print(*(name for name in sys.modules if name.endswith('.lake_maintenance')))"
    )
    loading = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | {"DAGSTER_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )

    is_on, frozen, *of_a_lake = loading.stdout.split()
    assert is_on == "True"
    assert int(frozen) > 100_000
    # Whoever has no lake does without.
    assert of_a_lake == []
    # DuckDB's bindings complain of types that are still there.
    assert loading.stderr == ""


def test_what_is_to_be_done_at_the_end_of_the_process_is_asked_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []
    monkeypatch.setattr(atexit, "register", asked.append)
    remembered = garbage._collect_at_the_end  # noqa: SLF001 - as in a process that has loaded none
    remembered.cache_clear()

    for _ in range(3):
        with garbage.collected_later():
            pass

    assert asked == [gc.unfreeze]
    # It was asked of nobody.
    remembered.cache_clear()


def test_names_are_those_of_the_contract() -> None:
    defs = build_defs(Settings())
    graph = defs.resolve_asset_graph()

    dg.Definitions.validate_loadable(defs)
    assert {key.to_user_string() for key in graph.get_all_asset_keys()} == {
        "legacy_feed", "cpu_utilization", "memory_stats", "storage_usage", "net_throughput", "host_inventory",
        "processed_data", "monthly_report",
    }  # fmt: skip
    assert {f"{key.asset_key.to_user_string()}.{key.name}" for key in graph.asset_check_keys} == {
        "legacy_feed.source_files_present",
        "legacy_feed.headers_match_contract",
        "legacy_feed.fragmentation_complete",
        "host_inventory.inventory_initialized",
        "host_inventory.host_names_unique",
        "host_inventory.behaviors_complete",
        *(f"{family.name}.rows_accounted_for" for family in FAMILIES),
        *(f"{family.name}.quarantine_within_tolerance" for family in FAMILIES),
        *(f"{family.name}.rows_like_their_hosts" for family in FAMILIES),
        "processed_data.row_parity",
        "processed_data.referential_integrity",
        "processed_data.behavioral_retention",
        "processed_data.series_points_unique",
        "processed_data.timestamps_standardized",
        "processed_data.utilization_in_range",
        "processed_data.fleet_coverage",
        "processed_data.published_rows_kept",
        "processed_data.month_is_new",
        "processed_data.families_distinct",
        "processed_data.units_plausible",
        "processed_data.hosts_in_place",
        "processed_data.precision_kept",
        "processed_data.sensors_alive",
        "processed_data.levels_plausible",
    }
    assert {job.name for job in defs.jobs or []} == {"refine", "audit", "accept"}
    assert {schedule.name for schedule in defs.schedules or []} == {"daily_refine"}


@pytest.mark.parametrize(("catalog", "pool"), [(Catalog.POSTGRES, None), (Catalog.SQLITE, "warehouse")])
def test_a_lake_is_maintained_every_night(catalog: Catalog, pool: str | None) -> None:
    defs = build_defs(Settings(lake=Lake(catalog, "dbname=refinery"), timezone="Europe/Vienna"))
    dg.Definitions.validate_loadable(defs)

    assert {job.name for job in defs.jobs or []} == {"refine", "audit", "accept", "lake_maintenance"}
    schedule = defs.resolve_schedule_def("daily_lake_maintenance")
    assert (schedule.job_name, schedule.cron_schedule) == ("lake_maintenance", "0 3 * * *")
    assert schedule.execution_timezone == "Europe/Vienna"
    assert schedule.default_status is dg.DefaultScheduleStatus.RUNNING
    (maintaining,) = defs.resolve_job_def("lake_maintenance").nodes
    # Where the catalog is a file, nobody may publish meanwhile.
    assert getattr(maintaining.definition, "pool") == pool  # noqa: B009


def test_runs_of_a_few_months_are_what_every_asset_asks_for_so_that_dagster_keeps_them_in_one_run() -> None:
    graph = build_defs(Settings(months_per_run=2)).resolve_asset_graph()

    policies = {graph.get(key).backfill_policy for key in graph.executable_asset_keys}

    assert policies == {dg.BackfillPolicy.multi_run(2)}


def test_every_asset_is_monthly_described_and_backfilled_in_one_run() -> None:
    graph = build_defs(Settings()).resolve_asset_graph()

    for key in graph.get_all_asset_keys():
        node = graph.get(key)
        assert node.description
        assert node.group_name != "default"
        assert node.kinds
        if node.is_executable:
            assert node.backfill_policy == dg.BackfillPolicy.single_run()
            assert node.partitions_def == graph.get(dg.AssetKey("legacy_feed")).partitions_def
        if key.to_user_string() not in {"legacy_feed", "monthly_report"}:
            assert node.metadata["dagster/column_schema"]


def test_the_window_ends_with_the_running_month_or_where_it_is_told_to() -> None:
    def keys(settings: Settings) -> list[str]:
        partitions = build_defs(settings).resolve_asset_graph().get(dg.AssetKey("legacy_feed")).partitions_def
        assert partitions is not None
        return list(partitions.get_partition_keys())

    import datetime  # noqa: PLC0415

    running = str(Month.of(datetime.datetime.now(datetime.UTC).date()))
    assert (keys(Settings())[0], keys(Settings())[-1]) == ("2023-01", running)
    assert keys(Settings(first_month=JANUARY, last_month=FEBRUARY)) == ["2024-01", "2024-02"]


def test_both_entry_points_name_the_same_module() -> None:
    workspace = (PROJECT_ROOT / "workspace.yaml").read_text()
    project = tomllib.loads((PROJECT_ROOT / "pyproject.toml").read_text())["tool"]["dg"]["project"]

    (named,) = [line.split()[1] for line in workspace.splitlines() if "module_name:" in line]
    assert named == project["code_location_target_module"] == "refinery_assets.definitions"


@pytest.mark.slow
@pytest.mark.parametrize(
    "command",
    [
        ["dagster", "definitions", "validate", "-w", "workspace.yaml"],
        pytest.param(["dg", "check", "defs"], marks=pytest.mark.heavy),
    ],
)
def test_both_entry_points_load(command: list[str], tmp_path: Path) -> None:
    (tmp_path / "dagster.yaml").write_text("telemetry:\n  enabled: false\n")
    loading = subprocess.run(
        [str(BIN / command[0]), *command[1:]],
        cwd=PROJECT_ROOT,
        env=os.environ | {"DAGSTER_HOME": str(tmp_path), "PATH": f"{BIN}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert loading.returncode == 0, loading.stderr


@pytest.mark.slow
def test_a_partition_is_read_back_by_a_downstream_asset(sandbox: Sandbox, given_published: GivenPublished) -> None:
    given_published(FEBRUARY)
    seen: list[pl.DataFrame] = []

    defs = build_defs(sandbox.settings)
    partitions = defs.resolve_asset_graph().get(dg.AssetKey("cpu_utilization")).partitions_def

    @dg.asset(partitions_def=partitions)
    def downstream(cpu_utilization: pl.DataFrame) -> None:
        seen.append(cpu_utilization)

    job = dg.define_asset_job("down", selection=["downstream"])
    both = dg.Definitions.merge(defs, dg.Definitions(assets=[downstream], jobs=[job]))
    assert both.resolve_job_def("down").execute_in_process(instance=sandbox.instance, partition_key="2024-02").success

    (frame,) = seen
    assert frame.equals(pl.read_parquet(Partition(sandbox.settings.telemetry, CPU, FEBRUARY).path))


def test_months_that_fail_half_way_leave_no_torn_file(tmp_path: Path) -> None:
    manager = TelemetryIOManager(base_dir=str(tmp_path))
    months = dg.StaticPartitionsDefinition(["2024-01", "2024-02"])

    @dg.multi_asset(
        outs={"stream": dg.AssetOut(dagster_type=dg.Any)},
        partitions_def=months,
        backfill_policy=dg.BackfillPolicy.single_run(),
    )
    def stream() -> Iterator[dg.MaterializeResult[MonthlyFrames]]:
        yield dg.MaterializeResult(value=_one_month_then_nothing())

    result = dg.materialize(
        [stream],
        resources={"io_manager": manager},
        tags={
            "dagster/asset_partition_range_start": "2024-01",
            "dagster/asset_partition_range_end": "2024-02",
        },
        raise_on_error=False,
    )

    assert not result.success
    written = Partition(tmp_path, CPU, JANUARY)
    assert set(tmp_path.rglob("*.parquet")) == {written.path, written.series_path}
    assert pl.read_parquet(written.path).rows() == [(1,)]


def _one_month_then_nothing() -> MonthlyFrames:
    frame = pl.DataFrame({"n": [1]})
    yield Refined(frame, frame, Stats(CPU, JANUARY, "a file"))
    raise OSError("no space left")


def test_the_stock_io_manager_still_cannot_read_under_polars_two(tmp_path: Path) -> None:
    # The reason for TelemetryIOManager.scan_df_from_path; when this fails, that override can go.
    path = tmp_path / "frame.parquet"
    pl.DataFrame({"n": [1]}).write_parquet(path)

    with pytest.raises(TypeError, match="rechunk"):
        scan_parquet(UPath(path), dg.build_input_context())
