"""Draw a filmstrip of a run as a matplotlib figure: the public function ``filmstrip``."""

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

from filtertrack.errors import FiltertrackError, size_text
from filtertrack.outputs.filmstrip_layout import (
    BAR_LINE,
    BAR_SPACE,
    BAR_WIDTH,
    FONT,
    POINT,
    FilmstripLayout,
    PaperSize,
    bar_length,
    bars_in_line,
    legend_columns,
    legend_height,
    title_lines,
)
from filtertrack.outputs.filmstrip_picture import FilmstripPicture, spread_steps
from filtertrack.outputs.matplotlib_figure import (
    FIGURE_FORMATS,
    PaperFigure,
    colour,
    figure_settings,
    save,
)
from filtertrack.outputs.run_selection import (
    RunLike,
    RunSelection,
    Steps,
    open_run,
    select_from_run,
    skip_damaged,
)
from filtertrack.render.grid import Layout
from filtertrack.render.look import Channels, Filters, Look, Order, Scale, ThemeName
from filtertrack.render.palette import OUTLINED, THEMES
from filtertrack.storage.local_files import check_target
from filtertrack.storage.run import Run

_LINE = 1.05
"""From one label of a filter to the next, in font sizes, at least."""
_BAR_HEIGHT = 0.7
"""Height of a scale bar, in font sizes."""
_PART_TITLE_WIDTH = 4.0
"""Width of the title of a part, in font sizes; it is left out where blocks are narrower."""
_ABOVE_TITLE = 0.3
"""Margin above and beside the title, in font sizes."""

_MOST_SHRUNK = 5
"""Times that the font of a title is made smaller, at most."""
_MOST_MEMORY = 4e9
_BYTES_A_PIXEL, _BYTES_A_GRID_PIXEL = 8, 125
"""Memory that matplotlib takes for a pixel of the figure, and of its largest image: measured."""


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
    delta: bool | None = None,
    outline: bool = False,
    channels: Channels = None,
    channel_names: Sequence[str] | None = None,
    smooth: bool = False,
    colormap: str | None = None,
    theme: ThemeName = "light",
    width: str | float = "17cm",
    height: str | float | None = None,
    dpi: int = 300,
) -> Figure:
    """Draw a layer's filters at some steps: a row a filter, a column a step.

    Many filters are drawn in several blocks side by side. Where the filters alone hardly tell what
    was learned, the difference from the start is beside them; see ``animate``. Every weight is a
    square of whole pixels at the given resolution. A damaged snapshot is left out, with a warning
    in the log.

    Args:
        run: A run or its folder.
        output: The file to write, or None. Its ending selects the format: ``.png``, ``.pdf`` or
            ``.svg``. It is written whole or not at all, and is the same for the same run.
        layers: A layer, by its name or a pattern; None for the first that has changed.
        steps: Snapshots to draw, as for ``animate``; None for a few, most of them early: see
            ``filmstrip_picture.spread_steps``.
        filters: Numbers of the filters to draw, and ranges of them, in this order; None for all.
        order: The order of the filters; see ``animate``.
        scale: The value range from dark to light; see ``animate``.
        zero_centred: Widen each range so that zero is in its middle.
        delta: Draw the difference from the first snapshot, the filters, or both; see ``animate``.
        outline: Draw a line around each filter in the colour of its label; see ``animate``.
        channels: How input channels are drawn; see ``animate``.
        channel_names: The name of each input channel.
        smooth: Interpolate between weights; see ``animate``.
        colormap: A colormap of matplotlib, for layers with one value a pixel; see ``animate``.
        theme: ``"light"`` or ``"dark"``: the colours around the weights.
        width: Width of the figure: ``"17cm"``, ``"6.7in"``, or a number of inches.
        height: Height of the figure, at most; None for a third more than the width.
        dpi: Pixels an inch.

    Returns:
        A matplotlib figure, which can be changed: one axes for each block, whose tick labels are
        the steps and the numbers of the filters.

    Raises:
        FiltertrackError: If there is no run, no such layer or step, if a size is too small for one
            pixel a weight, or an option is invalid.
        OSError: If the file cannot be written.

    Example:
        >>> figure = filmstrip("tests/golden/run-v1", layers="conv1", width="8.5cm")
        >>> [label.get_text() for label in figure.axes[0].get_xticklabels()]
        ['0', '1', '2']
    """
    target = None if output is None else Path(output)
    if target is not None:
        check_target(target, FIGURE_FORMATS)
    paper = PaperSize.of(width, height, dpi)
    look = Look(
        scale=scale,
        zero_centred=zero_centred,
        delta=delta,
        outline=outline,
        channels=channels,
        channel_names=channel_names,
        smooth=smooth,
        order=order,
        filters=filters,
        colormap=colormap,
        theme=theme,
    )
    run = open_run(run)
    selection = select_from_run(
        run, layers=layers, steps=_few_steps(run) if steps is None else steps
    )
    if len(selection.layers) > 1:
        raise FiltertrackError(
            f"layers: a filmstrip shows one, got {', '.join(selection.layers)}; draw one for each"
        )
    figure = skip_damaged(selection, lambda readable: _draw(readable, look, paper))
    if target is not None:
        save(figure, target)
    return figure


