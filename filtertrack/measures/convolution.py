"""Responses of convolution filters to images, computed with numpy from the weights alone."""

import math
from collections.abc import Sequence
from itertools import product

import numpy as np

_AT_ONCE = 1 << 17
"""Values of patches that are multiplied at once: few enough for the CPU's cache."""

Pads = Sequence[tuple[int, int]]
"""Zeros before and after the images along each spatial axis."""


def convolve(
    images: np.ndarray,
    filters: np.ndarray,
    *,
    strides: Sequence[int],
    dilation: Sequence[int],
    pads: Pads,
) -> np.ndarray:
    """Return the dot product of each filter with the images at each of its positions.

    As in neural networks the filters are not flipped (cross-correlation). Channels are taken in
    groups of as many as a filter has: filters in the first share of all filters see the first
    group, as in grouped and depthwise convolutions.

    Args:
        images: Array of shape ``(images, *space, channels)``, of one to three spatial axes.
        filters: Array of shape ``(filters, *space, channels of a group)``.
        strides: Steps between two positions, along each spatial axis.
        dilation: Distances between two neighbouring weights, along each spatial axis.
        pads: Zeros before and after the images, along each spatial axis.

    Returns:
        Array of shape ``(images, *positions, filters)`` in the type of the images.

    Raises:
        ValueError: If channels or filters are no multiple of the groups, or the images are smaller
            than the filters.

    Example:
        >>> ramp = np.arange(4.0).reshape(1, 4, 1)
        >>> edge = np.array([-1.0, 1.0]).reshape(1, 2, 1)
        >>> convolve(ramp, edge, strides=[1], dilation=[1], pads=[(0, 0)]).ravel()
        array([1., 1., 1.])
    """
    groups = _groups(images.shape[-1], filters)
    padded = np.pad(images, [(0, 0), *pads, (0, 0)]) if np.any(pads) else images
    reach = _reach(filters.shape[1:-1], dilation)
    sizes = [
        (size - along) // stride + 1
        for size, along, stride in zip(padded.shape[1:-1], reach, strides, strict=True)
    ]
    if min(sizes) < 1:
        raise ValueError(f"images of {images.shape[1:-1]} are smaller than filters of {reach}")
    responses = np.empty((len(images), *sizes, len(filters)), images.dtype)
    of_group, of_filters = filters.shape[-1], len(filters) // groups
    for group in range(groups):
        seen = padded[..., group * of_group : (group + 1) * of_group]
        chosen = slice(group * of_filters, (group + 1) * of_filters)
        weights = filters[chosen].reshape(of_filters, -1).T.astype(images.dtype)
        patches = _patches(seen, filters.shape[1:-1], sizes, strides, dilation)
        _multiply(patches, weights, responses[..., chosen])
    return responses


def convolve_transposed(
    images: np.ndarray,
    filters: np.ndarray,
    *,
    strides: Sequence[int],
    dilation: Sequence[int],
    crops: Pads,
) -> np.ndarray:
    """Return what a transposed convolution computes: each pixel adds its multiple of each filter.

    Args:
        images: Array of shape ``(images, *space, channels)``.
        filters: Array of shape ``(filters, *space, channels)``.
        strides: Distances between two filters that are added, along each spatial axis.
        dilation: Distances between two neighbouring weights, along each spatial axis.
        crops: Positions left out before and after, along each spatial axis; negative numbers add
            zeros.

    Returns:
        Array of shape ``(images, *positions, filters)`` in the type of the images.
    """
    space, sides = images.shape[1:-1], filters.shape[1:-1]
    reach = _reach(sides, dilation)
    sizes = [
        (size - 1) * stride + along
        for size, stride, along in zip(space, strides, reach, strict=True)
    ]
    added = np.zeros((len(images), *sizes, len(filters)), images.dtype)
    for weight in product(*map(range, sides)):
        place = tuple(
            slice(number * apart, number * apart + (size - 1) * stride + 1, stride)
            for number, apart, size, stride in zip(weight, dilation, space, strides, strict=True)
        )
        weights = np.moveaxis(filters, 0, -1)[weight].astype(images.dtype)
        added[(slice(None), *place)] += images @ weights
    more = [(max(0, -before), max(0, -after)) for before, after in crops]
    added = np.pad(added, [(0, 0), *more, (0, 0)])
    kept = (
        slice(max(0, before), size + extra[1] + extra[0] - max(0, after))
        for (before, after), size, extra in zip(crops, sizes, more, strict=True)
    )
    return np.ascontiguousarray(added[(slice(None), *kept)])


def same_pads(
    space: Sequence[int], sides: Sequence[int], strides: Sequence[int], dilation: Sequence[int]
) -> list[tuple[int, int]]:
    """Return the zeros of the padding ``"same"``: as many positions as pixels, over the stride.

    An odd number of zeros is one more after the images than before, as in TensorFlow and Keras.

    Example:
        >>> same_pads([224], [7], [2], [1])
        [(2, 3)]
    """
    pads = []
    for size, along, stride in zip(space, _reach(sides, dilation), strides, strict=True):
        total = max(0, (math.ceil(size / stride) - 1) * stride + along - size)
        pads.append((total // 2, total - total // 2))
    return pads


def _groups(channels: int, filters: np.ndarray) -> int:
    groups, left = divmod(channels, filters.shape[-1] or 1)
    if left or not groups or len(filters) % groups:
        raise ValueError(
            f"images of {channels} channels do not fit {len(filters)} filters of "
            f"{filters.shape[-1]} channels"
        )
    return groups


def _reach(sides: Sequence[int], dilation: Sequence[int]) -> list[int]:
    """Return how many pixels a filter spans along each axis."""
    return [(side - 1) * apart + 1 for side, apart in zip(sides, dilation, strict=True)]


def _patches(
    images: np.ndarray,
    sides: Sequence[int],
    sizes: Sequence[int],
    strides: Sequence[int],
    dilation: Sequence[int],
) -> np.ndarray:
    """Return a view of the patches: ``(images, *positions, *sides, channels)``."""
    first, *along, last = images.strides
    steps = [step * stride for step, stride in zip(along, strides, strict=True)]
    apart = [step * distance for step, distance in zip(along, dilation, strict=True)]
    return np.lib.stride_tricks.as_strided(
        images,
        (len(images), *sizes, *sides, images.shape[-1]),
        (first, *steps, *apart, last),
        writeable=False,
    )


def _multiply(patches: np.ndarray, weights: np.ndarray, out: np.ndarray) -> None:
    """Multiply patches with weights, so many rows of positions at once that they stay in cache.

    Args:
        patches: ``(images, *positions, *sides, channels)``.
        weights: ``(values of a patch, filters)``.
        out: ``(images, *positions, filters)``.
    """
    space = out.ndim - 2
    values = len(weights)
    a_row = math.prod(patches.shape[2 : 1 + space]) * values
    rows = max(1, _AT_ONCE // max(1, a_row))
    for image, into in zip(patches, out, strict=True):
        for start in range(0, len(image), rows):
            block = image[start : start + rows]
            product_shape = into[start : start + rows].shape
            flat = np.ascontiguousarray(block).reshape(-1, values)
            into[start : start + rows] = (flat @ weights).reshape(product_shape)
