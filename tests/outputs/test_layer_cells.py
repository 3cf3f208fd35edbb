import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from filtertrack import FiltertrackError, Moment, Run, Snapshot
from filtertrack.measures import label
from filtertrack.outputs.layer_cells import LayerCells
from filtertrack.render.cells import strongest_pattern, to_cells, to_channels, view_of
from filtertrack.render.filter_order import ORDERS, arrange
from filtertrack.render.grid import to_levels, to_rgb
from filtertrack.render.look import SCALES, Look
from filtertrack.render.palette import LEVELS, NOT_FINITE_RGB, colormap_levels, theme_palette
from filtertrack.render.value_range import range_of_cells

STEPS = range(4)
GREY, COLOUR, PATTERN, MATRIX = (3, 2, 1, 4), (3, 3, 3, 5), (2, 3, 4, 6), (1, 1, 4, 7)
KINDS = pytest.mark.parametrize(
    "kernel_shape", [GREY, COLOUR, PATTERN, MATRIX], ids=["grey", "colour", "pattern", "matrix"]
)


def panel(runs, steps=STEPS, **look):
    """Return the panel of the first layer of one run or of several."""
    runs = [runs] if isinstance(runs, Run) else runs
    return LayerCells(runs, next(iter(runs[0].layers)), steps, Look(**look))


def shown(made, positions=STEPS, number=0):
    """Return one run's cells at each position."""
    return [group[number] for group in made.walk(positions)]


def ranges(made, positions=STEPS):
    """Return lowest and highest value at each position, each of shape (positions, cells)."""
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
def test_a_filter_that_is_not_there(run_of, filters):
    """The message names the layer and says which it has."""
    wrong = next(number for number in filters if not 0 <= number < 4)
    with pytest.raises(FiltertrackError, match=rf"conv1 has the filters 0 to 3, got {wrong}"):
        panel(run_of(), filters=filters)


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
def test_filters_are_checked_before_they_are_expanded(run_of, filters, wrong):
    """The error names the first that is not there, or says that there are too many."""
    with pytest.raises(FiltertrackError) as caught:
        panel(run_of(), filters=filters)
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
    """Of whole numbers and ranges, read once."""
    assert panel(run_of(), filters=filters).numbers == [2, 0, 1, 2]


@pytest.mark.parametrize(
    "filters", [[1.0], ["1"], [None], [[0]], "0", 3, [np.float32(1)]], ids=repr
)
def test_filters_that_are_no_numbers(run_of, filters):
    """The error says what is expected."""
    with pytest.raises(FiltertrackError, match="filters: expected"):
        panel(run_of(), filters=filters)


def test_a_layer_of_very_many_filters(tmp_path, conv_info):
    """Not all of them are drawn at once; some of them can be."""
    info = replace(conv_info(bias=False), kernel_shape=(2, 1, 1, 2 << 20), shape=(2 << 20, 2, 1, 1))
    run = Run.create(tmp_path, [info])
    run.append(Snapshot(Moment(0, 0), {info.kernel: np.zeros(info.kernel_shape, np.float16)}))
    with pytest.raises(FiltertrackError, match=r"at most 1048576 are drawn .* 2097152; choose"):
        panel(run, [0])
    assert shown(panel(run, [0], filters=range(5)), [0])[0].shape == (5, 2, 1, 1)


def test_filters_may_be_numbers_from_numpy(run_of):
    """As ``argsort`` gives them."""
    made = panel(run_of(), filters=np.array([2, 0]))
    assert made.numbers == [2, 0]


def test_a_layer_that_is_not_there(run_of):
    """The message says which there are."""
    with pytest.raises(FiltertrackError, match="it has: conv1"):
        LayerCells([run_of()], "conv9", STEPS, Look())


@KINDS
def test_the_cells_are_those_of_the_layer(run_of, kernel_shape):
    """At every step, as ``cells`` makes them; all filters, in the order of the kernel."""
    run = run_of(kernel_shape)
    made, info = panel(run), run.layer("conv1")
    assert made.view == view_of(info)
    assert made.numbers == list(range(info.filters))
    like = None
    for step, cells in zip(STEPS, shown(made), strict=True):
        like = to_cells(made.view, run.kernels("conv1", step), like)
        np.testing.assert_array_equal(cells, like)


