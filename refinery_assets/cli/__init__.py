"""The command line `refinery`.

Here: commands and their options. Not here: exit codes and what becomes of an error (`errors.py`), and what a command
does, which is in the room that it belongs to and is loaded when the command is called, so that `refinery --help` and
`refinery status` need not wait for Dagster.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from refinery_assets.cli.contract import contract_app
from refinery_assets.cli.errors import (
    EXIT_HELD,
    EXIT_INTERRUPTED,
    EXIT_REFUSED,
    EXIT_TROUBLE,
    describe,
    fail,
)
from refinery_assets.contract.months import Month
from refinery_assets.contract.settings import PROJECT_ROOT, Settings

if TYPE_CHECKING:
    from refinery_assets.reports.month_results import Outcomes
    from refinery_assets.warehouse.status import Status

_EPILOG = (
    "Exit codes: 0 all is well; 1 months were refused, or an audit failed; 2 wrong usage or a bad setting; 3 the "
    "warehouse is held by another process; 4 anything else, as the message says; 130 interrupted."
)
_FIRST, _LAST = Month(2023, 1), Month(2025, 12)


class _Commands(TyperGroup):
    """All commands; any error becomes a sentence on stderr and an exit code."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except (typer.Exit, typer.Abort, typer.TyperException):
            raise
        except KeyboardInterrupt:
            fail("Interrupted.", EXIT_INTERRUPTED)
        # The last resort: the trace of an unexpected error goes to a file, for whoever fixes it.
        except Exception as error:  # noqa: BLE001
            fail(*describe(error))


