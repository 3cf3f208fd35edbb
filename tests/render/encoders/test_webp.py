import io
import shutil
import struct
import subprocess

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image, ImageSequence

from filtertrack.render.encoders.webp import WebpWriter
from filtertrack.render.palette import LEVELS, theme_palette

COLOURS = theme_palette()
# Odd sides, and animations of a single frame, too.
FRAMES = st.integers(1, 5).flatmap(lambda count: arrays(np.uint8, (count, 5, 7)))
COLOUR_FRAMES = st.integers(1, 5).flatmap(lambda count: arrays(np.uint8, (count, 5, 7, 3)))


def write(frames, seconds, colours=COLOURS, **options):
    file = io.BytesIO()
    with WebpWriter(file, frames[0].shape[:2], colours, **options) as webp:
        for frame, time in zip(frames, seconds, strict=True):
            webp.add(frame, time)
    return file


def read(file):
    """Return each frame's colours and its duration in milliseconds, as Pillow reads them."""
    with Image.open(file) as image:
        shown = [
            (np.asarray(frame.convert("RGBA")), frame.info["duration"])
            for frame in ImageSequence.Iterator(image)
        ]
    pictures = np.stack([picture for picture, _ in shown])
    assert (pictures[..., 3] == 255).all(), "opaque"
    return pictures[..., :3], [duration for _, duration in shown]


@given(FRAMES)
def test_pillow_reads_every_frame_back(frames):
    """Each frame decodes to the palette's colours of its entries, with its duration."""
    pictures, durations = read(write(frames, 0.1 * np.arange(1, len(frames) + 1)))
    np.testing.assert_array_equal(pictures, COLOURS[frames])
    assert durations == [100 * (1 + number) for number in range(len(frames))]


@given(COLOUR_FRAMES)
def test_pillow_reads_every_true_colour_frame_back(frames):
    """Without a palette each frame decodes to its own colours."""
    pictures, _ = read(write(frames, [0.1] * len(frames), colours=None))
    np.testing.assert_array_equal(pictures, frames)


@pytest.mark.parametrize("coloured", [False, True], ids=["palette", "true colour"])
def test_large_frames_are_exact(rng, coloured):
    """Noise and flat cells, with changed rectangles."""
    cells = rng.integers(0, 256, (6, 12, 20, 3) if coloured else (6, 12, 20), np.uint8)
    frames = cells.repeat(8, 1).repeat(8, 2)
    frames[:, :40] = rng.integers(0, 256, frames[:, :40].shape, np.uint8)
    frames[1:, 10:30] = frames[0, 10:30]
    frames[3] = frames[2]
    pictures, _ = read(write(frames, [0.1] * 6, None if coloured else COLOURS))
    np.testing.assert_array_equal(pictures, frames if coloured else COLOURS[frames])


def test_changes_at_odd_positions_are_exact():
    """The format stores even positions only."""
    frames = np.zeros((36, 5, 7), np.uint8)
    for number in range(1, 36):
        frames[number] = frames[number - 1]
        frames[number].flat[number - 1] = 200
    pictures, _ = read(write(frames, [0.1] * 36))
    np.testing.assert_array_equal(pictures, COLOURS[frames])


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1), (3, 300)])
def test_single_frame_of_any_shape(rng, shape):
    """One frame is a valid animation, with its duration."""
    frames = rng.integers(0, 256, (1, *shape), np.uint8)
    pictures, durations = read(write(frames, [1.5]))
    np.testing.assert_array_equal(pictures, COLOURS[frames])
    assert durations == [1500]


@given(st.lists(st.floats(0.02, 3), min_size=1, max_size=30))
def test_total_duration_is_exact(seconds):
    """Rounding errors do not add up over frames, also if frames repeat."""
    _, durations = read(write(np.zeros((len(seconds), 2, 2), np.uint8), seconds))
    assert len(durations) == len(seconds)
    assert sum(durations) == pytest.approx(1000 * sum(seconds), abs=0.51)


@pytest.mark.parametrize("loop", [0, 1, 3, 65535])
def test_loop_count_is_stored(loop):
    """0 is for ever."""
    with Image.open(write(np.zeros((2, 3, 3), np.uint8), [0.1, 0.1], loop=loop)) as image:
        assert image.info["loop"] == loop


@given(FRAMES)
def test_container_is_valid(frames):
    """Its length is that of the file; it holds a canvas, a loop, and a chunk per frame."""
    data = write(frames, [0.1] * len(frames)).getvalue()
    assert data[:4] + data[8:12] == b"RIFFWEBP"
    assert struct.unpack("<I", data[4:8]) == (len(data) - 8,)
    at, kinds = 12, []
    while at < len(data):
        (length,) = struct.unpack("<I", data[at + 4 : at + 8])
        kinds.append(data[at : at + 4])
        at += 8 + length + length % 2
    assert at == len(data)
    assert kinds == [b"VP8X", b"ANIM", *[b"ANMF"] * len(frames)]


def test_webpmux_reads_the_file(rng, tmp_path):
    """The format's own tool reads the canvas, the loop, and each frame's position and duration."""
    if shutil.which("webpmux") is None:
        pytest.skip("needs webpmux")
    frames = np.zeros((3, 9, 11), np.uint8)
    frames[1:, 3, 5] = 100
    frames[2, 4:, 6:] = rng.integers(1, 200, (5, 5), np.uint8)
    path = tmp_path / "a.webp"
    path.write_bytes(write(frames, [0.5, 0.02, 2], loop=3).getvalue())
    result = subprocess.run(
        ["webpmux", "-info", path],  # noqa: S607 - wherever it is installed
        check=True,
        capture_output=True,
        text=True,
    )
    assert "Canvas size: 11 x 9" in result.stdout
    assert "Loop Count : 3" in result.stdout
    assert "Number of frames: 3" in result.stdout
    rows = [line.split() for line in result.stdout.splitlines()[-3:]]
    # Width, height, left, top, milliseconds, disposal, blending, compression.
    assert [[*row[1:3], *row[4:9], row[10]] for row in rows] == [
        ["11", "9", "0", "0", "500", "none", "yes", "lossless"],
        ["2", "2", "4", "2", "20", "none", "yes", "lossless"],
        ["5", "5", "6", "4", "2000", "none", "yes", "lossless"],
    ]


@pytest.mark.parametrize("coloured", [False, True], ids=["palette", "true colour"])
def test_unchanged_frames_take_few_bytes(rng, coloured):
    """A frame equal to the one before takes a few bytes, and so do two corners of a large one."""
    before = rng.integers(0, LEVELS, (100, 100, 3) if coloured else (100, 100), np.uint8)
    corners = before.copy()
    corners[0, 0], corners[-1, -1] = before[0, 0] ^ 1, before[-1, -1] ^ 1
    colours = None if coloured else COLOURS
    once = len(write([before], [1], colours).getvalue())
    assert len(write([before] * 11, [1] * 11, colours).getvalue()) - once < 10 * 80
    assert len(write([before, corners], [1, 1], colours).getvalue()) - once < 500


@given(FRAMES)
def test_files_are_reproducible(frames):
    """Byte for byte, whatever the order in which the threads finish."""
    seconds = [0.1] * len(frames)
    assert write(frames, seconds).getvalue() == write(frames, seconds).getvalue()
