"""How many lies are caught, from which strength on, and how many honest months are called lies.

Here: the figures. Not here: how they are shown (`__main__.py`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from refinery_assets.checks.rules import Outcome
from refinery_assets.contract.plausibility import PlausibilitySettings
from refinery_assets_tests.plausibility.events import EVENTS
from refinery_assets_tests.plausibility.fleets import FleetMonth, restless_months, sample_months
from refinery_assets_tests.plausibility.judging import DEFAULTS, Judgement, judge
from refinery_assets_tests.plausibility.lies import Lie, Told

STRENGTHS = (1.0, 0.5, 0.3, 0.1, 0.05)


@dataclass(frozen=True)
class Caught:
    """What was said of a lie.

    Attributes:
        first: The check that spoke first and had not spoken of the true month; None: nobody.
        refused: Whether it refused the month.
        is_right: Whether it is one that must speak.
    """

    first: str | None
    refused: bool
    is_right: bool


def tell(lie: Lie, months: Sequence[FleetMonth], strength: float, seed: int = 1) -> FleetMonth:
    """The last of the months with a lie in it."""
    month, random = months[-1], np.random.default_rng([seed, round(strength * 100)])
    hosts = len(month.hosts)
    chosen = random.permutation(hosts)[: max(1, round(strength * hosts))]
    return lie.tell(Told(month, months[:-1], chosen, strength, random))


def catch(
    lie: Lie,
    months: Sequence[FleetMonth],
    truth: Judgement,
    strength: float = 1.0,
    settings: PlausibilitySettings = DEFAULTS,
) -> Caught:
    """Tell a lie about the last of the months, and hear what is said that is not said of the truth."""
    judgement = judge(tell(lie, months, strength), months[:-1], settings)
    before = {name: finding.outcome for name, finding in truth.findings.items()}
    failed = [name for name in judgement.failed if before.get(name) is not Outcome.FAILED]
    warned = [name for name in judgement.warned if before[name] is Outcome.PASSED]
    first = next(iter([*failed, *warned]), None)
    return Caught(first, bool(failed), first in lie.checks)


@dataclass(frozen=True)
class Honest:
    """What was said of honest months."""

    months: int = 0
    failed: int = 0
    warnings: int = 0

    def __add__(self, other: Honest) -> Honest:
        """Both together."""
        return Honest(self.months + other.months, self.failed + other.failed, self.warnings + other.warnings)

    @property
    def failures_per_hundred_months(self) -> float:
        """Months refused, of a hundred."""
        return 100 * self.failed / max(self.months, 1)

    @property
    def warnings_per_year(self) -> float:
        """Warnings in a fleet's year."""
        return 12 * self.warnings / max(self.months, 1)


def judge_honest(months: Sequence[FleetMonth], settings: PlausibilitySettings = DEFAULTS) -> Honest:
    """Judge each month of a fleet's life, the first one, too, by those before it."""
    found = [judge(month, months[:at], settings) for at, month in enumerate(months)]
    return Honest(len(found), sum(bool(each.failed) for each in found), sum(len(each.warned) for each in found))


def honest_lives(sizes: Mapping[int, int], months: int) -> Iterator[tuple[str, list[FleetMonth]]]:
    """Fleets' lives by what happens in them.

    Args:
        sizes: The hosts of each fleet, and its seed.
        months: How long they live.
    """
    for hosts, seed in sizes.items():
        life = sample_months(hosts, seed, months)
        for number, (name, event) in enumerate(EVENTS.items()):
            yield name, event(life, np.random.default_rng([seed, number]))
        yield "a restless fleet", restless_months(hosts, seed, months)
