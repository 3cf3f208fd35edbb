"""Texts of the command line become values; one that does not fit is said as argparse says it."""

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from filtertrack.render.cells import Channels


def names(text: str) -> list[str]:
    """Read ``conv1,block1/*`` as names and patterns.

    Example:
        >>> names("conv1, block1/*")
        ['conv1', 'block1/*']
    """
    return [name.strip() for name in text.split(",") if name.strip()]


def numbers(text: str) -> list[int | range]:
    """Read ``0,1,5-20`` as two numbers and a range; both of its ends are meant.

    A range stays one: it may hold more numbers than memory does.

    ``0-900/100`` is a range of every hundredth.

    Example:
        >>> numbers("0,1,5-20,0-900/100")
        [0, 1, range(5, 21), range(0, 901, 100)]
    """
    try:
        return [_number_or_range(part) for part in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"expected numbers and ranges such as 0,1,5-20, got {text!r}"
        ) from None


def _number_or_range(text: str) -> int | range:
    first, dash, rest = text.partition("-")
    if not dash:
        return int(first)
    last, slash, every = rest.partition("/")
    return range(int(first), int(last) + 1, int(every) if slash else 1)


def channels(text: str) -> "Channels":
    """Read ``3`` or ``strongest`` as how input channels are drawn: see ``cells.view_of``."""
    if text == "strongest":
        return "strongest"
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"expected a channel's number or strongest, got {text!r}"
        ) from None


def two_numbers(text: str) -> tuple[float, float]:
    """Read ``1,2`` as two numbers."""
    try:
        first, second = map(float, text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"expected two numbers of seconds such as 1,2, got {text!r}"
        ) from None
    return first, second
