"""What the monthly reports show, read from the warehouse's own summaries.

Here: the queries over `series_months`, `publications`, `audits` and the inventory, and what they give. Daily rows
are not read (those of a month without a receipt are counted), so a month's report costs the same however long the
history is. Not here: the months of the charts (`report_history.py`), the words (`report_text.py`) and the drawing
(`charts.py`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

import duckdb

from refinery_assets.checks.rules import Outcome
from refinery_assets.contract.columns import AUDITS, PUBLICATIONS, SERIES_MONTHS, Relation
from refinery_assets.contract.contract_file import Contract
from refinery_assets.contract.months import Month
from refinery_assets.reports.levels import ResourceLevel, read_levels
from refinery_assets.reports.report_history import History, month_keys, read_history
from refinery_assets.warehouse.audits import LAST_RUNS, TABLE_ONLY
from refinery_assets.warehouse.fleet import name_fleet
from refinery_assets.warehouse.inventory_error import InventoryError
from refinery_assets.warehouse.receipts import Receipt, last_receipts, rows_of_months
from refinery_assets.warehouse.tables import column_types


@dataclass(frozen=True)
class ResourceFigures:
    """One resource in one month; `y` in percent. `still` counts the series whose readings are all equal."""

    resource: str
    hosts: int
    readings: int
    imputed: int
    mean_y: float
    min_y: float
    max_y: float
    still: int


@dataclass(frozen=True)
class CheckVerdict:
    """A check's verdict on the month in the run that audited it last."""

    asset: str
    check: str
    verdict: str
    summary: str
    recovery: str


@dataclass(frozen=True)
class Audit:
    """The audit of a month by the last run that published it, or by which a check of it failed.

    Attributes:
        run_id: The run.
        audited_at: When, UTC.
        is_published: Whether the run published the month; else it was refused.
        verdicts: What to report of it: of the months asked for every verdict, of others the failed ones.
        of_table: Whether the run judged the published table again, and not the month's files.
    """

    run_id: str
    audited_at: datetime
    is_published: bool
    verdicts: Sequence[CheckVerdict]
    of_table: bool = False

    def having(self, verdict: str) -> Sequence[CheckVerdict]:
        """The checks that came out like this."""
        return [found for found in self.verdicts if found.verdict == verdict]


@dataclass(frozen=True)
class MonthData:
    """What is known of one month.

    Attributes:
        month: The month.
        hosts: Hosts with rows in any resource.
        days: Days of the month up to the newest one with a reading.
        resources: By resource; empty when nothing of the month is published.
        receipt: Its last publication.
        receipt_before: The one before that.
        audit: The audit by the run that looked at it last.
        rows_without_receipt: Rows of it in the table where it has no receipt: an older version published them.
        levels: By resource, of this month and at most `levels.MONTHS_BEFORE` published ones before it, in order.
    """

    month: Month
    hosts: int = 0
    days: int = 0
    resources: Sequence[ResourceFigures] = ()
    receipt: Receipt | None = None
    receipt_before: Receipt | None = None
    audit: Audit | None = None
    rows_without_receipt: int = 0
    levels: Mapping[str, Mapping[Month, ResourceLevel]] = field(default_factory=dict)

    @property
    def is_refused(self) -> bool:
        """Whether the last run that audited the month refused it; an earlier publication may still stand."""
        return self.audit is not None and not self.audit.is_published

    @property
    def is_known(self) -> bool:
        """Whether anything of the month was ever published or refused."""
        return bool(self.audit or self.receipt or self.rows_without_receipt)


@dataclass(frozen=True)
class ReportData:
    """All that the reports of some months show.

    Attributes:
        months: The months asked for.
        history: The months around them.
        refused: Every month that is refused at present, asked for or not, and its audit.
        published: Every month with a publication.
        missing: Tables that the warehouse lacks, or has in another shape.
        no_inventory: Why there is no inventory to look at, without a full stop; None when there is one.
    """

    months: Mapping[Month, MonthData]
    history: History
    refused: Mapping[Month, Audit]
    published: frozenset[Month]
    missing: Sequence[str]
    no_inventory: str | None = None


def read_report_data(connection: duckdb.DuckDBPyConnection, months: Iterable[Month], contract: Contract) -> ReportData:
    """Read what the reports of `months` show; the connection may be read-only."""
    asked = sorted(months)
    missing = _missing_tables(connection)
    found = {month: MonthData(month) for month in asked}
    published: frozenset[Month] = frozenset()
    if PUBLICATIONS.name not in missing:
        published = _published(connection)
        found = _with_receipts(connection, found)
    found = _with_rows_without_receipt(connection, found)
    audits: dict[Month, Audit] = {}
    if AUDITS.name not in missing:
        audits = _audits(connection, asked)
        found = {month: replace(data, audit=audits.get(month)) for month, data in found.items()}
    history, no_inventory = History(), None
    try:
        name_fleet(connection, contract)
    except InventoryError as error:
        no_inventory = f"{error.problem[0].upper()}{error.problem[1:]}"
    if SERIES_MONTHS.name not in missing and no_inventory is None:
        found = _with_figures(connection, found)
        history = read_history(connection, sorted(published.union(audits.keys() & found.keys())), asked)
    refused = {month: audit for month, audit in sorted(audits.items()) if not audit.is_published}
    return ReportData(found, history, refused, published, missing, no_inventory)


