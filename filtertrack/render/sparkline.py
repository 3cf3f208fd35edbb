"""Small plots of metrics over training, with a marker for the current time."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Self, TypeAlias

import numpy as np
from PIL import Image, ImageDraw

from filtertrack.render.palette import BACKGROUND, FIRST, SHADES, TEXT, ramp_entry

_OVERSAMPLING = 4
"""Lines are drawn larger by this factor and averaged, for antialiasing."""
_VALIDATION = "val_"
_FAINT, _DIM = 1, 2
"""Shades of the axis, and of what is still to come."""
_TICK_DISTANCE, _TICK_HEIGHT = 5, 0.2
"""Distance of two ticks at least, in line widths; and their height, as a share of the plot's."""

Log: TypeAlias = Mapping[str, float] | None
"""A snapshot's metrics; None if nothing is known of its weights, not even the metrics before."""


@dataclass(frozen=True, slots=True, eq=False)
class Axis:
    """The horizontal axis of a plot.

    Attributes:
        knots: The time of each snapshot, from 0 to 1.
        label: What the time is proportional to, such as ``"batches"``.
        epochs: The times at which epochs 1, 2, 3, … ended.
    """

    knots: np.ndarray
    label: str = "snapshots"
    epochs: np.ndarray = field(default_factory=lambda: np.empty(0))


def spaced_marks(marks: np.ndarray, least: float) -> tuple[int, np.ndarray]:
    """Choose every mark of an axis, or every second, fifth, tenth and so on.

    Args:
        marks: Positions of the marks 1, 2, 3, …, in ascending order.
        least: The smallest distance of two chosen marks.

    Returns:
        The number between two chosen marks, and their positions.

    Example:
        >>> spaced_marks(np.array([0, 2, 4, 6]), 3)
        (2, array([2, 6]))
    """
    every = (factor * 10**power for power in count() for factor in (1, 2, 5))
    return next(
        (number, marks[number - 1 :: number])
        for number in every
        if (np.diff(marks[number - 1 :: number]) >= least).all()
    )


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """One line of a plot.

    Attributes:
        label: Distinguishes it from the plot's other curve; may be empty.
        values: Array of shape ``(snapshots,)``: the last value logged up to each snapshot.
        logged: Which snapshots have a value of their own.
        known: At which snapshots the last value holds: not before the first one, nor for a
            snapshot whose log is None.
    """

    label: str
    values: np.ndarray
    logged: np.ndarray
    known: np.ndarray

    @classmethod
    def of(cls, label: str, logs: Sequence[Log], name: str) -> Self:
        """Collect one metric from each snapshot's metrics."""
        filled = [log or {} for log in logs]
        logged = np.array([name in log for log in filled], bool)
        values = np.array([log.get(name, np.nan) for log in filled], np.float64)
        known = np.logical_or.accumulate(logged) & [log is not None for log in logs]
        latest = np.maximum.accumulate(np.where(logged, np.arange(len(logs)), 0))
        return cls(label, values[latest], logged, known)


@dataclass(frozen=True, slots=True, eq=False)
class Metric:
    """One metric and its one or two curves: training and validation, or those of two runs.

    Attributes:
        name: Such as ``"loss"``.
        curves: The logged values.
    """

    name: str
    curves: tuple[Curve, ...]


def metrics_of(logs: Sequence[Sequence[Log]], most: int) -> tuple[list[Metric], int]:
    """Collect metrics from the logs of snapshots: the loss first, the others in order.

    Args:
        logs: For each of one or two runs, each snapshot's metrics.
        most: Number of metrics to return, at most.

    Returns:
        The metrics, and the number of those left out. For one run a metric and its validation are
        one entry; for two runs each name has its own.

    Example:
        >>> metrics, more = metrics_of([[{"accuracy": 0.5, "loss": 2.0, "val_loss": 3.0}]], 9)
        >>> loss, accuracy = metrics
        >>> loss.name, [(c.label, float(c.values[0])) for c in loss.curves], accuracy.name
        ('loss', [('', 2.0), ('val', 3.0)], 'accuracy')
    """
    known = dict.fromkeys(name for run in logs for log in run for name in log or {})
    names = sorted(known, key=lambda name: name.removeprefix(_VALIDATION) != "loss")  # stable
    if len(logs) > 1:
        metrics = [
            Metric(name, tuple(Curve.of("", run, name) for run in logs)) for name in names[:most]
        ]
        return metrics, len(names) - len(metrics)
    names = [
        name
        for name in names
        if not (name.startswith(_VALIDATION) and name.removeprefix(_VALIDATION) in known)
    ]
    metrics = []
    for name in names[:most]:
        curves = [Curve.of("", logs[0], name)]
        if _VALIDATION + name in known:
            curves.append(Curve.of("val", logs[0], _VALIDATION + name))
        metrics.append(Metric(name, tuple(curves)))
    return metrics, len(names) - len(metrics)


