"""Writers of one lake that are killed while others write."""

from __future__ import annotations

from pathlib import Path

import pytest

from refinery_assets_tests.lake_crashes import crash, make_harness
from refinery_assets_tests.lakes import Postgres

pytestmark = [pytest.mark.lake, pytest.mark.heavy, pytest.mark.slow]


def test_writers_killed_at_any_instant_leave_each_month_old_or_new_and_no_file_that_nobody_knows(
    postgres: Postgres, tmp_path: Path
) -> None:
    harness = make_harness(tmp_path, postgres, months=3, hosts=12, seed=7)

    found = crash(harness, kills=10, gap=2.0)

    assert found["killed"] == 10
    assert found["looks"] >= 12
    # One of them after the last kill, when nobody wrote any more.
    assert found["maintained"] == 2
    assert found["deleted among writers"] > 0
    assert found["files before the last maintenance"] > found["files left, all known"] > 0
