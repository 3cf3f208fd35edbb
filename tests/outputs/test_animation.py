"""What `animate` draws for its options."""

from pathlib import Path

import numpy as np
import pytest

from filtertrack import Moment, Run, Snapshot, animate
from filtertrack.outputs.animation_pace import Pace
from filtertrack.outputs.frames import AnimationFrames
from filtertrack.outputs.run_selection import select_from_run
from filtertrack.outputs.timeline import plan
from filtertrack.render.caption import Caption
from filtertrack.render.look import Look
from filtertrack.render.palette import LEVELS, SEPARATOR, grid_palette
from filtertrack.render.sparkline import Axis


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
    (grid,) = drawing._arranged.grids
    side, top, left = (
        5 * grid.layout.scale,
        drawing._header.caption.height + grid.layout.gap,
        grid.left + grid.layout.gap,
    )
    cell = frames[:, top : top + side, left : left + side]
    assert (cell == cell[0]).all()
    assert (frames[0] != frames[1]).any()


@pytest.mark.parametrize("scale", ["filter", "layer"])
def test_a_range_over_the_run_is_reached_in_some_frame(grey_run, scale, frames_of, grid_in):
    """But not in every frame."""
    drawing = frames_of(grey_run, 320, Look(scale=scale))
    grids = [grid_in(drawing, picture) for picture in drawing.pictures()]
    weights = [grid[grid < LEVELS] for grid in grids]
    reached = [(w.min(), w.max()) for w in weights]
    assert min(low for low, _ in reached) == 0
    assert max(high for _, high in reached) == LEVELS - 1
    if scale == "layer":
        assert reached[0] != (0, LEVELS - 1)


@pytest.mark.parametrize(
    ("colormap", "middle"), [(None, (247, 246, 246)), ("gray", (128, 128, 128))]
)
def test_delta_starts_from_the_colour_of_zero(  # noqa: PLR0917 - fixtures
    grey_run, tmp_path, pillow_frames, frames_of, grid_in, colormap, middle
):
    """White by default; the caption says that differences are drawn."""
    plain = pillow_frames(animate(grey_run, tmp_path / "a.webp", size=400))[0]
    options = {"delta": True, "colormap": colormap}
    first = pillow_frames(animate(grey_run, tmp_path / "b.webp", size=400, **options))[0]
    grid = grid_in(frames_of(grey_run, 400, Look(**options)), first)
    separator = tuple(grid_palette()[SEPARATOR])
    inside = grid[(grid != separator).any(axis=-1)]
    assert set(map(tuple, inside.tolist())) == {middle}
    assert (plain[:30] != first[:30]).any(), "the headline"


@pytest.mark.parametrize(
    ("channels", "title"),
    [
        (None, "conv1"),
        (2, "conv1 · channel 2"),
        ("strongest", "conv1 · strongest pattern of 3 channels, on average {:.0%} of a filter"),
        ("all", "conv1 · a cell a channel: 3 channels"),
        ("bgr", "conv1 · channels 2 red, 1 green, 0 blue"),
    ],
    ids=str,
)
def test_the_headline_names_the_channels(colour_run, channels, title, frames_of):
    """Only where they are given."""
    drawing = frames_of(colour_run, 640, Look(channels=channels), indexed=True)
    values = np.linalg.svd(colour_run.kernels("conv1", 4).reshape(16, 49, 3), compute_uv=False)
    title = title.format((values[:, 0] ** 2 / np.square(values).sum(axis=1)).mean())
    moments = select_from_run(colour_run).moments
    logs = [[moment.metrics for moment in run] for run in moments]
    timeline = drawing.timeline
    axis = Axis(timeline.knots, timeline.axis, timeline.epochs)
    caption = Caption(title, moments[0], logs, axis, drawing.shape[1])
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


