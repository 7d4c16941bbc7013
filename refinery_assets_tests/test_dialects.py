"""Files in the dialect that a contract declares are read to the same rows as in the packaged one."""

from __future__ import annotations

import datetime as dt
import random
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from refinery_assets.contract.families import DateFormat, Encoding, Family, Fault, Unit
from refinery_assets.contract.settings import Settings
from refinery_assets.feed.files import FeedFile, RefusedFileError, count_data_rows
from refinery_assets.rows.clean import percent
from refinery_assets.rows.days import as_text, day_of
from refinery_assets.rows.family import Refined, refine_file
from refinery_assets.rows.parts import TextPart, newest_day
from refinery_assets.rows.read import read_columns, read_lines
from refinery_assets.rows.scrub import scrub
from refinery_assets.rows.source_files import inspect_file
from refinery_assets_tests.dialects import Dialect, Reading, day_written, parquet
from refinery_assets_tests.hostile import FAMILY, MONTH, read_clean

MIDNIGHT = datetime.combine(MONTH.first_day, dt.time())

steady = settings(derandomize=True, deadline=None, max_examples=50)
thorough = settings(steady, max_examples=500)

PLAIN = Dialect(FAMILY, FAMILY.columns)
VERDICT = ["source_line", "ds", "host_id", "y", "capacity", "fault", "is_imputed"]

DAYS = st.sampled_from(MONTH.days)
HOSTS = st.sampled_from(["web-1", "web-2", "db.example.org", "Web-1", "k\u00fcche-7", "n/a", "null"])
PERCENTAGES = st.decimals(0, 100, places=4) | st.decimals(0, 100, places=0)
READINGS = st.builds(Reading, DAYS, HOSTS.filter(lambda host: len(host) > 4), PERCENTAGES, st.none() | PERCENTAGES)
FAULTY = st.one_of(
    st.builds(Reading, st.none() | st.just(dt.date(2024, 6, 1)), HOSTS, PERCENTAGES, st.none()),
    st.builds(Reading, DAYS, st.none() | HOSTS, st.none() | st.sampled_from(["x", "1.2,3", "1e", "NaN"]), st.none()),
    st.builds(Reading, DAYS, HOSTS, st.decimals(-5, 150, places=1), st.sampled_from(["?", "-"]) | PERCENTAGES),
    st.builds(Reading, DAYS, HOSTS, PERCENTAGES, st.none(), st.sampled_from([1, -1])),
)
ROWS = st.lists(READINGS, max_size=12) | st.lists(READINGS | FAULTY, max_size=12)


@st.composite
def dialects(draw: st.DrawFn) -> Dialect:
    decimal = draw(st.sampled_from([".", ","]))
    quote = draw(st.sampled_from(['"', "'", ""]))
    family = FAMILY.model_copy(
        update={
            # A number that is none of the dialect has both letters in it, and is not quoted where nothing is.
            "delimiter": draw(st.sampled_from([";", "|", "\t"] + [","] * (decimal == "." and quote != ""))),
            "quote": quote,
            "decimal": decimal,
            "encoding": draw(st.sampled_from(Encoding)),
            "date_format": draw(st.sampled_from(DateFormat)),
            "unit": draw(st.sampled_from(Unit)),
            "path": FAMILY.path + draw(st.sampled_from(["", ".gz", ".zst"])),
        }
    )
    return Dialect(
        family,
        tuple(draw(st.permutations([*family.columns, *draw(st.sampled_from([[], ["rack"], ["", "rack"]]))]))),
        line_end=draw(st.sampled_from(["\n", "\r\n"])),
        byte_order=draw(st.sampled_from(["le", "be"])),
        mark=draw(st.booleans()),
        quotes_all=draw(st.booleans()),
        absent=draw(st.sampled_from(["", "-", "NULL", "n/a"])),
    )


def refined(dialect: Dialect, readings: Sequence[Reading], overshoot: float = 0.0) -> Refined:
    return refined_bytes(dialect.family, dialect.bytes_of(readings), overshoot)


def refined_bytes(family: Family, data: bytes, overshoot: float = 0.0) -> Refined:
    with TemporaryDirectory() as folder:
        file = FeedFile(Path(folder), family, MONTH)
        file.path.parent.mkdir(parents=True)
        file.path.write_bytes(data)
        return refine_file(file, Settings(overshoot=overshoot))


SAME_ROWS_AS_TEXT = given(dialects(), ROWS.filter(bool), st.sampled_from([0.0, 10.0]))


@pytest.mark.slow
@steady
@SAME_ROWS_AS_TEXT
def test_the_same_rows_have_the_same_verdicts_in_any_dialect(
    dialect: Dialect, readings: list[Reading], overshoot: float
) -> None:
    compare_in_dialect(dialect, readings, overshoot)


