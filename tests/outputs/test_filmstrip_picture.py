import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from filtertrack import FiltertrackError
from filtertrack.measures import label
from filtertrack.outputs.filmstrip_picture import CLASSIC_EPOCHS, FilmstripPicture, spread_steps
from filtertrack.outputs.run_selection import select_from_run
from filtertrack.render.cells import to_cells
from filtertrack.render.grid import to_levels, to_rgb
from filtertrack.render.look import Look
from filtertrack.render.palette import (
    BACKGROUND,
    OUTLINED,
    SEPARATOR,
    THEMES,
    colormap_levels,
    theme_palette,
)
from filtertrack.render.text import font_size, line_height
from filtertrack.render.value_range import range_of_cells

STEPS = st.sets(st.integers(0, 10**9), min_size=1, max_size=60).map(sorted)
EPOCHS = st.integers(1, 200).map(range)
GREY, COLOUR, PATTERN, MATRIX = (3, 2, 1, 4), (3, 3, 3, 5), (2, 3, 4, 6), (1, 1, 4, 7)
KINDS = pytest.mark.parametrize(
    "kernel_shape", [GREY, COLOUR, PATTERN, MATRIX], ids=["grey", "colour", "pattern", "matrix"]
)


@pytest.fixture
def strip_of(make_run, conv_info):
    def make(kernel_shape=GREY, steps=(0, 1, 2), **look):
        run = make_run(conv_info(kernel_shape=kernel_shape, bias=False), steps=steps)
        return run, FilmstripPicture(select_from_run(run), Look(**look))

    return make


def by_hand(tones, scale, gap, separator):
    """Put cells of shape (rows, columns, height, width, 3) on a sheet, one after the other."""
    rows, columns, height, width, _ = tones.shape
    down, across = height * scale + gap, width * scale + gap
    sheet = np.full((rows * down + gap, columns * across + gap, 3), separator, np.uint8)
    for row in range(rows):
        for column in range(columns):
            large = tones[row, column].repeat(scale, axis=0).repeat(scale, axis=1)
            top, left = gap + row * down, gap + column * across
            sheet[top : top + height * scale, left : left + width * scale] = large
    return sheet


@given(STEPS, st.booleans())
def test_chosen_steps_are_steps(steps, epochs):
    """Some of those there are, ascending, each once, with the last; at most ten."""
    chosen = spread_steps(steps, epochs=epochs)
    assert set(chosen) <= set(steps)
    assert chosen == sorted(set(chosen))
    assert chosen[-1] == steps[-1]
    assert len(chosen) <= 10
    if len(steps) <= 10:
        assert chosen == steps


@given(STEPS)
def test_the_first_and_the_last_are_chosen(steps):
    """Wherever a run of batches begins, and all others as if it began at 0."""
    chosen = spread_steps(steps, epochs=False)
    assert (chosen[0], chosen[-1]) == (steps[0], steps[-1])
    shifted = spread_steps([step - steps[0] for step in steps], epochs=False)
    assert chosen == [step + steps[0] for step in shifted]


@pytest.mark.parametrize("first", [0, 1, 3, 7])
def test_the_first_of_a_run_that_counts_epochs(first):
    """Also of one that began at a later epoch."""
    chosen = spread_steps(range(first, 71), epochs=True)
    assert (chosen[0], chosen[-1]) == (first, 70)


@given(EPOCHS)
def test_epochs_are_the_classic_ones(steps):
    """Those of the figure that made such pictures known, and the last."""
    chosen = spread_steps(steps, epochs=True)
    if len(steps) > 10:
        expected = {step for step in CLASSIC_EPOCHS if step in steps} | {steps[-1]}
        assert set(chosen) == expected


def test_without_classic_epochs_they_are_spread():
    """A run with a snapshot every seven epochs has few of them."""
    chosen = spread_steps(range(0, 700, 7), epochs=True)
    assert chosen == spread_steps(range(0, 700, 7), epochs=False)
    assert 8 <= len(chosen) <= 10


@pytest.mark.parametrize("count", [100, 1000, 10_000])
def test_most_are_early(count):
    """Half of them in the first tenth, and never two farther apart than the next two."""
    chosen = spread_steps(range(count), epochs=False)
    assert len(chosen) >= 8
    assert sum(step < count / 10 for step in chosen) >= len(chosen) / 2
    assert (np.diff(chosen, 2) >= -1).all()


