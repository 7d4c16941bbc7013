"""`levels_plausible`: a fleet whose level or spread moved far beyond its usual movement from month to month.

Movements are medians over the hosts, each against itself, so that neither growth of the fleet nor a few wild hosts
count; they are held against the median and the median absolute deviation of earlier movements (Iglewicz and Hoaglin,
How to Detect and Handle Outliers, 1993: the modified z-score).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from statistics import median

import numpy as np

from refinery_assets.checks.plausibility.evidence import Evidence, Floats, ResourceSeries, medians
from refinery_assets.checks.plausibility.suspicions import (
    Suspicion,
    conclude,
    on_days,
    too_short,
    without_past,
    worst,
)
from refinery_assets.checks.rules import Finding, Row

CHECK = "levels_plausible"

_FEWEST_HOSTS = 8
_FEWEST_MOVES = 3
_YEAR = 12
_AS_BEFORE = 0.4
"""How much of a movement must have been seen in the same month a year before to be taken as the season's."""

_DAYS_OF_A_WEEK = 7
_DAY_FACTOR = 3.0
_MAD = 1.4826

_OF_THE_GREATEST = 3.0
_APART = 0.05

_UNKNOWN = 2.0
"""How much wider the limits are where too few months say what is usual."""

_LOOK = (
    "Compare the month with the month before in the report, and with what is known of the fleet; export it again if it "
    "is wrong."
)


def levels_plausible(evidence: Evidence) -> Finding:
    """Judge whether levels and spreads are within reach of the months before."""
    suspicions: list[Suspicion] = []
    if not evidence.is_short:
        for series in _judged(evidence):
            suspicions += [*_moved(evidence, series), *_odd_days(series)]
    return conclude(CHECK, evidence, suspicions, lambda: _looked_at(evidence))


def _looked_at(evidence: Evidence) -> str:
    if lacks := without_past(CHECK, evidence) or (too_short(evidence) if evidence.is_short else ""):
        return f"Levels were not compared: {lacks}"
    last = evidence.earlier[-1]
    hosts = [int((~np.isnan(each.figures["median_y"][_LAST_TWO])).all(axis=0).sum()) for each in _judged(evidence)]
    if max(hosts, default=0) < _FEWEST_HOSTS:
        return f"Levels were not compared: fewer than {_FEWEST_HOSTS} hosts stand in both the month and {last}"
    if len(evidence.earlier) <= _FEWEST_MOVES:
        return f"Levels and spreads are within reach of {last}; too few earlier months say how far they usually move"
    return f"Levels and spreads moved from {last} no farther than the movements of {evidence.before} allow"


def _judged(evidence: Evidence) -> list[ResourceSeries]:
    return list(evidence.judged_by(CHECK))


def _level(series: ResourceSeries, months: slice) -> Floats:
    return np.asarray(np.log(series.figures["median_y"][months] + 1.0))


def _spread(series: ResourceSeries, months: slice) -> Floats:
    return np.asarray(np.log(series.figures["max_y"][months] - series.figures["min_y"][months] + 0.1))


def _moves(values: Floats) -> tuple[Floats, float]:
    """The fleet's movement into each month but the first, and what chance makes of the last one."""
    moves = np.diff(values, axis=0)
    if not len(moves):
        return np.array([]), 0.0
    known = (~np.isnan(moves)).sum(axis=1)
    fleet = np.where(known >= _FEWEST_HOSTS, medians(moves, axis=1), np.nan)
    # A small fleet's median moves by chance as its hosts do.
    deviation = _MAD * float(medians(np.abs(moves[-1] - fleet[-1])))
    return fleet, deviation / float(np.sqrt(max(known[-1], 1)))


def _moves_apart(values: Floats) -> tuple[Floats, float]:
    """How far the hosts are apart, as the movement into each month, of the hosts that both months have."""
    fleet = np.full(max(len(values) - 1, 0), np.nan)
    number = 0
    for at in range(len(fleet)):
        pair = values[at : at + 2]
        both = ~np.isnan(pair).any(axis=0)
        number = int(both.sum())
        if number >= _FEWEST_HOSTS:
            before, after = _quartiles_apart(pair[:, both])
            fleet[at] = np.log((after + _APART) / (before + _APART))
    return fleet, 1 / np.sqrt(max(number, 1))


def _quartiles_apart(values: Floats) -> Floats:
    """How far the quartiles of each row are apart: as `np.quantile` has them, in a quarter of the time."""
    in_order = np.sort(values, axis=1)
    lower, upper = (_at(in_order, share * (values.shape[1] - 1)) for share in (0.25, 0.75))
    return np.asarray(upper - lower)


