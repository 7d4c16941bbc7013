"""Single rows that stand against their host's other days, told with their lines, and what is no such row."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import polars as pl
import pytest

from refinery_assets.checks.rules import Outcome
from refinery_assets.contract.months import Month
from refinery_assets.feed.files import FeedFile
from refinery_assets.rows.family import refine_file
from refinery_assets.rows.family_checks import FAMILY_RULES, FamilyMonth
from refinery_assets.rows.grid import grid_of
from refinery_assets.rows.odd_rows import ODD_ROWS_SCHEMA, find_odd_rows
from refinery_assets.rows.points import point_of
from refinery_assets_tests.scenario import CPU, FEBRUARY, Sandbox

MAY = Month(2024, 5)
Row = tuple[float, float | None]


def odd(rows: Sequence[Row | None]) -> list[tuple[int, str]]:
    """Line and oddity of a host's rows, a row a day from the first on; None: a day without."""
    there = [(day, *row) for day, row in enumerate(rows, start=1) if row is not None]
    # Another host states one capacity all month, as nearly all do.
    frame = pl.DataFrame(
        {
            "source_line": [day + 1 for day, *_ in there] + [day + 101 for day in range(1, 32)],
            "ds": [datetime(2024, 5, day) for day, *_ in there] + [datetime(2024, 5, day) for day in range(1, 32)],  # noqa: DTZ001
            "host_id": ["db-1"] * len(there) + ["web-1"] * 31,
            "y": [y for _, y, _ in there] + [50.0] * 31,
            "capacity": [capacity for *_, capacity in there] + [8.0] * 31,
            "is_imputed": False,
        },
        schema_overrides={"source_line": pl.UInt32(), "ds": pl.Datetime("us"), "capacity": pl.Float64()},
    )
    in_order = frame.with_columns(point=point_of(frame)).sort("point")
    found = find_odd_rows(in_order, grid_of(in_order, MAY))
    assert found.schema == ODD_ROWS_SCHEMA
    return found.select("source_line", "oddity").rows()


DAYS: list[Row | None] = [(float(day), 16.0) for day in range(20, 40)]


@pytest.mark.parametrize(
    ("day", "row", "oddity"),
    [
        (5, (16.0, 24.0), "exchanged"),
        (0, (16.0, 24.0), "exchanged"),
        (5, (24.0, None), "blank"),
        (19, (24.0, None), "blank"),
        (5, (24.0, 17.0), "changed"),
        (5, (24.0, 0.0), "changed"),
    ],
)
def test_a_row_against_all_others_is_told_with_its_line(day: int, row: Row, oddity: str) -> None:
    assert odd([*DAYS[:day], row, *DAYS[day + 1 :]]) == [(day + 2, oddity)]


@pytest.mark.parametrize(
    "rows",
    [
        DAYS,
        [*DAYS[:10], *[(30.0, 32.0)] * 10],
        [*DAYS[:19], (30.0, 32.0)],
        [(30.0, 8.0), *DAYS[1:]],
        [(30.0, None)] * 20,
        [*DAYS[:10], *[(30.0, None)] * 10],
        [(float(day), 7.8 + day / 1000) for day in range(20)],
        [*DAYS[:3], (30.0, 32.0), *DAYS[4:6]],
        [*DAYS[:8], None, *DAYS[9:]],
    ],
    ids=[
        "all alike", "an upgrade", "an upgrade on the last day", "another on the first day", "never stated",
        "no longer stated", "another each day", "too few days", "a day without a row",
    ],
)  # fmt: skip
def test_what_lasts_or_is_the_hosts_way_is_not_odd(rows: Sequence[Row | None]) -> None:
    assert odd(rows) == []


def test_a_file_with_odd_rows_is_warned_of_with_file_and_line(sandbox: Sandbox) -> None:
    lines = sandbox.lines(CPU, FEBRUARY)
    # A host of which 100 cores and more would be out of range is told by another check.
    place = next(at for at in range(100, 120) if float(lines[at].split(",")[3]) < 100)
    day, host, value, cores = lines[place].split(",")
    sandbox.edit_line(CPU, FEBRUARY, place + 1, f"{day},{host},{cores},{value}")
    day, host, value, _ = lines[302].split(",")
    sandbox.edit_line(CPU, FEBRUARY, 303, f"{day},{host},{value},")

    stats = refine_file(FeedFile(sandbox.settings.feed, CPU, FEBRUARY), sandbox.settings).stats
    rule = next(rule for rule in FAMILY_RULES if rule.name == "rows_like_their_hosts")
    finding = rule.judge(FamilyMonth(stats, 0.01))

    assert finding.outcome is Outcome.WARNING
    assert finding.message == (
        "2 rows stand against the host's other days: 1 without a capacity, 1 with p95 and capacity exchanged. "
        f"The first: 2024/02/cpu_utilization_202402.csv, line {place + 1}, "
        "2024/02/cpu_utilization_202402.csv, line 303."
    )
    assert [row["source_line"] for row in finding.offenders] == [place + 1, 303]
