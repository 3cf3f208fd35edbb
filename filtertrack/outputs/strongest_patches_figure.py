"""Draw filters beside the parts of the probes that excite them: ``plot_strongest_patches``."""

import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from filtertrack.errors import FiltertrackError, counted
from filtertrack.outputs.figure_parts import add_image, draw_text, new_figure
from filtertrack.outputs.matplotlib_figure import FIGURE_FORMATS, colour, figure_settings, save
from filtertrack.outputs.paper_size import DIGIT, FONT, POINT, PaperSize, check_figure_memory
from filtertrack.outputs.run_selection import RunLike, open_run
from filtertrack.outputs.value_pictures import image_rgb, number_of_digits, range_of
from filtertrack.render.cells import to_cells, view_of
from filtertrack.render.grid import to_rgb
from filtertrack.render.look import ThemeName
from filtertrack.render.palette import THEMES
from filtertrack.render.text import cut
from filtertrack.render.value_range import range_of_cells
from filtertrack.response import PLACES, StrongestPatches
from filtertrack.snapshot import LayerInfo, describe
from filtertrack.storage.local_files import check_target
from filtertrack.storage.run import Run, recorded_probes

_FILTERS, _MOST_FILTERS, _MOST_STEPS = 12, 64, 4
"""Filters by default; filters and steps, at most."""
_LONGEST_NAME = 40
_LABEL = 0.75 * FONT
"""Font size of the values and of the filters' numbers, in points."""
_SMALLEST_LABEL = 3.5
"""Font size of the values in points, at least; they are left out where they are smaller."""

_SMALLEST_CELL = 8
"""Pixels."""

# In cells.
_GAP, _AFTER_FILTER, _BETWEEN_STEPS = 0.06, 0.25, 0.6
_MARGIN, _TITLE = 0.6, 3.4
"""Margin at the edges, and height of the titles, in font sizes."""


def plot_strongest_patches(
    run: RunLike,
    output: str | os.PathLike[str] | None = None,
    *,
    layer: str | None = None,
    steps: int | Sequence[int] | None = None,
    filters: Sequence[int] | None = None,
    theme: ThemeName = "light",
    width: str | float = "17cm",
    dpi: int = 300,
) -> Figure:
    """Draw filters, and beside each the nine patches of the probes that excite it most.

    A row is a filter: its weights as ``filmstrip`` draws them, then the receptive fields of the
    strongest places, strongest first, with the value of the feature map below each. Where the
    receptive field is not known, the whole picture is drawn. A patch has the brightness of the
    picture that it is a part of.

    Args:
        run: A run or its folder. It must have probes.
        output: The file to write, or None. Its ending selects the format: ``.png``, ``.pdf`` or
            ``.svg``. It is written whole or not at all.
        layer: The name of a layer; None for the first one whose responses were recorded.
        steps: Up to four steps, side by side, such as the first and the last: before and after
            training. None for the last one with responses.
        filters: Numbers of filters, at most 64; None for the first twelve.
        theme: ``"light"`` or ``"dark"``: the colours around the pictures.
        width: Width of the figure: ``"17cm"``, ``"6.7in"``, or a number of inches.
        dpi: Pixels an inch.

    Returns:
        A matplotlib figure, which can be changed and which a notebook displays: one axes for each
        step.

    Raises:
        FiltertrackError: As ``Run.strongest_patches``; if the width is too small or an option is
            invalid.
        OSError: If the file cannot be written.

    Example:
        >>> run = Run("runs/demo")  # doctest: +SKIP
        >>> plot_strongest_patches(run, "patches.png", steps=[0, 30])  # doctest: +SKIP
    """
    target = None if output is None else Path(output)
    if target is not None:
        check_target(target, FIGURE_FORMATS)
    if theme not in THEMES:
        raise FiltertrackError(f"theme: expected one of {', '.join(THEMES)}, got {theme!r}")
    paper, run = PaperSize.of(width, None, dpi), open_run(run)
    name = layer or next(iter(recorded_probes(run).layers), "")
    info = run.layer(name)
    numbers = _numbers(info, filters)
    chosen = _steps(run, steps)
    layout = _Layout.of(paper, len(numbers), len(chosen))
    check_figure_memory(layout.shape, (layout.rows_height, layout.block_width))
    columns = [_Column.read(run, info, step, numbers) for step in chosen]
    with figure_settings():
        figure = _Drawing(run, info, layout, paper, theme).draw(columns)
    if target is not None:
        save(figure, target)
    return figure


