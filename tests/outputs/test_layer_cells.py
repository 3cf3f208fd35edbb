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
from filtertrack.outputs.layer_cells import LayerCells
from filtertrack.render.cells import strongest_pattern, to_cells, to_channels, view_of
from filtertrack.render.filter_order import arrange
from filtertrack.render.grid import to_levels, to_rgb
from filtertrack.render.look import ORDERS, Look, Scale
from filtertrack.render.palette import LEVELS, NOT_FINITE_RGB, colormap_levels, theme_palette
from filtertrack.render.value_range import range_of_cells

STEPS = range(4)
GREY, COLOUR, PATTERN, MATRIX = (3, 2, 1, 4), (3, 3, 3, 5), (2, 3, 4, 6), (1, 1, 4, 7)
KINDS = pytest.mark.parametrize(
    "kernel_shape", [GREY, COLOUR, PATTERN, MATRIX], ids=["grey", "colour", "pattern", "matrix"]
)


def layer_of(runs, steps=STEPS, **look):
    """Return the cells of the first layer of one run or of several."""
    runs = [runs] if isinstance(runs, Run) else runs
    return LayerCells(runs, next(iter(runs[0].layers)), steps, Look(**look))


def drawn(made, positions=STEPS, number=0):
    """Return the cells of one run at each position."""
    return [group[number] for group in made.walk(positions)]


def ranges(made, positions=STEPS):
    """Return the lowest and highest value at each position, each of shape (positions, cells)."""
    found = [made.values(group) for group in made.walk(positions)]
    return np.array([v.low for v in found]), np.array([v.high for v in found])


def planted(run_folder, info, kernels):
    """Write a run of these kernels, given as (filters, height, width, channels)."""
    run = Run.create(run_folder, [info])
    for step, kernel in enumerate(kernels):
        arrays = {info.kernel: np.ascontiguousarray(np.asarray(kernel).transpose(1, 2, 3, 0))}
        run.append(Snapshot(Moment(step, step), arrays))
    return run


@pytest.fixture
def run_of(make_run, conv_info):
    def make(kernel_shape=GREY, folder="run", **options):
        info = conv_info(kernel_shape=kernel_shape, bias=False)
        return make_run(info, steps=STEPS, folder=folder, **options)

    return make


@pytest.mark.parametrize("filters", [[0, 4], [-1], [99]])
def test_a_missing_filter_is_an_error(run_of, filters):
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
def test_filters_are_checked_before_ranges_are_expanded(run_of, filters, wrong):
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
def test_filters_may_be_any_iterable(run_of, filters):
    """Of whole numbers and ranges, iterated once."""
    assert layer_of(run_of(), filters=filters).numbers == [2, 0, 1, 2]


@pytest.mark.parametrize(
    "filters", [[1.0], ["1"], [None], [[0]], "0", 3, [np.float32(1)]], ids=repr
)
def test_filters_of_another_type_are_an_error(run_of, filters):
    with pytest.raises(FiltertrackError, match="filters: expected"):
        layer_of(run_of(), filters=filters)


def test_a_layer_of_too_many_filters_is_drawn_in_part_only(tmp_path, conv_info):
    info = replace(conv_info(bias=False), kernel_shape=(2, 1, 1, 2 << 20), shape=(2 << 20, 2, 1, 1))
    run = Run.create(tmp_path, [info])
    run.append(Snapshot(Moment(0, 0), {info.kernel: np.zeros(info.kernel_shape, np.float16)}))
    with pytest.raises(FiltertrackError, match=r"at most 1048576 are drawn .* 2097152; choose"):
        layer_of(run, [0])
    assert drawn(layer_of(run, [0], filters=range(5)), [0])[0].shape == (5, 2, 1, 1)


def test_filters_may_be_a_numpy_array(run_of):
    """As ``argsort`` returns it."""
    made = layer_of(run_of(), filters=np.array([2, 0]))
    assert made.numbers == [2, 0]


def test_a_missing_layer_is_an_error(run_of):
    """The message names the layers of the run."""
    with pytest.raises(FiltertrackError, match="it has: conv1"):
        LayerCells([run_of()], "conv9", STEPS, Look())


