"""Layout of filmstrips on paper."""

import math

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from filtertrack import FiltertrackError
from filtertrack.outputs.filmstrip_layout import FilmstripLayout
from filtertrack.outputs.filmstrip_picture import FilmstripPicture
from filtertrack.outputs.paper_size import POINT, PaperSize
from filtertrack.outputs.run_selection import select_from_run
from filtertrack.render.look import Look

STEPS = (0, *(10**power for power in range(11)))
"""Twelve, from one digit to eleven."""
PAPERS = st.builds(
    PaperSize.of,
    width=st.floats(2, 20),
    height=st.none() | st.floats(2, 30),
    dpi=st.sampled_from([72, 100, 150, 300, 600]),
)
KERNELS = [(2, 1, 1), (3, 3, 1), (3, 3, 3), (5, 9, 1), (11, 11, 1)]


@pytest.fixture
def selection(make_run, conv_info):
    """Return a function that selects 600 filters at twelve steps, or at others."""

    def make(height=3, width=3, channels=1, steps=STEPS):
        info = conv_info(kernel_shape=(height, width, channels, 600), bias=False)
        return select_from_run(make_run(info, steps=steps))

    return make


@pytest.fixture(params=KERNELS, ids=str)
def many(selection, request):
    return selection(*request.param)


def blocks(layout, picture):
    """Yield the rows of each part of each block, and its top, left, bottom and right."""
    for number in range(layout.blocks * layout.parts):
        block = number // layout.parts
        rows = range(picture.rows)[block * layout.rows : (block + 1) * layout.rows]
        height, width = picture.layout(len(rows), layout.grid.scale, layout.grid.gap).shape
        left = layout.start + layout.left + number * (layout.left + layout.grid.shape[1])
        yield rows, (layout.top, left, layout.top + height, left + width)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    count=st.integers(1, 600) | st.integers(1, 30),
    steps=st.sets(st.sampled_from(STEPS), min_size=1),
    paper=PAPERS,
    delta=st.sampled_from([None, False, True]),
)
def test_all_blocks_and_labels_fit_the_paper(many, count, steps, paper, delta):
    """For any number of filters and steps: each row once, legible labels."""
    picture = FilmstripPicture(many.at(sorted(steps)), Look(filters=range(count), delta=delta))
    try:
        layout = FilmstripLayout.fit(picture, paper)
    except FiltertrackError as error:
        assert str(error).startswith("width: ")  # noqa: PT017 - only some papers are too small
        pixels = len(picture.parts) * count * len(steps) * picture.view.height * picture.view.width
        assert 2 * pixels > paper.width * paper.dpi, "the texts take at most half of the paper"
        return
    assert layout.shape[0] <= paper.height * paper.dpi
    assert layout.shape[1] <= paper.width * paper.dpi
    assert layout.grid.scale >= 1
    assert layout.grid.gap >= 1
    placed, before = [], layout.start
    assert layout.start >= 0
    for rows, (top, left, bottom, right) in blocks(layout, picture):
        assert len(rows) > 0
        placed.extend(rows)
        assert left - layout.left >= before
        assert top >= 0
        assert bottom <= layout.shape[0]
        assert right <= layout.shape[1]
        before = right
    assert sorted(placed) == sorted(list(range(count)) * layout.parts)
    assert layout.parts == len(picture.parts)
    assert 5 <= layout.font <= 8
    digit, pixels = 0.55, layout.font * POINT * paper.dpi
    numbers = len(str(max(picture.numbers)))
    assert layout.left >= digit * numbers * pixels, "space for the numbers of the filters"
    longest = digit * max(len(str(step)) for step in steps) * pixels
    pitch = layout.grid.width * layout.grid.scale + layout.grid.gap
    assert layout.upright or longest <= pitch, "space for the steps"
    assert layout.top >= (longest if layout.upright else pixels) + 8 * POINT * paper.dpi


