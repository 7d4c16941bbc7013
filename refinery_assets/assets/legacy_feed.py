"""The asset `legacy_feed`: the entrance audit of the months' files."""

from collections.abc import Iterator

import dagster as dg

from refinery_assets.assets.checks import check_result, check_specs, refusal
from refinery_assets.assets.resources import Warehouse
from refinery_assets.assets.trace import leave_trace
from refinery_assets.checks.rules import verdicts
from refinery_assets.contract.families import LEGACY_FEED
from refinery_assets.contract.settings import Settings
from refinery_assets.operations.partitions import ONE_RUN, months_of
from refinery_assets.rows.source_checks import ENTRANCE_RULES, inspect_feed


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
        check_specs=check_specs(LEGACY_FEED, ENTRANCE_RULES, blocking=True),
        partitions_def=partitions,
        backfill_policy=ONE_RUN,
    )
    def legacy_feed(
        context: dg.AssetExecutionContext, warehouse: Warehouse
    ) -> Iterator[dg.AssetCheckResult | dg.MaterializeResult[None]]:
        evidence = inspect_feed(
            settings.feed,
            months_of(context),
            settings.family_skew,
            follow_links=settings.follow_links,
        )
        found = verdicts(ENTRANCE_RULES, evidence)
        yield from (check_result(LEGACY_FEED, verdict) for verdict in found)
        if problems := [verdict.sentence for verdict in found if verdict.failed]:
            leave_trace(context, warehouse, LEGACY_FEED, found)
            raise refusal("Nothing is ingested.", problems, found)
        for month, rows in evidence.rows_by_month().items():
            context.add_asset_metadata({"dagster/partition_row_count": rows}, partition_key=str(month))
        yield dg.MaterializeResult(metadata={"feed": dg.MetadataValue.path(settings.feed)})

    return legacy_feed
