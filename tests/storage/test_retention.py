import math
import time
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from filtertrack import FilterTracker, FiltertrackError, Moment, Run, Snapshot
from filtertrack.storage.retention import RetainedRun, surplus

STEPS = st.lists(st.integers(0, 10**12 - 1), max_size=120, unique=True).map(sorted)
PACES = st.builds(
    lambda first, paces: [first + sum(paces[:n]) for n in range(len(paces) + 1)],
    st.sampled_from([0, 1, 5000]),
    st.lists(st.integers(1, 20), max_size=120),
)
KEEP = st.integers(2, 20)


def kept(steps, keep):
    deleted = set(surplus(steps, keep))
    return [step for step in steps if step not in deleted]


def kept_incrementally(steps, keep, *, every=1):
    """Append step after step, and apply the rule after every so many of them."""
    existing = []
    for number, step in enumerate(steps, start=1):
        existing.append(step)
        if number % every == 0:
            existing = kept(existing, keep)
    return kept(existing, keep)


@given(STEPS | PACES, KEEP)
def test_the_first_and_the_newest_snapshots_stay(steps, keep):
    """Of up to twice ``keep`` snapshots all stay, of more exactly twice ``keep``."""
    deleted = surplus(steps, keep)
    assert deleted == sorted(set(deleted) & set(steps))
    remaining = kept(steps, keep)
    assert len(remaining) == min(len(steps), 2 * keep)
    assert remaining[:1] == steps[:1]
    assert remaining[-keep:] == steps[-keep:]


@given(STEPS | PACES, KEEP, st.integers(1, 50))
def test_the_result_does_not_depend_on_when_the_rule_is_applied(steps, keep, every):
    """After each snapshot, after several or once at the end."""
    assert kept_incrementally(steps, keep, every=every) == kept(steps, keep)


@given(STEPS | PACES, KEEP)
def test_each_new_snapshot_deletes_at_most_one(steps, keep):
    """So that adding one takes constant time."""
    remaining = kept(steps, keep)
    assert surplus(remaining, keep) == []
    newer = remaining[-1] + 1 if remaining else 0
    assert len(surplus([*remaining, newer], keep)) == (len(remaining) == 2 * keep)


@given(STEPS | PACES, KEEP)
def test_the_snapshot_with_the_narrowest_gap_is_deleted(steps, keep):
    """Compared with a direct implementation of the rule."""
    remaining = []
    for step in steps:
        remaining.append(step)
        if len(remaining) > 2 * keep:
            gaps = [
                (remaining[n + 1] / remaining[n - 1] if remaining[n - 1] else math.inf, -n)
                for n in range(1, keep + 1)
            ]
            del remaining[-min(gaps)[1]]
    assert remaining == kept(steps, keep)


@pytest.mark.parametrize("pace", [1, 100])
def test_older_snapshots_are_evenly_spaced_on_a_logarithmic_scale(pace):
    """Of 100,000 snapshots, each step is less than 1.5 times the one before."""
    remaining = kept(range(0, 100_000 * pace, pace), 50)
    ratios = [b / a for a, b in pairwise(remaining) if a >= 50 * pace]
    assert max(ratios) < 1.5
    assert remaining[:8] == [n * pace for n in range(8)]  # the first steps are all kept
    old = remaining[:-50]
    for power in (1, 10, 100, 1000, 10_000):
        assert sum(power <= step / pace < 10 * power for step in old) >= 7


def test_a_training_that_returns_to_an_earlier_step_keeps_the_bound():
    """And the first snapshot."""
    remaining = [step for step in kept(range(5000), 10) if step < 3000]
    remaining = kept_incrementally([*remaining, *range(3000, 9000)], 10)
    assert len(remaining) == 20
    assert (remaining[0], remaining[-10:]) == (0, list(range(8990, 9000)))


def test_the_rule_is_fast():
    """For a run of 100,000 snapshots, and after each further snapshot."""
    start = time.perf_counter()
    remaining = kept(range(100_000), 50)
    once = time.perf_counter() - start
    start = time.perf_counter()
    for step in range(100_000, 102_000):
        remaining = kept([*remaining, step], 50)
    each = (time.perf_counter() - start) / 2000
    assert once < 5
    assert each < 1e-3


@pytest.mark.parametrize("keep", [0, 1, -3, True, 2.0, "2", None, math.nan])
def test_keep_must_be_a_whole_number_from_two_on(keep):
    """Other values are an error that says what was expected."""
    with pytest.raises(FiltertrackError, match="keep: expected a whole number of snapshots from 2"):
        surplus([0, 1], keep)


def test_a_training_with_keep_bounds_snapshots_and_events(
    tiny_model, data, tmp_path, read_events, caplog
):
    """The first and the last snapshot stay, and both are drawn."""
    caplog.set_level("INFO", "filtertrack")
    tracker = FilterTracker(tmp_path, schedule=1, keep=5)
    tiny_model.fit(*data, epochs=20, batch_size=8, verbose=0, callbacks=[tracker])
    run = Run(tmp_path)
    assert "about 10 snapshots" in caplog.text
    assert len(run.steps) == 10
    assert run.steps[:2] == [0, 1]
    assert run.steps[-5:] == [76, 77, 78, 79, 80]
    assert run.verify() == {}
    shown = {step for step, value in read_events(run.folder) if value.tag == "filters/conv1"}
    assert {0, 1, 2, 3, 4, 80} < shown
    assert len(shown) <= 5 * (1 + np.log(81 / 5)) + 2


def test_keep_also_applies_to_the_snapshots_of_an_earlier_training(
    tiny_model, data, tmp_path, caplog
):
    """Which is logged."""
    tiny_model.fit(*data, epochs=12, verbose=0, callbacks=[FilterTracker(tmp_path)])
    caplog.set_level("INFO", "filtertrack")
    tracker = FilterTracker(tmp_path, keep=3)
    tiny_model.fit(*data, initial_epoch=12, epochs=14, verbose=0, callbacks=[tracker])
    assert Run(tmp_path).steps == [step for step in range(15) if step not in surplus(range(15), 3)]
    assert "keep=3: 8 older snapshots are removed" in caplog.text


def test_a_deletion_that_fails_is_tried_again(run, conv_info, monkeypatch, caplog):
    """No snapshot is lost, and the warning is logged once."""
    retained = RetainedRun(run, 2)
    with monkeypatch.context() as patch:
        patch.setattr(Run, "remove", lambda self, step: (_ for _ in ()).throw(OSError("no")))
        for step in (3, 4, 5):
            retained.append(Snapshot(Moment(step, step), run.snapshot(0).arrays))
    assert run.steps == [0, 1, 2, 3, 4, 5]
    assert caplog.text.count("older snapshots stay") == 1
    retained.append(Snapshot(Moment(6, 6), run.snapshot(0).arrays))
    assert len(run.steps) == 4
    assert run.steps[0] == 0


@pytest.mark.parametrize("keep", [0, 1, -3, 2.5, "5", True])
def test_an_invalid_keep_is_an_error_of_the_tracker(tmp_path, keep):
    """Raised when the tracker is created."""
    with pytest.raises(FiltertrackError, match="keep: expected a whole number"):
        FilterTracker(tmp_path, keep=keep)
