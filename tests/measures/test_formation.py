import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from filtertrack.measures import UNMOVED, answers_from, formed_at, formed_by, settled_at

SNAPSHOTS = st.integers(1, 6)


def some_steps(count):
    """Return a strategy for lists of that many ascending steps, with gaps."""
    return st.lists(st.integers(0, 10**6), min_size=count, max_size=count, unique=True).map(sorted)


@given(st.data(), SNAPSHOTS, st.integers(0, 5))
def test_formed_at_is_the_first_step_that_stays_structured(data, snapshots, filters):
    """Compared with a search over all snapshots."""
    structured = data.draw(arrays(np.bool_, (snapshots, filters)))
    steps = data.draw(some_steps(snapshots))
    found = formed_at(structured, steps)
    assert found.shape == (filters,)
    for number, value in enumerate(found):
        history = structured[:, number].tolist()
        since = [step for position, step in enumerate(steps) if all(history[position:])]
        assert value == since[0] if since else math.isnan(value)


@given(st.data(), SNAPSHOTS, st.integers(0, 5))
def test_answers_from_is_the_first_step_without_a_later_silent_snapshot(data, snapshots, filters):
    """Compared with a search over the snapshots with responses."""
    values = st.sampled_from([0.0, 1.0, math.nan])
    silent = data.draw(arrays(np.float64, (snapshots, filters), elements=values))
    steps = data.draw(some_steps(snapshots))
    found = answers_from(silent, steps)
    assert found.shape == (filters,)
    recorded = [index for index in range(snapshots) if np.isfinite(silent[index]).any()]
    for number, value in enumerate(found):
        since = [
            steps[index] for index in recorded
            if all(silent[later, number] == 0 for later in recorded if later >= index)
        ]  # fmt: skip
        assert value == since[0] if since else math.isnan(value)


def test_answers_from_skips_snapshots_without_responses():
    """Also at the end; but a filter whose own response is NaN does not answer."""
    nan = math.nan
    silent = np.array([[1, 0, 1], [nan, nan, nan], [0, 0, 0], [0, nan, 1], [nan, nan, nan]])
    found = answers_from(silent, [0, 1, 2, 3, 4])
    np.testing.assert_array_equal(found, [2, nan, nan])


@given(
    st.lists(st.one_of(st.integers(0, 1000), st.just(math.nan)), max_size=12),
    st.integers(1, 10),
)
def test_formed_by_is_the_first_step_with_enough_filters(formed, tenths):
    """Filters that never form count as well."""
    found = formed_by(np.array(formed, np.float64), tenths / 10)
    enough = [
        step
        for step in sorted(step for step in formed if not math.isnan(step))
        if sum(other <= step for other in formed) >= Fraction(tenths, 10) * len(formed)
    ]
    assert found == enough[0] if enough else math.isnan(found)


@given(st.data(), st.integers(0, 6))
def test_settled_at_is_the_first_step_that_stays_near_the_end(data, snapshots):
    """Up to 1 % of the first rotation, for at least a quarter of the steps."""
    turns = st.sampled_from([0.0, 0.005, 0.01, 0.0101, 0.5, 1.0, math.nan])
    to_the_end = data.draw(st.lists(turns, min_size=snapshots, max_size=snapshots))
    steps = data.draw(some_steps(snapshots))
    found = settled_at(np.array(to_the_end), steps)
    since = [
        step
        for position, step in enumerate(steps)
        if all(turn <= 0.01 * to_the_end[0] for turn in to_the_end[position:])
    ]
    rests = since and 4 * (steps[-1] - since[0]) >= steps[-1] - steps[0]
    if rests and len(since) < len(steps):
        assert found == since[0]
    else:
        assert math.isnan(found)


def test_moving_layer_has_not_settled():
    """Near the end of training every layer is near its final state."""
    angles = np.linspace(np.pi / 2, 0, 91)
    assert math.isnan(settled_at(1 - np.cos(angles), range(91)))
    then_at_rest = np.concatenate([angles, np.zeros(60)])
    assert settled_at(1 - np.cos(then_at_rest), range(151)) == 82


def test_formation_without_snapshots_or_filters():
    """Nothing has formed or settled."""
    assert np.isnan(formed_at(np.zeros((0, 3), bool), [])).tolist() == [True] * 3
    assert formed_at(np.zeros((2, 0), bool), [0, 1]).shape == (0,)
    assert math.isnan(formed_by(np.array([]), 0.5))
    assert math.isnan(settled_at(np.array([]), []))
    assert math.isnan(settled_at(np.array([0.0]), [0]))


def test_unmoved_is_an_angle_of_eight_degrees():
    """Its 1 - cos is 0.01."""
    assert math.degrees(math.acos(1 - UNMOVED)) == pytest.approx(8.1, abs=0.05)


def test_share_without_binary_representation():
    """55 of 100 filters are 55 %, though 0.55 * 100 is slightly more than 55."""
    formed = np.where(np.arange(100) < 55, 10.0, np.nan)
    assert formed_by(formed, 0.55) == 10


def test_layer_stopped_early_has_not_settled():
    """However little it has rotated: the threshold is relative to its rotation."""
    angles = np.linspace(np.radians(12), 0, 91)
    assert math.isnan(settled_at(1 - np.cos(angles), range(91)))
