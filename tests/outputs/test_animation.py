import math
import shutil
import subprocess
import sys
import tracemalloc
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageSequence

from filtertrack import FiltertrackError, Moment, Run, Snapshot, animate
from filtertrack.measures import label
from filtertrack.outputs.frames import AnimationFrames
from filtertrack.outputs.layer_cells import LayerCells
from filtertrack.outputs.run_selection import select_from_run
from filtertrack.outputs.timeline import Pace, plan
from filtertrack.render.caption import Caption, Legend
from filtertrack.render.encoders.formats import ANIMATION_FORMATS
from filtertrack.render.grid import to_levels, to_rgb
from filtertrack.render.look import Look
from filtertrack.render.palette import LEVELS, OUTLINED, SEPARATOR, THEMES, grid_palette
from filtertrack.render.value_range import range_of_cells

SCALE, GAP, COLUMNS, ROWS, SIDE = 19, 4, 4, 2, 9


def film_of(run, side, look=None, **options):
    selection = select_from_run(run)
    return AnimationFrames(
        selection, plan(selection.moments[0], Pace()), look or Look(), side=side, **options
    )


def drawn_by_hand(kernels):
    """Draw the grid that 8 one-channel filters of 9x9 should become, pixel after pixel."""
    picture = np.empty((ROWS * (SIDE * SCALE + GAP) + GAP, COLUMNS * (SIDE * SCALE + GAP) + GAP, 3))
    picture[:] = grid_palette()[SEPARATOR]
    for number, kernel in enumerate(kernels[..., 0].astype(float)):
        low, high = kernel.min(), kernel.max()
        top = GAP + number // COLUMNS * (SIDE * SCALE + GAP)
        left = GAP + number % COLUMNS * (SIDE * SCALE + GAP)
        for y in range(SIDE * SCALE):
            for x in range(SIDE * SCALE):
                unit = (kernel[y // SCALE, x // SCALE] - low) / (high - low)
                picture[top + y, left + x] = round(round(unit * 235) * 255 / 235)
    return picture.astype(np.uint8)


def pillow_frames(path):
    with Image.open(path) as image:
        return [np.asarray(frame.convert("RGB")) for frame in ImageSequence.Iterator(image)]


def milliseconds(path):
    """How long an animation lasts, as Pillow reads it."""
    total = 0
    with Image.open(path) as image:
        for frame in ImageSequence.Iterator(image):
            frame.load()  # a WebP's durations are known only then
            total += frame.info["duration"]
    return total


@pytest.fixture
def grey_run(make_run, conv_info):
    return make_run(conv_info(kernel_shape=(9, 9, 1, 8)), steps=range(6))


@pytest.fixture
def colour_run(make_run, conv_info):
    return make_run(conv_info(kernel_shape=(7, 7, 3, 16)), steps=range(5))


@pytest.mark.parametrize("ending", ["gif", "png"])
def test_first_and_last_frame_are_the_expected_grids(grey_run, tmp_path, decoded, ending):
    """ffmpeg, which did not write it, decodes the start's and the end's grid, every pixel."""
    animation = animate(grey_run, tmp_path / f"a.{ending}", size=720)
    frames = decoded(animation.path)
    assert frames.shape == (animation.frames, *animation.shape, 3)
    for frame, step in ((frames[0], 0), (frames[-1], 5)):
        expected = drawn_by_hand(grey_run.kernels("conv1", step))
        grid = frame[-len(expected) :, : expected.shape[1]]
        np.testing.assert_array_equal(grid, expected)


@pytest.mark.parametrize("kernel_shape", [(5, 5, 1, 6), (5, 5, 3, 6), (3, 3, 8, 6)], ids=str)
def test_png_and_webp_are_exact(make_run, conv_info, tmp_path, kernel_shape):
    """Each frame that Pillow decodes is what the film draws without any palette of its own."""
    run = make_run(conv_info(kernel_shape=kernel_shape), steps=range(5))
    film = film_of(run, 640, indexed=False)
    drawn = [p if film.colours is None else film.colours[p] for p in film.pictures()]
    for ending in ("png", "webp"):
        frames = pillow_frames(animate(run, tmp_path / f"a.{ending}"))
        np.testing.assert_array_equal(frames, drawn)


@pytest.mark.parametrize("name", ["viridis", "RdBu_r"])
def test_a_gif_of_one_channel_is_exact_through_any_colormap(grey_run, tmp_path, decoded, name):
    """The colormap is the palette: a GIF shows the same pixels as the lossless formats."""
    gif = decoded(animate(grey_run, tmp_path / "a.gif", colormap=name).path)
    webp = pillow_frames(animate(grey_run, tmp_path / "a.webp", colormap=name))
    np.testing.assert_array_equal(gif, webp)
    grid = gif[0, -300:]
    assert (np.ptp(grid, axis=-1) > 20).any(), "it has colours"


@pytest.mark.parametrize("ending", ["mp4", "webm"])
def test_video_is_close_and_of_the_same_size(colour_run, tmp_path, decoded, ending):
    """A frame for each snapshot; flat squares come out within a few levels of their colour."""
    animation = animate(colour_run, tmp_path / f"a.{ending}")
    frames = decoded(animation.path)
    assert frames.shape == (5, *animation.shape, 3)
    film = film_of(colour_run, 640, indexed=False, even=True)
    drawn = np.stack(list(film.pictures()))
    error = np.square(frames.astype(float) - drawn).mean()
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
def test_the_total_duration_is_what_was_asked(grey_run, tmp_path, ending, options):
    """As Pillow reads it, to a hundredth of a second, also with interpolated frames."""
    animation = animate(grey_run, tmp_path / f"a.{ending}", **options)
    asked = options.get("seconds") or 6 / options["fps"] + sum(options.get("hold", (1, 2)))
    assert milliseconds(animation) == pytest.approx(1000 * asked, abs=5.01)
    assert animation.seconds == pytest.approx(asked)


def test_a_snapshot_like_the_one_before_keeps_its_time(make_run, conv_info, tmp_path):
    """Training that changes nothing still lasts as long as asked."""
    run = make_run(conv_info(kernel_shape=(5, 5, 1, 2)), steps=[0])
    arrays = run.snapshot(0).arrays
    for step in range(1, 10):
        run.append(Snapshot(Moment(step, 0, 0), arrays))
    for ending in ("gif", "png", "webp"):
        animation = animate(run, tmp_path / f"a.{ending}", fps=10)
        assert milliseconds(animation) == 1000 + 10 * 100 + 2000


def test_colour_frames_are_close_to_the_weights(colour_run, tmp_path, decoded):
    """One palette for the whole run: each weight's colour is within a few levels of exact."""
    film = film_of(colour_run, 320)
    frames = decoded(animate(colour_run, tmp_path / "a.gif", size=320).path)
    np.testing.assert_array_equal(frames, np.stack([film.colours[p] for p in film.pictures()]))
    kernels = colour_run.kernels("conv1", 4).astype(float)
    low, high = (f(kernels, axis=(1, 2, 3), keepdims=True) for f in (np.min, np.max))
    exact = 255 * (kernels - low) / (high - low)
    (place,) = film._places
    layout, above = place.layout, film._caption.height
    error = []
    for number in range(16):
        row, column = divmod(number, layout.columns)
        for y in range(7):
            for x in range(7):
                top = above + layout.gap + row * (7 * layout.scale + layout.gap) + y * layout.scale
                left = (
                    place.left
                    + layout.gap
                    + column * (7 * layout.scale + layout.gap)
                    + x * layout.scale
                )
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
    film = film_of(run, 320)
    frames = decoded(animate(run, tmp_path / "a.gif", size=320).path)
    (place,) = film._places
    side, top, left = (
        5 * place.layout.scale,
        film._caption.height + place.layout.gap,
        place.left + place.layout.gap,
    )
    cell = frames[:, top : top + side, left : left + side]
    assert (cell == cell[0]).all()
    assert (frames[0] != frames[1]).any()


@pytest.mark.parametrize("scale", ["filter", "layer"])
def test_a_range_over_the_whole_run(grey_run, scale):
    """The darkest and the lightest level are reached in the run, but not in every frame."""
    film = film_of(grey_run, 320, Look(scale=scale))
    above = film._caption.height
    weights = [p[above:][p[above:] < LEVELS] for p in film.pictures()]
    reached = [(w.min(), w.max()) for w in weights]
    assert min(low for low, _ in reached) == 0
    assert max(high for _, high in reached) == 235
    if scale == "layer":
        assert reached[0] != (0, 235)


def test_delta_starts_from_nothing(grey_run, tmp_path):
    """The first frame of a difference is mid-grey all over, and the caption says what it is."""
    plain = pillow_frames(animate(grey_run, tmp_path / "a.webp"))[0]
    first = pillow_frames(animate(grey_run, tmp_path / "b.webp", delta=True))[0]
    grid = first[-300:]
    separator = tuple(grid_palette()[SEPARATOR])
    inside = grid[(grid != separator).any(axis=-1)]
    assert len(np.unique(inside, axis=0)) == 1
    assert abs(int(inside[0, 0]) - 128) <= 1
    assert (plain[:30] != first[:30]).any(), "the headline"


@pytest.mark.parametrize(
    ("channels", "title"),
    [
        (None, "conv1"),
        (2, "conv1 · channel 2"),
        ("strongest", "conv1 · strongest pattern of 3 channels"),
    ],
    ids=str,
)
def test_the_headline_says_which_channels(colour_run, channels, title):
    """Where it was asked for, and nothing where not."""
    film = film_of(colour_run, 640, Look(channels=channels), indexed=True)
    moments = select_from_run(colour_run).moments
    logs = [[moment.metrics for moment in run] for run in moments]
    caption = Caption(title, moments[0], logs, film.timeline.knots, film.shape[1])
    first = next(iter(film.pictures()))
    np.testing.assert_array_equal(first[: caption.height], caption.draw(0))


@pytest.mark.parametrize("ending", ["gif", "png", "webp"])
def test_a_channel_of_colour_filters_is_exact(make_run, conv_info, tmp_path, ending):
    """It is drawn as a layer of that channel alone would be, through a colormap too."""
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
    for mine, expected in zip(pillow_frames(one), pillow_frames(two), strict=True):
        np.testing.assert_array_equal(mine[-380:], expected[-380:])


def test_interpolated_frames_lie_between_and_are_said(grey_run, tmp_path):
    """With one picture between each two there are eleven; the headline says so."""
    plain = animate(grey_run, tmp_path / "a.webp", scale="layer")
    smooth = animate(grey_run, tmp_path / "b.webp", scale="layer", between=1)
    assert (plain.frames, smooth.frames) == (6, 11)
    frames = pillow_frames(smooth)
    snapshots = pillow_frames(plain)
    np.testing.assert_array_equal(frames[2][-300:], snapshots[1][-300:])
    mean = (snapshots[0][-300:].astype(int) + snapshots[1][-300:]) / 2
    assert np.abs(frames[1][-300:] - mean).max() <= 1.5
    assert (frames[0][:30] != snapshots[0][:30]).any()


def test_two_runs_side_by_side(make_run, conv_info, tmp_path, caplog):
    """On one scale, at the steps both have; each half is that run's own filters."""
    info = conv_info(kernel_shape=(5, 5, 1, 4), bias=False)
    one = make_run(info, steps=range(5), folder="one")
    two = make_run(info, steps=range(0, 8, 2), folder="two")
    animation = animate(one, tmp_path / "a.webp", compare=two.path, scale="layer", size=400)
    frames = pillow_frames(animation)
    assert len(frames) == 3, "steps 0, 2 and 4"
    assert "comparing the 3 steps that both runs have, of 5 and 4" in caplog.text
    film = film_of(one, 200, Look(scale="layer"))
    assert animation.shape[1] >= 2 * film._places[0].layout.shape[1]
    every = np.stack([run.kernels("conv1", s) for run in (one, two) for s in (0, 2, 4)])
    assert every.min() < every.max()
    both = [f[-150:, :196] for f in frames], [f[-150:, 204:] for f in frames]
    darkest = [min(f[f[..., 0] == f[..., 2]].min() for f in half) for half in both]
    lightest = [max(f[f[..., 0] == f[..., 2]].max() for f in half) for half in both]
    assert min(darkest) == 0
    assert max(lightest) == 255
    assert max(darkest) > 0 or min(lightest) < 255, "one scale for both"


def test_several_layers_in_one_picture(run, tmp_path):
    """Two grids under one caption; a pattern chooses as well as names."""
    one = animate(run, tmp_path / "a.webp", layers="conv1")
    two = animate(run, tmp_path / "b.webp", layers=["conv1", "conv2"])
    same = animate(run, tmp_path / "c.webp", layers="conv*")
    assert two.shape[1] > one.shape[1]
    assert Path(two).read_bytes() == Path(same).read_bytes()


@pytest.mark.parametrize("order", ["similarity", "orientation", "drift"])
def test_an_order_moves_whole_filters(colour_run, tmp_path, order):
    """The same cells in other places: sorted pixel counts agree."""
    above = film_of(colour_run, 640)._caption.height
    stored = pillow_frames(animate(colour_run, tmp_path / "a.webp"))[-1][above:]
    moved = pillow_frames(animate(colour_run, tmp_path / "b.webp", order=order))[-1][above:]
    assert (stored != moved).any()
    for channel in range(3):
        np.testing.assert_array_equal(
            np.bincount(stored[..., channel].ravel(), minlength=256),
            np.bincount(moved[..., channel].ravel(), minlength=256),
        )


def test_filters_steps_columns_and_theme(colour_run, tmp_path):
    """Four of sixteen filters in one row, three of five steps, on a light ground."""
    animation = animate(
        colour_run,
        tmp_path / "a.webp",
        filters=[3, 0, 15, 7],
        steps=[0, 2, 4],
        columns=4,
        theme="light",
    )
    assert animation.frames == 3
    frame = pillow_frames(animation)[0]
    assert tuple(frame[0, 0]) == (255, 255, 255)
    height, width = animation.shape
    assert height < width / 2


@pytest.mark.parametrize(
    "kernel_shape", [(1, 1, 8, 5), (3, 3, 16, 100), (5, 5, 2, 3), (1, 7, 1, 2)], ids=str
)
def test_odd_layers_have_an_animation(make_run, conv_info, tmp_path, decoded, kernel_shape):
    """1x1, deep and many filters, two channels, a strip: all decode, with one frame a snapshot."""
    run = make_run(conv_info(kernel_shape=kernel_shape), steps=range(3))
    for ending in ("gif", "mp4"):
        frames = decoded(animate(run, tmp_path / f"a.{ending}", size=300).path)
        assert len(frames) == 3
        assert max(frames.shape[1:3]) <= 460


def test_weights_that_are_not_finite_are_drawn(make_run, conv_info, tmp_path, decoded):
    """A training that has blown up can still be looked at."""
    run = make_run(conv_info(kernel_shape=(3, 3, 3, 4), bias=False), steps=range(2))
    broken = run.snapshot(1).arrays["conv1/kernel"].copy()
    broken[0, 0] = np.nan
    broken[..., 3] = np.inf
    run.append(Snapshot(Moment(2, 2), {"conv1/kernel": broken}))
    last = decoded(animate(run, tmp_path / "a.gif", size=300, between=2).path)[-1]
    assert (last == (255, 0, 170)).all(axis=-1).any()


def test_progress_counts_every_frame(grey_run, tmp_path):
    """The caller learns how far it is, once a frame."""
    seen = []
    animate(grey_run, tmp_path / "a.gif", progress=lambda *done: seen.append(done))
    assert seen == [(n, 6) for n in range(1, 7)]


@pytest.mark.parametrize("ending", ANIMATION_FORMATS)
def test_the_file_appears_whole_or_not_at_all(grey_run, tmp_path, ending):
    """Interrupted while drawing: the old file is still there, no half of a new one, no thread."""
    target = tmp_path / f"a{ending}"
    target.write_bytes(b"old")

    def interrupt(done, total):
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        animate(grey_run, target, progress=interrupt)
    assert target.read_bytes() == b"old"
    assert sorted(p.name for p in tmp_path.iterdir()) == [target.name, "run"]


def test_the_same_run_makes_the_same_file(colour_run, tmp_path):
    """So a file can be compared with one made elsewhere."""
    for ending in ("gif", "png", "webp"):
        one, two = (Path(animate(colour_run, tmp_path / f"{n}.{ending}")) for n in "ab")
        assert one.read_bytes() == two.read_bytes()


def test_damaged_snapshots_are_left_out_and_said(grey_run, tmp_path, caplog):
    """The rest is drawn; the log names the file."""
    file = grey_run.file(2)
    file.write_bytes(file.read_bytes()[:-30])
    assert animate(grey_run, tmp_path / "a.gif").frames == 5
    assert f"left out step 2: damaged file '{file}'" in caplog.text


def test_in_a_notebook_it_displays_itself(grey_run, tmp_path):
    """HTML that holds the file, as a picture or a video; a name that is markup stays text."""
    picture = animate(grey_run, tmp_path / "<b>.gif")._repr_html_()
    assert picture.startswith('<img src="data:image/gif;base64,R0lGODlh')
    assert "&lt;b&gt;.gif" in picture
    assert "<b>" not in picture
    video = animate(grey_run, tmp_path / "a.mp4")._repr_html_()
    assert video.startswith('<video src="data:video/mp4;base64,')
    assert "controls" in video


def test_it_is_a_path(grey_run, tmp_path):
    """Whatever takes a path takes an animation."""
    animation = animate(grey_run, tmp_path / "a.gif")
    assert str(animation) == str(tmp_path / "a.gif")
    shutil.copy(animation, tmp_path / "b.gif")
    assert (tmp_path / "b.gif").read_bytes() == Path(animation).read_bytes()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"fps": 0}, "fps: expected"),
        ({"fps": float("nan")}, "fps: expected"),
        ({"seconds": -1}, "seconds: expected"),
        ({"seconds": 2, "hold": (1, 1)}, "hold: 2 seconds of rest leave nothing"),
        ({"time": "batch"}, "time: expected one of snapshot, epoch, log"),
        ({"between": -1}, "between: expected"),
        ({"size": 0}, "size: expected a whole number"),
        ({"size": 640.5}, "size: expected a whole number from 1 on, got 640.5"),
        ({"hold": 2}, "hold: expected two numbers"),
        ({"steps": 5}, "steps: expected numbers and ranges in a list, got 5"),
        ({"size": 20}, "size: 20 pixels are too few for one pixel a weight; expected at least"),
        ({"columns": 0}, "columns: expected"),
        ({"scale": "run"}, "scale: expected one of frame, filter, layer"),
        ({"order": "size"}, "order: expected one of"),
        ({"theme": "blue"}, "theme: expected one of dark, light"),
        ({"colormap": "virids"}, "try viridis"),
        ({"hold": (-1, 1)}, "hold: expected"),
        ({"loop": -1}, "loop: expected"),
        ({"loop": 2, "output": "a.mp4"}, "loop: how often a video plays is up to its player"),
        ({"layers": "conv9"}, "no layer 'conv9' in"),
        ({"layers": []}, "layers: none are chosen"),
        ({"filters": []}, "filters: none are chosen"),
        ({"filters": 3}, "filters: expected numbers in a list, got 3"),
        ({"filters": "0-3"}, "filters: expected numbers in a list, got '0-3'"),
        ({"layers": 0}, "layers: expected a name or several, got 0"),
        ({"steps": "0,1"}, "steps: expected numbers and ranges in a list, got '0,1'"),
        ({"filters": [8]}, "filters: layer conv1 has the filters 0 to 7, got 8"),
        ({"filters": [1], "order": "drift"}, "not both"),
        ({"channels": 1}, "'strongest' or one of the channels 0 to 0 of conv1, got 1"),
        ({"channels": "red"}, "channels: expected 'strongest' or a channel's number, got 'red'"),
        ({"steps": []}, "are chosen; it has 6 snapshots"),
        (
            {"steps": [0, 9]},
            "no snapshot at step 9; it has 6 snapshots from step 0 to 5; near it: 5",
        ),
        ({"steps": [3]}, "1 readable snapshot to show; it takes at least 2"),
        ({"output": "a.bmp"}, "expected a name that ends in .gif, .png, .apng, .webp, .mp4, .webm"),
        ({"output": "nowhere/a.gif"}, "no folder"),
        ({"size": 60_000, "output": "a.webp"}, "or allow it with huge=True"),
        (
            {"size": 17_000, "output": "a.webp", "huge": True},
            "image/webp holds at most 16383 a side",
        ),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_does_not_fit_is_said(grey_run, tmp_path, options, message):
    """Every option out of range is an error that names it, and nothing is written."""
    output = tmp_path / options.pop("output", "a.gif")
    with pytest.raises(FiltertrackError) as error:
        animate(grey_run, output, **options)
    assert message in str(error.value)
    assert [p.name for p in tmp_path.iterdir()] == ["run"]


