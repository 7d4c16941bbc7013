"""Crashes at random instants, as a harness: kill a real run again and again, and look at what is left.

    python -m refinery_assets_tests.crashes --what month --kills 100
    python -m refinery_assets_tests.crashes --what history --kills 100 --hosts 200
    python -m refinery_assets_tests.crashes --what refused --kills 100

The last is a range of twelve months, of three of which a file is cut, so that the run refuses them.

A round starts the job `refine` in a process of its own, kills it (SIGKILL) at an instant drawn evenly over
the time that an undisturbed run takes in this one, and then opens the warehouse and every Parquet partition as a reader
would. The feed changes with every round, in a value that every row of a month carries, so that old, new and
mixed months can be told apart. In the end an undisturbed run must heal everything.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import duckdb
import polars as pl

from refinery_assets.build import build_defs
from refinery_assets.contract.months import Month
from refinery_assets.contract.packaged import FAMILIES
from refinery_assets.contract.settings import Settings
from refinery_assets.operations.automation import REFINE
from refinery_assets.operations.runs import start_run
from refinery_assets.sample.feed import make_sample
from refinery_assets.warehouse.family_partitions import partitions
from refinery_assets.warehouse.receipts import latest_receipts, table_digests
from refinery_assets_tests.installation import Installation, install
from refinery_assets_tests.scenario import folder

_RUN = """
import sys
from refinery_assets.operations.automation import REFINE
from refinery_assets.definitions import defs
from refinery_assets.operations.runs import start_run
from refinery_assets.contract.months import Month
import dagster as dg
with dg.DagsterInstance.get() as instance:
    sys.stdout.write("ready\\n")
    sys.stdout.flush()
    first, last = (Month.parse(text) for text in sys.argv[1:])
    ran = start_run(instance, defs, REFINE, list(Month.span(first, last)))
