"""Whether filters have spatial structure, or are noise."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache, partial

import numpy as np

from filtertrack.measures.vectors import Centred, by_blocks, centred

_LARGEST_PRODUCT = 121
"""Pixels up to which all shuffles are one matrix product; its size grows with their square."""

_FEWEST = 9
"""Pixels from which on there are shuffles enough that are more than a turn or a mirror."""

_AT_ONCE = 1 << 21
"""Numbers in memory at once, about."""

_MOST_PRODUCTS, _MOST_MOVES = 1 << 40, 1 << 31
"""Multiplications, and weights that are moved, for a whole layer: about half a minute's."""
_SHUFFLES = 599


@dataclass(frozen=True, slots=True, eq=False)
class Structure:
    """Whether filters have spatial structure, compared with their own weights shuffled.

    Attributes:
        ratio: ``(filters,)``: a filter's roughness: see ``roughness``.
        p_value: ``(filters,)``: how likely a shuffle is as far from the other shuffles, on either
            side: as smooth, or as rough; at best 2 / (shuffles + 1). 1 where nothing can be said,
            and in a layer too large to be tested: see ``can_be_tested``.
        shuffles: How many shuffles each filter was compared with.
    """

    ratio: np.ndarray
    p_value: np.ndarray
    shuffles: int


def roughness(kernels: np.ndarray) -> np.ndarray:
    r"""Return how rough each filter is: about 1 for noise, well below 1 for edges and blobs.

    The mean squared difference between horizontal and vertical neighbours, over that between any
    two pixels: :math:`\frac{1}{|N|} \sum_{(i,j) \in N} |w_i - w_j|^2 / \frac{2}{n - 1} \sum_i |w_i
    - \bar w|^2`, channels together. Geary's contiguity ratio (Geary 1954). Over all shuffles of a
    filter's pixels its mean is 1 exactly, so it needs no threshold.

    Args:
        kernels: Array of shape ``(filters, height, width, channels)``.

    Returns:
        Array of shape ``(filters,)``, from 0 up; NaN where nothing can be said (a single pixel, a
        constant filter, values that are not finite).

    Example:
        >>> ramp = np.broadcast_to(np.linspace(-1, 1, 7)[:, None, None], (1, 7, 7, 1))
        >>> roughness(ramp).round(2).tolist()
        [0.06]
    """
    return by_blocks(_roughness, kernels)[0]


def _roughness(kernels: np.ndarray) -> tuple[np.ndarray]:
    filters = centred(kernels)
    return (_ratio(filters, _between(filters.pixels, *_neighbours(*kernels.shape[1:3])), kernels),)


