import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import linalg, stats

from filtertrack.measures import (
    compare_filters,
    effective_rank,
    orthogonality,
    similarity,
    sparsity,
    twins,
)
from filtertrack.measures.redundancy import _chance_cosine

FILTERS = arrays(np.float64, (3, 3, 2, 2), elements=st.floats(-10, 10))


@given(FILTERS)
def test_similarity_is_the_cosine(kernels):
    """Symmetric, 1 with the filter itself, within [-1, 1]."""
    found = similarity(kernels)
    assert (np.abs(found) <= 1).all()
    np.testing.assert_allclose(found, found.T, atol=1e-12)
    flat = kernels.reshape(3, -1)
    lengths = np.linalg.norm(flat, axis=1)
    for one, row in enumerate(found):
        for other, value in enumerate(row):
            if lengths[one] * lengths[other] > 1e-100:
                cosine = flat[one] @ flat[other] / (lengths[one] * lengths[other])
                assert value == pytest.approx(cosine, abs=1e-9)
            elif not (kernels[one].any() and kernels[other].any()):
                assert value == 0


@pytest.mark.parametrize("factor", [1e-200, 3.7, 1e200])
def test_similarity_ignores_length(rng, factor):
    """A filter and its negative have the cosine -1."""
    kernels = rng.normal(size=(6, 3, 3, 2))
    np.testing.assert_allclose(similarity(kernels * factor), similarity(kernels), atol=1e-12)
    both = similarity(np.concatenate([kernels, -factor * kernels]))
    np.testing.assert_allclose(both[:6, 6:], -both[:6, :6], atol=1e-12)
    np.testing.assert_allclose(np.diag(both[:6, 6:]), -1)


@pytest.mark.parametrize("value", [0.0, np.nan, np.inf])
def test_similarity_of_zeros_and_not_finite_filters(rng, value):
    """0 with every filter and itself; other filters are not affected."""
    kernels = rng.normal(size=(4, 3, 3, 2))
    whole = similarity(kernels)
    kernels[1] = 0
    kernels[1, 0, 0, 0] = value
    found = similarity(kernels)
    assert not found[1].any()
    assert not found[:, 1].any()
    others = np.ix_([0, 2, 3], [0, 2, 3])
    np.testing.assert_allclose(found[others], whole[others])


# Printed by torchconvquality 0.3.0, the program of the authors of CNN Filter DB, with
# torch 2.13.0+cpu: measure_conv_weight_quality of ``published``.
@pytest.mark.parametrize(
    ("name", "share", "independence"),
    [
        ("plain", 0.0, 0.90290766954422),
        ("sparse", 0.1875, 0.9014337062835693),
        ("low rank", 0.0, 0.7851656079292297),
    ],
)
def test_sparsity_and_orthogonality_agree_with_authors(published, name, share, independence):
    """Up to the precision of float32."""
    assert sparsity(published(name)) == share
    assert orthogonality(published(name)) == pytest.approx(independence, abs=1e-5)


def test_sparsity_counts_nearly_zero_slices(rng):
    """Slices without a weight above 1 % of the layer's largest."""
    kernels = rng.normal(size=(6, 3, 2, 5)) * 10.0 ** rng.uniform(-4, 0, size=(6, 1, 1, 5))
    largest = max(abs(weight) for weight in kernels.ravel().tolist())
    empty = [
        all(abs(weight) < 0.01 * largest for weight in kernels[one, :, :, other].ravel().tolist())
        for one in range(6)
        for other in range(5)
    ]
    assert 0 < sum(empty) < 30
    assert sparsity(kernels) == pytest.approx(sum(empty) / 30)


def test_sparsity_of_zeros_and_empty_layers():
    """1 for zeros, NaN without weights."""
    assert sparsity(np.zeros((4, 3, 3, 2))) == 1
    assert np.isnan(sparsity(np.zeros((0, 3, 3, 2))))
    assert np.isnan(sparsity(np.zeros((4, 3, 3, 0))))


def test_sparsity_of_tiny_float16_weights():
    """A slice of zeros counts, however small the other weights are."""
    kernels = np.array([2e-6, 0.0]).reshape(2, 1, 1, 1)
    assert sparsity(kernels) == 0.5
    assert sparsity(kernels.astype(np.float16)) == 0.5


@pytest.mark.parametrize("broken", [np.nan, np.inf])
def test_sparsity_of_not_finite_layers(broken):
    """NaN, as the largest weight is unknown."""
    kernels = np.ones((3, 3, 3, 1))
    kernels[0, 0, 0] = broken
    assert np.isnan(sparsity(kernels))


