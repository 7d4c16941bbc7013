"""Rules of a team's own: queries of the contract that return the bad rows of the months under audit.

They are judged with the publish checks, in the publishing transaction and in the re-audit. Here: how a month is judged
by one. Not here: how a contract declares them (`contract/own_rules.py`), which queries are let through
(`own_queries.py`), and the publish checks that every contract has (`publish_checks.py`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from decimal import Decimal
from functools import cache
from typing import Any

import duckdb

from refinery_assets.checks.rules import SAMPLE_SIZE, Cell, Finding, Outcome, Row, Rule, Verdict, counted, judge
from refinery_assets.contract.contract_file import Contract, ContractError
from refinery_assets.contract.families import PROCESSED_DATA
from refinery_assets.contract.months import Month
from refinery_assets.contract.own_rules import OwnRule, Severity
from refinery_assets.rows.family_checks import FAMILY_RULES
from refinery_assets.rows.source_checks import ENTRANCE_RULES
from refinery_assets.warehouse.facts import MonthOfTable
from refinery_assets.warehouse.inventory_checks import INVENTORY_RULES
from refinery_assets.warehouse.inventory_source import name_inventory
from refinery_assets.warehouse.own_queries import one_line, problem_in_warehouse, problem_of_form
from refinery_assets.warehouse.publish_checks import PUBLISH_RULES

OwnFindings = Mapping[str, Finding]
"""What the contract's own rules find in a month, by name."""

_BUILT_IN = {rule.name for rules in (ENTRANCE_RULES, INVENTORY_RULES, FAMILY_RULES, PUBLISH_RULES) for rule in rules}
_MONTH = "month"
_NO_MONTH = "''"
"""The key of rows of which the month cannot be read."""
_OF_DAY = f"CASE WHEN month IS NULL THEN NULL WHEN isfinite(month) THEN strftime(month, '%Y-%m') ELSE {_NO_MONTH} END"
# DuckDB takes 24-05-01 and 1-5-24 for days, too: of the years 24 and 1.
_OF_TEXT = rf"""
    CASE WHEN month IS NULL THEN NULL
        WHEN regexp_full_match(trim(month), '\d{{4}}-(0[1-9]|1[0-2])') THEN trim(month)
        WHEN regexp_matches(trim(month), '^\d{{4}}-\d\d-\d\d')
        THEN coalesce(strftime(try_cast(trim(month) AS DATE), '%Y-%m'), {_NO_MONTH})
        ELSE {_NO_MONTH} END
"""
_KEYS = {
    "VARCHAR": _OF_TEXT,
    **dict.fromkeys(("DATE", "TIMESTAMP", "TIMESTAMP_S", "TIMESTAMP_MS", "TIMESTAMP_NS"), _OF_DAY),
    '"NULL"': "NULL",
}
"""How a row's month is told by the type of its column. An instant is none: its month depends on the time zone."""
_EXPECTED = "text such as 2024-05, a DATE or a TIMESTAMP"


class OwnRuleError(Exception):
    """A query could not be run; the message is DuckDB's, in one line. The transaction at hand is of no use any more.

    Attributes:
        rule: The rule's name.
    """

    def __init__(self, rule: str, error: duckdb.Error) -> None:
        super().__init__(one_line(error))
        self.rule = rule


def publish_rules(contract: Contract) -> tuple[Rule[MonthOfTable], ...]:
    """The rules of `processed_data`: those of every contract, and this contract's own.

    Raises:
        ContractError: A rule of its own has the name of another check, or its query is not let through.
    """
    return (*PUBLISH_RULES, *(_of_table(rule) for rule in map(_as_rule, contract.rule)))


def judge_by_own_rules(
    connection: duckdb.DuckDBPyConnection, months: Sequence[Month], contract: Contract, broken: Mapping[str, str]
) -> dict[Month, OwnFindings]:
    """What the contract's own rules find in each month, in the transaction at hand.

    Args:
        connection: The warehouse, with the months as they are to be published.
        months: The months under audit.
        contract: The contract.
        broken: Rules whose queries failed before, with DuckDB's message; they are not run again.

    Raises:
        OwnRuleError: Another query fails.
    """
    _name_relations(connection, contract)
    found = {}
    for rule in contract.rule:
        if rule.name in broken:
            found[rule.name] = dict.fromkeys(months, _broken(rule, broken[rule.name]))
            continue
        try:
            found[rule.name] = _run(connection, rule, months)
        except duckdb.FatalException:
            raise
        except duckdb.Error as error:
            raise OwnRuleError(rule.name, error) from error
    return _by_month(months, found)


def judge_published_by_own_rules(
    connection: duckdb.DuckDBPyConnection, months: Sequence[Month], contract: Contract
) -> dict[Month, OwnFindings]:
    """What the contract's own rules find in each published month; not for use in a transaction."""
    _name_relations(connection, contract)
    found = {}
    for rule in contract.rule:
        try:
            found[rule.name] = _run(connection, rule, months)
        except duckdb.FatalException:
            raise
        except duckdb.Error as error:
            found[rule.name] = dict.fromkeys(months, _broken(rule, one_line(error)))
    return _by_month(months, found)


