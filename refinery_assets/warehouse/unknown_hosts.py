"""Hosts of a month that the inventory lacks, altogether or on some day: how many, and a sample with their places.

Here: finding them in `_refinery_series` (`facts.py`) and in the partitions. Not here: the rule (`publish_checks.py`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import duckdb

from refinery_assets.checks.rules import SAMPLE_SIZE, Row
from refinery_assets.contract.months import Month
from refinery_assets.warehouse.family_partitions import PARTITION_ROWS, placed
from refinery_assets.warehouse.tables import rows_of


@dataclass(frozen=True)
class Occurrences:
    """How often such hosts occur in a month: a host of several resources is one host.

    Attributes:
        hosts: Hosts, without regard to case, as the inventory's names are compared.
        rows: Their rows that are not imputed; of hosts that do not count on a day, those of such days.
        resources: The resources that have such rows.
    """

    hosts: int = 0
    rows: int = 0
    resources: Sequence[str] = ()


@dataclass(frozen=True)
class UnknownHosts:
    """The hosts of a month that the inventory lacks.

    Attributes:
        unknown: Those that it lacks altogether.
        outside: Those with rows of days on which it does not count them.
        sample: At most `SAMPLE_SIZE` of either; the latter have a `why`. With file and line where they are known.
        misread: Names of the sample that it lacks, and the hosts that they are if UTF-8 was read as latin-1.
    """

    unknown: Occurrences = Occurrences()
    outside: Occurrences = Occurrences()
    sample: Sequence[Row] = ()
    misread: Mapping[str, str] = field(default_factory=dict)


def find_unknown_hosts(connection: duckdb.DuckDBPyConnection, month: Month, paths: Sequence[str] = ()) -> UnknownHosts:
    """Count and sample the hosts of the month that the inventory lacks; needs `sum_up` before.

    Args:
        connection: The warehouse.
        month: The month.
        paths: Its partitions; without them no file and line are known.
    """
    found = connection.execute(
        """
        SELECT is_known, count(DISTINCT lower(host_id)),
            sum(CASE WHEN is_known THEN bit_count(outside) ELSE points - imputed END)::BIGINT,
            list(DISTINCT resource ORDER BY resource)
        FROM _refinery_series WHERE month = $month AND (NOT is_known OR outside <> 0) GROUP BY is_known
        """,
        {"month": str(month)},
    ).fetchall()
    counts = {is_known: Occurrences(*numbers) for is_known, *numbers in found}
    sample = _sample(connection, month)
    places = _places_of(connection, month, sample, paths) if paths else {}
    rows = [{**row, **places.get(str(row["host_id"]), {})} for row in sample]
    # A table has the same columns in all of its rows.
    columns = dict.fromkeys(name for row in rows for name in row if name != "days")
    return UnknownHosts(
        counts.get(False, Occurrences()),
        counts.get(True, Occurrences()),
        [{name: row.get(name) for name in columns} for row in rows],
        _misread(connection, [str(row["host_id"]) for row in sample if "why" not in row]),
    )


def _misread(connection: duckdb.DuckDBPyConnection, names: Sequence[str]) -> dict[str, str]:
    """The hosts of the inventory that names are whose bytes were UTF-8 and were read as latin-1."""
    meant: dict[str, str] = {}
    for name in names:
        with suppress(UnicodeError):
            meant[name] = name.encode("latin-1").decode("utf-8")
    meant = {name: text for name, text in meant.items() if text != name}
    if not meant:
        return {}
    known = connection.execute(
        "SELECT lower(node_name), node_name FROM _refinery_fleet WHERE list_contains($names, lower(node_name))",
        {"names": [text.lower() for text in meant.values()]},
    ).fetchall()
    hosts = dict(known)
    return {name: hosts[text.lower()] for name, text in meant.items() if text.lower() in hosts}


def _sample(connection: duckdb.DuckDBPyConnection, month: Month) -> list[Row]:
    """The hosts with the most rows. `days` (bit n) says on which; `why` is missing where the inventory lacks them."""
    cursor = connection.execute(
        """
        SELECT * EXCLUDE (place) FROM (
            SELECT *, row_number() OVER (PARTITION BY is_known ORDER BY rows DESC, host_id) AS place FROM (
                SELECT min(host_id) AS host_id, string_agg(DISTINCT resource, ', ' ORDER BY resource) AS resources,
                    sum(CASE WHEN is_known THEN bit_count(outside) ELSE points - imputed END)::BIGINT AS rows,
                    bit_or(CASE WHEN is_known THEN outside ELSE days END) AS days, is_known
                FROM _refinery_series WHERE month = $month AND (NOT is_known OR outside <> 0)
                GROUP BY lower(host_id), is_known
            )
        ) WHERE place <= $most ORDER BY is_known, place
        """,
        {"month": str(month), "most": SAMPLE_SIZE},
    )
    return [
        {name: value for name, value in row.items() if name != "is_known"}
        | ({"why": _why_outside(connection, month, row)} if row["is_known"] else {})
        for row in rows_of(cursor)
    ]


def _why_outside(connection: duckdb.DuckDBPyConnection, month: Month, row: Row) -> str:
    """What the inventory says of a host on the first day that it does not count on."""
    days = int(row["days"] or 0)
    first = month.days[(days & -days).bit_length() - 2]
    ((ended, begins),) = connection.execute(
        "SELECT max(valid_to) FILTER (valid_to <= $day), min(valid_from) FILTER (valid_from > $day) "
        "FROM _refinery_fleet WHERE node_name = $host",
        {"day": first, "host": row["host_id"]},
    ).fetchall()
    parts = [f"retired on {ended}"] if ended else []
    parts += [f"{'back' if ended else 'not there'} {'on' if ended else 'before'} {begins}"] if begins else []
    return ", ".join(parts)


def _places_of(
    connection: duckdb.DuckDBPyConnection, month: Month, hosts: Sequence[Row], paths: Sequence[str]
) -> dict[str, Row]:
    """File and line where each of the hosts stands first on one of its days."""
    of_hosts = f"""
        SELECT f.path, h.host_id, p.source_line
        FROM {PARTITION_ROWS} JOIN (SELECT unnest($hosts::VARCHAR[]) AS host_id, unnest($days::BIGINT[]) AS days) h
            ON lower(p.host_id) = lower(h.host_id) AND (h.days >> dayofmonth(p.ds)) & 1 = 1
        WHERE f.month = $month AND p.fault IS NULL AND NOT p.is_imputed
    """  # noqa: S608 - a constant of the package
    rows = connection.execute(
        f"""
        SELECT host_id, arg_min(source_file, (source_file, file_line)), arg_min(file_line, (source_file, file_line))
        FROM ({placed(of_hosts)}) GROUP BY host_id
        """,  # noqa: S608 - queries of the package
        {
            "paths": paths,
            "month": str(month),
            "hosts": [row["host_id"] for row in hosts],
            "days": [row["days"] for row in hosts],
        },
    ).fetchall()
    return {host: {"source_file": file, "source_line": line} for host, file, line in rows}
