import matplotlib as mpl
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from filtertrack import FiltertrackError
from filtertrack.measures import LABELS
from filtertrack.render.look import DIVERGING
from filtertrack.render.palette import (
    BACKGROUND,
    LEVELS,
    NOT_FINITE,
    NOT_FINITE_RGB,
    OUTLINE,
    OUTLINED,
    SEPARATOR,
    SHADES,
    THEMES,
    TRANSPARENT,
    chosen_levels,
    colormap_levels,
    grid_palette,
    outline_entries,
    ramp_entry,
    split_levels,
    theme_palette,
    to_entries,
)

PIXELS = arrays(np.uint8, st.tuples(st.integers(0, 60), st.just(3)))


def contrast(one, other):
    """Return the contrast ratio of two colours as defined by WCAG 2, from 1 to 21."""

    def luminance(rgb):
        unit = np.array(rgb) / 255
        linear = np.where(unit <= 0.04045, unit / 12.92, ((unit + 0.055) / 1.055) ** 2.4)
        return linear @ [0.2126, 0.7152, 0.0722]

    dark, light = sorted([luminance(one), luminance(other)])
    return (light + 0.05) / (dark + 0.05)


LINEAR_RGB_TO_XYZ = np.array(
    [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
)
WHITE = LINEAR_RGB_TO_XYZ.sum(axis=1)
COLOUR_VISION = {
    "normal": np.eye(3),
    "protanopia": np.array(
        [
            [0.152286, 1.052583, -0.204868],
            [0.114503, 0.786281, 0.099216],
            [-0.003882, -0.048116, 1.051998],
        ]
    ),
    "deuteranopia": np.array(
        [
            [0.367322, 0.860646, -0.227968],
            [0.280085, 0.672501, 0.047413],
            [-0.011820, 0.042940, 0.968881],
        ]
    ),
}
"""Matrices of linear RGB that simulate colour-blindness (Machado, Oliveira and Fernandes 2009)."""


def seen_as(rgb, vision):
    """Return colours in CIELAB, in which distances are those that are seen."""
    unit = np.asarray(rgb) / 255
    linear = np.where(unit <= 0.04045, unit / 12.92, ((unit + 0.055) / 1.055) ** 2.4)
    xyz = (linear @ COLOUR_VISION[vision].T).clip(0, 1) @ LINEAR_RGB_TO_XYZ.T / WHITE
    x, y, z = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116).T
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1)


def test_entries_do_not_overlap():
    """Levels, not finite, separator, outlines, background, ramps, transparent."""
    ramps = [ramp_entry(ramp, shade + 1) for ramp in range(3) for shade in range(SHADES)]
    outlines = [OUTLINE + number for number in range(len(OUTLINED))]
    entries = [*range(LEVELS), NOT_FINITE, SEPARATOR, *outlines, BACKGROUND, *ramps, TRANSPARENT]
    assert len(set(entries)) == len(entries)
    assert max(entries) < 256


@pytest.mark.parametrize("theme", THEMES)
def test_fixed_colours_are_those_of_the_theme(theme):
    """Each ramp goes in equal steps from the background to its colour."""
    colours, look = theme_palette(theme), THEMES[theme]
    assert colours.shape == (256, 3)
    assert colours.dtype == np.uint8
    assert tuple(colours[BACKGROUND]) == look.background
    assert tuple(colours[SEPARATOR]) == look.separator
    assert tuple(colours[NOT_FINITE]) == NOT_FINITE_RGB
    for ramp, end in enumerate((look.text, look.first, look.second)):
        assert tuple(colours[ramp_entry(ramp, SHADES)]) == end
        for shade in range(1, SHADES + 1):
            share = shade / SHADES
            mixed = (1 - share) * np.array(look.background) + share * np.array(end)
            np.testing.assert_allclose(colours[ramp_entry(ramp, shade)], mixed, atol=0.5)


