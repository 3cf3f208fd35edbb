import numpy as np
import pytest

from filtertrack.outputs.arrangement import NARROWEST
from filtertrack.render.legend import Legend
from filtertrack.render.palette import BACKGROUND, OUTLINE, OUTLINED, TEXT
from filtertrack.render.text import QUIET, font, font_size, line

WIDTHS = pytest.mark.parametrize("width", [NARROWEST, 300, 445, 640, 1280, 4000])
COUNTS = {"edge": 12, "blob": 0, "colour blob": 512, "other structure": 3, "unstructured": 9}


def found(strip, text, face):
    """Return where a text stands in a strip: top and left of each place, pixel for pixel."""
    part = line(text, face, TEXT, QUIET)
    windows = np.lib.stride_tricks.sliding_window_view(strip, part.shape)
    return np.argwhere((windows == part).all(axis=(2, 3)))


def squares(strip):
    """Return each outline's pixels: number to top, bottom, left, right."""
    boxes = {}
    for number in range(len(OUTLINED)):
        down, across = np.nonzero(strip == OUTLINE + number)
        boxes[number] = (down.min(), down.max(), across.min(), across.max())
        assert len(down) == (np.ptp(down) + 1) * (np.ptp(across) + 1), "a full square"
        assert np.ptp(down) == np.ptp(across)
    return boxes


@WIDTHS
@pytest.mark.parametrize("most", [None, 1, 96, 4096])
def test_all_four_labels_are_named(width, most):
    """A square of each outline's entry and its name beside it, whole, at any width."""
    legend = Legend(width, most)
    counts = None if most is None else dict.fromkeys(OUTLINED, most)
    strip = legend.draw(counts)
    assert strip.shape == (legend.height, width)
    assert strip.dtype == np.uint8
    assert legend.height % 2 == 0
    face = font(font_size(width))
    boxes = squares(strip)
    for number, name in enumerate(OUTLINED):
        text = name if most is None else f"{name} {most}"
        top, _, _, right = boxes[number]
        places = [at for at in found(strip, text, face) if at[0] <= top and at[1] > right]
        assert places, text
        distance = min(at[1] for at in places) - right
        assert distance <= font_size(width), "right beside its square"


@WIDTHS
def test_nothing_else_is_in_it(width):
    """Background, text and the four squares; a margin all around is free."""
    strip = Legend(width, 64).draw(COUNTS)
    entries = set(np.unique(strip).tolist())
    outlines = {OUTLINE + number for number in range(4)}
    assert outlines <= entries
    assert BACKGROUND in entries
    assert all(entry in outlines or entry >= BACKGROUND for entry in entries)
    margin = font_size(width) // 2
    assert (strip[:, :margin] == BACKGROUND).all()


@pytest.mark.parametrize("most", [None, 9, 99, 512, 4096])
def test_it_fits_into_the_narrowest_animation(most):
    """In 260 pixels no square and no text is cut off, also with the largest counts."""
    counts = None if most is None else dict.fromkeys(OUTLINED, most)
    narrow = Legend(NARROWEST, most)
    strip = narrow.draw(counts)
    assert (strip[:, -1] == BACKGROUND).all()
    assert len(squares(strip)) == 4
    assert Legend(1280, most).height < narrow.height, "there on one line"


def test_counts_are_said():
    """Those given, zero where a label does not occur; what is not outlined is not counted."""
    face = font(font_size(640))
    strip = Legend(640, 512).draw(COUNTS)
    for name in OUTLINED:
        assert len(found(strip, f"{name} {COUNTS[name]}", face)) == 1
    empty = Legend(640, 512).draw({})
    for name in OUTLINED:
        assert len(found(empty, f"{name} 0", face)), "also at the end of another name"


def test_squares_stay_where_they_are_while_counts_change():
    """Nothing jumps while an animation plays: room is left for the largest count."""
    for width in (NARROWEST, 640):
        legend = Legend(width, 4096)
        all_places = [squares(legend.draw(dict.fromkeys(OUTLINED, n))) for n in (0, 7, 98, 4096)]
        assert all(places == all_places[0] for places in all_places)


def test_a_strip_is_nobody_elses():
    """Changing one does not change the next."""
    legend = Legend(300)
    legend.draw()[:] = 0
    assert (legend.draw() == BACKGROUND).any()
