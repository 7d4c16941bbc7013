"""The monthly report in words: Markdown for people, what somebody must do first.

Here: the text. Not here: the numbers (`report_data.py`) and where it goes (`monthly_report.py`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime

from refinery_assets.checks.rules import Outcome, counted, listing, shortened
from refinery_assets.contract.months import Month
from refinery_assets.reports.charts import MOST_BEHAVIORS
from refinery_assets.reports.figures import shown
from refinery_assets.reports.levels import ResourceLevel
from refinery_assets.reports.report_data import Audit, CheckVerdict, MonthData, ReportData
from refinery_assets.reports.report_history import NOT_IN_INVENTORY, History

_NOT_JUDGED = "not_judged"
_MOST_REFUSED_MONTHS = 24
_LONGEST_SENTENCE = 600
# What Markdown or HTML would read as something else than text. An underscore within a word, as in the
# settings' names, is text to both. An address would become a link.
_MARKUP = re.compile(r"([\\`*\[\]<>&|#~!]|:(?=//)|(?<=www)\.)")


def headline(found: MonthData) -> str:
    """The outcome of the month, in one sentence."""
    month, receipt = found.month, found.receipt
    if found.is_refused and found.audit is not None and found.audit.of_table:
        published = "" if receipt is None else f" was published on {_moment(receipt.published_at)}, but"
        return f"{month}{published} did not pass the audit of {_moment(found.audit.audited_at)}."
    if rows := found.rows_without_receipt:
        stand = (
            "1 row that an older version of the refinery published stands"
            if rows == 1
            else (f"{rows:,} rows that an older version of the refinery published stand")
        )
        refused = " was refused, and" if found.is_refused else " has no receipt:"
        return f"{month}{refused} {stand} in the table; run the month again to have its figures."
    if found.is_refused and receipt is None:
        return f"{month} was refused; nothing of it has been published."
    if found.is_refused and receipt is not None:
        return f"{month} was refused; what was published on {_moment(receipt.published_at)} stays."
    if receipt is not None:
        return f"{month} is published: {counted(receipt.rows, 'row')}, on {_moment(receipt.published_at)}."
    return f"{month} has been neither published nor refused."


def recovery(found: MonthData) -> str:
    """What to do about a refused month, a line for each failed check; empty where nothing failed."""
    failed = found.audit.having(Outcome.FAILED) if found.audit is not None else ()
    return "\n".join(f"{check.check}: {check.recovery or check.summary}" for check in failed)


def report_text(found: MonthData, data: ReportData, charts: Iterable[str]) -> str:
    """The report as Markdown; `charts` are shown as the PNG files of these names."""
    others = {month: audit for month, audit in data.refused.items() if month != found.month}
    sections = [
        [f"# {headline(found)}"],
        *([_missing_table(table)] for table in data.missing),
        *([[_no_inventory(data.no_inventory)]] if data.no_inventory else []),
        *_nothing_known(found, data),
        *_verdicts(found.audit),
        *_figures(found),
        *_levels(found),
        *_changes(found),
        *_behaviors(data.history, found.month),
        *([f"![{name}]({name}.png)"] for name in charts),
        *_refused(others, data),
    ]
    return "\n\n".join("\n".join(lines) for lines in sections) + "\n"


def _no_inventory(why: str) -> str:
    return f"{_text(why)}, so there are neither figures nor charts here. Load the inventory and run the month again."


def _missing_table(table: str) -> str:
    return (
        f"The warehouse has no table `{table}` with today's columns, so what it would tell is left out here. "
        "It is there once a month has been published by this version."
    )


def _nothing_known(found: MonthData, data: ReportData) -> list[list[str]]:
    if found.receipt is not None or found.audit is not None or found.rows_without_receipt or data.missing:
        return []
    return [[f"Have its files exported, then run the job `refine` for {found.month}."]]


def _verdicts(audit: Audit | None) -> list[list[str]]:
    if audit is None:
        return []
    failed, warnings = audit.having(Outcome.FAILED), audit.having(Outcome.WARNING)
    sections = []
    if failed:
        sections += [[f"## {counted(len(failed), 'failed check')}"], [_bullet(found) for found in failed]]
    if warnings:
        sections += [[f"## {counted(len(warnings), 'warning')}"], [_bullet(found) for found in warnings]]
    text = f"{counted(len(audit.having(Outcome.PASSED)), 'check')} passed"
    if not_judged := len(audit.having(_NOT_JUDGED)):
        text += f"; {not_judged} could not be judged after what failed"
    if failed:
        # Of a published month the receipt says it; so a run that changes nothing leaves the report as it is.
        text += f"; audited on {_moment(audit.audited_at)} by the run {_text(audit.run_id)}"
    return [*sections, [f"{text}."]]


def _bullet(found: CheckVerdict) -> str:
    # What to do comes first; what was found explains it.
    recovery = f" **{_text(found.recovery)}**" if found.recovery else ""
    return f"- `{found.check}` of `{found.asset}`:{recovery} {_text(found.summary)}"


def _figures(found: MonthData) -> list[list[str]]:
    if not found.resources:
        return []
    rows = [
        (
            _text(resource.resource),
            *(shown(count) for count in (resource.hosts, resource.readings, resource.imputed)),
            *(shown(percent) for percent in (resource.mean_y, resource.min_y, resource.max_y)),
            shown(resource.still),
        )
        for resource in found.resources
    ]
    columns = (
        "resource",
        "hosts",
        "readings",
        "imputed",
        "mean %",
        "least %",
        "greatest %",
        "standing still",
    )
    text = (
        f"{counted(found.hosts, 'host')}, {counted(found.days, 'day')}. "
        "A series stands still when all its readings are equal."
    )
    if found.is_refused and found.audit is not None and not found.audit.of_table and found.receipt is not None:
        stands = (
            f"Of the publication of {_moment(found.receipt.published_at)}, which stays, and not of what was refused"
        )
        text = f"{stands}: {text}"
    return [
        ["## Figures"],
        [text],
        _table(columns, rows),
    ]


def _levels(found: MonthData) -> list[list[str]]:
    """What the plausibility checks compare, this month marked."""
    months = sorted({month for of_resource in found.levels.values() for month in of_resource})
    if len(months) <= 1:
        return []
    figures: tuple[tuple[str, Callable[[ResourceLevel], float | None]], ...] = (
        ("level %", lambda each: each.level),
        ("spread, points", lambda each: each.spread),
        ("standing still, % of series", lambda each: 100 * each.still),
        ("capacity", lambda each: each.capacity),
    )
    rows = []
    for resource, levels in found.levels.items():
        for name, figure in figures:
            cells = [shown(figure(levels[month]) if month in levels else None) for month in months]
            rows.append((f"{_text(resource)}: {name}", *_with_mark(cells, months, found.month)))
    legend = (
        "Level is the median of the hosts' medians, spread the distance between the quarters of these; capacity is the "
        "sum of what the hosts state."
    )
    columns = ("resource", *_with_mark([str(month) for month in months], months, found.month))
    return [["## Beside the months before"], [legend], _table(columns, rows)]


def _with_mark(cells: Sequence[str], months: Sequence[Month], marked: Month) -> list[str]:
    return [f"**{cell}**" if month == marked else cell for cell, month in zip(cells, months, strict=True)]


def _changes(found: MonthData) -> list[list[str]]:
    receipt, before = found.receipt, found.receipt_before
    if receipt is None:
        return []
    if before is None:
        text = f"The first publication, on {_moment(receipt.published_at)}."
    else:
        text = (
            f"Against the publication before, of {_moment(before.published_at)}: "
            f"{counted(receipt.rows_added, 'row')} added, {receipt.rows_removed:,} removed, "
            f"{receipt.rows_changed:,} changed."
        )
    rows = [
        (
            _moment(each.published_at),
            *(shown(count) for count in (each.rows, each.imputed, each.quarantined)),
            _text(each.version),
            _text(each.run_id),
        )
        for each in (receipt, before)
        if each is not None
    ]
    columns = ("published", "rows", "imputed", "quarantined", "version", "run")
    return [["## Changes"], [text], _table(columns, rows)]


def _behaviors(history: History, month: Month) -> list[list[str]]:
    if month not in history.newest_day:
        return []
    rows = []
    for behavior in list(history.hosts)[:MOST_BEHAVIORS]:
        cell = history.cells.get((behavior, month))
        share = history.coverage(behavior, month)
        if cell is None and share is None:
            continue
        rows.append(
            (
                _text(behavior.lower().replace("/", " / ")),
                shown(history.due.get((behavior, month), (0, 0))[0]),
                shown(cell.series if cell else 0),
                shown(None if share is None else 100 * share),
                *(shown(level) for level in ((cell.middle, cell.low, cell.high) if cell else [None] * 3)),
            )
        )
    text = "Median and 10 to 90 percent are those of the series' monthly means."
    if (NOT_IN_INVENTORY, month) in history.cells:
        text += (
            f" Series of hosts that are {NOT_IN_INVENTORY} were published when it still named them; "
            "none is due of these."
        )
    if (further := len(history.hosts) - MOST_BEHAVIORS) > 0:
        text += f" {counted(further, 'further behavior')}, later by name, left out here and in the charts."
    columns = ("behavior", "hosts", "series", "readings, % of due", "median %", "10th", "90th percentile")
    return [["## Behaviors"], [text], _table(columns, rows)]


def _refused(refused: Mapping[Month, Audit], data: ReportData) -> list[list[str]]:
    if not refused:
        return []
    newest = list(refused.items())[-_MOST_REFUSED_MONTHS:]
    rows = [
        (
            str(month),
            _moment(audit.audited_at),
            "an earlier publication" if month in data.published else "nothing",
            _text(listing(sorted({found.check for found in audit.having(Outcome.FAILED)}))),
        )
        for month, audit in newest
    ]
    sections = [["## Other months that are refused"], _table(("month", "refused", "stands", "failed"), rows)]
    if earlier := len(refused) - len(newest):
        sections += [[f"And {counted(earlier, 'earlier month')}: the table `audits` has them."]]
    return sections


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    return ["| " + " | ".join(cells) + " |" for cells in (columns, ["---"] * len(columns), *rows)]


def _moment(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"


def _text(text: str) -> str:
    """What may quote a file or the inventory, as text and nothing else, in one line."""
    return _MARKUP.sub(r"\\\1", shortened(" ".join(text.split()), _LONGEST_SENTENCE))
