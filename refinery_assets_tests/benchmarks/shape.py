"""Our graph's steps and checks without any work in them: what Dagster takes for them, and loading libraries.

Every month is materialized and every check has its verdict on every month, as in a run of ours.

    dg launch --job refine --partition 2025-12 -m refinery_assets_tests.benchmarks.shape

Takes `--partition-range 2023-01...2025-12`, too.
"""

import os
from collections.abc import Iterator, Sequence
from typing import Any

import dagster as dg
import dagster_duckdb  # noqa: F401 - what our graph loads is loaded here
import dagster_polars  # noqa: F401
import duckdb  # noqa: F401

from refinery_assets.assets.checks import check_specs, judged
from refinery_assets.assets.month_events import Context, MaterializedMonth, log_months, silent_outputs
from refinery_assets.assets.resources import WAREHOUSE_POOL
from refinery_assets.checks.rules import Finding, Outcome, Rule, judge
from refinery_assets.contract.families import HOST_INVENTORY, LEGACY_FEED, MONTHLY_REPORT, PROCESSED_DATA
from refinery_assets.contract.packaged import FAMILIES
from refinery_assets.contract.settings import Settings
from refinery_assets.operations.automation import build_jobs
from refinery_assets.operations.partitions import ONE_RUN, monthly_partitions, months_in
from refinery_assets.rows.family_checks import FAMILY_RULES
from refinery_assets.rows.source_checks import ENTRANCE_RULES
from refinery_assets.warehouse.inventory_checks import INVENTORY_RULES
from refinery_assets.warehouse.publish_checks import PUBLISH_RULES

_MONTHS = monthly_partitions(Settings.from_environment(os.environ))


def _step(name: str, rules: Sequence[Rule[Any]], deps: Sequence[str], pool: str | None = None) -> dg.AssetsDefinition:
    @dg.multi_asset(
        name=name,
        specs=[dg.AssetSpec(name, deps=deps)],
        partitions_def=_MONTHS,
        backfill_policy=ONE_RUN,
        check_specs=check_specs(name, rules, _MONTHS),
        pool=pool,
    )
    def step(context: dg.AssetExecutionContext) -> Iterator[Any]:
        yield from _pass(context, name, rules)

    return step


def _pass(context: Context, asset: str, rules: Sequence[Rule[Any]]) -> Iterator[Any]:
    months = months_in(context.run.tags)
    nothing = [Rule(rule.name, rule.description, rule.recovery, _look_at_nothing) for rule in rules]
    verdicts = [verdict for month in months for verdict in judge(nothing, asset, month, None)]
    materialized = [MaterializedMonth(str(month), "none", {}) for month in months]
    yield from log_months(context, asset, materialized, [judged(verdict) for verdict in verdicts])
    yield from silent_outputs(context)


def _look_at_nothing(_: None) -> Finding:
    return Finding(Outcome.PASSED, "Nothing was looked at.", {"rows": 0})


@dg.multi_asset_check(specs=check_specs(HOST_INVENTORY, INVENTORY_RULES, _MONTHS), pool=WAREHOUSE_POOL)
def host_inventory_checks(context: dg.AssetCheckExecutionContext) -> Iterator[Any]:
    """Look at nothing."""
    yield from _pass(context, HOST_INVENTORY, INVENTORY_RULES)


_FAMILIES = [family.name for family in FAMILIES]

defs = dg.Definitions(
    assets=[
        _step(LEGACY_FEED, ENTRANCE_RULES, []),
        *(_step(name, FAMILY_RULES, [LEGACY_FEED]) for name in _FAMILIES),
        dg.AssetSpec(HOST_INVENTORY, partitions_def=_MONTHS),
        _step(PROCESSED_DATA, PUBLISH_RULES, [*_FAMILIES, HOST_INVENTORY], WAREHOUSE_POOL),
        _step(MONTHLY_REPORT, [], [PROCESSED_DATA], WAREHOUSE_POOL),
    ],
    asset_checks=[host_inventory_checks],
    jobs=build_jobs(),
    executor=dg.in_process_executor,
)
