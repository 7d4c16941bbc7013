"""The two pictures of the published history: the behaviours over time, and their coverage by month.

Here: the drawing. Not here: the numbers (`history.py`) and where pictures are kept
(`refinery_assets/assets/reports.py`).

As a process of its own (`main`) it takes a pickled `History` from its input and gives the pictures, a pickled
dictionary of PNG files by name, to its output. Its input and output are its parent's, who started it.
"""

from __future__ import annotations

import os
import pickle
import sys
from collections.abc import Callable
from io import BytesIO
from typing import Any

import numpy as np
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.figure import Figure
from PIL import Image

from refinery_assets.checks.rules import shortened
from refinery_assets.contract.families import UTILIZATION_CEILING_PERCENT
from refinery_assets.reports.history import HOSTS_DRAWN, MOST_BEHAVIORS, History

_COLOR = "#1f6fb4"
_PANELS_IN_A_ROW = 5
_DOTS_PER_INCH = 90
# A run's event log keeps the pictures for as long as the run: few colours make them small.
_PALETTE = 48
# A panel's distance from the next, as a share of its width; and from the next row, in percent of utilization.
_GAP = 0.08
_PITCH = 1.3 * UTILIZATION_CEILING_PERCENT
_LEVELS = (0, 50, 100)
_MOST_MONTH_LABELS = 12
_MOST_LABELS = 400
_MOST_TICKS = 3
_LONGEST_LABEL = 40
_DARK = 0.5


