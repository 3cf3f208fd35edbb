import numpy as np

from filtertrack import Moment
from filtertrack.capture import weight_checksums as seen
from filtertrack.capture.weight_checksums import WeightChecksums


def weights(*values):
    return {f"conv{number}/kernel": np.full(4, value) for number, value in enumerate(values)}


def test_repeated_weights_have_their_latest_moment():
    """Unknown weights have none."""
    remembered = WeightChecksums()
    for step, value in enumerate((1, 2, 1, 3)):
        remembered.add(Moment(step, step), weights(value))
    assert remembered.moment_of(weights(1)).step == 2
    assert remembered.moment_of(weights(2)).step == 1
    assert remembered.moment_of(weights(9)) is None
    assert remembered.is_last(weights(3))
    assert not remembered.is_last(weights(1))


def test_arrays_that_never_changed_are_known():
    """An array that returned to its first value has changed."""
    remembered = WeightChecksums()
    for step, values in enumerate([(1, 1, 1), (1, 2, 1), (1, 1, 3)]):
        remembered.add(Moment(step, step), weights(*values))
    assert remembered.unchanged == {"conv0/kernel"}
    assert remembered.count == 3


def test_without_any_weights_every_array_is_the_last():
    """So that nothing is reported as changed."""
    assert WeightChecksums().is_last(weights(1))
    assert not WeightChecksums().unchanged


def test_the_oldest_checksums_are_removed(monkeypatch):
    """Memory is bounded in a training of months."""
    monkeypatch.setattr(seen, "_MAX_MOMENTS", 3)
    remembered = WeightChecksums()
    for step in range(9):
        remembered.add(Moment(step, step), weights(step))
    known = [step for step in range(9) if remembered.moment_of(weights(step))]
    assert known == [6, 7, 8]
