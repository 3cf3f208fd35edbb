"""Options of an animation's speed: frames a second, duration, spacing of snapshots, rests.

Importing this module loads no numpy, so ``filtertrack --help`` stays fast.
"""

from dataclasses import dataclass
from typing import Literal, get_args

from filtertrack.errors import FiltertrackError

Time = Literal["snapshot", "epoch", "log"]
TIMES: tuple[Time, ...] = get_args(Time)

SHORTEST = 0.02
"""Seconds a frame is shown, at least: browsers slow down shorter ones (in a GIF, to 0.1 s)."""
_MOST_SECONDS = 3600.0
_MOST_BETWEEN = 100


@dataclass(frozen=True, slots=True)
class Pace:
    """The speed of an animation.

    Attributes:
        fps: Snapshots a second, on average.
        seconds: Duration of the animation; ``fps`` is then ignored. None to use ``fps``.
        time: Spacing of the snapshots. ``"snapshot"``: equal. ``"epoch"``: by the training between
            them. ``"log"``: by its logarithm, which gives early snapshots more time.
        between: Frames between each two snapshots, by linear interpolation.
        hold: Seconds by which the first and the last frame are shown longer than others. None for
            1 and 2, or less in a short animation.

    Raises:
        FiltertrackError: If a value is out of its range; the message names it.
    """

    fps: float = 10.0
    seconds: float | None = None
    time: Time = "snapshot"
    between: int = 0
    hold: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        """Check the values once."""
        if not 0 < self.fps <= 1 / SHORTEST:
            raise FiltertrackError(
                f"fps: expected more than 0 and at most {1 / SHORTEST:g}, got {self.fps}"
            )
        if self.seconds is not None and not 0 < self.seconds <= _MOST_SECONDS:
            raise FiltertrackError(
                f"seconds: expected more than 0 and at most {_MOST_SECONDS:g}, got {self.seconds}"
            )
        if self.time not in TIMES:
            raise FiltertrackError(f"time: expected one of {', '.join(TIMES)}, got {self.time!r}")
        if not isinstance(self.between, int) or not 0 <= self.between <= _MOST_BETWEEN:
            raise FiltertrackError(
                f"between: expected 0 to {_MOST_BETWEEN} pictures, got {self.between}"
            )
        if self.hold is not None:
            if (
                not isinstance(self.hold, (tuple, list))
                or len(self.hold) != 2
                or not all(0 <= part <= 600 for part in self.hold)
            ):
                raise FiltertrackError(
                    f"hold: expected two numbers of seconds from 0 to 600, got {self.hold}"
                )
            if self.seconds is not None and sum(self.hold) >= self.seconds:
                raise FiltertrackError(
                    f"hold: {sum(self.hold):g} seconds of rest leave nothing of "
                    f"{self.seconds:g} seconds to move in"
                )

    @property
    def rest(self) -> tuple[float, float]:
        """Seconds by which the first and the last frame are shown longer than others."""
        if self.hold is not None:
            return self.hold
        if self.seconds is None:
            return 1.0, 2.0
        return min(1.0, self.seconds / 8), min(2.0, self.seconds / 4)
