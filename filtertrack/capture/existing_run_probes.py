"""Compares the probes of a training with those of the run that it continues."""

import re
from collections.abc import Iterator

import numpy as np

from filtertrack.errors import FiltertrackError
from filtertrack.response import ProbedLayer, StoredProbes
from filtertrack.storage.run import Run

_NUMBER = re.compile(r"_[0-9]+\b")
"""The number that Keras appends to names that it chooses; it differs between two trainings."""


def check_or_store_probes(run: Run, probes: StoredProbes) -> None:
    """Store the probes of a training, unless the run holds the same ones already.

    Probes to which no snapshot holds responses are replaced.

    Args:
        run: The run.
        probes: The probes of the training that starts or continues it.

    Raises:
        FiltertrackError: If snapshots hold responses to other probes; the message says what differs
            and what to do.
        OSError: If they cannot be written.
    """
    try:
        stored = run.probes
        difference = None if stored is None else next(_differences(stored, probes), None)
    except FiltertrackError as error:
        stored, difference = None, str(error)
    if stored is not None and difference is None:
        return
    if difference is not None and _is_probed(run):
        raise FiltertrackError(
            f"{str(run.path)!r} holds responses to other probes ({difference}), and a run has one "
            f"set of probes: its next snapshots hold weights only. Give the same probes as before, "
            f"or another folder"
        )
    run.store_probes(probes)


def _differences(stored: StoredProbes, given: StoredProbes) -> Iterator[str]:
    """Yield how the probes of a training differ from stored ones.

    The names of inputs may differ, as Keras numbers them, and so may the receptive fields: another
    version may know more of them.
    """
    if stored.count != given.count:
        yield f"{stored.count} images there, {given.count} here"
    if stored.maps != given.maps:
        yield f"maps of {stored.maps} images there, of {given.maps} here"
    images = [list(each.inputs.values()) for each in (stored, given)]
    if stored.channels_first != given.channels_first or not _are_equal(*images):
        yield "the images differ"
    labels = [[] if each.labels is None else [each.labels] for each in (stored, given)]
    if not _are_equal(*labels):
        yield "the labels differ"
    for name in sorted(stored.layers.keys() ^ given.layers.keys()):
        yield f"layer {name} is read only {'there' if name in stored.layers else 'here'}"
    for name in stored.layers.keys() & given.layers.keys():
        yield from _differences_of_layer(stored.layers[name], given.layers[name])


def _differences_of_layer(stored: ProbedLayer, given: ProbedLayer) -> Iterator[str]:
    if _read_of(stored) != _read_of(given):
        yield f"of layer {given.name} there is read {stored.read}, here {given.read}"
    if (stored.shape, stored.block) != (given.shape, given.block):
        yield (
            f"the maps of layer {given.name} are {stored.map_shape} of {stored.shape} there, "
            f"{given.map_shape} of {given.shape} here"
        )


def _are_equal(some: list[np.ndarray], others: list[np.ndarray]) -> bool:
    return len(some) == len(others) and all(map(_is_equal, some, others))


def _is_equal(one: np.ndarray, other: np.ndarray) -> bool:
    return one.shape == other.shape and np.array_equal(one, other, equal_nan=True)


def _read_of(layer: ProbedLayer) -> tuple[str, bool]:
    """Return what is read of a layer, without the numbers that Keras appends to names."""
    return _NUMBER.sub("", layer.read), layer.rectified


def _is_probed(run: Run) -> bool:
    """Whether a snapshot holds responses, or cannot be read."""
    for step in run.steps:
        try:
            if run.moment(step).probed:
                return True
        except FiltertrackError:
            return True
    return False
