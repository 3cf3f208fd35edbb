import io
import time
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from filtertrack.render import grid
from filtertrack.render.cells import to_cells, view_of
from filtertrack.render.encoders.png import to_png
from filtertrack.render.grid import PAGE, Layout, draw_pages, to_image, to_levels, to_rgb
from filtertrack.render.palette import (
    LEVELS,
    NOT_FINITE,
    NOT_FINITE_RGB,
    SEPARATOR,
    colormap_levels,
    outline_entries,
    theme_palette,
)
from filtertrack.render.palette import OUTLINED as OUTLINED_LABELS
from filtertrack.render.value_range import range_of_cells

SIDES = st.integers(1, 12)
LAYOUTS = st.tuples(st.integers(1, 4), st.integers(1, 4)).flatmap(
    lambda parts: st.builds(
        Layout.fit,
        count=st.integers(0, 20).map(lambda filters: filters * parts[1]),
        height=SIDES,
        width=st.integers(1, 4).map(lambda width: width * parts[0]),
        side=st.integers(1, 300),
        slices=st.just(parts[0]),
        columns=st.none() | st.integers(1, 25),
        even=st.booleans(),
        together=st.just(parts[1]),
    )
)


OUTLINED = st.integers(1, 4).flatmap(
    lambda slices: (
        st.builds(
            Layout.fit,
            count=st.integers(0, 20),
            height=SIDES,
            width=st.integers(1, 4).map(lambda width: width * slices),
            side=st.integers(1, 400),
            slices=st.just(slices),
            columns=st.none() | st.integers(1, 25),
            even=st.booleans(),
            outlined=st.just(True),
        )
        | st.builds(
            Layout,
            count=st.integers(1, 9),
            height=SIDES,
            width=st.just(3 * slices),
            columns=st.integers(1, 4),
            scale=st.integers(1, 4),
            gap=st.integers(3, 9),
            slices=st.just(slices),
        )
        | st.builds(
            Layout,
            count=st.just(12),
            height=SIDES,
            width=st.just(2 * slices),
            columns=st.sampled_from([3, 6]),
            scale=st.integers(1, 4),
            gap=st.integers(3, 9),
            slices=st.just(slices),
            together=st.just(3),
        )
    )
)


def gabors(count, size=9, channels=1):
    """Return edges at all angles, and in opponent colours if there are three channels."""
    y, x = np.mgrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j]
    filters = []
    for number in range(count):
        angle = np.pi * number / count
        along = x * np.cos(angle) + y * np.sin(angle)
        wave = np.exp(-2 * (x**2 + y**2)) * np.sin(4 * along)
        tint = np.cos(2 * np.pi * number / count + np.arange(channels) * 2 * np.pi / 3)
        filters.append(wave[..., None] * (tint if channels > 1 else 1))
    return np.stack(filters)


def blobs(count, size, channels):
    """Return blobs at different positions, weighted over many channels."""
    y, x = np.mgrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j]
    angles = 2 * np.pi * np.arange(count) / count
    weights = np.random.default_rng(0).uniform(0.1, 1, channels)
    spots = [np.exp(-3 * ((x - 0.6 * np.cos(a)) ** 2 + (y - 0.6 * np.sin(a)) ** 2)) for a in angles]
    return np.multiply.outer(np.stack(spots), weights)


def pages(conv_info, kernels, side=320):
    filters, height, width, channels = kernels.shape
    view = view_of(conv_info(kernel_shape=(height, width, channels, filters)))
    cells = to_cells(view, kernels)
    return draw_pages(view, cells, range_of_cells(cells), side)


@given(st.integers(1, 200), SIDES, SIDES, st.integers(16, 900))
def test_layout_fits(count, height, width, side):
    """Not longer than asked unless one pixel per weight is; a position per cell; visible gaps."""
    layout = Layout.fit(count, height, width, side)
    assert layout.rows * layout.columns >= count
    assert (layout.rows - 1) * layout.columns < count
    assert layout.scale >= 1
    assert layout.gap >= side / 200 or layout.scale == 1, "narrowed only for one pixel per weight"
    if layout.scale > 1:
        assert max(layout.shape) <= side
    larger = Layout(count, height, width, layout.columns, layout.scale + 1, layout.gap)
    assert max(larger.shape) > side, "the magnification is the largest that fits"


