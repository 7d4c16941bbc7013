"""Contracts proposed from files: what is seen, from which lines, and what is left to a person."""

from __future__ import annotations

import gzip
import re
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import duckdb
import pytest
from typer.testing import CliRunner

from refinery_assets.cli import app
from refinery_assets.contract.contract_file import Contract, load_contract, read_contract
from refinery_assets.contract.families import DateFormat, Encoding, Unit
from refinery_assets.feed.infer.findings import NothingToInferError
from refinery_assets.feed.infer.proposal import propose_contract
from refinery_assets.feed.infer.words import CHOOSE, comment, open_points

HOSTS = ("web-1", "web-2", "db-1")


def days(month: int, until: int = 28) -> list[date]:
    return [date(2024, month, 1) + timedelta(days=number) for number in range(until)]


def lines(header: str, month: int, row: Callable[[date, str, int], str], until: int = 28) -> str:
    """A file of a month: the header, and a row for each day and host."""
    rows = [row(day, host, number) for day in days(month, until) for number, host in enumerate(HOSTS)]
    return "\n".join([header, *rows]) + "\n"


def percent(day: date, number: int) -> float:
    """A figure that changes from day to day."""
    return 20.5 + day.day + 3 * number


def write(file: Path, content: str | bytes) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content if isinstance(content, bytes) else content.encode())


def inferred(feed: Path, *others: Path) -> tuple[Contract, str]:
    """The contract that is proposed, as it reads, and its text."""
    text = propose_contract([feed, *others], feed.parent / "contract.toml")
    return read_contract(text, feed.parent / "contract.toml"), " ".join(text.replace("\n#  ", "").split())


def iso(day: date, host: str, number: int) -> str:
    return f"{day},{host},{percent(day, number)},8"


# What cannot be told.


def test_files_that_are_not_there_are_refused(tmp_path: Path) -> None:
    with pytest.raises(NothingToInferError, match="nowhere is not there; name the feed's folder or files"):
        propose_contract([tmp_path / "nowhere"], tmp_path / "contract.toml")
    with pytest.raises(NothingToInferError, match="There is no file in "):
        propose_contract([tmp_path], tmp_path / "contract.toml")


def test_files_whose_paths_name_no_month_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "export.csv", lines("date,host,cpu_p95,cores", 1, iso))
    with pytest.raises(NothingToInferError, match=r"names a year and a month.*export\.csv does not"):
        propose_contract([tmp_path], tmp_path / "contract.toml")


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "it is empty"),
        (b"\x00\x00\x02\n\x00" * 9, "zero bytes"),
        (b"date;host;y\n", "no row fits its header"),
        (b"by hand\n\ndate;host;y\n1;2;3\n1;2;3\n", "its first line is no header"),
    ],
    ids=["empty", "binary", "header only", "preamble"],
)
def test_files_that_are_no_tables_are_refused(tmp_path: Path, content: bytes, why: str) -> None:
    write(tmp_path / "cpu_202401.csv", content)
    with pytest.raises(NothingToInferError, match=why):
        propose_contract([tmp_path], tmp_path / "contract.toml")


def test_days_that_can_be_read_two_ways_are_left_to_a_person(tmp_path: Path) -> None:
    feed = tmp_path / "feed"
    write(
        feed / "cpu_202403.csv",
        "date,host,cpu_p95\n" + "".join(f"03/03/2024,{host},4{n}.5\n" for n, host in enumerate(HOSTS)),
    )
    contract, text = inferred(feed)
    assert (
        "CHOOSE: '03/03/2024' (cpu_202403.csv, line 2) and all other days can be read as DD/MM/YYYY or MM/DD/YYYY"
        in text
    )
    assert '# date_format = "DD/MM/YYYY" # date_format = "MM/DD/YYYY"' in text
    # Nothing is chosen in silence: as it stands every row is quarantined.
    assert contract.family[0].date_format is DateFormat.ISO


def of_day(feed: Path, form: str, days_of_feed: list[date], written: str = "%Y-%m-%d") -> None:
    """A file for each day, at the path that `form` gives."""
    for day in days_of_feed:
        rows = [f"{day:{written}},{host},{percent(day, number)},8" for number, host in enumerate(HOSTS)]
        write(feed / f"{day:{form}}", "\n".join(["date,host,cpu_p95,cores", *rows]) + "\n")


