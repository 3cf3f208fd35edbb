"""Timing of an animation: which frames it has and how long each is shown."""

import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from filtertrack.errors import FiltertrackError
from filtertrack.outputs.animation_pace import SHORTEST, Pace, Time
from filtertrack.snapshot import Moment

_LONGEST = 650.0
"""Seconds a frame is shown, at most."""
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
        axis: What the time is proportional to, such as ``"batches, log scale"``.
        epochs: The time of each end of an epoch before the last snapshot.
    """

    frames: list[Frame]
    knots: np.ndarray
    axis: str
    epochs: np.ndarray

    @property
    def seconds(self) -> float:
        """Duration of the animation."""
        return math.fsum(frame.seconds for frame in self.frames)


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
    knots, axis = _knots(moments, pace.time)
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
    epochs = np.interp(epoch_ends(moments), np.arange(count), knots)
    return Timeline(frames, knots, axis, epochs)


def epoch_ends(moments: Sequence[Moment]) -> np.ndarray:
    """Return the position of each end of an epoch among snapshots, before the last snapshot.

    Between two snapshots it is interpolated by the batches, where they are known.

    Example:
        >>> moments = [Moment(0, 0), Moment(5, 0, epoch_batch=5, epoch_batches=10), Moment(30, 3)]
        >>> epoch_ends(moments)
        array([1.2, 1.6])
    """
    return epoch_marks(moments)[1]


def epoch_marks(moments: Sequence[Moment], most: float = math.inf) -> tuple[np.ndarray, np.ndarray]:
    """Return the ends of epochs before the last snapshot: all, or of every second, fifth, … epoch.

    Args:
        moments: The moments of the snapshots in order; there may be none.
        most: The number of ends, at most.

    Returns:
        How many epochs had ended at each, and its position as in ``epoch_ends``.

    Example:
        >>> epoch_marks([Moment(0, 0), Moment(100, 10)], most=5)
        (array([2, 4, 6, 8]), array([0.2, 0.4, 0.6, 0.8]))
    """
    if not moments:
        return np.empty(0, np.int64), np.empty(0)
    finished = np.maximum.accumulate([_finished_epochs(moment) for moment in moments])
    first, end = math.floor(finished[0]) + 1, math.ceil(finished[-1])
    steps = (factor * 10**power for power in itertools.count() for factor in (1, 2, 5))
    every = next(step for step in steps if (end - first) / step <= most)
    numbers = np.arange(-(-first // every) * every, end, every)
    after = np.searchsorted(finished, numbers)
    before = after - 1
    share = (numbers - finished[before]) / (finished[after] - finished[before])
    positions: np.ndarray = before + share
    return numbers, positions


def _finished_epochs(moment: Moment) -> float:
    batch, batches = moment.epoch_batch, moment.epoch_batches
    return moment.epoch + (min(batch / batches, 1.0) if batch and batches else 0.0)


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


def _knots(moments: Sequence[Moment], time: Time) -> tuple[np.ndarray, str]:
    """Return the time of each snapshot, from 0 for the first to 1 for the last, and its axis."""
    progress, axis = _progress(moments)
    progress = np.maximum.accumulate(progress)
    if time == "log":
        progress, axis = np.log1p(progress), f"{axis}, log scale"
    span = progress[-1] - progress[0]
    if time == "snapshot" or not span:
        return np.linspace(0.0, 1.0, len(moments)), "snapshots"
    return (progress - progress[0]) / span, axis


def _progress(moments: Sequence[Moment]) -> tuple[np.ndarray, str]:
    """Return the training before each snapshot and its unit: batches, else epochs, else steps."""
    batches = [moment.batch for moment in moments if moment.batch is not None]
    if len(batches) == len(moments):
        return np.array(batches, np.float64), "batches"
    epochs = [moment.epoch for moment in moments]
    if any(epochs):
        return np.array(epochs, np.float64), "epochs"
    return np.array([moment.step for moment in moments], np.float64), "steps"
