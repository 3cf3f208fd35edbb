"""From kernels to the cells that are drawn: grey, colour, strongest pattern, or matrix.

A filter of one input channel is drawn in grey, one of three in colour. A filter of any other number
is collapsed to its strongest spatial pattern. A 1x1 kernel has no spatial pattern: it is drawn as
one matrix, input channels down and filters across.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from filtertrack.errors import FiltertrackError, counted
from filtertrack.measures.vectors import blocks, leading_pattern
from filtertrack.render.look import Channels, is_channels
from filtertrack.snapshot import LayerInfo

Kind = Literal["grey", "colour", "pattern", "matrix"]

_COLOUR_CHANNELS = 3
_ROUNDING = 1e-12
"""Share of a pattern's largest value below which differences are rounding errors."""


@dataclass(frozen=True, slots=True)
class View:
    """How one layer is drawn.

    Attributes:
        kind: ``"grey"``, ``"colour"``, ``"pattern"`` (rank-1) or ``"matrix"`` (1x1 kernels).
        count: Number of cells.
        height: Height of a cell, in weights.
        width: Width of a cell, in weights.
        slices: Number of slices of a 3-D kernel, side by side in a cell.
        channel: The only input channel that is drawn; None for all.
    """

    kind: Kind
    count: int
    height: int
    width: int
    slices: int = 1
    channel: int | None = None

    @property
    def coloured(self) -> bool:
        """Whether a cell has three channels (else one)."""
        return self.kind == "colour"


def view_of(info: LayerInfo, channels: Channels = None) -> View:
    """Choose how a layer is drawn.

    Args:
        info: The layer.
        channels: How its input channels are drawn.

    Raises:
        FiltertrackError: If it has no such channel, or is drawn as a matrix of all channels.
    """
    filters, height, width, count = info.shape
    matrix = height * width == 1
    if channels is not None:
        _check_channels(info, channels, matrix=matrix)
    if matrix:
        return View("matrix", 1, count, filters)
    if isinstance(channels, int):
        return View("grey", filters, height, width, info.slices, channels)
    kinds: dict[int, Kind] = {1: "grey"}
    if channels is None:
        kinds[_COLOUR_CHANNELS] = "colour"
    return View(kinds.get(count, "pattern"), filters, height, width, info.slices)


def _check_channels(info: LayerInfo, channels: Channels, *, matrix: bool) -> None:
    if matrix:
        raise FiltertrackError(
            f"channels: expected None, since the 1x1 kernel of {info.name} is drawn as one matrix "
            f"of all its channels, got {channels!r}; leave it out"
        )
    count = info.shape[3]
    if not is_channels(channels) or (isinstance(channels, int) and channels not in range(count)):
        raise FiltertrackError(
            f"channels: expected 'strongest' or one of the channels 0 to {count - 1} of "
            f"{info.name}, got {channels!r}"
        )


def to_cells(view: View, kernels: np.ndarray, like: np.ndarray | None = None) -> np.ndarray:
    """Turn a layer's filters into cells.

    Args:
        view: How the layer is drawn.
        kernels: Array of shape ``(filters, height, width, channels)``.
        like: The cells of the snapshot before, or None. The sign of a rank-1 pattern is arbitrary;
            with ``like`` it is the one closer to that snapshot, so that no cell flips in an
            animation.

    Returns:
        Array of shape ``(cells, height, width, 1 or 3)``.
    """
    if view.kind == "matrix":
        return kernels.reshape(view.width, view.height).T[np.newaxis, :, :, np.newaxis]
    if view.kind == "pattern":
        return strongest_pattern(kernels, like)
    return kernels if view.channel is None else kernels[..., view.channel : view.channel + 1]


def strongest_pattern(kernels: np.ndarray, like: np.ndarray | None = None) -> np.ndarray:
    r"""Collapse the channels of each filter to its strongest spatial pattern (rank 1).

    The pattern is :math:`\sigma_1 u` of ``measures.vectors.leading_pattern``, used to show deep
    filters by Voss et al. 2021, "Visualizing Weights". Its sign is the one in which the channel
    weights v sum to a positive number: light then means "raises the output" for inputs that are all
    positive, as after a ReLU.

    Args:
        kernels: Array of shape ``(filters, height, width, channels)``.
        like: Patterns of the snapshot before, to take the signs from; None for the rule above.

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
        before = None if like is None else like[part].reshape(-1, height * width)
        patterns[part] = _patterns(kernels[part], before).reshape(-1, height, width, 1)
    return patterns


def _patterns(kernels: np.ndarray, like: np.ndarray | None) -> np.ndarray:
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
    summed = (pattern[:, np.newaxis, :] @ flat).sum(axis=(1, 2))
    if like is None:
        sign = summed
    else:
        sign = np.einsum("fp,fp->f", pattern, np.nan_to_num(like))
        sign = np.where(sign == 0, summed, sign)  # as after a snapshot of zeros
    # Rounding errors of a constant pattern would be drawn as noise from dark to light.
    low, high = pattern.min(axis=1), pattern.max(axis=1)
    constant = high - low <= _ROUNDING * np.maximum(-low, high)
    pattern[constant] = pattern[constant].mean(axis=1, keepdims=True)
    pattern *= np.where(sign < 0, -size, size)[:, np.newaxis]
    pattern[broken] = np.nan
    return pattern


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


def explain(info: LayerInfo) -> str:
    """Describe what a picture of this layer shows; the text is the same for every snapshot."""
    view = view_of(info)
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
        "matrix": (
            f"1x1 kernel as a matrix: {counted(channels, 'input channels')} down, {of_them} across"
        ),
    }[view.kind]
    per = "the matrix" if view.kind == "matrix" else "each filter"
    return (
        f"{info.class_name} {info.name}, kernel {shape}: {what}. "
        f"Normalised: {per} from its own lowest weight (dark, 0) to its highest (light, 1); "
        f"constant is mid-grey, NaN and infinity are magenta."
    )
