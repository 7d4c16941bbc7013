"""Write, audit, publish: replace months of the table in one transaction that only a clean audit commits.

Here: the transaction. Not here: what must hold before anything is written (`gate.py`), the exit rules
(`audit.py`), and how the warehouse is opened (`resources.py`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import duckdb

from refinery_assets.checks.rules import Row, Verdict, verdicts
from refinery_assets.contract import columns as dictionary
from refinery_assets.contract.families import (
    PROCESSED_DATA,
    RESOURCES,
    UTILIZATION_CEILING_PERCENT,
)
from refinery_assets.contract.months import Month
from refinery_assets.contract.settings import Settings
from refinery_assets.warehouse.audits import AuditRow, audit_rows, record_audits
from refinery_assets.warehouse.facts import AuditEvidence, SourceFacts, gather_evidence, name_months
from refinery_assets.warehouse.family_partitions import (
    PARTITION_ROWS,
    Partition,
    globs,
    name_partitions,
    partitions,
    source_facts,
)
from refinery_assets.warehouse.gate import judge_before_writing
from refinery_assets.warehouse.inventory import INVENTORY_RULES, inspect_inventory
from refinery_assets.warehouse.publish_checks import AUDIT_RULES
from refinery_assets.warehouse.tables import ensure_table, table_names, transaction
from refinery_assets.warehouse.views import make_views


@dataclass(frozen=True)
class Publication:
    """How publishing, or auditing what is published, came out.

    Attributes:
        refusals: Why the months could not even be written, as sentences; empty when they could.
        verdicts: The verdicts of the exit rules; empty when the months could not be written.
        months: Per month under audit what stands in the table; see `month_figures`.
        table_rows: Rows of the whole table.
        audits: What each check said of each month, as `audits` keeps it.
    """

    refusals: Sequence[str] = ()
    verdicts: Sequence[Verdict] = ()
    months: Sequence[Row] = ()
    table_rows: int = 0
    audits: Sequence[AuditRow] = ()

    @property
    def problems(self) -> list[str]:
        """Every reason against the months, as sentences; empty when they are published."""
        return [*self.refusals, *(verdict.sentence for verdict in self.verdicts if verdict.failed)]


class _RefusedError(Exception):
    """Takes a publication that must not be out of its transaction."""

    def __init__(self, publication: Publication) -> None:
        super().__init__(publication.problems)
        self.publication = publication


def publish(
    connection: duckdb.DuckDBPyConnection,
    months: Sequence[Month],
    settings: Settings,
    run_id: str,
) -> Publication:
    """Replace `months` of `processed_data` and `quarantined_rows` by what the partitions hold.

    Everything happens in one transaction, with the months' rows of `audits`. It is committed only when the
    inventory, the partitions and every exit rule let the months pass; otherwise it is rolled back, the
    tables stay as they were, and a transaction of its own notes the refusal in `audits`.

    Args:
        connection: The warehouse.
        months: What is replaced.
        settings: Where the partitions are, and the limits that the rules judge by.
        run_id: The run that `audits` names.

    Raises:
        ForeignTableError: A table with one of the three names has other columns.
    """
    try:
        with transaction(connection):
            publication = _write_and_audit(connection, months, settings)
            if publication.problems:
                raise _RefusedError(publication)  # noqa: TRY301 - it leads out of the transaction
            record_audits(connection, run_id, publication.audits, published=True)
            make_views(connection)
    except _RefusedError as refused:
        publication = refused.publication
        with transaction(connection):
            record_audits(connection, run_id, publication.audits, published=False)
    return publication


def reaudit(connection: duckdb.DuckDBPyConnection, settings: Settings) -> Publication:
    """Judge the published table by the exit rules, against the partitions as they are now.

    The connection may be read-only. Nothing is written but temporary tables.
    """
    if not {dictionary.PROCESSED_DATA.name, dictionary.QUARANTINED_ROWS.name} <= table_names(connection):
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
    files = [file for file in partitions(settings.telemetry, months) if file.path.exists()]
    name_partitions(connection, files)
    evidence = gather_evidence(connection, months, source_facts(connection, files), settings.min_coverage)
    return _judged(evidence)


def _write_and_audit(
    connection: duckdb.DuckDBPyConnection,
    months: Sequence[Month],
    settings: Settings,
) -> Publication:
    files = partitions(settings.telemetry, months)
    gate = judge_before_writing(connection, files, months, settings)
    if gate.refusals:
        return Publication(refusals=gate.refusals, audits=gate.audits)
    name_months(connection, months)
    ensure_table(connection, dictionary.PROCESSED_DATA)
    ensure_table(connection, dictionary.QUARANTINED_ROWS)
    _replace_rows(connection, files, months, gate.sources.values())
    evidence = gather_evidence(connection, months, gate.sources, settings.min_coverage)
    publication = _judged(evidence)
    exit_audits = audit_rows(PROCESSED_DATA, publication.verdicts, months)
    return replace(publication, audits=[*gate.audits, *exit_audits])


def _judged(evidence: AuditEvidence) -> Publication:
    ((table_rows,),) = evidence.connection.execute("SELECT count(*) FROM processed_data").fetchall()
    return Publication(
        verdicts=verdicts(AUDIT_RULES, evidence), months=month_figures(evidence), table_rows=table_rows
    )


def _replace_rows(
    connection: duckdb.DuckDBPyConnection,
    files: Sequence[Partition],
    months: Sequence[Month],
    sources: Iterable[SourceFacts],
) -> None:
    for span in Month.unbroken(sorted(months)):
        connection.execute(
            "DELETE FROM processed_data WHERE ds >= $first AND ds < $end",
            {"first": span[0].first_day, "end": span[-1].next.first_day},
        )
    connection.execute("DELETE FROM quarantined_rows WHERE month IN (SELECT month FROM audit_months)")
    # Few names differ from the inventory's spelling, mostly none; only those are looked up row by row.
    ((respelled,),) = connection.execute(
        """
        CREATE OR REPLACE TEMP TABLE respelled_hosts AS
        SELECT p.host_id, h.node_name
        FROM (SELECT DISTINCT host_id FROM read_parquet($paths)) p
            JOIN hosts h ON lower(h.node_name) = lower(p.host_id)
        WHERE h.node_name <> p.host_id
        """,
        {"paths": globs(files)},
    ).fetchall()
    host, spelling = "p.host_id", ""
    if respelled:
        host = "coalesce(r.node_name, p.host_id)"
        spelling = "LEFT JOIN respelled_hosts r ON r.host_id = p.host_id"
    # A row that the table cannot hold is not written; the audit counts it from the partition and fails.
    # Where the partitions hold none, no row is asked.
    fit = "p.fault IS NULL"
    if any(source.bad_ds or source.bad_host or source.bad_y for source in sources):
        fit += (
            " AND p.ds >= f.month_start AND p.ds < f.month_end AND p.host_id IS NOT NULL AND p.y IS NOT NULL"
        )
    connection.execute(
        f"""
        INSERT INTO processed_data
        SELECT p.ds, {host}, f.resource, p.y, $ceiling, p.capacity, p.is_imputed
        FROM {PARTITION_ROWS} {spelling} WHERE {fit}
        """,  # noqa: S608 - constants of the package
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
    """What stands in the table, a row per month.

    Returns:
        `month`, `rows`, `imputed`, `hosts`, `days` (distinct ones), the mean utilization of each resource
        (`mean_cpu_percent` and so on), `quarantined`.
    """
    quarantined: dict[str, int] = {}
    for (month, _), count in evidence.quarantined.items():
        quarantined[month] = quarantined.get(month, 0) + count
    means = ", ".join(
        f"sum(total) FILTER (resource = '{resource}') / sum(points) FILTER (resource = '{resource}') "
        f"AS mean_{resource}_percent"
        for resource in RESOURCES
    )
    return [
        {**row, "quarantined": quarantined.get(str(row["month"]), 0)}
        for row in evidence.rows(
            f"""
            WITH hosts_seen AS (SELECT DISTINCT month, host_id FROM audit_series)
            SELECT month, sum(points)::BIGINT AS rows, sum(imputed)::BIGINT AS imputed,
                (SELECT count(*) FROM hosts_seen h WHERE h.month = s.month) AS hosts,
                bit_count(bit_or(days)) AS days, {means}
            FROM audit_series s GROUP BY month ORDER BY month
            """  # noqa: S608 - names of the contract
        )
    ]
