"""What a look means for given layers: checks that its options have an effect, and describes it."""

from collections.abc import Sequence

import numpy as np

from filtertrack.errors import FiltertrackError, counted, number_text
from filtertrack.render.cells import CURVE_WIDTH, View
from filtertrack.render.look import Look, Scale
from filtertrack.render.scale_bar import BarTexts
from filtertrack.render.value_range import ValueRange, range_of_cells
from filtertrack.snapshot import LayerInfo

NOTICEABLE = 1 / 256
"""Change of a weight that is drawn, at least, as a share of its filter's largest weight at the
start: one grey level of 256. Smaller ones are drawn as no change."""
FULL_COLOUR = 4
"""Change that has the full colour, at least, in noticeable changes."""

_SMOOTHED_SIDE = 5
"""Height and width of a kernel, in weights, that is interpolated, at least."""
_COLOURS = {2: ("orange", "blue"), 3: ("red", "green", "blue")}
_MOST_NAMES = 8
"""Names of channels in a caption, at most."""

_SCALES: dict[Scale, str] = {
    "frame": "each filter has its own scale at each step",
    "filter": "each filter has its own fixed scale",
    "layer": "all filters have one fixed scale",
}
_SCALES_OF_A_STEP: dict[Scale, str] = {
    "frame": "each filter has its own scale",
    "filter": "each filter has its own scale",
    "layer": "all filters have one scale",
}


