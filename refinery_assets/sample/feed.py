"""Makes a sample: an inventory and the monthly CSV files of a made-up fleet, for demos and tests.

Here: the files, and the inventory's table. Not here: the hosts and their curves (`fleet.py`), the faulty rows that
`--dirt` plants (`dirt.py`), and what else happens to the demo's fleet (`story.py`).

    refinery sample --hosts 2000 --first 2023-01 --last 2025-12 --to data

writes, under the folder given, what the refinery's default settings look for in `data/`:

    legacy/inputs/YYYY/MM/<family>_YYYYMM.csv    the feed
    refinery.duckdb                              the warehouse; only its table `hosts` is replaced
    planted.csv                                  with `--dirt`: every faulty row, as in quarantined_rows
    redelivered/<family>_YYYYMM.csv              of the demo only: the whole of the file that is cut off

The same arguments give the same bytes. A month's files depend on all arguments (growth spans the
fleet's life) but on no other month. Files of months outside the span are left as they are.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from refinery_assets.contract.columns import HOSTS, QUARANTINED_ROWS
from refinery_assets.contract.families import Family, Fault
from refinery_assets.contract.months import Month
from refinery_assets.contract.packaged import FAMILIES
from refinery_assets.feed.atomic_write import atomic_path, atomic_write
from refinery_assets.sample.dirt import check_dirt, plant_dirt
from refinery_assets.sample.fleet import Fleet, Floats
from refinery_assets.sample.life import Days
from refinery_assets.sample.story import TURNOVER, Story
from refinery_assets.warehouse.storage import open_or_make_warehouse

# A value is a whole number of hundredths, so there are few enough to keep the text of each at hand.
_VALUE_TEXTS = np.array([f"{hundredths / 100}," for hundredths in range(10_001)], dtype="S")

_SHARE_TRANSFERRED = 0.8
REDELIVERED = "redelivered"


@dataclass(frozen=True)
class FeedWritten:
    """What `write_feed` wrote.

    Attributes:
        files: How many CSV files.
        rows: How many lines they hold, headers not counted, planted rows included.
        planted: How many rows of each fault were planted.
    """

    files: int
    rows: int
    planted: dict[Fault, int]


@dataclass(frozen=True)
class Sample:
    """What `make_sample` made and where.

    Attributes:
        feed: Root of the CSV files.
        warehouse: The DuckDB file whose table `hosts` holds the inventory.
        planted_file: The list of planted rows; None when nothing was planted.
        fleet: The hosts and their clean readings.
        written: Counts of files, rows and planted rows.
    """

    feed: Path
    warehouse: Path
    planted_file: Path | None
    fleet: Fleet
    written: FeedWritten


def make_sample(  # noqa: PLR0913  # one argument per option of the command line
    to: Path,
    *,
    hosts: int,
    first: Month,
    last: Month,
    seed: int,
    dirt: float = 0.0,
    with_story: bool = False,
    progress: bool = False,
) -> Sample:
    """Write a fleet's inventory and feed under the folder `to`, in the layout of the default settings.

    Args:
        to: The folder; made if it is missing.
        hosts: How many hosts, 10 or more.
        first: The first month.
        last: The last month, included.
        seed: Start of all random draws, 0 or more.
        dirt: The share of rows that are made faulty, 0 to 0.5; if more than 0, every fault is
            planted at least once in every file, and each planted row is listed in `planted.csv`.
        with_story: Whether to apply `story.py`, instead of writing every reading of every host that is there.
        progress: Whether to show a progress bar on stderr.

    Raises:
        ValueError: An argument is out of its range.
        OSError: The folder cannot be written.
        duckdb.Error: The warehouse cannot be opened or written.
    """
    check_dirt(dirt)
    fleet = Fleet.make(hosts=hosts, first=first, last=last, seed=seed, turnover=TURNOVER if with_story else None)
    feed, warehouse, planted_file = to / "legacy" / "inputs", to / "refinery.duckdb", to / "planted.csv"
    story = Story(fleet) if with_story else None
    # The inventory goes first: if another process holds the warehouse, this fails at once.
    write_inventory(warehouse, fleet)
    with _progress_bar(len(fleet.months) * len(FAMILIES), shown=progress) as advance:
        written = write_feed(
            feed,
            fleet,
            dirt=dirt,
            planted_file=planted_file,
            story=story,
            redelivered=to / REDELIVERED,
            on_file=advance,
        )
    return Sample(feed, warehouse, planted_file if dirt else None, fleet, written)


def write_inventory(warehouse: Path, fleet: Fleet) -> None:
    """Replace the table `hosts` of the DuckDB file in one transaction; other tables are not touched.

    Raises:
        OSError: The file's folder cannot be made.
        duckdb.Error: The file cannot be opened or written.
    """
    columns = ", ".join(f"{column.name} {column.sql_type}" for column in HOSTS.columns)
    with open_or_make_warehouse(warehouse) as connection:
        connection.register("fleet_inventory", fleet.hosts_table)
        connection.begin()
        connection.execute(f"CREATE OR REPLACE TABLE {HOSTS.name} ({columns})")
        connection.table("fleet_inventory").insert_into(HOSTS.name)
        connection.commit()


def write_feed(  # noqa: PLR0913
    feed: Path,
    fleet: Fleet,
    *,
    dirt: float = 0.0,
    planted_file: Path | None = None,
    story: Story | None = None,
    redelivered: Path | None = None,
    on_file: Callable[[], None] = lambda: None,
) -> FeedWritten:
    """Write the four files of every month of the fleet's life; files of other months stay.

    Each file appears whole or not at all: it is written beside its final name and renamed.

    Args:
        feed: Root of the CSV files; made if it is missing.
        fleet: Whose readings to write.
        dirt: The share of rows that are made faulty, 0 to 0.5.
        planted_file: Where to list the planted rows, as CSV with the columns of `quarantined_rows`;
            None: nowhere. When `dirt` is 0, a list of an earlier run is removed.
        story: What the export lacks and which of its files are dirty or cut off; None: it is complete.
        redelivered: The folder for the whole of the file that the story cuts off; None: it is not written.
        on_file: Called after each file.

    Raises:
        ValueError: `dirt` is out of its range.
        OSError: A file cannot be written.
    """
    check_dirt(dirt)
    rows = files = 0
    counts: Counter[Fault] = Counter()
    with _planted_list(planted_file if dirt else None) as note:
        for month in fleet.months:
            present = fleet.lives.are_there(month, fleet.hosts)
            if story:
                present &= story.is_reporting(month)
            for family, readings in zip(FAMILIES, fleet.readings(month), strict=True):
                path = feed / source_file(family, month)
                lines = _lines(fleet, family, month, readings, present)
                if share := story.dirt(family, month) if story else dirt:
                    # In a small fleet, a row of each fault would exceed the tolerance and have the month refused.
                    fewest = 1 if story else len(Fault)
                    dirty = plant_dirt(lines, family, month, seed=fleet.seed, share=share, fewest=fewest)
                    lines = dirty.lines
                    for planted in dirty.planted:
                        note([month, family.resource, source_file(family, month), *planted])
                        counts[planted.fault] += 1
                content = ",".join(family.columns).encode() + b"\n" + lines
                if story and story.is_cut(family, month):
                    if redelivered:
                        atomic_write(redelivered / path.name, content)
                    content = _cut_off(content)
                atomic_write(path, content)
                rows += content.count(b"\n") - 1
                files += 1
                on_file()
    if planted_file is not None and not dirt:
        planted_file.unlink(missing_ok=True)
    return FeedWritten(files, rows, dict(counts))


def source_file(family: Family, month: Month) -> str:
    """Where a month's file lies, relative to the feed's root: `2024/05/cpu_utilization_202405.csv`."""
    year, number = f"{month.year:04d}", f"{month.month:02d}"
    return f"{year}/{number}/{family.name}_{year}{number}.csv"


def _lines(fleet: Fleet, family: Family, month: Month, readings: Floats, present: Days) -> bytes:
    """A file's text without its header, by day and then by host, of the readings that are present.

    Rows of fixed width are assembled from ready-made texts, column by column; then the padding goes.
    This is several times as fast as a CSV writer, whose time goes into printing floats.
    """
    columns: dict[str, NDArray[np.bytes_]] = {
        "day": np.array([f"{day}," for day in month.days], dtype="S")[:, None],
        "host": np.array([f"{name}," for name in fleet.inventory["node_name"]], dtype="S"),
        "value": _VALUE_TEXTS[np.rint(readings * 100).astype(np.intp)],
        "capacity": _capacity_texts(fleet, family, month),
    }
    table = np.empty(readings.shape, dtype=[(name, texts.dtype) for name, texts in columns.items()])
    for name, texts in columns.items():
        table[name] = texts
    return table[present].tobytes().translate(None, b"\0")


def _cut_off(content: bytes) -> bytes:
    """What a transfer leaves that breaks off in the middle of a line."""
    end_of_line = content.index(b"\n", round(_SHARE_TRANSFERRED * len(content)))
    return content[: end_of_line - 3]


def _capacity_texts(fleet: Fleet, family: Family, month: Month) -> NDArray[np.bytes_]:
    """The last column of a file's rows: days x hosts."""
    limits = fleet.capacities(family)
    texts, before = (
        np.array([f"{'' if limit is None else limit // part}\n" for limit in limits], dtype="S") for part in (1, 2)
    )
    return np.where(fleet.lives.were_upgraded(FAMILIES.index(family), month, fleet.hosts), texts, before)


@contextmanager
def _planted_list(path: Path | None) -> Iterator[Callable[[Sequence[object]], object]]:
    """Yield a function that adds a row to the list of planted rows; the list appears when it is whole."""
    if path is None:
        yield lambda _row: None
        return
    with atomic_path(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([column.name for column in QUARANTINED_ROWS.columns])
        yield writer.writerow


@contextmanager
def _progress_bar(total: int, *, shown: bool) -> Iterator[Callable[[], None]]:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), disable=not shown) as progress:
        task = progress.add_task("Writing files", total=total)
        yield lambda: progress.advance(task)


def closing_line(sample: Sample) -> str:
    """What was made, and where, in one sentence."""
    written = sample.written
    made = (
        f"Made {sample.fleet.hosts:,} hosts in {sample.warehouse} and {written.rows:,} rows "
        f"in {written.files:,} files, {sample.fleet.first} to {sample.fleet.last}, in {sample.feed}"
    )
    if sample.planted_file is None:
        return f"{made}."
    faulty = sum(written.planted.values())
    return f"{made}; {faulty:,} of the rows are faulty, as listed in {sample.planted_file}."
