"""Layout of a plot on paper: a grid for each layer, below each other, in whole pixels."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from filtertrack.errors import FiltertrackError, counted
from filtertrack.outputs.filmstrip_picture import FilmstripPicture
from filtertrack.outputs.paper_size import (
    DIGIT,
    FONT,
    MARGIN,
    TITLE_LINE,
    Bar,
    PaperSize,
    bars_height,
    legend_height,
)
from filtertrack.render.cells import View
from filtertrack.render.grid import OUTLINED_GAP, Layout, suitable_columns

NUMBER_FONT = 6.0
"""Font size of the filters' numbers, in points."""

_MOST_PIXELS = (1 << 16) - 1
"""Height of a figure, at most: a limit of matplotlib."""
_FEWEST_COLUMNS = 8
"""Square cells that fit beside each other, at least, so that few filters are not too large."""
_LARGEST_MATRIX_WEIGHT = 0.1
"""Inches of a weight of a matrix, at most."""
_LEGIBLE_WEIGHT = 1 / 40
"""Inches of a weight, at least, where no height is given: the figure becomes higher for that."""
_GAP, _OUTLINED_GAP, _LONGEST_SIDE = 0.06, 0.1, 9
"""Gap between cells as a share of their shorter side, of which at most 9 weights count; the second,
where cells are outlined."""
_UNUSED_WIDTH_COST = 0.3
"""Cost of width that a grid does not use, relative to that of empty positions in its last row."""

# Multiples of the font size.
ABOVE_TITLE = 0.3
"""Margin above the heading."""
_BELOW_TITLE, _PART_TITLE, _BELOW_LAYER = 0.4, 1.4, 0.9
_BESIDE_NUMBERS, _BESIDE_CELLS = 0.9, 0.3
"""Left margin of a grid, beside the numbers of its filters or without them."""


@dataclass(frozen=True, slots=True)
class PlotLayer:
    """One layer of a plot.

    Attributes:
        picture: Its filters at one step.
        title: The lines of its title.
        bars: The scale bars below its grids; empty where all layers share those of the figure.
    """

    picture: FilmstripPicture
    title: Sequence[str]
    bars: Sequence[Bar]

    @property
    def numbered(self) -> bool:
        """Whether rows have the number of their first filter."""
        part = self.picture.parts[0]
        stored = part.look.order == "stored" and part.look.filters is None
        return self.picture.view.kind != "matrix" and (stored or self.rows_of_filters)

    @property
    def rows_of_filters(self) -> bool:
        """Whether the cells of a filter fill a row of a block, as those of all its channels do."""
        return self.picture.view.cells_per_filter > 1


@dataclass(frozen=True, slots=True)
class GridLayout:
    """Where the cells of one layer lie. Sizes are in pixels.

    Attributes:
        grid: The cells of a block.
        blocks: Number of blocks beside each other: 1 unless a row of a block is a filter.
        parts: Number of parts of the picture, each with all blocks.
        left: Width to the left of each block, for the numbers of its filters.
        top: From the top of the figure to the layer's title.
        above: From there to the cells.
        below: From the cells to the next layer.
    """

    grid: Layout
    blocks: int
    parts: int
    left: int
    top: int
    above: int
    below: int

    @property
    def height(self) -> int:
        """Height with title and scale bars."""
        return self.above + self.grid.shape[0] + self.below

    @property
    def pitch(self) -> int:
        """Pixels from the left edge of one block to that of the next."""
        return self.left + self.grid.shape[1]


