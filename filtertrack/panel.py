"""One layer's filters as cells, at any moment of a run, on the scale that was asked for."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from typing import Literal

import numpy as np

from filtertrack.cells import Channels, View, is_channels, to_cells, to_channels, view_of
from filtertrack.errors import FiltertrackError, is_list
from filtertrack.grid import to_levels, to_rgb
from filtertrack.measures import label
from filtertrack.order import ORDERS, Order, arrange
from filtertrack.palette import GREY, THEMES, ThemeName
from filtertrack.scaling import Span, ValueRange, value_range
from filtertrack.store import Run

Scale = Literal["frame", "filter", "layer"]
SCALES: tuple[Scale, ...] = ("frame", "filter", "layer")


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
        filters: Numbers of the filters to draw, in this order; None for all.
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
    filters: Sequence[int] | None = None
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
        if self.filters is not None and not is_list(self.filters):
            raise FiltertrackError(f"filters: expected numbers in a list, got {self.filters!r}")
        if self.filters is not None and not len(self.filters):
            raise FiltertrackError("filters: none are chosen; leave it out for all of them")
        if self.filters is not None and self.order != "stored":
            raise FiltertrackError(
                f"filters are drawn in the order given; choose them or order={self.order!r}, "
                f"not both"
            )

    @property
    def described(self) -> list[str]:
        """Say what was done to the weights before they were drawn; nothing where nothing was."""
        parts = []
        if self.channels is not None:
            alone = f"channel {self.channels}"
            parts.append("strongest pattern" if self.channels == "strongest" else alone)
        if self.delta:
            parts.append("difference from the start")
        return parts


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


class Panel:
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
        self._chosen_numbers = self._arranged(info.filters)
        if self._chosen_numbers is not None:
            shown = len(self._chosen_numbers)
            matrix = self.view.kind == "matrix"
            self.view = replace(
                self.view,
                count=self.view.count if matrix else shown,
                width=shown if matrix else self.view.width,
            )
        self._starts = [self._start(run) for run in runs]
        self._scale = look.scale or ("filter" if look.delta else "frame")
        self.whole_range = None if self._scale == "frame" else self._over_the_run()

    @property
    def numbers(self) -> list[int]:
        """The filters that are drawn, by their numbers in the kernel, in their order."""
        if self._chosen_numbers is None:
            return list(range(self._runs[0].layer(self.name).filters))
        numbers: list[int] = self._chosen_numbers.tolist()
        return numbers

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
        values = reduce(ValueRange.union, (value_range(each, span) for each in cells))
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
                    kernels = kernels - start
            cells.append(to_cells(self.view, kernels, None if like is None else like[number]))
        return cells

    def _start(self, run: Run) -> np.ndarray | None:
        """Return what is taken off every snapshot: the first one; None where nothing is."""
        if not self._look.delta:
            return None
        return self._chosen(run.kernels(self.name, self._steps[0])).astype(np.float64)

    def _chosen(self, kernels: np.ndarray) -> np.ndarray:
        return kernels if self._chosen_numbers is None else kernels[self._chosen_numbers]

    def _arranged(self, count: int) -> np.ndarray | None:
        """Return the numbers of the filters that are drawn, in their order; None for all."""
        if self._look.filters is not None:
            wrong = [number for number in self._look.filters if number not in range(count)]
            if wrong:
                raise FiltertrackError(
                    f"filters: layer {self.name} has the filters 0 to {count - 1}, got {wrong[0]}"
                )
            return np.array(self._look.filters, np.intp)
        if self._look.order == "stored":
            return None
        start, end = (
            to_channels(self._natural, self._runs[0].kernels(self.name, self._steps[n]))
            for n in (0, -1)
        )
        return arrange(self._look.order, start, end, rgb=self._natural.coloured)
