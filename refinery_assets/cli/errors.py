"""Exit codes of the command line, and the sentence that an error becomes.

Here: which errors are expected, and where the stack trace of an unexpected one goes. Not here: the commands.
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
import traceback
from datetime import UTC, datetime
from pathlib import Path
from typing import NoReturn

import typer

from refinery_assets.contract.settings import SettingError, Settings

EXIT_REFUSED = 1
EXIT_USAGE = 2
EXIT_HELD = 3
EXIT_TROUBLE = 4
EXIT_INTERRUPTED = 130
EXIT_UNREAD = 141


def fail(sentence: str, code: int) -> NoReturn:
    """End the command with a message on stderr and an exit code."""
    typer.echo(sentence, err=True)
    raise typer.Exit(code) from None


def describe(error: Exception) -> tuple[str, int]:
    """The message for an error, and the exit code."""
    code = _known(error)
    if code is not None:
        return str(error), code
    if sentence := _of_dagsters_storage(error):
        return sentence, EXIT_TROUBLE
    if isinstance(error, OSError) and error.filename:
        cause = error.strerror or type(error).__name__
        what_to_do = "check its permissions and the free space on its disk, then run again"
        return f"{error.filename} cannot be read or written ({cause}); {what_to_do}.", EXIT_TROUBLE
    trace = "".join(traceback.format_exception(error))
    return f"{_first_line(error)} This is unexpected; the stack trace is in {_write_trace(trace)}.", EXIT_TROUBLE


def _known(error: Exception) -> int | None:
    """The exit code of an error whose message is a sentence for the operator; None of any other."""
    if isinstance(error, SettingError):
        return EXIT_USAGE
    # By name, because importing them would slow down every command.
    codes = {
        "ContractError": EXIT_USAGE,
        "NothingToInferError": EXIT_USAGE,
        "MonthSelectionError": EXIT_USAGE,
        "MonthOutsideWindowError": EXIT_USAGE,
        "WarehouseHeldError": EXIT_HELD,
        "WarehouseMissingError": EXIT_TROUBLE,
        "WarehouseUnusableError": EXIT_TROUBLE,
        "DataElsewhereError": EXIT_TROUBLE,
        "ForeignTableError": EXIT_TROUBLE,
        "StoreError": EXIT_TROUBLE,
        "LakeError": EXIT_USAGE,
        "NoSuchPublicationError": EXIT_USAGE,
        "LakeNotReadyError": EXIT_TROUBLE,
        "LostRaceError": EXIT_TROUBLE,
        "WaiverError": EXIT_USAGE,
        "DemoError": EXIT_USAGE,
        "UiError": EXIT_TROUBLE,
        "ExtraMissingError": EXIT_TROUBLE,
    }
    return codes.get(type(error).__name__)


def _of_dagsters_storage(error: Exception) -> str | None:
    """The sentence for a history of Dagster that cannot be opened; None of any other error."""
    kind = type(error).__name__
    home = os.environ.get("DAGSTER_HOME", "")
    if kind == "DagsterInvalidConfigError":
        unset = re.search(r'environment variable "(\w+)" which is not set', str(error))
        return unset and (
            f"{unset[1]} is not set, and {home}/dagster.yaml takes it for Dagster's history; set it as "
            "deploy/postgres/dagster.yaml says, or use another DAGSTER_HOME."
        )
    if kind == "DagsterPostgresException" and error.__cause__ is not None:
        said = " ".join(str(error.__cause__).partition("(Background")[0].split())
        return (
            f"Dagster's history in PostgreSQL cannot be opened: {said.removeprefix('(psycopg2.OperationalError) ')}. "
            f"Check DAGSTER_PG_URL, or what {home}/dagster.yaml names in its place, and that PostgreSQL runs there."
        )
    return None


def _first_line(error: Exception) -> str:
    text = next(iter(str(error).strip().splitlines()), "")
    line = f"{type(error).__name__}: {text}" if text else type(error).__name__
    return line if line.endswith(".") else f"{line}."


def _write_trace(trace: str) -> Path:
    """Append a stack trace to the error log, or write it to a temporary file if that fails."""
    moment = datetime.now(UTC).isoformat(timespec="seconds")
    try:
        log = Settings.from_environment(os.environ).alert_log.with_name("errors.log")
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("a", encoding="utf-8") as file:
            file.write(f"{moment} {' '.join(sys.argv)}\n{trace}\n")
    except (OSError, SettingError):
        with tempfile.NamedTemporaryFile("w", prefix="refinery-", suffix=".log", delete=False) as other:
            other.write(trace)
        return Path(other.name)
    return log
