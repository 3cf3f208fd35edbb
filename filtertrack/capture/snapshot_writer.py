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
        advice: For a training loop of the user's own: what to check if no weight has changed at the
            second snapshot, which is logged as a warning then. Empty for no such warning.

    Attributes:
        checksums: The checksums of all snapshots.
    """

    def __init__(self, run: Run | RetainedRun, *, advice: str = "") -> None:
        self.checksums = WeightChecksums()
        self._run = run
        self._advice = advice
        self._lost_last = False

    def store(self, snapshot: Snapshot) -> None:
        """Append a snapshot to the run.

        Raises:
            FiltertrackError: If it does not fit the run.
            OSError: If it cannot be written.
        """
        self.note(snapshot.moment, snapshot.arrays)
        if self._advice and self.checksums.count == 2 and not self.checksums.changed:
            _log.warning("no tracked weight has changed since the first snapshot. %s", self._advice)
        self._lost_last = True
        self._run.append(snapshot)
        self._lost_last = False

    def note(self, moment: Moment, arrays: Mapping[str, np.ndarray]) -> None:
        """Remember the weights of a moment without storing them."""
        self.checksums.add(moment, arrays)

    def last(
        self,
        snapshot: Snapshot,
        *,
        after: int,
        averaged: bool,
        seen: bool = True,
        refused: Snapshot | None = None,
    ) -> Snapshot | None:
        """Return the snapshot to store at the end of a training; None if the run holds it.

        Args:
            snapshot: The final weights, with the moment at the end of training.
            after: The last step that was taken.
            averaged: Whether the optimizer replaces weights by their averages at the end.
            seen: Whether the weights of the last moment of training were stored or noted; if not,
                the final weights are taken for these, unless they are those of an earlier moment.
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
            return replace(snapshot, moment=earlier or moment) if self._lost_last else None
        if earlier is not None:
            note, metrics = f"restored: {_short_when(earlier)}", earlier.metrics
        elif averaged:
            note, metrics = "averaged", {}
        elif seen:
            in_epoch = moment.batch is not None and moment.epoch_batch != 0
            note, metrics = f"changed after the last {'batch' if in_epoch else 'epoch'}", {}
        else:
            note, metrics = "", moment.metrics
        step = max(moment.step, after + 1)
        noted = replace(moment, step=step, metrics=metrics, note=note)
        return replace(snapshot, moment=noted)


def _short_when(moment: Moment) -> str:
    if not moment.step:
        return "before training"
    in_epoch = moment.epoch_batch or not moment.epoch
    return f"step {moment.step}" if in_epoch else f"epoch {moment.epoch}"
