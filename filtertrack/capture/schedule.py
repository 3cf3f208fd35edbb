"""Schedules: at which batches and epochs snapshots are taken."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from filtertrack.errors import FiltertrackError, whole

LOG_STEPS_PER_DOUBLING = 4
"""The "log" schedule takes this many batches from each power of two to the next."""

ScheduleLike: TypeAlias = str | int | Callable[[int, int], bool]

# Batch number n lies in epoch n / length, and the log-spaced points around it are n * (2^(1/4) - 1)
# apart. That exceeds an epoch's length from the sixth epoch on: there epochs are the finer grid.
_LOG_EPOCHS = math.floor(1 / (2 ** (1 / LOG_STEPS_PER_DOUBLING) - 1))


@dataclass(frozen=True, slots=True)
class Schedule:
    """When to take a snapshot.

    Attributes:
        every_epoch: Whether to take one at the end of each epoch.
        due: ``due(epoch, after, upto)``: whether a snapshot is due at any batch in
            ``(after, upto]``, with ``epoch`` finished epochs. It takes a range because with
            ``steps_per_execution`` Keras reports several batches at once. None if snapshots are
            taken at epochs only, so that no batch hook is needed.
        planned: ``planned(epochs, steps)``: the approximate number of snapshots in so many epochs
            of so many batches; None if it is unknown (``steps`` may be None).
    """

    every_epoch: bool
    planned: Callable[[int, int | None], int | None]
    due: Callable[[int, int, int], bool] | None = None

    @property
    def counts_batches(self) -> bool:
        """Whether a snapshot's step counts batches (else it counts epochs)."""
        return self.due is not None


def make_schedule(value: ScheduleLike) -> Schedule:
    """Make a schedule from the option ``schedule``.

    Args:
        value: ``"epoch"``: each epoch. ``"log"``: each epoch, and in the first five also
            log-spaced batches, four per doubling, because filters form within the first epoch. An
            integer N: every N batches. A function of the finished ``(epoch, batch)`` that returns
            whether to take a snapshot now.

    Returns:
        The schedule.

    Raises:
        FiltertrackError: If the value is none of these.

    Example:
        >>> schedule = make_schedule("log")
        >>> [n for n in range(1, 30) if schedule.due(0, n - 1, n)]
        [1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16, 20, 23, 27]
    """
    if value == "epoch":
        return Schedule(every_epoch=True, planned=lambda epochs, _: epochs + 1)
    if value == "log":
        return Schedule(every_epoch=True, planned=_log_planned, due=_log_due)
    every = whole(value)
    if every is not None and every > 0:
        return Schedule(
            every_epoch=False,
            planned=lambda epochs, steps: steps and epochs * steps // every + 1,
            due=lambda _, after, upto: upto // every > after // every,
        )
    if callable(value):
        asked = value
        return Schedule(
            every_epoch=False,
            planned=lambda *_: None,
            due=lambda epoch, after, upto: any(asked(epoch, n) for n in range(after + 1, upto + 1)),
        )
    raise FiltertrackError(
        f"schedule: expected 'epoch', 'log', a number of batches from 1 on or a function of "
        f"(epoch, batch), got {value!r}"
    )


def _log_due(epoch: int, after: int, upto: int) -> bool:
    return epoch < _LOG_EPOCHS and _log_position(upto) > _log_position(after)


def _log_planned(epochs: int, steps: int | None) -> int | None:
    if steps is None:
        return None
    points = _log_position(min(epochs, _LOG_EPOCHS) * steps) + 1
    return epochs + 1 + len({math.ceil(2 ** (n / LOG_STEPS_PER_DOUBLING)) for n in range(points)})


def _log_position(batch: int) -> int:
    """Return the number of log-spaced points at or before a batch."""
    return math.floor(LOG_STEPS_PER_DOUBLING * math.log2(batch)) if batch > 0 else -1
