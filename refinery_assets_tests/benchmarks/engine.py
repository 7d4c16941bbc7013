"""The data work of a full run without Dagster: read, verdicts, Parquet, publish, audit.

    python -m refinery_assets_tests.benchmarks.engine FIRST LAST [SECONDS]

Takes the settings from the environment, as the refinery does; the warehouse may be a lake. SECONDS is a file, into
which go the seconds of each stage, as JSON.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from refinery_assets.checks.rules import Verdict, judge
from refinery_assets.contract.families import HOST_INVENTORY, LEGACY_FEED, Family
from refinery_assets.contract.months import Month
from refinery_assets.contract.packaged import FAMILIES
from refinery_assets.contract.settings import Settings
from refinery_assets.feed.files import FeedExtent, FeedFile, feed_extent
from refinery_assets.rows.family import refine_file, refine_files
from refinery_assets.rows.family_checks import FAMILY_RULES, FamilyMonth
from refinery_assets.rows.source_checks import ENTRANCE_RULES, inspect_feed
from refinery_assets.warehouse.family_partitions import Partition
from refinery_assets.warehouse.gate import RunSoFar
from refinery_assets.warehouse.inventory import inspect_inventory
from refinery_assets.warehouse.inventory_checks import INVENTORY_RULES
from refinery_assets.warehouse.lake_files import write_lake_file
from refinery_assets.warehouse.lake_writers import publish_in_turn
from refinery_assets.warehouse.ledger import StepRecord
from refinery_assets.warehouse.month_state import MonthResult
from refinery_assets.warehouse.publish import publish
from refinery_assets.warehouse.storage import open_warehouse

INSERT_VARIABLE = "BENCH_LAKE_BY_INSERT"
"""Where it is set, a lake gets no files from the families, so that publishing inserts the rows."""

_RUN = "engine"
_WAIT_SECONDS = 60.0


class RefusedError(Exception):
    """The feed did not pass; nothing would be measured."""


def refine(
    settings: Settings, months: list[Month], seconds: dict[str, float] | None = None
) -> dict[Month, MonthResult]:
    """Do what the assets do, in their order.

    Args:
        settings: The settings.
        months: Which months.
        seconds: Filled with the seconds of each stage: `entrance`, `families`, `publish`.

    Raises:
        RefusedError: A verdict failed.
    """
    clock = {} if seconds is None else seconds
    with _timed(clock, "entrance"):
        extent = feed_extent(settings)
        records = [_entrance(settings, months, extent)]
    with _timed(clock, "families"):
        records += [_family(settings, family, months) for family in FAMILIES]
    with _timed(clock, "publish"):
        results = _publish(settings, months, extent, records)
    _demand(verdict for result in results.values() for verdict in result.verdicts)
    return results


@contextmanager
def _timed(clock: dict[str, float], stage: str) -> Iterator[None]:
    start = time.perf_counter()
    yield
    clock[stage] = time.perf_counter() - start


def _publish(
    settings: Settings, months: list[Month], extent: FeedExtent, records: list[StepRecord]
) -> dict[Month, MonthResult]:
    config = {"memory_limit": f"{settings.memory_mib}MiB"}
    with open_warehouse(settings.place, read_only=False, wait_seconds=_WAIT_SECONDS, config=config) as connection:
        facts = inspect_inventory(connection, settings)
        verdicts = [verdict for month in months for verdict in judge(INVENTORY_RULES, HOST_INVENTORY, month, facts)]
        records = [*records, _passed(HOST_INVENTORY, verdicts)]
        run = RunSoFar(_RUN, extent, settings.today, {record.asset: record for record in records})
        return publish_in_turn(
            connection,
            settings.place,
            months,
            lambda still_locked: publish(connection, months, settings, run, still_locked),
            wait_seconds=_WAIT_SECONDS,
            warn=print,
        )


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
    into_lake = settings.lake and INSERT_VARIABLE not in os.environ
    for future in refine_files(files, lambda file: refine_file(file, settings)):
        refined = future.result()
        evidence = FamilyMonth(refined.stats, settings.quarantine_tolerance)
        verdicts += judge(FAMILY_RULES, family.name, refined.stats.month, evidence)
        lake_file = write_lake_file(settings.lake_data, refined, _RUN) if into_lake else None
        Partition(settings.telemetry, family, refined.stats.month).write(refined, lake_file)
    return _passed(family.name, verdicts)


def _passed(
    asset: str, verdicts: list[Verdict], digests: Mapping[Month, Mapping[str, str]] | None = None
) -> StepRecord:
    _demand(verdicts)
    return StepRecord(asset, verdicts, digests=digests or {})


def _demand(verdicts: Iterable[Verdict]) -> None:
    if failed := [verdict.sentence for verdict in verdicts if verdict.failed]:
        raise RefusedError(*failed)


if __name__ == "__main__":
    first, last = (Month.parse(text) for text in sys.argv[1:3])
    taken: dict[str, float] = {}
    published = refine(Settings.from_environment(os.environ), list(Month.span(first, last)), taken)
    for file in sys.argv[3:]:
        Path(file).write_text(json.dumps(taken), encoding="utf-8")
    rows = sum(result.receipt.rows for result in published.values() if result.receipt)
    sys.stdout.write(f"{rows} rows\n")