@KINDS
def test_only_the_filters_that_were_chosen(run_of, kernel_shape):
    """In the order given, also twice; a matrix has that many columns."""
    run = run_of(kernel_shape)
    made, every = panel(run, filters=[3, 0, 3]), shown(panel(run))
    assert made.numbers == [3, 0, 3]
    view = made.view
    for cells, whole in zip(shown(made), every, strict=True):
        assert cells.shape[:3] == (view.count, view.height, view.width)
        axis = 2 if view.kind == "matrix" else 0
        np.testing.assert_allclose(cells, whole.take([3, 0, 3], axis=axis), atol=1e-12)


@KINDS
@pytest.mark.parametrize("order", ORDERS)
def test_filters_come_in_the_order_asked(run_of, kernel_shape, order):
    """That of the first and the last snapshot that are shown, the same at every step."""
    run = run_of(kernel_shape)
    made = panel(run, (1, 2), order=order)
    expected = arrange(order, run.kernels("conv1", 1), run.kernels("conv1", 2)).tolist()
    assert made.numbers == expected
    chosen = shown(panel(run, (1, 2), filters=expected), [0, 1])
    for cells, other in zip(shown(made, [0, 1]), chosen, strict=True):
        np.testing.assert_array_equal(cells, other)


@KINDS
@pytest.mark.parametrize("scale", [None, *SCALES])
def test_delta_is_the_difference_from_the_first(run_of, kernel_shape, scale):
    """Nothing at first, which is the middle level everywhere; zero is the middle ever after."""
    run = run_of(kernel_shape)
    made = panel(run, (1, 2, 3), delta=True, scale=scale)
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
    """Light still means "raises the output" in the first snapshot that differs from the start."""
    run = run_of((2, 3, 4, 40))
    change = run.kernels("conv1", 1).astype(float) - run.kernels("conv1", 0)
    first, second = shown(panel(run, delta=True), [0, 1])
    assert not first.any()
    np.testing.assert_allclose(second, strongest_pattern(change), atol=1e-9)


def test_the_scale_of_a_delta_is_each_filters_own(run_of):
    """Where none is asked for: so its growth is seen."""
    run = run_of()
    one, other = panel(run, delta=True), panel(run, delta=True, scale="filter")
    np.testing.assert_array_equal(ranges(one), ranges(other))
    assert one.whole_range is not None


@KINDS
def test_the_scale_of_a_frame(run_of, kernel_shape):
    """Lowest and highest weight of each cell, in each frame; so also where none is asked for."""
    run = run_of(kernel_shape)
    for scale in ("frame", None):
        made = panel(run, scale=scale)
        cells = np.array(shown(made))
        low, high = ranges(made)
        np.testing.assert_array_equal(low, cells.min(axis=(2, 3, 4)))
        np.testing.assert_array_equal(high, cells.max(axis=(2, 3, 4)))
        assert made.whole_range is None


@KINDS
def test_the_scale_of_a_filter(run_of, kernel_shape):
    """Lowest and highest weight of each cell in all frames."""
    made = panel(run_of(kernel_shape), scale="filter")
    cells = np.array(shown(made))
    low, high = ranges(made)
    np.testing.assert_array_equal(low, np.tile(cells.min(axis=(0, 2, 3, 4)), (4, 1)))
    np.testing.assert_array_equal(high, np.tile(cells.max(axis=(0, 2, 3, 4)), (4, 1)))


@KINDS
def test_the_scale_of_a_layer(run_of, kernel_shape):
    """Lowest and highest weight of all cells in all frames."""
    made = panel(run_of(kernel_shape), scale="layer")
    cells = np.array(shown(made))
    low, high = ranges(made)
    assert set(low.ravel().tolist()) == {cells.min()}
    assert set(high.ravel().tolist()) == {cells.max()}


