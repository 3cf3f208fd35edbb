import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from filtertrack.measures import drift, norm, orientation, similarity, structure

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


@pytest.mark.parametrize("broken", [np.nan, np.inf, -np.inf])
def test_norm_of_what_has_blown_up(broken):
    """Huge weights beside one that is not finite are no reason for numpy's warnings."""
    assert not np.isfinite(norm(np.array([1e200, broken]).reshape(1, 1, 2, 1)))


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


def grating(degrees, size, *, cycles=0.25, phase=0.0):
    """Return stripes in a direction (0 horizontal, 45 rising to the right), in cycles a pixel."""
    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    along = np.radians(degrees)
    across = -np.sin(along) * x - np.cos(along) * y  # rows count downward
    return np.cos(2 * np.pi * cycles * across + phase)[..., np.newaxis]


def apart(degrees, others):
    """Return by how many degrees directions differ: 179 and 0 by one."""
    return np.abs((np.asarray(degrees) - others + 90) % 180 - 90)


@pytest.mark.parametrize("size", [5, 7, 9, 11])
@pytest.mark.parametrize("phase", [0.0, 1.0, np.pi / 2])
def test_the_direction_of_gratings(size, phase):
    """At every angle a few degrees off at most; one direction, so well selective."""
    angles = np.arange(0, 180, 3)
    found = orientation(np.stack([grating(angle, size, phase=phase) for angle in angles]))
    assert apart(found.degrees, angles).max() < 4
    assert ((found.degrees >= 0) & (found.degrees < 180)).all()
    assert (found.selectivity > 0.6).all()
    assert (found.selectivity <= 1).all()


@pytest.mark.parametrize("cycles", [0.15, 0.25, 0.35])
def test_coarse_and_fine_stripes_have_the_same_direction(cycles):
    """In the size of a first layer's filters, to two degrees; also in 3x3, to some more."""
    angles = np.arange(0, 180, 5)
    for size, error in ((9, 2), (3, 12)):
        kernels = np.stack([grating(angle, size, cycles=cycles, phase=1.0) for angle in angles])
        assert apart(orientation(kernels).degrees, angles).max() < error


def test_edges_in_colour_have_the_direction_of_all_channels():
    """Channels of opposite sign do not take each other away, and a constant one says nothing."""
    angles = np.arange(0, 180, 10)
    tints = np.array([1.0, -1.0, 0.0])
    kernels = np.stack([grating(angle, 7) * tints + [0.0, 0.0, 5.0] for angle in angles])
    assert apart(orientation(kernels).degrees, angles).max() < 3


@pytest.mark.parametrize("factor", [-1.0, 1e-200, -3.7, 1e200])
def test_orientation_knows_neither_length_nor_sign_nor_mean(factor, rng):
    """A filter, its negative, a stronger and a brighter one have the same direction."""
    kernels = rng.normal(size=(20, 5, 6, 2))
    one = orientation(kernels)
    for other in (orientation(kernels * factor), orientation(kernels + np.array([3.0, -2.0]))):
        assert apart(one.degrees, other.degrees).max() < 1e-6
        np.testing.assert_allclose(other.selectivity, one.selectivity)


def test_orientation_turns_with_the_filter(rng):
    """By a quarter, and the other way in a mirror."""
    kernels = rng.normal(size=(20, 5, 5, 2))
    degrees = orientation(kernels).degrees
    turned = orientation(np.rot90(kernels, axes=(1, 2))).degrees
    assert apart(turned, degrees + 90).max() < 1e-6
    assert apart(orientation(kernels[:, :, ::-1]).degrees, -degrees).max() < 1e-6


@pytest.mark.parametrize("value", [0.0, 2.5, np.nan, np.inf, -np.inf])
def test_what_has_no_pattern_has_no_direction(value):
    """A filter of zeros, a constant or a broken one; its neighbours have theirs."""
    kernels = np.stack([grating(30, 5), grating(60, 5), grating(120, 5)])
    kernels[1, :, : 5 if np.isfinite(value) else 1] = value
    found = orientation(kernels)
    assert np.isnan(found.degrees).tolist() == [False, True, False]
    assert found.selectivity[1] == 0
    assert apart(found.degrees[[0, 2]], [30, 120]).max() < 4


@pytest.mark.parametrize("size", [3, 5, 9])
def test_what_looks_alike_from_all_sides_has_no_direction(size):
    """A dot and a round blob: what rounding leaves of a direction is none."""
    dot = np.pad([[1.0]], size // 2)
    y, x = np.mgrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j]
    found = orientation(np.stack([dot, np.exp(-3 * (x**2 + y**2))])[..., np.newaxis])
    assert found.selectivity.max() < 1e-9
    assert np.isnan(found.degrees).all()


def test_one_pixel_has_no_direction():
    """Neither has a layer without filters."""
    found = orientation(np.ones((2, 1, 1, 3)))
    assert np.isnan(found.degrees).all()
    assert found.selectivity.tolist() == [0, 0]
    assert orientation(np.empty((0, 3, 3, 1))).degrees.shape == (0,)


@pytest.mark.parametrize(
    "weights",
    [[-1, -1, -1, 0, 1, 1, 1], [1, -1, 1, -1, 1, -1, 1], [0, 1, 2, 3, 4, 5, 6]],
    ids=["edge", "stripes", "slope"],
)
def test_a_kernel_along_one_axis_can_only_change_along_it(weights):
    """Edges of a 1x7 kernel are vertical, those of a 7x1 kernel horizontal."""
    row = np.array(weights, float).reshape(1, 1, 7, 1)
    assert apart(orientation(row).degrees, 90).max() < 1e-6
    assert apart(orientation(row.swapaxes(1, 2)).degrees, 0).max() < 1e-6


@given(FILTERS)
def test_similarity_is_the_cosine(kernels):
    """Against the definition; the same both ways, 1 with itself, never outside -1 to 1."""
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
def test_similarity_does_not_see_length(rng, factor):
    """And a filter's negative is as unlike as can be."""
    kernels = rng.normal(size=(6, 3, 3, 2))
    np.testing.assert_allclose(similarity(kernels * factor), similarity(kernels), atol=1e-12)
    both = similarity(np.concatenate([kernels, -factor * kernels]))
    np.testing.assert_allclose(both[:6, 6:], -both[:6, :6], atol=1e-12)
    np.testing.assert_allclose(np.diag(both[:6, 6:]), -1)


@pytest.mark.parametrize("value", [0.0, np.nan, np.inf])
def test_what_has_no_direction_is_like_nothing(rng, value):
    """0 with every filter and with itself; the others are as they would be without it."""
    kernels = rng.normal(size=(4, 3, 3, 2))
    whole = similarity(kernels)
    kernels[1] = 0
    kernels[1, 0, 0, 0] = value
    found = similarity(kernels)
    assert not found[1].any()
    assert not found[:, 1].any()
    others = np.ix_([0, 2, 3], [0, 2, 3])
    np.testing.assert_allclose(found[others], whole[others])


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


def test_the_orientation_of_a_deep_layer_takes_little_memory():
    """512 filters of 512 channels: at once their spectra would take gigabytes."""
    import tracemalloc

    kernels = np.random.default_rng(0).normal(size=(64, 3, 3, 512)).astype(np.float32)
    tracemalloc.start()
    orientation(kernels)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 50e6
