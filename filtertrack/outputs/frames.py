"""A run as moving pictures: its frames, drawn one at a time when they are asked for.

Everything is drawn from the stored weights, so memory does not grow with the length of the run.
"""

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import zip_longest
from typing import NamedTuple

import numpy as np

from filtertrack.errors import FiltertrackError, printable
from filtertrack.outputs.layer_cells import LayerCells
from filtertrack.outputs.run_selection import RunSelection
from filtertrack.outputs.timeline import Timeline
from filtertrack.render.caption import Caption, Legend
from filtertrack.render.cells import View
from filtertrack.render.grid import Layout, to_levels
from filtertrack.render.look import Look, check_look
from filtertrack.render.palette import (
    BACKGROUND,
    FIRST,
    SEPARATOR,
    TEXT,
    chosen_levels,
    colormap_levels,
    outline_entries,
    theme_palette,
    to_entries,
)
from filtertrack.render.text import (
    PLAIN,
    QUIET,
    cut,
    font,
    font_size,
    line,
    line_height,
    paste,
    shortened,
)
from filtertrack.storage.memory_limit import size_text
from filtertrack.storage.paths import StoragePath

_HEAD = 150
"""Pixels of a caption in a wide frame, about."""
_SAMPLES, _SAMPLED = 12_000, 24
_LONGEST_NAME = 200
"""Characters of a layer's or a run's name, at most."""


