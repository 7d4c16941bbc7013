"""Our graph's steps and checks without any work in them: what Dagster takes for them, and loading libraries.

    dg launch --job refine --partition 2025-12 -m refinery_assets_tests.benchmarks.shape

Takes `--partition-range 2023-01...2025-12`, too.
"""

import gc
import os
from collections.abc import Iterator, Sequence
from typing import Any

import dagster as dg
import dagster_polars  # noqa: F401 - what our graph loads is loaded here

gc.freeze()

import dagster_duckdb  # noqa: E402, F401
import duckdb  # noqa: E402, F401

from refinery_assets.assets.checks import check_specs  # noqa: E402
from refinery_assets.assets.resources import WAREHOUSE_POOL  # noqa: E402
from refinery_assets.checks.rules import Rule  # noqa: E402
from refinery_assets.contract.families import (  # noqa: E402
    FAMILIES,
    HOST_INVENTORY,
    LEGACY_FEED,
    MONTHLY_REPORT,
    PROCESSED_DATA,
)
from refinery_assets.contract.settings import Settings  # noqa: E402
from refinery_assets.operations.automation import build_jobs  # noqa: E402
from refinery_assets.operations.partitions import ONE_RUN, monthly_partitions  # noqa: E402
from refinery_assets.rows.family import FAMILY_RULES  # noqa: E402
from refinery_assets.rows.source_checks import ENTRANCE_RULES  # noqa: E402
from refinery_assets.warehouse.inventory import INVENTORY_RULES  # noqa: E402
from refinery_assets.warehouse.publish_checks import AUDIT_RULES  # noqa: E402

_MONTHS = monthly_partitions(Settings.from_environment(os.environ))


def _step(
    name: str, rules: Sequence[Rule[Any]], deps: Sequence[str], pool: str | None = None
) -> dg.AssetsDefinition:
    @dg.multi_asset(
        name=name,
        specs=[dg.AssetSpec(name, deps=deps)],
        partitions_def=_MONTHS,
        backfill_policy=ONE_RUN,
        check_specs=check_specs(name, rules),
        pool=pool,
    )
    def step() -> Iterator[dg.AssetCheckResult | dg.MaterializeResult[None]]:
        yield dg.MaterializeResult()
        yield from _passed(name, rules)

    return step


def _passed(asset: str, rules: Sequence[Rule[Any]]) -> Iterator[dg.AssetCheckResult]:
    for rule in rules:
        yield dg.AssetCheckResult(asset_key=asset, check_name=rule.name, passed=True)


@dg.multi_asset_check(specs=check_specs(HOST_INVENTORY, INVENTORY_RULES), pool=WAREHOUSE_POOL)
def host_inventory_checks() -> Iterator[dg.AssetCheckResult]:
    """Look at nothing."""
    yield from _passed(HOST_INVENTORY, INVENTORY_RULES)


_FAMILIES = [family.name for family in FAMILIES]

defs = dg.Definitions(
    assets=[
        _step(LEGACY_FEED, ENTRANCE_RULES, []),
        *(_step(name, FAMILY_RULES, [LEGACY_FEED]) for name in _FAMILIES),
        dg.AssetSpec(HOST_INVENTORY),
        _step(PROCESSED_DATA, AUDIT_RULES, [*_FAMILIES, HOST_INVENTORY], WAREHOUSE_POOL),
        _step(MONTHLY_REPORT, [], [PROCESSED_DATA], WAREHOUSE_POOL),
    ],
    asset_checks=[host_inventory_checks],
    jobs=build_jobs(),
    executor=dg.in_process_executor,
)
