"""Whether the filters of a layer repeat each other, or hold nothing."""

import math
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from filtertrack.measures.vectors import blocks, by_blocks, flat, largest, unit

_SLICE_THRESHOLD = 0.01
_ALIKE = 0.95
_BY_CHANCE = 0.01
_SMALLEST_ANGLE = 1e-7
"""Its cosine is the last below 1 by more than rounding."""

_ROWS, _WEIGHTS = 1 << 9, 1 << 21
"""Filters, and weights, of each of the two blocks whose pairs are compared at once."""
_MOST_PRODUCTS = 1 << 39
"""Multiplications for all pairs, or for all singular values: some ten seconds' each."""
_BESIDE = 64
"""What a pair takes beside its multiplications, in those."""
_LARGEST_GRAM = 4608
"""Rows of a Gram matrix whose eigenvalues are computed, at most: those of 3x3 weights of 512
channels."""


def can_be_compared(shape: tuple[int, ...]) -> bool:
    """Whether a layer is small enough to compare each two filters: see ``twins``.

    Args:
        shape: ``(filters, height, width, channels)``.
    """
    return shape[0] ** 2 * (math.prod(shape[1:]) + _BESIDE) <= _MOST_PRODUCTS


def can_be_decomposed(rows: int, columns: int) -> bool:
    """Whether a matrix is small enough for its singular values: see ``variances``."""
    small = min(rows, columns)
    return small <= _LARGEST_GRAM and rows * columns * small <= _MOST_PRODUCTS


def similarity(kernels: np.ndarray) -> np.ndarray:
    """Return how alike each two filters are: the cosine of the angle between them.

    Args:
        kernels: Array of shape ``(filters, height, width, channels)``.

    Returns:
        Array of shape ``(filters, filters)`` in [-1, 1]; 0 with a filter that has no direction.
    """
    cosines = np.empty((len(kernels), len(kernels)))
    for one, other, alike in _similarities(kernels):
        cosines[one, other] = alike
        cosines[other, one] = alike.T
    return cosines


def _similarities(kernels: np.ndarray) -> Iterator[tuple[slice, slice, np.ndarray]]:
    """Yield how alike each two filters are, block by block: see ``_products``."""
    for one, other, product in _products(kernels, lambda part: np.nan_to_num(unit(flat(part)))):
        yield one, other, np.clip(product, -1.0, 1.0, out=product)


