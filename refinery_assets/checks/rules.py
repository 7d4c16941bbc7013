"""What a rule is, and what its verdict on a month holds.

Here: the shape shared by every check, so that one list of rules gives the check specs, the verdicts, the gate
and the re-audit. Not here: any rule; those stand with what they judge (`rows/source_checks.py`,
`rows/family_checks.py`, `warehouse/inventory_checks.py`, `warehouse/publish_checks.py`). Dagster's side stands in
`assets/checks.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Generic, TypeVar

from refinery_assets.contract.months import Month

Cell = str | int | float | bool | None
Row = Mapping[str, Cell]
Evidence = TypeVar("Evidence")

SAMPLE_SIZE = 20
_LONGEST_ITEM = 200
NOTHING_TO_DO = "Nothing to do."
NOT_JUDGED = "Not judged:"
"""How the finding of a check begins that had nothing to look at."""


class Outcome(StrEnum):
    """How a rule came out for a month; only FAILED stops the month."""

    PASSED = "passed"
    WARNING = "warning"
    FAILED = "failed"
    NOT_JUDGED = "not_judged"
    """There was nothing to look at: an earlier check refused the month, or the step that looks was left out."""


@dataclass(frozen=True)
class Finding:
    """What one rule found in one month.

    Attributes:
        outcome: How the rule came out.
        summary: One sentence with the counts that matter, in words of our own: the UI reads it as Markdown,
            so nothing that a file or the inventory says may stand in it.
        counts: Exact counts by name, limits among them.
        detail: What goes on from there and quotes names; shown as plain text only.
        offenders: A sample of what is wrong; cut to `SAMPLE_SIZE` rows on the way out.
        tables: Further tables by name.
        recovery: What to do in this very case; None: what the rule says.
    """

    outcome: Outcome
    summary: str
    counts: Mapping[str, Cell]
    detail: str = ""
    offenders: Sequence[Row] = ()
    tables: Mapping[str, Sequence[Row]] = field(default_factory=dict)
    recovery: str | None = None

    @property
    def message(self) -> str:
        """Summary and detail, as plain text."""
        return f"{self.summary} {self.detail}".rstrip()


@dataclass(frozen=True)
class Verdict:
    """What one check of one asset says of one month, and what the operator can do about it."""

    asset: str
    check: str
    month: Month
    finding: Finding
    recovery: str

    @property
    def outcome(self) -> Outcome:
        """How the check came out."""
        return self.finding.outcome

    @property
    def failed(self) -> bool:
        """Whether the month may not go on from here."""
        return self.outcome is Outcome.FAILED

    @property
    def sentence(self) -> str:
        """The verdict in one line, for logs and failures."""
        return f"{self.asset} {self.check}: {self.finding.message}"

    def as_json(self) -> dict[str, Any]:
        """The verdict in JSON's types."""
        return {**vars(self), "month": str(self.month), "finding": vars(self.finding)}

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> Verdict:
        """Read what `as_json` gave."""
        finding = fields["finding"]
        return cls(
            fields["asset"],
            fields["check"],
            Month.parse(fields["month"]),
            Finding(**{**finding, "outcome": Outcome(finding["outcome"])}),
            fields["recovery"],
        )


@dataclass(frozen=True)
class Rule(Generic[Evidence]):
    """One rule: what it is called, what it demands, and how it judges a month.

    Attributes:
        name: The check's name; never holds a threshold.
        description: When the rule fails, in one sentence.
        recovery: What the operator does when it fails or warns.
        judge: Takes the evidence of one month, gives the finding.
    """

    name: str
    description: str
    recovery: str
    judge: Callable[[Evidence], Finding]

    def verdict(self, asset: str, month: Month, evidence: Evidence) -> Verdict:
        """Judge the month."""
        finding = self.judge(evidence)
        recovery = finding.recovery or self.recovery
        return Verdict(
            asset,
            self.name,
            month,
            finding,
            NOTHING_TO_DO if finding.outcome is Outcome.PASSED else recovery,
        )


def judge(rules: Iterable[Rule[Evidence]], asset: str, month: Month, evidence: Evidence) -> list[Verdict]:
    """Judge a month by every rule, so that everything that is wrong is reported at once."""
    return [rule.verdict(asset, month, evidence) for rule in rules]


def not_judged(rules: Iterable[Rule[Any]], asset: str, month: Month, because: Iterable[Verdict]) -> list[Verdict]:
    """The verdicts of rules that have nothing to look at, because earlier checks refused the month."""
    causes = listing(f"{verdict.asset} {verdict.check}" for verdict in because if verdict.failed)
    summary = f"{NOT_JUDGED} {month} was refused by {causes}."
    recovery = f"See {causes}; then run {month} again."
    return [Verdict(asset, rule.name, month, Finding(Outcome.NOT_JUDGED, summary, {}), recovery) for rule in rules]


def refusals(verdicts: Iterable[Verdict]) -> dict[Month, list[Verdict]]:
    """The failed verdicts of each month that has any, months in order."""
    refused: dict[Month, list[Verdict]] = {}
    for verdict in sorted(verdicts, key=lambda verdict: verdict.month):
        if verdict.failed:
            refused.setdefault(verdict.month, []).append(verdict)
    return refused


def outcome(*, failed: bool, warned: bool = False) -> Outcome:
    """The worse of the two, or PASSED."""
    if failed:
        return Outcome.FAILED
    return Outcome.WARNING if warned else Outcome.PASSED


def counted(number: int, noun: str, plural: str | None = None) -> str:
    """A number with its noun: `1 host`, `2,000 hosts`."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def listing(items: Iterable[object], most: int = 6, of: int | None = None) -> str:
    """The items by comma, the surplus as a number: `2024-01, 2024-02 and 3 more`.

    Args:
        items: The items.
        most: How many of them to name.
        of: How many there are, where the items are a sample of them.
    """
    names = [shortened(str(item), _LONGEST_ITEM) for item in items]
    shown = names[:most]
    surplus = max(len(names), of or 0) - len(shown)
    return f"{', '.join(shown)} and {surplus:,} more" if surplus else ", ".join(shown)


def shortened(text: str, most: int) -> str:
    """The text, cut where it is longer than `most`."""
    return text if len(text) <= most else f"{text[: most - 1]}…"
