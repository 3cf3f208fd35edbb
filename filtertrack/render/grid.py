"""Grids of cells: layout, composition, and the pages of a layer's picture.

A grid of one-channel cells is a palette picture (one byte per pixel), one of three-channel cells an
RGB picture. Every weight is a square of whole pixels, without interpolation.
"""

import math
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Self

import numpy as np
from PIL import Image

from filtertrack.render.cells import View
from filtertrack.render.palette import (
    ALL_LEVELS,
    NOT_FINITE,
    NOT_FINITE_RGB,
    SEPARATOR,
    SEPARATOR_RGB,
    grid_palette,
)
from filtertrack.render.value_range import ValueRange, normalise

PAGE = 64
"""Cells on one page, at most: more are too small on a TensorBoard card."""

OUTLINED_GAP = 3
"""Pixels between outlined cells, at least: a line around each, and one between."""
_GAP_SHARE, _OUTLINED_GAP_SHARE = 200, 80
"""Sides of a grid, in gaps between its cells."""

_GAPS_BETWEEN_FILTERS = 4
"""Width of the space between filters of several cells, in gaps between cells."""

_MOST_TRIED = 4096
"""Cells up to which all numbers of columns are tried."""
_WIDEST = 2
"""Width of a grid, in heights, up to which it is as good as a square one."""
_HIGHEST = 3
"""Height of a grid, in widths, up to which each filter of several cells has its own row."""
_STRETCH_COST = 4
"""Cost of a grid that is too wide or too high, relative to that of empty positions."""


