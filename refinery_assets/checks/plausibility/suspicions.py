"""What a rule suspects of a month, and the finding that comes of it.

Here: how suspicions of several resources become one finding, and how far a rule's mode lets it go. Not here: any
suspicion.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from refinery_assets.checks.plausibility.days import DayFacts
from refinery_assets.checks.plausibility.evidence import Evidence, Flags, Floats, ResourceSeries
from refinery_assets.checks.rules import SAMPLE_SIZE, Cell, Finding, Outcome, Row, counted, listing, outcome
from refinery_assets.contract.months import Month
from refinery_assets.contract.plausibility import Mode

_EXAMPLES = 3
"""How many hosts a message names; the sample has more."""

ACCEPT = "If {month} is right as it is, accept it: refinery accept {month} {check} --why TEXT."


@dataclass(frozen=True)
class Suspicion:
    """What speaks against one resource of the month.

    Attributes:
        sentence: What was seen, with counts, in words of our own, and no full stop.
        recovery: What to do about it, as a sentence.
        is_certain: Whether it is beyond doubt, and no strange but honest month.
        series: How many series it is about.
        share: Of those judged.
        rows: The worst of them: month before and month now.
        against: The months that it was held against, any of which may be the one that is wrong; empty where the month
            speaks against itself.
    """

    sentence: str
    recovery: str
    is_certain: bool
    series: int = 0
    share: float = 0.0
    rows: Sequence[Row] = ()
    against: Sequence[str] = ()


def conclude(check: str, evidence: Evidence, suspicions: Iterable[Suspicion], looked_at: Callable[[], str]) -> Finding:
    """The finding of a rule.

    Args:
        check: The rule's name.
        evidence: What it looked at.
        suspicions: What it suspects, the worst first.
        looked_at: Says what it looked at and found in order, and what it could not look at, where it suspects nothing.
    """
    mode = evidence.settings.mode(check)
    counts: dict[str, Cell] = {"mode": str(mode), "months_compared": len(evidence.earlier)}
    if mode is Mode.OFF:
        return Finding(Outcome.PASSED, f"Not looked at: {check} is off.", counts)
    found = sorted(suspicions, key=lambda each: not each.is_certain)
    counts["series"] = sum(each.series for each in found)
    counts["share"] = max((each.share for each in found), default=0.0)
    if not found:
        return Finding(Outcome.PASSED, f"{looked_at()}.{_aside(check, evidence)}", counts)
    failed = mode is Mode.FAIL and any(each.is_certain for each in found)
    most = max(1, SAMPLE_SIZE // len(found))
    accept = ACCEPT.format(month=evidence.month, check=check)
    recoveries = list(dict.fromkeys(each.recovery for each in found))
    if against := sorted({month for each in found for month in each.against}):
        recoveries.append(_the_other_side(check, evidence.month, against))
    return Finding(
        outcome(failed=failed, warned=True),
        f"{'; '.join(each.sentence for each in found)}.{_aside(check, evidence)}",
        counts,
        _examples(found),
        offenders=[row for each in found for row in each.rows[:most]],
        recovery=" ".join([*recoveries, accept] if failed else recoveries),
    )


def _the_other_side(check: str, month: Month, against: Sequence[str]) -> str:
    """What to do where another month is the wrong one. Once its acceptance is withdrawn, nothing is held against it."""
    one = len(against) == 1
    wrong = f"{against[0]} is" if one else f"one of {listing(against)} is"
    return (
        f"If {wrong} the wrong one, have that exported again (or, if it was accepted, withdraw that: refinery accept "
        f"{against[0] if one else 'MONTH'} {check} --withdraw), then run {'both' if one else 'all of them'}: refinery "
        f"run {' '.join(sorted({*against, str(month)}))}."
    )


def _examples(found: Iterable[Suspicion]) -> str:
    """A few of the hosts, where it is hosts that are suspected and not days."""
    named: dict[str, None] = {}
    for each in found:
        rows = [row for row in each.rows if "host_id" in row]
        hosts = list(dict.fromkeys(str(row["host_id"]) for row in rows))[:_EXAMPLES]
        resources = list(dict.fromkeys(str(row["resource"]) for row in rows))
        if hosts:
            named[f"{listing(resources)} of {', '.join(hosts)}"] = None
    return f"For example: {'; '.join(named)}." if named else ""


_OF_ALL_HOSTS = "month_is_new"
"""The check that compares some figures of all hosts, and others of a sample."""
_OF_DAYS = ("month_is_new", "units_plausible", "sensors_alive", "levels_plausible")


def _aside(check: str, evidence: Evidence) -> str:
    """What holds of all that the check says: of whom, and against what it could not look."""
    shown = int(np.any([series.is_there for series in evidence.series.values()], axis=0).sum())
    parts = []
    if shown < evidence.hosts_in_all:
        besides = " but for whole series, which are compared of all" if check == _OF_ALL_HOSTS else ""
        parts.append(f" Judged by a sample of {counted(shown, 'host')} of {evidence.hosts_in_all:,}{besides}.")
    if missing := evidence.missing_before:
        parts.append(f" There is no sound {missing} to compare with: the last month before is {evidence.earlier[-1]}.")
    if older := evidence.summed_up_otherwise:
        months = counted(len(older), "earlier month was", "earlier months were")
        parts.append(
            f" {months} published by an older version, which did not keep all that is compared: run them again once."
        )
    if check in _OF_DAYS and not evidence.has_days:
        parts.append(" Single days were not looked at, which only a run over the month does.")
    return "".join(parts)


def without_past(check: str, evidence: Evidence) -> str:
    """Why a check has nothing earlier to compare with, in words; empty where it has something."""
    if not evidence.earlier:
        return "there is no earlier month to compare with"
    if not evidence.with_past(check):
        return f"no host of the month has a series in {evidence.before} to compare with"
    return ""


def too_short(evidence: Evidence) -> str:
    """Says that the month is too short to be judged as a whole."""
    days = counted(evidence.settings.least_days, "day")
    return f"the month has fewer than {days} yet"


def verb_for(number: int, verb: str) -> str:
    """The verb as it stands after so many of anything."""
    return {"have": "has", "are": "is"}.get(verb, f"{verb}s") if number == 1 else verb


def on_days(days: Sequence[DayFacts]) -> str:
    """Days in words: `on day 3`, or `on 4 days, from day 3 on,`."""
    return f"on day {days[0].day}" if len(days) == 1 else f"on {len(days)} days, from day {days[0].day} on,"


def is_enough(hits: int, judged: int, share: float, least: int) -> bool:
    """Whether so many of the series judged are enough to speak of."""
    return hits >= least and hits >= share * judged


def worst(series: ResourceSeries, hits: Flags, figure: str = "median_y", by: Floats | None = None) -> list[Row]:
    """A few of the hosts that are hit, with the figure a month before and now, the greatest change first."""
    before, now = series.last(figure), series.now(figure)
    (chosen,) = np.nonzero(hits)
    order = by[chosen] if by is not None else np.abs(np.nan_to_num(now - before))[chosen]
    return [
        {
            "resource": series.resource,
            "host_id": str(series.hosts[host]),
            "figure": figure,
            "month_before": series.last_month(int(host)),
            "before": _cell(before[host]),
            "now": _cell(now[host]),
        }
        for host in chosen[np.argsort(-order, kind="stable")][:SAMPLE_SIZE]
    ]


def _cell(number: float) -> float | None:
    return None if np.isnan(number) else round(float(number), 6)
