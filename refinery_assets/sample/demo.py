"""The demo: a sample fleet, its whole history refined in one Dagster run, and the outcome in plain words.

Here: the order of these, and the words. Not here: where it all lies (`demo_folder.py`), what happens to the fleet
(`story.py`), and the graph (`build.py`), which runs exactly as it does for real files.
"""

from __future__ import annotations

import os
import shlex
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import dagster as dg
import duckdb

from refinery_assets.assets.command_runs import open_instance, refine_months
from refinery_assets.build import build_defs
from refinery_assets.checks.rules import counted
from refinery_assets.contract.months import Month
from refinery_assets.contract.settings import PROJECT_ROOT, Settings
from refinery_assets.reports.month_results import MonthOutcome, Outcomes
from refinery_assets.reports.terminal import print_failed_checks, print_months, print_problems, stderr, stdout
from refinery_assets.sample.demo_folder import DEMO_FOLDER, DemoFolder, SampleOrder

_CHECK_OF_A_CUT_FILE = "fragmentation_complete"
_FAULTS_SHOWN = 3


def run_demo(root: Path | None, hosts: int, first: Month, last: Month) -> Outcomes:
    """Make the sample unless it is there, refine its whole history in one run, and print the outcome.

    Args:
        root: The folder that all of it goes to; None: the project's own.
        hosts: How many hosts, 10 or more.
        first: The first month.
        last: The last month.

    Returns:
        The outcomes of the months, without the one that is meant to be refused.

    Raises:
        ValueError: There is no such sample.
        DemoError: Files that the demo did not write are in its way, or the warehouse cannot be opened.
        OSError: The folder cannot be written.
    """
    folder = DemoFolder((root or DEMO_FOLDER).resolve())
    order = SampleOrder(hosts, str(first), str(last))
    console = stdout()
    started = time.perf_counter()
    console.print(f"Sample: {counted(hosts, 'host')}, {first} to {last}, in {folder.root} ...", markup=False)
    is_new = folder.prepare(order, progress=sys.stderr.isatty())
    seconds = time.perf_counter() - started
    console.print(f"Sample: made in {seconds:.1f} s." if is_new else "Sample: it is there from an earlier demo.")

    settings = folder.settings(order)
    started = time.perf_counter()
    console.print(f"Refining {counted(len(order.months), 'month')} in one Dagster run ...")
    # Dagster's configuration names its files by it.
    os.environ["DAGSTER_HOME"] = str(folder.dagster_home)
    defs = build_defs(settings)
    with open_instance(folder.dagster_home) as instance:
        if is_new:
            forget_earlier_samples(defs, instance)
        outcomes = refine_months(instance, defs, order.months, stderr())
    if outcomes.problems:
        print_problems(outcomes, console)
        console.print("Run the demo again to finish it.")
        return outcomes
    console.print(f"Refined in {time.perf_counter() - started:.1f} s, Dagster run {', '.join(outcomes.runs)}.\n")

    meant, others = _split(folder, order, outcomes)
    print_months(outcomes, console)
    console.print()
    standing = [Month.parse(each.month) for each in outcomes.months if each.rows]
    if standing:
        for line in published_lines(settings):
            console.print(line, markup=False)
    print_failed_checks(outcomes, console)
    commands = _Commands(folder)
    if meant is not None:
        for line in repair_lines(folder, order, commands):
            console.print(line, markup=False)
    if standing:
        for line in next_lines(settings, standing[-1], commands):
            console.print(line, markup=False)
    return others


def forget_earlier_samples(defs: dg.Definitions, instance: dg.DagsterInstance) -> None:
    """Show no month as materialized that only another sample held; its runs stay on the page *Runs*."""
    instance.wipe_assets(list(defs.resolve_asset_graph().materializable_asset_keys))


def _split(folder: DemoFolder, order: SampleOrder, outcomes: Outcomes) -> tuple[MonthOutcome | None, Outcomes]:
    """The month that is refused as it is meant to be, and all else."""
    cut = folder.cut_file(order)
    for each in outcomes.months:
        if cut and each.month == str(cut.month) and {check.check for check in each.failed} == {_CHECK_OF_A_CUT_FILE}:
            return each, replace(outcomes, months=[other for other in outcomes.months if other is not each])
    return None, outcomes


