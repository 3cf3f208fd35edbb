"""What the package raises, and what checks and messages share."""

import operator
from collections.abc import Iterable
from typing import Any


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


class UnreachableError(OSError):
    """What lies on object storage could not be reached: of the file itself nothing is known."""


def is_list(value: object) -> bool:
    """Whether a value holds several others; a text does not.

    Example:
        >>> is_list([0, 1]), is_list(range(3)), is_list("0-3"), is_list(3)
        (True, True, False, False)
    """
    return isinstance(value, Iterable) and not isinstance(value, str)


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
    return "".join(c if c.isprintable() else "?" for c in text)


def counted(number: int, what: str) -> str:
    """Write a number of things; of one thing without the plural's s.

    Example:
        >>> counted(1, "snapshots"), counted(3, "pictures for TensorBoard")
        ('1 snapshot', '3 pictures for TensorBoard')
    """
    noun, space, rest = what.partition(" ")
    return f"{number} {noun.removesuffix('s') if number == 1 else noun}{space}{rest}"
