"""Files of the table's rows that the families' steps write into a lake, and that publishing only registers.

    <data>/processed_data/year=2024/month=5/resource=cpu/<digest>-<run>-<token>.parquet

A month is published without a copy of its rows: its partition names such a file, with exactly the table's columns, and
the transaction registers it in place of the rows that it deletes. DuckLake would take one path twice, and later delete
the file that is in use as an old one. So a name is never used again, a path that the catalog has ever known is never
registered again, and nothing but the lake's maintenance deletes such a file.

Here: writing them, and which can be registered. Not here: the partitions (`family_partitions.py`).
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path

import duckdb
import polars as pl

from refinery_assets.contract.columns import PROCESSED_DATA
from refinery_assets.contract.families import UTILIZATION_CEILING_PERCENT
from refinery_assets.contract.months import Month
from refinery_assets.contract.places import Place
from refinery_assets.feed.store import OwnStore, open_store
from refinery_assets.rows.family import Refined
from refinery_assets.warehouse.family_partitions import COMPRESSION, Partition, SourceFacts, globs
from refinery_assets.warehouse.lake import NAME

CATALOG = f"__ducklake_metadata_{NAME}"
"""The catalog's own tables, as DuckLake names what it has attached them as."""


def lake_store(data: Place) -> OwnStore:
    """The store that a lake's files lie in."""
    return open_store(data, "REFINERY_LAKE_DATA")


def write_lake_file(data: Place, refined: Refined, run_id: str) -> str | None:
    """Write the rows of a month to be published; gives the file's path or address, None where there are no rows.

    Raises:
        OSError: The file cannot be written.
        StoreError: Likewise.
        pl.exceptions.PolarsError: Likewise.
    """
    stats = refined.stats
    resource = stats.family.resource
    rows = refined.partition.filter(pl.col("fault").is_null()).select(
        "ds",
        "host_id",
        pl.lit(resource).alias("resource"),
        "y",
        pl.lit(UTILIZATION_CEILING_PERCENT, pl.Float64).alias("cap"),
        "capacity",
        "is_imputed",
    )
    if rows.is_empty():
        return None
    folder = f"{PROCESSED_DATA.name}/year={stats.month.year}/month={stats.month.month}/resource={resource}"
    # The token for a step that is tried again in its run.
    name = f"{folder}/{(stats.digest or '')[:16]}-{run_id}-{secrets.token_hex(4)}.parquet"
    store = lake_store(data)
    with store.creating(name) as target:
        rows.write_parquet(target, compression=COMPRESSION)
    return f"{store}/{name}"


def files_to_register(
    connection: duckdb.DuckDBPyConnection,
    data: Place,
    files: Sequence[Partition],
    sources: Mapping[Month, Mapping[str, SourceFacts]],
    *,
    respelled: bool,
) -> dict[str, str]:
    """Which partitions have a file that can stand for their rows, by the partition's path as `globs` has it.

    Not one that is gone, is another lake's or was registered before, nor where the inventory spells a host otherwise,
    nor where some rows must not be published; these partitions' rows are inserted. Needs `_refinery_respelled_hosts`.

    Args:
        connection: The lake.
        data: Where its files lie.
        files: The partitions.
        sources: What they were found to hold.
        respelled: Whether there are any `_refinery_respelled_hosts`.

    Raises:
        StoreError: The object store that the lake's files lie in cannot be reached.
    """
    store = lake_store(data)

    def registrable(file: Partition) -> str | None:
        facts = sources[file.month][file.family.resource]
        path = file.lake_file
        if path is None or not path.startswith(f"{store}/") or facts.bad_ds or facts.bad_host or facts.bad_y:
            return None
        return path if store.look(path.removeprefix(f"{store}/")) is not None else None

    patterns = globs(file.path for file in files)
    paths = store.ask_all(registrable, files)
    found = {pattern: path for pattern, path in zip(patterns, paths, strict=True) if path is not None}
    if found and respelled:
        rows = connection.execute(
            "SELECT DISTINCT filename FROM read_parquet($paths, filename = true) "
            "SEMI JOIN _refinery_respelled_hosts USING (host_id)",
            {"paths": list(found)},
        ).fetchall()
        of_others = set(globs(Path(name) for (name,) in rows))
        found = {pattern: path for pattern, path in found.items() if pattern not in of_others}
    # By their names, which are not used twice: a path is relative to something else in each of these.
    known = connection.execute(
        f"""
        SELECT parse_filename(path) AS name FROM (
            SELECT path FROM {CATALOG}.ducklake_data_file
            UNION ALL SELECT path FROM {CATALOG}.ducklake_files_scheduled_for_deletion
        ) WHERE name IN (SELECT unnest($names::VARCHAR[]))
        """,  # noqa: S608 - a constant of this module
        {"names": [Path(path).name for path in found.values()]},
    ).fetchall()
    used = {name for (name,) in known}
    return {pattern: path for pattern, path in found.items() if Path(path).name not in used}


def register(connection: duckdb.DuckDBPyConnection, paths: Sequence[str]) -> None:
    """Have the rows of files in `processed_data`, in the transaction at hand."""
    for path in paths:
        connection.execute(f"CALL ducklake_add_data_files('{NAME}', '{PROCESSED_DATA.name}', $path)", {"path": path})
