"""Images, patches and signed values as red, green and blue, for figures of responses."""

import numpy as np

from filtertrack.render.look import DIVERGING
from filtertrack.render.palette import LEVELS, NOT_FINITE_RGB, Rgb, colormap_levels
from filtertrack.render.value_range import ValueRange, normalise, range_of_cells

MINUS = "\N{MINUS SIGN}"

_COLOURS = 3


def signed_rgb(values: np.ndarray) -> np.ndarray:
    """Return signed values from blue to red, with white for zero, up to the largest magnitude.

    Args:
        values: Array of shape ``(height, width)``.

    Returns:
        ``uint8`` array of shape ``(height, width, 3)``.

    Example:
        >>> signed_rgb(np.array([[-2.0, 0.0, 1.0]]))[0].tolist()
        [[5, 48, 97], [247, 246, 246], [228, 128, 102]]
    """
    cells = values[np.newaxis, ..., np.newaxis]
    shares = normalise(cells, range_of_cells(cells).zero_centred())[0, ..., 0]
    levels = colormap_levels(DIVERGING)
    broken = np.isnan(shares)
    numbers = np.rint(np.where(broken, 0, shares) * (LEVELS - 1)).astype(np.intp)
    pixels: np.ndarray = levels[numbers]
    pixels[broken] = NOT_FINITE_RGB
    return pixels


def image_rgb(
    image: np.ndarray, low: np.ndarray, high: np.ndarray, outside: Rgb = NOT_FINITE_RGB
) -> np.ndarray:
    """Return an image or a part of one: colours for three channels, else the mean in grey.

    Args:
        image: Array of shape ``(height, width, channels)``.
        low: The value drawn black, of each channel; higher than ``high`` where values are negated.
        high: The value drawn white, of each channel.
        outside: The colour of pixels that are NaN.

    Returns:
        ``uint8`` array of shape ``(height, width, 3)``.
    """
    values = np.moveaxis(image, -1, 0)[..., np.newaxis]
    least, most = np.minimum(low, high), np.maximum(low, high)
    shares = normalise(values, ValueRange(least, most))[..., 0]
    flipped = (low > high)[:, np.newaxis, np.newaxis]
    shares = np.where(flipped, 1 - shares, shares)
    if len(shares) != _COLOURS:
        shares = shares.mean(axis=0, keepdims=True).repeat(_COLOURS, axis=0)
    broken = np.isnan(shares).any(axis=0)
    pixels: np.ndarray = np.rint(255 * np.where(broken, 0, shares)).astype(np.uint8)
    pixels = np.moveaxis(pixels, 0, -1).copy()
    pixels[broken] = outside
    return pixels


def filter_rgb(kernel: np.ndarray) -> np.ndarray:
    """Return a filter of three channels in colour, with mid-grey for zero.

    Args:
        kernel: Array of shape ``(height, width, 3)``.
    """
    cells = kernel[np.newaxis]
    shares = normalise(cells, range_of_cells(cells).zero_centred())[0]
    pixels: np.ndarray = np.rint(255 * np.nan_to_num(shares)).astype(np.uint8)
    pixels[np.isnan(shares).any(axis=-1)] = NOT_FINITE_RGB
    return pixels


def range_of(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the values drawn black and white of each channel: the same for all channels."""
    finite = image[np.isfinite(image)]
    low, high = (finite.min(), finite.max()) if finite.size else (0, 1)
    channels = image.shape[-1]
    return np.full(channels, low, np.float64), np.full(channels, high, np.float64)


def number_of_digits(value: float) -> str:
    """Format a number with three digits.

    Example:
        >>> number_of_digits(0.5), number_of_digits(1234.0), number_of_digits(float("nan"))
        ('0.500', '1.23e+03', 'nan')
    """
    return f"{value:#.3g}".rstrip(".").replace("-", MINUS)
