"""Lock of a run's folder: one tracker at a time writes in it."""

import logging
import threading
import weakref
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from filelock import Timeout

from filtertrack.errors import FiltertrackError
from filtertrack.storage.paths import PathOrAddress, StoragePath, path_of

_log = logging.getLogger("filtertrack")
_LOCK = ".lock"
_HELD: "weakref.WeakValueDictionary[StoragePath, FolderLock]" = weakref.WeakValueDictionary()
"""The locks that this process holds: a lock file alone does not tell which process holds it."""


class TakenError(FiltertrackError):
    """Another tracker writes in the folder."""


class FolderLock:
    """Excludes other trackers from a folder until it is released or its process ends.

    Object storage has no locks: only trackers of the same program are excluded there.

    Args:
        folder: The folder to lock; it must exist.
        name: The run's folder, for messages.
        session: Identifies the training. A new training takes the folder over from an older one in
            the same thread: that one was interrupted, and Keras calls no hook then.
        end: A method that ends the older training and releases its lock. Referenced weakly.

    Raises:
        TakenError: If another tracker writes in the folder.
    """

    def __init__(
        self, folder: PathOrAddress, name: str, session: object, end: Callable[[], object]
    ) -> None:
        self._name = name
        self._session = session
        self._end = weakref.WeakMethod(end)
        self._thread = threading.get_ident()
        self._released = False
        # The folder is resolved, the lock file is not: it may be a link, which is not followed.
        path = path_of(folder).resolve() / _LOCK
        other = _HELD.get(path)
        if other is not None and not other._gives_way_to(session):  # noqa: SLF001 - its own class
            raise self._taken()
        self._file = self._lock(path)
        _HELD[path] = self

    def release(self) -> None:
        """Allow other trackers to write in the folder."""
        self._released = True
        if self._file is not None:
            self._file.release()

    def _gives_way_to(self, session: object) -> bool:
        """End this lock's training if it was interrupted; return whether the lock is released."""
        end = self._end()
        if end and self._session is not session and self._thread == threading.get_ident():
            with suppress(FiltertrackError, OSError):
                end()
        return self._released

    def _lock(self, path: StoragePath) -> Any:
        try:
            return path.lock()
        except Timeout:
            raise self._taken() from None
        except (OSError, NotImplementedError) as error:
            _log.warning("cannot lock %s, going on without: %s", path, error)
            return None

    def _taken(self) -> TakenError:
        return TakenError(
            f"another tracker is writing in {self._name!r}; give each its own folder, or "
            f"existing='new' for a new one beside it each time"
        )
