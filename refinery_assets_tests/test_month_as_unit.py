"""The month as the unit: what a run over many months does with each, and what stays of what was published."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import dagster as dg
import duckdb
import polars as pl
import pytest
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecordStatus
from dagster._core.storage.partition_status_cache import get_and_update_asset_status_cache_value

from refinery_assets.build import build_defs
from refinery_assets.contract.contract_file import packaged_contract
from refinery_assets.contract.families import LEGACY_FEED
from refinery_assets.contract.months import Month
from refinery_assets.contract.packaged import FAMILIES
from refinery_assets.feed.files import content_digest
from refinery_assets.operations.partitions import monthly_partitions
from refinery_assets.reports.monthly_report import monthly_reports
from refinery_assets.warehouse.family_partitions import Partition
from refinery_assets.warehouse.ledger import RunLedger, StepRecord
from refinery_assets.warehouse.month_state import State
from refinery_assets.warehouse.plan import make_plan
from refinery_assets.warehouse.status import read_status
from refinery_assets_tests.inventories import publish_months
from refinery_assets_tests.scenario import CPU, DISK, FEBRUARY, JANUARY, MARCH, MEMORY, GivenPublished, Sandbox

pytestmark = pytest.mark.slow

FAMILY_NAMES = [family.name for family in FAMILIES]
WITHOUT_ENTRANCE = [*FAMILY_NAMES, "processed_data"]


def test_a_file_cut_in_the_middle_of_a_number_is_refused_without_the_entrance_audit_too(sandbox: Sandbox) -> None:
    head, *rows = sandbox.lines(CPU, FEBRUARY)
    fields = [row.split(",") for row in rows]
    reordered = "\n".join(["date,host_id,max_cores,cpu_p95", *(f"{d},{h},{c},{v}" for d, h, v, c in fields)])
    assert head == "date,host_id,cpu_p95,max_cores"
    sandbox.write_bytes(CPU, FEBRUARY, reordered[: reordered.rindex(".")].encode())

    outcome = sandbox.materialize(WITHOUT_ENTRANCE, FEBRUARY)

    assert "cpu_utilization_202402.csv ends in the middle of line 581" in outcome.message
    assert sandbox.published_rows() == 0


def test_a_file_that_is_written_to_between_two_looks_is_refused(sandbox: Sandbox) -> None:
    # The entrance audit of this very run has seen the file as it is now.
    seen = {"cpu_utilization": content_digest(sandbox.file(CPU, FEBRUARY).read())}
    date, host, _, cores = sandbox.lines(CPU, FEBRUARY)[1].split(",")
    sandbox.edit_line(CPU, FEBRUARY, 2, f"{date},{host},1.5,{cores}")

    message = _refine_after_entrance(sandbox, FEBRUARY, seen)

    assert "cpu_utilization_202402.csv was written to while the run was reading it" in message
    assert not Partition(sandbox.settings.telemetry, CPU, FEBRUARY).path.exists()


def _refine_after_entrance(sandbox: Sandbox, month: Month, digests: dict[str, str]) -> str:
    """Run one family with a ledger that an entrance audit of the same run has left."""
    defs = build_defs(sandbox.settings)
    job = dg.define_asset_job("one_family", selection=dg.AssetSelection.assets("cpu_utilization"))
    found = dg.Definitions.merge(defs, dg.Definitions(jobs=[job])).resolve_job_def("one_family")
    run_id = "00000000-0000-4000-8000-000000000001"
    RunLedger(sandbox.settings.telemetry, run_id).write(StepRecord(LEGACY_FEED, digests={month: digests}))
    result = found.execute_in_process(
        instance=sandbox.instance, run_id=run_id, partition_key=str(month), raise_on_error=False
    )
    (failure,) = [event for event in result.all_events if event.is_step_failure]
    described = failure.step_failure_data.user_failure_data
    return str(described and described.description)


def test_a_complete_month_is_not_replaced_by_one_that_ends_on_day_20(
    sandbox: Sandbox, given_published: GivenPublished
) -> None:
    given_published(JANUARY, MARCH)
    before = sandbox.published()
    for family in FAMILIES:
        sandbox.write_lines(family, FEBRUARY, sandbox.lines(family, FEBRUARY)[: 1 + 20 * 20])

    outcome = sandbox.refine(FEBRUARY)

    assert outcome.failed_checks == {"legacy_feed.fragmentation_complete"}
    assert (
        "2024-02 ends on 2024-02-20, 9 days before its last, though the feed already holds 2024-03" in outcome.message
    )
    assert sandbox.published() == before


def test_the_newest_month_is_not_replaced_by_a_shorter_one_either(
    sandbox: Sandbox, given_published: GivenPublished
) -> None:
    given_published(JANUARY, MARCH)
    before = sandbox.published()
    for family in FAMILIES:
        sandbox.write_lines(family, MARCH, sandbox.lines(family, MARCH)[: 1 + 20 * 20])

    outcome = sandbox.refine(MARCH)

    assert outcome.failed_checks == {"processed_data.published_rows_kept"}
    assert "880 of 2,480 published rows lost, 0 changed, 0 added" in outcome.message
    assert sandbox.published() == before


def test_lost_and_changed_rows_are_named_and_refused_beyond_the_limit(
    sandbox: Sandbox, given_published: GivenPublished
) -> None:
    given_published(JANUARY, MARCH)
    lines = sandbox.lines(DISK, FEBRUARY)
    date, host, _, capacity = lines[5].split(",")
    # 4 of 2,320 rows go, more than the default of a thousandth; another changes.
    kept = [*lines[:5], f"{date},{host},1.5,{capacity}", *lines[10:]]
    sandbox.write_lines(DISK, FEBRUARY, kept)

    refused = sandbox.refine(FEBRUARY)
    allowed = Sandbox(replace(sandbox.settings, max_loss=0.01), sandbox.instance).refine(FEBRUARY)

    shown = refused.metadata("processed_data", "published_rows_kept")
    assert (shown["rows_removed"], shown["rows_changed"], shown["rows_added"]) == (4, 1, 0)
    assert {(row["host_id"], row["ds"]) for row in shown["sample"]} >= {(host, date)}
    assert "REFINERY_MAX_LOSS" in shown["recovery"]
    assert allowed.verdict("processed_data", "published_rows_kept") == "warning"
    assert sandbox.query(
        "SELECT rows, rows_added, rows_removed, rows_changed FROM publications WHERE month = '2024-02' "
        "ORDER BY published_at"
    ) == [(2320, 2320, 0, 0), (2316, 0, 4, 1)]


def test_a_family_refused_alone_keeps_the_month_from_being_mixed_of_two_exports(
    sandbox: Sandbox, given_published: GivenPublished
) -> None:
    given_published(FEBRUARY)
    before = sandbox.published()
    for family in FAMILIES:
        head, *rows = sandbox.lines(family, FEBRUARY)
        sandbox.write_lines(family, FEBRUARY, [head, *(f"{row.rpartition(',')[0]},7" for row in rows)])
    data = sandbox.file(CPU, FEBRUARY).path.read_bytes()
    sandbox.write_bytes(CPU, FEBRUARY, data[:-3])
    assert not sandbox.materialize(FAMILY_NAMES, FEBRUARY).success

    mixed = sandbox.materialize(["processed_data"], FEBRUARY)
    sandbox.write_bytes(CPU, FEBRUARY, data)
    mended = sandbox.materialize(["cpu_utilization", "processed_data"], FEBRUARY)

    assert "The partition is of an older file: materialize cpu_utilization 2024-02 again" in mixed.message
    assert mended.success
    assert sandbox.published() != before
    assert sandbox.query("SELECT DISTINCT capacity FROM processed_data") == [(7.0,)]


def _states(sandbox: Sandbox, outcome_run: str) -> dict[str, str]:
    found = {}
    for record in sandbox.instance.fetch_materializations(dg.AssetKey("processed_data"), limit=100).records:
        if record.run_id == outcome_run and record.asset_materialization and record.partition_key:
            found[record.partition_key] = str(record.asset_materialization.metadata["state"].value)
    return found


def test_a_second_run_over_unchanged_months_rewrites_nothing_and_says_so(sandbox: Sandbox) -> None:
    sandbox.edit_line(CPU, FEBRUARY, 2, "not,a,row")
    assert sandbox.refine(JANUARY, MARCH).success
    receipts = sandbox.query("FROM publications ORDER BY ALL")
    written = {path: path.stat().st_mtime_ns for path in sandbox.telemetry.rglob("*.parquet")}
    rows = sandbox.query("SELECT rowid, * FROM processed_data ORDER BY rowid")

    outcome = sandbox.refine(JANUARY, MARCH)

    assert outcome.success
    assert _states(sandbox, outcome.run_id) == dict.fromkeys(["2024-01", "2024-02", "2024-03"], "unchanged")
    assert sandbox.query("FROM publications ORDER BY ALL") == receipts
    assert sandbox.query("SELECT rowid, * FROM processed_data ORDER BY rowid") == rows
    assert {path: path.stat().st_mtime_ns for path in sandbox.telemetry.rglob("*.parquet")} == written
    # The verdicts are those of the publication, warnings as warnings.
    assert outcome.verdict("cpu_utilization", "quarantine_within_tolerance", FEBRUARY) == "warning"
    assert outcome.verdict("processed_data", "row_parity", FEBRUARY) == "passed"
    versions = _data_versions(sandbox, "processed_data")
    assert len(set(versions[:3])) == 3
    assert sorted(versions[:3]) == sorted(versions[3:])


def _data_versions(sandbox: Sandbox, asset: str) -> list[str]:
    records = sandbox.instance.fetch_materializations(dg.AssetKey(asset), limit=100).records
    return [
        (record.asset_materialization.tags or {})["dagster/data_version"]
        for record in records
        if record.asset_materialization
    ]


def test_a_run_that_is_forced_rewrites_months_that_are_unchanged(
    sandbox: Sandbox, given_published: GivenPublished
) -> None:
    given_published(JANUARY, MARCH)
    before = sandbox.published()

    outcome = sandbox.refine(FEBRUARY, force=True)

    assert _states(sandbox, outcome.run_id) == {"2024-02": "published"}
    assert sandbox.published() == before
    assert sandbox.query("SELECT count(*) FROM publications WHERE month = '2024-02'") == [(2,)]


def test_a_table_that_somebody_changed_is_put_right_and_no_other_month_is_touched(sandbox: Sandbox) -> None:
    sandbox.edit_line(CPU, FEBRUARY, 2, "not,a,row")
    assert sandbox.refine(JANUARY, MARCH).success
    before = sandbox.published()
    changes = [
        "UPDATE processed_data SET y = y / 2 WHERE ds = '2024-02-05' AND resource = 'cpu'",
        "INSERT INTO processed_data FROM processed_data WHERE ds = '2024-02-05' LIMIT 1",
        "DELETE FROM processed_data WHERE ds = '2024-02-05'",
        "UPDATE series_months SET mean_y = 1 WHERE month = '2024-02'",
        "DELETE FROM quarantined_rows",
        "DELETE FROM audits WHERE month = '2024-02' AND check_name = 'row_parity'",
    ]
    for change in changes:
        sandbox.execute(change)

        results = sandbox.publish_again(JANUARY, FEBRUARY, MARCH, records={LEGACY_FEED: StepRecord(LEGACY_FEED)})

        assert [result.state for result in results.values()].count(State.UNCHANGED) == 2
        assert results[FEBRUARY].state is State.PUBLISHED
        assert sandbox.published() == before
    sandbox.execute(changes[0])
    outcome = sandbox.refine(JANUARY, MARCH)
    assert _states(sandbox, outcome.run_id) == {"2024-01": "unchanged", "2024-02": "published", "2024-03": "unchanged"}
    assert sandbox.published() == before


def test_another_inventory_or_setting_makes_a_month_new(sandbox: Sandbox, given_published: GivenPublished) -> None:
    given_published(JANUARY, FEBRUARY)

    change = "UPDATE hosts SET variant = ? WHERE node_name = 'srv-00001'"
    ((variant,),) = sandbox.query("SELECT variant FROM hosts WHERE node_name = 'srv-00001'")
    sandbox.execute(change, ["BREACH"])
    by_inventory = make_plan(sandbox.settings, [[JANUARY, FEBRUARY]]).results.values()
    sandbox.execute(change, [variant])
    as_before = make_plan(sandbox.settings, [[JANUARY, FEBRUARY]]).results.values()
    by_setting = make_plan(replace(sandbox.settings, max_gap_days=1), [[JANUARY, FEBRUARY]]).results.values()

    assert [result.state for result in by_inventory] == [State.PUBLISHED] * 2
    assert [result.state for result in as_before] == [State.UNCHANGED] * 2
    assert [result.state for result in by_setting] == [State.PUBLISHED] * 2


def test_a_warehouse_of_the_version_before_receipts_is_taken_on(
    sandbox: Sandbox, given_published: GivenPublished
) -> None:
    given_published(JANUARY, FEBRUARY)
    before = sandbox.published()
    for change in (
        "DROP TABLE publications",
        "DROP TABLE series_months",
        "ALTER TABLE audits DROP COLUMN summary",
        "ALTER TABLE audits DROP COLUMN recovery",
        "ALTER TABLE audits DROP COLUMN input_digest",
    ):
        sandbox.execute(change)

    audited = sandbox.audit()
    with duckdb.connect(sandbox.settings.warehouse, read_only=True) as connection:
        months = read_status(connection, sandbox.settings, FEBRUARY.first_day).months
        report = monthly_reports(connection, [FEBRUARY], packaged_contract())[FEBRUARY]
    outcome = sandbox.refine(JANUARY, FEBRUARY)

    assert [str(each.inputs) for each in months] == ["no receipt", "no receipt", "not published"]
    assert report.headline == (
        "2024-02 has no receipt: 2,320 rows that an older version of the refinery published stand in the table; run "
        "the month again to have its figures."
    )
    assert audited.verdict("processed_data", "row_parity") == "warning"
    assert audited.success
    assert outcome.success
    assert outcome.metadata("processed_data", "published_rows_kept", FEBRUARY)["rows_removed"] == 0
    assert sandbox.published() == before
    assert sandbox.query("SELECT count(*) FROM series_months") == [(2 * 4 * 20,)]


def test_series_months_sums_up_what_the_table_holds(sandbox: Sandbox) -> None:
    host = sandbox.lines(CPU, FEBRUARY)[1].split(",")[1]
    sandbox.write_lines(
        CPU,
        FEBRUARY,
        [line for line in sandbox.lines(CPU, FEBRUARY) if f",{host}," not in line or line[8:10] not in {"05", "06"}],
    )
    # A host that the export spells otherwise than the inventory.
    sandbox.write_lines(
        MEMORY, FEBRUARY, [line.replace(f",{host},", f",{host.upper()},") for line in sandbox.lines(MEMORY, FEBRUARY)]
    )
    assert {result.state for result in publish_months(sandbox.settings, JANUARY, FEBRUARY).values()} == {
        State.PUBLISHED
    }

    compared = sandbox.query(
        """
        SELECT s.readings, s.imputed, round(s.mean_y, 6), s.min_y, s.max_y, s.distinct_values, s.first_day, s.last_day,
            s.capacity
        FROM series_months s ORDER BY s.month, s.resource, s.host_id
        """
    )
    assert compared == sandbox.query(
        """
        SELECT count(*) FILTER (NOT is_imputed), count(*) FILTER (is_imputed),
            round(avg(y) FILTER (NOT is_imputed), 6), min(y) FILTER (NOT is_imputed), max(y) FILTER (NOT is_imputed),
            count(DISTINCT y) FILTER (NOT is_imputed), min(ds)::DATE, max(ds)::DATE, arg_max(capacity, ds)
        FROM processed_data GROUP BY strftime(ds, '%Y-%m'), resource, host_id
        ORDER BY strftime(ds, '%Y-%m'), resource, host_id
        """
    )
    assert (27, 2) in {row[:2] for row in compared}


def test_a_run_over_a_range_shows_good_months_as_materialized_and_bad_ones_as_failed_on_every_asset(
    sandbox: Sandbox,
) -> None:
    missing = sandbox.lines(DISK, FEBRUARY)
    sandbox.file(DISK, FEBRUARY).path.unlink()
    assets = [LEGACY_FEED, *FAMILY_NAMES, "processed_data", "monthly_report"]
    whole = monthly_partitions(sandbox.settings)

    def colors(asset: str) -> tuple[Sequence[str], Sequence[str]]:
        status = get_and_update_asset_status_cache_value(sandbox.instance, dg.AssetKey(asset), whole)
        assert status is not None
        good = status.deserialize_materialized_partition_subsets(whole).get_partition_keys()
        bad = status.deserialize_failed_partition_subsets(whole).get_partition_keys()
        return sorted(good), sorted(bad)

    assert not sandbox.refine(JANUARY, MARCH).success
    assert {asset: colors(asset) for asset in assets} == dict.fromkeys(assets, (["2024-01", "2024-03"], ["2024-02"]))

    # The month alone fails again, and leaves no check that was planned and never judged.
    assert not sandbox.refine(FEBRUARY).success
    sandbox.write_lines(DISK, FEBRUARY, missing)
    assert sandbox.refine(FEBRUARY).success
    assert {asset: colors(asset) for asset in assets} == dict.fromkeys(assets, (["2024-01", "2024-02", "2024-03"], []))
    graph = build_defs(sandbox.settings).resolve_asset_graph()
    for key in graph.asset_check_keys:
        history = sandbox.instance.event_log_storage.get_asset_check_execution_history(key, limit=50)
        assert {record.partition for record in history} == {"2024-01", "2024-02", "2024-03"}
        assert AssetCheckExecutionRecordStatus.PLANNED not in {record.status for record in history}


def test_materialize_all_shows_the_inventorys_checks_as_the_job_does(sandbox: Sandbox) -> None:
    everything = [LEGACY_FEED, *FAMILY_NAMES, "processed_data", "monthly_report"]

    by_job = sandbox.refine(JANUARY)
    by_lineage = sandbox.materialize(everything, JANUARY, force=True)

    assert set(by_lineage.evaluations) == set(by_job.evaluations)
    assert pl.Series(list(by_lineage.evaluations)).len() == 3 + 3 + 3 * 4 + 15
