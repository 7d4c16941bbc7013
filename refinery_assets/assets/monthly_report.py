"""The asset `monthly_report`: the outcome of each month, for people to read, once months are published.

A report is made of a refused month, too, and of one that was never published: it says so and what to do.
"""

import hashlib
from collections.abc import Iterator
from typing import Any

import dagster as dg

from refinery_assets.assets.checks import still_refused
from refinery_assets.assets.month_events import MaterializedMonth
from refinery_assets.assets.resources import (
    Warehouse,
    WarehouseHeldError,
    WarehouseMissingError,
    WarehouseUnusableError,
    pool_of,
    try_again_or_fail,
)
from refinery_assets.assets.steps import conclude, ledger_of, months_to_do, needs_stores, whole_window
from refinery_assets.checks.rules import refusals
from refinery_assets.contract.families import MONTHLY_REPORT, PROCESSED_DATA
from refinery_assets.contract.settings import Settings
from refinery_assets.operations.partitions import backfill_policy
from refinery_assets.reports.monthly_report import ReportFigures, monthly_reports, write_reports
from refinery_assets.warehouse.ledger import StepRecord


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
        backfill_policy=backfill_policy(settings),
        pool=pool_of(settings),
    )
    @needs_stores
    def monthly_report(context: dg.AssetExecutionContext, warehouse: Warehouse) -> Iterator[Any]:
        months, left_out = months_to_do(context, settings, whole_window(settings))
        try:
            with warehouse.get_connection(read_only=True) as connection:
                reports = monthly_reports(connection, months, settings.contract)
        except WarehouseHeldError as error:
            raise try_again_or_fail(error, context.retry_number, settings) from error
        except (WarehouseMissingError, WarehouseUnusableError) as error:
            if not ledger_of(context, settings).verdicts():
                raise dg.Failure(description=str(error), allow_retries=False) from error
            # The run's other steps have refused the months for it, and this one says so at its end.
            reports = {}
        try:
            write_reports(reports.values(), settings.reports)
        except OSError as error:
            # The reports are on the asset's page all the same.
            context.log.warning(
                f"The reports were not all written to {settings.reports} (REFINERY_REPORTS); check the free space "
                f"and the permissions there, then materialize {MONTHLY_REPORT} again. The cause: {error}"
            )
        refused = refusals(ledger_of(context, settings).verdicts())
        good = []
        for month, report in reports.items():
            metadata = report_metadata(report)
            if month in refused or report.is_refused:
                # The month stays marked as failed; its report is there to be read all the same.
                context.log_event(dg.AssetObservation(MONTHLY_REPORT, partition=str(month), metadata=metadata))
            else:
                version = hashlib.sha256(report.markdown.encode()).hexdigest()
                good.append(MaterializedMonth(str(month), version, metadata))
        record = StepRecord(MONTHLY_REPORT, left_out=left_out)
        yield from conclude(context, warehouse, settings, record, good)
        # Without the steps before: a run of failed steps alone must not turn a refused month green.
        if stale := {month: reports[month] for month in reports if month not in refused and reports[month].is_refused}:
            raise still_refused({str(month): [f"{month}: {report.headline}"] for month, report in stale.items()})

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