@pytest.mark.parametrize(
    ("form", "first", "second"),
    [
        ("%Y/%m-%d_cpu.csv", "{year}/{month}-{day}_cpu.csv", "{year}/{day}-{month}_cpu.csv"),
        ("%d%m%Y_cpu.csv", "{day}{month}{year}_cpu.csv", "{month}{day}{year}_cpu.csv"),
        ("%Y/%m/cpu_%d%m.csv", "{year}/{month}/cpu_{day}{month}.csv", "{year}/{month}/cpu_{month}{day}.csv"),
    ],
)
def test_day_and_month_in_a_path_that_can_be_exchanged_are_left_to_a_person(
    tmp_path: Path, form: str, first: str, second: str
) -> None:
    of_day(tmp_path / "feed", form, [date(2024, 3, 3), date(2024, 5, 5)], "%d/%m/%Y")
    contract, text = inferred(tmp_path / "feed")
    assert contract.feed.path == first
    assert f"CHOOSE: the paths can be read as {first} or as {second}, and neither they nor the days" in text
    assert f'# path = "{second}" path = "{first}"' in text


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ("", "the year in four digits and the month in two, as in 2024/05/cpu_202405.csv or 2024/05/cpu_31.csv"),
        ("05", "Where the folders above do, name the one that all of them lie in"),
    ],
)
def test_what_is_missing_in_the_paths_is_said(tmp_path: Path, given: str, why: str) -> None:
    of_day(tmp_path / given, "cpu_%d-%b-%y.csv", [date(2024, 5, 17)])
    with pytest.raises(NothingToInferError, match=why):
        propose_contract([tmp_path / given], tmp_path / "contract.toml")


def test_utilization_that_no_column_holds_is_left_to_a_person(tmp_path: Path) -> None:
    write(
        tmp_path / "feed" / "cpu_202401.csv",
        lines("date,host,bytes", 1, lambda day, host, n: f"{day},{host},{9**9 + day.day * n}"),
    )
    contract, text = inferred(tmp_path / "feed")
    assert contract.family[0].value == "value"
    assert "CHOOSE: no column of cpu_{year}{month}.csv looks like utilization" in text
    assert "Its columns: date, host, bytes." in text


def test_what_no_contract_can_declare_is_said(tmp_path: Path) -> None:
    feed = tmp_path / "feed"
    both = lambda day, host, n: "\n".join(f"{day},{host},{metric},{percent(day, n)}" for metric in ("cpu", "mem"))  # noqa: E731
    write(feed / "all_202401.csv", lines("date,host,metric,p95", 1, both))
    for number in range(25):
        write(feed / f"srv-{number}x" / "2024-01.csv", "")
    _, text = inferred(feed)
    assert "CHOOSE: metric seems to say the resource of each row (cpu, mem). No contract can split a file by it" in text
    assert "The paths have 26 patterns" in text
    assert "if a host or a time of day tells them apart, no contract can declare that" in text


def test_lines_that_do_not_fit_are_named_by_number(tmp_path: Path) -> None:
    text = lines("date,host,cpu_p95,cores", 1, iso).splitlines()
    text[4] += ",one too many"
    text[7] = "2024-01-02,web-1,ERR 7,8"
    text[9] = "2024-01-03,web-1,k.A.,8"
    text[10] = "2024-02-01,web-1,12.5,8"
    write(tmp_path / "feed" / "cpu_202401.csv", "\n".join(text) + "\n")
    contract, said = inferred(tmp_path / "feed")
    assert "1 of the lines looked at have other than the header's 4 fields, line 5 for one" in said
    assert "Not a number, and quarantined: 'ERR 7' (cpu_202401.csv, line 8)." in said
    assert "what stands in columns of numbers: 'k.A.' (cpu_202401.csv, line 10)" in said
    assert "'2024-02-01' (cpu_202401.csv, line 11) is not in the month of its file" in said
    assert contract.family[0].absent[-1] == "k.a."


