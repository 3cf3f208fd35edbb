"""Draw the filters of some layers at one step as a matplotlib figure: a grid for each layer."""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from filtertrack.errors import FiltertrackError, printable
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
from filtertrack.outputs.filmstrip_picture import FilmstripPicture
from filtertrack.outputs.layer_cells import part_text
from filtertrack.outputs.matplotlib_figure import colour, figure_settings
from filtertrack.outputs.paper_size import (
    BAR_LINE,
    FONT,
    TITLE_LINE,
    Bar,
    PaperSize,
    bar_length,
    bars_height,
    bars_in_line,
    check_figure_memory,
    legend_height,
    title_lines,
)
from filtertrack.outputs.plot_layout import (
    ABOVE_TITLE,
    NUMBER_FONT,
    GridLayout,
    PlotLayer,
    PlotLayout,
    below_layers,
)
from filtertrack.outputs.run_selection import RunSelection
from filtertrack.render.cells import is_image, view_of
from filtertrack.render.grid import Layout
from filtertrack.render.layer_look import check_look, describe_cells, describe_scale
from filtertrack.render.look import Look, ThemeName
from filtertrack.render.palette import SEPARATOR, THEMES
from filtertrack.render.text import cut, paste
from filtertrack.snapshot import LayerInfo

_LONGEST_NAME = 80
"""Characters of a name in a title, at most."""
_BELOW_HEADING = 0.6
"""Between the heading and the first layer, in font sizes."""


def draw_plot(
    selection: RunSelection,
    look: Look,
    paper: PaperSize,
    *,
    heading: str = "",
    columns: int | None = None,
    grows: bool = False,
) -> Figure:
    """Draw the layers of a selection at its only step, a grid for each, below each other.

    Args:
        selection: One run, its layers, and one step.
        look: How filters are drawn.
        paper: The largest size.
        heading: What is drawn, such as the name of a file; empty for no heading.
        columns: Filters in a row; None to choose.
        grows: Whether the figure may be higher than the paper where weights would be too small.

    Returns:
        The figure: one axes for each part of a layer. With ``channels="all"`` a layer may have
        several blocks, each with its axes.

    Raises:
        DamagedSnapshotError: If a kernel cannot be read.
        FiltertrackError: If the look does not fit the layers, or there is less than a pixel for
            each weight.
    """
    infos = [selection.runs[0].layer(name) for name in selection.layers]
    check_look(look, infos, [view_of(info, look.channels) for info in infos])
    for info in infos:
        if not info.filters:
            raise FiltertrackError(f"layer {info.name} has no filters to draw")
    pictures = [
        FilmstripPicture(replace(selection, layers=(name,)), look) for name in selection.layers
    ]
    shared, scale = _shared_bars(pictures), _shared_scale(pictures)
    layers = [
        PlotLayer(
            picture,
            title_lines(_title_of(picture, scaled=not scale), paper),
            [] if shared else picture.bars,
        )
        for picture in pictures
    ]
    headings = [printable(cut(heading, _LONGEST_NAME))] if heading else []
    headings += [scale] if scale else []
    heading_lines = _BELOW_HEADING + TITLE_LINE * len(headings) if headings else 0.0
    layout = PlotLayout.fit(
        layers,
        paper,
        above=math.ceil(paper.pixels(heading_lines * FONT)),
        below=below_layers(shared, paper, outlined=look.outline),
        columns=columns,
        grows=grows,
    )
    check_figure_memory(
        layout.shape, max((grid.grid.shape for grid in layout.layers), key=math.prod)
    )
    with figure_settings():
        figure = new_figure(layout.shape, paper.dpi, look.theme)
        drawing = _Drawing(figure, paper, look.theme)
        for number, text in enumerate(headings):
            top = paper.pixels(number * TITLE_LINE * FONT)
            weight = "bold" if text != scale else "normal"
            drawing.title(text, layout.layers[0], top, weight=weight)
        for layer, grid in zip(layers, layout.layers, strict=True):
            drawing.layer(layer, grid)
        below = legend_height(paper) if look.outline else 0
        drawing.bars(shared, layout.layers[-1], below + bars_height(shared, paper))
        if look.outline:
            draw_legend(figure, look.theme)
    return figure


