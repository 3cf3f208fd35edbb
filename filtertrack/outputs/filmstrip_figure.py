"""A run becomes a figure for a paper: a row a filter, a column a step."""

import math
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.text import Text

from filtertrack.errors import FiltertrackError, printable
from filtertrack.outputs.filmstrip_layout import (
    FONT,
    POINT,
    FilmstripLayout,
    PaperSize,
    legend_columns,
)
from filtertrack.outputs.filmstrip_picture import FilmstripPicture, spread_steps
from filtertrack.outputs.matplotlib_figure import (
    FIGURE_FORMATS,
    PaperFigure,
    colour,
    figure_settings,
    save,
)
from filtertrack.outputs.run_selection import RunLike, RunSelection, Steps, select_from_run
from filtertrack.render.grid import Layout
from filtertrack.render.layer_look import describe_look
from filtertrack.render.look import GREY, Channels, Filters, Look, Order, Scale, ThemeName
from filtertrack.render.palette import OUTLINED, THEMES
from filtertrack.render.text import cut
from filtertrack.storage.files import check_target
from filtertrack.storage.memory_limit import size_text
from filtertrack.storage.run import Run

_LINE = 1.05
"""From one label to the next, in the font's size."""

_MOST_MEMORY = 4e9
_A_PIXEL, _A_WEIGHTS_PIXEL = 8, 125
"""Bytes that matplotlib takes for each pixel of the figure, and of its largest image: measured."""
_LONGEST_NAME = 60
"""Characters of a layer's name in the title, at most."""


def filmstrip(
    run: RunLike,
    output: str | os.PathLike[str] | None = None,
    *,
    layers: str | Sequence[str] | None = None,
    steps: Steps | None = None,
    filters: Filters | None = None,
    order: Order = "stored",
    scale: Scale | None = None,
    zero_centred: bool = False,
    delta: bool = False,
    outline: bool = False,
    channels: Channels = None,
    colormap: str = GREY,
    theme: ThemeName = "light",
    width: str | float = "17cm",
    height: str | float | None = None,
    dpi: int = 300,
) -> Figure:
    """Draw a layer's filters at some steps: a row a filter, a column a step.

    Many filters stand in several blocks side by side. Every weight is a square of whole pixels at
    the resolution asked for. A damaged snapshot is left out, with a warning in the log.

    Args:
        run: A run or its folder.
        output: The file to write, or None. Its ending says the format: ``.png``, ``.pdf`` or
            ``.svg``. It appears whole or not at all, and is the same for the same run.
        layers: Which layer, by its name or a pattern; None for the first.
        steps: Which snapshots, as for ``animate``; None for a few, most of them early: see
            ``strip.spread_steps``.
        filters: Numbers of the filters to draw, and ranges of them, in this order; None for all.
        order: In which order filters come; see ``animate``.
        scale: What dark and light mean; see ``animate``.
        zero_centred: Widen each range so that zero is in its middle.
        delta: Draw the difference from the first snapshot shown, zero-centred.
        outline: Draw a line around each filter whose colour says its label; see ``animate``.
        channels: How input channels are drawn; see ``animate``.
        colormap: One of matplotlib's, for layers with one value a pixel.
        theme: ``"light"`` or ``"dark"``: the colours around the weights.
        width: Of the figure: ``"17cm"``, ``"6.7in"``, or a number of inches.
        height: Of the figure, at most; None for a third more than the width.
        dpi: Pixels an inch.

    Returns:
        A matplotlib figure, to be changed further: an axes a block, whose ticks are the steps and
        the filters' numbers.

    Raises:
        FiltertrackError: If there is no run, no such layer or step, if a size is too small for one
            pixel a weight, or an option does not fit.
        OSError: If the file cannot be written.

    Example:
        >>> figure = filmstrip("tests/golden/run-v1", layers="conv1", width="8.5cm")
        >>> [label.get_text() for label in figure.axes[0].get_xticklabels()]
        ['0', '1', '2']
    """
    target = None if output is None else Path(output)
    if target is not None:
        check_target(target, FIGURE_FORMATS)
    sheet = PaperSize.of(width, height, dpi)
    look = Look(
        scale=scale,
        zero_centred=zero_centred,
        delta=delta,
        outline=outline,
        channels=channels,
        order=order,
        filters=filters,
        colormap=colormap,
        theme=theme,
    )
    run = run if isinstance(run, Run) else Run(run)
    selection = select_from_run(
        run, layers=layers, steps=_few_steps(run) if steps is None else steps
    )
    if len(selection.layers) > 1:
        raise FiltertrackError(
            f"layers: a filmstrip shows one, got {', '.join(selection.layers)}; draw one for each"
        )
    strip = FilmstripPicture(selection, look)
    if not strip.rows:
        raise FiltertrackError(f"layer {selection.layers[0]} has no filters to draw")
    page = FilmstripLayout.fit(strip, sheet)
    memory = _A_PIXEL * math.prod(page.shape) + _A_WEIGHTS_PIXEL * math.prod(page.layout.shape)
    if memory > _MOST_MEMORY:
        raise FiltertrackError(
            f"width: {page.shape[1]}x{page.shape[0]} pixels would take about {size_text(memory)} "
            f"of memory; choose a smaller width, height or dpi"
        )
    with figure_settings():
        figure = _drawn(selection, strip, page, look, dpi)
    if target is not None:
        save(figure, target)
    return figure