def test_percentages_above_100_and_fractions_in_doubt_are_told(tmp_path: Path) -> None:
    write(
        tmp_path / "a" / "cpu_202401.csv",
        lines("date,host,cpu_p95", 1, lambda day, host, n: f"{day},{host},{90.5 + day.day + n}"),
    )
    write(
        tmp_path / "b" / "cpu_202401.csv",
        lines("date,host,cpu_pct", 1, lambda day, host, n: f"{day},{host},{(day.day + n) / 100}"),
    )
    assert "60 of them are above 100 and are quarantined, unless [tolerances] overshoot" in inferred(tmp_path / "a")[1]
    contract, text = inferred(tmp_path / "b")
    assert contract.family[0].unit is Unit.PERCENT
    assert 'CHOOSE: this is percent as it stands; if 1 means full, write "fraction".' in text


# What is seen.


def test_semicolons_decimal_commas_latin_1_and_daily_gz_files_are_seen(tmp_path: Path) -> None:
    feed = tmp_path / "feed"
    for day in days(2, 5):
        for family, unit in (("cpu", "Kerne"), ("gpu", "GB")):
            rows = [f"{day:%d.%m.%Y};Büro-{n};{percent(day, n)};8".replace(".5;", ",5;") for n in range(3)]
            text = "\r\n".join([f"Datum;Rechner;{family}_Auslastung;{family}_{unit}", *rows]) + "\r\n"
            write(feed / f"2024/02/{family}_{day:%Y%m%d}.csv.gz", gzip.compress(text.encode("latin-1")))
    hosts = "".join(f"Büro-{n},Wien,2020-01-0{n + 1},5\n" for n in range(3))
    write(tmp_path / "rechner.csv", f"name,standort,seit,cap\n{hosts}".encode("latin-1"))
    contract, text = inferred(feed, tmp_path / "rechner.csv")
    cpu, gpu = contract.families
    assert cpu.path == gpu.path == "{year}/{month}/{family}_{year}{month}{day}.csv.gz"
    assert (cpu.delimiter, cpu.decimal, cpu.encoding) == (";", ",", Encoding.LATIN1)
    assert cpu.date_format is DateFormat.GERMAN
    assert (gpu.name, gpu.resource, gpu.columns) == ("gpu", "gpu", ("datum", "rechner", "gpu_auslastung", "gpu_gb"))
    assert (cpu.capacity_unit, gpu.capacity_unit, gpu.unit) == ("cores", "GB", Unit.PERCENT)
    assert "is not UTF-8. CHOOSE: do names with letters such as ä look right?" in text
    assert "As in '21,5' (2024/02/cpu_20240201.csv.gz, line 2)." in text
    inventory = contract.inventory
    assert (inventory.source, inventory.host, inventory.attributes) == ("rechner.csv", "name", ("standort", "seit"))
    assert "The views have columns of these names, so they cannot be carried: cap." in text
    assert "holds days, such as '2020-01-01' (rechner.csv, line 2). Does it say the first day" in text
    assert '# valid_from = "seit"' in text
    assert "# rechner.csv lists 3 of the 3 hosts that were seen." in text
    assert (inventory.delimiter, inventory.encoding, inventory.date_format) == (",", Encoding.LATIN1, DateFormat.ISO)
    assert "rechner.csv is not UTF-8. CHOOSE: do names with letters such as ä look right?" in text


DAYS_OF_HOSTS: dict[str, tuple[str, list[str], list[str]]] = {
    "one format": (
        "01.03.2022 13.04.2022 -",
        ['date_format = "DD.MM.YYYY"'],
        ["CHOOSE: '-' (hosts.csv, line 4) is no day"],
    ),
    "two formats": (
        "01/03/2022 02/03/2022 03/03/2022",
        ['# date_format = "DD/MM/YYYY"', '# date_format = "MM/DD/YYYY"'],
        ["CHOOSE: all of these days can be read in either way"],
    ),
    "one that needs no declaring": ("2022-03-01 2022-03-02 2022-03-03", ['date_format = "YYYY-MM-DD"'], []),
}


