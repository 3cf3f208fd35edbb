"""Cells, value ranges and labels of one layer."""

import itertools
from dataclasses import replace
from typing import get_args

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from filtertrack import FiltertrackError, Moment, Run, Snapshot
from filtertrack.measures import label
from filtertrack.outputs.layer_cells import LayerCells, colours_of, part_text, short_part_text
from filtertrack.outputs.picture_parts import part_of
from filtertrack.render.cells import strongest_pattern, to_cells, to_channels, view_of
from filtertrack.render.filter_order import arrange
from filtertrack.render.grid import Layout, to_levels, to_rgb
from filtertrack.render.interpolation import interpolate
from filtertrack.render.look import ORDERS, Look, Scale
from filtertrack.render.palette import (
    LEVELS,
    NOT_FINITE,
    NOT_FINITE_RGB,
    colormap_levels,
    theme_palette,
)
from filtertrack.render.value_range import range_of_cells

STEPS = range(4)
GREY, COLOUR, PATTERN, MATRIX = (3, 2, 1, 4), (3, 3, 3, 5), (2, 3, 4, 6), (1, 1, 4, 7)
KINDS = pytest.mark.parametrize(
    "kernel_shape", [GREY, COLOUR, PATTERN, MATRIX], ids=["grey", "colour", "pattern", "matrix"]
)


def drawn(made, positions=STEPS):
    """Return the cells at each position."""
    return list(made.walk(positions))


def ranges(made, positions=STEPS):
    """Return the lowest and highest value at each position, each of shape (positions, cells)."""
    found = [made.values(cells) for cells in made.walk(positions)]
    return np.array([v.low for v in found]), np.array([v.high for v in found])


@pytest.fixture
def run_of(make_run, conv_info):
    def make(kernel_shape=GREY, folder="run", **options):
        info = conv_info(kernel_shape=kernel_shape, bias=False)
        return make_run(info, steps=STEPS, folder=folder, **options)

    return make


@pytest.mark.parametrize("filters", [[0, 4], [-1], [99]])
def test_a_missing_filter_is_an_error(run_of, filters, layer_of):
    """The message names the layer and the filters it has."""
    wrong = next(number for number in filters if not 0 <= number < 4)
    with pytest.raises(FiltertrackError, match=rf"conv1 has the filters 0 to 3, got {wrong}"):
        layer_of(run_of(), filters=filters)


@pytest.mark.parametrize(
    ("filters", "wrong"),
    [
        (range(10**30), 4),
        (range(2, 10**30, 3), 5),
        (range(3, -(10**30), -2), -1),
        (range(10**30, 0, -1), 10**30),
        ([0, range(-3, 2)], -3),
        ([10**30], 10**30),
        (itertools.count(3), 4),
    ],
    ids=str,
)
def test_filters_are_checked_before_ranges_are_expanded(run_of, filters, wrong, layer_of):
    """The message names the first missing one, or the limit."""
    with pytest.raises(FiltertrackError) as caught:
        layer_of(run_of(), filters=filters)
    if isinstance(filters, itertools.count):
        assert str(caught.value) == "filters: expected at most 1048576 of them"
    else:
        assert str(caught.value) == f"filters: layer conv1 has the filters 0 to 3, got {wrong}"


@pytest.mark.parametrize(
    "filters",
    [
        (n for n in (2, 0, 1, 2)),
        np.array([2, 0, 1, 2]),
        [np.uint8(2), range(2), 2],
        iter([range(2, 3), range(0), 0, range(1, 3)]),
    ],
    ids=["generator", "array", "numpy and range", "iterator"],
)
def test_filters_may_be_any_iterable(run_of, filters, layer_of):
    """Of whole numbers and ranges, iterated once."""
    assert layer_of(run_of(), filters=filters).numbers == [2, 0, 1, 2]


@pytest.mark.parametrize(
    "filters", [[1.0], ["1"], [None], [[0]], "0", 3, [np.float32(1)]], ids=repr
)
def test_filters_of_another_type_are_an_error(run_of, filters, layer_of):
    with pytest.raises(FiltertrackError, match="filters: expected"):
        layer_of(run_of(), filters=filters)


