"""Draws one-dimensional kernels of one channel as curves, with their spectra beside them.

A kernel of a layer on a signal, such as sound or an ECG, is itself a short signal: its weights over
time, and the frequencies that it lets through.
"""

import numpy as np

GAP = 5
"""Pixels between a curve and its spectrum; a line is in the middle."""
FLOOR_DB = -60.0
"""The lower end of a spectrum: one millionth of the power at the maximum."""

_ZERO_LINE, _SEPARATOR, _AREA = 0.3, 0.3, 0.4
"""The coverage of the line at zero, of the line in the gap, and of the area below a spectrum."""
_LEAST_BINS = 64
_PEN, _PENS_IN_HEIGHT = 1.25, 48
"""The smallest width of a curve in pixels, and its number of widths in the height of a cell."""
_ACROSS = 2
"""Samples of a curve per pixel, from left to right."""
_FINE = 256
"""Steps of coverage in a pixel: whole numbers, so that sums are exact."""


def curve_cells(
    values: np.ndarray, low: np.ndarray, high: np.ndarray, height: int, width: int
) -> np.ndarray:
    """Draw each filter as a line through its weights, with a faint line at zero.

    The first weight is in the middle of the leftmost column, the last one in the middle of the
    rightmost. NaN and infinity make gaps. A curve without a range (``low`` equals ``high``) is in
    the middle; values outside their range leave the cell.

    Args:
        values: Array of shape ``(filters, weights)``, with at least one weight.
        low: The value at the bottom, of shape ``(filters,)``.
        high: The value at the top, of shape ``(filters,)``.
        height: Height of a cell in pixels.
        width: Width of a cell in pixels.

    Returns:
        ``float32`` array of shape ``(filters, height, width)``: the part of each pixel that is
        covered by ink, from 0 to 1. The first row is the top.

    Example:
        >>> cell, = curve_cells(np.array([[0.0, 1.0]]), np.zeros(1), np.ones(1), 40, 30)
        >>> bool(cell[-1, 0] > 0.5), bool(cell[0, -1] > 0.5), float(cell[0, 0])
        (True, True, 0.0)
    """
    values, low, high = (np.asarray(each, np.float64) for each in (values, low, high))
    pen = _pen(height)
    weights = np.where(np.isfinite(values), values, np.nan)
    cells = _strokes(_positions(weights, low, high, height), height, width)
    has_zero = (low <= 0) & (high >= 0) & (low < high)
    middle = _positions(np.zeros((len(values), 1)), low, high, height)[:, :, np.newaxis]
    middle[~has_zero] = np.nan
    line = _columns(middle - pen / 2, middle + pen / 2, height)
    np.maximum(cells, np.float32(_ZERO_LINE) * line, out=cells)
    return cells


def spectrum_db(values: np.ndarray) -> np.ndarray:
    r"""Return the power spectrum of each filter, in dB below its maximum.

    :math:`10 \log_{10}(|X_k|^2 / \max_k |X_k|^2)`, where X is the discrete Fourier transform of the
    weights, padded with zeros to the next power of two, at least 64.

    Args:
        values: Array of shape ``(filters, weights)``.

    Returns:
        ``float64`` array of shape ``(filters, bins)``, from -60 to 0. Bin k is at the frequency k /
        (2 (bins - 1)) of the sampling rate: the first one is 0, the last one half the sampling
        rate. A filter of zeros is -60 throughout, one that is not finite is NaN throughout.

    Example:
        >>> spectrum_db(np.array([[1.0, -1.0]])).round(1)[0, [0, 16, 32]].tolist()
        [-60.0, -3.0, 0.0]
    """
    values = np.asarray(values, np.float64)
    padded = max(_LEAST_BINS, 1 << (values.shape[1] - 1).bit_length())
    largest = np.abs(values).max(axis=1, initial=0.0, keepdims=True)
    # Scaled by the largest weight, so that squares neither overflow nor underflow.
    with np.errstate(invalid="ignore"):
        scaled = values / np.where(largest > 0, largest, 1.0)
    scaled[~np.isfinite(values).all(axis=1)] = np.nan
    power = np.abs(np.fft.rfft(scaled, padded)) ** 2
    most = power.max(axis=1, keepdims=True)
    relative = power / np.where(most > 0, most, 1.0)
    return 10 * np.log10(np.maximum(relative, 10 ** (FLOOR_DB / 10)))


