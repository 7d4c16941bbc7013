"""Which queries a rule of one's own may have: one SELECT that reads the warehouse and nothing else.

DuckDB shuts off files and settings for a whole process and for good, and a run has to read its partitions. So a query
is looked at before it is run: at start its form, and in the warehouse the tables that it names. Here: both looks. Not
here: running it (`own_rules.py`). What a view of somebody's reads is for the view's owner to say.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

import duckdb

from refinery_assets.contract.columns import TABLES, VIEWS

# What a query may be made of, by the names of DuckDB's parser. A SELECT's WITH may hold an INSERT, DELETE or COPY.
_QUERY_NODES = {"SELECT_NODE", "SET_OPERATION_NODE", "RECURSIVE_CTE_NODE", "CTE_NODE"}
# All others are refused: most of them read files, settings or secrets, or run the text of another query.
_TABLE_FUNCTIONS = {"range", "generate_series", "unnest", "json_each", "json_tree"}
_CHANGING_FUNCTIONS = {"nextval", "setval", "write_log"}
# The scalar functions of DuckDB 2.0 that look outside the warehouse; getenv is one of its command line alone.
_OUTWARD_FUNCTIONS = {"current_setting", "getenv", "json_serialize_plan"}
_NO_SELECT = "is not one SELECT; a rule may do nothing but read."
_READABLE = "the tables and views of the warehouse alone"
# What a run makes under a name that queries know.
_TEMPORARY = sorted({relation.name for relation in (*TABLES, *VIEWS)} | {"audit_months"})

Name = tuple[str, ...]
"""A table's name in lower case, with schema and database before it where the query says them."""


def problem_of_form(query: str) -> str | None:
    """Why a query is not let through, as the end of a sentence; None: it is."""
    with duckdb.connect() as parser:
        try:
            statements = parser.extract_statements(query)
        except duckdb.Error as error:
            return f"is not SQL. DuckDB says: {one_line(error)}"
    if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
        return _NO_SELECT
    if statements[0].named_parameters:
        return "has parameters; write what they stand for."
    return next(filter(None, map(_problem_of_node, _nodes(_parsed(query)))), None)


def problem_in_warehouse(connection: duckdb.DuckDBPyConnection, query: str) -> str | None:
    """Why a query of the right form may not be run in this warehouse, as the end of a sentence; None: it may.

    A name without a schema that nothing has is left to DuckDB, which says what was meant. With one it would be taken
    for a file: `hosts.csv`, unquoted, is the table csv in the schema hosts.
    """
    rows = connection.execute(
        """
        SELECT lower(database_name), lower(schema_name), lower(name), database_name = current_database()
            OR (database_name = 'temp' AND list_contains($temporary::VARCHAR[], name))
        FROM (
            SELECT database_name, schema_name, table_name AS name FROM duckdb_tables()
            UNION ALL
            SELECT database_name, schema_name, view_name FROM duckdb_views()
        )
        """,
        {"temporary": _TEMPORARY},
    ).fetchall()
    readable: set[Name] = set()
    for database, schema, name, is_readable in rows:
        if is_readable:
            readable |= {(schema, name), (database, schema, name)}
            readable |= {(name,), (database, name)} if schema == "main" else set()
    known = {name for _, _, name, _ in rows}
    for name in _tables(_parsed(query)):
        if name not in readable and (len(name) > 1 or name[0] in known):
            return f"reads {'.'.join(name)}, which is no table or view of the warehouse; a rule reads {_READABLE}."
    return None


def one_line(error: duckdb.Error) -> str:
    """DuckDB's message without its line breaks."""
    return " ".join(str(error).split())


@cache
def _parsed(query: str) -> list[Any]:
    with duckdb.connect() as parser:
        ((tree,),) = parser.execute("SELECT json_serialize_sql($query::VARCHAR)", {"query": query}).fetchall()
    statements: list[Any] = json.loads(tree)["statements"]
    return statements


def _problem_of_node(node: Mapping[str, Any]) -> str | None:
    kind, function = str(node.get("type", "")), _function(node)
    problem = None
    if (kind.endswith("_NODE") and kind not in _QUERY_NODES) or kind == "SHOW_REF":
        problem = _NO_SELECT
    elif function in _CHANGING_FUNCTIONS:
        problem = f"calls {function}, which changes the warehouse; a rule may do nothing but read."
    elif function in _OUTWARD_FUNCTIONS:
        problem = f"calls {function}; a rule reads {_READABLE}."
    elif kind == "TABLE_FUNCTION" and _function(node["function"]) not in _TABLE_FUNCTIONS:
        problem = f"reads by {_function(node['function'])}; a rule reads {_READABLE}."
    elif kind == "BASE_TABLE" and set(str(node["table_name"])) & set("./\\:*"):
        problem = f"reads {node['table_name']!r}; a rule reads {_READABLE}."
    return problem


def _function(node: Mapping[str, Any]) -> str:
    return str(node.get("function_name", "")).lower()


def _tables(tree: Any) -> list[Name]:
    """The tables that a query names, without those of its WITH."""
    nodes = list(_nodes(tree))
    own = {(str(entry["key"]).lower(),) for node in nodes for entry in node.get("cte_map", {}).get("map", ())}
    named = [
        tuple(str(node[part]).lower() for part in ("catalog_name", "schema_name", "table_name") if node.get(part))
        for node in nodes
        if node.get("type") == "BASE_TABLE"
    ]
    return [name for name in named if name not in own]


def _nodes(tree: Any) -> Iterator[dict[str, Any]]:
    """Every node of a parsed query."""
    if isinstance(tree, dict):
        yield tree
    for part in tree.values() if isinstance(tree, dict) else tree if isinstance(tree, list) else ():
        yield from _nodes(part)
