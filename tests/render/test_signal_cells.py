"""Curves and spectra of one-dimensional kernels."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from filtertrack.render.signal_cells import (
    FLOOR_DB,
    GAP,
    curve_and_spectrum_cells,
    curve_cells,
    spectrum_db,
)

HEIGHT, WIDTH = 60, 120
WEIGHTS = arrays(np.float64, (3, 24), elements=st.floats(-1, 1, width=16))


def drawn(values, low=-1.0, high=1.0, height=HEIGHT, width=WIDTH):
    """Draw filters of one range."""
    values = np.atleast_2d(np.asarray(values, float))
    filters = len(values)
    return curve_cells(values, np.full(filters, low), np.full(filters, high), height, width)


def rows_of(cell):
    """Return the first and the last row with ink of a curve in each column."""
    ink = cell > 0.3
    return ink.argmax(axis=0), len(cell) - 1 - ink[::-1].argmax(axis=0)


@pytest.mark.parametrize("weights", [2, 16, 32, 119, 251, 500])
@pytest.mark.parametrize("size", [(60, 120), (31, 50), (240, 400)], ids=str)
def test_the_curve_passes_through_each_weight(rng, weights, size):
    """In the column and the row of the weight, within a pixel."""
    height, width = size
    values = rng.uniform(-1, 1, size=(5, weights))
    cells = drawn(values, height=height, width=width)
    columns = np.rint(np.linspace(0, width - 1, weights)).astype(int)
    edge = max(1.25, height / 48) / 2
    rows = edge + (1 - values) / 2 * (height - 2 * edge)
    for cell, expected in zip(cells, rows, strict=True):
        first, last = rows_of(cell)
        assert (first[columns] <= expected + 0.5).all()
        assert (last[columns] >= expected - 1.5).all()


def test_the_range_reaches_from_the_bottom_to_the_top():
    """The lowest value touches the last row, the highest the first one."""
    (cell,) = drawn([0.5, 2.5], low=0.5, high=2.5)
    assert cell[-1, 0] > 0.9
    assert cell[0, -1] > 0.9
    assert cell[: HEIGHT // 2, 0].max() == 0


def test_a_rising_signal_gives_a_rising_curve():
    """From column to column, never down."""
    (cell,) = drawn(np.linspace(-1, 1, 40) ** 3)
    first, last = rows_of(cell)
    assert (np.diff(first) <= 0).all()
    assert (np.diff(last) <= 0).all()


def test_a_line_has_the_same_width_everywhere():
    """Level, as a curve of 1.25 pixels; from top to bottom, as wide from left to right."""
    (level,) = drawn(np.full(16, 0.3))
    np.testing.assert_allclose(level[:20].sum(axis=0), 0, atol=1e-6)
    (level,) = drawn(np.full(16, 0.3), low=0.1)  # without a line at zero
    np.testing.assert_allclose(level.sum(axis=0), 1.25, atol=0.02)
    (peak,) = drawn([*np.zeros(20), 1, *np.zeros(20)], low=-1e-9)
    assert peak[10:40].sum(axis=1).min() >= 1.0


@given(WEIGHTS)
def test_the_curve_of_negated_weights_is_mirrored(values):
    """Top and bottom change places."""
    mirrored = drawn(-values)[:, ::-1]
    np.testing.assert_allclose(drawn(values), mirrored, atol=2 / 256)


@given(WEIGHTS)
def test_the_curve_of_reversed_weights_is_mirrored(values):
    """Left and right change places."""
    np.testing.assert_allclose(drawn(values), drawn(values[:, ::-1])[:, :, ::-1], atol=1 / 256)


@given(WEIGHTS, st.floats(1e-300, 1e300))
def test_a_scaled_signal_in_a_scaled_range_looks_the_same(values, scale):
    """Also near the smallest and the largest numbers."""
    scaled = drawn(values * scale, -scale, scale)
    np.testing.assert_allclose(scaled, drawn(values), atol=2 / 256)


def test_filters_are_independent(rng):
    """Each has its own range; drawn alone a filter gives the same pixels."""
    values = rng.normal(size=(7, 50))
    low, high = values.min(axis=1), values.max(axis=1)
    cells = curve_and_spectrum_cells(values, low, high, HEIGHT, WIDTH)
    for k in range(7):
        alone = curve_and_spectrum_cells(
            values[k : k + 1], low[k : k + 1], high[k : k + 1], HEIGHT, WIDTH
        )
        np.testing.assert_array_equal(alone[0], cells[k])


@given(
    arrays(np.float64, (2, 9), elements=st.floats(allow_nan=True, allow_infinity=True)),
    st.integers(1, 40),
    st.integers(1, 40),
)
def test_any_values_give_coverage_from_zero_to_one(values, height, width):
    """Also NaN, infinity, huge ranges and cells of one pixel."""
    finite = np.where(np.isfinite(values), values, np.nan)
    low = np.nanmin(np.c_[finite, np.full(2, np.finfo(float).max)], axis=1)
    high = np.nanmax(np.c_[finite, np.full(2, np.finfo(float).min)], axis=1)
    cells = curve_and_spectrum_cells(values, low, high, height, width)
    assert cells.dtype == np.float32
    assert cells.shape == (2, height, 2 * width + GAP)
    assert ((cells >= 0) & (cells <= 1)).all()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf], ids=str)
def test_values_that_are_not_finite_are_gaps(bad):
    """A finite one between two of them is a dot."""
    values = np.full(41, 0.5)
    values[10:20] = bad
    values[[30, 32]] = bad
    (cell,) = drawn(values, low=0.1)
    ink = cell.sum(axis=0)
    columns = np.linspace(0, WIDTH - 1, 41)
    inside = slice(int(columns[9]) + 2, int(columns[20]) - 1)
    assert not ink[inside].any()
    assert ink[: int(columns[9])].min() > 1
    assert ink[round(columns[31])] > 0.5
    assert not ink[round(columns[31]) + 2]


def test_a_curve_without_a_range_is_in_the_middle():
    """Whatever its value is."""
    for value in (0.0, 0.3, -1e300):
        (cell,) = drawn(np.full(16, value), low=value, high=value, height=61)
        np.testing.assert_allclose(cell[30], 1, atol=0.01)
        assert not cell[:29].any()
        assert not cell[32:].any()


def test_one_weight_is_a_level_line():
    """Over the whole width."""
    (cell,) = drawn([0.5], low=0.1)
    np.testing.assert_allclose(cell.sum(axis=0), 1.25, atol=0.02)


def test_a_faint_line_shows_zero_where_the_range_holds_it():
    """At the height of zero, fainter than the curve."""
    (cell,) = drawn(np.full(16, 1.0), low=-1.0, high=3.0, height=61)
    assert 0.2 < cell[45, 60] < 0.5
    (cell,) = drawn(np.full(16, 1.0), low=0.5, high=3.0)
    assert set(np.unique(cell.any(axis=1)).tolist()) == {False, True}
    assert not cell[55:].any()


def test_no_filters_give_no_cells():
    """An array of the same other sizes."""
    none = np.zeros(0)
    assert curve_and_spectrum_cells(np.zeros((0, 20)), none, none, 8, 9).shape == (0, 8, 18 + GAP)


@pytest.mark.parametrize("weights", [1, 16, 63, 64, 65, 251])
def test_a_spectrum_is_that_of_scipy(rng, weights):
    """``scipy.signal.periodogram`` without window and trend, below its maximum."""
    signal = pytest.importorskip("scipy.signal")
    values = rng.normal(size=(4, weights))
    spectra = spectrum_db(values)
    padded = 2 * (spectra.shape[1] - 1)
    assert padded == max(64, 2 ** int(np.ceil(np.log2(weights))))
    _, responses = zip(
        *(signal.freqz(each, worN=padded // 2 + 1, include_nyquist=True) for each in values),
        strict=True,
    )
    power = np.abs(responses) ** 2
    expected = 10 * np.log10(power / power.max(axis=1, keepdims=True))
    np.testing.assert_allclose(spectra, np.maximum(expected, FLOOR_DB), atol=1e-6)


def test_a_sine_has_its_maximum_at_its_frequency():
    """Bin k of B is at k / (2 (B - 1)) of the sampling rate."""
    frequencies = np.array([0.0, 0.125, 0.25, 0.5])
    values = np.cos(2 * np.pi * frequencies[:, np.newaxis] * np.arange(128))
    spectra = spectrum_db(values)
    assert (spectra.argmax(axis=1) / (2 * (spectra.shape[1] - 1))).tolist() == frequencies.tolist()
    assert spectra.max(axis=1).tolist() == [0, 0, 0, 0]


def test_a_band_pass_filter_lets_its_band_through():
    """Half its power at both ends of the band, less than -40 dB elsewhere."""
    signal = pytest.importorskip("scipy.signal")
    values = signal.firwin(251, [0.1, 0.2], pass_zero=False)
    (spectrum,) = spectrum_db(values[np.newaxis])
    frequencies = np.linspace(0, 1, len(spectrum))
    assert spectrum[(frequencies > 0.115) & (frequencies < 0.185)].min() > -1
    assert spectrum[(frequencies < 0.08) | (frequencies > 0.22)].max() < -40


@given(WEIGHTS, st.sampled_from([1e-300, 1e-3, 1e300]))
def test_a_spectrum_depends_on_neither_scale_nor_sign(values, scale):
    """It is below the filter's own maximum."""
    np.testing.assert_allclose(spectrum_db(values * -scale), spectrum_db(values), atol=1e-6)


