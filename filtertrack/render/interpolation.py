"""Interpolates cells between their weights, for smooth pictures."""

from functools import lru_cache

import numpy as np

_CUBIC = -0.5
"""The parameter of the cubic convolution that reproduces second-degree polynomials."""


def interpolate(cells: np.ndarray, scale: int, slices: int = 1) -> np.ndarray:
    """Interpolate cells by cubic convolution (Keys 1981, the kernel of Catmull-Rom splines).

    Each weight becomes a square of ``scale`` x ``scale`` values, in whose middle is its own value.
    Beyond the edge of a cell its outermost weights go on; slices are not mixed.

    Args:
        cells: Array of shape ``(cells, height, width, channels)``.
        scale: Values along each side of a weight.
        slices: Parts of equal width side by side that each cell is divided into.

    Returns:
        ``float64`` array of shape ``(cells, height * scale, width * scale, channels)``; NaN where
        the nearest weight is not finite.

    Example:
        >>> interpolate(np.array([[[[0.0], [8.0]]]]), 4).round(1)[0, 0, :, 0].tolist()
        [-0.6, -0.4, 0.7, 2.8, 5.2, 7.3, 8.4, 8.6]
    """
    count, height, width, channels = cells.shape
    apart = cells.reshape(count, height, slices, width // slices, channels)
    finite = np.isfinite(apart)
    down, across = _matrix(height, scale), _matrix(width // slices, scale)
    values = np.where(finite, apart, 0.0).astype(np.float64)
    values = np.einsum("yh,chsxk->cysxk", down, values, optimize=True)
    values = np.einsum("xw,cyswk->cysxk", across, values, optimize=True)
    if not finite.all():
        values[~finite.repeat(scale, axis=1).repeat(scale, axis=3)] = np.nan
    interpolated: np.ndarray = values.reshape(count, height * scale, width * scale, channels)
    return interpolated


@lru_cache(maxsize=64)
def _matrix(weights: int, scale: int) -> np.ndarray:
    """Return the share of each weight in each interpolated value: ``(values, weights)``."""
    at = (np.arange(weights * scale) + 0.5) / scale - 0.5
    first = np.floor(at).astype(int)
    matrix = np.zeros((len(at), weights))
    for offset in range(-1, 3):
        taps = np.clip(first + offset, 0, weights - 1)
        np.add.at(matrix, (np.arange(len(at)), taps), _cubic(at - first - offset))
    matrix.setflags(write=False)
    return matrix


def _cubic(distance: np.ndarray) -> np.ndarray:
    """Return the cubic convolution kernel at distances in weights."""
    x = np.abs(distance)
    near = (_CUBIC + 2) * x**3 - (_CUBIC + 3) * x**2 + 1
    far = _CUBIC * (x**3 - 5 * x**2 + 8 * x - 4)
    shares: np.ndarray = np.where(x <= 1, near, np.where(x < 2, far, 0.0))
    return shares
