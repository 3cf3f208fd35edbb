"""What happens to a run that its folder already holds: refused, deleted, or continued.

Nothing of a run is overwritten or deleted, unless ``existing="replace"`` asks for it or the very
weights that the run holds of an epoch are trained again.
"""

import logging
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from filtertrack.capture.layer_matching import match_layers
from filtertrack.errors import FiltertrackError, counted, listed
from filtertrack.snapshot import LayerInfo, Moment
from filtertrack.storage.paths import StoragePath
from filtertrack.storage.run import Run
from filtertrack.storage.run_format import same_weights

_log = logging.getLogger("filtertrack")


def check_or_delete_run(folder: StoragePath, *, replace: bool) -> None:
    """Refuse, or delete, the run in the folder of a training that starts from the beginning.

    One without any snapshot is continued, as what a training leaves that ended before its first.

    Args:
        folder: The run's folder.
        replace: Delete the run that is there; else it is an error.

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
            f"beginning. Give FilterTracker another folder, existing='new' for a new one "
            f"beside it each time, or existing='replace' to delete that run; to go on with it, "
            f"call fit with initial_epoch"
        )
    Run.delete(folder)


def check_or_delete_from(folder: StoragePath, step: int, *, replace: bool) -> None:
    """Refuse, or delete, the snapshots at or past the first step of a loop by hand.

    Args:
        folder: The run's folder.
        step: The first step.
        replace: Delete those snapshots; else they are an error.

    Raises:
        FiltertrackError: If there are any; the message says what to do.
        OSError: If they cannot be deleted.
    """
    if not Run.exists(folder):
        return
    run = Run(folder)
    steps = run.steps
    past = [there for there in steps if there >= step]
    if not past:
        return
    if not replace:
        raise FiltertrackError(
            f"{str(folder)!r} already holds a run, up to step {past[-1]}, and the first "
            f"snapshot is at step {step}. Go on from step {past[-1] + 1}, or give "
            f"FilterTracker another folder, existing='new' for a new one beside it each time, "
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
    """Return how a run describes the layers of a model that continues it.

    Args:
        run: The run.
        layers: The model's layers that are tracked.
        others: The model's layers that are not.

    Returns:
        The run's descriptions, in the order of ``layers``.

    Raises:
        FiltertrackError: If they are other layers; the message names some of them.
    """
    held = match_layers(layers, list(run.layers.values()), others)
    if held is not None:
        return held
    there = {info.kernel: info.kernel_shape for info in run.layers.values()}
    wanted = {info.kernel: info.kernel_shape for info in layers}
    lacking = [
        info.name for info in run.layers.values() if there[info.kernel] != wanted.get(info.kernel)
    ]
    new = [info.name for info in layers if wanted[info.kernel] != there.get(info.kernel)]
    differences = [
        f"{listed(names, 3)} {what}"
        for names, what in ((lacking, "only there"), (new, "only here"))
        if names
    ]
    raise FiltertrackError(
        f"{str(run.path)!r} holds a run of other layers ({'; '.join(differences)}), and the layers "
        f"of a run stay the same: choose them with layers= so that they are those of the whole "
        f"training, or give FilterTracker another folder"
    )


def delete_retrained(
    run: Run, start: Moment, weights: Mapping[str, np.ndarray] | None, *, replace: bool
) -> Moment | None:
    """Delete what lies past the start of a training, where it is trained again.

    It is trained again where the run holds the epoch that training starts from, with these very
    weights. Where a snapshot after that one cannot be read, all stay.

    Args:
        run: The run that training continues.
        start: Where training starts.
        weights: What it starts from; None where that is not known.
        replace: Delete what lies past the start whatever the weights are.

    Returns:
        The moment of the run's last snapshot, if that holds these weights and lies where training
        starts; else None.

    Raises:
        OSError: If a file cannot be deleted, or object storage cannot be reached.
    """
    found = _find_start(run, start)
    before = found.before
    is_held = before is not None and weights is not None and _holds(run, before.step, weights)
    is_trained_again = (
        is_held and not found.unread and before is not None and _is_boundary(before, start)
    )
    if found.past and (replace or is_trained_again):
        run.truncate(found.past[-1].step)
        number = counted(len(found.past), "snapshots")
        _log.warning("training goes on from epoch %d: %s past it deleted", start.epoch, number)
    else:
        _warn_of_what_stays(run, start, found)
    return before if is_held and before and run.steps[-1] == before.step else None


class _Found(NamedTuple):
    """What a run holds around the start of a training.

    Attributes:
        before: The last moment that does not lie past the start; None where there is none.
        past: The moments that lie past it, the latest first.
        unread: Steps after ``before`` that cannot be read, to the reason.
    """

    before: Moment | None
    past: list[Moment]
    unread: dict[int, FiltertrackError]


def _find_start(run: Run, start: Moment) -> _Found:
    """Look for the start of a training from the run's end; no weights are read."""
    past: list[Moment] = []
    unread: dict[int, FiltertrackError] = {}
    for step in reversed(run.steps):
        try:
            moment = run.moment(step)
        except FiltertrackError as error:
            unread[step] = error
            continue
        if not _lies_past(moment, start):
            return _Found(moment, past, unread)
        past.append(moment)
    return _Found(None, past, unread)


def _holds(run: Run, step: int, weights: Mapping[str, np.ndarray]) -> bool:
    try:
        return same_weights(run.snapshot(step).arrays, weights)
    except FiltertrackError as error:  # such as one that is damaged, or larger than memory
        _log.warning("training goes on with other weights as far as can be told: %s", error)
        return False


def _warn_of_what_stays(run: Run, start: Moment, found: _Found) -> None:
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


def _lies_past(there: Moment, start: Moment) -> bool:
    """Whether a snapshot was taken later in the training than where it starts again."""
    if there.epoch != start.epoch:
        return there.epoch > start.epoch
    if there.epoch_batch is not None:
        return there.epoch_batch > (start.epoch_batch or 0)
    known = there.batch is not None and start.batch is not None
    return known and (there.batch or 0) > (start.batch or 0)


def _is_boundary(there: Moment, start: Moment) -> bool:
    """Whether a snapshot was taken where a training starts again."""
    if there.batch is not None and start.batch is not None:
        return there.batch == start.batch
    same_batch = (there.epoch_batch or 0) == (start.epoch_batch or 0)
    return there.epoch == start.epoch and same_batch
