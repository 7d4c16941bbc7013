"""`make demo`'s path on a small fleet: the module as a process of its own, as make starts it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest

from refinery_assets.contract.families import FAMILIES
from refinery_assets.contract.months import Month
from refinery_assets.feed.files import FeedFile
from refinery_assets.sample.demo import DemoError, SampleOrder, ensure_sample

MARCH = Month(2024, 3)


def run_demo(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    home = folder / "dagster"
    home.mkdir(parents=True, exist_ok=True)
    arguments = ["--folder", str(folder), "--first", "2024-01", "--last", "2024-03", *options]
    return subprocess.run(
        [sys.executable, "-m", "refinery_assets.sample.demo", *arguments],
        env=os.environ | {"DAGSTER_HOME": str(home)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_failed_check_ends_the_demo_with_an_error_and_is_shown(tmp_path: Path) -> None:
    assert run_demo(tmp_path, "--hosts", "20").returncode == 0
    cut = FeedFile(tmp_path / "legacy" / "inputs", FAMILIES[0], MARCH).path
    cut.write_bytes(cut.read_bytes()[:-5])

    demo = run_demo(tmp_path, "--hosts", "20")

    assert demo.returncode == 1
    (shown,) = [line for line in demo.stdout.splitlines() if "fragmentation_complete" in line]
    assert "error" in shown
    assert "failed in" in demo.stdout


def test_somebody_elses_feed_is_never_replaced_by_the_sample(tmp_path: Path) -> None:
    theirs = FeedFile(tmp_path / "legacy" / "inputs", FAMILIES[0], MARCH).path
    theirs.parent.mkdir(parents=True)
    theirs.write_text("date,host_id,cpu_p95,max_cores\n")

    with pytest.raises(DemoError, match="did not make"):
        ensure_sample(tmp_path, SampleOrder(20, "2024-01", "2024-03"))

    assert theirs.read_text() == "date,host_id,cpu_p95,max_cores\n"


def test_too_few_hosts_are_refused_in_one_sentence(tmp_path: Path) -> None:
    demo = run_demo(tmp_path, "--hosts", "9")

    assert demo.returncode == 2
    assert "Traceback" not in demo.stderr
    assert "10" in demo.stderr.splitlines()[-1]


def test_the_demo_refines_the_sample_in_one_run_and_prints_the_audit(tmp_path: Path) -> None:
    demo = run_demo(tmp_path, "--hosts", "20")

    assert demo.returncode == 0, demo.stderr
    rows = 4 * 20 * (31 + 29 + 31)
    assert f"Published: {rows:,} rows in 3 months, 0 of them imputed; 0 rows quarantined." in demo.stdout
    assert "behavioral_retention" in demo.stdout
    assert "CAPACITY_BREACH/SEVERE" in demo.stdout
    with duckdb.connect(tmp_path / "refinery.duckdb", read_only=True) as connection:
        assert connection.execute("SELECT count(*) FROM processed_data").fetchall() == [(rows,)]


def test_a_sample_that_is_there_is_kept_and_another_order_replaces_it(tmp_path: Path) -> None:
    order = SampleOrder(20, "2024-01", "2024-03")
    file = FeedFile(ensure_sample(tmp_path, order).feed, FAMILIES[0], MARCH).path
    made = file.stat()

    ensure_sample(tmp_path, order)
    assert file.stat() == made

    ensure_sample(tmp_path, SampleOrder(30, "2024-01", "2024-03"))
    assert file.read_bytes().count(b"\n") == 30 * 31 + 1


def test_an_interrupted_sample_is_made_anew(tmp_path: Path) -> None:
    order = SampleOrder(20, "2024-01", "2024-03")
    settings = ensure_sample(tmp_path, order)
    file = FeedFile(settings.feed, FAMILIES[0], MARCH).path
    whole = file.read_bytes()
    file.unlink()

    ensure_sample(tmp_path, order)

    assert file.read_bytes() == whole
