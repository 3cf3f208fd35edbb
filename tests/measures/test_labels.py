import numpy as np
import pytest
from scipy import stats

from filtertrack.measures import (
    LABELS,
    colour_share,
    fit_templates,
    flat_share,
    label,
    structure,
)
from filtertrack.measures.labels import _flat_by_chance

GREY = np.ones((1, 1))
RGB = np.array([[1.0, 1.0, 1.0], [1.0, 0.9, 0.8], [0.8, 1.0, 0.9]])
OPPONENT = np.array([[1.0, -1.0, 0.0], [-0.5, -0.5, 1.0], [1.0, 0.0, -1.0]])


def coordinates(size):
    """Return each pixel's distance from the middle, down and right."""
    return np.mgrid[:size, :size] - (size - 1) / 2


def distance_from_line(rng, size):
    """Return each pixel's distance from a line in a random direction, near the middle."""
    y, x = coordinates(size)
    angle, offset = rng.uniform(0, 2 * np.pi), rng.uniform(-0.15, 0.15) * size
    return np.cos(angle) * x + np.sin(angle) * y - offset


def step(rng, size):
    """Return an edge between a light and a dark half, antialiased."""
    return np.clip(distance_from_line(rng, size), -0.5, 0.5)


def bar(rng, size):
    """Return a bar that is between a fifth and two fifths of the filter wide."""
    half = rng.uniform(size / 10, size / 5)
    return np.clip(half - np.abs(distance_from_line(rng, size)), -0.5, 0.5)


def grating(rng, size):
    """Return stripes all over the filter, with one to two periods, in a random phase."""
    wave = rng.uniform(size / 2, size)
    return np.sin(2 * np.pi * distance_from_line(rng, size) / wave + rng.uniform(0, 2 * np.pi))


def squared_distance_from_point(rng, size):
    """Return each pixel's squared distance from a random point near the middle."""
    y, x = coordinates(size)
    down, right = rng.uniform(-0.12, 0.12, 2) * size
    return (y - down) ** 2 + (x - right) ** 2


def spot(rng, size):
    """Return a round Gaussian."""
    return np.exp(-squared_distance_from_point(rng, size) / 2 / rng.uniform(0.8, size / 4.5) ** 2)


def ring(rng, size):
    """Return a difference of Gaussians whose centre and surround have the same volume."""
    sigma, wider = rng.uniform(0.7, size / 6), rng.uniform(1.5, 2.5)
    square = squared_distance_from_point(rng, size)
    surround = np.exp(-square / 2 / (wider * sigma) ** 2) / wider**2
    return np.exp(-square / 2 / sigma**2) - surround


def planted(rng, shape, count, size, tints):
    """Return filters with a shape, light or dark and tinted, and noise of a quarter variance."""
    kernels = []
    for _ in range(count):
        pattern = shape(rng, size)
        pattern = (pattern - pattern.mean()) / pattern.std()
        tint = tints[rng.integers(len(tints))] * rng.choice([-1.0, 1.0])
        kernels.append(pattern[..., None] * tint / np.sqrt(np.mean(tint**2)))
    kernels = np.stack(kernels)
    return kernels + np.sqrt(0.25) * rng.normal(size=kernels.shape)


@pytest.mark.parametrize("size", [5, 7, pytest.param(9, marks=pytest.mark.slow), 11])
@pytest.mark.parametrize("tints", [GREY, RGB, OPPONENT], ids=["grey", "RGB", "opponent"])
@pytest.mark.parametrize("shape", [step, bar, grating, spot, ring])
def test_planted_patterns_get_their_label(shape, size, tints):
    """At least 95 %, with noise of a quarter of their variance."""
    names = label(planted(np.random.default_rng(1), shape, 150, size, tints)).names
    expected = "edge" if shape in (step, bar, grating) else "blob"
    if expected == "blob" and tints is OPPONENT:
        expected = "colour blob"
    # 25 weights with so much noise are too few for these; the others are "unstructured".
    hard = size == 5 and tints is GREY and shape in (bar, grating, ring)
    share = np.mean(names == expected)
    assert share >= (0.88 if hard else 0.95)
    if hard:
        assert np.isin(names, [expected, "unstructured"]).all()


@pytest.mark.parametrize("size", [9, 11])
def test_fine_gratings_are_edges(size):
    """With about three pixels per period, without noise."""
    rng = np.random.default_rng(1)
    kernels = [
        np.sin(2 * np.pi * distance_from_line(rng, size) / rng.uniform(2.5, 3.2))
        for _ in range(100)
    ]
    assert np.mean(label(np.stack(kernels)[..., None]).names == "edge") >= 0.95


def noise(rng, kind, count, size, channels):
    """Return untrained filters as drawn by an initialiser."""
    shape = (count, size, size, channels)
    if kind == "uniform":
        return rng.uniform(-0.3, 0.3, shape)
    if kind == "normal":
        return rng.normal(size=shape)
    if kind == "truncated":
        drawn = rng.normal(size=2 * count * size**2 * channels)
        return drawn[np.abs(drawn) < 2][: np.prod(shape)].reshape(shape)
    weights, rows = size**2 * channels, []
    while sum(map(len, rows)) < count:
        square, triangle = np.linalg.qr(rng.normal(size=(weights, min(weights, 64))))
        rows.append((square * np.sign(np.diag(triangle))).T)
    return np.concatenate(rows)[:count].reshape(shape)


