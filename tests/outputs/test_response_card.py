"""The picture of a layer's responses, in TensorBoard."""

import numpy as np
import pytest
from PIL import Image

from filtertrack.outputs.response_card import CARD_FILTERS, CARD_PROBES, draw_response_card
from filtertrack.render.cells import View
from filtertrack.render.palette import NOT_FINITE_RGB, SEPARATOR_RGB

BLACK, WHITE = (0, 0, 0), (255, 255, 255)
ZERO = (247, 246, 246)
"""The middle of the diverging colormap."""


def grey_view(count, side=5):
    return View("grey", count, side, side)


def drawn(pictures, view, filters, maps, *, rectified=True):
    """Draw a card in colour."""
    picture, palette = draw_response_card(pictures, view, filters, maps, rectified=rectified)
    assert picture.dtype == np.uint8
    assert (palette is None) == view.coloured
    return picture if palette is None else palette[picture]


def cell(card, row, column, *, block=0, columns=4):
    """Return a cell of a card of cells of 64x64; row 0 is that of the probes."""
    start = block * (columns * 66 + 2 + 12)
    top, left = row * 66 + 2, start + column * 66 + 2
    return card[top : top + 64, left : left + 64]


def colours(part):
    """Return the set of colours of a part of a picture."""
    return set(map(tuple, part.reshape(-1, 3).tolist()))


def card_of(maps, rng, *, rectified=True):
    """Draw a card of maps with random probes and filters."""
    probes, filters, height, width = maps.shape
    pictures = rng.uniform(size=(probes, 2 * height, 2 * width, 3))
    cells = rng.normal(size=(filters, 5, 5, 1))
    return drawn(pictures, grey_view(filters), cells, maps, rectified=rectified)


@pytest.mark.parametrize("coloured", [False, True], ids=["grey", "colour"])
@pytest.mark.parametrize("rectified", [True, False], ids=["rectified", "signed"])
def test_a_card_is_the_golden_picture(golden, coloured, rectified):
    """A silent filter in the second row; the third is not finite for the first probe.

    Without the probes where these are quantised, which may differ with Pillow's version.
    """
    rng = np.random.default_rng(7)
    y, x = np.mgrid[-1:1:8j, -1:1:8j]
    waves = [np.sin(4 * (x * np.cos(t) + y * np.sin(t)) + t) for t in range(30)]
    maps = np.array(waves).reshape(3, 10, 8, 8)
    maps[:, 1] = 0
    maps[0, 2] = np.nan
    if rectified:
        maps = np.maximum(maps, 0)
    filters = rng.normal(size=(10, 5, 5, 3 if coloured else 1))
    view = View("colour" if coloured else "grey", 10, 5, 5)
    ramp = np.stack(np.broadcast_arrays(x, y, x * y), axis=-1)
    pictures = np.stack([ramp, -ramp, ramp.swapaxes(0, 1)]) if coloured else None
    card = drawn(pictures, view, filters, maps, rectified=rectified)
    kind = f"{'colour' if coloured else 'grey'}_{'rectified' if rectified else 'signed'}"
    golden(f"responses_{kind}.png", Image.fromarray(card))


def test_a_value_of_a_map_is_a_square_between_black_and_white(rng):
    """On the scale of its filter: from zero to the highest value of the filter's maps."""
    maps = np.zeros((3, 2, 8, 8))
    maps[0, 0, 1, 2], maps[1, 0, 3, 3] = 4, 2
    maps[2, 1, 7, 7] = 1e-3
    card = card_of(maps, rng)
    first = cell(card, 1, 1)
    assert colours(first[8:16, 16:24]) == {WHITE}
    first = first.copy()
    first[8:16, 16:24] = 0
    assert colours(first) == {BLACK}
    (half,) = colours(cell(card, 1, 2)[24:32, 24:32])
    assert half[0] == pytest.approx(127.5, abs=3)
    assert colours(cell(card, 2, 3)[56:, 56:]) == {WHITE}  # another scale


def test_a_silent_filter_is_black(rng):
    maps = rng.uniform(1, 2, size=(3, 2, 8, 8))
    maps[:, 1] = 0
    card = card_of(maps, rng)
    for column in (1, 2, 3):
        assert colours(cell(card, 2, column)) == {BLACK}
        assert BLACK not in colours(cell(card, 1, column))


def test_signed_maps_have_zero_in_the_middle(rng):
    """White is zero, also if all values are positive; a filter of zeros is white."""
    maps = np.zeros((3, 3, 8, 8))
    maps[0, 0, 0, 0], maps[0, 0, 0, 1] = 4, -4
    maps[0, 1, 0, 0] = 1
    card = card_of(maps, rng, rectified=False)
    high, low = cell(card, 1, 1)[0, 0].tolist(), cell(card, 1, 1)[0, 8].tolist()
    assert high[0] > high[2]
    assert low[2] > low[0]
    assert colours(cell(card, 1, 1)[8:]) == {ZERO}
    assert cell(card, 2, 1)[0, 0].tolist() == high
    assert colours(cell(card, 2, 1)[8:]) == {ZERO}
    assert colours(cell(card, 3, 1)) == {ZERO}


def test_values_that_are_not_finite_are_magenta(rng):
    maps = rng.uniform(size=(3, 2, 8, 8))
    maps[1, 0] = np.nan
    card = card_of(maps, rng)
    assert colours(cell(card, 1, 2)) == {NOT_FINITE_RGB}
    assert NOT_FINITE_RGB not in colours(cell(card, 1, 1)) | colours(cell(card, 2, 2))


