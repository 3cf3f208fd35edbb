"""Compress the pictures of an animation on several threads, and write them in their order.

What the formats written by hand (GIF, animated PNG, WebP) have in common.
"""

import os
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import BinaryIO, Generic, NamedTuple, Self, TypeVar

import numpy as np

from filtertrack.render.encoders.frame_durations import TickClock

Head = TypeVar("Head")

_MOST_THREADS = 4


class Compression(Generic[Head]):
    """A few threads that compress, and one place where the results come out in order.

    At most four pictures a thread wait, so memory is bounded. Threads help because the
    compressors (zlib, Pillow's encoders) let go of the interpreter while they work.

    Args:
        compress: Turns a picture into bytes, on some thread.
        write: Takes the bytes and what was put with the picture, in order, on the caller's thread.

    Example:
        >>> lines = []
        >>> with Compression(bytes.upper, lambda data, n: lines.append((n, data))) as compression:
        ...     compression.put(b"a", 1)
        ...     compression.put(b"b", 2)
        >>> lines
        [(1, b'A'), (2, b'B')]
    """

    def __init__(
        self, compress: Callable[..., bytes], write: Callable[[bytes, Head], object]
    ) -> None:
        threads = min(os.cpu_count() or 1, _MOST_THREADS)
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="filtertrack-compress")
        self._compress, self._write = compress, write
        self._most = 4 * threads
        self._waiting: deque[tuple[Future[bytes], Head]] = deque()

    def put(self, picture: object, place: Head) -> None:
        """Hand a picture over; it must not be changed any more.

        Raises:
            Exception: What compressing or writing an earlier one raised.
        """
        self._waiting.append((self._pool.submit(self._compress, picture), place))
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
        """Write what is still under way, unless something went wrong; end the threads."""
        try:
            while self._waiting and error is None:
                self._write_first()
        finally:
            self._pool.shutdown(cancel_futures=True)

    def _write_first(self) -> None:
        future, place = self._waiting.popleft()
        self._write(future.result(), place)


class FrameWriter(ABC):
    """A file that is written frame after frame, for a ``with`` statement.

    After an exception nothing more is written: what there is, is no file.

    Args:
        file: Where to write, from its beginning; it can seek, and stays open.
        clock: Turns seconds into what the format counts in.
        compress: Turns what was put into bytes, on some thread.
    """

    def __init__(self, file: BinaryIO, clock: TickClock, compress: Callable[..., bytes]) -> None:
        self._file, self._clock = file, clock
        self._before: np.ndarray | None = None
        self._compression: Compression[bytes] = Compression(compress, self._write)

    def __enter__(self) -> Self:
        """Return the writer itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Write what is under way, and end the file."""
        self._compression.__exit__(kind, error, traceback)
        if error is None:
            self._finish()

    @abstractmethod
    def add(self, frame: np.ndarray, seconds: float) -> None:
        """Add a frame.

        Args:
            frame: ``uint8`` array of the file's height and width: entries of its palette, or with
                a last axis of 3 colours where it has none.
            seconds: How long it is shown. What rounding takes from one frame the next gets, so the
                whole lasts as long as asked.
        """

    @abstractmethod
    def _write(self, data: bytes, head: bytes) -> None:
        """Write a compressed picture behind its head."""

    @abstractmethod
    def _finish(self) -> None:
        """Write the end of the file."""


class Change(NamedTuple):
    """The smallest rectangle in which two pictures differ.

    Attributes:
        top: Its first row.
        left: Its first column.
        part: The later picture's pixels in it.
        differs: Which of them differ: booleans of shape ``(height, width)``.
    """

    top: int
    left: int
    part: np.ndarray
    differs: np.ndarray


def changed(before: np.ndarray | None, frame: np.ndarray, align: int = 1) -> Change:
    """Find what a picture changes.

    Args:
        before: The earlier picture; None if there is none: then all of it is new.
        frame: The later one: array of shape ``(height, width)`` or ``(height, width, channels)``.
        align: Top and left are rounded down to a multiple of this.

    Returns:
        The change. Where nothing differs it is the first pixel: a file has to hold something.

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
