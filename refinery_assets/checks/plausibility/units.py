"""`units_plausible`: values, or limits, a fixed factor away from what they were.

A change of unit moves every host by the same factor, so the factor is looked for as a cluster of the hosts' ratios of
medians, which no growth of a fleet makes (the medians' ratio as a robust estimate of scale: Huber and Ronchetti, Robust
Statistics, 2nd ed., 5.1). Limits are judged in `capacities.py`; both make up the one check.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from refinery_assets.checks.plausibility.capacities import is_redealt, suspect_capacities
from refinery_assets.checks.plausibility.evidence import Evidence, Floats, ResourceSeries
from refinery_assets.checks.plausibility.suspicions import (
    Suspicion,
    conclude,
    is_enough,
    on_days,
    verb_for,
    without_past,
    worst,
)
from refinery_assets.checks.rules import SAMPLE_SIZE, Finding, Row, listing

CHECK = "units_plausible"

_FACTORS = {
    0.01: "fractions instead of percent",
    100.0: "percent where fractions were",
    0.001: "thousandths",
    1000.0: "a thousand times as much",
    0.1: "a tenth",
    10.0: "ten times as much",
    0.125: "bytes for bits",
    8.0: "bits for bytes",
}
_SURE_FACTORS = (0.01, 100.0, 0.001, 1000.0)

_NEAR = np.log(1.35)
"""How far a host may be off the factor: its load moves, too."""

_FRACTIONS_TO = 1.0
_LEAST_BEFORE = 0.05
_MIRRORED_FROM = 15.0
_MIRROR_OFF = 6.0
_MOST = 0.75
_BUSY = 5.0
_DAY_FACTORS = (0.003, 0.03)
_ONE_VALUE = 0.2
"""Share of hosts that read one value on a day from which the day is for `sensors_alive`."""

_UNIT = "Have the export state percent, 0 to 100, as it did before, and export the month again."
_UNIT_DECLARED = (
    'If 1 means full, set unit = "fraction" in the contract (REFINERY_CONTRACT); else have the export state percent, 0 '
    "to 100; then run the month again."
)


def units_plausible(evidence: Evidence) -> Finding:
    """Judge whether values and limits are in the units that they were in."""
    suspicions: list[Suspicion] = []
    for series in evidence.judged_by(CHECK):
        found = [*_factors(evidence, series), *_mirrored(evidence, series)]
        found += _fractions(evidence, series) if not found else ()
        suspicions += [*found, *_factor_of_days(series), *suspect_capacities(evidence, series)]
    suspicions += _all_fractions(evidence)
    return conclude(CHECK, evidence, suspicions, lambda: _looked_at(evidence))


def _looked_at(evidence: Evidence) -> str:
    if not evidence.earlier:
        most = max((_most(series) for series in evidence.judged_by(CHECK)), default=0.0)
        seen = "Some readings are above 1, as percent are" if most > 1 else "No reading is above 1, and few series vary"
        return f"{seen}; {without_past(CHECK, evidence)}"
    if lacks := without_past(CHECK, evidence):
        return f"Not compared: {lacks}"
    known = evidence.with_past(CHECK)
    return f"No readings or limits of {known:,} series are a fixed factor away from those of {evidence.before}"


def _factors(evidence: Evidence, series: ResourceSeries) -> Iterator[Suspicion]:
    settings = evidence.settings
    before, now = series.last("median_y"), series.now("median_y")
    step = 10.0 ** -np.nan_to_num(series.now("decimals"))
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.log(now / before)
    # What came to a standstill is for sensors_alive.
    moves = series.now("distinct_values") > 1
    busy = np.maximum(before, now) >= _BUSY
    best: tuple[int, int, float] = (0, 0, 0.0)
    for factor in _FACTORS:
        # No host of most months is near most factors.
        near = np.abs(ratio - np.log(factor)) <= (_NEAR if factor in _SURE_FACTORS else _NEAR / 2)
        if not near.any():
            continue
        # What rounding made of a small number tells no factor, and neither does a host that idles.
        fit = (before >= _LEAST_BEFORE) & (np.minimum(1.0, factor) * before >= 2 * step) & (now >= 0)
        fit &= moves if factor in _SURE_FACTORS else moves & busy
        judged = int(fit.sum())
        hits = fit & near
        number = int(hits.sum())
        if number > best[0]:
            best = (number, judged, factor)
            hit = hits
    number, judged, factor = best
    enough = is_enough(number, judged, settings.factor_warn_share, settings.least_series)
    # A tenth or eightfold is what some honest hosts do; most of a fleet does not.
    sure = factor in _SURE_FACTORS
    if not number or not enough or not (sure or number >= settings.factor_fail_share * judged):
        return
    yield Suspicion(
        f"{series.resource}: {number:,} series of {judged:,} {verb_for(number, 'read')} about {factor:g} times the "
        f"readings {series.when(hit)}, as {_FACTORS[factor]} would",
        _UNIT,
        number >= (settings.factor_fail_share if sure else 2 * settings.factor_fail_share) * judged,
        number,
        number / judged,
        worst(series, hit),
        series.last_months(hit),
    )


def _mirrored(evidence: Evidence, series: ResourceSeries) -> Iterator[Suspicion]:
    """100 - y: what is free for what is used."""
    settings = evidence.settings
    before, now = series.last("median_y"), series.now("median_y")
    fit = (np.abs(before - 50.0) >= _MIRRORED_FROM) & (series.now("distinct_values") > 1)
    judged = int(fit.sum())
    hits = fit & (np.abs(now + before - 100.0) <= _MIRROR_OFF)
    number = int(hits.sum())
    # Where most of the fleet is upside down, no dealing out did it.
    if number and number < _MOST * judged and is_redealt(now[hits], before[hits]):
        return
    if is_enough(number, judged, 2 * settings.factor_warn_share, settings.least_series):
        yield Suspicion(
            f"{series.resource}: {number:,} series of {judged:,} {verb_for(number, 'read')} 100 less the readings "
            f"{series.when(hits)}, as what is free for what is used",
            _UNIT,
            is_enough(number, judged, settings.factor_fail_share, settings.least_series + 1),
            number,
            number / judged,
            worst(series, hits),
            series.last_months(hits),
        )


def _fractions(evidence: Evidence, series: ResourceSeries) -> Iterator[Suspicion]:
    """Without an earlier month: nothing above 1 where other resources have more."""
    if evidence.earlier:
        return
    most = {each.resource: _most(each) for each in evidence.series.values() if each.is_there.any()}
    others = [value for resource, value in most.items() if resource != series.resource]
    if most[series.resource] > _FRACTIONS_TO or not others or max(others) <= _FRACTIONS_TO:
        return
    decimals = {
        each.resource: float(np.nanmax(each.now("decimals")))
        for each in evidence.series.values()
        if each.is_there.any()
    }
    usual = max(value for resource, value in decimals.items() if most[resource] > _FRACTIONS_TO)
    finer = decimals[series.resource] >= usual + 1
    number = int(series.is_there.sum())
    yield Suspicion(
        f"{series.resource}: no reading of {number:,} series is above 1, as in fractions, where other resources are in "
        "percent",
        _UNIT_DECLARED,
        is_certain=finer and number > evidence.settings.least_series,
        series=number,
        share=1.0,
        rows=worst(series, series.is_there),
    )


def _all_fractions(evidence: Evidence) -> Iterator[Suspicion]:
    """Without an earlier month: nothing above 1 in any resource. A fleet that idles has some readings above it."""
    judged = list(evidence.judged_by(CHECK))
    there = [each for each in evidence.series.values() if each.is_there.any()]
    if evidence.earlier or not judged or any(_most(each) > _FRACTIONS_TO for each in there):
        return
    lively = {each.resource: int(each.is_lively.sum()) for each in judged}
    number = sum(lively.values())
    if max(lively.values()) <= evidence.settings.least_series:
        return
    yield Suspicion(
        f"{listing(lively, len(lively))}: no reading is above 1, as in fractions, in {number:,} series whose readings "
        "vary, and there is neither an earlier month nor a resource in percent to compare with",
        f"{_UNIT_DECLARED} A fleet that hardly does anything may read so, too: then nothing is to be done.",
        is_certain=False,
        series=number,
        share=number / sum(int(each.is_there.sum()) for each in judged),
        rows=[
            {
                "resource": each.resource,
                "host_id": str(each.hosts[host]),
                "least_reading": float(each.now("min_y")[host]),
                "greatest_reading": float(each.now("max_y")[host]),
            }
            for each in judged
            for host in np.argsort(-np.nan_to_num(each.now("max_y")), kind="stable")[: SAMPLE_SIZE // len(judged)]
        ],
    )


def _most(series: ResourceSeries) -> float:
    values: Floats = series.now("max_y")
    return float(np.nanmax(values))


def _factor_of_days(series: ResourceSeries) -> Iterator[Suspicion]:
    """Days that are in another unit than the rest of the month."""
    days = [
        day
        for day in series.days
        if day.ratio is not None and _DAY_FACTORS[0] <= day.ratio <= _DAY_FACTORS[1] and day.common < _ONE_VALUE
    ]
    if not days:
        return
    rows: list[Row] = [
        {"resource": series.resource, "day": day.day, "times_the_month": round(day.ratio or 0.0, 5)} for day in days
    ]
    yield Suspicion(
        f"{series.resource}: {on_days(days)} the median host reads about a hundredth of what it reads in the rest of "
        "the month",
        _UNIT,
        is_certain=True,
        series=int(series.is_lively.sum()),
        share=1.0,
        rows=rows,
    )
