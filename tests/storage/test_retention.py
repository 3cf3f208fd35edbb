import math
import time
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from filtertrack import FilterTracker, FiltertrackError, Moment, Run, Snapshot
from filtertrack.storage.retention import RetainedRun, count_taken, surplus, worth_drawing

STEPS = st.lists(st.integers(0, 10**12 - 1), max_size=120, unique=True).map(sorted)
PACES = st.builds(
    lambda first, paces: [first + sum(paces[:n]) for n in range(len(paces) + 1)],
    st.sampled_from([0, 1, 5000]),
    st.lists(st.integers(1, 20), max_size=120),
)
KEEP = st.integers(2, 20)


def left(steps, keep):
    gone = set(surplus(steps, keep))
    return [step for step in steps if step not in gone]


def thinned_on_the_way(steps, keep, *, every=1):
    """Append step after step, and thin after so many of them."""
    there = []
    for number, step in enumerate(steps, start=1):
        there.append(step)
        if number % every == 0:
            there = left(there, keep)
    return left(there, keep)


@given(STEPS | PACES, KEEP)
def test_what_stays(steps, keep):
    """All of up to twice as many, else just so many: the first, and the newest of them."""
    gone = surplus(steps, keep)
    assert gone == sorted(set(gone) & set(steps))
    there = left(steps, keep)
    assert len(there) == min(len(steps), 2 * keep)
    assert there[:1] == steps[:1]
    assert there[-keep:] == steps[-keep:]


@given(STEPS | PACES, KEEP, st.integers(1, 50))
def test_it_does_not_matter_when_it_is_asked(steps, keep, every):
    """After each snapshot, now and then or once at the end: the same stay."""
    assert thinned_on_the_way(steps, keep, every=every) == left(steps, keep)


@given(STEPS | PACES, KEEP)
def test_each_snapshot_lets_at_most_one_go(steps, keep):
    """So thinning never takes long, and what stays needs no more of it."""
    there = left(steps, keep)
    assert surplus(there, keep) == []
    newer = there[-1] + 1 if there else 0
    assert len(surplus([*there, newer], keep)) == (len(there) == 2 * keep)


@given(STEPS | PACES, KEEP)
def test_the_narrowest_gap_goes(steps, keep):
    """Held against the rule, written down without anything that makes it fast."""
    there = []
    for step in steps:
        there.append(step)
        if len(there) > 2 * keep:
            gaps = [
                (there[n + 1] / there[n - 1] if there[n - 1] else math.inf, -n)
                for n in range(1, keep + 1)
            ]
            del there[-min(gaps)[1]]
    assert there == left(steps, keep)


@pytest.mark.parametrize("pace", [1, 100])
def test_what_is_old_is_evenly_spaced_on_a_logarithmic_scale(pace):
    """Of 100,000 snapshots, over three powers of ten: no step is half as much again as the last."""
    there = left(range(0, 100_000 * pace, pace), 50)
    ratios = [b / a for a, b in pairwise(there) if a >= 50 * pace]
    assert max(ratios) < 1.5
    assert there[:8] == [n * pace for n in range(8)]  # where filters form, nothing is left out
    old = there[:-50]
    for power in (1, 10, 100, 1000, 10_000):
        assert sum(power <= step / pace < 10 * power for step in old) >= 7


def test_taken_back_to_an_earlier_step():
    """A training that goes on from an earlier checkpoint stays within bounds, with its first."""
    there = [step for step in left(range(5000), 10) if step < 3000]
    there = thinned_on_the_way([*there, *range(3000, 9000)], 10)
    assert len(there) == 20
    assert (there[0], there[-10:]) == (0, list(range(8990, 9000)))


def test_it_takes_no_time():
    """Neither the first time, over a run that was never thinned, nor after each snapshot."""
    start = time.perf_counter()
    there = left(range(100_000), 50)
    once = time.perf_counter() - start
    start = time.perf_counter()
    for step in range(100_000, 102_000):
        there = left([*there, step], 50)
    each = (time.perf_counter() - start) / 2000
    assert once < 5
    assert each < 1e-3


