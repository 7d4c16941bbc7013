"""`sensors_alive`: series, or stretches of days, that stand still where they moved before.

A run of equal values in a series that varies is the usual sign of a stuck sensor ("persistence test", World
Meteorological Organization, Guide on the Global Observing System, WMO-No. 488, part VI).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from refinery_assets.checks.plausibility.days import DayFacts
from refinery_assets.checks.plausibility.evidence import Evidence, Flags, ResourceSeries
from refinery_assets.checks.plausibility.suspicions import (
    Suspicion,
    conclude,
    is_enough,
    on_days,
    too_short,
    verb_for,
    without_past,
    worst,
)
from refinery_assets.checks.rules import Finding, Row, counted
from refinery_assets.contract.families import UTILIZATION_CEILING_PERCENT

CHECK = "sensors_alive"

_LONG_RUN = 5
_FRESH_RUN = 2.5
"""How many times its usual longest run a series must stand still for it to be news."""

_SATURATED_FROM = 45.0
_STOOD = 3
_IDLE_UNTIL = 3.0
_STRETCH = 2
_ONE_VALUE_SHARE = 0.5
_LEAST_HOSTS_OF_A_CONSTANT = 4

_LOOK = "Look at the collectors of these hosts, and at the export; have the month exported again when they are fixed."
_LOOK_AT_ALL = "Look at the collectors, and at the export; have the month exported again when they are fixed."


def sensors_alive(evidence: Evidence) -> Finding:
    """Judge whether what moved before still moves."""
    suspicions: list[Suspicion] = []
    for series in evidence.judged_by(CHECK):
        suspicions += _one_constant(evidence, series)
        # What rounding made equal is for precision_kept to tell.
        if not evidence.is_short and not series.is_rounded:
            suspicions += _stopped(evidence, series)
        if not series.is_rounded:
            suspicions += _stretches(evidence, series)
    return conclude(CHECK, evidence, suspicions, lambda: _looked_at(evidence))


def _looked_at(evidence: Evidence) -> str:
    whole = "No resource stands still as a whole"
    if lacks := without_past(CHECK, evidence) or (too_short(evidence) if evidence.is_short else ""):
        return f"{whole}; single series were not looked at, for {lacks}"
    judged = [each for each in evidence.judged_by(CHECK) if not each.is_rounded]
    varied = sum(int((each.is_there & _varied(each)).sum()) for each in judged)
    if not varied:
        return f"{whole}; no series varied in {evidence.before}, so that none can have come to a standstill"
    return f"{whole}, and hardly any of the {varied:,} series that varied in {evidence.before} came to a standstill"


def _one_constant(evidence: Evidence, series: ResourceSeries) -> Iterator[Suspicion]:
    """A resource of which no series moves at all."""
    there = series.is_there & (series.now("readings") >= min(_LONG_RUN, evidence.settings.least_days))
    still = there & (series.now("distinct_values") == 1)
    judged, number = int(there.sum()), int(still.sum())
    if judged < _LEAST_HOSTS_OF_A_CONSTANT or number < judged:
        return
    values = np.unique(series.now("median_y")[still])
    words = f"the one value {values[0]:g}" if len(values) == 1 else "the same value all month"
    yield Suspicion(
        f"{series.resource}: each of {number:,} series reads {words}",
        _LOOK_AT_ALL,
        is_certain=True,
        series=number,
        share=1.0,
        rows=worst(series, still),
    )


def _stopped(evidence: Evidence, series: ResourceSeries) -> Iterator[Suspicion]:
    """Series that varied before and have a long run of equal values now."""
    settings = evidence.settings
    varied = series.is_there & _varied(series)
    judged = int(varied.sum())
    if judged < settings.least_series:
        return
    known = np.fmax(series.usual("longest_run"), series.last("longest_run"))
    hits = varied & (series.now("longest_run") >= np.maximum(_LONG_RUN, _FRESH_RUN * known))
    hits &= ~_explained(series)
    number = int(hits.sum())
    if is_enough(number, judged, settings.still_warn_share, settings.least_series):
        yield Suspicion(
            f"{series.resource}: {number:,} series of {judged:,} that varied in {evidence.before} "
            f"{verb_for(number, 'stand')} still for {_LONG_RUN} days or longer",
            _LOOK,
            is_enough(number, judged, settings.still_fail_share, settings.least_series + 1),
            number,
            number / judged,
            worst(series, hits, "longest_run"),
        )


def _varied(series: ResourceSeries) -> Flags:
    """Hosts whose readings usually differ from day to day."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(series.usual("distinct_values") / series.usual("readings") >= 1 / 3)


def _explained(series: ResourceSeries) -> Flags:
    """Hosts that stand at the ceiling and came near it before, or that idle at 0 and came near that."""
    near = series.last("max_y") >= _SATURATED_FROM / series.months_back
    full = (series.now("max_y") >= UTILIZATION_CEILING_PERCENT) & near
    # Who stood at the ceiling for days already may stand anywhere when there is less to do.
    full |= (series.last("max_y") >= UTILIZATION_CEILING_PERCENT) & (series.last("longest_run") >= _STOOD)
    idle = (series.now("min_y") <= 0) & (series.last("min_y") <= _IDLE_UNTIL)
    return np.asarray(full | idle)


def _stretches(evidence: Evidence, series: ResourceSeries) -> Iterator[Suspicion]:
    """Days on which many hosts read what they read the day before, or all the same."""
    settings = evidence.settings
    lively = int(series.is_lively.sum())
    telling = max((day.hosts for day in series.days), default=0)
    least = max(settings.stretch_share, (settings.least_series + 1) / max(telling, 1))
    unmoved = _longest([day for day in series.days if day.unmoved >= least])
    common = [day for day in series.days if day.common >= max(_ONE_VALUE_SHARE, least)]
    if len(unmoved) >= _STRETCH:
        share = max(day.unmoved for day in unmoved)
        rows: list[Row] = [
            {"resource": series.resource, "day": day.day, "share_of_hosts": round(day.unmoved, 3)} for day in unmoved
        ]
        yield Suspicion(
            f"{series.resource}: from day {unmoved[0].day - 1} to {unmoved[-1].day} up to {share:.0%} of "
            f"{counted(telling, 'host')} whose days can be told apart stand still at once",
            _LOOK_AT_ALL,
            share >= settings.still_fail_share,
            round(share * telling),
            share,
            rows,
        )
    elif common:
        share = max(day.common for day in common)
        rows = [
            {"resource": series.resource, "day": day.day, "value": day.value, "share_of_hosts": round(day.common, 3)}
            for day in common
        ]
        yield Suspicion(
            f"{series.resource}: {on_days(common)} up to {share:.0%} of the hosts looked at whose readings vary read "
            f"one value, {common[0].value:g}",
            _LOOK_AT_ALL,
            len(common) > 1 and share >= settings.still_fail_share,
            round(share * lively),
            share,
            rows,
        )


def _longest(days: Sequence[DayFacts]) -> list[DayFacts]:
    """The longest stretch of days that follow one another."""
    longest: list[DayFacts] = []
    stretch: list[DayFacts] = []
    for day in days:
        stretch = [*stretch, day] if stretch and stretch[-1].day + 1 == day.day else [day]
        longest = max(longest, stretch, key=len)
    return longest
