"""How well filters fit two templates: stripes under an envelope, and blobs.

A template bank holds one family of templates at many poses. The best fit of a filter is the one of
the bank that explains most of its variance. Small filters fit some template by chance, so the same
fit is made of each filter's own weights, shuffled, and of noise of the same size.
"""

import math
from collections.abc import Iterator
from functools import lru_cache, partial
from itertools import count
from typing import NamedTuple

import numpy as np

from filtertrack.measures.vectors import by_blocks, centred, leading_pattern

_SHUFFLES = 19
_NOISE, _NOISE_AT_ONCE = 10_000, 500
_SMALLEST = 3
"""Pixels a side, below which nothing has a shape."""

_DIRECTIONS, _WAVELENGTHS = 12, 6
_SHORTEST_WAVE, _LONGEST_WAVE = 2.5, 2.0
"""In pixels, and in sides of the filter: from fine stripes to a single edge."""
_ENVELOPES = ((0.35, 1.5), (0.35, 5.0), (0.6, 1.5))
"""Width across the stripes, in wavelengths, and length along them, in widths: edges and short bars,
long thin bars, a few stripes."""
_THINNEST = 0.7
_CENTRES = (-0.2, 0.0, 0.2)
"""In sides of the filter."""

_BLOB_WIDTHS, _NARROWEST_BLOB, _WIDEST_BLOB = 5, 0.6, 1 / 3.5
"""How many, and from how many pixels to how many sides of the filter."""
_SURROUNDS = (1.6, 2.5)
"""Width of a difference of Gaussians' surround, in widths of its centre."""
_MOST_CENTRES = 11

_FIELD = 0.45
"""Width of the envelope of stripes all over a filter, in its sides."""

_PATTERNS_AT_ONCE = 512
"""Few enough for what they explain to stay in cache, and many enough for the threads of BLAS, which
wait for each other in each product."""
_AT_ONCE = 1 << 19
"""Weights of templates made at once."""
_LARGEST_BANK = 1 << 24
"""Weights of a bank of Gabors, about: those of filters of 43x43 pixels. Larger ones are shrunk."""
_MOST_PRODUCTS = 1 << 39
"""Multiplications for a whole layer: about half a minute's."""

_PERFECT = 1e-6
"""What float32 leaves of 1 - R² where even shuffled weights fit perfectly."""


class Fit(NamedTuple):
    """How well filters fit the best template of one family.

    Attributes:
        r2: ``(filters,)``: the share of the variance of a filter's strongest pattern that the
            template explains, in [0, 1].
        chance: ``(filters,)``: the mean of the same over the filter's own weights, shuffled.
        size: ``(filters,)``: in pixels, to the nearest of the bank: the wavelength of a Gabor, the
            width (standard deviation) of a blob's centre.
        degrees: ``(filters,)``: the direction of a Gabor's stripes, in [0, 180); NaN for a blob.
    """

    r2: np.ndarray
    chance: np.ndarray
    size: np.ndarray
    degrees: np.ndarray

    @property
    def excess(self) -> np.ndarray:
        """How much better than chance: 0 as good, 1 perfect; below 0 worse. ``(filters,)``."""
        return _excess(self.r2, self.chance)


class Fits(NamedTuple):
    """How well filters fit both families.

    Attributes:
        gabor: Stripes under an envelope.
        blob: A Gaussian or a difference of Gaussians.
        p_value: ``(filters,)``: the larger of how often noise of the same size, and how often the
            filter's own 19 shuffles, fit either family as well. 1 where nothing can be said.
    """

    gabor: Fit
    blob: Fit
    p_value: np.ndarray


class _Bank(NamedTuple):
    """Templates: ``weights`` of shape ``(parts * templates, pixels)``, each part orthonormal."""

    weights: np.ndarray
    parts: int
    size: np.ndarray
    degrees: np.ndarray


