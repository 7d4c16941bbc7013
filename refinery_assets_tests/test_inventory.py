"""The inventory: any table, view or file, its columns by the contract's names, and what is wrong with one."""

from __future__ import annotations

import re
from datetime import date, time
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pytest

import refinery_assets
from refinery_assets.checks.rules import Outcome, Verdict
from refinery_assets.contract.columns import TABLES, VIEWS, views_of
from refinery_assets.contract.contract_file import Contract, ContractError, packaged_contract
from refinery_assets.contract.months import Month
from refinery_assets.contract.own_names import OWN_COLUMNS, OWN_PREFIX, OWN_TABLES
from refinery_assets.contract.settings import Settings
from refinery_assets.warehouse.facts import Inventory, MonthOfTable, TableFacts
from refinery_assets.warehouse.fleet import name_fleet
from refinery_assets.warehouse.inventory_file import read_inventory_file
from refinery_assets.warehouse.inventory_source import keep_inventory
from refinery_assets.warehouse.publish_checks import PUBLISH_RULES
from refinery_assets.warehouse.tables import ForeignTableError, ensure_table
from refinery_assets.warehouse.unknown_hosts import Occurrences, UnknownHosts
from refinery_assets.warehouse.views import ensure_views_free, make_views
from refinery_assets_tests.inventories import contract_with, judge_inventory, settings_with

ASSETS = 'source = "assets"\nhost = "server"\nbehavior = ["kind"]\nvalid_from = "since"\nattributes = ["rack"]'
PERIODS = 'source = "assets"\nhost = "server"\nbehavior = []\nvalid_from = "since"\nvalid_to = "until"'

FILE = 'source = "hosts.csv"\nhost = "server"\nbehavior = []'


def judged(folder: Path, inventory: str, *statements: str, behaviors: str = "") -> dict[str, Verdict]:
    """What the rules say of an inventory in a warehouse that these statements made."""
    settings = settings_with(Settings(), contract_with(folder, inventory, behaviors))
    with duckdb.connect() as connection:
        for statement in statements:
            connection.execute(statement)
        return judge_inventory(connection, settings)


def query(connection: duckdb.DuckDBPyConnection, sql: str) -> list[tuple[Any, ...]]:
    return connection.execute(sql).fetchall()


# What is refused at start.


@pytest.mark.parametrize(
    ("inventory", "sentence"),
    [
        ('source = "Processed_Data"', "[inventory] source is 'Processed_Data', which is the name of a table or view"),
        ('source = "main.host_inventory"', "[inventory] source is 'main.host_inventory', which is the name"),
        ('source = "_refinery_fleet"', "expected a table, view or file of yours."),
        ('attributes = ["Demand"]', "[inventory] attributes names 'demand', and the views have a column of that name"),
        ('attributes = ["valid_from"]\nvalid_to = "until"', "[inventory] attributes names 'valid_from', and the views"),
        ('attributes = ["rack", "RACK "]', "[inventory] attributes names 'rack' twice; keep one."),
        ('valid_from = "day"\nvalid_to = "day"', "[inventory] names the column 'day' twice; give each its own."),
    ],
)
def test_names_that_the_refinery_has_itself_are_refused_at_start(tmp_path: Path, inventory: str, sentence: str) -> None:
    with pytest.raises(ContractError, match=re.escape(sentence)):
        contract_with(tmp_path, inventory)


def test_the_names_that_are_refused_are_all_that_there_are() -> None:
    package = Path(refinery_assets.__file__).parent
    made = {
        name
        for path in package.rglob("*.py")
        for name in re.findall(r"(?:TEMP (?:TABLE|VIEW) |\.register\(\")(\w+)", path.read_text())
        if not path.is_relative_to(package / "sample")
    }

    assert {f"{OWN_PREFIX}fleet", f"{OWN_PREFIX}inventory", "audit_months"} <= made
    plain = {name for name in made if not name.startswith(OWN_PREFIX)}
    assert plain | {relation.name for relation in (*TABLES, *VIEWS)} <= OWN_TABLES
    own = {
        column.name
        for relation in VIEWS
        if relation.name in {"series", "forecast_panel"}
        for column in relation.columns
        if not column.source.startswith("`host_inventory`")
    }
    assert own == OWN_COLUMNS


