import tracemalloc

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.sparse.linalg import svds

from filtertrack import FiltertrackError
from filtertrack.render.cells import View, explain, strongest_pattern, to_cells, view_of

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
    ],
    ids=str,
)
def test_view_follows_from_the_shape(conv_info, kernel_shape, view):
    """Grey, colour, pattern or matrix."""
    assert view_of(conv_info(kernel_shape=kernel_shape)) == view


@pytest.mark.parametrize("count", [1, 3, 8])
def test_single_channel_view(conv_info, rng, count):
    """Its own weights in grey, whatever the number of channels."""
    info = conv_info(kernel_shape=(5, 4, count, 7))
    kernels = rng.normal(size=info.shape)
    for channel in range(count):
        view = view_of(info, channel)
        assert view == View("grey", 7, 5, 4, channel=channel)
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


@pytest.mark.parametrize(
    "channels",
    [3, -1, True, False, 1.0, "1", "weakest", [0], np.int64(0), np.arange(2)],
    ids=repr,
)
def test_unknown_channels_are_rejected(conv_info, channels):
    """The error names the valid ones."""
    with pytest.raises(FiltertrackError, match="'strongest' or one of the channels 0 to 2"):
        view_of(conv_info(kernel_shape=(5, 4, 3, 7)), channels)


@pytest.mark.parametrize("channels", [0, "strongest"])
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


def test_sign_follows_the_snapshot_before(rng):
    """Nothing flips in an animation when training reverses the channel weights."""
    spatial, weights = rng.normal(size=9), np.array([0.6, -0.5, 0.1])
    shown = None
    for share in np.linspace(0, 1, 11):
        turned = weights * (1 - share) + np.array([0.5, -0.7, 0.1]) * share
        kernel = np.multiply.outer(spatial, turned).reshape(1, 3, 3, 3)
        pattern = strongest_pattern(kernel, shown)
        if shown is not None:
            assert np.corrcoef(pattern.ravel(), shown.ravel())[0, 1] > 0.99
        shown = pattern


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
    text = explain(conv_info(kernel_shape=kernel_shape))
    for part in [*parts, "Normalised", "(dark, 0)", "(light, 1)", "magenta"]:
        assert part in text
