"""What the package raises, and what checks and messages share.

Names, paths and other packages' errors may hold anything. So every message of this package is made
printable here, whether it is raised or logged.
"""

import logging
import operator
import re
import traceback
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import islice
from typing import Any

_SPACES = re.compile(r"\s*[\r\n\t]\s*")
_MOST_ITEMS = 1_000_001
"""Items that are taken from an iterator, at most: it may have no end."""
_PLURAL = re.compile(r"s\b")
_LONGEST = 4000
"""Characters of a message, at most."""


class FiltertrackError(Exception):
    """Something the user can act on: what was expected, what came, and what to do.

    Every error that this package raises on purpose is one of these, so a program needs one
    ``except`` clause, and the command line prints it as one line.

    Example:
        >>> raise FiltertrackError("no run in 'runs/exp1'")
        Traceback (most recent call last):
        ...
        filtertrack.errors.FiltertrackError: no run in 'runs/exp1'
    """

    def __init__(self, message: object = "") -> None:
        super().__init__(message_of(message))


class UnreachableError(OSError):
    """What lies on object storage could not be reached: of the file itself nothing is known."""


def is_list(value: object) -> bool:
    """Whether a value holds several others; a text does not.

    Example:
        >>> is_list([0, 1]), is_list(range(3)), is_list("0-3"), is_list(3)
        (True, True, False, False)
    """
    return isinstance(value, Iterable) and not isinstance(value, str)


def repeatable(value: Any) -> Any:
    """Return what can be iterated over more than once: an iterator as a list.

    Example:
        >>> repeatable(n for n in (1, 2)), repeatable("ab"), repeatable(range(3)), repeatable(None)
        ([1, 2], 'ab', range(0, 3), None)
    """
    return list(islice(value, _MOST_ITEMS)) if isinstance(value, Iterator) else value


def whole(value: Any) -> int | None:
    """Return a whole number of any type, also numpy's, as Python's own; None for all else.

    Example:
        >>> whole(3), whole(True), whole(2.0)
        (3, None, None)
    """
    try:
        return None if isinstance(value, bool) else operator.index(value)
    except TypeError:
        return None


def printable(text: str) -> str:
    r"""Replace what would break a line or steer a terminal.

    Example:
        >>> printable("conv\n1 é")
        'conv?1 é'
    """
    if text.isprintable():  # nearly always
        return text
    return "".join(c if c.isprintable() else "?" for c in text)


def message_of(text: object) -> str:
    r"""Return a text as a message that may be shown: in one line, printable, and not endless.

    Example:
        >>> message_of("cannot read 'a\x1b[2J':\n  no such file")
        "cannot read 'a?[2J': no such file"
    """
    whole = str(text)
    if not whole.isprintable():
        whole = printable(_SPACES.sub(" ", whole))
    return whole if len(whole) <= _LONGEST else f"{whole[:_LONGEST]}…"


def counted(number: int, what: str) -> str:
    """Write a number of things; of one thing without the plural's s.

    Example:
        >>> counted(1, "snapshots"), counted(3, "pictures for TensorBoard")
        ('1 snapshot', '3 pictures for TensorBoard')
    """
    return f"{number} {_PLURAL.sub('', what, count=1) if number == 1 else what}"


def listed(names: Sequence[str], most: int = 8) -> str:
    """Write names in a message: the first, and how many more there are.

    Example:
        >>> listed(["conv1", "conv2", "conv3"]), listed(["conv1", "conv2", "conv3"], most=1)
        ('conv1, conv2, conv3', 'conv1 and 2 more')
    """
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


class _Messages(logging.Filter):
    """Makes what is logged printable, the text of an exception as well."""

    def filter(self, record: logging.LogRecord) -> bool:
        # What cannot be written as text is left to the handler, which reports it and goes on.
        with suppress(Exception):
            record.msg, record.args = message_of(record.getMessage()), ()
            if record.exc_info and record.exc_info[1]:
                lines = "".join(traceback.format_exception(record.exc_info[1])).splitlines()
                record.exc_text = "\n".join(map(printable, lines))
        return True


logging.getLogger("filtertrack").addFilter(_Messages())
