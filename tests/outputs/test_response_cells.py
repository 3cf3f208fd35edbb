from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from filtertrack import FiltertrackError, animate
from filtertrack.errors import number_text
from filtertrack.outputs.frames import AnimationFrames
from filtertrack.outputs.layer_cells import LayerCells, part_text, short_part_text
from filtertrack.outputs.picture_parts import part_of
from filtertrack.outputs.response_cells import PictureCells, ResponseCells, shrunk
from filtertrack.outputs.response_maps import maps_of
from filtertrack.outputs.run_selection import select_from_run
from filtertrack.render.look import Look
from filtertrack.render.palette import NOT_FINITE_RGB, colormap_levels


@pytest.fixture
def first_run(make_run, conv_info):
    """A run of 6 colour filters of 5x5 that see the model's input."""
    info = replace(conv_info(kernel_shape=(5, 5, 3, 6)), preprocessing=(), padding="same")
    return make_run(info, steps=range(4))


def cells_of(run, image, look=None, kind=ResponseCells, **options):
    """The cells of the responses to an image, or to the probe of a number."""
    selection = select_from_run(run, **options)
    responses = image if isinstance(image, int) else [image]
    (maps,) = maps_of(selection, responses)
    return kind(selection, look or part_of(Look()), maps)


@pytest.fixture
def images(rng):
    return rng.normal(size=(2, 20, 24, 3)).astype(np.float32)


def test_cells_are_the_responses_of_each_filter(first_run, images):
    """At every snapshot, in the order of the filters that are drawn."""
    look = part_of(Look(filters=(4, 1)))
    cells = cells_of(first_run, images[1], look)
    assert (cells.view.count, cells.view.height, cells.view.width) == (2, 20, 24)
    for step, drawn in enumerate(cells.walk(range(4))):
        expected = first_run.responses("conv1", step, images)[1, :, :, [4, 1]]
        np.testing.assert_array_equal(drawn[..., 0], expected)


def test_zero_is_in_the_middle_of_the_scale(first_run, images):
    cells = cells_of(first_run, images[0])
    values = cells.values(cells.last_cells())
    np.testing.assert_array_equal(values.low, -values.high)
    assert cells.look.colormap == "RdBu_r"


def test_each_block_of_a_large_map_keeps_its_strongest_value(rng):
    """Also at borders where the last block is smaller."""
    maps = rng.normal(size=(3, 101, 130))
    small = shrunk(maps, side=48)
    assert small.shape == (3, 34, 44)
    for y, x in [(0, 0), (33, 43), (10, 20)]:
        block = maps[:, 3 * y : 3 * y + 3, 3 * x : 3 * x + 3].reshape(3, -1)
        expected = block[range(3), np.abs(block).argmax(axis=1)]
        np.testing.assert_array_equal(small[:, y, x], expected)
    assert shrunk(maps, side=200) is maps


def test_a_picture_with_other_channels_is_drawn_as_their_mean(make_run, conv_info, rng):
    info = replace(conv_info(kernel_shape=(5, 5, 4, 6)), preprocessing=(), padding="same")
    image = rng.normal(size=(6, 7, 4))
    cells = cells_of(make_run(info), image, kind=PictureCells)
    np.testing.assert_allclose(cells.last_cells()[0, :, :, 0], image.mean(axis=-1))
    assert cells.labels(0).tolist() == ["unknown"]
    assert cells.explanation == ["picture: mean of 4 channels"]


def test_each_image_has_a_row_of_picture_filters_and_responses(
    first_run, images, tmp_path, pillow_frames, grid_in
):
    """As decoded from a file; the picture stays, the filters and responses change."""
    written = animate(first_run, tmp_path / "a.png", responses=images, size=900)
    frames = pillow_frames(written.path)
    selection = select_from_run(first_run)
    from filtertrack.outputs.animation_pace import Pace
    from filtertrack.outputs.timeline import plan

    timeline = plan(selection.moments[0], Pace())
    drawing = AnimationFrames(
        selection, timeline, Look(), side=900, indexed=False, responses=images
    )
    tops = [grid.top for grid in drawing._arranged.grids]
    lefts = [grid.left for grid in drawing._arranged.grids]
    assert tops[0] == tops[1] == tops[2] < tops[3] == tops[4] == tops[5]
    assert lefts[0] < lefts[1] < lefts[2]
    for number, moves in enumerate([False, True, True] * 2):
        first, last = (grid_in(drawing, frames[n], number) for n in (0, -1))
        assert np.array_equal(first, last) != moves
    np.testing.assert_array_equal(grid_in(drawing, frames[0], 1), grid_in(drawing, frames[0], 4))
    layout = drawing._arranged.grids[2].layout
    strongest = colormap_levels("RdBu_r")[[0, -1]]
    cell = grid_in(drawing, frames[-1], 2)[: layout.height * layout.scale].reshape(-1, 3)
    assert any((cell == colour).all(axis=1).any() for colour in strongest)


