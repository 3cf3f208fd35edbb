"""Select what is drawn or measured: layers and steps of one run, or of two that are compared."""

import logging
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import TypeAlias, TypeVar

import numpy as np

from filtertrack.errors import FiltertrackError, counted, is_list
from filtertrack.snapshot import (
    LayerInfo,
    Moment,
    describe,
    layer_of,
    mark_of,
    total_bytes,
    unit_of,
)
from filtertrack.storage.paths import PathOrAddress
from filtertrack.storage.run import Run

RunLike: TypeAlias = Run | PathOrAddress
Steps: TypeAlias = Sequence[int] | Sequence[int | range]

_Result = TypeVar("_Result")

_MOST_COMPARED, _LARGEST_COMPARED = 64, 32 << 20
"""Layers that are compared to find one that has changed, and bytes of the largest of them."""

_LEFT_OUT = "others are damaged or were removed, as the log says"

_log = logging.getLogger("filtertrack")


class DamagedSnapshotError(FiltertrackError):
    """A kernel of a selected snapshot cannot be read.

    Attributes:
        step: The snapshot's step.
    """

    def __init__(self, message: object, step: int) -> None:
        super().__init__(message)
        self.step = step


@dataclass(frozen=True, slots=True)
class RunSelection:
    """Layers and steps of one run, or of two that are compared.

    Attributes:
        runs: One run, or two.
        layers: Names of layers that all runs have, in the same shape.
        steps: Steps of snapshots that all runs have, ascending.
        moments: For each run, the moment of each of these snapshots.
        least: Number of snapshots that are needed.
    """

    runs: tuple[Run, ...]
    layers: tuple[str, ...]
    steps: tuple[int, ...]
    moments: tuple[tuple[Moment, ...], ...]
    least: int = 1

    @property
    def unit(self) -> str:
        """What the labels of the steps count: epochs, batches or steps."""
        return unit_of(self.moments[0])

    @property
    def marks(self) -> tuple[str, ...]:
        """The label of each step on an axis."""
        return tuple(mark_of(moment, self.unit) for moment in self.moments[0])

    def at(self, steps: Sequence[int]) -> "RunSelection":
        """Return the same selection with only the given steps; those it lacks are ignored."""
        wanted = set(steps)
        numbers = [number for number, step in enumerate(self.steps) if step in wanted]
        return replace(
            self,
            steps=tuple(self.steps[number] for number in numbers),
            moments=tuple(tuple(run[number] for number in numbers) for run in self.moments),
        )

    def check_enough(self, advice: str) -> None:
        """Raise ``FiltertrackError``, with an advice, if there are fewer snapshots than needed."""
        if len(self.steps) < self.least:
            names = " and ".join(map(_name, self.runs))
            raise FiltertrackError(
                f"{names} hold{'s' if len(self.runs) == 1 else ''} "
                f"{counted(len(self.steps), 'readable snapshots')} to show; it takes at least "
                f"{self.least}: {advice}"
            )


def open_run(run: RunLike) -> Run:
    """Return a run that is given as itself or as its folder.

    Raises:
        FiltertrackError: If there is no run, or something else was given, such as a model.
    """
    if isinstance(run, Run):
        return run
    if not isinstance(run, (str, os.PathLike)) and not hasattr(run, "fs"):
        raise FiltertrackError(
            f"expected a run or its folder, got {type(run).__name__}: plot_filters draws the "
            f"filters of a model or array as they are now, and FilterTracker makes a run while a "
            f"model trains"
        )
    return Run(run)


def select_from_run(
    run: RunLike,
    *,
    layers: str | Sequence[str] | None = None,
    compare: RunLike | None = None,
    steps: Steps | None = None,
    least: int = 1,
) -> RunSelection:
    """Select layers and steps of a run.

    Of each snapshot only its moment is read; where it cannot be read, the snapshot is left out,
    with a warning in the log. Kernels are checked when they are read: see ``skip_damaged``. On
    object storage, where a request costs more than its bytes, they are read together.

    Args:
        run: A run or its folder.
        layers: A layer's name or a pattern such as ``"block1/*"``, or several; None for the one
            that ``default_layer`` returns.
        compare: A second run, or its folder.
        steps: Numbers of snapshots, each of which must exist, and ranges, which select the
            snapshots inside them. None for all.
        least: Number of snapshots that are needed.

    Returns:
        The selection.

    Raises:
        FiltertrackError: If there is no run, no such layer or step or too few snapshots, or if the
            two runs cannot be compared; the message says why.

    Example:
        >>> select_from_run("tests/golden/run-v1", layers="conv*", steps=[0, 2]).layers
        ('conv1', 'conv2')
    """
    runs = tuple(map(open_run, [run] if compare is None else [run, compare]))
    names = select_layers(runs[0], layers)
    for other in runs[1:]:
        _check_comparable(runs[0], other, names)
    common = _common_steps(runs, steps)
    moments = [_readable_moments(each, names, common) for each in runs]
    readable = tuple(step for step in common if all(step in found for found in moments))
    selection = RunSelection(
        runs,
        names,
        readable,
        tuple(tuple(found[step] for step in readable) for found in moments),
        least,
    )
    if len(readable) < len(common):
        advice = _LEFT_OUT
    else:
        advice = "train for longer" if steps is None else "choose more steps"
    selection.check_enough(advice)
    _warn_of_other_units(selection.moments)
    return selection


