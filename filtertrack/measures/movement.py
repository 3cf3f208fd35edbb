"""Length of filters, and their change over training: drift, rotation, relative change."""

import math
from typing import NamedTuple

import numpy as np

from filtertrack.measures.vectors import ORDINARY, by_blocks, flat, lengths, unit

UNMOVED = 0.01
"""Drift up to which a filter counts as unmoved: an angle of 8 degrees."""


class Movement(NamedTuple):
    """What one pass over the filters at two moments tells about their change.

    Attributes:
        norm: ``(filters,)``: see the function ``norm``.
        norm_before: ``(filters,)``: the same of the earlier moment.
        drift: ``(filters,)``: see the function ``drift``.
    """

    norm: np.ndarray
    norm_before: np.ndarray
    drift: np.ndarray

    @property
    def rotation(self) -> float:
        """See the function ``rotation``."""
        highest = [each.max(initial=0.0) for each in (self.norm, self.norm_before)]
        if not all(0 < length < math.inf for length in highest):
            return math.nan
        now, then = (
            length / size / np.linalg.norm(length / size)
            for length, size in zip((self.norm, self.norm_before), highest, strict=True)
        )
        # Half the squared distance of the layers as unit vectors is 1 - cos. It is the sum over
        # filters, of the change of length and of direction: no cancellation near 0.
        turned = 2 * now * then * np.where((now > 0) & (then > 0), self.drift, 0.0)
        distance = float((np.square(now - then) + turned).sum()) / 2
        return min(max(distance, 0.0), 2.0)


def movement_since(kernels: np.ndarray, start: np.ndarray) -> Movement:
    """Compare filters with an earlier moment: lengths, drift and rotation in one pass.

    Args:
        kernels: Array of shape ``(filters, height, width, channels)``.
        start: The same filters at the earlier moment.

    Returns:
        The lengths and the drift of each filter, and the layer's rotation.

    Example:
        >>> moved = movement_since(np.array([[[[0.0, 2.0]]]]), np.array([[[[1.0, 0.0]]]]))
        >>> moved.drift.tolist(), moved.rotation
        ([1.0], 1.0)
    """
    return Movement(*by_blocks(_movement, kernels, start))


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
    return movement_since(kernels, start).drift


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
    return movement_since(kernels, start).rotation


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


def _movement(kernels: np.ndarray, start: np.ndarray) -> Movement:
    """Compare some filters."""
    now, then = flat(kernels), flat(start)
    length, before = lengths(now), lengths(then)
    return Movement(length, before, _half_distance(now, then, length, before))


def _half_distance(
    now: np.ndarray, then: np.ndarray, length: np.ndarray, before: np.ndarray
) -> np.ndarray:
    """Return half the squared distance of unit vectors: 1 - cos, without cancellation near 0."""
    each = np.concatenate([length, before])
    if ((each > 1 / ORDINARY) & (each < ORDINARY)).all():
        then *= (length / before)[:, np.newaxis]
        then -= now
        square = np.einsum("fp,fp->f", then, then) / np.square(length)
    else:
        square = np.square(unit(now) - unit(then)).sum(axis=1)
    half: np.ndarray = square / 2
    return half.clip(0.0, 2.0)


def _relative_change(kernels: np.ndarray, before: np.ndarray) -> tuple[np.ndarray]:
    """Return the relative change of some filters."""
    now, then = flat(kernels), flat(before)
    length = lengths(then)
    with np.errstate(invalid="ignore", over="ignore"):
        now -= then
        return (lengths(now) / np.where(length > 0, length, np.nan),)
