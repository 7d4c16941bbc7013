"""The plain script that people write first: let DuckDB guess, then count rows and behaviors.

    python -m refinery_assets_tests.benchmarks.script FEED WAREHOUSE

The warehouse holds the inventory `hosts`.
"""

from __future__ import annotations

import sys
from pathlib import Path

import duckdb

from refinery_assets.contract.packaged import FAMILIES


def refine(feed: Path, warehouse: Path) -> tuple[int, int]:
    """Read every file into the table `processed`; give its rows, and the behaviors among its hosts."""
    with duckdb.connect(warehouse) as connection:
        connection.execute("DROP TABLE IF EXISTS processed")
        connection.execute(
            "CREATE TABLE processed (ds TIMESTAMP, host_id VARCHAR, resource VARCHAR, y DOUBLE, capacity DOUBLE)"
        )
        for family in FAMILIES:
            connection.execute(
                f"INSERT INTO processed SELECT date, host_id, $resource, {family.value}, "
                f"{family.capacity} "
                "FROM read_csv_auto($files)",
                {"resource": family.resource, "files": f"{feed}/*/*/{family.name}_*.csv"},
            )
        ((rows,),) = connection.execute("SELECT count(*) FROM processed").fetchall()
        ((behaviors,),) = connection.execute(
            "SELECT count(DISTINCT scenario || '/' || variant) FROM processed JOIN hosts ON host_id = node_name"
        ).fetchall()
    return rows, behaviors


if __name__ == "__main__":
    sys.stdout.write("{} rows, {} behaviors\n".format(*refine(Path(sys.argv[1]), Path(sys.argv[2]))))