def _warn_of_other_units(moments: Sequence[Sequence[Moment]]) -> None:
    """Warn where the steps of one of two runs count epochs, and those of the other batches."""
    for one, other in zip(moments[0], moments[-1], strict=True):
        if one.counts_epochs != other.counts_epochs:
            _log.warning(
                "the steps of one run count epochs, those of the other do not: step %d is %r and "
                "%r; runs with the same schedule can be compared",
                one.step,
                describe(one),
                describe(other),
            )
            return


def read_kernels(run: Run, layer: str, step: int) -> np.ndarray:
    """Return a selected layer's filters at a selected step.

    Returns:
        Array of shape ``(filters, height, width, channels)``.

    Raises:
        DamagedSnapshotError: If they cannot be read.
    """
    try:
        return run.kernels(layer, step)
    except FiltertrackError as error:
        raise DamagedSnapshotError(error, step) from error


def read_start(run: Run, layer: str) -> tuple[int, np.ndarray]:
    """Return the first step of a run whose snapshot can be read, and a layer's filters there.

    It is the start that differences are taken from, whichever steps are selected.

    Returns:
        The step, and an array of shape ``(filters, height, width, channels)``.

    Raises:
        DamagedSnapshotError: If no snapshot of the run can be read.
    """
    steps = run.steps
    for step in steps[:-1]:
        with suppress(DamagedSnapshotError):
            return step, read_kernels(run, layer, step)
    return steps[-1], read_kernels(run, layer, steps[-1])


def skip_damaged(selection: RunSelection, use: Callable[[RunSelection], _Result]) -> _Result:
    """Call a function that reads the kernels of a selection, without those that are damaged.

    When a kernel cannot be read, all snapshots that are damaged or were removed meanwhile are left
    out, with a warning in the log for each, and the function is called again with the others.
    So a run without damage is read only once.

    Args:
        selection: The layers and steps.
        use: Draws or measures a selection. It reads kernels with ``read_kernels``.

    Returns:
        What the function returns.

    Raises:
        FiltertrackError: If too few snapshots can be read.

    Example:
        >>> selection = select_from_run("tests/golden/run-v1", layers="conv1")
        >>> skip_damaged(selection, lambda readable: len(readable.steps))
        3
    """
    while True:
        try:
            return use(selection)
        except DamagedSnapshotError as error:
            faults = {error.step: str(error)} | _unreadable(selection, error.step)
        for step in sorted(faults):
            _log.warning("left out step %d: %s", step, faults[step])
        selection = selection.at([step for step in selection.steps if step not in faults])
        selection.check_enough(_LEFT_OUT)


def _unreadable(selection: RunSelection, first: int) -> dict[int, str]:
    """Return the steps of a selection whose kernels cannot be read, with the reason.

    Args:
        selection: The layers and steps.
        first: A step that cannot be read. If its snapshot was removed, others were probably removed
            as well: these are found without reading any kernel.
    """
    existing = set(selection.runs[0].steps).intersection(*(run.steps for run in selection.runs))
    if first not in existing:
        removed = [step for step in selection.steps if step not in existing]
        return dict.fromkeys(removed, "it was removed meanwhile")
    faults = {}
    for step in selection.steps:
        try:
            for run in selection.runs:
                for layer in selection.layers:
                    read_kernels(run, layer, step)
        except DamagedSnapshotError as error:
            faults[step] = str(error)
    return faults


