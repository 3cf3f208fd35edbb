"""Draw a layer's responses at one snapshot as one picture: probes, filters, feature maps."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from PIL import Image

from filtertrack.outputs.response_cells import shrunk
from filtertrack.outputs.value_pictures import picture_range
from filtertrack.render.cells import View
from filtertrack.render.grid import to_levels, to_rgb
from filtertrack.render.look import DIVERGING, GREY
from filtertrack.render.palette import (
    BACKGROUND,
    SEPARATOR,
    colormap_levels,
    split_levels,
    theme_palette,
)
from filtertrack.render.scale_bar import BarTexts, draw_scale_bar
from filtertrack.render.text import font_size
from filtertrack.render.value_range import ValueRange, range_of_cells
from filtertrack.response import ProbedLayer

CARD_FILTERS, CARD_PROBES = 16, 3
"""Filters and probes on a card, at most: the first ones."""
CARD_SIDE = 64
"""Height and width of a cell of a card in pixels, at most."""
_SMALLEST_SIDE = 48
"""The same, at least: filters and probes are drawn in cells of the size of maps."""
CARD_MAP_SIDE = CARD_SIDE // 2
"""Height and width of a map, at most. TensorBoard shows a card about 350 pixels wide and leaves out
pixels of a wider one: a value of two pixels stays visible."""
_THINNEST_MAP = 16
"""Pixels of a map's shorter side, at least: that of a 1-D layer has one row of values."""
_GAP, _BLOCK_GAP = 2, 12
"""Pixels between cells, and between blocks of rows."""
_RECTIFIED = BarTexts("0", "", "highest of the filter's maps")
_SIGNED = BarTexts("negative", "0", "positive")
_MAPS, _GREYS, _COLOURS = split_levels(3)
"""The palette entries of feature maps, of grey filters, and of probes."""


def draw_response_card(
    pictures: np.ndarray | None,
    view: View,
    filters: np.ndarray,
    maps: np.ndarray,
    *,
    rectified: bool,
) -> tuple[np.ndarray, np.ndarray | None]:
    """Draw a row a filter: the filter, and its feature maps below the probes.

    The rows are in one or more blocks side by side, so that the picture is about as wide as high. A
    row has one scale: from zero, which is black, to the highest value of its maps; where values may
    be negative, the colours are symmetric around zero, which is white.

    Args:
        pictures: The probes with their channels last: ``(probes, height, width, channels)``; None
            if they are no images.
        view: How the layer's filters are drawn. Those of a matrix are left out.
        filters: Their cells: ``(filters, height, width, 1 or 3)``.
        maps: Their feature maps: ``(probes, filters, height, width)``. The first ``CARD_PROBES``
            and ``CARD_FILTERS`` are drawn.
        rectified: Whether these are never negative.

    Returns:
        Palette entries, ``uint8`` of shape ``(height, width)``, and their palette, of shape ``(256,
        3)``. If filters are in colour: colours of shape ``(height, width, 3)``, and None.
    """
    drawn = _drawn_maps(maps[:CARD_PROBES, :CARD_FILTERS], rectified=rectified)
    count, probes, *sides = drawn.shape
    down, across = (max(side, _SMALLEST_SIDE) for side in sides)
    size, first = (down, across), 0 if view.kind == "matrix" else 1
    grid = _Grid.fit(count, first + probes, size, heads=0 if pictures is None else 1)
    picture = np.concatenate([grid.empty(), _bar(grid.shape[1], rectified=rectified)])
    for number, row in enumerate(drawn):
        for column, cell in enumerate(row, first):
            grid.paste(picture, number, column, cell)

    shown = [] if pictures is None else _in_colour(pictures[:probes], size)
    colours = np.zeros((len(_COLOURS), 3), np.uint8)
    if shown and not view.coloured:
        shown, colours = _quantised(shown)
    palette = _palette(colours, rectified=rectified)
    if view.coloured:
        picture = palette.take(picture, axis=0)
    for column, each in enumerate(shown, first):
        grid.paste_above(picture, column, _magnified(each, size))
    if first:
        own = filters[:count]
        values = range_of_cells(own)
        cells = to_rgb(own, values) if view.coloured else to_levels(own, values, _GREYS)
        for number, cell in enumerate(cells):
            grid.paste(picture, number, 0, _magnified(cell, size))
    return picture, None if view.coloured else palette


def is_shrunk(layer: ProbedLayer) -> bool:
    """Return whether a card shows fewer values than the layer's feature maps have."""
    return layer.block > 1 or max(layer.map_shape) > CARD_MAP_SIDE


