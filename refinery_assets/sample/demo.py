"""The demo: a sample fleet, its whole history refined in one Dagster run, and the audit on the screen.

Here: the order of these, and the printing. Not here: where it all lies (`demo_folder.py`) and the graph
(`definitions.py`), which runs exactly as it does for real files.
"""

from __future__ import annotations

import os
import shlex
import sys
import time
from pathlib import Path

import dagster as dg
import duckdb
from rich.console import Console
from rich.table import Table

from refinery_assets.build import build_defs
from refinery_assets.checks.rules import counted
from refinery_assets.contract.months import Month
from refinery_assets.contract.settings import Settings
from refinery_assets.operations.automation import REFINE
from refinery_assets.operations.runs import FinishedRun, start_run
from refinery_assets.sample.demo_folder import DEMO_FOLDER, DemoFolder, SampleOrder


def refine(settings: Settings, first: Month, last: Month, instance: dg.DagsterInstance) -> FinishedRun:
    """Run the job `refine` over the whole span in one Dagster run."""
    return start_run(instance, build_defs(settings), REFINE, list(Month.span(first, last)))


def forget_earlier_samples(settings: Settings, instance: dg.DagsterInstance) -> None:
    """Show no month as materialized that only another sample held; its runs stay on the page *Runs*."""
    graph = build_defs(settings).resolve_asset_graph()
    instance.wipe_assets(list(graph.materializable_asset_keys))


def how_to_see(folder: DemoFolder) -> str:
    """The command that opens the UI on the demo's data."""
    if folder.root == DEMO_FOLDER:
        return "make ui DEMO=1"
    return f"(. {shlex.quote(str(folder.settings_file))} && .venv/bin/refinery ui)"


def print_checks(settings: Settings, run_id: str, console: Console) -> None:
    """Print what every check said of the run's months, and the behaviors that were retained."""
    with duckdb.connect(settings.warehouse, read_only=True) as connection:
        said = connection.execute(
            """
            SELECT asset, check_name, count(*) FILTER (verdict = 'passed'), count(*) FILTER (verdict = 'warning'),
                count(*) FILTER (verdict = 'failed'), count(*) FILTER (verdict = 'not_judged'),
                arg_max(month || ': ' || summary, (verdict = 'failed', verdict = 'warning', month))
            FROM audits WHERE run_id = $run_id GROUP BY asset, check_name ORDER BY min(rowid)
            """,
            {"run_id": run_id},
        ).fetchall()
        retained = connection.execute(
            """
            SELECT upper(scenario) || '/' || upper(variant), count(DISTINCT node_name), count(DISTINCT host_id),
                coalesce(sum(readings + imputed), 0)
            FROM hosts LEFT JOIN series_months ON host_id = node_name GROUP BY ALL ORDER BY 1
            """
        ).fetchall()
    checks = Table(
        "asset", "check", "passed", "warning", "failed", "not judged", "for example", title="Checks, in months"
    )
    behaviors = Table("behavior", "hosts in inventory", "hosts retained", "rows", title="Behaviors")
    for table, first, last in ((checks, 2, 6), (behaviors, 1, 4)):
        for column in table.columns[first:last]:
            column.justify = "right"
    for asset, check, *counts, example in said:
        checks.add_row(asset, check, *(f"{count or ''}" for count in counts), example)
    for behavior, *counts in retained:
        behaviors.add_row(behavior, *(f"{count:,}" for count in counts))
    console.print(checks)
    console.print(behaviors)


def print_published(settings: Settings, console: Console) -> None:
    """Print what stands in the warehouse."""
    with duckdb.connect(settings.warehouse, read_only=True) as connection:
        published = connection.execute(
            "SELECT count(*), count(DISTINCT date_trunc('month', ds)), count(*) FILTER (is_imputed), "
            "(SELECT count(*) FROM quarantined_rows) FROM processed_data"
        ).fetchall()
    for rows, months, imputed, quarantined in published:
        console.print(
            f"Published: {counted(rows, 'row')} in {counted(months, 'month')}, {imputed:,} of them imputed; "
            f"{counted(quarantined, 'row')} quarantined."
        )


def run_demo(root: Path | None, hosts: int, first: Month, last: Month) -> int:
    """Make the sample unless it is there, and refine its whole history in one run.

    Args:
        root: The folder that all of it goes to; None: the project's own.
        hosts: How many hosts, 10 or more.
        first: The first month.
        last: The last month.

    Returns:
        0 when every month was published, else 1.

    Raises:
        ValueError: There is no such sample.
        DemoError: Files that the demo did not write are in its way, or the warehouse cannot be opened.
        OSError: The folder cannot be written.
    """
    folder = DemoFolder((root or DEMO_FOLDER).resolve())
    order = SampleOrder(hosts, str(first), str(last))
    console = Console(width=None if sys.stdout.isatty() else 160)
    is_new = folder.prepare(order, progress=sys.stderr.isatty())
    settings = folder.settings(order)
    console.print(f"Refining {first} to {last} from {settings.feed} in one Dagster run ...")
    started = time.perf_counter()
    os.environ["DAGSTER_HOME"] = str(folder.dagster_home)
    with dg.DagsterInstance.get() as instance:
        if is_new:
            forget_earlier_samples(settings, instance)
        result = refine(settings, first, last, instance)
    seconds = time.perf_counter() - started
    print_checks(settings, result.run_id, console)
    print_published(settings, console)
    for event in result.events:
        if event.is_step_failure and (failure := event.step_failure_data.user_failure_data):
            console.print(failure.description)
    console.print(f"Run {result.run_id} {'succeeded' if result.success else 'failed'} in {seconds:.1f} s.")
    # A command to copy stays in one line.
    console.print(f"See it in the Dagster UI: {how_to_see(folder)}", soft_wrap=True, markup=False)
    return 0 if result.success else 1
