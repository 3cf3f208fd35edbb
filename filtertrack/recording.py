"""A run that is open for writing: its snapshots, its pictures for TensorBoard, and its end."""

import logging
import shlex
import threading
import weakref
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from filelock import FileLock, Timeout

from filtertrack.errors import FiltertrackError
from filtertrack.files import check_writable
from filtertrack.places import Place
from filtertrack.recorder import Recorder, room_for
from filtertrack.snapshot import LayerInfo, Snapshot, total_bytes
from filtertrack.store import FOLDER, Run
from filtertrack.summaries import Summaries
from filtertrack.thinning import ThinnedRun

_log = logging.getLogger("filtertrack")
_MUCH = 10**9
_PICTURES = "pictures for TensorBoard"
_LOCK = ".lock"
_OPEN: "weakref.WeakValueDictionary[Place, Recording]" = weakref.WeakValueDictionary()
"""What this process has open: a lock alone does not say whose it is."""


class Recording:
    """Takes snapshots and sees to it that each is stored and drawn, in the background.

    Making one claims the folder: no other tracker can write there until it is closed, or its
    process has ended, however it ended. (Object storage knows no locks: there only trackers of this
    program are kept apart.) ``open`` then starts a run or goes on with the one there.

    Args:
        folder: What the user gave.
        session: What tells one training from another. In one thread a new training takes the
            folder over from an older one: that was interrupted, and Keras calls no hook then.
        keep: How many of the newest snapshots are kept, and at most how many older ones; None for
            all.
        strict: Raise when something is lost, instead of a warning.

    Raises:
        FiltertrackError: If the folder cannot be written, or another tracker writes there.
    """

    def __init__(
        self, folder: Place, session: object, *, keep: int | None = None, strict: bool = False
    ) -> None:
        self._folder = folder
        self._session = session
        self._thread = threading.get_ident()
        self._keep = keep
        self._strict = strict
        self._run: Run | None = None
        self._recorder: Recorder | None = None
        self._summaries: Summaries | None = None
        self._closed = False
        self._released = False
        _check_writable(folder)
        self._lock = self._claim()

    @property
    def is_open(self) -> bool:
        """Whether snapshots can be put."""
        return self._recorder is not None

    def make_way(self, *, replace: bool) -> None:
        """See to it that a run that starts from the beginning finds none in its folder.

        Args:
            replace: Delete the run that is there; else it is an error.

        Raises:
            FiltertrackError: If there is a run; the message says what to do.
            OSError: If it cannot be deleted.
        """
        if not Run.exists(self._folder):
            return
        if not replace:
            raise FiltertrackError(
                f"{str(self._folder)!r} already holds a run, and training starts from the "
                f"beginning. Give FilterTracker another folder, or existing='replace' to delete "
                f"that run; to go on with it, call fit with initial_epoch"
            )
        Run.delete(self._folder)

    def open(self, layers: Sequence[LayerInfo], software: Mapping[str, str], *, step: int) -> None:
        """Start a run, or go on with the one in the folder.

        Args:
            layers: What each snapshot holds.
            software: Library name to version, for a new run's record.
            step: Where it starts: what lies at or past it is removed.

        Raises:
            FiltertrackError: If the folder holds a run of other layers, or one that is damaged.
            OSError: If the folder cannot be written.
        """
        if self._closed:
            raise self._taken_over()
        if Run.exists(self._folder):
            self._run = Run(self._folder)
            _check_same_layers(self._run, layers)
            self._run.truncate(step)
        else:
            self._run = Run.create(self._folder, layers, software)
        kept = self._run if self._keep is None else ThinnedRun(self._run, self._keep)
        self._summaries = Summaries(self._run, keep=self._keep)
        self._recorder = Recorder(
            {"snapshots": kept.append, _PICTURES: self._summaries.add},
            {_PICTURES: self._summaries.finish},
            room=room_for(total_bytes(layers)),
            strict=self._strict,
        )

    def put(self, snapshot: Snapshot) -> None:
        """Hand a snapshot over. Its arrays must not change any more.

        Raises:
            FiltertrackError: If this is closed, or with ``strict``, if something was lost since the
                last call.
        """
        if self._recorder is None:
            raise self._taken_over()
        self._recorder.put(snapshot)

    def close(self) -> None:
        """Wait until everything is written, add pictures of the whole evolution, say where it is.

        Raises:
            FiltertrackError: With ``strict``, if something was lost since the last call.
            OSError: If the pictures cannot be written.
        """
        self._closed = True
        recorder, self._recorder = self._recorder, None
        if self._run is None or self._summaries is None:  # it was never open
            self._release()
            return
        if recorder is None:  # closed before
            return
        try:
            if not recorder.close():
                return  # what does not answer is not asked for more
            self._summaries.add_evolution(self._run)
            self._summaries.finish()
            count, path = len(self._run.steps), shlex.quote(str(self._run.path))
            _log.info("%d snapshots in %s. Animation: filtertrack animate %s", count, path, path)
        finally:
            recorder.after(self._release)  # now; but what hung and was given up may still write

    def _release(self) -> None:
        """Let others write in the folder."""
        self._released = True
        if self._lock is not None:
            self._lock.release()

    def _claim(self) -> FileLock | None:
        """Keep other trackers out: those of this program, and on disk those of others as well."""
        folder = self._folder / FOLDER
        # Not the lock's own path: it may be a link, which is not followed.
        path = (folder.resolve() if isinstance(folder, Path) else folder) / _LOCK
        other = _OPEN.get(path)
        if other is not None and not other._makes_way_for(self._session):  # noqa: SLF001 - its own kind
            raise self._taken()
        lock = self._lock_file(path) if isinstance(path, Path) else None
        _OPEN[path] = self
        return lock

    def _makes_way_for(self, session: object) -> bool:
        """Close, if a new training shows that the one this belongs to was interrupted."""
        if self._session is not session and self._thread == threading.get_ident():
            with suppress(FiltertrackError, OSError):
                self.close()
        return self._released

    def _lock_file(self, path: Path) -> FileLock:
        """Lock a file; the operating system unlocks it when the process ends."""
        if path.is_symlink():
            path.unlink()
        lock = FileLock(path, thread_local=False)
        try:
            lock.acquire(blocking=False)
        except Timeout:
            raise self._taken() from None
        except (OSError, NotImplementedError) as error:
            _log.warning("cannot lock %s, going on without: %s", path, error)
        return lock

    def _taken(self) -> FiltertrackError:
        return FiltertrackError(
            f"another tracker is writing in {str(self._folder)!r}; give each its own folder"
        )

    def _taken_over(self) -> FiltertrackError:
        return FiltertrackError(f"another training has taken over {str(self._folder)!r}")


