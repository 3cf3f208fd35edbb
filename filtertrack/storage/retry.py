"""What goes over a connection: bounded in time, tried again, its errors without credentials."""

import errno
import threading
import time
from collections.abc import Iterable
from typing import Any

from filtertrack.errors import UnreachableError
from filtertrack.storage.redaction import hide_secrets, secrets_of

_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 30.0
_BOUND = 120.0
"""Seconds for which a write is tried again, from when the connection was lost."""
_TIMEOUT = 60.0
_SLOWEST = 100_000
"""Bytes a second: what is slower than that is lost."""


class RetryingFileSystem:
    """Calls a file system of fsspec's: in bounded time, and failing in sentences that may be shown.

    Args:
        files: The file system.
        secrets: Texts that no message may hold, beside those that look like secrets.
    """

    def __init__(self, files: Any, secrets: Iterable[str] = ()) -> None:
        self.files = files
        self._secrets = {*secrets, *secrets_of(files.storage_options)}
        self._lost_since: float | None = None
        self._last_try = 0.0

    def call(self, method: str, *args: Any, weight: int = 0, **options: Any) -> Any:
        """Call a method once.

        Args:
            method: Its name.
            *args: What it is called with, the path first.
            weight: Bytes that go over the connection, about: more may take longer.
            **options: What else it is called with.

        Raises:
            FileNotFoundError: If what the path names is not there.
            PermissionError: If it may not be done.
            UnreachableError: If it fails in any other way.
        """
        if getattr(self.files, "async_impl", False):
            options["timeout"] = _TIMEOUT + weight / _SLOWEST
        try:
            return getattr(self.files, method)(*args, **options)
        except FileNotFoundError as error:
            cause = error.__cause__
            if isinstance(cause, OSError) and not isinstance(cause, FileNotFoundError):
                # Some say so of what they cannot reach.
                raise UnreachableError(errno.EIO, hide_secrets(cause, self._secrets)) from None
            raise FileNotFoundError(errno.ENOENT, "it is not there") from None
        except PermissionError as error:
            raise PermissionError(errno.EACCES, hide_secrets(error, self._secrets)) from None
        except Exception as error:  # noqa: BLE001 - each file system has errors of its own
            raise UnreachableError(errno.EIO, hide_secrets(error, self._secrets)) from None

    def insist(self, method: str, *args: Any, weight: int = 0) -> None:
        """Call a method, and where the connection fails, again: with growing pauses, for a while.

        After that, each call is one try; none is made soon after another has failed.

        Raises:
            OSError: If it could not be done.
        """
        if self._lost_since is not None and time.monotonic() < self._last_try + _LONGEST_PAUSE:
            raise UnreachableError(errno.EIO, "the connection is lost")
        pause = _FIRST_PAUSE
        while True:
            try:
                self.call(method, *args, weight=weight)
            except UnreachableError:
                now = self._last_try = time.monotonic()
                self._lost_since = now if self._lost_since is None else self._lost_since
                over = now + pause - self._lost_since > _BOUND
                if over or not threading.main_thread().is_alive():  # the program ends
                    raise
            else:
                self._lost_since = None
                return
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)
