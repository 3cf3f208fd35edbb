"""Images, patches and signed values as red, green and blue, for figures of responses."""

import numpy as np

from filtertrack.render.look import DIVERGING
from filtertrack.render.palette import LEVELS, NOT_FINITE_RGB, Rgb, colormap_levels
from filtertrack.render.value_range import ValueRange, normalise, range_of_cells

MINUS = "\N{MINUS SIGN}"

_COLOURS = 3
_FEW_LEVELS, _LARGEST_BYTE = 16, 255
"""The highest value of a picture of few levels, such as digits of 0 to 16, and of 8 bits."""


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
    values = picture_range(image)
    low, high = (
        end.astype(np.float64).repeat(image.shape[-1]) for end in (values.low, values.high)
    )
    return low, high


def picture_range(picture: np.ndarray) -> ValueRange:
    """Return the values of an image that are drawn black and white.

    0 and 1 where all values are between them; 0 and 255 where all are whole numbers between these,
    and some larger than 16; else the lowest and the highest value of the image. So a picture of 8
    bits is as dark as it is, and one of few levels, such as 0 to 16, is visible.

    Args:
        picture: Array of any shape.

    Example:
        >>> [float(picture_range(np.array(p)).high[0]) for p in ([0.2, 0.5], [3, 90], [3, 16])]
        [1.0, 255.0, 16.0]
    """
    values = range_of_cells(picture.reshape(1, 1, -1, 1))
    low, high = float(values.low[0]), float(values.high[0])
    if low >= 0 and high <= 1:
        return ValueRange(np.zeros(1), np.ones(1))
    if low >= 0 and _FEW_LEVELS < high <= _LARGEST_BYTE and _is_whole(picture):
        return ValueRange(np.zeros(1), np.full(1, float(_LARGEST_BYTE)))
    return values


def _is_whole(picture: np.ndarray) -> bool:
    return np.array_equal(picture, np.rint(picture))


def number_of_digits(value: float) -> str:
    """Format a number with three digits.

    Example:
        >>> number_of_digits(0.5), number_of_digits(1234.0), number_of_digits(float("nan"))
        ('0.500', '1.23e+03', 'nan')
    """
    return f"{value:#.3g}".rstrip(".").replace("-", MINUS)
