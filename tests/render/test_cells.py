import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.sparse.linalg import svds

from filtertrack import FiltertrackError
from filtertrack.render.cells import (
    CURVE_HEIGHT,
    CURVE_WIDTH,
    View,
    explain,
    explain_change,
    explain_scale,
    explained_share,
    is_image,
    strongest_pattern,
    to_cells,
    view_of,
)
from filtertrack.render.look import resolve_channels

KERNELS = st.tuples(*[st.integers(1, 4)] * 4).flatmap(
    lambda shape: arrays(np.float64, shape, elements=st.floats(-10, 10))
)


@pytest.mark.parametrize(
    ("kernel_shape", "view"),
    [
        ((5, 4, 1, 7), View("grey", 7, 5, 4)),
        ((5, 4, 3, 7), View("colour", 7, 5, 4)),
        ((5, 4, 2, 7), View("pattern", 7, 5, 4)),
        ((3, 3, 512, 7), View("pattern", 7, 3, 3)),
        ((1, 1, 16, 7), View("matrix", 1, 16, 7)),
        ((1, 1, 3, 7), View("matrix", 1, 3, 7)),
        ((1, 1, 1, 7), View("matrix", 1, 1, 7)),
        ((1, 64, 1, 7), View("grey", 7, 5, 64, repeated=5)),
        ((64, 1, 1, 7), View("grey", 7, 64, 5, repeated=5)),
        ((1, 64, 3, 7), View("colour", 7, 5, 64, repeated=5)),
        ((64, 1, 8, 7), View("pattern", 7, 64, 5, repeated=5)),
        ((1, 7, 1, 7), View("grey", 7, 1, 7)),
        ((1, 18, 1, 7), View("grey", 7, 2, 18, repeated=2)),
    ],
    ids=str,
)
def test_view_follows_from_the_shape(conv_info, kernel_shape, view):
    """Grey, colour, pattern or matrix; a long row or column is drawn several times as wide."""
    assert view_of(conv_info(kernel_shape=kernel_shape)) == view


@pytest.fixture
def line_info(conv_info):
    """Return a function that describes a Conv1D of a kernel's length, channels and filters."""

    def make(length, channels, filters=7):
        return conv_info(
            kernel_shape=(length, channels, filters),
            axes=(2, 0, 1),
            shape=(filters, 1, length, channels),
            class_name="Conv1D",
        )

    return make


@pytest.mark.parametrize(
    ("length", "channels", "view"),
    [
        (6, 4, View("heat map", 7, 4, 6)),
        (9, 3, View("heat map", 7, 3, 9)),
        (9, 2, View("heat map", 7, 2, 9)),
        (5, 64, View("heat map", 7, 64, 5)),
        (5, 65, View("pattern", 7, 1, 5)),
        (15, 1, View("grey", 7, 1, 15)),
        (16, 1, View("curve", 7, CURVE_HEIGHT, CURVE_WIDTH)),
        (1, 4, View("matrix", 1, 4, 7)),
    ],
    ids=str,
)
def test_view_of_a_1d_kernel(line_info, length, channels, view):
    """A heat map of channels by positions, a curve, or a pattern; never colours."""
    info = line_info(length, channels)
    assert not is_image(info)
    assert view_of(info) == view


@pytest.mark.parametrize(
    ("kernel_shape", "axes", "shape", "kind"),
    [
        ((7, 7, 3), (0, 1, 2), (1, 7, 7, 3), "colour"),
        ((8, 20, 20), (0, 1, 2), (8, 20, 20, 1), "grey"),
        ((7, 5), (0, 1), (1, 7, 5, 1), "grey"),
        ((20, 8), (1, 0), (8, 1, 20, 1), "curve"),
        ((9, 3), (0, 1), (1, 1, 9, 3), "heat map"),
    ],
    ids=["HWI", "OHW", "HW", "WO", "WI"],
)
def test_kernels_without_an_axis_for_filters_or_channels(
    conv_info, kernel_shape, axes, shape, kind
):
    """With a height they are images; without it they are 1-D."""
    info = replace(conv_info(), kernel_shape=kernel_shape, axes=axes, shape=shape)
    assert view_of(info).kind == kind
    assert is_image(info) == (shape[1] > 1)


