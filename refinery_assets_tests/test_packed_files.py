"""Compressed files: unpacked to the text that was packed, or refused in one sentence, and never without a limit."""

from __future__ import annotations

import gzip
import tracemalloc
from pathlib import Path

import polars as pl
import pytest

from refinery_assets.contract.settings import Settings
from refinery_assets.feed.files import CutShortError, FeedFile, RefusedFileError
from refinery_assets.feed.text import text_of
from refinery_assets.rows.family import refine_file
from refinery_assets.rows.source_files import inspect_file
from refinery_assets_tests.dialects import parquet, zstandard
from refinery_assets_tests.hostile import FAMILY, LINES, MONTH, SOUND, as_text

PACK = {".gz": gzip.compress, ".zst": zstandard}
MIB = 2**20
by_suffix = pytest.mark.parametrize("suffix", PACK)


def packed_file(folder: Path, suffix: str, data: bytes, max_mib: int = 1) -> FeedFile:
    path = FAMILY.path.removesuffix(".csv") + suffix
    file = FeedFile(folder, FAMILY.model_copy(update={"path": path, "max_mib": max_mib}), MONTH)
    file.path.parent.mkdir(parents=True)
    file.path.write_bytes(data)
    return file


@by_suffix
@pytest.mark.parametrize("kept", [1, 40, -1], ids=["one byte", "forty bytes", "all but one"])
def test_a_cut_file_did_not_finish(tmp_path: Path, suffix: str, kept: int) -> None:
    file = packed_file(tmp_path, suffix, PACK[suffix](SOUND)[:kept])

    with pytest.raises(CutShortError, match="ends in the middle of its compressed data; export it again"):
        refine_file(file, Settings())

    facts = inspect_file(file)
    assert (facts.absent, facts.unfinished) == (None, "ends in the middle of its compressed data")


@by_suffix
def test_a_cut_of_the_text_that_was_packed_is_found_as_well(tmp_path: Path, suffix: str) -> None:
    file = packed_file(tmp_path, suffix, PACK[suffix](SOUND[:-3]))

    assert inspect_file(file).unfinished == f"ends in the middle of line {len(LINES) + 1}"


@by_suffix
def test_a_damaged_file_is_refused(tmp_path: Path, suffix: str) -> None:
    data = bytearray(PACK[suffix](as_text(LINES * 40).encode()))
    data[len(data) // 2] ^= 0xFF
    data[len(data) // 2 + 1] ^= 0xFF
    file = packed_file(tmp_path, suffix, bytes(data))

    facts = inspect_file(file)

    assert facts.absent is not None
    assert facts.absent.startswith(f"{file.name} cannot be unpacked (")


@pytest.mark.slow
@by_suffix
def test_a_bomb_is_refused_before_it_is_unpacked_whole(tmp_path: Path, suffix: str) -> None:
    file = packed_file(tmp_path, suffix, PACK[suffix](b"0" * 200 * MIB), max_mib=3)
    tracemalloc.start()
    try:
        with pytest.raises(RefusedFileError, match=r"holds more than 3 MiB, unpacked; .* set max_mib"):
            refine_file(file, Settings())
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 12 * MIB


def test_parquet_that_repeats_one_value_without_end_is_refused_by_its_footer(tmp_path: Path) -> None:
    frame = pl.select(date=pl.repeat("2024-05-01", 300_000), host_id=pl.lit("web-1"), cpu_p95=1.0, max_cores=2)
    data = parquet(frame)
    assert len(data) < MIB / 4

    file = packed_file(tmp_path, ".parquet", data)

    assert "holds more than 1 MiB, unpacked" in str(inspect_file(file).absent)


@by_suffix
def test_parts_packed_one_after_the_other_are_one_text(tmp_path: Path, suffix: str) -> None:
    long = as_text(LINES * 1500).encode()
    assert len(long) > 6 * MIB
    pack = PACK[suffix]
    file = packed_file(tmp_path, suffix, b"", max_mib=20)

    assert text_of(pack(long) + pack(SOUND), file) == long + SOUND
    assert text_of(b"", file) == b""


def test_zero_bytes_may_fill_up_the_end_of_gzip(tmp_path: Path) -> None:
    file = packed_file(tmp_path, ".gz", gzip.compress(SOUND) + b"\0" * 512)

    assert text_of(file.read(), file) == SOUND
    assert refine_file(file, Settings()).stats.csv_rows == len(LINES)


@by_suffix
def test_the_digest_is_that_of_the_bytes_on_the_disk(tmp_path: Path, suffix: str) -> None:
    file = packed_file(tmp_path, suffix, PACK[suffix](SOUND))

    assert inspect_file(file).digest == refine_file(file, Settings()).stats.digest == file.digest()
