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


def chequers(rng, size):
    """Return a chequerboard of single pixels that fades towards a random side."""
    y, x = np.indices((size, size))
    return (-1.0) ** (y + x) * (1 + 0.5 * distance_from_line(rng, size) / size)


def fine_stripes(rng, size):
    """Return stripes with a period of 2 to 2.2 pixels in a random direction and phase."""
    angle, phase = rng.uniform(0, 2 * np.pi), rng.uniform(0.2, 0.8) * np.pi
    y, x = coordinates(size)
    across = np.cos(angle) * x + np.sin(angle) * y
    return np.sin(2 * np.pi * across / rng.uniform(2, 2.2) + phase)


def vertical_stripes(rng, size):
    """Return columns that are light and dark in turn."""
    return np.tile((-1.0) ** np.arange(size) * rng.choice([-1.0, 1.0]), (size, 1))


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
        assert np.isin(names, [expected, "unstructured", "fine grating"]).all()
        assert np.mean(names == "fine grating") <= 0.01, "stripes of 2.5 pixels, the limit"


@pytest.mark.parametrize("size", [5, 7, pytest.param(9, marks=pytest.mark.slow), 11])
@pytest.mark.parametrize("tints", [GREY, RGB, OPPONENT], ids=["grey", "RGB", "opponent"])
@pytest.mark.parametrize("shape", [chequers, fine_stripes, vertical_stripes])
def test_planted_fine_gratings_get_their_label(shape, size, tints):
    """At least 95 %, with noise of a quarter of their variance; of 25 grey weights 80 %."""
    found = label(planted(np.random.default_rng(1), shape, 150, size, tints))
    hard = size == 5 and tints is GREY
    assert np.mean(found.names == "fine grating") >= (0.8 if hard else 0.95)
    assert found.structured[found.names == "fine grating"].all()


def test_vertical_stripes_of_two_pixels_are_no_rougher_than_noise(rng):
    """Their rows are smooth and their columns rough: only the template tells them from noise."""
    found = label(planted(rng, vertical_stripes, 20, 7, GREY))
    np.testing.assert_allclose(found.structure.ratio, 1, atol=0.2)
    assert np.mean(found.names == "fine grating") >= 0.9


@pytest.mark.parametrize("size", [7, 9])
def test_rough_filters_that_no_template_fits_are_fine_gratings(size, rng):
    """Chequerboards that change their phase in the middle, as at the borders of JPEG blocks."""
    y, x = np.indices((size, size))
    shift = (x > size // 2).astype(int) + (y > size // 2)
    kernels = (-1.0) ** (y + x + shift) + 0.1 * rng.normal(size=(20, size, size))
    assert set(label(kernels[..., None]).names) == {"fine grating"}


@pytest.mark.parametrize("size", [3, 4, 5, 7, 11])
def test_edges_are_hardly_ever_fine_gratings(size):
    """Stripes of three pixels or more, edges and bars: 1 in 100 at most, of any size."""
    rng = np.random.default_rng(5)
    kernels = [planted(rng, shape, 150, size, GREY) for shape in (step, bar)]
    stripes = [
        np.sin(2 * np.pi * distance_from_line(rng, size) / rng.uniform(3, 5)) for _ in range(150)
    ]
    kernels.append(np.stack(stripes)[..., None] + 0.3 * rng.normal(size=(150, size, size, 1)))
    assert np.mean(label(np.concatenate(kernels)).names == "fine grating") <= 0.01


@pytest.mark.parametrize("shape", [(3, 3), (4, 4), (2, 9), (1, 12)])
def test_fine_gratings_of_few_pixels(shape, rng):
    """Below 25 pixels those that are rougher than their shuffles are labelled, others unknown."""
    y, x = np.indices(shape)
    kernels = (-1.0) ** (y + x) + 0.05 * rng.normal(size=(20, *shape))
    names = label(kernels[..., None]).names
    assert set(names) <= {"fine grating", "unknown"}
    assert "fine grating" in names


def test_fine_means_single_pixels_in_kernels_that_are_shrunk(rng):
    """Of 60x60 pixels: not stripes of four pixels, which are of two in the shrunk filter."""
    y, x = np.indices((60, 60))
    kernels = np.stack([np.sin(np.pi / 2 * x), (-1.0) ** (x + y)]) + 0.1 * rng.normal(
        size=(2, 60, 60)
    )
    first, second = label(kernels[..., None]).names
    assert first != "fine grating"
    assert second == "fine grating"


@pytest.mark.parametrize("size", [9, 11])
def test_stripes_from_two_and_a_half_pixels_are_edges(size):
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