@dataclass(frozen=True, slots=True)
class PlotLayout:
    """Where the grids of a plot lie. Sizes are in pixels.

    Attributes:
        shape: Height and width of the figure.
        layers: The layout of each layer, from top to bottom.
    """

    shape: tuple[int, int]
    layers: tuple[GridLayout, ...]

    @classmethod
    def fit(
        cls,
        layers: Sequence[PlotLayer],
        paper: PaperSize,
        *,
        above: int,
        below: int,
        columns: int | None = None,
        grows: bool = False,
    ) -> "PlotLayout":
        """Choose the largest weights that fit, of the same size in all layers if that is possible.

        A grid is at least as wide as high. A layer that is too wide for the common size has smaller
        weights. A matrix that is too wide for one pixel a weight continues below.

        Args:
            layers: The layers.
            paper: The largest size.
            above: Height of the heading.
            below: Height of what is below all layers.
            columns: Filters in a row; None to choose.
            grows: Whether the figure may be higher than the paper where weights would be too small
                to be seen.

        Raises:
            FiltertrackError: If there is less than a pixel for each weight.
        """
        sizes = [_LayerSizes(layer, layers, paper, columns) for layer in layers]
        scales = [size.largest() for size in sizes]

        def placed(scale: int, legible: int = 1) -> "PlotLayout":
            grids, top = [], above
            for size, largest in zip(sizes, scales, strict=True):
                least = 1 if size.is_matrix else legible
                grids.append(size.at(min(max(scale, least), largest), top))
                top += grids[-1].height
            return cls((top + below, paper.shape[1]), tuple(grids))

        highest = paper.shape[0]
        scale = _largest_that(lambda number: placed(number).shape[0] <= highest, max(scales))
        most, legible = (_MOST_PIXELS, _LEGIBLE_WEIGHT * paper.dpi) if grows else (highest, 1)
        layout = placed(scale, max(1, round(legible)))
        if layout.shape[0] > most:
            raise FiltertrackError(
                f"height: {paper.width:.3g} x {most / paper.dpi:.3g} inches at {paper.dpi} dpi are "
                f"too few for one pixel a weight of {counted(len(layers), 'layers')}; choose fewer "
                f"layers or filters, or another width, height or dpi"
            )
        return layout


