"""What the monthly reports show, read from the warehouse's own summaries.

Here: the queries over `series_months`, `publications`, `audits` and the inventory, and what they give. Daily rows
are not read (those of a month without a receipt are counted), so a month's report costs the same however long the
history is. Not here: how it is put into words
(`report_text.py`) and drawn (`charts.py`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import duckdb

from refinery_assets.checks.rules import Outcome
from refinery_assets.contract.columns import AUDITS, PUBLICATIONS, SERIES_MONTHS, Relation
from refinery_assets.contract.contract_file import Contract
from refinery_assets.contract.months import Month
from refinery_assets.reports.levels import ResourceLevel, read_levels
from refinery_assets.warehouse.audits import LAST_RUNS, TABLE_ONLY
from refinery_assets.warehouse.fleet import DUE_DAYS, name_fleet
from refinery_assets.warehouse.inventory_error import InventoryError
from refinery_assets.warehouse.receipts import Receipt, last_receipts, rows_of_months
from refinery_assets.warehouse.tables import column_types

CHART_MONTHS = 60
"""The months of one chart; a longer history has several charts, counted back from the newest month."""

NO_BEHAVIOR = "without a behavior"
NOT_IN_INVENTORY = "not in the inventory"
_NO_BEHAVIOR_NUMBER, _NOT_IN_INVENTORY_NUMBER = -1, -2
_DUE_IN_MONTH = DUE_DAYS.format(first="month_start", end="month_end")
# Of a host that came back within the month, the period that it ends with; so each host is joined once.
_IS_LAST_OF_MONTH = "(next_from IS NULL OR next_from >= month_end)"


@dataclass(frozen=True)
class BehaviorMonth:
    """One behavior in one month, all resources together.

    Attributes:
        series: Series (resource and host) with a row.
        readings: Days with a reading, of all series; imputed ones are not counted.
        low: The 10th percentile of the series' means, percent.
        middle: The median.
        high: The 90th percentile.
    """

    series: int
    readings: int
    low: float
    middle: float
    high: float


@dataclass(frozen=True)
class History:
    """The published months as the charts show them.

    Attributes:
        months: Every month from the first to the last that is shown.
        hosts: Hosts of the inventory by behavior, in the order in which they are shown. Hosts without a behavior, and
            hosts that the inventory does not name, stand at the end where there are any.
        due: By behavior and month the hosts due, and their days up to the newest of the month; missing: none.
        cells: By behavior and month, where the table has rows.
        newest_day: By published month the newest day of the month with a reading.
        resources: By published month how many resources it holds.
    """

    months: Sequence[Month] = ()
    hosts: Mapping[str, int] = field(default_factory=dict)
    cells: Mapping[tuple[str, Month], BehaviorMonth] = field(default_factory=dict)
    newest_day: Mapping[Month, int] = field(default_factory=dict)
    resources: Mapping[Month, int] = field(default_factory=dict)
    due: Mapping[tuple[str, Month], tuple[int, int]] = field(default_factory=dict)

    def coverage(self, behavior: str, month: Month) -> float | None:
        """Readings as a share of those due up to the month's newest day; None: none is due, or no month."""
        _, days = self.due.get((behavior, month), (0, 0))
        due = days * self.resources.get(month, 0)
        cell = self.cells.get((behavior, month))
        return (cell.readings if cell else 0) / due if due else None

    def page_of(self, month: Month) -> Sequence[Month]:
        """The months of the chart that shows `month`; none when the history does not reach there."""
        if month not in self.months:
            return ()
        after = len(self.months) - 1 - self.months.index(month)
        end = len(self.months) - after // CHART_MONTHS * CHART_MONTHS
        return self.months[max(0, end - CHART_MONTHS) : end]


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
    """What a check said of the month in the run that audited it last."""

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
        history = _history(connection, sorted(published.union(audits.keys() & found.keys())), asked)
    refused = {month: audit for month, audit in sorted(audits.items()) if not audit.is_published}
    return ReportData(found, history, refused, published, missing, no_inventory)


def _missing_tables(connection: duckdb.DuckDBPyConnection) -> list[str]:
    def lacks(table: Relation, columns: Iterable[str]) -> bool:
        return not set(columns) <= {name.lower() for name in column_types(connection, table.name)}

    needed = {table: [column.name for column in table.columns] for table in (SERIES_MONTHS, PUBLICATIONS, AUDITS)}
    return [table.name for table, columns in needed.items() if lacks(table, columns)]


