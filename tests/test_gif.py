import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image, ImageSequence

from filtertrack.gif import GifWriter, changed_rectangle
from filtertrack.palette import TRANSPARENT, grey_palette

FRAMES = st.integers(1, 6).flatmap(
    lambda count: arrays(np.uint8, (count, 5, 7), elements=st.integers(0, TRANSPARENT - 1))
)


def write(frames, seconds):
    file = io.BytesIO()
    with GifWriter(file, frames[0].shape, grey_palette()) as gif:
        for frame, time in zip(frames, seconds, strict=True):
            gif.add(frame, time)
    return file


@given(FRAMES)
def test_pillow_reads_every_frame_back(frames):
    """Each frame decodes to the palette's colours of its pixels, through transparent deltas."""
    with Image.open(write(frames, [0.1] * len(frames))) as gif:
        assert gif.n_frames == len(frames)
        for frame, image in zip(frames, ImageSequence.Iterator(gif), strict=True):
            np.testing.assert_array_equal(np.asarray(image.convert("RGB")), grey_palette()[frame])


def test_ffmpeg_reads_every_frame_back(rng, tmp_path, decoded):
    """A decoder that shares nothing with Pillow sees the same pictures."""
    frames = rng.integers(0, TRANSPARENT, (5, 40, 60), np.uint8)
    frames[1:, :20] = frames[0, :20]
    path = tmp_path / "a.gif"
    path.write_bytes(write(frames, [0.1] * 5).getvalue())
    np.testing.assert_array_equal(decoded(path), grey_palette()[frames])


@given(st.lists(st.floats(0.02, 3), min_size=1, max_size=30))
def test_the_total_duration_is_as_asked(seconds):
    """Rounding to hundredths of a second does not add up over frames, also where frames repeat."""
    frames = np.zeros((len(seconds), 2, 2), np.uint8)
    with Image.open(write(frames, seconds)) as gif:
        total = sum(image.info["duration"] for image in ImageSequence.Iterator(gif))
        assert gif.info["loop"] == 0
    assert total == pytest.approx(1000 * sum(seconds), abs=5.01)


def test_what_did_not_change_costs_nothing(rng):
    """A frame like the one before takes a few bytes, whatever its size."""
    frame = rng.integers(0, 240, (200, 200), np.uint8)
    once = len(write([frame], [1]).getvalue())
    assert len(write([frame] * 11, [1] * 11).getvalue()) - once < 10 * 40


@given(arrays(np.uint8, (2, 4, 5), elements=st.integers(0, 3)))
def test_changed_rectangle_is_all_that_differs(pair):
    """Putting the rectangle into the first frame makes the second; it has no margin."""
    before, frame = pair
    top, left, part = changed_rectangle(before, frame)
    patched = before.copy()
    height, width = part.shape
    patched[top : top + height, left : left + width] = part
    np.testing.assert_array_equal(patched, frame)
    if (before != frame).any():
        differs = before[top : top + height, left : left + width] != part
        assert differs[0].any()
        assert differs[-1].any()
        assert differs[:, 0].any()
        assert differs[:, -1].any()