def _at(in_order: Floats, place: float) -> Floats:
    """The values at a place that may lie between two; reckoned from the nearer one."""
    low = int(place)
    share = place - low
    one, other = in_order[:, low], in_order[:, min(low + 1, in_order.shape[1] - 1)]
    apart = other - one
    return np.asarray(one + apart * share if share < 0.5 else other - apart * (1 - share))  # noqa: PLR2004 - a half


_LAST_TWO = slice(-2, None)
_Measure = Callable[[ResourceSeries, slice], tuple[Floats, float]]
_MEASURES: tuple[tuple[str, _Measure, float], ...] = (
    ("level of the hosts", lambda series, months: _moves(_level(series, months)), 1.0),
    ("spread of the readings", lambda series, months: _moves(_spread(series, months)), 1.5),
    ("distance between the hosts", lambda series, months: _moves_apart(_level(series, months)), 1.5),
)


def _moved(evidence: Evidence, series: ResourceSeries) -> Iterator[Suspicion]:
    settings = evidence.settings
    for name, measure, slack in _MEASURES:
        # A month that hardly moved is none to suspect, whatever is usual.
        last, _ = measure(series, _LAST_TWO)
        if not len(last) or abs(last[-1]) <= settings.level_factor * settings.level_floor * slack / 2:
            continue
        fleet, chance = measure(series, slice(None))
        if not len(fleet) or np.isnan(fleet[-1]):
            continue
        past = fleet[:-1][~np.isnan(fleet[:-1])]
        scale = max(settings.level_floor * slack, chance)
        usual = 0.0
        if len(past) >= _FEWEST_MOVES:
            usual = float(np.median(past))
            deviation = _MAD * float(np.median(np.abs(past - usual)))
            scale = max(scale, deviation, float(np.max(np.abs(past))) / _OF_THE_GREATEST)
        else:
            scale *= _UNKNOWN
        # Over two months a fleet may move twice as far as over one.
        apart = evidence.month.months_since(evidence.earlier[-1])
        usual, scale = usual * apart, scale * apart
        beyond = (fleet[-1] - usual) / scale
        if abs(beyond) <= settings.level_factor or _as_a_year_ago(evidence, fleet):
            continue
        usually = f"usually by {np.expm1(usual):+.0%}, which is {abs(beyond):.0f} times what is usual"
        if len(past) < _FEWEST_MOVES:
            usually = f"{abs(beyond):.0f} times what may be where too few earlier months say what is usual"
        yield Suspicion(
            f"{series.resource}: the {name} moved by {np.expm1(fleet[-1]):+.0%} from {evidence.earlier[-1]}, {usually}",
            _LOOK,
            abs(beyond) > 2 * settings.level_factor,
            int(series.is_there.sum()),
            1.0,
            worst(series, series.is_there & ~np.isnan(series.last("median_y"))),
            [str(evidence.earlier[-1])],
        )
        return


def _as_a_year_ago(evidence: Evidence, fleet: Floats) -> bool:
    """Whether the same step of the year before moved alike."""
    months = [*evidence.earlier, evidence.month]
    for at in range(1, len(months) - 1):
        month = months[at]
        if (month.year, month.month) == (evidence.month.year - 1, evidence.month.month):
            then = fleet[at - 1]
            return bool(then * fleet[-1] > 0 and abs(then) >= _AS_BEFORE * abs(fleet[-1]))
    return False


def _odd_days(series: ResourceSeries) -> Iterator[Suspicion]:
    """Days on which the fleet reads far from what it reads on the same days of other weeks of the month."""
    of_weekday: dict[int, list[float]] = {}
    for day in series.days:
        if day.ratio:
            of_weekday.setdefault(day.day % _DAYS_OF_A_WEEK, []).append(day.ratio)
    usual = {weekday: median(ratios) for weekday, ratios in of_weekday.items()}
    days = [
        day
        for day in series.days
        if day.ratio is not None
        and not 1 / _DAY_FACTOR <= day.ratio / usual.get(day.day % _DAYS_OF_A_WEEK, 1.0) <= _DAY_FACTOR
    ]
    if not days or len(days) > len(series.days) / 2:
        return
    rows: list[Row] = [
        {"resource": series.resource, "day": day.day, "times_the_month": round(day.ratio or 0.0, 4)} for day in days
    ]
    yield Suspicion(
        f"{series.resource}: {on_days(days)} the median host reads "
        f"{days[0].ratio:.2g} times what it reads in the rest of the month",
        _LOOK,
        is_certain=False,
        series=int(series.is_lively.sum()),
        share=len(days) / max(len(series.days), 1),
        rows=rows,
    )
