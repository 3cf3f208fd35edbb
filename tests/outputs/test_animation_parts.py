"""Animations of two parts: the filters, and beside them what training has added."""

import numpy as np
import pytest

from filtertrack import animate
from filtertrack.outputs.animation_pace import Pace
from filtertrack.outputs.frames import AnimationFrames
from filtertrack.outputs.run_selection import select_from_run
from filtertrack.outputs.timeline import plan
from filtertrack.render.cells import strongest_pattern
from filtertrack.render.look import Look
from filtertrack.render.palette import (
    FIRST,
    LEVELS,
    SEPARATOR,
    TEXT,
    colormap_levels,
    theme_palette,
)
from filtertrack.render.scale_bar import BarTexts, draw_scale_bar
from filtertrack.render.text import PLAIN, QUIET, font, line

OWN = "each filter has its own fixed scale"
LOWEST, CHANGE = BarTexts("lowest", "", "highest"), BarTexts("decreased", "0", "increased")


@pytest.fixture
def small_run(make_run, conv_info):
    """A run of 6 one-channel filters of 3x3 at five steps."""
    return make_run(conv_info(kernel_shape=(3, 3, 1, 6), bias=False), steps=range(5))


def compared_frames(one, other, look=None, **options):
    """Return the frames that ``animate`` draws of two runs."""
    selection = select_from_run(one, compare=other)
    return AnimationFrames(selection, plan(selection.moments[0], Pace()), look or Look(), **options)


