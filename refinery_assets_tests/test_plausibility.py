"""The plausibility checks: lies that the right check must tell, honest months that must pass, and who says what."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import polars as pl
import pytest

from refinery_assets.checks.plausibility.evidence import lay_out, medians
from refinery_assets.checks.plausibility.rules import PLAUSIBILITY_RULES
from refinery_assets.checks.rules import Finding, Outcome
from refinery_assets.contract.months import Month
from refinery_assets.contract.plausibility import CHECKS, Mode, PlausibilitySettings
from refinery_assets_tests.plausibility.events import EVENTS, Event
from refinery_assets_tests.plausibility.fleets import FleetMonth, sample_months
from refinery_assets_tests.plausibility.judging import Judgement, judge
from refinery_assets_tests.plausibility.lies import LIES, Lie
from refinery_assets_tests.plausibility.measures import catch, judge_honest, tell

# Told by another check first, or by none: what docs/plausibility.md says of a fleet of 60.
TOO_SMALL_A_FLEET_FOR = {"second half from last month"}
FIRST_TOLD_BY_ANOTHER = {"busiest for idlest", "all hosts at the fleet's level"}


@cache
def fleet() -> list[FleetMonth]:
    """The life of a fleet of 60 hosts, to the month that lies are told about."""
    return sample_months(60, 11, 15)


@cache
def truth() -> Judgement:
    return judge(fleet()[-1], fleet()[:-1])


def named(name: str) -> Lie:
    (lie,) = [each for each in LIES if each.name == name]
    return lie


def finding_of(lie: str, check: str, settings: PlausibilitySettings | None = None) -> Finding:
    """What a check says of the last month, all of it lied about."""
    month = tell(named(lie), fleet(), 1.0)
    return judge(month, fleet()[:-1], settings or PlausibilitySettings()).findings[check]


def test_there_are_as_many_kinds_of_lies_as_were_asked_for_and_each_check_has_some() -> None:
    assert len(LIES) >= 40
    assert {check for lie in LIES for check in lie.checks} >= set(CHECKS)


@pytest.mark.parametrize("lie", LIES, ids=lambda lie: lie.name)
def test_a_lie_about_all_hosts_is_told_by_the_check_that_it_is_for(lie: Lie) -> None:
    caught = catch(lie, fleet(), truth())

    if lie.name in TOO_SMALL_A_FLEET_FOR:
        assert caught.first is None
        return
    assert caught.first is not None
    assert caught.is_right or lie.name in FIRST_TOLD_BY_ANOTHER


def test_half_a_lie_refuses_the_month_where_it_is_beyond_doubt() -> None:
    for name in ("CPU as fractions", "last month under new dates", "memory holding CPU's content", "hosts shuffled"):
        caught = catch(named(name), fleet(), truth(), 0.5)

        assert (caught.refused, caught.is_right) == (True, True), name


@pytest.mark.parametrize("event", EVENTS.values(), ids=EVENTS.keys())
def test_an_honest_life_is_not_refused_and_seldom_warned_of(event: Event) -> None:
    life = event(sample_months(25, 12, 17), np.random.default_rng(13))

    honest = judge_honest(life)

    assert honest.failed == 0
    assert honest.warnings <= 3


def test_the_first_month_of_a_history_passes_and_says_that_there_is_nothing_to_compare_with() -> None:
    judgement = judge(fleet()[0], [])

    assert judgement.first is None
    for check in ("units_plausible", "hosts_in_place", "precision_kept", "sensors_alive", "levels_plausible"):
        assert "no earlier month" in judgement.findings[check].summary


@pytest.mark.parametrize(
    ("lie", "check"),
    [
        ("CPU as fractions with four decimals", "units_plausible"),
        ("fractions on the first days", "units_plausible"),
        ("p95 and cores exchanged", "units_plausible"),
        ("one week twice", "month_is_new"),
        ("memory holding CPU's content", "families_distinct"),
        ("one host's readings for all", "hosts_in_place"),
        ("all 0", "sensors_alive"),
        ("frozen on days 8 to 14", "sensors_alive"),
    ],
)
def test_some_lies_are_told_of_the_first_month_already(lie: str, check: str) -> None:
    life = fleet()
    # What the lie is made of is older than the history.
    told = tell(named(lie), life, 1.0)

    assert judge(told, []).findings[check].outcome is Outcome.FAILED


def test_a_month_of_three_days_is_not_judged_by_its_level() -> None:
    month = fleet()[-1]
    y = month.y.copy() * 0.4
    y[:, 3:] = np.nan

    judgement = judge(replace(month, y=np.round(y, 2)), fleet()[:-1])

    assert judgement.findings["levels_plausible"].outcome is Outcome.PASSED
    assert judgement.findings["sensors_alive"].outcome is Outcome.PASSED


def test_a_finding_tells_what_it_saw_with_the_month_before_and_now_and_how_to_accept_it() -> None:
    finding = finding_of("CPU as fractions", "units_plausible")

    assert finding.summary.startswith("cpu: ")
    assert "read about 0.01 times what they read in the month before" in finding.summary
    assert {"resource", "host_id", "month_before", "before", "now"} <= finding.offenders[0].keys()
    assert finding.offenders[0]["month_before"] == str(fleet()[-2].month)
    assert finding.recovery is not None
    assert f"refinery accept {fleet()[-1].month} units_plausible --why TEXT" in finding.recovery


def test_a_copied_month_is_told_with_the_month_that_it_repeats() -> None:
    finding = finding_of("five months ago under new dates", "month_is_new")

    assert f"what cpu of {fleet()[-6].month} reads" in finding.summary
    assert finding.offenders[0]["other_host"] == finding.offenders[0]["host_id"]


def _with_mode(check: str, mode: Mode) -> PlausibilitySettings:
    modes: dict[str, Any] = {check: mode}
    return PlausibilitySettings(**modes)


@pytest.mark.parametrize("check", CHECKS)
def test_a_check_that_may_only_warn_refuses_nothing_and_one_that_is_off_looks_at_nothing(check: str) -> None:
    lie = next(each.name for each in LIES if each.checks[0] == check)

    warned = finding_of(lie, check, _with_mode(check, Mode.WARN))
    off = finding_of(lie, check, _with_mode(check, Mode.OFF))

    assert warned.outcome is Outcome.WARNING
    assert (off.outcome, off.summary) == (Outcome.PASSED, f"Not looked at: {check} is off.")


def test_a_resource_that_a_check_is_not_for_is_left_out_of_it() -> None:
    settings = PlausibilitySettings(not_for=(("units_plausible", "cpu"),))

    assert finding_of("CPU as fractions", "units_plausible", settings).outcome is Outcome.PASSED


def test_earlier_months_without_medians_and_decimals_are_compared_by_their_means() -> None:
    earlier = [each.series for each in fleet()[-4:-1]]
    older = pl.concat(earlier).with_columns(median_y=None, decimals=None, capacities=None)
    told = tell(named("CPU as fractions"), fleet(), 1.0)
    rows = pl.concat([older, told.series], how="vertical_relaxed")

    evidence = lay_out(rows).evidence(told.month, PlausibilitySettings())
    findings = {rule.name: rule.judge(evidence) for rule in PLAUSIBILITY_RULES}

    assert findings["units_plausible"].outcome is Outcome.FAILED
    assert "3 earlier months were published by an older version" in findings["units_plausible"].summary
    assert findings["precision_kept"].outcome is Outcome.PASSED


def test_a_refused_month_is_nothing_that_a_later_one_is_held_against() -> None:
    lied = tell(named("CPU as fractions"), fleet()[:-1], 1.0)
    rows = pl.concat([*(each.series for each in fleet()[:-2]), lied.series, fleet()[-1].series])
    layout = lay_out(rows)
    units = next(rule for rule in PLAUSIBILITY_RULES if rule.name == "units_plausible")

    against_it = layout.evidence(fleet()[-1].month, PlausibilitySettings())
    without_it = layout.evidence(fleet()[-1].month, PlausibilitySettings(), without=[lied.month])

    assert units.judge(against_it).outcome is Outcome.FAILED
    assert units.judge(without_it).outcome is Outcome.PASSED
    assert lied.month not in without_it.earlier


def test_a_bounded_number_of_months_is_read() -> None:
    rows = pl.concat(each.series for each in fleet())

    evidence = lay_out(rows).evidence(fleet()[-1].month, PlausibilitySettings(earlier_months=4))

    assert list(evidence.earlier) == [each.month for each in fleet()[-5:-1]]


def test_the_rules_are_those_that_the_settings_name_in_their_order() -> None:
    assert tuple(rule.name for rule in PLAUSIBILITY_RULES) == CHECKS


def test_medians_leave_out_what_is_not_known() -> None:
    values = np.array([[1.0, np.nan, 4.0], [3.0, np.nan, np.nan], [2.0, np.nan, 8.0]])

    np.testing.assert_array_equal(medians(values), [2.0, np.nan, 6.0])
    np.testing.assert_array_equal(medians(values, axis=1), [2.5, 3.0, 5.0])
    assert np.isnan(medians(np.empty((0, 2)))).all()


def test_the_same_settings_have_the_same_text_and_others_another() -> None:
    pairs = [("month_is_new", "cpu"), ("levels_plausible", "disk"), ("sensors_alive", "network")]

    one, other = (PlausibilitySettings(not_for=tuple(each)) for each in (pairs, pairs[::-1]))

    assert one.as_text == other.as_text
    assert one.model_copy(update={"levels_plausible": Mode.OFF}).as_text != one.as_text
    assert Month(2024, 5) not in lay_out(fleet()[0].series).months