def can_be_tested(shape: tuple[int, ...], shuffles: int = _SHUFFLES) -> bool:
    """Whether a layer is small enough to be compared with shuffles in about half a minute.

    Args:
        shape: ``(filters, height, width, channels)``.
        shuffles: How many there are.
    """
    filters, height, width, channels = shape
    pixels = height * width
    if pixels <= _LARGEST_PRODUCT:
        return filters * pixels * (pixels + 1) // 2 * shuffles <= _MOST_PRODUCTS
    # To make an order of pixels, for each block, takes as long as to move four weights.
    orders = math.ceil(filters / max(1, _AT_ONCE // max(1, pixels * channels)))
    return shuffles * pixels * (filters * channels + 4 * orders) <= _MOST_MOVES


def structure(kernels: np.ndarray, *, shuffles: int = _SHUFFLES, seed: int = 0) -> Structure:
    """Test each filter for spatial structure against its own weights shuffled.

    Shuffling the pixel positions (all channels together) keeps the weights and destroys the
    pattern. Untrained filters are exchangeable, so each of them is smoother than all its shuffles
    with probability 1 / (shuffles + 1) only, and rougher with the same: a permutation test of
    ``roughness``. Edges and blobs are smooth; fine stripes and chequerboards are rough.

    Args:
        kernels: Array of shape ``(filters, height, width, channels)``.
        shuffles: How many shuffles; all filters get the same ones.
        seed: Of the shuffles.

    Returns:
        The roughness and the p-value of each filter.

    Example:
        >>> noise = np.random.default_rng(0).normal(size=(200, 7, 7, 3))
        >>> edge = np.broadcast_to(np.linspace(-1, 1, 7)[:, None, None], (1, 7, 7, 3))
        >>> [found.p_value.mean().round(2).item() for found in map(structure, (edge, noise))]
        [0.0, 0.51]
    """
    if kernels.shape[1] * kernels.shape[2] < 2 or not can_be_tested(kernels.shape, shuffles):
        return Structure(roughness(kernels), np.ones(len(kernels)), shuffles)
    tested = partial(_tested, shuffles=shuffles, seed=seed)
    ratio, p_value = by_blocks(tested, kernels, at_once=_AT_ONCE)
    return Structure(ratio, p_value, shuffles)


def _tested(kernels: np.ndarray, shuffles: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the roughness of some filters, and its p-value."""
    height, width = kernels.shape[1:3]
    filters = centred(kernels)
    own = _between(filters.pixels, *_neighbours(height, width))
    null = _by_product if height * width <= _LARGEST_PRODUCT else _by_pixels
    as_smooth, as_rough = null(filters.pixels, own, (height, width), shuffles, seed)
    as_far = np.minimum(as_smooth, as_rough)
    p_value = np.where(filters.known, np.minimum(2 * (1 + as_far) / (shuffles + 1), 1.0), 1.0)
    return _ratio(filters, own, kernels), p_value


def _ratio(filters: Centred, own: np.ndarray, kernels: np.ndarray) -> np.ndarray:
    """Return the differences between neighbours over those of all shuffles, on average."""
    height, width = kernels.shape[1:3]
    if height * width < 2:
        return np.full(len(kernels), np.nan)
    pairs = height * (width - 1) + width * (height - 1)
    expected = pairs * 2 / (height * width - 1)  # the sum of squares is 1
    return np.where(filters.known, own / expected, np.nan)


def _neighbours(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the two pixel numbers of every pair of horizontal or vertical neighbours."""
    index = np.arange(height * width).reshape(height, width)
    first = np.concatenate([index[:, :-1].ravel(), index[:-1].ravel()])
    second = np.concatenate([index[:, 1:].ravel(), index[1:].ravel()])
    return first, second


def _between(pixels: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return each filter's sum of squared differences between pairs of pixels."""
    total = np.empty(len(pixels))
    step = max(1, _AT_ONCE // max(1, len(first) * pixels.shape[2]))
    for start in range(0, len(pixels), step):
        block = pixels[start : start + step]
        total[start : start + step] = np.square(block[:, first] - block[:, second]).sum(axis=(1, 2))
    return total


def _by_product(
    pixels: np.ndarray, own: np.ndarray, shape: tuple[int, int], shuffles: int, seed: int
) -> np.ndarray:
    """Count each filter's shuffles that are at least as smooth, and at least as rough.

    The roughness of any shuffle is linear in the products of a filter's pixels, whatever the number
    of channels.
    """
    rows, columns, laplacians = _laplacians(*shape, shuffles, seed)
    counts = np.empty((2, len(pixels)), np.int64)
    step = max(1, _AT_ONCE // (pixels.shape[1] ** 2 + shuffles))
    for start in range(0, len(pixels), step):
        part = slice(start, start + step)
        block = pixels[part]
        products = block @ block.transpose(0, 2, 1)
        null = products[:, rows, columns] @ laplacians
        counts[:, part] = _as_far(null, own[part, np.newaxis]).sum(axis=2)
    return counts


@lru_cache(maxsize=4)
def _laplacians(
    height: int, width: int, shuffles: int, seed: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return what the products of pixels i <= j count for in each shuffle's roughness.

    Roughness is a quadratic form of the pixels; its matrix is the neighbourhood's Laplacian.
    """
    size = height * width
    first, second = _neighbours(height, width)
    laplacian = np.zeros((size, size))
    laplacian[first, second] = laplacian[second, first] = -1.0
    np.fill_diagonal(laplacian, -laplacian.sum(axis=1))
    rows, columns = np.triu_indices(size)
    both = np.where(rows == columns, 1.0, 2.0)  # i, j stands for j, i as well
    place = np.argsort(list(_orders(height, width, shuffles, seed)), axis=1)
    return rows, columns, (laplacian[place[:, rows], place[:, columns]] * both).T.copy()


def _by_pixels(
    pixels: np.ndarray, own: np.ndarray, shape: tuple[int, int], shuffles: int, seed: int
) -> np.ndarray:
    """Count as ``_by_product`` does, one shuffle after another: for large kernels."""
    counts = np.zeros((2, len(pixels)), np.int64)
    # Filters last: a pixel that is moved is a row.
    rows = np.ascontiguousarray(pixels.transpose(1, 2, 0))
    for order in _orders(*shape, shuffles, seed):
        grid = rows[order].reshape(*shape, *rows.shape[1:])
        null = np.square(np.diff(grid, axis=0)).sum(axis=(0, 1, 2))
        null += np.square(np.diff(grid, axis=1)).sum(axis=(0, 1, 2))
        counts += _as_far(null, own)
    return counts


def _as_far(null: np.ndarray, own: np.ndarray) -> np.ndarray:
    """Say which shuffles are at least as smooth, and which at least as rough."""
    # Sums of the same numbers in another order differ by rounding: equal counts as equal.
    margin = own * 1e-9 + 1e-12
    return np.stack([null <= own + margin, null >= own - margin])


def _orders(height: int, width: int, shuffles: int, seed: int) -> Iterator[np.ndarray]:
    """Yield so many orders of pixels.

    One that only turns or mirrors the filter, or leaves it as it is, is no shuffle: no filter could
    be smoother than it. Fewer than nine pixels have hardly any other, and prove nothing;
    among many pixels it does not happen.
    """
    size = height * width
    rng = np.random.default_rng(seed)
    checked = _FEWEST <= size <= _LARGEST_PRODUCT
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