@pytest.fixture
def two_runs(make_run, conv_info):
    """Two runs of four 5x5 filters; the weights of the second are three times as large."""
    info = conv_info(kernel_shape=(5, 5, 1, 4), bias=False)
    one = make_run(info, steps=range(5), folder="one")
    two = Run.create(one.path.parent / "two", [info])
    for step in range(0, 8, 2):
        kernel = 3 * np.roll(one.snapshot(min(step, 4)).arrays[info.kernel], 2, axis=3)
        two.append(Snapshot(Moment(step, step), {info.kernel: kernel}))
    return one, two


@pytest.mark.parametrize("scale", ["frame", "filter", "layer"])
@pytest.mark.parametrize("one_scale", [False, True])
def test_two_runs_are_drawn_side_by_side(  # noqa: PLR0917 - fixtures
    two_runs, tmp_path, caplog, pillow_frames, scale, one_scale
):
    """Each on its own scale, or both on one, at their common steps."""
    one, two = two_runs
    options = {"scale": scale, "delta": False}
    made = animate(
        one, tmp_path / "a.webp", compare=two.path, size=400, one_scale=one_scale, **options
    )
    assert "comparing the 3 steps that both runs have, of 5 and 4" in caplog.text
    selection = select_from_run(one, compare=two)
    drawing = AnimationFrames(
        selection, plan(selection.moments[0], Pace()), Look(**options), side=400
    )
    assert made.shape == drawing.shape
    cells = np.array([[run.kernels("conv1", step) for step in (0, 2, 4)] for run in (one, two)])
    axes = {"frame": (3, 4, 5), "filter": (1, 3, 4, 5), "layer": (1, 2, 3, 4, 5)}[scale]
    axes = (0, *axes) if one_scale else axes
    low, high = (f(cells.astype(float), axis=axes, keepdims=True) for f in (np.min, np.max))
    unit = (cells - low) / (high - low)
    frames = pillow_frames(made)
    assert len(frames) == 3, "steps 0, 2 and 4"
    for number, frame in enumerate(frames):
        for run, grid in enumerate(drawing._arranged.grids):
            layout = grid.layout
            for filter_, row, column in np.ndindex(4, 5, 5):
                down, across = divmod(filter_, layout.columns)
                pitch = 5 * layout.scale + layout.gap
                top = drawing._header.height + grid.top + layout.gap + down * pitch
                left = grid.left + layout.gap + across * pitch
                pixel = frame[top + row * layout.scale, left + column * layout.scale]
                expected = round(234 * unit[run, number, filter_, row, column, 0]) * 255 / 234
                assert pixel.tolist() == [round(expected)] * 3


def test_orders_are_each_runs_own(two_runs, frames_of):
    """The filters that have turned farthest in each run, not those of the first."""
    one, two = two_runs
    selection = select_from_run(one, compare=two)
    timeline = plan(selection.moments[0], Pace())
    drawing = AnimationFrames(selection, timeline, Look(order="drift", delta=False))
    alone = AnimationFrames(select_from_run(two, steps=[0, 2, 4]), timeline, Look(order="drift"))
    first, second = (layer.numbers for layer in drawing._layers)
    assert second == alone._layers[0].numbers
    assert second == [(number + 2) % 4 for number in first]
    assert first != second


def test_several_layers_are_drawn_in_one_frame(run, tmp_path):
    """Selected by names or by a pattern."""
    one = animate(run, tmp_path / "a.webp", layers="conv1", delta=False)
    two = animate(run, tmp_path / "b.webp", layers=["conv1", "conv2"], delta=False)
    same = animate(run, tmp_path / "c.webp", layers="conv*", delta=False)
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
    assert height < width


@pytest.mark.parametrize(
    "kernel_shape", [(1, 1, 8, 5), (3, 3, 16, 100), (5, 5, 2, 3), (1, 7, 1, 2)], ids=str
)
def test_unusual_layers_have_an_animation(make_run, conv_info, tmp_path, decoded, kernel_shape):
    """1x1, deep and many filters, two channels, one row: one frame a snapshot."""
    run = make_run(conv_info(kernel_shape=kernel_shape), steps=range(3))
    for ending in ("gif", "mp4"):
        frames = decoded(animate(run, tmp_path / f"a.{ending}", size=300, hold=(0, 0)).path)
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