# What the checks say of an inventory that will not do.

NO_SOURCE: dict[str, tuple[str, list[str], str]] = {
    "no such table": (
        ASSETS,
        ["CREATE TABLE servers (x INTEGER)"],
        "no table or view assets, which [inventory] source names; a file ends in .csv or .parquet. It has servers.",
    ),
    "a file of another kind": (
        'source = "hosts.xlsx"',
        [],
        "no table or view hosts.xlsx, which [inventory] source names; a file ends in .csv or .parquet. It has none of",
    ),
    "no host": (
        ASSETS,
        ["CREATE TABLE assets (name VARCHAR, kind VARCHAR, since DATE, rack VARCHAR)"],
        "the table assets lacks server, which [inventory] host names. Its columns are name, kind, since, rack.",
    ),
    "no behavior and no attribute": (
        ASSETS,
        ["CREATE VIEW assets AS SELECT 'a' AS server, DATE '2024-01-01' AS since"],
        "the view assets lacks kind, which [inventory] behavior names, and rack, which [inventory] attributes names.",
    ),
    "no period": (
        ASSETS,
        ["CREATE TABLE assets (server VARCHAR, kind VARCHAR, rack VARCHAR)"],
        "the table assets lacks since, which [inventory] valid_from names.",
    ),
    "a number for a day": (
        ASSETS,
        ["CREATE TABLE assets (server VARCHAR, kind VARCHAR, since INTEGER, rack VARCHAR)"],
        "the table assets has no days in since, which [inventory] valid_from names, but INTEGER.",
    ),
    "no rows": (
        ASSETS,
        ["CREATE TABLE assets (server VARCHAR, kind VARCHAR, since DATE, rack VARCHAR)"],
        "the table assets has no rows.",
    ),
    "a view on a table that is gone": (
        PERIODS,
        ["CREATE TABLE t (server INTEGER, since DATE, until DATE)", "CREATE VIEW assets AS FROM t", "DROP TABLE t"],
        "the inventory cannot be read. DuckDB says: Catalog Error: Table with name t does not exist!",
    ),
    "a view that fails when it is read": (
        PERIODS,
        ["CREATE VIEW assets AS SELECT 'x'::INTEGER + range AS server, '' AS since, '' AS until FROM range(3)"],
        "the inventory cannot be read. DuckDB says: Conversion Error",
    ),
    "no file": ('source = "lists/hosts.csv"', [], "hosts.csv, which [inventory] source names, is not there. In its"),
}


@pytest.mark.parametrize(("inventory", "statements", "sentence"), NO_SOURCE.values(), ids=NO_SOURCE.keys())
def test_an_inventory_that_is_not_there_is_told_with_the_contracts_key(
    tmp_path: Path, inventory: str, statements: list[str], sentence: str
) -> None:
    found = judged(tmp_path, inventory, *statements)

    assert found["inventory_initialized"].outcome is Outcome.FAILED
    assert sentence in found["inventory_initialized"].finding.message


