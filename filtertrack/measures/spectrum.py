"""What filters are tuned to: the direction and the fineness of their stripes."""

from typing import NamedTuple

import numpy as np

from filtertrack.measures.vectors import by_blocks, centred, fewer_channels

_SPECTRUM = 32
"""Points a side of a power spectrum, at least: fine enough for directions to a degree."""
_LONGEST_PADDED = 512
"""Pixels a side up to which a filter's opposite sides are kept apart by padding; in a larger one
they are a small share of it."""
_AT_ONCE = 1 << 21
"""Numbers in memory at once, about."""

_NO_DIRECTION = 1e-9
"""A selectivity below this is rounding."""


class Orientation(NamedTuple):
    """How filters are oriented.

    Attributes:
        degrees: ``(filters,)``: the direction of a filter's edges or stripes, in [0, 180): 0 is
            horizontal, 90 vertical, 45 rises to the right. NaN where there is none.
        selectivity: ``(filters,)``: from 0 (no direction) to 1 (only one).
        frequency: ``(filters,)``: the spatial frequency it prefers, in cycles a pixel, from 0 to
            0.5. One over it is the width of a light and a dark stripe together. NaN where there is
            no pattern.
    """

    degrees: np.ndarray
    selectivity: np.ndarray
    frequency: np.ndarray


def orientation(kernels: np.ndarray) -> Orientation:
    r"""Find the direction and the frequency of each filter's stripes, from its power spectrum.

    The power P at each spatial frequency, at the angle :math:`\theta`, is summed as
    :math:`\sum P e^{2i\theta} / \sum P`: its length is the selectivity, one minus the circular
    variance (Ringach, Shapley and Hawken 2002, there of a neuron's responses), half its angle the
    direction across the stripes. The preferred frequency is where the power is highest. Each
    channel's mean is taken off first, channels are summed, and only frequencies up to half a cycle
    a pixel count, in every direction alike.

    Args:
        kernels: Array of shape ``(filters, height, width, channels)``.

    Returns:
        Direction, selectivity and preferred frequency of each filter.

    Example:
        >>> across = np.array([1.0, 0.0, -1.0])
        >>> vertical_edge = np.tile(across[:, None], (3, 1, 1))[np.newaxis]
        >>> orientation(vertical_edge).degrees.round(1).tolist()
        [90.0]
    """
    size = [_points(side) for side in kernels.shape[1:3]]
    spectrum = size[0] * (size[1] // 2 + 1)
    return Orientation(*by_blocks(_oriented, kernels, at_once=_AT_ONCE, beside=8 * spectrum))


def _points(side: int) -> int:
    """Return the points of a power spectrum along a side."""
    if side < 2:
        return 1  # one pixel has no frequencies; padded it would seem to have all of them
    return max(_SPECTRUM, 2 * side) if side <= _LONGEST_PADDED else side


def _oriented(kernels: np.ndarray) -> Orientation:
    size = [_points(side) for side in kernels.shape[1:3]]
    pixels = fewer_channels(centred(kernels).pixels)
    values = pixels.reshape(*kernels.shape[:3], pixels.shape[2])
    power = np.zeros((len(values), size[0], size[1] // 2 + 1))
    for channel in range(values.shape[3]):  # not all at once: for little memory
        power += np.square(np.abs(np.fft.rfft2(values[..., channel], size, axes=(1, 2))))
    return _tuning(power, size)


def _tuning(power: np.ndarray, size: list[int]) -> Orientation:
    """Read half a power spectrum; the other half is the same, turned by 180 degrees."""
    down, across = np.meshgrid(np.fft.fftfreq(size[0]), np.fft.rfftfreq(size[1]), indexing="ij")
    radius = np.hypot(down, across).ravel()
    angle = np.arctan2(-down, across).ravel()  # rows count downward, angles the other way
    # The first column and the last have their other half in themselves.
    twice = np.ones(size[1] // 2 + 1)
    twice[1 : (size[1] + 1) // 2] = 2
    counted = np.where(radius <= 0.5, np.tile(twice, size[0]), 0.0)
    flat = power.reshape(len(power), len(radius))
    total = flat @ counted
    safe = np.where(total > 0, total, 1.0)
    resultant = (flat @ (counted * np.exp(2j * angle))) / safe
    strongest = np.where(counted > 0, flat, -1.0).argmax(axis=1)
    length = np.abs(resultant)
    known = (total > 0) & (length > _NO_DIRECTION)
    degrees = (np.degrees(np.angle(resultant)) / 2 + 90) % 180
    return Orientation(
        np.where(known, degrees, np.nan),
        np.where(known, length, 0.0),
        np.where(total > 0, radius[strongest], np.nan),
    )