def test_a_long_1d_kernel_without_curves_is_a_strip(line_info):
    """As TensorBoard's cards and the page draw it."""
    assert view_of(line_info(64, 1), curves=False) == View("grey", 7, 5, 64, repeated=5)


@pytest.mark.parametrize("channels", [2, 3, 4, 9])
def test_a_heat_map_has_channels_down_and_positions_across(line_info, rng, channels):
    """Also where it is asked for with ``channels="all"``."""
    info = line_info(6, channels)
    kernel = rng.normal(size=info.kernel_shape)
    for view in (view_of(info), view_of(info, "all")):
        cells = to_cells(view, info.canonical(kernel))
        assert cells.shape == (7, channels, 6, 1)
        for number, cell in enumerate(cells):
            np.testing.assert_array_equal(cell[..., 0], kernel[..., number].T)


def one_hot(motif, letters="ACGT"):
    """Return the 1-D filter that answers to a motif: ``(1, 1, length, letters)``."""
    return np.array([[[[float(letter == each) for each in letters] for letter in motif]]])


def test_motifs_of_equal_letter_positions_differ(line_info):
    """TATAAT and CATAAC differ by two letters, which a strongest pattern does not show."""
    view = view_of(line_info(6, 4, 1))
    one, other = (to_cells(view, one_hot(motif))[0, ..., 0] for motif in ("TATAAT", "CATAAC"))
    assert (one != other).sum() == 4
    assert (one != other)[:, 1:5].sum() == 0, "the letters between are the same"
    assert [int(column.argmax()) for column in one.T] == [3, 0, 3, 0, 0, 3]
    assert [int(column.argmax()) for column in other.T] == [1, 0, 3, 0, 0, 1]


@pytest.mark.parametrize(("height", "width"), [(1, 64), (64, 1)])
@pytest.mark.parametrize("channels", [None, 0, "strongest", "all", (0, 1), (2, 1, 0)])
def test_a_strip_repeats_its_row_or_column(conv_info, rng, height, width, channels):
    """Each repeat is the same; the weights are not changed."""
    info = conv_info(kernel_shape=(height, width, 3, 2))
    kernels, view = rng.normal(size=info.shape), view_of(info, channels)
    assert sorted((view.height, view.width)) == [5, 64]
    cells = to_cells(view, kernels)
    assert cells.shape == (view.count, view.height, view.width, 3 if view.coloured else 1)
    axis = 1 if height == 1 else 2
    once = cells.take([0], axis=axis)
    np.testing.assert_array_equal(cells, once.repeat(5, axis=axis))
    if channels == 0:
        np.testing.assert_array_equal(once, kernels[..., [0]])


@pytest.mark.parametrize("count", [1, 3, 8])
def test_single_channel_view(conv_info, rng, count):
    """Its own weights in grey, whatever the number of channels."""
    info = conv_info(kernel_shape=(5, 4, count, 7))
    kernels = rng.normal(size=info.shape)
    for channel in range(count):
        view = view_of(info, channel)
        assert view == View("grey", 7, 5, 4, channels=(channel,))
        np.testing.assert_array_equal(to_cells(view, kernels), kernels[..., [channel]])


def test_strongest_collapses_three_channels(conv_info, rng):
    """As for more than three channels by default; a single channel stays as it is."""
    info = conv_info(kernel_shape=(5, 4, 3, 7))
    kernels, view = rng.normal(size=info.shape), view_of(info, "strongest")
    assert view == View("pattern", 7, 5, 4)
    np.testing.assert_array_equal(to_cells(view, kernels), strongest_pattern(kernels))
    assert view_of(conv_info(kernel_shape=(5, 4, 1, 7)), "strongest").kind == "grey"


def test_single_channel_of_a_3d_kernel(conv_info, rng):
    """The slices stay side by side."""
    info = conv_info(kernel_shape=(2, 3, 4, 3, 5), axes=(4, 1, 0, 2, 3), shape=(5, 3, 8, 3))
    kernels, view = rng.normal(size=info.shape), view_of(info, 1)
    assert (view.kind, view.slices, view.width) == ("grey", 2, 8)
    np.testing.assert_array_equal(to_cells(view, kernels), kernels[..., [1]])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(kernels=KERNELS, data=st.data())