def curve_and_spectrum_cells(
    values: np.ndarray,
    low: np.ndarray,
    high: np.ndarray,
    height: int,
    width: int,
    *,
    gap: int = GAP,
) -> np.ndarray:
    """Draw each filter as a curve, and its spectrum to the right of it.

    The spectrum is a line above a shaded area, from frequency 0 to half the sampling rate, and from
    -60 dB to the filter's own maximum.

    Args:
        values: Array of shape ``(filters, weights)``, with at least one weight.
        low: The value at the bottom of the curve, of shape ``(filters,)``.
        high: The value at the top of the curve, of shape ``(filters,)``.
        height: Height of a cell in pixels.
        width: Width of the curve in pixels, and of the spectrum.
        gap: Pixels between them.

    Returns:
        ``float32`` array of shape ``(filters, height, 2 * width + gap)``: the part of each pixel
        that is covered by ink, from 0 to 1.
    """
    between = np.zeros((len(values), height, gap), np.float32)
    between[:, :, gap // 2] = _SEPARATOR
    spectra = _spectrum_cells(spectrum_db(values), height, width)
    return np.concatenate([curve_cells(values, low, high, height, width), between, spectra], axis=2)


def _spectrum_cells(spectra: np.ndarray, height: int, width: int) -> np.ndarray:
    """Draw spectra in dB, each above a shaded area: ``(filters, height, width)``."""
    floor, top = np.full(len(spectra), FLOOR_DB), np.zeros(len(spectra))
    return _strokes(_positions(spectra, floor, top, height), height, width, below=_AREA)


def _pen(height: int) -> float:
    """Return the width of a curve in pixels."""
    return max(_PEN, height / _PENS_IN_HEIGHT)


def _positions(values: np.ndarray, low: np.ndarray, high: np.ndarray, height: int) -> np.ndarray:
    """Return the distance of values from the top of a cell, in pixels.

    The curve keeps half its width from the edges.
    """
    # Halved, so that a range of huge numbers does not overflow.
    low, reach = low[:, np.newaxis] / 2, (high / 2 - low / 2)[:, np.newaxis]
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        share = np.where(reach == 0, values * 0 + 0.5, (values / 2 - low) / reach)
    edge = min(_pen(height), height) / 2
    return height - edge - np.clip(share, -1, 2) * (height - 2 * edge)


def _strokes(positions: np.ndarray, height: int, width: int, *, below: float = 0.0) -> np.ndarray:
    """Draw lines through points that are evenly spaced from left to right.

    The pen is a square. At each of a few abscissas of a pixel it covers what lies between the
    highest and the lowest point of the line within its width.

    Args:
        positions: The points' distances from the top, of shape ``(filters, points)``; NaN for gaps.
        height: Height of a cell in pixels.
        width: Width of a cell in pixels.
        below: The coverage of what is below the line.

    Returns:
        Array of shape ``(filters, height, width)``.
    """
    windows, parts = _windows(positions.shape[1], width, _pen(height))
    samples = _between(positions, parts)
    half = _pen(height) / 2
    top = np.fmin.reduceat(samples, windows, axis=1)[:, :-1:2] - half
    bottom = np.fmax.reduceat(samples, windows, axis=1)[:, :-1:2] + half
    shape = len(positions), _ACROSS, width
    return _columns(top.reshape(shape), bottom.reshape(shape), height, below)


def _between(positions: np.ndarray, parts: int) -> np.ndarray:
    """Interpolate so that each line between two points has a number of parts."""
    filters, points = positions.shape
    first, second = positions[:, :-1, np.newaxis], positions[:, 1:, np.newaxis]
    share = np.arange(parts) / parts
    # The last point is there twice, as the end of the last window.
    samples = np.empty((filters, (points - 1) * parts + 2))
    samples[:, :-2] = (first + (second - first) * share).reshape(filters, (points - 1) * parts)
    samples[:, :-2:parts] = positions[:, :-1]  # also beside a gap
    samples[:, -2:] = positions[:, -1:]
    return samples


def _windows(points: int, width: int, pen: float) -> tuple[np.ndarray, int]:
    """Return the samples of a line that the pen covers at each abscissa.

    Returns:
        The first sample and the one after the last, alternating, and a final index; and the number
        of samples between two points.
    """
    parts = max(1, -(-2 * _ACROSS * width // max(1, points - 1)))
    last = (points - 1) * parts
    offsets = (np.arange(_ACROSS) + 0.5) / _ACROSS
    middles = (offsets[:, np.newaxis] + np.arange(width)).ravel()
    # The middles of the outer pixels are the outer points; one point alone covers the whole width.
    scale = last / max(1, width - 1)
    first = np.ceil((middles - 0.5 - pen / 2) * scale)
    end = np.floor((middles - 0.5 + pen / 2) * scale) + 1
    first = np.clip(first, 0, last).astype(np.intp)
    end = np.clip(end, first + 1, last + 1).astype(np.intp)
    return np.append(np.stack([first, end], axis=1).ravel(), 0), parts


def _columns(top: np.ndarray, bottom: np.ndarray, height: int, below: float = 0.0) -> np.ndarray:
    """Draw columns of ink.

    Each edge of a column adds to the pixel it is in, and to the one below, by how much they are
    covered more than the pixel above; the sum from the top down is the coverage.

    Args:
        top: Distances from the top in pixels, of shape ``(filters, samples, width)``; NaN for
            nothing. The samples of a pixel are averaged.
        bottom: Array of the same shape, not smaller.
        height: Height of the columns in pixels.
        below: The coverage of what is below the columns.

    Returns:
        ``float32`` array of shape ``(filters, height, width)``.
    """
    filters, samples, width = top.shape
    cells = np.zeros((filters, height + 2, width), np.int32)
    flat = cells.reshape(-1)
    first = np.arange(filters)[:, np.newaxis] * ((height + 2) * width) + np.arange(width)
    ends_below = round(below * _FINE) - _FINE
    for edges, amount in ((top, _FINE), (bottom, ends_below)):
        fine = np.rint(np.nan_to_num(np.clip(edges, 0, height), nan=height) * _FINE)
        row, part = np.divmod(fine.astype(np.int32), _FINE)
        for sample in range(samples):
            index = first + row[:, sample] * width
            flat[index] += amount * (_FINE - part[:, sample])
            flat[index + width] += amount * part[:, sample]
    for upper in range(height - 1):  # three times as fast as numpy's accumulate along this axis
        cells[:, upper + 1] += cells[:, upper]
    scale = 1 / (samples * _FINE**2)
    coverage: np.ndarray = np.multiply(cells[:, :height], scale, dtype=np.float32)
    return coverage
