"""The rules that the inventory must pass, the same for every month.

Not here: looking at the inventory (`inventory.py`).
"""

from __future__ import annotations

from collections.abc import Iterable

from refinery_assets.checks.rules import Cell, Finding, Outcome, Row, Rule, counted, listing, outcome
from refinery_assets.warehouse.inventory import InventoryFacts


def _inventory_initialized(facts: InventoryFacts) -> Finding:
    summary = f"{counted(facts.hosts, 'host')} in the inventory" if facts.problem is None else facts.problem
    recovery = f"See to {facts.source}: have the list of hosts exported there, or correct [inventory], and run again."
    return Finding(
        outcome(failed=facts.problem is not None),
        f"{summary}.",
        {"hosts": facts.hosts},
        facts.there,
        recovery=recovery if facts.source else None,
    )


def _host_names_unique(facts: InventoryFacts) -> Finding:
    surplus = sum(count - 1 for count in facts.repeated.values())
    parts = [
        counted(facts.hosts, "host"),
        f"{facts.unnamed:,} without a name",
        counted(surplus, "row repeats", "rows repeat") + " a name",
    ]
    counts: dict[str, Cell] = {"hosts": facts.hosts, "unnamed": facts.unnamed, "repeated": surplus}
    if facts.overlapping:
        parts[-1] = f"{counted(surplus, 'period overlaps', 'periods overlap')} the next one of the host"
    of_periods = {
        "reversed": (facts.reversed, "period ends", "periods end", "before it begins"),
        "bad_days": (facts.bad_days, "row has", "rows have", "no day for its begin or end"),
        "respelled": (len(facts.respelled), "host is", "hosts are", "not spelled alike in all periods"),
    }
    for name, (number, one, many, what) in of_periods.items():
        if number:
            parts.append(f"{counted(number, one, many)} {what}")
            counts[name] = number
    summary = ", ".join(parts)
    if facts.problem is not None:
        summary = f"there are no names to compare: {facts.problem}"
    details = {
        "Repeated": facts.repeated,
        "Spelled in several ways": facts.respelled,
        "No day": _sentences_of_bad_days(facts),
    }
    return Finding(
        outcome(failed=bool(facts.problem or any(list(counts.values())[1:]))),
        f"{summary}.",
        counts,
        # Periods overlap for nothing else where a day is not read.
        offenders=facts.bad_day_sample
        or facts.overlapping
        or [{"node_name": name, "times": times} for name, times in facts.repeated.items()],
        detail=" ".join(f"{what}: {listing(names)}." for what, names in details.items() if names),
        recovery=_recovery_of_names(facts),
    )


_SEE_INVENTORY = "See inventory_initialized."


def _sentences_of_bad_days(facts: InventoryFacts) -> list[str]:
    """The texts that are no days, each once, with the column and the first line that they stand in."""
    told = {
        (row["column"], row["text"]): f"{row['text']!r} ({row['source']}{_line(row)}, {row['column']})"
        for row in facts.bad_day_sample
    }
    return list(told.values())


def _line(row: Row) -> str:
    return f", line {row['line']}" if row["line"] else ""


def _recovery_of_names(facts: InventoryFacts) -> str | None:
    if facts.problem is not None:
        return _SEE_INVENTORY
    if facts.bad_days:
        place = facts.source or "the inventory"
        text = f"Write the days named as {_either(facts.declared_days)} in {place}"
        if facts.possible_days:
            formats = _either(f'date_format = "{each}"' for each in facts.possible_days)
            text += f", or set {formats} under [inventory] of the contract, as which they read"
        return f"{text}, and run again."
    if not facts.source:
        return None
    return f"Correct names and periods in {facts.source}, so that each host stands once for each day, and run again."


def _either(texts: Iterable[str]) -> str:
    return " or ".join(texts)


def _behaviors_complete(facts: InventoryFacts) -> Finding:
    counts: dict[str, Cell] = {"behaviors": len(facts.behaviors), "expected": facts.expected_behaviors}
    if not facts.has_behaviors and not facts.expected_behaviors:
        return Finding(Outcome.PASSED, "The contract names no column of behaviors, so there is none to expect.", counts)
    missing = facts.missing_behaviors
    summary = f"{counted(len(facts.behaviors), 'behavior')}, {facts.expected_behaviors} expected"
    if missing:
        summary += f"; no host has {listing(missing, len(missing))}"
    return Finding(
        outcome(failed=bool(missing) or len(facts.behaviors) < facts.expected_behaviors),
        f"{summary}.",
        counts,
        offenders=[{"missing": str(behavior)} for behavior in missing],
        tables={"behaviors": [{"behavior": behavior, "hosts": count} for behavior, count in facts.behaviors.items()]},
        recovery=_SEE_INVENTORY if facts.problem is not None else None,
    )


INVENTORY_RULES: tuple[Rule[InventoryFacts], ...] = (
    Rule(
        "inventory_initialized",
        "Fails when the inventory (the table hosts, or what the contract names) is not there, cannot be read, lacks a "
        "column or has no rows.",
        "Load the inventory into the table hosts of the warehouse (REFINERY_WAREHOUSE), or see to [inventory] in the "
        "contract (REFINERY_CONTRACT), and run again.",
        _inventory_initialized,
    ),
    Rule(
        "host_names_unique",
        "Fails when a host has no name or stands more than once for a day, also without regard to case: in rows "
        "without valid_from and valid_to, or with periods that overlap; or when a period does not end after it begins.",
        "Correct names and periods in the inventory, so that each host stands once for each day, and run again.",
        _host_names_unique,
    ),
    Rule(
        "behaviors_complete",
        "Fails when the inventory holds fewer behaviors than the contract or REFINERY_BEHAVIORS asks for, or "
        "lacks one that the contract names.",
        "Complete the behaviors in the inventory (scenario and variant of hosts), or set REFINERY_BEHAVIORS to the "
        "number of your own classes, and run again.",
        _behaviors_complete,
    ),
)
