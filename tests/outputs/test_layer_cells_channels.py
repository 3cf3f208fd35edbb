"""Input channels in the cells of one layer: each alone, all, or several in colour."""

import numpy as np
import pytest

from filtertrack import FiltertrackError
from filtertrack.measures import label
from filtertrack.render.cells import to_cells, view_of
from filtertrack.render.look import ORDERS

STEPS = range(4)
COLOUR = (3, 3, 3, 5)


def drawn(made):
    """Return the cells at each snapshot."""
    return list(made.walk(STEPS))


@pytest.fixture
def run_of(make_run, conv_info):
    def make(kernel_shape, folder="run"):
        return make_run(
            conv_info(kernel_shape=kernel_shape, bias=False), steps=STEPS, folder=folder
        )

    return make


@pytest.mark.parametrize("channels", [1, "strongest", (2, 1, 0), (0, 2)], ids=str)
def test_channels_do_not_change_labels_and_orders(run_of, channels, layer_of):
    """These are of the whole filter."""
    run = run_of((7, 7, 3, 8))
    natural, looked = layer_of(run), layer_of(run, channels=channels)
    view = view_of(run.layer(natural.info.name), channels)
    for step, cells in zip(STEPS, drawn(looked), strict=True):
        expected = np.abs(to_cells(view, run.kernels(natural.info.name, step)))
        np.testing.assert_array_equal(np.abs(cells), expected)
    for position in STEPS:
        names = [made.labels(position).tolist() for made in (natural, looked)]
        assert names[0] == names[1]
    for order in ORDERS:
        assert (
            layer_of(run, order=order).numbers
            == layer_of(run, order=order, channels=channels).numbers
        )


@pytest.mark.parametrize("channels", [0, "strongest"])
def test_a_colour_blob_drawn_in_grey_keeps_its_label_and_order(planted_run, channels, layer_of):
    natural, looked = (
        layer_of(planted_run, planted_run.steps, order="label", channels=which)
        for which in (None, channels)
    )
    assert natural.view.coloured
    assert not looked.view.coloured
    assert looked.numbers == natural.numbers
    last = len(planted_run.steps) - 1
    assert looked.labels(last).tolist() == natural.labels(last).tolist()
    assert "colour blob" in looked.labels(last)


@pytest.mark.parametrize("channels", [0, 2, "strongest"])
def test_channels_do_not_change_labels_of_3d_kernels(conv_info, make_run, channels, layer_of):
    """These are of all slices and channels."""
    info = conv_info(
        kernel_shape=(2, 7, 7, 3, 4), axes=(4, 1, 0, 2, 3), shape=(4, 7, 14, 3), bias=False
    )
    run = make_run(info, steps=STEPS)
    natural, looked = layer_of(run), layer_of(run, channels=channels)
    assert (looked.view.slices, looked.view.width) == (2, 14)
    assert natural.labels(2).tolist() == looked.labels(2).tolist()
    for order in ORDERS:
        assert (
            layer_of(run, order=order).numbers
            == layer_of(run, order=order, channels=channels).numbers
        )
    if channels != "strongest":
        for step, cells in zip(STEPS, drawn(looked), strict=True):
            np.testing.assert_array_equal(cells, run.kernels("conv1", step)[..., [channels]])


@pytest.mark.parametrize("channels", [3, (0, 3)], ids=str)
def test_a_missing_channel_is_an_error(run_of, channels, layer_of):
    """The message names the layer and the channels it has."""
    with pytest.raises(FiltertrackError, match="channels 0 to 2 of conv1, got ") as error:
        layer_of(run_of(COLOUR), channels=channels)
    assert str(error.value).endswith(str(channels))


@pytest.mark.parametrize("channels", [0, "strongest"])
def test_one_channel_of_selected_filters(run_of, channels, layer_of):
    """Each is drawn as among all filters."""
    run = run_of(COLOUR)
    made, every = (layer_of(run, channels=channels, **look) for look in ({"filters": [3, 0]}, {}))
    for cells, whole in zip(drawn(made), drawn(every), strict=True):
        np.testing.assert_allclose(cells, whole[[3, 0]], atol=1e-12)


def test_the_delta_of_one_channel(run_of, layer_of):
    """The difference of that channel from its first snapshot."""
    run = run_of((3, 3, 3, 5))
    cells = drawn(layer_of(run, channels=2, delta=True))
    start, end = (run.kernels("conv1", step)[..., [2]].astype(float) for step in (0, 3))
    least = np.abs(start).max(axis=(1, 2, 3), keepdims=True) / 256
    change = end - start
    np.testing.assert_array_equal(cells[-1], np.where(np.abs(change) < least, 0, change))


