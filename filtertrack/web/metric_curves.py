"""The answer of ``/metrics``: metrics and ends of epochs over training, read without weights."""

import json
import math
import threading
import time
import zlib
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TypedDict

import numpy as np

from filtertrack.errors import FiltertrackError
from filtertrack.outputs.metric_means import logs_between
from filtertrack.outputs.timeline import epoch_marks
from filtertrack.render.sparkline import Log
from filtertrack.snapshot import Moment, describe
from filtertrack.storage.run import Run

_MOST_POINTS = 20_000
"""Snapshots in one answer, at most."""
_MOST_METRICS, _LONGEST_NAME = 16, 80
"""Metrics in one answer, and characters of their names, at most."""
_MOST_EPOCHS = 1000
"""Ends of epochs in one answer, at most."""
_MOST_CACHED = 3 * _MOST_POINTS
"""Moments in memory, of all runs together, unless a single run has more."""
_LONGEST_COUNT = 10
"""Characters of a number of snapshots."""
_DIGITS = 6
"""Significant digits of a value."""
_VALIDATION = "val_"


class EpochEnds(TypedDict):
    """Ends of epochs before the last snapshot: all, or of every second, fifth, tenth, … epoch.

    Attributes:
        numbers: How many epochs had ended.
        steps: The step of each, with a fraction between two snapshots.
    """

    numbers: list[int]
    steps: list[float]


class MetricCurves(TypedDict):
    """The metrics of a run, a value for each snapshot that could be read.

    Attributes:
        steps: The steps of the snapshots, ascending; every second, third, … of more than 20,000.
        when: The moment of each in words, as in a caption.
        metrics: Name to values. None where a snapshot has no value of its own; ``"NaN"``,
            ``"Infinity"`` or ``"-Infinity"`` where it is not finite, and ``"NaN"`` where the
            metrics of a snapshot's weights are not known.
        means: The names of the metrics that are means since the snapshot before.
        epochs: Ends of epochs.
        left: How many snapshots are left for a later answer.
        first: How many snapshots, the first ones, are left out because the caller knows them.
        known: Names the snapshots and values that the caller knows after this answer.
    """

    steps: list[int]
    when: list[str]
    metrics: dict[str, list[float | str | None]]
    means: list[str]
    epochs: EpochEnds
    left: int
    first: int
    known: str


class MomentCache:
    """Keeps the moments of snapshots, each until its file is replaced.

    Of a moment's metrics only those that an answer holds are kept.
    """

    def __init__(self) -> None:
        self._runs: OrderedDict[tuple[str, int], dict[int, tuple[int, Moment | None]]] = (
            OrderedDict()
        )
        self._lock = threading.Lock()

    def read(self, run: Run, seconds: float = math.inf) -> tuple[list[Moment], int]:
        """Return the moments of a run's readable snapshots in order, as far as time allows.

        Args:
            run: The run; of more than 20,000 snapshots every second, third and so on is read.
            seconds: After this time no further file is read, but one is read at least.

        Returns:
            The moments, and the number of snapshots that are left.

        Raises:
            OSError: If the run cannot be reached.
        """
        stamps = run.stamps()
        known = self._known(run, stamps)
        moments: list[Moment] = []
        read, left, end = 0, 0, time.monotonic() + seconds
        for step in list(stamps)[:: max(1, math.ceil(len(stamps) / _MOST_POINTS))]:
            stamp, moment = known.get(step, (None, None))
            if stamp != stamps[step]:
                if read and time.monotonic() > end:
                    left += 1
                    continue
                moment = _read_moment(run, step)
                known[step] = (stamps[step], moment)
                read += 1
            if moment is not None:
                moments.append(moment)
        with self._lock:
            while len(self._runs) > 1 and sum(map(len, self._runs.values())) > _MOST_CACHED:
                self._runs.popitem(last=False)
        return moments, left

    def _known(self, run: Run, stamps: Mapping[int, int]) -> dict[int, tuple[int, Moment | None]]:
        """Return what has been read of a run, without snapshots that were removed."""
        key = (str(run.folder), run.made())
        with self._lock:
            known = self._runs.pop(key, {})
            for step in known.keys() - stamps.keys():
                del known[step]
            self._runs[key] = known
        return known


