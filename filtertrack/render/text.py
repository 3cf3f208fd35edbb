"""Antialiased text as palette entries: fonts, font sizes, drawing and shortening of lines."""

import math
import re
from bisect import bisect_left
from collections.abc import Callable, Sequence
from functools import cache, lru_cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from filtertrack.render.palette import BACKGROUND, SHADES, TEXT, ramp_entry

_SMALLEST, _LARGEST = 11, 20
_WIDTH_PER_SIZE = 36
"""Width of a picture, in font sizes, between the smallest and the largest font."""
_LINE_HEIGHT = 1.45
"""In font sizes."""
_MOST_CHARACTERS = 1000
"""Characters of a line, at most: wider than any picture in the smallest font."""

_BETWEEN_PIECES = re.compile(r"(?<=[0-9. ])(?=[0-9. ])")
"""Where a text in ASCII is cut into pieces. In our fonts these characters are whole pixels wide, do
not reach over their width and are not kerned with each other."""

PLAIN, QUIET = 1.0, 0.72
"""Strengths of a text: the full colour of its ramp, and one nearer to the background."""


def font_size(width: int) -> int:
    """Return a legible font size, in pixels, for a picture of a given width."""
    return min(max(width // _WIDTH_PER_SIZE, _SMALLEST), _LARGEST)


def line_height(size: int) -> int:
    """Return the distance between two lines of text, in pixels."""
    return math.ceil(size * _LINE_HEIGHT)


@lru_cache(maxsize=32)
def font(size: int, *, bold: bool = False) -> ImageFont.FreeTypeFont:
    """Return matplotlib's DejaVu Sans, which is the same on every system."""
    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    # The basic layout suffices for one line of plain text, and is faster.
    return ImageFont.truetype(str(_fonts() / name), size, layout_engine=ImageFont.Layout.BASIC)


@cache
def _fonts() -> Path:
    """Find the folder of matplotlib's fonts, if possible without the slow import of it."""
    spec = find_spec("matplotlib")
    if spec and spec.origin:
        fonts = Path(spec.origin).with_name("mpl-data") / "fonts" / "ttf"
        if fonts.is_dir():
            return fonts
    import matplotlib as mpl  # noqa: PLC0415 - knows where a distribution has moved its data

    return Path(mpl.get_data_path()) / "fonts" / "ttf"


def line(
    text: str, face: ImageFont.FreeTypeFont, ramp: int = TEXT, strength: float = PLAIN
) -> np.ndarray:
    """Draw a line of text.

    Its digits and the pieces between them come from a cache: the numbers in a caption change from
    frame to frame, and drawing a text takes many times as long as joining its pieces.

    Args:
        text: The text.
        face: The font.
        ramp: Number of the palette's ramp.
        strength: From 0 (background) to 1 (full colour of the ramp).

    Returns:
        ``uint8`` array as wide as the text and one line high: entries of the palette.
    """
    pieces = _BETWEEN_PIECES.split(text) if text.isascii() else [text]
    return np.concatenate([_piece(each, face, ramp, strength) for each in pieces], axis=1)


@lru_cache(maxsize=256)
def _piece(text: str, face: ImageFont.FreeTypeFont, ramp: int, strength: float) -> np.ndarray:
    """Draw a piece of a line of text."""
    size = (max(1, math.ceil(face.getlength(text))), line_height(int(face.size)))
    mask = Image.new("L", size)
    ImageDraw.Draw(mask).text((0, 0), text, 255, face)
    entries: np.ndarray = _entries(ramp, strength)[np.asarray(mask)]
    entries.setflags(write=False)
    return entries


@lru_cache(maxsize=32)
def _entries(ramp: int, strength: float) -> np.ndarray:
    """Return the palette entry of each coverage, from 0 to 255, of a pixel by a letter."""
    shades = np.rint(np.arange(256) * (strength * SHADES / 255)).astype(np.uint8)
    return np.where(shades > 0, ramp_entry(ramp, 0) + shades, BACKGROUND).astype(np.uint8)


def cut(text: str, most: int) -> str:
    """Shorten a text to a number of characters, from the front: the end of a path says more.

    Example:
        >>> cut("encoder/block_7/conv", 7), cut("conv", 7)
        ('…7/conv', 'conv')
    """
    return text if len(text) <= most else f"…{text[len(text) - most + 1 :]}"


def shortened(text: str, face: ImageFont.FreeTypeFont, width: float) -> str:
    """Shorten a text to a width in pixels, from the front; empty if not one character fits.

    Names of any length take little time: only the last 1000 characters are measured.
    """
    text = cut(text, _MOST_CHARACTERS)
    if face.getlength(text) <= width:
        return text
    ends = range(len(text))
    start = bisect_left(ends, True, key=lambda n: face.getlength(f"…{text[n:]}") <= width)
    return f"…{text[start:]}" if start < len(text) else ""


def joined_lines(parts: Sequence[str], face: ImageFont.FreeTypeFont, width: float) -> list[str]:
    """Join phrases in lines of at most a width in pixels; a longer phrase is shortened."""
    lines = joined_phrases(parts, lambda text: face.getlength(text) <= width)
    return [shortened(each, face, width) for each in lines]


def joined_phrases(parts: Sequence[str], fits: Callable[[str], bool]) -> list[str]:
    """Join phrases in as few lines as fit; a phrase that does not fit alone is a line of its own.

    Example:
        >>> joined_phrases(["conv1", "one scale", "columns: epochs"], lambda text: len(text) < 20)
        ['conv1 · one scale', 'columns: epochs']
    """
    lines: list[str] = []
    for part in parts:
        joined = f"{lines[-1]} · {part}" if lines else part
        if lines and fits(joined):
            lines[-1] = joined
        else:
            lines.append(part)
    return lines


def paste(picture: np.ndarray, at: tuple[int, int], part: np.ndarray) -> None:
    """Copy a part into a picture, cropped at the picture's edges.

    Args:
        picture: Array of shape ``(height, width)`` or ``(height, width, channels)``.
        at: Top and left of the part.
        part: Array with as many axes.
    """
    top, left = at
    target = picture[top : top + part.shape[0], left : left + part.shape[1]]
    np.copyto(target, part[: target.shape[0], : target.shape[1]])
