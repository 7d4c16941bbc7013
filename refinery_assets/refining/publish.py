"""Write, audit, publish: replace months of the table in one transaction that only a clean audit commits.

Here: the transaction, and what must hold before it begins. Not here: the rules (`audit.py`,
`inventory.py`, `entrance.py`, `family.py`) and how the warehouse is opened (`resources.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb

from refinery_assets.contract import (
    FAMILIES,
    PROCESSED_COLUMNS,
    PROCESSED_TABLE,
    QUARANTINE_COLUMNS,
    QUARANTINE_TABLE,
    UTILIZATION_CEILING_PERCENT,
    Column,
)
from refinery_assets.months import Month
from refinery_assets.refining.audit import AUDIT_RULES
from refinery_assets.refining.entrance import FamilyExtent, family_disagreements
from refinery_assets.refining.evidence import AuditEvidence, SourceFacts, gather_evidence, name_months
from refinery_assets.refining.family import excess_quarantine
from refinery_assets.refining.inventory import INVENTORY_RULES, inspect_inventory
from refinery_assets.refining.partition import (
    PARTITION_ROWS,
    Partition,
    globs,
    name_partitions,
    partitions,
    source_facts,
)
from refinery_assets.refining.rules import Row, Verdict, verdicts
from refinery_assets.settings import Settings


class ForeignTableError(Exception):
    """A table of the refinery's name exists and is not the refinery's; nothing was touched."""


@dataclass(frozen=True)
class Publication:
    """How publishing, or auditing what is published, came out.

    Attributes:
        refusals: Why the months could not even be written, as sentences; empty when they could.
        verdicts: The verdicts of the exit rules; empty when the months could not be written.
        months: Per month under audit what stands in the table; see `month_figures`.
        table_rows: Rows of the whole table.
    """

    refusals: Sequence[str] = ()
    verdicts: Sequence[Verdict] = ()
    months: Sequence[Row] = ()
    table_rows: int = 0

    @property
    def problems(self) -> list[str]:
        """Every reason against the months, as sentences; empty when they are published."""
        return [*self.refusals, *(verdict.sentence for verdict in self.verdicts if verdict.failed)]


def publish(
    connection: duckdb.DuckDBPyConnection, telemetry: Path, months: Sequence[Month], settings: Settings
) -> Publication:
    """Replace `months` of `processed_data` and `quarantined_rows` by what the partitions hold.

    Everything happens in one transaction. It is committed only when the inventory, the partitions and
    every exit rule let the months pass; otherwise it is rolled back and the table stays as it was.

    Raises:
        ForeignTableError: A table with one of the two names has other columns.
    """
    connection.execute("BEGIN")
    try:
        publication = _write_and_audit(connection, telemetry, months, settings)
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("ROLLBACK" if publication.problems else "COMMIT")
    return publication


def reaudit(connection: duckdb.DuckDBPyConnection, telemetry: Path, settings: Settings) -> Publication:
    """Judge the published table by the exit rules, against the partitions as they are now.

    The connection may be read-only. Nothing is written but temporary tables.
    """
    if not {PROCESSED_TABLE, QUARANTINE_TABLE} <= _tables(connection):
        return Publication(refusals=["nothing is published yet: materialize processed_data first"])
    inventory = verdicts(INVENTORY_RULES, inspect_inventory(connection, settings.behaviors))
    if refusals := [verdict.sentence for verdict in inventory if verdict.failed]:
        return Publication(refusals=refusals)
    starts = connection.execute(
        "SELECT DISTINCT date_trunc('month', ds)::DATE FROM processed_data ORDER BY 1"
    )
    months = [Month.of(start) for (start,) in starts.fetchall()]
    if not months:
        return Publication(refusals=["nothing is published yet: materialize processed_data first"])
    files = [file for file in partitions(telemetry, months) if file.path.exists()]
    name_partitions(connection, files)
    evidence = gather_evidence(connection, months, source_facts(connection, files), settings.min_coverage)
    return _judged(evidence)


def _write_and_audit(
    connection: duckdb.DuckDBPyConnection, telemetry: Path, months: Sequence[Month], settings: Settings
) -> Publication:
    inventory = verdicts(INVENTORY_RULES, inspect_inventory(connection, settings.behaviors))
    refusals = [f"host_inventory: {verdict.sentence}" for verdict in inventory if verdict.failed]
    files = partitions(telemetry, months)
    refusals += [
        f"{file.family.name} has no partition {file.month}: materialize it first"
        for file in files
        if not file.path.exists()
    ]
    if refusals:
        return Publication(refusals=refusals)
    name_partitions(connection, files)
    sources = source_facts(connection, files)
    if refusals := _partition_refusals(files, sources, settings):
        return Publication(refusals=refusals)
    name_months(connection, months)
    _ensure_table(connection, PROCESSED_TABLE, PROCESSED_COLUMNS)
    _ensure_table(connection, QUARANTINE_TABLE, QUARANTINE_COLUMNS)
    _replace_rows(connection, files, months)
    evidence = gather_evidence(connection, months, sources, settings.min_coverage)
    return _judged(evidence)


def _judged(evidence: AuditEvidence) -> Publication:
    ((table_rows,),) = evidence.connection.execute("SELECT count(*) FROM processed_data").fetchall()
    return Publication(
        verdicts=verdicts(AUDIT_RULES, evidence), months=month_figures(evidence), table_rows=table_rows
    )


def _partition_refusals(
    files: Sequence[Partition], sources: dict[tuple[str, str], SourceFacts], settings: Settings
) -> list[str]:
    """Hold the partitions to the rules that the feed was held to, whichever steps this run left out."""
    refusals = []
    for file in files:
        source = sources.get((str(file.month), file.family.resource), SourceFacts())
        if excess_quarantine(source.quarantined, source.file_rows, settings.quarantine_tolerance):
            refusals.append(
                f"{file.family.name} {file.month}: quarantine_within_tolerance: {source.quarantined} of "
                f"{source.file_rows} rows are quarantined"
            )
    for month in sorted({file.month for file in files}):
        extents = [
            FamilyExtent(family, source.file_rows, source.newest_day)
            for family in FAMILIES
            for source in [sources.get((str(month), family.resource), SourceFacts())]
        ]
        unfinished, _ = family_disagreements(extents, settings.family_skew)
        refusals += [f"legacy_feed {month}: fragmentation_complete: {text}" for text in unfinished]
    return refusals


def _tables(connection: duckdb.DuckDBPyConnection) -> set[str]:
    rows = connection.execute(
        "SELECT table_name FROM duckdb_tables() WHERE database_name = current_database() "
        "AND schema_name = current_schema()"
    ).fetchall()
    return {name for (name,) in rows}


def _ensure_table(connection: duckdb.DuckDBPyConnection, table: str, columns: Sequence[Column]) -> None:
    if table not in _tables(connection):
        # Names and types are constants of the contract; a table cannot be named by a parameter.
        declared = ", ".join(f"{column.name} {column.sql_type}" for column in columns)
        connection.execute(f"CREATE TABLE {table} ({declared})")
    found = connection.execute(
        "SELECT column_name, data_type FROM duckdb_columns() WHERE database_name = current_database() "
        "AND schema_name = current_schema() AND table_name = $table ORDER BY column_index",
        {"table": table},
    ).fetchall()
    wanted = [(column.name, column.sql_type.split()[0]) for column in columns]
    if found != wanted:
        raise ForeignTableError(
            f"The warehouse has a table {table} that the refinery did not make: its columns are "
            f"{', '.join(f'{name} {kind}' for name, kind in found)}. Rename it, or set REFINERY_WAREHOUSE to "
            "another file, and run again."
        )


def _replace_rows(
    connection: duckdb.DuckDBPyConnection, files: Sequence[Partition], months: Sequence[Month]
) -> None:
    connection.execute(
        "DELETE FROM processed_data WHERE ds >= $first AND ds < $end "
        "AND date_trunc('month', ds) IN (SELECT month_start FROM audit_months)",
        {"first": min(months).first_day, "end": max(months).next.first_day},
    )
    connection.execute("DELETE FROM quarantined_rows WHERE month IN (SELECT month FROM audit_months)")
    # A row that the table cannot hold is not written; the audit counts it from the partition and fails.
    connection.execute(
        f"""
        INSERT INTO processed_data
        SELECT p.ds, coalesce(h.node_name, p.host_id), f.resource, p.y, $ceiling, p.capacity, p.is_imputed
        FROM {PARTITION_ROWS} LEFT JOIN hosts h ON lower(h.node_name) = lower(p.host_id)
        WHERE p.fault IS NULL AND p.ds >= f.month_start AND p.ds < f.month_end
            AND p.host_id IS NOT NULL AND p.y IS NOT NULL
        """,  # noqa: S608 - a constant of the package
        {"paths": globs(files), "ceiling": UTILIZATION_CEILING_PERCENT},
    )
    connection.execute(
        f"""
        INSERT INTO quarantined_rows
        SELECT f.month, f.resource, f.source_file, p.source_line, p.raw, p.fault
        FROM {PARTITION_ROWS} WHERE p.fault IS NOT NULL
        ORDER BY f.month, f.resource, p.source_line
        """,  # noqa: S608 - a constant of the package
        {"paths": globs(files)},
    )


def month_figures(evidence: AuditEvidence) -> list[Row]:
    """What stands in the table, a row per month: rows, imputed, quarantined, hosts and distinct days."""
    quarantined: dict[str, int] = {}
    for (month, _), count in evidence.quarantined.items():
        quarantined[month] = quarantined.get(month, 0) + count
    return [
        {**row, "quarantined": quarantined.get(str(row["month"]), 0)}
        for row in evidence.rows(
            """
            SELECT month, sum(points)::BIGINT AS rows, sum(imputed)::BIGINT AS imputed,
                count(DISTINCT host_id) AS hosts, bit_count(bit_or(days)) AS days
            FROM audit_series GROUP BY month ORDER BY month
            """
        )
    ]