@KINDS
def test_cells_are_those_of_to_cells(run_of, kernel_shape):
    """At every step, all filters in the order of the kernel."""
    run = run_of(kernel_shape)
    made, info = layer_of(run), run.layer("conv1")
    assert made.view == view_of(info)
    assert made.numbers == list(range(info.filters))
    like = None
    for step, cells in zip(STEPS, drawn(made), strict=True):
        like = to_cells(made.view, run.kernels("conv1", step), like)
        np.testing.assert_array_equal(cells, like)


@KINDS
def test_selected_filters_are_drawn_in_the_order_given(run_of, kernel_shape):
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
def test_filters_have_the_order_of_the_look(run_of, kernel_shape, order):
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
def test_delta_is_the_difference_from_the_first_snapshot(run_of, kernel_shape, scale):
    """Zero is mid-grey at every step."""
    run = run_of(kernel_shape)
    made = layer_of(run, (1, 2, 3), delta=True, scale=scale)
    palette = theme_palette()
    for step, group in zip((1, 2, 3), made.walk(range(3)), strict=True):
        (cells,), values = group, made.values(group)
        np.testing.assert_array_equal(values.low, -values.high)
        if made.view.kind != "pattern":
            change = run.kernels("conv1", step).astype(float) - run.kernels("conv1", 1)
            np.testing.assert_array_equal(cells, to_cells(made.view, change))
        if step == 1:
            assert not cells.any()
            levels = made.paint(cells, values, palette)
            assert len(np.unique(levels.reshape(-1, 3), axis=0)) == 1
            middle = 128 if made.view.coloured else palette[round((LEVELS - 1) / 2), 0]
            assert levels.flat[0] == middle


def test_delta_keeps_the_sign_rule_of_patterns(run_of):
    """Light means "raises the output" at the first snapshot that differs."""
    run = run_of((2, 3, 4, 40))
    change = run.kernels("conv1", 1).astype(float) - run.kernels("conv1", 0)
    first, second = drawn(layer_of(run, delta=True), [0, 1])
    assert not first.any()
    np.testing.assert_allclose(second, strongest_pattern(change), atol=1e-9)


def test_the_default_scale_of_a_delta_is_filter(run_of):
    run = run_of()
    one, other = layer_of(run, delta=True), layer_of(run, delta=True, scale="filter")
    np.testing.assert_array_equal(ranges(one), ranges(other))
    assert one.whole_range is not None


@KINDS
def test_scale_frame_is_the_range_of_each_cell_in_each_frame(run_of, kernel_shape):
    """It is the default."""
    run = run_of(kernel_shape)
    for scale in ("frame", None):
        made = layer_of(run, scale=scale)
        cells = np.array(drawn(made))
        low, high = ranges(made)
        np.testing.assert_array_equal(low, cells.min(axis=(2, 3, 4)))
        np.testing.assert_array_equal(high, cells.max(axis=(2, 3, 4)))
        assert made.whole_range is None


@KINDS
def test_scale_filter_is_the_range_of_each_cell_in_all_frames(run_of, kernel_shape):
    made = layer_of(run_of(kernel_shape), scale="filter")
    cells = np.array(drawn(made))
    low, high = ranges(made)
    np.testing.assert_array_equal(low, np.tile(cells.min(axis=(0, 2, 3, 4)), (4, 1)))
    np.testing.assert_array_equal(high, np.tile(cells.max(axis=(0, 2, 3, 4)), (4, 1)))


@KINDS
def test_scale_layer_is_the_range_of_all_cells_in_all_frames(run_of, kernel_shape):
    made = layer_of(run_of(kernel_shape), scale="layer")
    cells = np.array(drawn(made))
    low, high = ranges(made)
    assert set(low.ravel().tolist()) == {cells.min()}
    assert set(high.ravel().tolist()) == {cells.max()}


def test_ranges_are_of_selected_steps_and_filters_only(run_of):
    made = layer_of(run_of(), (0, 2), scale="layer", filters=[1, 3])
    cells = np.array(drawn(made, [0, 1]))
    assert made.whole_range.low.tolist() == [cells.min()] * 2
    assert made.whole_range.high.tolist() == [cells.max()] * 2


