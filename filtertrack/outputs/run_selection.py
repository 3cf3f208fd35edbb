"""What is shown: which layers of which runs, at which steps. Everything in it can be read."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TypeAlias

import numpy as np

from filtertrack.errors import FiltertrackError, is_list
from filtertrack.snapshot import LayerInfo, Moment, mark_of, total_bytes, unit_of
from filtertrack.storage.paths import PathOrAddress
from filtertrack.storage.run import Run

RunLike: TypeAlias = Run | PathOrAddress
Steps: TypeAlias = Sequence[int] | Sequence[int | range]

_MOST_COMPARED, _LARGEST_COMPARED = 64, 32 << 20
"""Layers that are compared to find one that has changed, and bytes of the largest of them."""

_log = logging.getLogger("filtertrack")


@dataclass(frozen=True, slots=True)
class RunSelection:
    """What is shown.

    Attributes:
        runs: One run, or two that are compared.
        layers: Names of layers that all of the runs have, in the same shape.
        steps: Snapshots that all of the runs have, ascending.
        moments: When these were taken: for each run, each snapshot's.
    """

    runs: tuple[Run, ...]
    layers: tuple[str, ...]
    steps: tuple[int, ...]
    moments: tuple[tuple[Moment, ...], ...]

    @property
    def unit(self) -> str:
        """What the numbers of the steps count: epochs, batches or steps."""
        return unit_of(self.moments[0])

    @property
    def marks(self) -> tuple[str, ...]:
        """How each step is written on an axis."""
        return tuple(mark_of(moment, self.unit) for moment in self.moments[0])

    def at(self, steps: Sequence[int]) -> "RunSelection":
        """Return the same at those of the given steps that it has, ascending."""
        wanted = set(steps)
        numbers = [number for number, step in enumerate(self.steps) if step in wanted]
        return RunSelection(
            self.runs,
            self.layers,
            tuple(self.steps[number] for number in numbers),
            tuple(tuple(run[number] for number in numbers) for run in self.moments),
        )


def select_from_run(
    run: RunLike,
    *,
    layers: str | Sequence[str] | None = None,
    compare: RunLike | None = None,
    steps: Steps | None = None,
    least: int = 1,
) -> RunSelection:
    """Choose what is shown, and see to it that it can be read.

    A damaged snapshot is left out, with a warning in the log.

    Args:
        run: A run or its folder.
        layers: A layer's name or a pattern such as ``"block1/*"``, or several; None for the one
            that ``default_layer`` returns.
        compare: A second run, or its folder.
        steps: Which snapshots: numbers, which have to be there, and ranges, which mean those of
            their numbers that are. None for all.
        least: How many snapshots it takes.

    Returns:
        What is shown.

    Raises:
        FiltertrackError: If there is no run, no such layer or step or too few snapshots, or if the
            two runs cannot be compared; the message says why.

    Example:
        >>> select_from_run("tests/golden/run-v1", layers="conv*", steps=[0, 2]).layers
        ('conv1', 'conv2')
    """
    given = [run] if compare is None else [run, compare]
    runs = tuple(each if isinstance(each, Run) else Run(each) for each in given)
    names = _matching(runs[0], layers)
    for other in runs[1:]:
        _check_comparable(runs[0], other, names)
    wanted = [present(each, steps) for each in runs]
    common = sorted(set(wanted[0]).intersection(*wanted))
    if wanted[0] and not common:
        raise FiltertrackError(
            f"{_name(runs[0])} and {_name(runs[1])} have no step in common: {_span(wanted[0])} and "
            f"{_span(wanted[1])}"
        )
    if compare is not None and steps is None and len(common) < max(map(len, wanted)):
        _log.warning(
            "comparing the %d steps that both runs have, of %s",
            len(common),
            " and ".join(str(len(each)) for each in wanted),
        )
    moments = [_readable_moments(each, names, common) for each in runs]
    readable = tuple(step for step in common if all(step in found for found in moments))
    if len(readable) < least:
        more = "train for longer" if steps is None else "choose more steps"
        raise FiltertrackError(
            f"{' and '.join(map(_name, runs))} hold{'s' if len(runs) == 1 else ''} {len(readable)} "
            f"readable snapshot{'' if len(readable) == 1 else 's'} to show; it takes at least "
            f"{least}: {more}"
        )
    return RunSelection(
        runs, names, readable, tuple(tuple(found[s] for s in readable) for found in moments)
    )


def default_layer(run: Run) -> str:
    """Return the layer that a picture shows by default: the first that is worth seeing.

    That is the nearest to the input of those with kernels larger than 1×1 that training may change
    and has changed. What no layer fulfils is not asked for.

    Args:
        run: The run; of the first such layers, up to 64, the first and the last snapshot are
            compared. A layer of more than 32 MB is taken to have changed.

    Returns:
        A key of ``run.layers``.

    Example:
        >>> default_layer(Run("tests/golden/run-v1"))
        'conv1'
    """
    layers = list(run.layers.values())
    spatial = [info for info in layers if info.shape[1] * info.shape[2] > 1] or layers
    trainable = [info for info in spatial if info.trainable] or spatial
    steps = run.steps
    if len(steps) > 1:
        moving = (
            info for info in trainable[:_MOST_COMPARED] if _moves(run, info, steps[0], steps[-1])
        )
        return next(moving, trainable[0]).name
    return trainable[0].name


def _moves(run: Run, info: LayerInfo, first: int, last: int) -> bool:
    """Whether a layer differs between two snapshots; also where they cannot be compared."""
    if total_bytes([info]) > _LARGEST_COMPARED:
        return True
    try:
        kernels = run.kernels(info.name, first), run.kernels(info.name, last)
    except FiltertrackError:
        return True
    return not np.array_equal(kernels[0], kernels[1], equal_nan=True)


def _matching(run: Run, layers: str | Sequence[str] | None) -> tuple[str, ...]:
    """Return the names that were asked for, in the order asked, each once."""
    if layers is None:
        return (default_layer(run),)
    if not isinstance(layers, str) and not is_list(layers):
        raise FiltertrackError(f"layers: expected a name or several, got {layers!r}")
    patterns = [layers] if isinstance(layers, str) else list(layers)
    if not patterns:
        raise FiltertrackError("layers: none are chosen; give a name or a pattern, or leave it out")
    names: dict[str, None] = {}
    for pattern in patterns:
        found = [name for name in run.layers if fnmatchcase(name, pattern)]
        names.update(dict.fromkeys(found or [_named(run, pattern)]))
    return tuple(names)


def _named(run: Run, name: str) -> str:
    """Return a layer's name, or say which pattern would have found some."""
    try:
        return run.layer(name).name
    except FiltertrackError as error:
        near = [f"{name}*", f"*{name}*", f"*/{name}"]
        patterns = (p for p in near if any(fnmatchcase(layer, p) for layer in run.layers))
        pattern = next(patterns, None)
        if pattern is None or not name:
            raise
        raise FiltertrackError(f"{error}; {pattern!r} matches some") from error


