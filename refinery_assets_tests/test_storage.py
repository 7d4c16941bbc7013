"""Dagster's storage: many processes may be the first to open a new home."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from refinery_assets.contract.settings import PROJECT_ROOT
from refinery_assets_tests.together import begin_together

OPEN = """
import sys
import dagster as dg

print("ready", flush=True)
sys.stdin.readline()
with dg.DagsterInstance.get() as instance:
    assert instance.get_runs() == []
    assert instance.all_instigator_state() == []
"""
AT_ONCE = 4


@pytest.mark.slow
def test_a_new_home_may_be_opened_by_many_processes_at_once(tmp_path: Path) -> None:
    shutil.copy(PROJECT_ROOT / "data" / "dagster" / "dagster.yaml", tmp_path)
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", OPEN],
            env=os.environ | {"DAGSTER_HOME": str(tmp_path)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for _ in range(AT_ONCE)
    ]
    begin_together(processes)
    said = [process.communicate(timeout=60)[0] for process in processes]

    assert [process.returncode for process in processes] == [0] * AT_ONCE, said