sys.exit(not ran.success)
"""
_CAPACITY = 10_000_000
"""What a round adds to it says which round it is, and is too little for capacities that are all multiples of others."""


class BrokenPromiseError(AssertionError):
    """A crash left what must never be seen."""


@dataclass
class Harness:
    """A fleet whose capacities all tell the number of the round that wrote them."""

    installation: Installation
    months: Sequence[Month]
    bad: Sequence[Month] = ()
    rounds: int = 0
    seen: set[Month] = field(default_factory=set)
    found: Counter[str] = field(default_factory=Counter)
    rows: Counter[Month] = field(default_factory=Counter)

    def write_feed(self) -> int:
        """Let the feed of all months say another capacity than ever before."""
        self.rounds += 1
        self.rows.clear()
        for month in self.months:
            for family in FAMILIES:
                path = folder(self.installation.settings.feed) / (
                    f"{month.year}/{month.month:02d}/{family.name}_{month.year}{month.month:02d}.csv"
                )
                lines = pl.read_csv(path, schema_overrides={str(family.capacity): pl.Float64})
                lines.with_columns(pl.lit(float(_CAPACITY + self.rounds)).alias(str(family.capacity))).write_csv(path)
                self.rows[month] += lines.height
                if month in self.bad and family is FAMILIES[0]:
                    # What is cut off is written again before the next round.
                    path.write_bytes(path.read_bytes()[:-2])
        return self.rounds

    def start(self) -> subprocess.Popen[str]:
        """Start a run in a process of its own; it is ready to begin when this returns."""
        process = subprocess.Popen(
            [sys.executable, "-c", _RUN, str(self.months[0]), str(self.months[-1])],
            env=self.installation.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
        )
        assert process.stdout is not None
        if process.stdout.readline() != "ready\n":
            raise BrokenPromiseError("the run did not start")
        process.stdout.close()
        return process

    def run_undisturbed(self) -> float:
        """Run to the end in this process; gives the seconds it took, and fails where anything is not as it must be."""
        before = self.look() if self.rounds > 1 else {}
        begun = time.monotonic()
        with self.installation.instance() as instance:
            ran = start_run(instance, build_defs(self.installation.settings), REFINE, self.months)
        seconds = time.monotonic() - begun
        if ran.success == bool(self.bad):
            raise BrokenPromiseError(f"an undisturbed run ended with {'success' if ran.success else 'a failure'}")
        after = self.look()
        for month in self.months:
            if after.get(month) != (before.get(month) if month in self.bad else self.rounds):
                raise BrokenPromiseError(f"an undisturbed run left {month} at round {after.get(month)}")
        return seconds

    def kill_once(self, seconds: float) -> None:
        """Change the feed, start a run, kill it after some seconds, and look."""
        self._kill(lambda process: _wait(process, seconds))

    def kill_after_the_first_partition(self) -> None:
        """Change the feed, start a run, kill it as soon as it has written a partition anew, and look."""
        (first, *_) = [each.path for each in partitions(self.installation.settings, self.months[:1])]
        old = first.stat().st_ino

        def wait(process: subprocess.Popen[str]) -> None:
            # Nobody tells of a file that takes another's place.
            while process.poll() is None and first.stat().st_ino == old:
                time.sleep(0.005)

        self._kill(wait)

    def _kill(self, wait: Callable[[subprocess.Popen[str]], None]) -> None:
        before = self.look()
        self.write_feed()
        process = self.start()
        wait(process)
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
        process.wait()
        after = self.look()
        for month in self.months:
            if after.get(month) not in {before.get(month), self.rounds}:
                raise BrokenPromiseError(f"{month} holds round {after.get(month)}, which was neither old nor new")
            if month in self.bad and after.get(month) == self.rounds:
                raise BrokenPromiseError(f"{month} was published although its file is cut")
        new = sum(after.get(month) == self.rounds for month in self.months)
        if 0 < new < len(self.months) - len(self.bad):
            raise BrokenPromiseError("a run published some of the months that it lets pass")
        # What a killed Dagster run leaves running: the programs that copy its output to its log.
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        self.found["ended before the kill" if process.returncode == 0 else "killed"] += 1
        self.found["new" if new else "old"] += 1
        # None is in the way of a later run, so they stay to the end.
        self.found["torn temporary files"] = len(list(folder(self.installation.settings.telemetry).rglob("*.partial")))

    def look(self) -> dict[Month, int]:
        """Open the tables and the partitions as readers do; gives the round that each month is of."""
        settings = self.installation.settings
        for partition in partitions(settings, self.months):
            if partition.path.exists():
                rounds = pl.read_parquet(partition.path)["capacity"].unique().to_list()
                if len(rounds) != 1:
                    raise BrokenPromiseError(f"{partition.path} is of the rounds {rounds}")
        with duckdb.connect(settings.warehouse, read_only=True) as connection:
            rows = connection.execute(
                "SELECT strftime(ds, '%Y-%m') AS month, list(DISTINCT capacity), count(*) "
                "FROM processed_data GROUP BY month"
            ).fetchall()
            ((unaudited,),) = connection.execute(
                "SELECT count(*) FROM (SELECT DISTINCT strftime(ds, '%Y-%m') AS month FROM processed_data) "
                "ANTI JOIN audits USING (month)"
            ).fetchall()
            held = {}
            for key, rounds, count in rows:
                month = Month.parse(key)
                if len(rounds) != 1 or count != self.rows[month]:
                    raise BrokenPromiseError(f"{month} holds {count} rows of the rounds {rounds}")
                held[month] = int(rounds[0]) - _CAPACITY
            receipts = latest_receipts(connection, list(held))
            standing = table_digests(connection, held)
        if unaudited or not set(held) >= self.seen:
            raise BrokenPromiseError("a month is missing, or is published without its audit")
        self.seen |= set(held)
        for month in held:
            if receipts[month].table_digest != standing[month]:
                raise BrokenPromiseError(f"{month} does not hold what its receipt says")
        return held


def _wait(process: subprocess.Popen[str], seconds: float) -> None:
    with suppress(subprocess.TimeoutExpired):
        process.wait(seconds)


def crash(harness: Harness, kills: int, seed: int) -> Counter[str]:
    """Kill run after run, heal in the end, and count what was found.

    Raises:
        BrokenPromiseError: A reader would have met what must never be seen.
    """
    draw = random.Random(seed)  # noqa: S311 - instants, not secrets
    # All months are published once, so that those that are bad from then on have something to keep.
    bad, harness.bad = harness.bad, ()
    harness.write_feed()
    seconds = harness.run_undisturbed()
    harness.bad = bad
    for _ in range(kills):
        harness.kill_once(draw.uniform(0, seconds))
    harness.bad = ()
    harness.write_feed()
    harness.run_undisturbed()
    harness.found["healed"] += 1
    return harness.found


def make_harness(folder: Path, hosts: int, first: Month, last: Month) -> Harness:
    """A fleet and an installation in `folder`."""
    sample = make_sample(folder, hosts=hosts, first=first, last=last, seed=5)
    settings = Settings(
        feed=sample.feed,
        warehouse=sample.warehouse,
        telemetry=folder / "telemetry",
        reports=folder / "reports",
        alert_log=folder / "alerts.jsonl",
        first_month=first,
        last_month=last,
    )
    return Harness(install(folder, settings), list(Month.span(first, last)))


def main() -> None:
    """Run the command line."""
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument("--what", choices=["month", "history", "refused"], default="month")
    options.add_argument("--kills", type=int, default=100)
    options.add_argument("--hosts", type=int, default=200)
    options.add_argument("--seed", type=int, default=1)
    chosen = options.parse_args()
    first, lasts = Month(2023, 1), {"month": Month(2023, 1), "history": Month(2025, 12), "refused": Month(2023, 12)}
    with TemporaryDirectory() as folder:
        harness = make_harness(Path(folder), chosen.hosts, first, lasts[chosen.what])
        if chosen.what == "refused":
            harness.bad = harness.months[2::4]
        print(chosen.what, dict(crash(harness, chosen.kills, chosen.seed)))


if __name__ == "__main__":
    main()