def _products(
    kernels: np.ndarray, prepare: Callable[[np.ndarray], np.ndarray]
) -> Iterator[tuple[slice, slice, np.ndarray]]:
    """Yield the products of each two filters, block by block, of each two blocks once.

    Args:
        kernels: Array of shape ``(filters, height, width, channels)``.
        prepare: Makes rows of some filters.

    Yields:
        Two ranges of filters, the second not before the first, both ascending; and the products
        of their rows.
    """
    size = max(1, min(_ROWS, _WEIGHTS // max(1, math.prod(kernels.shape[1:]))))
    parts = [slice(start, start + size) for start in range(0, len(kernels), size)]
    for number, one in enumerate(parts):
        rows = prepare(kernels[one])
        yield one, one, rows @ rows.T
        for other in parts[number + 1 :]:
            yield one, other, rows @ prepare(kernels[other]).T


class Twins(NamedTuple):
    """Which filters repeat each other.

    Attributes:
        number: ``(filters,)``: the filter most like each one; -1 where there is no other, where a
            filter is all zero or not finite, or where the layer is too large to compare all of
            them: see ``can_be_compared``.
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
    number, cosine = np.full(filters, -1), np.full(filters, -2.0)
    known = np.zeros(filters, bool)
    if filters > 1 and can_be_compared(kernels.shape):
        for one, other, alike in _similarities(kernels):
            if one == other:
                known[one] = alike.diagonal() > 0  # 0 where a filter has no direction
                np.fill_diagonal(alike, -2.0)
            else:
                _keep_nearest(number, cosine, other, one, alike.T)
            _keep_nearest(number, cosine, one, other, alike)
    return Twins(np.where(known, number, -1), np.where(known, cosine, np.nan), threshold)


def _keep_nearest(
    number: np.ndarray, cosine: np.ndarray, one: slice, other: slice, alike: np.ndarray
) -> None:
    """Keep for some filters the nearest of some others, if it is nearer than any before."""
    nearest = alike.argmax(axis=1)
    reached = alike[np.arange(len(alike)), nearest]
    nearer = reached > cosine[one]
    number[one][nearer] = nearest[nearer] + other.start
    cosine[one][nearer] = reached[nearer]


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
    (slices,) = by_blocks(lambda part: (np.abs(part).max(axis=(1, 2), initial=0.0),), kernels)
    slices = slices.astype(np.float64)
    highest = slices.max(initial=0.0)
    if not slices.size or not np.isfinite(highest):
        return math.nan
    return float((slices < _SLICE_THRESHOLD * highest).mean()) if highest else 1.0


def orthogonality(kernels: np.ndarray) -> float:
    r"""Return how independent the directions of a layer's filters are.

    :math:`1 - \frac{1}{n (n - 1)} \sum |\hat W \hat W^T - I|` with the n filters as rows of length
    1 (Gavrikov and Keuper, CVPR 2022): 1 where all are at right angles, 0 where all are parallel.

    Args:
        kernels: Array of shape ``(filters, height, width, channels)``.

    Returns:
        A number from 0 to 1; NaN for fewer than two filters, values that are not finite, or a
        layer too large to compare all of them. A filter of zeros counts as at right angles to all.

    Example:
        >>> orthogonality(np.array([[[[1.0, 0.0]]], [[[0.0, 2.0]]]]))
        1.0
    """
    count = len(kernels)
    if count < 2 or not math.isfinite(largest(kernels)) or not can_be_compared(kernels.shape):
        return math.nan
    total = 0.0
    for one, other, alike in _similarities(kernels):
        if one == other:
            np.fill_diagonal(alike, 0.0)
        total += float(np.abs(alike).sum()) * (1 if one == other else 2)
    return 1.0 - total / (count * (count - 1))


def effective_rank(kernels: np.ndarray) -> float:
    r"""Return how many directions a layer's filters really use.

    :math:`\exp(-\sum p_i \ln p_i)` with :math:`p_i = \sigma_i / \sum \sigma`, the singular values
    of the filters as rows (Roy and Vetterli, "The effective rank", EUSIPCO 2007).

    Args:
        kernels: Array of shape ``(filters, height, width, channels)``.

    Returns:
        A number from 1 to the smaller of filters and weights a filter; NaN for a layer of zeros,
        one that holds a value that is not finite, or one that is too large.

    Example:
        >>> round(effective_rank(np.eye(4).reshape(4, 2, 2, 1)), 6)
        4.0
    """
    filters, weights = len(kernels), math.prod(kernels.shape[1:])
    size = largest(kernels)
    if not 0 < size < math.inf or not can_be_decomposed(filters, weights):
        return math.nan
    if filters <= weights:
        gram = np.empty((filters, filters))
        for one, other, product in _products(kernels, lambda part: flat(part) / size):
            gram[one, other] = product
            gram[other, one] = product.T
    else:
        gram = np.zeros((weights, weights))
        for part in blocks(kernels, _WEIGHTS):
            rows = flat(kernels[part]) / size
            gram += rows.T @ rows
    values = np.sqrt(variances(gram))
    # The root of what rounding left of a zero is no direction.
    values[values < values.max() * 1e-7] = 0.0
    return math.exp(entropy(values))


def variances(gram: np.ndarray) -> np.ndarray:
    """Return the squares of a matrix's singular values, from the smaller of its Gram matrices."""
    values: np.ndarray = np.linalg.eigvalsh(gram).clip(min=0.0)
    return values


def entropy(values: np.ndarray) -> float:
    """Return the entropy, in nats, of values that are not negative, as shares of their sum."""
    shares = values[values > 0] / values.sum()
    return max(0.0, float(-(shares * np.log(shares)).sum()))
