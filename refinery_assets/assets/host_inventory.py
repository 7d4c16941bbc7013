"""The external asset `host_inventory` and its checks: the table `hosts`, which another system keeps."""

from collections.abc import Iterator

import dagster as dg

from refinery_assets.assets.checks import check_result, check_specs, column_schema
from refinery_assets.assets.resources import (
    WAREHOUSE_POOL,
    Warehouse,
    WarehouseHeldError,
    WarehouseMissingError,
    WarehouseUnusableError,
    try_again_or_fail,
)
from refinery_assets.checks.rules import verdicts
from refinery_assets.contract.columns import HOSTS
from refinery_assets.contract.families import HOST_INVENTORY
from refinery_assets.contract.settings import Settings
from refinery_assets.warehouse.inventory import INVENTORY_RULES, InventoryFacts, inspect_inventory

HOST_INVENTORY_SPEC = dg.AssetSpec(
    HOST_INVENTORY,
    description="The fleet: one row per host, with the behaviour (scenario and variant) of its load. "
    "Kept by another system in the table hosts of the warehouse; the refinery only reads it.",
    group_name="inventory",
    kinds={"duckdb"},
    metadata={"dagster/column_schema": column_schema(HOSTS.columns), "dagster/table_name": HOSTS.name},
)


def build_host_inventory_checks(settings: Settings) -> dg.AssetChecksDefinition:
    """The checks; when one fails, `processed_data` is not reached in the same run."""

    @dg.multi_asset_check(
        name="host_inventory_checks",
        specs=check_specs(HOST_INVENTORY, INVENTORY_RULES, blocking=True),
        pool=WAREHOUSE_POOL,
    )
    def host_inventory_checks(
        context: dg.AssetCheckExecutionContext, warehouse: Warehouse
    ) -> Iterator[dg.AssetCheckResult]:
        try:
            with warehouse.get_connection(read_only=True) as connection:
                facts = inspect_inventory(connection, settings.behaviors)
        except WarehouseHeldError as error:
            raise try_again_or_fail(error, context.op_execution_context.retry_number, settings) from error
        except (WarehouseMissingError, WarehouseUnusableError) as error:
            facts = InventoryFacts(settings.behaviors, problem=str(error).rstrip("."))
        yield from (check_result(HOST_INVENTORY, verdict) for verdict in verdicts(INVENTORY_RULES, facts))

    return host_inventory_checks
