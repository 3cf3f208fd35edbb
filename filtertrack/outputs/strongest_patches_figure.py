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
from filtertrack.outputs.paper_size import (
    DIGIT,
    FONT,
    PaperSize,
    check_figure_memory,
    title_lines,
)
from filtertrack.outputs.run_selection import RunLike, open_run
from filtertrack.outputs.value_pictures import image_rgb, number_of_digits, range_of
from filtertrack.render.cells import to_cells, view_of
from filtertrack.render.grid import to_rgb
from filtertrack.render.look import ThemeName
from filtertrack.render.palette import THEMES
from filtertrack.render.text import cut
from filtertrack.render.value_range import range_of_cells
from filtertrack.response import PLACES, StoredProbes, StrongestPatches
from filtertrack.snapshot import LayerInfo, describe
from filtertrack.storage.local_files import check_target
from filtertrack.storage.run import Run, recorded_probes

_FILTERS, _MOST_FILTERS, _MOST_STEPS = 12, 64, 4
"""Filters by default; filters and steps, at most."""
_LONGEST_NAME = 40
_LABEL, _SMALLEST_LABEL = 0.75 * FONT, 5.0
"""Font size of the values and of the filters' numbers in points, and the smallest of the values."""
_LABEL_WIDTH = 0.92
"""Width of the longest value, in cells, at most."""
_BELOW_CELL, _ROW_GAP = 0.75, 2.2
"""From a cell to the middle of the value below it, and to the next row, in font sizes of values."""

_SMALLEST_CELL = 8
"""Pixels."""
_FRAME = 0.4
"""Width of the frame around a filter and a patch, in points."""

# In cells.
_GAP, _AFTER_FILTER, _BETWEEN_STEPS = 0.06, 0.25, 0.6
_MARGIN, _LINE = 0.6, 1.3
"""Margin at the edges, and from one line of the titles to the next, in font sizes."""
_OUTSIDE = {"light": "grey-blue", "dark": "dark blue"}
"""The colour of what is outside of a picture in each theme."""