@KINDS
@pytest.mark.parametrize("theme", ["dark", "light"])
@pytest.mark.parametrize(("scale", "gap"), [(1, 1), (3, 2)])
def test_the_picture_is_its_cells(strip_of, kernel_shape, theme, scale, gap):
    """Pixel for pixel: a row a filter, a column a step, the theme's colour between them."""
    colormap = "gray" if kernel_shape == COLOUR else "viridis"
    run, strip = strip_of(kernel_shape, theme=theme, colormap=colormap)
    palette = theme_palette(theme, colormap_levels(colormap))
    like, tones = None, []
    for step in strip.steps:
        like = to_cells(strip.view, run.kernels("conv1", step), like)
        values = range_of_cells(like)
        coloured = kernel_shape == COLOUR
        tones.append(to_rgb(like, values) if coloured else palette[to_levels(like, values)])
    tones = np.stack(tones, axis=1)
    assert (strip.rows, strip.columns) == tones.shape[:2]
    picture = strip.picture(range(strip.rows), strip.layout(strip.rows, scale, gap))
    np.testing.assert_array_equal(picture, by_hand(tones, scale, gap, palette[SEPARATOR]))
    some = strip.picture(range(1, 3), strip.layout(2, scale, gap))
    if strip.rows > 1:
        np.testing.assert_array_equal(some, by_hand(tones[1:3], scale, gap, palette[SEPARATOR]))


def test_a_block_that_is_not_full(strip_of):
    """The last rows stand at the top of a layout for more; the rest is empty."""
    _, strip = strip_of()
    layout = strip.layout(3, 2, 1)
    picture = strip.picture(range(3, 4), layout)
    assert picture.shape == (*layout.shape, 3)
    one = strip.picture(range(3, 4), strip.layout(1, 2, 1))
    np.testing.assert_array_equal(picture[: len(one)], one)
    assert (picture[len(one) :] == theme_palette()[SEPARATOR]).all()


@pytest.mark.parametrize(
    ("look", "expected"), [({}, [0, 1, 2, 3]), ({"filters": [3, 1]}, [3, 1])], ids=str
)
def test_rows_are_numbered(strip_of, look, expected):
    """By the filter's number in the kernel, in the order of the look; columns have their steps."""
    run, every = strip_of(steps=(0, 4, 9))
    strip = FilmstripPicture(select_from_run(run), Look(**look))
    assert strip.steps == (0, 4, 9)
    assert strip.numbers == expected
    assert strip.rows == len(expected)
    for row, number in enumerate(expected):
        np.testing.assert_array_equal(
            strip.picture(range(row, row + 1), strip.layout(1, 2, 1)),
            every.picture(range(number, number + 1), every.layout(1, 2, 1)),
        )


def test_slices_have_lines_between_them(make_run, conv_info):
    """Those of a 3-D kernel stand side by side in a cell, one pixel apart."""
    info = conv_info(
        kernel_shape=(3, 2, 2, 1, 4), axes=(4, 1, 0, 2, 3), shape=(4, 2, 6, 1), bias=False
    )
    strip = FilmstripPicture(select_from_run(make_run(info)), Look())
    layout = strip.layout(4, 3, 2)
    picture = strip.picture(range(4), layout)
    assert picture.shape == (4 * (2 * 3 + 2) + 2, 3 * (6 * 3 + 2 + 2) + 2, 3)
    for line in (2 + 6, 2 + 6 + 1 + 6):
        assert (picture[:, line] == theme_palette()[SEPARATOR]).all()


@KINDS
@pytest.mark.parametrize("side", [100, 320, 640])
def test_a_card_is_a_grid_under_its_steps(strip_of, kernel_shape, side):
    """The first rows, about as high as wide and no larger than asked; above them the steps."""
    _, strip = strip_of(kernel_shape, steps=range(8))
    card = strip.card(side)
    size = line_height(font_size(side))
    grid, labels = card[size:], card[:size]
    assert max(grid.shape[:2]) <= side
    background = theme_palette()[BACKGROUND]
    assert (labels != background).any()
    view, columns = strip.view, strip.columns
    rows = next(
        n
        for n in range(1, strip.rows + 1)
        if n == strip.rows or (n + 1) * view.height > columns * view.width
    )
    fits = [
        picture
        for scale in range(1, side)
        for gap in range(1, 5)
        if (layout := strip.layout(rows, scale, gap)).shape == grid.shape[:2]
        for picture in [strip.picture(range(rows), layout)]
    ]
    assert any((picture == grid).all() for picture in fits)


