"""Whether the filters of a layer repeat each other, or hold nothing."""

import math
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from filtertrack.measures.vectors import flat, unit

_SLICE_THRESHOLD = 0.01
_ALIKE = 0.95
_BY_CHANCE = 0.01
_SMALLEST_ANGLE = 1e-7
"""Its cosine is the last below 1 by more than rounding."""


def similarity(kernels: np.ndarray) -> np.ndarray:
    """Return how alike each two filters are: the cosine of the angle between them.

    Args:
        kernels: Array of shape ``(filters, height, width, channels)``.

    Returns:
        Array of shape ``(filters, filters)`` in [-1, 1]; 0 with a filter that has no direction.
    """
    rows = np.nan_to_num(unit(flat(kernels)))
    cosines: np.ndarray = np.clip(rows @ rows.T, -1.0, 1.0)
    return cosines


class Twins(NamedTuple):
    """Which filters repeat each other.

    Attributes:
        number: ``(filters,)``: the filter most like each one; -1 where there is no other, or where
            a filter is all zero or not finite.
        cosine: ``(filters,)``: how alike the two are, in [-1, 1]; NaN there.
        threshold: From where on two filters are near-duplicates.
    """

    number: np.ndarray
    cosine: np.ndarray
    threshold: float

    @property
    def repeated(self) -> np.ndarray:
        """Whether each filter has a near-duplicate: ``(filters,)``."""
        repeated: np.ndarray = np.nan_to_num(self.cosine, nan=-1.0) >= self.threshold
        return repeated


def twins(kernels: np.ndarray) -> Twins:
    r"""Find for each filter the one most like it.

    Near-duplicates are two filters with a cosine of at least 0.95, or more where chance alone
    reaches that: small filters are often alike. The angle between two random directions in d
    dimensions has the density :math:`\sin^{d-2}`; the threshold is passed by any pair of a random
    layer in 1 % of cases at most. A filter and its negative do not repeat each other: behind a ReLU
    they answer to different inputs.

    Args:
        kernels: Array of shape ``(filters, height, width, channels)``.

    Returns:
        Each filter's nearest other, and the threshold.

    Example:
        >>> kernels = np.random.default_rng(0).normal(size=(4, 5, 5, 3))
        >>> kernels[3] = 2 * kernels[1]
        >>> twins(kernels).repeated.tolist()
        [False, True, False, True]
    """
    filters, weights = len(kernels), math.prod(kernels.shape[1:])
    threshold = max(_ALIKE, _chance_cosine(filters, weights))
    if filters < 2:
        return Twins(np.full(filters, -1), np.full(filters, np.nan), threshold)
    alike = similarity(kernels)
    known = alike.diagonal() > 0  # 0 where a filter has no direction
    np.fill_diagonal(alike, -2.0)
    number = alike.argmax(axis=1)
    cosine = alike[np.arange(filters), number]
    return Twins(np.where(known, number, -1), np.where(known, cosine, np.nan), threshold)


@lru_cache(maxsize=256)
def _chance_cosine(filters: int, weights: int) -> float:
    """Return the cosine that some pair of a random layer reaches in 1 % of cases at most."""
    pairs = filters * (filters - 1) / 2
    if weights < 2:
        return math.inf  # two numbers always point the same way, or the opposite one
    # Denser towards zero, where the quantile of many pairs is; by symmetry half of it is enough.
    angles = np.geomspace(_SMALLEST_ANGLE, math.pi / 2, 1 << 16)
    with np.errstate(under="ignore"):
        density = np.exp((weights - 2) * np.log(np.sin(angles)))
    below = np.cumsum(np.diff(angles) * (density[1:] + density[:-1]) / 2)
    angle = angles[1:][np.searchsorted(below / (2 * below[-1]), _BY_CHANCE / max(1.0, pairs))]
    return float(np.cos(angle))


def sparsity(kernels: np.ndarray) -> float:
    """Return the share of a layer's 2-D slices that hold next to nothing.

    A slice is one filter's weights for one input channel. It counts where all of them are below
    1 % of the layer's largest (Gavrikov and Keuper, "CNN Filter DB", CVPR 2022).

    Args:
        kernels: Array of shape ``(filters, height, width, channels)``.

    Returns:
        A number from 0 to 1; 1 for a layer of zeros, NaN for one without weights or with a value
        that is not finite.

    Example:
        >>> sparsity(np.array([[[[1.0, 0.001]]], [[[0.5, 0.0]]]]))
        0.5
    """
    largest = np.abs(kernels).max(axis=(1, 2), initial=0.0).astype(np.float64)
    highest = largest.max(initial=0.0)
    if not largest.size or not np.isfinite(highest):
        return math.nan
    return float((largest < _SLICE_THRESHOLD * highest).mean()) if highest else 1.0


def orthogonality(kernels: np.ndarray) -> float:
    r"""Return how independent the directions of a layer's filters are.

    :math:`1 - \frac{1}{n (n - 1)} \sum |\hat W \hat W^T - I|` with the n filters as rows of length
    1 (Gavrikov and Keuper, CVPR 2022): 1 where all are at right angles, 0 where all are parallel.

    Args:
        kernels: Array of shape ``(filters, height, width, channels)``.

    Returns:
        A number from 0 to 1; NaN for fewer than two filters, or values that are not finite. A
        filter of zeros counts as at right angles to all.

    Example:
        >>> orthogonality(np.array([[[[1.0, 0.0]]], [[[0.0, 2.0]]]]))
        1.0
    """
    count = len(kernels)
    if count < 2 or not np.isfinite(kernels).all():
        return math.nan
    alike = similarity(kernels)
    np.fill_diagonal(alike, 0.0)
    return float(1.0 - np.abs(alike).sum() / (count * (count - 1)))


def effective_rank(kernels: np.ndarray) -> float:
    r"""Return how many directions a layer's filters really use.

    :math:`\exp(-\sum p_i \ln p_i)` with :math:`p_i = \sigma_i / \sum \sigma`, the singular values
    of the filters as rows (Roy and Vetterli, "The effective rank", EUSIPCO 2007).

    Args:
        kernels: Array of shape ``(filters, height, width, channels)``.

    Returns:
        A number from 1 to the smaller of filters and weights a filter; NaN for a layer of zeros or
        one that holds a value that is not finite.

    Example:
        >>> round(effective_rank(np.eye(4).reshape(4, 2, 2, 1)), 6)
        4.0
    """
    rows = flat(kernels)
    largest = np.abs(rows).max(initial=0.0)
    if not np.isfinite(largest) or not largest:
        return math.nan
    values = np.sqrt(variances(rows / largest))
    # The root of what rounding left of a zero is no direction.
    values[values < values.max() * 1e-7] = 0.0
    return math.exp(entropy(values))


def variances(rows: np.ndarray) -> np.ndarray:
    """Return the squares of the singular values of rows, from the smaller of the two products."""
    small = rows @ rows.T if len(rows) <= rows.shape[1] else rows.T @ rows
    values: np.ndarray = np.linalg.eigvalsh(small).clip(min=0.0)
    return values


def entropy(values: np.ndarray) -> float:
    """Return the entropy, in nats, of values that are not negative, as shares of their sum."""
    shares = values[values > 0] / values.sum()
    return max(0.0, float(-(shares * np.log(shares)).sum()))
