"""What the plausibility checks say of a month of a fleet, told its earlier months.

Here: evidence from arrays, as `warehouse/plausibility.py` takes it from tables. Not here: the rules.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from refinery_assets.checks.plausibility.evidence import Copies, lay_out
from refinery_assets.checks.plausibility.rules import PLAUSIBILITY_RULES
from refinery_assets.checks.rules import Finding, Outcome
from refinery_assets.contract.plausibility import PlausibilitySettings
from refinery_assets_tests.plausibility.fleets import FleetMonth

QUARANTINE = "quarantine_within_tolerance"
"""The check of a family that stops a lie whose values no percent has."""

_TOLERANCE = 0.01
_FEWEST_VALUES = 5


@dataclass(frozen=True)
class Judgement:
    """What was said of a month: the finding of each check, in the order in which they speak."""

    findings: dict[str, Finding]
    is_quarantined: bool = False

    @property
    def failed(self) -> list[str]:
        """The checks that refuse the month."""
        return [QUARANTINE] * self.is_quarantined + self._having(Outcome.FAILED)

    @property
    def warned(self) -> list[str]:
        """The checks that warn."""
        return self._having(Outcome.WARNING)

    @property
    def first(self) -> str | None:
        """The check that an operator sees first: the first that failed, else the first that warns."""
        return next(iter([*self.failed, *self.warned]), None)

    def _having(self, outcome: Outcome) -> list[str]:
        return [name for name, finding in self.findings.items() if finding.outcome is outcome]


DEFAULTS = PlausibilitySettings()


def judge(month: FleetMonth, earlier: Sequence[FleetMonth], settings: PlausibilitySettings = DEFAULTS) -> Judgement:
    """Judge a month by all rules."""
    read = earlier[-settings.earlier_months :]
    rows = pl.concat([*(each.series for each in read), month.series])
    evidence = lay_out(rows).evidence(month.month, settings, days=month.days, copies=copies(month, earlier))
    findings = {rule.name: rule.judge(evidence) for rule in PLAUSIBILITY_RULES}
    return Judgement(findings, month.quarantined_share > _TOLERANCE)


def copies(month: FleetMonth, earlier: Sequence[FleetMonth]) -> list[Copies]:
    """Series of the month that stand in an earlier one, by digest."""
    varied = pl.col("distinct_values") >= _FEWEST_VALUES
    now = month.series.filter(varied).select("resource", "host_id", "values_digest")
    found: list[Copies] = []
    for each in earlier:
        pairs = now.join(each.series.filter(varied), on="values_digest")
        for (resource, other), group in pairs.group_by("resource", "resource_right", maintain_order=True):
            hosts = group.head(20).select("host_id", "host_id_right").rows()
            found.append(Copies(str(resource), str(each.month), str(other), group["host_id"].n_unique(), hosts))
    return sorted(found, key=lambda each: -each.series)
