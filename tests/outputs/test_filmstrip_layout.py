import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from filtertrack import FiltertrackError
from filtertrack.outputs.filmstrip_layout import POINT, FilmstripLayout, PaperSize
from filtertrack.outputs.filmstrip_picture import FilmstripPicture
from filtertrack.outputs.run_selection import select_from_run
from filtertrack.render.look import Look

STEPS = (0, *(10**power for power in range(11)))
"""Twelve, from one digit to eleven."""
SHEETS = st.builds(
    PaperSize.of,
    width=st.floats(2, 20),
    height=st.none() | st.floats(2, 30),
    dpi=st.sampled_from([72, 100, 150, 300, 600]),
)
KERNELS = [(2, 1, 1), (3, 3, 1), (3, 3, 3), (5, 9, 1), (11, 11, 1)]


@pytest.fixture
def selection(make_run, conv_info):
    """Choose 600 filters at twelve steps, or at others."""

    def make(height=3, width=3, channels=1, steps=STEPS):
        info = conv_info(kernel_shape=(height, width, channels, 600), bias=False)
        return select_from_run(make_run(info, steps=steps))

    return make


@pytest.fixture(params=KERNELS, ids=str)
def many(selection, request):
    return selection(*request.param)


def blocks(page, strip):
    """Return each block's rows, and its top, left, bottom and right."""
    for block in range(page.blocks):
        rows = range(strip.rows)[block * page.rows : (block + 1) * page.rows]
        height, width = strip.layout(len(rows), page.grid.scale, page.grid.gap).shape
        left = page.left + block * (page.left + page.grid.shape[1])
        yield rows, (page.top, left, page.top + height, left + width)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    count=st.integers(1, 600) | st.integers(1, 30),
    steps=st.sets(st.sampled_from(STEPS), min_size=1),
    sheet=SHEETS,
)
def test_everything_is_on_the_sheet(many, count, steps, sheet):
    """However many filters and steps: no larger than the sheet, each row once, legible labels."""
    strip = FilmstripPicture(many.at(sorted(steps)), Look(filters=range(count)))
    try:
        page = FilmstripLayout.fit(strip, sheet)
    except FiltertrackError as error:
        assert str(error).startswith("width: ")  # noqa: PT017 - only some sheets are too small
        assert count * len(steps) * strip.view.height * strip.view.width > sheet.width * sheet.dpi
        return
    assert page.shape[0] <= sheet.height * sheet.dpi
    assert page.shape[1] <= sheet.width * sheet.dpi
    assert page.grid.scale >= 1
    assert page.grid.gap >= 1
    placed, before = [], 0
    for rows, (top, left, bottom, right) in blocks(page, strip):
        assert len(rows) > 0
        placed.extend(rows)
        assert left - page.left >= before
        assert top >= 0
        assert bottom <= page.shape[0]
        assert right <= page.shape[1]
        before = right
    assert placed == list(range(count))
    assert 5 <= page.font <= 8
    digit, pixels = 0.55, page.font * POINT * sheet.dpi
    numbers = len(str(max(strip.numbers)))
    assert page.left >= digit * numbers * pixels, "room for the filters' numbers"
    longest = digit * max(len(str(step)) for step in steps) * pixels
    pitch = page.grid.width * page.grid.scale + page.grid.gap
    assert page.upright or longest <= pitch, "room for the steps"
    assert page.top >= (longest if page.upright else pixels) + 8 * POINT * sheet.dpi


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    count=st.integers(1, 150),
    columns=st.integers(1, 12),
    width=st.floats(5, 12),
    dpi=st.sampled_from([150, 300, 600]),
)
def test_the_magnification_is_the_largest_that_fits(many, count, columns, width, dpi):
    """One pixel a weight more would be too wide or too high."""
    strip = FilmstripPicture(many.at(STEPS[:columns]), Look(filters=range(count)))
    sheet = PaperSize.of(width, None, dpi)
    page = FilmstripLayout.fit(strip, sheet)
    larger = strip.layout(page.rows, page.grid.scale + 1, page.grid.gap)
    margin = page.shape[0] - page.top - page.grid.shape[0]
    down = page.top + larger.shape[0] + margin
    across = page.blocks * (page.left + larger.shape[1]) + margin
    assert down > int(sheet.height * dpi) or across > int(sheet.width * dpi)


def test_few_filters_stand_in_one_block(selection):
    """And many in several side by side."""
    chosen = selection().at(STEPS[:6])
    few, many = (FilmstripPicture(chosen, Look(filters=range(n))) for n in (4, 96))
    sheet = PaperSize.of("17cm", "10cm", 300)
    assert FilmstripLayout.fit(few, sheet).blocks == 1
    assert FilmstripLayout.fit(many, sheet).blocks > 1


def test_a_matrix_is_one_row(make_run, conv_info):
    """A 1x1 kernel has one, whatever the number of filters."""
    info = conv_info(kernel_shape=(1, 1, 16, 200), bias=False)
    strip = FilmstripPicture(select_from_run(make_run(info)), Look())
    page = FilmstripLayout.fit(strip, PaperSize.of("17cm", None, 300))
    assert (page.blocks, page.rows, page.grid.count) == (1, 1, 3)
    assert page.shape[1] <= 17 / 2.54 * 300


@pytest.mark.parametrize(
    ("width", "height", "dpi"), [("1cm", "1cm", 10), ("2cm", None, 72), ("17cm", "5mm", 300)]
)
def test_a_sheet_that_is_too_small(selection, width, height, dpi):
    """The message says how large it is, what should go on it, and what to do."""
    strip = FilmstripPicture(selection(), Look())
    with pytest.raises(
        FiltertrackError, match=rf"width: .* at {dpi} dpi .* 600 filters at 12 steps; choose fewer"
    ):
        FilmstripLayout.fit(strip, PaperSize.of(width, height, dpi))


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
def test_a_size_is_read(size, inches):
    """In centimetres, millimetres or inches; as high as asked, or a third more than wide."""
    assert PaperSize.of(size, None, 300) == pytest.approx((inches, 4 / 3 * inches, 300))
    assert PaperSize.of(1, size, 300) == pytest.approx((1, inches, 300))


@pytest.mark.parametrize(
    "size", ["", "cm", "17 px", "-1cm", -1, 0, "0", "1e3", "201in", "6m", "1,5cm", np.nan, np.inf]
)
@pytest.mark.parametrize("name", ["width", "height"])
def test_what_is_no_size(name, size):
    """The message says which, what came, and what a size looks like."""
    width, height = (size, 1) if name == "width" else (1, size)
    with pytest.raises(
        FiltertrackError, match=rf"^{name}: expected a size such as '17cm'"
    ) as error:
        PaperSize.of(width, height, 300)
    assert repr(size) in str(error.value)


@pytest.mark.parametrize("dpi", [0, 9, 2401, -300])
def test_a_resolution_out_of_range(dpi):
    """The message says what is expected and what came."""
    with pytest.raises(FiltertrackError, match=rf"dpi: expected 10 to 2400, got {dpi}"):
        PaperSize.of("17cm", None, dpi)
