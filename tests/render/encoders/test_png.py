import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from filtertrack.render.encoders.png import compress, encode, to_png
from filtertrack.render.grid import to_image
from filtertrack.render.palette import SEPARATOR, grid_palette

SIDES = st.integers(1, 20)
COLOURS = np.random.default_rng(0).integers(0, 256, (256, 3), np.uint8)


def decode(data):
    with Image.open(io.BytesIO(data)) as image:
        image.load()
        return np.asarray(image.convert("RGB"))


@given(st.tuples(SIDES, SIDES).flatmap(lambda shape: arrays(np.uint8, shape)))
def test_palette_picture_is_exact(picture):
    """Each pixel has its entry's colour, in pictures of any size."""
    np.testing.assert_array_equal(decode(encode(picture, COLOURS)), COLOURS[picture])


@given(st.tuples(SIDES, SIDES, st.just(3)).flatmap(lambda shape: arrays(np.uint8, shape)))
def test_colour_picture_is_exact(picture):
    """Without a palette each pixel has its own colour."""
    np.testing.assert_array_equal(decode(encode(picture)), picture)


@pytest.mark.parametrize("repeat", [1, 5])
@pytest.mark.parametrize("channels", [(), (3,)], ids=["palette", "colour"])
def test_ffmpeg_reads_the_picture(rng, tmp_path, decoded, channels, repeat):
    """A decoder independent of Pillow, for repeated and other rows."""
    picture = rng.integers(0, 256, (12, 14, *channels), np.uint8).repeat(repeat, 0)
    path = tmp_path / "a.png"
    path.write_bytes(encode(picture, None if channels else COLOURS))
    (frame,) = decoded(path)
    np.testing.assert_array_equal(frame, picture if channels else COLOURS[picture])


@pytest.mark.parametrize("level", [1, 6, 9])
@pytest.mark.parametrize("channels", [(), (3,)], ids=["palette", "colour"])
def test_every_compression_level_is_exact(rng, level, channels):
    """The decompressed rows are the original ones."""
    picture = rng.integers(0, 9, (30, 40, *channels), np.uint8).repeat(2, 0)
    rows = np.frombuffer(zlib.decompress(compress(picture, level)), np.uint8).reshape(60, -1)
    assert set(rows[::2, 0]) == {0}
    np.testing.assert_array_equal(rows[::2, 1:], picture[::2].reshape(30, -1))
    assert (rows[1::2, 0] == 2).all()
    assert not rows[1::2, 1:].any()


def test_palette_must_match_the_picture():
    """Entries without a palette, or colours with one, are an error."""
    with pytest.raises(ValueError, match="entries with a palette"):
        encode(np.zeros((2, 2), np.uint8))
    with pytest.raises(ValueError, match="colours without one"):
        encode(np.zeros((2, 2, 3), np.uint8), COLOURS)


def test_chunks_have_checksums(rng):
    """Signature, header, palette, picture and end; nothing else."""
    data = encode(rng.integers(0, 256, (5, 6), np.uint8), COLOURS)
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    at, kinds = 8, []
    while at < len(data):
        (length,) = struct.unpack(">I", data[at : at + 4])
        body = data[at + 4 : at + 8 + length]
        assert struct.unpack(">I", data[at + 8 + length : at + 12 + length])[0] == zlib.crc32(body)
        kinds.append(body[:4])
        at += 12 + length
    assert kinds == [b"IHDR", b"PLTE", b"IDAT", b"IEND"]


@pytest.mark.parametrize("channels", [(), (3,)], ids=["palette", "colour"])
def test_grids_are_smaller_than_pillows_best(rng, channels):
    """Magnified cells with gaps; Pillow's best takes many times as long."""
    cells = rng.integers(0, 200, (40, 40, *channels), np.uint8)
    picture = cells.repeat(7, 0).repeat(7, 1)
    picture[::49] = picture[:, ::49] = 210
    buffer = io.BytesIO()
    to_image(picture).save(buffer, "PNG", optimize=True)
    assert len(to_png(picture)) < len(buffer.getvalue())


def test_palette_has_no_unused_entries(rng):
    """In a small picture they would be half of the file."""
    picture = rng.integers(0, SEPARATOR + 1, (4, 4), np.uint8)
    with Image.open(io.BytesIO(to_png(picture))) as image:
        assert image.mode == "P"
        assert len(image.getpalette()) == 3 * (SEPARATOR + 1)
        np.testing.assert_array_equal(np.asarray(image.convert("RGB")), grid_palette()[picture])
