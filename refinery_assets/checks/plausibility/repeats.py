"""`month_is_new`: series that another month has, and days that another day of the month has.

Four looks: digests of whole series against every published month; digests of ten days against the same days of the
last months; the shape of each series against the last months, which a copy keeps when it is moved by days, scaled, or
sprinkled with noise; and the days of the month against one another. Copies are told from chance by how unlikely equal
numbers are, as in the forensics of fabricated data (Simonsohn, "Just post it", Psychological Science 2013: fabricated
samples are too alike).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from refinery_assets.checks.plausibility.evidence import Evidence, Flags, Floats, ResourceSeries, in_words
from refinery_assets.checks.plausibility.suspicions import Suspicion, conclude, is_enough, verb_for
from refinery_assets.checks.rules import SAMPLE_SIZE, Finding, Row, counted
from refinery_assets.contract.columns import PART_DIGESTS
from refinery_assets.contract.families import UTILIZATION_CEILING_PERCENT
from refinery_assets.contract.months import Month

CHECK = "month_is_new"

_DAY_TWICE = 0.7
"""Share of hosts that must read on a day what they read the day before, for it to be a day told twice."""

_SURELY = 1.5

_SAME_SHAPE = 0.02
"""How far two shapes may be apart: months differ in length, so that a copy lacks a day or two."""

_ROUNDING = 4.0
_BY_CHANCE = 0.06
_DEVIATIONS = 5.0
_FAR_BEYOND = 3.0
_OTHERS_FOR_A_CHANCE = 2

_STANDS_OUT = 0.2
"""How much more series must have one month's shape than any other month's: weeks of two levels, as offices have
them, look alike in all months."""
_STANDS_OUT_FAR = 0.5

_AGAIN = "Have the month exported again."
_PERHAPS = "Compare the two months: the one may be made from the other."


def month_is_new(evidence: Evidence) -> Finding:
    """Judge whether the month's series, and its days, are its own."""
    suspicions = [*_copied(evidence)]
    for series in evidence.judged_by(CHECK):
        # Only what refuses the month by itself: a host or two copied whole must not hide a fleet copied in half.
        told = {
            copies.other_month
            for copies in evidence.copies
            if copies.resource == series.resource and copies.is_certain(evidence.hosts_in_all, evidence.settings)
        }
        told |= {month for month, resource in evidence.copied_by if resource == series.resource}
        parts = [*_copied_parts(evidence, series, told)]
        told |= {str(row["other_month"]) for part in parts if part.is_certain for row in part.rows}
        suspicions += [*parts, *_alike(evidence, series, told), *_days(evidence, series)]
    return conclude(CHECK, evidence, suspicions, lambda: _looked_at(evidence))


def _looked_at(evidence: Evidence) -> str:
    said = "There is no other published month to compare with"
    if others := evidence.other_months:
        months = "the other published month" if others == 1 else f"any of the {others:,} other published months"
        said = f"No series stands in {months}"
    compared = {month for series in evidence.judged_by(CHECK) for month in _with_parts(series)}
    if compared:
        said += f", nor ten days of {evidence.settings.least_series} or more in {in_words(sorted(compared))}"
    if not evidence.has_days:
        return said
    if any(day.hosts for series in evidence.judged_by(CHECK) for day in series.days):
        return f"{said}; no day repeats another across the fleet"
    return f"{said}; no host's readings vary enough to tell its days apart"


def _copied(evidence: Evidence) -> Iterator[Suspicion]:
    """By digest: the values of days 1 to 28 in order."""
    for copies in evidence.copies:
        series = evidence.series.get(copies.resource)
        if series is None or not evidence.settings.is_for(CHECK, copies.resource):
            continue
        judged = evidence.hosts_in_all
        settings = evidence.settings
        rows: list[Row] = [
            {
                "resource": copies.resource,
                "host_id": host,
                "other_month": copies.other_month,
                "other_resource": copies.other_resource,
                "other_host": other,
            }
            for host, other in copies.hosts[:SAMPLE_SIZE]
        ]
        yield Suspicion(
            f"{copies.resource}: {copies.series:,} series of {judged:,} {verb_for(copies.series, 'read')}, day by day, "
            f"what {copies.other_resource} of {copies.other_month} reads",
            _AGAIN,
            copies.is_certain(judged, settings),
            copies.series,
            copies.series / judged,
            rows,
            [copies.other_month],
        )


