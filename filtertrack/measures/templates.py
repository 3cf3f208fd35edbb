"""Template fits: R² of the best Gabor function, blob and fine grating for each filter.

A template bank holds one family of templates in many poses (direction, size, position). A filter's
best fit is the template that explains most of its variance. Small filters fit some template by
chance, so each filter's own weights, shuffled, and noise of the same size are fitted as well.
"""

import math
from collections.abc import Iterator, Sequence
from functools import lru_cache, partial
from itertools import count
from typing import NamedTuple

import numpy as np

from filtertrack.measures.vectors import by_blocks, centred, leading_pattern

_SHUFFLES = 19
_NOISE, _NOISE_AT_ONCE = 10_000, 500
_SHORTEST_SIDE = 3
"""Pixels along each side from which on filters are fitted."""

_DIRECTIONS, _WAVELENGTHS = 12, 6
_SHORTEST_WAVE, _LONGEST_WAVE = 2.5, 2.0
"""In pixels, and in sides of the filter: from narrow stripes to a single edge."""
_LONGEST_FINE_WAVE = 2.4
"""Period of fine gratings, at most, in pixels: less than that of the narrowest stripes. In between
the nearer template fits better."""
_ENVELOPES = ((0.35, 1.5), (0.35, 5.0), (0.6, 1.5))
"""Width across the stripes, in wavelengths, and length along them, in widths: edges and short bars,
long thin bars, a few stripes."""
_THINNEST = 0.7
"""Smallest width across the stripes, in pixels."""
_CENTRES = (-0.2, 0.0, 0.2)
"""Centres of Gabors along each side, in sides of the filter."""
_GRATING_ENVELOPE = 0.45
"""Width of the envelope of gratings (stripes all over a filter), in its sides."""

_BLOB_WIDTHS = 5
_NARROWEST_BLOB, _WIDEST_BLOB = 0.6, 1 / 3.5
"""In pixels, and in sides of the filter."""
_SURROUNDS = (1.6, 2.5)
"""Width of the surround of a difference of Gaussians, in widths of its centre."""
_MOST_CENTRES = 11
"""Centres of blobs along each side, at most."""

_PATTERNS_AT_ONCE = 48
"""Patterns that are fitted at once: few enough for their products to stay in the CPU's cache."""
_ONE_THREAD = 1 << 18
"""Multiplications of a matrix product up to which OpenBLAS uses one thread."""
_FEWEST_ROWS = 32
"""Rows of such a product, at least: with fewer, calls take longer than threads that wait."""
_SHUFFLED_AT_ONCE = 1 << 18
"""Weights of shuffled patterns at once."""
_AT_ONCE = 1 << 19
"""Weights of templates computed at once."""
_LARGEST_BANK = 1 << 24
"""Weights of a bank of Gabors, about: those for filters of 43x43 pixels. Larger ones are shrunk."""
_MOST_PRODUCTS = 1 << 39
"""Multiplications for a whole layer, at most: about half a minute."""

_PERFECT = 1e-6
"""Smallest 1 - R², if even shuffled weights fit perfectly: the precision of float32."""
_NO_TEMPLATE = 1e-3
"""Length of a template after centring, as a share of that before, up to which it is dropped."""
_ROUNDING = 1e-9
"""Length of a template that is a rounding error, such as the sine of a chequerboard."""


class Fit(NamedTuple):
    """Fits of the best template of one family.

    Attributes:
        r2: ``(filters,)``: the share of the variance of a filter's strongest pattern that the
            template explains, in [0, 1].
        chance: ``(filters,)``: the mean R² of the filter's own weights, shuffled.
        size: ``(filters,)``: in pixels, to the nearest in the bank: the wavelength of a Gabor, the
            width (standard deviation) of a blob's centre.
        degrees: ``(filters,)``: the direction of a Gabor's stripes, in [0, 180); NaN for a blob.
    """

    r2: np.ndarray
    chance: np.ndarray
    size: np.ndarray
    degrees: np.ndarray

    @property
    def excess(self) -> np.ndarray:
        """R² beyond chance: 0 is as good as chance, 1 perfect, below 0 worse. ``(filters,)``."""
        return _excess(self.r2, self.chance)


