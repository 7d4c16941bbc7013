"""Reading, scrubbing and plugging one file, as plain functions."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, datetime
from pathlib import Path

import polars as pl
import pytest

from refinery_assets.checks.rules import NOTHING_TO_DO, Outcome, Verdict, judge
from refinery_assets.contract.families import Fault
from refinery_assets.contract.months import Month
from refinery_assets.contract.packaged import FAMILIES
from refinery_assets.contract.settings import Settings
from refinery_assets.feed.files import FeedFile, RefusedFileError, count_data_rows, header_problem
from refinery_assets.rows.clean import TYPED_SCHEMA
from refinery_assets.rows.family import refine_file
from refinery_assets.rows.family_checks import FAMILY_RULES, FamilyMonth
from refinery_assets.rows.parts import TextPart, newest_day
from refinery_assets.rows.points import HOSTS_PER_BLOCK, point_of
from refinery_assets.rows.read import read_lines
from refinery_assets.rows.scrub import scrub
from refinery_assets.rows.stats import Stats
from refinery_assets_tests.hostile import read_clean

CPU = FAMILIES[0]
MAY = Month(2024, 5)
HEADER = "date,host_id,cpu_p95,max_cores"

SOUND = "2024-05-03,web-1,41.5,8"
ROWS = {
    "too few fields": ("2024-05-03,web-1,41.5", Fault.MALFORMED_ROW),
    "too many fields": ("2024-05-03,web-1,41,5,8", Fault.MALFORMED_ROW),
    "a quote never closed": ('2024-05-03,"web-1,41.5,8', Fault.MALFORMED_ROW),
    "a control character": ("2024-05-03,we\x07b-1,41.5,8", Fault.MALFORMED_ROW),
    "no date": (",web-1,41.5,8", Fault.BAD_TIMESTAMP),
    "an impossible date": ("2024-02-30,web-1,41.5,8", Fault.BAD_TIMESTAMP),
    "day and month that cannot be told apart": ("03/05/2024,web-1,41.5,8", Fault.BAD_TIMESTAMP),
    "a time of day": ("2024-05-03 14:00:00,web-1,41.5,8", Fault.BAD_TIMESTAMP),
    "a zone": ("2024-05-03T00:00:00Z,web-1,41.5,8", Fault.BAD_TIMESTAMP),
    "seconds since 1970": ("1714694400,web-1,41.5,8", Fault.BAD_TIMESTAMP),
    "the month before": ("2024-04-30,web-1,41.5,8", Fault.OUTSIDE_MONTH),
    "no host": ("2024-05-03, ,41.5,8", Fault.MISSING_HOST),
    "a host that says null": ("2024-05-03,NULL,41.5,8", Fault.MISSING_HOST),
    "no value": ("2024-05-03,web-1,,8", Fault.MISSING_VALUE),
    "a value that says N/A": ("2024-05-03,web-1,N/A,8", Fault.MISSING_VALUE),
    "a percent sign": ("2024-05-03,web-1,41.5%,8", Fault.NOT_A_NUMBER),
    "a decimal comma in quotes": ('2024-05-03,web-1,"41,5",8', Fault.NOT_A_NUMBER),
    "NaN": ("2024-05-03,web-1,NaN,8", Fault.NOT_A_NUMBER),
    "infinity": ("2024-05-03,web-1,inf,8", Fault.NOT_A_NUMBER),
    "full-width digits": ("2024-05-03,web-1,\uff14\uff11,8", Fault.NOT_A_NUMBER),
    "a capacity in words": ("2024-05-03,web-1,41.5,eight", Fault.NOT_A_NUMBER),
    "below zero": ("2024-05-03,web-1,-0.1,8", Fault.OUT_OF_RANGE),
    "above a hundred": ("2024-05-03,web-1,100.01,8", Fault.OUT_OF_RANGE),
    "a number beyond all numbers": ("2024-05-03,web-1,1e999,8", Fault.OUT_OF_RANGE),
    "a capacity below zero": ("2024-05-03,web-1,41.5,-8", Fault.OUT_OF_RANGE),
    "several at once, of which the first counts": ("2024-04-30,,x,8", Fault.OUTSIDE_MONTH),
}

SAME_READING = {
    "as it stands": SOUND,
    "padded": " 2024-05-03 ,\tweb-1 , 41.5 , 8 ",
    "midnight": "2024-05-03 00:00:00,web-1,41.5,8",
    "midnight with a T": "2024-05-03T00:00:00.000,web-1,41.5,8",
    "a plus sign": "2024-05-03,web-1,+41.5,8",
    "scientific notation": "2024-05-03,web-1,4.15e1,8",
    "quoted": '"2024-05-03","web-1","41.5","8"',
}


def refine(tmp_path: Path, *rows: str, header: str = HEADER, **settings: float) -> tuple[pl.DataFrame, Stats]:
    file = FeedFile(tmp_path, CPU, MAY)
    file.path.parent.mkdir(parents=True, exist_ok=True)
    file.path.write_bytes("".join(f"{line}\n" for line in (header, *rows)).encode())
    refined = refine_file(file, Settings(**settings))  # type: ignore[arg-type]
    return refined.partition, refined.stats


def faults(frame: pl.DataFrame) -> list[tuple[int, str, str]]:
    return frame.filter(pl.col("fault").is_not_null()).select("source_line", "fault", "raw").rows()


def readings(frame: pl.DataFrame) -> list[tuple[int, str, float, bool]]:
    clean = frame.filter(pl.col("fault").is_null()).sort("host_id", "ds")
    return clean.select(pl.col("ds").dt.day(), "host_id", "y", "is_imputed").rows()


@pytest.mark.parametrize(("row", "fault"), ROWS.values(), ids=ROWS.keys())
def test_a_row_is_quarantined_for(tmp_path: Path, row: str, fault: Fault) -> None:
    frame, stats = refine(tmp_path, SOUND, row, "2024-05-04,web-1,42,8")

    assert [(line, name) for line, name, _ in faults(frame)] == [(3, fault)]
    assert readings(frame) == [(3, "web-1", 41.5, False), (4, "web-1", 42.0, False)]
    assert stats.csv_rows == stats.landed == 3


@pytest.mark.parametrize("row", SAME_READING.values(), ids=SAME_READING.keys())
def test_a_row_is_read_exactly(tmp_path: Path, row: str) -> None:
    frame, _ = refine(tmp_path, row)

    assert frame.select("ds", "host_id", "y", "capacity", "fault", "raw", "source_line").rows() == [
        (datetime(2024, 5, 3), "web-1", 41.5, 8.0, None, None, 2)  # noqa: DTZ001 - ds has no zone
    ]


@pytest.mark.parametrize(
    ("values", "kept", "told"),
    [
        (("1", "1"), 1.0, [(3, "duplicate")]),
        (("1", "2"), 2.0, [(2, "superseded")]),
        (("1", "2", "1"), 1.0, [(2, "superseded"), (3, "superseded")]),
        (("1", "2", "2"), 2.0, [(2, "superseded"), (4, "duplicate")]),
        (("1", "1", "2"), 2.0, [(2, "superseded"), (3, "duplicate")]),
    ],
)
def test_one_row_is_left_of_those_for_the_same_host_and_day(
    tmp_path: Path, values: tuple[str, ...], kept: float, told: list[tuple[int, str]]
) -> None:
    names = ("web-1", "WEB-1", "Web-1")
    rows = [f"2024-05-03,{name},{value},8" for name, value in zip(names, values, strict=False)]

    frame, stats = refine(tmp_path, *rows)

    assert [(line, fault) for line, fault, _ in faults(frame)] == told
    assert [raw for _, _, raw in faults(frame)] == [rows[line - 2] for line, _ in told]
    assert [y for _, _, y, _ in readings(frame)] == [kept]
    assert stats.hosts == 1


@pytest.mark.parametrize(
    ("readings_by_day", "max_gap_days", "filled", "long_gaps"),
    [
        ({1: 10, 3: 30}, 3, {2: 20.0}, 0),
        ({1: 10, 4: 40}, 3, {2: 20.0, 3: 30.0}, 0),
        ({1: 0, 5: 40}, 3, {2: 10.0, 3: 20.0, 4: 30.0}, 0),
        ({1: 0, 6: 50}, 3, {}, 1),
        ({1: 10, 3: 30}, 0, {}, 1),
        ({10: 5, 12: 7, 15: 1}, 3, {11: 6.0, 13: 5.0, 14: 3.0}, 0),
        ({15: 50}, 3, {}, 0),
        ({15: 50, 16: 60}, 3, {}, 0),
    ],
    ids=str,
)
def test_interior_gaps_are_filled_on_a_straight_line(
    tmp_path: Path,
    readings_by_day: dict[int, float],
    max_gap_days: int,
    filled: dict[int, float],
    long_gaps: int,
) -> None:
    rows = [f"2024-05-{day:02d},web-1,{value},8" for day, value in readings_by_day.items()]
    # Another host, with every day, so that nothing can be said of the month as a whole.
    rows += [f"2024-05-{day:02d},web-2,50,8" for day in range(1, 32)]

    frame, stats = refine(tmp_path, *rows, max_gap_days=max_gap_days)

    imputed = {day: (host, y) for day, host, y, is_imputed in readings(frame) if is_imputed}
    assert imputed == {day: ("web-1", y) for day, y in filled.items()}
    assert (stats.imputed, stats.long_gaps) == (len(filled), long_gaps)
    assert frame.filter("is_imputed")["source_line"].null_count() == len(filled)


def test_a_quarantined_reading_leaves_a_gap_that_is_filled(tmp_path: Path) -> None:
    frame, stats = refine(tmp_path, "2024-05-01,web-1,10,8", "2024-05-02,web-1,999,8", "2024-05-03,web-1,20,8")

    assert readings(frame) == [(1, "web-1", 10.0, False), (2, "web-1", 15.0, True), (3, "web-1", 20.0, False)]
    assert stats.faults == {Fault.OUT_OF_RANGE: 1}


def test_both_readers_read_a_sound_file_alike() -> None:
    data = f"{HEADER}\n{SOUND}\n2024-05-04,web-1,1e-3,\n2024-05-03,db-1,0,16\n".encode()

    clean = read_clean(data, CPU, MAY)

    assert clean is not None
    assert clean.drop("point").equals(scrub(read_lines(data, CPU), CPU, MAY, 0.0))
    assert clean.drop("point").schema == TYPED_SCHEMA


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(lambda text: text.replace("41.5", "41,5"), id="decimal comma"),
        pytest.param(lambda text: text.replace("web-1", "\rweb-1"), id="carriage returns"),
        pytest.param(lambda text: text + "\n", id="blank line"),
        pytest.param(lambda text: text.removesuffix("\n"), id="no final newline"),
        pytest.param(lambda text: text.replace("web-1", '"web-1"'), id="quotes"),
        pytest.param(lambda text: text.replace("web-1", " web-1"), id="padding"),
        pytest.param(lambda text: text.replace("2024-05-03", "2024-06-03"), id="another month"),
        pytest.param(lambda text: text.replace(".5,8", ".5").replace("42,8", "42,8,"), id="short and long"),
        pytest.param(lambda text: text.replace("41.5", "nan"), id="not a number"),
    ],
)  # fmt: skip
def test_the_fast_reader_leaves_to_the_other_whatever_is_not_plain(spoil: object) -> None:
    assert callable(spoil)
    text = f"{HEADER}\n{SOUND}\n2024-05-04,web-1,42,8\n"
    assert read_clean(text.encode(), CPU, MAY) is not None

    assert read_clean(spoil(text).encode(), CPU, MAY) is None


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"date;host_id;cpu_p95;max_cores\n", "semicolons"),
        (f"{HEADER}\n".encode("utf-16"), "UTF-16"),
        (b"\x1f\x8b\x08\x00rest", "gzip"),
        (f"{HEADER}\r2024-05-03,web-1,1,8\r".encode(), "carriage return"),
        (f"\n{HEADER}\n".encode(), "blank line 1"),
        (b"date,host_id,cpu_p95,CPU_P95,max_cores\n", "more than once"),
        (b"date,host_id,memory_p95,memory_gb\n", "lacks cpu_p95, max_cores"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_header_that_does_not_serve_is_told_by_its_cause(data: bytes, told: str) -> None:
    problem = header_problem(data, CPU)

    assert problem is not None
    assert told in problem


def test_a_header_may_be_padded_shouted_reordered_and_longer(tmp_path: Path) -> None:
    frame, _ = refine(tmp_path, "8,x,web-1,41.5,2024-05-03", header=" MAX_CORES,rack,HOST_ID ,Cpu_P95, date")

    assert readings(frame) == [(3, "web-1", 41.5, False)]


@pytest.mark.parametrize(
    ("data", "rows"),
    [
        (b"", 0), (b"h", 0), (b"h\n", 0), (b"h\na", 1), (b"h\na\n", 1), (b"h\r\na\r\n\r\n", 1),
        (b"h\n\n\na\n \t\nb", 2), (b"h\na\n\n", 1), (b"h\n ", 0),
    ],
)  # fmt: skip
def test_data_rows_are_counted_from_the_bytes(data: bytes, rows: int) -> None:
    assert count_data_rows(data, CPU) == rows


def part_of(text: str) -> TextPart:
    return TextPart(FeedFile(Path(), CPU, MAY), "", text.encode())


def test_the_newest_day_is_found_wherever_it_stands() -> None:
    days = ["2024-05-30", "2024-05-31 00:00:00", "2024-06-01", "2024-05-29"]
    text = "".join(f"{line}\n" for line in (HEADER, *(f"{day},web-1,x,8" for day in days)))

    assert newest_day(part_of(text), MAY) == date(2024, 5, 31)
    assert newest_day(part_of(f"{HEADER}\nx,web-1,1,8\n"), MAY) is None


def test_a_file_that_is_not_there_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(RefusedFileError, match=r"2024/05/cpu_utilization_202405\.csv is not there"):
        refine_file(FeedFile(tmp_path, CPU, MAY), Settings())


def test_bytes_that_are_no_text_touch_their_own_line_only(tmp_path: Path) -> None:
    file = FeedFile(tmp_path, CPU, MAY)
    file.path.parent.mkdir(parents=True)
    file.path.write_bytes(f"{HEADER}\n{SOUND}\n".encode() + b"2024-05-04,caf\xe9,1,8\n")

    frame = refine_file(file, Settings()).partition

    assert faults(frame) == [(3, "malformed_row", "2024-05-04,caf\\xe9,1,8")]
    assert readings(frame) == [(3, "web-1", 41.5, False)]


def judged(stats: Stats, tolerance: float = 0.01) -> dict[str, Verdict]:
    evidence = FamilyMonth(stats, tolerance)
    return {verdict.check: verdict for verdict in judge(FAMILY_RULES, CPU.name, MAY, evidence)}


def test_a_quarantine_that_is_mostly_readings_above_100_names_the_setting_that_takes_them(tmp_path: Path) -> None:
    rows = [SOUND, "2024-05-04,web-1,118,8", "2024-05-05,web-1,100.5,8", "2024-05-06,web-1,x,8"]

    _, stats = refine(tmp_path, *rows)
    mostly = judged(stats)["quarantine_within_tolerance"]
    _, stats = refine(tmp_path, *rows[:2], *rows[3:])
    by_half = judged(stats)["quarantine_within_tolerance"]
    _, stats = refine(tmp_path, *rows, overshoot=20.0)
    taken = judged(stats, 0.5)["quarantine_within_tolerance"]

    assert mostly.failed
    assert mostly.recovery.startswith("REFINERY_OVERSHOOT=20 takes 2 of 3 quarantined rows as 100")
    assert by_half.failed
    assert "REFINERY_QUARANTINE_TOLERANCE" in by_half.recovery
    assert taken.outcome is Outcome.WARNING
    assert taken.finding.summary == "1 row of 4 quarantined (not_a_number 1), 2 readings above 100 taken as 100."


@pytest.mark.parametrize(
    ("rows", "tolerance", "expected"),
    [
        ([SOUND, "2024-05-04,web-1,x,8"], 0.49, Outcome.FAILED),
        ([SOUND, "2024-05-04,web-1,x,8"], 0.5, Outcome.WARNING),
        ([SOUND], 0.0, Outcome.PASSED),
    ],
    ids=["above the tolerance", "at the tolerance", "none"],
)
def test_quarantined_rows_are_a_warning_up_to_the_tolerance(
    tmp_path: Path, rows: list[str], tolerance: float, expected: Outcome
) -> None:
    _, stats = refine(tmp_path, *rows)

    verdict = judged(stats, tolerance)["quarantine_within_tolerance"]

    assert verdict.outcome is expected
    assert (verdict.recovery == NOTHING_TO_DO) is (expected is Outcome.PASSED)
    assert [(row["file"], row["source_line"], row["raw"]) for row in verdict.finding.offenders] == [
        ("2024/05/cpu_utilization_202405.csv", line, raw) for line, raw in enumerate(rows[1:], start=3)
    ]


def test_a_row_that_is_lost_on_the_way_or_a_file_without_rows_is_told_by_the_count(tmp_path: Path) -> None:
    _, stats = refine(tmp_path, SOUND)

    lost = judged(replace(stats, landed=0))["rows_accounted_for"]
    refused = judged(Stats(CPU, MAY, stats.name, problem=f"{stats.name} is empty; export it again."))
    sound = judged(stats)["rows_accounted_for"]

    assert lost.failed
    assert lost.finding.message == f"The partition holds 0 of 1 data row. The file is {stats.name}."
    assert refused["rows_accounted_for"].failed
    assert f"{stats.name} is empty" in refused["rows_accounted_for"].sentence
    assert sound.outcome is Outcome.PASSED
    assert sound.finding.summary == "The partition holds 1 of 1 data row."


def test_the_hosts_of_a_large_fleet_stand_in_blocks_that_each_go_day_by_day(tmp_path: Path) -> None:
    file = FeedFile(tmp_path, CPU, MAY)
    names = [f"web-{number:05d}" for number in range(2 * HOSTS_PER_BLOCK + 1)]
    lines = [f"2024-05-0{day},{name},41.5,8" for day in (1, 2, 3) for name in names]
    # A gap to fill in the second block, and a row that does not stand in the table.
    del lines[len(names) + HOSTS_PER_BLOCK + 7]
    lines.append("2024-05-04,web-00001,much,8")
    file.path.parent.mkdir(parents=True)
    file.path.write_text("\n".join([HEADER, *lines, ""]))

    refined = refine_file(file, Settings())

    partition, stats = refined.partition, refined.stats
    assert (stats.imputed, stats.quarantined) == (1, 1)
    blocks = [names[at : at + HOSTS_PER_BLOCK] for at in range(0, len(names), HOSTS_PER_BLOCK)]
    expected = [(day, name) for block in blocks for day in (1, 2, 3) for name in block]
    there = partition.filter(pl.col("fault").is_null()).select(pl.col("ds").dt.day(), "host_id")
    assert there.rows() == expected
    assert partition["fault"].to_list()[-1] == Fault.NOT_A_NUMBER


@pytest.mark.parametrize("by_host", [False, True])
def test_hosts_that_come_and_go_have_one_number_all_month(*, by_host: bool) -> None:
    lists = (
        "web-1 web-2",
        "web-1 web-2",
        "web-1 web-2 web-3",
        "web-2 web-3",
        "web-3 web-2",
        "web-1 web-2",
        "WEB-1 db-1",
    )
    lines = [f"2024-05-{day:02d},{host},41.5,8" for day, names in enumerate(lists, start=1) for host in names.split()]
    if by_host:
        lines.sort(key=lambda line: line.split(",")[1].lower())
    rows = read_clean("\n".join([HEADER, *lines, ""]).encode(), CPU, MAY)
    assert rows is not None
    assert rows["host_id"].to_list() == [line.split(",")[1] for line in lines]
    assert rows["point"].to_list() == point_of(rows).to_list()
    hosts = dict(zip(rows["host_id"].str.to_lowercase(), rows["point"] % 2**32, strict=True))
    assert hosts == {"db-1": 1, "web-1": 2, "web-2": 3, "web-3": 4}
