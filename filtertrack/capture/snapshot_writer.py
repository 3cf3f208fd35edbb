"""Writes snapshots into a run, and tells what the weights at the end of a training are."""

import logging
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from filtertrack.capture.weight_checksums import WeightChecksums
from filtertrack.snapshot import Moment, Snapshot
from filtertrack.storage.retention import RetainedRun
from filtertrack.storage.run import Run
from filtertrack.storage.run_format import same_weights

_log = logging.getLogger("filtertrack")


class SnapshotWriter:
    """Writes snapshots into a run and remembers the checksums of their weights.

    Args:
        run: Where snapshots are appended.
        by_hand: Whether a loop of the user's own takes them: then weights that have not changed at
            the second snapshot are a warning.

    Attributes:
        seen: The checksums.
    """

    def __init__(self, run: Run | RetainedRun, *, by_hand: bool) -> None:
        self.seen = WeightChecksums()
        self._run = run
        self._by_hand = by_hand
        self._lost = False

    def store(self, snapshot: Snapshot) -> None:
        """Append a snapshot to the run.

        Raises:
            FiltertrackError: If it does not fit the run.
            OSError: If it cannot be written.
        """
        self.note(snapshot.moment, snapshot.arrays)
        if self._by_hand and self.seen.count == 2 and not self.seen.moved:
            _log.warning(
                "no tracked weight has changed since the first snapshot. A loop that trains a copy "
                "of the state, as with jax and model.stateless_call, must assign it back before "
                "each snapshot: for variable, value in zip(model.trainable_variables, "
                "trainable_variables): variable.assign(value)"
            )
        self._lost = True
        self._run.append(snapshot)
        self._lost = False

    def note(self, moment: Moment, arrays: Mapping[str, np.ndarray]) -> None:
        """Remember the weights of a moment without storing them."""
        self.seen.add(moment, arrays)

    def last(
        self, snapshot: Snapshot, *, after: int, averaged: bool, refused: Snapshot | None = None
    ) -> Snapshot | None:
        """Return what to store at the end of a training; None where the run holds it already.

        Args:
            snapshot: The weights in the end, at the moment that training had reached.
            after: The last step that was taken.
            averaged: Whether the optimizer replaces weights by their averages in the end.
            refused: The last snapshot that was taken, if there was no place in the queue for it.

        Returns:
            The snapshot, with a note where its weights are not those of the last moment. One of the
            last moment that could not be stored then is returned again.
        """
        moment, arrays = snapshot.moment, snapshot.arrays
        if refused is not None and same_weights(refused.arrays, arrays):
            return refused
        earlier = self.seen.moment_of(arrays)
        if self.seen.is_last(arrays):
            if moment.step > after:
                return snapshot
            return Snapshot(earlier or moment, arrays) if self._lost else None
        if earlier is not None:
            note, metrics = f"restored: {_short_when(earlier)}", earlier.metrics
        else:
            note, metrics = ("averaged" if averaged else "changed after the last epoch"), {}
        step = max(moment.step, after + 1)
        return Snapshot(replace(moment, step=step, metrics=metrics, note=note), arrays)


def _short_when(moment: Moment) -> str:
    if not moment.step:
        return "before training"
    return f"step {moment.step}" if moment.epoch_batch else f"epoch {moment.epoch}"
