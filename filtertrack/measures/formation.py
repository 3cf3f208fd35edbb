"""When filters form and a layer comes to rest, from what was measured at each snapshot."""

import math
from collections.abc import Sequence

import numpy as np

_ARRIVED = 0.01
"""Share of the way, as 1 - cos, that a layer at rest has left at most."""
_REST = 0.25
"""Share of the steps that it has to be at rest for."""


def formed_at(structured: np.ndarray, steps: Sequence[int]) -> np.ndarray:
    """Return the step at which each filter had formed: from there on it was always structured.

    Args:
        structured: Boolean array of shape ``(snapshots, filters)``.
        steps: Each snapshot's step, ascending.

    Returns:
        Array of shape ``(filters,)``; NaN where a filter is not structured at the end.

    Example:
        >>> formed_at(np.array([[0, 1, 0], [1, 0, 0], [1, 1, 0]], bool), [0, 10, 20]).tolist()
        [10.0, 20.0, nan]
    """
    return _since(structured, steps)


def formed_by(formed: np.ndarray, share: float) -> float:
    """Return the step by which a share of a layer's filters had formed.

    Args:
        formed: What ``formed_at`` returns.
        share: Of all filters, in (0, 1]: 0.5 for half.

    Returns:
        A step; NaN where so many never did.

    Example:
        >>> formed_by(np.array([10.0, 20.0, 5.0, np.nan]), 0.5)
        10.0
    """
    needed = math.ceil(share * len(formed) - 1e-9)  # 0.55 * 100 is a hair more than 55
    steps = np.sort(formed)  # NaN last
    return float(steps[needed - 1]) if needed else math.nan


def settled_at(to_the_end: np.ndarray, steps: Sequence[int]) -> float:
    """Return the step after which a layer hardly moves: from there on it is near its end.

    Near is a ``rotation`` of at most 1 % of that from the start: as an angle, a tenth of the way.
    Every layer is near its end shortly before it, so it has to be near for the last quarter of the
    steps at least.

    Args:
        to_the_end: ``rotation`` between each snapshot and the last one: ``(snapshots,)``.
        steps: Each snapshot's step, ascending.

    Returns:
        A step; NaN where the layer still moved in the last quarter, or never moved at all.

    Example:
        >>> settled_at(np.array([0.8, 0.2, 0.004, 0.0]), [0, 10, 20, 30])
        20.0
    """
    left = np.asarray(to_the_end)
    near = left <= _ARRIVED * left[:1]
    if not len(near) or near.all():
        return math.nan
    step = float(_since(near[:, np.newaxis], steps)[0])
    return step if steps[-1] - step >= _REST * (steps[-1] - steps[0]) else math.nan


def _since(true: np.ndarray, steps: Sequence[int]) -> np.ndarray:
    """Return for each column the step from which on it is true to the end; NaN if it is not."""
    if not len(true):
        return np.full(true.shape[1], np.nan)
    to_the_end = np.logical_and.accumulate(true[::-1], axis=0)[::-1]
    return np.where(
        to_the_end[-1], np.asarray(steps, np.float64)[to_the_end.argmax(axis=0)], np.nan
    )
