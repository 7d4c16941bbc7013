"""A private copy of the warehouse, and opening what is published without keeping a run out.

Here: which file stands for the warehouse when somebody only looks. Not here: copying a lake (`lake_copy.py`), making
the read copy (`read_copy.py`) and opening the warehouse for a run (`assets/resources.py`).
"""

from __future__ import annotations

import fcntl
import shutil
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import duckdb

from refinery_assets.contract.lake import Lake
from refinery_assets.contract.months import Month
from refinery_assets.contract.settings import Settings
from refinery_assets.warehouse.read_copy import is_current
from refinery_assets.warehouse.storage import WarehouseHeldError, WarehouseMissingError, open_warehouse

# Changes that DuckDB has yet to write into the file lie beside it.
_LOG = ".wal"


def copy_warehouse(settings: Settings, target: Path, months: Iterable[Month]) -> Path | Lake:
    """Copy the warehouse to `target`; while a run writes to it, the state that its read copy holds.

    Args:
        settings: Where it is.
        target: The new file.
        months: What is to be published in the copy; of a lake no more of the table is copied than that takes.

    Returns:
        What was copied: the file, or the lake.

    Raises:
        WarehouseMissingError: There is no warehouse.
        WarehouseHeldError: A process writes to it, and there is no read copy.
        OSError: It cannot be read, or `target` cannot be written.
    """
    if settings.lake is not None:
        # Whoever has no lake need not load it.
        from refinery_assets.warehouse.lake_copy import copy_lake  # noqa: PLC0415

        copy_lake(settings.lake, settings, target, months)
        return settings.lake
    try:
        source = settings.warehouse.open("rb")
    except FileNotFoundError:
        raise WarehouseMissingError(
            f"The warehouse {settings.warehouse} is not there; load the inventory into it or set REFINERY_WAREHOUSE."
        ) from None
    with source:
        try:
            # What a reading DuckDB takes: nobody writes until the file is closed.
            fcntl.lockf(source, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):
            if settings.read_copy is None or not settings.read_copy.is_file():
                raise WarehouseHeldError(
                    f"The warehouse {settings.warehouse} is being written to, and there is no read copy "
                    "(REFINERY_READ_COPY) to compare with; try again when the run has ended."
                ) from None
            shutil.copyfile(settings.read_copy, target)
            return settings.read_copy
        shutil.copyfile(settings.warehouse, target)
        if (log := _beside(settings.warehouse)).exists():
            shutil.copyfile(log, _beside(target))
    return settings.warehouse


@contextmanager
def open_published(settings: Settings, as_of: str | None = None) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open what is published for reading: the read copy where it is current or the warehouse is held.

    Args:
        settings: Where it is.
        as_of: Of a lake, the publication after which it is meant; None: the last.

    Raises:
        NoSuchPublicationError: That publication is not kept.
        WarehouseMissingError: There is no warehouse.
        WarehouseHeldError: A process writes to it, and there is no read copy.
        WarehouseUnusableError: The file cannot be read.
    """
    if as_of is not None:
        # Whoever has no lake need not load them.
        from refinery_assets.warehouse.lake import open_lake  # noqa: PLC0415
        from refinery_assets.warehouse.lake_snapshots import find_lake_as_of  # noqa: PLC0415

        lake, snapshot = find_lake_as_of(settings, as_of)
        wait = settings.lock_wait_seconds
        with open_lake(lake, read_only=True, wait_seconds=wait, snapshot=snapshot) as connection:
            yield connection
        return
    copy = settings.read_copy
    if copy is None or not copy.is_file():
        with open_warehouse(settings.place, read_only=True, wait_seconds=settings.lock_wait_seconds) as connection:
            yield connection
        return
    with ExitStack() as opened:
        try:
            place = copy if is_current(settings.warehouse, copy) else settings.warehouse
            connection = opened.enter_context(open_warehouse(place, read_only=True, wait_seconds=0.0))
        except WarehouseHeldError:
            connection = opened.enter_context(open_warehouse(copy, read_only=True, wait_seconds=0.0))
        yield connection


def _beside(file: Path) -> Path:
    return file.with_name(file.name + _LOG)
