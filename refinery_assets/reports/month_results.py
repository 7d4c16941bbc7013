"""The outcome of each month, real, planned or audited, in a shape for people and for other programs.

Here: the shape, and reading it from a plan or an audit. Not here: reading it from a run (`assets/run_results.py`), and
printing it (`terminal.py`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from refinery_assets.checks.rules import Outcome, Row, Verdict
from refinery_assets.contract.months import Month
from refinery_assets.warehouse.month_state import MonthResult, State
from refinery_assets.warehouse.plan import Plan
from refinery_assets.warehouse.reaudit import Reaudit

AUDITED = "passed"
FAILED = "failed"
LEFT_OUT = "not exported yet"
NOT_REACHED = "not reached"

SAMPLE = 5


class Stop(StrEnum):
    """What can keep a run from judging its months."""

    HELD = "held"
    """Another process holds the warehouse."""
    INTERRUPTED = "interrupted"
    """Somebody ended it."""


@dataclass(frozen=True)
class CheckResult:
    """A check that failed or warned.

    Attributes:
        asset: The asset that it belongs to.
        check: Its name.
        message: What it found.
        recovery: What to do.
        file: The file, relative to the feed's root, where the check names one.
        line: The line in it; the header is line 1.
        sample: A few of the offenders.
    """

    asset: str
    check: str
    message: str
    recovery: str
    file: str | None = None
    line: int | None = None
    sample: Sequence[Row] = ()

    @classmethod
    def of(cls, asset: str, check: str, message: str, recovery: str, offenders: Sequence[Row]) -> CheckResult:
        """The check, with file and line of its first offender."""
        first = next((row for row in offenders if row.get("file") or row.get("source_file")), {})
        line = first.get("source_line") or first.get("line")
        return cls(
            asset,
            check,
            message,
            recovery,
            file=str(found) if (found := first.get("file") or first.get("source_file")) else None,
            line=int(line) if isinstance(line, int | float) else None,
            sample=[dict(row) for row in offenders[:SAMPLE]],
        )


@dataclass(frozen=True)
class Differences:
    """What publishing a month adds to, removes from and changes in what stands there.

    Attributes:
        rows_added: Rows for a day and series that are not there now.
        rows_removed: Rows that are there now and would be no more.
        rows_changed: Rows that would have another value.
        series_added: Series that are not there now; None where only a plan would know.
        series_removed: Series that would be no more.
        series_changed: Series with any difference.
        new_hosts: How many hosts are not there now.
        gone_hosts: How many hosts would be no more.
        hosts_new: A sample of the new hosts.
        hosts_gone: A sample of the hosts that would be no more.
    """

    rows_added: int
    rows_removed: int
    rows_changed: int
    series_added: int | None = None
    series_removed: int | None = None
    series_changed: int | None = None
    new_hosts: int | None = None
    gone_hosts: int | None = None
    hosts_new: Sequence[str] = ()
    hosts_gone: Sequence[str] = ()


@dataclass(frozen=True)
class MonthOutcome:
    """The outcome of one month.

    Attributes:
        month: The month, as YYYY-MM.
        state: `published`, `unchanged`, `refused`, or one of the constants of this module.
        rows: Rows that stand in the table of it; None where the month was refused.
        imputed: Imputed ones among them.
        quarantined: Rows in quarantine.
        differences: Against what stood there; None where nothing was written.
        failed: The checks that failed.
        warnings: The checks that warned.
    """

    month: str
    state: str
    rows: int | None = None
    imputed: int | None = None
    quarantined: int | None = None
    differences: Differences | None = None
    failed: Sequence[CheckResult] = ()
    warnings: Sequence[CheckResult] = ()

    @property
    def is_good(self) -> bool:
        """Whether the month stands in the table as its files, or its receipt, say; or there is nothing of it yet."""
        return self.state in {State.PUBLISHED, State.UNCHANGED, AUDITED, LEFT_OUT}

    def as_json(self) -> dict[str, Any]:
        """The outcome in JSON's types."""
        return asdict(self)


@dataclass(frozen=True)
class Outcomes:
    """The outcomes of the months of a command.

    Attributes:
        months: The months, in order.
        runs: The runs in Dagster; none for a plan.
        problems: What went wrong besides refused months, in sentences.
        stop: What kept months from being judged, where it has an exit code of its own.
    """

    months: Sequence[MonthOutcome] = ()
    runs: Sequence[str] = ()
    problems: Sequence[str] = ()
    stop: Stop | None = None

    @property
    def is_good(self) -> bool:
        """Whether nothing was refused and nothing went wrong."""
        return not self.problems and all(month.is_good for month in self.months)

    def __add__(self, other: Outcomes) -> Outcomes:
        return Outcomes(
            [*self.months, *other.months],
            [*self.runs, *other.runs],
            [*self.problems, *other.problems],
            self.stop or other.stop,
        )

    def as_json(self) -> dict[str, Any]:
        """The outcomes in JSON's types."""
        return {
            "success": self.is_good,
            "runs": list(self.runs),
            "months": [month.as_json() for month in self.months],
            "problems": list(self.problems),
        }


def outcomes_of_plan(plan: Plan) -> Outcomes:
    """What a run would do with the months."""
    months = [*map(_outcome, plan.results.values()), *(MonthOutcome(str(month), LEFT_OUT) for month in plan.left_out)]
    return Outcomes(sorted(months, key=lambda each: each.month))


def outcomes_of_audit(audit: Reaudit) -> tuple[Outcomes, dict[str, int]]:
    """What an audit of the published table found, and how many checks each month passed."""
    by_month: dict[Month, list[Verdict]] = {}
    for verdict in audit.verdicts:
        by_month.setdefault(verdict.month, []).append(verdict)
    months = []
    passed = {}
    for month, verdicts in sorted(by_month.items()):
        failed, warnings = checks_of(verdicts)
        months.append(MonthOutcome(str(month), FAILED if failed else AUDITED, failed=failed, warnings=warnings))
        passed[str(month)] = sum(verdict.outcome is Outcome.PASSED for verdict in verdicts)
    return Outcomes(months, problems=[audit.problem] if audit.problem else []), passed


def _outcome(result: MonthResult) -> MonthOutcome:
    failed, warnings = checks_of(result.verdicts)
    figures: Mapping[str, int] = {}
    differences = None
    if (receipt := result.receipt) and result.state is not State.REFUSED:
        figures = {"rows": receipt.rows, "imputed": receipt.imputed, "quarantined": receipt.quarantined}
    if difference := result.difference:
        differences = Differences(
            difference.added,
            difference.removed,
            difference.changed,
            difference.series_added,
            difference.series_removed,
            difference.series_changed,
            difference.new_hosts,
            difference.gone_hosts,
            difference.hosts_new,
            difference.hosts_gone,
        )
    return MonthOutcome(
        str(result.month), str(result.state), **figures, differences=differences, failed=failed, warnings=warnings
    )


def checks_of(verdicts: Iterable[Verdict]) -> tuple[list[CheckResult], list[CheckResult]]:
    """The checks that failed, and those that warned."""
    found: dict[Outcome, list[CheckResult]] = {Outcome.FAILED: [], Outcome.WARNING: []}
    for verdict in verdicts:
        if verdict.outcome in found:
            finding = verdict.finding
            found[verdict.outcome].append(
                CheckResult.of(verdict.asset, verdict.check, finding.message, verdict.recovery, finding.offenders)
            )
    return found[Outcome.FAILED], found[Outcome.WARNING]