def test_a_layer_of_too_many_filters_is_drawn_in_part_only(tmp_path, conv_info, layer_of):
    info = replace(conv_info(bias=False), kernel_shape=(2, 1, 1, 2 << 20), shape=(2 << 20, 2, 1, 1))
    run = Run.create(tmp_path, [info])
    run.append(Snapshot(Moment(0, 0), {info.kernel: np.zeros(info.kernel_shape, np.float16)}))
    with pytest.raises(FiltertrackError, match=r"at most 1048576 are drawn .* 2097152; choose"):
        layer_of(run, [0])
    assert drawn(layer_of(run, [0], filters=range(5)), [0])[0].shape == (5, 2, 1, 1)


def test_filters_may_be_a_numpy_array(run_of, layer_of):
    """As ``argsort`` returns it."""
    made = layer_of(run_of(), filters=np.array([2, 0]))
    assert made.numbers == [2, 0]


def test_a_missing_layer_is_an_error(run_of, layer_of):
    """The message names the layers of the run."""
    with pytest.raises(FiltertrackError, match="it has: conv1"):
        layer_of(run_of(), layer="conv9")


@KINDS
def test_cells_are_those_of_to_cells(run_of, kernel_shape, layer_of):
    """At every step, all filters in the order of the kernel."""
    run = run_of(kernel_shape)
    made, info = layer_of(run), run.layer("conv1")
    assert (made.info, made.view) == (info, view_of(info))
    assert made.numbers == list(range(info.filters))
    for step, cells in zip(STEPS, drawn(made), strict=True):
        alone = to_cells(made.view, run.kernels("conv1", step))
        if made.view.kind == "pattern":  # over a run each may have the other sign
            signs = np.sign((alone * cells).sum(axis=(1, 2, 3), keepdims=True))
            np.testing.assert_array_equal(cells, alone * signs)
        else:
            np.testing.assert_array_equal(cells, alone)
    np.testing.assert_array_equal(made.last_cells(), alone)


@KINDS
def test_selected_filters_are_drawn_in_the_order_given(run_of, kernel_shape, layer_of):
    """Also twice; they are the columns of a matrix."""
    run = run_of(kernel_shape)
    made, every = layer_of(run, filters=[3, 0, 3]), drawn(layer_of(run))
    assert made.numbers == [3, 0, 3]
    view = made.view
    for cells, whole in zip(drawn(made), every, strict=True):
        assert cells.shape[:3] == (view.count, view.height, view.width)
        axis = 2 if view.kind == "matrix" else 0
        np.testing.assert_allclose(cells, whole.take([3, 0, 3], axis=axis), atol=1e-12)


@KINDS
@pytest.mark.parametrize("order", ORDERS)
def test_filters_have_the_order_of_the_look(run_of, kernel_shape, order, layer_of):
    """From the first and last selected snapshot, the same at every step."""
    run = run_of(kernel_shape)
    made = layer_of(run, (1, 2), order=order)
    expected = arrange(order, run.kernels("conv1", 1), run.kernels("conv1", 2)).tolist()
    assert made.numbers == expected
    chosen = drawn(layer_of(run, (1, 2), filters=expected), [0, 1])
    for cells, other in zip(drawn(made, [0, 1]), chosen, strict=True):
        np.testing.assert_array_equal(cells, other)


@KINDS
@pytest.mark.parametrize("scale", [None, *get_args(Scale)])
def test_delta_is_the_difference_from_the_first_snapshot(
    run_of, kernel_shape, scale, layer_of, painted
):
    """Zero is mid-grey at every step; the start is that of the run, also where it is not drawn."""
    run = run_of(kernel_shape)
    made = layer_of(run, (0, 2, 3), delta=True, scale=scale)
    palette = theme_palette()
    start = to_cells(made.view, run.kernels("conv1", 0))
    noticeable = np.abs(start).max(axis=(1, 2, 3), keepdims=True) / 256
    if scale == "layer":
        noticeable = np.full_like(noticeable, noticeable.max())
    for step, cells in zip((0, 2, 3), made.walk(range(3)), strict=True):
        values = made.values(cells)
        np.testing.assert_array_equal(values.low, -values.high)
        if made.view.kind != "pattern":
            change = run.kernels("conv1", step).astype(float) - run.kernels("conv1", 0)
            expected = to_cells(made.view, change)
            expected = np.where(np.abs(expected) < noticeable, 0, expected)
            np.testing.assert_array_equal(cells, expected)
        if step == 0:
            assert not cells.any()
            levels = painted(made, cells, values, palette)
            assert len(np.unique(levels.reshape(-1, 3), axis=0)) == 1
            middle = 128 if made.view.coloured else palette[round((LEVELS - 1) / 2), 0]
            assert levels.flat[0] == middle


