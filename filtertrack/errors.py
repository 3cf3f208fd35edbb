"""What the package raises, and what checks and messages share."""

from collections.abc import Iterable


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


def printable(text: str) -> str:
    r"""Replace what would break a line or steer a terminal.

    Example:
        >>> printable("conv\n1 é")
        'conv?1 é'
    """
    return "".join(c if c.isprintable() else "?" for c in text)