def test_the_size_that_is_named_as_needed_is_enough(grey_run, tmp_path):
    """Whoever follows the message gets a picture."""
    with pytest.raises(FiltertrackError, match="at least") as error:
        animate(grey_run, tmp_path / "a.gif", size=20)
    needed = int(str(error.value).split("at least ")[1].split(",")[0])
    assert animate(grey_run, tmp_path / "a.gif", size=needed).frames == 6


def test_the_size_that_is_named_is_enough_for_a_wide_matrix_too(make_run, conv_info, tmp_path):
    """Where gaps would grow with the size."""
    run = make_run(conv_info(kernel_shape=(1, 1, 8, 1024), bias=False), steps=range(2))
    with pytest.raises(FiltertrackError, match="at least") as error:
        animate(run, tmp_path / "a.png", size=640)
    needed = int(str(error.value).split("at least ")[1].split(",")[0])
    assert animate(run, tmp_path / "a.png", size=needed).shape[1] <= needed


def test_tall_grids_side_by_side_have_the_whole_height(make_run, conv_info, tmp_path):
    """Two matrices of 300 rows and 10 columns fit into 640 pixels."""
    info = conv_info(kernel_shape=(1, 1, 300, 10), bias=False)
    one, two = (make_run(info, steps=range(2), folder=name) for name in "ab")
    animation = animate(one, tmp_path / "a.png", compare=two, size=640)
    assert animation.shape[0] > 600, "twice magnified"


