"""The text around the grids of an animation: caption, legend, and the title of each grid."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from PIL import ImageFont

from filtertrack.errors import printable
from filtertrack.outputs.layer_cells import LayerCells, part_text, short_part_text
from filtertrack.outputs.metric_means import logs_between
from filtertrack.outputs.run_selection import RunSelection
from filtertrack.outputs.timeline import Timeline
from filtertrack.render.caption import Caption, Legend
from filtertrack.render.layer_look import describe_cells
from filtertrack.render.look import Look
from filtertrack.render.palette import FIRST, TEXT
from filtertrack.render.sparkline import Axis
from filtertrack.render.text import cut, joined_lines, shortened
from filtertrack.storage.paths import StoragePath

_LONGEST_NAME = 200
"""Characters of a layer's or a run's name, at most."""


class Grid(NamedTuple):
    """One grid: its cells, and the number of its run."""

    layer: LayerCells
    run: int


class FrameHeader:
    """The caption above the grids; where filters are outlined, a legend below it.

    Args:
        selection: The layers and steps.
        timeline: Position and duration of each frame.
        look: How filters are drawn.
        width: Width of a frame, in pixels.
        filters: Number of filters, whose labels the legend counts; None where it does not count.
        title: What is drawn.
        story: Measures of the only filter at each step, shown like metrics; None for none.

    Attributes:
        height: Height, in pixels.
    """

    def __init__(
        self,
        selection: RunSelection,
        timeline: Timeline,
        look: Look,
        width: int,
        *,
        filters: int | None,
        title: str,
        story: Sequence[Mapping[str, float]] | None = None,
    ) -> None:
        between = [logs_between(moments) for moments in selection.moments]
        logs = [run for run, _ in between]
        averaged = dict.fromkeys(name for _, names in between for name in names)
        if story is not None:
            logs = [[{**(log or {}), **own} for log, own in zip(logs[0], story, strict=True)]]
        axis = Axis(timeline.knots, timeline.axis, timeline.epochs)
        self.caption = Caption(
            title, selection.moments[0], logs, axis, width, averaged=list(averaged)
        )
        self.legend = Legend(width, filters) if look.outline else None
        self.height = self.caption.height + (self.legend.height if self.legend else 0)
        self._counted = filters is not None

    def draw(self, position: float, labels: np.ndarray | None) -> np.ndarray:
        """Draw the header of a frame.

        Args:
            position: Number of the snapshot, as in ``Frame``.
            labels: The labels of the filters of the first grid, if they are outlined.

        Returns:
            ``uint8`` array of shape ``(height, width)``: entries of the palette.
        """
        caption = self.caption.draw(position)
        if self.legend is None or labels is None:
            return caption
        counts = Counter(labels.tolist()) if self._counted else None
        return np.concatenate([caption, self.legend.draw(counts)])


def headline(
    selection: RunSelection, first: LayerCells, further: Sequence[str], *, alone: bool
) -> str:
    """Name the layer or the run, what its only grid shows, and the scale; add further phrases.

    Args:
        selection: The layers and steps.
        first: The first grid of filters.
        further: Phrases to add.
        alone: Whether it is the only grid.
    """
    if len(selection.layers) == 1:
        words = [selection.layers[0]]
    else:
        runs = selection.runs
        words = ["two runs" if len(runs) > 1 else runs[0].path.absolute().name]
    if len(selection.layers) == 1:
        words += [f"filter {first.numbers[0]}"] if len(first.numbers) == 1 else []
        explained = first.explained if len(selection.runs) == 1 else None
        words += describe_cells(first.look, first.info, first.view, explained)
    if alone and (first.look.delta or first.view.kind == "curve"):
        words.append(part_text(first))
    words += further
    return " · ".join(printable(cut(word, _LONGEST_NAME)) for word in words)


class GridTitle(NamedTuple):
    """The title of a grid.

    Attributes:
        names: The names of the layer and the run, where there are several.
        part: What is shown, in a phrase; empty if nothing else is.
        short: The same in one or two words.
        cells: Phrases about the cells, where there are several layers.
        ramp: The ramp of its colour: that of the run's curves.
    """

    names: list[str]
    part: str
    short: str
    cells: list[str]
    ramp: int

    def lines(self, face: ImageFont.FreeTypeFont, width: float, most: int) -> list[str]:
        """Return the title in at most so many lines; what does not fit is shorter or left out."""
        names = " · ".join(self.names)
        short_cells = [text.partition(", ")[0] for text in self.cells]
        for part, cells in ((self.part, self.cells), (self.short, short_cells)):
            words = [text for text in (names, part, *cells) if text]
            lines = joined_lines(words, face, width)
            whole = " · ".join(words).startswith(" · ".join(lines[:most]))  # nothing is shortened
            if whole and (len(lines) <= most or part in lines[0]):
                return lines[:most]
        end = f" · {self.short}" if self.short else ""
        return [f"{shortened(names, face, width - face.getlength(end))}{end}"]


def grid_titles(selection: RunSelection, grids: Sequence[Grid]) -> list[GridTitle]:
    """Return the title of each grid."""
    names = [""]
    if len(selection.runs) > 1:
        names = _short_names([run.path.absolute() for run in selection.runs])
    both = len({(grid.layer.look.delta, grid.layer.name) for grid in grids}) > 1
    titles = []
    for layer, run in grids:
        several, told = len(selection.layers) > 1, both or bool(layer.look.delta)
        words = [cut(layer.info.name, _LONGEST_NAME)] if several else []
        words += [names[run]] if names[run] else []
        titles.append(
            GridTitle(
                list(map(printable, words)),
                part_text(layer) if told else "",
                short_part_text(layer) if told else "",
                _cell_words(layer) if several else [],
                TEXT if len(names) == 1 else FIRST + run,
            )
        )
    return titles


def _cell_words(layer: LayerCells) -> list[str]:
    words = describe_cells(layer.look, layer.info, layer.view, layer.explained)
    return list(map(printable, words))


def _short_names(paths: Sequence[StoragePath]) -> list[str]:
    """Return the shortest ends of paths that differ."""
    for length in range(1, max(len(path.parts) for path in paths)):
        ends = ["/".join(path.parts[-length:]) for path in paths]
        if len(set(ends)) == len(ends):
            return ends
    return [str(path) for path in paths]
