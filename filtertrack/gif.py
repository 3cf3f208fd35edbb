"""Write an animated GIF frame by frame, in memory that does not grow with the number of frames.

Pillow and imageio collect all frames until the file is closed. Here Pillow compresses one frame at
a time, and the file around it is written by hand. After the first frame only the rectangle that
changed is stored, and in it only what changed: the rest is transparent. Everything about the format
is in the GIF89a specification (CompuServe, 1990).
"""

import io
import struct
from types import TracebackType
from typing import BinaryIO, Self

import numpy as np
from PIL import Image

from filtertrack.palette import TRANSPARENT

_KEEP = 1 << 2
"""Disposal 1, "leave in place", on every frame: without it Firefox mis-draws transparent deltas."""
_HAS_TRANSPARENT = 1
_LONGEST_DELAY = (1 << 16) - 1


class GifWriter:
    """An animated GIF that plays forever.

    Args:
        file: Where to write; stays open.
        shape: Height and width of every frame.
        colours: The palette of all frames: ``uint8`` array of shape ``(256, 3)``.

    Example:
        >>> file = io.BytesIO()
        >>> with GifWriter(file, (4, 6), np.zeros((256, 3), np.uint8)) as gif:
        ...     gif.add(np.zeros((4, 6), np.uint8), seconds=0.5)
        >>> Image.open(file).size
        (6, 4)
    """

    def __init__(self, file: BinaryIO, shape: tuple[int, int], colours: np.ndarray) -> None:
        self._file = file
        self._before: np.ndarray | None = None
        self._asked = 0.0
        self._given = 0
        height, width = shape
        file.write(b"GIF89a" + struct.pack("<HHBBB", width, height, 0xF7, 0, 0))
        file.write(colours.tobytes())
        file.write(b"\x21\xff\x0bNETSCAPE2.0\x03\x01" + struct.pack("<HB", 0, 0))

    def __enter__(self) -> Self:
        """Return the writer itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End the file."""
        self._file.write(b"\x3b")

    def add(self, frame: np.ndarray, seconds: float) -> None:
        """Add a frame.

        A GIF counts in hundredths of a second. What rounding takes from one frame the next gets, so
        the whole lasts as long as asked.

        Args:
            frame: ``uint8`` array of the writer's shape: entries of the palette, never 255.
            seconds: How long it is shown.
        """
        self._asked += 100 * seconds
        delay = min(max(round(self._asked) - self._given, 0), _LONGEST_DELAY)
        self._given += delay
        top, left, part = self._changed(frame)
        height, width = part.shape
        flags = _KEEP | _HAS_TRANSPARENT
        self._file.write(struct.pack("<BBBBHBB", 0x21, 0xF9, 4, flags, delay, TRANSPARENT, 0))
        self._file.write(struct.pack("<BHHHHB", 0x2C, left, top, width, height, 0))
        self._file.write(_compressed(part))
        self._before = frame

    def _changed(self, frame: np.ndarray) -> tuple[int, int, np.ndarray]:
        """Return the top, the left and the content of the smallest rectangle that changed."""
        if self._before is None:
            return 0, 0, frame
        top, left, part = changed_rectangle(self._before, frame)
        height, width = part.shape
        same = part == self._before[top : top + height, left : left + width]
        return top, left, np.where(same, np.uint8(TRANSPARENT), part)


def changed_rectangle(before: np.ndarray, frame: np.ndarray) -> tuple[int, int, np.ndarray]:
    """Return the top, the left and the content of the rectangle in which two frames differ.

    Where nothing differs it is the first pixel: a frame has to hold something.

    Example:
        >>> before, frame = np.zeros((4, 4), int), np.zeros((4, 4), int)
        >>> frame[1, 2] = frame[2, 2] = 7
        >>> changed_rectangle(before, frame)
        (1, 2, array([[7], [7]]))
    """
    differs = before != frame
    rows, columns = np.flatnonzero(differs.any(axis=1)), np.flatnonzero(differs.any(axis=0))
    if not len(rows):
        return 0, 0, frame[:1, :1]
    top, left = int(rows[0]), int(columns[0])
    return top, left, frame[top : rows[-1] + 1, left : columns[-1] + 1]


def _compressed(part: np.ndarray) -> bytes:
    """Return the LZW data of a picture as Pillow writes it: code size, blocks, and their end."""
    buffer = io.BytesIO()
    # Interlaced or "optimised" pixels would be in another order or have other numbers.
    Image.fromarray(np.ascontiguousarray(part)).save(buffer, "GIF", optimize=False, interlace=False)
    data = buffer.getvalue()
    at = 13 + (3 << (1 + (data[10] & 7)) if data[10] & 0x80 else 0)
    while data[at] == 0x21:  # an extension: label, then blocks that begin with their length
        at += 2
        while data[at]:
            at += 1 + data[at]
        at += 1
    colour_table = 3 << (1 + (data[at + 9] & 7)) if data[at + 9] & 0x80 else 0
    return data[at + 10 + colour_table : -1]
