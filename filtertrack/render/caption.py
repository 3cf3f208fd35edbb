"""Caption and legend of an animation: step, title and metrics above the grids, labels below."""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import product

import numpy as np
from PIL import ImageFont

from filtertrack.errors import counted, number_text, printable
from filtertrack.render.palette import BACKGROUND, FIRST, OUTLINE, OUTLINED, TEXT
from filtertrack.render.sparkline import Axis, Curve, Log, Metric, Sparkline, metrics_of
from filtertrack.render.text import (
    QUIET,
    cut,
    font,
    font_size,
    joined_lines,
    line,
    line_height,
    paste,
    shortened,
)
from filtertrack.snapshot import Moment, describe

_PLOT_HEIGHT = 2.4
"""Height of a plot, in lines of text."""
_STROKE = 0.1
"""Width of a plot's lines, in font sizes; at least one pixel."""
_SQUARE = 0.7
"""Side of the legend's coloured squares, in font sizes."""
_SMALL = 0.8
"""Size of the text about the plots, as a share of the font size where that is not the smallest."""
_NARROWEST_PLOT = 4
"""Width of a plot without the labels beside it, in font sizes, at least."""
_MISSING = "–"
_DIGITS = re.compile(r"[0-9]")
_MOST_METRICS = 32
_LONGEST_NAME = 200
"""Characters of a metric's name that are looked at."""


