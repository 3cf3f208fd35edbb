"""From kernels to the cells that are drawn: grey, colour, strongest pattern, heat map or matrix.

A filter on images is drawn in grey if it has one input channel, and in colour if it has three. A
filter of any other number of channels is collapsed to its strongest spatial pattern. Only images
are red, green and blue: a 1-D filter is drawn as a heat map, input channels down and positions
across, or as a curve if it has one channel. A 1x1 kernel has no spatial pattern: it is drawn as one
matrix, input channels down and filters across.
"""

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from filtertrack.errors import FiltertrackError, counted
from filtertrack.measures.vectors import blocks, by_blocks, finite_mean, flat, leading_pattern
from filtertrack.render.look import ALL, STRONGEST, Channels, resolve_channels
from filtertrack.snapshot import LayerInfo

Kind = Literal["grey", "colour", "pattern", "heat map", "curve", "matrix"]

_COLOUR_CHANNELS = 3
_AXES_IN_1D = 3
_MOST_HEAT_ROWS = 64
"""Input channels of a 1-D kernel that are drawn as rows of a heat map, at most."""
_SHORTEST_CURVE = 16
"""Positions from which on a 1-D kernel of one channel is drawn as a curve."""
CURVE_HEIGHT, CURVE_WIDTH = 12, 24
"""Size of the cell of a curve, which is magnified as weights are, but drawn in single pixels."""
_LONGEST_STRIP = 12
"""A kernel of one row or column is drawn wider, so that it is at most so many times as long."""
_ROUNDING = 1e-12
"""Share of a pattern's largest value below which differences are rounding errors."""


@dataclass(frozen=True, slots=True)
class View:
    """How one layer is drawn.

    Attributes:
        kind: ``"grey"``, ``"colour"``, ``"pattern"`` (rank-1), ``"heat map"`` (input channels by
            positions of a 1-D kernel), ``"curve"`` (of a 1-D kernel) or ``"matrix"`` (1x1 kernels).
        count: Number of cells.
        height: Height of a cell, in weights.
        width: Width of a cell, in weights.
        slices: Number of slices of a 3-D kernel, side by side in a cell.
        channels: The input channels that are drawn; None for all.
        cells_per_filter: Cells of a filter, one after another: its input channels; else 1.
        repeated: How often the row or column of a strip is repeated, to make it wider.
    """

    kind: Kind
    count: int
    height: int
    width: int
    slices: int = 1
    channels: tuple[int, ...] | None = None
    cells_per_filter: int = 1
    repeated: int = 1

    @property
    def coloured(self) -> bool:
        """Whether a cell has three channels (else one)."""
        return self.kind == "colour"

    @property
    def filters(self) -> int:
        """Number of filters that are drawn; 1 for a matrix."""
        return self.count // self.cells_per_filter

    def of_filters(self, filters: int) -> "View":
        """Return the view of another number of filters of the same layer."""
        if self.kind == "matrix":
            return replace(self, width=filters)
        return replace(self, count=filters * self.cells_per_filter)


def is_image(info: LayerInfo) -> bool:
    """Return whether a layer slides over images or volumes, so that three channels are colours."""
    return bool(info.image) or info.shape[1] > 1 or len(info.kernel_shape) > _AXES_IN_1D


def view_of(info: LayerInfo, channels: Channels = None, *, curves: bool = True) -> View:
    """Choose how a layer is drawn.

    Args:
        info: The layer.
        channels: How its input channels are drawn; names must have become numbers: see
            ``look.resolve_channels``.
        curves: Whether a long 1-D kernel of one channel is drawn as a curve; else as a strip.

    Raises:
        FiltertrackError: If it has no such channel, or is drawn as a matrix of all channels.
    """
    filters, height, width, count = info.shape
    chosen = resolve_channels(channels)
    if height * width == 1:
        if chosen is not None:
            raise FiltertrackError(
                f"channels: expected None, since the 1x1 kernel of {info.name} is drawn as one "
                f"matrix of all its channels, got {channels!r}; leave it out"
            )
        return View("matrix", 1, count, filters)
    if chosen is None:
        return _usual_view(info, curves=curves)
    if chosen == STRONGEST:
        return _strip("pattern" if count > 1 else "grey", info)
    if chosen == ALL:
        if not is_image(info):
            return View("heat map", filters, count, width)
        view = _strip("grey", info)
        return replace(view, count=filters * count, cells_per_filter=max(count, 1))
    numbers = chosen if isinstance(chosen, tuple) else (int(chosen),)
    if max(numbers) >= count:
        raise FiltertrackError(
            f"channels: expected 'strongest', 'all' or some of the channels 0 to {count - 1} of "
            f"{info.name}, got {channels!r}"
        )
    return replace(_strip("grey" if len(numbers) == 1 else "colour", info), channels=numbers)


