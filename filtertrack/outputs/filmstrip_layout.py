"""Where the blocks of a filmstrip lie on a sheet of paper: whole pixels, legible labels."""

import math
import re
from dataclasses import dataclass
from typing import NamedTuple, Self

from filtertrack.errors import FiltertrackError, counted
from filtertrack.outputs.filmstrip_picture import FilmstripPicture
from filtertrack.render.grid import OUTLINED_GAP, Layout
from filtertrack.render.palette import OUTLINED

FONT = 8.0
"""Points: the size of text, where there is room."""
POINT = 1 / 72
"""Inches."""

_SMALLEST_FONT = 5.0
_INCHES = {"in": 1.0, "cm": 1 / 2.54, "mm": 1 / 25.4, "": 1.0}
_LARGEST = 200.0
_TALLEST = 4 / 3
"""Height to width, where no height is given: about a page's."""
_NARROWEST = 0.3
_MARGIN = 0.05
_GAP = 0.07
"""Between cells, as a share of a column."""
_LINE = 1.5
"""Of what the outlines mean, in sizes of the font."""
_LEGENDS = {4: 4.0, 2: 2.2, 1: 0.0}
"""How many of them stand side by side from how many inches on."""
_DIGIT = 0.64
"""Width of a digit of the font, in its size."""


class PaperSize(NamedTuple):
    """The size of the paper, and its resolution.

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
        """Read what the user gave.

        Args:
            width: With its unit, such as ``"17cm"`` or ``"6.7in"``, or a number of inches.
            height: The same; None for a third more than the width.
            dpi: Pixels an inch.

        Returns:
            The size.

        Raises:
            FiltertrackError: If one of them is no size, or out of range.

        Example:
            >>> PaperSize.of("6.5in", 4, 300)
            PaperSize(width=6.5, height=4.0, dpi=300)
        """
        if not 10 <= dpi <= 2400:
            raise FiltertrackError(f"dpi: expected 10 to 2400, got {dpi}")
        wide = _inches("width", width)
        return cls(wide, _TALLEST * wide if height is None else _inches("height", height), dpi)


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
    """Return how many labels stand side by side below a figure of that many inches."""
    return next(columns for columns, least in _LEGENDS.items() if width >= least)


@dataclass(frozen=True, slots=True)
class FilmstripLayout:
    """Where the blocks of a filmstrip lie.

    All sizes are in pixels, but the font's is in points.

    Attributes:
        shape: Height and width of the figure.
        blocks: How many stand side by side.
        rows: Filters in a block; the last may have fewer.
        layout: Of a full block.
        font: Size of the labels.
        upright: Whether the steps' labels are turned by a quarter.
        start: Room at the left of it all: the figure is as wide as asked.
        left: Room for the filters' numbers, before each block.
        top: Room for the title and the steps, above.
    """

    shape: tuple[int, int]
    blocks: int
    rows: int
    layout: Layout
    font: float
    upright: bool
    start: int
    left: int
    top: int

    @classmethod
    def fit(cls, strip: FilmstripPicture, sheet: PaperSize) -> Self:
        """Choose the number of blocks that makes the cells largest.

        Args:
            strip: What is drawn.
            sheet: How much room there is.

        Returns:
            The page; it takes no more than the sheet.

        Raises:
            FiltertrackError: If no number of blocks leaves a pixel for each weight.
        """
        most = min(strip.rows, math.ceil(sheet.width / _NARROWEST))
        pages = (cls._of(strip, sheet, blocks) for blocks in range(1, most + 1))
        best = max(filter(None, pages), key=lambda page: page.layout.scale, default=None)
        if best is None:
            raise FiltertrackError(
                f"width: {sheet.width:.3g} x {sheet.height:.3g} inches at {sheet.dpi} dpi are too "
                f"few for one pixel a weight of {counted(strip.rows, 'filters')} at "
                f"{counted(strip.columns, 'steps')}; "
                f"choose fewer filters or steps, or a larger width, height or dpi"
            )
        return best

    @classmethod
    def _of(cls, strip: FilmstripPicture, sheet: PaperSize, blocks: int) -> Self | None:
        """Return the page of so many blocks; None where a weight would have less than a pixel."""
        label = _DIGIT * max(map(len, strip.marks))  # in sizes of the font
        font = 0.8 * sheet.width / blocks / strip.columns / POINT / label
        font = min(FONT, max(_SMALLEST_FONT, font))
        page = cls._with(strip, sheet, blocks, font, label, upright=False)
        if page is None:
            return None
        pitch = (page.layout.shape[1] - page.layout.gap) / strip.columns
        if label * font * POINT * sheet.dpi <= 0.95 * pitch:
            return page
        return cls._with(strip, sheet, blocks, font, label, upright=True)

    @classmethod
    def _with(
        cls,
        strip: FilmstripPicture,
        sheet: PaperSize,
        blocks: int,
        font: float,
        label: float,
        *,
        upright: bool,
    ) -> Self | None:
        """The same, for a font and a way to write the steps."""
        view, rows = strip.view, math.ceil(strip.rows / blocks)
        blocks = math.ceil(strip.rows / rows)
        size = font * POINT * sheet.dpi
        number = _DIGIT * len(str(strip.highest)) + 0.9
        left = math.ceil(size * (0.3 if strip.view.kind == "matrix" else number))
        title = 2.2 * FONT * POINT * sheet.dpi
        top = math.ceil((label if upright else 1) * size + size / 2 + title)
        margin = math.ceil(sheet.dpi * _MARGIN)
        least, share = (OUTLINED_GAP, 1.6 * _GAP) if strip.outlined else (1, _GAP)
        gap = max(least, round(sheet.dpi * sheet.width / blocks / strip.columns * share))
        legend = _LINE * math.ceil(len(OUTLINED) / legend_columns(sheet.width)) + 0.6
        below = margin + (math.ceil(legend * FONT * POINT * sheet.dpi) if strip.outlined else 0)
        across = (
            (int(sheet.width * sheet.dpi) - margin) // blocks - left - gap * (strip.columns + 1)
        )
        down = int(sheet.height * sheet.dpi) - below - top - gap * (rows + 1)
        lines = strip.columns * (view.slices - 1)
        scale = min(
            (across - lines) // max(1, strip.columns * view.width),
            down // max(1, rows * view.height),
        )
        if scale < 1:
            return None
        layout = strip.layout(rows, scale, gap)
        width = int(sheet.width * sheet.dpi)
        start = (width - margin - blocks * (left + layout.shape[1])) // 2
        shape = top + layout.shape[0] + below, width
        return cls(shape, blocks, rows, layout, font, upright, start, left, top)
