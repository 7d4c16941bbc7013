"""The commands on the published table: `audit`, `export` and `report`.

Here: their options, and what they print. Not here: the work, which is in the room that it belongs to and is loaded when
the command is called.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from refinery_assets.checks.rules import counted, listing
from refinery_assets.cli.errors import EXIT_REFUSED, EXIT_TROUBLE, fail
from refinery_assets.cli.options import AsJson, OneMonth, local_path, parse_month, print_json, settings_now
from refinery_assets.contract.months import Month
from refinery_assets.contract.settings import PROJECT_ROOT
from refinery_assets.feed.selection import ALL, demand_in_window


def audit(
    which: Annotated[
        list[str] | None, typer.Argument(metavar="[all]", help="it is always all months that are judged")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Judge the published table again.

    Against the receipts of its months; nothing is written.
    """
    if others := [word for word in which or () if word != ALL]:
        raise typer.BadParameter(f"the whole table is judged; leave {listing(others)} out.")
    settings = settings_now()
    from refinery_assets.reports import terminal
    from refinery_assets.reports.month_results import outcomes_of_audit
    from refinery_assets.warehouse.reaudit import reaudit
    from refinery_assets.warehouse.storage import open_warehouse

    with open_warehouse(settings.place, read_only=True, wait_seconds=settings.lock_wait_seconds) as connection:
        found = reaudit(connection, settings)
    outcomes, passed = outcomes_of_audit(found)
    if as_json:
        months = [{**each.as_json(), "checks_passed": passed[each.month]} for each in outcomes.months]
        print_json({"command": "audit", **outcomes.as_json(), "months": months})
    else:
        terminal.print_audit(outcomes, passed, terminal.stdout())
    if found.problem:
        raise typer.Exit(EXIT_TROUBLE)
    if not outcomes.is_good:
        raise typer.Exit(EXIT_REFUSED)


def export(
    to: Annotated[
        Path | None,
        typer.Option(
            "--to", metavar="PATH", parser=local_path, help="the folder; else data/export, or data/export-as-of-..."
        ),
    ] = None,
    first: Annotated[
        Month | None, typer.Option("--first", metavar="MONTH", parser=parse_month, help="else the table's first")
    ] = None,
    last: Annotated[
        Month | None, typer.Option("--last", metavar="MONTH", parser=parse_month, help="else the table's last")
    ] = None,
    as_of: Annotated[
        str | None,
        typer.Option("--as-of", help="with a lake: as it was after this publication, a snapshot or run of `status`"),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write the published table as Parquet files.

    A folder for each month, which DuckDB, Polars, pandas and Spark read without options.
    """
    if first and last and last < first:
        raise typer.BadParameter(f"the last month, {last}, is before the first, {first}.")
    settings = settings_now()
    # One that is not the table as it is now: months of both in one folder would be a table that never was.
    folder = to or PROJECT_ROOT / "data" / ("export" if as_of is None else f"export-as-of-{as_of}")
    if settings.lake is not None:
        from refinery_assets.warehouse.lake_marker import lies_in

        if lies_in(folder, settings.lake_data):
            raise typer.BadParameter(
                f"{folder} lies within REFINERY_LAKE_DATA, {settings.lake_data}, where maintenance would delete the "
                "export; choose a folder outside of it."
            )
    from refinery_assets.warehouse.export import export_months, exported_file, other_months, published_months
    from refinery_assets.warehouse.snapshot import open_published

    written: list[dict[str, Any]] = []
    with open_published(settings, as_of) as connection:
        published = published_months(connection)
        months = [month for month in published if (first or month) <= month <= (last or month)]
        for month, rows in export_months(connection, months, folder):
            file = exported_file(folder, month)
            written.append({"month": str(month), "rows": rows, "file": str(file)})
            if not as_json:
                typer.echo(f"{month}: {counted(rows, 'row')} in {file}")
    total = sum(each["rows"] for each in written)
    others = [str(month) for month in other_months(folder, months)]
    if as_json:
        print_json({"command": "export", "folder": str(folder), "rows": total, "months": written, "others": others})
    elif written:
        if others:
            typer.echo(
                f"Of an earlier export, {folder} still holds {listing(others)}: remove what is not to be read with "
                "these."
            )
        typer.echo(f"Wrote {counted(total, 'row')} of {counted(len(written), 'month')} to {folder}.")
    if not written:
        fail(_why_nothing(published), EXIT_REFUSED)


def _why_nothing(published: Sequence[Month]) -> str:
    if not published:
        from refinery_assets.warehouse.reaudit import NOTHING_PUBLISHED

        return NOTHING_PUBLISHED
    return f"None of these months is published; published are {listing(published)}."


def report(
    month: OneMonth,
    to: Annotated[
        Path | None,
        typer.Option("--to", metavar="PATH", parser=local_path, help="write it with its charts below this folder"),
    ] = None,
) -> None:
    """Print or write the report on a month."""
    settings = settings_now()
    from refinery_assets.reports.monthly_report import monthly_reports, write_reports
    from refinery_assets.warehouse.snapshot import open_published

    with open_published(settings) as connection:
        found = monthly_reports(connection, [month], settings.contract)
    if not found[month].is_known:
        # Only a month that may come has a report that says what to do for it.
        demand_in_window(month, settings)
    if to is None:
        typer.echo(found[month].markdown, nl=False)
        return
    write_reports(found.values(), to)
    typer.echo(f"Wrote the report on {month} to {to / str(month)}.")
