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


def places(size):
    """Return how far each pixel is from the middle, downward and to the right."""
    return np.mgrid[:size, :size] - (size - 1) / 2


def across_line(rng, size):
    """Return each pixel's distance from a line in any direction, not far from the middle."""
    y, x = places(size)
    angle, offset = rng.uniform(0, 2 * np.pi), rng.uniform(-0.15, 0.15) * size
    return np.cos(angle) * x + np.sin(angle) * y - offset


def step(rng, size):
    """Return a light half and a dark one, the pixels on the border between."""
    return np.clip(across_line(rng, size), -0.5, 0.5)


def bar(rng, size):
    """Return a bar between a fifth and two fifths of the filter wide."""
    half = rng.uniform(size / 10, size / 5)
    return np.clip(half - np.abs(across_line(rng, size)), -0.5, 0.5)


def grating(rng, size):
    """Return stripes all over, of one to two periods, in any phase."""
    wave = rng.uniform(size / 2, size)
    return np.sin(2 * np.pi * across_line(rng, size) / wave + rng.uniform(0, 2 * np.pi))


def from_centre(rng, size):
    """Return each pixel's squared distance from a point near the middle."""
    y, x = places(size)
    down, right = rng.uniform(-0.12, 0.12, 2) * size
    return (y - down) ** 2 + (x - right) ** 2


def spot(rng, size):
    """Return a round Gaussian."""
    return np.exp(-from_centre(rng, size) / 2 / rng.uniform(0.8, size / 4.5) ** 2)


def ring(rng, size):
    """Return a difference of Gaussians, centre and surround of the same volume."""
    sigma, wider = rng.uniform(0.7, size / 6), rng.uniform(1.5, 2.5)
    square = from_centre(rng, size)
    surround = np.exp(-square / 2 / (wider * sigma) ** 2) / wider**2
    return np.exp(-square / 2 / sigma**2) - surround


def planted(rng, shape, count, size, tints):
    """Return filters that hold a shape, light or dark, in a tint, under a quarter of noise."""
    kernels = []
    for _ in range(count):
        pattern = shape(rng, size)
        pattern = (pattern - pattern.mean()) / pattern.std()
        tint = tints[rng.integers(len(tints))] * rng.choice([-1.0, 1.0])
        kernels.append(pattern[..., None] * tint / np.sqrt(np.mean(tint**2)))
    kernels = np.stack(kernels)
    return kernels + np.sqrt(0.25) * rng.normal(size=kernels.shape)


@pytest.mark.parametrize("size", [5, 7, 9, 11])
@pytest.mark.parametrize("tints", [GREY, RGB, OPPONENT], ids=["grey", "RGB", "opponent"])
@pytest.mark.parametrize("shape", [step, bar, grating, spot, ring])
def test_planted_patterns_get_their_names(shape, size, tints):
    """At least 95 % of them, under noise of a quarter of their variance."""
    names = label(planted(np.random.default_rng(1), shape, 150, size, tints)).names
    expected = "edge" if shape in (step, bar, grating) else "blob"
    if expected == "blob" and tints is OPPONENT:
        expected = "colour blob"
    # 25 weights under so much noise are too few for these; what is missed is "unstructured".
    hard = size == 5 and tints is GREY and shape in (bar, grating, ring)
    share = np.mean(names == expected)
    assert share >= (0.88 if hard else 0.95)
    if hard:
        assert np.isin(names, [expected, "unstructured"]).all()


@pytest.mark.parametrize("size", [9, 11])
def test_fine_stripes_all_over_are_edges(size):
    """Of about three pixels a period, without any noise."""
    rng = np.random.default_rng(1)
    kernels = [
        np.sin(2 * np.pi * across_line(rng, size) / rng.uniform(2.5, 3.2)) for _ in range(100)
    ]
    assert np.mean(label(np.stack(kernels)[..., None]).names == "edge") >= 0.95


def noise(rng, kind, count, size, channels):
    """Return untrained filters, as an initializer draws them."""
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
def test_of_noise_one_in_a_hundred_at_most_is_structured(kind, size, channels):
    """Of 2,000 filters; the rest is "unstructured", or "unknown" in 3x3."""
    found = label(noise(np.random.default_rng(2), kind, 2000, size, channels))
    share = found.structured.mean()
    assert share <= 0.01
    rest = found.names[~found.structured]
    assert set(rest) == {"unknown" if size == 3 else "unstructured"}
    assert not np.isin(found.names[found.structured], ["unknown", "unstructured"]).any()


def test_of_uniform_noise_in_3x3_one_in_a_hundred_at_most_is_structured():
    """Of 20,000 grey filters, as Keras draws them by default."""
    found = label(noise(np.random.default_rng(0), "uniform", 20_000, 3, 1))
    assert found.structured.mean() <= 0.01


@pytest.mark.parametrize("shape", [(3, 3), (4, 6), (2, 7), (1, 1), (1, 24)])
def test_noise_in_few_pixels_is_unknown(shape, rng):
    """Below 25 pixels a clear pattern could have gone unnoticed."""
    names = label(rng.normal(size=(60, *shape, 1))).names
    assert "unstructured" not in names
    assert np.mean(names == "unknown") > 0.9


@pytest.mark.parametrize("shape", [(5, 5, 1), (7, 7, 3), (3, 9, 2), (11, 11, 8)])
@pytest.mark.parametrize("tone", [0.1, -5.0])
def test_a_flat_tone_is_other_structure(shape, tone, rng):
    """Alone, or with a pattern of noise too weak to matter."""
    kernels = np.full((2, *shape), tone)
    kernels[1] += 0.1 * tone * rng.normal(size=shape)
    found = label(kernels)
    assert found.names.tolist() == ["other structure"] * 2
    assert found.structured.all()
    np.testing.assert_allclose(found.flat, [1, 1], atol=0.02)


def test_what_holds_nothing_is_no_structure():
    """Zeros are unstructured; where there is a value that is not finite, nothing is known."""
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


def test_the_evidence_beside_a_label_is_what_the_measures_say(rng):
    """The same numbers as each gives by itself, and names that are listed."""
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
def test_labels_know_neither_length_nor_sign_nor_mirror(factor):
    """A filter, its negative, a stronger one, and itself in a mirror."""
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