@KINDS
@pytest.mark.parametrize("scale", get_args(Scale))
def test_zero_centred_ranges_are_the_smallest_around_zero(run_of, kernel_shape, scale):
    run = run_of(kernel_shape)
    plain, centred = (ranges(layer_of(run, scale=scale, zero_centred=z)) for z in (False, True))
    reach = np.maximum(np.abs(plain[0]), np.abs(plain[1]))
    np.testing.assert_array_equal(centred[0], -reach)
    np.testing.assert_array_equal(centred[1], reach)


@KINDS
def test_weights_between_snapshots_are_interpolated(run_of, kernel_shape):
    """At 2.25: three quarters of snapshot 2 and one of snapshot 3."""
    made = layer_of(run_of(kernel_shape, dtype=np.float64))
    whole = drawn(made)
    positions = [0, 0.5, 1, 2.25, 2.75, 3]
    for position, cells in zip(positions, drawn(made, positions), strict=True):
        before = int(position)
        share = position - before
        expected = (1 - share) * whole[before] + share * whole[min(before + 1, 3)]
        np.testing.assert_allclose(cells, expected, atol=1e-12)


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(positions=st.lists(st.floats(0, 3), min_size=1, max_size=8).map(sorted))
def test_interpolated_weights_are_within_the_whole_range(run_of, tmp_path, positions):
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
def test_a_constant_filter_is_mid_grey(tmp_path, conv_info, count, scale, delta):
    """Also as a pattern of different channels, interpolated, and as a zero delta."""
    info = conv_info(kernel_shape=(5, 5, count, 2), bias=False)
    weights = np.linspace(-0.3, 0.7, count, dtype=np.float32)
    kernels = np.broadcast_to(weights, (2, 5, 5, count)).copy()
    run = planted(tmp_path, info, [kernels] * 2)
    made = layer_of(run, range(2), scale=scale, delta=delta, channels="strongest")
    for group in made.walk([0, 0.3, 1]):
        levels = to_levels(group[0], made.values(group))
        np.testing.assert_array_equal(levels, round((LEVELS - 1) / 2))


def test_between_two_infinities_there_is_nan(tmp_path, conv_info):
    """Between finite and not, it is not finite; numpy does not warn."""
    info = conv_info(kernel_shape=(1, 4, 1, 1), bias=False)
    kernels = np.array([[np.inf, np.inf, 1.0, 1.0], [-np.inf, np.inf, np.nan, 3.0]])
    made = layer_of(planted(tmp_path / "r", info, kernels.reshape(2, 1, 1, 4, 1)), (0, 1))
    ((cells,),) = made.walk([0.5])
    np.testing.assert_array_equal(cells.ravel(), [np.nan, np.inf, np.nan, 2.0])


def test_two_runs_have_one_value_range(run_of):
    runs = [run_of(folder="one"), run_of(folder="two")]
    for scale, axes in (("frame", (0, 3, 4, 5)), ("filter", (0, 1, 3, 4, 5))):
        made = layer_of(runs, scale=scale)
        both = np.array([drawn(made, number=0), drawn(made, number=1)])
        for number, run in enumerate(runs):
            np.testing.assert_array_equal(both[number], drawn(layer_of(run)))
        low, high = ranges(made)
        np.testing.assert_array_equal(low, np.broadcast_to(both.min(axis=axes), (4, 4)))
        np.testing.assert_array_equal(high, np.broadcast_to(both.max(axis=axes), (4, 4)))


def test_two_runs_have_their_own_delta_and_the_order_of_the_first(run_of):
    runs = [run_of(folder="one"), run_of(folder="two")]
    made = layer_of(runs, delta=True, order="drift")
    assert made.numbers == layer_of(runs[0], order="drift").numbers
    for number, run in enumerate(runs):
        change = run.kernels("conv1", 3).astype(float) - run.kernels("conv1", 0)
        np.testing.assert_array_equal(drawn(made, number=number)[-1], change[made.numbers])