@dataclass(frozen=True)
class Layout:
    """Positions of the cells in a grid.

    Attributes:
        count: Number of cells.
        height: Height of a cell, in weights.
        width: Width of a cell, in weights.
        columns: Cells in a row.
        scale: Magnification: side of a weight, in pixels.
        gap: Pixels between cells, and around the grid.
        slices: Parts of equal width that a cell is divided into, by lines of one pixel.
        together: Cells of a filter, side by side in a row; wider gaps separate the filters.

    Example:
        >>> layout = Layout.fit(count=32, height=9, width=9, side=320)
        >>> layout.columns, layout.rows, layout.scale, layout.gap, layout.shape
        (8, 4, 4, 2, (154, 306))
    """

    count: int
    height: int
    width: int
    columns: int
    scale: int
    gap: int
    slices: int = 1
    together: int = 1

    @classmethod
    def fit(
        cls,
        count: int,
        height: int,
        width: int,
        side: int,
        slices: int = 1,
        *,
        high: int | None = None,
        columns: int | None = None,
        even: bool = False,
        outlined: bool = False,
        together: int = 1,
    ) -> Self:
        """Choose columns and magnification for a grid whose longer side is at most ``side`` pixels.

        The magnification is the largest integer that fits, and at least 1. If not even 1 fits, the
        gaps are narrowed; a grid with more weights than pixels becomes larger than ``side``.

        Args:
            count: Number of cells.
            height: Height of a cell, in weights.
            width: Width of a cell, in weights.
            side: The longer side, in pixels.
            slices: Parts of equal width that a cell is divided into.
            high: Largest height, in pixels; None for ``side``.
            columns: Filters in a row, or cells where a filter has one; None to choose.
            even: Make magnification and gaps even, if they fit: a video keeps colour for every
                second pixel only.
            outlined: Make the gaps wide enough for a line around each cell.
            together: Cells of a filter, which are side by side in a row.
        """
        filters = max(count // together, 1)  # a layer without filters is one empty position
        across = min(columns or _filters_across(filters, height, width, together), filters)
        count, columns, rows = max(count, 1), across * together, math.ceil(filters / across)
        gaps = _gaps_across(columns, together)
        unit = 2 if even else 1
        wide, high = side - columns * (slices - 1), high or side
        narrowest, share = unit, _GAP_SHARE
        if outlined:
            narrowest, share = unit * math.ceil(OUTLINED_GAP / unit), _OUTLINED_GAP_SHARE
        widest = max(narrowest, unit * math.ceil(min(side, high) / share / unit))
        scale = 0
        for gap in range(widest, narrowest - 1, -unit):
            scale = min(
                (wide - gap * gaps) // max(1, columns * width),
                (high - gap * (rows + 1)) // max(1, rows * height),
            )
            if scale >= 1:
                break
        scale -= scale % unit
        return cls(count, height, width, columns, max(1, scale), gap, slices, together)

    def of_pixels(self) -> Self:
        """Return the same layout for cells that have a value for each pixel."""
        height, width = self.height * self.scale, self.width * self.scale
        return replace(self, height=height, width=width, scale=1)

    @property
    def rows(self) -> int:
        """Rows of cells."""
        return math.ceil(self.count / self.columns)

    @property
    def cell_shape(self) -> tuple[int, int]:
        """Height and width of a cell, in pixels."""
        return self.height * self.scale, self.width * self.scale + self.slices - 1

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of the picture, in pixels."""
        high, wide = self.cell_shape
        down = self.rows * high + (self.rows + 1) * self.gap
        return down, self.columns * wide + _gaps_across(self.columns, self.together) * self.gap

    @cached_property
    def _weight_rows(self) -> np.ndarray:
        return _weight_lines(self.rows, self.height, self.scale, self.gap)

    @cached_property
    def _weight_columns(self) -> np.ndarray:
        lines = _weight_lines(self.columns, self.width, self.scale, self.gap, self.slices)
        return np.insert(lines, self._wider, self.columns * self.width)

    @property
    def _wider(self) -> np.ndarray:
        """Where pixels are inserted between filters, in pixels of a row with equal gaps."""
        pitch = self.together * (self.cell_shape[1] + self.gap)
        starts = pitch * np.arange(1, self.columns // self.together)
        more = (_gaps_between(self.together) - 1) * self.gap
        # Behind the outline of the last cell, if there is one: in the middle of the gap.
        return (starts + self.gap // 2).repeat(more)

    @cached_property
    def _outlines(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the pixels of all outlines, by their numbers in the picture, and their cells."""
        high, wide = self.cell_shape
        outline = (self.gap - 1) // 2
        row = _cell_lines(self.rows, high, self.gap, outline)[:, np.newaxis]
        across = [
            np.insert(_cell_lines(self.columns, wide, self.gap, width), self._wider, -1)
            for width in (outline, 0)
        ]
        column = across[0][np.newaxis]
        inside = (_cell_lines(self.rows, high, self.gap, 0)[:, np.newaxis] >= 0) & (
            across[1][np.newaxis] >= 0
        )
        cell = np.where((row >= 0) & (column >= 0), row * self.columns + column, self.count)
        pixels = np.flatnonzero((cell < self.count) & ~inside)
        return pixels, cell.ravel()[pixels]

    def compose(
        self,
        cells: np.ndarray,
        fill: int | tuple[int, int, int],
        outlines: np.ndarray | None = None,
    ) -> np.ndarray:
        """Draw cells side by side, magnified, with separators between them.

        Args:
            cells: ``uint8`` array of shape ``(count, height, width)`` or ``(…, 3)``; with fewer
                cells than ``count`` the last positions stay empty.
            fill: Palette entry or colour of separators and empty positions.
            outlines: Palette entry or colour of each cell's outline; None for no outlines.

        Returns:
            ``uint8`` array of the layout's shape, with a last axis of 3 for colour.
        """
        channels = cells.shape[3:]
        small = np.empty(
            (self.rows * self.height + 1, self.columns * self.width + 1, *channels), np.uint8
        )
        small[:] = fill
        padded = np.empty((self.rows * self.columns, self.height, self.width, *channels), np.uint8)
        padded[:] = fill
        padded[: len(cells)] = cells
        rowwise = padded.reshape(self.rows, self.columns, self.height, self.width, *channels)
        small[:-1, :-1] = rowwise.swapaxes(1, 2).reshape(
            self.rows * self.height, self.columns * self.width, *channels
        )
        # Columns first: the rows that are then repeated are copied whole.
        picture = small.take(self._weight_columns, axis=1).take(self._weight_rows, axis=0)
        if outlines is not None:
            pixels, numbers = self._outlines
            occupied = numbers < len(outlines)
            picture.reshape(-1, *channels)[pixels[occupied]] = outlines[numbers[occupied]]
        return picture


def _filters_across(filters: int, height: int, width: int, together: int) -> int:
    """Choose the number of filters in a row; one of several cells, unless there are too many."""
    if together > 1 and filters * height <= _HIGHEST * together * width:
        return 1
    return suitable_columns(filters, height, together * width)


def _gaps_between(together: int) -> int:
    """Return the width of the space between filters of so many cells, in gaps."""
    return _GAPS_BETWEEN_FILTERS if together > 1 else 1


def _gaps_across(columns: int, together: int) -> int:
    """Return the width of all spaces in a row of a grid, in gaps."""
    return columns + 1 + (columns // together - 1) * (_gaps_between(together) - 1)


def suitable_columns(count: int, height: int, width: int) -> int:
    """Choose the number of columns: few empty positions, and a picture about as wide as high.

    A picture up to twice as wide as high is as good as a square one; a longer one, and each empty
    position, has a cost.
    """

    def cost(columns: int) -> tuple[float, int]:
        rows = math.ceil(count / columns)
        ratio = (columns * max(width, 1)) / (rows * max(height, 1))
        stretch = max(ratio / _WIDEST, 1 / ratio, 1.0) - 1
        return _STRETCH_COST * stretch + (rows * columns - count) / count, columns

    # Of very many cells only those numbers of columns that are about as good as a square.
    square = math.sqrt(count * max(height, 1) / max(width, 1))
    low, high = (1, count) if count <= _MOST_TRIED else (int(square / 2), int(3 * square))
    return min(range(max(1, low), min(count, high) + 1), key=cost, default=count)


def _weight_lines(cells: int, weights: int, scale: int, gap: int, slices: int = 1) -> np.ndarray:
    """Return the line of weights at each pixel along an axis; one more than the last in a gap."""
    separator = cells * weights
    lines = np.repeat(np.arange(cells * weights), scale).reshape(cells, slices, -1)
    parts = np.pad(lines, [(0, 0), (0, 0), (1, 0)], constant_values=separator)
    each = np.pad(parts.reshape(cells, -1)[:, 1:], [(0, 0), (gap, 0)], constant_values=separator)
    return np.append(each.ravel(), np.full(gap, separator))


def _cell_lines(cells: int, size: int, gap: int, outline: int) -> np.ndarray:
    """Return the line of cells at each pixel along an axis, outlines included; -1 in a gap."""
    lines = np.full(gap + cells * (size + gap), -1)
    for number in range(cells):
        start = gap + number * (size + gap)
        lines[start - outline : start + size + outline] = number
    return lines


def to_levels(cells: np.ndarray, values: ValueRange, levels: range = ALL_LEVELS) -> np.ndarray:
    """Turn one-channel cells into palette entries: one of ``levels``, or ``NOT_FINITE``.

    Args:
        cells: Array of shape ``(cells, height, width, 1)``.
        values: The values drawn darkest and lightest.
        levels: The entries of a colormap, from dark to light.

    Returns:
        ``uint8`` array of shape ``(cells, height, width)``.
    """
    unit = normalise(cells[..., 0], values)
    broken = np.isnan(unit)
    unit *= len(levels) - 1
    np.rint(unit, out=unit)
    unit += levels.start
    unit[broken] = NOT_FINITE
    return unit.astype(np.uint8)


def to_rgb(cells: np.ndarray, values: ValueRange) -> np.ndarray:
    """Turn three-channel cells into colours; a pixel with a weight not finite is magenta.

    Args:
        cells: Array of shape ``(cells, height, width, 3)``.
        values: The values drawn as 0 and as 255, the same for all three channels of a cell.

    Returns:
        ``uint8`` array of shape ``(cells, height, width, 3)``.
    """
    unit = normalise(cells, values)
    broken = np.isnan(unit)
    unit *= 255
    np.rint(unit, out=unit)
    if broken.any():  # seldom: then the pixels need not be searched
        unit[broken.any(axis=-1)] = NOT_FINITE_RGB
    return unit.astype(np.uint8)


def draw_pages(view: View, cells: np.ndarray, values: ValueRange, side: int) -> list[np.ndarray]:
    """Draw a layer's cells as grids of at most ``PAGE`` cells each.

    Args:
        view: How the layer is drawn.
        cells: Array of shape ``(cells, height, width, 1 or 3)``.
        values: The values drawn darkest and lightest.
        side: The longer side of a page, in pixels, at most (unless one pixel per weight is more).

    Returns:
        One picture per page: ``uint8`` arrays of shape ``(height, width)`` (of ``grid_palette()``)
        or, for colour, ``(height, width, 3)``. All have the same size, columns and
        magnification; the last may have empty positions.
    """
    drawn = to_rgb(cells, values) if view.coloured else to_levels(cells, values)
    fill = SEPARATOR_RGB if view.coloured else SEPARATOR
    layout = _layout(min(len(drawn), PAGE), view.height, view.width, side, view.slices)
    pages = [drawn[start : start + PAGE] for start in range(0, max(1, len(drawn)), PAGE)]
    return [layout.compose(page, fill) for page in pages]


@lru_cache(maxsize=256)
def _layout(count: int, height: int, width: int, side: int, slices: int) -> Layout:
    """Fit a layout; cached, as a layer has the same layout at every snapshot."""
    return Layout.fit(count, height, width, side, slices)


def to_image(picture: np.ndarray) -> Image.Image:
    """Return a picture as a Pillow image: mode ``P`` with ``grid_palette()``, or ``RGB``."""
    image = Image.fromarray(picture)
    if picture.ndim == 2:
        image.putpalette(grid_palette().tobytes())
    return image
