"""Draw the cells of a filmstrip with responses: in each cell a filter and its feature maps."""

import math
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cached_property, lru_cache, partial, reduce
from itertools import product
from typing import NamedTuple

import numpy as np
from PIL import Image

from filtertrack.errors import FiltertrackError, printable
from filtertrack.outputs.filmstrip_layout import FilmstripLayout
from filtertrack.outputs.filmstrip_picture import FilmstripPicture, ProbeImage
from filtertrack.outputs.layer_cells import LayerCells
from filtertrack.outputs.paper_size import Bar, PaperSize
from filtertrack.outputs.response_cells import (
    MAP_SIDE,
    PictureCells,
    ResponseCells,
    response_look,
)
from filtertrack.outputs.response_maps import ResponseMaps
from filtertrack.outputs.run_selection import RunSelection
from filtertrack.render.cells import View
from filtertrack.render.grid import Layout
from filtertrack.render.layer_look import describe_cells, describe_scale
from filtertrack.render.look import GREY, Look
from filtertrack.render.palette import SEPARATOR, colormap_levels
from filtertrack.render.text import cut
from filtertrack.render.value_range import ValueRange

_LEGIBLE, _SMALLEST = 0.18, 0.12
"""Inches of the height of a map, at least, where filters or steps are not chosen, and where steps
are chosen."""
_BESIDE_CELLS = 0.3
"""Inches of the paper's width that the numbers of the filters and margins take, about."""
_FILTERS = (64, 48, 40, 32, 24, 20, 16, 12, 10, 8, 6, 5, 4, 3, 2, 1)
"""Numbers of filters that are tried where not all are legible."""
_SIDES = (128, 64, 48, 32, 16)
"""Heights and widths of maps in values, at most, that are tried."""
_ABOUT_LARGEST = 0.75
"""Height of a map, as a share of the largest that is possible, that is large enough."""
_LARGE_ENOUGH = 0.6
"""The same where more blocks of filters leave less of the width empty."""
_HEIGHTS_IN_SPACE = 16
"""The space between a filter and its map is the height of a cell divided by this."""
_LONGEST_PHRASE = 120
"""Characters of a phrase in the title, which may hold names of layers, at most."""


class _Options(NamedTuple):
    """Which filters a filmstrip has, and how maps are shrunk: see ``ResponseFilmstrip``."""

    numbers: np.ndarray
    side: int
    fine: bool


class _Fitted(NamedTuple):
    """A filmstrip that fits its paper.

    Attributes:
        options: Its options.
        layout: Its layout.
        is_legible: Whether maps are large enough, and each is nearer to its filter than to others.
    """

    options: _Options
    layout: FilmstripLayout
    is_legible: bool

    @property
    def high(self) -> int:
        """Height of a cell, in pixels."""
        return self.layout.grid.cell_shape[0]