def test_any_channel_of_any_kernel(conv_info, kernels, data):
    """Its weights bit for bit; a 1x1 kernel has no such view."""
    filters, height, width, count = kernels.shape
    info = conv_info(kernel_shape=(height, width, count, filters))
    channel = data.draw(st.integers(0, count - 1))
    if height * width == 1:
        with pytest.raises(FiltertrackError, match="one matrix of all its channels"):
            view_of(info, channel)
        return
    view = view_of(info, channel)
    cells = to_cells(view, kernels)
    assert cells.shape == (view.count, view.height, view.width, 1)
    np.testing.assert_array_equal(cells[..., 0], kernels[..., channel])


@pytest.mark.parametrize("count", [1, 2, 3, 8])
def test_all_channels_have_a_cell_each(conv_info, rng, count):
    """A filter's channels follow one another."""
    info = conv_info(kernel_shape=(5, 4, count, 7))
    kernels, view = rng.normal(size=info.shape), view_of(info, "all")
    assert view == View("grey", 7 * count, 5, 4, cells_per_filter=count)
    assert view.filters == 7
    assert view.of_filters(2).count == 2 * count
    cells = to_cells(view, kernels)
    for number in range(7):
        for channel in range(count):
            cell = cells[number * count + channel]
            np.testing.assert_array_equal(cell[..., 0], kernels[number, ..., channel])


@pytest.mark.parametrize("chosen", [(2, 1, 0), "bgr", "rgb", (3, 0, 1), (0, 0, 3)], ids=str)
def test_three_channels_are_red_green_and_blue(conv_info, rng, chosen):
    """In the order given, such as three of four bands."""
    info = conv_info(kernel_shape=(5, 4, 4, 7))
    kernels, view = rng.normal(size=info.shape), view_of(info, chosen)
    numbers = {"bgr": (2, 1, 0), "rgb": (0, 1, 2)}.get(chosen, chosen)
    assert view == View("colour", 7, 5, 4, channels=numbers)
    np.testing.assert_array_equal(to_cells(view, kernels), kernels[..., list(numbers)])


def test_two_channels_are_orange_and_blue(conv_info, rng):
    """Red is the first, blue the second, green their mean."""
    info = conv_info(kernel_shape=(5, 4, 2, 7))
    kernels, view = rng.normal(size=info.shape), view_of(info, (1, 0))
    assert view == View("colour", 7, 5, 4, channels=(1, 0))
    cells = to_cells(view, kernels)
    np.testing.assert_array_equal(cells[..., 0], kernels[..., 1])
    np.testing.assert_array_equal(cells[..., 2], kernels[..., 0])
    np.testing.assert_allclose(cells[..., 1], kernels.mean(axis=3))


def test_infinite_channels_have_no_warning(conv_info):
    """The mean of two is not finite where one is not."""
    kernels = np.full((1, 2, 2, 2), 1e308)
    kernels[0, 0, 0] = np.inf, -np.inf
    cells = to_cells(view_of(conv_info(kernel_shape=(2, 2, 2, 1)), (0, 1)), kernels)
    assert np.isnan(cells[0, 0, 0, 1])
    assert np.isposinf(cells[0, 0, 0, 0])


@pytest.mark.parametrize("channels", [3, (0, 3), (0, 1, 99)], ids=repr)
def test_missing_channels_are_rejected(conv_info, channels):
    """The error names the layer, its channels, and what was asked for."""
    with pytest.raises(FiltertrackError) as error:
        view_of(conv_info(kernel_shape=(5, 4, 3, 7)), channels)
    assert str(error.value) == (
        f"channels: expected 'strongest', 'all' or some of the channels 0 to 2 of conv1, got "
        f"{channels!r}"
    )


