"""Properties of the reader that hold for every file: rows land, are quarantined, or the file is refused."""

from __future__ import annotations

import csv
from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from refinery_assets.contract.settings import Settings
from refinery_assets.feed.files import FeedFile, RefusedFileError, count_data_rows, header_problem
from refinery_assets.rows.family import refine_file
from refinery_assets.rows.points import point_of
from refinery_assets.rows.read import read_lines
from refinery_assets.rows.scrub import scrub
from refinery_assets_tests.hostile import FAMILY, HEADER, MONTH, ROW_FAULTS, SOUND, read_clean

# The same examples at every run: what is found here must not come and go.
steady = settings(derandomize=True, deadline=None, max_examples=60)
thorough = settings(steady, max_examples=600)

DAYS = st.integers(1, 31).map(lambda day: f"2024-05-{day:02d}")
HOSTS = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Zs", "Zl", "Zp"]), min_size=1)
VALUES = st.floats(0, 100).map(repr)
CAPACITIES = st.one_of(st.just(""), st.floats(0, 1e12).map(repr))
FAULTY_LINES = st.sampled_from([text for text, _ in ROW_FAULTS.values()])


def quoted(field: str) -> str:
    return '"' + field.replace('"', '""') + '"'


def judged(data: bytes) -> pl.DataFrame:
    return scrub(read_lines(data, FAMILY), FAMILY, MONTH, 0.0)


def fields_of(line: str) -> list[str]:
    """What Python's own CSV reader makes of one line, blanks around the fields dropped."""
    (fields,) = csv.reader([line], skipinitialspace=True)
    return [field.strip().strip('"').strip() for field in fields]


def assert_sound(data: bytes) -> None:
    """The counts add up, and each clean row holds what its own line says."""
    rows = judged(data)
    assert rows.height == count_data_rows(data, FAMILY)
    lines = data.decode("utf-8", "backslashreplace").split("\n")
    names = [name.strip().lower() for name in fields_of(lines[0])]
    for row in rows.filter(pl.col("fault").is_null()).iter_rows(named=True):
        said = dict(zip(names, fields_of(lines[row["source_line"] - 1].removesuffix("\r")), strict=True))
        assert float(said["cpu_p95"]) == row["y"]
        assert said["date"][:10] == row["ds"].strftime("%Y-%m-%d")
        assert said["host_id"] == row["host_id"].strip('"').strip()
    fast = read_clean(data, FAMILY, MONTH)
    if fast is not None:
        kept = ["source_line", "ds", "host_id", "y", "capacity"]
        assert fast.select(kept).equals(rows.select(kept))


Generated = dict[tuple[str, str], tuple[str, str]]
GENERATED = given(st.dictionaries(st.tuples(DAYS, HOSTS.map(str.casefold)), st.tuples(VALUES, CAPACITIES)), st.data())


@pytest.mark.slow
@steady
@GENERATED
def test_generated_readings_land_bit_for_bit_whatever_stands_between_them(
    readings: Generated, data: st.DataObject
) -> None:
    read_and_compare(readings, data)


@pytest.mark.heavy
@pytest.mark.slow
@thorough
@GENERATED
def test_many_generated_readings_land_bit_for_bit(readings: Generated, data: st.DataObject) -> None:
    read_and_compare(readings, data)


def read_and_compare(readings: Generated, data: st.DataObject) -> None:
    absent = {"", "-", "n/a", "na", "none", "null"}
    readings = {point: said for point, said in readings.items() if point[1].lower() not in absent}
    # The spellings that the inventory would not tell apart are no matter of this property.
    readings = {(day, host): said for (day, host), said in readings.items() if host == host.lower()}
    lines: list[str] = []
    expected = []
    dirty = 0
    for (day, host), (value, capacity) in readings.items():
        for line in data.draw(st.lists(FAULTY_LINES, max_size=2)):
            lines.append(line)
            dirty += 1
        lines.append(f"{day},{quoted(host)},{value},{capacity}")
        expected.append((len(lines) + 1, host, float(value), float(capacity) if capacity else None))

    rows = judged("".join(f"{line}\n" for line in (HEADER, *lines)).encode())

    clean = rows.filter(pl.col("fault").is_null())
    assert clean.select("source_line", "host_id", "y", "capacity").rows() == expected
    assert rows.height - clean.height == dirty


@steady
@given(st.binary(max_size=300))
def test_arbitrary_bytes_behind_the_header_add_up(data: bytes) -> None:
    assert_sound(f"{HEADER}\n".encode() + data)


@pytest.mark.slow
@steady
@given(
    st.lists(
        st.tuples(
            st.integers(len(HEADER) + 1, 600),
            st.integers(0, 3),
            st.one_of(
                st.binary(max_size=4),
                st.sampled_from([b",", b"\n", b'"', b"\r\n", b"\0", b"2024-05-07", b"\n\n", b"\xff", b" ", b"e9"]),
            ),
        ),
        max_size=6,
    )
)
def test_a_sound_file_spoiled_at_random_adds_up(edits: list[tuple[int, int, bytes]]) -> None:
    data = SOUND[:600]
    for at, removed, put in edits:
        data = data[:at] + put + data[at + removed :]
    assert_sound(data)


@steady
@given(st.binary(max_size=400))
def test_arbitrary_bytes_for_a_file_are_refused_in_a_sentence_or_add_up(data: bytes) -> None:
    problem = header_problem(data, FAMILY)

    if problem is None and data:
        assert_sound(data)
    elif problem is not None:
        assert 0 < len(problem) < 300


@settings(steady, max_examples=20)
@given(st.binary(max_size=200))
def test_refining_any_file_gives_a_partition_whose_counts_add_up_or_a_refusal(data: bytes) -> None:
    with TemporaryDirectory() as folder:
        file = FeedFile(Path(folder), FAMILY, MONTH)
        file.path.parent.mkdir(parents=True)
        for whole in (data, SOUND + data, SOUND + data + b"\n"):
            file.path.write_bytes(whole)
            try:
                refined = refine_file(file, Settings())
            except RefusedFileError as refusal:
                assert file.name in str(refusal)  # noqa: PT017 - one of the two outcomes, not the one expected
                continue
            stats, rows = refined.stats, refined.partition.filter(~pl.col("is_imputed"))
            assert stats.csv_rows == stats.landed == rows.height


@steady
@given(
    st.lists(st.sampled_from(["a", "A", "b", "B", "ä", "c"]), min_size=1, max_size=5),
    st.lists(DAYS, min_size=1, max_size=6),
    st.data(),
)
def test_days_of_the_same_hosts_are_numbered_as_any_other_rows(
    hosts: list[str], days: list[str], data: st.DataObject
) -> None:
    points = [(day, host) for day in days for host in hosts]
    order = data.draw(st.sampled_from([points, sorted(points), [*points[1:], points[0]], points[1:], points[::-1]]))
    text = "".join(f"{line}\n" for line in (HEADER, *(f"{day},{host},1.5,8" for day, host in order)))

    rows = read_clean(text.encode(), FAMILY, MONTH)

    assert rows is not None
    assert rows.select(pl.col("ds").dt.to_string("%Y-%m-%d"), "host_id").rows() == order
    assert rows["point"].to_list() == point_of(rows).to_list()
