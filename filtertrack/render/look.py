"""How filters are drawn: scale, order, colours, outlines, channels, each checked once."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from operator import index
from typing import Literal, TypeAlias

from filtertrack.errors import FiltertrackError, counted, is_list
from filtertrack.render.cells import Channels, View, is_channels, view_of
from filtertrack.render.filter_order import MOST_FILTERS, ORDERS, Order
from filtertrack.render.palette import GREY, THEMES, ThemeName
from filtertrack.snapshot import LayerInfo

Scale = Literal["frame", "filter", "layer"]
SCALES: tuple[Scale, ...] = ("frame", "filter", "layer")

Filters: TypeAlias = Iterable[int | range]
"""Numbers of filters, and ranges of them: any iterable, such as ``range(16)`` or an array."""


@dataclass(frozen=True, slots=True)
class Look:
    """How filters are drawn.

    Attributes:
        scale: What dark and light mean. ``"frame"``: lowest and highest weight of each filter in
            each frame, as in TensorBoard. ``"filter"``: of each filter over all frames, so its
            growth is seen. ``"layer"``: of all filters over all frames. None for ``"frame"``, or
            ``"filter"`` with ``delta``.
        zero_centred: Whether that range is widened so that zero is in its middle.
        delta: Whether the difference from the first snapshot is drawn, zero-centred.
        order: In which order filters come: see ``order.arrange``.
        filters: Numbers of the filters to draw, and ranges of them, in this order; None for all.
            They become a tuple of ranges.
        colormap: One of matplotlib's, for layers with one value a pixel.
        theme: Colours around the weights.
        outline: Whether each filter has a line around it that says its label.
        channels: How input channels are drawn: see ``cells.view_of``.

    Raises:
        FiltertrackError: If a value is none of those; the message says which are.
    """

    scale: Scale | None = None
    zero_centred: bool = False
    delta: bool = False
    order: Order = "stored"
    filters: Filters | None = None
    colormap: str = GREY
    theme: ThemeName = "dark"
    outline: bool = False
    channels: Channels = None

    def __post_init__(self) -> None:
        """Check the values once."""
        choices = {
            "scale": (self.scale, (None, *SCALES)),
            "order": (self.order, ORDERS),
            "theme": (self.theme, tuple(THEMES)),
        }
        for name, (value, known) in choices.items():
            if value not in known:
                expected = ", ".join(filter(None, known))
                raise FiltertrackError(f"{name}: expected one of {expected}, got {value!r}")
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

    def described(self, infos: Sequence[LayerInfo]) -> list[str]:
        """Say what is done to the weights before they are drawn; nothing where nothing is.

        Args:
            infos: The layers that are drawn.
        """
        parts = []
        if isinstance(self.channels, int):
            parts.append(f"channel {self.channels}")
        patterns = [info for info in infos if view_of(info, self.channels).kind == "pattern"]
        if len(infos) == 1 and patterns:
            parts.append(f"strongest pattern of {counted(infos[0].shape[3], 'channels')}")
        elif patterns:
            parts.append("strongest patterns")
        if self.delta:
            parts.append("difference from the start")
        return parts


def _ranges(filters: Filters) -> tuple[range, ...]:
    """Return numbers and ranges as ranges, without one that is empty; none of them is expanded."""
    if not is_list(filters):
        raise FiltertrackError(f"filters: expected numbers in a list, got {filters!r}")
    ranges: list[range] = []
    for part in [filters] if isinstance(filters, range) else filters:
        try:
            ranges.append(part if isinstance(part, range) else _only(index(part)))
        except TypeError:
            raise FiltertrackError(
                f"filters: expected whole numbers and ranges, got {part!r}"
            ) from None
        if len(ranges) > MOST_FILTERS:  # as of a generator without an end
            raise FiltertrackError(f"filters: expected at most {MOST_FILTERS} of them")
    if not any(ranges):
        raise FiltertrackError("filters: none are chosen; leave it out for all of them")
    return tuple(part for part in ranges if part)


def _only(number: int) -> range:
    return range(number, number + 1)


def check_look(look: Look, views: Sequence[View]) -> None:
    """Refuse a colormap or outlines that would not be seen.

    Raises:
        FiltertrackError: If every layer is drawn in its own colours, or none has filters to
            outline.
    """
    if look.outline and all(view.kind == "matrix" for view in views):
        raise FiltertrackError(
            "outline: 1x1 kernels are drawn as one matrix, which has no filters to outline; leave "
            "it out"
        )
    if look.colormap != GREY and all(view.coloured for view in views):
        raise FiltertrackError(
            f"colormap {look.colormap!r}: layers with three input channels are drawn in their own "
            f"colours; leave the colormap out"
        )
