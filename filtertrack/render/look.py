"""The options of how filters are drawn: their types, choices and defaults, and their validation.

Each option is defined once, as a field of ``Look``; ``LOOK_OPTIONS`` lists them for the command
line, the queries of the tab and the controls of its page. Importing this module loads no numpy, so
``filtertrack --help`` stays fast.
"""

from collections.abc import Iterable
from dataclasses import dataclass, fields
from operator import index
from typing import Any, Literal, NamedTuple, TypeAlias, get_args

from filtertrack.errors import FiltertrackError, is_list

Order = Literal["stored", "similarity", "orientation", "drift", "label"]
ORDERS: tuple[Order, ...] = get_args(Order)

Scale = Literal["frame", "filter", "layer"]

ThemeName = Literal["dark", "light"]

Channels: TypeAlias = Literal["strongest"] | int | None
"""How a layer's input channels are drawn: collapsed to the filter's strongest pattern, one of them
alone by its number, or None for what suits their number."""

Filters: TypeAlias = Iterable[int | range]
"""Numbers of filters, and ranges of them: any iterable, such as ``range(16)`` or an array."""

GREY = "gray"
"""The default colormap, by its name in matplotlib."""
MOST_FILTERS = 1 << 20
"""Filters that are ordered or drawn together, at most."""


@dataclass(frozen=True, slots=True)
class Look:
    """How filters are drawn.

    Attributes:
        filters: Numbers of the filters to draw, and ranges of them, in this order; None for all.
            They become a tuple of ranges.
        order: The order of the filters: see ``filter_order.arrange``.
        scale: Which weights the range from dark to light spans. ``"frame"``: each filter's in each
            frame, as in TensorBoard. ``"filter"``: each filter's over all frames, so its growth is
            visible. ``"layer"``: all filters' over all frames. None for ``"frame"``, or
            ``"filter"`` with ``delta``.
        zero_centred: Whether that range is widened so that zero is in its middle.
        delta: Whether the difference from the first snapshot is drawn, zero-centred.
        outline: Whether a line around each filter shows its label.
        channels: How input channels are drawn: see ``cells.view_of``.
        colormap: One of matplotlib's, for layers with one value a pixel.
        theme: Colours around the weights.

    Raises:
        FiltertrackError: If a value is not valid; the message lists the valid ones.
    """

    filters: Filters | None = None
    order: Order = "stored"
    scale: Scale | None = None
    zero_centred: bool = False
    delta: bool = False
    outline: bool = False
    channels: Channels = None
    colormap: str = GREY
    theme: ThemeName = "dark"

    def __post_init__(self) -> None:
        """Validate the values."""
        for option in LOOK_OPTIONS:
            value = getattr(self, option.name)
            if option.choices and value not in (option.default, *option.choices):
                raise FiltertrackError(
                    f"{option.name}: expected one of {', '.join(option.choices)}, got {value!r}"
                )
        if not is_channels(self.channels):
            raise FiltertrackError(
                f"channels: expected 'strongest' or a channel's number, got {self.channels!r}; "
                f"leave it out for what suits their number"
            )
        if self.filters is not None:
            object.__setattr__(self, "filters", _ranges(self.filters))
        if self.filters is not None and self.order != "stored":
            raise FiltertrackError(
                f"filters are drawn in the order given; choose them or order={self.order!r}, "
                f"not both"
            )


class LookOption(NamedTuple):
    """One field of ``Look``.

    Attributes:
        name: Of the field.
        default: Its default.
        choices: All its values, if it is one of a few; else empty.
        flag: Whether it is true or false.
    """

    name: str
    default: Any
    choices: tuple[str, ...]
    flag: bool


def _choices_of(kind: Any) -> tuple[str, ...]:
    """Return the values of a ``Literal``, or of ``Literal | None``; else nothing."""
    values = get_args(kind)
    if values and all(isinstance(value, str) for value in values):
        return values
    if len(values) == 2 and values[1] is type(None):
        return _choices_of(values[0])
    return ()


LOOK_OPTIONS = tuple(
    LookOption(field.name, field.default, _choices_of(field.type), field.type is bool)
    for field in fields(Look)
)
"""Every option of ``Look``, in the order of its fields."""


def is_channels(value: object) -> bool:
    """Return whether a value is one of ``Channels``; a number may exceed those of a layer."""
    return value is None or type(value) is int or (isinstance(value, str) and value == "strongest")


def _ranges(filters: Filters) -> tuple[range, ...]:
    """Return numbers and ranges as ranges, without empty ones; no range is expanded."""
    if not is_list(filters):
        raise FiltertrackError(f"filters: expected numbers in a list, got {filters!r}")
    ranges: list[range] = []
    for part in [filters] if isinstance(filters, range) else filters:
        try:
            ranges.append(part if isinstance(part, range) else _single(index(part)))
        except TypeError:
            raise FiltertrackError(
                f"filters: expected whole numbers and ranges, got {part!r}"
            ) from None
        if len(ranges) > MOST_FILTERS:  # the iterable may be endless
            raise FiltertrackError(f"filters: expected at most {MOST_FILTERS} of them")
    if not any(ranges):
        raise FiltertrackError("filters: none are chosen; leave it out for all of them")
    return tuple(part for part in ranges if part)


def _single(number: int) -> range:
    return range(number, number + 1)
