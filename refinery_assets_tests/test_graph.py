"""The graph as Dagster holds it: what a run over the small fleet leaves behind."""

from __future__ import annotations

import pytest

from refinery_assets_tests.scenario import FEBRUARY, JANUARY, MARCH, Sandbox, asset_and_check


@pytest.mark.slow
def test_three_months_are_refined_in_one_run(sandbox: Sandbox) -> None:
    outcome = sandbox.refine(JANUARY, FEBRUARY, MARCH)

    assert outcome.failures == {}
    assert outcome.success
    assert {name: outcome.verdict(*asset_and_check(name)) for name in outcome.checks} == dict.fromkeys(
        outcome.checks, "passed"
    )
    assert sandbox.query("SELECT count(*) FROM processed_data") == [(4 * 20 * (31 + 29 + 31),)]
