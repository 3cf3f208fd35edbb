import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from filtertrack.measures import drift, norm, roughness
from filtertrack.measures.fast_measures import measure_fast

SHAPES = [(64, 7, 7, 3), (32, 3, 3, 200), (96, 1, 1, 700), (5, 1, 9, 4), (4, 40, 40, 30)]
ORDERS = {"Keras": (1, 2, 3, 0), "torch": (0, 3, 1, 2), "canonical": (0, 1, 2, 3)}


def measured(kernels, start):
    return measure_fast(kernels, start, norm(start))


def assert_same(kernels, start):
    """Compare with the functions that measure one filter after another."""
    found = measured(kernels, start)
    np.testing.assert_allclose(found.drift, drift(kernels, start), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(found.norm, norm(kernels), rtol=1e-12, atol=5e-324)
    np.testing.assert_allclose(found.roughness, roughness(kernels), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("stored", ORDERS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_the_same_numbers_in_any_order_in_memory(shape, stored, dtype, rng):
    """Of layers of one and of many blocks, of 1x1 kernels, of strips and of large kernels."""
    order = ORDERS[stored]
    start = rng.normal(size=shape).astype(dtype)
    kernels = start + rng.normal(0, 0.2, size=shape).astype(dtype)
    assert_same(
        *(each.transpose(order).copy().transpose(np.argsort(order)) for each in (kernels, start))
    )


@given(
    arrays(np.float64, (3, 3, 2, 2), elements=st.floats(-10, 10)),
    arrays(np.float64, (3, 3, 2, 2), elements=st.floats(-10, 10)),
)
def test_the_same_numbers_of_any_weights(kernels, start):
    """Zeros, constants and single weights among them."""
    assert_same(kernels, start)


@pytest.mark.parametrize("size", [0.0, 5e-324, 1e-310, 1e-200, 1e-20, 1e200, 1e308, np.nan, np.inf])
def test_extreme_filters_do_not_affect_the_others(size, rng):
    """Zero, not finite, and with squares that over- or underflow; without warnings from numpy."""
    kernels, start = rng.normal(size=(2, 6, 3, 3, 4)).clip(-0.99, 0.99)
    with np.errstate(all="ignore"):
        kernels[1] *= size
        start[3] *= size
        kernels[4], start[4] = kernels[4] * size, start[4] * size
    assert_same(kernels, start)
    usual = measured(kernels[:1], start[:1])
    np.testing.assert_allclose(measured(kernels, start).drift[0], usual.drift[0])


@pytest.mark.parametrize("factor", [1.0, 1.5, -3.0, 100.0, 1e5, 1e-12])
def test_a_filter_that_only_grows_has_no_drift(factor, rng):
    """However large or small its weights are: rounding errors stay far below what is drawn."""
    kernels = rng.normal(size=(8, 3, 3, 4))
    found = measured(factor * kernels, kernels).drift
    np.testing.assert_allclose(found, 0 if factor > 0 else 2, atol=1e-12)


def test_a_nearly_constant_filter_is_as_rough_as_the_exact_measure_says(rng):
    """The mean is subtracted before squares are summed."""
    pattern = rng.normal(size=(4, 5, 5, 3))
    for share in (1e-3, 1e-6):
        np.testing.assert_allclose(
            measured(1 + share * pattern, pattern).roughness, roughness(pattern), rtol=1e-6
        )
    assert np.isnan(measured(np.ones((2, 5, 5, 3)), np.ones((2, 5, 5, 3))).roughness).all()


@pytest.mark.parametrize("shape", [(0, 3, 3, 2), (3, 3, 3, 0), (3, 1, 1, 0)])
def test_layers_without_weights(shape):
    """As the other measures: an array with a number per filter."""
    assert_same(np.ones(shape), np.ones(shape))
