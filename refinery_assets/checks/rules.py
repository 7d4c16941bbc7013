"""What a rule is, and what its verdict holds.

Here: the shape shared by every check, so that one list of rules gives the check specs, the results, the
gate and the re-audit. Not here: any rule; those stand with what they judge (`entrance.py`,
`inventory.py`, `family.py`, `audit.py`), and Dagster's side stands in `assets/checks.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Generic, TypeVar

Cell = str | int | float | bool | None
Row = Mapping[str, Cell]
Evidence = TypeVar("Evidence")

SAMPLE_SIZE = 20
_LONGEST_ITEM = 80


class Outcome(StrEnum):
    """How a rule came out; only FAILED stops anything."""

    PASSED = "passed"
    WARNING = "warning"
    FAILED = "failed"


@dataclass(frozen=True)
class Finding:
    """What one rule found.

    Attributes:
        outcome: Passed, a warning, or failed.
        summary: One sentence with the counts that matter, in words of our own: the UI reads it as Markdown,
            so nothing that a file or the inventory says may stand in it.
        detail: What goes on from there and quotes names; shown as plain text only.
        failed_months: The months at fault, where the rule can tell months apart.
        warned_months: The months to look at.
        counts: Exact counts by name, limits among them.
        by_month: One row per month, or per month and family or resource.
        offenders: A sample of what is wrong; cut to `SAMPLE_SIZE` rows on the way out.
        tables: Further tables by name.
    """

    outcome: Outcome
    summary: str
    counts: Mapping[str, int | float]
    by_month: Sequence[Row] = ()
    offenders: Sequence[Row] = ()
    tables: Mapping[str, Sequence[Row]] = field(default_factory=dict)
    detail: str = ""
    failed_months: Sequence[str] = ()
    warned_months: Sequence[str] = ()

    def outcome_in(self, month: str) -> Outcome:
        """How one of the months came out; the whole finding's outcome where months cannot be told apart."""
        if month in self.failed_months:
            return Outcome.FAILED
        if month in self.warned_months:
            return Outcome.WARNING
        return Outcome.PASSED if self.failed_months or self.warned_months else self.outcome

    def counts_in(self, month: str) -> Mapping[str, object]:
        """The figures of one month, by resource where they are told so; else those of the whole finding."""
        rows = [row for row in self.by_month if row["month"] == month]
        figures = [{name: value for name, value in row.items() if name != "month"} for row in rows]
        if figures and all("resource" in row for row in figures):
            return {str(row.pop("resource")): row for row in figures}
        return figures[0] if figures else self.counts

    @property
    def told(self) -> str:
        """Summary and detail, as plain text."""
        return f"{self.summary} {self.detail}".rstrip()


@dataclass(frozen=True)
class Verdict:
    """A finding under the name of its rule, with what the operator can do about it."""

    check: str
    finding: Finding
    recovery: str

    @property
    def failed(self) -> bool:
        """Whether nothing may go on from here."""
        return self.finding.outcome is Outcome.FAILED

    @property
    def sentence(self) -> str:
        """The verdict in one line, for logs and failures."""
        return f"{self.check}: {self.finding.told}"


@dataclass(frozen=True)
class Rule(Generic[Evidence]):
    """One rule: what it is called, what it demands, and how it is judged.

    Attributes:
        name: The check's name; never holds a threshold.
        description: When the rule fails, in one sentence.
        recovery: What the operator does when it fails or warns.
        judge: Takes the evidence, gives the finding.
    """

    name: str
    description: str
    recovery: str
    judge: Callable[[Evidence], Finding]

    def verdict(self, evidence: Evidence) -> Verdict:
        """Judge the evidence."""
        finding = self.judge(evidence)
        recovery = "Nothing to do." if finding.outcome is Outcome.PASSED else self.recovery
        return Verdict(self.name, finding, recovery)


def verdicts(rules: Iterable[Rule[Evidence]], evidence: Evidence) -> list[Verdict]:
    """Judge the evidence by every rule, so that all that is wrong is told at once."""
    return [rule.verdict(evidence) for rule in rules]


def outcome(*, failed: bool, warned: bool = False) -> Outcome:
    """The worse of the two, or PASSED."""
    if failed:
        return Outcome.FAILED
    return Outcome.WARNING if warned else Outcome.PASSED


def listing(items: Iterable[object], most: int = 6) -> str:
    """The items by comma, the surplus as a number: `2024-01, 2024-02 and 3 more`."""
    names = [shortened(str(item), _LONGEST_ITEM) for item in items]
    shown = ", ".join(names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"


def shortened(text: str, most: int) -> str:
    """The text, cut where it is longer than `most`."""
    return text if len(text) <= most else f"{text[: most - 1]}\u2026"
