"""Timing of animations."""

import math

import numpy as np
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from filtertrack import FiltertrackError, Moment
from filtertrack.outputs.animation_pace import SHORTEST, TIMES, Pace
from filtertrack.outputs.timeline import epoch_ends, plan
from filtertrack.render.encoders.tick_clock import TickClock

NEARLY = 1e-6


def evenly(count):
    """Return moments one epoch apart."""
    return [Moment(step=n, epoch=n, batch=10 * n) for n in range(count)]


@st.composite
def runs(draw):
    """Draw the moments of a run: some without training between, some without batches."""
    gaps = draw(st.lists(st.just(0) | st.integers(0, 10_000), min_size=1, max_size=60))
    batches = np.cumsum([0, *gaps]).tolist()
    known = draw(st.booleans())
    return [
        Moment(step=n, epoch=batch // 100, batch=batch if known else None)
        for n, batch in enumerate(batches)
    ]


@st.composite
def paces(draw):
    """Draw any pace that leaves time between the rests."""
    seconds = draw(st.none() | st.floats(0.1, 3600))
    longest = 600 if seconds is None else min(600, 0.49 * seconds)
    rest = st.just(0.0) | st.floats(0, longest)
    return Pace(
        fps=draw(st.floats(0.01, 50)),
        seconds=seconds,
        time=draw(st.sampled_from(TIMES)),
        between=draw(st.integers(0, 5)),
        hold=draw(st.none() | st.tuples(rest, rest)),
    )


def asked_of(pace, moments):
    return len(moments) / pace.fps + sum(pace.rest) if pace.seconds is None else pace.seconds


def planned(moments, pace):
    """Plan an animation in which no frame is shown for longer than a GIF allows."""
    try:
        return plan(moments, pace)
    except FiltertrackError as error:
        assume("one picture would be shown for" not in str(error))
        raise


@given(runs(), paces())
def test_the_duration_is_the_requested_one(moments, pace):
    """Whatever is left out: from ``fps`` and ``hold``, or ``seconds``."""
    timeline = planned(moments, pace)
    assert timeline.seconds == pytest.approx(asked_of(pace, moments))
    assert timeline.seconds == math.fsum(frame.seconds for frame in timeline.frames)


@given(runs(), paces())
@example(evenly(100), Pace(seconds=1, hold=(0, 0)))
def test_no_frame_is_shorter_than_shortest(moments, pace):
    """Wherever there is time for two such frames."""
    assume(asked_of(pace, moments) - sum(pace.rest) >= 2 * SHORTEST)
    timeline = planned(moments, pace)
    assert min(frame.seconds for frame in timeline.frames) >= SHORTEST - NEARLY


@given(runs(), paces())
def test_frames_go_from_the_first_to_the_last_snapshot(moments, pace):
    """Ascending, in multiples of the interpolation step."""
    positions = [frame.position for frame in planned(moments, pace).frames]
    assert positions[0] == 0
    assert positions[-1] == len(moments) - 1
    assert (np.diff(positions) > 0).all()
    parts = np.array(positions) * (pace.between + 1)
    assert parts == pytest.approx(parts.round())


@given(st.integers(2, 30), st.floats(1e-6, 2 * SHORTEST))
def test_a_very_short_animation_has_two_frames(count, seconds):
    """The first and the last snapshot, for the requested duration."""
    timeline = plan(evenly(count), Pace(seconds=seconds))
    assert [frame.position for frame in timeline.frames] == [0, count - 1]
    assert timeline.seconds == pytest.approx(seconds)
    assert all(frame.seconds > 0 for frame in timeline.frames)


@given(runs(), st.sampled_from(TIMES))
def test_knots_go_from_0_to_1(moments, time):
    """One a snapshot, never descending, for any run."""
    knots = plan(moments, Pace(time=time)).knots
    assert knots.shape == (len(moments),)
    assert (knots[0], knots[-1]) == (0, 1)
    assert (np.diff(knots) >= 0).all()


@given(runs())
def test_log_never_places_a_snapshot_before_epoch(moments):
    """Early snapshots have more time."""
    epoch, log = (plan(moments, Pace(time=time)).knots for time in ("epoch", "log"))
    if moments[-1].epoch > 0:
        assert (log >= epoch - NEARLY).all()


def test_each_spacing_of_snapshots():
    """Equal; by batches; by their logarithm."""
    moments = [Moment(step=n, epoch=0, batch=n) for n in (0, 1, 3, 15)]
    turns = {time: plan(moments, Pace(time=time)).knots for time in TIMES}
    assert turns["snapshot"] == pytest.approx([0, 1 / 3, 2 / 3, 1])
    assert turns["epoch"] == pytest.approx([0, 1 / 15, 1 / 5, 1])
    assert turns["log"] == pytest.approx([0, 1 / 4, 1 / 2, 1])


def test_epochs_replace_unknown_batches():
    """One unknown number is enough; without training in between the spacing is equal."""
    moments = [Moment(0, 0, 0), Moment(1, 1, None), Moment(2, 4, 7)]
    assert plan(moments, Pace(time="epoch")).knots == pytest.approx([0, 1 / 4, 1])
    moments = [Moment(step=n, epoch=3, batch=5) for n in range(5)]
    assert plan(moments, Pace(time="log")).knots == pytest.approx([0, 1 / 4, 1 / 2, 3 / 4, 1])


def test_steps_replace_unknown_batches_and_epochs():
    moments = [Moment(step, 0) for step in (0, 1, 3, 7)]
    assert plan(moments, Pace(time="epoch")).knots == pytest.approx([0, 1 / 7, 3 / 7, 1])
    assert plan(moments, Pace(time="log")).knots == pytest.approx([0, 1 / 3, 2 / 3, 1])


@pytest.mark.parametrize("time", ["epoch", "log"])
def test_a_restarted_batch_count_does_not_go_back_in_time(time):
    """As after another program resumed the run."""
    moments = [Moment(step=n, epoch=n, batch=batch) for n, batch in enumerate((0, 10, 5, 20))]
    knots = plan(moments, Pace(time=time)).knots
    assert (np.diff(knots) >= 0).all()
    assert knots[1] == knots[2]


@given(st.integers(2, 3000), st.floats(0.1, 50))
def test_no_frame_is_left_out_up_to_50_fps(count, fps):
    """The first and the last are shown longer by ``hold``."""
    frames = plan(evenly(count), Pace(fps=fps)).frames
    assert [frame.position for frame in frames] == list(range(count))
    assert [frame.seconds for frame in frames[1:-1]] == pytest.approx([1 / fps] * (count - 2))
    assert frames[0].seconds == pytest.approx(1 / fps + 1)
    assert frames[-1].seconds == pytest.approx(1 / fps + 2)


@given(st.integers(2, 40), st.integers(0, 9))
def test_interpolated_frames_share_the_time(count, between):
    """At equal distances; the duration stays."""
    timeline = plan(evenly(count), Pace(fps=5, between=between))
    positions = [frame.position for frame in timeline.frames]
    assert positions == pytest.approx(np.arange((count - 1) * (between + 1) + 1) / (between + 1))
    assert timeline.seconds == pytest.approx(count / 5 + 3)


@given(runs(), paces())
def test_each_frame_begins_at_its_knot(moments, pace):
    """Between the rest at the start and the last frame."""
    timeline = planned(moments, pace)
    before, after = pace.rest
    moving = timeline.seconds - before - after
    starts = np.cumsum([0, *(frame.seconds for frame in timeline.frames[:-1])])
    positions = [frame.position for frame in timeline.frames[1:-1]]
    turns = np.interp(positions, np.arange(len(moments)), timeline.knots)
    span = starts[-1] - before
    assert starts[1:-1] == pytest.approx(before + span * turns, abs=NEARLY)
    assert span == pytest.approx(moving * (1 - 1 / len(moments)), abs=SHORTEST)


@given(st.floats(0.001, 3600))
def test_default_rests_are_less_than_half_of_the_duration(seconds):
    before, after = Pace(seconds=seconds).rest
    assert 0 < before <= 1
    assert 0 < after <= 2
    assert before + after < seconds / 2


@pytest.mark.parametrize(
    ("option", "value"),
    [
        *(("fps", value) for value in (0, -1, 50.1, math.nan, math.inf)),
        *(("seconds", value) for value in (0, -1, 3600.1, math.nan, math.inf)),
        *(("time", value) for value in ("weekly", "", None)),
        *(("between", value) for value in (-1, 101)),
        *(("hold", value) for value in ((1,), (1, 2, 3), (-1, 0), (0, 601), (0, math.nan))),
    ],
)
def test_a_value_out_of_range_is_an_error(option, value):
    """The message names the option, what was expected, and what came."""
    with pytest.raises(FiltertrackError, match=rf"^{option}: expected ") as caught:
        Pace(**{option: value})
    assert str(caught.value).endswith(f"got {value!r}")


def test_rests_longer_than_the_duration_are_an_error():
    """The message names both."""
    with pytest.raises(FiltertrackError, match=r"^hold: 3 seconds .* of 2\.5 seconds"):
        Pace(seconds=2.5, hold=(1, 2))
    with pytest.raises(FiltertrackError, match=r"^hold: 3 seconds of rest"):
        Pace(seconds=3, hold=(1, 2))


def test_a_frame_that_is_shown_for_too_long_is_an_error():
    """The limit of a GIF is 655 seconds a frame."""
    with pytest.raises(FiltertrackError, match="shown for 1000 seconds, expected at most 650"):
        plan(evenly(3), Pace(fps=0.001, hold=(0, 0)))
    assert plan(evenly(3), Pace(fps=0.002, hold=(0, 0))).seconds == pytest.approx(1500)


def test_between_must_be_a_whole_number():
    with pytest.raises(FiltertrackError, match="between: expected 0 to 100"):
        Pace(between=1.5)


def test_rounding_to_ticks_keeps_frames_at_shortest():
    """50 frames a second after a rest of 0.375 s."""
    clock = TickClock(rate=100, longest=65535)
    timeline = plan(evenly(100), Pace(fps=50, hold=(0.375, 1)))
    assert min(clock.ticks(frame.seconds) for frame in timeline.frames) == 2


@pytest.mark.parametrize(
    ("moments", "axes"),
    [
        ([Moment(n, n // 4, n) for n in range(9)], ("batches", "batches, log scale")),
        ([Moment(n, n) for n in range(9)], ("epochs", "epochs, log scale")),
        ([Moment(10 * n, 0) for n in range(9)], ("steps", "steps, log scale")),
        ([Moment(n, 0, 7) for n in range(9)], ("snapshots", "snapshots")),
    ],
    ids=["batches", "epochs", "steps", "no training"],
)
def test_axis_is_named(moments, axes):
    """After what the time between snapshots is proportional to."""
    axis = [plan(moments, Pace(time=time)).axis for time in ("snapshot", "epoch", "log")]
    assert axis == ["snapshots", *axes]


def within(epoch, batch, of=10):
    """Return a moment within an epoch of ten batches, or at its start."""
    return Moment(
        10 * epoch + batch, epoch, 10 * epoch + batch, epoch_batch=batch, epoch_batches=of
    )


@pytest.mark.parametrize(
    ("moments", "ends"),
    [
        (evenly(4), [1, 2]),
        ([evenly(11)[n] for n in (0, 5, 10)], np.arange(1, 10) / 5),
        ([within(0, 0), within(0, 5), within(1, 5), within(2, 0)], [1.5]),
        ([within(0, 5, None), within(0, 9, None), within(1, 5, None), within(2, 5, None)], [2]),
        ([Moment(n, n // 3, n) for n in range(9)], [3]),
        ([Moment(0, 0), Moment(10, 0), Moment(100, 0), Moment(500, 4)], [2.25, 2.5, 2.75]),
        ([Moment(n, 0) for n in range(5)], []),
        ([Moment(4, 4), Moment(5, 5)], []),
    ],
    ids=["each", "every fifth", "between", "unknown length", "by hand", "gap", "none", "one epoch"],
)
def test_ends_of_epochs(moments, ends):
    """At the first snapshot after each end, or between two snapshots where batches are known."""
    np.testing.assert_allclose(epoch_ends(moments), ends)


@given(runs(), paces())
def test_times_of_epochs_are_inside_the_animation(moments, pace):
    """In ascending order, one for each epoch."""
    timeline = planned(moments, pace)
    assert (np.diff(timeline.epochs) >= 0).all()
    assert ((timeline.epochs >= 0) & (timeline.epochs <= 1)).all()
    assert len(timeline.epochs) == max(0, moments[-1].epoch - moments[0].epoch - 1)
