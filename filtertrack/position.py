"""How far a training has come: epochs and batches that are finished, as Keras's hooks tell."""

import time
from collections.abc import Mapping

from filtertrack.places import Place
from filtertrack.snapshot import Moment
from filtertrack.store import Run


class Position:
    """Counts what one tracker has seen of a training, over one ``fit`` or several.

    Args:
        by_batch: Whether a step is a batch; else it is an epoch.

    Attributes:
        epochs: Finished epochs.
        batches: Batches seen; None where Keras does not say.
        epochs_before_fit: Epochs finished before a ``fit`` that counts its own from 0 again.

    Example:
        >>> position = Position(by_batch=False)
        >>> position.start_fit(0, again=False)
        False
        >>> position.finish_epoch(0, steps=10)
        >>> position.step, position.epochs, position.batches
        (1, 1, 10)
    """

    def __init__(self, *, by_batch: bool) -> None:
        self.epochs = 0
        self.batches: int | None = 0
        self._by_batch = by_batch
        self.epochs_before_fit = 0
        self._batches_before_epoch = 0

    @property
    def step(self) -> int:
        """The step that a snapshot taken now has."""
        return (self.batches or 0) if self._by_batch else self.epochs

    def moment(self, metrics: Mapping[str, float]) -> Moment:
        """Return this moment, with these metrics."""
        return Moment(self.step, self.epochs, self.batches, metrics, time.time())

    def start_fit(self, epoch: int, *, again: bool) -> bool:
        """Note that a ``fit`` starts with an epoch.

        Args:
            epoch: Its first epoch, as Keras counts.
            again: Whether this tracker has seen the same model's training before.

        Returns:
            Whether it goes on where the last one ended: the batches before are known then.
        """
        goes_on = again and epoch in {0, self.epochs}
        self.epochs_before_fit = self.epochs if again and epoch == 0 else 0
        self._batches_before_epoch = 0
        self.epochs = self.epochs_before_fit or epoch
        return goes_on

    def start_epoch(self) -> None:
        """Note that an epoch starts."""
        if self.batches is not None:
            self._batches_before_epoch = self.batches

    def finish_batch(self, batch: int, steps: int | None) -> int:
        """Note that a batch is finished.

        Args:
            batch: Its number in the epoch.
            steps: Batches an epoch has; None where Keras does not say.

        Returns:
            Batches of this epoch that are finished.
        """
        # With steps_per_execution Keras may report more batches than an epoch has.
        of_epoch = min(batch + 1, steps or batch + 1)
        self.batches = self._batches_before_epoch + of_epoch
        return of_epoch

    def finish_epoch(self, epoch: int, steps: int | None) -> None:
        """Note that an epoch is finished.

        Args:
            epoch: Its number, as Keras counts.
            steps: Batches an epoch has; None where Keras does not say.
        """
        self.epochs = self.epochs_before_fit + epoch + 1
        if not self._by_batch:
            self.batches = steps and steps * self.epochs


def batches_before(epoch: int, steps: int | None, folder: Place) -> int | None:
    """Return how many batches were seen before an epoch; None where nothing says it.

    Args:
        epoch: The epoch.
        steps: Batches an epoch has; None where Keras does not say. Then the run tells.
        folder: What the tracker was given.

    Raises:
        FiltertrackError: If the run that is there is damaged.
    """
    if epoch == 0 or steps:
        return epoch * (steps or 0)
    if not Run.exists(folder):
        return None
    run = Run(folder)
    known = [(m.epoch, m.batch) for m in map(run.moment, run.steps) if m.batch is not None]
    at = [batch for there, batch in known if there == epoch]
    before = [batch for there, batch in known if there < epoch]
    return min(at) if at else max(before, default=None)
