"""What commands print: tables at a terminal, plain lines in a pipe.

Here: the words and the layout. Not here: where the figures come from, and exit codes (`cli`).
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from refinery_assets.checks.rules import Row, counted, listing

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
    good = sum(month.is_good for month in outcomes.months)
    be = "would be" if planned else "is" if good == 1 else "are"
    console.print(f"{good} of {counted(len(outcomes.months), 'month')} {be} fine.")


def print_months(outcomes: Outcomes, console: Console, *, planned: bool = False) -> None:
    """Print a line for each month."""
    rows = [
        (
            each.month,
            f"would be {each.state}" if planned and each.state in {"published", "refused"} else each.state,
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
    if found.now is None:
        console.print("The feed holds nothing of it yet.")
    else:
        words = {"published": "would be published", "unchanged": "is as published", "refused": "would be refused"}
        console.print(f"Run now, with the files as they are, it {words[str(found.now.state)]}.")
        for outcome, checks in (("failed", failed), ("warning", warnings)):
            for check in checks:
                _print_check(f"- {outcome}: {check.asset} {check.check}:", check, console)
                for row in check.sample:
                    console.print(f"  {escape(_row(row))}", markup=False)
    if found.run_id is not None:
        _print_last_run(found, {(check.asset, check.check, check.message) for check in (*failed, *warnings)}, console)
    for waiver in found.waivers:
        console.print(f"Accepted: {waiver.sentence}", markup=False)
    if found.quarantined:
        faults = ", ".join(f"{name} {count:,}" for name, count in found.quarantined.items())
        console.print(f"In quarantine: {escape(faults)}. For example:")
        for row in found.sample:
            console.print(
                f"  {row['source_file']}, line {row['source_line']}: {row['fault']}: {row['raw']!r}", markup=False
            )


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
        if column.header in {"rows", "imputed", "quarantined", "warnings"}:
            column.justify = "right"
    for row in rows:
        color = _COLORS.get(row[1].removeprefix("would be "))
        cells = [escape(cell) for cell in row]
        if color:
            cells[1] = f"[{color}]{cells[1]}[/]"
        table.add_row(*cells)
    console.print(table)


def _row(row: Row) -> str:
    return ", ".join(
        f"{name} {value!r}" if isinstance(value, str) else f"{name} {value}" for name, value in row.items()
    )


def _number(number: int | None) -> str:
    return "" if number is None else f"{number:,}"


def stdout() -> Console:
    """The console for results."""
    return console_for(sys.stdout)


def stderr() -> Console:
    """The console for progress and errors."""
    return console_for(sys.stderr)