def fit_templates(kernels: np.ndarray, *, seed: int = 0) -> Fits:
    r"""Fit each filter's strongest pattern with Gabor functions and with blobs.

    A Gabor function is :math:`e^{-u^2/2\sigma^2 - v^2/2\tau^2} \cos(2\pi u/\lambda + \varphi)`
    (Gabor 1946; of simple cells, Jones and Palmer 1987), u across its stripes, v along them; phase
    and amplitude are free, so each is a pair, cosine and sine. 12 directions, 6 wavelengths from
    2.5 pixels to two sides of the filter, 3 envelopes (an edge or a short bar, a long thin bar, a
    few stripes), 9 centres; and stripes all over the filter, in frequencies half a cycle a side
    apart. A blob is a Gaussian, or a difference of two whose volumes are the same and whose widths
    are as 1.6 (Marr and Hildreth 1980) or 2.5 to 1; centres on half pixels in the middle half, 5
    widths. Every template and filter is without its mean: a flat tone explains nothing.

    Of several channels the strongest pattern is fitted (rank 1). R² is that of the best of the
    bank, for filters, shuffles and noise alike. Between two poses of the bank the true best is
    higher: of perfect Gabors of 5x5 by up to 0.15, of 11x11 mostly by less than 0.15, some by 0.4.

    Filters of more than about 43x43 pixels are shrunk first, by the mean of squares of so many
    pixels a side that they are smaller; noise stays noise. Stripes finer than such a square are
    lost.

    Args:
        kernels: Array of shape ``(filters, height, width, channels)``.
        seed: Of the shuffles; 19 of each filter.

    Returns:
        The fits; NaN where nothing can be said: less than three pixels a side, a constant filter,
        values that are not finite, a layer too large to be fitted (see ``can_be_fitted``).

    Example:
        >>> y, x = np.mgrid[-3:4, -3:4]
        >>> spot = np.exp(-(x**2 + y**2) / 4)[np.newaxis, :, :, np.newaxis]
        >>> fits = fit_templates(spot)
        >>> fits.blob.r2.round(2).tolist(), fits.gabor.r2.round(2).tolist()
        ([1.0], [0.63])
    """
    square = _square(*kernels.shape[1:3])
    height, width = (side // square for side in kernels.shape[1:3])
    patterns, known = np.empty(0), np.zeros(len(kernels), bool)
    if can_be_fitted(kernels.shape):
        patterns, known = by_blocks(partial(_patterns, square=square), kernels)
    if not known.any():
        nothing = np.full(len(kernels), np.nan)
        fit = Fit(nothing, nothing, nothing, nothing)
        return Fits(fit, fit, np.ones(len(kernels)))
    orders = np.random.default_rng(seed).permuted(
        np.tile(np.arange(height * width), (_SHUFFLES, 1)), axis=1
    )
    banks = _gabors(height, width), _blobs(height, width)
    found, shuffled = zip(*(_fit(bank, patterns, orders, known) for bank in banks), strict=True)
    best = np.maximum(found[0].excess, found[1].excess)
    null = np.maximum(*(_excess(r2, fit.chance) for r2, fit in zip(shuffled, found, strict=True)))
    by_noise = _noise_p_value(height, width, best)
    by_shuffles = (null >= best).mean(axis=0)
    p_value = np.where(known, np.maximum(by_noise, by_shuffles), 1.0)
    gabor, blob = (fit._replace(size=fit.size * square) for fit in found)
    return Fits(gabor, blob, p_value)


def can_be_fitted(shape: tuple[int, ...]) -> bool:
    """Whether filters have a shape to be fitted, and can all be in about half a minute.

    Args:
        shape: ``(filters, height, width, channels)``.
    """
    filters, *sides, _ = shape
    square = _square(*sides)
    height, width = (side // square for side in sides)
    products = filters * (1 + _SHUFFLES) * _bank_size(height, width)
    return is_a_shape(height, width) and products <= _MOST_PRODUCTS


def is_a_shape(height: int, width: int) -> bool:
    """Whether so many pixels can have a shape."""
    return min(height, width) >= _SMALLEST


def _bank_size(height: int, width: int) -> int:
    """Return about how many weights a bank of Gabors has."""
    posed = _DIRECTIONS * _WAVELENGTHS * len(_ENVELOPES) * len(_CENTRES) ** 2
    all_over = math.pi / 2 * (2 * max(height, width) / _SHORTEST_WAVE) ** 2
    return round(2 * (posed + all_over) * height * width)


def _square(height: int, width: int) -> int:
    """Return how many pixels a side become one, so that a bank is not too large."""
    return next(
        square
        for square in count(1)
        if _bank_size(height // square, width // square) <= _LARGEST_BANK
    )


def _patterns(kernels: np.ndarray, square: int) -> tuple[np.ndarray, np.ndarray]:
    """Return some filters' strongest patterns, as ``float32`` rows, and which are known."""
    filters, height, width, channels = kernels.shape
    if square > 1:
        finite = np.isfinite(kernels).all(axis=(1, 2, 3))
        down, across = height // square, width // square
        # From the middle: what is left over at the edges is less than a square.
        top, left = (height - down * square) // 2, (width - across * square) // 2
        middle = kernels[:, top : top + down * square, left : left + across * square]
        squares = middle.reshape(filters, down, square, across, square, channels)
        with np.errstate(invalid="ignore", over="ignore"):
            kernels = squares.mean(axis=(2, 4), dtype=np.float64)
        kernels[~finite] = np.nan
    centre = centred(kernels)
    return leading_pattern(centre).pixels.astype(np.float32), centre.known


def _fit(
    bank: _Bank, patterns: np.ndarray, orders: np.ndarray, known: np.ndarray
) -> tuple[Fit, np.ndarray]:
    """Return the best fits of patterns, and the R² of each of their shuffles."""
    r2, number = _best(bank, patterns), _which(bank, patterns)
    shuffled = np.empty((len(patterns), len(orders)))
    step = max(1, _PATTERNS_AT_ONCE // len(orders))
    for start in range(0, len(patterns), step):
        block = patterns[start : start + step, orders].reshape(-1, patterns.shape[1])
        shuffled[start : start + step] = _best(bank, block).reshape(-1, len(orders))
    nan = np.where(known, 0.0, np.nan)
    fit = Fit(
        r2 + nan, shuffled.mean(axis=1) + nan, bank.size[number] + nan, bank.degrees[number] + nan
    )
    return fit, shuffled.T


def _best(bank: _Bank, patterns: np.ndarray) -> np.ndarray:
    """Return the most that one template explains of each pattern of length 1."""
    best = np.concatenate([block.max(axis=0) for block in _explained(bank, patterns)])
    return best.astype(np.float64).clip(max=1.0)


def _which(bank: _Bank, patterns: np.ndarray) -> np.ndarray:
    """Return the number of the template that explains most of each pattern."""
    return np.concatenate([block.argmax(axis=0) for block in _explained(bank, patterns)])


def _explained(bank: _Bank, patterns: np.ndarray) -> Iterator[np.ndarray]:
    """Yield what each template explains of some patterns, block by block: a pattern a column."""
    for start in range(0, len(patterns), _PATTERNS_AT_ONCE):
        explained: np.ndarray = bank.weights @ patterns[start : start + _PATTERNS_AT_ONCE].T
        np.square(explained, out=explained)
        templates = len(explained) // bank.parts
        total = explained[:templates]
        for part in range(1, bank.parts):
            total += explained[part * templates : (part + 1) * templates]
        yield total


def _excess(r2: np.ndarray, chance: np.ndarray) -> np.ndarray:
    excess: np.ndarray = (r2 - chance) / np.maximum(1.0 - chance, _PERFECT)
    return excess


def _noise_p_value(height: int, width: int, best: np.ndarray) -> np.ndarray:
    """Return how likely noise fits as well: at best 1 / 10,001."""
    null = _noise_fits(height, width)
    above = len(null) - np.searchsorted(null, np.nan_to_num(best, nan=np.inf), side="left")
    p_value: np.ndarray = (1 + above) / (len(null) + 1)
    return p_value


@lru_cache(maxsize=32)
def _noise_fits(height: int, width: int) -> np.ndarray:
    """Return how much better than chance the better family fits noise: ascending."""
    rng = np.random.default_rng(0)
    banks = _gabors(height, width), _blobs(height, width)
    fits: list[list[np.ndarray]] = [[], []]
    for number in range(_NOISE // _NOISE_AT_ONCE):
        draw = rng.normal if number % 2 else partial(rng.uniform, -1.0, 1.0)  # as initialisers do
        noise = np.asarray(draw(size=(_NOISE_AT_ONCE, height * width)), np.float32)
        noise -= noise.mean(axis=1, keepdims=True)
        noise /= np.linalg.norm(noise, axis=1, keepdims=True)
        for bank, found in zip(banks, fits, strict=True):
            found.append(_best(bank, noise))
    r2 = [np.concatenate(found) for found in fits]
    return np.sort(np.maximum(*(_excess(each, each.mean()) for each in r2)))


@lru_cache(maxsize=3)
def _gabors(height: int, width: int) -> _Bank:
    side = max(height, width)
    waves = np.geomspace(_SHORTEST_WAVE, _LONGEST_WAVE * side, _WAVELENGTHS)
    pose = np.meshgrid(
        np.arange(_DIRECTIONS) * np.pi / _DIRECTIONS,
        waves,
        np.arange(len(_ENVELOPES)),
        np.array(_CENTRES) * width,
        np.array(_CENTRES) * height,
        indexing="ij",
    )
    angle, wave, kind, left, top = (each.ravel() for each in pose)
    across, along = np.array(_ENVELOPES)[kind.astype(np.intp)].T
    sigma = np.maximum(_THINNEST, across * np.minimum(wave, side))
    posed = np.stack([angle, wave, sigma, along * sigma, left, top])
    poses = np.concatenate([posed, _all_over(side)], axis=1)
    step = max(1, _AT_ONCE // (height * width))
    weights = np.empty((2, poses.shape[1], height * width), np.float32)
    for start in range(0, poses.shape[1], step):
        some = poses[:, start : start + step]
        weights[:, start : start + step] = _waves(height, width, some)
    return _Bank(weights.reshape(-1, height * width), 2, poses[1], np.degrees(poses[0]))


def _all_over(side: int) -> np.ndarray:
    """Return the poses of stripes all over a filter: ``(6, templates)``.

    Their frequencies are on a grid half a cycle a side apart: in between, stripes of a whole filter
    are hardly out of step.
    """
    count = int(side / _SHORTEST_WAVE * 2)
    down, right = np.mgrid[-count : count + 1, 0 : count + 1] / (2 * side)
    radius = np.hypot(down, right)
    half = (right > 0) | (down > 0)  # the other half are the same stripes
    some = half & (radius >= 1 / side) & (radius <= 1 / _SHORTEST_WAVE)
    angle = (np.arctan2(-down[some], right[some]) + np.pi / 2) % np.pi
    field, nothing = np.full(some.sum(), _FIELD * side), np.zeros(some.sum())
    return np.stack([angle, 1 / radius[some], field, field, nothing, nothing])


def _waves(height: int, width: int, poses: np.ndarray) -> np.ndarray:
    """Return cosine and sine waves under an envelope: ``(2, templates, pixels)``."""
    x, y = _coordinates(height, width)
    angle, wave, sigma, length, left, top = poses[:, :, np.newaxis]
    # Rows count downward, angles the other way.
    across = -np.sin(angle) * (x - left) - np.cos(angle) * (y - top)
    along = np.cos(angle) * (x - left) - np.sin(angle) * (y - top)
    window = np.exp(-(across**2) / (2 * sigma**2) - along**2 / (2 * length**2))
    turn = 2 * np.pi * across / wave
    return _orthonormal(window * np.cos(turn), window * np.sin(turn))


@lru_cache(maxsize=3)
def _blobs(height: int, width: int) -> _Bank:
    x, y = _coordinates(height, width)
    widths = np.geomspace(_NARROWEST_BLOB, _WIDEST_BLOB * max(height, width), _BLOB_WIDTHS)
    left, top, sigma = (
        each.reshape(-1, 1)
        for each in np.meshgrid(_middle(width), _middle(height), widths, indexing="ij")
    )
    square = (x - left) ** 2 + (y - top) ** 2
    centre = np.exp(-square / (2 * sigma**2))
    kinds = [centre] + [
        centre - np.exp(-square / (2 * (wider * sigma) ** 2)) / wider**2 for wider in _SURROUNDS
    ]
    size = np.tile(sigma[:, 0], len(kinds))
    return _Bank(_orthonormal(np.concatenate(kinds))[0], 1, size, np.full(len(size), np.nan))


def _coordinates(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Return where each pixel lies from the middle: to the right, and down; ``(1, pixels)``."""
    y, x = np.mgrid[:height, :width]
    return (x - (width - 1) / 2).reshape(1, -1), (y - (height - 1) / 2).reshape(1, -1)


def _middle(side: int) -> np.ndarray:
    """Return the places of blobs along a side: every half pixel of the middle half, or so."""
    half = (side - 1) // 2 / 2
    return np.linspace(-half, half, min(_MOST_CENTRES, round(4 * half) + 1))


def _orthonormal(*parts: np.ndarray) -> np.ndarray:
    """Return templates, ``(templates, pixels)`` each, as ``(parts, templates, pixels)``.

    Without their means, at length 1, and each part at right angles to the one before. What is next
    to nothing after that is nothing.
    """
    columns: list[np.ndarray] = []
    for part in parts:
        given = part - part.mean(axis=1, keepdims=True)
        left = given
        for before in columns:
            left = left - (left * before).sum(axis=1, keepdims=True) * before
        length = np.linalg.norm(left, axis=1, keepdims=True)
        enough = length > 1e-3 * np.linalg.norm(part, axis=1, keepdims=True)
        columns.append(np.where(enough, left / np.where(enough, length, 1.0), 0.0))
    return np.stack(columns).astype(np.float32)