def dot(one, other):
    """Return the sum of products, from the standard library."""
    return math.fsum(a * b for a, b in zip(one.tolist(), other.tolist(), strict=True))


@given(FILTERS)
def test_orthogonality_is_one_minus_the_mean_cosine(kernels):
    """In absolute value; a filter of zeros is orthogonal to all others."""
    rows = kernels.reshape(3, -1)
    lengths = [math.hypot(*row) for row in rows]
    if all(length == 0 or length > 1e-100 for length in lengths):
        cosines = [
            abs(dot(rows[one] / lengths[one], rows[other] / lengths[other]))
            for one, other in ((0, 1), (0, 2), (1, 2))
            if lengths[one] and lengths[other]
        ]
        assert orthogonality(kernels) == pytest.approx(1 - sum(cosines) / 3, abs=1e-9)


def test_orthogonality_of_extremes(rng):
    """1 for orthogonal filters, 0 for parallel or opposite ones; NaN for a single filter."""
    square, _ = np.linalg.qr(rng.normal(size=(18, 6)))
    assert orthogonality(square.T.reshape(6, 3, 3, 2)) == pytest.approx(1)
    parallel = np.array([1.0, -2.0, 5.0, -0.1]).reshape(4, 1, 1, 1) * rng.normal(size=(1, 3, 3, 2))
    assert orthogonality(parallel) == pytest.approx(0, abs=1e-12)
    assert np.isnan(orthogonality(np.ones((1, 3, 3, 1))))
    assert np.isnan(orthogonality(np.ones((0, 3, 3, 1))))


@pytest.mark.parametrize("shape", [(6, 3, 3, 2), (40, 3, 3, 1), (18, 3, 3, 2), (5, 1, 1, 3)])
def test_effective_rank_agrees_with_scipy(shape, rng):
    """For a wide layer, a tall one, and one of low rank."""
    count, weights = shape[0], math.prod(shape[1:])
    low = rng.normal(size=(count, 2)) @ rng.normal(size=(2, weights))
    for rows in (rng.normal(size=(count, weights)), low):
        values = linalg.svdvals(rows)
        expected = math.exp(stats.entropy(values[values > 1e-9]))
        assert effective_rank(rows.reshape(shape)) == pytest.approx(expected, rel=1e-6)
        assert effective_rank(-3e200 * rows.reshape(shape)) == pytest.approx(expected, rel=1e-6)
        assert effective_rank(1e-200 * rows.reshape(shape)) == pytest.approx(expected, rel=1e-6)


def test_effective_rank_of_repeated_filters(rng):
    """One direction counts as one, however often it occurs and at any length."""
    one = rng.normal(size=(1, 3, 3, 2))
    same = one * np.linspace(-2, 3, 64).reshape(64, 1, 1, 1)
    assert effective_rank(same) == pytest.approx(1, abs=1e-6)
    assert effective_rank(np.concatenate([same, np.zeros_like(same)])) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("value", [0.0, np.nan, np.inf])
def test_effective_rank_of_undefined_layers(value):
    """NaN for zeros, not finite weights and no filters."""
    kernels = np.zeros((3, 3, 3, 1))
    kernels[1, 1, 1] = value
    assert np.isnan(effective_rank(kernels))
    assert np.isnan(effective_rank(kernels[:0]))


@given(FILTERS)
def test_twins_have_the_highest_cosine(kernels):
    """Of all other filters; a filter of zeros has none."""
    found = twins(kernels)
    rows = kernels.reshape(3, -1)
    lengths = [math.hypot(*row) for row in rows]
    for one in range(3):
        others = [other for other in range(3) if other != one]
        if not lengths[one]:
            assert found.number[one] == -1
            assert np.isnan(found.cosine[one])
            continue
        assert found.number[one] in others
        if all(length == 0 or length > 1e-100 for length in lengths):
            cosines = {
                other: dot(rows[one] / lengths[one], rows[other] / lengths[other])
                if lengths[one] and lengths[other]
                else 0.0
                for other in others
            }
            assert found.cosine[one] == pytest.approx(max(cosines.values()), abs=1e-9)
            assert cosines[found.number[one]] == pytest.approx(max(cosines.values()), abs=1e-9)


