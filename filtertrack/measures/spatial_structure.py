"""Roughness of filters, and a permutation test for spatial structure."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache, partial

import numpy as np

from filtertrack.measures.vectors import Centred, by_blocks, centred

_SHUFFLES = 599
_LARGEST_PRODUCT = 121
"""Pixels up to which all shuffles are tested by one matrix product; its size grows with their
square."""
_FEWEST_PIXELS = 9
"""Pixels from which on most shuffles are more than a rotation or a mirror image."""

_AT_ONCE = 1 << 21
"""Numbers in memory at once, about."""
_MOST_PRODUCTS, _MOST_MOVES = 1 << 40, 1 << 31
"""Multiplications, and weights that are moved, for a whole layer: about half a minute each."""
_MOVES_PER_ORDER = 4
"""Time to draw an order, per pixel, as a number of weights that are moved."""
_RELATIVE_ROUNDING, _ROUNDING = 1e-9, 1e-12
"""Differences between the roughness of two shuffles that are rounding errors."""
_SINGLE_ROUNDING = 2e-5
"""The same, at most, in single precision."""


@dataclass(frozen=True, slots=True, eq=False)
class Structure:
    """Roughness of filters, and its significance.

    Attributes:
        ratio: ``(filters,)``: the roughness of each filter: see ``roughness``.
        p_value: ``(filters,)``: two-sided p-value of the permutation test, at least
            2 / (shuffles + 1). 1 for a filter without a pattern, and in a layer too large to be
            tested: see ``can_be_tested``.
    """

    ratio: np.ndarray
    p_value: np.ndarray


def roughness(kernels: np.ndarray) -> np.ndarray:
    r"""Return the roughness of each filter: about 1 for noise, well below 1 for edges and blobs.

    The mean squared difference between horizontal and vertical neighbours, over that between any
    two pixels: :math:`\frac{1}{|N|} \sum_{(i,j) \in N} |w_i - w_j|^2 / \frac{2}{n - 1} \sum_i |w_i
    - \bar w|^2`, summed over channels. This is Geary's contiguity ratio (Geary 1954). Its mean over
    all shuffles of a filter's pixels is exactly 1.

    Args:
        kernels: Array of shape ``(filters, height, width, channels)``.

    Returns:
        Array of shape ``(filters,)``, from 0 up; NaN for a single pixel, a constant filter, or
        values that are not finite.

    Example:
        >>> ramp = np.broadcast_to(np.linspace(-1, 1, 7)[:, None, None], (1, 7, 7, 1))
        >>> roughness(ramp).round(2).tolist()
        [0.06]
    """
    if kernels.shape[1] * kernels.shape[2] < 2:
        return np.full(len(kernels), np.nan)  # the weights of 1x1 layers need not be read for it
    return by_blocks(_roughness, kernels)[0]


def _roughness(kernels: np.ndarray) -> tuple[np.ndarray]:
    filters = centred(kernels)
    differences = _squared_differences(filters.pixels, *kernels.shape[1:3])
    return (_ratio(filters, differences, kernels.shape),)


def can_be_tested(shape: tuple[int, ...], shuffles: int = _SHUFFLES) -> bool:
    """Return whether a layer is small enough to be tested in about half a minute.

    Args:
        shape: ``(filters, height, width, channels)``.
        shuffles: Number of shuffles.
    """
    filters, height, width, channels = shape
    pixels = height * width
    if pixels <= _LARGEST_PRODUCT:
        return filters * pixels * (pixels + 1) // 2 * shuffles <= _MOST_PRODUCTS
    blocks = math.ceil(filters / max(1, _AT_ONCE // max(1, pixels * channels)))
    moves = pixels * (filters * channels + _MOVES_PER_ORDER * blocks)
    return shuffles * moves <= _MOST_MOVES


def structure(kernels: np.ndarray, *, shuffles: int = _SHUFFLES, seed: int = 0) -> Structure:
    """Test each filter for spatial structure by shuffling its pixels.

    A permutation test of ``roughness``: shuffling the pixel positions (all channels together) keeps
    the weights and destroys the pattern. The weights of untrained filters are exchangeable, so one
    of these is smoother than all its shuffles with probability 1 / (shuffles + 1) only, and rougher
    than all with the same. Edges and blobs are smooth; fine stripes and chequerboards are rough.

    Args:
        kernels: Array of shape ``(filters, height, width, channels)``.
        shuffles: Number of shuffles; the same ones for all filters.
        seed: Seed of the shuffles.

    Returns:
        The roughness and the p-value of each filter.

    Example:
        >>> noise = np.random.default_rng(0).normal(size=(200, 7, 7, 3))
        >>> edge = np.broadcast_to(np.linspace(-1, 1, 7)[:, None, None], (1, 7, 7, 3))
        >>> [found.p_value.mean().round(2).item() for found in map(structure, (edge, noise))]
        [0.0, 0.51]
    """
    if kernels.shape[1] * kernels.shape[2] < 2 or not can_be_tested(kernels.shape, shuffles):
        return Structure(roughness(kernels), np.ones(len(kernels)))
    test = partial(_permutation_test, shuffles=shuffles, seed=seed)
    return Structure(*by_blocks(test, kernels, at_once=_AT_ONCE))


def _permutation_test(
    kernels: np.ndarray, shuffles: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the roughness of some filters, and its p-value."""
    height, width = kernels.shape[1:3]
    filters = centred(kernels)
    own = _squared_differences(filters.pixels, height, width)
    count = _count_by_product if height * width <= _LARGEST_PRODUCT else _count_one_by_one
    as_smooth, as_rough = count(filters.pixels, own, (height, width), shuffles, seed)
    as_extreme = np.minimum(as_smooth, as_rough)
    p_value = np.minimum(2 * (1 + as_extreme) / (shuffles + 1), 1.0)
    return _ratio(filters, own, kernels.shape), np.where(filters.known, p_value, 1.0)


