from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from filtertrack import FiltertrackError, animate
from filtertrack.outputs.frames import AnimationFrames
from filtertrack.outputs.picture_parts import part_of
from filtertrack.outputs.response_cells import PictureCells, ResponseCells, shrunk
from filtertrack.outputs.run_selection import select_from_run
from filtertrack.render.caption import number_text
from filtertrack.render.look import Look
from filtertrack.render.palette import colormap_levels


@pytest.fixture
def first_run(make_run, conv_info):
    """A run of 6 colour filters of 5x5 that see the model's input."""
    info = replace(conv_info(kernel_shape=(5, 5, 3, 6)), preprocessing=(), padding="same")
    return make_run(info, steps=range(4))


@pytest.fixture
def images(rng):
    return rng.normal(size=(2, 20, 24, 3)).astype(np.float32)


def test_cells_are_the_responses_of_each_filter(first_run, images):
    """At every snapshot, in the order of the filters that are drawn."""
    look = part_of(Look(filters=(4, 1)))
    cells = ResponseCells(select_from_run(first_run), look, images[1])
    assert (cells.view.count, cells.view.height, cells.view.width) == (2, 20, 24)
    for step, drawn in enumerate(cells.walk(range(4))):
        expected = first_run.responses("conv1", step, images)[1, :, :, [4, 1]]
        np.testing.assert_array_equal(drawn[..., 0], expected)


def test_zero_is_in_the_middle_of_the_scale(first_run, images):
    cells = ResponseCells(select_from_run(first_run), part_of(Look()), images[0])
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


def test_a_picture_with_other_channels_is_drawn_as_their_mean(first_run, rng):
    image = rng.normal(size=(6, 7, 4))
    cells = PictureCells(select_from_run(first_run), part_of(Look()), image, "picture")
    np.testing.assert_allclose(cells.last_cells()[0, :, :, 0], image.mean(axis=-1))
    assert cells.labels(0).tolist() == ["unknown"]


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


def test_the_title_says_which_maps_share_a_scale(first_run, images):
    """The largest response is told only where all maps have one scale."""
    selection = select_from_run(first_run)
    own = ResponseCells(selection, part_of(Look()), images[0])
    assert own.name == "responses, each on its own scale"
    one = ResponseCells(selection, part_of(Look(scale="layer")), images[0])
    assert one.name == f"responses, up to {number_text(one.largest)}"


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


def test_layers_without_images_are_refused(make_run, conv_info, rng, tmp_path):
    axes = {"kernel_shape": (5, 3, 6), "axes": (2, 0, 1), "shape": (6, 1, 5, 3)}
    info = replace(conv_info(), **axes, preprocessing=(), padding="same")
    with pytest.raises(FiltertrackError, match="does not slide over images"):
        animate(make_run(info), tmp_path / "a.gif", responses=rng.normal(size=(1, 9, 3)))


def test_layers_whose_input_is_unknown_are_refused(make_run, images, tmp_path):
    """And several layers, and two runs."""
    run = make_run()
    with pytest.raises(FiltertrackError, match="the run does not say"):
        animate(run, tmp_path / "a.gif", responses=images[..., :1])
    with pytest.raises(FiltertrackError, match="one layer of one run"):
        animate(run, tmp_path / "a.gif", responses=images, layers="*")
    with pytest.raises(FiltertrackError, match="one layer of one run"):
        animate(run, tmp_path / "a.gif", responses=images, compare=run)


def test_each_response_lies_where_its_filter_lies(make_run, conv_info, rng, frames_of):
    """Also of pictures that are much wider than high."""
    info = replace(conv_info(kernel_shape=(5, 5, 3, 30)), preprocessing=(), padding="same")
    run = make_run(info, steps=range(3))
    drawing = frames_of(run, 900, responses=[rng.normal(size=(20, 90, 3))])
    picture, filters, responses = (grid.layout for grid in drawing._arranged.grids)
    assert (filters.columns, filters.rows) == (responses.columns, responses.rows)
    assert (picture.columns, picture.rows) == (1, 1)


@pytest.mark.parametrize("step", [0, 2])
def test_a_damaged_snapshot_is_left_out(first_run, images, tmp_path, caplog, step):
    """Also the first one."""
    file = first_run.file(step)
    file.write_bytes(file.read_bytes()[:-500])
    assert animate(first_run, tmp_path / "a.gif", responses=images).frames == 3
    assert f"left out step {step}" in caplog.text
