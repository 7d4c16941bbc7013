"""Hosts whose names are what exports write for nothing: `null`, `NA`, `-`."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest

from refinery_assets.contract.contract_file import packaged_contract
from refinery_assets.contract.months import Month
from refinery_assets.contract.packaged import FAMILIES
from refinery_assets.contract.settings import Settings
from refinery_assets.feed.files import FeedFile
from refinery_assets.rows.family import Refined, refine_file
from refinery_assets.warehouse.inventory import odd_host_names
from refinery_assets_tests.hostile import read_clean
from refinery_assets_tests.scenario import CPU, JANUARY, Sandbox

MAY = Month(2024, 5)
HEADER = "date,host_id,cpu_p95,max_cores"

# The first is read at once, the second line by line, for its quotes.
SHAPES = {"plain": "{day},{host},41.5,8", "quoted": '{day},"{host}",41.5,8'}


class Asked:
    """Answers with the odd hosts, and counts how often it was asked."""

    def __init__(self, *names: str) -> None:
        self.names = frozenset(names)
        self.times = 0

    def __call__(self) -> frozenset[str]:
        self.times += 1
        return self.names


def refine(folder: Path, odd_hosts: Asked, *rows: str) -> Refined:
    file = FeedFile(folder, FAMILIES[0], MAY)
    file.path.parent.mkdir(parents=True, exist_ok=True)
    file.path.write_text("".join(f"{row}\n" for row in (HEADER, *rows)))
    return refine_file(file, Settings(), odd_hosts)


def rows_of(shape: str, *hosts: str) -> list[str]:
    return [shape.format(day="2024-05-01", host=host) for host in hosts]


def verdicts(refined: Refined) -> list[tuple[str | None, str | None]]:
    return refined.partition.sort("source_line").select("host_id", "fault").rows()


# What stays a missing host.


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES.keys())
def test_a_name_that_no_host_of_the_inventory_has_is_still_a_missing_host(tmp_path: Path, shape: str) -> None:
    refined = refine(tmp_path, Asked("null"), *rows_of(shape, "web-1", "NULL", "n/a", ""))

    assert verdicts(refined) == [
        ("web-1", None),
        ("NULL", None),
        (None, "missing_host"),
        (None, "missing_host"),
    ]


def test_a_value_that_says_null_is_missing_whatever_the_hosts_are_named(tmp_path: Path) -> None:
    refined = refine(tmp_path, Asked("null"), "2024-05-01,null,null,8")

    assert verdicts(refined) == [("null", "missing_value")]


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES.keys())
def test_the_inventory_is_not_asked_where_no_host_is_named_so(tmp_path: Path, shape: str) -> None:
    asked = Asked("null")

    refined = refine(tmp_path, asked, *rows_of(shape, "web-1", "null-1", ""))

    assert asked.times == 0
    assert refined.stats.odd_hosts is None


def test_an_inventory_without_such_hosts_or_without_hosts_has_none() -> None:
    with duckdb.connect() as connection:
        assert odd_host_names(connection, packaged_contract()) == frozenset()
        connection.execute("CREATE TABLE hosts (node_name VARCHAR, scenario VARCHAR, variant VARCHAR)")
        connection.execute("INSERT INTO hosts (node_name) VALUES ('web-1'), (NULL), (''), ('null-1')")
        assert odd_host_names(connection, packaged_contract()) == frozenset()


# What is a host.


def test_the_inventorys_odd_hosts_are_known_without_regard_to_case() -> None:
    with duckdb.connect() as connection:
        connection.execute("CREATE TABLE hosts (node_name VARCHAR, scenario VARCHAR, variant VARCHAR)")
        connection.execute("INSERT INTO hosts (node_name) VALUES ('web-1'), ('NULL'), ('n/A'), ('-')")
        assert odd_host_names(connection, packaged_contract()) == {"null", "n/a", "-"}


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES.keys())
@pytest.mark.parametrize("host", ["null", "NA", "-", "n/a", "None"])
def test_a_host_that_is_really_named_so_is_a_host(tmp_path: Path, shape: str, host: str) -> None:
    refined = refine(tmp_path, Asked("null", "na", "-", "n/a", "none"), *rows_of(shape, host, "web-1"))

    assert verdicts(refined) == [(host, None), ("web-1", None)]
    assert refined.stats.hosts == 2


def test_a_file_with_such_a_host_is_read_as_fast_as_any() -> None:
    data = f"{HEADER}\n2024-05-01,null,41.5,8\n".encode()

    assert read_clean(data, FAMILIES[0], MAY) is None
    assert read_clean(data, FAMILIES[0], MAY, Asked("null")) is not None


def test_what_the_inventory_answered_is_part_of_what_the_rows_were_made_by(tmp_path: Path) -> None:
    row = "2024-05-01,null,41.5,8"
    without, with_host, with_more = (
        refine(tmp_path, Asked(*names), row).stats.rules for names in ((), ("null",), ("na", "null"))
    )

    assert len({without, with_host, with_more}) == 3


@pytest.mark.slow
def test_a_host_named_null_is_published_once_the_inventory_holds_it(sandbox: Sandbox) -> None:
    for family in FAMILIES:
        lines = sandbox.lines(family, JANUARY)
        sandbox.write_lines(family, JANUARY, [line.replace(",srv-00001,", ",null,") for line in lines])
    renamed = "UPDATE hosts SET node_name = $new WHERE node_name = $old"

    # A twentieth of the rows is more than may be quarantined.
    refused = sandbox.refine(JANUARY)
    assert refused.verdict(CPU.name, "quarantine_within_tolerance") == "failed"

    sandbox.execute(renamed, {"old": "srv-00001", "new": "NULL"})
    assert sandbox.refine(JANUARY).success
    published = "SELECT count(*) FROM processed_data WHERE host_id = 'NULL'"
    assert sandbox.query(published) == [(4 * 31,)]

    # The partitions were made by an inventory that holds the host, so they do not serve for one without.
    sandbox.execute(renamed, {"old": "NULL", "new": "srv-00001"})
    assert sandbox.refine(JANUARY).verdict(CPU.name, "quarantine_within_tolerance") == "failed"