@pytest.mark.heavy
@pytest.mark.slow
@thorough
@SAME_ROWS_AS_TEXT
def test_many_rows_have_the_same_verdicts_in_any_dialect(
    dialect: Dialect, readings: list[Reading], overshoot: float
) -> None:
    compare_in_dialect(dialect, readings, overshoot)


def compare_in_dialect(dialect: Dialect, readings: list[Reading], overshoot: float) -> None:
    expected = refined(PLAIN, readings, overshoot)

    found = refined(dialect, readings, overshoot)

    assert found.partition.select(VERDICT).equals(expected.partition.select(VERDICT))
    assert found.series.equals(expected.series)
    assert (found.stats.csv_rows, found.stats.landed) == (len(readings), len(readings))
    raws = found.partition.filter(pl.col("fault").is_not_null())["raw"]
    assert all("\ufeff" not in raw and "\0" not in raw and not raw.endswith("\r") for raw in raws)


@steady
@given(dialects(), st.lists(READINGS, min_size=1, max_size=8, unique_by=lambda row: (row.day, str(row.host).lower())))
def test_a_sound_file_without_quotes_is_read_fast_in_any_dialect(dialect: Dialect, readings: list[Reading]) -> None:
    family = dialect.family.model_copy(update={"encoding": Encoding.UTF8, "path": FAMILY.path})
    plain = replace(dialect, family=family, mark=False, quotes_all=False, absent="")
    # Only a title cannot be told from a number in which a point stands for the comma.
    data = plain.bytes_of(readings)

    assert read_clean(data, family, MONTH) is not None
    last = max(day for reading in readings if (day := reading.day))
    assert newest_day(TextPart(FeedFile(Path(), family, MONTH), "", data), MONTH) == last


SAME_ROWS_IN_PARQUET = given(
    ROWS.filter(bool).map(lambda rows: [replace(row, surplus=0) for row in rows]),
    st.sampled_from([pl.Date, pl.Datetime("ms"), pl.Datetime("us", "UTC"), pl.String, pl.Categorical]),
    st.sampled_from(["numbers", "texts"]),
    st.sampled_from(list(DateFormat)),
    st.sampled_from([".", ","]),
)


@pytest.mark.slow
@steady
@SAME_ROWS_IN_PARQUET
def test_the_same_rows_have_the_same_verdicts_in_parquet(
    readings: list[Reading], kind: Any, numbers: str, date_format: DateFormat, decimal: str
) -> None:
    compare_in_parquet(readings, kind, numbers, date_format, decimal)


@pytest.mark.heavy
@pytest.mark.slow
@thorough
@SAME_ROWS_IN_PARQUET
def test_many_rows_have_the_same_verdicts_in_parquet(
    readings: list[Reading], kind: Any, numbers: str, date_format: DateFormat, decimal: str
) -> None:
    compare_in_parquet(readings, kind, numbers, date_format, decimal)


def compare_in_parquet(readings: list[Reading], kind: Any, numbers: str, date_format: DateFormat, decimal: str) -> None:
    if isinstance(kind, pl.Datetime) or kind is pl.Date or numbers == "numbers":
        readings = [row for row in readings if row.day and not isinstance(row.value, str)] or [
            Reading(MONTH.first_day, "web-1", Decimal(1), None)
        ]
        readings = [replace(row, capacity=None) if isinstance(row.capacity, str) else row for row in readings]
    expected = refined(PLAIN, readings).partition.select(VERDICT)
    update = {"path": "{year}/{month}/{family}_{year}{month}.parquet", "date_format": date_format, "decimal": decimal}
    family = FAMILY.model_copy(update={**update, "delimiter": ";"})
    is_text = kind in {pl.String, pl.Categorical}
    days = [day_written(row.day, date_format) if is_text else row.day for row in readings]

    def column(numbers_of: list[Decimal | str | None]) -> pl.Series:
        if numbers == "numbers":
            return pl.Series([None if each is None else float(each) for each in numbers_of], dtype=pl.Float64)
        return pl.Series(
            [str(each).replace(".", decimal) if isinstance(each, Decimal) else each for each in numbers_of],
            dtype=pl.String,
        )

    frame = pl.DataFrame(
        {
            " Host_ID ": [row.host for row in readings],
            "extra": 1,
            "cpu_p95": column([row.value for row in readings]),
            "DATE": pl.Series(days).cast(kind),
            "max_cores": column([row.capacity for row in readings]),
        }
    )

    found = refined_bytes(family, parquet(frame))

    # A row's number stands for its line, and there is no header above it.
    assert found.partition.select(VERDICT).equals(expected.with_columns(pl.col("source_line") - 1))


