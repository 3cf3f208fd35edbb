"""Timeouts and retries of requests to object storage."""

import errno
import threading
import time
from collections.abc import Iterable
from typing import Any

from filtertrack.errors import UnreachableError
from filtertrack.storage.redaction import hide_secrets, known_secrets

_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 30.0
"""Seconds between two attempts: each pause is twice the one before, up to the longest."""
_RETRY_TIME = 120.0
"""Seconds for which a write is retried, from the first failure on."""
_TIMEOUT = 60.0
_SLOWEST = 100_000
"""Bytes per second below which a request times out."""


class RetryingFileSystem:
    """Calls an fsspec file system with timeouts, retries writes, and removes secrets from errors.

    Args:
        files: The file system.
        secrets: Secrets to remove from messages, beside those in its options and the environment.
    """

    def __init__(self, files: Any, secrets: Iterable[str] = ()) -> None:
        self.files = files
        self._secrets = {*secrets, *known_secrets(files.storage_options)}
        self._lost_since: float | None = None
        self._last_attempt = 0.0

    def call(self, method: str, *args: Any, weight: int = 0, **options: Any) -> Any:
        """Call a method once.

        Args:
            method: Its name.
            *args: Its arguments.
            weight: Approximate number of bytes to transfer: more bytes have a longer timeout.
            **options: Its keyword arguments.

        Raises:
            FileNotFoundError: If the file does not exist.
            PermissionError: If it is not permitted.
            UnreachableError: If it fails in any other way.
        """
        if getattr(self.files, "async_impl", False):
            options["timeout"] = _TIMEOUT + weight / _SLOWEST
        try:
            return getattr(self.files, method)(*args, **options)
        except FileNotFoundError as error:
            cause = error.__cause__
            if isinstance(cause, OSError) and not isinstance(cause, FileNotFoundError):
                # Some file systems raise it for a lost connection.
                raise UnreachableError(errno.EIO, hide_secrets(cause, self._secrets)) from None
            raise FileNotFoundError(errno.ENOENT, "no such file") from None
        except PermissionError as error:
            raise PermissionError(errno.EACCES, hide_secrets(error, self._secrets)) from None
        except Exception as error:  # noqa: BLE001 - each file system has its own errors
            raise UnreachableError(errno.EIO, hide_secrets(error, self._secrets)) from None

    def call_retrying(self, method: str, *args: Any, weight: int = 0) -> None:
        """Call a method, and if the connection fails, again after growing pauses, for two minutes.

        After that each call is one attempt, and fails at once if the last attempt was less than the
        longest pause ago; until one succeeds.

        Raises:
            OSError: If it fails.
        """
        if self._lost_since is not None and time.monotonic() < self._last_attempt + _LONGEST_PAUSE:
            raise UnreachableError(errno.EIO, "the connection is lost")
        pause = _FIRST_PAUSE
        while True:
            try:
                self.call(method, *args, weight=weight)
            except UnreachableError:
                now = self._last_attempt = time.monotonic()
                self._lost_since = now if self._lost_since is None else self._lost_since
                is_over = now + pause - self._lost_since > _RETRY_TIME
                if is_over or not threading.main_thread().is_alive():  # the program ends
                    raise
            else:
                self._lost_since = None
                return
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)
