import itertools

import numpy as np
import pytest

from filtertrack.measures import roughness, structure
from filtertrack.measures.spatial_structure import _by_pixels, _by_product
from filtertrack.measures.vectors import centred


@pytest.mark.parametrize("size", [3, 5, 7, 9, 11])
@pytest.mark.parametrize("channels", [1, 3])
def test_noise_has_no_structure(rng, size, channels):
    """Of 300 random filters at most a few are smoother than all their shuffles; ratio about 1."""
    found = structure(rng.normal(size=(300, size, size, channels)))
    assert (found.p_value <= 2 / 600).mean() <= 0.015
    assert np.median(found.ratio) == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("size", [5, 7, 9, 11])
def test_edges_and_blobs_have_structure(rng, size):
    """Also with some noise on them, and in colour."""
    y, x = np.mgrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j]
    shapes = [np.tanh(3 * x), np.tanh(3 * (x + y)), np.exp(-3 * (x**2 + y**2)), np.sin(3 * y)]
    kernels = np.stack(shapes)[..., None] * np.array([1.0, -0.5, 0.2])
    noisy = kernels + 0.05 * rng.normal(size=kernels.shape)
    found = structure(noisy)
    assert (found.ratio < 0.6).all()
    assert (found.p_value <= 2 / 101).all()
    if size > 5:
        assert (found.p_value == 2 / 600).all()


def steps_between_neighbours(kernel):
    """Return the sum of squared differences between neighbours, and how many pairs there are."""
    height, width, channels = kernel.shape
    total, pairs = 0.0, 0
    for y, x in itertools.product(range(height), range(width)):
        for other in ((y + 1, x), (y, x + 1)):
            if other[0] < height and other[1] < width:
                pairs += 1
                for channel in range(channels):
                    total += float(kernel[y, x, channel] - kernel[other][channel]) ** 2
    return total, pairs


def written_out(kernel):
    """Return roughness as its docstring has it: neighbours over any two pixels, in loops."""
    height, width, channels = kernel.shape
    pixels = kernel.reshape(height * width, channels)
    total, pairs = steps_between_neighbours(kernel)
    anywhere = [
        sum(float(one - other) ** 2 for one, other in zip(first, second, strict=True))
        for first, second in itertools.combinations(pixels, 2)
    ]
    return total / pairs / (sum(anywhere) / len(anywhere))


@pytest.mark.parametrize(
    "shape", [(5, 4, 2), (3, 3, 1), (1, 5, 3), (2, 2, 1), (7, 1, 1), (2, 1, 2)]
)
def test_roughness_is_neighbours_over_any_two_pixels(shape, rng):
    """Against both means written out, pair by pair; the same as the ratio of ``structure``."""
    kernels = rng.normal(size=(3, *shape)).cumsum(axis=1)
    expected = [written_out(kernel) for kernel in kernels]
    np.testing.assert_allclose(roughness(kernels), expected)
    np.testing.assert_allclose(structure(kernels).ratio, expected)


@pytest.mark.parametrize("channels", [1, 2])
def test_the_mean_roughness_of_all_orders_is_one(rng, channels):
    """Exactly: of all 720 orders of a 2x3 filter."""
    pixels = rng.normal(size=(6, channels)).cumsum(axis=0)
    orders = np.array(list(itertools.permutations(range(6))))
    assert roughness(pixels[orders].reshape(720, 2, 3, channels)).mean() == pytest.approx(
        1, rel=1e-12
    )


def test_the_p_value_is_twice_the_share_of_orders_as_smooth_or_as_rough(rng):
    """Of all 720 of a 2x3 filter: 20,000 shuffles come within two hundredths or so."""
    kernels = rng.normal(size=(8, 2, 3, 2)).cumsum(axis=2)
    found = structure(kernels, shuffles=20_000)
    assert found.shuffles == 20_000
    for kernel, p_value in zip(kernels, found.p_value, strict=True):
        own, _ = steps_between_neighbours(kernel)
        pixels = kernel.reshape(6, 2)
        others = [
            steps_between_neighbours(pixels[list(order)].reshape(2, 3, 2))[0]
            for order in itertools.permutations(range(6))
        ]
        smooth = sum(other <= own * (1 + 1e-9) for other in others) / 720
        rough = sum(other >= own * (1 - 1e-9) for other in others) / 720
        assert p_value == pytest.approx(min(1, 2 * min(smooth, rough)), abs=0.024)


