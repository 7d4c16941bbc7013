"""Atomic writes: two writers and a reader, killed writers, and what failures leave behind."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from refinery_assets.contract.settings import PROJECT_ROOT
from refinery_assets.feed.atomic_write import atomic_path, atomic_write
from refinery_assets.feed.store import Folder

ROUNDS = 400
# Each content is one letter over and over, so that a torn or mixed read shows.
CONTENT_BYTES = 300_000

WRITER = f"""
import sys
from pathlib import Path
from refinery_assets.feed.atomic_write import atomic_write
for _ in range({ROUNDS}):
    atomic_write(Path(sys.argv[1]), sys.argv[2].encode() * {CONTENT_BYTES})
"""

HALF_WAY = """
import sys
from pathlib import Path
from refinery_assets.feed.atomic_write import atomic_path
with atomic_path(Path(sys.argv[1])) as temporary, temporary.open("wb") as file:
    file.write(b"half")
    file.flush()
    print("half way", flush=True)
    sys.stdin.read()
"""


def start(program: str, *arguments: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", program, *arguments],
        cwd=PROJECT_ROOT,
        env=os.environ | {"PYTHONPATH": str(PROJECT_ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )


def draw_half(path: Path, *, into_a_folder: bool = False) -> None:
    with atomic_path(path) as temporary:
        if into_a_folder:
            # Which cannot be removed as a file.
            temporary.mkdir()
        else:
            temporary.write_bytes(b"half")
        raise ValueError("no picture")


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def age(path: Path, hours: float) -> None:
    written = time.time() - hours * 3600
    os.utime(path, (written, written))


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "report.png"
    atomic_write(path, b"old")

    with pytest.raises(ValueError, match="no picture"):
        draw_half(path)

    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["report.png"]


def test_a_file_whose_name_is_used_once_is_not_replaced(tmp_path: Path) -> None:
    store = Folder(tmp_path)
    with store.creating("once/rows.parquet") as target:
        target.write_bytes(b"first")

    with pytest.raises(FileExistsError, match=r"once/rows\.parquet"), store.creating("once/rows.parquet") as target:
        target.write_bytes(b"second")

    assert (tmp_path / "once" / "rows.parquet").read_bytes() == b"first"
    assert names(tmp_path / "once") == ["rows.parquet"]


def test_a_temporary_file_that_cannot_be_removed_does_not_hide_the_first_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no picture"):
        draw_half(tmp_path / "report.png", into_a_folder=True)


def test_a_block_that_writes_nothing_is_an_error(tmp_path: Path) -> None:
    atomic_write(tmp_path / "report.png", b"old")

    with pytest.raises(FileNotFoundError), atomic_path(tmp_path / "report.png"):
        pass

    assert (tmp_path / "report.png").read_bytes() == b"old"


def test_a_killed_writer_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "2024-01.parquet"
    atomic_write(path, b"old")
    with start(HALF_WAY, str(path)) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"half way\n"
        writer.kill()

    assert path.read_bytes() == b"old"
    atomic_write(path, b"new")
    assert path.read_bytes() == b"new"


def test_what_killed_writers_left_is_removed_after_a_day_and_what_is_being_written_stays(
    tmp_path: Path,
) -> None:
    path = tmp_path / "2024-01.parquet"
    left = tmp_path / ".2024-01.parquet.7-0123abcd.partial"
    live = tmp_path / ".2024-01.parquet.8-0123abcd.partial"
    of_another = tmp_path / ".2024-02.parquet.7-0123abcd.partial"
    for file, hours in ((left, 25), (live, 23), (of_another, 25)):
        file.write_bytes(b"half")
        age(file, hours)

    atomic_write(path, b"new")

    assert names(tmp_path) == [live.name, of_another.name, path.name]


@pytest.mark.slow
def test_two_processes_that_write_one_path_never_show_a_reader_half_a_file(tmp_path: Path) -> None:
    path = tmp_path / "shared"
    atomic_write(path, b"a" * CONTENT_BYTES)
    reads = 0
    with start(WRITER, str(path), "a") as one, start(WRITER, str(path), "b") as other:
        while one.poll() is None or other.poll() is None:
            read = path.read_bytes()
            assert read in (b"a" * CONTENT_BYTES, b"b" * CONTENT_BYTES)
            reads += 1

    assert (one.returncode, other.returncode) == (0, 0)
    assert reads > ROUNDS / 10
    assert names(tmp_path) == ["shared"]


def test_the_data_is_on_the_disk_before_the_rename_and_the_folder_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A power cut cannot be made here, so the order of the calls is watched; they do their work all the same.
    path = tmp_path / "report.png"
    synced: list[tuple[str, bool]] = []
    fsync = os.fsync

    def watched(descriptor: int) -> None:
        fsync(descriptor)
        synced.append((Path(f"/proc/self/fd/{descriptor}").readlink().name, path.exists()))

    monkeypatch.setattr(os, "fsync", watched)
    atomic_write(path, b"new")

    (file, replaced_then), folder = synced
    assert file.endswith(".partial")
    assert not replaced_then
    assert folder == (tmp_path.name, True)