def _keys(months: Iterable[Month]) -> list[str]:
    return [str(month) for month in months]


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
        -- A step that was tried again has said the same twice.
        QUALIFY row_number() OVER (PARTITION BY month, asset, check_name ORDER BY audits.audited_at DESC) = 1
        ORDER BY month, asset, check_name
        """,  # noqa: S608 - constants of ours
        {"months": _keys(months), "failed": Outcome.FAILED},
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
    parameters = {"months": _keys(found)}
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
    for key, hosts, days in totals:
        month = Month.parse(key)
        levels = read_levels(connection, month)
        completed[month] = replace(completed[month], hosts=hosts, days=days, resources=resources[month], levels=levels)
    return completed


def _history(connection: duckdb.DuckDBPyConnection, known: Sequence[Month], asked: Sequence[Month]) -> History:
    """The charts' pages on which the months asked for stand; needs nothing else of the history."""
    if not known:
        return History()
    history = History(list(Month.span(known[0], known[-1])))
    pages = [page for month in asked if (page := history.page_of(month))]
    if not pages:
        return History()
    # Pages are counted from the end, so the months are kept up to it even where they are not read.
    months = list(Month.span(min(page[0] for page in pages), known[-1]))
    read = list(Month.span(months[0], max(page[-1] for page in pages)))
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE audit_months AS SELECT unnest($months::VARCHAR[]) AS month, "
        "unnest($starts::DATE[]) AS month_start, unnest($ends::DATE[]) AS month_end",
        {
            "months": _keys(read),
            "starts": [month.first_day for month in read],
            "ends": [month.next.first_day for month in read],
        },
    )
    rows = connection.execute(
        f"""
        SELECT month,
            CASE WHEN node_name IS NULL THEN $not_in_inventory ELSE coalesce(number, $no_behavior) END AS n,
            max(day(last_day)), count(*), sum(readings)::BIGINT, quantile_cont(mean_y, [0.1, 0.5, 0.9])
        FROM series_months JOIN audit_months USING (month) LEFT JOIN fleet
            ON host_id = node_name AND {_DUE_IN_MONTH} > 0 AND {_IS_LAST_OF_MONTH}
        GROUP BY month, n
        """,  # noqa: S608 - constants of the package
        {"no_behavior": _NO_BEHAVIOR_NUMBER, "not_in_inventory": _NOT_IN_INVENTORY_NUMBER},
    ).fetchall()
    resources = connection.execute(
        "SELECT month, count(DISTINCT resource) FROM series_months WHERE month BETWEEN $first AND $last GROUP BY month",
        {"first": str(read[0]), "last": str(read[-1])},
    ).fetchall()
    of_inventory = connection.execute(
        "SELECT coalesce(number, $no_behavior), coalesce(behavior, $name), count(DISTINCT node_name) "
        "FROM fleet GROUP BY number, behavior ORDER BY number NULLS LAST",
        {"no_behavior": _NO_BEHAVIOR_NUMBER, "name": NO_BEHAVIOR},
    ).fetchall()
    names = {number: name for number, name, _ in of_inventory} | {_NOT_IN_INVENTORY_NUMBER: NOT_IN_INVENTORY}
    hosts = {name: count for _, name, count in of_inventory}
    cells: dict[tuple[str, Month], BehaviorMonth] = {}
    newest_day: dict[Month, int] = {}
    for key, number, day, series, readings, percentiles in rows:
        month = Month.parse(key)
        newest_day[month] = max(newest_day.get(month, 0), day)
        cells[names[number], month] = BehaviorMonth(series, readings, *percentiles)
        hosts.setdefault(names[number], 0)
    due = {
        (names[number], Month.parse(key)): (count, days) for key, number, count, days in _due(connection, newest_day)
    }
    return History(months, hosts, cells, newest_day, {Month.parse(month): count for month, count in resources}, due)


def _due(connection: duckdb.DuckDBPyConnection, newest_day: Mapping[Month, int]) -> list[tuple[str, int, int, int]]:
    """Month, number of the behavior, hosts due and their days, up to the newest day of each month."""
    return connection.execute(
        f"""
        SELECT month, coalesce(number, $no_behavior), count(*) FILTER ({_IS_LAST_OF_MONTH}), sum(due)::BIGINT
        FROM (
            SELECT month, month_end, number, next_from, {_DUE_IN_MONTH} AS due
            FROM (SELECT unnest($months::VARCHAR[]) AS month, unnest($starts::DATE[]) AS month_start,
                unnest($ends::DATE[]) AS month_end), fleet
        ) WHERE due > 0 GROUP BY ALL
        """,  # noqa: S608 - constants of the package
        {
            "no_behavior": _NO_BEHAVIOR_NUMBER,
            "months": _keys(newest_day),
            "starts": [month.first_day for month in newest_day],
            "ends": [month.first_day + timedelta(days=day) for month, day in newest_day.items()],
        },
    ).fetchall()
