"""The charts of the monthly report: the behaviors' utilization over the months, and their coverage.

Here: the drawing; plain data in, PNG files out. A chart is drawn once and marked for each month that it
shows, which takes a few milliseconds a month. It is drawn with Pillow, because to load a plotting library and
to draw with it would take a second of every run. Not here: the numbers (`report_history.py`), and where the
files go (`monthly_report.py`).
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO

from PIL import Image, ImageDraw, ImageFont

from refinery_assets.checks.rules import shortened
from refinery_assets.contract.families import UTILIZATION_CEILING_PERCENT
from refinery_assets.contract.months import Month
from refinery_assets.reports.report_history import BehaviorMonth, History

MOST_BEHAVIORS = 50
"""More behaviors than these make no chart; of a team's own classes the first by name are shown."""

# As wide as the page on which the Dagster UI shows a report.
_WIDTH = 900
_MARGIN = 12
_TITLE_HEIGHT = 44
# What is drawn larger and then reduced has smooth edges; text is smooth by itself.
_SCALE = 3
# A run's event log keeps the charts for as long as the run: few colours make them small.
_PALETTE = 48
# Twice as fast as zlib's default, for a tenth more bytes.
_COMPRESSION = 3

_LINE = (31, 111, 180)
_BAND = (199, 219, 236)
_MARK = (208, 58, 40)
_GRID = (228, 228, 228)
_UNPUBLISHED = (205, 205, 205)
_BLACK, _WHITE = (0, 0, 0), (255, 255, 255)

_PANELS_IN_A_ROW = 5
_PANEL_HEIGHT = 110
_PANEL_GAP = 16
_PANEL_PITCH = _PANEL_HEIGHT + 50
_LEVELS = (0, 50, 100)
_AXIS_WIDTH = 26
_MONTH_LABEL_WIDTH = 52

_ROW_HEIGHT = 17
_NAME_WIDTH = 176
_LEAST_WIDTH_FOR_A_SHARE = 14
_LONGEST_LABEL = 28

_TITLE_FONT, _FONT, _SMALL_FONT = (ImageFont.load_default(size) for size in (13, 11, 10))

_Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Chart:
    """A chart that is drawn but for the mark of one month.

    Attributes:
        image: The chart, in few colours.
        marks: For each month the frames to draw around it.
        color: The place of the mark's colour among the chart's.
    """

    image: Image.Image
    marks: Mapping[Month, Sequence[_Box]]
    color: int

    def marked(self, month: Month) -> bytes:
        """The chart with `month` marked, as PNG; unmarked when the chart does not show it."""
        image = self.image.copy()
        drawing = ImageDraw.Draw(image)
        for box in self.marks.get(month, ()):
            drawing.rectangle(box, outline=self.color)
        file = BytesIO()
        image.save(file, "PNG", compress_level=_COMPRESSION)
        return file.getvalue()


