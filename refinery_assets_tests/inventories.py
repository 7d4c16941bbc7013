"""Inventories of a team's own, and publishing against them without Dagster.

Here: contracts with another `[inventory]` than the packaged one, and the steps of a run as plain calls. Not here:
anything that asserts.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import duckdb

from refinery_assets.checks.rules import Verdict, judge
from refinery_assets.contract.contract_file import PACKAGED_FILE, Contract, load_contract
from refinery_assets.contract.families import HOST_INVENTORY
from refinery_assets.contract.months import Month
from refinery_assets.contract.settings import Settings
from refinery_assets.feed.files import feed_extent, feed_file
from refinery_assets.rows.family import refine_file
from refinery_assets.warehouse.family_partitions import Partition
from refinery_assets.warehouse.gate import RunSoFar
from refinery_assets.warehouse.inventory import inspect_inventory
from refinery_assets.warehouse.inventory_checks import INVENTORY_RULES
from refinery_assets.warehouse.month_state import MonthResult
from refinery_assets.warehouse.publish import publish


def contract_with(folder: Path, inventory: str, behaviors: str = "") -> Contract:
    """The packaged contract in a file of its own in `folder`, with these sections instead."""
    text = PACKAGED_FILE.read_text(encoding="utf-8")
    families = re.split(r"^\[inventory\]$", text, flags=re.MULTILINE)[0]
    path = folder / "contract.toml"
    path.write_text(f"{families}\n[inventory]\n{inventory}\n[behaviors]\n{behaviors}\n", encoding="utf-8")
    return load_contract(path)


def settings_with(settings: Settings, contract: Contract) -> Settings:
    """Settings by the contract, as the environment gives them."""
    return replace(settings, contract=contract, behaviors=contract.behaviors.expected)


def judge_inventory(connection: duckdb.DuckDBPyConnection, settings: Settings) -> dict[str, Verdict]:
    """What the inventory's rules say, by check."""
    facts = inspect_inventory(connection, settings)
    return {verdict.check: verdict for verdict in judge(INVENTORY_RULES, HOST_INVENTORY, Month(2024, 1), facts)}


def publish_months(settings: Settings, *months: Month, run_id: str = "a run") -> dict[Month, MonthResult]:
    """Refine the files of the months, and publish them; `audits` has what a run says of a month once."""
    for month in months:
        for family in settings.contract.families:
            refined = refine_file(feed_file(settings, family, month), settings)
            Partition(settings.telemetry, family, month).write(refined)
    with duckdb.connect(settings.warehouse) as connection:
        return publish(connection, months, settings, RunSoFar(run_id, feed_extent(settings), settings.today))


def verdict_of(result: MonthResult, check: str) -> Verdict:
    """What a check says of the month."""
    (found,) = [verdict for verdict in result.verdicts if verdict.check == check]
    return found
