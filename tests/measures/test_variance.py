import math

import numpy as np
import pytest
from scipy import linalg, stats

from filtertrack.measures import entropy_threshold, variance_entropy
from filtertrack.measures.variance import _scatter


# Printed by torchconvquality 0.3.0, the program of the authors of CNN Filter DB, with
# torch 2.13.0+cpu: measure_conv_weight_quality of ``published``; the threshold is the entropy over
# its "variance_entropy_norm".
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("plain", 0.9375008344650269),
        ("sparse", 0.9297097325325012),
        ("low rank", 0.28074461221694946),
    ],
)
def test_variance_entropy_agrees_with_the_authors_program(published, name, expected):
    """Up to the precision of float32."""
    assert variance_entropy(published(name)) == pytest.approx(expected, abs=1e-5)


# Printed by the same program's _entropy_max_threshold.
@pytest.mark.parametrize(
    ("slices", "expected"),
    [
        (2, -0.00886406416431934),
        (3, 0.12552614331048328),
        (8, 0.5092223504414326),
        (64, 0.9055617473792277),
        (128, 0.9320612507577091),
        (1024, 0.9499356671412686),
        (262144, 0.9512952376492532),
    ],
)
def test_3x3_threshold_agrees_with_the_authors_program(slices, expected):
    """The same formula with the same constants."""
    assert entropy_threshold(slices, 3, 3) == pytest.approx(expected, rel=1e-12)


def entropy_of(slices):
    """Return the variance entropy of slices, one per row, by scipy."""
    return stats.entropy(linalg.svdvals(slices - slices.mean(axis=0)) ** 2, base=10)


@pytest.mark.parametrize("shape", [(8, 3, 3, 4), (2, 5, 5, 3), (6, 1, 7, 1), (3, 2, 2, 1)])
def test_variance_entropy_agrees_with_scipy(shape, rng):
    """Of squared singular values of slices, one row per filter and channel."""
    kernels = rng.normal(size=shape) * np.linspace(0.1, 2, shape[1]).reshape(1, -1, 1, 1)
    filters, height, width, channels = shape
    slices = [kernels[f, :, :, c].ravel() for f in range(filters) for c in range(channels)]
    expected = entropy_of(np.array(slices))
    for factor in (1.0, -1.0, 1e-200, 1e200):
        assert variance_entropy(factor * kernels) == pytest.approx(expected, rel=1e-9)
    moved = kernels + rng.normal(size=(1, height, width, 1))
    assert variance_entropy(moved) == pytest.approx(expected, rel=1e-9)
    mirrored = variance_entropy(kernels[:, ::-1].swapaxes(1, 2))
    assert mirrored == pytest.approx(expected, rel=1e-9)


def test_variance_entropy_of_few_patterns(rng):
    """0 for a single pattern, log10(2) for two of equal strength."""
    strengths = np.tile([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -1.0]], (3, 1))
    patterns = np.eye(9)[:2]
    assert variance_entropy((strengths @ patterns).reshape(12, 3, 3, 1)) == pytest.approx(
        math.log10(2)
    )
    single = rng.normal(size=(12, 1, 1, 4)) * rng.normal(size=(1, 3, 3, 1))
    assert variance_entropy(single) == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize(
    "kernels",
    [
        np.zeros((4, 3, 3, 2)),
        np.full((4, 3, 3, 2), 0.1),
        np.tile(np.linspace(0.1, 0.7, 9).reshape(1, 3, 3, 1), (4, 1, 1, 2)),
        np.full((4, 3, 3, 2), np.nan),
        np.pad([[[[np.inf]]]], [(0, 3), (1, 1), (1, 1), (0, 0)]),
        np.ones((1, 3, 3, 1)),
        np.ones((0, 3, 3, 1)),
        np.ones((4, 3, 3, 0)),
    ],
    ids=["zero", "constant", "alike", "NaN", "infinite", "one slice", "no filters", "no channels"],
)
def test_variance_entropy_of_undefined_layers(kernels):
    """NaN, without a warning."""
    assert math.isnan(variance_entropy(kernels))


@pytest.mark.parametrize(("slices", "size"), [(2, 5), (10, 5), (64, 5), (300, 5), (64, 7), (12, 4)])
def test_other_thresholds_are_the_lowest_of_random_layers(slices, size):
    """Of 100, drawn and decomposed here: the same up to a sampling error."""
    rng = np.random.default_rng(3)
    lowest = [
        min(entropy_of(rng.normal(size=(slices, size**2))) for _ in range(100)) for _ in range(3)
    ]
    spread = 3 * (max(lowest) - min(lowest)) + 1e-3
    found = entropy_threshold(slices, size, size)
    assert min(lowest) - spread < found < max(lowest) + spread
    entropy_threshold.cache_clear()
    assert entropy_threshold(slices, size, size) == found


@pytest.mark.parametrize(("freedom", "pixels"), [(30, 5), (5, 5), (3, 6)])
def test_scatter_matrices_follow_the_wishart_distribution(freedom, pixels):
    """Their largest eigenvalue and their trace, compared with samples of scipy or numpy."""
    rng = np.random.default_rng(5)
    drawn = np.stack([_scatter(rng, freedom, pixels) for _ in range(2000)])
    vectors = rng.normal(size=(2000, freedom, pixels))
    expected = vectors.transpose(0, 2, 1) @ vectors
    if freedom >= pixels:
        expected = stats.wishart(freedom, np.eye(pixels)).rvs(2000, random_state=6)
    for measure in (lambda each: linalg.eigvalsh(each)[-1], np.trace):
        samples = [[measure(matrix) for matrix in matrices] for matrices in (drawn, expected)]
        assert stats.ks_2samp(*samples).pvalue > 0.001


def test_random_3x3_layers_lie_above_the_threshold():
    """Nearly all, as the authors fitted it to the lowest entropies."""
    rng = np.random.default_rng(3)
    entropies = [variance_entropy(rng.normal(size=(16, 3, 3, 8))) for _ in range(300)]
    assert np.mean(np.array(entropies) >= entropy_threshold(128, 3, 3)) > 0.9


def test_threshold_limits():
    """NaN for one slice or one pixel; increasing with slices, up to log10 of the pixels."""
    assert math.isnan(entropy_threshold(1, 5, 5))
    assert math.isnan(entropy_threshold(0, 3, 3))
    assert math.isnan(entropy_threshold(50, 1, 1))
    rising = [entropy_threshold(slices, 5, 5) for slices in (4, 16, 64, 256, 1024, 1_000_000)]
    assert rising == sorted(rising)
    assert math.log10(25) - 1e-3 < rising[-1] <= math.log10(25)
