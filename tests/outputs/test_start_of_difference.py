"""The start that a difference is taken from is that of the run, whichever steps are drawn."""

import numpy as np
import pytest

from filtertrack import filmstrip
from filtertrack.outputs.layer_cells import LayerCells, part_text
from filtertrack.outputs.picture_parts import is_small, part_of, parts_of
from filtertrack.outputs.run_selection import read_start, select_from_run
from filtertrack.render.look import Look


@pytest.fixture
def run(write_run, conv_info, rng):
    """A run of five snapshots in which the weights grow by the same amount each time."""
    info = conv_info(kernel_shape=(3, 3, 1, 4), bias=False)
    start = rng.normal(size=info.shape)
    return write_run(info, [start + step for step in range(5)])


def test_later_steps_alone_still_show_what_was_learned(run):
    """The last snapshot differs from the run's start by 4, not from itself by nothing."""
    layer = LayerCells(run, "conv1", [4], part_of(Look(delta=True)))
    np.testing.assert_allclose(layer.last_cells(), 4.0, rtol=1e-6)
    assert part_text(layer) == "learned: difference from the start, up to 4.000"
    figure = filmstrip(run, steps=[4])
    assert "learned: difference from the start" in figure.texts[0].get_text()
    assert "nothing" not in figure.texts[0].get_text()


def test_the_start_alone_has_no_difference(run):
    """A picture of it shows the filters only."""
    parts = [parts_of(select_from_run(run, steps=[step]), Look()) for step in (0, 4)]
    assert [[part.delta for part in each] for each in parts] == [[False], [False, True]]


def test_a_damaged_start_is_named(run):
    """The difference is then taken from the first snapshot that can be read."""
    (run.folder / "snapshots" / "000000000000.npz").write_bytes(b"damaged")
    assert read_start(run, "conv1")[0] == 1
    layer = LayerCells(run, "conv1", [2, 4], part_of(Look(delta=True)))
    assert part_text(layer) == "learned: difference from epoch 1, up to 3.000"


@pytest.mark.parametrize(
    ("kernel_shape", "small"),
    [
        ((3, 3, 3, 1, 4), True),
        ((5, 5, 5, 1, 4), False),
        ((5, 5, 1, 4), False),
        ((1, 64, 1, 4), False),
    ],
    ids=str,
)
def test_slices_of_a_3d_kernel_are_small_one_by_one(conv_info, kernel_shape, small):
    """3x3x3 has nine weights on its plane, though its slices lie side by side."""
    *space, channels, filters = kernel_shape
    depth = space[0] if len(space) == 3 else 1
    height, width = space[-2:]
    info = conv_info(
        kernel_shape=kernel_shape,
        axes=(4, 1, 0, 2, 3) if depth > 1 else (3, 0, 1, 2),
        shape=(filters, height, depth * width, channels),
    )
    assert is_small(info) == small
