"""`hosts_in_place`: values that belong to other hosts.

A shuffled column leaves the fleet as a whole as it was and changes who reads what: the levels of the hosts, sorted,
agree with those of the month before, and host by host they do not. How well they follow is told by Spearman's rank
correlation (Conover, Practical Nonparametric Statistics, 3rd ed., 5.4).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import pairwise

import numpy as np

from refinery_assets.checks.plausibility.evidence import Evidence, Flags, Floats, ResourceSeries, medians
from refinery_assets.checks.plausibility.suspicions import (
    Suspicion,
    conclude,
    is_enough,
    too_short,
    verb_for,
    without_past,
    worst,
)
from refinery_assets.checks.rules import Finding, Row, counted, listing

CHECK = "hosts_in_place"

_FEWEST_HOSTS = 8
_FOLLOWS = 0.7
"""Rank correlation from which the fleet's levels are said to follow those of the month before."""

_LOST = 0.35
_FAR = 4.0
_FLOOR = 0.15
_REDEALT = 0.35

_AGAIN = "Have the export put each value beside its own host again; compare the names' order with the values'."


def hosts_in_place(evidence: Evidence) -> Finding:
    """Judge whether the hosts' levels are where they were."""
    suspicions: list[Suspicion] = []
    reasons: dict[str, str] = {}
    for series in evidence.judged_by(CHECK):
        far = _far_off(series) if not evidence.is_short and _in_both(series).sum() >= _FEWEST_HOSTS else None
        reasons[series.resource] = _why_not(evidence, series, far)
        if far is not None and not reasons[series.resource]:
            suspicions += _moved(evidence, series, far)
        suspicions += [*_redealt_capacities(evidence, series), *_pasted(evidence, series)]
    return conclude(CHECK, evidence, suspicions, lambda: _looked_at(evidence, reasons))


def _looked_at(evidence: Evidence, reasons: Mapping[str, str]) -> str:
    own = "Hosts have readings of their own"
    if lacks := without_past(CHECK, evidence) or (too_short(evidence) if evidence.is_short else ""):
        return f"{own}; their levels were not compared, for {lacks}"
    others = {resource: why for resource, why in reasons.items() if why}
    compared = [int(_in_both(each).sum()) for each in evidence.judged_by(CHECK) if each.resource not in others]
    said = own
    if compared:
        said += f", and the levels of {sum(compared):,} series follow those of their last month, up to "
        said += str(evidence.earlier[-1])
    for why in dict.fromkeys(others.values()):
        said += (
            f"; levels of {listing(name for name, each in others.items() if each == why)} were not compared, for {why}"
        )
    return said


def _in_both(series: ResourceSeries) -> Flags:
    """The hosts whose levels can be held against those of their last month."""
    return series.is_there & series.has_past


def _why_not(evidence: Evidence, series: ResourceSeries, far: Flags | None) -> str:
    """Why a resource's levels cannot be held against those before; empty where they can, and where few are far off."""
    if far is None:
        known = int(_in_both(series).sum())
        return f"{counted(known, 'host')} with an earlier month {verb_for(known, 'are')} too few"
    if _are_many(evidence, series, far) and _usual_correlation(series) < _FOLLOWS:
        return "they do not follow from month to month"
    return ""


def _level(values: Floats) -> Floats:
    """Percent on a scale on which small loads differ, too."""
    return np.asarray(np.log(values + 1.0))


def rank_correlation(one: Floats, other: Floats) -> float:
    """Spearman's, between two arrays without gaps; 0 where either is constant."""
    ranks = [_ranks(each) for each in (one, other)]
    if any(each.std() == 0 for each in ranks):
        return 0.0
    return float(np.corrcoef(ranks[0], ranks[1])[0, 1])


def _ranks(values: Floats) -> Floats:
    """Ranks, those of equal values their mean."""
    _, places, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    return np.asarray((ends - (counts - 1) / 2)[places])


def _far_off(series: ResourceSeries) -> Flags:
    """Who moved farther than hosts of this fleet do else."""
    now, before, both = _level(series.now("median_y")), _level(series.last("median_y")), _in_both(series)
    scale = max(_usual_move(series), _FLOOR)
    shift = float(np.median(now[both] - before[both]))
    # Of a host whose last month is two back, twice as much is no more.
    return np.asarray(both & (np.abs(now - before - shift) > _FAR * scale * series.months_back))


def _are_many(evidence: Evidence, series: ResourceSeries, far: Flags) -> bool:
    settings = evidence.settings
    judged = int(_in_both(series).sum())
    return is_enough(int(far.sum()), judged, settings.moved_warn_share, settings.least_series + 1)


