import itertools

import numpy as np
import pytest
from scipy import linalg

from filtertrack.measures import fit_templates
from filtertrack.measures.templates import _fine_gratings, _noise_fits


def coordinates(height, width):
    """Return each pixel's distance from the middle, right and up."""
    y, x = np.mgrid[:height, :width]
    return x - (width - 1) / 2, (height - 1) / 2 - y


def gabor(size, *, degrees, wave, envelope, centre, phase, length=1.5, sigma=None):
    """Return a Gabor function; stripes of 0 degrees are horizontal, of 45 rise to the right."""
    x, y = coordinates(*size)
    x, y = x - centre[0], y + centre[1]  # a centre is counted to the right and down
    along = np.radians(degrees)
    u = -np.sin(along) * x + np.cos(along) * y
    v = np.cos(along) * x + np.sin(along) * y
    sigma = sigma or max(0.7, envelope * min(wave, max(size)))
    window = np.exp(-(u**2) / 2 / sigma**2 - v**2 / 2 / (length * sigma) ** 2)
    return window * np.cos(2 * np.pi * u / wave + phase)


def blob(size, *, sigma, wider, centre):
    """Return a Gaussian, or a difference of two Gaussians of the same volume."""
    x, y = coordinates(*size)
    squared = (x - centre[0]) ** 2 + (y + centre[1]) ** 2
    spot = np.exp(-squared / 2 / sigma**2)
    if wider is None:
        return spot
    return spot - np.exp(-squared / 2 / (wider * sigma) ** 2) / wider**2


def r2_of(pattern, *parts):
    """Return R² of a least-squares fit of a pattern with parts and a constant."""
    design = np.stack([np.ones(pattern.size), *(part.ravel() for part in parts)], axis=1)
    weights, *_ = linalg.lstsq(design, pattern.ravel(), cond=1e-4)
    residual = pattern.ravel() - design @ weights
    return 1 - (residual @ residual) / ((pattern - pattern.mean()) ** 2).sum()


