"""Redundancy of a layer: near-duplicate filters, effective rank, orthogonality, sparsity."""

import math
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from filtertrack.measures.beta_distribution import beta_quantile
from filtertrack.measures.vectors import blocks, by_blocks, flat, largest, unit

_SLICE_THRESHOLD = 0.01
"""Share of the layer's largest weight below which a slice counts as empty."""
_DUPLICATE_COSINE = 0.95
_FALSE_DUPLICATES = 0.01
"""Share of random layers in which some pair of filters may pass for near-duplicates."""
_HIGHEST_COSINE = 1 - 5e-15
"""Highest threshold for duplicates: the cosine of exact copies is 1 up to rounding."""

_FILTERS_AT_ONCE, _WEIGHTS_AT_ONCE = 1 << 9, 1 << 21
"""Filters, and weights, of each of the two blocks whose pairs are compared at once."""
_WEIGHTS_KEPT = 1 << 22
"""Weights of a layer, at most, whose rows are kept until they are multiplied with all others."""
_FEWEST_SINGLE = 64
"""Weights of a filter from which on filters are compared in single precision, if they have no
other. Of fewer, the threshold for near-duplicates may be as near to 1 as the rounding errors."""
_MOST_PRODUCTS = 1 << 39
"""Multiplications for all pairs, or for all singular values, at most: about ten seconds each."""
_PAIR_OVERHEAD = 64
"""Further cost of a pair, as a number of multiplications."""
_LARGEST_GRAM = 4608
"""Rows of a Gram matrix whose eigenvalues are computed, at most: 3x3 weights of 512 channels."""
_ROUNDING = 1e-7
"""Share of the largest singular value below which another one is a rounding error."""


def can_be_compared(shape: tuple[int, ...]) -> bool:
    """Return whether a layer is small enough to compare all pairs of filters: see ``twins``.

    Args:
        shape: ``(filters, height, width, channels)``.
    """
    return shape[0] ** 2 * (math.prod(shape[1:]) + _PAIR_OVERHEAD) <= _MOST_PRODUCTS


def can_be_decomposed(rows: int, columns: int) -> bool:
    """Return whether a matrix is small enough to compute its singular values."""
    small = min(rows, columns)
    return small <= _LARGEST_GRAM and rows * columns * small <= _MOST_PRODUCTS


def similarity(kernels: np.ndarray) -> np.ndarray:
    """Return the cosine of the angle between each two filters.

    Args:
        kernels: Array of shape ``(filters, height, width, channels)``.

    Returns:
        Array of shape ``(filters, filters)`` in [-1, 1]; 0 for a filter that is all zero or not
        finite.
    """
    cosines = np.empty((len(kernels), len(kernels)))
    for rows, columns, block in _cosine_blocks(kernels):
        cosines[rows, columns] = block
        cosines[columns, rows] = block.T
    return cosines


def _cosine_blocks(kernels: np.ndarray) -> Iterator[tuple[slice, slice, np.ndarray]]:
    """Yield the cosines of all pairs of filters, block by block: see ``_product_blocks``."""
    for rows, columns, block in _product_blocks(kernels, _unit_rows):
        yield rows, columns, np.clip(block, -1.0, 1.0, out=block)


