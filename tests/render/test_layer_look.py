import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from filtertrack import FiltertrackError
from filtertrack.render.cells import view_of
from filtertrack.render.grid import to_levels
from filtertrack.render.layer_look import (
    NOTICEABLE,
    bar_texts,
    check_look,
    describe_cells,
    describe_part,
    describe_scale,
    is_smoothed,
    noticeable_change,
    range_of_changes,
    without_small_changes,
)
from filtertrack.render.look import Look
from filtertrack.render.palette import LEVELS
from filtertrack.render.scale_bar import BarTexts
from filtertrack.render.value_range import NO_RANGE, ValueRange, range_of_cells

MATRIX, GREY, COLOUR, DEEP = (1, 1, 4, 8), (3, 3, 1, 4), (3, 3, 3, 5), (3, 3, 8, 5)


def check(look, *infos):
    check_look(look, infos, [view_of(info, look.channels) for info in infos])


@pytest.fixture
def line_info(conv_info):
    """Return a function that describes a Conv1D."""

    def make(length, channels, filters=7):
        return conv_info(
            kernel_shape=(length, channels, filters),
            axes=(2, 0, 1),
            shape=(filters, 1, length, channels),
        )

    return make


def test_a_colormap_needs_a_layer_with_one_value_a_pixel(conv_info):
    """It is refused for three input channels together, and accepted for one or each of them."""
    info = conv_info(kernel_shape=COLOUR)
    check(Look(colormap="viridis", channels=0), info)
    check(Look(colormap="viridis", channels="all"), info)
    for channels in (None, (2, 1, 0), (0, 1)):
        with pytest.raises(FiltertrackError, match="own colours"):
            check(Look(colormap="viridis", channels=channels), info)


def test_outlines_need_a_layer_with_filters(conv_info):
    """They are refused for 1x1 kernels alone, and accepted beside other layers."""
    matrix, grey = (conv_info(kernel_shape=shape) for shape in (MATRIX, GREY))
    with pytest.raises(FiltertrackError, match="outline: 1x1 kernels are drawn as one matrix"):
        check(Look(outline=True), matrix, matrix)
    check(Look(outline=True), matrix, grey)
    check(Look(), matrix)


def test_interpolation_needs_a_kernel_of_5x5_weights(conv_info):
    """It is refused where all kernels are smaller; slices of a 3-D kernel count one by one."""
    small, large = conv_info(kernel_shape=GREY), conv_info(kernel_shape=(5, 5, 1, 4))
    slices = conv_info(kernel_shape=(2, 5, 4, 1, 3), axes=(4, 1, 0, 2, 3), shape=(3, 5, 8, 1))
    assert [is_smoothed(Look(smooth=True), info) for info in (small, large, slices)] == [
        False,
        True,
        False,
    ]
    assert not is_smoothed(Look(), large)
    check(Look(smooth=True), small, large)
    with pytest.raises(
        FiltertrackError, match=r"smooth: kernels of at least 5 weights.*conv1 are smal"
    ):
        check(Look(smooth=True), small, slices)


def test_each_channel_needs_a_name(conv_info):
    """The error names the layer, and both numbers."""
    check(Look(channel_names=["r", "g", "b"]), conv_info(kernel_shape=COLOUR))
    for names, count in ((["r", "g"], 2), (["r", "g", "b", "nir"], 4)):
        expected = rf"channel_names: conv1 has 3 input channels, got {count} names"
        with pytest.raises(FiltertrackError, match=expected):
            check(Look(channel_names=names), conv_info(kernel_shape=COLOUR))