@pytest.mark.parametrize(
    "channels",
    [-1, True, False, 1.0, "1", "weakest", np.int64(0), np.arange(2), [], [0, -1], (0, 1, 2, 3)],
    ids=repr,
)
def test_unknown_channels_are_rejected(conv_info, channels):
    """The error names the valid ones, and what was asked for."""
    expected = "expected 'strongest', 'all', a channel's number, or two or three of them"
    with pytest.raises(FiltertrackError, match=expected) as error:
        view_of(conv_info(kernel_shape=(5, 4, 3, 7)), channels)
    assert f"got {channels!r}; leave it out" in str(error.value)


@pytest.mark.parametrize("channels", [0, "strongest", "all", (2, 1, 0)])
def test_channels_of_a_matrix_are_rejected(conv_info, channels):
    """It is always drawn with all channels."""
    with pytest.raises(FiltertrackError, match="one matrix of all its channels"):
        view_of(conv_info(kernel_shape=(1, 1, 3, 7)), channels)


@given(KERNELS)
def test_pattern_is_the_best_rank_1_approximation(kernels):
    """Compared with the singular value decomposition; the sign follows the channel weights."""
    patterns = strongest_pattern(kernels)
    for kernel, pattern in zip(kernels, patterns, strict=True):
        matrix = kernel.reshape(-1, kernel.shape[-1])
        left, strength, right = np.linalg.svd(matrix, full_matrices=False)
        assert np.linalg.norm(pattern) == pytest.approx(strength[0], rel=1e-6, abs=1e-6)
        if strength[0] < 1e-3 or (len(strength) > 1 and strength[1] > 0.9 * strength[0]):
            continue  # of two patterns of equal strength either is right
        along = (pattern.ravel() @ left[:, 0]) * left[:, 0]
        np.testing.assert_allclose(pattern.ravel(), along, atol=1e-5)
        weights = np.sign(pattern.ravel() @ left[:, 0]) * right[0]
        assert weights.sum() > -1e-6, "light raises the output"


@pytest.mark.parametrize(
    ("shape", "size"),
    [
        *[((2, 12, 13, 5), size) for size in (1.0, 1e-300, 1e150)],
        *[((2, 5, 6, 200), size) for size in (1.0, 1e-300, 1e150)],
        ((1, 33, 32, 1025), 1e-300),
        ((1, 40, 40, 1200), 1.0),
    ],
    ids=str,
)
def test_pattern_agrees_with_singular_value_decomposition(rng, shape, size):
    """With more pixels or more channels, or many of both; in its sign, too."""
    kernels = rng.normal(size=shape) * np.geomspace(1, 0.2, shape[-1])
    for kernel, pattern in zip(kernels, strongest_pattern(kernels * size), strict=True):
        left, strength, right = svds(kernel.reshape(-1, shape[-1]), k=1, random_state=0)
        expected = left[:, 0] * strength[0] * np.sign(right[0].sum()) * size
        np.testing.assert_allclose(pattern.ravel(), expected, rtol=0, atol=1e-9 * np.ptp(expected))


def test_pattern_of_large_noise(rng):
    """Its singular values lie close together: the pattern is as strong as the strongest."""
    kernels = rng.normal(size=(1, 40, 40, 1200))
    (strongest,) = svds(kernels.reshape(-1, 1200), k=1, return_singular_vectors=False)
    assert np.linalg.norm(strongest_pattern(kernels)) == pytest.approx(strongest, rel=1e-6)


@pytest.mark.parametrize("shape", [(1, 40, 40, 1200), (2, 9, 9, 2), (2, 3, 3, 9)], ids=str)
def test_pattern_of_zeros_single_weights_and_infinities(rng, shape):
    """Zeros stay zeros, a single weight keeps its position, an infinity gives NaN."""
    kernels = np.zeros(shape)
    assert not strongest_pattern(kernels).any()
    kernels[0, 1, 2, 1] = -3.0
    found = strongest_pattern(kernels)
    assert found[0, 1, 2, 0] == pytest.approx(-3.0)
    assert np.count_nonzero(np.abs(found) > 1e-12) == 1
    kernels[0, 0, 0, 0] = np.inf
    assert np.isnan(strongest_pattern(kernels)[0]).all()