def test_the_scale_of_maps_is_described_once(first_run, images):
    """Beside the scale bar; the title has the largest response where all maps have one scale."""
    own = cells_of(first_run, images[0])
    assert own.name == "responses"
    assert own.scale_text == "each map has its own scale at each step"
    one = cells_of(first_run, images[0], part_of(Look(scale="layer")))
    assert one.name == f"responses, up to {number_text(one.largest)}"


def test_a_single_filter_is_described_in_the_singular(first_run, images):
    look = part_of(Look(filters=[2]))
    maps = cells_of(first_run, images[0], look)
    assert (maps.name, maps.scale_text) == ("response", "the map has its own scale at each step")
    filters = LayerCells(first_run, "conv1", range(4), part_of(Look(filters=[2], scale="layer")))
    assert part_text(filters) == f"filter, up to {number_text(filters.largest)}"
    assert short_part_text(filters) == "filter"
    assert filters.scale_text == "the filter has one fixed scale"


def test_the_default_file_is_named_for_responses(first_run, images):
    written = animate(first_run, responses=images, order="drift")
    assert written.path.name == "responses-order-drift.gif"


def test_outlines_are_those_of_the_filters(first_run, images, tmp_path):
    """Around filters and their responses; the picture has none."""
    written = animate(first_run, tmp_path / "a.gif", responses=images[:1], outline=True)
    with Image.open(written.path) as image:
        assert image.n_frames == 4


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"responses": np.zeros((9, 24, 3))}, r"got one of shape \(9, 24, 3\); give \[image\]"),
        ({"responses": [np.zeros((24, 3))]}, r"expected 1 to 16 images.*got 1: \(24, 3\)"),
        ({"responses": np.zeros((1, 20, 24, 3)), "channels": "all"}, "leave channels out"),
        ({"responses": "cat.png"}, "expected arrays, got the text 'cat.png'"),
        ({"responses": np.zeros((0, 20, 24, 3))}, "expected 1 to 16 images"),
        ({"responses": np.zeros((17, 20, 24, 3))}, "expected 1 to 16 images"),
        ({"responses": np.zeros((1, 20, 24, 1))}, "takes 3 channels, got 1"),
        ({"responses": np.zeros((1, 20, 24, 3)), "delta": True}, "leave delta out"),
    ],
    ids=range(8),
)
def test_other_images_are_refused(first_run, tmp_path, options, message):
    with pytest.raises(FiltertrackError, match=message):
        animate(first_run, tmp_path / "a.gif", **options)
    assert not list(tmp_path.glob("*.gif"))


@pytest.mark.parametrize("channels", [1, 3, 5])
def test_each_filter_of_a_1x1_kernel_has_a_response(make_run, conv_info, rng, frames_of, channels):
    """Beside the matrix that shows the kernel."""
    info = replace(conv_info(kernel_shape=(1, 1, channels, 6)), preprocessing=(), padding="same")
    drawing = frames_of(make_run(info), 900, responses=[rng.normal(size=(9, 9, channels))])
    picture, matrix, responses = (grid.layout for grid in drawing._arranged.grids)
    assert (picture.count, matrix.count, responses.count) == (1, 1, 6)
    assert len(list(drawing.pictures())) == 3


def test_layers_on_volumes_are_refused(make_run, conv_info, rng, tmp_path):
    axes = {"kernel_shape": (3, 3, 3, 1, 6), "axes": (4, 1, 0, 2, 3), "shape": (6, 3, 9, 1)}
    info = replace(conv_info(), **axes, preprocessing=(), padding="same")
    with pytest.raises(FiltertrackError, match="does not slide over images"):
        animate(make_run(info), tmp_path / "a.gif", responses=rng.normal(size=(1, 9, 9, 9, 1)))


def signal_info(conv_info, channels=1, side=5):
    """Describe a first Conv1D."""
    axes = {"kernel_shape": (side, channels, 6), "axes": (2, 0, 1)}
    axes |= {"shape": (6, 1, side, channels), "strides": (1,), "dilation": (1,)}
    return replace(conv_info(), **axes, preprocessing=(), padding="same")


def test_the_maps_of_a_signal_are_strips(make_run, conv_info, rng):
    """One row of values, repeated so that it is not too narrow; long ones are shrunk."""
    run, signal = make_run(signal_info(conv_info)), rng.normal(size=(180, 1))
    cells = cells_of(run, signal)
    expected = shrunk(run.responses("conv1", 2, signal[np.newaxis])[0].T[:, np.newaxis], 96)
    drawn = cells.last_cells()[..., 0]
    assert (cells.view.height, cells.view.width) == drawn.shape[1:] == (22, 90)
    np.testing.assert_array_equal(drawn, expected.repeat(22, axis=1))
    assert cells.explanation[-1] == "shrunk: the largest magnitude of each 2 values"


