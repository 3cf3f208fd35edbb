"""Means of metrics between snapshots, from the running means that Keras logs.

Within an epoch Keras logs the mean of a metric since the epoch's start, which jumps at every start.
"""

import re
from collections.abc import Sequence

import numpy as np

from filtertrack.render.sparkline import Log
from filtertrack.snapshot import Moment

_ACCURACY = re.compile(r"(.+_)?acc(uracy)?")
_LOSS = re.compile(r"(.+_)?(loss|mse|mae|mean_squared_error|mean_absolute_error)")
"""Metrics that Keras averages over batches. Others, such as AUC, are no means of the batches'."""
_TOTAL = "loss"
"""``fit`` with Keras's own training step always logs it. A step that logs other losses instead
usually logs the values of single batches."""
_ROUNDING = 1e-6
"""Relative error of a running mean in float32."""


def logs_between(moments: Sequence[Moment]) -> tuple[list[Log], list[str]]:
    """Return the metrics of snapshots with means as of ``means_between``, and their names.

    The metrics of restored weights that were logged without any are not known: those beside them
    are of other weights.
    """
    logs = [None if moment.note and not moment.metrics else moment.metrics for moment in moments]
    return means_between(moments, logs)


def means_between(moments: Sequence[Moment], logs: Sequence[Log]) -> tuple[list[Log], list[str]]:
    """Replace running means by the means over the batches since the snapshot before.

    A running mean ``m`` over ``b`` batches of an epoch, and ``n`` over the first ``a`` of them,
    give ``(b * m - a * n) / (b - a)``. Only metrics that Keras averages are replaced: losses,
    accuracies and mean errors, not those of validation. If a result is impossible, such as a
    negative mean of values from 0 on, the logged values are no running means and all are kept; so
    they are if a loss is below 0, as nothing could be checked then.

    Args:
        moments: The moments of the snapshots in order.
        logs: Each snapshot's metrics; None if nothing is known of its weights.

    Returns:
        The metrics with these means, and the names of those that differ from the logged ones. The
        first snapshot of an epoch keeps its value: its mean begins with the epoch.

    Example:
        >>> moments = [Moment(n, 0, n, epoch_batch=n) for n in (1, 2, 4)]
        >>> logs, names = means_between(moments, [{"loss": 4.0}, {"loss": 3.0}, {"loss": 2.0}])
        >>> [log["loss"] for log in logs], names
        ([4.0, 2.0, 1.0], ['loss'])
    """
    names = dict.fromkeys(name for log in logs for name in log or {})
    positions = _epoch_positions(moments)
    replaced = [None if log is None else dict(log) for log in logs]
    changed = []
    for name in names if _TOTAL in names else ():
        high = _highest(name)
        logged = [np.nan if log is None else log.get(name, np.nan) for log in logs]
        means = logged if high is None else _means(positions, logged, high)
        different = [n for n, mean in enumerate(means) if np.isfinite(mean) and mean != logged[n]]
        for number in different:
            log = replaced[number]
            if log is not None:
                log[name] = means[number]
        if different:
            changed.append(name)
    return list(replaced), sorted(changed, key=lambda name: name != _TOTAL)  # stable


def _highest(name: str) -> float | None:
    """Return the highest possible value of a metric that Keras averages; None for another."""
    if name.startswith("val_"):
        return None
    if _ACCURACY.fullmatch(name):
        return 1.0
    return np.inf if _LOSS.fullmatch(name) else None


def _epoch_positions(moments: Sequence[Moment]) -> list[tuple[int, int] | None]:
    """Return each moment's epoch and the number of its batches finished then; None if not known.

    The end of an epoch belongs to it, with all of its batches.
    """
    positions: list[tuple[int, int] | None] = []
    for number, moment in enumerate(moments):
        if moment.note or moment.epoch_batch is None:
            positions.append(None)
        elif moment.epoch_batch:
            positions.append((moment.epoch, moment.epoch_batch))
        else:
            batches = moment.epoch_batches or 0
            before = positions[-1] if positions else None
            start = moments[number - 1].batch
            if before and before[0] == moment.epoch - 1 and None not in {moment.batch, start}:
                batches = before[1] + (moment.batch or 0) - (start or 0)
            positions.append((moment.epoch - 1, batches))
    return positions


def _means(
    positions: Sequence[tuple[int, int] | None], values: Sequence[float], high: float
) -> Sequence[float]:
    """Return the mean since the snapshot before for each snapshot; all values if one is impossible.

    Args:
        positions: Epoch and number of its batches at each snapshot.
        values: The running means; NaN where none was logged.
        high: The highest possible value; the lowest is 0.
    """
    means = list(values)
    epoch, first, before, latest = -1, 0, np.nan, np.nan
    for number, (position, value) in enumerate(zip(positions, values, strict=True)):
        if position is None or not np.isfinite(value):
            continue
        last = position[1]
        mean, error = value, _ROUNDING * abs(value)
        if position[0] == epoch and 0 < first < last:
            mean = (last * value - first * before) / (last - first)
            error = _ROUNDING * last * max(abs(value), abs(before)) / (last - first)
        elif position == (epoch, first):  # no batch since
            mean = latest
        if not -error <= mean <= high + error:
            return values
        (epoch, first), before = position, value
        means[number] = latest = min(max(mean, 0.0), high)
    return means
