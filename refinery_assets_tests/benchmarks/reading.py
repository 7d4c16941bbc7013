"""What it costs to trust nothing: refining clean files against a plain typed read and Parquet write.

    python -m refinery_assets_tests.benchmarks.reading [--hosts 2000] [--months 9] [--runs 7]

In turns, within one process and on the same files: `plain` is `polars.read_csv` with a schema and
`write_parquet`, which takes whatever the parser makes of a file; `ours` is `refine_files`, as a family
asset runs it, and the same write with the asset's compression, of the rows and of their summary by host.
Times are milliseconds a file.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import polars as pl

from refinery_assets.contract.months import Month
from refinery_assets.contract.settings import Settings
from refinery_assets.feed.files import FeedFile, feed_files
from refinery_assets.rows.family import refine_file, refine_files
from refinery_assets.sample.feed import make_sample


def plain(files: Sequence[FeedFile], out: Path) -> None:
    """Read each file by position and write what came."""
    for file in files:
        types = (pl.Date(), pl.String(), pl.Float64(), pl.Float64())
        schema = dict(zip(file.family.columns, types, strict=True))
        pl.read_csv(file.path, schema=schema).write_parquet(out)


def ours(files: Sequence[FeedFile], out: Path) -> None:
    """Read, judge, plug and write each file."""
    settings = Settings()
    for future in refine_files(files, lambda file: refine_file(file, settings)):
        refined = future.result()
        for frame in (refined.series, refined.partition):
            frame.write_parquet(out, compression="snappy")


def measure(work: Callable[[], None]) -> tuple[float, float]:
    """Wall and processor seconds of one call."""
    wall, processor = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - processor


def main() -> None:
    """Make the sample, run both in turns, print medians and ratios."""
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument("--hosts", type=int, default=2_000)
    options.add_argument("--months", type=int, default=9)
    options.add_argument("--runs", type=int, default=7)
    chosen = options.parse_args()
    first = Month(2024, 1)
    last = first
    for _ in range(chosen.months - 1):
        last = last.next
    with TemporaryDirectory() as folder:
        root = Path(folder)
        make_sample(root, hosts=chosen.hosts, first=first, last=last, seed=1)
        files = feed_files(Settings(feed=root / "legacy" / "inputs"), Month.span(first, last))
        out = root / "out.parquet"
        taken: dict[str, list[tuple[float, float]]] = {"plain": [], "ours": []}
        for _ in range(chosen.runs):
            taken["plain"].append(measure(lambda: plain(files, out)))
            taken["ours"].append(measure(lambda: ours(files, out)))
    medians = {
        name: [median(run[clock] for run in runs) / len(files) * 1000 for clock in (0, 1)]
        for name, runs in taken.items()
    }
    for name, (wall, processor) in medians.items():
        print(f"{name:6} {wall:7.1f} ms wall {processor:7.1f} ms processor, a file")
    ratios = [mine / theirs for mine, theirs in zip(medians["ours"], medians["plain"], strict=True)]
    print(f"ratio  {ratios[0]:7.2f}    wall {ratios[1]:7.2f}    processor")


if __name__ == "__main__":
    main()
