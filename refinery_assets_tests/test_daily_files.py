"""A month that is a file for each of its days, one wide file for several families, and files that nobody named."""

from __future__ import annotations

import os
from dataclasses import replace
from datetime import date
from pathlib import Path

import polars as pl
import pytest

from refinery_assets.checks.rules import Outcome, judge
from refinery_assets.contract.contract_file import Contract
from refinery_assets.contract.families import LEGACY_FEED, Family, Fault
from refinery_assets.contract.settings import Settings
from refinery_assets.feed import unnamed
from refinery_assets.feed.changes import FeedSeen, look_for_changes
from refinery_assets.feed.files import FeedFile, RefusedFileError, feed_extent, feed_file
from refinery_assets.rows.family import refine_file
from refinery_assets.rows.family_checks import FAMILY_RULES, FamilyMonth
from refinery_assets.rows.source_checks import ENTRANCE_RULES, MonthOfFeed, inspect_feed
from refinery_assets.rows.source_files import inspect_file
from refinery_assets_tests.hostile import FAMILY, HEADER, LINES, MONTH, SOUND, as_text

DAILY = FAMILY.model_copy(update={"path": "{year}/{month}/{family}_{year}{month}{day}.csv"})
BY_DAY = {day: [line for line in LINES if line.startswith(day.isoformat())] for day in MONTH.days}


def file_in(folder: Path, family: Family = DAILY) -> FeedFile:
    return FeedFile(folder, family, MONTH)


def write(file: FeedFile, days: dict[date, list[str]], header: str = HEADER) -> None:
    for part in file.parts:
        if part.day and (lines := days.get(date(MONTH.year, MONTH.month, part.day))) is not None:
            part.path.parent.mkdir(parents=True, exist_ok=True)
            part.path.write_text(as_text(lines, header), encoding="utf-8")


def settings_for(feed: Path, *families: Family) -> Settings:
    return Settings(contract=Contract(family=families), feed=feed, first_month=MONTH.previous, last_month=MONTH.next)


def entrance(settings: Settings) -> tuple[MonthOfFeed, dict[str, tuple[Outcome, str]]]:
    (feed,) = inspect_feed(settings, [MONTH], feed_extent(settings), MONTH.last_day)
    found = judge(ENTRANCE_RULES, LEGACY_FEED, MONTH, feed)
    return feed, {verdict.check: (verdict.outcome, verdict.finding.message) for verdict in found}


def test_a_month_without_any_of_its_files_fails(tmp_path: Path) -> None:
    settings = settings_for(tmp_path, DAILY)

    _, found = entrance(settings)

    assert found["source_files_present"][0] is Outcome.FAILED
    assert "0 of 31 expected files found" in found["source_files_present"][1]
    with pytest.raises(RefusedFileError, match=r"cpu_utilization_202405\*.csv is not there"):
        refine_file(file_in(tmp_path), settings)


@pytest.mark.parametrize(
    ("spoiled", "check", "told"),
    [
        (SOUND[:-3], "fragmentation_complete", "cpu_utilization_20240507.csv ends in the middle of line 187"),
        (b"", "fragmentation_complete", "cpu_utilization_20240507.csv is empty"),
        (b"date;host_id\n", "headers_match_contract", "cpu_utilization_20240507.csv, line 1: the header lacks"),
        (f"{HEADER}\n07.05.2024,a,1,2\n".encode(), "fragmentation_complete", "20240507.csv has no row dated within"),
    ],
)
def test_one_spoiled_day_fails_the_month_and_is_named(tmp_path: Path, spoiled: bytes, check: str, told: str) -> None:
    file = file_in(tmp_path)
    write(file, BY_DAY)
    file.parts[6].path.write_bytes(spoiled)

    _, found = entrance(settings_for(tmp_path, DAILY))

    assert found[check][0] is Outcome.FAILED
    assert told in found[check][1]


def test_the_files_of_all_days_are_counted_and_those_that_are_alike_told_together(tmp_path: Path) -> None:
    file = file_in(tmp_path)
    write(file, BY_DAY)
    for part in file.parts[6:10]:
        part.path.write_bytes(b"date;host_id\n2024-05-07;a\n")
    for part in file.parts[20:]:
        part.path.write_bytes(f"{HEADER}\n2024-04-07,a,1,2\n".encode())
    file.parts[12].path.unlink()

    _, found = entrance(settings_for(tmp_path, DAILY))

    assert "30 of 31 expected files found" in found["source_files_present"][1]
    headers = found["headers_match_contract"][1]
    assert headers.startswith("The contract is met by 26 of 30 headers. ")
    assert (headers.count("0240507.csv"), headers.count("20240510.csv"), headers.count("the header lacks")) == (1, 0, 1)
    assert "20240509.csv and 1 more, line 1: the header lacks" in headers
    assert found["fragmentation_complete"][1].endswith(
        "; 11 files hold rows of other months alone. 2024/05/cpu_utilization_20240521.csv and 10 other files hold rows "
        "of 2024-04 and none of 2024-05."
    )


