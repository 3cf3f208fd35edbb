"""Parses and validates the query parameters of a request."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from filtertrack.errors import FiltertrackError
from filtertrack.render.look import LOOK_OPTIONS, Channels
from filtertrack.snapshot import LayerInfo

_LONGEST = 4096
"""Characters of a value, and numbers in one range, at most."""
_MOST_NUMBERS = 1 << 16
_MOST_DIGITS = 12


@dataclass(frozen=True, slots=True)
class Query:
    """The query parameters of a request. Every method raises ``FiltertrackError`` if it is invalid.

    Attributes:
        values: Name to text.
    """

    values: Mapping[str, str]

    def text(self, name: str) -> str:
        """Return a text; an empty one if the parameter is missing."""
        text = self.values.get(name, "")
        if len(text) > _LONGEST:
            raise FiltertrackError(f"{name}: expected at most {_LONGEST} characters")
        return text

    def number(self, name: str) -> int:
        """Return a whole number from 0 on."""
        return _number(name, self.text(name))

    def numbers(self, name: str) -> tuple[int, ...]:
        """Return different numbers from a text such as ``0-63`` or ``3,5,9``."""
        numbers: list[int] = []
        for part in self.text(name).split(","):
            first, dash, last = part.partition("-")
            low = _number(name, first)
            high = _number(name, last) if dash else low
            if not 0 <= high - low < _LONGEST:
                raise FiltertrackError(f"{name}: expected ranges such as 0-63, got {part!r}")
            numbers += range(low, high + 1)
            if len(numbers) > _MOST_NUMBERS:
                raise FiltertrackError(f"{name}: expected at most {_MOST_NUMBERS} numbers")
        if len(set(numbers)) < len(numbers):
            raise FiltertrackError(f"{name}: expected each number once")
        return tuple(numbers)

    def flag(self, name: str) -> bool:
        """Return whether a parameter is ``1``."""
        return self.text(name) == "1"

    def channels(self, name: str) -> Channels:
        """Return how input channels are drawn: see ``cells.view_of``."""
        text = self.text(name)
        if not text:
            return None
        return "strongest" if text == "strongest" else _number(name, text)

    def names(self, name: str) -> list[str]:
        """Return texts that are separated by commas."""
        return self.text(name).split(",")

    def max_age(self, seconds: int) -> int:
        """Return how long a browser may cache the answer: ``seconds`` if a version is named.

        Without ``version`` in the query the answer may change, and the result is 0.
        """
        return seconds if self.text("version") else 0

    def filter_of(self, info: LayerInfo) -> int:
        """Return the number of one of a layer's filters."""
        number = self.number("filter")
        if number >= info.filters:
            raise FiltertrackError(
                f"filter: layer {info.name} has the filters 0 to {info.filters - 1}, got {number}"
            )
        return number

    def animation_options(self, info: LayerInfo) -> dict[str, object]:
        """Return the options of ``animate`` for a layer that are given.

        These are the options of ``Look``, ``one_scale`` and ``fps``.
        """
        readers: dict[str, Callable[[str], object]] = {
            "filters": self.numbers,
            "channels": self.channels,
            "channel_names": self.names,
        }
        options: dict[str, object] = {"layers": [info.name]}
        for option in LOOK_OPTIONS:
            if self.text(option.name):
                read = self.flag if option.flag else readers.get(option.name, self.text)
                options[option.name] = read(option.name)
        if self.text("one_scale"):
            options["one_scale"] = self.flag("one_scale")
        if self.text("fps"):
            options["fps"] = float(self.number("fps"))
        return options


def _number(name: str, text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS):
        raise FiltertrackError(f"{name}: expected a whole number from 0 on, got {text!r}")
    return int(text)
