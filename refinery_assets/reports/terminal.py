"""What commands print: tables at a terminal, plain lines in a pipe.

Here: the words and the layout. Not here: where the figures come from, and exit codes (`cli`).
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from rich.cells import cell_len
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from refinery_assets.checks.rules import counted, listing

if TYPE_CHECKING:
    from refinery_assets.reports.month_results import CheckResult, Differences, MonthOutcome, Outcomes

_COLORS = {
    "published": "green",
    "unchanged": "green",
    "as published": "green",
    "refused": "red",
    "not reached": "red",
    "changed": "yellow",
    "not published": "yellow",
    "acceptance withdrawn": "yellow",
    "no receipt": "yellow",
    "failed": "red",
}
_PLAIN_WIDTH = 10_000
_MOST_WARNINGS = 10
# Columns of words; those of names and numbers are never broken.
_WRAPPED = {"published (UTC)", "changes", "last audit", "accepted"}


class _Console(Console):
    """A console that leaves it to the command line to end, where nobody reads any more."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


def console_for(stream: object) -> Console:
    """A console on a stream; lines are not wrapped where nobody looks at them."""
    console = _Console(file=stream, highlight=False, soft_wrap=True)  # type: ignore[arg-type]
    return console if console.is_terminal else _Console(file=stream, highlight=False, width=_PLAIN_WIDTH)  # type: ignore[arg-type]


def print_outcomes(outcomes: Outcomes, console: Console, *, planned: bool = False) -> None:
    """Print a line for each month, then what is wrong and what to do."""
    print_months(outcomes, console, planned=planned)
    print_failed_checks(outcomes, console)
    if shown := [month.month for month in outcomes.months if any(check.sample for check in month.failed)]:
        which = shown[0] if len(shown) == 1 else "MONTH"
        console.print(f"With samples of what is wrong: refinery explain {which}")
    _print_warnings(outcomes.months, console)
    print_problems(outcomes, console)
    states = Counter(_state(month.state, planned=planned) for month in outcomes.months)
    totals = ", ".join(f"{number:,} {state}" for state, number in states.items())
    console.print(f"{counted(len(outcomes.months), 'month')}: {totals}.")


def print_audit(outcomes: Outcomes, passed: Mapping[str, int], console: Console) -> None:
    """Print a line for each month of the published table, then what is wrong and what to do."""
    rows = [
        (
            each.month,
            each.state,
            number_text(passed[each.month]),
            number_text(len(each.warnings)),
            number_text(len(each.failed)),
        )
        for each in outcomes.months
    ]
    print_rows(("month", "state", "checks passed", "warnings", "failed"), rows, console)
    print_failed_checks(outcomes, console)
    _print_warnings(outcomes.months, console)
    print_problems(outcomes, console)
    if not outcomes.months:
        return
    least, most = min(passed.values()), max(passed.values())
    checks = counted(most, "check") if least == most else f"{least:,} to {counted(most, 'check')}"
    failed = sum(not each.is_good for each in outcomes.months)
    console.print(
        f"Audited {counted(len(outcomes.months), 'month')} of the published table: {checks} passed in each, "
        f"{counted(sum(len(each.warnings) for each in outcomes.months), 'warning')}, {counted(failed, 'month')} failed."
    )


def _state(state: str, *, planned: bool) -> str:
    return f"would be {state}" if planned and state in {"published", "refused"} else state


def print_months(outcomes: Outcomes, console: Console, *, planned: bool = False) -> None:
    """Print a line for each month."""
    rows = [
        (
            each.month,
            _state(each.state, planned=planned),
            number_text(each.rows),
            number_text(each.imputed),
            number_text(each.quarantined),
            _changes(each.differences),
            number_text(len(each.warnings) or None),
        )
        for each in outcomes.months
    ]
    print_rows(("month", "state", "rows", "imputed", "quarantined", "changes", "warnings"), rows, console)


