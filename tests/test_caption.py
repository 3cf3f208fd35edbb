import numpy as np
import pytest

from filtertrack import Moment
from filtertrack.caption import Caption, describe
from filtertrack.palette import TEXT, TEXT_SHADES


def moments(count=3, **metrics):
    return [
        Moment(step, step, 10 * step, {n: v * step for n, v in metrics.items()} if step else {})
        for step in range(count)
    ]


@pytest.mark.parametrize("width", [260, 400, 640, 1000])
def test_text_stays_inside_and_in_place(width):
    """Nothing touches the border, whatever the width; the title does not move between frames."""
    run = moments(loss=0.5, val_accuracy=0.3, a_metric_with_a_rather_long_name=1e-7)
    caption = Caption("block_1/a_rather_long_name/conv1", run, width)
    for moment in run:
        strip = caption.draw(moment)
        assert strip.shape == (caption.height, width)
        assert strip.min() == TEXT
        assert strip.max() == TEXT + TEXT_SHADES - 1
        for border in (strip[:3], strip[-3:], strip[:, :3], strip[:, -3:]):
            assert (border == TEXT).all()


def test_a_metric_that_comes_later_has_its_place_from_the_start():
    """Every frame of a run has the same height; what is not known yet is a dash."""
    run = [Moment(0, 0), Moment(1, 1, 5, {"loss": 1.0}), Moment(2, 2, 10, {"loss": 1, "val": 2})]
    caption = Caption("conv1", run, 400)
    assert {caption.draw(moment).shape for moment in run} == {(caption.height, 400)}
    first, second = (caption.draw(moment) for moment in run[:2])
    assert (first != second).any()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1e300, 1e-300, 0.0, 123456.0])
def test_any_value_can_be_shown(value):
    """Also a loss that has blown up."""
    run = [Moment(0, 0), Moment(1, 1, 5, {"loss": value})]
    assert np.ptp(Caption("conv1", run, 260).draw(run[1])) > 0


def test_describe_says_when():
    """The start is named; epochs and batches are counted as finished."""
    assert describe(Moment(0, 0, 0)) == "before training"
    assert describe(Moment(40, 2, 40)) == "epoch 2 · batch 40"
    assert describe(Moment(3, 3)) == "epoch 3"


def test_a_name_that_would_break_the_line():
    """A metric's or layer's name with control characters takes one line like any other."""
    plain = [Moment(1, 1, 5, {"loss": 1.0})]
    strange = [Moment(1, 1, 5, {"lo\nss\x1b": 1.0})]
    assert Caption("conv1", strange, 400).height == Caption("conv1", plain, 400).height
    drawn = Caption("conv1", strange, 400).draw(strange[0])
    expected = [Moment(1, 1, 5, {"lo?ss?": 1.0})]
    np.testing.assert_array_equal(drawn, Caption("conv1", expected, 400).draw(expected[0]))
