"""The asset `processed_data`: the published table, its gate, and the re-audit of what is published."""

from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg

from refinery_assets.assets.checks import check_result, check_specs, column_schema, refusal, table
from refinery_assets.assets.reports import Drawer, remember_history, show_pictures
from refinery_assets.assets.resources import (
    WAREHOUSE_POOL,
    Warehouse,
    WarehouseHeldError,
    WarehouseMissingError,
    WarehouseUnusableError,
    try_again_or_fail,
)
from refinery_assets.contract import columns as dictionary
from refinery_assets.contract.families import (
    FAMILIES,
    HOST_INVENTORY,
    PROCESSED_DATA,
)
from refinery_assets.contract.settings import Settings
from refinery_assets.operations.partitions import ONE_RUN, months_of
from refinery_assets.warehouse.publish import (
    Publication,
    publish,
    reaudit,
)
from refinery_assets.warehouse.publish_checks import AUDIT_RULES
from refinery_assets.warehouse.tables import ForeignTableError


def build_processed_data(settings: Settings, partitions: dg.PartitionsDefinition[str]) -> dg.AssetsDefinition:
    """The asset; materializing it publishes months, executing its checks alone audits what is published."""

    @dg.multi_asset(
        name=PROCESSED_DATA,
        specs=[
            dg.AssetSpec(
                PROCESSED_DATA,
                deps=[*(family.name for family in FAMILIES), HOST_INVENTORY],
                description="One row per day, host and resource, fit for forecasting. A month is written, "
                "audited and published in one transaction: a month that fails its audit is never visible, "
                "and the month that was there before stays.",
                group_name="refined",
                kinds={"duckdb", "table"},
                metadata={
                    "dagster/column_schema": column_schema(dictionary.PROCESSED_DATA.columns),
                    "dagster/table_name": dictionary.PROCESSED_DATA.name,
                },
            )
        ],
        check_specs=check_specs(PROCESSED_DATA, AUDIT_RULES),
        partitions_def=partitions,
        backfill_policy=ONE_RUN,
        can_subset=True,
        pool=WAREHOUSE_POOL,
    )
    def processed_data(
        context: dg.AssetExecutionContext, warehouse: Warehouse, drawer: Drawer
    ) -> Iterator[dg.AssetCheckResult | dg.MaterializeResult[None]]:
        is_publishing = bool(context.selected_asset_keys)
        if not is_publishing:
            audited = _reaudit(context, warehouse, settings)
            yield from _results(context, audited)
            # Failing, too, so that whoever started the audit from a script learns of it by the exit status.
            if audited.problems:
                raise refusal("What is published fails its audit.", audited.problems, audited.verdicts)
            return
        publication = _publish(context, warehouse, settings, drawer)
        yield from _results(context, publication)
        if publication.problems:
            raise refusal("Nothing is published.", publication.problems, publication.verdicts)
        pictures = show_pictures(context, drawer)
        for row in publication.months:
            figures = {
                name: value
                for name, value in row.items()
                if name not in {"month", "rows"} and value is not None
            }
            context.add_asset_metadata(
                {"dagster/partition_row_count": row["rows"], **figures}, partition_key=str(row["month"])
            )
        # What is of the whole table goes to the last month alone, whose event the asset's page shows:
        # Dagster would keep it once for every month of the run.
        context.add_asset_metadata(
            {
                "dagster/row_count": publication.table_rows,
                "dagster/uri": str(warehouse.path),
                "published": table(publication.months),
                **pictures,
            },
            partition_key=str(months_of(context)[-1]),
        )
        yield dg.MaterializeResult()

    return processed_data


def _results(context: dg.AssetExecutionContext, publication: Publication) -> Iterator[dg.AssetCheckResult]:
    selected = {key.name for key in context.selected_asset_check_keys}
    for verdict in publication.verdicts:
        if verdict.check in selected:
            yield check_result(PROCESSED_DATA, verdict)


def _publish(
    context: dg.AssetExecutionContext, warehouse: Warehouse, settings: Settings, drawer: Drawer
) -> Publication:
    months, run_id = months_of(context), context.run.run_id
    with _sentences(context, settings) as refused, warehouse.get_connection() as connection:
        publication = publish(
            connection,
            months,
            settings,
            run_id,
            # Drawn while the months are judged; taken only when they are published.
            when_written=lambda written: drawer.draw(written, months),
        )
        if not publication.problems:
            remember_history(context, drawer, connection)
        return publication
    return Publication(refusals=refused)


def _reaudit(context: dg.AssetExecutionContext, warehouse: Warehouse, settings: Settings) -> Publication:
    with (
        _sentences(context, settings) as refused,
        warehouse.get_connection(read_only=True) as connection,
    ):
        return reaudit(connection, settings)
    return Publication(refusals=refused)


@contextmanager
def _sentences(context: dg.AssetExecutionContext, settings: Settings) -> Iterator[list[str]]:
    """Collect why the warehouse cannot be worked on, but for a holder that is worth waiting for."""
    refused: list[str] = []
    try:
        yield refused
    except WarehouseHeldError as error:
        raise try_again_or_fail(error, context.retry_number, settings) from error
    except (WarehouseMissingError, WarehouseUnusableError, ForeignTableError) as error:
        refused.append(str(error))
