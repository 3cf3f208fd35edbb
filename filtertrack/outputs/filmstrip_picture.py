"""A layer's filters at a few steps as one picture: a row a filter, a column a step."""

import math
from collections.abc import Iterator, Sequence
from functools import cached_property

import numpy as np

from filtertrack.outputs.layer_cells import LayerCells
from filtertrack.outputs.run_selection import RunSelection
from filtertrack.render.cells import View
from filtertrack.render.grid import Layout
from filtertrack.render.look import Look, check_look
from filtertrack.render.palette import (
    BACKGROUND,
    SEPARATOR,
    TEXT,
    colormap_levels,
    outline_entries,
    theme_palette,
)
from filtertrack.render.text import QUIET, font, font_size, line, line_height, paste

CLASSIC_EPOCHS = (0, 1, 2, 5, 10, 20, 30, 40, 64)
"""The start, and the epochs that Zeiler and Fergus 2013 show in their figure 4."""

_FEW, _MOST = 5, 10


def spread_steps(steps: Sequence[int], *, epochs: bool) -> list[int]:
    """Choose steps that tell the story: most of them early, when filters form.

    All where there are at most ten. Of a run that counts epochs the classic ones; of others about
    ten, evenly on a logarithmic scale. The first and the last always.

    Args:
        steps: Of all snapshots, ascending.
        epochs: Whether steps count epochs.

    Returns:
        The chosen ones, ascending.

    Example:
        >>> spread_steps(range(36), epochs=True)
        [0, 1, 2, 5, 10, 20, 30, 35]
        >>> spread_steps(range(1000), epochs=False)
        [0, 1, 4, 9, 21, 45, 99, 214, 463, 999]
    """
    if len(steps) <= _MOST:
        return list(steps)
    classic = set(CLASSIC_EPOCHS).intersection(steps)
    if epochs and len(classic) >= _FEW:
        return sorted({steps[0], *classic, steps[-1]})
    places = np.log1p(np.array(steps, np.float64) - steps[0])
    wanted = np.linspace(0, places[-1], _MOST)
    nearest = np.abs(places - wanted[:, np.newaxis]).argmin(axis=1)
    return [steps[number] for number in np.unique(nearest)]


class FilmstripPicture:
    """A layer of one run at each of the steps of a selection.

    Args:
        selection: One run and one layer.
        look: How filters are drawn.

    Attributes:
        view: How the layer is looked at.
        outlined: Whether each cell has a line around it that says its filter's label.
        steps: Each column's step.
        marks: How each column's step is written above it.
        numbers: The filters that are drawn, by their numbers in the kernel: each row's, or each
            column's of a matrix.

    Raises:
        FiltertrackError: If the look does not fit the layer.
    """

    def __init__(self, selection: RunSelection, look: Look) -> None:
        self._panel = LayerCells(selection.runs, selection.layers[0], selection.steps, look)
        check_look(look, [self._panel.view])
        self._palette = theme_palette(look.theme, colormap_levels(look.colormap))
        self.view = self._panel.view
        self.steps = selection.steps
        self.marks = selection.marks
        self.outlined = look.outline

    # Drawn when first needed: by then it is known that there is a pixel for each weight.

    @cached_property
    def _cells(self) -> np.ndarray:
        """The colours of all cells: ``(rows, columns, height, width, 3)``."""
        return np.stack(list(self._painted()), axis=1)

    @cached_property
    def _outlines(self) -> np.ndarray | None:
        return self._palette[self._labelled()] if self.outlined else None

    def _painted(self) -> Iterator[np.ndarray]:
        for group in self._panel.walk(range(len(self.steps))):
            yield self._panel.paint(group[0], self._panel.values(group), self._palette)

    def _labelled(self) -> np.ndarray:
        """Return the entry of each cell's outline: ``(rows, columns)``."""
        columns = [self._panel.labels(number)[0] for number in range(len(self.steps))]
        return outline_entries(np.stack(columns, axis=1))

    @property
    def numbers(self) -> list[int]:
        """The filters that are drawn, by their numbers in the kernel: see the class."""
        return self._panel.numbers

    @property
    def highest(self) -> int:
        """The highest of these numbers; 0 where there are none."""
        return self._panel.highest

    @property
    def rows(self) -> int:
        """Number of rows."""
        return self.view.count

    @property
    def columns(self) -> int:
        """Number of columns."""
        return len(self.steps)

    def layout(self, rows: int, scale: int, gap: int) -> Layout:
        """Return where the cells of so many rows lie."""
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

    def picture(self, rows: range, layout: Layout) -> np.ndarray:
        """Draw some of the rows.

        Args:
            rows: Which.
            layout: Where their cells lie.

        Returns:
            ``uint8`` array of shape ``(height, width, 3)``.
        """
        cells = self._cells[rows.start : rows.stop]
        flat = cells.reshape(math.prod(cells.shape[:2]), *cells.shape[2:])
        red, green, blue = self._palette[SEPARATOR].tolist()
        outlines = None
        if self._outlines is not None:
            outlines = self._outlines[rows.start : rows.stop].reshape(-1, 3)
        return layout.compose(flat, (red, green, blue), outlines)

    def card(self, side: int) -> np.ndarray:
        """Draw the first rows for a screen: about as high as wide, the steps above their columns.

        Args:
            side: The longer side, the steps aside, in pixels, at most; more where a weight would
                have less than a pixel.

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
        pitch = (grid.shape[1] - fitted.gap) / self.columns
        for number, mark in enumerate(self.marks):
            text = line(_short(mark), font(size), TEXT, QUIET)
            middle = fitted.gap / 2 + (number + 0.5) * pitch
            paste(labels, (0, max(0, round(middle - text.shape[1] / 2))), text)
        return np.concatenate([self._palette[labels], grid])


def card_rows(view: View, columns: int) -> int:
    """Return how many rows make a card about as high as wide: at least one."""
    return max(1, columns * view.width // max(1, view.height))


def _short(mark: str) -> str:
    """Write a number in at most four characters, or nearly.

    Example:
        >>> _short("1836"), _short("12345"), _short("3000000"), _short("restored")
        ('1836', '12k', '3M', 'restored')
    """
    number = int(mark) if mark.isdecimal() else 0
    if number >= 10**6:
        return f"{number // 10**6}M"
    return f"{number // 10**3}k" if number >= 10**4 else mark