FILES: dict[str, tuple[str, bytes, str]] = {
    "a line too long": ("csv", b"server\na\nb,c\n", "has 2 fields in line 3, and 1 in its header"),
    "a line too short": ("csv", b"server,rack\na,1\nb\n", "has 1 field in line 3, and 2 in its header"),
    "a quote that stays open": ("csv", b'server,rack\n"a,1\nb,2\n', "cannot be read as CSV: line 3"),
    "a name twice": ("csv", b"server,rack,Rack \na,1,2\n", "has two columns of one name in its header"),
    "other bytes": (
        "csv",
        b"server\n\xff\xfe\n",
        'is not UTF-8 text; set encoding under [inventory] to what it is, such as "latin-1".',
    ),
    "nothing": ("csv", b"", "is empty"),
    "nothing but blanks": ("csv", b"\xef\xbb\xbf\n \r\n", "is empty"),
    "nothing but a header": ("csv", b"\xef\xbb\xbfserver,rack\n", "hosts.csv has no rows."),
    "other columns": ("csv", b"host\na\n", "hosts.csv lacks server, which [inventory] host names"),
    "no Parquet": ("parquet", b"server\na\n", "cannot be read as Parquet"),
}


@pytest.mark.parametrize(("kind", "content", "sentence"), FILES.values(), ids=FILES.keys())
def test_a_file_is_read_whole_or_refused_in_a_sentence(
    tmp_path: Path, kind: str, content: bytes, sentence: str
) -> None:
    (tmp_path / f"hosts.{kind}").write_bytes(content)

    found = judged(tmp_path, f'source = "hosts.{kind}"\nhost = "server"\nbehavior = []')

    assert found["inventory_initialized"].outcome is Outcome.FAILED
    assert sentence in found["inventory_initialized"].finding.message


@pytest.mark.parametrize("content", [None, b"", b"server\n"], ids=["missing", "empty", "header only"])
def test_what_to_do_about_an_inventory_that_is_a_file_names_the_file(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "hosts.csv").write_bytes(content)

    found = judged(tmp_path, FILE)

    file = f"the file {tmp_path / 'hosts.csv'} ([inventory] source in the contract, relative to the contract file)"
    assert found["inventory_initialized"].recovery.startswith(f"See to {file}: have the list of hosts exported there")
    assert found["host_names_unique"].recovery == "See inventory_initialized."
    assert f"the file {tmp_path / 'hosts.csv'}" in found["inventory_initialized"].finding.message


def test_what_follows_from_an_inventory_that_is_not_there_points_to_the_check_that_says_so() -> None:
    with duckdb.connect() as connection:
        found = judge_inventory(connection, Settings())

    assert all(verdict.failed for verdict in found.values())
    assert found["inventory_initialized"].recovery.startswith("Load the inventory into the table hosts")
    assert found["host_names_unique"].recovery == "See inventory_initialized."
    assert found["behaviors_complete"].recovery == "See inventory_initialized."


def test_hosts_that_the_inventorys_file_lacks_are_to_be_added_to_it(tmp_path: Path) -> None:
    (tmp_path / "hosts.csv").write_bytes(b"server\nweb-1\nWEB-1\n")

    found = judged(tmp_path, FILE)
    month = MonthOfTable(
        Month(2024, 5),
        {"cpu": TableFacts()},
        None,
        Inventory(0, {}, 0),
        settings_with(Settings(), contract_with(tmp_path, FILE)),
        unknown_hosts=UnknownHosts(Occurrences(1, 1, ["cpu"])),
    )
    rule = next(rule for rule in PUBLISH_RULES if rule.name == "referential_integrity")

    assert found["host_names_unique"].recovery.startswith(f"Correct names and periods in the file {tmp_path}")
    verdict = rule.verdict("processed_data", month.month, month)
    assert verdict.recovery.startswith(f"Add the hosts named to the file {tmp_path / 'hosts.csv'} ([inventory] source")


