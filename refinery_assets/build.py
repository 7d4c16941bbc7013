"""The graph over given settings: assets, checks, jobs, schedule, sensors and resources.

Here: putting them together. Not here: the environment, which `definitions.py` reads at import.
"""

from __future__ import annotations

import dagster as dg

from refinery_assets.assets.accept import build_accept
from refinery_assets.assets.families import build_family
from refinery_assets.assets.host_inventory import build_host_inventory, build_host_inventory_checks
from refinery_assets.assets.io_manager import TelemetryIOManager
from refinery_assets.assets.legacy_feed import build_legacy_feed
from refinery_assets.assets.monthly_report import build_monthly_report
from refinery_assets.assets.processed_data import build_processed_data
from refinery_assets.assets.resources import warehouse_of
from refinery_assets.contract.settings import Settings
from refinery_assets.operations.alerts import build_failed_runs
from refinery_assets.operations.automation import build_daily_refine, build_jobs
from refinery_assets.operations.feed_sensor import build_feed_changes
from refinery_assets.operations.housekeeping import build_housekeeping
from refinery_assets.operations.lateness import build_late_month
from refinery_assets.operations.partitions import monthly_partitions
from refinery_assets.operations.runs import in_this_process


def build_defs(settings: Settings) -> dg.Definitions:
    """The graph over the given settings; tests call it with their own."""
    partitions = monthly_partitions(settings)
    lake_jobs, lake_schedules = _of_lake(settings)
    return dg.Definitions(
        assets=[
            build_legacy_feed(settings, partitions),
            *(build_family(family, settings, partitions) for family in settings.contract.families),
            build_host_inventory(settings, partitions),
            build_processed_data(settings, partitions),
            build_monthly_report(settings, partitions),
        ],
        asset_checks=[build_host_inventory_checks(settings, partitions)],
        jobs=[*build_jobs(), build_accept(settings), *lake_jobs],
        schedules=[build_daily_refine(settings), *lake_schedules],
        sensors=[
            build_feed_changes(settings),
            build_failed_runs(settings),
            build_late_month(settings),
            build_housekeeping(settings),
        ],
        resources={
            "warehouse": warehouse_of(settings),
            "io_manager": TelemetryIOManager(
                base_dir=str(settings.telemetry), lake_data=str(settings.lake.data) if settings.lake else ""
            ),
        },
        # The steps share the machine's cores within themselves; a process for each costs seconds a step.
        executor=in_this_process,
    )


def _of_lake(settings: Settings) -> tuple[list[dg.JobDefinition], list[dg.ScheduleDefinition]]:
    """The jobs and schedules that there are with a lake alone."""
    if settings.lake is None:
        return [], []
    # Whoever has no lake need not load it.
    from refinery_assets.assets.lake_maintenance import (  # noqa: PLC0415
        build_daily_lake_maintenance,
        build_lake_maintenance,
    )

    return [build_lake_maintenance(settings)], [build_daily_lake_maintenance(settings)]
