"""The callback: takes a snapshot when one is due and hands it to the background."""

import logging
import sys
import time
import weakref
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, Literal

try:
    import keras
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        "FilterTracker needs Keras and one of its backends: pip install 'filtertrack[tensorflow]' "
        "(or [jax], or [torch])"
    ) from error
import numpy as np

import filtertrack
from filtertrack.errors import FiltertrackError
from filtertrack.layer_kernels import EffectiveKernel
from filtertrack.layers import TrackedLayers
from filtertrack.places import PlaceLike, place_of
from filtertrack.position import Position, batches_before
from filtertrack.processes import Processes, here
from filtertrack.recording import Recording, announce
from filtertrack.schedule import ScheduleLike, make_schedule
from filtertrack.selection import Selection
from filtertrack.snapshot import Moment, Snapshot
from filtertrack.thinning import check_keep

Existing = Literal["error", "replace"]
Logs = Mapping[str, Any] | None

_log = logging.getLogger("filtertrack")
_TAKE = "take a snapshot"
_PAUSE = 300.0
"""Seconds until a run that could not be opened in mid-training is tried again."""


class FilterTracker(keras.callbacks.Callback):  # type: ignore[misc] # Keras has no types
    """Keeps the convolution kernels of a model while ``fit`` trains it.

    Step 0 is the untrained model. Each snapshot is stored under ``log_dir/filters`` and drawn for
    TensorBoard; ``filtertrack animate log_dir`` makes the animation. The training thread only
    copies weights. No fault of this callback stops training, unless ``strict`` asks for that.

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
            run: ``"error"``, or ``"replace"`` it.
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
        log_dir: PlaceLike,
        *,
        layers: Selection = None,
        kernel: EffectiveKernel | None = None,
        schedule: ScheduleLike = "epoch",
        existing: Existing = "error",
        keep: int | None = None,
        strict: bool = False,
    ) -> None:
        super().__init__()
        if existing not in {"error", "replace"}:
            raise FiltertrackError(f"existing: expected 'error' or 'replace', got {existing!r}")
        self.log_dir = place_of(log_dir)
        self._select = layers
        self._kernel = kernel
        self._schedule = make_schedule(schedule)
        self._existing = existing
        if keep is not None:
            check_keep(keep)
        self._keep = keep
        self._strict = strict
        if self._schedule.due is not None:
            # Keras pays for a batch hook each batch as soon as a class defines one.
            self.on_train_batch_end = self._on_train_batch_end
        self._seen_model: Callable[[], Any] = lambda: None
        self._position = Position(by_batch=self._schedule.counts_batches)
        self._recording: Recording | None = None
        self._processes = Processes()  # whether there are others is not to be asked yet
        self._forget_fit()

    def _forget_fit(self) -> None:
        """Set everything that belongs to one call of ``fit``."""
        self._under_way = False
        self._is_needed = True
        self._tracked: TrackedLayers | None = None
        self._start: Moment | None = None
        self._stop_watching: Callable[[], None] = lambda: None
        self._open_again = 0.0
        self._last_step = -1
        self._faults: Counter[str] = Counter()

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
        due, before = self._schedule.due, self._position.batches or 0
        steps = self._planned("steps")
        of_epoch = self._position.finish_batch(batch, steps)
        upto = self._position.batches or 0
        ends_epoch = self._schedule.every_epoch and of_epoch == steps
        with self._faults_reported(_TAKE):
            if due is not None and not ends_epoch and due(self._position.epochs, before, upto):
                self._take(logs)

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        """Take the epoch's snapshot."""
        self._position.finish_epoch(epoch, self._planned("steps"))
        if self._schedule.every_epoch:
            with self._faults_reported(_TAKE):
                self._take(logs)

    def on_train_end(self, logs: Logs = None) -> None:
        """Take the last snapshot where it is missing, and finish the files."""
        with self._faults_reported(_TAKE):
            if self._last_step != self._position.step:
                self._take(logs)
        self.close()

    # The user calls these, in a training loop without ``fit``.

    def snapshot(
        self, step: int, *, epoch: int = 0, metrics: Mapping[str, float] | None = None
    ) -> None:
        """Take a snapshot by hand, in a training loop of your own.

        The first call opens the run: from step 0 the folder must hold none (see ``existing``);
        from a later step it goes on with the one that is there. In several processes each calls
        it, at the same steps; process 0 writes (under ``torchrun`` the others then do nothing).

        Args:
            step: The snapshot's place in the run, such as the batches seen. Take step 0 before
                training; a later one must be higher than the last.
            epoch: Finished epochs.
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
        moment = Moment(step, epoch, None, shown, time.time())
        if not self._under_way:
            self._begin_by_hand(moment)
        elif step <= self._last_step:
            raise FiltertrackError(f"step {step}: expected more than the last, {self._last_step}")
        with self._faults_reported(_TAKE):
            self._put(moment)

    def close(self) -> None:
        """Wait until everything taken is on disk, and add pictures of the whole evolution.

        To call after the last ``snapshot``, or after a ``fit`` that was interrupted: Keras calls no
        hook then. Without it the end of the program waits for the snapshots all the same.
        """
        self._stop_watching()
        self._under_way = False
        recording, self._recording = self._recording, None
        if recording is not None:
            with self._faults_reported("finish the run"):
                recording.close()
        for what, count in self._faults.items():
            if count > 1:
                _log.warning("%d times: could not %s", count, what)
        self._faults.clear()

    # Beginning.

    def _begin(self, epoch: int) -> None:
        """Check the folder, and take the snapshot that training starts from."""
        if self._tracked is None:  # hooks called without on_train_begin
            raise FiltertrackError("FilterTracker: on_train_begin was not called")
        tracked = self._tracked
        position = self._position
        again = self._seen_model() is self.model and position.epochs > 0
        self._seen_model = weakref.ref(self.model)
        goes_on = position.start_fit(epoch, again=again)

        def start() -> int | None:
            if not goes_on:
                position.batches = batches_before(epoch, self._planned("steps"), self.log_dir)
            self._start = position.moment({})
            # Keras hands all callbacks of one fit the same params.
            self._claim(self._start, session=self.params)
            if tracked.ready:
                self._open(tracked, self._start)
            return position.batches

        position.batches = self._processes.begin(tracked, start)
        self._start = self._start or position.moment({})
        self._under_way = True
        if tracked.ready:
            self._is_needed = self._processes.is_needed(tracked)
            with self._faults_reported(_TAKE):
                self._take(None)
        elif self._processes.writes:
            self._stop_watching = tracked.watch_first_step()

    def _begin_by_hand(self, moment: Moment) -> None:
        self._forget_fit()
        self._tracked = TrackedLayers(self.model, self._select, self._kernel)
        tracked = self._tracked
        if not tracked.ready:
            _check_built(tracked)
            tracked.finish()

        def start() -> None:
            self._claim(moment, session=self)
            self._open(tracked, moment)

        try:
            self._processes.begin(tracked, start)
        except BaseException:
            self.close()
            raise
        self._under_way = True
        self._is_needed = self._processes.is_needed(tracked)

    def _claim(self, start: Moment, session: object) -> None:
        """Claim the folder; from the beginning it must hold no run, or give way."""
        recording = Recording(self.log_dir, session, keep=self._keep, strict=self._strict)
        try:
            if start.step == 0 and start.epoch == 0:
                recording.make_way(replace=self._existing == "replace")
        except BaseException:
            recording.close()
            raise
        self._recording = recording

    def _planned(self, what: str) -> int | None:
        """Return how many epochs, or steps an epoch, Keras plans; None where it does not say."""
        number = (self.params or {}).get(what)
        return int(number) if number else None

    def _open(self, tracked: TrackedLayers, start: Moment) -> None:
        if self._recording is None:
            return
        tracked.rename(self._recording.open(tracked.infos, _software(), step=start.step))
        epochs = self._planned("epochs")
        left = epochs and max(0, epochs - start.epoch + self._position.epochs_before_fit)
        planned = left and self._schedule.planned(left, self._planned("steps"))
        if planned and self._keep:
            planned = min(planned, 2 * self._keep)
        announce(self.log_dir, tracked.infos, tracked.remarks, planned)

    def _open_late(self) -> None:
        """Open now that a model without a declared input is built, its first weights seen."""
        tracked, start = self._tracked, self._start
        if tracked is None or start is None:
            return
        self._stop_watching()
        tracked.finish()
        self._open(tracked, start)
        self._is_needed = self._processes.is_needed(tracked)
        if not self._processes.writes:
            return
        first = tracked.initial_weights()
        if first is not None and self._recording is not None:
            self._recording.put(Snapshot(start, first))
            self._last_step = start.step
        else:
            _log.info(
                "step 0 is missing, because layers were made while the model was already training: "
                "to have it, call the model, or each part of it, on one batch before fit"
            )

    # Taking snapshots.

    @property
    def _is_late(self) -> bool:
        """Whether the model was not built yet when training began."""
        if self._recording is not None:
            return not self._recording.is_open
        return self._under_way and self._tracked is not None and not self._tracked.ready

    def _take(self, logs: Logs) -> None:
        if self._is_late:
            if time.monotonic() < self._open_again:
                raise FiltertrackError("the run could not be opened a moment ago")
            # If that fails it may have taken long, and is not tried at each batch.
            self._open_again = time.monotonic() + _PAUSE
            self._open_late()
        # A metric may be on a device that still works on it: only who writes it down waits.
        self._put(self._position.moment(_numbers(logs) if self._processes.writes else {}))

    def _put(self, moment: Moment) -> None:
        """Copy the weights and hand them over."""
        if not self._under_way or self._tracked is None:
            return
        arrays = None
        if self._is_needed:
            _ = self.model  # on jax this brings the trained state back into the model's variables
            arrays = self._processes.read(self._tracked, moment.step)
        # Also if it cannot be written now: what is taken again, all processes must take again.
        self._last_step = moment.step
        if arrays is not None and self._recording is not None:
            self._recording.put(Snapshot(moment, arrays))

    @contextmanager
    def _faults_reported(self, what: str) -> Iterator[None]:
        """Training comes first: turn any fault of ours into a warning, the first time it occurs."""
        try:
            yield
        except Exception as error:
            if self._strict:
                raise
            self._faults[what] += 1
            if self._faults[what] == 1:
                bug = not isinstance(error, (FiltertrackError, OSError))
                _log.warning("could not %s, training goes on: %s", what, error, exc_info=bug)


def _check_built(tracked: TrackedLayers) -> None:
    unbuilt = tracked.unbuilt()
    if unbuilt:
        raise FiltertrackError(
            f"{', '.join(unbuilt)}: not built, so without weights yet: call the model, or each "
            f"part of it, on one batch before the first snapshot"
        )


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
