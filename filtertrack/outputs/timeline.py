"""Timing of an animation: which frames it has and how long each is shown."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from filtertrack.errors import FiltertrackError
from filtertrack.outputs.time_spacing import TIMES, Time
from filtertrack.snapshot import Moment

SHORTEST = 0.02
"""Seconds a frame is shown, at least: browsers slow down shorter ones (in a GIF, to 0.1 s)."""

_LONGEST = 650.0
"""Seconds a frame is shown, at most."""
_MOST_SECONDS = 3600.0
_MOST_BETWEEN = 100
_ROUNDING = 1e-9


class Frame(NamedTuple):
    """One frame of an animation.

    Attributes:
        position: Index of its snapshot; 2.5 is half-way between snapshots 2 and 3.
        seconds: Time it is shown.
    """

    position: float
    seconds: float


class Timeline(NamedTuple):
    """The frames of an animation, and the time of each snapshot.

    Attributes:
        frames: The frames in order.
        knots: The time of each snapshot, from 0 for the first to 1 for the last.
    """

    frames: list[Frame]
    knots: np.ndarray

    @property
    def seconds(self) -> float:
        """Duration of the animation."""
        return math.fsum(frame.seconds for frame in self.frames)


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


def plan(moments: Sequence[Moment], pace: Pace) -> Timeline:
    """Choose the frames of an animation and the time each is shown.

    A frame that would be shown for less than ``SHORTEST`` is left out and the one before it shown
    for longer, so that the duration stays.

    Args:
        moments: The moments of the snapshots in order; at least two.
        pace: The speed.

    Returns:
        The frames, and the time of each snapshot.

    Raises:
        FiltertrackError: If a frame would be shown for more than 650 seconds, the limit of GIF and
            PNG.

    Example:
        >>> moments = [Moment(step=n, epoch=n) for n in (0, 1, 4)]
        >>> plan(moments, Pace(fps=1, hold=(0.5, 2), time="epoch")).frames
        [Frame(position=0.0, seconds=1.0), Frame(position=1.0, seconds=1.5),
         Frame(position=2.0, seconds=3.0)]
    """
    knots = _knots(moments, pace.time)
    before, after = pace.rest
    count = len(moments)
    moving = count / pace.fps if pace.seconds is None else pace.seconds - before - after
    # The last snapshot is shown as long as the others on average, but not less than SHORTEST.
    last = max(moving / count, min(SHORTEST - after, moving / 2))
    parts = pace.between + 1
    positions = np.arange((count - 1) * parts + 1) / parts
    starts = before + (moving - last) * np.interp(positions, np.arange(count), knots)
    starts[0] = 0.0
    shown = _long_enough(starts)
    ends = [*starts[shown[1:]], starts[-1] + last + after]
    frames = [
        Frame(float(positions[number]), float(end - starts[number]))
        for number, end in zip(shown, ends, strict=True)
    ]
    longest = max(frame.seconds for frame in frames)
    if longest > _LONGEST:
        raise FiltertrackError(
            f"one picture would be shown for {longest:.0f} seconds, expected at most {_LONGEST:g}; "
            f"choose more fps, fewer seconds or less hold"
        )
    return Timeline(frames, knots)


def _long_enough(starts: np.ndarray) -> list[int]:
    """Return the indices of frames that are each shown for ``SHORTEST`` or more.

    The first and the last frame are always among them.
    """
    shown = [0]
    for number in range(1, len(starts)):
        if starts[number] - starts[shown[-1]] >= SHORTEST - _ROUNDING:
            shown.append(number)
    last = len(starts) - 1
    if shown[-1] != last:
        shown[max(1, len(shown) - 1) :] = [last]
    return shown


def _knots(moments: Sequence[Moment], time: Time) -> np.ndarray:
    """Return the time of each snapshot, from 0 for the first to 1 for the last."""
    even = np.linspace(0.0, 1.0, len(moments))
    if time == "snapshot":
        return even
    progress = np.maximum.accumulate(_progress(moments))
    if time == "log":
        progress = np.log1p(progress)
    span = progress[-1] - progress[0]
    knots: np.ndarray = (progress - progress[0]) / span if span else even
    return knots


def _progress(moments: Sequence[Moment]) -> np.ndarray:
    """Return the amount of training before each snapshot: batches, else epochs, else steps."""
    batches = [moment.batch for moment in moments if moment.batch is not None]
    if len(batches) == len(moments):
        return np.array(batches, np.float64)
    epochs = [moment.epoch for moment in moments]
    return np.array(epochs if any(epochs) else [moment.step for moment in moments], np.float64)