def test_a_fraction_is_the_percentage_to_the_last_bit() -> None:
    family = FAMILY.model_copy(update={"unit": Unit.FRACTION})
    hundredths = [Decimal(number) / 10**decimals for decimals in range(5) for number in range(0, 200 * 10**decimals, 7)]
    fractions = pl.DataFrame({"value": [float(each / 100) for each in hundredths]})

    assert fractions.select(percent(pl.col("value"), family))["value"].to_list() == [float(each) for each in hundredths]


def test_numbers_in_single_precision_are_what_their_text_says() -> None:
    family = FAMILY.model_copy(update={"path": "{year}/{month}/{family}_{year}{month}.parquet"})
    values = [0.1, 33.33, 99.99, 7.0]
    columns = {"date": MONTH.days[:4], "host_id": "web-1", "cpu_p95": values, "max_cores": [1.6, 8.0, None, 2e9]}
    single = pl.DataFrame(columns).cast({"cpu_p95": pl.Float32, "max_cores": pl.Float32})

    found = refined_bytes(family, parquet(single)).partition

    assert found["y"].to_list() == values
    assert found["capacity"].to_list() == columns["max_cores"]
    assert found.equals(refined_bytes(family, parquet(pl.DataFrame(columns))).partition)


def test_an_epoch_that_is_no_midnight_of_utc_is_no_day() -> None:
    midnight = 1_714_521_600
    texts = [
        str(midnight),
        f"{midnight}.0",
        str(midnight + 3600),
        f"{midnight}000",
        "-86400",
        "",
        "2024-05-01",
        "9" * 14,
    ]

    found = pl.DataFrame({"date": texts}).select(day_of("date", DateFormat.EPOCH_SECONDS))["date"]

    assert found.to_list() == [MIDNIGHT] * 2 + [None] * 6


@pytest.mark.parametrize(
    ("moments", "days"),
    [
        (pl.Series([MIDNIGHT, MIDNIGHT.replace(hour=6)]), [dt.date(2024, 5, 1), None]),
        (pl.Series([MIDNIGHT]).dt.replace_time_zone("Europe/Vienna"), [None]),
        (pl.Series([20240501, 20240532]), [dt.date(2024, 5, 1), None]),
    ],
    ids=["a time of day", "a zone", "numbers"],
)
def test_moments_of_parquet_are_days_only_at_midnight(moments: pl.Series, days: list[dt.date | None]) -> None:
    text = as_text(moments.alias("date"), DateFormat.COMPACT).to_frame()

    assert text.select(day_of("date", DateFormat.COMPACT).dt.date())["date"].to_list() == days


def test_a_decimal_point_is_no_number_where_the_contract_declares_a_comma() -> None:
    family = FAMILY.model_copy(update={"delimiter": ";", "decimal": ",", "date_format": DateFormat.GERMAN})
    lines = ["date;host_id;cpu_p95;max_cores", "01.05.2024;a.b;1,5;8", "02.05.2024;a.b;1.5;8", "03.05.2024;a.b;1;8.0"]
    data = "".join(f"{line}\n" for line in lines).encode()

    # Polars takes either for a decimal; the reader must not.
    assert read_columns(data, family) is None
    assert refined_bytes(family, data).stats.faults == {Fault.NOT_A_NUMBER: 2}


DECLARED: dict[str, dict[str, Any]] = {
    "semicolons": {"delimiter": ";"},
    "UTF-16": {"encoding": Encoding.UTF16},
    "latin-1": {"encoding": Encoding.LATIN1},
    "gzip": {"path": FAMILY.path + ".gz"},
    "Zstandard": {"path": FAMILY.path + ".zst"},
    "Parquet": {"path": "{year}/{month}/{family}_{year}{month}.parquet"},
}
HEADER = "date,host_id,cpu_p95,max_cores\n2024-05-01,web-1,1,2\n"
UNLIKE = [
    ("semicolons", HEADER.encode(), "commas instead of semicolons"),
    ("UTF-16", HEADER.encode(), "is not UTF-16 text"),
    ("latin-1", HEADER.encode("utf-8-sig"), "is UTF-8 text and not latin-1"),
    ("latin-1", HEADER.encode("utf-16"), "UTF-16"),
    ("gzip", HEADER.encode(), "cannot be unpacked (gzip"),
    ("Zstandard", HEADER.encode(), "cannot be unpacked (ZSTD"),
    ("Parquet", HEADER.encode(), "is not a Parquet file"),
    ("Parquet", parquet(pl.DataFrame({"date": ["x"], "host_id": ["a"]})), "lacks cpu_p95, max_cores"),
    (
        "Parquet",
        parquet(pl.DataFrame({"date": ["x"], "host_id": ["a"], "cpu_p95": [[1]], "max_cores": 1})),
        "holds List(Int64) in the column cpu_p95; expected numbers",
    ),
    ("Parquet", parquet(pl.DataFrame({"a": [1] * 999}))[:-9], "ends before its footer"),
    ("Parquet", b"PAR1" + b"\0" * 90 + b"PAR1", "cannot be read as Parquet"),
]


