"""What became of each month that was to be published, and the verdicts that a month must have.

Here: the states, and the result of a month that is refused. Not here: how it comes about (`candidates.py`,
`publish.py`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from refinery_assets.checks.rules import Rule, Verdict, judge, not_judged
from refinery_assets.contract.contract_file import Contract
from refinery_assets.contract.families import HOST_INVENTORY, LEGACY_FEED, PROCESSED_DATA
from refinery_assets.contract.months import Month
from refinery_assets.rows.family_checks import FAMILY_RULES
from refinery_assets.rows.source_checks import ENTRANCE_RULES
from refinery_assets.warehouse.differences import Difference
from refinery_assets.warehouse.gate import RunSoFar, merge
from refinery_assets.warehouse.inventory import InventoryFacts
from refinery_assets.warehouse.inventory_checks import INVENTORY_RULES
from refinery_assets.warehouse.own_rules import publish_rules
from refinery_assets.warehouse.receipts import Receipt


class State(StrEnum):
    """The outcome of a month."""

    PUBLISHED = "published"
    UNCHANGED = "unchanged"
    REFUSED = "refused"


@dataclass(frozen=True)
class MonthResult:
    """The outcome of one month.

    Attributes:
        month: The month.
        state: Published, unchanged or refused.
        verdicts: What every check of every asset said of it.
        receipt: What stands in the table of it; None where nothing does.
        figures: See `facts.MonthOfTable.figures`; empty for a month that was refused or is unchanged.
        healed: Whether the table held something else than its receipt said, and was put right.
        difference: What publishing the month changed in the table; None where nothing was published.
        input_digest: Of the inputs that the month was judged by; None where it was refused before they were compared.
    """

    month: Month
    state: State
    verdicts: Sequence[Verdict]
    receipt: Receipt | None = None
    figures: Mapping[str, int | float] = field(default_factory=dict)
    healed: bool = False
    difference: Difference | None = None
    input_digest: str | None = None


def every_rule(contract: Contract) -> dict[str, Sequence[Rule[Any]]]:
    """All rules that a month has a verdict of, by asset."""
    return {
        LEGACY_FEED: ENTRANCE_RULES,
        HOST_INVENTORY: INVENTORY_RULES,
        **{family.name: FAMILY_RULES for family in contract.families},
        PROCESSED_DATA: publish_rules(contract),
    }


def every_check(contract: Contract) -> frozenset[tuple[str, str]]:
    """All checks that a month has a verdict of, by asset and name."""
    return frozenset((asset, rule.name) for asset, rules in every_rule(contract).items() for rule in rules)


def refused_result(
    month: Month, verdicts: Sequence[Verdict], contract: Contract, input_digest: str | None = None
) -> MonthResult:
    """The month with a verdict of every check; those that were not reached say so."""
    there = {(verdict.asset, verdict.check) for verdict in verdicts}
    missing = [
        verdict
        for asset, rules in every_rule(contract).items()
        for verdict in not_judged(rules, asset, month, verdicts)
        if (verdict.asset, verdict.check) not in there
    ]
    return MonthResult(month, State.REFUSED, [*verdicts, *missing], input_digest=input_digest)


def refuse_all(
    months: Sequence[Month], run: RunSoFar, inventory: InventoryFacts, contract: Contract
) -> dict[Month, MonthResult]:
    """The results of months that cannot be published, because the inventory cannot be had."""
    return {
        month: refused_result(
            month, merge(run.verdicts(month), judge(INVENTORY_RULES, HOST_INVENTORY, month, inventory)), contract
        )
        for month in months
    }
