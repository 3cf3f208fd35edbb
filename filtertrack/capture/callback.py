"""The callback: takes a snapshot when one is due and hands it to the background."""

import logging
import sys
import time
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any

try:
    import keras
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        "FilterTracker needs Keras and one of its backends: pip install 'filtertrack[tensorflow]' "
        "(or [jax], or [torch])"
    ) from error
import numpy as np

import filtertrack
from filtertrack.capture.after_callbacks import after_all_callbacks
from filtertrack.capture.distributed import Processes, here
from filtertrack.capture.fault_reports import FaultReports
from filtertrack.capture.folder_choice import Existing, FolderChoice
from filtertrack.capture.layer_kernels import EffectiveKernel
from filtertrack.capture.layer_selection import Selection
from filtertrack.capture.model_checks import averages_weights, check_model, was_trained
from filtertrack.capture.run_writer import RunWriter
from filtertrack.capture.schedule import ScheduleLike, make_schedule
from filtertrack.capture.startup_log import announce
from filtertrack.capture.tracked_layers import TrackedLayers
from filtertrack.capture.training_progress import TrainingProgress, batches_before
from filtertrack.errors import FiltertrackError
from filtertrack.snapshot import Moment, Snapshot
from filtertrack.storage.paths import PathOrAddress, StoragePath, path_of

Logs = Mapping[str, Any] | None

_log = logging.getLogger("filtertrack")
_TAKE = "take a snapshot"
_PAUSE = 300.0
"""Seconds until a run that could not be opened in mid-training is tried again."""


