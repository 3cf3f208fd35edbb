import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filtertrack.render.encoders.tick_clock import TickClock

NEARLY = 1e-6


@given(st.lists(st.floats(0, 10), max_size=200), st.sampled_from([100, 1000]))
def test_error_is_at_most_half_a_tick(seconds, rate):
    """After every frame; no frame has a negative duration."""
    clock, given_ticks = TickClock(rate, 65535), 0
    for number, time in enumerate(seconds, start=1):
        ticks = clock.ticks(time)
        assert ticks >= 0
        given_ticks += ticks
        assert given_ticks == pytest.approx(rate * math.fsum(seconds[:number]), abs=0.5 + NEARLY)


@given(st.lists(st.floats(0, 10), min_size=1, max_size=30), st.integers(1, 500))
def test_durations_have_a_maximum(seconds, longest):
    """Ticks beyond the maximum of one frame are added to the next ones, as far as possible."""
    clock = TickClock(100, longest)
    ticks = [clock.ticks(time) for time in seconds]
    assert all(0 <= each <= longest for each in ticks)
    while (more := clock.ticks(0)) == longest:
        ticks.append(more)
    assert sum(ticks) + more == pytest.approx(100 * math.fsum(seconds), abs=0.5 + NEARLY)
