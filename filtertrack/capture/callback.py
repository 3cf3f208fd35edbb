"""``FilterTracker``: the Keras callback that stores kernels during training."""

import time
import weakref
from collections.abc import Callable, Mapping
from typing import Any

import keras

from filtertrack.capture.after_callbacks import after_all_callbacks
from filtertrack.capture.dense_images import DenseImages, DenseShapes
from filtertrack.capture.distributed import current_processes
from filtertrack.capture.fault_reports import FaultReports
from filtertrack.capture.folder_choice import Existing, FolderChoice
from filtertrack.capture.layer_kernels import EffectiveKernel
from filtertrack.capture.layer_selection import Selection
from filtertrack.capture.model_checks import check_model
from filtertrack.capture.probes import ProbeImages, Probes, as_probes
from filtertrack.capture.processes import Processes
from filtertrack.capture.schedule import ScheduleLike, make_schedule
from filtertrack.capture.summary_options import ImageLayers, SummaryOptions
from filtertrack.capture.tracked_layers import TrackedLayers
from filtertrack.capture.tracker_text import repr_of, tracker_html
from filtertrack.capture.training_progress import TrainingProgress
from filtertrack.capture.training_session import TAKE, Logs, TrainingSession, numbers_in
from filtertrack.errors import FiltertrackError
from filtertrack.snapshot import Moment
from filtertrack.storage.paths import PathOrAddress, StoragePath, path_of


