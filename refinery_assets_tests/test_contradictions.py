"""Files that contradict the contract in one way in most of their rows: the key, a sample and its place are named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from refinery_assets.checks.rules import Outcome, Verdict, judge
from refinery_assets.contract.families import LEGACY_FEED, DateFormat, Encoding, Unit
from refinery_assets.contract.settings import Settings
from refinery_assets.feed.files import FeedExtent, FeedFile
from refinery_assets.rows.family import refine_file
from refinery_assets.rows.family_checks import FAMILY_RULES, FamilyMonth
from refinery_assets.rows.source_checks import ENTRANCE_RULES, MonthOfFeed
from refinery_assets.rows.source_files import inspect_file
from refinery_assets_tests.dialects import parquet
from refinery_assets_tests.hostile import FAMILY, MONTH

HEADER = "date,host_id,cpu_p95,max_cores"
NAME = "2024/05/cpu_utilization_202405.csv"


def lines(date: str = "%Y-%m-%d", host: str = "web-1", value: str = "41.5", delimiter: str = ",") -> str:
    rows = [[f"{day:{date}}", host, value, "8"] for day in MONTH.days]
    return "".join(f"{delimiter.join(row)}\n" for row in [HEADER.split(","), *rows])


def file_of(folder: Path, data: bytes, path: str = FAMILY.path, **declared: Any) -> FeedFile:
    file = FeedFile(folder, FAMILY.model_copy(update={"path": path, **declared}), MONTH)
    file.path.parent.mkdir(parents=True, exist_ok=True)
    file.path.write_bytes(data)
    return file


def quarantine(file: FeedFile) -> Verdict:
    """What `quarantine_within_tolerance` says of the file."""
    evidence = FamilyMonth(refine_file(file, Settings()).stats, 0.01)
    return next(
        verdict
        for verdict in judge(FAMILY_RULES, FAMILY.name, MONTH, evidence)
        if verdict.check == "quarantine_within_tolerance"
    )


def entrance(file: FeedFile, check: str) -> Verdict:
    settings = Settings(feed=file.root)
    feed = MonthOfFeed(MONTH, [inspect_file(file)], FeedExtent(MONTH, MONTH), MONTH.last_day, settings)
    return next(each for each in judge(ENTRANCE_RULES, LEGACY_FEED, MONTH, feed) if each.check == check)


@pytest.mark.parametrize(
    ("data", "declared", "clue", "remedy"),
    [
        (
            lines(host="büro-1").encode("latin-1"),
            {},
            rf"hold bytes that are not UTF-8: '2024-05-01,b\xfcro-1,41.5,8' ({NAME}, line 2)",
            'has encoding = "utf-8", which most of these rows contradict; they read as encoding = "latin-1"',
        ),
        (
            lines(value="41,5", delimiter=";").encode(),
            {"delimiter": ";"},
            f"another decimal mark: '41,5' ({NAME}, line 2)",
            'has decimal = ".", which most of these rows contradict; they read as decimal = ","',
        ),
        (
            lines(value="41.5").encode(),
            {"unit": Unit.FRACTION},
            f"a value above 1, and not above 100: '41.5' ({NAME}, line 2)",
            'has unit = "fraction", which most of these rows contradict; they read as unit = "percent"',
        ),
        (
            lines("%m/%d/%Y").encode(),
            {"date_format": DateFormat.BRITISH},
            f"in another format alone: '05/01/2024' ({NAME}, line 2)",
            'has date_format = "DD/MM/YYYY", which most of these rows contradict; they read as date_format = "MM',
        ),
        (
            lines().replace(",web", ";web").replace("1,41.5,", "1;41.5;").encode(),
            {},
            f"number of fields by another delimiter: '2024-05-01;web-1;41.5;8' ({NAME}, line 2)",
            'has delimiter = ",", which most of these rows contradict; they read as delimiter = ";"',
        ),
        (
            lines(value="41,5").encode(),
            {},
            f"as decimal commas without quotes give: '2024-05-01,web-1,41,5,8' ({NAME}, line 2)",
            'has delimiter = ",", which most of these rows contradict. Have the file exported as declared, or correct',
        ),
        (
            lines(host="'web, old'").encode(),
            {},
            f"""fields quoted with ': "2024-05-01,'web, old',41.5,8" ({NAME}, line 2)""",
            """they read as quote = "'".""",
        ),
        (
            lines().replace(",8\n", ",k.A.\n").encode(),
            {},
            f"a word in place of a number: 'k.A.' ({NAME}, line 2)",
            "names other words as absent, which most of these rows contradict",
        ),
    ],
    ids=["encoding", "decimal", "unit", "date_format", "delimiter", "decimal commas", "quote", "absent"],
)
def test_the_key_that_most_rows_contradict_is_named(
    tmp_path: Path, data: bytes, declared: dict[str, Any], clue: str, remedy: str
) -> None:
    found = quarantine(file_of(tmp_path, data, **declared))
    assert found.outcome is Outcome.FAILED
    assert clue in found.finding.detail
    assert remedy in found.recovery


