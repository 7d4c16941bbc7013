"""What commands print: tables at a terminal, plain lines in a pipe.

Here: the words and the layout. Not here: where the figures come from, and exit codes (`cli`).
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from rich.cells import cell_len
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from refinery_assets.checks.rules import Row, counted, listing, shortened

if TYPE_CHECKING:
    from refinery_assets.operations.heartbeat_file import Heartbeat
    from refinery_assets.reports.month_results import CheckResult, Differences, MonthOutcome, Outcomes
    from refinery_assets.warehouse.explain import Explanation
    from refinery_assets.warehouse.status import MonthStatus, Status

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
_LONGEST_CELL = 200


def console_for(stream: object) -> Console:
    """A console on a stream; lines are not wrapped where nobody looks at them."""
    console = Console(file=stream, highlight=False, soft_wrap=True)  # type: ignore[arg-type]
    return console if console.is_terminal else Console(file=stream, highlight=False, width=_PLAIN_WIDTH)  # type: ignore[arg-type]


def print_outcomes(outcomes: Outcomes, console: Console, *, planned: bool = False) -> None:
    """Print a line for each month, then what is wrong and what to do."""
    print_months(outcomes, console, planned=planned)
    print_failed_checks(outcomes, console)
    _print_warnings(outcomes.months, console)
    print_problems(outcomes, console)
    states = Counter(_state(month.state, planned=planned) for month in outcomes.months)
    totals = ", ".join(f"{number:,} {state}" for state, number in states.items())
    console.print(f"{counted(len(outcomes.months), 'month')}: {totals}.")


def print_audit(outcomes: Outcomes, passed: Mapping[str, int], console: Console) -> None:
    """Print a line for each month of the published table, then what is wrong and what to do."""
    rows = [
        (each.month, each.state, _number(passed[each.month]), _number(len(each.warnings)), _number(len(each.failed)))
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
            _number(each.rows),
            _number(each.imputed),
            _number(each.quarantined),
            _changes(each.differences),
            _number(len(each.warnings) or None),
        )
        for each in outcomes.months
    ]
    print_rows(("month", "state", "rows", "imputed", "quarantined", "changes", "warnings"), rows, console)


def print_failed_checks(outcomes: Outcomes, console: Console) -> None:
    """Print the checks that failed, and what to do."""
    for month in outcomes.months:
        for check in month.failed:
            _print_check(f"{month.month}: {check.asset} {check.check} failed:", check, console)


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


def _print_check(title: str, check: CheckResult, console: Console) -> None:
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


def print_status(status: Status, heartbeat: Heartbeat | None, now: datetime, console: Console) -> None:
    """Print a line for each month, then what is late, and whether the daemon is running."""
    if not status.months:
        console.print("Nothing is published, and the feed holds no month of the window.")
    else:
        columns = (
            "month",
            "inputs",
            "published (UTC)",
            "run",
            "rows",
            "imputed",
            "quarantined",
            "last audit",
            "accepted",
        )
        print_rows(columns, [_status_row(each) for each in status.months], console)
    _print_open_months(status, console)
    if heartbeat is None:
        console.print("Schedule and sensors were never seen at work here; refinery ui starts them.")
        return
    age = now.astimezone(UTC) - heartbeat.time
    moment = f"{heartbeat.time:%Y-%m-%d %H:%M} UTC"
    if heartbeat.is_fresh(now):
        console.print(f"Schedule and sensors were seen at work at {moment}.")
    else:
        minutes = int(age.total_seconds() // 60)
        console.print(
            f"Schedule and sensors were last seen at work at {moment}, {counted(minutes, 'minute')} ago; start "
            "refinery ui, or the daemon, again."
        )
    for name, error in heartbeat.failing.items():
        console.print(f"{escape(name)} fails: {escape(error)}")


def _print_open_months(status: Status, console: Console) -> None:
    """Print which months call for something: to look into, to run, or to have exported."""
    for each in status.months:
        if each.withdrawn:
            console.print(
                f"Acceptance withdrawn: {each.month} was published with {listing(each.withdrawn)} accepted; the next "
                "run judges it without."
            )
    refused = {each.month for each in status.months if each.is_refused}
    if refused:
        console.print(
            f"Refused by the last run: {listing(sorted(refused))} ({counted(len(refused), 'month')}); "
            "refinery explain MONTH says why, and what to do."
        )
    if changed := status.changed:
        console.print(f"To be run: {listing(changed)} ({counted(len(changed), 'month')}), by refinery run changed.")
    if late := status.late:
        why = f"; refused: {listing(both)}" if (both := [month for month in late if month in refused]) else ""
        console.print(f"Late: {listing(late)} ({counted(len(late), 'month')} due and not published{why}).")


def _status_row(each: MonthStatus) -> Sequence[str]:
    receipt, audit = each.receipt, each.audit
    said = ""
    if audit is not None:
        said = "passed"
        if audit.warnings:
            said = counted(len(audit.warnings), "warning")
        if not audit.published:
            said = f"{'fails' if audit.of_table else 'refused by'} {listing(audit.failed)}"
    return (
        str(each.month),
        str(each.inputs),
        f"{receipt.published_at:%Y-%m-%d %H:%M}" if receipt else "",
        receipt.run_id[:8] if receipt else "",
        _number(receipt.rows if receipt else None),
        _number(receipt.imputed if receipt else None),
        _number(receipt.quarantined if receipt else None),
        said,
        listing([*(waiver.check_name for waiver in each.waivers), *(f"{name} (withdrawn)" for name in each.withdrawn)]),
    )


def print_explanation(found: Explanation, console: Console) -> None:
    """Print in words what is known about a month."""
    from refinery_assets.reports.month_results import checks_of  # noqa: PLC0415 - it loads Polars

    receipt = found.receipt
    if receipt is None:
        console.print(f"{found.month} is not published.")
    else:
        console.print(
            f"{found.month} was published by run {receipt.run_id} at {receipt.published_at:%Y-%m-%d %H:%M} UTC: "
            f"{counted(receipt.rows, 'row')}, {receipt.imputed:,} of them imputed, {receipt.quarantined:,} quarantined."
        )
    failed, warnings = checks_of(found.now.verdicts) if found.now else ([], [])
    shown: set[tuple[object, object]] = set()
    if found.now is None:
        console.print("The feed holds no file of it.")
    else:
        words = {"published": "would be published", "unchanged": "is as published", "refused": "would be refused"}
        console.print(f"Run now, with the files as they are, it {words[str(found.now.state)]}.")
        for outcome, checks in (("failed", failed), ("warning", warnings)):
            for check in checks:
                _print_check(f"- {outcome}: {check.asset} {check.check}:", check, console)
                if sample := [row for row in check.sample if not _is_in(row, check.message)]:
                    console.print("  for example:")
                    _print_sample(sample, console)
                shown |= {(row.get("file"), row.get("source_line")) for row in check.sample}
    if found.run_id is not None:
        _print_last_run(found, {(check.asset, check.check, check.message) for check in (*failed, *warnings)}, console)
    for waiver in found.waivers:
        console.print(f"Accepted: {waiver.sentence}", markup=False)
    if found.quarantined:
        faults = ", ".join(f"{name} {count:,}" for name, count in found.quarantined.items())
        others = [row for row in found.sample if (row["source_file"], row["source_line"]) not in shown]
        console.print(f"In quarantine: {escape(faults)}{', for example:' if others else '.'}")
        _print_sample(others, console)


def _print_last_run(found: Explanation, said_now: set[tuple[str, str, str]], console: Console) -> None:
    """Print what the last run found, as far as it differs from what the present files give."""
    run = f"The last run that looked at it, {found.run_id},"
    if not found.said:
        console.print(f"{run} found nothing wrong.")
        return
    others = [each for each in found.said if (each.asset, each.check, each.finding.message) not in said_now]
    console.print(f"{run} found:" if others else f"{run} found the same.")
    for verdict in others:
        console.print(f"- {verdict.outcome}: {escape(verdict.sentence)}")
        console.print(f"  what to do: {escape(verdict.recovery)}")


def print_rows(columns: Sequence[str], rows: Sequence[Sequence[str]], console: Console) -> None:
    """A table at a terminal; else a line for each row, with the names of what is not empty."""
    if not console.is_terminal:
        for first, second, *others in rows:
            named = [f"{name} {text}" for name, text in zip(columns[2:], others, strict=True) if text]
            console.print(" ".join([f"{first}: {second}", *(["|", " | ".join(named)] if named else [])]), markup=False)
        return
    table = Table(*columns)
    for column in table.columns:
        if column.header in {"rows", "imputed", "quarantined", "checks passed", "warnings", "failed"}:
            column.justify = "right"
    for row in rows:
        color = _COLORS.get(row[1].removeprefix("would be "))
        cells = [escape(cell) for cell in row]
        if color:
            cells[1] = f"[{color}]{cells[1]}[/]"
        table.add_row(*cells)
    console.print(table)


def _print_sample(rows: Sequence[Row], console: Console) -> None:
    """Print rows below one another, aligned, each column under its name."""
    if not rows:
        return
    names = [
        name for name in dict.fromkeys(name for row in rows for name in row) if any(_cell(name, row) for row in rows)
    ]
    lines = [[name.removeprefix("source_") for name in names], *([_cell(name, row) for name in names] for row in rows)]
    widths = [max(map(cell_len, cells)) for cells in zip(*lines, strict=True)]
    are_numbers = [all(isinstance(row.get(name), int | float | None) for row in rows) for name in names]
    for line in lines:
        cells = [
            " " * (width - cell_len(cell)) + cell if is_number else cell + " " * (width - cell_len(cell))
            for cell, width, is_number in zip(line, widths, are_numbers, strict=True)
        ]
        console.print(f"    {'  '.join(cells)}".rstrip(), markup=False)


def _cell(name: str, row: Row) -> str:
    value = row.get(name)
    if value is None:
        return ""
    if name == "raw":
        # As it stood, with blanks and control characters to be seen.
        return shortened(repr(value), _LONGEST_CELL)
    if isinstance(value, str):
        return shortened(" ".join(value.split()), _LONGEST_CELL)
    if isinstance(value, float):
        return f"{value:.6g}"
    # Nobody writes a line's number with a comma.
    return str(value) if isinstance(value, bool) or name.endswith("line") else f"{value:,}"


def _is_in(row: Row, message: str) -> bool:
    """Whether a row says nothing that its check's message does not."""
    problem = row.get("problem")
    return isinstance(problem, str) and problem in message


def _number(number: int | None) -> str:
    return "" if number is None else f"{number:,}"


def stdout() -> Console:
    """The console for results."""
    return console_for(sys.stdout)


def stderr() -> Console:
    """The console for progress and errors."""
    return console_for(sys.stderr)
