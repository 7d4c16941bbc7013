"""What is left when a run is killed, the disk is full, or the warehouse cannot be written."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from refinery_assets.contract.months import Month
from refinery_assets.warehouse.storage import WarehouseUnusableError, open_warehouse
from refinery_assets.warehouse.tables import transaction
from refinery_assets_tests.crashes import crash, make_harness
from refinery_assets_tests.installation import files_of_at_most
from refinery_assets_tests.scenario import CPU, FEBRUARY, JANUARY, MARCH, GivenPublished, Sandbox


@pytest.mark.slow
@pytest.mark.heavy
def test_a_run_killed_half_way_leaves_its_month_old_or_new_and_the_next_run_heals(tmp_path: Path) -> None:
    harness = make_harness(tmp_path, 20, JANUARY, JANUARY)
    harness.write_feed()
    harness.run_undisturbed()

    harness.kill_after_the_first_partition()

    assert harness.found["killed"] == 1
    harness.write_feed()
    harness.run_undisturbed()


@pytest.mark.heavy
@pytest.mark.slow
def test_a_run_killed_at_any_instant_leaves_its_month_old_or_new_and_the_next_run_heals(tmp_path: Path) -> None:
    found = crash(make_harness(tmp_path, 100, JANUARY, JANUARY), kills=6, seed=12)

    assert found["killed"] >= 3
    assert found["killed"] + found["ended before the kill"] == 6
    assert found["healed"] == 1


@pytest.mark.heavy
@pytest.mark.slow
def test_a_run_that_refuses_months_and_is_killed_leaves_them_old_and_the_others_old_or_new(tmp_path: Path) -> None:
    harness = make_harness(tmp_path, 50, JANUARY, Month(2024, 6))
    harness.bad = [FEBRUARY, Month(2024, 5)]

    found = crash(harness, kills=2, seed=5)

    assert found["killed"] >= 1
    assert found["killed"] + found["ended before the kill"] == 2
    assert found["healed"] == 1


@pytest.mark.slow
def test_a_disk_that_is_full_while_a_partition_is_written_leaves_the_old_one_and_the_old_month(
    sandbox: Sandbox, given_published: GivenPublished
) -> None:
    given_published(JANUARY, FEBRUARY)
    before = sandbox.published()
    partition = sandbox.telemetry / "cpu_utilization" / "2024-01.parquet"
    old = partition.read_bytes()
    lines = sandbox.lines(CPU, JANUARY)
    sandbox.write_lines(CPU, JANUARY, [lines[0], *(f"{line.rsplit(',', 1)[0]},3" for line in lines[1:])])

    with files_of_at_most(len(old) // 2):
        outcome = sandbox.refine(JANUARY, FEBRUARY)

    assert not outcome.success
    assert f"The partition {partition} could not be written" in outcome.message
    assert list(partition.parent.glob(".*")) == []
    assert partition.read_bytes() == old
    assert sandbox.published() == before
    assert sandbox.refine(JANUARY, FEBRUARY).success
    assert sandbox.query("SELECT DISTINCT capacity FROM processed_data WHERE resource = 'cpu' AND month(ds) = 1") == [
        (3.0,)
    ]


@pytest.mark.slow
def test_a_disk_that_is_full_while_the_table_is_written_leaves_the_old_months(
    sandbox: Sandbox, given_published: GivenPublished
) -> None:
    given_published(JANUARY)
    before = sandbox.published()
    # Room enough for the partitions of a small fleet, and not for its rows in the table's log.
    with files_of_at_most(60_000):
        outcome = sandbox.refine(FEBRUARY, MARCH)

    assert not outcome.success
    assert f"The warehouse {sandbox.settings.warehouse} cannot be used and is unchanged" in outcome.message
    assert "the free space on its disk" in outcome.message
    assert sandbox.published() == before
    assert sandbox.refine(FEBRUARY, MARCH).success


def test_a_limit_of_memory_that_is_too_low_is_named_with_its_setting_and_writes_nothing(sandbox: Sandbox) -> None:
    warehouse = sandbox.settings.warehouse
    before = sandbox.query("SELECT * FROM hosts ORDER BY ALL")

    with (
        pytest.raises(
            WarehouseUnusableError, match=r"ran out of memory with 20MiB of memory \(REFINERY_MEMORY_MIB\)"
        ) as raised,
        open_warehouse(warehouse, read_only=False, wait_seconds=0.0, config={"memory_limit": "20MiB"}) as connection,
        transaction(connection),
    ):
        connection.execute(
            "CREATE OR REPLACE TABLE hosts AS SELECT list(number) FROM range(10_000_000) numbers(number)"
        )

    assert f"the warehouse {warehouse} is unchanged" in str(raised.value)
    assert before
    assert sandbox.query("SELECT * FROM hosts ORDER BY ALL") == before


@contextmanager
def unwritable(path: Path) -> Iterator[None]:
    """Take away the right to write a file or folder, from the superuser too where the file system can."""
    if os.geteuid() == 0:
        if subprocess.run(["chattr", "+i", str(path)], check=False, capture_output=True).returncode:
            pytest.skip("the superuser may write everything here: no immutable attribute")
        try:
            yield
        finally:
            subprocess.run(["chattr", "-i", str(path)], check=True)
    else:
        mode = path.stat().st_mode
        path.chmod(mode & ~0o222)
        try:
            yield
        finally:
            path.chmod(mode)


@pytest.mark.slow
def test_a_warehouse_that_may_not_be_written_is_named_and_stays_as_it_was(
    sandbox: Sandbox, given_published: GivenPublished
) -> None:
    given_published(JANUARY)
    before = sandbox.published()
    with unwritable(sandbox.settings.warehouse):
        outcome = sandbox.refine(JANUARY, FEBRUARY)

    assert set(outcome.failures) == {"processed_data"}
    assert f"The warehouse {sandbox.settings.warehouse} cannot be used" in outcome.failures["processed_data"]
    assert "check its permissions" in outcome.failures["processed_data"]
    assert sandbox.published() == before


@pytest.mark.slow
def test_a_telemetry_folder_that_may_not_be_written_is_named_and_its_files_stay(
    sandbox: Sandbox,
    given_published: GivenPublished,
) -> None:
    given_published(JANUARY)
    folder = sandbox.telemetry / "cpu_utilization"
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with unwritable(folder):
        outcomes = [sandbox.refine(JANUARY, force=True)]
        # A month that is refused leaves a note beside the partition.
        header, *lines = sandbox.lines(CPU, JANUARY)
        sandbox.write_lines(CPU, JANUARY, [header, *(line.replace(",srv-00001,", ",,") for line in lines)])
        outcomes.append(sandbox.refine(JANUARY))

    for outcome in outcomes:
        told = outcome.failures["cpu_utilization"]
        assert f"The partition {folder / '2024-01.parquet'} could not be written and is unchanged" in told
        assert "(REFINERY_TELEMETRY)" in told
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_a_telemetry_folder_that_cannot_be_made_is_named(sandbox: Sandbox) -> None:
    sandbox.telemetry.write_text("a file where the folder should be")

    assert "(REFINERY_TELEMETRY)" in sandbox.refine(JANUARY).failures["legacy_feed"]


@pytest.mark.slow
def test_a_torn_partition_is_named_and_not_published(sandbox: Sandbox, given_published: GivenPublished) -> None:
    given_published(JANUARY)
    before = sandbox.published()
    partition = sandbox.telemetry / "memory_stats" / "2024-01.parquet"
    partition.write_bytes(partition.read_bytes()[:-100])

    outcome = sandbox.materialize(["processed_data"], JANUARY)

    assert f"The partition {partition} cannot be read: materialize memory_stats 2024-01 again" in outcome.message
    assert sandbox.published() == before
    assert sandbox.refine(JANUARY).success
