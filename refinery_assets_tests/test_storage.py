"""Dagster's storage: many processes may be the first to open a new home."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from refinery_assets.contract.settings import PROJECT_ROOT

AT_ONCE = 4
# One process loads Dagster, and divides itself before anything is opened.
OPEN = f"""
import os, sys
import dagster as dg

begin, begun = os.pipe()
children = []
for _ in range({AT_ONCE}):
    if not (child := os.fork()):
        os.close(begun)
        os.read(begin, 1)
        with dg.DagsterInstance.get() as instance:
            assert instance.get_runs() == []
            assert instance.all_instigator_state() == []
        sys.exit()
    children.append(child)
# What they wait for ends for all of them at once.
os.close(begun)
ended = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
print(ended)
"""


@pytest.mark.slow
@pytest.mark.heavy
def test_a_new_home_may_be_opened_by_many_processes_at_once(tmp_path: Path) -> None:
    shutil.copy(PROJECT_ROOT / "data" / "dagster" / "dagster.yaml", tmp_path)
    opened = subprocess.run(
        [sys.executable, "-c", OPEN],
        env=os.environ | {"DAGSTER_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert opened.stdout == f"{[0] * AT_ONCE}\n", opened.stderr