def test_a_day_under_the_name_of_another_is_named_with_the_days_of_its_rows(tmp_path: Path) -> None:
    file = file_in(tmp_path)
    days = {day: list(lines) for day, lines in BY_DAY.items()}
    write(file, days)
    file.parts[12].path.write_bytes(file.parts[11].path.read_bytes())
    # The rows of a day before its own harm nothing.
    days[date(2024, 5, 20)] += days[date(2024, 5, 21)]
    days[date(2024, 5, 21)] += days[date(2024, 5, 20)]
    write(file, {day: days[day] for day in (date(2024, 5, 20), date(2024, 5, 21))})

    _, found = entrance(settings_for(tmp_path, DAILY))

    outcome, told = found["source_files_present"]
    assert outcome is Outcome.WARNING
    assert told == (
        "31 of 31 expected files found. 2024/05/cpu_utilization_20240513.csv holds rows of 2024-05-12 and none of its "
        "own day."
    )


def test_quarantined_rows_of_one_day_are_told_by_its_file(tmp_path: Path) -> None:
    file = file_in(tmp_path)
    write(file, BY_DAY)
    file.parts[12].path.write_bytes(file.parts[11].path.read_bytes())

    stats = refine_file(file, Settings()).stats

    rule = next(rule for rule in FAMILY_RULES if rule.name == "quarantine_within_tolerance")
    verdict = rule.verdict(DAILY.name, MONTH, FamilyMonth(stats, 0.01))
    assert verdict.finding.detail == (
        "The files are 2024/05/cpu_utilization_202405*.csv. Of these rows, 6 are in "
        "2024/05/cpu_utilization_20240513.csv, dated 2024-05-12."
    )
    assert verdict.recovery == (
        "Most of these rows repeat those of another day's file: have the file named exported again, with the rows of "
        "its own day, and run the month again."
    )


def test_missing_days_and_days_without_rows_are_warnings_that_name_them(tmp_path: Path) -> None:
    days = {day: lines for day, lines in BY_DAY.items() if day.day <= 20 and day.day not in {7, 8}}
    days |= {date(2024, 5, 11): [], date(2024, 5, 21): []}
    write(file_in(tmp_path), days)

    feed, found = entrance(settings_for(tmp_path, DAILY))

    assert found["source_files_present"][0] is Outcome.WARNING
    assert "17 of 20 expected files found" in found["source_files_present"][1]
    assert "no rows of 2024-05-07, 2024-05-08, 2024-05-11" in found["source_files_present"][1]
    assert feed.files[0].newest_day == date(2024, 5, 20)
    stats = refine_file(file_in(tmp_path), Settings()).stats
    assert stats.csv_rows == 17 * 6
    assert stats.digest == feed.files[0].digest == file_in(tmp_path).digest()
    assert found["fragmentation_complete"][0] is Outcome.PASSED


@pytest.mark.parametrize("line", [f"{LINES[39]},surplus", "2024-05-07,web-1,\t?,8"], ids=["malformed", "no number"])
def test_a_month_in_files_has_the_rows_of_the_month_in_one(tmp_path: Path, line: str) -> None:
    days = {day: list(lines) for day, lines in BY_DAY.items()}
    days[date(2024, 5, 7)][3] = line
    # A day's file may repeat the day before, in an order of columns of its own.
    days[date(2024, 5, 9)] += days[date(2024, 5, 8)][:1]
    daily, whole = file_in(tmp_path), file_in(tmp_path, FAMILY)
    write(daily, days)
    whole.path.write_text(as_text([line for lines in days.values() for line in lines]), encoding="utf-8")
    last = [",".join(reversed(line.split(","))) for line in days[date(2024, 5, 30)]]
    backwards = as_text(last, "max_cores,cpu_p95,host_id,date")
    daily.parts[29].path.write_text(backwards, encoding="utf-8")

    found, expected = (refine_file(file, Settings()) for file in (daily, whole))

    same = pl.exclude("source_line", "raw")
    assert found.partition.select(same).equals(expected.partition.select(same))
    assert found.series.equals(expected.series)
    assert found.stats.faults == expected.stats.faults
    assert found.stats.faults[str(Fault.DUPLICATE)] == 1
    # Its own file, and the line in that.
    assert [(row["file"], row["source_line"]) for row in found.stats.sample] == [
        ("2024/05/cpu_utilization_20240507.csv", 5),
        ("2024/05/cpu_utilization_20240509.csv", 8),
    ]
    assert found.stats.digest == daily.digest() == inspect_file(daily).digest


