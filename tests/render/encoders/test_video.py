import re
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from filtertrack.render.encoders.video import VideoWriter
from filtertrack.render.palette import theme_palette
from filtertrack.storage.local_files import write_whole

CONTAINERS = pytest.mark.parametrize("container", ["mp4", "webm"])
COLOURS = theme_palette()
SECONDS = [0.5, 0.02, 0.033, 0.1, 0.25, 2]


def write(path, frames, seconds, colours=None):
    """Write a video as ``animate`` does, by an atomic write."""

    def fill(file):
        with VideoWriter(file, frames[0].shape[:2], colours, path.suffix[1:]) as video:
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


def shown_by_pyav(path):
    """Return the time of each frame, and the total duration, in seconds."""
    import av

    with av.open(path) as container:
        return [
            frame.time for frame in container.decode(video=0)
        ], container.duration / av.time_base


def in_python(code):
    return subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    ).stdout


@CONTAINERS
def test_frame_times_are_exact(rng, tmp_path, container):
    """Each picture is one frame that begins when the one before ends; also the last duration."""
    path = write(tmp_path / f"a.{container}", magnified(rng, 16), SECONDS)
    report = shown_by_ffmpeg(path)
    starts = [float(text) for text in re.findall(r"pts_time:\s*([\d.]+)", report)]
    assert starts == pytest.approx(np.cumsum([0, *SECONDS[:-1]]), abs=0.0006)
    hours, minutes, seconds = re.search(
        r"Duration: (\d+):(\d+):([\d.]+), start: 0.0", report
    ).groups()
    total = 3600 * int(hours) + 60 * int(minutes) + float(seconds)
    assert total == pytest.approx(sum(SECONDS), abs=0.011)  # it prints hundredths


@CONTAINERS
@settings(max_examples=25)
@given(st.lists(st.floats(0.02, 3) | st.floats(0.02, 600), min_size=1, max_size=12))
@example([0.1, 0.1, 0.1, 3, 0.1, 0.1])
def test_total_duration_is_exact(tmp_path_factory, container, seconds):
    """Rounding errors do not add up, for any number of frames and any durations."""
    frames = (20 * np.arange(len(seconds), dtype=np.uint8)).repeat(16 * 16).reshape(-1, 16, 16)
    path = tmp_path_factory.getbasetemp() / f"durations.{container}"
    starts, total = shown_by_pyav(write(path, frames, seconds, COLOURS))
    assert starts == pytest.approx(np.cumsum([0, *seconds[:-1]]), abs=0.0006)
    assert total == pytest.approx(sum(seconds), abs=0.0006)


@CONTAINERS
@pytest.mark.parametrize("count", [7, 15, 30, 31])
def test_pauses_at_both_ends_are_kept(rng, tmp_path, container, count):
    """At the default pace, with filters that drift, the last picture stays for two seconds."""
    drift = np.cumsum(rng.normal(0, 4, (count, 8, 8, 3)), axis=0)
    cells = np.clip(128 + drift, 0, 255).astype(np.uint8)
    seconds = [1.1, *[0.1] * (count - 2), 2.1]
    path = write(tmp_path / f"a.{container}", cells.repeat(16, 1).repeat(16, 2), seconds)
    starts, total = shown_by_pyav(path)
    assert starts == pytest.approx(np.cumsum([0, *seconds[:-1]]), abs=0.0006)
    assert total == pytest.approx(sum(seconds), abs=0.0006)


@CONTAINERS
def test_repeated_frames_are_kept(tmp_path, container):
    """A run in which nothing changes has the same duration as any other."""
    frames = np.full((100, 32, 32), 120, np.uint8)
    starts, total = shown_by_pyav(write(tmp_path / f"a.{container}", frames, [0.04] * 100, COLOURS))
    assert starts == pytest.approx(0.04 * np.arange(100))
    assert total == pytest.approx(4)


@CONTAINERS
@pytest.mark.parametrize("side", [8, 16])
def test_magnified_colours_are_nearly_exact(rng, tmp_path, decoded, container, side):
    """Squares that begin and end at even pixels have a PSNR above 34 dB."""
    frames = magnified(rng, side)
    shown = decoded(write(tmp_path / f"a.{container}", frames, SECONDS))
    assert shown.shape == frames.shape
    error = np.square(shown.astype(float) - frames).mean(axis=(1, 2, 3))
    assert (10 * np.log10(255**2 / error)).min() > 34


@CONTAINERS
def test_squares_are_nearly_exact_up_to_their_edges(rng, tmp_path, decoded, container):
    """No pixel of a 16x16 square is off by more than 8 of 255, also next to another square."""
    frames = magnified(rng, 16)
    shown = decoded(write(tmp_path / f"a.{container}", frames, SECONDS))
    assert np.abs(shown.astype(int) - frames).max() <= 8


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
    assert report.count(tags) == len(SECONDS)
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
        with VideoWriter(file, (32, 32), None, container) as video:
            for frame in magnified(rng, 16, (count, 32, 32)):
                video.add(frame, 0.1)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_whole(path, fill)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "code",
    [
        "from filtertrack.render.encoders import video; video.VideoWriter(None, (16, 16), None)",
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
