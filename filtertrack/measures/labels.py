"""What each filter has become: edge, blob, colour blob, something else, or nothing."""

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np

from filtertrack.measures.content import colour_share, flat_share
from filtertrack.measures.spatial_structure import Structure, can_be_tested, structure
from filtertrack.measures.templates import Fits, fit_templates
from filtertrack.measures.vectors import by_blocks

Label = Literal["edge", "blob", "colour blob", "other structure", "unstructured", "unknown"]
LABELS: tuple[Label, ...] = (
    "edge",
    "blob",
    "colour blob",
    "other structure",
    "unstructured",
    "unknown",
)

_EXTREME = 2 / 600
_BY_CHANCE = 1 / 1000
"""How often roughness, and each of the other two tests, may take noise for structure: together, as
Keras initialises filters, in fewer than 1 of 100."""
_GOOD_FIT = 0.4
"""How much better than chance a template has to fit to give a filter its name."""
_MOSTLY = 0.5
_FEWEST_PIXELS = 25
"""Below 5x5 even a clear pattern is often no smoother than a lucky arrangement of its weights."""

_SAMPLES = 50_000
_FEW_WEIGHTS = 64


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


def label(kernels: np.ndarray, *, rgb: bool = True) -> Labels:
    """Say what each filter has become.

    Structured is a filter that is smoother or rougher than all of 599 shuffles of its own weights,
    or fits a Gabor or a blob better than 999 of 1000 filters of noise and than its own shuffles, or
    is mostly one flat tone where noise is not. Fewer than 1 in 100 random filters pass any of these
    tests, as Keras's initialisers draw them: independent weights around zero, normal, truncated or
    uniform, or orthogonal.

    A structured filter takes its name from the template that fits its strongest pattern better: an
    ``"edge"`` (also a bar or stripes) from the Gabor, a ``"blob"`` from a Gaussian or a difference
    of Gaussians, a ``"colour blob"`` if more than half of it is colour. Where neither explains 40 %
    of what chance leaves, it is ``"other structure"``; so is a flat tone.

    What is not structured is ``"unstructured"``; but ``"unknown"`` where it has fewer than 25
    pixels, so that a clear pattern could have gone unnoticed, or values that are not finite, or
    where the layer is too large to be tested.

    Args:
        kernels: Array of shape ``(filters, height, width, channels)``.
        rgb: Whether three channels are red, green and blue.

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
    flat = flat_share(kernels)
    colour = colour_share(kernels) if rgb else np.full(len(kernels), np.nan)
    gabor, blob = np.nan_to_num(fits.gabor.excess), np.nan_to_num(fits.blob.excess)
    pixels = kernels.shape[1] * kernels.shape[2]
    patterned = (smooth.p_value <= _EXTREME) | (fits.p_value <= _BY_CHANCE)
    mostly_flat = flat >= max(_MOSTLY, _flat_by_chance(pixels, kernels.shape[3]))
    named = patterned & (np.maximum(gabor, blob) >= _GOOD_FIT)
    (finite,) = by_blocks(lambda part: (np.isfinite(part).all(axis=(1, 2, 3)),), kernels)
    structured = (patterned | mostly_flat) & finite
    conditions: dict[Label, np.ndarray] = {
        "edge": named & (gabor >= blob),
        "colour blob": named & (colour > _MOSTLY),
        "blob": named,
        "other structure": structured,
        "unstructured": finite & (pixels >= _FEWEST_PIXELS) & can_be_tested(kernels.shape),
    }
    names = np.select(list(conditions.values()), list(conditions), "unknown")
    return Labels(names, structured, smooth, fits, colour, flat)


@lru_cache(maxsize=256)
def _flat_by_chance(pixels: int, channels: int) -> float:
    """Return the flat share that noise, normal or uniform, exceeds once in 1000 filters.

    Of normal weights it has a beta distribution: squares along given directions, over all of them.
    Many weights behave alike whatever their distribution; few are simulated.
    """
    if pixels < 2 or not channels:
        return math.inf
    rng = np.random.default_rng(0)
    normal = rng.beta(channels / 2, channels * (pixels - 1) / 2, _SAMPLES)
    shares = [normal]
    if pixels * channels <= _FEW_WEIGHTS:
        shares.append(flat_share(rng.uniform(-1, 1, (_SAMPLES, pixels, 1, channels))))
    return max(float(np.quantile(each, 1 - _BY_CHANCE)) for each in shares)
