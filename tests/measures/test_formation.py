import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from filtertrack.measures import UNMOVED, formed_at, formed_by, settled_at

SNAPSHOTS = st.integers(1, 6)


def some_steps(count):
    """Return an ascending list of that many steps, with gaps."""
    return st.lists(st.integers(0, 10**6), min_size=count, max_size=count, unique=True).map(sorted)


@given(st.data(), SNAPSHOTS, st.integers(0, 5))
def test_a_filter_has_formed_from_where_it_stays_structured(data, snapshots, filters):
    """The first snapshot from which all that follow are structured, looked for one by one."""
    structured = data.draw(arrays(np.bool_, (snapshots, filters)))
    steps = data.draw(some_steps(snapshots))
    found = formed_at(structured, steps)
    assert found.shape == (filters,)
    for number, value in enumerate(found):
        history = structured[:, number].tolist()
        since = [step for place, step in enumerate(steps) if all(history[place:])]
        assert value == since[0] if since else math.isnan(value)


@given(
    st.lists(st.one_of(st.integers(0, 1000), st.just(math.nan)), max_size=12),
    st.integers(1, 10),
)
def test_a_share_has_formed_by_the_first_step_at_which_it_has(formed, tenths):
    """The smallest step at which so many of all filters had, those that never do counted too."""
    found = formed_by(np.array(formed, np.float64), tenths / 10)
    enough = [
        step
        for step in sorted(step for step in formed if not math.isnan(step))
        if sum(other <= step for other in formed) >= Fraction(tenths, 10) * len(formed)
    ]
    assert found == enough[0] if enough else math.isnan(found)


@given(st.data(), st.integers(0, 6))
def test_a_layer_has_settled_from_where_it_stays_near_its_end(data, snapshots):
    """The first from which all turns left are 1 % of the first, for a quarter of the training."""
    turns = st.sampled_from([0.0, 0.005, 0.01, 0.0101, 0.5, 1.0, math.nan])
    to_the_end = data.draw(st.lists(turns, min_size=snapshots, max_size=snapshots))
    steps = data.draw(some_steps(snapshots))
    found = settled_at(np.array(to_the_end), steps)
    since = [
        step
        for place, step in enumerate(steps)
        if all(turn <= 0.01 * to_the_end[0] for turn in to_the_end[place:])
    ]
    rests = since and 4 * (steps[-1] - since[0]) >= steps[-1] - steps[0]
    if rests and len(since) < len(steps):
        assert found == since[0]
    else:
        assert math.isnan(found)


def test_a_layer_that_still_moves_has_not_settled():
    """Near the end every layer is near its end: of one that turns all along none is at rest."""
    angles = np.linspace(np.pi / 2, 0, 91)
    assert math.isnan(settled_at(1 - np.cos(angles), range(91)))
    then_at_rest = np.concatenate([angles, np.zeros(60)])
    assert settled_at(1 - np.cos(then_at_rest), range(151)) == 82


def test_formation_where_nothing_was_measured():
    """No snapshot, no filter: nothing has formed or settled."""
    assert np.isnan(formed_at(np.zeros((0, 3), bool), [])).tolist() == [True] * 3
    assert formed_at(np.zeros((2, 0), bool), [0, 1]).shape == (0,)
    assert math.isnan(formed_by(np.array([]), 0.5))
    assert math.isnan(settled_at(np.array([]), []))
    assert math.isnan(settled_at(np.array([0.0]), [0]))


def test_unmoved_is_an_angle_of_eight_degrees():
    """1 - cos of it is a hundredth."""
    assert math.degrees(math.acos(1 - UNMOVED)) == pytest.approx(8.1, abs=0.05)


def test_a_share_that_is_no_binary_fraction():
    """55 of 100 filters are 55 %, though 0.55 * 100 is a little more than 55."""
    formed = np.where(np.arange(100) < 55, 10.0, np.nan)
    assert formed_by(formed, 0.55) == 10


def test_a_layer_cut_off_early_has_not_settled():
    """However little it has turned so far: what is near is counted in what it has come."""
    angles = np.linspace(np.radians(12), 0, 91)
    assert math.isnan(settled_at(1 - np.cos(angles), range(91)))