def test_runs_that_cannot_be_compared(make_run, conv_info, tmp_path):
    """The message says why: other filters, no such layer, no step in common."""
    one = make_run(conv_info(), steps=range(3), folder="one")
    other = {
        "has other filters": make_run(conv_info(kernel_shape=(5, 5, 1, 4)), folder="shape"),
        "no layer 'conv1'": make_run(conv_info("conv9"), folder="layer"),
        "no step in common": make_run(conv_info(), steps=[7, 8], folder="steps"),
    }
    for reason, run in other.items():
        with pytest.raises(FiltertrackError, match=reason):
            animate(one, tmp_path / "a.gif", compare=run)


def test_a_colormap_for_colour_filters_is_refused(colour_run, tmp_path):
    """They are drawn in their own colours."""
    with pytest.raises(FiltertrackError, match="leave the colormap out"):
        animate(colour_run, tmp_path / "a.gif", colormap="viridis")


def test_without_its_encoder_a_video_names_the_extra(grey_run, tmp_path):
    """One sentence, before anything is drawn."""
    code = (
        "import sys; sys.modules['av'] = None\n"
        "from filtertrack import FiltertrackError, animate\n"
        f"try:\n    animate({str(grey_run.path)!r}, {str(tmp_path / 'a.mp4')!r})\n"
        "except FiltertrackError as error:\n    print(error)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    )
    assert "pip install 'filtertrack[video]'" in result.stdout


def peak_megabytes(run, output):
    """Return the largest memory of a process of its own that makes an animation."""
    code = (
        "from filtertrack import animate\n"
        f"animate({str(run)!r}, {str(output)!r}, size=200)\n"
        "print(open('/proc/self/status').read())"  # ru_maxrss would be pytest's own, inherited
    )
    result = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    )
    return int(result.stdout.partition("VmHWM:")[2].split()[0]) / 1024


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's /proc")
@pytest.mark.slow
@pytest.mark.parametrize("ending", ["gif", "webp", "png", "mp4", "webm"])
def test_memory_does_not_grow_with_the_number_of_frames(make_run, conv_info, tmp_path, ending):
    """Ten times the snapshots take at most 5 MB more."""
    info = conv_info(kernel_shape=(7, 7, 3, 16), bias=False)
    short, long = (make_run(info, steps=range(n), folder=str(n)) for n in (200, 2000))
    few, many = (peak_megabytes(run.path, tmp_path / f"a.{ending}") for run in (short, long))
    assert many - few < 5, (few, many)