class ResponseFilmstrip(FilmstripPicture):
    """One layer of a run: in each cell a filter and beside it its feature map for each image.

    Filters are in rows, the steps of a selection in columns. 1x1 kernels, which have no spatial
    pattern, are left out: only their maps are drawn.

    Args:
        selection: One run and one layer.
        look: How filters are drawn.
        maps: The feature maps for each image.
        numbers: The numbers of the filters in the order drawn, instead of those of the look.
        side: Height and width of a map in values, at most.
        fine: Whether the space between maps may be a fraction of a value, which takes more pixels.

    Attributes:
        space: The space between a filter and its map, in units of ``view``.
    """

    usual_gap = 0.045

    def __init__(
        self,
        selection: RunSelection,
        look: Look,
        maps: Sequence[ResponseMaps],
        numbers: np.ndarray | None = None,
        *,
        side: int = MAP_SIDE,
        fine: bool = True,
    ) -> None:
        part, (run,), (name,) = response_look(look), selection.runs, selection.layers
        filters = LayerCells(run, name, selection.steps, part, numbers, spectra=False)
        self._maps = [ResponseCells(selection, part, each, numbers, side=side) for each in maps]
        drawn = [] if filters.view.kind == "matrix" else [filters]
        super().__init__(selection, look, [*drawn, *self._maps])
        self._pictures = [partial(PictureCells, selection, part, each) for each in maps]
        views = [layer.view for layer in self.parts]
        highest = max(view.height for view in views)
        unit = math.ceil(_HEIGHTS_IN_SPACE / highest) if fine else 1
        self._height = highest * unit
        self._widths = [
            # Of a wide map not wider than it would be at the same scale as the highest one.
            min(
                math.ceil(self._height * view.width / view.height),
                max(self._height, unit * view.width),
            )
            for view in views
        ]
        self.space = max(1, self._height // _HEIGHTS_IN_SPACE)
        width = sum(self._widths) + self.space * (len(views) - 1)
        self.view = View("grey", self._maps[0].view.count, self._height, width)

    @classmethod
    def fit(
        cls,
        selection: RunSelection,
        look: Look,
        maps: Sequence[ResponseMaps],
        paper: PaperSize,
    ) -> tuple["ResponseFilmstrip", FilmstripLayout]:
        """Return the filmstrip and its layout.

        Where the look does not choose filters, the first ones are drawn, as many as are legible, or
        where none would be, as many as have maps about as large as is possible.

        Raises:
            FiltertrackError: If the paper is too small.
        """
        whole = cls(selection, look, maps)
        make = partial(cls, selection, look, maps)
        every = np.array(whole.parts[0].numbers, np.intp)
        counts = [len(every)]
        if look.filters is None:
            counts += [few for few in _FILTERS if few < len(every)]
        tried = []
        for count in counts:
            fitted = whole._finest(make, every[:count], paper)
            if fitted is not None:
                tried.append(fitted)
                if fitted.is_legible:
                    break
        if not tried:
            picture = make(every[: counts[-1]], side=_SIDES[-1], fine=False)
            return picture, FilmstripLayout.fit(picture, paper)
        best = tried[-1] if tried[-1].is_legible else _about_largest(tried)
        return make(**best.options._asdict()), best.layout

    def most_steps(self, paper: PaperSize, *, chosen: bool) -> int:
        """Return how many steps fit beside each other with legible maps, about.

        Args:
            paper: The largest size.
            chosen: Whether the steps were chosen: their maps may be smaller.
        """
        high = _SMALLEST if chosen else _LEGIBLE
        column = high * self.view.width / self.view.height / (1 - self.usual_gap)
        return int((paper.width - _BESIDE_CELLS) / column)

    def _finest(
        self, make: Callable[..., "ResponseFilmstrip"], numbers: np.ndarray, paper: PaperSize
    ) -> "_Fitted | None":
        """Return how maps are shrunk least and still about as large as is possible.

        The layouts are those of filmstrips with the texts and images of this one, so that the
        run is not read for each.
        """
        fitted = []
        for side, fine in product(_SIDES, (True, False)):
            options = _Options(numbers, side, fine)
            picture = make(**options._asdict())
            picture.images, picture.bars, picture.explained = (
                self.images,
                self.bars,
                self.explained,
            )
            with suppress(FiltertrackError):  # the paper is too small for maps of this side
                fitted.append(picture.widest(options, paper))
        if not fitted:
            return None
        best = _about_largest(fitted)
        wide = [
            each for each in fitted if each.is_legible and each.options.side == best.options.side
        ]
        return max(wide, key=lambda each: each.layout.blocks, default=best)

    def widest(self, options: _Options, paper: PaperSize) -> _Fitted:
        """Return the layout with the most blocks, which leaves the least of the width empty.

        Of those with the largest cells, or with legible ones that are not much smaller.
        """
        possible = [
            _Fitted(options, layout, self._is_legible(layout, paper))
            for layout in FilmstripLayout.possible(self, paper)
        ]
        largest = max(each.high for each in possible)
        legible = [
            each for each in possible if each.is_legible and each.high >= _LARGE_ENOUGH * largest
        ]
        return (legible or [each for each in possible if each.high == largest])[-1]

    def _is_legible(self, layout: FilmstripLayout, paper: PaperSize) -> bool:
        grid = layout.grid
        return grid.cell_shape[0] >= _LEGIBLE * paper.dpi and grid.gap > grid.scale * self.space

    @cached_property
    def images(self) -> Sequence[ProbeImage]:
        """The images, which are drawn above the rows."""
        return [_probe_image(make()) for make in self._pictures]

    @cached_property
    def explained(self) -> float | None:
        """Mean share of the filters that their strongest patterns explain; None for no patterns."""
        return self.parts[0].explained

    @property
    def beside(self) -> int:
        """One grid: the filters and maps lie in its cells."""
        return 1

    @property
    def part_titles(self) -> list[str]:
        """The title of the only grid, which is not drawn."""
        return ["responses"]

    @cached_property
    def title(self) -> list[str]:
        """The layer's name, and phrases for what its cells show."""
        first, info = self.parts[0], self.parts[0].info
        words = [info.name]
        if len(first.numbers) < info.filters:
            words.append(f"{len(first.numbers)} of {info.filters} filters")
        if not isinstance(first, ResponseCells):
            words += describe_cells(first.look, info, first.view, self.explained)
        words += self._maps[0].explanation
        words.append(self._scale_text)
        words.append(f"columns: {self._unit}")
        return [printable(cut(word, _LONGEST_PHRASE)) for word in words if word]

    @property
    def _scale_text(self) -> str:
        """Which weights and which values of maps share a scale."""
        text = describe_scale(self._maps[0].look, self._maps[0].view).replace("filter", "map")
        if self.parts[0] in self._maps:
            return text
        own = text.replace("each map has", "each filter and each map has")
        return own.replace("all maps have", "all filters, and all maps, have")

    @cached_property
    def _columns(self) -> list[list[tuple[np.ndarray, ValueRange]]]:
        """For each part and step the cells and their value range."""
        columns = super()._columns
        if self._maps[0].look.scale == "layer":
            columns = [
                [(cells, self._one_range if part in self._maps else values) for cells, values in of]
                for part, of in zip(self.parts, columns, strict=True)
            ]
        return columns

    @cached_property
    def _one_range(self) -> ValueRange:
        """The value range of all maps for all images over the whole run."""
        return reduce(ValueRange.union, (maps.whole_range for maps in self._maps))

    @cached_property
    def bars(self) -> list[Bar]:
        """The texts and the colours of the scale bars of filters and of maps."""
        bars = []
        one = self._maps[0].look.scale == "layer"
        for part, levels in zip(self.parts, self.levels, strict=True):
            is_map = part in self._maps
            values = self._one_range if one and is_map else part.fixed_range
            texts = part.bar_texts(values)
            if texts is not None:
                name = "responses" if is_map else "filters"
                texts = texts._replace(low=f"{name}: {texts.low}")
                bars.append((texts, self.palette[levels.start : levels.stop]))
        several = len(self._maps) - 1  # they have the same bar
        return bars[: len(bars) - several]

    def picture(self, rows: range, layout: Layout, part: int = 0) -> np.ndarray:  # noqa: ARG002
        """Draw some of the rows: see ``FilmstripPicture.picture``; there is one part."""
        high = layout.scale * self._height
        space = np.empty((len(rows), self.columns, high, layout.scale * self.space, 3), np.uint8)
        space[:] = self.palette[SEPARATOR]
        pieces = [self._piece(rows, layout, 0)]
        for number in range(1, len(self.parts)):
            pieces += [space, self._piece(rows, layout, number)]
        return self._composed(np.concatenate(pieces, axis=3), rows, layout.of_pixels())

    def _piece(self, rows: range, layout: Layout, part: int) -> np.ndarray:
        """Draw some rows of a part in the middle of its place in each cell.

        Its weights or values are as large as fit, in whole pixels.

        Returns:
            ``uint8`` array of shape ``(rows, columns, height, width, 3)``.
        """
        layer = self.parts[part]
        high, wide = layout.scale * self._height, layout.scale * self._widths[part]
        view, lines = layer.view, layer.view.slices - 1
        scale = max(1, min(high // view.height, (wide - lines) // view.width))
        own = Layout(1, view.height, view.width, 1, scale, 0, view.slices)
        colours, drawn = self._colours(rows, own, part), layer.drawn_layout(own)
        fill = tuple(self.palette[SEPARATOR].tolist())
        piece = np.empty((len(rows), self.columns, high, wide, 3), np.uint8)
        piece[:] = fill
        down, across = drawn.shape
        top, left = (high - down) // 2, (wide - across) // 2
        for row in range(len(rows)):
            for column in range(self.columns):
                cell = drawn.compose(colours[row, column][np.newaxis], fill)
                piece[row, column, top : top + down, left : left + across] = cell
        return piece


def _about_largest(fitted: Sequence[_Fitted]) -> _Fitted:
    """Return the first one whose cells are about as large as those of any."""
    largest = max(each.high for each in fitted)
    return next(each for each in fitted if each.high >= _ABOUT_LARGEST * largest)


def _probe_image(cells: PictureCells) -> ProbeImage:
    lines = [cells.name, cells.scale_text, *cells.explanation]
    return ProbeImage("\n".join(lines), lru_cache(partial(_draw_image, cells)))


def _draw_image(picture: PictureCells, high: int, wide: int) -> np.ndarray:
    """Draw an image in at most so many pixels: magnified by a whole factor, or shrunk."""
    view, cells = picture.view, picture.last_cells()
    scale = max(1, min(high // view.height, wide // view.width))
    layout = Layout(1, view.height, view.width, 1, scale, 0)
    drawn = picture.draw(cells, picture.values(cells), layout)
    colours = drawn if view.coloured else colormap_levels(GREY)[drawn]
    pixels = picture.drawn_layout(layout).compose(colours, (0, 0, 0))
    share = min(high / pixels.shape[0], wide / pixels.shape[1])
    if share >= 1:
        return pixels
    shape = max(1, int(pixels.shape[1] * share)), max(1, int(pixels.shape[0] * share))
    return np.asarray(Image.fromarray(pixels).resize(shape, Image.Resampling.BOX))
