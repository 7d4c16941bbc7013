"""The settings of the plausibility checks: which rules speak, how loudly, and from which share of series on.

Here: names, defaults, and what each costs and catches. Not here: the rules (`checks/plausibility`).
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import Annotated

from pydantic import AfterValidator, Field

from refinery_assets.contract.families import Part


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


def _in_order(pairs: Iterable[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    return tuple(sorted(set(pairs)))


def _of_checks(pairs: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
    if any(check not in CHECKS for check, _ in pairs):
        raise ValueError(pairs)
    return pairs


_Mode = Annotated[Mode, Field(description="fail, warn or off")]
_Pairs = Annotated[
    tuple[tuple[str, str], ...],
    AfterValidator(_in_order),
    AfterValidator(_of_checks),
    Field(description='a list of pairs of a plausibility check and a resource, such as [["levels_plausible", "cpu"]]'),
]
_Share = Annotated[float, Field(gt=0, le=1, strict=True, description="a share above 0, at most 1, such as 0.1")]
_Count = Annotated[int, Field(ge=1, strict=True, description="a whole number, 1 or more")]
_Months = Annotated[int, Field(ge=2, strict=True, description="a whole number of months, 2 or more")]
_Factor = Annotated[float, Field(gt=0, allow_inf_nan=False, strict=True, description="a number above 0, such as 5")]


class PlausibilitySettings(Part):
    """How a month is held against its own families and against the months before it.

    Shares are of the series that a rule can judge, by resource. A share never speaks for fewer than
    `least_series` series, so that a fleet of a dozen hosts is not judged by one of them. The defaults are chosen by
    the curves in `docs/plausibility.md`.

    Attributes:
        month_is_new: Mode of the check against copied months, parts of months, weeks and days. It is the only one that
            looks at all published months, later ones, too: one join by digest. About 4 ms a month at 2,000 hosts.
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

    month_is_new: _Mode = Mode.FAIL
    families_distinct: _Mode = Mode.FAIL
    units_plausible: _Mode = Mode.FAIL
    hosts_in_place: _Mode = Mode.FAIL
    sensors_alive: _Mode = Mode.FAIL
    precision_kept: _Mode = Mode.WARN
    levels_plausible: _Mode = Mode.WARN
    not_for: _Pairs = ()
    earlier_months: _Months = 13
    most_hosts: _Count = 1_000
    least_series: _Count = 3
    least_days: _Count = 7
    copied_share: _Share = 0.02
    day_share: _Share = 0.25
    alike_share: _Share = 0.1
    factor_warn_share: _Share = 0.1
    factor_fail_share: _Share = 0.25
    still_warn_share: _Share = 0.1
    still_fail_share: _Share = 0.5
    stretch_share: _Share = 0.25
    moved_warn_share: _Share = 0.1
    moved_fail_share: _Share = 0.5
    rounded_share: _Share = 0.1
    level_factor: _Factor = 5.0
    level_floor: _Factor = 0.04

    @property
    def off(self) -> list[str]:
        """The checks that are off."""
        return [check for check in CHECKS if self.mode(check) is Mode.OFF]

    @property
    def as_text(self) -> str:
        """All of it, the same text for the same settings."""
        return self.model_dump_json()

    def scaled(self, by: float) -> PlausibilitySettings:
        """The same settings with all limits moved by a factor: below 1 more speaks, above 1 less."""
        limits = [name for name in type(self).model_fields if name.endswith("_share")]
        moved = {name: min(1.0, getattr(self, name) * by) for name in limits}
        return self.model_copy(update=moved | {"level_factor": self.level_factor * by})

    def mode(self, check: str) -> Mode:
        """The mode of a check by its name."""
        return Mode(getattr(self, check))

    def is_for(self, check: str, resource: str) -> bool:
        """Whether a check looks at a resource."""
        return (check, resource) not in self.not_for
