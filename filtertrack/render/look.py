"""The options of how filters are drawn: their types, choices and defaults, and their validation.

Each option is defined once, as a field of ``Look``; ``LOOK_OPTIONS`` lists them for the command
line, the queries of the tab and the controls of its page. Importing this module loads no numpy, so
``filtertrack --help`` stays fast.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from itertools import islice
from operator import index
from typing import Any, Literal, NamedTuple, TypeAlias, get_args

from filtertrack.errors import FiltertrackError, is_list

Order = Literal["stored", "similarity", "orientation", "drift", "label"]
ORDERS: tuple[Order, ...] = get_args(Order)

Scale = Literal["frame", "filter", "layer"]

ThemeName = Literal["dark", "light"]

Channels: TypeAlias = str | int | Sequence[int | str] | None
"""How a layer's input channels are drawn: ``"strongest"`` (collapsed to each filter's strongest
pattern), ``"all"`` (each in a cell of its own), one alone by its number or name, two or three
together in colour, as ``(2, 1, 0)``, ``"rgb"`` or ``"bgr"``; None for what suits their number."""

STRONGEST, ALL = "strongest", "all"
COLOUR_ORDERS = {"rgb": (0, 1, 2), "bgr": (2, 1, 0)}
"""Names of three channels in colour, and their numbers as red, green and blue."""

Filters: TypeAlias = Iterable[int | range]
"""Numbers of filters, and ranges of them: any iterable, such as ``range(16)`` or an array."""

GREY, DIVERGING = "gray", "RdBu_r"
"""The default colormaps, by their names in matplotlib: for weights, and for differences from the
start. The second one goes from blue over white (zero) to red, which the colour-blind can tell
apart."""
MOST_FILTERS = 1 << 20
"""Filters that are ordered or drawn together, at most."""
_MOST_COLOURS = 3
"""Channels drawn together in colour, at most."""
_LONGEST_NAME = 40
"""Characters of a channel's name, at most."""


@dataclass(frozen=True, slots=True)
class Look:
    """How filters are drawn.

    Attributes:
        filters: Numbers of the filters to draw, and ranges of them, in this order; None for all.
            They become a tuple of ranges.
        order: The order of the filters: see ``filter_order.arrange``.
        scale: Which weights the range from dark to light spans. ``"frame"``: each filter's in each
            frame, as in TensorBoard. ``"filter"``: each filter's over all frames, so its growth is
            visible. ``"layer"``: all filters' over all frames. None for ``"frame"`` where the
            filters are drawn alone, else for ``"filter"``.
        zero_centred: Whether that range is widened so that zero is in its middle.
        delta: True for the difference from the first snapshot, zero-centred, False for the filters
            themselves, None for what suits the layer: see ``picture_parts.parts_of``.
        outline: Whether a line around each filter shows its label.
        channels: How input channels are drawn: see ``cells.view_of``. Names become numbers.
        channel_names: The name of each input channel, or None.
        smooth: Whether kernels of 5x5 weights or more are interpolated.
        colormap: One of matplotlib's, for layers with one value a pixel. None for grey, and for a
            diverging one where the difference from the start is drawn.
        theme: Colours around the weights.

    Raises:
        FiltertrackError: If a value is not valid; the message lists the valid ones.
    """

    filters: Filters | None = None
    order: Order = "stored"
    scale: Scale | None = None
    zero_centred: bool = False
    delta: bool | None = None
    outline: bool = False
    channels: Channels = None
    channel_names: Sequence[str] | None = None
    smooth: bool = False
    colormap: str | None = None
    theme: ThemeName = "dark"

    def __post_init__(self) -> None:
        """Validate the values."""
        for option in LOOK_OPTIONS:
            value = getattr(self, option.name)
            if option.choices and value not in (option.default, *option.choices):
                raise FiltertrackError(
                    f"{option.name}: expected one of {', '.join(option.choices)}, got {value!r}"
                )
        if self.channel_names is not None:
            object.__setattr__(self, "channel_names", _names(self.channel_names))
        channels = resolve_channels(self.channels, self.channel_names)
        object.__setattr__(self, "channels", channels)
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
    LookOption(each.name, each.default, _choices_of(each.type), each.type in (bool, bool | None))
    for each in fields(Look)
)
"""Every option of ``Look``, in the order of its fields."""


def resolve_channels(
    channels: Channels, names: Sequence[str] | None = None
) -> str | int | tuple[int, ...] | None:
    """Return ``Channels`` with numbers instead of names, and one channel instead of a list of one.

    Args:
        channels: How input channels are drawn.
        names: The name of each channel, or None.

    Returns:
        None, ``"strongest"``, ``"all"``, a channel's number, or two or three of them.

    Raises:
        FiltertrackError: If it is none of these; numbers may exceed those of a layer.

    Example:
        >>> resolve_channels("bgr"), resolve_channels(["G"], ["A", "C", "G", "T"])
        ((2, 1, 0), 2)
    """
    if channels is None or (isinstance(channels, str) and channels in (STRONGEST, ALL)):
        return channels
    if isinstance(channels, str) and channels in COLOUR_ORDERS and channels not in (names or ()):
        return COLOUR_ORDERS[channels]
    several: Iterable[int | str] = [channels] if isinstance(channels, (int, str)) else channels
    chosen = islice(several, _MOST_COLOURS + 1) if is_list(several) else [-1]
    numbers = tuple(_channel_number(each, names) for each in chosen)
    if not 1 <= len(numbers) <= _MOST_COLOURS or min(numbers) < 0:
        known = f"one of the names {', '.join(names)}, " if names else ""
        raise FiltertrackError(
            f"channels: expected 'strongest', 'all', a channel's number, {known}or two or three of "
            f"them such as (2, 1, 0) or 'bgr', got {channels!r}; leave it out for what suits their "
            f"number"
        )
    return numbers[0] if len(numbers) == 1 else numbers


def _channel_number(channel: object, names: Sequence[str] | None) -> int:
    """Return a channel's number; -1 for what is neither a number nor one of the names."""
    if isinstance(channel, str):
        return list(names).index(channel) if names and channel in names else -1
    return channel if type(channel) is int else -1


def _names(names: Sequence[str]) -> tuple[str, ...]:
    several = tuple(names) if is_list(names) else ("",)
    if not all(map(_is_name, several)):
        raise FiltertrackError(
            f"channel_names: expected the name of each input channel in a list, got {names!r}"
        )
    if len(set(several)) < len(several):
        raise FiltertrackError(f"channel_names: expected different names, got {list(several)}")
    return several


def _is_name(name: object) -> bool:
    return isinstance(name, str) and 0 < len(name) <= _LONGEST_NAME and name.isprintable()


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
