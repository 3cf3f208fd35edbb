"""Writes a run during training: claims its folder, stores and draws snapshots in the background."""

import logging
import shlex
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from functools import partial
from types import MappingProxyType

import numpy as np

from filtertrack.capture.background_writer import BackgroundWriter, Sink, queue_capacity
from filtertrack.capture.existing_run import delete_retrained, same_layers
from filtertrack.capture.existing_run_probes import check_or_store_probes
from filtertrack.capture.live_picture import LivePicture
from filtertrack.capture.snapshot_writer import SnapshotWriter
from filtertrack.capture.summary_options import DEFAULT_SUMMARIES, SummaryOptions
from filtertrack.errors import FiltertrackError, command_or_call, counted, listed
from filtertrack.response import LayerResponse, StoredProbes
from filtertrack.snapshot import LayerInfo, Moment, Snapshot, total_bytes
from filtertrack.storage.folder_lock import FolderLock
from filtertrack.storage.paths import StoragePath, path_of
from filtertrack.storage.probe_format import PROBES
from filtertrack.storage.retention import RetainedRun
from filtertrack.storage.run import FOLDER, Run
from filtertrack.tensorboard_plugin.summaries import Summaries, event_bytes

_log = logging.getLogger("filtertrack")
_PICTURES = "pictures for TensorBoard"
_EVENT_FILE = "TensorBoard's event file"
_SLOWEST_UPLOAD = 1_000_000
"""Bytes per second below which the upload of the event file is given up."""


