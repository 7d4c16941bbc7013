"""A process that publishes months in a lake one after the other, as a worker does: `python -m` with months.

It prints a line for each lost race, and one for each month.
"""

from __future__ import annotations

import os
import sys

from refinery_assets.contract.months import Month
from refinery_assets.contract.settings import Settings
from refinery_assets.feed.files import FeedExtent
from refinery_assets.warehouse.gate import RunSoFar
from refinery_assets.warehouse.lake_writers import publish_in_turn
from refinery_assets.warehouse.publish import publish
from refinery_assets.warehouse.storage import open_warehouse


def say(sentence: str) -> None:
    sys.stdout.write(f"{sentence}\n")
    sys.stdout.flush()


def main() -> None:
    settings = Settings.from_environment(os.environ)
    months = [Month.parse(key) for key in sys.argv[1:]]
    extent = FeedExtent(min(months), max(months))
    say("ready")
    sys.stdin.readline()
    with open_warehouse(settings.place, read_only=False, wait_seconds=60.0) as connection:
        for number, month in enumerate(months):
            run = RunSoFar(f"{os.getpid()}-{number}", extent, settings.today, force=True)
            results = publish_in_turn(
                connection,
                settings.place,
                [month],
                lambda month=month, run=run: publish(connection, [month], settings, run),  # type: ignore[misc]
                wait_seconds=60.0,
                warn=say,
            )
            say(f"{month} {results[month].state}")


if __name__ == "__main__":
    main()
