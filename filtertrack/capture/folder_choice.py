"""Chooses the folder of a training as ``existing`` says, and claims it."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

from filtertrack.capture.existing_run import check_or_delete_from, check_or_delete_run
from filtertrack.capture.run_writer import RunWriter
from filtertrack.errors import FiltertrackError
from filtertrack.storage.folder_lock import TakenError
from filtertrack.storage.paths import StoragePath
from filtertrack.storage.retention import check_keep
from filtertrack.storage.run import Run
from filtertrack.storage.run_folders import last_numbered, next_numbered

_log = logging.getLogger("filtertrack")

Existing = Literal["error", "new", "replace"]


@dataclass(frozen=True, slots=True)
class FolderChoice:
    """Chooses and claims the folders of one tracker's runs.

    Attributes:
        folder: What the user gave.
        existing: What happens to a run that is there: see ``FilterTracker``.
        keep: How many snapshots a run keeps; None for all.
        strict: Raise when something is lost, instead of a warning.

    Raises:
        FiltertrackError: If ``existing`` or ``keep`` do not fit.
    """

    folder: StoragePath
    existing: Existing = "error"
    keep: int | None = None
    strict: bool = False

    def __post_init__(self) -> None:
        """Check what the user gave."""
        if self.existing not in {"error", "new", "replace"}:
            raise FiltertrackError(
                f"existing: expected 'error', 'new' or 'replace', got {self.existing!r}"
            )
        if self.keep is not None:
            check_keep(self.keep)
            object.__setattr__(self, "keep", int(self.keep))

    @property
    def replaces(self) -> bool:
        """Whether what is trained again is deleted, whatever its weights are."""
        return self.existing == "replace"

    def for_fit(self, session: object, epoch: int, run_dir: StoragePath | None = None) -> RunWriter:
        """Claim the folder of a ``fit``; where that starts from the beginning, no run is left.

        Args:
            session: What tells one training from another.
            epoch: The first epoch, counted from the training's beginning.
            run_dir: The folder of the run that it goes on with, where that is known.

        Raises:
            FiltertrackError: If it cannot be written, another tracker writes there, or it holds a
                run and training starts from the beginning.
            OSError: If a run that is to be replaced cannot be deleted.
        """
        if run_dir is not None or epoch > 0:
            return self.at(run_dir or self.latest(), session)
        if self.existing == "new":
            return self.new(session)
        recording = self.at(self.folder, session)
        with _closed_on_error(recording):
            check_or_delete_run(self.folder, replace=self.replaces)
        return recording

    def by_hand(self, session: object, step: int) -> RunWriter:
        """Claim the folder of a loop by hand: no snapshot at or past its first step is left in it.

        Raises:
            FiltertrackError: If there is one, the folder cannot be written, or another tracker
                writes there.
            OSError: If what is to be replaced cannot be deleted.
        """
        folder = self.latest()
        if self.existing == "new" and _reaches(folder, step):
            return self.new(session)
        recording = self.at(folder, session)
        with _closed_on_error(recording):
            check_or_delete_from(folder, step, replace=self.replaces)
        return recording

    def latest(self) -> StoragePath:
        """Return the folder of the run that a training goes on with."""
        return last_numbered(self.folder) if self.existing == "new" else self.folder

    def at(self, folder: StoragePath, session: object) -> RunWriter:
        """Claim a folder, whatever it holds.

        Raises:
            FiltertrackError: If it cannot be written, or another tracker writes there.
        """
        return RunWriter(folder, session, keep=self.keep, strict=self.strict)

    def new(self, session: object) -> RunWriter:
        """Claim the next of ``exp1``, ``exp1-2``, ``exp1-3``, … after the highest one in use.

        In use is a folder that holds a run or snapshots of one, or in which another tracker writes.
        Two processes never get the same one, except on object storage, which has no locks.

        Raises:
            FiltertrackError: If it cannot be written.
        """
        for candidate in next_numbered(self.folder):
            try:
                recording = self.at(candidate, session)
            except TakenError:
                continue
            if Run.is_free(candidate):  # else another process has made a run there just now
                if candidate != self.folder:
                    _log.info("%s is taken: this run is in %s", self.folder, candidate)
                return recording
            recording.close()
        raise AssertionError("the numbers do not end")


def _reaches(folder: StoragePath, step: int) -> bool:
    return Run.exists(folder) and max(Run(folder).steps, default=-1) >= step


@contextmanager
def _closed_on_error(recording: RunWriter) -> Iterator[None]:
    try:
        yield
    except BaseException:
        recording.close()
        raise
