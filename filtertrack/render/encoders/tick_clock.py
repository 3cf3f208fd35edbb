"""Frame durations in the integer ticks of a file format."""

import math

_ROUNDING = 1e-6


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