@pytest.mark.parametrize("shape", [(192, 32, 32, 4), (768, 16, 16, 4), (1, 64, 64, 1500)], ids=str)
def test_patterns_take_at_most_four_times_the_memory(shape):
    """Whatever the number of pixels, whose Gram matrix grows with the square."""
    kernels = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    tracemalloc.start()
    strongest_pattern(kernels)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 4 * kernels.nbytes + (8 << 20)


CONSTANT = st.tuples(st.integers(1, 5), st.integers(1, 5), st.integers(4, 9)).flatmap(
    lambda shape: st.tuples(
        st.just(shape), arrays(np.float32, shape[-1], elements=st.floats(-1, 1, width=32))
    )
)


@given(CONSTANT)
def test_pattern_of_a_constant_filter_is_constant(given):
    """Exactly, as rounding errors would be drawn from dark to light; channels may differ."""
    (height, width, channels), weights = given
    kernels = np.broadcast_to(weights, (2, height, width, channels))
    for pattern in strongest_pattern(kernels):
        assert (pattern == pattern[0, 0]).all()


def test_smallest_difference_in_float32_is_kept():
    """A constant filter with one weight larger by one unit in the last place."""
    kernels = np.full((1, 5, 5, 64), 0.1, np.float32)
    kernels[0, 2, 2, 0] = np.nextafter(np.float32(0.1), np.float32(1))
    (pattern,) = strongest_pattern(kernels)
    assert pattern[2, 2, 0] == pattern.max() > pattern.min()


@given(KERNELS)
def test_the_sign_follows_from_the_weights(kernels):
    """A filter times -1 has its pattern times the sign of its channel sum, whatever else is drawn.

    So each filter has the same pattern alone as among others.
    """
    patterns = strongest_pattern(kernels)
    for kernel, pattern in zip(kernels, patterns, strict=True):
        (alone,) = strongest_pattern(kernel[np.newaxis])
        np.testing.assert_array_equal(alone, pattern)
        matrix = kernel.reshape(-1, kernel.shape[-1])
        right = pattern.ravel() @ matrix
        assert right.sum() >= -1e-9 * np.abs(right).sum(initial=0)


def test_light_means_raising_the_output_for_positive_inputs():
    """The pattern of a filter and that of its negative have opposite values at each pixel."""
    spatial = np.array([[1.0, -2.0], [0.0, 3.0]])
    kernels = np.multiply.outer(spatial, [0.9, 0.3, -0.2])[np.newaxis]
    one, other = strongest_pattern(kernels), strongest_pattern(-kernels)
    np.testing.assert_allclose(one, -other)
    assert one[0, 1, 1, 0] > 0 > other[0, 1, 1, 0]


@pytest.mark.parametrize("shape", [(3, 5, 4, 6), (4, 3, 3, 64), (1, 2, 2, 2)], ids=str)
def test_the_explained_share_agrees_with_singular_values(rng, shape):
    """The mean over filters of the square of the first over the sum of all squares."""
    kernels = rng.normal(size=shape)
    values = np.linalg.svd(kernels.reshape(shape[0], -1, shape[3]), compute_uv=False)
    expected = (values[:, 0] ** 2 / np.square(values).sum(axis=1)).mean()
    found = explained_share(kernels, strongest_pattern(kernels))
    assert found == pytest.approx(expected, rel=1e-6)


def test_the_explained_share_of_many_filters(rng):
    """More than are measured at once: the mean over all of them."""
    kernels = rng.normal(size=(3000, 3, 3, 200)).astype(np.float32)
    found = explained_share(kernels, strongest_pattern(kernels))
    some = [explained_share(part, strongest_pattern(part)) for part in np.split(kernels, 6)]
    assert found == pytest.approx(np.mean(some), rel=1e-9)


@pytest.mark.parametrize("size", [1.0, 1e-300, 1e150])
def test_the_explained_share_of_one_pattern_is_all(size):
    """Of any magnitude; filters of zeros and those not finite are left out."""
    kernels = np.zeros((3, 3, 3, 4))
    kernels[0] = size * np.multiply.outer(np.arange(9.0).reshape(3, 3) - 4, [1.0, 2.0, -0.5, 0.1])
    kernels[2, 0, 0, 0] = np.nan
    assert explained_share(kernels, strongest_pattern(kernels)) == pytest.approx(1)
    assert np.isnan(explained_share(kernels[1:], strongest_pattern(kernels[1:])))


