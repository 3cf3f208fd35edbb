"""The size of a figure on paper, and what its title, legend and scale bars take of it."""

import math
import re
from collections.abc import Sequence
from typing import NamedTuple, Self

import numpy as np

from filtertrack.errors import FiltertrackError, size_text
from filtertrack.render.palette import OUTLINED
from filtertrack.render.scale_bar import BarTexts
from filtertrack.render.text import joined_phrases

FONT = 8.0
"""Font size in points, where the labels fit."""
POINT = 1 / 72
"""Inches in a point."""
MARGIN = 0.05
"""Inches at the right and at the bottom."""

_INCHES = {"in": 1.0, "cm": 1 / 2.54, "mm": 1 / 25.4, "": 1.0}
_LARGEST = 200.0
"""Inches of a width or height, at most."""
_LOWEST_DPI, _HIGHEST_DPI = 10, 2400
_HEIGHT_OF_WIDTH = 4 / 3
"""Height as a multiple of the width, where none is given: about that of a page of paper."""

# Multiples of the font size.
DIGIT = 0.64
"""Width of a digit."""
TITLE_LINE = 1.25
CHARACTER = 0.56
"""Width of a character of the title and of a scale bar's texts, about."""
_LEGEND_LINE, _BELOW_LEGEND = 1.5, 0.6
BAR_LINE = 1.7
"""Height of a line of scale bars."""
BAR_WIDTH, BAR_SPACE, _BETWEEN_BARS = 5.0, 0.5, 2.0
"""Length of half a scale bar, the space around it, and that between two scale bars."""

_LEGEND_COLUMNS = {5: 5.4, 3: 3.4, 2: 2.2, 1: 0.0}
"""Number of columns of the legend: inches of width that they take, at least."""

_MOST_MEMORY = 4e9
_BYTES_A_PIXEL, _BYTES_A_GRID_PIXEL = 8, 125
"""Memory that matplotlib takes for a pixel of the figure, and of its largest image: measured."""

Bar = tuple[BarTexts, np.ndarray]
"""The texts and the colours of a scale bar: ``uint8`` array of shape ``(colours, 3)``."""


class PaperSize(NamedTuple):
    """The largest size of a figure, and its resolution.

    Attributes:
        width: In inches.
        height: In inches.
        dpi: Pixels an inch.
    """

    width: float
    height: float
    dpi: int

    @classmethod
    def of(cls, width: str | float, height: str | float | None, dpi: int) -> Self:
        """Parse and check a size.

        Args:
            width: With its unit, such as ``"17cm"`` or ``"6.7in"``, or a number of inches.
            height: The same; None for a third more than the width.
            dpi: Pixels an inch.

        Returns:
            The size.

        Raises:
            FiltertrackError: If a value is not a size, or out of range.

        Example:
            >>> PaperSize.of("6.5in", 4, 300)
            PaperSize(width=6.5, height=4.0, dpi=300)
        """
        if not _LOWEST_DPI <= dpi <= _HIGHEST_DPI:
            raise FiltertrackError(f"dpi: expected {_LOWEST_DPI} to {_HIGHEST_DPI}, got {dpi}")
        wide = _inches("width", width)
        high = _HEIGHT_OF_WIDTH * wide if height is None else _inches("height", height)
        return cls(wide, high, dpi)

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width in whole pixels."""
        return int(self.height * self.dpi), int(self.width * self.dpi)

    def pixels(self, points: float) -> float:
        """Return a length in pixels that is given in points."""
        return points * POINT * self.dpi


def _inches(name: str, size: str | float) -> float:
    match = re.fullmatch(r"\s*(\d*\.?\d+|\d+\.)\s*(in|cm|mm|)\s*", str(size))
    value = float(match[1]) * _INCHES[match[2]] if match else math.nan
    if not 0 < value <= _LARGEST:
        raise FiltertrackError(
            f"{name}: expected a size such as '17cm' or '6.7in', at most {_LARGEST:g} inches, got "
            f"{size!r}"
        )
    return value


def legend_columns(width: float) -> int:
    """Return how many columns the legend has below a figure of that many inches."""
    return next(columns for columns, least in _LEGEND_COLUMNS.items() if width >= least)


def title_lines(words: Sequence[str], paper: PaperSize) -> list[str]:
    """Join the phrases of a title in lines that are about as wide as the figure, at most.

    Example:
        >>> title_lines(["conv1", "one scale", "columns: epochs"], PaperSize.of("4cm", None, 300))
        ['conv1 · one scale', 'columns: epochs']
    """
    most = paper.width / POINT / (FONT * CHARACTER)
    return joined_phrases(words, lambda text: len(text) <= most)


def text_length(lines: Sequence[str], paper: PaperSize) -> float:
    """Return the length of the longest of some lines of text in pixels, about."""
    return paper.pixels(FONT * CHARACTER * max(map(len, lines), default=0))


def bar_length(texts: BarTexts) -> float:
    """Return the length of a scale bar with its texts in font sizes, about."""
    halves = 2 if texts.middle else 1
    return halves * BAR_WIDTH + CHARACTER * len("".join(texts)) + BAR_SPACE * 2 * (halves + 1)


def bars_in_line(bars: Sequence[Bar], paper: PaperSize) -> int:
    """Return how many scale bars lie side by side below a figure."""
    length = sum(bar_length(texts) for texts, _ in bars) + 2 * _BETWEEN_BARS
    return max(1, len(bars)) if length * FONT * POINT <= paper.width else 1


def bars_height(bars: Sequence[Bar], paper: PaperSize) -> int:
    """Return the height of all scale bars, in pixels."""
    lines = math.ceil(len(bars) / bars_in_line(bars, paper))
    return math.ceil(paper.pixels(BAR_LINE * FONT * lines))


def legend_height(paper: PaperSize) -> int:
    """Return the height of the legend, in pixels."""
    lines = math.ceil(len(OUTLINED) / legend_columns(paper.width))
    return math.ceil(paper.pixels((_LEGEND_LINE * lines + _BELOW_LEGEND) * FONT))


def check_figure_memory(shape: tuple[int, int], image: tuple[int, int]) -> None:
    """Raise ``FiltertrackError`` for a figure that would take too much memory.

    Args:
        shape: Height and width of the figure, in pixels.
        image: Height and width of its largest image.
    """
    memory = _BYTES_A_PIXEL * math.prod(shape) + _BYTES_A_GRID_PIXEL * math.prod(image)
    if memory > _MOST_MEMORY:
        raise FiltertrackError(
            f"width: {shape[1]}x{shape[0]} pixels would take about {size_text(memory)} of memory; "
            f"choose a smaller width, height or dpi"
        )
