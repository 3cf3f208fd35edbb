"""What each filter has become: edge, blob, colour blob, something else, or nothing."""

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np

from filtertrack.measures.content import colour_share, flat_share
from filtertrack.measures.structure import Structure, structure
from filtertrack.measures.templates import Fits, fit_templates

Label = Literal["edge", "blob", "colour blob", "other structure", "unstructured", "unknown"]
LABELS: tuple[Label, ...] = (
    "edge",
    "blob",
    "colour blob",
    "other structure",
    "unstructured",
    "unknown",
)

_BY_CHANCE = 1 / 600
"""How often each of three tests may take noise for structure: together fewer than 1 in 100."""
_GOOD_FIT = 0.4
"""How much better than chance a template has to fit to give a filter its name."""
_MOSTLY = 0.5
_FEWEST_PIXELS = 25
"""Below 5x5 even a clear pattern is often no smoother than a lucky arrangement of its weights."""

_SAMPLES = 100_000


@dataclass(frozen=True, slots=True, eq=False)
class Labels:
    """What each filter has become, with the evidence beside it.

    Attributes:
        names: ``(filters,)``: one of ``LABELS`` each.
        structured: ``(filters,)``: whether it is more than noise: neither ``"unstructured"`` nor
            ``"unknown"``.
        structure: Roughness, against shuffled weights.
        fits: Gabor and blob, against shuffled weights and noise.
        colour: ``(filters,)``: share of colour; NaN where there are not three channels.
        flat: ``(filters,)``: share of a flat tone.
    """

    names: np.ndarray
    structured: np.ndarray
    structure: Structure
    fits: Fits
    colour: np.ndarray
    flat: np.ndarray


def label(kernels: np.ndarray) -> Labels:
    """Say what each filter has become.

    Structured is a filter that is smoother than all of 599 shuffles of its own weights, or fits a
    Gabor or a blob better than 599 of 600 filters of noise and than its own shuffles, or is mostly
    one flat tone where noise is not. Each test takes about 1 in 600 random filters for structured;
    fewer than 1 in 100 pass any of them, however they were initialised.

    A structured filter takes its name from the template that fits its strongest pattern better: an
    ``"edge"`` (also a bar or stripes) from the Gabor, a ``"blob"`` from a Gaussian or a difference
    of Gaussians, a ``"colour blob"`` if more than half of it is colour. Where neither explains 40 %
    of what chance leaves, it is ``"other structure"``; so is a flat tone.

    What is not structured is ``"unstructured"``; but ``"unknown"`` where it has fewer than 25
    pixels, so that a clear pattern could have gone unnoticed, or values that are not finite.

    Args:
        kernels: Array of shape ``(filters, height, width, channels)``.

    Returns:
        The labels, and what they rest on.

    Example:
        >>> y, x = np.mgrid[-3:4, -3:4]
        >>> spot = np.exp(-(x**2 + y**2) / 4)
        >>> kernels = np.stack([np.cos(x + y), spot, np.random.default_rng(0).normal(size=(7, 7))])
        >>> label(kernels[..., np.newaxis]).names.tolist()
        ['edge', 'blob', 'unstructured']
    """
    smooth, fits = structure(kernels), fit_templates(kernels)
    colour, flat = colour_share(kernels), flat_share(kernels)
    gabor, blob = np.nan_to_num(fits.gabor.excess), np.nan_to_num(fits.blob.excess)
    pixels = kernels.shape[1] * kernels.shape[2]
    patterned = (smooth.p_value <= _BY_CHANCE) | (fits.p_value <= _BY_CHANCE)
    mostly_flat = flat >= max(_MOSTLY, _flat_by_chance(pixels, kernels.shape[3]))
    named = patterned & (np.maximum(gabor, blob) >= _GOOD_FIT)
    finite = np.isfinite(kernels).all(axis=(1, 2, 3))
    structured = (patterned | mostly_flat) & finite
    conditions: dict[Label, np.ndarray] = {
        "edge": named & (gabor >= blob),
        "colour blob": named & (colour > _MOSTLY),
        "blob": named,
        "other structure": structured,
        "unstructured": finite & (pixels >= _FEWEST_PIXELS),
    }
    names = np.select(list(conditions.values()), list(conditions), "unknown")
    return Labels(names, structured, smooth, fits, colour, flat)


@lru_cache(maxsize=256)
def _flat_by_chance(pixels: int, channels: int) -> float:
    """Return the flat share that normal noise exceeds once in 600 filters.

    The squares of normal weights along given directions, over all of them, have a beta
    distribution.
    """
    if pixels < 2 or not channels:
        return math.inf
    rng = np.random.default_rng(0)
    shares = rng.beta(channels / 2, channels * (pixels - 1) / 2, _SAMPLES)
    return float(np.quantile(shares, 1 - _BY_CHANCE))