def _numbers(info: LayerInfo, filters: Sequence[int] | None) -> list[int]:
    numbers = list(range(min(info.filters, _FILTERS))) if filters is None else list(filters)
    if not 0 < len(numbers) <= _MOST_FILTERS:
        raise FiltertrackError(
            f"filters: expected 1 to {_MOST_FILTERS} numbers, got {len(numbers)}"
        )
    return numbers


def _steps(run: Run, steps: int | Sequence[int] | None) -> list[int]:
    if steps is None:
        probed = (step for step in reversed(run.steps) if run.moment(step).probed)
        last = next(probed, None)
        if last is None:
            raise FiltertrackError(f"{str(run.path)!r} holds no responses to its probes")
        return [last]
    chosen = [steps] if isinstance(steps, int) else list(steps)
    if not 0 < len(chosen) <= _MOST_STEPS:
        raise FiltertrackError(f"steps: expected 1 to {_MOST_STEPS} steps, got {len(chosen)}")
    return chosen


class _Column(NamedTuple):
    """What is drawn of one step.

    Attributes:
        title: The time.
        filters: Each filter as red, green and blue.
        patches: The strongest patches.
    """

    title: str
    filters: list[np.ndarray]
    patches: StrongestPatches

    @classmethod
    def read(cls, run: Run, info: LayerInfo, step: int, numbers: list[int]) -> "_Column":
        """Read the filters and their strongest patches at a step."""
        patches = run.strongest_patches(info.name, step, numbers)
        kernels = run.kernels(info.name, step)[numbers]
        view = view_of(info, curves=False).of_filters(len(numbers))
        if view.kind == "matrix":  # 1x1: its weights of all channels, side by side
            cells = kernels.reshape(len(numbers), 1, -1, 1)
        else:
            cells = to_cells(view, kernels)
        if cells.shape[-1] == 1:
            cells = cells.repeat(3, axis=-1)
        pictures = to_rgb(cells, range_of_cells(cells))
        return cls(describe(run.moment(step)), list(pictures), patches)


class _Layout(NamedTuple):
    """Sizes in pixels.

    Attributes:
        cell: Height and width of a cell.
        gap: Space between two cells.
        row: From one row to the next.
        lefts: Left edge of each block.
        top: Upper edge of the rows.
        block_width: Width of a block.
        rows_height: Height of all rows.
        shape: Height and width of the figure.
    """

    cell: int
    gap: int
    row: int
    lefts: tuple[int, ...]
    top: int
    block_width: int
    rows_height: int
    shape: tuple[int, int]

    @classmethod
    def of(cls, paper: PaperSize, rows: int, blocks: int) -> "_Layout":
        """Return the layout of a number of rows and of blocks side by side.

        Raises:
            FiltertrackError: If cells would be smaller than a few pixels.
        """
        wide, size, label = paper.shape[1], paper.pixels(FONT), paper.pixels(_LABEL)
        margin, numbers = _MARGIN * size, 2.4 * label
        of_block = 1 + _AFTER_FILTER + PLACES * (1 + _GAP)
        in_all = blocks * of_block + (blocks - 1) * _BETWEEN_STEPS
        cell = int((wide - 2 * margin - numbers) / in_all)
        if cell < _SMALLEST_CELL:
            raise FiltertrackError(
                f"width: {wide} pixels are too few for {blocks} times {PLACES} patches side by "
                f"side; choose a larger width, or fewer steps"
            )
        gap = max(1, round(_GAP * cell))
        block = round(cell * (1 + _AFTER_FILTER) + PLACES * (cell + gap))
        lefts = tuple(
            round(margin + numbers + n * (block + _BETWEEN_STEPS * cell)) for n in range(blocks)
        )
        row = math.ceil(cell + 1.3 * label)
        top = round((_TITLE + 1.2) * size)
        return cls(
            cell, gap, row, lefts, top, block, rows * row, (round(top + rows * row + margin), wide)
        )

    def patch_left(self, number: int) -> int:
        """Return the left edge of a patch, from that of its block."""
        return round(self.cell * (1 + _AFTER_FILTER)) + number * (self.cell + self.gap)