def behaviors_chart(history: History, months: Sequence[Month]) -> Chart:
    """Small multiples, a panel per behavior: median and 10 to 90 percent of the series' monthly means."""
    behaviors = list(history.hosts)[:MOST_BEHAVIORS]
    rows = max(1, -(-len(behaviors) // _PANELS_IN_A_ROW))
    left, top = _MARGIN + _AXIS_WIDTH, _TITLE_HEIGHT + 20
    pitch = (_WIDTH - left - _MARGIN + _PANEL_GAP) / _PANELS_IN_A_ROW
    width = pitch - _PANEL_GAP
    corners = [
        (left + pitch * (number % _PANELS_IN_A_ROW), top + _PANEL_PITCH * (number // _PANELS_IN_A_ROW))
        for number in range(len(behaviors))
    ]
    canvas = _Canvas(top + _PANEL_PITCH * rows - 24)
    slot = width / max(1, len(months))
    for behavior, (x, y) in zip(behaviors, corners, strict=True):
        for level in _LEVELS:
            height = y + _down(level)
            canvas.line([(x, height), (x + width, height)], _GRID if level else _BLACK, 1)
        cells = [history.cells.get((behavior, month)) for month in months]
        for first, run in _unbroken(cells):
            _draw_band(canvas, [x + slot * (first + at + 0.5) for at in range(len(run))], y, run)
    canvas.reduce()
    for number, (behavior, (x, y)) in enumerate(zip(behaviors, corners, strict=True)):
        canvas.text((x, y - 17), _label(behavior))
        if number % _PANELS_IN_A_ROW == 0:
            for level in _LEVELS:
                canvas.text((x - 4, y + _down(level)), str(level), anchor="rm", font=_SMALL_FONT)
        for at in _labelled(len(months), width):
            canvas.text((x + slot * (at + 0.5), y + _PANEL_HEIGHT + 6), str(months[at]), anchor="mt", font=_SMALL_FONT)
    canvas.title(
        "p95 utilization, percent: median and 10 to 90 percent of the monthly means of a behavior's series",
        months,
    )
    half = max(slot / 2, 2)
    return canvas.chart(
        {
            month: [
                (x + slot * (at + 0.5) - half, y, x + slot * (at + 0.5) + half, y + _PANEL_HEIGHT) for x, y in corners
            ]
            for at, month in enumerate(months)
        }
    )


def coverage_chart(history: History, months: Sequence[Month]) -> Chart:
    """A heat map, behavior by month: the share of the due readings that the table holds."""
    behaviors = [name for name, due in history.hosts.items() if due][:MOST_BEHAVIORS]
    left, top = _MARGIN + _NAME_WIDTH, _TITLE_HEIGHT
    bottom = top + _ROW_HEIGHT * max(1, len(behaviors))
    canvas = _Canvas(bottom + 24)
    slot = (_WIDTH - left - _MARGIN) / max(1, len(months))
    shares: list[tuple[float, float, float]] = []
    for row, behavior in enumerate(behaviors):
        for column, month in enumerate(months):
            x, y = left + slot * column, top + _ROW_HEIGHT * row
            share = history.coverage(behavior, month)
            canvas.box((x, y, x + slot - 1, y + _ROW_HEIGHT - 1), _shade(share))
            if share is not None and share < 1 and slot >= _LEAST_WIDTH_FOR_A_SHARE:
                shares.append((x + slot / 2, y + _ROW_HEIGHT / 2, share))
    canvas.reduce()
    for center_x, center_y, share in shares:
        color = _WHITE if share > 1 / 2 else _BLACK
        # Rounded down, so that nothing but the whole is taken for it.
        canvas.text((center_x, center_y), f"{int(share * 100)}", anchor="mm", font=_SMALL_FONT, color=color)
    for row, behavior in enumerate(behaviors):
        canvas.text((left - 6, top + _ROW_HEIGHT * (row + 0.5)), _label(behavior), anchor="rm")
    for at in _labelled(len(months), _WIDTH - left - _MARGIN):
        middle = min(left + slot * (at + 0.5), _WIDTH - _MONTH_LABEL_WIDTH / 2)
        canvas.text((middle, bottom + 5), str(months[at]), anchor="mt", font=_SMALL_FONT)
    canvas.title("Readings in the table, in percent of those due: dark is all of them, grey is not published", months)
    return canvas.chart(
        {month: [(left + slot * at - 1, top - 2, left + slot * (at + 1), bottom)] for at, month in enumerate(months)}
    )


class _Canvas:
    """A drawing: first its shapes, then, once it is reduced to its size, its text."""

    def __init__(self, height: int) -> None:
        self._image = Image.new("RGB", (_WIDTH * _SCALE, height * _SCALE), _WHITE)
        self._drawing = ImageDraw.Draw(self._image)

    def line(self, points: Sequence[tuple[float, float]], color: tuple[int, int, int], width: float) -> None:
        self._drawing.line(
            [(x * _SCALE, y * _SCALE) for x, y in points], color, max(1, round(width * _SCALE)), joint="curve"
        )

    def area(self, points: Sequence[tuple[float, float]], color: tuple[int, int, int]) -> None:
        self._drawing.polygon([(x * _SCALE, y * _SCALE) for x, y in points], color)

    def box(self, box: _Box, color: tuple[int, int, int]) -> None:
        left, top, right, bottom = (side * _SCALE for side in box)
        self._drawing.rectangle((left, top, max(left, right), bottom), color)

    def reduce(self) -> None:
        self._image = self._image.reduce(_SCALE)
        self._drawing = ImageDraw.Draw(self._image)

    def text(
        self,
        place: tuple[float, float],
        text: str,
        *,
        anchor: str = "la",
        font: ImageFont.FreeTypeFont | ImageFont.ImageFont = _FONT,
        color: tuple[int, int, int] = _BLACK,
    ) -> None:
        self._drawing.text(place, text, color, font, anchor)

    def title(self, title: str, months: Sequence[Month]) -> None:
        """The title, and below it what the mark means."""
        self.text((_MARGIN, 8), title, font=_TITLE_FONT)
        if months:
            self._drawing.rectangle((_MARGIN, 28, _MARGIN + 8, 36), outline=_MARK)
            self.text((_MARGIN + 14, 26), "the month of this report")
        else:
            self.text((_MARGIN, 26), "No month is published yet.")

    def chart(self, marks: Mapping[Month, Sequence[_Box]]) -> Chart:
        # The mark's colour is in the legend, so it is one of the few.
        image = self._image.quantize(_PALETTE, method=Image.Quantize.FASTOCTREE)
        color = image.getpixel((_MARGIN, 28))
        return Chart(image, marks, color if isinstance(color, int) else 0)


def _draw_band(canvas: _Canvas, across: Sequence[float], top: float, run: Sequence[BehaviorMonth]) -> None:
    """Months that follow one another, as band and line; a single one as a bar with a dash."""
    low, middle, high = (
        [top + _down(level) for level in levels]
        for levels in zip(*((cell.low, cell.middle, cell.high) for cell in run), strict=True)
    )
    if len(run) == 1:
        ((x,), (lower,), (center,), (upper,)) = across, low, middle, high
        canvas.line([(x, lower), (x, upper)], _BAND, 6)
        canvas.line([(x - 4, center), (x + 4, center)], _LINE, 2)
        return
    upper_edge = list(zip(across, high, strict=True))
    lower_edge = list(zip(across, low, strict=True))
    canvas.area([*upper_edge, *reversed(lower_edge)], _BAND)
    canvas.line(list(zip(across, middle, strict=True)), _LINE, 1.4)


def _unbroken(cells: Sequence[BehaviorMonth | None]) -> list[tuple[int, list[BehaviorMonth]]]:
    """Runs of months that are there, each with the place of its first."""
    runs: list[tuple[int, list[BehaviorMonth]]] = []
    for at, cell in enumerate(cells):
        if cell is None:
            continue
        if runs and runs[-1][0] + len(runs[-1][1]) == at:
            runs[-1][1].append(cell)
        else:
            runs.append((at, [cell]))
    return runs


def _labelled(months: int, width: float) -> range:
    """The places of the months whose names find room side by side."""
    return range(0, months, max(1, -(-months * _MONTH_LABEL_WIDTH // int(width))))


def _down(level: float) -> float:
    """How far below a panel's top a level lies."""
    return _PANEL_HEIGHT * (1 - level / UTILIZATION_CEILING_PERCENT)


def _shade(share: float | None) -> tuple[int, int, int]:
    """From nearly white to dark."""
    if share is None:
        return _UNPUBLISHED
    # Lighter at once where anything lacks: 97 percent must not look like all.
    strength = 1.0 if share >= 1 else 0.1 + 0.65 * max(0.0, share)
    red, green, blue = (
        round(light + (dark - light) * strength) for light, dark in zip((250, 252, 255), _LINE, strict=True)
    )
    return red, green, blue


def _label(behavior: str) -> str:
    """The name as the font can write it, which knows no accents and no other scripts."""
    plain = unicodedata.normalize("NFKD", behavior.casefold().replace("/", " / "))
    known = "".join(character for character in plain if not unicodedata.combining(character))
    return shortened("".join(c if c.isascii() and c.isprintable() else "?" for c in known), _LONGEST_LABEL)


CHARTS: Mapping[str, Callable[[History, Sequence[Month]], Chart]] = {
    "behaviors": behaviors_chart,
    "coverage": coverage_chart,
}
"""The charts of a report, by the names of their files."""
