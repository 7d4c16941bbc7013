"""What the commands of `refinery` share: arguments, settings, JSON on stdout, and the exit code of a run.

Here: how they are spelled and read. Not here: the commands, and what becomes of an error (`errors.py`).
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from refinery_assets.cli.errors import EXIT_HELD, EXIT_INTERRUPTED, EXIT_REFUSED, EXIT_TROUBLE
from refinery_assets.contract.months import Month
from refinery_assets.contract.settings import Settings

if TYPE_CHECKING:
    from refinery_assets.reports.month_results import Outcomes

EPILOG = (
    "Exit codes: 0 all is well; 1 months were refused, an audit failed, months of a lake do not sum to their "
    "receipts, or there was nothing to export; 2 wrong usage or a bad setting; 3 the warehouse is held by another "
    "process, or the catalog of a lake dropped the connection; 4 anything else, as the message says; 130 "
    "interrupted; 141 nobody reads the output any more, as after head."
)


def parse_month(text: object) -> Month:
    """Read a month; typer passes defaults through here as well."""
    try:
        return Month.parse(str(text))
    except ValueError as error:
        raise typer.BadParameter(f"{error}.") from None


def local_path(text: object) -> Path:
    """Read a path of this machine; of an address such as s3://... a folder named s3: would be made, unseen."""
    if "://" in str(text):
        raise typer.BadParameter(f"{str(text)!r} is an address; expected a path on this machine.")
    return Path(str(text))


_MONTHS_HELP = "2024-05, 2024-01..2024-12, all (of the feed), or changed (since they were published)"
Months = Annotated[list[str], typer.Argument(metavar="MONTHS", help=_MONTHS_HELP)]
OneMonth = Annotated[Month, typer.Argument(metavar="MONTH", parser=parse_month, help="a month, such as 2024-05")]
AsJson = Annotated[bool, typer.Option("--json", help="print JSON on stdout, for other programs")]
Force = Annotated[bool, typer.Option("--force", help="rewrite months although nothing has changed")]
First = Annotated[Month, typer.Option("--first", metavar="MONTH", parser=parse_month, help="the first month")]
Last = Annotated[Month, typer.Option("--last", metavar="MONTH", parser=parse_month, help="the last month, included")]


def settings_now() -> Settings:
    """The settings of the environment and of `.env`."""
    return Settings.from_environment(os.environ)


def settings_of_a_lake_that_is_there() -> Settings:
    """The settings; where they name a lake, one that can be opened: without it every month would seem to be at fault.

    A file is made by the first run, and said to be missing where it is not.
    """
    settings = settings_now()
    if settings.lake is not None:
        from refinery_assets.warehouse.lake import open_lake
        from refinery_assets.warehouse.storage import WarehouseHeldError

        # A catalog's file that another process holds is there; whoever wants it waits for it, or says so.
        with suppress(WarehouseHeldError), open_lake(settings.lake, read_only=True, wait_seconds=0.0):
            pass
    return settings


def exit_with(outcomes: Outcomes) -> None:
    """End with the exit code of a run, unless all is well."""
    from refinery_assets.reports.month_results import Stop

    if outcomes.stop is not None:
        raise typer.Exit({Stop.HELD: EXIT_HELD, Stop.INTERRUPTED: EXIT_INTERRUPTED}[outcomes.stop])
    if outcomes.problems:
        raise typer.Exit(EXIT_TROUBLE)
    if not outcomes.is_good:
        raise typer.Exit(EXIT_REFUSED)


def usage(work: Callable[[], Any]) -> Any:
    """Turn the ValueError of a bad argument into a usage error."""
    try:
        return work()
    except ValueError as error:
        raise typer.BadParameter(f"{error}.") from None


def print_json(content: Any) -> None:
    """Print JSON on stdout."""
    typer.echo(json.dumps(content, indent=2, default=str))
