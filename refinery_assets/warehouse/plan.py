"""The plan: what a run over months would do, found by doing it on copies.

A private copy of the warehouse and a folder of its own for partitions take the place of the real ones; the work is
that of a run, by the same functions, so that the plan is what a run over the same files then does. Both go at
the end. Nothing is recorded in Dagster.

Here: the order of the steps without Dagster. Not here: any of the work itself.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from refinery_assets.checks.rules import Verdict, judge
from refinery_assets.contract.families import LEGACY_FEED, PROCESSED_DATA
from refinery_assets.contract.lake import Lake
from refinery_assets.contract.months import Month
from refinery_assets.contract.settings import Settings
from refinery_assets.feed.files import feed_extent
from refinery_assets.rows.source_checks import ENTRANCE_RULES, inspect_feed, months_asked
from refinery_assets.warehouse.family_months import FamilyMonths
from refinery_assets.warehouse.family_partitions import Partition, partitions
from refinery_assets.warehouse.gate import RunSoFar
from refinery_assets.warehouse.inventory import InventoryFacts, odd_host_names
from refinery_assets.warehouse.ledger import StepRecord
from refinery_assets.warehouse.month_state import MonthResult, refuse_all
from refinery_assets.warehouse.publish import publish
from refinery_assets.warehouse.snapshot import copy_warehouse
from refinery_assets.warehouse.storage import WarehouseMissingError, ensure_warehouse, open_warehouse

_NOT_A_RUN = "plan"


@dataclass(frozen=True)
class Plan:
    """What a run would do.

    Attributes:
        results: What would become of each month, months in order.
        left_out: Months of which the feed holds nothing yet.
        compared_with: The file or the lake that the months were compared with; None without a warehouse.
    """

    results: dict[Month, MonthResult] = field(default_factory=dict)
    left_out: Sequence[Month] = ()
    compared_with: Path | Lake | None = None


def make_plan(
    settings: Settings,
    spans: Iterable[Sequence[Month]],
    *,
    force: bool = False,
    on_step: Callable[[str], None] = lambda _: None,
) -> Plan:
    """Find out what runs over `spans` would do, one after the other.

    Args:
        settings: Those of the run.
        spans: The months of each run.
        force: Whether months would be written although nothing has changed.
        on_step: Called with the name of each step when it begins.

    Raises:
        WarehouseHeldError: The warehouse is written to, and there is no read copy.
        WarehouseUnusableError: The warehouse, or its copy, cannot be used.
        ForeignTableError: A table with one of the refinery's names has other columns.
        OSError: There is no room for the copies.
        StoreError: The feed or the partitions lie in an object store that cannot be reached.
    """
    asked = list(spans)
    with tempfile.TemporaryDirectory(prefix="refinery-plan-") as folder:
        copies = replace(
            settings,
            warehouse=Path(folder) / "warehouse.duckdb",
            telemetry=Path(folder) / "telemetry",
            read_copy=None,
            lake=None,
        )
        compared_with: Path | Lake | None = None
        missing: str | None = None
        try:
            compared_with = copy_warehouse(settings, copies.warehouse, [month for span in asked for month in span])
        except WarehouseMissingError as error:
            if settings.contract.inventory.is_file:
                # As a run makes it.
                ensure_warehouse(copies.warehouse)
            else:
                missing = str(error).rstrip(".")
        results: dict[Month, MonthResult] = {}
        left_out: list[Month] = []
        for span in asked:
            found, not_yet = _rehearse(settings, copies, span, missing, force=force, on_step=on_step)
            results |= found
            left_out += not_yet
    return Plan(dict(sorted(results.items())), left_out, compared_with)


def _rehearse(  # noqa: PLR0913 - what a run is made of
    settings: Settings,
    copies: Settings,
    asked: Sequence[Month],
    missing: str | None,
    *,
    force: bool,
    on_step: Callable[[str], None],
) -> tuple[dict[Month, MonthResult], list[Month]]:
    """One run's steps on the copies; `missing` says why there is no warehouse."""
    extent, today = feed_extent(settings), settings.today
    months, left_out = months_asked(asked, extent)
    on_step(LEGACY_FEED)
    verdicts: list[Verdict] = []
    digests = {}
    for feed in inspect_feed(copies, months, extent, today):
        verdicts += judge(ENTRANCE_RULES, LEGACY_FEED, feed.month, feed)
        digests[feed.month] = feed.digests
    entrance = StepRecord(LEGACY_FEED, verdicts, left_out, digests)
    records = {LEGACY_FEED: entrance}
    _take_along(settings, copies, months)
    odd_hosts: frozenset[str] = frozenset()
    memory = {"memory_limit": f"{settings.memory_mib}MiB"}
    if missing is None:
        with open_warehouse(copies.warehouse, read_only=False, wait_seconds=0.0, config=memory) as connection:
            odd_hosts = odd_host_names(connection, settings.contract)
    for family in settings.contract.families:
        on_step(family.name)
        work = FamilyMonths(family, copies, entrance, lambda: odd_hosts, Partition.mark_refused, force=force)
        for refined in work.refine(months):
            Partition(copies.telemetry, family, refined.stats.month).write(refined)
        records[family.name] = StepRecord(family.name, work.verdicts, left_out)
    run = RunSoFar(_NOT_A_RUN, extent, today, records, force)
    if missing is not None:
        return refuse_all(months, run, InventoryFacts.unavailable(settings, missing), settings.contract), left_out
    on_step(PROCESSED_DATA)
    with open_warehouse(copies.warehouse, read_only=False, wait_seconds=0.0, config=memory) as connection:
        return publish(connection, months, copies, run), left_out


def _take_along(settings: Settings, copies: Settings, months: Sequence[Month]) -> None:
    """Let the copies have the partitions that are there, so that what has not changed need not be refined again."""
    there = partitions(settings, months)
    for real, copy in zip(there, partitions(copies, months), strict=True):
        # A partition that is written anew takes the place of a link, not of what it leads to.
        real.store.lay_out(real.name, copy.path)
        real.store.lay_out(real.series_name, copy.series_path)
