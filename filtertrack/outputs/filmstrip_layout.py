"""Layout of a filmstrip on paper: blocks of filters in whole pixels, with legible labels."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Self

from filtertrack.errors import FiltertrackError, counted
from filtertrack.outputs.filmstrip_picture import FilmstripPicture
from filtertrack.render.grid import OUTLINED_GAP, Layout
from filtertrack.render.palette import OUTLINED
from filtertrack.render.scale_bar import BarTexts
from filtertrack.render.text import joined_phrases

FONT = 8.0
"""Font size in points, where the labels fit."""
POINT = 1 / 72
"""Inches in a point."""

_SMALLEST_FONT = 5.0
_INCHES = {"in": 1.0, "cm": 1 / 2.54, "mm": 1 / 25.4, "": 1.0}
_LARGEST = 200.0
"""Inches of a width or height, at most."""
_LOWEST_DPI, _HIGHEST_DPI = 10, 2400
_HEIGHT_OF_WIDTH = 4 / 3
"""Height as a multiple of the width, where none is given: about that of a page of paper."""

_NARROWEST_BLOCK = 0.3
_MARGIN = 0.05
"""Inches at the right and at the bottom."""
_GAP, _OUTLINED_GAP = 0.07, 1.6 * 0.07
"""Gap between cells as a share of a column; the second, where cells are outlined."""
_LABELLED_WIDTH = 0.8
"""Share of the width that columns take: an estimate, for the font size."""
_LABEL_OF_COLUMN = 0.95
"""Share of a column that the label of its step takes, at most; else the labels are turned."""

# Multiples of the font size.
_DIGIT = 0.64
"""Width of a digit."""
_BESIDE_NUMBERS, _BESIDE_MATRIX = 0.9, 0.3
"""Left margin of a block, beside the numbers of its filters or of a matrix, which has none."""
_ABOVE_CELLS = 0.5
"""Between the labels of the steps and the cells."""
_TITLE, _TITLE_LINE, _PART_TITLE = 2.2, 1.25, 1.4
_CHARACTER = 0.56
"""Width of a character of the title and of a scale bar's texts, about."""
_LEGEND_LINE, _BELOW_LEGEND = 1.5, 0.6
BAR_LINE = 1.7
"""Height of a line of scale bars."""
BAR_WIDTH, BAR_SPACE, _BETWEEN_BARS = 5.0, 0.5, 2.0
"""Length of half a scale bar, the space around it, and that between two scale bars."""

_LEGEND_COLUMNS = {5: 5.4, 3: 3.4, 2: 2.2, 1: 0.0}
"""Number of columns of the legend: inches of width that they take, at least."""


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
    most = paper.width / POINT / (FONT * _CHARACTER)
    return joined_phrases(words, lambda text: len(text) <= most)


def bar_length(texts: BarTexts) -> float:
    """Return the length of a scale bar with its texts in font sizes, about."""
    halves = 2 if texts.middle else 1
    return halves * BAR_WIDTH + _CHARACTER * len("".join(texts)) + BAR_SPACE * 2 * (halves + 1)


def bars_in_line(picture: FilmstripPicture, paper: PaperSize) -> int:
    """Return how many scale bars lie side by side below a figure."""
    length = sum(bar_length(texts) for texts, _ in picture.bars) + 2 * _BETWEEN_BARS
    return max(1, len(picture.bars)) if length * FONT * POINT <= paper.width else 1


def bars_height(picture: FilmstripPicture, paper: PaperSize) -> int:
    """Return the height of all scale bars, in pixels."""
    lines = math.ceil(len(picture.bars) / bars_in_line(picture, paper))
    return math.ceil(paper.pixels(BAR_LINE * FONT * lines))


