"""One training: opens its run, takes its snapshots, and stores the final weights."""

import logging
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any

import numpy as np

from filtertrack._version import __version__
from filtertrack.capture.fault_reports import FaultReports
from filtertrack.capture.folder_choice import FolderChoice
from filtertrack.capture.live_picture import LivePicture
from filtertrack.capture.processes import Processes
from filtertrack.capture.run_writer import RunWriter
from filtertrack.capture.schedule import Schedule
from filtertrack.capture.startup_log import announce
from filtertrack.capture.training_progress import TrainingProgress, batches_before
from filtertrack.capture.training_source import PreparedProbes, TrainingSource
from filtertrack.errors import FiltertrackError, show_log
from filtertrack.response import LayerResponse
from filtertrack.snapshot import Moment, Snapshot
from filtertrack.storage.paths import StoragePath

Logs = Mapping[str, Any] | None

TAKE = "take a snapshot"
"""What ``FaultReports`` calls a failure of a snapshot."""
SHOW = "show the probes to the model"
"""What ``FaultReports`` calls a failure of the probes."""
_STORE = "store the probes"
"""What ``FaultReports`` calls a failure to store them."""
_RETRY_PAUSE = 300.0
"""Seconds until a run that could not be opened during training is tried again."""
_log = logging.getLogger("filtertrack")