def announce(
    folder: Place,
    layers: Sequence[LayerInfo],
    left_out: Mapping[str, Sequence[str]],
    planned: int | None,
) -> None:
    """Say what is tracked and what is not, what it will cost, and where to watch.

    Args:
        folder: What the user gave.
        layers: What each snapshot holds.
        left_out: Why layers that have a kernel are not tracked: reason to names.
        planned: About how many snapshots there will be; None where that is not known.
    """
    _show_log()
    size, path = total_bytes(layers), shlex.quote(str(folder))
    whole = f"; about {planned} snapshots: {size * planned / 1e6:.1f} MB" if planned else ""
    names = [info.name for info in layers]
    cost = f"{len(names)} kernels, {size / 1e6:.2f} MB a snapshot{whole}"
    _log.info("tracking %s in %s (%s)", _shortened(names), path, cost)
    for reason, paths in left_out.items():
        if paths:
            _log.info("not tracked: %s: %s", _shortened(paths), reason)
    if planned and size * planned > _MUCH:
        _log.warning(
            "this run will take about %.1f GB: track fewer layers (layers='first', or names) or "
            "take fewer snapshots (schedule=N: every N batches)",
            size * planned / 1e9,
        )
    _log.info(
        "watch: filtertrack view %s (or tensorboard --logdir %s: the tab Filters)", path, path
    )


def _shortened(names: Sequence[str], most: int = 8) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def _show_log() -> None:
    """Show this package's messages where the program has set up no logging of its own."""
    if not _log.hasHandlers():
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("filtertrack: %(message)s"))
        _log.addHandler(handler)
        _log.setLevel(logging.INFO)


def _check_writable(folder: Place) -> None:
    try:
        check_writable(folder / FOLDER)
    except OSError as error:
        raise FiltertrackError(
            f"cannot write in {str(folder)!r}: {error.strerror}. Give FilterTracker another folder"
        ) from error


def _check_same_layers(run: Run, layers: Sequence[LayerInfo]) -> None:
    there = {info.kernel: info.kernel_shape for info in run.layers.values()}
    if there != {info.kernel: info.kernel_shape for info in layers}:
        raise FiltertrackError(
            f"{str(run.path)!r} holds a run of other layers ({', '.join(run.layers)}) than this "
            f"model's ({', '.join(info.name for info in layers)}); give FilterTracker another "
            f"folder"
        )
