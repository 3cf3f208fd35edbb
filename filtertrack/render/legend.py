"""What the colours of outlines mean: a square and a word for each label, and how many there are."""

import math
from collections.abc import Mapping

import numpy as np

from filtertrack.render.palette import BACKGROUND, OUTLINE, OUTLINED, TEXT
from filtertrack.render.text import QUIET, font, font_size, line, line_height, paste


class Legend:
    """A strip that names the outlines' colours.

    Args:
        width: Of the strip, in pixels.
        most: The most that is counted; None where nothing is.

    Attributes:
        height: Of the strip, in pixels; even.
    """

    def __init__(self, width: int, most: int | None = None) -> None:
        size = font_size(width)
        self._face, self._width = font(size), width
        self._line, self._margin = line_height(size), size // 2
        digits = "" if most is None else " " + "0" * len(str(most))
        self._square = round(0.7 * size)
        space = self._space = round(self._face.getlength(" "))
        gap = 3 * space
        widths = [
            self._square + space + math.ceil(self._face.getlength(name + digits)) + gap
            for name in OUTLINED
        ]
        self._places: list[tuple[int, int]] = []
        row, left = 0, self._margin
        for wide in widths:
            if self._places and left + wide - gap > width - self._margin:
                row, left = row + 1, self._margin
            self._places.append((row, left))
            left += wide
        height = (row + 1) * self._line
        self.height = height + height % 2

    def draw(self, counts: Mapping[str, int] | None = None) -> np.ndarray:
        """Draw the strip.

        Args:
            counts: How many filters have which label; None where nothing is counted.

        Returns:
            ``uint8`` array of shape ``(height, width)``: entries of the palette.
        """
        strip = np.full((self.height, self._width), BACKGROUND, np.uint8)
        square = np.empty((self._square, self._square), np.uint8)
        for number, (name, (row, left)) in enumerate(zip(OUTLINED, self._places, strict=True)):
            top = row * self._line
            square[:] = OUTLINE + number
            paste(strip, (top + (self._line - self._square) // 2, left), square)
            text = name if counts is None else f"{name} {counts.get(name, 0)}"
            beside = left + self._square + self._space
            paste(strip, (top, beside), line(text, self._face, TEXT, QUIET))
        return strip
