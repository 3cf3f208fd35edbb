import math

import numpy as np
import pytest
from PIL import Image, ImageSequence

from filtertrack import FiltertrackError, Moment, Snapshot, animate
from filtertrack.animation import Film
from filtertrack.grid import palette

SCALE, GAP, COLUMNS, ROWS, SIDE = 19, 4, 4, 2, 9


def drawn_by_hand(kernels):
    """Draw the grid that 8 one-channel filters of 9x9 should become, pixel after pixel."""
    picture = np.empty((ROWS * (SIDE * SCALE + GAP) + GAP, COLUMNS * (SIDE * SCALE + GAP) + GAP, 3))
    picture[:] = palette()[241]
    for number, kernel in enumerate(kernels[..., 0].astype(float)):
        low, high = kernel.min(), kernel.max()
        top = GAP + number // COLUMNS * (SIDE * SCALE + GAP)
        left = GAP + number % COLUMNS * (SIDE * SCALE + GAP)
        for y in range(SIDE * SCALE):
            for x in range(SIDE * SCALE):
                unit = (kernel[y // SCALE, x // SCALE] - low) / (high - low)
                picture[top + y, left + x] = round(round(unit * 239) * 255 / 239)
    return picture.astype(np.uint8)


@pytest.fixture
def grey_run(make_run, conv_info):
    return make_run(conv_info(kernel_shape=(9, 9, 1, 8)), steps=range(6))


def test_first_and_last_frame_are_the_expected_grids(grey_run, tmp_path, decoded):
    """ffmpeg, which did not write it, decodes the start's and the end's grid, every pixel."""
    path = animate(grey_run, tmp_path / "a.gif", size=720)
    frames = decoded(path)
    for frame, step in ((frames[0], 0), (frames[-1], 5)):
        expected = drawn_by_hand(grey_run.kernels("conv1", step))
        grid = frame[-expected.shape[0] :]
        assert grid.shape == expected.shape
        np.testing.assert_array_equal(grid, expected)


def test_the_total_duration_is_what_was_asked(grey_run, tmp_path):
    """Six snapshots: the first and the last are held, those between last 1/fps each."""
    path = animate(grey_run, tmp_path / "a.gif", fps=3, hold=(1.5, 2.5))
    with Image.open(path) as gif:
        total = sum(image.info["duration"] for image in ImageSequence.Iterator(gif))
    assert total == pytest.approx(1000 * (1.5 + 4 / 3 + 2.5), abs=5.01)


def test_a_snapshot_like_the_one_before_keeps_its_time(make_run, conv_info, tmp_path):
    """Training that changes nothing still lasts as long as asked."""
    run = make_run(conv_info(kernel_shape=(5, 5, 1, 2)), steps=[0])
    arrays = run.snapshot(0).arrays
    for step in range(1, 10):
        run.append(Snapshot(Moment(step, 0, 0), arrays))
    with Image.open(animate(run, tmp_path / "a.gif", fps=10)) as gif:
        total = sum(image.info["duration"] for image in ImageSequence.Iterator(gif))
    assert total == 1000 + 8 * 100 + 2000


def test_colour_frames_are_close_to_the_weights(make_run, conv_info, tmp_path, decoded):
    """One palette for the whole run: each weight's colour is within a few levels of exact."""
    run = make_run(conv_info(kernel_shape=(7, 7, 3, 16)), steps=range(5))
    film = Film(run, "conv1", run.steps, size=320)
    frames = decoded(animate(run, tmp_path / "a.gif", size=320))
    np.testing.assert_array_equal(frames, np.stack([film.palette[p] for p in film.pictures()]))
    kernels = run.kernels("conv1", 4).astype(float)
    low, high = (f(kernels, axis=(1, 2, 3), keepdims=True) for f in (np.min, np.max))
    exact = 255 * (kernels - low) / (high - low)
    layout = film._layout
    height = film._caption.height
    error = []
    for number in range(16):
        row, column = divmod(number, layout.columns)
        for y in range(7):
            for x in range(7):
                top = height + layout.gap + row * (7 * layout.scale + layout.gap) + y * layout.scale
                left = layout.gap + column * (7 * layout.scale + layout.gap) + x * layout.scale
                block = frames[4, top : top + layout.scale, left : left + layout.scale]
                assert (block == block[0, 0]).all(), "a weight is a flat square"
                error.append(block[0, 0] - exact[number, y, x])
    assert 20 * math.log10(255 / np.sqrt(np.square(error).mean())) > 26


def test_nothing_flickers(make_run, conv_info, tmp_path, decoded):
    """A filter that does not change looks the same in every frame, while others change."""
    info = conv_info(kernel_shape=(5, 5, 3, 4), bias=False)
    run = make_run(info, steps=[0])
    start = run.snapshot(0).arrays["conv1/kernel"]
    for step in range(1, 6):
        moved = start + step * np.random.default_rng(step).normal(size=start.shape)
        moved[..., 0] = start[..., 0]
        run.append(Snapshot(Moment(step, step), {"conv1/kernel": moved.astype(np.float32)}))
    film = Film(run, "conv1", run.steps, size=320)
    frames = decoded(animate(run, tmp_path / "a.gif", size=320))
    side = 5 * film._layout.scale
    cell = frames[:, film._caption.height + film._layout.gap :, film._layout.gap :][:, :side, :side]
    assert (cell == cell[0]).all()
    assert (frames[0] != frames[1]).any()


@pytest.mark.parametrize("scale", ["filter", "layer"])
def test_a_range_over_the_whole_run(grey_run, tmp_path, scale):
    """With one range over the run a weight that does not reach it is never black or white."""
    film = Film(grey_run, "conv1", grey_run.steps, size=320, scale=scale)
    pictures = np.stack([p[film._caption.height :] for p in film.pictures()])
    assert pictures[pictures < 240].min() == 0
    assert pictures[pictures < 240].max() == 239
    extremes = ((pictures == 0) | (pictures == 239)).any(axis=(1, 2)).sum()
    assert extremes < len(pictures) if scale == "layer" else extremes <= len(pictures)
    animate(grey_run, tmp_path / "a.gif", scale=scale)
    every = np.stack([grey_run.kernels("conv1", s) for s in grey_run.steps])
    axis = (0, 2, 3, 4) if scale == "filter" else None
    low, high = every.min(axis=axis), every.max(axis=axis)
    np.testing.assert_array_equal(film._range.low, np.broadcast_to(low, 8))
    np.testing.assert_array_equal(film._range.high, np.broadcast_to(high, 8))


@pytest.mark.parametrize(
    "kernel_shape", [(1, 1, 8, 5), (3, 3, 16, 100), (5, 5, 2, 3), (1, 7, 1, 2)], ids=str
)
def test_odd_layers_have_an_animation(make_run, conv_info, tmp_path, decoded, kernel_shape):
    """1x1, deep and many filters, two channels, a strip: all decode, with one frame a snapshot."""
    run = make_run(conv_info(kernel_shape=kernel_shape), steps=range(3))
    frames = decoded(animate(run, tmp_path / "a.gif", size=300))
    assert len(frames) == 3
    assert max(frames.shape[1:3]) <= 400


def test_weights_that_are_not_finite_are_drawn(make_run, conv_info, tmp_path, decoded):
    """A training that has blown up can still be looked at."""
    run = make_run(conv_info(kernel_shape=(3, 3, 3, 4), bias=False), steps=range(2))
    broken = run.snapshot(1).arrays["conv1/kernel"].copy()
    broken[0, 0] = np.nan
    broken[..., 3] = np.inf
    run.append(Snapshot(Moment(2, 2), {"conv1/kernel": broken}))
    last = decoded(animate(run, tmp_path / "a.gif", size=300))[-1]
    assert (last == (255, 0, 170)).all(axis=-1).any()


def test_progress_counts_every_frame(grey_run, tmp_path):
    """The caller learns how far it is, once a frame."""
    seen = []
    animate(grey_run, tmp_path / "a.gif", progress=lambda *done: seen.append(done))
    assert seen == [(n, 6) for n in range(1, 7)]


def test_the_file_appears_whole_or_not_at_all(grey_run, tmp_path):
    """Interrupted while drawing: the old file is still there, and no half of a new one."""
    target = tmp_path / "a.gif"
    target.write_bytes(b"old")

    def interrupt(done, total):
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        animate(grey_run, target, progress=interrupt)
    assert target.read_bytes() == b"old"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.gif", "run"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"fps": 0}, "fps"),
        ({"fps": float("nan")}, "fps"),
        ({"size": 3}, "size"),
        ({"scale": "run"}, "scale"),
        ({"hold": (-1, 1)}, "hold"),
        ({"layer": "conv9"}, "no layer 'conv9'"),
        ({"output": "a.bmp"}, "ends in .gif"),
        ({"output": "nowhere/a.gif"}, "no folder"),
    ],
)
def test_what_does_not_fit_is_said(grey_run, tmp_path, options, message):
    """Every option out of range is an error that names it."""
    output = tmp_path / options.pop("output", "a.gif")
    with pytest.raises(FiltertrackError, match=message):
        animate(grey_run, output, **options)
    assert not output.exists()
