"""A month's series summed up by host: by hand, against a plain count host by host, and what digests tell apart."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import date, datetime
from itertools import groupby
from statistics import median
from typing import Any, NamedTuple

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from refinery_assets.contract.columns import FEWEST_VALUES_OF_A_PART, PART_DIGESTS
from refinery_assets.contract.months import Month
from refinery_assets.rows.grid import grid_of
from refinery_assets.rows.points import point_of
from refinery_assets.rows.series import SERIES_SCHEMA, summarize

MAY = Month(2024, 5)


class Reading(NamedTuple):
    """One publishable row."""

    day: int
    y: float
    capacity: float | None = 8.0
    is_imputed: bool = False
    host: str = "web-1"


def summed_up(readings: Iterable[Reading], month: Month = MAY) -> list[dict[str, Any]]:
    """The summaries of rows that stand as they are given."""
    rows = pl.DataFrame(
        {
            "ds": [datetime(month.year, month.month, each.day) for each in readings],  # noqa: DTZ001 - ds has no zone
            "host_id": [each.host for each in readings],
            "y": [each.y for each in readings],
            "capacity": [each.capacity for each in readings],
            "is_imputed": [each.is_imputed for each in readings],
        },
        schema={
            "ds": pl.Datetime("us"),
            "host_id": pl.String(),
            "y": pl.Float64(),
            "capacity": pl.Float64(),
            "is_imputed": pl.Boolean(),
        },
    )
    series = summarize(grid_of(rows.with_columns(point=point_of(rows)).sort("point"), month))
    assert series.schema == SERIES_SCHEMA
    return series.to_dicts()


def of_days(*values: float) -> list[Reading]:
    """A reading a day from the first on."""
    return [Reading(day, value) for day, value in enumerate(values, start=1)]


def digest_of(readings: Iterable[Reading], month: Month = MAY, *, of: str = "values") -> int:
    (series,) = summed_up(list(readings), month)
    return int(series[f"{of}_digest"])


def test_a_month_without_rows_has_no_series() -> None:
    assert summed_up([]) == []


def test_a_series_is_summed_up_by_its_readings_alone() -> None:
    readings = [
        Reading(2, 10.0, 8.0),
        Reading(3, 10.0, 8.0),
        Reading(5, 10.0, 16.0),
        Reading(6, 20.0, None),
        Reading(7, 95.0, 4.0, is_imputed=True),
        Reading(8, 30.0, None),
    ]

    (series,) = summed_up(readings)

    del series["values_digest"], series["rows_digest"]
    assert series == {
        "host_id": "web-1",
        "readings": 5,
        "imputed": 1,
        "mean_y": 16.0,
        "min_y": 10.0,
        "max_y": 30.0,
        "distinct_values": 3,
        "longest_run": 3,
        "first_day": date(2024, 5, 2),
        "last_day": date(2024, 5, 8),
        "capacity": 4.0,
        "median_y": 10.0,
        "decimals": 0,
        "capacities": 3,
        # Too few readings for chance not to repeat them.
        **dict.fromkeys(PART_DIGESTS),
    }


@pytest.mark.parametrize(
    ("readings", "longest"),
    [
        (of_days(7.0), 1),
        (of_days(1.0, 2.0, 1.0, 2.0), 1),
        (of_days(1.0, 1.0, 2.0, 2.0, 2.0, 1.0), 3),
        (of_days(1.0, 2.0, 2.0), 2),
        (of_days(0.0, -0.0, 0.0), 3),
        ([Reading(1, 5.0), Reading(31, 5.0)], 2),
        ([Reading(1, 5.0), Reading(2, 5.0, is_imputed=True), Reading(3, 5.0)], 2),
        ([Reading(1, 5.0), Reading(2, 6.0, is_imputed=True), Reading(3, 5.0), Reading(4, 5.0)], 3),
        (of_days(*[3.5] * 31), 31),
    ],
    ids=[
        "one reading", "none follows its equal", "in the middle", "at the end", "zero of either sign",
        "days without a reading between", "an equal imputed day between", "another imputed day between", "the month",
    ],
)  # fmt: skip
def test_a_run_of_equal_readings_is_neither_counted_by_nor_ended_by_days_without_one(
    readings: list[Reading], longest: int
) -> None:
    (series,) = summed_up(readings)

    assert series["longest_run"] == longest


@pytest.mark.parametrize(
    ("capacities", "last"),
    [((None, None), None), ((8.0, None), 8.0), ((8.0, 0.0), 0.0), ((None, 4.0), 4.0)],
    ids=["never", "on the first day only", "zero", "on the last day only"],
)
def test_the_capacity_is_the_one_stated_last(capacities: tuple[float | None, ...], last: float | None) -> None:
    (series,) = summed_up([Reading(day, 1.0, capacity) for day, capacity in enumerate(capacities, start=1)])

    assert series["capacity"] == last


@pytest.mark.parametrize(
    ("values", "decimals"),
    [((3.0, 100.0), 0), ((0.5, 3.0), 1), ((0.29, 0.57, 99.99), 2), ((0.1234,), 4), ((1 / 3,), 6)],
    ids=["whole", "halves", "hundredths that no double is", "four", "no decimal fraction"],
)
def test_decimals_are_those_that_the_finest_reading_is_written_with(values: tuple[float, ...], decimals: int) -> None:
    (series,) = summed_up(of_days(*values))

    assert series["decimals"] == decimals


def test_a_host_spelled_in_two_cases_is_one_series_spelled_as_in_its_last_row() -> None:
    (series,) = summed_up([Reading(1, 10.0, host="web-1"), Reading(2, 20.0, host="WEB-1")])

    assert (series["host_id"], series["readings"], series["mean_y"]) == ("WEB-1", 2, 15.0)


def test_the_values_of_another_month_are_known_again_whichever_is_longer() -> None:
    values = [float(day * day % 97) for day in range(1, 32)]
    february, april = Month(2023, 2), Month(2024, 4)

    of_may = digest_of(of_days(*values))

    assert digest_of(of_days(*values[:28]), february) == of_may
    assert digest_of(of_days(*values[:28], 1.0, 2.0), april) == of_may
    # Another host, another capacity: the values are what is compared.
    assert digest_of(Reading(day, y, None, host="db-1") for day, y in enumerate(values, start=1)) == of_may


def test_a_part_of_a_month_is_known_again_on_the_same_days_whatever_stands_around_it() -> None:
    values = [float(day * day % 97) for day in range(1, 32)]
    (of_may,) = summed_up(of_days(*values))

    (half,) = summed_up(of_days(*[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0] * 2, *values[14:]))
    (idle,) = summed_up(of_days(*[float(day % 5) for day in range(31)]))

    same = [half[name] == of_may[name] for name in PART_DIGESTS]
    assert same == [False, False, True]
    assert None not in {half[name] for name in PART_DIGESTS}
    # Five different readings are what idling hosts have in common by chance.
    assert [idle[name] for name in PART_DIGESTS] == [None, None, None]


CHANGES: dict[str, Callable[[list[Reading]], list[Reading]]] = {
    "two days exchanged": lambda rows: [rows[0]._replace(y=rows[1].y), rows[1]._replace(y=rows[0].y), *rows[2:]],
    "one value by its last bit": lambda rows: [rows[0]._replace(y=10.000000000000002), *rows[1:]],
    "one day less": lambda rows: rows[:-1],
    "all a day later": lambda rows: [row._replace(day=row.day + 1) for row in rows],
    "a reading turned into an imputed row": lambda rows: [rows[0], rows[1]._replace(is_imputed=True), *rows[2:]],
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_both_digests_tell(change: Callable[[list[Reading]], list[Reading]]) -> None:
    rows = of_days(10.0, 20.0, 30.0, 0.0)

    for digest in ("values", "rows"):
        assert digest_of(change(rows), of=digest) != digest_of(rows, of=digest)


@pytest.mark.parametrize("capacity", [None, 8.5], ids=["gone", "another"])
def test_the_digest_of_the_rows_sees_the_capacity(capacity: float | None) -> None:
    rows = of_days(10.0, 20.0, 30.0)
    changed = [rows[0], rows[1]._replace(capacity=capacity), rows[2]]

    assert digest_of(changed, of="rows") != digest_of(rows, of="rows")
    assert digest_of(changed) == digest_of(rows)


def test_the_digest_of_the_rows_sees_the_days_that_not_every_month_has() -> None:
    rows = of_days(*[5.0] * 31)

    assert digest_of([*rows[:30], Reading(31, 6.0)], of="rows") != digest_of(rows, of="rows")


def test_zero_of_either_sign_is_the_same_value() -> None:
    for digest in ("values", "rows"):
        assert digest_of(of_days(-0.0, 1.0), of=digest) == digest_of(of_days(0.0, 1.0), of=digest)


MONTHS = st.sampled_from([Month(2023, 2), Month(2024, 2), Month(2024, 4), MAY])
# Few values, so that they repeat, and any at all.
VALUES = st.one_of(st.sampled_from([0.0, 1.5, 100.0]), st.floats(0, 100))
CAPACITIES = st.one_of(st.none(), st.floats(0, 1e12))


@st.composite
def months_of_rows(draw: st.DrawFn) -> tuple[Month, list[Reading]]:
    """Rows of a month in any order, each host with one reading at least."""
    month = draw(MONTHS)
    rows = []
    for host in draw(st.lists(st.sampled_from(["a", "b", "c", "\u00e4", "db-1", "web-1"]), unique=True)):
        days = draw(st.lists(st.integers(1, month.last_day.day), min_size=1, unique=True))
        reading = draw(st.sampled_from(days))
        for day in days:
            is_imputed = day != reading and draw(st.booleans())
            rows.append(Reading(day, draw(VALUES), draw(CAPACITIES), is_imputed, host))
    if draw(st.booleans()):
        return month, sorted(rows, key=lambda row: (row.day, row.host))
    return month, draw(st.permutations(rows))


def counted_one_by_one(host: str, rows: Iterable[Reading], month: Month) -> dict[str, Any]:
    """What a series comes to, row by row."""
    in_order = sorted(rows)
    readings = [row for row in in_order if not row.is_imputed]
    stated = [row.capacity for row in in_order if row.capacity is not None]
    values = [row.y for row in readings]
    first_day, last_day = (date(month.year, month.month, row.day) for row in (readings[0], readings[-1]))
    return {
        "host_id": host,
        "readings": len(readings),
        "imputed": len(in_order) - len(readings),
        "mean_y": pytest.approx(sum(values) / len(values)),
        "min_y": min(values),
        "max_y": max(values),
        "distinct_values": len(set(values)),
        "longest_run": max(len(list(run)) for _, run in groupby(values)),
        "first_day": first_day,
        "last_day": last_day,
        "capacity": stated[-1] if stated else None,
        "median_y": pytest.approx(median(values)),
        "decimals": max(decimals_of(value) for value in values),
        "capacities": len(set(stated)),
    }


def part_of(rows: Iterable[Reading], first: int, last: int) -> frozenset[tuple[int, float]] | None:
    """The readings of some days; None where too few of them differ."""
    part = frozenset((row.day, row.y) for row in rows if first <= row.day <= last and not row.is_imputed)
    return part if len({y for _, y in part}) >= FEWEST_VALUES_OF_A_PART else None


def decimals_of(value: float) -> int:
    """The decimals that a value needs, at most six."""
    return next((number for number in range(6) if abs(value * 10**number - round(value * 10**number)) <= 1e-5), 6)


@pytest.mark.slow
@settings(derandomize=True, deadline=None, max_examples=60)
@given(months_of_rows())
def test_all_series_together_come_to_what_each_comes_to_row_by_row(month_and_rows: tuple[Month, list[Reading]]) -> None:
    month, rows = month_and_rows
    hosts = sorted({row.host for row in rows})
    of_host = {host: [row for row in rows if row.host == host] for host in hosts}

    found = summed_up(rows, month)

    digests = [tuple(series.pop(name) for name in ("values_digest", "rows_digest", *PART_DIGESTS)) for series in found]
    assert found == [counted_one_by_one(host, of_host[host], month) for host in hosts]
    # Digests are equal for what is equal, and for nothing else.
    contents = [
        (
            frozenset((row.day, row.y) for row in of_host[host] if row.day <= 28 and not row.is_imputed),
            frozenset(row[:4] for row in of_host[host]),
            *(part_of(of_host[host], *days) for days in PART_DIGESTS.values()),
        )
        for host in hosts
    ]
    for at in range(2 + len(PART_DIGESTS)):
        of_content = {content[at]: digest[at] for content, digest in zip(contents, digests, strict=True)}
        assert [of_content[content[at]] for content in contents] == [digest[at] for digest in digests]
        assert len(set(of_content.values())) == len(of_content)
        assert at < 2 or of_content.get(None) is None