def test_the_steps_of_a_card_are_above_their_columns(strip_of):
    """Each label is in the middle of its column."""
    _, strip = strip_of((5, 5, 1, 9), steps=range(8))
    card = strip.card(640)
    labels = (card[: line_height(font_size(640))] != theme_palette()[BACKGROUND]).any(axis=(0, 2))
    pitch = card.shape[1] / 8
    for number in range(8):
        ink = np.flatnonzero(labels[round(number * pitch) : round((number + 1) * pitch)])
        assert (ink.min() + ink.max()) / 2 == pytest.approx(pitch / 2, abs=3)


@pytest.mark.parametrize("theme", ["dark", "light"])
@pytest.mark.parametrize("layer", ["conv1", "conv2"])
@pytest.mark.parametrize("gap", [3, 4, 5])
def test_outlines_say_each_filters_label_at_each_step(planted_run, theme, layer, gap):
    """A line around each cell in its label's colour; every weight is as it is without."""
    selection = select_from_run(planted_run, layers=layer)
    plain = FilmstripPicture(selection, Look(theme=theme))
    strip = FilmstripPicture(selection, Look(theme=theme, outline=True))
    assert strip.outlined
    assert not plain.outlined
    scale, width, side = 2, (gap - 1) // 2, 14
    picture = strip.picture(range(strip.rows), strip.layout(strip.rows, scale, gap))
    expected = plain.picture(range(strip.rows), plain.layout(strip.rows, scale, gap))
    changed = False
    for column, step in enumerate(strip.steps):
        names = label(planted_run.kernels(layer, step)).names
        for row, name in enumerate(names):
            if name not in OUTLINED:
                continue
            top, left = (gap + number * (side + gap) for number in (row, column))
            around = np.zeros(picture.shape[:2], bool)
            around[top - width : top + side + width, left - width : left + side + width] = True
            around[top : top + side, left : left + side] = False
            expected[around] = THEMES[theme].outlines[OUTLINED.index(name)]
            changed = True
    assert changed
    np.testing.assert_array_equal(picture, expected)


def test_some_rows_have_their_own_outlines(planted_run):
    """A block of a figure shows what the whole shows there, also in another order."""
    selection = select_from_run(planted_run, layers="conv1")
    every = FilmstripPicture(selection, Look(outline=True))
    for strip, numbers in (
        (every, range(2, 5)),
        (FilmstripPicture(selection, Look(outline=True, filters=[6, 4, 0])), [6, 4, 0]),
    ):
        rows = numbers if strip is every else range(3)
        picture = strip.picture(rows, strip.layout(3, 2, 3))
        for place, number in enumerate(numbers):
            one = every.picture(range(number, number + 1), every.layout(1, 2, 3))
            top = place * (14 + 3) + 2  # above that is the line of the row before
            np.testing.assert_array_equal(picture[top : top + len(one) - 4], one[2:-2])


def test_rows_by_label(planted_run):
    """Edges first, then blobs, colour blobs, other structure and the rest."""
    strip = FilmstripPicture(select_from_run(planted_run, layers="conv1"), Look(order="label"))
    names = label(planted_run.kernels("conv1", 20)).names[strip.numbers].tolist()
    assert names[:5] == ["edge", "edge", "blob", "colour blob", "other structure"]
    assert names[5:] == ["unstructured"] * 3


def test_a_block_that_is_not_full_can_be_outlined(planted_run):
    """As without outlines, the last rows may stand in a layout for more."""
    strip = FilmstripPicture(select_from_run(planted_run, layers="conv2"), Look(outline=True))
    picture = strip.picture(range(3, 4), strip.layout(2, 2, 3))
    one = strip.picture(range(3, 4), strip.layout(1, 2, 3))
    np.testing.assert_array_equal(picture[: len(one)], one)


def test_outlines_around_a_matrix_are_refused(strip_of):
    """The message says what to leave out."""
    with pytest.raises(FiltertrackError, match="outline: 1x1 kernels"):
        strip_of(MATRIX, outline=True)
