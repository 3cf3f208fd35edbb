import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from filtertrack.render.encoders.tick_clock import constant_rate
from filtertrack.render.encoders.video import VideoWriter
from filtertrack.render.palette import theme_palette
from filtertrack.storage.local_files import write_whole

CONTAINERS = pytest.mark.parametrize("container", ["mp4", "webm"])
COLOURS = theme_palette()
SECONDS = [0.5, 0.02, 0.033, 0.1, 0.25, 2]
REPEATS = [30, 1, 2, 6, 15, 120]
"""Frames of each picture at 60 a second."""


def write(path, frames, seconds, colours=None):
    """Write a video as ``animate`` does, by an atomic write."""

    def fill(file):
        rate = constant_rate(seconds)
        with VideoWriter(file, frames[0].shape[:2], colours, rate, path.suffix[1:]) as video:
            for frame, time in zip(frames, seconds, strict=True):
                video.add(frame, time)

    write_whole(path, fill)
    return path


def magnified(rng, side, shape=(6, 128, 192)):
    """Return frames of squares in random colours, of so many pixels along each side."""
    count, height, width = shape
    cells = rng.integers(0, 256, (count, height // side, width // side, 3), np.uint8)
    return cells.repeat(side, 1).repeat(side, 2)


def shown_by_ffmpeg(path):
    """Return the report of ffmpeg on a file and each frame in it, as text."""
    import imageio_ffmpeg

    each = ["-fps_mode", "passthrough", "-vf", "showinfo", "-f", "null", "-"]
    ffmpeg = [imageio_ffmpeg.get_ffmpeg_exe(), "-hide_banner", "-i", path, *each]
    return subprocess.run(ffmpeg, check=True, capture_output=True, text=True).stderr


def in_python(code):
    return subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    ).stdout


def numbered(count):
    """Return frames of one colour each, and neighbours whose colours differ by 20 or more."""
    return (20 * (np.arange(count) % 12)).astype(np.uint8).repeat(32 * 32).reshape(-1, 32, 32)


def pictures_in(path):
    """Return the number of frames, and the start of each picture of ``numbered``, in seconds."""
    import av

    with av.open(path) as container:
        frames = [(f.time, f.to_ndarray(format="rgb24")[16, 16, 0]) for f in container.decode()]
    levels = [COLOURS[20 * number, 0] for number in range(12)]
    shown = [int(np.argmin(np.abs(np.subtract(levels, float(level))))) for _, level in frames]
    times = [time for time, _ in frames]
    return len(frames), [time for n, time in enumerate(times) if n == 0 or shown[n] != shown[n - 1]]


def probed(path):
    """Return rates, start and duration of a file as ffmpeg's library reads them."""
    import av

    with av.open(path) as container:
        stream = container.streams.video[0]
        start = stream.start_time * stream.time_base
        rates = float(stream.base_rate), float(stream.average_rate)
        return *rates, float(start), container.duration / av.time_base


@CONTAINERS
@pytest.mark.parametrize(
    ("seconds", "rate"),
    [
        ([1.1, *[0.1] * 13, 2.1], 10),
        ([1 + 1 / 24, *[1 / 24] * 30, 2 + 1 / 24], 24),
        ([2.0, 5.0, 4.0], 10),
        ([0.5, 0.04, 0.1234567, 0.05, 0.777], 30),
        ([0.5, 0.02, 0.0337, 0.1, 0.25, 2], 60),
    ],
)
def test_frame_rate_is_constant(tmp_path, container, seconds, rate):
    """Every picture is there at its time, and the whole has its duration to half a frame."""
    path = write(tmp_path / f"a.{container}", numbered(len(seconds)), seconds, COLOURS)
    base, average, start, total = probed(path)
    assert base == average == pytest.approx(rate)
    assert start == 0
    assert total == pytest.approx(sum(seconds), abs=0.5 / rate + 0.001)
    count, starts = pictures_in(path)
    assert count == round(total * rate)
    assert starts == pytest.approx(np.cumsum([0, *seconds[:-1]]), abs=0.5 / rate + 0.001)


@pytest.mark.skipif(shutil.which("ffprobe") is None, reason="needs ffprobe")
@CONTAINERS
def test_ffprobe_reports_a_constant_frame_rate(tmp_path, container):
    """The same rate from the header and from the average; a WebM's rounds times to thousandths."""
    path = write(tmp_path / f"a.{container}", numbered(6), SECONDS, COLOURS)
    entries = ["-show_entries", "stream=r_frame_rate,avg_frame_rate", "-of", "csv=p=0"]
    command = ["ffprobe", "-v", "error", *entries, path]
    shown = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    first, second = shown.rstrip(",").split(",")
    assert first == second == "60/1"


@CONTAINERS
@pytest.mark.parametrize("target", ["mp4", "webm", "mov"])
def test_ffmpeg_converts_without_loss_of_pictures(tmp_path, container, target):
    """With its default options, the copy has as many frames, all pictures, and the duration."""
    import imageio_ffmpeg

    seconds = [1.1, 0.02, 0.0334, 0.1, *[0.05] * 20, 0.7, 2.1]
    path = write(tmp_path / f"a.{container}", numbered(len(seconds)), seconds, COLOURS)
    copy = tmp_path / f"b.{target}"
    ffmpeg = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", path, copy]
    subprocess.run(ffmpeg, check=True)
    count, starts = pictures_in(path)
    copied, copied_starts = pictures_in(copy)
    assert copied == count
    assert copied_starts == pytest.approx(starts, abs=0.002)
    assert len(starts) == len(seconds)
    assert probed(copy)[3] == pytest.approx(sum(seconds), abs=1 / 60 + 0.002)


@CONTAINERS
@settings(max_examples=settings().max_examples // 5)  # each encodes a video
@given(st.lists(st.floats(0.02, 0.2) | st.floats(0.02, 5), min_size=1, max_size=12))
@example([0.1, 0.1, 0.1, 3, 0.1, 0.1])
@example([0.02, 60])
def test_total_duration_is_exact(tmp_path_factory, container, seconds):
    """Rounding errors do not add up, for any number of frames and any durations."""
    path = tmp_path_factory.getbasetemp() / f"durations.{container}"
    write(path, numbered(len(seconds)), seconds, COLOURS)
    _, starts = pictures_in(path)
    half = 0.5 / constant_rate(seconds) + 0.001
    assert starts == pytest.approx(np.cumsum([0, *seconds[:-1]]), abs=half)
    assert probed(path)[3] == pytest.approx(sum(seconds), abs=half)


@CONTAINERS
def test_repeated_frames_are_kept(tmp_path, container):
    """A run in which nothing changes has the same duration as any other."""
    frames = np.full((100, 32, 32), 120, np.uint8)
    path = write(tmp_path / f"a.{container}", frames, [0.04] * 100, COLOURS)
    assert pictures_in(path)[0] == 100
    assert probed(path)[3] == pytest.approx(4)


@CONTAINERS
@pytest.mark.parametrize("side", [8, 16])
def test_magnified_colours_are_nearly_exact(rng, tmp_path, decoded, container, side):
    """Squares that begin and end at even pixels have a PSNR above 34 dB."""
    frames = magnified(rng, side)
    shown = decoded(write(tmp_path / f"a.{container}", frames, SECONDS))
    expected = frames.repeat(REPEATS, axis=0)
    assert shown.shape == expected.shape
    error = np.square(shown.astype(float) - expected).mean(axis=(1, 2, 3))
    assert (10 * np.log10(255**2 / error)).min() > 34


@CONTAINERS
def test_squares_are_nearly_exact_up_to_their_edges(rng, tmp_path, decoded, container):
    """No pixel of a 16x16 square is off by more than 8 of 255, also next to another square."""
    frames = magnified(rng, 16)
    shown = decoded(write(tmp_path / f"a.{container}", frames, SECONDS))
    assert np.abs(shown.astype(int) - frames.repeat(REPEATS, axis=0)).max() <= 8


@CONTAINERS
def test_palette_colours_are_nearly_exact(rng, tmp_path, decoded, container):
    """All greys and the fixed colours, within a few levels."""
    frames = np.arange(256, dtype=np.uint8)[rng.permutation(256)].reshape(1, 16, 16)
    frames = frames.repeat(16, 1).repeat(16, 2)
    shown = decoded(write(tmp_path / f"a.{container}", frames, [1], COLOURS))
    assert np.abs(shown.astype(int) - COLOURS[frames]).max() <= 8


@CONTAINERS
def test_colour_space_is_stored(rng, tmp_path, container):
    """BT.709, limited range, so that players need not guess."""
    import av

    path = write(tmp_path / f"a.{container}", magnified(rng, 16), SECONDS)
    report = shown_by_ffmpeg(path)
    assert re.search(r"Video: .*yuv420p\(tv, bt709", report)
    tags = "color_range:tv color_space:bt709 color_primaries:bt709 color_trc:bt709"
    assert report.count(tags) == pictures_in(path)[0]
    with av.open(path) as video:
        context = video.streams.video[0].codec_context
        coded = [context.colorspace, context.color_primaries, context.color_trc]
        assert [*map(int, coded), int(context.color_range)] == [1, 1, 1, 1]


@CONTAINERS
def test_files_are_reproducible(rng, tmp_path, container):
    """They hold no date and no random number."""
    frames = magnified(rng, 16)
    one, two = (write(tmp_path / f"{n}.{container}", frames, SECONDS).read_bytes() for n in "ab")
    assert one == two


@CONTAINERS
@pytest.mark.parametrize("count", [0, 3, 80])
def test_exception_in_the_block_is_raised(rng, tmp_path, container, count):
    """Before or after the first frame; no file is left."""
    path = tmp_path / f"a.{container}"

    def fill(file):
        with VideoWriter(file, (32, 32), None, 10, container) as video:
            for frame in magnified(rng, 16, (count, 32, 32)):
                video.add(frame, 0.1)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_whole(path, fill)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "code",
    [
        "from filtertrack.render.encoders import video; video.VideoWriter(None, (2, 2), None, 10)",
        (
            "from filtertrack.render.encoders.formats import ANIMATION_FORMATS; "
            "ANIMATION_FORMATS['.webm'].opener(None)"
        ),
    ],
    ids=["writer", "format"],
)
def test_missing_pyav_error_names_the_extra(code):
    """In one sentence."""
    start = "import sys; sys.modules['av'] = None; from filtertrack import FiltertrackError\n"
    shown = in_python(
        f"{start}try:\n    {code}\nexcept FiltertrackError as error:\n    print(error)"
    )
    assert "pip install 'filtertrack[video]'" in shown


def test_pyav_is_imported_only_for_videos():
    """A GIF does not need it."""
    code = (
        "import sys; from filtertrack.render.encoders.formats import ANIMATION_FORMATS; "
        "ANIMATION_FORMATS['.gif'].opener(None); print('av' in sys.modules)"
    )
    assert in_python(code) == "False\n"
