"""The sample's promises: whole files, ten recognizable behaviours, and dirt that is listed exactly."""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner, Result

from refinery_assets.cli import app
from refinery_assets.contract import columns as dictionary
from refinery_assets.contract.families import Behavior, Fault
from refinery_assets.contract.months import Month
from refinery_assets.contract.packaged import BEHAVIORS, FAMILIES
from refinery_assets.contract.settings import Settings
from refinery_assets.sample.dirt import plant_dirt
from refinery_assets.sample.feed import (
    FeedWritten,
    Sample,
    make_sample,
    source_file,
    write_feed,
    write_inventory,
)
from refinery_assets.sample.fleet import Fleet, Floats
from refinery_assets.sample.life import Lives
from refinery_assets.sample.story import TURNOVER, Story

HOSTS = 20
FIRST, LAST = Month(2024, 1), Month(2024, 2)
DAYS = 31 + 29


def small_fleet(seed: int = 7) -> Fleet:
    return Fleet.make(hosts=HOSTS, first=FIRST, last=LAST, seed=seed)


def small_sample(to: Path, *, dirt: float = 0.0) -> Sample:
    return make_sample(to, hosts=HOSTS, first=FIRST, last=LAST, seed=7, dirt=dirt)


def contents(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def query(warehouse: Path, sql: str) -> list[tuple[Any, ...]]:
    with duckdb.connect(warehouse, read_only=True) as connection:
        return connection.execute(sql).fetchall()


def sample_command(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["sample", *arguments])


def refusal(*arguments: str, code: int = 2) -> str:
    result = sample_command(*arguments)
    assert result.exit_code == code
    return result.stderr.splitlines()[-1]


# What is refused.


def test_too_few_hosts_are_refused_with_the_reason(tmp_path: Path) -> None:
    sentence = refusal("--hosts", "9", "--to", str(tmp_path / "sample"))
    assert sentence.endswith("at least 10 are needed, because each of the ten behaviors must have a host.")
    assert not (tmp_path / "sample").exists()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            ("--first", "2024-02", "--last", "2024-01"),
            "the last month, 2024-01, lies before the first, 2024-02.",
        ),
        (("--first", "2024-13"), "'2024-13' is not a month; expected YYYY-MM, such as 2024-05."),
        (("--dirt", "0.51"), "the share of dirt is 0.51; expected 0 to 0.5."),
        (("--dirt", "-0.1"), "the share of dirt is -0.1; expected 0 to 0.5."),
        (("--dirt", "nan"), "the share of dirt is nan; expected 0 to 0.5."),
        (("--seed", "-1"), "the seed is -1; expected 0 or more."),
    ],
)
def test_a_bad_argument_is_refused_in_one_sentence_before_anything_is_written(
    tmp_path: Path, arguments: tuple[str, ...], sentence: str
) -> None:
    assert refusal(*arguments, "--to", str(tmp_path / "sample")).endswith(f": {sentence}")
    assert not (tmp_path / "sample").exists()


def test_a_target_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    in_the_way = tmp_path / "file"
    in_the_way.touch()
    said = refusal("--to", str(in_the_way / "sample"), code=4)
    assert said.startswith(f"{in_the_way / 'sample'} cannot be read or written (Not a directory)")


def test_a_warehouse_that_is_no_database_is_refused_before_the_feed_is_written(tmp_path: Path) -> None:
    (tmp_path / "refinery.duckdb").write_bytes(b"no database" * 1000)
    said = refusal("--hosts", "10", "--to", str(tmp_path), code=4)
    assert said.startswith("The inventory cannot be written: ")
    assert not (tmp_path / "legacy").exists()


def test_a_file_that_could_not_be_finished_leaves_the_old_one_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_feed(tmp_path, small_fleet())
    before = contents(tmp_path)

    def full_disk(_path: Path, content: bytes) -> int:
        raise OSError(28, f"no room for {len(content)} bytes")

    monkeypatch.setattr(Path, "write_bytes", full_disk)
    with pytest.raises(OSError, match="no room"):
        write_feed(tmp_path, small_fleet(seed=8))
    assert contents(tmp_path) == before


def test_other_tables_of_the_warehouse_are_left_as_they_are(tmp_path: Path) -> None:
    warehouse = tmp_path / "refinery.duckdb"
    with duckdb.connect(warehouse) as connection:
        connection.execute("CREATE TABLE processed_data AS SELECT 42 AS y")
        connection.execute(f"CREATE TABLE {dictionary.HOSTS.name} AS SELECT 'old' AS node_name")
    small_sample(tmp_path)
    assert query(warehouse, "SELECT * FROM processed_data") == [(42,)]
    assert query(warehouse, "SELECT count(*), min(node_name) FROM hosts") == [(HOSTS, "srv-00001")]


