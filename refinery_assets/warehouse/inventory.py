"""The host inventory: facts about the table `hosts`, and the three rules of `host_inventory`.

Here: whether the inventory is there and fit to hold readings against. Not here: making or changing it;
the table belongs to another system, and the refinery only reads it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import duckdb

from refinery_assets.checks.rules import Finding, Rule, counted, listing, outcome
from refinery_assets.contract.columns import HOSTS
from refinery_assets.contract.contract_file import Contract
from refinery_assets.contract.families import Behavior
from refinery_assets.contract.settings import Settings
from refinery_assets.warehouse.tables import column_types

NEEDED_COLUMNS = ("node_name", "scenario", "variant")


@dataclass(frozen=True)
class InventoryFacts:
    """What is known of the inventory.

    Attributes:
        expected_behaviors: How many behaviors it must hold.
        named_behaviors: Those that it must hold by name.
        problem: Why there is no inventory to look at, as a sentence; None when there is one.
        hosts: Its rows.
        unnamed: Rows without a `node_name`.
        repeated: How often each name stands that stands more than once, without regard to case.
        behaviors: Hosts per behavior, in upper case; hosts without scenario or variant are left out.
    """

    expected_behaviors: int
    named_behaviors: Sequence[Behavior] = ()
    problem: str | None = None
    hosts: int = 0
    unnamed: int = 0
    repeated: Mapping[str, int] = field(default_factory=dict)
    behaviors: Mapping[Behavior, int] = field(default_factory=dict)

    @classmethod
    def unavailable(cls, settings: Settings, problem: str) -> InventoryFacts:
        """What is known of an inventory that cannot be looked at, for a reason given as a sentence."""
        return cls(settings.behaviors, _named(settings), problem)

    @property
    def missing_behaviors(self) -> Sequence[Behavior]:
        """The behaviors that are expected by name and that no host has."""
        return [behavior for behavior in self.named_behaviors if behavior not in self.behaviors]


def _named(settings: Settings) -> Sequence[Behavior]:
    """The behaviors to expect by name; a number that the environment asks for instead has no names to miss."""
    names = settings.contract.behaviors.names
    return names if settings.behaviors == len(names) else ()


def inspect_inventory(connection: duckdb.DuckDBPyConnection, settings: Settings) -> InventoryFacts:
    """Look at the table `hosts`; what is wrong is in the facts, not raised."""
    columns = {name.lower() for name in column_types(connection, HOSTS.name)}
    if not columns:
        return InventoryFacts.unavailable(settings, "the warehouse has no table hosts")
    if missing := [column for column in NEEDED_COLUMNS if column not in columns]:
        return InventoryFacts.unavailable(settings, f"the table hosts lacks {', '.join(missing)}")
    hosts, unnamed = _one(
        connection, "SELECT count(*), count(*) FILTER (node_name IS NULL OR trim(node_name) = '') FROM hosts"
    )
    repeated = connection.execute(
        "SELECT lower(node_name), count(*) FROM hosts WHERE node_name IS NOT NULL "
        "GROUP BY 1 HAVING count(*) > 1 ORDER BY 1"
    ).fetchall()
    behaviors = connection.execute(
        "SELECT upper(trim(scenario)), upper(trim(variant)), count(*) FROM hosts "
        "WHERE scenario IS NOT NULL AND variant IS NOT NULL GROUP BY 1, 2 ORDER BY 1, 2"
    ).fetchall()
    return InventoryFacts(
        settings.behaviors,
        _named(settings),
        problem=None if hosts else "the table hosts has no rows",
        hosts=hosts,
        unnamed=unnamed,
        repeated=dict(repeated),
        behaviors={Behavior(scenario, variant): count for scenario, variant, count in behaviors},
    )


def odd_host_names(connection: duckdb.DuckDBPyConnection, contract: Contract) -> frozenset[str]:
    """Names that exports write for an absent host, and that hosts of the inventory really have; in lower case."""
    if NEEDED_COLUMNS[0] not in {name.lower() for name in column_types(connection, HOSTS.name)}:
        return frozenset()
    named = connection.execute(
        "SELECT DISTINCT lower(node_name) FROM hosts WHERE list_contains($absent, lower(node_name))",
        {"absent": sorted({text for family in contract.families for text in family.absent if text})},
    )
    return frozenset(name for (name,) in named.fetchall())


def _one(connection: duckdb.DuckDBPyConnection, query: str) -> tuple[int, ...]:
    return tuple(connection.execute(query).fetchall()[0])


def _inventory_initialized(facts: InventoryFacts) -> Finding:
    summary = f"{counted(facts.hosts, 'host')} in the inventory" if facts.problem is None else facts.problem
    return Finding(outcome(failed=facts.problem is not None), f"{summary}.", {"hosts": facts.hosts})


def _host_names_unique(facts: InventoryFacts) -> Finding:
    surplus = sum(count - 1 for count in facts.repeated.values())
    summary = (
        f"{counted(facts.hosts, 'host')}, {facts.unnamed} without a name, "
        f"{counted(surplus, 'row repeats', 'rows repeat')} a name"
    )
    if facts.problem is not None:
        summary = f"there are no names to compare: {facts.problem}"
    return Finding(
        outcome(failed=bool(facts.problem or facts.unnamed or facts.repeated)),
        f"{summary}.",
        {"hosts": facts.hosts, "unnamed": facts.unnamed, "repeated": surplus},
        offenders=[{"node_name": name, "times": times} for name, times in facts.repeated.items()],
        detail=f"Repeated: {listing(facts.repeated)}." if facts.repeated else "",
    )


def _behaviors_complete(facts: InventoryFacts) -> Finding:
    missing = facts.missing_behaviors
    summary = f"{counted(len(facts.behaviors), 'behavior')}, {facts.expected_behaviors} expected"
    if missing:
        summary += f"; no host has {listing(missing, len(missing))}"
    return Finding(
        outcome(failed=bool(missing) or len(facts.behaviors) < facts.expected_behaviors),
        f"{summary}.",
        {"behaviors": len(facts.behaviors), "expected": facts.expected_behaviors},
        offenders=[{"missing": str(behavior)} for behavior in missing],
        tables={
            "behaviors": [{"behavior": str(behavior), "hosts": count} for behavior, count in facts.behaviors.items()]
        },
    )


INVENTORY_RULES: tuple[Rule[InventoryFacts], ...] = (
    Rule(
        "inventory_initialized",
        "Fails when the warehouse has no table hosts, or the table has no rows.",
        "Load the inventory into the table hosts of the warehouse (REFINERY_WAREHOUSE) and run again.",
        _inventory_initialized,
    ),
    Rule(
        "host_names_unique",
        "Fails when a node_name is null or stands more than once, also without regard to case.",
        "Correct the names in the table hosts, so that each host stands once, and run again.",
        _host_names_unique,
    ),
    Rule(
        "behaviors_complete",
        "Fails when the inventory holds fewer behaviors than the contract or REFINERY_BEHAVIORS asks for, or "
        "lacks one that the contract names.",
        "Complete scenario and variant in the table hosts, or set REFINERY_BEHAVIORS to the number of your "
        "own classes, and run again.",
        _behaviors_complete,
    ),
)
