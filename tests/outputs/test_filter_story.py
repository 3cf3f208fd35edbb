"""The story of one filter: its measures in the caption of an animation."""

import numpy as np
import pytest

from filtertrack import FiltertrackError, animate, measures
from filtertrack.outputs.filter_story import story_of
from filtertrack.outputs.run_selection import select_from_run


def test_the_measures_are_those_of_the_filter(colour_run):
    """Drift from the start and roughness, at each step of the selection."""
    selection = select_from_run(colour_run, steps=[0, 2, 4])
    start, end = (colour_run.kernels("conv1", step) for step in (0, 4))
    story = story_of(selection, 5)
    assert len(story) == 3
    assert story[0]["its drift"] == pytest.approx(0, abs=1e-6)
    assert story[2]["its drift"] == pytest.approx(float(measures.drift(end, start)[5]))
    assert story[2]["its roughness"] == pytest.approx(float(measures.roughness(end)[5]))


def test_drift_is_from_the_start_of_the_run(colour_run):
    """As the difference is, whichever steps are drawn."""
    start, end = (colour_run.kernels("conv1", step) for step in (0, 4))
    (last,) = story_of(select_from_run(colour_run, steps=[4]), 5)
    assert last["its drift"] == pytest.approx(float(measures.drift(end, start)[5]))


def test_measures_that_are_not_finite_are_left_out(write_run, conv_info):
    """A filter of zeros has neither a direction nor a roughness."""
    info = conv_info(kernel_shape=(5, 5, 1, 2), bias=False)
    run = write_run(info, [np.zeros(info.shape)] * 2)
    assert story_of(select_from_run(run), 0) == [{}, {}]


def test_the_caption_is_higher_and_the_filter_is_outlined(colour_run, tmp_path):
    """Two curves and the legend of labels are added; the grid is the same size."""
    plain = animate(colour_run, tmp_path / "a.gif", filters=[5])
    story = animate(colour_run, tmp_path / "b.gif", filters=[5], big=True)
    assert story.shape[0] > plain.shape[0]
    assert story.shape[1] >= plain.shape[1]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "big: expected one filter, got 16; choose it with filters, such as filters=\\[5\\]"),
        ({"filters": [1, 2]}, "big: expected one filter, got 2"),
    ],
    ids=str,
)
def test_several_filters_are_refused(colour_run, tmp_path, options, message):
    """The message says how to choose one, and nothing is written."""
    with pytest.raises(FiltertrackError, match=message):
        animate(colour_run, tmp_path / "a.gif", big=True, **options)
    assert not list(tmp_path.glob("*.gif"))


def test_two_runs_are_refused(colour_run, tmp_path):
    """A story is that of one run."""
    with pytest.raises(FiltertrackError, match="big: expected one layer of one run"):
        animate(colour_run, tmp_path / "a.gif", big=True, filters=[1], compare=colour_run)
