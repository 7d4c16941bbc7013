"""The receipts: what was published of a month, from which inputs, and whether it still stands there.

Here: the table `publications`, and the digests of inputs and rows. Not here: when a receipt is written
(`publish.py`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import astuple, dataclass
from datetime import datetime
from importlib.metadata import version

import duckdb

from refinery_assets.contract.columns import PROCESSED_DATA, PUBLICATIONS
from refinery_assets.contract.months import Month
from refinery_assets.contract.settings import Settings
from refinery_assets.rows.stats import Stats
from refinery_assets.warehouse.tables import column_types


@dataclass(frozen=True)
class Receipt:
    """One row of `publications`; the columns are declared in `contract/columns.py`."""

    month: Month
    run_id: str
    published_at: datetime
    contract_digest: str
    input_digest: str
    rows: int
    imputed: int
    quarantined: int
    rows_added: int
    rows_removed: int
    rows_changed: int
    table_digest: int
    version: str
    checks_off: str | None = None

    @property
    def is_comparable(self) -> bool:
        """Whether the rows' digest was made as digests are made now."""
        return self.version == refinery_version()

    def holds(self, standing: int) -> bool:
        """Whether rows with this digest are known to be those that were published."""
        return self.is_comparable and self.table_digest == standing


_COLUMNS = ", ".join(column.name for column in PUBLICATIONS.columns)


# Incremented when equal rows get a different digest, as by another column of `series_months`.
_DIGEST_VERSION = 2


def refinery_version() -> str:
    """What made the rows and their digests: the versions of the package, of its digests, and of DuckDB."""
    return f"{version('refinery-assets')} digest {_DIGEST_VERSION} DuckDB {duckdb.__version__}"


def input_digest(stats: Iterable[Stats], inventory: str, settings: Settings) -> str:
    """A digest of all that a month's rows, and what the checks say of them, depend on.

    Args:
        stats: Of the month's families: the digest of each file, and of the settings that bear on rows.
        inventory: that of `inventory_digests`.
        settings: The limits of the checks.
    """
    judged_by = [settings.family_skew, settings.behaviors, settings.plausibility.as_text]
    parts: list[object] = [inventory, judged_by]
    for each in stats:
        limits = [settings.limit(name, each.family) for name in ("quarantine_tolerance", "min_coverage")]
        parts.append((each.family.name, each.digest, each.rules, limits))
    parts += [(rule.name, str(rule.severity), rule.query) for rule in settings.contract.rule]
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def inventory_digests(connection: duckdb.DuckDBPyConnection) -> dict[Month, str]:
    """A digest of names and behaviors of the hosts due in each month of `_refinery_hosts_due`, and of their days.

    A host that was retired before the month, or comes after it, is no part of it.
    """
    # Of a host that is due all the month, its days say nothing more.
    rows = connection.execute(
        """
        SELECT month, count(*) FILTER (due <> 0),
            bit_xor(CASE WHEN is_whole THEN hash(node_name, coalesce(behavior, ''))
                ELSE hash(node_name, coalesce(behavior, ''), due) END) FILTER (due <> 0)
        FROM _refinery_hosts_due LEFT JOIN (SELECT DISTINCT number, behavior FROM _refinery_fleet) USING (number)
        GROUP BY month
        """
    ).fetchall()
    return {Month.parse(month): f"{hosts} {digest}" for month, hosts, digest in rows}


def latest_receipts(connection: duckdb.DuckDBPyConnection, months: Iterable[Month]) -> dict[Month, Receipt]:
    """The newest receipt of each month that has one; needs the table `publications`."""
    return {month: receipts[-1] for month, receipts in last_receipts(connection, months, 1).items()}


