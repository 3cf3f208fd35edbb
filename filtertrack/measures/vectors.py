"""Filters as vectors: flat, of length 1, or without their channels' means."""

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

_TINY = 1e-200
"""Sums of squares between this and its inverse have neither over- nor underflown."""
_NORMAL = float(np.finfo(np.float64).tiny / np.finfo(np.float64).eps)
"""From here on a number has all its digits."""
_AT_ONCE = 1 << 18
"""Weights that are worked on at once: their copies and products stay in the cache."""
_LARGEST_GRAM = 1024
"""Rows of a Gram matrix whose eigenvectors are computed: they take the cube of it."""
_MOST_STEPS, _ROUNDING = 256, 1e-11
"""Steps of an iteration, and the share of the largest eigenvalue that its residual may have."""


def blocks(kernels: np.ndarray, at_once: int = _AT_ONCE, beside: int = 0) -> Iterator[slice]:
    """Yield ranges of filters that are worked on one after another, for bounded memory.

    Args:
        kernels: Array whose first axis is the filters.
        at_once: Numbers in a range, at most; at least one filter.
        beside: Numbers that a filter takes beside its weights.

    Yields:
        Slices that cover all filters; one that is empty where there are none.
    """
    each = math.prod(kernels.shape[1:]) + beside
    step = max(1, at_once // max(1, each))
    for start in range(0, max(1, len(kernels)), step):
        yield slice(start, start + step)


def by_blocks(
    measure: Callable[..., tuple[np.ndarray, ...]],
    *layers: np.ndarray,
    at_once: int = _AT_ONCE,
    beside: int = 0,
) -> list[np.ndarray]:
    """Measure filters block by block, and put what is returned together.

    Args:
        measure: Takes a block of each layer's filters; returns arrays with a value a filter.
        layers: One or more arrays with the same filters along the first axis.
        at_once: See ``blocks``.
        beside: See ``blocks``.

    Returns:
        Each of the arrays, of all filters.
    """
    found = [
        measure(*(layer[part] for layer in layers)) for part in blocks(layers[0], at_once, beside)
    ]
    if len(found) == 1:
        return list(found[0])
    return [np.concatenate(parts) for parts in zip(*found, strict=True)]


def flat(kernels: np.ndarray) -> np.ndarray:
    """Return each filter as a row of ``float64``: ``(filters, weights)``."""
    return kernels.reshape(len(kernels), math.prod(kernels.shape[1:])).astype(np.float64)


def largest(kernels: np.ndarray) -> float:
    """Return the largest absolute weight: 0 where there is none, NaN where one is."""
    if not kernels.size:
        return 0.0
    return max(float(kernels.max()), -float(kernels.min()))


def lengths(rows: np.ndarray) -> np.ndarray:
    """Return the Euclidean length of each row; huge and tiny values neither over- nor underflow."""
    with np.errstate(over="ignore", invalid="ignore"):
        square = np.einsum("fp,fp->f", rows, rows)
        length: np.ndarray = np.sqrt(square)
    if ((square > _TINY) & (square < 1 / _TINY)).all():
        return length
    # Scaled by the largest weight: squares of 1e200 would overflow, of 1e-200 vanish.
    size = np.abs(rows).max(axis=1, initial=0.0)
    safe = np.where(np.isfinite(size) & (size > 0), size, 1.0)
    with np.errstate(over="ignore"):  # beside an infinity nothing is scaled
        length = np.sqrt(np.square(rows / safe[:, np.newaxis]).sum(axis=1))
        length *= safe
    return length


def finite_mean(values: np.ndarray) -> float:
    """Return the mean of what is finite; NaN where nothing is.

    Example:
        >>> finite_mean(np.array([1.0, np.nan, 3.0]))
        2.0
    """
    finite = values[np.isfinite(values)]
    with np.errstate(over="ignore"):
        return float(finite.mean()) if len(finite) else float("nan")


def unit(rows: np.ndarray) -> np.ndarray:
    """Return each row at length 1, or as NaN where it has no direction."""
    length = lengths(rows)
    usable = np.isfinite(length) & (length > 0)
    small = usable & (length < _NORMAL)
    if small.any():  # so small that a length itself has few digits
        size = np.where(small, np.abs(rows).max(axis=1, initial=0.0), 1.0)
        rows = rows / size[:, np.newaxis]
        length = lengths(rows)
    scale = np.where(usable, length, 1.0)[:, np.newaxis]
    return np.where(usable[:, np.newaxis], rows / scale, np.nan)


class Centred(NamedTuple):
    """Filters about their channels' means.

    Attributes:
        pixels: ``(filters, pixels, channels)``: each filter without each channel's mean, at length
            1 in all; zeros where it is not known.
        known: ``(filters,)``: whether there is anything to see. A constant filter, one of a single
            pixel and one that holds a value that is not finite are not known.
    """

    pixels: np.ndarray
    known: np.ndarray


def centred(kernels: np.ndarray) -> Centred:
    """Take each channel's mean off each filter, and bring what is left to length 1."""
    filters, height, width, channels = kernels.shape
    values = kernels.reshape(filters, height * width, channels).astype(np.float64)
    finite = np.isfinite(values).all(axis=(1, 2))
    values[~finite] = 0.0
    largest = np.abs(values).max(axis=(1, 2), initial=0.0)
    # Before means are taken: the sum of weights of 1e308 would overflow.
    values /= np.where(largest > 0, largest, 1.0)[:, np.newaxis, np.newaxis]
    values -= values.mean(axis=1, keepdims=True) if height * width else 0.0
    length = np.sqrt(np.square(values).sum(axis=(1, 2)))
    # What rounding left of a constant filter is no pattern.
    known = length > 1e-12 * math.sqrt(max(1, height * width * channels))
    values /= np.where(known, length, np.inf)[:, np.newaxis, np.newaxis]
    return Centred(values, known)


def fewer_channels(pixels: np.ndarray) -> np.ndarray:
    """Return filters with at most as many channels as pixels, all products of pixels the same.

    Args:
        pixels: Array of shape ``(filters, pixels, channels)``.

    Returns:
        The roots of W Wᵀ: ``(filters, pixels, pixels)``; itself where there are no more channels
        than pixels, or so many pixels that the roots take longer than the channels.
    """
    _, size, channels = pixels.shape
    if channels <= size or size > _LARGEST_GRAM:
        return pixels
    strengths, patterns = np.linalg.eigh(pixels @ pixels.transpose(0, 2, 1))
    roots: np.ndarray = patterns * np.sqrt(strengths.clip(min=0.0))[:, np.newaxis]
    return roots


def leading(filters: np.ndarray) -> np.ndarray:
    r"""Return each filter's first left singular vector times its first singular value.

    From the smaller of the two Gram matrices, W Wᵀ and Wᵀ W; without it where both are large.

    Args:
        filters: Array of shape ``(filters, pixels, channels)``, of no more than moderate size:
            squares must neither overflow nor vanish.

    Returns:
        Array of shape ``(filters, pixels)``: :math:`\sigma_1 u`, of either sign.
    """
    _, pixels, channels = filters.shape
    if min(pixels, channels) > _LARGEST_GRAM:
        return np.stack([_leading_of_large(each) for each in filters])
    if channels < pixels:
        _, mixtures = np.linalg.eigh(filters.transpose(0, 2, 1) @ filters)
        mixed: np.ndarray = (filters @ mixtures[:, :, -1:]).sum(axis=2)
        return mixed
    strengths, patterns = np.linalg.eigh(filters @ filters.transpose(0, 2, 1))
    scaled: np.ndarray = patterns[:, :, -1] * np.sqrt(strengths[:, -1:].clip(min=0.0))
    return scaled


def _leading_of_large(matrix: np.ndarray) -> np.ndarray:
    """Return what ``leading`` does for one large matrix, by Lanczos iteration on Wᵀ W.

    With full reorthogonalisation; it ends when the residual is rounding, or where two singular
    values are so close that either vector is as good, after a fixed number of steps. A step reads
    the matrix twice; nothing as large as the matrix is made.
    """
    start = np.asarray(np.random.default_rng(0).normal(size=matrix.shape[1:]))
    basis = np.empty((_MOST_STEPS, len(start)))
    diagonal, beside = np.zeros(_MOST_STEPS), np.zeros(_MOST_STEPS)
    direction = start / np.linalg.norm(start)
    for step in range(_MOST_STEPS):
        basis[step] = direction
        after = matrix.T @ (matrix @ direction)
        diagonal[step] = after @ direction
        for _ in range(2):  # once leaves too much of what rounding adds
            after -= basis[: step + 1].T @ (basis[: step + 1] @ after)
        beside[step] = np.linalg.norm(after)
        small = np.diag(diagonal[: step + 1]) + np.diag(beside[:step], 1)
        strengths, mixtures = np.linalg.eigh(small, UPLO="U")
        residual = beside[step] * abs(mixtures[-1, -1])
        if residual <= _ROUNDING * strengths[-1]:
            break
        direction = after / beside[step]
    found: np.ndarray = matrix @ (basis[: step + 1].T @ mixtures[:, -1])
    return found


class LeadingPattern(NamedTuple):
    """The strongest spatial pattern of filters.

    Attributes:
        pixels: ``(filters, pixels)``: without its mean, at length 1; zeros where none is known.
        share: ``(filters,)``: of the filter's variance, in [0, 1].
    """

    pixels: np.ndarray
    share: np.ndarray


def leading_pattern(filters: Centred) -> LeadingPattern:
    r"""Collapse the channels of centred filters to one spatial pattern each.

    A filter is a matrix W of pixels by channels; its best rank-1 approximation
    :math:`\sigma_1 u v^T` is one pattern u in one mixture v of the channels (Eckart and Young
    1936). Its share is :math:`\sigma_1^2 / \sum \sigma_i^2`. Shuffling pixels shuffles u alike.
    """
    pixels = filters.pixels
    count, size, channels = pixels.shape
    if channels == 1 or not count:
        return LeadingPattern(
            pixels[:, :, :1].reshape(count, size), filters.known.astype(np.float64)
        )
    pattern = leading(pixels)
    length = np.linalg.norm(pattern, axis=1)
    usable = filters.known & (length > 0)
    share = np.where(filters.known, np.square(length).clip(0.0, 1.0), 0.0)
    pattern = np.where(usable[:, np.newaxis], pattern, 0.0)
    return LeadingPattern(pattern / np.where(usable, length, 1.0)[:, np.newaxis], share)
