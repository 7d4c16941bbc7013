"""The trace that a refused month leaves in the table `audits` when it never reached `processed_data`."""

from collections.abc import Iterable

import dagster as dg

from refinery_assets.assets.resources import (
    Warehouse,
    WarehouseHeldError,
    WarehouseMissingError,
    WarehouseUnusableError,
)
from refinery_assets.checks.rules import Verdict
from refinery_assets.operations.partitions import months_of
from refinery_assets.warehouse.audits import audit_rows, record_audits
from refinery_assets.warehouse.tables import ForeignTableError, transaction


def leave_trace(
    context: dg.AssetExecutionContext, warehouse: Warehouse, asset: str, verdicts: Iterable[Verdict]
) -> None:
    """Note the verdicts of a step that is about to fail; where that cannot be done, say so in its log."""
    rows = audit_rows(asset, verdicts, months_of(context))
    try:
        with warehouse.get_connection() as connection, transaction(connection):
            record_audits(connection, context.run.run_id, rows, published=False)
    except (
        WarehouseMissingError,
        WarehouseHeldError,
        WarehouseUnusableError,
        ForeignTableError,
    ) as error:
        context.log.warning(f"The refusal could not be noted in the table audits: {error}")
