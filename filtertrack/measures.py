"""What can be said of filters in numbers: arrays in, arrays out."""

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

_SPECTRUM = 32
"""Points a side of a power spectrum, at least: fine enough for directions to a degree."""

_NO_DIRECTION = 1e-9
"""A selectivity below this is rounding."""


def norm(kernels: np.ndarray) -> np.ndarray:
    """Return the Euclidean length of each filter, from 0 up.

    Args:
        kernels: Array of shape ``(filters, height, width, channels)``.

    Returns:
        Array of shape ``(filters,)``.

    Example:
        >>> norm(np.array([[[[3.0, 4.0]]]])).tolist()
        [5.0]
    """
    flat = _flat(kernels)
    # Scaled by the largest weight: squares of 1e200 would overflow, of 1e-200 vanish.
    size = np.abs(flat).max(axis=1, initial=0.0)
    safe = np.where(np.isfinite(size) & (size > 0), size, 1.0)
    with np.errstate(over="ignore"):  # beside an infinity nothing is scaled
        length: np.ndarray = np.sqrt(np.square(flat / safe[:, np.newaxis]).sum(axis=1)) * safe
    return length


def drift(kernels: np.ndarray, start: np.ndarray) -> np.ndarray:
    """Return how far each filter has turned away from its start: 1 - cos(w, w0).

    Layer rotation, here of each filter (Carbonnelle and De Vleeschouwer, arXiv 1806.01603): 0 is
    the same direction, 1 at right angles, 2 opposite. It does not see a mere change of length.

    Args:
        kernels: Array of shape ``(filters, height, width, channels)``.
        start: The same filters at the start of training.

    Returns:
        Array of shape ``(filters,)`` in [0, 2]; NaN where a filter is or was all zero.

    Example:
        >>> w = np.array([[[[1.0, 0.0]]], [[[1.0, 0.0]]]])
        >>> drift(w, np.array([[[[2.0, 0.0]]], [[[0.0, 1.0]]]])).tolist()
        [0.0, 1.0]
    """
    now, then = _unit(kernels), _unit(start)
    cosine: np.ndarray = np.einsum("fp,fp->f", now, then)
    return np.clip(1.0 - cosine, 0.0, 2.0)


class Orientation(NamedTuple):
    """How filters are oriented.

    Attributes:
        degrees: ``(filters,)``: the direction of a filter's edges or stripes, in [0, 180): 0 is
            horizontal, 90 vertical, 45 rises to the right. NaN where there is none.
        selectivity: ``(filters,)``: from 0 (no direction) to 1 (only one).
    """

    degrees: np.ndarray
    selectivity: np.ndarray


def orientation(kernels: np.ndarray) -> Orientation:
    r"""Find the direction of each filter's edges or stripes, from its power spectrum.

    The power P at each spatial frequency, at the angle :math:`\theta`, is summed as
    :math:`\sum P e^{2i\theta} / \sum P`: its length is the selectivity, one minus the circular
    variance (Ringach, Shapley and Hawken 2002, there of a neuron's responses), half its angle the
    direction across the stripes. Each channel's mean is taken off first, channels are summed, and
    only frequencies up to half a cycle a pixel count, in every direction alike.

    Args:
        kernels: Array of shape ``(filters, height, width, channels)``.

    Returns:
        Direction and selectivity of each filter.

    Example:
        >>> across = np.array([1.0, 0.0, -1.0])
        >>> vertical_edge = np.tile(across[:, None], (3, 1, 1))[np.newaxis]
        >>> orientation(vertical_edge).degrees.round(1).tolist()
        [90.0]
    """
    # One pixel has no frequencies; padded it would seem to have all of them.
    size = [max(_SPECTRUM, 2 * side) if side > 1 else 1 for side in kernels.shape[1:3]]
    broken = ~np.isfinite(kernels).all(axis=(1, 2, 3))
    values = np.where(broken[:, None, None, None], 0.0, kernels).astype(np.float64)
    values -= values.mean(axis=(1, 2), keepdims=True)
    largest = np.abs(values).max(axis=(1, 2, 3), keepdims=True, initial=0.0)
    values /= np.where(largest > 0, largest, 1.0)
    power = np.zeros((len(values), *size))
    for channel in range(values.shape[3]):  # not all at once: a deep layer would take gigabytes
        power += np.square(np.abs(np.fft.fft2(values[..., channel], size, axes=(1, 2))))
    down, across = np.meshgrid(*map(np.fft.fftfreq, size), indexing="ij")
    inside = np.hypot(down, across) <= 0.5
    angle = np.arctan2(-down, across)  # rows count downward, angles the other way
    weight = np.where(inside, power, 0.0)
    total = weight.sum(axis=(1, 2))
    resultant = (weight * np.exp(2j * angle)).sum(axis=(1, 2)) / np.where(total > 0, total, 1.0)
    known = (total > 0) & (np.abs(resultant) > _NO_DIRECTION)
    degrees = (np.degrees(np.angle(resultant)) / 2 + 90) % 180
    return Orientation(np.where(known, degrees, np.nan), np.where(known, np.abs(resultant), 0.0))


def similarity(kernels: np.ndarray) -> np.ndarray:
    """Return how alike each two filters are: the cosine of the angle between them.

    Args:
        kernels: Array of shape ``(filters, height, width, channels)``.

    Returns:
        Array of shape ``(filters, filters)`` in [-1, 1]; 0 with a filter that has no direction.
    """
    unit = np.nan_to_num(_unit(kernels))
    cosines: np.ndarray = np.clip(unit @ unit.T, -1.0, 1.0)
    return cosines


