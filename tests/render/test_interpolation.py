"""Interpolation of cells between their weights."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from filtertrack.render.interpolation import interpolate

CELLS = st.tuples(
    st.integers(1, 3), st.integers(1, 6), st.integers(1, 6), st.integers(1, 3)
).flatmap(lambda shape: arrays(np.float64, shape, elements=st.floats(-10, 10)))


@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 12))
def test_the_size_is_multiplied_and_a_constant_stays(height, width, scale):
    """The shares of the weights sum to 1 everywhere, also at the edges."""
    drawn = interpolate(np.full((2, height, width, 3), 0.7), scale)
    assert drawn.shape == (2, height * scale, width * scale, 3)
    np.testing.assert_allclose(drawn, 0.7)


@given(st.integers(1, 7), st.sampled_from([1, 3, 5]))
def test_the_middle_of_each_square_is_its_weight(side, scale):
    """With an odd scale, one value lies exactly on each weight."""
    cells = np.random.default_rng(side).normal(size=(2, side, side, 1))
    middle = interpolate(cells, scale)[:, scale // 2 :: scale, scale // 2 :: scale]
    np.testing.assert_allclose(middle, cells, atol=1e-12)


def test_a_quadratic_surface_is_reproduced():
    """Keys's cubic convolution is exact up to the second degree, away from the edges."""
    y, x = np.mgrid[:9, :9].astype(float)
    surface = 0.3 * x**2 - 0.7 * x * y + 0.2 * y**2 + x - 2
    drawn = interpolate(surface[np.newaxis, :, :, np.newaxis], 4)[0, :, :, 0]
    at = (np.arange(36) + 0.5) / 4 - 0.5
    wide, down = at[np.newaxis, :], at[:, np.newaxis]
    exact = 0.3 * wide**2 - 0.7 * wide * down + 0.2 * down**2 + wide - 2
    np.testing.assert_allclose(drawn[8:-8, 8:-8], exact[8:-8, 8:-8], atol=1e-9)


@given(CELLS, st.integers(1, 5))
def test_rows_and_columns_are_treated_alike(cells, scale):
    """The transposed cell has the transposed picture."""
    turned = interpolate(cells.swapaxes(1, 2), scale).swapaxes(1, 2)
    np.testing.assert_allclose(interpolate(cells, scale), turned, atol=1e-9)


@given(CELLS, st.integers(1, 8))
def test_interpolated_values_hardly_leave_the_range(cells, scale):
    """They overshoot it by 0.3 of its length, at most: an eighth of it in each direction."""
    smooth = interpolate(cells, scale)
    slack = 0.3 * np.ptp(cells) + 1e-9
    assert smooth.min() >= cells.min() - slack
    assert smooth.max() <= cells.max() + slack


def test_it_is_pillows_bicubic_away_from_the_edges(rng):
    """Pillow uses the same kernel; at the edges it leaves weights out instead of repeating them."""
    cell = rng.normal(size=(9, 9)).astype(np.float32)
    expected = np.asarray(Image.fromarray(cell).resize((54, 54), Image.Resampling.BICUBIC))
    drawn = interpolate(cell[np.newaxis, :, :, np.newaxis], 6)[0, :, :, 0]
    np.testing.assert_allclose(drawn[12:-12, 12:-12], expected[12:-12, 12:-12], atol=1e-5)


def test_slices_are_not_mixed(rng):
    """Each slice of a 3-D kernel is interpolated as if it were alone."""
    cells = rng.normal(size=(2, 5, 15, 1))
    together = interpolate(cells, 4, slices=3)
    for number in range(3):
        alone = interpolate(cells[:, :, 5 * number : 5 * number + 5], 4)
        np.testing.assert_allclose(together[:, :, 20 * number : 20 * number + 20], alone)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_weight_that_is_not_finite_is_one_square(value):
    """The others stay finite."""
    cells = np.ones((1, 5, 5, 1))
    cells[0, 2, 3] = value
    drawn = interpolate(cells, 4)
    broken = np.isnan(drawn[0, :, :, 0])
    assert broken[8:12, 12:16].all()
    assert broken.sum() == 16
