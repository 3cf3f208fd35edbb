import numpy as np
import pytest
from scipy import fft

from filtertrack.measures import orientation


def grating(degrees, size, *, cycles=0.25, phase=0.0):
    """Return stripes in a direction (0 is horizontal, 45 rises to the right)."""
    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    along = np.radians(degrees)
    across = -np.sin(along) * x - np.cos(along) * y  # rows count downward
    return np.cos(2 * np.pi * cycles * across + phase)[..., np.newaxis]


def apart(degrees, others):
    """Return the difference between directions in degrees: 1 for 179 and 0."""
    return np.abs((np.asarray(degrees) - others + 90) % 180 - 90)


@pytest.mark.parametrize("size", [5, 7, 9, 11])
@pytest.mark.parametrize("phase", [0.0, 1.0, np.pi / 2])
def test_direction_of_gratings(size, phase):
    """Within a few degrees at every angle, with high selectivity."""
    angles = np.arange(0, 180, 3)
    found = orientation(np.stack([grating(angle, size, phase=phase) for angle in angles]))
    assert apart(found.degrees, angles).max() < 4
    assert ((found.degrees >= 0) & (found.degrees < 180)).all()
    assert (found.selectivity > 0.6).all()
    assert (found.selectivity <= 1).all()


@pytest.mark.parametrize("cycles", [0.15, 0.25, 0.35])
def test_direction_of_coarse_and_fine_gratings(cycles):
    """Within two degrees for 9x9, within twelve for 3x3."""
    angles = np.arange(0, 180, 5)
    for size, error in ((9, 2), (3, 12)):
        kernels = np.stack([grating(angle, size, cycles=cycles, phase=1.0) for angle in angles])
        assert apart(orientation(kernels).degrees, angles).max() < error


def test_direction_of_colour_edges():
    """Channels of opposite sign do not cancel, a constant one does not matter."""
    angles = np.arange(0, 180, 10)
    tints = np.array([1.0, -1.0, 0.0])
    kernels = np.stack([grating(angle, 7) * tints + [0.0, 0.0, 5.0] for angle in angles])
    assert apart(orientation(kernels).degrees, angles).max() < 3


@pytest.mark.parametrize("factor", [-1.0, 1e-200, -3.7, 1e200])
def test_orientation_ignores_scale_sign_and_mean(factor, rng):
    """The direction and the selectivity are the same."""
    kernels = rng.normal(size=(20, 5, 6, 2))
    one = orientation(kernels)
    for other in (orientation(kernels * factor), orientation(kernels + np.array([3.0, -2.0]))):
        assert apart(one.degrees, other.degrees).max() < 1e-6
        np.testing.assert_allclose(other.selectivity, one.selectivity)


def test_orientation_rotates_with_the_filter(rng):
    """By 90 degrees; mirroring reverses it."""
    kernels = rng.normal(size=(20, 5, 5, 2))
    degrees = orientation(kernels).degrees
    turned = orientation(np.rot90(kernels, axes=(1, 2))).degrees
    assert apart(turned, degrees + 90).max() < 1e-6
    assert apart(orientation(kernels[:, :, ::-1]).degrees, -degrees).max() < 1e-6


@pytest.mark.parametrize("value", [0.0, 2.5, np.nan, np.inf, -np.inf])
def test_filters_without_pattern_have_no_direction(value):
    """Zeros, constants and not finite filters; other filters are not affected."""
    kernels = np.stack([grating(30, 5), grating(60, 5), grating(120, 5)])
    kernels[1, :, : 5 if np.isfinite(value) else 1] = value
    found = orientation(kernels)
    assert np.isnan(found.degrees).tolist() == [False, True, False]
    assert found.selectivity[1] == 0
    assert apart(found.degrees[[0, 2]], [30, 120]).max() < 4


@pytest.mark.parametrize("size", [3, 5, 9])
def test_symmetric_filters_have_no_direction(size):
    """A dot and a round blob: rounding errors give no direction."""
    dot = np.pad([[1.0]], size // 2)
    y, x = np.mgrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j]
    found = orientation(np.stack([dot, np.exp(-3 * (x**2 + y**2))])[..., np.newaxis])
    assert found.selectivity.max() < 1e-9
    assert np.isnan(found.degrees).all()


