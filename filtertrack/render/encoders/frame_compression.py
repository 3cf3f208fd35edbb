"""Common base of the GIF, animated PNG and WebP writers: changed rectangles, several threads.

Of each frame only the rectangle that differs from the frame before is stored. The rectangles are
compressed on several threads, and written in their order.
"""

import os
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import BinaryIO, NamedTuple, Self

import numpy as np

from filtertrack.render.encoders.tick_clock import TickClock

_MOST_THREADS = 4
_WAITING_PER_THREAD = 4


class Compression:
    """Compresses pictures on several threads, and writes the results in order.

    At most four pictures per thread wait, so memory is bounded. The compressors (zlib, Pillow's
    encoders) release the GIL while they work.

    Args:
        compress: Turns a picture into bytes, on any thread.
        write: Takes the bytes and the header that belongs to them, in order, on the caller's
            thread.

    Example:
        >>> lines = []
        >>> write = lambda data, header: lines.append(header + data)
        >>> with Compression(bytes.upper, write) as compression:
        ...     compression.put(b"a", b"1")
        ...     compression.put(b"b", b"2")
        >>> lines
        [b'1A', b'2B']
    """

    def __init__(
        self, compress: Callable[..., bytes], write: Callable[[bytes, bytes], object]
    ) -> None:
        threads = min(os.cpu_count() or 1, _MOST_THREADS)
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="filtertrack-compress")
        self._compress, self._write = compress, write
        self._most = _WAITING_PER_THREAD * threads
        self._waiting: deque[tuple[Future[bytes], bytes]] = deque()

    def put(self, picture: object, header: bytes) -> None:
        """Submit a picture, which must not be changed afterwards, and its header.

        Raises:
            Exception: If compressing or writing an earlier picture failed.
        """
        self._waiting.append((self._pool.submit(self._compress, picture), header))
        if len(self._waiting) > self._most:
            self._write_first()

    def __enter__(self) -> Self:
        """Return the compression itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Write the remaining pictures, unless an exception was raised; end the threads."""
        try:
            while self._waiting and error is None:
                self._write_first()
        finally:
            self._pool.shutdown(cancel_futures=True)

    def _write_first(self) -> None:
        future, header = self._waiting.popleft()
        self._write(future.result(), header)


class FrameWriter(ABC):
    """Writes an animation frame by frame, in a ``with`` statement.

    After an exception nothing more is written; the file is incomplete then.

    Args:
        file: Where to write, from its beginning; seekable, and left open.
        clock: Converts seconds to the format's ticks.
        compress: Turns a picture that was put into bytes, on any thread.
    """

    def __init__(self, file: BinaryIO, clock: TickClock, compress: Callable[..., bytes]) -> None:
        self._file, self._clock = file, clock
        self._before: np.ndarray | None = None
        self._compression = Compression(compress, self._write)

    def __enter__(self) -> Self:
        """Return the writer itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Write the remaining frames, and end the file."""
        try:
            self._compression.__exit__(kind, error, traceback)
            if error is None:
                self._finish()
        finally:
            self._close()

    def _close(self) -> None:  # noqa: B027 - most writers open nothing
        """Close what the writer itself has opened; also called after an exception."""

    @abstractmethod
    def add(self, frame: np.ndarray, seconds: float) -> None:
        """Add a frame.

        Args:
            frame: ``uint8`` array of the file's height and width: entries of its palette, or, if
                it has none, with a last axis of 3 colours.
            seconds: How long it is shown. Rounding errors are carried over to the next frame, so
                that the whole animation has the right duration.
        """

    @abstractmethod
    def _write(self, data: bytes, header: bytes) -> None:
        """Write a compressed picture after its header."""

    @abstractmethod
    def _finish(self) -> None:
        """Write the end of the file."""


class Change(NamedTuple):
    """The smallest rectangle that holds all differences between two pictures.

    Attributes:
        top: Its first row.
        left: Its first column.
        part: The later picture's pixels in it.
        differs: Which of them differ: boolean array of shape ``(height, width)``.
    """

    top: int
    left: int
    part: np.ndarray
    differs: np.ndarray


def changed(before: np.ndarray | None, frame: np.ndarray, align: int = 1) -> Change:
    """Find the rectangle in which a picture differs from the one before.

    Args:
        before: The earlier picture; None if there is none: then the whole picture is new.
        frame: The later one: array of shape ``(height, width)`` or ``(height, width, channels)``.
        align: Top and left are rounded down to a multiple of this.

    Returns:
        The change. If nothing differs it is the first pixel, as no format allows empty rectangles.

    Example:
        >>> before, frame = np.zeros((4, 4), int), np.zeros((4, 4), int)
        >>> frame[1, 2] = frame[2, 2] = 7
        >>> changed(before, frame).part
        array([[7], [7]])
    """
    if before is None:
        return Change(0, 0, frame, np.ones(frame.shape[:2], bool))
    unequal = before != frame
    differs = unequal if frame.ndim == 2 else np.logical_or.reduce(unequal, axis=2)
    rows, columns = np.flatnonzero(differs.any(axis=1)), np.flatnonzero(differs.any(axis=0))
    if not len(rows):
        return Change(0, 0, frame[:1, :1], differs[:1, :1])
    top, left = int(rows[0]) // align * align, int(columns[0]) // align * align
    inside = slice(top, int(rows[-1]) + 1), slice(left, int(columns[-1]) + 1)
    return Change(top, left, frame[inside], differs[inside])
