"""Draw a filmstrip of a run as a matplotlib figure: the public function ``filmstrip``."""

import math
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from filtertrack.errors import FiltertrackError, counted, repeatable
from filtertrack.outputs.figure_parts import (
    LABEL_LINE,
    add_image,
    draw_bar,
    draw_legend,
    draw_part_title,
    draw_text,
    labelled_cells,
    middles,
    new_figure,
)
from filtertrack.outputs.filmstrip_layout import (
    AFTER_NAME,
    BESIDE_IMAGE,
    FilmstripLayout,
    image_names,
    image_size,
)
from filtertrack.outputs.filmstrip_picture import FilmstripPicture, spread_steps
from filtertrack.outputs.filmstrip_responses import ResponseFilmstrip
from filtertrack.outputs.matplotlib_figure import FIGURE_FORMATS, colour, figure_settings, save
from filtertrack.outputs.paper_size import (
    BAR_LINE,
    FONT,
    POINT,
    PaperSize,
    bar_length,
    bars_in_line,
    check_figure_memory,
    legend_height,
    text_length,
    title_lines,
)
from filtertrack.outputs.response_maps import (
    ResponseMaps,
    Responses,
    is_wanted,
    maps_of,
    select_responses,
)
from filtertrack.outputs.run_selection import (
    RunLike,
    RunSelection,
    Steps,
    open_run,
    select_from_run,
    skip_damaged,
)
from filtertrack.render.cells import view_of
from filtertrack.render.layer_look import check_look
from filtertrack.render.look import Channels, Filters, Look, Order, Scale, ThemeName
from filtertrack.render.palette import THEMES
from filtertrack.storage.local_files import check_target
from filtertrack.storage.run import Run

_ABOVE_TITLE = 0.3
"""Margin above and beside the title, in font sizes."""
_STEPS_WITH_RESPONSES = 5
"""Steps that are drawn by default with responses."""


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
    responses: Responses = None,
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
        responses: Draw beside each filter what it answers to, its feature map for probes of the run
            or for images, which are drawn above: see ``animate``. By default only as many steps and
            filters are drawn as are legible; the title says how many filters. Chosen steps that are
            too many to be legible are an error.
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
    run, responses = open_run(run), repeatable(responses)
    if is_wanted(responses):
        selection = _select_with_responses(run, responses, layers, steps)
    else:
        chosen = _few_steps(run) if steps is None else steps
        selection = select_from_run(run, layers=layers, steps=chosen)
    if len(selection.layers) > 1:
        raise FiltertrackError(
            f"layers: a filmstrip shows one, got {', '.join(selection.layers)}; draw one for each"
        )

    def draw(readable: RunSelection) -> Figure:
        return _draw(readable, look, paper, responses, chosen=steps is not None)

    figure = skip_damaged(selection, draw)
    if target is not None:
        save(figure, target)
    return figure


def _select_with_responses(
    run: Run, responses: Responses, layers: str | Sequence[str] | None, steps: Steps | None
) -> RunSelection:
    """Select a layer and steps with responses; without ``steps`` a few of them."""
    selection = select_responses(run, responses, layers=layers, steps=steps)
    if steps is not None:
        return selection
    last = selection.moments[0][-1]
    spread = spread_steps(selection.steps, epochs=last.counts_epochs)
    numbers = np.linspace(0, len(spread) - 1, min(len(spread), _STEPS_WITH_RESPONSES)).round()
    return selection.at([spread[int(number)] for number in numbers])


def _few_steps(run: Run) -> list[int] | None:
    """Choose the steps of a run that are drawn by default; None where none can be read."""
    steps = run.steps
    for step in reversed(steps):
        with suppress(FiltertrackError):  # damaged: the snapshot before tells the same
            return spread_steps(steps, epochs=run.moment(step).counts_epochs)
    return None


def _with_legible_steps(
    selection: RunSelection,
    look: Look,
    maps: Sequence[ResponseMaps],
    paper: PaperSize,
    *,
    chosen: bool,
) -> RunSelection:
    """Return as many of the steps as are legible beside each other, and at least two of several.

    Args:
        selection: One layer of one run, and the steps.
        look: How filters are drawn.
        maps: The feature maps.
        paper: The largest size.
        chosen: Whether the steps were chosen: then none is left out.

    Raises:
        FiltertrackError: If the chosen steps would not be legible.
    """
    count = len(selection.steps)
    picture = ResponseFilmstrip(selection, look, maps)
    most = max(2, picture.most_steps(paper, chosen=chosen))
    if count <= most:
        return selection
    if chosen:
        raise FiltertrackError(
            f"steps: {count} steps with maps of {counted(len(maps), 'images')} would not be "
            f"legible in a width of {paper.width:.3g} inches; choose at most {most} steps, or a "
            f"larger width; `animate` draws all"
        )
    numbers = np.linspace(0, count - 1, most).round()
    return selection.at([selection.steps[int(number)] for number in numbers])