@dataclass(frozen=True, slots=True)
class _Grid:
    """Positions of the cells of a card.

    Attributes:
        blocks: Number of blocks side by side.
        rows: Number of rows of filters in a block.
        columns: Number of cells in a row.
        size: Height and width of a cell in pixels.
        heads: Number of rows of probes above those of a block: 1, or 0 if they are not drawn.
    """

    blocks: int
    rows: int
    columns: int
    size: tuple[int, int]
    heads: int

    @classmethod
    def fit(cls, count: int, columns: int, size: tuple[int, int], *, heads: int) -> Self:
        """Choose the rows with which a card is about as many cells wide as high."""
        even = (math.ceil(count / blocks) for blocks in range(1, count + 1))
        rows = min(even, key=lambda rows: abs(math.ceil(count / rows) * columns - rows - heads))
        return cls(math.ceil(count / rows), rows, columns, size, heads)

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of the card in pixels."""
        down, across = (side + _GAP for side in self.size)
        block = self.columns * across + _GAP
        high = (self.heads + self.rows) * down + _GAP
        return high, self.blocks * (block + _BLOCK_GAP) - _BLOCK_GAP

    def empty(self) -> np.ndarray:
        """Return a card without cells: separators, and a space between blocks."""
        height, width = self.shape
        card = np.full((height, width), SEPARATOR, np.uint8)
        block = self.columns * (self.size[1] + _GAP) + _GAP
        for number in range(1, self.blocks):
            right = number * (block + _BLOCK_GAP)
            card[:, right - _BLOCK_GAP : right] = BACKGROUND
        return card

    def paste(self, card: np.ndarray, number: int, column: int, cell: np.ndarray) -> None:
        """Draw a cell of a row into the middle of its position."""
        block, row = divmod(number, self.rows)
        self._draw(card, block, self.heads + row, column, cell)

    def paste_above(self, card: np.ndarray, column: int, cell: np.ndarray) -> None:
        """Draw a cell above a column of each block."""
        for block in range(self.blocks):
            self._draw(card, block, 0, column, cell)

    def _draw(self, card: np.ndarray, block: int, row: int, column: int, cell: np.ndarray) -> None:
        (down, across), (high, wide) = self.size, cell.shape[:2]
        start = block * (self.columns * (across + _GAP) + _GAP + _BLOCK_GAP)
        top = row * (down + _GAP) + _GAP + (down - high) // 2
        left = start + column * (across + _GAP) + _GAP + (across - wide) // 2
        card[top : top + high, left : left + wide] = cell


def _drawn_maps(maps: np.ndarray, *, rectified: bool) -> np.ndarray:
    """Return magnified maps as palette entries: ``(filters, probes, height, width)``."""
    probes, filters, height, width = maps.shape
    small = shrunk(maps.swapaxes(0, 1).reshape(-1, height, width), CARD_MAP_SIDE)
    cells = small[..., np.newaxis]
    values = range_of_cells(cells, together=probes).zero_centred()
    if rectified:  # black also for a filter without a response, whose range would be empty
        values = ValueRange(np.zeros_like(values.low), np.where(values.high > 0, values.high, 1.0))
    scale = CARD_SIDE // max(small.shape[1:])
    down, across = (max(scale, _THINNEST_MAP // side) for side in small.shape[1:])
    magnified = to_levels(cells, values, _MAPS).repeat(down, axis=1).repeat(across, axis=2)
    return magnified.reshape(filters, probes, *magnified.shape[1:])


def _bar(width: int, *, rectified: bool) -> np.ndarray:
    return draw_scale_bar(_RECTIFIED if rectified else _SIGNED, width, font_size(width), _MAPS)


def _palette(colours: np.ndarray, *, rectified: bool) -> np.ndarray:
    """Return the palette of a card.

    Args:
        colours: Those of the entries ``_COLOURS``.
        rectified: Whether feature maps are drawn in grey.
    """
    maps = colormap_levels(GREY if rectified else DIVERGING, len(_MAPS))
    greys = colormap_levels(GREY, len(_GREYS))
    return theme_palette("dark", np.concatenate([maps, greys, colours]))


def _in_colour(pictures: np.ndarray, size: Sequence[int]) -> list[np.ndarray]:
    """Return pictures in colour, or in grey unless they have three channels.

    Each has its own range of values, and is not larger than a cell.
    """
    ranges = [picture_range(each) for each in pictures]
    if pictures.shape[-1] != 3:
        pictures = pictures.mean(axis=-1, keepdims=True).repeat(3, axis=-1)
    cells = (
        to_rgb(each[np.newaxis], values)[0] for each, values in zip(pictures, ranges, strict=True)
    )
    return [_reduced(each, size) for each in cells]


def _reduced(picture: np.ndarray, size: Sequence[int]) -> np.ndarray:
    """Resize a picture to fit into a cell, unless it can be magnified by a whole factor."""
    factor = min(size[0] / picture.shape[0], size[1] / picture.shape[1])
    if factor >= 2:
        return picture
    high, wide = (max(1, round(side * factor)) for side in picture.shape[:2])
    return np.asarray(Image.fromarray(picture).resize((wide, high), Image.Resampling.BOX))


def _magnified(picture: np.ndarray, size: Sequence[int]) -> np.ndarray:
    """Magnify a picture by the largest whole factor with which it fits into a cell.

    Pixels of one that does not fit are left out.
    """
    high, wide = picture.shape[:2]
    apart = max(math.ceil(high / size[0]), math.ceil(wide / size[1]))
    factor = max(1, min(size[0] // high, size[1] // wide))
    return picture[::apart, ::apart].repeat(factor, axis=0).repeat(factor, axis=1)


def _quantised(pictures: Sequence[np.ndarray]) -> tuple[list[np.ndarray], np.ndarray]:
    """Return pictures as palette entries, and the colours of ``_COLOURS``."""
    pixels = np.concatenate([each.reshape(-1, 3) for each in pictures])
    image = Image.fromarray(pixels[np.newaxis]).quantize(len(_COLOURS), Image.Quantize.MEDIANCUT)
    chosen = np.array(image.getpalette(), np.uint8).reshape(-1, 3)[: len(_COLOURS)]
    colours = np.zeros((len(_COLOURS), 3), np.uint8)
    colours[: len(chosen)] = chosen
    entries = np.asarray(image)[0] + np.uint8(_COLOURS.start)
    ends = np.cumsum([math.prod(each.shape[:2]) for each in pictures])
    parts = np.split(entries, ends[:-1])
    shaped = [part.reshape(each.shape[:2]) for part, each in zip(parts, pictures, strict=True)]
    return shaped, colours
