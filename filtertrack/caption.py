"""The strip of text above an animation's grid: where training was, and what it had reached."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from filtertrack.errors import printable
from filtertrack.palette import TEXT, TEXT_SHADES
from filtertrack.snapshot import Moment

_FONTS = Path(mpl.get_data_path()) / "fonts" / "ttf"
_SMALLEST, _LARGEST = 11, 20
_MISSING = "–"


class Caption:
    """Draws the caption of each moment of one run, always in the same places.

    Every metric that occurs anywhere in the run has its own place from the first frame on, wide
    enough for all of its values, so nothing jumps or is cut off while the animation plays.

    Args:
        title: What is shown, such as the layer's name.
        moments: All moments that will be drawn.
        width: Width of the strip, in pixels.
    """

    def __init__(self, title: str, moments: Sequence[Moment], width: int) -> None:
        self.width = width
        size = min(max(width // 36, _SMALLEST), _LARGEST)
        self._bold = _font("DejaVuSans-Bold.ttf", size)
        self._plain = _font("DejaVuSans.ttf", size)
        self._margin = size // 2
        self._line = math.ceil(size * 1.45)
        self._title = title
        self._names = list(dict.fromkeys(name for moment in moments for name in moment.metrics))
        texts = [text for moment in moments for text in self._metrics(moment.metrics)]
        self._place = max(map(self._length, texts), default=0) + 2 * size
        room = width - 2 * self._margin
        most = max(1, math.floor(room / self._place))
        self._rows = math.ceil(len(self._names) / most)
        self._columns = math.ceil(len(self._names) / max(1, self._rows))
        when = max((self._bold.getlength(describe(moment)) for moment in moments), default=0)
        self._title_below = when + 2 * size + self._length(title) > room
        self.height = (1 + self._title_below + self._rows) * self._line + 2 * self._margin

    def draw(self, moment: Moment) -> np.ndarray:
        """Draw one moment's caption.

        Returns:
            ``uint8`` array of shape ``(height, width)``: entries of the palette's text ramp.
        """
        strip = Image.new("L", (self.width, self.height), 0)
        pen = ImageDraw.Draw(strip)
        room = self.width - 2 * self._margin
        left, top = self._margin, self._margin
        pen.text((left, top), describe(moment), 255, self._bold)
        title = self._shortened(self._title, room)
        if self._title_below:
            top += self._line
            pen.text((left, top), title, 190, self._plain)
        else:
            pen.text(
                (self.width - self._margin - self._length(title), top), title, 190, self._plain
            )
        top += self._line
        for number, text in enumerate(self._metrics(moment.metrics)):
            row, column = divmod(number, self._columns)
            place = (left + column * self._place, top + row * self._line)
            pen.text(place, self._shortened(text, room), 225, self._plain)
        shades = np.asarray(strip, np.uint16) * (TEXT_SHADES - 1)
        return (TEXT + (shades + 127) // 255).astype(np.uint8)

    def _metrics(self, metrics: Mapping[str, float]) -> list[str]:
        return [
            f"{printable(name)} {_number(metrics[name]) if name in metrics else _MISSING}"
            for name in self._names
        ]

    def _length(self, text: str) -> float:
        return self._plain.getlength(text)

    def _shortened(self, text: str, room: float) -> str:
        """Cut the front of a text that is wider than the strip: the end tells more."""
        if self._length(text) <= room:
            return text
        return next(
            (f"…{text[n:]}" for n in range(len(text)) if self._length(f"…{text[n:]}") <= room), ""
        )


def describe(moment: Moment) -> str:
    """Say in a few words when a moment is.

    Example:
        >>> describe(Moment(step=0, epoch=0)), describe(Moment(step=3, epoch=0, batch=3))
        ('before training', 'epoch 0 · batch 3')
    """
    if moment.step == 0:
        return "before training"
    batch = "" if moment.batch is None else f" · batch {moment.batch}"
    return f"epoch {moment.epoch}{batch}"


def _number(value: float) -> str:
    """Write a metric in about five characters: 0.0314, 2.71, 1.2e+04."""
    if value and math.isfinite(value) and not 1e-3 <= abs(value) < 1e4:
        return f"{value:.1e}"
    return f"{value:.3f}" if abs(value) < 10 else f"{value:.1f}"


def _font(name: str, size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(_FONTS / name, size)
