"""The lake: DuckLake's tables as Parquet files, and its catalog in PostgreSQL or a file.

Every connection is to a database in memory that has the lake attached and in use, so that the same statements run as on
a DuckDB file. Here: opening it. Not here: what is said when it cannot be opened
(`lake_faults.py`), making its tables (`lake_tables.py`), and what several writers owe each other (`lake_writers.py`).
"""

from __future__ import annotations

import importlib.util
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

import duckdb

from refinery_assets.contract.lake import Catalog, Lake
from refinery_assets.warehouse import lake_faults as faults
from refinery_assets.warehouse.lake_bucket import hand_keys_on
from refinery_assets.warehouse.lake_damage import damaged_files, what_to_do
from refinery_assets.warehouse.storage import (
    WarehouseUnusableError,
    out_of_memory,
)

NAME = "lake"
"""What the lake is attached as."""

_EXTENSIONS = {
    Catalog.POSTGRES: ("ducklake", "postgres_scanner"),
    Catalog.SQLITE: ("ducklake", "sqlite_scanner"),
    Catalog.DUCKDB: ("ducklake",),
}
_POLL_SECONDS = 0.2


@contextmanager
def open_lake(  # noqa: PLR0913 - how a lake is opened
    lake: Lake,
    *,
    read_only: bool,
    wait_seconds: float,
    config: Mapping[str, Any] | None = None,
    make: bool = False,
    snapshot: int | None = None,
) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open a lake, and close it whatever happens.

    Args:
        lake: The lake.
        read_only: Whether to attach it read-only.
        wait_seconds: How long to wait for a catalog's file that another process holds.
        config: DuckDB's settings.
        make: Whether to make a catalog that is not there.
        snapshot: The snapshot to read it as of; None: the newest.

    Raises:
        WarehouseMissingError: There is no such catalog.
        WarehouseHeldError: Another process holds the catalog's file, or PostgreSQL went away in the middle.
        DataElsewhereError: The catalog names another data path.
        WarehouseUnusableError: Catalog or data cannot be reached, or written; or a file of others that is used
            meanwhile, such as what DuckDB spills.
    """
    packaged = _genuine_packages(_extensions(lake))
    checked = {"allow_unsigned_extensions": True} if packaged else {}
    # A folder of its own: this DuckDB names what it spills alike in every connection, and each would read the others'.
    with tempfile.TemporaryDirectory(prefix="refinery-", ignore_cleanup_errors=True) as spill:
        connection = duckdb.connect(config={**(config or {}), **checked, "temp_directory": spill})
        try:
            _load_extensions(connection, lake, packaged)
            if lake.bucket is not None:
                hand_keys_on(connection, lake.bucket)
            options = _options(lake, read_only=read_only, make=make, snapshot=snapshot)
            _attach(connection, lake, options, wait_seconds=wait_seconds, make=make)
            yield connection
        except duckdb.OutOfMemoryException as error:
            raise out_of_memory(lake, config) from error
        except duckdb.Error as error:
            if elsewhere := faults.lies_elsewhere(lake, error):
                raise elsewhere from error
            if denied := faults.may_not(lake, error):
                raise denied from error
            if broken := faults.broke_off(lake, error):
                raise broken from error
            if refused := faults.refused_by_postgresql(lake, error):
                raise refused from error
            _end_transaction(connection)
            if isinstance(error, duckdb.IOException | duckdb.InvalidInputException) and (
                damaged := damaged_files(connection, lake, NAME, error)
            ):
                raise WarehouseUnusableError(what_to_do(lake, damaged)) from error
            if isinstance(error, duckdb.IOException | duckdb.TransactionException | duckdb.FatalException):
                told = faults.held(lake, error, wait_seconds) if faults.is_held(error) else faults.unusable(lake, error)
                raise told from error
            raise
        finally:
            _end_transaction(connection)
            connection.close()


def _end_transaction(connection: duckdb.DuckDBPyConnection) -> None:
    """Roll back what is open; where PostgreSQL is gone, to leave that to closing would abort the process."""
    with suppress(duckdb.Error):
        connection.execute("ROLLBACK")


def quoted(text: str) -> str:
    """A text where SQL takes no parameter."""
    return "'" + text.replace("'", "''") + "'"


def _extensions(lake: Lake) -> tuple[str, ...]:
    """The extensions of DuckDB that the lake wants."""
    return (*_EXTENSIONS[lake.catalog], *(() if lake.bucket is None else ("httpfs",)))


def _load_extensions(connection: duckdb.DuckDBPyConnection, lake: Lake, packaged: Sequence[Path]) -> None:
    if packaged:
        # Straight from their packages, for installing would copy them into the user's home.
        for file in packaged:
            connection.load_extension(str(file))
        return
    for name in _extensions(lake):
        try:
            connection.install_extension(name)
            connection.load_extension(name)
        except duckdb.Error as error:
            raise WarehouseUnusableError(
                f"The lake {lake} wants DuckDB's extension {name}, which cannot be had for DuckDB {duckdb.__version__} "
                "here: pip install '.[lake]' in a copy of the project, or let this machine download extensions. DuckDB "
                f"says: {faults.first_line(error)}"
            ) from error


@cache
def _genuine_packages(names: Sequence[str]) -> tuple[Path, ...]:
    """The extensions' files as they are packaged for this very DuckDB, their signatures checked; none unless all are.

    DuckDB checks the signature whenever a file is loaded, at a fifth of a second each. Once in a process will do.
    """
    files = [_packaged(name) for name in names]
    found = tuple(file for file in files if file is not None)
    if len(found) < len(files):
        return ()
    with duckdb.connect() as connection:
        try:
            for file in found:
                connection.load_extension(str(file))
        except duckdb.Error:
            return ()
    return found


def _packaged(name: str) -> Path | None:
    """The extension as its package has it for this very version of DuckDB; None where there is none."""
    found = importlib.util.find_spec(f"duckdb_extension_{name}")
    if found is None or not found.submodule_search_locations:
        return None
    folder = Path(found.submodule_search_locations[0]) / "extensions" / f"v{duckdb.__version__}"
    file = folder / f"{name}.duckdb_extension"
    return file if file.is_file() else None


def _options(lake: Lake, *, read_only: bool, make: bool, snapshot: int | None) -> str:
    # Every row in a file: rows kept in the catalog would have writers of other months collide more often.
    options = [f"DATA_PATH {quoted(f'{lake.data}/')}", "DATA_INLINING_ROW_LIMIT 0"]
    if not make:
        options.append("CREATE_IF_NOT_EXISTS false")
    if read_only:
        options.append("READ_ONLY")
    if snapshot is not None:
        options.append(f"SNAPSHOT_VERSION {snapshot:d}")
    return ", ".join(options)


def _attach(
    connection: duckdb.DuckDBPyConnection, lake: Lake, options: str, *, wait_seconds: float, make: bool
) -> None:
    if lake.file is not None and not lake.file.is_file():
        if not make:
            raise faults.missing(lake)
        lake.file.parent.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + wait_seconds
    while True:
        try:
            connection.execute(f"ATTACH {quoted(str(lake))} AS {NAME} ({options})")
            break
        except duckdb.Error as error:
            if faults.is_held(error):
                if time.monotonic() >= deadline:
                    raise faults.held(lake, error, wait_seconds) from error
                # Whoever holds it tells nobody when it lets go.
                time.sleep(_POLL_SECONDS)
                continue
            if "does not exist - and creating" in str(error):
                raise faults.missing(lake) from error
            if other := faults.keeps_data_elsewhere(lake, error):
                raise other from error
            raise
    connection.execute(f"USE {NAME}")