def test_a_run_that_is_still_being_written(grey_run, tmp_path):
    """Reading works while training writes: the snapshots there are, are shown."""
    reader = Run(grey_run.path)
    arrays = grey_run.snapshot(5).arrays
    assert animate(reader, tmp_path / "a.gif").frames == 6
    grey_run.append(Snapshot(Moment(6, 6), arrays))
    assert animate(reader, tmp_path / "a.gif").frames == 7


def outlined_film(*runs, layers, look=None, **options):
    """Return the film that ``animate`` draws of one run or of two, with outlines."""
    compare = runs[1] if len(runs) > 1 else None
    selection = select_from_run(runs[0], layers=layers, compare=compare)
    look = look or Look(outline=True)
    return AnimationFrames(selection, plan(selection.moments[0], Pace()), look, **options)


def around_cells(place, above):
    """Return of each cell of a grid where it is in a frame, and where the line around it is."""
    layout = place.layout
    wide, high = layout.width * layout.scale + layout.slices - 1, layout.height * layout.scale
    line = (layout.gap - 1) // 2
    assert line >= 1
    for number in range(layout.count):
        row, column = divmod(number, layout.columns)
        top = above + place.top + layout.gap + row * (high + layout.gap)
        left = place.left + layout.gap + column * (wide + layout.gap)
        inside = slice(top, top + high), slice(left, left + wide)
        rows, columns = np.mgrid[top - line : top + high + line, left - line : left + wide + line]
        outside = (rows < top) | (rows >= top + high) | (columns < left) | (columns >= left + wide)
        yield inside, (rows[outside], columns[outside])


