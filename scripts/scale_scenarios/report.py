"""Tables of estimated and measured figures, written as Markdown."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

_LEAST_SHOWN = 1e-6


class Row(NamedTuple):
    """One row of a table.

    Attributes:
        what: The quantity.
        paper: The estimate; empty where there is none.
        measured: The measured value; empty where it was not simulated.
    """

    what: str
    paper: str = ""
    measured: str = ""


@dataclass(frozen=True, slots=True)
class Scenario:
    """A use of the library at large scale, with its estimated and measured costs.

    Attributes:
        title: What is large.
        rows: The figures.
        first_limit: What reaches its limit first, and the remedy: Markdown.
    """

    title: str
    rows: Sequence[Row]
    first_limit: str


def seconds(value: float) -> str:
    """Format a time with three digits.

    Example:
        >>> seconds(0.012345), seconds(1.2345), seconds(754.3)
        ('12.3 ms', '1.23 s', '754 s')
    """
    value = max(value, _LEAST_SHOWN)
    return f"{_three_digits(value)} s" if value >= 1 else f"{_three_digits(1000 * value)} ms"


def size(value: float) -> str:
    """Format a number of bytes with three digits.

    Example:
        >>> size(12_345), size(93_819_648), size(28.24e9)
        ('0.0123 MB', '93.8 MB', '28.2 GB')
    """
    large = value >= 1e9
    return f"{_three_digits(value / 1e9)} GB" if large else f"{_three_digits(value / 1e6)} MB"


def _three_digits(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:#.3g}".rstrip(".")


def to_markdown(facts: Mapping[str, str], scenarios: Iterable[Scenario]) -> str:
    """Format scenarios as tables.

    Args:
        facts: Versions and the machine: name to text.
        scenarios: The scenarios, in order.
    """
    parts = [" · ".join(f"{name} {text}" for name, text in facts.items())]
    for scenario in scenarios:
        lines = [f"| {scenario.title} | on paper | measured |", "|---|---|---|"]
        lines += [f"| {row.what} | {row.paper} | {row.measured} |" for row in scenario.rows]
        parts += ["\n".join(lines), f"**First limit:** {scenario.first_limit}"]
    return "\n\n".join(parts) + "\n"
