import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.spatial import distance

from filtertrack.measures import drift, norm, relative_change, rotation

FILTERS = arrays(np.float64, (3, 3, 2, 2), elements=st.floats(-10, 10))


@given(FILTERS)
def test_norm_is_the_euclidean_length(kernels):
    """Compared with the standard library, without over- or underflow."""
    expected = [math.hypot(*kernel.ravel()) for kernel in kernels]
    np.testing.assert_allclose(norm(kernels), expected, rtol=1e-12, atol=5e-324)


@pytest.mark.parametrize("size", [1e-300, 1e300])
def test_norm_of_tiny_and_huge_weights(size):
    """Their squares would under- or overflow."""
    np.testing.assert_allclose(norm(np.full((1, 2, 2, 1), size)), 2 * size)


def test_norm_of_not_finite_filters():
    """It is not finite; other filters are not affected."""
    kernels = np.ones((3, 2, 2, 1), np.float16)
    kernels[0, 0], kernels[1, 0] = np.nan, np.inf
    assert np.isfinite(norm(kernels)).tolist() == [False, False, True]


@pytest.mark.parametrize("broken", [np.nan, np.inf, -np.inf])
def test_norm_of_huge_and_not_finite_weights(broken):
    """Without warnings from numpy."""
    assert not np.isfinite(norm(np.array([1e200, broken]).reshape(1, 1, 2, 1)))


@given(FILTERS, FILTERS)
def test_drift_is_one_minus_the_cosine(kernels, start):
    """In [0, 2], symmetric, independent of length; NaN for zeros."""
    found = drift(kernels, start)
    for value, now, then in zip(found, kernels, start, strict=True):
        lengths = np.linalg.norm(now) * np.linalg.norm(then)
        if not now.any() or not then.any():
            assert np.isnan(value)
        elif lengths > 1e-100:
            assert value == pytest.approx(distance.cosine(now.ravel(), then.ravel()), abs=1e-9)
    np.testing.assert_allclose(drift(start, kernels), found, atol=1e-12)
    np.testing.assert_allclose(drift(3 * kernels, start), found, atol=1e-9)


@pytest.mark.parametrize("size", [5e-324, 1e-310, 1e-200, 1e200])
def test_drift_of_the_smallest_and_largest_weights(size):
    """A weight with a single significant digit has a direction."""
    kernels = np.full((1, 2, 3, 2), -size)
    np.testing.assert_allclose(drift(kernels, np.full((1, 2, 3, 2), -1.0)), 0, atol=1e-15)
    np.testing.assert_allclose(drift(kernels, np.full((1, 2, 3, 2), 1.0)), 2, atol=1e-15)


def test_drift_of_known_angles():
    """0 for the same direction, 1 for orthogonal, 2 for opposite."""
    start = np.array([[1.0, 0.0], [1.0, 0.0], [1.0, 0.0]]).reshape(3, 1, 2, 1)
    now = np.array([[5.0, 0.0], [0.0, 0.1], [-2.0, 0.0]]).reshape(3, 1, 2, 1)
    assert drift(now, start).tolist() == [0, 1, 2]


@given(FILTERS, FILTERS)
def test_rotation_is_one_minus_the_cosine_of_all_weights(kernels, start):
    """The layer as one vector, compared with exact sums; NaN for zeros."""
    found = rotation(kernels, start)
    now, then = kernels.ravel().tolist(), start.ravel().tolist()
    lengths = math.hypot(*now) * math.hypot(*then)
    if not any(now) or not any(then):
        assert math.isnan(found)
    elif lengths > 1e-100:
        product = math.fsum(one * other for one, other in zip(now, then, strict=True))
        assert found == pytest.approx(1 - product / lengths, abs=1e-9)
        assert 0 <= found <= 2


def test_rotation_weights_filters_by_length():
    """A filter of length 3 stays, one of length 1 is reversed: 1 - (9 - 1) / 10."""
    start = np.array([3.0, 1.0]).reshape(2, 1, 1, 1)
    assert rotation(np.array([3.0, -1.0]).reshape(2, 1, 1, 1), start) == pytest.approx(0.2)


@given(FILTERS, FILTERS)
def test_relative_change_is_the_length_of_the_difference(kernels, before):
    """Over the length before, compared with the standard library; NaN for zeros."""
    for value, now, then in zip(relative_change(kernels, before), kernels, before, strict=True):
        length = math.hypot(*then.ravel())
        if not length:
            assert np.isnan(value)
        elif length > 1e-200:
            change = math.hypot(*(now - then).ravel())
            assert value == pytest.approx(change / length, rel=1e-9)


@pytest.mark.parametrize("factor", [-1.0, 1e-200, -3.7, 1e200])
def test_movement_ignores_the_scale(factor, rng):
    """Both snapshots scaled by the same factor."""
    now, then = rng.normal(size=(2, 10, 3, 3, 2))
    np.testing.assert_allclose(drift(factor * now, factor * then), drift(now, then))
    assert rotation(factor * now, factor * then) == pytest.approx(rotation(now, then))
    changed = relative_change(factor * now, factor * then)
    np.testing.assert_allclose(changed, relative_change(now, then))
    np.testing.assert_allclose(norm(factor * now), abs(factor) * norm(now))


@pytest.mark.parametrize("broken", [np.nan, np.inf, -np.inf])
def test_movement_of_not_finite_filters(broken, rng):
    """NaN for that filter and for the layer; other filters are not affected."""
    then = rng.normal(size=(3, 3, 3, 2))
    now = then * 1.5
    now[1, 0, 0, 0] = broken
    assert np.isnan(drift(now, then)).tolist() == [False, True, False]
    assert np.isnan(drift(then, now)).tolist() == [False, True, False]
    assert math.isnan(rotation(now, then))
    assert np.isfinite(relative_change(now, then)).tolist() == [True, False, True]
    np.testing.assert_allclose(relative_change(now, then)[[0, 2]], 0.5)
