"""The callback: takes a snapshot when one is due and hands it to the background."""

import logging
import os
import shlex
import sys
import tempfile
import time
import weakref
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
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
from filtertrack.layers import Selection, TrackedLayers
from filtertrack.recorder import Recorder, room_for
from filtertrack.schedule import ScheduleLike, make_schedule
from filtertrack.snapshot import Moment, Snapshot, total_bytes
from filtertrack.store import FOLDER, Run
from filtertrack.summaries import Summaries

Existing = Literal["error", "replace"]
Logs = Mapping[str, Any] | None

_log = logging.getLogger("filtertrack")
_TAKE = "take a snapshot"


class FilterTracker(keras.callbacks.Callback):  # type: ignore[misc] # Keras has no types
    """Keeps the convolution kernels of a model while ``fit`` trains it.

    Step 0 is the untrained model. Each snapshot is stored under ``log_dir/filters`` and drawn for
    TensorBoard; ``filtertrack animate log_dir`` makes the animation. The training thread only
    copies weights. No fault of this callback stops training, unless ``strict`` asks for that.

    Args:
        log_dir: The run's folder; made where it is missing. Also what TensorBoard's ``--logdir``
            may be given (or any folder above it).
        layers: Which layers: a name or glob (``"conv1"``, ``"block?/*"``), several of them, a
            function of the layer, or None for every convolution.
        schedule: ``"epoch"``: after each epoch. ``"log"``: also at log-spaced batches in the first
            epochs, when filters form. A whole number N: every N batches. A function of the finished
            ``(epoch, batch)`` that says whether to take one now.
        existing: What to do when training starts from the beginning and the folder already holds a
            run: ``"error"``, or ``"replace"`` it.
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
        log_dir: str | os.PathLike[str],
        *,
        layers: Selection = None,
        schedule: ScheduleLike = "epoch",
        existing: Existing = "error",
        strict: bool = False,
    ) -> None:
        super().__init__()
        if existing not in {"error", "replace"}:
            raise FiltertrackError(f"existing: expected 'error' or 'replace', got {existing!r}")
        self.log_dir = Path(log_dir)
        self._select = layers
        self._schedule = make_schedule(schedule)
        self._existing = existing
        self._strict = strict
        if self._schedule.due is not None:
            # Keras pays for a batch hook each batch as soon as a class defines one.
            self.on_train_batch_end = self._on_train_batch_end
        self._seen_model: Callable[[], Any] = lambda: None
        self._recorder: Recorder | None = None
        self._finished_epochs = 0
        self._finished_batches: int | None = 0
        self._forget_fit()

    def _forget_fit(self) -> None:
        """Set everything that belongs to one call of ``fit``."""
        self._tracked: TrackedLayers | None = None
        self._run: Run | None = None
        self._summaries: Summaries | None = None
        self._start: Moment | None = None
        self._stop_watching: Callable[[], None] = lambda: None
        self._epoch_offset = 0
        self._epoch_first_batch = 0
        self._last_step = -1
        self._faults: Counter[str] = Counter()

    # Keras calls these.

    def on_train_begin(self, logs: Logs = None) -> None:  # noqa: ARG002 - Keras's signature
        """Look at the model, before anything is trained."""
        self.close()
        self._forget_fit()
        self._tracked = TrackedLayers(self.model, self._select)

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:  # noqa: ARG002
        """Start with the first epoch: only now is it known which one that is.

        ``BackupAndRestore`` moves it after ``on_train_begin``.
        """
        if self._start is None:
            try:
                self._begin(epoch)
            except OSError as error:
                raise FiltertrackError(
                    f"cannot write in {str(self.log_dir)!r}: {error.strerror}. Give FilterTracker "
                    f"another folder"
                ) from error
        if self._finished_batches is not None:
            self._epoch_first_batch = self._finished_batches

    def _on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        due, before = self._schedule.due, self._finished_batches or 0
        upto = self._epoch_first_batch + batch + 1
        self._finished_batches = upto
        ends_epoch = self._schedule.every_epoch and batch + 1 == self.params.get("steps")
        with self._faults_reported(_TAKE):
            if due is not None and not ends_epoch and due(self._finished_epochs, before, upto):
                self._take(logs)

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        """Take the epoch's snapshot."""
        self._finished_epochs = self._epoch_offset + epoch + 1
        if not self._schedule.counts_batches:
            steps = self.params.get("steps")
            self._finished_batches = steps and steps * self._finished_epochs
        if self._schedule.every_epoch:
            with self._faults_reported(_TAKE):
                self._take(logs)

    def on_train_end(self, logs: Logs = None) -> None:
        """Take the last snapshot where it is missing, and finish the files."""
        with self._faults_reported(_TAKE):
            if self._last_step != self._step:
                self._take(logs)
        self.close()
        if self._run is not None and self._summaries is not None:
            with self._faults_reported("write the timelapses"):
                self._summaries.add_timelapses(self._run)
                _say_goodbye(self._run)
        for what, count in self._faults.items():
            if count > 1:
                _log.warning("%d times: could not %s", count, what)

    def close(self) -> None:
        """Wait until everything that was taken is on disk.

        Only of use after a ``fit`` that was interrupted, since Keras calls no hook then. The next
        ``fit`` and the end of the program wait as well.
        """
        self._stop_watching()
        recorder, self._recorder = self._recorder, None
        if recorder is not None:
            with self._faults_reported("finish writing"):
                recorder.close()

    # Beginning.

    def _begin(self, epoch: int) -> None:
        """Check the folder, and take the snapshot that training starts from."""
        if self._tracked is None:  # hooks called without on_train_begin
            raise FiltertrackError("FilterTracker: on_train_begin was not called")
        again = self._seen_model() is self.model and self._finished_epochs > 0
        self._seen_model = weakref.ref(self.model)
        if again and epoch == 0:
            self._epoch_offset = self._finished_epochs
        elif not again or epoch != self._finished_epochs:
            self._finished_epochs = epoch
            self._finished_batches = self._batches_before(epoch)
        if self._finished_epochs == 0:
            self._make_way()
        _check_writable(self.log_dir / FOLDER)
        self._start = self._moment(None)
        if self._tracked.ready:
            self._open()
            self._take(None)
        else:
            self._stop_watching = self._tracked.watch_builds()

    def _batches_before(self, epoch: int) -> int | None:
        """Return how many batches were seen before an epoch; None where nothing says it."""
        if epoch == 0:
            return 0
        if self.params.get("steps"):
            return int(self.params["steps"]) * epoch
        if Run.exists(self.log_dir):
            run = Run(self.log_dir)
            moments = (run.moment(step) for step in run.steps)
            return next(
                (m.batch for m in moments if m.epoch == epoch and m.batch is not None), None
            )
        return None

    def _make_way(self) -> None:
        """Training starts from the beginning: the folder must hold no run."""
        if not Run.exists(self.log_dir):
            return
        if self._existing == "error":
            raise FiltertrackError(
                f"{str(self.log_dir)!r} already holds a run, and training starts from epoch "
                f"0. Give FilterTracker another folder, or existing='replace' to delete that run; "
                f"to go on with it, call fit with initial_epoch"
            )
        Run.delete(self.log_dir)

    def _open(self) -> None:
        """Create the run, or go on with the one that is there."""
        tracked, start = self._tracked, self._start
        if tracked is None or start is None:
            return
        if Run.exists(self.log_dir):
            self._run = Run(self.log_dir)
            _check_same_layers(self._run, tracked)
            self._run.truncate(start.step)
        else:
            self._run = Run.create(self.log_dir, tracked.infos, _software())
        self._summaries = Summaries(self._run)
        self._recorder = Recorder(
            {"snapshots": self._run.append, "pictures for TensorBoard": self._summaries.add},
            room=room_for(total_bytes(tracked.infos)),
            strict=self._strict,
        )
        self._announce(tracked)

    def _open_late(self) -> None:
        """Open now that a model without a declared input is built, its first weights seen."""
        tracked, start = self._tracked, self._start
        if tracked is None or start is None:
            return
        self._stop_watching()
        tracked.finish()
        self._open()
        first = tracked.first_weights()
        if first is not None and self._recorder is not None:
            self._recorder.put(Snapshot(start, first))
            self._last_step = start.step
        else:
            _log.warning(
                "the untrained weights could not be seen, because the model was built while it was "
                "already training: call model.build(input_shape) before fit to have them too"
            )

    # Taking snapshots.

    @property
    def _step(self) -> int:
        return (
            (self._finished_batches or 0)
            if self._schedule.counts_batches
            else self._finished_epochs
        )

    def _moment(self, logs: Logs) -> Moment:
        return Moment(
            self._step, self._finished_epochs, self._finished_batches, _numbers(logs), time.time()
        )

    def _take(self, logs: Logs) -> None:
        """Copy the weights and hand them over."""
        _ = self.model  # on jax this brings the trained state back into the model's variables
        if self._tracked is None:
            return
        if self._recorder is None:
            self._open_late()
        if self._recorder is not None:
            self._recorder.put(Snapshot(self._moment(logs), self._tracked.read()))
            self._last_step = self._step

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

    def _announce(self, tracked: TrackedLayers) -> None:
        _show_log()
        names = ", ".join(info.name for info in tracked.infos)
        size = total_bytes(tracked.infos) / 1e6
        path = shlex.quote(str(self.log_dir))
        _log.info("tracking %s (%.2f MB a snapshot) in %s", names, size, path)
        _log.info(
            "watch: tensorboard --logdir %s --samples_per_plugin images=1000 "
            "(without that flag TensorBoard keeps 10 images of a layer)",
            path,
        )


def _check_writable(folder: Path) -> None:
    """Try to write a file, whatever the permissions say.

    Raises:
        OSError: If that does not work.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder):
        pass


def _say_goodbye(run: Run) -> None:
    path = shlex.quote(str(run.path))
    _log.info("%d snapshots in %s. Animation: filtertrack animate %s", len(run.steps), path, path)


def _check_same_layers(run: Run, tracked: TrackedLayers) -> None:
    there = {info.kernel: info.kernel_shape for info in run.layers.values()}
    now = {info.kernel: info.kernel_shape for info in tracked.infos}
    if there != now:
        raise FiltertrackError(
            f"{str(run.path)!r} holds a run of other layers ({', '.join(run.layers)}) than this "
            f"model's ({', '.join(info.name for info in tracked.infos)}); give FilterTracker "
            f"another folder"
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


def _show_log() -> None:
    """Show this package's messages where the program has set up no logging of its own."""
    if not _log.hasHandlers():
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("filtertrack: %(message)s"))
        _log.addHandler(handler)
        _log.setLevel(logging.INFO)
