import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import signal

from filtertrack.measures.convolution import convolve, convolve_transposed, same_pads


def noise(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


@given(
    st.integers(1, 3),
    st.integers(1, 4),
    st.integers(1, 3),
    st.integers(1, 3),
    st.integers(0, 99),
)
def test_responses_equal_the_cross_correlation_of_scipy(axes, side, stride, apart, seed):
    """With stride and dilation, along one to three axes."""
    pad = seed % 3
    sides = [side + n % 2 for n in range(axes)]
    space = [(s - 1) * apart + 1 + seed % 4 for s in sides]
    images, filters = noise(2, *space, 3, seed=seed), noise(4, *sides, 3, seed=seed + 1)
    found = convolve(
        images, filters, strides=[stride] * axes, dilation=[apart] * axes, pads=[(pad, 1)] * axes
    )
    padded = np.pad(images, [(0, 0), *[(pad, 1)] * axes, (0, 0)])
    spread = np.zeros((4, *[(s - 1) * apart + 1 for s in sides], 3))
    spread[(slice(None), *[slice(None, None, apart)] * axes)] = filters
    for image in range(2):
        for number in range(4):
            whole = signal.correlate(padded[image], spread[number], mode="valid")[..., 0]
            expected = whole[(slice(None, None, stride),) * axes]
            np.testing.assert_allclose(found[image, ..., number], expected, atol=1e-12)


@given(st.integers(1, 4), st.integers(1, 3), st.integers(1, 2), st.integers(0, 99))
def test_a_transposed_convolution_is_the_transpose_of_a_convolution(side, stride, apart, seed):
    """⟨conv(x), y⟩ = ⟨x, conv_transposed(y)⟩ for every x and y."""
    reach = (side - 1) * apart + 1
    options = {"strides": [stride] * 2, "dilation": [apart] * 2}
    size = reach + 2 * stride
    x, filters = noise(1, size, size, 3, seed=seed), noise(5, side, side, 3, seed=seed + 1)
    out = convolve(x, filters, **options, pads=[(0, 0)] * 2)
    y = noise(*out.shape, seed=seed + 2)
    back = convolve_transposed(y, filters.transpose(3, 1, 2, 0), **options, crops=[(0, 0)] * 2)
    seen = tuple(slice(0, n) for n in back.shape[1:3])
    assert np.vdot(out, y) == pytest.approx(np.vdot(x[:, *seen], back))


def test_channels_are_taken_in_groups():
    images, filters = noise(1, 6, 6, 4), noise(6, 3, 3, 2)
    options = {"strides": (1, 1), "dilation": (1, 1), "pads": [(0, 0), (0, 0)]}
    whole = convolve(images, filters, **options)
    for group in range(2):
        seen, chosen = images[..., 2 * group : 2 * group + 2], slice(3 * group, 3 * group + 3)
        np.testing.assert_allclose(whole[..., chosen], convolve(seen, filters[chosen], **options))


def test_an_odd_number_of_zeros_has_one_more_after_than_before():
    assert same_pads((5, 6), (3, 2), (2, 1), (1, 2)) == [(1, 1), (1, 1)]
    assert same_pads((6,), (3,), (2,), (1,)) == [(0, 1)]
    assert same_pads((4,), (1,), (3,), (1,)) == [(0, 0)]


@pytest.mark.parametrize(
    ("channels", "size", "message"), [(3, 5, "do not fit"), (0, 5, "do not fit"), (2, 2, "smaller")]
)
def test_images_that_do_not_fit_are_an_error(channels, size, message):
    with pytest.raises(ValueError, match=message):
        convolve(
            noise(1, size, size, channels),
            noise(4, 3, 3, 2),
            strides=(1, 1),
            dilation=(1, 1),
            pads=[(0, 0), (0, 0)],
        )
