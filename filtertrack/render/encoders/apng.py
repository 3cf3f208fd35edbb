"""Write an animated PNG frame by frame: exact, and what TensorBoard shows as a moving picture.

TensorBoard hands an image's bytes to the browser untouched, so one image summary can hold a whole
evolution. Pillow writes the frames of an animated PNG only once it has all of them (and just one of
them when given a generator).
"""

import struct
from functools import partial
from typing import BinaryIO

import numpy as np

from filtertrack.outputs.timeline import Clock
from filtertrack.render.encoders.changes import changed
from filtertrack.render.encoders.compression import FrameWriter
from filtertrack.render.encoders.png import chunk, compress, file_head

_REPLACE = struct.pack(">BB", 0, 0)
_LEVEL = 6
_LONGEST_DELAY = (1 << 16) - 1


class ApngWriter(FrameWriter):
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
        >>> with ApngWriter(file, (2, 2), np.zeros((256, 3), np.uint8)) as png:
        ...     png.add(np.zeros((2, 2), np.uint8), seconds=0.5)
        >>> file.getvalue()[:4]
        b'\x89PNG'
    """

    def __init__(
        self, file: BinaryIO, shape: tuple[int, int], colours: np.ndarray | None, loop: int = 0
    ) -> None:
        super().__init__(file, Clock(100, _LONGEST_DELAY), partial(compress, level=_LEVEL))
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
