"""Antialiased text in a palette's ramps: the font, its sizes, lines of entries."""

import math
import re
from bisect import bisect_left
from functools import cache, lru_cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from filtertrack.render.palette import BACKGROUND, SHADES, TEXT, ramp_entry

_SMALLEST, _LARGEST = 11, 20
_MOST_CHARACTERS = 1000
"""Characters of a line, at most: wider than any picture in the smallest font."""
_NUMBER = re.compile(r"((?:(?<=\s)|(?<![\s\S]))[0-9.]+(?=\s|$))")
"""A number on its own. What it stands beside is a space: a letter may reach out of its width."""

PLAIN, QUIET = 1.0, 0.72
"""Strengths of a text: its ramp's own colour, and nearer to the background."""


def font_size(width: int) -> int:
    """Return the size of text, in pixels, that is legible in a picture of that width."""
    return min(max(width // 36, _SMALLEST), _LARGEST)


def line_height(size: int) -> int:
    """Return the pixels from one line of text to the next."""
    return math.ceil(size * 1.45)


@lru_cache(maxsize=32)
def font(size: int, *, bold: bool = False) -> ImageFont.FreeTypeFont:
    """Return matplotlib's font: it is on every machine, and looks the same there."""
    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    # The basic layout is enough for one line of plain text, and faster.
    return ImageFont.truetype(_fonts() / name, size, layout_engine=ImageFont.Layout.BASIC)


@cache
def _fonts() -> Path:
    """Find matplotlib's fonts, if possible without importing it: that takes as long as numpy."""
    spec = find_spec("matplotlib")
    if spec and spec.origin:
        fonts = Path(spec.origin).with_name("mpl-data") / "fonts" / "ttf"
        if fonts.is_dir():
            return fonts
    import matplotlib as mpl  # noqa: PLC0415 - only it knows where a distribution keeps them

    return Path(mpl.get_data_path()) / "fonts" / "ttf"


def line(
    text: str, face: ImageFont.FreeTypeFont, ramp: int = TEXT, strength: float = PLAIN
) -> np.ndarray:
    """Draw a line of text.

    Numbers are put together from digits that are drawn once: in this font they are whole pixels
    wide, stay inside their width and are not kerned, so the picture is the same.

    Args:
        text: What it says.
        face: Its font.
        ramp: Which of the palette's ramps.
        strength: From 0 (background) to 1 (the ramp's own colour).

    Returns:
        ``uint8`` array as wide as the text and one line high: entries of the palette.
    """
    parts = []
    for number, part in enumerate(_NUMBER.split(text)):
        parts += list(part) if number % 2 else [part]
    drawn = [_drawn(part, face, ramp, strength) for part in parts if part]
    return np.concatenate(drawn or [_drawn("", face, ramp, strength)], axis=1)


@lru_cache(maxsize=512)
def _drawn(text: str, face: ImageFont.FreeTypeFont, ramp: int, strength: float) -> np.ndarray:
    size = (max(1, math.ceil(face.getlength(text))), line_height(int(face.size)))
    strip = Image.new("L", size)
    ImageDraw.Draw(strip).text((0, 0), text, 255, face)
    shades = np.rint(np.asarray(strip) * (strength * SHADES / 255)).astype(np.uint8)
    return np.where(shades > 0, ramp_entry(ramp, 0) + shades, BACKGROUND).astype(np.uint8)


def cut(text: str, most: int) -> str:
    """Cut the front of a text that has more characters: the end tells more.

    Example:
        >>> cut("encoder/block_7/conv", 7), cut("conv", 7)
        ('…7/conv', 'conv')
    """
    return text if len(text) <= most else f"…{text[len(text) - most + 1 :]}"


def shortened(text: str, face: ImageFont.FreeTypeFont, room: float) -> str:
    """Cut the front of a text that is wider than its room; empty where nothing fits.

    What is longer than a picture is wide is never measured: a name may have any length.
    """
    text = cut(text, _MOST_CHARACTERS)
    if face.getlength(text) <= room:
        return text
    ends = range(len(text))
    start = bisect_left(ends, True, key=lambda n: face.getlength(f"…{text[n:]}") <= room)
    return f"…{text[start:]}" if start < len(text) else ""


def paste(picture: np.ndarray, at: tuple[int, int], part: np.ndarray) -> None:
    """Put a part into a picture, cut off where it would stick out.

    Args:
        picture: Array of shape ``(height, width)`` or ``(height, width, channels)``.
        at: Top and left of the part.
        part: Array with as many axes.
    """
    top, left = at
    place = picture[top : top + part.shape[0], left : left + part.shape[1]]
    np.copyto(place, part[: place.shape[0], : place.shape[1]])