@pytest.mark.parametrize(
    ("shape", "look", "phrases"),
    [
        (GREY, {}, []),
        (COLOUR, {}, []),
        (MATRIX, {}, []),
        (COLOUR, {"channels": 2}, ["channel 2"]),
        (COLOUR, {"channels": "g", "channel_names": ["r", "g", "b"]}, ["channel g"]),
        (COLOUR, {"channels": "bgr"}, ["channels 2 red, 1 green, 0 blue"]),
        (COLOUR, {"channels": (2, 0)}, ["channels 2 orange, 0 blue"]),
        (
            DEEP,
            {"channels": ("nir", "b"), "channel_names": ["b", "g", "r", "nir", *"wxyz"]},
            ["channels nir orange, b blue"],
        ),
        (DEEP, {}, ["strongest pattern of 8 channels"]),
        (COLOUR, {"channels": "all"}, ["a cell a channel: 3 channels"]),
        (
            COLOUR,
            {"channels": "all", "channel_names": ["r", "g", "b"]},
            ["a cell a channel: r, g, b"],
        ),
        (
            (3, 3, 9, 2),
            {"channels": "all", "channel_names": list("abcdefghi")},
            ["a cell a channel: a, b, c, d, e, f, g, h, …"],
        ),
        ((5, 5, 1, 4), {"smooth": True}, ["interpolated between weights"]),
        (
            (5, 5, 8, 4),
            {"smooth": True},
            ["strongest pattern of 8 channels", "interpolated between weights"],
        ),
    ],
    ids=str,
)
def test_a_cell_is_described(conv_info, shape, look, phrases):
    """One phrase for each step between the weights and the picture; none for plain weights."""
    info, made = conv_info(kernel_shape=shape), Look(**look)
    assert describe_cells(made, info, view_of(info, made.channels)) == phrases


@pytest.mark.parametrize(
    ("names", "words"), [(None, "4 channels"), (list("ACGT"), "A, C, G, T")], ids=str
)
def test_a_heat_map_is_described(line_info, names, words):
    """What is down and what is across."""
    info, look = line_info(6, 4), Look(channel_names=names)
    phrases = describe_cells(look, info, view_of(info))
    assert phrases == [f"down: {words}; across: positions"]


def test_a_curve_is_described(line_info):
    """With its spectrum, if that is beside it."""
    info = line_info(64, 1)
    view = view_of(info)
    wider = replace(view, width=2 * view.width)
    assert describe_cells(Look(), info, view) == ["weights as a curve"]
    assert (
        describe_cells(Look(), info, wider)[1]
        == "beside it its spectrum: 0 to half the sampling rate, 0 to -60 dB"
    )


def test_the_explained_share_is_a_percentage(conv_info):
    """Left out where it is not known."""
    info = conv_info(kernel_shape=DEEP)
    view = view_of(info)
    plain = "strongest pattern of 8 channels"
    for share, text in (
        (0.347, f"{plain}, on average 35% of a filter"),
        (np.nan, plain),
        (None, plain),
    ):
        assert describe_cells(Look(), info, view, share) == [text]


def test_a_part_is_described():
    """The filters or the difference with the largest value drawn, or that nothing was learned."""
    filters, learned = Look(delta=False), Look(delta=True)
    assert describe_part(filters, largest=0.4521) == "filters, up to 0.452"
    assert describe_part(filters, largest=math.nan) == "filters"
    assert describe_part(learned, largest=12.0) == "learned, up to 12.0"
    text = describe_part(learned, largest=12.0, since="the start")
    assert text == "learned: difference from the start, up to 12.0"
    nothing = describe_part(learned, largest=0.0)
    assert nothing == "learned: nothing (all changes are below 0.4%)"
    assert float(nothing.split()[-1].rstrip("%)")) / 100 == pytest.approx(NOTICEABLE, rel=0.03)


def test_a_scale_is_described(conv_info):
    """A matrix has nothing to share a scale with; a difference in colour says what no change is."""
    grey, matrix, colour = (view_of(conv_info(kernel_shape=s)) for s in (GREY, MATRIX, COLOUR))
    texts = [describe_scale(Look(scale=scale), grey) for scale in ("frame", "filter", "layer")]
    assert texts == [
        "each filter has its own scale at each step",
        "each filter has its own fixed scale",
        "all filters have one fixed scale",
    ]
    assert not describe_scale(Look(scale="filter"), matrix)
    assert not describe_scale(Look(), grey)
    words = describe_scale(Look(scale="layer", delta=True), colour)
    assert words == "grey: no change · all filters have one fixed scale"


RANGE = ValueRange(np.array([-0.5, -0.5]), np.array([0.25, 0.25]))


@pytest.mark.parametrize(
    ("look", "values", "texts"),
    [
        ({"scale": "frame"}, NO_RANGE, ("lowest", "", "highest")),
        ({"scale": "filter"}, RANGE, ("lowest", "", "highest")),
        ({"scale": "filter", "zero_centred": True}, RANGE, ("negative", "0", "positive")),
        ({"scale": "filter", "delta": True}, RANGE, ("decreased", "0", "increased")),
        ({"scale": "layer", "delta": False}, RANGE, ("-0.500", "", "0.250")),
        (
            {"scale": "layer", "delta": True},
            RANGE.zero_centred(),
            ("-0.500", "0", "+0.500"),
        ),
        (
            {"scale": "layer", "zero_centred": True},
            RANGE.zero_centred(),
            ("-0.500", "0", "+0.500"),
        ),
    ],
    ids=str,
)
def test_bar_texts(conv_info, look, values, texts):
    """Words where each cell has its own range; numbers where all have one."""
    view = view_of(conv_info(kernel_shape=GREY))
    assert bar_texts(Look(**look), view, values) == BarTexts(*texts)


