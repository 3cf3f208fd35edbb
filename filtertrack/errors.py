"""Exceptions and log messages of the package, and functions to check values and to format messages.

Names, paths and errors of other packages may contain any characters. So every message that is
raised or logged is made printable here. What is different about messages in a notebook is decided
here as well: where they are printed, and whether they name commands or calls.
"""

import logging
import math
import operator
import re
import sys
import traceback
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import islice
from typing import Any, TextIO

_SPACES = re.compile(r"\s*[\r\n\t]\s*")
_MOST_ITEMS = 1_000_001
"""Maximum number of items taken from an iterator, which may be endless."""
_PLURAL = re.compile(r"s\b")
_LONGEST = 4000
"""Maximum number of characters of a message."""


class FiltertrackError(Exception):
    """An error that the user can act on: it says what was expected, what was given, and what to do.

    All errors that this package raises on purpose are of this class, so a program needs one
    ``except`` clause only. The command line prints them as one line.

    Example:
        >>> raise FiltertrackError("no run in 'runs/exp1'")
        Traceback (most recent call last):
        ...
        filtertrack.errors.FiltertrackError: no run in 'runs/exp1'
    """

    def __init__(self, message: object = "") -> None:
        super().__init__(message_of(message))


class UnreachableError(OSError):
    """Object storage could not be reached; the state of the file is unknown."""


def is_list(value: object) -> bool:
    """Whether a value is an iterable other than text.

    Example:
        >>> is_list([0, 1]), is_list(range(3)), is_list("0-3"), is_list(3)
        (True, True, False, False)
    """
    return isinstance(value, Iterable) and not isinstance(value, str)


def repeatable(value: Any) -> Any:
    """Return a value that can be iterated more than once: a list for an iterator.

    Example:
        >>> repeatable(n for n in (1, 2)), repeatable("ab"), repeatable(range(3)), repeatable(None)
        ([1, 2], 'ab', range(0, 3), None)
    """
    return list(islice(value, _MOST_ITEMS)) if isinstance(value, Iterator) else value


def whole(value: Any) -> int | None:
    """Return a whole number of any type, such as numpy's, as ``int``; None for other values.

    Example:
        >>> whole(3), whole(True), whole(2.0)
        (3, None, None)
    """
    try:
        return None if isinstance(value, bool) else operator.index(value)
    except TypeError:
        return None


def printable(text: str) -> str:
    r"""Replace characters that are not printable, such as line breaks and control codes.

    Example:
        >>> printable("conv\n1 é")
        'conv?1 é'
    """
    if text.isprintable():  # the usual case
        return text
    return "".join(c if c.isprintable() else "?" for c in text)


def message_of(text: object) -> str:
    r"""Return a text as a message: one printable line of bounded length.

    Example:
        >>> message_of("cannot read 'a\x1b[2J':\n  no such file")
        "cannot read 'a?[2J': no such file"
    """
    whole = str(text)
    if not whole.isprintable():
        whole = printable(_SPACES.sub(" ", whole))
    return whole if len(whole) <= _LONGEST else f"{whole[:_LONGEST]}…"


def counted(number: int, what: str) -> str:
    """Format a number and a noun in plural, or in singular for one.

    Example:
        >>> counted(1, "snapshots"), counted(3, "pictures for TensorBoard")
        ('1 snapshot', '3 pictures for TensorBoard')
    """
    return f"{number} {_PLURAL.sub('', what, count=1) if number == 1 else what}"


def listed(names: Sequence[str], most: int = 8) -> str:
    """Format names for a message: the first ones, and the number of further ones.

    Example:
        >>> listed(["conv1", "conv2", "conv3"]), listed(["conv1", "conv2", "conv3"], most=1)
        ('conv1, conv2, conv3', 'conv1 and 2 more')
    """
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


class _Messages(logging.Filter):
    """Makes log records and their exception texts printable."""

    def filter(self, record: logging.LogRecord) -> bool:
        # A record that cannot be formatted is left to the handler, which reports it.
        with suppress(Exception):
            record.msg, record.args = message_of(record.getMessage()), ()
            if record.exc_info and record.exc_info[1]:
                lines = "".join(traceback.format_exception(record.exc_info[1])).splitlines()
                record.exc_text = "\n".join(map(printable, lines))
        return True


def in_notebook() -> bool:
    """Whether this program is an IPython kernel, whose output a notebook shows.

    This does not import IPython: a kernel has loaded it.
    """
    get_shell = getattr(sys.modules.get("IPython"), "get_ipython", None)
    return get_shell is not None and hasattr(get_shell(), "kernel")


def command_or_call(command: str, call: str) -> str:
    """Return a shell command for a message, or in a notebook the call that does the same.

    Example:
        >>> command_or_call("filtertrack view runs", "filtertrack.view('runs')")
        'filtertrack view runs'
    """
    return call if in_notebook() else command


class _LogOutput(logging.StreamHandler[TextIO]):
    """Prints messages, unless the program has configured logging.

    They go to stderr; in a notebook, which shows stderr in red, to stdout. There the root logger
    gets messages from here alone: Colab's handler would print them again.
    """

    def __init__(self) -> None:
        logging.Handler.__init__(self)  # the stream is looked up for each message
        self._forwards = in_notebook()
        if self._forwards:
            _log.propagate = False
        self.setFormatter(logging.Formatter("filtertrack: %(message)s"))

    @property
    def stream(self) -> TextIO:  # type: ignore[override] # an attribute of the base class
        """The present stdout or stderr."""
        return sys.stdout if in_notebook() else sys.stderr

    def handle(self, record: logging.LogRecord) -> bool:
        """Print a message, or leave it to the handlers that the program has configured later."""
        if not _is_logging_configured():
            return bool(super().handle(record))
        if self._forwards and not _log.propagate:
            logging.getLogger().callHandlers(record)
        return False


def _is_logging_configured() -> bool:
    """Whether the root logger has a handler.

    In a notebook those that print to stderr do not count: Colab adds one at its start.
    """
    handlers = logging.getLogger().handlers
    if in_notebook():
        printed = (sys.stderr, sys.__stderr__)
        handlers = [each for each in handlers if getattr(each, "stream", None) not in printed]
    return bool(handlers)


def show_log() -> None:
    """Print this package's messages if the program has configured no logging."""
    if not _log.handlers and not _is_logging_configured():
        _log.addHandler(_LogOutput())
        if _log.level == logging.NOTSET:  # otherwise the user has set it
            _log.setLevel(logging.INFO)


_log = logging.getLogger("filtertrack")
_log.addFilter(_Messages())
if in_notebook():  # without this, logging itself prints warnings, to stderr
    show_log()


def size_text(count: float) -> str:
    """Format a number of bytes with a suitable unit.

    Example:
        >>> size_text(2_400_000_000), size_text(31_400_000), size_text(900)
        ('2.4 GB', '31 MB', '1 kB')
    """
    if count >= 1e9:
        return f"{count / 1e9:,.1f} GB"
    return f"{count / 1e6:.0f} MB" if count >= 1e6 else f"{math.ceil(count / 1e3)} kB"


def number_text(value: float) -> str:
    """Format a metric in about five characters: 0.0314, 2.71, 1.2e+04."""
    if value and math.isfinite(value) and not 1e-3 <= abs(value) < 1e4:
        return f"{value:.1e}"
    return f"{value:.3f}" if abs(value) < 10 else f"{value:.1f}"
