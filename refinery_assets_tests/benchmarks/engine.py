"""The data work of a full run without Dagster: read, verdicts, Parquet, publish, audit.

    python -m refinery_assets_tests.benchmarks.engine FIRST LAST

Takes the settings from the environment, as the refinery does.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

import duckdb
import polars as pl

from refinery_assets.checks.rules import Verdict, judge
from refinery_assets.contract.families import HOST_INVENTORY, LEGACY_FEED, Family
from refinery_assets.contract.months import Month
from refinery_assets.contract.packaged import FAMILIES
from refinery_assets.contract.places import Place
from refinery_assets.contract.settings import Settings
from refinery_assets.feed.atomic_write import atomic_path
from refinery_assets.feed.files import FeedExtent, FeedFile, feed_extent
from refinery_assets.rows.family import Refined, refine_file, refine_files
from refinery_assets.rows.family_checks import FAMILY_RULES, FamilyMonth
from refinery_assets.rows.source_checks import ENTRANCE_RULES, inspect_feed
from refinery_assets.warehouse.family_partitions import STATS_KEY, Partition
from refinery_assets.warehouse.gate import RunSoFar
from refinery_assets.warehouse.inventory import inspect_inventory
from refinery_assets.warehouse.inventory_checks import INVENTORY_RULES
from refinery_assets.warehouse.ledger import StepRecord
from refinery_assets.warehouse.month_state import MonthResult
from refinery_assets.warehouse.publish import publish


class RefusedError(Exception):
    """The feed did not pass; nothing would be measured."""


def refine(settings: Settings, months: list[Month]) -> dict[Month, MonthResult]:
    """Do what the assets do, in their order.

    Raises:
        RefusedError: A verdict failed.
    """
    extent = feed_extent(settings)
    records = [_entrance(settings, months, extent), *(_family(settings, family, months) for family in FAMILIES)]
    with duckdb.connect(settings.warehouse, config={"memory_limit": f"{settings.memory_mib}MiB"}) as connection:
        facts = inspect_inventory(connection, settings)
        verdicts = [verdict for month in months for verdict in judge(INVENTORY_RULES, HOST_INVENTORY, month, facts)]
        records.append(_passed(HOST_INVENTORY, verdicts))
        run = RunSoFar("engine", extent, settings.today, {record.asset: record for record in records})
        results = publish(connection, months, settings, run)
    _demand(verdict for result in results.values() for verdict in result.verdicts)
    return results


def _entrance(settings: Settings, months: list[Month], extent: FeedExtent) -> StepRecord:
    verdicts: list[Verdict] = []
    digests = {}
    for feed in inspect_feed(settings, months, extent, settings.today):
        verdicts += judge(ENTRANCE_RULES, LEGACY_FEED, feed.month, feed)
        digests[feed.month] = feed.digests
    return _passed(LEGACY_FEED, verdicts, digests)


def _family(settings: Settings, family: Family, months: list[Month]) -> StepRecord:
    verdicts: list[Verdict] = []
    files = [FeedFile(settings.feed, family, month) for month in months]
    for future in refine_files(files, lambda file: refine_file(file, settings)):
        refined = future.result()
        evidence = FamilyMonth(refined.stats, settings.quarantine_tolerance)
        verdicts += judge(FAMILY_RULES, family.name, refined.stats.month, evidence)
        _write(refined, settings.telemetry)
    return _passed(family.name, verdicts)


def _write(refined: Refined, telemetry: Place) -> None:
    """Write both files as the IO manager does."""
    stats = refined.stats
    partition = Partition(telemetry, stats.family, stats.month)
    frames: Mapping[Path, pl.DataFrame] = {partition.series_path: refined.series, partition.path: refined.partition}
    for path, frame in frames.items():
        with atomic_path(path) as temporary:
            frame.write_parquet(temporary, compression="snappy", metadata={STATS_KEY: stats.as_json()})


def _passed(
    asset: str, verdicts: list[Verdict], digests: Mapping[Month, Mapping[str, str]] | None = None
) -> StepRecord:
    _demand(verdicts)
    return StepRecord(asset, verdicts, digests=digests or {})


def _demand(verdicts: Iterable[Verdict]) -> None:
    if failed := [verdict.sentence for verdict in verdicts if verdict.failed]:
        raise RefusedError(*failed)


if __name__ == "__main__":
    first, last = (Month.parse(text) for text in sys.argv[1:])
    published = refine(Settings.from_environment(os.environ), list(Month.span(first, last)))
    rows = sum(result.receipt.rows for result in published.values() if result.receipt)
    sys.stdout.write(f"{rows} rows\n")
