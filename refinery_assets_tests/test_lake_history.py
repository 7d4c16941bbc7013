"""A lake over time: reading it as of a publication, and maintaining it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pytest

from refinery_assets.build import build_defs
from refinery_assets.operations.alerts import describe_failure
from refinery_assets.operations.runs import start_run
from refinery_assets.rows.family import refine_file
from refinery_assets.warehouse import lake_maintenance
from refinery_assets.warehouse.export import export_months, published_months
from refinery_assets.warehouse.lake_files import write_lake_file
from refinery_assets.warehouse.lake_maintenance import maintain, prove
from refinery_assets.warehouse.lake_snapshots import NoSuchPublicationError, kept_publications
from refinery_assets.warehouse.lake_tables import LakeError
from refinery_assets.warehouse.lake_writers import locked
from refinery_assets.warehouse.month_state import State
from refinery_assets.warehouse.receipts import latest_receipts
from refinery_assets.warehouse.snapshot import open_published
from refinery_assets.warehouse.status import read_status
from refinery_assets.warehouse.storage import WarehouseHeldError, open_warehouse
from refinery_assets.warehouse.tables import LostRaceError, transaction, utc_now
from refinery_assets_tests.lakes import Postgres, make_lake_in, publish_in_lake
from refinery_assets_tests.postgresql import create_database, run_tool
from refinery_assets_tests.scenario import CPU, FEBRUARY, JANUARY, Rows, Sandbox, folder

pytestmark = [pytest.mark.lake, pytest.mark.slow]

_PARTS = 4
_ROWS = "SELECT * FROM {} ORDER BY resource, host_id, ds"


def _raise_first_reading(sandbox: Sandbox) -> None:
    line = sandbox.lines(CPU, JANUARY)[1].split(",")
    sandbox.edit_line(CPU, JANUARY, 2, f"{line[0]},{line[1]},{float(line[2]) + 0.5:.2f},{line[3]}")


def test_every_publication_that_is_kept_is_read_back_as_it_was_and_maintenance_takes_the_rest(
    lake_sandbox: Sandbox, tmp_path: Path
) -> None:
    settings = lake_sandbox.settings
    states: list[Rows] = []
    runs = []
    for _ in range(3):
        outcome = lake_sandbox.refine(JANUARY)
        assert outcome.success
        runs.append(outcome.run_id)
        states.append(lake_sandbox.processed())
        _raise_first_reading(lake_sandbox)
    assert states[0] != states[1] != states[2]

    kept = kept_publications(settings)
    assert [(each.run_id, each.months) for each in kept] == [(run, [JANUARY]) for run in runs]
    for each, rows in zip(kept, states, strict=True):
        assert lake_sandbox.query(_ROWS.format(f"processed_data_as_of({each.snapshot})")) == rows
        for name in (str(each.snapshot), each.run_id, each.run_id[:8]):
            with open_published(settings, name) as connection:
                assert connection.execute(_ROWS.format("processed_data")).fetchall() == rows
    with open_published(settings, str(kept[0].snapshot)) as connection:
        assert list(export_months(connection, published_months(connection), tmp_path / "out")) == [
            (JANUARY, len(states[0]))
        ]
    exported = pl.read_parquet(tmp_path / "out" / "month=2024-01" / "processed_data.parquet", hive_partitioning=False)
    assert exported.rows() == states[0]
    with open_warehouse(settings.place, read_only=True, wait_seconds=0.0) as connection:
        months = read_status(connection, settings, settings.today).months
    assert [each.snapshot for each in months] == [kept[2].snapshot, None, None]
    with pytest.raises(NoSuchPublicationError, match=r"999 is kept: kept are the snapshots \d+, \d+ and \d+\. To"):
        open_published(settings, "999").__enter__()

    # All but the newest is older than is asked for.
    done = maintain(settings, grace=timedelta(0), now=utc_now() + timedelta(days=settings.lake_keep_days))
    assert done.merged > 0
    assert done.expired > 0
    assert done.deleted > 0
    assert (done.proved, done.broken) == ([JANUARY], [])
    assert [each.snapshot for each in kept_publications(settings)] == []
    assert lake_sandbox.processed() == states[2]
    assert lake_sandbox.query("SELECT run_id FROM publications ORDER BY rowid") == [(run,) for run in runs]
    assert lake_sandbox.audit().success


def test_maintenance_deletes_orphans_alone_and_only_old_ones(lake_sandbox: Sandbox) -> None:
    settings = lake_sandbox.settings
    assert lake_sandbox.refine(JANUARY).success
    expected = lake_sandbox.processed()
    data = folder(settings.lake_data)
    written = write_lake_file(data, refine_file(lake_sandbox.file(CPU, FEBRUARY), settings), "killed")
    assert written is not None
    orphan = Path(written)
    unfinished = orphan.with_name(".x.parquet.1-abc.partial")
    unfinished.write_bytes(b"PAR1")

    done = maintain(settings)
    assert (done.orphans, done.proved, done.broken) == (0, [JANUARY], [])
    assert orphan.is_file()
    long_ago = (utc_now() - timedelta(days=3)).timestamp()
    for file in data.rglob("*.p*"):
        os.utime(file, (long_ago, long_ago))
    # To be found by its name and to be gone when it is looked at, as one is that its step has just put in its place.
    orphan.with_name(".gone.parquet.1-abc.partial").symlink_to("nowhere")

    done = maintain(settings)
    assert (done.orphans, done.proved, done.broken) == (2, [JANUARY], [])
    assert not orphan.exists()
    assert not unfinished.exists()
    assert lake_sandbox.processed() == expected


def test_a_month_that_does_not_sum_to_its_receipt_fails_the_nightly_maintenance_and_is_named_by_its_alert(
    lake_sandbox: Sandbox,
) -> None:
    publish_in_lake(lake_sandbox, JANUARY, FEBRUARY)
    instance, defs = lake_sandbox.instance, build_defs(lake_sandbox.settings)
    well = start_run(instance, defs, "lake_maintenance")
    assert well.success
    logged = [entry.user_message for entry in instance.all_logs(well.run_id)]
    assert any("2 published months sum to their receipts." in message for message in logged)
    lake_sandbox.execute("UPDATE processed_data SET y = y + 1 WHERE month(ds) = 2 AND resource = 'cpu' AND day(ds) = 3")

    ill = start_run(instance, defs, "lake_maintenance")

    assert not ill.success
    run = instance.get_run_by_id(ill.run_id)
    assert run is not None
    alert = describe_failure(instance, run)
    assert (alert["job"], alert["months"]) == ("lake_maintenance", "")
    (problem,) = alert["problems"]
    assert problem == (
        "2024-02 does not sum to its receipt. Somebody has changed the tables; refinery audit says how, and refinery "
        "run puts the month right."
    )
    assert alert["recovery"] == [f"Look at run {run.run_id} in the UI, fix what it names, and run it again."]


def test_a_month_that_is_published_while_it_is_proved_is_not_called_wrong(
    sandbox: Sandbox, postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = make_lake_in(sandbox.settings, postgres.new_lake())
    lake = replace(sandbox, settings=settings)
    publish_in_lake(lake, JANUARY)
    _raise_first_reading(lake)
    published: list[State] = []

    def read_and_wait(*arguments: Any) -> Any:
        receipts = latest_receipts(*arguments)
        published.extend(each.state for each in publish_in_lake(lake, JANUARY).values())
        return receipts

    monkeypatch.setattr(lake_maintenance, "latest_receipts", read_and_wait)

    with open_warehouse(settings.place, read_only=True, wait_seconds=0.0) as connection:
        assert prove(connection) == ([JANUARY], [])
    assert published == [State.PUBLISHED]
    assert lake.query("SELECT rows_changed FROM publications ORDER BY rowid") == [(0,), (1,)]


def test_a_file_has_no_history_and_no_maintenance(sandbox: Sandbox) -> None:
    with pytest.raises(NoSuchPublicationError, match="holds what is published now"):
        kept_publications(sandbox.settings)
    with pytest.raises(LakeError, match="a file, which needs no maintenance"):
        maintain(sandbox.settings)


def test_maintenance_waits_for_publishers_and_says_for_which(sandbox: Sandbox, postgres: Postgres) -> None:
    settings = replace(make_lake_in(sandbox.settings, postgres.new_lake()), lock_wait_seconds=0.0, lock_retries=0)
    lake, instance = settings.lake, sandbox.instance
    assert lake is not None
    with (
        open_warehouse(lake, read_only=False, wait_seconds=0.0) as publisher,
        locked(publisher, lake, [JANUARY], alone=False, wait_seconds=0.0),
    ):
        with pytest.raises(WarehouseHeldError, match="Another process is still publishing a month") as held:
            maintain(settings)
        run = instance.get_run_by_id(start_run(instance, build_defs(settings), "lake_maintenance").run_id)
        assert run is not None
        assert describe_failure(instance, run)["problems"] == [str(held.value)]
    assert maintain(settings).proved == []


def test_each_part_of_maintenance_waits_for_publishers_and_deletes_nothing_before(
    sandbox: Sandbox, postgres: Postgres
) -> None:
    settings = replace(make_lake_in(sandbox.settings, postgres.new_lake()), lock_wait_seconds=0.0)
    lake = settings.lake
    assert lake is not None
    about_to_be_published = folder(settings.lake_data) / "processed_data" / "rows.parquet"
    unfinished = about_to_be_published.with_name(".x.parquet.1-abc.partial")
    about_to_be_published.parent.mkdir(exist_ok=True)
    long_ago = (utc_now() - timedelta(days=3)).timestamp()
    for file in (about_to_be_published, unfinished):
        file.write_bytes(b"PAR1")
        os.utime(file, (long_ago, long_ago))

    with open_warehouse(lake, read_only=False, wait_seconds=0.0) as publisher:

        def maintain_with_a_publisher_before(part: int) -> int:
            """Maintain, and have a publisher come before a part of it; gives how many parts were begun."""
            begun = 0
            with ExitStack() as publishing, pytest.MonkeyPatch.context() as patched:

                def locked_late(*arguments: Any, **named: Any) -> Any:
                    nonlocal begun
                    begun += 1
                    if begun == part:
                        publishing.enter_context(locked(publisher, lake, [JANUARY], alone=False, wait_seconds=0.0))
                    return locked(*arguments, **named)

                patched.setattr(lake_maintenance, "locked", locked_late)
                with pytest.raises(WarehouseHeldError, match="Another process is still publishing a month"):
                    maintain(settings)
            return begun

        for part in range(1, _PARTS + 1):
            assert maintain_with_a_publisher_before(part) == part
            assert about_to_be_published.exists()
            assert unfinished.exists()

    assert maintain(settings).orphans == 2


def test_maintenance_that_is_overtaken_by_somebody_who_accepts_a_month_can_be_repeated(
    sandbox: Sandbox, postgres: Postgres
) -> None:
    settings = replace(make_lake_in(sandbox.settings, postgres.new_lake()), lock_retries=0)
    lake = replace(sandbox, settings=settings)

    def write_two_small_files() -> None:
        for check in ("month_is_new", "sensors_alive"):
            row = "('2024-01', $check, 'why', 'me', now(), 'd', NULL)"
            lake.execute(f"INSERT INTO waivers VALUES {row}", {"check": check})

    @contextmanager
    def overtaken(connection: duckdb.DuckDBPyConnection) -> Iterator[None]:
        with transaction(connection):
            yield
            lake.execute("UPDATE waivers SET withdrawn_at = now() WHERE withdrawn_at IS NULL")

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(lake_maintenance, "transaction", overtaken)
        write_two_small_files()
        with pytest.raises(LostRaceError, match="run it again"):
            maintain(settings)
        write_two_small_files()
        run = sandbox.instance.get_run_by_id(
            start_run(sandbox.instance, build_defs(settings), "lake_maintenance").run_id
        )
        assert run is not None
        (problem,) = describe_failure(sandbox.instance, run)["problems"]
        assert "Another writer has changed the lake at the same time" in problem

    write_two_small_files()
    assert maintain(settings).merged > 0
    assert lake.query("SELECT count(*), count(withdrawn_at) FROM waivers") == [(6, 4)]


def test_a_catalog_restored_from_a_dump_gets_what_was_published_after_it_by_one_run(
    sandbox: Sandbox, postgres: Postgres
) -> None:
    settings = make_lake_in(sandbox.settings, postgres.new_lake())
    lake = replace(sandbox, settings=settings)
    assert lake.refine(JANUARY).success
    name = re.search(r"dbname=(\w+)", settings.lake.place if settings.lake else "")
    assert name is not None
    run_tool(postgres.socket, "pg_dump", "-Fc", "-f", str(postgres.socket / "lake.dump"), name[1])
    assert lake.refine(FEBRUARY).success
    expected = lake.published()
    # What maintenance would take for orphans of long ago.
    data = folder(settings.lake_data)
    long_ago = (utc_now() - timedelta(days=3)).timestamp()
    for file in data.rglob("*.parquet"):
        os.utime(file, (long_ago, long_ago))

    run_tool(postgres.socket, "dropdb", name[1])
    create_database(postgres.socket, name[1])
    run_tool(postgres.socket, "pg_restore", "-d", name[1], str(postgres.socket / "lake.dump"))

    assert lake.audit().success
    assert lake.query("SELECT month FROM publications") == [("2024-01",)]
    # As `run changed` would.
    assert lake.refine(FEBRUARY).success
    assert lake.published() == expected
    done = maintain(settings)
    assert (done.proved, done.broken) == ([JANUARY, FEBRUARY], [])
    assert lake.published() == expected
