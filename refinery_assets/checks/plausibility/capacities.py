"""The limits that the feed states: the half of `units_plausible` that looks at capacities."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from refinery_assets.checks.plausibility.evidence import Evidence, Floats, ResourceSeries
from refinery_assets.checks.plausibility.suspicions import Suspicion, is_enough, verb_for, worst
from refinery_assets.checks.rules import counted

_UNITS = {
    "1,000": 1e3, "1,024": 1024.0, "1,000,000": 1e6, "1,048,576": 1024.0**2, "1.024": 1.024, "1.048576": 1.024**2,
    "1.073741824": 1.024**3, "8": 8.0, "100": 100.0,
}  # fmt: skip
"""The factors between units that are taken for one another: decimal and binary, bits and bytes, percent."""

_DEALT_OUT = 0.3
"""How little values differ, sorted, for what they differ host by host, when they are dealt out anew."""

_SAME = 0.003
"""How far two factors may be apart, as a logarithm, to count as one."""

_MANY = 5.0
"""Limits of one host in one month that are no limits."""

_MOST_OF_ALL = 0.8
_HALF = 0.5

_AGAIN = "Have the export state capacities as it did before, and export the month again."


def suspect_capacities(evidence: Evidence, series: ResourceSeries) -> Iterator[Suspicion]:
    """Suspect limits that moved by one factor, that are gone, that are readings, or that are others."""
    found = [*_exchanged(evidence, series)] or [*_gone(evidence, series), *_moved(evidence, series)]
    yield from found


def _exchanged(evidence: Evidence, series: ResourceSeries) -> Iterator[Suspicion]:
    """Limits that stand where readings belong, and readings that stand where limits belong."""
    settings = evidence.settings
    still = series.is_there & (series.now("min_y") == series.now("max_y")) & (series.now("readings") > 1)
    there = int(series.is_there.sum())
    was = series.last("capacity")
    with np.errstate(divide="ignore", invalid="ignore"):
        as_limit = series.is_there & (np.abs(np.log(series.now("median_y") / was)) < _SAME)
        other = np.abs(np.log(series.now("capacity") / was)) >= _SAME
    hits = as_limit & (other | np.isnan(series.now("capacity")))
    # Without an earlier month: limits that change from day to day, and readings that do not.
    if not evidence.earlier:
        hits = still & (series.now("capacities") >= np.minimum(_MANY, series.now("readings")))
    number = int(hits.sum())
    if is_enough(number, there, settings.factor_warn_share / 2, settings.least_series):
        seen = (
            f"{verb_for(number, 'read')} the limit stated {series.when(hits)}, and {verb_for(number, 'state')} another"
        )
        if not evidence.earlier:
            seen = f"{verb_for(number, 'read')} the same all month, and {verb_for(number, 'state')} ever other limits"
        yield Suspicion(
            f"{series.resource}: {number:,} series of {there:,} {seen}: readings and capacities are exchanged",
            "Have the export put readings and capacities into their own columns again.",
            is_enough(number, there, settings.factor_warn_share, settings.least_series),
            number,
            number / there,
            worst(series, hits, "capacity"),
            series.last_months(hits),
        )


def _gone(evidence: Evidence, series: ResourceSeries) -> Iterator[Suspicion]:
    settings = evidence.settings
    before, now = series.last("capacity"), series.now("capacity")
    known = series.is_there & (before > 0)
    hits = known & ~(now > 0)
    judged, number = int(known.sum()), int(hits.sum())
    if int((series.is_there & (now > 0)).sum()) > _MOST_OF_ALL * judged and number > (1 - _MOST_OF_ALL) * judged:
        # There are as many as there were, beside other hosts.
        return
    if is_enough(number, judged, settings.factor_warn_share, settings.least_series):
        yield Suspicion(
            f"{series.resource}: the capacities of {counted(number, 'host')} of {judged:,} that had one "
            f"{series.when(hits)} are empty or 0",
            _AGAIN,
            is_enough(number, judged, _HALF, settings.least_series),
            number,
            number / judged,
            worst(series, hits, "capacity", by=np.nan_to_num(before)),
            series.last_months(hits),
        )


def is_redealt(now: Floats, before: Floats) -> bool:
    """Whether values are those of before, and only stand beside other hosts; `hosts_in_place` is for that."""
    apart = float(np.mean(np.abs(now - before)))
    return apart > 0 and float(np.mean(np.abs(np.sort(now) - np.sort(before)))) < _DEALT_OUT * apart


def _moved(evidence: Evidence, series: ResourceSeries) -> Iterator[Suspicion]:
    settings = evidence.settings
    before, now = series.last("capacity"), series.now("capacity")
    known = series.is_there & (before > 0) & (now > 0)
    judged = int(known.sum())
    if not judged:
        return
    ratio = np.full(len(before), np.nan)
    ratio[known] = np.log(now[known] / before[known])
    changed = known & (np.abs(ratio) >= _SAME)
    if not is_enough(int(changed.sum()), judged, settings.factor_warn_share, settings.least_series):
        return
    if is_redealt(now[changed], before[changed]):
        return
    for name, factor in _UNITS.items():
        for sign, words in ((1, f"{name} times"), (-1, f"1/{name} of")):
            hits = changed & (np.abs(ratio - sign * np.log(factor)) < _SAME)
            number = int(hits.sum())
            # A host may well get eight times its memory; most of those that change do not.
            if is_enough(number, judged, settings.factor_warn_share, settings.least_series) and (
                number >= _HALF * changed.sum()
            ):
                yield Suspicion(
                    f"{series.resource}: the capacities of {counted(number, 'host')} of {judged:,} are {words} what "
                    f"they were {series.when(hits)}, as in another unit",
                    _AGAIN,
                    is_enough(number, judged, settings.factor_fail_share, settings.least_series),
                    number,
                    number / judged,
                    worst(series, hits, "capacity"),
                    series.last_months(hits),
                )
                return
    median = float(np.median(ratio[changed]))
    alike = changed & (np.abs(ratio - median) < _SAME)
    for hits, words in ((alike, f"{np.exp(median):.4g} times what they were"), (changed, "others than they were")):
        number = int(hits.sum())
        if is_enough(number, judged, _HALF, settings.least_series):
            yield Suspicion(
                f"{series.resource}: the capacities of {counted(number, 'host')} of {judged:,} are {words} "
                f"{series.when(hits)}",
                _AGAIN,
                is_enough(number, judged, _MOST_OF_ALL, settings.least_series),
                number,
                number / judged,
                worst(series, hits, "capacity"),
                series.last_months(hits),
            )
            return