def test_delta_keeps_the_sign_rule_of_patterns(run_of, layer_of):
    """Light means "raises the output" at the last snapshot."""
    run = run_of((2, 3, 4, 40))
    change = run.kernels("conv1", 3).astype(float) - run.kernels("conv1", 0)
    made = layer_of(run, delta=True)
    cells = drawn(made)
    assert not cells[0].any()
    pattern = strongest_pattern(change)
    small = np.abs(pattern) < made._noticeable.reshape(-1, 1, 1, 1)
    np.testing.assert_array_equal(cells[-1], np.where(small, 0, pattern))
    assert (~small).mean() > 0.9


def test_the_default_scale_of_a_delta_is_filter(run_of, layer_of):
    run = run_of()
    one, other = layer_of(run, delta=True), layer_of(run, delta=True, scale="filter")
    np.testing.assert_array_equal(ranges(one), ranges(other))
    low, high = ranges(one)
    assert (low == low[0]).all()
    assert (high == high[0]).all()


@KINDS
def test_scale_frame_is_the_range_of_each_cell_in_each_frame(run_of, kernel_shape, layer_of):
    """It is the default."""
    run = run_of(kernel_shape)
    for scale in ("frame", None):
        made = layer_of(run, scale=scale)
        cells = np.array(drawn(made))
        low, high = ranges(made)
        np.testing.assert_array_equal(low, cells.min(axis=(2, 3, 4)))
        np.testing.assert_array_equal(high, cells.max(axis=(2, 3, 4)))


@KINDS
def test_scale_filter_is_the_range_of_each_cell_in_all_frames(run_of, kernel_shape, layer_of):
    made = layer_of(run_of(kernel_shape), scale="filter")
    cells = np.array(drawn(made))
    low, high = ranges(made)
    np.testing.assert_array_equal(low, np.tile(cells.min(axis=(0, 2, 3, 4)), (4, 1)))
    np.testing.assert_array_equal(high, np.tile(cells.max(axis=(0, 2, 3, 4)), (4, 1)))


@KINDS
def test_scale_layer_is_the_range_of_all_cells_in_all_frames(run_of, kernel_shape, layer_of):
    made = layer_of(run_of(kernel_shape), scale="layer")
    cells = np.array(drawn(made))
    low, high = ranges(made)
    assert set(low.ravel().tolist()) == {cells.min()}
    assert set(high.ravel().tolist()) == {cells.max()}


def test_ranges_are_of_selected_steps_and_filters_only(run_of, layer_of):
    made = layer_of(run_of(), (0, 2), scale="layer", filters=[1, 3])
    cells = np.array(drawn(made, [0, 1]))
    assert made.whole_range.low.tolist() == [cells.min()] * 2
    assert made.whole_range.high.tolist() == [cells.max()] * 2


@KINDS
@pytest.mark.parametrize("scale", get_args(Scale))
def test_zero_centred_ranges_are_the_smallest_around_zero(run_of, kernel_shape, scale, layer_of):
    run = run_of(kernel_shape)
    plain, centred = (ranges(layer_of(run, scale=scale, zero_centred=z)) for z in (False, True))
    reach = np.maximum(np.abs(plain[0]), np.abs(plain[1]))
    np.testing.assert_array_equal(centred[0], -reach)
    np.testing.assert_array_equal(centred[1], reach)


@KINDS
def test_weights_between_snapshots_are_interpolated(run_of, kernel_shape, layer_of):
    """At 2.25: three quarters of snapshot 2 and one of snapshot 3."""
    made = layer_of(run_of(kernel_shape, dtype=np.float64))
    whole = drawn(made)
    positions = [0, 0.5, 1, 2.25, 2.75, 3]
    for position, cells in zip(positions, drawn(made, positions), strict=True):
        before = int(position)
        share = position - before
        expected = (1 - share) * whole[before] + share * whole[min(before + 1, 3)]
        np.testing.assert_allclose(cells, expected, atol=1e-12)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(positions=st.lists(st.floats(0, 3), min_size=1, max_size=8).map(sorted))