def published_lines(settings: Settings) -> Iterator[str]:
    """What stands in the warehouse: rows, hosts, imputed rows, and some of the quarantined ones."""
    with duckdb.connect(settings.warehouse, read_only=True) as connection:
        [(rows, months, imputed)] = connection.execute(
            "SELECT count(*), count(DISTINCT date_trunc('month', ds)), count(*) FILTER (is_imputed) FROM processed_data"
        ).fetchall()
        hosts = connection.execute(
            "SELECT month, count(DISTINCT host_id) FROM series_months GROUP BY month ORDER BY month"
        ).fetchall()
        [(behaviors,)] = connection.execute(
            "SELECT count(DISTINCT (scenario, variant)) FROM hosts SEMI JOIN series_months ON host_id = node_name"
        ).fetchall()
        [(quarantined,)] = connection.execute("SELECT count(*) FROM quarantined_rows").fetchall()
        faulty = connection.execute(
            """
            SELECT source_file, source_line, fault, raw FROM quarantined_rows
            QUALIFY row_number() OVER (PARTITION BY fault ORDER BY source_file, source_line) = 1
            ORDER BY source_file, source_line LIMIT $shown
            """,
            {"shown": _FAULTS_SHOWN},
        ).fetchall()
    yield f"Published: {counted(rows, 'row')} in {counted(months, 'month')}, all {behaviors} behaviors retained."
    if len(hosts) > 1:
        (first, at_first), (last, at_last) = hosts[0], hosts[-1]
        yield f"The fleet changes: {counted(at_first, 'host')} in {first}, {at_last:,} in {last}."
    longest = counted(settings.max_gap_days, "day")
    yield f"Imputed: {imputed:,} of these rows fill gaps of at most {longest} (is_imputed is true)."
    yield f"Quarantined: {counted(quarantined, 'faulty row')}{', for example:' if faulty else '.'}"
    for file, line, fault, raw in faulty:
        yield f"  {fault}: {raw!r}, line {line} of {file}"


class _Commands:
    """Commands to copy into a shell, in the folder where the demo was started."""

    def __init__(self, folder: DemoFolder) -> None:
        self._folder = folder
        self.python = _shell_path(Path(sys.executable))

    def refinery(self, arguments: str) -> str:
        """The command line on the demo's data."""
        program = _shell_path(Path(sys.executable).with_name("refinery"))
        return f"(. {_shell_path(self._folder.settings_file)} && {program} {arguments})"

    @property
    def ui(self) -> str:
        """What opens the UI on the demo's data."""
        is_in_checkout = Path.cwd() == PROJECT_ROOT and (PROJECT_ROOT / "Makefile").exists()
        return "make ui DEMO=1" if is_in_checkout and self._folder.root == DEMO_FOLDER else self.refinery("ui")


def _shell_path(path: Path) -> str:
    """A path for a shell; one below the working folder with a slash, without which `.` would search for it."""
    below = path.is_relative_to(Path.cwd())
    return shlex.quote(f"./{path.relative_to(Path.cwd())}" if below else str(path))


def repair_lines(folder: DemoFolder, order: SampleOrder, commands: _Commands) -> Iterator[str]:
    """How to repair the month that is refused."""
    cut = folder.cut_file(order)
    if cut is None or not cut.redelivered.exists():
        return
    yield "  That is part of the demo. The whole file has been delivered since; put it in place and run again:"
    yield f"    mv {_shell_path(cut.redelivered)} {_shell_path(cut.file)}"
    yield f"    {commands.refinery(f'run {cut.month}')}"


def next_lines(settings: Settings, month: Month, commands: _Commands) -> Iterator[str]:
    """What to do next: the UI, a query, a report."""
    table = f"""duckdb.connect("{settings.read_copy}", read_only=True).table("processed_data")"""
    query = f"import duckdb; {table}.limit(20).show()"
    yield ""
    yield "What to do next:"
    yield f"  open the Dagster UI   {commands.ui}"
    yield f"  query the table       {commands.python} -c {shlex.quote(query)}"
    yield f"  read a month's report {commands.refinery(f'report {month}')}"