@given(st.integers(0, 200), SIDES, SIDES, st.integers(16, 900), st.integers(1, 250))
def test_layout_with_given_columns(count, height, width, side, columns):
    """That many, but at most the number of cells; the size limit holds as well."""
    layout = Layout.fit(count, height, width, side, columns=columns)
    assert layout.columns == min(columns, max(count, 1))
    assert layout.rows * layout.columns >= count
    assert (layout.rows - 1) * layout.columns < max(count, 1)
    if layout.scale > 1:
        assert max(layout.shape) <= side
    larger = Layout(layout.count, height, width, layout.columns, layout.scale + 1, layout.gap)
    assert max(larger.shape) > side, "the magnification is the largest that fits"


@given(st.integers(1, 200), SIDES, SIDES, st.integers(16, 900), st.none() | st.integers(1, 30))
def test_even_layout(count, height, width, side, columns):
    """Every cell and weight begins at an even pixel, if that fits; the largest that does."""
    layout = Layout.fit(count, height, width, side, columns=columns, even=True)
    assert layout.gap % 2 == 0
    if layout.gap < side / 200:
        wider = Layout(count, height, width, layout.columns, 1, layout.gap + 2)
        assert max(wider.shape) > side, "narrowed only if no pixel is left for a weight"
    assert layout.columns == Layout.fit(count, height, width, side, columns=columns).columns
    if layout.scale > 1:
        assert layout.scale % 2 == 0
        assert max(layout.shape) <= side
        assert [pixels % 2 for pixels in layout.shape] == [0, 0]
    more = layout.scale + 2 - layout.scale % 2
    larger = Layout(count, height, width, layout.columns, more, layout.gap)
    assert max(larger.shape) > side


