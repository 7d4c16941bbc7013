"""A process that publishes months in a lake one after the other, as a worker does: `python -m` with months.

It prints a line for each lost race, and one for each month. With a mark, it refines each month before, every host with
the mark as its capacity; in an order of its own, and again in as many turns as are asked for, each with the next mark.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
from collections.abc import Sequence
from pathlib import Path

import duckdb
import polars as pl

from refinery_assets.contract.months import Month
from refinery_assets.contract.packaged import FAMILIES
from refinery_assets.contract.settings import Settings
from refinery_assets.feed.files import FeedExtent, FeedFile
from refinery_assets.rows.family import refine_file
from refinery_assets.warehouse.family_partitions import Partition
from refinery_assets.warehouse.gate import RunSoFar
from refinery_assets.warehouse.lake_files import write_lake_file
from refinery_assets.warehouse.lake_writers import publish_in_turn
from refinery_assets.warehouse.month_state import State
from refinery_assets.warehouse.publish import publish
from refinery_assets.warehouse.storage import open_warehouse

MARKED_CAPACITY = 1_000_000
"""A mark is added to it, and is too little for a check to call it another capacity."""

_WAIT_SECONDS = 120.0


def say(sentence: str) -> None:
    sys.stdout.write(f"{sentence}\n")
    sys.stdout.flush()


def publish_one(connection: duckdb.DuckDBPyConnection, settings: Settings, month: Month, run: RunSoFar) -> State:
    """Publish a month, and try again as a step does."""
    result = publish_in_turn(
        connection,
        settings.place,
        [month],
        lambda still_locked: publish(connection, [month], settings, run, still_locked),
        wait_seconds=_WAIT_SECONDS,
        warn=say,
    )[month]
    say(f"{month} {result.state}")
    for verdict in result.verdicts:
        if verdict.failed:
            say(verdict.finding.summary)
    return result.state


def refine_marked(settings: Settings, month: Month, mark: int) -> None:
    """Export the month anew, beside the partitions of this process, and refine it."""
    feed, telemetry = settings.feed, settings.telemetry
    assert isinstance(feed, Path)
    assert isinstance(telemetry, Path)
    own_feed = telemetry.with_name("feed")
    for family in FAMILIES:
        name = FeedFile(feed, family, month).name
        target = own_feed / name
        target.parent.mkdir(parents=True, exist_ok=True)
        capacity = pl.lit(float(MARKED_CAPACITY + mark)).alias(str(family.capacity))
        pl.read_csv(feed / name).with_columns(capacity).write_csv(target)
        refined = refine_file(FeedFile(own_feed, family, month), settings)
        Partition(telemetry, family, month).write(refined, write_lake_file(settings.lake_data, refined, str(mark)))


def main(arguments: Sequence[str] | None = None) -> None:
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument("months", nargs="+", type=Month.parse)
    options.add_argument("--mark", type=int)
    options.add_argument("--turns", type=int, default=1)
    chosen = options.parse_args(arguments)
    settings = Settings.from_environment(os.environ)
    months: list[Month] = chosen.months
    extent = FeedExtent(min(months), max(months))
    say("ready")
    sys.stdin.readline()
    with open_warehouse(settings.place, read_only=False, wait_seconds=_WAIT_SECONDS) as connection:
        if chosen.mark is None:
            for number, month in enumerate(months):
                run = RunSoFar(f"{os.getpid()}-{number}", extent, settings.today, force=True)
                publish_one(connection, settings, month, run)
            return
        draw = random.Random(chosen.mark)  # noqa: S311 - an order, not a secret
        for mark in range(chosen.mark, chosen.mark + chosen.turns):
            for month in draw.sample(months, len(months)):
                refine_marked(settings, month, mark)
                run = RunSoFar(f"{mark}-{month}", extent, settings.today)
                if publish_one(connection, settings, month, run) is not State.PUBLISHED:
                    sys.exit(1)


if __name__ == "__main__":
    main()
