"""What goes over a connection: bounded in time, tried again, its errors without credentials."""

import errno
import os
import re
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from filtertrack.errors import UnreachableError, printable

_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 30.0
_BOUND = 120.0
"""Seconds for which a write is tried again, from when the connection was lost."""
_TIMEOUT = 60.0
_SLOWEST = 100_000
"""Bytes a second: what is slower than that is lost."""
_LONGEST_MESSAGE = 300

_SECRET = re.compile(
    "key|secret|token|passw|credential|signature|sas|auth|conn(ection)?_?str", re.IGNORECASE
)
_VARIABLES = re.compile("AWS_|AZURE_|GOOGLE_|FSSPEC_")
_SHORTEST_SECRET = 4
_HIDDEN = "***"
_LOOK_LIKE_SECRETS = (
    re.compile(r"(?<=://)[^/\s]+@"),
    re.compile(r"(?i)\bAccountKey=[^;\s]+"),
    re.compile(r"\b(?:AKIA|ASIA)[0-9A-Z]{12,}"),
    re.compile(r"(?i)\bAuthorization\b[^\n]*"),
    re.compile(
        r"(?i)\b(?:X-Amz-\w[\w-]*|AWSAccessKeyId|Signature|Credential|sig|\w*token)=[^&\s'\"]+"
    ),
)


class Connection:
    """Calls a file system of fsspec's: in bounded time, and failing in sentences that may be shown.

    Args:
        files: The file system.
        secrets: Texts that no message may hold, beside those that look like secrets.
    """

    def __init__(self, files: Any, secrets: Iterable[str] = ()) -> None:
        self.files = files
        self._secrets = {*secrets, *_secrets_of(files.storage_options)}
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


def hide_secrets(error: BaseException, secrets: Iterable[str] = ()) -> str:
    """Return an error as one line that may be shown: without credentials.

    Args:
        error: The error.
        secrets: Texts that it may not hold, beside those that look like secrets.

    Example:
        >>> hide_secrets(OSError("GET https://host/a?X-Amz-Signature=1f2e&x=1 failed"))
        'GET https://host/a?***&x=1 failed'
    """
    text = " ".join(str(error).split()) or type(error).__name__
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, _HIDDEN)
    for pattern in _LOOK_LIKE_SECRETS:
        text = pattern.sub(_HIDDEN, text)
    return printable(text[:_LONGEST_MESSAGE])


def _secrets_of(options: Mapping[str, Any]) -> Iterator[str]:
    """Yield the secrets that a file system was given, and those in the environment."""
    known = {name: value for name, value in os.environ.items() if _VARIABLES.match(name)}
    for name, value in [*known.items(), *options.items()]:
        if isinstance(value, Mapping):
            yield from _secrets_of(value)
        elif isinstance(value, str) and len(value) >= _SHORTEST_SECRET and _SECRET.search(name):
            yield value