class Fits(NamedTuple):
    """Fits of all families.

    Attributes:
        gabor: Stripes under an envelope.
        blob: A Gaussian or a difference of Gaussians.
        p_value: ``(filters,)``: the share of noise of the same size, or of the filter's own 19
            shuffles, that fits a Gabor or a blob as well; the larger of the two. 1 if nothing is
            fitted.
        grating: Stripes or chequers all over the filter, with a period of up to 2.4 pixels. NaN for
            filters of more than about 43x43 pixels.
        grating_p_value: ``(filters,)``: the same as ``p_value``, for fine gratings.
    """

    gabor: Fit
    blob: Fit
    p_value: np.ndarray
    grating: Fit
    grating_p_value: np.ndarray


class _Bank(NamedTuple):
    """Templates of one family.

    Attributes:
        weights: ``(parts * templates, pixels)``: the orthonormal parts of each template, such as
            cosine and sine; a template explains the sum of what its parts explain.
        parts: Number of parts.
        size: ``(templates,)``: in pixels.
        degrees: ``(templates,)``: direction, or NaN.
    """

    weights: np.ndarray
    parts: int
    size: np.ndarray
    degrees: np.ndarray


def fit_templates(kernels: np.ndarray, *, seed: int = 0) -> Fits:
    r"""Fit each filter's strongest pattern with Gabor functions, blobs and fine gratings.

    A Gabor function is :math:`e^{-u^2/2\sigma^2 - v^2/2\tau^2} \cos(2\pi u/\lambda + \varphi)`
    (Gabor 1946; of simple cells, Jones and Palmer 1987), u across its stripes, v along them. Phase
    and amplitude are free, so each template is a pair, cosine and sine. The bank has 12 directions,
    6 wavelengths from 2.5 pixels to two sides of the filter, 3 envelopes (an edge or a short bar, a
    long thin bar, a few stripes) and 9 centres; and gratings all over the filter, in frequencies
    half a cycle per side apart. A blob is a Gaussian, or a difference of two Gaussians of the same
    volume whose widths have the ratio 1.6 (Marr and Hildreth 1980) or 2.5; 5 widths, and centres on
    half pixels in the middle half. Fine gratings have the highest frequencies, up to half a cycle
    per pixel along each side: stripes with a period of up to 2.4 pixels, and chequerboards. The
    means of templates and filters are subtracted.

    Of several channels the strongest pattern is fitted (rank 1). R² is that of the best template in
    the bank, for filters, shuffles and noise alike. Between two poses of the bank the true best fit
    is higher: for perfect Gabors of 5x5 by up to 0.15, of 11x11 mostly by less than 0.15, for some
    by 0.4.

    Filters of more than about 43x43 pixels are shrunk first, by averaging squares of pixels; noise
    stays noise. Stripes finer than such a square are lost, so fine gratings are not fitted then.

    Args:
        kernels: Array of shape ``(filters, height, width, channels)``.
        seed: Seed of the shuffles, 19 for each filter.

    Returns:
        The fits; NaN for fewer than three pixels along a side, a constant filter, values that are
        not finite, and a layer too large to be fitted (see ``can_be_fitted``).

    Example:
        >>> y, x = np.mgrid[-3:4, -3:4]
        >>> spot = np.exp(-(x**2 + y**2) / 4)[np.newaxis, :, :, np.newaxis]
        >>> fits = fit_templates(spot)
        >>> fits.blob.r2.round(2).tolist(), fits.gabor.r2.round(2).tolist()
        ([1.0], [0.63])
    """
    factor = _shrink_factor(*kernels.shape[1:3])
    height, width = (side // factor for side in kernels.shape[1:3])
    patterns, known = np.empty(0), np.zeros(len(kernels), bool)
    if can_be_fitted(kernels.shape):
        patterns, known = by_blocks(partial(_patterns, factor=factor), kernels)
    if not known.any():
        nothing = np.full(len(kernels), np.nan)
        fit = Fit(nothing, nothing, nothing, nothing)
        return Fits(fit, fit, np.ones(len(kernels)), fit, np.ones(len(kernels)))
    orders = np.random.default_rng(seed).permuted(
        np.tile(np.arange(height * width), (_SHUFFLES, 1)), axis=1
    )
    banks = _banks(height, width)
    fits, shuffled = [], _shuffled_fits(banks, patterns, orders)
    for bank, r2 in zip(banks, shuffled, strict=True):
        fits.append(_fit(bank, patterns, r2.mean(axis=0), known))
    best = _shape_and_grating([fit.excess for fit in fits])
    shuffles = _shape_and_grating(
        [_excess(r2, fit.chance) for r2, fit in zip(shuffled, fits, strict=True)]
    )
    shape_p_value, grating_p_value = (
        np.where(known, np.maximum(_share_above(noise, own), (null >= own).mean(axis=0)), 1.0)
        for own, null, noise in zip(best, shuffles, _noise_fits(height, width), strict=True)
    )
    gabor, blob, grating = (fit._replace(size=fit.size * factor) for fit in fits)
    if factor > 1:
        grating = Fit(*(np.full_like(values, np.nan) for values in grating))
        grating_p_value = np.ones(len(kernels))
    return Fits(gabor, blob, shape_p_value, grating, grating_p_value)


def can_be_fitted(shape: tuple[int, ...]) -> bool:
    """Return whether a layer's filters can be fitted, in about half a minute at most.

    Args:
        shape: ``(filters, height, width, channels)``.
    """
    filters, *sides, _ = shape
    factor = _shrink_factor(*sides)
    height, width = (side // factor for side in sides)
    products = filters * (1 + _SHUFFLES) * _bank_size(height, width)
    return is_a_shape(height, width) and products <= _MOST_PRODUCTS


def is_a_shape(height: int, width: int) -> bool:
    """Return whether filters of that size have enough pixels along both sides to be fitted."""
    return min(height, width) >= _SHORTEST_SIDE


def _bank_size(height: int, width: int) -> int:
    """Return the approximate number of weights in a bank of Gabors."""
    posed = _DIRECTIONS * _WAVELENGTHS * len(_ENVELOPES) * len(_CENTRES) ** 2
    gratings = math.pi / 2 * (2 * max(height, width) / _SHORTEST_WAVE) ** 2
    return round(2 * (posed + gratings) * height * width)


def _shrink_factor(height: int, width: int) -> int:
    """Return the side of the squares of pixels to average, so that a bank is not too large."""
    return next(
        factor
        for factor in count(1)
        if _bank_size(height // factor, width // factor) <= _LARGEST_BANK
    )


def _patterns(kernels: np.ndarray, factor: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the strongest patterns of some filters, and which of them have one.

    Returns:
        ``float32`` array of shape ``(filters, pixels)``, rows of length 1, or zeros for a filter
        without a pattern; and a boolean array of shape ``(filters,)``.
    """
    centre = centred(_shrunk(kernels, factor) if factor > 1 else kernels)
    patterns = leading_pattern(centre.pixels)
    length = np.linalg.norm(patterns, axis=1, keepdims=True)
    patterns /= np.where(length > 0, length, 1.0)
    return patterns.astype(np.float32), centre.known


def _shrunk(kernels: np.ndarray, factor: int) -> np.ndarray:
    """Average squares of pixels; a filter that is not finite becomes NaN throughout."""
    filters, height, width, channels = kernels.shape
    down, across = height // factor, width // factor
    # From the middle: less than a square is left out at the borders.
    top, left = (height - down * factor) // 2, (width - across * factor) // 2
    middle = kernels[:, top : top + down * factor, left : left + across * factor]
    squares = middle.reshape(filters, down, factor, across, factor, channels)
    with np.errstate(invalid="ignore", over="ignore"):
        means: np.ndarray = squares.mean(axis=(2, 4), dtype=np.float64)
    means[~np.isfinite(kernels).all(axis=(1, 2, 3))] = np.nan
    return means


def _fit(bank: _Bank, patterns: np.ndarray, chance: np.ndarray, known: np.ndarray) -> Fit:
    """Return the best fits of patterns, and chance beside them; NaN where there is no pattern."""
    r2, number = np.empty(len(patterns)), np.empty(len(patterns), np.intp)
    for part, explained in _explained(bank, patterns):
        number[part] = explained.argmax(axis=0)
        r2[part] = np.take_along_axis(explained, number[np.newaxis, part], axis=0)
    nan = np.where(known, 0.0, np.nan)
    return Fit(
        r2.clip(max=1.0) + nan, chance + nan, bank.size[number] + nan, bank.degrees[number] + nan
    )


def _shuffled_fits(
    banks: Sequence[_Bank], patterns: np.ndarray, orders: np.ndarray
) -> list[np.ndarray]:
    """Return the largest R² of shuffled patterns for each bank: ``(shuffles, filters)``."""
    found = [np.empty((len(patterns), len(orders))) for _ in banks]
    step = max(1, _SHUFFLED_AT_ONCE // orders.size)
    for start in range(0, len(patterns), step):
        shuffled = patterns[start : start + step].take(orders, axis=1)
        for bank, r2 in zip(banks, found, strict=True):
            best = _best_r2(bank, shuffled.reshape(-1, patterns.shape[1]))
            r2[start : start + step] = best.reshape(-1, len(orders))
    return [r2.T for r2 in found]


def _best_r2(bank: _Bank, patterns: np.ndarray) -> np.ndarray:
    """Return the largest R² of any template for each pattern of length 1."""
    best = np.empty(len(patterns))
    for part, explained in _explained(bank, patterns):
        best[part] = explained.max(axis=0)
    return best.clip(max=1.0)


def _explained(bank: _Bank, patterns: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
    """Yield R² of all templates (rows) for ranges of patterns (columns), valid until the next."""
    rows = len(bank.weights)
    step = min(len(patterns), _PATTERNS_AT_ONCE)
    products = np.empty(rows * step, np.float32)  # new memory for each range would cost page faults
    templates = rows // bank.parts
    for start in range(0, len(patterns), step):
        part = slice(start, min(start + step, len(patterns)))
        explained = products[: rows * (part.stop - start)].reshape(rows, -1)
        _multiply(bank.weights, patterns[part].T, explained)
        np.square(explained, out=explained)
        total = explained[:templates]
        for other in range(1, bank.parts):
            total += explained[other * templates : (other + 1) * templates]
        yield part, total


def _multiply(left: np.ndarray, right: np.ndarray, out: np.ndarray) -> None:
    """Multiply two matrices as products of some rows, each too small for a second thread.

    Threads of BLAS wait for each other by computing. While a training or another program uses the
    cores, one large product took twenty times as long as these, and several times the CPU time.
    """
    inner, columns = right.shape
    rows = _ONE_THREAD // (inner * columns)
    if rows < _FEWEST_ROWS:
        np.matmul(left, right, out=out)
        return
    whole = len(left) // rows * rows
    np.matmul(
        left[:whole].reshape(-1, rows, inner), right, out=out[:whole].reshape(-1, rows, columns)
    )
    np.matmul(left[whole:], right, out=out[whole:])


def _excess(r2: np.ndarray, chance: np.ndarray) -> np.ndarray:
    excess: np.ndarray = (r2 - chance) / np.maximum(1.0 - chance, _PERFECT)
    return excess


def _shape_and_grating(excess: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Return the excess of the better of Gabor and blob, and that of fine gratings."""
    gabor, blob, grating = excess
    return np.maximum(gabor, blob), grating


def _share_above(noise: np.ndarray, best: np.ndarray) -> np.ndarray:
    """Return the share of noise, ascending, that fits as well; at least 1 / 10,001."""
    above = len(noise) - np.searchsorted(noise, np.nan_to_num(best, nan=np.inf), side="left")
    share: np.ndarray = (1 + above) / (len(noise) + 1)
    return share


@lru_cache(maxsize=32)
def _noise_fits(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the excess of filters of noise, ascending: see ``_shape_and_grating``."""
    rng = np.random.default_rng(0)
    banks = _banks(height, width)
    fits: list[list[np.ndarray]] = [[] for _ in banks]
    for number in range(_NOISE // _NOISE_AT_ONCE):
        # Half normal, half uniform, as Keras's initialisers draw them.
        draw = rng.normal if number % 2 else partial(rng.uniform, -1.0, 1.0)
        noise = np.asarray(draw(size=(_NOISE_AT_ONCE, height * width)), np.float32)
        noise -= noise.mean(axis=1, keepdims=True)
        noise /= np.linalg.norm(noise, axis=1, keepdims=True)
        for bank, found in zip(banks, fits, strict=True):
            found.append(_best_r2(bank, noise))
    r2 = [np.concatenate(found) for found in fits]
    shape, grating = _shape_and_grating([_excess(each, each.mean()) for each in r2])
    return np.sort(shape), np.sort(grating)


def _banks(height: int, width: int) -> tuple[_Bank, _Bank, _Bank]:
    """Return the templates of Gabors, blobs and fine gratings."""
    return _gabors(height, width), _blobs(height, width), _fine_gratings(height, width)


@lru_cache(maxsize=3)
def _gabors(height: int, width: int) -> _Bank:
    side = max(height, width)
    waves = np.geomspace(_SHORTEST_WAVE, _LONGEST_WAVE * side, _WAVELENGTHS)
    grid = np.meshgrid(
        np.arange(_DIRECTIONS) * np.pi / _DIRECTIONS,
        waves,
        np.arange(len(_ENVELOPES)),
        np.array(_CENTRES) * width,
        np.array(_CENTRES) * height,
        indexing="ij",
    )
    angle, wave, kind, left, top = (each.ravel() for each in grid)
    across, along = np.array(_ENVELOPES)[kind.astype(np.intp)].T
    sigma = np.maximum(_THINNEST, across * np.minimum(wave, side))
    posed = np.stack([angle, wave, sigma, along * sigma, left, top])
    return _stripes(height, width, np.concatenate([posed, _gratings(side, fine=False)], axis=1))


@lru_cache(maxsize=3)
def _fine_gratings(height: int, width: int) -> _Bank:
    return _stripes(height, width, _gratings(max(height, width), fine=True))


def _stripes(height: int, width: int, poses: np.ndarray) -> _Bank:
    """Return the bank of cosine and sine waves in some poses: see ``_waves``."""
    step = max(1, _AT_ONCE // (height * width))
    weights = np.empty((2, poses.shape[1], height * width), np.float32)
    for start in range(0, poses.shape[1], step):
        some = poses[:, start : start + step]
        weights[:, start : start + step] = _waves(height, width, some)
    return _Bank(weights.reshape(-1, height * width), 2, poses[1], np.degrees(poses[0]))


def _gratings(side: int, *, fine: bool) -> np.ndarray:
    """Return the poses of stripes all over a filter: ``(6, templates)``.

    Fine ones have a frequency of at most half a cycle per pixel along each side; at half a cycle
    along both they are chequers. The others have a period of up to a side.

    Their frequencies lie on a grid half a cycle per side apart: stripes in between differ little
    from the nearest ones over a whole filter.
    """
    down, right = np.mgrid[-side : side + 1, 0 : side + 1] / (2 * side)
    radius = np.hypot(down, right)
    half = (right > 0) | (down > 0)  # the other half is the same stripes
    long = (radius >= 1 / side) & (radius <= 1 / _SHORTEST_WAVE)
    some = half & ((radius >= 1 / _LONGEST_FINE_WAVE) if fine else long)
    angle = (np.arctan2(-down[some], right[some]) + np.pi / 2) % np.pi
    envelope, centre = np.full(some.sum(), _GRATING_ENVELOPE * side), np.zeros(some.sum())
    return np.stack([angle, 1 / radius[some], envelope, envelope, centre, centre])


def _waves(height: int, width: int, poses: np.ndarray) -> np.ndarray:
    """Return cosine and sine waves under an envelope: ``(2, templates, pixels)``.

    Args:
        height: Height of a template, in pixels.
        width: Width of a template, in pixels.
        poses: ``(6, templates)``: angle, wavelength, envelope across and along, centre.
    """
    x, y = _coordinates(height, width)
    angle, wave, sigma, length, left, top = poses[:, :, np.newaxis]
    # Rows count downward, angles anticlockwise.
    across = -np.sin(angle) * (x - left) - np.cos(angle) * (y - top)
    along = np.cos(angle) * (x - left) - np.sin(angle) * (y - top)
    window = np.exp(-(across**2) / (2 * sigma**2) - along**2 / (2 * length**2))
    phase = 2 * np.pi * across / wave
    return _orthonormal(window * np.cos(phase), window * np.sin(phase))


@lru_cache(maxsize=3)
def _blobs(height: int, width: int) -> _Bank:
    x, y = _coordinates(height, width)
    widths = np.geomspace(_NARROWEST_BLOB, _WIDEST_BLOB * max(height, width), _BLOB_WIDTHS)
    left, top, sigma = (
        each.reshape(-1, 1)
        for each in np.meshgrid(_blob_centres(width), _blob_centres(height), widths, indexing="ij")
    )
    distance = (x - left) ** 2 + (y - top) ** 2  # squared
    centre = np.exp(-distance / (2 * sigma**2))
    kinds = [centre] + [
        centre - np.exp(-distance / (2 * (wider * sigma) ** 2)) / wider**2 for wider in _SURROUNDS
    ]
    size = np.tile(sigma[:, 0], len(kinds))
    return _Bank(_orthonormal(np.concatenate(kinds))[0], 1, size, np.full(len(size), np.nan))


def _coordinates(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Return each pixel's distance from the middle, right and down: both ``(1, pixels)``."""
    y, x = np.mgrid[:height, :width]
    return (x - (width - 1) / 2).reshape(1, -1), (y - (height - 1) / 2).reshape(1, -1)


def _blob_centres(side: int) -> np.ndarray:
    """Return the centres of blobs along a side: half a pixel or more apart in the middle half."""
    half = (side - 1) // 2 / 2
    return np.linspace(-half, half, min(_MOST_CENTRES, round(4 * half) + 1))


def _orthonormal(*parts: np.ndarray) -> np.ndarray:
    """Centre and orthonormalise the parts of templates (Gram-Schmidt).

    Args:
        parts: Arrays of shape ``(templates, pixels)``.

    Returns:
        ``float32`` array of shape ``(parts, templates, pixels)``; zeros for a part of which hardly
        anything is left.
    """
    done: list[np.ndarray] = []
    for part in parts:
        rest = part - part.mean(axis=1, keepdims=True)
        for before in done:
            rest = rest - (rest * before).sum(axis=1, keepdims=True) * before
        length = np.linalg.norm(rest, axis=1, keepdims=True)
        whole = np.linalg.norm(part, axis=1, keepdims=True)
        enough = length > np.maximum(_NO_TEMPLATE * whole, _ROUNDING)
        done.append(np.where(enough, rest / np.where(enough, length, 1.0), 0.0))
    return np.stack(done).astype(np.float32)
