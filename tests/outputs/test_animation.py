"""What `animate` draws for its options."""

from pathlib import Path

import numpy as np
import pytest

from filtertrack import Moment, Snapshot, animate
from filtertrack.outputs.run_selection import select_from_run
from filtertrack.render.caption import Caption
from filtertrack.render.look import Look
from filtertrack.render.palette import LEVELS, SEPARATOR, grid_palette


def test_a_constant_filter_does_not_flicker(make_run, conv_info, tmp_path, decoded, frames_of):
    """It looks the same in every frame while others change."""
    info = conv_info(kernel_shape=(5, 5, 3, 4), bias=False)
    run = make_run(info, steps=[0])
    start = run.snapshot(0).arrays["conv1/kernel"]
    for step in range(1, 6):
        moved = start + step * np.random.default_rng(step).normal(size=start.shape)
        moved[..., 0] = start[..., 0]
        run.append(Snapshot(Moment(step, step), {"conv1/kernel": moved.astype(np.float32)}))
    drawing = frames_of(run, 320)
    frames = decoded(animate(run, tmp_path / "a.gif", size=320).path)
    (grid,) = drawing._grids
    side, top, left = (
        5 * grid.layout.scale,
        drawing._header.caption.height + grid.layout.gap,
        grid.left + grid.layout.gap,
    )
    cell = frames[:, top : top + side, left : left + side]
    assert (cell == cell[0]).all()
    assert (frames[0] != frames[1]).any()


@pytest.mark.parametrize("scale", ["filter", "layer"])
def test_a_range_over_the_run_is_reached_in_some_frame(grey_run, scale, frames_of):
    """But not in every frame."""
    drawing = frames_of(grey_run, 320, Look(scale=scale))
    above = drawing._header.caption.height
    weights = [p[above:][p[above:] < LEVELS] for p in drawing.pictures()]
    reached = [(w.min(), w.max()) for w in weights]
    assert min(low for low, _ in reached) == 0
    assert max(high for _, high in reached) == LEVELS - 1
    if scale == "layer":
        assert reached[0] != (0, LEVELS - 1)


def test_delta_starts_from_mid_grey(grey_run, tmp_path, pillow_frames):
    """The caption says that differences are drawn."""
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
def test_the_headline_names_the_channels(colour_run, channels, title, frames_of):
    """Only where they are given."""
    drawing = frames_of(colour_run, 640, Look(channels=channels), indexed=True)
    moments = select_from_run(colour_run).moments
    logs = [[moment.metrics for moment in run] for run in moments]
    caption = Caption(title, moments[0], logs, drawing.timeline.knots, drawing.shape[1])
    first = next(iter(drawing.pictures()))
    np.testing.assert_array_equal(first[: caption.height], caption.draw(0))


def test_interpolated_frames_are_means_and_the_headline_says_so(grey_run, tmp_path, pillow_frames):
    """One between each two of six snapshots makes eleven."""
    plain = animate(grey_run, tmp_path / "a.webp", scale="layer")
    smooth = animate(grey_run, tmp_path / "b.webp", scale="layer", between=1)
    assert (plain.frames, smooth.frames) == (6, 11)
    frames = pillow_frames(smooth)
    snapshots = pillow_frames(plain)
    np.testing.assert_array_equal(frames[2][-300:], snapshots[1][-300:])
    mean = (snapshots[0][-300:].astype(int) + snapshots[1][-300:]) / 2
    assert np.abs(frames[1][-300:] - mean).max() <= 1.5
    assert (frames[0][:30] != snapshots[0][:30]).any()


def test_two_runs_are_drawn_side_by_side(  # noqa: PLR0917 - fixtures
    make_run, conv_info, tmp_path, caplog, pillow_frames, frames_of
):
    """On one scale, at their common steps."""
    info = conv_info(kernel_shape=(5, 5, 1, 4), bias=False)
    one = make_run(info, steps=range(5), folder="one")
    two = make_run(info, steps=range(0, 8, 2), folder="two")
    animation = animate(one, tmp_path / "a.webp", compare=two.path, scale="layer", size=400)
    frames = pillow_frames(animation)
    assert len(frames) == 3, "steps 0, 2 and 4"
    assert "comparing the 3 steps that both runs have, of 5 and 4" in caplog.text
    drawing = frames_of(one, 200, Look(scale="layer"))
    assert animation.shape[1] >= 2 * drawing._grids[0].layout.shape[1]
    every = np.stack([run.kernels("conv1", s) for run in (one, two) for s in (0, 2, 4)])
    assert every.min() < every.max()
    both = [f[-150:, :196] for f in frames], [f[-150:, 204:] for f in frames]
    darkest = [min(f[f[..., 0] == f[..., 2]].min() for f in half) for half in both]
    lightest = [max(f[f[..., 0] == f[..., 2]].max() for f in half) for half in both]
    assert min(darkest) == 0
    assert max(lightest) == 255
    assert max(darkest) > 0 or min(lightest) < 255, "one scale for both"


