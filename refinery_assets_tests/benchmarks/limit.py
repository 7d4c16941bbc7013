"""The limit: what DuckDB takes at least to land the feed in one table, nothing checked.

    python -m refinery_assets_tests.benchmarks.limit FEED WAREHOUSE

One INSERT a family, explicit columns, into a new file; the order of the rows is left to DuckDB.
"""

from __future__ import annotations

import sys
from pathlib import Path

import duckdb

from refinery_assets.contract.packaged import FAMILIES


def land(feed: Path, warehouse: Path) -> None:
    """Land all files below `feed` in the table `landed`."""
    with duckdb.connect(warehouse, config={"preserve_insertion_order": False}) as connection:
        connection.execute(
            "CREATE TABLE landed (ds TIMESTAMP, host_id VARCHAR, resource VARCHAR, y DOUBLE, capacity DOUBLE)"
        )
        for family in FAMILIES:
            types = ("TIMESTAMP", "VARCHAR", "DOUBLE", "DOUBLE")
            columns = dict(zip(family.columns, types, strict=True))
            connection.execute(
                f"""
                INSERT INTO landed
                SELECT date, host_id, $resource, {family.value}, {family.capacity}
                FROM read_csv($files, header = true, columns = {columns})
                """,
                {"resource": family.resource, "files": f"{feed}/*/*/{family.name}_*.csv"},
            )


if __name__ == "__main__":
    land(Path(sys.argv[1]), Path(sys.argv[2]))
