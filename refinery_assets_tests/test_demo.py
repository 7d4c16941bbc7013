"""`make demo`'s path on a small fleet: once in a process of its own, as make starts it, else in this one."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import chdir
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import pytest
from typer.testing import CliRunner, Result

from refinery_assets.checks.rules import counted
from refinery_assets.cli import app
from refinery_assets.contract.months import Month
from refinery_assets.contract.packaged import FAMILIES
from refinery_assets.contract.settings import PROJECT_ROOT, Settings
from refinery_assets.feed.files import FeedFile
from refinery_assets.sample.demo_folder import DemoError, DemoFolder, SampleOrder
from refinery_assets_tests.test_plan import warehouse_held

MARCH = Month(2024, 3)
ORDER = SampleOrder(20, "2024-01", "2024-03")
LARGER = SampleOrder(30, "2024-01", "2024-03")


def arguments(folder: Path, options: Sequence[str]) -> list[str]:
    return ["demo", "--folder", str(folder), "--first", "2024-01", "--last", "2024-03", *options]


def run_demo(folder: Path, *options: str) -> Result:
    """The command in this process, in a folder that no path it prints is relative to; it takes its own Dagster home."""
    with tempfile.TemporaryDirectory() as elsewhere, chdir(elsewhere):
        return CliRunner().invoke(app, arguments(folder, options), env={"DAGSTER_HOME": None})


def start_demo(folder: Path, *options: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "refinery_assets.cli", *arguments(folder, options)],
        cwd=PROJECT_ROOT,
        env=os.environ | variables,
        capture_output=True,
        text=True,
        check=False,
    )


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def cpu_of_march(folder: Path) -> Path:
    return FeedFile(folder / "legacy" / "inputs", FAMILIES[0], MARCH).path


def query(folder: Path, sql: str) -> list[tuple[Any, ...]]:
    with duckdb.connect(folder / "refinery.duckdb", read_only=True) as connection:
        return connection.execute(sql).fetchall()


# What is refused.


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (
            ("--first", "2025-01", "--last", "2024-01"),
            "the last month, 2024-01, lies before the first, 2025-01.",
        ),
        (("--hosts", "9"), "each of the ten behaviors must have a host."),
        (("--first", "2024-13"), "'2024-13' is not a month; expected YYYY-MM, such as 2024-05."),
    ],
)
def test_a_bad_argument_is_refused_in_one_sentence_and_the_demo_stays_as_it_was(
    tmp_path: Path, options: tuple[str, ...], sentence: str
) -> None:
    DemoFolder(tmp_path).prepare(ORDER)
    before = contents(tmp_path)

    demo = run_demo(tmp_path, "--hosts", "20", *options)

    assert demo.exit_code == 2
    assert demo.stderr.splitlines()[-1].endswith(sentence)
    assert "Traceback" not in demo.stderr
    assert contents(tmp_path) == before


@pytest.mark.parametrize("name", ["legacy/inputs/2024/03/cpu_utilization_202403.csv", "refinery.duckdb", "demo.env"])
def test_a_file_that_the_demo_did_not_write_is_named_and_kept(tmp_path: Path, name: str) -> None:
    theirs = tmp_path / name
    theirs.parent.mkdir(parents=True, exist_ok=True)
    theirs.write_text("theirs")

    demo = run_demo(tmp_path, "--hosts", "20")

    assert demo.exit_code == 2
    assert f"{name} in {tmp_path} is in the demo's way: the demo did not write it" in demo.stderr
    assert contents(tmp_path) == {theirs: b"theirs"}


def test_a_list_of_files_that_is_not_the_demos_is_named_and_kept(tmp_path: Path) -> None:
    (tmp_path / "demo.json").write_text('{"name": "theirs"}')

    with pytest.raises(DemoError, match=r"demo\.json is not the demo's list of its files"):
        DemoFolder(tmp_path).prepare(ORDER)

    assert (tmp_path / "demo.json").read_text() == '{"name": "theirs"}'


def test_a_file_of_the_sample_that_somebody_has_changed_is_not_replaced_by_another_sample(
    tmp_path: Path,
) -> None:
    folder = DemoFolder(tmp_path)
    folder.prepare(ORDER)
    cpu_of_march(tmp_path).write_text("theirs")
    before = contents(tmp_path)

    with pytest.raises(DemoError, match=r"cpu_utilization_202403\.csv in .* is in the demo's way"):
        folder.prepare(LARGER)
    assert contents(tmp_path) == before

    cpu_of_march(tmp_path).unlink()
    assert folder.prepare(LARGER)


@pytest.mark.parametrize("name", ["demo.env", "dagster/dagster.yaml"])
def test_settings_of_the_demo_that_somebody_has_changed_are_not_replaced_by_another_sample(
    tmp_path: Path, name: str
) -> None:
    folder = DemoFolder(tmp_path)
    folder.prepare(ORDER)
    with (tmp_path / name).open("a") as file:
        file.write("# theirs\n")
    before = contents(tmp_path)

    with pytest.raises(DemoError, match=rf"{name} in .* is in the demo's way"):
        folder.prepare(LARGER)
    assert contents(tmp_path) == before

    (tmp_path / name).unlink()
    assert folder.prepare(LARGER)


def test_a_file_of_the_samples_content_is_the_samples_whoever_put_it_there(tmp_path: Path) -> None:
    folder = DemoFolder(tmp_path)
    folder.prepare(ORDER)
    cut = folder.cut_file(ORDER)
    assert cut is not None
    # Copied and not moved, as from a backup.
    cut.file.write_bytes(cut.redelivered.read_bytes())
    cpu_of_march(tmp_path).write_bytes(cpu_of_march(tmp_path).read_bytes())

    assert folder.prepare(LARGER)

    # Of the same size, and another.
    changed = cpu_of_march(tmp_path).read_bytes().replace(b"1", b"2")
    cpu_of_march(tmp_path).write_bytes(changed)
    with pytest.raises(DemoError, match=r"cpu_utilization_202403\.csv in .* is in the demo's way"):
        folder.prepare(ORDER)
    assert cpu_of_march(tmp_path).read_bytes() == changed


def test_a_list_of_files_without_digests_tells_them_by_size_and_time(tmp_path: Path) -> None:
    folder = DemoFolder(tmp_path)
    folder.prepare(ORDER)
    note = json.loads((tmp_path / "demo.json").read_text())
    note["files"] = {name: stamp and stamp[:2] for name, stamp in note["files"].items()}
    (tmp_path / "demo.json").write_text(json.dumps(note))

    assert folder.prepare(LARGER)


def test_a_warehouse_that_another_process_holds_is_named_and_nothing_is_touched(tmp_path: Path) -> None:
    DemoFolder(tmp_path).prepare(ORDER)
    before = contents(tmp_path)

    with warehouse_held(tmp_path / "refinery.duckdb") as holder:
        demo = run_demo(tmp_path, "--hosts", "30")

    assert demo.exit_code == 2
    assert f"The demo's warehouse {tmp_path / 'refinery.duckdb'} cannot be written" in demo.stderr
    assert f"PID {holder}" in demo.stderr
    assert contents(tmp_path) == before


@pytest.mark.slow
def test_a_month_that_is_refused_besides_the_one_that_is_meant_to_be_ends_the_demo_with_an_error(
    tmp_path: Path,
) -> None:
    DemoFolder(tmp_path).prepare(ORDER)
    cut = cpu_of_march(tmp_path)
    cut.write_bytes(cut.read_bytes()[:-5])

    demo = run_demo(tmp_path, "--hosts", "20")

    assert demo.exit_code == 1, demo.output
    assert "2024-02: legacy_feed fragmentation_complete failed" in demo.stdout
    assert "2024-03: legacy_feed fragmentation_complete failed" in demo.stdout


# What it does.


@pytest.mark.slow
def test_the_demo_shows_gaps_quarantine_and_a_refused_month_which_is_repaired_as_it_says(tmp_path: Path) -> None:
    demo = run_demo(tmp_path, "--hosts", "20")

    assert demo.exit_code == 0, demo.output
    assert "2024-02: refused" in demo.stdout
    assert "2024/02/storage_usage_202402.csv ends in the middle of line" in demo.stdout
    assert "all 10 behaviors retained" in demo.stdout
    [(published, imputed)] = query(tmp_path, "SELECT count(*), count(*) FILTER (is_imputed) FROM processed_data")
    [(quarantined,)] = query(tmp_path, "SELECT count(*) FROM quarantined_rows")
    assert imputed > 0
    assert quarantined > 0
    assert f"Published: {published:,} rows in 2 months" in demo.stdout
    assert f"Imputed: {imputed:,} of these rows" in demo.stdout
    assert f"Quarantined: {counted(quarantined, 'faulty row')}, for example:" in demo.stdout
    assert f"(. {tmp_path / 'demo.env'} && {Path(sys.executable).with_name('refinery')} ui)" in demo.stdout

    (move,) = [line.strip() for line in demo.stdout.splitlines() if line.strip().startswith("mv ")]
    subprocess.run(["sh", "-c", move], check=True)
    again = run_demo(tmp_path, "--hosts", "20")
    assert again.exit_code == 0, again.output
    assert "refused" not in again.stdout
    assert query(tmp_path, "SELECT count(DISTINCT month) FROM series_months") == [(3,)]
    # The file that was moved there is still the demo's, which another sample may replace.
    assert DemoFolder(tmp_path).prepare(LARGER)


def test_a_sample_of_an_earlier_edition_is_made_anew(tmp_path: Path) -> None:
    folder = DemoFolder(tmp_path)
    folder.prepare(ORDER)
    manifest = tmp_path / "demo.json"
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"edition": 1}))

    assert folder.prepare(ORDER)


@pytest.mark.heavy
@pytest.mark.slow
def test_an_interrupted_demo_says_how_to_go_on(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "refinery_assets.cli", *arguments(tmp_path, ["--hosts", "20"])],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as demo:
        assert demo.stderr is not None
        # The first step is over, so the run is on its way.
        demo.stderr.readline()
        demo.send_signal(signal.SIGINT)
        printed, errors = demo.communicate()

    assert demo.returncode == 130, errors
    assert printed.endswith("Run the demo again to finish it.\n")


@pytest.mark.slow
@pytest.mark.heavy
def test_the_demo_writes_nothing_outside_its_folder(tmp_path: Path) -> None:
    ours, theirs = tmp_path / "demo", tmp_path / "theirs"
    usual = [*(PROJECT_ROOT / "data").glob("*"), *Settings().reports.glob("*")]

    # Settings that lead elsewhere are those of the user's own data.
    demo = start_demo(
        ours,
        "--hosts",
        "20",
        DAGSTER_HOME=str(theirs),
        REFINERY_REPORTS=str(theirs),
        REFINERY_TELEMETRY=str(theirs),
    )

    assert demo.returncode == 0, demo.stderr
    assert list(tmp_path.iterdir()) == [ours]
    assert [*(PROJECT_ROOT / "data").glob("*"), *Settings().reports.glob("*")] == usual
    assert list((ours / "reports").iterdir())


def test_a_shell_that_reads_the_demos_settings_works_on_the_demo_alone(tmp_path: Path) -> None:
    folder = DemoFolder(tmp_path / "a demo")
    folder.prepare(ORDER)
    shown = subprocess.run(
        ["sh", "-c", '. "$1" && env', "sh", folder.settings_file],
        env={"PATH": os.environ["PATH"], "REFINERY_FEED": "/theirs", "REFINERY_OVERSHOOT": "20"},
        capture_output=True,
        text=True,
        check=True,
    )

    variables = dict(line.split("=", 1) for line in shown.stdout.splitlines())
    assert Settings.from_environment(variables) == folder.settings(ORDER)
    assert variables["DAGSTER_HOME"] == str(folder.dagster_home)


def test_a_sample_that_is_there_is_kept(tmp_path: Path) -> None:
    folder = DemoFolder(tmp_path)
    assert folder.prepare(ORDER)
    made = {path: path.stat() for path in contents(tmp_path)}

    assert not folder.prepare(ORDER)

    assert {path: path.stat() for path in contents(tmp_path)} == made


def test_an_interrupted_sample_is_made_anew(tmp_path: Path) -> None:
    folder = DemoFolder(tmp_path)
    folder.prepare(ORDER)
    whole = cpu_of_march(tmp_path).read_bytes()
    cpu_of_march(tmp_path).unlink()

    assert folder.prepare(ORDER)

    assert cpu_of_march(tmp_path).read_bytes() == whole


@pytest.mark.slow
@pytest.mark.heavy
def test_another_sample_takes_the_place_of_the_first_and_leaves_a_users_files_and_tables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run_demo(tmp_path, "--hosts", "20").exit_code == 0
    with duckdb.connect(tmp_path / "refinery.duckdb") as connection:
        connection.execute("CREATE TABLE my_forecasts AS SELECT 42 AS y")
    # A month that the sample does not hold, and a note beside one that it does.
    february = tmp_path / "legacy" / "inputs" / "2024" / "02"
    theirs = [
        tmp_path / "legacy" / "inputs" / "2025" / "01" / "cpu_utilization_202501.csv",
        february / "note",
    ]
    for file in theirs:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("theirs")

    demo = run_demo(tmp_path, "--hosts", "30", "--last", "2024-01")

    assert demo.exit_code == 0, demo.output
    assert [file.read_text() for file in theirs] == ["theirs", "theirs"]
    assert [file.name for file in february.iterdir()] == ["note"]
    assert not (tmp_path / "legacy" / "inputs" / "2024" / "03").exists()
    assert [file.name for file in (tmp_path / "telemetry" / "cpu_utilization").iterdir()] == ["2024-01.parquet"]
    assert [folder.name for folder in (tmp_path / "reports").iterdir()] == ["2024-01"]
    assert not list((tmp_path / "telemetry").rglob("2024-02*"))
    assert query(tmp_path, "SELECT * FROM my_forecasts") == [(42,)]
    assert query(tmp_path, "SELECT DISTINCT month, count(DISTINCT host_id) FROM series_months GROUP BY 1") == [
        ("2024-01", 30)
    ]
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "dagster"))
    with dg.DagsterInstance.get() as instance:
        assert instance.get_materialized_partitions(dg.AssetKey("processed_data")) == {"2024-01"}
