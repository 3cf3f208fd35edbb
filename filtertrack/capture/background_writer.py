"""Write snapshots in the background: the training thread hands them over and goes on."""

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

_MEMORY = 256 << 20
_MOST_WAITING = 32
_WORTH_SAYING = 0.1  # seconds
_BOUND = 6
"""How often its patience a recorder waits in the end while nothing moves."""
_log = logging.getLogger("filtertrack")

Sink = Callable[[Snapshot], object]
Decision = Callable[[], Snapshot | None]
"""Decides, when everything before it is done, what is handed to the sinks, if anything."""

_ALL: "weakref.WeakSet[BackgroundWriter]" = weakref.WeakSet()
"""Every recorder of this program."""


class _Word(Enum):
    """What is said to the thread, beside the snapshots that are handed to it."""

    FINISH = "what can be finished for now"
    END = "and end"


Waiting = queue.Queue[Snapshot | Decision | _Word]


def room_for(snapshot_bytes: int) -> int:
    """Return how many snapshots may wait: what 256 MB hold, at least 2 and at most 32."""
    return max(2, min(_MOST_WAITING, _MEMORY // max(1, snapshot_bytes)))


class BackgroundWriter:
    """Hands each snapshot to every sink, in order, on one background thread.

    A sink that fails loses its part of that snapshot and nothing else: the other sinks get theirs,
    later snapshots are tried again, the first failure is a warning and the rest are counted.

    Args:
        sinks: What a sink keeps, such as ``"snapshots"``, to the function that keeps it.
        finish: What is called after the last snapshot, on the same thread, named like the sinks.
        room: How many snapshots may wait. With all places taken ``put`` waits for one.
        strict: Raise a sink's failure in the thread that calls ``put`` or ``close``.
        patience: Seconds ``put`` waits for a place before it gives the snapshot up. After that it
            does not wait again until a place is free: a disk that hangs costs training this once.

    Example:
        >>> kept = []
        >>> recorder = BackgroundWriter({"snapshots": kept.append}, room=2)
        >>> recorder.put("any snapshot"), recorder.close(), kept
        (True, True, ['any snapshot'])
    """

    def __init__(
        self,
        sinks: Mapping[str, Sink],
        finish: Mapping[str, Callable[[], object]] | None = None,
        *,
        room: int,
        strict: bool = False,
        patience: float = 10.0,
    ) -> None:
        self._queue: Waiting = queue.Queue(room)
        self._ledger = _Ledger(strict=strict)
        self._patience = patience
        self._gave_up = False
        self._waited = 0.0
        self._at_end: list[Callable[[], object]] = []
        # The thread holds no reference to this object, so that dropping it ends the thread.
        thread = threading.Thread(
            target=_work,
            args=(self._queue, dict(sinks), dict(finish or {}), self._ledger, self._at_end),
            name="filtertrack",
            daemon=True,
        )
        thread.start()
        self._thread = thread
        # Also at the interpreter's exit: Keras calls no hook when fit raises or is interrupted.
        self._end = weakref.finalize(self, _end, self._queue, thread, patience, self._ledger)
        _ALL.add(self)

    @property
    def lost(self) -> Mapping[str, int]:
        """How many snapshots each sink has lost."""
        return self._ledger.lost

    def put(self, snapshot: Snapshot | Decision, *, counts: bool = True) -> bool:
        """Hand a snapshot over, or what decides on one. Its arrays must not change any more.

        Args:
            snapshot: The snapshot, or a function that is called on the thread.
            counts: Whether a snapshot is lost if there is no place for it.

        Returns:
            Whether there was a place for it.

        Raises:
            FiltertrackError: With ``strict``, if a sink has failed since the last call.
        """
        start = time.monotonic()
        try:
            self._queue.put(snapshot, timeout=self._wait())
            self._gave_up = False
        except queue.Full:
            self._gave_up = True
            if counts:
                error = TimeoutError("writing is slower than training")
                self._ledger.note("snapshots", error, _key_of(snapshot))
        self._waited += time.monotonic() - start
        self._ledger.check()
        return not self._gave_up

    def close(self) -> bool:
        """Wait until everything is written, and say what was lost.

        Returns:
            Whether that ended: writing that hangs is given up.

        Raises:
            FiltertrackError: With ``strict``, if a sink has failed since the last call.
        """
        left = self._end() if self._end.alive else 0
        if self._waited > _WORTH_SAYING:
            _log.warning("training waited %.1f s for snapshots to be written", self._waited)
            self._waited = 0.0
        self._ledger.check()
        return not left

    def after(self, act: Callable[[], object]) -> None:
        """Have something done when the thread has ended: one that was given up may still write."""
        self._at_end.append(act)
        self._thread.join(0.1)
        if not self._thread.is_alive():
            _do_all(self._at_end)

    def settle(self) -> None:
        """Wait until nothing waits, or nothing has moved for some time. More may still come."""
        with suppress(queue.Full):
            self._queue.put_nowait(_Word.FINISH)
        _settled(self._queue, self._thread, self._patience)

    def _wait(self) -> float:
        return 0.001 if self._gave_up else self._patience


class _Ledger:
    """What was lost, and why.

    A snapshot that is handed over again counts once, and not at all if it is kept then.

    Attributes:
        at_work: What the thread is doing now: the sinks that have not got the last snapshot yet.
    """

    def __init__(self, *, strict: bool) -> None:
        self._lost: defaultdict[str, set[object]] = defaultdict(set)
        self.at_work: set[str] = set()
        self._strict = strict
        self._failure: tuple[str, Exception] | None = None
        self._last: dict[str, Exception] = {}

    @property
    def lost(self) -> Mapping[str, int]:
        """How many each sink has lost."""
        return {what: len(keys) for what, keys in self._lost.items() if keys}

    def note(self, what: str, error: Exception, key: object = None) -> None:
        is_first = what not in self._last
        self._lost[what].add(object() if key is None else key)
        self._last[what] = error
        if self._strict:
            self._failure = self._failure or (what, error)
        elif is_first:
            _log.warning("could not write %s, training goes on: %s", what, _describe(error))

    def kept(self, what: str, key: object) -> None:
        self._lost[what].discard(key)

    def check(self) -> None:
        if self._failure:
            (what, error), self._failure = self._failure, None
            raise FiltertrackError(f"could not write {what}: {_describe(error)}") from error

    def report(self) -> None:
        for what, count in self.lost.items():
            _log.warning("lost %s; the last time: %s", counted(count, what), self._reason(what))

    def _reason(self, what: str) -> str:
        return _describe(self._last[what])


def _describe(error: Exception) -> str:
    return str(error) or type(error).__name__


def _work(
    waiting: Waiting,
    sinks: Mapping[str, Sink],
    finish: Mapping[str, Callable[[], object]],
    ledger: _Ledger,
    at_end: list[Callable[[], object]],
) -> None:
    while (came := waiting.get()) is not _Word.END:
        if isinstance(came, _Word):
            _try_all(finish, ledger)
        else:
            _hand_on(came, sinks, ledger)
        del came
        waiting.task_done()
    _try_all(finish, ledger)
    _do_all(at_end)


def _hand_on(came: Snapshot | Decision, sinks: Mapping[str, Sink], ledger: _Ledger) -> None:
    try:
        snapshot = came() if callable(came) else came
    except Exception as error:  # noqa: BLE001 - training comes first, whatever happened
        ledger.note("snapshots", error)
        return
    if snapshot is not None:
        acts = {what: partial(sink, snapshot) for what, sink in sinks.items()}
        _try_all(acts, ledger, _key_of(snapshot))


def _key_of(snapshot: Snapshot | Decision) -> object:
    """Return what tells one snapshot from others; a decision is told from all others."""
    return getattr(snapshot, "step", None)


def _do_all(acts: list[Callable[[], object]]) -> None:
    with suppress(IndexError):  # the thread and its owner may both be here
        while True:
            acts.pop()()


def _try_all(acts: Mapping[str, Callable[[], object]], ledger: _Ledger, key: object = None) -> None:
    ledger.at_work = set(acts)
    for what, act in acts.items():
        try:
            act()
            ledger.kept(what, key)
        except Exception as error:  # noqa: BLE001 - training comes first, whatever happened
            ledger.note(what, error, key)
        ledger.at_work.discard(what)


def _end(
    waiting: Waiting,
    thread: threading.Thread,
    patience: float,
    ledger: _Ledger,
) -> int:
    """Let the thread finish what waits, and say what was lost.

    Returns:
        How many snapshots were not finished.
    """
    left = 0
    if _settled(waiting, thread, patience):
        with suppress(queue.Full):  # another thread of the program still puts snapshots
            waiting.put(_Word.END, timeout=patience)
        thread.join(_BOUND * patience)
    if thread.is_alive():
        gave_up = TimeoutError("writing did not finish")
        waited = _given_up(waiting)
        for what in [*sorted(ledger.at_work), *["snapshots"] * waited]:
            ledger.note(what, gave_up)
        left = 1 + waited
    ledger.report()
    return left


def _settled(waiting: Waiting, thread: threading.Thread, patience: float) -> bool:
    """Wait until everything that waits is done; False where nothing has moved for some time."""
    left, since = waiting.unfinished_tasks, time.monotonic()
    while left and thread.is_alive():
        if time.monotonic() - since > _BOUND * patience:
            return False
        time.sleep(0.001)
        if waiting.unfinished_tasks != left:
            left, since = waiting.unfinished_tasks, time.monotonic()
    return True


def _given_up(waiting: Waiting) -> int:
    """Take out what waits, so that the thread ends once it moves again; return how many."""
    count = 0
    with suppress(queue.Empty):
        while True:
            count += not isinstance(waiting.get_nowait(), _Word)
    waiting.put_nowait(_Word.END)
    return count


def _settle_all() -> None:
    for recorder in list(_ALL):
        if recorder._end.alive:  # noqa: SLF001 - its own kind
            recorder.settle()


# At the program's end, before the threads end that other libraries work with: to reach object
# storage takes some. Python has no public way to ask for that; without it, what waits on disk is
# written all the same, as each recorder has an end of its own.
with suppress(AttributeError, RuntimeError):
    import concurrent.futures.thread  # noqa: F401 - its threads end in turn: ours comes first then

    threading._register_atexit(_settle_all)  # type: ignore[attr-defined] # noqa: SLF001
