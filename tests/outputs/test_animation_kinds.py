"""Animations of kernels that are not square images of one or three channels."""

import numpy as np
import pytest

from filtertrack import FiltertrackError, Moment, Run, Snapshot, animate, filmstrip
from filtertrack.outputs.layer_cells import LayerCells
from filtertrack.outputs.picture_parts import part_of
from filtertrack.render.grid import Layout
from filtertrack.render.look import Look
from filtertrack.render.signal_cells import curve_cells


@pytest.fixture
def line_run(tmp_path, conv_info):
    """Write a run of a Conv1D with these kernels: ``(length, channels, filters)`` each."""

    def write(kernels, folder="line"):
        length, channels, filters = np.shape(kernels[0])
        info = conv_info(
            kernel_shape=(length, channels, filters),
            axes=(2, 0, 1),
            shape=(filters, 1, length, channels),
            class_name="Conv1D",
            bias=False,
        )
        run = Run.create(tmp_path / folder, [info])
        for step, kernel in enumerate(kernels):
            arrays = {info.kernel: np.asarray(kernel, np.float32)}
            run.append(Snapshot(Moment(step, step), arrays))
        return run

    return write


def is_grey(pixels):
    return not np.ptp(pixels.astype(int), axis=-1).any()


@pytest.mark.parametrize("channels", [2, 3, 4])
def test_a_conv1d_is_a_heat_map_and_never_coloured(  # noqa: PLR0917 - fixtures
    line_run, tmp_path, channels, rng, pillow_frames, frames_of, grid_in
):
    """Each channel is a row, of any number of channels."""
    run = line_run(rng.normal(size=(3, 9, channels, 5)))
    frames = pillow_frames(animate(run, tmp_path / "a.png", delta=False, size=500))
    drawing = frames_of(run, 500, Look(delta=False))
    layout = drawing._arranged.grids[0].layout
    assert (layout.count, layout.height, layout.width) == (5, channels, 9)
    kernel = run.kernels("conv1", 2)[0, 0].T.astype(float)
    grid = grid_in(drawing, frames[-1])
    cell = grid[layout.gap :, layout.gap :][: layout.height * layout.scale : layout.scale]
    cell = cell[:, : layout.width * layout.scale : layout.scale]
    assert is_grey(cell)
    unit = (kernel - kernel.min()) / (kernel.max() - kernel.min())
    np.testing.assert_array_equal(cell[..., 0], np.rint(np.rint(234 * unit) * 255 / 234))


def motif(letters):
    return np.array([[float(letter == each) for each in "ACGT"] for letter in letters])[..., None]


@pytest.mark.parametrize("draw", [animate, filmstrip])
@pytest.mark.parametrize("names", [None, ("A", "C", "G", "T")])
def test_motifs_have_different_pictures(line_run, tmp_path, draw, names, pillow_frames):
    """TATAAT and CATAAC, with and without the names of the letters."""
    pictures = []
    for letters in ("TATAAT", "CATAAC"):
        run = line_run([motif(letters) * scale for scale in (0.1, 1)], letters)
        made = draw(run, tmp_path / f"{letters}.png", channel_names=names, delta=False)
        pictures.append(pillow_frames(tmp_path / f"{letters}.png")[-1])
        if draw is filmstrip:
            words = "A, C, G, T" if names else "4 channels"
            text = made.texts[0].get_text().replace("\n", " · ")
            assert f"down: {words}; across: positions" in text
    assert pictures[0].shape == pictures[1].shape
    assert (pictures[0] != pictures[1]).any(axis=-1).sum() > 1000


@pytest.mark.parametrize(("height", "width"), [(1, 64), (64, 1)])
@pytest.mark.parametrize("channels", [1, 3, 8])
def test_strips_are_legible(  # noqa: PLR0917 - fixtures
    make_run, conv_info, tmp_path, height, width, channels, frames_of, grid_in, pillow_frames
):
    """At the default size a weight has at least 9 pixels across, in pictures of one part or two."""
    run = make_run(conv_info(kernel_shape=(height, width, channels, 16), bias=False))
    for delta in (False, None):
        frames = pillow_frames(animate(run, tmp_path / "a.png", delta=delta))
        drawing = frames_of(run, None, Look(delta=delta))
        layout = drawing._arranged.grids[0].layout
        short = min(layout.height, layout.width) * layout.scale
        assert short >= 9
        cell = grid_in(drawing, frames[-1])[layout.gap :, layout.gap :]
        cell = cell[: layout.height * layout.scale, : layout.width * layout.scale]
        across = cell if width > height else cell.swapaxes(0, 1)
        assert (across == across[:1]).all(), "the same colour all across"
        colours = np.unique(across[0].reshape(-1, 3), axis=0)
        assert len(colours) > 20


