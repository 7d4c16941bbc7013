"""The table of what `instances.py` measured, over all sizes: a part of `benchmarks.md`."""

from __future__ import annotations

from pathlib import Path
from statistics import median

from refinery_assets_tests.benchmarks.tables import read_sizes, rounds_of, size_of, table

_AIM = 1.3
_WHAT = {"full": "our whole graph, all months, all checks, into an empty file", "unchanged": "the same, nothing to do"}


def instances_part(folder: Path) -> str | None:
    """The part over every size below `folder`; None where nothing has been measured."""
    sizes = read_sizes(folder).values()
    if not sizes:
        return None
    rows = []
    for measured in sizes:
        for what, meaning in _WHAT.items():
            here, there = (measured["costs"][f"{what}_{instance}"] for instance in ("sqlite", "postgres"))
            ratio = median(upper["wall"] / lower["wall"] for upper, lower in zip(there, here, strict=True))
            walls = [f"{median(run['wall'] for run in runs):.1f}" for runs in (here, there)]
            aim = f" (aim: at most {_AIM:g})" if what == "full" else ""
            taken = f"{size_of(measured)}, {measured['taken']}, {measured['machine']}"
            rows.append([taken, meaning, str(rounds_of(measured)), *walls, f"{ratio:.2f}{aim}"])
    head = (
        "## Dagster's instance\n\nIn PostgreSQL (`deploy/postgres`) against the refinery's storage in SQLite; medians, "
        "in seconds."
    )
    header = ["taken", "what", "rounds", "SQLite", "PostgreSQL", "ratio"]
    return head + "\n\n" + table(header, rows, texts=2)