@pytest.mark.parametrize(("texts", "keys", "told"), DAYS_OF_HOSTS.values(), ids=DAYS_OF_HOSTS.keys())
def test_how_the_inventory_writes_days_is_declared_or_left_to_a_person(
    tmp_path: Path, texts: str, keys: list[str], told: list[str]
) -> None:
    write(tmp_path / "feed/2024/02/cpu_202402.csv", lines("date,host,cpu_p95,cores", 2, iso))
    rows = [f"{host};{text};2022-01-01" for host, text in zip(HOSTS, texts.split(), strict=True)]
    write(tmp_path / "hosts.csv", "\n".join(["name;since;seen", *rows]) + "\n")

    contract, text = inferred(tmp_path / "feed", tmp_path / "hosts.csv")

    assert contract.inventory.delimiter == ";"
    section = propose_contract([tmp_path / "feed", tmp_path / "hosts.csv"], tmp_path / "contract.toml")
    written = section.partition("[inventory]")[2].splitlines()
    assert [line for line in written if "date_format =" in line] == keys
    assert [each for each in told if each not in text] == []
    assert text.count("is no day") == ("-" in texts.split())


@pytest.mark.parametrize(
    ("header", "rows", "keys", "told"),
    [
        (
            "since,valid_to",
            ["2022-03-01,"] * 3,
            ["valid_from=since", "valid_to=valid_to"],
            "valid_to is empty in the lines looked at, but its name speaks of days. Does one of them say",
        ),
        (
            "decommissioned,rack",
            [",7"] * 3,
            ["valid_to=decommissioned"],
            "CHOOSE: decommissioned is empty in the lines looked at, but its name speaks of days. Does it say",
        ),
        (
            "validFrom,retired_on",
            [","] * 3,
            ["valid_from=validFrom", "valid_to=retired_on"],
            "validFrom, retired_on are empty in the lines looked at, but their names speak of days. Does one",
        ),
        # By its name, and not because it is the only column of days.
        (
            "retired_on,reports_to",
            ["2024-02-09,", ",", ","],
            ["valid_to=retired_on"],
            "CHOOSE: retired_on holds days, such as",
        ),
        (
            "last_seen,end_date",
            ["2024-02-09,"] * 3,
            ["valid_from=last_seen", "valid_to=end_date"],
            "end_date is empty",
        ),
        # Empty, and more than a day is spoken of.
        (
            "since,created_by,added_by,installed_os,removed_by,warranty_end,deleted_at",
            ["2022-03-01,,,,,,"] * 3,
            ["valid_from=since", "valid_to=deleted_at"],
            "deleted_at is empty",
        ),
    ],
)
def test_columns_that_say_when_a_host_counts_are_told_by_name_be_they_empty(
    tmp_path: Path, header: str, rows: list[str], keys: list[str], told: str
) -> None:
    write(tmp_path / "feed/2024/02/cpu_202402.csv", lines("date,host,cpu_p95,cores", 2, iso))
    hosts = [f"{host},{row}" for host, row in zip(HOSTS, rows, strict=True)]
    write(tmp_path / "hosts.csv", "\n".join([f"host,{header}", *hosts]) + "\n")

    _, text = inferred(tmp_path / "feed", tmp_path / "hosts.csv")

    assert re.findall(r'# (valid_(?:from|to)) = "(\w+)"', text) == [tuple(each.split("=")) for each in keys]
    assert told in " ".join(text.replace("\n#", "").split())
    # What holds no day does not say how days are written.
    assert ('date_format = "YYYY-MM-DD"' in text.partition("[inventory]")[2]) == any("2" in row for row in rows)


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        ("%Y/%m/cpu_%d.csv", "{year}/{month}/cpu_{day}.csv"),
        ("%Y-%m/cpu-%d.csv", "{year}-{month}/cpu-{day}.csv"),
        ("%Y%m/node07/cpu%d.csv", "{year}{month}/node07/cpu{day}.csv"),
        ("cpu_%Y%m%d.csv", "cpu_{year}{month}{day}.csv"),
        ("%m-%d-%Y_cpu.csv", "{month}-{day}-{year}_cpu.csv"),
        ("%Y/%d-%m_cpu.csv", "{year}/{day}-{month}_cpu.csv"),
        ("%Y/%m/cpu_%d-%m.csv", "{year}/{month}/cpu_{day}-{month}.csv"),
        ("%Y/%m/cpu_%m%d.csv", "{year}/{month}/cpu_{month}{day}.csv"),
        ("month=%m/year=%Y/day=%d/cpu.csv", "month={month}/year={year}/day={day}/cpu.csv"),
        ("%Y/%m/cpu_%Y-%m-%dT10-00-00.csv", "{year}/{month}/cpu_{year}-{month}-{day}T10-00-00.csv"),
        ("%Y/%m/cpu_%Y-%m-%dT100000.csv", "{year}/{month}/cpu_{year}-{month}-{day}T100000.csv"),
        ("%Y%m%dT1005_cpu.csv", "{year}{month}{day}T1005_cpu.csv"),
        ("%Y-%m-%dT06-05-06_cpu.csv", "{year}-{month}-{day}T06-05-06_cpu.csv"),
        (
            "%Y/%m/%d/cpu_%Y%m%d_10-00-00_10-59-59_01-02-03-04.csv",
            "{year}/{month}/{day}/cpu_{year}{month}{day}_10-00-00_10-59-59_01-02-03-04.csv",
        ),
    ],
)
def test_days_in_paths_are_seen_by_all_paths_together(tmp_path: Path, form: str, expected: str) -> None:
    of_day(tmp_path / "feed", form, [date(2024, 5, day) for day in (2, 3, 17, 30)] + [date(2024, 6, 5)])
    contract, text = inferred(tmp_path / "feed")
    assert [family.path for family in contract.families] == [expected]
    assert "can be read as" not in text.partition("date_format")[0]
    assert "5 files from 2024-05 to 2024-06" in text


