"""The asset `legacy_feed`: the entrance audit of the months' files."""

import hashlib
from collections.abc import Iterator
from typing import Any

import dagster as dg

from refinery_assets.assets.checks import check_specs
from refinery_assets.assets.month_events import MaterializedMonth
from refinery_assets.assets.resources import Warehouse, fail_if_data_is_elsewhere
from refinery_assets.assets.steps import conclude, months_to_do, needs_stores
from refinery_assets.checks.rules import Verdict, judge
from refinery_assets.contract.families import LEGACY_FEED
from refinery_assets.contract.settings import Settings
from refinery_assets.feed.files import feed_extent
from refinery_assets.operations.partitions import backfill_policy
from refinery_assets.rows.source_checks import ENTRANCE_RULES, MonthOfFeed, inspect_feed
from refinery_assets.warehouse.ledger import StepRecord


def build_legacy_feed(settings: Settings, partitions: dg.PartitionsDefinition[str]) -> dg.AssetsDefinition:
    """The asset over the files below `settings.feed`."""

    @dg.multi_asset(
        name=LEGACY_FEED,
        specs=[
            dg.AssetSpec(
                LEGACY_FEED,
                description="The monthly CSV files of the legacy export, audited before anything is read in: "
                "the files are there, their headers serve, and the export finished.",
                group_name="entrance",
                kinds={"csv"},
            )
        ],
        check_specs=check_specs(LEGACY_FEED, ENTRANCE_RULES, partitions),
        partitions_def=partitions,
        backfill_policy=backfill_policy(settings),
    )
    @needs_stores
    def legacy_feed(context: dg.AssetExecutionContext, warehouse: Warehouse) -> Iterator[Any]:
        fail_if_data_is_elsewhere(warehouse)
        extent = feed_extent(settings)
        months, left_out = months_to_do(context, settings, extent)
        verdicts: list[Verdict] = []
        digests = {}
        good = []
        for feed in inspect_feed(settings, months, extent, settings.today):
            found = judge(ENTRANCE_RULES, LEGACY_FEED, feed.month, feed)
            verdicts += found
            digests[feed.month] = feed.digests
            if not any(verdict.failed for verdict in found):
                good.append(_materialized(feed))
        record = StepRecord(LEGACY_FEED, verdicts, left_out, digests)
        yield from conclude(context, warehouse, settings, record, good, refused_by=verdicts)

    return legacy_feed


def _materialized(feed: MonthOfFeed) -> MaterializedMonth:
    newest = max((file.newest_day for file in feed.files if file.newest_day), default=None)
    folder = feed.files[0].name.rpartition("/")[0]
    return MaterializedMonth(
        month=str(feed.month),
        data_version=hashlib.sha256(repr(sorted(feed.digests.items())).encode()).hexdigest(),
        metadata={
            "dagster/partition_row_count": feed.rows,
            "files": len(feed.files),
            **({"rows_per_day": round(feed.rows / newest.day)} if newest else {}),
            "newest_day": str(newest),
            "folder": dg.MetadataValue.path(f"{feed.settings.feed}/{folder}".rstrip("/")),
        },
    )