def print_failed_checks(outcomes: Outcomes, console: Console) -> None:
    """Print the checks that failed, and what to do; once for all months of which the same is to be said."""
    months: dict[tuple[object, ...], list[str]] = {}
    checks: dict[tuple[object, ...], CheckResult] = {}
    for month in outcomes.months:
        for check in month.failed:
            said = (check.asset, check.check, check.message, check.recovery, check.file, check.line)
            months.setdefault(said, []).append(month.month)
            checks[said] = check
    for key, check in checks.items():
        print_check(f"{listing(months[key])}: {check.asset} {check.check} failed:", check, console)


def print_problems(outcomes: Outcomes, console: Console) -> None:
    """Print what went wrong besides refused months."""
    for problem in outcomes.problems:
        console.print(escape(problem))


def _print_warnings(months: Iterable[MonthOutcome], console: Console) -> None:
    warned = [(month.month, check) for month in months for check in month.warnings]
    for month, check in warned[:_MOST_WARNINGS]:
        console.print(f"{month}: {check.asset} {check.check} warns: {escape(check.message)}")
    if len(warned) > _MOST_WARNINGS:
        console.print(
            f"{counted(len(warned) - _MOST_WARNINGS, 'more warning')}; refinery explain MONTH shows those of a month."
        )


def print_check(title: str, check: CheckResult, console: Console) -> None:
    """Print what a check found, where, and what to do."""
    console.print(f"{escape(title)} {escape(check.message)}")
    if check.file and not (check.file in check.message and check.line is None):
        place = f"line {check.line} of {check.file}" if check.line else check.file
        console.print(f"  where: {escape(place)}")
    console.print(f"  what to do: {escape(check.recovery)}")


def _changes(differences: Differences | None) -> str:
    if differences is None:
        return ""
    parts = [
        f"{number:,} {what}"
        for number, what in (
            (differences.rows_added, "added"),
            (differences.rows_removed, "removed"),
            (differences.rows_changed, "changed"),
        )
        if number
    ]
    for number, what, hosts in (
        (differences.new_hosts, "new", differences.hosts_new),
        (differences.gone_hosts, "gone", differences.hosts_gone),
    ):
        if number:
            named = f" ({listing(hosts)})" if hosts else ""
            parts.append(f"{counted(number, 'host')} {what}{named}")
    return ", ".join(parts) or "none"


def print_rows(columns: Sequence[str], rows: Sequence[Sequence[str]], console: Console) -> None:
    """A table at a terminal that is wide enough; else a line for each row, with the names of what is not empty."""
    if not console.is_terminal or _least_width(columns, rows) > console.width:
        for first, second, *others in rows:
            named = [f"{name} {text}" for name, text in zip(columns[2:], others, strict=True) if text]
            console.print(" ".join([f"{first}: {second}", *(["|", " | ".join(named)] if named else [])]), markup=False)
        return
    table = Table(*columns)
    for column in table.columns:
        column.no_wrap = column.header not in _WRAPPED
        column.overflow = "fold"
        if column.header in {"rows", "imputed", "quarantined", "checks passed", "warnings", "failed"}:
            column.justify = "right"
    for row in rows:
        color = _COLORS.get(row[1].removeprefix("would be "))
        cells = [escape(cell) for cell in row]
        if color:
            cells[1] = f"[{color}]{cells[1]}[/]"
        table.add_row(*cells)
    console.print(table)


def _least_width(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> int:
    """The width of a table in which no word is cut."""
    width = 1
    for name, *cells in zip(columns, *rows, strict=True):
        pieces = [piece for cell in (name, *cells) for piece in (cell.split() if name in _WRAPPED else [cell])]
        width += 3 + max(map(cell_len, pieces))
    return width


def number_text(number: int | None) -> str:
    """A number as a cell: with separators, empty for None."""
    return "" if number is None else f"{number:,}"


def stdout() -> Console:
    """The console for results."""
    return console_for(sys.stdout)


def stderr() -> Console:
    """The console for progress and errors."""
    return console_for(sys.stderr)