def test_spectra_of_zeros_and_of_values_that_are_not_finite():
    """-60 dB throughout, and NaN, which is drawn as nothing."""
    values = np.zeros((3, 20))
    values[1, 3], values[2, 3] = np.nan, np.inf
    spectra = spectrum_db(values)
    assert set(spectra[0]) == {FLOOR_DB}
    assert np.isnan(spectra[1:]).all()
    cells = curve_and_spectrum_cells(values, np.full(3, -1.0), np.full(3, 1.0), HEIGHT, WIDTH)
    beside = cells[:, :, WIDTH + GAP :]
    assert not beside[1:].any()
    assert beside[0, -1].min() > 0.9
    assert not beside[0, :-3].any()


def test_a_signal_cell_is_the_curve_a_line_and_the_spectrum():
    """The spectrum of one peak is level: shaded from the bottom to the top."""
    values = np.zeros((1, 32))
    values[0, 5] = 1
    low, high = np.zeros(1), np.ones(1)
    (cell,) = curve_and_spectrum_cells(values, low, high, HEIGHT, WIDTH)
    np.testing.assert_array_equal(cell[:, :WIDTH], curve_cells(values, low, high, HEIGHT, WIDTH)[0])
    gap = cell[:, WIDTH : WIDTH + GAP]
    assert gap.any(axis=0).tolist() == [False, False, True, False, False]
    spectrum = cell[:, WIDTH + GAP :]
    np.testing.assert_allclose(spectrum[0], 1, atol=0.01)
    np.testing.assert_allclose(spectrum[2:], 0.4, atol=0.01)
