import math

import numpy as np
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from filtertrack import FiltertrackError, Moment
from filtertrack.outputs.timeline import SHORTEST, TIMES, Pace, plan
from filtertrack.render.encoders.frame_durations import TickClock

NEARLY = 1e-6


def evenly(count):
    """Moments an epoch apart."""
    return [Moment(step=n, epoch=n, batch=10 * n) for n in range(count)]


@st.composite
def runs(draw):
    """Moments of a run: some without any training between, some where no batches are known."""
    gaps = draw(st.lists(st.just(0) | st.integers(0, 10_000), min_size=1, max_size=60))
    batches = np.cumsum([0, *gaps]).tolist()
    known = draw(st.booleans())
    return [
        Moment(step=n, epoch=batch // 100, batch=batch if known else None)
        for n, batch in enumerate(batches)
    ]


@st.composite
def paces(draw):
    """Any pace that leaves time to move in."""
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
    """Plan, where no picture would be on the screen for longer than a GIF can say."""
    try:
        return plan(moments, pace)
    except FiltertrackError as error:
        assume("one picture would be shown for" not in str(error))
        raise


@given(runs(), paces())
def test_the_whole_lasts_as_long_as_asked(moments, pace):
    """Whatever is left out: a turn a snapshot and the rests, or ``seconds``."""
    timeline = planned(moments, pace)
    assert timeline.seconds == pytest.approx(asked_of(pace, moments))
    assert timeline.seconds == math.fsum(frame.seconds for frame in timeline.frames)


@given(runs(), paces())
@example(evenly(100), Pace(seconds=1, hold=(0, 0)))
def test_no_frame_is_shorter_than_browsers_show(moments, pace):
    """The first and the last included, wherever there is time for two frames to move in."""
    assume(asked_of(pace, moments) - sum(pace.rest) >= 2 * SHORTEST)
    timeline = planned(moments, pace)
    assert min(frame.seconds for frame in timeline.frames) >= SHORTEST - NEARLY


@given(runs(), paces())
def test_the_first_and_the_last_snapshot_are_shown(moments, pace):
    """They are the ends of a series that goes forward, in steps of what is put between."""
    positions = [frame.position for frame in planned(moments, pace).frames]
    assert positions[0] == 0
    assert positions[-1] == len(moments) - 1
    assert (np.diff(positions) > 0).all()
    parts = np.array(positions) * (pace.between + 1)
    assert parts == pytest.approx(parts.round())


@given(st.integers(2, 30), st.floats(1e-6, 2 * SHORTEST))
def test_where_there_is_no_time_two_frames_are_left(count, seconds):
    """An animation shorter than two frames has the first and the last snapshot, and its length."""
    timeline = plan(evenly(count), Pace(seconds=seconds))
    assert [frame.position for frame in timeline.frames] == [0, count - 1]
    assert timeline.seconds == pytest.approx(seconds)
    assert all(frame.seconds > 0 for frame in timeline.frames)


@given(runs(), st.sampled_from(TIMES))
def test_turns_go_from_0_to_1(moments, time):
    """One a snapshot, never backwards, the first 0 and the last 1, however a run was trained."""
    knots = plan(moments, Pace(time=time)).knots
    assert knots.shape == (len(moments),)
    assert (knots[0], knots[-1]) == (0, 1)
    assert (np.diff(knots) >= 0).all()


@given(runs())
def test_log_gives_the_early_ones_more_room_than_epoch(moments):
    """No snapshot has its turn earlier by the logarithm of the training than by the training."""
    epoch, log = (plan(moments, Pace(time=time)).knots for time in ("epoch", "log"))
    if moments[-1].epoch > 0:
        assert (log >= epoch - NEARLY).all()


def test_what_spaces_the_snapshots():
    """All alike; the batches between them; or the logarithm of those."""
    moments = [Moment(step=n, epoch=0, batch=n) for n in (0, 1, 3, 15)]
    turns = {time: plan(moments, Pace(time=time)).knots for time in TIMES}
    assert turns["snapshot"] == pytest.approx([0, 1 / 3, 2 / 3, 1])
    assert turns["epoch"] == pytest.approx([0, 1 / 15, 1 / 5, 1])
    assert turns["log"] == pytest.approx([0, 1 / 4, 1 / 2, 1])


def test_epochs_space_them_where_no_batches_are_known():
    """One unknown number is enough; without any training between them they are alike."""
    moments = [Moment(0, 0, 0), Moment(1, 1, None), Moment(2, 4, 7)]
    assert plan(moments, Pace(time="epoch")).knots == pytest.approx([0, 1 / 4, 1])
    moments = [Moment(step=n, epoch=3, batch=5) for n in range(5)]
    assert plan(moments, Pace(time="log")).knots == pytest.approx([0, 1 / 4, 1 / 2, 3 / 4, 1])


def test_steps_space_a_loop_that_knows_nothing_else():
    """Where neither batches nor epochs are known: by themselves, and by their logarithm."""
    moments = [Moment(step, 0) for step in (0, 1, 3, 7)]
    assert plan(moments, Pace(time="epoch")).knots == pytest.approx([0, 1 / 7, 3 / 7, 1])
    assert plan(moments, Pace(time="log")).knots == pytest.approx([0, 1 / 3, 2 / 3, 1])


@pytest.mark.parametrize("time", ["epoch", "log"])
def test_a_batch_count_that_begins_anew_does_not_turn_time_back(time):
    """A run that was gone on with by another program counts from 0 again."""
    moments = [Moment(step=n, epoch=n, batch=batch) for n, batch in enumerate((0, 10, 5, 20))]
    knots = plan(moments, Pace(time=time)).knots
    assert (np.diff(knots) >= 0).all()
    assert knots[1] == knots[2]


@given(st.integers(2, 3000), st.floats(0.1, 50))
def test_nothing_is_left_out_at_a_pace_that_can_be_shown(count, fps):
    """Each snapshot is shown for its turn, the first and the last also for the rests."""
    frames = plan(evenly(count), Pace(fps=fps)).frames
    assert [frame.position for frame in frames] == list(range(count))
    assert [frame.seconds for frame in frames[1:-1]] == pytest.approx([1 / fps] * (count - 2))
    assert frames[0].seconds == pytest.approx(1 / fps + 1)
    assert frames[-1].seconds == pytest.approx(1 / fps + 2)


@given(st.integers(2, 40), st.integers(0, 9))
def test_pictures_between_share_the_time(count, between):
    """So many between each two, at equal distances, the whole no longer than without them."""
    timeline = plan(evenly(count), Pace(fps=5, between=between))
    positions = [frame.position for frame in timeline.frames]
    assert positions == pytest.approx(np.arange((count - 1) * (between + 1) + 1) / (between + 1))
    assert timeline.seconds == pytest.approx(count / 5 + 3)


@given(runs(), paces())
def test_each_frame_begins_when_its_snapshot_has_its_turn(moments, pace):
    """Where the rest at the start ends and the last one's turn begins the knots say when."""
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
def test_rests_leave_time_to_move_in(seconds):
    """One and two seconds, less in a short animation; always more than half of it moves."""
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
def test_a_value_out_of_its_range_is_refused(option, value):
    """The error begins with the option's name, says what was expected, and what came."""
    with pytest.raises(FiltertrackError, match=rf"^{option}: expected ") as caught:
        Pace(**{option: value})
    assert str(caught.value).endswith(f"got {value!r}")


def test_rests_that_leave_no_time_are_refused():
    """The error says how long they are, and how long the whole is."""
    with pytest.raises(FiltertrackError, match=r"^hold: 3 seconds .* of 2\.5 seconds"):
        Pace(seconds=2.5, hold=(1, 2))
    with pytest.raises(FiltertrackError, match=r"^hold: 3 seconds of rest"):
        Pace(seconds=3, hold=(1, 2))


def test_a_picture_that_would_be_shown_for_too_long_is_refused():
    """A GIF says at most 655 seconds a frame; a shorter film than asked would be a surprise."""
    with pytest.raises(FiltertrackError, match="shown for 1000 seconds, expected at most 650"):
        plan(evenly(3), Pace(fps=0.001, hold=(0, 0)))
    assert plan(evenly(3), Pace(fps=0.002, hold=(0, 0))).seconds == pytest.approx(1500)


def test_between_is_a_whole_number():
    """Half a picture is none."""
    with pytest.raises(FiltertrackError, match="between: expected 0 to 100"):
        Pace(between=1.5)


def test_halves_do_not_make_a_frame_that_browsers_slow_down():
    """Fifty pictures a second after a rest of three eighths: each has two hundredths at least."""
    clock = TickClock(rate=100, longest=65535)
    timeline = plan(evenly(100), Pace(fps=50, hold=(0.375, 1)))
    assert min(clock.ticks(frame.seconds) for frame in timeline.frames) == 2
