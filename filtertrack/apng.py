"""Write an animated PNG frame by frame: what TensorBoard shows as a moving picture.

TensorBoard hands an image's bytes to the browser untouched, so one image summary can hold a whole
evolution. Pillow writes the frames of an animated PNG only once it has all of them (and just one of
them when given a generator); a PNG is simple enough to write directly (PNG specification, third
edition, W3C 2025, which includes APNG).
"""

import struct
import zlib
from collections.abc import Iterable

import numpy as np

from filtertrack.gif import changed_rectangle

_PALETTE_PICTURE = struct.pack(">BBBBB", 8, 3, 0, 0, 0)
_REPLACE = struct.pack(">BB", 0, 0)


def to_apng(
    frames: Iterable[tuple[np.ndarray, float]],
    count: int,
    shape: tuple[int, int],
    colours: np.ndarray,
) -> bytes:
    r"""Return an animated PNG that plays forever.

    Args:
        frames: Each frame, a ``uint8`` array of entries of the palette, and its seconds.
        count: How many frames there are; the file says it before the first.
        shape: Height and width of every frame.
        colours: The palette: ``uint8`` array of shape ``(256, 3)``.

    Returns:
        The file's bytes.

    Example:
        >>> frames = [(np.zeros((2, 2), np.uint8), 0.1), (np.ones((2, 2), np.uint8), 0.1)]
        >>> to_apng(frames, 2, (2, 2), np.zeros((256, 3), np.uint8))[:4]
        b'\x89PNG'
    """
    height, width = shape
    parts = [
        b"\x89PNG\r\n\x1a\n",
        _chunk(b"IHDR", struct.pack(">II", width, height) + _PALETTE_PICTURE),
        _chunk(b"PLTE", colours.tobytes()),
        _chunk(b"acTL", struct.pack(">II", count, 0)),
    ]
    before: np.ndarray | None = None
    number = 0
    for frame, seconds in frames:
        top, left, part = (0, 0, frame) if before is None else changed_rectangle(before, frame)
        place = struct.pack(">IIII", part.shape[1], part.shape[0], left, top)
        delay = struct.pack(">HH", min(round(1000 * seconds), 0xFFFF), 1000)
        parts.append(_chunk(b"fcTL", struct.pack(">I", number) + place + delay + _REPLACE))
        number += 1
        if before is None:
            parts.append(_chunk(b"IDAT", _compressed(part)))
        else:
            parts.append(_chunk(b"fdAT", struct.pack(">I", number) + _compressed(part)))
            number += 1
        before = frame
    return b"".join([*parts, _chunk(b"IEND", b"")])


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _compressed(part: np.ndarray) -> bytes:
    """Compress rows as they are (filter type 0): magnified cells repeat, they have no gradients."""
    rows = np.zeros((part.shape[0], part.shape[1] + 1), np.uint8)
    rows[:, 1:] = part
    return zlib.compress(rows.tobytes(), 6)