def _copied_parts(evidence: Evidence, series: ResourceSeries, told: Collection[str]) -> Iterator[Suspicion]:
    """By digest: the values of ten days, or of the last eight, on the same days of an earlier month."""
    settings = evidence.settings
    if not series.earlier:
        return
    hits = np.zeros((len(series.earlier), len(series.hosts)), dtype=np.bool_)
    for part in PART_DIGESTS:
        same = series.figures[part][:-1] == series.now(part)
        if same.any():
            hits |= same & _is_own(series.now(part))
    if not hits.any():
        return
    hits[[str(month) in told for month in series.earlier]] = False
    # Whole copies have been spoken of; beside others that are not, they are parts as well.
    is_whole = series.figures["values_digest"][:-1] == series.now("values_digest")
    hits[(hits <= is_whole).all(axis=1)] = False
    at_best = int(hits.sum(axis=1).argmax())
    best = hits[at_best]
    number = int(best.sum())
    if number < settings.least_series:
        return
    # Of all series, and not only of those that vary enough to tell: where few do, they may have a rhythm in common.
    judged = int(series.is_there.sum())
    there = str(series.earlier[at_best])
    # A part that one host in passing has in common is none that was copied.
    days = [
        f"{first} to {last}"
        for part, (first, last) in PART_DIGESTS.items()
        if (series.figures[part][at_best] == series.now(part)).sum() >= number / 2
    ]
    rows: list[Row] = [
        {
            "resource": series.resource,
            "host_id": str(series.hosts[host]),
            "other_month": there,
            **{
                f"days_{first}_to_{last}": bool(series.figures[part][at_best][host] == series.now(part)[host])
                for part, (first, last) in PART_DIGESTS.items()
            },
        }
        for host in np.flatnonzero(best)[:SAMPLE_SIZE]
    ]
    yield Suspicion(
        f"{series.resource}: {number:,} series of {judged:,} {verb_for(number, 'read')} on days {' and '.join(days)}, "
        f"day by day, what the same {'host reads' if number == 1 else 'hosts read'} on these days of {there}",
        _AGAIN,
        is_enough(number, judged, settings.copied_share, settings.least_series),
        number,
        number / judged,
        rows,
        [there],
    )


def _is_own(digests: Floats) -> Flags:
    """Which hosts have a digest that no other host of the month has: what several share is a pattern, as of a quota."""
    _, where, times = np.unique(digests, return_inverse=True, return_counts=True)
    return np.asarray(times[where] == 1)


def _with_parts(series: ResourceSeries) -> Iterator[Month]:
    """The earlier months of which any host has digests of the same days as in the month at hand."""
    for at, month in enumerate(series.earlier):
        if any(not np.isnan(series.figures[part][at] + series.now(part)).all() for part in PART_DIGESTS):
            yield month


def _alike(evidence: Evidence, series: ResourceSeries, told: Collection[str]) -> Iterator[Suspicion]:
    """By shape: the same least and greatest reading, or the same mean and median between the two."""
    settings = evidence.settings
    greatest: list[_Alike] = []
    shape: list[_Alike] = []
    same_greatest, same_shape = _same_greatest(series), _same_shape(series)
    both = series.rich[:-1] & series.rich[-1]
    for at, (month, judged) in enumerate(zip(series.earlier, both.sum(axis=1).tolist(), strict=True)):
        if judged < settings.least_series or str(month) in told:
            continue
        greatest.append(_Alike(same_greatest[at] & both[at], judged, at, str(month)))
        shape.append(_Alike(same_shape[at] & both[at], judged, at, str(month)))
    yield from _alike_beyond_chance(
        series,
        greatest,
        settings.alike_share,
        _FAR_BEYOND * settings.alike_share,
        "the very same greatest reading as",
    )
    yield from _alike_beyond_chance(
        series, shape, _STANDS_OUT, _STANDS_OUT_FAR, "the same shape, up to scale and level, as"
    )


@dataclass(frozen=True)
class _Alike:
    """The series that have something in common with those of an earlier month."""

    hits: Flags
    judged: int
    at: int
    month: str

    @cached_property
    def share(self) -> float:
        return float(self.hits.sum()) / self.judged