def default_layer(run: Run) -> str:
    """Return the layer that a picture shows by default.

    It is the first layer with kernels larger than 1×1 that is trainable and has changed. A
    condition that no layer meets is dropped.

    Args:
        run: The run. To find a layer that has changed, the first and the last snapshot of up to 64
            layers are compared; a layer of more than 32 MB counts as changed.

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
        compared = trainable[:_MOST_COMPARED]
        changed = (info for info in compared if _has_changed(run, info, steps[0], steps[-1]))
        return next(changed, trainable[0]).name
    return trainable[0].name


def _has_changed(run: Run, info: LayerInfo, first: int, last: int) -> bool:
    """Whether a layer differs between two snapshots; True where they cannot be compared."""
    if total_bytes([info]) > _LARGEST_COMPARED:
        return True
    try:
        kernels = run.kernels(info.name, first), run.kernels(info.name, last)
    except FiltertrackError:
        return True
    return not np.array_equal(kernels[0], kernels[1], equal_nan=True)


def select_layers(run: Run, layers: str | Sequence[str] | None) -> tuple[str, ...]:
    """Return the names of the selected layers, in the order given, each once.

    The name of a layer with several kernels, such as a separable convolution, selects all of them.
    """
    if layers is None:
        return (default_layer(run),)
    if not isinstance(layers, str) and not is_list(layers):
        raise FiltertrackError(f"layers: expected a name or several, got {layers!r}")
    patterns = [layers] if isinstance(layers, str) else list(layers)
    if not patterns:
        raise FiltertrackError("layers: none are chosen; give a name or a pattern, or leave it out")
    names: dict[str, None] = {}
    for pattern in patterns:
        found = [
            name
            for name, info in run.layers.items()
            if fnmatchcase(name, pattern) or fnmatchcase(layer_of(info), pattern)
        ]
        names.update(dict.fromkeys(found or [_layer_name(run, pattern)]))
    return tuple(names)


def _layer_name(run: Run, name: str) -> str:
    """Return the name of a layer that must exist; the error suggests a pattern that matches."""
    try:
        return run.layer(name).name
    except FiltertrackError as error:
        if name == "all":
            raise FiltertrackError(f"{error}; '*' matches all") from error
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


def _common_steps(runs: Sequence[Run], steps: Steps | None) -> list[int]:
    """Return the selected steps that all runs have, ascending; warn where some have more."""
    selected = [select_steps(run, steps) for run in runs]
    common = sorted(set(selected[0]).intersection(*selected))
    if selected[0] and not common:
        raise FiltertrackError(
            f"{_name(runs[0])} and {_name(runs[1])} have no step in common: {_span(selected[0])} "
            f"and {_span(selected[1])}"
        )
    if steps is None and len(common) < max(map(len, selected)):
        _log.warning(
            "comparing the %d steps that both runs have, of %s",
            len(common),
            " and ".join(str(len(each)) for each in selected),
        )
    return common


def select_step(run: Run, layers: tuple[str, ...], step: int) -> RunSelection:
    """Select layers of a run, by their names, at a single step.

    Raises:
        DamagedSnapshotError: If its moment cannot be read.
    """
    try:
        moment = run.moment(step)
    except FiltertrackError as error:
        raise DamagedSnapshotError(error, step) from error
    return RunSelection((run,), layers, (step,), ((moment,),))


def select_steps(run: Run, steps: Steps | None, option: str = "steps") -> list[int]:
    """Return the selected steps of a run, ascending, each once; no snapshot is read.

    Args:
        run: The run.
        steps: Numbers of snapshots, each of which must exist, and ranges, which select the
            snapshots inside them. None for all; a run may have none.
        option: The name of the option, for messages.

    Raises:
        FiltertrackError: If a step does not exist, or none is selected.

    Example:
        >>> select_steps(Run("tests/golden/run-v1"), [2, range(1)])
        [0, 2]
    """
    existing = run.steps
    if steps is None:
        return existing
    if not is_list(steps):
        raise FiltertrackError(f"{option}: expected numbers and ranges in a list, got {steps!r}")
    parts = [steps] if isinstance(steps, range) else list(steps)
    ranges = [part for part in parts if isinstance(part, range)]
    single = {part for part in parts if not isinstance(part, range)}
    missing = single.difference(existing)
    if missing:
        raise FiltertrackError(
            f"{option}: {_name(run)} has no snapshot at step {min(missing)}; it has "
            f"{_span(existing)}{_near(min(missing), existing)}"
        )
    selected = [step for step in existing if step in single or any(step in r for r in ranges)]
    if not selected:
        raise FiltertrackError(
            f"{option}: none of {_name(run)} are chosen; it has {_span(existing)}; leave it out "
            f"for all"
        )
    return selected


def _readable_moments(run: Run, layers: Sequence[str], steps: Sequence[int]) -> dict[int, Moment]:
    """Read the moment of each step; leave out with a warning what cannot be read."""
    moments = {}
    for step in steps:
        try:
            moments[step] = _read_moment(run, layers, step)
        except FiltertrackError as error:
            _log.warning("left out step %d: %s", step, error)
    return moments


def _read_moment(run: Run, layers: Sequence[str], step: int) -> Moment:
    if run.path.concurrent:  # the kernels come in the same requests, and are kept
        with suppress(FiltertrackError):  # they are checked when they are used
            return run.snapshot(step, layers).moment
    return run.moment(step)


def _name(run: Run) -> str:
    return repr(str(run.path))


def _near(step: int, existing: Sequence[int]) -> str:
    """Name the existing steps just before and after one that does not exist."""
    around = [s for s in existing if s < step][-1:] + [s for s in existing if s > step][:1]
    return f"; near it: {', '.join(map(str, around))}" if around else ""


def _span(steps: Sequence[int]) -> str:
    if not steps:
        return "no snapshots"
    return f"{counted(len(steps), 'snapshots')} from step {steps[0]} to {steps[-1]}"
