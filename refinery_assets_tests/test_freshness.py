"""`processed_data` turns stale when the daily run did not come; judged by Dagster's own evaluator."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import dagster as dg
import pytest
from dagster._core.definitions.freshness import FreshnessState
from dagster._core.definitions.freshness_evaluator import CronFreshnessPolicyEvaluator
from dagster._core.loader import LoadingContext
from dagster._time import get_current_datetime

from refinery_assets.build import build_defs
from refinery_assets_tests.scenario import JANUARY, Sandbox


class Loading(LoadingContext):
    """What the evaluator reads events through."""

    def __init__(self, instance: dg.DagsterInstance) -> None:
        self._instance = instance
        self._loaders: dict[object, object] = {}

    @property
    def instance(self) -> dg.DagsterInstance:
        return self._instance

    @property
    def loaders(self) -> dict[object, object]:  # type: ignore[override]
        return self._loaders


def state_at(sandbox: Sandbox, moment: datetime, monkeypatch: pytest.MonkeyPatch) -> FreshnessState:
    """What the daemon would make of the asset at some moment."""
    monkeypatch.setattr(
        "dagster._core.definitions.freshness_evaluator.get_current_datetime",
        lambda _timezone=None: moment,
    )
    node = build_defs(sandbox.settings).resolve_asset_graph().get(dg.AssetKey("processed_data"))
    return asyncio.run(CronFreshnessPolicyEvaluator().evaluate_freshness(Loading(sandbox.instance), node))


@pytest.fixture
def published_at(sandbox: Sandbox) -> datetime:
    assert sandbox.refine(JANUARY).success
    return get_current_datetime()


def test_what_was_never_published_is_neither_fresh_nor_stale(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    assert state_at(sandbox, datetime.now(UTC), monkeypatch) is FreshnessState.UNKNOWN


def test_the_table_turns_stale_two_hours_after_a_daily_run_that_did_not_come(
    sandbox: Sandbox, published_at: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The next six o'clock whose run does not come.
    missed = published_at.replace(hour=6, minute=0, second=0, microsecond=0)
    if missed <= published_at:
        missed += timedelta(days=1)

    assert state_at(sandbox, missed + timedelta(hours=1, minutes=59), monkeypatch) is FreshnessState.PASS
    assert state_at(sandbox, missed + timedelta(hours=2, minutes=1), monkeypatch) is FreshnessState.FAIL


def test_a_publication_makes_it_fresh_again(
    sandbox: Sandbox, published_at: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    days_later = published_at + timedelta(minutes=1)

    assert state_at(sandbox, days_later, monkeypatch) is FreshnessState.PASS