def judge_unchanged_by_own_rules(
    connection: duckdb.DuckDBPyConnection,
    said: Mapping[Month, Sequence[Verdict]],
    contract: Contract,
    broken: Mapping[str, str],
) -> dict[Month, list[Verdict]]:
    """The verdicts of months that stay as they are published, with those of the contract's own rules given anew.

    These may read what no input digest covers: a table of exceptions, or other months.

    Args:
        connection: The warehouse.
        said: The verdicts so far.
        contract: The contract.
        broken: As in `judge_by_own_rules`.

    Raises:
        OwnRuleError: Another query fails.
    """
    rules = [_as_rule(rule) for rule in contract.rule]
    names = {rule.name for rule in rules}
    found = judge_by_own_rules(connection, list(said), contract, broken)
    return {
        month: [
            *(each for each in verdicts if each.asset != PROCESSED_DATA or each.check not in names),
            *judge(rules, PROCESSED_DATA, month, found[month]),
        ]
        for month, verdicts in said.items()
    }


@cache
def _as_rule(rule: OwnRule) -> Rule[OwnFindings]:
    if rule.name in _BUILT_IN:
        raise ContractError(f"The contract's rule {rule.name} has the name of another check; give it one of its own.")
    if problem := problem_of_form(rule.query):
        raise ContractError(f"The contract's rule {rule.name} cannot be used: {rule.sql} {problem}")
    return Rule(rule.name, rule.description, rule.recovery, lambda found: found[rule.name])


def _of_table(rule: Rule[OwnFindings]) -> Rule[MonthOfTable]:
    return Rule(rule.name, rule.description, rule.recovery, lambda month: rule.judge(month.own))


def _by_month(months: Sequence[Month], found: Mapping[str, Mapping[Month, Finding]]) -> dict[Month, OwnFindings]:
    return {month: {name: findings[month] for name, findings in found.items()} for month in months}


def _name_relations(connection: duckdb.DuckDBPyConnection, contract: Contract) -> None:
    """Name what only queries of this kind read; the tables of the warehouse have their names."""
    if not contract.rule:
        return
    name_inventory(connection)
    # A name that no table has is a mistake, and not a variable of this program, which no query of its own reads either.
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
    if problem := problem_in_warehouse(connection, rule.query):
        return dict.fromkeys(months, _unknown(rule, "may not be run", f"{rule.sql} {problem}"))
    # One SELECT and nothing else, see `own_queries.py`.
    connection.execute(f"CREATE OR REPLACE TEMP VIEW _refinery_rule AS {rule.query}")
    described = connection.execute("DESCRIBE _refinery_rule").fetchall()
    kind = next((kind for name, kind, *_ in described if name.lower() == _MONTH), None)
    if kind is None:
        findings = {}
        for month in months:
            _name_months(connection, [month])
            findings[month] = _finding(rule, _bad_rows(connection, "NULL"), month)
        return findings
    if kind not in _KEYS:
        detail = f"The rule {rule.name}: {rule.sql} returns the column month as {kind}; expected {_EXPECTED}."
        return dict.fromkeys(months, _unknown(rule, "does not tell which months its rows are of", detail))
    bad = _bad_rows(connection, _KEYS[kind])
    return {month: _finding(rule, bad, month) for month in months}


def _bad_rows(connection: duckdb.DuckDBPyConnection, key: str) -> dict[str | None, tuple[int, list[Row]]]:
    """How many rows the query returns of each month, and the first of them; null is the key of those of no month."""
    # In one go: the query may be slow, and another time it may give other rows. Its own order is that of the sample.
    rows = connection.execute(
        f"""
        SELECT key, count(*), arg_min(bad, place, $most)
        FROM (
            SELECT {key} AS key, "bad row" AS bad, row_number() OVER () AS place
            FROM _refinery_rule AS "bad row"
        ) GROUP BY key
        """,  # noqa: S608 - constants of this module
        {"most": SAMPLE_SIZE},
    ).fetchall()
    return {key: (count, list(map(_row, sample))) for key, count, sample in rows}


def _row(row: Mapping[str, Any]) -> Row:
    return {name: _cell(value) for name, value in row.items()}


def _cell(value: object) -> Cell:
    if isinstance(value, Decimal) and Decimal(repr(number := float(value))) == value:
        value = number
    if value is None or isinstance(value, bool | int | str):
        return value
    # JSON has no word for NaN or infinity.
    return value if isinstance(value, float) and math.isfinite(value) else str(value)


def _finding(rule: OwnRule, bad: Mapping[str | None, tuple[int, list[Row]]], month: Month) -> Finding:
    # A row of no month counts in each: it is bad, and nothing says of which it is not.
    (unread, _), *_ = found = [bad.get(key, (0, [])) for key in ("", str(month), None)]
    rows = sum(count for count, _ in found)
    returned = counted(rows, "row") if rows else "no row"
    return Finding(
        _outcome(rule) if rows else Outcome.PASSED,
        f"The rule's query returned {returned}.",
        {"bad_rows": rows},
        f"The rule {rule.name}: in {counted(unread, 'row')} of {rule.sql} the column month is no month; expected "
        f"{_EXPECTED}."
        if unread
        else "",
        offenders=[row for _, sample in found for row in sample][:SAMPLE_SIZE],
        recovery=_correct(rule) if unread else None,
    )


def _broken(rule: OwnRule, message: str) -> Finding:
    return _unknown(rule, "could not be run", f"DuckDB says: {message}")


def _unknown(rule: OwnRule, what: str, detail: str) -> Finding:
    summary = f"The rule's query {what}, so nothing is known of the month."
    return Finding(_outcome(rule), summary, {}, detail, recovery=_correct(rule))


def _correct(rule: OwnRule) -> str:
    return f"Correct the query in {rule.sql}, then run the month again."


def _outcome(rule: OwnRule) -> Outcome:
    return Outcome.FAILED if rule.severity is Severity.FAIL else Outcome.WARNING
