"""`precision_kept`: values rounded where they were not.

Decimals are counted per series, as the digits that its readings need; rounding to halves or fives shows in how few
different readings are left.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from refinery_assets.checks.plausibility.evidence import RICH, Evidence, ResourceSeries
from refinery_assets.checks.plausibility.suspicions import Suspicion, conclude, is_enough, worst
from refinery_assets.checks.rules import Finding, counted

CHECK = "precision_kept"

_FEWER = 0.55
"""Share of its usual number of different readings under which a series has lost precision."""

_VALUES_FROM = 5


def precision_kept(evidence: Evidence) -> Finding:
    """Judge whether readings are as fine as they were."""
    suspicions = []
    if not evidence.is_short:
        suspicions = [each for series in evidence.judged_by(CHECK) for each in _rounded(evidence, series)]
    looked_at = f"Readings are as fine as in {evidence.before}"
    if not evidence.earlier:
        looked_at = "There is no earlier month to compare decimals with"
    return conclude(CHECK, evidence, suspicions, looked_at)


def _rounded(evidence: Evidence, series: ResourceSeries) -> Iterator[Suspicion]:
    settings = evidence.settings
    was, decimals = series.usual("decimals"), series.now("decimals")
    # Few different readings need few decimals by chance.
    fit = series.is_there & (series.usual("distinct_values") >= RICH) & (was > 0)
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
        (coarser, "decimals", "have fewer decimals than they had"),
        (lost, "distinct_values", "have far fewer different readings than they had, as after rounding"),
    ):
        judged, number = int(fit.sum()), int(hits.sum())
        if is_enough(number, judged, settings.rounded_share, settings.least_series):
            yield Suspicion(
                f"{series.resource}: {counted(number, 'series', 'series')} of {judged:,} {words}",
                "Have the month exported with all decimals, as before.",
                number >= judged / 2,
                number,
                number / judged,
                worst(series, hits, figure),
            )
            return
