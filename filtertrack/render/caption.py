"""The strip above an animation's grids: where training was, what it had reached, and how."""

import math
import re
from collections.abc import Mapping, Sequence

import numpy as np
from PIL import ImageFont

from filtertrack.errors import printable
from filtertrack.render.palette import BACKGROUND, FIRST, OUTLINE, OUTLINED, TEXT
from filtertrack.render.sparkline import Curve, Log, Metric, Sparkline, metrics_of
from filtertrack.render.text import (
    QUIET,
    cut,
    font,
    font_size,
    line,
    line_height,
    paste,
    shortened,
)
from filtertrack.snapshot import Moment, describe

_PLOT_LINES = 2.4
_MISSING = "–"
_MOST_METRICS, _LONGEST_NAME = 32, 200
"""How many metrics are shown, and how many characters of a name are looked at."""


class Caption:
    """Draws the caption of each moment of a film, always in the same places.

    Every metric that occurs anywhere in the run has its own place from the first frame on, wide
    enough for all of its values, so nothing jumps or is cut off while the animation plays. Where a
    snapshot has no value of its own, the last one logged stays. Of more than 32 metrics the first
    are shown, and how many more there are.

    Args:
        title: What is shown, such as the layer's name.
        moments: Of the snapshots.
        logs: For each of one or two runs, each snapshot's metrics.
        knots: For each snapshot its turn in the film, from 0 to 1.
        width: Width of the strip, in pixels.

    Attributes:
        height: Height of the strip, in pixels; even, as video needs it.
    """

    def __init__(
        self,
        title: str,
        moments: Sequence[Moment],
        logs: Sequence[Sequence[Log]],
        knots: np.ndarray,
        width: int,
    ) -> None:
        self._moments, self._knots, self._width = moments, knots, width
        size = font_size(width)
        self._bold, self._plain = font(size, bold=True), font(size)
        self._margin = size // 2
        self._line = line_height(size)
        self._room = width - 2 * self._margin
        when = max(map(self._bold.getlength, map(describe, moments)), default=0)
        self._title = shortened(title, self._plain, self._room)
        below = when + 2 * size + self._plain.getlength(self._title) > self._room
        end = width - self._margin - math.ceil(self._plain.getlength(self._title))
        self._title_at = (self._margin + self._line, self._margin) if below else (self._margin, end)
        metrics, more = metrics_of(logs, _MOST_METRICS)
        self._more = f"… and {more} more" if more else ""
        self._readings = [_Reading(metric, self._plain, self._room) for metric in metrics]
        top = self._margin + (1 + below) * self._line
        self._columns, place = self._places(size)
        plot = (round(_PLOT_LINES * self._line), place - size)
        # Only the first row has room for plots: of many metrics the others are numbers.
        self._plots = [
            Sparkline(metric, knots, plot, max(1.0, size / 10))
            for metric in metrics[: self._columns]
        ]
        self._tops = [top + self._line * row for row in range(self._rows)]
        if self._plots:
            self._tops[1:] = [row + plot[0] + self._margin for row in self._tops[1:]]
        self._lefts = [self._margin + place * column for column in range(self._columns)]
        end = self._tops[-1] + self._line if self._tops else top
        if self._rows == 1:
            end += plot[0]
        self._more_at = (end, self._margin)
        end += self._line if more else 0
        height = end + self._margin
        self.height = height + height % 2

    @property
    def _rows(self) -> int:
        return math.ceil(len(self._readings) / self._columns)

    def draw(self, position: float) -> np.ndarray:
        """Draw the caption of one frame.

        Args:
            position: Number of the snapshot; 2.5 is half-way between snapshots 2 and 3.

        Returns:
            ``uint8`` array of shape ``(height, width)``: entries of the palette.
        """
        snapshot = math.floor(position)
        strip = np.full((self.height, self._width), BACKGROUND, np.uint8)
        when = describe(self._moments[snapshot])
        paste(strip, (self._margin, self._margin), line(when, self._bold))
        paste(strip, self._title_at, line(self._title, self._plain, TEXT, QUIET))
        for number, reading in enumerate(self._readings):
            row, column = divmod(number, self._columns)
            reading.write(strip, (self._tops[row], self._lefts[column]), snapshot)
        if self._more:
            paste(strip, self._more_at, line(self._more, self._plain, TEXT, QUIET))
        turn = float(np.interp(position, np.arange(len(self._knots)), self._knots))
        for plot, left in zip(self._plots, self._lefts, strict=False):
            paste(strip, (self._tops[0] + self._line, left), plot.draw(turn))
        return strip

    def _places(self, size: int) -> tuple[int, int]:
        """Return how many metrics fit side by side, and the pixels each has."""
        if not self._readings:
            return 1, self._room
        widest = max(reading.width for reading in self._readings)
        most = max(1, math.floor((self._room + size) / (widest + size)))
        rows = math.ceil(len(self._readings) / most)
        columns = math.ceil(len(self._readings) / rows)
        return columns, (self._room + size) // columns


