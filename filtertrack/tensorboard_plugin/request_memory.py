"""A shared memory limit for concurrent requests; further requests wait."""

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager


class BusyError(Exception):
    """The server is busy with other requests; this one can be repeated later."""


class MemoryBudget:
    """Admits requests in the order of their arrival, within a limit of memory.

    Args:
        total: Bytes that all admitted requests take together; a larger one is admitted alone.
        timeout: Seconds that a request waits, at most.

    Example:
        >>> budget = MemoryBudget(100, timeout=0)
        >>> with budget.reserve(60), budget.reserve(60):
        ...     pass
        Traceback (most recent call last):
        ...
        filtertrack.tensorboard_plugin.request_memory.BusyError: the server is busy; try again in a
        moment
    """

    def __init__(self, total: int, timeout: float) -> None:
        self._total = self._free = total
        self._timeout = timeout
        self._queue: deque[object] = deque()
        self._changed = threading.Condition()

    @contextmanager
    def reserve(self, size: int) -> Iterator[None]:
        """Wait for memory, and release it at the end of the context.

        Args:
            size: Bytes that the request takes, as far as that is known in advance.

        Raises:
            BusyError: If the memory is not available in time.
        """
        size = min(size, self._total)
        ticket = object()
        with self._changed:
            self._queue.append(ticket)
            try:
                if not self._changed.wait_for(
                    lambda: self._queue[0] is ticket and self._free >= size, self._timeout
                ):
                    raise BusyError("the server is busy; try again in a moment")
                self._free -= size
            finally:
                self._queue.remove(ticket)
                self._changed.notify_all()
        try:
            yield
        finally:
            with self._changed:
                self._free += size
                self._changed.notify_all()