ASSET = "INSERT INTO assets VALUES "
NAMES: dict[str, tuple[str, str]] = {
    "periods that overlap": (
        "('web-1', '2024-01-01', '2024-03-02'), ('WEB-2', NULL, NULL), ('web-1', '2024-03-01', NULL)",
        "2 hosts, 0 without a name, 1 period overlaps the next one of the host. Repeated: web-1.",
    ),
    "a period that never ends before another": (
        "('web-1', NULL, NULL), ('web-1', '2024-03-01', NULL)",
        "1 period overlaps the next one",
    ),
    "a period that ends as it begins": ("('web-1', '2024-03-01', '2024-03-01')", "1 period ends before it begins."),
    "a host spelled in two ways": (
        "('web-1', NULL, '2024-03-01'), ('Web-1', '2024-03-01', NULL)",
        "1 host is not spelled alike in all periods. Spelled in several ways: Web-1.",
    ),
    "what is no day": (
        "('web-1', '03/04/2024', NULL)",
        "1 row has no day for its begin or end. No day: '03/04/2024' (assets, since).",
    ),
    "years of two digits": (
        "('web-1', '24-05-01', NULL), ('web-2', '2024-05-01', '1-5-24'), ('web-3', ' ', 'epoch')",
        "3 rows have no day for its begin or end.",
    ),
    "a row twice": ("('web-1', NULL, NULL), ('WEB-1', NULL, NULL)", "1 row repeats a name. Repeated: web-1."),
}


@pytest.mark.parametrize(("rows", "sentence"), NAMES.values(), ids=NAMES.keys())
def test_a_host_that_stands_twice_for_a_day_fails_its_check(tmp_path: Path, rows: str, sentence: str) -> None:
    table = "CREATE TABLE assets (server VARCHAR, since VARCHAR, until VARCHAR)"

    found = judged(tmp_path, PERIODS, table, f"{ASSET} {rows}")

    assert found["host_names_unique"].outcome is Outcome.FAILED
    assert sentence in found["host_names_unique"].finding.message


def test_a_table_or_view_of_others_named_host_inventory_is_left_alone() -> None:
    for statement in ("CREATE TABLE host_inventory (x INTEGER)", "CREATE VIEW host_inventory AS SELECT 1 AS x"):
        with duckdb.connect() as connection:
            connection.execute(statement)
            with pytest.raises(ForeignTableError, match="host_inventory where the refinery keeps a view"):
                ensure_views_free(connection, packaged_contract())


# What is an inventory.


def made(contract: Contract, *statements: str) -> duckdb.DuckDBPyConnection:
    """A warehouse with the views, after these statements."""
    connection = duckdb.connect()
    for table in TABLES:
        ensure_table(connection, table)
    for statement in statements:
        connection.execute(statement)
    name_fleet(connection, contract)
    make_views(connection, contract)
    return connection


def test_names_with_quotes_and_key_words_are_names_as_any(tmp_path: Path) -> None:
    inventory = """
        source = 'my schema.hosts"; DROP TABLE audits; --'
        host = 'the "host"'
        behavior = ["select"]
        attributes = ["o'clock", 'a"b', "{resources}", "größe"]
    """
    table = '"my schema"."hosts""; DROP TABLE audits; --"'
    columns = {
        'The ""Host""': "'web-1'",
        "select": "'busy'",
        "o'clock": "TIME '12:00'",
        'a""b': "7",
        "{resources}": "[1, 2]",
        "Größe": "3.5",
    }

    with made(
        contract_with(tmp_path, inventory),
        'CREATE SCHEMA "my schema"',
        f"CREATE TABLE {table} AS SELECT " + ", ".join(f'{value} AS "{name}"' for name, value in columns.items()),
    ) as connection:
        assert query(connection, "SELECT * FROM host_inventory") == [
            ("web-1", time(12), 7, [1, 2], Decimal("3.5"), "busy", None, None, None)
        ]
        assert query(connection, "SELECT behavior FROM _refinery_fleet") == [("BUSY",)]
        described = {name: kind for name, kind, *_ in query(connection, "DESCRIBE forecast_panel")}
        assert (described["o'clock"], described['a"b'], described["größe"]) == ("TIME", "INTEGER", "DECIMAL(2,1)")
        assert query(connection, "SELECT count(*) FROM audits") == [(0,)]


