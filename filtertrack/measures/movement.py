"""How filters move: their length, and how far they have come."""

import numpy as np

from filtertrack.measures.vectors import flat, lengths, unit

UNMOVED = 0.01
"""Drift up to which a filter has hardly moved: an angle of 8 degrees."""


def norm(kernels: np.ndarray) -> np.ndarray:
    """Return the Euclidean length of each filter, from 0 up.

    Args:
        kernels: Array of shape ``(filters, height, width, channels)``.

    Returns:
        Array of shape ``(filters,)``; not finite where a weight is not.

    Example:
        >>> norm(np.array([[[[3.0, 4.0]]]])).tolist()
        [5.0]
    """
    return lengths(flat(kernels))


def drift(kernels: np.ndarray, start: np.ndarray) -> np.ndarray:
    """Return how far each filter has turned away from its start: 1 - cos(w, w0).

    Layer rotation, here of each filter (Carbonnelle and De Vleeschouwer, arXiv 1806.01603): 0 is
    the same direction, 1 at right angles, 2 opposite. It does not see a mere change of length.

    Args:
        kernels: Array of shape ``(filters, height, width, channels)``.
        start: The same filters at the start of training.

    Returns:
        Array of shape ``(filters,)`` in [0, 2]; NaN where a filter is or was all zero.

    Example:
        >>> w = np.array([[[[1.0, 0.0]]], [[[1.0, 0.0]]]])
        >>> drift(w, np.array([[[[2.0, 0.0]]], [[[0.0, 1.0]]]])).tolist()
        [0.0, 1.0]
    """
    return _turned(flat(kernels), flat(start))


def rotation(kernels: np.ndarray, start: np.ndarray) -> float:
    """Return how far a whole layer has turned away from its start: 1 - cos(W, W0).

    Layer rotation as published (Carbonnelle and De Vleeschouwer, arXiv 1806.01603): the layer's
    weights as one vector. Strong filters count for more than in the mean of ``drift``.

    Args:
        kernels: Array of shape ``(filters, height, width, channels)``.
        start: The same layer at the start of training.

    Returns:
        A number in [0, 2]; NaN where the layer is or was all zero, or has no weights.

    Example:
        >>> w = np.array([[[[1.0, 1.0]]]])
        >>> round(rotation(w, np.array([[[[1.0, 0.0]]]])), 3)
        0.293
    """
    if not kernels.size:
        return float("nan")
    return float(_turned(flat(kernels).reshape(1, -1), flat(start).reshape(1, -1))[0])


def relative_change(kernels: np.ndarray, before: np.ndarray) -> np.ndarray:
    """Return how much each filter has changed, as a share of what it was: |w - w0| / |w0|.

    Against the start of training: how far it has come, in direction and length. Against the
    snapshot before: the size of its last step.

    Args:
        kernels: Array of shape ``(filters, height, width, channels)``.
        before: The same filters at an earlier moment.

    Returns:
        Array of shape ``(filters,)``, from 0 up; NaN where a filter was all zero.

    Example:
        >>> relative_change(np.array([[[[3.0, 0.0]]]]), np.array([[[[2.0, 0.0]]]])).tolist()
        [0.5]
    """
    now, then = flat(kernels), flat(before)
    with np.errstate(invalid="ignore", over="ignore"):
        moved, length = lengths(now - then), lengths(then)
        share: np.ndarray = moved / np.where(length > 0, length, np.nan)
    return share


def _turned(now: np.ndarray, then: np.ndarray) -> np.ndarray:
    # Half the squared distance of the two ends: the same, but exact where they meet.
    distance: np.ndarray = np.square(unit(now) - unit(then)).sum(axis=1) / 2
    return distance.clip(0.0, 2.0)
