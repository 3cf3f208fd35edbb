"""Encoder of animated WebP, lossless, that writes frame by frame.

Pillow's own writer keeps all frames until the end. Here Pillow compresses single frames; the
container is written by this module (WebP container specification, RFC 9649).
"""

import io
import struct
from typing import BinaryIO

import numpy as np
from PIL import Image

from filtertrack.render.encoders.frame_compression import FrameWriter, changed
from filtertrack.render.encoders.tick_clock import TickClock

_ANIMATED, _ALPHA = 0x02, 0x10
_BLEND, _KEEP = 0x00, 0x00
_EFFORT = {"lossless": True, "quality": 50, "method": 2, "exact": True}
_TICKS = 1000
"""Per second."""
_LONGEST_DELAY = (1 << 24) - 1
_HEADER_BYTES = 12
"""Bytes before the first chunk: the container's name and length."""


class WebpWriter(FrameWriter):
    """Writes an animated WebP, lossless.

    Args:
        file: Where to write, from its beginning; seekable, and left open.
        shape: Height and width of every frame.
        colours: The palette of all frames: ``uint8`` array of shape ``(256, 3)``. None if the
            frames hold colours.
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
        super().__init__(file, TickClock(_TICKS, _LONGEST_DELAY), self._compressed)
        self._colours = colours
        height, width = shape
        canvas = struct.pack("<I", _ANIMATED | _ALPHA) + _uint24(width - 1) + _uint24(height - 1)
        file.write(b"RIFF" + struct.pack("<I", 0) + b"WEBP")
        file.write(_chunk(b"VP8X", canvas))
        file.write(_chunk(b"ANIM", struct.pack("<IH", 0, loop)))

    def add(self, frame: np.ndarray, seconds: float) -> None:
        """Add a frame; durations are in thousandths of a second."""
        top, left, part, differs = changed(self._before, frame, align=2)
        height, width = part.shape[:2]
        numbers = left // 2, top // 2, width - 1, height - 1, self._clock.ticks(seconds)
        header = b"".join(map(_uint24, numbers)) + bytes([_BLEND | _KEEP])
        self._compression.put((part, differs), header)
        self._before = frame

    def _finish(self) -> None:
        end = self._file.tell()
        self._file.seek(4)
        self._file.write(struct.pack("<I", end - 8))
        self._file.seek(end)

    def _write(self, data: bytes, header: bytes) -> None:
        self._file.write(_chunk(b"ANMF", header + data))

    def _compressed(self, picture: tuple[np.ndarray, np.ndarray]) -> bytes:
        """Return the picture's chunk from a WebP file by Pillow; unchanged pixels transparent."""
        part, differs = picture
        pixels = np.zeros((*part.shape[:2], 4), np.uint8)
        pixels[..., :3] = part if self._colours is None else self._colours[part]
        pixels[..., 3] = 255
        pixels[~differs] = 0
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, "WEBP", **_EFFORT)
        return buffer.getvalue()[_HEADER_BYTES:]


def _uint24(number: int) -> bytes:
    return struct.pack("<I", number)[:3]


def _chunk(kind: bytes, data: bytes) -> bytes:
    return kind + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2)
