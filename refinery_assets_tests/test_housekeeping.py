"""Runs whose process was killed, and runs that nobody needs any more, on a Dagster home of its own."""

from __future__ import annotations

import os
import signal
from datetime import UTC, datetime, timedelta

import dagster as dg
import duckdb
import pytest

from refinery_assets.assets.resources import WAREHOUSE_POOL
from refinery_assets.build import build_defs
from refinery_assets.operations.alerts import describe_failure
from refinery_assets.operations.housekeeping import HOUSEKEEPING, delete_superseded_runs, end_dead_runs
from refinery_assets_tests.installation import Installation
from refinery_assets_tests.scenario import FEBRUARY, JANUARY, GivenPublished, Sandbox

pytestmark = pytest.mark.slow

TOMORROW = datetime.now(UTC) + timedelta(days=1)


def checks_of(sandbox: Sandbox) -> list[dg.AssetCheckKey]:
    return list(build_defs(sandbox.settings).resolve_asset_graph().asset_check_keys)


def places_taken(instance: dg.DagsterInstance) -> int:
    return instance.event_log_storage.get_concurrency_info(WAREHOUSE_POOL).active_slot_count


def test_a_killed_run_gives_its_place_in_the_pool_to_the_next_one(
    installation: Installation, given_published: GivenPublished
) -> None:
    given_published(FEBRUARY)
    holder = duckdb.connect(installation.settings.warehouse)
    run = installation.launch("--job", "refine", "--partition", "2024-02")
    try:
        with installation.instance() as instance:
            # The run waits for the warehouse that this process holds, in its place of the pool.
            while not places_taken(instance):
                assert run.poll() is None
            os.killpg(run.pid, signal.SIGKILL)
            run.communicate()
            assert [each.status for each in instance.get_runs()] == [dg.DagsterRunStatus.STARTED]
            assert places_taken(instance) == 1
    finally:
        holder.close()

    with installation.sandbox() as sandbox:
        assert sandbox.materialize(["processed_data"], FEBRUARY).success

        later, killed = sandbox.instance.get_runs()
        assert (killed.status, later.status) == (
            dg.DagsterRunStatus.FAILURE,
            dg.DagsterRunStatus.SUCCESS,
        )
        assert places_taken(sandbox.instance) == 0
        alert = describe_failure(sandbox.instance, killed)
        assert alert["months"] == "2024-02"
        assert alert["problems"] == ["The process of this run is gone; it was killed."]


def test_a_run_that_lives_and_a_run_that_ended_are_left_alone(installation: Installation) -> None:
    with installation.sandbox() as sandbox:
        assert sandbox.materialize(["legacy_feed"], JANUARY).success
        seen = []

        @dg.op
        def look() -> None:
            seen.append(end_dead_runs(sandbox.instance))

        @dg.job(executor_def=dg.in_process_executor)
        def looking() -> None:
            look()

        assert looking.execute_in_process(instance=sandbox.instance).success

        assert seen == [[]]
        assert {run.status for run in sandbox.instance.get_runs()} == {dg.DagsterRunStatus.SUCCESS}


@pytest.mark.heavy
def test_runs_that_later_ones_have_superseded_are_deleted_and_no_month_is_forgotten(
    installation: Installation, given_published: GivenPublished
) -> None:
    given_published(JANUARY, FEBRUARY)
    with installation.sandbox() as sandbox:
        first, refused, second, third = (
            sandbox.materialize(["processed_data"], *months).run_id
            for months in ((JANUARY, FEBRUARY), (FEBRUARY.next,), (JANUARY,), (FEBRUARY,))
        )
        instance = sandbox.instance
        months = instance.get_materialized_partitions(dg.AssetKey("processed_data"))

        deleted = delete_superseded_runs(instance, checks_of(sandbox), TOMORROW, 10)

        assert deleted == [first]
        # The refused month's checks would else show as never evaluated.
        assert {run.run_id for run in instance.get_runs()} == {refused, second, third}
        assert instance.get_materialized_partitions(dg.AssetKey("processed_data")) == months
        left = {path.stem for path in (installation.home / "history" / "runs").glob("*-*.db")}
        assert left == {refused, second, third}


def test_recent_runs_stay_and_a_tick_deletes_no_more_than_it_may(installation: Installation) -> None:
    with installation.sandbox() as sandbox:
        runs = [sandbox.materialize(["legacy_feed"], JANUARY).run_id for _ in range(3)]
        yesterday = datetime.now(UTC) - timedelta(days=1)

        assert delete_superseded_runs(sandbox.instance, checks_of(sandbox), yesterday, 10) == []
        assert delete_superseded_runs(sandbox.instance, checks_of(sandbox), TOMORROW, 1) == runs[:1]


def test_the_last_evaluation_of_a_check_stays(installation: Installation, given_published: GivenPublished) -> None:
    given_published(JANUARY)
    with installation.sandbox() as sandbox:
        published = sandbox.materialize(["processed_data"], JANUARY).run_id
        audited = sandbox.audit().run_id

        assert delete_superseded_runs(sandbox.instance, checks_of(sandbox), TOMORROW, 10) == []
        assert {run.run_id for run in sandbox.instance.get_runs()} == {published, audited}


def test_the_sensor_does_both_and_starts_nothing(installation: Installation) -> None:
    with installation.sandbox() as sandbox:
        sandbox.materialize(["legacy_feed"], JANUARY)
        defs = build_defs(sandbox.settings)
        sensor = defs.resolve_sensor_def(HOUSEKEEPING)
        with dg.build_sensor_context(sandbox.instance, repository_def=defs.get_repository_def()) as context:
            data = sensor.evaluate_tick(context)

    assert data.run_requests == []
    assert data.skip_message == (
        "Ended 0 runs whose process was gone, deleted 0 superseded runs, found 0 broken sensors, settled 0 backfills."
    )
