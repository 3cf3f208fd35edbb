import math

import numpy as np
import pytest

from filtertrack.measures.vectors import centred, fewer_channels, leading_pattern, unit


@pytest.mark.parametrize("factor", [-1.0, 1e-300, 1.0, 1e300])
def test_centred_filters_have_neither_mean_nor_length(factor, rng):
    """Each channel's mean is gone, the whole has length 1, and the pattern is what it was."""
    kernels = rng.normal(size=(6, 4, 3, 2)) + np.array([5.0, -2.0])
    pixels, known = centred(kernels * factor)
    assert known.all()
    for kernel, found in zip(kernels, pixels, strict=True):
        values = [kernel[:, :, c] - kernel[:, :, c].mean() for c in range(2)]
        length = math.hypot(*np.concatenate(values).ravel())
        expected = np.stack([value.ravel() for value in values], axis=1) / length
        np.testing.assert_allclose(found, expected * np.sign(factor), atol=1e-12)


@pytest.mark.parametrize("value", [0.0, 0.1, 1e300, np.nan, np.inf, -np.inf])
def test_where_there_is_no_pattern(value, rng):
    """Zeros, and said so; the other filters are known."""
    kernels = rng.normal(size=(3, 3, 3, 2))
    kernels[1] = value
    pixels, known = centred(kernels)
    assert known.tolist() == [True, False, True]
    assert not pixels[1].any()
    pattern, share = leading_pattern(centred(kernels))
    assert not pattern[1].any()
    assert share[1] == 0


@pytest.mark.parametrize("channels", [1, 3, 8, 40])
def test_the_strongest_pattern_is_the_first_singular_vector(channels, rng):
    """But for its sign; its share is that of the first singular value, squared."""
    kernels = rng.normal(size=(5, 4, 3, channels))
    found = leading_pattern(centred(kernels))
    for kernel, pattern, share in zip(kernels, found.pixels, found.share, strict=True):
        matrix = kernel.reshape(12, channels)
        left, values, _ = np.linalg.svd(matrix - matrix.mean(axis=0))
        assert abs(left[:, 0] @ pattern) == pytest.approx(1, abs=1e-9)
        assert share == pytest.approx(values[0] ** 2 / (values**2).sum())
        assert pattern @ pattern == pytest.approx(1)


@pytest.mark.parametrize("channels", [0, 2, 6, 7, 30])
def test_fewer_channels_have_the_same_products(channels, rng):
    """At most as many as pixels, and each two pixels' product stays."""
    pixels = rng.normal(size=(4, 6, channels))
    found = fewer_channels(pixels)
    assert found.shape[2] <= 6
    expected = [[[a @ b for b in each] for a in each] for each in pixels]
    np.testing.assert_allclose(found @ found.transpose(0, 2, 1), np.array(expected), atol=1e-12)


def test_rows_at_length_one():
    """NaN where there is no direction."""
    rows = np.array([[3.0, 4.0], [0.0, 0.0], [np.inf, 1.0], [np.nan, 1.0], [3e300, -4e300]])
    found = unit(rows)
    np.testing.assert_allclose(found[[0, 4]], [[0.6, 0.8], [0.6, -0.8]])
    assert np.isnan(found[1:4]).all()
