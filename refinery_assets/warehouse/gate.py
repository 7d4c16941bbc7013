"""What must hold before months may even be written: the inventory, and the families' partitions.

Here: holding partitions to the rules that the feed was held to, whichever steps a run left out. Not here:
those rules themselves (`inventory.py`, `entrance.py`, `family.py`), and the exit rules (`audit.py`).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field

import duckdb

from refinery_assets.checks.rules import outcome, verdicts
from refinery_assets.contract.families import FAMILIES, HOST_INVENTORY, LEGACY_FEED
from refinery_assets.contract.months import Month
from refinery_assets.contract.settings import Settings
from refinery_assets.rows.family import excess_quarantine
from refinery_assets.rows.source_checks import FamilyExtent, family_disagreements
from refinery_assets.warehouse.audits import AuditRow, audit_rows
from refinery_assets.warehouse.facts import SourceFacts
from refinery_assets.warehouse.family_partitions import (
    Partition,
    damaged_partitions,
    name_partitions,
    source_facts,
)
from refinery_assets.warehouse.inventory import INVENTORY_RULES, inspect_inventory


@dataclass
class Gate:
    """What the gate found.

    Attributes:
        refusals: Why the months may not be written, as sentences; empty when they may.
        audits: What each rule said of each month.
        sources: What the partitions hold, by month and resource.
    """

    refusals: list[str] = field(default_factory=list)
    audits: list[AuditRow] = field(default_factory=list)
    sources: dict[tuple[str, str], SourceFacts] = field(default_factory=dict)


def judge_before_writing(
    connection: duckdb.DuckDBPyConnection,
    files: Sequence[Partition],
    months: Sequence[Month],
    settings: Settings,
) -> Gate:
    """Judge the inventory and the partitions of `months`; names the partitions in `audit_partitions`."""
    gate = Gate()
    inventory = verdicts(INVENTORY_RULES, inspect_inventory(connection, settings.behaviors))
    gate.refusals += [f"{HOST_INVENTORY}: {verdict.sentence}" for verdict in inventory if verdict.failed]
    gate.audits += audit_rows(HOST_INVENTORY, inventory, months)
    for file in files:
        if not file.path.exists():
            gate.refusals.append(f"{file.family.name} has no partition {file.month}: materialize it first")
            _note(gate, file.family.name, "rows_accounted_for", file.month, {"partitions": 0}, failed=True)
    if gate.refusals:
        return gate
    name_partitions(connection, files)
    try:
        gate.sources = source_facts(connection, files)
    except duckdb.Error:
        damaged = damaged_partitions(files)
        if not damaged:
            raise
        for file, sentence in damaged.items():
            gate.refusals.append(sentence)
            _note(gate, file.family.name, "rows_accounted_for", file.month, {"partitions": 0}, failed=True)
        return gate
    for file in files:
        _judge_quarantine(gate, file, settings)
    for month in months:
        _judge_completeness(gate, month, settings)
    return gate


def _judge_quarantine(gate: Gate, file: Partition, settings: Settings) -> None:
    source = gate.sources.get((str(file.month), file.family.resource), SourceFacts())
    failed = excess_quarantine(source.quarantined, source.file_rows, settings.quarantine_tolerance)
    check = "quarantine_within_tolerance"
    if failed:
        gate.refusals.append(
            f"{file.family.name} {file.month}: {check}: {source.quarantined} of {source.file_rows} rows are "
            "quarantined"
        )
    counts = {"rows": source.file_rows, "quarantined": source.quarantined}
    _note(gate, file.family.name, check, file.month, counts, failed=failed, warned=bool(source.quarantined))


def _judge_completeness(gate: Gate, month: Month, settings: Settings) -> None:
    sources = {family: gate.sources.get((str(month), family.resource), SourceFacts()) for family in FAMILIES}
    extents = [
        FamilyExtent(family, source.file_rows, source.newest_day) for family, source in sources.items()
    ]
    unfinished, uneven = family_disagreements(extents, settings.family_skew)
    check = "fragmentation_complete"
    gate.refusals += [f"{LEGACY_FEED} {month}: {check}: {text}" for text in unfinished]
    counts = {family.name: source.file_rows for family, source in sources.items()}
    _note(gate, LEGACY_FEED, check, month, counts, failed=bool(unfinished), warned=bool(uneven))


def _note(  # noqa: PLR0913 - one argument per column
    gate: Gate,
    asset: str,
    check: str,
    month: Month,
    counts: dict[str, int],
    *,
    failed: bool,
    warned: bool = False,
) -> None:
    came_out = outcome(failed=failed, warned=warned)
    gate.audits.append(AuditRow(str(month), asset, check, came_out, json.dumps(counts)))
