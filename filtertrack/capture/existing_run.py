"""Handles a run that is already in the folder: refuses, deletes, or continues it.

Nothing of a run is overwritten or deleted, unless with ``existing="replace"``, or if training
starts again from the same weights that the run holds of an epoch.
"""

import logging
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from filtertrack.capture.existing_run_layers import match_layers
from filtertrack.errors import FiltertrackError, counted, listed
from filtertrack.snapshot import LayerInfo, Moment
from filtertrack.storage.paths import StoragePath
from filtertrack.storage.run import Run
from filtertrack.storage.run_format import same_weights

_log = logging.getLogger("filtertrack")


def check_or_delete_run(folder: StoragePath, *, replace: bool, go_on: str) -> None:
    """Refuse or delete an existing run before a training that starts from the beginning.

    A run without any snapshot is continued: it is left by a training that ended before its first.

    Args:
        folder: The run's folder.
        replace: Delete an existing run; otherwise it is an error.
        go_on: How to continue that run, for the message.

    Raises:
        FiltertrackError: If there is a run; the message says what to do.
        OSError: If it cannot be deleted.
    """
    if not Run.exists(folder):
        return
    if not replace:
        if not Run(folder).steps:
            return
        raise FiltertrackError(
            f"{str(folder)!r} already holds a run, and training starts from the "
            f"beginning. Give the tracker another folder, existing='new' for a new one "
            f"beside it each time, or existing='replace' to delete that run; to go on with it, "
            f"{go_on}"
        )
    Run.delete(folder)


def check_or_delete_from(folder: StoragePath, step: int, *, replace: bool) -> None:
    """Refuse or delete existing snapshots from the first step of a user's own loop on.

    Args:
        folder: The run's folder.
        step: The first step.
        replace: Delete those snapshots; otherwise they are an error.

    Raises:
        FiltertrackError: If there are any; the message says what to do.
        OSError: If they cannot be deleted.
    """
    if not Run.exists(folder):
        return
    run = Run(folder)
    steps = run.steps
    past = [stored for stored in steps if stored >= step]
    if not past:
        return
    if not replace:
        raise FiltertrackError(
            f"{str(folder)!r} already holds a run, up to step {past[-1]}, and the first "
            f"snapshot is at step {step}. Go on from step {past[-1] + 1}, or give "
            f"the tracker another folder, existing='new' for a new one beside it each time, "
            f"or existing='replace' to delete what is there from step {step} on"
        )
    if past == steps:
        Run.delete(folder)
    else:
        run.truncate(step)
        _log.info("%s from step %d on deleted", counted(len(past), "snapshots"), step)


def same_layers(
    run: Run, layers: Sequence[LayerInfo], others: Sequence[LayerInfo]
) -> list[LayerInfo]:
    """Return a run's descriptions of the layers of a model that continues the run.

    Args:
        run: The run.
        layers: The tracked layers of the model.
        others: The other layers of the model.

    Returns:
        The run's descriptions, in the order of ``layers``.

    Raises:
        FiltertrackError: If the layers differ; the message names some of them.
    """
    matched = match_layers(layers, list(run.layers.values()), others)
    if matched is not None:
        return matched
    stored = {_name_and_shapes(info) for info in run.layers.values()}
    tracked = {_name_and_shapes(info) for info in layers}
    lacking = [_text(info) for info in run.layers.values() if _name_and_shapes(info) not in tracked]
    new = [_text(info) for info in layers if _name_and_shapes(info) not in stored]
    differences = [
        f"{listed(names, 3)} {what}"
        for names, what in ((lacking, "only there"), (new, "only here"))
        if names
    ]
    raise FiltertrackError(
        f"{str(run.path)!r} holds a run of other layers ({'; '.join(differences)}), and the layers "
        f"of a run stay the same: choose them with layers= so that they are those of the whole "
        f"training, or give the tracker another folder"
    )


def _name_and_shapes(info: LayerInfo) -> tuple[str, tuple[int, ...], tuple[int, ...], str]:
    data_format = info.data_format if info.image else ""
    return info.kernel, info.kernel_shape, info.image, data_format


