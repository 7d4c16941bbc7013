"""Several processes that refine a history between them, each a range of its months, and end together.

    python -m refinery_assets_tests.benchmarks.workers NUMBER FIRST LAST

Takes the settings and DAGSTER_HOME from the environment, as the refinery does. What they say goes to stdout, and the
exit code is that of the first one that failed.
"""

from __future__ import annotations

import subprocess
import sys
from itertools import pairwise

from refinery_assets.contract.months import Month
from refinery_assets_tests.installation import BIN


def slices(months: list[Month], number: int) -> list[list[Month]]:
    """Divide months into so many unbroken ranges, as equal as can be."""
    bounds = [len(months) * part // number for part in range(number + 1)]
    return [months[start:stop] for start, stop in pairwise(bounds) if stop > start]


def main(number: int, first: Month, last: Month) -> int:
    """Start all, wait for all."""
    shares = slices(list(Month.span(first, last)), number)
    command = [str(BIN / "dg"), "launch", "--job", "refine", "--partition-range"]
    started = [subprocess.Popen([*command, f"{share[0]}...{share[-1]}"]) for share in shares]
    return next((code for code in [process.wait() for process in started] if code), 0)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), *(Month.parse(text) for text in sys.argv[2:4])))
