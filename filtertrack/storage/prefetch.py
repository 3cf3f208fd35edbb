"""Reading over a connection: nothing is fetched twice, and what comes next is on its way."""

import threading
from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeAlias

import numpy as np

_AT_ONCE = 16
_AHEAD = 64 << 20
_KEPT = 256 << 20
"""Bytes: of what may be on its way, and of what was read and is kept."""

Arrays: TypeAlias = dict[str, np.ndarray]
Read: TypeAlias = Callable[[int, Mapping[str, int]], Arrays]
ReadStamped: TypeAlias = Callable[[int, Mapping[str, int]], tuple[Arrays, int]]
Wanted: TypeAlias = tuple[int, int | None, tuple[str, ...]]


class Prefetcher:
    """Reads arrays of snapshots; where steps are read one after another, the next ones beforehand.

    What was read is kept, up to 256 MB of it, until its file is seen to have been replaced.

    Args:
        read: Reads arrays of one snapshot: from its step and the arrays' names, each with the bytes
            it may take. Returns also the stamp of the file they were read from. Called in several
            threads.
        stamps: Returns the steps that may be asked for, ascending, each with a number that changes
            when its file is replaced.

    Example:
        >>> def read(step, members):
        ...     return {"step": np.array(step)}, 7
        >>> ahead = Prefetcher(read, lambda: {0: 7, 1: 7})
        >>> [int(ahead.read(step, {"step": 8})["step"]) for step in (0, 1)]
        [0, 1]
    """

    def __init__(self, read: ReadStamped, stamps: Callable[[], Mapping[int, int]]) -> None:
        self._read = read
        self._stamps = stamps
        self._pool: ThreadPoolExecutor | None = None
        self._coming: dict[Wanted, Future[tuple[Arrays, int]]] = {}
        self._last: Wanted | None = None
        self._kept = _Kept()
        self._lock = threading.Lock()

    def read(self, step: int, members: Mapping[str, int]) -> Arrays:
        """Read arrays of one snapshot.

        Args:
            step: The snapshot's.
            members: Names of the arrays, and the bytes each may take.

        Returns:
            The arrays by their names.
        """
        stamps = self._stamps()
        wanted = (step, stamps.get(step), tuple(members))
        with self._lock:
            known = self._kept.find(wanted)
            coming = self._coming.pop(wanted, None)
            self._fetch(self._following(wanted, stamps), members)
            self._last = wanted
        if known is not None:
            return known
        # What could not be read beforehand may be there now.
        beforehand = None if coming is None or coming.exception() else coming.result()
        arrays, stamp = beforehand or self._read(step, members)
        with self._lock:
            self._kept.add(step, stamp, arrays)
        return arrays

    def _following(self, wanted: Wanted, stamps: Mapping[int, int]) -> list[Wanted]:
        """Return what comes next if the way from the last one to this one goes on."""
        names = wanted[2]
        if self._last is None or self._last[2] != names:
            return []
        steps = list(stamps)
        before, here = (bisect_left(steps, step) for step in (self._last[0], wanted[0]))
        stride = here - before
        end = here + stride * _AT_ONCE + 1
        following = steps[here + stride : end : stride] if stride > 0 else []
        return [(step, stamps[step], names) for step in following]

    def _fetch(self, following: list[Wanted], members: Mapping[str, int]) -> None:
        """Have these read, as far as memory allows; forget what else was on its way."""
        most = max(1, _AHEAD // max(1, sum(members.values())))
        wanted = [each for each in following[:most] if not self._kept.holds(each)]
        for each in set(self._coming).difference(wanted):
            self._coming.pop(each).cancel()
        for each in wanted:
            if each not in self._coming:
                self._coming[each] = self._workers().submit(self._read, each[0], members)

    def _workers(self) -> ThreadPoolExecutor:
        if self._pool is None:
            self._pool = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="filtertrack-read")
        return self._pool


class _Kept:
    """Arrays that were read, those not asked for for the longest time forgotten first."""

    def __init__(self) -> None:
        self._arrays: OrderedDict[tuple[int, int | None, str], np.ndarray] = OrderedDict()
        self._size = 0

    def holds(self, wanted: Wanted) -> bool:
        """Whether all of these arrays are kept."""
        step, stamp, names = wanted
        return stamp is not None and all((step, stamp, name) in self._arrays for name in names)

    def find(self, wanted: Wanted) -> Arrays | None:
        """Return these arrays, to be changed at will; None unless all of them are kept."""
        if not self.holds(wanted):
            return None
        step, stamp, names = wanted
        for name in names:
            self._arrays.move_to_end((step, stamp, name))
        return {name: self._arrays[step, stamp, name].copy() for name in names}

    def add(self, step: int, stamp: int, arrays: Arrays) -> None:
        """Keep these arrays, unless they are larger than all that may be kept."""
        if sum(array.nbytes for array in arrays.values()) > _KEPT:
            return
        for name, array in arrays.items():
            before = self._arrays.pop((step, stamp, name), None)
            self._arrays[step, stamp, name] = array.copy()
            self._size += array.nbytes - (0 if before is None else before.nbytes)
        while self._size > _KEPT:
            self._size -= self._arrays.popitem(last=False)[1].nbytes
