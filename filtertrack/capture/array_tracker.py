"""``ArrayTracker``: stores kernels that a training loop hands over as arrays."""

import time
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from filtertrack.capture.array_layers import ArrayLayers, Axes
from filtertrack.capture.closing import ClosedAtExit
from filtertrack.capture.fault_reports import FaultReports
from filtertrack.capture.folder_choice import Existing, FolderChoice
from filtertrack.capture.kernel_axes import axes_missing
from filtertrack.capture.processes import Processes
from filtertrack.capture.schedule import make_schedule
from filtertrack.capture.summary_options import ImageLayers, SummaryOptions
from filtertrack.capture.tracker_text import repr_of, tracker_html
from filtertrack.capture.training_progress import TrainingProgress
from filtertrack.capture.training_session import TrainingSession, numbers_in
from filtertrack.capture.training_source import TrainingSource
from filtertrack.errors import FiltertrackError, listed
from filtertrack.snapshot import LayerInfo, Moment
from filtertrack.storage.paths import PathOrAddress, StoragePath, path_of
from filtertrack.storage.run_format import check_storable


class ArrayTracker(ClosedAtExit):
    """Stores kernels that are given as arrays, from any framework or program.

    The run is like that of ``FilterTracker``: a snapshot a file under ``log_dir/filters``, drawn
    for TensorBoard, written in the background. Only numpy is needed.

    Args:
        log_dir: The run's folder; created if missing. Or an address on object storage.
        existing: What to do if the folder holds a run with the first step or later ones:
            ``"error"``; ``"new"``: use the next of ``exp1-2``, ``exp1-3``, … (``run_dir`` is the
            folder in use); ``"replace"``: delete its snapshots from the first step on. A run that
            ends before the first step is continued.
        keep: A bound on what the run keeps: this many newest snapshots, and as many older ones.
            None keeps all.
        images: The layers that have images in TensorBoard: a name or a pattern (``"block1/*"``),
            several, ``"*"`` for all, ``[]`` for none. None for all of up to 8 layers, otherwise
            the first 8 with kernels larger than 1x1. The tab Filters has every layer.
        histograms: Add histograms to TensorBoard: of each layer's weights, their drift and their
            roughness.
        live: In a notebook, show a picture below the cell that follows training: the first grid,
            with the step and the metrics, at most every two seconds. It is drawn in the background,
            and the run's page takes its place at the end. In a script this does nothing.
        strict: Raise when a snapshot cannot be written, instead of logging a warning.

    Raises:
        FiltertrackError: If an option does not fit.

    Example:
        >>> with ArrayTracker("runs/exp1") as tracker:  # doctest: +SKIP
        ...     for step in range(1000):
        ...         if step % 100 == 0:
        ...             tracker.snapshot(step, {"conv1": params["conv1"]["kernel"]}, axes="HWIO")
        ...         params = train_step(params)
    """

    def __init__(
        self,
        log_dir: PathOrAddress,
        *,
        existing: Existing = "error",
        keep: int | None = None,
        images: ImageLayers = None,
        histograms: bool = False,
        live: bool = False,
        strict: bool = False,
    ) -> None:
        self.log_dir = path_of(log_dir)
        self._live = live
        summaries = SummaryOptions(images, histograms)
        self._folders = FolderChoice(self.log_dir, existing, keep, strict, summaries=summaries)
        self._faults = FaultReports(strict=strict)
        self._session: TrainingSession | None = None
        self._arrays: _GivenArrays | None = None
        self._run_dir: StoragePath | None = None

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

    def snapshot(
        self,
        step: int,
        kernels: Mapping[str, object],
        axes: Axes | None = None,
        biases: Mapping[str, object] | None = None,
        *,
        epoch: int = 0,
        batch: int | None = None,
        metrics: Mapping[str, Any] | None = None,
    ) -> None:
        """Take a snapshot. The arrays are copied before this returns.

        The first call opens the run; later ones must give kernels of the same names, shapes and
        axes. A call after ``close`` continues the run, as that of another tracker would.

        Args:
            step: The number of the snapshot in the run, such as the batches seen. Take step 0
                before training; each step must be greater than the last.
            kernels: Name to array: of numpy or jax, nested lists, or whatever else ``np.asarray``
                converts. ``/`` in a name separates groups.
            axes: A letter for each axis of the kernels, such as ``"HWIO"`` (Keras, flax) or
                ``"OIHW"`` (torch, equinox): ``O`` filters, ``I`` input channels, ``D``, ``H`` and
                ``W`` depth, height and width, ``M`` filters per input channel of a depthwise
                kernel. For kernels with different orders, name to letters.
            biases: Name of a kernel to the bias of its filters.
            epoch: Finished epochs.
            batch: Batches seen since the start of training.
            metrics: Name to number, shown in the animation.

        Raises:
            FiltertrackError: If the axes are missing or do not fit, the kernels differ from those
                of the first call, the step is not greater than the last, or the run cannot be
                opened.
        """
        if axes is None:
            raise axes_missing("the kernels")
        given = ArrayLayers(kernels, axes, biases)
        check_storable(given.infos)
        moment = Moment(step, epoch, batch, numbers_in(metrics), time.time())
        session, arrays = self._session, self._arrays
        if session is None or arrays is None or not session.is_active:
            self._arrays = arrays = _GivenArrays(given)
            session = self._session = self._new_session(arrays)
        arrays.replace(given)
        try:
            session.snapshot(moment)
        finally:
            arrays.replace(None)
            if not session.is_active:  # it could not begin
                self.close()
            self._run_dir = session.folder or self._run_dir

    def close(self) -> None:
        """Wait until every snapshot is on disk, and add pictures of the whole evolution.

        Without it the snapshots are still written before the program ends. A later ``snapshot``
        continues the run; its pictures are added by another ``close``.
        """
        if self._session is not None:
            self._session.close()
        self._faults.report()

    def _new_session(self, arrays: "_GivenArrays") -> TrainingSession:
        return TrainingSession(
            arrays,
            folders=self._folders,
            processes=Processes(),
            progress=TrainingProgress(by_batch=True),
            schedule=make_schedule("epoch"),
            params=None,
            faults=self._faults,
            live=self._live,
        )


