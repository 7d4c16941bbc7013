"""The monthly report: what is known of a month, as Markdown, charts and figures.

Here: putting it together, and the files `<reports>/<YYYY-MM>/report.md`, `behaviors.png` and `coverage.png`.
Not here: the numbers (`report_data.py`), the words (`report_text.py`) and the drawing (`charts.py`).
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import duckdb

from refinery_assets.checks.rules import Outcome
from refinery_assets.contract.contract_file import Contract
from refinery_assets.contract.months import Month
from refinery_assets.feed.atomic_write import write_if_changed
from refinery_assets.reports.charts import CHARTS, Chart
from refinery_assets.reports.figures import rounded
from refinery_assets.reports.report_data import MonthData, read_report_data
from refinery_assets.reports.report_text import headline, recovery, report_text

REPORT_FILE = "report.md"
_WRITERS = 4


@dataclass(frozen=True)
class ReportFigures:
    """The report of one month.

    Attributes:
        month: The month.
        headline: Its outcome, in one sentence.
        recovery: What to do about it where it was refused, a line for each failed check; else empty.
        is_refused: Whether its last audit refused it.
        is_known: Whether anything of it was ever published or refused.
        markdown: The report; it shows the charts by the names of their files, which lie beside it.
        charts: PNG files by name, without `.png`; none where there is no history to draw.
        figures: The month's figures by name, measurements rounded; none where nothing is known of the month.
    """

    month: Month
    headline: str
    recovery: str
    is_refused: bool
    is_known: bool
    markdown: str
    charts: Mapping[str, bytes] = field(default_factory=dict)
    figures: Mapping[str, int | float] = field(default_factory=dict)

    @property
    def page(self) -> str:
        """The report with the charts in it, for where no file lies beside it."""
        page = self.markdown
        for name, png in self.charts.items():
            address = f"data:image/png;base64,{base64.b64encode(png).decode()}"
            page = page.replace(f"]({name}.png)", f"]({address})")
        return page

    def write(self, reports: Path) -> None:
        """Write the files to the month's folder below `reports`, each whole or not at all.

        Raises:
            OSError: A file cannot be written.
        """
        folder = reports / str(self.month)
        for name, png in self.charts.items():
            write_if_changed(folder / f"{name}.png", png)
        write_if_changed(folder / REPORT_FILE, self.markdown.encode())


def report_files(reports: Path, month: Month) -> list[Path]:
    """The files of a month's report below `reports`, whether or not they exist."""
    return [reports / str(month) / name for name in (REPORT_FILE, *(f"{chart}.png" for chart in CHARTS))]


def write_reports(reports: Iterable[ReportFigures], folder: Path) -> None:
    """Write the files of many reports at a time, for each waits for the disk.

    Raises:
        OSError: A file cannot be written.
    """
    with ThreadPoolExecutor(_WRITERS) as pool:
        for written in [pool.submit(report.write, folder) for report in reports]:
            written.result()


def monthly_reports(
    connection: duckdb.DuckDBPyConnection, months: Iterable[Month], contract: Contract
) -> dict[Month, ReportFigures]:
    """The reports of `months`, published or not; the connection may be read-only."""
    data = read_report_data(connection, months, contract)
    drawn: dict[Month, dict[str, Chart]] = {}
    reports = {}
    for month, found in data.months.items():
        page = data.history.page_of(month)
        if page and page[0] not in drawn:
            drawn[page[0]] = {name: draw(data.history, page) for name, draw in CHARTS.items()}
        charts = {name: chart.marked(month) for name, chart in drawn[page[0]].items()} if page else {}
        text = report_text(found, data, charts)
        reports[month] = ReportFigures(
            month,
            headline(found),
            recovery(found),
            found.is_refused,
            found.is_known,
            text,
            charts,
            month_figures(found),
        )
    return reports


def month_figures(found: MonthData) -> dict[str, int | float]:
    """What Dagster plots by month: rows per day, because months differ in length."""
    figures: dict[str, int | float] = {}
    if found.resources:
        readings = sum(resource.readings for resource in found.resources)
        imputed = sum(resource.imputed for resource in found.resources)
        figures |= {
            "hosts": found.hosts,
            "readings": readings,
            "imputed": imputed,
            "rows_per_day": (readings + imputed) / found.days,
        }
        figures |= {f"mean_{resource.resource}_percent": resource.mean_y for resource in found.resources}
    if found.receipt is not None:
        figures |= {
            "quarantined": found.receipt.quarantined,
            "rows_added": found.receipt.rows_added,
            "rows_removed": found.receipt.rows_removed,
            "rows_changed": found.receipt.rows_changed,
        }
    if found.audit is not None:
        figures["warnings"] = len(found.audit.having(Outcome.WARNING))
        figures["failed_checks"] = len(found.audit.having(Outcome.FAILED))
    return {name: rounded(value) for name, value in figures.items()}
