"""Frame durations in the whole ticks that a file format counts in."""

import math

_HALF = 1e-6


class TickClock:
    """Turns seconds into a format's whole ticks; what rounding takes from one the next gets.

    Args:
        rate: Ticks a second.
        longest: Most ticks a frame may have.

    Example:
        >>> clock = TickClock(rate=100, longest=65535)
        >>> [clock.ticks(1 / 30) for _ in range(3)]
        [3, 4, 3]
    """

    def __init__(self, rate: int, longest: int) -> None:
        self._rate, self._longest = rate, longest
        self._asked = 0.0
        self._given = 0

    def ticks(self, seconds: float) -> int:
        """Return the ticks of the next frame."""
        self._asked += self._rate * seconds
        # Halves go up, also those that rounding has put a little below: 2.5 ticks are 3, 2, 3, 2, …
        whole = math.floor(self._asked + 0.5 + _HALF)
        ticks = min(max(whole - self._given, 0), self._longest)
        self._given += ticks
        return ticks