def test_gaps_are_narrow_on_paper_that_is_wide_and_low(selection):
    """They take no more than what the weights leave."""
    picture = FilmstripPicture(selection(11, 11).at([0]), Look(filters=range(1)))
    assert FilmstripLayout.fit(picture, PaperSize.of(10, 2, 72)).grid.scale >= 1
    usual = FilmstripLayout.fit(picture, PaperSize.of(10, 4, 72)).grid
    assert usual.gap > 1


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    count=st.integers(1, 150),
    columns=st.integers(1, 12),
    width=st.floats(5, 12),
    dpi=st.sampled_from([150, 300, 600]),
)
def test_the_magnification_is_the_largest_that_fits(many, count, columns, width, dpi):
    """One more pixel a weight would be too wide or too high."""
    picture = FilmstripPicture(many.at(STEPS[:columns]), Look(filters=range(count)))
    paper = PaperSize.of(width, None, dpi)
    layout = FilmstripLayout.fit(picture, paper)
    larger = picture.layout(layout.rows, layout.grid.scale + 1, layout.grid.gap)
    down = layout.shape[0] - layout.grid.shape[0] + larger.shape[0]
    margin = math.ceil(0.05 * dpi)
    across = layout.blocks * layout.parts * (layout.left + larger.shape[1]) + margin
    assert down > int(paper.height * dpi) or across > int(paper.width * dpi)


def test_few_filters_are_one_block_and_many_are_several(selection):
    chosen = selection().at(STEPS[:6])
    few, many = (FilmstripPicture(chosen, Look(filters=range(n))) for n in (4, 96))
    paper = PaperSize.of("17cm", "10cm", 300)
    assert FilmstripLayout.fit(few, paper).blocks == 1
    assert FilmstripLayout.fit(many, paper).blocks > 1


def test_a_matrix_is_one_row(make_run, conv_info):
    """For any number of filters."""
    info = conv_info(kernel_shape=(1, 1, 16, 200), bias=False)
    picture = FilmstripPicture(select_from_run(make_run(info)), Look())
    layout = FilmstripLayout.fit(picture, PaperSize.of("17cm", None, 300))
    assert (layout.blocks, layout.rows, layout.grid.count) == (1, 1, 3)
    assert layout.shape[1] <= 17 / 2.54 * 300


@pytest.mark.parametrize(
    ("width", "height", "dpi"), [("1cm", "1cm", 10), ("2cm", None, 72), ("17cm", "5mm", 300)]
)
def test_too_small_a_paper_is_an_error(selection, width, height, dpi):
    """The message names its size, the filters and steps, and what to do."""
    picture = FilmstripPicture(selection(), Look())
    with pytest.raises(
        FiltertrackError, match=rf"width: .* at {dpi} dpi .* 600 filters at 12 steps; choose fewer"
    ):
        FilmstripLayout.fit(picture, PaperSize.of(width, height, dpi))


@pytest.mark.parametrize(
    ("size", "inches"),
    [
        ("17cm", 17 / 2.54),
        ("170mm", 17 / 2.54),
        (" 6.7 in ", 6.7),
        ("6.", 6.0),
        (".5in", 0.5),
        (7, 7.0),
        (7.25, 7.25),
        (np.float64(3.5), 3.5),
        ("200in", 200.0),
    ],
    ids=str,
)
def test_sizes_are_parsed(size, inches):
    """Centimetres, millimetres, inches; by default a third higher than wide."""
    assert PaperSize.of(size, None, 300) == pytest.approx((inches, 4 / 3 * inches, 300))
    assert PaperSize.of(1, size, 300) == pytest.approx((1, inches, 300))


@pytest.mark.parametrize(
    "size", ["", "cm", "17 px", "-1cm", -1, 0, "0", "1e3", "201in", "6m", "1,5cm", np.nan, np.inf]
)
@pytest.mark.parametrize("name", ["width", "height"])
def test_an_invalid_size_is_an_error(name, size):
    """The message names the option and its value, and gives an example."""
    width, height = (size, 1) if name == "width" else (1, size)
    with pytest.raises(
        FiltertrackError, match=rf"^{name}: expected a size such as '17cm'"
    ) as error:
        PaperSize.of(width, height, 300)
    assert repr(size) in str(error.value)


@pytest.mark.parametrize("dpi", [0, 9, 2401, -300])
def test_a_dpi_out_of_range_is_an_error(dpi):
    """The message names the range and the value."""
    with pytest.raises(FiltertrackError, match=rf"dpi: expected 10 to 2400, got {dpi}"):
        PaperSize.of("17cm", None, dpi)