def test_a_scale_without_finite_weights_has_words(conv_info):
    """Not the infinities of its empty range."""
    view = view_of(conv_info(kernel_shape=GREY))
    values = range_of_cells(np.full((4, 3, 3, 1), np.nan), "layer")
    assert bar_texts(Look(scale="layer"), view, values) == BarTexts("lowest", "", "highest")


def test_the_bar_of_a_matrix_has_numbers(conv_info):
    """Over the run it is one cell; at each frame its range is another."""
    view = view_of(conv_info(kernel_shape=MATRIX))
    one = ValueRange(np.array([-2.0]), np.array([1.0]))
    assert bar_texts(Look(scale="filter"), view, one) == BarTexts("-2.000", "", "1.000")
    assert bar_texts(Look(scale="frame"), view, NO_RANGE) == BarTexts("lowest", "", "highest")


def test_colours_and_curves_have_no_bar(conv_info, line_info):
    """A pixel of a colour filter has three values; a curve has an axis."""
    for view in (
        view_of(conv_info(kernel_shape=COLOUR)),
        view_of(conv_info(kernel_shape=DEEP), (0, 1)),
        view_of(line_info(64, 1)),
    ):
        assert bar_texts(Look(scale="filter"), view, RANGE) is None


def test_a_change_is_noticeable_from_one_grey_level_on(rng):
    """Of the filter's largest weight at the start; the cells of a filter have one bound."""
    start = rng.normal(size=(6, 3, 4, 1))
    largest = np.abs(start).max(axis=(1, 2, 3))
    np.testing.assert_allclose(noticeable_change(start), largest / 256)
    together = largest.reshape(2, 3).max(axis=1).repeat(3) / 256
    np.testing.assert_allclose(noticeable_change(start, 3), together)


def test_zero_and_broken_starts_have_a_finite_bound():
    """Of zero if nothing is finite: each change is then noticeable."""
    start = np.zeros((4, 2, 2, 1))
    start[1, 0, 0], start[2, 0, 0], start[3] = np.nan, np.inf, -np.inf
    start[1, 1, 1] = -2.56
    np.testing.assert_allclose(noticeable_change(start), [0, 0.01, 0, 0])


CHANGES = arrays(np.float64, (3, 2, 2, 1), elements=st.floats(-1, 1))


@given(CHANGES, st.floats(0, 0.5))
def test_small_changes_have_the_colour_of_no_change(changes, least):
    """The others keep their sign, and none of the small ones has another entry than zero."""
    noticeable = np.full(3, least)
    kept = without_small_changes(changes, noticeable)
    small = np.abs(changes) < least
    assert not kept[small].any()
    np.testing.assert_array_equal(kept[~small], changes[~small])
    entries = to_levels(kept, range_of_changes(range_of_cells(kept), noticeable))
    middle = (LEVELS - 1) // 2
    assert (entries[small[..., 0]] == middle).all()
    assert (entries[kept[..., 0] > 0] >= middle).all()
    assert (entries[kept[..., 0] < 0] <= middle).all()


@given(CHANGES, st.floats(0.001, 0.5))
def test_the_full_colour_is_at_least_four_noticeable_changes(changes, least):
    """Zero is in the middle; larger changes widen the range."""
    values = range_of_changes(range_of_cells(changes), np.full(3, least))
    np.testing.assert_array_equal(values.low, -values.high)
    largest = np.abs(changes).max(axis=(1, 2, 3))
    np.testing.assert_array_equal(values.high, np.maximum(4 * least, largest))


def test_changes_that_are_not_finite_are_kept():
    """They are drawn magenta."""
    cells = np.array([np.nan, np.inf, -np.inf, 0.001]).reshape(1, 2, 2, 1)
    kept = without_small_changes(cells, np.array([0.5]))
    np.testing.assert_array_equal(kept.ravel(), [np.nan, np.inf, -np.inf, 0.0])
