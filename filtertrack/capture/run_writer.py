"""A run that is open for writing: its snapshots, its pictures for TensorBoard, and its end."""

import logging
import shlex
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from filtertrack.capture.background_writer import BackgroundWriter, room_for
from filtertrack.capture.existing_run import delete_retrained, same_layers
from filtertrack.capture.snapshot_writer import SnapshotWriter
from filtertrack.errors import FiltertrackError, counted, listed
from filtertrack.snapshot import LayerInfo, Moment, Snapshot, total_bytes
from filtertrack.storage.folder_lock import FolderLock
from filtertrack.storage.paths import StoragePath, path_of
from filtertrack.storage.retention import RetainedRun
from filtertrack.storage.run import FOLDER, Run
from filtertrack.tensorboard_plugin.summaries import Summaries

_log = logging.getLogger("filtertrack")
_PICTURES = "pictures for TensorBoard"


class RunWriter:
    """Stores and draws each snapshot in the background.

    Making one claims the folder: no other tracker can write there until it is closed, or its
    process has ended, however it ended. (Object storage has no locks: there only trackers of this
    program are kept apart.) ``open`` then starts a run or continues the one there, and ``begin`` or
    ``begin_from`` starts the background writer.

    Args:
        folder: The run's folder.
        session: What tells one training from another. In one thread a new training takes the
            folder over from an older one: that was interrupted, and Keras calls no hook then.
        keep: How many of the newest snapshots are kept, and at most how many older ones; None for
            all.
        strict: Raise when something is lost, instead of a warning.

    Raises:
        FiltertrackError: If the folder cannot be written, or another tracker writes there.
    """

    def __init__(
        self, folder: StoragePath, session: object, *, keep: int | None = None, strict: bool = False
    ) -> None:
        self._folder = folder
        self._keep = keep
        self._strict = strict
        self._run: Run | None = None
        self._writer: SnapshotWriter | None = None
        self._frozen: Collection[str] = ()
        self._recorder: BackgroundWriter | None = None
        self._summaries: Summaries | None = None
        self._refused: Snapshot | None = None
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
        return self._recorder is not None

    def open(
        self,
        layers: Sequence[LayerInfo],
        software: Mapping[str, str],
        others: Sequence[LayerInfo] = (),
    ) -> list[LayerInfo]:
        """Start a run, or continue the one in the folder.

        Args:
            layers: What each snapshot holds.
            software: Library name to version, for a new run's record.
            others: The model's layers that are not tracked: none is mistaken for one that is.

        Returns:
            What each snapshot to ``put`` holds, in the order of ``layers``: in a run that is
            continued, layers keep the names that they have there.

        Raises:
            FiltertrackError: If the folder holds a run of other layers, or one that is damaged, or
                it cannot be written.
        """
        if self._closed:
            raise self._taken_over()
        try:
            if Run.exists(self._folder):
                self._run = Run(self._folder)
                held = same_layers(self._run, layers, others)
            else:
                self._run = Run.create(self._folder, layers, software)
                held = list(layers)
        except OSError as error:
            raise _not_writable(self._folder, error) from error
        pairs = zip(layers, held, strict=True)
        self._frozen = {info.kernel for layer, info in pairs if not layer.trainable}
        return held

    def begin(self, *, by_hand: bool = False) -> None:
        """Start the background writer; each snapshot must be at a later step than all in the run.

        Args:
            by_hand: Whether a loop of the user's own takes them.

        Raises:
            FiltertrackError: If this is closed.
            OSError: If a file cannot be read or deleted.
        """
        run = self._opened()
        run.truncate(_next_step(run))  # what a killed writer left half written
        kept = run if self._keep is None else RetainedRun(run, self._keep)
        self._writer = SnapshotWriter(kept, by_hand=by_hand)
        self._summaries = Summaries(run, keep=self._keep)
        self._recorder = BackgroundWriter(
            {"snapshots": self._writer.store, _PICTURES: self._summaries.add},
            {_PICTURES: self._summaries.finish},
            room=room_for(total_bytes(list(run.layers.values()))),
            strict=self._strict,
        )

    def begin_from(
        self, start: Moment, weights: Mapping[str, np.ndarray] | None, *, redo: bool = False
    ) -> Moment:
        """Start the background writer, and store what training starts from unless it is there.

        Nothing of the run is overwritten. What lies past the epoch that training starts from is
        deleted only where it is trained again: from the very weights that the run holds of that
        epoch. Else it stays, and steps go on after the run's last one.

        Args:
            start: Where training starts; the step is what its place in the training asks for.
            weights: What it starts from; None where that is not known.
            redo: Delete what lies past it whatever the weights are.

        Returns:
            The start as the run has it: what was stored there before, or ``start`` itself, at a
            later step where others are in its way.

        Raises:
            FiltertrackError: If this is closed.
            OSError: If a file cannot be read or deleted.
        """
        run = self._opened()
        there = delete_retrained(run, start, weights, replace=redo)
        self.begin()
        if there is not None and weights is not None and there.step >= start.step:
            self.note(there, weights)
            return there
        moment = replace(start, step=max(start.step, _next_step(run)))
        if moment.step != start.step and not start.note:  # the run holds other weights of then
            moment = replace(moment, note="changed between two trainings")
        if weights is not None:
            self.put(Snapshot(moment, weights))
        return moment

    def put(self, snapshot: Snapshot) -> None:
        """Hand a snapshot over. Its arrays must not change any more.

        Raises:
            FiltertrackError: If this is closed, or with ``strict``, if something was lost since the
                last call.
        """
        if self._recorder is None:
            raise self._taken_over()
        self._refused = snapshot
        if self._recorder.put(snapshot):
            self._refused = None

    def note(self, moment: Moment, arrays: Mapping[str, np.ndarray]) -> None:
        """Remember the weights of a moment without storing them, to recognize them later."""
        if self._recorder is not None and self._writer is not None:
            self._recorder.put(partial(self._writer.note, moment, arrays), counts=False)

    def put_last(self, snapshot: Snapshot, *, after: int, averaged: bool) -> None:
        """Hand over the weights at the very end of a training: stored if the run lacks them.

        Args:
            snapshot: The weights, at the moment that training had reached.
            after: The last step that was put.
            averaged: Whether the optimizer replaces weights by their averages in the end.

        Raises:
            FiltertrackError: As ``put``.
        """
        if self._recorder is None or self._writer is None:
            raise self._taken_over()
        last, refused = self._writer.last, self._refused
        self._recorder.put(partial(last, snapshot, after=after, averaged=averaged, refused=refused))

    def close(self) -> None:
        """Wait until everything is written, add pictures of the whole evolution, log where it is.

        Raises:
            FiltertrackError: With ``strict``, if something was lost since the last call.
            OSError: If the pictures cannot be written.
        """
        self._closed = True
        recorder, self._recorder = self._recorder, None
        if self._run is None or self._summaries is None:  # it was never open
            self._lock.release()
            return
        if recorder is None:  # closed before
            return
        try:
            if not recorder.close():
                return  # what does not answer is not asked for more
            self._summaries.add_evolution(self._run)
            self._summaries.finish()
            self._log_the_end(self._run)
        finally:
            recorder.after(self._lock.release)  # now; but what was given up may still write

    def _log_the_end(self, run: Run) -> None:
        seen = self._writer and self._writer.seen
        still = seen.still if seen and seen.count > 1 else ()
        for why, is_frozen in (("", False), (" (frozen)", True)):
            names = [
                info.name
                for info in run.layers.values()
                if info.kernel in still and (info.kernel in self._frozen) == is_frozen
            ]
            if names:
                _log.info("did not change%s: %s", why, listed(names))
        number, path = counted(len(run.steps), "snapshots"), shlex.quote(str(run.path))
        _log.info("%s in %s. Animation: filtertrack animate %s", number, path, path)

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
        f"cannot write in {str(folder)!r}: {reason}. Give FilterTracker another folder"
    )
