"""A lake whose data lies in an object store, over a real one on loopback."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from refinery_assets.contract.lake import MARKER, Catalog, Lake
from refinery_assets.contract.places import ObjectPrefix
from refinery_assets.contract.settings import Settings
from refinery_assets.feed.store import StoreError
from refinery_assets.warehouse.export import export_months, published_months
from refinery_assets.warehouse.lake import open_lake
from refinery_assets.warehouse.lake_files import lake_store
from refinery_assets.warehouse.lake_maintenance import maintain
from refinery_assets.warehouse.lake_snapshots import kept_publications
from refinery_assets.warehouse.lake_tables import make_lake
from refinery_assets.warehouse.month_state import State
from refinery_assets.warehouse.plan import make_plan
from refinery_assets.warehouse.snapshot import open_published
from refinery_assets.warehouse.storage import WarehouseUnusableError
from refinery_assets.warehouse.tables import utc_now
from refinery_assets_tests.lakes import Postgres, content_of
from refinery_assets_tests.object_store import BUCKET, KEYS, Relay, free_ports, put, upload
from refinery_assets_tests.scenario import CPU, FEBRUARY, JANUARY, MEMORY, GivenPublished, Sandbox

pytestmark = [pytest.mark.lake, pytest.mark.heavy, pytest.mark.slow]

_FILES = "SELECT data_file FROM ducklake_list_files('lake', 'processed_data') ORDER BY ALL"


@pytest.fixture
def data(object_store: str, tmp_path: Path) -> ObjectPrefix:
    """Where the test's lake has its data."""
    assert object_store
    return ObjectPrefix(BUCKET, f"{tmp_path.name}/lake")


def _in_bucket(settings: Settings, data: ObjectPrefix, lake: Lake | None = None) -> Settings:
    folder = settings.warehouse.parent
    catalog = lake or Lake(Catalog.DUCKDB, str(folder / "catalog.ducklake"))
    return replace(settings, lake=catalog, lake_data=data, telemetry=folder / "lake_telemetry")


def _raise_first_reading(sandbox: Sandbox) -> None:
    line = sandbox.lines(CPU, JANUARY)[1].split(",")
    sandbox.edit_line(CPU, JANUARY, 2, f"{line[0]},{line[1]},{float(line[2]) + 0.5:.2f},{line[3]}")


def _objects(data: ObjectPrefix) -> set[str]:
    store: Any = lake_store(data)
    return {f"{data}/{name}" for name in store.as_of_now().found}


def test_a_lake_in_a_bucket_publishes_without_a_copy_is_read_as_it_was_and_maintained(
    sandbox: Sandbox, given_published: GivenPublished, postgres: Postgres, data: ObjectPrefix, tmp_path: Path
) -> None:
    given_published(JANUARY, FEBRUARY)
    expected = sandbox.processed()
    settings = _in_bucket(sandbox.settings, data, postgres.new_lake())
    make_lake(settings, sandbox.settings.warehouse)
    lake = replace(sandbox, settings=settings)

    first = lake.refine(JANUARY, FEBRUARY)
    assert first.success, first.message
    assert lake.processed() == expected
    files = [name for (name,) in lake.query(_FILES)]
    assert len(files) == 8
    assert all(name.startswith(f"{data}/processed_data/year=2024/") for name in files)
    assert set(files) <= _objects(data)
    assert make_plan(settings, [[JANUARY, FEBRUARY]]).results[JANUARY].state is State.UNCHANGED

    _raise_first_reading(lake)
    assert lake.refine(JANUARY).success
    changed = lake.processed()
    assert changed != expected
    kept = kept_publications(settings)
    with open_published(settings, str(kept[0].snapshot)) as connection:
        assert connection.execute("SELECT * FROM processed_data ORDER BY resource, host_id, ds").fetchall() == expected
        exported = dict(export_months(connection, published_months(connection), tmp_path / "out"))
    assert sum(exported.values()) == len(expected)

    # Of the month that was published again, and a file that never was.
    lake_store(data).write("processed_data/year=2024/month=3/orphan.parquet", b"PAR1")
    done = maintain(settings, grace=timedelta(days=-1), now=utc_now() + timedelta(days=settings.lake_keep_days))
    assert done.deleted >= 1
    assert done.orphans >= 1
    assert (done.proved, done.broken) == ([JANUARY, FEBRUARY], [])
    assert f"{data}/processed_data/year=2024/month=3/orphan.parquet" not in _objects(data)
    assert lake.processed() == changed
    assert lake.audit().success

    told = []
    for run in lake.instance.get_runs():
        told += [str(run.run_config), str(run.tags)]
        told += [entry.user_message for entry in lake.instance.all_logs(run.run_id)]
    assert len(told) > 10
    secret = KEYS["AWS_SECRET_ACCESS_KEY"]
    assert secret not in "\n".join(told)
    assert [path for path in tmp_path.rglob("*") if path.is_file() and secret.encode() in path.read_bytes()] == []
    assert secret not in str(lake.query("FROM duckdb_secrets()"))