@pytest.mark.parametrize(
    ("kind", "size", "channels"),
    [
        ("uniform", 5, 1),
        ("uniform", 7, 3),
        ("normal", 3, 1),
        ("normal", 9, 1),
        ("truncated", 3, 3),
        ("truncated", 7, 1),
        ("orthogonal", 5, 3),
        ("orthogonal", 11, 1),
    ],
)
def test_at_most_1_in_100_filters_of_noise_is_structured(kind, size, channels):
    """The others are "unstructured", or "unknown" for 3x3."""
    found = label(noise(np.random.default_rng(2), kind, 1000, size, channels))
    share = found.structured.mean()
    assert share <= 0.01
    rest = found.names[~found.structured]
    assert set(rest) == {"unknown" if size == 3 else "unstructured"}
    assert not np.isin(found.names[found.structured], ["unknown", "unstructured"]).any()


def test_at_most_1_in_100_uniform_3x3_filters_is_structured():
    """Grey filters, as Keras initialises them by default."""
    found = label(noise(np.random.default_rng(0), "uniform", 8_000, 3, 1))
    assert found.structured.mean() <= 0.01


@pytest.mark.parametrize("shape", [(3, 3), (4, 6), (2, 7), (1, 1), (1, 24)])
def test_noise_of_few_pixels_is_unknown(shape, rng):
    """Below 25 pixels even a clear pattern may not be significant."""
    names = label(rng.normal(size=(60, *shape, 1))).names
    assert "unstructured" not in names
    assert np.mean(names == "unknown") > 0.9


@pytest.mark.parametrize("shape", [(5, 5, 1), (7, 7, 3), (3, 9, 2), (11, 11, 8)])
@pytest.mark.parametrize("tone", [0.1, -5.0])
def test_flat_tone_is_other_structure(shape, tone, rng):
    """Alone, or with weak noise."""
    kernels = np.full((2, *shape), tone)
    kernels[1] += 0.1 * tone * rng.normal(size=shape)
    found = label(kernels)
    assert found.names.tolist() == ["other structure"] * 2
    assert found.structured.all()
    np.testing.assert_allclose(found.flat, [1, 1], atol=0.02)


def test_labels_of_zeros_and_not_finite_filters():
    """Zeros are unstructured, filters that are not finite unknown."""
    kernels = np.zeros((4, 7, 7, 3))
    kernels[1, 0, 0, 0] = np.nan
    kernels[2] = np.inf
    kernels[3] = np.linspace(-1, 1, 7)[:, None]
    kernels[3, 0, 0, 0] = -np.inf
    found = label(kernels)
    assert found.names.tolist() == ["unstructured", "unknown", "unknown", "unknown"]
    assert not found.structured.any()
    assert label(kernels[:0]).names.shape == (0,)
    assert label(kernels[:1, :1, :1]).names.tolist() == ["unknown"]
    assert label(np.zeros((1, 7, 7, 0))).names.shape == (1,)


def test_labels_come_with_their_measures(rng):
    """The same numbers as from each measure."""
    kernels = np.concatenate([planted(rng, step, 5, 7, RGB), rng.normal(size=(5, 7, 7, 3))])
    found = label(kernels)
    np.testing.assert_array_equal(found.structure.ratio, structure(kernels).ratio)
    np.testing.assert_array_equal(found.structure.p_value, structure(kernels).p_value)
    np.testing.assert_array_equal(found.fits.p_value, fit_templates(kernels).p_value)
    np.testing.assert_array_equal(found.colour, colour_share(kernels))
    np.testing.assert_array_equal(found.flat, flat_share(kernels))
    assert set(found.names) <= set(LABELS)
    assert found.names.tolist()[:5] == ["edge"] * 5


@pytest.mark.parametrize("factor", [-1.0, 1e-200, 1e200])
def test_labels_ignore_scale_sign_and_mirroring(factor):
    """All kinds of patterns."""
    rng = np.random.default_rng(4)
    shapes = [planted(rng, shape, 8, 9, OPPONENT) for shape in (step, grating, spot, ring)]
    kernels = np.concatenate(shapes)
    names = label(kernels).names.tolist()
    assert names == ["edge"] * 16 + ["colour blob"] * 16
    for other in (kernels * factor, kernels[:, ::-1], kernels.swapaxes(1, 2)):
        assert label(other).names.tolist() == names


@pytest.mark.parametrize(("pixels", "channels"), [(25, 1), (25, 3), (49, 3), (121, 3), (9, 64)])
def test_flat_share_of_normal_noise_is_the_beta_quantile(pixels, channels):
    """One filter in 1000 exceeds it; of uniform weights fewer than one in 1000 reach one half."""
    expected = stats.beta.isf(0.001, channels / 2, channels * (pixels - 1) / 2)
    assert _flat_by_chance(pixels, channels) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(("pixels", "channels"), [(3, 1), (4, 1), (9, 1), (16, 1), (4, 3)])
def test_one_uniform_filter_in_1000_exceeds_the_flat_share_of_few_weights(pixels, channels):
    """Of a million other filters 1000 are expected, with a standard deviation of 32."""
    rng = np.random.default_rng(17)
    threshold = _flat_by_chance(pixels, channels)
    exceeding = sum(
        (flat_share(rng.uniform(-1, 1, (100_000, pixels, 1, channels))) > threshold).sum()
        for _ in range(10)
    )
    assert 870 < exceeding < 1130