def _usual_view(info: LayerInfo, *, curves: bool) -> View:
    """Return the view that suits a layer's kernel and number of input channels."""
    filters, _, width, count = info.shape
    if not is_image(info):
        if count == 1:
            if curves and width >= _SHORTEST_CURVE:
                return View("curve", filters, CURVE_HEIGHT, CURVE_WIDTH)
            return _strip("grey", info)
        if count <= _MOST_HEAT_ROWS:
            return View("heat map", filters, count, width)
        return _strip("pattern", info)
    kinds: dict[int, Kind] = {1: "grey", _COLOUR_CHANNELS: "colour"}
    return _strip(kinds.get(count, "pattern"), info)


def _strip(kind: Kind, info: LayerInfo) -> View:
    """Return a view of pixels; a long row or column is drawn several times as wide."""
    filters, height, width, _ = info.shape
    repeated = 1
    if min(height, width) == 1 and info.slices == 1:
        repeated = max(1, round(max(height, width) / _LONGEST_STRIP))
    if height == 1:
        height = repeated
    elif width == 1:
        width = repeated
    return View(kind, filters, height, width, info.slices, repeated=repeated)


def to_cells(view: View, kernels: np.ndarray) -> np.ndarray:
    """Turn a layer's filters into cells.

    Args:
        view: How the layer is drawn.
        kernels: Array of shape ``(filters, height, width, channels)``.

    Returns:
        Array of shape ``(cells, height, width, 1 or 3)``.
    """
    filters, _, width, channels = kernels.shape
    if view.kind == "matrix":
        return kernels.reshape(view.width, view.height).T[np.newaxis, :, :, np.newaxis]
    if view.kind == "heat map":
        return kernels.reshape(filters, width, channels).swapaxes(1, 2)[..., np.newaxis]
    if view.kind == "pattern":
        cells = strongest_pattern(kernels)
    elif view.cells_per_filter > 1:
        cells = np.moveaxis(kernels, 3, 1).reshape(-1, *kernels.shape[1:3], 1)
    else:
        cells = kernels if view.channels is None else _colours(kernels, view.channels)
    if view.repeated > 1:
        cells = cells.repeat(view.repeated, axis=1 if kernels.shape[1] == 1 else 2)
    return cells


def _colours(kernels: np.ndarray, channels: tuple[int, ...]) -> np.ndarray:
    """Return chosen channels as grey, or as red, green and blue.

    Two channels are orange and blue, which the colour-blind can tell apart; where both are high it
    is white.
    """
    chosen = kernels[..., list(channels)]
    if len(channels) != 2:
        return chosen
    with np.errstate(over="ignore", invalid="ignore"):
        middle = chosen.sum(axis=3, keepdims=True) / 2
    return np.concatenate([chosen[..., :1], middle, chosen[..., 1:]], axis=3)


def strongest_pattern(kernels: np.ndarray) -> np.ndarray:
    r"""Collapse the channels of each filter to its strongest spatial pattern (rank 1).

    The pattern is :math:`\sigma_1 u` of ``measures.vectors.leading_pattern``, used to show deep
    filters by Voss et al. 2021, "Visualizing Weights". Its sign is the one in which the channel
    weights v sum to a positive number: light then means "raises the output" for inputs that are all
    positive, as after a ReLU. So the same weights have the same picture.

    Args:
        kernels: Array of shape ``(filters, height, width, channels)``.

    Returns:
        ``float64`` array of shape ``(filters, height, width, 1)``; NaN throughout for a filter that
        is not finite.

    Example:
        >>> spatial, weights = np.array([[1.0, -2.0], [0.0, 3.0]]), np.array([0.6, 0.8])
        >>> pattern = strongest_pattern(np.multiply.outer(spatial, weights)[np.newaxis])
        >>> np.allclose(pattern[0, :, :, 0], spatial)
        True
    """
    filters, height, width, _ = kernels.shape
    patterns = np.zeros((filters, height, width, 1))
    if not patterns.size:
        return patterns
    for part in blocks(kernels):
        patterns[part] = _patterns(kernels[part]).reshape(-1, height, width, 1)
    return patterns