def turning(angles, channels=(0.6, 0.8)):
    """Return kernels of one 1x2 pattern that turns, one a snapshot: (n, 1, 1, 2, 2)."""
    spatial = np.stack([np.cos(np.radians(angles)), np.sin(np.radians(angles))], axis=1)
    return np.multiply.outer(spatial, channels)[:, np.newaxis, np.newaxis]


def test_signs_of_patterns_do_not_flip_between_snapshots(tmp_path, conv_info):
    """A pattern that turns by 20 degrees a snapshot."""
    info = conv_info(kernel_shape=(1, 2, 2, 1), bias=False)
    angles = np.arange(0, 380, 20)
    weights = [(0.6, -0.5 - n / 50) for n in range(len(angles))]
    kernels = [turning([a], w)[0] for a, w in zip(angles, weights, strict=True)]
    made = layer_of(planted(tmp_path / "r", info, kernels), range(len(angles)))
    for positions in (range(len(angles)), np.arange(0, len(angles) - 1, 0.5)):
        cells = np.array(drawn(made, positions)).reshape(len(positions), 2)
        lengths = np.linalg.norm(cells, axis=1)
        cosines = (cells[1:] * cells[:-1]).sum(axis=1) / (lengths[1:] * lengths[:-1])
        assert (cosines > np.cos(np.radians(25))).all()


def test_skipping_snapshots_keeps_patterns_within_the_whole_range(tmp_path, conv_info):
    """For any signs of the patterns."""
    info = conv_info(kernel_shape=(1, 2, 2, 1), bias=False)
    kernels = turning([0, 80, 160]) * np.array([1, 1, 3]).reshape(3, 1, 1, 1, 1)
    made = layer_of(planted(tmp_path / "r", info, kernels), range(3), scale="filter")
    for cells in drawn(made, [0, 2]):
        assert cells.min() >= made.whole_range.low[0] - 1e-9
        assert cells.max() <= made.whole_range.high[0] + 1e-9


@KINDS
@pytest.mark.parametrize("scale", get_args(Scale))
def test_paint_gives_colours_levels_and_magenta(run_of, kernel_shape, scale):
    """Colours as they are, levels through the palette, magenta for non-finite weights."""
    run = run_of(kernel_shape)
    made = layer_of(run, scale=scale)
    palette = theme_palette("light", colormap_levels("viridis"))
    for group in made.walk([0, 1.5, 3]):
        (cells,) = group
        cells = cells.copy()
        cells[0, 0, 0] = np.nan
        values = made.values([cells])
        painted = made.paint(cells, values, palette)
        expected = range_of_cells(cells) if scale == "frame" else made.whole_range
        if kernel_shape == COLOUR:
            np.testing.assert_array_equal(painted, to_rgb(cells, expected))
        else:
            np.testing.assert_array_equal(painted, palette[to_levels(cells, expected)])
        assert painted.dtype == np.uint8
        assert tuple(painted[0, 0, 0]) == NOT_FINITE_RGB


@KINDS
@pytest.mark.parametrize("look", [{}, {"order": "label"}, {"delta": True}, {"filters": [3, 0, 3]}])
def test_labels_are_in_the_order_drawn(run_of, kernel_shape, look):
    """At the snapshot before a position; of the weights, also with ``delta``."""
    run = run_of(kernel_shape)
    made = layer_of(run, (0, 1, 3), **look)
    for position, step in ((0, 0), (0.5, 0), (1, 1), (1.99, 1), (2, 3)):
        (labels,) = made.labels(position)
        if kernel_shape == MATRIX:
            assert labels.tolist() == ["unknown"]
            continue
        expected = label(run.kernels("conv1", step)).names[made.numbers]
        assert labels.tolist() == expected.tolist()
        assert len(labels) == made.view.count


def test_labels_of_planted_filters(planted_run):
    """At each snapshot, and of each of two runs."""
    made = LayerCells([planted_run, planted_run], "conv1", planted_run.steps, Look())
    for position, step in enumerate(planted_run.steps):
        one, other = made.labels(position)
        assert one.tolist() == other.tolist()
        assert (one == "edge").sum() == (2 if step >= 2 else 0)
        assert (one == "colour blob").sum() == (1 if step >= 1 else 0)


