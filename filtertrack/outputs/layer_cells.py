"""One layer's filters as cells, at any moment of a run, on the scale that was asked for."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cached_property, reduce
from typing import cast

import numpy as np

from filtertrack.errors import FiltertrackError
from filtertrack.measures import label
from filtertrack.render.cells import View, to_cells, to_channels, view_of
from filtertrack.render.filter_order import arrange
from filtertrack.render.grid import to_levels, to_rgb
from filtertrack.render.look import MOST_FILTERS, Look
from filtertrack.render.value_range import Span, ValueRange, range_of_cells
from filtertrack.storage.run import Run


class LayerCells:
    """One layer of one run, or of two on the same scale, at any of its snapshots.

    Args:
        runs: One or two runs whose layers of that name have the same shape.
        layer: The layer's name.
        steps: The snapshots that can be shown, ascending; all runs have them.
        look: How it is drawn.

    Attributes:
        name: The layer's name.
        view: How the layer is looked at.
        whole_range: The range of the whole run, or None where each frame has its own.

    Raises:
        FiltertrackError: If there is no such layer, or a filter's number is none of its.
    """

    def __init__(self, runs: Sequence[Run], layer: str, steps: Sequence[int], look: Look) -> None:
        info = runs[0].layer(layer)
        self.name = layer
        self._runs, self._steps, self._look = runs, list(steps), look
        self.view: View = view_of(info, look.channels)
        self._natural = view_of(info)
        self._filters = info.filters
        self._asked = None if look.filters is None else self._checked(look)
        shown = info.filters if self._asked is None else len(self._asked)
        if shown > MOST_FILTERS:
            raise FiltertrackError(
                f"filters: at most {MOST_FILTERS} are drawn together, and layer {layer} has "
                f"{info.filters}; choose some"
            )
        if self._asked is not None:
            matrix = self.view.kind == "matrix"
            self.view = replace(
                self.view,
                count=self.view.count if matrix else shown,
                width=shown if matrix else self.view.width,
            )
        self._scale = look.scale or ("filter" if look.delta else "frame")

    # Read from the run when first needed: by then it is known that it is not too large to draw.

    @cached_property
    def whole_range(self) -> ValueRange | None:
        """The range of the whole run, or None where each frame has its own."""
        return None if self._scale == "frame" else self._over_the_run()

    @cached_property
    def _starts(self) -> list[np.ndarray | None]:
        return [self._start(run) for run in self._runs]

    @cached_property
    def _chosen_numbers(self) -> np.ndarray | None:
        return self._arranged() if self._asked is None else self._asked

    @property
    def numbers(self) -> list[int]:
        """The filters that are drawn, by their numbers in the kernel, in their order."""
        if self._chosen_numbers is None:
            return list(range(self._filters))
        numbers: list[int] = self._chosen_numbers.tolist()
        return numbers

    @property
    def highest(self) -> int:
        """The highest of these numbers, whatever their order; 0 where there are none."""
        return max(0, self._filters - 1) if self._asked is None else int(self._asked.max())

    def walk(self, positions: Sequence[float]) -> Iterator[list[np.ndarray]]:
        """Yield the cells at one position after another, ascending.

        Args:
            positions: Numbers of snapshots; 2.5 is half-way between snapshots 2 and 3, each weight
                interpolated linearly.

        Yields:
            For each run an array of shape ``(cells, height, width, 1 or 3)``. The signs of rank-1
            patterns follow on from one to the next.
        """
        like: list[np.ndarray] | None = None
        recent: dict[int, list[np.ndarray]] = {}
        signed = self.view.kind == "pattern"
        read = 0
        for position in positions:
            before, share = math.floor(position), position % 1
            needed = [before, before + 1] if share else [before]
            # Signs follow on from snapshot to snapshot, also through those that are not shown.
            for number in range(read if signed else max(read, before), needed[-1] + 1):
                like = recent[number] = self._cells(self._steps[number], like)
                recent = {n: cells for n, cells in recent.items() if n >= number - 1}
                read = number + 1
            if share:
                with np.errstate(invalid="ignore"):  # from one infinity to the other
                    yield [
                        (1 - share) * a + share * b
                        for a, b in zip(recent[before], recent[before + 1], strict=True)
                    ]
            else:
                yield recent[before]

    def values(self, cells: Sequence[np.ndarray]) -> ValueRange:
        """Return what is drawn darkest and lightest in one frame."""
        if self.whole_range is not None:
            return self.whole_range
        return self._range_of(cells)

    def labels(self, position: float) -> list[np.ndarray]:
        """Return what each cell's filter is at a position: for each run, one of ``LABELS`` each.

        A matrix is one cell, and ``"unknown"``.
        """
        step = self._steps[math.floor(position)]
        if self.view.kind == "matrix":
            return [np.array(["unknown"]) for _ in self._runs]
        kernels = (self._chosen(run.kernels(self.name, step)) for run in self._runs)
        rgb = self._natural.coloured
        return [label(to_channels(self._natural, each), rgb=rgb).names for each in kernels]

    def paint(self, cells: np.ndarray, values: ValueRange, palette: np.ndarray) -> np.ndarray:
        """Return the cells' exact colours.

        Args:
            cells: Array of shape ``(cells, height, width, 1 or 3)``.
            values: What is drawn darkest and lightest.
            palette: What each level of a layer with one value a pixel looks like.

        Returns:
            ``uint8`` array of shape ``(cells, height, width, 3)``.
        """
        return to_rgb(cells, values) if self.view.coloured else palette[to_levels(cells, values)]

    def _range_of(self, cells: Sequence[np.ndarray]) -> ValueRange:
        span: Span = "layer" if self._scale == "layer" else "cell"
        values = reduce(ValueRange.union, (range_of_cells(each, span) for each in cells))
        centred = self._look.zero_centred or self._look.delta
        return values.zero_centred() if centred else values

    def _over_the_run(self) -> ValueRange:
        everywhere = self.walk(range(len(self._steps)))
        return reduce(ValueRange.union, map(self._range_of, everywhere))

    def _cells(self, step: int, like: Sequence[np.ndarray] | None) -> list[np.ndarray]:
        cells = []
        for number, (run, start) in enumerate(zip(self._runs, self._starts, strict=True)):
            kernels = self._chosen(run.kernels(self.name, step))
            if start is not None:
                with np.errstate(invalid="ignore", over="ignore"):
                    kernels = np.subtract(kernels, start, dtype=np.float64)
            cells.append(to_cells(self.view, kernels, None if like is None else like[number]))
        return cells

    def _start(self, run: Run) -> np.ndarray | None:
        """Return what is taken off every snapshot: the first one; None where nothing is."""
        if not self._look.delta:
            return None
        return self._chosen(run.kernels(self.name, self._steps[0]))

    def _chosen(self, kernels: np.ndarray) -> np.ndarray:
        return kernels if self._chosen_numbers is None else kernels[self._chosen_numbers]

    def _checked(self, look: Look) -> np.ndarray:
        """Return the numbers of the filters that were asked for; refuse one that is not there."""
        ranges = cast("tuple[range, ...]", look.filters)
        there = range(self._filters)
        for part in ranges:
            if part[0] not in there or part[-1] not in there:
                inside = range(part[0], self._filters if part.step > 0 else -1, part.step)
                wrong = part[len(inside) if part[0] in there else 0]
                raise FiltertrackError(
                    f"filters: layer {self.name} has the filters 0 to {self._filters - 1}, got "
                    f"{wrong}"
                )
        if sum(map(len, ranges)) > MOST_FILTERS:
            raise FiltertrackError(f"filters: expected at most {MOST_FILTERS} of them")
        return np.array([number for part in ranges for number in part], np.intp)

    def _arranged(self) -> np.ndarray | None:
        """Return the numbers of all filters in the order asked; None for that of the kernel."""
        if self._look.order == "stored":
            return None
        start, end = (
            to_channels(self._natural, self._runs[0].kernels(self.name, self._steps[n]))
            for n in (0, -1)
        )
        return arrange(self._look.order, start, end, rgb=self._natural.coloured)
