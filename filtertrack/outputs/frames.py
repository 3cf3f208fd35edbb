"""A run as moving pictures: its frames, drawn one at a time when they are asked for.

Everything is drawn from the stored weights, so memory does not grow with the length of the run.
"""

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import zip_longest

import numpy as np

from filtertrack.errors import printable
from filtertrack.outputs.arrangement import arrange_grids
from filtertrack.outputs.budget import check_budget
from filtertrack.outputs.layer_cells import Look, Panel, check_look
from filtertrack.outputs.run_selection import Subject
from filtertrack.outputs.timeline import Timeline
from filtertrack.render.caption import Caption
from filtertrack.render.grid import SEPARATOR, to_levels
from filtertrack.render.legend import Legend
from filtertrack.render.palette import (
    BACKGROUND,
    FIRST,
    TEXT,
    chosen_levels,
    colormap_levels,
    film_palette,
    outline_entries,
    to_entries,
)
from filtertrack.render.text import PLAIN, QUIET, cut, font, font_size, line, paste, shortened
from filtertrack.storage.paths import Place

_HEAD = 150
"""Pixels of a caption in a wide frame, about."""
_SAMPLES, _SAMPLED = 12_000, 24
_LONGEST_NAME = 200
"""Characters of a layer's or a run's name, at most."""


class Film:
    """Grids of filters under a caption, frame after frame.

    One layer of one run is one grid. Several layers are several grids; two runs stand side by side.

    Args:
        subject: What is shown.
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
        subject: Subject,
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
        self._panels = [Panel(subject.runs, name, subject.steps, look) for name in subject.layers]
        views = [panel.view for panel in self._panels for _ in subject.runs]
        check_look(look, views)
        self._outlined = look.outline
        coloured = any(view.coloured for view in views)
        self._plain = film_palette(look.theme, colormap_levels(look.colormap))
        self._indexed = indexed or not coloured
        self._quantised = indexed and coloured
        two = len(subject.runs) > 1
        across = 2 if two else math.ceil(math.sqrt(len(subject.layers)))
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
            for run in subject.moments
        ]
        title = _headline(subject, look, timeline)
        self._caption = Caption(title, subject.moments[0], logs, timeline.knots, grids.shape[1])
        self._counted = look.outline and len(views) == 1
        self._legend = Legend(grids.shape[1], views[0].count if self._counted else None)
        self._head = self._caption.height + (self._legend.height if look.outline else 0)
        self.shape = (self._head + height, width)
        if not huge:
            check_budget(self.shape, frames, bytes_a_pixel)
        self._titles = _titles(subject) if self._title else []

    @property
    def colours(self) -> np.ndarray | None:
        """The palette whose entries the frames are, ``(256, 3)``; None where they are colours."""
        return self.palette if self._indexed else None

    @cached_property
    def palette(self) -> np.ndarray:
        """The colours of the entries: ``uint8`` array of shape ``(256, 3)``."""
        return (
            film_palette(self._theme, chosen_levels(self._sample()))
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


def _headline(subject: Subject, look: Look, timeline: Timeline) -> str:
    """Say what is shown, and what was done to it."""
    if len(subject.layers) == 1:
        parts = [subject.layers[0]]
    else:
        parts = ["two runs" if len(subject.runs) > 1 else subject.runs[0].path.absolute().name]
    parts += look.described([subject.runs[0].layer(name) for name in subject.layers])
    if any(frame.position % 1 for frame in timeline.frames):
        parts.append("interpolated")
    return " · ".join(printable(cut(part, _LONGEST_NAME)) for part in parts)


def _titles(subject: Subject) -> list[tuple[str, int]]:
    """Return each grid's title and the ramp of its colour: that of the run's curves."""
    layers = [printable(cut(layer, _LONGEST_NAME)) for layer in subject.layers]
    if len(subject.runs) == 1:
        return [(layer, TEXT) for layer in layers]
    names = _short_names([run.path.absolute() for run in subject.runs])
    return [
        (name if len(layers) == 1 else f"{layer} · {name}", ramp)
        for layer in layers
        for ramp, name in enumerate(map(printable, names), start=FIRST)
    ]


def _short_names(paths: Sequence[Place]) -> list[str]:
    """Return what tells paths apart: their ends, from the part in which they differ."""
    for length in range(1, max(len(path.parts) for path in paths)):
        ends = ["/".join(path.parts[-length:]) for path in paths]
        if len(set(ends)) == len(ends):
            return ends
    return [str(path) for path in paths]