def describe_layer(info: LayerInfo, drawn: int) -> str:
    """Return the number and the size of a layer's filters.

    Args:
        info: The layer.
        drawn: Number of filters that are drawn.

    Example:
        >>> from filtertrack.outputs.run_selection import open_run
        >>> describe_layer(open_run("tests/golden/run-v1").layer("conv1"), 4)
        '4 filters of 3×3×3'
    """
    _, height, width, channels = info.shape
    count = f"{drawn} of {info.filters}" if drawn < info.filters else f"{drawn}"
    noun = "filter" if info.filters == 1 else "filters"
    if height * width == 1:
        return f"{count} {noun} of 1×1: {channels} input channels down, {noun} across"
    space = [height, width]
    if info.slices > 1:
        space = [info.slices, height, width // info.slices]
    elif not is_image(info):
        space = [width]
    return f"{count} {noun} of {'×'.join(map(str, [*space, channels]))}"


def _title_of(picture: FilmstripPicture, *, scaled: bool) -> list[str]:
    """Return a layer's name, and phrases for its filters and what is drawn of them."""
    first = picture.parts[0]
    words = [
        cut(first.info.name, _LONGEST_NAME),
        describe_layer(first.info, len(first.numbers)),
        *describe_cells(first.look, first.info, first.view, first.explained),
        *(part_text(part) for part in picture.parts if part.look.delta),
        _scale_of(picture) if scaled else "",
    ]
    return [printable(word) for word in words if word]


def _scale_of(picture: FilmstripPicture) -> str:
    return describe_scale(picture.parts[-1].look, picture.view, still=True)


def _shared_scale(pictures: Sequence[FilmstripPicture]) -> str:
    """Return the phrase for the scale of several layers; empty where it is not the same."""
    scales = {_scale_of(picture) for picture in pictures if picture.view.kind != "matrix"}
    return scales.pop() if len(pictures) > 1 and len(scales) == 1 else ""


def _shared_bars(pictures: Sequence[FilmstripPicture]) -> list[Bar]:
    """Return the scale bars that all pictures with scale bars have in common; else nothing."""
    drawn = [picture.bars for picture in pictures if picture.bars]
    keys = {tuple((texts, colours.tobytes()) for texts, colours in bars) for bars in drawn}
    return drawn[0] if len(keys) == 1 else []


def _image_of(picture: FilmstripPicture, cells: range, grid: Layout, part: int) -> np.ndarray:
    """Draw cells of a picture; the rest of a matrix that is wider than the grid is below it."""
    if picture.view.kind != "matrix" or grid.count == 1:
        return picture.picture(cells, grid, part)
    alone = replace(grid, count=1, width=picture.view.width, gap=0)
    matrix = picture.picture(cells, alone, part)
    image = np.empty((*grid.shape, 3), np.uint8)
    image[:] = picture.palette[SEPARATOR]
    high, wide = grid.cell_shape
    for row in range(grid.count):
        at = grid.gap + row * (high + grid.gap), grid.gap
        paste(image, at, matrix[:, row * wide : (row + 1) * wide])
    return image


class _Drawing:
    """Draws the layers of a plot into a figure.

    Args:
        figure: The figure.
        paper: Its largest size, for the size of texts.
        theme: The theme.
    """

    def __init__(self, figure: Figure, paper: PaperSize, theme: ThemeName) -> None:
        self._figure, self._paper, self._theme = figure, paper, theme

    def title(self, text: str, layout: GridLayout, top: float, *, weight: str = "normal") -> None:
        """Draw a title above the cells of a layer, ``top`` pixels below the top of the figure."""
        margin = self._paper.pixels(ABOVE_TITLE * FONT)
        at = layout.left + layout.grid.gap, top + margin
        right = self._figure.bbox.width - margin
        draw_text(self._figure, text, at, right, self._theme, weight=weight)

    def layer(self, layer: PlotLayer, layout: GridLayout) -> None:
        """Draw the title, the grids and the scale bars of a layer."""
        self.title("\n".join(layer.title), layout, layout.top)
        top = layout.top + layout.above
        picture, per_block = layer.picture, layout.grid.count
        for block in range(layout.blocks):
            cells = range(picture.rows)[block * per_block : (block + 1) * per_block]
            wrapped = picture.view.kind == "matrix"
            grid = layout.grid if wrapped else replace(layout.grid, count=len(cells))
            for part, title in enumerate(picture.part_titles):
                left = layout.left + (part * layout.blocks + block) * layout.pitch
                axes = add_image(self._figure, _image_of(picture, cells, grid, part), (left, top))
                self._numbers(axes, layer, grid, cells)
                if layout.parts > 1 and block == 0:
                    draw_part_title(self._figure, axes, title, 0, self._theme)
        self.bars(layer.bars, layout, round(self._figure.bbox.height) - top - layout.grid.shape[0])

    def _numbers(self, axes: Axes, layer: PlotLayer, grid: Layout, cells: range) -> None:
        """Label rows of cells with the number of their first filter; a row alone has no label."""
        axes.set_xticks([])
        rows = grid.rows if layer.numbered and (grid.rows > 1 or layer.rows_of_filters) else 0
        ink = colour(THEMES[self._theme].text)
        axes.tick_params(labelsize=NUMBER_FONT, labelcolor=ink, length=0, pad=NUMBER_FONT / 4)
        high, _ = grid.cell_shape
        line = self._paper.pixels(LABEL_LINE * NUMBER_FONT)
        labelled = labelled_cells(rows, high + grid.gap, line)
        numbers = layer.picture.numbers
        axes.set_yticks(
            middles(grid.gap, labelled, high),
            [str(numbers[cells[row * grid.columns]]) for row in labelled],
        )

    def bars(self, bars: Sequence[Bar], layout: GridLayout, top: int) -> None:
        """Draw scale bars, each below its part of a layer if it fits there.

        Args:
            bars: The scale bars.
            layout: The layout of the layer.
            top: Pixels from the lower edge of the figure.
        """
        in_line = bars_in_line(bars, self._paper)
        line, size = self._paper.pixels(BAR_LINE * FONT), self._paper.pixels(FONT)
        right, end = self._figure.bbox.width, 0.0
        for number, bar in enumerate(bars):
            row, column = divmod(number, in_line)
            length = bar_length(bar[0]) * size
            left = layout.left + layout.grid.gap + column * layout.blocks * layout.pitch
            begin = max(end if column else size, min(left, right - length - size))
            draw_bar(self._figure, bar, (begin, top - (row + 0.5) * line), right, self._theme)
            end = begin + length
