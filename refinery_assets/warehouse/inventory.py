"""The host inventory: facts about it.

Here: whether the inventory is there and fit to hold readings against. Not here: the rules that judge it
(`inventory_checks.py`), where it is and what its columns are called (`inventory_source.py`), and making or changing it:
it belongs to another system, and the refinery only reads it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import duckdb

from refinery_assets.checks.rules import SAMPLE_SIZE, Row
from refinery_assets.contract.contract_file import Contract
from refinery_assets.contract.families import Behavior, DateFormat
from refinery_assets.contract.settings import Settings
from refinery_assets.warehouse.fleet import name_fleet
from refinery_assets.warehouse.inventory_error import InventoryError
from refinery_assets.warehouse.inventory_source import AS_DAY, name_source
from refinery_assets.warehouse.tables import rows_of

_HOSTS_OF_PERIODS = "count(DISTINCT lower(node_name))"
_OVERLAPS = "next_from IS NOT NULL AND (valid_to IS NULL OR next_from < valid_to)"


@dataclass(frozen=True)
class InventoryFacts:
    """What is known of the inventory.

    Attributes:
        expected_behaviors: How many behaviors it must hold.
        named_behaviors: Those that it must hold by name.
        has_behaviors: Whether the contract names a column of behaviors.
        problem: Why there is no inventory to look at, as a sentence; None when there is one.
        there: What is there instead, as a sentence that may quote names of others.
        source: Where it is, by the contract, for those who are to correct it.
        hosts: Its hosts: its rows, or where rows have periods, its names without regard to case.
        unnamed: Rows without a host's name.
        repeated: How often each name stands that stands more than once for a day, without regard to case.
        respelled: Names with several periods that are not spelled alike in all of them.
        overlapping: A sample of periods of a host that do not end before its next begins.
        reversed: Rows that end before, or when, they begin.
        bad_days: Rows of which valid_from or valid_to is no day.
        bad_day_sample: Some of these: host, text, source, column, and of a CSV file the line.
        declared_days: The formats that are read.
        possible_days: The formats that `date_format` could declare to have the sample read.
        behaviors: Hosts per behavior, in upper case; hosts without one are left out.
    """

    expected_behaviors: int
    named_behaviors: Sequence[Behavior] = ()
    has_behaviors: bool = True
    problem: str | None = None
    there: str = ""
    source: str = ""
    hosts: int = 0
    unnamed: int = 0
    repeated: Mapping[str, int] = field(default_factory=dict)
    respelled: Sequence[str] = ()
    overlapping: Sequence[Row] = ()
    reversed: int = 0
    bad_days: int = 0
    bad_day_sample: Sequence[Row] = ()
    declared_days: Sequence[DateFormat] = (DateFormat.ISO,)
    possible_days: Sequence[DateFormat] = ()
    behaviors: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def unavailable(cls, settings: Settings, problem: str, there: str = "") -> InventoryFacts:
        """What is known of an inventory that cannot be looked at, for a reason given as a sentence."""
        has_behaviors = bool(settings.contract.inventory.behavior)
        return cls(
            settings.behaviors, _named(settings), has_behaviors, problem, there, where_hosts_are(settings.contract)
        )

    @property
    def missing_behaviors(self) -> Sequence[Behavior]:
        """The behaviors that are expected by name and that no host has."""
        return [behavior for behavior in self.named_behaviors if str(behavior) not in self.behaviors]


def _named(settings: Settings) -> Sequence[Behavior]:
    """The behaviors to expect by name; a number that the environment asks for instead has no names to miss."""
    names = settings.contract.behaviors.names
    return names if settings.behaviors == len(names) else ()


def inspect_inventory(connection: duckdb.DuckDBPyConnection, settings: Settings) -> InventoryFacts:
    """Look at the inventory; what is wrong is in the facts, not raised. Leaves it as `_refinery_fleet`."""
    try:
        name_fleet(connection, settings.contract)
    except InventoryError as error:
        return InventoryFacts.unavailable(settings, error.problem, error.there)
    ((rows, unnamed, has_periods, bad_days, ends_early),) = connection.execute(
        """
        SELECT count(*), count(*) FILTER (node_name IS NULL OR trim(node_name) = ''),
            count(valid_from) + count(valid_to) > 0, count(*) FILTER (has_bad_day),
            count(*) FILTER (valid_to <= valid_from)
        FROM _refinery_fleet
        """
    ).fetchall()
    behaviors = connection.execute(
        f"SELECT behavior, {_HOSTS_OF_PERIODS if has_periods else 'count(*)'} FROM _refinery_fleet "  # noqa: S608 - a constant
        "WHERE behavior IS NOT NULL GROUP BY behavior ORDER BY behavior"
    ).fetchall()
    of_names = (
        _look_at_periods(connection)
        if has_periods
        else {"hosts": rows, "repeated": _repeated(connection, "count(*) - 1")}
    )
    return InventoryFacts(
        settings.behaviors,
        _named(settings),
        bool(settings.contract.inventory.behavior),
        problem=None if rows else f"{_called(settings.contract)} has no rows",
        source=where_hosts_are(settings.contract),
        unnamed=unnamed,
        reversed=ends_early,
        bad_days=bad_days,
        behaviors=dict(behaviors),
        **of_names,
        **(_look_at_bad_days(connection, settings.contract) if bad_days else {}),
    )


def _look_at_bad_days(connection: duckdb.DuckDBPyConnection, contract: Contract) -> dict[str, Any]:
    """What stands where valid_from and valid_to should be days, and as which days it could be read."""
    inventory = contract.inventory
    found = connection.execute(
        " UNION ALL ".join(
            f"(SELECT node_name, '{key}', trim({key}) FROM _refinery_inventory "  # noqa: S608 - constants of the package
            f"WHERE trim({key}) <> '' AND {AS_DAY.format(name=key)} IS NULL ORDER BY node_name LIMIT $most)"
            for key in ("valid_from", "valid_to")
        ),
        {"most": SAMPLE_SIZE},
    ).fetchall()
    lines: dict[tuple[str, str], int] = {}
    if inventory.is_csv and contract.inventory_file is not None:
        from refinery_assets.warehouse.inventory_file import lines_of_texts  # noqa: PLC0415 - as in inventory_source.py

        # If the file has gone since, there is no line to tell.
        with suppress(InventoryError, OSError):
            lines = lines_of_texts(contract.inventory_file, set(inventory.own_columns.values()), inventory)
    sample: list[Row] = [
        {
            "node_name": host,
            "text": text,
            "source": inventory.source,
            "line": lines.get((key, text)),
            "column": inventory.own_columns[key],
        }
        for host, key, text in found
    ]
    return {
        "bad_day_sample": sample,
        "declared_days": list(dict.fromkeys((DateFormat.ISO, inventory.date_format))),
        "possible_days": _formats_of([text for *_, text in found]) if inventory.is_csv else [],
    }


def _formats_of(texts: Sequence[str]) -> list[DateFormat]:
    """The formats in which all of the texts are days."""
    import polars as pl  # noqa: PLC0415 - takes a while to load, and few inventories need it

    from refinery_assets.rows.days import day_of  # noqa: PLC0415 - loads it, too

    frame = pl.DataFrame({"text": texts})
    return [each for each in DateFormat if not frame.select(day_of("text", each).is_null().any()).item()]


def _look_at_periods(connection: duckdb.DuckDBPyConnection) -> dict[str, Any]:
    """What the names say of an inventory whose hosts may stand in several rows."""
    ((hosts,),) = connection.execute(f"SELECT {_HOSTS_OF_PERIODS} FROM _refinery_fleet").fetchall()  # noqa: S608 - a constant
    respelled = connection.execute(
        "SELECT min(node_name) FROM _refinery_fleet GROUP BY lower(node_name) "
        "HAVING count(DISTINCT node_name) > 1 ORDER BY 1"
    ).fetchall()
    # Read at once: the next query of the connection takes its place.
    overlapping = rows_of(
        connection.execute(
            f"SELECT node_name, valid_from::VARCHAR AS valid_from, valid_to::VARCHAR AS valid_to, "  # noqa: S608 - a constant
            f"next_from::VARCHAR AS next_valid_from FROM _refinery_fleet WHERE node_name IS NOT NULL AND {_OVERLAPS} "
            "ORDER BY node_name, valid_from NULLS FIRST LIMIT $most",
            {"most": SAMPLE_SIZE},
        )
    )
    return {
        "hosts": hosts,
        "repeated": _repeated(connection, f"count(*) FILTER ({_OVERLAPS})"),
        "respelled": [name for (name,) in respelled],
        "overlapping": overlapping,
    }


def _repeated(connection: duckdb.DuckDBPyConnection, surplus: str) -> dict[str, int]:
    """How often each name stands that has surplus rows."""
    return dict(
        connection.execute(
            f"SELECT lower(node_name), 1 + {surplus} FROM _refinery_fleet WHERE node_name IS NOT NULL "  # noqa: S608 - a constant
            f"GROUP BY 1 HAVING {surplus} > 0 ORDER BY 1"
        ).fetchall()
    )


def _called(contract: Contract) -> str:
    if contract.inventory_file is not None:
        return f"the file {contract.inventory_file}"
    return f"the table {contract.inventory.source}"


def where_hosts_are(contract: Contract) -> str:
    """What to correct where hosts are missing: the file, if the inventory is one; else empty."""
    if contract.inventory_file is None:
        return ""
    return f"the file {contract.inventory_file} ([inventory] source in the contract, relative to the contract file)"


def odd_host_names(connection: duckdb.DuckDBPyConnection, contract: Contract) -> frozenset[str]:
    """Names that exports write for an absent host, and that hosts of the inventory really have; in lower case."""
    absent = {text for family in contract.families for text in family.absent if text}
    try:
        name_source(connection, contract)
    except InventoryError:
        # Nothing is published without it; that is for the inventory's checks to say.
        return frozenset()
    named = connection.execute(
        "SELECT DISTINCT lower(node_name) FROM _refinery_inventory WHERE list_contains($absent, lower(node_name))",
        {"absent": sorted(absent)},
    )
    return frozenset(name for (name,) in named.fetchall())
