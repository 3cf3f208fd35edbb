"""Outlines and the legend of animations."""

from collections import Counter

import numpy as np
import pytest

from filtertrack import FiltertrackError, Moment, Run, Snapshot, animate
from filtertrack.measures import label
from filtertrack.outputs.animation_pace import Pace
from filtertrack.outputs.frames import AnimationFrames
from filtertrack.outputs.run_selection import select_from_run
from filtertrack.outputs.timeline import plan
from filtertrack.render.caption import Legend
from filtertrack.render.grid import to_levels, to_rgb
from filtertrack.render.look import Look
from filtertrack.render.palette import OUTLINED, THEMES
from filtertrack.render.value_range import range_of_cells

STEPS = [0, 20]
"""Before and after the filters of the planted run have formed."""


def outlined_frames(*runs, layers, look=None, between=0, **options):
    """Return the frames that ``animate`` draws of one run or of two, with outlines."""
    compare = runs[1] if len(runs) > 1 else None
    selection = select_from_run(runs[0], layers=layers, compare=compare)
    look = look or Look(outline=True)
    timeline = plan(selection.moments[0], Pace(between=between))
    return AnimationFrames(selection, timeline, look, **options)


def around_cells(grid, above):
    """Yield for each cell of a grid its pixels in a frame, and those of the line around it."""
    layout = grid.layout
    wide, high = layout.width * layout.scale + layout.slices - 1, layout.height * layout.scale
    line = (layout.gap - 1) // 2
    assert line >= 1
    for number in range(layout.count):
        row, column = divmod(number, layout.columns)
        top = above + grid.top + layout.gap + row * (high + layout.gap)
        left = grid.left + layout.gap + column * (wide + layout.gap)
        if layout.together > 1:  # the space between filters is four gaps
            left += 3 * layout.gap * (column // layout.together)
        inside = slice(top, top + high), slice(left, left + wide)
        rows, columns = np.mgrid[top - line : top + high + line, left - line : left + wide + line]
        outside = (rows < top) | (rows >= top + high) | (columns < left) | (columns >= left + wide)
        yield inside, (rows[outside], columns[outside])


def check_outlines(drawing, grid, frame, names, theme="dark"):
    """Check that the line around each cell of a grid has the colour of its label."""
    look = THEMES[theme]
    for (_, line), name in zip(around_cells(grid, drawing._header.height), names, strict=True):
        known = name in OUTLINED
        expected = look.outlines[OUTLINED.index(name)] if known else look.separator
        assert (frame[line] == expected).all(), name


@pytest.mark.parametrize(
    ("ending", "theme"), [("gif", "dark"), ("png", "light"), ("apng", "dark"), ("webp", "light")]
)
def test_outlines_have_the_colour_of_the_label(  # noqa: PLR0917 - fixtures
    planted_run, tmp_path, decoded, ending, theme, pillow_frames
):
    """As decoded; grey weights are exact."""
    options = {"layers": "conv2", "outline": True, "theme": theme, "size": 300}
    animation = animate(planted_run, tmp_path / f"a.{ending}", **options)
    frames = pillow_frames(animation) if ending == "webp" else decoded(animation.path)
    drawing = outlined_frames(
        planted_run, layers="conv2", look=Look(outline=True, theme=theme), side=300
    )
    (grid,) = drawing._arranged.grids
    assert animation.shape == drawing.shape
    scale, changes = grid.layout.scale, []
    for frame, step in zip(frames, planted_run.steps, strict=True):
        kernels = planted_run.kernels("conv2", step)
        names = label(kernels).names
        check_outlines(drawing, grid, frame, names, theme)
        levels = drawing.palette[to_levels(kernels, range_of_cells(kernels))]
        for (inside, _), cell in zip(
            around_cells(grid, drawing._header.height), levels, strict=True
        ):
            large = cell.repeat(scale, axis=0).repeat(scale, axis=1)
            np.testing.assert_array_equal(frame[inside], large)
        changes.append(names.tolist())
    assert changes[0] == ["unstructured"] * 4
    assert changes[-1] == ["edge", "edge", "blob", "edge"]
    assert len(set(map(str, changes))) == 4, "labels change as filters form"


@pytest.mark.parametrize("ending", ["png", "webp"])
def test_outlines_around_colour_filters(planted_run, tmp_path, ending, pillow_frames):
    """The colour of each label, around exact weights."""
    animation = animate(planted_run, tmp_path / f"a.{ending}", outline=True, size=400)
    drawing = outlined_frames(planted_run, layers="conv1", side=400)
    (grid,) = drawing._arranged.grids
    for frame, step in zip(pillow_frames(animation), planted_run.steps, strict=True):
        kernels = planted_run.kernels("conv1", step)
        names = label(kernels).names
        check_outlines(drawing, grid, frame, names)
        tones = to_rgb(kernels, range_of_cells(kernels))
        for (inside, _), cell in zip(
            around_cells(grid, drawing._header.height), tones, strict=True
        ):
            scale = grid.layout.scale
            large = cell.repeat(scale, axis=0).repeat(scale, axis=1)
            np.testing.assert_array_equal(frame[inside], large)
    assert {"edge", "blob", "colour blob", "other structure"} < set(names)


def test_outlines_of_a_colour_gif_are_exact(planted_run, tmp_path, decoded, frames_of, repainted):
    """They have palette entries of their own; weights are as without outlines."""
    frames = decoded(animate(planted_run, tmp_path / "a.gif", outline=True, size=400).path)
    drawings = outlined_frames(planted_run, layers="conv1", side=400), frames_of(planted_run, 400)
    each = zip(frames, repainted(drawings[1]), planted_run.steps, strict=True)
    for outlined, plain, step in each:
        labels = label(planted_run.kernels("conv1", step)).names
        check_outlines(drawings[0], drawings[0]._arranged.grids[0], outlined, labels)
        one, other = (weights_of(*pair) for pair in zip(drawings, (outlined, plain), strict=True))
        np.testing.assert_array_equal(one, other)


def weights_of(drawing, frame):
    """Return the shown colours of the only grid's weights, in a picture without lines."""
    (grid,) = drawing._arranged.grids
    top, left = drawing._header.height + grid.top, grid.left
    rows, columns = (
        np.unique(lines, return_index=True)[1][:-1]  # the last line is that of the gaps
        for lines in (grid.layout._weight_rows, grid.layout._weight_columns)
    )
    return frame[np.ix_(top + rows, left + columns)]


@pytest.mark.parametrize("ending", ["mp4", "webm"])
def test_outlines_of_a_video_are_distinguishable(planted_run, tmp_path, decoded, ending):
    """After compression each is nearest to its own colour."""
    options = {"outline": True, "hold": (0, 0)}
    frames = decoded(animate(planted_run, tmp_path / f"a.{ending}", **options).path)
    drawing = outlined_frames(planted_run, layers="conv1", indexed=False, even=True)
    (grid,) = drawing._arranged.grids
    assert grid.layout.gap % 2 == 0
    look = THEMES["dark"]
    colours = np.array([*look.outlines, look.separator], float)
    for frame, step in zip(frames, planted_run.steps, strict=True):
        names = label(planted_run.kernels("conv1", step)).names
        for (_, line), name in zip(around_cells(grid, drawing._header.height), names, strict=True):
            away = np.linalg.norm(colours - frame[line].mean(axis=0), axis=1)
            expected = OUTLINED.index(name) if name in OUTLINED else len(OUTLINED)
            assert away.argmin() == expected, (name, frame[line].mean(axis=0))


def test_each_grid_has_its_own_outlines(planted_run, tmp_path, pillow_frames):
    """Of several layers, of two runs, and of both."""
    for options, runs in (
        ({"layers": ["conv1", "conv2"]}, [planted_run]),
        ({"layers": ["conv1"]}, [planted_run, planted_run]),
        ({"layers": ["conv2", "conv1"]}, [planted_run, planted_run]),
    ):
        compare = runs[1] if len(runs) > 1 else None
        given = {"outline": True, "compare": compare, "size": 400, "steps": STEPS, **options}
        animation = animate(planted_run, tmp_path / "a.png", **given)
        drawing = outlined_frames(*runs, side=400, **options)
        assert len(drawing._arranged.grids) == len(runs) * len(options["layers"])
        layers = [name for name in options["layers"] for _ in runs]
        for frame, step in zip(pillow_frames(animation), STEPS, strict=True):
            for grid, layer in zip(drawing._arranged.grids, layers, strict=True):
                names = label(planted_run.kernels(layer, step)).names
                check_outlines(drawing, grid, frame, names)


def test_outlines_of_two_different_runs_are_not_mixed_up(
    make_run, conv_info, tmp_path, rng, pillow_frames
):
    info = conv_info(kernel_shape=(7, 7, 1, 6), bias=False)
    runs = [Run.create(tmp_path / name, [info]) for name in ("one", "two")]
    wave = np.cos(np.arange(7) * 2 * np.pi / 5)[:, None, None, None]
    for number, run in enumerate(runs):
        for step in range(2):
            kernel = 0.2 * rng.normal(size=info.kernel_shape)
            kernel[..., number::2] += wave
            run.append(Snapshot(Moment(step, step), {info.kernel: kernel.astype(np.float32)}))
    animation = animate(runs[0], tmp_path / "a.png", compare=runs[1], outline=True)
    drawing = outlined_frames(*runs, layers="conv1")
    every = [label(run.kernels("conv1", 1)).names for run in runs]
    assert (every[0] != every[1]).any()
    last = pillow_frames(animation)[-1]
    drawn = [every[0], every[0], every[1], every[1]]  # both parts of each run
    for grid, names in zip(drawing._arranged.grids, drawn, strict=True):
        check_outlines(drawing, grid, last, names)


def test_a_matrix_beside_filters_has_no_outline(make_run, conv_info, tmp_path, pillow_frames):
    """Alone it is an error."""
    run = make_run(conv_info("matrix", (1, 1, 8, 5)), conv_info("conv1", (5, 5, 1, 4)))
    animation = animate(run, tmp_path / "a.png", layers=["matrix", "conv1"], outline=True)
    drawing = outlined_frames(run, layers=["matrix", "conv1"])
    for frame in pillow_frames(animation):
        check_outlines(drawing, drawing._arranged.grids[0], frame, ["unknown"])
    with pytest.raises(FiltertrackError, match=r"outline: 1x1 kernels.*leave it out"):
        animate(run, tmp_path / "b.png", layers="matrix", outline=True)
    assert not (tmp_path / "b.png").exists()


def test_slices_are_outlined_together(make_run, conv_info, tmp_path, pillow_frames, layer_of):
    """One line around all slices of a filter of a 3-D kernel."""
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
    drawing = outlined_frames(run, layers="conv1")
    (grid,) = drawing._arranged.grids
    assert grid.layout.slices == 5
    names = layer_of(run, [0, 1]).labels(1)
    assert names.tolist() == ["edge", "edge", "unstructured", "unstructured"]
    check_outlines(drawing, grid, frame, names)


def test_the_legend_counts_the_labels_of_a_frame(planted_run, tmp_path, pillow_frames):
    """Of a single grid; with several there are no counts."""
    frames = pillow_frames(animate(planted_run, tmp_path / "a.png", outline=True, size=400))
    drawing = outlined_frames(planted_run, layers="conv1", side=400)
    above = drawing._header.caption.height
    legends = []
    for frame, step in zip(frames, planted_run.steps, strict=True):
        counts = Counter(label(planted_run.kernels("conv1", step)).names.tolist())
        expected = drawing.base_palette[drawing._header.legend.draw(counts)]
        np.testing.assert_array_equal(frame[above : drawing._header.height], expected)
        legends.append(expected)
    assert (legends[0] != legends[-1]).any()
    several = pillow_frames(animate(planted_run, tmp_path / "b.png", layers="conv*", outline=True))
    drawing = outlined_frames(planted_run, layers="conv*")
    expected = drawing.base_palette[Legend(drawing.shape[1]).draw()]
    for frame in several:
        np.testing.assert_array_equal(
            frame[drawing._header.caption.height : drawing._header.height], expected
        )


@pytest.mark.parametrize(("columns", "positions"), [(None, (3, 8)), (2, (6, 4))])
def test_all_channels_of_a_filter_have_its_outline(
    planted_run, tmp_path, pillow_frames, columns, positions
):
    """The legend counts it once; ``columns`` are filters in a row."""
    look = Look(outline=True, channels="all")
    options = {"outline": True, "channels": "all", "size": 600, "columns": columns}
    frames = pillow_frames(animate(planted_run, tmp_path / "a.png", **options))
    drawing = outlined_frames(planted_run, layers="conv1", look=look, side=600, columns=columns)
    (grid,) = drawing._arranged.grids
    assert (grid.layout.columns, grid.layout.rows) == positions
    above = drawing._header.caption.height
    for frame, step in zip(frames, planted_run.steps, strict=True):
        names = label(planted_run.kernels("conv1", step)).names
        check_outlines(drawing, grid, frame, names.repeat(3))
        expected = drawing.base_palette[drawing._header.legend.draw(Counter(names.tolist()))]
        np.testing.assert_array_equal(frame[above : drawing._header.height], expected)


def test_outlines_between_snapshots_are_those_of_the_one_before(
    planted_run, tmp_path, pillow_frames
):
    options = {"layers": "conv2", "outline": True, "between": 1, "size": 300}
    frames = pillow_frames(animate(planted_run, tmp_path / "a.png", **options))
    drawing = outlined_frames(planted_run, layers="conv2", side=300, between=1)
    (grid,) = drawing._arranged.grids
    assert len(frames) == 11
    for number, frame in enumerate(frames):
        step = planted_run.steps[number // 2]
        check_outlines(drawing, grid, frame, label(planted_run.kernels("conv2", step)).names)


@pytest.mark.parametrize("look", [{"order": "label"}, {"filters": [4, 2, 7]}, {"delta": True}])
def test_outlines_follow_order_and_selection(planted_run, tmp_path, look, pillow_frames):
    """With ``delta`` they are labels of the weights."""
    frames = pillow_frames(animate(planted_run, tmp_path / "a.png", outline=True, size=300, **look))
    drawing = outlined_frames(
        planted_run, layers="conv1", look=Look(outline=True, **look), side=300
    )
    (grid,) = drawing._arranged.grids
    numbers = drawing._layers[0].numbers
    for frame, step in zip(frames, planted_run.steps, strict=True):
        names = label(planted_run.kernels("conv1", step)).names[numbers]
        check_outlines(drawing, grid, frame, names)


def test_a_layer_without_filters_has_no_outline(make_run, conv_info, tmp_path):
    """It is one empty cell."""
    run = make_run(conv_info("none", (3, 3, 1, 0), bias=False), conv_info())
    assert animate(run, tmp_path / "a.gif", layers=["none", "conv1"]).frames == 3
    assert animate(run, tmp_path / "a.gif", layers=["none", "conv1"], outline=True).frames == 3


def test_the_size_named_in_the_error_is_enough_for_outlines(grey_run, tmp_path):
    with pytest.raises(FiltertrackError, match="at least") as error:
        animate(grey_run, tmp_path / "a.gif", size=36, outline=True)
    needed = int(str(error.value).split("at least ")[1].split(",")[0])
    assert animate(grey_run, tmp_path / "a.gif", size=needed, outline=True).frames == 6
