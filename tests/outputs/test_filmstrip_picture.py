"""Cells of filmstrips, and the steps that are drawn by default."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

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
from filtertrack.render.scale_bar import bar_height, draw_scale_bar
from filtertrack.render.text import font_size, line_height
from filtertrack.render.value_range import range_of_cells

STEPS = st.sets(st.integers(0, 10**9), min_size=1, max_size=60).map(sorted)
EPOCHS = st.integers(1, 200).map(range)
GREY, COLOUR, PATTERN, MATRIX = (3, 2, 1, 4), (3, 3, 3, 5), (2, 3, 4, 6), (1, 1, 4, 7)
KINDS = pytest.mark.parametrize(
    "kernel_shape", [GREY, COLOUR, PATTERN, MATRIX], ids=["grey", "colour", "pattern", "matrix"]
)


@pytest.fixture
def filmstrip_of(make_run, conv_info):
    def make(kernel_shape=GREY, steps=(0, 1, 2), *, delta=False, **look):
        run = make_run(conv_info(kernel_shape=kernel_shape, bias=False), steps=steps)
        return run, FilmstripPicture(select_from_run(run), Look(delta=delta, **look))

    return make


def by_hand(tones, scale, gap, separator):
    """Draw cells of shape (rows, columns, height, width, 3) one after the other."""
    rows, columns, height, width, _ = tones.shape
    down, across = height * scale + gap, width * scale + gap
    canvas = np.full((rows * down + gap, columns * across + gap, 3), separator, np.uint8)
    for row in range(rows):
        for column in range(columns):
            large = tones[row, column].repeat(scale, axis=0).repeat(scale, axis=1)
            top, left = gap + row * down, gap + column * across
            canvas[top : top + height * scale, left : left + width * scale] = large
    return canvas


@given(STEPS, st.booleans())
def test_spread_steps_are_at_most_ten_existing_steps(steps, epochs):
    """Ascending, each once, the last among them."""
    chosen = spread_steps(steps, epochs=epochs)
    assert set(chosen) <= set(steps)
    assert chosen == sorted(set(chosen))
    assert chosen[-1] == steps[-1]
    assert len(chosen) <= 10
    if len(steps) <= 10:
        assert chosen == steps


@given(STEPS)
def test_spread_steps_contain_the_first_and_the_last(steps):
    """For batches the choice does not depend on the first step."""
    chosen = spread_steps(steps, epochs=False)
    assert (chosen[0], chosen[-1]) == (steps[0], steps[-1])
    shifted = spread_steps([step - steps[0] for step in steps], epochs=False)
    assert chosen == [step + steps[0] for step in shifted]


@pytest.mark.parametrize("first", [0, 1, 3, 7])
def test_spread_steps_contain_the_first_epoch(first):
    """Also of a run that began at a later epoch."""
    chosen = spread_steps(range(first, 71), epochs=True)
    assert (chosen[0], chosen[-1]) == (first, 70)


@given(EPOCHS)
def test_spread_steps_of_epochs_are_the_classic_ones(steps):
    """And the last epoch."""
    chosen = spread_steps(steps, epochs=True)
    if len(steps) > 10:
        expected = {step for step in CLASSIC_EPOCHS if step in steps} | {steps[-1]}
        assert set(chosen) == expected


def test_spread_steps_without_classic_epochs_are_logarithmic():
    """As with a snapshot every seven epochs."""
    chosen = spread_steps(range(0, 700, 7), epochs=True)
    assert chosen == spread_steps(range(0, 700, 7), epochs=False)
    assert 8 <= len(chosen) <= 10


@pytest.mark.parametrize("count", [100, 1000, 10_000])
def test_spread_steps_are_mostly_early(count):
    """Half of them in the first tenth; distances grow."""
    chosen = spread_steps(range(count), epochs=False)
    assert len(chosen) >= 8
    assert sum(step < count / 10 for step in chosen) >= len(chosen) / 2
    assert (np.diff(chosen, 2) >= -1).all()


@KINDS
@pytest.mark.parametrize("theme", ["dark", "light"])
@pytest.mark.parametrize(("scale", "gap"), [(1, 1), (3, 2)])
def test_every_pixel_of_the_picture(filmstrip_of, kernel_shape, theme, scale, gap):
    """A row a filter, a column a step, the separator of the theme between cells."""
    colormap = None if kernel_shape == COLOUR else "viridis"
    run, filmstrip = filmstrip_of(kernel_shape, theme=theme, colormap=colormap)
    palette = theme_palette(theme, colormap_levels(colormap or "gray"))
    tones = []
    for number, step in enumerate(filmstrip.steps):
        (cells,) = filmstrip.parts[0].walk([number])
        alone = to_cells(filmstrip.view, run.kernels("conv1", step))
        if kernel_shape == PATTERN:
            np.testing.assert_array_equal(np.abs(cells), np.abs(alone))
        else:
            np.testing.assert_array_equal(cells, alone)
        values = range_of_cells(cells)
        coloured = kernel_shape == COLOUR
        tones.append(to_rgb(cells, values) if coloured else palette[to_levels(cells, values)])
    tones = np.stack(tones, axis=1)
    assert (filmstrip.rows, filmstrip.columns) == tones.shape[:2]
    picture = filmstrip.picture(range(filmstrip.rows), filmstrip.layout(filmstrip.rows, scale, gap))
    np.testing.assert_array_equal(picture, by_hand(tones, scale, gap, palette[SEPARATOR]))
    some = filmstrip.picture(range(1, 3), filmstrip.layout(2, scale, gap))
    if filmstrip.rows > 1:
        np.testing.assert_array_equal(some, by_hand(tones[1:3], scale, gap, palette[SEPARATOR]))


def test_a_block_with_fewer_rows_is_filled_from_the_top(filmstrip_of):
    """The rest is empty."""
    _, filmstrip = filmstrip_of()
    layout = filmstrip.layout(3, 2, 1)
    picture = filmstrip.picture(range(3, 4), layout)
    assert picture.shape == (*layout.shape, 3)
    one = filmstrip.picture(range(3, 4), filmstrip.layout(1, 2, 1))
    np.testing.assert_array_equal(picture[: len(one)], one)
    assert (picture[len(one) :] == theme_palette()[SEPARATOR]).all()


@pytest.mark.parametrize(
    ("look", "expected"), [({}, [0, 1, 2, 3]), ({"filters": [3, 1]}, [3, 1])], ids=str
)
def test_rows_have_the_numbers_of_their_filters(filmstrip_of, look, expected):
    """In the order of the look; columns have their steps."""
    run, every = filmstrip_of(steps=(0, 4, 9))
    filmstrip = FilmstripPicture(select_from_run(run), Look(delta=False, **look))
    assert filmstrip.steps == (0, 4, 9)
    assert filmstrip.numbers == expected
    assert filmstrip.rows == len(expected)
    for row, number in enumerate(expected):
        np.testing.assert_array_equal(
            filmstrip.picture(range(row, row + 1), filmstrip.layout(1, 2, 1)),
            every.picture(range(number, number + 1), every.layout(1, 2, 1)),
        )


def test_slices_of_a_cell_are_one_pixel_apart(make_run, conv_info):
    info = conv_info(
        kernel_shape=(3, 2, 2, 1, 4), axes=(4, 1, 0, 2, 3), shape=(4, 2, 6, 1), bias=False
    )
    filmstrip = FilmstripPicture(select_from_run(make_run(info)), Look())
    layout = filmstrip.layout(4, 3, 2)
    picture = filmstrip.picture(range(4), layout)
    assert picture.shape == (4 * (2 * 3 + 2) + 2, 3 * (6 * 3 + 2 + 2) + 2, 3)
    for line in (2 + 6, 2 + 6 + 1 + 6):
        assert (picture[:, line] == theme_palette()[SEPARATOR]).all()


@KINDS
@pytest.mark.parametrize("side", [100, 320])
def test_a_card_has_labels_above_its_grid(filmstrip_of, kernel_shape, side):
    """The first rows, about as high as wide, no larger than given."""
    _, filmstrip = filmstrip_of(kernel_shape, steps=range(8))
    card = filmstrip.card(side)
    size = line_height(font_size(side))
    bar = bar_height(font_size(side)) if filmstrip.bars else 0
    grid, labels = card[size : len(card) - bar], card[:size]
    assert max(grid.shape[:2]) <= side
    background = theme_palette()[BACKGROUND]
    assert (labels != background).any()
    view, columns = filmstrip.view, filmstrip.columns
    rows = next(
        n
        for n in range(1, filmstrip.rows + 1)
        if n == filmstrip.rows or (n + 1) * view.height > columns * view.width
    )
    fits = [
        picture
        for scale in range(1, side)
        for gap in range(1, 5)
        if (layout := filmstrip.layout(rows, scale, gap)).shape == grid.shape[:2]
        for picture in [filmstrip.picture(range(rows), layout)]
    ]
    assert any((picture == grid).all() for picture in fits)


@pytest.mark.parametrize("delta", [False, True])
def test_a_card_has_the_scale_bar_below_its_grid(make_run, conv_info, delta):
    """With the colours of its part; none where a weight has three values."""
    grey, colour = conv_info("grey", (5, 5, 1, 4)), conv_info("colour", (5, 5, 3, 4))
    run = make_run(grey, colour)
    look = Look(delta=delta, theme="light")
    strip = FilmstripPicture(select_from_run(run, layers="grey"), look)
    card, size = strip.card(320), font_size(320)
    low = "decreased" if delta else "lowest"
    (texts, colours), levels = strip.bars[0], strip.levels[0]
    assert texts.low == low
    note = strip.title[-2]
    expected = draw_scale_bar(texts, card.shape[1], size, levels, note)
    bar = card[-bar_height(size) :]
    np.testing.assert_array_equal(bar, strip.palette[expected])
    for end in (colours[0], colours[-1]):
        assert (bar == end).all(axis=-1).any()
    strip = FilmstripPicture(select_from_run(run, layers="colour"), look)
    assert not strip.bars
    assert len(strip.card(320)) < len(card)


def test_labels_of_a_card_are_centred_above_their_columns(filmstrip_of):
    _, filmstrip = filmstrip_of((5, 5, 1, 9), steps=range(8))
    card = filmstrip.card(640)
    labels = (card[: line_height(font_size(640))] != theme_palette()[BACKGROUND]).any(axis=(0, 2))
    pitch = card.shape[1] / 8
    for number in range(8):
        ink = np.flatnonzero(labels[round(number * pitch) : round((number + 1) * pitch)])
        assert (ink.min() + ink.max()) / 2 == pytest.approx(pitch / 2, abs=3)


@pytest.mark.parametrize(
    ("theme", "layer", "gap"), [("dark", "conv1", 3), ("light", "conv2", 4), ("light", "conv1", 5)]
)
def test_outlines_have_the_colour_of_the_label_at_each_step(planted_run, theme, layer, gap):
    """All weights are as without outlines."""
    selection = select_from_run(planted_run, layers=layer)
    plain = FilmstripPicture(selection, Look(theme=theme))
    filmstrip = FilmstripPicture(selection, Look(theme=theme, outline=True))
    assert filmstrip.outlined
    assert not plain.outlined
    scale, width, side = 2, (gap - 1) // 2, 14
    picture = filmstrip.picture(range(filmstrip.rows), filmstrip.layout(filmstrip.rows, scale, gap))
    expected = plain.picture(range(filmstrip.rows), plain.layout(filmstrip.rows, scale, gap))
    changed = False
    for column, step in enumerate(filmstrip.steps):
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


def test_some_rows_have_the_same_outlines_as_in_the_whole(planted_run):
    """Also in another order."""
    selection = select_from_run(planted_run, layers="conv1")
    every = FilmstripPicture(selection, Look(outline=True))
    for filmstrip, numbers in (
        (every, range(2, 5)),
        (FilmstripPicture(selection, Look(outline=True, filters=[6, 4, 0])), [6, 4, 0]),
    ):
        rows = numbers if filmstrip is every else range(3)
        picture = filmstrip.picture(rows, filmstrip.layout(3, 2, 3))
        for index, number in enumerate(numbers):
            one = every.picture(range(number, number + 1), every.layout(1, 2, 3))
            top = index * (14 + 3) + 2  # the line of the row above ends there
            np.testing.assert_array_equal(picture[top : top + len(one) - 4], one[2:-2])


def test_rows_are_ordered_by_label(planted_run):
    """Edges, blobs, colour blobs, other structure, the others."""
    filmstrip = FilmstripPicture(select_from_run(planted_run, layers="conv1"), Look(order="label"))
    names = label(planted_run.kernels("conv1", 20)).names[filmstrip.numbers].tolist()
    assert names[:5] == ["edge", "edge", "blob", "colour blob", "other structure"]
    assert names[5:] == ["unstructured"] * 3


def test_a_block_with_fewer_rows_can_be_outlined(planted_run):
    filmstrip = FilmstripPicture(select_from_run(planted_run, layers="conv2"), Look(outline=True))
    picture = filmstrip.picture(range(3, 4), filmstrip.layout(2, 2, 3))
    one = filmstrip.picture(range(3, 4), filmstrip.layout(1, 2, 3))
    np.testing.assert_array_equal(picture[: len(one)], one)


@KINDS
@pytest.mark.parametrize("scale", ["frame", "filter", "layer"])
def test_two_parts_have_the_pictures_of_each_alone(filmstrip_of, kernel_shape, scale):
    """With all rows and columns, in the entries of their own colormap."""
    run, filmstrip = filmstrip_of(kernel_shape, delta=None, scale=scale)
    layout = filmstrip.layout(filmstrip.rows, 3, 2)
    rows = range(filmstrip.rows)
    assert [part.look.delta for part in filmstrip.parts] == [False, True]
    for number, delta in enumerate((False, True)):
        look = Look(delta=delta, scale=scale)
        alone = FilmstripPicture(select_from_run(run), look)
        picture = filmstrip.picture(rows, layout, number)
        expected = alone.picture(rows, layout)
        if kernel_shape == COLOUR:
            np.testing.assert_array_equal(picture, expected)
        else:  # with half of the entries
            assert len(filmstrip.levels[number]) == 117
            assert np.abs(picture.astype(int) - expected).max() <= 6
        (texts, colours), *rest = alone.bars or [(None, None)]
        assert not rest
        if texts:
            assert filmstrip.bars[number][0] == texts
            np.testing.assert_array_equal(filmstrip.bars[number][1][[0, -1]], colours[[0, -1]])


def test_unchanged_filters_have_a_blank_second_part(write_run, conv_info, rng):
    """And the title says that nothing was learned."""
    info = conv_info(kernel_shape=(3, 3, 1, 4), bias=False)
    start = rng.normal(size=info.shape)
    noise = 1e-7 * rng.normal(size=(3, *info.shape))
    filmstrip = FilmstripPicture(select_from_run(write_run(info, start + noise)), Look())
    layout = filmstrip.layout(4, 3, 2)
    picture = filmstrip.picture(range(4), layout, 1)
    zero = colormap_levels("RdBu_r", 117)[58]
    colours = set(map(tuple, picture.reshape(-1, 3).tolist()))
    assert colours == {tuple(zero.tolist()), THEMES["dark"].separator}
    assert "learned: nothing (all changes are below 0.4%)" in filmstrip.title


def test_all_channels_are_the_rows_of_a_filter(filmstrip_of):
    """One below the other, with the number of the filter at each."""
    run, filmstrip = filmstrip_of((3, 2, 4, 6), channels="all", filters=[4, 1])
    assert filmstrip.rows == 8
    assert filmstrip.numbers == [4, 4, 4, 4, 1, 1, 1, 1]
    picture = filmstrip.picture(range(5, 6), filmstrip.layout(1, 1, 1))
    kernels = run.kernels("conv1", 0)[1].astype(float)
    unit = (kernels[..., 1] - kernels.min()) / (kernels.max() - kernels.min())
    np.testing.assert_array_equal(
        picture[1:4, 1:3, 0], np.rint(np.rint(234 * unit) * 255 / 234).astype(np.uint8)
    )