def test_the_rows_tell_which_number_in_a_path_is_the_day_and_which_is_none(tmp_path: Path) -> None:
    of_day(tmp_path / "a", "%Y/%d-%m_cpu.csv", [date(2024, 5, 6), date(2024, 6, 7)])
    contract, text = inferred(tmp_path / "a")
    assert contract.family[0].path == "{year}/{day}-{month}_cpu.csv"
    assert "can be read as" not in text
    # A number of two digits below the month may also be a host's, and its file then has all days of the month.
    write(tmp_path / "b" / "2024" / "05" / "rack_01.csv", lines("date,host,cpu_p95,cores", 5, iso))
    assert inferred(tmp_path / "b")[0].family[0].path == "{year}/{month}/rack_01.csv"


def test_a_wide_parquet_file_gives_a_family_for_each_column(tmp_path: Path) -> None:
    (tmp_path / "feed").mkdir()
    duckdb.execute(
        """
        COPY (SELECT (DATE '2024-01-01' + d::INT) AS day, 'srv-' || h AS node, 20 + d + h / 7 AS cpu_pct,
            8 AS cpu_cores, 40 + d / 3 AS mem_pct, 64 AS mem_gb, 9 AS gpus FROM range(31) t(d), range(5) u(h))
        TO $file (FORMAT parquet)
        """,
        {"file": str(tmp_path / "feed" / "fleet_2024-01.parquet")},
    )
    contract, text = inferred(tmp_path / "feed")
    cpu, memory = contract.families
    assert cpu.path == memory.path == "fleet_{year}-{month}.parquet"
    assert (cpu.name, cpu.columns) == ("cpu_utilization", ("day", "node", "cpu_pct", "cpu_cores"))
    assert (memory.resource, memory.columns) == ("memory", ("day", "node", "mem_pct", "mem_gb"))
    assert "Not used: gpus." in text
    assert "delimiter" not in text


@pytest.mark.parametrize(
    ("per_second", "expected"), [(1, DateFormat.EPOCH_SECONDS), (1_000, DateFormat.EPOCH_MILLISECONDS)]
)
def test_epochs_and_fractions_are_seen(tmp_path: Path, per_second: int, expected: DateFormat) -> None:
    def row(day: date, host: str, number: int) -> str:
        seconds = int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp())
        return f"{seconds * per_second}|{host}|{percent(day, number) / 100:.4f}"

    write(tmp_path / "feed" / "year=2024" / "month=01" / "usage.csv", lines("ts|vm|cpuUtil", 1, row))
    contract, _ = inferred(tmp_path / "feed")
    (family,) = contract.families
    assert family.path == "year={year}/month={month}/usage.csv"
    assert (family.date_format, family.delimiter, family.unit) == (expected, "|", Unit.FRACTION)
    assert (family.resource, family.columns) == ("cpu", ("ts", "vm", "cpuutil"))


