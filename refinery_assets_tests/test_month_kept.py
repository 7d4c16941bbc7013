"""What must never happen to a month: rows lost in silence, two exports mixed, a lasting refusal."""

from __future__ import annotations

from collections.abc import Sequence

import dagster as dg
import pytest
from dagster._core.storage.partition_status_cache import get_and_update_asset_status_cache_value

from refinery_assets.assets.io_manager import TelemetryIOManager
from refinery_assets.contract.families import LEGACY_FEED
from refinery_assets.contract.months import Month
from refinery_assets.contract.packaged import FAMILIES
from refinery_assets.operations.partitions import monthly_partitions
from refinery_assets.rows.family import refine_file
from refinery_assets.warehouse import candidates, gate
from refinery_assets.warehouse.family_partitions import Partition
from refinery_assets.warehouse.ledger import StepRecord
from refinery_assets.warehouse.month_state import State
from refinery_assets_tests.inventories import publish_months
from refinery_assets_tests.scenario import CPU, DISK, FEBRUARY, JANUARY, MARCH, GivenPublished, Sandbox

pytestmark = pytest.mark.slow

LOST = ("srv-00001", "srv-00002", "srv-00003")
FAMILY_NAMES = [family.name for family in FAMILIES]


def without_hosts(sandbox: Sandbox, month: Month, hosts: Sequence[str]) -> None:
    for family in FAMILIES:
        kept = [line for line in sandbox.lines(family, month) if line.split(",")[1] not in hosts]
        sandbox.write_lines(family, month, kept)


def with_capacity(sandbox: Sandbox, month: Month, capacity: int) -> None:
    for family in FAMILIES:
        head, *rows = sandbox.lines(family, month)
        sandbox.write_lines(family, month, [head, *(f"{row.rpartition(',')[0]},{capacity}" for row in rows)])


@pytest.mark.parametrize(
    "change",
    [
        "DROP TABLE publications",
        "DELETE FROM series_months",
        "UPDATE publications SET version = 'an older one'",
        "UPDATE processed_data SET y = y / 2 WHERE ds = '2024-02-05' AND resource = 'cpu'",
    ],
)
def test_hosts_that_vanish_from_the_export_are_missed_even_where_no_receipt_can_be_trusted(
    sandbox: Sandbox, given_published: GivenPublished, change: str
) -> None:
    given_published(JANUARY, MARCH)
    sandbox.execute(change)
    before = sandbox.published()
    without_hosts(sandbox, FEBRUARY, LOST)

    result = publish_months(sandbox.settings, FEBRUARY)[FEBRUARY]

    (failed,) = [verdict for verdict in result.verdicts if verdict.failed]
    assert failed.check == "published_rows_kept"
    assert "348 of 2,320 published rows lost" in failed.sentence
    assert sandbox.published() == before


def test_rows_that_were_never_published_are_removed_from_the_table(
    sandbox: Sandbox, given_published: GivenPublished
) -> None:
    given_published(JANUARY, MARCH)
    before = sandbox.published()
    sandbox.execute(
        "INSERT INTO processed_data SELECT * REPLACE ('ghost' AS host_id) FROM processed_data "
        "WHERE host_id = 'srv-00001' AND month(ds) = 2"
    )

    results = sandbox.publish_again(JANUARY, FEBRUARY, MARCH, records={LEGACY_FEED: StepRecord(LEGACY_FEED)})

    assert [month for month, result in results.items() if result.state is State.PUBLISHED] == [FEBRUARY]
    assert sandbox.published() == before


def test_a_host_that_the_inventory_spells_otherwise_by_now_is_the_same_host(
    sandbox: Sandbox, given_published: GivenPublished
) -> None:
    given_published(JANUARY, FEBRUARY)
    sandbox.execute("UPDATE hosts SET node_name = 'SRV-00003' WHERE node_name = 'srv-00003'")

    outcome = sandbox.refine(JANUARY, FEBRUARY)

    assert outcome.success
    assert outcome.verdict("processed_data", "published_rows_kept") == "passed"
    assert sandbox.query("SELECT DISTINCT host_id FROM processed_data WHERE lower(host_id) = 'srv-00003'") == [
        ("SRV-00003",)
    ]


def test_families_refined_one_by_one_do_not_mix_two_exports(sandbox: Sandbox, given_published: GivenPublished) -> None:
    given_published(FEBRUARY)
    before = sandbox.published()
    with_capacity(sandbox, FEBRUARY, 7)
    assert sandbox.materialize(["cpu_utilization"], FEBRUARY).success

    mixed = sandbox.materialize(["processed_data"], FEBRUARY)
    still = sandbox.published()
    together = sandbox.materialize([*FAMILY_NAMES, "processed_data"], FEBRUARY)

    assert "memory_stats_202402.csv is of an older export than others of its month" in mixed.message
    assert still == before
    assert together.success


