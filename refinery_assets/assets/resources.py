"""What the assets work on: the warehouse.

Here: opening and closing the DuckDB file, and how steps that need it wait for their turn. Not here: what is
done in it (`warehouse/`), and the Parquet store (`io_manager.py`).
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg
import duckdb
from dagster_duckdb import DuckDBResource

from refinery_assets.contract.settings import Settings
from refinery_assets.operations.housekeeping import end_dead_runs
from refinery_assets.operations.runs import PROCESS_TAG, enter_run

WAREHOUSE_POOL = "warehouse"
"""Steps that open the warehouse share this pool of one place, so that runs queue up instead of colliding."""

_LOCK_POLL_SECONDS = 0.2


class WarehouseMissingError(Exception):
    """The warehouse file is not there; the refinery does not make it, because the inventory lives in it."""


class WarehouseHeldError(Exception):
    """Another process kept the warehouse open for longer than the refinery waits."""


class WarehouseUnusableError(Exception):
    """The warehouse cannot be opened or written: its rights, its disk, or its content."""


class Warehouse(DuckDBResource):
    """The DuckDB file with the inventory and the published tables.

    The stock resource leaves the file locked when an exception passes through it, and makes a missing file;
    this one closes it always, never makes it, and waits for a file that another process holds.

    Attributes:
        lock_wait_seconds: How long it waits.
    """

    lock_wait_seconds: float

    def setup_for_execution(self, context: dg.InitResourceContext) -> None:
        """Before a run waits for its place in the pool: take back places that killed runs still hold."""
        if context.instance is None:
            return
        # Also of a run that came by another executor than ours, as `execute_in_process` has it.
        run = context.run and context.instance.get_run_by_id(context.run.run_id)
        if run and not run.is_finished and PROCESS_TAG not in run.tags:
            enter_run(context.instance, run)
        end_dead_runs(context.instance)

    @property
    def path(self) -> Path:
        """The file."""
        return Path(self.database)

    @contextmanager
    def get_connection(self, *, read_only: bool = False) -> Iterator[duckdb.DuckDBPyConnection]:
        """Open the warehouse, and close it whatever happens.

        Raises:
            WarehouseMissingError: The file does not exist.
            WarehouseHeldError: Another process holds the file; the message names it.
            WarehouseUnusableError: The file cannot be opened or written, or the disk is full.
        """
        if not self.path.is_file():
            raise WarehouseMissingError(
                f"The warehouse {self.path} is not there; load the inventory into it or set REFINERY_WAREHOUSE."
            )
        connection = self._wait_for_connection(read_only=read_only)
        try:
            yield connection
        # A disk that is full while writing or committing, and what DuckDB says of every statement after
        # that; all else is not of the file.
        except (duckdb.IOException, duckdb.TransactionException, duckdb.FatalException) as error:
            raise self._unusable(error) from error
        finally:
            connection.close()

    def _wait_for_connection(self, *, read_only: bool) -> duckdb.DuckDBPyConnection:
        # The lock is DuckDB's own and announces its release to nobody, so it is tried again and again.
        deadline = time.monotonic() + self.lock_wait_seconds
        while True:
            try:
                return duckdb.connect(self.path, read_only=read_only, config=self.connection_config)
            except duckdb.IOException as error:
                if "lock on file" not in str(error):
                    raise self._unusable(error) from error
                if time.monotonic() >= deadline:
                    raise WarehouseHeldError(
                        f"The warehouse {self.path} is still held by {_holder(error)} after "
                        f"{self.lock_wait_seconds:g} s; close it there and run again."
                    ) from error
                time.sleep(_LOCK_POLL_SECONDS)

    def _unusable(self, error: duckdb.Error) -> WarehouseUnusableError:
        return WarehouseUnusableError(
            f"The warehouse {self.path} cannot be used, and stays as it was; see to its rights and to the "
            f"room on its disk, then run again. DuckDB says: {error}"
        )


def _holder(error: duckdb.Error) -> str:
    """The process that DuckDB's message names."""
    held = re.search(r"lock is held in (?P<program>.+?) \(PID (?P<pid>\d+)\)", str(error))
    return f"process {held['pid']} ({held['program']})" if held else f"another process ({error})"


def try_again_or_fail(error: WarehouseHeldError, retry_number: int, settings: Settings) -> Exception:
    """What a step raises that waited in vain: a request to be tried again, at last a failure.

    Not a retry policy of the step, which would try again also what fails the same way every time.
    """
    if retry_number < settings.lock_retries:
        return dg.RetryRequested(settings.lock_retries, settings.lock_retry_seconds)
    return dg.Failure(description=str(error), allow_retries=False)
