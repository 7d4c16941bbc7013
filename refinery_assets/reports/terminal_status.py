"""What `refinery status` prints.

Here: the words. Not here: the figures (`warehouse/status.py`), and tables (`terminal.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape

from refinery_assets.checks.rules import counted, listing
from refinery_assets.reports.terminal import number_text, print_rows
from refinery_assets.warehouse.month_status import Inputs

if TYPE_CHECKING:
    from refinery_assets.operations.heartbeat_file import Heartbeat
    from refinery_assets.warehouse.month_status import MonthStatus, Status

_MANY_LATE = 3
"""How many months may be late at the end before that is taken for the end of the feed."""

_NO_RUN = "no run can be over it, because it is outside the window"


def print_status(status: Status, heartbeat: Heartbeat | None, now: datetime, console: Console) -> None:
    """Print a line for each month, then what is late, and whether the daemon is running."""
    if not status.months:
        console.print("Nothing is published, and the feed holds no month of the window.")
    else:
        columns = [
            "month",
            "inputs",
            "published (UTC)",
            "run",
            "rows",
            "imputed",
            "quarantined",
            "last audit",
            "accepted",
        ]
        if any(each.snapshot is not None for each in status.months):
            columns.append("snapshot")
        print_rows(columns, [_status_row(each)[: len(columns)] for each in status.months], console)
    _print_what_all_months_lack(status, console)
    _print_open_months(status, console)
    if heartbeat is None:
        console.print(
            "Schedule and sensors were never seen at work on this machine; refinery ui starts them, unless the daemon "
            "runs on another machine."
        )
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


def _print_what_all_months_lack(status: Status, console: Console) -> None:
    """Print what is wrong with the inventory or the feed, and so with every month."""
    if status.inventory_problem:
        console.print(f"With the inventory as it is, every month is refused: {status.inventory_problem}", markup=False)
    if status.months and status.newest is None:
        console.print(
            f"The feed holds no file of {'this month' if len(status.months) == 1 else 'these months'}; check whether "
            "REFINERY_FEED is right. What is published stays."
        )


def _print_open_months(status: Status, console: Console) -> None:
    """Print which months call for something: to look into, to run, or to have exported."""
    for each in status.months:
        if each.withdrawn:
            console.print(_withdrawn(each))
        if each.lapsed and each.inputs is not Inputs.AS_PUBLISHED:
            were = "was" if len(each.lapsed) == 1 else "were"
            console.print(
                f"Acceptance no longer holds: {listing(each.lapsed)} of {each.month} {were} accepted for other files, "
                f"settings or inventory, or by an older version; {_next_run(each)}."
            )
    _print_refused(status, console)
    _print_to_be_run(status, console)


def _print_refused(status: Status, console: Console) -> None:
    refused = [each for each in status.months if each.is_refused and each.month not in status.awaited]
    inside = [each for each in refused if not each.is_outside]
    changed = status.changed
    accepted = [each.month for each in inside if each.is_accepted_since and each.month in changed]
    restored = [
        each.month
        for each in inside
        if each.inputs is Inputs.AS_PUBLISHED and each.month in changed and each.month not in accepted
    ]
    if stands := [each.month for each in inside if each.month not in {*accepted, *restored}]:
        console.print(
            f"Refused by the last run: {listing(stands)} ({counted(len(stands), 'month')}); "
            "refinery explain MONTH says why, and what to do."
        )
    if accepted:
        them = "it" if len(accepted) == 1 else "them"
        console.print(
            f"Refused by the last run, but accepted since: {listing(accepted)} ({counted(len(accepted), 'month')}); "
            f"run {them} again."
        )
    if restored:
        again = "its inputs are" if len(restored) == 1 else "their inputs are"
        console.print(
            f"Refused by the last run, but {again} again those of the publication: {listing(restored)} "
            f"({counted(len(restored), 'month')}); another run clears that."
        )
    if outside := [each.month for each in refused if each.is_outside]:
        console.print(
            f"Refused by the last run, and outside the window since: {listing(outside)} "
            f"({counted(len(outside), 'month')}); refinery explain MONTH says why."
        )


def _print_to_be_run(status: Status, console: Console) -> None:
    if changed := status.changed:
        once = " once the inventory is corrected" if status.inventory_problem else ""
        console.print(
            f"To be run: {listing(changed)} ({counted(len(changed), 'month')}), by refinery run changed{once}."
        )
    if outside := status.changed_outside:
        they_are = "it is" if len(outside) == 1 else "they are"
        console.print(
            f"Changed, but outside the window, so that {they_are} not run: {listing(outside)} "
            f"({counted(len(outside), 'month')}); see REFINERY_FIRST_MONTH and REFINERY_LAST_MONTH."
        )
    if awaited := status.awaited:
        console.print(
            f"Not exported yet: {listing(awaited)} ({counted(len(awaited), 'month')}), for which a run was started."
        )
    if late := status.late:
        refused = {each.month for each in status.months if each.is_refused} - {*status.awaited}
        why = f"; refused: {listing(both)}" if (both := [month for month in late if month in refused]) else ""
        console.print(
            f"Late: {listing(late)} ({counted(len(late), 'month')} due and not published{why}).{_has_ended(status)}"
        )


def _has_ended(status: Status) -> str:
    """What to set where so many months are late, and nothing of them is there, that no more may come."""
    newest = status.newest
    if newest is None or sum(month > newest for month in status.late) < _MANY_LATE:
        return ""
    if any(each.is_outside for each in status.months if each.month == newest):
        # The window begins after it, and cannot end with it.
        return ""
    return f" If the feed has ended, set REFINERY_LAST_MONTH={newest}."


def _withdrawn(each: MonthStatus) -> str:
    """What a withdrawn acceptance means for the month that was published by it."""
    said = f"Acceptance withdrawn: {each.month} was published with {listing(each.withdrawn)} accepted"
    if not each.is_judged_as_it_is:
        return f"{said}; {_next_run(each)}."
    if each.is_outside:
        return (
            f"{said}, and has been judged without and refused since; the rows published by the acceptance still stand, "
            f"and {_NO_RUN}."
        )
    again = " or ".join(f"refinery accept {each.month} {check} --why TEXT" for check in each.withdrawn)
    return (
        f"{said}, and has been judged without and refused since; the rows published by the acceptance still stand. "
        f"Deliver the right files, or accept it again: {again}."
    )


def _next_run(each: MonthStatus) -> str:
    """When a month whose acceptance no longer holds will be judged without it."""
    return _NO_RUN if each.is_outside else "the next run judges it without"


def _status_row(each: MonthStatus) -> Sequence[str]:
    receipt, audit = each.receipt, each.audit
    accepted = [waiver.check_name for waiver in each.waivers]
    if each.inputs is Inputs.AS_PUBLISHED:
        # What stands was published without them.
        accepted = [name for name in accepted if name not in each.lapsed]
    verdict = ""
    if audit is not None:
        verdict = "passed"
        if audit.warnings:
            verdict = counted(len(audit.warnings), "warning")
        if not audit.published:
            verdict = f"{'fails' if audit.of_table else 'refused by'} {listing(audit.failed)}"
        if each.attempt is not None and each.is_refused:
            verdict = f"refused by {listing(each.attempt.failed)}; what is published {verdict}"
    return (
        str(each.month),
        str(each.inputs),
        f"{receipt.published_at:%Y-%m-%d %H:%M}" if receipt else "",
        receipt.run_id[:8] if receipt else "",
        number_text(receipt.rows if receipt else None),
        number_text(receipt.imputed if receipt else None),
        number_text(receipt.quarantined if receipt else None),
        verdict,
        listing(
            [
                *(f"{name} (no longer holds)" if name in each.lapsed else name for name in accepted),
                *(f"{name} (withdrawn)" for name in each.withdrawn),
            ]
        ),
        "" if each.snapshot is None else str(each.snapshot),
    )