@pytest.mark.parametrize("size", [3, 4, 7])
@pytest.mark.parametrize("channels", [1, 3])
def test_the_p_value_of_noise_is_uniform(size, channels):
    """Of exchangeable weights of any distribution, each p-value is as likely as the next."""
    rng = np.random.default_rng(7)
    shape = (500, size, size, channels)
    noise = [rng.normal(size=shape), rng.uniform(-1, 1, shape), rng.exponential(size=shape)]
    p_value = np.sort(structure(np.concatenate(noise)).p_value)
    # Kolmogorov and Smirnov's statistic: 1.95 / sqrt(n) is passed once in a thousand times.
    even = (np.arange(len(p_value)) + 0.5) / len(p_value)
    assert np.abs(p_value - even).max() < 1.95 / np.sqrt(len(p_value))


@pytest.mark.parametrize("shape", [(3, 3, 1), (5, 4, 3), (1, 6, 2), (11, 11, 3), (2, 3, 20)])
def test_both_ways_of_shuffling_count_the_same(shape, rng):
    """One matrix product, or a shuffle after another; also where orders tie."""
    kernels = rng.normal(size=(30, *shape)).cumsum(axis=1)
    kernels[:10] = kernels[:10].round()
    kernels[0] = np.eye(*shape[:2])[..., np.newaxis]
    pixels, known = centred(kernels)
    own, _ = zip(*(steps_between_neighbours(k.reshape(shape)) for k in pixels), strict=True)
    counts = [way(pixels, np.array(own), shape[:2], 99, 3) for way in (_by_product, _by_pixels)]
    np.testing.assert_array_equal(*counts)
    found = structure(kernels, shuffles=99, seed=3).p_value
    two_sided = np.minimum(2 * (1 + counts[1].min(axis=0)) / 100, 1.0)
    np.testing.assert_allclose(found, np.where(known, two_sided, 1.0))


@pytest.mark.parametrize("size", [7, 12])
def test_a_chequerboard_is_as_far_from_noise_as_an_edge(size):
    """Rougher than every shuffle: that is no noise, either."""
    board = (np.indices((size, size)).sum(axis=0) % 2)[np.newaxis, ..., np.newaxis]
    found = structure(board.astype(float))
    assert found.ratio[0] > 1.5
    assert found.p_value[0] == 2 / 600


def test_large_filters_are_tested_as_small_ones(rng):
    """Beyond 121 pixels shuffles are made one by one: an edge is an edge, and noise is noise."""
    edge = np.tile(np.linspace(-1, 1, 13).reshape(1, 1, 13, 1), (1, 13, 1, 1))
    found = structure(np.concatenate([edge, rng.normal(size=(20, 13, 13, 1))]))
    assert found.p_value[0] == 2 / 600
    assert (found.p_value[1:] > 2 / 600).all()
    np.testing.assert_allclose(found.ratio[0], written_out(edge[0]))


@pytest.mark.parametrize("factor", [-1.0, 1e-200, -3.7, 1e200])
def test_roughness_knows_neither_length_nor_sign_nor_mean(factor, rng):
    """A filter, its negative, a stronger one, and one of another tint."""
    kernels = rng.normal(size=(20, 5, 4, 2))
    expected = roughness(kernels)
    np.testing.assert_allclose(roughness(kernels * factor), expected)
    np.testing.assert_allclose(roughness(kernels + np.array([3.0, -2.0])), expected)
    np.testing.assert_allclose(
        structure(kernels + np.array([3.0, -2.0])).p_value, structure(kernels).p_value
    )


def test_roughness_is_the_same_in_every_mirror(rng):
    """Upside down, right to left, and rows as columns."""
    kernels = rng.normal(size=(20, 5, 4, 2))
    expected = roughness(kernels)
    for other in (
        kernels[:, ::-1],
        kernels[:, :, ::-1],
        kernels.swapaxes(1, 2),
        kernels[..., ::-1],
    ):
        np.testing.assert_allclose(roughness(other), expected)


def test_a_filter_that_ties_with_its_shuffles_is_not_smoother():
    """A single weight of 2x2 is in a corner wherever it goes: every order is as smooth."""
    kernel = np.zeros((1, 2, 2, 1))
    kernel[0, 0, 0] = 1
    assert structure(kernel).p_value.tolist() == [1]


def test_another_seed_shuffles_anew(rng):
    """The ratio stays; the p-value is another draw of the same."""
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
def test_where_nothing_can_be_said(kernels):
    """No ratio, and no evidence."""
    found = structure(kernels)
    assert np.isnan(found.ratio).all()
    assert found.p_value.tolist() == [1]
    assert np.isnan(roughness(kernels)).all()


def test_the_same_seed_gives_the_same_answer(rng):
    """And neither size nor sign of the weights matters."""
    kernels = rng.normal(size=(10, 5, 5, 3))
    one, two = structure(kernels), structure(-1e-200 * kernels)
    np.testing.assert_allclose(one.ratio, two.ratio)
    np.testing.assert_array_equal(one.p_value, two.p_value)
    assert structure(np.empty((0, 3, 3, 1))).p_value.shape == (0,)
