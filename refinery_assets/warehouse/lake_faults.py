"""What is said of a lake that cannot be opened, read or written: the cause first, then what to do about it.

Here: DuckDB's and PostgreSQL's messages to sentences. Not here: when a lake is opened (`lake.py`).
"""

from __future__ import annotations

import re
from pathlib import Path

import duckdb

from refinery_assets.contract.lake import Lake, without_passwords
from refinery_assets.warehouse.storage import (
    DataElsewhereError,
    WarehouseHeldError,
    WarehouseMissingError,
    WarehouseUnusableError,
)

# Of a catalog's file that is open elsewhere, by DuckDB in another process and in this one, and by SQLite.
_HELD = ("lock on file", "Unique file handle conflict", "database is locked")
# PostgreSQL says so of a role that lacks a right; the statement that it was is not worth showing.
_DENIED = re.compile(r"permission denied (?:for \w+ \S+|to create [^\n]+)|must be owner of [^\n]+")
# The operating system says so of a user.
_NOT_WRITABLE = re.compile(r'(?:Cannot open file|Failed to create directory) "[^"]+": Permission denied')
# What DuckDB has failed to open, read or write; DuckDB 2 may have that message quoted in another one.
_FILE = re.compile(r'(?:Cannot|Could not|Failed to) [a-z ]*(?:file|directory) \\?"(?P<path>[^"\\]+)')
_NOT_CONNECTED = re.compile(r'Unable to connect to Postgres at ".*?": (?P<cause>.*)')
_NOT_SIGNED_IN = re.compile(r"authentication failed|no password supplied|no pg_hba.conf entry|role .* does not exist")
_NOT_REACHED = re.compile(
    r"connection refused|could not translate host name|timed? ?out|no route to host|network is unreachable"
    r"|no such file or directory|server closed the connection|starting up|shutting down",
    re.IGNORECASE,
)
# What is said of a connection to PostgreSQL that ended in the middle; some of it DuckDB raises as its plainest error.
_BROKE_OFF = re.compile(
    r"server closed the connection|terminating connection|Failed to execute query \"(?:ROLLBACK|COMMIT)\"|"
    r"no connection to the server"
)
_ENDED = re.compile(r"FATAL:[^\n]+|server closed the connection[^\n]*|no connection to the server")
# As long as a connection stands, PostgreSQL answers on it; what ends one is FATAL.
_ANSWERED = re.compile(r"\bERROR:  (?P<said>[^\n]+)")
_LIBPQ_ASKS = re.compile(r"\s*Is the server running[^?]*\?")
_OTHER_DATA = re.compile(r'does not match existing data path in the catalog "(?P<data>[^"]*?)/?"')


def is_held(error: duckdb.Error) -> bool:
    """Whether another process has the catalog's file open."""
    return any(words in str(error) for words in _HELD)


def held(lake: Lake, error: duckdb.Error, wait_seconds: float) -> WarehouseHeldError:
    """A catalog's file is open elsewhere for longer than is waited for."""
    return WarehouseHeldError(
        f"The catalog of the lake {lake} is still held by another process after {wait_seconds:g} s; a catalog in a "
        f"file takes one writer at a time. Close it there and run again. DuckDB says: {first_line(error)}"
    )


def missing(lake: Lake) -> WarehouseMissingError:
    """There is no such catalog."""
    return WarehouseMissingError(f"There is no lake {lake} yet; make it with: refinery lake init")


def keeps_data_elsewhere(lake: Lake, error: duckdb.Error) -> DataElsewhereError | None:
    """`REFINERY_LAKE_DATA` is another place than the catalog names; None where that is not what is wrong."""
    found = _OTHER_DATA.search(str(error))
    if found is None:
        return None
    return DataElsewhereError(
        f"The lake {lake} keeps its data in {found['data']}, and REFINERY_LAKE_DATA is {lake.data}; set it to the "
        "place that the catalog names."
    )


def broke_off(lake: Lake, error: duckdb.Error) -> WarehouseHeldError | None:
    """PostgreSQL went away in the middle; None where that is not what is wrong."""
    if not lake.takes_many_writers or _NOT_CONNECTED.search(first_line(error)):
        return None
    if _ANSWERED.search(str(error)) or (type(error) is not duckdb.Error and not _BROKE_OFF.search(str(error))):
        return None
    return WarehouseHeldError(
        f"The catalog of the lake {lake} dropped the connection, as it does when PostgreSQL restarts. Published months "
        "are intact; the write in progress was rolled back, unless its commit had already arrived. Check that "
        f"PostgreSQL is up, then run again. DuckDB says: {_last_words(error)}."
    )