def test_all_channels_of_ordered_filters_are_rows(run_of, layer_of):
    """The cells of a filter stay together, in the order of its channels."""
    run = run_of((3, 2, 4, 5))
    for look, numbers in (
        ({}, range(5)),
        ({"filters": [3, 0, 3]}, [3, 0, 3]),
        ({"order": "drift"}, layer_of(run, order="drift").numbers),
    ):
        made = layer_of(run, channels="all", **look)
        assert made.numbers == list(numbers)
        assert (made.view.filters, made.view.cells_per_filter) == (len(numbers), 4)
        for step, cells in zip(STEPS, drawn(made), strict=True):
            kernels = run.kernels("conv1", step)
            expected = [kernels[n, ..., [c]] for n in numbers for c in range(4)]
            np.testing.assert_array_equal(cells[..., 0], np.array(expected)[:, 0])


@pytest.mark.parametrize("delta", [False, True])
@pytest.mark.parametrize("scale", ["frame", "filter", "layer"])
def test_the_cells_of_a_filter_have_one_range(run_of, layer_of, scale, delta):
    """So that a weak channel looks weak."""
    run = run_of((3, 2, 4, 5))
    made = layer_of(run, channels="all", scale=scale, delta=delta)
    every = np.array(drawn(made)).reshape(4, 5, 4 * 3 * 2)
    for number, cells in enumerate(drawn(made)):
        values = made.values(cells)
        span = every[number] if scale == "frame" else every.transpose(1, 0, 2).reshape(5, -1)
        low, high = span.min(axis=1), span.max(axis=1)
        if scale == "layer":
            low, high = np.full(5, low.min()), np.full(5, high.max())
        if delta:
            assert (values.low == -values.high).all()
            high = np.maximum(np.maximum(-low, high), 4 * made._noticeable[::4])
        else:
            np.testing.assert_array_equal(values.low, low.repeat(4))
        np.testing.assert_array_equal(values.high, high.repeat(4))


def test_the_cells_of_a_filter_have_its_label(planted_run, layer_of):
    made = layer_of(planted_run, planted_run.steps, channels="all")
    names = label(planted_run.kernels("conv1", 20), rgb=True).names
    assert made.labels(5).tolist() == names.repeat(3).tolist()


def test_small_changes_of_one_channel_are_measured_by_its_filter(write_run, conv_info, layer_of):
    """A channel of small weights has no finer scale than the others."""
    info = conv_info(kernel_shape=(1, 2, 2, 1), bias=False)
    start = np.array([[1.0, 0.001], [-1.0, 0.001]]).reshape(1, 1, 2, 2)
    end = start + np.array([[0.1, 0.003], [0.0, 0.005]]).reshape(1, 1, 2, 2)
    made = layer_of(write_run(info, [start, end]), range(2), channels="all", delta=True)
    first, second = made.last_cells()[..., 0]
    np.testing.assert_allclose(first.ravel(), [0.1, 0.0], atol=1e-6)
    np.testing.assert_allclose(second.ravel(), [0.0, 0.005], atol=1e-6)


def test_two_channels_in_colour_are_white_where_both_are_high(
    write_run, conv_info, layer_of, painted
):
    """Orange where only the first is, blue where only the second is, black where both are low."""
    info = conv_info(kernel_shape=(1, 4, 2, 1), bias=False)
    kernel = np.array([[1, 1], [1, -1], [-1, 1], [-1, -1]], np.float32).reshape(1, 1, 4, 2)
    made = layer_of(write_run(info, [kernel]), [0], channels=(0, 1))
    (cells,) = made.walk([0])
    colours = painted(made, cells)
    assert colours[0, 0].tolist() == [[255, 255, 255], [255, 128, 0], [0, 128, 255], [0, 0, 0]]


def test_the_difference_in_colour_is_mid_grey_at_zero(run_of, layer_of, painted):
    """A change of a channel is seen in its colour."""
    run = run_of((3, 3, 4, 5))
    made = layer_of(run, channels=(2, 1, 0), delta=True)
    first, last = (painted(made, drawn(made)[number]) for number in (0, 3))
    assert (first == 128).all()
    change = made.last_cells()
    assert ((last > 128) <= (change > 0)).all()
    assert ((last < 127) <= (change < 0)).all()
    assert np.ptp(last.astype(int), axis=-1).any()
