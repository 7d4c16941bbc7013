"""A feed in an object store: the same verdicts and the same table as from a folder, and what fails how."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import dagster as dg
import pytest

from refinery_assets.contract.places import ObjectPrefix
from refinery_assets.contract.settings import Settings
from refinery_assets.feed.changes import FeedSeen, look_for_changes
from refinery_assets.feed.files import FeedFile, feed_extent, feed_file
from refinery_assets.feed.store import StoreError
from refinery_assets_tests.object_store import BUCKET, Relay, free_ports
from refinery_assets_tests.scenario import CPU, DISK, FEBRUARY, JANUARY, MARCH, MEMORY, NETWORK, Outcome, Sandbox

pytestmark = pytest.mark.slow
LONG_REST = 10**9


@pytest.fixture
def prefix(object_store: str, tmp_path: Path) -> ObjectPrefix:
    """A prefix of the test's own."""
    assert object_store
    return ObjectPrefix(BUCKET, f"{tmp_path.name}/feed")


def upload(folder: Path, prefix: ObjectPrefix) -> None:
    """Put all files of a folder below a prefix."""
    for path in folder.rglob("*"):
        if path.is_file():
            put(prefix, path.relative_to(folder).as_posix(), path.read_bytes())


def put(prefix: ObjectPrefix, name: str, data: bytes) -> None:
    objects(prefix).put(name, data)


def objects(prefix: ObjectPrefix) -> Any:
    from obstore.store import S3Store  # noqa: PLC0415 - is skipped where it is not installed

    return S3Store(prefix.bucket, prefix=prefix.prefix, client_options={"allow_http": True})


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


def test_a_feed_in_an_object_store_gives_the_verdicts_and_the_table_of_a_folder(
    sandbox: Sandbox, prefix: ObjectPrefix, tmp_path: Path
) -> None:
    cut = sandbox.file(CPU, FEBRUARY).path
    cut.write_bytes(cut.read_bytes()[:-30])
    sandbox.file(DISK, MARCH).path.unlink()
    sandbox.edit_line(MEMORY, JANUARY, 5, "2024-01-01,srv-00001,oops,64")
    (sandbox.feed / "2024" / "03" / "disk_usage_202403.csv").write_text("misspelt\n")
    upload(sandbox.feed, prefix)
    warehouse = tmp_path / "of_bucket.duckdb"
    warehouse.write_bytes(sandbox.settings.warehouse.read_bytes())
    with dg.DagsterInstance.ephemeral() as instance:
        of_bucket = Sandbox(
            replace(sandbox.settings, feed=prefix, warehouse=warehouse, read_copy=None, telemetry=tmp_path / "other"),
            instance,
        )

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


def test_an_empty_prefix_is_named_as_the_root_of_the_feed(sandbox: Sandbox, prefix: ObjectPrefix) -> None:
    empty = Sandbox(replace(sandbox.settings, feed=prefix), sandbox.instance)

    outcome = empty.refine(JANUARY)

    found = str(outcome.metadata("legacy_feed", "source_files_present", JANUARY))
    assert "the root of the feed holds no objects (REFINERY_FEED)" in found
    assert f"It is s3://{BUCKET}/{prefix.prefix}." in found


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

    time.sleep(1.1)  # The store tells whole seconds, and the object must look newer than it was.
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


def a_store_error(settings: Settings) -> str:
    """What a look at the feed says; fails unless it fails soon."""
    started = time.monotonic()
    with pytest.raises(StoreError) as refused:
        feed_extent(settings)
    assert time.monotonic() - started < 20
    sentence = str(refused.value)
    assert "\n" not in sentence
    assert "secret" not in sentence
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
    sandbox: Sandbox, prefix: ObjectPrefix, object_store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload(sandbox.feed, prefix)
    port = urlsplit(object_store).port
    assert port is not None
    settings = replace(sandbox.settings, feed=prefix)
    with Relay(port) as relay:
        monkeypatch.setenv("AWS_ENDPOINT_URL", relay.url)
        assert feed_extent(settings).newest == MARCH
        relay.told_left = 60_000
        outcome = Sandbox(settings, sandbox.instance).refine(JANUARY, MARCH)

    assert relay.told_left == 0
    assert f"{relay.url} was tried" in outcome.message
    assert f"{prefix}/2024/" in outcome.message
    assert "\n" not in outcome.failures["legacy_feed"]
    assert outcome.failed_checks == set()
    assert sandbox.published_rows() == 0

    monkeypatch.setenv("AWS_ENDPOINT_URL", object_store)
    assert Sandbox(settings, sandbox.instance).refine(JANUARY).success