def _draw(
    selection: RunSelection, look: Look, paper: PaperSize, responses: Responses, *, chosen: bool
) -> Figure:
    info = selection.runs[0].layer(selection.layers[0])
    check_look(look, [info], [view_of(info, look.channels)])
    if not info.filters:
        raise FiltertrackError(f"layer {selection.layers[0]} has no filters to draw")
    picture: FilmstripPicture
    if is_wanted(responses):
        maps = maps_of(selection, responses)
        selection = _with_legible_steps(selection, look, maps, paper, chosen=chosen)
        picture, layout = ResponseFilmstrip.fit(selection, look, maps, paper)
    else:
        picture = FilmstripPicture(selection, look)
        layout = FilmstripLayout.fit(picture, paper)
    check_figure_memory(layout.shape, layout.grid.shape)
    with figure_settings():
        figure = new_figure(layout.shape, paper.dpi, look.theme)
        margin = paper.pixels(_ABOVE_TITLE * FONT)
        at = layout.start + layout.left + layout.grid.gap, margin
        title = "\n".join(title_lines(picture.title, paper))
        draw_text(figure, title, at, layout.shape[1] - margin, look.theme, leftmost=margin)
        if picture.images:
            _draw_images(figure, picture, layout, paper)
        for block in range(layout.blocks):
            for part in range(layout.parts):
                _draw_block(figure, picture, layout, (block, part), look.theme)
        _draw_bars(figure, picture, layout, paper)
        if picture.outlined:
            draw_legend(figure, look.theme)
    return figure


def _draw_images(
    figure: Figure, picture: FilmstripPicture, layout: FilmstripLayout, paper: PaperSize
) -> None:
    """Draw the images that filters answer to below the title, each with its name beside it.

    They begin above the cells, or farther left where they need it.
    """
    top = layout.top - layout.part_title - layout.band
    images = [image.draw(*image_size(picture, paper)) for image in picture.images]
    names = image_names(picture, paper)
    lines = [line for name in names for line in name.splitlines()]
    spaces = paper.pixels((BESIDE_IMAGE + AFTER_NAME) * FONT)
    needed = max(image.shape[1] for image in images) + spaces + text_length(lines, paper)
    margin = paper.pixels(_ABOVE_TITLE * FONT)
    first = layout.start + layout.left + layout.grid.gap
    first = round(max(margin, min(first, layout.shape[1] - len(images) * needed)))
    across = (layout.shape[1] - first) // len(images)
    for number, (pixels, name) in enumerate(zip(images, names, strict=True)):
        left = first + number * across
        add_image(figure, pixels, (left, top)).set_axis_off()
        beside = left + pixels.shape[1] + paper.pixels(BESIDE_IMAGE * FONT), top
        right = left + across - paper.pixels(AFTER_NAME * FONT)
        draw_text(figure, name, beside, right, picture.theme)


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
    number = block * layout.parts + part
    left = layout.start + layout.left + number * (layout.left + layout.grid.shape[1])
    axes = add_image(figure, picture.picture(rows, grid, part), (left, layout.top))
    axes.tick_params(top=True, labeltop=True, bottom=False, labelbottom=False)
    ink = colour(THEMES[theme].text)
    axes.tick_params(labelsize=layout.font, labelcolor=ink, length=0, pad=layout.font / 4)
    high, wide = grid.cell_shape
    line = layout.font * POINT * figure.dpi * LABEL_LINE
    columns = labelled_cells(picture.columns, wide + grid.gap, line if layout.upright else 0)
    axes.set_xticks(
        middles(grid.gap, columns, wide),
        [picture.marks[column] for column in columns],
        rotation=90 if layout.upright else 0,
    )
    count = 0 if picture.view.kind == "matrix" else len(rows)
    labelled = labelled_cells(count, high + grid.gap, line)
    numbers = [str(picture.numbers[rows[row]]) for row in labelled]
    axes.set_yticks(middles(grid.gap, labelled, high), numbers)
    if layout.parts > 1:
        draw_part_title(figure, axes, picture.part_titles[part], layout.part_title, theme)


def _draw_bars(
    figure: Figure, picture: FilmstripPicture, layout: FilmstripLayout, paper: PaperSize
) -> None:
    """Draw the scale bars in lines below the blocks, each below its part where there is room."""
    in_line = bars_in_line(picture.bars, paper)
    lines = math.ceil(len(picture.bars) / in_line)
    line, size = paper.pixels(BAR_LINE * FONT), paper.pixels(FONT)
    bottom = legend_height(paper) if picture.outlined else 0
    lefts = _bar_lefts([bar_length(texts) * size for texts, _ in picture.bars], layout, in_line)
    for number, bar in enumerate(picture.bars):
        at = lefts[number], bottom + (lines - number // in_line - 0.5) * line
        draw_bar(figure, bar, at, layout.shape[1], picture.theme)


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