def test_only_what_is_shown_counts(run_of):
    """Steps and filters that were not chosen do not widen a range."""
    made = panel(run_of(), (0, 2), scale="layer", filters=[1, 3])
    cells = np.array(shown(made, [0, 1]))
    assert made.whole_range.low.tolist() == [cells.min()] * 2
    assert made.whole_range.high.tolist() == [cells.max()] * 2


@KINDS
@pytest.mark.parametrize("scale", SCALES)
def test_zero_centred(run_of, kernel_shape, scale):
    """The range is as wide as it must be, and zero is in its middle."""
    run = run_of(kernel_shape)
    plain, centred = (ranges(panel(run, scale=scale, zero_centred=z)) for z in (False, True))
    reach = np.maximum(np.abs(plain[0]), np.abs(plain[1]))
    np.testing.assert_array_equal(centred[0], -reach)
    np.testing.assert_array_equal(centred[1], reach)


@KINDS
def test_between_snapshots_weights_are_mixed(run_of, kernel_shape):
    """At 2.25 there are three quarters of snapshot 2 and one of snapshot 3."""
    made = panel(run_of(kernel_shape, dtype=np.float64))
    whole = shown(made)
    positions = [0, 0.5, 1, 2.25, 2.75, 3]
    for position, cells in zip(positions, shown(made, positions), strict=True):
        before = int(position)
        share = position - before
        expected = (1 - share) * whole[before] + share * whole[min(before + 1, 3)]
        np.testing.assert_allclose(cells, expected, atol=1e-12)


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(positions=st.lists(st.floats(0, 3), min_size=1, max_size=8).map(sorted))
def test_any_walk_is_within_the_whole_range(run_of, tmp_path, positions):
    """A mix of two snapshots is between them, so nothing is cut off on the scale of the run."""
    folder = tmp_path / "run"
    run = Run(folder) if Run.exists(folder) else run_of()
    made = panel(run, scale="filter")
    for cells in shown(made, positions):
        low, high = (v[:, None, None, None] for v in (made.whole_range.low, made.whole_range.high))
        slack = 1e-6 * (high - low)
        assert ((cells >= low - slack) & (cells <= high + slack)).all()


@pytest.mark.parametrize("count", [2, 3, 16, 40])
@pytest.mark.parametrize("scale", ["frame", "filter"])
@pytest.mark.parametrize("delta", [False, True])
def test_a_constant_filter_is_mid_grey(tmp_path, conv_info, count, scale, delta):
    """Also as a pattern of channels that differ, between two snapshots, and as a delta of none."""
    info = conv_info(kernel_shape=(5, 5, count, 2), bias=False)
    weights = np.linspace(-0.3, 0.7, count, dtype=np.float32)
    kernels = np.broadcast_to(weights, (2, 5, 5, count)).copy()
    run = planted(tmp_path, info, [kernels] * 2)
    made = panel(run, range(2), scale=scale, delta=delta, channels="strongest")
    for group in made.walk([0, 0.3, 1]):
        levels = to_levels(group[0], made.values(group))
        np.testing.assert_array_equal(levels, round((LEVELS - 1) / 2))


def test_between_two_infinities_there_is_nan(tmp_path, conv_info):
    """And between what is finite and what is not, what is not; without a warning of numpy's."""
    info = conv_info(kernel_shape=(1, 4, 1, 1), bias=False)
    kernels = np.array([[np.inf, np.inf, 1.0, 1.0], [-np.inf, np.inf, np.nan, 3.0]])
    made = panel(planted(tmp_path / "r", info, kernels.reshape(2, 1, 1, 4, 1)), (0, 1))
    ((cells,),) = made.walk([0.5])
    np.testing.assert_array_equal(cells.ravel(), [np.nan, np.inf, np.nan, 2.0])