@pytest.mark.parametrize(("form", "expected"), [("%d/%m/%Y", DateFormat.BRITISH), ("%m/%d/%Y", DateFormat.AMERICAN)])
def test_days_are_told_apart_by_the_month_in_the_path(tmp_path: Path, form: str, expected: DateFormat) -> None:
    def row(day: date, host: str, number: int) -> str:
        return f"{day:{form}},{host},{percent(day, number)},8"

    # No day of it is past the 12th.
    write(tmp_path / "feed" / "cpu_202403.csv", lines("date,host,cpu_p95,cores", 3, row, until=9))
    contract, text = inferred(tmp_path / "feed")
    assert contract.family[0].date_format is expected
    assert "which is a day of its file's month only so" in text
    assert "CHOOSE" not in text.partition("[family]")[0].partition("[feed]")[2]


def test_utf_16_and_quotes_are_seen(tmp_path: Path) -> None:
    text = lines("date\thost\tcpu_p95", 1, lambda day, host, n: f'{day}\t"{host}\t(old)"\t{percent(day, n)}')
    write(tmp_path / "feed" / "cpu_202401.csv", text.encode("utf-16"))
    (family,) = inferred(tmp_path / "feed")[0].families
    assert (family.encoding, family.delimiter, family.quote) == (Encoding.UTF16, "\t", '"')


def test_families_that_differ_say_so_themselves(tmp_path: Path) -> None:
    feed = tmp_path / "feed"
    for family in ("cpu", "disk"):
        write(feed / f"{family}_202401.csv", lines(f"date,host,{family}_p95,cores", 1, iso))
    write(
        feed / "MEM-202401.csv", lines("date;host;mem_p95", 1, lambda day, host, n: f"{day};{host};{percent(day, n)}")
    )
    contract, _ = inferred(feed)
    memory = next(family for family in contract.families if family.resource == "memory")
    assert (memory.name, memory.path, memory.delimiter) == ("memory_utilization", "MEM-{year}{month}.csv", ";")
    assert contract.feed.path == "{family}_{year}{month}.csv"
    assert contract.feed.delimiter == ","


def test_of_a_resources_columns_the_95th_percentile_is_taken(tmp_path: Path) -> None:
    header = "date,host,cpu_avg,cpu_p95,cpu_max,cpu_count,note\x1b"
    text = lines(header, 1, lambda day, host, n: f"{day},{host},{day.day},{percent(day, n)},{60 + day.day},8,x")
    write(tmp_path / "feed" / "usage_202401.csv", text)
    contract, said = inferred(tmp_path / "feed")
    (cpu,) = contract.families
    assert cpu.columns == ("date", "host", "cpu_p95", "cpu_count")
    assert "Not used: cpu_avg, cpu_max, note?." in said


def test_open_points_are_found_by_line_and_only_in_comments() -> None:
    text = "\n".join(
        [
            "[inventory]",
            *comment(f"Seen. {CHOOSE} first, {'and so on ' * 20}"),
            f'host = "{CHOOSE}"',
            *comment(f"{CHOOSE} second"),
            *comment(f"{'it was so ' * 20}{CHOOSE} This is the point."),
            "# other",
            f"  # {CHOOSE} indented",
            f'delimiter = "#" # {CHOOSE} behind a key',
            "#   and its next line",
            f"""quote = '"' # {CHOOSE} behind a quote""",
            f'text = "a \\" # {CHOOSE} in a string"',
            'lines = """',
            f"# {CHOOSE} in lines of a string",
            '"""',
        ]
    )

    long = f"Seen. first, {'and so on ' * 20}".strip()
    assert open_points(text) == [
        (2, long),
        (6, "second"),
        (8, f"{'it was so ' * 20}This is the point."),
        (11, "indented"),
        (12, "behind a key and its next line"),
        (14, "behind a quote"),
    ]


# The commands.


