"""Writes snapshots on a background thread behind a bounded queue."""

import logging
import queue
import threading
import time
import weakref
from collections import defaultdict
from collections.abc import Callable, Mapping
from contextlib import suppress
from enum import Enum
from functools import partial

from filtertrack.errors import FiltertrackError, counted
from filtertrack.snapshot import Snapshot

_QUEUE_BYTES = 256 << 20
_MAX_QUEUED = 32
_REPORTED_WAIT = 0.1
"""Seconds of waiting of the training thread above which the log reports them."""
_CLOSE_TIMEOUTS = 6
"""Timeouts without progress after which ``close`` gives up."""
_log = logging.getLogger("filtertrack")

Sink = Callable[[Snapshot], object]
Decision = Callable[[], Snapshot | None]
"""Called in turn on the thread; returns the snapshot to write, or None for nothing."""

_ALL: "weakref.WeakSet[BackgroundWriter]" = weakref.WeakSet()
"""Every background writer of this program."""


class _Command(Enum):
    """Commands to the thread, in the same queue as the snapshots."""

    FINISH = "call the finish functions"
    END = "call the finish functions and end"


Waiting = queue.Queue[Snapshot | Decision | _Command]


def queue_capacity(snapshot_bytes: int) -> int:
    """Return how many snapshots may wait in the queue: 256 MB of them, at least 2, at most 32."""
    return max(2, min(_MAX_QUEUED, _QUEUE_BYTES // max(1, snapshot_bytes)))


class BackgroundWriter:
    """Passes each snapshot to every sink, in order, on one background thread.

    A failure of one sink affects only that sink and that snapshot. The first failure is logged as a
    warning, later ones are counted.

    Args:
        sinks: What a sink writes, such as ``"snapshots"``, to the function that writes it.
        finish: What is stored after the last snapshot, such as ``"the index"``, to the function
            that stores it, on the same thread. Each may be called again: when the program ends, and
            when it failed.
        finish_time: Returns for how many seconds the finish functions may work, in addition to the
            time after which a hanging write is given up.
        capacity: Number of snapshots that may wait in the queue. ``put`` waits while it is full.
        strict: Raise a sink's failure in the thread that calls ``put`` or ``close``.
        timeout: Seconds that ``put`` waits while the queue is full before it drops the snapshot.
            Then it does not wait again until a snapshot was accepted, so that a disk that hangs
            delays training only once.

    Example:
        >>> kept = []
        >>> writer = BackgroundWriter({"snapshots": kept.append}, capacity=2)
        >>> writer.put("any snapshot"), writer.close(), kept
        (True, True, ['any snapshot'])
    """

    def __init__(
        self,
        sinks: Mapping[str, Sink],
        finish: Mapping[str, Callable[[], object]] | None = None,
        *,
        finish_time: Callable[[], float] = lambda: 0.0,
        capacity: int,
        strict: bool = False,
        timeout: float = 10.0,
    ) -> None:
        self._queue: Waiting = queue.Queue(capacity)
        self._losses = _Losses(strict=strict)
        self._timeout = timeout
        self._finish_time = finish_time
        self._dropped = False
        self._waited = 0.0
        self._at_end: list[Callable[[], object]] = []
        # The thread holds no reference to this object, so that dropping it ends the thread.
        thread = threading.Thread(
            target=_work,
            args=(self._queue, dict(sinks), dict(finish or {}), self._losses, self._at_end),
            name="filtertrack",
            daemon=True,
        )
        thread.start()
        self._thread = thread
        # Also at the interpreter's exit: Keras calls no hook when fit raises or is interrupted.
        self._end = weakref.finalize(
            self, _end, self._queue, thread, timeout, self._losses, finish_time
        )
        _ALL.add(self)

    @property
    def lost(self) -> Mapping[str, int]:
        """Number of snapshots that each sink has lost; 1 for a finish function that failed."""
        return self._losses.counts

    def put(self, snapshot: Snapshot | Decision, *, counts: bool = True) -> bool:
        """Add a snapshot to the queue. The caller must not change its arrays afterwards.

        Args:
            snapshot: The snapshot, or a function that returns it on the thread.
            counts: Whether it counts as a lost snapshot if it is dropped.

        Returns:
            Whether the queue accepted it.

        Raises:
            FiltertrackError: With ``strict``, if a sink has failed since the last call.
        """
        start = time.monotonic()
        try:
            # Not 0: a moment of the thread's work may be all that is missing.
            self._queue.put(snapshot, timeout=0.001 if self._dropped else self._timeout)
            self._dropped = False
        except queue.Full:
            self._dropped = True
            if counts:
                error = TimeoutError("writing is slower than training")
                self._losses.add("snapshots", error, _key_of(snapshot))
        self._waited += time.monotonic() - start
        self._losses.check()
        return not self._dropped

    def close(self) -> bool:
        """Wait until everything is written, and log what was lost.

        Returns:
            Whether everything was processed; False if writing hangs.

        Raises:
            FiltertrackError: With ``strict``, if a sink has failed since the last call.
        """
        complete = not self._end.alive or self._end()
        if self._waited > _REPORTED_WAIT:
            _log.warning("training waited %.1f s for snapshots to be written", self._waited)
            self._waited = 0.0
        self._losses.check()
        return bool(complete)

    def call_at_end(self, function: Callable[[], object]) -> None:
        """Call a function when the thread has ended; after a timeout it may still be writing."""
        self._at_end.append(function)
        self._thread.join(0.1)
        if not self._thread.is_alive():
            _call_all(self._at_end)

    def flush(self) -> None:
        """Wait until the queue is processed, or makes no progress; the writer stays open.

        The finish functions are called after the last snapshot.
        """
        if _is_processed(self._queue, self._thread, self._timeout):
            time_to_finish = self._finish_time()
            with suppress(queue.Full):  # another thread of the program still adds snapshots
                self._queue.put(_Command.FINISH, timeout=self._timeout)
            _is_processed(self._queue, self._thread, self._timeout, time_to_finish)


class _Losses:
    """Counts the snapshots that each sink has lost, and keeps the last reason.

    A snapshot that is written again counts once, and not at all if that succeeds. The key of a
    finish function, instead of a step, is ``FINISH``.

    Attributes:
        pending: Names of the functions that the thread has yet to complete, and the key of their
            snapshot.
    """

    def __init__(self, *, strict: bool) -> None:
        self._lost: defaultdict[str, set[object]] = defaultdict(set)
        self.pending: dict[str, object] = {}
        self._strict = strict
        self._failure: tuple[str, Exception] | None = None
        self._last: dict[str, Exception] = {}

    @property
    def counts(self) -> Mapping[str, int]:
        """Number of snapshots that each sink has lost; 1 for a finish function that failed."""
        return {what: len(keys) for what, keys in self._lost.items() if keys}

    def add(self, what: str, error: Exception, key: object = None) -> None:
        is_first = what not in self._last
        self._lost[what].add(object() if key is None else key)
        self._last[what] = error
        if self._strict:
            self._failure = self._failure or (what, error)
        elif is_first:
            _log.warning("could not write %s, training goes on: %s", what, _describe(error))

    def discard(self, what: str, key: object) -> None:
        """Count a snapshot as written that was lost before."""
        self._lost[what].discard(key)

    def check(self) -> None:
        if self._failure:
            (what, error), self._failure = self._failure, None
            raise FiltertrackError(f"could not write {what}: {_describe(error)}") from error

    def report(self) -> None:
        for what, count in self.counts.items():
            reason = _describe(self._last[what])
            if _Command.FINISH in self._lost[what]:
                _log.warning("%s was not stored: %s", what, reason)
            else:
                _log.warning("lost %s; the last time: %s", counted(count, what), reason)


def _describe(error: Exception) -> str:
    return str(error) or type(error).__name__


def _work(
    waiting: Waiting,
    sinks: Mapping[str, Sink],
    finish: Mapping[str, Callable[[], object]],
    losses: _Losses,
    at_end: list[Callable[[], object]],
) -> None:
    """Process the queue until ``END``: the function of the thread."""
    while (item := waiting.get()) is not _Command.END:
        if isinstance(item, _Command):
            _try_all(finish, losses, _Command.FINISH)
        else:
            _write(item, sinks, losses)
        del item  # a snapshot's memory is freed before the next one arrives
        waiting.task_done()
    _try_all(finish, losses, _Command.FINISH)
    _call_all(at_end)


def _write(item: Snapshot | Decision, sinks: Mapping[str, Sink], losses: _Losses) -> None:
    try:
        snapshot = item() if callable(item) else item
    except Exception as error:  # noqa: BLE001 - training comes first, whatever happened
        losses.add("snapshots", error)
        return
    if snapshot is not None:
        functions = {what: partial(sink, snapshot) for what, sink in sinks.items()}
        _try_all(functions, losses, _key_of(snapshot))


def _key_of(snapshot: Snapshot | Decision) -> object:
    """Return the step of a snapshot as its key; a decision has none."""
    return getattr(snapshot, "step", None)


def _call_all(functions: list[Callable[[], object]]) -> None:
    with suppress(IndexError):  # the thread and its owner may both be here
        while True:
            functions.pop()()


def _try_all(
    functions: Mapping[str, Callable[[], object]], losses: _Losses, key: object = None
) -> None:
    losses.pending = dict.fromkeys(functions, key)
    for what, function in functions.items():
        try:
            function()
            losses.discard(what, key)
        except Exception as error:  # noqa: BLE001 - training comes first, whatever happened
            losses.add(what, error, key)
        del losses.pending[what]


def _end(
    waiting: Waiting,
    thread: threading.Thread,
    timeout: float,
    losses: _Losses,
    finish_time: Callable[[], float],
) -> bool:
    """Process the rest of the queue, end the thread, and log what was lost.

    Returns:
        Whether everything was processed; False if writing hangs.
    """
    if _is_processed(waiting, thread, timeout):
        time_to_finish = finish_time()
        with suppress(queue.Full):  # another thread of the program still adds snapshots
            waiting.put(_Command.END, timeout=timeout)
        thread.join(_CLOSE_TIMEOUTS * timeout + time_to_finish)
    complete = not thread.is_alive()
    if not complete:
        error = TimeoutError("writing did not finish")
        for what, key in sorted(losses.pending.items()):
            losses.add(what, error, key)
        for _ in range(_discard_queue(waiting)):
            losses.add("snapshots", error)
    losses.report()
    return complete


def _is_processed(
    waiting: Waiting, thread: threading.Thread, timeout: float, time_to_finish: float = 0.0
) -> bool:
    """Wait until the queue is processed; return False if it makes no progress."""
    left, since = waiting.unfinished_tasks, time.monotonic()
    while left and thread.is_alive():
        if time.monotonic() - since > _CLOSE_TIMEOUTS * timeout + time_to_finish:
            return False
        time.sleep(0.001)
        if waiting.unfinished_tasks != left:
            left, since = waiting.unfinished_tasks, time.monotonic()
    return True


def _discard_queue(waiting: Waiting) -> int:
    """Empty the queue, so that a thread that resumes ends; return the number of snapshots."""
    count = 0
    with suppress(queue.Empty):
        while True:
            count += not isinstance(waiting.get_nowait(), _Command)
    waiting.put_nowait(_Command.END)
    return count


def _flush_all() -> None:
    for writer in list(_ALL):
        if writer._end.alive:  # noqa: SLF001 - of the same class
            writer.flush()


# At the program's end, before the thread pools of other libraries end: object storage needs them.
# Python has no public function for this. Without it a queue is still processed by the finalizer of
# its writer, which is early enough for local files.
with suppress(AttributeError, RuntimeError):
    # Its exit function is registered first, so that ours, registered later, is called before it.
    import concurrent.futures.thread  # noqa: F401

    threading._register_atexit(_flush_all)  # type: ignore[attr-defined] # noqa: SLF001