def is_smoothed(look: Look, info: LayerInfo) -> bool:
    """Return whether a layer's cells are interpolated."""
    _, height, width, _ = info.shape
    return look.smooth and min(height, width // info.slices) >= _SMOOTHED_SIDE


def check_look(look: Look, infos: Sequence[LayerInfo], views: Sequence[View]) -> None:
    """Refuse options that would not be visible in any layer, and names of other channels.

    Raises:
        FiltertrackError: If a colormap is given and every layer is drawn in its own colours,
            outlines and no layer has filters to outline, interpolation and all kernels are small,
            or names of channels that a layer does not have.
    """
    if look.outline and all(view.kind == "matrix" for view in views):
        raise FiltertrackError(
            "outline: 1x1 kernels are drawn as one matrix, which has no filters to outline; leave "
            "it out"
        )
    if look.colormap is not None and all(view.coloured for view in views):
        raise FiltertrackError(
            f"colormap {look.colormap!r}: layers with three input channels are drawn in their own "
            f"colours; leave the colormap out"
        )
    if look.colormap is not None and all(view.kind == "curve" for view in views):
        raise FiltertrackError(f"colormap {look.colormap!r}: curves have no colormap; leave it out")
    if look.smooth and not any(is_smoothed(look, info) for info in infos):
        raise FiltertrackError(
            f"smooth: kernels of at least {_SMOOTHED_SIDE} weights in height and width are "
            f"interpolated, and those of {infos[0].name} are smaller; leave it out"
        )
    for info in infos:
        if look.channel_names is not None and len(look.channel_names) != info.shape[3]:
            raise FiltertrackError(
                f"channel_names: {info.name} has {counted(info.shape[3], 'input channels')}, got "
                f"{counted(len(look.channel_names), 'names')}"
            )


def describe_scale(look: Look, view: View, *, still: bool = False) -> str:
    """Describe which weights share a scale, and in colour what no change looks like.

    Empty for a matrix, which is alone, if it has nothing else to say.

    Args:
        look: How filters are drawn.
        view: How the layer is drawn.
        still: Whether a single step is drawn.
    """
    words = ["grey: no change"] if view.coloured and look.delta else []
    if look.scale is not None and view.kind != "matrix":
        words.append((_SCALES_OF_A_STEP if still else _SCALES)[look.scale])
    return " · ".join(words)


def describe_part(look: Look, *, largest: float, since: str = "") -> str:
    """Describe a part of a picture: the filters, or the difference from the start.

    Args:
        look: The look of the part.
        largest: The largest magnitude that is drawn over the run; NaN if there is none.
        since: The start of a difference, in words; empty to leave it out.
    """
    if look.delta and largest == 0:
        return f"learned: nothing (all changes are below {NOTICEABLE:.1%})"
    name = "learned" if look.delta else "filters"
    name += f": difference from {since}" if since else ""
    return f"{name}, up to {number_text(largest)}" if np.isfinite(largest) else name


def describe_cells(
    look: Look, info: LayerInfo, view: View, explained: float | None = None
) -> list[str]:
    """Describe what a cell of one layer shows, for a caption.

    Args:
        look: How filters are drawn.
        info: The layer.
        view: How it is drawn.
        explained: Share of the filters that their strongest patterns explain; None if not known.

    Returns:
        A phrase for each step, such as "strongest pattern of 48 channels"; empty for plain weights.
    """
    parts = []
    if view.kind == "pattern":
        part = f"strongest pattern of {counted(info.shape[3], 'channels')}"
        known = explained is not None and np.isfinite(explained)
        parts.append(f"{part}, on average {explained:.0%} of a filter" if known else part)
    if view.kind == "heat map":
        parts.append(f"down: {_channels_text(look, range(info.shape[3]))}; across: positions")
    if view.kind == "curve":
        parts.append("weights as a curve")
        if view.width > CURVE_WIDTH:
            parts.append("beside it its spectrum: 0 to half the sampling rate, 0 to -60 dB")
    if view.cells_per_filter > 1:
        parts.append(f"a cell a channel: {_channels_text(look, range(info.shape[3]))}")
    if view.channels is not None:
        parts.append(_chosen_text(look, view.channels))
    if is_smoothed(look, info):
        parts.append("interpolated between weights")
    return parts


def _channels_text(look: Look, numbers: range) -> str:
    """Return the names of channels that are drawn in order, or their number."""
    if look.channel_names is None:
        return counted(len(numbers), "channels")
    shown = [_name(look, number) for number in numbers[:_MOST_NAMES]]
    return ", ".join(shown) + (", …" if len(numbers) > _MOST_NAMES else "")


def _chosen_text(look: Look, channels: Sequence[int]) -> str:
    names = [_name(look, number) for number in channels]
    if len(names) == 1:
        return f"channel {names[0]}"
    colours = _COLOURS[len(names)]
    pairs = (f"{name} {colour}" for name, colour in zip(names, colours, strict=True))
    return f"channels {', '.join(pairs)}"


def _name(look: Look, channel: int) -> str:
    return str(channel) if look.channel_names is None else look.channel_names[channel]


def bar_texts(look: Look, view: View, values: ValueRange) -> BarTexts | None:
    """Return the texts of a picture's scale bar; None where a weight has more than one value.

    Args:
        look: How filters are drawn.
        view: How the layer is drawn.
        values: The value range, for the numbers of a scale that all cells share.
    """
    if view.coloured or view.kind == "curve":
        return None
    centred = look.zero_centred or bool(look.delta)
    shared = look.scale == "layer" or (view.count == 1 and look.scale != "frame")
    if shared and len(values.low) and np.isfinite(values.high[0]):
        low, high = number_text(float(values.low[0])), number_text(float(values.high[0]))
        return BarTexts(low, "0" if centred else "", f"+{high}" if centred else high)
    if look.delta:
        return BarTexts("decreased", "0", "increased")
    return BarTexts("negative", "0", "positive") if centred else BarTexts("lowest", "", "highest")


def noticeable_change(start: np.ndarray, together: int = 1) -> np.ndarray:
    """Return the change of each cell that is drawn, at least: see ``NOTICEABLE``.

    Args:
        start: The cells of the first snapshot: ``(cells, height, width, 1 or 3)``.
        together: Number of cells, one after another, of a filter.

    Returns:
        Array of shape ``(cells,)``.
    """
    finite = np.nan_to_num(start.astype(np.float64), posinf=0, neginf=0)
    values = range_of_cells(finite, together=together)
    return NOTICEABLE * values.zero_centred().high.clip(min=0)


def without_small_changes(cells: np.ndarray, noticeable: np.ndarray) -> np.ndarray:
    """Return differences from the start, with zero for those that are not noticeable.

    Args:
        cells: Array of shape ``(cells, height, width, 1 or 3)``.
        noticeable: The change of each cell that is drawn, at least.
    """
    return np.where(np.abs(cells) < noticeable.reshape(-1, 1, 1, 1), 0.0, cells)


def range_of_changes(values: ValueRange, noticeable: np.ndarray) -> ValueRange:
    """Return the range of differences from the start: zero in its middle, and not too small.

    Args:
        values: The range of the differences of each cell.
        noticeable: The change of each cell that is drawn, at least.
    """
    return values.reaching(FULL_COLOUR * noticeable).zero_centred()
