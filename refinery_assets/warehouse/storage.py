"""The warehouse: creating its file, opening it, and the messages when it cannot be opened.

Here: the version of DuckDB's format that a new file gets, and opening a file that another process may hold. Not
here: opening a lake (`lake.py`), when a run opens the warehouse (`assets/resources.py`), and the tables in it
(`tables.py`).
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb

from refinery_assets.contract.lake import Lake

STORAGE_VERSION = "v1.4.0"
"""What notebooks and BI tools with the long-supported DuckDB 1.4 can read, too. DuckDB 2's own format saves
neither time nor room, and shuts them out."""

_LOCK_POLL_SECONDS = 0.2


class WarehouseMissingError(Exception):
    """The warehouse file is not there; the refinery does not make it where the inventory lives in it."""


class WarehouseHeldError(Exception):
    """Another process kept the warehouse open for longer than the refinery waits, or a lake's catalog broke off."""


class WarehouseUnusableError(Exception):
    """The warehouse cannot be opened or written: its rights, its disk, or its content."""


class DataElsewhereError(WarehouseUnusableError):
    """The data path of the settings is not the one that a lake's catalog names, or is another lake's."""


def open_or_make_warehouse(path: Path) -> duckdb.DuckDBPyConnection:
    """Open the file for writing, and make it, with `STORAGE_VERSION`, if it is not there.

    A file that is there keeps the version that it was made with.

    Raises:
        OSError: The file's folder cannot be made.
        duckdb.Error: The file cannot be opened.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    return duckdb.connect(path, config={"storage_compatibility_version": STORAGE_VERSION})


def ensure_warehouse(path: Path) -> None:
    """Make the file unless it is there, for a contract whose inventory is a file, so that nobody has to load one.

    Raises:
        WarehouseUnusableError: It cannot be made.
    """
    if path.is_file():
        return
    try:
        open_or_make_warehouse(path).close()
    except (OSError, duckdb.Error) as error:
        raise _unusable(path, error) from error


@contextmanager
def open_warehouse(
    place: Path | Lake, *, read_only: bool, wait_seconds: float, config: Mapping[str, Any] | None = None
) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open a file or a lake that is there, and close it whatever happens.

    Args:
        place: The file, or the lake.
        read_only: Whether to open it read-only.
        wait_seconds: How long to wait for a file that another process holds.
        config: DuckDB's settings.

    Raises:
        WarehouseMissingError: The file does not exist.
        WarehouseHeldError: Another process holds the file; the message names it.
        DataElsewhereError: A lake's data path is not the one that its catalog names, or, where it is opened for
            writing, does not say that it is this lake's.
        WarehouseUnusableError: The file cannot be opened or written, the disk is full, or the memory that DuckDB may
            take is not enough.
        StoreError: The object store of a lake's data cannot be reached or used.
    """
    if isinstance(place, Lake):
        # Whoever has no lake need not load it.
        from refinery_assets.warehouse.lake import open_lake  # noqa: PLC0415
        from refinery_assets.warehouse.lake_marker import refuse_to_write_elsewhere  # noqa: PLC0415

        with open_lake(place, read_only=read_only, wait_seconds=wait_seconds, config=config) as connection:
            if not read_only:
                refuse_to_write_elsewhere(connection, place)
            yield connection
        return
    path = place
    if not path.is_file():
        raise WarehouseMissingError(
            f"The warehouse {path} is not there; load the inventory into it or set REFINERY_WAREHOUSE."
        )
    connection = _wait_for_connection(path, dict(config or {}), read_only=read_only, wait_seconds=wait_seconds)
    try:
        yield connection
    # A disk that is full while writing or committing, and what DuckDB says of every statement after that; all
    # else is not of the file.
    except (duckdb.IOException, duckdb.TransactionException, duckdb.FatalException) as error:
        raise _unusable(path, error) from error
    except duckdb.OutOfMemoryException as error:
        raise out_of_memory(path, config) from error
    finally:
        connection.close()


def out_of_memory(place: Path | Lake, config: Mapping[str, Any] | None) -> WarehouseUnusableError:
    """What to say where DuckDB ran out of the memory that it may take."""
    limit = (config or {}).get("memory_limit")
    allowed = f"{limit} of memory (REFINERY_MEMORY_MIB)" if limit else "the memory of this machine"
    return WarehouseUnusableError(
        f"DuckDB ran out of memory with {allowed}; the warehouse {place} is unchanged. Increase REFINERY_MEMORY_MIB (a "
        "month of a million hosts may need 4096), then run again."
    )


def _wait_for_connection(
    path: Path, config: dict[str, Any], *, read_only: bool, wait_seconds: float
) -> duckdb.DuckDBPyConnection:
    # The lock is DuckDB's own and announces its release to nobody, so it is tried again and again.
    deadline = time.monotonic() + wait_seconds
    while True:
        try:
            return duckdb.connect(path, read_only=read_only, config=config)
        except duckdb.IOException as error:
            if "lock on file" not in str(error):
                raise _unusable(path, error) from error
            if time.monotonic() >= deadline:
                raise WarehouseHeldError(
                    f"The warehouse {path} is still held by {_holder(error)} after {wait_seconds:g} s; close it "
                    "there and run again."
                ) from error
            time.sleep(_LOCK_POLL_SECONDS)


def _unusable(path: Path, error: Exception) -> WarehouseUnusableError:
    return WarehouseUnusableError(
        f"The warehouse {path} cannot be used and is unchanged; check its permissions and the free space on its "
        f"disk, then run again. DuckDB says: {error}"
    )


def _holder(error: duckdb.Error) -> str:
    """The process that DuckDB's message names."""
    held = re.search(r"lock is held in (?P<program>.+?) \(PID (?P<pid>\d+)\)", str(error))
    return f"process {held['pid']} ({held['program']})" if held else f"another process ({error})"
