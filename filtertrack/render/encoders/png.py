"""PNG as it suits magnified cells: smaller than general encoders make it, and in less time.

The layout is that of the PNG specification, third edition (W3C 2025).
"""

import struct
from functools import partial
from typing import BinaryIO

import numpy as np
from zlib_ng import zlib_ng

from filtertrack.render.encoders.frame_compression import FrameWriter, changed
from filtertrack.render.encoders.frame_durations import TickClock
from filtertrack.render.grid import SEPARATOR, grid_palette

_TRUE_COLOUR, _PALETTE = 2, 3
_UP = 2

_MOST_MEMORY = 9  # zlib's own scale, for speed: less than a megabyte

# Rows of palette entries are runs of one byte: looking for runs alone finds all that there is. A
# run of colours repeats every third byte, which level 2 finds, and higher levels no better.
_RUNS = (1, zlib_ng.Z_RLE)
_COLOURS = (2, zlib_ng.Z_DEFAULT_STRATEGY)


def encode(picture: np.ndarray, colours: np.ndarray | None = None) -> bytes:
    r"""Turn a picture into the bytes of a PNG file, exactly.

    Args:
        picture: ``uint8`` array of shape ``(height, width)``, entries of the palette, or
            ``(height, width, 3)``, colours.
        colours: The palette of the former: ``uint8`` array of shape ``(up to 256, 3)``.

    Returns:
        The file.

    Raises:
        ValueError: If entries come without a palette, or colours with one.

    Example:
        >>> encode(np.zeros((2, 2, 3), np.uint8))[:4]
        b'\x89PNG'
    """
    if (picture.ndim == 2) != (colours is not None):
        raise ValueError("expected entries with a palette, or colours without one")
    height, width = picture.shape[:2]
    data = chunk(b"IDAT", compress(picture))
    return file_head((height, width), colours) + data + chunk(b"IEND", b"")


def to_png(picture: np.ndarray) -> bytes:
    """Turn a grid that ``grid.draw_pages`` has drawn into the bytes of a PNG file."""
    return encode(picture, grid_palette()[: SEPARATOR + 1] if picture.ndim == 2 else None)


def file_head(shape: tuple[int, int], colours: np.ndarray | None) -> bytes:
    """Return what comes before the pictures of a file: its signature, shape and palette."""
    height, width = shape
    kind = _TRUE_COLOUR if colours is None else _PALETTE
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, kind, 0, 0, 0))
    entries = b"" if colours is None else chunk(b"PLTE", colours.tobytes())
    return b"\x89PNG\r\n\x1a\n" + head + entries


def chunk(kind: bytes, data: bytes) -> bytes:
    """Return one part of a file: its length, kind, content and checksum."""
    checksum = zlib_ng.crc32(data, zlib_ng.crc32(kind))
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", checksum)


def compress(picture: np.ndarray, level: int | None = None) -> bytes:
    """Compress rows: one like the row above as "no difference" (filter Up), others as they are.

    Cells are magnified, so most rows repeat; they have no gradients for PNG's other filters.

    Args:
        picture: As in ``encode``.
        level: zlib's, from 1 to 9, for pictures that also hold text and lines; None for cells
            alone, of which a higher level finds no more.
    """
    flat = picture.reshape(len(picture), -1)
    rows = np.zeros((flat.shape[0], flat.shape[1] + 1), np.uint8)
    rows[:, 1:] = flat
    repeated = 1 + np.flatnonzero((flat[1:] == flat[:-1]).all(axis=1))
    rows[repeated] = 0
    rows[repeated, 0] = _UP
    chosen, strategy = _RUNS if picture.ndim == 2 else _COLOURS
    if level is not None:
        chosen, strategy = level, zlib_ng.Z_DEFAULT_STRATEGY
    compressor = zlib_ng.compressobj(
        chosen, zlib_ng.DEFLATED, zlib_ng.MAX_WBITS, _MOST_MEMORY, strategy
    )
    return compressor.compress(rows.data) + compressor.flush()


_REPLACE = struct.pack(">BB", 0, 0)
_LEVEL = 6
_LONGEST_DELAY = (1 << 16) - 1


class AnimatedPngWriter(FrameWriter):
    r"""An animated PNG.

    Args:
        file: Where to write, from its beginning; it can seek, and stays open.
        shape: Height and width of every frame.
        colours: The palette of all frames: ``uint8`` array of shape ``(256, 3)``. None where the
            frames themselves hold colours.
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
        super().__init__(file, TickClock(100, _LONGEST_DELAY), partial(compress, level=_LEVEL))
        self._loop = loop
        self._frames = self._chunks = 0
        file.write(file_head(shape, colours))
        self._at_count = file.tell()
        file.write(self._count())

    def add(self, frame: np.ndarray, seconds: float) -> None:
        """Add a frame; durations are in hundredths of a second."""
        top, left, part, _ = changed(self._before, frame)
        place = struct.pack(">IIII", part.shape[1], part.shape[0], left, top)
        delay = struct.pack(">HH", self._clock.ticks(seconds), 100)
        self._compression.put(part, place + delay + _REPLACE)
        self._before = frame

    def _finish(self) -> None:
        self._file.write(chunk(b"IEND", b""))
        end = self._file.tell()
        self._file.seek(self._at_count)
        self._file.write(self._count())
        self._file.seek(end)

    def _write(self, data: bytes, control: bytes) -> None:
        self._file.write(chunk(b"fcTL", self._number() + control))
        if self._frames == 0:
            self._file.write(chunk(b"IDAT", data))
        else:
            self._file.write(chunk(b"fdAT", self._number() + data))
        self._frames += 1

    def _number(self) -> bytes:
        self._chunks += 1
        return struct.pack(">I", self._chunks - 1)

    def _count(self) -> bytes:
        return chunk(b"acTL", struct.pack(">II", self._frames, self._loop))