def test_interpolated_weights_are_within_the_whole_range(run_of, tmp_path, positions, layer_of):
    folder = tmp_path / "run"
    run = Run(folder) if Run.exists(folder) else run_of()
    made = layer_of(run, scale="filter")
    for cells in drawn(made, positions):
        low, high = (v[:, None, None, None] for v in (made.whole_range.low, made.whole_range.high))
        slack = 1e-6 * (high - low)
        assert ((cells >= low - slack) & (cells <= high + slack)).all()


@pytest.mark.parametrize("count", [2, 3, 16, 40])
@pytest.mark.parametrize("scale", ["frame", "filter"])
@pytest.mark.parametrize("delta", [False, True])
def test_a_constant_filter_is_mid_grey(  # noqa: PLR0917 - fixtures
    write_run, conv_info, count, scale, delta, layer_of
):
    """Also as a pattern of different channels, interpolated, and as a zero delta."""
    info = conv_info(kernel_shape=(5, 5, count, 2), bias=False)
    weights = np.linspace(-0.3, 0.7, count, dtype=np.float32)
    kernels = np.broadcast_to(weights, (2, 5, 5, count)).copy()
    run = write_run(info, [kernels] * 2)
    made = layer_of(run, range(2), scale=scale, delta=delta, channels="strongest")
    for cells in made.walk([0, 0.3, 1]):
        levels = to_levels(cells, made.values(cells))
        np.testing.assert_array_equal(levels, round((LEVELS - 1) / 2))


def test_between_two_infinities_there_is_nan(write_run, conv_info, layer_of):
    """Between finite and not, it is not finite; numpy does not warn."""
    info = conv_info(kernel_shape=(1, 4, 1, 1), bias=False)
    kernels = np.array([[np.inf, np.inf, 1.0, 1.0], [-np.inf, np.inf, np.nan, 3.0]])
    made = layer_of(write_run(info, kernels.reshape(2, 1, 1, 4, 1)), (0, 1))
    (cells,) = made.walk([0.5])
    np.testing.assert_array_equal(cells.ravel(), [np.nan, np.inf, np.nan, 2.0])


@KINDS
@pytest.mark.parametrize("scale", get_args(Scale))
def test_draw_gives_colours_levels_and_magenta(run_of, kernel_shape, scale, layer_of, painted):
    """Colours as they are, levels through the palette, magenta for non-finite weights."""
    run = run_of(kernel_shape)
    made = layer_of(run, scale=scale)
    palette = theme_palette("light", colormap_levels("viridis"))
    for walked in made.walk([0, 1.5, 3]):
        cells = walked.copy()
        cells[0, 0, 0] = np.nan
        values = made.values(cells)
        colours = painted(made, cells, values, palette)
        expected = range_of_cells(cells) if scale == "frame" else made.whole_range
        if kernel_shape == COLOUR:
            np.testing.assert_array_equal(colours, to_rgb(cells, expected))
        else:
            np.testing.assert_array_equal(colours, palette[to_levels(cells, expected)])
        assert colours.dtype == np.uint8
        assert tuple(colours[0, 0, 0]) == NOT_FINITE_RGB


@KINDS
@pytest.mark.parametrize("look", [{}, {"order": "label"}, {"delta": True}, {"filters": [3, 0, 3]}])
def test_labels_are_in_the_order_drawn(run_of, kernel_shape, look, layer_of):
    """At the snapshot before a position; of the weights, also with ``delta``."""
    run = run_of(kernel_shape)
    made = layer_of(run, (0, 1, 3), **look)
    for position, step in ((0, 0), (0.5, 0), (1, 1), (1.99, 1), (2, 3)):
        labels = made.labels(position)
        if kernel_shape == MATRIX:
            assert labels.tolist() == ["unknown"]
            continue
        expected = label(run.kernels("conv1", step)).names[made.numbers]
        assert labels.tolist() == expected.tolist()
        assert len(labels) == made.view.count


def test_labels_of_planted_filters(planted_run, layer_of):
    """At each snapshot."""
    made = layer_of(planted_run, planted_run.steps)
    for position, step in enumerate(planted_run.steps):
        names = made.labels(position)
        assert (names == "edge").sum() == (2 if step >= 2 else 0)
        assert (names == "colour blob").sum() == (1 if step >= 1 else 0)


