"""Encoder of PNG and animated PNG, optimised for magnified cells.

Files are smaller than those of general encoders, and written in less time. The format is that of
the PNG specification, third edition (W3C 2025).
"""

import struct
from functools import partial
from typing import BinaryIO

import numpy as np
from zlib_ng import zlib_ng

from filtertrack.render.encoders.frame_compression import FrameWriter, changed
from filtertrack.render.encoders.tick_clock import TickClock
from filtertrack.render.palette import SEPARATOR, grid_palette

_TRUE_COLOUR, _PALETTE = 2, 3
"""Colour types."""
_UP = 2
"""Filter type: difference from the row above."""
_REPLACE = struct.pack(">BB", 0, 0)
"""Disposal and blending of an animation's frames: none."""
_TICKS = 100
"""Per second."""
_LONGEST_DELAY = (1 << 16) - 1

_MEMORY = 9
"""zlib's largest memory level, for speed: less than a megabyte."""
_ENTRIES_LEVEL = 1, zlib_ng.Z_RLE
"""For palette entries: rows are runs of one byte, which run-length encoding alone finds."""
_COLOURS_LEVEL = 2, zlib_ng.Z_DEFAULT_STRATEGY
"""For colours: a run repeats every third byte, which level 2 finds as well as higher levels."""
FRAMES_LEVEL = 6
"""For frames of an animation, which hold text and lines as well."""


def encode(
    picture: np.ndarray, colours: np.ndarray | None = None, level: int | None = None
) -> bytes:
    r"""Encode a picture as a PNG file.

    Args:
        picture: ``uint8`` array of shape ``(height, width)``, entries of the palette, or
            ``(height, width, 3)``, colours.
        colours: The palette of entries: ``uint8`` array of shape ``(up to 256, 3)``.
        level: As in ``compress``.

    Returns:
        The bytes of the file.

    Raises:
        ValueError: If entries come without a palette, or colours with one.

    Example:
        >>> encode(np.zeros((2, 2, 3), np.uint8))[:4]
        b'\x89PNG'
    """
    if (picture.ndim == 2) != (colours is not None):
        raise ValueError("expected entries with a palette, or colours without one")
    height, width = picture.shape[:2]
    data = chunk(b"IDAT", compress(picture, level))
    return file_header((height, width), colours) + data + chunk(b"IEND", b"")


def to_png(picture: np.ndarray, palette: np.ndarray | None = None) -> bytes:
    """Encode a page of ``grid.draw_pages`` as a PNG file.

    Args:
        picture: The page.
        palette: The colours of its entries, if they are not those of ``grid_palette``.
    """
    if picture.ndim == 3:
        return encode(picture, None)
    return encode(picture, grid_palette()[: SEPARATOR + 1] if palette is None else palette)


def file_header(shape: tuple[int, int], colours: np.ndarray | None) -> bytes:
    """Return the signature, header and palette of a file."""
    height, width = shape
    kind = _TRUE_COLOUR if colours is None else _PALETTE
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, kind, 0, 0, 0))
    entries = b"" if colours is None else chunk(b"PLTE", colours.tobytes())
    return b"\x89PNG\r\n\x1a\n" + header + entries


def chunk(kind: bytes, data: bytes) -> bytes:
    """Return a chunk of a file: length, kind, content and checksum."""
    checksum = zlib_ng.crc32(data, zlib_ng.crc32(kind))
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", checksum)


def compress(picture: np.ndarray, level: int | None = None) -> bytes:
    """Filter and compress rows: filter Up for a row equal to the one above, None for others.

    Cells are magnified, so most rows repeat; they have no gradients for the other filters.

    Args:
        picture: As in ``encode``.
        level: zlib's level from 1 to 9, for pictures with text and lines; None for cells alone,
            for which higher levels find nothing more.
    """
    flat = picture.reshape(len(picture), -1)
    rows = np.zeros((flat.shape[0], flat.shape[1] + 1), np.uint8)
    rows[:, 1:] = flat
    repeated = 1 + np.flatnonzero((flat[1:] == flat[:-1]).all(axis=1))
    rows[repeated] = 0
    rows[repeated, 0] = _UP
    chosen, strategy = _ENTRIES_LEVEL if picture.ndim == 2 else _COLOURS_LEVEL
    if level is not None:
        chosen, strategy = level, zlib_ng.Z_DEFAULT_STRATEGY
    compressor = zlib_ng.compressobj(chosen, zlib_ng.DEFLATED, zlib_ng.MAX_WBITS, _MEMORY, strategy)
    return compressor.compress(rows.data) + compressor.flush()


class AnimatedPngWriter(FrameWriter):
    r"""Writes an animated PNG.

    Args:
        file: Where to write, from its beginning; seekable, and left open.
        shape: Height and width of every frame.
        colours: The palette of all frames: ``uint8`` array of shape ``(256, 3)``. None if the
            frames hold colours.
        loop: How often it plays; 0 for ever.

    Example:
        >>> import io
        >>> file = io.BytesIO()
        >>> with AnimatedPngWriter(file, (2, 2), np.zeros((256, 3), np.uint8)) as png:
        ...     png.add(np.zeros((2, 2), np.uint8), seconds=0.5)
        >>> file.getvalue()[:4]
        b'\x89PNG'
    """

    def __init__(
        self, file: BinaryIO, shape: tuple[int, int], colours: np.ndarray | None, loop: int = 0
    ) -> None:
        compress_frame = partial(compress, level=FRAMES_LEVEL)
        super().__init__(file, TickClock(_TICKS, _LONGEST_DELAY), compress_frame)
        self._loop = loop
        self._frames = self._chunks = 0
        file.write(file_header(shape, colours))
        self._animation_control_at = file.tell()
        file.write(self._animation_control())

    def add(self, frame: np.ndarray, seconds: float) -> None:
        """Add a frame; durations are in hundredths of a second."""
        top, left, part, _ = changed(self._before, frame)
        rectangle = struct.pack(">IIII", part.shape[1], part.shape[0], left, top)
        delay = struct.pack(">HH", self._clock.ticks(seconds), _TICKS)
        self._compression.put(part, rectangle + delay + _REPLACE)
        self._before = frame

    def _finish(self) -> None:
        self._file.write(chunk(b"IEND", b""))
        end = self._file.tell()
        self._file.seek(self._animation_control_at)
        self._file.write(self._animation_control())
        self._file.seek(end)

    def _write(self, data: bytes, header: bytes) -> None:
        self._file.write(chunk(b"fcTL", self._next_number() + header))
        if self._frames == 0:
            self._file.write(chunk(b"IDAT", data))
        else:
            self._file.write(chunk(b"fdAT", self._next_number() + data))
        self._frames += 1

    def _next_number(self) -> bytes:
        self._chunks += 1
        return struct.pack(">I", self._chunks - 1)

    def _animation_control(self) -> bytes:
        return chunk(b"acTL", struct.pack(">II", self._frames, self._loop))