def _moved(evidence: Evidence, series: ResourceSeries, far: Flags) -> Iterator[Suspicion]:
    settings = evidence.settings
    now, before = _level(series.now("median_y")), _level(series.last("median_y"))
    both = _in_both(series)
    judged = int(both.sum())
    number = int(far.sum())
    if not _are_many(evidence, series, far):
        return
    follows = rank_correlation(now[both], before[both])
    usually = _usual_correlation(series)
    # A migration or an upgrade moves the whole of what it moves; a shuffle deals the same levels out anew.
    apart = float(np.mean(np.abs(now[far] - before[far])))
    dealt = float(np.mean(np.abs(np.sort(now[far]) - np.sort(before[far]))))
    if dealt > _REDEALT * apart or follows > usually - 0.05:
        return
    yield Suspicion(
        f"{series.resource}: {counted(number, 'host')} of {judged:,} {verb_for(number, 'read')} at levels that other "
        f"hosts had {series.when(both)}: the rank correlation of all is {follows:.2f}, "
        + (f"usually {usually:.2f}" if len(evidence.earlier) > 1 else "where most fleets' is above 0.9"),
        _AGAIN,
        follows < usually - _LOST
        and is_enough(number, judged, settings.moved_fail_share / 2, settings.least_series + 2),
        number,
        number / judged,
        worst(series, far),
        series.last_months(both),
    )


def _usual_correlation(series: ResourceSeries) -> float:
    """The median of the rank correlations of the last months, each with the one before it."""
    found = []
    for one, other in pairwise(series.figures["median_y"][:-1][-4:]):
        both = ~np.isnan(one) & ~np.isnan(other)
        if both.sum() >= _FEWEST_HOSTS:
            found.append(rank_correlation(one[both], other[both]))
    # With one earlier month nothing says how well levels follow; most fleets' do.
    return float(np.median(found)) if found else 0.9


def _usual_move(series: ResourceSeries) -> float:
    """The median over hosts of their movement between earlier months, made comparable with a deviation."""
    levels = _level(series.figures["median_y"][:-1][-4:])
    move = float(medians(np.abs(np.diff(levels, axis=0)).ravel()))
    return 2 * _FLOOR if np.isnan(move) else 1.4826 * move


def _redealt_capacities(evidence: Evidence, series: ResourceSeries) -> Iterator[Suspicion]:
    """The fleet has the same limits as before, and other hosts have them."""
    settings = evidence.settings
    now, before = series.now("capacity"), series.last("capacity")
    both = ~np.isnan(now) & ~np.isnan(before)
    judged = int(both.sum())
    if judged < _FEWEST_HOSTS or len(np.unique(before[both])) < settings.least_series:
        return
    changed: Flags = both & (now != before)
    number = int(changed.sum())
    if not is_enough(number, judged, settings.moved_warn_share / 2, settings.least_series):
        return
    same = np.isclose(np.sort(now[changed]), np.sort(before[changed]), rtol=1e-9).mean()
    if same < 1 - _REDEALT / 2:
        return
    yield Suspicion(
        f"{series.resource}: the capacities of {counted(number, 'host')} of {judged:,} are those that other hosts had "
        f"{series.when(changed)}",
        _AGAIN,
        is_enough(number, judged, settings.moved_fail_share / 2, settings.least_series + 2),
        number,
        number / judged,
        worst(series, changed, "capacity"),
        series.last_months(changed),
    )


def _occur_twice(values: Floats) -> Flags:
    """Which values stand among them more than once."""
    in_order = np.sort(values)
    twice = in_order[1:][in_order[1:] == in_order[:-1]]
    return np.isin(values, twice)


def _pasted(evidence: Evidence, series: ResourceSeries) -> Iterator[Suspicion]:
    """One host's readings under the names of others, in this very month."""
    settings = evidence.settings
    rich = series.rich[-1]
    judged = int(rich.sum())
    if judged < settings.least_series:
        return
    figures = [series.now(name)[rich] for name in ("mean_y", "min_y", "max_y", "median_y")]
    # Few hosts have even their mean in common with another one, and only these are compared as a whole.
    repeated = _occur_twice(figures[0])
    if not is_enough(int(repeated.sum()), judged, settings.moved_warn_share / 2, settings.least_series):
        return
    _, places, counts = np.unique(
        np.stack([figure[repeated] for figure in figures], axis=1), axis=0, return_inverse=True, return_counts=True
    )
    repeated[repeated] = counts[places.ravel()] > 1
    number = int(repeated.sum())
    if not is_enough(number, judged, settings.moved_warn_share / 2, settings.least_series):
        return
    hosts = series.hosts[rich][repeated]
    values = figures[0][repeated]
    order = np.argsort(values, kind="stable")
    rows: list[Row] = [
        {"resource": series.resource, "host_id": str(hosts[at]), "mean_now": round(float(values[at]), 6)}
        for at in order
    ]
    yield Suspicion(
        f"{series.resource}: {counted(number, 'host')} of {judged:,} {verb_for(number, 'read')} exactly what another "
        "host reads",
        _AGAIN,
        is_enough(number, judged, settings.moved_fail_share / 2, settings.least_series),
        number,
        number / judged,
        rows,
    )