def test_not_finite_filter_does_not_affect_others(rng):
    """Its pattern is NaN; zeros stay zero."""
    kernels = rng.normal(size=(4, 3, 3, 5))
    whole = strongest_pattern(kernels)
    kernels[1, 0, 0, 0] = np.nan
    kernels[2, 1, 1, 1] = np.inf
    kernels[3] = 0
    patterns = strongest_pattern(kernels)
    np.testing.assert_array_equal(patterns[0], whole[0])
    assert np.isnan(patterns[1:3]).all()
    assert (patterns[3] == 0).all()


@pytest.mark.parametrize("size", [1e-300, 1e150])
def test_tiny_and_huge_weights_keep_their_pattern(rng, size):
    """Squares of the weights would vanish or overflow."""
    kernels = rng.normal(size=(2, 3, 3, 5))
    np.testing.assert_allclose(strongest_pattern(kernels * size) / size, strongest_pattern(kernels))


def test_a_matrix_has_inputs_down_and_filters_across(conv_info, rng):
    """The weight from input channel r to filter c lies in row r, column c."""
    info = conv_info(kernel_shape=(1, 1, 5, 7))
    kernel = rng.normal(size=(1, 1, 5, 7))
    (cell,) = to_cells(view_of(info), info.canonical(kernel))
    np.testing.assert_array_equal(cell[..., 0], kernel[0, 0])


def test_grey_and_colour_cells_are_the_weights(conv_info, rng):
    """Without any change."""
    for channels in (1, 3):
        info = conv_info(kernel_shape=(5, 5, channels, 2))
        kernels = rng.normal(size=info.shape)
        np.testing.assert_array_equal(to_cells(view_of(info), kernels), kernels)


def test_names_become_the_numbers_of_channels():
    """One, or two or three; a channel named like an order of colours comes first."""
    names = ["blue", "green", "red", "nir"]
    assert resolve_channels("nir", names) == 3
    assert resolve_channels(["nir", "red", 1], names) == (3, 2, 1)
    assert resolve_channels("bgr", names) == (2, 1, 0)
    assert resolve_channels("rgb", ["rgb", "depth"]) == 0
    with pytest.raises(FiltertrackError, match="one of the names blue, green, red, nir, or two or"):
        resolve_channels("violet", names)


@pytest.mark.parametrize(
    ("kernel_shape", "parts"),
    [
        ((9, 9, 3, 32), ["9x9x3x32", "32 filters of 9x9", "red, green, blue"]),
        ((3, 3, 1, 4), ["3x3x1x4", "4 filters", "grey"]),
        ((3, 3, 64, 8), ["from 64 input channels", "strongest spatial pattern (rank 1)"]),
        ((1, 1, 64, 8), ["matrix", "64 input channels down, 8 filters across"]),
        ((1, 1, 1, 9), ["matrix", "1 input channel down, 9 filters across"]),
        ((5, 5, 3, 1), ["1 filter of 5x5"]),
    ],
    ids=str,
)
def test_explain_describes_the_picture(conv_info, kernel_shape, parts):
    """Shape, count, normalisation, and what dark and light mean."""
    info = conv_info(kernel_shape=kernel_shape)
    text = f"{explain(info)} {explain_scale(view_of(info))}"
    for part in [*parts, "Normalised", "(dark, 0)", "(light, 1)", "magenta"]:
        assert part in text


def test_explain_describes_a_heat_map(line_info):
    """What is down and what is across."""
    text = explain(line_info(6, 4))
    assert "Conv1D conv1, kernel 6x4x7: 7 filters" in text
    assert "heat map: 4 input channels down, 6 positions across" in text


def test_explain_change_names_the_colours(conv_info):
    """Of no change, an increase and a decrease; for colour filters that of no change."""
    grey, colour = (explain_change(view_of(conv_info(kernel_shape=(3, 3, n, 4)))) for n in (1, 3))
    assert "White is no change, red an increase and blue a decrease" in grey
    assert "drawn as none" in grey
    assert "Mid-grey is no change" in colour
