"""The warehouse's file: in which version of DuckDB's format the refinery makes it.

Here: making a file that is not there yet. Not here: opening the warehouse for a run, which never makes it
(`assets/resources.py`), and the tables in it (`tables.py`).
"""

from __future__ import annotations

from pathlib import Path

import duckdb

STORAGE_VERSION = "v1.4.0"
"""What notebooks and BI tools with the long-supported DuckDB 1.4 can read, too. DuckDB 2's own format saves
neither time nor room, and shuts them out."""


def open_or_make_warehouse(path: Path) -> duckdb.DuckDBPyConnection:
    """Open the file for writing, and make it, with `STORAGE_VERSION`, if it is not there.

    A file that is there keeps the version that it was made with.

    Raises:
        OSError: The file's folder cannot be made.
        duckdb.Error: The file cannot be opened.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    return duckdb.connect(path, config={"storage_compatibility_version": STORAGE_VERSION})