@pytest.mark.parametrize("name", ["fleet", "inventory_source"])
def test_an_inventory_that_is_a_view_over_a_table_of_any_name_is_kept(tmp_path: Path, name: str) -> None:
    contract = contract_with(tmp_path, 'source = "hosts"\nhost = "node_name"\nbehavior = []')
    with made(
        contract,
        f"CREATE TABLE {name} AS SELECT 'web-1' AS node_name",
        f"CREATE VIEW hosts AS FROM {name}",
    ) as connection:
        name_fleet(connection, contract)
        keep_inventory(connection, contract)
        assert query(connection, "SELECT node_name FROM host_inventory") == [("web-1",)]


def test_a_csv_file_gives_names_as_text_and_attributes_by_what_all_their_values_are(tmp_path: Path) -> None:
    (tmp_path / "hosts.csv").write_text(
        '\ufeffServer;cores;rack;load;bought;note\n007;8;01;0.5;2024-01-31;"a;b"\n008;;02;1;2024-02-29;\n',
        encoding="utf-8",
    )

    frame = read_inventory_file(tmp_path / "hosts.csv", {"server"})

    assert [str(kind) for kind in frame.dtypes] == ["String", "Int64", "String", "Float64", "Date", "String"]
    assert frame.row(0)[:4] == ("007", 8, "01", 0.5)
    assert frame.row(1)[1] is None
    assert frame["note"].to_list() == ["a;b", None]


def test_what_a_spreadsheet_leaves_of_empty_rows_and_columns_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "hosts.csv").write_text(";;;\n \nserver;rack;;\nweb-1;7;;\n  \n;;;\nweb-2;8;;\n")

    frame = read_inventory_file(tmp_path / "hosts.csv", {"server"})

    assert (frame.columns, frame.rows()) == (["server", "rack"], [("web-1", 7), ("web-2", 8)])


def test_a_csv_file_gives_fields_without_the_blanks_around_them(tmp_path: Path) -> None:
    text = '\n "Server" ; Rack\n web-1 ;\u00a01 \r\n"  web-2";" "\nweb\x85\u20283;2\n'
    (tmp_path / "hosts.csv").write_bytes(text.replace(' "Server" ', '"Server"').encode())

    frame = read_inventory_file(tmp_path / "hosts.csv", {"server"})

    assert frame.rows() == [("web-1", 1), ("web-2", None), ("web\x85\u20283", 2)]


@pytest.mark.parametrize(
    "values",
    [
        ["1e5", "12E3"], ["+49", "30"], ["1.9", "1.10"], ["12345678901234567", "2"], ["0x10", "1"], ["1", "NA"],
        ["007", "8"], ["null", "1"],
    ],
)  # fmt: skip
def test_an_attribute_that_as_a_number_would_lose_something_stays_text(tmp_path: Path, values: list[str]) -> None:
    (tmp_path / "hosts.csv").write_text("".join(f"{line}\n" for line in ["code", *values]))

    assert read_inventory_file(tmp_path / "hosts.csv", {"server"})["code"].to_list() == values


@pytest.mark.parametrize("values", [["0.25", "0.5", "1.0", "2"], ["2.50", "3.00"], ["-0.5", "10"]])
def test_an_attribute_of_plain_numbers_is_one_of_numbers(tmp_path: Path, values: list[str]) -> None:
    (tmp_path / "hosts.csv").write_text("".join(f"{line}\n" for line in ["load", *values]))

    assert read_inventory_file(tmp_path / "hosts.csv", {"server"})["load"].to_list() == [float(each) for each in values]