def check_outlines(film, place, frame, names, theme="dark"):
    """See to it that the line around each cell of a grid has its label's colour."""
    look = THEMES[theme]
    for (_, line), name in zip(around_cells(place, film._head), names, strict=True):
        known = name in OUTLINED
        expected = look.outlines[OUTLINED.index(name)] if known else look.separator
        assert (frame[line] == expected).all(), name


@pytest.mark.parametrize("ending", ["gif", "png", "apng", "webp"])
@pytest.mark.parametrize("theme", THEMES)
def test_outlines_say_what_filters_are(planted_run, tmp_path, decoded, ending, theme):
    """In every decoded frame the line around each grey cell is its label's; weights are exact."""
    options = {"layers": "conv2", "outline": True, "theme": theme, "size": 300}
    animation = animate(planted_run, tmp_path / f"a.{ending}", **options)
    frames = pillow_frames(animation) if ending == "webp" else decoded(animation.path)
    film = outlined_film(
        planted_run, layers="conv2", look=Look(outline=True, theme=theme), side=300
    )
    (place,) = film._places
    assert animation.shape == film.shape
    scale, changes = place.layout.scale, []
    for frame, step in zip(frames, planted_run.steps, strict=True):
        kernels = planted_run.kernels("conv2", step)
        names = label(kernels).names
        check_outlines(film, place, frame, names, theme)
        levels = film.palette[to_levels(kernels, range_of_cells(kernels))]
        for (inside, _), cell in zip(around_cells(place, film._head), levels, strict=True):
            large = cell.repeat(scale, axis=0).repeat(scale, axis=1)
            np.testing.assert_array_equal(frame[inside], large)
        changes.append(names.tolist())
    assert changes[0] == ["unstructured"] * 4
    assert changes[-1] == ["edge", "edge", "blob", "edge"]
    assert len(set(map(str, changes))) == 4, "they change as filters form"


