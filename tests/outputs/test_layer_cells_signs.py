"""Signs of strongest patterns over a run: from the weights, and without flicker."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from filtertrack import animate
from filtertrack.render.cells import strongest_pattern


def turning(angles, channels=(0.6, 0.8)):
    """Return kernels of one 1x2 pattern that turns, one a snapshot: (n, 1, 1, 2, 2)."""
    spatial = np.stack([np.cos(np.radians(angles)), np.sin(np.radians(angles))], axis=1)
    return np.multiply.outer(spatial, channels)[:, np.newaxis, np.newaxis]


def test_signs_of_patterns_do_not_flip_between_snapshots(write_run, conv_info, layer_of):
    """A pattern that turns by 20 degrees a snapshot."""
    info = conv_info(kernel_shape=(1, 2, 2, 1), bias=False)
    angles = np.arange(0, 380, 20)
    weights = [(0.6, -0.5 - n / 50) for n in range(len(angles))]
    kernels = [turning([a], w)[0] for a, w in zip(angles, weights, strict=True)]
    made = layer_of(write_run(info, kernels), range(len(angles)))
    for positions in (range(len(angles)), np.arange(0, len(angles) - 1, 0.5)):
        cells = np.array(list(made.walk(positions))).reshape(len(positions), 2)
        lengths = np.linalg.norm(cells, axis=1)
        cosines = (cells[1:] * cells[:-1]).sum(axis=1) / (lengths[1:] * lengths[:-1])
        assert (cosines > np.cos(np.radians(25))).all()


def test_skipping_snapshots_keeps_patterns_within_the_whole_range(write_run, conv_info, layer_of):
    """For any signs of the patterns."""
    info = conv_info(kernel_shape=(1, 2, 2, 1), bias=False)
    kernels = turning([0, 80, 160]) * np.array([1, 1, 3]).reshape(3, 1, 1, 1, 1)
    made = layer_of(write_run(info, kernels), range(3), scale="filter")
    for cells in made.walk([0, 2]):
        assert cells.min() >= made.whole_range.low[0] - 1e-9
        assert cells.max() <= made.whole_range.high[0] + 1e-9


def crossing(shares, spatial):
    """Return filters whose channel sums cross zero, one a snapshot: ``(n, 1, 2, 2, 3)``."""
    weights = np.array([[0.6 - share, -0.5, 0.1] for share in shares])
    return np.einsum("hw,nc->nhwc", spatial, weights)[:, np.newaxis]


def test_a_run_whose_channel_sums_cross_zero_does_not_flip(write_run, conv_info, layer_of):
    """The last snapshot has its own sign; those before continue it backwards."""
    info = conv_info(kernel_shape=(2, 2, 3, 1), bias=False)
    spatial = np.array([[1.0, -2.0], [0.5, 3.0]])
    kernels = crossing(np.linspace(0, 0.5, 21), spatial)
    alone = [strongest_pattern(kernel)[0, 1, 1, 0] for kernel in kernels]
    assert alone[0] > 0 > alone[-1], "the sign of each snapshot alone does flip"
    made = layer_of(write_run(info, kernels), range(21), channels="strongest")
    drawn = np.array(list(made.walk(range(21))))
    assert (drawn[:, 0, 1, 1, 0] < 0).all()
    np.testing.assert_array_equal(drawn[-1], strongest_pattern(kernels[-1]))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    seed=st.integers(0, 10**6),
    pace=st.floats(0.01, 3),
    delta=st.booleans(),
    order=st.sampled_from(["stored", "drift"]),
)
def test_no_pattern_flips_between_snapshots(  # noqa: PLR0917 - fixtures
    make_run, write_run, conv_info, layer_of, seed, pace, delta, order
):
    """The product of a filter's patterns at two snapshots is never negative, at any pace."""
    rng = np.random.default_rng(seed)
    info = conv_info(kernel_shape=(3, 3, 8, 5), bias=False)
    kernels = np.cumsum(pace * rng.normal(size=(7, *info.shape)), axis=0)
    run = write_run(info, kernels, f"{seed}-{pace}-{delta}-{order}-{rng.integers(10**9)}")
    made = layer_of(run, run.steps, delta=delta, order=order)
    cells = np.array(list(made.walk(range(7)))).reshape(7, 5, 9)
    assert (np.einsum("ncp,ncp->nc", cells[1:], cells[:-1]) >= -1e-9).all()


def test_zero_and_broken_snapshots_between_do_not_matter(write_run, conv_info, layer_of, rng):
    """Their product with the others is zero, or not a number."""
    info = conv_info(kernel_shape=(3, 3, 8, 5), bias=False)
    kernels = np.repeat(rng.normal(size=(1, *info.shape)), 4, axis=0)
    kernels[1], kernels[2] = 0, np.nan
    cells = np.array(list(layer_of(write_run(info, kernels)).walk(range(4))))
    np.testing.assert_array_equal(cells[0], cells[3])
    assert not cells[1].any()
    assert np.isnan(cells[2]).all()


@pytest.mark.parametrize("delta", [False, True])
def test_signs_are_the_same_where_few_cells_are_kept(
    write_run, conv_info, layer_of, delta, monkeypatch
):
    """Of a long run the cells are drawn again in a second pass."""
    rng = np.random.default_rng(5)
    info = conv_info(kernel_shape=(3, 3, 8, 5), bias=False)
    run = write_run(info, np.cumsum(rng.normal(size=(9, *info.shape)), axis=0))
    expected = list(layer_of(run, range(9), delta=delta).walk(range(9)))
    monkeypatch.setattr("filtertrack.outputs.layer_cells._MOST_KEPT", 1000)
    made = layer_of(run, range(9), delta=delta)
    np.testing.assert_array_equal(list(made.walk(range(9))), expected)
    assert made._kept_bytes <= 1000


def test_the_picture_of_equal_weights_does_not_depend_on_the_start(
    write_run, conv_info, tmp_path, pillow_frames
):
    """The last frames of runs with other starts are equal in every pixel of the grid."""
    rng = np.random.default_rng(1)
    info = conv_info(kernel_shape=(5, 5, 16, 12), bias=False)
    end = rng.normal(size=info.shape)
    grids = []
    for number, start in enumerate([rng.normal(size=info.shape), -end, 0 * end, end[::-1]]):
        run = write_run(info, [start, (start + end) / 2, end], str(number))
        made = animate(run, tmp_path / f"{number}.png", delta=False, scale="frame", size=400)
        last = pillow_frames(made)[-1]
        grids.append(last[-made.shape[1] // 2 :])
    for grid in grids[1:]:
        np.testing.assert_array_equal(grid, grids[0])