@pytest.mark.parametrize("theme", THEMES)
def test_text_and_curves_are_legible(theme):
    """By the WCAG contrast ratio for text of normal size."""
    look = THEMES[theme]
    for colour in look.ramps:
        assert contrast(colour, look.background) >= 4.5


@pytest.mark.parametrize("theme", THEMES)
def test_themes_do_not_change_colours_of_weights(theme):
    """Greys are the same in all palettes; given levels are used unchanged."""
    np.testing.assert_array_equal(theme_palette(theme)[:LEVELS], grid_palette()[:LEVELS])
    levels = colormap_levels("viridis")
    coloured = theme_palette(theme, levels)
    np.testing.assert_array_equal(coloured[:LEVELS], levels)
    np.testing.assert_array_equal(coloured[LEVELS:], theme_palette(theme)[LEVELS:])


def test_palettes_are_independent():
    """Changing one does not change the next."""
    theme_palette()[:] = 0
    assert theme_palette().any()


def test_grey_is_the_default_colormap():
    """From black to white, monotonically; the same as the palette of a grid."""
    levels = colormap_levels("gray")
    np.testing.assert_array_equal(levels, grid_palette()[:LEVELS])
    assert levels[0].tolist() == [0, 0, 0]
    assert levels[-1].tolist() == [255, 255, 255]
    assert (np.diff(levels.astype(int), axis=0) >= 0).all()


@pytest.mark.parametrize("name", ["viridis", "RdBu_r", "coolwarm", "twilight", "tab10", "gray_r"])
def test_colormap_is_that_of_matplotlib(name):
    """At both ends and in between, to half a level."""
    levels = colormap_levels(name)
    assert levels.shape == (LEVELS, 3)
    assert levels.dtype == np.uint8
    for number in (0, 1, 100, LEVELS - 1):
        expected = mpl.colormaps[name](number / (LEVELS - 1))[:3]
        np.testing.assert_allclose(levels[number], 255 * np.array(expected), atol=0.51)


@pytest.mark.parametrize(
    ("name", "hint"),
    [("viridiss", "viridis"), ("Magma", "magma"), ("RdBu-r", "RdBu_r"), ("?", "coolwarm")],
)
def test_unknown_colormap_error_suggests_names(name, hint):
    """It quotes the name, and suggests similar names or, if there are none, common ones."""
    with pytest.raises(FiltertrackError) as error:
        colormap_levels(name)
    assert repr(name) in str(error.value)
    assert hint in str(error.value)


@pytest.mark.parametrize(("colormaps", "each"), [(1, 235), (2, 117), (3, 77), (5, 47)])
def test_colormaps_divide_the_entries_of_weights(colormaps, each):
    """Without overlap, an odd number each, so that one of them is the middle."""
    spans = split_levels(colormaps)
    assert [len(span) for span in spans] == [each] * colormaps
    entries = [entry for span in spans for entry in span]
    assert entries == list(range(colormaps * each))
    assert max(entries) < LEVELS
    assert each % 2


