import matplotlib as mpl
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from filtertrack import FiltertrackError
from filtertrack.measures import LABELS
from filtertrack.render.grid import LEVELS, NOT_FINITE, NOT_FINITE_RGB, SEPARATOR, grid_palette
from filtertrack.render.palette import (
    BACKGROUND,
    OUTLINE,
    OUTLINED,
    SHADES,
    THEMES,
    TRANSPARENT,
    chosen_levels,
    colormap_levels,
    film_palette,
    outline_entries,
    ramp_entry,
    to_entries,
)

PIXELS = arrays(np.uint8, st.tuples(st.integers(0, 60), st.just(3)))


def contrast(one, other):
    """Return the contrast of two colours as WCAG 2 defines it, from 1 to 21."""

    def luminance(rgb):
        unit = np.array(rgb) / 255
        linear = np.where(unit <= 0.04045, unit / 12.92, ((unit + 0.055) / 1.055) ** 2.4)
        return linear @ [0.2126, 0.7152, 0.0722]

    dark, light = sorted([luminance(one), luminance(other)])
    return (light + 0.05) / (dark + 0.05)


def test_every_entry_has_one_meaning():
    """Levels, the grid's two, outlines, background, ramps and "as before" do not overlap."""
    ramps = [ramp_entry(ramp, shade + 1) for ramp in range(3) for shade in range(SHADES)]
    outlines = [OUTLINE + number for number in range(len(OUTLINED))]
    entries = [*range(LEVELS), NOT_FINITE, SEPARATOR, *outlines, BACKGROUND, *ramps, TRANSPARENT]
    assert len(set(entries)) == len(entries)
    assert max(entries) < 256


@pytest.mark.parametrize("theme", THEMES)
def test_the_colours_around_the_weights(theme):
    """The theme's own; each ramp goes evenly from the background to its colour."""
    colours, look = film_palette(theme), THEMES[theme]
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
    """By WCAG's measure for text of normal size."""
    look = THEMES[theme]
    for colour in look.ramps:
        assert contrast(colour, look.background) >= 4.5


@pytest.mark.parametrize("theme", THEMES)
def test_a_theme_does_not_change_the_weights(theme):
    """Greys are those of every other picture; levels that are given are taken as they are."""
    np.testing.assert_array_equal(film_palette(theme)[:LEVELS], grid_palette()[:LEVELS])
    levels = colormap_levels("viridis")
    coloured = film_palette(theme, levels)
    np.testing.assert_array_equal(coloured[:LEVELS], levels)
    np.testing.assert_array_equal(coloured[LEVELS:], film_palette(theme)[LEVELS:])


def test_a_palette_is_nobody_elses():
    """Changing one changes no other."""
    film_palette()[:] = 0
    assert film_palette().any()


def test_grey_is_the_grid():
    """From black to white, never darker; the colormap that is drawn when none is asked for."""
    levels = colormap_levels("gray")
    np.testing.assert_array_equal(levels, grid_palette()[:LEVELS])
    assert levels[0].tolist() == [0, 0, 0]
    assert levels[-1].tolist() == [255, 255, 255]
    assert (np.diff(levels.astype(int), axis=0) >= 0).all()


@pytest.mark.parametrize("name", ["viridis", "RdBu_r", "coolwarm", "twilight", "tab10", "gray_r"])
def test_a_colormap_is_matplotlibs(name):
    """At both ends and all the way between, to half a level."""
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
def test_an_unknown_colormap_is_an_error_that_helps(name, hint):
    """It says what was asked for, and names that are near, or else some that are good."""
    with pytest.raises(FiltertrackError) as error:
        colormap_levels(name)
    assert repr(name) in str(error.value)
    assert hint in str(error.value)


def test_few_colours_are_exact(rng):
    """Up to 236 colours each have an entry of their own, however often each occurs."""
    few = rng.integers(0, 256, (LEVELS, 3), np.uint8)
    pixels = few[rng.integers(0, LEVELS, (80, 30))]
    colours = film_palette("dark", chosen_levels(pixels.reshape(-1, 3)))
    np.testing.assert_array_equal(colours[to_entries(pixels, colours)], pixels)


def test_many_colours_are_near(rng):
    """Of colours all over the cube, the nearest of 236 entries is about 30 dB away, as measured."""
    pixels = rng.integers(0, 256, (20_000, 3), np.uint8)
    levels = chosen_levels(pixels)
    assert levels.shape == (LEVELS, 3)
    assert len(np.unique(levels, axis=0)) > 0.9 * LEVELS
    colours = film_palette("light", levels)
    error = colours[to_entries(pixels, colours)].astype(float) - pixels
    assert 10 * np.log10(255**2 / np.square(error).mean()) > 24


