"""Read one layer's filters from a run as cells to draw, with the value range that was selected."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cached_property, reduce
from typing import cast

import numpy as np

from filtertrack.errors import FiltertrackError
from filtertrack.measures import label
from filtertrack.outputs.run_selection import read_kernels
from filtertrack.render.cells import View, to_cells, to_channels, view_of
from filtertrack.render.filter_order import arrange
from filtertrack.render.grid import to_levels, to_rgb
from filtertrack.render.look import MOST_FILTERS, Look
from filtertrack.render.value_range import Span, ValueRange, range_of_cells
from filtertrack.storage.run import Run


class LayerCells:
    """The cells of one layer at the snapshots of one run, or of two on the same scale.

    Kernels are read when they are first needed; every reading method raises
    ``DamagedSnapshotError`` if one cannot be read.

    Args:
        runs: One run, or two in which the layer has the same shape.
        layer: The layer's name.
        steps: Steps of the snapshots, ascending; all runs have them.
        look: How filters are drawn.

    Attributes:
        name: The layer's name.
        view: How the layer is drawn.
        whole_range: The value range over the whole run; None where each frame has its own.

    Raises:
        FiltertrackError: If there is no such layer, or it lacks one of the filters of ``look``.
    """

    def __init__(self, runs: Sequence[Run], layer: str, steps: Sequence[int], look: Look) -> None:
        info = runs[0].layer(layer)
        self.name = layer
        self._runs, self._steps, self._look = runs, list(steps), look
        self._filters = info.filters
        self._given = None if look.filters is None else self._given_filters(look)
        drawn = info.filters if self._given is None else len(self._given)
        if drawn > MOST_FILTERS:
            raise FiltertrackError(
                f"filters: at most {MOST_FILTERS} are drawn together, and layer {layer} has "
                f"{info.filters}; choose some"
            )
        self.view: View = view_of(info, look.channels)
        if self.view.kind == "matrix":
            self.view = replace(self.view, width=drawn)
        else:
            self.view = replace(self.view, count=drawn)
        self._all_channels = view_of(info)
        self._scale = look.scale or ("filter" if look.delta else "frame")

    # Cached properties read the run: by then its size has been checked.

    @cached_property
    def whole_range(self) -> ValueRange | None:
        """The value range over the whole run; None where each frame has its own."""
        if self._scale == "frame":
            return None
        frames = self.walk(range(len(self._steps)))
        return reduce(ValueRange.union, map(self._range_of, frames))

    @cached_property
    def _subtracted(self) -> list[np.ndarray] | None:
        """For each run, the first snapshot, which ``delta`` subtracts; None without ``delta``."""
        if not self._look.delta:
            return None
        return [self._read(run, self._steps[0]) for run in self._runs]

    @cached_property
    def _drawn_numbers(self) -> np.ndarray | None:
        """The numbers of the filters in the order drawn; None for all as they are stored."""
        return self._ordered() if self._given is None else self._given

    @property
    def numbers(self) -> list[int]:
        """The numbers of the filters in the kernel, in the order drawn."""
        if self._drawn_numbers is None:
            return list(range(self._filters))
        numbers: list[int] = self._drawn_numbers.tolist()
        return numbers

    @property
    def highest(self) -> int:
        """The highest of these numbers; 0 where there are none. Nothing is read."""
        return max(0, self._filters - 1) if self._given is None else int(self._given.max())

    def walk(self, positions: Sequence[float]) -> Iterator[list[np.ndarray]]:
        """Yield the cells at one position after another.

        The sign of a rank-1 pattern follows that of the snapshot before, so these are read from the
        first one on; of other views only the snapshots that are drawn. Each is read once.

        Args:
            positions: Indices of snapshots, ascending; at 2.5 each weight is interpolated linearly
                half-way between snapshots 2 and 3.

        Yields:
            For each run an array of shape ``(cells, height, width, 1 or 3)``.
        """
        like: list[np.ndarray] | None = None
        recent: dict[int, list[np.ndarray]] = {}
        signed = self.view.kind == "pattern"
        read = 0
        for position in positions:
            before, share = math.floor(position), position % 1
            last = before + 1 if share else before
            for number in range(read if signed else max(read, before), last + 1):
                like = recent[number] = self._cells(self._steps[number], like)
                recent = {n: cells for n, cells in recent.items() if n >= number - 1}
                read = number + 1
            if share:
                with np.errstate(invalid="ignore"):  # between infinities of opposite signs
                    yield [
                        (1 - share) * a + share * b
                        for a, b in zip(recent[before], recent[last], strict=True)
                    ]
            else:
                yield recent[before]

    def values(self, cells: Sequence[np.ndarray]) -> ValueRange:
        """Return the value range of one frame.

        Args:
            cells: The frame's cells, as ``walk`` yields them.
        """
        return self._range_of(cells) if self.whole_range is None else self.whole_range

    def labels(self, position: float) -> list[np.ndarray]:
        """Return the label of each cell's filter at a position: for each run, one of ``LABELS``.

        Between two snapshots it is that of the first. The single cell of a matrix is ``"unknown"``.
        """
        step = self._steps[math.floor(position)]
        if self.view.kind == "matrix":
            return [np.array(["unknown"]) for _ in self._runs]
        kernels = (to_channels(self._all_channels, self._read(run, step)) for run in self._runs)
        return [label(each, rgb=self._all_channels.coloured).names for each in kernels]

    def paint(self, cells: np.ndarray, values: ValueRange, palette: np.ndarray) -> np.ndarray:
        """Return the exact colours of cells.

        Args:
            cells: Array of shape ``(cells, height, width, 1 or 3)``.
            values: The value range.
            palette: The colour of each level, for cells with one value a pixel.

        Returns:
            ``uint8`` array of shape ``(cells, height, width, 3)``.
        """
        return to_rgb(cells, values) if self.view.coloured else palette[to_levels(cells, values)]

    def _range_of(self, cells: Sequence[np.ndarray]) -> ValueRange:
        span: Span = "layer" if self._scale == "layer" else "cell"
        values = reduce(ValueRange.union, (range_of_cells(each, span) for each in cells))
        centred = self._look.zero_centred or self._look.delta
        return values.zero_centred() if centred else values

    def _cells(self, step: int, like: Sequence[np.ndarray] | None) -> list[np.ndarray]:
        """Return each run's cells at a step; ``like`` are those of the step before, for signs."""
        cells = []
        for number, run in enumerate(self._runs):
            kernels = self._read(run, step)
            if self._subtracted is not None:
                with np.errstate(invalid="ignore", over="ignore"):
                    kernels = np.subtract(kernels, self._subtracted[number], dtype=np.float64)
            cells.append(to_cells(self.view, kernels, None if like is None else like[number]))
        return cells

    def _read(self, run: Run, step: int) -> np.ndarray:
        """Read the filters that are drawn, in the order drawn."""
        numbers = self._drawn_numbers
        kernels = read_kernels(run, self.name, step)
        return kernels if numbers is None else kernels[numbers]

    def _given_filters(self, look: Look) -> np.ndarray:
        """Return the numbers of the filters of a look, checked before ranges are expanded."""
        ranges = cast("tuple[range, ...]", look.filters)
        existing = range(self._filters)
        for part in ranges:
            if part[0] not in existing or part[-1] not in existing:
                inside = range(part[0], self._filters if part.step > 0 else -1, part.step)
                wrong = part[len(inside) if part[0] in existing else 0]
                raise FiltertrackError(
                    f"filters: layer {self.name} has the filters 0 to {self._filters - 1}, got "
                    f"{wrong}"
                )
        if sum(map(len, ranges)) > MOST_FILTERS:
            raise FiltertrackError(f"filters: expected at most {MOST_FILTERS} of them")
        return np.array([number for part in ranges for number in part], np.intp)

    def _ordered(self) -> np.ndarray | None:
        """Return the numbers of all filters in the order of the look; None for that stored."""
        if self._look.order == "stored":
            return None
        start, end = (
            to_channels(
                self._all_channels, read_kernels(self._runs[0], self.name, self._steps[number])
            )
            for number in (0, -1)
        )
        return arrange(self._look.order, start, end, rgb=self._all_channels.coloured)
