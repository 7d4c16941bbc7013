"""A plan says what a run then does, and leaves no trace."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from refinery_assets.contract.months import Month
from refinery_assets.contract.packaged import FAMILIES
from refinery_assets.warehouse.audits import _counts
from refinery_assets.warehouse.month_state import State
from refinery_assets.warehouse.plan import Plan, make_plan
from refinery_assets.warehouse.storage import WarehouseHeldError
from refinery_assets_tests.changes import ALL, Changes
from refinery_assets_tests.scenario import CPU, FEBRUARY, JANUARY, MARCH, MEMORY, GivenPublished, Outcome, Sandbox

APRIL = Month(2024, 4)


def plan_of(sandbox: Sandbox, *months: Month) -> Plan:
    return make_plan(sandbox.settings, [list(Month.span(min(months), max(months)))])


def everything_on_disk(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_held_warehouse_without_a_read_copy_is_said(sandbox: Sandbox) -> None:
    settings = replace(sandbox.settings, read_copy=None)
    # The lock of another process: a process does not lock itself out.
    with (
        warehouse_held(settings.warehouse),
        pytest.raises(WarehouseHeldError, match="is being written to, and there is no"),
    ):
        make_plan(settings, [[JANUARY]])


@pytest.mark.slow
def test_while_a_run_holds_the_warehouse_the_read_copy_is_compared_with(
    sandbox: Sandbox, given_published: GivenPublished
) -> None:
    given_published(JANUARY)
    with warehouse_held(sandbox.settings.warehouse):
        plan = plan_of(sandbox, JANUARY)
    assert plan.compared_with == sandbox.settings.read_copy
    assert plan.results[JANUARY].state is State.UNCHANGED


def test_without_a_warehouse_every_month_would_be_refused(sandbox: Sandbox) -> None:
    sandbox.settings.warehouse.unlink()
    plan = plan_of(sandbox, JANUARY)
    failed = [verdict for verdict in plan.results[JANUARY].verdicts if verdict.failed]
    assert plan.results[JANUARY].state is State.REFUSED
    assert "is not there; load the inventory into it" in failed[0].sentence
    assert not sandbox.settings.warehouse.exists()


def test_a_plan_leaves_no_trace(sandbox: Sandbox, given_published: GivenPublished, tmp_path: Path) -> None:
    given_published(JANUARY)
    sandbox.edit_line(CPU, JANUARY, 2, sandbox.lines(CPU, JANUARY)[2])
    sandbox.write_bytes(MEMORY, FEBRUARY, b"")
    before, runs = everything_on_disk(tmp_path), sandbox.instance.get_run_records()
    plan = plan_of(sandbox, *ALL)
    assert [result.state for result in plan.results.values()] == [State.PUBLISHED, State.REFUSED, State.PUBLISHED]
    assert everything_on_disk(tmp_path) == before
    assert sandbox.instance.get_run_records() == runs


@pytest.mark.slow
def test_a_plan_tells_series_and_hosts_that_come_and_go(sandbox: Sandbox, given_published: GivenPublished) -> None:
    given_published(JANUARY)
    ((gone, new),) = sandbox.query("SELECT min(node_name), max(node_name) FROM hosts")
    for family in FAMILIES:
        lines = sandbox.lines(family, JANUARY)
        sandbox.write_lines(family, JANUARY, [line.replace(f",{gone},", ",late-comer,") for line in lines])
    sandbox.execute(
        "INSERT INTO hosts SELECT * REPLACE ('late-comer' AS node_name) FROM hosts WHERE node_name = ?", [new]
    )
    loose = replace(sandbox.settings, max_loss=1.0)
    difference = make_plan(loose, [[JANUARY]]).results[JANUARY].difference
    assert difference is not None
    assert (difference.new_hosts, difference.hosts_new) == (1, ["late-comer"])
    assert (difference.gone_hosts, difference.hosts_gone) == (1, [gone])
    assert (difference.series_added, difference.series_removed) == (len(FAMILIES), len(FAMILIES))


@pytest.mark.slow
def test_a_month_that_nothing_has_changed_for_is_planned_as_unchanged(
    sandbox: Sandbox, given_published: GivenPublished
) -> None:
    given_published(*ALL)
    assert {result.state for result in plan_of(sandbox, *ALL).results.values()} == {State.UNCHANGED}


def test_months_that_are_not_exported_yet_are_left_out(sandbox: Sandbox) -> None:
    assert plan_of(sandbox, MARCH, APRIL).left_out == [APRIL]


@pytest.mark.slow
def test_what_is_planned_is_what_the_run_does(sandbox: Sandbox) -> None:
    compare_plans_with_runs(sandbox, random.Random(0), changes=4)  # noqa: S311 - nothing secret


@pytest.mark.heavy
@pytest.mark.slow
@pytest.mark.parametrize("seed", [101])
def test_what_is_planned_is_what_the_run_does_over_many_changes(sandbox: Sandbox, seed: int) -> None:
    states = compare_plans_with_runs(sandbox, random.Random(seed), changes=70)  # noqa: S311 - nothing secret
    assert states == set(State)


def compare_plans_with_runs(sandbox: Sandbox, chance: random.Random, changes: int) -> set[State]:
    """Change a little, plan, run and compare, until so many changes are made; gives the states that months had."""
    feed = Changes(sandbox, chance)
    made, states = 0, set()
    while made < changes:
        applied = [chance.choice(feed.kinds())() for _ in range(chance.choice((1, 2, 4, 6)))]
        made += len(applied)
        first, last = sorted(chance.choices([*ALL, APRIL], weights=(3, 3, 3, 1), k=2))
        months = list(Month.span(first, last))
        plan = make_plan(sandbox.settings, [months])
        outcome = sandbox.refine(*months)
        assert planned(plan, sandbox) == done(sandbox, outcome, plan), f"after {applied}, {first} to {last}"
        states |= {result.state for result in plan.results.values()}
    return states


def planned(plan: Plan, sandbox: Sandbox) -> dict[str, object]:
    """What a plan says, in the shape of `done`."""
    found: dict[str, object] = {}
    for month, result in plan.results.items():
        receipt = result.receipt if result.state is State.PUBLISHED else None
        checks = {
            f"{verdict.asset} {verdict.check}": (
                str(verdict.outcome),
                _placeless(verdict.finding.message, sandbox),
                json.loads(json.dumps(_counts(verdict.finding))),
            )
            for verdict in result.verdicts
        }
        found[str(month)] = (
            str(result.state),
            receipt
            and (
                receipt.rows,
                receipt.imputed,
                receipt.quarantined,
                receipt.rows_added,
                receipt.rows_removed,
                receipt.rows_changed,
                receipt.input_digest,
                receipt.table_digest,
            ),
            checks,
        )
    return found


def done(sandbox: Sandbox, outcome: Outcome, plan: Plan) -> dict[str, object]:
    """What a run did: state, receipt, and what every check said, of each month."""
    receipts = {
        month: tuple(fields)
        for month, *fields in sandbox.query(
            "SELECT month, rows, imputed, quarantined, rows_added, rows_removed, rows_changed, input_digest, "
            "table_digest FROM publications WHERE run_id = ?",
            [outcome.run_id],
        )
    }
    checks: dict[str, dict[str, object]] = {}
    stands: dict[str, bool] = {}
    for month, asset, check, verdict, summary, counts, published_at in sandbox.query(
        "SELECT month, asset, check_name, verdict, summary, counts, published_at FROM audits WHERE run_id = ?",
        [outcome.run_id],
    ):
        checks.setdefault(month, {})[f"{asset} {check}"] = (verdict, _placeless(summary, sandbox), json.loads(counts))
        stands[month] = published_at is not None
    assert outcome.success == all(stands[month] for month in checks)
    assert checks.keys().isdisjoint(map(str, plan.left_out))
    return {
        month: (
            "published" if month in receipts else "unchanged" if stands[month] else "refused",
            receipts.get(month),
            checks[month],
        )
        for month in checks
    }


def _placeless(text: str, sandbox: Sandbox) -> str:
    """The text without the place of partitions, which differs."""
    return text.replace(str(sandbox.settings.telemetry), "<telemetry>")


HOLD = """
import sys, duckdb
connection = duckdb.connect(sys.argv[1])
print("held", flush=True)
sys.stdin.read()
"""


@contextmanager
def warehouse_held(warehouse: Path) -> Iterator[int]:
    """Another process that has the warehouse open for writing; gives its id."""
    command = [sys.executable, "-c", HOLD, str(warehouse)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process.pid
        process.communicate()
