"""The colours of an animation: one palette for the whole of it, so that nothing flickers.

GIF and palette PNG give each pixel one of 256 colours. Weights get 240 of them. The rest is fixed:
the two entries that ``grid`` needs, greys for antialiased text, and one that means "as before".
"""

import numpy as np
from PIL import Image

from filtertrack.grid import LEVELS, NOT_FINITE, NOT_FINITE_RGB, palette

TEXT = 242
"""First entry of the text ramp: the caption's background."""
TEXT_SHADES = 12
"""Entries from the caption's background to the text's colour."""
TRANSPARENT = 255
"""Entry that leaves a pixel as it was."""

BACKGROUND_RGB = (20, 26, 38)
TEXT_RGB = (236, 240, 246)

_KMEANS_ROUNDS = 5
_ROWS_AT_ONCE = 1 << 14


def grey_palette() -> np.ndarray:
    """Return the palette of a one-channel animation: ``uint8`` array of shape ``(256, 3)``."""
    colours = palette()
    ramp = np.linspace(BACKGROUND_RGB, TEXT_RGB, TEXT_SHADES)
    colours[TEXT : TEXT + TEXT_SHADES] = np.rint(ramp)
    return colours


def colour_palette(sample: np.ndarray) -> np.ndarray:
    """Choose the palette of a colour animation from a sample of its weights' colours.

    Chosen from weights, not from pixels: a magnified weight is no more important than a small one.
    Pillow's median cut, then five rounds of its k-means.

    Args:
        sample: ``uint8`` array of shape ``(samples, 3)``: colours from all over the run.

    Returns:
        ``uint8`` array of shape ``(256, 3)``.
    """
    colours = grey_palette()
    chosen = np.unique(sample, axis=0)
    if len(chosen) > LEVELS:
        image = Image.fromarray(sample[np.newaxis]).quantize(
            LEVELS, Image.Quantize.MEDIANCUT, kmeans=_KMEANS_ROUNDS
        )
        flat = image.getpalette() or []
        chosen = np.array(flat, np.uint8).reshape(-1, 3)[:LEVELS]
    colours[: len(chosen)] = chosen
    colours[len(chosen) : LEVELS] = chosen[-1] if len(chosen) else 0
    return colours


def to_entries(pixels: np.ndarray, colours: np.ndarray) -> np.ndarray:
    """Return for each colour the nearest entry of a palette; no dithering.

    Args:
        pixels: ``uint8`` array of shape ``(…, 3)``.
        colours: A palette of shape ``(256, 3)``.

    Returns:
        ``uint8`` array of shape ``(…)``: entries below 240, or that of a weight that is not finite.
    """
    flat = pixels.reshape(-1, 3)
    nearest = _nearest(flat, colours[:LEVELS].astype(np.float32)).astype(np.uint8)
    nearest[(flat == NOT_FINITE_RGB).all(axis=1)] = NOT_FINITE
    return nearest.reshape(pixels.shape[:-1])


def _nearest(pixels: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """Return the number of the centre nearest to each pixel."""
    half_square = np.square(centres).sum(axis=1) / 2
    parts = [
        (pixels[start : start + _ROWS_AT_ONCE].astype(np.float32) @ centres.T - half_square).argmax(
            1
        )
        for start in range(0, len(pixels), _ROWS_AT_ONCE)
    ]
    return np.concatenate(parts) if parts else np.zeros(0, np.intp)
