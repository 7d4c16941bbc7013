"""Hostile feeds: every polluted file lands exactly, is quarantined exactly, or is refused in a sentence."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from refinery_assets.checks.rules import judge
from refinery_assets.contract.families import LEGACY_FEED
from refinery_assets.contract.packaged import FAMILIES
from refinery_assets.contract.settings import Settings
from refinery_assets.feed.files import FeedExtent, FeedFile, RefusedFileError, count_data_rows, feed_files
from refinery_assets.rows import read
from refinery_assets.rows.family import refine_file
from refinery_assets.rows.read import read_lines
from refinery_assets.rows.scrub import scrub
from refinery_assets.rows.source_checks import ENTRANCE_RULES, inspect_feed
from refinery_assets.rows.stats import Stats
from refinery_assets_tests.hostile import (
    FAMILY,
    MONTH,
    READINGS,
    ROWS,
    SOUND,
    Pollution,
    as_text,
    pollutions,
    read_clean,
)

CORPUS = list(pollutions())
FILE = f"2024/05/{FAMILY.name}_202405.csv"

TAKEN = [pollution for pollution in CORPUS if pollution.refused is None]
REFUSED = [pollution for pollution in CORPUS if pollution.refused is not None]
# Without the other families' files nothing shows that lines are missing at the end.
REFUSED_BY_ITSELF = [pollution for pollution in REFUSED if "at a line's end" not in pollution.name]

# What the fast reader takes; from the others it stands back.
READ_FAST = {
    "sound",
    "byte order mark",
    "CRLF",
    "CRLF and byte order mark",
    "header in upper case",
    "header padded",
    "columns in another order",
    "a column extra",
    "a separator behind every line",
    "sorted by host",
    "sorted backwards",
    "scientific notation",
    "a plus sign",
    "many digits",
    "no capacity",
    "SQL for a host",
    "a path for a host",
    "a formula for a host",
    "HTML for a host",
    "a host in another case",
    "a host of a thousand letters",
    "a line separator of Unicode",
    "identical again",
    "another value later",
}


def by_name(pollution: Pollution) -> str:
    return pollution.name


@pytest.fixture
def feed(tmp_path: Path) -> Path:
    """A month whose four files are sound, but for the one that a test spoils."""
    for file in feed_files(Settings(feed=tmp_path), [MONTH]):
        file.path.parent.mkdir(parents=True, exist_ok=True)
        file.path.write_text(as_text([row.text for row in ROWS], ",".join(file.family.columns)), encoding="utf-8")
    return tmp_path


def refusals(feed: Path, *, follow_links: bool = False) -> list[str]:
    settings = Settings(feed=feed, follow_links=follow_links)
    (month,) = inspect_feed(settings, [MONTH], FeedExtent(MONTH, MONTH), MONTH.last_day)
    found = judge(ENTRANCE_RULES, LEGACY_FEED, MONTH, month)
    return [verdict.sentence for verdict in found if verdict.failed]


def readings(frame: pl.DataFrame) -> list[tuple[object, ...]]:
    clean = frame.filter(pl.col("fault").is_null() & ~pl.col("is_imputed"))
    return sorted(clean.select(pl.col("ds").dt.strftime("%Y-%m-%d"), "host_id", "y", "capacity").rows(), key=str)


def quarantined(frame: pl.DataFrame) -> list[tuple[object, ...]]:
    faulty = frame.filter(pl.col("fault").is_not_null())
    return sorted(faulty.select("source_line", "fault", "raw").rows())


def refine(feed: Path) -> tuple[pl.DataFrame, Stats]:
    refined = refine_file(FeedFile(feed, FAMILY, MONTH), Settings())
    return refined.partition, refined.stats


def test_the_corpus_is_large_and_its_names_are_distinct() -> None:
    assert len({pollution.name for pollution in CORPUS}) == len(CORPUS) >= 50


@pytest.mark.parametrize("pollution", REFUSED, ids=by_name)
def test_the_file_is_refused(feed: Path, pollution: Pollution) -> None:
    (feed / FILE).write_bytes(pollution.data)

    (sentence,) = refusals(feed)

    assert FAMILY.name in sentence
    assert pollution.refused is not None
    assert pollution.refused in sentence
    assert len(sentence) < 500


@pytest.mark.parametrize("pollution", REFUSED_BY_ITSELF, ids=by_name)
def test_the_file_is_refused_by_whoever_refines_it_without_an_entrance_audit(feed: Path, pollution: Pollution) -> None:
    (feed / FILE).write_bytes(pollution.data)

    with pytest.raises(RefusedFileError) as refusal:
        refine(feed)

    assert str(refusal.value).startswith(FILE)
    assert str(pollution.refused) in str(refusal.value)
    assert "again" in str(refusal.value)


@pytest.mark.parametrize("pollution", TAKEN, ids=by_name)
def test_the_rows_are_told_apart(feed: Path, pollution: Pollution) -> None:
    (feed / FILE).write_bytes(pollution.data)

    frame, stats = refine(feed)

    assert readings(frame) == sorted(pollution.landed, key=str)
    assert quarantined(frame) == sorted(pollution.quarantined)
    assert stats.csv_rows == stats.landed == len(pollution.landed) + len(pollution.quarantined)


@pytest.mark.parametrize("pollution", TAKEN, ids=by_name)
def test_the_fast_reader_agrees_or_stands_back(pollution: Pollution) -> None:
    data = pollution.data.removeprefix(b"\xef\xbb\xbf")

    fast = read_clean(data, FAMILY, MONTH)
    exact = scrub(read_lines(data, FAMILY), FAMILY, MONTH, 0.0)

    assert exact.height == count_data_rows(data, FAMILY)
    assert (fast is not None) == (pollution.name in READ_FAST)
    if fast is None:
        return
    repeats = {"duplicate", "superseded"}
    assert set(exact["fault"].drop_nulls()) <= repeats
    kept = ["source_line", "ds", "host_id", "y", "capacity"]
    assert fast.select(kept).equals(exact.select(kept))


@pytest.mark.slow
@pytest.mark.parametrize("pollution", TAKEN, ids=by_name)
def test_a_file_taken_apart_in_many_blocks_reads_as_in_one(
    pollution: Pollution, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = pollution.data.removeprefix(b"\xef\xbb\xbf")
    whole = scrub(read_lines(data, FAMILY), FAMILY, MONTH, 0.0)
    # Some thirty blocks of a sound file.
    monkeypatch.setattr(read, "_BLOCK_BYTES", 160)

    blocks = list(read_lines(data, FAMILY))

    assert len(blocks) > 1 or whole.height < 3
    assert scrub(blocks, FAMILY, MONTH, 0.0).equals(whole)


def _directory(path: Path) -> None:
    path.mkdir()


def _dangling(path: Path) -> None:
    path.symlink_to(path.parent / "gone.csv")


def _loop(path: Path) -> None:
    path.symlink_to(path)


PLACES: dict[str, tuple[Callable[[Path], None], str]] = {
    "a directory": (_directory, "is not a regular file"),
    "a FIFO": (os.mkfifo, "is not a regular file"),
    "a dangling link": (_dangling, "is not there"),
    "a link to itself": (_loop, "cannot be read"),
}


def test_a_link_out_of_the_feed_is_followed_only_where_it_is_allowed(
    feed: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "kept.csv"
    (feed / FILE).rename(elsewhere)
    (feed / FILE).symlink_to(elsewhere)

    (sentence,) = refusals(feed)
    assert "leads out of the feed's root" in sentence
    assert "REFINERY_FOLLOW_LINKS" in sentence
    with pytest.raises(RefusedFileError, match="leads out"):
        refine(feed)

    assert refusals(feed, follow_links=True) == []


def test_a_link_within_the_feed_is_followed(feed: Path) -> None:
    kept = feed / "kept.csv"
    (feed / FILE).rename(kept)
    (feed / FILE).symlink_to(kept)

    assert refusals(feed) == []


@pytest.mark.parametrize(("make", "cause"), PLACES.values(), ids=PLACES.keys())
def test_what_is_no_file_is_refused(feed: Path, make: Callable[[Path], None], cause: str) -> None:
    (feed / FILE).unlink()
    make(feed / FILE)

    (sentence,) = refusals(feed)

    assert sentence.startswith("legacy_feed source_files_present: 3 of 4 expected files found.")
    assert FILE in sentence
    with pytest.raises(RefusedFileError, match=cause):
        refine(feed)


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may read every file")
def test_a_file_that_may_not_be_read_is_refused(feed: Path) -> None:
    (feed / FILE).chmod(0)

    (sentence,) = refusals(feed)

    assert FILE in sentence


def test_files_that_are_nobodys_are_left_alone(feed: Path) -> None:
    for stray in (".tmp", "Thumbs.db", f"{FAMILY.name}_202405.csv.part", f"{FAMILY.name}_202405 (1).csv"):
        (feed / "2024" / "05" / stray).write_bytes(b"not,for,us\n")

    assert refusals(feed) == []
    assert readings(refine(feed)[0]) == sorted(READINGS, key=str)


def test_a_name_that_readers_take_for_a_pattern_is_taken_literally(tmp_path: Path) -> None:
    feed = tmp_path / "feed[1]*"
    for family in FAMILIES:
        path = FeedFile(feed, family, MONTH).path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(SOUND.replace(HEADER_OF_CPU, ",".join(family.columns).encode()))

    assert refusals(feed) == []
    assert readings(refine(feed)[0]) == sorted(READINGS, key=str)


HEADER_OF_CPU = ",".join(FAMILY.columns).encode()