class RunWriter:
    """Stores and draws each snapshot in the background.

    The constructor claims the folder: no other tracker can write there until this is closed, or its
    process has ended. (Object storage has no locks: there only trackers of this program exclude
    each other.) ``open`` then starts a run or continues an existing one, and ``begin`` or
    ``begin_from`` starts the background thread.

    Args:
        folder: The run's folder.
        session: Identifies the training. In one thread a new training takes the folder over from an
            older one, which was interrupted: Keras calls no hook then.
        keep: Number of newest snapshots to keep, and largest number of older ones; None for all.
        summaries: What TensorBoard shows of the run.
        strict: Raise when something is lost, instead of logging a warning.

    Raises:
        FiltertrackError: If the folder cannot be written, or another tracker writes there.

    Attributes:
        waiting_bytes: Bytes of a snapshot besides its kernels that wait for the background thread;
            to set before it starts.
        live_picture: A picture in a notebook that shows each snapshot, or None; likewise.
    """

    waiting_bytes = 0
    live_picture: LivePicture | None = None

    def __init__(
        self,
        folder: StoragePath,
        session: object,
        *,
        keep: int | None = None,
        summaries: SummaryOptions = DEFAULT_SUMMARIES,
        strict: bool = False,
    ) -> None:
        self._folder = folder
        self._keep = keep
        self._options = summaries
        self._images: Collection[str] = ()
        self._strict = strict
        self._run: Run | None = None
        self._snapshot_writer: SnapshotWriter | None = None
        self._frozen: Collection[str] = ()
        self._background_writer: BackgroundWriter | None = None
        self._summaries: Summaries | None = None
        self._refused: Snapshot | None = None
        self._stores_responses = False
        self._has_probes = False
        self._closed = False
        _check_writable(folder)
        self._lock = FolderLock(folder / FOLDER, str(folder), session, self.close)

    @property
    def folder(self) -> StoragePath:
        """The run's folder."""
        return self._folder

    @property
    def is_open(self) -> bool:
        """Whether snapshots can be put."""
        return self._background_writer is not None

    def open(
        self,
        layers: Sequence[LayerInfo],
        software: Mapping[str, str],
        others: Sequence[LayerInfo] = (),
        *,
        late: bool = False,
    ) -> list[LayerInfo]:
        """Start a run, or continue the one in the folder.

        Args:
            layers: The tracked layers, whose kernels each snapshot holds.
            software: Library name to version, for the manifest of a new run.
            others: The model's other layers, to which no layer of the run must be matched.
            late: Whether training has begun: unless ``strict``, layers for images that do not exist
                are then a warning, and the default layers have images.

        Returns:
            The run's descriptions in the order of ``layers``: a continued run keeps its names of
            layers. Each snapshot to ``put`` has the names of these.

        Raises:
            FiltertrackError: If the folder holds a run of other layers or a damaged run, or cannot
                be written, or a layer that is to have images does not exist.
        """
        if self._closed:
            raise self._taken_over()
        with_images = self._image_layers(layers, late=late)
        try:
            if Run.exists(self._folder):
                self._run = Run(self._folder)
                held = same_layers(self._run, layers, others)
            else:
                self._run = Run.create(self._folder, layers, software)
                held = list(layers)
        except OSError as error:
            raise _not_writable(self._folder, error) from error
        pairs = list(zip(layers, held, strict=True))
        self._frozen = {info.kernel for layer, info in pairs if not layer.trainable}
        self._images = [info.name for layer, info in pairs if layer in with_images]
        return held

    def _image_layers(self, layers: Sequence[LayerInfo], *, late: bool) -> Collection[LayerInfo]:
        try:
            return self._options.image_layers(layers)
        except FiltertrackError as error:
            if self._strict or not late:
                raise
            chosen = DEFAULT_SUMMARIES.image_layers(layers)
            names = listed([info.name for info in chosen])
            _log.warning("%s. TensorBoard shows images of the default layers: %s", error, names)
            return chosen

    def event_bytes(self, probes: StoredProbes | None) -> int:
        """Return about how many bytes the events of a snapshot of the open run take.

        Args:
            probes: The probes of the run, or None.
        """
        layers = list(self._opened().layers.values())
        histograms = self._options.histograms
        return event_bytes(layers, probes, images=self._images, histograms=histograms)

    def store_probes(self, probes: StoredProbes) -> None:
        """Store the probes of an open run, before its first snapshot with responses.

        Unless this succeeds, the responses of snapshots are not stored.

        Raises:
            FiltertrackError: If snapshots of the run hold responses to others.
            OSError: If they cannot be written.
        """
        self._has_probes = True
        check_or_store_probes(self._opened(), probes)
        self._stores_responses = True

    def begin(self, *, advice: str = "") -> None:
        """Start the background thread. Each snapshot must be at a later step than all in the run.

        Args:
            advice: For a training loop of the user's own: what to check if no weight has changed at
                the second snapshot.

        Raises:
            FiltertrackError: If this is closed.
            OSError: If a file cannot be read or deleted.
        """
        run = self._opened()
        if not self._has_probes and (run.folder / PROBES).exists():
            _log.warning(
                "%s holds responses to probes; the next snapshots hold weights only. To record "
                "responses, train with the same probes= as before",
                run.path,
            )
        run.truncate(_next_step(run))  # deletes unfinished files of a killed process
        kept = run if self._keep is None else RetainedRun(run, self._keep)
        self._snapshot_writer = SnapshotWriter(kept, advice=advice)
        summaries = self._summaries = Summaries(
            run, self._keep, images=self._images, histograms=self._options.histograms
        )
        sinks: dict[str, Sink] = {"snapshots": self._snapshot_writer.store}
        if self.live_picture is not None:
            self.live_picture.follow(run)
            sinks["the live picture"] = self.live_picture.show
        self._background_writer = BackgroundWriter(
            {**sinks, _PICTURES: summaries.add},
            {_EVENT_FILE: summaries.finish},
            finish_time=lambda: summaries.bytes_to_upload / _SLOWEST_UPLOAD,
            capacity=queue_capacity(total_bytes(list(run.layers.values())) + self.waiting_bytes),
            strict=self._strict,
        )

    def begin_from(
        self,
        start: Moment,
        weights: Mapping[str, np.ndarray] | None,
        responses: Mapping[str, LayerResponse] = MappingProxyType({}),
        *,
        redo: bool = False,
    ) -> Moment:
        """Start the background thread, and store the initial weights unless the run holds them.

        Nothing of the run is overwritten. Snapshots after the start are deleted only if training
        repeats them, from the same weights that the run holds of that epoch. Otherwise they stay,
        and steps continue after the run's last one.

        Args:
            start: The moment at which training starts, with the step that follows from it.
            weights: The weights from which it starts; None if they are unknown.
            responses: What the filters of these weights answer to the run's probes.
            redo: Delete the snapshots after the start whatever the weights are.

        Returns:
            The moment of the start in the run: a stored one, or ``start``, at a later step if the
            run already has that step.

        Raises:
            FiltertrackError: If this is closed.
            OSError: If a file cannot be read or deleted.
        """
        run = self._opened()
        stored = delete_retrained(run, start, weights, replace=redo)
        self.begin()
        if stored is not None and weights is not None and stored.step >= start.step:
            self.note(stored, weights)
            return stored
        moment = replace(start, step=max(start.step, _next_step(run)))
        if moment.step != start.step and not start.note:  # the run has other weights of this moment
            moment = replace(moment, note="changed between two trainings")
        if weights is not None:
            self.put(Snapshot(moment, weights, responses))
        return moment

    def put(self, snapshot: Snapshot) -> None:
        """Write a snapshot in the background. The caller must not change its arrays afterwards.

        Raises:
            FiltertrackError: If this is closed, or with ``strict``, if something was lost since the
                last call.
        """
        if self._background_writer is None:
            raise self._taken_over()
        if not self._stores_responses:
            snapshot = replace(snapshot, responses={})
        self._refused = snapshot
        if self._background_writer.put(snapshot):
            self._refused = None

    def note(self, moment: Moment, arrays: Mapping[str, np.ndarray]) -> None:
        """Remember the weights of a moment without storing them, to recognize them later."""
        if self._background_writer is not None and self._snapshot_writer is not None:
            self._background_writer.put(
                partial(self._snapshot_writer.note, moment, arrays), counts=False
            )

    def put_last(
        self, snapshot: Snapshot, *, after: int, averaged: bool, seen: bool = True
    ) -> None:
        """Write the final weights of a training in the background, if the run lacks them.

        Args:
            snapshot: The weights, with the moment at the end of training.
            after: The last step that was put.
            averaged: Whether the optimizer replaces weights by their averages at the end.
            seen: Whether the weights of the last moment of training were put or noted.

        Raises:
            FiltertrackError: As ``put``.
        """
        if self._background_writer is None or self._snapshot_writer is None:
            raise self._taken_over()
        if not self._stores_responses:
            snapshot = replace(snapshot, responses={})
        last, refused = self._snapshot_writer.last, self._refused
        self._background_writer.put(
            partial(last, snapshot, after=after, averaged=averaged, seen=seen, refused=refused)
        )

    def close(self) -> None:
        """Wait until everything is written, draw the whole evolution, and log the folder.

        Raises:
            FiltertrackError: If TensorBoard's event file cannot be stored; with ``strict``, if
                something was lost since the last call.
            OSError: If the evolution cannot be drawn; the event file is stored without it.
        """
        self._closed = True
        background_writer, self._background_writer = self._background_writer, None
        if self._run is None or self._summaries is None:  # it was never open
            self._lock.release()
            return
        if background_writer is None:  # closed before
            return
        try:
            if not background_writer.close():
                return  # the storage hangs: do not wait for it again
            try:
                self._summaries.add_evolution(self._run)
            finally:
                self._store_events(self._summaries, again=_EVENT_FILE in background_writer.lost)
            self._log_result(self._run)
        finally:
            # At once, unless a thread that hangs may still write into the folder.
            background_writer.call_at_end(self._lock.release)
            if self.live_picture is not None:
                background_writer.call_at_end(self.live_picture.finish)

    @staticmethod
    def _store_events(summaries: Summaries, *, again: bool) -> None:
        try:
            summaries.finish()
        except OSError as error:
            raise FiltertrackError(f"{_EVENT_FILE} was not stored: {error}") from error
        if again:
            _log.warning("%s is stored now: the second attempt succeeded", _EVENT_FILE)

    def _log_result(self, run: Run) -> None:
        checksums = self._snapshot_writer and self._snapshot_writer.checksums
        unchanged = checksums.unchanged if checksums and checksums.count > 1 else ()
        for why, is_frozen in (("", False), (" (frozen)", True)):
            names = [
                info.name
                for info in run.layers.values()
                if info.kernel in unchanged and (info.kernel in self._frozen) == is_frozen
            ]
            if names:
                _log.info("did not change%s: %s", why, listed(names))
        number, path = counted(len(run.steps), "snapshots"), shlex.quote(str(run.path))
        animation = command_or_call(
            f"filtertrack animate {path}", f"filtertrack.animate({str(run.path)!r})"
        )
        _log.info("%s in %s. Animation: %s", number, path, animation)

    def _opened(self) -> Run:
        if self._closed or self._run is None:
            raise self._taken_over()
        return self._run

    def _taken_over(self) -> FiltertrackError:
        return FiltertrackError(f"another training has taken over {str(self._folder)!r}")


def _next_step(run: Run) -> int:
    return max(run.steps, default=-1) + 1


def _check_writable(folder: StoragePath) -> None:
    try:
        (path_of(folder) / FOLDER).check_writable()
    except OSError as error:
        raise _not_writable(folder, error) from error


def _not_writable(folder: StoragePath, error: OSError) -> FiltertrackError:
    reason = error.strerror or error
    return FiltertrackError(
        f"cannot write in {str(folder)!r}: {reason}. Give the tracker another folder"
    )