class FilterTracker(keras.callbacks.Callback):  # type: ignore[misc] # Keras has no types
    """Keeps the convolution kernels of a model while ``fit`` trains it.

    Step 0 is the untrained model. Each snapshot is stored under ``log_dir/filters`` and drawn for
    TensorBoard; ``filtertrack animate log_dir`` makes the animation. The training thread only
    copies weights. No fault of this callback stops training, unless ``strict`` asks for that. Where
    other callbacks or the optimizer change the weights at the end of ``fit``, the last snapshot is
    what the model holds then. A copy, or what is read from a pickle, starts a run of its own.

    Args:
        log_dir: The run's folder; made where it is missing. Also what TensorBoard's ``--logdir``
            may be given (or any folder above it). Or an address on object storage, such as
            ``"s3://bucket/run"``: any that fsspec knows.
        layers: Which layers: a name, a glob or a class (``"conv1"``, ``"block?/*"``,
            ``keras.layers.Conv2D``), several of these, ``"first"``, a function of the layer, or
            None for every convolution. A function is also shown other layers that own a
            ``kernel`` of three to five axes, ordered as a convolution's.
        kernel: A function of the layer that returns the array it convolves with, or None where that
            is the layer's own variable: for weight normalization, masks, or a kernel under another
            name. A layer may also name it itself, as an attribute ``effective_kernel``.
        schedule: ``"epoch"``: after each epoch. ``"log"``: also at log-spaced batches in the first
            epochs, when filters form. A whole number N: every N batches. A function of the finished
            ``(epoch, batch)`` that says whether to take one now.
        existing: What to do when training starts from the beginning and the folder already holds a
            run: ``"error"``; ``"new"``: take the next of ``exp1-2``, ``exp1-3``, … after the last
            one in use, as notebooks, folds and tuners need (``run_dir`` tells which); ``"replace"``
            it. Nothing of a run is overwritten or deleted unless this is ``"replace"`` or
            ``initial_epoch`` trains the very weights again that the run holds of that epoch.
        keep: A bound on what the run keeps, for a training of months: the newest so many snapshots,
            and as many older ones, spaced by the logarithm of their step, so that the beginning
            stays dense. The first and the last always stay. None keeps all.
        strict: Raise when a snapshot is lost, instead of a warning.

    Raises:
        FiltertrackError: Before the first batch: the model has no convolution, ``layers`` or
            ``schedule`` do not fit, the folder cannot be written or holds a run.

    Example:
        >>> model.fit(x, y, epochs=30,
        ...           callbacks=[FilterTracker("runs/exp1", schedule="log")])  # doctest: +SKIP
    """

    def __init__(
        self,
        log_dir: PathOrAddress,
        *,
        layers: Selection = None,
        kernel: EffectiveKernel | None = None,
        schedule: ScheduleLike = "epoch",
        existing: Existing = "error",
        keep: int | None = None,
        strict: bool = False,
    ) -> None:
        super().__init__()
        self.log_dir = path_of(log_dir)
        self._select = layers
        self._kernel = kernel
        self._asked = schedule
        self._strict = strict
        self._folders = FolderChoice(self.log_dir, existing, keep, strict)
        self._start_anew()

    def _start_anew(self) -> None:
        """Set everything that is not what the user gave."""
        given = set(vars(self))
        self._schedule = make_schedule(self._asked)
        if self._schedule.due is not None:
            # Keras pays for a batch hook each batch as soon as a class defines one.
            self.on_train_batch_end = self._on_train_batch_end
        self._seen_model: Callable[[], Any] = lambda: None
        self._position = TrainingProgress(by_batch=self._schedule.counts_batches)
        self._recording: RunWriter | None = None
        self._run_dir: StoragePath | None = None
        self._processes = Processes()  # whether there are others is not to be asked yet
        self._faults = FaultReports(strict=self._strict)
        self._forget_fit()
        self._not_given = frozenset(vars(self)) - given | {"_not_given"}

    def __getstate__(self) -> dict[str, Any]:
        """Pickle and copy what the user gave, and nothing of a training."""
        given = {name: value for name, value in vars(self).items() if name not in self._not_given}
        return {**given, "params": None, "_model": None}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        """Be a tracker that has seen no training yet."""
        self.__dict__.update(state)
        self._start_anew()

    @property
    def run_dir(self) -> StoragePath:
        """The run's folder: ``log_dir``, unless ``existing="new"`` has chosen one beside it."""
        return self._run_dir or self.log_dir

    def _forget_fit(self) -> None:
        """Set everything that belongs to one call of ``fit``."""
        self._under_way = False
        self._is_needed = True
        self._tracked: TrackedLayers | None = None
        self._start: Moment | None = None
        self._initial: Mapping[str, np.ndarray] | None = None
        self._stop_watching: Callable[[], None] = lambda: None
        self._open_again = 0.0
        self._last_step = -1

    def set_model(self, model: Any) -> None:
        """Take the model; ``fit`` does that by itself.

        Raises:
            FiltertrackError: If it is no model of Keras 3.
        """
        check_model(model)
        super().set_model(model)

    # Keras calls these.

    def on_train_begin(self, logs: Logs = None) -> None:  # noqa: ARG002 - Keras's signature
        """Look at the model, before anything is trained."""
        self.close()
        self._forget_fit()
        self._processes = here()
        if self._processes.takes_part:
            self._tracked = TrackedLayers(self.model, self._select, self._kernel)

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:  # noqa: ARG002
        """Start with the first epoch: only now is it known which one that is.

        ``BackupAndRestore`` moves it after ``on_train_begin``.
        """
        if self._start is None and self._processes.takes_part:
            self._begin(epoch)
        self._position.start_epoch()

    def _on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        due, before = self._schedule.due, self._position.count
        steps = self._planned("steps")
        of_epoch = self._position.finish_batch(batch, steps)
        upto = self._position.count
        ends_epoch = self._schedule.every_epoch and of_epoch == steps
        with self._faults.caught(_TAKE):
            if due is not None and not ends_epoch and due(self._position.epochs, before, upto):
                self._take(logs)

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        """Take the epoch's snapshot."""
        self._position.finish_epoch(epoch, self._planned("steps"))
        with self._faults.caught(_TAKE):
            if self._schedule.every_epoch:
                self._take(logs)
            else:
                self._note(logs)

    def on_train_end(self, logs: Logs = None) -> None:
        """Take the last snapshot where it is missing, and finish the files.

        Callbacks that come later in the list may still change the weights, as ``EarlyStopping``
        does with ``restore_best_weights``. So this waits until the last one has ended.
        """
        after_all_callbacks(self, lambda: self._end(logs))

    def _end(self, logs: Logs) -> None:
        with self._faults.caught(_TAKE):
            if self._is_late:
                self._take(logs)
            else:
                self._take_last(logs)
        self.close()

    # The user calls these, in a training loop without ``fit``.

    def snapshot(
        self,
        step: int,
        *,
        epoch: int = 0,
        batch: int | None = None,
        metrics: Mapping[str, float] | None = None,
    ) -> None:
        """Take a snapshot by hand, in a training loop of your own.

        The first call opens the run. It goes on with the one that is there if that ends before this
        step; else see ``existing``. In several processes each calls it, at the same steps; process
        0 writes (under ``torchrun`` the others then do nothing).

        Args:
            step: The snapshot's place in the run, such as the batches seen. Take step 0 before
                training; a later one must be higher than the last.
            epoch: Finished epochs.
            batch: Batches seen since the start of training.
            metrics: Name to number, shown in the animation.

        Raises:
            FiltertrackError: If there is no model, it is not built, the step is not higher than
                the last, or the run cannot be opened.

        Example:
            >>> tracker = FilterTracker("runs/gan")  # doctest: +SKIP
            >>> tracker.set_model(discriminator)  # doctest: +SKIP
            >>> for step in range(1000):  # doctest: +SKIP
            ...     if step % 100 == 0:
            ...         tracker.snapshot(step)
            ...     discriminator.train_on_batch(x, y)
            >>> tracker.close()  # doctest: +SKIP
        """
        if self.model is None:
            raise FiltertrackError("no model to take a snapshot of: call tracker.set_model(model)")
        if not self._under_way:
            self._processes = here()
        if not self._processes.takes_part:
            return
        shown = _numbers(metrics) if self._processes.writes else {}
        moment = Moment(step, epoch, batch, shown, time.time())
        if not self._under_way:
            self._begin_by_hand(moment)
        elif moment.step <= self._last_step:
            raise FiltertrackError(f"step {step}: expected more than the last, {self._last_step}")
        with self._faults.caught(_TAKE):
            self._put(moment, self._read(moment.step))

    def close(self) -> None:
        """Wait until everything taken is on disk, and add pictures of the whole evolution.

        To call after the last ``snapshot``, or after a ``fit`` that was interrupted: Keras calls no
        hook then. Without it the end of the program waits for the snapshots all the same.
        """
        self._stop_watching()
        self._under_way = False
        recording, self._recording = self._recording, None
        if recording is not None:
            with self._faults.caught("finish the run"):
                recording.close()
        self._faults.report()

    # Beginning.

    def _begin(self, epoch: int) -> None:
        """Check the folder, and take the snapshot that training starts from."""
        if self._tracked is None:  # hooks called without on_train_begin
            raise FiltertrackError("FilterTracker: on_train_begin was not called")
        tracked = self._tracked
        position = self._position
        again = self._seen_model() is self.model
        goes_on = position.start_fit(epoch, again=again, planned=self._planned("epochs"))

        def start() -> int | None:
            # Keras hands all callbacks of one fit the same params.
            run_dir = self._run_dir if again else None
            self._recording = self._folders.for_fit(self.params, position.epochs, run_dir)
            self._run_dir = self._recording.folder
            if not goes_on:
                steps = self._planned("steps")
                position.start_from(batches_before(epoch, steps, self.run_dir))
            if tracked.ready:
                self._open(tracked, position.moment({}))
            return position.batches

        try:
            position.start_from(self._processes.begin(tracked, start))
        except BaseException:
            self.close()
            raise
        self._seen_model = weakref.ref(self.model)
        self._start = self._first_moment()
        self._under_way = True
        if tracked.ready:
            self._is_needed = self._processes.is_needed(tracked)
            with self._faults.caught(_TAKE):
                self._initial = self._read(position.count)
                self._begin_from(self._start)
        elif self._processes.writes:
            self._stop_watching = tracked.watch_first_step()

    def _first_moment(self) -> Moment:
        moment = self._position.moment({})
        if moment.step == 0 and was_trained(self.model):
            return replace(moment, note="after earlier training")
        return moment

    def _begin_from(self, start: Moment) -> None:
        """Let the run go on from where training starts; that may make its steps later ones."""
        self._last_step = start.step
        if self._recording is not None:
            redo = self._folders.replaces
            there = self._recording.begin_from(start, self._initial, redo=redo)
            self._position.go_on_from(start, there, alone=self._processes.alone)
            self._last_step = there.step
        self._initial = None

    def _begin_by_hand(self, moment: Moment) -> None:
        self._forget_fit()
        self._tracked = TrackedLayers(self.model, self._select, self._kernel)
        tracked = self._tracked
        if not tracked.ready:
            tracked.finish(whole=True)

        def start() -> None:
            self._recording = self._folders.by_hand(self, moment.step)
            self._run_dir = self._recording.folder
            self._open(tracked, moment)
            self._recording.begin(by_hand=True)

        try:
            self._processes.begin(tracked, start)
        except BaseException:
            self.close()
            raise
        self._under_way = True
        self._is_needed = self._processes.is_needed(tracked)

    def _planned(self, what: str) -> int | None:
        """Return how many epochs, or steps an epoch, Keras plans; None where it does not say."""
        number = (self.params or {}).get(what)
        return int(number) if number else None

    def _open(self, tracked: TrackedLayers, start: Moment) -> None:
        if self._recording is None:
            return
        held = self._recording.open(tracked.infos, _software(), tracked.others)
        tracked.rename(held)
        epochs = self._planned("epochs")
        left = epochs and max(0, epochs - start.epoch + self._position.epochs_before_fit)
        planned = left and self._schedule.planned(left, self._planned("steps"))
        if planned and self._folders.keep:
            planned = min(planned, 2 * self._folders.keep)
        announce(self._recording.folder, tracked.infos, tracked.remarks, planned)

    def _finish_late(self) -> None:
        """Describe the layers of a model without a declared input, now that they are built."""
        tracked = self._tracked
        if tracked is None or tracked.ready:
            return
        with self._tried_seldom():
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
        """Open the run now, where that could not be done when training began."""
        tracked, start, recording = self._tracked, self._start, self._recording
        if tracked is None or start is None or recording is None or recording.is_open:
            return
        with self._tried_seldom():
            self._open(tracked, start)
            self._begin_from(start)

    @contextmanager
    def _tried_seldom(self) -> Iterator[None]:
        """Do what may take long when it fails: then it is not tried again at each batch."""
        if time.monotonic() < self._open_again:
            raise FiltertrackError("the run could not be opened a moment ago")
        try:
            yield
        except Exception:
            self._open_again = time.monotonic() + _PAUSE
            raise

    # Taking snapshots.

    @property
    def _is_late(self) -> bool:
        """Whether the run is not open, although training has begun."""
        if self._recording is not None:
            return not self._recording.is_open
        return self._under_way and self._tracked is not None and not self._tracked.ready

    def _take(self, logs: Logs) -> None:
        if not self._under_way:
            return
        self._finish_late()
        count = self._position.count
        try:
            self._open_late()
        finally:
            # Also where it cannot be opened: to read sharded kernels takes every process.
            arrays = self._read(count)
        self._put(self._moment(logs), arrays)

    def _moment(self, logs: Logs) -> Moment:
        # A metric may be on a device that still works on it: only who writes it down waits.
        return self._position.moment(_numbers(logs) if self._processes.writes else {})

    def _put(self, moment: Moment, arrays: Mapping[str, np.ndarray] | None) -> None:
        """Hand the weights of a moment over, where this process has any."""
        self._last_step = moment.step
        if arrays is not None and self._recording is not None:
            self._recording.put(Snapshot(moment, arrays))

    def _note(self, logs: Logs) -> None:
        """Remember the weights that an epoch ends with, where it takes no snapshot of them."""
        if not self._under_way or self._tracked is None or not self._tracked.ready:
            return
        arrays = self._read(self._position.count)
        if arrays is not None and self._recording is not None:
            self._recording.note(self._moment(logs), arrays)

    def _take_last(self, logs: Logs) -> None:
        """Hand over what the model holds in the end; it is stored if the run lacks it."""
        if not self._under_way:
            return
        arrays = self._read(self._position.count)
        if arrays is not None and self._recording is not None:
            self._recording.put_last(
                Snapshot(self._moment(logs), arrays),
                after=self._last_step,
                averaged=averages_weights(self.model.optimizer),
            )

    def _read(self, count: int) -> dict[str, np.ndarray] | None:
        """Copy the weights; None where this process has nothing to write.

        Args:
            count: What tells this snapshot from others, the same in every process.
        """
        if self._tracked is None or not self._is_needed:
            return None
        _ = self.model  # on jax this brings the trained state back into the model's variables
        return self._processes.read(self._tracked, count)


def _numbers(logs: Logs) -> dict[str, float]:
    """Keep of Keras's logs what is one number."""
    kept = {}
    for name, value in (logs or {}).items():
        with suppress(TypeError, ValueError):
            kept[name] = float(value)
    return kept


def _software() -> dict[str, str]:
    return {
        "filtertrack": filtertrack.__version__,
        "keras": keras.__version__,
        "backend": keras.backend.backend(),
        "numpy": np.__version__,
        "python": sys.version.split()[0],
    }
