"""Draw the frames of an animation: a caption above the grid of each layer.

Frames are drawn one at a time from the stored weights, so memory does not grow with their number.
"""

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import zip_longest

import numpy as np

from filtertrack.errors import printable
from filtertrack.outputs.frame_layout import arrange_grids, check_animation_size
from filtertrack.outputs.layer_cells import LayerCells
from filtertrack.outputs.metric_means import means_between
from filtertrack.outputs.run_selection import RunSelection
from filtertrack.outputs.timeline import Timeline
from filtertrack.render.caption import Caption, Legend
from filtertrack.render.grid import to_levels
from filtertrack.render.layer_look import check_look, describe_look
from filtertrack.render.look import Look
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
from filtertrack.render.sparkline import Axis
from filtertrack.render.text import PLAIN, QUIET, cut, font, font_size, line, paste, shortened
from filtertrack.storage.paths import StoragePath

_HEADER_HEIGHT = 150
"""Pixels of a caption in a wide frame, about: the size is checked before one is laid out."""
_SAMPLED_PIXELS, _SAMPLED_SNAPSHOTS = 12_000, 24
"""How much of an animation the colours of its palette are chosen from."""
_LONGEST_NAME = 200
"""Characters of a layer's or a run's name, at most."""


class AnimationFrames:
    """The frames of an animation.

    One layer of one run is one grid. Several layers are several grids; two runs are side by side.

    Args:
        selection: The layers and steps.
        timeline: Position and duration of each frame.
        look: How filters are drawn.
        side: Longer side of all grids together, in pixels, at most; more where a weight would have
            less than a pixel. None to choose.
        columns: Cells in a row; None to choose.
        indexed: Whether frames are entries of one palette; else they are colours where a layer is.
        even: Whether cells begin and end at even pixels, as video needs it.
        huge: Whether the animation may be larger than ``check_animation_size`` allows.

    Attributes:
        timeline: Position and duration of each frame.
        shape: Height and width of a frame, in pixels; both are even.
        side: The longer side of all grids together, in pixels.

    Raises:
        FiltertrackError: If the look does not fit the layers, or the frames would be too large.
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
        self.timeline, self._look = timeline, look
        self._layers = [
            LayerCells(selection.runs, name, selection.steps, look) for name in selection.layers
        ]
        views = [layer.view for layer in self._layers for _ in selection.runs]
        coloured = any(view.coloured for view in views)
        self._indexed = indexed or not coloured
        self._quantised = indexed and coloured
        two_runs = len(selection.runs) > 1
        across = 2 if two_runs else math.ceil(math.sqrt(len(selection.layers)))
        arranged = arrange_grids(
            views, across, side=side, columns=columns, even=even, outlined=look.outline
        )
        self._grids, self._title_height, self.side = arranged.grids, arranged.title, arranged.side
        height, width = arranged.shape
        if not huge:
            shape = height + _HEADER_HEIGHT, width
            check_animation_size(shape, len(timeline.frames), 1 if self._indexed else 3)
        self._titles = _grid_titles(selection) if self._title_height else []
        check_look(look, views)
        self._base_palette = theme_palette(look.theme, colormap_levels(look.colormap))
        counted = views[0].count if len(views) == 1 else None
        self._header = _Header(selection, timeline, look, width, counted)
        self.shape = (self._header.height + height, width)

    @property
    def colours(self) -> np.ndarray | None:
        """The palette that frames are entries of, ``(256, 3)``; None where they are colours."""
        return self.palette if self._indexed else None

    @cached_property
    def palette(self) -> np.ndarray:
        """The colours of the entries: ``uint8`` array of shape ``(256, 3)``."""
        if not self._quantised:
            return self._base_palette
        return theme_palette(self._look.theme, chosen_levels(self._sampled_colours()))

    def pictures(self) -> Iterator[np.ndarray]:
        """Draw one frame after another.

        Yields:
            ``uint8`` arrays of shape ``shape``, entries of ``palette``; or with a last axis of 3
            where they are colours.
        """
        positions = [frame.position for frame in self.timeline.frames]
        cells = zip(*(layer.walk(positions) for layer in self._layers), strict=True)
        background = self._background()
        fill = SEPARATOR if self._indexed else tuple(self._base_palette[SEPARATOR].tolist())
        labels: list[np.ndarray] = []
        labelled = -1
        for position, frame_cells in zip(positions, cells, strict=True):
            if self._look.outline and math.floor(position) != labelled:
                labelled = math.floor(position)
                labels = [each for layer in self._layers for each in layer.labels(position)]
            picture = background.copy()
            paste(picture, (0, 0), self._pixels(self._header.draw(position, labels)))
            outlines = [self._pixels(outline_entries(each)) for each in labels]
            weights = self._weights(frame_cells)
            for grid, pixels, outline in zip_longest(self._grids, weights, outlines):
                drawn = grid.layout.compose(pixels, fill, outline)
                paste(picture, (self._header.height + grid.top, grid.left), drawn)
            yield picture

    def _background(self) -> np.ndarray:
        """Draw what is the same in every frame: the background and the titles of the grids."""
        entries = np.full(self.shape, BACKGROUND, np.uint8)
        face = font(font_size(self.shape[1]))
        for grid, (title, ramp) in zip(self._grids, self._titles, strict=False):
            text = shortened(title, face, grid.layout.shape[1] - grid.layout.gap)
            top = self._header.height + grid.top - self._title_height
            strength = QUIET if ramp == TEXT else PLAIN
            left = grid.left + grid.layout.gap
            paste(entries, (top, left), line(text, face, ramp, strength))
        return self._pixels(entries)

    def _pixels(self, entries: np.ndarray) -> np.ndarray:
        """Return entries other than weights as a frame holds them: entries or colours."""
        return entries if self._indexed else self._base_palette[entries]

    def _weights(self, cells: Sequence[Sequence[np.ndarray]]) -> Iterator[np.ndarray]:
        """Yield the cells of each grid as a frame holds them: entries or colours."""
        for layer, runs in zip(self._layers, cells, strict=True):
            values = layer.values(runs)
            for each in runs:
                if self._indexed and not self._quantised:
                    yield to_levels(each, values)
                else:
                    colours = layer.paint(each, values, self._base_palette)
                    yield to_entries(colours, self.palette) if self._indexed else colours

    def _sampled_colours(self) -> np.ndarray:
        """Return colours of weights of the whole run: the same number of each snapshot and layer.

        Returns:
            ``uint8`` array of shape ``(colours, 3)``.
        """
        rng = np.random.default_rng(0)
        count = len(self.timeline.knots)
        spread = np.linspace(0, count - 1, min(count, _SAMPLED_SNAPSHOTS)).round()
        positions = np.unique(spread).tolist()
        each = math.ceil(_SAMPLED_PIXELS / (len(positions) * len(self._layers)))
        samples = []
        for layer in self._layers:
            for runs in layer.walk(positions):
                values = layer.values(runs)
                painted = [layer.paint(cells, values, self._base_palette) for cells in runs]
                colours = np.concatenate([cells.reshape(-1, 3) for cells in painted])
                samples.append(
                    colours if len(colours) <= each else rng.choice(colours, each, axis=0)
                )
        return np.concatenate(samples)


class _Header:
    """The caption above the grids; where filters are outlined, a legend below it.

    Args:
        selection: The layers and steps.
        timeline: Position and duration of each frame.
        look: How filters are drawn.
        width: Width of a frame, in pixels.
        filters: Number of filters, whose labels the legend counts; None where it does not count.

    Attributes:
        height: Height, in pixels.
    """

    def __init__(
        self,
        selection: RunSelection,
        timeline: Timeline,
        look: Look,
        width: int,
        filters: int | None,
    ) -> None:
        # The metrics beside restored weights are those of other weights.
        logs = [
            [None if moment.note and not moment.metrics else moment.metrics for moment in run]
            for run in selection.moments
        ]
        between = [means_between(*each) for each in zip(selection.moments, logs, strict=True)]
        logs = [run for run, _ in between]
        averaged = dict.fromkeys(name for _, names in between for name in names)
        title = _headline(selection, look, timeline)
        axis = Axis(timeline.knots, timeline.axis, timeline.epochs)
        self.caption = Caption(
            title, selection.moments[0], logs, axis, width, averaged=list(averaged)
        )
        self.legend = Legend(width, filters) if look.outline else None
        self.height = self.caption.height + (self.legend.height if self.legend else 0)
        self._counted = filters is not None

    def draw(self, position: float, labels: Sequence[np.ndarray]) -> np.ndarray:
        """Draw the header of a frame.

        Args:
            position: Number of the snapshot, as in ``Frame``.
            labels: The labels of each grid's filters, if they are outlined.

        Returns:
            ``uint8`` array of shape ``(height, width)``: entries of the palette.
        """
        caption = self.caption.draw(position)
        if self.legend is None:
            return caption
        counts = Counter(labels[0].tolist()) if self._counted else None
        return np.concatenate([caption, self.legend.draw(counts)])


def _headline(selection: RunSelection, look: Look, timeline: Timeline) -> str:
    """Name the layer or the run, and what was done to the weights."""
    if len(selection.layers) == 1:
        parts = [selection.layers[0]]
    else:
        parts = ["two runs" if len(selection.runs) > 1 else selection.runs[0].path.absolute().name]
    parts += describe_look(look, [selection.runs[0].layer(name) for name in selection.layers])
    if any(frame.position % 1 for frame in timeline.frames):
        parts.append("interpolated")
    return " · ".join(printable(cut(part, _LONGEST_NAME)) for part in parts)


def _grid_titles(selection: RunSelection) -> list[tuple[str, int]]:
    """Return the title of each grid and the ramp of its colour: that of the run's curves."""
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
    """Return the shortest ends of paths that differ."""
    for length in range(1, max(len(path.parts) for path in paths)):
        ends = ["/".join(path.parts[-length:]) for path in paths]
        if len(set(ends)) == len(ends):
            return ends
    return [str(path) for path in paths]