class FilterTracker(keras.callbacks.Callback):  # type: ignore[misc] # Keras has no types
    """Stores the convolution kernels of a model while ``fit`` trains it.

    Step 0 is the untrained model. Each snapshot is stored under ``log_dir/filters`` and drawn for
    TensorBoard; ``filtertrack animate log_dir`` makes the animation. The training thread only
    copies weights. No fault of this callback stops training, unless ``strict`` is set. If other
    callbacks or the optimizer change the weights at the end of ``fit``, the last snapshot holds the
    weights after that. A copy, or a tracker read from a pickle, starts a new run.

    Args:
        log_dir: The run's folder; created if missing. TensorBoard's ``--logdir`` may be this folder
            or any folder above it. Or an address on object storage that fsspec supports, such as
            ``"s3://bucket/run"``.
        layers: The layers to track: a name, a glob or a class (``"conv1"``, ``"block?/*"``,
            ``keras.layers.Conv2D``), several of these, ``"first"``, a function of the layer, or
            None for every convolution. A function is also called with other layers that have a
            ``kernel`` of three to five axes, in the order of a convolution's axes.
        kernel: A function of the layer that returns the array it convolves with, or None if that is
            the layer's own variable: for weight normalization, masks, or a kernel under another
            name. A layer may also have an attribute ``effective_kernel`` instead.
        dense: Dense layers on flattened images, tracked as filters of that shape beside what
            ``layers`` selects: name or glob to ``(height, width)`` or ``(height, width,
            channels)``, such as ``{"dense": (28, 28)}`` for ``Dense(64)`` on 784 values. Where the
            images were flattened channel after channel, ``(channels, height, width,
            "channels_first")``. Other Dense layers are not tracked.
        schedule: ``"epoch"``: after each epoch. ``"log"``: also at log-spaced batches in the first
            epochs, when filters form. An integer N: every N batches. A function of the finished
            ``(epoch, batch)`` that returns whether to take a snapshot now.
        existing: What to do if training starts from the beginning and the folder already holds a
            run: ``"error"``; ``"new"``: use the next of ``exp1-2``, ``exp1-3``, … after the last
            one in use, as notebooks, folds and tuners need (``run_dir`` is the folder in use);
            ``"replace"``: delete that run. Nothing of a run is overwritten or deleted unless this
            is ``"replace"``, or ``initial_epoch`` repeats training from the same weights that the
            run holds of that epoch.
        keep: A bound on what the run keeps, for a training of months: this many newest snapshots,
            and as many older ones, spaced by the logarithm of their step, so that the beginning
            stays dense. The first and the last snapshot always stay. None keeps all.
        probes: Images that the model is shown at each snapshot, to record what its filters answer
            to: an array as the model takes it, such as ``x_val[:8]``, picture files, a folder of
            them such as ``"photos"``, a batch or dataset, a dict for several inputs, or ``Probes``
            for more; ``Probes`` describes each. Probes that the model does not take are reported
            before the first batch, and training goes on without them.
        images: The layers that have images in TensorBoard: a name or a pattern (``"block1/*"``),
            several, ``"*"`` for all, ``[]`` for none. None for all of up to 8 layers, otherwise
            the first 8 with kernels larger than 1x1. The tab Filters has every layer.
        histograms: Add histograms to TensorBoard: of each layer's weights, their drift and their
            roughness, and of the responses to probes.
        live: In a notebook, show a picture below the cell that follows training: the first grid,
            with the step and the metrics, at most every two seconds. It is drawn in the background,
            and the run's page takes its place at the end. In a script this does nothing.
        strict: Raise when a snapshot is lost, instead of logging a warning.

    Raises:
        FiltertrackError: Before the first batch: the model has no convolution, ``layers``,
            ``dense``, ``images`` or ``schedule`` do not fit, the folder cannot be written or holds
            a run.

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
        dense: DenseShapes | None = None,
        schedule: ScheduleLike = "epoch",
        existing: Existing = "error",
        keep: int | None = None,
        probes: Probes | ProbeImages | None = None,
        images: ImageLayers = None,
        histograms: bool = False,
        live: bool = False,
        strict: bool = False,
    ) -> None:
        super().__init__()
        self.log_dir = path_of(log_dir)
        self._select = layers
        self._kernel = kernel
        self._dense = DenseImages(dense)
        self._probes = as_probes(probes)
        self._schedule_option = schedule
        self._live = live
        self._strict = strict
        summaries = SummaryOptions(images, histograms)
        self._folders = FolderChoice(self.log_dir, existing, keep, strict, summaries=summaries)
        self._reset()

    def _reset(self) -> None:
        """Set every attribute that is not an option of the user."""
        options = set(vars(self))
        self._schedule = make_schedule(self._schedule_option)
        if self._schedule.due is not None:
            # Not a method of the class: Keras would then call it for each batch of every schedule.
            self.on_train_batch_end = self._on_train_batch_end
        self._seen_model: Callable[[], Any] = lambda: None
        self._progress = TrainingProgress(by_batch=self._schedule.counts_batches)
        self._session: TrainingSession | None = None
        self._run_dir: StoragePath | None = None
        self._processes = Processes()  # asking for other processes now would be too early
        self._faults = FaultReports(strict=self._strict)
        self._transient = frozenset(vars(self)) - options | {"_transient"}

    def __getstate__(self) -> dict[str, Any]:
        """Return the options, for pickles and copies, without anything of a training."""
        options = {name: value for name, value in vars(self).items() if name not in self._transient}
        return {**options, "params": None, "_model": None}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        """Restore the options, as a tracker that has seen no training."""
        self.__dict__.update(state)
        self._reset()

    def __repr__(self) -> str:
        """Return the run's folder and the tracked layers."""
        return repr_of(self, self.run_dir, self._session)

    def _repr_html_(self) -> str:
        """Return where the tracker writes, which layers, and how many snapshots."""
        return tracker_html(self, self.run_dir, self._session)

    @property
    def run_dir(self) -> StoragePath:
        """The run's folder: ``log_dir``, unless ``existing="new"`` has chosen one beside it."""
        return self._run_dir or self.log_dir

    def set_model(self, model: Any) -> None:
        """Set the model; ``fit`` calls this.

        Raises:
            FiltertrackError: If it is not a model of Keras 3.
        """
        check_model(model)
        super().set_model(model)

    # Hooks that Keras calls.

    def on_train_begin(self, logs: Logs = None) -> None:  # noqa: ARG002 - Keras's signature
        """Find the layers of the model before training."""
        self.close()
        self._session = None
        self._processes = current_processes()
        if self._processes.takes_part:
            self._session = self._new_session()

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:  # noqa: ARG002
        """Open the run at the first epoch.

        Its number is not known before: ``BackupAndRestore`` changes it after ``on_train_begin``.
        """
        if self._processes.takes_part:
            if self._session is None:  # hooks called without on_train_begin
                raise FiltertrackError("FilterTracker: on_train_begin was not called")
            if self._session.start is None:
                self._begin_fit(self._session, epoch)
        self._progress.start_epoch()

    def _begin_fit(self, session: TrainingSession, epoch: int) -> None:
        again = self._seen_model() is self.model
        try:
            session.begin(epoch, again=again, run_dir=self._run_dir if again else None)
        except BaseException:
            self.close()
            raise
        finally:
            self._run_dir = session.folder or self._run_dir
            if session.start is not None:
                self._seen_model = weakref.ref(self.model)

    def _on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        session, due, before = self._session, self._schedule.due, self._progress.count
        if session is None:
            return
        steps = session.planned("steps")
        of_epoch = self._progress.finish_batch(batch, steps)
        ends_epoch = self._schedule.every_epoch and of_epoch == steps
        with self._faults.caught(TAKE):
            if due and not ends_epoch and due(self._progress.epochs, before, self._progress.count):
                session.take(logs)

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        """Take the epoch's snapshot."""
        session = self._session
        if session is None:
            return
        self._progress.finish_epoch(epoch, session.planned("steps"))
        with self._faults.caught(TAKE):
            if self._schedule.every_epoch:
                session.take(logs)
            else:
                session.note(logs)

    def on_train_end(self, logs: Logs = None) -> None:
        """Take the last snapshot if it is missing, and finish the files.

        Later callbacks in the list may still change the weights, as ``EarlyStopping`` does with
        ``restore_best_weights``, so this happens after the last callback.
        """
        after_all_callbacks(self, lambda: self._end(logs))

    def _end(self, logs: Logs) -> None:
        with self._faults.caught(TAKE):
            if self._session is not None:
                self._session.take_last(logs)
        self.close()

    # For a training loop without ``fit``.

    def snapshot(
        self,
        step: int,
        *,
        epoch: int = 0,
        batch: int | None = None,
        metrics: Mapping[str, float] | None = None,
    ) -> None:
        """Take a snapshot in a training loop of your own.

        The first call opens the run. It continues a run in the folder that ends before this step;
        otherwise ``existing`` applies. With several processes each one calls it, at the same steps;
        process 0 writes (under ``torchrun`` the other processes then do nothing).

        Args:
            step: The number of the snapshot in the run, such as the batches seen. Take step 0
                before training; each step must be greater than the last.
            epoch: Finished epochs.
            batch: Batches seen since the start of training.
            metrics: Name to number, shown in the animation.

        Raises:
            FiltertrackError: If there is no model, it is not built, the step is not greater than
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
        session = self._session
        if session is None or not session.is_active:
            self._processes, session = current_processes(), None
        if not self._processes.takes_part:
            return
        metrics = numbers_in(metrics) if self._processes.writes else {}
        moment = Moment(step, epoch, batch, metrics, time.time())
        if session is None:
            session = self._session = self._new_session()
        try:
            session.snapshot(moment)
        finally:
            if not session.is_active:  # it could not begin
                self.close()
            self._run_dir = session.folder or self._run_dir

    def close(self) -> None:
        """Wait until every snapshot is on disk, and add pictures of the whole evolution.

        To call after the last ``snapshot``, or after an interrupted ``fit``, in which Keras calls
        no hook. Without it the snapshots are still written before the program ends.
        """
        if self._session is not None:
            self._session.close()
        self._faults.report()

    def _new_session(self) -> TrainingSession:
        return TrainingSession(
            TrackedLayers(self.model, self._select, self._kernel, self._dense, self._probes),
            folders=self._folders,
            processes=self._processes,
            progress=self._progress,
            schedule=self._schedule,
            params=self.params,
            faults=self._faults,
            live=self._live,
        )
