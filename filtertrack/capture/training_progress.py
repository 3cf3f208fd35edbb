"""Counts the finished epochs and batches of a training, as hooks report them."""

import time
from collections.abc import Iterator, Mapping
from contextlib import suppress

from filtertrack.errors import FiltertrackError
from filtertrack.snapshot import Moment
from filtertrack.storage.paths import StoragePath
from filtertrack.storage.run import Run


class TrainingProgress:
    """Counts the epochs and batches of a training, over one ``fit`` or several.

    Args:
        by_batch: Whether a step is a batch; otherwise it is an epoch.
        has_epochs: Whether epochs are reported for certain; otherwise the batch of the epoch is
            unknown until the first one has ended.

    Attributes:
        epochs: Finished epochs.
        epochs_before_fit: Epochs finished before a ``fit`` that counts its epochs from 0 again.
        offset: Difference between a step and the count: a run that already holds other snapshots
            at these steps continues after them.

    Example:
        >>> progress = TrainingProgress(by_batch=False)
        >>> progress.start_fit(0, again=False)
        False
        >>> progress.start_epoch()
        >>> progress.finish_epoch(0, steps=10)
        >>> progress.step, progress.epochs, progress.batches
        (1, 1, 10)
    """

    def __init__(self, *, by_batch: bool, has_epochs: bool = True) -> None:
        self.epochs = 0
        self.epochs_before_fit = 0
        self.offset = 0
        self._by_batch = by_batch
        self._has_epochs = has_epochs
        self._planned: int | None = None
        self._seen = 0
        self._knows_batches = True
        self._before_epoch = 0
        self._of_epoch = 0
        self._steps: int | None = None

    @property
    def count(self) -> int:
        """Finished batches or epochs; only batches of this ``fit`` if earlier ones are unknown."""
        return self._seen if self._by_batch else self.epochs

    @property
    def step(self) -> int:
        """The step of a snapshot taken now."""
        return self.count + self.offset

    @property
    def batches(self) -> int | None:
        """Batches seen since the start of training; None if unknown."""
        return self._seen if self._knows_batches else None

    @property
    def position(self) -> tuple[int, int | None]:
        """The count and the batches: equal values mean that no training happened between."""
        return self.count, self.batches

    def moment(self, metrics: Mapping[str, float]) -> Moment:
        """Return the present moment, with these metrics."""
        return Moment(
            self.step,
            self.epochs,
            self.batches,
            metrics,
            time.time(),
            self._planned,
            self._of_epoch if self._has_epochs or self.epochs else None,
            self._steps,
        )

    def start_fit(self, epoch: int, *, again: bool, planned: int | None = None) -> bool:
        """Start a ``fit``.

        Args:
            epoch: Its first epoch, as Keras counts.
            again: Whether this tracker has seen the same model's training before.
            planned: The epoch it ends with, as Keras counts; None if Keras does not tell.

        Returns:
            Whether it continues the last ``fit``, so that the batches before are known.
        """
        continues = again and epoch in {0, self.epochs}
        if self._of_epoch and epoch:  # after an interrupted fit: its last epoch is repeated
            self._seen = self._before_epoch
        if epoch or not again:
            self._of_epoch = 0
        self.epochs_before_fit = self.epochs if again and epoch == 0 else 0
        self.epochs = self.epochs_before_fit or epoch
        self._planned = planned and planned + self.epochs_before_fit
        self.offset = 0
        return continues

    def start_from(self, batches: int | None) -> None:
        """Set the number of batches before the ``fit``; None if it is unknown."""
        self._knows_batches = batches is not None
        self._seen = self._before_epoch = batches or 0

    def continue_from(self, start: Moment, stored: Moment, *, alone: bool) -> None:
        """Continue from the step and batches that the run has for the start of a ``fit``.

        Args:
            start: The start as it was counted here.
            stored: The moment of the start in the run.
            alone: Whether no other process counts as well, which does not read the run.
        """
        self.offset += stored.step - start.step
        is_start = stored.epoch + bool(stored.epoch_batch) == start.epoch
        if alone and start.batch is None and stored.batch is not None and is_start:
            since, known = self._seen, stored.batch
            self._seen, self._before_epoch = known + since, known + self._before_epoch
            self._knows_batches = True
            self.offset -= known if self._by_batch else 0

    def start_epoch(self) -> None:
        """Start an epoch."""
        self._before_epoch, self._of_epoch = self._seen, 0

    def finish_batch(self, batch: int, steps: int | None) -> int:
        """Count a finished batch.

        Args:
            batch: Its number in the epoch.
            steps: Number of batches of an epoch; None if Keras does not tell.

        Returns:
            Number of finished batches of this epoch.
        """
        # With steps_per_execution Keras may report more batches than an epoch has.
        self._of_epoch = min(batch + 1, steps or batch + 1)
        self._seen, self._steps = self._before_epoch + self._of_epoch, steps
        return self._of_epoch

    def finish_epoch(self, epoch: int, steps: int | None) -> None:
        """Count a finished epoch.

        Args:
            epoch: Its number, as Keras counts.
            steps: Number of batches of an epoch; None if Keras does not tell.
        """
        self.epochs = self.epochs_before_fit + epoch + 1
        self._of_epoch, self._steps = 0, steps
        if not self._by_batch:
            self._seen = self._before_epoch + (steps or 0)
            self._knows_batches = self._knows_batches and bool(steps)


def batches_before(epoch: int, steps: int | None, folder: StoragePath) -> int | None:
    """Return the number of batches before an epoch; None if it is unknown.

    Args:
        epoch: The epoch.
        steps: Number of batches of an epoch; None if Keras does not tell. Then the run is read.
        folder: The run's folder. Snapshots that cannot be read are skipped.

    Raises:
        FiltertrackError: If the run's manifest is damaged.
    """
    if epoch == 0 or steps:
        return epoch * (steps or 0)
    if not Run.exists(folder):
        return None
    run = Run(folder)
    moments = [moment for moment in _moments(run) if moment.epoch == epoch]
    exact = [m.batch - m.epoch_batch for m in moments if m.batch and m.epoch_batch is not None]
    # Older runs lack the batch of the epoch: the first snapshot after it is the best estimate.
    estimate = min((m.batch for m in moments if m.batch is not None), default=None)
    return exact[-1] if exact else estimate


def _moments(run: Run) -> Iterator[Moment]:
    for step in run.steps:
        with suppress(FiltertrackError):
            yield run.moment(step)