def _few_steps(run: Run) -> list[int] | None:
    """Choose a few of a run's steps; only those are read. None where nothing can be chosen."""
    steps = run.steps
    for step in reversed(steps):
        with suppress(FiltertrackError):  # damaged: the one before says it as well
            return spread_steps(steps, epochs=run.moment(step).counts_epochs)
    return None


def _drawn(
    selection: RunSelection, strip: FilmstripPicture, page: FilmstripLayout, look: Look, dpi: int
) -> Figure:
    theme = THEMES[look.theme]
    ink, ground = colour(theme.text), colour(theme.background)
    height, width = page.shape
    # A hair more: matplotlib cuts pixels off to whole ones, and 313 / 300 * 300 is a hair less.
    size = np.nextafter((width / dpi, height / dpi), np.inf)
    figure = PaperFigure(figsize=tuple(size), dpi=dpi, facecolor=ground)
    FigureCanvasAgg(figure)
    below = 0.3 * FONT * POINT * dpi
    title = _title(selection, look)
    at = (page.start + page.left + page.layout.gap) / width, 1 - below / height
    head = figure.text(*at, title, color=ink, fontsize=FONT, va="top")
    _fit(head, width - below)
    for block in range(page.blocks):
        rows = range(strip.rows)[block * page.rows : (block + 1) * page.rows]
        layout = strip.layout(len(rows), page.layout.scale, page.layout.gap)
        axes = figure.add_axes(_bounds(page, block, layout))
        axes.imshow(
            strip.picture(rows, layout), interpolation="none", aspect="auto", origin="upper"
        )
        axes.spines[:].set_visible(False)
        axes.tick_params(top=True, labeltop=True, bottom=False, labelbottom=False)
        axes.tick_params(labelsize=page.font, labelcolor=ink, length=0, pad=page.font / 4)
        high, wide = layout.height * layout.scale, layout.width * layout.scale + layout.slices - 1
        text = page.font * POINT * dpi * _LINE
        across = _labelled(strip.columns, wide + layout.gap, text if page.upright else 0)
        axes.set_xticks(
            _middles(layout, across, wide),
            [strip.marks[column] for column in across],
            rotation=90 if page.upright else 0,
        )
        count = 0 if strip.view.kind == "matrix" else len(rows)
        down = _labelled(count, high + layout.gap, text)
        axes.set_yticks(
            _middles(layout, down, high), [str(strip.numbers[rows[row]]) for row in down]
        )
    if strip.outlined:
        handles = [
            Patch(color=colour(rgb), label=name)
            for name, rgb in zip(OUTLINED, theme.outlines, strict=True)
        ]
        figure.legend(
            handles=handles,
            loc="lower center",
            ncols=legend_columns(width / dpi),
            frameon=False,
            fontsize=FONT - 1,
            labelcolor=ink,
            borderaxespad=0.2,
            handlelength=1,
        )
    return figure


def _bounds(page: FilmstripLayout, block: int, layout: Layout) -> tuple[float, float, float, float]:
    """Return a block's left, bottom, width and height, as shares of the figure."""
    height, width = page.shape
    left = page.start + page.left + block * (page.left + page.layout.shape[1])
    down, across = layout.shape
    return left / width, 1 - (page.top + down) / height, across / width, down / height


def _labelled(count: int, pitch: int, text: float) -> range:
    """Return the rows or columns that are labelled: each, or every second, fifth or tenth."""
    steps = (digit * 10**power for power in range(9) for digit in (1, 2, 5))
    return range(0, count, next(step for step in steps if step * pitch >= text))


def _middles(layout: Layout, numbers: range, cell: int) -> list[float]:
    """Return where the middles of cells along an axis are, in an image's coordinates."""
    return [layout.gap + number * (cell + layout.gap) + (cell - 1) / 2 for number in numbers]


def _fit(text: Text, right: float) -> None:
    """Write a text smaller where it would end too far to the right, in pixels."""
    box = text.get_window_extent()
    if box.x1 > right:
        share = 0.97 * (right - box.x0) / box.width  # letters do not shrink quite evenly
        text.set_fontsize(share * text.get_fontsize())


def _title(selection: RunSelection, look: Look) -> str:
    parts = [
        selection.layers[0],
        *describe_look(look, [selection.runs[0].layer(selection.layers[0])]),
        f"columns: {selection.unit}",
    ]
    return printable(" · ".join(cut(part, _LONGEST_NAME) for part in parts))