def _patterns(kernels: np.ndarray) -> np.ndarray:
    """Return the signed patterns of some filters: ``(filters, pixels)``."""
    filters, height, width, channels = kernels.shape
    flat = kernels.reshape(filters, height * width, channels).astype(np.float64, order="C")
    broken = ~np.isfinite(flat).all(axis=(1, 2))
    flat[broken] = 0.0
    # Scaled by the largest weight, so that squares neither overflow nor underflow.
    size = np.maximum(flat.max(axis=(1, 2), initial=0.0), -flat.min(axis=(1, 2), initial=0.0))
    size[size == 0] = 1.0
    flat /= size[:, np.newaxis, np.newaxis]
    pattern = leading_pattern(flat)
    sign = (pattern[:, np.newaxis, :] @ flat).sum(axis=(1, 2))
    # Rounding errors of a constant pattern would be drawn as noise from dark to light.
    low, high = pattern.min(axis=1), pattern.max(axis=1)
    constant = high - low <= _ROUNDING * np.maximum(-low, high)
    pattern[constant] = pattern[constant].mean(axis=1, keepdims=True)
    pattern *= np.where(sign < 0, -size, size)[:, np.newaxis]
    pattern[broken] = np.nan
    return pattern


def explained_share(kernels: np.ndarray, cells: np.ndarray) -> float:
    """Return how much of the filters their strongest patterns explain, on average.

    Args:
        kernels: Array of shape ``(filters, height, width, channels)``.
        cells: Their patterns, as ``strongest_pattern`` returns them.

    Returns:
        Mean share of the sum of squares, from 0 to 1; NaN if no filter is finite and not zero.
    """
    (shares,) = by_blocks(_explained_shares, kernels, cells)
    return finite_mean(shares)


def _explained_shares(kernels: np.ndarray, cells: np.ndarray) -> tuple[np.ndarray]:
    """Return the share of each filter's sum of squares that its pattern explains."""
    weights, patterns = flat(kernels).astype(np.float64), flat(cells)
    size = np.abs(weights).max(axis=1, initial=0.0, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):  # filters of zeros, or not finite
        return (np.square(patterns / size).sum(axis=1) / np.square(weights / size).sum(axis=1),)


def to_channels(view: View, kernels: np.ndarray) -> np.ndarray:
    """Turn the slices of a 3-D kernel into channels: their pixels are not neighbours in the kernel.

    Args:
        view: How the layer is drawn.
        kernels: Array of shape ``(filters, height, width, channels)``.

    Returns:
        The same weights, of shape ``(filters, height, width / slices, slices * channels)``.
    """
    if view.slices == 1:
        return kernels
    filters, height, width, channels = kernels.shape
    apart = kernels.reshape(filters, height, view.slices, width // view.slices, channels)
    return apart.transpose(0, 1, 3, 2, 4).reshape(filters, height, width // view.slices, -1)


def explain(info: LayerInfo, *, curves: bool = False) -> str:
    """Describe what a picture of this layer shows; the text is the same for every snapshot.

    Args:
        info: The layer.
        curves: Whether a long 1-D kernel of one channel is drawn as a curve; else as a strip.
    """
    view = view_of(info, curves=curves)
    filters, height, width, channels = info.shape
    shape, of_them = "x".join(map(str, info.kernel_shape)), counted(filters, "filters")
    size = f"{height}x{width}"
    if view.slices > 1:
        size = f"{view.slices} slices of {height}x{width // view.slices}, side by side"
    what = {
        "grey": f"{of_them} of {size}, one input channel, in grey",
        "colour": f"{of_them} of {size}, three input channels as red, green, blue",
        "pattern": (
            f"{of_them} of {size}, each collapsed from {channels} input channels to its "
            f"strongest spatial pattern (rank 1)"
        ),
        "heat map": (
            f"{of_them}, each a heat map: {channels} input channels down, {width} positions across"
        ),
        "curve": f"{of_them} of {width} weights as curves, each with its spectrum beside it",
        "matrix": (
            f"1x1 kernel as a matrix: {counted(channels, 'input channels')} down, {of_them} across"
        ),
    }[view.kind]
    return f"{info.class_name} {info.name}, kernel {shape}: {what}."


def explain_scale(view: View) -> str:
    """Describe the scale of a picture in which each filter of one snapshot has its own."""
    if view.kind == "curve":
        return "Each curve from its own lowest weight to its highest; NaN and infinity are gaps."
    per = "the matrix" if view.kind == "matrix" else "each filter"
    return (
        f"Normalised: {per} from its own lowest weight (dark, 0) to its highest (light, 1); "
        f"constant is mid-grey, NaN and infinity are magenta."
    )


def explain_change(view: View) -> str:
    """Describe the scale of a picture of the difference from the start."""
    if view.coloured:
        return "Mid-grey is no change; each filter from its own largest change to the opposite one."
    return (
        "White is no change, red an increase and blue a decrease, up to each filter's own largest "
        "change; changes of less than one grey level of the filter are drawn as none."
    )