def cells_of(drawing, grid):
    """Return the pixel in the middle of each weight of a grid: ``(cells, height, width, …)``."""
    layout = drawing._arranged.grids[0].layout
    rows = [
        layout.gap + down * (layout.height * layout.scale + layout.gap) + y * layout.scale
        for down in range(layout.rows)
        for y in range(layout.height)
    ]
    columns = [
        layout.gap + across * (layout.width * layout.scale + layout.gap) + x * layout.scale
        for across in range(layout.columns)
        for x in range(layout.width)
    ]
    picked = grid[np.ix_(np.array(rows) + layout.scale // 2, np.array(columns) + layout.scale // 2)]
    shape = layout.rows, layout.height, layout.columns, layout.width
    cells = picked.reshape(*shape, *grid.shape[2:]).swapaxes(1, 2)
    return cells.reshape(-1, layout.height, layout.width, *grid.shape[2:])[: layout.count]


def titled(drawing, frame, number, text, ramp=TEXT):
    """Return whether a title is above a grid of a frame."""
    grid, arranged = drawing._arranged.grids[number], drawing._arranged
    drawn = line(text, font(arranged.font), ramp, QUIET if ramp == TEXT else PLAIN)
    top = drawing._header.height + grid.top - arranged.title
    left = grid.left + grid.layout.gap
    found = frame[top : top + drawn.shape[0], left : left + drawn.shape[1]]
    expected = drawing.base_palette[drawn]
    return found.shape == expected.shape and (found == expected).all()


@pytest.mark.parametrize("ending", ["gif", "png", "webp"])
@pytest.mark.parametrize("theme", ["dark", "light"])
def test_both_parts_are_exact(  # noqa: PLR0917 - fixtures
    small_run, tmp_path, ending, theme, pillow_frames, frames_of, grid_in
):
    """Each weight has its grey, and each change its colour, in half of the entries."""
    made = animate(small_run, tmp_path / f"a.{ending}", size=600, theme=theme)
    drawing = frames_of(small_run, 600, Look(theme=theme))
    assert made.shape == drawing.shape
    kernels = np.array([small_run.kernels("conv1", step) for step in range(5)], np.float64)[..., 0]
    low, high = (f(kernels, axis=(0, 2, 3), keepdims=True) for f in (np.min, np.max))
    greys = colormap_levels("gray", 117)[np.rint(116 * (kernels - low) / (high - low)).astype(int)]
    least = np.abs(kernels[:1]).max(axis=(0, 2, 3), keepdims=True) / 256
    change = kernels - kernels[:1]
    change = np.where(np.abs(change) < least, 0, change)
    reach = np.maximum(np.abs(change).max(axis=(0, 2, 3), keepdims=True), 4 * least)
    unit = 58 + np.rint(58 * change / reach)
    colours = colormap_levels("RdBu_r", 117)[unit.astype(int)]
    for number, frame in enumerate(pillow_frames(made)):
        found = [cells_of(drawing, grid_in(drawing, frame, part)) for part in (0, 1)]
        np.testing.assert_array_equal(found[0], greys[number])
        np.testing.assert_array_equal(found[1], colours[number])


def test_gif_png_and_webp_have_the_same_pixels(small_run, tmp_path, pillow_frames):
    """Of all frames, with titles, scale bars and outlines."""
    files = [
        animate(small_run, tmp_path / f"a.{ending}", outline=True)
        for ending in ("gif", "png", "webp")
    ]
    gif, *others = map(pillow_frames, files)
    for other in others:
        np.testing.assert_array_equal(gif, other)


@pytest.mark.parametrize("ending", ["mp4", "webm"])
def test_videos_are_close(small_run, tmp_path, ending, decoded):
    """Within a few levels, also in saturated colours."""
    frames = decoded(animate(small_run, tmp_path / f"a.{ending}").path)
    selection = select_from_run(small_run)
    drawing = AnimationFrames(
        selection, plan(selection.moments[0], Pace()), Look(), indexed=False, even=True
    )
    *_, last = drawing.pictures()
    error = np.square(frames[-1].astype(float) - drawing.colours[last]).mean()
    assert 10 * np.log10(255**2 / error) > 26


def test_each_part_has_a_title_and_a_scale_bar(
    small_run, tmp_path, pillow_frames, frames_of, bar_in
):
    """The bar has the colours of its part's colormap, and says what shares a scale."""
    frames = pillow_frames(animate(small_run, tmp_path / "a.png", size=900))
    drawing = frames_of(small_run, 900)
    kernels = np.array([small_run.kernels("conv1", step) for step in range(5)], np.float64)
    change = kernels - kernels[0]
    greys, colours = range(117), range(117, 234)
    for frame in frames:
        assert titled(drawing, frame, 0, f"filters, up to {np.abs(kernels).max():.3f}")
        words = f"learned: difference from the start, up to {np.abs(change).max():.3f}"
        assert titled(drawing, frame, 1, words)
        for number, (texts, levels) in enumerate([(LOWEST, greys), (CHANGE, colours)]):
            bar = bar_in(drawing, frame, number)
            drawn = draw_scale_bar(texts, bar.shape[1], drawing._arranged.font, levels, OWN)
            np.testing.assert_array_equal(bar, drawing.palette[drawn])
    assert tuple(drawing.palette[0]) == (0, 0, 0)
    assert tuple(drawing.palette[116]) == (255, 255, 255)
    pair = drawing.palette[117], drawing.palette[233]
    assert [tuple(map(int, colour)) for colour in pair] == [(5, 48, 97), (103, 0, 31)]


@pytest.mark.parametrize(
    ("look", "texts", "note"),
    [
        ({}, LOWEST, "each filter has its own scale at each step"),
        ({"scale": "filter"}, LOWEST, OWN),
        ({"zero_centred": True}, BarTexts("negative", "0", "positive"), None),
        ({"delta": True}, CHANGE, OWN),
        ({"scale": "layer"}, None, "all filters have one fixed scale"),
    ],
    ids=str,
)
def test_a_single_grid_has_a_scale_bar(  # noqa: PLR0917 - fixtures
    grey_run, tmp_path, pillow_frames, frames_of, bar_in, look, texts, note
):
    """Of all entries; with the numbers of a scale that all filters share."""
    look = {"delta": False, "colormap": "viridis", **look}
    frames = pillow_frames(animate(grey_run, tmp_path / "a.png", size=600, **look))
    drawing = frames_of(grey_run, 600, Look(**look))
    if texts is None:
        every = [grey_run.kernels("conv1", step) for step in range(6)]
        low, high = (f"{f(every):.3f}" for f in (np.min, np.max))
        texts = BarTexts(low, "", high)
    note = note or "each filter has its own scale at each step"
    for frame in frames:
        bar = bar_in(drawing, frame)
        drawn = draw_scale_bar(texts, bar.shape[1], drawing._arranged.font, note=note)
        np.testing.assert_array_equal(bar, drawing.palette[drawn])
        assert (bar == colormap_levels("viridis")[-1]).all(axis=-1).any()


def test_the_scale_bar_of_a_grey_layer_is_grey_beside_a_coloured_one(
    make_run, conv_info, tmp_path, pillow_frames, bar_in
):
    """Exactly, also in a GIF, where colours of weights are chosen for the rest of the palette."""
    infos = conv_info("conv1", (7, 7, 3, 16)), conv_info("conv2", (7, 7, 8, 16))
    run = make_run(*infos, steps=range(3))
    path = animate(run, tmp_path / "a.gif", layers="*", delta=False).path
    selection = select_from_run(run, layers="*")
    drawing = AnimationFrames(selection, plan(selection.moments[0], Pace()), Look(delta=False))
    bar = bar_in(drawing, pillow_frames(path)[-1], 1)
    entries = bar_in(drawing, drawing._bar_entries(), 1)
    weights = entries < LEVELS
    greys = colormap_levels("gray", 117)
    np.testing.assert_array_equal(bar[weights], greys[entries[weights]])


@pytest.mark.parametrize("kernel_shape", [(3, 3, 1, 4), (3, 3, 3, 4), (3, 3, 8, 4)], ids=str)
@pytest.mark.parametrize("ending", ["gif", "png", "webp"])
def test_nothing_learned_is_blank_and_said(  # noqa: PLR0917 - fixtures
    write_run, conv_info, tmp_path, rng, kernel_shape, ending, pillow_frames, frames_of, grid_in
):
    """Changes of 1e-7 leave the second grid in zero's colour throughout, as decoded."""
    info = conv_info(kernel_shape=kernel_shape, bias=False)
    start = rng.normal(size=info.shape)
    run = write_run(info, start + 1e-7 * rng.normal(size=(4, *info.shape)))
    frames = pillow_frames(animate(run, tmp_path / f"a.{ending}", size=700))
    drawing = frames_of(run, 700)
    coloured = kernel_shape[2] == 3
    zero = (128,) * 3 if coloured else tuple(colormap_levels("RdBu_r", 117)[58].tolist())
    separator = tuple(theme_palette()[SEPARATOR].tolist())
    for frame in frames:
        grid = grid_in(drawing, frame, 1).reshape(-1, 3)
        found = set(map(tuple, np.unique(grid, axis=0).tolist()))
        if coloured and ending == "gif":  # 235 colours of the whole run
            ((near),) = found - {separator}
            assert np.abs(np.subtract(near, zero)).max() <= 6
        else:
            assert found == {zero, separator}
        assert titled(drawing, frame, 1, "learned: nothing (all changes are below 0.4%)")


@pytest.mark.parametrize("ending", ["gif", "png", "webp"])
def test_colours_and_their_difference(  # noqa: PLR0917 - fixtures
    write_run, conv_info, tmp_path, rng, ending, pillow_frames, frames_of, grid_in, bar_in
):
    """Coloured filters with a strong start: the change in colour too, from mid-grey on."""
    info = conv_info(kernel_shape=(7, 7, 3, 5), bias=False)
    start, learned = rng.normal(size=(2, *info.shape))
    run = write_run(info, [start, start + 0.3 * learned])
    frames = pillow_frames(animate(run, tmp_path / f"a.{ending}", size=700))
    drawing = frames_of(run, 700)
    assert len(drawing._arranged.grids) == 2
    change = 0.3 * learned
    change[np.abs(change) < np.abs(start).max(axis=(1, 2, 3), keepdims=True) / 256] = 0
    reach = np.abs(change).max(axis=(1, 2, 3), keepdims=True)
    exact = [np.full(info.shape, 127.5), 127.5 * (1 + change / reach)]
    for frame, expected in zip(frames, exact, strict=True):
        found = cells_of(drawing, grid_in(drawing, frame, 1)).astype(float)
        error = np.abs(found - expected)
        assert error.max() <= (255 if ending == "gif" else 0.51)
        assert np.sqrt(np.square(error).mean()) < 15
        for number, note in enumerate([OWN, f"grey: no change · {OWN}"]):
            bar = bar_in(drawing, frame, number)
            drawn = draw_scale_bar(None, bar.shape[1], drawing._arranged.font, note=note)
            np.testing.assert_array_equal(bar, drawing.palette[drawn])


def test_two_runs_have_four_grids(make_run, conv_info, tmp_path, pillow_frames):
    """The parts of each run side by side, with its name in the colour of its curve."""
    info = conv_info(kernel_shape=(3, 3, 1, 4), bias=False)
    one, two = (make_run(info, steps=range(3), folder=name) for name in ("one", "two"))
    frames = pillow_frames(animate(one, tmp_path / "a.png", compare=two))
    drawing = compared_frames(one, two)
    grids = drawing._arranged.grids
    assert len(grids) == 4
    assert len({grid.top for grid in grids}) == 1
    names = [("one", "filters"), ("one", "learned"), ("two", "filters"), ("two", "learned")]
    for number, (run, part) in enumerate(names):
        title = drawing._titles[number]
        assert title.names == [run]
        assert title.short == part
        assert title.ramp == FIRST + (run == "two")
        for frame in frames:
            fits = [f"{run} · {text}" for text in (title.part, title.short)]
            assert any(titled(drawing, frame, number, text, title.ramp) for text in fits)


@pytest.mark.parametrize("one_scale", [False, True])
def test_the_headline_of_two_runs_says_their_scale(small_run, one_scale):
    drawing = compared_frames(small_run, small_run, one_scale=one_scale)
    words = " ".join(drawing._header.caption._title)
    assert ("both runs on one scale" in words) == one_scale
    assert ("each run on its own scale" in words) != one_scale


def test_several_layers_have_their_own_kind_of_picture(make_run, conv_info):
    """Both parts of each layer are side by side; their titles say what a cell is."""
    shapes = {"grey": (5, 5, 1, 4), "deep": (3, 3, 8, 6)}
    run = make_run(*(conv_info(name, shape, bias=False) for name, shape in shapes.items()))
    selection = select_from_run(run, layers="*")
    drawing = AnimationFrames(selection, plan(selection.moments[0], Pace()), Look())
    words = [" · ".join([*title.names, title.part, *title.cells]) for title in drawing._titles]
    top = {}
    for name in shapes:
        kernels = np.array([run.kernels(name, step) for step in run.steps], np.float64)
        parts = [kernels, kernels - kernels[0]]
        if name == "deep":
            parts = [np.concatenate(list(map(strongest_pattern, part))) for part in parts]
        top[name] = [np.abs(part).max() for part in parts]
    assert [text.split(" · ")[:2] for text in words] == [
        ["grey", f"filters, up to {top['grey'][0]:.3f}"],
        ["grey", f"learned: difference from the start, up to {top['grey'][1]:.3f}"],
        ["deep", f"filters, up to {top['deep'][0]:.3f}"],
        ["deep", f"learned: difference from the start, up to {top['deep'][1]:.3f}"],
    ]
    assert "strongest pattern of 8 channels" in words[2]
    tops = [grid.top for grid in drawing._arranged.grids]
    assert tops[0] == tops[1]
    assert tops[2] == tops[3]


def test_a_matrix_has_both_parts(make_run, conv_info, tmp_path, pillow_frames):
    """With the numbers of its scale below."""
    run = make_run(conv_info(kernel_shape=(1, 1, 8, 16), bias=False))
    made = animate(run, tmp_path / "a.png")
    assert made.shape[1] > 700
    assert len(pillow_frames(made)) == 3
