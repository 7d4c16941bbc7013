"""`families_distinct`: two resources of a month with the same content, or with each other's.

Content is the same where least, greatest, mean and number of readings agree to the last digit. Exchanged families show
in the difference between two resources of a host, which keeps its sign from month to month: a sign test on paired
differences (Conover, Practical Nonparametric Statistics, 3rd ed., 3.4).
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

import numpy as np

from refinery_assets.checks.plausibility.evidence import Evidence, ResourceSeries, medians
from refinery_assets.checks.plausibility.suspicions import (
    Suspicion,
    conclude,
    is_enough,
    too_short,
    verb_for,
    without_past,
    worst,
)
from refinery_assets.checks.rules import Finding, counted
from refinery_assets.contract.families import UTILIZATION_CEILING_PERCENT

CHECK = "families_distinct"

_ALL_OF_IT = ("min_y", "max_y", "mean_y", "distinct_values")
_ENDS = ("min_y", "max_y")

_TELLING = 3.0
"""How many times its usual movement the difference of two resources must be to tell them apart."""

_EXCHANGED_SHARE = 0.6


def families_distinct(evidence: Evidence) -> Finding:
    """Judge whether each resource has content of its own, and not another's."""
    pairs = list(combinations(evidence.judged_by(CHECK), 2))
    suspicions = [
        each for one, other in pairs for each in (*_same(evidence, one, other), *_swapped(evidence, one, other))
    ]
    return conclude(CHECK, evidence, suspicions, lambda: _looked_at(evidence, len(pairs)))


def _looked_at(evidence: Evidence, pairs: int) -> str:
    if not pairs:
        return "There are no two resources to compare"
    said = f"{counted(pairs, 'pair')} of resources {verb_for(pairs, 'have')} each their own values"
    if lacks := without_past(CHECK, evidence) or (too_short(evidence) if evidence.is_short else ""):
        said += f"; whether two are exchanged was not looked at, for {lacks}"
    return said


def _same(evidence: Evidence, one: ResourceSeries, other: ResourceSeries) -> Iterator[Suspicion]:
    both = (
        one.rich[-1] & other.rich[-1] & ~((one.now("min_y") == 0) & (one.now("max_y") == UTILIZATION_CEILING_PERCENT))
    )
    judged = int(both.sum())
    settings = evidence.settings
    for figures, verb, words in (
        (_ALL_OF_IT, "read", "the same in"),
        (_ENDS, "have", "the same least and greatest reading in"),
    ):
        hits = both.copy()
        for figure in figures:
            hits &= one.now(figure) == other.now(figure)
        if figures is _ENDS:
            hits &= (
                (one.now("min_y") > 0) & (one.now("max_y") < UTILIZATION_CEILING_PERCENT) & one.is_fine & other.is_fine
            )
        number = int(hits.sum())
        if is_enough(number, judged, settings.alike_share / 3, settings.least_series):
            yield Suspicion(
                f"{counted(number, 'host')} of {judged:,} {verb_for(number, verb)} {words} {one.resource} and "
                f"{other.resource}",
                f"Have both families exported again: one of {one.resource} and {other.resource} holds what belongs "
                "to the other.",
                is_enough(number, judged, settings.alike_share, settings.least_series),
                number,
                number / judged,
                [*worst(one, hits)[:10], *worst(other, hits)[:10]],
            )
            return


def _swapped(evidence: Evidence, one: ResourceSeries, other: ResourceSeries) -> Iterator[Suspicion]:
    """The difference between the two turned round, where it is large against its movement."""
    settings = evidence.settings
    if not evidence.earlier or evidence.is_short:
        return
    before = one.last("median_y") - other.last("median_y")
    now = one.now("median_y") - other.now("median_y")
    past = one.figures["median_y"][:-1] - other.figures["median_y"][:-1]
    # Hosts are alike in how their resources move against each other, so that one scale serves them all.
    moves = np.abs(np.diff(past, axis=0)) if len(past) > 1 else np.abs(np.abs(now) - np.abs(before))[None]
    scale = float(np.fmax(medians(moves.ravel()), 0.1))
    telling = np.abs(before) >= _TELLING * scale
    telling &= ~np.isnan(now)
    judged = int(telling.sum())
    if judged < settings.least_series:
        return
    hits = telling & (now * before < 0) & (np.abs(now + before) <= np.maximum(0.5 * np.abs(before), 2 * scale))
    # Values turned upside down turn the difference, too, but do not keep the sum.
    total_before = one.last("median_y") + other.last("median_y")
    total = one.now("median_y") + other.now("median_y")
    upside_down = 2 * UTILIZATION_CEILING_PERCENT - total_before
    hits &= np.abs(total - total_before) < np.abs(total - upside_down)
    number = int(hits.sum())
    share = number / judged
    if share >= _EXCHANGED_SHARE / 2 and number >= settings.least_series:
        yield Suspicion(
            f"{one.resource} and {other.resource} are exchanged for {counted(number, 'host')} of {judged:,} in which "
            f"they differ: the one reads what the other read {one.when(hits)}",
            f"Have both families exported again: {one.resource} holds what belongs to {other.resource}, and the other "
            "way round.",
            share >= _EXCHANGED_SHARE and number > settings.least_series,
            number,
            share,
            [*worst(one, hits)[:10], *worst(other, hits)[:10]],
            one.last_months(hits),
        )
