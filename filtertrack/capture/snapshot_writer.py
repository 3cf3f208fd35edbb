"""Writes snapshots into a run, and decides whether the final weights must be stored."""

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
        run: The run.
        by_hand: Whether a training loop of the user's own takes them: then a warning is logged if
            no weight has changed at the second snapshot.

    Attributes:
        checksums: The checksums of all snapshots.
    """

    def __init__(self, run: Run | RetainedRun, *, by_hand: bool) -> None:
        self.checksums = WeightChecksums()
        self._run = run
        self._by_hand = by_hand
        self._lost_last = False

    def store(self, snapshot: Snapshot) -> None:
        """Append a snapshot to the run.

        Raises:
            FiltertrackError: If it does not fit the run.
            OSError: If it cannot be written.
        """
        self.note(snapshot.moment, snapshot.arrays)
        if self._by_hand and self.checksums.count == 2 and not self.checksums.changed:
            _log.warning(
                "no tracked weight has changed since the first snapshot. A loop that trains a copy "
                "of the state, as with jax and model.stateless_call, must assign it back before "
                "each snapshot: for variable, value in zip(model.trainable_variables, "
                "trainable_variables): variable.assign(value)"
            )
        self._lost_last = True
        self._run.append(snapshot)
        self._lost_last = False

    def note(self, moment: Moment, arrays: Mapping[str, np.ndarray]) -> None:
        """Remember the weights of a moment without storing them."""
        self.checksums.add(moment, arrays)

    def last(
        self, snapshot: Snapshot, *, after: int, averaged: bool, refused: Snapshot | None = None
    ) -> Snapshot | None:
        """Return the snapshot to store at the end of a training; None if the run holds it.

        Args:
            snapshot: The final weights, with the moment at the end of training.
            after: The last step that was taken.
            averaged: Whether the optimizer replaces weights by their averages at the end.
            refused: The last snapshot that was taken, if the queue was full.

        Returns:
            The snapshot, with a note if its weights differ from those of the last moment. A
            snapshot of the last moment that could not be stored is returned again.
        """
        moment, arrays = snapshot.moment, snapshot.arrays
        if refused is not None and same_weights(refused.arrays, arrays):
            return refused
        earlier = self.checksums.moment_of(arrays)
        if self.checksums.is_last(arrays):
            if moment.step > after:
                return snapshot
            return Snapshot(earlier or moment, arrays) if self._lost_last else None
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
