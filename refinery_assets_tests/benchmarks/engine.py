"""The data work of a full run without Dagster: read, verdicts, Parquet, publish, audit.

    python -m refinery_assets_tests.benchmarks.engine FIRST LAST

Takes the settings from the environment, as the refinery does.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

import duckdb

from refinery_assets.checks.rules import Verdict, verdicts
from refinery_assets.contract.families import FAMILIES
from refinery_assets.contract.months import Month
from refinery_assets.contract.settings import Settings
from refinery_assets.feed.atomic_write import atomic_path
from refinery_assets.feed.files import FeedFile
from refinery_assets.rows.family import FAMILY_RULES, FamilyEvidence, Tally, refine_files
from refinery_assets.rows.source_checks import ENTRANCE_RULES, inspect_feed
from refinery_assets.warehouse.family_partitions import Partition
from refinery_assets.warehouse.inventory import INVENTORY_RULES, inspect_inventory
from refinery_assets.warehouse.publish import Publication, publish


class RefusedError(Exception):
    """The feed did not pass; nothing would be measured."""


def refine(settings: Settings, months: list[Month]) -> Publication:
    """Do what the assets do, in their order.

    Raises:
        RefusedError: A verdict failed.
    """
    _demand(verdicts(ENTRANCE_RULES, inspect_feed(settings.feed, months, settings.family_skew)))
    for family in FAMILIES:
        tallies: list[Tally] = []
        for refined in refine_files([FeedFile(settings.feed, family, month) for month in months], settings):
            frame, tally = refined.result()
            path = Partition(settings.telemetry, family, tally.file.month).path
            with atomic_path(path) as temporary:
                frame.write_parquet(temporary, compression="snappy", statistics=False)
            tallies.append(tally)
        _demand(verdicts(FAMILY_RULES, FamilyEvidence(tallies, settings.quarantine_tolerance)))
    with duckdb.connect(
        settings.warehouse, config={"memory_limit": f"{settings.memory_mib}MiB"}
    ) as connection:
        _demand(verdicts(INVENTORY_RULES, inspect_inventory(connection, settings.behaviors)))
        publication = publish(connection, months, settings, "engine")
    _demand(publication.verdicts)
    return publication


def _demand(found: Sequence[Verdict]) -> None:
    if failed := [verdict.sentence for verdict in found if verdict.failed]:
        raise RefusedError(*failed)


if __name__ == "__main__":
    first, last = (Month.parse(text) for text in sys.argv[1:])
    published = refine(Settings.from_environment(os.environ), list(Month.span(first, last)))
    if published.problems:
        raise RefusedError(*published.problems)
    sys.stdout.write(f"{published.table_rows} rows\n")
