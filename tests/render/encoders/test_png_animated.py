import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image, ImageSequence

from filtertrack.render.encoders.png import AnimatedPngWriter
from filtertrack.render.palette import theme_palette

COLOURS = theme_palette()
FRAMES = st.integers(1, 6).flatmap(lambda count: arrays(np.uint8, (count, 4, 6)))
COLOUR_FRAMES = st.integers(1, 6).flatmap(lambda count: arrays(np.uint8, (count, 4, 6, 3)))


def write(frames, seconds, colours=COLOURS, **options):
    file = io.BytesIO()
    with AnimatedPngWriter(file, frames[0].shape[:2], colours, **options) as png:
        for frame, time in zip(frames, seconds, strict=True):
            png.add(frame, time)
    return file


def chunks(data):
    """Return the kind and the content of each chunk of a PNG, after checking its checksum."""
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    at, found = 8, []
    while at < len(data):
        (length,) = struct.unpack(">I", data[at : at + 4])
        kind, content = data[at + 4 : at + 8], data[at + 8 : at + 8 + length]
        (checksum,) = struct.unpack(">I", data[at + 8 + length : at + 12 + length])
        assert checksum == zlib.crc32(kind + content)
        found.append((kind, content))
        at += 12 + length
    return found


def check_frames(file, expected):
    """Check the colours and durations of all frames, as Pillow reads them."""
    with Image.open(file) as image:
        assert image.n_frames == len(expected)
        for number, shown in enumerate(ImageSequence.Iterator(image)):
            np.testing.assert_array_equal(np.asarray(shown.convert("RGB")), expected[number])
            assert round(shown.info["duration"]) == 100 * (1 + number)


@given(FRAMES)
def test_pillow_reads_every_frame_back(frames):
    """Each frame decodes to the palette's colours of its entries, with its duration."""
    check_frames(write(frames, 0.1 * np.arange(1, len(frames) + 1)), COLOURS[frames])


@given(COLOUR_FRAMES)
def test_pillow_reads_every_true_colour_frame_back(frames):
    """Without a palette each frame decodes to its own colours."""
    check_frames(write(frames, 0.1 * np.arange(1, len(frames) + 1), colours=None), frames)


@pytest.mark.parametrize("ending", ["png", "apng"])
@pytest.mark.parametrize("coloured", [False, True], ids=["palette", "true colour"])
def test_ffmpeg_reads_every_frame_back(rng, tmp_path, decoded, coloured, ending):
    """A decoder independent of Pillow reads the same pictures, with either extension."""
    frames = rng.integers(0, 256, (5, 40, 60, 3) if coloured else (5, 40, 60), np.uint8)
    frames[1:, :20] = frames[0, :20]
    frames[:, 21:30] = frames[:, 20:21]
    frames[3] = frames[2]
    path = tmp_path / f"a.{ending}"
    path.write_bytes(write(frames, [0.1] * 5, None if coloured else COLOURS).getvalue())
    np.testing.assert_array_equal(decoded(path), frames if coloured else COLOURS[frames])


@given(st.lists(st.floats(0.02, 3), min_size=1, max_size=30))
def test_total_duration_is_exact(seconds):
    """Rounding errors do not add up over frames, also if frames repeat."""
    frames = np.zeros((len(seconds), 2, 2), np.uint8)
    with Image.open(write(frames, seconds)) as image:
        total = sum(shown.info["duration"] for shown in ImageSequence.Iterator(image))
    assert total == pytest.approx(1000 * sum(seconds), abs=5.01)


@pytest.mark.parametrize("loop", [0, 1, 3, 65535])
def test_loop_count_is_stored(loop):
    """0 is for ever."""
    with Image.open(write(np.zeros((2, 3, 3), np.uint8), [0.1, 0.1], loop=loop)) as image:
        assert image.info["loop"] == loop


def test_first_frame_is_the_still_picture():
    """A viewer without support for APNG shows the first frame."""
    frames = np.stack([np.full((3, 3), 7, np.uint8), np.full((3, 3), 9, np.uint8)])
    with Image.open(write(frames, [0.5, 0.5])) as image:
        assert image.default_image is False
        np.testing.assert_array_equal(np.asarray(image), frames[0])


@given(st.integers(1, 40))
def test_animation_control_comes_first(count):
    """It holds the number of frames; all chunks are valid and in sequence."""
    frames = np.arange(count, dtype=np.uint8)[:, np.newaxis, np.newaxis].repeat(3, 1).repeat(2, 2)
    found = chunks(write(frames, [0.1] * count, loop=5).getvalue())
    later = [b"fcTL", b"fdAT"] * (count - 1)
    assert [kind for kind, _ in found] == [
        *(b"IHDR", b"PLTE", b"acTL", b"fcTL", b"IDAT"),
        *later,
        b"IEND",
    ]
    assert dict(found)[b"acTL"] == struct.pack(">II", count, 5)
    numbers = [content[:4] for kind, content in found if kind in (b"fcTL", b"fdAT")]
    assert numbers == [struct.pack(">I", number) for number in range(2 * count - 1)]


@pytest.mark.parametrize("coloured", [False, True], ids=["palette", "true colour"])
def test_unchanged_frames_take_few_bytes(rng, coloured):
    """A frame equal to the one before takes a few bytes, whatever its size."""
    frame = rng.integers(0, 256, (100, 100, 3) if coloured else (100, 100), np.uint8)
    colours = None if coloured else COLOURS
    once = len(write([frame], [1], colours).getvalue())
    assert len(write([frame] * 11, [1] * 11, colours).getvalue()) - once < 10 * 80


def test_repeated_rows_take_few_bytes(rng):
    """Also rows longer than zlib's window."""
    row = rng.integers(0, 256, (1, 40_000), np.uint8)
    once, often = (len(write([row.repeat(n, 0)], [1]).getvalue()) for n in (1, 10))
    assert often < 1.05 * once


@given(FRAMES)
def test_files_are_reproducible(frames):
    """Byte for byte, whatever the order in which the threads finish."""
    seconds = [0.1] * len(frames)
    assert write(frames, seconds).getvalue() == write(frames, seconds).getvalue()
