"""What a request asks for, read out of its address and checked."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from filtertrack.errors import FiltertrackError
from filtertrack.render.cells import Channels
from filtertrack.snapshot import LayerInfo

_LONGEST = 4096
_MOST_NUMBERS = 1 << 16
_MOST_DIGITS = 12


@dataclass(frozen=True, slots=True)
class Query:
    """The part of an address after the question mark.

    Attributes:
        values: Name to text.
    """

    values: Mapping[str, str]

    def text(self, name: str) -> str:
        """Return a text; an empty one where there is none."""
        text = self.values.get(name, "")
        if len(text) > _LONGEST:
            raise FiltertrackError(f"{name}: expected at most {_LONGEST} characters")
        return text

    def number(self, name: str) -> int:
        """Return a whole number from 0 on."""
        return _number(name, self.text(name))

    def numbers(self, name: str) -> tuple[int, ...]:
        """Return numbers such as ``0-63`` or ``3,5,9``."""
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
        """Whether something is asked for: ``1``."""
        return self.text(name) == "1"

    def channels(self, name: str) -> Channels:
        """Return how input channels are drawn: see ``cells.view_of``."""
        text = self.text(name)
        if not text:
            return None
        return "strongest" if text == "strongest" else _number(name, text)

    def kept(self, seconds: int) -> int:
        """Return for how long an answer may be kept: so long if its address names a version."""
        return seconds if self.text("version") else 0

    def filter_of(self, info: LayerInfo) -> int:
        """Return the number of one of a layer's filters."""
        number = self.number("filter")
        if number >= info.filters:
            raise FiltertrackError(
                f"filter: layer {info.name} has the filters 0 to {info.filters - 1}, got {number}"
            )
        return number

    def look(self, info: LayerInfo) -> dict[str, Any]:
        """Return the options of ``animate`` that an address gives; those left out have defaults."""
        options: dict[str, Any] = {
            "layers": [info.name],
            "zero_centred": self.flag("zero_centred"),
            "delta": self.flag("delta"),
            "channels": self.channels("channels"),
        }
        options |= {
            name: self.text(name) for name in ("scale", "colormap", "theme") if self.text(name)
        }
        if self.text("filters"):
            options["filters"] = self.numbers("filters")
        if self.text("fps"):
            options["fps"] = float(self.number("fps"))
        return options


def _number(name: str, text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS):
        raise FiltertrackError(f"{name}: expected a whole number from 0 on, got {text!r}")
    return int(text)