@dataclass(frozen=True, slots=True)
class FilmstripLayout:
    """Where the blocks of a filmstrip lie. Sizes are in pixels, but the font's is in points.

    Attributes:
        shape: Height and width of the figure.
        blocks: Number of blocks side by side; each has all parts of the picture side by side.
        parts: Number of parts of the picture.
        rows: Filters in a block; the last may have fewer.
        grid: The cells of a full block.
        font: Size of the labels.
        upright: Whether the labels of the steps are turned by 90°.
        start: Left margin of the figure, which is as wide as the paper.
        left: Width to the left of each block, for the numbers of its filters.
        top: Height above the blocks, for the title and the labels of the steps.
        part_title: Height of the labels of the steps, above which a part has its title.
    """

    shape: tuple[int, int]
    blocks: int
    parts: int
    rows: int
    grid: Layout
    font: float
    upright: bool
    start: int
    left: int
    top: int
    part_title: int

    @classmethod
    def fit(cls, picture: FilmstripPicture, paper: PaperSize) -> Self:
        """Choose the number of blocks that makes the cells largest.

        Args:
            picture: The filters and steps.
            paper: The largest size.

        Returns:
            The layout, no larger than the paper.

        Raises:
            FiltertrackError: If no number of blocks leaves a pixel for each weight.
        """
        most = min(picture.rows, math.ceil(paper.width / _NARROWEST_BLOCK))
        layouts = (cls._of(picture, paper, blocks) for blocks in range(1, most + 1))
        best = max(filter(None, layouts), key=lambda layout: layout.grid.scale, default=None)
        if best is None:
            raise FiltertrackError(
                f"width: {paper.width:.3g} x {paper.height:.3g} inches at {paper.dpi} dpi are too "
                f"few for one pixel a weight of {counted(picture.rows, 'filters')} at "
                f"{counted(picture.columns, 'steps')}; "
                f"choose fewer filters or steps, or a larger width, height or dpi"
            )
        return best

    @classmethod
    def _of(cls, picture: FilmstripPicture, paper: PaperSize, blocks: int) -> Self | None:
        """Return the layout in so many blocks; None where a weight has less than a pixel.

        The labels of the steps are turned where they are wider than their columns.
        """
        label = _DIGIT * max(map(len, picture.marks))
        across = blocks * len(picture.parts)
        font = _LABELLED_WIDTH * paper.width / across / picture.columns / POINT / label
        font = min(FONT, max(_SMALLEST_FONT, font))
        level = cls._with_font(picture, paper, blocks, font, 1.0)
        if level is None:
            return None
        column = (level.grid.shape[1] - level.grid.gap) / picture.columns
        if paper.pixels(label * font) <= _LABEL_OF_COLUMN * column:
            return level
        return cls._with_font(picture, paper, blocks, font, label, upright=True)

    @classmethod
    def _with_font(
        cls,
        picture: FilmstripPicture,
        paper: PaperSize,
        blocks: int,
        font: float,
        label: float,
        *,
        upright: bool = False,
    ) -> Self | None:
        """Return the layout with a font; ``label``: height of the steps' labels in font sizes."""
        view, columns = picture.view, picture.columns
        rows = math.ceil(view.filters / blocks) * view.cells_per_filter
        blocks = math.ceil(picture.rows / rows)  # the last ones would be empty
        size = paper.pixels(font)
        left = math.ceil(size * _left_margin(picture))
        parts = len(picture.parts)
        labels = math.ceil(label * size + _ABOVE_CELLS * size)
        lines = len(title_lines(picture.title, paper))
        titles = _TITLE + _TITLE_LINE * (lines - 1) + (_PART_TITLE if parts > 1 else 0)
        top = labels + math.ceil(paper.pixels(titles * FONT))
        margin = math.ceil(paper.dpi * _MARGIN)
        below = margin + bars_height(picture, paper)
        below += legend_height(paper) if picture.outlined else 0
        least, share = (OUTLINED_GAP, _OUTLINED_GAP) if picture.outlined else (1, _GAP)
        gap = max(least, round(paper.dpi * paper.width / blocks / parts / columns * share))
        height, width = paper.shape
        lines = columns * (view.slices - 1)
        across = (width - margin) // (blocks * parts) - left - gap * (columns + 1) - lines
        down = height - below - top - gap * (rows + 1)
        scale = min(across // max(1, columns * view.width), down // max(1, rows * view.height))
        if scale < 1:
            return None
        grid = picture.layout(rows, scale, gap)
        start = (width - margin - blocks * parts * (left + grid.shape[1])) // 2
        shape = top + grid.shape[0] + below, width
        return cls(shape, blocks, parts, rows, grid, font, upright, start, left, top, labels)


def _left_margin(picture: FilmstripPicture) -> float:
    """Return the width to the left of a block, in font sizes."""
    if picture.view.kind == "matrix":
        return _BESIDE_MATRIX
    return _DIGIT * len(str(picture.highest)) + _BESIDE_NUMBERS


def legend_height(paper: PaperSize) -> int:
    """Return the height of the legend, in pixels."""
    lines = math.ceil(len(OUTLINED) / legend_columns(paper.width))
    return math.ceil(paper.pixels((_LEGEND_LINE * lines + _BELOW_LEGEND) * FONT))