class _Reading:
    """A metric's name and its one or two values, which stay where they are.

    Args:
        metric: What is written.
        face: In which font.
        room: Pixels it may take; the name is cut off where its values leave too few.

    Attributes:
        width: Pixels it takes, whatever the values.
    """

    def __init__(self, metric: Metric, face: ImageFont.FreeTypeFont, room: int) -> None:
        self._metric, self._face = metric, face
        space = face.getlength("  ")
        labels = [f"{curve.label} " if curve.label else "" for curve in metric.curves]
        values = [self._widest(curve) for curve in metric.curves]
        taken = sum(map(face.getlength, labels)) + sum(values) + space * (len(values) - 1)
        name = shortened(
            f"{printable(cut(metric.name, _LONGEST_NAME))} ", face, max(room - taken, 0)
        )
        self._still = [(0, name)]
        self._places = []
        at = face.getlength(name)
        for label, width in zip(labels, values, strict=True):
            self._still.append((round(at), label))
            at += face.getlength(label)
            self._places.append(round(at))
            at += width + space
        self.width = math.ceil(at - space)

    def write(self, strip: np.ndarray, at: tuple[int, int], snapshot: int) -> None:
        """Write it into a strip of entries as it was at a snapshot."""
        top, left = at
        for place, text in self._still:
            paste(strip, (top, left + place), line(text, self._face, TEXT, QUIET))
        for ramp, (place, curve) in enumerate(
            zip(self._places, self._metric.curves, strict=True), start=FIRST
        ):
            paste(strip, (top, left + place), line(_value(curve, snapshot), self._face, ramp))

    def _widest(self, curve: Curve) -> float:
        """Return the width of the longest text of a curve: digits are all alike."""
        texts = {re.sub(r"\d", "0", _value(curve, n)) for n in range(len(curve.values))}
        return max(map(self._face.getlength, texts), default=0.0)


def _value(curve: Curve, snapshot: int) -> str:
    known = curve.known[snapshot]
    return number_text(float(curve.values[snapshot])) if known else _MISSING


def number_text(value: float) -> str:
    """Write a metric in about five characters: 0.0314, 2.71, 1.2e+04."""
    if value and math.isfinite(value) and not 1e-3 <= abs(value) < 1e4:
        return f"{value:.1e}"
    return f"{value:.3f}" if abs(value) < 10 else f"{value:.1f}"


class Legend:
    """A strip that names the outlines' colours.

    Args:
        width: Of the strip, in pixels.
        most: The most that is counted; None where nothing is.

    Attributes:
        height: Of the strip, in pixels; even.
    """

    def __init__(self, width: int, most: int | None = None) -> None:
        size = font_size(width)
        self._face, self._width = font(size), width
        self._line, self._margin = line_height(size), size // 2
        digits = "" if most is None else " " + "0" * len(str(most))
        self._square = round(0.7 * size)
        space = self._space = round(self._face.getlength(" "))
        gap = 3 * space
        widths = [
            self._square + space + math.ceil(self._face.getlength(name + digits)) + gap
            for name in OUTLINED
        ]
        self._places: list[tuple[int, int]] = []
        row, left = 0, self._margin
        for wide in widths:
            if self._places and left + wide - gap > width - self._margin:
                row, left = row + 1, self._margin
            self._places.append((row, left))
            left += wide
        height = (row + 1) * self._line
        self.height = height + height % 2

    def draw(self, counts: Mapping[str, int] | None = None) -> np.ndarray:
        """Draw the strip.

        Args:
            counts: How many filters have which label; None where nothing is counted.

        Returns:
            ``uint8`` array of shape ``(height, width)``: entries of the palette.
        """
        strip = np.full((self.height, self._width), BACKGROUND, np.uint8)
        square = np.empty((self._square, self._square), np.uint8)
        for number, (name, (row, left)) in enumerate(zip(OUTLINED, self._places, strict=True)):
            top = row * self._line
            square[:] = OUTLINE + number
            paste(strip, (top + (self._line - self._square) // 2, left), square)
            text = name if counts is None else f"{name} {counts.get(name, 0)}"
            beside = left + self._square + self._space
            paste(strip, (top, beside), line(text, self._face, TEXT, QUIET))
        return strip
