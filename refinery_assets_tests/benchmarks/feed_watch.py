"""What a look at a large feed costs the sensor: 10,000 files, all new, then unchanged, then one changed.

    python -m refinery_assets_tests.benchmarks.feed_watch [--months 2500]

Prints the seconds of each look, and how many characters are remembered.
"""

from __future__ import annotations

import argparse
import os
import time
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from refinery_assets.contract.months import Month
from refinery_assets.contract.settings import Settings
from refinery_assets.feed.changes import FeedSeen, look_for_changes
from refinery_assets.feed.files import feed_files

_LONG_AGO = 1_000_000_000


def main() -> None:
    """Write the files, look three times."""
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument("--months", type=int, default=2_500)
    months = [Month(1800 + number // 12, number % 12 + 1) for number in range(options.parse_args().months)]
    with TemporaryDirectory() as folder:
        settings = replace(Settings(), feed=Path(folder))
        files = feed_files(settings, months)
        for file in files:
            file.path.parent.mkdir(parents=True, exist_ok=True)
            file.path.write_bytes(b"date,host_id\n" * 1_000)
            os.utime(file.path, (_LONG_AGO, _LONG_AGO))
        seen = FeedSeen()
        for what in ("all new", "unchanged", "one changed"):
            if what == "one changed":
                files[-1].path.touch()
                os.utime(files[-1].path, (_LONG_AGO, _LONG_AGO + 1))
            started = time.perf_counter()
            changes = look_for_changes(settings, months, FeedSeen.parse(str(seen)), time.time())
            seen = changes.seen
            seconds = time.perf_counter() - started
            print(f"{len(files)} files, {what}: {seconds:.2f} s, remembered {len(str(seen))} characters")


if __name__ == "__main__":
    main()
