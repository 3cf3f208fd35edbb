"""Draw the cells of a filmstrip: a row a filter, a column a step."""

import math
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import NamedTuple

import numpy as np

from filtertrack.errors import printable
from filtertrack.outputs.layer_cells import LayerCells, colours_of, part_text
from filtertrack.outputs.paper_size import Bar
from filtertrack.outputs.picture_parts import parts_of
from filtertrack.outputs.run_selection import RunSelection
from filtertrack.render.cells import View
from filtertrack.render.grid import Layout
from filtertrack.render.layer_look import bar_texts, describe_cells, describe_scale
from filtertrack.render.look import Look
from filtertrack.render.palette import (
    BACKGROUND,
    SEPARATOR,
    TEXT,
    outline_entries,
    theme_palette,
)
from filtertrack.render.scale_bar import draw_scale_bar
from filtertrack.render.text import QUIET, cut, font, font_size, line, line_height, paste
from filtertrack.render.value_range import ValueRange

CLASSIC_EPOCHS = (0, 1, 2, 5, 10, 20, 30, 40, 64)
"""The start, and the epochs that Zeiler and Fergus 2013 show in their figure 4."""

_LONGEST_NAME = 60
"""Characters of a layer's name in the title, at most."""
_FEWEST_CLASSIC, _MOST = 5, 10
"""Steps: at least so many classic epochs must exist; about so many are chosen otherwise."""


def spread_steps(steps: Sequence[int], *, epochs: bool) -> list[int]:
    """Choose about ten steps of a run, most of them early, when filters form.

    All steps where there are at most ten. Of a run that counts epochs those of
    ``CLASSIC_EPOCHS``; of others ten, evenly on a logarithmic scale. Always the first and the last.

    Args:
        steps: Steps of all snapshots, ascending.
        epochs: Whether steps count epochs.

    Returns:
        The chosen steps, ascending.

    Example:
        >>> spread_steps(range(36), epochs=True)
        [0, 1, 2, 5, 10, 20, 30, 35]
        >>> spread_steps(range(1000), epochs=False)
        [0, 1, 4, 9, 21, 45, 99, 214, 463, 999]
    """
    if len(steps) <= _MOST:
        return list(steps)
    classic = set(CLASSIC_EPOCHS).intersection(steps)
    if epochs and len(classic) >= _FEWEST_CLASSIC:
        return sorted({steps[0], *classic, steps[-1]})
    logarithms = np.log1p(np.array(steps, np.float64) - steps[0])
    wanted = np.linspace(0, logarithms[-1], _MOST)
    nearest = np.abs(logarithms - wanted[:, np.newaxis]).argmin(axis=1)
    return [steps[number] for number in np.unique(nearest)]


class ProbeImage(NamedTuple):
    """An image that the filters of a filmstrip answer to.

    Attributes:
        name: Its title, and its values, in lines.
        draw: Draws it in at most so many pixels down and across: ``(height, width, 3)``.
    """

    name: str
    draw: Callable[[int, int], np.ndarray]