class Caption:
    """Draws the caption of an animation's frames; its parts never move.

    Every metric that occurs anywhere in the run has a fixed position from the first frame on, wide
    enough for all of its values. A snapshot without a value of its own shows the last one logged.
    At most 32 metrics are shown, and the number of the others. Beside each plot are its lowest and
    highest value; below the plots is a line about their horizontal axis and their values.

    Args:
        title: Such as the layer's name.
        moments: Of the snapshots.
        logs: For each of one or two runs, each snapshot's metrics.
        axis: The time of each snapshot in the animation, and of the ends of epochs.
        width: Width of the caption, in pixels.
        averaged: Names of the metrics that are means since the snapshot before.

    Attributes:
        height: Height of the caption, in pixels; even, as video requires.
    """

    def __init__(
        self,
        title: str,
        moments: Sequence[Moment],
        logs: Sequence[Sequence[Log]],
        axis: Axis,
        width: int,
        *,
        averaged: Sequence[str] = (),
    ) -> None:
        self._moments, self._axis, self._width = moments, axis, width
        self._size = font_size(width)
        self._bold, self._plain = font(self._size, bold=True), font(self._size)
        small = max(font_size(0), round(_SMALL * self._size))
        self._small, self._small_line = font(small), line_height(small)
        self._margin = self._size // 2
        self._line = line_height(self._size)
        self._inner_width = width - 2 * self._margin
        top = self._place_title(title)
        metrics, more = metrics_of(logs, _MOST_METRICS)
        self._more = f"… and {more} more" if more else ""
        self._readings = [_Reading(metric, self._plain, self._inner_width) for metric in metrics]
        end = self._place_metrics(top, metrics, averaged)
        places = product(self._tops, self._columns_left)
        self._placed = list(zip(places, self._readings, strict=False))
        self._more_at = (end, self._margin)
        height = end + (self._line if more else 0) + self._margin
        self.height = height + height % 2
        self._still = self._draw_still()

    def _place_title(self, title: str) -> int:
        """Place the title beside the step, or in lines below it if both are too long for one line.

        Returns:
            The top of what comes below.
        """
        steps = _widest(map(describe, self._moments), self._bold)
        self._title = joined_lines(title.split(" · "), self._plain, self._inner_width)
        width = self._plain.getlength(self._title[0])
        top = self._margin + self._line
        long = steps + 2 * self._size + width > self._inner_width
        if len(self._title) > 1 or long:
            self._title_at = top, self._margin
            return top + self._line * len(self._title)
        self._title_at = self._margin, self._width - self._margin - math.ceil(width)
        return top

    def _place_metrics(self, top: int, metrics: Sequence[Metric], averaged: Sequence[str]) -> int:
        """Place the metrics in rows and columns; the first row has plots below its values.

        Returns:
            The top of what comes below.
        """
        columns, spacing = self._columns()
        self._columns_left = [self._margin + spacing * column for column in range(columns)]
        plotted = metrics[:columns]
        self._label_width = self._widest_label(plotted)
        plot = (round(_PLOT_HEIGHT * self._line), spacing - self._size - self._label_width)
        stroke = max(1.0, _STROKE * self._size)
        self._plots = [Sparkline(metric, self._axis, plot, stroke) for metric in plotted]
        if not metrics:
            self._tops, self._explained, self._explained_top = [], [], top
            return top
        self._explained = self._explanation(averaged)
        self._explained_top = top + self._line + plot[0] + self._margin // 2
        below = self._explained_top + self._small_line * len(self._explained)
        rows = math.ceil(len(metrics) / columns)
        self._tops = [top, *(below + self._line * row for row in range(rows - 1))]
        return below + self._line * (rows - 1)

    def _explanation(self, averaged: Sequence[str]) -> list[str]:
        """Return lines that say what the plots' horizontal axis and values are."""
        parts = [f"horizontal: {self._axis.label}"]
        if every := self._plots[0].tick_epochs:
            parts.append("ticks: epochs" if every == 1 else f"ticks: every {every} epochs")
        if averaged:
            names = ", ".join(printable(cut(name, _LONGEST_NAME)) for name in averaged)
            text = f"{names}: mean since the snapshot before"
            if len(text) > _LONGEST_NAME or self._small.getlength(text) > self._inner_width:
                text = counted(len(averaged), "means since the snapshot before")
            parts.append(text)
        return joined_lines(parts, self._small, self._inner_width)

    def _widest_label(self, metrics: Sequence[Metric]) -> int:
        """Return the width of the widest label beside a plot, in pixels, with the space before."""
        values = [
            curve.values[np.isfinite(curve.values)] for metric in metrics for curve in metric.curves
        ]
        texts = [number_text(f(each)) for each in values if len(each) for f in (np.min, np.max)]
        return math.ceil(max(map(self._small.getlength, texts), default=0)) + self._size // 3

    def _columns(self) -> tuple[int, int]:
        """Return the number of metrics side by side, and the distance between them in pixels."""
        if not self._readings:
            return 1, self._inner_width
        available = self._inner_width + self._size
        narrowest = _NARROWEST_PLOT * self._size
        widest = max(narrowest, *(reading.width for reading in self._readings))
        most = max(1, math.floor(available / (widest + self._size)))
        rows = math.ceil(len(self._readings) / most)
        columns = math.ceil(len(self._readings) / rows)
        return columns, available // columns

    def draw(self, position: float) -> np.ndarray:
        """Draw the caption of one frame.

        Args:
            position: Number of the snapshot; 2.5 is half-way between snapshots 2 and 3.

        Returns:
            ``uint8`` array of shape ``(height, width)``: entries of the palette.
        """
        snapshot = math.floor(position)
        picture = self._still.copy()
        step = describe(self._moments[snapshot])
        paste(picture, (self._margin, self._margin), line(step, self._bold))
        for at, reading in self._placed:
            reading.draw_values(picture, at, snapshot)
        knots = self._axis.knots
        time = float(np.interp(position, np.arange(len(knots)), knots))
        for plot, left in zip(self._plots, self._columns_left, strict=False):
            paste(picture, (self._tops[0] + self._line, left), plot.draw(time))
        return picture

    def _draw_still(self) -> np.ndarray:
        """Draw what is the same in every frame."""
        picture = np.full((self.height, self._width), BACKGROUND, np.uint8)
        texts = [*self._title, self._more]
        places = [
            (self._title_at[0] + self._line * n, self._title_at[1]) for n in range(len(self._title))
        ]
        for at, text in zip([*places, self._more_at], texts, strict=True):
            if text:
                paste(picture, at, line(text, self._plain, TEXT, QUIET))
        for number, text in enumerate(self._explained):
            at = self._explained_top + self._small_line * number, self._margin
            paste(picture, at, line(text, self._small, TEXT, QUIET))
        for at, reading in self._placed:
            reading.draw_names(picture, at)
        for plot, left in zip(self._plots, self._columns_left, strict=False):
            if plot.span:
                self._draw_span(picture, plot, left + plot.shape[1] + self._label_width)
        return picture

    def _draw_span(self, picture: np.ndarray, plot: Sparkline, right: int) -> None:
        """Draw the highest value at the upper end of a plot and the lowest at the lower end."""
        low, high = map(number_text, plot.span or ())
        lowest = plot.shape[0] - self._small_line
        labels = {0: high, lowest: low} if low != high else {lowest // 2: low}
        for offset, text in labels.items():
            top = self._tops[0] + self._line + offset
            left = right - math.ceil(self._small.getlength(text))
            paste(picture, (top, left), line(text, self._small, TEXT, QUIET))


class _Reading:
    """A metric's name and its one or two values, at fixed positions.

    Args:
        metric: The metric.
        face: The font.
        available: Width available, in pixels; the name is shortened if the values need more.

    Attributes:
        width: Width of name and widest values, in pixels.
    """

    def __init__(self, metric: Metric, face: ImageFont.FreeTypeFont, available: int) -> None:
        self._metric, self._face = metric, face
        space = face.getlength("  ")
        labels = [f"{curve.label} " if curve.label else "" for curve in metric.curves]
        widths = [_widest(_value_texts(curve), face) for curve in metric.curves]
        taken = sum(map(face.getlength, labels)) + sum(widths) + space * (len(widths) - 1)
        name = shortened(
            f"{printable(cut(metric.name, _LONGEST_NAME))} ", face, max(available - taken, 0)
        )
        self._still = [(0, name)]
        self._values_left = []
        left = face.getlength(name)
        for label, width in zip(labels, widths, strict=True):
            self._still.append((round(left), label))
            left += face.getlength(label)
            self._values_left.append(round(left))
            left += width + space
        self.width = math.ceil(left - space)

    def draw_names(self, picture: np.ndarray, at: tuple[int, int]) -> None:
        """Draw the names of the metric and its curves into a picture of palette entries."""
        top, left = at
        for offset, text in self._still:
            paste(picture, (top, left + offset), line(text, self._face, TEXT, QUIET))

    def draw_values(self, picture: np.ndarray, at: tuple[int, int], snapshot: int) -> None:
        """Draw the values at one snapshot into a picture of palette entries."""
        top, left = at
        values = zip(self._values_left, self._metric.curves, strict=True)
        for ramp, (offset, curve) in enumerate(values, start=FIRST):
            text = _value_text(curve, snapshot)
            paste(picture, (top, left + offset), line(text, self._face, ramp))


def _widest(texts: Iterable[str], face: ImageFont.FreeTypeFont) -> float:
    """Return the width of the widest text, in pixels; all digits have the same width."""
    return max(map(face.getlength, {_DIGITS.sub("0", text) for text in texts}), default=0.0)


def _value_texts(curve: Curve) -> list[str]:
    return [_value_text(curve, snapshot) for snapshot in range(len(curve.values))]


def _value_text(curve: Curve, snapshot: int) -> str:
    known = curve.known[snapshot]
    return number_text(float(curve.values[snapshot])) if known else _MISSING


class Legend:
    """Draws the legend of outline colours: a square and a label each, with the number of filters.

    Args:
        width: Width of the legend, in pixels.
        most: The largest count; None if the legend has no counts. Of one filter there are none
            either: only its own label is drawn.

    Attributes:
        height: Height of the legend, in pixels; even, as video requires.
    """

    def __init__(self, width: int, most: int | None = None) -> None:
        size = font_size(width)
        self._face, self._width = font(size), width
        self._line = line_height(size)
        self._square = round(_SQUARE * size)
        self._space = round(self._face.getlength(" "))
        self._single = most == 1
        digits = "" if most is None or self._single else " " + "0" * len(str(most))
        self._positions: list[tuple[int, int]] = []
        margin, gap = size // 2, 3 * self._space
        row, left = 0, margin
        for name in OUTLINED:
            text_width = math.ceil(self._face.getlength(name + digits))
            entry = self._square + self._space + text_width
            if self._positions and left + entry > width - margin:
                row, left = row + 1, margin
            self._positions.append((row, left))
            left += entry + gap
        height = (row + 1) * self._line
        self.height = height + height % 2

    def draw(self, counts: Mapping[str, int] | None = None) -> np.ndarray:
        """Draw the legend.

        Args:
            counts: Number of filters for each label; None for a legend without counts.

        Returns:
            ``uint8`` array of shape ``(height, width)``: entries of the palette.
        """
        picture = np.full((self.height, self._width), BACKGROUND, np.uint8)
        square = np.empty((self._square, self._square), np.uint8)
        for number, (name, (row, left)) in enumerate(zip(OUTLINED, self._positions, strict=True)):
            if self._single and counts is not None and not counts.get(name):
                continue
            top = row * self._line
            square[:] = OUTLINE + number
            paste(picture, (top + (self._line - self._square) // 2, left), square)
            text = name if counts is None or self._single else f"{name} {counts.get(name, 0)}"
            text_left = left + self._square + self._space
            paste(picture, (top, text_left), line(text, self._face, TEXT, QUIET))
        return picture
