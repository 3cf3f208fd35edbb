"""Variance entropy of a layer's slices, and its threshold for random layers."""

import math
from functools import lru_cache

import numpy as np

from filtertrack.measures.redundancy import can_be_decomposed, entropy, variances
from filtertrack.measures.vectors import blocks, largest

_LAYERS = 100
"""Random layers that are simulated for a threshold: it is their lowest entropy."""
_LARGEST_GRAM = 1024
"""Rows of the Gram matrices of these layers, at most: 100 of them take half a minute."""
_AT_ONCE = 1 << 21
"""Weights of random layers in memory at once."""

_PUBLISHED_PIXELS = 9
_PUBLISHED = (1.2618047, 2.30436435, 0.88767525, -0.31050834)
"""L, x0, k and b of the published threshold for 3x3."""
_NO_VARIANCE = 1e-24
"""Variance of a weight that is a rounding error, for a largest weight of 1."""


def variance_entropy(kernels: np.ndarray) -> float:
    r"""Return the entropy of the principal components' variances of a layer's 2-D slices.

    :math:`-\sum v_i \log_{10} v_i` with :math:`v_i = \sigma_i^2 / \sum \sigma^2`, the singular
    values of the slices as rows, without their mean (Gavrikov and Keuper, "CNN Filter DB", CVPR
    2022). Low: the slices repeat a few patterns. ``entropy_threshold`` or higher: the slices vary
    like noise.

    Args:
        kernels: Array of shape ``(filters, height, width, channels)``.

    Returns:
        A number from 0 to the logarithm of the number of pixels (0.954 for 3x3); NaN for a layer
        without variance, of a single pixel, or too large.

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
    gram = (_gram_of_slices if slices <= pixels else _gram_of_pixels)(kernels, size)
    values = variances(gram)
    return _entropy10(values) if values.sum() > _NO_VARIANCE * slices * pixels else math.nan


def _gram_of_slices(kernels: np.ndarray, size: float) -> np.ndarray:
    """Return the products of each two centred slices, for layers with fewer slices than pixels."""
    filters, height, width, channels = kernels.shape
    rows = kernels.transpose(0, 3, 1, 2).reshape(filters * channels, height * width)
    gram = np.zeros((len(rows), len(rows)))
    for part in blocks(rows.T):
        some = rows[:, part].astype(np.float64) / size
        some -= some.mean(axis=0)
        gram += some @ some.T
    return gram


def _gram_of_pixels(kernels: np.ndarray, size: float) -> np.ndarray:
    """Return the products of each two pixels of all centred slices."""
    filters, height, width, channels = kernels.shape
    total, gram = np.zeros(height * width), np.zeros((height * width, height * width))
    for part in blocks(kernels):
        total += (kernels[part].astype(np.float64) / size).sum(axis=(0, 3)).ravel()
    mean = total / (filters * channels)
    for part in blocks(kernels):
        some = kernels[part].transpose(1, 2, 0, 3).reshape(height * width, -1)
        some = some.astype(np.float64)
        some /= size
        some -= mean[:, np.newaxis]
        gram += some @ some.T
    return gram


@lru_cache(maxsize=256)
def entropy_threshold(slices: int, height: int, width: int) -> float:
    r"""Return the variance entropy from which on a layer cannot be told from a random one.

    For 3x3 the published threshold, :math:`L / (1 + e^{-k (\log_2 n - x_0)}) + b` with n slices,
    fitted to the lowest entropies of random layers (Gavrikov and Keuper, CVPR 2022; constants of
    the authors' program). For other sizes the lowest entropy of 100 random layers, simulated with a
    fixed seed.

    Args:
        slices: Number of 2-D slices: filters times channels.
        height: Height of a slice, in pixels.
        width: Width of a slice, in pixels.

    Returns:
        An entropy in the unit of ``variance_entropy``; NaN for fewer than two slices or pixels, and
        for slices too many and too large.

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
    return min(_entropy10(variances(scatter)) for scatter in scatters)


def can_have_threshold(slices: int, pixels: int) -> bool:
    """Return whether random layers of that size can be simulated in about half a minute."""
    small = min(slices, pixels)
    return pixels == _PUBLISHED_PIXELS or (small <= _LARGEST_GRAM and small * pixels <= _AT_ONCE)


def _scatter(rng: np.random.Generator, freedom: int, pixels: int) -> np.ndarray:
    """Draw a scatter matrix from the Wishart distribution with so many degrees of freedom.

    Drawn as its triangular factor (Bartlett 1934), so that a layer of a million slices takes no
    longer than a small one; for fewer degrees of freedom than pixels, directly.
    """
    if freedom < pixels:
        vectors = rng.normal(size=(freedom, pixels))
        return np.asarray(vectors @ vectors.T)
    factor = np.tril(rng.normal(size=(pixels, pixels)), -1)
    np.fill_diagonal(factor, np.sqrt(rng.chisquare(freedom - np.arange(pixels))))
    return np.asarray(factor @ factor.T)


def _entropy10(values: np.ndarray) -> float:
    """Return an entropy to the base of ten, as published."""
    return entropy(values) / math.log(10)