def test_a_signal_of_one_channel_is_a_curve(make_run, conv_info, rng):
    run, signal = make_run(signal_info(conv_info)), rng.normal(size=(180, 1))
    cells = cells_of(run, signal, kind=PictureCells)
    drawn = cells.last_cells()
    assert cells.view.kind == "curve"
    np.testing.assert_array_equal(drawn[0, 0, :, 0], signal[:, 0])
    values = cells.values(drawn)
    assert (values.low[0], values.high[0]) == (signal.min(), signal.max())


def test_a_signal_of_three_channels_is_a_heat_map(make_run, conv_info, rng):
    """Not in colour: a few rows of pixels a channel, shrunk where it is long."""
    run, signal = make_run(signal_info(conv_info, 3)), rng.normal(size=(180, 3))
    cells = cells_of(run, signal, kind=PictureCells)
    expected = shrunk(signal.T[:, np.newaxis], 96)[:, 0].repeat(8, axis=0)
    assert (cells.view.kind, expected.shape) == ("grey", (24, 90))
    np.testing.assert_array_equal(cells.last_cells()[0, :, :, 0], expected)
    assert cells.explanation == ["picture: the largest magnitude of each 2 samples"]


@pytest.mark.parametrize("shape", [(1, 5), (1, 20), (3, 5), (70, 5)])
def test_signals_can_be_animated(make_run, conv_info, rng, frames_of, shape):
    """With few and many channels, and filters drawn as strips, curves and patterns."""
    run, channels = make_run(signal_info(conv_info, *shape)), shape[0]
    drawing = frames_of(run, 900, responses=[rng.normal(size=(2000, channels))])
    assert len({frame.tobytes() for frame in drawing.pictures()}) == 3


def test_layers_whose_input_is_unknown_are_refused(make_run, images, tmp_path):
    """And several layers, and two runs."""
    run = make_run()
    with pytest.raises(FiltertrackError, match="the run does not say"):
        animate(run, tmp_path / "a.gif", responses=images[..., :1])
    with pytest.raises(FiltertrackError, match="one layer at a time, got conv1, conv2"):
        animate(run, tmp_path / "a.gif", responses=images, layers="*")
    with pytest.raises(FiltertrackError, match="second run; leave compare out"):
        animate(run, tmp_path / "a.gif", responses=images, compare=run)


def test_each_response_lies_where_its_filter_lies(make_run, conv_info, rng, frames_of):
    """Also of pictures that are much wider than high."""
    info = replace(conv_info(kernel_shape=(5, 5, 3, 30)), preprocessing=(), padding="same")
    run = make_run(info, steps=range(3))
    drawing = frames_of(run, 900, responses=[rng.normal(size=(20, 90, 3))])
    picture, filters, responses = (grid.layout for grid in drawing._arranged.grids)
    assert (filters.columns, filters.rows) == (responses.columns, responses.rows)
    assert (picture.columns, picture.rows) == (1, 1)


@pytest.mark.parametrize("side", [500, 900])
def test_large_images_and_their_maps_are_shrunk_to_fit(make_run, conv_info, rng, frames_of, side):
    """By area the image, by whole factors the maps; the animation is not larger than asked for."""
    info = replace(conv_info(kernel_shape=(5, 5, 3, 30)), preprocessing=(), padding="same")
    image = rng.uniform(size=(300, 400, 3))
    drawing = frames_of(make_run(info), side, responses=[image, image])
    assert drawing.side <= side
    picture, maps = drawing._layers[0], drawing._layers[2]
    assert 0.15 * side < picture.view.width <= 0.215 * side
    assert picture.view.height == round(picture.view.width * 3 / 4)
    assert abs(picture.last_cells().mean() - image.mean()) < 0.01
    assert maps.view.width >= 20


@pytest.mark.parametrize("step", [0, 2])
def test_a_damaged_snapshot_is_left_out(first_run, images, tmp_path, caplog, step):
    """Also the first one."""
    file = first_run.file(step)
    file.write_bytes(file.read_bytes()[:-500])
    assert animate(first_run, tmp_path / "a.gif", responses=images).frames == 3
    assert f"left out step {step}" in caplog.text


def test_stored_maps_are_drawn_for_a_probe(probed_run):
    """At every snapshot those of the run, in the order of the filters that are drawn."""
    cells = cells_of(probed_run, 2, part_of(Look(filters=(3, 0))))
    for step, drawn in enumerate(cells.walk(range(3))):
        expected = probed_run.probe_responses("conv1", step).values(2)[[3, 0]]
        np.testing.assert_array_equal(drawn[..., 0], expected)


