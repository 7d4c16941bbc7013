"""The entrance audit as plain functions: which file is named, and what is said of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

import pytest

from refinery_assets.checks.rules import NOTHING_TO_DO, Finding, Outcome, Verdict, judge
from refinery_assets.contract.contract_file import Contract
from refinery_assets.contract.families import LEGACY_FEED, Family
from refinery_assets.contract.months import Month
from refinery_assets.contract.packaged import FAMILIES
from refinery_assets.contract.settings import Settings
from refinery_assets.feed.files import FeedExtent, FeedFile, feed_extent
from refinery_assets.rows.family import refine_file
from refinery_assets.rows.source_checks import (
    ENTRANCE_RULES,
    MonthOfFeed,
    inspect_feed,
    months_asked,
)
from refinery_assets.rows.source_files import FileFacts

CPU, MEMORY, DISK, NETWORK = FAMILIES
MAY, JUNE, DECEMBER = Month(2024, 5), Month(2024, 6), Month(2024, 12)
HOSTS = 5


@dataclass(frozen=True)
class Feed:
    """A small feed on disk."""

    root: Path

    def write(self, month: Month, *, to: int | None = None, families: Iterable[Family] = FAMILIES) -> None:
        """Export a month in full, or up to a day of it."""
        for family in families:
            days = month.days[:to]
            self.write_lines(family, month, [f"{day},web-{host},41.5,8" for day in days for host in range(HOSTS)])

    def write_lines(self, family: Family, month: Month, lines: list[str], header: str | None = None) -> None:
        text = "".join(f"{line}\n" for line in (header or ",".join(family.columns), *lines))
        self.write_bytes(family, month, text.encode())

    def write_bytes(self, family: Family, month: Month, data: bytes) -> None:
        path = self.file(family, month).path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)

    def lines(self, family: Family, month: Month) -> list[str]:
        """The lines after the header."""
        return self.file(family, month).path.read_text(encoding="utf-8").splitlines()[1:]

    def edit(self, family: Family, month: Month, change: Callable[[list[str]], list[str]]) -> None:
        self.write_lines(family, month, change(self.lines(family, month)))

    def file(self, family: Family, month: Month) -> FeedFile:
        return FeedFile(self.root, family, month)

    def verdicts(
        self, month: Month, *, today: date | None = None, family_skew: float = Settings.family_skew
    ) -> dict[str, Verdict]:
        """The verdicts on a month by check, judged at its end unless told otherwise."""
        settings = Settings(feed=self.root, family_skew=family_skew, first_month=Month(2024, 1), last_month=DECEMBER)
        extent = feed_extent(settings)
        (facts,) = inspect_feed(settings, [month], extent, today or month.last_day)
        return {verdict.check: verdict for verdict in judge(ENTRANCE_RULES, LEGACY_FEED, month, facts)}

    def export(self, month: Month, *, today: date | None = None, family_skew: float = Settings.family_skew) -> Verdict:
        """What `fragmentation_complete` says."""
        return self.verdicts(month, today=today, family_skew=family_skew)["fragmentation_complete"]


@pytest.fixture
def feed(tmp_path: Path) -> Feed:
    """May, in full."""
    found = Feed(tmp_path)
    found.write(MAY)
    return found


def name_of(family: Family, month: Month = MAY) -> str:
    return f"{month.year}/{month.month:02d}/{family.name}_{month.year}{month.month:02d}.csv"


def names_in(finding: Finding) -> set[str]:
    """The families whose files a finding names."""
    return {family.name for family in FAMILIES if name_of(family) in finding.detail}


# --- A file stands out ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda lines: lines[::2], "has 78 rows, 77 fewer than the other families."),
        (lambda lines: lines + lines, "has 310 rows, 155 more than the other families, as if every line were written"),
        (lambda lines: lines + lines[:9], "has 164 rows, 9 more than the other families."),
    ],
    ids=["short", "doubled", "a few rows too many"],
)
def test_the_family_that_differs_is_the_one_that_is_named(
    feed: Feed, family: Family, change: Callable[[list[str]], list[str]], told: str
) -> None:
    feed.edit(family, MAY, change)

    verdict = feed.export(MAY)

    assert verdict.failed
    assert verdict.finding.summary.endswith("up to 2024-05-31; the families differ in rows.")
    assert f"{name_of(family)} {told}" in verdict.finding.detail
    assert names_in(verdict.finding) == {family.name}


def test_of_two_long_and_two_short_families_the_short_ones_are_named(feed: Feed) -> None:
    for family in (CPU, NETWORK):
        feed.edit(family, MAY, lambda lines: lines[::2])

    assert names_in(feed.export(MAY).finding) == {CPU.name, NETWORK.name}


@pytest.mark.parametrize(
    ("limit", "expected"),
    [(3 / 155 - 1e-9, Outcome.FAILED), (3 / 155, Outcome.WARNING)],
    ids=["above the limit", "at the limit"],
)
def test_a_few_rows_less_are_a_warning_up_to_the_limit(feed: Feed, limit: float, expected: Outcome) -> None:
    feed.edit(DISK, MAY, lambda lines: lines[3:])

    verdict = feed.export(MAY, family_skew=limit)

    assert verdict.outcome is expected
    assert verdict.finding.offenders == [
        {
            "severity": "error" if verdict.failed else "warning",
            "problem": f"{name_of(DISK)} has 152 rows, 3 fewer than the other families",
        }
    ]


@pytest.mark.parametrize(
    ("limit", "expected"), [(10 / 155 - 1e-9, Outcome.WARNING), (10 / 155, Outcome.PASSED)], ids=["above", "up to"]
)
def test_a_row_less_in_a_whole_month_is_no_sign_of_an_unfinished_export(
    feed: Feed, limit: float, expected: Outcome
) -> None:
    feed.edit(DISK, MAY, lambda lines: lines[1:])

    verdict = feed.export(MAY, family_skew=limit)

    assert verdict.outcome is expected
    assert verdict.finding.detail == f"{name_of(DISK)} has 154 rows, 1 fewer than the other families."
    assert "may not have finished" not in verdict.finding.summary
    if expected is Outcome.WARNING:
        assert verdict.finding.summary.endswith("; the families differ by a few rows.")
        assert verdict.recovery.endswith("the month is published all the same.")
    else:
        assert (list(verdict.finding.offenders), verdict.recovery) == ([], NOTHING_TO_DO)


def test_a_family_that_ends_before_the_others_is_named(feed: Feed) -> None:
    feed.write(MAY, to=30, families=[MEMORY])

    verdict = feed.export(MAY)

    assert verdict.failed
    assert f"{name_of(MEMORY)} ends on 2024-05-30, another family on 2024-05-31" in verdict.finding.detail
    assert names_in(verdict.finding) == {MEMORY.name}


def test_a_cut_file_says_nothing_about_the_sound_ones(feed: Feed) -> None:
    lines = feed.file(CPU, MAY).path.read_bytes().splitlines(keepends=True)
    feed.write_bytes(CPU, MAY, b"".join(lines[:79])[:-4])

    verdict = feed.export(MAY)

    assert verdict.finding.detail == f"{name_of(CPU)} ends in the middle of line 79."
    assert "; the export did not finish." in verdict.finding.summary


def test_a_partition_without_a_row_of_the_month_is_named_beside_the_others() -> None:
    files = [
        FileFacts(family, name_of(family), rows=155, newest_day=None if family is CPU else MAY.last_day)
        for family in FAMILIES
    ]
    facts = MonthOfFeed(MAY, files, FeedExtent(MAY, MAY), MAY.last_day, Settings())

    verdict = judge(ENTRANCE_RULES, LEGACY_FEED, MAY, facts)[-1]

    assert verdict.finding.detail == f"{name_of(CPU)} has no row of 2024-05."


# --- A month ends too early ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("last", "days_short"), [(20, "11 days"), (29, "2 days"), (1, "30 days")], ids=["day 20", "two days", "day 1"]
)
def test_a_month_that_ends_early_in_all_families_fails_once_a_later_one_is_there(
    feed: Feed, last: int, days_short: str
) -> None:
    feed.write(MAY, to=last)
    feed.write(JUNE, to=1, families=[DISK])

    verdict = feed.export(MAY)

    assert verdict.failed
    assert verdict.finding.detail == (
        f"2024-05 ends on 2024-05-{last:02d}, {days_short} before its last, though the feed already holds 2024-06."
    )
    assert "; the export did not finish." in verdict.finding.summary


def test_a_closed_month_one_day_short_is_a_warning(feed: Feed) -> None:
    feed.write(MAY, to=30)
    feed.write(JUNE, to=1)

    verdict = feed.export(MAY)

    assert verdict.outcome is Outcome.WARNING
    assert "ends on 2024-05-30, 1 day before its last" in verdict.finding.detail


@pytest.mark.parametrize(("days_past", "expected"), [(6, Outcome.WARNING), (5, Outcome.PASSED), (-20, Outcome.PASSED)])
def test_the_newest_month_may_end_anywhere_until_the_calendar_has_passed_it(
    feed: Feed, days_past: int, expected: Outcome
) -> None:
    feed.write(MAY, to=11)

    verdict = feed.export(MAY, today=MAY.last_day + timedelta(days=days_past))

    assert verdict.outcome is expected
    told = "2024-05 ends on 2024-05-11, 20 days before its last, though today is 2024-06-06 (REFINERY_LATE_DAYS)."
    assert verdict.finding.detail == (told if expected is Outcome.WARNING else "")


def test_an_export_of_the_first_of_december_ends_with_one_day_of_it(feed: Feed) -> None:
    feed.write(Month(2024, 11))
    feed.write(DECEMBER, to=1)

    for month in (Month(2024, 11), DECEMBER):
        assert feed.export(month, today=date(2024, 12, 1)).outcome is Outcome.PASSED


# --- Dates that are not the contract's -----------------------------------------------------------------------

FOREIGN: dict[str, Callable[[str], str]] = {
    "day first": lambda line: f"{line[8:10]}.{line[5:7]}.{line[:4]}{line[10:]}",
    "slashes": lambda line: line.replace("-", "/", 2),
    "a zone": lambda line: line.replace(",", "T00:00:00Z,", 1),
}


@pytest.mark.parametrize("write", FOREIGN.values(), ids=FOREIGN.keys())
@pytest.mark.parametrize("families", [[CPU], FAMILIES], ids=["one family", "all families"])
def test_dates_written_otherwise_are_told_as_such(
    feed: Feed, families: list[Family], write: Callable[[str], str]
) -> None:
    for family in families:
        feed.edit(family, MAY, lambda lines: [write(line) for line in lines])

    verdict = feed.export(MAY)

    assert verdict.failed
    count = "1 file" if len(families) == 1 else "4 files"
    assert verdict.finding.summary.endswith(f"; no date of {count} reads as a day of the month.")
    first = write("2024-05-01,web-0,41.5,8")
    for family in families:
        told = f"{name_of(family)} has no row dated within 2024-05 and written YYYY-MM-DD; its line 2 reads {first!r}"
        assert told in verdict.finding.detail
    assert names_in(verdict.finding) == {family.name for family in families}
    assert "did not finish" not in verdict.sentence
    assert "YYYY-MM-DD" in verdict.recovery


@pytest.mark.parametrize("families", [[CPU], FAMILIES], ids=["one family", "all families"])
def test_rows_of_another_month_are_told_by_their_month_and_not_by_the_date_format(
    feed: Feed, families: list[Family]
) -> None:
    for family in families:
        feed.edit(family, MAY, lambda lines: [line.replace("2024-05", "2024-04") for line in lines])

    verdict = feed.export(MAY)

    assert verdict.failed
    told = "1 file holds" if len(families) == 1 else "4 files hold"
    assert verdict.finding.summary.endswith(f"; {told} rows of other months alone.")
    for family in families:
        assert f"{name_of(family)} holds rows of 2024-04 and none of 2024-05" in verdict.finding.detail
    assert "date_format" not in verdict.sentence + verdict.recovery
    assert verdict.recovery.startswith("Have the month's own rows exported to the files named")


def test_the_line_that_is_shown_for_its_date_is_the_first_that_is_not_blank_and_not_endless(feed: Feed) -> None:
    feed.write_bytes(CPU, MAY, f"{','.join(CPU.columns)}\n\n \n05/01/2024,{'x' * 10_000},41.5,8\n".encode())

    verdict = feed.export(MAY)

    assert "its line 4 reads '05/01/2024,xxx" in verdict.finding.detail
    assert len(verdict.sentence) < 600


# --- Headers -------------------------------------------------------------------------------------------------


def test_a_month_of_which_no_header_can_be_read_fails(feed: Feed) -> None:
    for family in FAMILIES:
        feed.write_bytes(family, MAY, b"")

    verdicts = feed.verdicts(MAY)

    assert verdicts["headers_match_contract"].failed
    assert verdicts["headers_match_contract"].finding.summary == "No header could be read."
    assert all(f"{name_of(family)} is empty" in verdicts["fragmentation_complete"].sentence for family in FAMILIES)


def test_what_follows_from_missing_files_points_to_the_check_that_names_them(feed: Feed) -> None:
    for family in FAMILIES:
        feed.file(family, MAY).path.unlink(missing_ok=True)

    verdicts = feed.verdicts(MAY)

    assert all(verdict.failed for verdict in verdicts.values())
    assert verdicts["headers_match_contract"].recovery == "See source_files_present."
    assert verdicts["fragmentation_complete"].recovery == "See source_files_present."


def test_every_wrong_header_is_told_in_full_with_the_columns_that_are_expected(feed: Feed) -> None:
    for family in FAMILIES:
        feed.write_lines(family, MAY, feed.lines(family, MAY), header="day,host_name_of_the_legacy_system,p95,limit")

    verdict = feed.verdicts(MAY)["headers_match_contract"]

    assert verdict.finding.summary == "The contract is met by 0 of 4 headers."
    for family in FAMILIES:
        columns = ",".join(family.columns)
        told = f"{name_of(family)}, line 1: the header lacks {columns.replace(',', ', ')}; expected {columns}."
        assert told in verdict.sentence


# --- Files that are not there --------------------------------------------------------------------------------


def test_a_month_missing_between_exported_ones_fails_and_names_its_files(feed: Feed) -> None:
    feed.write(Month(2024, 7))

    verdict = feed.verdicts(JUNE)["source_files_present"]

    assert verdict.failed
    assert verdict.finding.summary == "0 of 4 expected files found."
    assert verdict.finding.detail == f"Missing: {', '.join(name_of(family, JUNE) for family in FAMILIES)}."


@pytest.mark.parametrize(
    ("month", "state"), [(Month(2024, 11), "is not exported yet"), (Month(2024, 2), "lies before the first month")]
)
def test_a_month_outside_of_what_is_exported_says_what_the_feed_holds(feed: Feed, month: Month, state: str) -> None:
    feed.write(JUNE)

    verdict = feed.verdicts(month)["source_files_present"]

    assert verdict.failed
    assert verdict.finding.summary == (
        f"0 of 4 expected files found; {month} {state}: the feed holds 2024-05 to 2024-06."
    )
    assert name_of(CPU, month) in verdict.finding.detail


def test_a_feed_that_is_not_there_is_told_with_its_setting_and_place(tmp_path: Path) -> None:
    verdict = Feed(tmp_path / "astray").verdicts(MAY)["source_files_present"]

    assert verdict.failed
    assert "REFINERY_FEED" in verdict.finding.summary
    assert str(tmp_path / "astray") in verdict.finding.detail


@pytest.mark.parametrize(
    ("asked", "together", "extent", "judged", "left_out"),
    [
        ("2024-01 2024-02", "", (None, None), "2024-01 2024-02", ""),
        ("2024-01 2024-08", "", ("2024-03", "2024-06"), "2024-01 2024-08", ""),
        ("2024-01 2024-03 2024-04 2024-07", "", ("2024-03", "2024-06"), "2024-03 2024-04", "2024-01 2024-07"),
        ("2024-03 2024-06", "", ("2024-03", "2024-06"), "2024-03 2024-06", ""),
        ("2024-01", "2024-01 2024-02 2024-03", ("2024-03", "2024-06"), "", "2024-01"),
        ("2024-01", "2024-01 2024-02", ("2024-03", "2024-06"), "2024-01", ""),
    ],
    ids=[
        *("of an empty feed", "all of them outside", "some of them outside", "none outside"),
        *("outside, asked for with one inside", "outside, like all that was asked for"),
    ],
)
def test_months_that_are_not_exported_are_left_out_unless_they_are_all_that_is_asked_for(
    asked: str, together: str, extent: tuple[str | None, str | None], judged: str, left_out: str
) -> None:
    def months(keys: str) -> list[Month]:
        return [Month.parse(key) for key in keys.split()]

    first, newest = (None if key is None else Month.parse(key) for key in extent)

    found = months_asked(months(asked), FeedExtent(first, newest), months(together))

    assert found == (months(judged), months(left_out))


# --- What is fine, and how it is counted ---------------------------------------------------------------------


def test_messages_fit_their_count(feed: Feed) -> None:
    for family in (CPU, MEMORY, DISK):
        feed.file(family, MAY).path.unlink()
    feed.write_lines(NETWORK, MAY, ["2024-05-31,web-0,41.5,8"])

    verdicts = feed.verdicts(MAY)

    assert verdicts["source_files_present"].finding.summary == "1 of 4 expected files found."
    assert verdicts["headers_match_contract"].finding.summary == "The contract is met by 1 of 1 header."
    assert verdicts["fragmentation_complete"].finding.summary == "1 row, up to 2024-05-31."


def test_a_sound_month_passes_and_its_digests_are_those_of_the_bytes_that_are_refined(feed: Feed) -> None:
    (facts,) = inspect_feed(Settings(feed=feed.root), [MAY], FeedExtent(MAY, MAY), MAY.last_day)

    verdicts = judge(ENTRANCE_RULES, LEGACY_FEED, MAY, facts)

    assert [verdict.outcome for verdict in verdicts] == [Outcome.PASSED] * 3
    assert [verdict.finding.summary for verdict in verdicts] == [
        "4 of 4 expected files found.",
        "The contract is met by 4 of 4 headers.",
        "620 rows, up to 2024-05-31.",
    ]
    assert facts.digests == {
        family.name: refine_file(feed.file(family, MAY), Settings()).stats.digest for family in FAMILIES
    }


# --- A file that several families read -----------------------------------------------------------------------------

WIDE = [CPU, MEMORY, DISK]


def of_wide(folder: Path, wide: str | None, other: str | None = None) -> dict[str, Verdict]:
    """The verdicts on May, of which three families read one file, and the network's another where there is one."""
    paths = {True: "all_{year}{month}.csv", False: "net_{year}{month}.csv"}
    families = [
        family.model_copy(update={"path": paths[family in WIDE], "capacity": None, "capacity_unit": None})
        for family in ([*WIDE, NETWORK] if other is not None else WIDE)
    ]
    settings = Settings(feed=folder, contract=Contract(family=tuple(families)), first_month=MAY, last_month=MAY)
    for name, text in (("all_202405.csv", wide), ("net_202405.csv", other)):
        if text is not None:
            (folder / name).write_text(text, encoding="utf-8")
    (facts,) = inspect_feed(settings, [MAY], feed_extent(settings), MAY.last_day)
    return {verdict.check: verdict for verdict in judge(ENTRANCE_RULES, LEGACY_FEED, MAY, facts)}


