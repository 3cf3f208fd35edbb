import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from filtertrack.measures import drift, norm, structure

FILTERS = arrays(np.float64, (3, 3, 2, 2), elements=st.floats(-10, 10))


@given(FILTERS)
def test_norm_is_the_euclidean_length(kernels):
    """Against the standard library's, which neither over- nor underflows."""
    expected = [math.hypot(*kernel.ravel()) for kernel in kernels]
    np.testing.assert_allclose(norm(kernels), expected, rtol=1e-12, atol=5e-324)


@pytest.mark.parametrize("size", [1e-300, 1e300])
def test_norm_of_tiny_and_huge_weights(size):
    """Squares would vanish or overflow."""
    np.testing.assert_allclose(norm(np.full((1, 2, 2, 1), size)), 2 * size)


def test_norm_of_what_is_not_finite():
    """It is not finite either, and the other filters have theirs."""
    kernels = np.ones((3, 2, 2, 1), np.float16)
    kernels[0, 0], kernels[1, 0] = np.nan, np.inf
    assert np.isfinite(norm(kernels)).tolist() == [False, False, True]


@given(FILTERS, FILTERS)
def test_drift_is_one_minus_the_cosine(kernels, start):
    """Between 0 and 2, alike both ways, blind to length; NaN where there is no direction."""
    turned = drift(kernels, start)
    for value, now, then in zip(turned, kernels, start, strict=True):
        lengths = np.linalg.norm(now) * np.linalg.norm(then)
        if not now.any() or not then.any():
            assert np.isnan(value)
        elif lengths > 1e-100:
            assert value == pytest.approx(1 - (now * then).sum() / lengths, abs=1e-9)
    np.testing.assert_allclose(drift(start, kernels), turned, atol=1e-12)
    np.testing.assert_allclose(drift(3 * kernels, start), turned, atol=1e-9)


def test_drift_of_known_angles():
    """0 for the same direction, 1 at right angles, 2 for opposite."""
    start = np.array([[1.0, 0.0], [1.0, 0.0], [1.0, 0.0]]).reshape(3, 1, 2, 1)
    now = np.array([[5.0, 0.0], [0.0, 0.1], [-2.0, 0.0]]).reshape(3, 1, 2, 1)
    assert drift(now, start).tolist() == [0, 1, 2]


@pytest.mark.parametrize("size", [3, 5, 7, 9, 11])
@pytest.mark.parametrize("channels", [1, 3])
def test_noise_has_no_structure(rng, size, channels):
    """Of 300 random filters at most a few are smoother than all their shuffles; ratio about 1."""
    found = structure(rng.normal(size=(300, size, size, channels)))
    assert found.share <= 0.04
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
        assert found.share == 1


def test_the_ratio_is_roughness_over_that_of_shuffles(rng):
    """Against the definition written out, weight by weight."""
    kernel = rng.normal(size=(5, 4, 2)).cumsum(axis=0)

    def roughness(w):
        w = w - w.mean(axis=(0, 1))
        steps = (np.diff(w, axis=0) ** 2).sum() + (np.diff(w, axis=1) ** 2).sum()
        return steps / (w**2).sum()

    shuffles = [
        roughness(kernel.reshape(20, 2)[rng.permutation(20)].reshape(5, 4, 2)) for _ in range(4000)
    ]
    expected = roughness(kernel) / np.mean(shuffles)
    found = structure(kernel[None], shuffles=4000)
    assert found.ratio[0] == pytest.approx(expected, rel=0.02)
    assert found.p_value[0] == pytest.approx(
        np.mean(np.array(shuffles) <= roughness(kernel)), abs=0.02
    )


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
    assert found.share == 0


def test_the_same_seed_gives_the_same_answer(rng):
    """And neither size nor sign of the weights matters."""
    kernels = rng.normal(size=(10, 5, 5, 3))
    one, two = structure(kernels), structure(-1e-200 * kernels)
    np.testing.assert_allclose(one.ratio, two.ratio)
    np.testing.assert_array_equal(one.p_value, two.p_value)
    assert structure(np.empty((0, 3, 3, 1))).share == 0
