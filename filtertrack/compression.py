"""Compress the pictures of an animation on several threads, and write them in their order."""

import os
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Generic, Self, TypeVar

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