def test_a_prefix_that_is_another_lakes_or_holds_parquet_is_refused_before_a_catalog_is_made(
    sandbox: Sandbox, data: ObjectPrefix, tmp_path: Path
) -> None:
    settings = _in_bucket(sandbox.settings, data)
    second = replace(settings, lake=Lake(Catalog.DUCKDB, str(tmp_path / "second.ducklake")))
    lake_store(data).write("archive/rows.parquet", b"PAR1")
    with pytest.raises(WarehouseUnusableError, match=r"already holds Parquet files, such as s3://.*/rows\.parquet"):
        make_lake(second, sandbox.settings.warehouse)
    lake_store(data).remove("archive/rows.parquet")
    make_lake(settings, sandbox.settings.warehouse)
    objects = _objects(data)

    with pytest.raises(WarehouseUnusableError, match="belongs to another lake than"):
        make_lake(second, sandbox.settings.warehouse)

    assert not (tmp_path / "second.ducklake").exists()
    lake_store(data).remove(MARKER)
    with pytest.raises(WarehouseUnusableError, match=r"refinery-lake\.json is not there"):
        maintain(settings, grace=timedelta(days=-1), now=utc_now() + timedelta(days=settings.lake_keep_days))
    assert objects - _objects(data) == {f"{data}/{MARKER}"}


def test_feed_partitions_and_lake_in_buckets_hold_what_file_and_folders_hold_row_for_row(
    sandbox: Sandbox, postgres: Postgres, data: ObjectPrefix, tmp_path: Path
) -> None:
    prefix = replace(data, prefix=tmp_path.name)
    feed, telemetry = replace(prefix, prefix=f"{prefix.prefix}/feed"), replace(prefix, prefix=f"{prefix.prefix}/rows")
    settings = _in_bucket(replace(sandbox.settings, feed=feed), data, postgres.new_lake())
    settings = replace(settings, telemetry=telemetry, reports=tmp_path / "reports_of_buckets")
    make_lake(settings, sandbox.settings.warehouse)
    dirt = sandbox.lines(MEMORY, JANUARY)[9].replace("2024-01", "2024-1")
    sandbox.edit_line(MEMORY, JANUARY, 10, dirt)
    file = sandbox.file(CPU, FEBRUARY)
    good = file.read()
    stranger = sandbox.lines(CPU, FEBRUARY)[1].split(",")
    sandbox.write_lines(
        CPU, FEBRUARY, [*sandbox.lines(CPU, FEBRUARY), ",".join([stranger[0], "stranger", *stranger[2:]])]
    )
    upload(sandbox.feed, feed)
    with dg.DagsterInstance.ephemeral() as instance:
        buckets = Sandbox(settings, instance)

        of_folders, of_buckets = sandbox.refine(JANUARY, FEBRUARY), buckets.refine(JANUARY, FEBRUARY)

        assert "stranger" in of_buckets.message
        assert of_buckets.message == of_folders.message
        before = sandbox.published()
        assert {ds.month for ds, *_ in before[0]} == {1}
        assert buckets.published() == before

        file.path.write_bytes(good)
        put(feed, file.name, good)
        assert sandbox.refine(FEBRUARY).success
        assert buckets.refine(FEBRUARY).success
        done = maintain(settings, grace=timedelta(days=-1), now=utc_now() + timedelta(days=settings.lake_keep_days))

        assert (done.proved, done.broken) == ([JANUARY, FEBRUARY], [])
        # The one of the refused month that the repaired one does not have.
        assert done.orphans == 1
        expected = content_of(sandbox)
        assert {row[0] for row in expected["publications"]} == {"2024-01", "2024-02"}
        assert len(expected["quarantined_rows"]) == 1
        assert content_of(buckets) == expected
    # Nothing was kept on this machine instead.
    assert not (tmp_path / "lake_telemetry").exists()
    assert list(tmp_path.rglob("*.parquet")) == list(sandbox.settings.warehouse.parent.rglob("telemetry/**/*.parquet"))


