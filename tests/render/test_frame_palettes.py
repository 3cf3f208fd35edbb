import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from filtertrack.render.frame_palettes import FramePalettes, Repaint
from filtertrack.render.palette import (
    NOT_FINITE,
    NOT_FINITE_RGB,
    TRANSPARENT,
    chosen_levels,
    theme_palette,
    to_entries,
)

MOST = 40
FAR = 8.0
"""Levels of the distance up to which a colour need not be drawn again."""


def played(frames, first=0, importance=None):
    """Return the shown colours of each frame, and the entries."""
    palettes = FramePalettes(MOST, first)
    shown, pictures, every = np.zeros_like(frames[0]), [], []
    for frame in frames:
        entries, levels = palettes.repaint(frame, importance)
        colours = theme_palette()
        colours[first : first + len(levels)] = levels
        redrawn = entries != TRANSPARENT
        shown[redrawn] = colours[entries[redrawn]]
        pictures.append(shown.copy())
        every.append(entries)
    return np.array(pictures), np.array(every)


def drifting(rng, weights=400, frames=30, pace=3.0):
    """Return colours that move a little each frame, all finite; a tenth of them is at rest."""
    moves = rng.normal(scale=pace, size=(frames, weights, 3))
    moves[:, ::10] = 0
    moves[0] = rng.integers(0, 255, (weights, 3))
    return np.clip(np.rint(moves.cumsum(axis=0)), 0, 254).astype(np.uint8)


def error(shown, exact):
    return np.square(shown.astype(float) - exact).sum(axis=-1)


@given(st.integers(0, 30), st.sampled_from([20, MOST, MOST + 1, 400]), st.floats(0, 60))
def test_a_weight_that_does_not_change_keeps_its_colour(seed, weights, pace):
    """In every frame, whatever the others do; and no change makes a colour worse than it was."""
    frames = drifting(np.random.default_rng(seed), weights, 8, pace)
    shown, entries = played(frames)
    still = (frames[1:] == frames[:-1]).all(axis=-1)
    np.testing.assert_array_equal(shown[1:][still], shown[:-1][still])
    assert (entries[1:][still] == TRANSPARENT).all()
    assert (error(shown[1:], frames[1:]) <= error(shown[:-1], frames[1:])).all()


def test_as_few_changes_as_there_are_entries_are_exact(rng):
    """Each noticeable one has its own entry, in a picture of many more colours."""
    frames = np.repeat(drifting(rng, 400, 1), 5, axis=0)
    for number in range(1, 5):
        moved = slice(number * MOST, (number + 1) * MOST)
        frames[number:, moved] = rng.integers(0, 256, (MOST, 3))
    shown, entries = played(frames)
    for number in range(1, 5):
        moved = slice(number * MOST, (number + 1) * MOST)
        assert (error(shown[number, moved], frames[number, moved]) <= FAR**2).all()
        redrawn = entries[number] != TRANSPARENT
        np.testing.assert_array_equal(shown[number][redrawn], frames[number][redrawn])


def test_drifting_colours_are_nearer_than_those_of_one_palette(rng):
    """By 6 dB, and the last frames are within what is noticeable."""
    frames = drifting(rng)
    shown, _ = played(frames)
    colours = theme_palette("dark", chosen_levels(frames.reshape(-1, 3), MOST))
    colours[MOST:] = colours[0]
    whole = colours[to_entries(frames, colours)]
    assert error(shown, frames).mean() < error(whole, frames).mean() / 4
    moving = np.arange(400) % 10 > 0
    assert error(shown[-1], frames[-1])[moving].mean() < FAR**2


