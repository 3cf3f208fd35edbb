import io
import shutil
import subprocess

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image, ImageSequence

from filtertrack.render.encoders.gif import GifWriter
from filtertrack.render.frame_palettes import Repaint
from filtertrack.render.palette import LEVELS, SEPARATOR, TRANSPARENT, theme_palette

COLOURS = theme_palette()
FRAMES = st.integers(1, 6).flatmap(
    lambda count: arrays(np.uint8, (count, 5, 7), elements=st.integers(0, TRANSPARENT - 1))
)


def write(frames, seconds, **options):
    file = io.BytesIO()
    with GifWriter(file, frames[0].shape, COLOURS, **options) as gif:
        for frame, time in zip(frames, seconds, strict=True):
            gif.add(frame, time)
    return file


@given(FRAMES)
def test_pillow_reads_every_frame_back(frames):
    """Each frame decodes to the palette's colours of its entries, despite transparent changes."""
    with Image.open(write(frames, [0.1] * len(frames))) as gif:
        assert gif.n_frames == len(frames)
        for frame, image in zip(frames, ImageSequence.Iterator(gif), strict=True):
            np.testing.assert_array_equal(np.asarray(image.convert("RGB")), COLOURS[frame])


def test_ffmpeg_reads_every_frame_back(rng, tmp_path, decoded):
    """A decoder independent of Pillow reads the same pictures."""
    frames = rng.integers(0, TRANSPARENT, (5, 40, 60), np.uint8)
    frames[1:, :20] = frames[0, :20]
    frames[3] = frames[2]
    path = tmp_path / "a.gif"
    path.write_bytes(write(frames, [0.1] * 5).getvalue())
    np.testing.assert_array_equal(decoded(path), COLOURS[frames])


def repaints(rng, count=5):
    """Yield frames with a palette each, and the picture that is shown then.

    The left half changes; two frames have the same entries with different colours.
    """
    shown = np.zeros((40, 60, 3), np.uint8)
    pixels = rng.integers(0, LEVELS, (40, 60), np.uint8)
    pixels[:, 30:] = SEPARATOR
    for number in range(count):
        colours = theme_palette("dark", rng.integers(0, 256, (LEVELS, 3), np.uint8))
        pixels = pixels.copy()
        if number % 3:
            pixels[:, :30] = rng.integers(0, LEVELS, (40, 30))
            pixels[:, :30][rng.random((40, 30)) < 0.7] = TRANSPARENT
        pixels[0, 30 + number] = SEPARATOR + 1
        shown = np.where((pixels == TRANSPARENT)[..., np.newaxis], shown, colours[pixels])
        yield Repaint(pixels, colours, range(LEVELS)), shown


def test_frames_with_a_palette_each_are_read_back(rng, tmp_path, decoded):
    """By ffmpeg and by Pillow; a pixel that is not drawn again keeps its colour."""
    frames, shown = zip(*repaints(rng), strict=True)
    file = io.BytesIO()
    with GifWriter(file, (40, 60), COLOURS) as gif:
        for frame in frames:
            gif.add(frame, 0.1)
    path = tmp_path / "a.gif"
    path.write_bytes(file.getvalue())
    np.testing.assert_array_equal(decoded(path), shown)
    with Image.open(path) as image:
        for expected, each in zip(shown, ImageSequence.Iterator(image), strict=True):
            np.testing.assert_array_equal(np.asarray(each.convert("RGB")), expected)


def test_gifsicle_finds_no_fault(rng, tmp_path):
    """No warnings; size, loop, delays and disposal are as written."""
    if shutil.which("gifsicle") is None:
        pytest.skip("needs gifsicle")
    path = tmp_path / "a.gif"
    frames = rng.integers(0, TRANSPARENT, (3, 40, 60), np.uint8)
    path.write_bytes(write(frames, [0.5, 0.02, 2], loop=3).getvalue())
    result = subprocess.run(
        ["gifsicle", "--info", path],  # noqa: S607 - wherever it is installed
        check=True,
        capture_output=True,
        text=True,
    )
    assert result.stderr == ""
    lines = [line.strip() for line in result.stdout.splitlines()]
    assert lines[0].endswith("3 images")
    assert {"logical screen 60x40", "global color table [256]", "loop count 2"} <= set(lines)
    assert [line for line in lines if line.startswith("disposal")] == [
        f"disposal asis delay {delay}s" for delay in ("0.50", "0.02", "2.00")
    ]


@given(st.lists(st.floats(0.02, 3), min_size=1, max_size=30))
def test_total_duration_is_exact(seconds):
    """Rounding errors do not add up over frames, also if frames repeat."""
    frames = np.zeros((len(seconds), 2, 2), np.uint8)
    with Image.open(write(frames, seconds)) as gif:
        total = sum(image.info["duration"] for image in ImageSequence.Iterator(gif))
    assert total == pytest.approx(1000 * sum(seconds), abs=5.01)


@pytest.mark.parametrize(("loop", "again"), [(0, 0), (1, None), (2, 1), (3, 2), (65535, 65534)])
def test_loop_count_is_stored(loop, again):
    """A GIF stores the number of repetitions: 0 for ever, none for once."""
    frames = np.zeros((2, 3, 3), np.uint8)
    with Image.open(write(frames, [0.1, 0.1], loop=loop)) as gif:
        assert gif.info.get("loop") == again


def test_unchanged_frames_take_few_bytes(rng):
    """A frame equal to the one before takes a few bytes, whatever its size."""
    frame = rng.integers(0, LEVELS, (200, 200), np.uint8)
    once = len(write([frame], [1]).getvalue())
    assert len(write([frame] * 11, [1] * 11).getvalue()) - once < 10 * 40


def test_unchanged_pixels_are_transparent(rng):
    """If two opposite corners change, the noise between them is not stored again."""
    before = rng.integers(0, LEVELS, (200, 200), np.uint8)
    frame = before.copy()
    frame[0, 0], frame[-1, -1] = before[0, 0] ^ 1, before[-1, -1] ^ 1
    once, twice = (
        len(write(pair, [1] * len(pair)).getvalue()) for pair in ([before], [before] * 2)
    )
    change = len(write([before, frame], [1, 1]).getvalue()) - once
    assert twice - once < change < once / 20


@given(FRAMES)
def test_files_are_reproducible(frames):
    """Byte for byte, whatever the order in which the threads finish."""
    seconds = [0.1] * len(frames)
    assert write(frames, seconds).getvalue() == write(frames, seconds).getvalue()


def test_threads_keep_the_order_of_frames(rng):
    """Many frames of very different sizes, written several times."""
    frames = rng.integers(0, TRANSPARENT, (60, 80, 80), np.uint8)
    frames[::2, 10:] = frames[0, 10:]
    first, second = (write(frames, [0.1] * 60).getvalue() for _ in range(2))
    assert first == second
    with Image.open(io.BytesIO(first)) as gif:
        for frame, image in zip(frames, ImageSequence.Iterator(gif), strict=True):
            np.testing.assert_array_equal(np.asarray(image.convert("RGB")), COLOURS[frame])