def _missing_tables(connection: duckdb.DuckDBPyConnection) -> list[str]:
    def lacks(table: Relation, columns: Iterable[str]) -> bool:
        return not set(columns) <= {name.lower() for name in column_types(connection, table.name)}

    needed = {table: [column.name for column in table.columns] for table in (SERIES_MONTHS, PUBLICATIONS, AUDITS)}
    return [table.name for table, columns in needed.items() if lacks(table, columns)]


def _published(connection: duckdb.DuckDBPyConnection) -> frozenset[Month]:
    months = connection.execute("SELECT DISTINCT month FROM publications").fetchall()
    return frozenset(Month.parse(month) for (month,) in months)


def _with_receipts(connection: duckdb.DuckDBPyConnection, found: Mapping[Month, MonthData]) -> dict[Month, MonthData]:
    """The months with their last two publications."""
    completed = dict(found)
    for month, receipts in last_receipts(connection, found, 2).items():
        before, last = [None, *receipts][-2:]
        completed[month] = replace(completed[month], receipt=last, receipt_before=before)
    return completed


def _with_rows_without_receipt(
    connection: duckdb.DuckDBPyConnection, found: Mapping[Month, MonthData]
) -> dict[Month, MonthData]:
    """The months without a receipt with their rows in the table; the others' rows are not looked at."""
    rows = rows_of_months(connection, [month for month, data in found.items() if data.receipt is None])
    return {month: replace(data, rows_without_receipt=rows.get(month, 0)) for month, data in found.items()}


def _audits(connection: duckdb.DuckDBPyConnection, months: Sequence[Month]) -> dict[Month, Audit]:
    """The last audit of every month; passed checks only of the months asked for."""
    rows = connection.execute(
        f"""
        WITH last AS ({LAST_RUNS}), latest AS (
            SELECT month, run_id, max(audits.audited_at) AS audited_at,
                bool_or(published_at IS NOT NULL) AS is_published, {TABLE_ONLY} AS of_table
            FROM audits JOIN last USING (month, run_id) GROUP BY month, run_id
        )
        SELECT month, run_id, latest.audited_at, is_published, of_table, asset, check_name, verdict,
            coalesce(summary, ''), coalesce(recovery, '')
        FROM audits JOIN latest USING (month, run_id)
        WHERE month IN (SELECT unnest($months::VARCHAR[])) OR verdict = $failed
        -- A step that was tried again has recorded the same twice.
        QUALIFY row_number() OVER (PARTITION BY month, asset, check_name ORDER BY audits.audited_at DESC) = 1
        ORDER BY month, asset, check_name
        """,  # noqa: S608 - constants of ours
        {"months": month_keys(months), "failed": Outcome.FAILED},
    ).fetchall()
    audits: dict[Month, Audit] = {}
    found: dict[Month, list[CheckVerdict]] = {}
    for key, run_id, audited_at, is_published, of_table, *verdict in rows:
        month = Month.parse(key)
        verdicts = found.setdefault(month, [])
        verdicts.append(CheckVerdict(*verdict))
        audits[month] = Audit(run_id, audited_at, is_published, verdicts, of_table)
    return audits


def _with_figures(connection: duckdb.DuckDBPyConnection, found: Mapping[Month, MonthData]) -> dict[Month, MonthData]:
    """The months with their figures, where the table has rows of them."""
    parameters = {"months": month_keys(found)}
    rows = connection.execute(
        """
        SELECT month, resource, count(*), sum(readings)::BIGINT, sum(imputed)::BIGINT,
            sum(mean_y * readings) / sum(readings), min(min_y), max(max_y),
            count(*) FILTER (distinct_values = 1 AND readings > 1)
        FROM series_months WHERE month IN (SELECT unnest($months::VARCHAR[]))
        GROUP BY month, resource ORDER BY month, resource
        """,
        parameters,
    ).fetchall()
    resources: dict[Month, list[ResourceFigures]] = {}
    for month, *row in rows:
        resources.setdefault(Month.parse(month), []).append(ResourceFigures(*row))
    totals = connection.execute(
        "SELECT month, count(DISTINCT host_id), max(day(last_day)) FROM series_months "
        "WHERE month IN (SELECT unnest($months::VARCHAR[])) GROUP BY month",
        parameters,
    ).fetchall()
    completed = dict(found)
    levels = read_levels(connection, resources)
    for key, hosts, days in totals:
        month = Month.parse(key)
        completed[month] = replace(
            completed[month], hosts=hosts, days=days, resources=resources[month], levels=levels[month]
        )
    return completed