def test_the_commands_check_show_and_infer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    feed, file = tmp_path / "feed", tmp_path / "contract.toml"
    write(feed / "2024" / "01" / "cpu_202401.csv", lines("date,host,cpu_p95,cores", 1, iso))

    def run(*arguments: str, **variables: str) -> tuple[int, str, str]:
        result = CliRunner().invoke(app, ["contract", *arguments], env=variables)
        return result.exit_code, result.stdout, result.stderr

    assert run("check", str(file)) == (
        2,
        "",
        f"The contract {file} cannot be read (No such file or directory); expected a TOML file.\n",
    )
    assert run("infer", str(tmp_path / "none"))[::2] == (
        2,
        f"{tmp_path / 'none'} is not there; name the feed's folder or files.\n",
    )
    code, said, _ = run("infer", str(feed / "2024" / "01" / "cpu_202401.csv"), "--to", str(file))
    assert (code, said.partition(". ")[0]) == (0, f"Wrote a contract to {file}: 1 point is left open, marked CHOOSE")
    # From a single file the folders that are dates are seen, too.
    assert load_contract(file).family[0].path == "{year}/{month}/cpu_{year}{month}.csv"
    assert run("infer", str(feed), "--to", str(file))[0] == 2
    assert run("infer", str(feed))[1].startswith("# A contract proposed by")
    written = file.read_text()
    (mark,) = [number for number, line in enumerate(written.splitlines(), start=1) if "CHOOSE:" in line]
    assert run("check", str(file)) == (
        2,
        "",
        (
            f"The contract {file} leaves 1 point open. Decide it, delete the mark CHOOSE or its whole comment, and "
            f"check again:\n  line {mark}: none of the files lists the hosts. Name a CSV or Parquet file beside this "
            "one, or a table or view of the warehouse, with one row for each host, and its column of the host's name.\n"
        ),
    )
    file.write_text(written.replace("CHOOSE: ", ""))
    assert run("check", str(file))[:2] == (0, f"The contract {file} is valid: 1 family, cpu_utilization (cpu).\n")

    with_hosts = tmp_path / "with_hosts.toml"
    with_hosts.write_text(file.read_text().replace('source = "hosts"', 'source = "lists/hosts.csv"'))
    code, said, warned = run("check", str(with_hosts))
    assert (code, said.partition(":")[0]) == (0, f"The contract {with_hosts} is valid")
    assert warned.startswith(f"Warning: the file {tmp_path}/lists/hosts.csv, which [inventory] source names, is not ")
    assert '[inventory] source = "lists/hosts.csv" is looked for from' in warned
    write(tmp_path / "lists" / "hosts.csv", "node_name\n")
    assert "hosts.csv has no rows. Until it is corrected, every month is refused" in run("check", str(with_hosts))[2]
    write(tmp_path / "lists" / "hosts.csv", "node_name\nweb-1\n")
    assert run("check", str(with_hosts))[2] == ""
    with_hosts.write_text(with_hosts.read_text().replace("behavior = []", 'behavior = []\nvalid_from = "since"'))
    write(tmp_path / "lists" / "hosts.csv", "node_name,since\nweb-1,01.03.2022\n")
    assert run("check", str(with_hosts))[2] == (
        "Warning: the inventory fails host_names_unique: 1 host, 0 without a name, 0 rows repeat a name, 1 row has no "
        "day for its begin or end. No day: '01.03.2022' (lists/hosts.csv, line 2, since). Until it is corrected, "
        "every month is refused. What to do: Write the days named as YYYY-MM-DD in the file "
        f"{tmp_path}/lists/hosts.csv "
        '([inventory] source in the contract, relative to the contract file), or set date_format = "DD.MM.YYYY" '
        "under [inventory] of the contract, as which they read, and run again.\n"
    )
    declared = with_hosts.read_text().replace('"since"', '"since"\ndate_format = "DD.MM.YYYY"')
    with_hosts.write_text(declared)
    assert run("check", str(with_hosts))[2] == ""

    code, shown, _ = run("show", str(file), REFINERY_MAX_LOSS="0.5")
    assert (code, "# max_loss = 0.5" in shown, "# max_gap_days = 3" in shown) == (0, True, True)
    assert read_contract(shown, file) == load_contract(file)
    assert run("check")[1].startswith("The packaged contract is valid: 4 families, cpu_utilization (cpu), ")
    # The file of the settings names it, too.
    write(tmp_path / ".env", f"REFINERY_CONTRACT={file}\n")
    monkeypatch.chdir(tmp_path)
    assert run("check")[1] == f"The contract {file} is valid: 1 family, cpu_utilization (cpu).\n"