@pytest.mark.parametrize("size", [(5, 5), (4, 7)])
def test_best_blob_is_that_of_a_least_squares_search(size, rng):
    """Over all blobs of the docstring: the highest R², and its width."""
    height, width = size
    kernels = rng.normal(size=(3, height, width, 1)).cumsum(axis=1)
    fit = fit_templates(kernels).blob
    widths = [0.6 * (max(size) / 3.5 / 0.6) ** (step / 4) for step in range(5)]
    down, right = ((side - 1) // 2 for side in size)  # half pixels, in the middle half
    centres = [
        (across / 2, rows / 2)
        for across in range(-right, right + 1)
        for rows in range(-down, down + 1)
    ]
    for number, kernel in enumerate(kernels[..., 0]):
        r2, sigma = max(
            (r2_of(kernel, blob(size, sigma=sigma, wider=wider, centre=centre)), sigma)
            for sigma, wider, centre in itertools.product(widths, (None, 1.6, 2.5), centres)
        )
        assert fit.r2[number] == pytest.approx(r2, abs=1e-4)
        assert fit.size[number] == pytest.approx(sigma)
        assert np.isnan(fit.degrees[number])


def gratings(side):
    """Return the poses of gratings, from one cycle per side to one in 2.5 pixels."""
    poses = []
    for right, up in itertools.product(range(side + 1), range(-side, side + 1)):
        wave = 2 * side / max(np.hypot(right, up), 1e-9)
        if 2.5 <= wave <= side and (right > 0 or up > 0):
            degrees = (np.degrees(np.arctan2(up, right)) + 90) % 180
            poses.append(
                {
                    "degrees": degrees,
                    "wave": wave,
                    "envelope": None,
                    "sigma": 0.45 * side,
                    "length": 1.0,
                    "centre": (0, 0),
                }
            )
    return poses


@pytest.mark.parametrize("size", [(5, 5), (4, 7)])
def test_best_gabor_is_that_of_a_least_squares_search(size, rng):
    """Over all Gabors of the docstring: the highest R², its wavelength and direction."""
    height, width = size
    kernels = rng.normal(size=(2, height, width, 1)).cumsum(axis=1)
    fit = fit_templates(kernels).gabor
    waves = [2.5 * (2 * max(size) / 2.5) ** (step / 5) for step in range(6)]
    poses = [
        {
            "degrees": degrees,
            "wave": wave,
            "envelope": envelope,
            "length": length,
            "centre": (x * width, y * height),
        }
        for degrees, wave, (envelope, length), x, y in itertools.product(
            range(0, 180, 15),
            waves,
            ((0.35, 1.5), (0.35, 5.0), (0.6, 1.5)),
            (-0.2, 0, 0.2),
            (-0.2, 0, 0.2),
        )
    ]
    poses += gratings(max(size))
    for number, kernel in enumerate(kernels[..., 0]):
        found = []
        for pose in poses:
            wave, degrees = pose["wave"], pose["degrees"]
            pair = (gabor(size, **pose, phase=phase) for phase in (0, np.pi / 2))
            found.append((r2_of(kernel, *pair), wave, degrees))
        r2, wave, degrees = max(found)
        assert fit.r2[number] == pytest.approx(r2, abs=2e-3)
        assert fit.size[number] == pytest.approx(wave)
        assert fit.degrees[number] == pytest.approx(degrees)


@pytest.mark.parametrize("size", [5, 7, 9, 11])
@pytest.mark.parametrize("tints", [[1.0], [1.0, -0.5, 0.3]])
def test_gabors_in_any_pose_fit_well(size, tints, rng):
    """Also between the poses of the bank; direction and wavelength are nearly right."""
    poses = [
        {
            "degrees": rng.uniform(0, 180),
            "wave": rng.uniform(2.8, 1.2 * size),
            "envelope": rng.uniform(0.35, 0.6),
            "centre": rng.uniform(-0.2, 0.2, 2) * size,
            "phase": rng.uniform(0, 2 * np.pi),
        }
        for _ in range(150)
    ]
    kernels = np.stack([gabor((size, size), **pose) for pose in poses])[..., None] * tints
    fits = fit_templates(kernels)
    error = np.abs((fits.gabor.degrees - [p["degrees"] for p in poses] + 90) % 180 - 90)
    ratio = fits.gabor.size / np.array([p["wave"] for p in poses])
    assert np.quantile(error, 0.95) < 10  # the bank's directions are 15 degrees apart
    assert np.quantile(ratio, 0.05) > 0.75  # its wavelengths are factors of 1.3 to 1.6 apart
    assert np.quantile(ratio, 0.95) < 1.45
    assert np.median(fits.gabor.r2) > 0.93
    assert np.quantile(fits.gabor.r2, 0.05) > 0.78
    assert (fits.p_value <= 1 / 400).all()


@pytest.mark.parametrize("size", [5, 7, 9, 11])
@pytest.mark.parametrize("tints", [[1.0], [1.0, -0.5, 0.3]])
def test_blobs_in_any_pose_fit_well(size, tints, rng):
    """Also between the poses of the bank; the width is nearly right."""
    half = (size - 1) // 2 / 2
    poses = [
        {
            "sigma": rng.uniform(0.7, size / 3.5),
            "wider": rng.choice([None, 1.6, 2.0, 2.5]),
            "centre": rng.uniform(-half, half, 2),
        }
        for _ in range(150)
    ]
    kernels = np.stack([blob((size, size), **pose) for pose in poses])[..., None] * tints
    fits = fit_templates(kernels)
    assert np.median(fits.blob.r2) > 0.95
    assert np.quantile(fits.blob.r2, 0.05) > 0.9
    assert (fits.p_value <= 1 / 400).all()
    ratio = fits.blob.size / np.array([p["sigma"] for p in poses])
    assert ((ratio > 0.7) & (ratio < 1.4)).all()


@pytest.mark.parametrize("size", [3, 5, 6, 7])
def test_noise_fits_as_well_as_chance(size):
    """R² of noise and of its shuffles agree on average; p-values are about uniform."""
    rng = np.random.default_rng(11)
    fits = fit_templates(rng.normal(size=(1000, size, size, 1)))
    for fit in (fits.gabor, fits.blob, fits.grating):
        assert fit.r2.mean() == pytest.approx(fit.chance.mean(), abs=0.015)
        assert fit.excess.mean() == pytest.approx(0, abs=0.05)
        assert ((fit.r2 >= 0) & (fit.r2 <= 1)).all()
    for p_value in (fits.p_value, fits.grating_p_value):
        assert 0.02 <= (p_value <= 0.05).mean() <= 0.08
        assert (p_value > 0).all()
        assert (p_value <= 1).all()


@pytest.mark.parametrize("shape", [(5, 5), (6, 6), (7, 4), (8, 9)])
def test_chequers_and_stripes_of_two_pixels_are_fine_gratings(shape):
    """R² is nearly 1, of coarser patterns low; size and angle are those of the stripes."""
    y, x = np.indices(shape)
    patterns = np.stack([(-1.0) ** (y + x), (-1.0) ** x, (-1.0) ** y, x - 2.0, np.sin(2 * x)])
    fits = fit_templates(patterns[..., None])
    assert (fits.grating.r2[:3] > 0.85).all()
    assert (fits.grating.r2[3:] < 0.8).all()
    np.testing.assert_allclose(fits.grating.size[:3], [np.sqrt(2), 2, 2])
    assert fits.grating.degrees[1:3].tolist() == [90, 0]
    assert (fits.grating_p_value[:3] <= 0.01).all()
    assert (fits.gabor.r2[3:] > fits.grating.r2[3:]).all()


@pytest.mark.parametrize("shape", [(3, 3), (6, 6), (7, 4)])
def test_templates_of_fine_gratings_are_not_rounding_errors(shape):
    """The sine of a chequerboard is zero at all pixels, and so is its template."""
    size = np.linalg.norm(_fine_gratings(*shape).weights, axis=1)
    assert ((size < 1e-6) | (np.abs(size - 1) < 1e-6)).all()
    assert (size < 1e-6).any()


def test_filters_that_are_shrunk_are_not_fitted_with_fine_gratings(rng):
    """What is fine in the shrunk filter is not fine in the filter."""
    fits = fit_templates(rng.normal(size=(2, 57, 50, 1)))
    assert np.isfinite(fits.gabor.r2).all()
    assert np.isnan([*fits.grating]).all()
    assert fits.grating_p_value.tolist() == [1, 1]


def test_excess_is_r2_beyond_chance(rng):
    """(R² - chance) / (1 - chance): 1 for a perfect fit, below 0 for one worse than chance."""
    fit = fit_templates(rng.normal(size=(50, 7, 7, 1))).gabor
    for excess, r2, chance in zip(fit.excess, fit.r2, fit.chance, strict=True):
        assert excess == pytest.approx((r2 - chance) / (1 - chance))
    template = gabor((7, 7), degrees=45, wave=2.5, envelope=0.6, centre=(0, 0), phase=1)
    perfect = fit_templates(template[None, ..., None]).gabor
    assert perfect.excess[0] == pytest.approx(1, abs=1e-4)
    assert perfect.degrees[0] == pytest.approx(45)


def test_strongest_pattern_of_several_channels_is_fitted(rng):
    """As found by numpy's singular value decomposition."""
    kernels = rng.normal(size=(20, 5, 5, 4))
    fits = fit_templates(kernels)
    patterns = []
    for kernel in kernels:
        matrix = kernel.reshape(25, 4)
        left, _, _ = np.linalg.svd(matrix - matrix.mean(axis=0), full_matrices=False)
        patterns.append(left[:, 0].reshape(5, 5, 1))
    expected = fit_templates(np.stack(patterns))
    for one, other in zip(fits[:2], expected[:2], strict=True):
        np.testing.assert_allclose(one.r2, other.r2, atol=1e-5)
        np.testing.assert_allclose(one.chance, other.chance, atol=1e-5)
        np.testing.assert_allclose(one.size, other.size)


@pytest.mark.parametrize("factor", [-1.0, 1e-200, 3.7, 1e200])
def test_fits_ignore_scale_sign_and_mean(factor, rng):
    """The same R², and nearly the same p-value."""
    kernels = rng.normal(size=(20, 5, 5, 3))
    one = fit_templates(kernels)
    for changed in (kernels * factor, kernels + np.array([3.0, -2.0, 1.0])):
        other = fit_templates(changed)
        for family in (0, 1):
            np.testing.assert_allclose(one[family].r2, other[family].r2, atol=1e-5)
            np.testing.assert_allclose(one[family].chance, other[family].chance, atol=1e-5)
            np.testing.assert_array_equal(one[family].size, other[family].size)
        np.testing.assert_allclose(one.p_value, other.p_value, atol=0.03)


def test_fits_mirror_with_the_filter(rng):
    """The direction of a Gabor is mirrored; a blob has none."""
    kernels = rng.normal(size=(40, 6, 6, 2))
    one = fit_templates(kernels)
    mirrored, transposed = kernels[:, :, ::-1], kernels.swapaxes(1, 2)
    degrees_of = one.gabor.degrees
    for other, degrees in ((mirrored, -degrees_of), (transposed, -90 - degrees_of)):
        found = fit_templates(other)
        np.testing.assert_allclose(found.gabor.r2, one.gabor.r2, atol=1e-5)
        np.testing.assert_allclose(found.blob.r2, one.blob.r2, atol=1e-5)
        np.testing.assert_allclose(found.grating.r2, one.grating.r2, atol=1e-5)
        assert np.abs((found.gabor.degrees - degrees + 90) % 180 - 90).max() < 1e-6


def test_fits_are_reproducible(rng):
    """Also with new noise; another seed changes the shuffles, not R²."""
    kernels = rng.normal(size=(20, 5, 4, 3))
    one = fit_templates(kernels)
    _noise_fits.cache_clear()
    two, other = fit_templates(kernels), fit_templates(kernels, seed=1)
    for family in (0, 1):
        for before, after in zip(one[family], two[family], strict=True):
            np.testing.assert_array_equal(before, after)
        np.testing.assert_array_equal(one[family].r2, other[family].r2)
        assert (one[family].chance != other[family].chance).any()
    np.testing.assert_array_equal(one.p_value, two.p_value)


@pytest.mark.parametrize(
    "kernels",
    [
        np.zeros((2, 5, 5, 1)),
        np.full((2, 5, 5, 3), 0.1),
        np.full((2, 5, 5, 1), np.nan),
        np.full((2, 5, 5, 1), np.inf),
        np.ones((2, 1, 1, 3)),
        np.arange(20.0).reshape(2, 2, 5, 1),
        np.arange(20.0).reshape(2, 10, 1, 1),
        np.ones((0, 5, 5, 1)),
        np.ones((2, 5, 5, 0)),
    ],
    ids=["zero", "constant", "NaN", "infinite", "pixel", "two rows", "one column", "none", "empty"],
)
def test_undefined_filters_are_not_fitted(kernels):
    """R² is NaN, the p-value 1."""
    fits = fit_templates(kernels)
    assert fits.p_value.tolist() == fits.grating_p_value.tolist() == [1] * len(kernels)
    for fit in (fits.gabor, fits.blob, fits.grating):
        for values in (*fit, fit.excess):
            assert np.isnan(values).tolist() == [True] * len(kernels)


def test_undefined_filter_does_not_affect_others(rng):
    """NaN and p = 1 for that filter only."""
    kernels = rng.normal(size=(4, 5, 5, 2))
    whole = fit_templates(kernels)
    kernels[1] = np.nan
    found = fit_templates(kernels)
    assert np.isnan(found.blob.r2).tolist() == [False, True, False, False]
    assert found.p_value[1] == 1
    np.testing.assert_array_equal(found.p_value[[0, 2, 3]], whole.p_value[[0, 2, 3]])
    np.testing.assert_allclose(found.gabor.r2[[0, 2, 3]], whole.gabor.r2[[0, 2, 3]], atol=1e-6)
