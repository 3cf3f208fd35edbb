"""Layout of plots on paper."""

import math

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from filtertrack import FiltertrackError
from filtertrack.capture.array_layers import ArrayLayers
from filtertrack.outputs.filmstrip_picture import FilmstripPicture
from filtertrack.outputs.paper_size import PaperSize
from filtertrack.outputs.plot_layout import PlotLayer, PlotLayout
from filtertrack.outputs.run_selection import select_from_run
from filtertrack.render.look import Look
from filtertrack.storage.memory_run import MemoryRun

PAPERS = st.builds(
    PaperSize.of,
    width=st.floats(2, 20),
    height=st.none() | st.floats(2, 30),
    dpi=st.sampled_from([72, 100, 150, 300, 600]),
)
SHAPES = st.sampled_from(
    [(3, 3, 1), (3, 3, 3), (7, 7, 3), (5, 9, 1), (1, 1, 7), (22, 1, 1), (28, 28, 1)]
)


def layers_of(shapes, **look):
    """Return the layers of a plot of kernels ``(height, width, channels, filters)``."""
    source = ArrayLayers({f"conv{n}": np.zeros(shape) for n, shape in enumerate(shapes)}, "HWIO")
    run = MemoryRun("arrays", source.infos, source.read)
    return [
        PlotLayer(
            FilmstripPicture(select_from_run(run, layers=info.name), Look(**look)), ["title"], []
        )
        for info in source.infos
    ]


def placed(layout, paper):
    """Yield the filters that each block of each layer has, and its top, left, bottom and right."""
    for grid in layout.layers:
        for number in range(grid.blocks * grid.parts):
            top, left = grid.top + grid.above, grid.left + number * grid.pitch
            height, width = grid.grid.shape
            assert top + height + grid.below <= layout.shape[0]
            assert left + width <= layout.shape[1] <= paper.width * paper.dpi
            yield grid, (top, left, top + height, left + width)


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(
    kernels=st.lists(st.tuples(SHAPES, st.integers(1, 600)), min_size=1, max_size=6),
    paper=PAPERS,
    outline=st.booleans(),
    grows=st.booleans(),
    columns=st.none() | st.integers(1, 40),
)
def test_all_grids_fit_the_figure_and_hold_all_filters(kernels, paper, outline, grows, columns):
    """They are below each other, with a pixel or more for a weight; or it is an error."""
    layers = layers_of([(*shape, count) for shape, count in kernels], outline=outline)
    options = {"above": 20, "below": 30, "columns": columns, "grows": grows}
    try:
        layout = PlotLayout.fit(layers, paper, **options)
    except FiltertrackError as error:
        assert str(error).startswith(("width:", "height:"))  # noqa: PT017 - not always
        return
    assert grows or layout.shape[0] <= paper.shape[0]
    bottom = 20
    for layer, (grid, box) in zip(layers, placed(layout, paper), strict=True):
        cells = grid.grid
        assert cells.scale >= 1
        view = layer.picture.view
        if view.kind == "matrix":
            assert cells.count * cells.width >= view.width > (cells.count - 1) * cells.width
        else:
            assert cells.count == view.count
            assert columns is None or cells.columns == min(columns, cells.count)
        assert grid.top == bottom
        bottom = box[2] + grid.below
    assert bottom + 30 == layout.shape[0]


@pytest.mark.parametrize(
    ("shape", "count", "columns", "rows"),
    [
        ((7, 7, 3), 64, 8, 8),
        ((9, 9, 3), 32, 8, 4),
        ((11, 11, 3), 96, 12, 8),
        ((5, 5, 1), 6, 6, 1),
        ((5, 5, 6), 16, 8, 2),
        ((3, 3, 256), 512, 32, 16),
    ],
)
def test_filters_of_a_usual_layer_fill_the_rows(shape, count, columns, rows):
    """No position is empty, and the grid is at least as wide as high."""
    (layer,) = layers_of([(*shape, count)])
    layout = PlotLayout.fit([layer], PaperSize.of("17cm", None, 300), above=0, below=0)
    grid = layout.layers[0].grid
    assert (grid.columns, grid.rows) == (columns, rows)
    if count >= 8:
        assert grid.shape[1] >= 0.9 * layout.shape[1], "the width is used"