def _flat(kernels: np.ndarray) -> np.ndarray:
    return kernels.reshape(len(kernels), math.prod(kernels.shape[1:])).astype(np.float64)


def _unit(kernels: np.ndarray) -> np.ndarray:
    """Return each filter as a flat vector of length 1, or of NaN where it has no direction."""
    length = norm(kernels)
    usable = np.isfinite(length) & (length > 0)
    flat = _flat(kernels)
    return np.where(usable, 1.0, np.nan)[:, np.newaxis] * (
        np.where(usable[:, np.newaxis], flat, 0.0) / np.where(usable, length, 1.0)[:, np.newaxis]
    )


@dataclass(frozen=True, slots=True, eq=False)
class Structure:
    """Whether filters have spatial structure, compared with their own weights shuffled.

    Attributes:
        ratio: ``(filters,)``: a filter's roughness over the mean roughness of its shuffles. About 1
            for noise, well below 1 for edges and blobs; NaN where nothing can be said (a single
            pixel, a constant filter, values that are not finite).
        p_value: ``(filters,)``: how likely a shuffle is at least as smooth; at best
            1 / (shuffles + 1). 1 where nothing can be said.
        shuffles: How many shuffles each filter was compared with.
    """

    ratio: np.ndarray
    p_value: np.ndarray
    shuffles: int

    @property
    def share(self) -> float:
        """The share of filters smoother than every one of their shuffles, from 0 to 1."""
        smoothest = self.p_value <= 1 / (self.shuffles + 1)
        return float(smoothest.mean()) if len(smoothest) else 0.0


def structure(kernels: np.ndarray, *, shuffles: int = 100, seed: int = 0) -> Structure:
    """Test each filter for spatial structure against a null that needs no threshold.

    Roughness is the sum of the squared differences between neighbouring pixels, over the filter's
    sum of squares about each channel's mean. Shuffling the pixel positions (all channels together)
    keeps the weights and destroys the pattern. Untrained filters are exchangeable, so each of them
    is smoother than all its shuffles with probability 1 / (shuffles + 1) only.

    Args:
        kernels: Array of shape ``(filters, height, width, channels)``.
        shuffles: How many shuffles; all filters get the same ones.
        seed: Of the shuffles.

    Returns:
        The ratio and the p-value of each filter.

    Example:
        >>> noise = np.random.default_rng(0).normal(size=(200, 7, 7, 3))
        >>> edge = np.broadcast_to(np.linspace(-1, 1, 7)[:, None, None], (1, 7, 7, 3))
        >>> structure(noise).share < 0.05, structure(edge).share
        (True, 1.0)
    """
    filters, height, width, _ = kernels.shape
    pixels = height * width
    first, second = _neighbours(height, width)
    distance = _pixel_distances(kernels)
    known = np.isfinite(distance).all(axis=(1, 2)) & (distance.max(axis=(1, 2), initial=0.0) > 0)
    if not len(first):
        known[:] = False
    rng = np.random.default_rng(seed)
    orders = rng.permuted(np.tile(np.arange(pixels), (shuffles, 1)), axis=1)
    own = distance[:, first, second].sum(axis=1)
    # One shuffle at a time: (filters, shuffles, neighbours) at once would be large for deep layers.
    null = np.stack(
        [distance[:, order[first], order[second]].sum(axis=1) for order in orders], axis=1
    )
    ratio = np.full(filters, np.nan)
    ratio[known] = own[known] / null[known].mean(axis=1)
    # Sums of the same numbers in another order differ by rounding: equal counts as equal.
    as_smooth = null <= own[:, np.newaxis] * (1 + 1e-9)
    p_value = (1 + as_smooth.sum(axis=1)) / (shuffles + 1)
    p_value[~known] = 1.0
    return Structure(ratio, p_value, shuffles)


def _neighbours(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the two pixel numbers of every pair of horizontal or vertical neighbours."""
    index = np.arange(height * width).reshape(height, width)
    first = np.concatenate([index[:, :-1].ravel(), index[:-1].ravel()])
    second = np.concatenate([index[:, 1:].ravel(), index[1:].ravel()])
    return first, second


def _pixel_distances(kernels: np.ndarray) -> np.ndarray:
    """Return the squared distances between a filter's pixels over channels: (filters, n, n).

    Everything the roughness of any shuffle needs, whatever the number of channels.
    """
    filters, height, width, channels = kernels.shape
    flat = kernels.reshape(filters, height * width, channels).astype(np.float64)
    with np.errstate(invalid="ignore", over="ignore"):
        largest = np.abs(flat).max(axis=(1, 2), initial=0.0)
        flat = flat - flat.mean(axis=1, keepdims=True)
        size = np.abs(flat).max(axis=(1, 2), initial=0.0)
        # What rounding left of a constant filter is no pattern.
        flat = np.where((size <= 1e-12 * largest)[:, np.newaxis, np.newaxis], 0.0, flat)
        flat = flat / np.where(size > 0, size, 1.0)[:, np.newaxis, np.newaxis]
        gram = flat @ flat.transpose(0, 2, 1)
        square: np.ndarray = np.einsum("fpp->fp", gram)
        distance: np.ndarray = square[:, :, np.newaxis] + square[:, np.newaxis, :] - 2 * gram
    return distance.clip(min=0.0)