class _GivenArrays(TrainingSource):
    """Kernels that are given anew for each snapshot.

    Args:
        first: Those of the first snapshot.
    """

    advice_if_unchanged = (
        "Give the present weights to each snapshot, as a functional update returns them, not the "
        "initial ones."
    )

    def __init__(self, first: ArrayLayers) -> None:
        self._first = first.infos
        self._infos: Sequence[LayerInfo] = first.infos
        self._given: ArrayLayers | None = first

    @property
    def infos(self) -> Sequence[LayerInfo]:
        """A description of each kernel, in the order of the first snapshot."""
        return self._infos

    def rename(self, infos: Sequence[LayerInfo]) -> None:
        """Use the descriptions of the run that this training continues."""
        self._infos = infos

    def replace(self, given: ArrayLayers | None) -> None:
        """Use the arrays of the next snapshot, or none until there are some.

        Raises:
            FiltertrackError: If their names, shapes, axes or biases are not those of the first.
        """
        differences = [] if given is None else _differences(self._first, given.infos)
        if differences:
            raise FiltertrackError(
                f"the kernels differ from those of the first snapshot: "
                f"{listed(differences, 3)}; each snapshot of a run holds the same ones"
            )
        self._given = given

    def read(self, infos: Collection[LayerInfo] | None = None) -> dict[str, np.ndarray]:
        """Copy the arrays of the present snapshot: see ``LayerSource``."""
        arrays = {} if self._given is None else self._given.read()
        named = {}
        for own, info in zip(self._first, self._infos, strict=True):
            if infos is None or info in infos:
                named[info.kernel] = arrays[own.kernel]
                if own.bias and info.bias:
                    named[info.bias] = arrays[own.bias]
        return named

    def software(self) -> dict[str, str]:
        """Return an empty dictionary: the framework is unknown."""
        return {}


def _differences(first: Sequence[LayerInfo], given: Sequence[LayerInfo]) -> list[str]:
    """Return in which way each kernel differs; empty if none does."""
    before, now = ({info.path: info for info in infos} for infos in (first, given))
    differences = [f"{name!r} is missing" for name in before if name not in now]
    differences += [f"{name!r} is new" for name in now if name not in before]
    for name in before.keys() & now.keys():
        old, new = before[name], now[name]
        if old.kernel_shape != new.kernel_shape:
            differences.append(f"{name!r} has shape {new.kernel_shape}, before {old.kernel_shape}")
        elif old.axes != new.axes or old.shape != new.shape:
            differences.append(f"{name!r} has other axes")
        elif (old.bias is None) != (new.bias is None):
            differences.append(f"{name!r} {'has no bias' if old.bias else 'has a bias'} now")
    return differences
