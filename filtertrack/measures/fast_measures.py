"""Drift, norm and roughness of a layer's filters in one pass over its weights.

They are computed of every layer at every snapshot during training. The other functions take one
copy of the weights per measure, filter by filter; here the weights are read once, in the order in
which they are stored, in blocks that stay in the CPU's cache.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from filtertrack.measures.movement import drift, norm
from filtertrack.measures.spatial_structure import roughness

_AT_ONCE = 1 << 15
"""Weights in a block: as ``float64`` a few of these fit into the cache of one core."""
_TINY = 1e-200
"""Sums of squares between this and its inverse have neither over- nor underflowed."""
_MOST_GROWTH = 1e3
"""Ratio of a filter's lengths up to which rounding errors of its drift are negligible."""
_FLAT = 1e-12
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
        now: Of its weights.
        start: Of its weights at the start.
        change: Of the differences between the two.
        pattern: Of its weights without each channel's mean.
        steps: Of the differences between horizontal and vertical neighbours.
    """

    now: np.ndarray
    start: np.ndarray
    change: np.ndarray
    pattern: np.ndarray
    steps: np.ndarray


def measure_fast(kernels: np.ndarray, start: np.ndarray) -> FastMeasures:
    """Return the drift, the norm and the roughness of each filter.

    The same numbers as of ``drift``, ``norm`` and ``roughness``, which measure the filters whose
    squares overflow, underflow or nearly cancel.

    Args:
        kernels: Array of shape ``(filters, height, width, channels)``, in any order in memory.
        start: The same filters at the start of training.

    Example:
        >>> ramp = np.broadcast_to(np.linspace(-1, 1, 7)[:, None, None], (1, 7, 7, 1))
        >>> [found.round(2).tolist() for found in measure_fast(ramp, 2 * ramp)]
        [[0.0], [4.67], [0.06]]
    """
    with np.errstate(all="ignore"):  # filters that are zero, not finite, or overflow
        sums = _sums_of(kernels, start)
        length, before = np.sqrt(sums.now), np.sqrt(sums.start)
        # The law of cosines: |w - w0|² = (|w| - |w0|)² + 2 |w| |w0| (1 - cos).
        turned = (sums.change - (length - before) ** 2) / (2 * length * before)
        found = FastMeasures(turned.clip(0.0, 2.0), length, _roughness(sums, kernels.shape))
        growth = np.maximum(length, before) / np.minimum(length, before)
        usual = growth < _MOST_GROWTH
        for squares in (sums.now, sums.start):
            usual &= (squares > _TINY) & (squares < 1 / _TINY)
        if _has_pixels(kernels.shape):
            usual &= sums.pattern > _FLAT * sums.now
    rest = np.flatnonzero(~usual)
    if len(rest):
        found.drift[rest] = drift(kernels[rest], start[rest])
        found.norm[rest] = norm(kernels[rest])
        found.roughness[rest] = roughness(kernels[rest])
    return found


def _has_pixels(shape: tuple[int, ...]) -> bool:
    return shape[1] * shape[2] > 1


def _roughness(sums: _Sums, shape: tuple[int, ...]) -> np.ndarray:
    """Return squared differences between neighbours over their mean over all shuffles."""
    filters, height, width, _ = shape
    if not _has_pixels(shape):
        return np.full(filters, np.nan)
    pairs = height * (width - 1) + width * (height - 1)
    ratio: np.ndarray = sums.steps / sums.pattern * ((height * width - 1) / (2 * pairs))
    return ratio


def _sums_of(kernels: np.ndarray, start: np.ndarray) -> _Sums:
    # Filters or channels are the last axis, whichever is stored closer together.
    filters_last = kernels.strides[0] <= kernels.strides[3]
    order = (1, 2, 3, 0) if filters_last else (1, 2, 0, 3)
    others = (0, 1, 2) if filters_last else (0, 1, 3)
    sums = _Sums(*np.zeros((len(_Sums._fields), len(kernels))))
    for part, now, then in _blocks(kernels.transpose(order), start.transpose(order)):
        to = slice(None) if filters_last else part

        def add(total: np.ndarray, values: np.ndarray, to: slice = to) -> None:
            total[to] += np.square(values, out=values).sum(axis=others)

        add(sums.change, now - then)
        add(sums.start, then)
        if _has_pixels(kernels.shape):
            pattern = now - now.mean(axis=(0, 1))
            add(sums.steps, pattern[1:] - pattern[:-1])
            add(sums.steps, pattern[:, 1:] - pattern[:, :-1])
            add(sums.pattern, pattern)
        add(sums.now, now)
    return sums


def _blocks(
    kernels: np.ndarray, start: np.ndarray
) -> Iterator[tuple[slice, np.ndarray, np.ndarray]]:
    """Yield ranges of the third axis, with copies of both layers' weights as ``float64``."""
    height, width, count, others = kernels.shape
    step = max(1, _AT_ONCE // max(1, height * width * others))
    for first in range(0, count, step):
        part = slice(first, first + step)
        now, then = (layer[:, :, part].astype(np.float64, order="C") for layer in (kernels, start))
        yield part, now, then
