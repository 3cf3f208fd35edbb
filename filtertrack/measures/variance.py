"""How varied the patterns of a layer are, and how varied those of a random layer would be."""

import math
from functools import lru_cache

import numpy as np

from filtertrack.measures.redundancy import can_be_decomposed, entropy, variances
from filtertrack.measures.vectors import blocks, largest

_LAYERS = 100
"""Random layers whose least varied one is the threshold."""
_LARGEST = 1024
"""Rows of the Gram matrices of these layers, at most: it takes half a minute then."""
_AT_ONCE = 1 << 21
"""Weights in memory at once."""

_PUBLISHED_SIZE = 9
_PUBLISHED = (1.2618047, 2.30436435, 0.88767525, -0.31050834)


def variance_entropy(kernels: np.ndarray) -> float:
    r"""Return how evenly the variance of a layer's 2-D slices is spread over patterns.

    :math:`-\sum v_i \log_{10} v_i` with :math:`v_i = \sigma_i^2 / \sum \sigma^2`, the singular
    values of the slices as rows, their mean taken off (Gavrikov and Keuper, "CNN Filter DB", CVPR
    2022). Low: the slices repeat a few patterns. As high as ``entropy_threshold`` or higher: they
    are as varied as noise.

    Args:
        kernels: Array of shape ``(filters, height, width, channels)``.

    Returns:
        A number from 0 to the logarithm of the number of pixels (0.954 for 3x3); NaN where there
        is no variance, a single pixel, or a layer that is too large.

    Example:
        >>> noise = np.random.default_rng(0).normal(size=(64, 3, 3, 32))
        >>> round(variance_entropy(noise), 2)
        0.95
    """
    filters, height, width, channels = kernels.shape
    slices, pixels = filters * channels, height * width
    size = largest(kernels)
    if not 0 < size < math.inf or pixels < 2 or not can_be_decomposed(slices, pixels):
        return math.nan
    values = variances((_by_slices if slices <= pixels else _by_pixels)(kernels, size))
    # What rounding left of no variance at all is none.
    return _decades(values) if values.sum() > 1e-24 * slices * pixels else math.nan


def _by_slices(kernels: np.ndarray, size: float) -> np.ndarray:
    """Return the products of each two slices about their mean: of few slices."""
    filters, height, width, channels = kernels.shape
    rows = kernels.transpose(0, 3, 1, 2).reshape(filters * channels, height * width)
    gram = np.zeros((len(rows), len(rows)))
    for part in blocks(rows.T, _AT_ONCE):
        some = rows[:, part].astype(np.float64) / size
        some -= some.mean(axis=0)
        gram += some @ some.T
    return gram


def _by_pixels(kernels: np.ndarray, size: float) -> np.ndarray:
    """Return the products of each two pixels of all slices about their mean: of many slices."""
    filters, height, width, channels = kernels.shape
    total, gram = np.zeros(height * width), np.zeros((height * width, height * width))
    for part in blocks(kernels, _AT_ONCE):
        total += (kernels[part].astype(np.float64) / size).sum(axis=(0, 3)).ravel()
    mean = total / (filters * channels)
    for part in blocks(kernels, _AT_ONCE):
        some = kernels[part].transpose(1, 2, 0, 3).reshape(height * width, -1)
        some = some.astype(np.float64) / size - mean[:, np.newaxis]
        gram += some @ some.T
    return gram


@lru_cache(maxsize=256)
def entropy_threshold(slices: int, height: int, width: int) -> float:
    r"""Return the variance entropy from which on a layer cannot be told from a random one.

    For 3x3 the published one: :math:`L / (1 + e^{-k (\log_2 n - x_0)}) + b` with n slices, fitted
    to the lowest entropies of random layers (Gavrikov and Keuper, CVPR 2022; constants of the
    authors' program). For other sizes the lowest of 100 random layers, simulated: the same seed,
    the same number.

    Args:
        slices: Number of 2-D slices: filters times channels.
        height: Of a slice.
        width: Of a slice.

    Returns:
        A number of the same kind as ``variance_entropy``; NaN for fewer than two slices or pixels,
        and where both are too many.

    Example:
        >>> round(entropy_threshold(1024, 3, 3), 3)
        0.95
    """
    pixels = height * width
    if slices < 2 or pixels < 2:
        return math.nan
    if (height, width) == (3, 3):
        top, middle, slope, bottom = _PUBLISHED
        return top / (1 + math.exp(-slope * (math.log2(slices) - middle))) + bottom
    if not can_have_threshold(slices, pixels):
        return math.nan
    rng = np.random.default_rng(0)
    scatters = (_scatter(rng, slices - 1, pixels) for _ in range(_LAYERS))
    return min(_decades(np.linalg.eigvalsh(each).clip(min=0.0)) for each in scatters)


def can_have_threshold(slices: int, pixels: int) -> bool:
    """Whether random layers of that size can be simulated in about half a minute."""
    small = min(slices, pixels)
    return pixels == _PUBLISHED_SIZE or (small <= _LARGEST and small * pixels <= _AT_ONCE)


def _scatter(rng: np.random.Generator, freedom: int, pixels: int) -> np.ndarray:
    """Return the scatter matrix of so many normal vectors.

    Drawn by its triangular factor (Bartlett 1934), so that a layer of a million slices costs no
    more than a small one; of fewer vectors than pixels directly.
    """
    if freedom < pixels:
        vectors = rng.normal(size=(freedom, pixels))
        return np.asarray(vectors @ vectors.T)
    factor = np.tril(rng.normal(size=(pixels, pixels)), -1)
    np.fill_diagonal(factor, np.sqrt(rng.chisquare(freedom - np.arange(pixels))))
    return np.asarray(factor @ factor.T)


def _decades(values: np.ndarray) -> float:
    """Return an entropy to the base of ten, as published."""
    return entropy(values) / math.log(10)
