"""Whose a data path is: one lake's, which a small object in it names.

    <data>/refinery-lake.json    {"lake": "b6441a91-6db8-4c24-aa2b-9125572b7f7e"}

DuckLake's maintenance deletes every Parquet file below the data path that the catalog does not know, be it another
lake's, a partition or part of the feed. So `init` takes no path that holds any, and nothing is cleaned where the marker
is not the catalog's own. Nor is anything written there: on a machine that has not mounted the share, nobody else would
see the files. Here: writing the marker, and the refusals. Not here: the cleaning (`lake_maintenance.py`).
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import duckdb

from refinery_assets.checks.rules import counted
from refinery_assets.contract.lake import MARKER, Lake
from refinery_assets.contract.places import ObjectPrefix, Place
from refinery_assets.contract.settings import Settings
from refinery_assets.warehouse.lake import open_lake
from refinery_assets.warehouse.lake_files import CATALOG, lake_store
from refinery_assets.warehouse.storage import DataElsewhereError, WarehouseMissingError, WarehouseUnusableError

_KEY = "lake"
# DuckLake looks for what it may delete by a pattern that begins with the data path.
_OF_PATTERNS = frozenset("*?[")
_ANOTHER = "set REFINERY_LAKE_DATA to a place of this lake's own that holds no Parquet files"


def refuse_shared_places(settings: Settings) -> None:
    """Refuse a data path that reads as a pattern, or is, holds or lies within what others read or write.

    That is the feed, the partitions, the reports, and the file that the contract's inventory may be.

    Raises:
        WarehouseUnusableError: It does.
    """
    data = settings.lake_data
    if letters := sorted(_OF_PATTERNS.intersection(str(data))):
        raise WarehouseUnusableError(
            f"REFINERY_LAKE_DATA, {data}, has {' and '.join(letters)} in it, which DuckLake takes for a pattern when "
            "it deletes orphans, so that it would delete files of other folders: make the lake at a path without "
            f"{' '.join(sorted(_OF_PATTERNS))}."
        )
    others: dict[str, Place] = {
        "REFINERY_FEED": settings.feed,
        "REFINERY_TELEMETRY": settings.telemetry,
        "REFINERY_REPORTS": settings.reports,
    }
    if settings.contract.inventory_file is not None:
        others["the contract's inventory"] = settings.contract.inventory_file
    for variable, other in others.items():
        if _overlap(data, other):
            how = "is" if _parts(data) == _parts(other) else "lies within" if lies_in(data, other) else "holds"
            raise WarehouseUnusableError(
                f"REFINERY_LAKE_DATA, {data}, {how} {variable}, {other}, and maintenance would delete the Parquet "
                f"files there that are not the lake's: {_ANOTHER}."
            )


def refuse_path_of_others(settings: Settings, lake: Lake) -> bool:
    """Refuse a data path that is not this lake's; nothing is made before that.

    A path that is in use is not for a catalog that is new or empty; one that holds nothing is not that of a catalog
    that lists files.

    Returns:
        Whether the catalog is new or empty.

    Raises:
        DataElsewhereError: The path is another lake's, or the catalog's files are not there.
        WarehouseUnusableError: The path holds Parquet files, or cannot be read.
        WarehouseHeldError: Another process holds the catalog's file.
        StoreError: The data's object store cannot be reached or used.
    """
    refuse_shared_places(settings)
    try:
        with open_lake(lake, read_only=True, wait_seconds=settings.lock_wait_seconds) as connection:
            # Of one that init was interrupted in, too, as little is known as of one that is not there.
            ((is_empty, listed),) = connection.execute(
                f"SELECT count(*) = 0, count(*) FILTER (end_snapshot IS NULL) FROM {CATALOG}.ducklake_data_file"  # noqa: S608
            ).fetchall()
            own = _identity(connection)
    except WarehouseMissingError:
        is_empty, listed, own = True, 0, None
    marked = _read(lake.data)
    if marked is not None and marked != own:
        raise _not_its_own(lake, marked)
    if listed and marked is None and _any_parquet(lake.data) is None:
        raise DataElsewhereError(
            f"The catalog of the lake {lake} lists {counted(listed, 'file')}, and {lake.data} (REFINERY_LAKE_DATA) "
            "holds none: see that the share is mounted on this machine, then run refinery lake init again. Nothing was "
            "made."
        )
    if is_empty and (file := _any_parquet(lake.data)) is not None:
        raise WarehouseUnusableError(
            f"The lake {lake} is new, and REFINERY_LAKE_DATA, {lake.data}, already holds Parquet files, such as "
            f"{file}, which maintenance would delete: {_ANOTHER}."
        )
    return bool(is_empty)


def mark(connection: duckdb.DuckDBPyConnection, lake: Lake) -> None:
    """Have the data path say that it is this lake's, unless it does.

    Raises:
        WarehouseUnusableError: It is another's, or cannot be written.
        StoreError: The data's object store cannot be reached or used.
    """
    own, marked = _identity(connection), _read(lake.data)
    if marked is None:
        try:
            lake_store(lake.data).write(MARKER, f"{json.dumps({_KEY: own})}\n".encode())
        except OSError as error:
            raise WarehouseUnusableError(
                f"{lake.data}/{MARKER} (REFINERY_LAKE_DATA) cannot be written: {error.strerror}; mend the permissions "
                "there, and run refinery lake init again."
            ) from error
    elif marked != own:
        raise _not_its_own(lake, marked)


def refuse_to_clean_others(connection: duckdb.DuckDBPyConnection, settings: Settings, lake: Lake) -> None:
    """Refuse to delete anything below a data path that does not say that it is this lake's.

    Raises:
        WarehouseUnusableError: It does not.
        StoreError: The data's object store cannot be reached or used.
    """
    refuse_shared_places(settings)
    marked = _read(lake.data)
    if marked is None:
        raise WarehouseUnusableError(
            f"{lake.data}/{MARKER} is not there, so that nothing says that REFINERY_LAKE_DATA is the lake's own, and "
            "nothing was deleted: see that the share is mounted on this machine. If it is, see to it that no other "
            "lake and nothing else of yours lies there, run refinery lake init, which writes it, and then this again."
        )
    if marked != _identity(connection):
        raise _not_its_own(lake, marked)


def refuse_to_write_elsewhere(connection: duckdb.DuckDBPyConnection, lake: Lake) -> None:
    """Refuse to write below a data path that does not say, on this machine, that it is this lake's.

    Raises:
        DataElsewhereError: It does not.
        WarehouseUnusableError: What it says cannot be read.
        StoreError: The data's object store cannot be reached or used.
    """
    marked = _read(lake.data)
    if marked is None:
        raise DataElsewhereError(
            f"{lake.data}/{MARKER} (REFINERY_LAKE_DATA) is not there, so this may not be where the data of the lake "
            f"{lake} lies, and nothing was written: see that the share is mounted on this machine (of a lake that an "
            "earlier version made, run refinery lake init), then run again."
        )
    if marked != _identity(connection):
        raise _not_its_own(lake, marked)


def _not_its_own(lake: Lake, marked: str) -> DataElsewhereError:
    if not marked:
        return DataElsewhereError(
            f"{lake.data}/{MARKER} (REFINERY_LAKE_DATA) names no lake, as after a full disk, and nothing was made or "
            f"deleted: if the files there are those of the lake {lake}, remove {MARKER} alone and run refinery lake "
            "init, which writes it anew."
        )
    return DataElsewhereError(
        f"REFINERY_LAKE_DATA, {lake.data}, belongs to another lake than {lake}, as {MARKER} there says, and nothing "
        "was made or deleted: see that REFINERY_LAKE_DATA and REFINERY_WAREHOUSE are of one lake. If the catalog of "
        "the data was lost, restore it (docs/many-machines.md, Backup and moving); a new lake wants a place without "
        "Parquet files."
    )


def _identity(connection: duckdb.DuckDBPyConnection) -> str:
    """What no other catalog has: drawn at random when it is made, and the same in a copy that it is restored from."""
    ((found,),) = connection.execute(
        f"SELECT schema_uuid::VARCHAR FROM {CATALOG}.ducklake_schema WHERE schema_id = 0"  # noqa: S608 - a constant
    ).fetchall()
    return str(found)


def _read(data: Place) -> str | None:
    """The lake that the marker names, empty where it names none; None where there is no marker."""
    try:
        content: Any = json.loads(lake_store(data).read_back(MARKER))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise WarehouseUnusableError(
            f"{data}/{MARKER} (REFINERY_LAKE_DATA) cannot be read: {error.strerror}; mend the permissions there, and "
            "run again."
        ) from error
    except ValueError:
        return ""
    found = content.get(_KEY) if isinstance(content, dict) else None
    return found if isinstance(found, str) else ""


def _any_parquet(data: Place) -> str | None:
    """A Parquet file below a data path; None where there is none."""
    if isinstance(data, Path):
        found = (
            str(Path(folder, name))
            for folder, _, names in os.walk(data)
            for name in names
            if name.lower().endswith(".parquet")
        )
        return next(found, None)
    # The library for it is an extra.
    from refinery_assets.feed.object_store import Bucket  # noqa: PLC0415

    listing = Bucket.open(data, "REFINERY_LAKE_DATA").as_of_now()
    names = sorted(name for name in listing.found if name.lower().endswith(".parquet"))
    return f"{data}/{names[0]}" if names else None


def _overlap(one: Place, other: Place) -> bool:
    return lies_in(one, other) or lies_in(other, one)


def lies_in(inner: Place, outer: Place) -> bool:
    """Whether a place is another, or lies below it."""
    if type(inner) is not type(outer) and ObjectPrefix in (type(inner), type(outer)):
        return False
    parts = _parts(outer)
    return _parts(inner)[: len(parts)] == parts


def _parts(place: Place) -> tuple[str, ...]:
    if isinstance(place, ObjectPrefix):
        return (place.bucket, *(part for part in place.prefix.split("/") if part))
    return place.resolve().parts
