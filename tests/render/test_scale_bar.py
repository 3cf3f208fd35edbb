import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from filtertrack.render.palette import (
    ALL_LEVELS,
    BACKGROUND,
    LEVELS,
    SHADES,
    TEXT,
    ramp_entry,
    split_levels,
)
from filtertrack.render.scale_bar import BarTexts, bar_height, draw_scale_bar
from filtertrack.render.text import QUIET, font, line

PLAIN = BarTexts("lowest", "", "highest")
CENTRED = BarTexts("decreased", "0", "increased")
SPANS = [ALL_LEVELS, *split_levels(2)]


def colours_of(bar):
    """Return the columns of a bar, each as its one entry of a weight."""
    coloured = bar < LEVELS
    columns = np.flatnonzero(coloured.any(axis=0))
    entries = []
    for column in columns:
        values = set(bar[coloured[:, column], column].tolist())
        assert len(values) == 1, "one colour a column"
        entries.append(values.pop())
    return columns, np.array(entries)


def find(bar, text, size):
    """Return the column where a text begins; None where it is not drawn."""
    drawn = line(text, font(size), TEXT, QUIET)
    height, width = drawn.shape
    for left in range(bar.shape[1] - width + 1):
        if (bar[:height, left : left + width] == drawn).all():
            return left
    return None


@pytest.mark.parametrize("levels", SPANS, ids=str)
@pytest.mark.parametrize("texts", [PLAIN, CENTRED], ids=lambda texts: texts.low)
@pytest.mark.parametrize("size", [10, 12, 20])
def test_a_bar_goes_from_the_first_to_the_last_colour(texts, levels, size):
    """Ascending and evenly; the text of zero is where the middle entry is."""
    bar = draw_scale_bar(texts, 640, size, levels)
    assert bar.shape == (bar_height(size), 640)
    assert bar.dtype == np.uint8
    columns, entries = colours_of(bar)
    assert (entries[0], entries[-1]) == (levels[0], levels[-1])
    assert (np.diff(entries.astype(int)) >= 0).all()
    assert np.diff(entries.astype(int)).max() <= len(levels) / len(entries) + 1
    middle = levels[len(levels) // 2]
    if texts.middle:
        zero = find(bar, texts.middle, size)
        before, after = entries[columns < zero], entries[columns > zero]
        assert before[-1] <= middle <= after[0]
        assert abs(len(before) - len(after)) <= 1
    else:
        assert (np.diff(columns) == 1).all(), "in one piece"
        assert find(bar, texts.low, size) < columns[0] < columns[-1] < find(bar, "highest", size)


@pytest.mark.parametrize("texts", [PLAIN, CENTRED], ids=lambda texts: texts.low)
def test_texts_are_left_out_where_they_do_not_fit(texts):
    """First the note, then all of the others; the bar stays."""
    note = "each filter has its own fixed scale"
    seen = []
    for width in range(60, 700, 4):
        bar = draw_scale_bar(texts, width, 12, note=note)
        assert bar.shape == (bar_height(12), width)
        columns, entries = colours_of(bar)
        assert (entries[0], entries[-1]) == (0, LEVELS - 1)
        assert len(columns) >= 18
        found = [find(bar, text, 12) for text in (texts.low, texts.high, note)]
        assert (found[0] is None) == (found[1] is None)
        seen.append((found[0] is not None, found[2] is not None))
    assert sorted(set(seen), key=seen.index) == [(False, False), (True, False), (True, True)]


def test_a_note_without_a_bar_is_whole_or_left_out():
    """Of several phrases as many as fit; none is cut."""
    first, second = "grey: no change", "each filter has its own scale"
    for width in range(10, 500, 5):
        drawn = draw_scale_bar(None, width, 12, note=f"{first} · {second}")
        assert drawn.shape == (bar_height(12), width)
        expected = [text for text in (f"{first} · {second}", first) if find(drawn, text, 12) == 0]
        needed = font(12).getlength(expected[0] if expected else "")
        assert needed <= width
        assert (drawn == BACKGROUND).all() == (not expected)


WORDS = st.text("abcdefgh 0123456789.+-", max_size=30)


@given(
    st.builds(BarTexts, WORDS, st.sampled_from(["", "0"]), WORDS),
    st.integers(1, 900),
    st.sampled_from([9, 12, 17]),
    st.sampled_from(SPANS),
    WORDS,
)
def test_any_width_has_a_bar_of_its_own_entries(texts, width, size, levels, note):
    """Background, text and the entries of the colormap; nothing else."""
    bar = draw_scale_bar(texts, width, size, levels, note)
    assert bar.shape == (bar_height(size), width)
    text = {ramp_entry(TEXT, shade) for shade in range(1, SHADES + 1)}
    assert set(np.unique(bar).tolist()) <= {*levels, BACKGROUND, *text}


@given(st.integers(1, 60))
def test_the_height_is_even(size):
    """As video requires."""
    assert bar_height(size) % 2 == 0
