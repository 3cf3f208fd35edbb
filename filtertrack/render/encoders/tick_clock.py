"""Frame durations in the integer ticks of a file format, and constant frame rates."""

import math
from collections.abc import Sequence
from itertools import accumulate

_ROUNDING = 1e-6
_LOWEST_RATE, _USUAL_RATE, _HIGHEST_RATE = 10, 30, 60
"""Frames per second: players seek badly in slower videos, and screens do not show faster ones."""
_EXACT = 1e-3
"""Seconds by which a picture may begin early or late at a rate that fits its durations."""


def constant_rate(seconds: Sequence[float]) -> int:
    """Choose the frame rate of a video whose pictures are repeated.

    Args:
        seconds: How long each picture is shown; 0.02 or more.

    Returns:
        The lowest whole rate from 10 to 60 at which every picture begins and ends on time, to the
        millisecond. If there is none, 30, or 60 if a picture is shown for less than 1/30 s: then
        pictures begin up to half a frame early or late, and none is left out.

    Example:
        >>> constant_rate([1.1, 0.1, 0.1, 2.1]), constant_rate([1.04, 0.04]), constant_rate([1 / 7])
        (10, 25, 14)
    """
    ends = list(accumulate(seconds))
    for rate in range(_LOWEST_RATE, _HIGHEST_RATE):
        if all(abs(end * rate - round(end * rate)) <= _EXACT * rate for end in ends):
            return rate
    return _USUAL_RATE if min(seconds) >= 1 / _USUAL_RATE else _HIGHEST_RATE


class TickClock:
    """Converts seconds to integer ticks, carrying rounding errors over to the next frame.

    Args:
        rate: Ticks per second.
        longest: Ticks of one frame, at most.

    Example:
        >>> clock = TickClock(rate=100, longest=65535)
        >>> [clock.ticks(1 / 30) for _ in range(3)]
        [3, 4, 3]
    """

    def __init__(self, rate: int, longest: int) -> None:
        self._rate, self._longest = rate, longest
        self._exact = 0.0
        self._rounded = 0

    def ticks(self, seconds: float) -> int:
        """Return the ticks of the next frame."""
        self._exact += self._rate * seconds
        # Halves are rounded up despite rounding errors: durations of 2.5 ticks are 3, 2, 3, 2, …
        total = math.floor(self._exact + 0.5 + _ROUNDING)
        ticks = min(max(total - self._rounded, 0), self._longest)
        self._rounded += ticks
        return ticks