def storage_version(warehouse: Path) -> str:
    ((version,),) = query(warehouse, "SELECT tags['storage_version'] FROM duckdb_databases() WHERE NOT internal")
    return str(version).removesuffix("+")


@pytest.mark.parametrize("version", ["v1.2.0", "v2.0.0"])
def test_a_warehouse_made_by_others_keeps_its_storage_version(tmp_path: Path, version: str) -> None:
    warehouse = tmp_path / "refinery.duckdb"
    duckdb.connect(warehouse, config={"storage_compatibility_version": version}).close()

    small_sample(tmp_path)

    assert storage_version(warehouse) == version


def test_a_warehouse_made_here_can_be_read_by_the_duckdb_that_is_supported_for_long(tmp_path: Path) -> None:
    warehouse = small_sample(tmp_path).warehouse

    assert storage_version(warehouse) == "v1.4.0"
    # The number in the file's header, after which DuckDB 1.4 refuses a file: its own is 67.
    header = warehouse.read_bytes()[:20]
    assert header[8:12] == b"DUCK"
    assert int.from_bytes(header[12:20], "little") <= 67


# The inventory.


def test_the_inventory_has_the_columns_and_types_of_the_contract(tmp_path: Path) -> None:
    write_inventory(tmp_path / "any.duckdb", small_fleet())
    described = query(tmp_path / "any.duckdb", f"DESCRIBE {dictionary.HOSTS.name}")
    assert [(name, kind) for name, kind, *_ in described] == [
        (column.name, column.type_name) for column in dictionary.HOSTS.columns
    ]
    assert [name for name, _, null, *_ in described if null == "NO"] == ["node_name"]


def test_every_behaviour_has_its_even_share_of_hosts() -> None:
    for hosts in (10, 23):
        fleet = Fleet.make(hosts=hosts, first=FIRST, last=LAST, seed=1)
        counts = Counter(Behavior(*pair) for pair in fleet.inventory.select("scenario", "variant").rows())
        assert set(counts) == set(BEHAVIORS)
        assert max(counts.values()) - min(counts.values()) <= 1


# The fleet's life.


@pytest.fixture(scope="module")
def long_lived() -> Fleet:
    """Three years in which hosts come, go and come back."""
    return Fleet.make(hosts=400, first=Month(2023, 1), last=Month(2025, 12), seed=7)


def test_hosts_come_and_go_and_come_back_and_the_same_seed_has_the_same_ones_do_so(long_lived: Fleet) -> None:
    table = long_lived.hosts_table
    rows = Counter(table["node_name"])
    assert set(rows) == set(long_lived.inventory["node_name"])
    born = table.filter(pl.col("valid_from").is_not_null() & pl.col("valid_to").is_null())
    retired = table.filter(pl.col("valid_to").is_not_null())
    back = [name for name, count in rows.items() if count > 1]
    assert (born.height - len(back), retired.height, len(back)) == (14, 14, 5)
    for name in back:
        gone, returned = table.filter(node_name=name).sort("valid_from", nulls_last=False).rows()
        assert returned[-2] > gone[-1]
    assert table.equals(Fleet.make(hosts=400, first=Month(2023, 1), last=Month(2025, 12), seed=7).hosts_table)
    assert not table.equals(Fleet.make(hosts=400, first=Month(2023, 1), last=Month(2025, 12), seed=8).hosts_table)


@pytest.mark.parametrize("hosts", [10, 20, 400])
def test_every_behavior_has_a_host_on_every_day(hosts: int) -> None:
    fleet = Fleet.make(hosts=hosts, first=Month(2023, 1), last=Month(2025, 12), seed=7)
    pairs = np.array(["/".join(pair) for pair in fleet.inventory.select("scenario", "variant").rows()])
    for month in fleet.months:
        there = fleet.lives.are_there(month, hosts)
        assert all(there[:, pairs == str(behavior)].any(axis=1).all() for behavior in BEHAVIORS), month