def test_a_partition_that_another_run_writes_while_it_is_published_refuses_the_month(
    sandbox: Sandbox, given_published: GivenPublished, monkeypatch: pytest.MonkeyPatch
) -> None:
    given_published(JANUARY, FEBRUARY)
    before = sandbox.published()
    scan = gate.scan_partitions

    def scan_then_write(*arguments: object) -> object:
        found = scan(*arguments)  # type: ignore[arg-type]
        with_capacity(sandbox, FEBRUARY, 7)
        manager = TelemetryIOManager(base_dir=str(sandbox.settings.telemetry))
        manager._write_month(refine_file(sandbox.file(CPU, FEBRUARY), sandbox.settings))  # noqa: SLF001
        return found

    monkeypatch.setattr(candidates, "scan_partitions", scan_then_write)
    outcome = sandbox.materialize(["processed_data"], JANUARY, FEBRUARY)

    assert "cpu_utilization_202402.csv was written to while it was published, by another run" in outcome.message
    assert "1 other month is fine" in outcome.message
    assert sandbox.published() == before


def test_a_damaged_partition_is_made_anew_by_the_next_run_but_one(
    sandbox: Sandbox, given_published: GivenPublished
) -> None:
    given_published(FEBRUARY)
    before = sandbox.published()
    path = Partition(sandbox.settings.telemetry, CPU, FEBRUARY).path
    whole = path.read_bytes()
    path.write_bytes(whole[:100] + b"\xff" * 5000 + whole[5100:])
    sandbox.execute("UPDATE processed_data SET y = y / 2 WHERE ds = '2024-02-05' AND resource = 'cpu'")

    refused = sandbox.refine(FEBRUARY)
    healed = sandbox.refine(FEBRUARY)

    assert "materialize" in refused.message
    assert healed.success
    assert sandbox.published() == before


def test_a_report_made_alone_leaves_a_refused_month_red(sandbox: Sandbox) -> None:
    sandbox.file(DISK, FEBRUARY).path.unlink()
    assert not sandbox.refine(JANUARY, FEBRUARY).success

    alone = sandbox.materialize(["monthly_report"], JANUARY, FEBRUARY)

    assert "1 month is still refused; run it again." in alone.message
    months = monthly_partitions(sandbox.settings)
    status = get_and_update_asset_status_cache_value(sandbox.instance, dg.AssetKey("monthly_report"), months)
    assert status is not None
    assert list(status.deserialize_failed_partition_subsets(months).get_partition_keys()) == ["2024-02"]


def test_a_run_that_looks_at_a_part_only_does_not_make_a_published_month_refused(
    sandbox: Sandbox, given_published: GivenPublished
) -> None:
    given_published(FEBRUARY)
    assert sandbox.materialize([LEGACY_FEED], FEBRUARY).success
    assert sandbox.materialize(FAMILY_NAMES, FEBRUARY).success

    assert sandbox.materialize(["monthly_report"], FEBRUARY).success

    report = (sandbox.settings.reports / "2024-02" / "report.md").read_text(encoding="utf-8")
    assert report.startswith("# 2024-02 is published")


def test_publishing_from_partitions_does_not_say_of_the_files_that_they_are_there(sandbox: Sandbox) -> None:
    assert sandbox.materialize(FAMILY_NAMES, FEBRUARY).success
    for family in FAMILIES:
        sandbox.file(family, FEBRUARY).path.unlink()

    outcome = sandbox.materialize(["processed_data"], FEBRUARY)

    assert outcome.success
    assert sandbox.query(
        "SELECT check_name, verdict FROM audits WHERE asset = 'legacy_feed' AND published_at IS NOT NULL ORDER BY ALL"
    ) == [("fragmentation_complete", "passed")]
    assert "legacy_feed.source_files_present" not in outcome.checks


def test_views_follow_the_inventory_although_no_month_has_changed(
    sandbox: Sandbox, given_published: GivenPublished
) -> None:
    given_published(FEBRUARY)
    sandbox.execute("ALTER TABLE hosts DROP COLUMN region")

    results = sandbox.publish_again(FEBRUARY, records={LEGACY_FEED: StepRecord(LEGACY_FEED)})

    assert results[FEBRUARY].state is State.UNCHANGED
    assert sandbox.query("SELECT DISTINCT region FROM forecast_panel") == [(None,)]