class _Drawing:
    """Draws the figure of the strongest patches.

    Args:
        run: The run.
        info: The layer.
        layout: The sizes of the parts.
        paper: The size of the figure.
        theme: The theme.
    """

    def __init__(
        self, run: Run, info: LayerInfo, layout: _Layout, paper: PaperSize, theme: ThemeName
    ) -> None:
        self._run, self._info, self._layout = run, info, layout
        self._probes = recorded_probes(run)
        self._theme: ThemeName = theme
        self._size = paper.pixels(FONT)
        self._figure = new_figure(layout.shape, paper.dpi, theme)

    def draw(self, columns: Sequence[_Column]) -> Figure:
        """Draw each step, and return the figure."""
        layout, size = self._layout, self._size
        self._draw_heading()
        for column, left in zip(columns, layout.lefts, strict=True):
            end, above = left + layout.block_width, layout.top - 1.5 * size
            draw_text(self._figure, column.title, (left, above), end, self._theme)
            block = add_image(self._figure, self._block(column), (left, layout.top))
            block.set_axis_off()
            self._print_values(column.patches, left)
        for row, number in enumerate(columns[0].patches.filters):
            middle = layout.top + row * layout.row + layout.cell / 2
            self._print(str(number), (layout.lefts[0] - 0.4 * size, middle), _LABEL, ha="right")
        return self._figure

    def _draw_heading(self) -> None:
        layer, size = self._probes.layer(self._info.name), self._size
        right = self._layout.shape[1] - _MARGIN * size
        name = cut(f"{self._run.path.name}, {layer.name}", _LONGEST_NAME)
        heading = f"{name} · filters, and the {PLACES} patches that excite each most"
        of = f"parts of {counted(self._probes.count, 'probes')}"
        if layer.field is None:
            of = f"whole probes, of {self._probes.count}, as the receptive field is not known"
        read = f"{of} · below each: the value of the feature map ({layer.read})"
        draw_text(
            self._figure, heading, (_MARGIN * size, 0.6 * size), right, self._theme, weight="bold"
        )
        draw_text(self._figure, read, (_MARGIN * size, 1.9 * size), right, self._theme)

    def _block(self, column: _Column) -> np.ndarray:
        """Return the picture of one step: ``(height, width, 3)``."""
        layout, look = self._layout, THEMES[self._theme]
        images = self._probes.input_of(self._probes.layer(self._info.name).input)
        block = np.full((layout.rows_height, layout.block_width, 3), look.background, np.uint8)
        patches = column.patches
        for row, picture in enumerate(column.filters):
            top = row * layout.row
            _paste(block, picture, (top, 0), layout.cell)
            for rank, (probe, *_) in enumerate(patches.places[row]):
                if probe >= 0:
                    pixels = patches.pixels[row, rank]
                    # Of the whole picture: a patch is as bright as in it.
                    ends = range_of(images[int(probe)].reshape(-1, 1))
                    low, high = (end.repeat(pixels.shape[-1]) for end in ends)
                    drawn = image_rgb(pixels, low, high, outside=look.separator)
                    _paste(block, drawn, (top, layout.patch_left(rank)), layout.cell)
        return block

    def _print_values(self, patches: StrongestPatches, left: int) -> None:
        """Print the value below each patch, and for filters without any that they are silent."""
        layout = self._layout
        texts = [[number_of_digits(float(value)) for value in row] for row in patches.values]
        longest = max(len(text) for row in texts for text in row)
        size = min(_LABEL, layout.cell / (POINT * self._figure.dpi) / (DIGIT * longest))
        for row, numbers in enumerate(texts):
            top, present = layout.top + row * layout.row, patches.places[row, :, 0] >= 0
            if not present.any():
                middle = left + layout.patch_left(PLACES // 2) + layout.cell / 2
                self._print("silent: it answered to no probe", (middle, top + layout.cell / 2))
            if size < _SMALLEST_LABEL:
                continue
            for rank in np.flatnonzero(present):
                middle = left + layout.patch_left(int(rank)) + layout.cell / 2
                below = top + layout.cell + 0.55 * (layout.row - layout.cell)
                self._print(numbers[rank], (middle, below), size)

    def _print(
        self, text: str, at: tuple[float, float], size: float = _LABEL, ha: str = "center"
    ) -> None:
        """Print a text at a point, in pixels from the upper left corner."""
        high, wide = self._layout.shape
        ink = colour(THEMES[self._theme].text)
        place = at[0] / wide, 1 - at[1] / high
        self._figure.text(*place, text, ha=ha, va="center", fontsize=size, color=ink)


def _paste(block: np.ndarray, picture: np.ndarray, at: tuple[int, int], side: int) -> None:
    """Paste a picture into a cell, as large as fits, in its middle."""
    height, width = picture.shape[:2]
    share = side / max(height, width)
    size = max(1, round(width * share)), max(1, round(height * share))
    way = Image.Resampling.NEAREST if share >= 1 else Image.Resampling.BOX
    pixels = np.asarray(Image.fromarray(picture).resize(size, way))
    down, across = at[0] + (side - size[1]) // 2, at[1] + (side - size[0]) // 2
    block[down : down + size[1], across : across + size[0]] = pixels
