"""Cells and their value range become one ``uint8`` picture.

A picture is a palette picture (one byte a pixel) where a cell has one channel, and an RGB picture
where it has three. Every weight is a square of whole pixels: nothing is interpolated.
"""

import math
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Self

import numpy as np
from PIL import Image

from filtertrack.render.cells import View
from filtertrack.render.value_range import ValueRange, normalise

LEVELS = 236
"""Levels from dark to light in a palette picture; the entries above are for everything else."""
NOT_FINITE = LEVELS
"""Palette entry of a weight that is NaN or infinite."""
SEPARATOR = LEVELS + 1
"""Palette entry between cells."""

NOT_FINITE_RGB = (255, 0, 170)
SEPARATOR_RGB = (40, 52, 74)
"""A blue that neither a dark nor a light grey cell melts into."""

OUTLINED_GAP = 3
"""Pixels between outlined cells, at least: a line around each, and one between."""

_MOST_TRIED = 4096

PAGE = 64
"""Cells on one page: more are too small to see on a TensorBoard card."""


@dataclass(frozen=True)
class Layout:
    """Where each cell of a grid lies.

    Attributes:
        count: Number of cells.
        height: Height of a cell, in weights.
        width: Width of a cell, in weights.
        columns: Cells in a row.
        scale: Pixels a side for each weight.
        gap: Pixels between cells, and around the grid.
        slices: Parts of equal width that a cell is divided into, by lines of one pixel.
        outlined: Whether there is room for a line around each cell.

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
    outlined: bool = False

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
    ) -> Self:
        """Choose columns and magnification for a grid whose longer side is at most ``side`` pixels.

        The magnification is the largest whole number that fits, and never below 1: a grid with
        more weights than pixels comes out larger than asked. Before that its gaps are narrowed.

        Args:
            count: Number of cells.
            height: Height of a cell, in weights.
            width: Width of a cell, in weights.
            side: The longer side, in pixels.
            slices: Parts of equal width that a cell is divided into.
            high: Height at most, in pixels, where that is not ``side``.
            columns: Cells in a row; None to choose.
            even: Make magnification and gaps even where they fit: a video keeps colour for every
                second pixel only.
            outlined: Leave room for a line around each cell.
        """
        count = max(count, 1)  # a layer without filters is one empty place
        columns = min(columns or _columns(count, height, width), count)
        rows = math.ceil(count / columns)
        unit = 2 if even else 1
        wide, high = side - columns * (slices - 1), high or side
        least, share = (-(-OUTLINED_GAP // unit) * unit, 80) if outlined else (unit, 200)
        scale, gap = 0, max(least, unit * math.ceil(min(side, high) / share / unit))
        while scale < 1 and gap >= least:
            scale = min(
                (wide - gap * (columns + 1)) // max(1, columns * width),
                (high - gap * (rows + 1)) // max(1, rows * height),
            )
            if scale < 1:
                gap -= unit
        scale -= scale % unit
        return cls(count, height, width, columns, max(1, scale), max(least, gap), slices, outlined)

    @property
    def rows(self) -> int:
        """Rows of cells."""
        return math.ceil(self.count / self.columns)

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of the picture, in pixels."""
        down = self.rows * self.height * self.scale + (self.rows + 1) * self.gap
        cell = self.width * self.scale + self.slices - 1
        return down, self.columns * cell + (self.columns + 1) * self.gap

    @cached_property
    def _down(self) -> np.ndarray:
        return _lines(self.rows, self.height, self.scale, self.gap)

    @cached_property
    def _across(self) -> np.ndarray:
        return _lines(self.columns, self.width, self.scale, self.gap, self.slices)

    @cached_property
    def _outlines(self) -> tuple[np.ndarray, np.ndarray]:
        """Say which pixels, by their numbers in the picture, outline which cell."""
        high, wide = self.height * self.scale, self.width * self.scale + self.slices - 1
        around = (self.gap - 1) // 2
        down = _owners(self.rows, high, self.gap, around)[:, np.newaxis]
        across = _owners(self.columns, wide, self.gap, around)[np.newaxis]
        inside = (_owners(self.rows, high, self.gap, 0)[:, np.newaxis] >= 0) & (
            _owners(self.columns, wide, self.gap, 0)[np.newaxis] >= 0
        )
        cell = np.where((down >= 0) & (across >= 0), down * self.columns + across, self.count)
        pixels = np.flatnonzero((cell < self.count) & ~inside)
        return pixels, cell.ravel()[pixels]

    def compose(
        self,
        cells: np.ndarray,
        fill: int | tuple[int, int, int],
        outlines: np.ndarray | None = None,
    ) -> np.ndarray:
        """Put cells side by side, magnified, with separators between them.

        Args:
            cells: ``uint8`` array of shape ``(count, height, width)`` or ``(…, 3)``; fewer cells
                than ``count`` leave the last places empty.
            fill: What separators and empty places hold: an entry of a palette, or a colour.
            outlines: What the line around each cell holds, a cell each; None for no lines.

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
        # Across first: the rows that are then repeated are copied whole.
        picture = small.take(self._across, axis=1).take(self._down, axis=0)
        if outlines is not None:
            pixels, numbers = self._outlines
            there = numbers < len(outlines)
            picture.reshape(-1, *channels)[pixels[there]] = outlines[numbers[there]]
        return picture


def _columns(count: int, height: int, width: int) -> int:
    """Choose the number of columns: few empty places, and a picture about as wide as high.

    A picture up to twice as wide as high is as good as a square one; beyond that, and for each
    empty place, it costs.
    """

    def cost(columns: int) -> tuple[float, int]:
        rows = math.ceil(count / columns)
        ratio = (columns * max(width, 1)) / (rows * max(height, 1))
        stretch = max(ratio / 2, 1 / ratio, 1.0) - 1
        return 4 * stretch + (rows * columns - count) / count, columns

    # Of very many cells only what is about as wide as high, or twice: the rest costs more.
    square = math.sqrt(count * max(height, 1) / max(width, 1))
    low, high = (1, count) if count <= _MOST_TRIED else (int(square / 2), int(3 * square))
    return min(range(max(1, low), min(count, high) + 1), key=cost, default=count)


def _lines(cells: int, weights: int, scale: int, gap: int, slices: int = 1) -> np.ndarray:
    """Say for each pixel along an axis which line of weights it shows; separators show the last."""
    separator = cells * weights
    lines = np.repeat(np.arange(cells * weights), scale).reshape(cells, slices, -1)
    parts = np.pad(lines, [(0, 0), (0, 0), (1, 0)], constant_values=separator)
    each = np.pad(parts.reshape(cells, -1)[:, 1:], [(0, 0), (gap, 0)], constant_values=separator)
    return np.append(each.ravel(), np.full(gap, separator))


def _owners(cells: int, size: int, gap: int, around: int) -> np.ndarray:
    """Say for each pixel along an axis to which cell it belongs, with some around it; else -1."""
    owners = np.full(gap + cells * (size + gap), -1)
    for number in range(cells):
        start = gap + number * (size + gap)
        owners[start - around : start + size + around] = number
    return owners


def to_levels(cells: np.ndarray, values: ValueRange) -> np.ndarray:
    """Turn one-channel cells into palette entries: 0 to ``LEVELS - 1``, or ``NOT_FINITE``.

    Args:
        cells: Array of shape ``(cells, height, width, 1)``.
        values: What is drawn darkest and lightest.

    Returns:
        ``uint8`` array of shape ``(cells, height, width)``.
    """
    unit = normalise(cells[..., 0], values)
    broken = np.isnan(unit)
    unit *= LEVELS - 1
    np.rint(unit, out=unit)
    unit[broken] = NOT_FINITE
    return unit.astype(np.uint8)


def to_rgb(cells: np.ndarray, values: ValueRange) -> np.ndarray:
    """Turn three-channel cells into colours; a weight that is not finite colours its whole pixel.

    Args:
        cells: Array of shape ``(cells, height, width, 3)``.
        values: What is drawn as 0 and as 255, for all three channels of a cell alike.

    Returns:
        ``uint8`` array of shape ``(cells, height, width, 3)``.
    """
    unit = normalise(cells, values)
    broken = np.isnan(unit).any(axis=-1)
    unit *= 255
    np.rint(unit, out=unit)
    unit[broken] = NOT_FINITE_RGB
    return unit.astype(np.uint8)


def grid_palette() -> np.ndarray:
    """Return the colours of a palette picture: ``uint8`` array of shape ``(256, 3)``."""
    colours = np.zeros((256, 3), np.uint8)
    colours[:LEVELS] = np.rint(np.linspace(0, 255, LEVELS))[:, np.newaxis]
    colours[NOT_FINITE] = NOT_FINITE_RGB
    colours[SEPARATOR] = SEPARATOR_RGB
    return colours


def draw_pages(view: View, cells: np.ndarray, values: ValueRange, side: int) -> list[np.ndarray]:
    """Draw a layer's cells as grids of at most ``PAGE`` cells each.

    Args:
        view: How the layer is looked at.
        cells: Array of shape ``(cells, height, width, 1 or 3)``.
        values: What is drawn darkest and lightest.
        side: The longer side of a page, in pixels, at most (unless one pixel a weight is more).

    Returns:
        One picture a page: ``uint8`` arrays of shape ``(height, width)`` (of ``grid_palette()``)
        or, for colour, ``(height, width, 3)``. All have the same size, columns and
        magnification; the last may have empty places.
    """
    tones = to_rgb(cells, values) if view.coloured else to_levels(cells, values)
    fill = SEPARATOR_RGB if view.coloured else SEPARATOR
    layout = _layout(min(len(tones), PAGE), view.height, view.width, side, view.slices)
    pages = [tones[start : start + PAGE] for start in range(0, max(1, len(tones)), PAGE)]
    return [layout.compose(page, fill) for page in pages]


@lru_cache(maxsize=256)
def _layout(count: int, height: int, width: int, side: int, slices: int) -> Layout:
    """Fit a layout once: a layer has the same at every snapshot."""
    return Layout.fit(count, height, width, side, slices)


def to_image(picture: np.ndarray) -> Image.Image:
    """Return a picture as a Pillow image: mode ``P`` with ``grid_palette()``, or ``RGB``."""
    image = Image.fromarray(picture)
    if picture.ndim == 2:
        image.putpalette(grid_palette().tobytes())
    return image