def _product_blocks(
    kernels: np.ndarray, to_rows: Callable[[np.ndarray], np.ndarray]
) -> Iterator[tuple[slice, slice, np.ndarray]]:
    """Yield the upper blocks of the Gram matrix of a layer's filters.

    Args:
        kernels: Array of shape ``(filters, height, width, channels)``.
        to_rows: Turns some filters into the rows to multiply.

    Yields:
        A block's rows and columns, as ranges of filters in ascending order (the columns never
        before the rows), and its products.
    """
    size = min(_FILTERS_AT_ONCE, _WEIGHTS_AT_ONCE // max(1, math.prod(kernels.shape[1:])))
    size = max(1, size)
    parts = [slice(start, start + size) for start in range(0, len(kernels), size)]

    def rows_of(number: int) -> np.ndarray:
        return to_rows(kernels[parts[number]])

    if kernels.size <= _WEIGHTS_KEPT:
        rows_of = lru_cache(maxsize=None)(rows_of)
    for number, rows in enumerate(parts):
        left = rows_of(number)
        yield rows, rows, left @ left.T
        for other in range(number + 1, len(parts)):
            yield rows, parts[other], left @ rows_of(other).T


def _unit_rows(kernels: np.ndarray) -> np.ndarray:
    """Return filters as rows of length 1, of zeros for one that is all zero or not finite."""
    rows = unit(flat(kernels))
    rows[np.isnan(rows[:, :1]).any(axis=1)] = 0.0
    return rows


class Twins(NamedTuple):
    """The most similar other filter of each filter.

    Attributes:
        number: ``(filters,)``: the number of the most similar filter; -1 where there is no other
            filter, a filter is all zero or not finite, or the layer is too large to compare all
            pairs (see ``can_be_compared``).
        cosine: ``(filters,)``: the cosine between the two, in [-1, 1]; NaN where there is none.
        threshold: The cosine from which on two filters are near-duplicates.
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
    r"""Find the most similar other filter of each filter.

    Near-duplicates are two filters with a cosine of at least 0.95, or more for small filters, which
    are often similar by chance: in at most 1 % of random layers some pair reaches the threshold.
    The squared cosine of two random directions in d dimensions follows the beta distribution with
    parameters 1/2 and (d - 1)/2; the 1 % is divided among all pairs (Bonferroni). A filter and its
    negative are not duplicates: behind a ReLU they respond to different inputs.

    Args:
        kernels: Array of shape ``(filters, height, width, channels)``.

    Returns:
        The most similar filters, and the threshold for near-duplicates.

    Example:
        >>> kernels = np.random.default_rng(0).normal(size=(4, 5, 5, 3))
        >>> kernels[3] = 2 * kernels[1]
        >>> twins(kernels).repeated.tolist()
        [False, True, False, True]
    """
    return compare_filters(kernels).twins


class Comparison(NamedTuple):
    """What the cosines of all pairs of a layer's filters tell.

    Attributes:
        twins: See the function ``twins``.
        orthogonality: See the function ``orthogonality``.
    """

    twins: Twins
    orthogonality: float


def compare_filters(kernels: np.ndarray) -> Comparison:
    """Compare all pairs of filters: ``twins`` and ``orthogonality`` in one pass.

    Filters of 64 weights or more are compared in single precision if their weights have no other.

    Args:
        kernels: Array of shape ``(filters, height, width, channels)``.

    Returns:
        The most similar filters, and how close to orthogonal the filters are.

    Example:
        >>> compare_filters(np.eye(3).reshape(3, 1, 1, 3)).orthogonality
        1.0
    """
    filters, weights = len(kernels), math.prod(kernels.shape[1:])
    threshold = max(_DUPLICATE_COSINE, _chance_cosine(filters, weights))
    number, cosine = np.full(filters, -1), np.full(filters, -2.0)
    if filters < 2 or not can_be_compared(kernels.shape):
        return Comparison(Twins(number, np.full(filters, np.nan), threshold), math.nan)
    known, total = np.zeros(filters, bool), 0.0
    few = weights < _FEWEST_SINGLE
    precision = np.float64 if few else np.result_type(kernels.dtype, np.float32)
    in_precision = _product_blocks(
        kernels, lambda part: _unit_rows(part).astype(precision, copy=False)
    )
    for rows, columns, block in in_precision:
        if rows == columns:
            known[rows] = block.diagonal() > 0  # 0 for a filter that is all zero or not finite
            np.fill_diagonal(block, -2.0)
        else:
            _keep_nearest(number, cosine, columns, rows, block.T)
        _keep_nearest(number, cosine, rows, columns, block)
        if rows == columns:
            np.fill_diagonal(block, 0.0)
        share = float(np.abs(block, out=block).sum(dtype=np.float64))
        total += share if rows == columns else 2 * share
    cosine = np.where(known, cosine.clip(-1.0, 1.0), np.nan)
    orthogonality = 1.0 - total / (filters * (filters - 1))
    if not math.isfinite(largest(kernels)):
        orthogonality = math.nan
    return Comparison(Twins(np.where(known, number, -1), cosine, threshold), orthogonality)


def _keep_nearest(
    number: np.ndarray, cosine: np.ndarray, rows: slice, columns: slice, block: np.ndarray
) -> None:
    """Update the most similar filters of ``rows`` from their cosines with ``columns``."""
    nearest = block.argmax(axis=1)
    highest = block[np.arange(len(block)), nearest]
    nearer = highest > cosine[rows]
    number[rows][nearer] = nearest[nearer] + columns.start
    cosine[rows][nearer] = highest[nearer]


@lru_cache(maxsize=256)
def _chance_cosine(filters: int, weights: int) -> float:
    """Return the cosine that some pair reaches in at most 1 % of random layers."""
    if weights < 2:
        return math.inf  # the cosine of two numbers is always 1 or -1
    pairs = max(1.0, filters * (filters - 1) / 2)
    # Half of the pairs whose squared cosine is large have a negative cosine.
    squared_sine = beta_quantile(2 * _FALSE_DUPLICATES / pairs, (weights - 1) / 2, 1 / 2)
    return min(math.sqrt(1.0 - squared_sine), _HIGHEST_COSINE)


def sparsity(kernels: np.ndarray) -> float:
    """Return the share of a layer's 2-D slices whose weights are all nearly zero.

    A slice is one filter's weights for one input channel. It counts if all of them are below 1 % of
    the layer's largest weight (Gavrikov and Keuper, "CNN Filter DB", CVPR 2022).

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
    r"""Return how close to orthogonal a layer's filters are.

    :math:`1 - \frac{1}{n (n - 1)} \sum |\hat W \hat W^T - I|` with the n filters as rows of length
    1 (Gavrikov and Keuper, CVPR 2022): 1 if all are orthogonal, 0 if all are parallel.

    Args:
        kernels: Array of shape ``(filters, height, width, channels)``.

    Returns:
        A number from 0 to 1; NaN for fewer than two filters, values that are not finite, or a
        layer too large to compare all pairs. A filter of zeros counts as orthogonal to all others.

    Example:
        >>> orthogonality(np.array([[[[1.0, 0.0]]], [[[0.0, 2.0]]]]))
        1.0
    """
    return compare_filters(kernels).orthogonality


def effective_rank(kernels: np.ndarray) -> float:
    r"""Return the effective number of dimensions that a layer's filters span.

    :math:`\exp(-\sum p_i \ln p_i)` with :math:`p_i = \sigma_i / \sum \sigma`, the singular values
    of the filters as rows (Roy and Vetterli, "The effective rank", EUSIPCO 2007).

    Args:
        kernels: Array of shape ``(filters, height, width, channels)``.

    Returns:
        A number from 1 to the smaller of the number of filters and of weights in one; NaN for a
        layer that is all zero, not finite, or too large.

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
        for rows, columns, block in _product_blocks(kernels, lambda part: flat(part) / size):
            gram[rows, columns] = block
            gram[columns, rows] = block.T
    else:
        gram = np.zeros((weights, weights))
        for part in blocks(kernels, _WEIGHTS_AT_ONCE):
            some = flat(kernels[part])
            some /= size
            gram += some.T @ some
    values = np.sqrt(variances(gram))
    # Eigenvalues of zero come out as rounding errors; their roots would count as dimensions.
    values[values < values.max() * _ROUNDING] = 0.0
    return math.exp(entropy(values))


def variances(gram: np.ndarray) -> np.ndarray:
    """Return the squared singular values of a matrix, from the smaller of its Gram matrices."""
    values: np.ndarray = np.linalg.eigvalsh(gram).clip(min=0.0)
    return values


def entropy(values: np.ndarray) -> float:
    """Return the entropy, in nats, of non-negative values as shares of their sum."""
    shares = values[values > 0] / values.sum()
    return max(0.0, float(-(shares * np.log(shares)).sum()))