def test_of_files_of_days_each_row_is_read_by_the_header_of_its_own_file(tmp_path: Path) -> None:
    path = "{year}/{month}/cpu_{day}.csv"
    orders = [("date", "host_id", "cpu_p95", "max_cores"), ("cpu_p95", "max_cores", "host_id", "date")]
    for number, day in enumerate(MONTH.days):
        row = {"date": f"{day}", "host_id": "büro-1", "cpu_p95": "41,5", "max_cores": "8"}
        order = orders[number > 1]
        text = f"{';'.join(order)}\n{';'.join(row[name] for name in order)}\n"
        file = file_of(tmp_path, b"", path, delimiter=";")
        (tmp_path / f"2024/05/cpu_{day:%d}.csv").write_text(text, encoding="utf-8")

    found = quarantine(file)

    assert "another decimal mark: '41,5' (2024/05/cpu_01.csv, line 2)" in found.finding.detail
    assert 'they read as decimal = ","' in found.recovery


def test_of_parquet_files_the_row_is_named(tmp_path: Path) -> None:
    frame = pl.DataFrame({"date": MONTH.days, "host_id": "web-1", "cpu_p95": 41.5, "max_cores": 8})
    path = FAMILY.path.replace(".csv", ".parquet")
    found = quarantine(file_of(tmp_path, parquet(frame), path, unit=Unit.FRACTION))
    assert "'41.5' (2024/05/cpu_utilization_202405.parquet, line 1)" in found.finding.detail
    assert 'unit = "percent"' in found.recovery


@pytest.mark.parametrize(
    ("written", "declared", "said"),
    [
        ("%d.%m.%Y", DateFormat.ISO, 'these rows contradict; they read as date_format = "DD.MM.YYYY".'),
        ("%b %d", DateFormat.ISO, 'has date_format = "YYYY-MM-DD", which most of these rows contradict. Have the file'),
        ("%Y-%m-%dT12:00", DateFormat.ISO, 'has date_format = "YYYY-MM-DD", which most of these rows contradict.'),
    ],
)
def test_a_file_none_of_whose_dates_can_be_read_names_date_format(
    tmp_path: Path, written: str, declared: DateFormat, said: str
) -> None:
    found = entrance(file_of(tmp_path, lines(written).encode(), date_format=declared), "fragmentation_complete")
    assert found.outcome is Outcome.FAILED
    assert f"{NAME} has no row dated within 2024-05" in found.finding.detail
    assert said in found.recovery


def test_the_delimiter_and_the_encoding_of_a_header_are_named_by_their_keys(tmp_path: Path) -> None:
    other = entrance(file_of(tmp_path, lines(delimiter=";").encode()), "headers_match_contract")
    assert "by semicolons instead of commas, which delimiter declares" in other.finding.detail
    assert "delimiter, quote or encoding" in other.recovery
    latin = lines().replace("cpu_p95", "auslastung_für").encode("latin-1")
    found = entrance(file_of(tmp_path, latin, value="auslastung_für"), "headers_match_contract")
    assert 'is not UTF-8 text, which encoding declares (try encoding = "latin-1"), so it lacks' in found.finding.detail
    sound = file_of(tmp_path, latin, value="auslastung_für", encoding=Encoding.LATIN1)
    assert entrance(sound, "headers_match_contract").outcome is Outcome.PASSED


def test_a_few_such_rows_are_for_the_export_to_mend(tmp_path: Path) -> None:
    rows = lines(delimiter=";").splitlines()
    rows[5] = rows[5].replace("41.5", "41,5")
    found = quarantine(file_of(tmp_path, "".join(f"{row}\n" for row in rows).encode(), delimiter=";"))
    assert (found.outcome, found.finding.detail) == (Outcome.FAILED, f"The file is {NAME}.")
    assert found.recovery.startswith("Look at the sample")


def test_rows_that_are_faulty_in_several_ways_name_no_key(tmp_path: Path) -> None:
    rows = lines(value="41,5", delimiter=";").splitlines()
    rows[1:] = [row.replace("41,5", "") if number % 5 else row for number, row in enumerate(rows[1:])]
    found = quarantine(file_of(tmp_path, "".join(f"{row}\n" for row in rows).encode(), delimiter=";"))
    assert found.recovery.startswith("Look at the sample")


def test_readings_somewhat_above_full_name_the_overshoot_and_not_the_unit(tmp_path: Path) -> None:
    found = quarantine(file_of(tmp_path, lines(value="1.1").encode(), unit=Unit.FRACTION))
    assert found.recovery.startswith("REFINERY_OVERSHOOT=20 takes 31 of 31 quarantined rows as 100")


def test_a_file_whose_lines_stand_twice_is_called_that(tmp_path: Path) -> None:
    text = lines()
    found = quarantine(file_of(tmp_path, (text + text.partition("\n")[2]).encode()))
    assert found.outcome is Outcome.FAILED
    assert found.recovery.startswith("Most of these rows repeat a line of the file, as if lines were written twice")
