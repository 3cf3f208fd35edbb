"""Length of filters, and their change over training: drift, rotation, relative change."""

import math

import numpy as np

from filtertrack.measures.vectors import blocks, by_blocks, flat, largest, lengths, unit

UNMOVED = 0.01
"""Drift up to which a filter counts as unmoved: an angle of 8 degrees."""


def norm(kernels: np.ndarray) -> np.ndarray:
    """Return the Euclidean length of each filter, from 0 up.

    Args:
        kernels: Array of shape ``(filters, height, width, channels)``.

    Returns:
        Array of shape ``(filters,)``; not finite for a filter that is not.

    Example:
        >>> norm(np.array([[[[3.0, 4.0]]]])).tolist()
        [5.0]
    """
    return by_blocks(lambda part: (lengths(flat(part)),), kernels)[0]


def drift(kernels: np.ndarray, start: np.ndarray) -> np.ndarray:
    """Return the cosine distance of each filter from its start: 1 - cos(w, w0).

    Layer rotation, here of each filter (Carbonnelle and De Vleeschouwer, arXiv 1806.01603): 0 for
    the same direction, 1 for orthogonal, 2 for opposite. Independent of the filters' lengths.

    Args:
        kernels: Array of shape ``(filters, height, width, channels)``.
        start: The same filters at the start of training.

    Returns:
        Array of shape ``(filters,)`` in [0, 2]; NaN if a filter is or was all zero.

    Example:
        >>> w = np.array([[[[1.0, 0.0]]], [[[1.0, 0.0]]]])
        >>> drift(w, np.array([[[[2.0, 0.0]]], [[[0.0, 1.0]]]])).tolist()
        [0.0, 1.0]
    """
    return by_blocks(_drift, kernels, start)[0]


def rotation(kernels: np.ndarray, start: np.ndarray) -> float:
    """Return the cosine distance of a whole layer from its start: 1 - cos(W, W0).

    Layer rotation as published (Carbonnelle and De Vleeschouwer, arXiv 1806.01603), of the layer's
    weights as one vector: strong filters count more than in the mean of ``drift``.

    Args:
        kernels: Array of shape ``(filters, height, width, channels)``.
        start: The same layer at the start of training.

    Returns:
        A number in [0, 2]; NaN if the layer is or was all zero, or has no weights.

    Example:
        >>> w = np.array([[[[1.0, 1.0]]]])
        >>> round(rotation(w, np.array([[[[1.0, 0.0]]]])), 3)
        0.293
    """
    scales = _scales(kernels), _scales(start)
    if not all(0 < scale < math.inf for pair in scales for scale in pair):
        return math.nan
    distance = 0.0
    for part in blocks(kernels):
        now, then = (
            flat(layer[part]) / size / length
            for layer, (size, length) in zip((kernels, start), scales, strict=True)
        )
        # Half the squared distance of two unit vectors is 1 - cos, without cancellation near 0.
        distance += float(np.square(now - then).sum()) / 2
    return min(max(distance, 0.0), 2.0)


def relative_change(kernels: np.ndarray, before: np.ndarray) -> np.ndarray:
    """Return the relative change of each filter: |w - w0| / |w0|.

    From the start of training it is the total change, in direction and length; from the snapshot
    before, the size of the last step.

    Args:
        kernels: Array of shape ``(filters, height, width, channels)``.
        before: The same filters at an earlier moment.

    Returns:
        Array of shape ``(filters,)``, from 0 up; NaN if a filter was all zero.

    Example:
        >>> relative_change(np.array([[[[3.0, 0.0]]]]), np.array([[[[2.0, 0.0]]]])).tolist()
        [0.5]
    """
    return by_blocks(_relative_change, kernels, before)[0]


def _drift(kernels: np.ndarray, start: np.ndarray) -> tuple[np.ndarray]:
    distance = np.square(unit(flat(kernels)) - unit(flat(start))).sum(axis=1) / 2
    return (distance.clip(0.0, 2.0),)


def _relative_change(kernels: np.ndarray, before: np.ndarray) -> tuple[np.ndarray]:
    now, then = flat(kernels), flat(before)
    with np.errstate(invalid="ignore", over="ignore"):
        change, length = lengths(now - then), lengths(then)
        return (change / np.where(length > 0, length, np.nan),)


def _scales(kernels: np.ndarray) -> tuple[float, float]:
    """Return a layer's largest weight, and the layer's length divided by it."""
    size = largest(kernels)
    if not 0 < size < math.inf:
        return size, math.nan
    (each,) = by_blocks(lambda part: (lengths(flat(part) / size),), kernels)
    return size, float(np.sqrt(np.square(each).sum()))
