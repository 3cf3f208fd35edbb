"""Compress the pictures of an animation on several threads, and write them in their order.

What the formats written by hand (GIF, animated PNG, WebP) have in common.
"""

import os
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import BinaryIO, Generic, Self, TypeVar

import numpy as np

from filtertrack.outputs.timeline import Clock

Place = TypeVar("Place")

_MOST_THREADS = 4


class Compression(Generic[Place]):
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
        self, compress: Callable[..., bytes], write: Callable[[bytes, Place], object]
    ) -> None:
        threads = min(os.cpu_count() or 1, _MOST_THREADS)
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="filtertrack-compress")
        self._compress, self._write = compress, write
        self._most = 4 * threads
        self._waiting: deque[tuple[Future[bytes], Place]] = deque()

    def put(self, picture: object, place: Place) -> None:
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

    def __init__(self, file: BinaryIO, clock: Clock, compress: Callable[..., bytes]) -> None:
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
