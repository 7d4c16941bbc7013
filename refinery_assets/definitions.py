"""All that the code location offers, on one screen."""

from __future__ import annotations

import gc
import os
import sys

import dagster as dg
import dagster_polars  # noqa: F401 - loaded here for what it loads

# The quarter of a million objects that Dagster and Polars have loaded by now stay to the end of the process.
# To look through them for garbage again and again, and once more at the end, takes a second of every run.
# DuckDB is to be loaded after this: its library complains at the end of a process when it is not taken down.
if "duckdb" not in sys.modules:
    gc.freeze()

from refinery_assets.alarms import build_failed_runs
from refinery_assets.assets.families import build_family
from refinery_assets.assets.host_inventory import HOST_INVENTORY_SPEC, build_host_inventory_checks
from refinery_assets.assets.legacy_feed import build_legacy_feed
from refinery_assets.assets.processed_data import build_processed_data
from refinery_assets.assets.reports import Drawer
from refinery_assets.automation import build_daily_refine, build_jobs
from refinery_assets.contract import FAMILIES
from refinery_assets.feed_sensor import build_feed_changes
from refinery_assets.housekeeping import build_housekeeping
from refinery_assets.partitions import monthly_partitions
from refinery_assets.resources import Warehouse
from refinery_assets.settings import Settings
from refinery_assets.telemetry import TelemetryIOManager


def build_defs(settings: Settings) -> dg.Definitions:
    """The graph over the given settings; tests call it with their own."""
    partitions = monthly_partitions(settings)
    return dg.Definitions(
        assets=[
            build_legacy_feed(settings, partitions),
            *(build_family(family, settings, partitions) for family in FAMILIES),
            HOST_INVENTORY_SPEC,
            build_processed_data(settings, partitions),
        ],
        asset_checks=[build_host_inventory_checks(settings)],
        jobs=build_jobs(),
        schedules=[build_daily_refine(settings)],
        sensors=[build_feed_changes(settings), build_failed_runs(settings), build_housekeeping(settings)],
        resources={
            "warehouse": Warehouse(
                database=str(settings.warehouse),
                connection_config={"memory_limit": f"{settings.memory_mib}MiB"},
                lock_wait_seconds=settings.lock_wait_seconds,
            ),
            "drawer": Drawer(folder=str(settings.reports)),
            "io_manager": TelemetryIOManager(base_dir=str(settings.telemetry)),
        },
        # The steps share the machine's cores within themselves; a process for each costs seconds a step.
        executor=dg.in_process_executor,
    )


defs = build_defs(Settings.from_environment(os.environ))
