"""The table of what `lake.py` measured, over all sizes: a part of `benchmarks.md`.

Here: what the candidates are, ratios, and how they are shown. Not here: any measuring.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median

from refinery_assets_tests.benchmarks.tables import Measured, read_sizes, rounds_of, size_of, table

LAKE_CANDIDATES: Mapping[str, str] = {
    "script": "the plain script, into a file",
    "engine_file": "our data work without Dagster, into a file",
    "engine_lake": "the same into a lake, without a copy",
    "engine_lake_insert": "the same into a lake by INSERT",
    "file": "our whole graph, all months, all checks, into a file",
    "lake": "the same into a lake",
    "lake_two": "the same by two processes side by side, each half of the months",
    "lake_three": "by three, each a third",
}
"""What is compared, in the order in which it is run."""

_AIMS = {
    ("20000x36", "`lake` / `script`"): 0.8,
    ("1000000x1", "publish, lake without a copy"): 13.0,
    ("1000000x1", "peak memory of `lake`, MiB"): 5 * 1024.0,
}
"""What was aimed at, at most, by size and row."""


def lake_part(folder: Path) -> str | None:
    """The part over every size below `folder`; None where nothing has been measured."""
    sizes = list(read_sizes(folder).values())
    if not sizes:
        return None
    head = (
        "## The lake\n\n"
        "A lake with its catalog in PostgreSQL and its data in a folder, against the file; all on one machine, and on "
        "the DuckDB that DuckLake is packaged for. Medians of whole processes, in seconds; where there are several, "
        "until the last one ends."
    )
    return "\n\n".join([head, _seconds(sizes), _publishing(sizes), _rest(sizes)])


def _wall(measured: Measured, name: str) -> float | None:
    runs = measured["costs"].get(name)
    return median(run["wall"] for run in runs) if runs else None


def _by_size(sizes: list[Measured], rows: Mapping[str, Callable[[Measured], str]]) -> str:
    def cell(measured: Measured, what: str, found: str) -> str:
        aim = _AIMS.get((f"{measured['hosts']}x{measured['months']}", what))
        return f"{found} (aim: at most {aim:,g})" if found and aim else found

    return table(
        ["what", *map(size_of, sizes)],
        [[what, *(cell(each, what, show(each)) for each in sizes)] for what, show in rows.items()],
    )


def _seconds(sizes: list[Measured]) -> str:
    def shown(name: str) -> Callable[[Measured], str]:
        def show(measured: Measured) -> str:
            wall = _wall(measured, name)
            return "" if wall is None else f"{wall:.1f}"

        return show

    def ratio(upper: str, lower: str) -> Callable[[Measured], str]:
        def show(measured: Measured) -> str:
            costs = measured["costs"]
            if not costs.get(upper) or not costs.get(lower):
                return ""
            pairs = zip(costs[upper], costs[lower], strict=True)
            return f"{median(above['wall'] / below['wall'] for above, below in pairs):.2f}"

        return show

    def millions(measured: Measured) -> str:
        return f"{measured['rows'] / 1e6:.1f}"

    rows: dict[str, Callable[[Measured], str]] = {
        "taken": lambda measured: f"{measured['taken']}, {measured['machine']}",
        "rows, millions": millions,
        "rounds": lambda measured: str(rounds_of(measured)),
    }
    rows |= {f"`{name}`: {meaning}": shown(name) for name, meaning in LAKE_CANDIDATES.items()}
    rows |= {
        "`lake` / `script`": ratio("lake", "script"),
        "`lake` / `file`": ratio("lake", "file"),
        "`lake` / `lake_two`": ratio("lake", "lake_two"),
        "`lake` / `lake_three`": ratio("lake", "lake_three"),
    }
    return _by_size(sizes, rows)


def _publishing(sizes: list[Measured]) -> str:
    def stage(name: str, stage: str) -> Callable[[Measured], str]:
        def show(measured: Measured) -> str:
            runs = measured["stages"].get(name)
            return f"{median(run[stage] for run in runs):.1f}" if runs else ""

        return show

    rows = {
        "families, file": stage("engine_file", "families"),
        "families, lake (writes the clean rows as well)": stage("engine_lake", "families"),
        "publish, file": stage("engine_file", "publish"),
        "publish, lake without a copy": stage("engine_lake", "publish"),
        "publish, lake by INSERT": stage("engine_lake_insert", "publish"),
    }
    return "Of `engine`, the seconds of two stages:\n\n" + _by_size(sizes, rows)


def _rest(sizes: list[Measured]) -> str:
    def megabytes(place: str, what: str) -> Callable[[Measured], str]:
        def show(measured: Measured) -> str:
            found = measured["bytes"].get(place)
            return f"{median(each[what] for each in found) / 1e6:,.1f}" if found else ""

        return show

    def files(measured: Measured) -> str:
        found = measured["bytes"].get("lake")
        return f"{median(each['files'] for each in found):.0f}" if found else ""

    def series(place: str) -> Callable[[Measured], str]:
        def show(measured: Measured) -> str:
            found = measured["milliseconds_of_one_series"].get(place)
            return f"{median(found):.0f}" if found else ""

        return show

    def peak(name: str) -> Callable[[Measured], str]:
        def show(measured: Measured) -> str:
            runs = measured["costs"].get(name)
            return f"{median(run['peak'] for run in runs):,.0f}" if runs else ""

        return show

    def memory(measured: Measured) -> str:
        return f"{measured['memory_mib']:,}"

    rows = {
        "warehouse file, MB": megabytes("file", "data"),
        "lake: data, MB": megabytes("lake", "data"),
        "lake: files": files,
        "lake: catalog, MB (an empty database of PostgreSQL: 7.5)": megabytes("lake", "catalog"),
        "one series by host and resource, file, ms": series("file"),
        "the same, lake, ms": series("lake"),
        "REFINERY_MEMORY_MIB": memory,
        "peak memory of `file`, MiB": peak("file"),
        "peak memory of `lake`, MiB": peak("lake"),
    }
    return "Storage, reading, memory:\n\n" + _by_size(sizes, rows)
