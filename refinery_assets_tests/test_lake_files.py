"""Publishing in a lake without a copy: files are registered once, and one that was published stays as it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from refinery_assets_tests.scenario import CPU, FEBRUARY, JANUARY, Sandbox, folder

pytestmark = [pytest.mark.lake, pytest.mark.slow]

_FILES = "SELECT data_file FROM ducklake_list_files('lake', 'processed_data') ORDER BY ALL"
_CATALOG = "__ducklake_metadata_lake"


def _files(sandbox: Sandbox) -> tuple[list[Path], list[Path]]:
    """The files in use that a family's step wrote, and those that DuckLake did."""
    files = [Path(name) for (name,) in sandbox.query(_FILES)]
    assert all(file.is_file() for file in files)
    ours = [file for file in files if file.is_relative_to(folder(sandbox.settings.lake_data) / "processed_data")]
    return ours, [file for file in files if file not in ours]


def test_a_path_is_registered_once_and_outlives_the_cleaning_of_what_was_replaced(lake_sandbox: Sandbox) -> None:
    assert lake_sandbox.refine(JANUARY).success
    first, others = _files(lake_sandbox)
    assert (len(first), others) == (4, [])
    expected = lake_sandbox.processed()

    # The families write anew, under other names.
    assert lake_sandbox.refine(JANUARY, force=True).success
    second, others = _files(lake_sandbox)
    assert (len(second), others) == (4, [])
    assert not set(first) & set(second)
    assert all(file.is_file() for file in first)
    # From the same partitions, whose files are known by now: the rows are inserted.
    assert lake_sandbox.materialize(["processed_data"], JANUARY, force=True).success
    third, others = _files(lake_sandbox)
    assert (third, len(others)) == ([], 4)
    # A path that the catalog has forgotten, and is about to delete, is not taken either.
    lake_sandbox.execute("CALL ducklake_expire_snapshots('lake', older_than => now()::TIMESTAMPTZ)")
    assert lake_sandbox.query(f"SELECT count(*) FROM {_CATALOG}.ducklake_files_scheduled_for_deletion") != [(0,)]
    assert lake_sandbox.materialize(["processed_data"], JANUARY, force=True).success
    lake_sandbox.execute("CALL ducklake_expire_snapshots('lake', older_than => now()::TIMESTAMPTZ)")
    lake_sandbox.execute("CALL ducklake_cleanup_old_files('lake', cleanup_all => true)")

    assert [file for file in (*first, *second) if file.exists()] == []
    assert lake_sandbox.processed() == expected
    # And one that is gone is not missed.
    assert lake_sandbox.materialize(["processed_data"], JANUARY, force=True).success
    assert lake_sandbox.processed() == expected
    assert lake_sandbox.audit().success


def test_hosts_that_the_inventory_spells_otherwise_are_inserted_the_rest_registered(lake_sandbox: Sandbox) -> None:
    host = lake_sandbox.lines(CPU, JANUARY)[1].split(",")[1]
    lines = lake_sandbox.lines(CPU, JANUARY)
    lake_sandbox.write_lines(CPU, JANUARY, [line.replace(f",{host},", f",{host.upper()},") for line in lines])

    assert lake_sandbox.refine(JANUARY, FEBRUARY).success

    ours, others = _files(lake_sandbox)
    assert len(ours) == 7
    assert ["resource=cpu" in str(file) for file in others] == [True]
    assert lake_sandbox.query("SELECT count(*) FROM processed_data WHERE host_id = upper(host_id)") == [(0,)]
    assert lake_sandbox.query("SELECT count(DISTINCT host_id) FROM processed_data") == [(20,)]


def test_the_file_of_a_refused_month_is_not_registered(lake_sandbox: Sandbox) -> None:
    lines = lake_sandbox.lines(CPU, JANUARY)
    stranger = lines[1].split(",")
    stranger[1] = "stranger"
    lake_sandbox.write_lines(CPU, JANUARY, [*lines, ",".join(stranger)])

    assert not lake_sandbox.refine(JANUARY).success

    assert lake_sandbox.query(_FILES) == []
    written = list((folder(lake_sandbox.settings.lake_data) / "processed_data").rglob("*.parquet"))
    assert len(written) == 4
