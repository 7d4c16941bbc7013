"""The demo: a sample fleet, its whole history refined in one Dagster run, and the audit on the screen.

Here: the order of these, and the printing. Not here: the sample (`sample_feed.py`) and the graph
(`definitions.py`), which runs exactly as it does for real files.

    python -m refinery_assets.sample.demo --hosts 2000 --first 2023-01 --last 2025-12
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import dagster as dg
import duckdb
from rich.console import Console
from rich.table import Table

from refinery_assets.build import build_defs
from refinery_assets.contract.months import Month
from refinery_assets.contract.settings import PROJECT_ROOT, Settings
from refinery_assets.feed.files import feed_files
from refinery_assets.operations.automation import REFINE
from refinery_assets.operations.runs import FinishedRun, start_run
from refinery_assets.sample.feed import make_sample, month_argument

SEED = 7


class DemoError(Exception):
    """The demo will not run; the message says why and what to do."""


@dataclass(frozen=True)
class SampleOrder:
    """What the sample in the data folder was made from, kept beside it in `sample.json`."""

    hosts: int
    first: str
    last: str
    seed: int = SEED


def ensure_sample(folder: Path, order: SampleOrder) -> Settings:
    """Make the sample unless it is there; another sample gives way, somebody's own files never do.

    Returns:
        Settings that point at the sample.

    Raises:
        DemoError: The folder holds a feed or a warehouse that the demo did not make.
    """
    settings = Settings(
        feed=folder / "legacy" / "inputs",
        warehouse=folder / "refinery.duckdb",
        telemetry=folder / "telemetry",
        first_month=min(Month.parse(order.first), Settings.first_month),
    )
    note = folder / "sample.json"
    made = json.loads(note.read_text()) if note.exists() else None
    months = list(Month.span(Month.parse(order.first), Month.parse(order.last)))
    if (
        made == asdict(order)
        and settings.warehouse.exists()
        and all(file.path.exists() for file in feed_files(settings.feed, months))
    ):
        return settings
    if not note.exists() and (settings.feed.exists() or settings.warehouse.exists()):
        raise DemoError(
            f"{folder} holds a feed or a warehouse that the demo did not make. To refine them, run "
            "`make ui`; to see the demo, run it in a checkout of its own."
        )
    for tree in (settings.feed, settings.telemetry):
        shutil.rmtree(tree, ignore_errors=True)
    settings.warehouse.unlink(missing_ok=True)
    # A note is there from the start, so that an interrupted sample is known as one and made anew.
    folder.mkdir(parents=True, exist_ok=True)
    note.write_text(json.dumps(None))
    make_sample(
        folder,
        hosts=order.hosts,
        first=months[0],
        last=months[-1],
        seed=order.seed,
        progress=sys.stderr.isatty(),
    )
    note.write_text(json.dumps(asdict(order)))
    return settings


def refine(settings: Settings, first: Month, last: Month, instance: dg.DagsterInstance) -> FinishedRun:
    """Run the job `refine` over the whole span in one Dagster run."""
    return start_run(instance, build_defs(settings), REFINE, list(Month.span(first, last)))


def print_checks(result: FinishedRun, console: Console) -> None:
    """Print every check's verdict and the behaviours that were retained."""
    evaluations = sorted(
        result.check_evaluations, key=lambda found: (str(found.asset_key.path), found.check_name)
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
    parser = argparse.ArgumentParser(
        prog="python -m refinery_assets.sample.demo", description=__doc__.split("\n")[0]
    )
    parser.add_argument("--hosts", type=int, default=2000, help="how many hosts, 10 or more")
    parser.add_argument("--first", type=month_argument, default=Month(2023, 1), help="first month, YYYY-MM")
    parser.add_argument("--last", type=month_argument, default=Month(2025, 12), help="last month, included")
    parser.add_argument(
        "--folder", type=Path, default=PROJECT_ROOT / "data", help="where sample and table go"
    )
    options = parser.parse_args(arguments)
    console = Console(width=None if sys.stdout.isatty() else 160)
    try:
        settings = ensure_sample(
            options.folder, SampleOrder(options.hosts, str(options.first), str(options.last))
        )
    except (DemoError, ValueError) as error:
        parser.error(str(error))
    console.print(f"Refining {options.first} to {options.last} from {settings.feed} in one Dagster run ...")
    started = time.perf_counter()
    with dg.DagsterInstance.get() as instance:
        result = refine(settings, options.first, options.last, instance)
    seconds = time.perf_counter() - started
    print_checks(result, console)
    if result.success:
        print_published(settings, console)
    console.print(f"Run {result.run_id} {'succeeded' if result.success else 'failed'} in {seconds:.1f} s.")
    return 0 if result.success else 1


if __name__ == "__main__":
    sys.exit(main())
