"""Rules of a team's own: queries of the contract that return the bad rows of the months under audit.

They are judged with the publish checks, in the publishing transaction and in the re-audit. Here: which queries are let
through, and how a month is judged by one. Not here: how a contract declares them (`contract/own_rules.py`), and the
publish checks that every contract has (`publish_checks.py`).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any

import duckdb

from refinery_assets.checks.rules import SAMPLE_SIZE, Cell, Finding, Outcome, Row, Rule, counted
from refinery_assets.contract.contract_file import Contract, ContractError
from refinery_assets.contract.months import Month
from refinery_assets.contract.own_rules import OwnRule, Severity
from refinery_assets.rows.family import FAMILY_RULES
from refinery_assets.rows.source_checks import ENTRANCE_RULES
from refinery_assets.warehouse.facts import MonthOfTable
from refinery_assets.warehouse.inventory import INVENTORY_RULES
from refinery_assets.warehouse.inventory_source import name_inventory
from refinery_assets.warehouse.publish_checks import PUBLISH_RULES

_BUILT_IN = {rule.name for rules in (ENTRANCE_RULES, INVENTORY_RULES, FAMILY_RULES, PUBLISH_RULES) for rule in rules}
# What a query may be made of, by the names of DuckDB's parser. A SELECT's WITH may hold an INSERT, DELETE or COPY.
_QUERY_NODES = {"SELECT_NODE", "SET_OPERATION_NODE", "RECURSIVE_CTE_NODE", "CTE_NODE"}
_TABLE_FUNCTIONS = {"range", "generate_series", "unnest", "json_each", "json_tree"}
_CHANGING_FUNCTIONS = {"nextval", "setval", "write_log"}
_NO_SELECT = "is not one SELECT; a rule may do nothing but read."
_READABLE = "the tables and views of the warehouse alone"
_MONTH = "month"


class OwnRuleError(Exception):
    """A query could not be run; the message is DuckDB's, in one line. The transaction at hand is of no use any more.

    Attributes:
        rule: The rule's name.
    """

    def __init__(self, rule: str, error: duckdb.Error) -> None:
        super().__init__(_one_line(error))
        self.rule = rule


def publish_rules(contract: Contract) -> tuple[Rule[MonthOfTable], ...]:
    """The rules of `processed_data`: those of every contract, and this contract's own.

    Raises:
        ContractError: A rule of its own has the name of another check, or its query is not let through.
    """
    return (*PUBLISH_RULES, *map(_as_rule, contract.rule))


def judge_by_own_rules(
    connection: duckdb.DuckDBPyConnection, months: Sequence[Month], contract: Contract, broken: Mapping[str, str]
) -> dict[Month, dict[str, Finding]]:
    """What the contract's own rules find in each month, by name.

    Args:
        connection: The warehouse, with the months as they are to be published.
        months: The months under audit.
        contract: The contract.
        broken: Rules whose queries failed before, with DuckDB's message; they are not run again.

    Raises:
        OwnRuleError: Another query fails.
    """
    found: dict[Month, dict[str, Finding]] = {month: {} for month in months}
    if not contract.rule:
        return found
    _name_relations(connection)
    for rule in contract.rule:
        if rule.name in broken:
            findings = dict.fromkeys(months, _not_run(rule, broken[rule.name]))
        else:
            try:
                findings = _run(connection, rule, months)
            except duckdb.FatalException:
                raise
            except duckdb.Error as error:
                raise OwnRuleError(rule.name, error) from error
        for month, finding in findings.items():
            found[month][rule.name] = finding
    return found


@cache
def _as_rule(rule: OwnRule) -> Rule[MonthOfTable]:
    if rule.name in _BUILT_IN:
        raise ContractError(f"The contract's rule {rule.name} has the name of another check; give it one of its own.")
    if problem := _problem(rule.query):
        raise ContractError(f"The contract's rule {rule.name} cannot be used: {rule.sql} {problem}")
    return Rule(rule.name, rule.description, rule.recovery, lambda month: month.own[rule.name])


def _problem(query: str) -> str | None:
    """Why a query is not let through, as the end of a sentence; None: it is."""
    with duckdb.connect() as parser:
        try:
            statements = parser.extract_statements(query)
        except duckdb.Error as error:
            return f"is not SQL. DuckDB says: {_one_line(error)}"
        if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
            return _NO_SELECT
        if statements[0].named_parameters:
            return "has parameters; write what they stand for."
        ((tree,),) = parser.execute("SELECT json_serialize_sql($query::VARCHAR)", {"query": query}).fetchall()
    return next(filter(None, map(_problem_of_node, _nodes(json.loads(tree)["statements"]))), None)


def _problem_of_node(node: Mapping[str, Any]) -> str | None:
    kind, function = str(node.get("type", "")), _function(node)
    problem = None
    if (kind.endswith("_NODE") and kind not in _QUERY_NODES) or kind == "SHOW_REF":
        problem = _NO_SELECT
    elif function in _CHANGING_FUNCTIONS:
        problem = f"calls {function}, which changes the warehouse; a rule may do nothing but read."
    elif kind == "TABLE_FUNCTION" and _function(node["function"]) not in _TABLE_FUNCTIONS:
        problem = f"reads by {_function(node['function'])}; a rule reads {_READABLE}."
    elif kind == "BASE_TABLE" and set(str(node["table_name"])) & set("./\\:*"):
        problem = f"reads {node['table_name']!r}; a rule reads {_READABLE}."
    return problem


def _function(node: Mapping[str, Any]) -> str:
    return str(node.get("function_name", "")).lower()


def _nodes(tree: Any) -> Iterator[dict[str, Any]]:
    """Every node of a parsed query."""
    if isinstance(tree, dict):
        yield tree
    for part in tree.values() if isinstance(tree, dict) else tree if isinstance(tree, list) else ():
        yield from _nodes(part)


def _name_relations(connection: duckdb.DuckDBPyConnection) -> None:
    """Name what only queries of this kind read; the tables of the warehouse have their names."""
    name_inventory(connection)
    # A name that no table has is a mistake, and not a variable of this program.
    connection.execute("SET python_enable_replacements = false")


def _name_months(connection: duckdb.DuckDBPyConnection, months: Sequence[Month]) -> None:
    connection.execute(
        """
        CREATE OR REPLACE TEMP TABLE audit_months AS
        SELECT unnest($months::VARCHAR[]) AS month, unnest($starts::DATE[]) AS month_start,
            unnest($ends::DATE[]) AS month_end
        """,
        {
            "months": [str(month) for month in months],
            "starts": [month.first_day for month in months],
            "ends": [month.next.first_day for month in months],
        },
    )


def _run(connection: duckdb.DuckDBPyConnection, rule: OwnRule, months: Sequence[Month]) -> dict[Month, Finding]:
    """Judge months by a rule: all at once where its rows name their month, else one after the other."""
    _name_months(connection, months)
    # One SELECT and nothing else, see `_problem`.
    connection.execute(f"CREATE OR REPLACE TEMP VIEW own_rule AS {rule.query}")
    columns = connection.execute("SELECT * FROM own_rule LIMIT 0").description or ()
    if _MONTH in (name.lower() for name, *_ in columns):
        return _judge_at_once(connection, rule, months)
    findings = {}
    for month in months:
        _name_months(connection, [month])
        ((rows,),) = connection.execute("SELECT count(*) FROM own_rule").fetchall()
        findings[month] = _finding(rule, rows, _sample(connection, "true", {}) if rows else ())
    return findings


# Of a month as a text or as a day of it.
_KEY = "coalesce(strftime(try_cast(month AS DATE), '%Y-%m'), month::VARCHAR)"


def _judge_at_once(
    connection: duckdb.DuckDBPyConnection, rule: OwnRule, months: Sequence[Month]
) -> dict[Month, Finding]:
    counts = dict(connection.execute(f"SELECT {_KEY} AS key, count(*) FROM own_rule GROUP BY key").fetchall())  # noqa: S608
    # A row of no month counts in each: it is bad, and nothing says of which it is not.
    of_none = counts.get(None, 0)
    return {
        month: _finding(
            rule,
            counts.get(str(month), 0) + of_none,
            _sample(connection, f"{_KEY} = $month OR month IS NULL", {"month": str(month)})
            if counts.get(str(month), 0) + of_none
            else (),
        )
        for month in months
    }


def _sample(connection: duckdb.DuckDBPyConnection, condition: str, parameters: Mapping[str, object]) -> list[Row]:
    cursor = connection.execute(
        f"SELECT * FROM own_rule WHERE {condition} LIMIT $most",  # noqa: S608 - constants of this module
        {**parameters, "most": SAMPLE_SIZE},
    )
    names = [column[0] for column in cursor.description or ()]
    return [dict(zip(names, map(_cell, row), strict=True)) for row in cursor.fetchall()]


def _cell(value: object) -> Cell:
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)


def _finding(rule: OwnRule, rows: int, sample: Sequence[Row]) -> Finding:
    returned = counted(rows, "row") if rows else "no row"
    return Finding(
        _outcome(rule) if rows else Outcome.PASSED,
        f"The rule's query returned {returned}.",
        {"bad_rows": rows},
        offenders=sample,
    )


def _not_run(rule: OwnRule, message: str) -> Finding:
    return Finding(
        _outcome(rule),
        "The rule's query could not be run, so nothing is known of the month.",
        {},
        f"DuckDB says: {message}",
        recovery=f"Correct the query in {rule.sql}, then run the month again.",
    )


def _outcome(rule: OwnRule) -> Outcome:
    return Outcome.FAILED if rule.severity is Severity.FAIL else Outcome.WARNING


def _one_line(error: duckdb.Error) -> str:
    return " ".join(str(error).split())