def test_several_layers_are_drawn_in_one_frame(run, tmp_path):
    """Selected by names or by a pattern."""
    one = animate(run, tmp_path / "a.webp", layers="conv1")
    two = animate(run, tmp_path / "b.webp", layers=["conv1", "conv2"])
    same = animate(run, tmp_path / "c.webp", layers="conv*")
    assert two.shape[1] > one.shape[1]
    assert Path(two).read_bytes() == Path(same).read_bytes()


@pytest.mark.parametrize("order", ["similarity", "orientation", "drift"])
def test_an_order_moves_whole_filters(colour_run, tmp_path, order, pillow_frames, frames_of):
    """The pixel counts stay."""
    above = frames_of(colour_run, 640)._header.caption.height
    stored = pillow_frames(animate(colour_run, tmp_path / "a.webp"))[-1][above:]
    moved = pillow_frames(animate(colour_run, tmp_path / "b.webp", order=order))[-1][above:]
    assert (stored != moved).any()
    for channel in range(3):
        np.testing.assert_array_equal(
            np.bincount(stored[..., channel].ravel(), minlength=256),
            np.bincount(moved[..., channel].ravel(), minlength=256),
        )


def test_filters_steps_columns_and_theme(colour_run, tmp_path, pillow_frames):
    """Four of 16 filters in one row, three of five steps, a white background."""
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
def test_unusual_layers_have_an_animation(make_run, conv_info, tmp_path, decoded, kernel_shape):
    """1x1, deep and many filters, two channels, one row: one frame a snapshot."""
    run = make_run(conv_info(kernel_shape=kernel_shape), steps=range(3))
    for ending in ("gif", "mp4"):
        frames = decoded(animate(run, tmp_path / f"a.{ending}", size=300).path)
        assert len(frames) == 3
        assert max(frames.shape[1:3]) <= 460


def test_non_finite_weights_are_drawn_magenta(make_run, conv_info, tmp_path, decoded):
    run = make_run(conv_info(kernel_shape=(3, 3, 3, 4), bias=False), steps=range(2))
    broken = run.snapshot(1).arrays["conv1/kernel"].copy()
    broken[0, 0] = np.nan
    broken[..., 3] = np.inf
    run.append(Snapshot(Moment(2, 2), {"conv1/kernel": broken}))
    last = decoded(animate(run, tmp_path / "a.gif", size=300, between=2).path)[-1]
    assert (last == (255, 0, 170)).all(axis=-1).any()


def test_progress_counts_every_frame(grey_run, tmp_path):
    seen = []
    animate(grey_run, tmp_path / "a.gif", progress=lambda *done: seen.append(done))
    assert seen == [(n, 6) for n in range(1, 7)]


def test_a_damaged_snapshot_is_left_out(grey_run, tmp_path, caplog):
    """The log names its file."""
    file = grey_run.file(2)
    file.write_bytes(file.read_bytes()[:-30])
    assert animate(grey_run, tmp_path / "a.gif").frames == 5
    assert f"left out step 2: damaged file '{file}'" in caplog.text


def test_tall_grids_side_by_side_have_the_whole_height(make_run, conv_info, tmp_path):
    """Two matrices of 300 rows and 10 columns fit into 640 pixels."""
    info = conv_info(kernel_shape=(1, 1, 300, 10), bias=False)
    one, two = (make_run(info, steps=range(2), folder=name) for name in "ab")
    animation = animate(one, tmp_path / "a.png", compare=two, size=640)
    assert animation.shape[0] > 600, "magnified twice"


def test_options_may_be_iterators(run):
    """Each is needed twice: for the name of the file and for the selection."""
    made = animate(run, filters=(n for n in (0, 1)), steps=iter([0, 2]), layers=iter(["conv1"]))
    assert made.path.name == "evolution-conv1-steps-0,2-filters-0,1.gif"
    assert made.frames == 2