def test_maps_after_a_relu_go_from_zero_up(probed_run):
    """On each scale; signed ones have zero in the middle."""
    for scale in ("frame", "filter", "layer"):
        cells = cells_of(probed_run, 0, part_of(Look(scale=scale)))
        values = cells.values(cells.last_cells())
        assert not values.low.any()
        assert cells.look.colormap == "gray"
        signed = cells_of(probed_run, 0, part_of(Look(scale=scale)), layers="conv2")
        values = signed.values(signed.last_cells())
        np.testing.assert_array_equal(values.low, -values.high)
        assert signed.look.colormap == "RdBu_r"


@pytest.mark.parametrize("scale", ["frame", "filter", "layer"])
def test_a_silent_filter_is_dark(probed_run, painted, scale):
    """Filter 1 at the last step; the others are not."""
    cells = cells_of(probed_run, 0, part_of(Look(scale=scale)))
    last = painted(cells, cells.last_cells())
    assert not last[1].any()
    assert all(cell.any() for cell in last[[0, 2, 3]])


def test_a_filter_that_is_always_silent_is_dark(probed_run, painted):
    """Also where its scale is that of the whole run."""
    cells = cells_of(probed_run, 0, part_of(Look(scale="filter")))
    zeros = np.zeros_like(cells.last_cells())
    assert not painted(cells, zeros, cells._drawn_range(cells._plain_range(zeros))).any()


def test_a_silent_filter_of_signed_maps_is_white(probed_run, painted):
    """White is zero."""
    cells = cells_of(probed_run, 0, layers="conv2")
    zeros = np.zeros_like(cells.last_cells())
    values = cells._drawn_range(cells._plain_range(zeros))
    white = painted(cells, zeros, values, colormap_levels("RdBu_r"))
    assert (white >= 246).all()


def test_maps_between_snapshots_are_interpolated(probed_run):
    """Linearly, as weights are; at the snapshots they are exact."""
    cells = cells_of(probed_run, 0)
    first, middle, second = (each.copy() for each in cells.walk([0, 0.5, 1]))
    np.testing.assert_allclose(middle, (first + second) / 2, rtol=1e-6)
    np.testing.assert_array_equal(first[..., 0], probed_run.probe_responses("conv1", 0).values(0))


def test_the_caption_says_what_is_read_and_how_maps_were_shrunk(probed_run):
    """Shrinking for the picture multiplies that of the stored maps."""
    cells = cells_of(probed_run, 0)
    assert cells.explanation == [
        "responses: the output of relu1, after conv1",
        "shrunk: the largest magnitude of each 2x2",
    ]
    (maps,) = maps_of(select_from_run(probed_run), 0)
    small = ResponseCells(select_from_run(probed_run), part_of(Look()), maps, side=3)
    assert small.explanation[-1].endswith("of each 4x4")
    assert small.last_cells().shape == (4, 3, 3, 1)
    assert len(cells_of(probed_run, 0, layers="conv2").explanation) == 1


def test_the_scale_bar_of_maps_after_a_relu_begins_at_zero(probed_run):
    own, one = (cells_of(probed_run, 0, part_of(Look(scale=s))) for s in ("filter", "layer"))
    assert own.bar_texts(own.fixed_range) == ("0", "", "highest")
    assert own.scale_text == "each map has its own fixed scale"
    assert one.bar_texts(one.fixed_range) == ("0", "", number_text(one.largest))
    signed = cells_of(probed_run, 0, layers="conv2")
    assert signed.bar_texts(signed.fixed_range) == ("negative", "0", "positive")


def test_a_probe_has_its_own_values(probed_run):
    """From black, 0, to white, 1; its title is its number and class."""
    cells = cells_of(probed_run, 2, kind=PictureCells)
    np.testing.assert_array_equal(
        cells.last_cells()[0, ..., 0], probed_run.probes.inputs["images"][2, ..., 0]
    )
    values = cells.values(cells.last_cells())
    assert (values.low[0], values.high[0]) == (0, 1)
    assert cells.name == "probe 2, class 0"
    assert cells.scale_text == "values 0 to 1"


def test_maps_that_are_not_finite_are_magenta(probed_run, painted):
    """The maps of other filters are drawn as usual."""
    (maps,) = maps_of(select_from_run(probed_run), 0)

    def at(step):
        values = maps.at(step).copy()
        values[2] = np.nan
        return values

    for scale in ("frame", "filter", "layer"):
        look = part_of(Look(scale=scale))
        cells = ResponseCells(select_from_run(probed_run), look, replace(maps, at=at))
        drawn = painted(cells, cells.last_cells())
        assert (drawn[2] == NOT_FINITE_RGB).all()
        assert (drawn[[0, 1, 3]] != NOT_FINITE_RGB).any(axis=-1).all()
