"""The family assets, all from one factory: a month's CSV file in, a Parquet partition out."""

import hashlib
from collections.abc import Iterator
from functools import cache
from typing import Any

import dagster as dg

from refinery_assets.assets.checks import check_specs, column_schema
from refinery_assets.assets.io_manager import failing_if_unwritable
from refinery_assets.assets.month_events import MaterializedMonth, is_in_run, silent_outputs
from refinery_assets.assets.resources import (
    Warehouse,
    WarehouseHeldError,
    WarehouseMissingError,
    WarehouseUnusableError,
    fail_if_data_is_elsewhere,
    try_again_or_fail,
)
from refinery_assets.assets.steps import conclude, is_forced, ledger_of, months_to_do, needs_stores
from refinery_assets.contract.columns import PARTITION_COLUMNS
from refinery_assets.contract.families import LEGACY_FEED, Family
from refinery_assets.contract.settings import Settings
from refinery_assets.feed.store import telemetry_store
from refinery_assets.operations.partitions import backfill_policy
from refinery_assets.reports.figures import rounded
from refinery_assets.rows.clean import OddHosts
from refinery_assets.rows.family_checks import FAMILY_RULES
from refinery_assets.rows.stats import Stats
from refinery_assets.warehouse.family_months import FamilyMonths
from refinery_assets.warehouse.family_partitions import Partition
from refinery_assets.warehouse.inventory import odd_host_names
from refinery_assets.warehouse.ledger import StepRecord


def build_family(family: Family, settings: Settings, partitions: dg.PartitionsDefinition[str]) -> dg.AssetsDefinition:
    """The asset of one family."""

    @dg.multi_asset(
        name=family.name,
        outs={
            family.name: dg.AssetOut(
                description=f"Daily p95 {family.resource} utilization, standardized: every row of the "
                "month's file with its source line and its fault; short gaps filled, flagged as imputed."
                + (f" capacity is in {family.capacity_unit}." if family.capacity_unit else ""),
                group_name="telemetry",
                kinds={"polars", "parquet"},
                metadata={"dagster/column_schema": column_schema(settings.contract, PARTITION_COLUMNS)},
                # The value is a stream of months; what it must hold is up to the IO manager.
                dagster_type=dg.Any,
            )
        },
        deps=[LEGACY_FEED],
        check_specs=check_specs(family.name, FAMILY_RULES, partitions),
        partitions_def=partitions,
        backfill_policy=backfill_policy(settings),
    )
    @needs_stores
    def family_asset(context: dg.AssetExecutionContext, warehouse: Warehouse) -> Iterator[Any]:
        if not is_in_run(context, LEGACY_FEED):
            fail_if_data_is_elsewhere(warehouse)
        months, left_out = months_to_do(context, settings)
        odd_hosts = _odd_hosts(context, warehouse, settings)
        entrance = ledger_of(context, settings).read(LEGACY_FEED)
        work = FamilyMonths(family, settings, entrance, odd_hosts, _refuse, force=is_forced(context))
        outputs = silent_outputs(context, value=work.refine(months))
        # The IO manager drains the months before this function goes on, so all are judged and written then.
        yield next(outputs)
        telemetry_store(settings.telemetry).ask_all(Partition.clear_refusal, work.passed)
        record = StepRecord(family.name, work.verdicts, left_out)
        good = [_materialized(stats) for stats in work.good]
        refused_by = [*(entrance.verdicts if entrance else ()), *work.verdicts]
        yield from conclude(context, warehouse, settings, record, good, refused_by=refused_by, outputs=outputs)

    return family_asset


def _odd_hosts(context: dg.AssetExecutionContext, warehouse: Warehouse, settings: Settings) -> OddHosts:
    """Ask the inventory once, when a file first makes it necessary."""

    @cache
    def ask() -> frozenset[str]:
        try:
            with warehouse.get_connection(read_only=True) as connection:
                return odd_host_names(connection, settings.contract)
        except WarehouseMissingError:
            # Nothing is published without it; that is for the inventory's checks to say.
            return frozenset()
        except WarehouseHeldError as error:
            raise try_again_or_fail(error, context.retry_number, settings) from error
        except WarehouseUnusableError as error:
            raise dg.Failure(description=str(error), allow_retries=False) from error

    return ask


def _refuse(partition: Partition, why: str) -> None:
    with failing_if_unwritable(partition):
        partition.mark_refused(why)


def _materialized(stats: Stats) -> MaterializedMonth:
    mean = {} if stats.mean_y is None else {"mean_utilization_percent": rounded(stats.mean_y)}
    return MaterializedMonth(
        month=str(stats.month),
        data_version=hashlib.sha256(f"{stats.digest} {stats.rules}".encode()).hexdigest(),
        metadata={
            "dagster/partition_row_count": stats.landed + stats.imputed,
            "clean_rows": stats.clean,
            "quarantined_rows": stats.quarantined,
            "imputed_rows": stats.imputed,
            "long_gaps": stats.long_gaps,
            "hosts": stats.hosts,
            **mean,
        },
    )
