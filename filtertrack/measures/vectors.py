"""Filters as vectors: flat, of length 1, or without their channels' means."""

import math
from typing import NamedTuple

import numpy as np

_TINY = 1e-200
"""Sums of squares between this and its inverse have neither over- nor underflown."""
_NORMAL = float(np.finfo(np.float64).tiny / np.finfo(np.float64).eps)
"""From here on a number has all its digits."""


def flat(kernels: np.ndarray) -> np.ndarray:
    """Return each filter as a row of ``float64``: ``(filters, weights)``."""
    return kernels.reshape(len(kernels), math.prod(kernels.shape[1:])).astype(np.float64)


def lengths(rows: np.ndarray) -> np.ndarray:
    """Return the Euclidean length of each row; huge and tiny values neither over- nor underflow."""
    with np.errstate(over="ignore", invalid="ignore"):
        square = np.einsum("fp,fp->f", rows, rows)
        length: np.ndarray = np.sqrt(square)
    if ((square > _TINY) & (square < 1 / _TINY)).all():
        return length
    # Scaled by the largest weight: squares of 1e200 would overflow, of 1e-200 vanish.
    size = np.abs(rows).max(axis=1, initial=0.0)
    safe = np.where(np.isfinite(size) & (size > 0), size, 1.0)
    with np.errstate(over="ignore"):  # beside an infinity nothing is scaled
        length = np.sqrt(np.square(rows / safe[:, np.newaxis]).sum(axis=1))
        length *= safe
    return length


def finite_mean(values: np.ndarray) -> float:
    """Return the mean of what is finite; NaN where nothing is.

    Example:
        >>> finite_mean(np.array([1.0, np.nan, 3.0]))
        2.0
    """
    finite = values[np.isfinite(values)]
    with np.errstate(over="ignore"):
        return float(finite.mean()) if len(finite) else float("nan")


def unit(rows: np.ndarray) -> np.ndarray:
    """Return each row at length 1, or as NaN where it has no direction."""
    length = lengths(rows)
    usable = np.isfinite(length) & (length > 0)
    small = usable & (length < _NORMAL)
    if small.any():  # so small that a length itself has few digits
        size = np.where(small, np.abs(rows).max(axis=1, initial=0.0), 1.0)
        rows = rows / size[:, np.newaxis]
        length = lengths(rows)
    scale = np.where(usable, length, 1.0)[:, np.newaxis]
    return np.where(usable[:, np.newaxis], rows / scale, np.nan)


class Centred(NamedTuple):
    """Filters about their channels' means.

    Attributes:
        pixels: ``(filters, pixels, channels)``: each filter without each channel's mean, at length
            1 in all; zeros where it is not known.
        known: ``(filters,)``: whether there is anything to see. A constant filter, one of a single
            pixel and one that holds a value that is not finite are not known.
    """

    pixels: np.ndarray
    known: np.ndarray


def centred(kernels: np.ndarray) -> Centred:
    """Take each channel's mean off each filter, and bring what is left to length 1."""
    filters, height, width, channels = kernels.shape
    values = kernels.reshape(filters, height * width, channels).astype(np.float64)
    finite = np.isfinite(values).all(axis=(1, 2))
    values[~finite] = 0.0
    largest = np.abs(values).max(axis=(1, 2), initial=0.0)
    # Before means are taken: the sum of weights of 1e308 would overflow.
    values /= np.where(largest > 0, largest, 1.0)[:, np.newaxis, np.newaxis]
    values -= values.mean(axis=1, keepdims=True) if height * width else 0.0
    length = np.sqrt(np.square(values).sum(axis=(1, 2)))
    # What rounding left of a constant filter is no pattern.
    known = length > 1e-12 * math.sqrt(max(1, height * width * channels))
    values /= np.where(known, length, np.inf)[:, np.newaxis, np.newaxis]
    return Centred(values, known)


def fewer_channels(pixels: np.ndarray) -> np.ndarray:
    """Return filters with at most as many channels as pixels, all products of pixels the same.

    Args:
        pixels: Array of shape ``(filters, pixels, channels)``.

    Returns:
        Itself, or the roots of W Wᵀ: ``(filters, pixels, pixels)``.
    """
    _, size, channels = pixels.shape
    if channels <= size:
        return pixels
    strengths, patterns = np.linalg.eigh(pixels @ pixels.transpose(0, 2, 1))
    roots: np.ndarray = patterns * np.sqrt(strengths.clip(min=0.0))[:, np.newaxis]
    return roots


class Pattern(NamedTuple):
    """The strongest spatial pattern of filters.

    Attributes:
        pixels: ``(filters, pixels)``: without its mean, at length 1; zeros where none is known.
        share: ``(filters,)``: of the filter's variance, in [0, 1].
    """

    pixels: np.ndarray
    share: np.ndarray


def strongest_pattern(filters: Centred) -> Pattern:
    r"""Collapse the channels of centred filters to one spatial pattern each.

    A filter is a matrix W of pixels by channels; its best rank-1 approximation
    :math:`\sigma_1 u v^T` is one pattern u in one mixture v of the channels (Eckart and Young
    1936). Its share is :math:`\sigma_1^2 / \sum \sigma_i^2`. Shuffling pixels shuffles u alike.
    """
    pixels = filters.pixels
    count, size, channels = pixels.shape
    if channels == 1 or not count:
        return Pattern(pixels[:, :, :1].reshape(count, size), filters.known.astype(np.float64))
    # The smaller of the two products: 3x3 for a colour filter.
    pixels = fewer_channels(pixels)
    strengths, mixtures = np.linalg.eigh(pixels.transpose(0, 2, 1) @ pixels)
    pattern = (pixels @ mixtures[:, :, -1:])[:, :, 0]
    share = np.where(filters.known, np.clip(strengths[:, -1], 0.0, 1.0), 0.0)
    length = np.linalg.norm(pattern, axis=1)
    usable = filters.known & (length > 0)
    pattern = np.where(usable[:, np.newaxis], pattern, 0.0)
    return Pattern(pattern / np.where(usable, length, 1.0)[:, np.newaxis], share)
