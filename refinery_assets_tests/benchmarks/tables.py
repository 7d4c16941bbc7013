"""What the parts of `benchmarks.md` share: what was measured, read back by size; and tables.

Here: reading and laying out. Not here: any measuring, and what is shown (`report.py`, `lake_report.py`,
`instances_report.py`).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from refinery_assets.checks.rules import counted

Measured = dict[str, Any]
"""One size, as the benchmark keeps it."""


def read_sizes(folder: Path) -> dict[str, Measured]:
    """All sizes measured in a folder, by name such as `2000x36`, the smallest first."""
    files = sorted(folder.glob("*x*.json"), key=lambda file: [int(number) for number in file.stem.split("x")])
    return {file.stem: json.loads(file.read_text(encoding="utf-8")) for file in files}


def size_of(measured: Measured) -> str:
    """Its size, in words."""
    return f"{measured['hosts']:,} hosts x {counted(measured['months'], 'month')}"


def rounds_of(measured: Measured) -> int:
    """How often its candidates were run."""
    return max(map(len, measured["costs"].values()))


def table(header: Sequence[str], rows: Sequence[Sequence[str]], texts: int = 1) -> str:
    """A table in Markdown, numbers to the right from the column `texts` on."""
    lines = [header, ["---"] * texts + ["---:"] * (len(header) - texts), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
