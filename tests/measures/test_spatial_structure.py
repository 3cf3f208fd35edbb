import itertools

import numpy as np
import pytest
from scipy import stats

from filtertrack.measures import roughness, structure
from filtertrack.measures.spatial_structure import (
    _count_by_product,
    _count_one_by_one,
    _squared_differences,
)
from filtertrack.measures.vectors import centred


@pytest.mark.parametrize("size", [3, 5, 7, 9, 11])
@pytest.mark.parametrize("channels", [1, 3])
def test_noise_has_no_structure(rng, size, channels):
    """At most 1.5 % of random filters are significant; their roughness is about 1."""
    found = structure(rng.normal(size=(300, size, size, channels)))
    assert (found.p_value <= 2 / 600).mean() <= 0.015
    assert np.median(found.ratio) == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("size", [5, 7, 9, 11])
def test_edges_and_blobs_have_structure(rng, size):
    """Also with some noise, and in colour."""
    y, x = np.mgrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j]
    shapes = [np.tanh(3 * x), np.tanh(3 * (x + y)), np.exp(-3 * (x**2 + y**2)), np.sin(3 * y)]
    kernels = np.stack(shapes)[..., None] * np.array([1.0, -0.5, 0.2])
    noisy = kernels + 0.05 * rng.normal(size=kernels.shape)
    found = structure(noisy)
    assert (found.ratio < 0.6).all()
    assert (found.p_value <= 2 / 101).all()
    if size > 5:
        assert (found.p_value == 2 / 600).all()


def sum_of_steps(kernel):
    """Return the sum of squared differences between neighbours, and the number of pairs."""
    height, width, channels = kernel.shape
    total, pairs = 0.0, 0
    for y, x in itertools.product(range(height), range(width)):
        for other in ((y + 1, x), (y, x + 1)):
            if other[0] < height and other[1] < width:
                pairs += 1
                for channel in range(channels):
                    total += float(kernel[y, x, channel] - kernel[other][channel]) ** 2
    return total, pairs


def roughness_by_loops(kernel):
    """Return the roughness of a filter, computed by loops over pairs of pixels."""
    height, width, channels = kernel.shape
    pixels = kernel.reshape(height * width, channels)
    total, pairs = sum_of_steps(kernel)
    anywhere = [
        sum(float(one - other) ** 2 for one, other in zip(first, second, strict=True))
        for first, second in itertools.combinations(pixels, 2)
    ]
    return total / pairs / (sum(anywhere) / len(anywhere))


@pytest.mark.parametrize(
    "shape", [(5, 4, 2), (3, 3, 1), (1, 5, 3), (2, 2, 1), (7, 1, 1), (2, 1, 2)]
)
def test_roughness_is_gearys_ratio(shape, rng):
    """Compared with loops over pairs; the same as the ratio of ``structure``."""
    kernels = rng.normal(size=(3, *shape)).cumsum(axis=1)
    expected = [roughness_by_loops(kernel) for kernel in kernels]
    np.testing.assert_allclose(roughness(kernels), expected)
    np.testing.assert_allclose(structure(kernels).ratio, expected)


@pytest.mark.parametrize("channels", [1, 2])
def test_mean_roughness_of_all_orders_is_one(rng, channels):
    """Exactly, for all 720 orders of a 2x3 filter."""
    pixels = rng.normal(size=(6, channels)).cumsum(axis=0)
    orders = np.array(list(itertools.permutations(range(6))))
    assert roughness(pixels[orders].reshape(720, 2, 3, channels)).mean() == pytest.approx(
        1, rel=1e-12
    )


def test_p_value_agrees_with_scipy_permutation_test(rng):
    """Two-sided, over all 720 orders of a 2x3 filter, which 20,000 shuffles sample."""
    kernels = rng.normal(size=(8, 2, 3, 1)).cumsum(axis=2)
    found = structure(kernels, shuffles=20_000)

    def roughness_of(pixels):
        return sum_of_steps(pixels.reshape(2, 3, 1))[0]

    for kernel, p_value in zip(kernels, found.p_value, strict=True):
        exact = stats.permutation_test(
            (kernel.ravel(),), roughness_of, permutation_type="pairings", n_resamples=np.inf
        )
        assert p_value == pytest.approx(exact.pvalue, abs=0.024)


@pytest.mark.parametrize("size", [3, 4, 7])
@pytest.mark.parametrize("channels", [1, 3])
def test_p_value_of_noise_is_uniform(size, channels):
    """For exchangeable weights of any distribution (Kolmogorov-Smirnov test)."""
    rng = np.random.default_rng(7)
    shape = (500, size, size, channels)
    noise = [rng.normal(size=shape), rng.uniform(-1, 1, shape), rng.exponential(size=shape)]
    p_value = structure(np.concatenate(noise)).p_value
    assert stats.kstest(p_value, "uniform").pvalue > 0.001