@pytest.mark.parametrize("factor", [1e-200, 3.7, 1e200])
def test_planted_twin_is_found(rng, factor):
    """At any length and with some noise; a filter's negative is not a twin."""
    kernels = rng.normal(size=(16, 5, 5, 3))
    kernels[11] = factor * (kernels[4] + 0.05 * rng.normal(size=(5, 5, 3)))
    kernels[7] = -factor * kernels[2]
    found = twins(kernels)
    assert np.flatnonzero(found.repeated).tolist() == [4, 11]
    assert found.number[[4, 11]].tolist() == [11, 4]
    assert found.threshold == 0.95


def test_twins_of_single_and_undefined_filters():
    """No number, no cosine, no duplicates."""
    for count in (0, 1):
        found = twins(np.ones((count, 3, 3, 1)))
        assert found.number.tolist() == [-1] * count
        assert np.isnan(found.cosine).all()
        assert not found.repeated.any()
    assert not twins(np.ones((5, 1, 1, 1))).repeated.any()
    assert not twins(np.zeros((5, 3, 3, 1))).repeated.any()
    assert not twins(np.full((5, 3, 3, 1), np.nan)).repeated.any()


@pytest.mark.parametrize(("filters", "weights"), [(16, 4), (16, 3), (4, 4), (8, 3), (24, 5)])
def test_duplicates_by_chance_occur_in_1_percent_of_layers(filters, weights):
    """Of 20,000 random layers, and not in far fewer."""
    rng = np.random.default_rng(5)
    threshold = twins(np.ones((filters, 1, 1, weights))).threshold
    assert 0.95 < threshold < 1
    passed = 0
    for _ in range(10):
        rows = rng.normal(size=(2000, filters, weights))
        rows /= np.linalg.norm(rows, axis=2, keepdims=True)
        cosines = rows @ rows.transpose(0, 2, 1)
        cosines[:, np.arange(filters), np.arange(filters)] = -1
        passed += (cosines.max(axis=(1, 2)) >= threshold).sum()
    assert 0.007 < passed / 20_000 < 0.0125


@pytest.mark.parametrize(
    ("filters", "weights"), [(4, 3), (16, 4), (20, 7), (64, 9), (64, 10), (1000, 12)]
)
def test_duplicate_threshold_is_the_quantile_of_random_cosines(filters, weights):
    """A squared cosine is beta-distributed; 1 % is shared out among all pairs (Bonferroni)."""
    pairs = filters * (filters - 1) / 2
    tail = stats.beta.isf(2 * 0.01 / pairs, 1 / 2, (weights - 1) / 2)
    threshold = twins(np.ones((filters, 1, 1, weights))).threshold
    assert threshold == pytest.approx(max(0.95, math.sqrt(tail)), rel=1e-9)


@pytest.mark.parametrize(("filters", "weights"), [(2, 2), (32, 27), (512, 4608), (8192, 576)])
def test_chance_cosine_is_exact_below_the_fixed_threshold(filters, weights):
    """Also where 0.95 is higher than chance."""
    pairs = filters * (filters - 1) / 2
    tail = stats.beta.isf(2 * 0.01 / pairs, 1 / 2, (weights - 1) / 2)
    assert _chance_cosine(filters, weights) == pytest.approx(math.sqrt(tail), rel=1e-9)


def test_twins_of_two_weights():
    """Their angles are uniformly distributed; no warning from numpy."""
    kernels = np.random.default_rng(0).normal(size=(37, 1, 1, 2))
    assert twins(kernels).threshold > 0.99


def test_twins_among_many_filters_of_two_weights():
    """The threshold stays below 1, so that exact copies reach it."""
    angles = np.linspace(0, 6, 64)
    kernels = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    kernels = np.concatenate([kernels, 3 * kernels]).reshape(128, 1, 1, 2)
    found = twins(kernels)
    assert found.threshold < 1
    assert found.repeated.all()


@pytest.mark.parametrize("shape", [(700, 1, 1, 80), (30, 3, 3, 16), (5, 1, 1, 2)])
def test_float32_filters_compare_as_in_double_precision(shape, rng):
    """The same twins; cosines and orthogonality up to the precision of the weights."""
    kernels = rng.normal(size=shape).astype(np.float32)
    kernels[3], kernels[4] = 2 * kernels[1], 0
    single, double = compare_filters(kernels), compare_filters(kernels.astype(np.float64))
    np.testing.assert_array_equal(single.twins.number, double.twins.number)
    np.testing.assert_allclose(single.twins.cosine, double.twins.cosine, atol=1e-6)
    np.testing.assert_array_equal(single.twins.repeated, double.twins.repeated)
    assert single.twins.repeated[1]
    assert single.orthogonality == pytest.approx(double.orthogonality, abs=1e-7)
