import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filtertrack.render.encoders.frame_durations import TickClock

NEARLY = 1e-6


@given(st.lists(st.floats(0, 10), max_size=200), st.sampled_from([100, 1000]))
def test_a_clock_is_never_more_than_half_a_tick_off(seconds, rate):
    """After every frame, not only at the end; no frame has fewer than no ticks."""
    clock, given_ticks = TickClock(rate, 65535), 0
    for number, time in enumerate(seconds, start=1):
        ticks = clock.ticks(time)
        assert ticks >= 0
        given_ticks += ticks
        assert given_ticks == pytest.approx(rate * math.fsum(seconds[:number]), abs=0.5 + NEARLY)


@given(st.lists(st.floats(0, 10), min_size=1, max_size=30), st.integers(1, 500))
def test_a_clock_gives_no_frame_more_than_the_format_holds(seconds, longest):
    """What does not fit into one frame the next ones get, as far as they can hold it."""
    clock = TickClock(100, longest)
    ticks = [clock.ticks(time) for time in seconds]
    assert all(0 <= each <= longest for each in ticks)
    while (more := clock.ticks(0)) == longest:
        ticks.append(more)
    assert sum(ticks) + more == pytest.approx(100 * math.fsum(seconds), abs=0.5 + NEARLY)
