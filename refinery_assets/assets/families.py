"""The four family assets, all from one factory: a month's CSV file in, a Parquet partition out."""

from collections.abc import Iterator

import dagster as dg

from refinery_assets.assets.checks import check_result, check_specs, column_schema, refusal
from refinery_assets.assets.io_manager import MonthlyFrames
from refinery_assets.assets.resources import Warehouse
from refinery_assets.assets.trace import leave_trace
from refinery_assets.checks.rules import verdicts
from refinery_assets.contract.columns import PARTITION_COLUMNS
from refinery_assets.contract.families import LEGACY_FEED, Family
from refinery_assets.contract.settings import Settings
from refinery_assets.feed.files import FeedFile, RefusedFileError
from refinery_assets.operations.partitions import ONE_RUN, months_of
from refinery_assets.rows.family import FAMILY_RULES, FamilyEvidence, Tally, refine_files


def build_family(
    family: Family, settings: Settings, partitions: dg.PartitionsDefinition[str]
) -> dg.AssetsDefinition:
    """The asset of one family."""

    @dg.multi_asset(
        name=family.name,
        outs={
            family.name: dg.AssetOut(
                description=f"Daily p95 {family.resource} utilization, standardized: every row of the "
                "month's file with its source line and its fault; short gaps filled, flagged as imputed. "
                f"capacity is in {family.capacity_unit}.",
                group_name="telemetry",
                kinds={"polars", "parquet"},
                metadata={
                    "dagster/column_schema": column_schema(PARTITION_COLUMNS),
                    # Read by the IO manager: a quarter faster to write than its default, and read everywhere.
                    "compression": "snappy",
                },
                # The value is a stream of frames; what it must hold is up to the IO manager.
                dagster_type=dg.Any,
            )
        },
        deps=[LEGACY_FEED],
        check_specs=check_specs(family.name, FAMILY_RULES, blocking=True),
        partitions_def=partitions,
        backfill_policy=ONE_RUN,
    )
    def family_asset(
        context: dg.AssetExecutionContext, warehouse: Warehouse
    ) -> Iterator[dg.AssetCheckResult | dg.MaterializeResult[MonthlyFrames]]:
        tallies: list[Tally] = []
        # The IO manager drains the frames before this function goes on, so the tallies are complete then.
        yield dg.MaterializeResult(value=_frames(context, family, settings, tallies))
        found = verdicts(FAMILY_RULES, FamilyEvidence(tallies, settings.quarantine_tolerance))
        yield from (check_result(family.name, verdict) for verdict in found)
        if problems := [verdict.sentence for verdict in found if verdict.failed]:
            leave_trace(context, warehouse, family.name, found)
            raise refusal("Nothing is published.", problems, found)

    return family_asset


def _frames(
    context: dg.AssetExecutionContext, family: Family, settings: Settings, tallies: list[Tally]
) -> MonthlyFrames:
    """Refine month after month; files that cannot be taken are told all at once, after the last month."""
    refused: list[str] = []
    files = [FeedFile(settings.feed, family, month, settings.follow_links) for month in months_of(context)]
    for refined in refine_files(files, settings):
        try:
            frame, tally = refined.result()
        except RefusedFileError as error:
            refused.append(str(error))
            continue
        month = str(tally.file.month)
        tallies.append(tally)
        context.add_asset_metadata(
            {
                "dagster/partition_row_count": frame.height,
                "clean_rows": tally.clean,
                "quarantined_rows": tally.quarantined,
                "imputed_rows": tally.imputed,
                "long_gaps": tally.long_gaps,
                "hosts": tally.hosts,
                **({} if tally.mean_y is None else {"mean_utilization_percent": tally.mean_y}),
            },
            partition_key=month,
        )
        yield month, frame
    if refused:
        raise refusal("Nothing is published.", refused)
