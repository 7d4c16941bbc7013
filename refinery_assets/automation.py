"""What runs the graph: the job `refine`."""

from __future__ import annotations

import dagster as dg

from refinery_assets.contract import HOST_INVENTORY

REFINE = "refine"


def build_refine_job() -> dg.UnresolvedAssetJobDefinition:
    """Everything, the checks of the external inventory included, which a plain "all assets" leaves out."""
    return dg.define_asset_job(
        REFINE,
        selection=dg.AssetSelection.all() | dg.AssetSelection.checks_for_assets(HOST_INVENTORY),
        description="Audit the entrance, refine the four families, and publish the months.",
    )