@pytest.mark.parametrize(
    ("declared", "data", "told"), UNLIKE, ids=lambda value: value if isinstance(value, str) else ""
)
def test_a_file_that_contradicts_the_declaration_is_refused_in_its_terms(
    tmp_path: Path, declared: str, data: bytes, told: str
) -> None:
    file = FeedFile(tmp_path, FAMILY.model_copy(update=DECLARED[declared]), MONTH)
    file.path.parent.mkdir(parents=True)
    file.path.write_bytes(data)

    with pytest.raises(RefusedFileError) as refusal:
        refine_file(file, Settings())

    assert str(refusal.value).startswith(file.name)
    assert told in str(refusal.value)
    facts = inspect_file(file)
    assert told in str(facts.absent or facts.header_problem or facts.unfinished)


def test_bytes_that_are_no_text_of_the_encoding_spoil_their_own_line_alone() -> None:
    family = FAMILY.model_copy(update={"encoding": Encoding.UTF16})
    text = f"{HEADER}2024-05-02,web-\ud800,1,2\n2024-05-03,web-1,1,2\n"

    found = refined_bytes(family, text.encode("utf-16-le", "surrogatepass"))

    assert found.stats.faults == {Fault.MALFORMED_ROW: 1}
    assert [row["source_line"] for row in found.stats.sample] == [3]
    with pytest.raises(RefusedFileError, match="ends in the middle of line 5"):
        refined_bytes(family, text.encode("utf-16-le", "surrogatepass") + b"2")


FOREIGN = Dialect(
    FAMILY.model_copy(update={"delimiter": ";", "decimal": ",", "date_format": DateFormat.GERMAN}),
    ("rack", *FAMILY.columns[::-1]),
)
SOUND_FOREIGN = FOREIGN.bytes_of(
    [Reading(day, f"web.{number}", Decimal(number) / 8, Decimal(4)) for number, day in enumerate(MONTH.days)]
)


@pytest.mark.slow
@steady
@given(
    st.lists(
        st.tuples(
            st.integers(SOUND_FOREIGN.index(b"\n") + 1, len(SOUND_FOREIGN)),
            st.integers(0, 3),
            st.one_of(
                st.binary(max_size=3),
                st.sampled_from([b";", b"\n", b'"', b"\r\n", b"\0", b".", b",", b"NULL", b"\x01", b"\xc2\x85", b"e9"]),
            ),
        ),
        min_size=1,
        max_size=4,
    ),
    st.sampled_from(["\n", "\r\n"]),
)
def test_of_a_foreign_file_spoiled_at_random_both_readers_say_the_same(
    edits: list[tuple[int, int, bytes]], line_end: str
) -> None:
    data, family = SOUND_FOREIGN, FOREIGN.family
    for at, removed, put in edits:
        data = data[:at] + put + data[at + removed :]
    if line_end != "\n":
        data = data.replace(b"\r\n", b"\n").replace(b"\n", line_end.encode())

    exact = scrub(read_lines(data, family), family, MONTH, 0.0)
    fast = read_clean(data, family, MONTH)

    assert exact.height == count_data_rows(data, family)
    if fast is not None:
        assert set(exact["fault"].drop_nulls()) <= {Fault.DUPLICATE, Fault.SUPERSEDED}
        kept = ["source_line", "ds", "host_id", "y", "capacity"]
        assert fast.select(kept).equals(exact.select(kept))


@pytest.mark.slow
@pytest.mark.parametrize("compression", ["zstd", "snappy", "uncompressed"])
def test_a_damaged_parquet_file_is_refused_or_adds_up(
    tmp_path: Path, compression: Literal["zstd", "snappy", "uncompressed"]
) -> None:
    frame = pl.DataFrame({"date": MONTH.days, "host_id": "web-1", "cpu_p95": 1.5, "max_cores": 8.0})
    file = FeedFile(tmp_path, FAMILY.model_copy(update=DECLARED["Parquet"]), MONTH)
    file.path.parent.mkdir(parents=True)
    frame.write_parquet(file.path, compression=compression)
    whole = file.path.read_bytes()
    refused = 0
    chance = random.Random(17)  # noqa: S311 - the same damage at every run
    for _ in range(80):
        data = bytearray(whole)
        for _ in range(chance.choice([1, 1, 3, 20])):
            data[chance.randrange(len(data))] = chance.randrange(256)
        file.path.write_bytes(bytes(data))
        facts = inspect_file(file)
        try:
            stats = refine_file(file, Settings()).stats
        except RefusedFileError as refusal:
            refused += 1
            assert facts.absent or facts.unfinished or facts.header_problem, refusal  # noqa: PT017 - one of two outcomes
        else:
            assert stats.csv_rows == facts.rows
    assert refused > 20
