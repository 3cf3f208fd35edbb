"""Runs and helpers that the tests of several outputs share."""

import os
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
from PIL import Image, ImageSequence

from filtertrack import Moment, Run, Snapshot
from filtertrack.outputs.animation_pace import Pace
from filtertrack.outputs.frames import AnimationFrames
from filtertrack.outputs.layer_cells import LayerCells
from filtertrack.outputs.picture_parts import part_of
from filtertrack.outputs.run_selection import select_from_run
from filtertrack.outputs.timeline import plan
from filtertrack.render.grid import Layout
from filtertrack.render.look import Look
from filtertrack.render.palette import TRANSPARENT, theme_palette

GOLDEN = Path(__file__).parents[1] / "golden"


@pytest.fixture
def grey_run(make_run, conv_info):
    """A run of 8 one-channel filters of 9x9 at six steps."""
    return make_run(conv_info(kernel_shape=(9, 9, 1, 8)), steps=range(6))


@pytest.fixture
def colour_run(make_run, conv_info):
    """A run of 16 colour filters of 7x7 at five steps."""
    return make_run(conv_info(kernel_shape=(7, 7, 3, 16)), steps=range(5))


@pytest.fixture
def frames_of():
    """Return a function that returns the frames which ``animate`` draws of a run."""

    def make(run, side, look=None, **options):
        selection = select_from_run(run)
        timeline = plan(selection.moments[0], Pace())
        return AnimationFrames(selection, timeline, look or Look(), side=side, **options)

    return make


@pytest.fixture
def grid_in():
    """Return a function that returns the pixels of one grid of a frame: its cells and lines."""

    def cut(drawing, frame, number=0):
        grid = drawing._arranged.grids[number]
        top, (height, width) = drawing._header.height + grid.top, grid.layout.shape
        return frame[top : top + height, grid.left : grid.left + width]

    return cut


@pytest.fixture
def bar_in():
    """Return a function that returns the pixels of the scale bar below one grid of a frame."""

    def cut(drawing, frame, number=0):
        grid = drawing._arranged.grids[number]
        height, width = grid.layout.shape
        top = drawing._header.height + grid.top + height
        left = grid.left + grid.layout.gap
        right = grid.left + width - grid.layout.gap
        return frame[top : top + drawing._arranged.bar, left:right]

    return cut


@pytest.fixture
def repainted():
    """Return a function that plays frames with a palette each, as a reader of GIF does."""

    def play(drawing):
        shown = np.zeros((*drawing.shape, 3), np.uint8)
        for picture in drawing.repaints():
            kept = (picture.pixels == TRANSPARENT)[..., np.newaxis]
            shown = np.where(kept, shown, picture.colours[picture.pixels])
            yield shown

    return play


@pytest.fixture
def pillow_frames():
    """Return a function that decodes the frames of a file with Pillow."""

    def decode(path):
        with Image.open(os.fspath(path)) as image:
            return [np.asarray(frame.convert("RGB")) for frame in ImageSequence.Iterator(image)]

    return decode


@pytest.fixture
def layer_of():
    """Return a function that returns the cells of a run's first layer, or of another one."""

    def make(run, steps=range(4), layer=None, **look):
        return LayerCells(run, layer or next(iter(run.layers)), steps, part_of(Look(**look)))

    return make


@pytest.fixture
def painted():
    """Return a function that returns the exact colours of cells: ``(cells, height, width, 3)``."""

    def paint(made, cells, values=None, palette=None):
        view = made.view
        layout = Layout.fit(view.count, view.height, view.width, 60, view.slices)
        drawn = made.draw(cells, made.values(cells) if values is None else values, layout)
        return (
            drawn if drawn.ndim == 4 else (theme_palette() if palette is None else palette)[drawn]
        )

    return paint


@pytest.fixture
def write_run(tmp_path):
    """Write a run of one layer with these filters: ``(filters, height, width, channels)`` each."""

    def write(info, snapshots, folder="written"):
        run = Run.create(tmp_path / folder, [info])
        for step, filters in enumerate(snapshots):
            kernel = np.asarray(filters).transpose(1, 2, 3, 0).reshape(info.kernel_shape)
            arrays = {info.kernel: np.ascontiguousarray(kernel)}
            run.append(Snapshot(Moment(step, step), arrays))
        return run

    return write


@pytest.fixture
def golden_figure(request):
    """Compare a matplotlib figure with the golden picture of a name; a missing one fails.

    Letters differ between versions of matplotlib: the mean difference may be 2 of 255, and before
    3.11, which draws thicker and wider letters, 10 of 255.
    """
    most = 2 if mpl.__version_info__ >= (3, 11) else 10

    def compare(name, figure):
        path = GOLDEN / name
        figure.canvas.draw()
        drawn = np.asarray(figure.canvas.buffer_rgba())[..., :3]
        if request.config.getoption("--update-golden"):
            Image.fromarray(drawn).save(path)
        assert path.exists(), f"no golden picture {name}: --update-golden makes it, then look at it"
        with Image.open(path) as image:
            expected = np.asarray(image.convert("RGB"))
        assert drawn.shape == expected.shape
        assert np.abs(drawn.astype(int) - expected).mean() < most

    return compare