class AnimationFrames:
    """Grids of filters under a caption, frame after frame.

    One layer of one run is one grid. Several layers are several grids; two runs stand side by side.

    Args:
        selection: What is shown.
        timeline: Which frames.
        look: How filters are drawn.
        side: Longer side of all grids together, in pixels, at most; more where a weight would have
            less than a pixel. None to choose.
        columns: Cells in a row; None to choose.
        indexed: Whether a frame holds at most the colours of one palette; or else it may hold any.
        even: Whether everything begins at even pixels, as video needs it.
        huge: Whether it may take more memory and disk than anyone would expect.

    Attributes:
        timeline: Which frames.
        shape: Height and width of a frame, in pixels; both are even.
        side: The longer side of all grids together.

    Raises:
        FiltertrackError: If the look does not fit the layers, or it would be too large.
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
    ) -> None:
        self.timeline, self._theme = timeline, look.theme
        self._panels = [
            LayerCells(selection.runs, name, selection.steps, look) for name in selection.layers
        ]
        views = [panel.view for panel in self._panels for _ in selection.runs]
        check_look(look, views)
        self._outlined = look.outline
        coloured = any(view.coloured for view in views)
        self._plain = theme_palette(look.theme, colormap_levels(look.colormap))
        self._indexed = indexed or not coloured
        self._quantised = indexed and coloured
        two = len(selection.runs) > 1
        across = 2 if two else math.ceil(math.sqrt(len(selection.layers)))
        grids = arrange_grids(
            views, across, side=side, columns=columns, even=even, outlined=look.outline
        )
        height, width = grids.shape
        frames, bytes_a_pixel = len(timeline.frames), 1 if self._indexed else 3
        if not huge:  # before a caption of that width is laid out
            check_budget((height + _HEAD, width), frames, bytes_a_pixel)
        self._places, self._title, self.side = grids.places, grids.title, grids.side
        # Weights that training did not reach: what was logged before them is of others.
        logs = [
            [None if moment.note and not moment.metrics else moment.metrics for moment in run]
            for run in selection.moments
        ]
        title = _headline(selection, look, timeline)
        self._caption = Caption(title, selection.moments[0], logs, timeline.knots, grids.shape[1])
        self._counted = look.outline and len(views) == 1
        self._legend = Legend(grids.shape[1], views[0].count if self._counted else None)
        self._head = self._caption.height + (self._legend.height if look.outline else 0)
        self.shape = (self._head + height, width)
        if not huge:
            check_budget(self.shape, frames, bytes_a_pixel)
        self._titles = _titles(selection) if self._title else []

    @property
    def colours(self) -> np.ndarray | None:
        """The palette whose entries the frames are, ``(256, 3)``; None where they are colours."""
        return self.palette if self._indexed else None

    @cached_property
    def palette(self) -> np.ndarray:
        """The colours of the entries: ``uint8`` array of shape ``(256, 3)``."""
        return (
            theme_palette(self._theme, chosen_levels(self._sample()))
            if self._quantised
            else self._plain
        )

    def pictures(self) -> Iterator[np.ndarray]:
        """Draw frame after frame.

        Yields:
            ``uint8`` arrays of the film's ``shape``, entries of its ``palette``; or with a last
            axis of 3 where they are colours.
        """
        positions = [frame.position for frame in self.timeline.frames]
        walks = zip(*(panel.walk(positions) for panel in self._panels), strict=True)
        still = self._surroundings()
        fill = SEPARATOR if self._indexed else tuple(self._plain[SEPARATOR].tolist())
        labels: list[np.ndarray] = []
        for number, (position, cells) in enumerate(zip(positions, walks, strict=True)):
            picture = still.copy()
            paste(picture, (0, 0), self._inked(self._caption.draw(position)))
            if self._outlined:
                if not number or math.floor(position) != math.floor(positions[number - 1]):
                    labels = [each for panel in self._panels for each in panel.labels(position)]
                legend = self._legend.draw(Counter(labels[0].tolist()) if self._counted else None)
                paste(picture, (self._caption.height, 0), self._inked(legend))
            outlines = [self._inked(outline_entries(each)) for each in labels]
            tones = self._tones(cells)
            for place, tone, outline in zip_longest(self._places, tones, outlines):
                grid = place.layout.compose(tone, fill, outline)
                paste(picture, (self._head + place.top, place.left), grid)
            yield picture

    def _surroundings(self) -> np.ndarray:
        """Draw what is the same in every frame: the background and the grids' titles."""
        still = np.full(self.shape, BACKGROUND, np.uint8)
        face = font(font_size(self.shape[1]))
        for place, (title, ramp) in zip(self._places, self._titles, strict=False):
            text = shortened(title, face, place.layout.shape[1] - place.layout.gap)
            top = self._head + place.top - self._title
            strength = QUIET if ramp == TEXT else PLAIN
            left = place.left + place.layout.gap
            paste(still, (top, left), line(text, face, ramp, strength))
        return self._inked(still)

    def _inked(self, entries: np.ndarray) -> np.ndarray:
        """Return entries that are no weights as what a frame holds: entries or colours."""
        return entries if self._indexed else self._plain[entries]

    def _tones(self, cells: Sequence[Sequence[np.ndarray]]) -> Iterator[np.ndarray]:
        """Turn each grid's cells into what a frame holds: entries or colours."""
        for panel, group in zip(self._panels, cells, strict=True):
            values = panel.values(group)
            for each in group:
                if self._indexed and not self._quantised:
                    yield to_levels(each, values)
                else:
                    colours = panel.paint(each, values, self._plain)
                    yield to_entries(colours, self.palette) if self._indexed else colours

    def _sample(self) -> np.ndarray:
        """Return colours of weights from all over the film: as many of each frame and layer."""
        rng = np.random.default_rng(0)
        count = len(self.timeline.knots)
        positions = np.unique(np.linspace(0, count - 1, min(count, _SAMPLED)).round()).tolist()
        each = -(-_SAMPLES // (len(positions) * len(self._panels)))
        samples = []
        for panel in self._panels:
            for group in panel.walk(positions):
                values = panel.values(group)
                colours = [
                    panel.paint(cells, values, self._plain).reshape(-1, 3) for cells in group
                ]
                flat = np.concatenate(colours)
                samples.append(flat if len(flat) <= each else rng.choice(flat, each, axis=0))
        return np.concatenate(samples)


def _headline(selection: RunSelection, look: Look, timeline: Timeline) -> str:
    """Say what is shown, and what was done to it."""
    if len(selection.layers) == 1:
        parts = [selection.layers[0]]
    else:
        parts = ["two runs" if len(selection.runs) > 1 else selection.runs[0].path.absolute().name]
    parts += look.described([selection.runs[0].layer(name) for name in selection.layers])
    if any(frame.position % 1 for frame in timeline.frames):
        parts.append("interpolated")
    return " · ".join(printable(cut(part, _LONGEST_NAME)) for part in parts)


def _titles(selection: RunSelection) -> list[tuple[str, int]]:
    """Return each grid's title and the ramp of its colour: that of the run's curves."""
    layers = [printable(cut(layer, _LONGEST_NAME)) for layer in selection.layers]
    if len(selection.runs) == 1:
        return [(layer, TEXT) for layer in layers]
    names = _short_names([run.path.absolute() for run in selection.runs])
    return [
        (name if len(layers) == 1 else f"{layer} · {name}", ramp)
        for layer in layers
        for ramp, name in enumerate(map(printable, names), start=FIRST)
    ]


def _short_names(paths: Sequence[StoragePath]) -> list[str]:
    """Return what tells paths apart: their ends, from the part in which they differ."""
    for length in range(1, max(len(path.parts) for path in paths)):
        ends = ["/".join(path.parts[-length:]) for path in paths]
        if len(set(ends)) == len(ends):
            return ends
    return [str(path) for path in paths]


NARROWEST = 260
"""Pixels: a caption in less would not be legible."""

_ONE, _MOST = 640, 1280


class GridPosition(NamedTuple):
    """Where a grid lies in a frame.

    Attributes:
        layout: Of the grid itself.
        top: Its first row in the picture; its title is above it.
        left: Its first column.
    """

    layout: Layout
    top: int
    left: int


class Arrangement(NamedTuple):
    """The places of all grids.

    Attributes:
        places: One a grid, row by row.
        title: Height of the title above each grid, in pixels; 0 where there is only one.
        shape: Height and width of all of it; both are even.
        side: The longer side of the grids together, titles aside, in pixels.
    """

    places: list[GridPosition]
    title: int
    shape: tuple[int, int]
    side: int


def arrange_grids(
    views: Sequence[View],
    across: int,
    *,
    side: int | None = None,
    columns: int | None = None,
    even: bool = False,
    outlined: bool = False,
) -> Arrangement:
    """Put grids side by side and below each other.

    Args:
        views: How each grid's layer is looked at.
        across: Grids in a row.
        side: Longer side of all of it, titles aside, in pixels, at most; more where a weight would
            have less than a pixel. None for 640, up to 1280 for several grids.
        columns: Cells in a row of each grid; None to choose.
        even: Whether everything begins and ends at even pixels, as video needs it.
        outlined: Whether there is room for a line around each cell.

    Returns:
        Where they lie.
    """
    down = math.ceil(len(views) / across)
    longer = max(across, down)
    side = side or min(_ONE * (1 + longer) // 2, _MOST)
    between = max(4, side // 40) // 2 * 2
    # Even, as each grid's place is rounded up to that.
    wide, high = (max(2, (side - between * (n - 1)) // n // 2 * 2) for n in (across, down))
    layouts = [
        Layout.fit(
            view.count,
            view.height,
            view.width,
            wide,
            view.slices,
            high=high,
            columns=columns,
            even=even,
            outlined=outlined,
        )
        for view in views
    ]
    rows = [layouts[start : start + across] for start in range(0, len(layouts), across)]
    widths = [max(row[n].shape[1] for row in rows if n < len(row)) for n in range(across)]
    widths = [width + width % 2 for width in widths]
    inner = sum(widths) + between * (across - 1)
    width = max(inner, NARROWEST)
    title = line_height(font_size(width)) // 2 * 2 + 2 if len(layouts) > 1 else 0
    places = []
    top = 0
    for row in rows:
        top += title
        left = (width - inner) // 4 * 2
        for layout, wide in zip(row, widths, strict=False):
            places.append(GridPosition(layout, top, left + (wide - layout.shape[1]) // 4 * 2))
            left += wide + between
        top += (max(layout.shape[0] for layout in row) + 1) // 2 * 2 + between
    height = top - between
    taken = max(inner, height - title * len(rows))
    return Arrangement(places, title, (height, width), taken)


_FRAMES_AT_ONCE = 40
"""Pictures in memory at a time, with what compressors make of them: measured; video takes most."""
_MOST_MEMORY = 2e9
_MOST_DISK = 20e9


def check_budget(shape: tuple[int, int], frames: int, bytes_a_pixel: int) -> None:
    """Refuse an animation so large that it was hardly meant.

    Args:
        shape: Height and width of a frame, in pixels.
        frames: How many there are.
        bytes_a_pixel: 1 for a palette's entries, 3 for colours.

    Raises:
        FiltertrackError: If it would take more than 2 GB of memory, or might take more than 20 GB
            of disk; the message says how much.

    Example:
        >>> check_budget((100_000, 100_000), frames=10, bytes_a_pixel=1)
        Traceback (most recent call last):
        ...
        filtertrack.errors.FiltertrackError: 10 frames of 100000x100000 pixels would take about
        400.0 GB of memory and up to 100.0 GB of disk; choose a smaller size, fewer steps or
        seconds, or allow it with huge=True (--huge)
    """
    height, width = shape
    picture = height * width * bytes_a_pixel
    memory, disk = picture * _FRAMES_AT_ONCE, picture * frames
    if memory > _MOST_MEMORY or disk > _MOST_DISK:
        raise FiltertrackError(
            f"{frames} frames of {width}x{height} pixels would take about {size_text(memory)} of "
            f"memory and up to {size_text(disk)} of disk; choose a smaller size, fewer "
            f"steps or seconds, or allow it with huge=True (--huge)"
        )
