"""Shares of colour and of a flat tone in filters, and filters that are nearly zero."""

import numpy as np

from filtertrack.measures.vectors import by_blocks, flat

_NEARLY_ZERO = 0.01
"""Share of the layer's largest weight below which all weights of a nearly zero filter lie."""
_COLOUR_CHANNELS = 3


def colour_share(kernels: np.ndarray) -> np.ndarray:
    r"""Return the share of colour, as opposed to luminance, in each filter.

    A pixel's three weights are split into their mean, which responds to brightness, and the rest,
    which responds to differences between red, green and blue: :math:`1 - \frac{1}{3} \sum_p (\sum_c
    w_{pc})^2 / \sum_{p,c} w_{pc}^2`.

    Args:
        kernels: Array of shape ``(filters, height, width, channels)``.

    Returns:
        Array of shape ``(filters,)`` in [0, 1]: 0 for a grey filter, 1 for pure colour contrast,
        2/3 on average for noise. NaN unless a filter has three channels and is not all zero.

    Example:
        >>> grey, red_green = np.ones((1, 2, 2, 3)), np.ones((1, 2, 2, 3)) * [1, -1, 0]
        >>> colour_share(np.concatenate([grey, red_green])).tolist()
        [0.0, 1.0]
    """
    if kernels.shape[3] != _COLOUR_CHANNELS:
        return np.full(len(kernels), np.nan)
    return by_blocks(_colour, kernels)[0]


def flat_share(kernels: np.ndarray) -> np.ndarray:
    r"""Return the share of a flat tone, the channels' means, in each filter.

    :math:`n \sum_c \bar w_c^2 / \sum_{p,c} w_{pc}^2` with n pixels. The rest is the spatial
    pattern, which the other measures of patterns look at.

    Args:
        kernels: Array of shape ``(filters, height, width, channels)``.

    Returns:
        Array of shape ``(filters,)`` in [0, 1]: 1 for a filter of a single colour, 1 / n on average
        for noise. NaN if a filter is all zero, or a single pixel.

    Example:
        >>> flat_share(np.array([[[[1.0], [1.0]]], [[[1.0], [-1.0]]]])).tolist()
        [1.0, 0.0]
    """
    if kernels.shape[1] * kernels.shape[2] < 2:
        return np.full(len(kernels), np.nan)
    return by_blocks(_flat, kernels)[0]


def near_zero(kernels: np.ndarray) -> np.ndarray:
    """Return which filters are nearly zero: all weights below 1 % of the layer's largest.

    The threshold of ``sparsity``, here for whole filters. A filter near zero need not be a dead
    unit: whether a ReLU ever fires depends on its bias and its input, too.

    Args:
        kernels: Array of shape ``(filters, height, width, channels)``.

    Returns:
        Boolean array of shape ``(filters,)``; all true in a layer of zeros. Filters that are not
        finite are false, and do not count for the layer's largest weight.

    Example:
        >>> near_zero(np.array([[[[1.0]]], [[[0.001]]]])).tolist()
        [False, True]
    """
    (largest,) = by_blocks(lambda part: (np.abs(flat(part)).max(axis=1, initial=0.0),), kernels)
    finite = np.isfinite(largest)
    highest = largest[finite].max(initial=0.0)
    small = largest < _NEARLY_ZERO * highest if highest else largest == 0
    return np.asarray(small & finite)


def _colour(kernels: np.ndarray) -> tuple[np.ndarray]:
    values = _scaled(kernels)
    luminance = np.square(values.sum(axis=3)).sum(axis=(1, 2)) / _COLOUR_CHANNELS
    return (1.0 - _share(luminance, values),)


def _flat(kernels: np.ndarray) -> tuple[np.ndarray]:
    values = _scaled(kernels)
    pixels = kernels.shape[1] * kernels.shape[2]
    means = np.square(values.sum(axis=(1, 2))).sum(axis=1) / pixels
    return (_share(means, values),)


def _share(part: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return a part of each filter's sum of squares as a share of all of it."""
    whole = np.square(values).sum(axis=(1, 2, 3))
    share: np.ndarray = part / np.where(whole > 0, whole, np.nan)
    return share.clip(0.0, 1.0)


def _scaled(kernels: np.ndarray) -> np.ndarray:
    """Scale filters to a largest weight of 1, so that squares neither over- nor underflow.

    A filter that is all zero or not finite becomes NaN throughout.
    """
    values = kernels.astype(np.float64)
    largest = np.abs(values).max(axis=(1, 2, 3), initial=0.0)
    usable = np.isfinite(largest) & (largest > 0)
    values[~usable] = np.nan
    scaled: np.ndarray = values / np.where(usable, largest, 1.0)[:, None, None, None]
    return scaled