def test_a_server_that_dies_while_a_months_rows_are_written_publishes_nothing_and_the_next_run_heals(
    sandbox: Sandbox, data: ObjectPrefix, relay: Relay, object_store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = _in_bucket(sandbox.settings, data)
    make_lake(settings, sandbox.settings.warehouse)
    lake = replace(sandbox, settings=settings)
    relay.asked_left = 5_000

    outcome = lake.refine(JANUARY)

    assert relay.asked_left == 0
    sentence = outcome.failures["cpu_utilization"]
    assert sentence.startswith(f"{data}/processed_data/year=2024/month=1/resource=cpu/")
    assert f"could not be written: {relay.url} was tried" in sentence
    assert "\n" not in sentence
    assert outcome.failed_checks == set()
    monkeypatch.setenv("AWS_ENDPOINT_URL", object_store)
    assert lake.query("SELECT count(*) FROM publications") == [(0,)]
    assert lake.processed() == []
    assert lake.refine(JANUARY).success
    assert lake.query("SELECT count(*) FROM processed_data") == [(4 * 20 * 31,)]
    assert len(lake.query(_FILES)) == 4


def test_a_bucket_that_refuses_the_keys_is_told_before_a_catalog_is_made(
    sandbox: Sandbox, data: ObjectPrefix, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = _in_bucket(sandbox.settings, data)
    assert settings.lake is not None
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "mistyped-4711")
    with pytest.raises(StoreError, match=r"refused the keys .* of REFINERY_LAKE_DATA, then run again") as refused:
        make_lake(settings, sandbox.settings.warehouse)
    assert "mistyped" not in str(refused.value)
    assert not Path(settings.lake.place).exists()

    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with (
        pytest.raises(WarehouseUnusableError, match=r"\(REFINERY_LAKE_DATA\) cannot be reached: there are no keys"),
        open_lake(settings.lake, read_only=True, wait_seconds=0.0),
    ):
        pass


def test_a_bucket_that_is_out_of_reach_fails_the_run_and_leaves_what_was_published(
    sandbox: Sandbox, data: ObjectPrefix, object_store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = _in_bucket(sandbox.settings, data)
    make_lake(settings, sandbox.settings.warehouse)
    lake = replace(sandbox, settings=settings)
    assert lake.refine(JANUARY).success
    before = lake.processed()
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "mistyped-4711")

    with pytest.raises(WarehouseUnusableError, match="what the keys in AWS_ACCESS_KEY_ID may do there") as refused:
        lake.processed()
    assert "mistyped" not in str(refused.value)
    outcome = lake.refine(JANUARY, force=True)
    assert not outcome.success
    assert "mistyped" not in outcome.message

    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", KEYS["AWS_SECRET_ACCESS_KEY"])
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free_ports(1)[0]}")
    with pytest.raises(WarehouseUnusableError, match=rf"Check that its catalog answers, and that {data} does"):
        lake.processed()
    monkeypatch.setenv("AWS_ENDPOINT_URL", object_store)
    assert lake.processed() == before


def test_a_bucket_is_refused_in_one_sentence_where_duckdb_cannot_reach_one(
    sandbox: Sandbox, data: ObjectPrefix, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = "refinery_assets.warehouse.lake"
    # As without the package and without a network; the other extensions are there.
    monkeypatch.setattr(f"{module}._genuine_packages", lambda _: ())
    monkeypatch.setattr(f"{module}._EXTENSIONS", {Catalog.DUCKDB: ()})
    nowhere = {"custom_extension_repository": str(tmp_path), "extension_directory": str(tmp_path)}
    lake = _in_bucket(sandbox.settings, data).lake
    assert lake is not None

    with (
        pytest.raises(WarehouseUnusableError, match="wants DuckDB's extension httpfs, which cannot be had"),
        open_lake(lake, read_only=False, wait_seconds=0.0, config=nowhere, make=True),
    ):
        pass