def _ratio(filters: Centred, own: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Return squared differences between neighbours over their mean over all shuffles."""
    _, height, width, _ = shape
    return np.where(filters.known, own / expected_differences(height, width), np.nan)


def expected_differences(height: int, width: int) -> float:
    """Return the mean, over all shuffles, of the summed squared differences between neighbours.

    Of a pattern with mean 0 and a sum of squares of 1.
    """
    pairs = height * (width - 1) + width * (height - 1)
    return pairs * 2 / (height * width - 1)


def _neighbours(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the numbers of both pixels of each pair of horizontal or vertical neighbours."""
    index = np.arange(height * width).reshape(height, width)
    first = np.concatenate([index[:, :-1].ravel(), index[:-1].ravel()])
    second = np.concatenate([index[:, 1:].ravel(), index[1:].ravel()])
    return first, second


def _squared_differences(pixels: np.ndarray, height: int, width: int) -> np.ndarray:
    """Return each filter's sum of squared differences between neighbours, across and down."""
    grid = pixels.reshape(len(pixels), height, width, pixels.shape[2])
    total = np.zeros(len(pixels))
    for difference in (grid[:, :, 1:] - grid[:, :, :-1], grid[:, 1:] - grid[:, :-1]):
        total += np.einsum("fyxc,fyxc->f", difference, difference)
    return total


def _count_by_product(
    pixels: np.ndarray, own: np.ndarray, shape: tuple[int, int], shuffles: int, seed: int
) -> np.ndarray:
    """Count each filter's shuffles that are at least as smooth, and at least as rough.

    The roughness of every shuffle is linear in the products of each two pixels, summed over the
    channels: one matrix product gives it for all shuffles. In single precision; the few filters
    with a shuffle that is too close to tell are tested in double precision.
    """
    rows, columns, laplacians = _laplacians(*shape, shuffles, seed)
    single = _single_laplacians(*shape, shuffles, seed)
    counts = np.empty((2, len(pixels)), np.int64)
    step = max(1, _AT_ONCE // (pixels.shape[1] ** 2 + shuffles))
    for start in range(0, len(pixels), step):
        part = slice(start, start + step)
        block = pixels[part]
        products = block @ block.transpose(0, 2, 1)
        pairs = products[:, rows, columns]
        null = (pairs.astype(np.float32) @ single).astype(np.float64)
        close = (np.abs(null - own[part, np.newaxis]) <= _SINGLE_ROUNDING).any(axis=1)
        null[close] = pairs[close] @ laplacians
        counts[:, part] = _as_extreme(null, own[part, np.newaxis]).sum(axis=2)
    return counts


@lru_cache(maxsize=4)
def _laplacians(
    height: int, width: int, shuffles: int, seed: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return pixels i and j, for i <= j, and the weights of their products for each shuffle.

    Roughness is a quadratic form of the pixels; its matrix is the Laplacian of the neighbourhood.
    """
    size = height * width
    first, second = _neighbours(height, width)
    laplacian = np.zeros((size, size))
    laplacian[first, second] = laplacian[second, first] = -1.0
    np.fill_diagonal(laplacian, -laplacian.sum(axis=1))
    rows, columns = np.triu_indices(size)
    multiplicity = np.where(rows == columns, 1.0, 2.0)  # (i, j) stands for (j, i) as well
    position = np.argsort(list(_orders(height, width, shuffles, seed)), axis=1)
    shuffled = laplacian[position[:, rows], position[:, columns]]
    return rows, columns, (shuffled * multiplicity).T.copy()


@lru_cache(maxsize=4)
def _single_laplacians(height: int, width: int, shuffles: int, seed: int) -> np.ndarray:
    """Return the weights of ``_laplacians`` in single precision."""
    return _laplacians(height, width, shuffles, seed)[2].astype(np.float32)


def _count_one_by_one(
    pixels: np.ndarray, own: np.ndarray, shape: tuple[int, int], shuffles: int, seed: int
) -> np.ndarray:
    """Count as ``_count_by_product`` does, one shuffle after another, for large kernels."""
    counts = np.zeros((2, len(pixels)), np.int64)
    # The filters are the last axis, so that moving a pixel copies contiguous memory.
    rows = np.ascontiguousarray(pixels.transpose(1, 2, 0))
    for order in _orders(*shape, shuffles, seed):
        grid = rows[order].reshape(*shape, *rows.shape[1:])
        null = np.square(np.diff(grid, axis=0)).sum(axis=(0, 1, 2))
        null += np.square(np.diff(grid, axis=1)).sum(axis=(0, 1, 2))
        counts += _as_extreme(null, own)
    return counts


def _as_extreme(null: np.ndarray, own: np.ndarray) -> np.ndarray:
    """Return which shuffles are at least as smooth, and which at least as rough."""
    margin = own * _RELATIVE_ROUNDING + _ROUNDING
    return np.stack([null <= own + margin, null >= own - margin])


def _orders(height: int, width: int, shuffles: int, seed: int) -> Iterator[np.ndarray]:
    """Yield random orders of pixels.

    An order that only rotates or mirrors the filter has the same roughness and is left out. Filters
    of fewer than nine pixels have hardly any others, and cannot be significant anyway; among many
    pixels such an order does not occur.
    """
    size = height * width
    rng = np.random.default_rng(seed)
    checked = _FEWEST_PIXELS <= size <= _LARGEST_PRODUCT
    first, second = _neighbours(height, width) if checked else (np.arange(0), np.arange(0))
    neighbours = np.sort(first * size + second)
    while shuffles:
        order = rng.permutation(size)
        if checked:
            low, high = np.sort([order[first], order[second]], axis=0)
            if (np.sort(low * size + high) == neighbours).all():
                continue
        yield order
        shuffles -= 1
