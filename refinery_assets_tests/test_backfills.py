"""Backfills over months that are not exported yet: failed to Dagster, whose runs all succeeded."""

# Dagster reads the annotation of a context, so none is a text here.
import dagster as dg
import pytest
from dagster._core.definitions.assets.graph.asset_graph_subset import AssetGraphSubset
from dagster._core.definitions.events import AssetKeyPartitionKey
from dagster._core.execution.asset_backfill import AssetBackfillData
from dagster._core.execution.backfill import BulkActionStatus, PartitionBackfill
from dagster._core.storage.tags import BACKFILL_ID_TAG

from refinery_assets.build import build_defs
from refinery_assets.contract.months import Month
from refinery_assets.contract.settings import Settings
from refinery_assets.operations.backfills import settle_backfills
from refinery_assets_tests.scenario import JANUARY, MARCH

SETTINGS = Settings(first_month=JANUARY, last_month=Month(2024, 4))
ASSETS = ("legacy_feed", "processed_data")


def failed_backfill(instance: dg.DagsterInstance, *, runs_fail: bool, others: tuple[str, ...] = ()) -> None:
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

    refining.execute_in_process(instance=instance, tags={BACKFILL_ID_TAG: "aaaaaaaa"}, raise_on_error=False)


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
