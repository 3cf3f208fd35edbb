"""A shared memory limit for concurrent requests; further requests wait."""

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager


class BusyError(Exception):
    """What is asked for would be answered later: the server is busy with other requests."""


class MemoryBudget:
    """Admits requests in the order they come, as far as memory allows.

    Args:
        total: Bytes that admitted requests take together; one that takes more is admitted alone.
        patience: Seconds that a request waits, at most.

    Example:
        >>> budget = MemoryBudget(100, patience=0)
        >>> with budget.taking(60), budget.taking(60):
        ...     pass
        Traceback (most recent call last):
        ...
        filtertrack.tensorboard_plugin.request_memory.BusyError: the server is busy; try again in a
        moment
    """

    def __init__(self, total: int, patience: float) -> None:
        self._total = self._free = total
        self._patience = patience
        self._line: deque[object] = deque()
        self._changed = threading.Condition()

    @contextmanager
    def taking(self, size: int) -> Iterator[None]:
        """Wait for memory, and give it back at the end.

        Args:
            size: Bytes that the request takes, as far as that is known before.

        Raises:
            BusyError: If there is none in time.
        """
        size = min(size, self._total)
        ticket = object()
        with self._changed:
            self._line.append(ticket)
            try:
                if not self._changed.wait_for(
                    lambda: self._line[0] is ticket and self._free >= size, self._patience
                ):
                    raise BusyError("the server is busy; try again in a moment")
                self._free -= size
            finally:
                self._line.remove(ticket)
                self._changed.notify_all()
        try:
            yield
        finally:
            with self._changed:
                self._free += size
                self._changed.notify_all()
