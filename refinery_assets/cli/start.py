"""The commands to start with: `sample`, `demo` and `ui`.

Here: their options. Not here: the work, which is in the room that it belongs to and is loaded when the command is
called.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from refinery_assets.cli.errors import EXIT_TROUBLE, fail
from refinery_assets.cli.options import First, Last, exit_with, local_path, usage
from refinery_assets.contract.months import Month
from refinery_assets.contract.settings import PROJECT_ROOT

_FIRST, _LAST = Month(2023, 1), Month(2025, 12)


def sample(  # noqa: PLR0913, PLR0917 - one argument for each option
    hosts: Annotated[int, typer.Option(help="how many hosts, 10 or more")] = 2000,
    first: First = _FIRST,
    last: Last = _LAST,
    seed: Annotated[int, typer.Option(help="the same seed gives the same bytes")] = 7,
    to: Annotated[Path, typer.Option(metavar="PATH", parser=local_path, help="the folder to write to")] = PROJECT_ROOT
    / "data",
    dirt: Annotated[float, typer.Option(help="the share of faulty rows, 0 to 0.5")] = 0.0,
) -> None:
    """Make an inventory and monthly CSV files."""
    import duckdb

    from refinery_assets.sample.feed import closing_line, make_sample

    try:
        made = usage(lambda: make_sample(to, hosts=hosts, first=first, last=last, seed=seed, dirt=dirt, progress=True))
    except duckdb.Error as error:
        fail(f"The inventory cannot be written: {str(error).splitlines()[0]}", EXIT_TROUBLE)
    typer.echo(closing_line(made))


def demo(
    hosts: Annotated[int, typer.Option(help="how many hosts, 10 or more")] = 2000,
    first: First = _FIRST,
    last: Last = _LAST,
    folder: Annotated[Path | None, typer.Option(metavar="PATH", parser=local_path, help="where all of it goes")] = None,
) -> None:
    """Make a sample and refine its whole history.

    One of its months is refused, to show how that looks; the exit code is about the others.
    """
    from refinery_assets.sample.demo import run_demo

    exit_with(usage(lambda: run_demo(folder, hosts, first, last)))


def ui(
    host: Annotated[str, typer.Option(help="the address to listen on; the UI has no login")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="the port to listen on")] = 3000,
) -> None:
    """Serve Dagster's UI, with schedule and sensors."""
    from refinery_assets.operations.home import dagster_home
    from refinery_assets.operations.ui import serve

    raise typer.Exit(serve(host, port, dagster_home(os.environ)))