class _LayerSizes:
    """The layouts of one layer with weights of different sizes.

    Args:
        layer: The layer.
        layers: All layers, which have the same left margin.
        paper: The size of the figure.
        columns: Filters in a row; None to choose.

    Attributes:
        is_matrix: Whether the layer is drawn as a matrix.
    """

    def __init__(
        self, layer: PlotLayer, layers: Sequence[PlotLayer], paper: PaperSize, columns: int | None
    ) -> None:
        self._layer, self._paper, self._columns = layer, paper, columns
        self._view: View = layer.picture.view
        self.is_matrix = self._view.kind == "matrix"
        self._parts = len(layer.picture.parts)
        self._left = math.ceil(paper.pixels(NUMBER_FONT) * max(map(_left_margin, layers)))
        margin = math.ceil(paper.dpi * MARGIN)
        self._wide = (paper.shape[1] - margin) // self._parts - self._left
        if self.is_matrix:
            self._view = _wrapped(self._view, self._wide - 2 * self._gap(1))

    def largest(self) -> int:
        """Return the largest size of a weight, in pixels, for which the layer is wide enough.

        Raises:
            FiltertrackError: If a weight has less than a pixel.
        """
        least = 1 if self.is_matrix else min(self._filters, self._columns or 1)
        if self._most(1) < least:
            rows = f" and {least} columns" if least > 1 else ""
            raise FiltertrackError(
                f"width: {self._paper.width:.3g} inches at {self._paper.dpi} dpi are too few for "
                f"one pixel a weight of layer {self._layer.picture.parts[0].info.name}{rows}; "
                f"choose a larger width or dpi"
            )
        least = min(self._least, self._most(1))
        most = self._paper.dpi * (_LARGEST_MATRIX_WEIGHT if self.is_matrix else 1)
        scale = _largest_that(
            lambda scale: self._most(scale) >= least and self._is_moderate(scale), max(1, int(most))
        )
        return max(1, scale)

    def at(self, scale: int, top: int) -> GridLayout:
        """Return the layout with weights of a size, in pixels, below ``top``."""
        view, gap, paper = self._view, self._gap(scale), self._paper
        columns, blocks, count = self._chosen(self._most(scale)), 1, view.count
        if self._layer.rows_of_filters:
            rows = math.ceil(self._filters / columns)
            blocks, columns = math.ceil(self._filters / rows), view.cells_per_filter
            count = rows * columns
        grid = Layout(count, view.height, view.width, columns, scale, gap, view.slices)
        title = ABOVE_TITLE + TITLE_LINE * len(self._layer.title) + _BELOW_TITLE
        title += _PART_TITLE if self._parts > 1 else 0
        below = math.ceil(paper.pixels(_BELOW_LAYER * FONT))
        below += bars_height(self._layer.bars, paper) if self._layer.bars else 0
        above = math.ceil(paper.pixels(title * FONT))
        return GridLayout(grid, blocks, self._parts, self._left, top, above, below)

    def _is_moderate(self, scale: int) -> bool:
        """Whether eight square cells of the same area would fit beside each other."""
        if self.is_matrix:
            return True
        side = math.sqrt(self._view.height * self._view.width) * scale
        gap = self._gap(scale)
        return _FEWEST_COLUMNS * (side + gap) + gap <= self._parts * self._wide

    @property
    def _filters(self) -> int:
        return self._view.filters

    @property
    def _least(self) -> int:
        """The number of filters in a row, at least."""
        if self.is_matrix:
            return 1
        if self._columns is not None:
            return min(self._columns, self._filters)
        width = self._view.width * self._view.cells_per_filter
        return suitable_columns(self._filters, self._view.height, width)

    def _gap(self, scale: int) -> int:
        least, share = (OUTLINED_GAP, _OUTLINED_GAP) if self._layer.picture.outlined else (1, _GAP)
        side = min(self._view.height, self._view.width, _LONGEST_SIDE)
        return max(least, round(share * side * scale))

    def _most(self, scale: int) -> int:
        """Return how many filters fit beside each other."""
        gap = self._gap(scale)
        cells = self._view.cells_per_filter
        wide = cells * (self._view.width * scale + self._view.slices - 1 + gap)
        if self._layer.rows_of_filters:  # each block has its own gap and numbers
            return (self._wide + self._left) // (wide + gap + self._left)
        return (self._wide - gap) // wide

    def _chosen(self, most: int) -> int:
        """Return how many filters are in a row: few empty positions, and little unused width."""
        if self.is_matrix:
            return 1
        most = min(most, self._filters) if self._columns is None else most
        least = min(self._least, most)
        if self._columns is not None or most <= least:
            return least
        columns = np.arange(max(least, math.ceil(most / 2)), most + 1)
        empty = -self._filters % columns / columns
        cost = empty + _UNUSED_WIDTH_COST * (most - columns) / most
        return int(columns[::-1][cost[::-1].argmin()])


def below_layers(bars: Sequence[Bar], paper: PaperSize, *, outlined: bool) -> int:
    """Return the height of the scale bars and the legend below all layers, in pixels."""
    height = math.ceil(paper.dpi * MARGIN)
    height += bars_height(bars, paper) if bars else 0
    return height + (legend_height(paper) if outlined else 0)


def _wrapped(view: View, most: int) -> View:
    """Return the view of a matrix as several cells below each other, if it is wider than ``most``.

    Each has the next of the filters.
    """
    rows = max(1, math.ceil(view.width / max(1, most)))
    return replace(view, count=rows, width=math.ceil(view.width / rows))


def _left_margin(layer: PlotLayer) -> float:
    """Return the width to the left of a grid, in font sizes."""
    if not layer.numbered:
        return _BESIDE_CELLS
    return DIGIT * len(str(layer.picture.highest)) + _BESIDE_NUMBERS


def _largest_that(fits: Callable[[int], bool], most: int) -> int:
    """Return the largest number up to ``most`` that fits, if all smaller ones do; 0 for none."""
    low, high = 0, most
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if fits(middle) else (low, middle - 1)
    return low
