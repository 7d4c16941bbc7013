"""The commands on months: `run`, `plan`, `status`, `explain` and `accept`.

Here: their options, and what they print as JSON. Not here: the work, which is in the room that it belongs to and is
loaded when the command is called.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from refinery_assets.cli.errors import EXIT_REFUSED
from refinery_assets.cli.options import (
    AsJson,
    Force,
    Months,
    OneMonth,
    exit_with,
    print_json,
    settings_now,
    settings_of_a_lake_that_is_there,
)
from refinery_assets.contract.months import Month
from refinery_assets.contract.settings import Settings

if TYPE_CHECKING:
    from refinery_assets.warehouse.month_status import Status


def run(
    months: Months,
    force: Force = False,
    as_json: AsJson = False,
    log: Annotated[bool, typer.Option("--log", help="show Dagster's own lines")] = False,
) -> None:
    """Refine months and publish those that pass.

    Dagster holds the run like one that its UI started.
    """
    settings = settings_of_a_lake_that_is_there()
    selected, status = _select(months, settings)
    if not selected:
        _nothing_to_do("run", status, as_json=as_json)
        return
    from refinery_assets.operations.home import dagster_home

    home = dagster_home(os.environ)
    # Dagster's configuration names its files by it.
    os.environ["DAGSTER_HOME"] = str(home)
    from refinery_assets.operations.garbage import collected_later

    with collected_later():
        from refinery_assets.assets.command_runs import open_instance, refine_months
        from refinery_assets.build import build_defs
        from refinery_assets.reports import terminal

        defs = build_defs(settings)
    with open_instance(home) as instance:
        outcomes = refine_months(
            instance, defs, selected, terminal.stderr(), force=force, log=log, progress=not as_json
        )
    if as_json:
        print_json({"command": "run", **outcomes.as_json()})
    else:
        terminal.print_outcomes(outcomes, terminal.stdout())
    exit_with(outcomes)


def plan(months: Months, force: Force = False, as_json: AsJson = False) -> None:
    """Show what a run would do, without doing it.

    The verdicts, and the exact difference from what is published.
    """
    settings = settings_of_a_lake_that_is_there()
    selected, status = _select(months, settings)
    if not selected:
        _nothing_to_do("plan", status, as_json=as_json)
        return
    from refinery_assets.reports import terminal
    from refinery_assets.reports.month_results import outcomes_of_plan
    from refinery_assets.warehouse.plan import make_plan

    with terminal.stderr().status("Looking at the files") as shown:
        found = make_plan(
            settings, Month.unbroken(selected), force=force, on_step=lambda step: shown.update(f"Looking at {step}")
        )
    outcomes = outcomes_of_plan(found)
    compared = str(found.compared_with) if found.compared_with else None
    if as_json:
        print_json({"command": "plan", "compared_with": compared, **outcomes.as_json()})
    else:
        console = terminal.stdout()
        terminal.print_outcomes(outcomes, console, planned=True)
        if found.compared_with not in {None, settings.place}:
            console.print(f"The warehouse is being written to, so this was compared with {compared}.", markup=False)
    if not outcomes.is_good:
        raise typer.Exit(EXIT_REFUSED)


def status(as_json: AsJson = False) -> None:
    """Show what is published, and what has changed since.

    Each month with its last publication and audit, and whether files, inventory or settings are still those that it
    was published from; months that are due and not published; and whether the schedule is running.
    """
    from refinery_assets.operations.heartbeat_file import read_heartbeat

    settings = settings_now()
    found, heartbeat = _read_status(settings), read_heartbeat(settings)
    if not as_json:
        from refinery_assets.reports.terminal import stdout
        from refinery_assets.reports.terminal_status import print_status

        print_status(found, heartbeat, datetime.now(UTC), stdout())
        return
    print_json(
        {
            "command": "status",
            "months": [
                {
                    "month": str(each.month),
                    "inputs": str(each.inputs),
                    "publication": asdict(each.receipt) | {"month": str(each.month)} if each.receipt else None,
                    "last_audit": asdict(each.audit) if each.audit else None,
                    "waivers": [asdict(waiver) | {"month": str(waiver.month)} for waiver in each.waivers],
                    "lapsed": list(each.lapsed),
                    "withdrawn": list(each.withdrawn),
                    "refused": each.is_refused,
                    "outside_window": each.is_outside,
                    **({"snapshot": each.snapshot} if settings.lake else {}),
                }
                for each in found.months
            ],
            "to_be_run": [str(month) for month in found.changed],
            "changed_outside": [str(month) for month in found.changed_outside],
            "late": [str(month) for month in found.late],
            "inventory_problem": found.inventory_problem or None,
            "heartbeat": asdict(heartbeat) if heartbeat else None,
        }
    )


def explain(month: OneMonth, as_json: AsJson = False) -> None:
    """List everything that is wrong with a month, and what to do."""
    settings = settings_of_a_lake_that_is_there()
    from refinery_assets.feed.selection import demand_in_window
    from refinery_assets.reports.month_results import checks_of
    from refinery_assets.reports.terminal import stdout
    from refinery_assets.reports.terminal_explain import print_explanation
    from refinery_assets.warehouse.explain import explain as look_at

    found = look_at(settings, month)
    if not found.is_known:
        demand_in_window(month, settings)
    if not as_json:
        print_explanation(found, stdout())
        return
    failed, warnings = checks_of(found.now.verdicts) if found.now else ([], [])
    print_json(
        {
            "command": "explain",
            "month": str(month),
            "outside_window": found.is_outside,
            "publication": asdict(found.receipt) | {"month": str(month)} if found.receipt else None,
            "last_run": {"run_id": found.run_id, "checks": [verdict.as_json() for verdict in found.last_found]},
            "now": {
                "state": str(found.now.state) if found.now else None,
                "failed": [asdict(check) for check in failed],
                "warnings": [asdict(check) for check in warnings],
            },
            "waivers": [asdict(waiver) | {"month": str(waiver.month)} for waiver in found.waivers],
            "lapsed": list(found.lapsed),
            "quarantined": dict(found.quarantined),
            "quarantined_sample": [dict(row) for row in found.sample],
        }
    )


def accept(
    month: OneMonth,
    check: Annotated[str, typer.Argument(metavar="CHECK", help="the plausibility check that refuses it")],
    why: Annotated[str, typer.Option("--why", help="the reason, which the check will quote")] = "",
    withdraw: Annotated[bool, typer.Option("--withdraw", help="take it back")] = False,
) -> None:
    """Accept a month that a plausibility check refuses.

    For exactly the files, settings and inventory that it was refused with; if any of them has changed since, the month
    must be run first. The check then is a warning that quotes the reason. Run the month again to publish it.
    """
    settings = settings_now()
    import getpass

    from refinery_assets.warehouse import acceptance
    from refinery_assets.warehouse.storage import open_warehouse

    with open_warehouse(settings.place, read_only=False, wait_seconds=settings.lock_wait_seconds) as connection:
        if withdraw:
            acceptance.withdraw(connection, month, check, why=why)
            typer.echo(f"{check} of {month} is no longer accepted; refinery run {month} judges it again.")
            return
        waiver = acceptance.accept(connection, settings, month, check, why=why, who=getpass.getuser())
    typer.echo(waiver.sentence)
    typer.echo(f"To publish it: refinery run {month}")


def _select(words: Sequence[str], settings: Settings) -> tuple[list[Month], Status | None]:
    """The months asked for; and the state of all months, where that was needed to tell which have changed."""
    from refinery_assets.feed.selection import select_months

    read: list[Status] = []

    def changed() -> list[Month]:
        read.append(_read_status(settings))
        return read[-1].changed

    selected = select_months(words, settings, changed)
    return selected, read[-1] if read else None


def _read_status(settings: Settings) -> Status:
    from refinery_assets.warehouse.snapshot import open_published
    from refinery_assets.warehouse.status import read_status
    from refinery_assets.warehouse.storage import WarehouseMissingError

    try:
        with open_published(settings) as connection:
            return read_status(connection, settings, settings.today)
    except WarehouseMissingError as error:
        if settings.lake is not None:
            raise
        found = read_status(None, settings, settings.today)
        # A run makes a warehouse, but not an inventory in it.
        return found if settings.contract.inventory.is_file else replace(found, inventory_problem=str(error))


def _nothing_to_do(command: str, status: Status | None, *, as_json: bool) -> None:
    """Say that no month need be run; a month that would only be refused again is not well for that."""
    from refinery_assets.checks.rules import listing

    refused, outside = (status.refused_again, status.changed_outside) if status else ([], [])
    problem = (
        f"No month of the window has changed since it was run last. {listing(refused)} "
        f"{'was' if len(refused) == 1 else 'were'} refused then; see refinery explain {refused[0]}."
        if refused
        else ""
    )
    if as_json:
        print_json(
            {
                "command": command,
                "success": not problem,
                "runs": [],
                "months": [],
                "problems": [problem] if problem else [],
                "changed_outside": [str(month) for month in outside],
            }
        )
    else:
        typer.echo(problem or "Nothing to do: every month of the window is as published.")
        if outside:
            typer.echo(
                f"Changed, but outside the window: {listing(outside)}; see REFINERY_FIRST_MONTH and "
                "REFINERY_LAST_MONTH."
            )
    if problem:
        raise typer.Exit(EXIT_REFUSED)