def test_the_files_have_the_rows_of_the_hosts_that_are_there_and_the_capacity_of_the_day(tmp_path: Path) -> None:
    fleet = Fleet.make(hosts=400, first=FIRST, last=Month(2024, 3), seed=7)
    assert fleet.lives.periods
    assert fleet.lives.upgrades

    written = write_feed(tmp_path, fleet)

    assert written.rows == fleet.rows < 400 * 91 * len(FAMILIES)
    names = fleet.inventory["node_name"].to_list()
    for resource, family in enumerate(FAMILIES):
        files = [pl.read_csv(tmp_path / source_file(family, month), try_parse_dates=True) for month in fleet.months]
        rows = pl.concat(files)
        for host, periods in fleet.lives.periods.items():
            days = rows.filter(host_id=names[host])["date"].to_list()
            assert days == [
                day
                for month in fleet.months
                for day in month.days
                if any((begin or day) <= day and (end is None or day < end) for begin, end in periods)
            ]
        for host, upgrade in fleet.lives.upgrades.items():
            limit, of_host = fleet.capacities(family)[host], rows.filter(host_id=names[host])
            if upgrade.resource == resource:
                assert limit is not None
                stated = dict(of_host.select("date", str(family.capacity)).rows())
                assert {day: limit if day >= upgrade.day else limit // 2 for day in stated} == stated


def test_a_host_with_twice_as_much_reads_half_of_what_it_would(long_lived: Fleet) -> None:
    host, upgrade = min(long_lived.lives.upgrades.items())
    month = Month.of(upgrade.day)
    without = Fleet.make(hosts=400, first=Month(2023, 1), last=Month(2025, 12), seed=7)
    vars(without)["lives"] = Lives()

    share = long_lived.readings(month)[:, :, host] / without.readings(month)[:, :, host]

    for resource in range(len(FAMILIES)):
        halved = [resource == upgrade.resource and day >= upgrade.day for day in month.days]
        assert np.allclose(share[resource], np.where(halved, 0.5, 1.0))


# The files.


def test_the_same_seed_gives_the_same_bytes_and_another_seed_gives_others(tmp_path: Path) -> None:
    for name, seed in (("one", 7), ("same", 7), ("other", 8)):
        write_feed(tmp_path / name, small_fleet(seed), dirt=0.1, planted_file=tmp_path / name / "planted.csv")
    one, same, other = (contents(tmp_path / name) for name in ("one", "same", "other"))
    assert one == same
    assert one.keys() == other.keys()
    assert all(one[file] != other[file] for file in one)


def test_a_month_reads_the_same_whichever_months_were_made_before_it() -> None:
    fleet = small_fleet()
    for month in fleet.months:
        fleet.readings(month)
    assert np.array_equal(fleet.readings(LAST), small_fleet().readings(LAST))


def test_every_file_is_full_and_sorted_under_the_header_of_its_family(tmp_path: Path) -> None:
    sample = small_sample(tmp_path)
    assert sample.feed == tmp_path / "legacy" / "inputs"
    assert sample.written == FeedWritten(files=8, rows=DAYS * HOSTS * len(FAMILIES), planted={})
    names = sample.fleet.inventory["node_name"].to_list()
    for month in (FIRST, LAST):
        for family in FAMILIES:
            text = (sample.feed / source_file(family, month)).read_bytes().decode()
            assert text.endswith("\n")
            assert "\r" not in text
            header, *rows = csv.reader(text.splitlines())
            assert tuple(header) == family.columns
            expected = [(str(day), name) for day in month.days for name in names]
            assert [(day, host) for day, host, _, _ in rows] == expected
            for _, _, value, _ in rows:
                assert 0.0 <= float(value) <= 100.0
                assert len(value.partition(".")[2]) <= 2
    assert len([path for path in sample.feed.rglob("*") if path.is_file()]) == sample.written.files


def test_the_capacities_in_the_files_are_those_of_the_inventory(tmp_path: Path) -> None:
    sample = small_sample(tmp_path)
    hosts = query(sample.warehouse, "SELECT cpu_cores, memory_gb, storage_capacity_mb FROM hosts")
    for family, limits in zip(FAMILIES, zip(*hosts, strict=True), strict=False):
        file = pl.read_csv(sample.feed / source_file(family, LAST))
        assert file[str(family.capacity)].to_list() == list(limits) * 29, family.name


def test_most_hosts_have_no_network_capacity_and_the_others_keep_theirs() -> None:
    fleet = Fleet.make(hosts=1000, first=FIRST, last=LAST, seed=7)
    links = fleet.capacities(FAMILIES[3])
    assert set(links) == {None, 1000, 10000}
    assert 0.85 < links.count(None) / len(links) < 0.95
    assert links == fleet.capacities(FAMILIES[3])


def test_the_command_line_says_what_it_made_and_where(tmp_path: Path) -> None:
    options = ("--hosts", "10", "--first", "2024-02", "--last", "2024-02", "--dirt", "0.1", "--to", str(tmp_path))
    result = sample_command(*options)
    assert result.exit_code == 0
    assert result.stdout.startswith(f"Made 10 hosts in {tmp_path}/refinery.duckdb and ")
    assert f"4 files, 2024-02 to 2024-02, in {tmp_path}/legacy/inputs" in result.stdout
    assert result.stdout.endswith(f"as listed in {tmp_path}/planted.csv.\n")
    assert "4/4" in result.stderr


# The curves, over three years.


@pytest.fixture(scope="module")
def life() -> dict[Behavior, Floats]:
    """Readings by behaviour: resources x days x hosts."""
    fleet = Fleet.make(hosts=60, first=Month(2023, 1), last=Month(2025, 12), seed=7)
    readings = np.concatenate([fleet.readings(month) for month in fleet.months], axis=1)
    pairs = fleet.inventory.select("scenario", "variant").rows()
    # An upgrade breaks the curve of one resource, as it is meant to.
    return {
        behavior: readings[
            :,
            :,
            [
                pair == (behavior.scenario, behavior.variant) and host not in fleet.lives.upgrades
                for host, pair in enumerate(pairs)
            ],
        ]
        for behavior in BEHAVIORS
    }


Life = dict[Behavior, Floats]


def of(life: Life, scenario: str, variant: str) -> Floats:
    return life[Behavior(scenario, variant)]


def first_day_at(readings: Floats, level: float) -> Floats:
    """For each resource and host the first day at `level`; the number of days where there is none."""
    reached = readings >= level
    first: Floats = np.where(reached.any(axis=1), reached.argmax(axis=1), readings.shape[1])
    return first


def monthly_means(readings: Floats) -> Floats:
    """Means of 30 days each, which leave no week and little noise."""
    whole = readings[:, : readings.shape[1] // 30 * 30]
    means: Floats = whole.reshape(whole.shape[0], -1, 30, whole.shape[2]).mean(axis=2)
    return means


def test_the_resources_of_a_host_move_together(life: Life) -> None:
    for behavior, readings in life.items():
        for host in range(readings.shape[2]):
            least = np.corrcoef(readings[:, :, host]).min()
            assert least > (0.3 if behavior.scenario == "LOW_IDLE" else 0.8), (behavior, host, least)


def test_the_resources_of_a_host_are_not_copies_of_each_other(life: Life) -> None:
    for behavior, readings in life.items():
        assert np.abs(readings[0, :200] - readings[1, :200]).mean() > 0.05, behavior


def test_steady_growth_stays_well_under_unless_it_breaches(life: Life) -> None:
    normal, breach = of(life, "STEADY_GROWTH", "NORMAL"), of(life, "STEADY_GROWTH", "BREACH")
    assert (normal[:, -90:].mean(axis=1) > normal[:, :90].mean(axis=1) + 5).all()
    assert normal.max() < 75
    assert (breach[:, -30:].mean(axis=1) > 80).all()
    assert (breach[:, :365] < 90).all()


def test_an_extreme_season_swings_wider_than_a_balanced_one(life: Life) -> None:
    def swing(readings: Floats) -> Floats:
        means = monthly_means(readings)
        spread: Floats = means.max(axis=1) - means.min(axis=1)
        return spread

    balanced, extreme = of(life, "SEASONAL", "BALANCED"), of(life, "SEASONAL", "EXTREME")
    assert swing(extreme).min() > 1.8 * swing(balanced).max()
    assert (np.abs(balanced[:, :365].mean(axis=1) - balanced[:, 730:1095].mean(axis=1)) < 2).all()


def test_a_balanced_season_has_a_weekly_rhythm(life: Life) -> None:
    weeks = of(life, "SEASONAL", "BALANCED")[:, 1:].copy()  # 2023-01-01 is a Sunday
    days = weeks[:, : 155 * 7].reshape(4, 155, 7, -1).mean(axis=1)
    assert (days[:, :5].min(axis=1) > days[:, 5:].max(axis=1) + 2).all()


def test_extreme_bursts_rise_higher_than_moderate_ones_from_a_low_base(life: Life) -> None:
    moderate, extreme = of(life, "BURST", "MODERATE"), of(life, "BURST", "EXTREME")
    for readings in (moderate, extreme):
        assert np.median(readings) < 30
    assert (extreme.max(axis=1) > 70).all()
    assert ((moderate.max(axis=1) > 35) & (moderate.max(axis=1) < 70)).all()


def test_a_burst_goes_on_across_the_end_of_a_month(life: Life) -> None:
    extreme = of(life, "BURST", "EXTREME")[0]
    firsts = [
        (month.first_day - Month(2023, 1).first_day).days for month in Month.span(Month(2023, 2), Month(2025, 12))
    ]
    was_up, is_up = extreme[[day - 1 for day in firsts]] > 50, extreme[firsts] > 50
    assert was_up.sum() > 10
    # A burst lasts several days: the day after one of its days is mostly another one.
    assert (was_up & is_up).sum() / was_up.sum() > 0.5


def test_idle_hosts_stay_low_and_only_the_variable_ones_wobble(life: Life) -> None:
    stable, variable = of(life, "LOW_IDLE", "STABLE"), of(life, "LOW_IDLE", "VARIABLE")
    assert stable.max() < 10
    assert variable.max() < 25
    assert variable.std(axis=1).min() > 2 * stable.std(axis=1).max()


def test_a_severe_breach_is_pinned_at_the_ceiling_long_before_an_imminent_one_gets_there(life: Life) -> None:
    imminent, severe = of(life, "CAPACITY_BREACH", "IMMINENT"), of(life, "CAPACITY_BREACH", "SEVERE")
    assert first_day_at(severe, 100.0).max() < 850
    assert first_day_at(imminent, 90.0).min() > 950
    assert (severe[:, 850:] > 97).all()
    assert (imminent[:, -14:].max(axis=1) > 90).all()
    # A runaway, not a line: half of its way up comes in the last quarter of its time.
    assert (imminent[:, 540:560].mean(axis=1) < 35).all()


# The dirt.


@pytest.mark.parametrize("dirt", [0.0001, 0.05, 0.5])
def test_the_list_of_planted_rows_matches_the_files_line_by_line(tmp_path: Path, dirt: float) -> None:
    sample = small_sample(tmp_path, dirt=dirt)
    assert sample.planted_file == tmp_path / "planted.csv"
    with sample.planted_file.open(newline="") as file:
        reader = csv.DictReader(file)
        planted = list(reader)
    assert reader.fieldnames == [column.name for column in dictionary.QUARANTINED_ROWS.columns]
    assert Counter(row["fault"] for row in planted) == sample.written.planted

    rows = 0
    for month in (FIRST, LAST):
        for family in FAMILIES:
            name = source_file(family, month)
            lines = (sample.feed / name).read_text().splitlines()
            rows += len(lines) - 1
            here = [row for row in planted if row["source_file"] == name]
            assert {(row["month"], row["resource"]) for row in here} == {(str(month), family.resource)}
            assert {row["fault"] for row in here} == set(Fault)
            assert all(lines[int(row["source_line"]) - 1] == row["raw"] for row in here)
            assert len(here) == max(9, round(dirt * len(month.days) * HOSTS))
    assert rows == sample.written.rows


@pytest.mark.parametrize("dirt", [0.05, 0.5])
def test_every_row_that_was_not_planted_is_as_it_would_be_without_dirt(tmp_path: Path, dirt: float) -> None:
    clean, dirty = small_sample(tmp_path / "clean"), small_sample(tmp_path / "dirty", dirt=dirt)
    assert dirty.planted_file is not None
    planted = pl.read_csv(dirty.planted_file, infer_schema=False)
    for month in (FIRST, LAST):
        for family in FAMILIES:
            name = source_file(family, month)
            bad = planted.filter(pl.col("source_file") == name)
            at = {int(line) for line in bad["source_line"]}
            good = (clean.feed / name).read_text().splitlines()
            kept = [
                line
                for number, line in enumerate((dirty.feed / name).read_text().splitlines(), start=1)
                if number not in at
            ]
            added = bad["fault"].is_in([Fault.DUPLICATE, Fault.SUPERSEDED]).sum()
            assert len(kept) == len(good) - (bad.height - added)
            left = set(kept)
            assert kept == [line for line in good if line in left]


def test_a_duplicate_follows_its_original_and_a_superseded_row_precedes_the_good_one(tmp_path: Path) -> None:
    sample = small_sample(tmp_path, dirt=0.3)
    assert sample.planted_file is not None
    planted = pl.read_csv(sample.planted_file, infer_schema=False)
    for name, faulty in planted.group_by("source_file"):
        lines = (sample.feed / str(name[0])).read_text().splitlines()
        at = {int(line) for line in faulty["source_line"]}
        good = {
            tuple(line.split(",")[:2]): (number, line) for number, line in enumerate(lines, start=1) if number not in at
        }
        for number, raw, fault in faulty.select("source_line", "raw", "fault").iter_rows():
            point = tuple(raw.split(",")[:2])
            if fault == Fault.DUPLICATE:
                assert good[point][1] == raw
                assert good[point][0] < int(number)
            if fault == Fault.SUPERSEDED:
                assert good[point][1].split(",")[2] != raw.split(",")[2]
                assert 0.0 <= float(raw.split(",")[2]) <= 100.0
                assert good[point][0] > int(number)


def test_no_two_planted_rows_share_a_host_and_day() -> None:
    rows = [f"2024-01-{day:02d},srv-{host:05d},50.0,8\n" for day in range(1, 32) for host in range(20)]
    dirty = plant_dirt("".join(rows).encode(), FAMILIES[0], FIRST, seed=7, share=0.5)
    left = Counter(dirty.lines.decode().splitlines())
    for row in dirty.planted:
        left[row.raw] -= 1
    # Every good row is there once, or is gone because one row was planted in its place.
    assert set(left.values()) <= {0, 1}
    assert left.total() == len(rows) - (len(dirty.planted) - dirty.added)


def test_each_planted_row_shows_its_fault() -> None:
    rows = [f"2024-01-{day:02d},srv-{host:05d},50.5,8\n" for day in range(1, 32) for host in range(20)]
    dirty = plant_dirt("".join(rows).encode(), FAMILIES[0], FIRST, seed=7, share=0.5)
    by_fault: dict[Fault, list[list[str]]] = {fault: [] for fault in Fault}
    for row in dirty.planted:
        by_fault[row.fault].append(row.raw.split(","))
    good_days = {str(day) for day in FIRST.days}

    assert {len(fields) for fields in by_fault.pop(Fault.MALFORMED_ROW)} == {2, 3, 5}
    for fault, planted in by_fault.items():
        for day, host, value, _ in planted:
            assert (day in good_days) == (fault not in {Fault.BAD_TIMESTAMP, Fault.OUTSIDE_MONTH})
            assert bool(host.strip()) == (fault is not Fault.MISSING_HOST)
            assert bool(value.strip()) == (fault is not Fault.MISSING_VALUE)
    assert all(Month.parse(day[:7]) != FIRST for day, *_ in by_fault[Fault.OUTSIDE_MONTH])
    assert all(not 0.0 <= float(value) <= 100.0 for _, _, value, _ in by_fault[Fault.OUT_OF_RANGE])


def test_a_clean_sample_removes_the_list_that_an_earlier_dirty_one_left(tmp_path: Path) -> None:
    small_sample(tmp_path, dirt=0.1)
    assert small_sample(tmp_path).planted_file is None
    assert not (tmp_path / "planted.csv").exists()


# What happens to the demo's fleet.


@pytest.mark.parametrize("hosts", [10, 200])
def test_the_demos_fleet_changes_without_losing_a_behavior_or_a_fifth_of_its_hosts(hosts: int) -> None:
    fleet = Fleet.make(hosts=hosts, first=Month(2023, 1), last=Month(2025, 12), seed=7, turnover=TURNOVER)
    story = Story(fleet)
    behaviors = (fleet.inventory["scenario"] + fleet.inventory["variant"]).to_numpy()

    due = [(fleet.lives.are_there(month, hosts) & story.is_reporting(month)).any(axis=0) for month in fleet.months]

    assert all(len(set(behaviors[hosts_due])) == 10 for hosts_due in due)
    assert min(hosts_due.mean() for hosts_due in due) > Settings.min_coverage
    if hosts == 200:
        assert len({hosts_due.sum() for hosts_due in due}) > 5
        assert due[0].sum() < due[-1].sum() < hosts


def test_the_demos_file_is_cut_off_in_the_middle_of_a_line_and_delivered_again_whole(tmp_path: Path) -> None:
    sample = make_sample(tmp_path, hosts=HOSTS, first=FIRST, last=LAST, seed=7, with_story=True)
    month = Story(sample.fleet).cut_month
    assert month is not None

    (whole,) = (tmp_path / "redelivered").iterdir()
    cut = tmp_path / "legacy" / "inputs" / f"{month.year}" / f"{month.month:02}" / whole.name
    assert not cut.read_bytes().endswith(b"\n")
    assert whole.read_bytes().startswith(cut.read_bytes())
    assert whole.read_bytes().endswith(b"\n")