def _alike_beyond_chance(
    series: ResourceSeries, seen: Sequence[_Alike], warn: float, fail: float, words: str
) -> Iterator[Suspicion]:
    if not seen:
        return
    best, *others = sorted(seen, key=lambda each: -each.share)
    # What honest months have in common by chance, they have with other months as well.
    chance = max(_BY_CHANCE, others[0].share if others else 0.0)
    number = int(best.hits.sum())
    if best.share - chance < warn or number - chance * best.judged < _DEVIATIONS * np.sqrt(chance * best.judged) + 1:
        return
    # One or two earlier months do not show what chance may do.
    certain = best.share - chance >= fail and len(others) >= _OTHERS_FOR_A_CHANCE
    rows: list[Row] = [
        {
            "resource": series.resource,
            "host_id": str(series.hosts[host]),
            "other_month": best.month,
            **{
                f"{figure}_{when}": round(float(series.figures[figure][at][host]), 6)
                for figure in ("mean_y", "max_y")
                for when, at in (("then", best.at), ("now", -1))
            },
        }
        for host in np.flatnonzero(best.hits)[:SAMPLE_SIZE]
    ]
    yield Suspicion(
        f"{series.resource}: {number:,} series of {best.judged:,} {verb_for(number, 'have')} {words} in {best.month}, "
        + (f"and at most {chance:.0%} with any other month" if others else "the one month to compare with"),
        _AGAIN if certain else _PERHAPS,
        certain,
        number,
        best.share,
        rows,
        [best.month],
    )


def _same_greatest(series: ResourceSeries) -> Flags:
    """By earlier month and host. The least reading would tell less: many hosts idle at a level of their own."""
    most, now = series.figures["max_y"][:-1], series.now("max_y")
    return np.asarray((most == now) & ((now < UTILIZATION_CEILING_PERCENT) & series.is_fine))


RARE = 14
"""Distinct readings from which a series has a shape of its own."""


def _same_shape(series: ResourceSeries) -> Flags:
    """By earlier month and host: where mean and median lie between the least and the greatest reading.

    Scale and level do not matter.
    """
    least, most = series.figures["min_y"], series.figures["max_y"]
    with np.errstate(divide="ignore", invalid="ignore"):
        width = most - least
        tolerance = np.maximum(_SAME_SHAPE, _ROUNDING * series.step / width[-1])
        # Where rounding leaves little of a series, shapes say nothing.
        same = (
            (tolerance <= _SAME_SHAPE)
            & (series.now("distinct_values") > RARE)
            & (series.now("max_y") < UTILIZATION_CEILING_PERCENT)
        ) & np.ones((len(series.earlier), 1), dtype=np.bool_)
        for name in ("mean_y", "median_y"):
            place = (series.figures[name] - least) / width
            same &= np.abs(place[:-1] - place[-1]) < tolerance
    return np.asarray(same)


def _days(evidence: Evidence, series: ResourceSeries) -> Iterator[Suspicion]:
    """By day: the readings of the hosts on two days of the month."""
    least = evidence.settings.day_share
    if series.is_rounded:
        return
    telling = max((day.hosts for day in series.days), default=0)
    # A stretch of still days is for sensors_alive; a single one is a day told twice.
    still = {day.day for day in series.days if day.unmoved >= least}
    twins = {day.day: (day.twin, day.twinned) for day in series.days if day.twinned >= least} | {
        day.day: (day.day - 1, day.unmoved)
        for day in series.days
        if day.unmoved >= _DAY_TWICE
        and day.unmoved * telling > evidence.settings.least_series
        and not {day.day - 1, day.day + 1} & still
    }
    if not twins:
        return
    share = max(of for _, of in twins.values())
    rows: list[Row] = [
        {"resource": series.resource, "day": day, "same_as_day": twin, "share_of_hosts": round(of, 3)}
        for day, (twin, of) in twins.items()
    ]
    first = next(iter(twins))
    yield Suspicion(
        f"{series.resource}: {counted(len(twins), 'day')} {verb_for(len(twins), 'repeat')} an earlier day of the "
        f"month, day {first} what day {twins[first][0]} reads, in up to {share:.0%} of {counted(telling, 'host')} "
        "whose days can be told apart",
        "Have the month exported again: days of it stand there twice.",
        share >= _SURELY * least,
        round(share * telling),
        share,
        rows,
    )