@pytest.mark.parametrize("ending", ["png", "webp"])
def test_outlines_around_colour_filters(planted_run, tmp_path, ending):
    """All four colours are there, around exact weights."""
    animation = animate(planted_run, tmp_path / f"a.{ending}", outline=True, size=400)
    film = outlined_film(planted_run, layers="conv1", side=400)
    (place,) = film._places
    for frame, step in zip(pillow_frames(animation), planted_run.steps, strict=True):
        kernels = planted_run.kernels("conv1", step)
        names = label(kernels).names
        check_outlines(film, place, frame, names)
        tones = to_rgb(kernels, range_of_cells(kernels))
        for (inside, _), cell in zip(around_cells(place, film._head), tones, strict=True):
            scale = place.layout.scale
            large = cell.repeat(scale, axis=0).repeat(scale, axis=1)
            np.testing.assert_array_equal(frame[inside], large)
    assert set(OUTLINED) < set(names)


def test_outlines_of_a_colour_gif_are_exact(planted_run, tmp_path, decoded):
    """Though its weights have 236 colours, outlines have their own; weights are as without."""
    frames = decoded(animate(planted_run, tmp_path / "a.gif", outline=True, size=400).path)
    film = outlined_film(planted_run, layers="conv1", side=400)
    plain = film_of(planted_run, 400)
    (place,) = film._places
    np.testing.assert_array_equal(film.palette, plain.palette)
    panel = LayerCells([planted_run], "conv1", planted_run.steps, Look())
    for number, (frame, step) in enumerate(zip(frames, planted_run.steps, strict=True)):
        check_outlines(film, place, frame, label(planted_run.kernels("conv1", step)).names)
        (group,) = panel.walk([number])
        (tones,) = plain._tones([group])
        for (inside, _), cell in zip(around_cells(place, film._head), tones, strict=True):
            small = frame[inside][:: place.layout.scale, :: place.layout.scale]
            np.testing.assert_array_equal(small, film.palette[cell])


