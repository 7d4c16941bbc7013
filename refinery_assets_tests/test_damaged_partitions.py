"""Partitions that cannot be read: each is named with its asset, month and file, and what to do."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import polars as pl
import pytest

from refinery_assets.contract.packaged import FAMILIES
from refinery_assets.contract.settings import Settings
from refinery_assets.feed.files import FeedFile
from refinery_assets.rows.family import refine_file
from refinery_assets.warehouse.family_months import FamilyMonths
from refinery_assets.warehouse.family_partitions import Partition, damaged_partitions, partitions
from refinery_assets.warehouse.month_state import State
from refinery_assets.warehouse.plan import make_plan
from refinery_assets_tests.scenario import FEBRUARY, JANUARY, MEMORY, GivenPublished, Sandbox

NOBODY = 65534


@pytest.fixture
def files(settings_of_copy: Settings) -> list[Partition]:
    """The partitions of two months, whole."""
    for family in FAMILIES:
        feed_files = [FeedFile(settings_of_copy.feed, family, month) for month in (JANUARY, FEBRUARY)]
        for file in feed_files:
            path = Partition(settings_of_copy.telemetry, family, file.month).path
            path.parent.mkdir(parents=True, exist_ok=True)
            refine_file(file, settings_of_copy).partition.write_parquet(path)
    return partitions(settings_of_copy, [JANUARY, FEBRUARY])


def _cut_off(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def _cut_to_its_first_bytes(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:6])


def _overwritten_in_the_middle(path: Path) -> None:
    whole = path.read_bytes()
    path.write_bytes(whole[:100] + b"\xff" * 2000 + whole[2100:])


def _emptied(path: Path) -> None:
    path.write_bytes(b"")


def _taken_for_a_csv_file(path: Path) -> None:
    path.write_text("date,host_id,memory_p95,memory_gb\n" * 50)


def _without_a_column(path: Path) -> None:
    pl.read_parquet(path).drop("capacity").write_parquet(path)


def _without_two_columns(path: Path) -> None:
    pl.read_parquet(path).drop("y", "fault").write_parquet(path)


def _with_text_for_numbers(path: Path) -> None:
    pl.read_parquet(path).with_columns(pl.lit("12,5").alias("y")).write_parquet(path)


def _replaced_by_a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _replaced_by_a_link_to_itself(path: Path) -> None:
    path.unlink()
    path.symlink_to(path)


def _gone(path: Path) -> None:
    path.unlink()


@pytest.mark.parametrize(
    ("spoil", "damage"),
    [
        (_cut_off, "is damaged: "),
        (_cut_to_its_first_bytes, "is damaged: "),
        (_overwritten_in_the_middle, "is damaged: "),
        (_taken_for_a_csv_file, "is damaged: "),
        (_emptied, "is empty)"),
        (_without_a_column, "lacks the column capacity)"),
        (_without_two_columns, "lacks the columns y, fault)"),
        (_with_text_for_numbers, "holds VARCHAR in the column y, not DOUBLE)"),
        (_replaced_by_a_folder, "is a folder, which must be moved away first)"),
        (_replaced_by_a_link_to_itself, "cannot be opened: Too many levels of symbolic links)"),
        (_gone, "is not there)"),
    ],
)
def test_a_damaged_partition_is_named_with_its_asset_month_file_and_what_to_do(
    files: list[Partition], spoil: Callable[[Path], None], damage: str
) -> None:
    (spoilt,) = [file for file in files if (file.family, file.month) == (MEMORY, JANUARY)]
    spoil(spoilt.path)

    found = damaged_partitions(files)

    assert list(found) == [spoilt]
    assert found[spoilt].startswith(
        f"memory_stats 2024-01: its partition cannot be read: materialize it again ({spoilt.path} {damage}"
    )
    assert "\n" not in found[spoilt]


@contextmanager
def without_the_superusers_rights() -> Iterator[None]:
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


def test_a_partition_that_may_not_be_read_is_named_too(files: list[Partition]) -> None:
    files[0].path.chmod(0)

    with without_the_superusers_rights():
        found = damaged_partitions(files[:1])

    assert found[files[0]].endswith(f"({files[0].path} cannot be opened: Permission denied)")


def test_every_damaged_partition_is_named_at_once(files: list[Partition]) -> None:
    _emptied(files[1].path)
    _cut_off(files[6].path)

    assert list(damaged_partitions(files)) == [files[1], files[6]]


def test_whole_partitions_are_not_damaged(files: list[Partition]) -> None:
    assert damaged_partitions(files) == {}


@pytest.mark.parametrize("which", ["path", "series_path"])
def test_a_folder_where_a_partition_belongs_refuses_that_month_alone(settings_of_copy: Settings, which: str) -> None:
    in_the_way: Path = getattr(Partition(settings_of_copy.telemetry, MEMORY, FEBRUARY), which)
    in_the_way.mkdir(parents=True)
    work = FamilyMonths(MEMORY, settings_of_copy, None, frozenset, Partition.mark_refused)

    for refined in work.refine([JANUARY, FEBRUARY]):
        Partition(settings_of_copy.telemetry, MEMORY, refined.stats.month).write(refined)
    planned = make_plan(settings_of_copy, [[JANUARY, FEBRUARY]]).results

    told = f"A folder stands where the partition belongs: move {in_the_way} away, then materialize memory_stats 2024-02"
    assert [(found.month, found.check) for found in work.verdicts if found.failed] == [(FEBRUARY, "rows_accounted_for")]
    assert [found.finding.detail for found in work.verdicts if found.failed] == [f"{told} again."]
    assert [partition.month for partition in work.passed] == [JANUARY]
    assert {month: result.state for month, result in planned.items()} == {
        JANUARY: State.PUBLISHED,
        FEBRUARY: State.REFUSED,
    }
    assert told in str(planned[FEBRUARY].verdicts)


@pytest.mark.slow
@pytest.mark.parametrize("spoil", [_cut_off, _emptied, _without_a_column, _replaced_by_a_folder])
def test_a_month_with_a_damaged_partition_is_refused_and_the_others_are_published(
    sandbox: Sandbox, given_published: GivenPublished, spoil: Callable[[Path], None]
) -> None:
    given_published(JANUARY, FEBRUARY)
    before = sandbox.published()
    path = Partition(sandbox.settings.telemetry, MEMORY, FEBRUARY).path
    stats = pl.read_parquet_metadata(path)
    spoil(path)
    if spoil is _without_a_column:
        # Still of the file that it says it is of.
        pl.read_parquet(path).write_parquet(path, metadata=stats)

    outcome = sandbox.materialize(["processed_data"], JANUARY, FEBRUARY, force=True)

    assert outcome.verdict("memory_stats", "rows_accounted_for", FEBRUARY) == "failed"
    assert f"{path}" in outcome.message
    assert "memory_stats 2024-02" in outcome.message
    assert "1 other month is fine" in outcome.message
    assert sandbox.published() == before
