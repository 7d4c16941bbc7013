"""The table and the picture of what `compare.py` measured, over all sizes.

Here: ratios, targets and how they are shown. Not here: any measuring.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from matplotlib.figure import Figure

from refinery_assets.checks.rules import counted
from refinery_assets_tests.benchmarks.candidates import CANDIDATES
from refinery_assets_tests.benchmarks.instances_report import instances_part
from refinery_assets_tests.benchmarks.lake_report import lake_part
from refinery_assets_tests.benchmarks.tables import Measured, read_sizes, rounds_of, table


@dataclass(frozen=True)
class Target:
    """What is aimed at: a figure, and what it should be for 2,000 and for 20,000 hosts; None: shown only."""

    meaning: str
    figure: Callable[[Measured], float | None]
    aims: tuple[float, float] | None
    at_least: bool = False


def _ratio(upper: str, lower: str) -> Callable[[Measured], float | None]:
    """The median of the ratios within each round, where all were measured; `upper` may be a sum."""
    summands = upper.split(" + ")

    def figure(measured: Measured) -> float | None:
        costs = measured["costs"]
        if not all(costs.get(name) for name in (*summands, lower)):
            return None
        rounds = zip(*(costs[name] for name in (*summands, lower)), strict=True)
        return float(median(sum(run["wall"] for run in above) / below["wall"] for *above, below in rounds))

    return figure


def _peak(measured: Measured) -> float | None:
    runs = measured["costs"].get("full")
    return median(run["peak"] for run in runs) / 1000 * 1.048576 if runs else None


def _file_ratio(measured: Measured) -> float | None:
    sizes = measured["bytes"]
    return float(sizes["full"] / sizes["limit"]) if {"full", "limit"} <= sizes.keys() else None


TARGETS = (
    Target("`engine` / `limit`", _ratio("engine", "limit"), (2.0, 1.8)),
    Target("`full` / `script`", _ratio("full", "script"), (2.2, 1.4)),
    # What Dagster takes for as many steps, checks and months as ours, and a load that checks nothing.
    Target("(`shape_all` + `limit`) / `script`, the floor of it", _ratio("shape_all + limit", "script"), None),
    Target("`again` / `full`", _ratio("again", "full"), (1.2, 1.2)),
    Target("`month` / `noop`", _ratio("month", "noop"), (1.25, 1.5)),
    Target("`unchanged` / `noop`", _ratio("unchanged", "noop"), (1.6, 3.0)),
    Target("`shape` / `noop`, the floor of it", _ratio("shape", "noop"), None),
    Target("`dbt_microbatch` / `full`", _ratio("dbt_microbatch", "full"), (1.0, 1.0), at_least=True),
    Target("`dbt` / `full`", _ratio("dbt", "full"), (0.8, 1.0), at_least=True),
    Target("`sqlmesh` / `full`", _ratio("sqlmesh", "full"), (0.8, 1.0), at_least=True),
    Target("peak memory of `full`, GB", _peak, (1.0, 1.5)),
    Target("warehouse file / `limit`'s file", _file_ratio, (1.2, 1.2)),
)
_SIZES_WITH_AIMS = ("2000x36", "20000x36")


def write_report(folder: Path) -> None:
    """Write `benchmarks.md` and `benchmarks.png` over every size measured in `folder`."""
    sizes = read_sizes(folder)
    parts = [_targets(sizes), *(_figures(measured) for measured in sizes.values()), _growth(sizes)]
    parts += filter(None, [lake_part(folder / "lake"), instances_part(folder / "instances")])
    (folder / "benchmarks.md").write_text("\n\n".join(parts) + "\n", encoding="utf-8")
    _draw(sizes, folder / "benchmarks.png")


def _targets(sizes: dict[str, Measured]) -> str:
    measured = [sizes.get(size) for size in _SIZES_WITH_AIMS]
    rows = []
    for target in TARGETS:
        row = [target.meaning]
        word = "at least" if target.at_least else "at most"
        aims = [f"{word} {aim:g}" for aim in target.aims] if target.aims else ["", ""]
        for found, aim in zip(measured, aims, strict=True):
            figure = target.figure(found) if found else None
            row += ["" if figure is None else f"{figure:.2f}", aim]
        rows.append(row)
    return table(["what", "2,000 hosts", "aim", "20,000 hosts", "aim"], rows)


def _figures(measured: Measured) -> str:
    rows = [
        [
            f"`{name}`: {CANDIDATES[name].meaning}",
            _spread([run["wall"] for run in runs], "{:.2f}"),
            _spread([run["cpu"] for run in runs], "{:.2f}"),
            _spread([run["peak"] for run in runs], "{:.0f}"),
            f"{measured['bytes'][name] / 1e6:.0f}" if name in measured["bytes"] else "",
        ]
        for name, runs in measured["costs"].items()
    ]
    told = (
        f"{measured['hosts']:,} hosts x {measured['months']} months, {measured['rows']:,} rows; "
        f"median (least to most) of {counted(rounds_of(measured), 'run')}, {measured['taken']}, {measured['machine']}."
    )
    if measured["milliseconds_of_one_series"]:
        told += f" One series by host and resource: {measured['milliseconds_of_one_series']:.0f} ms."
    if measured["not_installed"]:
        told += f" Not installed: {', '.join(measured['not_installed'])}."
    return f"{told}\n\n" + table(["what", "wall, s", "cpu, s", "peak, MiB", "file, MB"], rows)


def _spread(numbers: Sequence[float], form: str) -> str:
    least, middle, most = (form.format(each) for each in (min(numbers), median(numbers), max(numbers)))
    return f"{middle} ({least} to {most})"


def _growth(sizes: dict[str, Measured]) -> str:
    """Cost a million rows, for what was measured in more than one size."""
    rows = []
    for size, measured in sizes.items():
        row = [f"{size.replace('x', ' hosts x ')} months", f"{measured['rows'] / 1e6:.1f}"]
        for name in ("limit", "engine", "full"):
            runs = measured["costs"].get(name)
            wall = median(run["wall"] for run in runs) if runs else None
            peak = median(run["peak"] for run in runs) if runs else None
            row += ["", ""] if wall is None else [f"{wall / measured['rows'] * 1e6:.3f}", f"{peak:.0f}"]
        rows.append(row)
    header = ["size", "million rows"]
    for name in ("limit", "engine", "full"):
        header += [f"`{name}`, s per million", "peak, MiB"]
    return table(header, rows)


def _draw(sizes: dict[str, Measured], file: Path) -> None:
    """Wall seconds of every candidate, a panel for each size that holds all of them."""
    shown = {size: measured for size, measured in sizes.items() if len(measured["costs"]) > 3}
    if not shown:
        return
    figure = Figure(figsize=(5.5 * len(shown), 3.6), dpi=110)
    panels = figure.subplots(1, len(shown), squeeze=False)[0]
    for panel, (size, measured) in zip(panels, shown.items(), strict=True):
        names = list(measured["costs"])[::-1]
        walls = [[run["wall"] for run in measured["costs"][name]] for name in names]
        middles = [median(each) for each in walls]
        spread = [
            [middle - min(each) for middle, each in zip(middles, walls, strict=True)],
            [max(each) - middle for middle, each in zip(middles, walls, strict=True)],
        ]
        ours = {"engine", "full", "again", "unchanged", "month"}
        colors = ["#2f6f9f" if name in ours else "#b8b8b8" for name in names]
        panel.barh(names, middles, xerr=spread, color=colors, ecolor="#555555", capsize=2)
        panel.set_title(f"{size.replace('x', ' hosts x ')} months", fontsize=9.5, loc="left")
        panel.set_xlabel("seconds, median of the whole process", fontsize=8)
        panel.tick_params(labelsize=8)
        panel.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    figure.savefig(file)
