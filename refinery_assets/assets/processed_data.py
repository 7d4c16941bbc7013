"""The asset `processed_data`: the published table, its gate, and the re-audit of what is published."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb

from refinery_assets.assets.checks import check_specs, column_schema, judged, refusal
from refinery_assets.assets.month_events import MaterializedMonth, log_months, silent_outputs
from refinery_assets.assets.resources import (
    Warehouse,
    WarehouseHeldError,
    WarehouseMissingError,
    WarehouseUnusableError,
    pool_of,
    try_again_or_fail,
)
from refinery_assets.assets.steps import conclude, is_forced, ledger_of, months_to_do, needs_stores, record_reaudit
from refinery_assets.checks.rules import Outcome, Verdict, counted, listing, refusals
from refinery_assets.contract import columns
from refinery_assets.contract.families import HOST_INVENTORY, LEGACY_FEED, PROCESSED_DATA
from refinery_assets.contract.lake import Lake
from refinery_assets.contract.months import Month
from refinery_assets.contract.settings import Settings
from refinery_assets.feed.files import FeedExtent, feed_extent
from refinery_assets.feed.store import StoreError, telemetry_store
from refinery_assets.operations.partitions import backfill_policy
from refinery_assets.reports.figures import rounded
from refinery_assets.warehouse.family_partitions import partitions_there
from refinery_assets.warehouse.gate import RunSoFar
from refinery_assets.warehouse.inventory import InventoryFacts
from refinery_assets.warehouse.lake_writers import publish_in_turn, record_abandoned_in_turn
from refinery_assets.warehouse.ledger import StepRecord
from refinery_assets.warehouse.month_state import MonthResult, State, refuse_all
from refinery_assets.warehouse.own_rules import publish_rules
from refinery_assets.warehouse.publish import publish
from refinery_assets.warehouse.read_copy import ReadCopyError, renew_read_copy
from refinery_assets.warehouse.reaudit import Reaudit, reaudit
from refinery_assets.warehouse.tables import ForeignTableError, LostRaceError, utc_now


def build_processed_data(settings: Settings, partitions: dg.PartitionsDefinition[str]) -> dg.AssetsDefinition:
    """The asset; materializing it publishes months, executing its checks alone audits what is published."""

    @dg.multi_asset(
        name=PROCESSED_DATA,
        specs=[
            dg.AssetSpec(
                PROCESSED_DATA,
                deps=[*(family.name for family in settings.contract.families), HOST_INVENTORY],
                description="One row per day, host and resource, fit for forecasting. Each month is judged by "
                "itself; those that pass are written, audited and published in one transaction. A month that "
                "fails is never visible, and what was published of it before stays.",
                group_name="refined",
                kinds={"duckdb", "table"},
                metadata={
                    "dagster/column_schema": column_schema(settings.contract, columns.PROCESSED_DATA.columns),
                    "dagster/table_name": columns.PROCESSED_DATA.name,
                },
            )
        ],
        check_specs=check_specs(PROCESSED_DATA, publish_rules(settings.contract), partitions),
        partitions_def=partitions,
        backfill_policy=backfill_policy(settings),
        can_subset=True,
        pool=pool_of(settings),
    )
    @needs_stores
    def processed_data(context: dg.AssetExecutionContext, warehouse: Warehouse) -> Iterator[Any]:
        if not context.selected_asset_keys:
            yield from _audit_again(context, warehouse, settings)
            return
        run, months, left_out = _run_so_far(context, settings)
        results = _publish(context, warehouse, settings, months, run)
        _renew_read_copy(context, warehouse, settings)
        context.log.info(_message(results))
        record = StepRecord(PROCESSED_DATA, _news(results, run), left_out)
        good = [_materialized(result, warehouse) for result in results.values() if result.receipt]
        refused_by = [verdict for result in results.values() for verdict in result.verdicts]
        yield from conclude(context, warehouse, settings, record, good, refused_by=refused_by)

    return processed_data


def _run_so_far(context: dg.AssetExecutionContext, settings: Settings) -> tuple[RunSoFar, list[Month], list[Month]]:
    records = {record.asset: record for record in ledger_of(context, settings).records()}
    extent = feed_extent(settings)
    if LEGACY_FEED not in records:
        # Without an entrance audit it is the partitions that months are published from.
        there = partitions_there(settings)
        extent = FeedExtent(min(there, default=None), max(there, default=None))
    months, left_out = months_to_do(context, settings, extent)
    run = RunSoFar(context.run.run_id, extent, settings.today, records, is_forced(context))
    return run, months, left_out


def _publish(
    context: dg.AssetExecutionContext,
    warehouse: Warehouse,
    settings: Settings,
    months: Sequence[Month],
    run: RunSoFar,
) -> Mapping[Month, MonthResult]:
    try:
        with warehouse.get_connection() as connection:
            results = publish_in_turn(
                connection,
                warehouse.place,
                months,
                # Judged once the months are locked, so that the times of a month's publications are in their order.
                lambda still_locked: publish(
                    connection, months, settings, replace(run, moment=utc_now()), still_locked
                ),
                wait_seconds=settings.lock_wait_seconds,
                warn=context.log.warning,
            )
            _record_abandoned(context, connection, warehouse.place, settings)
            return results
    except (WarehouseHeldError, LostRaceError) as error:
        raise try_again_or_fail(error, context.retry_number, settings) from error
    except WarehouseMissingError as error:
        facts = InventoryFacts.unavailable(settings, str(error).rstrip("."))
        return refuse_all(months, run, facts, settings.contract)
    except (WarehouseUnusableError, ForeignTableError) as error:
        raise dg.Failure(description=str(error), allow_retries=False) from error
    finally:
        # Of an object store, the partitions were copied to this machine.
        telemetry_store(settings.telemetry).release()


def _record_abandoned(
    context: dg.AssetExecutionContext, connection: duckdb.DuckDBPyConnection, place: Path | Lake, settings: Settings
) -> None:
    """Add what dead runs found to `audits`; a failure is only a warning, because the months are published."""
    try:
        record_abandoned_in_turn(connection, place, ledger_of(context, settings))
    except (LostRaceError, ForeignTableError, StoreError, OSError, duckdb.Error) as error:
        context.log.warning(
            "What the checks of runs that were killed said is not in the table audits yet; the next run that publishes "
            f"adds it. {error}"
        )


def _renew_read_copy(context: dg.AssetExecutionContext, warehouse: Warehouse, settings: Settings) -> None:
    """Renew the read copy; a failure is only a warning, because the months are published."""
    place = warehouse.place
    if settings.read_copy is None or not isinstance(place, Path) or not place.is_file():
        return
    try:
        renew_read_copy(place, settings.read_copy)
    except ReadCopyError as error:
        context.log.warning(str(error))


def _news(results: Mapping[Month, MonthResult], run: RunSoFar) -> list[Verdict]:
    """The verdicts to log: all of its own checks; of others those that no step of the run has logged alike."""
    logged = {
        (verdict.asset, verdict.check, verdict.month): verdict.outcome
        for record in run.records.values()
        for verdict in record.verdicts
    }
    return [
        verdict
        for result in results.values()
        for verdict in result.verdicts
        if verdict.asset == PROCESSED_DATA
        or (
            verdict.outcome is not Outcome.NOT_JUDGED
            and logged.get((verdict.asset, verdict.check, verdict.month)) is not verdict.outcome
        )
    ]


def _message(results: Mapping[Month, MonthResult]) -> str:
    parts = []
    for state in State:
        months = [month for month, result in results.items() if result.state is state]
        if months:
            parts.append(f"{counted(len(months), 'month')} {state} ({listing(months)})")
    healed = [month for month, result in results.items() if result.healed]
    if healed:
        parts.append(f"the table held something else than was published, and was put right: {listing(healed)}")
    return "; ".join(parts) + "."


def _materialized(result: MonthResult, warehouse: Warehouse) -> MaterializedMonth:
    receipt = result.receipt
    if receipt is None:
        raise ValueError(f"{result.month} has no receipt")
    per_day = {}
    if days := int(result.figures.get("days", 0)):
        per_day = {"rows_per_day": round(receipt.rows / days)}
    figures = {
        name: rounded(value) for name, value in result.figures.items() if name not in {"rows", "imputed", "quarantined"}
    }
    return MaterializedMonth(
        month=str(result.month),
        data_version=receipt.input_digest,
        metadata={
            "state": str(result.state),
            "dagster/partition_row_count": receipt.rows,
            **per_day,
            "imputed": receipt.imputed,
            "quarantined": receipt.quarantined,
            **figures,
            "rows_added": receipt.rows_added,
            "rows_removed": receipt.rows_removed,
            "rows_changed": receipt.rows_changed,
            "published_by_run": receipt.run_id,
            "published_at_utc": receipt.published_at.isoformat(" ", timespec="seconds"),
            "dagster/uri": str(warehouse.place),
        },
    )


def _reaudit(context: dg.AssetExecutionContext, warehouse: Warehouse, settings: Settings) -> Reaudit:
    try:
        with warehouse.get_connection(read_only=True) as connection:
            return reaudit(connection, settings)
    except WarehouseHeldError as error:
        raise try_again_or_fail(error, context.retry_number, settings) from error
    except (WarehouseMissingError, WarehouseUnusableError, ForeignTableError) as error:
        raise dg.Failure(description=str(error), allow_retries=False) from error


def _audit_again(context: dg.AssetExecutionContext, warehouse: Warehouse, settings: Settings) -> Iterator[Any]:
    found = _reaudit(context, warehouse, settings)
    if found.problem:
        raise dg.Failure(description=found.problem, allow_retries=False)
    selected = {key.name for key in context.selected_asset_check_keys}
    verdicts: list[Verdict] = [
        verdict
        for verdict in found.verdicts
        if (verdict.asset == PROCESSED_DATA and verdict.check in selected) or verdict.failed
    ]
    of_table = [verdict for verdict in verdicts if verdict.asset == PROCESSED_DATA]
    record_reaudit(context, warehouse, settings, PROCESSED_DATA, of_table)
    _renew_read_copy(context, warehouse, settings)
    yield from log_months(context, PROCESSED_DATA, [], [judged(verdict) for verdict in of_table])
    yield from silent_outputs(context)
    # Fails as well, so that a script that starts the audit sees it in the exit status.
    if refused := refusals(verdicts):
        raise refusal(refused, audited=True)
