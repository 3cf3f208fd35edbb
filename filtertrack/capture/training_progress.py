"""How far a training has come: epochs and batches that are finished, as Keras's hooks tell."""

import time
from collections.abc import Iterator, Mapping
from contextlib import suppress

from filtertrack.errors import FiltertrackError
from filtertrack.snapshot import Moment
from filtertrack.storage.paths import StoragePath
from filtertrack.storage.run import Run


class TrainingProgress:
    """Counts what one tracker has seen of a training, over one ``fit`` or several.

    Args:
        by_batch: Whether a step is a batch; else it is an epoch.

    Attributes:
        epochs: Finished epochs.
        epochs_before_fit: Epochs finished before a ``fit`` that counts its own from 0 again.
        offset: How far steps are ahead of what they count: a run that already holds other
            snapshots there goes on after them.

    Example:
        >>> position = TrainingProgress(by_batch=False)
        >>> position.start_fit(0, again=False)
        False
        >>> position.start_epoch()
        >>> position.finish_epoch(0, steps=10)
        >>> position.step, position.epochs, position.batches
        (1, 1, 10)
    """

    def __init__(self, *, by_batch: bool) -> None:
        self.epochs = 0
        self.epochs_before_fit = 0
        self.offset = 0
        self._by_batch = by_batch
        self._planned: int | None = None
        self._seen = 0
        self._knows_batches = True
        self._before_epoch = 0
        self._of_epoch = 0
        self._steps: int | None = None

    @property
    def count(self) -> int:
        """What a step counts: batches or epochs; where those before are not known, those since."""
        return self._seen if self._by_batch else self.epochs

    @property
    def step(self) -> int:
        """The step that a snapshot taken now has."""
        return self.count + self.offset

    @property
    def batches(self) -> int | None:
        """Batches seen since the start of training; None where that is not known."""
        return self._seen if self._knows_batches else None

    def moment(self, metrics: Mapping[str, float]) -> Moment:
        """Return this moment, with these metrics."""
        return Moment(
            self.step,
            self.epochs,
            self.batches,
            metrics,
            time.time(),
            self._planned,
            self._of_epoch,
            self._steps,
        )

    def start_fit(self, epoch: int, *, again: bool, planned: int | None = None) -> bool:
        """Note that a ``fit`` starts with an epoch.

        Args:
            epoch: Its first epoch, as Keras counts.
            again: Whether this tracker has seen the same model's training before.
            planned: The epoch it ends with, as Keras counts; None where Keras does not say.

        Returns:
            Whether it goes on where the last one ended: the batches before are known then.
        """
        goes_on = again and epoch in {0, self.epochs}
        if self._of_epoch and epoch:  # a fit that was interrupted: its epoch is trained again
            self._seen = self._before_epoch
        if epoch or not again:
            self._of_epoch = 0
        self.epochs_before_fit = self.epochs if again and epoch == 0 else 0
        self.epochs = self.epochs_before_fit or epoch
        self._planned = planned and planned + self.epochs_before_fit
        self.offset = 0
        return goes_on

    def start_from(self, batches: int | None) -> None:
        """Note how many batches were seen before the ``fit``; None where that is not known."""
        self._knows_batches = batches is not None
        self._seen = self._before_epoch = batches or 0

    def go_on_from(self, start: Moment, there: Moment, *, alone: bool) -> None:
        """Go on from where the run has the start of a ``fit``.

        Args:
            start: The start as it was counted here.
            there: The same as the run has it.
            alone: Whether no other process counts along, without having seen the run.
        """
        self.offset += there.step - start.step
        is_start = there.epoch + bool(there.epoch_batch) == start.epoch
        if alone and start.batch is None and there.batch is not None and is_start:
            since, known = self._seen, there.batch
            self._seen, self._before_epoch = known + since, known + self._before_epoch
            self._knows_batches = True
            self.offset -= known if self._by_batch else 0

    def start_epoch(self) -> None:
        """Note that an epoch starts."""
        self._before_epoch, self._of_epoch = self._seen, 0

    def finish_batch(self, batch: int, steps: int | None) -> int:
        """Note that a batch is finished.

        Args:
            batch: Its number in the epoch.
            steps: Batches an epoch has; None where Keras does not say.

        Returns:
            Batches of this epoch that are finished.
        """
        # With steps_per_execution Keras may report more batches than an epoch has.
        self._of_epoch = min(batch + 1, steps or batch + 1)
        self._seen, self._steps = self._before_epoch + self._of_epoch, steps
        return self._of_epoch

    def finish_epoch(self, epoch: int, steps: int | None) -> None:
        """Note that an epoch is finished.

        Args:
            epoch: Its number, as Keras counts.
            steps: Batches an epoch has; None where Keras does not say.
        """
        self.epochs = self.epochs_before_fit + epoch + 1
        self._of_epoch, self._steps = 0, steps
        if not self._by_batch:
            self._seen = self._before_epoch + (steps or 0)
            self._knows_batches = self._knows_batches and bool(steps)


def batches_before(epoch: int, steps: int | None, folder: StoragePath) -> int | None:
    """Return how many batches were seen before an epoch; None where nothing says it.

    Args:
        epoch: The epoch.
        steps: Batches an epoch has; None where Keras does not say. Then the run tells.
        folder: Where the run is. Snapshots of it that cannot be read are left out.

    Raises:
        FiltertrackError: If its manifest is damaged.
    """
    if epoch == 0 or steps:
        return epoch * (steps or 0)
    if not Run.exists(folder):
        return None
    run = Run(folder)
    moments = [moment for moment in _moments(run) if moment.epoch == epoch]
    exact = [m.batch - m.epoch_batch for m in moments if m.batch and m.epoch_batch is not None]
    # Older runs do not tell how far an epoch was: the first snapshot after it is the best guess.
    guess = min((m.batch for m in moments if m.batch is not None), default=None)
    return exact[-1] if exact else guess


def _moments(run: Run) -> Iterator[Moment]:
    for step in run.steps:
        with suppress(FiltertrackError):
            yield run.moment(step)