class FilmstripPicture:
    """One layer of a run: its filters in rows, the steps of a selection in columns.

    A picture has one part, the filters or what was learned, or both, each with all rows and
    columns. Every method raises ``DamagedSnapshotError`` if a kernel cannot be read.

    Args:
        selection: One run and one layer.
        look: How filters are drawn; ``parts_of`` chooses the parts.
        parts: The cells of each part, instead of those that ``parts_of`` chooses.

    Attributes:
        view: How the layer is drawn.
        parts: The cells of each part.
        levels: The palette entries of each part's colormap.
        palette: The colours of the entries: ``uint8`` array of shape ``(256, 3)``.
        theme: The theme of the look.
        outlined: Whether each cell has a line around it in the colour of its filter's label.
        steps: The step of each column.
        marks: The label of each column.
        numbers: The numbers of the filters in the kernel: of each row, or of each column of a
            matrix.

    Raises:
        FiltertrackError: If the layer lacks a channel or filter of the look.
    """

    usual_gap = 0.07
    """Gap between cells as a share of a column, where it is not narrower."""

    def __init__(
        self, selection: RunSelection, look: Look, parts: Sequence[LayerCells] | None = None
    ) -> None:
        (run,), (name,) = selection.runs, selection.layers
        self.parts = parts or [
            LayerCells(run, name, selection.steps, part, spectra=False)
            for part in parts_of(selection, look)
        ]
        self.levels, colours = colours_of(self.parts)
        self.palette = theme_palette(look.theme, colours)
        self.view = self.parts[0].view
        self.steps = selection.steps
        self.marks, self._unit = selection.marks, selection.unit
        self.outlined, self.theme = look.outline, look.theme

    @cached_property
    def title(self) -> list[str]:
        """The layer's name, and phrases for what was done to its weights and the steps count."""
        first = self.parts[0]
        words = [
            first.info.name,
            *describe_cells(first.look, first.info, first.view, first.explained),
            *(part_text(part) for part in self.parts if part.look.delta),
            describe_scale(self.parts[-1].look, first.view),
            f"columns: {self._unit}",
        ]
        return [printable(cut(word, _LONGEST_NAME)) for word in words if word]

    @cached_property
    def _columns(self) -> list[list[tuple[np.ndarray, ValueRange]]]:
        """For each part and step the cells and their value range."""
        return [
            [(cells, part.values(cells)) for cells in part.walk(range(len(self.steps)))]
            for part in self.parts
        ]

    @cached_property
    def _outlines(self) -> np.ndarray | None:
        """The colours of all outlines: ``(rows, columns, 3)``; None where there are none."""
        if not self.outlined:
            return None
        columns = [self.parts[0].labels(number) for number in range(len(self.steps))]
        colours: np.ndarray = self.palette[outline_entries(np.stack(columns, axis=1))]
        return colours

    @cached_property
    def bars(self) -> list[Bar]:
        """The texts and the colours of each part's scale bar: ``(colours, 3)``."""
        bars = []
        for part, levels in zip(self.parts, self.levels, strict=True):
            texts = bar_texts(part.look, part.view, part.fixed_range)
            if texts is not None:
                bars.append((texts, self.palette[levels.start : levels.stop]))
        return bars

    @cached_property
    def images(self) -> Sequence[ProbeImage]:
        """Images above the rows: those that the filters of ``ResponseFilmstrip`` answer to."""
        return ()

    @property
    def beside(self) -> int:
        """Number of grids side by side, each with all rows and columns."""
        return len(self.parts)

    @property
    def part_titles(self) -> list[str]:
        """The title of each part, in one word."""
        return ["learned" if part.look.delta else "filters" for part in self.parts]

    @property
    def numbers(self) -> list[int]:
        """The numbers of the filters in the kernel: see the class."""
        numbers = self.parts[0].numbers
        return [number for number in numbers for _ in range(self.view.cells_per_filter)]

    @property
    def highest(self) -> int:
        """The highest of these numbers; 0 where there are none. Nothing is read."""
        return self.parts[0].highest

    @property
    def rows(self) -> int:
        """Number of rows."""
        return self.view.count

    @property
    def columns(self) -> int:
        """Number of columns."""
        return len(self.steps)

    def layout(self, rows: int, scale: int, gap: int) -> Layout:
        """Return the layout of some rows.

        Args:
            rows: Number of rows.
            scale: Pixels a side of each weight.
            gap: Pixels between cells.
        """
        view = self.view
        return Layout(
            rows * self.columns,
            view.height,
            view.width,
            self.columns,
            scale,
            gap,
            view.slices,
        )

    def picture(self, rows: range, layout: Layout, part: int = 0) -> np.ndarray:
        """Draw some of the rows.

        Args:
            rows: Numbers of the rows.
            layout: The layout of their cells.
            part: Number of the part.

        Returns:
            ``uint8`` array of shape ``(height, width, 3)``.
        """
        cells = self._colours(rows, layout, part)
        return self._composed(cells, rows, self.parts[part].drawn_layout(layout))

    def _colours(self, rows: range, layout: Layout, part: int) -> np.ndarray:
        """Draw some rows of a part: ``(rows, columns, height, width, 3)``."""
        layer, levels = self.parts[part], self.levels[part]
        some = slice(rows.start, rows.stop)
        columns = [
            layer.draw(cells[some], values.of_cells(some), layout, levels)
            for cells, values in self._columns[part]
        ]
        cells = np.stack(columns, axis=1)
        return cells if layer.view.coloured else self.palette[cells]

    def _composed(self, cells: np.ndarray, rows: range, layout: Layout) -> np.ndarray:
        """Place cells in a grid, with their outlines: ``(height, width, 3)``."""
        flat = cells.reshape(math.prod(cells.shape[:2]), *cells.shape[2:])  # also without cells
        red, green, blue = self.palette[SEPARATOR].tolist()
        outlines = None
        if self._outlines is not None:
            outlines = self._outlines[rows.start : rows.stop].reshape(-1, 3)
        return layout.compose(flat, (red, green, blue), outlines)

    def card(self, side: int) -> np.ndarray:
        """Draw the first rows of the first part for a screen, about as high as wide.

        The labels of the steps are above, the scale bar is below.

        Args:
            side: The longer side without labels and scale bar, in pixels, at most; more where a
                weight would have less than a pixel.

        Returns:
            ``uint8`` array of shape ``(height, width, 3)``.
        """
        view = self.view
        rows = max(1, min(self.rows, card_rows(view, self.columns)))
        fitted = Layout.fit(
            rows * self.columns, view.height, view.width, side, view.slices, columns=self.columns
        )
        grid = self.picture(range(rows), fitted)
        size = font_size(side)
        labels = np.full((line_height(size), grid.shape[1]), BACKGROUND, np.uint8)
        column = (grid.shape[1] - fitted.gap) / self.columns
        for number, mark in enumerate(self.marks):
            text = line(_short(mark), font(size), TEXT, QUIET)
            middle = fitted.gap / 2 + (number + 0.5) * column
            paste(labels, (0, max(0, round(middle - text.shape[1] / 2))), text)
        bar = self._bar(grid.shape[1], size)
        return np.concatenate([self.palette[labels], grid, self.palette[bar]])

    def _bar(self, width: int, size: int) -> np.ndarray:
        """Draw the scale bar of the first part; without rows where a weight has three values.

        Args:
            width: Its width, in pixels.
            size: Font size, in pixels.

        Returns:
            Entries of the palette.
        """
        if not self.bars:
            return np.empty((0, width), np.uint8)
        note = describe_scale(self.parts[0].look, self.view)
        return draw_scale_bar(self.bars[0][0], width, size, self.levels[0], note)


def card_rows(view: View, columns: int) -> int:
    """Return how many rows, at least one, make a picture about as high as wide."""
    return max(1, columns * view.width // max(1, view.height))


def _short(mark: str) -> str:
    """Return the label of a step with a large number shortened to about four characters.

    Example:
        >>> _short("1836"), _short("12345"), _short("3000000"), _short("restored")
        ('1836', '12k', '3M', 'restored')
    """
    number = int(mark) if mark.isdecimal() else 0
    if number >= 10**6:
        return f"{number // 10**6}M"
    return f"{number // 10**3}k" if number >= 10**4 else mark
