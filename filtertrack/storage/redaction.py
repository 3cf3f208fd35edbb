"""Error messages without credentials."""

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from filtertrack.errors import printable

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


def secrets_of(options: Mapping[str, Any]) -> Iterator[str]:
    """Yield the secrets that a file system was given, and those in the environment."""
    known = {name: value for name, value in os.environ.items() if _VARIABLES.match(name)}
    for name, value in [*known.items(), *options.items()]:
        if isinstance(value, Mapping):
            yield from secrets_of(value)
        elif isinstance(value, str) and len(value) >= _SHORTEST_SECRET and _SECRET.search(name):
            yield value