def plot_strongest_patches(
    run: RunLike,
    layer: str | None = None,
    output: str | os.PathLike[str] | None = None,
    *,
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
    picture that it is a part of; where it reaches over the picture's edge it is grey-blue (in the
    dark theme dark blue). With several steps or a small width only as many of the nine are drawn as
    are legible, the strongest; the title says how many.

    Args:
        run: A run or its folder. It must have probes.
        layer: The name of a layer; None for the first one whose responses were recorded.
        output: The file to write, or None. Its ending selects the format: ``.png``, ``.pdf`` or
            ``.svg``. It is written whole or not at all.
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
        >>> plot_strongest_patches(run, "conv2", "a.png", steps=[0, 30])  # doctest: +SKIP
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
    columns = [_Column.read(run, info, step, numbers) for step in chosen]
    probes = recorded_probes(run)
    layout = _Layout.of(paper, columns)
    heading = cut(f"{run.path.name}, {name}", _LONGEST_NAME)
    below = _subtitle(probes, info, layout.patches, columns, _OUTSIDE[theme])
    titles = [
        title_lines(words, paper)
        for words in ([heading, *_title(info, layout.patches, columns)], below)
    ]
    layout = layout.below(paper.pixels((_MARGIN + _LINE * sum(map(len, titles)) + 1.7) * FONT))
    check_figure_memory(layout.shape, (layout.rows_height, layout.block_width))
    images = probes.input_of(probes.layer(name).input)
    with figure_settings():
        figure = _Drawing(layout, paper, theme).draw(columns, images, titles)
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
        finite: Whether all responses of a filter are finite: one without patches is silent then.
    """

    title: str
    filters: list[np.ndarray]
    patches: StrongestPatches
    finite: np.ndarray

    @property
    def texts(self) -> np.ndarray:
        """The value of each patch as text: ``(filters, 9)``; empty for missing ones."""
        patches = self.patches
        texts = [number_of_digits(float(value)) for value in patches.values.flat]
        shaped = np.array(texts, object).reshape(patches.values.shape)
        shaped[patches.places[..., 0] < 0] = ""
        return shaped

    def reaches_outside(self, patches: int) -> bool:
        """Whether one of so many patches of a filter reaches over the edge of its picture."""
        present = self.patches.places[:, :patches, 0] >= 0
        return bool(np.isnan(self.patches.pixels[:, :patches][present]).any())

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
        highest = run.probe_responses(info.name, step).highest[:, numbers]
        finite = np.isfinite(highest).all(axis=0)
        return cls(describe(run.moment(step)), list(pictures), patches, finite)


def _title(info: LayerInfo, patches: int, columns: Sequence[_Column]) -> list[str]:
    """Return which filters and how many patches are drawn."""
    numbers = columns[0].patches.filters
    which = counted(info.filters, "filters")
    if len(numbers) == 1 and info.filters > 1:
        which = f"filter {numbers[0]} of {info.filters}"
    elif len(numbers) < info.filters:
        which = f"{len(numbers)} of {which}"
    what = "patch that excites" if patches == 1 else f"{patches} patches that excite"
    return [f"{which}, and the {what} {'it' if len(numbers) == 1 else 'each'} most"]


def _subtitle(
    probes: StoredProbes, info: LayerInfo, patches: int, columns: Sequence[_Column], outside: str
) -> list[str]:
    """Return what patches are parts of, and what is drawn below and outside of them."""
    layer = probes.layer(info.name)
    words = [
        f"parts of {counted(probes.count, 'probes')}"
        if layer.field is not None
        else f"whole probes, of {probes.count}, as the receptive field is not known",
        f"below each: the value of the feature map ({layer.read})",
    ]
    if any(column.reaches_outside(patches) for column in columns):
        words.append(f"{outside}: outside the picture")
    if patches < PLACES:
        words.append(f"{patches} of {PLACES} patches fit the width")
    return words


class _Layout(NamedTuple):
    """Sizes in pixels.

    Attributes:
        patches: Number of patches beside a filter.
        cell: Height and width of a cell.
        gap: Space between two cells.
        row: From one row to the next.
        label: Font size of the values, in points.
        lefts: Left edge of each block.
        top: Upper edge of the rows.
        block_width: Width of a block.
        rows_height: Height of all rows.
        shape: Height and width of the figure.
    """

    patches: int
    cell: int
    gap: int
    row: int
    label: float
    lefts: tuple[int, ...]
    top: int
    block_width: int
    rows_height: int
    shape: tuple[int, int]

    @classmethod
    def of(cls, paper: PaperSize, columns: Sequence[_Column]) -> "_Layout":
        """Return the layout with the most patches whose values are legible, without titles.

        Raises:
            FiltertrackError: If not even one patch is.
        """
        wide, size, blocks = paper.shape[1], paper.pixels(FONT), len(columns)
        margin, numbers = _MARGIN * size, 2.4 * paper.pixels(_LABEL)
        for patches in range(PLACES, 0, -1):
            of_block = 1 + _AFTER_FILTER + patches * (1 + _GAP)
            in_all = blocks * of_block + (blocks - 1) * _BETWEEN_STEPS
            cell = int((wide - 2 * margin - numbers) / in_all)
            drawn = (text for column in columns for text in column.texts[:, :patches].flat)
            label = min(_LABEL, _LABEL_WIDTH * cell / paper.pixels(max(map(_width_of, drawn))))
            if cell >= _SMALLEST_CELL and label >= _SMALLEST_LABEL:
                break
        else:
            raise FiltertrackError(
                f"width: {wide} pixels are too few for the patches of {counted(blocks, 'steps')} "
                f"side by side; choose a larger width, or fewer steps"
            )
        gap = max(1, round(_GAP * cell))
        block = round(cell * (1 + _AFTER_FILTER) + patches * (cell + gap))
        lefts = tuple(
            round(margin + numbers + n * (block + _BETWEEN_STEPS * cell)) for n in range(blocks)
        )
        row = math.ceil(cell + _ROW_GAP * paper.pixels(label))
        rows = row * len(columns[0].filters)
        shape = math.ceil(rows + margin), wide
        return cls(patches, cell, gap, row, label, lefts, 0, block, rows, shape)

    def below(self, height: float) -> "_Layout":
        """Return the layout with the rows below titles of a height."""
        top = math.ceil(height)
        return self._replace(top=top, shape=(self.shape[0] + top, self.shape[1]))

    def patch_left(self, number: int) -> int:
        """Return the left edge of a patch, from that of its block."""
        return round(self.cell * (1 + _AFTER_FILTER)) + number * (self.cell + self.gap)


def _width_of(text: str) -> float:
    """Return the width of a number in font sizes: a point is half as wide as a digit."""
    return DIGIT * max(1.0, len(text) - 0.5 * text.count("."))


class _Drawing:
    """Draws the figure of the strongest patches.

    Args:
        layout: The sizes of the parts.
        paper: The size of the figure.
        theme: The theme.
    """

    def __init__(self, layout: _Layout, paper: PaperSize, theme: ThemeName) -> None:
        self._layout = layout
        self._theme: ThemeName = theme
        self._size, self._label = paper.pixels(FONT), paper.pixels(layout.label)
        self._frame = max(1, round(paper.pixels(_FRAME)))
        self._figure = new_figure(layout.shape, paper.dpi, theme)

    def draw(
        self, columns: Sequence[_Column], images: np.ndarray, titles: Sequence[Sequence[str]]
    ) -> Figure:
        """Draw each step, and return the figure.

        Args:
            columns: What is drawn of each step.
            images: The probes.
            titles: The lines in bold, and those below them.
        """
        layout, size = self._layout, self._size
        top, right = _MARGIN * size, layout.shape[1] - _MARGIN * size
        for lines, weight in zip(titles, ("bold", "normal"), strict=True):
            for line in lines:
                at = _MARGIN * size, top
                draw_text(self._figure, line, at, right, self._theme, weight=weight)
                top += _LINE * size
        first = len(self._figure.texts)
        for column, left in zip(columns, layout.lefts, strict=True):
            end, above = left + layout.block_width, layout.top - 1.5 * size
            draw_text(self._figure, column.title, (left, above), end, self._theme)
        times = self._figure.texts[first:]
        smallest = min(float(text.get_fontsize()) for text in times)
        for column, text, left in zip(columns, times, layout.lefts, strict=True):
            text.set_fontsize(smallest)
            block = add_image(self._figure, self._block(column, images), (left, layout.top))
            block.set_axis_off()
            self._print_values(column, left)
        for row, number in enumerate(columns[0].patches.filters):
            middle = layout.top + row * layout.row + layout.cell / 2
            self._print(str(number), (layout.lefts[0] - 0.4 * size, middle), _LABEL, ha="right")
        return self._figure

    def _block(self, column: _Column, images: np.ndarray) -> np.ndarray:
        """Return the picture of one step: ``(height, width, 3)``."""
        layout, look = self._layout, THEMES[self._theme]
        block = np.full((layout.rows_height, layout.block_width, 3), look.background, np.uint8)
        patches = column.patches
        for row, picture in enumerate(column.filters):
            top = row * layout.row
            self._paste(block, picture, (top, 0))
            for rank, (probe, *_) in enumerate(patches.places[row, : layout.patches]):
                if probe >= 0:
                    pixels = patches.pixels[row, rank]
                    # Of the whole picture: a patch is as bright as in it.
                    ends = range_of(images[int(probe)].reshape(-1, 1))
                    low, high = (end.repeat(pixels.shape[-1]) for end in ends)
                    drawn = image_rgb(pixels, low, high, outside=look.separator)
                    self._paste(block, drawn, (top, layout.patch_left(rank)))
        return block

    def _paste(self, block: np.ndarray, picture: np.ndarray, at: tuple[int, int]) -> None:
        """Paste a picture into the middle of a cell, as large as fits, with a frame around it."""
        cell, frame = self._layout.cell, self._frame
        height, width = picture.shape[:2]
        share = (cell - 2 * frame) / max(height, width)
        size = max(1, round(width * share)), max(1, round(height * share))
        way = Image.Resampling.NEAREST if share >= 1 else Image.Resampling.BOX
        pixels = np.asarray(Image.fromarray(picture).resize(size, way))
        down, across = at[0] + (cell - size[1]) // 2, at[1] + (cell - size[0]) // 2
        framed = block[
            down - frame : down + size[1] + frame, across - frame : across + size[0] + frame
        ]
        framed[:] = THEMES[self._theme].separator
        framed[frame:-frame, frame:-frame] = pixels

    def _print_values(self, column: _Column, left: int) -> None:
        """Print the value below each patch, and for filters without any the reason."""
        layout = self._layout
        for row, texts in enumerate(column.texts[:, : layout.patches]):
            top = layout.top + row * layout.row
            present = np.flatnonzero(texts != "")
            if not present.size:
                edge = left + layout.patch_left(0)
                known = column.finite[row]
                words = (
                    "silent: it answered to no probe" if known else "its responses are not finite"
                )
                self._print_reason(
                    words, (edge, top + layout.cell / 2), left + layout.block_width - edge
                )
            for rank in present:
                middle = left + layout.patch_left(int(rank)) + layout.cell / 2
                below = top + layout.cell + _BELOW_CELL * self._label
                self._print(texts[rank], (middle, below), layout.label)

    def _print_reason(self, words: str, at: tuple[float, float], width: float) -> None:
        """Print why a filter has no patches, in a font in which it takes a width at most."""
        self._print(words, at, ha="left")
        drawn = self._figure.texts[-1]
        share = width / drawn.get_window_extent().width
        drawn.set_fontsize(min(1.0, share) * _LABEL)

    def _print(
        self, text: str, at: tuple[float, float], size: float = _LABEL, ha: str = "center"
    ) -> None:
        """Print a text at a point, in pixels from the upper left corner."""
        high, wide = self._layout.shape
        ink = colour(THEMES[self._theme].text)
        place = at[0] / wide, 1 - at[1] / high
        self._figure.text(*place, text, ha=ha, va="center", fontsize=size, color=ink)
