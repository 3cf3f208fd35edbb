"""One training of a model: opens its run, takes its snapshots, and stores the final weights."""

import logging
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any

import keras
import numpy as np

from filtertrack._version import __version__
from filtertrack.capture.distributed import Processes
from filtertrack.capture.fault_reports import FaultReports
from filtertrack.capture.folder_choice import FolderChoice
from filtertrack.capture.model_checks import averages_weights, was_trained
from filtertrack.capture.run_writer import RunWriter
from filtertrack.capture.schedule import Schedule
from filtertrack.capture.startup_log import announce
from filtertrack.capture.tracked_layers import TrackedLayers
from filtertrack.capture.training_progress import TrainingProgress, batches_before
from filtertrack.errors import FiltertrackError
from filtertrack.snapshot import Moment, Snapshot
from filtertrack.storage.paths import StoragePath

Logs = Mapping[str, Any] | None

TAKE = "take a snapshot"
"""What ``FaultReports`` calls a failure of a snapshot."""
_RETRY_PAUSE = 300.0
"""Seconds until a run that could not be opened during training is tried again."""
_log = logging.getLogger("filtertrack")


class TrainingSession:
    """One call of ``fit``, or one training loop of the user's own.

    Making one changes nothing. ``begin_fit`` or ``begin_by_hand`` claims and opens the run; then
    snapshots can be taken until ``close``.

    Args:
        model: The model.
        tracked: Its tracked layers.
        folders: Chooses and claims the run's folder.
        processes: The processes that train together.
        progress: Counts epochs and batches.
        schedule: When snapshots are taken.
        params: Keras's ``params`` of the callbacks: how many epochs and steps are planned.
        faults: Turns failures into warnings.

    Attributes:
        start: The moment at which a ``fit`` started; None before ``begin_fit``.
        folder: The run's folder; None before it is chosen.
        is_active: Whether snapshots can be taken.
        last_step: The step of the last snapshot.
    """

    def __init__(
        self,
        model: Any,
        tracked: TrackedLayers,
        *,
        folders: FolderChoice,
        processes: Processes,
        progress: TrainingProgress,
        schedule: Schedule,
        params: Mapping[str, Any] | None,
        faults: FaultReports,
    ) -> None:
        self.start: Moment | None = None
        self.folder: StoragePath | None = None
        self.is_active = False
        self.last_step = -1
        self._model = model
        self._tracked = tracked
        self._folders = folders
        self._processes = processes
        self._progress = progress
        self._schedule = schedule
        self._params = params
        self._faults = faults
        self._run_writer: RunWriter | None = None
        self._is_needed = True
        self._initial: Mapping[str, np.ndarray] | None = None
        self._stop_watching: Callable[[], None] = lambda: None
        self._next_attempt = 0.0

    # Beginning.

    def begin_fit(self, epoch: int, *, again: bool, run_dir: StoragePath | None) -> None:
        """Claim the folder, and take the snapshot of the weights from which training starts.

        Args:
            epoch: The first epoch, as Keras counts.
            again: Whether the same tracker has seen the same model's training before.
            run_dir: The folder of that earlier training; None for the one that the options choose.

        Raises:
            FiltertrackError: If the folder cannot be written or holds a run. ``close`` must be
                called then.
        """
        progress, tracked = self._progress, self._tracked
        continues = progress.start_fit(epoch, again=again, planned=self.planned("epochs"))

        def start() -> int | None:
            # Keras passes the same params to all callbacks of one fit.
            writer = self._folders.for_fit(self._params, progress.epochs, run_dir)
            self._run_writer, self.folder = writer, writer.folder
            if not continues:
                steps = self.planned("steps")
                progress.start_from(batches_before(epoch, steps, writer.folder))
            if tracked.ready:
                self._open(writer, progress.moment({}))
            return progress.batches

        progress.start_from(self._processes.begin(tracked, start))
        self.start = self._first_moment()
        self.is_active = True
        if tracked.ready:
            self._is_needed = self._processes.is_needed(tracked)
            with self._faults.caught(TAKE):
                self._initial = self._read(progress.count)
                self._begin_from(self.start)
        elif self._processes.writes:
            self._stop_watching = tracked.watch_first_step()

    def begin_by_hand(self, moment: Moment) -> None:
        """Claim the folder and open the run for a training loop of the user's own.

        Args:
            moment: The moment of the first snapshot.

        Raises:
            FiltertrackError: If the model is not built, the folder cannot be written, or the run
                there has later snapshots. ``close`` must be called then.
        """
        if not self._tracked.ready:
            self._tracked.finish(whole=True)

        def start() -> None:
            writer = self._folders.by_hand(self, moment.step)
            self._run_writer, self.folder = writer, writer.folder
            self._open(writer, moment)
            writer.begin(by_hand=True)

        self._processes.begin(self._tracked, start)
        self.is_active = True
        self._is_needed = self._processes.is_needed(self._tracked)

    def planned(self, what: str) -> int | None:
        """Return how many epochs, or steps an epoch, Keras plans; None if it is unknown."""
        number = (self._params or {}).get(what)
        return int(number) if number else None

    def _first_moment(self) -> Moment:
        moment = self._progress.moment({})
        if moment.step == 0 and was_trained(self._model):
            return replace(moment, note="after earlier training")
        return moment

    def _open(self, writer: RunWriter, start: Moment) -> None:
        tracked = self._tracked
        tracked.rename(writer.open(tracked.infos, _software(), tracked.others))
        announce(writer.folder, tracked.infos, tracked.remarks, self._planned_snapshots(start))

    def _planned_snapshots(self, start: Moment) -> int | None:
        epochs = self.planned("epochs")
        left = epochs and max(0, epochs - start.epoch + self._progress.epochs_before_fit)
        planned = left and self._schedule.planned(left, self.planned("steps"))
        if planned and self._folders.keep:
            planned = min(planned, 2 * self._folders.keep)
        return planned

    def _begin_from(self, start: Moment) -> None:
        """Continue the run from where training starts; this may shift the following steps."""
        self.last_step = start.step
        if self._run_writer is not None:
            redo = self._folders.replaces
            stored = self._run_writer.begin_from(start, self._initial, redo=redo)
            self._progress.continue_from(start, stored, alone=self._processes.alone)
            self.last_step = stored.step
        self._initial = None

    # Opening the run during training, if that was impossible before.

    @property
    def is_late(self) -> bool:
        """Whether training has begun without an open run."""
        if self._run_writer is not None:
            return not self._run_writer.is_open
        return self.is_active and not self._tracked.ready

    def _finish_layers(self) -> None:
        """Describe the layers of a model without a declared input, after they were built."""
        tracked = self._tracked
        if tracked.ready:
            return
        with self._pause_after_failure():
            self._stop_watching()
            tracked.finish()
        self._is_needed = self._processes.is_needed(tracked)
        if not self._processes.writes:
            return
        self._initial = tracked.initial_weights()
        if self._initial is None:
            _log.info(
                "step 0 is missing, because layers were made while the model was already training: "
                "to have it, call the model, or each part of it, on one batch before fit"
            )

    def _open_late(self) -> None:
        start, writer = self.start, self._run_writer
        if start is None or writer is None or writer.is_open:
            return
        with self._pause_after_failure():
            self._open(writer, start)
            self._begin_from(start)

    @contextmanager
    def _pause_after_failure(self) -> Iterator[None]:
        """Refuse to run the block for some time after it failed, since each attempt may be slow."""
        if time.monotonic() < self._next_attempt:
            raise FiltertrackError("the run could not be opened a moment ago")
        try:
            yield
        except Exception:
            self._next_attempt = time.monotonic() + _RETRY_PAUSE
            raise

    # Taking snapshots.

    def take(self, logs: Logs) -> None:
        """Take a snapshot of the present weights."""
        if not self.is_active:
            return
        self._finish_layers()
        count = self._progress.count
        try:
            self._open_late()
        finally:
            # Also if it cannot be opened: every process is needed to read sharded kernels.
            arrays = self._read(count)
        self._put(self._moment(logs), arrays)

    def take_at(self, moment: Moment) -> None:
        """Take a snapshot at a given moment, for a training loop of the user's own."""
        self._put(moment, self._read(moment.step))

    def note(self, logs: Logs) -> None:
        """Remember the present weights without storing them, at the end of an epoch."""
        if not self.is_active or not self._tracked.ready:
            return
        arrays = self._read(self._progress.count)
        if arrays is not None and self._run_writer is not None:
            self._run_writer.note(self._moment(logs), arrays)

    def take_last(self, logs: Logs) -> None:
        """Take the final weights of the model; they are stored if the run lacks them."""
        if self.is_late:
            self.take(logs)
            return
        if not self.is_active:
            return
        arrays = self._read(self._progress.count)
        if arrays is not None and self._run_writer is not None:
            self._run_writer.put_last(
                Snapshot(self._moment(logs), arrays),
                after=self.last_step,
                averaged=averages_weights(self._model.optimizer),
            )

    def close(self) -> None:
        """Wait until everything is written, and finish the files."""
        self._stop_watching()
        self.is_active = False
        writer, self._run_writer = self._run_writer, None
        if writer is not None:
            with self._faults.caught("finish the run"):
                writer.close()

    def _moment(self, logs: Logs) -> Moment:
        # Converting a metric waits for the device, so that only the process that writes does it.
        return self._progress.moment(numbers_in(logs) if self._processes.writes else {})

    def _put(self, moment: Moment, arrays: Mapping[str, np.ndarray] | None) -> None:
        self.last_step = moment.step
        if arrays is not None and self._run_writer is not None:
            self._run_writer.put(Snapshot(moment, arrays))

    def _read(self, count: int) -> dict[str, np.ndarray] | None:
        """Copy the weights; return None if this process has nothing to write.

        Args:
            count: Identifies the snapshot, with the same value in every process.
        """
        if not self._is_needed:
            return None
        synchronize = getattr(self._model, "jax_state_sync", None)
        if synchronize is not None and keras.backend.backend() == "jax":
            synchronize()  # copies the trained state into the model's variables
        return self._processes.read(self._tracked, count)


def numbers_in(logs: Logs) -> dict[str, float]:
    """Return the values of Keras's logs that are single numbers."""
    kept = {}
    for name, value in (logs or {}).items():
        with suppress(TypeError, ValueError):
            kept[name] = float(value)
    return kept


def _software() -> dict[str, str]:
    return {
        "filtertrack": __version__,
        "keras": keras.__version__,
        "backend": keras.backend.backend(),
        "numpy": np.__version__,
        "python": sys.version.split()[0],
    }
