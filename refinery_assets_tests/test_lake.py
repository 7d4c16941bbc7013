"""A lake as the warehouse: whatever the file does, it does."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import duckdb
import pytest
from typer.testing import CliRunner

from refinery_assets.build import build_defs
from refinery_assets.cli import app
from refinery_assets.contract.columns import AUDITS, PUBLICATIONS
from refinery_assets.contract.lake import Catalog, Lake
from refinery_assets.operations.alerts import describe_failure
from refinery_assets.operations.runs import start_run
from refinery_assets.warehouse.fleet import name_fleet
from refinery_assets.warehouse.lake import open_lake
from refinery_assets.warehouse.lake_maintenance import prove
from refinery_assets.warehouse.lake_snapshots import kept_publications
from refinery_assets.warehouse.lake_tables import LakeError, make_lake
from refinery_assets.warehouse.month_state import State
from refinery_assets.warehouse.plan import make_plan
from refinery_assets.warehouse.storage import (
    WarehouseHeldError,
    WarehouseMissingError,
    WarehouseUnusableError,
    open_warehouse,
)
from refinery_assets.warehouse.tables import LakeNotReadyError, ensure_table, transaction
from refinery_assets.warehouse.views import renew_views
from refinery_assets_tests.inventories import contract_with
from refinery_assets_tests.lakes import Postgres, content_of, make_lake_in
from refinery_assets_tests.scenario import CPU, DISK, FEBRUARY, JANUARY, MARCH, MEMORY, NETWORK, Rows, Sandbox

pytestmark = [pytest.mark.lake, pytest.mark.slow]


def _spoil(sandbox: Sandbox) -> None:
    """Dirt in January, a host born and one retired in February, and a cut file in March."""
    for family in (CPU, MEMORY):
        line = sandbox.lines(family, JANUARY)[9]
        sandbox.edit_line(family, JANUARY, 10, line.replace("2024-01", "2024-1"))
    first = sandbox.lines(DISK, FEBRUARY)[1].split(",")[1]
    last = sandbox.lines(DISK, FEBRUARY)[-1].split(",")[1]
    sandbox.execute("UPDATE hosts SET valid_from = DATE '2024-02-10' WHERE node_name = $host", {"host": first})
    sandbox.execute("UPDATE hosts SET valid_to = DATE '2024-02-20' WHERE node_name = $host", {"host": last})
    for family in (CPU, MEMORY, DISK, NETWORK):
        for month in (JANUARY, FEBRUARY):
            lines = sandbox.lines(family, month)
            kept = [
                line
                for line in lines
                if not (f",{first}," in line and line[:10] < "2024-02-10")
                and not (f",{last}," in line and line[:10] >= "2024-02-20")
            ]
            sandbox.write_lines(family, month, kept)
    sandbox.write_bytes(NETWORK, MARCH, sandbox.file(NETWORK, MARCH).path.read_bytes()[:-5])


def test_file_and_lake_hold_the_same_of_the_same_feed_row_for_row(sandbox: Sandbox) -> None:
    _spoil(sandbox)
    lake = replace(sandbox, settings=make_lake_in(sandbox.settings))

    of_file = sandbox.refine(JANUARY, MARCH)
    of_lake = lake.refine(JANUARY, MARCH)

    assert not of_file.success
    assert not of_lake.success
    assert of_lake.message == of_file.message
    assert "2024-03" in of_lake.message
    expected, found = content_of(sandbox), content_of(lake)
    for name, rows in expected.items():
        assert found[name] == rows, name
    assert {row[0] for row in found["publications"]} == {"2024-01", "2024-02"}
    assert len(found["quarantined_rows"]) == 2
    assert found["waivers"] == []


def test_a_month_run_again_is_unchanged_a_changed_one_replaced_and_an_edited_table_put_right(
    lake_sandbox: Sandbox,
) -> None:
    assert lake_sandbox.refine(JANUARY, FEBRUARY).success
    before = lake_sandbox.processed()
    line = lake_sandbox.lines(CPU, FEBRUARY)[1].split(",")
    lake_sandbox.edit_line(CPU, FEBRUARY, 2, f"{line[0]},{line[1]},{float(line[2]) + 0.5:.2f},{line[3]}")
    lake_sandbox.execute("DELETE FROM processed_data WHERE month(ds) = 1 AND resource = 'disk'")

    assert lake_sandbox.refine(JANUARY, MARCH).success

    receipts = lake_sandbox.query("SELECT month, rows_changed, rows_added FROM publications ORDER BY rowid")
    january = sum(row[0].month == 1 for row in before)
    disk = sum(row[0].month == 1 and row[2] == "disk" for row in before)
    assert receipts[2:4] == [("2024-01", 0, disk), ("2024-02", 1, 0)]
    assert lake_sandbox.query("SELECT count(*) FROM processed_data WHERE month(ds) = 1") == [(january,)]
    plan = make_plan(lake_sandbox.settings, [[JANUARY, FEBRUARY, MARCH]])
    assert {result.state for result in plan.results.values()} == {State.UNCHANGED}
    assert plan.compared_with == lake_sandbox.settings.lake
    assert lake_sandbox.audit().success


def test_a_month_that_is_refused_leaves_the_lake_as_it_was(lake_sandbox: Sandbox) -> None:
    assert lake_sandbox.refine(JANUARY).success
    before = lake_sandbox.published()
    stranger = lake_sandbox.lines(CPU, JANUARY)[1].split(",")
    lines = lake_sandbox.lines(CPU, JANUARY)
    lake_sandbox.write_lines(CPU, JANUARY, [*lines, f"{stranger[0]},stranger,{stranger[2]},{stranger[3]}"])

    outcome = lake_sandbox.refine(JANUARY)

    assert not outcome.success
    assert "stranger" in outcome.message
    assert lake_sandbox.published() == before
    assert lake_sandbox.query("SELECT count(*) FROM publications") == [(1,)]
    assert lake_sandbox.query("SELECT count(*) > 0 FROM audits WHERE verdict = 'failed'") == [(True,)]


def test_making_a_lake_again_changes_nothing_and_takes_a_changed_inventory_in(sandbox: Sandbox, tmp_path: Path) -> None:
    settings = make_lake_in(sandbox.settings)
    lake = replace(sandbox, settings=settings)
    before = lake.query("SELECT * FROM hosts ORDER BY node_name")

    again = make_lake(settings, sandbox.settings.warehouse)
    assert (again.tables, again.hosts, again.taken_in) == ((), 20, None)
    assert lake.query("SELECT * FROM hosts ORDER BY node_name") == before
    sandbox.query(f"COPY (SELECT *, 'rack 7' AS place FROM hosts LIMIT 12) TO '{tmp_path}/hosts.csv'")

    made = make_lake(settings, tmp_path / "hosts.csv")

    assert (made.hosts, made.taken_in, made.replaced) == (12, 12, 20)
    assert lake.query("SELECT DISTINCT place FROM hosts") == [("rack 7",)]
    assert lake.query("SELECT count(*) FROM host_inventory") == [(12,)]
    partitioned = lake.query("SELECT count(*) FROM __ducklake_metadata_lake.ducklake_partition_info")
    assert partitioned == [(3,)]
    comments = lake.query("SELECT comment FROM duckdb_tables() WHERE table_name = 'processed_data'")
    assert comments == [("one row per day, host and resource",)]


def test_an_inventory_that_cannot_be_taken_in_leaves_nothing_made(sandbox: Sandbox, tmp_path: Path) -> None:
    lake = Lake(Catalog.DUCKDB, str(tmp_path / "c.ducklake"))
    settings = replace(sandbox.settings, lake=lake, lake_data=tmp_path / "lake")

    with pytest.raises(LakeError, match="no inventory for the new lake"):
        make_lake(settings)
    with pytest.raises(LakeError, match=r"nothing\.csv is not there"):
        make_lake(settings, tmp_path / "nothing.csv")

    assert not (tmp_path / "c.ducklake").exists()
    assert not (tmp_path / "lake").exists()


def test_a_table_that_the_lake_lacks_is_named_with_what_makes_it(lake_sandbox: Sandbox) -> None:
    lake_sandbox.execute("DROP TABLE audits")

    with (
        open_warehouse(lake_sandbox.settings.place, read_only=False, wait_seconds=0.0) as connection,
        pytest.raises(LakeNotReadyError, match="lacks the table audits; make it with: refinery lake init"),
    ):
        ensure_table(connection, AUDITS)


def test_an_inventory_that_is_a_file_is_kept_in_the_lake_as_it_was_at_the_last_run(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    (tmp_path / "hosts.csv").write_text("server,rack\nweb-1,7\n")
    contract = contract_with(tmp_path, 'source = "hosts.csv"\nhost = "server"\nbehavior = []\nattributes = ["rack"]')
    lake = Lake(Catalog.DUCKDB, str(tmp_path / "c.ducklake"))
    settings = replace(sandbox.settings, contract=contract, lake=lake, lake_data=tmp_path / "lake")
    with pytest.raises(LakeError, match="which every run reads; leave out --inventory"):
        make_lake(settings, tmp_path / "hosts.csv")
    assert make_lake(settings).hosts == 1

    with open_warehouse(settings.place, read_only=False, wait_seconds=0.0) as connection:

        def run() -> Rows:
            name_fleet(connection, contract)
            with transaction(connection):
                renew_views(connection, contract)
            return connection.execute("SELECT node_name, rack FROM host_inventory ORDER BY ALL").fetchall()

        assert run() == [("web-1", 7)]
        before = connection.execute("FROM ducklake_current_snapshot('lake')").fetchall()
        assert run() == [("web-1", 7)]
        assert connection.execute("FROM ducklake_current_snapshot('lake')").fetchall() == before
        (tmp_path / "hosts.csv").write_text("server,rack\nweb-1,7\nweb-2,8\n")
        assert run() == [("web-1", 7), ("web-2", 8)]
        (tmp_path / "hosts.csv").write_text("server,rack\nweb-1,left\n")
        with pytest.raises(LakeNotReadyError, match="run refinery lake init"):
            run()
    assert make_lake(settings).hosts == 1


def test_a_lake_whose_tables_were_not_made_is_told_with_what_to_do_whatever_is_asked_of_it(
    command_line: CliRunner, lake_sandbox: Sandbox, tmp_path: Path
) -> None:
    lake_sandbox.execute("DROP TABLE publications")
    lake_sandbox.execute("DROP TABLE processed_data")

    for words, table in (
        (("lake", "maintain"), "publications"),
        (("export", "--to", str(tmp_path / "out")), "processed_data"),
    ):
        result = command_line.invoke(app, words)
        assert (result.exit_code, result.stderr) == (
            4,
            f"The lake lacks the table {table}; make it with: refinery lake init\n",
        )
    for word, told in (("status", "2024-01: not published"), ("audit", "Nothing is published yet")):
        assert told in command_line.invoke(app, [word]).output
    nightly = start_run(lake_sandbox.instance, build_defs(lake_sandbox.settings), "lake_maintenance")
    run = lake_sandbox.instance.get_run_by_id(nightly.run_id)
    assert run is not None
    problems = describe_failure(lake_sandbox.instance, run)["problems"]
    assert problems == ["The lake lacks the table publications; make it with: refinery lake init"]


def test_a_table_that_an_older_version_made_is_completed_by_making_the_lake_again(lake_sandbox: Sandbox) -> None:
    lake_sandbox.execute("ALTER TABLE publications DROP COLUMN checks_off")

    outcome = lake_sandbox.refine(JANUARY)

    assert not outcome.success
    assert "The lake lacks publications.checks_off; make it with: refinery lake init" in outcome.message
    make_lake(lake_sandbox.settings)
    with open_warehouse(lake_sandbox.settings.place, read_only=False, wait_seconds=0.0) as connection:
        ensure_table(connection, PUBLICATIONS)


def test_a_lake_that_is_not_there_is_told_in_one_sentence(sandbox: Sandbox, tmp_path: Path) -> None:
    lake = Lake(Catalog.DUCKDB, str(tmp_path / "none.ducklake"), tmp_path / "lake")
    missing = replace(sandbox, settings=replace(sandbox.settings, lake=lake))

    outcome = missing.refine(JANUARY)

    assert outcome.verdict("host_inventory", "inventory_initialized") == "failed"
    assert f"There is no lake {lake} yet; make it with: refinery lake init" in outcome.message
    assert not (tmp_path / "none.ducklake").exists()


def test_a_run_into_another_data_path_than_the_lakes_fails_before_it_writes_there(
    lake_sandbox: Sandbox, tmp_path: Path
) -> None:
    elsewhere = replace(lake_sandbox, settings=replace(lake_sandbox.settings, lake_data=tmp_path / "elsewhere"))

    outcome = elsewhere.refine(JANUARY)

    assert not outcome.success
    assert f"and REFINERY_LAKE_DATA is {tmp_path / 'elsewhere'}; set it to the place" in outcome.message
    assert not (tmp_path / "elsewhere").exists()


def test_a_catalog_in_a_file_that_is_held_is_told_with_what_to_do(lake_sandbox: Sandbox) -> None:
    place = lake_sandbox.settings.place
    with (
        open_warehouse(place, read_only=False, wait_seconds=0.0),
        pytest.raises(WarehouseHeldError, match="a catalog in a file takes one writer at a time"),
        open_warehouse(place, read_only=False, wait_seconds=0.0),
    ):
        pass


@pytest.fixture
def command_line(lake_sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> CliRunner:
    settings = lake_sandbox.settings
    for name in ("feed", "telemetry", "reports", "alert_log", "first_month", "last_month", "lake_data"):
        monkeypatch.setenv(f"REFINERY_{name.upper()}", str(getattr(settings, name)))
    monkeypatch.setenv("REFINERY_WAREHOUSE", str(settings.lake))
    return CliRunner()


def test_the_commands_that_look_work_over_a_lake(
    command_line: CliRunner, lake_sandbox: Sandbox, tmp_path: Path
) -> None:
    assert lake_sandbox.refine(JANUARY).success

    def said(*words: str, code: int = 0) -> str:
        result = command_line.invoke(app, words)
        assert result.exit_code == code, result.output
        return result.output

    months = json.loads(said("status", "--json"))["months"]
    assert [(each["month"], each["inputs"]) for each in months][:2] == [
        ("2024-01", "as published"),
        ("2024-02", "not published"),
    ]
    (kept,) = kept_publications(lake_sandbox.settings)
    assert (months[0]["snapshot"], months[1]["snapshot"]) == (kept.snapshot, None)
    january, february = said("status").splitlines()[:2]
    assert january.endswith(f"| snapshot {kept.snapshot}")
    assert february == "2024-02: not published"
    listed = said("lake", "publications")
    assert listed == f"{kept.snapshot}: 2024-01, published at {kept.published_at:%Y-%m-%d %H:%M} UTC by {kept.run_id}\n"
    assert json.loads(said("lake", "publications", "--json"))["publications"][0]["snapshot"] == kept.snapshot
    assert "2024-01: passed" in said("audit")
    assert "was published by run" in said("explain", "2024-01")
    assert "# 2024-01 is published" in said("report", "2024-01")
    assert "2024-02" in said("plan", "2024-02")
    assert "its tables were there; 20 rows of the inventory." in said("lake", "init")
    lake_sandbox.query(f"COPY (FROM hosts LIMIT 1) TO '{tmp_path}/hosts.csv'")
    taken_in = said("lake", "init", "--inventory", str(tmp_path / "hosts.csv"))
    assert f"replaced 20 rows of the inventory by 1 of {tmp_path / 'hosts.csv'}." in taken_in
    assert said("export", "--to", str(tmp_path / "out")).startswith("2024-01: ")
    assert "passed in its last run" in said("accept", "2024-01", "month_is_new", "--why", "x", code=2)


def test_a_catalog_in_postgresql_holds_what_was_published_and_never_shows_a_password(
    sandbox: Sandbox, postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGPASSWORD", "s3cret")
    lake = replace(sandbox, settings=make_lake_in(sandbox.settings, postgres.new_lake()))

    assert lake.refine(JANUARY).success

    with open_warehouse(lake.settings.place, read_only=True, wait_seconds=0.0) as connection:
        assert prove(connection) == ([JANUARY], [])
    run = lake.instance.get_runs()[-1]
    told = [str(run.run_config), str(run.tags), *(entry.user_message for entry in lake.instance.all_logs(run.run_id))]
    assert "s3cret" not in "\n".join(told)


def test_a_catalog_in_sqlite_is_read_while_it_is_written(sandbox: Sandbox, tmp_path: Path) -> None:
    place = make_lake_in(sandbox.settings, Lake(Catalog.SQLITE, str(tmp_path / "catalog.sqlite"))).place

    with open_warehouse(place, read_only=False, wait_seconds=0.0) as writer:
        writer.execute("BEGIN")
        writer.execute("INSERT INTO waivers VALUES ('2024-01', 'x', 'why', 'me', now(), 'd', NULL)")
        with open_warehouse(place, read_only=True, wait_seconds=0.0) as reader:
            assert reader.execute("SELECT count(*) FROM waivers").fetchall() == [(0,)]
        writer.execute("COMMIT")
    with open_warehouse(place, read_only=True, wait_seconds=0.0) as reader:
        assert reader.execute("SELECT count(*) FROM waivers").fetchall() == [(1,)]


def test_connections_of_one_process_that_spill_at_once_read_what_is_theirs_and_leave_nothing(tmp_path: Path) -> None:
    little = {"memory_limit": "24MiB", "threads": 1}
    rows = 2_000_000

    def sort(connection: duckdb.DuckDBPyConnection, factor: int) -> set[Path]:
        # More than the memory holds, so that a part of it stays where it was spilt to.
        connection.execute(
            "CREATE TEMP TABLE spilt AS SELECT i * $factor AS n, hash(i) AS h FROM range($rows) t(i) ORDER BY h",
            {"factor": factor, "rows": rows},
        )
        return {Path(path) for (path,) in connection.execute("SELECT path FROM duckdb_temporary_files()").fetchall()}

    with ExitStack() as stack:
        connections = [
            stack.enter_context(
                open_lake(
                    Lake(Catalog.DUCKDB, str(tmp_path / f"{name}.ducklake"), tmp_path / name),
                    read_only=False,
                    wait_seconds=0.0,
                    config=little,
                    make=True,
                )
            )
            for name in ("one", "other")
        ]
        with ThreadPoolExecutor() as pool:
            one, other = pool.map(sort, connections, (1, 2))
        assert all(file.is_file() for file in one | other)
        folders = [{file.parent for file in files} for files in (one, other)]
        assert [len(each) for each in folders] == [1, 1]
        assert folders[0] != folders[1]
        for connection, factor in zip(connections, (1, 2), strict=True):
            found = connection.execute(
                "SELECT count(*), sum(n), bool_and(h = hash(n // $factor)), bool_and(h >= before) "
                "FROM (SELECT *, lag(h) OVER () AS before FROM spilt)",
                {"factor": factor},
            ).fetchall()
            assert found == [(rows, factor * rows * (rows - 1) // 2, True, True)]

    assert [each for each in set.union(*folders) if each.exists()] == []


def test_a_limit_of_memory_that_is_too_low_for_a_lake_is_named_with_its_setting(lake_sandbox: Sandbox) -> None:
    config = {"memory_limit": "20MiB"}

    with (
        pytest.raises(
            WarehouseUnusableError,
            match=r"ran out of memory with 20MiB of memory \(REFINERY_MEMORY_MIB\); the warehouse",
        ),
        open_warehouse(lake_sandbox.settings.place, read_only=True, wait_seconds=0.0, config=config) as connection,
    ):
        connection.execute("SELECT len(list(number)) FROM range(10_000_000) numbers(number)")


def test_a_catalog_that_does_not_answer_is_told_in_one_sentence(sandbox: Sandbox, tmp_path: Path) -> None:
    lake = Lake(Catalog.POSTGRES, f"dbname=refinery host={tmp_path}", tmp_path / "lake")

    with (
        pytest.raises(WarehouseUnusableError, match=r"^The catalog of the lake .* cannot be reached: .*Check host="),
        open_warehouse(replace(sandbox.settings, lake=lake).place, read_only=True, wait_seconds=0.0),
    ):
        pass


def test_a_database_without_a_lake_is_told_in_one_sentence(postgres: Postgres, tmp_path: Path) -> None:
    lake = replace(postgres.new_lake(), data=tmp_path)

    with (
        pytest.raises(WarehouseMissingError, match="make it with: refinery lake init"),
        open_warehouse(lake, read_only=True, wait_seconds=0.0),
    ):
        pass
