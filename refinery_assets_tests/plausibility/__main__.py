"""Prints how lies and honest months fare, and renews docs/plausibility.md."""

from __future__ import annotations

import argparse
import sys
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from refinery_assets.contract.months import Month
from refinery_assets.contract.settings import PROJECT_ROOT
from refinery_assets_tests.plausibility.fleets import FleetMonth, months_of_feed, sample_months, with_hosts
from refinery_assets_tests.plausibility.judging import DEFAULTS, judge
from refinery_assets_tests.plausibility.lies import LIES
from refinery_assets_tests.plausibility.measures import STRENGTHS, Caught, Honest, catch, honest_lives, judge_honest

PAGE = PROJECT_ROOT / "docs" / "plausibility.md"
SENSITIVITIES = (0.5, 0.7, 1.0, 1.4, 2.0)
LIFE_MONTHS = 26
SIZES = {12: 101, 60: 102, 250: 103}
PARTS_OF_A_FEED = (12, 30, 100, 250)

_INTRODUCTION = """\
# Plausible lies, told and caught

A month can be well-formed and false. The plausibility checks hold it against its own families and against what
`series_months` holds of earlier months. This page says how they fare: which lies they catch and from which strength on,
and how often they call an honest month a lie. It is written by `python -m refinery_assets_tests.plausibility`.
"""


def main(arguments: Sequence[str]) -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(prog="python -m refinery_assets_tests.plausibility")
    parser.add_argument("--feed", type=Path, help="root of a feed: another fleet, besides the made-up ones")
    parser.add_argument("--first", type=Month.parse, default=Month(2013, 7), help="its first month")
    parser.add_argument("--last", type=Month.parse, default=Month(2013, 9), help="its last month")
    parser.add_argument("--source", default="files", help="where it comes from, in words")
    options = parser.parse_args(arguments)
    started = time.monotonic()
    fleets = {"sample, 200 hosts": sample_months(200, 7, 18), "12 hosts": sample_months(12, 9, 18)}
    real: list[FleetMonth] = []
    if options.feed:
        real = months_of_feed(options.feed, list(Month.span(options.first, options.last)))
        fleets[f"real, {len(real[-1].hosts)} machines"] = real
    introduction = _INTRODUCTION
    if real:
        introduction += f"\nThe real machines are of {options.source}, {real[0].month} to {real[-1].month}.\n"
    text = "\n".join([introduction, *_lies(fleets), *_honest(fleets, real)])
    sys.stdout.write(f"{text}\n{time.monotonic() - started:.0f} s\n")
    PAGE.write_text(f"{text}\n", encoding="utf-8")


def _lies(fleets: dict[str, list[FleetMonth]]) -> Iterable[str]:
    yield "## Lies\n"
    yield (
        "Each lie is told about one month of a fleet: to all hosts, and to a share of them (of *fractions on the first "
        "days*, all hosts and a share of 15 days). A cell names the check that spoke first of the whole lie, in bold "
        "where it refused the month, and the smallest of the shares "
        f"{', '.join(f'{strength:g}' for strength in STRENGTHS)} at which anything was said.\n"
    )
    yield f"| lie | to be told by | {' | '.join(fleets)} |"
    yield "| --- | --- |" + " --- |" * len(fleets)
    caught: dict[str, list[Caught]] = defaultdict(list)
    truths = {name: judge(months[-1], months[:-1]) for name, months in fleets.items()}
    for lie in LIES:
        cells = []
        for name, months in fleets.items():
            found = {strength: catch(lie, months, truths[name], strength) for strength in STRENGTHS}
            caught[name].append(found[1.0])
            cells.append(_cell(found))
        yield f"| {lie.name} | {' or '.join(f'`{check}`' for check in lie.checks)} | {' | '.join(cells)} |"
    yield ""
    yield "| fleet | lies | caught | by the right check first |"
    yield "| --- | ---: | ---: | ---: |"
    for name, found_of_fleet in caught.items():
        number = len(found_of_fleet)
        spoke = sum(each.first is not None for each in found_of_fleet)
        right = sum(each.is_right for each in found_of_fleet)
        yield f"| {name} | {number} | {spoke} ({spoke / number:.0%}) | {right} ({right / number:.0%}) |"


def _cell(found: dict[float, Caught]) -> str:
    whole = found[1.0]
    if whole.first is None:
        return "-"
    check = f"**`{whole.first}`**" if whole.refused else f"`{whole.first}`"
    least = min(strength for strength, each in found.items() if each.first is not None)
    return f"{check} {least:g}"


def _honest(fleets: dict[str, list[FleetMonth]], real: list[FleetMonth]) -> Iterable[str]:
    yield "\n## Honest months\n"
    sizes = ", ".join(str(size) for size in SIZES)
    yield (
        f"Fleets of {sizes} hosts live {LIFE_MONTHS} months each, every month judged by those before it, the first "
        "one, too.\n"
    )
    lives = list(honest_lives(SIZES, LIFE_MONTHS))
    if real:
        random = np.random.default_rng(104)
        lives.append(("real machines", real))
        lives += [
            (f"{size} of the real machines", with_hosts(real, list(random.permutation(real[0].hosts)[:size])))
            for size in PARTS_OF_A_FEED
            for _ in range(5)
        ]
    by_event: dict[str, Honest] = defaultdict(Honest)
    curve: dict[float, Honest] = defaultdict(Honest)
    for name, months in lives:
        for sensitivity in SENSITIVITIES:
            found = judge_honest(months, DEFAULTS.scaled(sensitivity))
            curve[sensitivity] += found
            if sensitivity == 1.0:
                by_event[name] += found
    yield "| what happens | months | refused | warnings |"
    yield "| --- | ---: | ---: | ---: |"
    for name, honest in by_event.items():
        yield f"| {name} | {honest.months} | {honest.failed} | {honest.warnings} |"
    yield (
        "\nBoth curves: all limits multiplied by a factor, with what is then called a lie that is none, and which lies "
        "go by. The defaults are the factor 1.\n"
    )
    yield "| limits times | false failures per 100 fleet-months | false warnings per fleet-year | lies caught |"
    yield "| ---: | ---: | ---: | ---: |"
    for sensitivity, honest in curve.items():
        settings = DEFAULTS.scaled(sensitivity)
        found_lies = [
            catch(lie, months, judge(months[-1], months[:-1], settings), settings=settings)
            for months in fleets.values()
            for lie in LIES
        ]
        share = sum(each.first is not None for each in found_lies) / len(found_lies)
        failures, warnings = honest.failures_per_hundred_months, honest.warnings_per_year
        yield f"| {sensitivity:g} | {failures:.2f} | {warnings:.2f} | {share:.0%} |"


if __name__ == "__main__":
    main(sys.argv[1:])
