"""Value ranges of cells: finding them, and normalising cells with them.

The two are separate, so that the same code draws a single picture (the range of one snapshot) and
an animation (the range of the whole run).
"""

import math
from dataclasses import dataclass
from typing import Literal, Self

import numpy as np

Span = Literal["cell", "layer"]


@dataclass(frozen=True, slots=True, eq=False)
class ValueRange:
    """The values drawn darkest and lightest, one pair per cell.

    Attributes:
        low: Array of shape ``(cells,)``: drawn as 0.
        high: Array of shape ``(cells,)``: drawn as 1.
    """

    low: np.ndarray
    high: np.ndarray

    def union(self, other: Self) -> Self:
        """Return the range that covers both."""
        return type(self)(np.minimum(self.low, other.low), np.maximum(self.high, other.high))

    def of_cells(self, cells: slice) -> Self:
        """Return the ranges of some of the cells."""
        return type(self)(self.low[cells], self.high[cells])

    def zero_centred(self) -> Self:
        """Return the smallest range with zero in its middle that covers this one.

        Example:
            >>> r = ValueRange(np.array([-1.0]), np.array([3.0])).zero_centred()
            >>> float(r.low[0]), float(r.high[0])
            (-3.0, 3.0)
        """
        reach = np.maximum(-self.low, self.high)
        return type(self)(-reach, reach)

    def reaching(self, least: np.ndarray) -> Self:
        """Return the smallest range that covers this one, and zero by ``least`` on both sides.

        Args:
            least: Array of shape ``(cells,)``, from 0 on.

        Example:
            >>> r = ValueRange(np.array([-0.1]), np.array([3.0])).reaching(np.array([0.5]))
            >>> float(r.low[0]), float(r.high[0])
            (-0.5, 3.0)
        """
        return type(self)(np.minimum(self.low, -least), np.maximum(self.high, least))


NO_RANGE = ValueRange(np.empty(0), np.empty(0))
"""The range of no cells: of a scale that is another in each frame."""


def range_of_cells(cells: np.ndarray, span: Span = "cell", together: int = 1) -> ValueRange:
    """Find the smallest and the largest finite value of each cell, or of several cells.

    Args:
        cells: Array of shape ``(cells, height, width, channels)``.
        span: ``"cell"``: each cell has its own range. ``"layer"``: all cells have the same.
        together: Number of cells, one after another, that have the same range.

    Returns:
        The ranges; from infinity to minus infinity for a cell without finite values.

    Example:
        >>> r = range_of_cells(np.array([[[[-1.0]], [[3.0]]]]))
        >>> float(r.low[0]), float(r.high[0])
        (-1.0, 3.0)
    """
    flat = cells.reshape(len(cells), math.prod(cells.shape[1:]))
    if not flat.shape[1]:
        flat = np.full((len(flat), 1), np.nan)
    real = np.result_type(flat.dtype, 0.0)
    low = flat.min(axis=1).astype(real, copy=False)
    high = flat.max(axis=1).astype(real, copy=False)
    finite = np.isfinite(low) & np.isfinite(high)
    for number in np.flatnonzero(~finite):
        values = flat[number][np.isfinite(flat[number])]
        low[number] = values.min(initial=np.inf)
        high[number] = values.max(initial=-np.inf)
    if together > 1:
        low = low.reshape(-1, together).min(axis=1).repeat(together)
        high = high.reshape(-1, together).max(axis=1).repeat(together)
    if span == "layer":
        low = np.full_like(low, low.min(initial=np.inf))
        high = np.full_like(high, high.max(initial=-np.inf))
    return ValueRange(low, high)


def normalise(cells: np.ndarray, values: ValueRange) -> np.ndarray:
    """Scale cells to 0…1; a constant cell becomes 0.5, a value that is not finite NaN.

    Args:
        cells: Array of shape ``(cells, height, width, channels)``.
        values: One range per cell. Values outside it are clipped to it.

    Returns:
        ``float64`` array of the same shape, in [0, 1] or NaN.

    Example:
        >>> cells = np.array([[[[-1.0]], [[0.0]], [[3.0]]]])
        >>> normalise(cells, range_of_cells(cells)).ravel().tolist()
        [0.0, 0.25, 1.0]
    """
    per_cell = (-1,) + (1,) * (cells.ndim - 1)
    # Halved, as the width of a range of float64 extremes would overflow.
    low, high = values.low.astype(np.float64) / 2, values.high.astype(np.float64) / 2
    with np.errstate(invalid="ignore"):  # a cell without finite values: inf - inf
        width = high - low
        constant = ~(width > 0)
        scaled = cells.astype(np.float64)
        broken = ~np.isfinite(scaled)
        # In place, to save memory: a matrix of thousands of filters and channels is one cell.
        scaled /= 2
        scaled -= low.reshape(per_cell)
        scaled /= np.where(constant, 1.0, width).reshape(per_cell)
        np.clip(scaled, 0.0, 1.0, out=scaled)
    scaled[constant] = 0.5
    scaled[broken] = np.nan
    return scaled