@given(LAYOUTS, st.booleans())
def test_shape_is_that_of_the_picture(layout, coloured):
    """Also with slices and with empty positions."""
    channels, fill = ((3,), (7, 8, 9)) if coloured else ((), 7)
    for count in (layout.count, layout.count // 2, 0):
        cells = np.full((count, layout.height, layout.width, *channels), 200, np.uint8)
        picture = layout.compose(cells, fill)
        assert picture.shape == (*layout.shape, *channels)
        shown = (picture == 200).reshape(*layout.shape, -1).all(axis=-1)
        weights = count * layout.height * layout.width
        assert shown.sum() == weights * layout.scale**2, "every weight is drawn"


@given(st.integers(1, 12), SIDES, SIDES, st.integers(30, 200), st.booleans())
def test_each_weight_is_a_square_of_one_colour(count, height, width, side, coloured):
    """Every pixel belongs to the right weight or to a separator."""
    layout = Layout.fit(count, height, width, side)
    channels = (3,) if coloured else ()
    cells = np.random.default_rng(0).integers(0, 200, (count, height, width, *channels), np.uint8)
    fill = (255, 254, 253) if coloured else 255
    picture = layout.compose(cells, fill)
    assert picture.shape == (*layout.shape, *channels)
    expected = np.empty_like(picture)
    expected[:] = fill
    for number, cell in enumerate(cells):
        row, column = divmod(number, layout.columns)
        top = layout.gap + row * (height * layout.scale + layout.gap)
        left = layout.gap + column * (width * layout.scale + layout.gap)
        large = cell.repeat(layout.scale, axis=0).repeat(layout.scale, axis=1)
        expected[top : top + large.shape[0], left : left + large.shape[1]] = large
    np.testing.assert_array_equal(picture, expected)


@given(
    st.integers(0, 60),
    st.integers(2, 8),
    SIDES,
    SIDES,
    st.integers(16, 900),
    st.none() | st.integers(1, 30),
    st.booleans(),
)
def test_cells_of_a_filter_are_together(filters, together, height, width, side, columns, even):  # noqa: PLR0917
    """In one row, whole filters in each; not longer than asked, and the largest that fits."""
    options = {"columns": columns, "together": together, "even": even}
    layout = Layout.fit(filters * together, height, width, side, **options)
    across, rest = divmod(layout.columns, together)
    assert not rest
    if columns is not None:
        assert across == min(columns, max(filters, 1))
    assert (layout.rows - 1) * across < max(filters, 1) <= layout.rows * across
    if layout.scale > 1:
        assert max(layout.shape) <= side
        if even:
            assert [pixels % 2 for pixels in layout.shape] == [0, 0]
    more = layout.scale + 1 + (even and layout.scale > 1)
    assert max(replace(layout, scale=more + (even and more % 2)).shape) > side


def test_many_filters_of_few_cells_fill_a_grid():
    """Several filters in a row; few of them have a row each."""
    many, few = (Layout.fit(filters * 3, 9, 9, 640, together=3) for filters in (48, 8))
    assert (few.columns, few.rows) == (3, 8)
    assert many.scale >= 5, "the weights of one column of 48 filters would have one pixel"
    assert 0.5 < many.shape[0] / many.shape[1] < 2


def boxes(layout):
    """Return top, bottom, left and right of each cell, the ends exclusive."""
    high, wide = layout.height * layout.scale, layout.width * layout.scale + layout.slices - 1
    for number in range(layout.count):
        row, column = divmod(number, layout.columns)
        top, left = (
            layout.gap + row * (high + layout.gap),
            layout.gap + column * (wide + layout.gap),
        )
        if layout.together > 1:  # the space between filters is four gaps
            left += 3 * layout.gap * (column // layout.together)
        yield top, top + high, left, left + wide


@given(OUTLINED, st.booleans())
def test_outlines_surround_their_cells(layout, coloured):
    """The same width on all sides; no weight and no other outline is overwritten."""
    channels, fill = ((3,), (7, 8, 9)) if coloured else ((), 250)
    rng = np.random.default_rng(0)
    cells = rng.integers(0, 200, (layout.count, layout.height, layout.width, *channels), np.uint8)
    outlines = rng.integers(201, 250, (layout.count, *channels), np.uint8)
    plain = layout.compose(cells, fill)
    picture = layout.compose(cells, fill, outlines)
    assert layout.gap >= 3
    line = (layout.gap - 1) // 2
    owner = np.zeros(layout.shape, int)
    expected = plain.copy()
    for number, (top, bottom, left, right) in enumerate(boxes(layout)):
        around = np.zeros(layout.shape, bool)
        assert min(top, left) > line, "a separator at the edge of the picture, too"
        around[top - line : bottom + line, left - line : right + line] = True
        around[top:bottom, left:right] = False
        assert not owner[around].any()
        owner[around] = number + 1
        expected[around] = outlines[number]
    np.testing.assert_array_equal(picture, expected)
    inside = owner > 0
    assert (plain[inside] == fill).all(), "only separators are overwritten"
    for axis in (0, 1):
        one, other = (
            owner.take(range(start, owner.shape[axis] - 1 + start), axis) for start in (0, 1)
        )
        assert (one == other)[(one > 0) & (other > 0)].all(), "no two outlines touch"


@given(OUTLINED)
def test_no_outlines_are_separators(layout):
    """The picture is the same with None and with the separator for every cell."""
    cells = np.random.default_rng(0).integers(
        0, 200, (layout.count, layout.height, layout.width), np.uint8
    )
    plain = layout.compose(cells, SEPARATOR)
    none = np.full(layout.count, SEPARATOR, np.uint8)
    np.testing.assert_array_equal(layout.compose(cells, SEPARATOR, none), plain)
    np.testing.assert_array_equal(layout.compose(cells, SEPARATOR, None), plain)


@given(st.integers(0, 200), SIDES, SIDES, st.integers(16, 900), st.booleans())
def test_outlined_layout_fits(count, height, width, side, even):
    """The gap holds two outlines and a line between; not longer than asked, if possible."""
    layout = Layout.fit(count, height, width, side, even=even, outlined=True)

    assert layout.gap >= (4 if even else 3)
    assert layout.gap % (2 if even else 1) == 0
    assert layout.gap >= side / 80 or layout.scale <= (4 if even else 2), "narrowed only if needed"
    if layout.scale > 1:
        assert max(layout.shape) <= side
        assert layout.scale % (2 if even else 1) == 0
    plain = Layout.fit(count, height, width, side, even=even)
    assert layout.scale <= plain.scale
    assert layout.columns == plain.columns


@pytest.mark.parametrize("gap", [0, 1, 2])
def test_narrow_gaps_have_no_outlines(gap):
    """An outline would overwrite weights or another outline."""
    layout = Layout(6, 3, 4, 3, 2, gap)
    cells = np.zeros((6, 3, 4), np.uint8)
    picture = layout.compose(cells, 250, np.full(6, 99, np.uint8))
    np.testing.assert_array_equal(picture, layout.compose(cells, 250))


def test_outlined_layout_without_cells():
    """An empty position has no outline, and is no error."""
    layout = Layout.fit(0, 3, 3, 100, outlined=True)
    picture = layout.compose(np.zeros((0, 3, 3), np.uint8), 250, np.zeros(0, np.uint8))
    assert (picture == 250).all()


def test_levels_and_colours(rng):
    """The lowest weight is darkest, the highest lightest, one that is not finite magenta."""
    cells = rng.normal(size=(3, 4, 4, 3))
    cells[1, 2, 2, 0] = np.nan
    rgb, grey = to_rgb(cells, range_of_cells(cells)), cells[..., :1]
    assert [(cell.min(), cell.max()) for cell in rgb[[0, 2]]] == [(0, 255)] * 2
    assert tuple(rgb[1, 2, 2]) == NOT_FINITE_RGB
    levels = to_levels(grey, range_of_cells(grey))
    assert (levels[0].min(), levels[0].max()) == (0, LEVELS - 1)
    assert levels[1, 2, 2] == NOT_FINITE
    assert np.count_nonzero(levels == NOT_FINITE) == 1


@given(
    arrays(np.float64, (2, 3, 3, 1), elements=st.floats(-10, 10)),
    st.integers(0, 120),
    st.integers(1, 57),
)
def test_levels_of_a_colormap_that_has_some_entries(cells, start, half):
    """Zero in the middle of a range has the middle entry, exactly; magenta has its own."""
    levels = range(start, start + 2 * half + 1)
    values = range_of_cells(cells).zero_centred()
    entries = to_levels(cells, values, levels)
    assert set(entries.ravel().tolist()) <= set(levels)
    middle = levels[half]
    assert (entries[cells[..., 0] == 0] == middle).all()
    unit = to_levels(cells, values, range(2 * half + 1))
    np.testing.assert_array_equal(entries, unit + start)
    cells[0, 1, 1] = np.nan
    assert to_levels(cells, values, levels)[0, 1, 1] == NOT_FINITE


@pytest.mark.parametrize("channels", [1, 3])
def test_png_decodes_to_the_picture(conv_info, channels):
    """By Pillow: palette entries and colours, every pixel."""
    (picture,) = pages(conv_info, gabors(8, channels=channels))
    with Image.open(io.BytesIO(to_png(picture))) as image:
        assert image.mode == ("P" if channels == 1 else "RGB")
        np.testing.assert_array_equal(np.asarray(image), picture)


def test_png_has_the_palette_that_is_given(conv_info):
    """That of a theme, for a page with text; colours have none."""
    (picture,) = pages(conv_info, gabors(8))
    palette = theme_palette("light", colormap_levels("RdBu_r"))
    with Image.open(io.BytesIO(to_png(picture, palette))) as image:
        np.testing.assert_array_equal(np.asarray(image.convert("RGB")), palette[picture])


@pytest.mark.parametrize(("count", "expected"), [(64, 1), (65, 2), (128, 2), (200, 4)])
def test_more_than_64_filters_are_split_into_pages(conv_info, rng, count, expected):
    """All pages have the same size and magnification; every filter is on one page."""
    kernels = rng.normal(size=(count, 5, 5, 1))
    drawn = pages(conv_info, kernels)
    assert len(drawn) == expected
    assert len({page.shape for page in drawn}) == 1
    assert max(drawn[0].shape) <= 320
    layout = Layout.fit(PAGE, 5, 5, 320)
    for number, levels in enumerate(to_levels(kernels, range_of_cells(kernels))):
        page, position = divmod(number, PAGE)
        row, column = divmod(position, layout.columns)
        step = 5 * layout.scale + layout.gap
        top, left = layout.gap + row * step, layout.gap + column * step
        cell = drawn[page][top : top + step - layout.gap, left : left + step - layout.gap]
        np.testing.assert_array_equal(cell[:: layout.scale, :: layout.scale], levels)
    assert (drawn[-1] == SEPARATOR).sum() > (drawn[0] == SEPARATOR).sum() or count % PAGE == 0


@pytest.mark.parametrize("size", [(3, 3), (1, 7), (9, 2)], ids=str)
@pytest.mark.parametrize("count", [5000, 65_536, 10**6 + 3])
def test_layout_of_many_cells_is_fast(count, size):
    """About as wide as high, or up to twice as wide, as for fewer cells."""
    began = time.process_time()
    layout = Layout.fit(count, *size, 640)
    assert time.process_time() - began < 1
    height, width = layout.rows * size[0], layout.columns * size[1]
    assert 0.9 < width / height < 2.2
    assert layout.rows * layout.columns - count < 0.01 * count


def test_columns_of_many_cells_are_the_best(monkeypatch):
    """The numbers of columns that are tried include the best of all."""
    found = {n: Layout.fit(n, 3, 3, 640).columns for n in (65, 500, 997, 4096)}
    monkeypatch.setattr(grid, "_MOST_TRIED", 64)
    assert {n: Layout.fit(n, 3, 3, 640).columns for n in found} == found


def test_golden_grey(conv_info, golden):
    """16 edges of 9x9 in grey."""
    golden("grey.png", to_image(pages(conv_info, gabors(16))[0]))


def test_golden_colour(conv_info, golden):
    """12 edges of 7x7 in colour."""
    golden("colour.png", to_image(pages(conv_info, gabors(12, 7, 3))[0]))


def test_golden_pattern(conv_info, golden):
    """10 blobs of 5x5 over 16 channels, collapsed to their patterns."""
    golden("pattern.png", to_image(pages(conv_info, blobs(10, 5, 16))[0]))


def test_golden_matrix(conv_info, golden):
    """A 1x1 kernel of 12 inputs and 20 filters: weights increase to the right and downward."""
    weights = np.add.outer(np.arange(20), 3 * np.arange(12)).reshape(20, 1, 1, 12)
    golden("matrix.png", to_image(pages(conv_info, weights)[0]))


def test_golden_pages(conv_info, golden):
    """80 edges of 5x5 on two pages."""
    first, second = pages(conv_info, gabors(80, 5))
    golden("page_1.png", to_image(first))
    golden("page_2.png", to_image(second))


def test_golden_slices(conv_info, golden):
    """6 blobs of 5x5x5, the five slices of each side by side with lines between."""
    z, y, x = np.mgrid[-1:1:5j, -1:1:5j, -1:1:5j]
    angles = np.arange(6)[:, None, None, None]
    spots = np.exp(-2 * ((z - np.cos(angles) / 2) ** 2 + (y - np.sin(angles) / 2) ** 2 + x**2))
    info = conv_info(
        kernel_shape=(5, 5, 5, 1, 6), axes=(4, 1, 0, 2, 3), shape=(6, 5, 25, 1), bias=False
    )
    cells = to_cells(view_of(info), info.canonical(spots.transpose(1, 2, 3, 0)[:, :, :, None]))
    (picture,) = draw_pages(view_of(info), cells, range_of_cells(cells), 320)
    assert max(picture.shape) <= 320
    golden("slices.png", to_image(picture))


def test_golden_strange(conv_info, golden):
    """Grey edges, one with a NaN, one with an infinity, one constant, one all NaN."""
    kernels = gabors(8)
    kernels[1, 2, 2] = np.nan
    kernels[2, 6, 6] = np.inf
    kernels[3] = 0.1
    kernels[4] = np.nan
    golden("strange.png", to_image(pages(conv_info, kernels)[0]))


def test_golden_outlined(golden):
    """7 edges of 5x5: each label in turn, then two without; the last position is empty."""
    kernels = gabors(7, 5)
    layout = Layout.fit(7, 5, 5, 160, outlined=True)
    labels = np.array([*OUTLINED_LABELS, "unstructured", "unknown"])
    tones = to_levels(kernels, range_of_cells(kernels))
    picture = layout.compose(tones, SEPARATOR, outline_entries(labels))
    image = Image.fromarray(picture)
    image.putpalette(theme_palette("dark").tobytes())
    golden("outlined.png", image)
