"""Orientation and spatial frequency of filters, from their power spectra."""

from typing import NamedTuple

import numpy as np

from filtertrack.measures.vectors import by_blocks, centred, fewer_channels

_FEWEST_POINTS = 32
"""Points of a power spectrum along each side, at least: enough for directions to a degree."""
_LONGEST_PADDED = 512
"""Longest side that is padded with zeros, in pixels, so that opposite borders are not neighbours;
of larger filters the borders are a small share."""
_AT_ONCE = 1 << 21
"""Numbers in memory at once, about."""
_HIGHEST_FREQUENCY = 0.5
"""In cycles per pixel; higher ones exist along diagonals only."""
_NO_DIRECTION = 1e-9
"""Selectivity below which a direction is a rounding error."""


class Orientation(NamedTuple):
    """Orientation and preferred frequency of filters.

    Attributes:
        degrees: ``(filters,)``: the direction of a filter's edges or stripes, in [0, 180): 0 is
            horizontal, 90 vertical, 45 rises to the right. NaN if it has no direction.
        selectivity: ``(filters,)``: orientation selectivity, from 0 (none) to 1 (one direction).
        frequency: ``(filters,)``: the preferred spatial frequency, in cycles per pixel, from 0 to
            0.5; its inverse is the width of a light and a dark stripe together. NaN if the filter
            has no pattern.
    """

    degrees: np.ndarray
    selectivity: np.ndarray
    frequency: np.ndarray


def orientation(kernels: np.ndarray) -> Orientation:
    r"""Find the direction and the spatial frequency of each filter's stripes.

    The power P of each spatial frequency, at the angle :math:`\theta`, is summed as
    :math:`\sum P e^{2i\theta} / \sum P`. The length of this vector is the selectivity, one minus
    the circular variance (Ringach, Shapley and Hawken 2002, there of a neuron's responses); half
    its angle is the direction across the stripes. The preferred frequency has the highest power.
    Each channel's mean is subtracted first, and the spectra of the channels are added. Only
    frequencies up to half a cycle per pixel count, in all directions alike.

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
    return Orientation(*by_blocks(_orientation, kernels, at_once=_AT_ONCE, extra=8 * spectrum))


def _points(side: int) -> int:
    """Return the number of points of a power spectrum along a side."""
    if side < 2:
        return 1  # a single pixel has no frequencies; the padded one would have all of them
    return max(_FEWEST_POINTS, 2 * side) if side <= _LONGEST_PADDED else side


def _orientation(kernels: np.ndarray) -> Orientation:
    size = [_points(side) for side in kernels.shape[1:3]]
    pixels = fewer_channels(centred(kernels).pixels)
    values = pixels.reshape(*kernels.shape[:3], pixels.shape[2])
    power = np.zeros((len(values), size[0], size[1] // 2 + 1))
    for channel in range(values.shape[3]):  # one at a time, to save memory
        power += np.square(np.abs(np.fft.rfft2(values[..., channel], size, axes=(1, 2))))
    return _tuning(power, size)


def _tuning(power: np.ndarray, size: list[int]) -> Orientation:
    """Evaluate half a power spectrum; the other half is the same, rotated by 180 degrees."""
    down, across = np.meshgrid(np.fft.fftfreq(size[0]), np.fft.rfftfreq(size[1]), indexing="ij")
    radius = np.hypot(down, across).ravel()
    angle = np.arctan2(-down, across).ravel()  # rows count downward, angles the other way
    # Each column stands for its mirror image too, except the first and the last: they contain it.
    multiplicity = np.ones(size[1] // 2 + 1)
    multiplicity[1 : (size[1] + 1) // 2] = 2
    weight = np.where(radius <= _HIGHEST_FREQUENCY, np.tile(multiplicity, size[0]), 0.0)
    flat = power.reshape(len(power), len(radius))
    total = flat @ weight
    safe = np.where(total > 0, total, 1.0)
    resultant = (flat @ (weight * np.exp(2j * angle))) / safe
    strongest = np.where(weight > 0, flat, -1.0).argmax(axis=1)
    length = np.abs(resultant)
    known = (total > 0) & (length > _NO_DIRECTION)
    degrees = (np.degrees(np.angle(resultant)) / 2 + 90) % 180
    return Orientation(
        np.where(known, degrees, np.nan),
        np.where(known, length, 0.0),
        np.where(total > 0, radius[strongest], np.nan),
    )
