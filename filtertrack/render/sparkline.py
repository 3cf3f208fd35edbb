"""A small plot of one metric over the training, with a marker that moves along."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self, TypeAlias

import numpy as np
from PIL import Image, ImageDraw

from filtertrack.render.palette import BACKGROUND, FIRST, SHADES, TEXT, ramp_entry

_FINER = 4
"""Lines are drawn so many times larger, then averaged: antialiased."""
_VALIDATION = "val_"
_FAINT = 1
_DIM = 2


Log: TypeAlias = Mapping[str, float] | None
"""A snapshot's metrics; None where those of the snapshot before do not hold for its weights."""


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """One line of a plot.

    Attributes:
        label: What tells it from the plot's other curve; may be empty.
        values: Array of shape ``(snapshots,)``: the value logged last, at each snapshot.
        logged: Which snapshots have a value of their own.
        known: Of which snapshots the value logged last may be said: not of those before the first
            one, nor of weights of which nothing was logged.
    """

    label: str
    values: np.ndarray
    logged: np.ndarray
    known: np.ndarray

    @classmethod
    def of(cls, label: str, logs: Sequence[Log], name: str) -> Self:
        """Collect one metric from each snapshot's metrics."""
        held = [log or {} for log in logs]
        logged = np.array([name in log for log in held], bool)
        values = np.array([log.get(name, np.nan) for log in held], np.float64)
        known = np.logical_or.accumulate(logged) & [log is not None for log in logs]
        before = np.maximum.accumulate(np.where(logged, np.arange(len(logs)), 0))
        return cls(label, values[before], logged, known)


@dataclass(frozen=True, slots=True, eq=False)
class Metric:
    """One metric and its one or two curves: training and validation, or those of two runs.

    Attributes:
        name: Such as ``"loss"``.
        curves: What was logged.
    """

    name: str
    curves: tuple[Curve, ...]


def metrics_of(logs: Sequence[Sequence[Log]], most: int) -> tuple[list[Metric], int]:
    """Collect what was logged: the loss first, then the others as they come.

    Args:
        logs: For each of one or two runs, each snapshot's metrics; None where those of the snapshot
            before do not hold for its weights.
        most: How many metrics, at most.

    Returns:
        For one run, one entry for each metric with its validation; for two, one for each name. And
        how many more metrics there are.

    Example:
        >>> metrics, more = metrics_of([[{"accuracy": 0.5, "loss": 2.0, "val_loss": 3.0}]], 9)
        >>> loss, accuracy = metrics
        >>> loss.name, [(c.label, float(c.values[0])) for c in loss.curves], accuracy.name
        ('loss', [('', 2.0), ('val', 3.0)], 'accuracy')
    """
    there = dict.fromkeys(name for run in logs for log in run for name in log or {})
    names = sorted(there, key=lambda name: name.removeprefix(_VALIDATION) != "loss")  # stable
    if len(logs) > 1:
        metrics = [
            Metric(name, tuple(Curve.of("", run, name) for run in logs)) for name in names[:most]
        ]
        return metrics, len(names) - len(metrics)
    # One's validation is shown beside it.
    names = [
        name
        for name in names
        if not (name.startswith(_VALIDATION) and name.removeprefix(_VALIDATION) in there)
    ]
    metrics = []
    for name in names[:most]:
        curves = [Curve.of("", logs[0], name)]
        if _VALIDATION + name in there:
            curves.append(Curve.of("val", logs[0], _VALIDATION + name))
        metrics.append(Metric(name, tuple(curves)))
    return metrics, len(names) - len(metrics)


class Sparkline:
    """A metric's curves, drawn once, and a marker for each moment.

    What is still to come is dim. The marker is a line with a dot on each curve.

    Args:
        metric: What is drawn.
        knots: For each snapshot its place along the plot, from 0 to 1.
        shape: Height and width, in pixels.
        stroke: Width of a line, in pixels.
    """

    def __init__(
        self, metric: Metric, knots: np.ndarray, shape: tuple[int, int], stroke: float
    ) -> None:
        self._shape, self._stroke = shape, stroke
        self._margin = 2 * stroke + 1
        self._around = np.arange(-int(self._margin), int(self._margin) + 1)
        shown = [curve.logged & np.isfinite(curve.values) for curve in metric.curves]
        values = [curve.values[s] for curve, s in zip(metric.curves, shown, strict=True)]
        span = np.concatenate(values)
        self._curves = [
            (knots[s], self._heights(v, span)) for v, s in zip(values, shown, strict=True)
        ]
        self._bright, self._dim = (self._drawn(shade) for shade in (SHADES, _DIM))

    def draw(self, when: float) -> np.ndarray:
        """Draw the plot with the marker at one place.

        Args:
            when: From 0 to 1.

        Returns:
            ``uint8`` array of the plot's shape: entries of the palette.
        """
        column = round(self._across(when))
        picture = self._dim.copy()
        picture[:, :column] = self._bright[:, :column]
        picture[:, column] = ramp_entry(TEXT, _DIM)
        for number, (knots, heights) in enumerate(self._curves, start=FIRST):
            if len(knots) and when >= knots[0]:
                self._dot(picture, column, float(np.interp(when, knots, heights)), number)
        return picture

    def _across(self, when: float) -> float:
        return self._margin + when * (self._shape[1] - 1 - 2 * self._margin)

    def _heights(self, values: np.ndarray, span: np.ndarray) -> np.ndarray:
        """Return the row of each value, where the plot spans all the values of ``span``."""
        bottom = self._shape[0] - 1 - self._margin
        low, high = (span.min() / 2, span.max() / 2) if len(span) else (0.0, 0.0)
        if not low < high:
            return np.full(len(values), (bottom + self._margin) / 2)
        share = (values / 2 - low) / (high - low)  # halved: no overflow
        rows: np.ndarray = bottom - share * (bottom - self._margin)
        return rows

    def _drawn(self, shade: int) -> np.ndarray:
        picture = np.full(self._shape, BACKGROUND, np.uint8)
        picture[-1] = ramp_entry(TEXT, _FAINT)
        # The first curve over the second: training is what the caption names first.
        for number, (knots, heights) in reversed(list(enumerate(self._curves, start=FIRST))):
            self._blend(picture, self._coverage(knots, heights), number, shade)
        return picture

    def _coverage(self, knots: np.ndarray, heights: np.ndarray) -> np.ndarray:
        """Return how much of each pixel a curve covers, from 0 to 1."""
        height, width = self._shape
        large = Image.new("L", (width * _FINER, height * _FINER))
        points = [
            ((self._across(x) + 0.5) * _FINER, (y + 0.5) * _FINER)
            for x, y in zip(knots, heights, strict=True)
        ]
        stroke = max(1, round(self._stroke * _FINER))
        if len(points) > 1:
            ImageDraw.Draw(large).line(points, 255, stroke, joint="curve")
        return np.asarray(large.resize((width, height), Image.Resampling.BOX)) / 255

    def _dot(self, picture: np.ndarray, column: int, row: float, number: int) -> None:
        reach, middle = int(self._margin), round(row)
        away = np.hypot(self._around[:, np.newaxis] + (middle - row), self._around)
        part = picture[middle - reach : middle + reach + 1, column - reach : column + reach + 1]
        self._blend(part, np.clip(self._margin - away, 0, 1), number, SHADES)

    @staticmethod
    def _blend(picture: np.ndarray, coverage: np.ndarray, number: int, shade: int) -> None:
        shades = np.rint(coverage * shade).astype(np.uint8)
        inside = shades > 0
        picture[inside] = ramp_entry(number, 0) + shades[inside]
