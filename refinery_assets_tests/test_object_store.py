"""Feed and partitions in an object store: the verdicts and the table of folders, and what fails how."""

from __future__ import annotations

import io
import os
import secrets
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import polars as pl
import pytest

from refinery_assets.build import build_defs
from refinery_assets.checks.rules import judge
from refinery_assets.contract.families import LEGACY_FEED
from refinery_assets.contract.places import ObjectPrefix
from refinery_assets.contract.settings import Settings
from refinery_assets.feed.changes import FeedSeen, look_for_changes
from refinery_assets.feed.files import FeedFile, feed_extent, feed_file
from refinery_assets.feed.store import StoreError, telemetry_store
from refinery_assets.rows.family import refine_file
from refinery_assets.rows.source_checks import ENTRANCE_RULES, inspect_feed
from refinery_assets.warehouse.family_partitions import (
    Partition,
    damaged_partitions,
    name_partitions,
    partitions_there,
    source_facts,
)
from refinery_assets.warehouse.lake_files import write_lake_file
from refinery_assets.warehouse.ledger import RunLedger, StepRecord
from refinery_assets.warehouse.plan import make_plan
from refinery_assets_tests.object_store import BUCKET, Relay, free_ports, put, upload
from refinery_assets_tests.scenario import (
    CPU,
    DISK,
    FEBRUARY,
    JANUARY,
    MARCH,
    MEMORY,
    NETWORK,
    GivenPublished,
    Outcome,
    Sandbox,
)

pytestmark = [pytest.mark.heavy, pytest.mark.slow]
LONG_REST = 10**9


@pytest.fixture
def prefix(object_store: str, tmp_path: Path) -> ObjectPrefix:
    """Where the test's feed lies."""
    assert object_store
    return ObjectPrefix(BUCKET, f"{tmp_path.name}/feed")


@pytest.fixture
def telemetry(object_store: str, tmp_path: Path) -> ObjectPrefix:
    """Where the test's partitions lie."""
    assert object_store
    return ObjectPrefix(BUCKET, f"{tmp_path.name}/telemetry")


@pytest.fixture
def in_bucket(sandbox: Sandbox, telemetry: ObjectPrefix) -> Sandbox:
    """The small fleet, with its partitions in the object store."""
    return Sandbox(replace(sandbox.settings, telemetry=telemetry), sandbox.instance)


def said(outcome: Outcome) -> dict[Any, Any]:
    """All that the checks said, word for word."""
    return {
        key: (
            evaluation.passed,
            evaluation.severity,
            {name: value.value for name, value in evaluation.metadata.items()},
        )
        for key, evaluation in outcome.evaluations.items()
    }


def test_feed_and_partitions_in_an_object_store_give_what_folders_give(
    sandbox: Sandbox, prefix: ObjectPrefix, telemetry: ObjectPrefix, tmp_path: Path
) -> None:
    cut = sandbox.file(CPU, FEBRUARY)
    whole = cut.read()
    cut.path.write_bytes(whole[:-30])
    sandbox.file(DISK, MARCH).path.unlink()
    sandbox.edit_line(MEMORY, JANUARY, 5, "2024-01-01,srv-00001,oops,64")
    (sandbox.feed / "2024" / "03" / "disk_usage_202403.csv").write_text("misspelt\n")
    upload(sandbox.feed, prefix)
    warehouse = tmp_path / "of_bucket.duckdb"
    warehouse.write_bytes(sandbox.settings.warehouse.read_bytes())
    settings = replace(sandbox.settings, feed=prefix, telemetry=telemetry, warehouse=warehouse, read_copy=None)
    with dg.DagsterInstance.ephemeral() as instance:
        of_bucket = Sandbox(settings, instance)

        from_folder = sandbox.refine(JANUARY, MARCH)
        from_bucket = of_bucket.refine(JANUARY, MARCH)

        assert from_folder.verdict("legacy_feed", "fragmentation_complete", FEBRUARY) == "failed"
        assert from_folder.verdict("legacy_feed", "source_files_present", MARCH) == "failed"
        assert "disk_usage_202403.csv" in str(from_folder.metadata("legacy_feed", "source_files_present", MARCH))
        assert from_folder.verdict("memory_stats", "quarantine_within_tolerance", JANUARY) == "warning"
        assert said(from_bucket) == said(from_folder)
        assert from_bucket.message == from_folder.message
        assert of_bucket.published() == sandbox.published()
        assert of_bucket.processed()
        assert of_bucket.quarantined()

        store = telemetry_store(telemetry)
        of_families = {f"{family.name}/2024-01.parquet" for family in (CPU, MEMORY, DISK, NETWORK)}
        listed, _ = store.names("cpu_utilization", 10)
        assert set(listed) <= of_families
        assert partitions_there(settings) == [JANUARY]
        assert all(store.is_there(name) and store.is_there(f"series_months/{name}") for name in of_families)
        assert store.folders(".runs") == []
        assert not store.path_of("").exists()
        frame = build_defs(settings).load_asset_value("cpu_utilization", partition_key="2024-01")
        assert isinstance(frame, pl.DataFrame)
        assert frame.height == 20 * 31

        put(prefix, cut.name, whole)
        written = store.look("cpu_utilization/2024-01.parquet")
        plan = make_plan(settings, [[JANUARY, FEBRUARY]])
        assert [str(result.state) for result in plan.results.values()] == ["unchanged", "published"]
        assert partitions_there(settings) == [JANUARY]
        assert of_bucket.refine(JANUARY, FEBRUARY).success
        assert partitions_there(settings) == [JANUARY, FEBRUARY]
        assert store.look("cpu_utilization/2024-01.parquet") == written


