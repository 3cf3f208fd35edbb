import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from filtertrack.render.interpolation import interpolate

CELLS = st.tuples(st.integers(1, 3), st.integers(1, 6), st.integers(1, 6), st.integers(1, 3))
TAME = CELLS.flatmap(lambda shape: arrays(np.float64, shape, elements=st.floats(-10, 10)))


@given(TAME, st.sampled_from([1, 3, 5, 9]))
def test_the_middle_of_a_square_is_its_weight(cells, scale):
    """For an odd scale, to rounding errors; a scale of 1 changes nothing."""
    smooth = interpolate(cells, scale)
    count, height, width, channels = cells.shape
    assert smooth.shape == (count, height * scale, width * scale, channels)
    middle = smooth[:, scale // 2 :: scale, scale // 2 :: scale]
    np.testing.assert_allclose(middle, cells, atol=1e-9)


@given(TAME, st.integers(1, 8))
def test_interpolated_values_hardly_leave_the_range(cells, scale):
    """They overshoot it by 0.3 of its length, at most: an eighth of it in each direction."""
    smooth = interpolate(cells, scale)
    slack = 0.3 * np.ptp(cells) + 1e-9
    assert smooth.min() >= cells.min() - slack
    assert smooth.max() <= cells.max() + slack


@given(st.floats(-10, 10), st.integers(1, 8))
def test_a_constant_cell_stays_constant(value, scale):
    smooth = interpolate(np.full((2, 5, 5, 1), value), scale)
    np.testing.assert_allclose(smooth, value, atol=1e-12)


@pytest.mark.parametrize("scale", [2, 3, 8])
def test_a_parabola_is_reproduced(scale):
    """Away from the edges, beyond which the outermost weight goes on."""

    def parabola(x):
        return 0.3 * x**2 - 0.5 * x + 2

    line = parabola(np.arange(9.0))
    smooth = interpolate(line.reshape(1, 1, 9, 1), scale)[0, 0, :, 0]
    at = (np.arange(9 * scale) + 0.5) / scale - 0.5
    inside = (at >= 1) & (at <= 7)
    np.testing.assert_allclose(smooth[inside], parabola(at)[inside], atol=1e-9)


@given(TAME, st.integers(1, 5))
def test_rows_and_columns_are_treated_alike(cells, scale):
    """The transposed cell has the transposed picture."""
    turned = interpolate(cells.swapaxes(1, 2), scale).swapaxes(1, 2)
    np.testing.assert_allclose(interpolate(cells, scale), turned, atol=1e-9)


def test_slices_are_not_mixed(rng):
    """Each is interpolated as a cell of its own."""
    cells = rng.normal(size=(2, 4, 15, 1))
    whole = interpolate(cells, 5, slices=3)
    for number in range(3):
        alone = interpolate(cells[:, :, 5 * number : 5 * number + 5], 5)
        np.testing.assert_allclose(whole[:, :, 25 * number : 25 * number + 25], alone, atol=1e-12)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_weight_that_is_not_finite_is_a_square(rng, bad):
    """All of its pixels are NaN, and no others."""
    cells = rng.normal(size=(1, 5, 5, 1))
    cells[0, 1, 2] = bad
    smooth = interpolate(cells, 4)[0, ..., 0]
    expected = np.zeros((20, 20), bool)
    expected[4:8, 8:12] = True
    np.testing.assert_array_equal(np.isnan(smooth), expected)