app = typer.Typer(
    name="refinery",
    cls=_Commands,
    help="Refine monthly exports of server utilization into one audited table.",
    epilog=_EPILOG,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(contract_app, epilog=_EPILOG)


def _month(text: object) -> Month:
    # Typer passes defaults through here as well.
    try:
        return Month.parse(str(text))
    except ValueError as error:
        raise typer.BadParameter(f"{error}.") from None


_MONTHS_HELP = "2024-05, 2024-01..2024-12, all (of the feed), or changed (since they were published)"
Months = Annotated[list[str], typer.Argument(metavar="MONTHS", help=_MONTHS_HELP)]
OneMonth = Annotated[Month, typer.Argument(metavar="MONTH", parser=_month, help="a month, such as 2024-05")]
AsJson = Annotated[bool, typer.Option("--json", help="print JSON on stdout, for other programs")]
Force = Annotated[bool, typer.Option("--force", help="rewrite months although nothing has changed")]
First = Annotated[Month, typer.Option("--first", metavar="MONTH", parser=_month, help="the first month")]
Last = Annotated[Month, typer.Option("--last", metavar="MONTH", parser=_month, help="the last month, included")]


@app.command(epilog=_EPILOG)
def run(
    months: Months,
    force: Force = False,
    as_json: AsJson = False,
    log: Annotated[bool, typer.Option("--log", help="show Dagster's own lines")] = False,
) -> None:
    """Refine months and publish those that pass.

    Dagster holds the run like one that its UI started.
    """
    settings = _settings()
    selected = _select(months, settings)
    if not selected:
        _nothing_to_do(as_json=as_json)
        return
    from refinery_assets.operations.home import dagster_home

    home = dagster_home(os.environ)
    # Dagster's configuration names its files by it.
    os.environ["DAGSTER_HOME"] = str(home)
    from refinery_assets.assets.command_runs import open_instance, refine_months
    from refinery_assets.build import build_defs
    from refinery_assets.reports import terminal

    defs = build_defs(settings)
    with open_instance(home) as instance:
        outcomes = refine_months(
            instance, defs, selected, terminal.stderr(), force=force, log=log, progress=not as_json
        )
    if as_json:
        _print_json({"command": "run", **outcomes.as_json()})
    else:
        terminal.print_outcomes(outcomes, terminal.stdout())
    _exit_with(outcomes)


@app.command(epilog=_EPILOG)
def plan(months: Months, force: Force = False, as_json: AsJson = False) -> None:
    """Show what a run would do, without doing it.

    The verdicts, and the exact difference from what is published.
    """
    settings = _settings()
    selected = _select(months, settings)
    if not selected:
        _nothing_to_do(as_json=as_json)
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
        _print_json({"command": "plan", "compared_with": compared, **outcomes.as_json()})
    else:
        console = terminal.stdout()
        terminal.print_outcomes(outcomes, console, planned=True)
        if found.compared_with not in {None, settings.warehouse}:
            console.print(f"The warehouse is being written to, so this was compared with {compared}.", markup=False)
    if not outcomes.is_good:
        raise typer.Exit(EXIT_REFUSED)


@app.command(epilog=_EPILOG)
def status(as_json: AsJson = False) -> None:
    """Show what is published, and what has changed since.

    Each month with its last publication and audit, and whether files, inventory or settings are still those that it
    was published from; months that are due and not published; and whether the schedule is running.
    """
    from refinery_assets.operations.heartbeat_file import read_heartbeat

    settings = _settings()
    found, heartbeat = _read_status(settings), read_heartbeat(settings)
    if not as_json:
        from refinery_assets.reports import terminal

        terminal.print_status(found, heartbeat, datetime.now(UTC), terminal.stdout())
        return
    _print_json(
        {
            "command": "status",
            "months": [
                {
                    "month": str(each.month),
                    "inputs": str(each.inputs),
                    "publication": asdict(each.receipt) | {"month": str(each.month)} if each.receipt else None,
                    "last_audit": asdict(each.audit) if each.audit else None,
                    "waivers": [asdict(waiver) | {"month": str(waiver.month)} for waiver in each.waivers],
                }
                for each in found.months
            ],
            "late": [str(month) for month in found.late],
            "heartbeat": asdict(heartbeat) if heartbeat else None,
        }
    )


@app.command(epilog=_EPILOG)
def explain(month: OneMonth, as_json: AsJson = False) -> None:
    """List everything that is wrong with a month, and what to do."""
    settings = _settings()
    _select([str(month)], settings)
    from refinery_assets.reports import terminal
    from refinery_assets.reports.month_results import checks_of
    from refinery_assets.warehouse.explain import explain as look_at

    found = look_at(settings, month)
    if not as_json:
        terminal.print_explanation(found, terminal.stdout())
        return
    failed, warnings = checks_of(found.now.verdicts) if found.now else ([], [])
    _print_json(
        {
            "command": "explain",
            "month": str(month),
            "publication": asdict(found.receipt) | {"month": str(month)} if found.receipt else None,
            "last_run": {"run_id": found.run_id, "checks": [verdict.as_json() for verdict in found.said]},
            "now": {
                "state": str(found.now.state) if found.now else None,
                "failed": [asdict(check) for check in failed],
                "warnings": [asdict(check) for check in warnings],
            },
            "waivers": [asdict(waiver) | {"month": str(waiver.month)} for waiver in found.waivers],
            "quarantined": dict(found.quarantined),
            "quarantined_sample": [dict(row) for row in found.sample],
        }
    )


@app.command(epilog=_EPILOG)
def accept(
    month: OneMonth,
    check: Annotated[str, typer.Argument(metavar="CHECK", help="the plausibility check that refuses it")],
    why: Annotated[str, typer.Option("--why", help="the reason, which the check will quote")] = "",
    withdraw: Annotated[bool, typer.Option("--withdraw", help="take it back")] = False,
) -> None:
    """Accept a month that a plausibility check refuses.

    For exactly the files, settings and inventory that it was refused with; the check then is a warning that quotes the
    reason. Run the month again to publish it.
    """
    settings = _settings()
    import getpass

    from refinery_assets.warehouse import acceptance
    from refinery_assets.warehouse.storage import open_warehouse

    with open_warehouse(settings.warehouse, read_only=False, wait_seconds=settings.lock_wait_seconds) as connection:
        if withdraw:
            acceptance.withdraw(connection, month, check)
            typer.echo(f"{check} of {month} is accepted no longer; refinery run {month} judges it again.")
            return
        waiver = acceptance.accept(connection, settings, month, check, why=why, who=getpass.getuser())
    typer.echo(waiver.sentence)
    typer.echo(f"To publish it: refinery run {month}")


@app.command(epilog=_EPILOG)
def audit(as_json: AsJson = False) -> None:
    """Judge the published table again.

    Against the receipts of its months; nothing is written.
    """
    settings = _settings()
    from refinery_assets.reports import terminal
    from refinery_assets.reports.month_results import MonthOutcome, Outcomes, checks_of
    from refinery_assets.warehouse.reaudit import reaudit
    from refinery_assets.warehouse.storage import open_warehouse

    with open_warehouse(settings.warehouse, read_only=True, wait_seconds=settings.lock_wait_seconds) as connection:
        found = reaudit(connection, settings)
    by_month: dict[Month, list[Any]] = {}
    for verdict in found.verdicts:
        by_month.setdefault(verdict.month, []).append(verdict)
    outcomes = Outcomes(
        [
            MonthOutcome(str(month), "failed" if failed else "published", failed=failed, warnings=warnings)
            for month, verdicts in sorted(by_month.items())
            for failed, warnings in [checks_of(verdicts)]
        ],
        problems=[found.problem] if found.problem else [],
    )
    if as_json:
        _print_json({"command": "audit", **outcomes.as_json()})
    else:
        terminal.print_outcomes(outcomes, terminal.stdout())
    if found.problem:
        raise typer.Exit(EXIT_TROUBLE)
    if not outcomes.is_good:
        raise typer.Exit(EXIT_REFUSED)


@app.command(epilog=_EPILOG)
def export(
    to: Annotated[Path, typer.Option("--to", help="the folder")] = PROJECT_ROOT / "data" / "export",
    first: Annotated[
        Month | None, typer.Option("--first", metavar="MONTH", parser=_month, help="else the table's first")
    ] = None,
    last: Annotated[
        Month | None, typer.Option("--last", metavar="MONTH", parser=_month, help="else the table's last")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write the published table as Parquet files.

    A folder for each month, which DuckDB, Polars, pandas and Spark read without options.
    """
    settings = _settings()
    from refinery_assets.warehouse.export import export_months, published_months
    from refinery_assets.warehouse.snapshot import open_published

    written = []
    with open_published(settings) as connection:
        months = [month for month in published_months(connection) if (first or month) <= month <= (last or month)]
        for month, rows in export_months(connection, months, to):
            written.append({"month": str(month), "rows": rows})
            if not as_json:
                typer.echo(f"{month}: {rows} rows")
    if as_json:
        _print_json({"command": "export", "folder": str(to), "months": written})
    if not written:
        fail("No such month is published.", EXIT_REFUSED)


@app.command(epilog=_EPILOG)
def report(
    month: OneMonth,
    to: Annotated[Path | None, typer.Option("--to", help="write it with its charts below this folder")] = None,
) -> None:
    """Print or write the report on a month."""
    settings = _settings()
    from refinery_assets.reports.monthly_report import monthly_reports, write_reports
    from refinery_assets.warehouse.snapshot import open_published

    with open_published(settings) as connection:
        found = monthly_reports(connection, [month], settings.contract)
    if to is None:
        typer.echo(found[month].markdown, nl=False)
        return
    write_reports(found.values(), to)
    typer.echo(f"Wrote the report on {month} to {to / str(month)}.")


@app.command(epilog=_EPILOG)
def sample(  # noqa: PLR0913, PLR0917 - one argument for each option
    hosts: Annotated[int, typer.Option(help="how many hosts, 10 or more")] = 2000,
    first: First = _FIRST,
    last: Last = _LAST,
    seed: Annotated[int, typer.Option(help="the same seed gives the same bytes")] = 7,
    to: Annotated[Path, typer.Option(help="the folder to write to")] = PROJECT_ROOT / "data",
    dirt: Annotated[float, typer.Option(help="the share of faulty rows, 0 to 0.5")] = 0.0,
) -> None:
    """Make an inventory and monthly CSV files."""
    import duckdb

    from refinery_assets.sample.feed import closing_line, make_sample

    try:
        made = _usage(lambda: make_sample(to, hosts=hosts, first=first, last=last, seed=seed, dirt=dirt, progress=True))
    except duckdb.Error as error:
        fail(f"The inventory cannot be written: {str(error).splitlines()[0]}", EXIT_TROUBLE)
    typer.echo(closing_line(made))


@app.command(epilog=_EPILOG)
def demo(
    hosts: Annotated[int, typer.Option(help="how many hosts, 10 or more")] = 2000,
    first: First = _FIRST,
    last: Last = _LAST,
    folder: Annotated[Path | None, typer.Option(help="where all of it goes")] = None,
) -> None:
    """Make a sample and refine its whole history.

    One of its months is refused, to show how that looks; the exit code is about the others.
    """
    from refinery_assets.sample.demo import run_demo

    _exit_with(_usage(lambda: run_demo(folder, hosts, first, last)))


@app.command(epilog=_EPILOG)
def ui(
    host: Annotated[str, typer.Option(help="the address to listen on; the UI has no login")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="the port to listen on")] = 3000,
) -> None:
    """Serve Dagster's UI, with schedule and sensors."""
    from refinery_assets.operations.home import dagster_home
    from refinery_assets.operations.ui import serve

    raise typer.Exit(serve(host, port, dagster_home(os.environ)))


def _settings() -> Settings:
    return Settings.from_environment(os.environ)


def _select(words: Sequence[str], settings: Settings) -> list[Month]:
    from refinery_assets.feed.selection import select_months

    return select_months(words, settings, lambda: _read_status(settings).changed)


def _read_status(settings: Settings) -> Status:
    from refinery_assets.warehouse.snapshot import open_published
    from refinery_assets.warehouse.status import read_status
    from refinery_assets.warehouse.storage import WarehouseMissingError

    try:
        with open_published(settings) as connection:
            return read_status(connection, settings, settings.today)
    except WarehouseMissingError:
        return read_status(None, settings, settings.today)


def _exit_with(outcomes: Outcomes) -> None:
    """End with the exit code of a run, unless all is well."""
    from refinery_assets.reports.month_results import Stop

    if outcomes.stop is not None:
        raise typer.Exit({Stop.HELD: EXIT_HELD, Stop.INTERRUPTED: EXIT_INTERRUPTED}[outcomes.stop])
    if outcomes.problems:
        raise typer.Exit(EXIT_TROUBLE)
    if not outcomes.is_good:
        raise typer.Exit(EXIT_REFUSED)


def _usage(work: Callable[[], Any]) -> Any:
    """Turn the ValueError of a bad argument into a usage error."""
    try:
        return work()
    except ValueError as error:
        raise typer.BadParameter(f"{error}.") from None


def _nothing_to_do(*, as_json: bool) -> None:
    if as_json:
        _print_json({"success": True, "runs": [], "months": [], "problems": []})
    else:
        typer.echo("Nothing to do: every month of the feed is as published.")


def _print_json(content: Any) -> None:
    typer.echo(json.dumps(content, indent=2, default=str))


def main() -> None:
    """Run the command line."""
    app(prog_name="refinery")


if __name__ == "__main__":
    main()
