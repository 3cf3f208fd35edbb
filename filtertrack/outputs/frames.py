"""Draw the frames of an animation: a caption above the grid of each layer.

Frames are drawn one at a time from the stored weights, so memory does not grow with their number.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from itertools import zip_longest

import numpy as np

from filtertrack.errors import FiltertrackError
from filtertrack.outputs.filter_matching import match_filters
from filtertrack.outputs.filter_story import check_single, story_of
from filtertrack.outputs.frame_header import FrameHeader, Grid, grid_titles, headline
from filtertrack.outputs.frame_layout import arrange_grids, check_animation_size, default_side
from filtertrack.outputs.layer_cells import LayerCells, SharedKernels, colours_of
from filtertrack.outputs.picture_parts import parts_of
from filtertrack.outputs.response_cells import PictureCells, ResponseCells, response_look
from filtertrack.outputs.response_maps import Responses, is_wanted, maps_of
from filtertrack.outputs.run_selection import RunSelection
from filtertrack.outputs.timeline import Timeline
from filtertrack.render.cells import View, view_of
from filtertrack.render.frame_palettes import FramePalettes, Repaint
from filtertrack.render.grid import Layout
from filtertrack.render.layer_look import check_look
from filtertrack.render.look import Look
from filtertrack.render.palette import (
    BACKGROUND,
    LEVELS,
    SEPARATOR,
    TEXT,
    chosen_levels,
    outline_entries,
    theme_palette,
    to_entries,
)
from filtertrack.render.scale_bar import draw_scale_bar
from filtertrack.render.text import PLAIN, QUIET, font, line, line_height, paste
from filtertrack.render.value_range import ValueRange

_HEADER_HEIGHT = 150
"""Pixels of a caption in a wide frame, about: the size is checked before one is laid out."""
_RESPONSE_SHARES = (0.215, 0.345, 0.44)
"""Shares of the width of a row: the picture, the filters and their responses."""
_SMALLEST_MAP, _LARGEST_MAP = 8, 128
"""Height and width of a drawn feature map, in values."""
_SAMPLED_PIXELS, _SAMPLED_SNAPSHOTS = 12_000, 24
"""How much of an animation the colours of its palette are chosen from."""


class AnimationFrames:
    """The frames of an animation.

    One part of one layer of one run is one grid. The parts of a layer, and two runs, are side by
    side.

    Args:
        selection: The layers and steps.
        timeline: Position and duration of each frame.
        look: How filters are drawn; ``parts_of`` chooses the parts.
        side: Longer side of all grids together, in pixels, at most; more where a weight would have
            less than a pixel. None to choose.
        columns: Cells in a row; None to choose.
        indexed: Whether frames are entries of one palette; else they are colours where a layer is.
        even: Whether cells begin and end at even pixels, as video needs it.
        huge: Whether the animation may be larger than ``check_animation_size`` allows.
        one_scale: Whether two runs have the same scale.
        match: Whether each filter of a second run is drawn at the position of the most similar one
            of the first.
        big: Whether the measures of the only filter that is drawn are in the caption.
        responses: Probes or images: for each a row of the image, the filters and their responses
            to it; see ``animate``.
        remarks: Phrases for the caption, after those about the cells.

    Attributes:
        timeline: Position and duration of each frame.
        shape: Height and width of a frame, in pixels; both are even.
        side: The longer side of all grids together, in pixels.
        quantised: Whether the colours of coloured cells have to be chosen: frames are indexed.
        base_palette: The colours of all entries but those of coloured cells: ``(256, 3)``.

    Raises:
        FiltertrackError: If the look does not fit the layers, or the frames would be too large.
        DamagedSnapshotError: If a kernel cannot be read.
    """

    def __init__(
        self,
        selection: RunSelection,
        timeline: Timeline,
        look: Look,
        *,
        side: int | None = None,
        columns: int | None = None,
        indexed: bool = True,
        even: bool = False,
        huge: bool = False,
        one_scale: bool = False,
        match: bool = False,
        big: bool = False,
        responses: Responses = None,
        remarks: Sequence[str] = (),
    ) -> None:
        self.timeline, self._look = timeline, look
        self._remarks = remarks
        self._one_scale, self._match = one_scale, match
        for name, value in (("one_scale", one_scale), ("match", match)):
            if value and len(selection.runs) == 1:
                raise FiltertrackError(f"{name}: it takes a second run: give compare, too")
        if big:
            check_single(selection, look)
        infos = [selection.runs[0].layer(name) for name in selection.layers]
        check_look(look, infos, [view_of(info, look.channels) for info in infos])
        if is_wanted(responses):
            grids, columns = _response_grids(selection, look, responses, side, columns)
            beside = len(_RESPONSE_SHARES)
        else:
            parts = parts_of(selection, look)
            grids = _grids_of(selection, parts, match=match)
            beside = len(parts) * len(selection.runs)
        self._layers = [grid.layer for grid in grids]
        self._main = next(layer for layer in self._layers if not layer.name)
        self._runs = [grid.run for grid in grids]
        coloured = any(layer.view.coloured for layer in self._layers)
        self._indexed = indexed or not coloured
        self.quantised = indexed and coloured
        self._title_lines = 1 if len(infos) == 1 else 2
        self._arranged = arrange_grids(
            [layer.view for layer in self._layers],
            beside * math.ceil(math.sqrt(len(selection.layers) / beside)),
            shares=_RESPONSE_SHARES if is_wanted(responses) else None,
            side=side,
            columns=columns,
            even=even,
            outlined=look.outline,
            title_lines=self._title_lines,
        )
        self.side = self._arranged.side
        height, width = self._arranged.shape
        if not huge:
            shape = height + _HEADER_HEIGHT, width
            check_animation_size(shape, len(timeline.frames), 1 if self._indexed else 3)
        self._layouts = [
            layer.drawn_layout(grid.layout)
            for layer, grid in zip(self._layers, self._arranged.grids, strict=True)
        ]
        self._levels, colours = colours_of(self._layers, quantised=self.quantised)
        self._reserved = colours
        self.base_palette = theme_palette(look.theme, colours)
        self._titles = grid_titles(selection, grids) if self._arranged.title else []
        self._header = self._make_header(selection, width, big=big)
        self.shape = (self._header.height + height, width)

    def _make_header(self, selection: RunSelection, width: int, *, big: bool) -> FrameHeader:
        """Return the caption and legend; with ``big`` they have the measures of the only filter."""
        first = self._main
        words = list(self._remarks)
        if any(frame.position % 1 for frame in self.timeline.frames):
            words.append("interpolated over time")
        if len(selection.runs) > 1:
            one = self._one_scale
            words.append("both runs on one scale" if one else "each run on its own scale")
            words += ["filters matched"] if self._match else []
        cells = [each for each in self._layers if isinstance(each, (PictureCells, ResponseCells))]
        words += dict.fromkeys(word for each in cells for word in each.explanation)
        single = len(selection.runs) == len(selection.layers) == 1
        return FrameHeader(
            selection,
            self.timeline,
            self._look,
            width,
            filters=first.view.filters if single else None,
            title=headline(selection, first, words, alone=len(self._layers) == 1),
            story=story_of(selection, first.numbers[0]) if big else None,
        )

    @property
    def colours(self) -> np.ndarray | None:
        """The palette that frames are entries of, ``(256, 3)``; None where they are colours."""
        return self.palette if self._indexed else None

    @cached_property
    def palette(self) -> np.ndarray:
        """The colours of the entries: ``uint8`` array of shape ``(256, 3)``."""
        if not self.quantised:
            return self.base_palette
        chosen = chosen_levels(self._sampled_colours(), LEVELS - len(self._reserved))
        return theme_palette(self._look.theme, np.concatenate([self._reserved, chosen]))

    def pictures(self) -> Iterator[np.ndarray]:
        """Draw one frame after another.

        Yields:
            ``uint8`` arrays of shape ``shape``, entries of ``palette``; or with a last axis of 3
            where they are colours.
        """
        yield from self._pictures(self._weights)

    def repaints(self) -> Iterator[Repaint]:
        """Draw one frame after another, each with its own palette.

        Of coloured cells only the weights whose colour has changed noticeably are drawn again, each
        nearer to its exact colour than with one palette for all frames.
        """
        painter = _Painter(self.base_palette, len(self._reserved))
        for picture in self._pictures(lambda cells: painter.entries(list(self._drawn(cells)))):
            yield Repaint(picture, painter.palette, painter.fresh)

    def _pictures(
        self, weights_of: Callable[[Sequence[np.ndarray]], Iterator[np.ndarray]]
    ) -> Iterator[np.ndarray]:
        """Draw one frame after another.

        Args:
            weights_of: Returns the drawn cells of each grid, from the cells of a frame.
        """
        positions = [frame.position for frame in self.timeline.frames]
        cells = zip(*(layer.walk(positions) for layer in self._layers), strict=True)
        background = self._background()
        fill = SEPARATOR if self._indexed else tuple(self.base_palette[SEPARATOR].tolist())
        labels: list[np.ndarray] = []
        labelled, together = -1, self._main.view.cells_per_filter
        main = self._layers.index(self._main)
        for position, frame_cells in zip(positions, cells, strict=True):
            if self._look.outline and math.floor(position) != labelled:
                labelled = math.floor(position)
                labels = self._labels(labelled)
            picture = background.copy()
            names = labels[main][::together] if labels else None
            paste(picture, (0, 0), self._pixels(self._header.draw(position, names)))
            outlines = [self._pixels(outline_entries(each)) for each in labels]
            weights = weights_of(frame_cells)
            for grid, layout, pixels, outline in zip_longest(
                self._arranged.grids, self._layouts, weights, outlines
            ):
                drawn = layout.compose(pixels, fill, outline)
                paste(picture, (self._header.height + grid.top, grid.left), drawn)
            yield picture

    def _labels(self, position: int) -> list[np.ndarray]:
        """Return the labels of each grid; the parts of a layer show the same filters."""
        known: dict[tuple[bool, str, int], np.ndarray] = {}
        keys = [
            (isinstance(layer, PictureCells), layer.info.name, run)
            for layer, run in zip(self._layers, self._runs, strict=True)
        ]
        for key, layer in zip(keys, self._layers, strict=True):
            if key not in known:
                known[key] = layer.labels(position)
        return [known[key] for key in keys]

    def _background(self) -> np.ndarray:
        """Draw what is the same in every frame: the background, titles and scale bars."""
        entries = self._bar_entries()
        face = font(self._arranged.font)
        for grid, title in zip(self._arranged.grids, self._titles, strict=False):
            width = grid.layout.shape[1] - grid.layout.gap
            top = self._header.height + grid.top - self._arranged.title
            strength = QUIET if title.ramp == TEXT else PLAIN
            left = grid.left + grid.layout.gap
            for number, text in enumerate(title.lines(face, width, self._title_lines)):
                at = top + number * line_height(self._arranged.font), left
                paste(entries, at, line(text, face, title.ramp, strength))
        return self._pixels(entries)

    def _bar_entries(self) -> np.ndarray:
        """Draw below each grid its scale bar, and which weights share the scale.

        Returns:
            Entries of the palette: ``uint8`` array of the shape of a frame.
        """
        entries = np.full(self.shape, BACKGROUND, np.uint8)
        ranges = self._joined([layer.fixed_range for layer in self._layers])
        each = zip(self._arranged.grids, self._layers, self._levels, ranges, strict=True)
        for grid, layer, levels, values in each:
            height, width = grid.layout.shape
            width -= 2 * grid.layout.gap
            bar = draw_scale_bar(
                layer.bar_texts(values),
                width,
                self._arranged.font,
                levels,
                layer.scale_text,
            )
            top = self._header.height + grid.top + height
            paste(entries, (top, grid.left + grid.layout.gap), bar)
        return entries

    def _pixels(self, entries: np.ndarray) -> np.ndarray:
        """Return entries as a frame holds them: entries or colours."""
        return entries if self._indexed else self.base_palette[entries]

    def _joined(self, ranges: Sequence[ValueRange]) -> list[ValueRange]:
        """Return the value range of each grid: of both runs together if they have one scale."""
        if not self._one_scale:
            return list(ranges)
        joined: dict[tuple[str, bool | None], ValueRange] = {}
        keys = [(layer.info.name, layer.look.delta) for layer in self._layers]
        for key, values in zip(keys, ranges, strict=True):
            joined[key] = joined[key].union(values) if key in joined else values
        return [joined[key] for key in keys]

    def _drawn(self, frame_cells: Sequence[np.ndarray]) -> Iterator[np.ndarray]:
        """Draw the cells of each grid: palette entries or, where a weight has three values, RGB."""
        ranges = [
            layer.values(cells) for layer, cells in zip(self._layers, frame_cells, strict=True)
        ]
        each = zip(
            self._layers,
            frame_cells,
            self._joined(ranges),
            self._arranged.grids,
            self._levels,
            strict=True,
        )
        for layer, cells, values, grid, levels in each:
            yield layer.draw(cells, values, grid.layout, levels)

    def _weights(self, frame_cells: Sequence[np.ndarray]) -> Iterator[np.ndarray]:
        """Yield the cells of each grid as a frame holds them: entries or colours."""
        for drawn in self._drawn(frame_cells):
            if drawn.ndim == 4:
                yield to_entries(drawn, self.palette) if self._indexed else drawn
            else:
                yield self._pixels(drawn)

    def _sampled_colours(self) -> np.ndarray:
        """Return colours of the whole run's cells: the same number of each snapshot and grid.

        Cells of one value a pixel are left out: their colours are reserved.

        Returns:
            ``uint8`` array of shape ``(colours, 3)``.
        """
        rng = np.random.default_rng(0)
        count = len(self.timeline.knots)
        spread = np.linspace(0, count - 1, min(count, _SAMPLED_SNAPSHOTS)).round()
        positions = np.unique(spread).tolist()
        samples = []
        for frame_cells in zip(*(layer.walk(positions) for layer in self._layers), strict=True):
            drawn = [each for each in self._drawn(frame_cells) if each.ndim == 4]
            samples += _sampled(drawn, math.ceil(_SAMPLED_PIXELS / len(positions)), rng)
        return np.concatenate(samples)


class _Painter:
    """Turns drawn cells into entries of a palette that changes from frame to frame.

    Args:
        base: The palette without the colours of coloured cells.
        reserved: Number of the entries of colormaps; those of coloured cells follow.

    Attributes:
        palette: The palette of the frame drawn last.
        fresh: Its entries for coloured cells.
    """

    def __init__(self, base: np.ndarray, reserved: int) -> None:
        self.palette, self.fresh = base, range(reserved, LEVELS)
        self._base = base
        self._palettes = FramePalettes(len(self.fresh), reserved)

    def entries(self, drawn: Sequence[np.ndarray]) -> Iterator[np.ndarray]:
        """Yield the entries of each grid of one frame; coloured cells get a new palette.

        Args:
            drawn: The cells of each grid: entries, or colours of shape ``(…, 3)``.
        """
        coloured = [each for each in drawn if each.ndim == 4]
        flat = [each.reshape(-1, 3) for each in coloured]
        colours = np.concatenate(flat) if len(flat) > 1 else flat[0]  # no copy of one large grid
        sizes = [each.size // 3 for each in coloured]
        importance = np.repeat(1 / np.maximum(sizes, 1), sizes) if len(sizes) > 1 else None
        entries, levels = self._palettes.repaint(colours, importance)
        self.palette = self._base.copy()
        self.palette[self.fresh.start : self.fresh.start + len(levels)] = levels
        parts = iter(np.split(entries, np.cumsum(sizes)[:-1]))
        for each in drawn:
            yield next(parts).reshape(each.shape[:3]) if each.ndim == 4 else each


def _sampled(
    coloured: Sequence[np.ndarray], count: int, rng: np.random.Generator
) -> list[np.ndarray]:
    """Return about as many colours of cells: the same number of each grid.

    A small grid counts as much as a large picture beside it.
    """
    most = math.ceil(count / len(coloured))
    samples = []
    for drawn in coloured:
        colours = drawn.reshape(-1, 3)
        if len(colours) > most:
            colours = rng.choice(colours, most, axis=0)
        elif len(coloured) > 1:
            colours = np.resize(colours, (most, 3))
        samples.append(colours)
    return samples


def _response_grids(
    selection: RunSelection,
    look: Look,
    responses: Responses,
    side: int | None,
    columns: int | None,
) -> tuple[list[Grid], int | None]:
    """Return the cells of each grid, and the number of cells in a row of each.

    For each image there are the image, the filters and their responses; each response lies where
    its filter lies. Images and maps are shrunk where they would not fit.
    """
    part = response_look(look)
    filters = LayerCells(selection.runs[0], selection.layers[0], selection.steps, part)
    columns = columns or _columns_of(filters.view)
    every = maps_of(selection, responses)
    count = filters.view.width if filters.view.kind == "matrix" else filters.view.filters
    available = side or default_side(len(_RESPONSE_SHARES), len(every))
    most = _map_side(count, columns, available, len(every) if side else None)
    largest = max(1, int(0.97 * _RESPONSE_SHARES[0] * available) - 2)
    grids = []
    for maps in every:
        cells = ResponseCells(selection, part, maps, side=most)
        grids += [PictureCells(selection, part, maps, side=largest), filters, cells]
    return [Grid(layer, 0) for layer in grids], columns


def _map_side(count: int, columns: int | None, side: int, rows: int | None) -> int:
    """Return the height and width of a map that fits into its grid.

    Args:
        count: Number of maps.
        columns: Maps in a row of the grid; None to choose.
        side: The longer side of all grids together, in pixels.
        rows: Grids above each other within ``side``; None where they may be higher.
    """
    columns = columns or Layout.fit(count, 1, 1, 1).columns
    most = side * _RESPONSE_SHARES[-1] / columns
    if rows:
        most = min(most, side / rows / math.ceil(count / columns))
    return max(_SMALLEST_MAP, min(_LARGEST_MAP, int(0.97 * most) - 2))


def _columns_of(view: View) -> int | None:
    """Return the columns of the filters' grid, as they are chosen where it is alone.

    None for a matrix, whose columns are the filters.
    """
    if view.kind == "matrix":
        return None
    return Layout.fit(view.count, view.height, view.width, 1).columns


def _grids_of(selection: RunSelection, parts: Sequence[Look], *, match: bool) -> list[Grid]:
    """Return the cells of each grid: layer by layer, run by run, part by part."""
    grids = []
    for name in selection.layers:
        matched: np.ndarray | None = None
        for number, run in enumerate(selection.runs):
            shared = SharedKernels(run, name) if len(parts) > 1 else None
            layers = [
                LayerCells(run, name, selection.steps, part, matched, shared=shared)
                for part in parts
            ]
            grids += [Grid(layer, number) for layer in layers]
            if match and not number and len(selection.runs) > 1:
                every = replace(parts[0], order="stored", filters=None)
                other = LayerCells(selection.runs[1], name, selection.steps, every)
                matched = match_filters(layers[0], other)
    return grids
