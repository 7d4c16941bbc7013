"""Backfills over months that are not exported yet: failed to Dagster, whose runs all succeeded; and of several runs."""

# Dagster reads the annotation of a context, so none is a text here.
from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

import dagster as dg
import pytest
from dagster._core.definitions.assets.graph.asset_graph_subset import AssetGraphSubset
from dagster._core.definitions.events import AssetKeyPartitionKey
from dagster._core.execution.asset_backfill import AssetBackfillData
from dagster._core.execution.backfill import BulkActionStatus, PartitionBackfill
from dagster._core.storage.tags import AUTO_RETRY_RUN_ID_TAG, BACKFILL_ID_TAG

from refinery_assets.build import build_defs
from refinery_assets.contract.months import Month
from refinery_assets.contract.settings import Settings
from refinery_assets.operations.backfills import months_asked_together, settle_backfills
from refinery_assets_tests.scenario import JANUARY, MARCH, Sandbox

SETTINGS = Settings(first_month=JANUARY, last_month=Month(2024, 4))
ASSETS = ("legacy_feed", "processed_data")


def failed_backfill(
    instance: dg.DagsterInstance,
    *,
    runs_fail: bool,
    others: tuple[str, ...] = (),
    run_tags: Mapping[str, str] = MappingProxyType({}),
) -> None:
    """A backfill over four months as Dagster leaves it when its run has materialized three of them."""

    @dg.asset
    def somebody_elses() -> None:
        """An asset of another project."""

    theirs = dg.Definitions(assets=[somebody_elses])
    graph = dg.Definitions.merge(build_defs(SETTINGS), theirs).resolve_asset_graph()

    def subset(last: Month) -> AssetGraphSubset:
        keys = {
            AssetKeyPartitionKey(dg.AssetKey(asset), str(month))
            for asset in ASSETS
            for month in Month.span(JANUARY, last)
        } | {AssetKeyPartitionKey(dg.AssetKey(other)) for other in others}
        return AssetGraphSubset.from_asset_partition_set(keys, graph)

    targeted, materialized = subset(Month(2024, 4)), subset(MARCH)
    data = AssetBackfillData.empty(targeted, 1.7e9, instance)._replace(
        requested_subset=targeted,
        materialized_subset=materialized,
        failed_and_downstream_subset=targeted - materialized,
    )
    instance.add_backfill(
        PartitionBackfill(
            "aaaaaaaa",
            BulkActionStatus.COMPLETED_FAILED,
            from_failure=False,
            tags={},
            backfill_timestamp=1.7e9,
            asset_selection=[dg.AssetKey(asset) for asset in (*ASSETS, *others)],
            asset_backfill_data=data,
        )
    )

    @dg.op
    def refine() -> None:
        if runs_fail:
            raise dg.Failure("A month was refused.")

    @dg.job
    def refining() -> None:
        refine()

    tags = {BACKFILL_ID_TAG: "aaaaaaaa", **run_tags}
    refining.execute_in_process(instance=instance, tags=tags, raise_on_error=False)


@pytest.mark.parametrize(
    ("runs_fail", "others"), [(True, ()), (False, ("somebody_elses",))], ids=["a month was refused", "others' assets"]
)
def test_a_backfill_that_failed_for_another_reason_stays_failed(*, runs_fail: bool, others: tuple[str, ...]) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        failed_backfill(instance, runs_fail=runs_fail, others=others)

        assert settle_backfills(instance, SETTINGS) == []

        backfill = instance.get_backfill("aaaaaaaa")
    assert backfill is not None
    assert backfill.status is BulkActionStatus.COMPLETED_FAILED


def test_a_backfill_whose_runs_succeeded_is_one_over_the_months_that_they_did_not_leave_out() -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        failed_backfill(instance, runs_fail=False)

        assert settle_backfills(instance, SETTINGS) == ["aaaaaaaa"]
        assert settle_backfills(instance, SETTINGS) == []

        backfill = instance.get_backfill("aaaaaaaa")
    assert backfill is not None
    assert backfill.asset_backfill_data is not None
    assert backfill.status is BulkActionStatus.COMPLETED_SUCCESS
    assert backfill.description == "Left out, because the feed holds nothing of them yet: 2024-04."
    assert backfill.asset_backfill_data.target_subset.num_partitions_and_non_partitioned_assets == 3 * len(ASSETS)
    assert backfill.asset_backfill_data.get_targeted_partitions_without_materialization_status().is_empty
    assert backfill.asset_backfill_data.failed_and_downstream_subset.is_empty
    assert backfill.asset_backfill_data.all_requested_partitions_marked_as_materialized_or_failed()


def test_a_month_whose_event_came_to_light_late_is_not_called_left_out() -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        failed_backfill(instance, runs_fail=False)
        for asset in ASSETS:
            instance.report_runless_asset_event(dg.AssetMaterialization(asset, partition="2024-04"))

        assert settle_backfills(instance, SETTINGS) == ["aaaaaaaa"]

        backfill = instance.get_backfill("aaaaaaaa")
    assert backfill is not None
    assert backfill.asset_backfill_data is not None
    assert backfill.description == "All months were materialized, some of them after Dagster had looked."
    assert backfill.asset_backfill_data.target_subset.num_partitions_and_non_partitioned_assets == 4 * len(ASSETS)
    assert backfill.asset_backfill_data.all_requested_partitions_marked_as_materialized_or_failed()


def test_a_run_whose_worker_died_does_not_fail_a_backfill_when_the_one_started_in_its_stead_succeeded() -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        failed_backfill(instance, runs_fail=True, run_tags={AUTO_RETRY_RUN_ID_TAG: "the next one"})

        assert settle_backfills(instance, SETTINGS) == ["aaaaaaaa"]


def job_backfill(instance: dg.DagsterInstance, *months: str) -> None:
    backfill = PartitionBackfill("bbbbbbbb", BulkActionStatus.REQUESTED, False, {}, 1.7e9, partition_names=months)  # noqa: FBT003 - Dagster's
    instance.add_backfill(backfill)


@pytest.mark.slow
def test_a_run_of_a_backfill_leaves_out_a_month_that_is_not_exported_though_it_is_its_only_one(
    sandbox: Sandbox,
) -> None:
    one_each = Sandbox(replace(sandbox.settings, months_per_run=1), sandbox.instance)
    job_backfill(sandbox.instance, "2024-03", "2024-04")

    run = one_each.refine(Month(2024, 4), tags={BACKFILL_ID_TAG: "bbbbbbbb"})

    assert run.success
    assert run.evaluations == {}
    left_out = [entry.user_message for entry in sandbox.instance.all_logs(run.run_id)]
    assert "Left out, because the feed holds nothing of them yet: 2024-04 (1 month)." in left_out


@pytest.mark.slow
def test_a_backfill_over_nothing_but_months_that_are_not_exported_says_so(sandbox: Sandbox) -> None:
    one_each = Sandbox(replace(sandbox.settings, months_per_run=1), sandbox.instance)
    job_backfill(sandbox.instance, "2024-04", "2024-05")

    run = one_each.refine(Month(2024, 4), tags={BACKFILL_ID_TAG: "bbbbbbbb"})

    assert "2024-04 is not exported yet" in run.message


def test_the_months_of_an_asset_backfill_were_asked_for_together() -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        failed_backfill(instance, runs_fail=False)
        (run,) = instance.get_runs()

        asked = months_asked_together(instance, run, replace(SETTINGS, months_per_run=1))

    assert asked == list(Month.span(JANUARY, Month(2024, 4)))
