"""`precision_kept`: values rounded where they were not.

Decimals are counted per series, as the digits that its readings need; rounding to halves or fives shows in how few
different readings are left.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from refinery_assets.checks.plausibility.evidence import RICH, Evidence, Flags, ResourceSeries
from refinery_assets.checks.plausibility.suspicions import (
    Suspicion,
    conclude,
    is_enough,
    too_short,
    verb_for,
    without_past,
    worst,
)
from refinery_assets.checks.rules import Finding

CHECK = "precision_kept"

_FEWER = 0.55
"""Share of its usual number of different readings under which a series has lost precision."""

_VALUES_FROM = 5


def precision_kept(evidence: Evidence) -> Finding:
    """Judge whether readings are as fine as they were."""
    suspicions = []
    if not evidence.is_short:
        suspicions = [each for series in evidence.judged_by(CHECK) for each in _rounded(evidence, series)]
    return conclude(CHECK, evidence, suspicions, lambda: _looked_at(evidence))


def _looked_at(evidence: Evidence) -> str:
    if lacks := without_past(CHECK, evidence) or (too_short(evidence) if evidence.is_short else ""):
        return f"Decimals were not compared: {lacks}"
    judged = sum(int(_had_decimals(series).sum()) for series in evidence.judged_by(CHECK))
    if not judged:
        return f"Decimals were not compared: no series had any in {evidence.before}, or enough different readings"
    return f"The readings of {judged:,} series are as fine as in {evidence.before}"


def _had_decimals(series: ResourceSeries) -> Flags:
    """The hosts whose readings had decimals that rounding would take; few different readings need few by chance."""
    return series.is_there & (series.usual("distinct_values") >= RICH) & (series.usual("decimals") > 0)


def _rounded(evidence: Evidence, series: ResourceSeries) -> Iterator[Suspicion]:
    settings = evidence.settings
    was, decimals = series.usual("decimals"), series.now("decimals")
    fit = _had_decimals(series)
    coarser = fit & (decimals <= was - 1) & (series.now("distinct_values") >= 2)  # noqa: PLR2004 - two differ
    with np.errstate(divide="ignore", invalid="ignore"):
        left = series.now("distinct_values") / series.now("readings")
        usually = series.usual("distinct_values") / series.usual("readings")
    lost = (
        fit
        & (left < _FEWER * usually)
        & (series.now("longest_run") < _VALUES_FROM)
        & (series.now("distinct_values") > _VALUES_FROM)
    )
    for hits, figure, words in (
        (coarser, "decimals", "fewer decimals than"),
        (lost, "distinct_values", "far fewer different readings, as after rounding, than"),
    ):
        judged, number = int(fit.sum()), int(hits.sum())
        if is_enough(number, judged, settings.rounded_share, settings.least_series):
            yield Suspicion(
                f"{series.resource}: {number:,} series of {judged:,} {verb_for(number, 'have')} {words} usual in "
                f"{evidence.before}",
                "Have the month exported with all decimals, as before.",
                number >= judged / 2,
                number,
                number / judged,
                worst(series, hits, figure),
            )
            return
