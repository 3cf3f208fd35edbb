"""Classification of filters: edge, blob, colour blob, fine grating, and those without a shape."""

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np

from filtertrack.measures.beta_distribution import beta_quantile
from filtertrack.measures.content import colour_share, flat_share
from filtertrack.measures.spatial_structure import Structure, can_be_tested, structure
from filtertrack.measures.templates import Fits, fit_templates
from filtertrack.measures.vectors import by_blocks, compact

Label = Literal[
    "edge",
    "blob",
    "colour blob",
    "fine grating",
    "other structure",
    "unstructured",
    "unknown",
]
LABELS: tuple[Label, ...] = (
    "edge",
    "blob",
    "colour blob",
    "fine grating",
    "other structure",
    "unstructured",
    "unknown",
)

_ROUGHNESS_LEVEL = 2 / 600
"""Significance level of the roughness test: the lowest p-value that 599 shuffles allow."""
_CHANCE_LEVEL = 1 / 1000
"""Significance level of both template tests and of the flat share. All four tests together call
fewer than 1 in 100 filters structured that are drawn as Keras initialises them."""
_GOOD_FIT = 0.4
"""Lowest ``excess`` of a template that gives a filter its label."""
_MOSTLY = 0.5
"""Share of colour, or of a flat tone, from which on a filter counts as coloured, or flat."""
_FEWEST_PIXELS = 25
"""Pixels from which on a filter can be called unstructured: in fewer, even a clear pattern is
often no smoother than a random arrangement of its weights."""

_FEW_WEIGHTS = 64
"""Weights up to which uniform filters differ from normal ones in their flat share."""
_NEARLY_MOSTLY = 0.4
"""Flat share of normal filters below which that of uniform ones stays below ``_MOSTLY``."""
_SIMULATED_WEIGHTS, _SIMULATED_AT_ONCE = 1 << 22, 1 << 20
"""Weights of all uniform filters that are simulated, and of those in memory at once."""


@dataclass(frozen=True, slots=True, eq=False)
class Labels:
    """The label of each filter, and the measures it is based on.

    Attributes:
        names: ``(filters,)``: one of ``LABELS`` each.
        structured: ``(filters,)``: whether the filter differs from noise, so that its label is
            neither ``"unstructured"`` nor ``"unknown"``.
        structure: Roughness, compared with shuffled weights.
        fits: Gabor, blob and fine grating, compared with shuffled weights and noise.
        colour: ``(filters,)``: share of colour; NaN unless there are three channels.
        flat: ``(filters,)``: share of a flat tone.
    """

    names: np.ndarray
    structured: np.ndarray
    structure: Structure
    fits: Fits
    colour: np.ndarray
    flat: np.ndarray


def label(kernels: np.ndarray, *, rgb: bool = True, compacted: np.ndarray | None = None) -> Labels:
    """Label each filter.

    A filter is structured if it is smoother or rougher than all of 599 shuffles of its own weights,
    or fits a Gabor, a blob or a fine grating better than 999 of 1000 filters of noise and better
    than its own shuffles, or is mostly one flat tone, where noise is not. Fewer than 1 in 100
    random filters pass any of these tests if they are drawn as by Keras's initialisers: independent
    weights around zero (normal, truncated normal or uniform), or orthogonal filters.

    The label of a structured filter is that of the template that fits its strongest pattern better:
    ``"edge"`` (also a bar or stripes) for the Gabor, ``"blob"`` for a Gaussian or a difference of
    Gaussians, ``"colour blob"`` if more than half of it is colour, ``"fine grating"`` for stripes
    with a period of up to 2.4 pixels and for chequers. If no template explains 40 % of the variance
    beyond chance, a filter that is rougher than all its shuffles is a ``"fine grating"``, too;
    others, and a flat tone, are ``"other structure"``. In fewer than 25 pixels noise fits some fine
    grating, so only the roughness counts.

    Other filters are ``"unstructured"``; or ``"unknown"`` if they have fewer than 25 pixels (even a
    clear pattern may not be significant), values that are not finite, or a layer too large to test.

    Args:
        kernels: Array of shape ``(filters, height, width, channels)``.
        rgb: Whether three channels are red, green and blue.
        compacted: What ``compact`` returns for the filters, if it is at hand.

    Returns:
        The labels, and the measures they are based on.

    Example:
        >>> y, x = np.mgrid[-3:4, -3:4]
        >>> spot = np.exp(-(x**2 + y**2) / 4)
        >>> kernels = np.stack([np.cos(x + y), spot, np.random.default_rng(0).normal(size=(7, 7))])
        >>> label(kernels[..., np.newaxis]).names.tolist()
        ['edge', 'blob', 'unstructured']
    """
    patterns = compact(kernels) if compacted is None else compacted
    smooth, fits = structure(patterns), fit_templates(patterns)
    flat = flat_share(kernels)
    colour = colour_share(kernels) if rgb else np.full(len(kernels), np.nan)
    gabor, blob, grating = (
        np.nan_to_num(fit.excess) for fit in (fits.gabor, fits.blob, fits.grating)
    )
    shape = np.maximum(gabor, blob)
    pixels = kernels.shape[1] * kernels.shape[2]
    significant = smooth.p_value <= _ROUGHNESS_LEVEL
    fine = (
        (grating >= np.maximum(shape, _GOOD_FIT))
        & (significant | (fits.grating_p_value <= _CHANCE_LEVEL))
        & (pixels >= _FEWEST_PIXELS)
    )
    patterned = significant | (fits.p_value <= _CHANCE_LEVEL) | fine
    mostly_flat = flat >= max(_MOSTLY, _flat_by_chance(pixels, kernels.shape[3]))
    named = patterned & (shape >= _GOOD_FIT)
    rough = significant & (smooth.ratio > 1) & ~named
    (finite,) = by_blocks(lambda part: (np.isfinite(part).all(axis=(1, 2, 3)),), kernels)
    structured = (patterned | mostly_flat) & finite
    conditions: dict[Label, np.ndarray] = {
        "fine grating": fine | rough,
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
    """Return the flat share that 1 in 1000 filters of noise exceed, normal or uniform.

    The flat share of normal weights follows a beta distribution: it is the squared length of a
    random direction's projection on as many dimensions as there are channels. Many uniform weights
    behave like normal ones (central limit theorem); for few, the quantile is simulated with a fixed
    seed, if it can exceed the share that counts as mostly flat.
    """
    if pixels < 2 or not channels:
        return math.inf
    weights = pixels * channels
    normal = 1.0 - beta_quantile(_CHANCE_LEVEL, (weights - channels) / 2, channels / 2)
    if normal < _NEARLY_MOSTLY or weights > _FEW_WEIGHTS:
        return normal
    rng = np.random.default_rng(0)
    shape = (_SIMULATED_AT_ONCE // weights, pixels, 1, channels)
    shares = [
        flat_share(rng.uniform(-1, 1, shape))
        for _ in range(_SIMULATED_WEIGHTS // _SIMULATED_AT_ONCE)
    ]
    return max(normal, float(np.quantile(np.concatenate(shares), 1 - _CHANCE_LEVEL)))