class Sparkline:
    """Draws a metric's curves with a marker at the current time; the future is dim.

    The curves are drawn only once. The marker is a vertical line with a dot on each curve.

    Args:
        metric: The metric.
        axis: The horizontal axis; ends of epochs are ticks on it, where there is space for them.
        shape: Height and width of the plot, in pixels.
        stroke: Width of the lines, in pixels.

    Attributes:
        shape: Height and width, in pixels.
        tick_epochs: Number of epochs between two ticks; 0 without ticks.
        span: The lowest and the highest value; None without values.
    """

    def __init__(self, metric: Metric, axis: Axis, shape: tuple[int, int], stroke: float) -> None:
        self.shape, self._stroke = shape, stroke
        self._margin = 2 * stroke + 1
        columns = np.rint([self._column(time) for time in axis.epochs]).astype(int)
        epochs, self._ticks = spaced_marks(columns, _TICK_DISTANCE * max(1, round(stroke)))
        self.tick_epochs = epochs if len(self._ticks) else 0
        knots = axis.knots
        self._dot_offsets = np.arange(-int(self._margin), int(self._margin) + 1)
        shown = [curve.logged & np.isfinite(curve.values) for curve in metric.curves]
        values = [curve.values[s] for curve, s in zip(metric.curves, shown, strict=True)]
        span = np.concatenate(values)
        self.span = (float(span.min()), float(span.max())) if len(span) else None
        self._curves = [(knots[s], self._rows(v, span)) for v, s in zip(values, shown, strict=True)]
        coverages = [self._coverage(*curve) for curve in self._curves]
        self._bright, self._dim = (self._draw_curves(coverages, n) for n in (SHADES, _DIM))

    def draw(self, time: float) -> np.ndarray:
        """Draw the plot with the marker at one time.

        Args:
            time: From 0 to 1.

        Returns:
            ``uint8`` array of the plot's shape: entries of the palette.
        """
        column = round(self._column(time))
        picture = self._dim.copy()
        picture[:, :column] = self._bright[:, :column]
        picture[:, column] = ramp_entry(TEXT, _DIM)
        for ramp, (knots, rows) in enumerate(self._curves, start=FIRST):
            if len(knots) and time >= knots[0]:
                self._draw_dot(picture, column, float(np.interp(time, knots, rows)), ramp)
        return picture

    def _column(self, time: float) -> float:
        return self._margin + time * (self.shape[1] - 1 - 2 * self._margin)

    def _rows(self, values: np.ndarray, span: np.ndarray) -> np.ndarray:
        """Return the row of each value in a plot that spans the values of ``span``."""
        bottom = self.shape[0] - 1 - self._margin
        low, high = (span.min() / 2, span.max() / 2) if len(span) else (0.0, 0.0)
        if not low < high:
            return np.full(len(values), (bottom + self._margin) / 2)
        share = (values / 2 - low) / (high - low)  # halved, as the difference could overflow
        rows: np.ndarray = bottom - share * (bottom - self._margin)
        return rows

    def _draw_curves(self, coverages: Sequence[np.ndarray], shade: int) -> np.ndarray:
        picture = np.full(self.shape, BACKGROUND, np.uint8)
        picture[-1] = ramp_entry(TEXT, _FAINT)
        picture[-max(2, round(_TICK_HEIGHT * self.shape[0])) :, self._ticks] = ramp_entry(
            TEXT, _FAINT
        )
        # In reverse, so that the first curve (training) lies over the second.
        for ramp, coverage in reversed(list(enumerate(coverages, start=FIRST))):
            self._blend(picture, coverage, ramp, shade)
        return picture

    def _coverage(self, knots: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Return the share of each pixel that a curve covers, from 0 to 1."""
        height, width = self.shape
        large = Image.new("L", (width * _OVERSAMPLING, height * _OVERSAMPLING))
        points = [
            ((self._column(time) + 0.5) * _OVERSAMPLING, (row + 0.5) * _OVERSAMPLING)
            for time, row in zip(knots, rows, strict=True)
        ]
        stroke = max(1, round(self._stroke * _OVERSAMPLING))
        if len(points) > 1:
            ImageDraw.Draw(large).line(points, 255, stroke, joint="curve")
        return np.asarray(large.resize((width, height), Image.Resampling.BOX)) / 255

    def _draw_dot(self, picture: np.ndarray, column: int, row: float, ramp: int) -> None:
        reach, middle = int(self._margin), round(row)
        offsets = self._dot_offsets
        distance = np.hypot(offsets[:, np.newaxis] + (middle - row), offsets)
        part = picture[middle - reach : middle + reach + 1, column - reach : column + reach + 1]
        self._blend(part, np.clip(self._margin - distance, 0, 1), ramp, SHADES)

    @staticmethod
    def _blend(picture: np.ndarray, coverage: np.ndarray, ramp: int, shade: int) -> None:
        shades = np.rint(coverage * shade).astype(np.uint8)
        inside = shades > 0
        picture[inside] = ramp_entry(ramp, 0) + shades[inside]
