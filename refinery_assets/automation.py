"""What runs the graph: the jobs `refine` and `audit`."""

from __future__ import annotations

import dagster as dg

from refinery_assets.contract import HOST_INVENTORY, PROCESSED_DATA

REFINE = "refine"
AUDIT = "audit"


def build_jobs() -> list[dg.UnresolvedAssetJobDefinition]:
    """The jobs over the graph."""
    return [
        dg.define_asset_job(
            REFINE,
            # The checks of an external asset are no part of "all assets".
            selection=dg.AssetSelection.all() | dg.AssetSelection.checks_for_assets(HOST_INVENTORY),
            description="Audit the entrance, refine the four families, and publish the months.",
        ),
        dg.define_asset_job(
            AUDIT,
            selection=dg.AssetSelection.checks_for_assets(HOST_INVENTORY, PROCESSED_DATA),
            description="Judge the inventory and the published table again, without rewriting anything.",
        ),
    ]
