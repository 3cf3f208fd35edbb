import numpy as np
import pytest

from filtertrack.grid import LEVELS, NOT_FINITE, NOT_FINITE_RGB
from filtertrack.palette import colour_palette, grey_palette, to_entries


def test_few_colours_are_exact(rng):
    """Up to 240 colours each have an entry of their own."""
    pixels = rng.integers(0, 256, (8, 30, 3), np.uint8)
    colours = colour_palette(pixels.reshape(-1, 3))
    np.testing.assert_array_equal(colours[to_entries(pixels, colours)], pixels)


def test_many_colours_are_near(rng):
    """Of colours all over the cube, the nearest of 240 entries is about 30 dB away, as measured."""
    pixels = rng.integers(0, 256, (20_000, 3), np.uint8)
    colours = colour_palette(pixels)
    error = colours[to_entries(pixels, colours)].astype(float) - pixels
    assert 10 * np.log10(255**2 / np.square(error).mean()) > 24


def test_the_nearest_entry_is_chosen(rng):
    """Against all distances written out."""
    pixels = rng.integers(0, 256, (500, 3), np.uint8)
    colours = colour_palette(rng.integers(0, 256, (5000, 3), np.uint8))
    apart = np.square(pixels[:, None].astype(int) - colours[None, :LEVELS]).sum(axis=-1)
    entries = to_entries(pixels, colours)
    np.testing.assert_array_equal(apart[np.arange(500), entries], apart.min(axis=1))


def test_what_is_not_a_weight_keeps_its_entry():
    """A weight that is not finite is magenta in every palette; greys are in order."""
    colours = colour_palette(np.array([[1, 2, 3], [250, 250, 250]], np.uint8))
    assert to_entries(np.array([NOT_FINITE_RGB], np.uint8), colours).tolist() == [NOT_FINITE]
    assert colours[NOT_FINITE].tolist() == list(NOT_FINITE_RGB)
    greys = grey_palette()[:LEVELS].astype(int)
    assert (np.diff(greys, axis=0) >= 0).all()
    assert greys[0].tolist() == [0, 0, 0]
    assert greys[-1].tolist() == [255, 255, 255]


@pytest.mark.parametrize("sample", [np.empty((0, 3), np.uint8), np.zeros((1, 3), np.uint8)])
def test_a_palette_of_almost_nothing(sample):
    """No colour, or one, still makes a palette."""
    assert colour_palette(sample).shape == (256, 3)
