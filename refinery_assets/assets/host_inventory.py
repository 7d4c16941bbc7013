"""The external asset `host_inventory` and its checks: the table `hosts`, or what the contract names instead."""

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import PurePath
from typing import Any

import dagster as dg

from refinery_assets.assets.checks import check_specs, column_schema, judged, refusal
from refinery_assets.assets.month_events import JudgedMonth, MaterializedMonth, is_last_step, log_months, silent_outputs
from refinery_assets.assets.resources import (
    Warehouse,
    WarehouseHeldError,
    WarehouseMissingError,
    WarehouseUnusableError,
    pool_of,
    try_again_or_fail,
)
from refinery_assets.assets.steps import conclude, needs_stores, record_reaudit
from refinery_assets.checks.rules import judge, refusals
from refinery_assets.contract.columns import inventory_columns
from refinery_assets.contract.families import HOST_INVENTORY
from refinery_assets.contract.months import Month
from refinery_assets.contract.settings import Settings
from refinery_assets.feed.files import feed_extent
from refinery_assets.operations.backfills import months_asked_together
from refinery_assets.operations.partitions import months_in
from refinery_assets.rows.source_checks import months_asked
from refinery_assets.warehouse.family_partitions import partitions_there
from refinery_assets.warehouse.inventory import InventoryFacts, inspect_inventory
from refinery_assets.warehouse.inventory_checks import INVENTORY_RULES
from refinery_assets.warehouse.ledger import StepRecord
from refinery_assets.warehouse.reaudit import months_with_rows


def build_host_inventory(settings: Settings, partitions: dg.PartitionsDefinition[str]) -> dg.AssetSpec:
    """The external asset."""
    inventory = settings.contract.inventory
    place = "a file" if inventory.is_file else f"the table {inventory.source} of the warehouse"
    return dg.AssetSpec(
        HOST_INVENTORY,
        description="The fleet: one row per host and period in which it counts, with the behavior of its load. "
        f"Kept by another system in {place}; the refinery only reads it.",
        group_name="inventory",
        kinds={PurePath(inventory.source).suffix[1:].lower() if inventory.is_file else "duckdb"},
        partitions_def=partitions,
        metadata={
            "dagster/column_schema": column_schema(settings.contract, inventory_columns(settings.contract)),
            **({} if inventory.is_file else {"dagster/table_name": inventory.source}),
        },
    )


def build_host_inventory_checks(
    settings: Settings, partitions: dg.PartitionsDefinition[str]
) -> dg.AssetChecksDefinition:
    """The checks, a verdict for each month of the run; `processed_data` judges by the same rules again."""

    @dg.multi_asset_check(
        name="host_inventory_checks",
        specs=check_specs(HOST_INVENTORY, INVENTORY_RULES, partitions),
        pool=pool_of(settings),
    )
    @needs_stores
    def host_inventory_checks(context: dg.AssetCheckExecutionContext, warehouse: Warehouse) -> Iterator[Any]:
        facts, published = _look(context, warehouse, settings)
        asked = months_in(context.run.tags)
        if not asked:
            yield from _audit_again(context, warehouse, settings, facts, published)
            return
        extent = feed_extent(settings).widened(partitions_there(settings))
        months, _ = months_asked(asked, extent, months_asked_together(context.instance, context.run, settings))
        verdicts = [verdict for month in months for verdict in judge(INVENTORY_RULES, HOST_INVENTORY, month, facts)]
        good = []
        if not refusals(verdicts):
            # Nothing is made here: it notes which inventory the months were held against.
            version = hashlib.sha256(repr(facts).encode()).hexdigest()
            good = [MaterializedMonth(str(month), version, {"hosts": facts.hosts}) for month in months]
        yield from conclude(context, warehouse, settings, StepRecord(HOST_INVENTORY, verdicts), good)

    return host_inventory_checks


def _look(
    context: dg.AssetCheckExecutionContext, warehouse: Warehouse, settings: Settings
) -> tuple[InventoryFacts, list[Month]]:
    """What the inventory holds, and, for a run over no month, the months that are published."""
    # In a function of its own, as in `processed_data.py`: the failures of two steps are kept to the end of the process
    # with all that their frames hold, and DuckDB complains there of a connection that is still known to one.
    try:
        with warehouse.get_connection(read_only=True) as connection:
            facts = inspect_inventory(connection, settings)
            return facts, [] if months_in(context.run.tags) else months_with_rows(connection)
    except WarehouseHeldError as error:
        raise try_again_or_fail(error, context.op_execution_context.retry_number, settings) from error
    except (WarehouseMissingError, WarehouseUnusableError) as error:
        return InventoryFacts.unavailable(settings, str(error).rstrip(".")), []


def _audit_again(
    context: dg.AssetCheckExecutionContext,
    warehouse: Warehouse,
    settings: Settings,
    facts: InventoryFacts,
    published: Sequence[Month],
) -> Iterator[Any]:
    """Judge the inventory as it is now, in a run that is for no month: by itself, and for the published months."""
    today = Month.of(settings.today)
    verdicts = judge(INVENTORY_RULES, HOST_INVENTORY, today, facts)
    of_no_month = [JudgedMonth(**{**vars(judged(verdict)), "month": None}) for verdict in verdicts]
    of_months = [verdict for month in published for verdict in judge(INVENTORY_RULES, HOST_INVENTORY, month, facts)]
    if of_months:
        record_reaudit(context, warehouse, settings, HOST_INVENTORY, of_months)
    yield from log_months(context, HOST_INVENTORY, [], [*of_no_month, *(judged(verdict) for verdict in of_months)])
    yield from silent_outputs(context)
    if (refused := refusals(verdicts)) and is_last_step(context):
        raise refusal(refused, audited=True)