def refused_by_postgresql(lake: Lake, error: duckdb.Error) -> WarehouseUnusableError | None:
    """PostgreSQL answered that it cannot do something, as with a full disk; None where that is not what is wrong."""
    answered = _ANSWERED.search(str(error)) if lake.takes_many_writers else None
    if answered is None:
        return None
    return WarehouseUnusableError(
        f"PostgreSQL cannot do what is asked of it in the catalog of the lake {lake}, which holds what was published "
        f"before: {without_passwords(answered['said']).rstrip('.')}. Mend that there (its log says more), then run "
        "again."
    )


def lies_elsewhere(lake: Lake, error: duckdb.Error) -> WarehouseUnusableError | None:
    """A file cannot be opened, read or written that is not the lake's; None where that is not what is wrong."""
    found = _FILE.search(str(error))
    if found is None or f"{found['path']}/".startswith(f"{lake.data}/"):
        return None
    # The catalog's own, and what its kind of database keeps beside it.
    if lake.file is not None and found["path"].startswith(str(lake.file)):
        return None
    return WarehouseUnusableError(
        f"DuckDB cannot use {found['path']}, which is not the lake's, and the lake {lake} is unchanged. DuckDB says: "
        f"{first_line(error).rstrip('.')}. Check the permissions and the free space there (what DuckDB has no memory "
        "for goes to TMPDIR), then run again."
    )


def may_not(lake: Lake, error: duckdb.Error) -> WarehouseUnusableError | None:
    """A right is lacking, in PostgreSQL or in the folder of the data; None where that is not what is wrong."""
    if denied := _DENIED.search(str(error)):
        return WarehouseUnusableError(
            f"PostgreSQL does not let this role do that in the lake {lake}, which is unchanged: {denied[0]}. Make, "
            "write and maintain it as the role that owns the catalog (docs/many-machines.md, Roles): set user= in "
            "REFINERY_WAREHOUSE, or PGUSER."
        )
    if denied := _NOT_WRITABLE.search(str(error)):
        return WarehouseUnusableError(
            f"The operating system denied access to the data of the lake {lake}, and what is published is "
            f"unchanged: {denied[0]}. Make, write and maintain it as the user that owns {lake.data} "
            "(docs/many-machines.md, Roles)."
        )
    return None


def unusable(lake: Lake, error: duckdb.Error) -> WarehouseUnusableError:
    """Catalog or data cannot be reached, or cannot be written."""
    if found := _NOT_CONNECTED.search(first_line(error)):
        return WarehouseUnusableError(_not_connected(lake, _LIBPQ_ASKS.sub("", found["cause"]).strip().rstrip(".")))
    data = f"the permissions and free space in {lake.data}"
    if lake.bucket is not None:
        data = f"that {lake.data} does, and what the keys in AWS_ACCESS_KEY_ID may do there"
    return WarehouseUnusableError(
        f"The lake {lake} cannot be used, and holds what was published before. DuckDB says: "
        f"{first_line(error).rstrip('.')}. Check "
        f"that its catalog answers, and {data}, then run again."
    )


def _not_connected(lake: Lake, cause: str) -> str:
    if _NOT_SIGNED_IN.search(cause):
        return (
            f"PostgreSQL does not let this role sign in to the catalog of the lake {lake}: {cause}. Check user= in "
            "REFINERY_WAREHOUSE, or PGUSER, and the password in ~/.pgpass (mode 600), PGSERVICE or PGPASSWORD."
        )
    if _NOT_REACHED.search(cause):
        return (
            f"The catalog of the lake {lake} cannot be reached: {cause}. Check host= and port= in REFINERY_WAREHOUSE, "
            "and that PostgreSQL runs there and takes connections from this machine, then run again."
        )
    return f"The catalog of the lake {lake} cannot be opened: {cause}. Check what REFINERY_WAREHOUSE names."


def inventory_unreadable(file: Path, table: str, error: duckdb.Error) -> str:
    """The database that an inventory is to be taken from cannot be opened, which is no fault of the lake."""
    if "with version number" in str(error):
        return (
            f"The inventory {file} is in a format that DuckDB {duckdb.__version__} does not read: a later DuckDB wrote "
            f"it. With that one, write the table as Parquet (COPY {table} TO 'hosts.parquet'), and take that in; or "
            "make the file with STORAGE_VERSION 'v1.4.0'."
        )
    return f"The inventory {file} cannot be read. DuckDB says: {first_line(error)}"


def _last_words(error: duckdb.Error) -> str:
    """How a connection ended, without the statement before, which may be as long as a publication."""
    said = str(error).strip()
    found = _ENDED.search(said)
    return without_passwords(found[0] if found else said.rpartition("\n")[2]).strip(' .:"')


def first_line(error: duckdb.Error) -> str:
    """What DuckDB says, on one line and without a password."""
    return without_passwords(" ".join(str(error).split()))