def test_an_empty_prefix_is_named_as_the_root_of_the_feed(settings_of_copy: Settings, prefix: ObjectPrefix) -> None:
    settings = replace(settings_of_copy, feed=prefix)
    (feed,) = inspect_feed(settings, [JANUARY], feed_extent(settings), settings.today)

    present = judge(ENTRANCE_RULES, LEGACY_FEED, JANUARY, feed)[0]

    assert present.failed
    assert "the root of the feed holds no objects (REFINERY_FEED)" in present.sentence
    assert f"It is s3://{BUCKET}/{prefix.prefix}." in present.sentence


def test_an_object_is_asked_for_again_when_its_content_changes_and_only_then(
    settings_of_copy: Settings, prefix: ObjectPrefix
) -> None:
    settings = replace(settings_of_copy, feed=prefix)
    cpu, memory = (feed_file(settings_of_copy, family, JANUARY) for family in (CPU, MEMORY))
    for file in (cpu, memory):
        put(prefix, file.name, file.read())
    later = time.time() + LONG_REST
    first = look_for_changes(settings, settings.window, FeedSeen(), later)
    assert first.changed == [JANUARY]
    assert look_for_changes(settings, settings.window, first.seen, later).changed == []

    # The store tells whole seconds.
    before = feed_file(settings, CPU, JANUARY).look()
    while feed_file(settings, CPU, JANUARY).look() == before:
        put(prefix, cpu.name, cpu.read())
    again = look_for_changes(settings, settings.window, first.seen, later)
    assert again.seen != first.seen
    assert again.changed == []

    put(prefix, cpu.name, cpu.read() + b"more\n")
    assert look_for_changes(settings, settings.window, again.seen, later).changed == [JANUARY]


def test_objects_that_were_written_just_now_rest_before_they_are_taken(
    settings_of_copy: Settings, prefix: ObjectPrefix
) -> None:
    put(prefix, feed_file(settings_of_copy, CPU, MARCH).name, b"date\n")

    seen = look_for_changes(replace(settings_of_copy, feed=prefix), [MARCH], FeedSeen(), time.time())

    assert (seen.changed, seen.unsettled) == ([], [MARCH])


def test_files_of_days_are_found_by_one_listing(prefix: ObjectPrefix) -> None:
    daily = NETWORK.model_copy(update={"path": "{year}/{family}-{month}-{day}.csv"})
    put(prefix, "2024/net_throughput-02-11.csv", b"date\n")
    file = FeedFile(prefix, daily, FEBRUARY)

    assert file.is_there
    assert [part.is_there for part in file.parts].index(True) == 10
    assert file.parts[10].read() == b"date\n"
    with pytest.raises(FileNotFoundError):
        file.parts[11].read()


