"""Backfills over months that are not exported yet.

A backfill is for months that somebody chose in the UI, "all" for example, and it counts as successful only when each
of them was materialized. A run leaves out months that are not exported yet, so a backfill over them would always end as
failed, although every run of it succeeded. Here: putting that right, and what a backfill of several runs was asked for.
Not here: which months are left out (`rows/source_checks.py`).
"""

from __future__ import annotations

import dagster as dg
from dagster._core.definitions.assets.graph.asset_graph_subset import AssetGraphSubset
from dagster._core.execution.asset_backfill import AssetBackfillData
from dagster._core.execution.backfill import BulkActionsFilter, BulkActionStatus
from dagster._core.storage.tags import BACKFILL_ID_TAG

from refinery_assets.checks.rules import listing
from refinery_assets.contract.families import LEGACY_FEED, MONTHLY_REPORT, PROCESSED_DATA
from refinery_assets.contract.months import Month
from refinery_assets.contract.settings import Settings
from refinery_assets.operations.outcomes import will_run_again
from refinery_assets.operations.partitions import months_in

# Newest first; an older one was seen at an earlier look.
_MOST_BACKFILLS = 20


def settle_backfills(instance: dg.DagsterInstance, settings: Settings) -> list[str]:
    """Mark backfills as successful that failed for nothing but months which their runs left out.

    A run of ours succeeds only when each of its months is published or left out. Such a backfill is then one over the
    months that were not left out; its description names the others. One with assets of somebody else is left alone.

    Dagster's daemon takes a month for failed, too, when its event comes to light late and out of order, as it may in
    PostgreSQL.

    Returns:
        The ids of the backfills.
    """
    families = (family.name for family in settings.contract.families)
    ours = {dg.AssetKey(name) for name in (LEGACY_FEED, *families, PROCESSED_DATA, MONTHLY_REPORT)}
    settled = []
    ended_as_failed = BulkActionsFilter(statuses=[BulkActionStatus.COMPLETED_FAILED])
    for backfill in instance.get_backfills(filters=ended_as_failed, limit=_MOST_BACKFILLS):
        data = backfill.asset_backfill_data
        if data is None or not data.target_subset.asset_keys <= ours:
            continue
        runs = instance.get_runs(dg.RunsFilter(tags={BACKFILL_ID_TAG: backfill.backfill_id}))
        # A worker that was killed leaves a failed run, and one that Dagster started in its stead.
        if not runs or any(not run.is_success and not will_run_again(run) for run in runs):
            continue
        materialized = _materialized(instance, data)
        if not materialized.asset_keys:
            continue
        left_out = _months(data.target_subset - materialized)
        instance.update_backfill(
            backfill._replace(
                status=BulkActionStatus.COMPLETED_SUCCESS,
                description=f"Left out, because the feed holds nothing of them yet: {listing(left_out)}."
                if left_out
                else "All months were materialized, some of them after Dagster had looked.",
                asset_backfill_data=data._replace(
                    target_subset=materialized,
                    requested_subset=materialized,
                    materialized_subset=materialized,
                    failed_and_downstream_subset=AssetGraphSubset.create_empty_subset(),
                ),
            )
        )
        settled.append(backfill.backfill_id)
    return settled


def months_asked_together(instance: dg.DagsterInstance, run: dg.DagsterRun, settings: Settings) -> list[Month]:
    """The months of the backfill that a run is a part of; those of the run where it is no part of one.

    A backfill of one run needs no look: the run is for what was asked.
    """
    backfill_id = run.tags.get(BACKFILL_ID_TAG)
    backfill = instance.get_backfill(backfill_id) if backfill_id and settings.months_per_run is not None else None
    if backfill is None:
        return months_in(run.tags)
    keys = set(backfill.partition_names or ())
    if backfill.asset_backfill_data is not None:
        for subset in backfill.asset_backfill_data.target_subset.partitions_subsets_by_asset_key.values():
            keys.update(subset.get_partition_keys())
    return sorted(map(Month.parse, keys))


def _materialized(instance: dg.DagsterInstance, data: AssetBackfillData) -> AssetGraphSubset:
    """What the daemon saw materialized, and what stands there nevertheless."""
    unseen = data.target_subset - data.materialized_subset
    found = {
        key: subset.empty_subset().with_partition_keys(
            sorted({*subset.get_partition_keys()} & instance.get_materialized_partitions(key))
        )
        for key, subset in unseen.partitions_subsets_by_asset_key.items()
    }
    none = AssetGraphSubset.create_empty_subset()
    return data.materialized_subset | none._replace(partitions_subsets_by_asset_key=found)


def _months(subset: AssetGraphSubset) -> list[str]:
    return sorted({each.partition_key for each in subset.iterate_asset_partitions() if each.partition_key})
