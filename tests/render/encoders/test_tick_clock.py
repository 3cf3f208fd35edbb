import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from filtertrack.render.encoders.tick_clock import TickClock, constant_rate

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


@pytest.mark.parametrize("rate", range(10, 61))
def test_even_durations_have_their_own_rate(rate):
    """Also with rests of whole seconds at both ends, over many frames."""
    seconds = [1 + 1 / rate, *[1 / rate] * 500, 2 + 1 / rate]
    assert constant_rate(seconds) == rate


@given(st.lists(st.floats(0.02, 10), min_size=1, max_size=30))
def test_every_picture_has_a_frame_at_the_constant_rate(seconds):
    """None is left out, and each begins half a frame early or late, at most."""
    rate = constant_rate(seconds)
    clock = TickClock(rate, 1 << 31)
    ticks = [clock.ticks(each) for each in seconds]
    assert 10 <= rate <= 60
    assert min(ticks) >= 1
    ends = np.cumsum(seconds)
    np.testing.assert_allclose(np.cumsum(ticks) / rate, ends, atol=0.5 / rate + 1e-6, rtol=0)