def test_names_that_look_like_something_else_and_days_of_a_csv_file_are_taken_as_they_are_written(
    tmp_path: Path,
) -> None:
    names = ["007", "NA", "null", "1e5", "nan", "true", "2024-01-01", "-"]
    lines = ["server,since,until", *(f" {name} , 2024-01-31 ,2024-02-29" for name in names)]
    (tmp_path / "hosts.csv").write_text("".join(f"{line}\n" for line in lines))

    with made(contract_with(tmp_path, PERIODS.replace('"assets"', '"hosts.csv"'))) as connection:
        assert query(connection, "SELECT node_name, valid_from, valid_to FROM host_inventory") == [
            (name, date(2024, 1, 31), date(2024, 2, 29)) for name in names
        ]


@pytest.mark.parametrize(
    ("date_format", "texts"),
    [
        ("DD.MM.YYYY", ("01.03.2022", "2024-03-01")),
        ("MM/DD/YYYY", ("03/01/2022", "03/01/2024 00:00")),
        ("YYYYMMDD", ("20220301", "20240301")),
        ("epoch_seconds", ("1646092800", "1709251200")),
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "latin-1", "utf-16"])
def test_a_csv_file_is_read_as_the_contract_declares_it(
    tmp_path: Path, date_format: str, texts: tuple[str, str], encoding: str
) -> None:
    rows = f"Sërver|since|until\nzüri-1|{texts[0]}|{texts[1]}\nzüri-2||\n"
    (tmp_path / "hosts.csv").write_text(rows, encoding=encoding)
    inventory = f"""
        source = "hosts.csv"
        host = "sërver"
        behavior = []
        valid_from = "since"
        valid_to = "until"
        delimiter = "|"
        encoding = "{encoding}"
        date_format = "{date_format}"
    """

    with made(contract_with(tmp_path, inventory)) as connection:
        assert query(connection, "SELECT node_name, valid_from, valid_to FROM host_inventory ORDER BY ALL") == [
            ("züri-1", date(2022, 3, 1), date(2024, 3, 1)),
            ("züri-2", None, None),
        ]


def test_days_in_another_format_than_declared_are_told_with_line_and_column(tmp_path: Path) -> None:
    (tmp_path / "hosts.csv").write_text(
        'server;since;until;note\nweb-1;31.03.2022;;"two\nlines"\nweb-2;01.03.2022;03/31/2024;\n'
    )
    inventory = PERIODS.replace('"assets"', '"hosts.csv"') + '\ndate_format = "DD.MM.YYYY"'

    verdict = judged(tmp_path, inventory)["host_names_unique"]

    assert verdict.outcome is Outcome.FAILED
    assert verdict.finding.detail == "No day: '03/31/2024' (hosts.csv, line 4, until)."
    assert verdict.finding.offenders == [
        {"node_name": "web-2", "text": "03/31/2024", "source": "hosts.csv", "line": 4, "column": "until"}
    ]
    assert verdict.recovery.startswith(f"Write the days named as YYYY-MM-DD or DD.MM.YYYY in the file {tmp_path}")
    assert 'or set date_format = "MM/DD/YYYY" under [inventory]' in verdict.recovery


@pytest.mark.parametrize("key", ['delimiter = ";"', 'encoding = "latin-1"', 'date_format = "DD.MM.YYYY"'])
@pytest.mark.parametrize("source", ["hosts", "hosts.parquet"])
def test_how_lines_are_written_is_said_of_csv_files_alone(tmp_path: Path, source: str, key: str) -> None:
    with pytest.raises(ContractError, match=f"and the source '{source}' is no CSV file; leave the key out"):
        contract_with(tmp_path, f'source = "{source}"\nhost = "server"\nbehavior = []\n{key}')


