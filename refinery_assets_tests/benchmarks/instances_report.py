"""The table of what `instances.py` measured, over all sizes: a part of `benchmarks.md`."""

from __future__ import annotations

import json
from pathlib import Path
from statistics import median

from refinery_assets.checks.rules import counted

_AIM = 1.3
_WHAT = {"full": "our whole graph, all months, all checks, into an empty file", "unchanged": "the same, nothing to do"}


def instances_part(folder: Path) -> str | None:
    """The part over every size below `folder`; None where nothing has been measured."""
    sizes = [json.loads(file.read_text(encoding="utf-8")) for file in sorted(folder.glob("*x*.json"))]
    if not sizes:
        return None
    lines = ["| size | what | SQLite, s | PostgreSQL, s | ratio |", "| --- | --- | ---: | ---: | ---: |"]
    for measured in sizes:
        for what, meaning in _WHAT.items():
            here, there = (measured["costs"][f"{what}_{instance}"] for instance in ("sqlite", "postgres"))
            ratio = median(upper["wall"] / lower["wall"] for upper, lower in zip(there, here, strict=True))
            walls = [f"{median(run['wall'] for run in runs):.1f}" for runs in (here, there)]
            aim = f" (aim: at most {_AIM:g})" if what == "full" else ""
            size = f"{measured['hosts']:,} hosts x {measured['months']}"
            lines.append(f"| {size} | {meaning} | {walls[0]} | {walls[1]} | {ratio:.2f}{aim} |")
    head = (
        "## Dagster's instance\n\nIn PostgreSQL (`deploy/postgres`) against the refinery's storage in SQLite; "
        f"median of {counted(len(sizes[0]['costs']['full_sqlite']), 'round')}, {sizes[0]['taken']}, "
        f"{sizes[0]['machine']}."
    )
    return head + "\n\n" + "\n".join(lines)
