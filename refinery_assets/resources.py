"""What the assets work on: the warehouse.

Here: opening and closing the DuckDB file. Not here: what is done in it (`refining/`), and the Parquet store
(`telemetry.py`).
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb
from dagster_duckdb import DuckDBResource

LOCK_WAIT_SECONDS = 60.0
_LOCK_POLL_SECONDS = 0.2


class WarehouseMissingError(Exception):
    """The warehouse file is not there; the refinery does not make it, because the inventory lives in it."""


class WarehouseHeldError(Exception):
    """Another process kept the warehouse open for longer than the refinery waits."""


class Warehouse(DuckDBResource):
    """The DuckDB file with the inventory and the published tables.

    The stock resource leaves the file locked when an exception passes through it, and makes a missing file;
    this one closes it always, never makes it, and waits for a file that another process holds.
    """

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
        """
        if not self.path.is_file():
            raise WarehouseMissingError(
                f"The warehouse {self.path} is not there; load the inventory into it or "
                "set REFINERY_WAREHOUSE."
            )
        connection = self._wait_for_connection(read_only=read_only)
        try:
            yield connection
        finally:
            connection.close()

    def _wait_for_connection(self, *, read_only: bool) -> duckdb.DuckDBPyConnection:
        # The lock is DuckDB's own and announces its release to nobody, so it is tried again and again.
        deadline = time.monotonic() + LOCK_WAIT_SECONDS
        while True:
            try:
                return duckdb.connect(self.path, read_only=read_only, config=self.connection_config)
            except duckdb.IOException as error:
                if "lock" not in str(error):
                    raise
                if time.monotonic() >= deadline:
                    raise WarehouseHeldError(
                        f"The warehouse {self.path} is still held by another process after "
                        f"{LOCK_WAIT_SECONDS:g} s; close it there and run again. DuckDB says: {error}"
                    ) from error
                time.sleep(_LOCK_POLL_SECONDS)