def _text(info: LayerInfo) -> str:
    """Return a layer's name, with the shape of its images if it has one."""
    if not info.image:
        return info.name
    return f"{info.name} as images of {info.image}, {info.data_format.replace('_', ' ')}"


def delete_retrained(
    run: Run, start: Moment, weights: Mapping[str, np.ndarray] | None, *, replace: bool
) -> Moment | None:
    """Delete the snapshots after the start of a training that repeats them.

    Training repeats them if the run holds the epoch from which training starts, with exactly these
    weights. If a snapshot after that one cannot be read, all snapshots stay.

    Args:
        run: The run that training continues.
        start: The moment at which training starts.
        weights: The weights from which it starts; None if they are unknown.
        replace: Delete the snapshots after the start whatever the weights are.

    Returns:
        The moment of the run's last snapshot, if it holds these weights and is not after the start;
        else None.

    Raises:
        OSError: If a file cannot be deleted, or object storage cannot be reached.
    """
    found = _find_start(run, start)
    before = found.before
    is_held = before is not None and weights is not None and _holds(run, before.step, weights)
    is_trained_again = is_held and not found.unread and before is not None and _is_at(before, start)
    if found.past and (replace or is_trained_again):
        run.truncate(found.past[-1].step)
        number = counted(len(found.past), "snapshots")
        _log.warning("training goes on from epoch %d: %s past it deleted", start.epoch, number)
    else:
        _warn_of_kept_snapshots(run, start, found)
    return before if is_held and before and run.steps[-1] == before.step else None


class _StartInRun(NamedTuple):
    """The snapshots of a run around the start of a training.

    Attributes:
        before: The last moment that is not after the start; None if there is none.
        past: The moments after the start, the latest first.
        unread: Steps after ``before`` that cannot be read, to the reason.
    """

    before: Moment | None
    past: list[Moment]
    unread: dict[int, FiltertrackError]


def _find_start(run: Run, start: Moment) -> _StartInRun:
    """Search a run from its end for the start of a training, without reading weights."""
    past: list[Moment] = []
    unread: dict[int, FiltertrackError] = {}
    for step in reversed(run.steps):
        try:
            moment = run.moment(step)
        except FiltertrackError as error:
            unread[step] = error
            continue
        if not _is_after(moment, start):
            return _StartInRun(moment, past, unread)
        past.append(moment)
    return _StartInRun(None, past, unread)


def _holds(run: Run, step: int, weights: Mapping[str, np.ndarray]) -> bool:
    try:
        return same_weights(run.snapshot(step).arrays, weights)
    except FiltertrackError as error:  # it is damaged, or larger than memory
        _log.warning("the weights are not compared, so the run's snapshots stay: %s", error)
        return False


def _warn_of_kept_snapshots(run: Run, start: Moment, found: _StartInRun) -> None:
    if found.unread:
        _log.warning(
            "%s of %s cannot be read: they stay, and steps go on after them (%s)",
            *(counted(len(found.unread), "snapshots"), run.path, next(iter(found.unread.values()))),
        )
    elif found.past:
        _log.warning(
            "training goes on from epoch %d, with other weights than %s holds of it: %s past it "
            "stay, and steps go on after them (existing='replace' deletes them)",
            *(start.epoch, run.path, counted(len(found.past), "snapshots")),
        )


def _is_after(stored: Moment, start: Moment) -> bool:
    """Whether a stored snapshot is from a later point of the training than ``start``."""
    if stored.epoch != start.epoch:
        return stored.epoch > start.epoch
    if stored.epoch_batch is not None:
        return stored.epoch_batch > (start.epoch_batch or 0)
    known = stored.batch is not None and start.batch is not None
    return known and (stored.batch or 0) > (start.batch or 0)


def _is_at(stored: Moment, start: Moment) -> bool:
    """Whether a stored snapshot is from the same point of the training as ``start``."""
    if stored.batch is not None and start.batch is not None:
        return stored.batch == start.batch
    same_batch = (stored.epoch_batch or 0) == (start.epoch_batch or 0)
    return stored.epoch == start.epoch and same_batch