def test_two_runs_share_a_range(run_of):
    """What is light in one is as strong as what is light in the other."""
    runs = [run_of(folder="one"), run_of(folder="two")]
    for scale, axes in (("frame", (0, 3, 4, 5)), ("filter", (0, 1, 3, 4, 5))):
        made = panel(runs, scale=scale)
        both = np.array([shown(made, number=0), shown(made, number=1)])
        for number, run in enumerate(runs):
            np.testing.assert_array_equal(both[number], shown(panel(run)))
        low, high = ranges(made)
        np.testing.assert_array_equal(low, np.broadcast_to(both.min(axis=axes), (4, 4)))
        np.testing.assert_array_equal(high, np.broadcast_to(both.max(axis=axes), (4, 4)))


def test_two_runs_have_their_own_start_and_the_first_ones_order(run_of):
    """Each run's difference is from its own first snapshot; filters stand beside their own."""
    runs = [run_of(folder="one"), run_of(folder="two")]
    made = panel(runs, delta=True, order="drift")
    assert made.numbers == panel(runs[0], order="drift").numbers
    for number, run in enumerate(runs):
        change = run.kernels("conv1", 3).astype(float) - run.kernels("conv1", 0)
        np.testing.assert_array_equal(shown(made, number=number)[-1], change[made.numbers])


def turning(angles, channels=(0.6, 0.8)):
    """Return kernels of one 1x2 pattern that turns, one a snapshot: (n, 1, 1, 2, 2)."""
    spatial = np.stack([np.cos(np.radians(angles)), np.sin(np.radians(angles))], axis=1)
    return np.multiply.outer(spatial, channels)[:, np.newaxis, np.newaxis]


def test_the_signs_of_patterns_do_not_flip_along_a_walk(tmp_path, conv_info):
    """A pattern that turns by 20 degrees a snapshot moves a little, never to its opposite."""
    info = conv_info(kernel_shape=(1, 2, 2, 1), bias=False)
    angles = np.arange(0, 380, 20)
    weights = [(0.6, -0.5 - n / 50) for n in range(len(angles))]
    kernels = [turning([a], w)[0] for a, w in zip(angles, weights, strict=True)]
    made = panel(planted(tmp_path / "r", info, kernels), range(len(angles)))
    for positions in (range(len(angles)), np.arange(0, len(angles) - 1, 0.5)):
        cells = np.array(shown(made, positions)).reshape(len(positions), 2)
        lengths = np.linalg.norm(cells, axis=1)
        cosines = (cells[1:] * cells[:-1]).sum(axis=1) / (lengths[1:] * lengths[:-1])
        assert (cosines > np.cos(np.radians(25))).all()


def test_a_walk_that_leaves_snapshots_out_is_within_the_whole_range(tmp_path, conv_info):
    """Whatever signs its patterns take, none of their weights is cut off."""
    info = conv_info(kernel_shape=(1, 2, 2, 1), bias=False)
    kernels = turning([0, 80, 160]) * np.array([1, 1, 3]).reshape(3, 1, 1, 1, 1)
    made = panel(planted(tmp_path / "r", info, kernels), range(3), scale="filter")
    for cells in shown(made, [0, 2]):
        assert cells.min() >= made.whole_range.low[0] - 1e-9
        assert cells.max() <= made.whole_range.high[0] + 1e-9


@KINDS
@pytest.mark.parametrize("scale", SCALES)
def test_painting_is_what_the_grid_does(run_of, kernel_shape, scale):
    """Colours as they are, levels through the palette, what is not finite magenta."""
    run = run_of(kernel_shape)
    made = panel(run, scale=scale)
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
def test_labels_are_those_of_the_filters_shown(run_of, kernel_shape, look):
    """In their order, at the snapshot before or at a position; of weights, not of differences."""
    run = run_of(kernel_shape)
    made = panel(run, (0, 1, 3), **look)
    for position, step in ((0, 0), (0.5, 0), (1, 1), (1.99, 1), (2, 3)):
        (labels,) = made.labels(position)
        if kernel_shape == MATRIX:
            assert labels.tolist() == ["unknown"]
            continue
        expected = label(run.kernels("conv1", step)).names[made.numbers]
        assert labels.tolist() == expected.tolist()
        assert len(labels) == made.view.count