def test_a_damaged_partition_in_an_object_store_is_named(settings_of_copy: Settings, telemetry: ObjectPrefix) -> None:
    files = [Partition(telemetry, family, JANUARY) for family in (CPU, MEMORY)]
    for file in files:
        file.write(refine_file(feed_file(settings_of_copy, file.family, JANUARY), settings_of_copy))
    store = telemetry_store(telemetry)
    content = store.read_back(files[0].name)
    store.write(files[0].name, content[len(content) // 2 :])
    assert files[0].stats() == Partition(telemetry, CPU, JANUARY).stats()

    with duckdb.connect() as connection:
        name_partitions(connection, files)
        with pytest.raises(duckdb.Error):
            source_facts(connection, files)

    ((damaged, sentence),) = damaged_partitions(files).items()
    assert damaged == files[0]
    assert f"({telemetry}/cpu_utilization/2024-01.parquet is damaged: " in sentence
    store.release()
    assert files[0].refusal is None
    files[0].mark_refused("It was cut.")
    assert files[0].refusal is not None
    assert files[0].refusal.startswith("It was cut. The partition is of an older file")
    files[0].clear_refusal()
    assert files[0].refusal is None


def test_a_footer_that_is_longer_than_what_is_asked_for_first_is_read_whole(telemetry: ObjectPrefix) -> None:
    store = telemetry_store(telemetry)
    told = {"long": "x" * 200_000}
    with store.writing("long.parquet") as target:
        pl.DataFrame({"a": [1]}).write_parquet(target, metadata=told)

    assert pl.read_parquet_metadata(store.footer("long.parquet"))["long"] == told["long"]


def test_the_ledger_of_a_run_is_kept_in_an_object_store_until_it_is_forgotten(telemetry: ObjectPrefix) -> None:
    ledger, other = RunLedger(telemetry, "this-run"), RunLedger(telemetry, "other-run")
    assert ledger.records() == []
    for each in (ledger, other):
        each.write(StepRecord("cpu_utilization", left_out=[JANUARY]))
        each.write(StepRecord("memory_stats"))

    assert ledger.read("legacy_feed") is None
    assert [record.asset for record in ledger.records()] == ["cpu_utilization", "memory_stats"]
    assert list(ledger.abandoned()) == []

    ledger.remove()
    ledger.remove()

    assert ledger.records() == []
    assert [record.left_out for record in other.records()] == [[JANUARY], []]


def test_writers_of_a_name_that_is_used_once_never_replace_each_others_object(telemetry: ObjectPrefix) -> None:
    store = telemetry_store(telemetry)
    told = []

    def write(content: bytes) -> bool:
        try:
            with store.creating("once") as target:
                assert isinstance(target, io.BytesIO)
                target.write(content)
        except StoreError as error:
            told.append(str(error))
            return False
        return True

    contents = [letter.encode() * 10_000 for letter in "abc"]
    with ThreadPoolExecutor(len(contents)) as pool:
        won = list(pool.map(write, contents))

    assert won.count(True) == 1
    written = contents[won.index(True)]
    assert store.read_back("once") == written
    sentence = (
        f"{telemetry}/once could not be written: its name is used once, and another object has it; see who else writes "
        "below REFINERY_TELEMETRY, then run again."
    )
    assert told == [sentence, sentence]
    # Who finds what it was about to write has written it.
    assert write(written)


def test_an_object_whose_answer_was_lost_was_created_all_the_same(
    telemetry: ObjectPrefix, relay: Relay, object_store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    relay.hangs_up = True
    relay.told_left = 0

    with telemetry_store(telemetry).creating("once") as target:
        assert isinstance(target, io.BytesIO)
        target.write(b"first")

    # The server took it, and nobody heard that it did.
    assert relay.told_left is None
    monkeypatch.setenv("AWS_ENDPOINT_URL", object_store)
    assert telemetry_store(telemetry).read_back("once") == b"first"


def test_the_file_of_a_months_rows_for_a_lake_is_never_replaced(
    settings_of_copy: Settings, telemetry: ObjectPrefix, monkeypatch: pytest.MonkeyPatch
) -> None:
    refined = refine_file(feed_file(settings_of_copy, CPU, JANUARY), settings_of_copy)
    fewer = replace(refined, partition=refined.partition.head(100))
    # As if two drew the same.
    monkeypatch.setattr(secrets, "token_hex", lambda _: "c0ffee00")

    first = write_lake_file(telemetry, refined, "this-run")

    assert first is not None
    with pytest.raises(StoreError, match=r"c0ffee00\.parquet could not be written: its name is used once"):
        write_lake_file(telemetry, fewer, "this-run")
    rows = pl.read_parquet(telemetry_store(telemetry).read_back(first.removeprefix(f"{telemetry}/")))
    assert rows.height == refined.partition.filter(pl.col("fault").is_null()).height > fewer.partition.height


def a_store_error(settings: Settings) -> str:
    """What a look at the feed says; fails unless it fails soon."""
    started = time.monotonic()
    with pytest.raises(StoreError) as refused:
        feed_extent(settings)
    assert time.monotonic() - started < 20
    sentence = str(refused.value)
    assert "\n" not in sentence
    told = "".join(traceback.format_exception(refused.value))
    assert os.environ["AWS_SECRET_ACCESS_KEY"] not in told
    return sentence


def test_wrong_keys_are_refused_with_their_variables(
    settings_of_copy: Settings, prefix: ObjectPrefix, object_store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = replace(settings_of_copy, feed=replace(prefix, prefix=f"{prefix.prefix}-keys"))
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "another-secret")

    assert a_store_error(settings) == (
        f"{settings.feed} could not be listed: {object_store} refused the keys (403 SignatureDoesNotMatch); check "
        "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, and what they may do in the bucket of REFINERY_FEED, then run "
        "again."
    )


def test_a_missing_bucket_is_named(settings_of_copy: Settings, object_store: str) -> None:
    settings = replace(settings_of_copy, feed=ObjectPrefix("no-such-bucket", "feed"))

    assert a_store_error(settings) == (
        f"s3://no-such-bucket/feed could not be listed: {object_store} has no bucket no-such-bucket; create it, or "
        "correct REFINERY_FEED, then run again."
    )


def test_an_endpoint_that_refuses_connections_is_named(
    settings_of_copy: Settings, prefix: ObjectPrefix, monkeypatch: pytest.MonkeyPatch
) -> None:
    (port,) = free_ports(1)
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")

    assert a_store_error(replace(settings_of_copy, feed=prefix)) == (
        f"{prefix} could not be listed: http://127.0.0.1:{port} was tried 5 times and did not answer, or broke off; "
        "see that it runs and check AWS_ENDPOINT_URL, then run again."
    )


def test_an_endpoint_that_is_no_address_is_refused(
    settings_of_copy: Settings, prefix: ObjectPrefix, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "minio:9000")

    assert a_store_error(replace(settings_of_copy, feed=prefix)) == (
        "AWS_ENDPOINT_URL is 'minio:9000'; expected an address that begins with http:// or https://."
    )


def test_a_server_that_dies_while_it_is_read_fails_the_step_and_blames_no_month(
    sandbox: Sandbox, prefix: ObjectPrefix, relay: Relay
) -> None:
    upload(sandbox.feed, prefix)
    settings = replace(sandbox.settings, feed=prefix)
    assert feed_extent(settings).newest == MARCH
    relay.told_left = 60_000

    outcome = Sandbox(settings, sandbox.instance).refine(JANUARY, MARCH)

    assert relay.told_left == 0
    assert f"{relay.url} was tried" in outcome.message
    assert f"{prefix}/2024/" in outcome.message
    assert "\n" not in outcome.failures["legacy_feed"]
    assert outcome.failed_checks == set()
    assert sandbox.published_rows() == 0


def test_a_server_that_dies_while_it_is_written_to_leaves_what_was_published_and_the_next_run_heals(
    in_bucket: Sandbox,
    given_published: GivenPublished,
    relay: Relay,
    object_store: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    given_published(JANUARY)
    before = in_bucket.published()
    relay.asked_left = 30_000

    outcome = in_bucket.refine(JANUARY, FEBRUARY)

    assert relay.asked_left == 0
    assert f"{in_bucket.settings.telemetry}/" in outcome.message
    assert f"could not be written: {relay.url} was tried" in outcome.message
    assert in_bucket.published() == before
    monkeypatch.setenv("AWS_ENDPOINT_URL", object_store)
    assert in_bucket.refine(JANUARY, FEBRUARY).success
    assert len(in_bucket.processed()) > len(before[0])


def test_a_server_that_is_gone_when_months_are_published_fails_the_step_and_blames_no_month(
    in_bucket: Sandbox, given_published: GivenPublished, relay: Relay
) -> None:
    given_published(JANUARY)
    before = in_bucket.published()
    relay.told_left = 0
    relay.asked_left = 0

    outcome = in_bucket.materialize(["processed_data"], JANUARY, force=True)

    assert f"{relay.url} was tried" in outcome.message
    assert "\n" not in outcome.message
    assert outcome.failed_checks == set()
    assert in_bucket.published() == before