@pytest.mark.parametrize("keep", [0, 1, -3, True, 2.0, "2", None, math.nan])
def test_keep_is_a_whole_number_from_two_on(keep):
    """Anything else is refused, in a sentence that says what was expected."""
    with pytest.raises(FiltertrackError, match="keep: expected a whole number of snapshots from 2"):
        surplus([0, 1], keep)
    with pytest.raises(FiltertrackError, match="keep: expected a whole number of snapshots from 2"):
        worth_drawing(0, keep)


@given(KEEP)
def test_pauses_between_pictures_double(keep):
    """So many at each pause: 1, 2, 4, 8."""
    drawn = [number for number in range(keep * 15 + 1) if worth_drawing(number, keep)]
    pauses = [b - a for a, b in pairwise(drawn)]
    assert pauses == [pause for pause in (1, 2, 4, 8) for _ in range(keep)]


@given(KEEP, st.integers(1, 5000))
def test_pictures_are_few(keep, count):
    """They grow with the logarithm of the snapshots, and the first is always drawn."""
    drawn = [number for number in range(count) if worth_drawing(number, keep)]
    assert drawn[0] == 0
    # Between two doublings the logarithm is up to 0.0861 above the line that is drawn along.
    exact = keep * math.log2(1 + count / keep)
    assert exact - 0.0861 * keep - 1 <= len(drawn) <= exact + 1


def test_a_picture_far_on():
    """However many snapshots there were, to tell takes one look."""
    far = 50 * (2**40 - 1)
    assert worth_drawing(far, 50)
    assert not worth_drawing(far + 1, 50)


def test_a_training_that_keeps_few(tiny_model, data, tmp_path, read_events, caplog):
    """At most twice so many stay, the first and the last among them; the events stay few, too."""
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
    assert len(shown) <= 5 * np.log2(1 + 81 / 5) + 2


def test_keeping_few_goes_on(tiny_model, data, tmp_path, caplog):
    """A second training with a bound thins what a first one without one left; it says so."""
    tiny_model.fit(*data, epochs=12, verbose=0, callbacks=[FilterTracker(tmp_path)])
    caplog.set_level("INFO", "filtertrack")
    tracker = FilterTracker(tmp_path, keep=3)
    tiny_model.fit(*data, initial_epoch=12, epochs=14, verbose=0, callbacks=[tracker])
    assert Run(tmp_path).steps == [step for step in range(15) if step not in surplus(range(15), 3)]
    assert "keep=3: 8 older snapshots are removed" in caplog.text


def test_what_cannot_be_removed_stays(run, conv_info, monkeypatch, caplog):
    """Nothing is lost for it, it is said once, and tried again."""
    thinned = RetainedRun(run, 2)
    with monkeypatch.context() as patch:
        patch.setattr(Run, "remove", lambda self, step: (_ for _ in ()).throw(OSError("no")))
        for step in (3, 4, 5):
            thinned.append(Snapshot(Moment(step, step), run.snapshot(0).arrays))
    assert run.steps == [0, 1, 2, 3, 4, 5]
    assert caplog.text.count("older snapshots stay") == 1
    thinned.append(Snapshot(Moment(6, 6), run.snapshot(0).arrays))
    assert len(run.steps) == 4
    assert run.steps[0] == 0


@pytest.mark.parametrize("keep", [0, 1, -3, 2.5, "5", True])
def test_a_bound_that_is_none(tmp_path, keep):
    """Said when the tracker is made."""
    with pytest.raises(FiltertrackError, match="keep: expected a whole number"):
        FilterTracker(tmp_path, keep=keep)


@given(st.integers(2, 400), st.integers(2, 20), st.integers(1, 50))
def test_how_many_were_taken_is_told_by_what_is_left(count, keep, every):
    """Exactly where they are evenly spaced, however many went."""
    steps = [every * number for number in range(count)]
    assert count_taken(left(steps, keep), keep) == count
