"""Rules of a team's own: what is not let through, what cannot be run, and how months are judged by the others."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import duckdb
import pytest

from refinery_assets.checks.rules import SAMPLE_SIZE, Finding, Outcome, Verdict, judge
from refinery_assets.contract.contract_file import (
    PACKAGED_FILE,
    Contract,
    ContractError,
    load_contract,
    packaged_contract,
)
from refinery_assets.contract.families import LEGACY_FEED
from refinery_assets.contract.months import Month
from refinery_assets.contract.settings import SettingError, Settings
from refinery_assets.feed.files import FeedExtent
from refinery_assets.rows.source_checks import ENTRANCE_RULES, inspect_feed
from refinery_assets.warehouse.fleet import name_fleet
from refinery_assets.warehouse.gate import RunSoFar
from refinery_assets.warehouse.ledger import StepRecord
from refinery_assets.warehouse.month_state import State
from refinery_assets.warehouse.own_rules import OwnRuleError, judge_by_own_rules, publish_rules
from refinery_assets.warehouse.publish import publish
from refinery_assets.warehouse.receipts import input_digest
from refinery_assets.warehouse.storage import open_warehouse
from refinery_assets_tests.scenario import FEBRUARY, JANUARY, MARCH, GivenPublished, Sandbox

IN_AUDIT = "processed_data JOIN audit_months ON ds >= month_start AND ds < month_end"


def rule(name: str, extra: str = "") -> str:
    return (
        f'[[rule]]\nname = "{name}"\ndescription = "Fails when it is so."\nrecovery = "See to it."\n'
        f'sql = "rules/{name}.sql"\n{extra}\n'
    )


def contract_with(folder: Path, queries: dict[str, str], extra: str = "") -> Contract:
    """The packaged contract with rules of its own."""
    (folder / "rules").mkdir(exist_ok=True)
    for name, query in queries.items():
        (folder / "rules" / f"{name}.sql").write_text(query, encoding="utf-8")
    file = folder / "contract.toml"
    file.write_text(PACKAGED_FILE.read_text(encoding="utf-8") + "".join(rule(name, extra) for name in queries))
    return load_contract(file)


@pytest.fixture
def warehouse() -> duckdb.DuckDBPyConnection:
    """A point a day of January and February, `y` the day of the month; and the inventory."""
    connection = duckdb.connect()
    connection.execute(
        """
        CREATE TABLE hosts AS SELECT 'srv-1' AS node_name, 'STEADY_GROWTH' AS scenario, 'NORMAL' AS variant;
        CREATE TABLE processed_data AS
        SELECT unnest(generate_series(TIMESTAMP '2024-01-01', TIMESTAMP '2024-02-29', INTERVAL 1 DAY)) AS ds,
            'srv-1' AS host_id, 'cpu' AS resource, day(ds)::DOUBLE AS y
        """
    )
    name_fleet(connection, packaged_contract())
    return connection


def found(connection: duckdb.DuckDBPyConnection, contract: Contract) -> list[Finding]:
    """What the one rule of the contract finds in January and in February."""
    (name,) = [each.name for each in contract.rule]
    by_month = judge_by_own_rules(connection, [JANUARY, FEBRUARY], contract, {})
    return [by_month[month][name] for month in (JANUARY, FEBRUARY)]


# What is refused at start.


@pytest.mark.parametrize(
    ("query", "why"),
    [
        ("SELEC 1", "is not SQL. DuckDB says: Parser Error: syntax error at or near \"SELEC\""),
        ("", "is not one SELECT; a rule may do nothing but read."),
        ("SELECT 1; SELECT 2", "is not one SELECT; "),
        ("DELETE FROM processed_data", "is not one SELECT; "),
        ("COPY processed_data TO 'x.csv'", "is not one SELECT; "),
        ("PRAGMA version", "is not one SELECT; "),
        ("ATTACH 'x.duckdb'", "is not one SELECT; "),
        ("SET memory_limit = '1GB'", "is not one SELECT; "),
        ("DESCRIBE processed_data", "is not one SELECT; "),
        ("WITH gone AS (DELETE FROM processed_data RETURNING *) FROM gone", "is not one SELECT; "),
        ("WITH more AS (INSERT INTO hosts VALUES ('x') RETURNING *) FROM more", "is not one SELECT; "),
        ("WITH new AS (UPDATE hosts SET node_name = 'x' RETURNING *) FROM new", "is not one SELECT; "),
        ("WITH file AS (COPY hosts TO 'x.csv') SELECT 1", "is not one SELECT; "),
        ("SELECT 1 WHERE EXISTS (FROM read_text('/etc/passwd'))", "reads by read_text; a rule reads the tables and "),
        ("FROM query('DROP TABLE hosts')", "reads by query; a rule reads the tables and "),
        ("FROM 'hosts.csv'", "reads 'hosts.csv'; a rule reads the tables and views of the warehouse alone."),
        ("SELECT 1 WHERE EXISTS (FROM (FROM hosts, LATERAL read_csv(node_name)))", "reads by read_csv; a rule reads "),
        ("FROM read_blob('x')", "reads by read_blob; "),
        ("FROM glob('*')", "reads by glob; "),
        ("FROM sniff_csv('x.csv')", "reads by sniff_csv; "),
        ("FROM parquet_metadata('x.parquet')", "reads by parquet_metadata; "),
        ("FROM query_table('x.csv')", "reads by query_table; "),
        ("FROM duckdb_secrets()", "reads by duckdb_secrets; "),
        ("FROM duckdb_settings()", "reads by duckdb_settings; "),
        ("FROM (PIVOT 'hosts.csv' ON a)", "is not one SELECT; "),
        ("FROM (SUMMARIZE 'hosts.csv')", "is not one SELECT; "),
        ("SELECT getenv('HOME')", "calls getenv; a rule reads the tables and "),
        ("SELECT Current_Setting('temp_directory')", "calls current_setting; "),
        ("SELECT json_serialize_plan('FROM read_csv(''x.csv'')')", "calls json_serialize_plan; "),
        ("SELECT nextval('numbers')", "calls nextval, which changes the warehouse; "),
        ("SELECT * FROM hosts WHERE node_name = $name", "has parameters; write what they stand for."),
    ],
)  # fmt: skip
def test_only_a_single_select_is_let_through(tmp_path: Path, query: str, why: str) -> None:
    contract = contract_with(tmp_path, {"no_more": query})
    with pytest.raises(ContractError) as refused:
        publish_rules(contract)
    assert str(refused.value).startswith(f"The contract's rule no_more cannot be used: rules/no_more.sql {why}")


def test_a_rule_that_is_declared_wrongly_is_refused(tmp_path: Path) -> None:
    packaged = PACKAGED_FILE.read_text(encoding="utf-8")

    def refusal(text: str) -> str:
        (tmp_path / "contract.toml").write_text(packaged + text)
        with pytest.raises(SettingError) as refused:
            Settings.from_environment({"REFINERY_CONTRACT": str(tmp_path / "contract.toml")})
        return str(refused.value).removeprefix(f"The contract {tmp_path / 'contract.toml'}: ")

    assert refusal(rule("mine")) == (
        "[[rule]] mine sql is 'rules/mine.sql', which cannot be read (No such file or directory); expected a file with "
        "one SELECT, relative to the contract file."
    )
    assert refusal(rule("No-1")).startswith("[[rule]] 1 (No-1) name is 'No-1'; expected a name of lower-case letters")
    assert (
        refusal(rule("mine", 'severity = "error"')) == "[[rule]] 1 (mine) severity is 'error'; expected fail or warn."
    )
    assert refusal(rule("mine", 'query = "x"')).startswith("[[rule]] 1 (mine) has no key 'query'; expected name, ")
    assert refusal(rule("mine").replace("recovery", "recover")).startswith("[[rule]] 1 (mine) ")
    assert refusal(rule("mine") + rule("mine")) == "two rules have the name 'mine'; give each its own."
    with pytest.raises(ContractError, match="rule row_parity has the name of another check; give it one of its own"):
        publish_rules(contract_with(tmp_path, {"row_parity": "SELECT 1"}))


# What cannot be run.


@pytest.mark.parametrize(
    ("query", "name"),
    [
        ("SELECT * FROM {file}.csv", "{file}.csv"),
        ("WITH csv AS (SELECT 1) SELECT * FROM csv, {file}.csv", "{file}.csv"),
        ("TABLE main.{file}.csv", "main.{file}.csv"),
        ("FROM other.hosts", "other.hosts"),
        ("FROM pg_settings", "pg_settings"),
        ("FROM information_schema.tables", "information_schema.tables"),
        ("FROM _refinery_fleet", "_refinery_fleet"),
    ],
)
def test_a_table_that_is_not_of_the_warehouse_is_not_read(
    warehouse: duckdb.DuckDBPyConnection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, query: str, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    for file in ("list.csv", "main.list.csv"):
        (tmp_path / file).write_text("a\n1\n")
    warehouse.execute("ATTACH ':memory:' AS other; CREATE TABLE other.hosts (x INTEGER)")
    query, name = query.format(file="list"), name.format(file="list")
    assert warehouse.execute(query) is not None, "DuckDB itself reads it"

    finding, _ = found(warehouse, contract_with(tmp_path, {"mine": query}))

    assert finding.outcome is Outcome.FAILED
    assert finding.summary == "The rule's query may not be run, so nothing is known of the month."
    assert finding.detail == (
        f"rules/mine.sql reads {name}, which is no table or view of the warehouse; a rule reads the tables and views "
        "of the warehouse alone."
    )


def test_tables_and_views_of_ones_own_are_read_in_any_schema(
    warehouse: duckdb.DuckDBPyConnection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "list.csv").write_text("a\n1\n")
    warehouse.execute("CREATE SCHEMA ours; CREATE TABLE ours.csv AS SELECT 1; CREATE VIEW listed AS FROM 'list.csv'")
    for query in ("FROM ours.CSV", "FROM Listed", "FROM memory.main.hosts", "WITH x AS (FROM main.hosts) FROM X"):
        assert found(warehouse, contract_with(tmp_path, {"mine": query}))[0].summary.endswith("returned 1 row.")


@pytest.mark.parametrize("table", ["fleet", "main.fleet", "own_rule"])
def test_a_table_of_ones_own_is_read_whatever_its_name_is(
    warehouse: duckdb.DuckDBPyConnection, tmp_path: Path, table: str
) -> None:
    warehouse.execute(f"CREATE TABLE {table} AS SELECT 'ours' AS whose")
    finding, _ = found(warehouse, contract_with(tmp_path, {"mine": f"SELECT whose FROM {table}"}))
    assert finding.offenders == [{"whose": "ours"}]


@pytest.mark.parametrize(
    ("query", "message"),
    [
        (f"SELECT nope FROM {IN_AUDIT}", 'Binder Error: Referenced column "nope" not found'),
        ("SELECT * FROM contract", "Catalog Error: Table with name contract does not exist"),
        (f"SELECT host_id::INTEGER FROM {IN_AUDIT}", "Conversion Error: Could not convert string 'srv-1'"),
    ],
)
def test_a_query_that_fails_is_told_with_the_message_and_is_not_run_again(
    warehouse: duckdb.DuckDBPyConnection, tmp_path: Path, query: str, message: str
) -> None:
    contract = contract_with(tmp_path, {"mine": query, "other": f"SELECT * FROM {IN_AUDIT}"}, 'severity = "warn"')
    publish_rules(contract)
    with pytest.raises(OwnRuleError, match=message) as error:
        judge_by_own_rules(warehouse, [JANUARY], contract, {})
    assert (error.value.rule, "\n" in str(error.value)) == ("mine", False)

    findings = judge_by_own_rules(warehouse, [JANUARY], contract, {"mine": str(error.value)})[JANUARY]
    assert findings["mine"].outcome is Outcome.WARNING
    assert findings["mine"].message.startswith(
        "The rule's query could not be run, so nothing is known of the month. Duck"
    )
    assert message in findings["mine"].detail
    assert findings["mine"].recovery == "Correct the query in rules/mine.sql, then run the month again."
    assert findings["other"].counts == {"bad_rows": 31}


# How months are judged.


def test_rows_count_for_the_month_that_they_name(warehouse: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    for month in ("month", "month_start AS Month", "ds AS month", "strftime(ds, '%Y-%m-%d') AS month"):
        contract = contract_with(
            tmp_path, {"late": f"SELECT {month}, y FROM {IN_AUDIT} WHERE day(ds) > 29; -- the end"}
        )
        january, february = found(warehouse, contract)
        assert (january.outcome, january.counts) == (Outcome.FAILED, {"bad_rows": 2})
        assert january.summary == "The rule's query returned 2 rows."
        assert [row["y"] for row in january.offenders] == [30.0, 31.0]
        assert (february.outcome, february.summary) == (Outcome.PASSED, "The rule's query returned no row.")


@pytest.mark.parametrize(
    "month",
    ["strftime(ds, ' %Y-%m ')", "ds::VARCHAR", "ds::DATE", "ds::TIMESTAMP_NS", "ds::TIMESTAMP_S", "ds::TIMESTAMP_MS"],
)
def test_a_month_is_named_by_text_or_by_a_day_of_it(
    warehouse: duckdb.DuckDBPyConnection, tmp_path: Path, month: str
) -> None:
    contract = contract_with(tmp_path, {"late": f"SELECT {month} AS month FROM {IN_AUDIT} WHERE day(ds) > 28"})
    assert [finding.counts["bad_rows"] for finding in found(warehouse, contract)] == [3, 1]


@pytest.mark.parametrize(
    ("month", "kind"),
    [
        ("month(ds)", "BIGINT"),
        ("202401", "INTEGER"),
        ("ds::TIMESTAMPTZ", "TIMESTAMP WITH TIME ZONE"),
        ("[month]", "VARCHAR[]"),
        ("ds = ds", "BOOLEAN"),
    ],
)
def test_a_month_of_another_type_fails_the_check_and_says_what_is_expected(
    warehouse: duckdb.DuckDBPyConnection, tmp_path: Path, month: str, kind: str
) -> None:
    for where in ("true", "false"):
        query = f'SELECT {month} AS "Month" FROM {IN_AUDIT} WHERE {where}'
        for finding in found(warehouse, contract_with(tmp_path, {"late": query})):
            assert finding.outcome is Outcome.FAILED
            assert finding.message == (
                "The rule's query does not tell which months its rows are of, so nothing is known of the month. The "
                f"rule late: rules/late.sql returns the column month as {kind}; expected text such as 2024-05, a DATE "
                "or a TIMESTAMP."
            )
            assert finding.recovery == "Correct the query in rules/late.sql, then run the month again."


def test_a_row_whose_month_is_no_month_counts_in_each(warehouse: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    for month in ("'May 2024'", "''", "'24-01-01'", "'2024-13'", "'2024-1'", "'2024-02-31'", "'202401'"):
        query = f"SELECT {month} AS month, 1 AS y UNION ALL SELECT '2024-01', 2"
        january, february = found(warehouse, contract_with(tmp_path, {"late": query}))
        assert (january.counts, february.counts) == ({"bad_rows": 2}, {"bad_rows": 1}), month
        assert [row["y"] for row in january.offenders] == [1, 2]
        assert (february.outcome, february.recovery) == (
            Outcome.FAILED,
            "Correct the query in rules/late.sql, then run the month again.",
        )
        assert february.detail == (
            "The rule late: in 1 row of rules/late.sql the column month is no month; expected text such as 2024-05, a "
            "DATE or a TIMESTAMP."
        )
    (infinite, _) = found(warehouse, contract_with(tmp_path, {"late": "SELECT DATE 'infinity' AS month"}))
    assert infinite.counts == {"bad_rows": 1}


def test_a_query_is_run_once_for_all_months_or_once_for_each(
    warehouse: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    warehouse.execute("CREATE SEQUENCE runs; CREATE VIEW counted AS SELECT nextval('runs') AS run")
    for column, runs in (("'2024-01' AS month, ", 1), ("", 2)):
        before = warehouse.execute("SELECT nextval('runs')").fetchone() or (0,)
        assert found(warehouse, contract_with(tmp_path, {"late": f"SELECT {column}run FROM counted"}))[0].offenders
        assert warehouse.execute("SELECT nextval('runs')").fetchone() == (before[0] + runs + 1,)


def test_the_sample_keeps_the_querys_order(warehouse: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    query = "SELECT ds AS month, y, y AS bad, y AS own_rule FROM processed_data ORDER BY y DESC"
    january, february = found(warehouse, contract_with(tmp_path, {"late": query}))
    assert [row["y"] for row in january.offenders] == list(range(31, 11, -1))
    assert february.offenders[0] == {"month": "2024-02-29 00:00:00", "y": 29.0, "bad": 29.0, "own_rule": 29.0}


def test_a_sample_has_numbers_as_numbers_and_what_json_cannot_say_as_text(
    warehouse: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    query = "SELECT 0.1 AS a, 12::DECIMAL(4) AS b, 0.12345678901234567890::DECIMAL(30, 20) AS c, 'NaN'::DOUBLE AS d"
    finding, _ = found(warehouse, contract_with(tmp_path, {"late": f"{query}, '-inf'::DOUBLE AS e, 1.5::FLOAT AS f"}))
    assert finding.offenders == [
        {"a": 0.1, "b": 12.0, "c": "0.12345678901234567890", "d": "nan", "e": "-inf", "f": 1.5}
    ]


def test_rows_of_months_that_are_not_under_audit_count_for_none(
    warehouse: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    contract = contract_with(tmp_path, {"late": "SELECT strftime(ds, '%Y-%m') AS month FROM processed_data"})
    by_month = judge_by_own_rules(warehouse, [FEBRUARY, MARCH], contract, {})
    assert [by_month[month]["late"].counts["bad_rows"] for month in (FEBRUARY, MARCH)] == [29, 0]


def test_rows_that_name_no_month_count_for_the_one_that_is_looked_at(
    warehouse: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    january, february = found(warehouse, contract_with(tmp_path, {"all_of_it": f"SELECT ds, y FROM {IN_AUDIT}"}))
    assert (january.counts["bad_rows"], february.counts["bad_rows"]) == (31, 29)
    assert len(january.offenders) == SAMPLE_SIZE
    assert february.offenders[0] == {"ds": "2024-02-01 00:00:00", "y": 1.0}
    # A null in the column of months says of no month that it is not meant.
    nameless = found(warehouse, contract_with(tmp_path, {"all_of_it": "SELECT NULL AS month FROM host_inventory"}))
    assert [finding.counts["bad_rows"] for finding in nameless] == [1, 1]


def test_a_month_is_judged_again_when_a_rule_is_added_or_is_another(tmp_path: Path) -> None:
    contracts = [
        packaged_contract(),
        contract_with(tmp_path, {"mine": "SELECT 1 AS bad"}),
        contract_with(tmp_path, {"mine": "SELECT 2 AS bad"}),
        contract_with(tmp_path, {"mine": "SELECT 2 AS bad"}, 'severity = "warn"'),
    ]
    assert len({input_digest([], "", Settings(contract=contract)) for contract in contracts}) == len(contracts)


@pytest.mark.slow
def test_an_unchanged_month_is_judged_by_what_its_rules_read_now(
    given_published: GivenPublished, sandbox: Sandbox, tmp_path: Path
) -> None:
    given_published(JANUARY, FEBRUARY)
    query = f"SELECT month, host_id FROM {IN_AUDIT} JOIN banned USING (host_id) WHERE ds >= since"
    contract = contract_with(tmp_path, {"none_banned": query})
    settings = replace(sandbox.settings, contract=contract)
    sandbox.execute("CREATE TABLE banned (host_id VARCHAR, since DATE)")
    assert states(settings, "first", JANUARY) == [State.PUBLISHED]
    assert states(settings, "second", JANUARY, FEBRUARY) == [State.UNCHANGED, State.PUBLISHED]
    rows = sandbox.processed()

    sandbox.execute("INSERT INTO banned SELECT min(host_id), '2024-02-20' FROM processed_data")
    assert states(settings, "third", JANUARY, FEBRUARY) == [State.UNCHANGED, State.REFUSED]
    assert sandbox.processed() == rows
    said = (
        "SELECT verdict, published_at IS NULL FROM audits WHERE check_name = 'none_banned' AND run_id = ? "
        "ORDER BY month"
    )
    assert sandbox.query(said, ["third"]) == [("passed", False), ("failed", True)]

    sandbox.execute("ALTER TABLE banned RENAME TO no_more")
    assert states(settings, "fourth", JANUARY, FEBRUARY) == [State.REFUSED, State.REFUSED]
    sandbox.execute("CREATE TABLE banned AS FROM no_more LIMIT 0")
    assert states(settings, "fifth", JANUARY, FEBRUARY) == [State.UNCHANGED, State.UNCHANGED]
    assert sandbox.query(said, ["fifth"]) == [("passed", False)] * 2
    assert sandbox.query("SELECT count(*) FROM publications WHERE run_id IN ('third', 'fourth', 'fifth')") == [(0,)]


def states(settings: Settings, run_id: str, *months: Month) -> list[State]:
    """How months come out of a run that has seen their files."""
    extent = FeedExtent(JANUARY, MARCH)
    verdicts: list[Verdict] = []
    digests = {}
    for feed in inspect_feed(settings, months, extent, settings.today):
        verdicts += judge(ENTRANCE_RULES, LEGACY_FEED, feed.month, feed)
        digests[feed.month] = feed.digests
    records = {LEGACY_FEED: StepRecord(LEGACY_FEED, verdicts, [], digests)}
    with open_warehouse(settings.warehouse, read_only=False, wait_seconds=0.0) as connection:
        results = publish(connection, months, settings, RunSoFar(run_id, extent, settings.today, records))
    return [results[month].state for month in months]


def test_the_texts_of_queries_are_part_of_the_contracts_digest(tmp_path: Path) -> None:
    first = contract_with(tmp_path, {"mine": "SELECT 1 AS bad"})
    second = contract_with(tmp_path, {"mine": "SELECT 2 AS bad"})
    assert first.digest != second.digest
    assert first != second


@pytest.mark.slow
def test_a_rule_has_its_place_in_gate_audits_checks_receipt_and_reaudit(sandbox: Sandbox, tmp_path: Path) -> None:
    queries = {
        "quiet_in_february": f"SELECT month, host_id, ds FROM {IN_AUDIT} WHERE month = '2024-02' AND resource = 'cpu'",
        "broken": f"SELECT host_id::INTEGER AS number FROM {IN_AUDIT}",
        "no_strangers": f"SELECT host_id FROM {IN_AUDIT} WHERE host_id NOT IN (SELECT node_name FROM host_inventory)",
    }
    contract = contract_with(tmp_path, {"broken": queries["broken"]}, 'severity = "warn"')
    text = (tmp_path / "contract.toml").read_text() + rule("quiet_in_february") + rule("no_strangers")
    for name, query in queries.items():
        (tmp_path / "rules" / f"{name}.sql").write_text(query)
    (tmp_path / "contract.toml").write_text(text)
    contract = load_contract(tmp_path / "contract.toml")
    ours = Sandbox(replace(sandbox.settings, contract=contract), sandbox.instance)

    outcome = ours.refine(JANUARY, FEBRUARY)

    assert "2024-02: processed_data quiet_in_february: The rule's query returned 580 rows." in outcome.message
    assert outcome.verdict("processed_data", "quiet_in_february", JANUARY) == "passed"
    refused = outcome.metadata("processed_data", "quiet_in_february", FEBRUARY)
    assert (refused["bad_rows"], refused["recovery"], len(refused["sample"])) == (580, "See to it.", SAMPLE_SIZE)
    assert outcome.verdict("processed_data", "broken", JANUARY) == "warning"
    assert outcome.verdict("processed_data", "no_strangers", FEBRUARY) == "passed"
    assert ours.query("SELECT DISTINCT month(ds) FROM processed_data") == [(1,)]
    assert ours.query("SELECT month, contract_digest FROM publications") == [("2024-01", contract.digest)]
    assert ours.query(
        "SELECT month, check_name, verdict, published_at IS NOT NULL FROM audits "
        "WHERE check_name IN ('broken', 'quiet_in_february', 'no_strangers') ORDER BY ALL"
    ) == [
        ("2024-01", "broken", "warning", True), ("2024-01", "no_strangers", "passed", True),
        ("2024-01", "quiet_in_february", "passed", True),
        ("2024-02", "broken", "warning", False), ("2024-02", "no_strangers", "passed", False),
        ("2024-02", "quiet_in_february", "failed", False),
    ]  # fmt: skip

    # With another query the month is no longer as it was published.
    (tmp_path / "rules" / "no_strangers.sql").write_text(f"SELECT host_id FROM {IN_AUDIT} WHERE y < 0")
    again = Sandbox(replace(sandbox.settings, contract=load_contract(tmp_path / "contract.toml")), sandbox.instance)
    assert again.refine(JANUARY).success
    assert len(again.query("FROM publications")) == 2

    again.execute("UPDATE processed_data SET y = -1 WHERE host_id = (SELECT min(node_name) FROM hosts)")
    audited = again.audit()
    assert audited.verdict("processed_data", "no_strangers") == "failed"
    assert audited.verdict("processed_data", "broken") == "warning"
