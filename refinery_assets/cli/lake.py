"""The commands `refinery lake`, for a warehouse that is a DuckLake.

Here: commands and their options. Not here: what they do (`refinery_assets/warehouse`).
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from refinery_assets.cli.errors import EXIT_REFUSED, fail
from refinery_assets.cli.options import local_path
from refinery_assets.contract.settings import Settings

lake_app = typer.Typer(
    name="lake",
    help="Make and maintain a lake, the warehouse of a team that outgrows one machine.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@lake_app.callback()
def lake() -> None:
    """Make and maintain a lake, the warehouse of a team that outgrows one machine."""


@lake_app.command()
def init(
    inventory: Annotated[
        Path | None,
        typer.Option(
            "--inventory",
            metavar="PATH",
            parser=local_path,
            help="fill the inventory's table from this CSV, Parquet or DuckDB file, in place of its rows",
        ),
    ] = None,
) -> None:
    """Make the lake's tables and views, or those that it lacks.

    Safe to repeat without --inventory, which replaces the inventory that the lake has; needed again after an upgrade of
    the refinery, and when the inventory has other columns.
    """
    settings = Settings.from_environment(os.environ)
    from refinery_assets.checks.rules import counted
    from refinery_assets.warehouse.lake_tables import make_lake

    made = make_lake(settings, inventory)
    tables = f"made {', '.join(made.tables)}" if made.tables else "its tables were there"
    hosts = f"{counted(made.hosts, 'row')} of the inventory"
    if made.replaced is not None:
        hosts = f"replaced {counted(made.replaced, 'row')} of the inventory by {made.taken_in} of {inventory}"
    elif made.taken_in is not None:
        hosts += ", taken in"
    typer.echo(f"{settings.lake}: {tables}; {hosts}.")
    if settings.lake and not settings.lake.takes_many_writers:
        typer.echo("Its catalog is a file: good for one writer at a time. A catalog in PostgreSQL takes several.")


@lake_app.command()
def publications(
    as_json: Annotated[bool, typer.Option("--json", help="print JSON on stdout, for other programs")] = False,
) -> None:
    """List the publications that can still be read, with their snapshots."""
    from refinery_assets.warehouse.lake_snapshots import kept_publications

    kept = kept_publications(Settings.from_environment(os.environ))
    if as_json:
        found = [asdict(each) | {"months": [str(month) for month in each.months]} for each in kept]
        typer.echo(json.dumps({"command": "lake publications", "publications": found}, indent=2, default=str))
        return
    for each in kept:
        months = ", ".join(map(str, each.months))
        typer.echo(f"{each.snapshot}: {months}, published at {each.published_at:%Y-%m-%d %H:%M} UTC by {each.run_id}")
    if not kept:
        typer.echo("No publication is kept.")


@lake_app.command()
def maintain() -> None:
    """Merge small files, forget old snapshots, delete what nothing refers to.

    It then proves that every published month still sums to its receipt; exit code 1 if one does not. The schedule
    daily_lake_maintenance does the same each night. It waits for runs, and runs wait for it.
    """
    settings = Settings.from_environment(os.environ)
    from refinery_assets.warehouse.lake_maintenance import maintain as maintain_lake

    done = maintain_lake(settings)
    typer.echo(f"{settings.lake}: {done.summary}")
    typer.echo(done.proof)
    if done.problem is not None:
        fail(done.problem, EXIT_REFUSED)
