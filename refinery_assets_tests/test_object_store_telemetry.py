"""Partitions and ledger in an object store: what comes of a run, of a plan, and of a server that dies."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import dagster as dg
import polars as pl
import pytest

from refinery_assets.assets.io_manager import TelemetryIOManager
from refinery_assets.build import build_defs
from refinery_assets.checks.rules import Outcome as CheckOutcome
from refinery_assets.contract.places import ObjectPrefix
from refinery_assets.feed.store import StoreError
from refinery_assets.warehouse.family_partitions import Partition, damaged_partitions, partitions_there, telemetry_store
from refinery_assets.warehouse.ledger import RunLedger, StepRecord
from refinery_assets.warehouse.plan import make_plan
from refinery_assets_tests.object_store import BUCKET, Relay
from refinery_assets_tests.scenario import CPU, DISK, FEBRUARY, JANUARY, MARCH, MEMORY, GivenPublished, Sandbox

pytestmark = pytest.mark.slow


@pytest.fixture
def telemetry(object_store: str, tmp_path: Path) -> ObjectPrefix:
    """A prefix of the test's own."""
    assert object_store
    return ObjectPrefix(BUCKET, f"{tmp_path.name}/telemetry")


@pytest.fixture
def in_bucket(sandbox: Sandbox, telemetry: ObjectPrefix) -> Sandbox:
    """The small fleet, with its partitions in an object store."""
    return Sandbox(replace(sandbox.settings, telemetry=telemetry), sandbox.instance)


def names_in(telemetry: ObjectPrefix) -> set[str]:
    return set(telemetry_store(telemetry).as_of_now().found)  # type: ignore[attr-defined]


def test_partitions_in_an_object_store_give_the_table_of_those_in_a_folder(
    in_bucket: Sandbox, sandbox: Sandbox, telemetry: ObjectPrefix, tmp_path: Path
) -> None:
    in_bucket.edit_line(MEMORY, JANUARY, 5, "2024-01-01,srv-00001,oops,64")
    cut = in_bucket.file(DISK, FEBRUARY).path
    whole = cut.read_bytes()
    cut.write_bytes(whole[:-30])
    warehouse = tmp_path / "of_folder.duckdb"
    warehouse.write_bytes(sandbox.settings.warehouse.read_bytes())
    with dg.DagsterInstance.ephemeral() as instance:
        of_folder = Sandbox(replace(sandbox.settings, warehouse=warehouse, read_copy=None), instance)
        expected = of_folder.refine(JANUARY, FEBRUARY)

    outcome = in_bucket.refine(JANUARY, FEBRUARY)

    assert not outcome.success
    assert outcome.message == expected.message
    assert in_bucket.published() == of_folder.published()
    assert in_bucket.quarantined()
    families = ("cpu_utilization", "memory_stats", "storage_usage", "net_throughput")
    partitions = {f"{family}/2024-01.parquet" for family in families}
    assert names_in(telemetry) == {*partitions, *(f"series_months/{name}" for name in partitions)}
    assert partitions_there(in_bucket.settings) == [JANUARY]

    cut.write_bytes(whole)
    plan = make_plan(in_bucket.settings, [[JANUARY, FEBRUARY]])
    assert [str(result.state) for result in plan.results.values()] == ["unchanged", "published"]
    assert partitions_there(in_bucket.settings) == [JANUARY]
    written = telemetry_store(telemetry).look("cpu_utilization/2024-01.parquet")
    again = in_bucket.refine(JANUARY, FEBRUARY)
    assert again.success
    assert telemetry_store(telemetry).look("cpu_utilization/2024-01.parquet") == written
    assert partitions_there(in_bucket.settings) == [JANUARY, FEBRUARY]
    assert not telemetry_store(telemetry).path_of("").exists()


def test_a_partition_in_an_object_store_is_loaded_as_a_frame(in_bucket: Sandbox, telemetry: ObjectPrefix) -> None:
    assert in_bucket.materialize(["legacy_feed", "cpu_utilization"], JANUARY).success

    frame = build_defs(in_bucket.settings).load_asset_value(
        "cpu_utilization", partition_key="2024-01", python_type=pl.DataFrame
    )

    partition = Partition(telemetry, CPU, JANUARY)
    assert frame.height == partition.stats().landed + partition.stats().imputed > 0


def test_a_damaged_partition_in_an_object_store_is_named_and_made_anew(
    in_bucket: Sandbox, telemetry: ObjectPrefix
) -> None:
    assert in_bucket.refine(JANUARY).success
    store, partition = telemetry_store(telemetry), Partition(telemetry, CPU, JANUARY)
    whole = store.read_back(partition.name)
    store.write(partition.name, whole[:4] + b"\0" * 2_000 + whole[2_004:])

    refused = in_bucket.materialize(["processed_data"], JANUARY, force=True)

    assert f"{telemetry}/cpu_utilization/2024-01.parquet" in refused.message
    assert partition.refusal is not None
    assert in_bucket.refine(JANUARY).success
    assert partition.refusal is None
    assert store.read_back(partition.name) == whole


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


def test_a_server_that_dies_while_partitions_are_written_leaves_what_was_published(
    in_bucket: Sandbox, telemetry: ObjectPrefix, object_store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert in_bucket.refine(JANUARY).success
    before = in_bucket.published()
    port = urlsplit(object_store).port
    assert port is not None
    in_bucket.edit_line(CPU, JANUARY, 2, in_bucket.lines(CPU, JANUARY)[1].replace(",", ",", 1))
    with Relay(port, asked_left=30_000) as relay:
        monkeypatch.setenv("AWS_ENDPOINT_URL", relay.url)
        outcome = in_bucket.refine(JANUARY, FEBRUARY, force=True)
    monkeypatch.setenv("AWS_ENDPOINT_URL", object_store)

    assert not outcome.success
    assert f"{relay.url} was tried" in outcome.message
    assert f"{telemetry}/" in outcome.message
    assert "could not be written" in outcome.message
    assert in_bucket.published() == before

    assert in_bucket.refine(JANUARY, FEBRUARY).success
    assert len(in_bucket.processed()) > len(before[0])


def test_a_server_that_is_gone_when_months_are_published_fails_the_step_and_blames_no_month(
    in_bucket: Sandbox, telemetry: ObjectPrefix, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert in_bucket.refine(JANUARY).success
    before = in_bucket.published()
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")

    outcome = in_bucket.materialize(["processed_data"], JANUARY, force=True)

    assert "http://127.0.0.1:9 was tried 5 times and did not answer" in outcome.message
    assert "\n" not in outcome.message
    assert outcome.failed_checks == set()
    assert in_bucket.published() == before