def test_a_sound_month_in_files_has_the_rows_of_the_month_in_one(tmp_path: Path) -> None:
    daily, whole = file_in(tmp_path), file_in(tmp_path, FAMILY)
    write(daily, BY_DAY)
    whole.path.write_bytes(SOUND)

    found, expected = (refine_file(file, Settings()) for file in (daily, whole))

    same = pl.exclude("source_line")
    assert found.partition.select(same).equals(expected.partition.select(same))
    # Each day's header is counted.
    assert found.partition["source_line"].max() == len(LINES) + 31


def test_a_changed_day_is_a_changed_month(tmp_path: Path) -> None:
    settings = replace(settings_for(tmp_path, DAILY), quiet_seconds=0.0)
    file = file_in(tmp_path)
    write(file, BY_DAY)
    first = look_for_changes(settings, [MONTH], FeedSeen(), 2e9)
    assert first.changed == [MONTH]
    again = look_for_changes(settings, [MONTH], first.seen, 2e9)
    assert again.changed == []

    part = file.parts[4].path
    part.write_bytes(part.read_bytes().replace(b",4\n", b",5\n"))
    os.utime(part, (1e9, 1e9))

    assert look_for_changes(settings, [MONTH], again.seen, 2e9).changed == [MONTH]


def test_a_wide_file_is_one_file_of_several_families(tmp_path: Path) -> None:
    path = "wide_{year}{month}.csv"
    cpu = FAMILY.model_copy(update={"path": path})
    memory = cpu.model_copy(update={"name": "memory", "resource": "memory", "value": "mem", "capacity": None})
    settings = settings_for(tmp_path, cpu, memory)
    _, without = entrance(settings)
    text = as_text([f"{line},7" for line in LINES], f"{HEADER},mem")
    (tmp_path / "wide_202405.csv").write_text(text, encoding="utf-8")

    _, found = entrance(settings)

    assert "0 of 1 expected file found" in without["source_files_present"][1]
    assert "1 of 1 expected file found" in found["source_files_present"][1]
    assert {outcome for outcome, _ in found.values()} == {Outcome.PASSED}
    of_memory = refine_file(feed_file(settings, memory, MONTH), settings)
    assert of_memory.partition["y"].unique().to_list() == [7.0]
    assert of_memory.partition["capacity"].null_count() == len(LINES)


def test_files_that_the_contract_does_not_name_are_named_and_harm_nothing(tmp_path: Path) -> None:
    flat = FAMILY.model_copy(update={"path": "{family}_{year}{month}.csv"})
    for month in (MONTH, MONTH.previous):
        (tmp_path / f"cpu_utilization_{month.year}{month.month:02d}.csv").write_bytes(SOUND)
    (tmp_path / "elsewhere").mkdir()
    for name in (".DS_Store", "contract.toml"):
        (tmp_path / name).write_bytes(b"")
    _, alone = entrance(settings_for(tmp_path, flat))
    assert "does not name" not in alone["source_files_present"][1]

    for name in ("cpu_utilisation_202405.csv", "README.txt", "cpu_utilization_2024.csv", "z"):
        (tmp_path / name).write_bytes(b"")
    feed, found = entrance(settings_for(tmp_path, flat))

    outcome, message = found["source_files_present"]
    assert outcome is Outcome.PASSED
    assert (
        "4 files lie there that the contract does not name, such as README.txt, cpu_utilisation_202405.csv, "
        "cpu_utilization_2024.csv." in message
    )
    assert feed.unnamed.count == 4


@pytest.mark.parametrize("name", ["20240512 (1).csv", "20240532.csv", "20240512.csv.csv", "20240512-neu.csv"])
def test_a_copy_of_a_file_or_one_of_a_day_that_is_none_is_a_warning(tmp_path: Path, name: str) -> None:
    file = file_in(tmp_path)
    write(file, BY_DAY)
    for other in (name, "of_2023.csv", "20240413 (1).csv"):
        (tmp_path / f"2024/05/cpu_utilization_{other}").write_bytes(SOUND)

    _, found = entrance(settings_for(tmp_path, DAILY))

    outcome, told = found["source_files_present"]
    assert outcome is Outcome.WARNING
    assert told.startswith("31 of 31 expected files found. 3 files lie there that the contract does not name, such as ")
    assert told.endswith(f" Named much like the month's files, and not read: 2024/05/cpu_utilization_{name}.")


def test_a_folder_of_very_many_files_is_not_looked_through(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unnamed, "_MOST_LOOKED_AT", 5)
    flat = FAMILY.model_copy(update={"path": "{family}_{year}{month}.csv"})
    for number in range(9):
        (tmp_path / f"old_{number}.csv").write_bytes(b"")

    feed, _ = entrance(settings_for(tmp_path, flat))

    assert str(feed.unnamed).startswith("More than 5 files lie there that the contract does not name, such as old_")
