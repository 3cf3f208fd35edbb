"""How filters move: their length, and how far they have come."""

import math

import numpy as np

from filtertrack.measures.vectors import blocks, by_blocks, flat, largest, lengths, unit

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
    return by_blocks(lambda part: (lengths(flat(part)),), kernels)[0]


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
    return by_blocks(_turned, kernels, start)[0]


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
    scales = _scales(kernels), _scales(start)
    if not all(0 < scale < math.inf for both in scales for scale in both):
        return math.nan
    distance = 0.0
    for part in blocks(kernels):
        now, then = (
            flat(layer[part]) / size / length
            for layer, (size, length) in zip((kernels, start), scales, strict=True)
        )
        # Half the squared distance of the two ends: the same, but exact where they meet.
        distance += float(np.square(now - then).sum()) / 2
    return min(max(distance, 0.0), 2.0)


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
    return by_blocks(_changed, kernels, before)[0]


def _turned(kernels: np.ndarray, start: np.ndarray) -> tuple[np.ndarray]:
    distance = np.square(unit(flat(kernels)) - unit(flat(start))).sum(axis=1) / 2
    return (distance.clip(0.0, 2.0),)


def _changed(kernels: np.ndarray, before: np.ndarray) -> tuple[np.ndarray]:
    now, then = flat(kernels), flat(before)
    with np.errstate(invalid="ignore", over="ignore"):
        moved, length = lengths(now - then), lengths(then)
        return (moved / np.where(length > 0, length, np.nan),)


def _scales(kernels: np.ndarray) -> tuple[float, float]:
    """Return a layer's largest weight, and its length as a vector where that is 1."""
    size = largest(kernels)
    if not 0 < size < math.inf:
        return size, math.nan
    (each,) = by_blocks(lambda part: (lengths(flat(part) / size),), kernels)
    return size, float(np.sqrt(np.square(each).sum()))
