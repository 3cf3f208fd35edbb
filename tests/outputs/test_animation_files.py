"""Animation files: exact pixels, durations, whole files."""

import math
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageSequence

from filtertrack import Moment, Run, Snapshot, animate
from filtertrack.render.encoders.formats import ANIMATION_FORMATS
from filtertrack.render.look import Look
from filtertrack.render.palette import (
    NOT_FINITE,
    SEPARATOR,
    grid_palette,
    theme_palette,
)

SCALE, GAP, COLUMNS, ROWS, SIDE = 19, 4, 4, 2, 9


def drawn_by_hand(kernels):
    """Draw the expected grid of 8 one-channel filters of 9x9, pixel by pixel."""
    picture = np.empty((ROWS * (SIDE * SCALE + GAP) + GAP, COLUMNS * (SIDE * SCALE + GAP) + GAP, 3))
    picture[:] = grid_palette()[SEPARATOR]
    for number, kernel in enumerate(kernels[..., 0].astype(float)):
        low, high = kernel.min(), kernel.max()
        top = GAP + number // COLUMNS * (SIDE * SCALE + GAP)
        left = GAP + number % COLUMNS * (SIDE * SCALE + GAP)
        for y in range(SIDE * SCALE):
            for x in range(SIDE * SCALE):
                unit = (kernel[y // SCALE, x // SCALE] - low) / (high - low)
                picture[top + y, left + x] = round(round(unit * 234) * 255 / 234)
    return picture.astype(np.uint8)


def milliseconds(path):
    """Return the duration of an animation as Pillow reads it."""
    total = 0
    with Image.open(os.fspath(path)) as image:
        for frame in ImageSequence.Iterator(image):
            frame.load()  # Pillow knows the durations of a WebP only then
            total += frame.info["duration"]
    return total


@pytest.mark.parametrize("ending", ["gif", "png"])
def test_first_and_last_frame_are_the_expected_grids(  # noqa: PLR0917 - fixtures
    grey_run, tmp_path, decoded, ending, frames_of, grid_in
):
    """Every pixel as decoded by ffmpeg."""
    animation = animate(grey_run, tmp_path / f"a.{ending}", size=720)
    frames = decoded(animation.path)
    assert frames.shape == (animation.frames, *animation.shape, 3)
    for frame, step in ((frames[0], 0), (frames[-1], 5)):
        expected = drawn_by_hand(grey_run.kernels("conv1", step))
        grid = grid_in(frames_of(grey_run, 720), frame)
        np.testing.assert_array_equal(grid, expected)


@pytest.mark.parametrize("kernel_shape", [(5, 5, 1, 6), (5, 5, 3, 6), (3, 3, 8, 6)], ids=str)
def test_png_and_webp_are_exact(  # noqa: PLR0917 - fixtures
    make_run, conv_info, tmp_path, kernel_shape, pillow_frames, frames_of
):
    """As decoded by Pillow, each frame is the one drawn without a palette."""
    run = make_run(conv_info(kernel_shape=kernel_shape), steps=range(5))
    drawing = frames_of(run, 640, indexed=False)
    drawn = [p if drawing.colours is None else drawing.colours[p] for p in drawing.pictures()]
    for ending in ("png", "webp"):
        frames = pillow_frames(animate(run, tmp_path / f"a.{ending}", size=640))
        np.testing.assert_array_equal(frames, drawn)


@pytest.mark.parametrize("name", ["viridis", "RdBu_r"])
def test_a_gif_of_one_channel_is_exact_through_any_colormap(
    grey_run, tmp_path, decoded, name, pillow_frames
):
    """It has the same pixels as lossless WebP."""
    gif = decoded(animate(grey_run, tmp_path / "a.gif", colormap=name).path)
    webp = pillow_frames(animate(grey_run, tmp_path / "a.webp", colormap=name))
    np.testing.assert_array_equal(gif, webp)
    grid = gif[0, -300:]
    assert (np.ptp(grid, axis=-1) > 20).any(), "the grid has colours"


@pytest.mark.parametrize("ending", ["mp4", "webm"])
def test_video_frames_are_close_to_those_drawn(colour_run, tmp_path, decoded, ending, frames_of):
    """Each snapshot is repeated for its time at 10 frames a second, within a few levels."""
    animation = animate(colour_run, tmp_path / f"a.{ending}")
    frames = decoded(animation.path)
    assert frames.shape == (11 + 3 + 21, *animation.shape, 3)
    drawing = frames_of(colour_run, 640, indexed=False, even=True)
    drawn = np.stack(list(drawing.pictures()))
    expected = drawn.repeat([11, 1, 1, 1, 21], axis=0)
    error = np.square(frames.astype(float) - expected).mean()
    assert 10 * math.log10(255**2 / error) > 32


@pytest.mark.parametrize("ending", ["gif", "png", "webp"])
@pytest.mark.parametrize(
    "options",
    [
        {"fps": 3, "hold": (1.5, 2.5)},
        {"seconds": 4.7},
        {"seconds": 2.01, "time": "log", "between": 3},
        {"fps": 7, "time": "epoch"},
    ],
    ids=str,
)
def test_the_duration_of_the_file_is_the_requested_one(grey_run, tmp_path, ending, options):
    """To a hundredth of a second, also with interpolated frames."""
    animation = animate(grey_run, tmp_path / f"a.{ending}", **options)
    asked = options.get("seconds") or 6 / options["fps"] + sum(options.get("hold", (1, 2)))
    assert milliseconds(animation) == pytest.approx(1000 * asked, abs=5.01)
    assert animation.seconds == pytest.approx(asked)


def test_equal_snapshots_keep_their_time(make_run, conv_info, tmp_path):
    """Encoders merge equal frames; the duration stays."""
    run = make_run(conv_info(kernel_shape=(5, 5, 1, 2)), steps=[0])
    arrays = run.snapshot(0).arrays
    for step in range(1, 10):
        run.append(Snapshot(Moment(step, 0, 0), arrays))
    for ending in ("gif", "png", "webp"):
        animation = animate(run, tmp_path / f"a.{ending}", fps=10)
        assert milliseconds(animation) == 1000 + 10 * 100 + 2000


def drifting(write_run, conv_info, rng, count=40):
    """Write a run of 32 colour filters that change a little at each step."""
    kernels = rng.normal(size=(32, 7, 7, 3)) + rng.normal(
        scale=0.02, size=(count, 32, 7, 7, 3)
    ).cumsum(axis=0)
    kernels[:, 5] = kernels[0, 5]  # a filter at rest
    kernels[:, 6, 2, 3] = np.nan
    return write_run(conv_info(kernel_shape=(7, 7, 3, 32), bias=False), kernels.astype(np.float32))


def test_colour_gif_comes_near_the_exact_pictures(  # noqa: PLR0917 - fixtures
    write_run, conv_info, rng, tmp_path, decoded, frames_of
):
    """Over the run the PSNR is above 35 dB, though 1,500 colours are in each frame.

    What has its own entry is exact: text, curves, separators and weights that are not finite.
    """
    run = drifting(write_run, conv_info, rng)
    frames = decoded(animate(run, tmp_path / "a.gif", size=400, delta=False).path)
    drawing = frames_of(run, 400, Look(delta=False), indexed=False)
    exact = np.array(list(drawing.pictures()))
    error = np.square(frames.astype(float) - exact).mean()
    assert 10 * math.log10(255**2 / error) > 35
    for entry in (SEPARATOR, NOT_FINITE):
        fixed = (exact == theme_palette()[entry]).all(axis=-1)
        assert fixed.any()
        np.testing.assert_array_equal(frames[fixed], exact[fixed])
    (grid,) = drawing._arranged.grids
    top = drawing._header.height + grid.top
    for rows in (slice(top), slice(top + grid.layout.shape[0], None)):
        np.testing.assert_array_equal(frames[:, rows], exact[:, rows])


def test_a_colour_gif_does_not_flicker(  # noqa: PLR0917 - fixtures
    write_run, conv_info, rng, tmp_path, decoded, frames_of
):
    """A pixel whose exact colour does not change keeps its colour."""
    run = drifting(write_run, conv_info, rng)
    frames = decoded(animate(run, tmp_path / "a.gif", size=400, delta=False).path)
    exact = np.array(list(frames_of(run, 400, Look(delta=False), indexed=False).pictures()))
    still = (exact[1:] == exact[:-1]).all(axis=-1)
    np.testing.assert_array_equal(frames[1:][still], frames[:-1][still])


def test_colour_gif_frames_are_close_to_the_weights(
    colour_run, tmp_path, decoded, frames_of, repainted
):
    """Also where all weights change, each is within a few levels of its exact colour."""
    drawing = frames_of(colour_run, 320)
    frames = decoded(animate(colour_run, tmp_path / "a.gif", size=320).path)
    np.testing.assert_array_equal(frames, list(repainted(drawing)))
    kernels = colour_run.kernels("conv1", 4).astype(float)
    low, high = (f(kernels, axis=(1, 2, 3), keepdims=True) for f in (np.min, np.max))
    exact = 255 * (kernels - low) / (high - low)
    (grid,) = drawing._arranged.grids
    layout, above = grid.layout, drawing._header.caption.height
    error = []
    for number in range(16):
        row, column = divmod(number, layout.columns)
        for y in range(7):
            for x in range(7):
                top = above + layout.gap + row * (7 * layout.scale + layout.gap) + y * layout.scale
                left = (
                    grid.left
                    + layout.gap
                    + column * (7 * layout.scale + layout.gap)
                    + x * layout.scale
                )
                block = frames[4, top : top + layout.scale, left : left + layout.scale]
                assert (block == block[0, 0]).all(), "a weight is a flat square"
                error.append(block[0, 0] - exact[number, y, x])
    assert 20 * math.log10(255 / np.sqrt(np.square(error).mean())) > 26


@pytest.mark.parametrize("ending", ["gif", "png", "webp"])
def test_a_channel_of_colour_filters_is_exact(  # noqa: PLR0917 - fixtures
    make_run, conv_info, tmp_path, ending, pillow_frames, frames_of
):
    """As a layer of that channel alone, also through a colormap."""
    run = make_run(conv_info(kernel_shape=(7, 7, 3, 16), bias=False), steps=range(3))
    alone = conv_info(kernel_shape=(7, 7, 1, 16), bias=False)
    other = Run.create(tmp_path / "alone", [alone])
    for step in run.steps:
        kernel = np.ascontiguousarray(run.kernels("conv1", step)[..., [1]].transpose(1, 2, 3, 0))
        other.append(Snapshot(run.moment(step), {alone.kernel: kernel}))
    look = {"colormap": "viridis", "scale": "filter", "size": 400}
    one = animate(run, tmp_path / f"a.{ending}", channels=1, **look)
    two = animate(other, tmp_path / f"b.{ending}", **look)
    assert one.shape == two.shape
    below = frames_of(other, 400)._header.height
    for mine, expected in zip(pillow_frames(one), pillow_frames(two), strict=True):
        np.testing.assert_array_equal(mine[below:], expected[below:])


@pytest.mark.parametrize("ending", ANIMATION_FORMATS)
def test_the_file_is_written_whole_or_not_at_all(grey_run, tmp_path, ending):
    """After an interrupt the old file is there, and no temporary file or thread."""
    target = tmp_path / f"a{ending}"
    target.write_bytes(b"old")

    def interrupt(done, total):
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        animate(grey_run, target, progress=interrupt)
    assert target.read_bytes() == b"old"
    assert sorted(p.name for p in tmp_path.iterdir()) == [target.name, "run"]


def test_files_are_reproducible(colour_run, tmp_path):
    for ending in ("gif", "png", "webp"):
        one, two = (Path(animate(colour_run, tmp_path / f"{n}.{ending}")) for n in "ab")
        assert one.read_bytes() == two.read_bytes()


def test_a_notebook_displays_the_animation(grey_run, tmp_path):
    """Its HTML contains the file; markup in a name is escaped."""
    picture = animate(grey_run, tmp_path / "<b>.gif")._repr_html_()
    assert picture.startswith('<img src="data:image/gif;base64,R0lGODlh')
    assert "&lt;b&gt;.gif" in picture
    assert "<b>" not in picture
    video = animate(grey_run, tmp_path / "a.mp4")._repr_html_()
    assert video.startswith('<video src="data:video/mp4;base64,')
    assert "controls" in video


def test_an_animation_is_a_path(grey_run, tmp_path):
    """Functions that take a path take it."""
    animation = animate(grey_run, tmp_path / "a.gif")
    assert str(animation) == str(tmp_path / "a.gif")
    shutil.copy(animation, tmp_path / "b.gif")
    assert (tmp_path / "b.gif").read_bytes() == Path(animation).read_bytes()


def peak_megabytes(run, output):
    """Return the peak memory of a process that makes an animation."""
    code = (
        "from filtertrack import animate\n"
        f"animate({str(run)!r}, {str(output)!r}, size=200)\n"
        "print(open('/proc/self/status').read())"  # ru_maxrss is inherited from pytest
    )
    result = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    )
    return int(result.stdout.partition("VmHWM:")[2].split()[0]) / 1024


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's /proc")
@pytest.mark.slow
@pytest.mark.parametrize("ending", ["gif", "webp", "png", "mp4", "webm"])
def test_memory_does_not_grow_with_the_number_of_frames(make_run, conv_info, tmp_path, ending):
    """Ten times the snapshots take at most 10 MB more: 5 KB a frame, whose pixels are 120 KB."""
    info = conv_info(kernel_shape=(7, 7, 3, 16), bias=False)
    short, long = (make_run(info, steps=range(n), folder=str(n)) for n in (200, 2000))
    few, many = (peak_megabytes(run.path, tmp_path / f"a.{ending}") for run in (short, long))
    assert many - few < 10, (few, many)


def test_a_run_can_be_animated_while_training_writes(grey_run, tmp_path):
    """The existing snapshots are drawn."""
    reader = Run(grey_run.path)
    arrays = grey_run.snapshot(5).arrays
    assert animate(reader, tmp_path / "a.gif").frames == 6
    grey_run.append(Snapshot(Moment(6, 6), arrays))
    assert animate(reader, tmp_path / "a.gif").frames == 7
