"""The settings of the plausibility checks: which rules speak, how loudly, and from which share of series on.

Here: names, defaults, and what each costs and catches. Not here: the rules (`checks/plausibility`).
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from enum import StrEnum


class Mode(StrEnum):
    """What a rule may do."""

    FAIL = "fail"
    """Refuse a month where the lie is beyond doubt, warn where the month looks strange."""
    WARN = "warn"
    """Warn, and never refuse."""
    OFF = "off"
    """Look at nothing; the receipt says so."""


CHECKS = (
    "month_is_new",
    "families_distinct",
    "units_plausible",
    "hosts_in_place",
    "precision_kept",
    "sensors_alive",
    "levels_plausible",
)
"""The plausibility checks, in the order in which they speak."""


@dataclass(frozen=True)
class PlausibilitySettings:
    """How a month is held against its own families and against the months before it.

    Shares are of the series that a rule can judge, by resource. A share never speaks for fewer than
    `least_series` series, so that a fleet of a dozen hosts is not judged by one of them. The defaults are chosen by
    the curves in `docs/plausibility.md`.

    Attributes:
        month_is_new: Mode of the check against copied months, days and weeks. It is the only one that looks at all
            published months: one join by digest. About 4 ms a month at 2,000 hosts.
        families_distinct: Mode of the check against resources with each other's content; about 2 ms.
        units_plausible: Mode of the check against other units of readings and capacities; about 2 ms.
        hosts_in_place: Mode of the check against values beside other hosts; about 3 ms.
        precision_kept: Mode of the check against rounding; about 1 ms.
        sensors_alive: Mode of the check against standstill; about 1 ms.
        levels_plausible: Mode of the check against levels and spreads far from their usual movement; about 2 ms.
        not_for: Pairs of a check and a resource that it does not look at.
        earlier_months: How many published months before the month are read, 2 or more; 13 hold the same month a
            year before, and the step that led to it.
        most_hosts: Hosts that are judged; of a larger fleet a sample, the same every month. Digests are compared of
            all hosts.
        least_series: Series that must agree before a rule speaks.
        least_days: Days that a month must have before levels, still sensors and precision are judged.
        copied_share: Share of series that repeat another month, or another day, from which the month is refused.
        day_share: Share of hosts in which two days of a month agree, beyond chance, from which the rule warns; from
            half as much again the month is refused.
        alike_share: Share of series with one and the same content in two families from which the month is refused.
        factor_warn_share: Share of series off by a factor that units explain from which the rule warns.
        factor_fail_share: The same, from which the month is refused.
        still_warn_share: Share of series that stand still from which the rule warns.
        still_fail_share: The same, from which the month is refused.
        stretch_share: Share of hosts that stand still on the same days from which the rule warns.
        moved_warn_share: Share of hosts whose levels belong to others from which the rule warns.
        moved_fail_share: The same, from which the month is refused.
        rounded_share: Share of series with fewer decimals than before from which the rule warns.
        level_factor: How many times its usual movement a fleet's level or spread may move.
        level_floor: What counts as a usual movement at least, as a logarithm: 0.04 are about four percent.
    """

    month_is_new: Mode = Mode.FAIL
    families_distinct: Mode = Mode.FAIL
    units_plausible: Mode = Mode.FAIL
    hosts_in_place: Mode = Mode.FAIL
    sensors_alive: Mode = Mode.FAIL
    precision_kept: Mode = Mode.WARN
    levels_plausible: Mode = Mode.WARN
    not_for: frozenset[tuple[str, str]] = frozenset()
    earlier_months: int = 13
    most_hosts: int = 1_000
    least_series: int = 3
    least_days: int = 7
    copied_share: float = 0.02
    day_share: float = 0.25
    alike_share: float = 0.1
    factor_warn_share: float = 0.1
    factor_fail_share: float = 0.25
    still_warn_share: float = 0.1
    still_fail_share: float = 0.5
    stretch_share: float = 0.25
    moved_warn_share: float = 0.1
    moved_fail_share: float = 0.5
    rounded_share: float = 0.1
    level_factor: float = 5.0
    level_floor: float = 0.04

    @property
    def off(self) -> list[str]:
        """The checks that are off."""
        return [check for check in CHECKS if self.mode(check) is Mode.OFF]

    @property
    def as_text(self) -> str:
        """All of it, the same text for the same settings."""
        return repr(
            [
                (each.name, sorted(self.not_for) if each.name == "not_for" else str(getattr(self, each.name)))
                for each in fields(self)
            ]
        )

    def scaled(self, by: float) -> PlausibilitySettings:
        """The same settings with all limits moved by a factor: below 1 more speaks, above 1 less."""
        limits = [each.name for each in fields(self) if each.name.endswith("_share")]
        moved = {name: min(1.0, getattr(self, name) * by) for name in limits}
        return replace(self, **moved, level_factor=self.level_factor * by)

    def mode(self, check: str) -> Mode:
        """The mode of a check by its name."""
        return Mode(getattr(self, check))

    def is_for(self, check: str, resource: str) -> bool:
        """Whether a check looks at a resource."""
        return (check, resource) not in self.not_for