def last_receipts(
    connection: duckdb.DuckDBPyConnection, months: Iterable[Month], most: int
) -> dict[Month, list[Receipt]]:
    """At most so many of the newest receipts of each month that has any, the newest last."""
    # In the order in which they were committed; DuckDB 2.0 fails on a window that is ordered by rowid itself.
    rows = connection.execute(
        f"""
        SELECT {_COLUMNS} FROM (SELECT *, rowid AS place FROM publications)
        WHERE month IN (SELECT unnest($months::VARCHAR[]))
        QUALIFY row_number() OVER (PARTITION BY month ORDER BY place DESC) <= $most
        ORDER BY place
        """,  # noqa: S608 - names of the dictionary
        {"months": [str(month) for month in months], "most": most},
    ).fetchall()
    receipts: dict[Month, list[Receipt]] = {}
    for key, *fields in rows:
        month = Month.parse(key)
        receipts.setdefault(month, []).append(Receipt(month, *fields))
    return receipts


def rows_of_months(connection: duckdb.DuckDBPyConnection, months: Iterable[Month]) -> dict[Month, int]:
    """How many rows the published table has of each month; months without any are left out.

    Also of months without a receipt, which an older version of the refinery may have published.
    """
    if "ds" not in column_types(connection, PROCESSED_DATA.name):
        return {}
    asked = list(months)
    found: dict[Month, int] = {}
    for span in Month.unbroken(sorted(asked)):
        for year, number, rows in connection.execute(
            "SELECT year(ds), month(ds), count(*) FROM processed_data WHERE ds >= $first AND ds < $end GROUP BY ALL",
            {"first": span[0].first_day, "end": span[-1].next.first_day},
        ).fetchall():
            found[Month(year, number)] = rows
    return {month: found[month] for month in asked if month in found}


def record_receipts(connection: duckdb.DuckDBPyConnection, receipts: Iterable[Receipt]) -> None:
    """Add rows to `publications`, in the transaction at hand."""
    rows = [(str(receipt.month), *astuple(receipt)[1:]) for receipt in receipts]
    if rows:
        places = ", ".join("?" for _ in PUBLICATIONS.columns)
        connection.executemany(f"INSERT INTO publications ({_COLUMNS}) VALUES ({places})", rows)  # noqa: S608


def table_digests(connection: duckdb.DuckDBPyConnection, months: Iterable[Month]) -> dict[Month, int]:
    """A digest of each month's rows in the published tables, whatever their order.

    Counts are part of it, so that a row that stands twice does not cancel itself out.
    """
    asked = sorted(months)
    published: dict[tuple[int, int], tuple[int, int]] = {}
    for span in Month.unbroken(asked):
        # Grouping by two integers takes half the time of grouping by a date.
        for year, month, *digest in connection.execute(
            """
            SELECT year(ds), month(ds), count(*), bit_xor(hash(ds, host_id, resource, y, cap, capacity, is_imputed))
            FROM processed_data WHERE ds >= $first AND ds < $end GROUP BY year(ds), month(ds)
            """,
            {"first": span[0].first_day, "end": span[-1].next.first_day},
        ).fetchall():
            published[year, month] = tuple(digest)
    others = [
        {
            month: (rows, digest)
            for month, rows, digest in connection.execute(query, {"months": [str(month) for month in asked]}).fetchall()
        }
        for query in (
            """
            SELECT month, count(*), bit_xor(hash(resource, source_file, source_line, raw, fault))
            FROM quarantined_rows WHERE month IN (SELECT unnest($months::VARCHAR[])) GROUP BY month
            """,
            """
            SELECT month, count(*), bit_xor(hash(s)) FROM series_months s
            WHERE month IN (SELECT unnest($months::VARCHAR[])) GROUP BY month
            """,
        )
    ]
    return {
        month: _digest_of(
            published.get((month.year, month.month), (0, 0)), *(table.get(str(month), (0, 0)) for table in others)
        )
        for month in asked
    }


def _digest_of(*parts: tuple[int, int]) -> int:
    """One number of 64 bits for counts and digests."""
    return int.from_bytes(hashlib.sha256(repr(parts).encode()).digest()[:8])
