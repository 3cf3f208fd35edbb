import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageSequence

from filtertrack import FiltertrackError
from filtertrack.render.encoders.formats import ANIMATION_FORMATS, format_of
from filtertrack.render.palette import theme_palette

MAGIC = {
    ".gif": (0, b"GIF89a"),
    ".png": (0, b"\x89PNG"),
    ".apng": (0, b"\x89PNG"),
    ".webp": (8, b"WEBP"),
    ".mp4": (4, b"ftyp"),
    ".webm": (0, b"\x1a\x45\xdf\xa3"),
}
PICTURES = [ending for ending, chosen in ANIMATION_FORMATS.items() if not chosen.video]
VIDEOS = [ending for ending, chosen in ANIMATION_FORMATS.items() if chosen.video]


def write(path, frames, loop=None):
    """Write a file as ``animate`` does: with a palette if the format needs one."""
    chosen = format_of(path)
    colours = theme_palette() if frames.ndim == 3 else None
    seconds = [0.1] * len(frames)
    start = chosen.opener(loop)
    with path.open("w+b") as file, start(file, frames.shape[1:3], colours, seconds) as writer:
        for frame in frames:
            writer.add(frame, 0.1)
    return path


@pytest.fixture
def frames_of(decoded):
    """Decode a file of any format; Pillow reads WebP, as ffmpeg does not support animated WebP."""

    def read(path):
        if path.suffix != ".webp":
            return decoded(path)
        with Image.open(path) as image:
            shown = ImageSequence.Iterator(image)
            return np.stack([np.asarray(frame.convert("RGB")) for frame in shown])

    return read


def test_all_extensions_are_tested():
    """The list of extensions in this file is complete."""
    assert list(ANIMATION_FORMATS) == list(MAGIC)


@pytest.mark.parametrize("ending", ANIMATION_FORMATS)
def test_extension_selects_format(tmp_path, ending):
    """In lower or upper case; the file begins with the format's signature."""
    for name in (f"a{ending}", f"b.gif{ending}", f"C{ending.upper()}"):
        assert format_of(Path("folder.mp4") / name) is ANIMATION_FORMATS[ending]
    at, magic = MAGIC[ending]
    data = write(tmp_path / f"a{ending.upper()}", np.zeros((2, 16, 16), np.uint8)).read_bytes()
    assert data[at : at + len(magic)] == magic


def test_only_gif_needs_palette():
    """All other formats store true colour."""
    assert [ending for ending, chosen in ANIMATION_FORMATS.items() if chosen.palette] == [".gif"]


@pytest.mark.parametrize(
    "ending", [e for e in ANIMATION_FORMATS if not ANIMATION_FORMATS[e].palette]
)
def test_other_formats_store_true_colour(tmp_path, rng, frames_of, ending):
    """More than 256 colours are read back: exactly, or approximately from a video."""
    cells = rng.integers(0, 256, (1, 20, 20, 3), np.uint8)
    path = write(tmp_path / f"a{ending}", cells.repeat(16, 1).repeat(16, 2))
    middles = frames_of(path)[:, 8::16, 8::16].astype(int)
    assert np.abs(middles - cells).max() <= (8 if ANIMATION_FORMATS[ending].video else 0)


@pytest.mark.parametrize("ending", PICTURES)
def test_default_loop_is_for_ever(tmp_path, ending):
    """None and 0 are stored as "for ever", other numbers as they are."""
    frames = np.zeros((2, 8, 8), np.uint8)
    found = []
    for loop in (None, 0, 2):
        with Image.open(write(tmp_path / f"a{ending}", frames, loop)) as image:
            found.append(image.info["loop"])
    assert found == [0, 0, 1 if ending == ".gif" else 2]  # a GIF stores the number of repetitions


@pytest.mark.parametrize("ending", PICTURES)
@pytest.mark.parametrize("loop", [-1, 1 << 16])
def test_loop_out_of_range_is_rejected(ending, loop):
    """The error names the option and its range; both ends of the range are valid."""
    with pytest.raises(FiltertrackError, match=rf"loop: expected 0 .* to 65535, got {loop}"):
        ANIMATION_FORMATS[ending].opener(loop)
    most = ANIMATION_FORMATS[ending].opener((1 << 16) - 1)
    with most(io.BytesIO(), (2, 2), theme_palette(), [0.1]) as writer:
        writer.add(np.zeros((2, 2), np.uint8), 0.1)


@pytest.mark.parametrize("ending", VIDEOS)
@pytest.mark.parametrize("loop", [0, 1, 3])
def test_loop_of_a_video_is_rejected(ending, loop):
    """Also 0; the error says that the player decides, and what to do."""
    with pytest.raises(FiltertrackError, match=r"loop: .* is up to its player; leave it out"):
        ANIMATION_FORMATS[ending].opener(loop)


@pytest.mark.parametrize("ending", ANIMATION_FORMATS)
def test_too_large_frames_are_rejected(ending):
    """The longest side is valid, one pixel more is not; the error names both sizes."""
    longest = ANIMATION_FORMATS[ending].longest
    ANIMATION_FORMATS[ending].check_shape((longest, 2))
    ANIMATION_FORMATS[ending].check_shape((2, longest))
    for shape in ((2, longest + 1), (longest + 1, 2)):
        with pytest.raises(FiltertrackError, match=f"^size: .* at most {longest} a side") as caught:
            ANIMATION_FORMATS[ending].check_shape(shape)
        assert f"{shape[1]}x{shape[0]} pixels" in str(caught.value)


@pytest.mark.parametrize("upright", [False, True], ids=["wide", "high"])
@pytest.mark.parametrize(
    "ending", [e for e in ANIMATION_FORMATS if ANIMATION_FORMATS[e].longest < 1 << 20]
)
def test_largest_frames_can_be_written(tmp_path, frames_of, ending, upright):
    """Frames that pass the check give a readable file."""
    shape = (ANIMATION_FORMATS[ending].longest, 16)[:: 1 if upright else -1]
    frames = np.full((2, *shape), 60, np.uint8)
    frames[1, -8:, -8:] = 180
    path = write(tmp_path / f"a{ending}", frames)
    last = frames_of(path)[1]
    assert last.shape == (*shape, 3)
    expected = theme_palette()[frames[1]]
    for at in ((0, 0), (-2, -2)):
        assert np.abs(last[at].astype(int) - expected[at]).max() <= 8