def wide_text(header: str, *, days: int = 31, times: int = 1) -> str:
    fields = header.count(",") - 1
    rows = [f"{day},web-{host}{',41.5' * fields}\n" for day in MAY.days[:days] for host in range(HOSTS)]
    return "".join([f"{header}\n", *rows * times])


WIDE_HEADER, NET_HEADER = "date,host_id,cpu_p95,memory_p95,disk_p95", "date,host_id,network_p95"


@pytest.mark.parametrize(
    ("wide", "check", "detail"),
    [
        (None, "source_files_present", "Missing: all_202405.csv."),
        ("", "fragmentation_complete", "all_202405.csv is empty."),
        (f"{WIDE_HEADER}\n", "fragmentation_complete", "all_202405.csv holds only its header."),
        (wide_text(WIDE_HEADER)[:-2], "fragmentation_complete", "all_202405.csv ends in the middle of line 156."),
        (
            wide_text(WIDE_HEADER, days=30),
            "fragmentation_complete",
            (
                "all_202405.csv ends on 2024-05-30, another family on 2024-05-31; "
                "all_202405.csv has 150 rows, 5 fewer than the other family's file."
            ),
        ),
        (
            wide_text(WIDE_HEADER, times=2),
            "fragmentation_complete",
            (
                "all_202405.csv has 310 rows and net_202405.csv 155, as if every line of the one were written twice, "
                "or half of the other were missing."
            ),
        ),
        (
            wide_text(WIDE_HEADER).replace("memory_p95,disk", "ram,disc"),
            "headers_match_contract",
            (
                "all_202405.csv, line 1: the header lacks memory_p95; expected date,host_id,memory_p95; it lacks "
                "disk_p95; expected date,host_id,disk_p95."
            ),
        ),
        (
            wide_text(WIDE_HEADER).replace(",", ";"),
            "headers_match_contract",
            (
                "all_202405.csv, line 1: the header separates columns by semicolons instead of commas, which delimiter "
                "declares, so it lacks date, host_id, cpu_p95; expected date,host_id,cpu_p95."
            ),
        ),
        (
            wide_text(WIDE_HEADER).replace("-05-", "/05/"),
            "fragmentation_complete",
            (
                "all_202405.csv has no row dated within 2024-05 and written YYYY-MM-DD; its line 2 reads "
                "'2024/05/01,web-0,41.5,41.5,41.5'."
            ),
        ),
    ],
    ids=["missing", "empty", "header only", "cut", "short", "doubled", "columns", "delimiter", "dates"],
)
def test_what_is_wrong_with_a_wide_file_is_said_once(tmp_path: Path, wide: str | None, check: str, detail: str) -> None:
    verdicts = of_wide(tmp_path, wide, wide_text(NET_HEADER))

    assert [name for name, verdict in verdicts.items() if verdict.failed] == [check]
    assert verdicts[check].finding.detail == detail


def test_the_families_of_one_wide_file_are_not_held_against_each_other(tmp_path: Path) -> None:
    verdicts = of_wide(tmp_path, wide_text(WIDE_HEADER, times=2))

    assert {verdict.outcome for verdict in verdicts.values()} == {Outcome.PASSED}
    assert verdicts["fragmentation_complete"].finding.summary == "310 rows, up to 2024-05-31."
    assert verdicts["source_files_present"].finding.summary == "1 of 1 expected file found."
    assert verdicts["headers_match_contract"].finding.summary == "The contract is met by 1 of 1 header."
