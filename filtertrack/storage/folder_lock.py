"""Locks a run's folder, so that only one tracker writes there."""

import logging
import threading
import weakref
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from filelock import FileLock, Timeout

from filtertrack.errors import FiltertrackError
from filtertrack.storage.paths import StoragePath

_log = logging.getLogger("filtertrack")
_LOCK = ".lock"
_HELD: "weakref.WeakValueDictionary[StoragePath, FolderLock]" = weakref.WeakValueDictionary()
"""The locks that this process holds: a lock's file alone does not say who holds it."""


class TakenError(FiltertrackError):
    """Another tracker writes in the folder."""


class FolderLock:
    """Keeps other trackers out of a folder until it is released, or its process has ended.

    Object storage has no locks: there only trackers of this program are kept out.

    Args:
        folder: The folder to lock; it is there.
        name: The run's folder, for messages.
        session: What tells one training from another. In one thread a new training takes the
            folder over from an older one: that was interrupted, and Keras calls no hook then.
        end: A method that ends the older training, and releases this. It is not kept alive.

    Raises:
        TakenError: If another tracker writes there.
    """

    def __init__(
        self, folder: StoragePath, name: str, session: object, end: Callable[[], object]
    ) -> None:
        self._name = name
        self._session = session
        self._end = weakref.WeakMethod(end)
        self._thread = threading.get_ident()
        self._released = False
        # Not the lock file's own path: it may be a link, which is not followed.
        path = (folder.resolve() if isinstance(folder, Path) else folder) / _LOCK
        other = _HELD.get(path)
        if other is not None and not other._gives_way_to(session):  # noqa: SLF001 - its own kind
            raise self._taken()
        self._file = self._locked(path) if isinstance(path, Path) else None
        _HELD[path] = self

    def release(self) -> None:
        """Let others write in the folder."""
        self._released = True
        if self._file is not None:
            self._file.release()

    def _gives_way_to(self, session: object) -> bool:
        """End, if a new training shows that the one this belongs to was interrupted."""
        end = self._end()
        if end and self._session is not session and self._thread == threading.get_ident():
            with suppress(FiltertrackError, OSError):
                end()
        return self._released

    def _locked(self, path: Path) -> FileLock:
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

    def _taken(self) -> TakenError:
        return TakenError(
            f"another tracker is writing in {self._name!r}; give each its own folder, or "
            f"existing='new' for a new one beside it each time"
        )
