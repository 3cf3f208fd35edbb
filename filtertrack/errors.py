"""The one exception class of the package, and what makes text safe to print."""


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


def printable(text: str) -> str:
    r"""Replace what would break a line or steer a terminal.

    Example:
        >>> printable("conv\n1 é")
        'conv?1 é'
    """
    return "".join(c if c.isprintable() else "?" for c in text)