def test_few_filters_are_not_larger_than_an_eighth_of_the_width():
    """A layer of one filter does not fill the page."""
    (layer,) = layers_of([(3, 3, 1, 1)])
    layout = PlotLayout.fit([layer], PaperSize.of("17cm", None, 300), above=0, below=0)
    assert layout.shape[1] / 9 < layout.layers[0].grid.cell_shape[1] < layout.shape[1] / 8


def test_weights_of_all_layers_have_the_same_size():
    """Thirteen layers with 64 to 512 filters: 3x3 weights of some pixels, in columns that align."""
    counts = [64, 64, 128, 128, 256, 256, 256] + [512] * 6
    layers = layers_of([(3, 3, 1, count) for count in counts])
    layout = PlotLayout.fit(layers, PaperSize.of("17cm", None, 300), above=0, below=0, grows=True)
    assert len({grid.grid.scale for grid in layout.layers}) == 1
    assert layout.layers[0].grid.scale >= 7
    assert {math.gcd(grid.grid.columns, 32) for grid in layout.layers} == {32}


def test_a_wide_matrix_does_not_make_the_other_layers_small():
    """It has smaller weights than they have."""
    layers = layers_of([(7, 7, 3, 64), (1, 1, 64, 1024)])
    layout = PlotLayout.fit(layers, PaperSize.of("17cm", None, 300), above=0, below=0, grows=True)
    conv, matrix = (grid.grid.scale for grid in layout.layers)
    assert (matrix, conv > 20) == (1, True)


def test_a_matrix_wider_than_the_figure_continues_below():
    """With all its filters, and a pixel a weight."""
    (layer,) = layers_of([(1, 1, 20, 5000)])
    layout = PlotLayout.fit([layer], PaperSize.of("17cm", None, 300), above=0, below=0)
    grid = layout.layers[0].grid
    assert (grid.count, grid.rows, grid.columns, grid.scale) == (3, 3, 1, 1)
    assert grid.count * grid.width >= 5000 > (grid.count - 1) * grid.width
    assert grid.shape[1] <= layout.shape[1]


def test_a_figure_grows_only_without_a_height():
    """Weights stay visible; with a height it is an error where they have less than a pixel."""
    layers = layers_of([(3, 3, 1, 64)] * 60)
    paper = PaperSize.of("8cm", None, 100)
    grown = PlotLayout.fit(layers, paper, above=0, below=0, grows=True)
    assert grown.shape[0] > paper.shape[0]
    assert grown.layers[0].grid.scale >= 2
    with pytest.raises(FiltertrackError, match=r"height: .* weight of 60 layers; choose fewer"):
        PlotLayout.fit(layers, paper, above=0, below=0)


def test_a_layer_wider_than_the_figure_is_an_error_that_names_it():
    """At least one pixel a weight."""
    layers = layers_of([(3, 3, 1, 4), (3, 2500, 1, 4)])
    with pytest.raises(
        FiltertrackError, match="one pixel a weight of layer conv1; choose a larger"
    ):
        PlotLayout.fit(layers, PaperSize.of("17cm", None, 300), above=0, below=0)


@pytest.mark.parametrize(("filters", "channels"), [(64, 3), (7, 5), (1, 12), (600, 2)])
def test_all_channels_of_a_filter_are_a_row_of_a_block(filters, channels):
    """No filter is divided between blocks, and the blocks hold all."""
    (layer,) = layers_of([(3, 3, channels, filters)], channels="all")
    paper = PaperSize.of("17cm", None, 300)
    layout = PlotLayout.fit([layer], paper, above=0, below=0)
    (grid,) = layout.layers
    assert grid.grid.columns == channels
    assert grid.blocks * grid.grid.rows >= filters > (grid.blocks - 1) * grid.grid.rows
    assert len(list(placed(layout, paper))) == grid.blocks