class TrainingSession:
    """One call of ``fit``, or one training loop of the user's own, in any framework.

    Making one changes nothing. ``begin``, or the first ``snapshot`` of a user's own loop, claims
    and opens the run; then snapshots can be taken until ``close``.

    Args:
        source: The tracked kernels.
        folders: Chooses and claims the run's folder.
        processes: The processes that train together.
        progress: Counts epochs and batches.
        schedule: When snapshots are taken.
        params: Keras's ``params`` of the callbacks: how many epochs and steps are planned, as far
            as it is known. The object itself identifies the training.
        faults: Turns failures into warnings.
        live: Whether a picture below the cell of a notebook follows training: see ``LivePicture``.

    Attributes:
        start: The moment at which the training started; None before ``begin``.
        folder: The run's folder; None before it is chosen.
        is_active: Whether snapshots can be taken.
        last_step: The step of the last snapshot.
    """

    def __init__(
        self,
        source: TrainingSource,
        *,
        folders: FolderChoice,
        processes: Processes,
        progress: TrainingProgress,
        schedule: Schedule,
        params: Mapping[str, Any] | None,
        faults: FaultReports,
        live: bool = False,
    ) -> None:
        show_log()  # before the first message
        self.start: Moment | None = None
        self.folder: StoragePath | None = None
        self.is_active = False
        self.last_step = -1
        self._source = source
        self._folders = folders
        self._processes = processes
        self._progress = progress
        self._schedule = schedule
        self._params = params
        self._faults = faults
        self._live = live
        self._run_writer: RunWriter | None = None
        self._is_needed = True
        self._last_read: tuple[int, int | None] | None = None
        self._initial: Mapping[str, np.ndarray] | None = None
        self._initial_responses: Mapping[str, LayerResponse] = {}
        self._probes: PreparedProbes | None = None
        self._probes_prepared = False
        self._stop_watching: Callable[[], None] = lambda: None
        self._next_attempt = 0.0

    @property
    def layers(self) -> list[str]:
        """The names of the tracked layers; none before the run's folder is chosen."""
        return [info.name for info in self._source.infos] if self.folder else []

    # Beginning.

    def begin(
        self,
        epoch: int,
        *,
        batches: int | None = None,
        again: bool = False,
        run_dir: StoragePath | None = None,
    ) -> None:
        """Claim the folder, and take the snapshot of the weights from which training starts.

        Args:
            epoch: The first epoch, as Keras counts.
            batches: The batches before it; None for those that the epochs, or the run, tell.
            again: Whether the same tracker has seen the same model's training before.
            run_dir: The folder of that earlier training; None for the one that the options choose.

        Raises:
            FiltertrackError: If the folder cannot be written or holds a run. ``close`` must be
                called then.
        """
        progress, source = self._progress, self._source
        continues = progress.start_fit(epoch, again=again, planned=self.planned("epochs"))

        def start() -> int | None:
            # Keras passes the same params to all callbacks of one fit.
            writer = self._folders.for_training(
                self._params, from_start=not (progress.epochs or batches), run_dir=run_dir
            )
            self._run_writer, self.folder = writer, writer.folder
            if batches is not None:
                progress.start_from(batches)
            elif not continues:
                steps = self.planned("steps")
                progress.start_from(batches_before(epoch, steps, writer.folder))
            if source.ready:
                self._open(writer, progress.moment({}))
            return progress.batches

        progress.start_from(self._processes.begin(source, start))
        self.start = self._first_moment()
        self.is_active = True
        if source.ready:
            self._is_needed = self._processes.is_needed(source)
            with self._faults.caught(TAKE):
                self._initial = self._read(progress.count)
                self._initial_responses = self._responses()
                self._begin_from(self.start)
        elif self._processes.writes:
            self._stop_watching = source.watch_first_step()

    def _begin_by_hand(self, moment: Moment) -> None:
        """Claim the folder and open the run for a training loop of the user's own."""
        source = self._source
        if not source.ready:
            source.finish(whole=True)

        def start() -> None:
            writer = self._folders.by_hand(self, moment.step)
            self._run_writer, self.folder = writer, writer.folder
            self._open(writer, moment)
            writer.begin(advice=source.advice_if_unchanged)

        self._processes.begin(source, start)
        self.is_active = True
        self._is_needed = self._processes.is_needed(source)

    def planned(self, what: str) -> int | None:
        """Return how many epochs, or steps an epoch, Keras plans; None if it is unknown."""
        number = (self._params or {}).get(what)
        return int(number) if number else None

    def _first_moment(self) -> Moment:
        moment = self._progress.moment({})
        if moment.step == 0 and self._source.was_trained:
            return replace(moment, note="after earlier training")
        return moment

    def _open(self, writer: RunWriter, start: Moment, *, late: bool = False) -> None:
        source = self._source
        software = {**_own_software(), **source.software()}
        source.rename(writer.open(source.infos, software, source.others, late=late))
        self._prepare_probes(writer)
        if self._live and writer.live_picture is None:
            writer.live_picture = LivePicture.start(source.infos)
        planned, probes = self._planned_snapshots(start), self._probes
        remarks = [*source.remarks, *(probes.remarks if probes else ())]
        stored = probes.stored if probes else None
        events = writer.event_bytes(stored)
        announce(
            writer.folder, source.infos, remarks, planned, stored, events=events, live=self._live
        )

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
            responses = self._initial_responses
            stored = self._run_writer.begin_from(start, self._initial, responses, redo=redo)
            self._progress.continue_from(start, stored, alone=self._processes.alone)
            self.last_step = stored.step
        self._initial, self._initial_responses = None, {}

    # Opening the run during training, if that was impossible before.

    @property
    def is_late(self) -> bool:
        """Whether training has begun without an open run."""
        if self._run_writer is not None:
            return not self._run_writer.is_open
        return self.is_active and not self._source.ready

    def _finish_layers(self) -> None:
        """Describe the layers of a model without a declared input, after they were built."""
        source = self._source
        if source.ready:
            return
        with self._pause_after_failure():
            self._stop_watching()
            source.finish()
        self._is_needed = self._processes.is_needed(source)
        if not self._processes.writes:
            return
        self._initial = source.initial_weights()
        if self._initial is None:
            _log.info(
                "step 0 is missing, because layers were made while the model was already training: "
                "to have it, call the model, or each part of it, on one batch before fit"
            )
        elif source.has_probes:
            _log.info(
                "step 0 holds no responses to the probes, because layers were made while the model "
                "was already training: to have them, call the model on one batch before fit"
            )

    def _open_late(self) -> None:
        start, writer = self.start, self._run_writer
        if start is None or writer is None or writer.is_open:
            return
        with self._pause_after_failure():
            self._open(writer, start, late=True)
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

    def snapshot(self, moment: Moment) -> None:
        """Take a snapshot at a given moment, for a training loop of the user's own.

        Raises:
            FiltertrackError: If the step is not greater than the last. At the first call: if the
                model is not built, the folder cannot be written, or the run there has later
                snapshots. ``close`` must be called then.
        """
        if not self.is_active:
            self._begin_by_hand(moment)
        elif moment.step <= self.last_step:
            raise FiltertrackError(
                f"step {moment.step}: expected more than the last, {self.last_step}"
            )
        with self._faults.caught(TAKE):
            self._put(moment, self._read(moment.step))

    def note(self, logs: Logs) -> None:
        """Remember the present weights without storing them, at the end of an epoch."""
        if not self.is_active or not self._source.ready:
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
        seen = self._last_read == self._progress.position
        arrays = self._read(self._progress.count)
        if arrays is not None and self._run_writer is not None:
            self._run_writer.put_last(
                Snapshot(self._moment(logs), arrays, self._responses()),
                after=self.last_step,
                averaged=self._source.averages_weights,
                seen=seen,
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
            if self._run_writer.is_open:
                self._prepare_probes(self._run_writer)
            self._run_writer.put(Snapshot(moment, arrays, self._responses()))

    def _prepare_probes(self, writer: RunWriter) -> None:
        """Prepare the probes and store them in the run; without them training is as usual."""
        if self._probes_prepared:
            return
        self._probes_prepared, probes = True, None
        with self._faults.caught(SHOW):
            probes = self._source.prepare_probes()
        if probes is None:
            return
        with self._faults.caught(_STORE):
            try:
                writer.store_probes(probes.stored)
            except OSError:
                self._probes_prepared = False  # the next snapshot tries again
                raise
            writer.waiting_bytes = probes.waiting_bytes
            self._probes = probes

    def _responses(self) -> Mapping[str, LayerResponse]:
        """Show the model the probes; after a failure they are not shown again."""
        if self._probes is not None:
            with self._faults.caught(SHOW):
                try:
                    return self._probes.responses(self._responses_failed)
                except Exception:
                    self._probes = None
                    raise
        return {}

    def _responses_failed(self, error: Exception) -> None:
        """Take note of a failure of the background thread."""
        self._probes = None
        self._faults.add(SHOW, error)

    def _read(self, count: int) -> dict[str, np.ndarray] | None:
        """Copy the weights; return None if this process has nothing to write.

        Args:
            count: Identifies the snapshot, with the same value in every process.
        """
        if not self._is_needed:
            return None
        self._source.update()
        arrays = self._processes.read(self._source, count)
        self._last_read = self._progress.position
        return arrays


def check_metrics(metrics: object) -> None:
    """Check that metrics are given by name.

    Raises:
        FiltertrackError: If they are something else than a mapping or None.
    """
    if metrics is not None and not hasattr(metrics, "items"):
        raise FiltertrackError(
            f"metrics: expected name to number, such as {{'loss': 0.5}}, got {metrics!r:.100}"
        )


def numbers_in(logs: Logs) -> dict[str, float]:
    """Return the values of logs or metrics that are single numbers.

    Raises:
        FiltertrackError: If they are not given by name.
    """
    check_metrics(logs)
    kept = {}
    for name, value in (logs or {}).items():
        with suppress(TypeError, ValueError, RuntimeError):  # torch raises the last one
            kept[name] = float(value)
    return kept


def _own_software() -> dict[str, str]:
    return {
        "filtertrack": __version__,
        "numpy": np.__version__,
        "python": sys.version.split()[0],
    }
