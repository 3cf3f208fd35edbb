"""Vector operations on filters: flattening, lengths, unit vectors, centring, singular vectors."""

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

TINY_SQUARE = 1e-200
"""Sums of squares between this and its inverse have neither over- nor underflowed."""
ORDINARY = 1e100
"""Weights and lengths between this and its inverse: their squares neither over- nor underflow."""
_FULL_PRECISION = float(np.finfo(np.float64).tiny / np.finfo(np.float64).eps)
"""The smallest number whose quotients have all their digits."""
_AT_ONCE = 1 << 18
"""Weights processed at once: their copies and products stay in the CPU's cache."""
_LARGEST_GRAM = 1024
"""Rows of a Gram matrix whose eigenvectors are computed, at most: the time is cubic."""
_LARGEST_COMPACT = 121
"""Pixels of filters whose channels are replaced by fewer, at most."""
_MOST_STEPS = 256
"""Lanczos iterations, at most."""
_RESIDUAL = 1e-11
"""Residual at which the Lanczos iteration ends, as a share of the largest eigenvalue."""
_CONSTANT = 1e-12
"""Length below which a centred filter is a rounding error, as a share of its largest weight."""


def blocks(kernels: np.ndarray, at_once: int = _AT_ONCE, extra: int = 0) -> Iterator[slice]:
    """Yield ranges of filters to process one after another, in bounded memory.

    Args:
        kernels: Array whose first axis is the filters.
        at_once: Numbers in memory for a range, at most, but at least one filter.
        extra: Numbers in memory for each filter, in addition to its weights.

    Yields:
        Slices that cover all filters; one empty slice if there are none.
    """
    each = math.prod(kernels.shape[1:]) + extra
    step = max(1, at_once // max(1, each))
    for start in range(0, max(1, len(kernels)), step):
        yield slice(start, start + step)


def by_blocks(
    measure: Callable[..., tuple[np.ndarray, ...]],
    *layers: np.ndarray,
    at_once: int = _AT_ONCE,
    extra: int = 0,
) -> list[np.ndarray]:
    """Measure filters block by block, and concatenate the results.

    Args:
        measure: Takes a block of each layer's filters; returns arrays with one value per filter.
        layers: One or more arrays with the same filters along the first axis.
        at_once: See ``blocks``.
        extra: See ``blocks``.

    Returns:
        The measure's arrays, with the values of all filters.
    """
    found = [
        measure(*(layer[part] for layer in layers)) for part in blocks(layers[0], at_once, extra)
    ]
    if len(found) == 1:
        return list(found[0])
    return [np.concatenate(parts) for parts in zip(*found, strict=True)]


def flat(kernels: np.ndarray) -> np.ndarray:
    """Return each filter as a row of ``float64``: ``(filters, weights)``."""
    return kernels.reshape(len(kernels), math.prod(kernels.shape[1:])).astype(np.float64)


def largest(kernels: np.ndarray) -> float:
    """Return the largest absolute weight; 0 if there are no weights, NaN if one is NaN."""
    if not kernels.size:
        return 0.0
    return max(float(kernels.max()), -float(kernels.min()))


def lengths(rows: np.ndarray) -> np.ndarray:
    """Return the Euclidean length of each row, without over- or underflow of squares."""
    with np.errstate(over="ignore", invalid="ignore"):
        square = np.einsum("fp,fp->f", rows, rows)
        length: np.ndarray = np.sqrt(square)
    if ((square > TINY_SQUARE) & (square < 1 / TINY_SQUARE)).all():
        return length
    # Scaled by the largest weight: squares of 1e200 would overflow, those of 1e-200 underflow.
    size = np.abs(rows).max(axis=1, initial=0.0)
    safe = np.where(np.isfinite(size) & (size > 0), size, 1.0)
    with np.errstate(over="ignore"):  # rows with an infinity are not scaled
        length = np.sqrt(np.square(rows / safe[:, np.newaxis]).sum(axis=1))
        length *= safe
    return length


def finite_mean(values: np.ndarray) -> float:
    """Return the mean of the finite values; NaN if there are none.

    Example:
        >>> finite_mean(np.array([1.0, np.nan, 3.0]))
        2.0
    """
    finite = values[np.isfinite(values)]
    with np.errstate(over="ignore"):
        return float(finite.mean()) if len(finite) else float("nan")


def unit(rows: np.ndarray) -> np.ndarray:
    """Scale each row to length 1; NaN for rows that are all zero or not finite."""
    length = lengths(rows)
    usable = np.isfinite(length) & (length > 0)
    if (usable & (length >= _FULL_PRECISION)).all():
        return np.asarray(rows / length[:, np.newaxis])
    small = usable & (length < _FULL_PRECISION)
    if small.any():
        size = np.where(small, np.abs(rows).max(axis=1, initial=0.0), 1.0)
        rows = rows / size[:, np.newaxis]
        length = lengths(rows)
    scale = np.where(usable, length, 1.0)[:, np.newaxis]
    return np.where(usable[:, np.newaxis], rows / scale, np.nan)


class Centred(NamedTuple):
    """Filters without their channels' means, scaled to length 1.

    Attributes:
        pixels: ``(filters, pixels, channels)``; zeros for a filter without a pattern.
        known: ``(filters,)``: whether the filter has a pattern: it is finite, has more than one
            pixel, and is not constant.
    """

    pixels: np.ndarray
    known: np.ndarray


def centred(kernels: np.ndarray) -> Centred:
    """Subtract each channel's mean from each filter, and scale the filter to length 1."""
    filters, height, width, channels = kernels.shape
    rows = kernels.reshape(filters, height * width * channels)
    # NaN if a weight is NaN, in the weights' own precision: no copy of them is made for it.
    highest, lowest = rows.max(axis=1, initial=0), rows.min(axis=1, initial=0)
    size = np.maximum(highest.astype(np.float64), -lowest.astype(np.float64))
    values = kernels.reshape(filters, height * width, channels).astype(np.float64)
    finite = np.isfinite(size)
    if not finite.all():
        values[~finite] = size[~finite] = 0.0
    if ((size > 0) & ((size < 1 / ORDINARY) | (size > ORDINARY))).any():
        # Scaled before the means: the sum of weights of 1e308 would overflow.
        values /= np.where(size > 0, size, 1.0)[:, np.newaxis, np.newaxis]
        size = np.where(size > 0, 1.0, 0.0)
    values -= values.mean(axis=1, keepdims=True) if height * width else 0.0
    length = np.sqrt(np.einsum("fpc,fpc->f", values, values))
    known = length > _CONSTANT * math.sqrt(max(1, height * width * channels)) * size
    values /= np.where(known, length, np.inf)[:, np.newaxis, np.newaxis]
    return Centred(values, known)


def compact(kernels: np.ndarray) -> np.ndarray:
    """Return filters of few channels that have the same spatial structure.

    Roughness, power spectrum and strongest pattern depend on the products of each two pixels,
    summed over the channels, W Wᵀ. A filter with more channels than pixels is replaced by a root of
    that matrix, so that each of these measures handles far fewer weights.

    Args:
        kernels: Array of shape ``(filters, height, width, channels)``.

    Returns:
        Centred filters of length 1 with at most as many channels as pixels, zeros for one without a
        pattern, NaN for one that is not finite; the argument itself if it has no more channels than
        pixels, or so many pixels that the roots would take longer.
    """
    _, height, width, channels = kernels.shape
    pixels = height * width
    if channels <= pixels or not 0 < pixels <= _LARGEST_COMPACT:
        return kernels
    return by_blocks(_compact, kernels)[0]


def _compact(kernels: np.ndarray) -> tuple[np.ndarray]:
    """Return some filters as ``compact`` does."""
    filters, height, width, _ = kernels.shape
    if height * width > 1:
        roots = fewer_channels(centred(kernels).pixels)
    else:
        roots = np.zeros((filters, 1, 1))  # one pixel has no pattern
    roots[~np.isfinite(kernels).all(axis=(1, 2, 3))] = np.nan
    return (roots.reshape(filters, height, width, height * width),)


def fewer_channels(pixels: np.ndarray) -> np.ndarray:
    """Return filters with at most as many channels as pixels, and the same products W Wᵀ.

    Args:
        pixels: Array of shape ``(filters, pixels, channels)``.

    Returns:
        Square roots of W Wᵀ, of shape ``(filters, pixels, pixels)``; the argument itself if it has
        no more channels than pixels, or so many pixels that the roots would take longer.
    """
    _, size, channels = pixels.shape
    if channels <= size or size > _LARGEST_GRAM:
        return pixels
    strengths, patterns = np.linalg.eigh(pixels @ pixels.transpose(0, 2, 1))
    roots: np.ndarray = patterns * np.sqrt(strengths.clip(min=0.0))[:, np.newaxis]
    return roots


def leading_pattern(filters: np.ndarray) -> np.ndarray:
    r"""Collapse the channels of each filter to its strongest spatial pattern.

    A filter is a matrix W of pixels by channels. Its best rank-1 approximation
    :math:`\sigma_1 u v^T` is one pattern u in one mixture v of the channels (Eckart and Young
    1936). Computed from the smaller of the two Gram matrices, W Wᵀ and Wᵀ W; by Lanczos iteration
    if both are large.

    Args:
        filters: Array of shape ``(filters, pixels, channels)``; squares of its values must neither
            overflow nor underflow.

    Returns:
        Array of shape ``(filters, pixels)``: :math:`\sigma_1 u`, of either sign.
    """
    _, pixels, channels = filters.shape
    if min(pixels, channels) > _LARGEST_GRAM:
        return np.stack([_leading_pattern_of_large(each) for each in filters])
    if channels < pixels:
        _, mixtures = np.linalg.eigh(filters.transpose(0, 2, 1) @ filters)
        mixed: np.ndarray = (filters @ mixtures[:, :, -1:]).sum(axis=2)
        return mixed
    strengths, patterns = np.linalg.eigh(filters @ filters.transpose(0, 2, 1))
    scaled: np.ndarray = patterns[:, :, -1] * np.sqrt(strengths[:, -1:].clip(min=0.0))
    return scaled


def _leading_pattern_of_large(matrix: np.ndarray) -> np.ndarray:
    """Compute ``leading_pattern`` of one large matrix by Lanczos iteration on Wᵀ W.

    With full reorthogonalisation. It ends when the residual is a rounding error or, if the two
    largest singular values are so close that either vector will do, after a fixed number of steps.
    Each step reads the matrix twice; no array as large as the matrix is made.
    """
    start = np.asarray(np.random.default_rng(0).normal(size=matrix.shape[1:]))
    basis = np.empty((_MOST_STEPS, len(start)))
    diagonal, off_diagonal = np.zeros(_MOST_STEPS), np.zeros(_MOST_STEPS)
    direction = start / np.linalg.norm(start)
    for step in range(_MOST_STEPS):
        basis[step] = direction
        product = matrix.T @ (matrix @ direction)
        diagonal[step] = product @ direction
        for _ in range(2):  # a single orthogonalisation leaves too large rounding errors
            product -= basis[: step + 1].T @ (basis[: step + 1] @ product)
        off_diagonal[step] = np.linalg.norm(product)
        tridiagonal = np.diag(diagonal[: step + 1]) + np.diag(off_diagonal[:step], 1)
        strengths, mixtures = np.linalg.eigh(tridiagonal, UPLO="U")
        residual = off_diagonal[step] * abs(mixtures[-1, -1])
        if residual <= _RESIDUAL * strengths[-1]:
            break
        direction = product / off_diagonal[step]
    pattern: np.ndarray = matrix @ (basis[: step + 1].T @ mixtures[:, -1])
    return pattern
