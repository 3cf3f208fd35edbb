"""Write an animated WebP frame by frame: exact, and a fraction of a GIF's size.

Pillow's own writer collects all frames first. Here it compresses one frame at a time, losslessly,
and the file around them is written by hand (WebP container specification, RFC 9649).
"""

import io
import struct
from typing import BinaryIO

import numpy as np
from PIL import Image

from filtertrack.render.encoders.frame_compression import FrameWriter, changed
from filtertrack.render.encoders.frame_durations import TickClock

_ANIMATED, _ALPHA = 0x02, 0x10
_BLEND, _KEEP = 0x00, 0x00
_EFFORT = {"lossless": True, "quality": 50, "method": 2, "exact": True}
_LONGEST_DELAY = (1 << 24) - 1
_HEADER = 12
"""Bytes before the first chunk: the container's own name and length."""


class WebpWriter(FrameWriter):
    """An animated WebP, lossless.

    Args:
        file: Where to write, from its beginning; it can seek, and stays open.
        shape: Height and width of every frame.
        colours: The palette of all frames: ``uint8`` array of shape ``(256, 3)``. None where the
            frames themselves hold colours.
        loop: How often it plays; 0 for ever.

    Example:
        >>> file = io.BytesIO()
        >>> with WebpWriter(file, (4, 6), np.zeros((256, 3), np.uint8)) as webp:
        ...     webp.add(np.zeros((4, 6), np.uint8), seconds=0.5)
        >>> Image.open(file).size
        (6, 4)
    """

    def __init__(
        self, file: BinaryIO, shape: tuple[int, int], colours: np.ndarray | None, loop: int = 0
    ) -> None:
        super().__init__(file, TickClock(1000, _LONGEST_DELAY), self._compressed)
        self._colours = colours
        height, width = shape
        canvas = struct.pack("<I", _ANIMATED | _ALPHA) + _three(width - 1) + _three(height - 1)
        file.write(b"RIFF" + struct.pack("<I", 0) + b"WEBP")
        file.write(_chunk(b"VP8X", canvas))
        file.write(_chunk(b"ANIM", struct.pack("<IH", 0, loop)))

    def add(self, frame: np.ndarray, seconds: float) -> None:
        """Add a frame; durations are in thousandths of a second."""
        change = changed(self._before, frame, align=2)  # the format halves top and left
        height, width = change.part.shape[:2]
        place = (change.left // 2, change.top // 2, width - 1, height - 1)
        control = b"".join(map(_three, (*place, self._clock.ticks(seconds))))
        self._compression.put((change.part, change.differs), control + bytes([_BLEND | _KEEP]))
        self._before = frame

    def _finish(self) -> None:
        end = self._file.tell()
        self._file.seek(4)
        self._file.write(struct.pack("<I", end - 8))
        self._file.seek(end)

    def _write(self, data: bytes, control: bytes) -> None:
        self._file.write(_chunk(b"ANMF", control + data))

    def _compressed(self, picture: tuple[np.ndarray, np.ndarray]) -> bytes:
        """Return the picture's chunk out of a WebP file of its own; transparent is "as before"."""
        part, differs = picture
        pixels = np.zeros((*part.shape[:2], 4), np.uint8)
        pixels[..., :3] = part if self._colours is None else self._colours[part]
        pixels[..., 3] = 255
        pixels[~differs] = 0
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, "WEBP", **_EFFORT)
        return buffer.getvalue()[_HEADER:]


def _three(number: int) -> bytes:
    return struct.pack("<I", number)[:3]


def _chunk(kind: bytes, data: bytes) -> bytes:
    return kind + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2)
