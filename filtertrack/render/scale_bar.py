"""Scale bars: which shade or colour is the lowest value, zero and the highest."""

import math
from typing import NamedTuple

import numpy as np

from filtertrack.render.palette import ALL_LEVELS, BACKGROUND, TEXT
from filtertrack.render.text import QUIET, font, joined_phrases, line, line_height, paste

_BAR_HEIGHT = 0.6
"""Height of the bar, in font sizes."""
_LONGEST_BAR, _SHORTEST_BAR = 9.0, 1.5
"""Length of the bar without its texts, in font sizes."""


class BarTexts(NamedTuple):
    """The texts of a scale bar; ``middle`` is empty where zero is not in the middle."""

    low: str
    middle: str
    high: str


def bar_height(size: int) -> int:
    """Return the height of a scale bar with its texts, in pixels; even, as video requires."""
    height = line_height(size)
    return height + height % 2


def draw_scale_bar(
    texts: BarTexts | None, width: int, size: int, levels: range = ALL_LEVELS, note: str = ""
) -> np.ndarray:
    """Draw a scale bar: the low text, the bar, and the high text; the middle text divides the bar.

    Args:
        texts: The texts; None for the note alone.
        width: Width of the picture, in pixels; texts are left out where they do not fit.
        size: Font size, in pixels.
        levels: The palette entries of the colormap.
        note: A text behind the bar, of phrases joined by " · "; left out where it does not fit.

    Returns:
        ``uint8`` array of shape ``(bar_height(size), width)``: entries of the palette.
    """
    picture = np.full((bar_height(size), width), BACKGROUND, np.uint8)
    face = font(size)
    if texts is None:
        first = joined_phrases(note.split(" · "), lambda text: face.getlength(text) <= width)[0]
        if face.getlength(first) <= width:
            paste(picture, (0, 0), line(first, face, TEXT, QUIET))
        return picture
    space = round(face.getlength(" "))
    low, middle, high, more = (_line(text, size) for text in (*texts, note))
    parts = 2 if texts.middle else 1
    shortest = parts * math.ceil(_SHORTEST_BAR * size)
    if _width(low, middle, high, more) + 6 * space + shortest > width:
        more = _line("", size)
    if _width(low, middle, high) + 4 * space + shortest > width:
        low = middle = high = _line("", size)
    available = width - _width(low, middle, high, more) - 6 * space
    bar = max(min(round(_LONGEST_BAR * size), available), min(shortest, width))
    colours = np.linspace(levels.start, levels[-1], bar).round().astype(np.uint8)
    halves = np.array_split(colours, parts)
    pieces = [low, *(_thick(half, picture.shape[0], size) for half in halves)]
    pieces[2:2] = [middle] if parts == 2 else []
    left = 0
    for piece in [*pieces, high]:
        paste(picture, (0, left), piece)
        left += piece.shape[1] + (space if piece.shape[1] else 0)
    paste(picture, (0, max(left, width - more.shape[1])), more)
    return picture


def _line(text: str, size: int) -> np.ndarray:
    """Draw a line of text; no pixel of width for an empty one."""
    drawn = line(text, font(size), TEXT, QUIET)
    return drawn if text else drawn[:, :0]


def _width(*pieces: np.ndarray) -> int:
    return sum(piece.shape[1] for piece in pieces)


def _thick(colours: np.ndarray, height: int, size: int) -> np.ndarray:
    """Draw a bar in the middle of the height."""
    thick = round(_BAR_HEIGHT * size)
    bar = np.full((height, len(colours)), BACKGROUND, np.uint8)
    top = (height - thick) // 2
    bar[top : top + thick] = colours
    return bar
