"""The command line `refinery`.

Here: which commands there are, and that any error becomes a sentence and an exit code. Not here: the commands
(`months.py`, `table.py`, `contract.py`, `start.py`), and what becomes of which error (`errors.py`).

A command loads what it needs when it is called, so that `refinery --help` and `status` need not wait for Dagster.
"""

from __future__ import annotations

import os
import sys
from typing import Any, NoReturn

import typer
from typer.core import TyperGroup

from refinery_assets.cli.contract import contract_app
from refinery_assets.cli.errors import EXIT_INTERRUPTED, EXIT_UNREAD, describe, fail
from refinery_assets.cli.lake import lake_app
from refinery_assets.cli.months import accept, explain, plan, run, status
from refinery_assets.cli.options import EPILOG
from refinery_assets.cli.start import demo, sample, ui
from refinery_assets.cli.table import audit, export, report


class _Commands(TyperGroup):
    """All commands; any error becomes a sentence on stderr and an exit code."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except (typer.Exit, typer.Abort, typer.TyperException):
            raise
        except BrokenPipeError:
            _end_unread()
        except KeyboardInterrupt:
            fail("Interrupted.", EXIT_INTERRUPTED)
        # The last resort: the trace of an unexpected error goes to a file, for whoever fixes it.
        except Exception as error:  # noqa: BLE001
            fail(*describe(error))


def _end_unread() -> NoReturn:
    """End as other tools do of which somebody has read enough, such as `head`."""
    # Python writes what is left when it ends, and would complain.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    raise typer.Exit(EXIT_UNREAD) from None


app = typer.Typer(
    name="refinery",
    cls=_Commands,
    help="Refine monthly exports of server utilization into one audited table.",
    epilog=EPILOG,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(contract_app, epilog=EPILOG)
app.add_typer(lake_app, epilog=EPILOG)
for _command in (run, plan, status, explain, accept, audit, export, report, sample, demo, ui):
    app.command(epilog=EPILOG)(_command)


def main() -> None:
    """Run the command line."""
    app(prog_name="refinery")


if __name__ == "__main__":
    main()
