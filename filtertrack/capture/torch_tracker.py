"""``TorchTracker``: stores the kernels of a ``torch.nn.Module`` during a training loop."""

import logging
import sys
from collections.abc import Mapping
from typing import Any

from filtertrack.capture.closing import ClosedAtExit
from filtertrack.capture.fault_reports import FaultReports
from filtertrack.capture.folder_choice import Existing, FolderChoice
from filtertrack.capture.layer_selection import Selection
from filtertrack.capture.processes import torch_processes
from filtertrack.capture.schedule import ScheduleLike, make_schedule
from filtertrack.capture.sources import framework_of
from filtertrack.capture.summary_options import ImageLayers, SummaryOptions
from filtertrack.capture.torch_layers import TorchLayers
from filtertrack.capture.tracker_text import repr_of, tracker_html
from filtertrack.capture.training_progress import TrainingProgress
from filtertrack.capture.training_session import TAKE, TrainingSession, check_metrics
from filtertrack.errors import FiltertrackError, whole
from filtertrack.storage.paths import PathOrAddress, StoragePath, path_of

_log = logging.getLogger("filtertrack")

Metrics = Mapping[str, Any] | None
"""Name to number, or to a tensor of one number."""


class TorchTracker(ClosedAtExit):
    """Stores the convolution kernels of a PyTorch module while a loop trains it.

    Making one stores step 0, the untrained module. Call ``step`` after each ``optimizer.step()``,
    and ``end_epoch`` after each epoch if there are epochs. The training thread only copies
    weights; no mode, gradient or random state changes. No fault of the tracker stops training,
    unless ``strict`` is set. If the weights differ from those of the last snapshot when the tracker
    is closed, they are stored as well.

    Under ``torch.distributed`` each process makes a tracker, with the same calls; rank 0 writes,
    the others do nothing. Weights that are sharded over processes (FSDP) are refused.

    Args:
        log_dir: The run's folder; created if missing. TensorBoard's ``--logdir`` may be this folder
            or any folder above it. Or an address on object storage.
        module: The module, also one wrapped by ``DistributedDataParallel`` or ``torch.compile``.
        layers: The convolutions to track: a name, a glob or a class (``"conv1"``, ``"layer1/*"``,
            ``torch.nn.Conv2d``), several of these, ``"first"``, a function of the module, or None
            for every convolution.
        schedule: ``"log"``: at log-spaced batches, four per doubling, because filters form early;
            where ``end_epoch`` is called, in the first five epochs only, and after each epoch.
            ``"epoch"``: after each epoch, that is at each ``end_epoch``. An integer N: every N
            batches. A function of the finished ``(epoch, batch)`` that returns whether to take a
            snapshot now. The steps of the run count batches; with ``"epoch"`` they count epochs.
        existing: What to do if training starts from the beginning and the folder already holds a
            run: ``"error"``; ``"new"``: use the next of ``exp1-2``, ``exp1-3``, … (``run_dir`` is
            the folder in use); ``"replace"``: delete that run.
        keep: A bound on what the run keeps: this many newest snapshots, and as many older ones.
            None keeps all.
        initial_step: Batches that were finished before, to continue the run of a training that goes
            on from a checkpoint. If the run holds later snapshots, they stay, and steps continue
            after them, unless ``existing="replace"`` deletes them, or the run holds exactly the
            weights that training starts from.
        initial_epoch: Epochs that were finished before; the batches are then those of the run if
            ``initial_step`` is not given.
        images: The layers that have images in TensorBoard: a name or a pattern (``"block1/*"``),
            several, ``"*"`` for all, ``[]`` for none. None for all of up to 8 layers, otherwise
            the first 8 with kernels larger than 1x1. The tab Filters has every layer.
        histograms: Add histograms to TensorBoard: of each layer's weights, their drift and their
            roughness.
        live: In a notebook, show a picture below the cell that follows training: the first grid,
            with the step and the metrics, at most every two seconds. It is drawn in the background,
            and the run's page takes its place at the end. In a script this does nothing.
        strict: Raise when a snapshot is lost, instead of logging a warning.

    Raises:
        FiltertrackError: If the module has no convolution, an option does not fit, or the folder
            cannot be written or holds a run.

    Example:
        >>> with TorchTracker("runs/exp1", module) as tracker:  # doctest: +SKIP
        ...     for x, y in loader:
        ...         loss = loss_of(module(x), y)
        ...         optimizer.zero_grad()
        ...         loss.backward()
        ...         optimizer.step()
        ...         tracker.step({"loss": loss})
    """

    def __init__(
        self,
        log_dir: PathOrAddress,
        module: Any,
        *,
        layers: Selection = None,
        schedule: ScheduleLike = "log",
        existing: Existing = "error",
        keep: int | None = None,
        initial_step: int = 0,
        initial_epoch: int = 0,
        images: ImageLayers = None,
        histograms: bool = False,
        live: bool = False,
        strict: bool = False,
    ) -> None:
        self.log_dir = path_of(log_dir)
        self._schedule = make_schedule(schedule)
        go_on = "give initial_step or initial_epoch"
        summaries = SummaryOptions(images, histograms)
        folders = FolderChoice(self.log_dir, existing, keep, strict, go_on, summaries)
        steps = _finished(initial_step, "initial_step")
        epochs = _finished(initial_epoch, "initial_epoch")
        if steps and not epochs and not self._schedule.counts_batches:
            raise FiltertrackError(
                "schedule='epoch' counts epochs, and initial_step counts batches: give "
                "initial_epoch, the epochs that were finished before"
            )
        if framework_of(module) == "keras":
            raise FiltertrackError(
                "TorchTracker: the module is a model of Keras; give FilterTracker to its fit"
            )
        source = TorchLayers(module, layers)  # in each process, so that all raise the same error
        self._faults = FaultReports(strict=strict)
        self._progress = TrainingProgress(by_batch=self._schedule.counts_batches, has_epochs=False)
        self._metrics: Mapping[str, Any] = {}
        self._batches = 0
        self._session: TrainingSession | None = None
        processes = torch_processes(sys.modules["torch"])
        if processes.takes_part:
            self._session = TrainingSession(
                source,
                folders=folders,
                processes=processes,
                progress=self._progress,
                schedule=self._schedule,
                params={},
                faults=self._faults,
                live=live,
            )
            self._begin(self._session, epochs, steps)

    def _begin(self, session: TrainingSession, epochs: int, steps: int) -> None:
        try:
            session.begin(epochs, batches=steps or None)
        except BaseException:
            session.close()
            raise
        self._progress.start_epoch()

    def __repr__(self) -> str:
        """Return the run's folder and the tracked layers."""
        return repr_of(self, self.run_dir, self._session)

    def _repr_html_(self) -> str:
        """Return where the tracker writes, which layers, and how many snapshots."""
        return tracker_html(self, self.run_dir, self._session)

    @property
    def run_dir(self) -> StoragePath:
        """The run's folder: ``log_dir``, unless ``existing="new"`` has chosen one beside it."""
        return (self._session and self._session.folder) or self.log_dir

    def step(self, metrics: Metrics = None) -> None:
        """Count a batch, and take a snapshot if one is due; call it after ``optimizer.step()``.

        Args:
            metrics: Name to number, shown in the animation. A tensor becomes a number only if a
                snapshot is taken, since that waits for its device.
        """
        if self._session is None:
            return
        before, due = self._progress.count, self._schedule.due
        self._progress.finish_batch(self._batches, None)
        self._batches += 1
        self._log(metrics)
        with self._faults.caught(TAKE):
            if due is not None and due(self._progress.epochs, before, self._progress.count):
                self._session.take(self._metrics)

    def end_epoch(self, metrics: Metrics = None) -> None:
        """Count an epoch, and take its snapshot with the schedules ``"epoch"`` and ``"log"``.

        Args:
            metrics: Name to number, such as the validation loss, in addition to those of the last
                ``step``.
        """
        if self._session is None:
            return
        self._progress.finish_epoch(self._progress.epochs, self._batches or None)
        try:
            self._log(metrics, before=self._metrics)
            with self._faults.caught(TAKE):
                # At a step that has a snapshot already, it is replaced: the weights are the same.
                if self._schedule.every_epoch:
                    self._session.take(self._metrics)
                else:
                    self._session.note(self._metrics)
        finally:  # the next epoch is counted whatever happened
            self._progress.start_epoch()
            self._batches = 0

    def close(self) -> None:
        """Store the final weights if the run lacks them, and wait until everything is on disk.

        Without it the snapshots are still written before the program ends, but the final weights
        are not stored.
        """
        if self._session is not None:
            with self._faults.caught(TAKE):
                self._session.take_last(self._metrics)
            if self._session.is_active and self._batches and not self._schedule.counts_batches:
                _log.warning(
                    "%d batches since the last end_epoch: with schedule='epoch' snapshots are "
                    "taken there only; call it after each epoch, or choose schedule='log'",
                    self._batches,
                )
            self._session.close()
        self._faults.report()

    def _log(self, metrics: Metrics, before: Mapping[str, Any] | None = None) -> None:
        """Keep metrics for the next snapshot, without the graph of a loss, with those before."""
        self._metrics = before or {}
        with self._faults.caught(TAKE):
            if self._session is not None and not self._session.is_active:
                raise FiltertrackError("the tracker is closed")
        with self._faults.caught("use the metrics"):
            check_metrics(metrics)
            detached = {
                name: value.detach() if hasattr(value, "detach") else value
                for name, value in (metrics or {}).items()
            }
            self._metrics = {**self._metrics, **detached}


def _finished(value: object, what: str) -> int:
    number = whole(value)
    if number is None or number < 0:
        raise FiltertrackError(f"{what}: expected a whole number from 0 on, got {value!r:.100}")
    return number