def test_labels_of_planted_filters(planted_run):
    """At each snapshot what is there by then; of two runs each its own."""
    made = LayerCells([planted_run, planted_run], "conv1", planted_run.steps, Look())
    for position, step in enumerate(planted_run.steps):
        one, other = made.labels(position)
        assert one.tolist() == other.tolist()
        assert (one == "edge").sum() == (2 if step >= 2 else 0)
        assert (one == "colour blob").sum() == (1 if step >= 1 else 0)


def test_labels_of_slices_are_those_of_channels(run_of, conv_info, make_run):
    """A filter of a 3-D kernel has one label: what is side by side is no neighbour."""
    info = conv_info(
        kernel_shape=(5, 7, 7, 1, 3), axes=(4, 1, 0, 2, 3), shape=(3, 7, 35, 1), bias=False
    )
    run = make_run(info, steps=STEPS)
    made = panel(run)
    kernels = to_channels(made.view, run.kernels("conv1", 2))
    assert kernels.shape == (3, 7, 7, 5)
    assert made.labels(2)[0].tolist() == label(kernels).names.tolist()


@pytest.mark.parametrize("channels", [1, "strongest"])
def test_channels_change_the_look_not_the_filters(run_of, channels):
    """Labels and orders are of the filter whole; the cells are of what was asked for."""
    run = run_of((7, 7, 3, 8))
    natural, looked = panel(run), panel(run, channels=channels)
    view = view_of(run.layer(natural.name), channels)
    for step, cells in zip(STEPS, shown(looked), strict=True):
        expected = np.abs(to_cells(view, run.kernels(natural.name, step)))
        np.testing.assert_array_equal(np.abs(cells), expected)
    for position in STEPS:
        names = [made.labels(position)[0].tolist() for made in (natural, looked)]
        assert names[0] == names[1]
    for order in ORDERS:
        assert panel(run, order=order).numbers == panel(run, order=order, channels=channels).numbers


@pytest.mark.parametrize("channels", [0, "strongest"])
def test_labels_of_colour_stay_when_no_colour_is_drawn(planted_run, channels):
    """A colour blob is one in grey as well, and comes where it did by its label."""
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
def test_channels_of_slices_change_no_labels(conv_info, make_run, channels):
    """A 3-D kernel's filter is known by all its slices and channels, however it is drawn."""
    info = conv_info(
        kernel_shape=(2, 7, 7, 3, 4), axes=(4, 1, 0, 2, 3), shape=(4, 7, 14, 3), bias=False
    )
    run = make_run(info, steps=STEPS)
    natural, looked = panel(run), panel(run, channels=channels)
    assert (looked.view.slices, looked.view.width) == (2, 14)
    assert natural.labels(2)[0].tolist() == looked.labels(2)[0].tolist()
    for order in ORDERS:
        assert panel(run, order=order).numbers == panel(run, order=order, channels=channels).numbers
    if channels != "strongest":
        for step, cells in zip(STEPS, shown(looked), strict=True):
            np.testing.assert_array_equal(cells, run.kernels("conv1", step)[..., [channels]])


@pytest.mark.parametrize("channels", [3, -1])
def test_a_channel_that_is_not_there(run_of, channels):
    """The message names the layer and says which it has."""
    with pytest.raises(FiltertrackError, match=rf"channels 0 to 2 of conv1, got {channels}"):
        panel(run_of(COLOUR), channels=channels)


@pytest.mark.parametrize("channels", [0, "strongest"])
def test_channels_go_with_chosen_filters(run_of, channels):
    """Each is drawn as it would be among all of them."""
    run = run_of(COLOUR)
    made, every = (panel(run, channels=channels, **look) for look in ({"filters": [3, 0]}, {}))
    for cells, whole in zip(shown(made), shown(every), strict=True):
        np.testing.assert_allclose(cells, whole[[3, 0]], atol=1e-12)


def test_the_delta_of_a_channel(run_of):
    """The channel now, less the channel at the start."""
    run = run_of((3, 3, 3, 5))
    cells = shown(panel(run, channels=2, delta=True))
    start, end = (run.kernels("conv1", step)[..., [2]].astype(float) for step in (0, 3))
    np.testing.assert_array_equal(cells[-1], end - start)