@pytest.mark.parametrize("ending", ["mp4", "webm"])
def test_outlines_of_a_video_are_told_apart(planted_run, tmp_path, decoded, ending):
    """Compressed, and with half the colour: each is nearer to its own colour than to others."""
    frames = decoded(animate(planted_run, tmp_path / f"a.{ending}", outline=True).path)
    film = outlined_film(planted_run, layers="conv1", indexed=False, even=True)
    (place,) = film._places
    assert place.layout.gap % 2 == 0
    look = THEMES["dark"]
    colours = np.array([*look.outlines, look.separator], float)
    for frame, step in zip(frames, planted_run.steps, strict=True):
        names = label(planted_run.kernels("conv1", step)).names
        for (_, line), name in zip(around_cells(place, film._head), names, strict=True):
            away = np.linalg.norm(colours - frame[line].mean(axis=0), axis=1)
            expected = OUTLINED.index(name) if name in OUTLINED else 4
            assert away.argmin() == expected, (name, frame[line].mean(axis=0))


def test_outlines_of_several_layers_and_of_two_runs(planted_run, tmp_path):
    """Each grid has its own; a layer of 1x1 kernels beside them has none."""
    for options, runs in (
        ({"layers": ["conv1", "conv2"]}, [planted_run]),
        ({"layers": ["conv1"]}, [planted_run, planted_run]),
        ({"layers": ["conv2", "conv1"]}, [planted_run, planted_run]),
    ):
        compare = runs[1] if len(runs) > 1 else None
        animation = animate(
            planted_run, tmp_path / "a.png", outline=True, compare=compare, size=400, **options
        )
        film = outlined_film(*runs, side=400, **options)
        assert len(film._places) == len(runs) * len(options["layers"])
        layers = [name for name in options["layers"] for _ in runs]
        for frame, step in zip(pillow_frames(animation), planted_run.steps, strict=True):
            for place, layer in zip(film._places, layers, strict=True):
                names = label(planted_run.kernels(layer, step)).names
                check_outlines(film, place, frame, names)


def test_outlines_follow_two_different_runs(make_run, conv_info, tmp_path, rng):
    """The first run's labels are around the first run's filters."""
    info = conv_info(kernel_shape=(7, 7, 1, 6), bias=False)
    runs = [Run.create(tmp_path / name, [info]) for name in ("one", "two")]
    wave = np.cos(np.arange(7) * 2 * np.pi / 5)[:, None, None, None]
    for number, run in enumerate(runs):
        for step in range(2):
            kernel = 0.2 * rng.normal(size=info.kernel_shape)
            kernel[..., number::2] += wave
            run.append(Snapshot(Moment(step, step), {info.kernel: kernel.astype(np.float32)}))
    animation = animate(runs[0], tmp_path / "a.png", compare=runs[1], outline=True)
    film = outlined_film(*runs, layers="conv1")
    every = [label(run.kernels("conv1", 1)).names for run in runs]
    assert (every[0] != every[1]).any()
    last = pillow_frames(animation)[-1]
    for place, names in zip(film._places, every, strict=True):
        check_outlines(film, place, last, names)


def test_a_matrix_beside_filters_has_no_outline(make_run, conv_info, tmp_path):
    """It is one cell without a label; alone it is an error, which says so."""
    run = make_run(conv_info("matrix", (1, 1, 8, 5)), conv_info("conv1", (5, 5, 1, 4)))
    animation = animate(run, tmp_path / "a.png", layers=["matrix", "conv1"], outline=True)
    film = outlined_film(run, layers=["matrix", "conv1"])
    for frame in pillow_frames(animation):
        check_outlines(film, film._places[0], frame, ["unknown"])
    with pytest.raises(FiltertrackError, match=r"outline: 1x1 kernels.*leave it out"):
        animate(run, tmp_path / "b.png", layers="matrix", outline=True)
    assert not (tmp_path / "b.png").exists()