def test_a_file_is_kept_as_a_table_and_gives_way_to_a_view_when_a_table_is_named_again(tmp_path: Path) -> None:
    (tmp_path / "hosts.csv").write_text("server,until,rack\nweb-1,2024-02-01,7\n")
    inventory = 'source = "hosts.csv"\nhost = "server"\nbehavior = []\nvalid_to = "until"\nattributes = ["rack"]'

    with made(contract_with(tmp_path, inventory)) as connection:
        for _ in range(2):
            assert query(connection, "FROM host_inventory") == [("web-1", 7, None, None, None, date(2024, 2, 1))]
            # The file is looked at again, and the same name is the refinery's own.
            name_fleet(connection, contract_with(tmp_path, inventory))
            make_views(connection, contract_with(tmp_path, inventory))
        connection.execute("CREATE TABLE hosts (node_name VARCHAR, scenario VARCHAR, variant VARCHAR)")
        name_fleet(connection, packaged_contract())
        make_views(connection, packaged_contract())
        assert query(connection, "SELECT count(*) FROM host_inventory") == [(0,)]
        assert query(connection, "SELECT view_name FROM duckdb_views() WHERE view_name = 'host_inventory'")


def test_the_views_have_the_columns_that_the_dictionary_has_for_the_contract(tmp_path: Path) -> None:
    contract = contract_with(tmp_path, ASSETS)

    with made(
        contract,
        "CREATE TABLE assets AS SELECT 'web-1' AS server, 'x' AS kind, '' AS since, 7::UTINYINT AS rack",
    ) as connection:
        for view in views_of(contract):
            described = query(connection, f"DESCRIBE {view.name}")
            assert [name for name, *_ in described] == [column.name for column in view.columns]
            types = {column.name: column.type_name or "UTINYINT" for column in view.columns}
            assert {name: kind for name, kind, *_ in described} == types
        # A load with another type of the attribute breaks no view.
        connection.execute("CREATE OR REPLACE TABLE assets AS SELECT * REPLACE ('8' AS rack) FROM assets")
        assert query(connection, "SELECT rack FROM host_inventory") == [(8,)]


def test_an_inventory_without_behaviors_has_none_to_expect_unless_the_environment_asks(tmp_path: Path) -> None:
    table = "CREATE TABLE assets AS SELECT 'web-1' AS server, NULL AS since, NULL AS until"

    found = judged(tmp_path, PERIODS, table)
    assert found["behaviors_complete"].outcome is Outcome.PASSED
    assert "names no column of behaviors" in found["behaviors_complete"].finding.summary

    settings = Settings(contract=contract_with(tmp_path, PERIODS), behaviors=1)
    with duckdb.connect() as connection:
        connection.execute(table)
        assert judge_inventory(connection, settings)["behaviors_complete"].finding.summary == "0 behaviors, 1 expected."


def test_ten_behaviors_of_ones_own_are_expected_by_name_whichever_slash_is_in_them(tmp_path: Path) -> None:
    names = [f"tier{number}/web" for number in range(10)]
    behaviors = f"names = {names}".replace("'", '"')
    table = "CREATE TABLE assets AS SELECT range AS server, 'Tier' || range || '/web' AS kind, '' AS since, 1 AS rack"

    complete = judged(tmp_path, ASSETS, f"{table} FROM range(10)", behaviors=behaviors)
    short = judged(tmp_path, ASSETS, f"{table} FROM range(9)", behaviors=behaviors)

    assert complete["behaviors_complete"].finding.summary == "10 behaviors, 10 expected."
    assert short["behaviors_complete"].outcome is Outcome.FAILED
    assert "no host has TIER9/WEB" in short["behaviors_complete"].finding.summary


def test_periods_of_one_host_that_touch_do_not_overlap(tmp_path: Path) -> None:
    table = "CREATE TABLE assets (server VARCHAR, since DATE, until TIMESTAMP)"
    rows = "('web-1', NULL, '2024-03-01'), ('web-1', '2024-03-01', '2024-05-01'), ('web-1', '2024-06-01', NULL)"

    found = judged(tmp_path, PERIODS, table, f"{ASSET} {rows}")

    assert {verdict.outcome for verdict in found.values()} == {Outcome.PASSED}
    assert found["host_names_unique"].finding.summary == "1 host, 0 without a name, 0 rows repeat a name."