def test_slices_are_labelled_as_channels(run_of, conv_info, make_run):
    """A filter of a 3-D kernel has one label."""
    info = conv_info(
        kernel_shape=(5, 7, 7, 1, 3), axes=(4, 1, 0, 2, 3), shape=(3, 7, 35, 1), bias=False
    )
    run = make_run(info, steps=STEPS)
    made = layer_of(run)
    kernels = to_channels(made.view, run.kernels("conv1", 2))
    assert kernels.shape == (3, 7, 7, 5)
    assert made.labels(2)[0].tolist() == label(kernels).names.tolist()


@pytest.mark.parametrize("channels", [1, "strongest"])
def test_channels_do_not_change_labels_and_orders(run_of, channels):
    """These are of the whole filter."""
    run = run_of((7, 7, 3, 8))
    natural, looked = layer_of(run), layer_of(run, channels=channels)
    view = view_of(run.layer(natural.name), channels)
    for step, cells in zip(STEPS, drawn(looked), strict=True):
        expected = np.abs(to_cells(view, run.kernels(natural.name, step)))
        np.testing.assert_array_equal(np.abs(cells), expected)
    for position in STEPS:
        names = [made.labels(position)[0].tolist() for made in (natural, looked)]
        assert names[0] == names[1]
    for order in ORDERS:
        assert (
            layer_of(run, order=order).numbers
            == layer_of(run, order=order, channels=channels).numbers
        )


@pytest.mark.parametrize("channels", [0, "strongest"])
def test_a_colour_blob_drawn_in_grey_keeps_its_label_and_order(planted_run, channels):
    natural, looked = (
        LayerCells([planted_run], "conv1", planted_run.steps, Look(order="label", channels=which))
        for which in (None, channels)
    )
    assert natural.view.coloured
    assert not looked.view.coloured
    assert looked.numbers == natural.numbers
    last = len(planted_run.steps) - 1
    assert looked.labels(last)[0].tolist() == natural.labels(last)[0].tolist()
    assert "colour blob" in looked.labels(last)[0]


@pytest.mark.parametrize("channels", [0, 2, "strongest"])
def test_channels_do_not_change_labels_of_3d_kernels(conv_info, make_run, channels):
    """These are of all slices and channels."""
    info = conv_info(
        kernel_shape=(2, 7, 7, 3, 4), axes=(4, 1, 0, 2, 3), shape=(4, 7, 14, 3), bias=False
    )
    run = make_run(info, steps=STEPS)
    natural, looked = layer_of(run), layer_of(run, channels=channels)
    assert (looked.view.slices, looked.view.width) == (2, 14)
    assert natural.labels(2)[0].tolist() == looked.labels(2)[0].tolist()
    for order in ORDERS:
        assert (
            layer_of(run, order=order).numbers
            == layer_of(run, order=order, channels=channels).numbers
        )
    if channels != "strongest":
        for step, cells in zip(STEPS, drawn(looked), strict=True):
            np.testing.assert_array_equal(cells, run.kernels("conv1", step)[..., [channels]])


@pytest.mark.parametrize("channels", [3, -1])
def test_a_missing_channel_is_an_error(run_of, channels):
    """The message names the layer and the channels it has."""
    with pytest.raises(FiltertrackError, match=rf"channels 0 to 2 of conv1, got {channels}"):
        layer_of(run_of(COLOUR), channels=channels)


@pytest.mark.parametrize("channels", [0, "strongest"])
def test_one_channel_of_selected_filters(run_of, channels):
    """Each is drawn as among all filters."""
    run = run_of(COLOUR)
    made, every = (layer_of(run, channels=channels, **look) for look in ({"filters": [3, 0]}, {}))
    for cells, whole in zip(drawn(made), drawn(every), strict=True):
        np.testing.assert_allclose(cells, whole[[3, 0]], atol=1e-12)


def test_the_delta_of_one_channel(run_of):
    """The difference of that channel from its first snapshot."""
    run = run_of((3, 3, 3, 5))
    cells = drawn(layer_of(run, channels=2, delta=True))
    start, end = (run.kernels("conv1", step)[..., [2]].astype(float) for step in (0, 3))
    np.testing.assert_array_equal(cells[-1], end - start)