@pytest.mark.parametrize("ending", ["gif", "webp", "mp4"])
def test_curves_and_their_difference_are_drawn(line_run, tmp_path, ending, rng, decoded):
    """Long 1-D kernels of one channel, such as those of sound."""
    start = rng.normal(size=(64, 1, 5))
    run = line_run([start, start + 0.2, start + np.sin(np.arange(64) / 3)[:, None, None]])
    for delta in (None, False, True):
        made = animate(run, tmp_path / f"a.{ending}", delta=delta)
        assert made.frames == 3
        if ending != "webp":
            frames = decoded(made.path)
            assert (frames[0] != frames[-1]).any()


def test_curves_are_drawn_in_single_pixels(line_run, rng):
    """At any magnification of the layout, with the spectrum of each beside it or without."""
    run = line_run(rng.normal(size=(2, 64, 1, 3)))
    for spectra, width in ((True, 49), (False, 24)):
        made = LayerCells(run, "conv1", [0, 1], part_of(Look()), spectra=spectra)
        cells = made.last_cells()
        assert (made.view.height, made.view.width) == (12, width)
        for scale in (1, 2, 5, 8):
            layout = Layout(3, 12, width, 2, scale, 3)
            drawn = made.draw(cells, made.values(cells), layout, range(10, 127))
            assert drawn.shape == (3, 12 * scale, width * scale)
            assert made.drawn_layout(layout).shape == layout.shape
            assert set(np.unique(drawn).tolist()) <= set(range(10, 127))
            curve = drawn[:, :, : 24 * scale]
            ink = curve_cells(
                cells[:, 0, :, 0],
                cells.min(axis=(1, 2, 3)),
                cells.max(axis=(1, 2, 3)),
                12 * scale,
                24 * scale,
            )
            np.testing.assert_array_equal(curve, np.rint(ink * 116 + 10))


@pytest.mark.parametrize("steps", [4, 10])
def test_a_filmstrip_of_curves_fits_at_the_default_size(line_run, rng, steps):
    """With both parts, each at ten steps; in a narrow column at a few."""
    start = rng.normal(size=(64, 1, 6))
    run = line_run([start * (1 + step / 100) for step in range(steps)])
    assert len(filmstrip(run).axes) == 2
    assert len(filmstrip(run, width="8.5cm", steps=[0, 1, 3]).axes) == 2


@pytest.mark.parametrize("draw", [animate, filmstrip])
def test_bands_are_drawn_by_number_and_name(make_run, conv_info, tmp_path, draw):
    """Of four input channels; one that is missing is an error, and nothing is written."""
    names = ["blue", "green", "red", "nir"]
    run = make_run(conv_info(kernel_shape=(5, 5, 4, 6), bias=False), steps=range(2))
    for channels in ("all", (2, 1, 0), "bgr", (0, 3), 3, "nir", ["nir", "red"]):
        target = tmp_path / f"{channels}.png"
        draw(run, target, channels=channels, channel_names=names)
        assert target.stat().st_size
    other = tmp_path / "other.png"
    for wrong, message in (
        ((0, 4), r"some of the channels 0 to 3 of conv1, got \(0, 4\)"),
        ("violet", "one of the names blue, green, red, nir, or two or three"),
        ((0, 1, 2, 3), "or two or three of them such as"),
    ):
        with pytest.raises(FiltertrackError, match=message):
            draw(run, other, channels=wrong, channel_names=names)
    with pytest.raises(FiltertrackError, match="conv1 has 4 input channels, got 3 names"):
        draw(run, other, channel_names=names[:3])
    assert not other.exists()


def test_three_of_four_bands_are_exact(make_run, conv_info, tmp_path, pillow_frames):
    """As those of a layer of these three channels."""
    run = make_run(conv_info(kernel_shape=(7, 7, 4, 6), bias=False))
    alone = conv_info(kernel_shape=(7, 7, 3, 6), bias=False)
    other = Run.create(tmp_path / "alone", [alone])
    for step in run.steps:
        kernel = run.snapshot(step).arrays["conv1/kernel"][:, :, [3, 2, 1]]
        other.append(Snapshot(run.moment(step), {alone.kernel: np.ascontiguousarray(kernel)}))
    look = {"delta": False, "size": 400}
    one = animate(run, tmp_path / "a.png", channels=(3, 2, 1), **look)
    two = animate(other, tmp_path / "b.png", **look)
    for mine, expected in zip(pillow_frames(one), pillow_frames(two), strict=True):
        np.testing.assert_array_equal(mine[-200:], expected[-200:])


def test_a_3d_kernel_of_three_channels_is_coloured(make_run, conv_info, frames_of):
    """Volumes have colours, as images have."""
    info = conv_info(
        kernel_shape=(2, 5, 5, 3, 4), axes=(4, 1, 0, 2, 3), shape=(4, 5, 10, 3), bias=False
    )
    drawing = frames_of(make_run(info), 400)
    assert all(layer.view.coloured for layer in drawing._layers)
