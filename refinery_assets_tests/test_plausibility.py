"""The plausibility checks: lies that the right check must tell, honest months that must pass, and who says what."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import polars as pl
import pytest

from refinery_assets.checks.plausibility.evidence import lay_out, medians
from refinery_assets.checks.plausibility.repeats import month_is_new
from refinery_assets.checks.plausibility.rules import PLAUSIBILITY_RULES
from refinery_assets.checks.rules import SAMPLE_SIZE, Finding, Outcome
from refinery_assets.contract.columns import PART_DIGESTS
from refinery_assets.contract.months import Month
from refinery_assets.contract.packaged import RESOURCES
from refinery_assets.contract.plausibility import CHECKS, Mode, PlausibilitySettings
from refinery_assets_tests.plausibility.events import EVENTS, Event
from refinery_assets_tests.plausibility.fleets import FleetMonth, sample_months, with_hosts
from refinery_assets_tests.plausibility.judging import Judgement, judge
from refinery_assets_tests.plausibility.lies import LIES, Lie
from refinery_assets_tests.plausibility.measures import catch, judge_honest, tell

# Told by another check first: what docs/plausibility.md says of a fleet of 60.
FIRST_TOLD_BY_ANOTHER = {"busiest for idlest", "all hosts at the fleet's level"}


@cache
def fleet() -> list[FleetMonth]:
    """The life of a fleet of 60 hosts, to the month that lies are told about."""
    return sample_months(60, 11, 15)


@cache
def truth() -> Judgement:
    return judge(fleet()[-1], fleet()[:-1])


@cache
def quiet_life() -> list[FleetMonth]:
    """The life of a fleet of 25 hosts before anything happens in it; months that an event leaves alone are summed up
    once.
    """
    return sample_months(25, 12, 17)


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

    assert caught.first is not None
    assert caught.is_right or lie.name in FIRST_TOLD_BY_ANOTHER


def test_half_a_lie_refuses_the_month_where_it_is_beyond_doubt() -> None:
    for name in ("CPU as fractions", "last month under new dates", "memory holding CPU's content", "hosts shuffled"):
        caught = catch(named(name), fleet(), truth(), 0.5)

        assert (caught.refused, caught.is_right) == (True, True), name


@pytest.mark.slow
@pytest.mark.parametrize("event", EVENTS.values(), ids=EVENTS.keys())
def test_an_honest_life_is_not_refused_and_seldom_warned_of(event: Event) -> None:
    life = event(quiet_life(), np.random.default_rng(13))

    honest = judge_honest(life)

    assert honest.failed == 0
    assert honest.warnings <= 3


def test_the_first_month_of_a_history_passes_and_says_that_there_is_nothing_to_compare_with() -> None:
    judgement = judge(fleet()[0], [])

    assert judgement.first is None
    assert "no other published month to compare with" in judgement.findings["month_is_new"].summary
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


def as_fractions(month: FleetMonth) -> FleetMonth:
    return replace(month, y=month.y / 100, decimals=4).rounded()


def test_a_first_month_wholly_in_fractions_is_a_warning_that_says_what_there_was_to_compare_with() -> None:
    finding = judge(as_fractions(fleet()[0]), []).findings["units_plausible"]

    assert finding.outcome is Outcome.WARNING
    assert finding.summary.startswith("cpu, disk, memory, network: no reading is above 1, as in fractions, in ")
    assert "neither an earlier month nor a resource in percent to compare with" in finding.summary
    assert {row["resource"] for row in finding.offenders} == {"cpu", "disk", "memory", "network"}


def test_a_fleet_that_idles_in_its_first_month_is_not_taken_for_fractions() -> None:
    for hosts in (12, 60):
        (idle,) = EVENTS["idle at 0.5 %"](sample_months(hosts, 12, 1), np.random.default_rng(13))

        assert judge(idle, []).findings["units_plausible"].outcome is Outcome.PASSED


@pytest.mark.parametrize("first", [1, 11, 15, 16, 21])
def test_half_a_month_copied_from_another_is_refused_in_a_small_fleet_and_names_the_days(first: int) -> None:
    life = sample_months(25, 12, 6)
    month, source = life[-1], life[-4]
    y = month.y.copy()
    last = 15 if first == 1 else 28
    y[:, first - 1 : last] = source.y[:, first - 1 : last]

    judgement = judge(replace(month, y=y), life[:-1])

    finding = judgement.findings["month_is_new"]
    assert finding.outcome is Outcome.FAILED
    days = {1: "1 to 10", 11: "11 to 20 and 21 to 28"}.get(first, "21 to 28")
    assert f"on days {days}, day by day, what the same hosts read on these days of {source.month}" in finding.summary
    assert finding.offenders[0]["other_month"] == str(source.month)
    assert judge(month, life[:-1]).findings["month_is_new"].outcome is Outcome.PASSED


@pytest.mark.parametrize("whole", [1, 2, 5])
def test_hosts_copied_whole_do_not_hide_a_fleet_that_is_copied_in_half(whole: int) -> None:
    month, source = fleet()[-1], fleet()[-4]
    y = month.y.copy()
    y[:, 14:30] = source.y[:, 14:30]
    y[:, :30, :whole] = source.y[:, :30, :whole]

    finding = judge(replace(month, y=y), fleet()[:-1]).findings["month_is_new"]

    assert finding.outcome is Outcome.FAILED
    # Five of 60 refuse the month by themselves, and then no part needs be told of the same month.
    assert ("hosts read on these days of" in finding.summary) is (whole < 5)
    assert f"day by day, what cpu of {source.month} reads" in finding.summary


def test_a_few_hosts_copied_in_part_do_not_hide_a_fleet_whose_other_series_are_scaled() -> None:
    life = sample_months(160, 12, 6)
    month, source = life[-1], life[-4]
    y = month.y.copy()
    y[:] = np.round(source.y[:, :30] * 0.9, 2)
    y[:, :, :3] = month.y[:, :, :3]
    y[:, 20:28, :3] = source.y[:, 20:28, :3]

    finding = judge(replace(month, y=y), life[:-1]).findings["month_is_new"]

    assert finding.outcome is Outcome.FAILED
    assert f"the same shape, up to scale and level, as in {source.month}" in finding.summary


def with_disks_of_whole_percents(months: list[FleetMonth], ramps: list[list[float]]) -> list[FleetMonth]:
    """The disks of all hosts flat, but for those that fill up by the same steps at the beginning of each month."""
    found = []
    for number, month in enumerate(months):
        y = month.y.copy()
        y[RESOURCES.index("disk")] = 20 + np.arange(len(month.hosts)) % 50
        y[RESOURCES.index("disk"), 15:] += number
        for host, ramp in enumerate(ramps):
            y[RESOURCES.index("disk"), :10, host] = ramp
        found.append(replace(month, y=y))
    return found


def test_a_rhythm_of_a_few_disks_is_judged_by_all_of_them_and_is_none_where_several_share_it() -> None:
    life = sample_months(160, 12, 3)
    shared, own = (
        [[5.0 * day for day in range(10)]] * 20,
        [[60.0 + 3 * day + host for day in range(10)] for host in range(3)],
    )

    of_many, of_few = (
        judge(months[-1], months[:-1]).findings["month_is_new"]
        for months in (with_disks_of_whole_percents(life, ramps) for ramps in (shared, own))
    )

    assert of_many.outcome is Outcome.PASSED
    assert of_few.outcome is Outcome.WARNING
    assert "disk: 3 series of 160 read on days 1 to 10" in of_few.summary


def test_months_without_digests_of_parts_are_not_said_to_have_been_compared_by_them() -> None:
    life = sample_months(25, 12, 4)
    none = [pl.lit(None, pl.UInt64).alias(name) for name in PART_DIGESTS]
    older = [each.series.with_columns(*none) for each in life[:2]]

    all_older = lay_out(pl.concat([*older, life[3].series])).evidence(life[3].month, PlausibilitySettings())
    some_older = lay_out(pl.concat([*older, life[2].series, life[3].series])).evidence(
        life[3].month, PlausibilitySettings()
    )

    of_all, of_some = month_is_new(all_older).summary, month_is_new(some_older).summary
    assert "ten days" not in of_all
    assert f"nor ten days of 3 or more in {life[2].month};" in f"{of_some.replace('.', ';')}"
    assert all("2 earlier months were published by an older version" in said for said in (of_all, of_some))


def short_lives() -> list[list[FleetMonth]]:
    """Fleets to which within half a year happens what happens to others in three."""
    return [sample_months(50, seed, 6, first=Month(2024, 1)) for seed in (1, 10, 12)]


def test_a_month_after_a_missing_one_is_given_twice_the_room_to_move() -> None:
    for life in short_lives():
        for at in (2, 3, 5):
            judgement = judge(life[at], life[: at - 1])

            assert (judgement.failed, judgement.warned) == ([], [])
            missing, last = life[at - 1].month, life[at - 2].month
            said = f"There is no sound {missing} to compare with: the last month before is {last}."
            assert all(said in finding.summary for finding in judgement.findings.values())


@pytest.mark.parametrize("lie", ["hosts shuffled", "frozen from the middle on", "half of it", "CPU as fractions"])
def test_a_lie_after_a_missing_month_is_told_all_the_same(lie: str) -> None:
    judgement = judge(tell(named(lie), fleet(), 1.0), fleet()[:-2])

    assert judgement.first in named(lie).checks


def test_months_that_fail_together_have_each_their_own_worst_hosts_with_the_month_before_and_now() -> None:
    life = sample_months(60, 11, 6)
    lies = [tell(named("CPU as fractions"), life[: at + 1], 1.0) for at in (3, 4)]
    layout = lay_out(pl.concat([*(each.series for each in life[:3]), *(each.series for each in lies)]))
    units = next(rule for rule in PLAUSIBILITY_RULES if rule.name == "units_plausible")

    one, other = lies[0].month, lies[1].month
    findings = [
        units.judge(layout.evidence(month, PlausibilitySettings(), without=without))
        for month, without in ((one, []), (other, [one]))
    ]

    for finding, lie in zip(findings, lies, strict=True):
        assert finding.outcome is Outcome.FAILED
        assert 0 < len(finding.offenders) <= SAMPLE_SIZE
        # The refused month is nothing that the other is held against.
        assert {row["month_before"] for row in finding.offenders} == {str(life[2].month)}
        medians_now = dict(lie.series.filter(pl.col("resource") == "cpu").select("host_id", "median_y").rows())
        assert {row["host_id"]: row["now"] for row in finding.offenders}.items() <= {
            host: round(median, 6) for host, median in medians_now.items()
        }.items()
        moved = [abs(float(str(row["now"])) - float(str(row["before"]))) for row in finding.offenders]
        assert moved == sorted(moved, reverse=True)


def summaries(judgement: Judgement) -> dict[str, str]:
    return {check: finding.summary for check, finding in judgement.findings.items()}


def test_a_check_that_passes_says_what_it_compared() -> None:
    said, before = summaries(truth()), f"{fleet()[-14].month} to {fleet()[-2].month}"

    assert (
        f"No readings or limits of 240 series are a fixed factor away from those of {before}."
        == said["units_plausible"]
    )
    levels = f"and the levels of 240 series follow those of their last month, up to {fleet()[-2].month}"
    assert levels in said["hosts_in_place"]
    assert "No series stands in any of the 13 other published months" in said["month_is_new"]
    assert said["families_distinct"] == "6 pairs of resources have each their own values."


def test_a_check_that_has_nothing_to_compare_does_not_say_that_all_is_well() -> None:
    month, before = fleet()[-1], fleet()[-2]
    strangers = replace(month, hosts=[f"new-{host}" for host in month.hosts])
    nothing = f"no host of the month has a series in {before.month} to compare with"

    of_strangers = summaries(judge(strangers, [before]))
    short = summaries(judge(replace(month, y=np.where(np.arange(31)[:, None] < 3, month.y, np.nan)), [before]))
    few = summaries(judge(with_hosts([month], month.hosts[:2])[0], with_hosts([before], month.hosts[:2])))
    of_table = lay_out(pl.concat([before.series, month.series])).evidence(month.month, PlausibilitySettings())

    for check in ("units_plausible", "hosts_in_place", "precision_kept", "sensors_alive", "levels_plausible"):
        assert nothing in of_strangers[check]
    for check in ("hosts_in_place", "precision_kept", "sensors_alive", "levels_plausible"):
        assert "the month has fewer than 7 days yet" in short[check]
    assert "were not compared, for 2 hosts with an earlier month are too few" in few["hosts_in_place"]
    assert f"fewer than 8 hosts stand in both the month and {before.month}" in few["levels_plausible"]
    for rule in PLAUSIBILITY_RULES:
        is_of_days = rule.name in {"month_is_new", "units_plausible", "sensors_alive", "levels_plausible"}
        assert ("Single days were not looked at" in rule.judge(of_table).summary) is is_of_days


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
    assert f"read about 0.01 times the readings in {fleet()[-2].month}, as fractions" in finding.summary
    assert {"resource", "host_id", "month_before", "before", "now"} <= finding.offenders[0].keys()
    assert finding.offenders[0]["month_before"] == str(fleet()[-2].month)
    assert finding.recovery is not None
    assert f"refinery accept {fleet()[-1].month} units_plausible --why TEXT" in finding.recovery
    # A few names stand in the message, and not in the summary, which the UI reads as Markdown.
    first = [str(row["host_id"]) for row in finding.offenders[:3]]
    assert finding.detail == f"For example: cpu of {', '.join(first)}."
    assert not any(host in finding.summary for host in first)


def the_other_side(finding: Finding) -> str:
    """What a recovery says of the month that this one was held against."""
    assert finding.recovery is not None
    (said,) = re.findall(r"If [^.]* the wrong one, [^.]*\.", finding.recovery)
    return str(said)


def test_an_honest_month_after_a_lie_is_told_that_either_of_the_two_may_be_the_wrong_one() -> None:
    lie = tell(named("CPU as fractions"), fleet(), 1.0)
    honest = sample_months(60, 11, 16)[-1]

    finding = judge(honest, [lie]).findings["units_plausible"]

    assert finding.outcome is Outcome.FAILED
    assert the_other_side(finding) == (
        f"If {lie.month} is the wrong one, have that exported again (or, if it was accepted, withdraw that: refinery "
        f"accept {lie.month} units_plausible --withdraw), then run both: refinery run {lie.month} {honest.month}."
    )
    assert finding.recovery is not None
    assert finding.recovery.endswith(
        f"If {honest.month} is right as it is, accept it: refinery accept {honest.month} units_plausible --why TEXT."
    )


@pytest.mark.parametrize(
    ("lie", "check"),
    [
        ("all that is free for all that is used", "units_plausible"),
        ("disk capacity in GB for MB", "units_plausible"),
        ("all cores doubled", "units_plausible"),
        ("memory capacity empty", "units_plausible"),
        ("p95 and memory exchanged", "units_plausible"),
        ("hosts shuffled", "hosts_in_place"),
        ("hosts shuffled, limits with them", "hosts_in_place"),
        ("CPU and memory exchanged", "families_distinct"),
        ("twenty points more", "levels_plausible"),
        ("last month under new dates", "month_is_new"),
        ("second half from last month", "month_is_new"),
        ("last month and a little noise", "month_is_new"),
    ],
)
def test_what_is_held_against_another_month_names_both(lie: str, check: str) -> None:
    before, month = (each.month for each in fleet()[-2:])

    assert the_other_side(finding_of(lie, check)).endswith(f"then run both: refinery run {before} {month}.")


@pytest.mark.parametrize(
    ("lie", "check"),
    [
        ("fractions on the first days", "units_plausible"),
        ("memory holding CPU's content", "families_distinct"),
        ("one week twice", "month_is_new"),
        ("one constant", "sensors_alive"),
    ],
)
def test_a_month_that_speaks_against_itself_blames_no_other(lie: str, check: str) -> None:
    finding = finding_of(lie, check)

    assert finding.outcome is Outcome.FAILED
    assert finding.recovery is not None
    assert "the wrong one" not in finding.recovery


def test_several_months_that_a_month_is_held_against_are_all_named() -> None:
    lie, month = tell(named("CPU as fractions"), fleet(), 1.0), sample_months(60, 11, 16)[-1]
    hosts = fleet()[-1].hosts
    (older,), (last,) = (with_hosts([each], some) for each, some in ((fleet()[-2], hosts[:30]), (lie, hosts[30:])))

    said = the_other_side(judge(month, [as_fractions(older), last]).findings["units_plausible"])

    assert said == (
        f"If one of {older.month}, {lie.month} is the wrong one, have that exported again (or, if it was accepted, "
        "withdraw that: refinery accept MONTH units_plausible --withdraw), then run all of them: refinery run "
        f"{older.month} {lie.month} {month.month}."
    )


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
    newer = ("median_y", "decimals", "capacities", *PART_DIGESTS)
    older = pl.concat(earlier).with_columns(pl.lit(None).alias(name) for name in newer)
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
