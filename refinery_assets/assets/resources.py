"""What the assets work on: the warehouse.

Here: the DuckDB file or the lake as a resource, and how steps that need it wait for their turn. Not here: opening it
(`warehouse/storage.py`), what is done in it, and the Parquet store (`io_manager.py`).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg
import duckdb
from dagster_duckdb import DuckDBResource

from refinery_assets.contract.lake import Catalog, Lake
from refinery_assets.contract.places import place_of
from refinery_assets.contract.settings import Settings
from refinery_assets.operations.housekeeping import end_dead_runs
from refinery_assets.operations.runs import PROCESS_TAG, enter_run
from refinery_assets.warehouse.storage import (
    DataElsewhereError,
    WarehouseHeldError,
    WarehouseMissingError,
    WarehouseUnusableError,
    ensure_warehouse,
    open_warehouse,
)
from refinery_assets.warehouse.tables import LostRaceError

__all__ = [
    "WAREHOUSE_POOL",
    "Warehouse",
    "WarehouseHeldError",
    "WarehouseMissingError",
    "WarehouseUnusableError",
    "fail_if_data_is_elsewhere",
    "pool_of",
    "try_again_or_fail",
    "warehouse_of",
]

WAREHOUSE_POOL = "warehouse"
"""Steps that open the warehouse share this pool of one place, so that runs queue up instead of colliding."""


def pool_of(settings: Settings) -> str | None:
    """The pool of steps that open the warehouse; none where it takes several writers at a time."""
    return None if settings.lake and settings.lake.takes_many_writers else WAREHOUSE_POOL


class Warehouse(DuckDBResource):
    """The DuckDB file, or the lake, with the inventory and the published tables.

    The stock resource leaves the file locked when an exception passes through it, and makes a missing file;
    this one closes it always, never makes it, and waits for a file that another process holds.

    Attributes:
        lock_wait_seconds: How long it waits.
        is_made: Whether a missing file is made after all, because the inventory is a file of its own.
        lake_data: Where the lake's files lie; empty: `database` is a file.
        lake_catalog: What keeps the lake's catalog.
    """

    lock_wait_seconds: float
    is_made: bool = False
    lake_data: str = ""
    lake_catalog: str = ""

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
    def place(self) -> Path | Lake:
        """The file, or the lake."""
        if self.lake_data:
            return Lake(Catalog(self.lake_catalog), self.database, place_of(self.lake_data))
        return Path(self.database)

    @contextmanager
    def get_connection(self, *, read_only: bool = False) -> Iterator[duckdb.DuckDBPyConnection]:
        """Open the warehouse, and close it whatever happens.

        Raises:
            WarehouseMissingError: The file or the lake does not exist.
            WarehouseHeldError: Another process holds the file; the message names it.
            DataElsewhereError: A lake's data path is not the lake's, or not on this machine.
            WarehouseUnusableError: The file cannot be opened or written, or the disk is full.
            StoreError: The object store of a lake's data cannot be reached or used.
        """
        place = self.place
        if self.is_made and isinstance(place, Path):
            ensure_warehouse(place)
        with open_warehouse(
            place, read_only=read_only, wait_seconds=self.lock_wait_seconds, config=self.connection_config
        ) as connection:
            yield connection


def fail_if_data_is_elsewhere(warehouse: Warehouse) -> None:
    """Fail before the families write into a data path that is not the lake's; their files would be nobody's there.

    All else that is wrong with the warehouse is for the steps to say that need it.

    Raises:
        dg.Failure: The catalog names another data path than the settings, or the path does not say that it is the
            lake's.
        StoreError: The data's object store cannot be reached or used.
    """
    place = warehouse.place
    if not isinstance(place, Lake):
        return
    from refinery_assets.warehouse.lake_marker import refuse_to_write_elsewhere  # noqa: PLC0415 - not without a lake

    try:
        with open_warehouse(place, read_only=True, wait_seconds=0.0) as connection:
            refuse_to_write_elsewhere(connection, place)
    except DataElsewhereError as error:
        raise dg.Failure(description=str(error), allow_retries=False) from error
    except (WarehouseMissingError, WarehouseHeldError, WarehouseUnusableError):
        return


def warehouse_of(settings: Settings) -> Warehouse:
    """The resource that the settings ask for."""
    lake = settings.lake
    return Warehouse(
        database=str(settings.warehouse) if lake is None else lake.place,
        connection_config={"memory_limit": f"{settings.memory_mib}MiB"},
        lock_wait_seconds=settings.lock_wait_seconds,
        is_made=settings.contract.inventory.is_file,
        lake_data=str(lake.data) if lake else "",
        lake_catalog=str(lake.catalog) if lake else "",
    )


def try_again_or_fail(error: WarehouseHeldError | LostRaceError, retry_number: int, settings: Settings) -> Exception:
    """What a step raises that waited in vain: a request to be tried again, at last a failure.

    Not a retry policy of the step, which would try again also what fails the same way every time.
    """
    if retry_number < settings.lock_retries:
        return dg.RetryRequested(settings.lock_retries, settings.lock_retry_seconds)
    return dg.Failure(description=str(error), allow_retries=False)