@pytest.mark.parametrize("shape", [(3, 3, 1), (5, 4, 3), (1, 6, 2), (11, 11, 3), (2, 3, 20)])
def test_both_algorithms_count_the_same_shuffles(shape, rng):
    """By one matrix product, or one after another; also with ties."""
    kernels = rng.normal(size=(30, *shape)).cumsum(axis=1)
    kernels[:10] = kernels[:10].round()
    kernels[0] = np.eye(*shape[:2])[..., np.newaxis]
    pixels, known = centred(kernels)
    own, _ = zip(*(sum_of_steps(k.reshape(shape)) for k in pixels), strict=True)
    algorithms = _count_by_product, _count_one_by_one
    counts = [count(pixels, np.array(own), shape[:2], 99, 3) for count in algorithms]
    np.testing.assert_array_equal(*counts)
    found = structure(kernels, shuffles=99, seed=3).p_value
    two_sided = np.minimum(2 * (1 + counts[1].min(axis=0)) / 100, 1.0)
    np.testing.assert_allclose(found, np.where(known, two_sided, 1.0))


@pytest.mark.parametrize("size", [7, 12])
def test_chequerboard_is_significant(size):
    """It is rougher than every shuffle."""
    board = (np.indices((size, size)).sum(axis=0) % 2)[np.newaxis, ..., np.newaxis]
    found = structure(board.astype(float))
    assert found.ratio[0] > 1.5
    assert found.p_value[0] == 2 / 600


def test_large_filters_are_tested_alike(rng):
    """Beyond 121 pixels shuffles are made one by one."""
    edge = np.tile(np.linspace(-1, 1, 13).reshape(1, 1, 13, 1), (1, 13, 1, 1))
    found = structure(np.concatenate([edge, rng.normal(size=(20, 13, 13, 1))]))
    assert found.p_value[0] == 2 / 600
    assert (found.p_value[1:] > 2 / 600).all()
    np.testing.assert_allclose(found.ratio[0], roughness_by_loops(edge[0]))


@pytest.mark.parametrize("factor", [-1.0, 1e-200, -3.7, 1e200])
def test_roughness_ignores_scale_sign_and_mean(factor, rng):
    """The p-value as well."""
    kernels = rng.normal(size=(20, 5, 4, 2))
    expected = roughness(kernels)
    np.testing.assert_allclose(roughness(kernels * factor), expected)
    np.testing.assert_allclose(roughness(kernels + np.array([3.0, -2.0])), expected)
    np.testing.assert_allclose(
        structure(kernels + np.array([3.0, -2.0])).p_value, structure(kernels).p_value
    )


def test_roughness_ignores_mirroring(rng):
    """Upside down, right to left, and transposed."""
    kernels = rng.normal(size=(20, 5, 4, 2))
    expected = roughness(kernels)
    for other in (
        kernels[:, ::-1],
        kernels[:, :, ::-1],
        kernels.swapaxes(1, 2),
        kernels[..., ::-1],
    ):
        np.testing.assert_allclose(roughness(other), expected)


def test_ties_are_not_significant():
    """A single weight of 2x2 is always in a corner: every order is as smooth."""
    kernel = np.zeros((1, 2, 2, 1))
    kernel[0, 0, 0] = 1
    assert structure(kernel).p_value.tolist() == [1]


def test_seed_changes_the_p_value_only(rng):
    """By a sampling error."""
    kernels = rng.normal(size=(50, 5, 5, 1))
    one, two = structure(kernels), structure(kernels, seed=1)
    np.testing.assert_array_equal(one.ratio, two.ratio)
    assert (one.p_value != two.p_value).any()
    assert np.abs(one.p_value - two.p_value).max() < 0.15


@pytest.mark.parametrize(
    "kernels",
    [
        np.full((1, 5, 5, 3), 0.1),
        np.zeros((1, 5, 5, 1)),
        np.ones((1, 1, 1, 8)),
        np.full((1, 5, 5, 1), np.nan),
        np.pad([[[[np.inf]]]], [(0, 0), (2, 2), (2, 2), (0, 0)]),
        np.broadcast_to([0.1, 0.7, -0.3], (1, 5, 5, 3)),
    ],
    ids=["constant", "zero", "one pixel", "NaN", "infinite", "one colour"],
)
def test_undefined_filters_are_not_significant(kernels):
    """The ratio is NaN, the p-value 1."""
    found = structure(kernels)
    assert np.isnan(found.ratio).all()
    assert found.p_value.tolist() == [1]
    assert np.isnan(roughness(kernels)).all()


def test_p_value_is_reproducible(rng):
    """Independent of scale and sign."""
    kernels = rng.normal(size=(10, 5, 5, 3))
    one, two = structure(kernels), structure(-1e-200 * kernels)
    np.testing.assert_allclose(one.ratio, two.ratio)
    np.testing.assert_array_equal(one.p_value, two.p_value)
    assert structure(np.empty((0, 3, 3, 1))).p_value.shape == (0,)


@pytest.mark.parametrize("size", [3, 5])
def test_shuffles_as_rough_as_the_filter_are_counted_exactly(size, rng):
    """Many shuffles of one bright pixel tie: the counts are those of the shuffles one by one."""
    kernels = rng.normal(size=(6, size, size, 2))
    kernels[:3] = 0
    kernels[0, 0, 0], kernels[1, 1, 1], kernels[2, 0, 1] = 1, 1, 1
    pixels = centred(kernels).pixels
    own = _squared_differences(pixels, size, size)
    arguments = (pixels, own, (size, size), 599, 0)
    np.testing.assert_array_equal(_count_by_product(*arguments), _count_one_by_one(*arguments))