@pytest.mark.parametrize("coloured", [0, 5, MOST])
@pytest.mark.parametrize("spread", [20, 60])
def test_a_first_frame_of_few_colours_is_no_worse_a_start(rng, spread, coloured):
    """A layer of zeros, or the change since the first snapshot, is blank at first.

    The next frame is nearly as good as with a palette chosen from that frame alone, and is held.
    """
    blank = np.full((3000, 3), 128, np.uint8)
    blank[:coloured] = rng.integers(0, 255, (coloured, 3))
    normal = np.clip(np.rint(rng.normal(128, spread, (3000, 3))), 0, 254).astype(np.uint8)
    shown, _ = played(np.array([blank, normal, normal]))
    colours = theme_palette("dark", chosen_levels(normal, MOST))
    colours[MOST:] = colours[0]
    alone = error(colours[to_entries(normal, colours)], normal).mean()
    assert error(shown[1:], normal).mean() < 1.2 * alone


def test_a_large_frame_takes_little_memory(rng):
    """Where each pixel is a weight, as in a smoothed animation: the k-means is of a sample."""
    frames = rng.integers(0, 255, (2, 400_000, 3)).astype(np.uint8)
    palettes = FramePalettes(MOST)
    palettes.repaint(frames[0])
    tracemalloc.start()
    try:
        palettes.repaint(frames[1])
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 45 * len(frames[1])


def test_a_small_grid_counts_in_the_sample_of_a_large_frame(rng):
    """As much as the many pixels beside it, that are of quite other colours."""
    few = 300
    frames = rng.integers(0, 100, (2, 60_000, 3)).astype(np.uint8)
    frames[:, :few] += 150
    importance = np.where(np.arange(60_000) < few, 1 / few, 1 / (60_000 - few))
    shown, _ = played(frames, importance=importance)
    errors = error(shown[1], frames[1])
    assert errors[:few].mean() < 1.5 * errors[few:].mean()


@pytest.mark.parametrize("first", [0, 100])
def test_weights_not_finite_are_magenta(rng, first):
    """At once, also after a nearly equal colour, and not any longer than they are not finite."""
    frames = drifting(rng, 400, 4)
    frames[:, 0] = [(254, 0, 170), NOT_FINITE_RGB, NOT_FINITE_RGB, (254, 0, 170)]
    frames[:, 1] = NOT_FINITE_RGB
    shown, entries = played(frames, first)
    assert entries[:, 0].tolist()[1:3] == [NOT_FINITE, TRANSPARENT]
    assert entries[:, 1].tolist() == [NOT_FINITE] + [TRANSPARENT] * 3
    assert tuple(shown[2, 0]) == NOT_FINITE_RGB
    assert entries[3, 0] not in {NOT_FINITE, TRANSPARENT}
    others = entries[entries < NOT_FINITE]
    assert others.min() >= first
    assert others.max() < first + MOST


@pytest.mark.parametrize("weights", [0, 1])
def test_few_weights(weights):
    """A layer without filters has no colours; a single weight its own."""
    frames = np.full((2, weights, 3), 7, np.uint8)
    shown, _ = played(frames)
    np.testing.assert_array_equal(shown, frames)


def test_importance_decides_whose_colours_are_nearer(rng):
    """Weights of a small grid count as much as the pixels of a large picture beside it."""
    frames = drifting(rng, 4000, 3, 30)
    importance = np.where(np.arange(4000) < 400, 1 / 400, 1 / 3600)
    few = slice(400)
    alike, important = (
        error(played(frames, importance=each)[0], frames)[:, few].mean()
        for each in (None, importance)
    )
    assert important < alike


def test_the_same_frames_have_the_same_palettes(rng):
    """So that the same run gives the same file."""
    frames = drifting(rng)
    for one, other in zip(played(frames), played(frames), strict=True):
        np.testing.assert_array_equal(one, other)


def test_only_entries_that_keep_their_meaning_last():
    """Those with a new colour in each frame are replaced by ``TRANSPARENT``."""
    pixels = np.array([[0, 9, 10], [19, 20, 255]], np.uint8)
    lasting = Repaint(pixels, theme_palette(), range(10, 20)).lasting(np.empty_like(pixels))
    assert lasting.tolist() == [[0, 9, 255], [255, 20, 255]]
