"""The asset `monthly_report`: what became of each month, for people to read, once months are published.

A report is made of a refused month, too, and of one that was never published: it says so and what to do.
"""

import dagster as dg

from refinery_assets.assets.checks import refusal
from refinery_assets.assets.resources import (
    WAREHOUSE_POOL,
    Warehouse,
    WarehouseHeldError,
    WarehouseMissingError,
    WarehouseUnusableError,
    try_again_or_fail,
)
from refinery_assets.contract.families import MONTHLY_REPORT, PROCESSED_DATA
from refinery_assets.contract.settings import Settings
from refinery_assets.operations.partitions import ONE_RUN, months_of
from refinery_assets.reports.monthly_report import ReportFigures, monthly_reports


def build_monthly_report(settings: Settings, partitions: dg.PartitionsDefinition[str]) -> dg.AssetsDefinition:
    """The asset; it reads the warehouse's summaries, never daily rows, and changes nothing in it."""

    @dg.multi_asset(
        name=MONTHLY_REPORT,
        specs=[
            dg.AssetSpec(
                MONTHLY_REPORT,
                deps=[PROCESSED_DATA],
                description="A report on each month: its figures, what changed against the publication "
                "before, warnings, refusals with what to do about them, and charts of utilization and "
                "coverage over the months around it.",
                group_name="reports",
                kinds={"markdown"},
            )
        ],
        partitions_def=partitions,
        backfill_policy=ONE_RUN,
        pool=WAREHOUSE_POOL,
    )
    def monthly_report(context: dg.AssetExecutionContext, warehouse: Warehouse) -> dg.MaterializeResult[None]:
        try:
            with warehouse.get_connection(read_only=True) as connection:
                reports = monthly_reports(connection, months_of(context))
        except WarehouseHeldError as error:
            raise try_again_or_fail(error, context.retry_number, settings) from error
        except (WarehouseMissingError, WarehouseUnusableError) as error:
            raise refusal("No report is made.", [str(error)]) from error
        try:
            for report in reports.values():
                report.write(settings.reports)
        except OSError as error:
            # The reports are on the asset's page all the same.
            context.log.warning(
                f"The reports were not all written to {settings.reports} (REFINERY_REPORTS); see to the room "
                f"and the rights there, then materialize {MONTHLY_REPORT} again. The cause: {error}"
            )
        for month, report in reports.items():
            context.add_asset_metadata(report_metadata(report), partition_key=str(month))
        return dg.MaterializeResult()

    return monthly_report


def report_metadata(report: ReportFigures) -> dict[str, dg.MetadataValue | int | float]:
    """The report as the asset's page shows it for its month."""
    return {
        "summary": dg.MetadataValue.text(report.headline),
        # On the page itself, where nobody has to open the report to find it.
        **({"recovery": dg.MetadataValue.text(report.recovery)} if report.recovery else {}),
        "report": dg.MetadataValue.md(report.page),
        **report.figures,
    }
