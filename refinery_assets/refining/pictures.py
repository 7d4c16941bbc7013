"""The two pictures of the published history: the behaviours over time, and their coverage by month.

Here: the drawing. Not here: the numbers (`history.py`) and where pictures are kept
(`refinery_assets/assets/reports.py`).

As a process of its own it takes a pickled `History` from its input and gives the pictures, a pickled
dictionary of PNG files by name, to its output. Its input and output are its parent's, who started it.
"""

from __future__ import annotations

import pickle
import sys
from collections.abc import Callable
from io import BytesIO

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from refinery_assets.contract import UTILIZATION_CEILING_PERCENT
from refinery_assets.refining.history import HOSTS_DRAWN, MOST_BEHAVIORS, History
from refinery_assets.refining.rules import shortened

_COLOR = "#1f6fb4"
_PANELS_IN_A_ROW = 5
_DOTS_PER_INCH = 90
# A run's event log keeps the pictures for as long as the run: few colours make them small.
_PALETTE = 48
_MOST_MONTH_LABELS = 18
_MOST_LABELS = 400
_MOST_TICKS = 3
_LONGEST_LABEL = 40
_DARK = 0.5


def draw_behaviors(history: History) -> bytes:
    """Small multiples, one panel per behaviour: median and 10 to 90 percent band, as PNG."""
    behaviors = history.behaviors[:MOST_BEHAVIORS]
    rows = max(1, -(-len(behaviors) // _PANELS_IN_A_ROW))
    figure = Figure(figsize=(13, 0.9 + 2.1 * rows), dpi=_DOTS_PER_INCH)
    panels = figure.subplots(rows, _PANELS_IN_A_ROW, squeeze=False, gridspec_kw={"hspace": 0.28})
    ticks = history.months[:: max(1, -(-len(history.months) // _MOST_TICKS))]
    days = [day for band in history.bands.values() for day in (band.days[0], band.days[-1])]
    for number, (panel, behavior) in enumerate(zip(panels.flat, behaviors, strict=False)):
        panel.text(0, 1.03, _label(behavior), transform=panel.transAxes, fontsize=8.5, parse_math=False)
        if band := history.bands.get(behavior):
            panel.fill_between(band.days, band.low, band.high, color=_COLOR, alpha=0.25, linewidth=0)
            panel.plot(band.days, band.middle, color=_COLOR, linewidth=1)
        panel.set_ylim(0, UTILIZATION_CEILING_PERCENT)
        if days and min(days) < max(days):
            panel.set_xlim(min(days), max(days))
        # Ticks take most of the time to draw, so that only the panels at the edges have them.
        is_lowest, is_first = number + _PANELS_IN_A_ROW >= len(behaviors), number % _PANELS_IN_A_ROW == 0
        panel.set_xticks(np.array(ticks, "datetime64[D]"), ticks) if is_lowest else panel.set_xticks([])
        if not is_first:
            panel.set_yticks([])
        panel.tick_params(labelsize=7)
        panel.spines[["top", "right"]].set_visible(False)
    for panel in panels.flat[len(behaviors) :]:
        panel.set_axis_off()
    drawn = "Wednesdays" if history.only_wednesdays else "all days"
    if history.only_some_hosts:
        drawn += f", at most {HOSTS_DRAWN} hosts each"
    figure.text(
        0.04,
        1 - 0.32 / figure.get_figheight(),
        f"p95 utilization, percent: median and 10 to 90 percent of each behaviour's readings ({drawn})",
        fontsize=9.5,
    )
    figure.subplots_adjust(
        left=0.04, right=0.99, bottom=0.09, top=1 - 0.7 / figure.get_figheight(), wspace=0.08
    )
    return _png(figure)


def draw_coverage(history: History) -> bytes:
    """A heat map, month by behaviour: which share of the possible readings the table holds, as PNG."""
    behaviors = history.behaviors[:MOST_BEHAVIORS]
    coverage = history.coverage[:MOST_BEHAVIORS]
    figure = Figure(figsize=(13, 1.3 + 0.27 * len(behaviors)), dpi=_DOTS_PER_INCH)
    axes = figure.subplots()
    image = axes.imshow(coverage, vmin=0, vmax=1, aspect="auto", cmap="YlGnBu", interpolation="nearest")
    step = max(1, -(-len(history.months) // _MOST_MONTH_LABELS))
    axes.set_xticks(range(0, len(history.months), step), history.months[::step], fontsize=7.5)
    axes.set_yticks(range(len(behaviors)), map(_label, behaviors), fontsize=8, parse_math=False)
    # Only what lacks is labelled; rounded down, so that nothing but the whole is taken for it.
    for row, column in np.argwhere(coverage < 1)[:_MOST_LABELS]:
        share = coverage[row, column]
        color = "white" if share > _DARK else "black"
        axes.text(column, row, f"{int(share * 100)}", ha="center", va="center", fontsize=6.5, color=color)
    axes.set_title(
        "Readings in the table, as a share of those that the behaviour's hosts would have; "
        "below 1 in percent (imputed ones are not counted)",
        fontsize=9.5,
        loc="left",
    )
    figure.colorbar(image, ax=axes, pad=0.01, aspect=12).ax.tick_params(labelsize=7)
    figure.subplots_adjust(left=0.14, right=1.04, bottom=0.12, top=0.9)
    return _png(figure)


PICTURES: dict[str, Callable[[History], bytes]] = {"behaviors": draw_behaviors, "coverage": draw_coverage}
"""The pictures by name; each is a PNG file."""


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


if __name__ == "__main__":
    main()