def test_slices_are_labelled_as_channels(run_of, conv_info, make_run, layer_of):
    """A filter of a 3-D kernel has one label."""
    info = conv_info(
        kernel_shape=(5, 7, 7, 1, 3), axes=(4, 1, 0, 2, 3), shape=(3, 7, 35, 1), bias=False
    )
    run = make_run(info, steps=STEPS)
    made = layer_of(run)
    kernels = to_channels(made.view, run.kernels("conv1", 2))
    assert kernels.shape == (3, 7, 7, 5)
    assert made.labels(2).tolist() == label(kernels).names.tolist()


@KINDS
@pytest.mark.parametrize("change", [0.0, 1e-7, 0.9 / 256])
@pytest.mark.parametrize("scale", get_args(Scale))
def test_small_changes_are_drawn_as_none(  # noqa: PLR0917 - fixtures
    write_run, conv_info, kernel_shape, change, scale, layer_of, rng, painted
):
    """All cells have zero's colour throughout, and the part says that nothing was learned."""
    info = conv_info(kernel_shape=kernel_shape, bias=False)
    start = rng.choice([-1.0, 1.0], info.shape) * rng.uniform(0.5, 1, info.shape)
    start[:, 0, 0, 0] = 1.0
    noise = rng.uniform(-change, change, info.shape) / np.sqrt(info.shape[3])
    made = layer_of(write_run(info, [start, start + noise]), range(2), delta=True, scale=scale)
    assert made.largest == 0
    assert "learned: nothing" in part_text(made)
    palette = theme_palette("dark", colormap_levels("RdBu_r"))
    for cells in drawn(made, range(2)):
        colours = painted(made, cells, palette=palette).reshape(-1, 3)
        middle = (128,) * 3 if made.view.coloured else tuple(palette[(LEVELS - 1) // 2].tolist())
        assert set(map(tuple, colours.tolist())) == {middle}


def test_a_noticeable_change_is_drawn(write_run, conv_info, layer_of):
    """From one grey level of the filter's start on; at four levels the colour is full."""
    info = conv_info(kernel_shape=(1, 6, 1, 1), bias=False)
    start = np.array([-1.0, 0.5, 0.5, 0.5, 0.5, 0.5]).reshape(1, 1, 6, 1)
    change = np.array([0.0, 0.99, 1.01, 2.0, 4.0, -4.0]).reshape(1, 1, 6, 1) / 256
    made = layer_of(write_run(info, [start, start + change]), range(2), delta=True)
    assert made.largest > 0
    assert part_text(made).startswith("learned: difference from the start, up to ")
    cells = made.last_cells()
    np.testing.assert_allclose(cells.ravel() * 256, [0, 0, 1.01, 2, 4, -4], atol=1e-4)
    levels = to_levels(cells, made.values(cells)).ravel().tolist()
    assert levels == [117, 117, 147, 176, 234, 0]


def test_a_start_of_zeros_or_nan_has_a_difference(write_run, conv_info, layer_of):
    """Each change from zeros is noticeable; one from NaN is not finite."""
    info = conv_info(kernel_shape=(2, 2, 1, 2), bias=False)
    start = np.zeros(info.shape)
    start[1] = np.nan
    made = layer_of(write_run(info, [start, np.full(info.shape, 1e-6)]), range(2), delta=True)
    cells = made.last_cells()
    np.testing.assert_allclose(cells[0], 1e-6, rtol=1e-5)
    assert np.isnan(cells[1]).all()
    assert made.largest > 0
    levels = to_levels(cells, made.values(cells))
    assert set(levels[0].ravel().tolist()) == {LEVELS - 1}
    assert set(levels[1].ravel().tolist()) == {NOT_FINITE}


def test_filters_alone_are_never_unchanged(write_run, conv_info, layer_of):
    info = conv_info(kernel_shape=GREY, bias=False)
    made = layer_of(write_run(info, [np.ones(info.shape)] * 2), range(2), delta=False)
    assert made.largest > 0
    assert part_text(made) == "filters, up to 1.000"


def test_the_explained_share_is_that_of_the_last_snapshot(run_of, layer_of):
    """Of patterns only; of the difference, where that is drawn."""
    run = run_of(PATTERN)
    end, start = (run.kernels("conv1", step).astype(float) for step in (3, 0))
    for look, kernels in (({}, end), ({"delta": True}, end - start), ({"filters": [1]}, end[1:2])):
        values = np.linalg.svd(kernels.reshape(len(kernels), -1, 4), compute_uv=False)
        expected = (values[:, 0] ** 2 / np.square(values).sum(axis=1)).mean()
        assert layer_of(run, **look).explained == pytest.approx(expected, rel=0.01)
    assert layer_of(run_of(GREY, folder="grey")).explained is None
    assert layer_of(run, channels=0).explained is None


def test_given_numbers_are_drawn_instead_of_those_of_the_look(run_of):
    """In their order, such as that of matched filters."""
    run = run_of()
    made = LayerCells(run, "conv1", STEPS, part_of(Look(order="drift")), np.array([2, 0, 3]))
    assert made.numbers == [2, 0, 3]
    assert made.highest == 3
    np.testing.assert_array_equal(made.last_cells(), run.kernels("conv1", 3)[[2, 0, 3]])


def test_layers_with_several_colormaps_have_their_own_entries(run_of, layer_of):
    """Half of the entries each; layers of one colormap have all of them, as have colours."""
    run, colour = run_of(), run_of(COLOUR, folder="colour")
    filters, learned = layer_of(run), layer_of(run, delta=True)
    spans, colours = colours_of([filters, learned, layer_of(run, scale="layer")])
    assert spans == [range(117), range(117, 234), range(117)]
    np.testing.assert_array_equal(colours[:117], colormap_levels("gray", 117))
    np.testing.assert_array_equal(colours[117:], colormap_levels("RdBu_r", 117))
    spans, colours = colours_of([learned])
    assert spans == [range(LEVELS)]
    np.testing.assert_array_equal(colours, colormap_levels("RdBu_r"))
    spans, colours = colours_of([layer_of(colour), learned], quantised=True)
    assert spans[1] == range(117)
    assert len(colours) == 117
    assert len(colours_of([layer_of(colour)], quantised=True)[1]) == 0
    assert colours_of([layer_of(colour), layer_of(colour, delta=True)])[0] == [range(LEVELS)] * 2
    spans, colours = colours_of([layer_of(colour), learned])
    assert spans[1] == range(LEVELS)
    np.testing.assert_array_equal(colours, colormap_levels("RdBu_r"))


@pytest.mark.parametrize("kernel_shape", [(5, 5, 1, 3), (6, 5, 3, 2), (5, 7, 4, 3)], ids=str)
@pytest.mark.parametrize("scale", [1, 4, 7])
def test_smooth_cells_have_a_value_for_each_pixel(run_of, layer_of, kernel_shape, scale):
    """Interpolated between weights, then drawn on the scale of the weights."""
    made = layer_of(run_of(kernel_shape), smooth=True)
    height, width, *_ = kernel_shape
    layout = Layout(made.view.count, height, width, 2, scale, 3)
    assert made.drawn_layout(layout).shape == layout.shape
    cells = made.last_cells()
    drawn = made.draw(cells, made.values(cells), layout, range(10, 21))
    assert drawn.shape[1:3] == (height * scale, width * scale)
    values, smooth = range_of_cells(cells), interpolate(cells, scale)
    expected = (
        to_rgb(smooth, values) if kernel_shape[2] == 3 else to_levels(smooth, values, range(10, 21))
    )
    np.testing.assert_array_equal(drawn, expected)


def test_small_kernels_are_not_smoothed(run_of, layer_of):
    """Beside larger ones the option has no effect on them."""
    run = run_of((4, 9, 1, 3))
    smooth, plain = layer_of(run, smooth=True), layer_of(run)
    layout = Layout(3, 4, 9, 2, 5, 3)
    assert smooth.drawn_layout(layout) == layout
    cells = plain.last_cells()
    draws = [made.draw(cells, made.values(cells), layout) for made in (smooth, plain)]
    np.testing.assert_array_equal(*draws)


@pytest.mark.parametrize(
    ("kernel_shape", "look", "name"),
    [
        (MATRIX, {}, "filters"),
        (MATRIX, {"filters": [2]}, "filter"),
        ((1, 1, 4, 1), {}, "filter"),
        (GREY, {}, "filters"),
        (GREY, {"filters": [2]}, "filter"),
        ((3, 3, 4, 5), {"channels": "all"}, "filters"),
        ((3, 3, 4, 5), {"channels": "all", "filters": [2]}, "filter"),
    ],
    ids=str,
)
def test_the_title_of_several_filters_is_plural(run_of, layer_of, kernel_shape, look, name):
    """Also of a matrix, which is one cell."""
    made = layer_of(run_of(kernel_shape), **look)
    assert part_text(made).partition(",")[0] == short_part_text(made) == name
