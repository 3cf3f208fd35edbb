"""Read one layer's filters from a run as cells to draw, with the value range that was selected."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from typing import cast

import numpy as np

from filtertrack.errors import FiltertrackError
from filtertrack.measures import label
from filtertrack.measures.vectors import flat
from filtertrack.outputs.run_selection import read_kernels, read_start
from filtertrack.render.cells import (
    CURVE_HEIGHT,
    CURVE_WIDTH,
    View,
    explained_share,
    to_cells,
    to_channels,
    view_of,
)
from filtertrack.render.filter_order import arrange
from filtertrack.render.grid import Layout, to_levels, to_rgb
from filtertrack.render.interpolation import interpolate
from filtertrack.render.layer_look import (
    bar_texts,
    describe_part,
    describe_scale,
    is_smoothed,
    noticeable_change,
    range_of_changes,
    without_small_changes,
)
from filtertrack.render.look import GREY, MOST_FILTERS, Look
from filtertrack.render.palette import ALL_LEVELS, colormap_levels, split_levels
from filtertrack.render.scale_bar import BarTexts
from filtertrack.render.signal_cells import curve_and_spectrum_cells, curve_cells
from filtertrack.render.value_range import NO_RANGE, Span, ValueRange, range_of_cells
from filtertrack.snapshot import start_text
from filtertrack.storage.run import Run

_MOST_KEPT = 16 << 20
"""Bytes of cells that are kept for a second pass over the run, and of kernels for other parts of a
picture, at most."""


class SharedKernels:
    """Reads the filters of one layer for several parts of a picture, and keeps them if possible.

    Args:
        run: The run.
        layer: The layer's name.
    """

    def __init__(self, run: Run, layer: str) -> None:
        self._run, self._layer = run, layer
        self._kept: dict[int, np.ndarray] = {}
        self._kept_bytes = 0

    def read(self, step: int) -> np.ndarray:
        """Return the filters at a step.

        Raises:
            DamagedSnapshotError: If they cannot be read.
        """
        kernels = self._kept.get(step)
        if kernels is None:
            kernels = read_kernels(self._run, self._layer, step)
            if self._kept_bytes + kernels.nbytes <= _MOST_KEPT:
                self._kept[step] = kernels
                self._kept_bytes += kernels.nbytes
        return kernels


class LayerCells:
    """The cells of one layer at the snapshots of a run.

    Kernels are read when they are first needed; every reading method raises
    ``DamagedSnapshotError`` if one cannot be read.

    Args:
        run: The run.
        layer: The layer's name.
        steps: Steps of the snapshots, ascending.
        look: How filters are drawn; ``delta`` and ``scale`` are chosen.
        numbers: The numbers of the filters in the order drawn, instead of those of the look.
        spectra: Whether the spectrum of a curve is beside it.
        shared: Reads the kernels, if other parts of the picture read them, too.

    Attributes:
        info: The layer.
        look: How filters are drawn.
        view: How the layer is drawn.

    Raises:
        FiltertrackError: If there is no such layer, or it lacks one of the filters of ``look``.
    """

    def __init__(
        self,
        run: Run,
        layer: str,
        steps: Sequence[int],
        look: Look,
        numbers: np.ndarray | None = None,
        *,
        spectra: bool = True,
        shared: SharedKernels | None = None,
    ) -> None:
        self.info, self.look = run.layer(layer), look
        self._run, self._steps = run, list(steps)
        self._shared = shared
        self._given = numbers
        if numbers is None and look.filters is not None:
            self._given = self._given_filters(look)
        drawn = self.info.filters if self._given is None else len(self._given)
        if drawn > MOST_FILTERS:
            raise FiltertrackError(
                f"filters: at most {MOST_FILTERS} are drawn together, and layer {layer} has "
                f"{self.info.filters}; choose some"
            )
        self.view: View = view_of(self.info, look.channels).of_filters(drawn)
        self._spectra = spectra
        if spectra and self.view.kind == "curve":
            self.view = replace(self.view, width=2 * CURVE_WIDTH + 1)
        self._usual_view = view_of(self.info)
        self._is_smoothed = is_smoothed(look, self.info)
        self._kept: dict[int, np.ndarray] = {}
        self._kept_bytes = 0

    @property
    def name(self) -> str:
        """What is drawn if it is not the filters or their difference; else empty."""
        return ""

    def bar_texts(self, values: ValueRange) -> BarTexts | None:
        """Return the texts of the scale bar; None where a weight has more than one value.

        Args:
            values: The value range that is the same at every step.
        """
        return bar_texts(self.look, self.view, values)

    @property
    def scale_text(self) -> str:
        """Which weights share a scale; a text beside the scale bar."""
        text = describe_scale(self.look, self.view)
        if self.view.filters > 1:
            return text
        return text.replace("each filter has", "the filter has").replace(
            "all filters have", "the filter has"
        )

    # Cached properties read the run: by then its size has been checked.

    @cached_property
    def _whole_run(self) -> tuple[ValueRange, float]:
        """The value range and the largest finite magnitude over the whole run, in one pass."""
        whole = ValueRange(*np.array([[np.inf], [-np.inf]]))
        for cells in self.walk(range(len(self._steps))):
            whole = self._plain_range(cells).union(whole)
        largest = whole.zero_centred().high.max(initial=-np.inf)
        return self._drawn_range(whole), float(largest)

    @property
    def whole_range(self) -> ValueRange:
        """The value range over the whole run."""
        return self._whole_run[0]

    @property
    def fixed_range(self) -> ValueRange:
        """The value range that is the same at every step; ``NO_RANGE`` if each has its own."""
        return NO_RANGE if self.look.scale == "frame" else self.whole_range

    @property
    def largest(self) -> float:
        """The largest magnitude that is drawn over the run; NaN if no value is finite.

        It is 0 where no difference from the start is noticeable: see ``layer_look.NOTICEABLE``.
        """
        largest = self._whole_run[1]
        return largest if math.isfinite(largest) else math.nan

    @cached_property
    def explained(self) -> float | None:
        """Mean share of the filters that their strongest patterns explain at the last snapshot.

        None unless patterns are drawn.
        """
        if self.view.kind != "pattern":
            return None
        kernels = self._kernels(len(self._steps) - 1)
        return explained_share(kernels, to_cells(replace(self.view, repeated=1), kernels))

    @cached_property
    def _start_read(self) -> tuple[int, np.ndarray]:
        """The step of the run's start, and the filters there, which ``delta`` subtracts."""
        step, kernels = read_start(self._run, self.info.name)
        return step, self._drawn(kernels)

    @property
    def _start(self) -> np.ndarray:
        """The filters at the start of the run, which ``delta`` subtracts."""
        return self._start_read[1]

    @property
    def since(self) -> str:
        """The start that differences are taken from, in words."""
        step = self._start_read[0]
        return start_text(self._run.moment(step)) if step else "the start"

    @cached_property
    def _noticeable(self) -> np.ndarray:
        """The change of each cell that is drawn, at least."""
        start = to_cells(self.view, self._start)
        noticeable = noticeable_change(start, self.view.cells_per_filter)
        if self._span == "cell":
            return noticeable
        return np.full_like(noticeable, noticeable.max(initial=0.0))

    @cached_property
    def _signs(self) -> np.ndarray:
        """For each snapshot and cell 1, or -1 where the pattern is drawn with the other sign.

        The sign of a pattern alone may change from one snapshot to the next where its channels sum
        to about zero. In a sequence the last one has the sign that it has alone, and each before it
        the sign that is closer to the one after it.
        """
        agree = np.ones((len(self._steps), self.view.count), np.int8)
        before: np.ndarray | None = None
        for number in range(len(self._steps)):
            cells = flat(self._unsigned(number))
            if before is not None:
                products = np.einsum("cp,cp->c", np.nan_to_num(cells), np.nan_to_num(before))
                agree[number - 1] = np.where(products < 0, -1, 1)
            before = cells
        signs: np.ndarray = np.multiply.accumulate(agree[::-1], dtype=np.int8)[::-1]
        return signs

    @cached_property
    def _drawn_numbers(self) -> np.ndarray | None:
        """The numbers of the filters in the order drawn; None for all as they are stored."""
        return self._ordered() if self._given is None else self._given

    @property
    def numbers(self) -> list[int]:
        """The numbers of the filters in the kernel, in the order drawn."""
        if self._drawn_numbers is None:
            return list(range(self.info.filters))
        numbers: list[int] = self._drawn_numbers.tolist()
        return numbers

    @property
    def highest(self) -> int:
        """The highest of these numbers; 0 where there are none. Nothing is read."""
        return max(0, self.info.filters - 1) if self._given is None else int(self._given.max())

    def walk(self, positions: Sequence[float]) -> Iterator[np.ndarray]:
        """Yield the cells at one position after another.

        Args:
            positions: Indices of snapshots, ascending; at 2.5 each weight is interpolated linearly
                half-way between snapshots 2 and 3.

        Yields:
            An array of shape ``(cells, height, width, 1 or 3)``.
        """
        recent: dict[int, np.ndarray] = {}
        for position in positions:
            before, share = math.floor(position), position % 1
            last = before + 1 if share else before
            recent = {n: recent[n] if n in recent else self._cells(n) for n in {before, last}}
            if share:
                with np.errstate(invalid="ignore"):  # between infinities of opposite signs
                    yield (1 - share) * recent[before] + share * recent[last]
            else:
                yield recent[before]

    def last_cells(self) -> np.ndarray:
        """Return the cells of the last snapshot."""
        return self._cells(len(self._steps) - 1)

    def values(self, cells: np.ndarray) -> ValueRange:
        """Return the value range of one frame.

        Args:
            cells: The frame's cells, as ``walk`` yields them.
        """
        if self.look.scale != "frame":
            return self.whole_range
        return self._drawn_range(self._plain_range(cells))

    def labels(self, position: float) -> np.ndarray:
        """Return the label of each cell's filter at a position: one of ``LABELS``.

        Between two snapshots it is that of the first. The single cell of a matrix is ``"unknown"``.
        """
        if self.view.kind == "matrix":
            return np.array(["unknown"])
        kernels = to_channels(self._usual_view, self._read(self._steps[math.floor(position)]))
        names = label(kernels, rgb=self._usual_view.coloured).names
        repeated: np.ndarray = names.repeat(self.view.cells_per_filter)
        return repeated

    def draw(
        self,
        cells: np.ndarray,
        values: ValueRange,
        layout: Layout,
        levels: range = ALL_LEVELS,
    ) -> np.ndarray:
        """Draw cells: the palette entries or, where a weight has three values, the colours.

        Args:
            cells: Array of shape ``(cells, height, width, 1 or 3)``.
            values: The value range.
            layout: The layout of the grid, for the scale of curves and of interpolated cells.
            levels: The entries from dark to light.

        Returns:
            ``uint8`` array of shape ``(cells, height, width)`` or ``(…, 3)``, with as many pixels a
            cell as ``drawn_layout(layout)`` has.
        """
        if self.view.kind == "curve":
            shape = CURVE_HEIGHT * layout.scale, CURVE_WIDTH * layout.scale
            curves = cells[:, 0, :, 0], values.low, values.high, *shape
            if self._spectra:
                ink = curve_and_spectrum_cells(*curves, gap=layout.scale)
            else:
                ink = curve_cells(*curves)
            entries: np.ndarray = np.rint(ink * (len(levels) - 1) + levels.start).astype(np.uint8)
            return entries
        if self._is_smoothed:
            cells = interpolate(cells, layout.scale, self.view.slices)
        return to_rgb(cells, values) if self.view.coloured else to_levels(cells, values, levels)

    def drawn_layout(self, layout: Layout) -> Layout:
        """Return the layout of a grid's cells as they are drawn: of pixels if not of weights."""
        return layout.of_pixels() if self._is_smoothed or self.view.kind == "curve" else layout

    @property
    def _span(self) -> Span:
        return "layer" if self.look.scale == "layer" else "cell"

    def _plain_range(self, cells: np.ndarray) -> ValueRange:
        """Return the lowest and highest values of one frame's cells."""
        return range_of_cells(cells, self._span, self.view.cells_per_filter)

    def _drawn_range(self, values: ValueRange) -> ValueRange:
        """Return the values drawn darkest and lightest, from the lowest and highest values."""
        if self.look.delta:
            return range_of_changes(values, self._noticeable)
        return values.zero_centred() if self.look.zero_centred else values

    def _cells(self, number: int) -> np.ndarray:
        """Return the cells of a snapshot."""
        cells = self._unsigned(number)
        if self.view.kind != "pattern":
            return cells
        signed: np.ndarray = cells * self._signs[number].reshape(-1, 1, 1, 1)
        return signed

    def _unsigned(self, number: int) -> np.ndarray:
        """Return the cells of a snapshot, each pattern with the sign that it has alone."""
        if number not in self._kept:
            cells = to_cells(self.view, self._kernels(number))
            if self.look.delta:
                cells = without_small_changes(cells, self._noticeable)
            once = self.look.scale == "frame" and self.view.kind != "pattern"
            if once or self._kept_bytes + cells.nbytes > _MOST_KEPT:
                return cells
            self._kept[number] = cells
            self._kept_bytes += cells.nbytes
        return self._kept[number]

    def _kernels(self, number: int) -> np.ndarray:
        """Return the filters of a snapshot, or their difference from the start."""
        kernels = self._read(self._steps[number])
        if not self.look.delta:
            return kernels
        with np.errstate(invalid="ignore", over="ignore"):
            difference: np.ndarray = np.subtract(kernels, self._start, dtype=np.float64)
        return difference

    def _read(self, step: int) -> np.ndarray:
        """Read the filters that are drawn, in the order drawn."""
        if self._shared is not None:
            return self._drawn(self._shared.read(step))
        return self._drawn(read_kernels(self._run, self.info.name, step))

    def _drawn(self, kernels: np.ndarray) -> np.ndarray:
        """Return the filters that are drawn, in the order drawn."""
        return kernels if self._drawn_numbers is None else kernels[self._drawn_numbers]

    def _given_filters(self, look: Look) -> np.ndarray:
        """Return the numbers of the filters of a look, checked before ranges are expanded."""
        ranges = cast("tuple[range, ...]", look.filters)
        existing = range(self.info.filters)
        for part in ranges:
            if part[0] not in existing or part[-1] not in existing:
                inside = range(part[0], self.info.filters if part.step > 0 else -1, part.step)
                wrong = part[len(inside) if part[0] in existing else 0]
                raise FiltertrackError(
                    f"filters: layer {self.info.name} has the filters 0 to "
                    f"{self.info.filters - 1}, got {wrong}"
                )
        if sum(map(len, ranges)) > MOST_FILTERS:
            raise FiltertrackError(f"filters: expected at most {MOST_FILTERS} of them")
        return np.array([number for part in ranges for number in part], np.intp)

    def _ordered(self) -> np.ndarray | None:
        """Return the numbers of all filters in the order of the look; None for that stored."""
        if self.look.order == "stored":
            return None
        end = read_kernels(self._run, self.info.name, self._steps[-1])
        if len(self._steps) > 1:
            start = read_kernels(self._run, self.info.name, self._steps[0])
        else:  # a step alone has drifted since the start of the run
            start = read_start(self._run, self.info.name)[1]
        kernels = (to_channels(self._usual_view, each) for each in (start, end))
        return arrange(self.look.order, *kernels, rgb=self._usual_view.coloured)


