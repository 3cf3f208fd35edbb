"""Matching the filters of two runs."""

import subprocess
import sys

import numpy as np
import pytest

from filtertrack import FiltertrackError, Run, animate
from filtertrack.outputs import filter_matching
from filtertrack.outputs.filter_matching import match_filters
from filtertrack.outputs.layer_cells import LayerCells
from filtertrack.outputs.picture_parts import part_of
from filtertrack.render.look import Look


@pytest.fixture
def permuted(write_run, conv_info):
    """Return a function that writes a run, and a copy with filters and channels in another order.

    It returns both and the number of each filter's copy.
    """

    def make(channels=1, filters=12, noise=0.0):
        rng = np.random.default_rng(3)
        info = conv_info(kernel_shape=(5, 5, channels, filters), bias=False)
        kernels = rng.normal(size=(3, *info.shape))
        order, inputs = rng.permutation(filters), rng.permutation(channels)
        others = kernels[:, order][..., inputs] if channels > 3 else kernels[:, order]
        others = others + noise * rng.normal(size=others.shape)
        return write_run(info, kernels, "one"), write_run(info, others, "two"), np.argsort(order)

    return make


@pytest.mark.parametrize(("channels", "noise"), [(1, 0), (3, 0), (8, 0), (1, 0.3), (3, 0.3)])
def test_a_permuted_copy_is_matched_back(permuted, layer_of, channels, noise):
    """Deep layers by their patterns: their channels have another order in each run."""
    one, two, partners = permuted(channels, noise=noise)
    found = match_filters(layer_of(one, range(3)), layer_of(two, range(3)))
    assert found.tolist() == partners.tolist()


def test_the_order_of_the_first_run_is_kept(permuted, layer_of):
    """The partner of each of its filters, in the order drawn; also of some of them."""
    one, two, partners = permuted()
    for look in ({"order": "drift"}, {"filters": [7, 2, 5]}):
        first = layer_of(one, range(3), **look)
        found = match_filters(first, layer_of(two, range(3)))
        assert found.tolist() == partners[first.numbers].tolist()


def test_the_sum_of_the_cosines_is_the_largest(write_run, conv_info, layer_of):
    """Not each with its most similar one, which may be the same for two."""
    info = conv_info(kernel_shape=(1, 2, 1, 2), bias=False)
    ours = np.array([[1.0, 0.0], [0.9, 0.5]]).reshape(2, 1, 2, 1)
    theirs = np.array([[1.0, 0.1], [-0.2, 1.0]]).reshape(2, 1, 2, 1)
    one, two = write_run(info, [ours], "one"), write_run(info, [theirs], "two")
    assert match_filters(layer_of(one, [0]), layer_of(two, [0])).tolist() == [0, 1]
    other = write_run(info, [theirs[::-1]], "other")
    assert match_filters(layer_of(one, [0]), layer_of(other, [0])).tolist() == [1, 0]


def test_broken_filters_are_matched_last(write_run, conv_info, layer_of, rng):
    """Each filter has a partner; NaN and zeros are like none."""
    info = conv_info(kernel_shape=(3, 3, 1, 4), bias=False)
    ours = rng.normal(size=info.shape)
    ours[1], ours[2] = np.nan, 0
    one, two = write_run(info, [ours], "one"), write_run(info, [ours[[3, 1, 2, 0]]], "two")
    found = match_filters(layer_of(one, [0]), layer_of(two, [0])).tolist()
    assert (found[0], found[3]) == (3, 0)
    assert sorted(found) == [0, 1, 2, 3]


@pytest.mark.parametrize("parts", [{"delta": False}, {}, {"delta": True}], ids=str)
def test_matched_runs_look_the_same(permuted, tmp_path, pillow_frames, frames_of, parts):
    """A permuted copy beside a run: both grids of a part are equal in every frame."""
    one, two, _ = permuted()
    options = {"compare": two, "match": True, "size": 900, **parts}
    made = animate(one, tmp_path / "a.png", **options)
    from filtertrack.outputs.animation_pace import Pace
    from filtertrack.outputs.frames import AnimationFrames
    from filtertrack.outputs.run_selection import select_from_run
    from filtertrack.outputs.timeline import plan
    from filtertrack.render.look import Look

    selection = select_from_run(one, compare=two)
    timeline = plan(selection.moments[0], Pace())
    drawing = AnimationFrames(selection, timeline, Look(**parts), side=900, match=True)
    assert made.shape == drawing.shape
    grids, count = drawing._arranged.grids, len(drawing._arranged.grids) // 2
    for frame in pillow_frames(made):
        pictures = []
        for grid in grids:
            top = drawing._header.height + grid.top
            height, width = grid.layout.shape
            pictures.append(frame[top : top + height, grid.left : grid.left + width])
        for left, right in zip(pictures[:count], pictures[count:], strict=True):
            np.testing.assert_array_equal(left, right)


def test_matching_needs_scipy(permuted, tmp_path):
    """The message names the extra; nothing is written."""
    one, two, _ = permuted()
    code = (
        "import sys; sys.modules['scipy'] = sys.modules['scipy.optimize'] = None\n"
        "from filtertrack import FiltertrackError, animate\n"
        f"try:\n    animate({str(one.path)!r}, {str(tmp_path / 'a.gif')!r}, match=True,\n"
        f"        compare={str(two.path)!r})\n"
        "except FiltertrackError as error:\n    print(error)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    )
    assert "match: pairing filters needs scipy: pip install 'filtertrack[match]'" in result.stdout
    assert not (tmp_path / "a.gif").exists()


def test_a_matrix_is_not_matched(make_run, conv_info, tmp_path):
    info = conv_info(kernel_shape=(1, 1, 8, 5), bias=False)
    one, two = (make_run(info, folder=name) for name in ("one", "two"))
    with pytest.raises(FiltertrackError, match=r"match: a 1x1 kernel is drawn as one matrix"):
        animate(one, tmp_path / "a.gif", compare=two, match=True)


def test_too_many_filters_are_not_matched(permuted, tmp_path, monkeypatch):
    """Their cosines would exceed the memory."""
    monkeypatch.setattr(filter_matching, "_MOST_MATCHED", 11)
    one, two, _ = permuted()
    with pytest.raises(FiltertrackError, match="match: expected at most 11 filters, got 12"):
        animate(one, tmp_path / "a.gif", compare=Run(two.path), match=True)


def test_filters_in_a_cell_a_channel_are_matched_whole(write_run, conv_info, rng, tmp_path):
    """Not their cells: there are more cells than filters."""
    info = conv_info(kernel_shape=(5, 5, 3, 6), bias=False)
    start, end = rng.normal(size=(2, *info.shape))
    shuffled = rng.permutation(6)
    one = write_run(info, [start, end], "one")
    two = write_run(info, [start[shuffled], end[shuffled]], "two")
    options = {"channels": "all", "delta": False, "match": True}
    animate(one, tmp_path / "a.gif", compare=two, **options)
    cells = [
        LayerCells(run, "conv1", range(2), part_of(Look(channels="all"))) for run in (one, two)
    ]
    assert match_filters(*cells).tolist() == np.argsort(shuffled).tolist()


@pytest.mark.parametrize("option", ["match", "one_scale"])
def test_an_option_of_two_runs_needs_a_second_one(colour_run, tmp_path, option):
    """It would have no effect."""
    with pytest.raises(FiltertrackError, match=f"{option}: it takes a second run"):
        animate(colour_run, tmp_path / "a.gif", **{option: True})
