"""Remove credentials from error messages."""

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import quote, unquote

from filtertrack.errors import printable

_LONGEST_MESSAGE = 300
_SECRET_NAME = re.compile(
    "key|secret|token|passw|credential|signature|sas|auth|conn(ection)?_?str", re.IGNORECASE
)
_VARIABLES = re.compile("AWS_|AZURE_|GOOGLE_|FSSPEC_")
_SHORTEST = 4
"""Characters of a secret: shorter values would be replaced within ordinary words."""
_REPLACEMENT = "***"
_USERINFO = re.compile(r"(?<=://)[^/\s]+@")
_HEADER = re.compile(r"(?<=\bauthorization)\b.*", re.IGNORECASE)
_QUERY = re.compile(r"(?<=\?)[^\s'\"<>]*=[^\s'\"<>]*")
"""The query string of a URL, whole or without its scheme and host."""


def without_userinfo(address: str) -> str:
    """Return an address without a user name and a password.

    Example:
        >>> without_userinfo("https://me:secret@host/run")
        'https://host/run'
    """
    return re.sub(r"(?<=://)[^/]*@", "", address)


def hide_secrets(error: BaseException, secrets: Iterable[str] = ()) -> str:
    """Return an error's message as one line without credentials.

    Removed are the known secrets, what follows the name of the header ``Authorization``, and the
    userinfo and the query string of each URL, which may be a signed one.

    Args:
        error: The error.
        secrets: The known secrets.

    Example:
        >>> hide_secrets(OSError("GET https://me:pw@host/a?X-Amz-Signature=1f2e failed"))
        'GET https://***host/a?*** failed'
    """
    text = " ".join(str(error).split()) or type(error).__name__
    for secret in sorted(secrets, key=len, reverse=True):
        for form in (secret, quote(secret, safe=""), unquote(secret)):
            text = text.replace(form, _REPLACEMENT)
    for pattern in (_USERINFO, _QUERY, _HEADER):
        text = pattern.sub(_REPLACEMENT, text)
    return printable(text[:_LONGEST_MESSAGE])


def known_secrets(options: Mapping[str, Any]) -> Iterator[str]:
    """Yield the secrets in a file system's options and in the environment.

    Of a connection string, such as ``"AccountName=a;AccountKey=…"``, also the secrets in it.
    """
    yield from _secrets_in({k: v for k, v in os.environ.items() if _VARIABLES.match(k)})
    yield from _secrets_in(options)


def _secrets_in(values: Mapping[str, Any]) -> Iterator[str]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _secrets_in(value)
        elif _SECRET_NAME.search(name) and isinstance(value, str) and len(value) >= _SHORTEST:
            yield value
            parts = (part.partition("=") for part in value.split(";"))
            yield from _secrets_in({inner: secret for inner, _, secret in parts})