def colours_of(
    layers: Sequence[LayerCells], *, quantised: bool = False
) -> tuple[list[range], np.ndarray]:
    """Divide the palette entries for weights among the colormaps of what is drawn together.

    Args:
        layers: What is drawn together.
        quantised: Whether colours of cells are entries of the palette, too. As many entries as a
            colormap has are then left to them: all entries where there is no colormap.

    Returns:
        The entries of each layer's colormap, and the colours of all entries: ``uint8`` array of
        shape ``(entries, 3)``.
    """
    names = [_colormap_of(layer) for layer in layers]
    used = list(dict.fromkeys(name for name in names if name))
    if not used and not quantised:
        used = [GREY]
    spans = dict(zip(used, split_levels(len(used) + quantised), strict=False))
    colours = [colormap_levels(name, len(levels)) for name, levels in spans.items()]
    none = np.empty((0, 3), np.uint8)
    return [spans.get(name, ALL_LEVELS) for name in names], np.concatenate([none, *colours])


def _colormap_of(layer: LayerCells) -> str:
    """Return the colormap of a layer's cells; empty if they have colours of their own."""
    if layer.view.coloured:
        return ""
    return GREY if layer.view.kind == "curve" else layer.look.colormap or GREY


def part_text(layer: LayerCells) -> str:
    """Describe a part of a picture: the filters, or the difference from the start."""
    if layer.name:
        return layer.name
    return _described(layer, layer.since if layer.look.delta else "")


def short_part_text(layer: LayerCells) -> str:
    """Describe a part of a picture in one or two words."""
    if layer.name:
        return layer.name.partition(",")[0]
    return _described(layer).partition(" (")[0].partition(",")[0]


def _described(layer: LayerCells, since: str = "") -> str:
    text = describe_part(layer.look, largest=layer.largest, since=since)
    filters = layer.view.width if layer.view.kind == "matrix" else layer.view.filters
    return text.replace("filters", "filter", 1) if filters == 1 else text
