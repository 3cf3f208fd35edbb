"""The parts of a picture: the filters, what training has added, or both."""

import numpy as np
import pytest

from filtertrack.outputs.picture_parts import is_small, part_of, parts_of, start_is_strong
from filtertrack.outputs.run_selection import select_from_run
from filtertrack.render.look import DIVERGING, GREY, Look

NOISE = np.random.default_rng(7)


def deltas(run, layers=None, compare=None, steps=None, **look):
    """Return which parts are drawn, as the ``delta`` of each."""
    selection = select_from_run(run, layers=layers, compare=compare, steps=steps)
    return [part.delta for part in parts_of(selection, Look(**look))]


@pytest.fixture
def trained(write_run, conv_info):
    """Return a function that writes a run in which so much of the start is left."""

    def make(left, size=9, channels=1, folder="run", filters=8):
        info = conv_info(kernel_shape=(size, size, channels, filters), bias=False)
        start, learned = NOISE.normal(size=(2, *info.shape))
        return write_run(info, [start, left * start + learned], folder)

    return make


@pytest.mark.parametrize("size", [2, 3, 4])
@pytest.mark.parametrize("left", [0, 1])
@pytest.mark.parametrize("channels", [1, 3, 8])
def test_small_kernels_have_both_parts(trained, size, left, channels):
    """Below 25 pixels, whatever is left of the start."""
    assert deltas(trained(left, size, channels)) == [False, True]


@pytest.mark.parametrize(("size", "small"), [((5, 5), False), ((4, 6), True), ((1, 64), False)])
def test_a_kernel_is_small_below_25_pixels(conv_info, size, small):
    assert is_small(conv_info(kernel_shape=(*size, 1, 4))) == small


@pytest.mark.parametrize("channels", [1, 3, 8])
def test_large_kernels_without_their_start_are_drawn_alone(trained, channels):
    """Trained from noise of which nothing is left."""
    assert deltas(trained(0, channels=channels)) == [False]


@pytest.mark.parametrize("channels", [1, 3, 8])
def test_large_kernels_with_a_strong_start_have_both_parts(trained, channels):
    """As after fine-tuning."""
    assert deltas(trained(5, channels=channels)) == [False, True]


def test_a_start_is_strong_from_a_cosine_of_one_half_on():
    """In half of the filters; one that is reversed counts, too."""
    start = np.zeros((4, 1, 2, 1))
    start[:, 0, 0] = 1

    def end(*degrees):
        turned = np.radians(degrees)
        return np.stack([np.cos(turned), np.sin(turned)], axis=1).reshape(4, 1, 2, 1)

    assert start_is_strong(start, end(59, 59, 59, 90))
    assert not start_is_strong(start, end(61, 61, 61, 0))
    assert start_is_strong(start, end(180, 180, 180, 90))
    assert start_is_strong(start, start)


@pytest.mark.parametrize("bad", [0.0, np.nan, np.inf])
def test_starts_without_a_direction_are_left_out(bad):
    """Also where no filter has one: then nothing is strong."""
    start = NOISE.normal(size=(4, 9, 9, 1))
    end = NOISE.normal(size=start.shape)
    broken = start.copy()
    broken[:3] = bad
    assert not start_is_strong(broken, end)
    end[3] = start[3]
    assert start_is_strong(broken, end)
    broken[:] = bad
    assert not start_is_strong(broken, end)
    assert not start_is_strong(end, broken)
    assert not start_is_strong(start[:0], end[:0])


@pytest.mark.parametrize("bad", [0.0, np.nan, np.inf])
def test_a_run_that_starts_without_a_direction_has_parts(write_run, conv_info, bad):
    """Zeros or NaN; small kernels have both, large ones the filters."""
    for size, expected in ((3, [False, True]), (9, [False])):
        info = conv_info(kernel_shape=(size, size, 1, 4), bias=False)
        start = np.full(info.shape, bad)
        run = write_run(info, [start, NOISE.normal(size=info.shape)], f"run{size}")
        assert deltas(run) == expected


def test_the_selected_steps_decide(write_run, conv_info):
    """The first and the last of those that are drawn."""
    info = conv_info(kernel_shape=(9, 9, 1, 4), bias=False)
    start, end = NOISE.normal(size=(2, *info.shape))
    run = write_run(info, [start, 1.1 * start, end])
    assert deltas(run) == [False]
    assert deltas(run, steps=[0, 1]) == [False, True]


@pytest.mark.parametrize("delta", [False, True])
@pytest.mark.parametrize("left", [0, 5])
def test_a_part_that_is_asked_for_is_alone(trained, delta, left):
    for size in (3, 9):
        assert deltas(trained(left, size, folder=f"run{size}"), delta=delta) == [delta]


def test_one_of_two_runs_or_layers_suffices_for_both_parts(trained, make_run, conv_info):
    """All grids of a picture have the same parts."""
    gone, strong = trained(0, folder="gone"), trained(5, folder="strong")
    for one, other in ((gone, strong), (strong, gone)):
        assert deltas(one, compare=other) == [False, True]
    assert deltas(gone, compare=trained(0, folder="gone too")) == [False]
    layers = [conv_info("large", (9, 9, 1, 4)), conv_info("small", (3, 3, 1, 4))]
    run = make_run(*layers, steps=[0, 40], folder="layers")
    assert deltas(run, layers=["small", "large"]) == [False, True]


def test_both_parts_have_one_scale_over_the_run(trained):
    """Or the one that is asked for; a colormap that is asked for is that of both."""
    selection = select_from_run(trained(0, 3))
    filters, learned = parts_of(selection, Look())
    assert (filters.scale, filters.colormap) == ("filter", GREY)
    assert (learned.scale, learned.colormap) == ("filter", DIVERGING)
    look = Look(scale="layer", colormap="viridis", order="drift", outline=True)
    for part in parts_of(selection, look):
        assert (part.scale, part.colormap, part.order) == ("layer", "viridis", "drift")
        assert part.outline


def test_a_part_alone_has_its_defaults():
    """The filters in grey at each frame; the difference in colours over the run."""
    filters, learned = part_of(Look()), part_of(Look(delta=True))
    assert (filters.delta, filters.scale, filters.colormap) == (False, "frame", "gray")
    assert (learned.delta, learned.scale, learned.colormap) == (True, "filter", "RdBu_r")
    given = part_of(Look(delta=True, scale="frame", colormap="gray"))
    assert (given.scale, given.colormap) == ("frame", "gray")