@pytest.mark.parametrize("count", [0, 1, 2, LEVELS - 1, LEVELS, LEVELS + 1])
def test_any_number_of_colours_makes_levels(count):
    """None, one, and about as many as there is room for."""
    sample = np.stack([np.arange(count), np.arange(count), np.zeros(count)], axis=1).astype(
        np.uint8
    )
    levels = chosen_levels(sample)
    assert levels.shape == (LEVELS, 3)
    assert levels.dtype == np.uint8
    if count <= LEVELS:
        assert set(map(tuple, sample.tolist())) <= set(map(tuple, levels.tolist()))


def test_the_same_sample_chooses_the_same_colours(rng):
    """So that the same run makes the same file."""
    sample = rng.integers(0, 256, (5000, 3), np.uint8)
    np.testing.assert_array_equal(chosen_levels(sample), chosen_levels(sample.copy()))


@given(PIXELS, st.integers(0, 10), st.sampled_from(list(THEMES)))
def test_the_nearest_entry_is_chosen(pixels, seed, theme):
    """Against all distances written out; never an entry that is not a weight's."""
    rng = np.random.default_rng(seed)
    colours = film_palette(theme, rng.integers(0, 256, (LEVELS, 3), np.uint8))
    pixels = pixels[(pixels != NOT_FINITE_RGB).any(axis=1)]
    away = np.square(pixels[:, None].astype(int) - colours[None, :LEVELS]).sum(axis=-1)
    entries = to_entries(pixels, colours)
    assert (entries < LEVELS).all()
    np.testing.assert_array_equal(
        away[np.arange(len(pixels)), entries], away.min(axis=1, initial=1 << 30)
    )


def test_many_pixels_are_each_their_own(rng):
    """More than are looked up at once, and in any shape: as if each were alone."""
    colours = film_palette("dark", rng.integers(0, 256, (LEVELS, 3), np.uint8))
    pixels = rng.integers(0, 256, (3, 47, 11, 3), np.uint8)
    entries = to_entries(pixels, colours)
    assert entries.shape == (3, 47, 11)
    alone = [to_entries(pixel, colours) for pixel in pixels[-1, -1]]
    assert entries[-1, -1].tolist() == [int(entry) for entry in alone]


@pytest.mark.parametrize("theme", THEMES)
def test_what_is_not_finite_is_magenta_in_every_palette(theme):
    """Its colour has one entry, whatever the other colours are."""
    near = np.array([NOT_FINITE_RGB, (254, 0, 170), (0, 0, 0)], np.uint8)
    colours = film_palette(theme, chosen_levels(near))
    entries = to_entries(near, colours)
    assert entries[0] == NOT_FINITE
    assert (entries[1:] < LEVELS).all()
    np.testing.assert_array_equal(colours[entries], near)


@pytest.mark.parametrize("theme", THEMES)
def test_outlines_are_the_themes(theme):
    """An entry each, of its colour, whatever the weights' colours are."""
    for levels in (None, colormap_levels("viridis")):
        colours = film_palette(theme, levels)[OUTLINE : OUTLINE + len(OUTLINED)]
        assert [tuple(colour) for colour in colours.tolist()] == list(THEMES[theme].outlines)


@pytest.mark.parametrize("theme", THEMES)
def test_outlines_are_seen(theme):
    """Against the separators and the background; each is told from the others and from greys."""
    look = THEMES[theme]
    for number, colour in enumerate(look.outlines):
        assert contrast(colour, look.background) >= 2.4
        assert contrast(colour, look.separator) >= 1.5
        assert max(colour) - min(colour) > 60, "no grey weight looks like it"
        for other in look.outlines[:number]:
            assert np.abs(np.subtract(colour, other)).sum() > 100
        for other in (look.separator, NOT_FINITE_RGB):
            assert np.abs(np.subtract(colour, other)).sum() > 100


def test_each_label_has_its_entry():
    """The outlined ones in their order; all others, and what is no label, the separator's."""
    assert set(OUTLINED) < set(LABELS)
    entries = outline_entries(np.array(LABELS))
    for label, entry in zip(LABELS, entries.tolist(), strict=True):
        expected = OUTLINE + OUTLINED.index(label) if label in OUTLINED else SEPARATOR
        assert entry == expected
    assert outline_entries(np.array(["", "Edge"])).tolist() == [SEPARATOR] * 2


@given(
    arrays(np.int64, st.tuples(st.integers(0, 4), st.integers(0, 5)), elements=st.integers(0, 5))
)
def test_entries_keep_the_shape_of_labels(numbers):
    """Of any shape, empty ones too; one byte each."""
    labels = np.array(LABELS)[numbers]
    entries = outline_entries(labels)
    assert entries.shape == labels.shape
    assert entries.dtype == np.uint8
    assert entries.ravel().tolist() == [int(outline_entries(each)) for each in labels.ravel()]
