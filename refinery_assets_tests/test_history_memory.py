"""What is remembered for the pictures from run to run: what still holds, and nothing else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest

from refinery_assets.assets import reports
from refinery_assets.contract.families import FAMILIES, LEGACY_FEED, PROCESSED_DATA
from refinery_assets.reports import history_read
from refinery_assets.reports.charts import PICTURES
from refinery_assets.reports.history import Basis, History
from refinery_assets.reports.history_memory import recall
from refinery_assets.reports.history_read import read_basis, read_history
from refinery_assets.warehouse.fleet import name_fleet
from refinery_assets_tests.scenario import CPU, FEBRUARY, JANUARY, MARCH, Sandbox


def memory_of(sandbox: Sandbox) -> Path:
    return sandbox.settings.reports / "history.json"


def remembered(sandbox: Sandbox) -> dict[str, Any]:
    entries: dict[str, Any] = json.loads(memory_of(sandbox).read_text())
    return entries


def falsify(sandbox: Sandbox, month: str) -> None:
    """Write a number of readings that no run would find, to see later whether it was read anew."""
    entries = remembered(sandbox)
    entries[month]["figures"]["readings"]["0"] = 1
    memory_of(sandbox).write_text(json.dumps(entries))


def is_false(sandbox: Sandbox, month: str) -> bool:
    return bool(remembered(sandbox)[month]["figures"]["readings"]["0"] == 1)


def histories(sandbox: Sandbox) -> tuple[History, History]:
    """The history with the help of the memory, and without."""
    with duckdb.connect(sandbox.settings.warehouse, read_only=True) as connection:
        name_fleet(connection)
        basis = read_basis(connection)
        known = recall(memory_of(sandbox), connection, basis, [])
        assert set(known) == set(basis.months)
        return read_history(connection, basis, known).history, read_history(connection, basis).history


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\xfe",
        b"[]",
        b"null",
        b'{"2024-01": null}',
        b'{"2024-01": {"stamp": "", "figures": {}}}',
        b'{"2024-01": {"stamp": "", "figures": {"newest": 1, "readings": {"0": []}, "spread": {}}}}',
        b'{"2024-01": {"stamp": "", "figures": {"newest": 1, "readings": {}, "spread": {"0": [["x"]]}}}}',
        b'{"May": {"stamp": "", "figures": {"newest": 1, "readings": {}, "spread": {}}}}',
    ],
)
def test_a_memory_that_cannot_be_read_recalls_nothing(tmp_path: Path, content: bytes) -> None:
    memory = tmp_path / "history.json"
    memory.write_bytes(content)
    basis = Basis([JANUARY], only_wednesdays=False, hosts={}, fleet=0)

    with duckdb.connect() as connection:
        assert recall(memory, connection, basis, []) == {}


def test_a_memory_that_cannot_be_read_is_made_anew(sandbox: Sandbox) -> None:
    assert sandbox.refine(JANUARY, FEBRUARY).success
    whole = remembered(sandbox)
    memory_of(sandbox).write_bytes(b"{")

    assert sandbox.refine(FEBRUARY).success

    assert remembered(sandbox)["2024-01"] == whole["2024-01"]


def test_months_that_were_refused_are_neither_shown_nor_remembered(sandbox: Sandbox) -> None:
    assert sandbox.refine(JANUARY).success
    kept = remembered(sandbox)
    pictures = [(sandbox.settings.reports / f"{name}.png").read_bytes() for name in PICTURES]
    sandbox.execute("UPDATE hosts SET node_name = 'renamed' WHERE node_name = 'srv-00001'")

    assert not sandbox.refine(FEBRUARY).success

    assert remembered(sandbox) == kept
    assert [(sandbox.settings.reports / f"{name}.png").read_bytes() for name in PICTURES] == pictures


def test_a_drawing_process_that_dies_leaves_the_month_published(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reports, "_DRAWING", "import refinery_assets.no_such_module")

    outcome = sandbox.refine(JANUARY)

    assert outcome.success
    assert sandbox.processed()
    told = [entry.user_message for entry in sandbox.instance.all_logs(outcome.run_id)]
    assert any("the drawing process ended with status 1" in message for message in told)


def test_other_behaviors_in_the_inventory_have_all_months_read_again(sandbox: Sandbox) -> None:
    assert sandbox.refine(JANUARY, FEBRUARY).success
    falsify(sandbox, "2024-01")
    # The other host of its behaviour stays, so that none is missing.
    sandbox.execute(
        "UPDATE hosts SET variant = 'EXTREME' WHERE node_name = "
        "(SELECT min(node_name) FROM hosts WHERE scenario = 'BURST' AND variant = 'MODERATE')"
    )

    assert sandbox.refine(MARCH).success

    assert not is_false(sandbox, "2024-01")


def test_a_month_published_by_somebody_else_is_read_again(sandbox: Sandbox) -> None:
    assert sandbox.refine(JANUARY, FEBRUARY).success
    falsify(sandbox, "2024-01")
    sandbox.execute("UPDATE audits SET published_at = now()::TIMESTAMP WHERE month = '2024-01'")

    assert sandbox.refine(MARCH).success

    assert not is_false(sandbox, "2024-01")


def test_a_run_over_one_month_reads_no_other_month(sandbox: Sandbox) -> None:
    assert sandbox.refine(JANUARY, FEBRUARY).success
    falsify(sandbox, "2024-01")
    falsify(sandbox, "2024-02")

    assert sandbox.refine(FEBRUARY).success

    assert is_false(sandbox, "2024-01")
    assert not is_false(sandbox, "2024-02")


def test_what_is_remembered_is_what_the_table_says(sandbox: Sandbox) -> None:
    sandbox.edit_line(CPU, FEBRUARY, 2, "not,a,row")
    for month in (MARCH, JANUARY, FEBRUARY):
        assert sandbox.materialize(
            [LEGACY_FEED, *(family.name for family in FAMILIES), PROCESSED_DATA], month
        ).success

    recalled, read = histories(sandbox)

    assert_same(recalled, read)


def test_a_history_read_some_months_at_a_time_is_the_same(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert sandbox.refine(JANUARY, MARCH).success
    _, whole = histories(sandbox)
    monkeypatch.setattr(history_read, "_MONTHS_AT_ONCE", 2)

    _, in_pieces = histories(sandbox)

    assert_same(in_pieces, whole)


def assert_same(recalled: History, read: History) -> None:
    assert recalled.months == read.months == ["2024-01", "2024-02", "2024-03"]
    assert (recalled.coverage == read.coverage).all()
    assert recalled.bands.keys() == read.bands.keys()
    for behavior, band in read.bands.items():
        for line in ("days", "low", "middle", "high"):
            assert np.array_equal(getattr(recalled.bands[behavior], line), getattr(band, line))