def readable_moments(run: Run) -> list[Moment]:
    """Return the moments of a run's readable snapshots in order."""
    return [moment for step in run.steps if (moment := _read_moment(run, step)) is not None]


def curves_of_metrics(moments: Sequence[Moment], left: int = 0) -> MetricCurves:
    """Return the metrics of a run over training.

    Losses, accuracies and mean errors are the means since the snapshot before, as in an animation.

    Args:
        moments: The moments of its snapshots in order.
        left: How many snapshots are left for a later answer.
    """
    logs, means = logs_between(moments)
    names = dict.fromkeys(name for log in logs for name in log or {})
    kept = _loss_first(names)[:_MOST_METRICS]
    numbers, positions = epoch_marks(moments, _MOST_EPOCHS)
    steps = [moment.step for moment in moments]
    ends = np.interp(positions, np.arange(len(steps)), steps) if steps else positions
    when = [describe(moment) for moment in moments]
    metrics = {name: [_value(log, name) for log in logs] for name in kept}
    return {
        "steps": steps,
        "when": when,
        "metrics": metrics,
        "means": [name for name in means if name in kept],
        "epochs": {"numbers": numbers.tolist(), "steps": ends.round(3).tolist()},
        "left": left,
        "first": 0,
        "known": _name_of(steps, when, metrics),
    }


def without_known(answer: MetricCurves, known: str) -> MetricCurves:
    """Leave out of an answer the first snapshots, if the caller knows them with the same values.

    Args:
        answer: All curves of a run.
        known: ``known`` of the caller's last answer, or any other text.
    """
    steps, when, metrics = answer["steps"], answer["when"], answer["metrics"]
    count = known.partition("-")[0]
    first = int(count) if count.isdecimal() and len(count) < _LONGEST_COUNT else 0
    beginning = {name: values[:first] for name, values in metrics.items()}
    if first > len(steps) or _name_of(steps[:first], when[:first], beginning) != known:
        return answer
    rest = {name: values[first:] for name, values in metrics.items()}
    new: MetricCurves = {**answer, "first": first, "metrics": rest}
    new["steps"], new["when"] = steps[first:], when[first:]
    return new


def _name_of(
    steps: Sequence[int], when: Sequence[str], metrics: Mapping[str, Sequence[float | str | None]]
) -> str:
    """Return the number of some snapshots, and a checksum of their steps and values.

    A metric without values has no part in it: it may be logged later for the first time.
    """
    logged = {
        name: values for name, values in metrics.items() if any(v is not None for v in values)
    }
    content = json.dumps([steps, when, logged], sort_keys=True).encode()
    return f"{len(steps)}-{zlib.crc32(content):08x}"


def _read_moment(run: Run, step: int) -> Moment | None:
    """Return a moment with the metrics that an answer holds; None if it cannot be read."""
    try:
        moment = run.moment(step)
    except FiltertrackError:
        return None
    kept = _loss_first(moment.metrics)[:_MOST_METRICS]
    return replace(moment, metrics={name[:_LONGEST_NAME]: moment.metrics[name] for name in kept})


def _loss_first(names: Iterable[str]) -> list[str]:
    """Return names of metrics in order, those of the loss before all others."""
    return sorted(names, key=lambda name: name.removeprefix(_VALIDATION) != "loss")


def _value(log: Log, name: str) -> float | str | None:
    """Return a value as JSON can hold it: see ``MetricCurves.metrics``."""
    value = math.nan if log is None else log.get(name)
    if value is None:
        return None
    if math.isfinite(value):
        return float(f"{value:.{_DIGITS}g}")
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
