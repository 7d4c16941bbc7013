"""Writes the published table as Parquet files, a folder per month.

    python -m refinery_assets.export [--to data/export] [--first 2024-01] [--last 2024-12]

Without months, all of the table. The layout is described in `warehouse/export.py`; settings are those of the
refinery.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from refinery_assets.assets.resources import (
    Warehouse,
    WarehouseHeldError,
    WarehouseMissingError,
    WarehouseUnusableError,
)
from refinery_assets.contract.settings import PROJECT_ROOT, SettingError, Settings
from refinery_assets.sample.feed import month_argument
from refinery_assets.warehouse.export import export_months, published_months


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the exit status is 0 when every month was written."""
    parser = argparse.ArgumentParser(prog="python -m refinery_assets.export", description=__doc__.partition("\n")[0])
    parser.add_argument("--to", type=Path, default=PROJECT_ROOT / "data" / "export", help="the folder")
    parser.add_argument("--first", type=month_argument, help="first month, YYYY-MM; else the table's first")
    parser.add_argument("--last", type=month_argument, help="last month, included; else the table's last")
    options = parser.parse_args(arguments)
    try:
        settings = Settings.from_environment(os.environ)
        warehouse = Warehouse(database=str(settings.warehouse), lock_wait_seconds=settings.lock_wait_seconds)
        with warehouse.get_connection(read_only=True) as connection:
            months = [
                month
                for month in published_months(connection)
                if (options.first or month) <= month <= (options.last or month)
            ]
            for month, rows in export_months(connection, months, options.to):
                sys.stdout.write(f"{month}: {rows} rows\n")
    except (
        SettingError,
        WarehouseMissingError,
        WarehouseHeldError,
        WarehouseUnusableError,
        OSError,
    ) as error:
        parser.exit(1, f"{error}\n")
    if not months:
        parser.exit(1, "No such month is published.\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
