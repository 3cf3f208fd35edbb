"""Encoder of animated GIF that writes frame by frame, in constant memory.

Pillow and imageio keep all frames until the file is closed. Here Pillow compresses single frames;
the container is written by this module. After the first frame only the changed rectangle is stored,
with unchanged pixels transparent. A frame may have its own palette. The format is specified in
GIF89a (CompuServe, 1990).
"""

import struct
import tempfile
from typing import BinaryIO

import numpy as np
from PIL import Image

from filtertrack.render.encoders.frame_compression import FrameWriter, changed
from filtertrack.render.encoders.tick_clock import TickClock
from filtertrack.render.frame_palettes import Repaint
from filtertrack.render.palette import TRANSPARENT

_KEEP = 1 << 2
"""Disposal method 1, "do not dispose": without it Firefox draws transparent changes wrongly."""
_HAS_TRANSPARENT = 1
_TICKS = 100
"""Per second."""
_LONGEST_DELAY = (1 << 16) - 1
_EXTENSION, _IMAGE, _TRAILER = 0x21, 0x2C, 0x3B
"""First bytes of the parts of a file."""
_GRAPHIC_CONTROL, _APPLICATION = 0xF9, 0xFF
"""Labels of extensions."""
_COLOUR_TABLE, _TABLE_SIZE = 0x80, 0x07
"""Bits that tell whether a colour table follows, and the exponent of its size."""
_OWN_TABLE = _COLOUR_TABLE | _TABLE_SIZE
_HEADER_BYTES, _DESCRIPTOR_BYTES = 13, 10


class GifWriter(FrameWriter):
    """Writes an animated GIF.

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
        super().__init__(file, TickClock(_TICKS, _LONGEST_DELAY), self._compressed)
        self._lasting = np.empty(shape, np.uint8)
        height, width = shape
        self._frame_size = height * width
        self._unused: list[tuple[BinaryIO, np.ndarray]] = []
        """Temporary files and memory for the pixels of a frame that no thread is using."""
        flags = _COLOUR_TABLE | 0x70 | _TABLE_SIZE  # 8 bits per colour, a table of 256 colours
        file.write(b"GIF89a" + struct.pack("<HHBBB", width, height, flags, 0, 0))
        file.write(colours.tobytes())
        if loop != 1:  # the extension holds the number of repetitions
            repetitions = max(loop - 1, 0)
            file.write(bytes([_EXTENSION, _APPLICATION, 11]) + b"NETSCAPE2.0")
            file.write(struct.pack("<BBHB", 3, 1, repetitions, 0))

    def add(self, frame: np.ndarray | Repaint, seconds: float) -> None:
        """Add a frame; durations are in hundredths of a second.

        Args:
            frame: Palette entries, never 255; or a ``Repaint``, in which 255 keeps a pixel.
            seconds: How long it is shown.
        """
        if isinstance(frame, Repaint):
            self._put(frame.pixels, seconds, frame.colours.tobytes())
            self._before = frame.lasting(self._lasting)
        else:
            self._put(frame, seconds)
            self._before = frame

    def _put(self, entries: np.ndarray, seconds: float, table: bytes = b"") -> None:
        """Compress what has changed; the colour table is the frame's own, if it has one."""
        top, left, part, differs = changed(self._before, entries)
        height, width = part.shape
        # Unchanged pixels become 0 - 1 in a byte: 255, which is TRANSPARENT. Computed in place, as
        # allocating memory for each operation would take longer than the operations.
        pixels = differs.view(np.uint8)
        np.subtract(pixels, 1, out=pixels)
        np.bitwise_or(pixels, part, out=pixels)
        control = struct.pack(
            "<BBBBHBB",
            *(_EXTENSION, _GRAPHIC_CONTROL, 4),
            *(_KEEP | _HAS_TRANSPARENT, self._clock.ticks(seconds), TRANSPARENT, 0),
        )
        flags = _OWN_TABLE if table else 0
        descriptor = struct.pack("<BHHHHB", _IMAGE, left, top, width, height, flags)
        self._compression.put(pixels, control + descriptor + table)

    def _close(self) -> None:
        for file, _ in self._unused:
            file.close()

    def _compressed(self, part: np.ndarray) -> bytes:
        """Compress a picture, with a file and memory that are used again for the next one."""
        try:
            file, memory = self._unused.pop()
        except IndexError:
            file = tempfile.TemporaryFile()  # noqa: SIM115 - closed in the end
            memory = np.empty(self._frame_size, np.uint8)
        try:
            pixels = memory[: part.size].reshape(part.shape)
            np.copyto(pixels, part)
            return _compressed(pixels, file)
        finally:
            self._unused.append((file, memory))

    def _finish(self) -> None:
        self._file.write(bytes([_TRAILER]))

    def _write(self, data: bytes, header: bytes) -> None:
        self._file.write(header)
        self._file.write(data)


def _compressed(part: np.ndarray, file: BinaryIO) -> bytes:
    """Return the LZW data of a picture as Pillow writes it: code size, blocks, and terminator.

    Args:
        part: The picture, contiguous in memory.
        file: A file of the operating system that is overwritten: only into one does Pillow release
            the GIL.
    """
    height, width = part.shape
    # With the mode of entries Pillow makes no palette of greys; the buffer is not copied.
    image = Image.frombuffer("P", (width, height), part, "raw", "P", 0, 1)
    file.seek(0)
    # Interlacing would change the order of pixels, "optimising" their entries.
    image.save(file, "GIF", optimize=False, interlace=False)
    size = file.tell()
    file.seek(0)
    data = file.read(size)
    at = _HEADER_BYTES + _table_bytes(data[10])
    while data[at] == _EXTENSION:  # a label, then blocks that begin with their length
        at += 2
        while data[at]:
            at += 1 + data[at]
        at += 1
    return data[at + _DESCRIPTOR_BYTES + _table_bytes(data[at + 9]) : -1]


def _table_bytes(flags: int) -> int:
    """Return the size of the colour table that follows."""
    return 3 << (1 + (flags & _TABLE_SIZE)) if flags & _COLOUR_TABLE else 0
