"""Write an animated GIF frame by frame, in memory that does not grow with the number of frames.

Pillow and imageio collect all frames until the file is closed. Here Pillow compresses one frame at
a time, and the file around it is written by hand. After the first frame only the rectangle that
changed is stored, and in it only what changed: the rest is transparent. Everything about the format
is in the GIF89a specification (CompuServe, 1990).
"""

import struct
import tempfile
from typing import BinaryIO

import numpy as np
from PIL import Image

from filtertrack.render.encoders.frame_compression import FrameWriter, changed
from filtertrack.render.encoders.frame_durations import TickClock
from filtertrack.render.palette import TRANSPARENT

_KEEP = 1 << 2
"""Disposal 1, "leave in place", on every frame: without it Firefox mis-draws transparent deltas."""
_HAS_TRANSPARENT = 1
_LONGEST_DELAY = (1 << 16) - 1


class GifWriter(FrameWriter):
    """An animated GIF.

    Args:
        file: Where to write; stays open.
        shape: Height and width of every frame.
        colours: The palette of all frames: ``uint8`` array of shape ``(256, 3)``.
        loop: How often it plays; 0 for ever.

    Example:
        >>> import io
        >>> file = io.BytesIO()
        >>> with GifWriter(file, (4, 6), np.zeros((256, 3), np.uint8)) as gif:
        ...     gif.add(np.zeros((4, 6), np.uint8), seconds=0.5)
        >>> Image.open(file).size
        (6, 4)
    """

    def __init__(
        self, file: BinaryIO, shape: tuple[int, int], colours: np.ndarray, loop: int = 0
    ) -> None:
        super().__init__(file, TickClock(100, _LONGEST_DELAY), _compressed)
        height, width = shape
        file.write(b"GIF89a" + struct.pack("<HHBBB", width, height, 0xF7, 0, 0))
        file.write(colours.tobytes())
        if loop != 1:  # the extension says how often it is played again
            again = max(loop - 1, 0)
            file.write(b"\x21\xff\x0bNETSCAPE2.0\x03\x01" + struct.pack("<HB", again, 0))

    def add(self, frame: np.ndarray, seconds: float) -> None:
        """Add a frame of entries, never 255; a GIF counts in hundredths of a second."""
        top, left, part, differs = changed(self._before, frame)
        height, width = part.shape
        # 255, which is TRANSPARENT, where nothing differs: 0 - 1 in a byte. All of it in place: new
        # memory for each step would cost more than the steps.
        pixels = differs.view(np.uint8)
        np.subtract(pixels, 1, out=pixels)
        np.bitwise_or(pixels, part, out=pixels)
        head = struct.pack(
            "<BBBBHBBBHHHHB",
            *(0x21, 0xF9, 4, _KEEP | _HAS_TRANSPARENT, self._clock.ticks(seconds), TRANSPARENT, 0),
            *(0x2C, left, top, width, height, 0),
        )
        self._compression.put(pixels, head)
        self._before = frame

    def _finish(self) -> None:
        self._file.write(b"\x3b")

    def _write(self, data: bytes, head: bytes) -> None:
        self._file.write(head)
        self._file.write(data)


def _compressed(part: np.ndarray) -> bytes:
    """Return the LZW data of a picture as Pillow writes it: code size, blocks, and their end."""
    # Into a file of the system's: only then Pillow lets other threads work in the meantime.
    with tempfile.TemporaryFile() as file:
        # Interlaced or "optimised" pixels would be in another order or have other numbers.
        Image.fromarray(part).save(file, "GIF", optimize=False, interlace=False)
        file.seek(0)
        data = file.read()
    at = 13 + (3 << (1 + (data[10] & 7)) if data[10] & 0x80 else 0)
    while data[at] == 0x21:  # an extension: label, then blocks that begin with their length
        at += 2
        while data[at]:
            at += 1 + data[at]
        at += 1
    colour_table = 3 << (1 + (data[at + 9] & 7)) if data[at + 9] & 0x80 else 0
    return data[at + 10 + colour_table : -1]
