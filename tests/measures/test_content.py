import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from filtertrack.measures import colour_share, flat_share, near_zero

FILTERS = arrays(np.float64, (3, 3, 2, 3), elements=st.floats(-10, 10))


@given(FILTERS)
def test_colour_share_is_the_rest_of_luminance(kernels):
    """Each pixel without its mean over the channels; NaN for a filter of zeros."""
    for value, kernel in zip(colour_share(kernels), kernels.tolist(), strict=True):
        pixels = [pixel for row in kernel for pixel in row]
        whole = sum(weight**2 for pixel in pixels for weight in pixel)
        if not any(weight for pixel in pixels for weight in pixel):
            assert np.isnan(value)
        elif whole > 1e-200:
            colour = sum((weight - sum(pixel) / 3) ** 2 for pixel in pixels for weight in pixel)
            assert value == pytest.approx(colour / whole, abs=1e-9)
            assert 0 <= value <= 1


@given(FILTERS)
def test_flat_share_is_that_of_the_channel_means(kernels):
    """Of a filter's sum of squares; NaN for a filter of zeros."""
    for value, kernel in zip(flat_share(kernels), kernels, strict=True):
        tones = [kernel[:, :, channel].ravel().tolist() for channel in range(3)]
        whole = sum(weight**2 for tone in tones for weight in tone)
        if not kernel.any():
            assert np.isnan(value)
        elif whole > 1e-200:
            flat = sum(6 * (sum(tone) / 6) ** 2 for tone in tones)
            assert value == pytest.approx(flat / whole, abs=1e-9)
            assert 0 <= value <= 1


def test_shares_of_noise(rng):
    """On average 2/3 colour, and one over the number of pixels flat tone."""
    kernels = rng.normal(size=(4000, 5, 4, 3))
    assert colour_share(kernels).mean() == pytest.approx(2 / 3, abs=0.005)
    assert flat_share(kernels).mean() == pytest.approx(1 / 20, abs=0.003)


@pytest.mark.parametrize("factor", [-1.0, 5e-324 / 1e-16, 1e-200, -3.7, 1e200])
def test_shares_ignore_scale_sign_and_position(factor, rng):
    """Also mirror images and the order of channels."""
    kernels = rng.normal(size=(20, 5, 4, 3))
    for measure in (colour_share, flat_share):
        expected = measure(kernels)
        changed = kernels * factor, kernels[:, ::-1], kernels.swapaxes(1, 2), kernels[..., ::-1]
        for other in changed:
            np.testing.assert_allclose(measure(other), expected)


@pytest.mark.parametrize("channels", [0, 1, 2, 4])
def test_colour_share_needs_three_channels(channels):
    """NaN for any other number."""
    assert np.isnan(colour_share(np.ones((2, 3, 3, channels)))).tolist() == [True, True]


@pytest.mark.parametrize("broken", [0.0, np.nan, np.inf, -np.inf])
def test_shares_of_zeros_and_not_finite_filters(broken, rng):
    """NaN for that filter only."""
    kernels = rng.normal(size=(3, 3, 3, 3))
    whole = colour_share(kernels), flat_share(kernels)
    kernels[1] = 0
    kernels[1, 0, 0, 0] = broken
    for measure, expected in zip((colour_share, flat_share), whole, strict=True):
        found = measure(kernels)
        assert np.isnan(found).tolist() == [False, True, False]
        np.testing.assert_allclose(found[[0, 2]], expected[[0, 2]])


def test_known_shares():
    """Grey, pure contrast, and red alone, of which a third is luminance."""
    tints = np.array([[1.0, 1.0, 1.0], [1.0, -1.0, 0.0], [-2.0, 0.0, 0.0]])
    tones = np.broadcast_to(tints[:, None, None], (3, 4, 4, 3))
    np.testing.assert_allclose(colour_share(tones), [0, 1, 2 / 3], atol=1e-12)
    np.testing.assert_allclose(flat_share(tones), 1)
    checks = tones * (-1.0) ** np.add.outer(np.arange(4), np.arange(4))[..., None]
    np.testing.assert_allclose(flat_share(checks), 0, atol=1e-12)
    assert flat_share(np.full((1, 1, 2, 1), -0.2)).tolist() == [1]
    assert np.isnan(flat_share(np.full((1, 1, 1, 1), -0.2))).all()


@given(FILTERS, st.integers(-600, 600))
def test_near_zero_is_below_one_percent_of_the_largest(kernels, power):
    """In a layer of zeros all filters are."""
    kernels = kernels * np.array([1.0, 0.1, 0.01]).reshape(3, 1, 1, 1)
    largest = [max(abs(weight) for weight in kernel.ravel().tolist()) for kernel in kernels]
    if max(largest) == 0 or max(largest) > 1e-100:
        expected = [each < 0.01 * max(largest) or not max(largest) for each in largest]
        assert near_zero(kernels).tolist() == expected
        assert near_zero(kernels * -(2.0**power)).tolist() == expected


def test_near_zero_of_empty_layers():
    """No filters, or filters without weights."""
    assert near_zero(np.ones((0, 3, 3, 1))).shape == (0,)
    assert near_zero(np.ones((2, 3, 3, 0))).tolist() == [True, True]


@pytest.mark.parametrize("broken", [np.nan, np.inf])
def test_near_zero_ignores_not_finite_filters(broken):
    """A filter of ones is not near zero, one of zeros is."""
    kernels = np.ones((3, 3, 3, 1))
    kernels[0, 0, 0] = broken
    kernels[2] = 0
    assert near_zero(kernels)[1:].tolist() == [False, True]