def test_only_the_first_filters_and_probes_are_drawn(rng):
    """In two blocks of eight rows."""
    maps = rng.uniform(size=(6, 40, 8, 8))
    pictures, filters = rng.uniform(size=(6, 16, 16, 3)), rng.normal(size=(40, 5, 5, 1))
    card = drawn(pictures, grey_view(40), filters, maps)
    few = maps[:CARD_PROBES, :CARD_FILTERS]
    same = drawn(pictures[:3], grey_view(16), filters[:16], few)
    np.testing.assert_array_equal(card, same)
    assert card.shape[1] == 2 * (4 * 66 + 2) + 12
    for number in range(CARD_FILTERS):
        block, row = divmod(number, 8)
        (white,) = colours(cell(card, 1 + row, 0, block=block)[2:-2, 2:-2]) & {WHITE}
        shown = [cell(card, 1 + row, column, block=block)[::8, ::8, 0] for column in (1, 2, 3)]
        expected = maps[:3, number] / maps[:3, number].max() * 255
        np.testing.assert_allclose(np.array(shown), expected, atol=3)
        assert white == WHITE


def test_probes_are_above_their_maps_in_each_block(rng):
    """In colour within what 77 colours allow, and grey if they do not have three channels."""
    maps = rng.uniform(size=(3, 16, 8, 8))
    y, x = np.mgrid[0:1:32j, 0:1:32j]
    colour = np.stack([np.stack([x, y, x * y], axis=-1)] * 3)
    card = drawn(colour, grey_view(16), rng.normal(size=(16, 5, 5, 1)), maps)
    for block in (0, 1):
        shown = cell(card, 0, 2, block=block)[::2, ::2].astype(float)
        assert np.abs(shown - 255 * colour[1]).mean() < 12
        assert colours(cell(card, 0, 0, block=block)) == {SEPARATOR_RGB}
    card = drawn(colour[..., :1], grey_view(16), rng.normal(size=(16, 5, 5, 1)), maps)
    shown = cell(card, 0, 2)
    assert (np.ptp(shown, axis=-1) == 0).all()


def test_a_layer_of_1x1_kernels_has_no_filters_on_the_card(rng):
    maps = rng.uniform(size=(3, 2, 8, 8))
    view = View("matrix", 1, 7, 2)
    card = drawn(rng.uniform(size=(3, 16, 16, 3)), view, rng.normal(size=(1, 7, 2, 1)), maps)
    shown = cell(card, 1, 0, columns=3)[::8, ::8, 0]
    np.testing.assert_allclose(shown, maps[0, 0] / maps[:, 0].max() * 255, atol=3)


def test_without_images_there_is_no_row_above_the_maps(rng):
    maps, filters = rng.uniform(size=(3, 16, 8, 8)), rng.normal(size=(16, 5, 5, 1))
    with_images = drawn(rng.uniform(size=(3, 9, 9, 3)), grey_view(16), filters, maps)
    card = drawn(None, grey_view(16), filters, maps)
    np.testing.assert_array_equal(card, with_images[66:])


@pytest.mark.parametrize("count", range(1, 17))
@pytest.mark.parametrize("probes", [1, 2, 3])
def test_each_block_has_a_filter(rng, probes, count):
    """Also of 1x1 kernels, whose rows are one cell shorter."""
    maps = rng.uniform(1, 2, size=(probes, count, 8, 8))
    card = drawn(None, View("matrix", 1, 4, count), rng.normal(size=(1, 4, count, 1)), maps)
    assert colours(card[2:66, -66:-2]) != {SEPARATOR_RGB}


@pytest.mark.parametrize(("probes", "filters"), [(1, 1), (4, 2), (2, 5), (1, 16), (4, 17)], ids=str)
@pytest.mark.parametrize("shape", [(1, 1), (2, 32), (32, 2), (33, 40), (128, 128)], ids=str)
def test_cards_of_all_shapes_are_about_square(rng, shape, probes, filters):
    """All maps are on them, whatever the sizes of kernels and probes."""
    maps = rng.uniform(size=(probes, filters, *shape))
    for side, picture in ((1, 1), (9, 500), (70, 31)):
        card = drawn(
            rng.uniform(size=(probes, picture, picture + 3, 3)),
            View("colour", filters, side, side),
            rng.normal(size=(filters, side, side, 3)),
            maps,
        )
        height, width = card.shape[:2]
        assert max(height, width) < 1400
        if filters > 1:
            assert 0.2 < height / width < 4


def test_the_single_row_of_a_1d_layer_is_visible(rng):
    """In the middle of its cell, 16 pixels high."""
    maps = np.zeros((1, 1, 1, 32))
    maps[..., 5] = 1
    card = drawn(None, grey_view(1), rng.normal(size=(1, 1, 5, 1)), maps)
    white = (card[:50, 68:] == WHITE).all(axis=-1)
    assert white.sum() == 16 * 2
    assert white.any(axis=1).nonzero()[0].tolist() == list(range(18, 34))


def test_a_large_map_keeps_its_strongest_value(rng):
    maps = np.zeros((1, 1, 100, 100))
    maps[0, 0, 57, 31] = 1
    card = card_of(maps, rng)
    assert WHITE in colours(card[70:130, 67:])


def test_arrays_are_not_changed(rng):
    arrays = [
        rng.uniform(size=(3, 16, 16, 3)),
        rng.normal(size=(4, 5, 5, 1)),
        rng.normal(size=(3, 4, 8, 8)),
    ]
    copies = [each.copy() for each in arrays]
    draw_response_card(arrays[0], grey_view(4), arrays[1], arrays[2], rectified=True)
    for array, copy in zip(arrays, copies, strict=True):
        np.testing.assert_array_equal(array, copy)
