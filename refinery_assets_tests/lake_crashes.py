"""Crashes of several writers at random instants, as a harness: kill them again and again while others go on.

    python -m refinery_assets_tests.lake_crashes --kills 100

Three processes at a time refine and publish the months of one lake, whose catalog is in PostgreSQL, each in an order
of its own, and then all of them once more. At random instants one of them is killed (SIGKILL), and another begins in
its stead. After each kill, while the others still write, the lake is opened as a reader does; now and then it is
maintained, and loses all files that nothing refers to, those included that their writer has yet to publish. Every row
carries the number of the process and the turn that wrote it, so that old, new and mixed months can be told apart. In
the end an undisturbed process must publish all, and after maintenance no file may be left that the catalog does not
know.

Here: the harness. Not here: the processes (`lake_writer.py`), and kills of a whole run over a file (`crashes.py`).
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
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import duckdb

from refinery_assets.contract.lake import MARKER
from refinery_assets.contract.months import Month
from refinery_assets.contract.packaged import FAMILIES
from refinery_assets.contract.settings import PROJECT_ROOT, Settings
from refinery_assets.sample.feed import make_sample
from refinery_assets.warehouse.lake_maintenance import Maintained, maintain
from refinery_assets.warehouse.lake_tables import make_lake
from refinery_assets.warehouse.receipts import latest_receipts, table_digests
from refinery_assets.warehouse.storage import open_warehouse
from refinery_assets.warehouse.tables import utc_now
from refinery_assets_tests import lake_writer
from refinery_assets_tests.crashes import BrokenPromiseError
from refinery_assets_tests.lake_writer import MARKED_CAPACITY
from refinery_assets_tests.lakes import Postgres
from refinery_assets_tests.postgresql import postgresql_server
from refinery_assets_tests.scenario import folder

FIRST = Month(2023, 1)
WRITERS = 3
TURNS = 2
_MAINTAINED_EVERY = 10
# Longer than a file takes to be written and put in its place, and shorter than many take to be published.
_GRACE = timedelta(seconds=1)
_POLL_SECONDS = 0.02
_WAIT_SECONDS = 120.0
_TRYING_AGAIN = "Trying again"


@dataclass
class Writer:
    """A process that writes.

    Attributes:
        process: The process.
        log: What it says.
    """

    process: subprocess.Popen[bytes]
    log: Path

    @property
    def lost_races(self) -> int:
        return self.log.read_text(encoding="utf-8").count(_TRYING_AGAIN)


@dataclass
class Harness:
    """A lake, and what was seen of it."""

    folder: Path
    settings: Settings
    hosts: int
    draw: random.Random
    started: int = 0
    published: int = 0
    writers: list[Writer] = field(default_factory=list)
    found: Counter[str] = field(default_factory=Counter)

    @property
    def months(self) -> Sequence[Month]:
        return self.settings.window

    def start(self, turns: int = TURNS) -> Writer:
        """Start a process that writes, and wait until it begins."""
        self.started += 1
        own = self.folder / f"writer-{self.started}"
        own.mkdir()
        places = {"feed": self.settings.feed, "lake_data": self.settings.lake_data, "telemetry": own / "telemetry"}
        window = {"first_month": self.months[0], "last_month": self.months[-1], "warehouse": self.settings.lake}
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("REFINERY_")}
        variables = {f"REFINERY_{name.upper()}": str(value) for name, value in (places | window).items()}
        marked = ["--mark", str(self.started * TURNS), "--turns", str(turns)]
        log = own / "log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", lake_writer.__name__, *map(str, self.months), *marked],
                cwd=PROJECT_ROOT,
                env=inherited | variables,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        writer = Writer(process, log)
        self.writers.append(writer)
        while not log.read_bytes().startswith(b"ready\n"):
            if process.poll() is not None:
                raise BrokenPromiseError(f"a writer did not start: {log.read_text(encoding='utf-8')}")
            time.sleep(_POLL_SECONDS)
        return writer

    def end(self, writer: Writer, *, killed: bool) -> bool:
        """Count what has become of a writer, which must have come to its end if it was not killed; whether it was."""
        code = writer.process.wait()
        self.writers.remove(writer)
        if code not in ({0, -signal.SIGKILL} if killed else {0}):
            raise BrokenPromiseError(f"a writer ended with {code}: {writer.log.read_text(encoding='utf-8')}")
        self.found["killed" if code else "ended before the kill" if killed else "undisturbed"] += 1
        self.found["lost races"] += writer.lost_races
        return code != 0

    def run_undisturbed(self) -> dict[Month, int]:
        """Let one writer publish all months once; gives the turn that each is of."""
        self.end(self.start(turns=1), killed=False)
        after = self.look()
        if set(after.values()) != {self.started * TURNS}:
            raise BrokenPromiseError(f"an undisturbed writer left the turns {after}")
        return after

    def kill(self, kills: int, gap: float) -> None:
        """Kill so many writers at random instants, `gap` seconds apart on average, and look after each."""
        while self.found["killed"] < kills:
            time.sleep(self.draw.uniform(0, 2 * gap))
            victim = self.draw.choice(self._at_work())
            victim.process.send_signal(signal.SIGKILL)
            was_killed = self.end(victim, killed=True)
            self.look()
            if was_killed and self.found["killed"] % _MAINTAINED_EVERY == 0:
                done = maintain(replace(self.settings, lock_wait_seconds=_WAIT_SECONDS), grace=_GRACE)
                self._prove(done)
                self.found["deleted among writers"] += done.deleted + done.orphans
        for writer in list(self.writers):
            self.end(writer, killed=False)
        self.look()

    def _at_work(self) -> list[Writer]:
        """As many writers as there are to be; who has come to the end is replaced."""
        for writer in [each for each in self.writers if each.process.poll() is not None]:
            self.end(writer, killed=False)
        while len(self.writers) < WRITERS:
            self.start()
        return self.writers

    def look(self) -> dict[Month, int]:
        """Open the lake as readers do, while others write; gives the turn that each month is of."""
        with open_warehouse(self.settings.place, read_only=True, wait_seconds=0.0) as connection:
            # One snapshot for all that is asked.
            connection.execute("BEGIN")
            held = self._months(connection)
            receipts = latest_receipts(connection, self.months)
            digests = table_digests(connection, self.months)
            ((published,),) = connection.execute("SELECT count(*) FROM publications").fetchall()
            series = connection.execute("SELECT month, count(*) FROM series_months GROUP BY ALL").fetchall()
            twice = connection.execute(
                "SELECT month, run_id FROM audits GROUP BY month, run_id, asset, check_name HAVING count(*) > 1 "
                "UNION ALL SELECT month, run_id FROM publications GROUP BY month, run_id HAVING count(*) > 1"
            ).fetchall()
        if not set(held) == set(receipts) == set(self.months):
            raise BrokenPromiseError(f"published are {sorted(held)}, and receipts of {sorted(receipts)}")
        for month, mark in held.items():
            if receipts[month].table_digest != digests[month] or receipts[month].run_id != f"{mark}-{month}":
                raise BrokenPromiseError(f"{month} is of turn {mark}, which its receipt does not say")
        if published < self.published or twice:
            raise BrokenPromiseError(f"{self.published} publications became {published}; twice are {twice}")
        if any(count != self.hosts * len(FAMILIES) for _, count in series) or len(series) != len(held):
            raise BrokenPromiseError(f"the months' series do not fit: {series}")
        self.published = published
        self.found["looks"] += 1
        return held

    def _months(self, connection: duckdb.DuckDBPyConnection) -> dict[Month, int]:
        held = {}
        for key, marks, rows, different in connection.execute(
            "SELECT strftime(ds, '%Y-%m') AS month, list(DISTINCT capacity), count(*), "
            "count(DISTINCT (ds, host_id, resource)) FROM processed_data GROUP BY month"
        ).fetchall():
            month = Month.parse(key)
            if len(marks) != 1 or rows != different or rows != self.hosts * len(month.days) * len(FAMILIES):
                raise BrokenPromiseError(f"{month} holds {rows} rows, {different} different ones, of the turns {marks}")
            held[month] = int(marks[0]) - MARKED_CAPACITY
        return held

    def heal(self) -> None:
        """Let one writer do its work, maintain, and compare the catalog with the files."""
        before = self.run_undisturbed()
        self.found["publications"] = self.published
        self.found["files before the last maintenance"] = len(self._files())
        later = utc_now() + timedelta(days=self.settings.lake_keep_days)
        # All that nothing needs is old by then.
        done = maintain(self.settings, grace=timedelta(minutes=-1), now=later)
        self._prove(done)
        self.found["orphans"] = done.orphans
        if self.look() != before:
            raise BrokenPromiseError("maintenance has changed the months")
        known = self._known_files()
        left = self._files()
        if left != known:
            raise BrokenPromiseError(f"orphans {sorted(left - known)}, missing {sorted(known - left)}")
        self.found["files left, all known"] = len(left)

    def _prove(self, done: Maintained) -> None:
        if done.broken or len(done.proved) != len(self.months):
            raise BrokenPromiseError(f"maintenance found {done}")
        self.found["maintained"] += 1

    def _files(self) -> set[Path]:
        files = {path for path in folder(self.settings.lake_data).rglob("*") if path.is_file()}
        # The lake's own, and no file of rows.
        return files - {folder(self.settings.lake_data) / MARKER}

    def _known_files(self) -> set[Path]:
        """The files of all tables as they are."""
        with open_warehouse(self.settings.place, read_only=True, wait_seconds=0.0) as connection:
            tables = connection.execute(
                "SELECT table_name FROM duckdb_tables() WHERE database_name = 'lake'"
            ).fetchall()
            found = set()
            for (table,) in tables:
                files = connection.execute(
                    "SELECT data_file, delete_file FROM ducklake_list_files('lake', $table)", {"table": table}
                ).fetchall()
                found |= {Path(file) for pair in files for file in pair if file}
        return found


def crash(harness: Harness, kills: int, gap: float) -> Counter[str]:
    """Kill writer after writer, heal in the end, and count what was found.

    Raises:
        BrokenPromiseError: A reader would have met what must never be seen.
    """
    try:
        harness.run_undisturbed()
        harness.kill(kills, gap)
        harness.heal()
    finally:
        for writer in harness.writers:
            writer.process.kill()
            writer.process.wait()
    return harness.found


def make_harness(place: Path, postgres: Postgres, *, months: int, hosts: int, seed: int) -> Harness:
    """A fleet and a lake in a folder."""
    last = FIRST
    for _ in range(months - 1):
        last = last.next
    sample = make_sample(place, hosts=hosts, first=FIRST, last=last, seed=5)
    settings = Settings(
        feed=sample.feed,
        lake=postgres.new_lake(),
        lake_data=place / "lake",
        telemetry=place / "telemetry",
        first_month=FIRST,
        last_month=last,
    )
    made = make_lake(settings, sample.warehouse)
    return Harness(place, settings, made.hosts, random.Random(seed))  # noqa: S311 - instants, not secrets


def main() -> None:
    """Run the command line."""
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument("--kills", type=int, default=100)
    options.add_argument("--months", type=int, default=12)
    options.add_argument("--hosts", type=int, default=12)
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--gap", type=float, default=3.0, help="seconds between two kills, on average")
    chosen = options.parse_args()
    with postgresql_server() as socket, TemporaryDirectory() as place:
        harness = make_harness(
            Path(place), Postgres(socket), months=chosen.months, hosts=chosen.hosts, seed=chosen.seed
        )
        begun = time.monotonic()
        print(dict(crash(harness, chosen.kills, chosen.gap)), f"{time.monotonic() - begun:.0f} s")


if __name__ == "__main__":
    main()
