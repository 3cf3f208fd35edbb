"""Drift, norm and roughness of a layer's filters in one pass over its weights.

They are computed of every layer at every snapshot during training. The other functions take one
copy of the weights per measure, filter by filter; here the weights are read once, in the order in
which they are stored, in blocks that stay in the CPU's cache.
"""

import math
from typing import NamedTuple

import numpy as np

from filtertrack.measures.movement import drift, norm
from filtertrack.measures.spatial_structure import expected_differences, roughness
from filtertrack.measures.vectors import TINY_SQUARE

_AT_ONCE = 1 << 15
"""Weights in a block: as ``float64`` a few of these fit into the cache of one core."""
_MOST_GROWTH = 1e3
"""Ratio of a filter's lengths up to which rounding errors of its drift are negligible."""
_FLAT = 1e-6
"""Share of its pattern in a filter's sum of squares below which rounding errors matter."""


class FastMeasures(NamedTuple):
    """Measures of each filter: arrays of shape ``(filters,)``.

    Attributes:
        drift: See ``movement.drift``.
        norm: See ``movement.norm``.
        roughness: See ``spatial_structure.roughness``.
    """

    drift: np.ndarray
    norm: np.ndarray
    roughness: np.ndarray


class _Sums(NamedTuple):
    """Sums of squares of each filter: ``float64`` arrays of shape ``(filters,)``.

    Attributes:
        weights: Of its weights.
        change: Of the differences from its start.
        tone: Of each channel's mean, once for each pixel.
        steps: Of the differences between horizontal and vertical neighbours.
    """

    weights: np.ndarray
    change: np.ndarray
    tone: np.ndarray
    steps: np.ndarray


def measure_fast(kernels: np.ndarray, start: np.ndarray, start_norm: np.ndarray) -> FastMeasures:
    """Return the drift, the norm and the roughness of each filter.

    The same numbers as of ``drift``, ``norm`` and ``roughness``, which measure the filters whose
    squares overflow, underflow or nearly cancel.

    Args:
        kernels: Array of shape ``(filters, height, width, channels)``, in any order in memory.
        start: The same filters at the start of training.
        start_norm: The ``norm`` of these: it stays the same at every snapshot.

    Example:
        >>> ramp = np.broadcast_to(np.linspace(-1, 1, 7)[:, None, None], (1, 7, 7, 1))
        >>> found = measure_fast(ramp, 2 * ramp, norm(2 * ramp))
        >>> [each.round(2).tolist() for each in found]
        [[0.0], [4.67], [0.06]]
    """
    with np.errstate(all="ignore"):  # filters that are zero, not finite, or overflow
        sums = _sums_of(kernels, start)
        length = np.sqrt(sums.weights)
        # The law of cosines: |w - w0|² = (|w| - |w0|)² + 2 |w| |w0| (1 - cos).
        turned = (sums.change - (length - start_norm) ** 2) / (2 * length * start_norm)
        usual = (sums.weights > TINY_SQUARE) & (sums.weights < 1 / TINY_SQUARE)
        usual &= np.maximum(length, start_norm) < _MOST_GROWTH * np.minimum(length, start_norm)
        rough = np.full(len(kernels), np.nan)
        if kernels.shape[1] * kernels.shape[2] > 1:
            pattern = sums.weights - sums.tone
            rough = sums.steps / (pattern * expected_differences(*kernels.shape[1:3]))
            usual &= pattern > _FLAT * sums.weights
    found = FastMeasures(turned.clip(0.0, 2.0), length, rough)
    rest = np.flatnonzero(~usual)
    if len(rest):
        found.drift[rest] = drift(kernels[rest], start[rest])
        found.norm[rest] = norm(kernels[rest])
        found.roughness[rest] = roughness(kernels[rest])
    return found


def _sums_of(kernels: np.ndarray, start: np.ndarray) -> _Sums:
    # The last axis is that of the filters or of the channels, whichever is closer in memory.
    filters_last = kernels.strides[0] <= kernels.strides[3]
    order, axes = ((1, 2, 3, 0), "hwcf") if filters_last else ((1, 2, 0, 3), "hwfc")
    height, width, count, others = (kernels.shape[axis] for axis in order)
    pixels, sums = height * width, _Sums(*np.zeros((len(_Sums._fields), len(kernels))))
    step = max(1, _AT_ONCE // max(1, pixels * others))
    for first in range(0, count, step):
        block = slice(first, first + step)
        now, change = (
            layer.transpose(order)[:, :, block].astype(np.float64, order="C")
            for layer in (kernels, start)
        )
        change = np.subtract(now, change, out=change)
        part = _Sums(*(each[... if filters_last else block] for each in sums))
        _add_squares(part.weights, now, axes)
        _add_squares(part.change, change, axes)
        if pixels > 1:
            _add_squares(part.steps, now[1:] - now[:-1], axes)
            _add_squares(part.steps, now[:, 1:] - now[:, :-1], axes)
            means = now.mean(axis=(0, 1), keepdims=True)
            _add_squares(part.tone, math.sqrt(pixels) * means, axes)
    return sums


def _add_squares(sums: np.ndarray, values: np.ndarray, axes: str) -> None:
    """Add the squares of values with the given axes to the sums over all axes but the filters'."""
    sums += np.einsum(f"{axes},{axes}->f", values, values)