@pytest.mark.parametrize("name", ["gray", "viridis", "RdBu_r"])
@pytest.mark.parametrize("count", [LEVELS, 117, 3])
def test_a_colormap_has_any_number_of_colours(name, count):
    """Its ends and its middle are those of matplotlib."""
    levels = colormap_levels(name, count)
    assert levels.shape == (count, 3)
    for entry, value in ((0, 0.0), (count // 2, 0.5), (count - 1, 1.0)):
        expected = 255 * np.array(mpl.colormaps[name](value)[:3])
        np.testing.assert_allclose(levels[entry], expected, atol=1.01)


@pytest.mark.parametrize("count", [LEVELS, 117])
def test_the_middle_of_the_diverging_colormap_is_the_lightest(count):
    """Zero is nearly white; the colours of opposite changes differ, also for the colour-blind."""
    levels = colormap_levels(DIVERGING, count)
    lightness = {vision: seen_as(levels, vision)[:, 0] for vision in COLOUR_VISION}
    assert lightness["normal"].argmax() == count // 2
    assert np.ptp(levels[count // 2].astype(int)) <= 1, "without a hue"
    for vision in COLOUR_VISION:
        low, high = seen_as(levels[: count // 4], vision), seen_as(levels[-(count // 4) :], vision)
        assert np.linalg.norm(low - high[::-1], axis=1).min() > 14


def test_a_palette_with_two_colormaps_keeps_its_other_entries():
    """Fewer colours than entries leave the entries of text and lines as they are."""
    pair = np.concatenate([colormap_levels(name, 117) for name in ("gray", DIVERGING)])
    colours, plain = theme_palette("dark", pair), theme_palette("dark")
    np.testing.assert_array_equal(colours[:234], pair)
    np.testing.assert_array_equal(colours[LEVELS:], plain[LEVELS:])


def test_few_colours_are_exact(rng):
    """Up to 235 colours each have their own entry, whatever their frequency."""
    few = rng.integers(0, 256, (LEVELS, 3), np.uint8)
    pixels = few[rng.integers(0, LEVELS, (80, 30))]
    colours = theme_palette("dark", chosen_levels(pixels.reshape(-1, 3)))
    np.testing.assert_array_equal(colours[to_entries(pixels, colours)], pixels)


def test_many_colours_are_approximated(rng):
    """Of random colours, the nearest of 235 entries has a PSNR of about 30 dB."""
    pixels = rng.integers(0, 256, (20_000, 3), np.uint8)
    levels = chosen_levels(pixels)
    assert levels.shape == (LEVELS, 3)
    assert len(np.unique(levels, axis=0)) > 0.9 * LEVELS
    colours = theme_palette("light", levels)
    error = colours[to_entries(pixels, colours)].astype(float) - pixels
    assert 10 * np.log10(255**2 / np.square(error).mean()) > 24


@pytest.mark.parametrize("count", [0, 1, 2, LEVELS - 1, LEVELS, LEVELS + 1])
def test_any_number_of_colours_gives_levels(count):
    """None, one, and about 235."""
    sample = np.stack([np.arange(count), np.arange(count), np.zeros(count)], axis=1).astype(
        np.uint8
    )
    levels = chosen_levels(sample)
    assert levels.shape == (LEVELS, 3)
    assert levels.dtype == np.uint8
    if count <= LEVELS:
        assert set(map(tuple, sample.tolist())) <= set(map(tuple, levels.tolist()))


def test_chosen_colours_are_reproducible(rng):
    """So that the same run gives the same file."""
    sample = rng.integers(0, 256, (5000, 3), np.uint8)
    np.testing.assert_array_equal(chosen_levels(sample), chosen_levels(sample.copy()))


@given(PIXELS, st.integers(0, 10), st.sampled_from(list(THEMES)))
def test_nearest_entry_is_chosen(pixels, seed, theme):
    """Compared with all distances; only entries of weights."""
    rng = np.random.default_rng(seed)
    colours = theme_palette(theme, rng.integers(0, 256, (LEVELS, 3), np.uint8))
    pixels = pixels[(pixels != NOT_FINITE_RGB).any(axis=1)]
    away = np.square(pixels[:, None].astype(int) - colours[None, :LEVELS]).sum(axis=-1)
    entries = to_entries(pixels, colours)
    assert (entries < LEVELS).all()
    np.testing.assert_array_equal(
        away[np.arange(len(pixels)), entries], away.min(axis=1, initial=1 << 30)
    )


def test_pixels_are_independent(rng):
    """More than are processed at once, in any shape."""
    colours = theme_palette("dark", rng.integers(0, 256, (LEVELS, 3), np.uint8))
    pixels = rng.integers(0, 256, (3, 47, 11, 3), np.uint8)
    entries = to_entries(pixels, colours)
    assert entries.shape == (3, 47, 11)
    alone = [to_entries(pixel, colours) for pixel in pixels[-1, -1]]
    assert entries[-1, -1].tolist() == [int(entry) for entry in alone]


@pytest.mark.parametrize("theme", THEMES)
def test_not_finite_is_magenta_in_every_palette(theme):
    """Its colour has one entry, whatever the other colours are."""
    near = np.array([NOT_FINITE_RGB, (254, 0, 170), (0, 0, 0)], np.uint8)
    colours = theme_palette(theme, chosen_levels(near))
    entries = to_entries(near, colours)
    assert entries[0] == NOT_FINITE
    assert (entries[1:] < LEVELS).all()
    np.testing.assert_array_equal(colours[entries], near)


@pytest.mark.parametrize("theme", THEMES)
def test_outlines_are_those_of_the_theme(theme):
    """One entry each, whatever the colours of the weights are."""
    for levels in (None, colormap_levels("viridis")):
        colours = theme_palette(theme, levels)[OUTLINE : OUTLINE + len(OUTLINED)]
        assert [tuple(colour) for colour in colours.tolist()] == list(THEMES[theme].outlines)


@pytest.mark.parametrize("theme", THEMES)
def test_outlines_have_contrast(theme):
    """With separators, background, greys, and each other."""
    look = THEMES[theme]
    for number, colour in enumerate(look.outlines):
        assert contrast(colour, look.background) >= 2.4
        assert contrast(colour, look.separator) >= 1.5
        assert max(colour) - min(colour) > 60, "no grey weight looks like it"
        for other in look.outlines[:number]:
            assert np.abs(np.subtract(colour, other)).sum() > 100
        for other in (look.separator, NOT_FINITE_RGB):
            assert np.abs(np.subtract(colour, other)).sum() > 100


@pytest.mark.parametrize("vision", COLOUR_VISION)
@pytest.mark.parametrize("theme", THEMES)
def test_the_colour_blind_can_distinguish_outlines(theme, vision):
    """From each other and the separator by 14 units of CIELAB, from greys by 6."""
    look = THEMES[theme]
    colours = seen_as([*look.outlines, look.separator], vision)
    greys = seen_as(np.repeat(np.arange(256)[:, np.newaxis], 3, axis=1), vision)
    for number, colour in enumerate(colours[: len(look.outlines)]):
        others = np.delete(colours, number, axis=0)
        assert np.linalg.norm(others - colour, axis=1).min() > 14
        assert np.linalg.norm(greys - colour, axis=1).min() > 6


def test_outline_entries_of_labels():
    """Outlined labels in their order; the separator for all others, and for no label."""
    assert set(OUTLINED) < set(LABELS)
    entries = outline_entries(np.array(LABELS))
    for label, entry in zip(LABELS, entries.tolist(), strict=True):
        expected = OUTLINE + OUTLINED.index(label) if label in OUTLINED else SEPARATOR
        assert entry == expected
    assert outline_entries(np.array(["", "Edge"])).tolist() == [SEPARATOR] * 2


@given(
    arrays(np.int64, st.tuples(st.integers(0, 4), st.integers(0, 5)), elements=st.integers(0, 6))
)
def test_outline_entries_keep_the_shape(numbers):
    """Any shape, also an empty one; one byte each."""
    labels = np.array(LABELS)[numbers]
    entries = outline_entries(labels)
    assert entries.shape == labels.shape
    assert entries.dtype == np.uint8
    assert entries.ravel().tolist() == [int(outline_entries(each)) for each in labels.ravel()]


@pytest.mark.parametrize("count", [3, 117, LEVELS])
def test_the_diverging_map_is_matplotlibs(count):
    """Its own colours are those of ``RdBu_r``; zero, in the middle, is nearly white."""
    expected = mpl.colormaps["RdBu_r"](np.linspace(0, 1, count))[:, :3]
    levels = colormap_levels("RdBu_r", count)
    assert np.abs(levels - 255 * expected).max() <= 0.5 + 1e-6
    assert levels[count // 2].min() > 240