def test_slices_are_outlined_together(make_run, conv_info, tmp_path):
    """A filter of a 3-D kernel has one line around all of its slices."""
    info = conv_info(
        kernel_shape=(5, 7, 7, 1, 4), axes=(4, 1, 0, 2, 3), shape=(4, 7, 35, 1), bias=False
    )
    run = Run.create(tmp_path / "run", [info])
    wave = np.cos(np.arange(7) * 2 * np.pi / 5)[:, None, None, None]
    for step in range(2):
        kernel = np.random.default_rng(step).normal(size=info.kernel_shape)
        kernel[..., :2] += 5 * step * wave[..., 0, :]
        run.append(Snapshot(Moment(step, step), {info.kernel: kernel.astype(np.float32)}))
    frame = pillow_frames(animate(run, tmp_path / "a.png", outline=True))[-1]
    film = outlined_film(run, layers="conv1")
    (place,) = film._places
    assert place.layout.slices == 5
    (names,) = LayerCells([run], "conv1", [0, 1], Look()).labels(1)
    assert names.tolist() == ["edge", "edge", "unstructured", "unstructured"]
    check_outlines(film, place, frame, names)


def test_the_legend_counts_the_frames_labels(planted_run, tmp_path):
    """Of a single grid, in every frame; of several there is no count."""
    frames = pillow_frames(animate(planted_run, tmp_path / "a.png", outline=True, size=400))
    film = outlined_film(planted_run, layers="conv1", side=400)
    above = film._caption.height
    strips = []
    for frame, step in zip(frames, planted_run.steps, strict=True):
        counts = Counter(label(planted_run.kernels("conv1", step)).names.tolist())
        expected = film._plain[film._legend.draw(counts)]
        np.testing.assert_array_equal(frame[above : film._head], expected)
        strips.append(expected)
    assert (strips[0] != strips[-1]).any()
    several = pillow_frames(animate(planted_run, tmp_path / "b.png", layers="conv*", outline=True))
    film = outlined_film(planted_run, layers="conv*")
    expected = film._plain[Legend(film.shape[1]).draw()]
    for frame in several:
        np.testing.assert_array_equal(frame[film._caption.height : film._head], expected)


def test_between_snapshots_outlines_are_those_of_the_one_before(planted_run, tmp_path):
    """Interpolated weights have no label of their own."""
    options = {"layers": "conv2", "outline": True, "between": 1, "size": 300}
    frames = pillow_frames(animate(planted_run, tmp_path / "a.png", **options))
    film = outlined_film(planted_run, layers="conv2", side=300)
    (place,) = film._places
    assert len(frames) == 11
    for number, frame in enumerate(frames):
        step = planted_run.steps[number // 2]
        check_outlines(film, place, frame, label(planted_run.kernels("conv2", step)).names)


@pytest.mark.parametrize("look", [{"order": "label"}, {"filters": [4, 2, 7]}, {"delta": True}])
def test_outlines_go_with_their_filters(planted_run, tmp_path, look):
    """In whatever order they come, and of weights also where differences are drawn."""
    frames = pillow_frames(animate(planted_run, tmp_path / "a.png", outline=True, size=300, **look))
    film = outlined_film(planted_run, layers="conv1", look=Look(outline=True, **look), side=300)
    (place,) = film._places
    numbers = film._panels[0].numbers
    for frame, step in zip(frames, planted_run.steps, strict=True):
        names = label(planted_run.kernels("conv1", step)).names[numbers]
        check_outlines(film, place, frame, names)


def test_a_layer_without_filters_has_nothing_to_outline(make_run, conv_info, tmp_path):
    """As without outlines, it is an empty place."""
    run = make_run(conv_info("none", (3, 3, 1, 0), bias=False), conv_info())
    assert animate(run, tmp_path / "a.gif", layers=["none", "conv1"]).frames == 3
    assert animate(run, tmp_path / "a.gif", layers=["none", "conv1"], outline=True).frames == 3


def test_a_size_too_small_for_outlines_names_one_that_is_enough(grey_run, tmp_path):
    """Their lines need room, too."""
    with pytest.raises(FiltertrackError, match="at least") as error:
        animate(grey_run, tmp_path / "a.gif", size=36, outline=True)
    needed = int(str(error.value).split("at least ")[1].split(",")[0])
    assert animate(grey_run, tmp_path / "a.gif", size=needed, outline=True).frames == 6


def test_what_a_long_kernel_takes_is_said_before_anything_is_drawn(make_run, conv_info, tmp_path):
    """Its caption would be a million pixels wide, and its curves four times as many."""
    run = make_run(conv_info(kernel_shape=(1, 1_000_000, 1, 1), bias=False), steps=range(2))
    tracemalloc.start()
    with pytest.raises(FiltertrackError, match=r"GB of memory .*--huge"):
        animate(run, tmp_path / "a.png", delta=True, order="label")
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 30e6
    assert not (tmp_path / "a.png").exists()


def test_options_may_be_iterators(run):
    """They name the file and choose what is drawn: each is read twice."""
    made = animate(run, filters=(n for n in (0, 1)), steps=iter([0, 2]), layers=iter(["conv1"]))
    assert made.path.name == "evolution-conv1-steps-0,2-filters-0,1.gif"
    assert made.frames == 2
