"""Prefetch and cache arrays of snapshots on object storage."""

import threading
from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeAlias

import numpy as np

_THREADS = 16
"""Threads, and the maximum number of snapshots that are prefetched."""
_PREFETCH_BYTES = 64 << 20
_CACHE_BYTES = 256 << 20

Arrays: TypeAlias = dict[str, np.ndarray]
Read: TypeAlias = Callable[[int, Mapping[str, int]], Arrays]
ReadStamped: TypeAlias = Callable[[int, Mapping[str, int]], tuple[Arrays, int]]
Request: TypeAlias = tuple[int, int | None, tuple[str, ...]]


class Prefetcher:
    """Reads arrays of snapshots; if steps are read in sequence, the next ones are prefetched.

    Up to 256 MB of arrays are cached, each until its file was replaced.

    Args:
        read: Reads arrays of one snapshot, given its step and the arrays' names with their maximum
            bytes. Returns the arrays and the stamp of their file. Called in several threads.
        stamps: Returns the existing steps, ascending, each with a number that changes when its file
            is replaced.

    Example:
        >>> def read(step, members):
        ...     return {"step": np.array(step)}, 7
        >>> prefetcher = Prefetcher(read, lambda: {0: 7, 1: 7})
        >>> [int(prefetcher.read(step, {"step": 8})["step"]) for step in (0, 1)]
        [0, 1]
    """

    def __init__(self, read: ReadStamped, stamps: Callable[[], Mapping[int, int]]) -> None:
        self._read = read
        self._stamps = stamps
        self._pool: ThreadPoolExecutor | None = None
        self._pending: dict[Request, Future[tuple[Arrays, int]]] = {}
        self._last: Request | None = None
        self._cache = _Cache()
        self._lock = threading.Lock()

    def read(self, step: int, members: Mapping[str, int]) -> Arrays:
        """Read arrays of one snapshot.

        Args:
            step: The snapshot's.
            members: Names of the arrays, each with its maximum bytes.

        Returns:
            The arrays by their names.
        """
        stamps = self._stamps()
        request = (step, stamps.get(step), tuple(members))
        with self._lock:
            cached = self._cache.find(request)
            pending = self._pending.pop(request, None)
            self._prefetch(self._next(request, stamps), members)
            self._last = request
        if cached is not None:
            return cached
        # A prefetch that failed is repeated: the file may exist now.
        prefetched = None if pending is None or pending.exception() else pending.result()
        arrays, stamp = prefetched or self._read(step, members)
        with self._lock:
            self._cache.add(step, stamp, arrays)
        return arrays

    def _next(self, request: Request, stamps: Mapping[int, int]) -> list[Request]:
        """Return the requests that follow if the step from the last one to this one is repeated."""
        names = request[2]
        if self._last is None or self._last[2] != names:
            return []
        steps = list(stamps)
        before, here = (bisect_left(steps, step) for step in (self._last[0], request[0]))
        stride = here - before
        end = here + stride * _THREADS + 1
        following = steps[here + stride : end : stride] if stride > 0 else []
        return [(step, stamps[step], names) for step in following]

    def _prefetch(self, following: list[Request], members: Mapping[str, int]) -> None:
        """Start reading, within the memory limit; cancel other pending requests."""
        most = max(1, _PREFETCH_BYTES // max(1, sum(members.values())))
        wanted = [each for each in following[:most] if not self._cache.holds(each)]
        for each in set(self._pending).difference(wanted):
            self._pending.pop(each).cancel()
        for each in wanted:
            if each not in self._pending:
                self._pending[each] = self._workers().submit(self._read, each[0], members)

    def _workers(self) -> ThreadPoolExecutor:
        if self._pool is None:
            self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="filtertrack-read")
        return self._pool


class _Cache:
    """A cache of arrays; the least recently used ones are removed first."""

    def __init__(self) -> None:
        self._arrays: OrderedDict[tuple[int, int | None, str], np.ndarray] = OrderedDict()
        self._size = 0

    def holds(self, request: Request) -> bool:
        """Whether all arrays of a request are cached."""
        step, stamp, names = request
        return stamp is not None and all((step, stamp, name) in self._arrays for name in names)

    def find(self, request: Request) -> Arrays | None:
        """Return copies of the arrays of a request; None unless all are cached."""
        if not self.holds(request):
            return None
        step, stamp, names = request
        for name in names:
            self._arrays.move_to_end((step, stamp, name))
        return {name: self._arrays[step, stamp, name].copy() for name in names}

    def add(self, step: int, stamp: int, arrays: Arrays) -> None:
        """Add copies of arrays, unless they are larger than the cache."""
        if sum(array.nbytes for array in arrays.values()) > _CACHE_BYTES:
            return
        for name, array in arrays.items():
            before = self._arrays.pop((step, stamp, name), None)
            self._arrays[step, stamp, name] = array.copy()
            self._size += array.nbytes - (0 if before is None else before.nbytes)
        while self._size > _CACHE_BYTES:
            self._size -= self._arrays.popitem(last=False)[1].nbytes
