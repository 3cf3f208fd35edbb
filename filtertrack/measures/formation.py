"""Steps at which filters form and answer, and a layer settles, from measures of each snapshot."""

import math
from collections.abc import Sequence

import numpy as np

_SETTLED = 0.01
"""Share of the whole rotation up to which a layer counts as settled."""
_SETTLED_FOR = 0.25
"""Share of the steps for which a layer has to be settled."""
_ROUNDING = 1e-9


def formed_at(structured: np.ndarray, steps: Sequence[int]) -> np.ndarray:
    """Return the step from which on each filter was structured at every snapshot.

    Args:
        structured: Boolean array of shape ``(snapshots, filters)``.
        steps: Each snapshot's step, ascending.

    Returns:
        Array of shape ``(filters,)``; NaN for a filter that is not structured at the end.

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
        A step; NaN if so many filters never formed.

    Example:
        >>> formed_by(np.array([10.0, 20.0, 5.0, np.nan]), 0.5)
        10.0
    """
    needed = math.ceil(share * len(formed) - _ROUNDING)  # 0.55 * 100 is slightly more than 55
    steps = np.sort(formed)  # NaN last
    return float(steps[needed - 1]) if needed else math.nan


def answers_from(silent: np.ndarray, steps: Sequence[int]) -> np.ndarray:
    """Return the step from which on each filter answers to at least one probe at every snapshot.

    Snapshots at which it is not known of any filter whether it is silent do not count.

    Args:
        silent: What ``silent`` returns at each snapshot: ``(snapshots, filters)``.
        steps: Each snapshot's step, ascending.

    Returns:
        Array of shape ``(filters,)``; NaN for a filter that is silent at the end, or of which it is
        not known.

    Example:
        >>> silent = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1]])
        >>> answers_from(silent, [0, 10, 20]).tolist()
        [10.0, 20.0, nan]
    """
    known = np.isfinite(silent).any(axis=1)
    return _since(silent[known] == 0, np.asarray(steps)[known])


def settled_at(to_the_end: np.ndarray, steps: Sequence[int]) -> float:
    """Return the step after which a layer hardly rotates any more.

    From there on its ``rotation`` to the last snapshot is at most 1 % of that of the first
    snapshot: as an angle, a tenth. Every layer is near its final state shortly before the end, so
    this has to hold for the last quarter of the steps at least.

    Args:
        to_the_end: ``rotation`` between each snapshot and the last one: ``(snapshots,)``.
        steps: Each snapshot's step, ascending.

    Returns:
        A step; NaN if the layer still rotated in the last quarter, or never rotated at all.

    Example:
        >>> settled_at(np.array([0.8, 0.2, 0.004, 0.0]), [0, 10, 20, 30])
        20.0
    """
    remaining = np.asarray(to_the_end)
    settled = remaining <= _SETTLED * remaining[:1]
    if not len(settled) or settled.all():
        return math.nan
    step = float(_since(settled[:, np.newaxis], steps)[0])
    return step if steps[-1] - step >= _SETTLED_FOR * (steps[-1] - steps[0]) else math.nan


def _since(true: np.ndarray, steps: Sequence[int] | np.ndarray) -> np.ndarray:
    """Return for each column the step from which on it is always true; NaN if there is none."""
    if not len(true):
        return np.full(true.shape[1], np.nan)
    to_the_end = np.logical_and.accumulate(true[::-1], axis=0)[::-1]
    first = np.asarray(steps, np.float64)[to_the_end.argmax(axis=0)]
    return np.where(to_the_end[-1], first, np.nan)