def draw_behaviors(history: History) -> bytes:
    """Small multiples, one panel per behaviour: median and 10 to 90 percent band, as PNG."""
    behaviors = history.behaviors[:MOST_BEHAVIORS]
    rows = max(1, -(-len(behaviors) // _PANELS_IN_A_ROW))
    figure = Figure(figsize=(13, 0.9 + 2.1 * rows), dpi=_DOTS_PER_INCH)
    height = figure.get_figheight()
    # All panels share one pair of axes, each moved to its place: a pair for each takes thrice as long.
    axes = figure.add_axes((0.04, 0.4 / height, 0.95, 1 - 1.1 / height))
    axes.spines[:].set_visible(False)
    days = [day for band in history.bands.values() for day in (band.days[0], band.days[-1])]
    first = min(days, default=np.datetime64("1970-01-01", "D"))
    width = max(_number_of(max(days, default=first), first), 1)
    corners = [
        ((1 + _GAP) * width * (number % _PANELS_IN_A_ROW), -_PITCH * (number // _PANELS_IN_A_ROW))
        for number in range(len(behaviors))
    ]
    areas, lines, frames = [], [], []
    for behavior, (left, bottom) in zip(behaviors, corners, strict=True):
        axes.text(left, bottom + UTILIZATION_CEILING_PERCENT + 3, _label(behavior), fontsize=8.5, parse_math=False)
        frames.append([(left, bottom + UTILIZATION_CEILING_PERCENT), (left, bottom), (left + width, bottom)])
        if band := history.bands.get(behavior):
            across = left + _number_of(band.days, first)
            low, middle, high = bottom + band.low, bottom + band.middle, bottom + band.high
            lines.append(np.column_stack([across, middle]))
            areas.append(np.column_stack([np.append(across, across[::-1]), np.append(low, high[::-1])]))
    axes.add_collection(PolyCollection(areas, facecolor=_COLOR, alpha=0.25, linewidth=0), autolim=False)
    axes.add_collection(LineCollection(lines, colors=_COLOR, linewidth=1), autolim=False)
    axes.add_collection(LineCollection(frames, colors="black", linewidth=0.8, clip_on=False), autolim=False)
    months = history.months[:: max(1, -(-len(history.months) // _MOST_TICKS))]
    ticks = [
        (left + max(0, _number_of(np.datetime64(month, "D"), first)), month)
        for left, _ in corners[:_PANELS_IN_A_ROW]
        for month in months
    ]
    axes.set_xticks([at for at, _ in ticks], [month for _, month in ticks], fontsize=7)
    levels = [(bottom + level, level) for _, bottom in corners[::_PANELS_IN_A_ROW] for level in _LEVELS]
    axes.set_yticks([at for at, _ in levels], [str(level) for _, level in levels], fontsize=7)
    axes.set_xlim(0, (_PANELS_IN_A_ROW + _GAP * (_PANELS_IN_A_ROW - 1)) * width)
    axes.set_ylim(-_PITCH * (rows - 1), UTILIZATION_CEILING_PERCENT)
    drawn = "Wednesdays" if history.only_wednesdays else "all days"
    if history.only_some_hosts:
        drawn += f", at most {HOSTS_DRAWN} hosts each"
    figure.text(
        0.04,
        1 - 0.32 / height,
        f"p95 utilization, percent: median and 10 to 90 percent of each behaviour's readings ({drawn})",
        fontsize=9.5,
    )
    return _png(figure)


def draw_coverage(history: History) -> bytes:
    """A heat map, month by behaviour: which share of the possible readings the table holds, as PNG."""
    behaviors = history.behaviors[:MOST_BEHAVIORS]
    coverage = history.coverage[:MOST_BEHAVIORS]
    figure = Figure(figsize=(13, 1.3 + 0.27 * len(behaviors)), dpi=_DOTS_PER_INCH)
    axes = figure.subplots()
    axes.imshow(coverage, vmin=0, vmax=1, aspect="auto", cmap="YlGnBu", interpolation="nearest")
    step = max(1, -(-len(history.months) // _MOST_MONTH_LABELS))
    axes.set_xticks(range(0, len(history.months), step), history.months[::step], fontsize=7.5)
    axes.set_yticks(range(len(behaviors)), map(_label, behaviors), fontsize=8, parse_math=False)
    # Only what lacks is labelled; rounded down, so that nothing but the whole is taken for it.
    for row, column in np.argwhere(coverage < 1)[:_MOST_LABELS]:
        share = coverage[row, column]
        color = "white" if share > _DARK else "black"
        axes.text(column, row, f"{int(share * 100)}", ha="center", va="center", fontsize=6.5, color=color)
    axes.set_title(
        "Readings in the table, of those that the behaviour's hosts would have: dark is all of them, "
        "less stands there in percent (imputed ones are not counted)",
        fontsize=9.5,
        loc="left",
    )
    figure.subplots_adjust(left=0.14, right=0.99, bottom=0.12, top=0.9)
    return _png(figure)


PICTURES: dict[str, Callable[[History], bytes]] = {"behaviors": draw_behaviors, "coverage": draw_coverage}
"""The pictures by name; each is a PNG file."""


def _number_of(days: Any, first: np.datetime64) -> Any:
    """Days, or one of them, as their distance from the first."""
    return (days - first) / np.timedelta64(1, "D")


def _label(behavior: str) -> str:
    return shortened(behavior.lower().replace("/", " / "), _LONGEST_LABEL)


def _png(figure: Figure) -> bytes:
    raw = BytesIO()
    figure.savefig(raw, format="rgba")
    size = tuple(int(side * _DOTS_PER_INCH) for side in figure.get_size_inches())
    drawn = Image.frombytes("RGBA", (size[0], size[1]), raw.getvalue()).convert("RGB")
    file = BytesIO()
    drawn.quantize(_PALETTE, method=Image.Quantize.FASTOCTREE).save(file, "PNG")
    return file.getvalue()


def main() -> None:
    """Draw what the parent sends; it sends nothing when there is nothing to draw."""
    sent = sys.stdin.buffer.read()
    if sent:
        history: History = pickle.loads(sent)  # noqa: S301 - from our own process
        sys.stdout.buffer.write(pickle.dumps({name: draw(history) for name, draw in PICTURES.items()}))
        sys.stdout.flush()
        # The parent waits; to take the library down piece by piece would take half as long as a picture.
        os._exit(0)