def test_single_pixel_has_no_direction():
    """And a layer without filters has none."""
    found = orientation(np.ones((2, 1, 1, 3)))
    assert np.isnan(found.degrees).all()
    assert found.selectivity.tolist() == [0, 0]
    assert orientation(np.empty((0, 3, 3, 1))).degrees.shape == (0,)


@pytest.mark.parametrize(
    "weights",
    [[-1, -1, -1, 0, 1, 1, 1], [1, -1, 1, -1, 1, -1, 1], [0, 1, 2, 3, 4, 5, 6]],
    ids=["edge", "stripes", "slope"],
)
def test_direction_of_kernels_along_one_axis(weights):
    """Edges of a 1x7 kernel are vertical, those of a 7x1 kernel horizontal."""
    row = np.array(weights, float).reshape(1, 1, 7, 1)
    assert apart(orientation(row).degrees, 90).max() < 1e-6
    assert apart(orientation(row.swapaxes(1, 2)).degrees, 0).max() < 1e-6


def test_orientation_of_a_deep_layer_takes_little_memory():
    """All spectra of 512 channels at once would take gigabytes."""
    import tracemalloc

    kernels = np.random.default_rng(0).normal(size=(64, 3, 3, 512)).astype(np.float32)
    tracemalloc.start()
    orientation(kernels)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 50e6


@pytest.mark.parametrize("shape", [(3, 3, 1), (5, 4, 2), (2, 7, 3), (3, 3, 12)])
def test_orientation_is_the_resultant_of_the_power_spectrum(shape, rng):
    """Compared with a sum over all frequencies of the plane, channel by channel."""
    kernels = rng.normal(size=(4, *shape))
    channels = shape[2]
    grid = fft.fftshift(fft.fftfreq(32))
    found = orientation(kernels)
    for number, kernel in enumerate(kernels):
        power = np.zeros((32, 32))
        for channel in range(channels):
            values = kernel[:, :, channel] - kernel[:, :, channel].mean()
            power += np.abs(fft.fftshift(fft.fft2(values, (32, 32)))) ** 2
        resultant, total, best = 0, 0, (-1, 0)
        for one, fy in enumerate(grid):
            for other, fx in enumerate(grid):
                radius = np.hypot(fy, fx)
                if radius <= 0.5:
                    turn = np.exp(2j * np.arctan2(-fy, fx))
                    # -0.5 and 0.5 cycles per pixel are the same frequency, in two directions.
                    if fy == -0.5 or fx == -0.5:
                        turn = turn.real
                    resultant += power[one, other] * turn
                    total += power[one, other]
                    best = max(best, (power[one, other], radius))
        assert found.selectivity[number] == pytest.approx(abs(resultant) / total, abs=1e-9)
        degrees = np.degrees(np.angle(resultant)) / 2 + 90
        assert apart(found.degrees[number], degrees) < 1e-6
        assert found.frequency[number] == pytest.approx(best[1])


@pytest.mark.parametrize("size", [7, 9, 11])
@pytest.mark.parametrize("cycles", [0.15, 0.25, 0.35])
def test_frequency_of_gratings(size, cycles):
    """In every direction and phase, within 0.05 cycles per pixel."""
    kernels = [
        grating(angle, size, cycles=cycles, phase=phase)
        for angle in range(0, 180, 10)
        for phase in (0.0, 1.0, 2.0)
    ]
    found = orientation(np.stack(kernels)).frequency
    assert np.abs(found - cycles).max() < 0.05
    assert (found <= 0.5).all()


@pytest.mark.parametrize("factor", [-1.0, 1e-200, 1e200])
def test_frequency_ignores_scale_sign_and_mean(factor, rng):
    """And mirroring."""
    kernels = rng.normal(size=(20, 5, 6, 2))
    frequency = orientation(kernels).frequency
    np.testing.assert_array_equal(orientation(factor * kernels).frequency, frequency)
    np.testing.assert_array_equal(orientation(kernels + np.array([3.0, -2.0])).frequency, frequency)
    np.testing.assert_array_equal(orientation(kernels[:, ::-1]).frequency, frequency)


@pytest.mark.parametrize("value", [0.0, 2.5, np.nan, np.inf])
def test_filters_without_pattern_have_no_frequency(value):
    """Zeros, constants and not finite filters."""
    kernels = np.full((1, 5, 5, 2), value)
    assert np.isnan(orientation(kernels).frequency).all()
    assert np.isnan(orientation(kernels[:, :1, :1]).frequency).all()
