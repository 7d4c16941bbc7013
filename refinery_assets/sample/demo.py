"""The demo: a sample fleet, its whole history refined in one Dagster run, and the audit on the screen.

Here: the order of these, and the printing. Not here: where it all lies (`demo_folder.py`) and the graph
(`definitions.py`), which runs exactly as it does for real files.

    python -m refinery_assets.sample.demo --hosts 2000 --first 2023-01 --last 2025-12
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import dagster as dg
import duckdb
from rich.console import Console
from rich.table import Table

from refinery_assets.build import build_defs
from refinery_assets.contract.months import Month
from refinery_assets.contract.settings import Settings
from refinery_assets.operations.automation import REFINE
from refinery_assets.operations.partitions import range_tags
from refinery_assets.sample.demo_folder import DEMO_FOLDER, DemoError, DemoFolder, SampleOrder
from refinery_assets.sample.feed import month_argument


def refine(settings: Settings, first: Month, last: Month, instance: dg.DagsterInstance) -> dg.ExecuteInProcessResult:
    """Run the job `refine` over the whole span in one Dagster run."""
    return (
        build_defs(settings)
        .resolve_job_def(REFINE)
        .execute_in_process(
            instance=instance,
            tags=range_tags(first, last),
            run_config={"loggers": {"console": {"config": {"log_level": "ERROR"}}}},
            raise_on_error=False,
        )
    )


def forget_earlier_samples(settings: Settings, instance: dg.DagsterInstance) -> None:
    """Show no month as materialized that only another sample held; its runs stay on the page *Runs*."""
    graph = build_defs(settings).resolve_asset_graph()
    instance.wipe_assets(list(graph.materializable_asset_keys))


def how_to_see(folder: DemoFolder) -> str:
    """The command that opens the UI on the demo's data."""
    if folder.root == DEMO_FOLDER:
        return "make ui DEMO=1"
    return f"(. {shlex.quote(str(folder.settings_file))} && .venv/bin/dg dev)"


def print_checks(result: dg.ExecuteInProcessResult, console: Console) -> None:
    """Print every check's verdict and the behaviours that were retained."""
    evaluations = sorted(
        result.get_asset_check_evaluations(), key=lambda found: (str(found.asset_key.path), found.check_name)
    )
    checks = Table("asset", "check", "verdict", "what was found", title="Checks")
    for found in evaluations:
        verdict = "passed" if found.passed else found.severity.value.lower()
        checks.add_row(found.asset_key.to_user_string(), found.check_name, verdict, found.description)
    console.print(checks)
    for found in evaluations:
        if found.check_name == "behavioral_retention":
            console.print(_behaviors(found))


def print_published(settings: Settings, console: Console) -> None:
    """Print what stands in the warehouse."""
    with duckdb.connect(settings.warehouse, read_only=True) as connection:
        published = connection.execute(
            "SELECT count(*), count(DISTINCT date_trunc('month', ds)), count(*) FILTER (is_imputed), "
            "(SELECT count(*) FROM quarantined_rows) FROM processed_data"
        ).fetchall()
    for rows, months, imputed, quarantined in published:
        console.print(
            f"Published: {rows:,} rows in {months} months, {imputed:,} of them imputed; "
            f"{quarantined:,} rows quarantined."
        )


def _behaviors(retention: dg.AssetCheckEvaluation) -> Table:
    behaviors = Table("behaviour", "hosts in inventory", "hosts retained", "rows", title="Behaviours")
    for column in behaviors.columns[1:]:
        column.justify = "right"
    kept = retention.metadata["behaviors"]
    if isinstance(kept, dg.TableMetadataValue):
        for record in kept.records:
            row = record.data
            behaviors.add_row(
                str(row["behavior"]),
                *(f"{row[name]:,}" for name in ("hosts_in_inventory", "hosts_retained", "rows")),
            )
    return behaviors


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the exit status is 0 only when every month was published."""
    parser = argparse.ArgumentParser(prog="python -m refinery_assets.sample.demo", description=__doc__.split("\n")[0])
    parser.add_argument("--hosts", type=int, default=2000, help="how many hosts, 10 or more")
    parser.add_argument("--first", type=month_argument, default=Month(2023, 1), help="first month, YYYY-MM")
    parser.add_argument("--last", type=month_argument, default=Month(2025, 12), help="last month, included")
    parser.add_argument("--folder", type=Path, default=DEMO_FOLDER, help="where all of it goes")
    options = parser.parse_args(arguments)
    folder = DemoFolder(options.folder.resolve())
    order = SampleOrder(options.hosts, str(options.first), str(options.last))
    console = Console(width=None if sys.stdout.isatty() else 160)
    try:
        is_new = folder.prepare(order, progress=sys.stderr.isatty())
    except ValueError as error:
        parser.error(f"{error}.")
    except (DemoError, duckdb.Error, OSError) as error:
        parser.error(str(error))
    settings = folder.settings(order)
    console.print(f"Refining {options.first} to {options.last} from {settings.feed} in one Dagster run ...")
    started = time.perf_counter()
    os.environ["DAGSTER_HOME"] = str(folder.dagster_home)
    with dg.DagsterInstance.get() as instance:
        if is_new:
            forget_earlier_samples(settings, instance)
        result = refine(settings, options.first, options.last, instance)
    seconds = time.perf_counter() - started
    print_checks(result, console)
    if result.success:
        print_published(settings, console)
    console.print(f"Run {result.run_id} {'succeeded' if result.success else 'failed'} in {seconds:.1f} s.")
    console.print(f"See it in the Dagster UI: {how_to_see(folder)}")
    return 0 if result.success else 1


if __name__ == "__main__":
    sys.exit(main())
