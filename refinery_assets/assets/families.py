"""The family assets, all from one factory: a month's CSV file in, a Parquet partition out."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import dagster as dg

from refinery_assets.assets.checks import check_specs, column_schema
from refinery_assets.assets.io_manager import MonthlyFrames, told_if_unwritable
from refinery_assets.assets.month_events import MaterializedMonth, silent_outputs
from refinery_assets.assets.resources import (
    Warehouse,
    WarehouseHeldError,
    WarehouseMissingError,
    WarehouseUnusableError,
    try_again_or_fail,
)
from refinery_assets.assets.steps import conclude, is_forced, ledger_of, months_to_do
from refinery_assets.checks.rules import Verdict, judge, not_judged, refusals
from refinery_assets.contract.columns import PARTITION_COLUMNS
from refinery_assets.contract.families import LEGACY_FEED, Family
from refinery_assets.contract.months import Month
from refinery_assets.contract.settings import Settings
from refinery_assets.feed.files import FeedFile, RefusedFileError
from refinery_assets.operations.partitions import ONE_RUN
from refinery_assets.reports.figures import rounded
from refinery_assets.rows.family import (
    FAMILY_RULES,
    FamilyMonth,
    Refined,
    Stats,
    refine_file,
    refine_files,
    rules_digest,
)
from refinery_assets.rows.read import OddHosts
from refinery_assets.warehouse.family_partitions import Partition
from refinery_assets.warehouse.inventory import odd_host_names
from refinery_assets.warehouse.ledger import RunLedger, StepRecord


def build_family(family: Family, settings: Settings, partitions: dg.PartitionsDefinition[str]) -> dg.AssetsDefinition:
    """The asset of one family."""

    @dg.multi_asset(
        name=family.name,
        outs={
            family.name: dg.AssetOut(
                description=f"Daily p95 {family.resource} utilization, standardized: every row of the "
                "month's file with its source line and its fault; short gaps filled, flagged as imputed. "
                f"capacity is in {family.capacity_unit}.",
                group_name="telemetry",
                kinds={"polars", "parquet"},
                metadata={"dagster/column_schema": column_schema(PARTITION_COLUMNS)},
                # The value is a stream of months; what it must hold is up to the IO manager.
                dagster_type=dg.Any,
            )
        },
        deps=[LEGACY_FEED],
        check_specs=check_specs(family.name, FAMILY_RULES, partitions),
        partitions_def=partitions,
        backfill_policy=ONE_RUN,
    )
    def family_asset(context: dg.AssetExecutionContext, warehouse: Warehouse) -> Iterator[Any]:
        months, left_out = months_to_do(context, settings)
        odd_hosts = _odd_hosts(context, warehouse, settings)
        work = _Work(family, settings, ledger_of(context, settings), odd_hosts, force=is_forced(context))
        outputs = silent_outputs(context, value=work.refine(months))
        # The IO manager drains the months before this function goes on, so all are judged and written then.
        yield next(outputs)
        for partition in work.written:
            partition.clear_refusal()
        record = StepRecord(family.name, work.verdicts, left_out)
        yield from conclude(context, warehouse, settings, record, work.good, outputs=outputs)

    return family_asset


def _odd_hosts(context: dg.AssetExecutionContext, warehouse: Warehouse, settings: Settings) -> OddHosts:
    """Ask the inventory once, when a file first makes it necessary."""

    @cache
    def ask() -> frozenset[str]:
        try:
            with warehouse.get_connection(read_only=True) as connection:
                return odd_host_names(connection)
        except WarehouseMissingError:
            # Nothing is published without it; that is for the inventory's checks to say.
            return frozenset()
        except WarehouseHeldError as error:
            raise try_again_or_fail(error, context.retry_number, settings) from error
        except WarehouseUnusableError as error:
            raise dg.Failure(description=str(error), allow_retries=False) from error

    return ask


@dataclass
class _Work:
    """One family's months of a run, refined and judged one by one."""

    family: Family
    settings: Settings
    ledger: RunLedger
    odd_hosts: OddHosts
    force: bool
    verdicts: list[Verdict] = field(default_factory=list)
    good: list[MaterializedMonth] = field(default_factory=list)
    written: list[Partition] = field(default_factory=list)

    def refine(self, months: Sequence[Month]) -> MonthlyFrames:
        """Give the months that are to be written; those that are refused or unchanged are not."""
        entrance = self.ledger.read(LEGACY_FEED)
        refused = refusals(entrance.verdicts) if entrance else {}
        for month in months:
            if month in refused:
                self.verdicts += not_judged(FAMILY_RULES, self.family.name, month, refused[month])
        digests = entrance.digests if entrance else {}
        files = [
            FeedFile(self.settings.feed, self.family, month, self.settings.follow_links)
            for month in months
            if month not in refused
        ]
        refined = refine_files(files, lambda file: self._refine(file, digests.get(file.month, {})))
        for file, future in zip(files, refined, strict=True):
            partition = Partition(self.settings.telemetry, self.family, file.month)
            result: Refined | Stats
            try:
                result = future.result()
            except RefusedFileError as error:
                result = Stats(self.family, file.month, file.name, problem=str(error))
            stats = result.stats if isinstance(result, Refined) else result
            evidence = FamilyMonth(stats, self.settings.quarantine_tolerance)
            found = judge(FAMILY_RULES, self.family.name, file.month, evidence)
            self.verdicts += found
            if failed := [verdict for verdict in found if verdict.failed]:
                with told_if_unwritable(partition.path):
                    partition.mark_refused(failed[0].finding.detail or failed[0].finding.summary)
                continue
            self.good.append(_materialized(stats))
            if isinstance(result, Refined):
                yield result
            self.written.append(partition)

    def _refine(self, file: FeedFile, at_entrance: Mapping[str, str]) -> Refined | Stats:
        """The file refined; the stats alone where the partition is of this very file already."""
        digest = at_entrance.get(self.family.name)
        partition = Partition(self.settings.telemetry, self.family, file.month)
        if digest and not self.force and partition.refusal is None:
            stats = partition.stats()
            odd_hosts = None if stats.odd_hosts is None else self.odd_hosts()
            is_of_this = (stats.digest, stats.rules) == (digest, rules_digest(self.settings, odd_hosts))
            if not stats.problem and is_of_this and partition.is_complete(stats):
                return stats
        refined = refine_file(file, self.settings, self.odd_hosts)
        if digest and refined.stats.digest != digest:
            raise RefusedFileError(
                f"{file.name} was written to while the run was reading it; run the month again when its "
                "export has finished."
            )
        return refined


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
