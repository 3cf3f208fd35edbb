import math
from dataclasses import astuple

import numpy as np
import pytest
from scipy import linalg
from scipy.sparse.linalg import svds

from filtertrack.measures import fit_templates, orientation, structure
from filtertrack.measures.vectors import centred, compact, fewer_channels, leading_pattern, unit


@pytest.mark.parametrize("factor", [-1.0, 1e-300, 1.0, 1e300])
def test_centred_filters_have_mean_0_and_length_1(factor, rng):
    """Each channel's mean is 0, and the pattern is unchanged."""
    kernels = rng.normal(size=(6, 4, 3, 2)) + np.array([5.0, -2.0])
    pixels, known = centred(kernels * factor)
    assert known.all()
    for kernel, found in zip(kernels, pixels, strict=True):
        values = [kernel[:, :, c] - kernel[:, :, c].mean() for c in range(2)]
        length = math.hypot(*np.concatenate(values).ravel())
        expected = np.stack([value.ravel() for value in values], axis=1) / length
        np.testing.assert_allclose(found, expected * np.sign(factor), atol=1e-12)


@pytest.mark.parametrize("value", [0.0, 0.1, 1e300, np.nan, np.inf, -np.inf])
def test_centred_filters_without_pattern_are_zeros(value, rng):
    """They are marked as unknown; the other filters are known."""
    kernels = rng.normal(size=(3, 3, 3, 2))
    kernels[1] = value
    pixels, known = centred(kernels)
    assert known.tolist() == [True, False, True]
    assert not pixels[1].any()
    assert not leading_pattern(pixels)[1].any()


@pytest.mark.parametrize("channels", [1, 3, 8, 40])
def test_leading_pattern_is_the_first_singular_vector(channels, rng):
    """Times the first singular value, in either sign, as in scipy's decomposition."""
    filters = rng.normal(size=(5, 12, channels))
    for matrix, pattern in zip(filters, leading_pattern(filters), strict=True):
        left, values, _ = linalg.svd(matrix)
        assert abs(left[:, 0] @ pattern) == pytest.approx(values[0], rel=1e-9)
        assert pattern @ pattern == pytest.approx(values[0] ** 2, rel=1e-9)


def test_leading_pattern_of_a_large_filter_agrees_with_scipy(rng):
    """Beyond 1024 pixels and channels, by Lanczos iteration, as scipy's ``svds`` does."""
    matrix = rng.normal(size=(1100, 1030)) + 3 * np.outer(np.ones(1100), rng.normal(size=1030))
    left, value, _ = svds(matrix, k=1, random_state=0)
    (pattern,) = leading_pattern(matrix[np.newaxis])
    np.testing.assert_allclose(np.abs(pattern), np.abs(left[:, 0] * value[0]), rtol=1e-6)


@pytest.mark.parametrize("channels", [0, 2, 6, 7, 30])
def test_fewer_channels_have_the_same_products(channels, rng):
    """At most as many channels as pixels, and the same products of pixels."""
    pixels = rng.normal(size=(4, 6, channels))
    found = fewer_channels(pixels)
    assert found.shape[2] <= 6
    expected = [[[a @ b for b in each] for a in each] for each in pixels]
    np.testing.assert_allclose(found @ found.transpose(0, 2, 1), np.array(expected), atol=1e-12)


def test_unit_rows():
    """NaN for rows that are all zero or not finite."""
    rows = np.array([[3.0, 4.0], [0.0, 0.0], [np.inf, 1.0], [np.nan, 1.0], [3e300, -4e300]])
    found = unit(rows)
    np.testing.assert_allclose(found[[0, 4]], [[0.6, 0.8], [0.6, -0.8]])
    assert np.isnan(found[1:4]).all()


@pytest.mark.parametrize("shape", [(6, 3, 3, 40), (5, 4, 2, 9), (4, 1, 1, 7), (3, 5, 5, 3)])
def test_compact_filters_have_the_same_structure(shape, rng):
    """Roughness, direction and fits of fewer channels, also of undefined filters."""
    kernels = rng.normal(size=shape).cumsum(axis=1).astype(np.float32)
    kernels[1], kernels[2, 0, 0, 0] = 3.0, np.nan
    found = compact(kernels)
    assert found.shape[3] == min(shape[3], shape[1] * shape[2])
    for whole, few in (
        (structure(kernels), structure(found)),
        (fit_templates(kernels).gabor, fit_templates(found).gabor),
        (orientation(kernels), orientation(found)),
    ):
        values = (whole, few) if isinstance(whole, tuple) else map(astuple, (whole, few))
        for one, other in zip(*values, strict=True):
            np.testing.assert_allclose(other, one, rtol=1e-5, atol=1e-7)
    finite = np.isfinite(found).all(axis=(1, 2, 3)).tolist()
    assert finite == [number != 2 for number in range(len(kernels))]