def _check_comparable(run: Run, other: Run, layers: Sequence[str]) -> None:
    for name in layers:
        shapes = run.layer(name).shape, other.layer(name).shape
        if shapes[0] != shapes[1]:
            raise FiltertrackError(
                f"layer {name} has other filters in {_name(other)} than in {_name(run)}, and "
                f"cannot be compared: (filters, height, width, channels) {shapes[1]} and "
                f"{shapes[0]}"
            )


def present(run: Run, steps: Steps | None) -> list[int]:
    """Return the steps that are asked for, ascending, each once; no snapshot is read.

    Args:
        run: The run.
        steps: Numbers, which have to be there, and ranges, which mean those of their numbers that
            are. None for all, which may be none.

    Raises:
        FiltertrackError: If one is not there, or none are chosen.

    Example:
        >>> present(Run("tests/golden/run-v1"), [2, range(1)])
        [0, 2]
    """
    there = run.steps
    if steps is None:
        return there
    if not is_list(steps):
        raise FiltertrackError(f"steps: expected numbers and ranges in a list, got {steps!r}")
    parts = [steps] if isinstance(steps, range) else list(steps)
    single = {part for part in parts if not isinstance(part, range)}
    missing = single.difference(there)
    if missing:
        raise FiltertrackError(
            f"steps: {_name(run)} has no snapshot at step {min(missing)}; it has {_span(there)}"
            f"{_near(min(missing), there)}"
        )
    ranges = [part for part in parts if isinstance(part, range)]
    chosen = [step for step in there if step in single or any(step in part for part in ranges)]
    if not chosen:
        raise FiltertrackError(
            f"steps: none of {_name(run)} are chosen; it has {_span(there)}; leave it out for all"
        )
    return chosen


def _readable_moments(run: Run, layers: Sequence[str], steps: Sequence[int]) -> dict[int, Moment]:
    """Read these layers once, biases too, and leave out with a warning what is damaged."""
    moments = {}
    for step in steps:
        try:
            moments[step] = run.snapshot(step, layers).moment
        except FiltertrackError as error:
            _log.warning("left out step %d: %s", step, error)
    return moments


def _name(run: Run) -> str:
    return repr(str(run.path))


def _near(step: int, there: Sequence[int]) -> str:
    """Name the steps around one that is not there."""
    around = [*[s for s in there if s < step][-1:], *[s for s in there if s > step][:1]]
    return f"; near it: {', '.join(map(str, around))}" if around else ""


def _span(steps: Sequence[int]) -> str:
    if not steps:
        return "no snapshots"
    return f"{len(steps)} snapshot{'s' * (len(steps) > 1)} from step {steps[0]} to {steps[-1]}"