def _few_steps(run: Run) -> list[int] | None:
    """Choose the steps of a run that are drawn by default; None where none can be read."""
    steps = run.steps
    for step in reversed(steps):
        with suppress(FiltertrackError):  # damaged: the snapshot before tells the same
            return spread_steps(steps, epochs=run.moment(step).counts_epochs)
    return None


def _draw(selection: RunSelection, look: Look, paper: PaperSize) -> Figure:
    picture = FilmstripPicture(selection, look)
    if not picture.rows:
        raise FiltertrackError(f"layer {selection.layers[0]} has no filters to draw")
    layout = FilmstripLayout.fit(picture, paper)
    pixels, grid_pixels = math.prod(layout.shape), math.prod(layout.grid.shape)
    memory = _BYTES_A_PIXEL * pixels + _BYTES_A_GRID_PIXEL * grid_pixels
    if memory > _MOST_MEMORY:
        raise FiltertrackError(
            f"width: {layout.shape[1]}x{layout.shape[0]} pixels would take about "
            f"{size_text(memory)} of memory; choose a smaller width, height or dpi"
        )
    height, width = layout.shape
    # Slightly larger: matplotlib rounds down to whole pixels, and 313 / 300 * 300 is below 313.
    size = np.nextafter((width / paper.dpi, height / paper.dpi), np.inf)
    with figure_settings():
        ground = colour(THEMES[look.theme].background)
        figure = PaperFigure(figsize=tuple(size), dpi=paper.dpi, facecolor=ground)
        FigureCanvasAgg(figure)
        title = "\n".join(title_lines(picture.title, paper))
        _draw_title(figure, title, layout, look.theme)
        for block in range(layout.blocks):
            for part in range(layout.parts):
                _draw_block(figure, picture, layout, (block, part), look.theme)
        _draw_bars(figure, picture, layout, paper)
        if picture.outlined:
            _draw_legend(figure, look.theme, width / paper.dpi)
    return figure


def _draw_title(figure: Figure, title: str, layout: FilmstripLayout, theme: ThemeName) -> None:
    height, width = layout.shape
    margin = _ABOVE_TITLE * FONT * POINT * figure.dpi
    left, top = (layout.start + layout.left + layout.grid.gap) / width, 1 - margin / height
    ink = colour(THEMES[theme].text)
    text = figure.text(left, top, title, color=ink, fontsize=FONT, va="top")
    _shrink(text, width - margin)


def _draw_block(
    figure: Figure,
    picture: FilmstripPicture,
    layout: FilmstripLayout,
    place: tuple[int, int],
    theme: ThemeName,
) -> None:
    """Draw one part of one block: its cells as an image, steps and filters as tick labels."""
    block, part = place
    rows = range(picture.rows)[block * layout.rows : (block + 1) * layout.rows]
    grid = picture.layout(len(rows), layout.grid.scale, layout.grid.gap)
    axes = figure.add_axes(_bounds(layout, block * layout.parts + part, grid))
    pixels = picture.picture(rows, grid, part)
    axes.imshow(pixels, interpolation="none", aspect="auto", origin="upper")
    axes.spines[:].set_visible(False)
    axes.tick_params(top=True, labeltop=True, bottom=False, labelbottom=False)
    ink = colour(THEMES[theme].text)
    axes.tick_params(labelsize=layout.font, labelcolor=ink, length=0, pad=layout.font / 4)
    high, wide = grid.height * grid.scale, grid.width * grid.scale + grid.slices - 1
    line = layout.font * POINT * figure.dpi * _LINE
    columns = _labelled(picture.columns, wide + grid.gap, line if layout.upright else 0)
    axes.set_xticks(
        _middles(grid, columns, wide),
        [picture.marks[column] for column in columns],
        rotation=90 if layout.upright else 0,
    )
    count = 0 if picture.view.kind == "matrix" else len(rows)
    labelled = _labelled(count, high + grid.gap, line)
    numbers = [str(picture.numbers[rows[row]]) for row in labelled]
    axes.set_yticks(_middles(grid, labelled, high), numbers)
    titled = layout.grid.shape[1] >= _PART_TITLE_WIDTH * FONT * POINT * figure.dpi
    if layout.parts > 1 and titled:
        above = layout.part_title / (POINT * figure.dpi)
        axes.annotate(
            "learned" if picture.parts[part].look.delta else "filters",
            (0, 1),
            (0, above),
            "axes fraction",
            "offset points",
            color=ink,
            fontsize=FONT - 1,
            weight="bold",
            va="bottom",
        )


