import math
import time
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from filtertrack.render.palette import BACKGROUND, FIRST, SECOND, SHADES, TEXT, ramp_entry
from filtertrack.render.text import (
    PLAIN,
    QUIET,
    font,
    font_size,
    line,
    line_height,
    paste,
    shortened,
)

WORDS = st.text(st.characters(codec="latin-1", exclude_categories=["C"]), max_size=30)


@given(st.integers(1, 5000))
def test_font_size_is_legible(width):
    """Neither tiny nor huge, and not smaller in a wider picture."""
    assert 11 <= font_size(width) <= 20
    assert font_size(width) <= font_size(width + 1)


@given(WORDS.filter(bool), st.integers(11, 20), st.booleans())
def test_line_is_as_wide_as_its_text(text, size, bold):
    """One line high, with entries of its ramp and the background only."""
    face = font(size, bold=bold)
    entries = line(text, face)
    assert entries.shape == (line_height(size), max(1, np.ceil(face.getlength(text))))
    assert entries.dtype == np.uint8
    assert entries.min() >= BACKGROUND
    assert entries.max() <= ramp_entry(TEXT, SHADES)


@pytest.mark.parametrize("size", [11, 15, 20])
@pytest.mark.parametrize("bold", [False, True])
def test_letters_are_not_cut_off(size, bold):
    """Neither accents nor descenders; of the last letter at most its faint edge."""
    face = font(size, bold=bold)
    text = "ÄÅgjpqyÇ|–·…f"
    left, top, right, bottom = face.getbbox(text)
    height, width = line(text, face).shape
    assert min(left, top) >= 0
    assert bottom <= height
    assert right <= width + 1


def test_edges_are_antialiased():
    """All shades of the ramp occur."""
    entries = line("Sooth 0.123", font(14))
    assert set(np.unique(entries)) == {
        BACKGROUND,
        *(ramp_entry(TEXT, n + 1) for n in range(SHADES)),
    }


def test_ramps_differ_only_in_colour():
    """The same letters in another ramp have the same shades."""
    plain = line("loss", font(14)).astype(int)
    for ramp in (FIRST, SECOND):
        other = line("loss", font(14), ramp).astype(int)
        shift = np.where(plain == BACKGROUND, 0, ramp * SHADES)
        np.testing.assert_array_equal(other, plain + shift)


def test_quiet_text_is_nearer_to_the_background():
    """No pixel is brighter than in plain text, and none has the full colour."""
    plain, quiet = (line("loss", font(14), TEXT, strength) for strength in (PLAIN, QUIET))
    assert (quiet <= plain).all()
    assert BACKGROUND < quiet.max() < plain.max() == ramp_entry(TEXT, SHADES)


def test_a_changed_line_does_not_change_later_ones():
    """Pieces of a text come from a cache, but the array that is returned does not."""
    before = line("loss 0.123", font(14)).copy()
    line("loss 0.123", font(14))[:] = 0
    np.testing.assert_array_equal(line("loss 0.123", font(14)), before)


@given(
    WORDS | st.text(" .0123456789.-+e –:·aAjTvVfL1\u0488", max_size=20),
    st.integers(11, 20),
    st.booleans(),
    st.sampled_from([PLAIN, QUIET]),
)
def test_line_is_drawn_as_by_pillow(text, size, bold, strength):
    """Pixel for pixel, numbers included."""
    face = font(size, bold=bold)
    entries = line(text, face, TEXT, strength)
    whole = Image.new("L", entries.shape[::-1])
    ImageDraw.Draw(whole).text((0, 0), text, 255, face)
    shades = np.rint(np.asarray(whole) * (strength * SHADES / 255)).astype(int)
    np.testing.assert_array_equal(entries, BACKGROUND + shades)


@pytest.mark.parametrize("bold", [False, True])
def test_numbers_are_drawn_as_by_pillow_beside_any_character(bold):
    """Where a text is cut into pieces no pixel and no kerning is lost."""
    for size in range(font_size(0), font_size(5000) + 1):
        face = font(size, bold=bold)
        for first, second in product(" .0123456789", repeat=2):
            for text in (f"A{first}{second}T", f"j{second}{first}j", f"r{first}{second}y"):
                entries = line(text, face)
                whole = Image.new("L", (math.ceil(face.getlength(text)), line_height(size)))
                ImageDraw.Draw(whole).text((0, 0), text, 255, face)
                shades = np.rint(np.asarray(whole) * (SHADES / 255)).astype(int)
                np.testing.assert_array_equal(entries, BACKGROUND + shades)


def test_empty_text_is_one_pixel_wide():
    """One column of background."""
    entries = line("", font(14))
    assert entries.shape == (line_height(14), 1)
    assert (entries == BACKGROUND).all()


@given(WORDS, st.floats(-5, 300), st.integers(11, 20))
def test_text_is_shortened_to_a_width(text, width, size):
    """Unchanged if it fits; else an ellipsis and as much of its end as fits."""
    face = font(size)
    short = shortened(text, face, width)
    if face.getlength(text) <= width:
        assert short == text
    elif short:
        assert short[0] == "…"
        assert text.endswith(short[1:])
        assert face.getlength(short) <= width
        longer = text[-len(short) :]
        assert face.getlength(f"…{longer}") > width
    else:
        assert width < face.getlength(f"…{text[-1:]}")


@pytest.mark.parametrize("length", [10_000, 1_000_000])
def test_shortening_a_very_long_text_is_fast(length):
    """It is not measured as a whole, nor from every character on."""
    face, began = font(14), time.process_time()
    text = "x" * (length - 9) + "_accuracy"
    assert shortened(text, face, 200) == shortened(text[-200:], face, 200)
    assert time.process_time() - began < 1


@given(st.integers(0, 12), st.integers(0, 12), st.integers(0, 6), st.integers(0, 6))
def test_paste_crops_at_the_edges(top, left, height, width):
    """Compared with a larger picture, cropped afterwards; with and without colours."""
    for channels in ((), (3,)):
        part = np.random.default_rng(0).integers(1, 9, (height, width, *channels), np.uint8)
        large = np.zeros((30, 30, *channels), np.uint8)
        large[top : top + height, left : left + width] = part
        picture = np.zeros((8, 10, *channels), np.uint8)
        paste(picture, (top, left), part)
        np.testing.assert_array_equal(picture, large[:8, :10])


def test_fonts_of_a_patched_matplotlib_are_found(tmp_path, monkeypatch):
    """By asking matplotlib, if its data folder has been moved."""
    from importlib.machinery import ModuleSpec

    from filtertrack.render import text as lettering

    there = lettering._fonts()
    assert (there / "DejaVuSans.ttf").exists()
    for spec in (None, ModuleSpec("matplotlib", None, origin=str(tmp_path / "__init__.py"))):
        monkeypatch.setattr(lettering, "find_spec", lambda name, spec=spec: spec)
        lettering._fonts.cache_clear()
        assert lettering._fonts() == there
    lettering._fonts.cache_clear()
