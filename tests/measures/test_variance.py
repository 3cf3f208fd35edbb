import math

import numpy as np
import pytest

from filtertrack.measures import entropy_threshold, variance_entropy


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
def test_variance_entropy_is_that_of_the_authors(published, name, expected):
    """To what float32 leaves of it."""
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
def test_the_threshold_of_3x3_is_that_of_the_authors(slices, expected):
    """The same formula, the same constants."""
    assert entropy_threshold(slices, 3, 3) == pytest.approx(expected, rel=1e-12)


def decomposed(slices):
    """Return the entropy of slices, a row each, from numpy's singular values, in loops."""
    values = np.linalg.svd(slices - slices.mean(axis=0), compute_uv=False)
    total = sum(float(value) ** 2 for value in values)
    shares = [float(value) ** 2 / total for value in values]
    return -sum(share * math.log10(share) for share in shares if share > 0)


@pytest.mark.parametrize("shape", [(8, 3, 3, 4), (2, 5, 5, 3), (6, 1, 7, 1), (3, 2, 2, 1)])
def test_variance_entropy_is_that_of_squared_singular_values(shape, rng):
    """Slices of a filter and a channel, a row each; more rows than pixels, and fewer."""
    kernels = rng.normal(size=shape) * np.linspace(0.1, 2, shape[1]).reshape(1, -1, 1, 1)
    filters, height, width, channels = shape
    slices = [kernels[f, :, :, c].ravel() for f in range(filters) for c in range(channels)]
    expected = decomposed(np.array(slices))
    for factor in (1.0, -1.0, 1e-200, 1e200):
        assert variance_entropy(factor * kernels) == pytest.approx(expected, rel=1e-9)
    moved = kernels + rng.normal(size=(1, height, width, 1))
    assert variance_entropy(moved) == pytest.approx(expected, rel=1e-9)
    mirrored = variance_entropy(kernels[:, ::-1].swapaxes(1, 2))
    assert mirrored == pytest.approx(expected, rel=1e-9)


def test_variance_entropy_of_few_patterns(rng):
    """0 where all slices are one pattern, log10 of 2 where they are two alike in strength."""
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
def test_where_there_is_no_variance(kernels):
    """NaN, and no warning."""
    assert math.isnan(variance_entropy(kernels))


@pytest.mark.parametrize(("slices", "size"), [(2, 5), (10, 5), (64, 5), (300, 5), (64, 7), (12, 4)])
def test_the_threshold_of_other_sizes_is_that_of_random_layers(slices, size):
    """The lowest of 100 of them, drawn and decomposed here: the same but for luck."""
    rng = np.random.default_rng(3)
    lowest = [
        min(decomposed(rng.normal(size=(slices, size**2))) for _ in range(100)) for _ in range(3)
    ]
    spread = 3 * (max(lowest) - min(lowest)) + 1e-3
    found = entropy_threshold(slices, size, size)
    assert min(lowest) - spread < found < max(lowest) + spread
    entropy_threshold.cache_clear()
    assert entropy_threshold(slices, size, size) == found


def test_random_layers_of_3x3_lie_above_the_threshold():
    """As the authors fitted it to the lowest: nearly all of them do."""
    rng = np.random.default_rng(3)
    entropies = [variance_entropy(rng.normal(size=(16, 3, 3, 8))) for _ in range(300)]
    assert np.mean(np.array(entropies) >= entropy_threshold(128, 3, 3)) > 0.9


def test_the_threshold_where_there_is_nothing_to_compare():
    """One slice or one pixel has no variance; more slices raise it, to at most log10 of pixels."""
    assert math.isnan(entropy_threshold(1, 5, 5))
    assert math.isnan(entropy_threshold(0, 3, 3))
    assert math.isnan(entropy_threshold(50, 1, 1))
    rising = [entropy_threshold(slices, 5, 5) for slices in (4, 16, 64, 256, 1024, 1_000_000)]
    assert rising == sorted(rising)
    assert math.log10(25) - 1e-3 < rising[-1] <= math.log10(25)