def _draw_bars(
    figure: Figure, picture: FilmstripPicture, layout: FilmstripLayout, paper: PaperSize
) -> None:
    """Draw the scale bars in lines below the blocks, each below its part where there is room."""
    in_line = bars_in_line(picture, paper)
    lines = math.ceil(len(picture.bars) / in_line)
    line, size = paper.pixels(BAR_LINE * FONT), paper.pixels(FONT)
    bottom = legend_height(paper) if picture.outlined else 0
    lefts = _bar_lefts([bar_length(texts) * size for texts, _ in picture.bars], layout, in_line)
    for number, (texts, colours) in enumerate(picture.bars):
        left, middle = lefts[number], bottom + (lines - number // in_line - 0.5) * line
        halves = np.array_split(colours, 2 if texts.middle else 1)
        spare = layout.shape[1] - left - size / 2 - bar_length(texts) * size
        wide = max(size, BAR_WIDTH * size + min(0, spare) / len(halves))
        left = _draw_bar_text(figure, texts.low, (left, middle), picture.theme)
        for half, text in zip(halves, [texts.middle, texts.high][-len(halves) :], strict=True):
            left = _draw_bar(figure, half, (left, middle), wide)
            left = _draw_bar_text(figure, text, (left, middle), picture.theme)


def _bar_lefts(lengths: Sequence[float], layout: FilmstripLayout, in_line: int) -> list[float]:
    """Return where each scale bar begins, in pixels."""
    margin = FONT * POINT * layout.shape[1] / 100
    first = layout.start + layout.left + layout.grid.gap
    last = layout.shape[1] - margin
    if in_line == 1:
        return [max(margin, min(first, last - length)) for length in lengths]
    second = first + layout.left + layout.grid.shape[1] if layout.blocks == 1 else last / 2
    second = min(max(second, first + lengths[0]), last - lengths[-1])
    return [max(margin, min(first, second - lengths[0])), second][: len(lengths)]


def _draw_bar_text(figure: Figure, text: str, at: tuple[float, float], theme: ThemeName) -> float:
    """Draw a text of a scale bar at left and middle, in pixels; return where the bar begins."""
    width, height = figure.get_size_inches() * figure.dpi
    ink = colour(THEMES[theme].text)
    drawn = figure.text(
        at[0] / width, at[1] / height, text, color=ink, fontsize=FONT - 1, va="center_baseline"
    )
    return float(drawn.get_window_extent().x1 + BAR_SPACE * FONT * POINT * figure.dpi)


def _draw_bar(figure: Figure, colours: np.ndarray, at: tuple[float, float], wide: float) -> float:
    """Draw colours at left and middle, so wide, in pixels; return where the next text begins."""
    width, height = figure.get_size_inches() * figure.dpi
    high = _BAR_HEIGHT * FONT * POINT * figure.dpi
    bounds = (at[0] / width, (at[1] - high / 2) / height, wide / width, high / height)
    axes = figure.add_axes(bounds, label="scale")
    axes.imshow(colours[np.newaxis], aspect="auto", interpolation="nearest")
    axes.set_axis_off()
    return float(at[0] + wide + BAR_SPACE * FONT * POINT * figure.dpi)


def _draw_legend(figure: Figure, theme: ThemeName, width: float) -> None:
    """Name the colours of the outlines below the blocks; ``width`` is in inches."""
    look = THEMES[theme]
    handles = [
        Patch(color=colour(rgb), label=name)
        for name, rgb in zip(OUTLINED, look.outlines, strict=True)
    ]
    figure.legend(
        handles=handles,
        loc="lower center",
        ncols=legend_columns(width),
        frameon=False,
        fontsize=FONT - 1,
        labelcolor=colour(look.text),
        borderaxespad=0.2,
        handlelength=1,
    )


def _bounds(layout: FilmstripLayout, block: int, grid: Layout) -> tuple[float, float, float, float]:
    """Return the left, bottom, width and height of a block, as shares of the figure."""
    height, width = layout.shape
    left = layout.start + layout.left + block * (layout.left + layout.grid.shape[1])
    down, across = grid.shape
    return left / width, 1 - (layout.top + down) / height, across / width, down / height


def _labelled(count: int, pitch: int, line: float) -> range:
    """Return the rows or columns with a label: every one, or every 2nd, 5th, 10th and so on.

    Args:
        count: Number of rows or columns.
        pitch: Pixels from one to the next.
        line: Pixels that a label takes.
    """
    intervals = (digit * 10**power for power in range(9) for digit in (1, 2, 5))
    return range(0, count, next(number for number in intervals if number * pitch >= line))


def _middles(grid: Layout, numbers: range, cell: int) -> list[float]:
    """Return the middles of cells of that many pixels along an axis, in image coordinates."""
    return [grid.gap + number * (cell + grid.gap) + (cell - 1) / 2 for number in numbers]


def _shrink(text: Text, right: float) -> None:
    """Make the font of a text smaller until it ends before ``right``, in pixels."""
    for _ in range(_MOST_SHRUNK):
        box = text.get_window_extent()
        if box.x1 <= right:
            return
        share = 0.97 * (right - box.x0) / box.width  # letters do not shrink in exact proportion
        text.set_fontsize(share * text.get_fontsize())
